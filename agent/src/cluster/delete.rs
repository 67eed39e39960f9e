//! Deletes one object, if it is ours: the mark is read from the live object, and the delete holds only for the state in which it was read.

use std::time::{Duration, Instant};

use http::Method;
use overlays::object::ObjectId;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Cluster;
use super::discovery::{Resource, parse};
use super::refusal::Refusal;
use super::wire::{Call, JSON, METADATA, backoff};
use crate::api::PART_OF_LABEL;

/// How often a delete is tried again when the object changed between the look and the delete.
const RACES: u32 = 8;

/// What is to be deleted.
#[derive(Clone, Debug)]
pub struct Deletion<'a> {
    /// How its kind is addressed.
    pub resource: &'a Resource,
    /// Which one.
    pub id: &'a ObjectId,
    /// This very object, where that is known: one made anew under its name is left alone.
    pub uid: Option<&'a str>,
    /// The id of our ApplySet, which it must bear.
    pub applyset: &'a str,
    /// What becomes of what it owns.
    pub propagation: Propagation,
}

/// What becomes of the objects that an object owns, when it is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// They are deleted after it.
    Background,
    /// They are deleted before it: it is gone when they are.
    Foreground,
}

/// What a delete came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deleted {
    /// There is no such object any more.
    Gone,
    /// It is being deleted: finalizers, or a grace period.
    Going,
}

/// What is looked at before a delete.
#[derive(Deserialize)]
struct Live {
    metadata: Metadata,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    uid: String,
    resource_version: String,
    deletion_timestamp: Option<String>,
    #[serde(default)]
    finalizers: Vec<String>,
    #[serde(default)]
    labels: std::collections::HashMap<String, String>,
}

impl Cluster {
    /// Deletes an object that bears our mark.
    ///
    /// # Errors
    /// [`Refusal::NotOurs`] for one that does not; whatever the server refuses.
    pub async fn delete(&self, deletion: &Deletion<'_>) -> Result<Deleted, Refusal> {
        for race in 0..RACES {
            let Some(live) = self.look(deletion.resource, deletion.id).await? else { return Ok(Deleted::Gone) };
            check(&live.metadata, deletion)?;
            if live.metadata.deletion_timestamp.is_some() {
                return Ok(Deleted::Going);
            }
            match self.delete_seen(deletion, &live.metadata).await {
                Err(Refusal::Conflict { .. }) => tokio::time::sleep(backoff(race)).await,
                deleted => return deleted,
            }
        }
        Err(Refusal::Conflict { owners: Vec::new(), message: format!("{RACES} times in a row") })
    }

    /// Deletes an object that bears our mark and waits until it is gone.
    ///
    /// # Errors
    /// As [`Cluster::delete`]; [`Refusal::StillThere`] with what holds it, after the deadline.
    pub async fn delete_and_wait(&self, deletion: &Deletion<'_>, deadline: Duration) -> Result<(), Refusal> {
        let started = Instant::now();
        let mut looks = 0;
        let mut state = self.delete(deletion).await?;
        while state == Deleted::Going {
            tokio::time::sleep(backoff(looks).min(Duration::from_secs(1))).await;
            looks += 1;
            state = match self.look(deletion.resource, deletion.id).await? {
                None => Deleted::Gone,
                // Somebody made it anew meanwhile: that one was not asked for.
                Some(live) if live.metadata.deletion_timestamp.is_none() => Deleted::Gone,
                Some(live) if started.elapsed() > deadline => return Err(still_there(&live.metadata, deadline)),
                Some(_) => Deleted::Going,
            };
        }
        Ok(())
    }

    /// Whether an object is gone, without deleting anything.
    ///
    /// # Errors
    /// Whatever the server refuses.
    pub async fn is_gone(&self, resource: &Resource, id: &ObjectId) -> Result<bool, Refusal> {
        Ok(self.look(resource, id).await?.is_none())
    }

    async fn look(&self, resource: &Resource, id: &ObjectId) -> Result<Option<Live>, Refusal> {
        match self.wire.call(&Call::get(resource.object(&id.namespace, &id.name)).accept(METADATA)).await {
            Ok(answer) => parse(&answer.body).map(Some),
            Err(Refusal::NotFound { .. } | Refusal::NamespaceMissing { .. }) => Ok(None),
            Err(refusal) => Err(refusal),
        }
    }

    async fn delete_seen(&self, deletion: &Deletion<'_>, seen: &Metadata) -> Result<Deleted, Refusal> {
        let options = json!({
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": match deletion.propagation {
                Propagation::Background => "Background",
                Propagation::Foreground => "Foreground",
            },
            "preconditions": {"uid": seen.uid, "resourceVersion": seen.resource_version},
        });
        let path = deletion.resource.object(&deletion.id.namespace, &deletion.id.name);
        let answer = match self.wire.call(&Call::new(Method::DELETE, path).body(JSON, &options)?).await {
            Ok(answer) => answer,
            Err(Refusal::NotFound { .. }) => return Ok(Deleted::Gone),
            Err(refusal) => return Err(refusal),
        };
        // A `Status` says that it is gone. The object itself may mean both: some kinds answer with their last state.
        let answer: Value = parse(&answer.body)?;
        if answer["kind"] == "Status" || self.look(deletion.resource, deletion.id).await?.is_none() {
            return Ok(Deleted::Gone);
        }
        Ok(Deleted::Going)
    }
}

fn check(live: &Metadata, deletion: &Deletion<'_>) -> Result<(), Refusal> {
    match live.labels.get(PART_OF_LABEL) {
        Some(owner) if owner == deletion.applyset => {}
        Some(owner) => {
            return Err(Refusal::NotOurs { message: format!("its label {PART_OF_LABEL} is {owner}, not {}", deletion.applyset) });
        }
        None => return Err(Refusal::NotOurs { message: format!("it has no label {PART_OF_LABEL}") }),
    }
    match deletion.uid {
        Some(uid) if uid != live.uid => Err(Refusal::NotOurs { message: "it was made anew by somebody since it was last seen".to_owned() }),
        _ => Ok(()),
    }
}

fn still_there(live: &Metadata, deadline: Duration) -> Refusal {
    let held =
        if live.finalizers.is_empty() { "its grace period".to_owned() } else { format!("the finalizers {}", live.finalizers.join(", ")) };
    Refusal::StillThere { message: format!("held for more than {} s by {held}", deadline.as_secs()) }
}
