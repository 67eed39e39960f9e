//! Which kinds belong to no namespace, as kustomize's schema (Kubernetes 1.21) knows it.
//!
//! It must not know a cluster: kinds that came later, and custom resources, are unknown here, and steps treat them as namespaced.

/// Whether objects of this kind belong to no namespace; `None` for kinds that kustomize's table does not have.
pub fn is_cluster_scoped(api_version: &str, kind: &str) -> Option<bool> {
    if cluster_scoped(api_version).contains(&kind) {
        return Some(true);
    }
    namespaced(api_version).contains(&kind).then_some(false)
}

fn cluster_scoped(api_version: &str) -> &'static [&'static str] {
    match api_version {
        "v1" => &["ComponentStatus", "Namespace", "Node", "NodeProxyOptions", "PersistentVolume"],
        // The policies are later than 1.21; kustomize has them in its table since 5.6.
        "admissionregistration.k8s.io/v1" => &[
            "MutatingWebhookConfiguration",
            "ValidatingWebhookConfiguration",
            "ValidatingAdmissionPolicy",
            "ValidatingAdmissionPolicyBinding",
        ],
        "admissionregistration.k8s.io/v1beta1" => &["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"],
        "apiextensions.k8s.io/v1" | "apiextensions.k8s.io/v1beta1" => &["CustomResourceDefinition"],
        "apiregistration.k8s.io/v1" | "apiregistration.k8s.io/v1beta1" => &["APIService"],
        "certificates.k8s.io/v1" | "certificates.k8s.io/v1beta1" => &["CertificateSigningRequest"],
        "flowcontrol.apiserver.k8s.io/v1beta1" => &["FlowSchema", "PriorityLevelConfiguration"],
        "networking.k8s.io/v1" | "networking.k8s.io/v1beta1" => &["IngressClass"],
        "node.k8s.io/v1" | "node.k8s.io/v1beta1" => &["RuntimeClass"],
        "policy/v1beta1" => &["PodSecurityPolicy"],
        "rbac.authorization.k8s.io/v1" | "rbac.authorization.k8s.io/v1beta1" => &["ClusterRole", "ClusterRoleBinding"],
        "scheduling.k8s.io/v1" | "scheduling.k8s.io/v1beta1" => &["PriorityClass"],
        "storage.k8s.io/v1" | "storage.k8s.io/v1beta1" => &["CSIDriver", "CSINode", "StorageClass", "VolumeAttachment"],
        _ => &[],
    }
}

fn namespaced(api_version: &str) -> &'static [&'static str] {
    match api_version {
        "v1" => &[
            "ConfigMap",
            "Endpoints",
            "Event",
            "LimitRange",
            "PersistentVolumeClaim",
            "Pod",
            "PodAttachOptions",
            "PodExecOptions",
            "PodPortForwardOptions",
            "PodProxyOptions",
            "PodTemplate",
            "ReplicationController",
            "ResourceQuota",
            "Secret",
            "Service",
            "ServiceAccount",
            "ServiceProxyOptions",
        ],
        "apps/v1" => &["ControllerRevision", "DaemonSet", "Deployment", "ReplicaSet", "StatefulSet"],
        "autoscaling/v1" => &["HorizontalPodAutoscaler", "Scale"],
        "autoscaling/v2beta1" | "autoscaling/v2beta2" => &["HorizontalPodAutoscaler"],
        "batch/v1" => &["CronJob", "Job"],
        "batch/v1beta1" => &["CronJob"],
        "coordination.k8s.io/v1" | "coordination.k8s.io/v1beta1" => &["Lease"],
        "discovery.k8s.io/v1" | "discovery.k8s.io/v1beta1" => &["EndpointSlice"],
        "events.k8s.io/v1" | "events.k8s.io/v1beta1" => &["Event"],
        "extensions/v1beta1" | "networking.k8s.io/v1beta1" => &["Ingress"],
        "networking.k8s.io/v1" => &["Ingress", "NetworkPolicy"],
        "policy/v1" | "policy/v1beta1" => &["PodDisruptionBudget"],
        "rbac.authorization.k8s.io/v1" | "rbac.authorization.k8s.io/v1beta1" => &["Role", "RoleBinding"],
        "storage.k8s.io/v1beta1" => &["CSIStorageCapacity"],
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_that_kustomize_does_not_know_have_no_known_scope() {
        assert_eq!(is_cluster_scoped("v1", "Namespace"), Some(true));
        assert_eq!(is_cluster_scoped("apps/v1", "Deployment"), Some(false));
        assert_eq!(is_cluster_scoped("example.com/v1", "Namespace"), None);
        assert_eq!(is_cluster_scoped("gateway.networking.k8s.io/v1", "GatewayClass"), None);
    }
}
