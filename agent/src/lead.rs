//! Leading one Sync: what has to be known before the first sync, and what wakes the next.
//!
//! One loop owns everything that happens to the Sync; a sync runs beside it and is dropped when a newer commit makes it pointless.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::{FutureExt, LocalBoxFuture};
use futures_util::stream::FuturesUnordered;
use jiff::Timestamp;
use overlays::object::ObjectId;
use sha2::{Digest, Sha256};
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep_until};

use crate::agent::{Agent, Key, random};
use crate::api::{self, ClusterSpec, Sync};
use crate::baseline::Baselines;
use crate::bases::{Bases, Permit};
use crate::cluster::lease::Fence;
use crate::cluster::{Cluster, Mark, Record, Refusal, Resource, Seen, Sight, Watches};
use crate::drift::{self, Freeze, Policy};
use crate::facts::{self, Facts};
use crate::forge::{Access, Credential};
use crate::git::{self, CommitId, Credentials, Git, Limits, Reference};
use crate::inventory::{Inventory, applyset_id};
use crate::pace::Pace;
use crate::queue::Cause;
use crate::secret::{SafeUrl, Secret};
use crate::server::{HookForge, HookSecret};
use crate::source::Source;
use crate::state::{Sighting, State, Uid};
use crate::status::Teller;
use crate::sync::{self, Leader};
use crate::{config, dev, report};

const POLL: Duration = Duration::from_secs(30);
const TIMEOUT: Duration = Duration::from_secs(300);
/// The first wait before something that failed is tried again; it doubles up to [`LONGEST_RETRY`].
const FIRST_RETRY: Duration = Duration::from_secs(2);
/// See [`FIRST_RETRY`].
const LONGEST_RETRY: Duration = Duration::from_secs(120);
/// How many events of watches may wait to be looked at; beyond, the watches wait.
const SIGHTINGS: usize = 256;
/// How long an API server that is away is no news: it may be restarting.
const PATIENCE: Duration = Duration::from_secs(30);
/// The least time between two workloads whose Pods are asked for: a cluster full of broken ones costs a dozen small requests a second at most.
const BETWEEN_INQUIRIES: Duration = Duration::from_millis(250);
/// How long baselines that have changed wait to be kept: what changes together is written once.
const KEEP: Duration = Duration::from_secs(10);
/// How long the files of the live revision stay open after something was rendered: one object that was changed is seldom the only one.
const CLOSE: Duration = Duration::from_secs(10);
/// How long to wait before what could not be kept is tried again.
const KEEP_AGAIN: Duration = Duration::from_secs(60);
/// Longer than anything is waited for by time alone.
const LONG: Duration = Duration::from_secs(3600);
/// How long credentials that were read again are kept before they are read once more.
const REREAD: Duration = Duration::from_secs(15);

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

/// Kinds that are to be watched.
pub(crate) type Kinds = mpsc::UnboundedReceiver<Resource>;

/// A leader with all that wakes it.
pub(crate) struct Led {
    key: Key,
    leader: Leader,
    context: String,
    identity: String,
    pace: Pace,
    /// Rung by the push hook, or when a working tree is saved.
    wake: Arc<Notify>,
    times: Times,
    /// How often an object is audited; none is never.
    audit: Option<Duration>,
    keys: Keys,
    /// When the nodes are to be asked again for what the cluster is.
    next_look: Option<Duration>,
}

/// What opens the repository and the forge; read again when it is refused, for it may have been rotated.
#[derive(Default)]
struct Keys {
    credentials: RefCell<Credentials>,
    access: RefCell<Access>,
    access_changed: Notify,
    access_refused: Notify,
}

fn read_credentials(values: &BTreeMap<String, Secret>) -> Result<Credentials, Problem> {
    Ok(Credentials::from_entries(values.iter().map(|(key, value)| (key.as_str(), value.reveal().as_bytes())))?)
}

