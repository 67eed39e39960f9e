//! Who of several agents writes: one Lease per Sync, held by one process, taken over when it dies.
//!
//! [`Election`] decides and knows no cluster and no clock; [`Lease`] carries out. Clocks of others are never compared with ours: whether a
//! holder lives is judged by seeing its record change, against our own monotonic clock. A holder that can't renew for 10 s stops writing;
//! others take its place 15 s after they last saw its record change, so that 5 s are left for what was under way.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::Method;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Cluster;
use super::discovery::parse;
use super::refusal::Refusal;
use super::wire::{Call, JSON, escaped, jitter};

/// How long others wait for a sign of life.
pub const DURATION: Duration = Duration::from_secs(15);
/// How often the holder gives one, and the others look for it.
pub const RENEW_EVERY: Duration = Duration::from_secs(5);
/// How long the holder may write after its last sign of life.
pub const HELD_FOR: Duration = Duration::from_secs(10);
/// How long one question about a lease may take; it must fit into what is left after a renewal is due.
const PATIENCE: Duration = Duration::from_secs(3);
/// How soon a renewal that failed is tried again.
const RETRY: Duration = Duration::from_millis(500);
/// The longest name of a Kubernetes object.
const MOST_NAME: usize = 253;

/// The state of a Lease.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Who holds it; empty when it was released.
    pub holder: String,
    /// How long the holder asks to be waited for.
    pub duration: Duration,
    /// How often it changed hands.
    pub transitions: i64,
    /// When it last did, as the holder wrote it. For people: nothing is decided by it.
    pub acquired: String,
    /// Changes with every write.
    pub version: String,
}

/// What is to be done about a Lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Move {
    /// There is none: make it.
    Create,
    /// Nobody holds it: write our name, if it is still as it was seen.
    Take(Record),
    /// We hold it: say so again.
    Renew(Record),
    /// Another holds it.
    Wait {
        /// Who.
        holder: String,
        /// When it may be taken, if no sign of life is seen until then.
        free_in: Duration,
    },
}

/// What one candidate knows of a Lease.
#[derive(Debug)]
pub struct Election {
    me: String,
    seen: Option<(Record, Instant)>,
    held_until: Option<Instant>,
}

impl Election {
    /// A candidate that has seen nothing yet. Its name must be its own among all live processes.
    pub fn new(me: impl Into<String>) -> Self {
        Self { me: me.into(), seen: None, held_until: None }
    }

    /// Notes the record as it was read at `now`; only one that differs from the last is a sign of life.
    pub fn observe(&mut self, record: Option<Record>, now: Instant) {
        match (record, &self.seen) {
            (None, _) => self.seen = None,
            (Some(record), Some((known, _))) if *known == record => {}
            (Some(record), _) => self.seen = Some((record, now)),
        }
        if self.seen.as_ref().is_none_or(|(record, _)| record.holder != self.me) {
            self.held_until = None;
        }
    }

    /// What is to be done, by what was observed.
    pub fn next(&self, now: Instant) -> Move {
        let Some((record, at)) = &self.seen else { return Move::Create };
        let free_in = record.duration.saturating_sub(now.saturating_duration_since(*at));
        match &record.holder {
            holder if *holder == self.me => Move::Renew(record.clone()),
            holder if holder.is_empty() || free_in.is_zero() => Move::Take(record.clone()),
            holder => Move::Wait { holder: holder.clone(), free_in },
        }
    }

    /// Notes that the server took our record, which was sent at `asked`: the time counts from there, not from the answer.
    pub fn won(&mut self, record: Record, asked: Instant) {
        self.seen = Some((record, asked));
        self.held_until = Some(asked + HELD_FOR);
    }

    /// Notes that we stop.
    pub fn resign(&mut self) {
        self.held_until = None;
    }

    /// How long to wait before the next look or renewal. A renewal that failed is soon tried again, for time is short.
    pub fn pause(&self, now: Instant) -> Duration {
        match (self.held_until, self.next(now)) {
            (Some(until), _) if now < until => (until - HELD_FOR + RENEW_EVERY).saturating_duration_since(now).max(RETRY),
            (_, Move::Wait { free_in, .. }) => RENEW_EVERY.min(free_in),
            _ => RENEW_EVERY,
        }
    }

    /// Whether we may write at `now`.
    pub fn holds(&self, now: Instant) -> bool {
        self.held_until.is_some_and(|until| now < until)
    }
}

/// Tells whether a Lease is still held, from anywhere. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Fence(Arc<Mutex<Option<Instant>>>);

