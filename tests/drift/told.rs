//! What is told of a drift, a line a field, in the words in which the agent's log has it. It knows no server.
//!
//!     Deployment web spec.replicas 3 → 5 by kubectl (scale)
//!     Deployment web metadata.labels.tier front → removed by an unknown author; reported
//!     Deployment web deleted by an unknown author

use std::fmt;

use harness::{Result, Trouble};
use serde_json::Value;

/// Whom a removal is put down to: it leaves no trace of who it was.
pub(crate) const UNKNOWN: &str = "an unknown author";
/// Whom a change is put down to if nobody else holds the field.
pub(crate) const TRACELESS: &str = "a writer that leaves no trace";
/// What becomes of a drift if the line does not say.
pub(crate) const HEALED: &str = "healed";
/// It is put right again and again.
pub(crate) const FIGHTING: &str = "fighting";
/// The path of an object that is gone.
pub(crate) const DELETED: &str = "deleted";

#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Told {
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) path: String,
    pub(crate) was: Option<String>,
    pub(crate) is: Option<String>,
    pub(crate) by: String,
    pub(crate) state: String,
}

impl Told {
    /// The lines of a `told` fence.
    pub(crate) fn lines(text: &str) -> Result<Vec<Self>> {
        let lines: Vec<&str> = text.lines().filter(|line| !line.is_empty()).collect();
        if lines == ["nothing"] { Ok(Vec::new()) } else { lines.into_iter().map(Self::line).collect() }
    }

    fn line(line: &str) -> Result<Self> {
        let wrong = || Trouble::new(format!("`{line}` is not `KIND NAME PATH WAS → IS by WHO; STATE`"));
        let (words, state) = line.rsplit_once("; ").unwrap_or((line, HEALED));
        let (words, by) = words.rsplit_once(" by ").ok_or_else(wrong)?;
        let mut parts = words.splitn(4, ' ');
        let [kind, name, path] = [parts.next(), parts.next(), parts.next()].map(|part| part.map(str::to_owned));
        let values = parts.next().unwrap_or_default();
        let (was, is) = match (values.split_once(" → "), values.strip_suffix(" added")) {
            (Some((was, "removed")), _) => (Some(was), None),
            (Some((was, is)), _) => (Some(was), Some(is)),
            (None, Some(is)) => (None, Some(is)),
            (None, None) if values.is_empty() => (None, None),
            (None, None) => return Err(wrong()),
        };
        Ok(Self {
            kind: kind.ok_or_else(wrong)?,
            name: name.ok_or_else(wrong)?,
            path: path.ok_or_else(wrong)?,
            was: was.map(str::to_owned),
            is: is.map(str::to_owned),
            by: by.to_owned(),
            state: state.to_owned(),
        })
    }

    /// The fields of an entry of `status.drift`.
    pub(crate) fn of_status(entry: &Value) -> Vec<Self> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let object = text(&entry["object"]).unwrap_or_default();
        let (kind, name) = object.split_once(' ').unwrap_or((&object, ""));
        let name = name.rsplit('/').next().unwrap_or_default();
        let fields = entry["fields"].as_array().into_iter().flatten().map(|field| Self {
            kind: kind.to_owned(),
            name: name.to_owned(),
            path: text(&field["path"]).unwrap_or_default(),
            was: text(&field["was"]),
            is: text(&field["is"]),
            by: text(&field["by"]).unwrap_or_default(),
            state: text(&entry["state"]).unwrap_or_default(),
        });
        fields.collect()
    }

    /// The app, and the fields, of a line of the agent's log: `Drift: Deployment web/api spec.replicas 3 → 5 by x, ...; healed sync=.. app=..`.
    pub(crate) fn of_log(line: &str) -> Option<(String, Vec<Self>)> {
        let (words, app) = line.split_once(" Drift: ")?.1.rsplit_once(" app=")?;
        let (words, rest) = words.split_once("; ")?;
        let state = rest.split([' ', ':']).next()?;
        let mut words = words.splitn(3, ' ');
        let (kind, name) = (words.next()?, words.next()?.rsplit('/').next()?);
        // A field ends with its author; a comma may stand in a value, too.
        let (mut fields, mut begun) = (Vec::new(), String::new());
        for part in words.next()?.split(", ") {
            begun = if begun.is_empty() { part.to_owned() } else { format!("{begun}, {part}") };
            if begun.contains(" by ") {
                fields.extend(Self::line(&format!("{kind} {name} {begun}; {state}")).ok());
                begun.clear();
            }
        }
        Some((app.to_owned(), fields))
    }

    /// Whether this line of a page says what was told, but for what became of it. `…` alone is any value.
    pub(crate) fn is_about(&self, told: &Self) -> bool {
        let same = |page: &Option<String>, told: &Option<String>| page == told || (told.is_some() && page.as_deref() == Some("…"));
        let values = same(&self.was, &told.was) && same(&self.is, &told.is);
        values && (&self.kind, &self.name, &self.path, &self.by) == (&told.kind, &told.name, &told.path, &told.by)
    }

    /// Whether this line of a page says what was told.
    pub(crate) fn is(&self, told: &Self) -> bool {
        self.is_about(told) && self.state == told.state
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.kind, self.name, self.path)?;
        match (&self.was, &self.is) {
            (Some(was), Some(is)) => write!(f, " {was} → {is}")?,
            (Some(was), None) => write!(f, " {was} → removed")?,
            (None, Some(is)) => write!(f, " {is} added")?,
            (None, None) => {}
        }
        write!(f, " by {}", self.by)?;
        if self.state == HEALED { Ok(()) } else { write!(f, "; {}", self.state) }
    }
}

/// Lines, for a trouble.
pub(crate) fn lines<'a>(told: impl IntoIterator<Item = &'a Told>) -> String {
    let lines: Vec<String> = told.into_iter().map(|line| format!("    {line}")).collect();
    if lines.is_empty() { "    nothing".to_owned() } else { lines.join("\n") }
}