/// All that is ours already, as the inventory names its kinds. What can't be seen is not ours to prune either.
async fn owned(
    cluster: &Cluster,
    applyset: &str,
    inventory: &Inventory,
    watched: &mpsc::UnboundedSender<Resource>,
) -> Result<Vec<Record>, Problem> {
    let mut kinds = Vec::new();
    for kind in &inventory.kinds {
        match cluster.resolve_any(&kind.group, &kind.kind).await {
            Ok(resource) => kinds.push(resource),
            Err(Refusal::NoKind { .. }) => {}
            Err(refusal) => return Err(refusal.into()),
        }
    }
    let owned = cluster.owned(applyset, &kinds).await;
    for (kind, refusal) in &owned.unseen {
        tracing::warn!(kind = %kind.name(), %refusal, "What we own of this kind can't be seen; nothing of it will be pruned.");
    }
    // Whoever listens is not there yet; what is sent waits.
    kinds.into_iter().for_each(|kind| _ = watched.send(kind));
    Ok(owned.objects)
}

/// Where what is ours may be found, as the Sync's annotations say.
fn inventory_of(key: &Key, sync: &Sync) -> Result<Inventory, Problem> {
    let annotations = sync.metadata.annotations.clone().unwrap_or_default();
    Inventory::from_annotations(&annotations, &key.namespace).map_err(|error| Problem::Spec(error.to_string()))
}

/// The rights that objects are applied with: those of the ServiceAccount that the Sync names, or our own.
fn hands(cluster: &Cluster, key: &Key, sync: &Sync) -> Result<Cluster, Problem> {
    Ok(match &sync.spec.service_account_name {
        Some(name) => cluster.acting_as(&key.namespace, name)?,
        None => cluster.clone(),
    })
}

/// What an earlier process has left: what is there, and how it was when it was applied.
fn recalled(owned: Vec<Record>, kept: Baselines) -> State {
    let mut state = State::default();
    for record in owned {
        let id = record.id.clone();
        state.seen(sighting(record), None, Timestamp::now());
        state.remember(&id, kept.get(&id));
    }
    State { kept, ..state }
}

fn sighting(record: Record) -> Sighting {
    Sighting {
        version: record.resource_version.parse().unwrap_or_default(),
        id: record.id,
        uid: Uid::from(&*record.uid),
        app: record.app,
        generation: record.generation,
        health: record.health,
        print: record.print,
        raw: record.raw,
    }
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
        let resync = read("resync", &spec.resync, Duration::ZERO)?;
        Ok(Self {
            // A poll is one small request; more often than this it is a load on the forge, not news.
            poll: read("poll", &spec.poll, POLL)?.max(Duration::from_secs(1)),
            resync: (!resync.is_zero()).then_some(resync),
            timeout: read("timeout", &spec.timeout, TIMEOUT)?,
        })
    }
}

/// What a Sync's spec asks for that may be said wrongly.
struct Orders {
    times: Times,
    reference: Reference,
    policy: Policy,
    freeze: Freeze,
}

impl Orders {
    fn of(spec: &api::SyncSpec) -> Result<Self, Problem> {
        Ok(Self {
            times: Times::of(spec)?,
            reference: Reference::from_spec(spec.reference.as_ref())?,
            policy: Policy::of_sync(spec.drift.as_deref()).map_err(|error| Problem::Spec(format!("spec.drift: {error}")))?,
            freeze: Freeze::of(&spec.freeze).map_err(|error| Problem::Spec(format!("spec.freeze: {error}")))?,
        })
    }
}

