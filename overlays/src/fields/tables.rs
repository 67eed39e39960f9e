//! The fields that kustomize 5.8 changes by default, as data.
//!
//! It must not know the files that add to them; [`super::config`] does.

use super::config::{Config, NameReference};
use super::{FieldSpec, Gvk};

/// A workload: group, version, kind, and where its pod's specification is.
type Workload = (&'static str, &'static str, &'static str, &'static str);

const POD: Workload = ("", "", "Pod", "spec");
const CORE_POD: Workload = ("", "v1", "Pod", "spec");
const POD_TEMPLATE: Workload = ("", "", "PodTemplate", "template/spec");
const REPLICATION_CONTROLLER: Workload = ("", "", "ReplicationController", "spec/template/spec");
const DEPLOYMENT: Workload = ("", "", "Deployment", "spec/template/spec");
const REPLICA_SET: Workload = ("", "", "ReplicaSet", "spec/template/spec");
const DAEMON_SET: Workload = ("", "", "DaemonSet", "spec/template/spec");
const STATEFUL_SET: Workload = ("", "", "StatefulSet", "spec/template/spec");
const JOB: Workload = ("", "", "Job", "spec/template/spec");
const CRON_JOB: Workload = ("", "", "CronJob", "spec/jobTemplate/spec/template/spec");

/// The workloads whose configuration is referred to. ReplicationController is not among them in kustomize.
const CONFIGURED: &[Workload] = &[CORE_POD, POD_TEMPLATE, DEPLOYMENT, REPLICA_SET, DAEMON_SET, STATEFUL_SET, JOB, CRON_JOB];
/// The workloads whose account, claims and priority are referred to. ReplicaSet is not among them in kustomize.
const SCHEDULED: &[Workload] = &[POD, STATEFUL_SET, DEPLOYMENT, REPLICATION_CONTROLLER, CRON_JOB, JOB, DAEMON_SET];

/// A field outside of pods: group, version, kind, path.
type Field = (&'static str, &'static str, &'static str, &'static str);

/// Fields that hold the name of an object.
struct Reference {
    /// Group, version and kind of what is named.
    to: (&'static str, &'static str, &'static str),
    workloads: &'static [Workload],
    pod_fields: &'static [&'static str],
    fields: &'static [Field],
}

const RBAC: &str = "rbac.authorization.k8s.io";
const ADMISSION: &str = "admissionregistration.k8s.io";

