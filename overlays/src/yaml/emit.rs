//! Prints a tree exactly as `kustomize build` does.
//!
//! kustomize goes from YAML through JSON to go-yaml v2's printer. This is what comes out of that chain, in one pass. Facts are from
//! go-yaml v2 (`encode.go`, `emitterc.go`, `sorter.go`); names follow its printer, so that the two can be compared.

use std::borrow::Cow;

use memchr::{memchr, memchr2_iter, memmem};

use super::compose::is_allowed;
use super::json::key_text;
use super::scalar::must_quote;
use super::{Dialect, Entry, Error, MAX_DEPTH, Node, Scalar, Value, keys, number};

/// Lines are folded at the first blank after this column.
const WIDTH: usize = 80;
/// A key of more bytes is written after a `?`.
const SIMPLE_KEY: usize = 128;
const INDENT: usize = 2;

/// Appends a document, with a line end after it. Documents are joined by the caller, with `---` between two.
///
/// # Errors
/// kustomize could not print it either: an infinite number, a key that is not text, a control character; or it is nested too deep.
/// The text may have been written in part.
pub fn emit(node: &Node, out: &mut String) -> Result<(), Error> {
    let mut printer = Printer { out, column: 0, whitespace: true, indention: true, indent: None };
    printer.node(node, false, 0)?;
    printer.write_indent();
    Ok(())
}

/// Whether a string is printed without quotes.
pub(crate) fn is_printed_plain(text: &str) -> bool {
    let is_plain = |analysis: Analysis| analysis.plain && !(analysis.multiline && text.contains('\n')) && !must_quote(text);
    is_word(text) || analyze(text, &Node::plain("")).is_ok_and(is_plain)
}

struct Printer<'a> {
    out: &'a mut String,
    /// In characters, from 0.
    column: usize,
    /// Whether what was written last separates words.
    whitespace: bool,
    /// Whether nothing but indentation was written in this line.
    indention: bool,
    /// Of the list or map that is being written; none at the root.
    indent: Option<usize>,
}

/// How a string may be written.
struct Analysis {
    multiline: bool,
    plain: bool,
    single: bool,
    block: bool,
}

const BLANKS: &str = "                                                                ";

/// Whether a string is written plain, whatever surrounds it, and has no blank at which a line could be folded.
fn is_word(text: &str) -> bool {
    let goes_on = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'/');
    match text.as_bytes() {
        [first, rest @ ..] => (first.is_ascii_alphabetic() || *first == b'/') && rest.iter().all(goes_on) && !must_quote(text),
        [] => false,
    }
}

/// Whether the keys stand as they are printed.
fn is_in_order<'n>(entries: &'n [Entry], text: impl Fn(&'n Entry) -> Result<Cow<'n, str>, Error>) -> Result<bool, Error> {
    let mut before: Option<Cow<'n, str>> = None;
    for entry in entries {
        let key = text(entry)?;
        if before.is_some_and(|before| keys::less(&key, &before)) {
            return Ok(false);
        }
        before = Some(key);
    }
    Ok(true)
}