impl Agent {
    /// Learns all that is needed to lead a Sync.
    pub(crate) async fn prepare(&self, key: &Key, sync: &Arc<Sync>, fence: &Fence) -> Result<(Led, Kinds), Problem> {
        let Orders { times, reference, policy, freeze } = Orders::of(&sync.spec)?;
        let wake = self.wake_of(key);
        self.take_hooks(key, sync).await?;
        let credentials = self.credentials(key, sync).await?;
        let source = self.source(key, sync, credentials.clone(), &wake, None)?;
        let access = RefCell::new(self.access(key, sync, &credentials).await?);
        let (facts, next_look) = self.facts(sync, times.resync).await?;
        let inventory = inventory_of(key, sync)?;
        let cluster = self.cluster.fenced(fence.clone());
        let hands = hands(&cluster, key, sync)?;
        let applyset = applyset_id(&key.namespace, &key.name);
        let (watched, kinds) = mpsc::unbounded_channel();
        let kept = Baselines::decode(&cluster.baselines(sync).await?);
        let state = State {
            timeout: times.timeout,
            suspended: sync.spec.suspend,
            cluster: ClusterSpec { name: Some(facts.name.clone()), labels: facts.labels.clone() },
            ..recalled(owned(&hands, &applyset, &inventory, &watched).await?, kept)
        };
        let context = self.context(key, sync, &facts.name);
        let default_namespace = sync.spec.target_namespace.clone().unwrap_or_else(|| key.namespace.clone());
        let (flight, gate) = sync::limits();
        let leader = Leader {
            sync: sync.clone(),
            source: RefCell::new(source),
            reference,
            cluster,
            hands,
            facts,
            mark: Mark { applyset, app: String::new(), default_namespace },
            fence: fence.clone(),
            watched,
            metrics: self.metrics.clone(),
            name: key.to_string(),
            state: RefCell::new(state),
            inventory: RefCell::new(inventory),
            gone: RefCell::default(),
            notes: RefCell::default(),
            changed: Notify::new(),
            flight,
            gate,
            pen: tokio::sync::Mutex::default(),
            shop: RefCell::default(),
            choices: RefCell::default(),
            live: RefCell::default(),
            healing: RefCell::default(),
            policy,
            freeze,
            kept: Cell::new(0),
        };
        let (key, identity) = (key.clone(), self.config.identity.clone());
        let keys = Keys { credentials: RefCell::new(credentials), access, ..Keys::default() };
        let audit = (!self.config.audit.is_zero()).then_some(self.config.audit);
        Ok((Led { key, leader, context, identity, pace: self.pace.clone(), wake, times, audit, keys, next_look }, kinds))
    }

    fn source(
        &self,
        key: &Key,
        sync: &Sync,
        credentials: Credentials,
        wake: &Arc<Notify>,
        old: Option<&Source>,
    ) -> Result<Source, Problem> {
        if let Some(dir) = sync.spec.url.strip_prefix(dev::SCHEME) {
            let bases = self.bases(key, sync, None, credentials, old);
            return Ok(Source::working_tree(Path::new(dir), wake.clone(), bases)?);
        }
        let url = SafeUrl::new(&sync.spec.url);
        if git::is_local(&url) && !self.config.allow_local {
            return Err(Problem::Spec(format!(
                "spec.url `{url}` is on the disk of the agent's machine; start the agent with --allow-local to permit that"
            )));
        }
        let bases = self.bases(key, sync, Some(&url), credentials.clone(), old);
        Ok(Source::repository(Git::new(self.store(key, sync), url, credentials, Limits::default())?, bases))
    }

    /// The remote bases of a Sync; what was brought before is here still.
    fn bases(&self, key: &Key, sync: &Sync, url: Option<&SafeUrl>, credentials: Credentials, old: Option<&Source>) -> Bases {
        let permit = match (&sync.spec.remote_bases, url) {
            (None, _) => Permit::Nobody,
            (Some(bases), Some(_)) => Permit::Hosts(bases.hosts.clone()),
            // A working tree is that of the person who runs this process.
            (Some(bases), None) => Permit::of_person(&bases.hosts),
        };
        match old {
            Some(old) => old.bases().renewed(permit, url, credentials),
            None => Bases::new(permit, self.store(key, sync).join("bases"), url, credentials),
        }
    }

    /// Takes push hooks for a Sync from now on, whoever leads it: a forge knows an address, not who is behind it.
    pub(crate) async fn take_hooks(&self, key: &Key, sync: &Sync) -> Result<(), Problem> {
        let Some(hook) = &sync.spec.hook else {
            self.hooks.remove(&key.to_string());
            return Ok(());
        };
        let word = hook.kind.as_deref().unwrap_or("gitea");
        let forge = HookForge::parse(word)
            .ok_or_else(|| Problem::Spec(format!("spec.hook.type `{word}` is not known; it may be gitea, forgejo, github or gitlab")))?;
        let values = self.secret(&key.namespace, &hook.secret_ref.name).await?;
        let secret = values.get("secret").cloned().unwrap_or_default();
        let secret = HookSecret::new(secret).map_err(|error| Problem::Spec(format!("Secret {}: {error}", hook.secret_ref.name)))?;
        self.hooks.set(&key.to_string(), forge, secret);
        Ok(())
    }

