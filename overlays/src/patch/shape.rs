//! Where lists are merged by key, and by which: what kustomize takes from the schema of Kubernetes 1.21.
//!
//! It must not know how merging works. Everything that is not here is a map (merged) or a list (replaced as a whole); so are kinds
//! that came later, because outputs must be the same as kustomize's.

use std::cell::Cell;
use std::collections::BTreeMap;

use serde_json::Value;

use crate::scope::is_cluster_scoped;

/// A part of a kind that leads to lists which are merged by key.
#[derive(Debug)]
pub(crate) struct Shape {
    fields: &'static [(&'static str, Part)],
}

#[derive(Debug)]
enum Part {
    /// A map.
    Map(&'static Shape),
    /// A list whose items are told apart by the values at these keys; without keys the items are scalars, told apart by themselves.
    Keyed(&'static [&'static str], &'static Shape),
}

use Part::{Keyed, Map};

static NOTHING: Shape = Shape { fields: &[] };
static METADATA: Shape = Shape { fields: &[("finalizers", Keyed(&[], &NOTHING)), ("ownerReferences", Keyed(&["uid"], &NOTHING))] };
static PLAIN: Shape = Shape { fields: &[("metadata", Map(&METADATA))] };

static CONTAINER: Shape = Shape {
    fields: &[
        ("env", Keyed(&["name"], &NOTHING)),
        ("ports", Keyed(&["containerPort", "protocol"], &NOTHING)),
        ("volumeDevices", Keyed(&["devicePath"], &NOTHING)),
        ("volumeMounts", Keyed(&["mountPath"], &NOTHING)),
    ],
};
/// The schema has no merge key for the ports of ephemeral containers.
static EPHEMERAL_CONTAINER: Shape = Shape {
    fields: &[
        ("env", Keyed(&["name"], &NOTHING)),
        ("volumeDevices", Keyed(&["devicePath"], &NOTHING)),
        ("volumeMounts", Keyed(&["mountPath"], &NOTHING)),
    ],
};
static EPHEMERAL: Shape = Shape { fields: &[("volumeClaimTemplate", Map(&PLAIN))] };
static VOLUME: Shape = Shape { fields: &[("ephemeral", Map(&EPHEMERAL))] };
static POD_SPEC: Shape = Shape {
    fields: &[
        ("containers", Keyed(&["name"], &CONTAINER)),
        ("ephemeralContainers", Keyed(&["name"], &EPHEMERAL_CONTAINER)),
        ("hostAliases", Keyed(&["ip"], &NOTHING)),
        ("imagePullSecrets", Keyed(&["name"], &NOTHING)),
        ("initContainers", Keyed(&["name"], &CONTAINER)),
        ("topologySpreadConstraints", Keyed(&["topologyKey", "whenUnsatisfiable"], &NOTHING)),
        ("volumes", Keyed(&["name"], &VOLUME)),
    ],
};
static CONDITIONS: Shape = Shape { fields: &[("conditions", Keyed(&["type"], &NOTHING))] };
static WITH_STATUS: Shape = Shape { fields: &[("metadata", Map(&METADATA)), ("status", Map(&CONDITIONS))] };
static POD_STATUS: Shape = Shape { fields: &[("conditions", Keyed(&["type"], &NOTHING)), ("podIPs", Keyed(&["ip"], &NOTHING))] };
static POD: Shape = Shape { fields: &[("metadata", Map(&METADATA)), ("spec", Map(&POD_SPEC)), ("status", Map(&POD_STATUS))] };
static TEMPLATED: Shape = Shape { fields: &[("template", Map(&POD))] };
static WORKLOAD: Shape = Shape { fields: &[("metadata", Map(&METADATA)), ("spec", Map(&TEMPLATED)), ("status", Map(&CONDITIONS))] };
static POD_TEMPLATE: Shape = Shape { fields: &[("metadata", Map(&METADATA)), ("template", Map(&POD))] };
static CRON_JOB_SPEC: Shape = Shape { fields: &[("jobTemplate", Map(&WORKLOAD))] };
static CRON_JOB: Shape = Shape { fields: &[("metadata", Map(&METADATA)), ("spec", Map(&CRON_JOB_SPEC))] };
static SERVICE_SPEC: Shape = Shape { fields: &[("ports", Keyed(&["port", "protocol"], &NOTHING))] };
static SERVICE: Shape = Shape { fields: &[("metadata", Map(&METADATA)), ("spec", Map(&SERVICE_SPEC)), ("status", Map(&CONDITIONS))] };
static SERVICE_ACCOUNT: Shape = Shape { fields: &[("metadata", Map(&METADATA)), ("secrets", Keyed(&["name"], &NOTHING))] };
static WEBHOOKS: Shape = Shape { fields: &[("metadata", Map(&METADATA)), ("webhooks", Keyed(&["name"], &NOTHING))] };
static CSI_NODE_SPEC: Shape = Shape { fields: &[("drivers", Keyed(&["name"], &NOTHING))] };
static CSI_NODE: Shape = Shape { fields: &[("metadata", Map(&METADATA)), ("spec", Map(&CSI_NODE_SPEC))] };
static NODE_SPEC: Shape = Shape { fields: &[("podCIDRs", Keyed(&[], &NOTHING))] };
static NODE_STATUS: Shape = Shape { fields: &[("addresses", Keyed(&["type"], &NOTHING)), ("conditions", Keyed(&["type"], &NOTHING))] };
static NODE: Shape = Shape { fields: &[("metadata", Map(&METADATA)), ("spec", Map(&NODE_SPEC)), ("status", Map(&NODE_STATUS))] };
static COMPONENT_STATUS: Shape = Shape { fields: &[("metadata", Map(&METADATA)), ("conditions", Keyed(&["type"], &NOTHING))] };

fn builtin(api_version: &str, kind: &str) -> Option<&'static Shape> {
    let shape = match (api_version, kind) {
        ("v1", "Pod") => &POD,
        ("v1", "PodTemplate") => &POD_TEMPLATE,
        ("v1", "ReplicationController") | ("apps/v1", "Deployment" | "ReplicaSet" | "DaemonSet" | "StatefulSet") | ("batch/v1", "Job") => {
            &WORKLOAD
        }
        ("batch/v1" | "batch/v1beta1", "CronJob") => &CRON_JOB,
        ("v1", "Service") => &SERVICE,
        ("v1", "ServiceAccount") => &SERVICE_ACCOUNT,
        ("v1", "Node") => &NODE,
        ("v1", "ComponentStatus") => &COMPONENT_STATUS,
        ("v1", "Namespace" | "PersistentVolumeClaim")
        | ("policy/v1" | "policy/v1beta1", "PodDisruptionBudget")
        | ("apiregistration.k8s.io/v1" | "apiregistration.k8s.io/v1beta1", "APIService") => &WITH_STATUS,
        (
            "admissionregistration.k8s.io/v1" | "admissionregistration.k8s.io/v1beta1",
            "MutatingWebhookConfiguration" | "ValidatingWebhookConfiguration",
        ) => &WEBHOOKS,
        ("storage.k8s.io/v1" | "storage.k8s.io/v1beta1", "CSINode") => &CSI_NODE,
        // Known since kustomize 5.6, but without a schema.
        (_, "ValidatingAdmissionPolicy" | "ValidatingAdmissionPolicyBinding") => return None,
        _ => return is_cluster_scoped(api_version, kind).map(|_| &PLAIN),
    };
    Some(shape)
}

