//! When objects arrive in a cluster and leave it, seen by a watch of its own that knows nothing of the agent.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::{StreamExt as _, TryStreamExt as _};
use harness::{Cluster, Result, Trouble};
use kube::api::{Request, WatchEvent, WatchParams};
use serde_json::Value;

/// How long a watch lasts, in seconds; no workload takes longer.
const LASTS: u32 = 1_800;

/// An object that has arrived, or is gone.
#[derive(Clone)]
pub(crate) struct Arrival {
    pub(crate) at: Instant,
    pub(crate) gone: bool,
    pub(crate) object: Arc<Value>,
}

/// A watch of some kinds in a namespace.
pub(crate) struct Arrivals {
    seen: Arc<Mutex<Vec<Arrival>>>,
    _watches: tokio::task::JoinSet<()>,
}

impl Arrivals {
    /// Begins to watch; it sees what is there already, too.
    pub(crate) async fn watch(cluster: &Cluster, namespace: &str, kinds: &[(&str, &str)]) -> Result<Self> {
        let (seen, mut watches) = (Arc::new(Mutex::new(Vec::new())), tokio::task::JoinSet::new());
        for (api_version, kind) in kinds {
            let (api, seen) = (cluster.api(api_version, kind, namespace).await?, Arc::clone(&seen));
            // From resource version 0: all that is there, then what comes.
            let request = Request::new(api.resource_url()).watch(&WatchParams::default().timeout(LASTS), "0")?;
            let events = api.into_client().request_events::<Value>(request).await?.boxed();
            watches.spawn(async move { note(events, &seen).await });
        }
        Ok(Self { seen, _watches: watches })
    }

    /// When the last of `count` different objects for which `wanted` holds had arrived.
    pub(crate) async fn until(&self, count: usize, limit: Duration, wanted: impl Fn(&Value) -> bool) -> Result<Instant> {
        self.nth(count, limit, |arrival| !arrival.gone && wanted(&arrival.object)).await
    }

    /// When the last of `count` different objects for which `wanted` holds was gone.
    pub(crate) async fn until_gone(&self, count: usize, limit: Duration, wanted: impl Fn(&Value) -> bool) -> Result<Instant> {
        self.nth(count, limit, |arrival| arrival.gone && wanted(&arrival.object)).await
    }

    /// Each arrival is looked at once: whoever measures shall not take the processor from who is measured.
    async fn nth(&self, count: usize, limit: Duration, wanted: impl Fn(&Arrival) -> bool) -> Result<Instant> {
        let (end, mut looked, mut known) = (Instant::now() + limit, 0, BTreeSet::new());
        while Instant::now() < end {
            let fresh = self.since(looked);
            looked += fresh.len();
            for arrival in fresh.iter().filter(|arrival| wanted(arrival)) {
                known.insert(format!("{}/{}", arrival.object["kind"], arrival.object["metadata"]["name"]));
                if known.len() == count {
                    return Ok(arrival.at);
                }
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Err(Trouble::new(format!("{} of {count} objects have come or gone within {} s", known.len(), limit.as_secs())))
    }

    /// All that has arrived.
    pub(crate) fn all(&self) -> Vec<Arrival> {
        self.since(0)
    }

    fn since(&self, looked: usize) -> Vec<Arrival> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.get(looked..).unwrap_or_default().to_vec()
    }

    /// Forgets what has arrived so far.
    pub(crate) fn forget(&self) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

async fn note(mut events: futures_util::stream::BoxStream<'_, kube::Result<WatchEvent<Value>>>, seen: &Mutex<Vec<Arrival>>) {
    // A watch that breaks shows as objects that never arrive.
    while let Ok(Some(event)) = events.try_next().await {
        let (gone, object) = match event {
            WatchEvent::Added(object) | WatchEvent::Modified(object) => (false, object),
            WatchEvent::Deleted(object) => (true, object),
            _ => continue,
        };
        let arrival = Arrival { at: Instant::now(), gone, object: Arc::new(object) };
        seen.lock().unwrap_or_else(PoisonError::into_inner).push(arrival);
    }
}
