//! How closely events are followed. To be woken for each event costs more than to read it; while controllers write what nobody acts upon, the
//! thread rests a moment after what it has read, and what comes meanwhile is read together. It knows no event: those who act say what mattered.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long an event may wait for others while it is calm.
const MOMENT: Duration = Duration::from_millis(50);
/// How long it takes after something that mattered until it is calm again. What is healed, or comes up, is seldom alone.
const UNTIL_CALM: Duration = Duration::from_secs(5);

/// When something mattered last. Cheap to clone; all clones are one.
#[derive(Clone, Debug)]
pub struct Pace {
    began: Instant,
    /// In milliseconds since it began.
    stirred: Arc<AtomicU64>,
    /// Whether something was seen since the last rest that did not matter.
    passed: Arc<AtomicBool>,
}

impl Pace {
    /// It begins awake.
    pub fn new(now: Instant) -> Self {
        Self { began: now, stirred: Arc::default(), passed: Arc::default() }
    }

    /// Something matters: what comes next is seen at once.
    pub fn stir(&self, now: Instant) {
        self.stirred.store(self.age(now), Ordering::Relaxed);
    }

    /// Something was seen that did not matter, and nothing is under way that would be held up.
    pub fn pass(&self) {
        self.passed.store(true, Ordering::Relaxed);
    }

    /// How long to rest before more is waited for. Never twice for what was seen once: at rest the next event is seen at once.
    pub fn rest(&self, now: Instant) -> Option<Duration> {
        let passed = self.passed.swap(false, Ordering::Relaxed);
        (passed && self.is_calm(now)).then_some(MOMENT)
    }

    fn is_calm(&self, now: Instant) -> bool {
        let quiet = self.age(now).saturating_sub(self.stirred.load(Ordering::Relaxed));
        u128::from(quiet) > UNTIL_CALM.as_millis()
    }

    fn age(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.began).as_millis().try_into().unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How long is rested now, after something that did not matter.
    fn rest(pace: &Pace, now: Instant) -> Option<Duration> {
        pace.pass();
        pace.rest(now)
    }

    #[test]
    fn it_is_calm_a_while_after_something_mattered() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let pace = Pace::new(start);
        assert_eq!((rest(&pace, at(1)), rest(&pace, at(6))), (None, Some(MOMENT)));
        pace.clone().stir(at(60));
        assert_eq!((rest(&pace, at(64)), rest(&pace, at(66))), (None, Some(MOMENT)));
    }

    #[test]
    fn one_rests_once_after_what_was_seen_and_else_not_at_all() {
        let start = Instant::now();
        let (pace, later) = (Pace::new(start), start + Duration::from_secs(60));
        assert_eq!(pace.rest(later), None);
        assert_eq!((rest(&pace, later), pace.rest(later)), (Some(MOMENT), None));
    }
}
