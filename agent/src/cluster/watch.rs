//! What is ours in the cluster, by our label: once, or as it changes. Of each object a record is told and the rest dropped;
//! whoever listens decides what to keep and what to do.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use jiff::Timestamp;
use overlays::object::ObjectId;
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::Cluster;
use super::discovery::{Resource, parse};
use super::glance::Glance;
use super::refusal::Refusal;
use super::stream::{Feed, Told};
use super::wire::escaped;
use crate::api::PART_OF_LABEL;
use crate::drift::{self, Print};
use crate::health::{Health, health, health_of_text};

/// How many kinds are listed at once: each takes a connection.
const AT_ONCE: usize = 4;

/// What is told of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Which one.
    pub id: ObjectId,
    /// This very object.
    pub uid: String,
    /// This state of it.
    pub resource_version: String,
    /// Counts the changes of its spec; 0 for kinds that don't.
    pub generation: i64,
    /// The app that it belongs to, by its label.
    pub app: String,
    /// How it does, at the time of the event.
    pub health: Health,
    /// Our fields in it, to be told from what they were.
    pub print: Print,
    /// The raw hash, see [`Glance`].
    pub raw: u64,
}

/// An object as the server wrote it, at which nobody has looked but for a glance.
#[derive(Clone, Debug)]
pub struct Sight {
    /// Its kind, in the version that is watched.
    pub kind: Arc<Resource>,
    /// What a glance tells.
    pub glance: Glance,
    /// The text: who changed it must be known before it is healed.
    pub text: Box<str>,
}

impl Sight {
    /// Which one it is.
    pub fn id(&self) -> ObjectId {
        self.kind.id(&self.glance.namespace, &self.glance.name)
    }

    /// All that is kept of it. Its tree (twelve times its text) lives no longer than this.
    ///
    /// # Errors
    /// It is no object.
    pub fn record(&self, now: Timestamp) -> Result<Record, Refusal> {
        record(&self.kind, &self.glance, &self.text, now)
    }

    /// How it fares, where nothing else of it has changed: less work than a record.
    pub fn health(&self, now: Timestamp) -> Health {
        health_of_text(&self.kind.api_version(), &self.kind.kind, &self.text, now)
    }
}

/// What a watch tells.
#[derive(Clone, Debug)]
pub enum Seen {
    /// The state of a kind is told from the beginning, for some of what happened may have been missed:
    /// what is not told before `Whole` does not exist.
    Restarted(Resource),
    /// An object as it is now.
    Object(Sight),
    /// An object that is gone, in its last state.
    Deleted(Record),
    /// All of a kind that exists has been told, and what changes will be.
    Whole(Resource),
    /// The definition of a custom kind has changed, as `widgets.example.com`. Objects may read otherwise from now on, and no event says so.
    Redefined(String),
    /// Nothing of a kind can be seen now, and why. It is tried again; `Restarted` and `Whole` follow when it works.
    Blind(Resource, Refusal),
}

/// What is ours, and what of it could not be seen.
#[derive(Clone, Debug, Default)]
pub struct Owned {
    /// Every object that bears our label.
    pub objects: Vec<Record>,
    /// The kinds that could not be listed, and why: nothing may be concluded from not finding an object of them.
    pub unseen: Vec<(Resource, Refusal)>,
}

impl Cluster {
    /// Everything of these kinds that bears the id of our ApplySet. Objects are read one by one; only records are held.
    pub async fn owned(&self, applyset: &str, kinds: &[Resource]) -> Owned {
        let mut owned = Owned::default();
        let mut listed = futures_util::stream::iter(kinds).map(|kind| self.owned_of(applyset, kind)).buffer_unordered(AT_ONCE);
        while let Some((kind, objects)) = listed.next().await {
            match objects {
                Ok(objects) => owned.objects.extend(objects),
                Err(refusal) => owned.unseen.push((kind.clone(), refusal)),
            }
        }
        owned
    }