    async fn secret(&self, namespace: &str, name: &str) -> Result<BTreeMap<String, Secret>, Problem> {
        let secret = self.cluster.secret(namespace, name).await?;
        secret.map(|secret| secret.values).ok_or_else(|| {
            Problem::Spec(format!("there is no Secret {name} in namespace {namespace}; create it, or change what the Sync refers to"))
        })
    }

    pub(crate) async fn credentials(&self, key: &Key, sync: &Sync) -> Result<Credentials, Problem> {
        match &sync.spec.secret_ref {
            Some(secret) => read_credentials(&self.secret(&key.namespace, &secret.name).await?),
            None => Ok(Credentials::default()),
        }
    }

    pub(crate) async fn access(&self, key: &Key, sync: &Sync, credentials: &Credentials) -> Result<Access, Problem> {
        let own = sync.spec.forge.as_ref().and_then(|forge| forge.secret_ref.as_ref());
        let credentials = match own {
            Some(secret) => read_credentials(&self.secret(&key.namespace, &secret.name).await?)?,
            None => credentials.clone(),
        };
        let password = |(username, password)| Credential::Password { username, password };
        let credential = credentials.token.map(Credential::Token).or_else(|| credentials.username.zip(credentials.password).map(password));
        Ok(Access { credential, ca: credentials.ca })
    }

    /// Where the repository is kept: another URL is another place, so that nothing of an old repository is ever taken for the new one.
    fn store(&self, key: &Key, sync: &Sync) -> PathBuf {
        let digest = Sha256::digest(format!("{key}\n{}", sync.spec.url));
        let short: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        self.config.cache_dir.join(format!("{}-{}-{short}", key.namespace, key.name))
    }

    /// What the cluster is, and when its nodes are to be asked again.
    async fn facts(&self, sync: &Sync, resync: Option<Duration>) -> Result<(Facts, Option<Duration>), Problem> {
        let (nodes, version, uid) = (self.cluster.nodes().await?, self.cluster.version().await?, self.cluster.uid().await?);
        let mut facts = facts::from_nodes(&nodes, &version, &uid);
        if let Some(name) = &self.config.cluster_name {
            facts.name.clone_from(name);
        }
        let facts = facts.overridden_by(&sync.spec.cluster.clone().unwrap_or_default());
        Ok((facts, facts::next_look(&nodes, Timestamp::now(), resync)))
    }

    /// Ends when the nodes say that the cluster is not what it was called when leading began: what depends on it begins anew.
    async fn until_moved(&self, led: &Led) {
        let (leader, mut next) = (&led.leader, led.next_look);
        while let Some(pause) = next {
            tokio::time::sleep(pause.mul_f64(0.9 + random() / 5.0)).await;
            let Ok(nodes) = self.cluster.nodes().await else { continue };
            let spec = leader.sync.spec.cluster.clone().unwrap_or_default();
            let seen = facts::from_nodes(&nodes, &leader.facts.kubernetes, "").overridden_by(&spec);
            if facts::has_moved(&leader.facts, &seen) {
                tracing::info!(sync = %led.key, was = ?leader.facts.labels, is = ?seen.labels, "The cluster is another than it was.");
                return;
            }
            next = facts::next_look(&nodes, Timestamp::now(), led.times.resync);
        }
        std::future::pending().await
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
    /// Apps of which objects are being healed, or an object is being audited.
    heals: FuturesUnordered<LocalBoxFuture<'a, ()>>,
    /// What is being written down for the next process.
    keeping: Option<LocalBoxFuture<'a, Result<(), Refusal>>>,
    /// When that is to be done; none while nothing has changed.
    keep_at: Option<Instant>,
    /// When the files of the revision are to be closed; none while they are, or are worked with.
    close_at: Option<Instant>,
    /// What made us look at the repository.
    woken_by: Cause,
    next_poll: Instant,
    next_resync: Option<Instant>,
    next_audit: Option<Instant>,
    /// What failed is not tried again before.
    next_try: Instant,
    wait: Duration,
    /// Whether nothing may be changed just now.
    quiet: bool,
    /// Since when the API server has been away.
    away_since: Option<Instant>,
    /// Since when the repository can't be read.
    unread_since: Option<Instant>,
    /// Kinds that are being told from the beginning, and what was there before and has not been told yet.
    listing: HashMap<Resource, BTreeMap<ObjectId, Uid>>,
}

impl Led {
    /// Leads until it is dropped, or the cluster is another than it was. `kinds` are those that the leader wants to be watched.
    pub(crate) async fn lead(self, agent: &Agent, mut kinds: Kinds) {
        let teller = Teller {
            leader: &self.leader,
            access: &self.keys.access,
            access_changed: &self.keys.access_changed,
            access_refused: &self.keys.access_refused,
            context: self.context.clone(),
            identity: self.identity.clone(),
        };
        tokio::select! {
            never = self.steer(&mut kinds) => match never {},
            never = teller.tell() => match never {},
            never = self.reread_keys(agent) => match never {},
            never = self.inquire() => match never {},
            () = agent.until_moved(&self) => {}
        }
    }

