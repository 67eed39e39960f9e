//! Writes values as YAML the way people do: blocks and flows, quotes or none. It must not know what they mean.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::random::Random;

/// Marks a string that is written as it stands: a scalar whose spelling matters.
const RAW: char = '\u{1}';

/// A scalar that is written as it stands.
pub(crate) fn raw(text: &str) -> Value {
    Value::String(format!("{RAW}{text}"))
}

/// The documents of a file.
pub(crate) fn documents(random: &mut Random, values: &[Value]) -> String {
    let mut text = String::new();
    for (index, value) in values.iter().enumerate() {
        if index > 0 || random.chance(20) {
            text.push_str("---\n");
        }
        if random.chance(5) {
            text.push_str("# A comment.\n");
        }
        text.push_str(&document(random, value));
    }
    text
}

/// One document.
pub(crate) fn document(random: &mut Random, value: &Value) -> String {
    let mut text = String::new();
    block(random, value, 0, &mut text);
    text
}

/// A value from the start of a line, `depth` columns in.
fn block(random: &mut Random, value: &Value, depth: usize, text: &mut String) {
    match value {
        Value::Object(map) if !map.is_empty() => entries(random, map, depth, text),
        Value::Array(items) if !items.is_empty() => {
            for item in items {
                let _ = write!(text, "{:depth$}-", "");
                after(random, item, depth + 2, depth + 2, true, text);
            }
        }
        other => {
            let _ = writeln!(text, "{:depth$}{}", "", flow(other));
        }
    }
}

fn entries(random: &mut Random, map: &Map<String, Value>, depth: usize, text: &mut String) {
    for (key, value) in map {
        let _ = write!(text, "{:depth$}{}:", "", scalar(key));
        // Lists may stand in the column of their key.
        let inner = if value.is_array() && random.chance(50) { depth } else { depth + 2 };
        after(random, value, inner, depth + 2, false, text);
    }
}

/// A value after `key:` or `-`.
fn after(random: &mut Random, value: &Value, depth: usize, text_depth: usize, in_list: bool, text: &mut String) {
    let is_empty = value.as_object().is_some_and(Map::is_empty) || value.as_array().is_some_and(Vec::is_empty);
    match value {
        Value::Object(_) | Value::Array(_) if is_empty || random.chance(8) => {
            let _ = writeln!(text, " {}", flow(value));
        }
        Value::Object(_) if in_list => {
            let mut inner = String::new();
            block(random, value, depth, &mut inner);
            let _ = write!(text, " {}", inner.trim_start());
        }
        Value::Object(_) | Value::Array(_) => {
            text.push('\n');
            block(random, value, depth, text);
        }
        Value::String(lines) if lines.contains('\n') && !lines.starts_with(RAW) && !lines.starts_with([' ', '\n', '\t']) => {
            literal(lines, text_depth, text);
        }
        other => {
            let _ = writeln!(text, " {}", flow(other));
        }
    }
}

/// A text of several lines as a literal block.
fn literal(lines: &str, depth: usize, text: &mut String) {
    text.push_str(if lines.ends_with('\n') { " |\n" } else { " |-\n" });
    for line in lines.lines() {
        if line.is_empty() {
            text.push('\n')
        } else {
            let _ = writeln!(text, "{:depth$}{line}", "");
        }
    }
}

/// A value in one line.
pub(crate) fn flow(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::String(text) => text.strip_prefix(RAW).map_or_else(|| scalar(text), str::to_owned),
        Value::Array(items) => format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", ")),
        Value::Object(map) => {
            let entries = map.iter().map(|(key, value)| format!("{}: {}", scalar(key), flow(value)));
            format!("{{{}}}", entries.collect::<Vec<_>>().join(", "))
        }
        Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}

/// A string, plain where it can be.
fn scalar(text: &str) -> String {
    let is_plain = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c))
        && !matches!(text.to_ascii_lowercase().as_str(), "y" | "n" | "yes" | "no" | "on" | "off" | "true" | "false" | "null");
    if is_plain { text.to_owned() } else { Value::String(text.to_owned()).to_string() }
}
