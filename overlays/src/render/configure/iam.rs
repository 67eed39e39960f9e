//! The service account that `IAMPolicyGenerator` makes: one of the cluster that may act as one of the cloud.
//!
//! It must not know files, nor any other cloud than the one that kustomize knows.

use std::sync::Arc;

use serde::Deserialize;

use crate::fields::edit;
use crate::object::Object;
use crate::yaml::{Mark, Node};

/// The configuration of the generator.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Account {
    cloud: String,
    kubernetes_service: InCluster,
    service_account: InCloud,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct InCluster {
    name: String,
    namespace: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct InCloud {
    name: String,
    project_id: String,
}

impl Account {
    /// The ServiceAccount, which stands where its configuration does.
    ///
    /// # Errors
    /// The cloud is another one than GKE's.
    pub(super) fn object(&self, configuration: &Object) -> Result<Object, String> {
        if self.cloud != "gke" {
            return Err(format!("the cloud `{}` is unknown to IAMPolicyGenerator; it knows gke", self.cloud));
        }
        let origin = configuration.origin().clone();
        let mark = Mark { file: 0, line: origin.line, column: origin.column };
        let string = |text: &str| edit::string_at(text, mark);
        let InCloud { name, project_id } = &self.service_account;
        let mut annotations = Node::map();
        let account = format!("{name}@{project_id}.iam.gserviceaccount.com");
        edit::put_any(&mut annotations, "iam.gke.io/gcp-service-account", string(&account));
        let mut metadata = Node::map();
        edit::put_any(&mut metadata, "annotations", annotations);
        edit::put_any(&mut metadata, "name", string(&self.kubernetes_service.name));
        if !self.kubernetes_service.namespace.is_empty() {
            edit::put_any(&mut metadata, "namespace", string(&self.kubernetes_service.namespace));
        }
        let mut body = Node { mark, ..Node::map() };
        edit::put_any(&mut body, "apiVersion", string("v1"));
        edit::put_any(&mut body, "kind", string("ServiceAccount"));
        edit::put_any(&mut body, "metadata", metadata);
        Ok(Object::new(Arc::new(body), origin))
    }
}
