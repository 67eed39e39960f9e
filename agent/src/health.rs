//! Whether a live object does its work, judged from nothing but the object and the time.
//!
//! It must not ask the cluster, and it must not call well what only has not failed yet: a workload that its controller has not looked at
//! is in progress. The rules are those of kstatus (kubernetes-sigs/cli-utils, pkg/kstatus/status), so that `kubectl wait`-like tools and
//! we say the same, with these differences, each to keep a commit from turning green too early:
//!
//! | kind | kstatus | here |
//! |---|---|---|
//! | Job | current once it has started | current once it is complete (or suspended) |
//! | Pod that failed | current | failed |
//! | Pod that cannot pull its image | in progress | failed, as a crash loop |
//! | Service of type LoadBalancer | current once it has a cluster IP | current once it has an address outside |
//! | PersistentVolumeClaim that lost its volume | in progress | failed |
//! | StatefulSet with `OnDelete` | current | its replicas must be ready, whatever their revision |
//! | HorizontalPodAutoscaler, APIService | current | by their conditions |
//! | conditions that speak of an older generation | believed | in progress |

use std::collections::BTreeMap;
use std::fmt;

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

mod lean;

use lean::Lean;

/// How long a Pod may be unschedulable before that counts as a failure: a cluster autoscaler first has to notice (kstatus has the same 15 s).
const SCHEDULE_WINDOW: SignedDuration = SignedDuration::from_secs(15);
/// The longest message, in characters. A commit status takes 140; admission webhooks write pages into conditions.
const MESSAGE: usize = 200;

/// Why a container that waits will not start by waiting alone.
const DOOMED: &[(&str, &str)] = &[
    ("CrashLoopBackOff", "crashes again and again"),
    ("ImagePullBackOff", "cannot pull its image"),
    ("ErrImagePull", "cannot pull its image"),
    ("ErrImageNeverPull", "may not pull its image"),
    ("InvalidImageName", "has an invalid image name"),
    ("CreateContainerConfigError", "cannot be configured"),
    ("CreateContainerError", "cannot be created"),
    ("RunContainerError", "cannot be run"),
];

/// How a live object does.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Health {
    /// It does what its spec says.
    Current,
    /// It is on the way; what it still waits for.
    InProgress(String),
    /// It will not get there without a change; why.
    Failed(String),
    /// It is being deleted.
    Terminating,
    /// It is not there.
    #[default]
    NotFound,
    /// Nothing can be said; why.
    Unknown(String),
}

impl Health {
    /// Whether it does what its spec says: the only state that is green.
    pub fn is_current(&self) -> bool {
        matches!(self, Self::Current)
    }

    /// Whether it will not get there without a change.
    pub fn is_failed(&self) -> bool {
        matches!(self, Self::Failed(_))
    }

    /// What is the matter, in words; empty if it is current.
    pub fn message(&self) -> &str {
        match self {
            Self::Current => "",
            Self::InProgress(message) | Self::Failed(message) | Self::Unknown(message) => message,
            Self::Terminating => "is being deleted",
            Self::NotFound => "is not there",
        }
    }
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Current => f.write_str("current"),
            Self::InProgress(message) => write!(f, "in progress: {message}"),
            Self::Failed(message) => write!(f, "failed: {message}"),
            Self::Terminating => f.write_str("terminating"),
            Self::NotFound => f.write_str("not found"),
            Self::Unknown(message) => write!(f, "unknown: {message}"),
        }
    }
}

type Rule = fn(&Live<'_>, Timestamp) -> Health;

/// Group, kind and rule. What is not listed is judged by its conditions ([`custom`]).
const RULES: &[(&str, &str, Rule)] = &[
    ("", "PersistentVolumeClaim", claim),
    ("", "Pod", pod),
    ("", "ReplicationController", replica_set),
    ("", "Service", service),
    ("apiextensions.k8s.io", "CustomResourceDefinition", definition),
    ("apiregistration.k8s.io", "APIService", api_service),
    ("apps", "DaemonSet", daemon_set),
    ("apps", "Deployment", deployment),
    ("apps", "ReplicaSet", replica_set),
    ("apps", "StatefulSet", stateful_set),
    ("autoscaling", "HorizontalPodAutoscaler", autoscaler),
    ("batch", "CronJob", always),
    ("batch", "Job", job),
    ("networking.k8s.io", "Ingress", always),
    ("policy", "PodDisruptionBudget", disruption_budget),
];

/// Judges a live object as the API server gave it, with its status.
pub fn health(object: &Value, now: Timestamp) -> Health {
    let live = Live::of(object);
    let kind = live.text("/kind");
    if kind.is_empty() {
        return no_object();
    }
    judge(&live, live.text("/apiVersion"), kind, now)
}

fn no_object() -> Health {
    Health::Unknown("what the server sent is no object".into())
}

fn judge(live: &Live<'_>, api_version: &str, kind: &str, now: Timestamp) -> Health {
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    let rule = RULES.iter().find(|row| row.0 == group && row.1 == kind).map_or(custom as Rule, |row| row.2);
    generic(live).unwrap_or_else(|| rule(live, now))
}

/// The same from the text of an object, as the API server wrote it. Of the text only that is read by which a rule judges; most of a workload is the
/// template of its Pods, and most of any object its managed fields.
pub fn health_of_text(api_version: &str, kind: &str, text: &str, now: Timestamp) -> Health {
    let object = match serde_json::from_str(text).map(Parts::into_object) {
        Ok(object) => object,
        // As odd as it may be, it is judged like any other.
        Err(_) => serde_json::from_str(text).unwrap_or_default(),
    };
    match object {
        // Pages leave the version and the kind out of their items.
        Lean::Map(_) => judge(&Live::Read(&object), api_version, kind, now),
        _ => no_object(),
    }
}

/// The parts of an object that rules look at.
#[derive(Deserialize)]
struct Parts<'a> {
    #[serde(borrow)]
    metadata: Option<Fields<'a>>,
    #[serde(borrow)]
    spec: Option<Fields<'a>>,
    #[serde(borrow)]
    status: Option<Lean<'a>>,
}

