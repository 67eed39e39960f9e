//! Reads from the managed fields who holds a field now, as far as they tell.
//!
//! They name field managers, which anybody may call themselves; never a person. A removal leaves no trace of who did it, and what admission, a
//! conversion or a reset of the managed fields changes is held by nobody else.

use std::fmt;

use jiff::Timestamp;
use serde_json::Value;

use super::fields;

/// Who holds a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Author {
    /// A field manager, as it calls itself.
    Manager {
        /// Its name, as `kubectl-edit`.
        name: String,
        /// `Apply`, or `Update`.
        operation: String,
        /// The subresource that it wrote through, as `scale`; empty for the object itself.
        subresource: String,
        /// When it last changed anything that it holds; a write through `scale` says none.
        since: Option<Timestamp>,
    },
    /// Nobody: the field is gone, and a removal leaves no trace.
    Unknown,
    /// Nobody else, although it has changed: admission, a conversion, a reset of the managed fields, or a writer under our own name.
    Traceless,
}

impl Author {
    /// Its name where it has one.
    pub fn manager(&self) -> Option<&str> {
        match self {
            Self::Manager { name, .. } => Some(name),
            _ => None,
        }
    }

    /// When it last changed anything that it holds.
    pub fn since(&self) -> Option<Timestamp> {
        match self {
            Self::Manager { since, .. } => *since,
            _ => None,
        }
    }
}

impl fmt::Display for Author {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Manager { name, subresource, .. } if !subresource.is_empty() => write!(f, "{name} ({subresource})"),
            Self::Manager { name, operation, .. } if operation == "Apply" => write!(f, "{name} (Apply)"),
            Self::Manager { name, .. } => f.write_str(name),
            Self::Unknown => f.write_str("an unknown author"),
            Self::Traceless => f.write_str("a writer that leaves no trace"),
        }
    }
}

/// Who holds what `path` leads to in a live object: of several the one that wrote last, or an unknown time ago, which is a scale.
/// `gone` is whether nothing is there any more.
pub fn author(path: &[String], gone: bool, live: &Value) -> Author {
    if gone {
        return Author::Unknown;
    }
    let entries = fields::entries(live).iter().filter(|entry| !fields::is_ours(entry));
    let held = entries.filter_map(|entry| Some((fields::listed(entry)?, entry))).filter(|(listed, _)| fields::holds(listed, path));
    // Who lists the very field goes before who holds what it is part of.
    let holders = held.map(|(listed, entry)| (fields::lists(listed, path), manager(entry)));
    let last = holders.max_by_key(|(exact, author)| (*exact, author.since().is_none(), author.since()));
    last.map_or(Author::Traceless, |(_, author)| author)
}

fn manager(entry: &Value) -> Author {
    let text = |key: &str| entry.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let printable = |text: String| text.chars().filter(|c| !c.is_control()).take(128).collect();
    Author::Manager {
        name: printable(text("manager")),
        operation: text("operation"),
        subresource: text("subresource"),
        since: text("time").parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn path(steps: &str) -> Vec<String> {
        steps.split('/').map(str::to_owned).collect()
    }

    #[test]
    fn the_manager_that_holds_the_field_is_named_and_no_bystander() {
        let live = json!({"metadata": {"managedFields": [
            {"manager": "plimsoll", "operation": "Apply", "fieldsV1": {"f:spec": {"f:paused": {}}}},
            {"manager": "kubectl", "operation": "Update", "subresource": "scale", "fieldsV1": {"f:spec": {"f:replicas": {}}}},
            {"manager": "kubectl-edit", "operation": "Update", "time": "2026-01-01T00:00:00Z", "fieldsV1": {"f:spec": {"f:selector": {}}}},
            {"manager": "argocd", "operation": "Apply", "time": "2026-01-02T00:00:00Z", "fieldsV1": {"f:spec": {"f:selector": {}}}},
            {"manager": "bystander", "operation": "Update", "time": "2026-01-03T00:00:00Z", "fieldsV1": {"f:metadata": {}}},
        ]}});
        let of = |steps: &str, gone: bool| author(&path(steps), gone, &live).to_string();
        assert_eq!(of("f:spec/f:replicas", false), "kubectl (scale)");
        assert_eq!(of("f:spec/f:selector/f:app", false), "argocd (Apply)", "it holds the whole map, and wrote last");
        assert_eq!(of("f:spec/f:paused", false), "a writer that leaves no trace");
        assert_eq!(of("f:spec/f:replicas", true), "an unknown author");
    }

    #[test]
    fn what_is_malformed_names_nobody() {
        for fields in [json!(null), json!(7), json!([{"manager": 7}]), json!([{"manager": "x", "fieldsV1": []}])] {
            assert_eq!(author(&path("f:spec"), false, &json!({"metadata": {"managedFields": fields}})), Author::Traceless);
        }
    }
}
