//! Lays YAML out as kustomize does when it writes into YAML that is the text of a field: two spaces a level, lists in the column of their
//! key, comments, quotes and flow style as they were.
//!
//! It must not know what was written or why: it has the text as it was, and what it comes to.

use std::borrow::Cow;

use libyaml_safer::{Encoding, Event, EventData, MappingStyle, Parser, ScalarStyle, SequenceStyle};

use crate::yaml::{self, Dialect, Node, Scalar, Text, Value};

/// How a part of the text was written.
struct Part {
    line: u64,
    column: u64,
    shape: Shape,
}

enum Shape {
    Scalar { text: String, style: ScalarStyle, tag: Option<String> },
    List { is_flow: bool, items: Vec<Part> },
    Map { is_flow: bool, entries: Vec<(Part, Part)> },
}

/// A comment, without what is before its `#`.
struct Comment {
    line: u64,
    column: u64,
    text: String,
    /// Whether nothing else is on its line, and whether the line above is blank.
    is_alone: bool,
    after_blank: bool,
}

/// The text of a document laid out anew; `None` for what has anchors, complex keys, or can't be read.
pub(super) fn laid_out(text: &str, document: &Node) -> Option<String> {
    // The scanner can't bear a block that ends the text without a line end, and may give up on other texts.
    let text = if text.ends_with('\n') { Cow::Borrowed(text) } else { Cow::Owned(format!("{text}\n")) };
    let (part, comments) = yaml::contained(|| Ok(read(&text))).ok()??;
    let mut layout = Layout { out: String::new(), comments, next: 0, content_end: part.last_line() };
    layout.block(document, Some(&part), 0, false)?;
    layout.rest();
    Some(layout.out.trim().to_owned())
}

fn read(text: &str) -> Option<(Part, Vec<Comment>)> {
    let mut source = Source { text, parser: Parser::new(), spans: Vec::new(), end: u64::MAX };
    source.parser.set_input(text.as_bytes());
    source.parser.set_encoding(Encoding::Utf8);
    let part = source.document()?;
    Some((part, source.comments()))
}

/// The text while it is read.
struct Source<'t> {
    text: &'t str,
    parser: Parser<&'t [u8]>,
    /// Where scalars stand, in bytes, in order.
    spans: Vec<(usize, usize)>,
    /// The line on which the document ends.
    end: u64,
}

impl Source<'_> {
    fn document(&mut self) -> Option<Part> {
        for _ in 0..2 {
            self.event()?;
        }
        let first = self.event()?;
        let part = self.part(first, 0)?;
        let end = self.event()?;
        if matches!(end.data, EventData::DocumentEnd { .. }) && !matches!(self.event()?.data, EventData::StreamEnd) {
            self.end = end.start_mark.line;
        }
        Some(part)
    }

    fn event(&mut self) -> Option<Event> {
        self.parser.parse().ok()
    }

    fn part(&mut self, event: Event, depth: usize) -> Option<Part> {
        if depth > MAX_DEPTH {
            return None;
        }
        let shape = match event.data {
            EventData::Scalar { anchor: None, tag, value: text, style, .. } => {
                self.spans.push((usize::try_from(event.start_mark.index).ok()?, usize::try_from(event.end_mark.index).ok()?));
                Shape::Scalar { text, style, tag }
            }
            EventData::SequenceStart { anchor: None, tag: None, style, .. } => {
                Shape::List { is_flow: style == SequenceStyle::Flow, items: self.items(depth)? }
            }
            EventData::MappingStart { anchor: None, tag: None, style, .. } => {
                Shape::Map { is_flow: style == MappingStyle::Flow, entries: self.entries(depth)? }
            }
            _ => return None,
        };
        Some(Part { line: event.start_mark.line, column: event.start_mark.column, shape })
    }

    fn items(&mut self, depth: usize) -> Option<Vec<Part>> {
        let mut items = Vec::new();
        loop {
            let event = self.event()?;
            if matches!(event.data, EventData::SequenceEnd) {
                return Some(items);
            }
            items.push(self.part(event, depth + 1)?);
        }
    }

    fn entries(&mut self, depth: usize) -> Option<Vec<(Part, Part)>> {
        let mut entries = Vec::new();
        loop {
            let event = self.event()?;
            if matches!(event.data, EventData::MappingEnd) {
                return Some(entries);
            }
            let key = self.part(event, depth + 1)?;
            let value = self.event()?;
            entries.push((key, self.part(value, depth + 1)?));
        }
    }

    fn is_in_scalar(&self, at: usize) -> bool {
        let before = self.spans.partition_point(|(from, _)| *from <= at);
        before.checked_sub(1).and_then(|last| self.spans.get(last)).is_some_and(|(_, to)| at < *to)
    }

    /// All comments, in order.
    fn comments(&self) -> Vec<Comment> {
        let (mut comments, mut start, mut after_blank) = (Vec::new(), 0, false);
        for (number, line) in (0..self.end).zip(self.text.split_inclusive('\n')) {
            let is_free = |at: usize| !self.is_in_scalar(start + at);
            let is_begin = |at: usize| line[..at].chars().next_back().is_none_or(|c| matches!(c, ' ' | '\t'));
            if let Some((at, _)) = line.match_indices('#').find(|(at, _)| is_begin(*at) && is_free(*at)) {
                let is_alone = line[..at].trim().is_empty();
                comments.push(Comment { line: number, column: at as u64, text: line[at..].trim_end().to_owned(), is_alone, after_blank });
            }
            // Blank lines at the end of a block are the block's.
            after_blank = line.trim().is_empty() && !self.is_in_scalar(start);
            start += line.len();
        }
        comments
    }
}

