//! The objects of a tree while steps change them, found by identity without looking at all of them.
//!
//! It must not know the steps.

use std::collections::HashMap;

use crate::object::{Id, Object};
use crate::select::Selector;
use crate::shared;

/// Objects in order of appearance.
#[derive(Debug, Default)]
pub(crate) struct Objects {
    list: Vec<Object>,
    /// Where the present identities are; made when needed, forgotten when a step may change identities.
    ids: Option<HashMap<Box<str>, usize>>,
    /// The targets that selected none of them, until they are told.
    missed: Vec<Selector>,
    /// Whether a step wrote where it may have given two objects the same identity, which kustomize only looks for now and then.
    is_doubtful: bool,
    /// Where the present and past names are; names are only added, so an entry may be out of date and must be checked.
    names: Option<HashMap<Box<str>, Vec<usize>>>,
}

impl Objects {
    pub(crate) fn list(&self) -> &[Object] {
        &self.list
    }

    /// All objects, to be changed in any way.
    pub(crate) fn list_mut(&mut self) -> &mut Vec<Object> {
        self.ids = None;
        self.names = None;
        &mut self.list
    }

    /// Remembers that a target selected none of them.
    pub(crate) fn miss(&mut self, target: &Selector) {
        self.missed.push(target.clone());
    }

    /// The targets that selected nothing since this was asked last.
    pub(crate) fn take_missed(&mut self) -> Vec<Selector> {
        std::mem::take(&mut self.missed)
    }

    pub(crate) fn into_list(self) -> Vec<Object> {
        self.list
    }

    pub(crate) fn get(&self, at: usize) -> Option<&Object> {
        self.list.get(at)
    }

    /// Adds an object.
    ///
    /// # Errors
    /// One with the same identity is there already; the new one is given back with the place of the other.
    pub(crate) fn push(&mut self, object: Object) -> Result<(), (Box<Object>, usize)> {
        let list = &self.list;
        let ids = self.ids.get_or_insert_with(|| list.iter().enumerate().map(|(at, object)| (object.now().key(), at)).collect());
        let key = object.now().key();
        if let Some(at) = ids.get(&key) {
            return Err((Box::new(object), *at));
        }
        ids.insert(key, self.list.len());
        if let Some(names) = &mut self.names {
            index_names(names, &object, self.list.len());
        }
        self.list.push(object);
        Ok(())
    }

    /// The objects that have or had an identity.
    pub(crate) fn with_id(&mut self, id: &Id<'_>) -> Vec<usize> {
        let found = self.named(id.name);
        found.into_iter().filter(|at| self.list.get(*at).is_some_and(|object| object.ids().any(|have| have == *id))).collect()
    }

    /// The objects that have or had a name.
    pub(crate) fn named(&mut self, name: &str) -> Vec<usize> {
        let list = &self.list;
        let names = self.names.get_or_insert_with(|| {
            let mut names = HashMap::new();
            list.iter().enumerate().for_each(|(at, object)| index_names(&mut names, object, at));
            names
        });
        names.get(name).cloned().unwrap_or_default()
    }

    /// Puts another object in the place of one.
    pub(crate) fn replace(&mut self, at: usize, object: Object) {
        if let Some(names) = &mut self.names {
            index_names(names, &object, at);
        }
        self.ids = None;
        if let Some(slot) = self.list.get_mut(at) {
            *slot = object;
        }
    }

    /// Changes one object.
    pub(crate) fn change<T>(&mut self, at: usize, change: impl FnOnce(&mut Object) -> T) -> Option<T> {
        let object = self.list.get_mut(at)?;
        let outcome = change(object);
        self.ids = None;
        if let Some(names) = &mut self.names {
            index_names(names, object, at);
        }
        Some(outcome)
    }

    /// Lets values that stand in several fields of an object follow the one that a step changed; see [`shared::settle`].
    pub(crate) fn settle(&mut self, replaces_lists: bool) {
        let sharing = self.list.iter_mut().filter(|object| !object.history.shared.is_empty());
        sharing.for_each(|object| shared::settle(object, replaces_lists));
    }

    /// Removes the objects that a step emptied; until then they keep their places.
    pub(crate) fn drop_empty(&mut self) {
        if self.list.iter().any(Object::is_gone) {
            self.list_mut().retain(|object| !object.is_gone());
        }
    }

    /// Two objects with the same identity, if there are any.
    pub(crate) fn duplicate(&self) -> Option<(&Object, &Object)> {
        duplicate(&self.list)
    }

    /// Remembers that identities may have been written.
    pub(crate) fn doubt(&mut self) {
        self.is_doubtful = true;
    }

    /// Whether two objects may have the same identity.
    pub(crate) fn is_doubtful(&self) -> bool {
        self.is_doubtful
    }
}

/// Two objects with the same identity, if there are any.
pub(crate) fn duplicate(objects: &[Object]) -> Option<(&Object, &Object)> {
    let mut seen: HashMap<Id<'_>, &Object> = HashMap::with_capacity(objects.len());
    let there = |object: &&Object| !object.is_gone();
    objects.iter().filter(there).find_map(|object| seen.insert(object.now(), object).map(|other| (other, object)))
}

fn index_names(names: &mut HashMap<Box<str>, Vec<usize>>, object: &Object, at: usize) {
    for id in object.ids() {
        match names.get_mut(id.name) {
            Some(found) if found.contains(&at) => {}
            Some(found) => found.push(at),
            None => {
                names.insert(id.name.into(), vec![at]);
            }
        }
    }
}
