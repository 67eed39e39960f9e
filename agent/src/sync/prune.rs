//! Deletes what no app asks for any more, and keeps the inventory true. What may go is decided in `plan`.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use jiff::Timestamp;
use overlays::object::ObjectId;

use super::{Course, Error, Leader};
use crate::cluster::{Deleted, Deletion, Propagation, Refusal};
use crate::inventory::{self, Inventory};
use crate::plan::{HeldReason, Prune, Word};
use crate::report::{Failure, Held};
use crate::state::{Stage, Uid};

impl Leader {
    /// Deletes what no app asks for any more, once all apps of the revision are known: an object may have moved from one to another.
    pub(super) async fn prune_all(&self, course: &Course, mut prunes: BTreeMap<String, Prune>) -> Result<(), Error> {
        let known = course.errors.is_empty() && course.legs.iter().all(|leg| !leg.due || prunes.contains_key(&leg.app.name));
        if known {
            prunes.extend(self.retired(course));
        }
        for (app, prune) in prunes {
            let prune = if known { self.unclaimed(&app, prune) } else { Prune { waves: Vec::new(), ..prune } };
            self.prune(&app, prune).await?;
        }
        Ok(())
    }

    /// Apps that the repository no longer has: what they own goes, under guards of its own.
    fn retired(&self, course: &Course) -> Vec<(String, Prune)> {
        let still: BTreeSet<&str> = course.legs.iter().map(|leg| leg.app.name.as_str()).collect();
        let mut state = self.state.borrow_mut();
        let owners = state.objects.apps().chain(state.apps.keys().map(String::as_str));
        let retired: BTreeSet<String> = owners.filter(|app| !still.contains(app)).map(str::to_owned).collect();
        let word = Word { app: course.prune_allowed, ..Word::default() };
        let retire = |app: String| {
            // An app without a root is one that is kept only until what it owns is gone.
            state.apps.entry(app.clone()).or_default().root.clear();
            state.asks_for(&app, std::iter::empty());
            let owned = state.owned(&app).map(|(id, _)| id).collect();
            (app, Prune::retiring(owned, still.is_empty(), &word))
        };
        retired.into_iter().map(retire).collect()
    }

    /// What is left to delete of an app: an object that another app has taken over meanwhile stays.
    fn unclaimed(&self, app: &str, mut prune: Prune) -> Prune {
        let state = self.state.borrow();
        prune.waves.iter_mut().for_each(|wave| wave.retain(|id| state.claimed(id, app).is_none()));
        prune.held.iter_mut().for_each(|held| held.ids.retain(|id| state.claimed(id, app).is_none()));
        prune.held.retain(|held| !held.ids.is_empty());
        prune
    }

    /// Deletes wave by wave, and notes what came of it.
    async fn prune(&self, name: &str, prune: Prune) -> Result<(), Error> {
        let held = prune.held.iter().filter(|held| held.reason.waits_for_word()).map(|held| held_words(name, held));
        let held = held.reduce(|all, more| Held { count: all.count + more.count, ..all });
        let (mut deleted, mut failures) = (0, Vec::new());
        for wave in &prune.waves {
            let mut under_way: FuturesUnordered<_> = wave.iter().map(|id| self.delete(id)).collect();
            while let Some(done) = under_way.next().await {
                match done? {
                    (_, Ok(())) => deleted += 1,
                    (id, Err(reason)) => failures.push(Failure { app: name.to_owned(), object: Some(id), place: None, reason }),
                }
            }
        }
        self.pruned(name, deleted, failures, held);
        Ok(())
    }