type Fields<'a> = BTreeMap<&'a str, &'a RawValue>;

/// What rules look at in a spec that is no single value.
const STRUCTURES: &[&str] = &["updateStrategy"];

impl<'a> Parts<'a> {
    fn into_object(self) -> Lean<'a> {
        let single = |(key, value): (&'a str, &'a RawValue)| {
            let is_kept = STRUCTURES.contains(&key) || !value.get().starts_with(['{', '[']);
            is_kept.then(|| Some((key.into(), serde_json::from_str(value.get()).ok()?))).flatten()
        };
        let part = |fields: Option<Fields<'a>>| Lean::Map(fields.into_iter().flatten().filter_map(single).collect());
        let parts = [("metadata", part(self.metadata)), ("spec", part(self.spec)), ("status", self.status.unwrap_or_default())];
        Lean::Map(parts.map(|(key, value)| (key.into(), value)).into())
    }
}

/// What holds for every kind; `None` where the rule of the kind decides.
fn generic(live: &Live<'_>) -> Option<Health> {
    if !live.text("/metadata/deletionTimestamp").is_empty() {
        return Some(Health::Terminating);
    }
    if live.is_stale() {
        return Some(waits("its controller has not seen the latest change yet"));
    }
    if let Some(stalled) = live.condition("Stalled").filter(Condition::is_true) {
        return Some(Health::Failed(stalled.words()));
    }
    live.condition("Reconciling").filter(Condition::is_true).map(|reconciling| waits(reconciling.words()))
}

/// An object of which nothing better is known: by the condition that says whether it is ready. Without one it is current, for nothing tells
/// a kind whose controller never reports from one whose controller has not reported yet.
fn custom(live: &Live<'_>, _: Timestamp) -> Health {
    match ["Ready", "Available"].into_iter().find_map(|name| live.condition(name)) {
        Some(condition) => by_condition(&condition),
        None => Health::Current,
    }
}

/// `False` is no failure: nothing tells a controller that still works from one that gave up (`Stalled` would).
fn by_condition(condition: &Condition<'_>) -> Health {
    if condition.is_true() { Health::Current } else { waits(condition.words()) }
}

fn always(_: &Live<'_>, _: Timestamp) -> Health {
    Health::Current
}

fn deployment(live: &Live<'_>, _: Timestamp) -> Health {
    let progressing = live.condition("Progressing");
    if let Some(stuck) = progressing.as_ref().filter(|condition| condition.reason == "ProgressDeadlineExceeded") {
        return Health::Failed(deadline_exceeded(live, stuck));
    }
    let paused = live.flag("/spec/paused");
    let counts = replicas(live, &[Count::Exist, Count::Updated, Count::Gone, Count::Available, Count::Ready]);
    let rolled_out = live.int("/spec/progressDeadlineSeconds").is_none_or(|seconds| seconds == i64::from(i32::MAX))
        || progressing.is_some_and(|condition| condition.is_true() && condition.reason == "NewReplicaSetAvailable");
    match counts {
        Some(message) => waits(if paused { format!("paused: {message}") } else { message }),
        None if !paused && !rolled_out => waits("its new ReplicaSet is not available yet"),
        None if !live.condition("Available").is_some_and(|condition| condition.is_true()) => waits("not available yet"),
        None => Health::Current,
    }
}

fn deadline_exceeded(live: &Live<'_>, stuck: &Condition<'_>) -> String {
    let count = replicas(live, &[Count::Exist, Count::Updated, Count::Available, Count::Ready]);
    let what = count.unwrap_or_else(|| one_line(stuck.message));
    match live.int("/spec/progressDeadlineSeconds") {
        Some(seconds) => format!("no progress for {seconds} s: {what}"),
        None => format!("no progress: {what}"),
    }
}

fn stateful_set(live: &Live<'_>, _: Timestamp) -> Health {
    if let Some(message) = replicas(live, &[Count::Exist, Count::Ready, Count::Gone]) {
        return waits(message);
    }
    if live.text("/spec/updateStrategy/type") == "OnDelete" {
        return Health::Current;
    }
    let (wanted, updated) = (live.wanted(), live.count("/status/updatedReplicas"));
    let partition = live.count("/spec/updateStrategy/rollingUpdate/partition");
    let due = (wanted - partition).max(0);
    if updated < due {
        return waits(of(updated, due, "updated"));
    }
    if partition == 0 && live.text("/status/currentRevision") != live.text("/status/updateRevision") {
        return waits("the last replicas of the old revision are being replaced");
    }
    Health::Current
}

fn daemon_set(live: &Live<'_>, _: Timestamp) -> Health {
    let (Some(wanted), true) = (live.int("/status/desiredNumberScheduled"), live.is_observed()) else { return unseen() };
    let on_delete = live.text("/spec/updateStrategy/type") == "OnDelete";
    let counts = [
        ("/status/currentNumberScheduled", "started", false),
        ("/status/updatedNumberScheduled", "updated", on_delete),
        ("/status/numberAvailable", "available", false),
        ("/status/numberReady", "ready", false),
    ];
    let behind = counts.iter().find(|(field, _, skipped)| !skipped && live.count(field) < wanted);
    behind.map_or(Health::Current, |(field, word, _)| waits(format!("{} of {wanted} nodes {word}", live.count(field))))
}

