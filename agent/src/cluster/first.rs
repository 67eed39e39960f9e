//! Reads the first Sync as it was installed, makes it, and notes that it was made. What is to be made is decided by `first`.

use http::Method;
use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::{Value, json};

use super::Cluster;
use super::discovery::parse;
use super::refusal::{Conflict, Refusal};
use super::syncs;
use super::wire::{APPLY, Answer, Call, MERGE, escaped};
use crate::api::FIELD_MANAGER;
use crate::first::{MADE_ANNOTATION, NAME, Wanted};
use crate::install::NAMESPACE;

/// The field manager of the first Sync. It is not that of the agent's other writes: an apply takes away what its manager said before and no
/// longer says, and the inventory on the same Sync must stay.
const INSTALLER: &str = "plimsoll-install";

impl Cluster {
    /// The ConfigMap with the first Sync; `None` if none was installed.
    ///
    /// # Errors
    /// Whatever the server refuses.
    pub async fn first_sync(&self) -> Result<Option<ConfigMap>, Refusal> {
        match self.wire.call(&Call::get(path())).await {
            Ok(answer) => parse(&answer.body).map(Some),
            Err(Refusal::NotFound { .. }) => Ok(None),
            Err(refusal) => Err(refusal),
        }
    }

    /// Makes or changes the Sync, and returns what was taken from others for that.
    ///
    /// Whoever installs has the last word on the fields that the installation names; of all others a Sync keeps what its users said.
    ///
    /// # Errors
    /// [`Refusal::NoKind`] while the definition of Sync is not served; whatever else the server refuses.
    pub async fn make_first_sync(&self, wanted: &Wanted) -> Result<Vec<Conflict>, Refusal> {
        match self.apply_first_sync(wanted, false).await {
            // First without force, so that the server names whose fields these are.
            Err(Refusal::Conflict { owners, .. }) if !owners.is_empty() => self.apply_first_sync(wanted, true).await.map(|_| owners),
            Err(Refusal::NotFound { .. }) => {
                Err(Refusal::NoKind { api_version: syncs::resource().api_version(), kind: syncs::resource().kind })
            }
            made => made.map(|_| Vec::new()),
        }
    }

    async fn apply_first_sync(&self, wanted: &Wanted, force: bool) -> Result<Answer, Refusal> {
        let object = syncs::resource().object(NAMESPACE, &wanted.name);
        let path = format!("{object}?fieldManager={INSTALLER}&fieldValidation=Strict&force={force}");
        self.wire.call(&Call::new(Method::PATCH, path).body(APPLY, &wanted.sync)?).await
    }

    /// Notes on the ConfigMap that a Sync was made of its text.
    ///
    /// # Errors
    /// Whatever the server refuses.
    pub async fn note_first_sync(&self, wanted: &Wanted) -> Result<(), Refusal> {
        let body: Value = json!({"metadata": {"annotations": {MADE_ANNOTATION: wanted.digest}}});
        let path = format!("{}?fieldManager={FIELD_MANAGER}", path());
        self.wire.call(&Call::new(Method::PATCH, path).body(MERGE, &body)?).await.map(drop)
    }
}

fn path() -> String {
    format!("/api/v1/namespaces/{}/configmaps/{}", escaped(NAMESPACE), escaped(NAME))
}
