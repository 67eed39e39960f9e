//! Which Sync runs next, when, and why.
//!
//! One run at a time for each Sync; what comes up meanwhile is kept and joins the next run. Nothing here sleeps or reads a clock: the loop
//! asks for [`Queue::next_due`], sleeps, and takes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use jiff::Timestamp;

/// Why a Sync runs. It is for logs and metrics; what a sync does never depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// The agent has started, or has become the writer.
    Start,
    /// The forge or a watched directory said that something is new.
    Push,
    /// Asking the repository showed something new.
    Poll,
    /// The Sync itself was changed.
    Spec,
    /// An object in the cluster is not as it was left.
    Drift,
    /// Time for a full look although nothing is known to have changed.
    Resync,
    /// The last run failed.
    Retry,
}

impl Cause {
    /// One word, as logs and metric labels have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Push => "push",
            Self::Poll => "poll",
            Self::Spec => "spec",
            Self::Drift => "drift",
            Self::Resync => "resync",
            Self::Retry => "retry",
        }
    }
}

/// All the reasons for one run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Causes(BTreeSet<Cause>);

impl Causes {
    /// Adds a reason.
    pub fn join(&mut self, cause: Cause) {
        self.0.insert(cause);
    }

    /// The reason that a metric names: the most telling one.
    pub fn first(&self) -> Option<Cause> {
        self.0.first().copied()
    }

    /// Whether `cause` is among them.
    pub fn contains(&self, cause: Cause) -> bool {
        self.0.contains(&cause)
    }
}

impl fmt::Display for Causes {
    /// `push+retry`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().enumerate().try_for_each(|(i, cause)| write!(f, "{}{}", if i == 0 { "" } else { "+" }, cause.as_str()))
    }
}

/// How long to wait after failures in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// After the first failure.
    pub first: Duration,
    /// At most.
    pub most: Duration,
}

impl Default for Backoff {
    /// 2 s to 5 min: a commit status that says "failed" is corrected within minutes of the cluster's recovery, and a repository or an API
    /// server that is down is asked 12 times an hour at most.
    fn default() -> Self {
        Self { first: Duration::from_secs(2), most: Duration::from_secs(300) }
    }
}

impl Backoff {
    /// The wait after `failures` failures in a row (from 1): doubled each time, up to the most. `jitter`, from 0 to 1, chooses between half
    /// of that and all of it, so that many agents that failed together do not come back together.
    pub fn delay(&self, failures: u32, jitter: f64) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        let full = self.first.saturating_mul(1 << doublings).min(self.most);
        let jitter = if jitter.is_finite() { jitter.clamp(0.0, 1.0) } else { 1.0 };
        full.mul_f64(0.5 + jitter / 2.0)
    }
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Ended {
    /// It did what it should.
    Well,
    /// It should be tried again.
    Failed {
        /// Chosen at random from 0 to 1.
        jitter: f64,
        /// Do not try before so long, as the other side has asked (`Retry-After`); zero where it has not.
        not_before: Duration,
    },
}

/// What is known of one Sync.
#[derive(Clone, Debug, Default)]
struct Turn {
    causes: Causes,
    due: Option<Timestamp>,
    running: bool,
    failures: u32,
}

/// Who waits for a run. `K` names a Sync.
#[derive(Clone, Debug)]
pub struct Queue<K> {
    turns: BTreeMap<K, Turn>,
    backoff: Backoff,
}

impl<K: Ord + Clone> Queue<K> {
    /// An empty queue.
    pub fn new(backoff: Backoff) -> Self {
        Self { turns: BTreeMap::new(), backoff }
    }

    /// Asks for a run of `key` at `due` or, if one is asked for already, at the earlier of both.
    pub fn ask(&mut self, key: K, cause: Cause, due: Timestamp) {
        let turn = self.turns.entry(key).or_default();
        turn.causes.join(cause);
        turn.due = Some(turn.due.map_or(due, |other| other.min(due)));
    }

    /// When the next run is due; `None` while nothing waits. A Sync that runs is not waited for.
    pub fn next_due(&self) -> Option<Timestamp> {
        self.ready().map(|(due, _)| due).min()
    }

    /// Takes the run that is due for the longest, and what it is for. It counts as running until [`Queue::done`].
    pub fn take(&mut self, now: Timestamp) -> Option<(K, Causes)> {
        let key = self.ready().filter(|(due, _)| *due <= now).min_by_key(|(due, _)| *due).map(|(_, key)| key.clone())?;
        let turn = self.turns.get_mut(&key)?;
        turn.running = true;
        turn.due = None;
        Some((key, std::mem::take(&mut turn.causes)))
    }

    /// Says how a run ended. After a failure the next one is asked for; what was asked for meanwhile may come before it.
    pub fn done(&mut self, key: &K, ended: Ended, now: Timestamp) {
        let Some(turn) = self.turns.get_mut(key) else { return };
        turn.running = false;
        match ended {
            Ended::Well => turn.failures = 0,
            Ended::Failed { jitter, not_before } => {
                turn.failures = turn.failures.saturating_add(1);
                let delay = self.backoff.delay(turn.failures, jitter).max(not_before);
                self.ask(key.clone(), Cause::Retry, now.checked_add(delay).unwrap_or(Timestamp::MAX));
            }
        }
    }