fn replica_set(live: &Live<'_>, _: Timestamp) -> Health {
    replicas(live, &[Count::Exist, Count::Available, Count::Ready, Count::Gone]).map_or(Health::Current, waits)
}

/// Which numbers of a replicated workload have to be right.
#[derive(Clone, Copy)]
enum Count {
    Exist,
    Updated,
    Available,
    Ready,
    /// There are no more than wanted.
    Gone,
}

/// What is not right yet about the replicas, by the first of `counts` that is not.
fn replicas(live: &Live<'_>, counts: &[Count]) -> Option<String> {
    if !live.is_observed() {
        return Some(UNSEEN.into());
    }
    let wanted = live.wanted();
    let behind = |field, word| Some(live.count(field)).filter(|count| *count < wanted).map(|count| of(count, wanted, word));
    let told = counts.iter().find_map(|count| match count {
        Count::Exist => behind("/status/replicas", "created"),
        Count::Updated => behind("/status/updatedReplicas", "updated"),
        Count::Available => behind("/status/availableReplicas", "available"),
        Count::Ready => behind("/status/readyReplicas", "ready"),
        Count::Gone => Some(live.count("/status/replicas") - wanted)
            .filter(|left| *left > 0)
            .map(|left| format!("{left} more than wanted still running")),
    })?;
    match live.condition("ReplicaFailure").filter(Condition::is_true) {
        Some(failure) => Some(clip(format!("{told}: {}", failure.words()))),
        None => Some(told),
    }
}

fn job(live: &Live<'_>, _: Timestamp) -> Health {
    if let Some(failed) = live.condition("Failed").filter(Condition::is_true) {
        return Health::Failed(failed.words());
    }
    if ["Complete", "Suspended"].into_iter().any(|name| live.condition(name).is_some_and(|condition| condition.is_true())) {
        return Health::Current;
    }
    if live.text("/status/startTime").is_empty() {
        return waits("not started yet");
    }
    let wanted = live.int("/spec/completions").or(live.int("/spec/parallelism")).unwrap_or(1);
    let (done, active, failed) = (live.count("/status/succeeded"), live.count("/status/active"), live.count("/status/failed"));
    waits(format!("{done} of {wanted} succeeded, {active} running, {failed} failed"))
}

fn pod(live: &Live<'_>, now: Timestamp) -> Health {
    match live.text("/status/phase") {
        "Succeeded" => Health::Current,
        "Failed" => Health::Failed(pod_failure(live)),
        "Running" if live.condition("Ready").is_some_and(|condition| condition.is_true()) => Health::Current,
        "Running" | "Pending" => {
            doomed_container(live).map(Health::Failed).or_else(|| unschedulable(live, now)).unwrap_or_else(|| starting(live))
        }
        "" => unseen(),
        phase => Health::Unknown(clip(format!("phase {phase}"))),
    }
}

fn pod_failure(live: &Live<'_>) -> String {
    match (live.text("/status/reason"), live.text("/status/message")) {
        ("", "") => live.containers().find_map(|container| exit(&container, "/state/terminated")).unwrap_or_else(|| "it failed".into()),
        (reason, message) => join(reason, message),
    }
}

fn starting(live: &Live<'_>) -> Health {
    let unready =
        ["Ready", "PodScheduled"].into_iter().filter_map(|name| live.condition(name)).find(|it| !it.is_true() && !it.message.is_empty());
    unready.map_or_else(|| waits("not running yet"), |condition| waits(one_line(condition.message)))
}

/// The first container that will not start by waiting alone, and why.
pub(crate) fn doomed_container(live: &Live<'_>) -> Option<String> {
    live.containers().find_map(|container| {
        let waiting = container.at("/state/waiting")?;
        let (_, words) = DOOMED.iter().find(|(reason, _)| *reason == waiting.text("/reason"))?;
        let why = exit(&container, "/lastState/terminated").unwrap_or_else(|| one_line(waiting.text("/message")));
        Some(clip(format!("container {} {words}{}{why}", container.text("/name"), if why.is_empty() { "" } else { ": " })))
    })
}

/// How a container ended, as `exit code 137 (OOMKilled)`; `None` where it has not, or not in failure.
pub(crate) fn exit(container: &Live<'_>, pointer: &str) -> Option<String> {
    let ended = container.at(pointer)?;
    let code = ended.int("/exitCode").filter(|code| *code != 0)?;
    Some(match ended.text("/reason") {
        "" | "Error" => format!("exit code {code}"),
        reason => clip(format!("exit code {code} ({reason})")),
    })
}

fn unschedulable(live: &Live<'_>, now: Timestamp) -> Option<Health> {
    let condition = live.condition("PodScheduled").filter(|condition| !condition.is_true() && condition.reason == "Unschedulable")?;
    let created: Option<Timestamp> = live.text("/metadata/creationTimestamp").parse().ok();
    let message = condition.words();
    let waited = created.is_some_and(|created| now.duration_since(created) > SCHEDULE_WINDOW);
    Some(if waited { Health::Failed(message) } else { waits(message) })
}

