//! The objects that a Sync owns or is about to, by id and by app, so that no question about one app looks at all of them, and none about all
//! looks at more than what has changed. It judges none.

use std::borrow::Borrow;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::rc::Rc;

use overlays::object::{ObjectId, Origin};
use overlays::path::RepoPath;

use super::uid::Uid;
use crate::baseline::Baseline;
use crate::health::Health;

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
    /// The app that it belongs to; only [`Objects`] may change it, for it is found by it.
    app: Rc<str>,
    /// The uid; not known until the API server has told it.
    pub uid: Uid,
    /// The resourceVersion that `health` is about; versions grow.
    pub version: u64,
    /// How it fares.
    pub health: Health,
    /// Whether Git asks for it.
    pub wanted: Wanted,
    /// Where it was written.
    place: Option<Place>,
    /// What was applied last, and what the server made of it.
    pub baseline: Baseline,
    /// The projection hash of the object as last seen.
    pub live: u64,
    /// The raw hash of the object as last seen by the watch; 0 where it was not, as after our own apply.
    pub raw: u64,
    /// The projection hash that the baseline had before our last apply.
    pub before: u64,
    /// The resourceVersion of the last event: our own answers may be ahead of it.
    pub watched: u64,
}

impl Record {
    /// The app that it belongs to; empty where nobody has said.
    pub fn app(&self) -> &Rc<str> {
        &self.app
    }

    /// Where it was written.
    pub fn origin(&self) -> Option<Origin> {
        self.place.as_ref().map(|place| Origin { file: RepoPath::clone(&place.file), line: place.line, column: place.column })
    }

    /// Whether the API server has it as the revision asks.
    pub fn is_applied(&self) -> bool {
        self.wanted == Wanted::Applied
    }

    /// Whether our fields are as the server answered to our last apply.
    pub fn is_as_applied(&self) -> bool {
        self.baseline.is_known() && self.baseline.live == self.live && self.uid.is_known()
    }
}

/// Where an object was written. Many are in one file.
#[derive(Clone, Debug, PartialEq)]
struct Place {
    file: Rc<RepoPath>,
    line: u32,
    column: u32,
}

/// An id in one piece: group, kind, namespace and name, with a byte between that none of them can have. In the order of ids.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key(Rc<str>);

impl Borrow<str> for Key {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl Key {
    fn text(id: &ObjectId) -> String {
        [&*id.group, &*id.kind, &*id.namespace, &*id.name].join("\0")
    }

    fn id(&self) -> ObjectId {
        let mut parts = self.0.splitn(4, '\0').map(str::to_owned);
        let mut next = || parts.next().unwrap_or_default();
        ObjectId { group: next(), kind: next(), namespace: next(), name: next() }
    }
}

/// How the objects of an app fare that are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Asked for.
    pub wanted: usize,
    /// Applied as the revision asks.
    pub applied: usize,
    /// Current, whether applied or not.
    pub current: usize,
    /// Applied and current.
    pub healthy: usize,
    /// Applied, and may still become healthy by themselves.
    pub waiting: usize,
    /// Applied and failed.
    pub failed: usize,
    first_waiting: Option<Key>,
}

impl Count {
    /// The first that waits, by its id.
    pub fn first_waiting(&self) -> Option<ObjectId> {
        self.first_waiting.as_ref().map(Key::id)
    }

    /// Adds those of another app.
    pub fn and(self, other: Self) -> Self {
        Self {
            wanted: self.wanted + other.wanted,
            applied: self.applied + other.applied,
            current: self.current + other.current,
            healthy: self.healthy + other.healthy,
            waiting: self.waiting + other.waiting,
            failed: self.failed + other.failed,
            first_waiting: self.first_waiting.into_iter().chain(other.first_waiting).min(),
        }
    }

    fn add(&mut self, id: &Key, record: &Record) {
        if record.wanted == Wanted::No {
            return;
        }
        self.wanted += 1;
        self.current += usize::from(record.health.is_current());
        if !record.is_applied() {
            return;
        }
        self.applied += 1;
        match &record.health {
            Health::Current => self.healthy += 1,
            Health::Failed(_) => self.failed += 1,
            _ => {
                self.waiting += 1;
                self.first_waiting.get_or_insert_with(|| id.clone());
            }
        }
    }
}

/// The objects of one app.
#[derive(Clone, Debug, Default)]
struct Group {
    ids: BTreeSet<Key>,
    /// As it was counted last; none since an object has changed.
    count: RefCell<Option<Count>>,
}

/// The objects by id and by app; an id is held once.
#[derive(Clone, Debug, Default)]
pub struct Objects {
    records: BTreeMap<Key, Box<Record>>,
    apps: BTreeMap<Rc<str>, Group>,
    /// The files that objects were written in.
    files: BTreeSet<Rc<RepoPath>>,
}

