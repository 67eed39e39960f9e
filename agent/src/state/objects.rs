//! The objects that a Sync owns or is about to, by id and by app, so that no question about one app looks at all of them. It judges none.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use overlays::object::{ObjectId, Origin};

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
    /// The uid; empty until the API server has told it.
    pub uid: Box<str>,
    /// The resourceVersion that `health` is about; versions grow.
    pub version: u64,
    /// How it fares.
    pub health: Health,
    /// Whether Git asks for it.
    pub wanted: Wanted,
    /// Where it was written.
    pub origin: Option<Rc<Origin>>,
    /// What was applied last, and what the server made of it.
    pub baseline: Baseline,
    /// The projection hash of the object as last seen.
    pub live: u64,
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

    /// Whether the API server has it as the revision asks.
    pub fn is_applied(&self) -> bool {
        self.wanted == Wanted::Applied
    }

    /// Whether our fields are as the server answered to our last apply.
    pub fn is_as_applied(&self) -> bool {
        self.baseline.is_known() && self.baseline.live == self.live && !self.uid.is_empty()
    }
}

/// The objects by id and by app; an id is held once.
#[derive(Clone, Debug, Default)]
pub struct Objects {
    records: BTreeMap<Rc<ObjectId>, Record>,
    apps: BTreeMap<Rc<str>, BTreeSet<Rc<ObjectId>>>,
}

impl Objects {
    /// What is known of an object.
    pub fn get(&self, id: &ObjectId) -> Option<&Record> {
        self.records.get(id)
    }

    /// The same, to be changed.
    pub fn get_mut(&mut self, id: &ObjectId) -> Option<&mut Record> {
        self.records.get_mut(id)
    }

    /// The object, which belongs to `app` from now on. One that is new is not there yet and not asked for.
    pub fn assign(&mut self, id: &ObjectId, app: &str) -> &mut Record {
        let id = self.records.get_key_value(id).map_or_else(|| Rc::new(id.clone()), |(known, _)| known.clone());
        let app = self.apps.get_key_value(app).map_or_else(|| app.into(), |(known, _)| known.clone());
        let old = self.records.get(&id).map(|record| record.app.clone());
        if let Some(old) = old.filter(|old| *old != app) {
            self.leave(&old, &id);
        }
        self.apps.entry(app.clone()).or_default().insert(id.clone());
        let record = self.records.entry(id).or_default();
        record.app = app;
        record
    }

    /// Forgets an object.
    pub fn remove(&mut self, id: &ObjectId) {
        if let Some(record) = self.records.remove(id) {
            self.leave(&record.app, id);
        }
    }

    fn leave(&mut self, app: &str, id: &ObjectId) {
        let Some(ids) = self.apps.get_mut(app) else { return };
        ids.remove(id);
        if ids.is_empty() {
            self.apps.remove(app);
        }
    }

    /// All of them, in the order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = (&ObjectId, &Record)> {
        self.records.iter().map(|(id, record)| (&**id, record))
    }

    /// The ids of all of them, in order.
    pub fn ids(&self) -> impl Iterator<Item = &ObjectId> {
        self.records.keys().map(|id| &**id)
    }

    /// Those of one app, in the order of their ids.
    pub fn of_app(&self, app: &str) -> impl Iterator<Item = (&ObjectId, &Record)> {
        self.apps.get(app).into_iter().flatten().filter_map(|id| Some((&**id, self.records.get(id)?)))
    }

    /// Those of one kind, in the order of their ids.
    pub fn of_kind<'a>(&'a self, group: &'a str, kind: &'a str) -> impl Iterator<Item = (&'a ObjectId, &'a Record)> {
        let first = ObjectId { group: group.to_owned(), kind: kind.to_owned(), ..ObjectId::default() };
        let from = self.records.range::<ObjectId, _>(first..).map(|(id, record)| (&**id, record));
        from.take_while(move |(id, _)| id.group == group && id.kind == kind)
    }

    /// The apps that have any.
    pub fn apps(&self) -> impl Iterator<Item = &str> {
        self.apps.keys().map(|app| &**app)
    }

    /// Nothing of an app is asked for any more, for now.
    pub fn disown(&mut self, app: &str) {
        for id in self.apps.get(app).into_iter().flatten() {
            if let Some(record) = self.records.get_mut(id) {
                record.wanted = Wanted::No;
            }
        }
    }

    /// What an app does not ask for and was never made leaves no trace.
    pub fn forget_ghosts(&mut self, app: &str) {
        let is_ghost = |record: &Record| record.wanted == Wanted::No && record.uid.is_empty();
        let ghosts: Vec<ObjectId> = self.of_app(app).filter(|(_, record)| is_ghost(record)).map(|(id, _)| id.clone()).collect();
        ghosts.iter().for_each(|id| self.remove(id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(kind: &str, name: &str) -> ObjectId {
        ObjectId { kind: kind.into(), name: name.into(), ..ObjectId::default() }
    }

    fn names<'a>(of: impl Iterator<Item = (&'a ObjectId, &'a Record)>) -> String {
        of.map(|(id, _)| id.name.as_str()).collect::<Vec<_>>().join(" ")
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
        objects.assign(&id("ConfigMap", "made"), "shop").uid = "u".into();
        objects.assign(&id("ConfigMap", "asked"), "shop").wanted = Wanted::Pending;
        objects.assign(&id("ConfigMap", "ghost"), "shop");
        objects.assign(&id("ConfigMap", "other"), "blog");
        objects.forget_ghosts("shop");
        assert_eq!(names(objects.iter()), "asked made other");
    }
}
