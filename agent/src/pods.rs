//! Why a workload does not get on: the worst that its Pods say, and when that is a failure. It asks nobody; `lead` brings the Pods.
//!
//! A Deployment says "0 of 1 replicas available" for ten minutes, and only its Pods know that the image does not exist. They are asked
//! for while a workload is not healthy, less and less often, and not at all at rest.
//!
//! What waiting alone does not mend makes the workload fail before its deadline: a container that crashed three times, or one that
//! has been seen unable to start (no image, no Secret, ...) for 20 s. A Pod that no node takes is told and waited for: a cluster
//! autoscaler may be at work. How often a Job may crash is its own `backoffLimit`'s word.

use jiff::{SignedDuration, Timestamp};
use overlays::object::ObjectId;
use serde_json::Value;

use crate::health::{Health, Live, doomed_container, exit};

/// Restarts of a container that crashes now: the back-off doubles from 10 s, so by then it has had more than half a minute and three tries.
const RESTARTS: i64 = 3;
/// How long a container must be seen unable to start: a Secret or an image that is pushed a moment later is no failure.
const LASTING: SignedDuration = SignedDuration::from_secs(20);
/// How long a workload may be on its way before anybody asks: most are healthy by then.
const FIRST_ASK: SignedDuration = SignedDuration::from_secs(3);
/// The wait after the first answer; it doubles up to [`LONGEST_WAIT`].
const WAIT: SignedDuration = SignedDuration::from_secs(5);
/// See [`WAIT`].
const LONGEST_WAIT: SignedDuration = SignedDuration::from_secs(60);
/// How often the Pods of a workload are asked for without its status changing: some five minutes in all.
const ASKS: u32 = 9;
/// The groups and kinds that make Pods.
const WORKLOADS: &[(&str, &str)] =
    &[("apps", "DaemonSet"), ("apps", "Deployment"), ("apps", "ReplicaSet"), ("apps", "StatefulSet"), ("batch", "Job")];

/// Whether objects of this kind make Pods.
pub fn is_workload(id: &ObjectId) -> bool {
    WORKLOADS.contains(&(&*id.group, &*id.kind))
}

/// How bad it is, the worst last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Gravity {
    /// Not ready.
    Unready,
    /// No node takes it.
    Unscheduled,
    /// A container ended in failure; its controller decides what follows.
    Ended,
    /// A container does not start, and waiting alone will not change that.
    Stuck,
    /// A container crashed [`RESTARTS`] times.
    Crashing,
}

/// What the Pods of a workload say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ailment {
    gravity: Gravity,
    words: String,
}

/// The worst that the Pods of a workload say; none if they say nothing. Pods that are not the workload's, are ending, or are of a revision that
/// is being replaced do not count.
pub fn ailment(workload: &Value, pods: &[Value]) -> Option<Ailment> {
    let ours = pods.iter().filter(|pod| is_owned(pod, workload) && is_newest(pod, workload));
    let worst = ours.filter_map(of_pod).reduce(|worst, next| if next.gravity > worst.gravity { next } else { worst })?;
    let retries = Live::of(workload).text("/kind") == "Job" && worst.gravity == Gravity::Crashing;
    Some(if retries { Ailment { gravity: Gravity::Ended, ..worst } } else { worst })
}

fn is_owned(object: &Value, owner: &Value) -> bool {
    let uid = Live::of(owner).text("/metadata/uid");
    !uid.is_empty()
        && Live::of(object)
            .items("/metadata/ownerReferences")
            .any(|reference| reference.flag("/controller") && reference.text("/uid") == uid)
}

fn is_newest(pod: &Value, workload: &Value) -> bool {
    let (pod, workload) = (Live::of(pod), Live::of(workload));
    let pairs = [
        ("/metadata/labels/controller-revision-hash", "/status/updateRevision"),
        ("/metadata/labels/pod-template-generation", "/metadata/annotations/deprecated.daemonset.template.generation"),
    ];
    pairs.iter().all(|(label, wanted)| {
        let (label, wanted) = (pod.text(label), workload.text(wanted));
        label.is_empty() || wanted.is_empty() || label == wanted
    })
}

fn of_pod(pod: &Value) -> Option<Ailment> {
    let live = Live::of(pod);
    let ready = live.condition("Ready");
    if live.text("/status/phase") == "Succeeded"
        || !live.text("/metadata/deletionTimestamp").is_empty()
        || ready.as_ref().is_some_and(|ready| ready.is_true())
    {
        return None;
    }
    let told = |gravity| move |words| Ailment { gravity, words };
    let crashing = || live.containers().find_map(crash).map(told(Gravity::Crashing));
    let stuck = || doomed_container(&live).map(told(Gravity::Stuck));
    let ended = || live.containers().find_map(|container| ended(&container, "/state/terminated")).map(told(Gravity::Ended));
    let refused = || live.condition("PodScheduled").filter(|scheduled| scheduled.status == "False");
    let unscheduled = || refused().map(|scheduled| scheduled.words()).map(told(Gravity::Unscheduled));
    let unready = || ready.filter(|ready| !ready.message.is_empty()).map(|ready| ready.words()).map(told(Gravity::Unready));
    crashing().or_else(stuck).or_else(ended).or_else(unscheduled).or_else(unready)
}