fn is_break(c: char) -> bool {
    matches!(c, '\r' | '\n' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// Tabs are not: they are escaped.
pub(super) fn is_printable(c: char) -> bool {
    matches!(c, '\n' | ' '..='~' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fefe}' | '\u{ff00}'..='\u{fffd}')
}

impl Printer<'_> {
    fn node(&mut self, node: &Node, in_map: bool, depth: usize) -> Result<(), Error> {
        if depth > MAX_DEPTH {
            return Err(Error::at_node(format!("nested deeper than the limit of {MAX_DEPTH} levels"), node));
        }
        match &node.value {
            Value::List(items) if items.is_empty() => self.empty("[", "]"),
            Value::Map(entries) if entries.is_empty() => self.empty("{", "}"),
            Value::List(items) => self.list(items, in_map, depth)?,
            Value::Map(entries) => self.map(entries, depth)?,
            Value::Scalar(..) => self.value(node)?,
        }
        Ok(())
    }

    fn empty(&mut self, open: &str, close: &str) {
        self.indicator(open, true, true, false);
        self.indicator(close, false, false, false);
    }

    fn list(&mut self, items: &[Node], in_map: bool, depth: usize) -> Result<(), Error> {
        let outer = self.indent;
        // The dashes of a list stand below its key, not to the right of it.
        let beside = in_map && !self.indention;
        self.indent = Some(outer.map_or(0, |indent| if beside { indent } else { indent + INDENT }));
        for item in items {
            self.write_indent();
            self.indicator("-", true, false, true);
            self.node(item, false, depth + 1)?;
        }
        self.indent = outer;
        Ok(())
    }

    fn map<'n>(&mut self, entries: &'n [Entry], depth: usize) -> Result<(), Error> {
        let outer = self.indent;
        self.indent = Some(outer.map_or(0, |indent| indent + INDENT));
        let text = |entry: &'n Entry| key_text(&entry.key, Dialect::Resource, depth == 0);
        if is_in_order(entries, text)? {
            entries.iter().try_for_each(|entry| self.entry(&text(entry)?, entry, depth))?;
        } else {
            let mut sorted = entries.iter().map(|entry| Ok((text(entry)?, entry))).collect::<Result<Vec<_>, Error>>()?;
            keys::sort(&mut sorted);
            sorted.into_iter().try_for_each(|(key, entry)| self.entry(&key, entry, depth))?;
        }
        self.indent = outer;
        Ok(())
    }

    fn entry(&mut self, key: &str, entry: &Entry, depth: usize) -> Result<(), Error> {
        self.write_indent();
        self.key(key, &entry.key)?;
        self.node(&entry.value, true, depth + 1)
    }

    fn key(&mut self, key: &str, node: &Node) -> Result<(), Error> {
        if is_word(key) && key.len() <= SIMPLE_KEY {
            self.word(key);
            self.indicator(":", false, false, false);
            return Ok(());
        }
        if key.contains(NEXT_LINE) {
            return Err(Error::at_node("a key with a line end U+0085 in it cannot be written", node));
        }
        let analysis = analyze(key, node)?;
        if !analysis.multiline && key.len() <= SIMPLE_KEY {
            self.string(key, &analysis, true);
            self.indicator(":", false, false, false);
        } else {
            self.indicator("?", true, false, true);
            self.string(key, &analysis, false);
            self.write_indent();
            self.indicator(":", true, false, true);
        }
        Ok(())
    }

    fn value(&mut self, node: &Node) -> Result<(), Error> {
        let text: Cow<'_, str> = match node.resolve(Dialect::Resource)? {
            Scalar::Str(text) => return self.string_value(&text, node),
            Scalar::Timestamp(text) => return self.string_value(&text, node),
            Scalar::Null => "null".into(),
            Scalar::Bool(value) => if value { "true" } else { "false" }.into(),
            Scalar::Int(value) => value.to_string().into(),
            Scalar::Float(value) if value.is_finite() => number::yaml(value).into(),
            Scalar::Float(_) => return Err(not_finite(node)),
        };
        self.plain(&text, true);
        Ok(())
    }

    fn string_value(&mut self, text: &str, node: &Node) -> Result<(), Error> {
        if is_word(text) {
            self.word(text);
            return Ok(());
        }
        let text = through_json(text);
        let analysis = analyze(&text, node)?;
        self.string(&text, &analysis, false);
        Ok(())
    }

    fn string(&mut self, text: &str, analysis: &Analysis, simple_key: bool) {
        let outer = self.indent;
        self.indent = Some(outer.map_or(INDENT, |indent| indent + INDENT));
        let has_lines = analysis.multiline && text.contains('\n');
        if has_lines && analysis.block && !simple_key {
            self.literal(text);
        } else if has_lines || must_quote(text) || (!analysis.plain && !analysis.single) {
            self.double_quoted(text, !simple_key);
        } else if analysis.plain {
            self.plain(text, !simple_key);
        } else {
            self.single_quoted(text, !simple_key);
        }
        self.indent = outer;
    }

    /// A text that is written as it is, and where no line can be folded.
    fn word(&mut self, text: &str) {
        if !self.whitespace {
            self.put(' ');
        }
        self.out.push_str(text);
        self.column += text.len();
        self.whitespace = false;
        self.indention = false;
    }

    /// A part of a text that holds no line end.
    fn run(&mut self, text: &str) {
        self.out.push_str(text);
        self.column += if text.is_ascii() { text.len() } else { text.chars().count() };
    }

    fn put(&mut self, c: char) {
        self.out.push(c);
        self.column += 1;
    }

    fn put_break(&mut self, c: char) {
        self.out.push(c);
        self.column = 0;
    }

    fn write_indent(&mut self) {
        let indent = self.indent.unwrap_or(0);
        if !self.indention || self.column > indent || (self.column == indent && !self.whitespace) {
            self.put_break('\n');
        }
        while self.column < indent {
            let blanks = &BLANKS[..(indent - self.column).min(BLANKS.len())];
            self.run(blanks);
        }
        self.whitespace = true;
        self.indention = true;
    }

    fn indicator(&mut self, text: &str, needs_whitespace: bool, is_whitespace: bool, is_indention: bool) {
        if needs_whitespace && !self.whitespace {
            self.put(' ');
        }
        self.out.push_str(text);
        self.column += text.len();
        self.whitespace = is_whitespace;
        self.indention &= is_indention;
    }

    fn plain(&mut self, text: &str, fold: bool) {
        if !self.whitespace {
            self.put(' ');
        }
        if !fold || self.column + text.len() <= WIDTH {
            self.out.push_str(text);
            self.column += text.chars().count();
        } else {
            self.folded(text);
        }
        self.whitespace = false;
        self.indention = false;
    }

    /// Breaks a line at a single blank once it is too long.
    fn folded(&mut self, text: &str) {
        let mut parts = text.split(' ').peekable();
        let mut after_space = false;
        while let Some(part) = parts.next() {
            if !part.is_empty() {
                self.run(part);
                self.indention = false;
            }
            let Some(next) = parts.peek() else { return };
            after_space &= part.is_empty();
            // A blank comes before `next`; more follow if that is empty, unless it is the last.
            if !after_space && self.column > WIDTH && !next.is_empty() {
                self.write_indent();
            } else {
                self.put(' ');
                self.indention = false;
            }
            after_space = true;
        }
    }

    fn single_quoted(&mut self, text: &str, fold: bool) {
        self.indicator("'", true, false, false);
        if text.contains(is_break) {
            self.single_quoted_lines(text, fold);
        } else {
            self.single_quoted_line(text, fold);
        }
        self.indicator("'", false, false, false);
    }

    fn single_quoted_line(&mut self, text: &str, fold: bool) {
        let mut parts = text.split(' ').peekable();
        let (mut first, mut after_space) = (true, false);
        while let Some(part) = parts.next() {
            for (at, piece) in part.split('\'').enumerate() {
                self.run(if at > 0 { "''" } else { "" });
                self.run(piece);
            }
            self.indention &= part.is_empty();
            first &= part.is_empty();
            after_space &= part.is_empty();
            let Some(next) = parts.peek() else { return };
            if fold && !after_space && self.column > WIDTH && !first && !next.is_empty() {
                self.write_indent();
            } else {
                self.put(' ');
            }
            (first, after_space) = (false, true);
        }
    }

    fn single_quoted_lines(&mut self, text: &str, fold: bool) {
        let mut chars = text.chars().peekable();
        let (mut first, mut after_space, mut after_break) = (true, false, false);
        while let Some(c) = chars.next() {
            let inner = !first && chars.peek().is_some_and(|next| *next != ' ');
            if c == ' ' {
                if fold && !after_space && self.column > WIDTH && inner {
                    self.write_indent()
                } else {
                    self.put(c)
                }
                after_space = true;
            } else if is_break(c) {
                self.put_break(c);
                self.indention = true;
                after_break = true;
            } else {
                if after_break {
                    self.write_indent();
                }
                if c == '\'' {
                    self.put(c);
                }
                self.put(c);
                self.indention = false;
                (after_space, after_break) = (false, false);
            }
            first = false;
        }
    }

    fn double_quoted(&mut self, text: &str, fold: bool) {
        self.indicator("\"", true, false, false);
        // go-yaml looks for a byte order mark at the start of the text, whichever character it is at: then all are escaped.
        let escape_all = text.starts_with('\u{feff}');
        let mut chars = text.chars().peekable();
        let (mut first, mut after_space) = (true, false);
        while let Some(c) = chars.next() {
            let next = chars.peek();
            if escape_all || !is_printable(c) || is_break(c) || c == '"' || c == '\\' {
                self.escape(c);
            } else if c == ' ' && fold && !after_space && self.column > WIDTH && !first && next.is_some() {
                self.write_indent();
                if next == Some(&' ') {
                    self.put('\\');
                }
            } else {
                self.put(c);
            }
            after_space = c == ' ';
            first = false;
        }
        self.indicator("\"", false, false, false);
    }

    fn escape(&mut self, c: char) {
        let short = match c {
            '\0' => '0',
            '\u{7}' => 'a',
            '\u{8}' => 'b',
            '\t' => 't',
            '\n' => 'n',
            '\u{b}' => 'v',
            '\u{c}' => 'f',
            '\r' => 'r',
            '\u{1b}' => 'e',
            '"' => '"',
            '\\' => '\\',
            '\u{85}' => 'N',
            '\u{a0}' => '_',
            '\u{2028}' => 'L',
            '\u{2029}' => 'P',
            _ => return self.escape_by_number(u32::from(c)),
        };
        self.put('\\');
        self.put(short);
    }

    fn escape_by_number(&mut self, code: u32) {
        let text = match code {
            0..=0xff => format!("\\x{code:02X}"),
            0x100..=0xffff => format!("\\u{code:04X}"),
            _ => format!("\\U{code:08X}"),
        };
        self.out.push_str(&text);
        self.column += text.len();
    }

    fn literal(&mut self, text: &str) {
        self.indicator("|", true, false, false);
        if text.starts_with([' ', '\n']) || text.starts_with(is_break) {
            self.indicator("2", false, false, false);
        }
        let mut backwards = text.chars().rev();
        match (backwards.next().is_some_and(is_break), backwards.next().is_none_or(is_break)) {
            (false, _) => self.indicator("-", false, false, false),
            (true, true) => self.indicator("+", false, false, false),
            (true, false) => {}
        }
        self.put_break('\n');
        (self.indention, self.whitespace) = (true, true);
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            if is_break(c) {
                self.put_break(c);
                self.indention = true;
                rest = &rest[c.len_utf8()..];
            } else {
                let (line, after) = rest.split_at(rest.find(is_break).unwrap_or(rest.len()));
                self.write_indent();
                self.run(line);
                self.indention = false;
                rest = after;
            }
        }
    }
}