impl Fence {
    /// Whether we may write at `now`.
    pub fn still_held(&self, now: Instant) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|until| now < until)
    }

    fn set(&self, until: Option<Instant>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = until;
    }
}

/// How we stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// We hold the lease and may write.
    Held,
    /// Another holds it.
    Waiting {
        /// Who.
        holder: String,
    },
}

/// A candidate for the Lease of one Sync.
pub struct Lease {
    cluster: Cluster,
    collection: String,
    name: String,
    owner: Value,
    election: Election,
    fence: Fence,
}

impl Lease {
    /// For the Sync `name` (with its uid, so that the Lease goes when the Sync goes), as the candidate `me`.
    pub fn new(cluster: Cluster, namespace: &str, name: &str, uid: &str, me: &str) -> Self {
        let owner = json!([{"apiVersion": "plimsoll.dev/v1alpha1", "kind": "Sync", "name": name, "uid": uid}]);
        let collection = format!("/apis/coordination.k8s.io/v1/namespaces/{}/leases", escaped(namespace));
        Self { cluster, collection, name: lease_name(name), owner, election: Election::new(me), fence: Fence::default() }
    }

    /// What tells others in this process whether the lease is still held.
    pub fn fence(&self) -> Fence {
        self.fence.clone()
    }

    /// Whether we may write at `now`.
    pub fn still_held(&self, now: Instant) -> bool {
        self.election.holds(now)
    }

    /// How long to wait before the next [`Lease::try_acquire`]; a random part keeps candidates apart.
    pub fn pause(&self, now: Instant) -> Duration {
        let pause = self.election.pause(now);
        if self.still_held(now) { pause } else { pause.mul_f64(1.0 + jitter() / 4.0) }
    }

    /// Takes the lease if it is free, renews it if it is ours, looks at it if another holds it. To be called again after [`Lease::pause`].
    ///
    /// # Errors
    /// Whatever the server refuses. An error does not end a lease that is held: time does.
    pub async fn try_acquire(&mut self) -> Result<Standing, Refusal> {
        if !self.election.holds(Instant::now()) {
            let record = self.look().await?;
            self.election.observe(record, Instant::now());
        }
        let stood = match self.act().await {
            // Somebody wrote, made or deleted it in between.
            Err(Refusal::Conflict { .. } | Refusal::NotFound { .. }) => self.look().await.map(|record| {
                self.election.observe(record, Instant::now());
                self.standing()
            }),
            stood => stood,
        };
        self.fence.set(self.election.held_until);
        stood
    }

    /// Gives the lease up, so that another takes it at once. To be called when nothing is written any more.
    ///
    /// # Errors
    /// Whatever the server refuses; the others then wait for the lease to end by itself.
    pub async fn release(&mut self) -> Result<(), Refusal> {
        let held = self.election.holds(Instant::now());
        self.election.resign();
        self.fence.set(None);
        match self.election.seen.clone() {
            Some((record, _)) if held => {
                let released = Record { holder: String::new(), duration: Duration::from_secs(1), ..record };
                self.write(self.update(&released)?).await.map(drop)
            }
            _ => Ok(()),
        }
    }

    async fn act(&mut self) -> Result<Standing, Refusal> {
        let asked = Instant::now();
        let call = match self.election.next(asked) {
            Move::Wait { holder, .. } => return Ok(Standing::Waiting { holder }),
            Move::Create => self.create(&self.taken(Record::default())),
            Move::Take(record) => self.update(&self.taken(Record { transitions: record.transitions.saturating_add(1), ..record })),
            Move::Renew(record) => self.update(&Record { duration: DURATION, ..record }),
        };
        let record = self.write(call?).await?;
        self.election.won(record, asked);
        Ok(Standing::Held)
    }

    fn standing(&self) -> Standing {
        let now = Instant::now();
        match &self.election.seen {
            _ if self.election.holds(now) => Standing::Held,
            Some((record, _)) => Standing::Waiting { holder: record.holder.clone() },
            None => Standing::Waiting { holder: String::new() },
        }
    }

    fn taken(&self, record: Record) -> Record {
        Record { holder: self.election.me.clone(), duration: DURATION, acquired: micro_time(), ..record }
    }

    fn create(&self, record: &Record) -> Result<Call, Refusal> {
        Call::new(Method::POST, self.collection.clone()).body(JSON, &self.body(record))
    }

    /// An update that holds only for the state that was seen: the server compares the resourceVersion.
    fn update(&self, record: &Record) -> Result<Call, Refusal> {
        Call::new(Method::PUT, self.path()).body(JSON, &self.body(record))
    }

