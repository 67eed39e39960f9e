//! Brings the apps of a revision to the cluster: each is rendered, and applied wave by wave.
//! It does not know which apps are due, and deletes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use jiff::Timestamp;
use overlays::object::{Object, ObjectId, Origin};
use overlays::{Fingerprint, Rendered};
use serde_json::Value;
use tokio::sync::SemaphorePermit;

use super::bases::Unrendered;
use super::{Course, Error, Leader, Note, root_text};
use crate::api;
use crate::baseline::{self, Baseline};
use crate::cluster::{self, Applied, Applying, Change, Mark, Refusal, Resource};
use crate::drift::{self, Policy};
use crate::fleet::App;
use crate::inventory::GroupKind;
use crate::plan::{Definition, Outcome, Plan, Prune, Step, Wanted, Word};
use crate::report::Failure;
use crate::state::{self, Sighting, Stage, Suspect, Uid};

/// How long a CustomResourceDefinition may take until its kind is served.
const ESTABLISH: Duration = Duration::from_secs(30);
/// How often it is tried to take over what kubectl holds, while others write.
const ADOPT_TRIES: usize = 5;
/// How soon to look again for a Namespace or a kind that another app may bring.
const GROUND: Duration = Duration::from_millis(250);

/// An object of a manifest, once it is known how its kind is addressed.
pub(crate) struct Item {
    pub(crate) wanted: Wanted,
    /// None for a kind that the cluster does not serve (yet).
    resource: Option<Resource>,
    /// Which object of the manifest.
    pub(crate) object: usize,
    origin: Rc<Origin>,
}

/// One app as it was rendered, on its way to the cluster.
pub(crate) struct Job<'a> {
    pub(crate) app: &'a str,
    pub(crate) rendered: &'a Rendered,
    /// Apply also what seems to be in place.
    again: bool,
    /// Change nothing.
    hold: bool,
    /// Namespace, kind and name of what an autoscaler of the app scales.
    scaled: BTreeSet<(String, String, String)>,
}

/// What was done about one object.
enum Brought {
    /// Nothing: this very body was applied before, and it is there.
    Stands,
    /// Nothing, for nothing may be changed; it is not as the revision asks.
    Left,
    /// It was applied.
    Applied(Applied, u64),
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
    /// It may go well later although nothing is changed.
    again: bool,
}
impl Leader {
    /// Every app goes its own way: one that waits or fails holds up only those that depend on it.
    ///
    /// Nothing is deleted yet, for what one app no longer asks for another may ask for now.
    pub(super) async fn deliver_all(&self, course: &Course) -> Result<BTreeMap<String, Prune>, Error> {
        let due = course.legs.iter().filter(|leg| leg.due);
        let mut under_way: FuturesUnordered<_> = due.map(|leg| self.deliver(course, &leg.app)).collect();
        let mut prunes = BTreeMap::new();
        while let Some(delivered) = under_way.next().await {
            prunes.extend(delivered?);
        }
        Ok(prunes)
    }

    /// Brings one app when its turn has come. Returns what is to be deleted of it; none if it could not be rendered now.
    async fn deliver(&self, course: &Course, app: &App) -> Result<Option<(String, Prune)>, Error> {
        if !self.dependencies_healthy(app).await {
            return Ok(None);
        }
        let permit = self.gate.acquire().await.map_err(|_| Error::LeaseLost)?;
        self.healed(&app.name).await;
        // On the heap only now: of a fleet of thousands of apps all wait here at once, and what is to come is some ten kilobytes each.
        Box::pin(self.bring_app(course, app, permit)).await
    }

    /// Renders one app and applies it.
    async fn bring_app(&self, course: &Course, app: &App, permit: SemaphorePermit<'_>) -> Result<Option<(String, Prune)>, Error> {
        self.start(&app.name);
        let (rendered, print, _permit) = match self.render(&course.workshop, app, permit).await? {
            Ok(rendered) => rendered,
            Err(Unrendered { failures, is_transient }) => {
                self.record(app, Delivery { failures, again: is_transient, ..Delivery::default() }, None);
                return Ok(None);
            }
        };
        let said = rendered.annotations.get(api::PRUNE_ANNOTATION).is_some_and(|word| word == api::ALLOW);
        let word = Word { app: said || app.prune || course.prune_allowed, ..Word::default() };
        let job = Job { again: course.again && !course.hold, hold: course.hold, ..Job::new(&app.name, &rendered) };
        let (delivery, prune) = self.bring(&job, &word).await?;
        // While nothing may be changed nothing was brought either: it is due as soon as it may.
        self.record(app, delivery, Some((rendered.inputs, print)).filter(|_| !course.hold));
        Ok(Some((app.name.clone(), prune)))
    }

