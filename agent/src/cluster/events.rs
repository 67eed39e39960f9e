//! Tells what happened as Kubernetes Events, for `kubectl describe`. It does not decide what is worth telling, only that nothing is told twice.

use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use http::Method;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Value, json};

use super::Cluster;
use super::refusal::Refusal;
use super::wire::{Call, JSON, escaped};
use crate::api::Sync;

/// How long the same words are not repeated. Events live for an hour by default, so there is always one to be seen of what goes on.
const QUIET: Duration = Duration::from_secs(600);
/// How many events are remembered for that.
const REMEMBERED: usize = 256;
/// The longest note that the API takes, in bytes.
const MOST_NOTE: usize = 1024;

/// Whether something is as it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tone {
    /// It is.
    Normal,
    /// Somebody should look.
    Warning,
}

/// What an event is about.
#[derive(Clone, Debug)]
pub struct Regarding<'a> {
    /// Its version and kind.
    pub kind: (&'a str, &'a str),
    /// Its name, namespace, uid and resourceVersion.
    pub metadata: &'a ObjectMeta,
    /// What tells this event from others of the object, where every agent sees the same and one shall tell it.
    pub shared: Option<&'a str>,
}

/// What happened to an object.
#[derive(Clone, Debug)]
pub struct Event<'a> {
    /// Whether somebody should look.
    pub tone: Tone,
    /// One word: `Applied`, `AdmissionDenied`, ...
    pub reason: &'a str,
    /// What we were doing, in one word: `Apply`, `Fetch`, ...
    pub action: &'a str,
    /// What, on what, why, and what to do.
    pub note: &'a str,
}

/// Tells events, each once.
pub struct Events {
    cluster: Cluster,
    instance: String,
    recent: Recent,
}

impl Events {
    /// Told by the agent `instance` (a pod's name).
    pub fn new(cluster: Cluster, instance: &str) -> Self {
        Self { cluster, instance: clip(instance, 128).to_owned(), recent: Recent::default() }
    }

    /// Tells an event of a Sync, unless the same was told a few minutes ago. An event that can't be told is told the next time it happens.
    ///
    /// # Errors
    /// Whatever the server refuses. Nothing else should depend on it.
    pub async fn tell(&mut self, sync: &Sync, event: &Event<'_>) -> Result<(), Refusal> {
        self.tell_of(&Regarding { kind: ("plimsoll.dev/v1alpha1", "Sync"), metadata: &sync.metadata, shared: None }, event).await
    }

    /// The same of any object.
    ///
    /// # Errors
    /// As [`Events::tell`].
    pub async fn tell_of(&mut self, object: &Regarding<'_>, event: &Event<'_>) -> Result<(), Refusal> {
        let key = self.recent.key(&(&object.metadata.uid, event.tone, event.reason, event.note));
        if !self.recent.is_new(key, Instant::now()) {
            return Ok(());
        }
        let namespace = object.metadata.namespace.as_deref().unwrap_or_default();
        let path = format!("/apis/events.k8s.io/v1/namespaces/{}/events", escaped(namespace));
        let told = self.cluster.wire.call(&Call::new(Method::POST, path).body(JSON, &self.body(object, event, key))?).await;
        match told {
            // Its name is taken only if it was told: the answer was lost, or another agent saw the same.
            Ok(_) | Err(Refusal::Conflict { .. }) => Ok(()),
            Err(refusal) => {
                self.recent.forget(key);
                Err(refusal)
            }
        }
    }

    fn body(&self, object: &Regarding<'_>, event: &Event<'_>, key: u64) -> Value {
        let Regarding { kind: (api_version, kind), metadata, shared } = object;
        let name = metadata.name.as_deref().unwrap_or_default();
        let now = Timestamp::now();
        let own = shared.map_or_else(|| format!("{:x}{key:016x}", now.as_microsecond()), str::to_owned);
        json!({
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            // As other events are named: after their object, with something of their own behind.
            "metadata": {"name": format!("{}.{own}", clip(name, 200)), "namespace": metadata.namespace},
            "eventTime": now.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string(),
            "reportingController": "plimsoll.dev/agent",
            "reportingInstance": self.instance,
            "type": match event.tone { Tone::Normal => "Normal", Tone::Warning => "Warning" },
            "reason": event.reason,
            "action": event.action,
            "note": clip(event.note, MOST_NOTE),
            "regarding": {
                "apiVersion": api_version, "kind": kind, "name": name, "namespace": metadata.namespace,
                "uid": metadata.uid, "resourceVersion": metadata.resource_version,
            },
        })
    }
}

/// What was told of late.
#[derive(Default)]
struct Recent {
    hasher: RandomState,
    told: Vec<(u64, Instant)>,
}

impl Recent {
    fn key(&self, what: &impl std::hash::Hash) -> u64 {
        self.hasher.hash_one(what)
    }

    /// Whether it was not told within [`QUIET`]; from now on it counts as told.
    fn is_new(&mut self, key: u64, now: Instant) -> bool {
        self.told.retain(|(_, at)| now.saturating_duration_since(*at) < QUIET);
        if self.told.iter().any(|(told, _)| *told == key) {
            return false;
        }
        if self.told.len() >= REMEMBERED {
            self.told.remove(0);
        }
        self.told.push((key, now));
        true
    }

    fn forget(&mut self, key: u64) {
        self.told.retain(|(told, _)| *told != key);
    }
}

/// At most so many bytes, whole characters only.
fn clip(text: &str, most: usize) -> &str {
    let mut end = text.len().min(most);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_words_are_told_again_only_after_a_while() {
        let (mut recent, start) = (Recent::default(), Instant::now());
        assert!(recent.is_new(1, start) && recent.is_new(2, start));
        assert!(!recent.is_new(1, start + QUIET / 2));
        assert!(recent.is_new(1, start + QUIET));
        recent.forget(1);
        assert!(recent.is_new(1, start + QUIET), "what could not be told is tried again");
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (mut recent, start) = (Recent::default(), Instant::now());
        for key in 0..10_000 {
            recent.is_new(key, start);
        }
        assert_eq!(recent.told.len(), REMEMBERED);
    }

    #[test]
    fn long_notes_are_cut_between_characters() {
        assert_eq!(clip("aüb", 2), "a");
        assert_eq!(clip("aüb", 3), "aü");
        assert_eq!(clip("a", 1024), "a");
    }
}
