//! What the leader of a Sync knows: the revision, its apps, the objects that it owns, and how each fares.
//!
//! Pure: events come in as method calls, a [`Report`] goes out. It knows no client, no forge and no clock.

mod drifts;
mod objects;
mod suspects;
mod uid;

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use jiff::Timestamp;
use overlays::Fingerprint;
use overlays::object::{ObjectId, Origin};

use crate::api::{AppStatus, ClusterSpec};
use crate::baseline::{Baseline, Baselines};
use crate::drift::{self, Entry, Fights, Print};
use crate::health::Health;
use crate::pods::{Ailment, Inquiry, is_workload};
use crate::report::{Failure, Held, Progress, Report, State as Verdict};

pub use drifts::{Drift, Drifts, Fate};
pub use objects::{Count, Objects, Record, Wanted};
pub use suspects::{Suspect, Suspects};
pub use uid::Uid;

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
    /// Objects that are not as they were applied, and nobody has looked at yet.
    pub suspects: Suspects,
    /// Objects that are not as Git says, as it was told.
    pub drifts: Drifts,
    /// How often a baseline has changed.
    pub applies: u64,
    /// States of objects, with their apps, that our own applies have overwritten before they were seen.
    pub overwritten: Vec<(String, ObjectId, Box<str>)>,
    /// Objects that were healed lately, and how often.
    pub fights: Fights,
    /// What was applied before this process began; nothing once its first sync is done.
    pub kept: Baselines,
    /// The kinds that are watched, by the hash of kind and version.
    pub versions: BTreeSet<u64>,
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
    /// Whether nothing may be changed just now.
    pub suspended: bool,
    /// Until when, if it is for the time of a freeze.
    pub frozen_until: Option<Timestamp>,
    /// How long an app may take to become healthy.
    pub timeout: Duration,
}

/// What the comparison of an object with what an apply would make of it comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audit {
    /// An apply changes nothing.
    Same,
    /// The object has changed since, and the watch knows it.
    Moved,
    /// An apply changes something, and the watch has not told of this state of the object yet.
    Late,
    /// An apply changes something in the very state that the watch has told.
    Different,
}

impl Audit {
    /// The word in a metric's label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Moved => "moved",
            Self::Late | Self::Different => "different",
        }
    }
}

/// What the watch saw of an object.
#[derive(Clone, Debug, Default)]
pub struct Sighting {
    /// The object.
    pub id: ObjectId,
    /// Its uid.
    pub uid: Uid,
    /// Its resourceVersion.
    pub version: u64,
    /// Counts the changes of its spec; 0 for kinds that don't.
    pub generation: i64,
    /// The app that its label names.
    pub app: String,
    /// How it fares.
    pub health: Health,
    /// Our fields in it.
    pub print: Print,
    /// The raw hash; 0 where it is not known.
    pub raw: u64,
}

