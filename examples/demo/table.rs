//! Tables for a terminal. Knows what was seen, and prints nothing itself.

use std::time::Duration;

use harness::{CommitStatus, Result, World};

use crate::Rollout;

/// One row a cluster: what it runs, how long that took, and what the agent costs.
pub(crate) async fn clusters(world: &World, rollouts: &[Rollout]) -> Result<String> {
    let header = ["CLUSTER", "PROVIDER", "REVISION", "STATE", "OBJECTS", "APPLIED", "GREEN", "AGENT RSS"].map(str::to_owned).to_vec();
    let mut rows = vec![header];
    for (site, rollout) in world.sites.iter().zip(rollouts) {
        let objects = rollout.sync.pointer("/status/objects").map_or_else(|| "-".to_owned(), ToString::to_string);
        let memory = site.agent().resident().map_or_else(|| "-".to_owned(), |bytes| format!("{:.1} MiB", bytes as f64 / 1024.0 / 1024.0));
        rows.push(vec![
            site.name.clone(),
            rollout.status("/cluster/labels/provider").to_owned(),
            rollout.status("/revision/short").to_owned(),
            rollout.status("/state").to_owned(),
            objects,
            seconds(rollout.applied),
            seconds(rollout.said.filter(|_| rollout.is_green())),
            memory,
        ]);
    }
    Ok(format!("{}APPLIED and GREEN count from the push; the agents were started after it.\n", aligned(&rows)))
}

/// The words on the commit, as the forge has them.
pub(crate) fn statuses(statuses: &[CommitStatus]) -> String {
    let row = |status: &CommitStatus| vec![status.context.clone(), status.state.clone(), status.description.clone()];
    let mut rows: Vec<Vec<String>> = statuses.iter().map(row).collect();
    rows.sort();
    rows.insert(0, ["STATUS", "STATE", "TEXT"].map(str::to_owned).to_vec());
    aligned(&rows)
}

fn seconds(duration: Option<Duration>) -> String {
    duration.map_or_else(|| "-".to_owned(), |duration| format!("{:.2} s", duration.as_secs_f32()))
}

/// Columns as wide as their widest cell, two blanks apart.
fn aligned(rows: &[Vec<String>]) -> String {
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or_default();
    let line = |row: &Vec<String>| {
        let cells: Vec<String> = row.iter().enumerate().map(|(column, cell)| format!("{cell:<width$}", width = width(column))).collect();
        format!("{}\n", cells.join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}
