//! What the leader of a Sync knows: the revision, its apps, the objects that it owns, and how each fares.
//!
//! Pure: events come in as method calls, a [`Report`] goes out. It knows no client, no forge and no clock.

mod objects;

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use jiff::Timestamp;
use overlays::Fingerprint;
use overlays::object::{ObjectId, Origin};

use crate::api::{AppStatus, ClusterSpec};
use crate::health::Health;
use crate::pods::{Ailment, Inquiry, is_workload};
use crate::report::{Failure, Held, Progress, Report, State as Verdict};

pub use objects::{Objects, Record, Wanted};

/// How many apps the Sync's status lists.
const LISTED_APPS: usize = 200;

/// How far an app has come in the revision that is being brought.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Stage {
    /// Not begun.
    #[default]
    Pending,
    /// It waits for these apps to be healthy.
    Blocked(Vec<String>),
    /// It is being rendered and applied.
    Applying,
    /// All that could be applied is.
    Delivered,
}

/// One app of the fleet on this cluster.
#[derive(Clone, Debug, Default)]
pub struct App {
    /// How far it has come.
    pub stage: Stage,
    /// What went wrong when it was last rendered and applied.
    pub failures: Vec<Failure>,
    /// Deletions that wait for a word.
    pub held: Option<Held>,
    /// The inputs that it was last rendered from, and what they were; none until all of it was applied.
    pub inputs: Option<(overlays::Inputs, Fingerprint)>,
    /// The directory or the stacked kustomization that it was rendered from.
    pub root: String,
    /// Whether something of it must be put right although Git has not changed.
    pub dirty: bool,
    /// Whether the objects are still those of an earlier commit, so that how they fare says nothing about this one.
    pub fresh: bool,
    /// Whether something was refused, so that it is tried again after a while.
    pub retry: bool,
    /// Since when it has been delivered and not healthy.
    pub unhealthy_since: Option<Timestamp>,
    /// How many objects were created or changed when it was last applied.
    pub changed: usize,
    /// How many objects were deleted, confirmed.
    pub deleted: usize,
    /// How many fields were taken from other managers when it was last applied.
    pub conflicts: usize,
}

/// What is known of one Sync.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// The commit that is live or on its way, 40 hexadecimal digits; empty before the first.
    pub commit: String,
    /// The commit as people say it: `main@1a2b3c4`.
    pub short: String,
    /// When the commit's sync began.
    pub started: Timestamp,
    /// How long it took until nothing more was to be waited for.
    pub took: Option<Duration>,
    /// Whether a sync is under way.
    pub syncing: bool,
    /// The apps by name.
    pub apps: BTreeMap<String, App>,
    /// The objects that are owned or asked for.
    pub objects: Objects,
    /// Workloads that are not healthy, and what their Pods say.
    pub inquiries: BTreeMap<ObjectId, Inquiry>,
    /// What is wrong with the repository as a whole.
    pub repository: Vec<Failure>,
    /// Why the agent itself can't do its work.
    pub agent_error: Option<String>,
    /// Why the repository can't be read just now; that is no news about the commit that is live.
    pub source_error: Option<String>,
    /// Kinds that can't be watched, and why: nothing of them can be called healthy.
    pub blind: BTreeMap<String, String>,
    /// The cluster as layers are chosen for it.
    pub cluster: ClusterSpec,
    /// When the last object of the commit was applied.
    pub applied_at: Option<Timestamp>,
    /// Whether the Sync is suspended.
    pub suspended: bool,
    /// How long an app may take to become healthy.
    pub timeout: Duration,
}

/// What the watch saw of an object.
#[derive(Clone, Debug, Default)]
pub struct Sighting {
    /// The object.
    pub id: ObjectId,
    /// Its uid.
    pub uid: String,
    /// Its resourceVersion.
    pub version: u64,
    /// Counts the changes of its spec; 0 for kinds that don't.
    pub generation: i64,
    /// The app that its label names.
    pub app: String,
    /// How it fares.
    pub health: Health,
}

