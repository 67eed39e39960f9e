//! A figure beside its bar. Knows nothing of how it was measured.

use serde_json::json;

/// A measured figure, and the bar that it has to hold.
pub(crate) struct Figure {
    what: String,
    value: f64,
    unit: &'static str,
    bar: Bar,
    /// How it spreads, or what it is made of.
    note: String,
}

enum Bar {
    AtMost(f64),
    AtLeast(f64),
    /// Told for the record only.
    None,
}

impl Figure {
    pub(crate) fn at_most(what: &str, value: f64, unit: &'static str, bar: f64) -> Self {
        Self { what: what.to_owned(), value, unit, bar: Bar::AtMost(bar), note: String::new() }
    }

    pub(crate) fn at_least(what: &str, value: f64, unit: &'static str, bar: f64) -> Self {
        Self { bar: Bar::AtLeast(bar), ..Self::at_most(what, value, unit, 0.0) }
    }

    pub(crate) fn told(what: &str, value: f64, unit: &'static str) -> Self {
        Self { bar: Bar::None, ..Self::at_most(what, value, unit, 0.0) }
    }

    /// The median of some values, with the least, the 90th percentile and the most beside it.
    pub(crate) fn median_at_most(what: &str, mut values: Vec<f64>, unit: &'static str, bar: f64) -> Self {
        values.sort_by(f64::total_cmp);
        let at = |share: f64| values.get(((values.len().saturating_sub(1)) as f64 * share).round() as usize).copied().unwrap_or(f64::NAN);
        let note = format!("{:.0} min, {:.0} p90, {:.0} max, n={}", at(0.0), at(0.9), at(1.0), values.len());
        Self { note, ..Self::at_most(what, at(0.5), unit, bar) }
    }

    pub(crate) fn noted(mut self, note: impl Into<String>) -> Self {
        self.note = note.into();
        self
    }

    /// Whether the bar is held; a figure that is not a number holds none.
    pub(crate) fn holds(&self) -> bool {
        match self.bar {
            Bar::AtMost(bar) => self.value <= bar,
            Bar::AtLeast(bar) => self.value >= bar,
            Bar::None => true,
        }
    }

    fn bar(&self) -> String {
        match self.bar {
            Bar::AtMost(bar) => format!("<= {bar}"),
            Bar::AtLeast(bar) => format!(">= {bar}"),
            Bar::None => String::new(),
        }
    }
}

/// A table in Markdown, as the README shows it.
pub(crate) fn table(figures: &[Figure]) -> String {
    let load = load();
    let mut text = format!("Load when it ended: {load}\n\n| what | measured | bar | | |\n|---|---|---|---|---|\n");
    for figure in figures {
        let verdict = if figure.holds() { "" } else { "**missed**" };
        let value = (figure.value * 10.0).round() / 10.0;
        text += &format!("| {} | {value} {} | {} | {verdict} | {} |\n", figure.what, figure.unit, figure.bar(), figure.note);
    }
    text
}

pub(crate) fn json(figures: &[Figure]) -> String {
    let rows: Vec<_> = figures
        .iter()
        .map(|figure| json!({"what": figure.what, "value": figure.value, "unit": figure.unit, "bar": figure.bar(), "holds": figure.holds(), "note": figure.note}))
        .collect();
    json!({"load": load(), "figures": rows}).to_string()
}

/// The load averages: what else the machine was doing.
pub(crate) fn load() -> String {
    std::fs::read_to_string("/proc/loadavg")
        .map_or_else(|_| "unknown".to_owned(), |text| text.split(' ').take(3).collect::<Vec<_>>().join(" "))
}