impl State {
    /// A commit's sync begins with these apps; apps that are no longer among them are kept until what they own is gone.
    pub fn begin(&mut self, commit: &str, short: &str, apps: impl Iterator<Item = (String, bool)>, now: Timestamp) {
        let news = self.commit != commit;
        if news {
            (self.started, self.took, self.applied_at) = (now, None, None);
        }
        (self.commit, self.short, self.syncing) = (commit.to_owned(), short.to_owned(), true);
        self.objects.forget_files();
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
    pub fn asks_for(&mut self, name: &str, ids: impl Iterator<Item = (ObjectId, Rc<Origin>)>) {
        self.objects.disown(name);
        for (id, origin) in ids {
            let kept = self.kept.get(&id);
            let record = self.objects.ask_for(&id, name, &origin);
            // What was there before this process began and is no more was deleted meanwhile.
            if !record.uid.is_known() && !record.baseline.is_known() {
                record.baseline = kept;
            }
        }
        for (id, record) in self.objects.of_app(name) {
            if record.wanted == Wanted::No {
                self.suspects.remove(&id);
                self.drifts.forget(&id);
            }
        }
        self.objects.forget_ghosts(name);
    }

    /// The API server has an object as asked, after an apply of this body. Returns what somebody had made of it before, if that was overwritten
    /// unseen.
    pub fn applied(&mut self, live: Sighting, body: u64) -> Option<Suspect> {
        let record = self.objects.get_mut(&live.id)?;
        let before = record.baseline;
        (record.wanted, record.baseline, record.before) = (Wanted::Applied, Baseline { body, live: live.print.hash }, before.live);
        self.applies += 1;
        self.drifts.applied(&live.id);
        let suspect = self.suspects.remove(&live.id);
        let (id, version, hash) = (live.id.clone(), live.version, live.print.hash);
        // The event of our own write may have come before its answer, and others after it.
        if record.uid != live.uid || live.version >= record.version {
            self.note(live);
        }
        let suspect = suspect?;
        if suspect.version > version {
            if suspect.print.is_none_or(|print| print.hash != hash) {
                self.suspects.insert(id, suspect);
            }
            return None;
        }
        let foreign = suspect.version < version && before.is_known() && suspect.print.is_none_or(|print| print.hash != before.live);
        foreign.then_some(suspect)
    }

    /// A sync is done, so that all which this process has to know was seen by itself.
    pub fn arrived(&mut self) {
        (self.agent_error, self.kept) = (None, Baselines::default());
    }

    /// What was known of an object's last apply before this process began.
    pub fn remember(&mut self, id: &ObjectId, baseline: Baseline) {
        if let Some(record) = self.objects.get_mut(id) {
            record.baseline = baseline;
        }
    }

    /// An object was applied with the body that Git asks for. What somebody has made of it since, or that it is gone, is looked at later.
    /// Returns whether that is so; not if it is on its way out.
    pub fn stands(&mut self, id: &ObjectId, now: Timestamp) -> bool {
        let Some(record) = self.objects.get_mut(id).filter(|record| record.health != Health::Terminating) else { return false };
        record.wanted = Wanted::Applied;
        let exists = record.uid.is_known();
        if !exists {
            record.health = Health::NotFound;
        }
        // Also what was told before: Git may say something else of it now.
        if !record.is_as_applied() && !self.suspects.has(id) {
            self.suspects.insert(id.clone(), Suspect::unseen(record.version, exists, now));
        }
        true
    }

    /// The server was asked what an apply would make of an object. Returns whether it is that already.
    pub fn found(&mut self, id: &ObjectId, baseline: Baseline) -> bool {
        let Some(record) = self.objects.get_mut(id).filter(|record| record.health != Health::Terminating) else { return false };
        if record.live != baseline.live {
            return false;
        }
        (record.wanted, record.baseline) = (Wanted::Applied, baseline);
        self.applies += 1;
        true
    }

    /// The watch saw an object as it is now. Returns whether that is news to anybody.
    pub fn seen(&mut self, seen: Sighting, text: Option<Box<str>>, now: Timestamp) -> bool {
        // What was applied in another version is told by the watch of that version.
        if matches!(seen.print.entry, Entry::Other(version) if self.versions.contains(&version)) {
            return false;
        }
        match self.objects.get(&seen.id) {
            Some(record) if record.uid == seen.uid && seen.version < record.version => return self.overlooked(&seen, text),
            Some(record) if !record.app().is_empty() => {}
            _ => _ = self.objects.assign(&seen.id, &seen.app),
        }
        if let Some(record) = self.objects.get_mut(&seen.id) {
            record.watched = seen.version;
        }
        let suspect = self.suspect(&seen, text, now);
        let id = seen.id.clone();
        let before = self.objects.get(&id).map(|record| (record.uid.clone(), record.health.clone()));
        self.note(seen);
        suspect || before != self.objects.get(&id).map(|record| (record.uid.clone(), record.health.clone()))
    }

    /// Whether an object is as it was applied, was last seen with this raw hash, and nothing is to be told of it: then an event with the same
    /// raw hash says no more than how it fares.
    pub fn is_settled(&self, id: &ObjectId, uid: &str, version: u64, raw: u64) -> bool {
        let settled = |record: &Record| {
            record.raw == raw
                && raw != 0
                && record.uid == Uid::from(uid)
                && record.version <= version
                && record.is_applied()
                && record.is_as_applied()
        };
        self.objects.get(id).is_some_and(settled) && !self.suspects.has(id) && !self.drifts.has(id)
    }

    /// The watch saw how a settled object fares. Returns whether that is news to anybody.
    pub fn fares(&mut self, id: &ObjectId, version: u64, generation: i64, health: Health) -> bool {
        let Some(record) = self.objects.get_mut(id) else { return false };
        record.watched = version;
        if record.health == health && !self.inquiries.contains_key(id) {
            record.version = version;
            return false;
        }
        let before = record.health.clone();
        let (uid, raw, print) = (record.uid.clone(), record.raw, Print { hash: record.live, entry: Entry::Ours });
        self.note(Sighting { id: id.clone(), uid, version, generation, health, print, raw, ..Sighting::default() });
        self.objects.get(id).is_some_and(|record| record.health != before)
    }

    /// The answer to our apply was faster than the event of what it has overwritten: that is still to be told. Returns whether there is such.
    fn overlooked(&mut self, seen: &Sighting, text: Option<Box<str>>) -> bool {
        let Some(record) = self.objects.get_mut(&seen.id) else { return false };
        let late = record.watched < seen.version;
        record.watched = record.watched.max(seen.version);
        let ours = [record.baseline.live, record.before].contains(&seen.print.hash);
        if !late || ours || record.wanted != Wanted::Applied || record.before == 0 {
            return false;
        }
        let app = record.app().to_string();
        self.overwritten.extend(text.map(|text| (app, seen.id.clone(), text)));
        true
    }

    /// Whether an object is not as it was when it was applied, and nobody has been told of it as it is now.
    fn suspect(&mut self, seen: &Sighting, text: Option<Box<str>>, now: Timestamp) -> bool {
        let Some(record) = self.objects.get(&seen.id) else { return false };
        // What is on its way out can't be healed, and what nobody asks for need not be.
        if record.wanted == Wanted::No || !record.baseline.is_known() || seen.health == Health::Terminating {
            return false;
        }
        if seen.print.hash == record.baseline.live {
            return self.suspects.remove(&seen.id).is_some() | self.drifts.over(&seen.id, now);
        }
        let raw = || text.as_ref().and_then(|text| serde_json::from_str(text).ok()).map(|live| drift::raw(&live));
        if self.drifts.is_told(&seen.id, raw) {
            return false;
        }
        let not_before = self.fights.of(&seen.id, now).map_or(now, |fight| fight.until);
        self.suspects.add(&seen.id, Suspect { version: seen.version, print: Some(seen.print), text, since: now, not_before, tries: 0 });
        true
    }

    /// What has become of an object that had drifted. Returns what is to be told of it; nothing if only who owns its fields had changed, or if
    /// it was told before.
    pub fn drifted(&mut self, drift: Drift, now: Timestamp) -> Option<Drift> {
        if drift.fields.is_empty() && drift.fate != Fate::Refused {
            self.drifts.silence(&drift.object, drift.raw.filter(|_| drift.fate == Fate::Reported));
            return None;
        }
        let what: Vec<(&str, &str)> = drift.fields.iter().map(|field| (field.path.as_str(), field.by.as_str())).collect();
        let fought = drift.fate == Fate::Healed && self.fights.healed(&drift.object, &what, now);
        let fight = fought.then(|| self.fights.of(&drift.object, now)).flatten();
        let drift = match fight {
            Some(fight) => {
                let message = format!("healed {} times, and changed again each time; find out who writes it", fight.times);
                Drift { fate: Fate::Fighting, message, until: Some(fight.calm), ..drift }
            }
            None => drift,
        };
        self.drifts.tell(drift, now)
    }

    /// Something could not be done about these; it is tried again after a while.
    pub fn put_off(&mut self, ids: &[ObjectId], now: Timestamp) {
        ids.iter().for_each(|id| self.suspects.put_off(id, now));
    }

    /// An object of which all seems to be well: its app and its id. `random`, from 0 to 1, chooses which.
    pub fn to_audit(&self, random: f64) -> Option<(String, ObjectId)> {
        let settled = |app: &str| self.apps.get(app).is_some_and(|app| app.stage == Stage::Delivered && app.failures.is_empty());
        let well = |record: &Record| record.is_applied() && record.is_as_applied() && settled(record.app());
        let quiet = |id: &ObjectId| !self.suspects.has(id) && !self.drifts.has(id);
        let (id, record) = self.objects.from(random, well).find(|(id, _)| quiet(id))?;
        Some((record.app().to_string(), id))
    }

    /// What an audit comes to: an apply on an object at this resourceVersion would give it this projection hash.
    pub fn audit(&self, id: &ObjectId, version: u64, hash: u64) -> Audit {
        match self.objects.get(id) {
            Some(record) if !self.suspects.has(id) && !self.drifts.has(id) && record.version <= version => {
                match record.baseline.live == hash {
                    true => Audit::Same,
                    false if record.version < version => Audit::Late,
                    false => Audit::Different,
                }
            }
            _ => Audit::Moved,
        }
    }

    /// An audit has found that an object is not as it seems.
    pub fn accuse(&mut self, id: &ObjectId, now: Timestamp) {
        let version = self.objects.get(id).map(|record| record.version).unwrap_or_default();
        self.suspects.insert(id.clone(), Suspect::unseen(version, true, now));
    }

    /// How an object fares now. Of a workload that is not healthy its Pods may know more.
    fn note(&mut self, live: Sighting) {
        let Some(record) = self.objects.get_mut(&live.id) else { return };
        if !is_workload(&live.id) || !matches!(live.health, Health::InProgress(_) | Health::Failed(_)) {
            self.inquiries.remove(&live.id);
            (record.version, record.health, record.live, record.raw) = (live.version, live.health, live.print.hash, live.raw);
            record.uid = live.uid;
            return;
        }
        if record.uid != live.uid {
            self.inquiries.remove(&live.id);
        }
        let inquiry = self.inquiries.entry(live.id).or_insert_with(|| Inquiry::new(live.generation, live.health.clone()));
        inquiry.seen(live.generation, live.health);
        (record.version, record.health, record.live, record.raw) = (live.version, inquiry.health(), live.print.hash, live.raw);
        record.uid = live.uid;
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
    pub fn gone(&mut self, id: &ObjectId, uid: &Uid, now: Timestamp) -> bool {
        let Some(record) = self.objects.get_mut(id) else { return false };
        if uid.is_known() && record.uid.is_known() && record.uid != *uid {
            return false; // The one that went was an earlier bearer of the name.
        }
        self.inquiries.remove(id);
        match record.wanted {
            Wanted::No => {
                self.objects.remove(id);
                false
            }
            Wanted::Applied if record.uid.is_known() => {
                (record.health, record.uid, record.live) = (Health::NotFound, Uid::Unknown, 0);
                let version = record.version;
                let not_before = self.fights.of(id, now).map_or(now, |fight| fight.until);
                self.suspects.add(id, Suspect { not_before, ..Suspect::unseen(version, false, now) });
                true
            }
            Wanted::Applied | Wanted::Pending => false,
        }
    }

    /// The app with an object that is to be looked at now, and all such objects of it. Apps that are being applied are left alone: their
    /// objects are put right by that.
    pub fn due_heal(&self, now: Timestamp, busy: impl Fn(&str) -> bool) -> Option<(String, Vec<ObjectId>)> {
        let app = |id: &ObjectId| self.objects.get(id).map(|record| record.app().clone());
        let ready = |app: &str| self.apps.get(app).is_some_and(|app| app.stage == Stage::Delivered) && !busy(app);
        let first = self.suspects.due(now).find_map(|id| app(id).filter(|app| ready(app)))?;
        let ids = self.suspects.due(now).filter(|id| app(id).as_ref() == Some(&first)).cloned().collect();
        Some((first.to_string(), ids))
    }

    /// When the next object is to be looked at. Apps that are busy, or being applied, call for it themselves when they are done.
    pub fn next_heal(&self, busy: impl Fn(&str) -> bool) -> Option<Timestamp> {
        let idle = |app: &Rc<str>| self.apps.get(&**app).is_some_and(|known| known.stage == Stage::Delivered) && !busy(app);
        self.suspects.next(|id| self.objects.get(id).is_some_and(|record| idle(record.app())))
    }

    /// All that was told is looked at again: what was only told may be healed now.
    pub fn reconsider(&mut self, now: Timestamp) {
        let told: Vec<ObjectId> = self.drifts.ids().cloned().collect();
        for id in told {
            let Some(record) = self.objects.get(&id) else { continue };
            self.suspects.insert(id, Suspect::unseen(record.version, record.uid.is_known(), now));
        }
    }

    /// The baselines of all objects, to be kept.
    pub fn baselines(&self) -> Baselines {
        Baselines::new(self.objects.iter().map(|(id, record)| (id, record.baseline)))
    }

    /// The objects of a kind that the API server is known to have, with their uids.
    pub fn present(&self, group: &str, kind: &str) -> BTreeMap<ObjectId, Uid> {
        let present = self.objects.of_kind(group, kind).filter(|(_, record)| record.uid.is_known());
        present.map(|(id, record)| (id, record.uid.clone())).collect()
    }

    /// What an app owns in the cluster.
    pub fn owned(&self, app: &str) -> impl Iterator<Item = (ObjectId, &Record)> {
        self.objects.of_app(app).filter(|(_, record)| record.uid.is_known())
    }

    /// The app other than `app` that asks for an object.
    pub fn claimed(&self, id: &ObjectId, app: &str) -> Option<(Rc<str>, Option<Origin>)> {
        let record = self.objects.get(id)?;
        (record.wanted != Wanted::No && &**record.app() != app).then(|| (record.app().clone(), record.origin()))
    }

    /// Whether an app is delivered and every object of it was seen healthy.
    pub fn healthy(&self, app: &str) -> bool {
        let known = self.apps.get(app).is_some_and(|app| app.stage == Stage::Delivered && app.failures.is_empty());
        let all_healthy = |count: Count| count.healthy == count.wanted;
        known && all_healthy(self.objects.count(app))
    }

    fn wanted(&self, app: &str) -> impl Iterator<Item = (ObjectId, &Record)> {
        self.objects.of_app(app).filter(|(_, record)| record.wanted != Wanted::No)
    }

    /// All that is known, as one report; also notes since when apps have been unhealthy, so it is to be called when something changed or a deadline passed.
    pub fn report(&mut self, now: Timestamp) -> Report {
        self.mark_unhealthy(now);
        self.drifts.calm_down(now);
        let count = self.objects.counts().fold(Count::default(), |sum, (_, count)| sum.and(count));
        let progress = self.progress(count.waiting);
        let drifts = self.drifts.worst(now);
        if progress == Progress::Finished && !self.commit.is_empty() {
            self.took.get_or_insert_with(|| since(self.started, now));
        }
        Report {
            commit: self.commit.clone(),
            started: self.started,
            took: self.took.unwrap_or_else(|| if self.commit.is_empty() { Duration::ZERO } else { since(self.started, now) }),
            progress,
            objects: count.wanted,
            applied: count.applied,
            changed: self.apps.values().map(|app| app.changed).sum(),
            deleted: self.apps.values().map(|app| app.deleted).sum(),
            healthy: count.healthy,
            waiting: self.first_waiting(&count),
            waiting_count: count.waiting,
            failures: self.failures(now),
            held: self.apps.values().filter_map(|app| app.held.clone()).collect(),
            conflicts: self.apps.values().map(|app| app.conflicts).sum(),
            drifts: drifts.0,
            drift: drifts.1.map(Drift::words),
            agent_error: self.agent_error.clone().or_else(|| self.blind.values().next().cloned()),
            suspended: self.suspended,
            frozen_until: self.frozen_until.filter(|_| self.suspended),
        }
    }

    /// The first object that waits, and what it says.
    fn first_waiting(&self, count: &Count) -> Option<(ObjectId, String)> {
        let id = count.first_waiting()?;
        let message = self.objects.get(&id)?.health.message().to_owned();
        Some((id, message))
    }

    fn progress(&self, waiting: usize) -> Progress {
        let blocked = self.apps.values().any(|app| matches!(app.stage, Stage::Blocked(_)));
        let moving = self.apps.values().any(|app| matches!(app.stage, Stage::Pending | Stage::Applying));
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
            let unhealthy = app.stage == Stage::Delivered && self.objects.count(name).waiting > 0;
            app.unhealthy_since = if unhealthy { app.unhealthy_since.or(Some(now)) } else { None };
        }
    }

    fn failures(&self, now: Timestamp) -> Vec<Failure> {
        let mut failures = self.repository.clone();
        failures.extend(self.apps.values().flat_map(|app| app.failures.iter().cloned()));
        for (name, count) in self.objects.counts() {
            let (fresh, begun) = self.apps.get(name).map(|app| (app.fresh, app.unhealthy_since)).unwrap_or_default();
            let late = count.waiting > 0 && begun.is_some_and(|begun| since(begun, now) >= self.timeout);
            if !fresh && (late || count.failed > 0) {
                failures.extend(self.objects.of_app(name).filter_map(|(id, record)| self.failure(&id, record, late)));
            }
        }
        failures
    }

    /// What is wrong with an object of an app that had its time, or has more.
    fn failure(&self, id: &ObjectId, record: &Record, late: bool) -> Option<Failure> {
        let reason = match &record.health {
            _ if !record.is_applied() => return None,
            Health::Failed(message) => message.clone(),
            health if late && !health.is_current() => format!("not healthy after {}: {}", minutes(self.timeout), health.message()),
            _ => return None,
        };
        let place = record.origin();
        Some(Failure { app: record.app().to_string(), object: Some(id.clone()), place, reason })
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

    /// When the next app runs out of time, or healing takes too long, so that somebody looks then.
    pub fn next_deadline(&self, now: Timestamp) -> Option<Timestamp> {
        let timeout = jiff::SignedDuration::try_from(self.timeout).ok()?;
        let unhealthy = self.apps.values().filter_map(|app| app.unhealthy_since?.checked_add(timeout).ok());
        unhealthy.chain(self.drifts.next_turn(now)).filter(|time| *time > now).min()
    }

    /// The apps as the Sync's status lists them, the worst first.
    pub fn app_statuses(&self) -> Vec<AppStatus> {
        let mut all: Vec<(u8, AppStatus)> = self.apps.iter().map(|(name, app)| self.app_status(name, app)).collect();
        all.sort_by_key(|(rank, _)| *rank);
        all.into_iter().map(|(_, app)| app).take(LISTED_APPS).collect()
    }

    fn app_status(&self, name: &str, app: &App) -> (u8, AppStatus) {
        let count = self.objects.count(name);
        let unhealthy = (count.current < count.wanted).then(|| self.wanted(name).find(|(_, record)| !record.health.is_current())).flatten();
        let (rank, verdict, message) = match self.drifts.of_app(name).filter(|_| app.failures.is_empty() && app.stage == Stage::Delivered) {
            Some(drift) => (0, Verdict::Drifted, drift.words()),
            None => judge(app, unhealthy),
        };
        let objects = i64::try_from(count.wanted).unwrap_or(i64::MAX);
        let message = crate::report::redact(&message);
        (rank, AppStatus { name: name.to_owned(), state: verdict.as_str().to_owned(), objects, message })
    }
}

/// How bad an app's state is (0 is worst), the state, and why.
fn judge(app: &App, unhealthy: Option<(ObjectId, &Record)>) -> (u8, Verdict, String) {
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
        Sighting {
            id: id(name),
            uid: Uid::from(uid),
            version,
            generation: 1,
            app: "shop".into(),
            health,
            print: Print { hash: 1, entry: Entry::Ours },
            raw: 9,
        }
    }

    /// A state that has begun a commit with these apps and their objects.
    fn state(apps: &[(&str, &[&str])]) -> State {
        let mut state = State { timeout: Duration::from_secs(300), ..State::default() };
        state.begin(COMMIT, "main@1a2b3c4", apps.iter().map(|(name, _)| ((*name).to_owned(), true)), at(0));
        for (name, objects) in apps {
            state.asks_for(name, objects.iter().map(|object| (id(object), Rc::default())));
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
            state.applied(live(name, name, 1, health.clone()), 1);
        }
        deliver(&mut state, "shop");
        state.syncing = false;
        state
    }

    #[test]
    fn a_report_counts_what_is_asked_for_applied_healthy_and_waited_for() {
        let mut state = state(&[("shop", &["a", "b", "c", "d"])]);
        state.seen(live("old", "o", 1, Health::Current), None, at(0));
        state.applied(live("a", "a", 1, Health::Current), 1);
        state.applied(live("b", "b", 1, waits()), 1);
        state.applied(live("c", "c", 1, Health::Failed("it broke".into())), 1);
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
        state.applied(live("a", "a", 1, waits()), 1);
        deliver(&mut state, "shop");
        assert_eq!(state.report(at(2)).progress, Progress::Waiting, "the sync itself is under way");
        state.syncing = false;
        assert_eq!(state.report(at(3)).progress, Progress::Waiting, "an object is not healthy");
        state.seen(live("a", "a", 2, Health::Current), None, at(0));
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
            state.seen(live("a", seen_uid, seen_version, Health::Current), None, at(0));
            state.applied(live("a", uid, version, Health::Terminating), 1);
            let record = state.objects.get(&id("a")).unwrap();
            assert_eq!(record.health.is_current(), keeps, "{seen_uid}@{seen_version}, then {uid}@{version}");
            assert!(record.is_applied(), "whoever told of it first");
        }
    }