const NEXT_LINE: char = '\u{85}';

/// JSON leaves U+0085 as it is, and go-yaml v2, which reads it again, takes it for a line end within quotes: lines are joined.
fn through_json(text: &str) -> Cow<'_, str> {
    if text.is_ascii() || !text.contains(NEXT_LINE) {
        return Cow::Borrowed(text);
    }
    let lines: Vec<&str> = text.split(NEXT_LINE).collect();
    let last = lines.len() - 1;
    let (mut joined, mut empty) = (String::new(), 0);
    for (i, line) in lines.into_iter().enumerate() {
        let line = if i > 0 { line.trim_start_matches(' ') } else { line };
        let line = if i < last { line.trim_end_matches(' ') } else { line };
        if line.is_empty() && i > 0 && i < last {
            empty += 1;
            continue;
        }
        if i > 0 {
            joined.push_str(&if empty == 0 { " ".to_owned() } else { "\n".repeat(empty) });
        }
        empty = 0;
        joined.push_str(line);
    }
    Cow::Owned(joined)
}

fn not_finite(node: &Node) -> Error {
    Error::at_node("infinity and not-a-number cannot be written: JSON knows neither", node)
        .with_hint("put the value in quotes if it is text")
}

/// How a string may be written.
fn analyze(text: &str, node: &Node) -> Result<Analysis, Error> {
    analyze_lines(text).map_or_else(|| analyze_all(text, node), Ok)
}

