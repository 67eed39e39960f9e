//! What to do for an app, and in which order: waves of applies, then what may be pruned.
//!
//! Nothing here acts or asks the cluster: wanted objects and owned ids go in, a plan comes out.
//!
//! | wave | objects | because |
//! |---|---|---|
//! | definitions | Namespaces, CustomResourceDefinitions | nothing can be put where there is no place or no kind for it |
//! | foundations | classes, ServiceAccounts, Roles, quotas, limits, NetworkPolicies | bindings, claims, tokens and Pods are checked against them |
//! | configuration | bindings, ConfigMaps, Secrets, volumes and claims, Services | Pods mount them, read them, and get their environment from them |
//! | workloads | all that is not named elsewhere, custom resources among them | |
//! | traffic | Ingresses, autoscalers, disruption budgets | they point at workloads |
//! | admission | webhooks, admission policies, APIServices | a webhook whose backend is not there yet refuses everything after it |

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use overlays::object::ObjectId;
use serde_json::Value;

use crate::inventory::GroupKind;

/// An app that owns at least so many objects is guarded against losing most of them at once. Below, a deletion of half is an everyday change.
const MAJORITY_GUARD_FROM: usize = 10;

/// When an object is applied: all of a wave before any of the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wave {
    /// Places and kinds.
    Definitions,
    /// What later objects are checked against.
    Foundations,
    /// What Pods read.
    Configuration,
    /// What runs, and whatever is not named elsewhere.
    Workloads,
    /// What points at workloads.
    Traffic,
    /// What may refuse other requests.
    Admission,
}

/// Group, kind and wave of every kind that does not go with the workloads.
const WAVES: &[(&str, &str, Wave)] = &[
    ("", "Namespace", Wave::Definitions),
    ("apiextensions.k8s.io", "CustomResourceDefinition", Wave::Definitions),
    ("", "LimitRange", Wave::Foundations),
    ("", "ResourceQuota", Wave::Foundations),
    ("", "ServiceAccount", Wave::Foundations),
    ("gateway.networking.k8s.io", "GatewayClass", Wave::Foundations),
    ("networking.k8s.io", "IngressClass", Wave::Foundations),
    ("networking.k8s.io", "NetworkPolicy", Wave::Foundations),
    ("node.k8s.io", "RuntimeClass", Wave::Foundations),
    ("rbac.authorization.k8s.io", "ClusterRole", Wave::Foundations),
    ("rbac.authorization.k8s.io", "Role", Wave::Foundations),
    ("resource.k8s.io", "DeviceClass", Wave::Foundations),
    ("scheduling.k8s.io", "PriorityClass", Wave::Foundations),
    ("snapshot.storage.k8s.io", "VolumeSnapshotClass", Wave::Foundations),
    ("storage.k8s.io", "CSIDriver", Wave::Foundations),
    ("storage.k8s.io", "StorageClass", Wave::Foundations),
    ("storage.k8s.io", "VolumeAttributesClass", Wave::Foundations),
    ("", "ConfigMap", Wave::Configuration),
    ("", "Endpoints", Wave::Configuration),
    ("", "PersistentVolume", Wave::Configuration),
    ("", "PersistentVolumeClaim", Wave::Configuration),
    ("", "Secret", Wave::Configuration),
    ("", "Service", Wave::Configuration),
    ("discovery.k8s.io", "EndpointSlice", Wave::Configuration),
    ("rbac.authorization.k8s.io", "ClusterRoleBinding", Wave::Configuration),
    ("rbac.authorization.k8s.io", "RoleBinding", Wave::Configuration),
    ("autoscaling", "HorizontalPodAutoscaler", Wave::Traffic),
    ("autoscaling.k8s.io", "VerticalPodAutoscaler", Wave::Traffic),
    ("networking.k8s.io", "Ingress", Wave::Traffic),
    ("policy", "PodDisruptionBudget", Wave::Traffic),
    ("admissionregistration.k8s.io", "MutatingAdmissionPolicy", Wave::Admission),
    ("admissionregistration.k8s.io", "MutatingAdmissionPolicyBinding", Wave::Admission),
    ("admissionregistration.k8s.io", "MutatingWebhookConfiguration", Wave::Admission),
    ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy", Wave::Admission),
    ("admissionregistration.k8s.io", "ValidatingAdmissionPolicyBinding", Wave::Admission),
    ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration", Wave::Admission),
    ("apiregistration.k8s.io", "APIService", Wave::Admission),
];