    #[test]
    fn an_event_of_a_settled_object_says_how_it_fares_and_no_other_does() {
        let settled = |state: &State, version, raw| state.is_settled(&id("a"), "a", version, raw);
        let mut state = delivered(&[("a", Health::Current)]);
        assert!(settled(&state, 2, 9) && !settled(&state, 2, 8) && !settled(&state, 0, 9) && !state.is_settled(&id("a"), "b", 2, 9));
        assert!(!state.fares(&id("a"), 2, 1, Health::Current), "nothing follows from that");
        assert!(state.fares(&id("a"), 3, 1, waits()) && !state.healthy("shop"));
        assert_eq!(state.objects.get(&id("a")).unwrap().version, 3);
        assert!(state.fares(&id("a"), 4, 1, Health::Current) && state.healthy("shop"));
        state.accuse(&id("a"), at(5));
        assert!(!settled(&state, 5, 9), "somebody has to look at it");
        let applied = Sighting { raw: 0, ..live("a", "a", 6, Health::Current) };
        state.applied(applied, 1);
        assert!(!settled(&state, 7, 0) && !settled(&state, 7, 9), "the event of our own write has not come yet");
    }

    #[test]
    fn an_older_event_is_no_news() {
        let mut state = delivered(&[("a", Health::Current)]);
        state.seen(live("a", "a", 9, Health::Current), None, at(0));
        state.seen(live("a", "a", 8, waits()), None, at(0));
        assert!(state.healthy("shop"));
    }

