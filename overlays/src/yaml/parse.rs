//! Reads YAML as kustomize does: documents cut at lines that begin with `---`, anchors and merge keys expanded at once.
//!
//! The scanner is a port of libyaml, of which go-yaml is a port too; what is told apart here is what go-yaml and kyaml add to it.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use libyaml_safer::{Event, EventData, Parser, ScalarStyle};

use super::{Dialect, Entry, Error, Mark, Node, Style, Text, Value};

/// Bounds on a text and on what it expands to.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The length of the text, in bytes.
    pub bytes: usize,
    /// How deep lists and maps may be nested.
    pub depth: usize,
    /// How many scalars, lists and maps there may be, after aliases are expanded.
    pub nodes: usize,
    /// How many documents there may be.
    pub documents: usize,
}

impl Default for Limits {
    /// The largest bundle of CRDs seen in public repositories has 12 MB, 350,000 nodes and 60 levels.
    fn default() -> Self {
        Self { bytes: 25 << 20, depth: 200, nodes: 1_500_000, documents: 50_000 }
    }
}

/// Reads the documents of a resource file; empty ones (nothing, comments only, `null`, `{}`, `[]`) are left out.
///
/// # Errors
/// The text is not YAML as go-yaml v3 reads it, a key is there twice, or a limit is passed.
pub fn parse(bytes: &[u8], limits: &Limits) -> Result<Vec<Node>, Error> {
    let text = decoded(bytes, limits)?;
    let source = if text.contains("\r\n") { Cow::Owned(text.replace("\r\n", "\n")) } else { text };
    contained(|| read_documents(&source, limits)).map_err(|error| with_line(error, &source))
}

/// Reads a kustomization file, a configuration or a JSON patch: the first document only; of a key that is there twice the last counts.
/// `None` where there is no document, or it is null.
///
/// # Errors
/// The text is not YAML as go-yaml v2 reads it, or a limit is passed.
pub fn parse_config(bytes: &[u8], limits: &Limits) -> Result<Option<Node>, Error> {
    let text = decoded(bytes, limits)?;
    let node = contained(|| Composer::new(&finished(&text), 0, Dialect::Config, limits, &mut 0).document());
    Ok(node.map_err(|error| with_line(error, &text))?.filter(|node| !node.is_null(Dialect::Config)))
}

/// The scanner panics on a tag before a comma in `[!x ,]` (libyaml-safer 0.3.0, `scan_tag`). One file must not take the agent with it.
fn contained<T>(read: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(read)).unwrap_or_else(|_| {
        let error = Error::new("the YAML scanner gave up on this text", Mark::default());
        Err(error.with_hint("look for a tag (`!…`) that is followed by a comma"))
    })
}

/// The text without its byte order mark. UTF-16 is told by its mark, as in libyaml.
fn decoded<'a>(bytes: &'a [u8], limits: &Limits) -> Result<Cow<'a, str>, Error> {
    if bytes.len() > limits.bytes {
        let message = format!("the text has {} bytes, more than the limit of {}", bytes.len(), limits.bytes);
        return Err(Error::new(message, Mark::default()));
    }
    match bytes {
        [0xff, 0xfe, rest @ ..] => utf_16(rest, u16::from_le_bytes).map(Cow::Owned),
        [0xfe, 0xff, rest @ ..] => utf_16(rest, u16::from_be_bytes).map(Cow::Owned),
        [0xef, 0xbb, 0xbf, rest @ ..] => utf_8(rest).map(Cow::Borrowed),
        _ => utf_8(bytes).map(Cow::Borrowed),
    }
}

fn utf_8(bytes: &[u8]) -> Result<&str, Error> {
    std::str::from_utf8(bytes).map_err(|error| {
        let before = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
        Error::new("the text is not UTF-8", mark_at(&before, before.len())).with_hint("save the file as UTF-8")
    })
}

fn utf_16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Result<String, Error> {
    let (units, rest) = bytes.as_chunks();
    let text = if rest.is_empty() { char::decode_utf16(units.iter().copied().map(unit)).collect::<Result<_, _>>().ok() } else { None };
    text.ok_or_else(|| Error::new("the text begins as UTF-16 and is none", Mark::default()).with_hint("save the file as UTF-8"))
}

