//! Objects that are not as they were when they were applied, until somebody has looked at them. It does not know why they differ.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use overlays::object::ObjectId;

use crate::drift::Print;

/// How many objects are kept as the watch saw them. When more drift at once, they are read again before they are healed.
const TEXTS: usize = 1_000;
/// The longest wait until something that was refused is tried again, in seconds.
const LONGEST: i64 = 300;

/// An object that is not as it was when it was applied.
#[derive(Clone, Debug)]
pub struct Suspect {
    /// The resourceVersion.
    pub version: u64,
    /// Our fields in it; none where the object is gone.
    pub print: Option<Print>,
    /// The object as the server wrote it, for who changed it; none where it is gone, or too many are waiting.
    pub text: Option<Box<str>>,
    /// Since when it is like that.
    pub since: Timestamp,
    /// Before this nothing is done about it.
    pub not_before: Timestamp,
    /// How often something was done about it in vain.
    pub tries: u32,
}

impl Suspect {
    /// One that nobody has seen: it will be read.
    pub fn unseen(version: u64, exists: bool, now: Timestamp) -> Self {
        let print = exists.then(Print::default);
        Self { version, print, text: None, since: now, not_before: now, tries: 0 }
    }
}

/// All of them by id.
#[derive(Clone, Debug, Default)]
pub struct Suspects(BTreeMap<ObjectId, Suspect>);

impl Suspects {
    /// A newer sight of an object. Since when, and how long to wait, stay as they are.
    pub fn add(&mut self, id: &ObjectId, suspect: Suspect) {
        let full = self.0.len() >= TEXTS;
        let text = suspect.text.filter(|_| !full);
        let suspect = Suspect { text, ..suspect };
        let suspect = match self.0.get(id) {
            Some(Suspect { since, not_before, tries, .. }) => Suspect { since: *since, not_before: *not_before, tries: *tries, ..suspect },
            None => suspect,
        };
        self.0.insert(id.clone(), suspect);
    }

    /// As it is; what was known of the object is forgotten.
    pub fn insert(&mut self, id: ObjectId, suspect: Suspect) {
        self.0.insert(id, suspect);
    }

    /// Nothing could be done about one. What was seen of it meanwhile is newer; since when it is so, and how often it was tried, is not.
    pub fn restore(&mut self, id: &ObjectId, suspect: Suspect) {
        match self.0.get_mut(id) {
            Some(newer) => (newer.since, newer.tries) = (suspect.since, suspect.tries),
            None => self.insert(id.clone(), suspect),
        }
    }

    /// Somebody looks at it now, or it is as it should be.
    pub fn remove(&mut self, id: &ObjectId) -> Option<Suspect> {
        self.0.remove(id)
    }

    /// One of them.
    pub fn get(&self, id: &ObjectId) -> Option<&Suspect> {
        self.0.get(id)
    }

    /// Something was done in vain: the next try waits, twice as long each time.
    pub fn put_off(&mut self, id: &ObjectId, now: Timestamp) {
        let Some(suspect) = self.0.get_mut(id) else { return };
        let rest = SignedDuration::from_secs(LONGEST.min(1 << suspect.tries.min(9)));
        suspect.tries += 1;
        suspect.not_before = now.checked_add(rest).unwrap_or(now);
    }

    /// Whether an object is among them.
    pub fn has(&self, id: &ObjectId) -> bool {
        self.0.contains_key(id)
    }

    /// Those that are to be looked at now.
    pub fn due(&self, now: Timestamp) -> impl Iterator<Item = &ObjectId> {
        self.0.iter().filter(move |(_, suspect)| suspect.not_before <= now).map(|(id, _)| id)
    }

    /// When the next one is to be looked at, of those that may be.
    pub fn next(&self, may: impl Fn(&ObjectId) -> bool) -> Option<Timestamp> {
        self.0.iter().filter(|(id, _)| may(id)).map(|(_, suspect)| suspect.not_before).min()
    }

    /// What held them up is over: all may be looked at.
    pub fn hurry(&mut self) {
        self.0.values_mut().for_each(|suspect| suspect.not_before = suspect.since);
    }
}