/// A container that crashes again and again, whether it waits for its next try or is in the middle of it.
fn crash(live: Live<'_>) -> Option<String> {
    let restarts = live.count("/restartCount");
    let waits = live.text("/state/waiting/reason") == "CrashLoopBackOff";
    let last = exit(&live, "/lastState/terminated").or_else(|| exit(&live, "/state/terminated"));
    if restarts < RESTARTS || live.flag("/ready") || (!waits && last.is_none()) {
        return None;
    }
    let why = last.map(|last| format!(": {last}")).unwrap_or_default();
    Some(format!("container {} crashes again and again ({restarts} restarts){why}", live.text("/name")))
}

fn ended(container: &Live<'_>, pointer: &str) -> Option<String> {
    Some(format!("container {} ended: {}", container.text("/name"), exit(container, pointer)?))
}

/// Of the ReplicaSets of a Deployment the one that is being rolled out: its Pods tell whether the change works.
pub fn newest<'a>(deployment: &Value, sets: &'a [Value]) -> Option<&'a Value> {
    let revision =
        |set: &&Value| Live::of(set).text("/metadata/annotations/deployment.kubernetes.io~1revision").parse::<u64>().unwrap_or_default();
    sets.iter().filter(|set| is_owned(set, deployment)).max_by_key(revision)
}

/// The label selector of a workload as a query has it; none where it selects nothing or in a way that is not known.
pub fn selector(workload: &Value) -> Option<String> {
    let selector = workload.pointer("/spec/selector")?;
    let labels = selector.get("matchLabels").and_then(Value::as_object).into_iter().flatten();
    let mut terms = labels.map(|(key, value)| Some(format!("{key}={}", value.as_str()?))).collect::<Option<Vec<_>>>()?;
    for expression in selector.get("matchExpressions").and_then(Value::as_array).into_iter().flatten() {
        terms.push(requirement(expression)?);
    }
    (!terms.is_empty()).then(|| terms.join(","))
}

fn requirement(expression: &Value) -> Option<String> {
    let live = Live::of(expression);
    let key = live.text("/key");
    let values: Vec<&str> = expression.get("values").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    match live.text("/operator") {
        "In" => Some(format!("{key} in ({})", values.join(","))),
        "NotIn" => Some(format!("{key} notin ({})", values.join(","))),
        "Exists" => Some(key.to_owned()),
        "DoesNotExist" => Some(format!("!{key}")),
        _ => None,
    }
}

/// What is known of a workload that is not healthy: how it does by its own status, what its Pods said, and when they are asked next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inquiry {
    generation: i64,
    /// By the status of the workload itself.
    health: Health,
    next: Option<Timestamp>,
    asked: u32,
    said: Option<Ailment>,
    /// Since when each answer was that a container can't start.
    stuck_since: Option<Timestamp>,
    failed: bool,
}

impl Inquiry {
    /// Nobody was asked yet.
    pub fn new(generation: i64, health: Health) -> Self {
        Self { generation, health, next: None, asked: 0, said: None, stuck_since: None, failed: false }
    }

    /// The workload was seen again. What the Pods of an older generation said is forgotten.
    pub fn seen(&mut self, generation: i64, health: Health) {
        if self.generation != generation {
            *self = Self::new(generation, health);
            return;
        }
        if self.health != health {
            // One more look: its Pods have changed.
            self.asked = self.asked.min(ASKS - 1);
        }
        self.health = health;
    }

    /// When the Pods are to be asked for; none if enough is known. `now` is the beginning of the wait for one that is new.
    pub fn next(&mut self, now: Timestamp) -> Option<Timestamp> {
        let next = *self.next.get_or_insert(now + FIRST_ASK);
        (self.asked < ASKS).then_some(next)
    }

    /// The Pods were asked for, and this is what they said.
    pub fn answered(&mut self, said: Option<Ailment>, now: Timestamp) {
        let gravity = said.as_ref().map(|ailment| ailment.gravity);
        self.stuck_since = (gravity >= Some(Gravity::Stuck)).then(|| self.stuck_since.unwrap_or(now));
        self.failed = gravity == Some(Gravity::Crashing) || self.stuck_since.is_some_and(|begun| now.duration_since(begun) >= LASTING);
        self.said = said;
        self.next = Some(now + (WAIT * (1 << self.asked.min(8))).min(LONGEST_WAIT));
        // A failure that is known needs no more looks, unless the workload's own status changes.
        self.asked = if self.failed { ASKS } else { (self.asked + 1).min(ASKS) };
    }

