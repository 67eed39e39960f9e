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
    let count = every.len();
    every.sort_by(|a, b| b.cost.total_cmp(&a.cost));
    let roots: Vec<Root> = if all { every } else { every.into_iter().skip(ONE_IN / 2).step_by(ONE_IN).collect() };
    let (mut theirs, mut ours, mut counted, mut refused) = (0.0, 0.0, Vec::new(), 0);
    for root in roots {
        let built = cost::of(programs.kustomize(&root.directory(), &root.restrictor));
        let rendered = cost::of(Programs::ours(&root.directory(), &root.restrictor));
        let (Ok(built), Ok(rendered)) = (built, rendered) else {
            refused += 1;
            continue;
        };
        theirs += built.cpu;
        ours += rendered.cpu;
        counted.push(root);
    }
    let note = |own: f64| {
        let sample = if all { String::new() } else { format!(", one in {ONE_IN} of {count}") };
        let refused = if refused > 0 { format!("; {refused} that one of the two refuses left out") } else { String::new() };
        format!("{} roots{sample}: kustomize {:.1} s, ours {:.2} s{refused}", counted.len(), theirs / 1e3, own / 1e3)
    };
    let own = in_one_process(&counted)?;
    Ok(vec![
        Figure::at_least("the real set, one process a root", theirs / ours, "times less CPU", 12.0).noted(note(ours)),
        Figure::at_least("the real set, in one process", theirs / own, "times less CPU", 40.0).noted(note(own)),
    ])
}

/// The CPU time of rendering and printing all of them, in milliseconds; that of making Git repositories of them is not counted.
fn in_one_process(roots: &[Root]) -> Result<f64> {
    let mut by_repository: BTreeMap<&str, Vec<&Root>> = BTreeMap::new();
    roots.iter().for_each(|root| by_repository.entry(&root.repository).or_default().push(root));
    let mut spent = 0.0;
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
        render_all(&repository, tree.trim(), roots)?;
        spent += cost::own() - before;
    }
    Ok(spent)
}

fn render_all(repository: &Repository, tree: &str, roots: &[&Root]) -> Result {
    let tree = git2::Oid::from_str(tree)?.as_bytes().try_into()?;
    let tree = GitTree::open(&repository.directory(), tree)?;
    let mut cache = Cache::with_limit(KEPT);
    for root in roots {
        let restrict = if root.restrictor == "none" { Restriction::None } else { Restriction::Root };
        let options = Options { order: Order::Legacy, restrict, plain_directories: false, strict: false };
        let wrong = |error: &dyn std::fmt::Display| Trouble::new(format!("{}: {error}", root.name()));
        let rendered = render(&tree, &RepoPath::new(&root.path)?, &options, &mut cache).map_err(|errors| wrong(&errors))?;
        std::hint::black_box(rendered.manifest.to_yaml().map_err(|errors| wrong(&errors))?);
    }
    Ok(())
}
