//! What happens after a push: one function, from a commit to a cluster that is as the commit says.
//!
//! Read [`Leader::sync`] from top to bottom; each line is a stage. Decisions are made in the pure files (`fleet`, `plan`, `state`, `health`);
//! here they are carried out. Events that come in while a sync runs go into the same [`State`], so nothing here may hold it across an await.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use jiff::Timestamp;
use overlays::object::{ObjectId, Origin};
use overlays::path::RepoPath;
use overlays::tree::{Tree, WithFile};
use overlays::{Cache, Fingerprint, Options, Rendered};
use tokio::sync::{Notify, Semaphore};

use crate::api;
use crate::cluster::{self, Applied, Applying, Change, Cluster, Deleted, Deletion, Mark, Propagation, Refusal, Resource};
use crate::facts::Facts;
use crate::fleet::{self, App, AppError, Root};
use crate::git::{self, CommitId, Reference, Revision};
use crate::inventory::{self, GroupKind, Inventory};
use crate::metrics::Metrics;
use crate::plan::{Definition, HeldReason, Outcome, Plan, Prune, Step, Wanted, Word};
use crate::queue::Cause;
use crate::report::{Failure, Held};
use crate::source::Source;
use crate::state::{self, Sighting, Stage, State};

/// How many requests for objects are under way at once: the knee of an API server on two cores (reference: more only adds latency).
const IN_FLIGHT: usize = 16;
/// How many apps are rendered and applied at once; each holds its manifest in memory meanwhile. As many as requests, for the waves of an
/// ordinary app have some of one object only.
const APPS_AT_ONCE: usize = IN_FLIGHT;
/// How much of parsed blobs is kept from one sync to the next, in bytes: what many apps share, as a base.
const KEPT_BLOBS: usize = 2 << 20;
/// How long a CustomResourceDefinition may take until its kind is served.
const ESTABLISH: std::time::Duration = std::time::Duration::from_secs(30);
/// How soon to look again for a Namespace or a kind that another app may bring.
const GROUND: std::time::Duration = std::time::Duration::from_millis(250);

/// How many characters of a faulty line are shown.
const SHOWN: usize = 80;

/// Why a sync as a whole came to nothing. What concerns one app or object is a [`Failure`] in the report instead.
#[derive(Debug)]
pub enum Error {
    /// The repository could not be read.
    Git(git::Error),
    /// The API server could not be used for what every sync needs.
    Cluster(Refusal),
    /// Another agent may be writing by now.
    LeaseLost,
    /// A background task of ours died.
    Broken(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Git(error) => error.fmt(f),
            Self::Cluster(refusal) => refusal.fmt(f),
            Self::LeaseLost => f.write_str("the Lease of this Sync was lost; another agent carries on"),
            Self::Broken(what) => write!(f, "a task of the agent died: {what}"),
        }
    }
}

impl std::error::Error for Error {}

impl Error {
    /// Whether it may pass by itself, soon.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Git(error) => error.is_transient(),
            Self::Cluster(refusal) => refusal.is_transient(),
            Self::LeaseLost | Self::Broken(_) => true,
        }
    }
}

impl From<git::Error> for Error {
    fn from(error: git::Error) -> Self {
        Self::Git(error)
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::Cluster(refusal)
    }
}

/// A revision's files and the blobs that were parsed already; rendering runs on a thread of its own.
type Workshop = Arc<Mutex<(Box<dyn Tree>, Cache)>>;

/// The one process that writes for a Sync.
pub struct Leader {
    /// The Sync as it was when this leader began; a changed one gets a new leader.
    pub sync: Arc<api::Sync>,
    /// The repository.
    pub source: RefCell<Source>,
    /// What is followed in it.
    pub reference: Reference,
    /// The API server as the agent itself uses it.
    pub cluster: Cluster,
    /// The API server with the rights that the Sync's objects are applied with.
    pub hands: Cluster,
    /// The cluster, before the fleet file has its say.
    pub facts: Facts,
    /// How our objects are marked, but for the app.
    pub mark: Mark,
    /// Says whether this process may still write.
    pub fence: cluster::lease::Fence,
    /// Kinds to be watched go here.
    pub watched: tokio::sync::mpsc::UnboundedSender<Resource>,
    /// What is measured.
    pub metrics: Arc<Metrics>,
    /// The Sync as metrics and logs name it: `namespace/name`.
    pub name: String,
    /// What is known.
    pub state: RefCell<State>,
    /// Where our objects may be found, as the Sync's annotations say.
    pub inventory: RefCell<Inventory>,
    /// Objects that are confirmed gone since the inventory was last written.
    pub gone: RefCell<Vec<ObjectId>>,
    /// What was taken from other field managers, in words, and is still to be told.
    pub taken: RefCell<Vec<String>>,
    /// Something in `state` has changed.
    pub changed: Notify,
    /// At most `IN_FLIGHT` requests for objects.
    pub flight: Semaphore,
    /// At most `APPS_AT_ONCE` apps.
    pub gate: Semaphore,
    /// The inventory is written by one at a time.
    pub pen: tokio::sync::Mutex<()>,
    /// Blobs that were parsed in earlier syncs.
    pub cache: RefCell<Option<Cache>>,
}