    async fn owned_of<'a>(&self, applyset: &str, kind: &'a Resource) -> (&'a Resource, Result<Vec<Record>, Refusal>) {
        let mut feed = self.feed(applyset, kind);
        // By id: what changes or goes while the state is told is told again.
        let mut records = HashMap::new();
        loop {
            match feed.next().await {
                Told::Restarted => records.clear(),
                Told::Object { deleted, glance, object } => match record(kind, &glance, &object, Timestamp::now()) {
                    Ok(record) if deleted => drop(records.remove(&record.id)),
                    Ok(record) => drop(records.insert(record.id.clone(), record)),
                    Err(refusal) => return (kind, Err(refusal)),
                },
                Told::Whole => return (kind, Ok(records.into_values().collect())),
                Told::Blind(Refusal::NotFound { .. }) => return (kind, Ok(Vec::new())),
                Told::Blind(refusal) => return (kind, Err(refusal)),
            }
        }
    }

    fn feed(&self, applyset: &str, kind: &Resource) -> Feed {
        let selector = format!("labelSelector={}", escaped(&format!("{PART_OF_LABEL}={applyset}")));
        Feed::new(self.wire.clone(), kind.collection(None), selector)
    }

    /// Tells all that happens to the objects of one kind that bear the id of our ApplySet, until nobody listens.
    pub async fn watch(&self, applyset: &str, kind: Resource, listener: mpsc::Sender<Seen>) {
        let mut feed = self.feed(applyset, &kind);
        let kind = Arc::new(kind);
        loop {
            let told = tokio::select! {
                told = feed.next() => told,
                () = listener.closed() => return,
            };
            if listener.send(seen(&kind, told)).await.is_err() {
                return;
            }
        }
    }
}

impl Cluster {
    /// Tells when the definition of a custom kind changes, until nobody listens. Where definitions may not be read, nothing is told.
    async fn redefinitions(&self, listener: mpsc::Sender<Seen>) {
        let mut feed = Feed::new(self.wire.clone(), DEFINITIONS.to_owned(), String::new()).metadata_only();
        let mut generations = HashMap::new();
        loop {
            let told = tokio::select! {
                told = feed.next() => told,
                () = listener.closed() => return,
            };
            let Told::Object { deleted: false, object, .. } = told else { continue };
            let Ok(Definition { metadata }) = parse::<Definition>(object.as_bytes()) else { continue };
            let before = generations.insert(metadata.name.clone(), metadata.generation);
            if before.is_none_or(|before| before == metadata.generation) {
                continue;
            }
            tokio::spawn(redefined_later(metadata.name.clone(), listener.clone()));
            if listener.send(Seen::Redefined(metadata.name)).await.is_err() {
                return;
            }
        }
    }
}

/// How long the API server may go on to serve objects by the old definition; it is a matter of milliseconds on one that has nothing to do.
const SETTLED: Duration = Duration::from_secs(3);

/// Objects that were listed at once may have been read by the old definition.
async fn redefined_later(definition: String, listener: mpsc::Sender<Seen>) {
    tokio::select! {
        () = tokio::time::sleep(SETTLED) => drop(listener.send(Seen::Redefined(definition)).await),
        () = listener.closed() => {}
    }
}

/// Where the definitions of custom kinds are.
const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

#[derive(Deserialize)]
struct Definition {
    metadata: DefinitionMetadata,
}

#[derive(Deserialize)]
struct DefinitionMetadata {
    name: String,
    #[serde(default)]
    generation: i64,
}

/// Whether a kind may have been defined by a CustomResourceDefinition: built-in groups have no dot, or are of Kubernetes' own domain.
fn is_custom(kind: &Resource) -> bool {
    kind.group.contains('.') && !kind.group.ends_with(".k8s.io")
}

fn seen(kind: &Arc<Resource>, told: Told) -> Seen {
    let its = || Resource::clone(kind);
    match told {
        Told::Restarted => Seen::Restarted(its()),
        Told::Whole => Seen::Whole(its()),
        Told::Blind(refusal) => Seen::Blind(its(), refusal),
        Told::Object { deleted: false, glance, object } => Seen::Object(Sight { kind: kind.clone(), glance, text: object }),
        Told::Object { deleted: true, glance, object } => match record(kind, &glance, &object, Timestamp::now()) {
            Ok(record) => Seen::Deleted(record),
            Err(refusal) => Seen::Blind(its(), refusal),
        },
    }
}