impl State {
    /// A commit's sync begins with these apps; apps that are no longer among them are kept until what they own is gone.
    pub fn begin(&mut self, commit: &str, short: &str, apps: impl Iterator<Item = (String, bool)>, now: Timestamp) {
        let news = self.commit != commit;
        if news {
            (self.started, self.took, self.applied_at) = (now, None, None);
        }
        (self.commit, self.short, self.syncing) = (commit.to_owned(), short.to_owned(), true);
        for app in self.apps.values_mut() {
            (app.changed, app.deleted, app.conflicts) = (0, 0, 0);
        }
        for (name, due) in apps {
            let app = self.apps.entry(name).or_default();
            if due {
                app.stage = Stage::Pending;
            }
            if due && news {
                // What an earlier commit did wrong is no news about this one.
                (app.failures, app.held, app.fresh) = (Vec::new(), None, true);
            }
        }
    }

    /// An app's rendering is known: `ids` is all that it asks for now.
    pub fn expect(&mut self, name: &str, ids: impl Iterator<Item = (ObjectId, Rc<Origin>)>) {
        self.objects.disown(name);
        for (id, origin) in ids {
            let record = self.objects.assign(&id, name);
            (record.wanted, record.origin) = (Wanted::Pending, Some(origin));
        }
        self.objects.forget_ghosts(name);
    }

    /// The API server has an object as asked.
    pub fn applied(&mut self, live: Sighting) {
        let Some(record) = self.objects.get_mut(&live.id) else { return };
        record.wanted = Wanted::Applied;
        // The event of our own write may have come before its answer, and others after it.
        if *record.uid != *live.uid || live.version >= record.version {
            self.note(live);
        }
    }

    /// The watch saw an object as it is now.
    pub fn seen(&mut self, seen: Sighting) {
        match self.objects.get(&seen.id) {
            Some(record) if *record.uid == *seen.uid && seen.version < record.version => return,
            Some(record) if !record.app().is_empty() => {}
            _ => _ = self.objects.assign(&seen.id, &seen.app),
        }
        self.note(seen);
    }

    /// How an object fares now. Of a workload that is not healthy its Pods may know more.
    fn note(&mut self, live: Sighting) {
        let Some(record) = self.objects.get_mut(&live.id) else { return };
        if !is_workload(&live.id) || !matches!(live.health, Health::InProgress(_) | Health::Failed(_)) {
            self.inquiries.remove(&live.id);
            (record.uid, record.version, record.health) = (live.uid.into(), live.version, live.health);
            return;
        }
        if *record.uid != *live.uid {
            self.inquiries.remove(&live.id);
        }
        let inquiry = self.inquiries.entry(live.id).or_insert_with(|| Inquiry::new(live.generation, live.health.clone()));
        inquiry.seen(live.generation, live.health);
        (record.uid, record.version, record.health) = (live.uid.into(), live.version, inquiry.health());
    }

    /// The workload whose Pods are to be asked for next, and when: of those that are applied and not healthy.
    pub fn next_inquiry(&mut self, now: Timestamp) -> Option<(Timestamp, ObjectId)> {
        let applied = |id: &ObjectId| self.objects.get(id).is_some_and(|record| record.wanted == Wanted::Applied);
        let asked = self.inquiries.iter_mut().filter(|(id, _)| applied(id));
        asked.filter_map(|(id, inquiry)| Some((inquiry.next(now)?, id))).min().map(|(when, id)| (when, id.clone()))
    }

    /// What the Pods of a workload said. Returns whether that changes how it fares.
    pub fn answered(&mut self, id: &ObjectId, said: Option<Ailment>, now: Timestamp) -> bool {
        let (Some(inquiry), Some(record)) = (self.inquiries.get_mut(id), self.objects.get_mut(id)) else { return false };
        inquiry.answered(said, now);
        let health = inquiry.health();
        let news = record.health != health;
        record.health = health;
        news
    }

    /// An object is confirmed gone. Returns whether Git asks for it, so that it must be made again.
    pub fn gone(&mut self, id: &ObjectId, uid: &str) -> bool {
        let Some(record) = self.objects.get_mut(id) else { return false };
        if !uid.is_empty() && !record.uid.is_empty() && *record.uid != *uid {
            return false; // The one that went was an earlier bearer of the name.
        }
        self.inquiries.remove(id);
        match record.wanted {
            Wanted::No => {
                self.objects.remove(id);
                false
            }
            Wanted::Pending => false,
            Wanted::Applied => {
                (record.health, record.wanted) = (Health::NotFound, Wanted::Pending);
                record.uid = Box::default();
                let name = record.app().clone();
                self.apps.entry(name.to_string()).or_default().dirty = true;
                true
            }
        }
    }

