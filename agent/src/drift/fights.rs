//! Notices that an object is healed again and again, for somebody else keeps writing too, and how long to let it rest.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use overlays::object::ObjectId;

/// So many heals of the same field of an object, from the same writer, within [`SOON`] of each other are a fight.
const TIMES: u32 = 3;
/// Two heals of an object that are closer than this belong together, in seconds; beyond the rest that it was given.
const SOON: i64 = 60;
/// The longest rest, in seconds.
const LONGEST: i64 = 300;
/// How many objects are kept in mind; those healed longest ago go first.
const MOST: usize = 1_000;

#[derive(Clone, Copy, Debug)]
struct Bout {
    times: u32,
    last: Timestamp,
    rest: i64,
}

/// The fields of objects that were healed lately, each with who had written it, as a hash.
#[derive(Clone, Debug, Default)]
pub struct Fights(BTreeMap<(ObjectId, u64), Bout>);

impl Fights {
    /// Fields of an object were healed, each with its path and who had written it. Returns whether one of them is fought over by now.
    pub fn healed(&mut self, id: &ObjectId, fields: &[(&str, &str)], now: Timestamp) -> bool {
        self.0.retain(|_, bout| calm_from(bout) > now);
        for field in fields {
            self.one(id, hash(field), now);
        }
        self.of(id, now).is_some_and(|fight| fight.last == now)
    }

    fn one(&mut self, id: &ObjectId, field: u64, now: Timestamp) {
        let key = (id.clone(), field);
        if self.0.len() >= MOST
            && let Some(oldest) = self.0.iter().min_by_key(|(_, bout)| bout.last).map(|(key, _)| key.clone())
        {
            self.0.remove(&oldest);
        }
        let times = self.0.get(&key).map_or(1, |bout| bout.times.saturating_add(1));
        // 1 s after the third time, then twice as long after each.
        let rest = if times < TIMES { 0 } else { LONGEST.min(1 << (times - TIMES).min(9)) };
        self.0.insert(key, Bout { times, last: now, rest });
    }

    /// When an object may be healed again, how often it was, and when it has been quiet for so long that the fight is over.
    /// None if there is no fight.
    pub fn of(&self, id: &ObjectId, now: Timestamp) -> Option<Fight> {
        let bouts = self.0.range((id.clone(), 0)..=(id.clone(), u64::MAX)).map(|(_, bout)| bout);
        let bout = bouts.filter(|bout| bout.times >= TIMES && calm_from(bout) > now).max_by_key(|bout| (bout.last, bout.rest))?;
        Some(Fight { times: bout.times, last: bout.last, until: later(bout.last, bout.rest), calm: calm_from(bout) })
    }
}

fn hash((path, by): &(&str, &str)) -> u64 {
    xxhash_rust::xxh3::xxh3_64(format!("{path}\n{by}").as_bytes())
}

/// A fight over one object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fight {
    /// How often it was healed.
    pub times: u32,
    /// When it was healed last.
    pub last: Timestamp,
    /// Before this it is left alone.
    pub until: Timestamp,
    /// If nothing happens until then, it is over.
    pub calm: Timestamp,
}

fn calm_from(bout: &Bout) -> Timestamp {
    later(bout.last, bout.rest + SOON)
}

fn later(time: Timestamp, seconds: i64) -> Timestamp {
    time.checked_add(SignedDuration::from_secs(seconds)).unwrap_or(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &[(&str, &str)] = &[("data.a", "x")];

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn the_third_time_within_a_minute_is_a_fight_and_each_rest_is_twice_as_long() {
        let (mut fights, id) = (Fights::default(), ObjectId::default());
        assert!(!fights.healed(&id, A, at(0)) && !fights.healed(&id, A, at(50)));
        assert_eq!(fights.of(&id, at(50)), None);
        let mut now = 100;
        for rest in [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300] {
            assert!(fights.healed(&id, A, at(now)));
            assert_eq!(fights.of(&id, at(now)).map(|fight| (fight.until, fight.calm)), Some((at(now + rest), at(now + rest + 60))));
            now += rest;
        }
    }

    #[test]
    fn a_minute_of_peace_ends_it() {
        let (mut fights, id) = (Fights::default(), ObjectId::default());
        (0..3).for_each(|time| _ = fights.healed(&id, A, at(time)));
        assert!(fights.of(&id, at(60)).is_some());
        assert_eq!(fights.of(&id, at(63)), None);
        assert!(!fights.healed(&id, A, at(64)));
    }

    #[test]
    fn several_fields_of_an_object_changed_once_each_are_no_fight() {
        let (mut fights, id) = (Fights::default(), ObjectId::default());
        for field in ["data.a", "data.b", "data.c", "data.d"] {
            assert!(!fights.healed(&id, &[(field, "x")], at(1)), "{field}");
        }
        assert!(!fights.healed(&id, &[("data.a", "y")], at(2)), "another writer");
    }
}