fn service(live: &Live<'_>, _: Timestamp) -> Health {
    let addresses = live.items("/status/loadBalancer/ingress").count();
    if live.text("/spec/type") == "LoadBalancer" && addresses == 0 {
        return waits("the provider's load balancer has given no address yet");
    }
    Health::Current
}

fn claim(live: &Live<'_>, _: Timestamp) -> Health {
    match live.text("/status/phase") {
        "Bound" => Health::Current,
        "Lost" => Health::Failed("the volume that it was bound to is gone".into()),
        _ => match live.text("/spec/storageClassName") {
            "" => waits("no volume is bound to it yet"),
            class => waits(clip(format!("no volume of class {class} is bound to it yet"))),
        },
    }
}

fn disruption_budget(live: &Live<'_>, _: Timestamp) -> Health {
    if !live.is_observed() {
        return unseen();
    }
    let failure = live.condition("DisruptionAllowed").filter(|condition| !condition.is_true() && condition.reason == "SyncFailed");
    failure.map_or(Health::Current, |condition| waits(condition.words()))
}

fn autoscaler(live: &Live<'_>, _: Timestamp) -> Health {
    // `ScalingDisabled` says that the target has no replicas: somebody's wish, not a fault.
    let idle = |condition: &Condition<'_>| condition.is_true() || condition.reason == "ScalingDisabled";
    let mut conditions = ["AbleToScale", "ScalingActive"].into_iter().filter_map(|name| live.condition(name)).peekable();
    if conditions.peek().is_none() {
        return unseen();
    }
    conditions.find(|condition| !idle(condition)).map_or(Health::Current, |condition| waits(condition.words()))
}

fn definition(live: &Live<'_>, _: Timestamp) -> Health {
    if let Some(refused) = live.condition("NamesAccepted").filter(|condition| condition.status == "False") {
        return Health::Failed(refused.words());
    }
    match live.condition("Established") {
        Some(condition) if condition.is_true() => Health::Current,
        Some(condition) if condition.status == "False" && condition.reason != "Installing" => Health::Failed(condition.words()),
        _ => waits("the API server does not serve it yet"),
    }
}

fn api_service(live: &Live<'_>, _: Timestamp) -> Health {
    live.condition("Available").map_or_else(unseen, |condition| by_condition(&condition))
}

const UNSEEN: &str = "its controller has not seen it yet";

fn unseen() -> Health {
    waits(UNSEEN)
}

fn waits(message: impl Into<String>) -> Health {
    Health::InProgress(message.into())
}

fn of(count: i64, wanted: i64, word: &str) -> String {
    format!("{count} of {wanted} replicas {word}")
}

/// A reason and a message as one sentence; reasons are CamelCase words, messages may be empty or whole pages.
fn join(reason: &str, message: &str) -> String {
    match (reason, message.trim()) {
        (reason, "") => one_line(reason),
        ("", message) => one_line(message),
        (reason, message) => one_line(&format!("{reason}: {message}")),
    }
}

fn one_line(text: &str) -> String {
    // Bounded before it is split: a message may be as large as an object.
    let start: String = text.chars().take(MESSAGE * 4).collect();
    clip(start.split_whitespace().collect::<Vec<_>>().join(" "))
}

fn clip(text: String) -> String {
    if text.chars().count() <= MESSAGE {
        return text;
    }
    text.chars().take(MESSAGE - 1).chain(['…']).collect()
}

/// A condition of a live object.
pub(crate) struct Condition<'a> {
    pub(crate) status: &'a str,
    reason: &'a str,
    pub(crate) message: &'a str,
}

impl Condition<'_> {
    pub(crate) fn is_true(&self) -> bool {
        self.status == "True"
    }

    pub(crate) fn words(&self) -> String {
        match join(self.reason, self.message) {
            words if words.is_empty() => "not ready, and its controller says no more".into(),
            words => words,
        }
    }
}

/// A live object, read leniently: a field of another type than expected counts as absent.
#[derive(Clone, Copy)]
pub(crate) enum Live<'a> {
    Whole(&'a Value),
    Read(&'a Lean<'a>),
}

impl<'a> Live<'a> {
    pub(crate) fn of(object: &'a Value) -> Self {
        Self::Whole(object)
    }

    /// A field by its JSON pointer.
    pub(crate) fn at(&self, pointer: &str) -> Option<Self> {
        match self {
            Self::Whole(value) => value.pointer(pointer).map(Self::Whole),
            Self::Read(lean) => pointer.split('/').skip(1).try_fold(*lean, |value, name| value.get(name)).map(Self::Read),
        }
    }

