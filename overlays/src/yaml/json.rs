//! Trees to JSON and back, with Go's numbers and Go's escapes.

use std::borrow::Cow;
use std::fmt::Write;

use serde_json::Value as Json;

use super::{Dialect, Entry, Error, MAX_DEPTH, Node, Scalar, Value, number};

/// The text of a map's key in JSON.
///
/// go-yaml v3 makes maps with other than string keys something that JSON cannot take, but at the root of a document, whose keys it
/// reads into strings whatever they look like. v2's keys may be numbers and booleans, and `y` is the key `true`.
pub(super) fn key_text(key: &Node, dialect: Dialect, root: bool) -> Result<Cow<'_, str>, Error> {
    let scalar = key.resolve(dialect)?;
    let text = key.text().map_or("", |text| text);
    match (scalar, dialect) {
        (Scalar::Str(text), _) => Ok(text),
        (Scalar::Bool(_) | Scalar::Int(_) | Scalar::Float(_) | Scalar::Timestamp(_), Dialect::Resource) if root => Ok(text.into()),
        (Scalar::Bool(value), Dialect::Config) => Ok(if value { "true" } else { "false" }.into()),
        (Scalar::Int(value), Dialect::Config) => Ok(value.to_string().into()),
        (Scalar::Float(value), Dialect::Config) if value.is_finite() => Ok(number::key(value).into()),
        (Scalar::Float(value), Dialect::Config) => Ok(if value.is_nan() {
            ".nan"
        } else if value > 0.0 {
            ".inf"
        } else {
            "-.inf"
        }
        .into()),
        (other, _) => Err(Error::at_node(format!("the key `{text}` is {}, and keys must be strings", other.type_name()), key)
            .with_hint("put the key in quotes")),
    }
}

fn too_deep(node: &Node) -> Error {
    Error::at_node(format!("nested deeper than the limit of {MAX_DEPTH} levels"), node)
}

fn not_finite(node: &Node) -> Error {
    Error::at_node("JSON knows neither infinity nor not-a-number", node).with_hint("put the value in quotes if it is text")
}

impl Node {
    /// This tree as JSON, read in a dialect. Of a key that is there twice the last counts.
    ///
    /// # Errors
    /// A number is infinite, a key is not text, a text does not fit its tag, or the tree is too deep.
    pub fn to_json(&self, dialect: Dialect) -> Result<Json, Error> {
        to_json(self, dialect, 0)
    }

    /// A tree that no file holds.
    pub fn from_json(json: &Json) -> Self {
        match json {
            Json::Null => Self::plain("null"),
            Json::Bool(value) => Self::plain(if *value { "true" } else { "false" }),
            Json::Number(value) => Self::plain(number_text(value)),
            Json::String(text) => Self::string(text.as_str()),
            Json::Array(items) => Self { value: Value::List(items.iter().map(Self::from_json).collect()), ..Self::list() },
            Json::Object(entries) => {
                let entry = |(key, value): (&String, &Json)| Entry { key: Self::string(key.as_str()), value: Self::from_json(value) };
                Self { value: Value::Map(entries.iter().map(entry).collect()), ..Self::map() }
            }
        }
    }
}

fn number_text(number: &serde_json::Number) -> String {
    match number.as_f64() {
        Some(value) if number.is_f64() => number::json(value),
        _ => number.to_string(),
    }
}

fn to_json(node: &Node, dialect: Dialect, depth: usize) -> Result<Json, Error> {
    if depth > MAX_DEPTH {
        return Err(too_deep(node));
    }
    match &node.value {
        Value::List(items) => items.iter().map(|item| to_json(item, dialect, depth + 1)).collect::<Result<_, _>>().map(Json::Array),
        Value::Map(entries) => {
            let entry = |entry: &Entry| {
                let key = key_text(&entry.key, dialect, depth == 0)?.into_owned();
                Ok((key, to_json(&entry.value, dialect, depth + 1)?))
            };
            entries.iter().map(entry).collect::<Result<_, _>>().map(Json::Object)
        }
        Value::Scalar(..) => scalar(node, dialect),
    }
}

fn scalar(node: &Node, dialect: Dialect) -> Result<Json, Error> {
    Ok(match node.resolve(dialect)? {
        Scalar::Null => Json::Null,
        Scalar::Bool(value) => Json::Bool(value),
        Scalar::Str(text) => Json::String(text.into_owned()),
        Scalar::Timestamp(text) => Json::String(text),
        Scalar::Int(value) => integer(value),
        Scalar::Float(value) => match number::integral(value) {
            Some(integral) => integer(integral),
            None => serde_json::Number::from_f64(value).map(Json::Number).ok_or_else(|| not_finite(node))?,
        },
    })
}

/// The parser's integers fit one of the two.
fn integer(value: i128) -> Json {
    i64::try_from(value).map(Json::from).or_else(|_| u64::try_from(value).map(Json::from)).unwrap_or(Json::Null)
}

/// A resource as Go's `encoding/json` prints it: compact, keys sorted by bytes, `<`, `>` and `&` escaped. Hashes of content are made of it.
///
/// # Errors
/// As [`Node::to_json`].
pub fn go_json(node: &Node) -> Result<String, Error> {
    let mut out = String::new();
    write_json(node, &mut out, 0)?;
    Ok(out)
}

fn write_json(node: &Node, out: &mut String, depth: usize) -> Result<(), Error> {
    if depth > MAX_DEPTH {
        return Err(too_deep(node));
    }
    match &node.value {
        Value::List(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                out.push_str(if i == 0 { "" } else { "," });
                write_json(item, out, depth + 1)?;
            }
            out.push(']');
        }
        Value::Map(entries) => write_map(entries, out, depth)?,
        Value::Scalar(..) => write_scalar(node, out)?,
    }
    Ok(())
}

fn write_map(entries: &[Entry], out: &mut String, depth: usize) -> Result<(), Error> {
    let mut sorted = Vec::with_capacity(entries.len());
    for entry in entries {
        sorted.push((key_text(&entry.key, Dialect::Resource, depth == 0)?, &entry.value));
    }
    sorted.sort_by(|a, b| a.0.cmp(&b.0));
    out.push('{');
    for (i, (key, value)) in sorted.into_iter().enumerate() {
        out.push_str(if i == 0 { "" } else { "," });
        write_string(&key, out);
        out.push(':');
        write_json(value, out, depth + 1)?;
    }
    out.push('}');
    Ok(())
}

fn write_scalar(node: &Node, out: &mut String) -> Result<(), Error> {
    match node.resolve(Dialect::Resource)? {
        Scalar::Null => out.push_str("null"),
        Scalar::Bool(value) => out.push_str(if value { "true" } else { "false" }),
        Scalar::Int(value) => out.push_str(&value.to_string()),
        Scalar::Float(value) if value.is_finite() => out.push_str(&number::json(value)),
        Scalar::Float(_) => return Err(not_finite(node)),
        Scalar::Timestamp(text) => write_string(&text, out),
        Scalar::Str(text) => write_string(&text, out),
    }
    Ok(())
}

fn write_string(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\0'..='\u{1f}' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                // Writing to a String cannot fail.
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            _ => out.push(c),
        }
    }
    out.push('"');
}
