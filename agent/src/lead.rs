//! Leading one Sync: what has to be known before the first sync, and what wakes the next.
//!
//! One loop owns everything that happens to the Sync; a sync runs beside it and is dropped when a newer commit makes it pointless.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::fmt;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{FutureExt, LocalBoxFuture};
use jiff::Timestamp;
use sha2::{Digest, Sha256};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::agent::{Agent, Key, random};
use crate::api::{self, ClusterSpec, Sync};
use crate::cluster::{Mark, Refusal, Resource, Seen, Watches};
use crate::config;
use crate::facts::Facts;
use crate::forge::{self, Forge};
use crate::git::{CommitId, Credentials, Git, Limits, Reference, WorkingTree};
use crate::inventory::{GroupKind, Inventory, applyset_id};
use crate::ledger::Ledger;
use crate::queue::Cause;
use crate::report;
use crate::secret::SafeUrl;
use crate::source::Source;
use crate::state::{Sighting, State};
use crate::status::Teller;
use crate::sync::{self, Leader};
use crate::{dev, git};

const POLL: Duration = Duration::from_secs(30);
const RESYNC: Duration = Duration::from_secs(600);
const TIMEOUT: Duration = Duration::from_secs(300);
/// The first wait before something that failed is tried again; it doubles up to [`LONGEST_RETRY`].
pub(crate) const FIRST_RETRY: Duration = Duration::from_secs(2);
/// See [`FIRST_RETRY`].
pub(crate) const LONGEST_RETRY: Duration = Duration::from_secs(120);
/// How many events of watches may wait to be looked at; beyond, the watches wait.
const SIGHTINGS: usize = 256;
/// How long an API server that is away is no news: it may be restarting.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why leading can't begin.
#[derive(Debug)]
pub(crate) enum Problem {
    /// The Sync says something that can't be.
    Spec(String),
    /// The repository's address or credentials can't be used.
    Git(git::Error),
    /// The API server refuses what is needed.
    Cluster(Refusal),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Spec(message) => f.write_str(message),
            Self::Git(error) => error.fmt(f),
            Self::Cluster(refusal) => refusal.fmt(f),
        }
    }
}

impl From<git::Error> for Problem {
    fn from(error: git::Error) -> Self {
        Self::Git(error)
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        Self::Cluster(refusal)
    }
}

/// A leader with all that wakes it.
pub(crate) struct Led {
    key: Key,
    leader: Leader,
    forge: Option<Forge>,
    context: String,
    /// Rung by the push hook, or when a working tree is saved.
    wake: Arc<Notify>,
    times: Times,
}

/// How often what happens by itself happens.
#[derive(Clone, Copy, Debug)]
struct Times {
    poll: Duration,
    /// None is never.
    resync: Option<Duration>,
    timeout: Duration,
}

impl Times {
    fn of(spec: &api::SyncSpec) -> Result<Self, Problem> {
        let read = |field: &str, text: &Option<String>, default| match text {
            Some(text) => config::duration(text).map_err(|error| Problem::Spec(format!("spec.{field}: {error}"))),
            None => Ok(default),
        };
        let resync = read("resync", &spec.resync, RESYNC)?;
        Ok(Self {
            // A poll is one small request; more often than this it is a load on the forge, not news.
            poll: read("poll", &spec.poll, POLL)?.max(Duration::from_secs(1)),
            resync: (!resync.is_zero()).then_some(resync),
            timeout: read("timeout", &spec.timeout, TIMEOUT)?,
        })
    }
}

impl Agent {
    /// Learns all that is needed to lead a Sync.
    pub(crate) async fn prepare(&self, key: &Key, sync: &Arc<Sync>, fence: Rc<dyn Fn() -> bool>) -> Result<(Led, mpsc::UnboundedReceiver<GroupKind>), Problem> {
        let times = Times::of(&sync.spec)?;
        let reference = Reference::from_spec(sync.spec.reference.as_ref())?;
        let wake = self.wakes.of(&key.namespace, &key.name);
        let source = self.source(key, sync, &wake).await?;
        let facts = self.facts(sync).await?;
        let annotations = sync.metadata.annotations.clone().unwrap_or_default();
        let inventory = Inventory::from_annotations(&annotations, &key.namespace).map_err(|error| Problem::Spec(error.to_string()))?;
        let hands = match &sync.spec.service_account_name {
            Some(name) => self.cluster.acting_as(&key.namespace, name)?,
            None => self.cluster.clone(),
        };
        let cluster = ClusterSpec { name: Some(facts.name.clone()), labels: facts.labels.clone() };
        let state = State { timeout: times.timeout, cluster, suspended: sync.spec.suspend, ..State::default() };
        let (watched, kinds) = mpsc::unbounded_channel();
        inventory.kinds.iter().for_each(|kind| _ = watched.send(kind.clone()));
        let (flight, gate) = sync::limits();
        let default_namespace = sync.spec.target_namespace.clone().unwrap_or_else(|| key.namespace.clone());
        let context = self.context(key, sync, &facts.name);
        let forge = self.forge(sync).await?;
        let leader = Leader {
            sync: sync.clone(),
            source,
            reference,
            cluster: self.cluster.clone(),
            hands,
            facts,
            mark: Mark { applyset: applyset_id(&key.namespace, &key.name), app: String::new(), default_namespace },
            fence,
            watched,
            metrics: self.metrics.of(&key.to_string()),
            state: RefCell::new(state),
            inventory: RefCell::new(inventory),
            gone: RefCell::default(),
            changed: Notify::new(),
            flight,
            gate,
            pen: tokio::sync::Mutex::default(),
            cache: RefCell::default(),
        };
        Ok((Led { key: key.clone(), leader, forge, context, wake, times }, kinds))
    }