/// Kinds whose deletion takes with it what no revision in Git can bring back: everything inside, every object of the kind, the data.
const GUARDED: &[(&str, &str)] = &[("", "Namespace"), ("", "PersistentVolumeClaim"), ("apiextensions.k8s.io", "CustomResourceDefinition")];

impl Wave {
    /// The wave of an object of this group and kind.
    pub fn of(group: &str, kind: &str) -> Self {
        WAVES.iter().find(|row| row.0 == group && row.1 == kind).map_or(Self::Workloads, |row| row.2)
    }
}

/// What planning needs to know of a wanted object. Its position in the slice is its number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Its id, with the namespace that it will really live in.
    pub id: ObjectId,
    /// Whether objects of its kind live in a namespace.
    pub namespaced: bool,
    /// For a CustomResourceDefinition: what it defines.
    pub defines: Option<Definition>,
}

/// What a CustomResourceDefinition defines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Definition {
    /// The kind.
    pub kind: GroupKind,
    /// Whether objects of the kind live in a namespace. A cluster can't be asked before the definition has been applied.
    pub namespaced: bool,
}

impl Definition {
    /// Reads a manifest; `None` if it is no CustomResourceDefinition, or one that names no kind.
    pub fn read(manifest: &Value) -> Option<Self> {
        let text = |pointer: &str| manifest.pointer(pointer).and_then(Value::as_str);
        let is_definition = text("/kind") == Some("CustomResourceDefinition") && text("/apiVersion")?.starts_with("apiextensions.k8s.io/");
        let kind = GroupKind { group: text("/spec/group")?.to_owned(), kind: text("/spec/names/kind")?.to_owned() };
        is_definition.then(|| Self { kind, namespaced: text("/spec/scope") != Some("Cluster") })
    }
}

/// One object's part of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Which of the wanted objects.
    pub object: usize,
    /// The wanted objects without which this one cannot be: its Namespace, and the CustomResourceDefinition of its kind. A definition has to
    /// be served (its health is current), not only applied, before what needs it is tried.
    pub needs: Vec<usize>,
}

impl Step {
    /// The first of its needs that came to nothing; then this step is [`Outcome::Blocked`], and every other one goes on.
    pub fn blocked_on(&self, failed: impl Fn(usize) -> bool) -> Option<usize> {
        self.needs.iter().copied().find(|object| failed(*object))
    }
}

/// What to do for one app.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// What is applied; the steps of one wave may run at the same time. Waves without a step are left out.
    pub waves: Vec<Vec<Step>>,
    /// What is deleted once everything was applied.
    pub prune: Prune,
}

/// What is owned and no longer wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prune {
    /// What is deleted, in the reverse order of applying.
    pub waves: Vec<Vec<ObjectId>>,
    /// What stays until somebody gives the word.
    pub held: Vec<Held>,
}

/// Objects that are no longer wanted and are kept all the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The objects.
    pub ids: Vec<ObjectId>,
    /// Why they are kept.
    pub reason: HeldReason,
}

/// Why objects that are no longer wanted are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeldReason {
    /// The revision wants nothing at all, which is more often a mistake than a wish.
    EmptyRender,
    /// Most of the app would go.
    Majority {
        /// How many objects would be deleted.
        deletions: usize,
        /// How many the app owns.
        owned: usize,
    },
    /// Deleting these deletes more than themselves.
    GuardedKind,
    /// Some objects of the revision could not be applied, and the old ones may still be needed.
    HalfApplied {
        /// How many could not be applied.
        failed: usize,
    },
}