/// The mark of a byte in a text.
fn mark_at(text: &str, offset: usize) -> Mark {
    let before = &text[..offset];
    let start = before.rfind('\n').map_or(0, |at| at + 1);
    Mark { file: 0, line: small(lines(before)) + 1, column: small(before[start..].chars().count()) + 1 }
}

fn lines(text: &str) -> usize {
    text.bytes().filter(|byte| *byte == b'\n').count()
}

fn small(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// Lines that are longer are not kept in errors, which live on in reports.
const LINE_BYTES: usize = 10_000;

/// Adds the text of the line. Where the file seems to hold a Secret, values are masked: an error may be shown to more people than the file.
fn with_line(error: Error, text: &str) -> Error {
    let line = text.lines().nth((error.line() as usize).saturating_sub(1)).filter(|line| line.len() <= LINE_BYTES).unwrap_or_default();
    let secret = ["kind: Secret", "kind:Secret", "\"Secret\"", "'Secret'", "stringData"].iter().any(|sign| text.contains(sign));
    match line.split_once(':') {
        _ if error.line() == 0 => error,
        Some((key, _)) if secret => error.with_line(format!("{key}: ****")),
        None if secret => error,
        _ => error.with_line(line),
    }
}

fn read_documents(source: &str, limits: &Limits) -> Result<Vec<Node>, Error> {
    let (mut documents, mut nodes, mut count) = (Vec::new(), 0, 0);
    let (mut rest, mut line) = (source, 0);
    loop {
        count += 1;
        if count > limits.documents {
            let mark = Mark { file: 0, line: small(line), column: 1 };
            return Err(Error::new(format!("more documents than the limit of {}", limits.documents), mark));
        }
        let (piece, next) = split(rest, line)?;
        let node = Composer::new(&finished(piece), line, Dialect::Resource, limits, &mut nodes).document()?;
        documents.extend(node.filter(|node| !is_empty(node)));
        let Some(next) = next else {
            return Ok(documents);
        };
        line += lines(&rest[..rest.len() - next.len()]);
        rest = next;
    }
}

fn is_empty(node: &Node) -> bool {
    match &node.value {
        Value::Map(entries) => entries.is_empty(),
        Value::List(items) => items.is_empty(),
        Value::Scalar(..) => node.is_null(Dialect::Resource),
    }
}

const AFTER_SEPARATOR: &str = "begin the document on the line after `---`";

/// The text up to the next separator, and what comes after it. kyaml cuts by text, before any YAML is read.
fn split(text: &str, line: usize) -> Result<(&str, Option<&str>), Error> {
    let Some((at, end)) = text.find("\n---").and_then(|at| Some((at, at + 1 + text[at + 1..].find('\n')?))) else {
        return Ok((text, None));
    };
    let after = text[at + 4..end].trim();
    if !after.is_empty() && !after.starts_with('#') {
        let mark = Mark { file: 0, line: small(line + lines(&text[..=at])) + 1, column: 4 };
        let error = Error::new(format!("text follows the document separator: `{}`", text[at + 1..end].trim()), mark);
        return Err(error.with_hint(AFTER_SEPARATOR));
    }
    Ok((&text[..=at], Some(&text[end + 1..])))
}

/// The text with a line end at its end: the scanner needs one, go-yaml does not.
fn finished(text: &str) -> Cow<'_, str> {
    let last = text.rfind('\n').map_or(0, |at| at + 1);
    if text[last..].trim_matches([' ', '\t']).is_empty() { Cow::Borrowed(&text[..last]) } else { Cow::Owned(format!("{text}\n")) }
}

/// Builds the tree of one document from the scanner's events.
struct Composer<'a> {
    parser: Parser<&'a [u8]>,
    text: &'a str,
    /// The line end at the end is not the user's.
    unfinished: bool,
    line: usize,
    dialect: Dialect,
    limits: &'a Limits,
    nodes: &'a mut usize,
    keys: HashSet<Text>,
    /// Finished nodes with their size; nothing while the anchor's own node is being read.
    anchors: HashMap<String, Option<(Node, usize)>>,
}

impl<'a> Composer<'a> {
    fn new(text: &'a Cow<'a, str>, line: usize, dialect: Dialect, limits: &'a Limits, nodes: &'a mut usize) -> Self {
        let mut parser = Parser::new();
        parser.set_input(text.as_bytes());
        let unfinished = matches!(text, Cow::Owned(_));
        Self { parser, text, unfinished, line, dialect, limits, nodes, keys: HashSet::new(), anchors: HashMap::new() }
    }

