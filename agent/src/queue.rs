//! Why a Sync runs, and how long to wait before what failed is tried again. Nothing here sleeps or reads a clock.

use std::time::Duration;

/// Why a Sync runs. It is for logs and metrics; what a sync does never depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// The agent has started, or has become the writer.
    Start,
    /// The forge or a watched directory said that something is new.
    Push,
    /// Asking the repository showed something new.
    Poll,
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
            Self::Drift => "drift",
            Self::Resync => "resync",
            Self::Retry => "retry",
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_up_to_the_most() {
        let waits: Vec<u64> = (1..=10).map(|failures| Backoff::default().delay(failures, 1.0).as_secs()).collect();
        assert_eq!(waits, [2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
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