    /// The objects of a kind that the API server is known to have, with their uids.
    pub fn present(&self, group: &str, kind: &str) -> BTreeMap<ObjectId, Box<str>> {
        let present = self.objects.of_kind(group, kind).filter(|(_, record)| !record.uid.is_empty());
        present.map(|(id, record)| (id.clone(), record.uid.clone())).collect()
    }

    /// What an app owns in the cluster.
    pub fn owned(&self, app: &str) -> impl Iterator<Item = (&ObjectId, &Record)> {
        self.objects.of_app(app).filter(|(_, record)| !record.uid.is_empty())
    }

    /// The app other than `app` that asks for an object.
    pub fn claimed(&self, id: &ObjectId, app: &str) -> Option<(Rc<str>, Option<Rc<Origin>>)> {
        let record = self.objects.get(id)?;
        (record.wanted != Wanted::No && &**record.app() != app).then(|| (record.app().clone(), record.origin.clone()))
    }

    /// Whether an app is delivered and every object of it was seen healthy.
    pub fn healthy(&self, app: &str) -> bool {
        let known = self.apps.get(app).is_some_and(|app| app.stage == Stage::Delivered && app.failures.is_empty());
        known && self.wanted(app).all(|(_, record)| record.wanted == Wanted::Applied && record.health == Health::Current)
    }

    fn wanted(&self, app: &str) -> impl Iterator<Item = (&ObjectId, &Record)> {
        self.objects.of_app(app).filter(|(_, record)| record.wanted != Wanted::No)
    }

    /// All that is known, as one report; also notes since when apps have been unhealthy, so it is to be called when something changed or a deadline passed.
    pub fn report(&mut self, now: Timestamp) -> Report {
        self.mark_unhealthy(now);
        let tally = self.tally();
        let progress = self.progress(tally.waiting);
        if progress == Progress::Finished && !self.commit.is_empty() {
            self.took.get_or_insert_with(|| since(self.started, now));
        }
        Report {
            commit: self.commit.clone(),
            started: self.started,
            took: self.took.unwrap_or_else(|| if self.commit.is_empty() { Duration::ZERO } else { since(self.started, now) }),
            progress,
            objects: tally.objects,
            applied: tally.applied,
            changed: self.apps.values().map(|app| app.changed).sum(),
            deleted: self.apps.values().map(|app| app.deleted).sum(),
            healthy: tally.healthy,
            waiting: tally.first_waiting,
            waiting_count: tally.waiting,
            failures: self.failures(now),
            held: self.apps.values().filter_map(|app| app.held.clone()).collect(),
            conflicts: self.apps.values().map(|app| app.conflicts).sum(),
            agent_error: self.agent_error.clone().or_else(|| self.blind.values().next().cloned()),
            suspended: self.suspended,
        }
    }

    fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        for (id, record) in self.objects.iter().filter(|(_, record)| record.wanted != Wanted::No) {
            tally.objects += 1;
            tally.applied += usize::from(record.is_applied());
            tally.healthy += usize::from(record.is_applied() && record.health.is_current());
            if record.is_applied() && awaited(&record.health) {
                tally.waiting += 1;
                tally.first_waiting.get_or_insert_with(|| (id.clone(), record.health.message().to_owned()));
            }
        }
        tally
    }

    fn progress(&self, waiting: usize) -> Progress {
        let blocked = self.apps.values().any(|app| matches!(app.stage, Stage::Blocked(_)));
        let moving = self.apps.keys().any(|name| self.is_moving(name));
        if (self.syncing && moving) || self.commit.is_empty() {
            Progress::Applying
        } else if self.syncing || blocked || waiting > 0 {
            Progress::Waiting
        } else {
            Progress::Finished
        }
    }

    /// Since when each app that is delivered and not healthy has been so.
    fn mark_unhealthy(&mut self, now: Timestamp) {
        for (name, app) in &mut self.apps {
            let waits = || self.objects.of_app(name).any(|(_, record)| record.is_applied() && awaited(&record.health));
            let unhealthy = app.stage == Stage::Delivered && waits();
            app.unhealthy_since = if unhealthy { app.unhealthy_since.or(Some(now)) } else { None };
        }
    }

    fn failures(&self, now: Timestamp) -> Vec<Failure> {
        let mut failures = self.repository.clone();
        failures.extend(self.apps.values().flat_map(|app| app.failures.iter().cloned()));
        let begun = |app: &str| self.apps.get(app).and_then(|app| app.unhealthy_since);
        let judged = |app: &str| self.apps.get(app).is_none_or(|app| !app.fresh);
        let late = |app: &str| begun(app).is_some_and(|begun| since(begun, now) >= self.timeout);
        for (id, record) in self.objects.iter().filter(|(_, record)| record.is_applied() && judged(record.app())) {
            let reason = match &record.health {
                Health::Failed(message) => message.clone(),
                health if awaited(health) && late(record.app()) => {
                    format!("not healthy after {}: {}", minutes(self.timeout), health.message())
                }
                _ => continue,
            };
            let place = record.origin.as_deref().cloned();
            failures.push(Failure { app: record.app().to_string(), object: Some(id.clone()), place, reason });
        }
        failures
    }

    /// The apps that waited for others and need not any longer.
    pub fn released(&self) -> bool {
        self.apps.values().any(|app| matches!(&app.stage, Stage::Blocked(on) if on.iter().all(|name| self.healthy(name))))
    }

    /// Whether an app is on its way in this sync, so that it is worth waiting for it.
    pub fn is_moving(&self, app: &str) -> bool {
        self.apps.get(app).is_some_and(|app| matches!(app.stage, Stage::Pending | Stage::Applying))
    }

    /// Whether something was refused, so that it is to be tried again.
    pub fn wants_retry(&self) -> bool {
        self.apps.values().any(|app| app.retry)
    }

    /// When the next app runs out of time, so that somebody looks then.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let timeout = jiff::SignedDuration::try_from(self.timeout).ok()?;
        self.apps.values().filter_map(|app| app.unhealthy_since?.checked_add(timeout).ok()).min()
    }

    /// The apps as the Sync's status lists them, the worst first.
    pub fn app_statuses(&self) -> Vec<AppStatus> {
        let mut all: Vec<(u8, AppStatus)> = self.apps.iter().map(|(name, app)| self.app_status(name, app)).collect();
        all.sort_by_key(|(rank, _)| *rank);
        all.into_iter().map(|(_, app)| app).take(LISTED_APPS).collect()
    }

    fn app_status(&self, name: &str, app: &App) -> (u8, AppStatus) {
        let unhealthy = self.wanted(name).find(|(_, record)| !record.health.is_current());
        let (rank, verdict, message) = judge(app, unhealthy);
        let objects = i64::try_from(self.wanted(name).count()).unwrap_or(i64::MAX);
        let message = crate::report::redact(&message);
        (rank, AppStatus { name: name.to_owned(), state: verdict.as_str().to_owned(), objects, message })
    }
}

/// The objects that are asked for, counted.
#[derive(Default)]
struct Tally {
    objects: usize,
    applied: usize,
    healthy: usize,
    waiting: usize,
    /// The first by its id, and what it says.
    first_waiting: Option<(ObjectId, String)>,
}

/// How bad an app's state is (0 is worst), the state, and why.
fn judge(app: &App, unhealthy: Option<(&ObjectId, &Record)>) -> (u8, Verdict, String) {
    if let Some(failure) = app.failures.first() {
        let object = failure.object.as_ref().map(|id| format!("{id}: ")).unwrap_or_default();
        return (0, Verdict::Failed, format!("{object}{}", failure.reason));
    }
    if let Some(held) = &app.held {
        return (0, Verdict::Failed, held.reason.clone());
    }
    match (&app.stage, unhealthy) {
        (Stage::Blocked(on), _) => (2, Verdict::Waiting, format!("waits for {}", on.join(", "))),
        (Stage::Pending | Stage::Applying, _) => (1, Verdict::Syncing, String::new()),
        (Stage::Delivered, Some((id, record))) if record.health.is_failed() => {
            (0, Verdict::Failed, format!("{id}: {}", record.health.message()))
        }
        (Stage::Delivered, Some((id, record))) => (1, Verdict::Waiting, format!("{id}: {}", record.health.message())),
        (Stage::Delivered, None) => (3, Verdict::InSync, String::new()),
    }
}