/// An app of the revision, and whether there is something to do for it.
struct Leg {
    app: App,
    due: bool,
}

/// What a revision asks of this cluster.
struct Course {
    workshop: Workshop,
    legs: Vec<Leg>,
    /// What is wrong with the fleet file or with single apps of it.
    errors: Vec<Failure>,
    /// Whether Git gave the word for deletions in the whole repository.
    prune_allowed: bool,
}

/// An object of a manifest, once it is known how its kind is addressed.
struct Item {
    wanted: Wanted,
    /// None for a kind that the cluster does not serve (yet).
    resource: Option<Resource>,
    /// Which object of the manifest.
    object: usize,
    origin: Rc<Origin>,
}

/// What came of one object.
struct Tried {
    index: usize,
    outcome: Outcome,
    conflicts: usize,
    /// Where the field that was refused was written.
    place: Option<Origin>,
}

/// What came of one app.
#[derive(Default)]
struct Delivery {
    failures: Vec<Failure>,
    outcomes: Vec<Outcome>,
    conflicts: usize,
}

/// The two limits of a leader: requests under way, and apps at once.
pub fn limits() -> (Semaphore, Semaphore) {
    (Semaphore::new(IN_FLIGHT), Semaphore::new(APPS_AT_ONCE))
}

impl Leader {
    /// Brings the cluster to what `commit` says. Progress, and what failed of an app or object, is in [`Leader::state`].
    ///
    /// # Errors
    /// The repository or the API server could not be used at all; what runs stays as it is.
    pub async fn sync(&self, commit: CommitId, cause: Cause) -> Result<(), Error> {
        let source = self.source.borrow().clone();
        let revision = source.fetch(&self.reference, commit).await?;
        let course = self.survey(&revision, cause).await?;
        self.set_out(&revision, &course);
        let prunes = self.deliver_all(&course).await?;
        self.prune_all(&course, prunes).await?;
        self.shrink_inventory().await?;
        self.arrive(course);
        Ok(())
    }

    /// Finds the apps of the revision, and which of them have something to do.
    async fn survey(&self, revision: &Revision, cause: Cause) -> Result<Course, Error> {
        let (source, facts, spec, revision) = (self.source.borrow().clone(), self.facts.clone(), self.sync.spec.clone(), revision.clone());
        let (tree, fleet) = blocking(move || {
            let tree = source.tree(&revision)?;
            let fleet = read_fleet(&*tree, &spec).map(|fleet| (fleet.apps(&*tree, &facts), fleet.prune()));
            Ok::<_, git::Error>((tree, fleet))
        })
        .await??;
        let (apps, errors, prune_allowed) = match fleet {
            Ok(((apps, errors), prune_allowed)) => (apps, errors, prune_allowed),
            Err(errors) => (Vec::new(), errors.0.into_iter().map(|error| AppError { app: None, error }).collect(), false),
        };
        let cache = self.cache.borrow_mut().take().unwrap_or_else(|| Cache::with_limit(KEPT_BLOBS));
        let workshop = Arc::new(Mutex::new((tree, cache)));
        let legs = self.legs(apps, cause, &workshop).await?;
        Ok(Course { workshop, legs, errors: errors.iter().map(repository_failure).collect(), prune_allowed })
    }

    /// An app is due if its inputs are not those that were applied last, or if it must be put right.
    async fn legs(&self, apps: Vec<App>, cause: Cause, workshop: &Workshop) -> Result<Vec<Leg>, Error> {
        let known: Vec<_> = apps.iter().map(|app| self.applied_inputs(app)).collect();
        let unchanged = in_shop(workshop, move |tree, _| {
            let same = |known: &Option<(overlays::Inputs, Fingerprint)>| {
                known.as_ref().is_some_and(|(inputs, print)| inputs.fingerprint(tree).is_ok_and(|now| now == *print))
            };
            known.iter().map(same).collect::<Vec<_>>()
        })
        .await?;
        let state = self.state.borrow();
        let due = |app: &App, unchanged: bool| match (cause, state.apps.get(&app.name)) {
            (Cause::Resync, _) | (_, None) => true,
            (_, Some(known)) if known.dirty || known.retry || known.stage != Stage::Delivered => true,
            (Cause::Retry | Cause::Drift, Some(_)) => false,
            _ => !unchanged,
        };
        Ok(apps.into_iter().zip(unchanged).map(|(app, unchanged)| Leg { due: due(&app, unchanged), app }).collect())
    }

