//! The process: which Syncs there are, which of them this process leads, and what wakes each.
//!
//! Every Sync is followed by a task of its own: it stands by until it gets the Lease, then it leads until the Lease, the Sync or the process
//! ends. A standby holds no repository and no watch on workloads.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::fmt;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::{JoinHandle, LocalSet};
use tokio::time::sleep;

use crate::api::{Sync, WAKE_ANNOTATION};
use crate::cli::{Failure, paced_runtime};
use crate::cluster::lease::{Fence, Lease, Standing};
use crate::cluster::{self, Cluster, Event, Events, Refusal, Regarding, SyncSeen, Tone};
use crate::config::AgentConfig;
use crate::first;
use crate::install::NAMESPACE;
use crate::metrics::Metrics;
use crate::pace::Pace;
use crate::queue::Backoff;
use crate::report;
use crate::server::{self, Hooks, Vitals};
use crate::status;

/// How many wakes and events may wait to be looked at.
const WAKES: usize = 64;
/// How long what was installed may take to be served.
const SETTLING: Duration = Duration::from_secs(60);
/// How long to wait before the first Sync is tried again.
const FIRST_SYNC: Backoff = Backoff { first: Duration::from_millis(500), most: Duration::from_secs(60) };
/// How long it may take to resolve what a deleted Sync left pending.
const LEAVE: Duration = Duration::from_secs(60);
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
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) hooks: Hooks,
    /// The one Sync that is followed, for `plimsoll dev`; else all that are no working trees.
    only: Option<Key>,
    /// At which its thread follows what happens.
    pub(crate) pace: Pace,
    /// The Syncs as they are, so that each can tell whether another follows the same repository.
    pub(crate) syncs: RefCell<BTreeMap<Key, Arc<Sync>>>,
    /// The Syncs that this process leads.
    leading: RefCell<BTreeSet<Key>>,
    /// What was told of Syncs that can't be led yet.
    events: tokio::sync::Mutex<Events>,
    /// Rung when the repository of a Sync may have changed.
    wakes: RefCell<BTreeMap<Key, Arc<Notify>>>,
}

/// The task that follows one Sync.
struct Follower {
    sync: watch::Sender<Option<Arc<Sync>>>,
    task: JoinHandle<()>,
}

/// Why a leader no longer leads.
enum Ended {
    /// The Sync was deleted, or the process ends.
    Stop,
    /// Another process may lead.
    Lost,
}

/// Runs the agent until SIGTERM or SIGINT.
///
/// # Errors
/// The cluster can't be reached, or an address can't be listened on.
pub fn run(config: AgentConfig) -> Result<(), Failure> {
    let pace = Pace::new(Instant::now());
    paced_runtime(pace.clone())?.block_on(follow_all(config, None, pace))
}

