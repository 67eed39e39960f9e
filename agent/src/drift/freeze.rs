//! The times in which nothing may be changed: each begins at an hour of some days of the week, in a time zone, and ends at another.

use jiff::civil::{Date, Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan};

use crate::api::FreezeSpec;

/// Times in which nothing may be changed.
#[derive(Clone, Debug, Default)]
pub struct Freeze(Vec<Window>);

#[derive(Clone, Debug)]
struct Window {
    days: Vec<Weekday>,
    from: Time,
    to: Time,
    zone: TimeZone,
}

impl Freeze {
    /// As `spec.freeze` has them.
    ///
    /// # Errors
    /// A day, time or zone that can't be read, with its place in the list.
    pub fn of(specs: &[FreezeSpec]) -> Result<Self, String> {
        let windows = specs.iter().enumerate().map(|(place, spec)| window(spec).map_err(|error| format!("item {place}: {error}")));
        Ok(Self(windows.collect::<Result<_, _>>()?))
    }

    /// Whether nothing may be changed at this time.
    pub fn holds(&self, now: Timestamp) -> bool {
        self.0.iter().any(|window| window.spans(now).any(|(from, to)| from <= now && now < to))
    }

    /// When the next one begins or ends; none if there are none.
    pub fn next_change(&self, now: Timestamp) -> Option<Timestamp> {
        self.0.iter().flat_map(|window| window.spans(now)).flat_map(|(from, to)| [from, to]).filter(|time| *time > now).min()
    }
}

impl Window {
    /// Those that begin on the days around `now`: the last one may not be over yet, the next is at most a week away.
    fn spans(&self, now: Timestamp) -> impl Iterator<Item = (Timestamp, Timestamp)> {
        let today = now.to_zoned(self.zone.clone()).date();
        let day = move |days: i64| today.checked_add(SignedDuration::from_hours(24 * days)).ok();
        (-1..=7)
            .filter_map(day)
            .filter(|date| self.days.is_empty() || self.days.contains(&date.weekday()))
            .filter_map(|date| self.span(date))
    }

    fn span(&self, date: Date) -> Option<(Timestamp, Timestamp)> {
        let end = if self.to > self.from { date } else { date.checked_add(1.day()).ok()? };
        let at =
            |date: Date, time: Time| self.zone.to_ambiguous_zoned(date.to_datetime(time)).compatible().ok().map(|zoned| zoned.timestamp());
        Some((at(date, self.from)?, at(end, self.to)?))
    }
}

fn window(spec: &FreezeSpec) -> Result<Window, String> {
    let zone = spec.time_zone.as_deref().unwrap_or("UTC");
    Ok(Window {
        days: spec.days.iter().map(|day| weekday(day)).collect::<Result<_, _>>()?,
        from: time("from", &spec.from)?,
        to: time("to", &spec.to)?,
        zone: TimeZone::get(zone)
            .map_err(|_| format!("timeZone `{zone}` is not known; it may be any of the IANA names, as Europe/Berlin"))?,
    })
}

fn time(field: &str, text: &str) -> Result<Time, String> {
    let parts = text.split_once(':').filter(|(hours, minutes)| hours.len() == 2 && minutes.len() == 2);
    let read = |(hours, minutes): (&str, &str)| Time::new(hours.parse().ok()?, minutes.parse().ok()?, 0, 0).ok();
    parts.and_then(read).ok_or_else(|| format!("{field} `{text}` is no time of a day; write it as 22:00"))
}

fn weekday(text: &str) -> Result<Weekday, String> {
    const DAYS: [(&str, Weekday); 7] = [
        ("Mon", Weekday::Monday),
        ("Tue", Weekday::Tuesday),
        ("Wed", Weekday::Wednesday),
        ("Thu", Weekday::Thursday),
        ("Fri", Weekday::Friday),
        ("Sat", Weekday::Saturday),
        ("Sun", Weekday::Sunday),
    ];
    let known = DAYS.iter().find(|(name, _)| *name == text).map(|(_, day)| *day);
    known.ok_or_else(|| format!("day `{text}` is not known; it may be Mon, Tue, Wed, Thu, Fri, Sat or Sun"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn freeze(days: &[&str], from: &str, to: &str, zone: Option<&str>) -> Result<Freeze, String> {
        let days = days.iter().map(|day| (*day).to_owned()).collect();
        Freeze::of(&[FreezeSpec { days, from: from.into(), to: to.into(), time_zone: zone.map(str::to_owned) }])
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_night_ends_on_the_next_day() {
        let nights = freeze(&["Fri"], "22:00", "06:00", None).unwrap();
        // 2026-11-27 is a Friday.
        for (time, holds) in [
            ("2026-11-27T21:59:59Z", false),
            ("2026-11-27T22:00:00Z", true),
            ("2026-11-28T05:59:59Z", true),
            ("2026-11-28T06:00:00Z", false),
            ("2026-11-28T23:00:00Z", false),
        ] {
            assert_eq!(nights.holds(at(time)), holds, "{time}");
        }
        assert_eq!(nights.next_change(at("2026-11-27T23:00:00Z")), Some(at("2026-11-28T06:00:00Z")));
        assert_eq!(nights.next_change(at("2026-11-28T06:00:00Z")), Some(at("2026-12-04T22:00:00Z")));
    }

    #[test]
    fn a_time_is_that_of_its_zone() {
        let berlin = freeze(&[], "12:00", "13:00", Some("Europe/Berlin")).unwrap();
        assert!(berlin.holds(at("2026-07-01T10:30:00Z")) && berlin.holds(at("2026-12-01T11:30:00Z")));
        assert!(!berlin.holds(at("2026-07-01T11:30:00Z")));
        assert_eq!(Freeze::default().next_change(at("2026-07-01T11:30:00Z")), None);
    }

    #[test]
    fn what_can_not_be_read_is_named() {
        assert!(freeze(&["Monday"], "1", "2", None).unwrap_err().contains("item 0: day `Monday` is not known"));
        assert!(freeze(&[], "25:00", "06:00", None).unwrap_err().contains("from `25:00`"));
        assert!(freeze(&[], "22:00", "6:00", None).unwrap_err().contains("to `6:00`"));
        assert!(freeze(&[], "22:00", "06:00", Some("Mars/Phobos")).unwrap_err().contains("timeZone `Mars/Phobos`"));
    }
}
