//! Waiting with a deadline that says what was seen.

use std::time::{Duration, Instant};

use crate::{Result, Trouble};

/// How long to wait between two looks: short against what is measured, long against what a look costs a server.
const PAUSE: Duration = Duration::from_millis(40);

/// Looks again and again until `look` has an answer, and fails after `limit` with the last reason why it had none.
///
/// # Errors
/// Names what was waited for, how long, and what the last look saw.
pub async fn until<T>(what: &str, limit: Duration, mut look: impl AsyncFnMut() -> Result<T>) -> Result<T> {
    let start = Instant::now();
    loop {
        let seen = match tokio::time::timeout(limit, look()).await {
            Ok(Ok(found)) => return Ok(found),
            Ok(Err(seen)) => seen,
            Err(_) => Trouble::new("the look itself did not come back"),
        };
        if start.elapsed() >= limit {
            return Err(Trouble::new(format!("waited {} s for {what}; last seen: {seen}", limit.as_secs_f32())));
        }
        tokio::time::sleep(PAUSE).await;
    }
}
