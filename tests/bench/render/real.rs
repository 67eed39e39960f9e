//! All roots of the real set, or a sample: one process each, and all in one process as the agent renders, from Git and with parsed files kept.

use std::collections::BTreeMap;

use harness::{Repository, Result, Trouble};
use overlays::tree::GitTree;
use overlays::{Cache, Options, Order, RepoPath, Restriction, render};

use crate::Programs;
use crate::corpus::{self, Root};
use crate::cost;
use crate::figure::Figure;

/// Of the set, ranked by what it costs, one root in so many is a sample: the few that cost most are in it as they are in the set.
const ONE_IN: usize = 20;
/// So large that each file is parsed once.
const KEPT: usize = 2 << 30;

pub(crate) fn measure(programs: &Programs, all: bool) -> Result<Vec<Figure>> {
    let mut every = corpus::roots()?;
    every.sort_by(|a, b| b.cost.total_cmp(&a.cost));
    let sample: Vec<&Root> = if all { every.iter().collect() } else { every.iter().skip(ONE_IN / 2).step_by(ONE_IN).collect() };
    let (mut theirs, mut ours, mut counted) = (0.0, 0.0, 0);
    for root in &sample {
        let built = cost::of(programs.kustomize(&root.directory(), &root.restrictor));
        let rendered = cost::of(Programs::ours(&root.directory(), &root.restrictor));
        // One root lacks a file in the unpacked set, and both refuse it.
        if let (Ok(built), Ok(rendered)) = (built, rendered) {
            (theirs, ours, counted) = (theirs + built.cpu, ours + rendered.cpu, counted + 1);
        }
    }
    let (own, rendered) = in_one_process(&every)?;
    let all_theirs = theirs * every.len() as f64 / sample.len() as f64;
    let times = if all { String::new() } else { format!(", as for the sample of {}", sample.len()) };
    let one_each = format!("{counted} roots of {}: kustomize {:.1} s, ours {:.2} s", every.len(), theirs / 1e3, ours / 1e3);
    let in_one = format!("{rendered} roots: kustomize {:.0} s{times}, ours {:.2} s", all_theirs / 1e3, own / 1e3);
    Ok(vec![
        Figure::at_least("the real set, one process a root", theirs / ours, "times less CPU", 12.0).noted(one_each),
        Figure::at_least("the real set, in one process", all_theirs / own, "times less CPU", 40.0).noted(in_one),
    ])
}

/// The CPU time of rendering and printing all of them, in milliseconds, and how many that were; that of making Git repositories of them is
/// not counted.
fn in_one_process(roots: &[Root]) -> Result<(f64, usize)> {
    let mut by_repository: BTreeMap<&str, Vec<&Root>> = BTreeMap::new();
    roots.iter().for_each(|root| by_repository.entry(&root.repository).or_default().push(root));
    let (mut spent, mut rendered) = (0.0, 0);
    for roots in by_repository.values() {
        let Some(first) = roots.first() else { continue };
        let repository = Repository::local("real")?;
        repository.copy_in(&first.tree)?;
        repository.git(&["add", "--all", "--force"])?;
        repository.git(&["commit", "--quiet", "--message", "As it is"])?;
        // A fetch brings a pack.
        repository.git(&["repack", "-a", "-d", "--quiet"])?;
        let tree = repository.git(&["rev-parse", "HEAD^{tree}"])?;
        let before = cost::own();
        rendered += render_all(&repository, tree.trim(), roots)?;
        spent += cost::own() - before;
    }
    if rendered * 100 < roots.len() * 99 {
        return Err(Trouble::new(format!("only {rendered} of {} roots render", roots.len())));
    }
    Ok((spent, rendered))
}

fn render_all(repository: &Repository, tree: &str, roots: &[&Root]) -> Result<usize> {
    let tree = git2::Oid::from_str(tree)?.as_bytes().try_into()?;
    let tree = GitTree::open(&repository.directory(), tree)?;
    let mut cache = Cache::with_limit(KEPT);
    let mut count = 0;
    for root in roots {
        let restrict = if root.restrictor == "none" { Restriction::None } else { Restriction::Root };
        let options = Options { order: Order::Legacy, restrict, plain_directories: false, strict: false };
        let Ok(rendered) = render(&tree, &RepoPath::new(&root.path)?, &options, &mut cache) else { continue };
        let text = rendered.manifest.to_yaml().map_err(|errors| Trouble::new(format!("{}: {errors}", root.name())))?;
        std::hint::black_box(text);
        count += 1;
    }
    Ok(count)
}
