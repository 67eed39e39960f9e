//! Keeps a Sync's baselines in a Secret beside it: the hashes are of live values, those of Secrets too, so whoever may not read these must not
//! be able to guess at them. It does not know what the bytes mean.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::Cluster;
use super::discovery::parse;
use super::refusal::Refusal;
use super::wire::{APPLY, Call, escaped};
use crate::api::{FIELD_MANAGER, Sync};

/// The key in the Secret.
const KEY: &str = "baselines";
/// The longest name of a Sync that is put into the Secret's name as it is; a name takes 253 characters.
const LONGEST: usize = 200;

#[derive(Deserialize)]
struct Kept {
    #[serde(default)]
    data: Data,
}

#[derive(Default, Deserialize)]
struct Data {
    #[serde(default)]
    baselines: String,
}

impl Cluster {
    /// What was kept for a Sync; empty where there is nothing or it can't be read.
    ///
    /// # Errors
    /// Whatever the server refuses.
    pub async fn baselines(&self, sync: &Sync) -> Result<Vec<u8>, Refusal> {
        match self.wire.call(&Call::get(path(sync))).await {
            Ok(answer) => {
                Ok(parse::<Kept>(&answer.body).ok().and_then(|kept| STANDARD.decode(kept.data.baselines).ok()).unwrap_or_default())
            }
            Err(Refusal::NotFound { .. }) => Ok(Vec::new()),
            Err(refusal) => Err(refusal),
        }
    }

    /// Keeps `bytes` for a Sync, in the place of what was there. They go when the Sync does.
    ///
    /// # Errors
    /// Whatever the server refuses.
    pub async fn keep_baselines(&self, sync: &Sync, bytes: &[u8]) -> Result<(), Refusal> {
        let metadata = &sync.metadata;
        let owner = json!([{"apiVersion": "plimsoll.dev/v1alpha1", "kind": "Sync", "name": metadata.name, "uid": metadata.uid}]);
        let body = json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "plimsoll.dev/baselines",
            "metadata": {"name": name(sync), "namespace": metadata.namespace, "ownerReferences": owner},
            "data": {KEY: STANDARD.encode(bytes)},
        });
        let path = format!("{}?fieldManager={FIELD_MANAGER}&force=true", path(sync));
        self.wire.call(&Call::new(Method::PATCH, path).body(APPLY, &body)?).await.map(drop)
    }
}

fn path(sync: &Sync) -> String {
    format!("/api/v1/namespaces/{}/secrets/{}", escaped(sync.metadata.namespace.as_deref().unwrap_or_default()), name(sync))
}

fn name(sync: &Sync) -> String {
    let name = sync.metadata.name.as_deref().unwrap_or_default();
    if name.len() <= LONGEST {
        return format!("plimsoll-baselines-{name}");
    }
    let digest: String = Sha256::digest(name).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("plimsoll-baselines-{digest}")
}
