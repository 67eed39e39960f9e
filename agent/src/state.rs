//! What the leader of a Sync knows: the revision, its apps, the objects that it owns, and how each fares.
//!
//! Pure: events come in as method calls, a [`Report`] goes out. It knows no client, no forge and no clock.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use jiff::Timestamp;
use overlays::Fingerprint;
use overlays::object::{ObjectId, Origin};

use crate::api::{AppStatus, ClusterSpec};
use crate::health::Health;
use crate::report::{Failure, Held, Progress, Report, State as Verdict};

/// How many apps the Sync's status lists.
const LISTED_APPS: usize = 200;

/// Whether Git asks for an object, and whether the API server has it as asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wanted {
    /// It is ours and no revision asks for it any more.
    #[default]
    No,
    /// It is asked for and not applied yet.
    Pending,
    /// It was applied as the revision asks.
    Applied,
}

/// One object that we own, or are about to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Record {
    /// The app that it belongs to.
    pub app: Rc<str>,
    /// The uid; empty until the API server has told it.
    pub uid: String,
    /// The resourceVersion that `health` is about; versions grow.
    pub version: u64,
    /// How it fares.
    pub health: Health,
    /// Whether Git asks for it.
    pub wanted: Wanted,
    /// Where it was written.
    pub origin: Option<Rc<Origin>>,
}

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
    /// The objects by id.
    pub objects: BTreeMap<ObjectId, Record>,
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
        let app: Rc<str> = name.into();
        self.objects.values_mut().filter(|record| record.app == app).for_each(|record| record.wanted = Wanted::No);
        for (id, origin) in ids {
            let record = self.objects.entry(id).or_insert_with(|| Record { health: Health::NotFound, ..Record::default() });
            (record.app, record.wanted, record.origin) = (app.clone(), Wanted::Pending, Some(origin));
        }
        self.forget_ghosts();
    }

    /// The API server has an object as asked.
    pub fn applied(&mut self, id: &ObjectId, uid: String, version: u64, health: Health) {
        let Some(record) = self.objects.get_mut(id) else { return };
        record.wanted = Wanted::Applied;
        // The event of our own write may have come before its answer, and others after it.
        if record.uid != uid || version >= record.version {
            (record.uid, record.version, record.health) = (uid, version, health);
        }
    }

    /// The watch saw an object as it is now.
    pub fn seen(&mut self, seen: Sighting) {
        let record = self.objects.entry(seen.id).or_default();
        if record.uid == seen.uid && seen.version < record.version {
            return;
        }
        if record.app.is_empty() {
            record.app = seen.app.into();
        }
        (record.uid, record.version, record.health) = (seen.uid, seen.version, seen.health);
    }

    /// An object is confirmed gone. Returns whether Git asks for it, so that it must be made again.
    pub fn gone(&mut self, id: &ObjectId, uid: &str) -> bool {
        let Some(record) = self.objects.get_mut(id) else { return false };
        if !uid.is_empty() && !record.uid.is_empty() && record.uid != uid {
            return false; // The one that went was an earlier bearer of the name.
        }
        match record.wanted {
            Wanted::No => {
                self.objects.remove(id);
                false
            }
            Wanted::Pending => false,
            Wanted::Applied => {
                (record.health, record.wanted) = (Health::NotFound, Wanted::Pending);
                record.uid.clear();
                let name = record.app.clone();
                self.apps.entry(name.to_string()).or_default().dirty = true;
                true
            }
        }
    }

    /// The objects of a kind that the API server is known to have, with their uids.
    pub fn present(&self, group: &str, kind: &str) -> BTreeMap<ObjectId, String> {
        let present = self.objects.iter().filter(|(id, record)| id.kind == kind && id.group == group && !record.uid.is_empty());
        present.map(|(id, record)| (id.clone(), record.uid.clone())).collect()
    }

    /// What an app owns in the cluster.
    pub fn owned(&self, app: &str) -> impl Iterator<Item = (&ObjectId, &Record)> {
        self.objects.iter().filter(move |(_, record)| &*record.app == app && !record.uid.is_empty())
    }

    /// The app other than `app` that asks for an object.
    pub fn claimed(&self, id: &ObjectId, app: &str) -> Option<(Rc<str>, Option<Rc<Origin>>)> {
        let record = self.objects.get(id)?;
        (record.wanted != Wanted::No && &*record.app != app).then(|| (record.app.clone(), record.origin.clone()))
    }

    /// An object that Git no longer asks for and that was never made leaves no trace.
    fn forget_ghosts(&mut self) {
        self.objects.retain(|_, record| record.wanted != Wanted::No || !record.uid.is_empty());
    }

    /// Whether an app is delivered and every object of it was seen healthy.
    pub fn healthy(&self, app: &str) -> bool {
        let known = self.apps.get(app).is_some_and(|app| app.stage == Stage::Delivered && app.failures.is_empty());
        known && self.wanted(app).all(|(_, record)| record.wanted == Wanted::Applied && record.health == Health::Current)
    }

    fn wanted<'a>(&'a self, app: &'a str) -> impl Iterator<Item = (&'a ObjectId, &'a Record)> {
        self.objects.iter().filter(move |(_, record)| &*record.app == app && record.wanted != Wanted::No)
    }

    /// All that is known, as one report; also notes since when apps have been unhealthy, so it is to be called when something changed or a deadline passed.
    pub fn report(&mut self, now: Timestamp) -> Report {
        let unhealthy = self.mark_unhealthy(now);
        let wanted = || self.objects.iter().filter(|(_, record)| record.wanted != Wanted::No);
        let waiting: Vec<_> = wanted().filter(|(_, r)| r.wanted == Wanted::Applied && awaited(&r.health)).collect();
        let failures = self.failures(&unhealthy, now);
        let mut report = Report {
            commit: self.commit.clone(),
            started: self.started,
            objects: wanted().count(),
            applied: wanted().filter(|(_, record)| record.wanted == Wanted::Applied).count(),
            changed: self.apps.values().map(|app| app.changed).sum(),
            deleted: self.apps.values().map(|app| app.deleted).sum(),
            healthy: wanted().filter(|(_, record)| record.wanted == Wanted::Applied && record.health == Health::Current).count(),
            waiting: waiting.first().map(|(id, record)| ((*id).clone(), record.health.message().to_owned())),
            waiting_count: waiting.len(),
            failures,
            held: self.apps.values().filter_map(|app| app.held.clone()).collect(),
            conflicts: self.apps.values().map(|app| app.conflicts).sum(),
            agent_error: self.agent_error.clone().or_else(|| self.blind.values().next().cloned()),
            suspended: self.suspended,
            ..Report::default()
        };
        let blocked = self.apps.values().any(|app| matches!(app.stage, Stage::Blocked(_)));
        let moving = self.apps.values().any(|app| matches!(app.stage, Stage::Pending | Stage::Applying));
        report.progress = if (self.syncing && moving) || self.commit.is_empty() {
            Progress::Applying
        } else if self.syncing || blocked || report.waiting_count > 0 {
            Progress::Waiting
        } else {
            Progress::Finished
        };
        if report.progress == Progress::Finished && !self.commit.is_empty() {
            self.took.get_or_insert_with(|| since(self.started, now));
        }
        report.took = self.took.unwrap_or_else(|| if self.commit.is_empty() { Duration::ZERO } else { since(self.started, now) });
        report
    }

    /// Since when each app that is delivered and not healthy has been so.
    fn mark_unhealthy(&mut self, now: Timestamp) -> BTreeMap<String, Timestamp> {
        let waiting: BTreeSet<Rc<str>> = (self.objects.values())
            .filter(|record| record.wanted == Wanted::Applied && awaited(&record.health))
            .map(|record| record.app.clone())
            .collect();
        for (name, app) in &mut self.apps {
            let unhealthy = app.stage == Stage::Delivered && waiting.contains(name.as_str());
            app.unhealthy_since = if unhealthy { app.unhealthy_since.or(Some(now)) } else { None };
        }
        self.apps.iter().filter_map(|(name, app)| Some((name.clone(), app.unhealthy_since?))).collect()
    }

    fn failures(&self, unhealthy: &BTreeMap<String, Timestamp>, now: Timestamp) -> Vec<Failure> {
        let mut failures = self.repository.clone();
        failures.extend(self.apps.values().flat_map(|app| app.failures.iter().cloned()));
        let judged = |app: &str| self.apps.get(app).is_none_or(|app| !app.fresh);
        let late = |app: &str| unhealthy.get(app).is_some_and(|begun| since(*begun, now) >= self.timeout);
        for (id, record) in self.objects.iter().filter(|(_, record)| record.wanted == Wanted::Applied && judged(&record.app)) {
            let reason = match &record.health {
                Health::Failed(message) => message.clone(),
                health if awaited(health) && late(&record.app) => {
                    format!("not healthy after {}: {}", minutes(self.timeout), health.message())
                }
                _ => continue,
            };
            let place = record.origin.as_deref().cloned();
            failures.push(Failure { app: record.app.to_string(), object: Some(id.clone()), place, reason });
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
        let mut counts: BTreeMap<&str, (i64, Option<(&ObjectId, &Record)>)> = BTreeMap::new();
        for (id, record) in self.objects.iter().filter(|(_, record)| record.wanted != Wanted::No) {
            let (count, worst) = counts.entry(&record.app).or_default();
            *count += 1;
            if record.health != Health::Current && worst.is_none() {
                *worst = Some((id, record));
            }
        }
        let mut all: Vec<(u8, AppStatus)> = (self.apps.iter())
            .map(|(name, app)| {
                let (objects, unhealthy) = counts.get(name.as_str()).copied().unwrap_or_default();
                let (rank, verdict, message) = judge(app, unhealthy);
                (
                    rank,
                    AppStatus { name: name.clone(), state: verdict.as_str().to_owned(), objects, message: crate::report::redact(&message) },
                )
            })
            .collect();
        all.sort_by_key(|(rank, _)| *rank);
        all.into_iter().map(|(_, app)| app).take(LISTED_APPS).collect()
    }
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
        (Stage::Delivered, Some((id, record))) if matches!(record.health, Health::Failed(_)) => {
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

    #[test]
    fn what_an_earlier_commit_did_wrong_is_not_said_of_the_next() {
        let (now, id) = (Timestamp::UNIX_EPOCH, ObjectId { kind: "Pod".into(), name: "web".into(), ..ObjectId::default() });
        let mut state = State { timeout: Duration::from_secs(60), ..State::default() };
        state.begin("first", "main@first", [("web".to_owned(), true)].into_iter(), now);
        state.expect("web", [(id.clone(), Rc::new(Origin::default()))].into_iter());
        state.applied(&id, "1".to_owned(), 1, Health::Failed("crashes".to_owned()));
        let refused = Failure { app: "web".to_owned(), ..Failure::default() };
        state.apps.insert("web".to_owned(), App { stage: Stage::Delivered, failures: vec![refused], ..App::default() });
        assert_eq!(state.report(now).failures.len(), 2);
        state.begin("first", "main@first", [("web".to_owned(), true)].into_iter(), now);
        assert_eq!(state.report(now).failures.len(), 2, "a second try of the same commit takes nothing back");
        state.begin("second", "main@second", [("web".to_owned(), true)].into_iter(), now);
        assert_eq!(state.report(now).failures, []);
    }
}
