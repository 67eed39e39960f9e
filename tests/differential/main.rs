//! The same trees through this renderer and the real kustomize: what differs is a defect, or is listed with its reason.
//!
//! The trees are made from seeds, so a difference is named by one number. By hand, for more of them:
//! `DIFFERENTIAL_TREES=20000 DIFFERENTIAL_SEED=7 cargo test --release -p overlays --test differential -- --nocapture`
//! (`DIFFERENTIAL_SHOW=1` prints each difference as the smallest tree that shows it).

#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "a test stops where something is missing, and says what it did")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use compare::{Likeness, compare, ours};
use kustomize::{Kustomize, Outcome};
use layers::Tree;

mod compare;
mod kustomize;
mod layers;
mod listed;
mod objects;
mod patches;
mod random;
mod shrink;
mod steps;
mod texts;
mod write;

/// How many trees are tried where nothing else is asked for.
const TREES: u64 = 400;

fn asked(name: &str, default: u64) -> u64 {
    #[expect(clippy::disallowed_methods, reason = "switches of the test itself")]
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

fn shown(tree: &Tree, theirs: &Outcome, ours: &Outcome) -> String {
    let mut text = format!("root {} legacy {} unrestricted {}\n", tree.root, tree.legacy, tree.unrestricted);
    for (path, content) in &tree.files {
        let _ = write!(text, "--- {path}\n{content}");
    }
    let of = |outcome: &Outcome| outcome.as_ref().map_or_else(|error| format!("ERROR {error}\n"), Clone::clone);
    let _ = write!(text, "=== kustomize\n{}=== here\n{}", of(theirs), of(ours));
    text
}

/// Whether two outcomes are of the same kind: both built, or refused for what is, as far as its last words say, the same reason.
fn is_alike(one: &Outcome, other: &Outcome) -> bool {
    let words = |error: &String| error.lines().next().unwrap_or_default().rsplit(' ').take(3).map(str::to_owned).collect::<Vec<_>>();
    one.as_ref().err().map(words) == other.as_ref().err().map(words)
}

#[test]
fn generated_trees_come_out_as_kustomize_builds_them() {
    all_come_out_as_kustomize_builds_them(layers::tree);
}

#[test]
fn files_with_signs_out_of_place_are_read_as_kustomize_reads_them() {
    all_come_out_as_kustomize_builds_them(texts::tree);
}

fn all_come_out_as_kustomize_builds_them(tree_of: fn(u64) -> Tree) {
    let Some(mut kustomize) = Kustomize::of_the_lab() else { return };
    let (trees, seed, show) = (asked("DIFFERENTIAL_TREES", TREES), asked("DIFFERENTIAL_SEED", 1), asked("DIFFERENTIAL_SHOW", 0));
    let (mut built, mut counts, mut different) = (0, BTreeMap::<Likeness, u64>::new(), Vec::new());
    let mut excused = BTreeMap::<&str, u64>::new();
    for seed in seed..seed + trees {
        let tree = tree_of(seed);
        let theirs = kustomize.build(&tree);
        let ours_is = ours(&tree);
        let likeness = compare(&theirs, &ours_is);
        built += u64::from(theirs.is_ok());
        if let Some(kind) = likeness.is_difference().then(|| listed::listed(&tree, &theirs, &ours_is)).flatten() {
            *excused.entry(kind.reason).or_default() += 1;
            continue;
        }
        *counts.entry(likeness).or_default() += 1;
        if likeness.is_difference() {
            if show > 0 {
                let small = if show == 2 {
                    tree.clone()
                } else {
                    shrink::shrunk(&tree, &mut |tree| {
                        let (theirs_now, ours_now) = (kustomize.build(tree), ours(tree));
                        let is_alike = is_alike(&theirs, &theirs_now) && is_alike(&ours_is, &ours_now);
                        let is_it = is_alike && compare(&theirs_now, &ours_now) == likeness;
                        is_it && listed::listed(tree, &theirs_now, &ours_now).is_none()
                    })
                };
                eprintln!("##### {seed} {likeness:?}\n{}", shown(&small, &kustomize.build(&small), &ours(&small)));
            }
            different.push(seed);
        }
    }
    eprintln!("{trees} trees, of which kustomize builds {built}: {counts:?}, and of the kinds of differences that are meant {excused:#?}");
    assert!(different.is_empty(), "seeds of trees that come out otherwise: {different:?}");
}

/// The files below a directory, by their paths from `root`.
fn files(root: &Path, directory: &Path, into: &mut BTreeMap<String, String>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(root, &path, into);
        } else if let Ok(content) = std::fs::read_to_string(&path) {
            into.insert(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned(), content);
        }
    }
}

#[test]
fn the_examples_come_out_as_kustomize_builds_them() {
    let Some(mut kustomize) = Kustomize::of_the_lab() else { return };
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let mut all = Tree::default();
    files(&examples, &examples, &mut all.files);
    let is_root = |content: &str| !content.contains("kind: Component");
    let roots = all.files.iter().filter(|(path, content)| path.ends_with("/kustomization.yaml") && is_root(content));
    let roots: Vec<String> = roots.filter_map(|(path, _)| Some(path.rsplit_once('/')?.0.to_owned())).collect();
    assert!(!roots.is_empty(), "there are no kustomizations among the examples");
    for root in roots {
        let tree = Tree { root, ..all.clone() };
        let theirs = kustomize.build(&tree);
        assert!(theirs.is_ok() && theirs == ours(&tree), "{}: {}", tree.root, shown(&Tree::default(), &theirs, &ours(&tree)));
    }
}
