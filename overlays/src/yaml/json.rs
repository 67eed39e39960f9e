//! Trees to JSON and back, with Go's numbers and Go's escapes.

use std::borrow::Cow;
use std::fmt::Write;

use serde_json::Value as Json;

use super::scalar::short_tag;
use super::{Dialect, Entry, Error, MAX_DEPTH, Node, Scalar, Value, number};

/// The text of a map's key in JSON.
///
/// go-yaml v3 makes maps with other than string keys something that JSON cannot take, but at the root of a document, whose keys it
/// reads into strings whatever they look like. v2's keys may be numbers and booleans, and `y` is the key `true`.
pub(crate) fn key_text(key: &Node, dialect: Dialect, root: bool) -> Result<Cow<'_, str>, Error> {
    let scalar = key.resolve(dialect)?;
    let text = key.text().map_or("", |text| text);
    let no_string = |what: String| Error::at_node(format!("the key `{text}` {what}, and keys must be strings"), key);
    if dialect == Dialect::Resource
        && !root
        && let (Scalar::Str(_), Some(tag)) = (&scalar, foreign_tag(key))
    {
        return Err(no_string(format!("has the tag `{tag}`")).with_hint("take the tag away"));
    }
    match (scalar, dialect) {
        (Scalar::Str(text), _) => Ok(text),
        (Scalar::Bool(_) | Scalar::Int(_) | Scalar::Float(_) | Scalar::Timestamp(_), Dialect::Resource) if root => Ok(text.into()),
        (Scalar::Bool(value), Dialect::Config) => Ok(if value { "true" } else { "false" }.into()),
        (Scalar::Int(value), Dialect::Config) if i64::try_from(value).is_ok() => Ok(value.to_string().into()),
        (Scalar::Float(value), Dialect::Config) => Ok(number::short_float(value).into()),
        (other, _) => Err(no_string(format!("is {}", other.type_name())).with_hint("put the key in quotes")),
    }
}

/// A tag that says that a text is something else than a string.
fn foreign_tag(key: &Node) -> Option<&str> {
    let Value::Scalar(_, _, Some(tag)) = &key.value else { return None };
    Some(short_tag(tag)).filter(|tag| !matches!(*tag, "" | "!" | "!!str"))
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

#[cfg(test)]
mod tests {
    use super::super::{Limits, parse, parse_config};
    use super::*;

    fn resource(text: &str) -> Node {
        parse(text.as_bytes(), &Limits::default()).unwrap().remove(0)
    }

    #[test]
    fn json_is_compact_sorted_and_escaped_as_go_does() {
        let node = resource(r#"{b: [1, 1.5, 1e21, 1e-7, true, ~, 2001-01-01], a: "<&>\t\u2028\"\\\x01\x08\x7f"}"#);
        assert_eq!(
            go_json(&node).unwrap(),
            r#"{"a":"\u003c\u0026\u003e\t\u2028\"\\\u0001\b"#.to_owned()
                + "\u{7f}"
                + r#"","b":[1,1.5,1e+21,1e-7,true,null,"2001-01-01T00:00:00Z"]}"#
        );
    }

    #[test]
    fn a_configuration_may_have_keys_that_are_not_text() {
        let node = parse_config(b"y: {on: no, 1: 0644, 1.5: x}", &Limits::default()).unwrap().unwrap();
        assert_eq!(node.to_json(Dialect::Config).unwrap(), serde_json::json!({"true": {"true": false, "1": 420, "1.5": "x"}}));
        assert!(parse_config(b"a: {~: x}", &Limits::default()).unwrap().unwrap().to_json(Dialect::Config).is_err());
    }

    #[test]
    fn integers_are_exact_and_whole_floats_become_integers() {
        let json = resource("[12345678901234567890, -9223372036854775808, 1.0, 1e3, 2.5, 18446744073709551616]")
            .to_json(Dialect::Resource)
            .unwrap();
        assert_eq!(json.to_string(), "[12345678901234567890,-9223372036854775808,1,1000,2.5,1.8446744073709552e+19]");
    }

    #[test]
    fn json_comes_back_as_the_same_tree() {
        let json = serde_json::json!({"a": [1, -1, 2.5, 1e300, "1", "yes", null, true, {}], "n": u64::MAX});
        assert_eq!(Node::from_json(&json).to_json(Dialect::Resource).unwrap(), json);
        assert_eq!(Node::from_json(&json).to_json(Dialect::Config).unwrap(), json);
    }
}