/// Who said that guarded deletions may go ahead ([`crate::api::PRUNE_ANNOTATION`]).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Word {
    /// Git, for the whole app.
    pub app: bool,
    /// Annotations on the live objects, each for itself.
    pub objects: BTreeSet<ObjectId>,
}

/// What came of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was not there.
    Created,
    /// It was there and has been changed.
    Configured,
    /// It was as wanted.
    Unchanged,
    /// It was deleted and made anew, as Git allowed.
    Replaced,
    /// It is gone.
    Deleted,
    /// It was not tried, for something that it needs failed.
    Blocked {
        /// What it needs.
        on: ObjectId,
    },
    /// It could not be done.
    Failed {
        /// What, why, and what to do.
        reason: String,
    },
}

impl Outcome {
    /// Whether the object is now as Git wants it.
    pub fn is_done(&self) -> bool {
        !matches!(self, Self::Blocked { .. } | Self::Failed { .. })
    }

    /// One word for a metric.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Configured => "configured",
            Self::Unchanged => "unchanged",
            Self::Replaced => "replaced",
            Self::Deleted => "deleted",
            Self::Blocked { .. } => "blocked",
            Self::Failed { .. } => "failed",
        }
    }

    /// Whether the cluster was changed.
    pub fn is_change(&self) -> bool {
        matches!(self, Self::Created | Self::Configured | Self::Replaced | Self::Deleted)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Created => f.write_str("created"),
            Self::Configured => f.write_str("configured"),
            Self::Unchanged => f.write_str("unchanged"),
            Self::Replaced => f.write_str("replaced"),
            Self::Deleted => f.write_str("deleted"),
            Self::Blocked { on } => write!(f, "not applied, because {on} failed"),
            Self::Failed { reason } => write!(f, "failed: {reason}"),
        }
    }
}

impl Plan {
    /// Decides what to do for one app.
    ///
    /// `owned` is what the app owns in the cluster; `elsewhere` is what the other apps of the same Sync want, which is therefore never
    /// pruned here (an object that moves from one app to another must not be deleted on the way).
    pub fn new(wanted: &[Wanted], owned: &BTreeSet<ObjectId>, elsewhere: &BTreeSet<ObjectId>, word: &Word) -> Self {
        let ids: BTreeSet<&ObjectId> = wanted.iter().map(|object| &object.id).collect();
        let unwanted = owned.iter().filter(|id| !ids.contains(id) && !elsewhere.contains(id)).cloned().collect();
        Self { waves: waves(wanted), prune: Prune::new(unwanted, wanted.is_empty(), owned.len(), word) }
    }
}

fn waves(wanted: &[Wanted]) -> Vec<Vec<Step>> {
    let ground = Ground::new(wanted);
    let mut waves: BTreeMap<Wave, Vec<Step>> = BTreeMap::new();
    for (object, it) in wanted.iter().enumerate() {
        waves.entry(Wave::of(&it.id.group, &it.id.kind)).or_default().push(Step { object, needs: ground.needs(it) });
    }
    waves.into_values().collect()
}

/// The wanted objects that others stand on.
struct Ground<'a> {
    namespaces: BTreeMap<&'a str, usize>,
    kinds: BTreeMap<(&'a str, &'a str), usize>,
}

impl<'a> Ground<'a> {
    fn new(wanted: &'a [Wanted]) -> Self {
        let numbered = || wanted.iter().enumerate();
        Self {
            namespaces: numbered().filter(|(_, it)| is_namespace(&it.id)).map(|(object, it)| (it.id.name.as_str(), object)).collect(),
            kinds: numbered()
                .filter_map(|(object, it)| it.defines.as_ref().map(|it| ((it.kind.group.as_str(), it.kind.kind.as_str()), object)))
                .collect(),
        }
    }

    fn needs(&self, wanted: &Wanted) -> Vec<usize> {
        let namespace = wanted.namespaced.then(|| self.namespaces.get(wanted.id.namespace.as_str())).flatten();
        let kind = self.kinds.get(&(wanted.id.group.as_str(), wanted.id.kind.as_str()));
        namespace.into_iter().chain(kind).copied().collect()
    }
}

