//! Builds the tree of a document from the scanner's events: anchors and merge keys expanded, keys checked, limits kept.

use std::collections::{HashMap, HashSet};

use libyaml_safer::{Encoding, Event, EventData, MappingStyle, Parser, ScalarStyle, SequenceStyle};

use super::block::Block;
use super::parse::{AFTER_SEPARATOR, mark_at, small};
use super::scalar::FLOW_NULL;
use super::texts::Texts;
use super::{Dialect, Entry, Error, Limits, Mark, Node, Style, Text, Value};

/// Builds the tree of one document from the scanner's events.
pub(super) struct Composer<'a> {
    parser: Parser<&'a [u8]>,
    text: &'a str,
    /// What stands for byte order marks in it.
    stand_in: Option<char>,
    /// The line end at the end is not the user's.
    unfinished: bool,
    line: usize,
    dialect: Dialect,
    limits: &'a Limits,
    doubles: bool,
    nodes: &'a mut usize,
    texts: &'a mut Texts,
    /// Finished nodes with their size; nothing while the anchor's own node is being read.
    anchors: HashMap<String, Option<(Node, usize)>>,
    unknown_escape: Option<usize>,
    unexpected_colon: Option<(usize, usize)>,
    /// Whether a list or map in flow style is open.
    in_flow: bool,
}

impl<'a> Composer<'a> {
    pub(super) fn new(block: &Block<'a>, stand_in: Option<char>, texts: &'a mut Texts, nodes: &'a mut usize) -> Self {
        let Block { text, unfinished, line, dialect, limits, doubles } = *block;
        let mut parser = Parser::new();
        parser.set_input(text.as_bytes());
        // Left to itself it takes a text that begins with any character from U+F000 on for one with a byte order mark.
        parser.set_encoding(Encoding::Utf8);
        Self {
            parser,
            text,
            stand_in,
            unfinished,
            line,
            dialect,
            limits,
            doubles,
            nodes,
            texts,
            anchors: HashMap::new(),
            unknown_escape: None,
            unexpected_colon: None,
            in_flow: false,
        }
    }

    /// The byte at which the quoted text begins that ended reading by an unknown escape.
    pub(super) fn quote_with_unknown_escape(&self) -> Option<usize> {
        self.unknown_escape
    }

    /// The bytes of the text without quotes, from its first to the colon that ended reading, in flow style.
    pub(super) fn text_with_unexpected_colon(&self) -> Option<(usize, usize)> {
        self.unexpected_colon
    }

    /// Reads the first document of the text; `None` where there is none.
    pub(super) fn document(&mut self) -> Result<Option<Node>, Error> {
        self.next()?;
        if matches!(self.next()?.data, EventData::StreamEnd) {
            return Ok(None);
        }
        let event = self.next()?;
        let node = self.node(event, 0)?;
        // What follows after `...` is dropped, as go-yaml does, but for its beginning, which it looks at.
        if matches!(self.next()?.data, EventData::DocumentEnd { implicit: true }) {
            self.end()?;
        } else if let Err(error) = self.next()
            && !error.message().starts_with("did not find expected <document start>")
        {
            return Err(error);
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
        self.parser.parse().map_err(|error| {
            let quote = error.context_mark().filter(|_| error.problem() == "found unknown escape character");
            self.unknown_escape = quote.and_then(|quote| usize::try_from(quote.index).ok());
            let ends = error.context_mark().zip(error.problem_mark()).filter(|_| error.problem() == "found unexpected ':'");
            self.unexpected_colon =
                ends.and_then(|(start, colon)| Some((usize::try_from(start.index).ok()?, usize::try_from(colon.index).ok()?)));
            self.scanner_error(&error)
        })
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
            EventData::SequenceStart { anchor, style, .. } => {
                self.open(anchor.as_ref());
                let outer = self.in_flow;
                self.in_flow |= style == SequenceStyle::Flow;
                let list = self.list(depth)?;
                self.in_flow = outer;
                (anchor, list)
            }
            EventData::MappingStart { anchor, style, .. } => {
                self.open(anchor.as_ref());
                let outer = self.in_flow;
                self.in_flow |= style == MappingStyle::Flow;
                let map = self.map(depth)?;
                self.in_flow = outer;
                (anchor, map)
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
                let mut node = self.anchors.get(anchor).cloned().flatten().map_or_else(Node::list, |(node, _)| node);
                self.settle_null(&mut node);
                Ok(node)
            }
        }
    }

