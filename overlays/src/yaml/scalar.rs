//! What a plain scalar means: Go's two YAML dialects, decided late and by text alone.
//!
//! Facts are from go-yaml v2 and v3 (`resolve.go`) and Go's `strconv` and `time`; the tables in the tests were checked against them.

use std::borrow::Cow;

use base64::Engine;

use super::number::{self, digits};
use super::{Error, Node, Style, Value, timestamp};

/// Which reader decides the type of a plain scalar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// go-yaml v3, which reads resources: `yes` and `on` are strings.
    Resource,
    /// go-yaml v2 (YAML 1.1), which reads kustomization files, configurations and JSON patches: `yes`, `on` and `y` are booleans.
    Config,
}

/// A scalar with its type.
#[derive(Clone, Debug, PartialEq)]
pub enum Scalar<'a> {
    /// Nothing: `null`, `~` or no text at all.
    Null,
    /// A truth value.
    Bool(bool),
    /// An integer from -2^63 to 2^64-1.
    Int(i128),
    /// Any other number; infinite and not-a-number are possible.
    Float(f64),
    /// A date or time, as Go's JSON prints it (RFC 3339).
    Timestamp(String),
    /// A string.
    Str(Cow<'a, str>),
}

impl Scalar<'_> {
    /// The type, as an error names it.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Int(_) | Self::Float(_) => "a number",
            Self::Timestamp(_) => "a timestamp",
            Self::Str(_) => "a string",
        }
    }
}

impl Node {
    /// The type and value of a scalar in a dialect.
    ///
    /// # Errors
    /// This is a list or a map, or the text does not fit the tag that is written before it.
    pub fn resolve(&self, dialect: Dialect) -> Result<Scalar<'_>, Error> {
        let Value::Scalar(text, style, tag) = &self.value else {
            return Err(Error::at_node("a list or a map stands where a single value must be", self));
        };
        match (tag.as_deref().map(short_tag), style) {
            (None | Some("!"), Style::Quoted) | (Some("!!str"), _) => Ok(Scalar::Str(Cow::Borrowed(text))),
            (None | Some("!"), Style::Plain) => Ok(plain(text, dialect)),
            (Some(tag), _) => tagged(tag, text, dialect)
                .ok_or_else(|| Error::at_node(format!("`{}` is no value for the tag `{tag}`", shorten(text)), self)),
        }
    }

    /// Whether this is a scalar that means null in a dialect.
    pub fn is_null(&self, dialect: Dialect) -> bool {
        matches!(self.resolve(dialect), Ok(Scalar::Null))
    }
}

fn short_tag(tag: &str) -> &str {
    match tag.strip_prefix("tag:yaml.org,2002:") {
        Some("str") => "!!str",
        Some("int") => "!!int",
        Some("float") => "!!float",
        Some("bool") => "!!bool",
        Some("null") => "!!null",
        Some("timestamp") => "!!timestamp",
        Some("binary") => "!!binary",
        _ => tag,
    }
}

/// Enough of a text to know it again, and not so much that it floods a message.
fn shorten(text: &str) -> String {
    if text.chars().count() <= 20 { text.to_owned() } else { text.chars().take(17).chain("...".chars()).collect() }
}

fn tagged<'a>(tag: &str, text: &'a str, dialect: Dialect) -> Option<Scalar<'a>> {
    if tag == "!!binary" {
        // Bytes that are not UTF-8 become U+FFFD on the way through JSON.
        let bytes = base64::engine::general_purpose::STANDARD.decode(text.replace(['\n', '\r'], "")).ok()?;
        return Some(Scalar::Str(Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())));
    }
    match (tag, plain(text, dialect)) {
        ("!!null", Scalar::Null) => Some(Scalar::Null),
        ("!!bool", found @ Scalar::Bool(_)) | ("!!int", found @ Scalar::Int(_)) | ("!!float", found @ Scalar::Float(_)) => Some(found),
        #[expect(clippy::cast_precision_loss, reason = "the tag asks for a float")]
        ("!!float", Scalar::Int(int)) => i64::try_from(int).ok().map(|int| Scalar::Float(int as f64)),
        ("!!timestamp", found @ Scalar::Timestamp(_)) => Some(found),
        ("!!null" | "!!bool" | "!!int" | "!!float" | "!!timestamp", _) => None,
        _ => Some(Scalar::Str(Cow::Borrowed(text))),
    }
}

