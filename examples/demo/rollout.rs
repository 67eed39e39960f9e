//! Watches a revision arrive, and notes when it was applied and when the commit said so. Reads Syncs and commit statuses, as anybody could.

use std::time::{Duration, Instant};

use harness::{CommitStatus, Result, Site, World};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde_json::Value;

/// Long enough for a cold, loaded machine; the agent's own deadline for health is longer.
const LIMIT: Duration = Duration::from_secs(120);

/// What has been seen of one cluster.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rollout {
    /// From the push to the last object applied.
    pub(crate) applied: Option<Duration>,
    /// From the push to a final word on the commit.
    pub(crate) said: Option<Duration>,
    /// That word, and its text.
    pub(crate) word: Option<CommitStatus>,
    /// The Sync, as last seen.
    pub(crate) sync: Value,
}

impl Rollout {
    /// Whether the commit has got its green mark from this cluster.
    pub(crate) fn is_green(&self) -> bool {
        self.word.as_ref().is_some_and(|word| word.state == "success")
    }

    /// A text of the Sync's status, by its path below `/status`.
    pub(crate) fn status(&self, pointer: &str) -> &str {
        self.sync.pointer("/status").and_then(|status| status.pointer(pointer)).and_then(Value::as_str).unwrap_or("-")
    }

    fn look(&mut self, site: &Site, commit: &str, since: Duration, sync: Value, statuses: &[CommitStatus]) {
        let applied = sync.pointer("/status/revision/commit").and_then(Value::as_str) == Some(commit)
            && sync.pointer("/status/revision/applied").is_some();
        if applied && self.applied.is_none() {
            self.applied = Some(since);
        }
        self.sync = sync;
        let word = statuses.iter().find(|status| status.context == site.context());
        self.word = word.cloned();
        if self.said.is_none() && word.is_some_and(|word| word.state != "pending") {
            self.said = Some(since);
        }
    }

    fn line(&self) -> String {
        let word = self.word.as_ref().map_or("", |word| word.description.as_str());
        let text = if word.is_empty() { self.status("/message") } else { word };
        format!("{:<9} {text}", self.status("/state"))
    }
}

/// Shows how the first commit arrives in each cluster, and ends when each has said its last word on it, or the time is over.
pub(crate) async fn watch(world: &World) -> Result<Vec<Rollout>> {
    let lines = MultiProgress::new();
    let bars: Vec<ProgressBar> = world.sites.iter().map(|site| lines.add(bar(&site.name))).collect();
    let mut rollouts = vec![Rollout::default(); world.sites.len()];
    let start = Instant::now();
    while rollouts.iter().any(|rollout| rollout.said.is_none()) && start.elapsed() < LIMIT {
        let statuses = world.statuses(&world.first).await?;
        for ((site, rollout), bar) in world.sites.iter().zip(&mut rollouts).zip(&bars) {
            rollout.look(site, &world.first, world.pushed.elapsed(), site.sync().await?, &statuses);
            bar.set_message(rollout.line());
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    bars.iter().for_each(|bar| bar.abandon());
    // The Sync's status may follow the commit's by a moment.
    for (site, rollout) in world.sites.iter().zip(&mut rollouts) {
        rollout.sync = site.sync().await?;
    }
    Ok(rollouts)
}

fn bar(name: &str) -> ProgressBar {
    let bar = ProgressBar::new_spinner().with_prefix(name.to_owned());
    if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix:<8} {wide_msg}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}