/// As [`analyze_all`] does, for lines of printable ASCII; `None` for anything else.
fn analyze_lines(text: &str) -> Option<Analysis> {
    let bytes = text.as_bytes();
    let (first, last) = (*bytes.first()?, *bytes.last()?);
    if bytes.iter().fold(false, |found, byte| found | !matches!(byte, b' '..=b'~' | b'\n')) {
        return None;
    }
    if memchr(b'\n', bytes).is_some() {
        let ends_blank = memmem::find(bytes, b" \n").is_some();
        let single = !ends_blank && memmem::find(bytes, b"\n ").is_none();
        return Some(Analysis { multiline: true, plain: false, single, block: !ends_blank && last != b' ' });
    }
    let is_blank = |at: usize| bytes.get(at).is_none_or(|byte| *byte == b' ');
    let means = |at: usize| match bytes.get(at) {
        Some(b':') => is_blank(at + 1),
        _ => at > 0 && is_blank(at - 1),
    };
    let begins = !has_document_mark(text) && !is_indicator(char::from(first), true, ' ', bytes.get(1).copied().map(char::from));
    let plain = begins && first != b' ' && last != b' ' && !memchr2_iter(b':', b'#', bytes).any(means);
    Some(Analysis { multiline: false, plain, single: true, block: last != b' ' })
}