    /// How the workload does, by its status and by its Pods.
    pub fn health(&self) -> Health {
        let Some(Ailment { words, .. }) = &self.said else { return self.health.clone() };
        match &self.health {
            Health::InProgress(status) if self.failed => Health::Failed(format!("{words}; {status}")),
            Health::InProgress(status) => Health::InProgress(format!("{words}; {status}")),
            Health::Failed(status) => Health::Failed(format!("{words}; {status}")),
            health => health.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    fn workload() -> Value {
        serde_json::json!({"metadata": {"uid": "w"}})
    }

    fn pod(status: &str) -> Value {
        let owner = "ownerReferences: [{controller: true, uid: w}]";
        serde_yaml::from_str(&format!("{{metadata: {{{owner}}}, status: {{{status}}}}}")).unwrap()
    }

    fn said(pods: &[Value]) -> String {
        ailment(&workload(), pods).map(|ailment| format!("{:?}: {}", ailment.gravity, ailment.words)).unwrap_or_default()
    }

    const PULL: &str = "phase: Pending, containerStatuses: [{name: api, state: {waiting: {reason: ErrImagePull, message: no such image}}}]";
    const LOOP: &str = "phase: Running, containerStatuses: [{name: api, restartCount: 5, state: {waiting: {reason: CrashLoopBackOff}},
        lastState: {terminated: {exitCode: 137, reason: OOMKilled}}}]";

    #[test]
    fn a_pod_says_why_it_does_not_get_on() {
        let table = [
            (PULL, "Stuck: container api cannot pull its image: no such image"),
            (LOOP, "Crashing: container api crashes again and again (5 restarts): exit code 137 (OOMKilled)"),
            (
                "phase: Running, containerStatuses: [{name: api, restartCount: 1, state: {waiting: {reason: CrashLoopBackOff}}}]",
                "Stuck: container api crashes again and again",
            ),
            (
                "phase: Running, containerStatuses: [{name: api, restartCount: 3, state: {running: {}}, lastState: {terminated: {exitCode: 1}}}]",
                "Crashing: container api crashes again and again (3 restarts): exit code 1",
            ),
            (
                "phase: Pending, initContainerStatuses: [{name: init, state: {waiting: {reason: CreateContainerConfigError, message: 'secret \"x\" not found'}}}]",
                "Stuck: container init cannot be configured: secret \"x\" not found",
            ),
            (
                "phase: Failed, containerStatuses: [{name: api, state: {terminated: {exitCode: 2}}}]",
                "Ended: container api ended: exit code 2",
            ),
            (
                "phase: Pending, conditions: [{type: PodScheduled, status: 'False', reason: Unschedulable, message: 0/3 nodes are available}]",
                "Unscheduled: Unschedulable: 0/3 nodes are available",
            ),
            (
                "phase: Running, conditions: [{type: Ready, status: 'False', message: 'containers with unready status: [api]'}]",
                "Unready: containers with unready status: [api]",
            ),
            ("phase: Running, conditions: [{type: Ready, status: 'True'}]", ""),
            ("phase: Succeeded", ""),
            ("phase: Pending", ""),
            ("", ""),
        ];
        for (status, expected) in table {
            assert_eq!(said(&[pod(status)]), expected, "{status}");
        }
    }

    #[test]
    fn the_worst_of_several_pods_is_told() {
        let unready = pod("phase: Running, conditions: [{type: Ready, status: 'False', message: m}]");
        assert!(said(&[unready.clone(), pod(PULL), unready.clone()]).starts_with("Stuck"));
        assert!(said(&[pod(PULL), pod(LOOP), unready]).starts_with("Crashing"));
    }

    #[test]
    fn pods_of_others_and_pods_that_are_ending_do_not_count() {
        let mut stranger = pod(LOOP);
        stranger["metadata"]["ownerReferences"][0]["uid"] = "other".into();
        let mut ending = pod(LOOP);
        ending["metadata"]["deletionTimestamp"] = "2026-03-01T12:00:00Z".into();
        assert_eq!(said(&[stranger, ending]), "");
    }

    #[test]
    fn a_pod_of_the_revision_that_is_being_replaced_does_not_count() {
        let mut old = pod(LOOP);
        old["metadata"]["labels"] = serde_json::json!({"controller-revision-hash": "a"});
        let set = serde_json::json!({"metadata": {"uid": "w"}, "status": {"updateRevision": "b"}});
        assert_eq!(ailment(&set, std::slice::from_ref(&old)), None);
        let set = serde_json::json!({"metadata": {"uid": "w"}, "status": {"updateRevision": "a"}});
        assert!(ailment(&set, &[old]).is_some());
    }