    fn applied_inputs(&self, app: &App) -> Option<(overlays::Inputs, Fingerprint)> {
        let state = self.state.borrow();
        let known = state.apps.get(&app.name).filter(|known| known.root == root_text(app))?;
        known.inputs.clone()
    }

    fn set_out(&self, revision: &Revision, course: &Course) {
        let mut state = self.state.borrow_mut();
        let apps = course.legs.iter().map(|leg| (leg.app.name.clone(), leg.due));
        state.begin(&revision.commit.to_string(), &revision.to_string(), apps, Timestamp::now());
        state.repository = course.errors.clone();
        self.changed.notify_waiters();
    }

    /// Every app goes its own way: one that waits or fails holds up only those that depend on it.
    ///
    /// Nothing is deleted yet, for what one app no longer asks for another may ask for now.
    async fn deliver_all(&self, course: &Course) -> Result<BTreeMap<String, Prune>, Error> {
        let due = course.legs.iter().filter(|leg| leg.due);
        let mut under_way: FuturesUnordered<_> = due.map(|leg| self.deliver(course, &leg.app)).collect();
        let mut prunes = BTreeMap::new();
        while let Some(delivered) = under_way.next().await {
            prunes.extend(delivered?);
        }
        Ok(prunes)
    }

    /// Renders one app and applies it. Returns what is to be deleted of it; none if it could not be rendered now.
    async fn deliver(&self, course: &Course, app: &App) -> Result<Option<(String, Prune)>, Error> {
        if !self.dependencies_healthy(app).await {
            return Ok(None);
        }
        let _permit = self.gate.acquire().await.map_err(|_| Error::LeaseLost)?;
        self.start(&app.name);
        let (rendered, print) = match self.render(&course.workshop, app).await? {
            Ok(rendered) => rendered,
            Err(failures) => {
                self.record(app, Delivery { failures, ..Delivery::default() }, None);
                return Ok(None);
            }
        };
        let said = rendered.annotations.get(api::PRUNE_ANNOTATION).is_some_and(|word| word == api::ALLOW);
        let word = Word { app: said || app.prune || course.prune_allowed, ..Word::default() };
        let (delivery, prune) = self.bring(&app.name, &rendered, &word).await?;
        self.record(app, delivery, Some((rendered.inputs, print)));
        Ok(Some((app.name.clone(), prune)))
    }

    /// Whether every app that this one depends on was seen healthy. Those that are on their way are waited for; for the others the app
    /// stays blocked, and the sync goes on without it: it is resumed when they are healthy.
    async fn dependencies_healthy(&self, app: &App) -> bool {
        loop {
            let changed = self.changed.notified();
            let (missing, moving) = {
                let state = self.state.borrow();
                let missing: Vec<String> = app.depends_on.iter().filter(|name| !state.healthy(name)).cloned().collect();
                (missing.clone(), missing.iter().any(|name| state.is_moving(name)))
            };
            if missing.is_empty() {
                return true;
            }
            if !moving {
                self.stage(&app.name, Stage::Blocked(missing));
                self.changed.notify_waiters();
                return false;
            }
            changed.await;
        }
    }

    /// From now on what is seen to be missing is news.
    fn start(&self, app: &str) {
        if let Some(app) = self.state.borrow_mut().apps.get_mut(app) {
            (app.stage, app.dirty) = (Stage::Applying, false);
        }
    }

    fn stage(&self, app: &str, stage: Stage) {
        if let Some(app) = self.state.borrow_mut().apps.get_mut(app) {
            app.stage = stage;
        }
    }

    async fn render(&self, workshop: &Workshop, app: &App) -> Result<Result<(Rendered, Fingerprint), Vec<Failure>>, Error> {
        self.metrics.rendered();
        let (name, app) = (app.name.clone(), app.clone());
        let rendered = in_shop(workshop, move |tree, cache| {
            let rendered = render(&app, tree, &Options::default(), cache)?;
            let print = rendered.inputs.fingerprint(tree).map_err(overlays::Error::from)?;
            Ok::<_, overlays::Errors>((rendered, print))
        });
        Ok(rendered.await?.map_err(|errors| render_failures(&name, &errors)))
    }