/// Looks once at every character of a string.
fn analyze_all(text: &str, node: &Node) -> Result<Analysis, Error> {
    let mut analysis = Analysis { multiline: false, plain: !has_document_mark(text), single: true, block: !text.is_empty() };
    let mut chars = text.chars().peekable();
    let (mut previous, mut first) = (' ', true);
    while let Some(c) = chars.next() {
        let next = chars.peek().copied();
        // As JSON the text must be read again by go-yaml, which takes control characters only where JSON escapes them.
        if c >= '\u{7f}' && !is_allowed(c) {
            return Err(Error::at_node(format!("the control character U+{:04X} cannot be written", u32::from(c)), node));
        }
        analysis.plain &= !is_indicator(c, first, previous, next);
        if !is_printable(c) {
            (analysis.plain, analysis.single, analysis.block) = (false, false, false);
        }
        if c == ' ' {
            analysis.space(first, next.is_none(), is_break(previous) && !first);
        } else if is_break(c) {
            analysis.multiline = true;
            analysis.plain = false;
            if previous == ' ' && !first {
                (analysis.single, analysis.block) = (false, false);
            }
        }
        (previous, first) = (c, false);
    }
    Ok(analysis)
}

impl Analysis {
    fn space(&mut self, first: bool, last: bool, after_break: bool) {
        self.plain &= !first && !last && !after_break;
        self.block &= !last;
        self.single &= !after_break;
    }
}

fn has_document_mark(text: &str) -> bool {
    text.starts_with("---") || text.starts_with("...")
}