    fn document(mut self) -> Result<Option<Node>, Error> {
        self.next()?;
        if matches!(self.next()?.data, EventData::StreamEnd) {
            return Ok(None);
        }
        let event = self.next()?;
        let node = self.node(event, 0)?;
        // What follows after `...` is dropped unread, as go-yaml does.
        if matches!(self.next()?.data, EventData::DocumentEnd { implicit: true }) {
            self.end()?;
        }
        Ok(Some(node))
    }

    /// go-yaml also drops what follows a document that ended by itself (`{}` and more text, a line with `%`): here that is an error,
    /// for nobody writes an object that is meant to be ignored.
    fn end(&mut self) -> Result<(), Error> {
        let event = self.next()?;
        if self.dialect == Dialect::Config || matches!(event.data, EventData::StreamEnd) {
            return Ok(());
        }
        // A separator in the last line: kyaml sees it only with a line end after it.
        match self.next()?.data {
            EventData::Scalar { value, .. } if value.is_empty() => Ok(()),
            _ => Err(Error::new("text follows the document separator", self.mark(event.start_mark)).with_hint(AFTER_SEPARATOR)),
        }
    }

    fn next(&mut self) -> Result<Event, Error> {
        self.parser.parse().map_err(|error| self.scanner_error(&error))
    }

    fn mark(&self, mark: libyaml_safer::Mark) -> Mark {
        let number = |number: u64| u32::try_from(number).unwrap_or(u32::MAX).saturating_add(1);
        Mark { file: 0, line: number(mark.line).saturating_add(small(self.line)), column: number(mark.column) }
    }

    fn node(&mut self, event: Event, depth: usize) -> Result<Node, Error> {
        let mark = self.mark(event.start_mark);
        if depth > self.limits.depth {
            return Err(Error::new(format!("nested deeper than the limit of {} levels", self.limits.depth), mark));
        }
        let before = *self.nodes;
        self.spend(1, mark)?;
        let (anchor, value) = match event.data {
            EventData::Alias { anchor } => return self.alias(&anchor, mark),
            EventData::Scalar { anchor, tag, mut value, style, .. } => {
                self.check_escapes(style, &event.start_mark, &event.end_mark)?;
                self.unfinish(style, event.end_mark, &mut value);
                (anchor, self.scalar(value, style, tag))
            }
            EventData::SequenceStart { anchor, .. } => {
                self.open(anchor.as_ref());
                (anchor, self.list(depth)?)
            }
            EventData::MappingStart { anchor, .. } => {
                self.open(anchor.as_ref());
                (anchor, self.map(depth)?)
            }
            _ => return Err(Error::new("a value is missing", mark)),
        };
        let node = Node { value, mark };
        if let Some(anchor) = anchor {
            let size = *self.nodes - before;
            self.spend(size, mark)?;
            self.anchors.insert(anchor, Some((node.clone(), size)));
        }
        Ok(node)
    }

    fn spend(&mut self, nodes: usize, mark: Mark) -> Result<(), Error> {
        *self.nodes += nodes;
        if *self.nodes <= self.limits.nodes {
            return Ok(());
        }
        let message = format!("more values than the limit of {}, aliases expanded", self.limits.nodes);
        Err(Error::new(message, mark).with_hint("split the file, or repeat less by aliases"))
    }

    fn open(&mut self, anchor: Option<&String>) {
        if let Some(anchor) = anchor {
            self.anchors.insert(anchor.clone(), None);
        }
    }

    fn alias(&mut self, anchor: &str, mark: Mark) -> Result<Node, Error> {
        match self.anchors.get(anchor) {
            None => Err(Error::new(format!("unknown anchor `{anchor}`"), mark)
                .with_hint("an anchor must come before its aliases, in the same document")),
            Some(None) => Err(Error::new(format!("the value of anchor `{anchor}` contains itself"), mark)),
            Some(Some((_, size))) => {
                self.spend(*size, mark)?;
                Ok(self.anchors.get(anchor).cloned().flatten().map_or_else(Node::list, |(node, _)| node))
            }
        }
    }