    fn pruned(&self, name: &str, deleted: usize, failures: Vec<Failure>, held: Option<Held>) {
        let mut state = self.state.borrow_mut();
        let settled = failures.is_empty() && held.is_none();
        if settled && state.objects.of_app(name).next().is_none() {
            // Nothing is left of it: an app that the repository no longer has.
            _ = state.apps.get(name).is_some_and(|app| app.root.is_empty()).then(|| state.apps.remove(name));
        }
        if let Some(app) = state.apps.get_mut(name) {
            app.stage = Stage::Delivered;
            app.deleted = deleted;
            app.retry |= !failures.is_empty();
            app.failures.extend(failures);
            app.held = held;
            app.inputs = app.inputs.take().filter(|_| settled);
        }
        drop(state);
        self.changed.notify_waiters();
    }

    async fn delete(&self, id: &ObjectId) -> Result<(ObjectId, Result<(), String>), Error> {
        let _permit = self.flight.acquire().await.map_err(|_| Error::LeaseLost)?;
        self.may_write()?;
        let uid = self.state.borrow().objects.get(id).map(|record| record.uid.clone()).unwrap_or_default();
        let outcome = match self.try_delete(id, &uid).await {
            // Another hand has taken our mark off, or the kind is no longer served: either way it is not ours to delete.
            Ok(Deleted::Gone) | Err(Refusal::NoKind { .. } | Refusal::NotOurs { .. }) => {
                self.is_gone(id, &uid);
                Ok(())
            }
            Ok(Deleted::Going) => Ok(()),
            Err(refusal) => Err(format!("could not be deleted: {refusal}")),
        };
        Ok((id.clone(), outcome))
    }

    async fn try_delete(&self, id: &ObjectId, uid: &Uid) -> Result<Deleted, Refusal> {
        let resource = self.hands.resolve_any(&id.group, &id.kind).await?;
        let uid = uid.is_known().then(|| uid.to_string());
        let deletion =
            Deletion { resource: &resource, id, uid: uid.as_deref(), applyset: &self.mark.applyset, propagation: Propagation::Background };
        self.hands.delete(&deletion).await
    }

    /// An object is confirmed gone. If Git asks for it, it will be made again.
    pub(crate) fn is_gone(&self, id: &ObjectId, uid: &Uid) {
        if !self.state.borrow_mut().gone(id, uid, Timestamp::now()) {
            self.gone.borrow_mut().push(id.clone());
        }
        self.changed.notify_waiters();
    }

    /// Forget only what is confirmed gone; a kind or namespace that still has something of ours stays.
    pub(super) async fn shrink_inventory(&self) -> Result<(), Error> {
        let _pen = self.pen.lock().await;
        let gone = std::mem::take(&mut *self.gone.borrow_mut());
        if gone.is_empty() {
            return Ok(());
        }
        let shrunk = self.inventory.borrow().clone().without(&gone, self.state.borrow().objects.ids());
        self.write_inventory(shrunk).await
    }

    pub(super) async fn write_inventory(&self, inventory: Inventory) -> Result<(), Error> {
        if *self.inventory.borrow() == inventory {
            return Ok(());
        }
        self.may_write()?;
        let namespace = self.sync.metadata.namespace.as_deref().unwrap_or_default();
        let labels = BTreeMap::from([(inventory::ID_LABEL.to_owned(), Some(self.mark.applyset.clone()))]);
        let annotations = inventory.to_annotations(namespace, env!("CARGO_PKG_VERSION"));
        let annotations = annotations.into_iter().map(|(key, value)| (key, Some(value))).collect();
        self.cluster.mark_sync(&self.sync, &labels, &annotations).await?;
        *self.inventory.borrow_mut() = inventory;
        Ok(())
    }
}

fn held_words(app: &str, held: &crate::plan::Held) -> Held {
    let count = held.ids.len();
    let reason = match held.reason {
        HeldReason::Majority { deletions, owned } => format!("{deletions} of {owned} objects of app {app} would be deleted"),
        HeldReason::EmptyRender => format!("all {count} objects of app {app} would be deleted, for it renders none"),
        HeldReason::GuardedKind | HeldReason::HalfApplied { .. } => format!("app {app}: {held}"),
    };
    Held { app: app.to_owned(), count, reason }
}
