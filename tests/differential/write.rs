//! Writes values as YAML the way people do: blocks and flows, quotes or none, comments, anchors. It must not know what they mean.

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
            text.push_str(random.pick(&[
                "---\n",
                "---\n",
                "---\n",
                "--- # next\n",
                "---  \n",
                "---\n# only a comment\n---\n",
                "...\n---\n",
            ]));
        }
        if random.chance(5) {
            text.push_str("# A comment.\n");
        }
        text.push_str(&document(random, value));
    }
    if random.chance(5) { dressed(random, &text) } else { text }
}

/// A file as other machines and tools leave it.
fn dressed(random: &mut Random, text: &str) -> String {
    match random.below(8) {
        0 => text.replace('\n', "\r\n"),
        1 => format!("\u{feff}{text}"),
        2 => format!("{text}...\n"),
        3 => format!("{text}---\n"),
        4 => format!("\n\n# first\n{text}\n  \n"),
        5 => text.trim_end_matches('\n').to_owned(),
        6 => format!("---\n---\n{text}"),
        _ => format!("%YAML 1.2\n---\n{text}"),
    }
}

/// One document.
pub(crate) fn document(random: &mut Random, value: &Value) -> String {
    let mut writer = Writer { is_odd: random.chance(15), random, text: String::new(), anchors: Vec::new() };
    writer.block(value, 0);
    writer.text
}

/// Writes one document.
struct Writer<'r> {
    random: &'r mut Random,
    text: String,
    /// Whether it is written in more ways than most people use.
    is_odd: bool,
    /// What has an anchor, whose name is its place here; null while it is being written.
    anchors: Vec<Value>,
}