    /// Applies what an app asks for, and says what it no longer asks for.
    async fn bring(&self, app: &str, rendered: &Rendered, word: &Word) -> Result<(Delivery, Prune), Error> {
        let (items, mut delivery) = self.identify(app, rendered).await?;
        let plan = self.plan(app, &items, word);
        self.remember(&items).await?;
        self.apply_waves(app, rendered, &plan, &items, &mut delivery).await?;
        let prune = plan.prune.after_applying(delivery.failures.len());
        Ok((delivery, prune))
    }

    /// Finds out how each object is addressed and where it will live, and refuses what another app has claimed.
    async fn identify(&self, app: &str, rendered: &Rendered) -> Result<(Vec<Item>, Delivery), Error> {
        let objects = rendered.manifest.objects();
        let defined: BTreeMap<GroupKind, bool> =
            objects.iter().filter_map(definition).map(|defined| (defined.kind, defined.namespaced)).collect();
        let (mut items, mut delivery, mut taken) = (Vec::new(), Delivery::default(), BTreeSet::new());
        for (index, object) in objects.iter().enumerate() {
            let resource = match self.hands.resolve(object.api_version(), &object.id().kind).await {
                Ok(resource) => Some(resource),
                Err(Refusal::NoKind { .. }) => None,
                Err(refusal) => return Err(refusal.into()),
            };
            let item = self.item(index, object, resource, &defined);
            match self.refuse_twice(app, &item.wanted.id, &item.origin, &mut taken) {
                Some(failure) => delivery.failures.push(failure),
                None => items.push(item),
            }
        }
        self.state.borrow_mut().expect(app, items.iter().map(|item| (item.wanted.id.clone(), item.origin.clone())));
        Ok((items, delivery))
    }

    fn item(
        &self,
        index: usize,
        object: &overlays::object::Object,
        resource: Option<Resource>,
        defined: &BTreeMap<GroupKind, bool>,
    ) -> Item {
        let mut id = object.id();
        let scope = defined.get(&GroupKind::of(&id)).copied();
        let namespaced = resource.as_ref().map_or(scope.unwrap_or(!id.namespace.is_empty()), |resource| resource.namespaced);
        if !namespaced {
            id.namespace.clear();
        } else if id.namespace.is_empty() {
            id.namespace.clone_from(&self.mark.default_namespace);
        }
        let defines = definition(object);
        let wanted = Wanted { id, namespaced, defines };
        Item { wanted, resource, object: index, origin: Rc::new(object.origin().clone()) }
    }

    /// The same object twice, in one app or in two, is an error that names both.
    fn refuse_twice(&self, app: &str, id: &ObjectId, origin: &Rc<Origin>, taken: &mut BTreeSet<ObjectId>) -> Option<Failure> {
        let fail = |reason| Some(Failure { app: app.to_owned(), object: Some(id.clone()), place: Some((**origin).clone()), reason });
        if !taken.insert(id.clone()) {
            return fail("it stands twice in this app; remove one of the two".to_owned());
        }
        // An app that is still on its way may be about to give the object up; if not, it is told when its turn comes.
        let (other, place) = {
            let state = self.state.borrow();
            state.claimed(id, app).filter(|(other, _)| !state.is_moving(other))?
        };
        let place = place.map(|place| format!(" ({place})")).unwrap_or_default();
        fail(format!("app {other}{place} has this object too; an object can belong to one app only"))
    }

    fn plan(&self, app: &str, items: &[Item], word: &Word) -> Plan {
        let wanted: Vec<Wanted> = items.iter().map(|item| item.wanted.clone()).collect();
        let state = self.state.borrow();
        let owned = state.owned(app).map(|(id, _)| id.clone()).collect();
        Plan::new(&wanted, &owned, &BTreeSet::new(), word)
    }

    /// Own before touching: after a crash nothing that we made is a stranger.
    async fn remember(&self, items: &[Item]) -> Result<(), Error> {
        let _pen = self.pen.lock().await;
        let grown = self.inventory.borrow().clone().with(items.iter().map(|item| &item.wanted.id));
        self.write_inventory(grown).await?;
        items.iter().filter_map(|item| item.resource.clone()).for_each(|resource| self.watch(resource));
        Ok(())
    }

    /// Asks for a kind to be watched; asking twice is harmless.
    fn watch(&self, resource: Resource) {
        // Whoever listens is gone only when this leader is ending.
        _ = self.watched.send(resource);
    }

    /// Forget only what is confirmed gone; a kind or namespace that still has something of ours stays.
    async fn shrink_inventory(&self) -> Result<(), Error> {
        let _pen = self.pen.lock().await;
        let gone = std::mem::take(&mut *self.gone.borrow_mut());
        let shrunk = self.inventory.borrow().clone().without(&gone, self.state.borrow().objects.ids());
        self.write_inventory(shrunk).await
    }