fn is_namespace(id: &ObjectId) -> bool {
    id.group.is_empty() && id.kind == "Namespace"
}

fn is_guarded(id: &ObjectId) -> bool {
    GUARDED.iter().any(|(group, kind)| id.group == *group && id.kind == *kind)
}

impl Prune {
    /// What becomes of an app that the repository no longer has. To take a directory away is a plain word, so that a small app goes as asked;
    /// it is more often a mistake than a wish where nothing at all is left, or where the guards of a single app hold.
    pub fn retiring(owned: BTreeSet<ObjectId>, nothing_left: bool, word: &Word) -> Self {
        let count = owned.len();
        Self::new(owned.into_iter().collect(), nothing_left, count, word)
    }

    fn new(unwanted: Vec<ObjectId>, nothing_wanted: bool, owned: usize, word: &Word) -> Self {
        let (allowed, unsaid): (Vec<_>, Vec<_>) = unwanted.into_iter().partition(|id| word.app || word.objects.contains(id));
        if nothing_wanted {
            return Self::holding(allowed, unsaid, HeldReason::EmptyRender);
        }
        if owned >= MAJORITY_GUARD_FROM && unsaid.len() * 2 > owned {
            let reason = HeldReason::Majority { deletions: unsaid.len(), owned };
            return Self::holding(allowed, unsaid, reason);
        }
        let (guarded, free): (Vec<_>, Vec<_>) = unsaid.into_iter().partition(is_guarded);
        Self::holding(allowed.into_iter().chain(free).collect(), guarded, HeldReason::GuardedKind)
    }

    fn holding(delete: Vec<ObjectId>, held: Vec<ObjectId>, reason: HeldReason) -> Self {
        let held = if held.is_empty() { Vec::new() } else { vec![Held { ids: held, reason }] };
        Self { waves: reversed_waves(delete), held }
    }

    /// What is left of it after applying: nothing is deleted while `failed` objects of the revision could not be applied.
    #[must_use]
    pub fn after_applying(self, failed: usize) -> Self {
        if failed == 0 || self.waves.is_empty() {
            return self;
        }
        let ids = self.waves.into_iter().flatten().collect();
        let mut held = self.held;
        held.push(Held { ids, reason: HeldReason::HalfApplied { failed } });
        Self { waves: Vec::new(), held }
    }

    /// How many objects are deleted.
    pub fn deletions(&self) -> usize {
        self.waves.iter().map(Vec::len).sum()
    }
}

fn reversed_waves(ids: Vec<ObjectId>) -> Vec<Vec<ObjectId>> {
    let mut waves: BTreeMap<Wave, Vec<ObjectId>> = BTreeMap::new();
    for id in ids {
        waves.entry(Wave::of(&id.group, &id.kind)).or_default().push(id);
    }
    waves.into_values().rev().collect()
}

impl HeldReason {
    /// Whether somebody has to say something; otherwise it resolves itself.
    pub fn waits_for_word(self) -> bool {
        !matches!(self, Self::HalfApplied { .. })
    }
}

impl fmt::Display for Held {
    /// In words fit for a commit status: numbers first, then why.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.ids.len();
        match self.reason {
            HeldReason::EmptyRender => write!(f, "{count} kept: the revision renders no object at all"),
            HeldReason::Majority { deletions, owned } => write!(f, "{count} kept: {deletions} of {owned} objects would be deleted"),
            HeldReason::GuardedKind => write!(f, "{count} kept: deleting {} deletes more than itself", Few(&self.ids)),
            HeldReason::HalfApplied { failed } => write!(f, "{count} not deleted yet: {failed} of the revision could not be applied"),
        }
    }
}

/// The first of some ids, and how many more there are.
struct Few<'a>(&'a [ObjectId]);

