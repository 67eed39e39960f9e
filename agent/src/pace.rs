//! How closely watches are followed. To be woken for each event costs more than to read it; while controllers write what nobody acts upon, what
//! comes within a moment is read together. It knows no event: those who act say when something mattered.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long an event may wait for others while it is calm.
pub(super) const MOMENT: Duration = Duration::from_millis(50);
/// How long it takes after something that mattered until it is calm again. What is healed, or comes up, is seldom alone.
const UNTIL_CALM: Duration = Duration::from_secs(5);

/// When something mattered last. Cheap to clone; all clones are one.
#[derive(Clone, Debug)]
pub struct Pace {
    began: Instant,
    /// In milliseconds since it began.
    stirred: Arc<AtomicU64>,
}

impl Pace {
    /// It begins awake.
    pub fn new(now: Instant) -> Self {
        Self { began: now, stirred: Arc::default() }
    }

    /// Something mattered.
    pub fn stir(&self, now: Instant) {
        self.stirred.store(self.age(now), Ordering::Relaxed);
    }

    /// Whether nothing has mattered for a while.
    pub(super) fn is_calm(&self, now: Instant) -> bool {
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

    #[test]
    fn it_is_calm_a_while_after_something_mattered() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let pace = Pace::new(start);
        assert!(!pace.is_calm(at(1)) && pace.is_calm(at(6)));
        pace.clone().stir(at(60));
        assert!(!pace.is_calm(at(64)) && pace.is_calm(at(66)));
    }
}