    #[test]
    fn a_job_that_crashes_and_may_try_again_has_not_failed() {
        let job = serde_json::json!({"kind": "Job", "metadata": {"uid": "w"}});
        let mut inquiry = waiting();
        inquiry.answered(ailment(&job, &[pod(LOOP)]), at(3));
        let Health::InProgress(words) = inquiry.health() else { panic!("{}", inquiry.health()) };
        assert!(words.starts_with("container api crashes again and again (5 restarts)"), "{words}");
    }

    #[test]
    fn of_the_replica_sets_of_a_deployment_its_newest_counts() {
        let set = |name: &str, owner: &str, revision: &str| {
            serde_json::json!({"metadata": {"name": name, "ownerReferences": [{"controller": true, "uid": owner}],
                "annotations": {"deployment.kubernetes.io/revision": revision}}})
        };
        let sets = [set("old", "w", "9"), set("new", "w", "10"), set("stranger", "x", "11")];
        assert_eq!(newest(&workload(), &sets).unwrap()["metadata"]["name"], "new");
        assert_eq!(newest(&workload(), &sets[2..]), None);
    }

    #[test]
    fn a_selector_is_written_as_a_query_has_it() {
        let query = |yaml: &str| selector(&serde_yaml::from_str(&format!("{{spec: {{selector: {yaml}}}}}")).unwrap());
        assert_eq!(query("{matchLabels: {app: web, tier: a}}").unwrap(), "app=web,tier=a");
        let all = "{matchExpressions: [{key: a, operator: In, values: [x, y]}, {key: b, operator: NotIn, values: [z]}, {key: c, operator: Exists}, {key: d, operator: DoesNotExist}]}";
        assert_eq!(query(all).unwrap(), "a in (x,y),b notin (z),c,!d");
        assert_eq!(query("{}"), None, "an empty selector would ask for every Pod of the namespace");
        assert_eq!(query("{matchExpressions: [{key: a, operator: Gt, values: ['1']}]}"), None);
    }

    fn waiting() -> Inquiry {
        Inquiry::new(1, Health::InProgress("0 of 1 replicas available".into()))
    }

    fn answer(status: &str) -> Option<Ailment> {
        ailment(&workload(), &[pod(status)])
    }

    #[test]
    fn a_crash_loop_is_a_failure_at_once_and_needs_no_more_looks() {
        let mut inquiry = waiting();
        assert_eq!(inquiry.next(at(0)), Some(at(3)));
        inquiry.answered(answer(LOOP), at(3));
        let failed = "container api crashes again and again (5 restarts): exit code 137 (OOMKilled); 0 of 1 replicas available";
        assert_eq!(inquiry.health(), Health::Failed(failed.into()));
        assert_eq!(inquiry.next(at(3)), None);
    }

    #[test]
    fn an_image_that_cannot_be_pulled_is_a_failure_once_that_lasts() {
        let mut inquiry = waiting();
        inquiry.answered(answer(PULL), at(3));
        assert_eq!(
            inquiry.health(),
            Health::InProgress("container api cannot pull its image: no such image; 0 of 1 replicas available".into())
        );
        inquiry.answered(answer(PULL), at(22));
        assert!(!inquiry.health().is_failed());
        inquiry.answered(answer(PULL), at(23));
        assert!(inquiry.health().is_failed());
        inquiry.answered(answer("phase: Pending"), at(30));
        assert_eq!(inquiry.health(), Health::InProgress("0 of 1 replicas available".into()));
    }

    #[test]
    fn the_pods_are_asked_for_less_and_less_often_and_not_for_ever() {
        let (mut inquiry, mut now, mut asked) = (waiting(), at(0), 0);
        while let Some(next) = inquiry.next(now) {
            now = next;
            inquiry.answered(answer("phase: Pending"), now);
            asked += 1;
        }
        assert_eq!((asked, now), (9, at(3 + 5 + 10 + 20 + 40 + 4 * 60)));
        inquiry.seen(1, Health::InProgress("1 of 1 replicas created".into()));
        assert!(inquiry.next(now).is_some(), "its status has changed, so one more look is worth it");
    }

    #[test]
    fn a_changed_spec_makes_what_the_old_pods_said_void() {
        let mut inquiry = waiting();
        inquiry.answered(answer(LOOP), at(3));
        inquiry.seen(1, Health::InProgress("0 of 1 replicas ready".into()));
        assert!(inquiry.health().is_failed());
        inquiry.seen(2, Health::InProgress("its controller has not seen the latest change yet".into()));
        assert!(!inquiry.health().is_failed());
        assert_eq!(inquiry.next(at(60)), Some(at(63)));
    }
}