    async fn write_inventory(&self, inventory: Inventory) -> Result<(), Error> {
        if *self.inventory.borrow() == inventory {
            return Ok(());
        }
        self.may_write()?;
        let namespace = self.sync.metadata.namespace.as_deref().unwrap_or_default();
        let labels = BTreeMap::from([(inventory::ID_LABEL.to_owned(), Some(self.mark.applyset.clone()))]);
        let annotations = inventory.to_annotations(namespace, env!("CARGO_PKG_VERSION"));
        let annotations = annotations.into_iter().map(|(key, value)| (key, Some(value))).collect();
        self.cluster.mark_sync(&self.sync, &labels, &annotations).await?;
        *self.inventory.borrow_mut() = inventory;
        Ok(())
    }

    fn may_write(&self) -> Result<(), Error> {
        if self.fence.still_held(std::time::Instant::now()) { Ok(()) } else { Err(Error::LeaseLost) }
    }

    async fn apply_waves(&self, app: &str, rendered: &Rendered, plan: &Plan, items: &[Item], delivery: &mut Delivery) -> Result<(), Error> {
        let mut failed = BTreeSet::new();
        for wave in &plan.waves {
            let (blocked, free): (Vec<&Step>, Vec<&Step>) =
                wave.iter().partition(|step| step.blocked_on(|need| failed.contains(&need)).is_some());
            for step in blocked {
                let on = step.blocked_on(|need| failed.contains(&need)).map(|need| items[need].wanted.id.clone()).unwrap_or_default();
                failed.insert(step.object);
                delivery.note(app, &items[step.object], Outcome::Blocked { on }, None);
            }
            let mut under_way: FuturesUnordered<_> =
                free.iter().map(|step| self.apply(app, rendered, &items[step.object], step.object)).collect();
            while let Some(done) = under_way.next().await {
                let tried = done?;
                delivery.conflicts += tried.conflicts;
                if !tried.outcome.is_done() {
                    failed.insert(tried.index);
                }
                delivery.note(app, &items[tried.index], tried.outcome, tried.place);
            }
        }
        Ok(())
    }

    /// Applies one object, and again for a while if what it stands on may come with another app.
    async fn apply_when_ready(&self, app: &str, rendered: &Rendered, item: &Item) -> Result<Result<Applied, Refusal>, Error> {
        let begun = tokio::time::Instant::now();
        loop {
            let applied = {
                let _permit = self.flight.acquire().await.map_err(|_| Error::LeaseLost)?;
                self.may_write()?;
                self.try_apply(app, rendered, item).await
            };
            let groundless = matches!(applied, Err(Refusal::NoKind { .. } | Refusal::NamespaceMissing { .. }));
            if !groundless || begun.elapsed() > ESTABLISH || !self.others_move(app) {
                return Ok(applied);
            }
            tokio::time::sleep(GROUND).await;
        }
    }

    fn others_move(&self, app: &str) -> bool {
        let state = self.state.borrow();
        state.apps.iter().any(|(name, other)| name != app && matches!(other.stage, Stage::Pending | Stage::Applying))
    }

    /// Applies one object. Only a lost Lease ends the sync; what the API server refuses is this object's outcome.
    async fn apply(&self, app: &str, rendered: &Rendered, item: &Item, index: usize) -> Result<Tried, Error> {
        let tried = match self.apply_when_ready(app, rendered, item).await? {
            Ok(applied) => self.applied(&item.wanted.id, index, applied),
            Err(refusal) => {
                let place = refusal.field().and_then(|field| place_of(&rendered.manifest.objects()[item.object], field));
                Tried { index, outcome: Outcome::Failed { reason: refusal.to_string() }, conflicts: 0, place }
            }
        };
        self.metrics.applied(tried.outcome.label());
        Ok(tried)
    }

    fn applied(&self, id: &ObjectId, index: usize, applied: Applied) -> Tried {
        for conflict in &applied.conflicts {
            tracing::warn!(object = %id, manager = %conflict.manager, fields = %conflict.fields.join(", "), "Took fields over from another manager.");
            self.taken.borrow_mut().push(format!("{id}: took {conflict}"));
        }
        let live = Sighting {
            id: id.clone(),
            uid: applied.uid,
            version: applied.resource_version.parse().unwrap_or_default(),
            generation: applied.live["metadata"]["generation"].as_i64().unwrap_or_default(),
            app: String::new(),
            health: crate::health::health(&applied.live, Timestamp::now()),
        };
        self.state.borrow_mut().applied(live);
        self.changed.notify_waiters();
        let conflicts = applied.conflicts.iter().map(|conflict| conflict.fields.len().max(1)).sum();
        Tried { index, outcome: outcome(applied.change), conflicts, place: None }
    }

