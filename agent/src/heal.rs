//! Looks at objects that are not as they were applied: each is healed or only told of, as its policy says, and who changed it is told first.
//!
//! What differs, whose it is and what to do about it is decided in `drift`; here it is carried out, beside the sync, and never for an app that
//! is being brought.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use jiff::Timestamp;
use overlays::Rendered;
use overlays::object::ObjectId;
use serde_json::Value;

use crate::api::{DriftField, HEAL_MANAGER};
use crate::baseline;
use crate::cluster::{Applied, Applying, Refusal, Resource};
use crate::drift::{self, Author, Difference, Mode, Policy};
use crate::plan::{Plan, Wanted, Word};
use crate::state::{Audit, Drift, Fate, Suspect};
use crate::sync::deliver::{Item, Job};
use crate::sync::{Error, Leader, Note};

/// How often entries that are to go are tried to be taken off while others write.
const TIDY_TRIES: usize = 8;
/// The path that is told where the whole object is gone.
const DELETED: &str = "deleted";

/// How often an object is looked at again because somebody writes while it is healed; then it is written whatever it is.
const LOOKS: usize = 5;

/// How long an event may be on its way until an audit calls it missing.
const LATE: std::time::Duration = std::time::Duration::from_secs(10);

/// One object that is looked at.
struct Case<'a> {
    job: &'a Job<'a>,
    item: &'a Item,
    resource: Resource,
    policy: Policy,
    /// What Git asks for.
    body: Value,
    suspect: Suspect,
    /// The object as it was seen; none where it is gone.
    drifted: Option<Value>,
}

impl Case<'_> {
    fn id(&self) -> &ObjectId {
        &self.item.wanted.id
    }
}

impl Leader {
    /// Whether nothing may be changed at this time.
    pub(crate) fn is_quiet(&self, now: Timestamp) -> bool {
        self.sync.spec.suspend || self.freeze.holds(now)
    }

    /// Looks at objects of one app that are not as they were applied.
    pub(crate) async fn heal(&self, app: String, ids: Vec<ObjectId>) {
        if let Err(error) = self.look_at(&app, &ids).await {
            tracing::warn!(sync = %self.name, %app, %error, "Could not look at what has drifted; it will be tried again.");
            self.state.borrow_mut().put_off(&ids, Timestamp::now());
        }
        self.healing.borrow_mut().remove(&app);
        self.changed.notify_waiters();
    }

    async fn look_at(&self, app: &str, ids: &[ObjectId]) -> Result<(), Error> {
        let rendered = match self.rendered(app).await? {
            Some(Ok(rendered)) => rendered,
            Some(Err(reason)) => {
                ids.iter().for_each(|id| self.refused(app, id, &reason, Vec::new()));
                return Ok(());
            }
            None => {
                ids.iter().for_each(|id| _ = self.state.borrow_mut().suspects.remove(id));
                return Ok(());
            }
        };
        let job = Job::new(app, &rendered);
        let items = self.items(&job, ids).await?;
        // What the app does not have any more is no drift.
        let has = |id: &ObjectId| items.iter().any(|item| item.wanted.id == *id);
        ids.iter().filter(|id| !has(id)).for_each(|id| _ = self.state.borrow_mut().suspects.remove(id));
        let wanted: Vec<Wanted> = items.iter().map(|item| item.wanted.clone()).collect();
        let plan = Plan::new(&wanted, &BTreeSet::new(), &BTreeSet::new(), &Word::default());
        for wave in &plan.waves {
            join_all(wave.iter().map(|step| self.look(&job, &items[step.object]))).await;
        }
        Ok(())
    }

    /// An app as the live revision has it; none if it has no such app, why in words if it can't be rendered.
    async fn rendered(&self, app: &str) -> Result<Option<Result<Rendered, String>>, Error> {
        let Some((revision, app)) = self.live_app(app) else { return Ok(None) };
        self.metrics.rendered();
        let workshop = self.workshop(&revision).await?;
        let rendered = workshop.run(move |tree, cache| crate::sync::render(&app, tree, &overlays::Options::default(), cache)).await?;
        let first = |errors: overlays::Errors| errors.0.first().map(ToString::to_string).unwrap_or_default();
        Ok(Some(rendered.map_err(first)))
    }

