//! `plimsoll dev DIR`: save a file, and the cluster of the kubeconfig follows.
//!
//! It is the agent, for one Sync whose repository is a directory on this machine; agents in the cluster leave such Syncs alone.

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Patch, PatchParams};
use kube::runtime::wait::{await_condition, conditions};
use kube::{Api, CustomResourceExt};

use crate::agent::{self, Key};
use crate::api::{FIELD_MANAGER, ForgeSpec, RemoteBasesSpec, Sync, SyncSpec};
use crate::cli::{Failure, RemoteArgs};
use crate::cluster;
use crate::config::{AgentConfig, ClusterConfig};
use crate::pace::Pace;

/// How the URL of a Sync begins whose repository is a directory on the machine of its agent.
pub const SCHEME: &str = "dir://";

/// How long the API server may take to serve the definition of Sync.
const ESTABLISHED: Duration = Duration::from_secs(30);

/// Follows `dir` until Ctrl-C. What was applied stays.
///
/// # Errors
/// The directory is none, or the cluster can't be used.
pub(crate) async fn run(dir: &Path, cluster: &ClusterConfig, namespace: &str, remote: &RemoteArgs) -> Result<(), Failure> {
    let dir = std::fs::canonicalize(dir).map_err(|error| format!("{}: {error}; name a directory to follow", dir.display()))?;
    let key = Key { namespace: namespace.to_owned(), name: sync_name(&dir) };
    let client = cluster::connect(cluster).await?;
    let apply = PatchParams::apply(FIELD_MANAGER).force();
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    definitions.patch(Sync::crd_name(), &apply, &Patch::Apply(Sync::crd())).await?;
    let established = await_condition(definitions, Sync::crd_name(), conditions::is_crd_established());
    tokio::time::timeout(ESTABLISHED, established)
        .await
        .map_err(|_| "the API server does not serve the definition of Sync after 30 s")??;
    let sync = Sync::new(&key.name, spec(&dir, remote));
    Api::<Sync>::namespaced(client, namespace).patch(&key.name, &apply, &Patch::Apply(sync)).await?;
    _ = writeln!(std::io::stderr(), "Following {} as Sync {key}; Ctrl-C ends it. What was applied stays.", dir.display());
    agent::follow_all(config(&key, cluster, remote), Some(key), Pace::new(Instant::now())).await
}

fn spec(dir: &Path, remote: &RemoteArgs) -> SyncSpec {
    let forge = ForgeSpec { kind: Some("none".to_owned()), ..ForgeSpec::default() };
    let remote_bases = remote.hosts().map(|hosts| RemoteBasesSpec { hosts: hosts.to_vec() });
    SyncSpec {
        remote_bases,
        url: format!("{SCHEME}{}", dir.display()),
        forge: Some(forge),
        poll: Some("5m".to_owned()),
        ..SyncSpec::default()
    }
}

fn config(key: &Key, cluster: &ClusterConfig, remote: &RemoteArgs) -> AgentConfig {
    AgentConfig {
        cluster: cluster.clone(),
        identity: format!("dev-{}", std::process::id()),
        namespace: Some(key.namespace.clone()),
        cache_dir: remote.kept().join("dev"),
        listen: ([127, 0, 0, 1], 0).into(),
        hook_listen: None,
        cluster_name: Some("dev".to_owned()),
        audit: std::time::Duration::ZERO,
        allow_local: false,
    }
}

/// `dev-` and the directory's name as a Kubernetes name.
fn sync_name(dir: &Path) -> String {
    let name = dir.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
    let name: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(40).collect();
    format!("dev-{}", name.trim_matches('-')).trim_end_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_gives_the_sync_a_name_that_kubernetes_takes() {
        let check = |dir: &str, name: &str| assert_eq!(sync_name(Path::new(dir)), name);
        check("/home/me/My Fleet_2", "dev-my-fleet-2");
        check("/", "dev");
        check("/x/---", "dev");
    }
}