    #[test]
    fn an_object_that_goes_is_made_again_only_if_git_asks_for_it() {
        let mut state = delivered(&[("a", Health::Current)]);
        assert!(!state.gone(&id("a"), &Uid::from("another"), at(0)), "the one that went was an earlier bearer of the name");
        assert!(state.healthy("shop"));
        assert!(state.gone(&id("a"), &Uid::from("a"), at(0)));
        assert!(state.suspects.has(&id("a")) && !state.healthy("shop"));
        assert!(!state.gone(&id("a"), &Uid::from("a"), at(0)), "it is on its way already");
        state.applied(live("a", "b", 2, Health::Current), 1);
        state.asks_for("shop", std::iter::empty());
        assert!(!state.gone(&id("a"), &Uid::from("b"), at(0)));
        assert!(state.objects.get(&id("a")).is_none() && !state.gone(&id("a"), &Uid::from("b"), at(0)));
    }

    #[test]
    fn what_git_no_longer_asks_for_is_owned_until_it_is_gone() {
        let mut state = delivered(&[("a", Health::Current), ("b", waits())]);
        state.asks_for("shop", [(id("a"), Rc::default()), (id("c"), Rc::default())].into_iter());
        let owned = |state: &State| state.owned("shop").map(|(id, _)| id.name.clone()).collect::<Vec<_>>().join(" ");
        assert_eq!(owned(&state), "a b", "c was never made");
        assert_eq!(state.report(at(1)).objects, 2, "b is not asked for");
        state.gone(&id("b"), &Uid::from("b"), at(0));
        assert_eq!(owned(&state), "a");
        state.asks_for("shop", [(id("a"), Rc::default())].into_iter());
        assert!(state.objects.get(&id("c")).is_none(), "what was never made leaves no trace");
    }