    /// Asks the Pods of workloads that are not healthy, one workload after the other; nothing at rest.
    async fn inquire(&self) -> Infallible {
        loop {
            let changed = self.leader.changed.notified();
            let now = Timestamp::now();
            let next = self.leader.state.borrow_mut().next_inquiry(now);
            match next {
                Some((when, id)) if when <= now => self.ask(&id).await,
                Some((when, _)) => {
                    let pause = Duration::try_from(when.duration_since(now)).unwrap_or_default();
                    tokio::select! { () = changed => {}, () = tokio::time::sleep(pause) => {} }
                }
                None => changed.await,
            }
            tokio::time::sleep(BETWEEN_INQUIRIES).await;
        }
    }

    /// What can't be asked is not said: it is only a reason that is missing.
    async fn ask(&self, id: &ObjectId) {
        let said = self.leader.hands.ailment(id).await.unwrap_or_else(|refusal| {
            tracing::debug!(sync = %self.key, object = %id, %refusal, "Can't ask the Pods.");
            None
        });
        if self.leader.state.borrow_mut().answered(id, said, Timestamp::now()) {
            self.leader.changed.notify_waiters();
        }
    }

    /// Reads the Secrets again when what they held is refused.
    async fn reread_keys(&self, agent: &Agent) -> Infallible {
        loop {
            self.keys.access_refused.notified().await;
            if let Err(problem) = self.reread(agent).await {
                tracing::warn!(sync = %self.key, %problem, "Can't read the credentials again.");
            }
            tokio::time::sleep(REREAD).await;
        }
    }

    async fn reread(&self, agent: &Agent) -> Result<(), Problem> {
        let credentials = agent.credentials(&self.key, &self.leader.sync).await?;
        let access = agent.access(&self.key, &self.leader.sync, &credentials).await?;
        if credentials != *self.keys.credentials.borrow() {
            let old = self.leader.source.borrow().clone();
            *self.leader.source.borrow_mut() = agent.source(&self.key, &self.leader.sync, credentials.clone(), &self.wake, Some(&old))?;
            *self.keys.credentials.borrow_mut() = credentials;
            self.wake.notify_one();
        }
        let changed = {
            let old = self.keys.access.borrow();
            old.credential != access.credential || old.ca != access.ca
        };
        if changed {
            *self.keys.access.borrow_mut() = access;
            self.keys.access_changed.notify_one();
        }
        Ok(())
    }