    async fn source(&self, key: &Key, sync: &Sync, wake: &Arc<Notify>) -> Result<Source, Problem> {
        if let Some(dir) = sync.spec.url.strip_prefix(dev::SCHEME) {
            return Ok(Source::WorkingTree(Arc::new(WorkingTree::follow(PathBuf::from(dir), wake.clone())?)));
        }
        let credentials = match &sync.spec.secret_ref {
            Some(secret) => self.credentials(&key.namespace, &secret.name).await?,
            None => Credentials::default(),
        };
        let url = SafeUrl::new(&sync.spec.url);
        Ok(Source::Repository(Arc::new(Git::new(self.store(key, sync), url, credentials, Limits::default())?)))
    }

    async fn credentials(&self, namespace: &str, name: &str) -> Result<Credentials, Problem> {
        let entries = self.cluster.secret(namespace, name).await?;
        Ok(Credentials::from_entries(entries.iter().map(|(key, value)| (key.as_str(), value.as_slice())))?)
    }

    /// Where the repository is kept: another URL is another place, so that nothing of an old repository is ever taken for the new one.
    fn store(&self, key: &Key, sync: &Sync) -> PathBuf {
        let digest = Sha256::digest(format!("{key}\n{}", sync.spec.url));
        let short: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        self.config.cache_dir.join(format!("{}-{}-{short}", key.namespace, key.name))
    }

    async fn facts(&self, sync: &Sync) -> Result<Facts, Problem> {
        let (nodes, version) = (self.cluster.nodes().await?, self.cluster.version().await?);
        let mut facts = Facts::from_nodes(&nodes, &version);
        match &self.config.cluster_name {
            Some(name) => facts.name.clone_from(name),
            None if facts.name.is_empty() => facts.name = Facts::default_name(&self.cluster.id().await?),
            None => {}
        }
        Ok(sync.spec.cluster.as_ref().map_or(facts.clone(), |spec| facts.overridden_by(spec)))
    }

    async fn forge(&self, sync: &Sync) -> Result<Option<Forge>, Problem> {
        let spec = sync.spec.forge.clone().unwrap_or_default();
        let namespace = sync.metadata.namespace.as_deref().unwrap_or_default();
        let token = match spec.secret_ref.as_ref().or(sync.spec.secret_ref.as_ref()) {
            Some(secret) => self.credentials(namespace, &secret.name).await?.token(),
            None => None,
        };
        match forge::of(&SafeUrl::new(&sync.spec.url), &spec, token).await {
            Ok(forge) => Ok(Some(forge)),
            Err(reason) => {
                tracing::info!(sync = %Key::of(sync), %reason, "No commit statuses are posted.");
                Ok(None)
            }
        }
    }

    /// `plimsoll/<cluster>`; of several Syncs that follow one repository in a cluster, all but the oldest add their name.
    fn context(&self, key: &Key, sync: &Sync, cluster: &str) -> String {
        if let Some(context) = sync.spec.forge.as_ref().and_then(|forge| forge.context.clone()) {
            return context;
        }
        let age = |sync: &Sync| (sync.metadata.creation_timestamp.clone().map(|time| time.0), Key::of(sync));
        let syncs = self.syncs.borrow();
        let older = syncs.values().any(|other| other.spec.url == sync.spec.url && Key::of(other) != *key && age(other) < age(sync));
        if older { format!("plimsoll/{cluster}/{}", key.name) } else { format!("plimsoll/{cluster}") }
    }
}