/// As [`run`], but on a runtime that is there, and for one Sync alone.
pub(crate) async fn follow_all(config: AgentConfig, only: Option<Key>, pace: Pace) -> Result<(), Failure> {
    let client = cluster::connect(&config.cluster).await?;
    let (wake, woken) = mpsc::channel(WAKES);
    let (vitals, probes) = watch::channel(Vitals::default());
    let cluster = Cluster::new(client);
    let agent = Rc::new(Agent {
        events: tokio::sync::Mutex::new(Events::new(cluster.clone(), &config.identity)),
        cluster,
        metrics: Arc::default(),
        hooks: Hooks::new(wake),
        only,
        pace,
        syncs: RefCell::default(),
        leading: RefCell::default(),
        wakes: RefCell::default(),
        config,
    });
    agent.serve(probes).await?;
    tracing::info!(identity = %agent.config.identity, version = env!("CARGO_PKG_VERSION"), "Started.");
    LocalSet::new().run_until(agent.watch_syncs(vitals, woken)).await;
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
    async fn serve(&self, probes: watch::Receiver<Vitals>) -> Result<(), Failure> {
        let listener = listen(self.config.listen).await?;
        tokio::spawn(server::serve(listener, server::observe(probes, self.metrics.clone()), std::future::pending()));
        if let Some(address) = self.config.hook_listen {
            tokio::spawn(server::serve(listen(address).await?, server::hooks(self.hooks.clone()), std::future::pending()));
        }
        Ok(())
    }

    /// Starts and ends followers as Syncs come and go.
    async fn watch_syncs(self: Rc<Self>, vitals: watch::Sender<Vitals>, mut woken: mpsc::Receiver<String>) {
        let (sender, mut seen) = mpsc::channel(WAKES);
        let (cluster, namespace) = (self.cluster.clone(), self.config.namespace.clone());
        let watching = tokio::spawn(async move { cluster.syncs(namespace.as_deref(), sender).await });
        self.begin();
        let mut followers = Followers::default();
        let stop = stopped();
        tokio::pin!(stop);
        loop {
            tokio::select! {
                () = &mut stop => break,
                Some(sync) = woken.recv() => self.wake(&sync),
                event = seen.recv() => match event {
                    Some(event) => self.notice(&mut followers, event, &vitals),
                    None => break,
                }
            }
        }
        watching.abort();
        followers.end().await;
    }

    /// An agent for one namespace, or for one Sync, makes none that it would not follow.
    fn begin(self: &Rc<Self>) {
        let ours = self.config.namespace.as_deref().is_none_or(|namespace| namespace == NAMESPACE);
        if ours && self.only.is_none() {
            tokio::task::spawn_local(self.clone().make_first());
        }
    }

    /// Makes the Sync that `plimsoll install` left, unless that was done. Whatever comes of it, the agent goes on.
    async fn make_first(self: Rc<Self>) {
        let (began, mut failures) = (Instant::now(), 0);
        loop {
            let (map, refusal) = match self.cluster.first_sync().await {
                Ok(Some(map)) => match self.make_first_of(&map).await {
                    Ok(()) => return,
                    Err(refusal) => (Some(map), refusal),
                },
                Ok(None) => return,
                Err(refusal) => (None, refusal),
            };
            if !may_pass(&refusal, began.elapsed()) {
                return self.tell_first(map.as_ref(), &refusal).await;
            }
            tracing::debug!(%refusal, "The first Sync can't be made yet.");
            failures += 1;
            sleep(FIRST_SYNC.delay(failures, random())).await;
        }
    }

    async fn make_first_of(&self, map: &ConfigMap) -> Result<(), Refusal> {
        let wanted = first::wanted(map).map_err(|message| Refusal::Invalid { fields: Vec::new(), message })?;
        let Some(wanted) = wanted else { return Ok(()) };
        let taken: Vec<_> = self.cluster.make_first_sync(&wanted).await?.iter().map(ToString::to_string).collect();
        self.cluster.note_first_sync(&wanted).await?;
        let taken = if taken.is_empty() { String::new() } else { format!(" Taken over: {}.", taken.join(", ")) };
        tracing::info!(sync = %format!("{NAMESPACE}/{}", wanted.name), "The Sync is as it was installed.{taken}");
        Ok(())
    }

    async fn tell_first(&self, map: Option<&ConfigMap>, refusal: &Refusal) {
        let name = first::NAME;
        tracing::error!(
            "ConfigMap {NAMESPACE}/{name}: no Sync was made of it: {refusal}; correct what is wrong and run `plimsoll install` again"
        );
        let Some(map) = map else { return };
        let shared = map.data.as_ref().and_then(|data| data.get(first::KEY)).map(|text| first::digest(text));
        let regarding = Regarding { kind: ("v1", "ConfigMap"), metadata: &map.metadata, shared: shared.as_deref() };
        let note = format!("No Sync was made of it: {refusal}; correct what is wrong and run `plimsoll install` again");
        let event = Event { tone: Tone::Warning, reason: refusal.reason(), action: "Install", note: &note };
        if let Err(refusal) = self.events.lock().await.tell_of(&regarding, &event).await {
            tracing::warn!(%refusal, "Could not write an event.");
        }
    }

    fn notice(self: &Rc<Self>, followers: &mut Followers, event: SyncSeen, vitals: &watch::Sender<Vitals>) {
        match event {
            SyncSeen::Restarted => followers.told = Some(BTreeSet::new()),
            SyncSeen::Sync(sync) => self.meet(followers, Arc::new(*sync)),
            SyncSeen::Deleted(sync) => {
                let key = Key::of(&sync);
                if self.leading.borrow().contains(&key) {
                    tokio::task::spawn_local(self.clone().take_leave(key.clone(), sync));
                }
                self.part(followers, &key);
            }
            SyncSeen::Unreadable(why) => tracing::error!("A Sync can't be read: {why}"),
            SyncSeen::Whole => {
                vitals.send_replace(Vitals { dead: None, unready: None });
                for key in followers.missing() {
                    self.part(followers, &key);
                }
            }
            SyncSeen::Blind(refusal) => {
                let hint = if matches!(refusal, Refusal::Forbidden { .. }) { "; `plimsoll install` prints what is needed" } else { "" };
                let why = format!("the Syncs can't be seen: {refusal}{hint}");
                // It is tried again and again; the log is told what is new.
                let known = vitals.send_replace(Vitals { dead: None, unready: Some(why.clone()) });
                if known.unready.as_ref() != Some(&why) {
                    tracing::warn!("Not ready: {why}");
                }
            }
        }
    }

    fn meet(self: &Rc<Self>, followers: &mut Followers, sync: Arc<Sync>) {
        let key = Key::of(&sync);
        if !self.is_mine(&key, &sync) {
            return;
        }
        followers.told.iter_mut().for_each(|told| _ = told.insert(key.clone()));
        let before = self.syncs.borrow_mut().insert(key.clone(), sync.clone());
        if before.as_ref().is_some_and(|before| wake_word(before) != wake_word(&sync)) {
            self.ring(&key);
        }
        if before.is_none_or(|before| before.metadata.generation != sync.metadata.generation) {
            tokio::task::spawn_local(self.clone().hook_up(key.clone(), sync.clone()));
        }
        if let Some(follower) = followers.all.get(&key) {
            follower.sync.send_if_modified(|known| replace_if_news(known, sync));
            return;
        }
        let (sender, receiver) = watch::channel(Some(sync));
        let task = tokio::task::spawn_local(self.clone().follow(key.clone(), receiver));
        followers.all.insert(key, Follower { sync: sender, task });
    }

    /// A working tree is followed on the machine that has it, and only there.
    fn is_mine(&self, key: &Key, sync: &Sync) -> bool {
        match &self.only {
            Some(only) => only == key,
            None => !sync.spec.url.starts_with(crate::dev::SCHEME),
        }
    }

    fn part(&self, followers: &mut Followers, key: &Key) {
        self.syncs.borrow_mut().remove(key);
        self.wakes.borrow_mut().remove(key);
        self.hooks.remove(&key.to_string());
        self.metrics.forget(&key.to_string());
        if let Some(follower) = followers.all.remove(key) {
            _ = follower.sync.send(None);
        }
    }

    /// What a deleted Sync left pending on commits is resolved, for nobody will come back to it.
    async fn take_leave(self: Rc<Self>, key: Key, sync: Box<Sync>) {
        let said = tokio::time::timeout(LEAVE, async {
            let credentials = self.credentials(&key, &sync).await?;
            let access = self.access(&key, &sync, &credentials).await?;
            status::resolve(&sync, &access).await;
            Ok::<_, crate::lead::Problem>(())
        });
        if let Ok(Err(problem)) = said.await {
            tracing::warn!(sync = %key, %problem, "Could not resolve what is pending on commits.");
        }
    }

    async fn hook_up(self: Rc<Self>, key: Key, sync: Arc<Sync>) {
        if let Err(problem) = self.take_hooks(&key, &sync).await {
            // The leader says so on the Sync; a standby has nothing to add.
            tracing::debug!(sync = %key, %problem, "No push hooks are taken.");
        }
    }

    /// A push hook came. Only the leader looks at the repository; a standby leaves it a word on the Sync.
    fn wake(self: &Rc<Self>, sync: &str) {
        let known = self.syncs.borrow().iter().find(|(key, _)| key.to_string() == sync).map(|(key, sync)| (key.clone(), sync.clone()));
        match known {
            Some((key, _)) if self.leading.borrow().contains(&key) => self.ring(&key),
            Some((key, sync)) => drop(tokio::task::spawn_local(self.clone().pass_on(key, sync))),
            None => {}
        }
    }

    async fn pass_on(self: Rc<Self>, key: Key, sync: Arc<Sync>) {
        let word = BTreeMap::from([(WAKE_ANNOTATION.to_owned(), Some(Timestamp::now().to_string()))]);
        if let Err(refusal) = self.cluster.mark_sync(&sync, &BTreeMap::new(), &word).await {
            tracing::warn!(sync = %key, %refusal, "Could not pass a push hook on; the next poll finds what is new.");
        }
    }

    fn ring(&self, key: &Key) {
        self.wakes.borrow().get(key).iter().for_each(|wake| wake.notify_one());
    }

    /// What to ring when the repository of a Sync may have changed.
    pub(crate) fn wake_of(&self, key: &Key) -> Arc<Notify> {
        self.wakes.borrow_mut().entry(key.clone()).or_default().clone()
    }

    /// Stands by, leads, and stands by again, until the Sync is gone.
    async fn follow(self: Rc<Self>, key: Key, mut news: watch::Receiver<Option<Arc<Sync>>>) {
        let uid = news.borrow().as_ref().and_then(|sync| sync.metadata.uid.clone()).unwrap_or_default();
        let mut lease = Lease::new(self.cluster.clone(), &key.namespace, &key.name, &uid, &self.config.identity);
        loop {
            tokio::select! {
                () = acquire(&mut lease, &key) => {}
                () = gone(news.clone()) => break,
            }
            tracing::info!(sync = %key, identity = %self.config.identity, "Leading.");
            self.metrics.leader(&key.to_string(), true);
            self.leading.borrow_mut().insert(key.clone());
            let ended = self.lead_on(&key, &mut lease, &mut news).await;
            self.leading.borrow_mut().remove(&key);
            self.metrics.leader(&key.to_string(), false);
            match ended {
                Ended::Lost => tracing::warn!(sync = %key, "The Lease was lost; standing by."),
                Ended::Stop => break,
            }
        }
        if let Err(refusal) = lease.release().await {
            tracing::warn!(sync = %key, %refusal, "Could not give the Lease back; it ends by itself.");
        }
    }

    /// Leads as often as the Sync changes, under one Lease.
    async fn lead_on(&self, key: &Key, lease: &mut Lease, news: &mut watch::Receiver<Option<Arc<Sync>>>) -> Ended {
        let fence = lease.fence();
        let lead = async {
            loop {
                let Some(sync) = news.borrow_and_update().clone() else { return Ended::Stop };
                tokio::select! {
                    never = self.lead(key, &sync, &fence) => match never {},
                    _ = news.changed() => {}
                }
            }
        };
        tokio::select! {
            ended = lead => ended,
            () = keep(lease, key) => Ended::Lost,
        }
    }

    /// Leads a Sync as it is now; tries again for as long as something that it needs is missing.
    async fn lead(&self, key: &Key, sync: &Arc<Sync>, fence: &Fence) -> Infallible {
        let backoff = Backoff::default();
        let mut failures = 0;
        loop {
            match self.prepare(key, sync, fence).await {
                Ok((led, kinds)) => {
                    led.lead(self, kinds).await;
                    failures = 0;
                }
                Err(problem) => {
                    self.tell_problem(key, sync, &problem.to_string()).await;
                    failures += 1;
                    sleep(backoff.delay(failures, random())).await;
                }
            }
        }
    }

    /// A Sync that can't be led yet says so.
    async fn tell_problem(&self, key: &Key, sync: &Arc<Sync>, problem: &str) {
        let problem = report::redact(problem);
        tracing::error!(sync = %key, error = %problem, "Can't begin.");
        let report =
            report::Report { agent_error: Some(problem.clone()), progress: report::Progress::Finished, ..report::Report::default() };
        let mut status = sync.status.clone().unwrap_or_default();
        let generation = sync.metadata.generation;
        status.conditions = report::conditions(&report, &status.conditions, generation, Timestamp::now());
        (status.state, status.message) = (Some(report::State::AgentError.as_str().to_owned()), Some(report::verdict(&report).description));
        status.observed_generation = generation;
        if sync.status.as_ref() == Some(&status) {
            return;
        }
        if let Err(refusal) = self.cluster.set_status(sync, &status).await {
            tracing::warn!(sync = %key, %refusal, "Could not write the status of the Sync.");
        }
        let event = Event { tone: Tone::Warning, reason: report::State::AgentError.as_str(), action: "Begin", note: &problem };
        if let Err(refusal) = self.events.lock().await.tell(sync, &event).await {
            tracing::warn!(sync = %key, %refusal, "Could not write an event.");
        }
    }
}