/// What a plain scalar means. The first byte decides what is tried, as in Go.
pub(super) fn plain(text: &str, dialect: Dialect) -> Scalar<'_> {
    let found = match text.bytes().next() {
        None => Some(Scalar::Null),
        Some(b'0'..=b'9' | b'+' | b'-') => special(text).or_else(|| number_or_time(text, dialect)),
        Some(b'.') => special(text).or_else(|| fraction(text)),
        Some(b'y' | b'Y' | b'n' | b'N' | b't' | b'T' | b'f' | b'F' | b'o' | b'O' | b'~') => word(text, dialect),
        _ => None,
    };
    found.unwrap_or(Scalar::Str(Cow::Borrowed(text)))
}

fn word(text: &str, dialect: Dialect) -> Option<Scalar<'static>> {
    match text {
        "~" | "null" | "Null" | "NULL" => Some(Scalar::Null),
        "true" | "True" | "TRUE" => Some(Scalar::Bool(true)),
        "false" | "False" | "FALSE" => Some(Scalar::Bool(false)),
        "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" if dialect == Dialect::Config => Some(Scalar::Bool(true)),
        "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF" if dialect == Dialect::Config => Some(Scalar::Bool(false)),
        _ => None,
    }
}

fn special(text: &str) -> Option<Scalar<'static>> {
    match text {
        ".nan" | ".NaN" | ".NAN" => Some(Scalar::Float(f64::NAN)),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => Some(Scalar::Float(f64::INFINITY)),
        "-.inf" | "-.Inf" | "-.INF" => Some(Scalar::Float(f64::NEG_INFINITY)),
        _ => None,
    }
}

fn number_or_time(text: &str, dialect: Dialect) -> Option<Scalar<'static>> {
    if let Some(time) = timestamp::normal(text) {
        return Some(Scalar::Timestamp(time));
    }
    let plain: Cow<'_, str> = if text.contains('_') { text.replace('_', "").into() } else { text.into() };
    number::integer(&plain)
        .map(Scalar::Int)
        .or_else(|| number::float(&plain).map(Scalar::Float))
        .or_else(|| number::prefixed(&plain, dialect == Dialect::Resource).map(Scalar::Int))
}

/// A number that begins with a point. Go reads it by `ParseFloat`, which takes an underscore between two digits.
fn fraction(text: &str) -> Option<Scalar<'static>> {
    let bytes = text.as_bytes();
    let lone = |i: usize| bytes[i] == b'_' && !(bytes[i - 1].is_ascii_digit() && bytes.get(i + 1).is_some_and(u8::is_ascii_digit));
    if (1..bytes.len()).any(lone) {
        return None;
    }
    number::float(&text.replace('_', "")).map(Scalar::Float)
}

/// Whether a string must be quoted because a YAML 1.1 reader would take it for something else.
pub(super) fn must_quote(text: &str) -> bool {
    !matches!(plain(text, Dialect::Config), Scalar::Str(_)) || is_base_60(text)
}

/// YAML 1.1's `12:30:45`. No Go reader knows it any more, but its printer quotes it for those that do.
fn is_base_60(text: &str) -> bool {
    let body = text.strip_prefix(['+', '-']).unwrap_or(text);
    let whole = body.split_once('.').map_or(body, |(whole, _)| whole);
    let fraction = &body[whole.len()..];
    let mut parts = whole.split(':');
    let first = parts.next().unwrap_or("");
    let mut count = 0;
    let sexagesimal = parts.all(|part| {
        count += 1;
        digits(part) && (part.len() == 1 || part.len() == 2 && part.as_bytes()[0] <= b'5')
    });
    let underscored = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_');
    first.bytes().next().is_some_and(|byte| byte.is_ascii_digit())
        && underscored(first)
        && count > 0
        && sexagesimal
        && underscored(fraction.strip_prefix('.').unwrap_or(fraction))
}
