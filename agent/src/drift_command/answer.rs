//! What `plimsoll drift` answers from the Syncs: rows, a document, and whether nothing has drifted. It knows no cluster, terminal or clock.

use serde::Serialize;

use crate::api::{DriftField, DriftStatus, Sync};

/// The columns.
const HEAD: Row<&str> = ["SYNC", "APP", "OBJECT", "FIELD", "WAS", "IS", "BY", "SINCE", "STATE"];
/// The most characters of a value; `-o json` has all that the Sync has.
const VALUE: usize = 40;
/// What stands where there is nothing.
const NOTHING: &str = "-";
/// The state of what is as Git says again.
const HEALED: &str = "healed";
/// The state of an agent that can't do its work.
const AGENT_ERROR: &str = "AgentError";

/// One field of one object, in the order of the columns.
pub type Row<T = String> = [T; 9];

/// What a Sync says of drift.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// No object has drifted, as its agent last said.
    InSync,
    /// So many objects are not as Git says.
    Drifted(i64),
    /// Nobody can say, and why. It is not taken for the absence of drift.
    Unknown(String),
}

/// What a Sync says of drift.
pub fn standing(sync: &Sync) -> Standing {
    let Some(status) = sync.status.as_ref().filter(|status| status.state.is_some()) else {
        return Standing::Unknown("no agent has said anything of it yet".to_owned());
    };
    match status.drifted {
        Some(count) if count > 0 => Standing::Drifted(count),
        _ if status.observed_generation != sync.metadata.generation => {
            Standing::Unknown("its agent has not yet seen the last change of the Sync".to_owned())
        }
        _ if status.state.as_deref() == Some(AGENT_ERROR) => {
            Standing::Unknown(format!("its agent can't work: {}", status.message.as_deref().unwrap_or("it does not say why")))
        }
        _ => Standing::InSync,
    }
}

/// `namespace/name`.
pub fn name(sync: &Sync) -> String {
    let part = |part: &Option<String>| part.clone().unwrap_or_default();
    format!("{}/{}", part(&sync.metadata.namespace), part(&sync.metadata.name))
}

/// A row for each field of each object that has drifted, or was healed lately, as the Sync lists them.
pub fn rows(sync: &Sync) -> Vec<Row> {
    listed(sync).iter().flat_map(|drift| rows_of(&name(sync), drift)).collect()
}

/// The rows that say something new after `before`: what is listed for the first time or in another way, and what is not listed any more
/// because it is over.
pub fn news(before: &Sync, now: &Sync) -> Vec<Row> {
    let known = rows(before);
    let mut news = rows(now);
    news.retain(|row| !known.contains(row));
    let gone = listed(before).iter().filter(|drift| is_present(drift) && is_over(drift, now));
    news.extend(gone.map(|drift| row(&name(now), drift, [NOTHING; 4], "over")));
    news
}

/// How many objects have drifted that the Sync does not list.
pub fn unlisted(sync: &Sync) -> i64 {
    let listed = listed(sync).iter().filter(|drift| is_present(drift)).count();
    let all = sync.status.as_ref().and_then(|status| status.drifted).unwrap_or_default();
    all.saturating_sub(i64::try_from(listed).unwrap_or(i64::MAX)).max(0)
}

fn listed(sync: &Sync) -> &[DriftStatus] {
    sync.status.as_ref().map_or(&[], |status| &status.drift)
}

fn is_present(drift: &DriftStatus) -> bool {
    drift.state != HEALED
}

/// Whether an object is not listed any more although all are.
fn is_over(drift: &DriftStatus, now: &Sync) -> bool {
    unlisted(now) == 0 && !listed(now).iter().any(|other| (&other.app, &other.object) == (&drift.app, &drift.object))
}

fn rows_of(sync: &str, drift: &DriftStatus) -> Vec<Row> {
    let state = state(drift);
    let mut rows: Vec<Row> = drift.fields.iter().map(|field| row(sync, drift, cells(field), &state)).collect();
    if let Some(more) = drift.more.filter(|more| *more > 0) {
        rows.push(row(sync, drift, [&format!("{more} more"), NOTHING, NOTHING, NOTHING], &state));
    }
    if rows.is_empty() {
        rows.push(row(sync, drift, [NOTHING; 4], &state));
    }
    rows
}

fn cells(field: &DriftField) -> [&str; 4] {
    [&field.path, field.was.as_deref().unwrap_or(NOTHING), field.is.as_deref().unwrap_or(NOTHING), &field.by]
}

fn row(sync: &str, drift: &DriftStatus, [field, was, is, by]: [&str; 4], state: &str) -> Row {
    let (was, is, since) = (cut(was), cut(is), seconds(&drift.since));
    [sync, &drift.app, &drift.object, field, &was, &is, by, &since, state].map(printable)
}

/// The state, and why it is so where that is known.
fn state(drift: &DriftStatus) -> String {
    if drift.message.is_empty() { drift.state.clone() } else { format!("{}: {}", drift.state, drift.message) }
}

fn cut(value: &str) -> String {
    let mut short: String = value.chars().take(VALUE).collect();
    if value.chars().nth(VALUE).is_some() {
        short.push('…');
    }
    short
}