const REFERENCES: &[Reference] = &[
    scaled("Deployment"),
    scaled("ReplicationController"),
    scaled("ReplicaSet"),
    scaled("StatefulSet"),
    Reference {
        to: ("", "v1", "ConfigMap"),
        workloads: CONFIGURED,
        pod_fields: &[
            "volumes/configMap/name",
            "containers/env/valueFrom/configMapKeyRef/name",
            "initContainers/env/valueFrom/configMapKeyRef/name",
            "containers/envFrom/configMapRef/name",
            "initContainers/envFrom/configMapRef/name",
            "volumes/projected/sources/configMap/name",
        ],
        fields: &[
            ("", "", "Node", "spec/configSource/configMap"),
            ("", "", "Role", "rules/resourceNames"),
            ("", "", "ClusterRole", "rules/resourceNames"),
            ("", "", "Ingress", r"metadata/annotations/nginx.ingress.kubernetes.io\/fastcgi-params-configmap"),
        ],
    },
    Reference {
        to: ("", "v1", "Secret"),
        workloads: CONFIGURED,
        pod_fields: &[
            "volumes/secret/secretName",
            "containers/env/valueFrom/secretKeyRef/name",
            "initContainers/env/valueFrom/secretKeyRef/name",
            "containers/envFrom/secretRef/name",
            "initContainers/envFrom/secretRef/name",
            "imagePullSecrets/name",
            "volumes/projected/sources/secret/name",
        ],
        fields: &[
            ("", "", "Ingress", "spec/tls/secretName"),
            ("", "", "Ingress", r"metadata/annotations/ingress.kubernetes.io\/auth-secret"),
            ("", "", "Ingress", r"metadata/annotations/nginx.ingress.kubernetes.io\/auth-secret"),
            ("", "", "Ingress", r"metadata/annotations/nginx.ingress.kubernetes.io\/auth-tls-secret"),
            // In kustomize it is there twice, so that a Secret whose old name is the new name of another is found as well.
            ("", "", "Ingress", "spec/tls/secretName"),
            ("", "", "ServiceAccount", "imagePullSecrets/name"),
            ("", "", "StorageClass", "parameters/secretName"),
            ("", "", "StorageClass", "parameters/adminSecretName"),
            ("", "", "StorageClass", "parameters/userSecretName"),
            ("", "", "StorageClass", "parameters/secretRef"),
            ("", "", "Role", "rules/resourceNames"),
            ("", "", "ClusterRole", "rules/resourceNames"),
            ("serving.knative.dev", "v1", "Service", "spec/template/spec/containers/env/valueFrom/secretKeyRef/name"),
            ("", "", "PersistentVolume", "spec/azureFile/secretName"),
        ],
    },
    outside_pods(
        ("", "v1", "Service"),
        &[
            ("apps", "", "StatefulSet", "spec/serviceName"),
            ("", "", "Ingress", "spec/rules/http/paths/backend/serviceName"),
            ("", "", "Ingress", "spec/backend/serviceName"),
            ("", "", "Ingress", "spec/rules/http/paths/backend/service/name"),
            ("", "", "Ingress", "spec/defaultBackend/service/name"),
            ("apiregistration.k8s.io", "", "APIService", "spec/service/name"),
            (ADMISSION, "", "ValidatingWebhookConfiguration", "webhooks/clientConfig/service"),
            (ADMISSION, "", "MutatingWebhookConfiguration", "webhooks/clientConfig/service"),
        ],
    ),
    outside_pods((RBAC, "", "Role"), &[(RBAC, "", "RoleBinding", "roleRef/name")]),
    outside_pods((RBAC, "", "ClusterRole"), &[(RBAC, "", "RoleBinding", "roleRef/name"), (RBAC, "", "ClusterRoleBinding", "roleRef/name")]),
    Reference {
        to: ("", "v1", "ServiceAccount"),
        workloads: SCHEDULED,
        pod_fields: &["serviceAccountName"],
        fields: &[(RBAC, "", "RoleBinding", "subjects"), (RBAC, "", "ClusterRoleBinding", "subjects")],
    },
    Reference {
        to: ("", "v1", "PersistentVolumeClaim"),
        workloads: SCHEDULED,
        pod_fields: &["volumes/persistentVolumeClaim/claimName"],
        fields: &[],
    },
    outside_pods(
        ("", "v1", "PersistentVolume"),
        &[("", "", "PersistentVolumeClaim", "spec/volumeName"), ("", "", "ClusterRole", "rules/resourceNames")],
    ),
    outside_pods(
        ("storage.k8s.io", "v1", "StorageClass"),
        &[
            ("", "", "PersistentVolume", "spec/storageClassName"),
            ("", "", "PersistentVolumeClaim", "spec/storageClassName"),
            ("", "", "StatefulSet", "spec/volumeClaimTemplates/spec/storageClassName"),
        ],
    ),
    Reference { to: ("scheduling.k8s.io", "v1", "PriorityClass"), workloads: SCHEDULED, pod_fields: &["priorityClassName"], fields: &[] },
    // IngressClass is left out: kustomize's entry has a version in its group, so it never applies, and output must be the same.
    outside_pods((ADMISSION, "", "ValidatingAdmissionPolicy"), &[(ADMISSION, "", "ValidatingAdmissionPolicyBinding", "spec/policyName")]),
];

const fn scaled(kind: &'static str) -> Reference {
    outside_pods(("", "", kind), &[("", "", "HorizontalPodAutoscaler", "spec/scaleTargetRef/name")])
}