    fn body(&self, record: &Record) -> Value {
        let mut metadata = json!({"name": self.name, "ownerReferences": self.owner});
        if !record.version.is_empty() {
            metadata["resourceVersion"] = record.version.clone().into();
        }
        let spec = json!({
            "holderIdentity": record.holder,
            "leaseDurationSeconds": record.duration.as_secs(),
            "leaseTransitions": record.transitions,
            "acquireTime": (!record.acquired.is_empty()).then_some(&record.acquired),
            "renewTime": micro_time(),
        });
        json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec})
    }

    async fn write(&self, call: Call) -> Result<Record, Refusal> {
        read(&self.cluster.wire.call_within(&call, PATIENCE).await?.body)
    }

    async fn look(&self) -> Result<Option<Record>, Refusal> {
        match self.cluster.wire.call_within(&Call::get(self.path()), PATIENCE).await {
            Ok(answer) => read(&answer.body).map(Some),
            Err(Refusal::NotFound { .. }) => Ok(None),
            Err(refusal) => Err(refusal),
        }
    }

    fn path(&self) -> String {
        format!("{}/{}", self.collection, self.name)
    }
}

/// `plimsoll-<sync>`, shortened with a digest where that would be too long for a name.
fn lease_name(sync: &str) -> String {
    use sha2::{Digest, Sha256};
    let name = format!("plimsoll-{sync}");
    if name.len() <= MOST_NAME {
        return name;
    }
    let digest: String = Sha256::digest(sync).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let kept: String = name.chars().take(MOST_NAME - digest.len() - 1).collect();
    format!("{}-{digest}", kept.trim_end_matches(['.', '-']))
}

/// Now, as `MicroTime` has it. For people who read the Lease: nothing is decided by it.
fn micro_time() -> String {
    Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}

#[derive(Deserialize)]
struct Live {
    metadata: Metadata,
    #[serde(default)]
    spec: Spec,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    resource_version: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    holder_identity: Option<String>,
    lease_duration_seconds: Option<u64>,
    lease_transitions: Option<i64>,
    acquire_time: Option<String>,
}