    /// One object. What the API server refuses is tried again later, and told.
    async fn look(&self, job: &Job<'_>, item: &Item) {
        let id = &item.wanted.id;
        let Some(suspect) = self.state.borrow_mut().suspects.remove(id) else { return };
        let looked = match self.case(job, item, suspect.clone()).await {
            Ok(Some(mut case)) => {
                let treated = self.treat(&mut case).await;
                treated.map_err(|refusal| (refusal, self.unmet(&case, case.drifted.as_ref())))
            }
            Ok(None) => {
                let live = suspect.text.as_ref().and_then(|text| serde_json::from_str::<Value>(text).ok());
                self.state.borrow_mut().drifts.silence(id, live.as_ref().map(drift::raw));
                Ok(())
            }
            Err(refusal) => Err((refusal, Vec::new())),
        };
        if let Err((refusal, fields)) = looked {
            self.state.borrow_mut().suspects.restore(id, suspect);
            if refusal.is_transient() {
                // It says nothing about the object, and passes.
                self.state.borrow_mut().put_off(std::slice::from_ref(id), Timestamp::now());
            } else {
                self.refused(job.app, id, &refusal.to_string(), fields);
            }
        }
    }

    /// All that has to be known of an object that is not as it was applied; none if nobody cares.
    async fn case<'a>(&self, job: &'a Job<'a>, item: &'a Item, suspect: Suspect) -> Result<Option<Case<'a>>, Refusal> {
        let policy = self.policy_of(job, item)?;
        if policy.mode == Mode::Ignore {
            return Ok(None);
        }
        let (resource, body) = self.body(job, item).await?;
        let seen = suspect.text.as_ref().and_then(|text| serde_json::from_str::<Value>(text).ok());
        // What was seen in another version can't be compared with what is applied.
        let seen = seen.filter(|seen| seen.get("apiVersion").is_none_or(|version| *version == *resource.api_version()));
        // An object that has lost its label is gone from the watch, and there all the same.
        let drifted = match seen.filter(|_| suspect.print.is_some()) {
            Some(seen) => Some(seen),
            None => self.hands.get(&resource, &item.wanted.id).await?,
        };
        Ok(Some(Case { job, item, resource, policy, body, suspect, drifted }))
    }

    async fn treat(&self, case: &mut Case<'_>) -> Result<(), Refusal> {
        let heals = case.policy.mode == Mode::Heal && !self.is_quiet(Timestamp::now());
        if heals { self.put_right(case).await } else { self.only_tell(case).await }
    }

    /// Nothing is written: the server is asked what an apply would make of the object, and the difference is told.
    async fn only_tell(&self, case: &Case<'_>) -> Result<(), Refusal> {
        let body = drift::sendable(&case.body, &case.policy, case.drifted.as_ref());
        let healed = self.hands.dry_run(&case.resource, &body).await?;
        self.tell(self.drift(case, &healed, Fate::Reported));
        Ok(())
    }

    async fn put_right(&self, case: &mut Case<'_>) -> Result<(), Refusal> {
        let before = self.state.borrow().objects.get(case.id()).map(|record| record.baseline.live).unwrap_or_default();
        let mut applied = self.apply_to_seen(case).await;
        if let Some(patch) = self.repair(case, &applied, before).await? {
            self.hands.repair(&case.resource, case.id(), &patch).await?;
            applied = self.apply_again(case, None).await;
        }
        let applied = applied?;
        self.accept(case, &applied, before)?;
        let unseen = self.settle(case.id(), &applied, baseline::of_body(&case.body));
        self.tidy_up(case, &applied).await;
        // What came in meanwhile was overwritten with the rest: of two states of others the later one is told. After a patch of ours it is none.
        let later = unseen.as_ref().and_then(|suspect| serde_json::from_str::<Value>(suspect.text.as_ref()?).ok());
        let later = later.map(|later| self.drift_from(case, &applied.live, Some(&later), Fate::Healed));
        let later = later.filter(|drift| !drift.fields.is_empty());
        self.tell(later.unwrap_or_else(|| self.drift(case, &applied.live, Fate::Healed)));
        Ok(())
    }

    /// The patch after which an apply helps that did not help by itself.
    async fn repair(&self, case: &Case<'_>, applied: &Result<Applied, Refusal>, before: u64) -> Result<Option<Value>, Refusal> {
        match applied {
            Ok(applied) if drift::print(&applied.live).hash == before => Ok(None),
            Ok(applied) => Ok(drift::repair(&case.body, &applied.live, None)),
            Err(refusal) => {
                let Some(field) = in_the_way(refusal) else { return Ok(None) };
                // Since the object was seen, its status at least may have been written.
                let live = self.hands.get(&case.resource, case.id()).await?;
                Ok(live.and_then(|live| drift::repair(&case.body, &live, Some(field))))
            }
        }
    }

    /// An apply that changed nothing although our fields are not as they were: if the object has all that Git asks for nevertheless, that is what
    /// is compared with from now on; else something takes it back within our own write.
    fn accept(&self, case: &Case<'_>, applied: &Applied, before: u64) -> Result<(), Refusal> {
        if drift::print(&applied.live).hash == before || self.unmet(case, Some(&applied.live)).is_empty() {
            return Ok(());
        }
        let message = "an apply changes nothing; look for an admission policy or a webhook that changes what is written".to_owned();
        Err(Refusal::Admission { by: String::new(), message, passing: false })
    }

    /// What of Git an object does not have, where no answer of the server says it.
    fn unmet(&self, case: &Case<'_>, live: Option<&Value>) -> Vec<DriftField> {
        let counts = |path: &[String], by: Option<&str>| !case.policy.leaves(path, by);
        live.map(|live| fields(drift::unmet(&case.body, live), live, counts)).unwrap_or_default()
    }

    /// Applies to the very state that was seen. If somebody has written since, that is seen first, so that nothing is overwritten untold.
    async fn apply_to_seen(&self, case: &mut Case<'_>) -> Result<Applied, Refusal> {
        for _ in 0..LOOKS {
            let Some(seen) = case.drifted.as_ref().and_then(version) else { break };
            match self.apply_again(case, Some(seen)).await {
                Err(Refusal::Conflict { owners, .. }) if owners.is_empty() => {
                    case.drifted = self.hands.get(&case.resource, case.id()).await?;
                }
                applied => return applied,
            }
        }
        self.apply_again(case, None).await
    }

    async fn apply_again(&self, case: &Case<'_>, only: Option<u64>) -> Result<Applied, Refusal> {
        let _permit = self.flight.acquire().await.map_err(|_| Refusal::LeaseLost)?;
        let body = drift::sendable(&case.body, &case.policy, case.drifted.as_ref());
        let applying = Applying { replace: false, applyset: &self.mark.applyset, force: true, only, ..Applying::default() };
        self.hands.apply(&case.resource, &body, &applying).await
    }

    /// Entries that would keep alive what Git no longer asks for are taken off: that of our own patch, and that which the server makes for
    /// everything when the list had been emptied.
    async fn tidy_up(&self, case: &Case<'_>, applied: &Applied) {
        let mut live = Some(applied.live.clone());
        for _ in 0..TIDY_TRIES {
            let Some(patch) = live.as_ref().and_then(|live| drift::drop_entries(live, &[HEAL_MANAGER, drift::BEFORE_FIRST_APPLY])) else {
                return;
            };
            let Err(refusal) = self.hands.repair(&case.resource, case.id(), &patch).await else { return };
            tracing::debug!(sync = %self.name, object = %case.id(), %refusal, "An entry of the managed fields stays for now.");
            // A controller that answers to the heal has written a status meanwhile.
            live = self.hands.get(&case.resource, case.id()).await.ok().flatten();
        }
        tracing::warn!(sync = %self.name, object = %case.id(), "An entry of {HEAL_MANAGER} stays in the managed fields; what it holds stays when Git drops it.");
    }

    fn drift(&self, case: &Case<'_>, healed: &Value, fate: Fate) -> Drift {
        self.drift_from(case, healed, case.drifted.as_ref(), fate)
    }

    /// What has become of the object. It has no fields if only who owns them had changed.
    fn drift_from(&self, case: &Case<'_>, healed: &Value, drifted: Option<&Value>, fate: Fate) -> Drift {
        let fields = match drifted {
            Some(drifted) => fields(drift::differences(healed, drifted), drifted, |path, by| !case.policy.leaves(path, by)),
            None => vec![DriftField { path: DELETED.to_owned(), by: Author::Unknown.to_string(), ..DriftField::default() }],
        };
        let (since, raw) = (case.suspect.since, drifted.map(drift::raw));
        Drift { app: case.job.app.to_owned(), object: case.id().clone(), fields, fate, message: String::new(), since, until: None, raw }
    }

    /// What was changed by others while an apply of something new was on its way, and overwritten by that. What Git has changed is no drift, so
    /// only fields that somebody else had taken are told.
    pub(crate) fn tell_overwritten(&self, app: &str, id: &ObjectId, suspect: &Suspect, live: &Value) {
        let Some(drifted) = suspect.text.as_ref().and_then(|text| serde_json::from_str::<Value>(text).ok()) else { return };
        let fields = fields(drift::differences(live, &drifted), &drifted, |_, by| by.is_some());
        let (object, since, raw) = (id.clone(), suspect.since, Some(drift::raw(&drifted)));
        let message = String::new();
        self.tell(Drift { app: app.to_owned(), object, fields, fate: Fate::Healed, message, since, until: None, raw });
    }

    /// What an apply of ours has overwritten before it was seen is told after it. The object is read for what it is now.
    pub(crate) async fn tell_late(&self, app: String, id: ObjectId, text: Box<str>) {
        // In the version in which it was seen: other fields can't be compared.
        let seen = serde_json::from_str::<Value>(&text).unwrap_or_default();
        let api_version = seen["apiVersion"].as_str().unwrap_or_default();
        let Ok(resource) = self.hands.resolve(api_version, &id.kind).await else { return };
        let now = Timestamp::now();
        match self.hands.get(&resource, &id).await {
            Ok(Some(live)) => self.tell_overwritten(&app, &id, &Suspect { text: Some(text), ..Suspect::unseen(0, true, now) }, &live),
            Ok(None) => {}
            Err(refusal) => tracing::debug!(sync = %self.name, object = %id, %refusal, "Could not read what was overwritten."),
        }
    }

    /// An object can't be healed now, and why; it is tried again.
    fn refused(&self, app: &str, id: &ObjectId, reason: &str, fields: Vec<DriftField>) {
        let now = Timestamp::now();
        let (since, raw, fields) = {
            let mut state = self.state.borrow_mut();
            state.put_off(std::slice::from_ref(id), now);
            let suspect = state.suspects.get(id);
            let drifted = suspect.and_then(|suspect| serde_json::from_str::<Value>(suspect.text.as_ref()?).ok());
            let gone = suspect.is_some_and(|suspect| suspect.print.is_none());
            let field = DriftField { path: DELETED.to_owned(), by: Author::Unknown.to_string(), ..DriftField::default() };
            (suspect.map_or(now, |suspect| suspect.since), drifted.as_ref().map(drift::raw), if gone { vec![field] } else { fields })
        };
        let (app, object, message) = (app.to_owned(), id.clone(), reason.to_owned());
        self.tell(Drift { app, object, fields, fate: Fate::Refused, message, since, until: None, raw });
    }

    /// Tells of a drift: in the log, in the numbers, and to whoever writes status and events. Where only the owner of fields had changed there is
    /// nothing to tell.
    fn tell(&self, drift: Drift) {
        let now = Timestamp::now();
        let drift = self.state.borrow_mut().drifted(drift, now);
        self.changed.notify_waiters();
        let Some(drift) = drift else { return };
        let why = if drift.message.is_empty() { String::new() } else { format!(": {}", drift.message) };
        tracing::info!(sync = %self.name, app = %drift.app, "Drift: {}; {}{why}", drift.all_words(), drift.fate.as_str());
        let took = std::time::Duration::try_from(now.duration_since(drift.since)).unwrap_or_default();
        self.metrics.drifted(&drift.object.kind, drift.fate.as_str(), took);
        self.notes.borrow_mut().push(Note {
            reason: if drift.fate == Fate::Healed { "DriftHealed" } else { "Drifted" },
            text: format!("{}; {}{why}", drift.words(), drift.fate.as_str()),
        });
    }

    /// Asks the server what an apply would make of one object of which the watch says that all is well. `random`, from 0 to 1, chooses which.
    pub(crate) async fn audit(&self, random: f64) {
        let Some((app, id)) = self.state.borrow().to_audit(random) else { return };
        match self.audited(&app, &id).await {
            Ok(Some((version, live))) => self.compare(&id, version, &live).await,
            Ok(None) => {}
            Err(refusal) => tracing::debug!(sync = %self.name, object = %id, %refusal, "Could not audit."),
        }
    }

    /// The resourceVersion of an object, and what an apply would make of it.
    async fn audited(&self, app: &str, id: &ObjectId) -> Result<Option<(u64, Value)>, Error> {
        let Some(Ok(rendered)) = self.rendered(app).await? else { return Ok(None) };
        let job = Job::new(app, &rendered);
        let Some(item) = self.items(&job, std::slice::from_ref(id)).await?.into_iter().next() else { return Ok(None) };
        let (resource, body) = self.body(&job, &item).await?;
        let live = self.hands.get(&resource, id).await?;
        let body = drift::sendable(&body, &self.policy_of(&job, &item)?, live.as_ref());
        let seen = live.as_ref().and_then(version).unwrap_or_default();
        Ok(Some((seen, self.hands.dry_run(&resource, &body).await?)))
    }

    /// If the object is what the watch has told of, an apply changes nothing; and what the server had to tell, it has told by now.
    async fn compare(&self, id: &ObjectId, version: u64, live: &Value) {
        let hash = drift::print(live).hash;
        if self.state.borrow().audit(id, version, hash) == Audit::Late {
            tokio::time::sleep(LATE).await;
        }
        let audit = self.state.borrow().audit(id, version, hash);
        self.metrics.audited(audit.as_str());
        if matches!(audit, Audit::Different | Audit::Late) {
            tracing::error!(sync = %self.name, object = %id, "Audit: an apply would change this object, and the watch has not told so. It is looked at now; please report this.");
            self.state.borrow_mut().accuse(id, Timestamp::now());
            self.changed.notify_waiters();
        }
    }

    /// Whether what was applied is not as it was written down last.
    pub(crate) fn has_news_to_keep(&self) -> bool {
        self.kept.get() != self.state.borrow().applies
    }

    /// Writes down what was applied, for the next process.
    pub(crate) async fn keep(&self) -> Result<(), Refusal> {
        let (baselines, applies) = (self.state.borrow().baselines(), self.state.borrow().applies);
        self.cluster.keep_baselines(&self.sync, &baselines.encode()).await?;
        self.kept.set(applies);
        Ok(())
    }
}