    #[test]
    fn an_object_is_claimed_by_the_app_that_asks_for_it_and_by_no_other() {
        let mut state = state(&[("blog", &["a"]), ("shop", &["b"])]);
        assert_eq!(state.claimed(&id("a"), "shop").map(|(app, _)| app.to_string()).as_deref(), Some("blog"));
        assert_eq!(state.claimed(&id("a"), "blog"), None, "its own");
        assert_eq!(state.claimed(&id("x"), "blog"), None, "nobody's");
        state.applied(live("a", "a", 1, Health::Current), 1);
        state.asks_for("blog", std::iter::empty());
        assert_eq!(state.claimed(&id("a"), "shop"), None, "it was given up");
        state.asks_for("shop", [(id("a"), Rc::default())].into_iter());
        assert_eq!((state.owned("blog").count(), state.owned("shop").count()), (0, 1), "it has moved");
    }

    #[test]
    fn an_app_that_is_not_healthy_in_time_has_failed() {
        let mut state = delivered(&[("a", waits())]);
        assert_eq!(state.next_deadline(at(0)), None, "nobody has looked yet");
        state.report(at(10));
        assert_eq!(state.next_deadline(at(0)), Some(at(310)));
        assert_eq!(state.report(at(309)).failures, []);
        assert_eq!(state.report(at(310)).failures[0].reason, "not healthy after 5 min: 0 of 1 replicas available");
        assert_eq!(state.next_deadline(at(310)), None, "what has passed is not waited for");
        state.seen(live("a", "a", 2, Health::Current), None, at(0));
        assert_eq!((state.report(at(311)).failures, state.next_deadline(at(0))), (vec![], None));
    }