    fn scalar(&mut self, text: String, style: ScalarStyle, tag: Option<String>) -> Value {
        let style = if style == ScalarStyle::Plain { Style::Plain } else { Style::Quoted };
        Value::Scalar(self.share(text), style, tag.map(Text::from))
    }

    /// Takes the line end back that [`finished`] gave to a block that ends the text.
    fn unfinish(&self, style: ScalarStyle, end: libyaml_safer::Mark, value: &mut String) {
        let block = matches!(style, ScalarStyle::Literal | ScalarStyle::Folded);
        if block && self.unfinished && end.index >= self.text.len() as u64 && value.ends_with('\n') {
            value.pop();
        }
    }

    /// Short texts come again and again (keys, types), and are kept once a document.
    fn share(&mut self, text: String) -> Text {
        if text.len() > 24 {
            return text.into();
        }
        if let Some(known) = self.keys.get(text.as_str()) {
            return known.clone();
        }
        let shared = Text::from(text);
        self.keys.insert(shared.clone());
        shared
    }

    /// `\/` is JSON's, and go-yaml refuses it; the scanner, newer than go-yaml's, would take it.
    fn check_escapes(&self, style: ScalarStyle, start: &libyaml_safer::Mark, end: &libyaml_safer::Mark) -> Result<(), Error> {
        if style != ScalarStyle::DoubleQuoted {
            return Ok(());
        }
        let range = usize::try_from(start.index).unwrap_or(0)..usize::try_from(end.index).unwrap_or(0);
        let raw = self.text.get(range).unwrap_or_default();
        let mut escaped = false;
        for byte in raw.bytes() {
            if escaped && byte == b'/' {
                return Err(
                    Error::new("found unknown escape character `\\/`", self.mark(*start)).with_hint("write `/` without the backslash")
                );
            }
            escaped = byte == b'\\' && !escaped;
        }
        Ok(())
    }

    fn list(&mut self, depth: usize) -> Result<Value, Error> {
        let mut items = Vec::new();
        loop {
            let event = self.next()?;
            if matches!(event.data, EventData::SequenceEnd) {
                items.shrink_to_fit();
                return Ok(Value::List(items));
            }
            items.push(self.node(event, depth + 1)?);
        }
    }

    fn map(&mut self, depth: usize) -> Result<Value, Error> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut merge = None;
        loop {
            let event = self.next()?;
            if matches!(event.data, EventData::MappingEnd) {
                break;
            }
            let key = self.node(event, depth + 1)?;
            let event = self.next()?;
            let value = self.node(event, depth + 1)?;
            if is_merge_key(&key) {
                if merge.replace(value).is_some() {
                    return Err(Error::at_node("the merge key `<<` is there twice", &key).with_hint("merge several maps by `<<: [*a, *b]`"));
                }
            } else {
                entries.push(Entry { key, value });
            }
        }
        unique(&mut entries, self.dialect)?;
        merge.map_or(Ok(()), |merge| expand(&mut entries, merge))?;
        entries.shrink_to_fit();
        Ok(Value::Map(entries))
    }

    fn scanner_error(&self, error: &libyaml_safer::Error) -> Error {
        let Some(place) = error.problem_mark() else {
            return self.reader_error(error);
        };
        // Where a quote is never closed, its beginning says more than the end of the file.
        let place = error.context_mark().filter(|_| error.problem() == "found unexpected end of stream").unwrap_or(place);
        let mark = self.mark(place);
        let context = error.context().map(|context| format!(" {context}")).unwrap_or_default();
        let begun = error.context_mark().map(|begun| self.mark(begun)).filter(|begun| begun.line != mark.line);
        let begun = begun.map(|begun| format!(" that begins on line {}", begun.line)).unwrap_or_default();
        let told = Error::new(format!("{}{context}{begun}", error.problem()), mark);
        match advice(error.problem(), self.text.lines().nth(usize::try_from(place.line).unwrap_or(usize::MAX)).unwrap_or_default()) {
            Some(hint) => told.with_hint(hint),
            None => told,
        }
    }

    /// The reader knows no line, and fails ahead of the scanner; what it fails on is a character that YAML does not allow.
    fn reader_error(&self, error: &libyaml_safer::Error) -> Error {
        let Some((at, found)) = self.text.char_indices().find(|(_, c)| !is_allowed(*c)) else {
            return Error::new(error.problem(), Mark { file: 0, line: small(self.line) + 1, column: 0 });
        };
        let mut mark = mark_at(self.text, at);
        mark.line += small(self.line);
        Error::new(format!("the control character U+{:04X} is not allowed", u32::from(found)), mark)
            .with_hint("remove it, or write it as an escape in double quotes")
    }
}