/// How deep a text may be nested.
const MAX_DEPTH: usize = 200;

/// The text while it is written.
struct Layout {
    out: String,
    comments: Vec<Comment>,
    /// The first comment that is not written yet.
    next: usize,
    /// The line on which the last value begins.
    content_end: u64,
}

impl Layout {
    /// Writes what begins a line; the first line has its indentation already where `is_begun`.
    fn block(&mut self, node: &Node, part: Option<&Part>, indent: usize, is_begun: bool) -> Option<()> {
        match &node.value {
            Value::Map(entries) if !entries.is_empty() && !is_flow(part) => {
                let mut is_begun = is_begun;
                for entry in entries {
                    let key = entry.key.text()?;
                    let (key_part, value_part) = entry_part(part, key).unzip();
                    self.heads(key_part, indent, &mut is_begun);
                    self.begin(indent, &mut is_begun);
                    self.scalar(&entry.key, key_part, indent, true);
                    self.out.push(':');
                    self.after_colon(&entry.value, value_part, key_part, indent)?;
                }
                self.feet(part, indent);
            }
            Value::List(items) if !items.is_empty() && !is_flow(part) => {
                let mut is_begun = is_begun;
                for (at, item) in items.iter().enumerate() {
                    let item_part = match part.map(|part| &part.shape) {
                        Some(Shape::List { items, .. }) => items.get(at),
                        _ => None,
                    };
                    if !matches!(item_part.map(|part| &part.shape), Some(Shape::Map { is_flow: false, .. })) {
                        self.heads(item_part, indent, &mut is_begun);
                    } else {
                        self.heads_above_dash(item_part, indent, &mut is_begun);
                    }
                    self.begin(indent, &mut is_begun);
                    self.out.push_str("- ");
                    self.block(item, item_part, indent + 2, true)?;
                }
                self.feet(part, indent);
            }
            _ => {
                let mut is_begun = is_begun;
                self.begin(indent, &mut is_begun);
                self.flow(node, part, indent, false);
                self.end_line(part);
            }
        }
        Some(())
    }

    fn begin(&mut self, indent: usize, is_begun: &mut bool) {
        if !std::mem::take(is_begun) {
            self.out.push_str(&" ".repeat(indent));
        }
    }