    async fn steer(&self, kinds: &mut Kinds) -> Infallible {
        let (sender, mut sightings) = mpsc::channel(SIGHTINGS);
        let mut watches = Watches::new(self.leader.hands.clone(), self.leader.mark.applyset.clone(), sender);
        let mut watched: Vec<Resource> = Vec::new();
        let mut helm = Helm::new(self);
        loop {
            let changed = self.leader.changed.notified();
            tokio::pin!(changed);
            let next = helm.next();
            loop {
                tokio::select! {
                    Some(kind) = kinds.recv() => {
                        if !watched.contains(&kind) {
                            self.leader.state.borrow_mut().versions.insert(drift::version_hash(&kind.api_version(), &kind.kind));
                            watched.push(kind);
                            watches.cover(&watched);
                        }
                    }
                    // Most events are of controllers at work: nothing follows from them.
                    Some(seen) = sightings.recv() => if !helm.notice_all(seen, &mut sightings, &mut watches) { helm.pass(); continue },
                    polled = under_way(&mut helm.poll) => helm.polled(polled),
                    synced = under_way(&mut helm.sync) => helm.synced(synced),
                    kept = under_way(&mut helm.keeping) => helm.kept(&kept),
                    Some(()) = helm.heals.next(), if !helm.heals.is_empty() => {}
                    () = self.wake.notified() => helm.woken(),
                    () = &mut changed => {}
                    () = sleep_until(next) => {}
                }
                break;
            }
            self.pace.stir(Instant::now().into_std());
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
            heals: FuturesUnordered::new(),
            keeping: None,
            keep_at: None,
            close_at: None,
            woken_by: Cause::Start,
            next_poll: now,
            next_resync: led.times.resync.map(|every| now + every),
            next_audit: led.audit.map(|every| now + every),
            next_try: now,
            wait: FIRST_RETRY,
            quiet: led.leader.is_quiet(Timestamp::now()),
            away_since: None,
            unread_since: None,
            listing: HashMap::new(),
        }
    }

    /// Starts whatever is due.
    fn decide(&mut self) {
        let now = Instant::now();
        self.hush();
        if self.poll.is_none() && now >= self.next_poll && !self.led.leader.sync.spec.suspend {
            self.next_poll = now + self.led.times.poll.mul_f64(0.9 + random() / 5.0);
            let source = self.led.leader.source.borrow().clone();
            let reference = &self.led.leader.reference;
            self.poll = Some(async move { source.poll(reference).await }.boxed_local());
        }
        if let Some((commit, cause)) = self.due(now) {
            self.course = Some((commit, cause));
            self.sync = Some(self.led.leader.sync(commit, cause).boxed_local());
        }
        self.heal();
        self.audit(now);
        self.keep(now);
        self.close(now);
    }

    /// Notices that a time in which nothing may be changed begins or ends. What was only told till then is healed at its end.
    fn hush(&mut self) {
        let (now, leader) = (Timestamp::now(), &self.led.leader);
        let quiet = leader.is_quiet(now);
        if quiet != leader.state.borrow().suspended {
            let mut state = leader.state.borrow_mut();
            (state.suspended, state.frozen_until) = (quiet, leader.freeze.next_change(now).filter(|_| leader.freeze.holds(now)));
            leader.changed.notify_waiters();
        }
        if std::mem::replace(&mut self.quiet, quiet) && !quiet {
            (self.done, self.woken_by) = (None, Cause::Start);
            leader.state.borrow_mut().reconsider(now);
        }
    }

    /// Looks at objects that are not as they were applied, app by app.
    fn heal(&mut self) {
        let leader = &self.led.leader;
        for (app, id, text) in std::mem::take(&mut leader.state.borrow_mut().overwritten) {
            self.heals.push(leader.tell_late(app, id, text).boxed_local());
        }
        loop {
            let due = leader.state.borrow().due_heal(Timestamp::now(), |app| leader.healing.borrow().contains(app));
            let Some((app, ids)) = due else { return };
            leader.healing.borrow_mut().insert(app.clone());
            self.heals.push(leader.heal(app, ids).boxed_local());
        }
    }

    /// Asks the server about one object of which the watch says that all is well.
    fn audit(&mut self, now: Instant) {
        if self.next_audit.is_none_or(|time| now < time) {
            return;
        }
        self.next_audit = self.led.audit.map(|every| now + every.mul_f64(0.5 + random()));
        self.heals.push(self.led.leader.audit(random()).boxed_local());
    }

    /// Writes down what was applied, a while after it has changed.
    fn keep(&mut self, now: Instant) {
        let leader = &self.led.leader;
        if self.sync.is_some() || self.keeping.is_some() {
            return;
        }
        match self.keep_at {
            // The first time at once: who takes over from here knows nothing else of what was applied.
            None if self.done.is_some() && leader.has_news_to_keep() => {
                self.keep_at = Some(if leader.kept.get() == 0 { now } else { now + KEEP });
            }
            Some(time) if now >= time => {
                self.keep_at = None;
                self.keeping = Some(leader.keep().boxed_local());
            }
            _ => {}
        }
    }

