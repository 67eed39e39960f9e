//! The manifests that install the agent, and the first Sync for it to make: what `plimsoll install` prints.
//!
//! `deploy/` is a kustomization like any other; it is rendered here by our own renderer, so that what is printed is what is tested.

use kube::CustomResourceExt;
use overlays::path::RepoPath;
use overlays::tree::Fixture;
use overlays::{Cache, Options, Order};
use serde_json::{Value, json};

use crate::api::{NameRef, ReferenceSpec, Sync, SyncSpec};
use crate::cli::Failure;
use crate::first;
use crate::git;
use crate::secret::SafeUrl;

/// The image that the DaemonSet runs unless another is named.
pub const IMAGE: &str = concat!("plimsoll/agent:", env!("CARGO_PKG_VERSION"));

/// Where the agent and its first Sync live.
pub const NAMESPACE: &str = "plimsoll-system";

/// The files of `deploy/`, as they were when this program was built.
const DEPLOY: [(&str, &str); 6] = [
    ("deploy/kustomization.yaml", include_str!("../../deploy/kustomization.yaml")),
    ("deploy/crd.yaml", include_str!("../../deploy/crd.yaml")),
    ("deploy/namespace.yaml", include_str!("../../deploy/namespace.yaml")),
    ("deploy/rbac.yaml", include_str!("../../deploy/rbac.yaml")),
    ("deploy/daemonset.yaml", include_str!("../../deploy/daemonset.yaml")),
    ("deploy/service.yaml", include_str!("../../deploy/service.yaml")),
];

/// The first Sync.
#[derive(Clone, Debug, Default)]
pub struct First {
    /// The name of the Sync.
    pub name: String,
    /// The repository.
    pub url: String,
    /// The directory in it.
    pub path: String,
    /// The branch; none is the repository's default.
    pub branch: Option<String>,
    /// A Secret with credentials.
    pub secret: Option<String>,
    /// How often to ask for news.
    pub poll: Option<String>,
}

impl First {
    fn sync(&self) -> Sync {
        let mut sync = Sync::new(
            &self.name,
            SyncSpec {
                url: self.url.clone(),
                path: self.path.clone(),
                reference: self.branch.clone().map(|branch| ReferenceSpec { branch: Some(branch), ..ReferenceSpec::default() }),
                secret_ref: self.secret.clone().map(|name| NameRef { name }),
                poll: self.poll.clone(),
                ..SyncSpec::default()
            },
        );
        sync.metadata.namespace = Some(NAMESPACE.to_owned());
        sync
    }
}

/// The CustomResourceDefinition of Sync, as YAML.
///
/// # Errors
/// It can't be written as YAML; that does not happen with the types of this program.
pub fn crd() -> Result<String, Failure> {
    Ok(serde_yaml::to_string(&Sync::crd())?)
}

/// Everything to give to `kubectl apply --server-side -f -`: the agent with its `image`, and the first Sync for it to make, if there is one.
///
/// # Errors
/// The values do not fit into YAML, or `deploy/` does not render.
pub fn manifests(image: &str, first: Option<&First>) -> Result<String, Failure> {
    let mut tree = Fixture::default();
    for (path, content) in DEPLOY {
        tree.insert(RepoPath::new(path)?, content.as_bytes().to_vec());
    }
    let mut root = json!({"resources": ["deploy"], "images": [renamed(image)]});
    if let Some(first) = first {
        let sync = serde_yaml::to_string(&first.sync())?;
        tree.insert(RepoPath::new("first-sync.yaml")?, serde_json::to_vec(&first::left(&sync))?);
        root["resources"] = json!(["deploy", "first-sync.yaml"]);
        root["patches"] = json!([rolled_by(&first::digest(&sync))]);
    }
    tree.insert(RepoPath::new("kustomization.yaml")?, serde_json::to_vec(&root)?);
    // The ConfigMap comes before the DaemonSet: an agent looks for it once, when it starts.
    let options = Options { order: Order::Legacy, ..Options::default() };
    Ok(overlays::render(&tree, &RepoPath::root(), &options, &mut Cache::default())?.manifest.to_yaml()?)
}