fn read(body: &[u8]) -> Result<Record, Refusal> {
    let Live { metadata, spec } = parse(body)?;
    // Whatever a record asks for, nobody is waited for longer than a minute.
    let duration = spec.lease_duration_seconds.map_or(DURATION, Duration::from_secs).min(Duration::from_secs(60));
    Ok(Record {
        holder: spec.holder_identity.unwrap_or_default(),
        duration,
        transitions: spec.lease_transitions.unwrap_or_default(),
        acquired: spec.acquire_time.unwrap_or_default(),
        version: metadata.resource_version,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(holder: &str, version: &str) -> Record {
        Record { holder: holder.into(), duration: DURATION, transitions: 0, acquired: String::new(), version: version.into() }
    }

    fn after(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn a_lease_that_is_missing_or_released_is_taken_at_once() {
        let (start, mut me) = (Instant::now(), Election::new("me"));
        assert_eq!(me.next(start), Move::Create);
        me.observe(Some(record("", "1")), start);
        assert_eq!(me.next(start), Move::Take(record("", "1")));
        assert!(!me.holds(start), "not before the server took our name");
    }

    #[test]
    fn another_is_waited_for_as_long_as_its_record_changes() {
        let (start, mut me) = (Instant::now(), Election::new("me"));
        me.observe(Some(record("other", "1")), start);
        me.observe(Some(record("other", "2")), after(start, 14));
        assert_eq!(me.next(after(start, 16)), Move::Wait { holder: "other".into(), free_in: Duration::from_secs(13) });
        me.observe(Some(record("other", "2")), after(start, 28));
        assert_eq!(me.next(after(start, 29)), Move::Take(record("other", "2")), "15 s after its last sign of life");
    }

    #[test]
    fn a_holder_that_can_not_renew_stops_before_another_may_start() {
        let (start, mut me, mut other) = (Instant::now(), Election::new("me"), Election::new("other"));
        me.won(record("me", "1"), start);
        other.observe(Some(record("me", "1")), after(start, 0));
        let both = |second: u64| me.holds(after(start, second)) && matches!(other.next(after(start, second)), Move::Take(_));
        assert!((0..60).all(|second| !both(second)));
        assert!(me.holds(after(start, 9)) && !me.holds(after(start, 10)));
        assert!(matches!(other.next(after(start, 15)), Move::Take(_)));
    }

    #[test]
    fn clocks_that_are_hours_apart_and_run_at_other_speeds_never_let_two_write() {
        // The holder's clock and the other's, as functions of one true time in milliseconds: where each begins, and how fast it runs.
        for (holder_speed, other_speed) in [(100, 100), (80, 100), (100, 120), (90, 110), (120, 80)] {
            let (begun, hours) = (Instant::now(), Duration::from_secs(7 * 3600));
            let holder_at = |now: u64| begun + hours + Duration::from_millis(now * holder_speed / 100);
            let other_at = |now: u64| begun + Duration::from_millis(now * other_speed / 100);
            let (mut holder, mut other) = (Election::new("holder"), Election::new("other"));
            // The holder renews for a while, the other looks whenever its own clock says so; then the holder hears nothing any more.
            let (mut version, mut look_at) = (0, 0);
            for now in (0..60_000).step_by(100) {
                if now % 5000 == 0 && now <= 20_000 {
                    version += 1;
                    // What the holder writes of the time is hours away from what the other's clock says; nobody compares them.
                    holder
                        .won(Record { acquired: "2031-01-01T00:00:00Z".into(), ..record("holder", &version.to_string()) }, holder_at(now));
                }
                if now >= look_at {
                    other.observe(
                        Some(Record { acquired: "2031-01-01T00:00:00Z".into(), ..record("holder", &version.to_string()) }),
                        other_at(now),
                    );
                    look_at = now + u64::try_from(other.pause(other_at(now)).as_millis()).unwrap() * 100 / other_speed;
                }
                let takes = matches!(other.next(other_at(now)), Move::Take(_));
                assert!(!(takes && holder.holds(holder_at(now))), "both at {now} ms with speeds {holder_speed} and {other_speed}");
                assert!(
                    !takes || now > 20_000,
                    "a holder that renews is not displaced: {now} ms with speeds {holder_speed} and {other_speed}"
                );
            }
            assert!(matches!(other.next(other_at(60_000)), Move::Take(_)), "somebody goes on");
        }
    }

    #[test]
    fn time_counts_from_the_question_not_from_the_answer() {
        let (start, mut me) = (Instant::now(), Election::new("me"));
        me.won(record("me", "2"), start);
        assert!(!me.holds(after(start, 10)), "an answer that took 4 s does not make the lease 4 s longer");
    }

    #[test]
    fn a_renewal_that_failed_is_tried_again_while_there_is_time() {
        let (start, mut me) = (Instant::now(), Election::new("me"));
        me.won(record("me", "1"), start);
        assert_eq!(me.pause(after(start, 1)), Duration::from_secs(4), "counted from the last renewal, however long it took");
        assert_eq!(me.pause(after(start, 8)), RETRY);
        me.observe(Some(record("other", "2")), after(start, 9));
        assert_eq!(me.pause(after(start, 9)), RENEW_EVERY);
        assert_eq!(me.pause(after(start, 22)), Duration::from_secs(2), "no later than it is free");
    }

    #[test]
    fn a_holder_that_sees_another_name_stops_at_once() {
        let (start, mut me) = (Instant::now(), Election::new("me"));
        me.won(record("me", "1"), start);
        me.observe(Some(record("other", "2")), after(start, 1));
        assert!(!me.holds(after(start, 1)));
        me.won(record("me", "3"), after(start, 2));
        me.observe(None, after(start, 3));
        assert!(!me.holds(after(start, 3)), "somebody deleted it");
    }

    #[test]
    fn after_a_restart_under_the_same_name_the_lease_is_renewed_but_not_believed() {
        let (start, mut me) = (Instant::now(), Election::new("me"));
        me.observe(Some(record("me", "1")), start);
        assert!(!me.holds(start));
        assert_eq!(me.next(start), Move::Renew(record("me", "1")));
    }

    #[test]
    fn odd_records_are_read_with_bounds() {
        let odd = read(br#"{"metadata":{"resourceVersion":"1"},"spec":{"holderIdentity":null,"leaseDurationSeconds":999999}}"#).unwrap();
        assert_eq!((odd.holder.as_str(), odd.duration), ("", Duration::from_secs(60)));
        assert!(read(b"{}").is_err());
    }

    #[test]
    fn long_names_stay_names_and_stay_apart() {
        assert_eq!(lease_name("shop"), "plimsoll-shop");
        let (a, b) = (lease_name(&("a".repeat(252) + "x")), lease_name(&("a".repeat(252) + "y")));
        assert!(a != b && a.len() <= MOST_NAME, "{a}");
    }
}
