//! Objects that are not as Git says, as it was told, and those that were healed last. It neither finds nor heals them.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use jiff::Timestamp;
use overlays::object::ObjectId;

use crate::api::{DriftField, DriftStatus};

/// How many objects the Sync's status lists.
const LISTED: usize = 50;
/// How many fields of an object it lists.
const FIELDS: usize = 8;
/// How many healed ones are remembered.
const REMEMBERED: usize = 20;
/// How long healing may take until the commit is told of it.
const MOMENT: Duration = Duration::from_secs(3);

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// The API server, or a guard, does not let it be healed.
    Refused,
    /// It is healed again and again, for somebody else writes too.
    Fighting,
    /// It is left so, as its policy says.
    Reported,
    /// It is being healed.
    Healing,
    /// It is as Git says again.
    Healed,
}

impl Fate {
    /// The word in the Sync's status, in the log, and in a metric's label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Fighting => "fighting",
            Self::Reported => "reported",
            Self::Healing => "healing",
            Self::Healed => "healed",
        }
    }
}

/// One object that is, or was, not as Git says.
#[derive(Clone, Debug, PartialEq)]
pub struct Drift {
    /// The app.
    pub app: String,
    /// The object.
    pub object: ObjectId,
    /// The fields that differ.
    pub fields: Vec<DriftField>,
    /// What became of it.
    pub fate: Fate,
    /// Why, where the fate does not say.
    pub message: String,
    /// Since when it is so.
    pub since: Timestamp,
    /// When a fight is over if nothing happens, or when it was healed.
    pub until: Option<Timestamp>,
    /// The raw hash of the object as it was when this was told; none where it was gone.
    pub raw: Option<u64>,
}

impl Drift {
    /// As one line: `Deployment web/api spec.replicas 3 → 5 by kubectl (scale)`, and how many more fields there are.
    pub fn words(&self) -> String {
        let Some(first) = self.fields.first() else { return self.object.to_string() };
        let more = match self.fields.len() - 1 {
            0 => String::new(),
            1 => ", 1 more field".to_owned(),
            more => format!(", {more} more fields"),
        };
        format!("{} {}{more}", self.object, field_words(first))
    }

    /// The same with all fields that are listed, as the log has it.
    pub fn all_words(&self) -> String {
        let fields: Vec<String> = self.fields.iter().take(FIELDS).map(field_words).collect();
        let more = self.fields.len().saturating_sub(FIELDS);
        let more = if more > 0 { format!(", {more} more fields") } else { String::new() };
        format!("{} {}{more}", self.object, fields.join(", ")).trim_end().to_owned()
    }

    fn status(&self) -> DriftStatus {
        let more = self.fields.len().saturating_sub(FIELDS);
        DriftStatus {
            app: self.app.clone(),
            object: self.object.to_string(),
            state: self.fate.as_str().to_owned(),
            fields: self.fields.iter().take(FIELDS).cloned().collect(),
            more: (more > 0).then(|| i64::try_from(more).unwrap_or(i64::MAX)),
            message: crate::report::redact(&self.message),
            since: self.since.to_string(),
            healed: self.until.filter(|_| self.fate == Fate::Healed).map(|time| time.to_string()),
        }
    }
}

/// `spec.replicas 3 → 5 by kubectl (scale)`; `deleted by an unknown author`.
fn field_words(field: &DriftField) -> String {
    let by = &field.by;
    match (&field.was, &field.is) {
        (Some(was), Some(is)) => format!("{} {was} → {is} by {by}", field.path),
        (Some(was), None) => format!("{} {was} → removed by {by}", field.path),
        (None, Some(is)) => format!("{} {is} added by {by}", field.path),
        (None, None) => format!("{} by {by}", field.path),
    }
}

/// What was told, by object, and what was healed last.
#[derive(Clone, Debug, Default)]
pub struct Drifts {
    present: BTreeMap<ObjectId, Drift>,
    healed: VecDeque<Drift>,
    /// Objects that are not as they were applied and of which nothing is told, by their raw hash.
    silent: BTreeMap<ObjectId, u64>,
}

impl Drifts {
    /// Notes what is known of an object now. Returns it with the time since when it is so; none if that is no news.
    pub fn tell(&mut self, drift: Drift, now: Timestamp) -> Option<Drift> {
        let before = self.present.remove(&drift.object);
        self.silent.remove(&drift.object);
        let since = before.as_ref().map_or(drift.since, |before| before.since.min(drift.since));
        if drift.fate == Fate::Healed {
            let drift = Drift { since, until: Some(now), ..drift };
            self.healed.truncate(REMEMBERED - 1);
            self.healed.push_front(drift.clone());
            return Some(drift);
        }
        let drift = Drift { since, ..drift };
        self.present.insert(drift.object.clone(), drift.clone());
        let same = |before: Drift| (before.fate, &before.fields, &before.message) == (drift.fate, &drift.fields, &drift.message);
        (drift.fate == Fate::Fighting || !before.is_some_and(same)).then_some(drift)
    }