    fn scalar(&mut self, text: String, style: ScalarStyle, tag: Option<String>) -> Value {
        let text = match self.stand_in {
            Some(letter) => text.replace(letter, "\u{feff}"),
            None => text,
        };
        let style = match style {
            ScalarStyle::Plain => Style::Plain,
            // Only resources are printed in between.
            ScalarStyle::Folded if self.dialect == Dialect::Resource => Style::Folded,
            _ => Style::Quoted,
        };
        // kustomize prints a null that is not written out as quotes where it stands in flow style, and reads it as a text then.
        if self.in_flow && self.dialect == Dialect::Resource && style == Style::Plain && tag.as_deref().is_none_or(|tag| tag == "!") {
            match &*text {
                "" => return Value::Scalar(self.texts.share(""), Style::Quoted, Some(FLOW_NULL.into())),
                "null" | "~" => return Value::Scalar(self.texts.share(&text), style, Some(FLOW_NULL.into())),
                _ => {}
            }
        }
        Value::Scalar(self.texts.share(&text), style, tag.map(Text::from))
    }

    /// Nothing that was written elsewhere is an empty text in flow style only.
    fn settle_null(&self, node: &mut Node) {
        if let Value::Scalar(text, style, tag) = &mut node.value
            && text.is_empty()
            && self.dialect == Dialect::Resource
        {
            match (&tag, self.in_flow) {
                (Some(null), false) if **null == *FLOW_NULL => (*style, *tag) = (Style::Plain, None),
                (None, true) if *style == Style::Plain => (*style, *tag) = (Style::Quoted, Some(FLOW_NULL.into())),
                _ => {}
            }
        }
    }

    /// Takes the line end back that was added to a block that ends the text.
    fn unfinish(&self, style: ScalarStyle, end: libyaml_safer::Mark, value: &mut String) {
        let block = matches!(style, ScalarStyle::Literal | ScalarStyle::Folded);
        if block && self.unfinished && end.index >= self.text.len() as u64 && value.ends_with('\n') {
            value.pop();
        }
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
            let mut key = self.node(event, depth + 1)?;
            settle_key(&mut key, self.dialect);
            let event = self.next()?;
            let value = self.node(event, depth + 1)?;
            if is_merge_key(&key) && self.dialect == Dialect::Config {
                // go-yaml v2 merges where the key stands: what comes before is replaced.
                entries.extend(sources(value)?.into_iter().rev().flatten());
            } else if is_merge_key(&key) {
                if merge.replace(value).is_some() {
                    return Err(Error::at_node("the merge key `<<` is there twice", &key).with_hint("merge several maps by `<<: [*a, *b]`"));
                }
            } else {
                entries.push(Entry { key, value });
            }
        }
        unique(&mut entries, self.dialect, self.doubles)?;
        let own = entries.len();
        merge.map_or(Ok(()), |merge| expand(&mut entries, merge))?;
        entries.iter_mut().skip(own).for_each(|entry| self.settle_null(&mut entry.value));
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
        let line =
            |place: libyaml_safer::Mark| self.text.lines().nth(usize::try_from(place.line).unwrap_or(usize::MAX)).unwrap_or_default();
        let has_mark = |place: libyaml_safer::Mark| self.stand_in.is_some_and(|letter| line(place).contains(letter));
        if has_mark(place) || error.context_mark().is_some_and(has_mark) {
            return told.with_hint("there is a byte order mark (U+FEFF), which is not seen; remove it");
        }
        match advice(error.problem(), line(place)) {
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
        "did not find expected <document start>" => {
            Some("the document ended before this line; check the indentation, and begin another one with `---`")
        }
        "could not find expected ':'" => Some("check that the line before ends as it should, and that `:` is followed by a blank"),
        _ => None,
    }
}

/// As a key of a resource nothing is an empty text.
fn settle_key(key: &mut Node, dialect: Dialect) {
    if let Value::Scalar(text, style @ Style::Plain, tag) = &mut key.value
        && dialect == Dialect::Resource
        && text.is_empty()
        && tag.as_deref().is_none_or(|tag| tag == "!")
    {
        (*style, *tag) = (Style::Quoted, None);
    }
}

fn is_merge_key(key: &Node) -> bool {
    match &key.value {
        // A tag of a mere `!` says nothing.
        Value::Scalar(text, Style::Plain, tag) if tag.as_deref().is_none_or(|tag| tag == "!") => **text == *"<<",
        Value::Scalar(_, _, Some(tag)) => matches!(&**tag, "!!merge" | "tag:yaml.org,2002:merge"),
        _ => false,
    }
}

/// Below so many entries comparing each with each is cheaper than a set.
const FEW: usize = 12;

fn unique(entries: &mut Vec<Entry>, dialect: Dialect, doubles: bool) -> Result<(), Error> {
    if let Some(entry) = entries.iter().find(|entry| entry.key.text().is_none()) {
        let error = Error::at_node("a key is a list or a map; keys must be text", &entry.key);
        return Err(error.with_hint("a template's `{{ }}` must be rendered first, or stand in quotes"));
    }
    let double = match first_double(entries) {
        None => return Ok(()),
        Some(_) if doubles => return Ok(()),
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

/// Whether no key is there twice, nor one that is no text.
pub(super) fn is_unique(entries: &[Entry]) -> bool {
    first_double(entries).is_none()
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