/// Whether an object may still become healthy by itself.
fn awaited(health: &Health) -> bool {
    !matches!(health, Health::Current | Health::Failed(_))
}

fn since(begun: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(begun)).unwrap_or_default()
}

fn minutes(time: Duration) -> String {
    match time.as_secs() {
        seconds if seconds >= 60 && seconds % 60 == 0 => format!("{} min", seconds / 60),
        seconds => format!("{seconds} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: &str = "1a2b3c4d1a2b3c4d1a2b3c4d1a2b3c4d1a2b3c4d";

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    fn id(name: &str) -> ObjectId {
        ObjectId { group: "apps".into(), kind: "Deployment".into(), namespace: "web".into(), name: name.into() }
    }

    fn waits() -> Health {
        Health::InProgress("0 of 1 replicas available".into())
    }

    fn live(name: &str, uid: &str, version: u64, health: Health) -> Sighting {
        Sighting { id: id(name), uid: uid.into(), version, generation: 1, app: "shop".into(), health }
    }

    /// A state that has begun a commit with these apps and their objects.
    fn state(apps: &[(&str, &[&str])]) -> State {
        let mut state = State { timeout: Duration::from_secs(300), ..State::default() };
        state.begin(COMMIT, "main@1a2b3c4", apps.iter().map(|(name, _)| ((*name).to_owned(), true)), at(0));
        for (name, objects) in apps {
            state.expect(name, objects.iter().map(|object| (id(object), Rc::default())));
        }
        state
    }

    fn deliver(state: &mut State, app: &str) {
        let app = state.apps.get_mut(app).unwrap();
        (app.stage, app.fresh) = (Stage::Delivered, false);
    }

    /// One app whose objects are all applied, each with the health.
    fn delivered(objects: &[(&str, Health)]) -> State {
        let names: Vec<&str> = objects.iter().map(|(name, _)| *name).collect();
        let mut state = state(&[("shop", &names)]);
        for (name, health) in objects {
            state.applied(live(name, name, 1, health.clone()));
        }
        deliver(&mut state, "shop");
        state.syncing = false;
        state
    }

    #[test]
    fn a_report_counts_what_is_asked_for_applied_healthy_and_waited_for() {
        let mut state = state(&[("shop", &["a", "b", "c", "d"])]);
        state.seen(live("old", "o", 1, Health::Current));
        state.applied(live("a", "a", 1, Health::Current));
        state.applied(live("b", "b", 1, waits()));
        state.applied(live("c", "c", 1, Health::Failed("it broke".into())));
        assert_eq!(state.report(at(1)).failures, [], "the app is still being applied: what fails may be of the commit before");
        deliver(&mut state, "shop");
        let report = state.report(at(1));
        assert_eq!((report.objects, report.applied, report.healthy, report.waiting_count), (4, 3, 1, 1));
        assert_eq!(report.waiting, Some((id("b"), "0 of 1 replicas available".into())));
        let [failure] = &report.failures[..] else { panic!("{:?}", report.failures) };
        assert_eq!((failure.object.as_ref(), failure.reason.as_str(), failure.place.is_some()), (Some(&id("c")), "it broke", true));
    }

    #[test]
    fn a_sync_is_applying_then_waiting_then_finished() {
        assert_eq!(State::default().report(at(0)).progress, Progress::Applying, "nothing is known yet");
        let mut state = state(&[("shop", &["a"])]);
        assert_eq!(state.report(at(1)).progress, Progress::Applying);
        state.applied(live("a", "a", 1, waits()));
        deliver(&mut state, "shop");
        assert_eq!(state.report(at(2)).progress, Progress::Waiting, "the sync itself is under way");
        state.syncing = false;
        assert_eq!(state.report(at(3)).progress, Progress::Waiting, "an object is not healthy");
        state.seen(live("a", "a", 2, Health::Current));
        assert_eq!((state.report(at(4)).progress, state.report(at(9)).took), (Progress::Finished, Duration::from_secs(4)));
    }

    #[test]
    fn an_event_that_comes_before_the_answer_to_its_own_write_is_not_undone_by_it() {
        let table = [
            // The event of version 5 came first; then the answer with its version.
            (("u", 5), ("u", 4), true),
            (("u", 5), ("u", 5), false),
            (("u", 5), ("u", 6), false),
            // Another object of the same name: its versions are newer whatever the numbers say.
            (("u", 5), ("v", 4), false),
        ];
        for ((seen_uid, seen_version), (uid, version), keeps) in table {
            let mut state = state(&[("shop", &["a"])]);
            state.seen(live("a", seen_uid, seen_version, Health::Current));
            state.applied(live("a", uid, version, Health::Terminating));
            let record = state.objects.get(&id("a")).unwrap();
            assert_eq!(record.health.is_current(), keeps, "{seen_uid}@{seen_version}, then {uid}@{version}");
            assert!(record.is_applied(), "whoever told of it first");
        }
    }

    #[test]
    fn an_older_event_is_no_news() {
        let mut state = delivered(&[("a", Health::Current)]);
        state.seen(live("a", "a", 9, Health::Current));
        state.seen(live("a", "a", 8, waits()));
        assert!(state.healthy("shop"));
    }

    #[test]
    fn an_object_that_goes_is_made_again_only_if_git_asks_for_it() {
        let mut state = delivered(&[("a", Health::Current)]);
        assert!(!state.gone(&id("a"), "another"), "the one that went was an earlier bearer of the name");
        assert!(state.healthy("shop"));
        assert!(state.gone(&id("a"), "a"));
        assert!(state.apps["shop"].dirty && !state.healthy("shop"));
        assert!(!state.gone(&id("a"), "a"), "it is on its way already");
        state.applied(live("a", "b", 2, Health::Current));
        state.expect("shop", std::iter::empty());
        assert!(!state.gone(&id("a"), "b"));
        assert!(state.objects.get(&id("a")).is_none() && !state.gone(&id("a"), "b"));
    }

    #[test]
    fn what_git_no_longer_asks_for_is_owned_until_it_is_gone() {
        let mut state = delivered(&[("a", Health::Current), ("b", waits())]);
        state.expect("shop", [(id("a"), Rc::default()), (id("c"), Rc::default())].into_iter());
        let owned = |state: &State| state.owned("shop").map(|(id, _)| id.name.clone()).collect::<Vec<_>>().join(" ");
        assert_eq!(owned(&state), "a b", "c was never made");
        assert_eq!(state.report(at(1)).objects, 2, "b is not asked for");
        state.gone(&id("b"), "b");
        assert_eq!(owned(&state), "a");
        state.expect("shop", [(id("a"), Rc::default())].into_iter());
        assert!(state.objects.get(&id("c")).is_none(), "what was never made leaves no trace");
    }

    #[test]
    fn an_object_is_claimed_by_the_app_that_asks_for_it_and_by_no_other() {
        let mut state = state(&[("blog", &["a"]), ("shop", &["b"])]);
        assert_eq!(state.claimed(&id("a"), "shop").map(|(app, _)| app.to_string()).as_deref(), Some("blog"));
        assert_eq!(state.claimed(&id("a"), "blog"), None, "its own");
        assert_eq!(state.claimed(&id("x"), "blog"), None, "nobody's");
        state.applied(live("a", "a", 1, Health::Current));
        state.expect("blog", std::iter::empty());
        assert_eq!(state.claimed(&id("a"), "shop"), None, "it was given up");
        state.expect("shop", [(id("a"), Rc::default())].into_iter());
        assert_eq!((state.owned("blog").count(), state.owned("shop").count()), (0, 1), "it has moved");
    }

    #[test]
    fn an_app_that_is_not_healthy_in_time_has_failed() {
        let mut state = delivered(&[("a", waits())]);
        assert_eq!(state.next_deadline(), None, "nobody has looked yet");
        state.report(at(10));
        assert_eq!(state.next_deadline(), Some(at(310)));
        assert_eq!(state.report(at(309)).failures, []);
        assert_eq!(state.report(at(310)).failures[0].reason, "not healthy after 5 min: 0 of 1 replicas available");
        state.seen(live("a", "a", 2, Health::Current));
        assert_eq!((state.report(at(311)).failures, state.next_deadline()), (vec![], None));
    }

    #[test]
    fn an_app_that_waits_is_released_when_all_that_it_waits_for_are_healthy() {
        let mut state = state(&[("data", &["a"]), ("shop", &[])]);
        state.apps.get_mut("shop").unwrap().stage = Stage::Blocked(vec!["data".into()]);
        assert!(!state.released());
        state.applied(live("a", "a", 1, Health::Current));
        assert!(!state.released(), "more of it may come");
        deliver(&mut state, "data");
        assert!(state.released());
        state.seen(live("a", "a", 2, waits()));
        assert!(!state.released());
        state.seen(live("a", "a", 3, Health::Current));
        state.apps.get_mut("data").unwrap().failures.push(Failure::default());
        assert!(!state.released(), "something of it could not be applied");
    }

    #[test]
    fn the_worst_app_is_listed_first() {
        let mut state = state(&[("a-fine", &["a"]), ("b-blocked", &[]), ("c-waits", &["c"]), ("d-failed", &["d"]), ("e-moving", &[])]);
        state.applied(live("a", "a", 1, Health::Current));
        state.applied(live("c", "c", 1, waits()));
        state.applied(live("d", "d", 1, Health::Failed("it broke".into())));
        ["a-fine", "c-waits", "d-failed"].iter().for_each(|app| deliver(&mut state, app));
        state.apps.get_mut("b-blocked").unwrap().stage = Stage::Blocked(vec!["c-waits".into()]);
        let told: Vec<_> = state.app_statuses().into_iter().map(|app| format!("{} {} {}", app.name, app.state, app.message)).collect();
        assert_eq!(
            told,
            [
                "d-failed Failed Deployment web/d: it broke",
                "c-waits Waiting Deployment web/c: 0 of 1 replicas available",
                "e-moving Syncing ",
                "b-blocked Waiting waits for c-waits",
                "a-fine InSync ",
            ]
        );
    }

    #[test]
    fn a_new_commit_starts_the_clock_and_the_same_one_does_not() {
        let mut state = delivered(&[("a", Health::Current)]);
        state.report(at(4));
        state.begin(COMMIT, "main@1a2b3c4", [("shop".to_owned(), false)].into_iter(), at(60));
        assert_eq!((state.started, state.apps["shop"].stage.clone()), (at(0), Stage::Delivered));
        state.begin("another", "main@another", [("shop".to_owned(), true)].into_iter(), at(90));
        assert_eq!((state.started, state.took, state.apps["shop"].stage.clone()), (at(90), None, Stage::Pending));
    }

    #[test]
    fn the_pods_of_applied_workloads_that_are_not_healthy_are_asked_for() {
        let mut state = state(&[("shop", &["a", "b", "pending"])]);
        state.applied(live("a", "a", 1, Health::Current));
        state.seen(live("pending", "p", 1, waits()));
        assert_eq!(state.next_inquiry(at(0)), None, "at rest nobody is asked");
        state.applied(live("b", "b", 1, waits()));
        assert_eq!(state.next_inquiry(at(0)), Some((at(3), id("b"))));
        let unsaid = state.answered(&id("b"), None, at(3));
        assert_eq!((unsaid, state.next_inquiry(at(3))), (false, Some((at(8), id("b")))));
        state.seen(live("b", "b", 2, Health::Current));
        assert_eq!(state.next_inquiry(at(9)), None);
    }

    #[test]
    fn what_an_earlier_commit_did_wrong_is_not_said_of_the_next() {
        let mut state = delivered(&[("a", Health::Failed("crashes".into()))]);
        state.apps.get_mut("shop").unwrap().failures = vec![Failure { app: "shop".into(), ..Failure::default() }];
        let mut again = |commit: &str| {
            state.begin(commit, commit, [("shop".to_owned(), true)].into_iter(), at(1));
            state.report(at(2)).failures.len()
        };
        assert_eq!(again(COMMIT), 2, "a second try of the same commit takes nothing back");
        assert_eq!(again("second"), 0);
    }
}