/// What is under way and what is next for a Sync.
struct Helm<'a> {
    led: &'a Led,
    /// The commit that the reference stands for, as last seen.
    target: Option<CommitId>,
    /// The commit whose sync came to its end.
    done: Option<CommitId>,
    poll: Option<LocalBoxFuture<'a, Result<CommitId, git::Error>>>,
    sync: Option<LocalBoxFuture<'a, Result<(), sync::Error>>>,
    /// The commit and the cause of the sync that is under way.
    course: Option<(CommitId, Cause)>,
    /// What made us look at the repository.
    woken_by: Cause,
    next_poll: Instant,
    next_resync: Option<Instant>,
    /// What failed is not tried again before.
    next_try: Instant,
    wait: Duration,
    /// Something was seen that must be put right, and when that may be.
    drifted: bool,
    next_drift: Instant,
    drift_wait: Duration,
    /// Since when the API server has been away.
    away_since: Option<Instant>,
}

impl Led {
    /// Leads until it is dropped. `kinds` are those that the leader wants to be watched.
    pub(crate) async fn lead(self, mut kinds: mpsc::UnboundedReceiver<GroupKind>) -> Infallible {
        let ledger = self.leader.sync.status.as_ref().map(|status| Ledger::restore(&status.ledger, Timestamp::now())).unwrap_or_default();
        let teller = Teller { leader: &self.leader, forge: self.forge.clone(), context: self.context.clone(), ledger: RefCell::new(ledger) };
        tokio::select! {
            never = self.steer(&mut kinds) => never,
            never = teller.tell() => never,
        }
    }

    async fn steer(&self, kinds: &mut mpsc::UnboundedReceiver<GroupKind>) -> Infallible {
        let (sender, mut sightings) = mpsc::channel(SIGHTINGS);
        let (mut watches, mut watched) = (JoinSet::new(), BTreeSet::new());
        let mut helm = Helm::new(self);
        loop {
            let changed = self.leader.changed.notified();
            tokio::select! {
                Some(kind) = kinds.recv() => {
                    if watched.insert(kind.clone()) {
                        watches.spawn_local(self.leader.hands.clone().watch(self.leader.mark.applyset.clone(), kind, sender.clone()));
                    }
                }
                Some(seen) = sightings.recv() => helm.notice(seen),
                polled = under_way(&mut helm.poll) => helm.polled(polled),
                synced = under_way(&mut helm.sync) => helm.synced(synced),
                () = self.wake.notified() => helm.woken(),
                () = changed => {}
                () = sleep_until(helm.next()) => {}
            }
            helm.decide();
        }
    }
}

/// The outcome of what is under way; never, if nothing is.
async fn under_way<T>(slot: &mut Option<LocalBoxFuture<'_, T>>) -> T {
    let Some(future) = slot else { return std::future::pending().await };
    let outcome = future.await;
    *slot = None;
    outcome
}

impl<'a> Helm<'a> {
    fn new(led: &'a Led) -> Self {
        let now = Instant::now();
        Self {
            led,
            target: None,
            done: None,
            poll: None,
            sync: None,
            course: None,
            woken_by: Cause::Start,
            next_poll: now,
            next_resync: led.times.resync.map(|every| now + every),
            next_try: now,
            wait: FIRST_RETRY,
            drifted: false,
            next_drift: now,
            drift_wait: Duration::ZERO,
            away_since: None,
        }
    }

    /// Starts whatever is due.
    fn decide(&mut self) {
        let now = Instant::now();
        if self.led.leader.sync.spec.suspend {
            return;
        }
        if self.poll.is_none() && now >= self.next_poll {
            self.next_poll = now + self.led.times.poll.mul_f64(0.9 + random() / 5.0);
            self.poll = Some(self.led.leader.source.poll(&self.led.leader.reference).boxed_local());
        }
        if let Some((commit, cause)) = self.due(now) {
            self.course = Some((commit, cause));
            self.sync = Some(self.led.leader.sync(commit, cause).boxed_local());
        }
    }

    /// The sync that is to begin now. A newer commit puts an end to the sync of an older one.
    fn due(&mut self, now: Instant) -> Option<(CommitId, Cause)> {
        let target = self.target?;
        let running = self.sync.as_ref().and(self.course.as_ref()).map(|(commit, _)| *commit);
        if running.is_some_and(|commit| commit == target) || now < self.next_try {
            return None;
        }
        if self.done != Some(target) {
            return Some((target, self.woken_by));
        }
        if running.is_some() {
            return None;
        }
        let state = self.led.leader.state.borrow();
        if self.drifted && now >= self.next_drift {
            self.drift_wait = (self.drift_wait * 2).clamp(Duration::from_secs(1), LONGEST_RETRY);
            (self.drifted, self.next_drift) = (false, now + self.drift_wait);
            return Some((target, Cause::Drift));
        }
        if self.next_resync.is_some_and(|time| now >= time) {
            return Some((target, Cause::Resync));
        }
        (state.wants_retry() || state.released()).then_some((target, Cause::Retry))
    }