impl Objects {
    /// What is known of an object.
    pub fn get(&self, id: &ObjectId) -> Option<&Record> {
        self.records.get(&*Key::text(id)).map(|record| &**record)
    }

    /// The same, to be changed.
    pub fn get_mut(&mut self, id: &ObjectId) -> Option<&mut Record> {
        let record = self.records.get_mut(&*Key::text(id))?;
        self.apps.get_mut(&record.app).iter_mut().for_each(|group| *group.count.get_mut() = None);
        Some(record)
    }

    /// The object, which belongs to `app` from now on. One that is new is not there yet and not asked for.
    pub fn assign(&mut self, id: &ObjectId, app: &str) -> &mut Record {
        let text = Key::text(id);
        let key = self.records.get_key_value(&*text).map_or_else(|| Key(text.into()), |(known, _)| known.clone());
        let app = self.apps.get_key_value(app).map_or_else(|| app.into(), |(known, _)| known.clone());
        let old = self.records.get(&key).map(|record| record.app.clone());
        if let Some(old) = old.filter(|old| *old != app) {
            self.leave(&old, &key);
        }
        let group = self.apps.entry(app.clone()).or_default();
        group.ids.insert(key.clone());
        *group.count.get_mut() = None;
        let record = self.records.entry(key).or_default();
        record.app = app;
        record
    }

    /// The object, which `app` asks for from now on, and where it was written.
    pub fn ask_for(&mut self, id: &ObjectId, app: &str, origin: &Origin) -> &mut Record {
        let file = self.files.get(&origin.file).cloned().unwrap_or_else(|| Rc::new(origin.file.clone()));
        self.files.insert(file.clone());
        let record = self.assign(id, app);
        record.place = Some(Place { file, line: origin.line, column: origin.column });
        record.wanted = Wanted::Pending;
        record
    }

    /// Forgets an object.
    pub fn remove(&mut self, id: &ObjectId) {
        if let Some((key, record)) = self.records.remove_entry(&*Key::text(id)) {
            self.leave(&record.app, &key);
        }
    }

    fn leave(&mut self, app: &str, key: &Key) {
        let Some(group) = self.apps.get_mut(app) else { return };
        group.ids.remove(key);
        *group.count.get_mut() = None;
        if group.ids.is_empty() {
            self.apps.remove(app);
        }
    }