/// The field that is in the way of an apply, where a patch may take it out of the way.
fn in_the_way(refusal: &Refusal) -> Option<&str> {
    match refusal {
        Refusal::Invalid { .. } => refusal.field(),
        // What the server says, without naming a field, where a port is to be another and its node port the same (seen on 1.37).
        Refusal::Other { message, .. } if message.starts_with("duplicate nodePort") => Some("spec.ports[]"),
        _ => None,
    }
}

/// The fields that differ, each with who holds it now, of those that count.
fn fields(differences: Vec<Difference>, drifted: &Value, counts: impl Fn(&[String], Option<&str>) -> bool) -> Vec<DriftField> {
    let told = differences.into_iter().filter_map(|difference| {
        let author = match drift::author(&difference.path, difference.is.is_none(), drifted) {
            // Who holds an item of a list by an update need not have moved it; an apply says where each of its items is.
            Author::Manager { operation, .. } if difference.is_order && operation != "Apply" => Author::Traceless,
            author => author,
        };
        counts(&difference.path, author.manager()).then(|| field(difference, &author))
    });
    told.collect()
}

fn field(difference: Difference, author: &Author) -> DriftField {
    let active = author.since().map(|time| time.to_string());
    // A value may hold a URL with a password.
    let shown = |value: Option<String>| value.map(|value| crate::report::redact(&value));
    DriftField { path: difference.shown(), was: shown(difference.was), is: shown(difference.is), by: author.to_string(), active }
}

fn version(live: &Value) -> Option<u64> {
    live.pointer("/metadata/resourceVersion")?.as_str()?.parse().ok()
}
