//! In which order apps are applied: each after those that it depends on, otherwise as the fleet file lists them.

use std::collections::{BTreeMap, BTreeSet};

use super::{AppError, Listed};

/// How many apps of a circle are named.
const SHOWN: usize = 8;

/// The apps in order, and an error for each app that waits for itself. An app that merely depends on one of those stays.
///
/// No recursion: a chain may be as long as there are apps.
pub(super) fn order<'a, 'b>(apps: &[&'a Listed<'b>]) -> (Vec<&'a Listed<'b>>, Vec<AppError>) {
    let numbers: BTreeMap<&str, usize> = apps.iter().enumerate().map(|(number, app)| (app.name.as_str(), number)).collect();
    let needs: Vec<BTreeSet<usize>> =
        apps.iter().map(|app| app.entry.depends_on.iter().filter_map(|(name, _)| numbers.get(name.as_str()).copied()).collect()).collect();
    let mut wait = Wait::new(&needs);
    let (mut ordered, mut errors) = (Vec::new(), Vec::new());
    loop {
        while let Some(number) = wait.next() {
            ordered.push(apps[number]);
        }
        let Some(cycle) = wait.cycle(&needs) else { return (ordered, errors) };
        let names: BTreeSet<&str> = cycle.iter().map(|number| apps[*number].name.as_str()).collect();
        let chain = chain(&cycle.iter().map(|number| apps[*number].name.as_str()).collect::<Vec<_>>());
        errors.extend(cycle.iter().map(|number| cyclic(apps[*number], &names, &chain)));
        wait.give_up(&cycle);
    }
}

fn cyclic(app: &Listed<'_>, names: &BTreeSet<&str>, chain: &str) -> AppError {
    let next = app.entry.depends_on.iter().find(|(name, _)| names.contains(name.as_str()));
    let spot = next.map_or(&app.entry.spot, |(_, spot)| spot);
    let error = spot.error(format!("apps depend on each other in a circle: {chain}")).hint("remove one of these from `dependsOn`");
    app.refused(error)
}

/// A circle as text, from its first app back to it, or as much of it as can be read.
fn chain(names: &[&str]) -> String {
    let shown = names.iter().take(SHOWN).copied().collect::<Vec<_>>().join(" -> ");
    match names.len().saturating_sub(SHOWN) {
        0 => format!("{shown} -> {}", names.first().unwrap_or(&"")),
        more => format!("{shown} -> and {more} more"),
    }
}

/// Who still waits for whom.
struct Wait {
    /// How many apps each one still waits for.
    left: Vec<usize>,
    /// Who waits for each one.
    dependents: Vec<Vec<usize>>,
    ready: BTreeSet<usize>,
    waiting: BTreeSet<usize>,
}

impl Wait {
    fn new(needs: &[BTreeSet<usize>]) -> Self {
        let mut dependents = vec![Vec::new(); needs.len()];
        for (number, needed) in needs.iter().enumerate() {
            needed.iter().for_each(|other| dependents[*other].push(number));
        }
        let (ready, waiting) = (0..needs.len()).partition(|number| needs[*number].is_empty());
        Self { left: needs.iter().map(BTreeSet::len).collect(), dependents, ready, waiting }
    }

    fn next(&mut self) -> Option<usize> {
        let number = self.ready.pop_first()?;
        self.finish(number);
        Some(number)
    }

    /// Takes a circle out, so that those who merely wait for it can go on.
    fn give_up(&mut self, cycle: &[usize]) {
        let cycle: BTreeSet<usize> = cycle.iter().copied().collect();
        self.waiting.retain(|number| !cycle.contains(number));
        cycle.iter().for_each(|number| self.finish(*number));
    }

    /// Nobody has to wait for `number` any longer.
    fn finish(&mut self, number: usize) {
        self.waiting.remove(&number);
        for dependent in std::mem::take(&mut self.dependents[number]) {
            self.left[dependent] -= 1;
            if self.left[dependent] == 0 && self.waiting.remove(&dependent) {
                self.ready.insert(dependent);
            }
        }
    }

    /// Once nobody is ready, whoever waits leads to a circle: each of them waits for one that waits.
    fn cycle(&self, needs: &[BTreeSet<usize>]) -> Option<Vec<usize>> {
        let mut path = vec![*self.waiting.first()?];
        let mut seen: BTreeMap<usize, usize> = path.iter().map(|number| (*number, 0)).collect();
        loop {
            let next = needs[*path.last()?].iter().copied().find(|other| self.waiting.contains(other))?;
            if let Some(start) = seen.get(&next) {
                return Some(path.split_off(*start));
            }
            seen.insert(next, path.len());
            path.push(next);
        }
    }
}
