//! The manifests that install the agent, and a first Sync: what `plimsoll install` prints.
//!
//! `deploy/` is a kustomization like any other; it is rendered here by our own renderer, so that what is printed is what is tested.

use kube::CustomResourceExt;
use overlays::path::RepoPath;
use overlays::tree::Fixture;
use overlays::{Cache, Options, Order};

use crate::api::{NameRef, ReferenceSpec, Sync, SyncSpec};
use crate::cli::Failure;

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

/// The first Sync, and the image to run.
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
    /// The agent's image.
    pub image: String,
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

/// Everything to give to `kubectl apply --server-side -f -`.
///
/// # Errors
/// The values do not fit into YAML, or `deploy/` does not render.
pub fn manifests(first: &First) -> Result<String, Failure> {
    let (image, tag) = first.image.rsplit_once(':').filter(|(_, tag)| !tag.contains('/')).unwrap_or((&first.image, "latest"));
    let mut tree = Fixture::default();
    for (path, content) in DEPLOY {
        tree.insert(RepoPath::new(path)?, content.as_bytes().to_vec());
    }
    tree.insert(RepoPath::new("sync.yaml")?, serde_yaml::to_string(&first.sync())?.into_bytes());
    let root = serde_json::json!({
        "resources": ["deploy", "sync.yaml"],
        "images": [{"name": "plimsoll/agent", "newName": image, "newTag": tag}],
    });
    tree.insert(RepoPath::new("kustomization.yaml")?, serde_json::to_vec(&root)?);
    let options = Options { order: Order::None, ..Options::default() };
    Ok(overlays::render(&tree, &RepoPath::root(), &options, &mut Cache::default())?.manifest.to_yaml()?)
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
        let first = First {
            name: "fleet".into(),
            url: "https://git.example/fleet.git".into(),
            image: "mirror.example:5000/plimsoll:2".into(),
            ..First::default()
        };
        let text = manifests(&first).unwrap();
        for part in [
            "kind: CustomResourceDefinition",
            "kind: DaemonSet",
            "image: mirror.example:5000/plimsoll:2",
            "url: https://git.example/fleet.git",
        ] {
            assert!(text.contains(part), "`{part}` is not in:\n{text}");
        }
    }
}
