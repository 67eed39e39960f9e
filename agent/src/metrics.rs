//! The numbers that `/metrics` shows.
//!
//! It knows nothing of what it counts but its names, and keeps no label with values from outside but the Sync's own name.

use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// The upper bounds of a sync's duration, in seconds: from "nothing to do" to the default timeout for health and beyond.
const SECONDS: [f64; 12] = [0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1200.0];

/// The upper bounds of the time until a drift is healed, in seconds: from one request to the longest rest of a fight.
const HEAL_SECONDS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0, 300.0];

/// A Sync, as `namespace/name`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfSync {
    sync: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfOutcome {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfSyncOutcome {
    sync: String,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfKind {
    kind: String,
    outcome: &'static str,
}

#[derive(Clone, Debug)]
struct Seconds;

impl MetricConstructor<Histogram> for Seconds {
    fn new_metric(&self) -> Histogram {
        Histogram::new(SECONDS)
    }
}

/// All numbers. Outcomes are `'static`, so that no text from outside becomes a label.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    syncs: Family<OfSyncOutcome, Counter>,
    sync_duration: Family<OfSync, Histogram, Seconds>,
    objects: Family<OfSync, Gauge>,
    applies: Family<OfOutcome, Counter>,
    renders: Counter,
    polls: Family<OfOutcome, Counter>,
    commit_statuses: Family<OfOutcome, Counter>,
    leader: Family<OfSync, Gauge>,
    failures: Family<OfSync, Gauge>,
    drift: Family<OfKind, Counter>,
    drifted_objects: Family<OfSync, Gauge>,
    heal_duration: Histogram,
    audits: Family<OfOutcome, Counter>,
    outcomes: std::sync::Mutex<Vec<OfSyncOutcome>>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Numbers that are all nought.
    pub fn new() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("plimsoll"),
            syncs: Family::default(),
            sync_duration: Family::new_with_constructor(Seconds),
            objects: Family::default(),
            applies: Family::default(),
            renders: Counter::default(),
            polls: Family::default(),
            commit_statuses: Family::default(),
            leader: Family::default(),
            failures: Family::default(),
            drift: Family::default(),
            drifted_objects: Family::default(),
            heal_duration: Histogram::new(HEAL_SECONDS),
            audits: Family::default(),
            outcomes: std::sync::Mutex::default(),
        };
        metrics.register();
        metrics
    }

    fn register(&mut self) {
        let registry = &mut self.registry;
        registry.register("syncs", "Syncs that ended, by outcome", self.syncs.clone());
        registry.register_with_unit("sync_duration", "Time that a sync took", Unit::Seconds, self.sync_duration.clone());
        registry.register("objects", "Objects that are owned", self.objects.clone());
        registry.register("apply", "Objects that were applied, by outcome", self.applies.clone());
        registry.register("renders", "Apps that were rendered", self.renders.clone());
        registry.register("polls", "Times that a repository was asked for news, by outcome", self.polls.clone());
        registry.register("commit_statuses", "Commit statuses that were sent, by outcome", self.commit_statuses.clone());
        registry.register("leader", "Whether this process writes for the Sync", self.leader.clone());
        registry.register("failures", "What is wrong at present", self.failures.clone());
        registry.register("drift", "Drifts that were told, by kind of object and by what became of them", self.drift.clone());
        registry.register("drifted_objects", "Objects that are not as Git says at present", self.drifted_objects.clone());
        registry.register_with_unit(
            "heal_duration",
            "Time from the first sight of a drift until it was healed",
            Unit::Seconds,
            self.heal_duration.clone(),
        );
        registry.register("audits", "Objects that the server was asked about at random, by outcome", self.audits.clone());
    }

    /// A sync of `namespace/name` has ended; `outcome` is the word of its state.
    pub fn synced(&self, sync: &str, outcome: &'static str, took: Duration) {
        let labels = OfSyncOutcome { sync: sync.to_owned(), outcome };
        self.syncs.get_or_create(&labels).inc();
        self.sync_duration.get_or_create(&of(sync)).observe(took.as_secs_f64());
        let mut outcomes = self.outcomes.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if !outcomes.contains(&labels) {
            outcomes.push(labels);
        }
    }

    /// How many objects the Sync owns.
    pub fn objects(&self, sync: &str, count: usize) {
        self.objects.get_or_create(&of(sync)).set(gauge(count));
    }

    /// How much is wrong with the Sync at present.
    pub fn failures(&self, sync: &str, count: usize) {
        self.failures.get_or_create(&of(sync)).set(gauge(count));
    }

    /// Whether this process writes for the Sync.
    pub fn leader(&self, sync: &str, leads: bool) {
        self.leader.get_or_create(&of(sync)).set(i64::from(leads));
    }

    /// An object was applied.
    pub fn applied(&self, outcome: &'static str) {
        self.applies.get_or_create(&OfOutcome { outcome }).inc();
    }

    /// An app was rendered.
    pub fn rendered(&self) {
        self.renders.inc();
    }

    /// A repository was asked for news.
    pub fn polled(&self, outcome: &'static str) {
        self.polls.get_or_create(&OfOutcome { outcome }).inc();
    }

    /// A commit status was sent.
    pub fn status_sent(&self, outcome: &'static str) {
        self.commit_statuses.get_or_create(&OfOutcome { outcome }).inc();
    }

    /// A drift was told. `kind` is that of the object: there are as many as the API server serves. `took` is since when it was so.
    pub fn drifted(&self, kind: &str, outcome: &'static str, took: Duration) {
        self.drift.get_or_create(&OfKind { kind: kind.to_owned(), outcome }).inc();
        if outcome == "healed" {
            self.heal_duration.observe(took.as_secs_f64());
        }
    }

    /// How many objects are not as Git says at present.
    pub fn drifted_objects(&self, sync: &str, count: usize) {
        self.drifted_objects.get_or_create(&of(sync)).set(gauge(count));
    }

    /// The server was asked about an object of which the watch says that all is well.
    pub fn audited(&self, outcome: &'static str) {
        self.audits.get_or_create(&OfOutcome { outcome }).inc();
    }

    /// Forgets a Sync that is gone or led by another process, so that no stale number is shown.
    pub fn forget(&self, sync: &str) {
        let labels = of(sync);
        self.sync_duration.remove(&labels);
        self.objects.remove(&labels);
        self.leader.remove(&labels);
        self.failures.remove(&labels);
        self.drifted_objects.remove(&labels);
        let mut outcomes = self.outcomes.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        outcomes.retain(|labels| labels.sync != sync || !self.syncs.remove(labels));
    }

    /// The numbers in the OpenMetrics text format.
    pub fn text(&self) -> String {
        let mut out = String::new();
        // Writing into a String cannot fail; were it to, what was written is still true.
        let _ = text::encode(&mut out, &self.registry);
        out
    }
}

