//! Reads the Syncs and writes what became of them. It does not know what a status means.

use std::collections::BTreeMap;

use http::Method;
use serde_json::json;
use tokio::sync::mpsc;

use super::Cluster;
use super::discovery::{Resource, parse};
use super::refusal::Refusal;
use super::stream::{Feed, Told};
use super::wire::{Call, JSON_PATCH, MERGE};
use crate::api::{FIELD_MANAGER, Sync, SyncStatus};

/// What is told of the Syncs.
#[derive(Clone, Debug)]
pub enum SyncSeen {
    /// All Syncs are told from the beginning: one that is not told before `Whole` does not exist.
    Restarted,
    /// A Sync as it is now.
    Sync(Box<Sync>),
    /// A Sync that is gone, in its last state.
    Deleted(Box<Sync>),
    /// A Sync that can't be read, as what the server calls it, and why.
    Unreadable(String),
    /// All that exist have been told, and what changes will be.
    Whole,
    /// They can't be seen now, and why. It is tried again; `Restarted` and `Whole` follow when it works.
    Blind(Refusal),
}

impl Cluster {
    /// Tells all Syncs and what happens to them, until nobody listens: in one namespace, or in all.
    pub async fn syncs(&self, namespace: Option<&str>, listener: mpsc::Sender<SyncSeen>) {
        let mut feed = Feed::new(self.wire.clone(), resource().collection(namespace), String::new());
        loop {
            let told = tokio::select! {
                told = feed.next() => told,
                () = listener.closed() => return,
            };
            if listener.send(seen(told)).await.is_err() {
                return;
            }
        }
    }

    /// Writes the whole status of a Sync; fields that it does not have are removed. Nothing is written to one made anew under the same name.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] if it is gone, [`Refusal::Invalid`] if it was made anew; whatever else the server refuses.
    pub async fn set_status(&self, sync: &Sync, status: &SyncStatus) -> Result<(), Refusal> {
        // A uid in an apply or a merge is ignored here (the server takes the metadata of what is there), so the patch tests it.
        let patch = json!([
            {"op": "test", "path": "/metadata/uid", "value": sync.metadata.uid},
            {"op": "add", "path": "/status", "value": status},
        ]);
        let path = format!("{}/status?fieldManager={FIELD_MANAGER}", path(sync));
        self.wire.call(&Call::new(Method::PATCH, path).body(JSON_PATCH, &patch)?).await.map(drop)
    }

    /// Sets labels and annotations of a Sync, as an inventory has them; `None` removes one. Others are left alone.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] if it is gone; whatever else the server refuses.
    pub async fn mark_sync(
        &self,
        sync: &Sync,
        labels: &BTreeMap<String, Option<String>>,
        annotations: &BTreeMap<String, Option<String>>,
    ) -> Result<(), Refusal> {
        let body = json!({"metadata": {"uid": sync.metadata.uid, "labels": labels, "annotations": annotations}});
        let path = format!("{}?fieldManager={FIELD_MANAGER}", path(sync));
        self.wire.call(&Call::new(Method::PATCH, path).body(MERGE, &body)?).await.map(drop)
    }
}

pub(super) fn resource() -> Resource {
    let text = str::to_owned;
    Resource { group: text("plimsoll.dev"), version: text("v1alpha1"), kind: text("Sync"), plural: text("syncs"), namespaced: true }
}

fn path(sync: &Sync) -> String {
    let metadata = &sync.metadata;
    resource().object(metadata.namespace.as_deref().unwrap_or_default(), metadata.name.as_deref().unwrap_or_default())
}

fn seen(told: Told) -> SyncSeen {
    match told {
        Told::Restarted => SyncSeen::Restarted,
        Told::Whole => SyncSeen::Whole,
        Told::Blind(refusal) => SyncSeen::Blind(refusal),
        Told::Object { deleted, object, .. } => match parse(object.as_bytes()) {
            Ok(sync) if deleted => SyncSeen::Deleted(Box::new(sync)),
            Ok(sync) => SyncSeen::Sync(Box::new(sync)),
            Err(refusal) => SyncSeen::Unreadable(refusal.to_string()),
        },
    }
}