/// The schemas that hold while one tree is rendered: the builtin ones, or those of the file that `openapi:` names, which replace them.
#[derive(Debug, Default)]
pub(crate) struct Schemas {
    custom: Option<Custom>,
    /// Whether anything was looked for in the builtin schemas.
    asked: Cell<bool>,
}

/// An OpenAPI document, and which of its definitions describes which kind.
#[derive(Debug)]
pub(crate) struct Custom {
    definitions: serde_json::Map<String, Value>,
    kinds: BTreeMap<(String, String), String>,
    /// Whether the builtin schemas hold for what the document lacks: so it is if they were looked into before.
    with_builtin: bool,
}

impl Schemas {
    /// The schemas of an OpenAPI document.
    pub(crate) fn of(mut document: Value, with_builtin: bool) -> Self {
        let definitions = match document.get_mut("definitions").map(Value::take) {
            Some(Value::Object(definitions)) => definitions,
            _ => serde_json::Map::new(),
        };
        let kinds = definitions.iter().flat_map(|(name, definition)| kinds_of(definition).map(move |kind| (kind, name.clone()))).collect();
        Self { custom: Some(Custom { definitions, kinds, with_builtin }), asked: Cell::default() }
    }

    /// Whether anything was looked for in the builtin schemas.
    pub(crate) fn were_asked(&self) -> bool {
        self.asked.get()
    }

    fn builtin(&self, api_version: &str, kind: &str) -> Option<&'static Shape> {
        self.asked.set(true);
        builtin(api_version, kind)
    }

    /// The schema of a kind, if there is one.
    pub(crate) fn of_kind(&self, api_version: &str, kind: &str) -> Option<Schema<'_>> {
        match &self.custom {
            None => self.builtin(api_version, kind).map(Schema::Builtin),
            Some(custom) => match custom.kinds.get(&(api_version.to_owned(), kind.to_owned())) {
                Some(name) => Some(Schema::Custom(custom, custom.definitions.get(name)?)),
                None => self.builtin(api_version, kind).filter(|_| custom.with_builtin).map(Schema::Builtin),
            },
        }
    }
}