fn of(sync: &str) -> OfSync {
    OfSync { sync: sync.to_owned() }
}

fn gauge(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_has_the_name_that_dashboards_ask_for() {
        let metrics = Metrics::new();
        metrics.synced("web/fleet", "InSync", Duration::from_millis(300));
        metrics.objects("web/fleet", 42);
        metrics.failures("web/fleet", 0);
        metrics.leader("web/fleet", true);
        metrics.applied("unchanged");
        metrics.rendered();
        metrics.polled("news");
        metrics.status_sent("confirmed");
        let text = metrics.text();
        for line in [
            r#"plimsoll_syncs_total{sync="web/fleet",outcome="InSync"} 1"#,
            r#"plimsoll_sync_duration_seconds_bucket{le="0.5",sync="web/fleet"} 1"#,
            r#"plimsoll_objects{sync="web/fleet"} 42"#,
            r#"plimsoll_apply_total{outcome="unchanged"} 1"#,
            "plimsoll_renders_total 1",
            r#"plimsoll_polls_total{outcome="news"} 1"#,
            r#"plimsoll_commit_statuses_total{outcome="confirmed"} 1"#,
            r#"plimsoll_leader{sync="web/fleet"} 1"#,
            r#"plimsoll_failures{sync="web/fleet"} 0"#,
        ] {
            assert!(text.lines().any(|found| found == line), "no `{line}` in\n{text}");
        }
    }

    #[test]
    fn a_sync_that_is_gone_leaves_no_number() {
        let metrics = Metrics::new();
        metrics.synced("web/fleet", "InSync", Duration::ZERO);
        metrics.synced("web/fleet", "Failed", Duration::ZERO);
        metrics.objects("web/fleet", 42);
        metrics.leader("web/fleet", true);
        metrics.forget("web/fleet");
        assert!(!metrics.text().contains("web/fleet"), "{}", metrics.text());
    }
}