    fn after_colon(&mut self, value: &Node, part: Option<&Part>, key: Option<&Part>, indent: usize) -> Option<()> {
        let is_flow = is_flow(part);
        match &value.value {
            Value::Map(entries) if !entries.is_empty() && !is_flow => {
                self.end_line(key);
                self.block(value, part, indent + 2, false)
            }
            Value::List(items) if !items.is_empty() && !is_flow => {
                self.end_line(key);
                self.block(value, part, indent, false)
            }
            _ => {
                let colon = self.out.len();
                self.out.push(' ');
                self.flow(value, part, indent, false);
                let is_nothing = self.out.len() == colon + 1;
                if is_nothing {
                    self.out.pop();
                }
                self.end_line(if is_nothing { key } else { part });
                Some(())
            }
        }
    }

    /// Writes a value that goes on where it is.
    fn flow(&mut self, node: &Node, part: Option<&Part>, indent: usize, is_inside: bool) {
        match &node.value {
            Value::Scalar(..) => self.scalar(node, part, indent, is_inside),
            Value::List(items) => {
                self.out.push('[');
                for (at, item) in items.iter().enumerate() {
                    self.out.push_str(if at > 0 { ", " } else { "" });
                    let part = match part.map(|part| &part.shape) {
                        Some(Shape::List { items, .. }) => items.get(at),
                        _ => None,
                    };
                    self.flow(item, part, indent, true);
                }
                self.out.push(']');
            }
            Value::Map(entries) => {
                self.out.push('{');
                for (at, entry) in entries.iter().enumerate() {
                    self.out.push_str(if at > 0 { ", " } else { "" });
                    let (key, value) = entry.key.text().and_then(|text| entry_part(part, text)).unzip();
                    self.flow(&entry.key, key, indent, true);
                    self.out.push_str(": ");
                    self.flow(&entry.value, value, indent, true);
                }
                self.out.push('}');
            }
        }
    }

    fn scalar(&mut self, node: &Node, part: Option<&Part>, indent: usize, is_inside: bool) {
        let Some(text) = node.text() else { return };
        let (was, reads_as) = (was(part, node), of(&Node::plain(text.clone())));
        let tag = tag_kept(part, node).or_else(|| outgrown(part, was, reads_as).map(str::to_owned));
        if let Some(tag) = &tag {
            self.out.push_str(tag);
            if text.is_empty() && style(part) == ScalarStyle::Plain {
                return;
            }
            self.out.push(' ');
        }
        let style = match style(part) {
            ScalarStyle::Plain if text.contains('\n') && is_inside => ScalarStyle::DoubleQuoted,
            ScalarStyle::Plain if text.contains('\n') => ScalarStyle::Literal,
            ScalarStyle::Plain if tag.is_none() && was == "!!str" && reads_as != "!!str" => ScalarStyle::DoubleQuoted,
            ScalarStyle::Plain if text.is_empty() && !is_inside => ScalarStyle::Plain,
            ScalarStyle::Plain if !may_be_plain(text, is_inside) => ScalarStyle::SingleQuoted,
            style => style,
        };
        let may_be_block = !is_inside && !text.is_empty() && !text.ends_with(' ') && !text.contains(" \n");
        match style {
            ScalarStyle::Literal if may_be_block => self.lines(text, '|', indent, false),
            ScalarStyle::Folded if may_be_block => self.lines(text, '>', indent, true),
            ScalarStyle::SingleQuoted if !text.contains('\n') => self.out.push_str(&format!("'{}'", text.replace('\'', "''"))),
            ScalarStyle::Plain => self.out.push_str(text),
            _ => self.out.push_str(&quoted(text)),
        }
    }