    #[test]
    fn an_app_that_waits_is_released_when_all_that_it_waits_for_are_healthy() {
        let mut state = state(&[("data", &["a"]), ("shop", &[])]);
        state.apps.get_mut("shop").unwrap().stage = Stage::Blocked(vec!["data".into()]);
        assert!(!state.released());
        state.applied(live("a", "a", 1, Health::Current), 1);
        assert!(!state.released(), "more of it may come");
        deliver(&mut state, "data");
        assert!(state.released());
        state.seen(live("a", "a", 2, waits()), None, at(0));
        assert!(!state.released());
        state.seen(live("a", "a", 3, Health::Current), None, at(0));
        state.apps.get_mut("data").unwrap().failures.push(Failure::default());
        assert!(!state.released(), "something of it could not be applied");
    }

    #[test]
    fn the_worst_app_is_listed_first() {
        let mut state = state(&[("a-fine", &["a"]), ("b-blocked", &[]), ("c-waits", &["c"]), ("d-failed", &["d"]), ("e-moving", &[])]);
        state.applied(live("a", "a", 1, Health::Current), 1);
        state.applied(live("c", "c", 1, waits()), 1);
        state.applied(live("d", "d", 1, Health::Failed("it broke".into())), 1);
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
        state.applied(live("a", "a", 1, Health::Current), 1);
        state.seen(live("pending", "p", 1, waits()), None, at(0));
        assert_eq!(state.next_inquiry(at(0)), None, "at rest nobody is asked");
        state.applied(live("b", "b", 1, waits()), 1);
        assert_eq!(state.next_inquiry(at(0)), Some((at(3), id("b"))));
        let unsaid = state.answered(&id("b"), None, at(3));
        assert_eq!((unsaid, state.next_inquiry(at(3))), (false, Some((at(8), id("b")))));
        state.seen(live("b", "b", 2, Health::Current), None, at(0));
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

    #[test]
    fn an_audit_believes_the_watch_only_if_it_has_told_of_the_very_state_that_was_compared() {
        let state = delivered(&[("a", Health::Current)]);
        let table =
            [((1, 1), Audit::Same), ((1, 2), Audit::Different), ((2, 1), Audit::Same), ((2, 2), Audit::Late), ((0, 2), Audit::Moved)];
        for ((version, hash), expected) in table {
            assert_eq!(state.audit(&id("a"), version, hash), expected, "version {version}, hash {hash}");
        }
        assert_eq!(state.audit(&id("gone"), 1, 1), Audit::Moved);
    }
}