    async fn try_apply(&self, app: &str, rendered: &Rendered, item: &Item) -> Result<Applied, Refusal> {
        let object = &rendered.manifest.objects()[item.object];
        let resource = match &item.resource {
            Some(resource) => resource.clone(),
            None => {
                let resource = self.resolve_late(object).await?;
                self.watch(resource.clone());
                resource
            }
        };
        let json = object.to_json().map_err(|error| Refusal::Other { code: 0, message: error.to_string() })?;
        let mark = Mark { app: app.to_owned(), ..self.mark.clone() };
        let body = cluster::body(&json, &resource, &mark)?;
        let known = self.state.borrow().objects.get(&item.wanted.id).map(|record| record.version.to_string());
        let replace = object.annotation(api::REPLACE_ANNOTATION) == Some(api::ALLOW);
        let applying = Applying { replace, applyset: &self.mark.applyset, known: known.as_deref() };
        self.hands.apply(&resource, &body, &applying).await
    }

    /// A kind that was not there when the app was looked at: its definition may have been applied a wave ago.
    async fn resolve_late(&self, object: &overlays::object::Object) -> Result<Resource, Refusal> {
        let kind = object.id().kind;
        let expected = self
            .state
            .borrow()
            .objects
            .ids()
            .any(|id| id.kind == "CustomResourceDefinition" && id.name.ends_with(&format!(".{}", object.id().group)));
        if expected {
            self.hands.resolve_within(object.api_version(), &kind, ESTABLISH).await
        } else {
            self.hands.resolve(object.api_version(), &kind).await
        }
    }

    /// Deletes what no app asks for any more, once all apps of the revision are known: an object may have moved from one to another.
    async fn prune_all(&self, course: &Course, mut prunes: BTreeMap<String, Prune>) -> Result<(), Error> {
        let known = course.errors.is_empty() && course.legs.iter().all(|leg| !leg.due || prunes.contains_key(&leg.app.name));
        if known {
            prunes.extend(self.retired(course));
        }
        for (app, prune) in prunes {
            let prune = if known { self.unclaimed(&app, prune) } else { Prune { waves: Vec::new(), ..prune } };
            self.prune(&app, prune).await?;
        }
        Ok(())
    }

    /// Apps that the repository no longer has: what they own goes, under guards of its own.
    fn retired(&self, course: &Course) -> Vec<(String, Prune)> {
        let still: BTreeSet<&str> = course.legs.iter().map(|leg| leg.app.name.as_str()).collect();
        let mut state = self.state.borrow_mut();
        let owners = state.objects.apps().chain(state.apps.keys().map(String::as_str));
        let retired: BTreeSet<String> = owners.filter(|app| !still.contains(app)).map(str::to_owned).collect();
        let word = Word { app: course.prune_allowed, ..Word::default() };
        let retire = |app: String| {
            // An app without a root is one that is kept only until what it owns is gone.
            state.apps.entry(app.clone()).or_default().root.clear();
            state.expect(&app, std::iter::empty());
            let owned = state.owned(&app).map(|(id, _)| id.clone()).collect();
            (app, Prune::retiring(owned, still.is_empty(), &word))
        };
        retired.into_iter().map(retire).collect()
    }

    /// What is left to delete of an app: an object that another app has taken over meanwhile stays.
    fn unclaimed(&self, app: &str, mut prune: Prune) -> Prune {
        let state = self.state.borrow();
        prune.waves.iter_mut().for_each(|wave| wave.retain(|id| state.claimed(id, app).is_none()));
        prune.held.iter_mut().for_each(|held| held.ids.retain(|id| state.claimed(id, app).is_none()));
        prune.held.retain(|held| !held.ids.is_empty());
        prune
    }

    /// Deletes wave by wave, and notes what came of it.
    async fn prune(&self, name: &str, prune: Prune) -> Result<(), Error> {
        let held = prune.held.iter().filter(|held| held.reason.waits_for_word()).map(|held| held_words(name, held));
        let held = held.reduce(|all, more| Held { count: all.count + more.count, ..all });
        let (mut deleted, mut failures) = (0, Vec::new());
        for wave in &prune.waves {
            let mut under_way: FuturesUnordered<_> = wave.iter().map(|id| self.delete(id)).collect();
            while let Some(done) = under_way.next().await {
                match done? {
                    (_, Ok(())) => deleted += 1,
                    (id, Err(reason)) => failures.push(Failure { app: name.to_owned(), object: Some(id), place: None, reason }),
                }
            }
        }
        self.pruned(name, deleted, failures, held);
        Ok(())
    }

