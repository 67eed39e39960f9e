//! The process: which Syncs there are, which of them this process leads, and what wakes each.
//!
//! Every Sync is followed by a task of its own: it stands by until it gets the Lease, then it leads until the Lease, the Sync or the process
//! ends. A standby holds no repository and no watch on workloads.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::task::{JoinHandle, LocalSet};
use tokio::time::sleep;

use crate::api::{Sync, SyncStatus};
use crate::cli::Failure;
use crate::cluster::{self, Cluster};
use crate::config::AgentConfig;
use crate::lead::{FIRST_RETRY, LONGEST_RETRY};
use crate::report;
use crate::server::{self, Metrics};

/// How long the process may take to give its Leases back.
const FAREWELL: Duration = Duration::from_secs(5);

/// Names a Sync: namespace and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl Key {
    /// The key of a Sync.
    pub fn of(sync: &Sync) -> Self {
        Self { namespace: sync.metadata.namespace.clone().unwrap_or_default(), name: sync.metadata.name.clone().unwrap_or_default() }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// What all followers share.
pub(crate) struct Agent {
    pub(crate) config: AgentConfig,
    pub(crate) cluster: Cluster,
    pub(crate) metrics: Metrics,
    pub(crate) wakes: server::Wakes,
    /// The one Sync that is followed, for `plimsoll dev`; else all that are no working trees.
    only: Option<Key>,
    /// The Syncs as they are, so that each can tell whether another follows the same repository.
    pub(crate) syncs: RefCell<BTreeMap<Key, Arc<Sync>>>,
}

/// The task that follows one Sync.
struct Follower {
    sync: watch::Sender<Option<Arc<Sync>>>,
    task: JoinHandle<()>,
}

/// Why a leader no longer leads.
enum Ended {
    /// The Sync was changed: a new leader reads it afresh, under the same Lease.
    Changed,
    /// The Sync was deleted, or the process ends.
    Stop,
    /// Another process may lead.
    Lost,
}

/// Runs the agent until SIGTERM or SIGINT.
///
/// # Errors
/// The cluster can't be reached, or an address can't be listened on.
pub async fn run(config: AgentConfig) -> Result<(), Failure> {
    follow_all(config, None).await
}

/// As [`run`], but for one Sync alone.
pub(crate) async fn follow_all(config: AgentConfig, only: Option<Key>) -> Result<(), Failure> {
    let client = cluster::connect(&config.cluster).await?;
    let metrics = Metrics::default();
    let (ready, readiness) = watch::channel(false);
    let wakes = server::serve(&config, metrics.clone(), readiness).await?;
    let agent = Rc::new(Agent { config, cluster: Cluster::new(client), metrics, wakes, only, syncs: RefCell::default() });
    tracing::info!(identity = %agent.config.identity, version = env!("CARGO_PKG_VERSION"), "Started.");
    LocalSet::new().run_until(agent.watch_syncs(ready)).await;
    tracing::info!("Stopped.");
    Ok(())
}

/// A number in 0..1 that spreads what many agents do at once. It need not be secret.
pub(crate) fn random() -> f64 {
    let nanos = Timestamp::now().subsec_nanosecond().unsigned_abs().wrapping_mul(2_654_435_761);
    f64::from(nanos) / f64::from(u32::MAX)
}

async fn stopped() {
    let terminated = async {
        match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(mut signal) => _ = signal.recv().await,
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        () = terminated => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}

impl Agent {
    /// Starts and ends followers as Syncs come and go.
    async fn watch_syncs(self: Rc<Self>, ready: watch::Sender<bool>) {
        let mut followers: BTreeMap<Key, Follower> = BTreeMap::new();
        let mut syncs = self.cluster.syncs(self.config.namespace.clone());
        let stop = stopped();
        tokio::pin!(stop);
        loop {
            let event = tokio::select! {
                () = &mut stop => break,
                event = syncs.recv() => event,
            };
            match event {
                Some(cluster::SyncEvent::Ready) => _ = ready.send(true),
                Some(cluster::SyncEvent::Applied(sync)) => self.meet(&mut followers, Arc::new(*sync)),
                Some(cluster::SyncEvent::Deleted(namespace, name)) => self.part(&mut followers, &Key { namespace, name }),
                None => break,
            }
        }
        for follower in followers.values() {
            _ = follower.sync.send(None);
        }
        let all = futures_util::future::join_all(followers.into_values().map(|follower| follower.task));
        _ = tokio::time::timeout(FAREWELL, all).await;
    }

    fn meet(self: &Rc<Self>, followers: &mut BTreeMap<Key, Follower>, sync: Arc<Sync>) {
        let key = Key::of(&sync);
        if !self.is_mine(&key, &sync) {
            return;
        }
        self.syncs.borrow_mut().insert(key.clone(), sync.clone());
        match followers.get(&key) {
            // Our own writes to the status come back as events; only what the user wrote is news.
            Some(follower) => _ = follower.sync.send_if_modified(|known| {
                let news = known.as_ref().is_none_or(|known| known.metadata.generation != sync.metadata.generation || known.metadata.uid != sync.metadata.uid);
                *known = Some(sync);
                news
            }),
            None => {
                let (sender, receiver) = watch::channel(Some(sync));
                let task = tokio::task::spawn_local(self.clone().follow(key.clone(), receiver));
                followers.insert(key, Follower { sync: sender, task });
            }
        }
    }

    /// A working tree is followed on the machine that has it, and only there.
    fn is_mine(&self, key: &Key, sync: &Sync) -> bool {
        match &self.only {
            Some(only) => only == key,
            None => !sync.spec.url.starts_with(crate::dev::SCHEME),
        }
    }

    fn part(&self, followers: &mut BTreeMap<Key, Follower>, key: &Key) {
        self.syncs.borrow_mut().remove(key);
        if let Some(follower) = followers.remove(key) {
            _ = follower.sync.send(None);
        }
    }

    /// Stands by, leads, and stands by again, until the Sync is gone.
    async fn follow(self: Rc<Self>, key: Key, mut news: watch::Receiver<Option<Arc<Sync>>>) {
        let mut lease = cluster::Lease::new(self.cluster.clone(), &key.namespace, &key.name, &self.config.identity, self.config.lease_seconds);
        loop {
            tokio::select! {
                () = lease.acquire() => {}
                _ = gone(&mut news) => break,
            }
            tracing::info!(sync = %key, identity = %self.config.identity, "Leading.");
            self.metrics.leading(&key.to_string(), true);
            let ended = self.lead_on(&key, &mut lease, &mut news).await;
            self.metrics.leading(&key.to_string(), false);
            match ended {
                Ended::Lost => tracing::warn!(sync = %key, "The Lease was lost; standing by."),
                Ended::Stop | Ended::Changed => break,
            }
        }
        lease.release().await;
    }

    /// Leads as often as the Sync changes, under one Lease.
    async fn lead_on(&self, key: &Key, lease: &mut cluster::Lease, news: &mut watch::Receiver<Option<Arc<Sync>>>) -> Ended {
        let held = lease.held();
        let fence = { let held = held.clone(); move || held.still() };
        let lead = async {
            loop {
                let Some(sync) = news.borrow_and_update().clone() else { return Ended::Stop };
                let ended = tokio::select! {
                    never = self.lead(key, sync, Box::new(fence.clone())) => match never {},
                    _ = news.changed() => Ended::Changed,
                };
                if !matches!(ended, Ended::Changed) {
                    return ended;
                }
            }
        };
        tokio::select! {
            ended = lead => ended,
            () = lease.keep() => Ended::Lost,
        }
    }

    /// Leads a Sync as it is now; tries again for as long as something that it needs is missing.
    async fn lead(&self, key: &Key, sync: Arc<Sync>, fence: Box<dyn Fn() -> bool>) -> Infallible {
        let fence: Rc<dyn Fn() -> bool> = fence.into();
        let mut wait = FIRST_RETRY;
        loop {
            match self.prepare(key, &sync, fence.clone()).await {
                Ok((led, kinds)) => match led.lead(kinds).await {},
                Err(problem) => {
                    let message = problem.to_string();
                    tracing::error!(sync = %key, error = %report::redact(&message), "Can't begin.");
                    self.tell_problem(&sync, &message).await;
                }
            }
            sleep(wait.mul_f64(0.5 + random() / 2.0)).await;
            wait = (wait * 2).min(LONGEST_RETRY);
        }
    }
}

async fn gone(news: &mut watch::Receiver<Option<Arc<Sync>>>) {
    loop {
        if news.borrow_and_update().is_none() || news.changed().await.is_err() {
            return;
        }
    }
}