const fn outside_pods(to: (&'static str, &'static str, &'static str), fields: &'static [Field]) -> Reference {
    Reference { to, workloads: &[], pod_fields: &[], fields }
}

/// The workloads in which vars are replaced, and where they may name an NFS server. The path of CronJob lacks a `spec` in kustomize too.
const VARS: &[(Workload, &str)] = &[
    (CRON_JOB, "spec/jobTemplate/spec/template/volumes/nfs/server"),
    (DAEMON_SET, "spec/template/spec/volumes/nfs/server"),
    (DEPLOYMENT, "spec/template/spec/volumes/nfs/server"),
    (JOB, "spec/template/spec/volumes/nfs/server"),
    (POD, "spec/volumes/nfs/server"),
    (REPLICA_SET, "spec/template/spec/volumes/nfs/server"),
    (STATEFUL_SET, "spec/volumeClaimTemplates/spec/nfs/server"),
];

const VARS_IN_PODS: &[&str] = &[
    "containers/args",
    "containers/command",
    "containers/env/value",
    "containers/volumeMounts/mountPath",
    "initContainers/args",
    "initContainers/command",
    "initContainers/env/value",
    "initContainers/volumeMounts/mountPath",
];

const VARS_ELSEWHERE: &[Field] = &[
    ("", "", "Deployment", "spec/template/metadata/annotations"),
    ("", "", "Ingress", "spec/rules/host"),
    ("", "", "Ingress", "spec/tls/hosts"),
    ("", "", "Ingress", "spec/tls/secretName"),
    ("", "", "Service", "spec/ports/port"),
    ("", "", "Service", "spec/ports/targetPort"),
    ("", "", "PersistentVolume", "spec/nfs/server"),
    ("", "", "", "metadata/labels"),
    ("", "", "", "metadata/annotations"),
];

/// Labels of what a workload makes.
const TEMPLATE_LABELS: &[Field] = &[
    ("", "", "", "metadata/labels"),
    ("", "v1", "ReplicationController", "spec/template/metadata/labels"),
    ("", "", "Deployment", "spec/template/metadata/labels"),
    ("", "", "ReplicaSet", "spec/template/metadata/labels"),
    ("", "", "DaemonSet", "spec/template/metadata/labels"),
    ("apps", "", "StatefulSet", "spec/template/metadata/labels"),
    ("batch", "", "Job", "spec/template/metadata/labels"),
    ("batch", "", "CronJob", "spec/jobTemplate/metadata/labels"),
    ("batch", "", "CronJob", "spec/jobTemplate/spec/template/metadata/labels"),
];

const CLAIM_LABELS: &[Field] = &[("apps", "", "StatefulSet", "spec/volumeClaimTemplates[]/metadata/labels")];

/// Selectors that are made where they are missing.
const SELECTORS: &[Field] = &[
    ("", "v1", "Service", "spec/selector"),
    ("", "v1", "ReplicationController", "spec/selector"),
    ("", "", "Deployment", "spec/selector/matchLabels"),
    ("", "", "ReplicaSet", "spec/selector/matchLabels"),
    ("", "", "DaemonSet", "spec/selector/matchLabels"),
    ("apps", "", "StatefulSet", "spec/selector/matchLabels"),
];

/// Selectors that are changed only where they are written.
const WRITTEN_SELECTORS: &[Field] = &[
    ("batch", "", "Job", "spec/selector/matchLabels"),
    ("batch", "", "CronJob", "spec/jobTemplate/spec/selector/matchLabels"),
    ("policy", "", "PodDisruptionBudget", "spec/selector/matchLabels"),
    ("networking.k8s.io", "", "NetworkPolicy", "spec/podSelector/matchLabels"),
    ("networking.k8s.io", "", "NetworkPolicy", "spec/ingress/from/podSelector/matchLabels"),
    ("networking.k8s.io", "", "NetworkPolicy", "spec/egress/to/podSelector/matchLabels"),
];

/// Selectors inside of the pods of Deployments and StatefulSets.
const POD_SELECTORS: &[&str] = &[
    "affinity/podAffinity/preferredDuringSchedulingIgnoredDuringExecution/podAffinityTerm/labelSelector/matchLabels",
    "affinity/podAffinity/requiredDuringSchedulingIgnoredDuringExecution/labelSelector/matchLabels",
    "affinity/podAntiAffinity/preferredDuringSchedulingIgnoredDuringExecution/podAffinityTerm/labelSelector/matchLabels",
    "affinity/podAntiAffinity/requiredDuringSchedulingIgnoredDuringExecution/labelSelector/matchLabels",
    "topologySpreadConstraints/labelSelector/matchLabels",
];

const ANNOTATIONS: &[Field] = &[
    ("", "", "", "metadata/annotations"),
    ("", "v1", "ReplicationController", "spec/template/metadata/annotations"),
    ("", "", "Deployment", "spec/template/metadata/annotations"),
    ("", "", "ReplicaSet", "spec/template/metadata/annotations"),
    ("", "", "DaemonSet", "spec/template/metadata/annotations"),
    ("", "", "StatefulSet", "spec/template/metadata/annotations"),
    ("batch", "", "Job", "spec/template/metadata/annotations"),
    ("batch", "", "CronJob", "spec/jobTemplate/metadata/annotations"),
    ("batch", "", "CronJob", "spec/jobTemplate/spec/template/metadata/annotations"),
];

const NAMESPACES: &[Field] =
    &[("", "", "Namespace", "metadata/name"), ("apiregistration.k8s.io", "", "APIService", "spec/service/namespace")];

const WRITTEN_NAMESPACES: &[Field] =
    &[("apiextensions.k8s.io", "", "CustomResourceDefinition", "spec/conversion/webhook/clientConfig/service/namespace")];

const IMAGES: &[Field] = &[
    ("", "", "", "spec/containers[]/image"),
    ("", "", "", "spec/initContainers[]/image"),
    ("", "", "", "spec/volumes[]/image/reference"),
    ("", "", "", "spec/template/spec/containers[]/image"),
    ("", "", "", "spec/template/spec/initContainers[]/image"),
    ("", "", "", "spec/template/spec/volumes[]/image/reference"),
    // Since kustomize 5.8.2.
    ("", "", "", "spec/jobTemplate/spec/template/spec/volumes[]/image/reference"),
];

const REPLICAS: &[Field] = &[
    ("", "", "Deployment", "spec/replicas"),
    ("", "", "ReplicationController", "spec/replicas"),
    ("", "", "ReplicaSet", "spec/replicas"),
    ("", "", "StatefulSet", "spec/replicas"),
];

/// The configuration that holds without any `configurations:`.
pub(super) fn defaults() -> Config {
    let mut common_labels = specs(SELECTORS, true);
    common_labels.extend(specs(WRITTEN_SELECTORS, false));
    common_labels.extend(pod_selectors());
    common_labels.extend(specs(TEMPLATE_LABELS, true));
    common_labels.extend(specs(CLAIM_LABELS, true));
    let mut namespace = specs(NAMESPACES, true);
    namespace.extend(specs(WRITTEN_NAMESPACES, false));
    Config {
        name_prefix: specs(&[("", "", "", "metadata/name")], false),
        name_suffix: specs(&[("", "", "", "metadata/name")], false),
        namespace,
        common_labels,
        labels: Vec::new(),
        template_labels: specs(TEMPLATE_LABELS, true),
        claim_labels: specs(CLAIM_LABELS, true),
        common_annotations: specs(ANNOTATIONS, true),
        name_references: REFERENCES.iter().map(reference).collect(),
        var_references: vars(),
        images: specs(IMAGES, true),
        replicas: specs(REPLICAS, true),
    }
}

fn spec(&(group, version, kind, path): &Field, create: bool) -> FieldSpec {
    FieldSpec { gvk: gvk((group, version, kind)), path: path.to_owned(), create }
}

fn gvk((group, version, kind): (&str, &str, &str)) -> Gvk {
    Gvk { group: group.to_owned(), version: version.to_owned(), kind: kind.to_owned() }
}

fn specs(fields: &[Field], create: bool) -> Vec<FieldSpec> {
    fields.iter().map(|field| spec(field, create)).collect()
}

fn in_pods(workload: &Workload, fields: &[&str]) -> Vec<FieldSpec> {
    let (group, version, kind, pod) = *workload;
    fields.iter().map(|field| FieldSpec { gvk: gvk((group, version, kind)), path: [pod, "/", field].concat(), create: false }).collect()
}

fn pod_selectors() -> Vec<FieldSpec> {
    let workloads = [("apps", "", "Deployment", "spec/template/spec"), ("apps", "", "StatefulSet", "spec/template/spec")];
    workloads.iter().flat_map(|workload| in_pods(workload, POD_SELECTORS)).collect()
}

fn reference(reference: &Reference) -> NameReference {
    let mut referrers: Vec<_> = reference.workloads.iter().flat_map(|workload| in_pods(workload, reference.pod_fields)).collect();
    referrers.extend(specs(reference.fields, false));
    NameReference { target: gvk(reference.to), referrers }
}

fn vars() -> Vec<FieldSpec> {
    let mut fields = Vec::new();
    for (workload, nfs) in VARS {
        fields.extend(in_pods(workload, VARS_IN_PODS));
        fields.push(spec(&("", "", workload.2, nfs), false));
    }
    fields.extend(specs(VARS_ELSEWHERE, false));
    fields
}