/// What whoever installs should know and can't read in the manifests.
pub fn notes(first: Option<&First>) -> Vec<String> {
    let Some(First { name, url, secret, .. }) = first else {
        return vec!["no --repo, no Sync: the agent waits until you apply one".to_owned()];
    };
    let mut notes =
        vec![format!("an agent makes the Sync {NAMESPACE}/{name} when it starts; `kubectl get syncs -A` shows what comes of it")];
    if let Some(secret) = secret {
        notes.push(format!("it waits for the Secret {NAMESPACE}/{secret}, if there is none yet"));
    }
    let safe = SafeUrl::new(url);
    if git::is_local(&safe) {
        notes.push(format!("`{safe}` is a path on the agent's machine, which it does not read; write https://, ssh:// or git@host:path"));
    }
    let safe = safe.to_string();
    // The user of an ssh address is no secret.
    if safe != *url && url.starts_with("http") {
        notes.push(format!("whoever may read Syncs can read the credentials in {safe}; put them into a Secret and name it by --secret"));
    }
    notes
}

fn renamed(image: &str) -> Value {
    let (name, tag) = image.rsplit_once(':').filter(|(_, tag)| !tag.contains('/')).unwrap_or((image, "latest"));
    json!({"name": "plimsoll/agent", "newName": name, "newTag": tag})
}

/// Another first Sync is another pod template: the agents start anew and find it.
fn rolled_by(digest: &str) -> Value {
    let annotations = json!({first::POD_ANNOTATION: digest});
    let patch = json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "plimsoll", "namespace": NAMESPACE},
        "spec": {"template": {"metadata": {"annotations": annotations}}},
    });
    json!({"patch": patch.to_string()})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_in_deploy_is_that_of_the_code() {
        let written = include_str!("../../deploy/crd.yaml");
        let yaml: String = written.split_inclusive('\n').filter(|line| !line.starts_with('#')).collect();
        assert_eq!(yaml, crd().unwrap(), "run `plimsoll crd` and put what it prints below the comment of deploy/crd.yaml");
    }

    #[test]
    fn what_is_printed_holds_the_agent_and_the_first_sync() {
        let first = First { name: "fleet".into(), url: "https://git.example/fleet.git".into(), ..First::default() };
        let text = manifests("mirror.example:5000/plimsoll:2", Some(&first)).unwrap();
        for part in [
            "kind: CustomResourceDefinition",
            "kind: DaemonSet",
            "image: mirror.example:5000/plimsoll:2",
            "url: https://git.example/fleet.git",
        ] {
            assert!(text.contains(part), "`{part}` is not in:\n{text}");
        }
    }

    #[test]
    fn without_a_repository_there_is_no_first_sync() {
        let text = manifests(IMAGE, None).unwrap();
        assert!(text.contains("kind: DaemonSet") && !text.contains("kind: ConfigMap") && !text.contains(first::POD_ANNOTATION), "{text}");
    }

    #[test]
    fn another_first_sync_rolls_the_agents_and_comes_before_them() {
        let text = |url: &str| manifests(IMAGE, Some(&First { name: "fleet".into(), url: url.into(), ..First::default() })).unwrap();
        let rolls = |text: &str| text.lines().find(|line| line.contains(first::POD_ANNOTATION)).map(str::to_owned).unwrap();
        assert_ne!(rolls(&text("a")), rolls(&text("b")));
        let a = text("a");
        assert!(a.find("kind: ConfigMap").unwrap() < a.find("kind: DaemonSet").unwrap(), "{a}");
        assert!(a.starts_with("apiVersion: v1\nkind: Namespace\n"), "{a}");
    }
}