impl fmt::Display for Few<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [] => Ok(()),
            [one] => one.fmt(f),
            [first, rest @ ..] => write!(f, "{first} and {} more", rest.len()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads `Kind namespace/name`, with a group as `group:Kind namespace/name`.
    fn id(text: &str) -> ObjectId {
        let (kind, name) = text.split_once(' ').unwrap();
        let (group, kind) = kind.split_once(':').unwrap_or(("", kind));
        let (namespace, name) = name.split_once('/').unwrap_or(("", name));
        ObjectId { group: group.into(), kind: kind.into(), namespace: namespace.into(), name: name.into() }
    }

    fn ids(texts: &[&str]) -> BTreeSet<ObjectId> {
        texts.iter().copied().map(id).collect()
    }

    fn wanted(text: &str) -> Wanted {
        let (text, defines) = text.split_once(" defines ").map_or((text, None), |(text, kind)| (text, GroupKind::parse(kind)));
        let id = id(text);
        let defines = defines.map(|kind| Definition { kind, namespaced: true });
        Wanted { namespaced: !id.namespace.is_empty(), id, defines }
    }

    /// One line a wave, as `0 3<0`: step 3 needs 0.
    fn check_waves(objects: &[&str], expected: &[&str]) {
        let wanted: Vec<_> = objects.iter().copied().map(wanted).collect();
        let show = |step: &Step| match step.needs.as_slice() {
            [] => step.object.to_string(),
            needs => format!("{}<{}", step.object, needs.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")),
        };
        let plan = Plan::new(&wanted, &BTreeSet::new(), &BTreeSet::new(), &Word::default());
        let shown: Vec<String> = plan.waves.iter().map(|wave| wave.iter().map(show).collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(shown, expected, "{objects:?}");
    }

    #[test]
    fn what_others_stand_on_is_applied_first() {
        check_waves(&[], &[]);
        check_waves(&["apps:Deployment web/api", "Namespace web"], &["1", "0<1"]);
        check_waves(
            &[
                "admissionregistration.k8s.io:ValidatingWebhookConfiguration guard",
                "networking.k8s.io:Ingress web/api",
                "apps:Deployment web/api",
                "Service web/api",
                "rbac.authorization.k8s.io:RoleBinding web/api",
                "rbac.authorization.k8s.io:Role web/api",
                "scheduling.k8s.io:PriorityClass high",
                "apiextensions.k8s.io:CustomResourceDefinition widgets.example.com",
                "Namespace web",
            ],
            &["7 8", "5<8 6", "3<8 4<8", "2<8", "1<8", "0"],
        );
    }

    #[test]
    fn a_custom_resource_needs_the_definition_of_its_own_group_and_kind() {
        check_waves(
            &[
                "apiextensions.k8s.io:CustomResourceDefinition w defines Widget.example.com",
                "Namespace web",
                "example.com:Widget web/a",
                "example.com:Widget b",
                "other.com:Widget web/c",
            ],
            &["0 1", "2<1,0 3<0 4<1"],
        );
    }

    #[test]
    fn a_definition_is_read_from_its_manifest() {
        let read = |yaml: &str| Definition::read(&serde_yaml::from_str(yaml).unwrap()).map(|it| format!("{} {}", it.kind, it.namespaced));
        let crd = |scope: &str| {
            format!(
                "{{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, spec: {{group: example.com, names: {{kind: Widget}}, scope: {scope}}}}}"
            )
        };
        assert_eq!(read(&crd("Namespaced")).as_deref(), Some("Widget.example.com true"));
        assert_eq!(read(&crd("Cluster")).as_deref(), Some("Widget.example.com false"));
        assert_eq!(read("{apiVersion: v1, kind: ConfigMap, spec: {group: a, names: {kind: B}}}"), None);
        assert_eq!(read("{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition}"), None);
    }

    #[test]
    fn a_kind_of_another_group_that_bears_a_known_name_is_a_workload() {
        check_waves(&["serving.knative.dev:Service web/api", "ConfigMap web/api"], &["1", "0"]);
    }

    #[test]
    fn a_cluster_scoped_object_does_not_need_a_namespace_that_it_merely_names() {
        let mut role = wanted("rbac.authorization.k8s.io:ClusterRole web/reader");
        role.namespaced = false;
        let plan = Plan::new(&[wanted("Namespace web"), role], &BTreeSet::new(), &BTreeSet::new(), &Word::default());
        assert_eq!(plan.waves[1][0].needs, Vec::<usize>::new());
    }

    #[test]
    fn a_failed_namespace_blocks_what_lives_in_it_and_nothing_else() {
        let step = |needs: &[usize]| Step { object: 9, needs: needs.to_vec() };
        let failed = |object: usize| object == 3;
        assert_eq!(step(&[1, 3]).blocked_on(failed), Some(3));
        assert_eq!(step(&[1]).blocked_on(failed), None);
        assert_eq!(step(&[]).blocked_on(failed), None);
    }

    struct Case<'a> {
        wanted: &'a [&'a str],
        owned: &'a [&'a str],
        elsewhere: &'a [&'a str],
        word: Word,
    }

    fn case<'a>(wanted: &'a [&'a str], owned: &'a [&'a str]) -> Case<'a> {
        Case { wanted, owned, elsewhere: &[], word: Word::default() }
    }

    fn prune(case: &Case<'_>) -> Prune {
        let wanted: Vec<_> = case.wanted.iter().copied().map(wanted).collect();
        Plan::new(&wanted, &ids(case.owned), &ids(case.elsewhere), &case.word).prune
    }

    fn show(ids: &[ObjectId]) -> String {
        ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    }

    fn check_prune(case: &Case<'_>, deleted: &[&str], held: &[&str]) {
        let prune = prune(case);
        assert_eq!(prune.waves.iter().map(|wave| show(wave)).collect::<Vec<_>>(), deleted);
        assert_eq!(prune.held.iter().map(|held| format!("{held} ({})", show(&held.ids))).collect::<Vec<_>>(), held);
    }

    const TEN: &[&str] = &[
        "ConfigMap a/0",
        "ConfigMap a/1",
        "ConfigMap a/2",
        "ConfigMap a/3",
        "ConfigMap a/4",
        "ConfigMap a/5",
        "ConfigMap a/6",
        "ConfigMap a/7",
        "ConfigMap a/8",
        "ConfigMap a/9",
    ];

    #[test]
    fn what_is_owned_and_no_longer_wanted_goes_in_the_reverse_order_of_applying() {
        check_prune(&case(&["ConfigMap a/keep"], &["ConfigMap a/keep"]), &[], &[]);
        check_prune(
            &case(
                &["ConfigMap a/keep"],
                &["ServiceAccount a/x", "Service a/x", "apps:Deployment a/x", "networking.k8s.io:Ingress a/x", "ConfigMap a/keep"],
            ),
            &["Ingress a/x", "Deployment a/x", "Service a/x", "ServiceAccount a/x"],
            &[],
        );
    }

    #[test]
    fn the_same_name_in_another_namespace_or_group_is_another_object() {
        check_prune(&case(&["ConfigMap b/x", "other:ConfigMap a/x"], &["ConfigMap a/x"]), &["ConfigMap a/x"], &[]);
    }

    #[test]
    fn an_object_that_moved_to_another_app_is_not_deleted() {
        let moved = Case { elsewhere: &["ConfigMap a/x"], ..case(&["ConfigMap a/keep"], &["ConfigMap a/x", "ConfigMap a/y"]) };
        check_prune(&moved, &["ConfigMap a/y"], &[]);
    }

    #[test]
    fn a_revision_that_renders_nothing_deletes_nothing_without_the_word() {
        check_prune(&case(&[], &[]), &[], &[]);
        let empty = case(&[], &["ConfigMap a/x"]);
        check_prune(&empty, &[], &["1 kept: the revision renders no object at all (ConfigMap a/x)"]);
        let word = Word { app: true, ..Word::default() };
        check_prune(&Case { word, ..empty }, &["ConfigMap a/x"], &[]);
    }

    #[test]
    fn most_of_an_app_of_ten_or_more_is_not_deleted_without_the_word() {
        let six = case(&TEN[..4], TEN);
        let kept = show(&ids(&TEN[4..]).into_iter().collect::<Vec<_>>());
        check_prune(&six, &[], &[&format!("6 kept: 6 of 10 objects would be deleted ({kept})")]);
        check_prune(&Case { word: Word { app: true, ..Word::default() }, ..six }, &[&kept], &[]);
    }

    #[test]
    fn half_of_an_app_or_most_of_a_small_one_goes_without_the_word() {
        assert_eq!(prune(&case(&TEN[..5], TEN)).deletions(), 5);
        assert_eq!(prune(&case(&TEN[..1], &TEN[..9])).deletions(), 8);
    }

    #[test]
    fn namespaces_definitions_and_claims_wait_for_the_word_alone() {
        let owned = ["Namespace a", "PersistentVolumeClaim a/data", "apiextensions.k8s.io:CustomResourceDefinition w", "ConfigMap a/x"];
        let held = "3 kept: deleting Namespace a and 2 more deletes more than itself (Namespace a, PersistentVolumeClaim a/data, CustomResourceDefinition w)";
        let guarded = case(&["ConfigMap a/keep"], &owned);
        check_prune(&guarded, &["ConfigMap a/x"], &[held]);
        let all = &["PersistentVolumeClaim a/data, ConfigMap a/x", "Namespace a, CustomResourceDefinition w"];
        let deleted: BTreeSet<String> = prune(&Case { word: Word { app: true, ..Word::default() }, ..guarded })
            .waves
            .iter()
            .flatten()
            .map(ToString::to_string)
            .collect();
        assert_eq!(deleted, all.iter().flat_map(|wave| wave.split(", ")).map(str::to_owned).collect());
    }

    #[test]
    fn the_word_on_a_live_object_frees_that_object_only() {
        let word = Word { app: false, objects: ids(&["PersistentVolumeClaim a/old"]) };
        let claims = Case { word, ..case(&["ConfigMap a/keep"], &["PersistentVolumeClaim a/old", "PersistentVolumeClaim a/data"]) };
        check_prune(
            &claims,
            &["PersistentVolumeClaim a/old"],
            &["1 kept: deleting PersistentVolumeClaim a/data deletes more than itself (PersistentVolumeClaim a/data)"],
        );
        let word = Word { app: false, objects: ids(&TEN[..2]) };
        let prune = prune(&Case { word, ..case(&["Secret a/keep"], TEN) });
        assert_eq!((prune.deletions(), prune.held[0].reason), (2, HeldReason::Majority { deletions: 8, owned: 10 }));
    }

    #[test]
    fn a_half_applied_revision_prunes_nothing() {
        let owned = ["ConfigMap a/x", "Namespace a"];
        let half = prune(&case(&["ConfigMap a/keep"], &owned)).after_applying(2);
        assert_eq!(half.deletions(), 0);
        let told: Vec<_> = half.held.iter().map(|held| (held.to_string(), held.reason.waits_for_word())).collect();
        assert_eq!(told[0], ("1 kept: deleting Namespace a deletes more than itself".into(), true));
        assert_eq!(told[1], ("1 not deleted yet: 2 of the revision could not be applied".into(), false));
        assert_eq!(prune(&case(&["ConfigMap a/keep"], &owned)).after_applying(0).deletions(), 1);
    }

    #[test]
    fn only_blocked_and_failed_are_not_done() {
        let blocked = Outcome::Blocked { on: id("Namespace web") };
        assert_eq!(blocked.to_string(), "not applied, because Namespace web failed");
        assert!(!blocked.is_done() && !Outcome::Failed { reason: String::new() }.is_done());
        assert!(Outcome::Unchanged.is_done() && !Outcome::Unchanged.is_change());
        assert!(Outcome::Replaced.is_done() && Outcome::Replaced.is_change());
    }
}