/// The tasks that follow Syncs, and what a list that is being told has named so far.
#[derive(Default)]
struct Followers {
    all: BTreeMap<Key, Follower>,
    told: Option<BTreeSet<Key>>,
}

impl Followers {
    /// Syncs that went while nobody looked: a list has ended without them.
    fn missing(&mut self) -> Vec<Key> {
        let told = self.told.take();
        told.map(|told| self.all.keys().filter(|key| !told.contains(key)).cloned().collect()).unwrap_or_default()
    }

    /// Ends all, so that each gives its Lease back.
    async fn end(self) {
        for follower in self.all.values() {
            _ = follower.sync.send(None);
        }
        let all = futures_util::future::join_all(self.all.into_values().map(|follower| follower.task));
        _ = tokio::time::timeout(FAREWELL, all).await;
    }
}

/// Whether the first Sync may be made a little later. What was installed a moment ago (the definition, the rights) is served a moment later.
fn may_pass(refusal: &Refusal, since: Duration) -> bool {
    let settling = matches!(refusal, Refusal::NoKind { .. } | Refusal::Forbidden { .. } | Refusal::NamespaceMissing { .. });
    refusal.is_transient() || (settling && since < SETTLING)
}

fn wake_word(sync: &Sync) -> Option<&String> {
    sync.metadata.annotations.as_ref()?.get(WAKE_ANNOTATION)
}