    /// Waits until no object of an app is being healed: what Git had before must not be applied after what it has now.
    async fn healed(&self, app: &str) {
        loop {
            let changed = self.changed.notified();
            if !self.healing.borrow().contains(app) {
                return;
            }
            changed.await;
        }
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

    fn start(&self, app: &str) {
        if let Some(app) = self.state.borrow_mut().apps.get_mut(app) {
            app.stage = Stage::Applying;
        }
    }

    fn stage(&self, app: &str, stage: Stage) {
        if let Some(app) = self.state.borrow_mut().apps.get_mut(app) {
            app.stage = stage;
        }
    }

    /// Applies what an app asks for, and says what it no longer asks for.
    async fn bring(&self, job: &Job<'_>, word: &Word) -> Result<(Delivery, Prune), Error> {
        let (items, mut delivery) = self.identify(job.app, job.rendered).await?;
        let plan = self.plan(job.app, &items, word);
        if job.hold {
            items.iter().filter_map(|item| item.resource.clone()).for_each(|resource| self.watch(resource));
        } else {
            self.remember(&items).await?;
        }
        self.apply_waves(job, &plan, &items, &mut delivery).await?;
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
        self.state.borrow_mut().asks_for(app, items.iter().map(|item| (item.wanted.id.clone(), item.origin.clone())));
        Ok((items, delivery))
    }

    fn item(&self, index: usize, object: &Object, resource: Option<Resource>, defined: &BTreeMap<GroupKind, bool>) -> Item {
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
        let owned = state.owned(app).map(|(id, _)| id).collect();
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

    async fn apply_waves(&self, job: &Job<'_>, plan: &Plan, items: &[Item], delivery: &mut Delivery) -> Result<(), Error> {
        let mut failed = BTreeSet::new();
        for wave in &plan.waves {
            let (blocked, free): (Vec<&Step>, Vec<&Step>) =
                wave.iter().partition(|step| step.blocked_on(|need| failed.contains(&need)).is_some());
            for step in blocked {
                let on = step.blocked_on(|need| failed.contains(&need)).map(|need| items[need].wanted.id.clone()).unwrap_or_default();
                failed.insert(step.object);
                delivery.note(job.app, &items[step.object], Outcome::Blocked { on }, None);
            }
            let mut under_way: FuturesUnordered<_> = free.iter().map(|step| self.apply(job, &items[step.object], step.object)).collect();
            while let Some(done) = under_way.next().await {
                let tried = done?;
                delivery.conflicts += tried.conflicts;
                if !tried.outcome.is_done() {
                    failed.insert(tried.index);
                }
                delivery.note(job.app, &items[tried.index], tried.outcome, tried.place);
            }
        }
        Ok(())
    }

    /// Applies one object, and again for a while if what it stands on may come with another app.
    async fn apply_when_ready(&self, job: &Job<'_>, item: &Item) -> Result<Result<Brought, Refusal>, Error> {
        let begun = tokio::time::Instant::now();
        loop {
            let applied = {
                let _permit = self.flight.acquire().await.map_err(|_| Error::LeaseLost)?;
                self.may_write()?;
                self.try_apply(job, item).await
            };
            let groundless = matches!(applied, Err(Refusal::NoKind { .. } | Refusal::NamespaceMissing { .. }));
            if !groundless || begun.elapsed() > ESTABLISH || !self.others_move(job.app) {
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
    async fn apply(&self, job: &Job<'_>, item: &Item, index: usize) -> Result<Tried, Error> {
        let tried = match self.apply_when_ready(job, item).await? {
            Ok(Brought::Stands | Brought::Left) => {
                self.changed.notify_waiters();
                return Ok(Tried { index, outcome: Outcome::Unchanged, conflicts: 0, place: None });
            }
            Ok(Brought::Applied(applied, body)) => self.applied(job, &item.wanted.id, index, (applied, body)),
            Err(refusal) => {
                let place = refusal.field().and_then(|field| place_of(&job.rendered.manifest.objects()[item.object], field));
                Tried { index, outcome: Outcome::Failed { reason: refusal.to_string() }, conflicts: 0, place }
            }
        };
        self.metrics.applied(tried.outcome.label());
        Ok(tried)
    }

    fn applied(&self, job: &Job<'_>, id: &ObjectId, index: usize, (applied, body): (Applied, u64)) -> Tried {
        for conflict in &applied.conflicts {
            tracing::warn!(object = %id, manager = %conflict.manager, fields = %conflict.fields.join(", "), "Took fields over from another manager.");
            self.notes.borrow_mut().push(Note { reason: "TakenOver", text: format!("{id}: took {conflict}") });
        }
        if let Some(suspect) = self.settle(id, &applied, body) {
            self.tell_overwritten(job.app, id, &suspect, &applied.live);
        }
        let conflicts = applied.conflicts.iter().map(|conflict| conflict.fields.len().max(1)).sum();
        Tried { index, outcome: outcome(applied.change), conflicts, place: None }
    }

    /// Notes what an apply made of an object. Returns what somebody else had made of it before, unseen.
    pub(crate) fn settle(&self, id: &ObjectId, applied: &Applied, body: u64) -> Option<Suspect> {
        let live = Sighting {
            id: id.clone(),
            uid: Uid::from(&*applied.uid),
            version: applied.resource_version.parse().unwrap_or_default(),
            generation: applied.live["metadata"]["generation"].as_i64().unwrap_or_default(),
            app: String::new(),
            health: crate::health::health(&applied.live, Timestamp::now()),
            print: drift::print(&applied.live),
            raw: 0,
        };
        let suspect = self.state.borrow_mut().applied(live, body);
        self.changed.notify_waiters();
        suspect
    }

    async fn try_apply(&self, job: &Job<'_>, item: &Item) -> Result<Brought, Refusal> {
        let (resource, body) = self.body(job, item).await?;
        let hash = baseline::of_body(&body);
        if !job.again && self.stands(&resource, &item.wanted.id, (&body, hash)).await? {
            return Ok(Brought::Stands);
        }
        if job.hold {
            return Ok(Brought::Left);
        }
        let policy = self.policy_of(job, item)?;
        let (known, is_new) = {
            let state = self.state.borrow();
            let record = state.objects.get(&item.wanted.id);
            (record.map(|record| record.version.to_string()), record.is_none_or(|record| !record.baseline.is_known()))
        };
        let replace = job.object(item).annotation(api::REPLACE_ANNOTATION) == Some(api::ALLOW);
        let applying = Applying { replace, applyset: &self.mark.applyset, known: known.as_deref(), ..Applying::default() };
        let applied = self.apply_but(&policy, &resource, &body, &applying).await?;
        let applied =
            if is_new && applied.change != Change::Created { self.adopt(&policy, &resource, &body, applied).await? } else { applied };
        Ok(Brought::Applied(applied, hash))
    }

    /// An object that was there before us may be one that `kubectl apply` made: what that holds is ours from now on.
    async fn adopt(&self, policy: &Policy, resource: &Resource, body: &Value, applied: Applied) -> Result<Applied, Refusal> {
        let text = |field: &str| body["metadata"][field].as_str().unwrap_or_default();
        let (id, mut live) = (resource.id(text("namespace"), text("name")), Some(applied.live.clone()));
        for _ in 0..ADOPT_TRIES {
            let Some(patch) = live.as_ref().and_then(drift::adoption) else { return Ok(applied) };
            match self.hands.repair(resource, &id, &patch).await {
                Ok(_) => {
                    tracing::info!(sync = %self.name, object = %id, "Adopted: what kubectl apply held is held by Git from now on.");
                    let again =
                        self.apply_but(policy, resource, body, &Applying { applyset: &self.mark.applyset, ..Applying::default() }).await?;
                    return Ok(Applied { change: applied.change, conflicts: applied.conflicts, ..again });
                }
                // A controller writes a status meanwhile.
                Err(refusal) => tracing::debug!(sync = %self.name, object = %id, %refusal, "Could not be adopted yet."),
            }
            live = self.hands.get(resource, &id).await?;
        }
        tracing::warn!(sync = %self.name, object = %id, "What kubectl apply holds of this object could not be taken over, and stays when Git drops it. Take the entry of kubectl out of its metadata.managedFields.");
        Ok(applied)
    }

    /// What is applied for an object, and how it is addressed.
    pub(crate) async fn body(&self, job: &Job<'_>, item: &Item) -> Result<(Resource, Value), Refusal> {
        let resource = match &item.resource {
            Some(resource) => resource.clone(),
            None => {
                let resource = self.resolve_late(job.object(item)).await?;
                self.watch(resource.clone());
                resource
            }
        };
        let json = job.object(item).to_json().map_err(|error| Refusal::Other { code: 0, message: error.to_string() })?;
        let mark = Mark { app: job.app.to_owned(), ..self.mark.clone() };
        let body = cluster::body(&json, &resource, &mark)?;
        Ok((resource, body))
    }

    /// What Git says about drift of an object.
    pub(crate) fn policy_of(&self, job: &Job<'_>, item: &Item) -> Result<Policy, Refusal> {
        let object = job.object(item);
        let policy = self
            .policy
            .of(&job.rendered.annotations, |key| object.annotation(key))
            .map_err(|error| Refusal::Other { code: 0, message: error })?;
        Ok(if job.is_scaled(item) { policy.without_replicas() } else { policy })
    }

    /// Applies without what is left to others, once they have taken it. Only then does the object have to be read.
    async fn apply_but(&self, policy: &Policy, resource: &Resource, body: &Value, applying: &Applying<'_>) -> Result<Applied, Refusal> {
        if policy.leaves_something() {
            match self.hands.apply(resource, body, &Applying { politely: true, ..applying.clone() }).await {
                Err(Refusal::Conflict { .. }) => {}
                applied => return applied,
            }
            let text = |field: &str| body["metadata"][field].as_str().unwrap_or_default();
            let live = self.hands.get(resource, &resource.id(text("namespace"), text("name"))).await?;
            return self.hands.apply(resource, &drift::sendable(body, policy, live.as_ref()), applying).await;
        }
        self.hands.apply(resource, body, applying).await
    }

    /// Those of an app's objects that are named, as they would be applied.
    pub(crate) async fn items(&self, job: &Job<'_>, ids: &[ObjectId]) -> Result<Vec<Item>, Error> {
        let mut items = Vec::new();
        for (index, object) in job.rendered.manifest.objects().iter().enumerate() {
            let named = |id: &ObjectId| id.kind == object.id().kind && id.name == object.id().name;
            if !ids.iter().any(named) {
                continue;
            }
            let resource = match self.hands.resolve(object.api_version(), &object.id().kind).await {
                Ok(resource) => Some(resource),
                Err(Refusal::NoKind { .. }) => None,
                Err(refusal) => return Err(refusal.into()),
            };
            let item = self.item(index, object, resource, &BTreeMap::new());
            items.extend(ids.contains(&item.wanted.id).then_some(item));
        }
        Ok(items)
    }

    /// Whether an object need not be applied, for this very body was. If somebody has changed it since, that is drift, and is looked at as such.
    async fn stands(&self, resource: &Resource, id: &ObjectId, (body, hash): (&Value, u64)) -> Result<bool, Refusal> {
        let known = self.state.borrow().objects.get(id).map(|record| (record.baseline, record.uid.is_known()));
        let Some((baseline, exists)) = known.filter(|_| self.state.borrow().blind.is_empty()) else { return Ok(false) };
        if baseline.is_known() {
            return Ok(baseline.body == hash && self.state.borrow_mut().stands(id, Timestamp::now()));
        }
        if !exists {
            return Ok(false);
        }
        // What was applied by an earlier process is not known any more: the server is asked whether anything would change.
        let live = drift::print(&self.hands.dry_run(resource, body).await?).hash;
        Ok(self.state.borrow_mut().found(id, Baseline { body: hash, live }))
    }

    /// A kind that was not there when the app was looked at: its definition may have been applied a wave ago.
    async fn resolve_late(&self, object: &Object) -> Result<Resource, Refusal> {
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
            retry: delivery.again || (inputs.is_some() && !delivery.failures.is_empty()),
            failures: delivery.failures,
            held: None,
            inputs: inputs.filter(|_| complete),
            root: root_text(app),
            fresh: false,
            unhealthy_since: None,
        };
        drop(state);
        self.changed.notify_waiters();
    }
}

impl<'a> Job<'a> {
    pub(crate) fn new(app: &'a str, rendered: &'a Rendered) -> Self {
        let scalers = rendered.manifest.objects().iter().filter(|object| drift::is_autoscaler(&object.id()));
        let scaled = scalers.filter_map(|scaler| {
            let (kind, name) = drift::scaled(&scaler.to_json().ok()?)?;
            Some((scaler.id().namespace, kind, name))
        });
        Self { app, rendered, again: false, hold: false, scaled: scaled.collect() }
    }

    fn is_scaled(&self, item: &Item) -> bool {
        let id = self.object(item).id();
        self.scaled.contains(&(id.namespace, id.kind, id.name))
    }

    pub(crate) fn object(&self, item: &Item) -> &Object {
        &self.rendered.manifest.objects()[item.object]
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
fn place_of(object: &Object, field: &str) -> Option<Origin> {
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
fn definition(object: &Object) -> Option<Definition> {
    let id = object.id();
    if id.kind != "CustomResourceDefinition" {
        return None;
    }
    let json = object.to_json().ok()?;
    let text = |pointer: &str| json.pointer(pointer)?.as_str().map(str::to_owned);
    let kind = GroupKind { group: text("/spec/group")?, kind: text("/spec/names/kind")? };
    Some(Definition { kind, namespaced: text("/spec/scope").as_deref() == Some("Namespaced") })
}