    /// Nothing is told of an object as it is now.
    pub fn silence(&mut self, id: &ObjectId, raw: Option<u64>) {
        self.present.remove(id);
        self.silent.extend(raw.map(|raw| (id.clone(), raw)));
    }

    /// An object is as Git says again. Returns whether it was not before; what became of it is remembered. A fight is not over yet: that the
    /// object is right now is our own doing.
    pub fn over(&mut self, id: &ObjectId, now: Timestamp) -> bool {
        self.silent.remove(id);
        let Some(drift) = self.present.get(id).filter(|drift| drift.fate != Fate::Fighting).cloned() else { return false };
        let message = "somebody else has put it right".to_owned();
        self.tell(Drift { fate: Fate::Healed, message, ..drift }, now);
        true
    }

    /// Git's word was applied over it. A fight goes on: that the object is right now is our own doing.
    pub fn applied(&mut self, id: &ObjectId) {
        if self.present.get(id).is_none_or(|drift| drift.fate != Fate::Fighting) {
            self.forget(id);
        }
    }

    /// Fights in which nothing has happened for long enough are over.
    pub fn calm_down(&mut self, now: Timestamp) {
        let is_calm = |drift: &&Drift| drift.fate == Fate::Fighting && drift.until.is_some_and(|until| until <= now);
        let calm: Vec<Drift> = self.present.values().filter(is_calm).cloned().collect();
        for drift in calm {
            let message = "the other writer has stopped".to_owned();
            self.tell(Drift { fate: Fate::Healed, message, ..drift }, now);
        }
    }

    /// Git does not ask for the object any more, or asks for something else: nothing is said of it.
    pub fn forget(&mut self, id: &ObjectId) {
        self.present.remove(id);
        self.silent.remove(id);
    }

    /// Whether an object is not as Git says, and it was told.
    pub fn has(&self, id: &ObjectId) -> bool {
        self.present.contains_key(id)
    }

    /// Whether an object was told of as it is now. What else changes in it changes its raw hash, too, which is asked for only if it matters.
    /// In a fight the object was healed after it was told, so that the same again is news.
    pub fn is_told(&self, id: &ObjectId, raw: impl Fn() -> Option<u64>) -> bool {
        let told = self
            .present
            .get(id)
            .filter(|drift| drift.fate != Fate::Fighting)
            .map(|drift| drift.raw)
            .or_else(|| self.silent.get(id).map(|raw| Some(*raw)));
        told.is_some_and(|told| told.is_some() && told == raw())
    }

    /// The ids of those that are present.
    pub fn ids(&self) -> impl Iterator<Item = &ObjectId> {
        self.present.keys()
    }

    /// The worst of an app.
    pub fn of_app(&self, app: &str) -> Option<&Drift> {
        self.present.values().filter(|drift| drift.app == app).min_by_key(|drift| (drift.fate, drift.since))
    }

    /// How many the commit is to be told of, and the worst of them.
    pub fn worst(&self, now: Timestamp) -> (usize, Option<&Drift>) {
        (self.loud(now).count(), self.loud(now).min_by_key(|drift| (drift.fate, drift.since)))
    }

    /// What is healed in a moment is no news for a commit.
    fn loud(&self, now: Timestamp) -> impl Iterator<Item = &Drift> {
        self.present.values().filter(move |drift| drift.fate != Fate::Healing || loud_from(drift) <= now)
    }

    /// When one that is being healed has taken so long that the commit is told, or a fight is over.
    pub fn next_turn(&self, now: Timestamp) -> Option<Timestamp> {
        let turn = |drift: &Drift| match drift.fate {
            Fate::Healing => Some(loud_from(drift)),
            Fate::Fighting => drift.until,
            _ => None,
        };
        self.present.values().filter_map(turn).filter(|time| *time > now).min()
    }

    /// As the Sync's status lists them: what is present first, the worst of it on top.
    pub fn statuses(&self) -> Vec<DriftStatus> {
        let mut present: Vec<&Drift> = self.present.values().collect();
        present.sort_by_key(|drift| (drift.fate, drift.since));
        present.into_iter().chain(&self.healed).take(LISTED).map(Drift::status).collect()
    }

    /// How many objects are not as Git says.
    pub fn count(&self) -> usize {
        self.present.len()
    }
}

fn loud_from(drift: &Drift) -> Timestamp {
    drift.since.checked_add(MOMENT).unwrap_or(drift.since)
}