    /// Writes a block scalar, without its last line end.
    fn lines(&mut self, text: &str, sign: char, indent: usize, is_folded: bool) {
        let body = text.trim_end_matches('\n');
        let chomping = match text.len() - body.len() {
            0 => "-",
            1 if !body.is_empty() => "",
            _ => "+",
        };
        let hint = if text.starts_with([' ', '\n']) { "2" } else { "" };
        self.out.push_str(&format!("{sign}{hint}{chomping}"));
        // In a folded block a line end is two; kustomize's writer looks for what follows it at the begin of the text, and not behind it.
        let is_blank = |text: &str| text.starts_with([' ', '\t']) || text.is_empty();
        let is_doubled = is_folded && !is_blank(text.trim_start_matches('\n'));
        let (body, ends) = (text.strip_suffix('\n').unwrap_or(text), text.matches('\n').count());
        for (at, line) in body.split('\n').enumerate() {
            self.out.push('\n');
            if !line.is_empty() {
                self.out.push_str(&" ".repeat(indent + 2));
                self.out.push_str(line);
            }
            if is_doubled && at < ends && !is_blank(line) {
                self.out.push('\n');
            }
        }
    }

    /// Ends the line, with the comment that stood on it.
    fn end_line(&mut self, part: Option<&Part>) {
        if let (Some(part), Some(comment)) = (part, self.comments.get(self.next))
            && !comment.is_alone
            && comment.line >= part.line
            && comment.line <= part.last_line()
        {
            self.out.push_str(&format!(" {}", comment.text));
            self.next += 1;
        }
        self.out.push('\n');
    }

    /// Writes the comments above a part.
    fn heads(&mut self, part: Option<&Part>, indent: usize, is_begun: &mut bool) {
        if let Some(part) = part {
            self.comments_while(indent, is_begun, |comment| comment.line < part.line);
        }
    }

    /// As [`Self::heads`], for a map in a list: what stands below the dash is the map's own.
    fn heads_above_dash(&mut self, part: Option<&Part>, indent: usize, is_begun: &mut bool) {
        if let Some(part) = part {
            self.comments_while(indent, is_begun, |comment| comment.line < part.line && comment.column < part.column);
        }
    }

    /// Writes the comments that stand below the last part of a list or map, no further to the left.
    fn feet(&mut self, part: Option<&Part>, indent: usize) {
        if let Some(part) = part {
            let last = part.last_line();
            // Behind a block that ends the document the first comments are its own, wherever they stand.
            let first = self.comments.get(self.next).filter(|comment| {
                part.ends_in_block() && !self.is_after_comment() && !comment.after_blank && comment.line > self.content_end
            });
            let sticking = first.map(|comment| comment.column);
            let is_mine = |comment: &Comment| {
                comment.line <= last || (comment.column >= part.column && part.column > 0) || sticking == Some(comment.column)
            };
            self.comments_while(indent, &mut false, is_mine);
        }
    }

    fn is_after_comment(&self) -> bool {
        self.out.trim_end_matches('\n').rsplit('\n').next().is_some_and(|line| line.trim_start().starts_with('#'))
    }

    fn comments_while(&mut self, indent: usize, is_begun: &mut bool, is_mine: impl Fn(&Comment) -> bool) {
        let mut is_first = true;
        while let Some(comment) = self.comments.get(self.next).filter(|comment| comment.is_alone && is_mine(comment)) {
            let is_after_comment =
                self.out.trim_end_matches('\n').rsplit('\n').next().is_some_and(|line| line.trim_start().starts_with('#'));
            if comment.after_blank && (!is_first || is_after_comment) {
                self.out.push('\n');
            }
            is_first = false;
            let text = comment.text.clone();
            self.begin(indent, is_begun);
            self.out.push_str(&text);
            self.out.push('\n');
            self.next += 1;
        }
    }

    /// Writes what stands behind everything.
    fn rest(&mut self) {
        if self.comments.get(self.next).is_some_and(|comment| comment.after_blank) && !self.out.is_empty() {
            self.out.push('\n');
        }
        self.comments_while(0, &mut false, |_| true);
    }
}

impl Part {
    fn ends_in_block(&self) -> bool {
        match &self.shape {
            Shape::Scalar { style, .. } => matches!(style, ScalarStyle::Literal | ScalarStyle::Folded),
            Shape::List { items, .. } => items.last().is_some_and(Self::ends_in_block),
            Shape::Map { entries, .. } => entries.last().is_some_and(|(_, value)| value.ends_in_block()),
        }
    }