/// The characters that a YAML text may hold unescaped.
pub(super) fn is_allowed(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='~' | '\u{85}' | '\u{a0}'..='\u{fffd}' | '\u{10000}'..)
}

fn advice(problem: &str, line: &str) -> Option<&'static str> {
    if line.trim_start_matches(' ').starts_with('\t') {
        return Some("indent with blanks: YAML allows no tabs there");
    }
    if line.contains("{{") {
        return Some("this looks like a template; render it first, or put the value in quotes");
    }
    match problem {
        "mapping values are not allowed in this context" => Some("put a value that holds `: ` in quotes, and check the indentation"),
        "did not find expected key" | "did not find expected '-' indicator" => {
            Some("check the indentation of this line and the ones before")
        }
        "found character that cannot start any token" => Some("put the value in quotes"),
        "could not find expected ':'" => Some("check that the line before ends as it should, and that `:` is followed by a blank"),
        _ => None,
    }
}

fn is_merge_key(key: &Node) -> bool {
    match &key.value {
        Value::Scalar(text, Style::Plain, None) => **text == *"<<",
        Value::Scalar(_, _, Some(tag)) => matches!(&**tag, "!!merge" | "tag:yaml.org,2002:merge"),
        _ => false,
    }
}

/// Below so many entries comparing each with each is cheaper than a set.
const FEW: usize = 12;

fn unique(entries: &mut Vec<Entry>, dialect: Dialect) -> Result<(), Error> {
    if let Some(entry) = entries.iter().find(|entry| entry.key.text().is_none()) {
        let error = Error::at_node("a key is a list or a map; keys must be text", &entry.key);
        return Err(error.with_hint("a template's `{{ }}` must be rendered first, or stand in quotes"));
    }
    let double = match first_double(entries) {
        None => return Ok(()),
        Some(double) => double,
    };
    if dialect == Dialect::Config {
        keep_last(entries);
        return Ok(());
    }
    let key = &entries[double.1].key;
    let message =
        format!("mapping key `{}` is already defined on line {}", key.text().map_or("", |text| text), entries[double.0].key.mark.line);
    Err(Error::at_node(message, key).with_hint("remove one of the two"))
}

/// The places of the first key that is there twice.
fn first_double(entries: &[Entry]) -> Option<(usize, usize)> {
    if entries.len() <= FEW {
        return (1..entries.len()).find_map(|j| (0..j).find(|i| entries[*i].key.text() == entries[j].key.text()).map(|i| (i, j)));
    }
    let mut seen = HashMap::with_capacity(entries.len());
    entries.iter().enumerate().find_map(|(j, entry)| seen.insert(entry.key.text(), j).map(|i| (i, j)))
}

fn keep_last(entries: &mut Vec<Entry>) {
    let mut seen = HashSet::new();
    let mut kept: Vec<Entry> = entries.drain(..).rev().filter(|entry| seen.insert(entry.key.text().cloned())).collect();
    kept.reverse();
    *entries = kept;
}

/// Adds what a merge key brings: own keys win, and of several maps the one that is named first.
fn expand(entries: &mut Vec<Entry>, merge: Node) -> Result<(), Error> {
    let own: HashSet<Text> = entries.iter().filter_map(|entry| entry.key.text().cloned()).collect();
    let mut places = HashMap::new();
    for entry in sources(merge)?.into_iter().rev().flatten() {
        let Some(key) = entry.key.text().filter(|key| !own.contains(*key)).cloned() else {
            continue;
        };
        match places.get(&key) {
            Some(place) => entries[*place] = entry,
            None => {
                places.insert(key, entries.len());
                entries.push(entry);
            }
        }
    }
    Ok(())
}

fn sources(merge: Node) -> Result<Vec<Vec<Entry>>, Error> {
    let mark = merge.mark;
    let map = |node: Node| match node.value {
        Value::Map(entries) => Ok(entries),
        _ => Err(Error::new("the merge key `<<` takes a map or a list of maps", node.mark)),
    };
    match merge.value {
        Value::List(items) => items.into_iter().map(map).collect(),
        value => Ok(vec![map(Node { value, mark })?]),
    }
}