    fn pruned(&self, name: &str, deleted: usize, failures: Vec<Failure>, held: Option<Held>) {
        let mut state = self.state.borrow_mut();
        let settled = failures.is_empty() && held.is_none();
        if settled && state.objects.of_app(name).next().is_none() {
            // Nothing is left of it: an app that the repository no longer has.
            _ = state.apps.get(name).is_some_and(|app| app.root.is_empty()).then(|| state.apps.remove(name));
        }
        if let Some(app) = state.apps.get_mut(name) {
            app.stage = Stage::Delivered;
            app.deleted = deleted;
            app.retry |= !failures.is_empty();
            app.failures.extend(failures);
            app.held = held;
            app.inputs = app.inputs.take().filter(|_| settled);
        }
        drop(state);
        self.changed.notify_waiters();
    }

    async fn delete(&self, id: &ObjectId) -> Result<(ObjectId, Result<(), String>), Error> {
        let _permit = self.flight.acquire().await.map_err(|_| Error::LeaseLost)?;
        self.may_write()?;
        let uid = self.state.borrow().objects.get(id).map(|record| record.uid.clone());
        let outcome = match self.try_delete(id, uid.as_deref()).await {
            // Another hand has taken our mark off, or the kind is no longer served: either way it is not ours to delete.
            Ok(Deleted::Gone) | Err(Refusal::NoKind { .. } | Refusal::NotOurs { .. }) => {
                self.is_gone(id, uid.as_deref().unwrap_or_default());
                Ok(())
            }
            Ok(Deleted::Going) => Ok(()),
            Err(refusal) => Err(format!("could not be deleted: {refusal}")),
        };
        Ok((id.clone(), outcome))
    }

    async fn try_delete(&self, id: &ObjectId, uid: Option<&str>) -> Result<Deleted, Refusal> {
        let resource = self.hands.resolve_any(&id.group, &id.kind).await?;
        let deletion = Deletion { resource: &resource, id, uid, applyset: &self.mark.applyset, propagation: Propagation::Background };
        self.hands.delete(&deletion).await
    }

    /// An object is confirmed gone. Returns whether it has to be made again.
    pub fn is_gone(&self, id: &ObjectId, uid: &str) -> bool {
        let again = self.state.borrow_mut().gone(id, uid);
        if !again {
            self.gone.borrow_mut().push(id.clone());
        }
        self.changed.notify_waiters();
        again
    }

    /// Notes what came of an app. Its inputs count as applied only if all of it was.
    fn record(&self, app: &App, delivery: Delivery, inputs: Option<(overlays::Inputs, Fingerprint)>) {
        let complete = delivery.failures.is_empty();
        let mut state = self.state.borrow_mut();
        let known = state.apps.entry(app.name.clone()).or_default();
        *known = state::App {
            stage: Stage::Delivered,
            changed: delivery.outcomes.iter().filter(|outcome| outcome.is_change()).count(),
            deleted: 0,
            conflicts: delivery.conflicts,
            retry: inputs.is_some() && !delivery.failures.is_empty(),
            failures: delivery.failures,
            held: None,
            inputs: inputs.filter(|_| complete),
            root: root_text(app),
            dirty: known.dirty,
            fresh: false,
            unhealthy_since: None,
        };
        drop(state);
        self.changed.notify_waiters();
    }

    /// Everything that could be done is done; the parsed blobs are kept for the next revision.
    fn arrive(&self, course: Course) {
        if let Some(shop) = Arc::into_inner(course.workshop) {
            *self.cache.borrow_mut() = Some(shop.into_inner().unwrap_or_else(PoisonError::into_inner).1);
        }
        let mut state = self.state.borrow_mut();
        state.syncing = false;
        state.applied_at.get_or_insert_with(Timestamp::now);
        drop(state);
        self.changed.notify_waiters();
    }
}

impl Delivery {
    /// `place` is that of the very field that was refused, where it is known.
    fn note(&mut self, app: &str, item: &Item, outcome: Outcome, place: Option<Origin>) {
        let reason = match &outcome {
            Outcome::Failed { reason } => Some(reason.clone()),
            Outcome::Blocked { .. } => Some(outcome.to_string()),
            _ => None,
        };
        let failure = reason.map(|reason| Failure {
            app: app.to_owned(),
            object: Some(item.wanted.id.clone()),
            place: place.clone().or_else(|| Some((*item.origin).clone())),
            reason,
        });
        self.failures.extend(failure);
        self.outcomes.push(outcome);
    }
}

/// Where a field that the API server names was written: `spec.ports[0].port`, in a patch of a layer as well as in the base.
fn place_of(object: &overlays::object::Object, field: &str) -> Option<Origin> {
    let steps: Vec<&str> = field.split(['.', '[', ']']).filter(|step| !step.is_empty()).collect();
    object.place(&steps)
}