fn kinds_of(definition: &Value) -> impl Iterator<Item = (String, String)> {
    let rows = definition.get("x-kubernetes-group-version-kind").and_then(Value::as_array);
    rows.into_iter().flatten().map(|row| {
        let text = |key| row.get(key).and_then(Value::as_str).unwrap_or_default();
        let version = match text("group") {
            "" => text("version").to_owned(),
            group => format!("{group}/{}", text("version")),
        };
        (version, text("kind").to_owned())
    })
}

/// The schema of one field.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Schema<'a> {
    Builtin(&'static Shape),
    Keyed(&'static [&'static str], &'static Shape),
    Custom(&'a Custom, &'a Value),
}

impl<'a> Schema<'a> {
    /// The schema of a field of a map.
    pub(crate) fn field(self, key: &str) -> Option<Self> {
        match self {
            Self::Builtin(shape) => {
                let (_, part) = shape.fields.iter().find(|(name, _)| *name == key)?;
                Some(match part {
                    Map(shape) => Self::Builtin(shape),
                    Keyed(keys, shape) => Self::Keyed(keys, shape),
                })
            }
            Self::Keyed(..) => None,
            Self::Custom(custom, value) => {
                let properties = value.get("properties").and_then(|properties| properties.get(key));
                let found = properties.or_else(|| value.get("additionalProperties").filter(|more| more.is_object()))?;
                Some(custom.resolve(found))
            }
        }
    }

    /// The schema of the items of a list.
    pub(crate) fn items(self) -> Option<Self> {
        match self {
            Self::Builtin(_) => None,
            Self::Keyed(_, shape) => Some(Self::Builtin(shape)),
            Self::Custom(custom, value) => value.get("items").map(|items| custom.resolve(items)),
        }
    }

    /// The merge keys of a list that is merged; `None` for one that is replaced.
    pub(crate) fn merge_keys(self) -> Option<Vec<&'a str>> {
        match self {
            Self::Builtin(_) => None,
            Self::Keyed(keys, _) => Some(keys.to_vec()),
            Self::Custom(_, value) => {
                let strategy = value.get("x-kubernetes-patch-strategy")?.as_str()?;
                strategy.split(',').any(|word| word == "merge").then(|| custom_keys(value))
            }
        }
    }
}

fn custom_keys(value: &Value) -> Vec<&str> {
    match value.get("x-kubernetes-list-map-keys").and_then(Value::as_array) {
        Some(keys) => keys.iter().filter_map(Value::as_str).collect(),
        None => value.get("x-kubernetes-patch-merge-key").and_then(Value::as_str).into_iter().collect(),
    }
}

impl Custom {
    /// Follows a reference to a definition; the extensions that stand beside it are those of the definition in kustomize too.
    fn resolve<'a>(&'a self, value: &'a Value) -> Schema<'a> {
        let name = value.get("$ref").and_then(Value::as_str).and_then(|text| text.strip_prefix("#/definitions/"));
        let found = name.and_then(|name| self.definitions.get(name)).map(|found| Schema::Custom(self, found));
        let builtin = || name.filter(|_| self.with_builtin).and_then(builtin_definition).map(Schema::Builtin);
        found.or_else(builtin).unwrap_or(Schema::Custom(self, value))
    }
}

/// The builtin definitions that custom resources refer to.
fn builtin_definition(name: &str) -> Option<&'static Shape> {
    match name {
        "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta" => Some(&METADATA),
        "io.k8s.api.core.v1.PodTemplateSpec" => Some(&POD),
        "io.k8s.api.core.v1.PodSpec" => Some(&POD_SPEC),
        "io.k8s.api.core.v1.Container" => Some(&CONTAINER),
        "io.k8s.api.core.v1.Volume" => Some(&VOLUME),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(api_version: &str, kind: &str, path: &[&str]) -> Option<Vec<String>> {
        let schemas = Schemas::default();
        let schema = path.iter().try_fold(schemas.of_kind(api_version, kind)?, |schema, step| match *step {
            "[]" => schema.items(),
            key => schema.field(key),
        })?;
        Some(schema.merge_keys()?.into_iter().map(str::to_owned).collect())
    }

    #[test]
    fn containers_are_told_apart_by_name_and_ports_by_two_keys() {
        let containers = ["spec", "template", "spec", "containers"];
        assert_eq!(keys("apps/v1", "Deployment", &containers).unwrap(), ["name"]);
        let ports = ["spec", "jobTemplate", "spec", "template", "spec", "containers", "[]", "ports"];
        assert_eq!(keys("batch/v1", "CronJob", &ports).unwrap(), ["containerPort", "protocol"]);
    }

    #[test]
    fn kinds_later_than_the_schema_have_no_merge_keys() {
        assert!(Schemas::default().of_kind("autoscaling/v2", "HorizontalPodAutoscaler").is_none());
        assert_eq!(keys("apps/v1", "Deployment", &["spec", "template", "spec", "tolerations"]), None);
    }
}