    /// Closes the files of the revision a while after they were needed last.
    fn close(&mut self, now: Instant) {
        if self.sync.is_some() || !self.heals.is_empty() {
            self.close_at = Some(now + CLOSE);
        } else if self.close_at.is_some_and(|time| now >= time) {
            self.close_at = None;
            self.led.leader.close_files();
        }
    }

    fn kept(&mut self, kept: &Result<(), Refusal>) {
        if let Err(refusal) = kept {
            tracing::warn!(sync = %self.led.key, %refusal, "Could not keep what was applied; after a restart each object will be looked at once.");
            self.keep_at = Some(Instant::now() + KEEP_AGAIN);
        }
    }

    /// The sync that is to begin now. A newer commit puts an end to the sync of an older one.
    fn due(&mut self, now: Instant) -> Option<(CommitId, Cause)> {
        if self.quiet {
            return self.last_known(now);
        }
        let target = self.target?;
        let running = self.sync.as_ref().and(self.course.as_ref()).map(|(commit, _)| *commit);
        if running.is_some_and(|commit| commit == target) {
            return None;
        }
        if self.done != Some(target) {
            return (now >= self.next_try).then_some((target, self.woken_by));
        }
        let state = self.led.leader.state.borrow();
        if running.is_none() && state.released() {
            return Some((target, Cause::Retry));
        }
        if running.is_some() || now < self.next_try {
            return None;
        }
        if self.next_resync.is_some_and(|time| now >= time) {
            return Some((target, Cause::Resync));
        }
        state.wants_retry().then_some((target, Cause::Retry))
    }

    /// While nothing may be changed, the commit that is live is looked at once, so that drift can be told.
    fn last_known(&self, now: Instant) -> Option<(CommitId, Cause)> {
        if self.done.is_some() || self.sync.is_some() || now < self.next_try {
            return None;
        }
        let revision = self.led.leader.sync.status.as_ref()?.revision.as_ref()?;
        Some((CommitId::parse(&revision.commit)?, Cause::Start))
    }

    /// When something is due by itself.
    fn next(&self) -> Instant {
        let state = self.led.leader.state.borrow();
        let retry = (self.sync.is_none() && (self.target != self.done || state.wants_retry())).then_some(self.next_try);
        let poll = (!self.led.leader.sync.spec.suspend).then_some(self.next_poll);
        let at = |time: Timestamp| Instant::now() + Duration::try_from(time.duration_since(Timestamp::now())).unwrap_or_default();
        let heal = state.next_heal(|app| self.led.leader.healing.borrow().contains(app)).map(at);
        let freeze = self.led.leader.freeze.next_change(Timestamp::now()).map(at);
        let times = [poll, self.next_resync, self.next_audit, self.keep_at, self.close_at, retry.filter(|_| !self.quiet), heal, freeze];
        times.into_iter().flatten().min().unwrap_or_else(|| Instant::now() + LONG)
    }

    fn woken(&mut self) {
        (self.next_poll, self.woken_by) = (Instant::now(), Cause::Push);
    }

    /// Notes what was seen, and what else has been seen by now: looking for what is next costs more than an event from which nothing follows.
    /// Returns whether anything may follow.
    fn notice_all(&mut self, first: Seen, sightings: &mut mpsc::Receiver<Seen>, watches: &mut Watches) -> bool {
        let mut next = Some(first);
        while let Some(seen) = next {
            if let Seen::Redefined(definition) = &seen {
                watches.restart(definition);
            }
            if self.notice(seen) {
                return true;
            }
            next = sightings.try_recv().ok();
        }
        false
    }

    /// Nothing follows from what was seen.
    fn pass(&self) {
        if self.poll.is_none() && self.sync.is_none() && self.heals.is_empty() {
            self.led.pace.pass();
        }
    }