    /// When something is due by itself.
    fn next(&self) -> Instant {
        let drift = self.drifted.then_some(self.next_drift);
        let retry = (self.sync.is_none() && (self.target != self.done || self.led.leader.state.borrow().wants_retry())).then_some(self.next_try);
        let suspended = self.led.leader.sync.spec.suspend;
        let times = [Some(self.next_poll), self.next_resync, drift, retry];
        let next = times.into_iter().flatten().min().unwrap_or(self.next_poll);
        if suspended { Instant::now() + RESYNC } else { next }
    }

    fn woken(&mut self) {
        (self.next_poll, self.woken_by) = (Instant::now(), Cause::Push);
    }

    fn notice(&mut self, seen: Seen) {
        let leader = &self.led.leader;
        self.drifted |= match seen {
            Seen::Present(sighting) => leader.state.borrow_mut().seen(sighting),
            Seen::Gone { id, uid } => leader.is_gone(&id, &uid),
            Seen::Listed { kind, present } => leader.state.borrow_mut().only((&kind.group, &kind.kind), &present),
        };
        if !self.drifted {
            self.calm_down();
        }
        leader.changed.notify_waiters();
    }

    /// A fight that has ended is forgotten.
    fn calm_down(&mut self) {
        if Instant::now() > self.next_drift + LONGEST_RETRY {
            self.drift_wait = Duration::ZERO;
        }
    }

    fn polled(&mut self, polled: Result<CommitId, git::Error>) {
        self.led.leader.metrics.polled(polled.is_ok());
        match polled {
            Ok(commit) => {
                if self.led.leader.state.borrow_mut().source_error.take().is_some() {
                    self.led.leader.changed.notify_waiters();
                }
                if self.target != Some(commit) {
                    (self.target, self.next_try) = (Some(commit), Instant::now());
                }
            }
            Err(error) => self.no_source(&error),
        }
    }

    /// The repository can't be read: said on the Sync, while everything stays as it is.
    fn no_source(&mut self, error: &git::Error) {
        let text = report::redact(&format!("{error}. {}", error.hint()));
        let news = self.led.leader.state.borrow_mut().source_error.replace(text.clone()).as_ref() != Some(&text);
        if news {
            tracing::warn!(sync = %self.led.key, error = %text, "Can't read the repository.");
            self.led.leader.changed.notify_waiters();
        }
        if let Some(after) = error.retry_after() {
            self.next_poll = self.next_poll.max(Instant::now() + after);
        }
    }

    fn synced(&mut self, synced: Result<(), sync::Error>) {
        let Some((commit, cause)) = self.course.take() else { return };
        match synced {
            Ok(()) => self.arrived(commit, cause),
            Err(sync::Error::Git(error)) => {
                self.no_source(&error);
                self.try_later();
            }
            Err(sync::Error::LeaseLost) => self.try_later(),
            Err(error) => self.no_cluster(&error),
        }
        self.woken_by = Cause::Poll;
    }

    fn arrived(&mut self, commit: CommitId, cause: Cause) {
        (self.done, self.away_since) = (Some(commit), None);
        if matches!(cause, Cause::Resync | Cause::Start) {
            self.next_resync = self.led.times.resync.map(|every| Instant::now() + every.mul_f64(0.9 + random() / 5.0));
        }
        let leader = &self.led.leader;
        leader.state.borrow_mut().agent_error = None;
        let report = leader.state.borrow_mut().report(Timestamp::now());
        let short = leader.state.borrow().short.clone();
        leader.metrics.synced(&report);
        tracing::info!(sync = %self.led.key, "{}", report::summary(&report, cause.as_str(), &short));
        if leader.state.borrow().wants_retry() {
            self.try_later();
        } else {
            self.wait = FIRST_RETRY;
        }
    }

    /// The API server can't be used. For a while that is no news: it may be restarting.
    fn no_cluster(&mut self, error: &sync::Error) {
        let since = *self.away_since.get_or_insert_with(Instant::now);
        let text = report::redact(&error.to_string());
        tracing::warn!(sync = %self.led.key, error = %text, "The sync was broken off; it will be tried again.");
        if since.elapsed() > PATIENCE || !error.is_transient() {
            self.led.leader.state.borrow_mut().agent_error = Some(text);
            self.led.leader.changed.notify_waiters();
        }
        self.try_later();
    }

    fn try_later(&mut self) {
        self.next_try = Instant::now() + self.wait.mul_f64(0.5 + random() / 2.0);
        self.wait = (self.wait * 2).min(LONGEST_RETRY);
    }
}