impl Writer<'_> {
    /// A value from the start of a line, `depth` columns in.
    fn block(&mut self, value: &Value, depth: usize) {
        match value {
            Value::Object(map) if !map.is_empty() => self.entries(map, depth),
            Value::Array(items) if !items.is_empty() => {
                for item in items {
                    let _ = write!(self.text, "{:depth$}-", "");
                    self.after(item, depth + 2, depth + 2, true);
                }
            }
            other => {
                let _ = writeln!(self.text, "{:depth$}{}", "", flow(other));
            }
        }
    }

    fn entries(&mut self, map: &Map<String, Value>, depth: usize) {
        let merged = self.merge(map, depth);
        for (key, value) in map.iter().filter(|(key, _)| !merged.iter().any(|merged| merged == *key)) {
            self.between(depth);
            let key = self.key(key);
            let _ = write!(self.text, "{:depth$}{key}:", "");
            // Lists may stand in the column of their key.
            let inner = if value.is_array() && self.random.chance(50) { depth } else { depth + self.step() };
            self.after(value, inner, depth + 2, false);
        }
    }

    /// How far what is inside is indented.
    fn step(&mut self) -> usize {
        if self.is_odd && self.random.chance(20) { 4 } else { 2 }
    }

    /// What may stand between two entries.
    fn between(&mut self, depth: usize) {
        if self.is_odd && self.random.chance(6) {
            let filler = self.random.pick(&["\n", "  \n", "# At the margin.\n", "      # Further in.\n"]);
            // A document that begins with a filler is another thing, and so is an item of a list.
            if self.text.ends_with('\n') && depth > 0 {
                self.text.push_str(filler);
            }
        }
    }

    fn key(&mut self, key: &str) -> String {
        match self.random.below(12) {
            0 if self.is_odd => Value::String(key.to_owned()).to_string(),
            1 if self.is_odd && !key.contains(['\'', '\n']) => format!("'{key}'"),
            _ => scalar(key),
        }
    }

    /// Writes a merge key for a part of the map that has an anchor, and says which keys it brings.
    fn merge(&mut self, map: &Map<String, Value>, depth: usize) -> Vec<String> {
        let is_part = |part: &Map<String, Value>| !part.is_empty() && part.iter().all(|(key, value)| map.get(key) == Some(value));
        let place = self.anchors.iter().position(|value| value.as_object().is_some_and(is_part));
        let Some(place) = place.filter(|_| self.random.chance(60)) else { return Vec::new() };
        let _ = writeln!(self.text, "{:depth$}<<: *a{place}", "");
        self.anchors[place].as_object().map(|part| part.keys().cloned().collect()).unwrap_or_default()
    }

    /// A value after `key:` or `-`.
    fn after(&mut self, value: &Value, depth: usize, text_depth: usize, in_list: bool) {
        let is_whole = value.is_object() || value.is_array() || value.as_str().is_some_and(|text| !text.contains(RAW));
        if self.is_odd && is_whole {
            if let Some(place) = self.anchors.iter().position(|anchored| anchored == value) {
                let _ = writeln!(self.text, " *a{place}");
                return;
            }
            if self.random.chance(10) {
                let place = self.anchors.len();
                let _ = write!(self.text, " &a{place}");
                self.anchors.push(Value::Null);
                self.value(value, depth, text_depth, false);
                self.anchors[place] = value.clone();
                return;
            }
        }
        self.value(value, depth, text_depth, in_list);
    }

    fn value(&mut self, value: &Value, depth: usize, text_depth: usize, in_list: bool) {
        let is_empty = value.as_object().is_some_and(Map::is_empty) || value.as_array().is_some_and(Vec::is_empty);
        match value {
            Value::Object(_) | Value::Array(_) if is_empty || self.random.chance(8) => {
                let wide = self.is_odd && self.random.chance(30);
                let written = flow(value);
                let written =
                    if wide && !written.contains(['"', '\'']) { written.replace(", ", &format!(",\n{:depth$}  ", "")) } else { written };
                self.end(&written);
            }
            Value::Object(_) if in_list => {
                let start = self.text.len();
                self.block(value, depth);
                let inner = self.text.split_off(start);
                let _ = write!(self.text, " {}", inner.trim_start());
            }
            Value::Object(_) | Value::Array(_) => {
                self.end("");
                self.block(value, depth);
            }
            Value::String(lines) if lines.contains('\n') && !lines.starts_with(RAW) && !lines.starts_with([' ', '\n', '\t']) => {
                self.lines(lines, text_depth);
            }
            Value::String(text) if self.is_odd && !text.starts_with(RAW) => {
                let written = self.odd_scalar(text, text_depth);
                self.end(&written);
            }
            other => self.end(&flow(other)),
        }
    }

    /// Ends a line with a value, and perhaps with what does not count.
    fn end(&mut self, written: &str) {
        if !written.is_empty() {
            let _ = write!(self.text, " {written}");
        }
        if self.is_odd && self.random.chance(8) {
            self.text.push_str(self.random.pick(&[" # Behind.", "  ", "\t", " \t# Behind a tab.", " #"]));
        }
        self.text.push('\n');
    }

    /// A string in one of the other ways.
    fn odd_scalar(&mut self, text: &str, depth: usize) -> String {
        let is_simple =
            !text.is_empty() && text.chars().all(|c| (' '..='~').contains(&c)) && !text.starts_with(' ') && !text.ends_with(' ');
        match self.random.below(10) {
            0 if is_simple => format!("'{}'", text.replace('\'', "''")),
            1 => Value::String(text.to_owned()).to_string(),
            2 if is_simple => format!(">-\n{:depth$}{text}", ""),
            3 if is_simple => format!("|-\n{:depth$}{text}", ""),
            4 if is_simple && text.contains(' ') && !text.contains("  ") => {
                let (one, rest) = text.split_once(' ').unwrap_or((text, ""));
                format!("\"{}\n{:depth$}{}\"", one.replace(['"', '\\'], "-"), "", rest.replace(['"', '\\'], "-"))
            }
            _ => scalar(text),
        }
    }

    /// A text of several lines as a block.
    fn lines(&mut self, lines: &str, depth: usize) {
        let folded = self.is_odd && self.random.chance(20);
        let stated = self.is_odd && self.random.chance(15);
        let end = match lines.ends_with('\n') {
            true if self.is_odd && !lines.ends_with("\n\n") && self.random.chance(20) => "+",
            true => "",
            false => "-",
        };
        let _ = writeln!(self.text, " {}{}{end}", if folded { '>' } else { '|' }, if stated { "2" } else { "" });
        // The indicator counts from the column of what is above, which is two less.
        for line in lines.lines() {
            if line.is_empty() {
                self.text.push('\n');
            } else {
                let _ = writeln!(self.text, "{:depth$}{line}", "");
            }
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