    /// All of them, in the order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = (ObjectId, &Record)> {
        self.records.iter().map(|(key, record)| (key.id(), &**record))
    }

    /// Those for which `holds`, from a place in their order on and round to it again: 0 is the first, and just below 1 the last.
    pub fn from<'a>(&'a self, place: f64, holds: impl Fn(&Record) -> bool + 'a) -> impl Iterator<Item = (ObjectId, &'a Record)> {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "a place in a list")]
        let skipped = (self.records.len() as f64 * place.clamp(0.0, 1.0)) as usize;
        let round = self.records.iter().cycle().skip(skipped).take(self.records.len());
        round.filter(move |(_, record)| holds(record)).map(|(key, record)| (key.id(), &**record))
    }

    /// The ids of all of them, in order.
    pub fn ids(&self) -> impl Iterator<Item = ObjectId> {
        self.records.keys().map(Key::id)
    }

    /// Those of one app, in the order of their ids.
    pub fn of_app(&self, app: &str) -> impl Iterator<Item = (ObjectId, &Record)> {
        self.of(self.apps.get(app)).map(|(key, record)| (key.id(), record))
    }

    fn of<'a>(&'a self, group: impl IntoIterator<Item = &'a Group>) -> impl Iterator<Item = (&'a Key, &'a Record)> {
        group.into_iter().flat_map(|group| &group.ids).filter_map(|key| Some((key, &**self.records.get(key)?)))
    }

    /// Those of one kind, in the order of their ids.
    pub fn of_kind(&self, group: &str, kind: &str) -> impl Iterator<Item = (ObjectId, &Record)> {
        let before = format!("{group}\0{kind}\0");
        let from = self.records.range::<str, _>((Bound::Included(&*before), Bound::Unbounded));
        let of_kind: Vec<_> = from.take_while(|(key, _)| key.0.starts_with(&before)).collect();
        of_kind.into_iter().map(|(key, record)| (key.id(), &**record))
    }

    /// How those of an app fare.
    pub fn count(&self, app: &str) -> Count {
        self.apps.get(app).map(|group| self.count_of(group)).unwrap_or_default()
    }

    /// How those of each app fare.
    pub fn counts(&self) -> impl Iterator<Item = (&str, Count)> {
        self.apps.iter().map(|(app, group)| (&**app, self.count_of(group)))
    }

    fn count_of(&self, group: &Group) -> Count {
        let count = || {
            let mut count = Count::default();
            self.of([group]).for_each(|(key, record)| count.add(key, record));
            count
        };
        group.count.borrow_mut().get_or_insert_with(count).clone()
    }

    /// The apps that have any.
    pub fn apps(&self) -> impl Iterator<Item = &str> {
        self.apps.keys().map(|app| &**app)
    }

    /// Nothing of an app is asked for any more, for now.
    pub fn disown(&mut self, app: &str) {
        let Some(group) = self.apps.get_mut(app) else { return };
        *group.count.get_mut() = None;
        for key in &group.ids {
            if let Some(record) = self.records.get_mut(key) {
                record.wanted = Wanted::No;
            }
        }
    }

    /// What an app does not ask for and was never made leaves no trace.
    pub fn forget_ghosts(&mut self, app: &str) {
        let is_ghost = |record: &Record| record.wanted == Wanted::No && !record.uid.is_known();
        let ghosts: Vec<ObjectId> = self.of_app(app).filter(|(_, record)| is_ghost(record)).map(|(id, _)| id).collect();
        ghosts.iter().for_each(|id| self.remove(id));
    }

    /// Files in which no object is written any more are forgotten.
    pub fn forget_files(&mut self) {
        self.files.retain(|file| Rc::strong_count(file) > 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(kind: &str, name: &str) -> ObjectId {
        ObjectId { kind: kind.into(), name: name.into(), ..ObjectId::default() }
    }

    fn names<'a>(of: impl Iterator<Item = (ObjectId, &'a Record)>) -> String {
        of.map(|(id, _)| id.name).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn an_object_is_found_under_the_app_that_it_moved_to_and_no_other() {
        let mut objects = Objects::default();
        objects.assign(&id("ConfigMap", "a"), "shop").version = 7;
        objects.assign(&id("ConfigMap", "b"), "shop");
        assert_eq!(objects.assign(&id("ConfigMap", "a"), "blog").version, 7, "it is still the same object");
        assert_eq!(
            (names(objects.of_app("shop")), names(objects.of_app("blog")), names(objects.iter())),
            ("b".into(), "a".into(), "a b".into())
        );
        objects.remove(&id("ConfigMap", "b"));
        assert_eq!(objects.apps().collect::<Vec<_>>(), ["blog"]);
    }

    #[test]
    fn an_app_is_counted_anew_whatever_has_changed_of_it() {
        let mut objects = Objects::default();
        let (a, b) = (id("ConfigMap", "a"), id("ConfigMap", "b"));
        (objects.assign(&a, "shop").wanted, objects.assign(&b, "shop").wanted) = (Wanted::Applied, Wanted::Pending);
        let count = objects.count("shop");
        assert_eq!((count.wanted, count.applied, count.waiting, count.first_waiting()), (2, 1, 1, Some(a.clone())));
        objects.get_mut(&a).unwrap().health = Health::Current;
        objects.get_mut(&b).unwrap().health = Health::Failed("it broke".into());
        let count = objects.count("shop");
        assert_eq!(
            (count.current, count.healthy, count.failed, count.first_waiting()),
            (1, 1, 0, None),
            "what is not applied yet has not failed"
        );
        objects.assign(&a, "blog");
        assert_eq!((objects.count("shop").wanted, objects.count("blog").wanted), (1, 1));
        objects.disown("blog");
        objects.remove(&b);
        assert_eq!((objects.count("shop"), objects.count("blog")), (Count::default(), Count::default()));
    }

    #[test]
    fn a_kind_is_told_from_its_neighbours() {
        let mut objects = Objects::default();
        for (kind, name) in [("ConfigMap", "a"), ("ConfigMaps", "b"), ("Config", "c"), ("ConfigMap", "d")] {
            objects.assign(&id(kind, name), "shop");
        }
        assert_eq!(names(objects.of_kind("", "ConfigMap")), "a d");
        assert_eq!(names(objects.of_kind("apps", "ConfigMap")), "");
    }

    #[test]
    fn only_what_was_never_made_is_a_ghost() {
        let mut objects = Objects::default();
        objects.assign(&id("ConfigMap", "made"), "shop").uid = Uid::from("u");
        objects.assign(&id("ConfigMap", "asked"), "shop").wanted = Wanted::Pending;
        objects.assign(&id("ConfigMap", "ghost"), "shop");
        objects.assign(&id("ConfigMap", "other"), "blog");
        objects.forget_ghosts("shop");
        assert_eq!(names(objects.iter()), "asked made other");
    }
}
