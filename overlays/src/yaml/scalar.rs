//! What a plain scalar means: Go's two YAML dialects, decided late and by text alone.
//!
//! Facts are from go-yaml v2 and v3 (`resolve.go`) and Go's `strconv` and `time`; the tables in the tests were checked against them.

use std::borrow::Cow;

use base64::Engine;

use super::emit::is_printable;
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
    /// A date or time, as Go's JSON prints it (RFC 3339). In a configuration these are strings.
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

/// The tag of a null in flow style, which stands in quotes where nothing is written. What users write is read in its long form.
pub(crate) const FLOW_NULL: &str = "!!null";

/// The tag of a plain scalar that a step wrote. kustomize tells the type of what it parsed once and for all; the type of what it wrote
/// itself is that of whatever text stands there in the end, and of some it forgets that it was no string.
pub(crate) const UNTAGGED: &str = "";

impl Node {
    /// The type and value of a scalar in a dialect.
    ///
    /// # Errors
    /// This is a list or a map, or the text does not fit the tag that is written before it.
    pub fn resolve(&self, dialect: Dialect) -> Result<Scalar<'_>, Error> {
        let Value::Scalar(text, style, tag) = &self.value else {
            return Err(Error::at_node("a list or a map stands where a single value must be", self));
        };
        let found = match (tag.as_deref().filter(|tag| *tag != UNTAGGED).map(short_tag), style) {
            (_, Style::Quoted) if tag.as_deref() == Some(FLOW_NULL) && dialect == Dialect::Resource => Scalar::Str(Cow::Borrowed(text)),
            (None | Some("!"), Style::Quoted | Style::Folded) | (Some("!!str"), _) => Scalar::Str(Cow::Borrowed(text)),
            (Some("!"), Style::Plain) if dialect == Dialect::Config => Scalar::Str(Cow::Borrowed(text)),
            (None | Some("!"), Style::Plain) => plain(text, dialect),
            (Some(tag), _) => tagged(tag, text, dialect).ok_or_else(|| Error::at_node(misfit(tag), self))?,
        };
        Ok(match found {
            // go-yaml v2 knows a timestamp when it sees one, and gives its text where no time was asked for.
            Scalar::Timestamp(_) if dialect == Dialect::Config => Scalar::Str(Cow::Borrowed(text)),
            Scalar::Str(Cow::Borrowed(_)) if *style == Style::Folded && dialect == Dialect::Resource => Scalar::Str(printed_folded(text)),
            found => found,
        })
    }

    /// Whether this is a scalar that means null in a dialect.
    pub fn is_null(&self, dialect: Dialect) -> bool {
        matches!(self.resolve(dialect), Ok(Scalar::Null))
    }
}

/// What becomes of a folded block when go-yaml v3 prints it and reads it again, as kustomize does with every resource: one line end more
/// before a line that is indented, and at the end where several are kept.
fn printed_folded(text: &str) -> Cow<'_, str> {
    let is_blank = |line: &str| line.starts_with([' ', '\t']);
    // Elsewhere it is printed in quotes, or (by a slip that looks at the beginning of the text) as it should be.
    let unharmed = text.ends_with(' ') || text.contains(" \n") || !text.chars().all(|c| c == '\t' || is_printable(c));
    if unharmed || is_blank(text.trim_start_matches('\n')) {
        return Cow::Borrowed(text);
    }
    let mut printed = String::with_capacity(text.len() + 1);
    let mut rest = text;
    while let Some(end) = rest.find('\n') {
        let line = &rest[..end];
        let next = rest[end..].trim_start_matches('\n');
        let breaks = rest.len() - end - next.len();
        let more = !line.is_empty() && !is_blank(line) && (is_blank(next) || next.is_empty() && breaks > 1);
        printed.push_str(&rest[..end + breaks]);
        printed.push_str(if more { "\n" } else { "" });
        rest = next;
    }
    printed.push_str(rest);
    Cow::Owned(printed)
}