fn record(kind: &Resource, glance: &Glance, object: &str, now: Timestamp) -> Result<Record, Refusal> {
    let mut live: Value = parse(object.as_bytes())?;
    // Pages leave these out of their items, and health is judged by them.
    let fields = live.as_object_mut().ok_or_else(|| Refusal::Other { code: 200, message: "an object that is no map".to_owned() })?;
    fields.insert("apiVersion".to_owned(), kind.api_version().into());
    fields.insert("kind".to_owned(), kind.kind.clone().into());
    Ok(Record {
        id: kind.id(&glance.namespace, &glance.name),
        uid: glance.uid.clone(),
        resource_version: glance.version.clone(),
        generation: glance.generation,
        app: glance.app.clone(),
        health: health(&live, now),
        print: drift::print(&live),
        raw: glance.raw,
    })
}

/// The watches of one ApplySet: one for each kind, as long as this lives.
pub struct Watches {
    cluster: Cluster,
    applyset: String,
    listener: mpsc::Sender<Seen>,
    running: HashMap<Resource, JoinHandle<()>>,
    definitions: Option<JoinHandle<()>>,
}

impl Watches {
    /// None yet. What they see goes to `listener`.
    pub fn new(cluster: Cluster, applyset: String, listener: mpsc::Sender<Seen>) -> Self {
        Self { cluster, applyset, listener, running: HashMap::new(), definitions: None }
    }

    /// Watches just these kinds: starts what is missing, ends what is no longer wanted, leaves the rest undisturbed.
    pub fn cover(&mut self, kinds: &[Resource]) {
        self.running.retain(|kind, task| {
            let wanted = kinds.contains(kind);
            if !wanted {
                task.abort();
            }
            wanted
        });
        for kind in kinds {
            if !self.running.contains_key(kind) {
                self.running.insert(kind.clone(), self.start(kind.clone()));
            }
        }
        if self.definitions.is_none() && kinds.iter().any(is_custom) {
            let (cluster, listener) = (self.cluster.clone(), self.listener.clone());
            self.definitions = Some(tokio::spawn(async move { cluster.redefinitions(listener).await }));
        }
    }

    /// Tells a custom kind from the beginning, for its definition, as `widgets.example.com`, has changed.
    pub fn restart(&mut self, definition: &str) {
        let defined = |kind: &Resource| is_custom(kind) && format!("{}.{}", kind.plural, kind.group) == definition;
        let kinds: Vec<Resource> = self.running.keys().filter(|kind| defined(kind)).cloned().collect();
        for kind in kinds {
            let task = self.start(kind.clone());
            self.running.insert(kind, task).iter().for_each(JoinHandle::abort);
        }
    }

    fn start(&self, kind: Resource) -> JoinHandle<()> {
        let (cluster, applyset, listener) = (self.cluster.clone(), self.applyset.clone(), self.listener.clone());
        tokio::spawn(async move { cluster.watch(&applyset, kind, listener).await })
    }
}

impl Drop for Watches {
    fn drop(&mut self) {
        self.running.values().chain(&self.definitions).for_each(JoinHandle::abort);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::glance::glance;

    fn sight(text: &str) -> Sight {
        let (group, version, kind, plural) = ("apps".into(), "v1".into(), "Deployment".into(), "deployments".into());
        let kind = Arc::new(Resource { group, version, kind, plural, namespaced: true });
        Sight { kind, glance: glance(text).unwrap(), text: text.into() }
    }

    #[test]
    fn a_record_is_what_is_kept_of_an_object() {
        let text = r#"{"metadata":{"name":"api","namespace":"web","uid":"u","resourceVersion":"7","generation":2,"labels":{"plimsoll.dev/app":"shop"}},"spec":{}}"#;
        let record = sight(text).record(Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!((record.id.to_string().as_str(), record.app.as_str(), record.generation), ("Deployment web/api", "shop", 2));
        assert!(!record.health.is_current(), "nothing has looked at it yet");
    }
}