    pub(crate) fn text(&self, pointer: &str) -> &'a str {
        match self.at(pointer) {
            Some(Self::Whole(Value::String(text))) => text,
            Some(Self::Read(Lean::Text(text))) => text,
            _ => "",
        }
    }

    fn int(&self, pointer: &str) -> Option<i64> {
        match self.at(pointer)? {
            Self::Whole(value) => value.as_i64(),
            Self::Read(Lean::Int(number)) => Some(*number),
            Self::Read(_) => None,
        }
    }

    /// The items of a list; none where there is no list.
    pub(crate) fn items(&self, pointer: &str) -> impl Iterator<Item = Self> + use<'a> {
        let (whole, read): (&[Value], &[Lean<'a>]) = match self.at(pointer) {
            Some(Self::Whole(Value::Array(items))) => (items, &[]),
            Some(Self::Read(Lean::List(items))) => (&[], items),
            _ => (&[], &[]),
        };
        whole.iter().map(Self::Whole).chain(read.iter().map(Self::Read))
    }

    /// A number that the API leaves out when it is 0.
    pub(crate) fn count(&self, pointer: &str) -> i64 {
        self.int(pointer).unwrap_or(0)
    }

    pub(crate) fn flag(&self, pointer: &str) -> bool {
        matches!(self.at(pointer), Some(Self::Whole(Value::Bool(true)) | Self::Read(Lean::Flag(true))))
    }

    /// How many replicas are wanted; 1 where the spec says none.
    fn wanted(&self) -> i64 {
        self.int("/spec/replicas").unwrap_or(1)
    }

    fn conditions(&self) -> impl Iterator<Item = Live<'a>> + use<'a> {
        self.items("/status/conditions")
    }

    pub(crate) fn condition(&self, name: &str) -> Option<Condition<'a>> {
        let found = self.conditions().find(|condition| condition.text("/type") == name)?;
        Some(Condition { status: found.text("/status"), reason: found.text("/reason"), message: found.text("/message") })
    }

    /// The states of the containers, those that start the Pod first.
    pub(crate) fn containers(&self) -> impl Iterator<Item = Live<'a>> + use<'a> {
        self.items("/status/initContainerStatuses").chain(self.items("/status/containerStatuses"))
    }

    /// Whether the status says which generation it is about; what it says is compared in [`Live::is_stale`].
    fn is_observed(&self) -> bool {
        self.int("/status/observedGeneration").is_some()
    }

    /// Whether the status, or the condition that would decide, is about an older generation of the spec.
    fn is_stale(&self) -> bool {
        let Some(generation) = self.int("/metadata/generation") else { return false };
        let deciding = ["Ready", "Available", "Stalled", "Reconciling"];
        let older = |observed: Option<i64>| observed.is_some_and(|observed| observed < generation);
        older(self.int("/status/observedGeneration"))
            || self.conditions().any(|it| deciding.contains(&it.text("/type")) && older(it.int("/observedGeneration")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "2026-03-01T12:00:00Z";

    /// Judges an object that is written as YAML, as a tree and as text; `group/version Kind` stands before it.
    fn judge(kind: &str, yaml: &str) -> Health {
        let (api_version, kind) = kind.split_once(' ').unwrap();
        let mut object: Value = serde_yaml::from_str(if yaml.is_empty() { "{}" } else { yaml }).unwrap();
        object["apiVersion"] = api_version.into();
        object["kind"] = kind.into();
        let judged = health(&object, NOW.parse().unwrap());
        assert_eq!(health_of_text(api_version, kind, &object.to_string(), NOW.parse().unwrap()), judged, "{kind} {yaml}");
        judged
    }

    fn check(kind: &str, yaml: &str, expected: &str) {
        assert_eq!(judge(kind, yaml).to_string(), expected, "{kind} {yaml}");
    }

    #[test]
    fn what_has_no_status_to_wait_for_is_current() {
        for kind in [
            "v1 ConfigMap",
            "v1 Secret",
            "v1 Namespace",
            "rbac.authorization.k8s.io/v1 Role",
            "networking.k8s.io/v1 Ingress",
            "batch/v1 CronJob",
        ] {
            check(kind, "", "current");
        }
        check("v1 Namespace", "{metadata: {deletionTimestamp: '2026-03-01T11:00:00Z'}, status: {phase: Terminating}}", "terminating");
        assert_eq!(health(&Value::Null, Timestamp::UNIX_EPOCH), Health::Unknown("what the server sent is no object".into()));
    }

    #[test]
    fn a_status_about_an_older_generation_is_not_believed() {
        let stale = "in progress: its controller has not seen the latest change yet";
        check(
            "example.com/v1 Widget",
            "{metadata: {generation: 2}, status: {observedGeneration: 1, conditions: [{type: Ready, status: 'True'}]}}",
            stale,
        );
        check(
            "example.com/v1 Widget",
            "{metadata: {generation: 2}, status: {conditions: [{type: Ready, status: 'True', observedGeneration: 1}]}}",
            stale,
        );
        check(
            "example.com/v1 Widget",
            "{metadata: {generation: 2}, status: {conditions: [{type: Other, status: 'True', observedGeneration: 1}]}}",
            "current",
        );
        check(
            "example.com/v1 Widget",
            "{metadata: {generation: 2}, status: {observedGeneration: 2, conditions: [{type: Ready, status: 'True'}]}}",
            "current",
        );
    }

    #[test]
    fn a_custom_resource_is_what_its_conditions_say() {
        let widget =
            |conditions: &str, expected| check("example.com/v1 Widget", &format!("{{status: {{conditions: [{conditions}]}}}}"), expected);
        widget("", "current");
        widget("{type: Unheard, status: 'False'}", "current");
        widget("{type: Ready, status: 'True'}", "current");
        widget("{type: Ready, status: Unknown, reason: Starting}", "in progress: Starting");
        widget("{type: Ready, status: 'False', reason: NoDisk, message: \"no disk\\n is free\"}", "in progress: NoDisk: no disk is free");
        widget("{type: Ready, status: 'False'}", "in progress: not ready, and its controller says no more");
        widget("{type: Available, status: 'False', message: m}", "in progress: m");
        widget("{type: Available, status: 'False'}, {type: Ready, status: 'True'}", "current");
        widget("{type: Ready, status: 'False'}, {type: Stalled, status: 'True', reason: Broken, message: m}", "failed: Broken: m");
        widget("{type: Ready, status: 'True'}, {type: Reconciling, status: 'True', reason: Working}", "in progress: Working");
        widget("{type: Reconciling, status: 'False'}, {type: Stalled, status: 'False'}", "current");
    }

    #[test]
    fn unexpected_types_are_no_panic_and_no_green_workload() {
        check(
            "apps/v1 Deployment",
            "{metadata: 3, spec: [], status: {conditions: {type: Available}}}",
            "in progress: its controller has not seen it yet",
        );
        check("v1 Pod", "{status: {phase: 7, containerStatuses: [1, null]}}", "in progress: its controller has not seen it yet");
        check("example.com/v1 Widget", "{status: [{type: Ready}]}", "current");
        check("v1 Pod", "{status: {phase: Dreaming}}", "unknown: phase Dreaming");
    }

    #[test]
    fn a_message_is_one_short_line() {
        let message = "word ".repeat(100_000);
        let health = judge(
            "example.com/v1 Widget",
            &format!("{{status: {{conditions: [{{type: Ready, status: 'False', message: '{message}'}}]}}}}"),
        );
        assert_eq!(health.message().chars().count(), MESSAGE);
        assert!(health.message().ends_with('…'));
    }

    const ROLLED_OUT: &str = "{type: Progressing, status: 'True', reason: NewReplicaSetAvailable}, {type: Available, status: 'True'}";

    fn deployment(status: &str, conditions: &str, expected: &str) {
        let yaml = format!(
            "{{metadata: {{generation: 2}}, spec: {{replicas: 3, progressDeadlineSeconds: 600}}, status: {{observedGeneration: 2, {status} conditions: [{conditions}]}}}}"
        );
        check("apps/v1 Deployment", &yaml, expected);
    }

    #[test]
    fn a_deployment_is_current_once_every_replica_is_new_and_available() {
        let all = "replicas: 3, updatedReplicas: 3, availableReplicas: 3, readyReplicas: 3,";
        deployment(all, ROLLED_OUT, "current");
        deployment("", "", "in progress: 0 of 3 replicas created");
        deployment("replicas: 3, updatedReplicas: 1,", ROLLED_OUT, "in progress: 1 of 3 replicas updated");
        deployment("replicas: 4, updatedReplicas: 3,", ROLLED_OUT, "in progress: 1 more than wanted still running");
        deployment("replicas: 3, updatedReplicas: 3, availableReplicas: 2,", ROLLED_OUT, "in progress: 2 of 3 replicas available");
        deployment(all, "{type: Available, status: 'True'}", "in progress: its new ReplicaSet is not available yet");
        deployment(all, "{type: Progressing, status: 'True', reason: NewReplicaSetAvailable}", "in progress: not available yet");
        check("apps/v1 Deployment", "{spec: {replicas: 0}}", "in progress: its controller has not seen it yet");
    }

    #[test]
    fn a_deployment_without_a_deadline_has_no_progress_to_wait_for() {
        let yaml = |spec: &str, status: &str| {
            format!(
                "{{spec: {{replicas: 0 {spec}}}, status: {{observedGeneration: 1, {status} conditions: [{{type: Available, status: 'True'}}]}}}}"
            )
        };
        check("apps/v1 Deployment", &yaml("", ""), "current");
        check("apps/v1 Deployment", &yaml(", progressDeadlineSeconds: 2147483647", ""), "current");
        check("apps/v1 Deployment", &yaml(", progressDeadlineSeconds: 600", ""), "in progress: its new ReplicaSet is not available yet");
        check("apps/v1 Deployment", &yaml(", progressDeadlineSeconds: 600, paused: true", ""), "current");
        check("apps/v1 Deployment", &yaml(", paused: true", "replicas: 1,"), "in progress: paused: 1 more than wanted still running");
    }

    #[test]
    fn a_deployment_without_progress_has_failed_and_says_what_is_missing() {
        let stuck = "{type: Progressing, status: 'False', reason: ProgressDeadlineExceeded, message: has timed out}";
        deployment(
            "replicas: 3, updatedReplicas: 3, availableReplicas: 1,",
            stuck,
            "failed: no progress for 600 s: 1 of 3 replicas available",
        );
        deployment(
            "replicas: 3, updatedReplicas: 3, availableReplicas: 3, readyReplicas: 3,",
            stuck,
            "failed: no progress for 600 s: has timed out",
        );
        let quota = "{type: ReplicaFailure, status: 'True', reason: FailedCreate, message: exceeded quota}";
        deployment("", quota, "in progress: 0 of 3 replicas created: FailedCreate: exceeded quota");
    }

    #[test]
    fn a_stateful_set_is_current_once_every_replica_has_the_new_revision() {
        let set = |spec: &str, status: &str, expected| {
            check(
                "apps/v1 StatefulSet",
                &format!("{{spec: {{replicas: 3 {spec}}}, status: {{observedGeneration: 1, {status}}}}}"),
                expected,
            );
        };
        let ready = "replicas: 3, readyReplicas: 3, currentReplicas: 3, updatedReplicas: 3, currentRevision: b, updateRevision: b";
        set("", ready, "current");
        set("", "replicas: 1, readyReplicas: 1", "in progress: 1 of 3 replicas created");
        set("", "replicas: 3, readyReplicas: 2", "in progress: 2 of 3 replicas ready");
        set("", "replicas: 4, readyReplicas: 4", "in progress: 1 more than wanted still running");
        set("", "replicas: 3, readyReplicas: 3, updatedReplicas: 1", "in progress: 1 of 3 replicas updated");
        let mixed = "replicas: 3, readyReplicas: 3, updatedReplicas: 3, currentRevision: a, updateRevision: b";
        set("", mixed, "in progress: the last replicas of the old revision are being replaced");
        let partition = ", updateStrategy: {rollingUpdate: {partition: 2}}";
        set(partition, "replicas: 3, readyReplicas: 3, currentRevision: a, updateRevision: b", "in progress: 0 of 1 replicas updated");
        set(partition, "replicas: 3, readyReplicas: 3, updatedReplicas: 1, currentRevision: a, updateRevision: b", "current");
        set(", updateStrategy: {type: OnDelete}", "replicas: 3, readyReplicas: 3, currentRevision: a, updateRevision: b", "current");
        set(", updateStrategy: {type: OnDelete}", "replicas: 3", "in progress: 0 of 3 replicas ready");
        check("apps/v1 StatefulSet", "{spec: {replicas: 0}}", "in progress: its controller has not seen it yet");
    }

    #[test]
    fn a_daemon_set_is_current_once_every_node_has_the_new_pod() {
        let set = |spec: &str, status: &str, expected| {
            check("apps/v1 DaemonSet", &format!("{{spec: {{{spec}}}, status: {{observedGeneration: 1, {status}}}}}"), expected);
        };
        let all = "desiredNumberScheduled: 2, currentNumberScheduled: 2, updatedNumberScheduled: 2, numberAvailable: 2, numberReady: 2";
        set("", all, "current");
        set("", "desiredNumberScheduled: 0", "current");
        set("", "", "in progress: its controller has not seen it yet");
        set("", "desiredNumberScheduled: 2", "in progress: 0 of 2 nodes started");
        let old = "desiredNumberScheduled: 2, currentNumberScheduled: 2, updatedNumberScheduled: 1, numberAvailable: 2, numberReady: 2";
        set("", old, "in progress: 1 of 2 nodes updated");
        set("updateStrategy: {type: OnDelete}", old, "current");
        set(
            "",
            "desiredNumberScheduled: 2, currentNumberScheduled: 2, updatedNumberScheduled: 2, numberAvailable: 1",
            "in progress: 1 of 2 nodes available",
        );
    }

    #[test]
    fn a_replica_set_is_current_once_its_replicas_are_available() {
        for kind in ["apps/v1 ReplicaSet", "v1 ReplicationController"] {
            check(kind, "{status: {observedGeneration: 1, replicas: 1, readyReplicas: 1, availableReplicas: 1}}", "current");
            check(kind, "{status: {observedGeneration: 1, replicas: 1}}", "in progress: 0 of 1 replicas available");
            check(
                kind,
                "{spec: {replicas: 0}, status: {observedGeneration: 1, replicas: 1}}",
                "in progress: 1 more than wanted still running",
            );
        }
    }

    #[test]
    fn a_job_is_current_once_it_is_complete() {
        let job = |status: &str, expected| check("batch/v1 Job", &format!("{{spec: {{completions: 2}}, status: {{{status}}}}}"), expected);
        job("", "in progress: not started yet");
        job("startTime: x, active: 1, succeeded: 1, failed: 3", "in progress: 1 of 2 succeeded, 1 running, 3 failed");
        job("startTime: x, conditions: [{type: Complete, status: 'True'}]", "current");
        job("conditions: [{type: Suspended, status: 'True'}]", "current");
        job(
            "conditions: [{type: Failed, status: 'True', reason: BackoffLimitExceeded, message: Job has reached the specified backoff limit}]",
            "failed: BackoffLimitExceeded: Job has reached the specified backoff limit",
        );
    }

    #[test]
    fn a_pod_is_current_once_it_is_ready_or_has_succeeded() {
        let pod = |status: &str, expected| check("v1 Pod", &format!("{{status: {{{status}}}}}"), expected);
        pod("phase: Running, conditions: [{type: Ready, status: 'True'}]", "current");
        pod("phase: Succeeded", "current");
        pod("phase: Running", "in progress: not running yet");
        pod(
            "phase: Running, conditions: [{type: Ready, status: 'False', message: 'containers with unready status: [api]'}]",
            "in progress: containers with unready status: [api]",
        );
        pod("phase: Failed, reason: Evicted, message: The node was low on memory.", "failed: Evicted: The node was low on memory.");
        pod("phase: Failed, containerStatuses: [{name: a, state: {terminated: {exitCode: 2, reason: Error}}}]", "failed: exit code 2");
        pod("phase: Failed", "failed: it failed");
    }

    #[test]
    fn a_pod_whose_container_will_not_start_by_waiting_has_failed() {
        let pod = |phase: &str, list: &str, container: &str, expected| {
            check(
                "v1 Pod",
                &format!("{{status: {{phase: {phase}, {list}: [{{name: ok, state: {{running: {{}}}}}}, {{name: api, {container}}}]}}}}"),
                expected,
            );
        };
        pod(
            "Running",
            "containerStatuses",
            "state: {waiting: {reason: CrashLoopBackOff, message: back-off 5m0s}}, lastState: {terminated: {exitCode: 137, reason: OOMKilled}}",
            "failed: container api crashes again and again: exit code 137 (OOMKilled)",
        );
        pod(
            "Pending",
            "containerStatuses",
            "state: {waiting: {reason: ImagePullBackOff, message: Back-off pulling image nginx:nope}}",
            "failed: container api cannot pull its image: Back-off pulling image nginx:nope",
        );
        pod(
            "Pending",
            "initContainerStatuses",
            "state: {waiting: {reason: CreateContainerConfigError, message: 'configmap \"x\" not found'}}",
            "failed: container api cannot be configured: configmap \"x\" not found",
        );
        pod("Pending", "containerStatuses", "state: {waiting: {reason: ContainerCreating}}", "in progress: not running yet");
    }

    #[test]
    fn a_pod_that_no_node_takes_has_failed_after_a_while() {
        let pod = |created: &str, expected| {
            check(
                "v1 Pod",
                &format!(
                    "{{metadata: {{creationTimestamp: '{created}'}}, status: {{phase: Pending, conditions: [{{type: PodScheduled, status: 'False', reason: Unschedulable, message: 0/3 nodes are available}}]}}}}"
                ),
                expected,
            );
        };
        pod("2026-03-01T11:59:50Z", "in progress: Unschedulable: 0/3 nodes are available");
        pod("2026-03-01T11:59:44Z", "failed: Unschedulable: 0/3 nodes are available");
        pod("soon", "in progress: Unschedulable: 0/3 nodes are available");
    }

    #[test]
    fn a_load_balancer_is_current_once_it_has_an_address() {
        check("v1 Service", "{spec: {type: ClusterIP}}", "current");
        check("v1 Service", "{spec: {type: LoadBalancer}, status: {loadBalancer: {ingress: [{ip: 192.0.2.1}]}}}", "current");
        let waits = "in progress: the provider's load balancer has given no address yet";
        check("v1 Service", "{spec: {type: LoadBalancer}, status: {loadBalancer: {}}}", waits);
        check("v1 Service", "{spec: {type: LoadBalancer}, status: {loadBalancer: {ingress: []}}}", waits);
    }

    #[test]
    fn a_claim_is_current_once_it_is_bound() {
        check("v1 PersistentVolumeClaim", "{status: {phase: Bound}}", "current");
        check(
            "v1 PersistentVolumeClaim",
            "{spec: {storageClassName: fast}, status: {phase: Pending}}",
            "in progress: no volume of class fast is bound to it yet",
        );
        check("v1 PersistentVolumeClaim", "", "in progress: no volume is bound to it yet");
        check("v1 PersistentVolumeClaim", "{status: {phase: Lost}}", "failed: the volume that it was bound to is gone");
    }

    #[test]
    fn a_disruption_budget_is_current_once_it_was_computed() {
        check(
            "policy/v1 PodDisruptionBudget",
            "{status: {observedGeneration: 1, conditions: [{type: DisruptionAllowed, status: 'False', reason: InsufficientPods}]}}",
            "current",
        );
        check("policy/v1 PodDisruptionBudget", "", "in progress: its controller has not seen it yet");
        check(
            "policy/v1 PodDisruptionBudget",
            "{status: {observedGeneration: 1, conditions: [{type: DisruptionAllowed, status: 'False', reason: SyncFailed, message: no scale}]}}",
            "in progress: SyncFailed: no scale",
        );
    }

    #[test]
    fn an_autoscaler_is_current_once_it_can_measure_and_scale() {
        let autoscaler = |conditions: &str, expected| {
            check("autoscaling/v2 HorizontalPodAutoscaler", &format!("{{status: {{conditions: [{conditions}]}}}}"), expected)
        };
        autoscaler("", "in progress: its controller has not seen it yet");
        autoscaler("{type: AbleToScale, status: 'True'}, {type: ScalingActive, status: 'True'}", "current");
        autoscaler("{type: AbleToScale, status: 'True'}, {type: ScalingActive, status: 'False', reason: ScalingDisabled}", "current");
        autoscaler(
            "{type: AbleToScale, status: 'True'}, {type: ScalingActive, status: 'False', reason: FailedGetResourceMetric, message: no metrics}",
            "in progress: FailedGetResourceMetric: no metrics",
        );
        autoscaler(
            "{type: AbleToScale, status: 'False', reason: FailedGetScale, message: not found}",
            "in progress: FailedGetScale: not found",
        );
    }

    #[test]
    fn a_definition_is_current_once_it_is_served() {
        let crd = |conditions: &str, expected| {
            check("apiextensions.k8s.io/v1 CustomResourceDefinition", &format!("{{status: {{conditions: [{conditions}]}}}}"), expected);
        };
        crd("", "in progress: the API server does not serve it yet");
        crd("{type: Established, status: 'False', reason: Installing}", "in progress: the API server does not serve it yet");
        crd("{type: NamesAccepted, status: 'True'}, {type: Established, status: 'True'}", "current");
        crd("{type: Established, status: 'False', reason: NotAccepted, message: m}", "failed: NotAccepted: m");
        crd(
            "{type: NamesAccepted, status: 'False', reason: PluralConflict, message: m}, {type: Established, status: 'True'}",
            "failed: PluralConflict: m",
        );
    }

    #[test]
    fn an_api_service_is_current_once_it_is_available() {
        check("apiregistration.k8s.io/v1 APIService", "{status: {conditions: [{type: Available, status: 'True'}]}}", "current");
        check(
            "apiregistration.k8s.io/v1 APIService",
            "{status: {conditions: [{type: Available, status: 'False', reason: MissingEndpoints, message: m}]}}",
            "in progress: MissingEndpoints: m",
        );
        check("apiregistration.k8s.io/v1 APIService", "", "in progress: its controller has not seen it yet");
    }

    #[test]
    fn only_current_is_green() {
        assert!(Health::Current.is_current());
        for other in [
            Health::InProgress(String::new()),
            Health::Failed(String::new()),
            Health::Terminating,
            Health::NotFound,
            Health::Unknown(String::new()),
        ] {
            assert!(!other.is_current());
        }
    }
}