pub(super) fn short_tag(tag: &str) -> &str {
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

/// Says that a text is not of the type that it should have. The short form of a tag is no user's, but of what a replacement was put into.
fn misfit(tag: &str) -> String {
    let of = match tag {
        "!!int" => "a whole number",
        "!!float" => "a number",
        "!!bool" => "true or false",
        _ => return format!("the value does not fit its tag `{tag}`"),
    };
    format!("the value does not fit: {of} is wanted here, by its tag `{tag}` or by what a replacement took the place of")
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A text, and what it means to go-yaml v3 and v2.
    fn check(text: &str, resource: &Scalar<'_>, config: &Scalar<'_>) {
        assert_eq!(&plain(text, Dialect::Resource), resource, "{text} in a resource");
        assert_eq!(&plain(text, Dialect::Config), config, "{text} in a configuration");
    }

    #[test]
    fn words_differ_between_the_dialects() {
        let string = |text: &'static str| Scalar::Str(text.into());
        for text in ["y", "Y", "yes", "Yes", "YES", "on", "On", "ON"] {
            check(text, &string(text), &Scalar::Bool(true));
        }
        for text in ["n", "N", "no", "No", "NO", "off", "Off", "OFF"] {
            check(text, &string(text), &Scalar::Bool(false));
        }
        for text in ["true", "True", "TRUE"] {
            check(text, &Scalar::Bool(true), &Scalar::Bool(true));
        }
        for text in ["", "~", "null", "Null", "NULL"] {
            check(text, &Scalar::Null, &Scalar::Null);
        }
        for text in ["tRUE", "nULL", "yES", "none", "<<", "="] {
            check(text, &string(text), &string(text));
        }
    }

    #[test]
    fn integers_are_read_in_every_base_that_go_knows() {
        for (text, value) in [
            ("0", 0),
            ("+5", 5),
            ("-0x1F", -31),
            ("0XfF", 255),
            ("0644", 420),
            ("0o17", 15),
            ("0b101", 5),
            ("0b-101", -5),
            ("1_000", 1000),
            ("1__0_", 10),
            ("9223372036854775808", 1 << 63),
            ("-9223372036854775808", -(1 << 63)),
            ("18446744073709551615", (1 << 64) - 1),
        ] {
            check(text, &Scalar::Int(value), &Scalar::Int(value));
        }
        check("0o-7", &Scalar::Int(-7), &Scalar::Str("0o-7".into()));
    }

    #[test]
    fn floats_are_what_is_no_integer() {
        for (text, value) in [
            ("08", 8.0),
            ("1.", 1.0),
            ("-.5", -0.5),
            (".5e3", 500.0),
            (".5_5", 0.55),
            ("1e3", 1000.0),
            ("1E-7", 1e-7),
            ("18446744073709551616", 18_446_744_073_709_551_616.0),
            ("+9223372036854775808", 9_223_372_036_854_775_808.0),
            (".inf", f64::INFINITY),
            ("-.INF", f64::NEG_INFINITY),
        ] {
            check(text, &Scalar::Float(value), &Scalar::Float(value));
        }
        for text in ["1e400", ".", "._5", ".5_", "1e", "e3", "0x", "0xG", "0b2", "1.2.3", "-", "+", "5.5e", "_1", "inf", "nan", "1 000"] {
            check(text, &Scalar::Str(text.into()), &Scalar::Str(text.into()));
        }
    }

    #[test]
    fn timestamps_are_given_as_json_has_them() {
        for (text, time) in [
            ("2001-01-01", "2001-01-01T00:00:00Z"),
            ("2001-1-2", "2001-01-02T00:00:00Z"),
            ("2000-02-29", "2000-02-29T00:00:00Z"),
            ("2001-12-14T21:59:43.10-05:00", "2001-12-14T21:59:43.1-05:00"),
            ("2001-12-14t1:2:3Z", "2001-12-14T01:02:03Z"),
            ("2001-12-14 21:59:43", "2001-12-14T21:59:43Z"),
            ("2001-12-14T21:59:43,123456789123Z", "2001-12-14T21:59:43.123456789Z"),
            ("2001-12-14T21:59:43+00:00", "2001-12-14T21:59:43Z"),
        ] {
            check(text, &Scalar::Timestamp(time.into()), &Scalar::Timestamp(time.into()));
        }
        for text in [
            "2001-13-01",
            "2001-02-30",
            "1900-02-29",
            "2001-01-01T24:00:00Z",
            "2001-01-01T10:11:60Z",
            "2001-01-01T10:11:12",
            "2001-01-01 1:2:3Z",
        ] {
            check(text, &Scalar::Str(text.into()), &Scalar::Str(text.into()));
        }
    }

    #[test]
    fn in_a_configuration_a_timestamp_stays_as_it_was_written() {
        let node = Node::plain("2001-1-2");
        assert_eq!(node.resolve(Dialect::Config), Ok(Scalar::Str("2001-1-2".into())));
        assert_eq!(node.resolve(Dialect::Resource), Ok(Scalar::Timestamp("2001-01-02T00:00:00Z".into())));
    }

    #[test]
    fn a_tag_decides_where_the_text_allows_it() {
        let node = |tag: &str, text: &str| Node { value: Value::Scalar(text.into(), Style::Plain, Some(tag.into())), ..Node::map() };
        let resolve = |node: &Node| format!("{:?}", node.resolve(Dialect::Resource));
        assert_eq!(resolve(&node("!!str", "1")), r#"Ok(Str("1"))"#);
        assert_eq!(resolve(&node("tag:yaml.org,2002:str", "1")), r#"Ok(Str("1"))"#);
        assert_eq!(resolve(&node("!!float", "5")), "Ok(Float(5.0))");
        assert_eq!(resolve(&node("!!binary", "aGk=")), r#"Ok(Str("hi"))"#);
        assert_eq!(resolve(&node("!mine", "1")), r#"Ok(Str("1"))"#);
        assert_eq!(format!("{:?}", node("!", "1").resolve(Dialect::Config)), r#"Ok(Str("1"))"#);
        assert!(node("!!int", "x").resolve(Dialect::Resource).is_err());
        assert!(node("!!bool", "yes").resolve(Dialect::Resource).is_err());
        assert!(Node::list().resolve(Dialect::Resource).is_err());
    }

    #[test]
    fn times_to_the_base_of_60_must_be_quoted() {
        for text in ["12:30", "+1:2:3", "190:20:30.15", "1_0:30", "1:2."] {
            assert!(must_quote(text), "{text}");
        }
        for text in ["12:60", ":30", "1:2:x", "1:234", "1:"] {
            assert!(!must_quote(text), "{text}");
        }
    }
}
