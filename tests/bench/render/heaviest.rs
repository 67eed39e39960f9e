//! The roots of public repositories that take kustomize longest: bundles of definitions of 1 to 12 MB.

use harness::Result;

use crate::Programs;
use crate::corpus::{self, Root};
use crate::cost;
use crate::figure::Figure;

const HEAVIEST: usize = 24;
/// How often a peak of memory is taken.
const PEAKS: usize = 5;

fn heaviest() -> Result<Vec<Root>> {
    let mut roots = corpus::roots()?;
    roots.sort_by(|a, b| b.cost.total_cmp(&a.cost));
    roots.truncate(HEAVIEST);
    Ok(roots)
}

/// What the largest bundle needs in memory.
pub(crate) fn memory(programs: &Programs) -> Result<Vec<Figure>> {
    let roots = heaviest()?;
    let is_bundle = |root: &&Root| root.path.ends_with("crds/full");
    let root = roots.iter().find(is_bundle).or(roots.first()).ok_or_else(|| harness::Trouble::new("the real set is empty"))?;
    let ours = cost::median(PEAKS, || Programs::ours(&root.directory(), &root.restrictor))?;
    let theirs = cost::of(programs.kustomize(&root.directory(), &root.restrictor))?;
    let note = format!("{}; kustomize {:.0} MiB", root.name(), theirs.peak);
    Ok(vec![Figure::at_most("peak memory, 12 MB of definitions", ours.peak, "MiB", 80.0).noted(note)])
}

/// The ratio of each, and their geometric mean.
pub(crate) fn measure(programs: &Programs, rounds: usize) -> Result<Vec<Figure>> {
    let (mut figures, mut logarithms) = (Vec::new(), Vec::new());
    for root in heaviest()? {
        let theirs = || programs.kustomize(&root.directory(), &root.restrictor);
        let ours = || Programs::ours(&root.directory(), &root.restrictor);
        let same = cost::print_the_same(theirs(), ours())?;
        let (theirs, ours) = cost::in_turn(rounds, theirs, ours)?;
        // Another output would be worth nothing, however fast.
        let ratio = if same { theirs.cpu / ours.cpu } else { f64::NAN };
        let note = format!("kustomize {:.0} ms, ours {:.0} ms{}", theirs.cpu, ours.cpu, if same { "" } else { ", BUT OTHER OUTPUT" });
        figures.push(Figure::at_least(&root.name(), ratio, "times less CPU", 20.0).noted(note));
        logarithms.push(ratio.ln());
    }
    let mean = (logarithms.iter().sum::<f64>() / logarithms.len() as f64).exp();
    let note = format!("of {} roots, {rounds} rounds each", logarithms.len());
    figures.push(Figure::at_least("geometric mean of the heaviest", mean, "times less CPU", 30.0).noted(note));
    Ok(figures)
}