    fn last_line(&self) -> u64 {
        match &self.shape {
            Shape::Scalar { .. } => self.line,
            Shape::List { items, .. } => items.last().map_or(self.line, Self::last_line),
            Shape::Map { entries, .. } => entries.last().map_or(self.line, |(_, value)| value.last_line()),
        }
    }
}

fn is_flow(part: Option<&Part>) -> bool {
    matches!(part.map(|part| &part.shape), Some(Shape::List { is_flow: true, .. } | Shape::Map { is_flow: true, .. }))
}

fn style(part: Option<&Part>) -> ScalarStyle {
    match part.map(|part| &part.shape) {
        Some(Shape::Scalar { style, .. }) => *style,
        _ => ScalarStyle::Plain,
    }
}

/// The tag that stands in the text, or that a change has set.
fn tag_kept(part: Option<&Part>, node: &Node) -> Option<String> {
    let set = if let Value::Scalar(_, _, tag) = &node.value { tag_of(tag) } else { None };
    let written = if let Some(Shape::Scalar { tag, .. }) = part.map(|part| &part.shape) { tag.as_deref() } else { None };
    set.map(|tag| &**tag).or(written).map(|tag| tag.replace("tag:yaml.org,2002:", "!!"))
}

/// The tag of what was not a string, where the text that has taken its place says something else.
fn outgrown(part: Option<&Part>, was: &'static str, reads_as: &str) -> Option<&'static str> {
    (was != "!!str" && was != reads_as && style(part) == ScalarStyle::Plain).then_some(was)
}

/// What a scalar was before another text took its place.
fn was(part: Option<&Part>, node: &Node) -> &'static str {
    match part.map(|part| &part.shape) {
        Some(Shape::Scalar { text, style: ScalarStyle::Plain, tag: None }) => of(&Node::plain(text.as_str())),
        _ => of(node),
    }
}

/// The tag of a scalar.
fn of(node: &Node) -> &'static str {
    match node.resolve(Dialect::Resource) {
        Ok(Scalar::Null) => "!!null",
        Ok(Scalar::Bool(_)) => "!!bool",
        Ok(Scalar::Int(_)) => "!!int",
        Ok(Scalar::Float(_)) => "!!float",
        Ok(Scalar::Timestamp(_)) => "!!timestamp",
        Ok(Scalar::Str(_)) | Err(_) => "!!str",
    }
}

/// A tag that is written. That of a null says only what its text says.
fn tag_of(tag: &Option<Text>) -> Option<&Text> {
    tag.as_ref().filter(|tag| !matches!(&***tag, "" | "!!str" | "!!null"))
}

/// How an entry was written.
fn entry_part<'p>(part: Option<&'p Part>, wanted: &str) -> Option<(&'p Part, &'p Part)> {
    let Some(Shape::Map { entries, .. }) = part.map(|part| &part.shape) else { return None };
    let is_wanted = |key: &Part| matches!(&key.shape, Shape::Scalar { text, .. } if text == wanted);
    entries.iter().find(|(key, _)| is_wanted(key)).map(|(key, value)| (key, value))
}

/// Whether a text may stand without quotes.
fn may_be_plain(text: &str, is_inside: bool) -> bool {
    let mut chars = text.chars();
    let Some(first) = chars.next() else { return false };
    let second = chars.next();
    let is_sign = match first {
        '-' | '?' | ':' => second.is_none_or(|c| c == ' '),
        c => ",[]{}#&*!|>'\"%@`".contains(c),
    };
    let is_broken = text.contains(": ") || text.contains(" #") || text.ends_with(':') || text.starts_with(' ') || text.ends_with(' ');
    let is_flow_sign = is_inside && text.contains([',', '?', ':', '[', ']', '{', '}']);
    !is_sign && !is_broken && !is_flow_sign && !text.contains(['\t', '\r'])
}

/// A text in double quotes.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if (c as u32) < 0x20 || c as u32 == 0x7f => out.push_str(&format!("\\x{:02X}", c as u32)),
            c if c as u32 > 0xffff => out.push_str(&format!("\\U{:08X}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