fn outcome(change: Change) -> Outcome {
    match change {
        Change::Created => Outcome::Created,
        Change::Configured => Outcome::Configured,
        Change::Unchanged => Outcome::Unchanged,
        Change::Replaced => Outcome::Replaced,
    }
}

/// For a CustomResourceDefinition: what it defines.
fn definition(object: &overlays::object::Object) -> Option<Definition> {
    let id = object.id();
    if id.kind != "CustomResourceDefinition" {
        return None;
    }
    let json = object.to_json().ok()?;
    let text = |pointer: &str| json.pointer(pointer)?.as_str().map(str::to_owned);
    let kind = GroupKind { group: text("/spec/group")?, kind: text("/spec/names/kind")? };
    Some(Definition { kind, namespaced: text("/spec/scope").as_deref() == Some("Namespaced") })
}

fn held_words(app: &str, held: &crate::plan::Held) -> Held {
    let count = held.ids.len();
    let reason = match held.reason {
        HeldReason::Majority { deletions, owned } => format!("{deletions} of {owned} objects of app {app} would be deleted"),
        HeldReason::EmptyRender => format!("all {count} objects of app {app} would be deleted, for it renders none"),
        HeldReason::GuardedKind | HeldReason::HalfApplied { .. } => format!("app {app}: {held}"),
    };
    Held { app: app.to_owned(), count, reason }
}

fn repository_failure(error: &AppError) -> Failure {
    failure(error.app.as_deref().unwrap_or_default(), &error.error)
}

fn render_failures(app: &str, errors: &overlays::Errors) -> Vec<Failure> {
    errors.0.iter().map(|error| failure(app, error)).collect()
}

fn failure(app: &str, error: &overlays::Error) -> Failure {
    let place = error.place().map(|place| place.origin.clone());
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
    let line = error.place().map(|place| place.line_text.trim()).filter(|line| !line.is_empty());
    let line = line.map(|line| format!(": `{}`", shown(line))).unwrap_or_default();
    let advice = error.advice().map(|advice| format!("; {advice}")).unwrap_or_default();
    Failure { app: app.to_owned(), object: None, place, reason: format!("{error}{cause}{line}{advice}") }
}

/// The beginning of a line of the user's: minified JSON has lines of megabytes.
fn shown(line: &str) -> String {
    let printable = |c: char| if c.is_control() { ' ' } else { c };
    line.chars().take(SHOWN).map(printable).collect()
}

/// The fleet at the path of a Sync. A repository that is one app is named by its URL.
fn read_fleet(tree: &dyn Tree, spec: &api::SyncSpec) -> Result<fleet::Fleet, overlays::Errors> {
    let path = RepoPath::new(&spec.path).map_err(|error| overlays::Error::new(overlays::Stage::Layer, format!("spec.path: {error}")))?;
    let name = spec.url.trim_end_matches('/').trim_end_matches(".git");
    fleet::read(tree, &path, name.rsplit(['/', ':']).next().unwrap_or("app"))
}

/// Renders an app as it is for one cluster.
///
/// # Errors
/// All that is wrong with it.
pub fn render(app: &App, tree: &dyn Tree, options: &Options, cache: &mut Cache) -> Result<Rendered, overlays::Errors> {
    match &app.root {
        Root::Directory(path) => overlays::render(tree, path, options, cache),
        Root::Stacked { at, kustomization } => {
            let file = at.join("kustomization.yaml").map_err(|error| overlays::Error::new(overlays::Stage::Layer, error.to_string()))?;
            let stacked = WithFile::new(tree, file, kustomization.as_bytes()).map_err(overlays::Error::from)?;
            overlays::render(&stacked, at, options, cache)
        }
    }
}

/// What an app is rendered from, to be compared: another stack of the same directories is another app.
fn root_text(app: &App) -> String {
    match &app.root {
        Root::Directory(path) => path.to_string(),
        Root::Stacked { at, kustomization } => format!("{at}\n{kustomization}"),
    }
}

/// Runs on the thread for rendering with the revision's files and the parsed blobs.
async fn in_shop<T: Send + 'static>(
    workshop: &Workshop,
    work: impl FnOnce(&dyn Tree, &mut Cache) -> T + Send + 'static,
) -> Result<T, Error> {
    let workshop = workshop.clone();
    blocking(move || {
        let mut shop = workshop.lock().unwrap_or_else(PoisonError::into_inner);
        let (tree, cache) = &mut *shop;
        work(&**tree, cache)
    })
    .await
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Error::Broken(error.to_string()))
}