    /// Notes what a watch has seen. Returns whether anything may follow from it.
    fn notice(&mut self, seen: Seen) -> bool {
        let leader = &self.led.leader;
        match seen {
            Seen::Restarted(kind) => {
                // What is made from now on may come after the list; only what was there before can be missing from it.
                let before = leader.state.borrow().present(&kind.group, &kind.kind);
                self.listing.insert(kind, before);
            }
            Seen::Object(sight) => {
                if !self.look(sight) {
                    return false;
                }
            }
            Seen::Deleted(record) => leader.is_gone(&record.id, &Uid::from(&*record.uid)),
            Seen::Whole(kind) => self.whole(&kind),
            Seen::Blind(kind, refusal) => self.blind(&kind, &refusal),
            Seen::Redefined(_) => {}
        }
        leader.changed.notify_waiters();
        true
    }

    /// An object was seen. Returns whether anything may follow from it.
    fn look(&mut self, sight: Sight) -> bool {
        let (id, now) = (sight.id(), Timestamp::now());
        self.listing.values_mut().for_each(|missing| _ = missing.remove(&id));
        let mut state = self.led.leader.state.borrow_mut();
        let version = sight.glance.version.parse().unwrap_or_default();
        // Most events are of a controller that has written a status.
        if state.is_settled(&id, &sight.glance.uid, version, sight.glance.raw) {
            return state.fares(&id, version, sight.glance.generation, sight.health(now));
        }
        match sight.record(now) {
            Ok(record) => state.seen(sighting(record), Some(sight.text), now),
            Err(refusal) => {
                drop(state);
                self.blind(&sight.kind, &refusal);
                true
            }
        }
    }

    /// A kind was told from the beginning to the end: what was there before and was not told does not exist.
    fn whole(&mut self, kind: &Resource) {
        let leader = &self.led.leader;
        leader.state.borrow_mut().blind.remove(&kind.name());
        for (id, uid) in self.listing.remove(kind).unwrap_or_default() {
            leader.is_gone(&id, &uid);
        }
    }

    /// What can't be watched can't be called healthy.
    fn blind(&self, kind: &Resource, refusal: &Refusal) {
        tracing::warn!(sync = %self.led.key, kind = %kind.name(), %refusal, "Can't watch.");
        if !refusal.is_transient() {
            self.led.leader.state.borrow_mut().blind.insert(kind.name(), refusal.to_string());
        }
    }

    fn polled(&mut self, polled: Result<CommitId, git::Error>) {
        self.led.leader.metrics.polled(polled.as_ref().map_or_else(git::Error::label, |_| "ok"));
        match polled {
            Ok(commit) => {
                self.unread_since = None;
                if self.led.leader.state.borrow_mut().source_error.take().is_some() {
                    self.led.leader.changed.notify_waiters();
                }
                if self.target != Some(commit) {
                    tracing::info!(sync = %self.led.key, %commit, "The repository has a commit to follow.");
                    (self.target, self.next_try) = (Some(commit), Instant::now());
                }
            }
            Err(error) => self.no_source(&error),
        }
    }

    /// The repository can't be read: said on the Sync, while everything stays as it is.
    fn no_source(&mut self, error: &git::Error) {
        let text = report::redact(&format!("{error}; {}", error.hint()));
        if error.is_refused() {
            self.led.keys.access_refused.notify_one();
        }
        if let Some(after) = error.retry_after() {
            self.next_poll = self.next_poll.max(Instant::now() + after);
        }
        // A forge that is restarted is no news, once something is known.
        let since = *self.unread_since.get_or_insert_with(Instant::now);
        if error.is_transient() && self.done.is_some() && since.elapsed() < PATIENCE {
            tracing::debug!(sync = %self.led.key, error = %text, "Can't read the repository just now.");
            return;
        }
        let news = self.led.leader.state.borrow_mut().source_error.replace(text.clone()).as_ref() != Some(&text);
        if news {
            tracing::warn!(sync = %self.led.key, error = %text, "Can't read the repository.");
            self.led.leader.changed.notify_waiters();
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
        leader.state.borrow_mut().arrived();
        let report = leader.state.borrow_mut().report(Timestamp::now());
        let short = leader.state.borrow().short.clone();
        leader.metrics.synced(&leader.name, report::state(&report).as_str(), report.took);
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
