//! All that is asked of the API server. It carries out what others decided, and says in words why something was refused; it decides nothing.
//!
//! - `wire`: one request, bounded; `refusal`: what a "no" means; `discovery`: how a kind is addressed
//! - `body`, `apply`, `delete`: one object
//! - `stream`, `glance`, `watch`: what is ours, as it is and as it changes, object by object
//! - `baselines`: what is kept for the next process
//! - `lease`: who of several agents writes
//! - `first`, `syncs`, `events`, `facts`: the Sync, as it is installed and as it is, what `kubectl describe` shows, and what the cluster is
//!
//! Neither kube's `Controller` nor its `reflector` is used: they keep every object, of which we need a hundred bytes.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use kube::config::{KubeConfigOptions, Kubeconfig};

use crate::config::ClusterConfig;

mod apply;
mod baselines;
mod body;
mod delete;
mod discovery;
mod events;
mod facts;
mod first;
mod glance;
pub mod lease;
mod pods;
mod refusal;
mod stream;
mod syncs;
mod watch;
mod wire;

pub use apply::{Applied, Applying, Change};
pub use body::{Mark, body};
pub use delete::{Deleted, Deletion, Propagation};
pub use discovery::Resource;
pub use events::{Event, Events, Regarding, Tone};
pub use facts::SecretData;
pub use glance::Glance;
pub use refusal::{Conflict, Fault, Refusal};
pub use syncs::SyncSeen;
pub use watch::{Owned, Record, Seen, Sight, Watches};

use discovery::Discovery;
use lease::Fence;
use wire::Wire;

/// A cluster, as one account sees it. Cheap to clone; clones share connections and what was discovered.
#[derive(Clone)]
pub struct Cluster {
    wire: Wire,
    discovery: Arc<Discovery>,
}

impl Cluster {
    /// A cluster behind a client. See [`tuned`] for how the client should be made.
    pub fn new(client: kube::Client) -> Self {
        Self { wire: Wire::new(client), discovery: Arc::default() }
    }

    /// The same cluster as a ServiceAccount sees it: the API server checks its rights, not ours. We need the right to impersonate it.
    ///
    /// # Errors
    /// [`Refusal::Other`] for a name that no ServiceAccount can have.
    pub fn acting_as(&self, namespace: &str, service_account: &str) -> Result<Self, Refusal> {
        let user = format!("system:serviceaccount:{namespace}:{service_account}");
        let header = HeaderValue::from_str(&user)
            .map_err(|_| Refusal::Other { code: 0, message: format!("{user:?} can't be the name of a ServiceAccount") })?;
        Ok(Self { wire: self.wire.acting_as(header), discovery: Arc::clone(&self.discovery) })
    }

    /// The same cluster, to which nothing is written any more once the lease is lost: each write is checked before it is sent.
    pub fn fenced(&self, fence: Fence) -> Self {
        Self { wire: self.wire.fenced(fence), discovery: Arc::clone(&self.discovery) }
    }

    /// How a kind is addressed; asked for once per group version, and again (at most every few seconds) for a kind that is not in it.
    ///
    /// # Errors
    /// [`Refusal::NoKind`] if the cluster does not serve it.
    pub async fn resolve(&self, api_version: &str, kind: &str) -> Result<Resource, Refusal> {
        self.discovery.resolve(&self.wire, api_version, kind).await
    }

    /// The same for a kind that is on its way, as after its CustomResourceDefinition was applied.
    ///
    /// # Errors
    /// [`Refusal::NoKind`] if it is not there in time.
    pub async fn resolve_within(&self, api_version: &str, kind: &str, within: Duration) -> Result<Resource, Refusal> {
        self.discovery.resolve_within(&self.wire, api_version, kind, within).await
    }

    /// The same for a kind of which only the group is known, as in an inventory: in the version that the server prefers.
    ///
    /// # Errors
    /// [`Refusal::NoKind`] if the cluster does not serve it.
    pub async fn resolve_any(&self, group: &str, kind: &str) -> Result<Resource, Refusal> {
        self.discovery.resolve_any(&self.wire, group, kind).await
    }
}

/// Connects as the configuration says: a kubeconfig, or the Pod's ServiceAccount.
///
/// # Errors
/// There is no usable configuration; in words.
pub async fn connect(config: &ClusterConfig) -> Result<kube::Client, Box<dyn std::error::Error>> {
    // Twice is harmless: the first one stays.
    _ = rustls::crypto::ring::default_provider().install_default();
    let options = KubeConfigOptions { context: config.context.clone(), ..KubeConfigOptions::default() };
    let found = match &config.kubeconfig {
        Some(path) => kube::Config::from_custom_kubeconfig(Kubeconfig::read_from(path)?, &options).await?,
        None if config.context.is_some() => kube::Config::from_kubeconfig(&options).await?,
        None => kube::Config::infer().await.map_err(|error| format!("no cluster to connect to; name one by --kubeconfig: {error}"))?,
    };
    Ok(kube::Client::try_from(tuned(found))?)
}

/// A configuration as this module needs it: no retries below ours (which know deadlines), and no limit on the silence of a watch (which has its own).
pub fn tuned(config: kube::Config) -> kube::Config {
    let mut config = config;
    config.default_retry = false;
    config.read_timeout = None;
    config.disable_compression = true;
    config
}