/// A time without its fractions; what is no time stays as it is.
fn seconds(time: &str) -> String {
    time.parse::<jiff::Timestamp>().map_or_else(|_| time.to_owned(), |time| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}

/// A Sync's status could be written by others than its agent: nothing in it moves the cursor of a terminal.
fn printable(cell: &str) -> String {
    if cell.is_empty() { NOTHING.to_owned() } else { cell.chars().map(|c| if c.is_control() { ' ' } else { c }).collect() }
}

/// Rows in columns. What is printed later stays below what was printed before, unless it is wider.
#[derive(Debug, Default)]
pub struct Table {
    widths: [usize; 9],
    headed: bool,
}

impl Table {
    /// The rows as lines, below the names of the columns the first time; nothing if there are none.
    pub fn lines(&mut self, rows: &[Row]) -> String {
        if rows.is_empty() {
            return String::new();
        }
        let head = HEAD.map(str::to_owned);
        let head = (!std::mem::replace(&mut self.headed, true)).then_some(&head);
        let rows: Vec<&Row> = head.into_iter().chain(rows).collect();
        for row in &rows {
            for (width, cell) in self.widths.iter_mut().zip(*row) {
                *width = cell.chars().count().max(*width);
            }
        }
        rows.into_iter().map(|row| self.line(row)).collect()
    }

    fn line(&self, row: &Row) -> String {
        let cells: Vec<String> = row.iter().zip(self.widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        format!("{}\n", cells.join("  ").trim_end())
    }
}

/// What a Sync says of drift, for programs.
#[derive(Debug, Serialize)]
pub struct Document<'a> {
    namespace: Option<&'a str>,
    name: Option<&'a str>,
    /// How many objects are not as Git says; null where nobody can say.
    drifted: Option<i64>,
    /// Why nobody can say.
    #[serde(skip_serializing_if = "Option::is_none")]
    unknown: Option<String>,
    /// As the Sync's status lists them, what was healed lately at the end.
    drift: &'a [DriftStatus],
}

/// What a Sync says of drift, for programs.
pub fn document(sync: &Sync) -> Document<'_> {
    let (drifted, unknown) = match standing(sync) {
        Standing::InSync => (Some(0), None),
        Standing::Drifted(count) => (Some(count), None),
        Standing::Unknown(why) => (None, Some(why)),
    };
    let metadata = &sync.metadata;
    Document { namespace: metadata.namespace.as_deref(), name: metadata.name.as_deref(), drifted, unknown, drift: listed(sync) }
}

/// In words, beside the table: what there is in all, and what the table can't show.
pub fn notes(syncs: &[&Sync]) -> Vec<String> {
    let mut notes: Vec<String> = syncs.iter().filter_map(|sync| note(sync)).collect();
    let standings: Vec<Standing> = syncs.iter().map(|sync| standing(sync)).collect();
    let known = standings.iter().filter(|standing| !matches!(standing, Standing::Unknown(_))).count();
    let drifted: Vec<i64> =
        standings.iter().filter_map(|standing| if let Standing::Drifted(count) = standing { Some(*count) } else { None }).collect();
    notes.push(match (drifted.len(), known) {
        (0, 0) => "No Sync tells whether anything has drifted.".to_owned(),
        (0, _) => format!("No drift in {}, as their agents last said.", counted(known, "Sync")),
        (some, _) => {
            let objects = usize::try_from(drifted.iter().fold(0, |sum: i64, count| sum.saturating_add(*count))).unwrap_or(usize::MAX);
            let verb = if objects == 1 { "is" } else { "are" };
            format!("{} {verb} not as Git says, in {some} of {}.", counted(objects, "object"), counted(syncs.len(), "Sync"))
        }
    });
    notes
}

fn note(sync: &Sync) -> Option<String> {
    let name = name(sync);
    match (standing(sync), unlisted(sync)) {
        (Standing::Unknown(why), _) => Some(format!("Sync {name}: it is not known whether anything has drifted: {}.", printable(&why))),
        (_, 0) => None,
        (_, more) => Some(format!("Sync {name}: not listed here: {more} more, for the status of a Sync lists 50 objects at most.")),
    }
}

fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// What follows a line of three backquotes and this word, up to the next three.
    fn block<'a>(section: &'a str, word: &str) -> Option<&'a str> {
        let (_, rest) = section.split_once(&format!("```{word}\n"))?;
        rest.split_once("```").map(|(block, _)| block)
    }

    fn syncs(yaml: &str) -> Vec<Sync> {
        serde_yaml::Deserializer::from_str(yaml).map(|document| serde::Deserialize::deserialize(document).unwrap()).collect()
    }

    fn answered(section: &str) -> String {
        let now = syncs(block(section, "yaml").unwrap());
        let rows: Vec<Row> = match block(section, "yaml before").map(syncs) {
            Some(before) => before.iter().zip(&now).flat_map(|(before, now)| news(before, now)).collect(),
            None => now.iter().flat_map(rows).collect(),
        };
        let notes: String = notes(&now.iter().collect::<Vec<_>>()).iter().map(|note| format!("{note}\n")).collect();
        format!("{}{notes}", Table::default().lines(&rows))
    }

    #[test]
    fn every_page_is_answered_as_it_says() {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/cases/drift-table");
        let mut seen = 0;
        for entry in std::fs::read_dir(directory).unwrap() {
            let page = std::fs::read_to_string(entry.unwrap().path()).unwrap();
            for section in page.split("\n## ").skip(1) {
                let title = section.lines().next().unwrap_or_default();
                assert_eq!(answered(section), block(section, "text").unwrap(), "{title}");
                seen += 1;
            }
        }
        assert!(seen >= 6, "only {seen} cases were found; where have they gone?");
    }

    #[test]
    fn what_is_printed_later_stands_below_what_was_printed_before() {
        let row = |object: &str| -> Row { ["a/b", "web", object, "f", "1", "2", "x", "t", "reported"].map(str::to_owned) };
        let mut table = Table::default();
        let first = table.lines(&[row("Deployment web/api")]);
        let second = table.lines(&[row("Pod web/x")]);
        assert_eq!((first.lines().count(), second.lines().count()), (2, 1));
        assert_eq!(first.lines().last().unwrap().find("reported"), second.find("reported"));
        assert_eq!(table.lines(&[]), "");
    }
}