/// Our own writes to status and annotations come back as events; only what the user wrote is news.
fn replace_if_news(known: &mut Option<Arc<Sync>>, sync: Arc<Sync>) -> bool {
    let identity = |sync: &Sync| (sync.metadata.uid.clone(), sync.metadata.generation);
    let news = known.as_ref().is_none_or(|known| identity(known) != identity(&sync));
    *known = Some(sync);
    news
}

async fn listen(address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|error| format!("can't listen on {address}: {error}; choose another address").into())
}

async fn gone(mut news: watch::Receiver<Option<Arc<Sync>>>) {
    // An error: whoever told us of Syncs has ended, and so do we.
    _ = news.wait_for(Option::is_none).await;
}

/// Stands by until the Lease is ours.
async fn acquire(lease: &mut Lease, key: &Key) {
    loop {
        match lease.try_acquire().await {
            Ok(Standing::Held) => return,
            Ok(Standing::Waiting { holder }) => tracing::debug!(sync = %key, %holder, "Standing by."),
            Err(refusal) => tracing::warn!(sync = %key, %refusal, "Can't look at the Lease."),
        }
        sleep(lease.pause(Instant::now())).await;
    }
}

/// Renews the Lease until it is lost.
async fn keep(lease: &mut Lease, key: &Key) {
    while lease.still_held(Instant::now()) {
        sleep(lease.pause(Instant::now())).await;
        if let Err(refusal) = lease.try_acquire().await {
            tracing::warn!(sync = %key, %refusal, "Can't renew the Lease.");
        }
    }
}