    /// Forgets a Sync that is gone. A run that is under way ends without a trace.
    pub fn forget(&mut self, key: &K) {
        self.turns.remove(key);
    }

    /// How often `key` has failed in a row.
    pub fn failures(&self, key: &K) -> u32 {
        self.turns.get(key).map_or(0, |turn| turn.failures)
    }

    fn ready(&self) -> impl Iterator<Item = (Timestamp, &K)> {
        self.turns.iter().filter(|(_, turn)| !turn.running).filter_map(|(key, turn)| Some((turn.due?, key)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn failed() -> Ended {
        Ended::Failed { jitter: 1.0, not_before: Duration::ZERO }
    }

    fn queue() -> Queue<&'static str> {
        Queue::new(Backoff::default())
    }

    fn taken(queue: &mut Queue<&'static str>, now: i64) -> Option<String> {
        queue.take(at(now)).map(|(key, causes)| format!("{key} {causes}"))
    }

    #[test]
    fn later_causes_join_and_the_earliest_time_counts() {
        let mut queue = queue();
        queue.ask("a", Cause::Resync, at(600));
        queue.ask("a", Cause::Push, at(10));
        queue.ask("a", Cause::Poll, at(20));
        assert_eq!(queue.next_due(), Some(at(10)));
        assert_eq!(taken(&mut queue, 9), None);
        assert_eq!(taken(&mut queue, 10).as_deref(), Some("a push+poll+resync"));
        assert_eq!(queue.next_due(), None);
    }

    #[test]
    fn the_longest_due_goes_first() {
        let mut queue = queue();
        queue.ask("a", Cause::Poll, at(3));
        queue.ask("b", Cause::Poll, at(1));
        queue.ask("c", Cause::Poll, at(9));
        assert_eq!(taken(&mut queue, 5).as_deref(), Some("b poll"));
        assert_eq!(taken(&mut queue, 5).as_deref(), Some("a poll"));
        assert_eq!(taken(&mut queue, 5), None);
        assert_eq!(queue.next_due(), Some(at(9)));
    }

    #[test]
    fn what_comes_up_during_a_run_waits_for_its_end_and_is_not_lost() {
        let mut queue = queue();
        queue.ask("a", Cause::Start, at(0));
        queue.take(at(0)).unwrap();
        queue.ask("a", Cause::Push, at(1));
        assert_eq!((queue.next_due(), taken(&mut queue, 5)), (None, None));
        queue.done(&"a", Ended::Well, at(6));
        assert_eq!(taken(&mut queue, 6).as_deref(), Some("a push"));
    }

    #[test]
    fn failures_are_tried_again_later_and_later_until_one_run_ends_well() {
        let mut queue = queue();
        queue.ask("a", Cause::Push, at(0));
        let mut now = 0;
        for expected in [2, 4, 8, 16, 32, 64, 128, 256, 300, 300] {
            assert!(queue.take(at(now)).is_some());
            queue.done(&"a", failed(), at(now));
            assert_eq!(queue.next_due(), Some(at(now + expected)));
            now += expected;
        }
        assert_eq!(queue.failures(&"a"), 10);
        queue.take(at(now)).unwrap();
        queue.done(&"a", Ended::Well, at(now));
        assert_eq!((queue.next_due(), queue.failures(&"a")), (None, 0));
    }

    #[test]
    fn a_push_does_not_wait_for_the_next_try() {
        let mut queue = queue();
        queue.ask("a", Cause::Poll, at(0));
        queue.take(at(0)).unwrap();
        queue.done(&"a", failed(), at(0));
        queue.ask("a", Cause::Push, at(1));
        assert_eq!(taken(&mut queue, 1).as_deref(), Some("a push+retry"));
    }

    #[test]
    fn who_asks_to_be_left_alone_for_a_while_is() {
        let mut queue = queue();
        queue.ask("a", Cause::Poll, at(0));
        queue.take(at(0)).unwrap();
        queue.done(&"a", Ended::Failed { jitter: 0.0, not_before: Duration::from_secs(90) }, at(0));
        assert_eq!(queue.next_due(), Some(at(90)));
    }

    #[test]
    fn a_sync_that_is_gone_does_not_come_back_when_its_run_ends() {
        let mut queue = queue();
        queue.ask("a", Cause::Spec, at(0));
        queue.take(at(0)).unwrap();
        queue.forget(&"a");
        queue.done(&"a", failed(), at(1));
        assert_eq!(queue.next_due(), None);
    }

    #[test]
    fn jitter_chooses_between_half_and_all_of_the_wait() {
        let check = |failures, jitter, expected| assert_eq!(Backoff::default().delay(failures, jitter), Duration::from_secs_f64(expected));
        check(1, 0.0, 1.0);
        check(1, 0.5, 1.5);
        check(1, 1.0, 2.0);
        check(0, 1.0, 2.0);
        check(u32::MAX, 0.0, 150.0);
        check(3, 7.0, 8.0);
        check(3, -7.0, 4.0);
        check(3, f64::NAN, 8.0);
    }
}