/// Whether a character would mean something to a reader of a plain scalar, where it stands.
fn is_indicator(c: char, first: bool, previous: char, next: Option<char>) -> bool {
    let before_blank = next.is_none_or(|next| next == ' ' || next == '\t');
    match c {
        ',' | '[' | ']' | '{' | '}' | '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%' | '@' | '`' => first,
        '#' => first || matches!(previous, ' ' | '\t' | '\0') || is_break(previous),
        '?' | '-' => first && before_blank,
        ':' => before_blank,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Limits, go_json, parse};
    use super::*;

    fn printed(text: &str) -> Result<String, String> {
        let mut out = String::new();
        for node in parse(text.as_bytes(), &Limits::default()).map_err(|error| error.to_string())? {
            emit(&node, &mut out).map_err(|error| error.to_string())?;
        }
        Ok(out)
    }

    fn check(text: &str, expected: &str) {
        assert_eq!(printed(text).as_deref(), Ok(expected), "{text}");
    }

    /// A string as a value, printed; `a: ` and the line end taken off.
    fn value(text: &str) -> String {
        let mut out = String::new();
        let entry = Entry { key: Node::string("a"), value: Node::string(text) };
        emit(&Node { value: Value::Map(vec![entry]), ..Node::map() }, &mut out).unwrap();
        out.trim_end_matches('\n').strip_prefix("a: ").unwrap().to_owned()
    }

    #[test]
    fn maps_and_lists_are_laid_out_as_go_does() {
        check("{b: [1, {c: x, d: [[], {}]}], a: {}}", "a: {}\nb:\n- 1\n- c: x\n  d:\n  - []\n  - {}\n");
        check("- - a\n  - b\n- c: d", "- - a\n  - b\n- c: d\n");
        check("a:\n- b:\n  - c", "a:\n- b:\n  - c\n");
    }

    #[test]
    fn strings_are_quoted_where_a_reader_would_take_them_for_something_else() {
        for text in [
            "yes",
            "y",
            "NO",
            "on",
            "~",
            "null",
            "",
            "0644",
            "1_000",
            "1e3",
            "0x1F",
            "12:30:45",
            "-1:2",
            "2001-01-01",
            ".5",
            "+.inf",
            "0b1",
        ] {
            assert_eq!(value(text), format!("\"{text}\""));
        }
        for text in ["=", "<<", "yEs", "1.2.3", "0o17x", "12:61", "a:b", "-a", "?a", "x#y", "1,000", "0x", ".", "no way", "2001-13-01", "!"]
        {
            let expected = if text == "!" { "'!'".to_owned() } else { text.to_owned() };
            assert_eq!(value(text), expected);
        }
    }

    #[test]
    fn strings_are_quoted_where_they_would_break_the_layout() {
        for text in [
            "- a", "a: b", "a #b", "#a", "&a", "*a", "!a", "|", ">", "%a", "@a", "`a", "[a", "{a", ", a", "a ", " a", "---", "...x", "a:",
            "-", "?", "\"a",
        ] {
            assert_eq!(value(text), format!("'{text}'"));
        }
        assert_eq!(value("it's: x"), "'it''s: x'");
    }

    #[test]
    fn what_cannot_be_printed_is_escaped() {
        for (text, expected) in [
            ("a\tb", r#""a\tb""#),
            ("a\r\nb", r#""a\r\nb""#),
            ("\u{1}\u{1b}", r#""\x01\e""#),
            ("\u{1f600}", r#""\U0001F600""#),
            ("\u{feff}ab", r#""\uFEFF\x61\x62""#),
            ("a \n b", r#""a \n b""#),
            ("caf\u{e9}", "caf\u{e9}"),
            ("a\u{85} b", "a b"),
        ] {
            assert_eq!(value(text), expected, "{text:?}");
        }
    }

    #[test]
    fn ascii_is_looked_at_as_any_text_is() {
        let node = Node::string("");
        for a in " -?:#,[a'\"%0.!~\n".chars() {
            for b in " -?:#,[a'.\n".chars() {
                for c in ["", " ", ":", "#", "a", "-.", " #", ": ", "\n", " \n", "\n a"] {
                    let text = format!("{a}{b}{c}");
                    let line = analyze_lines(&text).unwrap();
                    let all = analyze_all(&text, &node).unwrap();
                    let facts = |of: &Analysis| (of.multiline, of.plain, of.single, of.block);
                    assert_eq!(facts(&line), facts(&all), "{text:?}");
                }
            }
        }
    }

    #[test]
    fn several_lines_are_a_block() {
        check(r#"{a: "x\ny\n"}"#, "a: |\n  x\n  y\n");
        check(r#"{a: "x\ny"}"#, "a: |-\n  x\n  y\n");
        check(r#"{a: "x\n\n"}"#, "a: |+\n  x\n\n");
        check(r#"{a: " x\ny\n"}"#, "a: |2\n   x\n  y\n");
        check(r#"{a: "x\n\n  y\n", b: [ "p\nq" ]}"#, "a: |\n  x\n\n    y\nb:\n- |-\n  p\n  q\n");
        check(r#"{"a\nb": 1}"#, "? |-\n  a\n  b\n: 1\n");
    }

    #[test]
    fn lines_are_folded_at_the_first_blank_after_80() {
        let words = "word ".repeat(30);
        let folded = value(words.trim());
        let lines: Vec<&str> = folded.lines().collect();
        assert_eq!((lines.len(), lines[0].len()), (2, 79));
        assert!(lines[1].starts_with("  word"));
        let no_place = format!("{}  {}", "x".repeat(90), "y".repeat(90));
        assert_eq!(value(&no_place), no_place);
        assert!(value(&format!("\t{words}x")).contains("\n  word"));
    }

    #[test]
    fn a_long_key_stands_after_a_question_mark() {
        let key = "k".repeat(129);
        check(&format!("{key}:\n- a"), &format!("? {key}\n: - a\n"));
        check(&format!("{}: 1", &key[1..]), &format!("{}: 1\n", &key[1..]));
    }

    #[test]
    fn numbers_are_printed_as_they_come_out_of_json() {
        for (text, expected) in [
            ("1.0", "1"),
            ("1.10", "1.1"),
            ("1e3", "1000"),
            ("12345678.0", "12345678"),
            ("1234567.5", "1.2345675e+06"),
            ("1e20", "1e+20"),
            ("1e21", "1e+21"),
            ("1e-7", "1e-07"),
            ("0.0001", "0.0001"),
            ("-0", "0"),
            ("-0.0", "0"),
            ("08", "8"),
            ("0644", "420"),
            ("0o17", "15"),
            ("1_000", "1000"),
            ("18446744073709551615", "18446744073709551615"),
            ("18446744073709551616", "1.8446744073709552e+19"),
            ("-9223372036854775808", "-9223372036854775808"),
            ("1e400", "1e400"),
            ("!!float 5", "5"),
            ("2001-01-01", "\"2001-01-01T00:00:00Z\""),
        ] {
            check(&format!("a: {text}"), &format!("a: {expected}\n"));
        }
    }

    #[test]
    fn what_go_cannot_print_is_an_error() {
        for text in ["a: .inf", "a: .nan", "a:\n  1: b", "a:\n  true: b", "a:\n  ~: b", r#"{"a": "\x7f"}"#, "a: !!int x"] {
            assert!(printed(text).is_err(), "{text}");
        }
        // Keys of the root are read as text, whatever they look like.
        check("1: b", "\"1\": b\n");
    }

    #[test]
    fn keys_are_sorted_by_the_numbers_in_them() {
        check("{a10: 1, a2: 1, b: 1, A: 1, a: 1, _: 1, a02: 1, a1b: 1}", "_: 1\nA: 1\na: 1\na1b: 1\na2: 1\na02: 1\na10: 1\nb: 1\n");
    }

    #[test]
    fn depth_is_bounded() {
        let deep = (0..=MAX_DEPTH).fold(Node::plain("x"), |node, _| Node { value: Value::List(vec![node]), ..Node::list() });
        assert!(emit(&deep, &mut String::new()).unwrap_err().message().contains("limit of 1000"));
        assert!(go_json(&deep).is_err());
    }

    /// A small generator of awkward trees: what is printed reads back as the same.
    struct Awkward(u64);

    impl Awkward {
        fn below(&mut self, most: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            usize::try_from(self.0 % most as u64).unwrap()
        }

        fn text(&mut self) -> String {
            const PARTS: [&str; 32] = [
                "a",
                "word",
                " ",
                "  ",
                "\n",
                "\n\n",
                "\t",
                ":",
                ": ",
                "#",
                " #",
                "-",
                "- ",
                "?",
                "'",
                "\"",
                "\\",
                "{",
                "]",
                ",",
                "&",
                "*",
                "|",
                ">",
                "%",
                "yes",
                "1",
                "0.",
                "\r",
                "\u{e9}",
                "\u{1f600}",
                "\u{2028}",
            ];
            let length = self.below(4) * self.below(12);
            (0..length).map(|_| PARTS[self.below(PARTS.len())]).collect()
        }

        fn node(&mut self, depth: usize) -> Node {
            match self.below(if depth > 4 { 4 } else { 8 }) {
                0 => Node::plain(["1", "-7", "1.5", "true", "null", "1e-9", "0"][self.below(7)]),
                1..=3 => Node::string(self.text()),
                4 | 5 => Node { value: Value::List((0..self.below(4)).map(|_| self.node(depth + 1)).collect()), ..Node::list() },
                _ => {
                    let entry = |i| Entry { key: Node::string(format!("{}{i}", self.text())), value: self.node(depth + 1) };
                    Node { value: Value::Map((0..4).map(entry).collect()), ..Node::map() }
                }
            }
        }
    }

    #[test]
    fn what_is_printed_reads_back_as_the_same() {
        let mut awkward = Awkward(0x2545_f491_4f6c_dd1d);
        for _ in 0..2_000 {
            let node = Node { value: Value::List(vec![awkward.node(0)]), ..Node::list() };
            let mut text = String::new();
            emit(&node, &mut text).unwrap();
            let read = parse(text.as_bytes(), &Limits::default()).unwrap_or_else(|error| panic!("{error}\n{text}"));
            assert_eq!(go_json(&read[0]).unwrap(), go_json(&node).unwrap(), "{text}");
            let mut again = String::new();
            emit(&read[0], &mut again).unwrap();
            assert_eq!(again, text);
        }
    }
}