#[cfg(test)]
mod tests {
    use super::super::go_json;
    use super::*;

    fn json(text: &str) -> Result<Vec<String>, String> {
        let nodes = parse(text.as_bytes(), &Limits::default()).map_err(|error| error.to_string())?;
        Ok(nodes.iter().map(|node| go_json(node).unwrap()).collect())
    }

    fn check(text: &str, expected: &[&str]) {
        assert_eq!(json(text), Ok(expected.iter().map(|&text| text.to_owned()).collect()), "{text:?}");
    }

    fn fails(text: &str, expected: &str) {
        let error = json(text).unwrap_err();
        assert!(error.contains(expected), "{text:?}: {error}");
    }

    #[test]
    fn documents_are_cut_at_lines_that_begin_with_three_dashes() {
        check("a: 1\n---\nb: 2\n", &[r#"{"a":1}"#, r#"{"b":2}"#]);
        check("---\na: 1\n---  # comment\nb: 2", &[r#"{"a":1}"#, r#"{"b":2}"#]);
        check("# only\n---\nnull\n---\n{}\n---\n---\na: 1\n---", &[r#"{"a":1}"#]);
        check("a: |\n  ---\n", &[r#"{"a":"---\n"}"#]);
        check("a: 1\n...\nb: 2\n", &[r#"{"a":1}"#]);
        fails("a: 1\n--- b\nc: 1\n", "line 2: text follows the document separator");
        fails("a: 1\n----\nc: 1\n", "line 2: text follows the document separator");
        fails("%YAML 1.1\n---\na: 1\n", "document start");
        fails("{a: 1}\nb: 2\n", "line 2");
        fails("a: 1\n%b\nc: 2\n", "line 2");
    }

    #[test]
    fn texts_come_in_several_guises() {
        check("\u{feff}a: 1\r\nb: |\r\n  x\r\n", &[r#"{"a":1,"b":"x\n"}"#]);
        check(r#"{"a":"x\u00e9", "b" : [1,2]}"#, &["{\"a\":\"x\u{e9}\",\"b\":[1,2]}"]);
        let utf_16: Vec<u8> = [0xff, 0xfe].into_iter().chain("a: \u{e9}\n".encode_utf16().flat_map(u16::to_le_bytes)).collect();
        assert_eq!(
            parse(&utf_16, &Limits::default()).unwrap()[0].get("a").unwrap().text().map(|text| text.to_string()).as_deref(),
            Some("\u{e9}")
        );
        assert_eq!(parse(b"a: \xff", &Limits::default()).unwrap_err().to_string(), "line 1: the text is not UTF-8");
    }

    // The scanner panics on these without the line end that is added for it.
    #[test]
    fn the_last_line_needs_no_end() {
        check("a: |\n  x\n  y", &[r#"{"a":"x\ny"}"#]);
        check("a: |+\n  x", &[r#"{"a":"x"}"#]);
        check("a: >\n  x\n  y", &[r#"{"a":"x y"}"#]);
        check("a: |", &[r#"{"a":""}"#]);
        check("a: |\n  x\n  ", &[r#"{"a":"x\n"}"#]);
        check("a: 'x'", &[r#"{"a":"x"}"#]);
        fails("a: \"\\", "line 1");
    }

    #[test]
    fn aliases_and_merge_keys_are_expanded() {
        check("a: &x [1]\nb: *x", &[r#"{"a":[1],"b":[1]}"#]);
        check("a: &x {p: 1, q: 1}\nb: {<<: *x, q: 2}", &[r#"{"a":{"p":1,"q":1},"b":{"p":1,"q":2}}"#]);
        check("a: &x {p: 1}\nb: &y {p: 2, q: 2}\nc: {<<: [*x, *y]}", &[r#"{"a":{"p":1},"b":{"p":2,"q":2},"c":{"p":1,"q":2}}"#]);
        check("a: {\"<<\": 1}", &[r#"{"a":{"\u003c\u003c":1}}"#]);
        fails("a: *none", "unknown anchor `none`");
        fails("a: &x [*x]", "contains itself");
        fails("a: &x 1\nb: {<<: *x}", "takes a map or a list of maps");
        fails("a: &x {p: 1}\nb:\n  <<: *x\n  <<: *x", "there twice");
        fails("a: &x 1\n---\nb: *x\n", "line 3: unknown anchor");
    }

    #[test]
    fn a_key_that_is_there_twice_is_an_error_in_resources_and_the_last_counts_in_configurations() {
        fails("a: 1\nb: 1\na: 2\n", "line 3: mapping key `a` is already defined on line 1");
        let many: String = (0..20).chain([7]).map(|i| format!("k{i}: {i}\n")).collect();
        fails(&many, "line 21: mapping key `k7` is already defined on line 8");
        let config = parse_config(b"a: 1\nb: 1\na: 2\n", &Limits::default()).unwrap().unwrap();
        assert_eq!(go_json(&config).unwrap(), r#"{"a":2,"b":1}"#);
    }

    #[test]
    fn of_a_configuration_the_first_document_is_read() {
        let read = |text: &str| parse_config(text.as_bytes(), &Limits::default()).unwrap().map(|node| go_json(&node).unwrap());
        assert_eq!(read("---\na: 1\n---\nb: 2\n").as_deref(), Some(r#"{"a":1}"#));
        assert_eq!(read("# nothing\n"), None);
        assert_eq!(read("null"), None);
        assert_eq!(read("{}").as_deref(), Some("{}"));
    }

    #[test]
    fn nodes_know_where_they_were_written() {
        let nodes = parse("a: 1\n---\nb:\n  - caf\u{e9}: x\n".as_bytes(), &Limits::default()).unwrap();
        let value = nodes[1].get("b").unwrap().items()[0].get("caf\u{e9}").unwrap();
        assert_eq!(value.mark, Mark { file: 0, line: 4, column: 11 });
    }

    #[test]
    fn errors_show_place_line_and_way_out() {
        let error = parse(b"a: 1\n---\nb:\n\t- x\n", &Limits::default()).unwrap_err();
        assert_eq!((error.line(), error.column(), error.line_text()), (4, 1, "\t- x"));
        assert!(error.hint().unwrap().contains("no tabs"));
        let error = parse(b"a: b: c\n", &Limits::default()).unwrap_err();
        assert_eq!((error.line(), error.column()), (1, 5));
        let error = parse(b"a: 1\nb: \"x\nc: 1\n", &Limits::default()).unwrap_err();
        assert_eq!((error.line(), error.column()), (2, 4));
        let error = parse(b"a: 1\nb: \x01\n", &Limits::default()).unwrap_err();
        assert_eq!((error.line(), error.column()), (2, 4));
        fails(r#"{"a": "x\/y"}"#, "unknown escape");
        fails(r#"{"a": "\ud83d\ude00"}"#, "Unicode");
        fails("a: {{ .Values.x }}", "a key is a list or a map");
    }

    #[test]
    fn a_line_of_a_secret_is_not_shown() {
        let error = parse(b"kind: Secret\nstringData:\n  password: hunter2: x\n", &Limits::default()).unwrap_err();
        assert_eq!((error.line(), error.line_text()), (3, "  password: ****"));
        assert!(!format!("{error:?}").contains("hunter2"));
    }

    #[test]
    fn limits_are_named() {
        let limits = Limits { bytes: 2_000_000, depth: 200, nodes: 100_000, documents: 100 };
        let fails = |text: &str, expected: &str| {
            let error = parse(text.as_bytes(), &limits).unwrap_err();
            assert!(error.message().contains(expected), "{}", error.message());
        };
        fails(&" ".repeat(2_000_001), "more than the limit of 2000000");
        fails(&"[".repeat(100_000), "limit of 200 levels");
        fails(&"- ".repeat(100_000), "limit of 200 levels");
        fails(&"a\n---\n".repeat(101), "limit of 100");
        fails(&"[".repeat(50).replace('[', "- a\n").repeat(2_001), "limit of 100000");
        let bomb =
            (1..20).fold("a0: &a0 [x,x]\n".to_owned(), |text, i| text + &format!("a{i}: &a{i} [{}]\n", format!("*a{},", i - 1).repeat(9)));
        fails(&bomb, "limit of 100000, aliases expanded");
    }

    #[test]
    fn a_panic_of_the_scanner_is_an_error() {
        fails("a: [!x,]", "gave up");
    }
}
