//! Reads block style, in which nearly all manifests are written, line by line: several times as fast as the scanner does.
//!
//! It must not know all of YAML: whatever is not surely read right is left to the scanner, and what is read is what [`Composer`] reads, marks
//! and all. So it gives up (`None`) on anchors, tags, flow style but for the simplest, complex keys, tabs, and on all that is wrong.
//!
//! [`Composer`]: super::compose::Composer

use memchr::memchr;

use super::compose::is_unique;
use super::parse::small;
use super::texts::Texts;
use super::{Dialect, Entry, Limits, Mark, Node, Style, Value};

mod scalar;

/// Longer keys are no simple keys (libyaml: 1024 characters, quotes included).
const KEY_BYTES: usize = 1000;

/// A text of which one document is read.
#[derive(Clone, Copy)]
pub(super) struct Block<'a> {
    pub(super) text: &'a str,
    /// Whether the line end at the end is not the user's.
    pub(super) unfinished: bool,
    /// How many lines of the file come before the text.
    pub(super) line: usize,
    pub(super) dialect: Dialect,
    pub(super) limits: &'a Limits,
    /// Whether a key may be there twice.
    pub(super) doubles: bool,
}

impl Block<'_> {
    /// The document, with the number of nodes in it; `None` where the scanner must read it.
    pub(super) fn document(&self, texts: &mut Texts, nodes: usize) -> Option<(Node, usize)> {
        if !is_ordinary(self.text) {
            return None;
        }
        let mut reader = Reader {
            block: self,
            bytes: self.text.as_bytes(),
            line: Line::default(),
            texts,
            nodes,
            entries: Vec::new(),
            items: Vec::new(),
        };
        reader.go_to(reader.raw(0, 0));
        if self.text.get(reader.line.start..reader.line.end) == Some("---") {
            reader.next_line();
        }
        let node = reader.node(reader.line.content, reader.line.indent()?, 0)?;
        (reader.line.indent().is_none()).then_some((node, reader.nodes))
    }
}

/// Whether a text holds only characters that mean nothing by themselves. Line ends other than `\n` and byte order marks do.
fn is_ordinary(text: &str) -> bool {
    // Without a way out in between the compiler makes it many bytes at a time.
    let is_other = |byte: &u8| !matches!(byte, b' '..=b'~' | b'\n' | b'\t');
    let has_other = |chunk: &[u8]| chunk.iter().fold(false, |found, byte| found | is_other(byte));
    let bytes = text.as_bytes();
    let is_harmless = |at: usize| match bytes[at..] {
        [b' '..=b'~' | b'\n' | b'\t', ..] => true,
        [0xc2, next, ..] => next >= 0xa0,
        [0xe2, 0x80, 0xa8 | 0xa9, ..] | [0xef, ..] => false,
        [byte, ..] => byte >= 0x80,
        [] => true,
    };
    bytes.chunks(CHUNK).enumerate().all(|(at, chunk)| {
        let start = at * CHUNK;
        !has_other(chunk) || (start..start + chunk.len()).all(is_harmless)
    })
}

/// How many bytes are looked at together.
const CHUNK: usize = 1024;

/// A line with something on it, or the end of the text.
#[derive(Clone, Copy, Default)]
struct Line {
    /// Its number in the text, from 0.
    number: usize,
    start: usize,
    /// Its first byte that is no blank.
    content: usize,
    /// Its line end; at the end of the text the same as its start.
    end: usize,
}

impl Line {
    /// How far its content is indented; `None` at the end of the text.
    fn indent(&self) -> Option<usize> {
        (self.content < self.end).then_some(self.content - self.start)
    }

    fn is_blank(&self) -> bool {
        self.content == self.end
    }
}

/// A key, before anything is made of it.
struct Key<'a> {
    text: &'a str,
    style: Style,
    /// Just behind its colon.
    after: usize,
}

struct Reader<'a> {
    block: &'a Block<'a>,
    bytes: &'a [u8],
    /// The line that is being read.
    line: Line,
    texts: &'a mut Texts,
    nodes: usize,
    /// Entries and items of all maps and lists that are open: each takes its own out when it ends.
    entries: Vec<Entry>,
    items: Vec<Node>,
}

impl<'a> Reader<'a> {
    /// Goes to the first line from one on that is neither blank nor a comment.
    fn go_to(&mut self, line: Line) {
        self.line = line;
        while self.line.start < self.bytes.len() && (self.line.is_blank() || self.byte(self.line.content) == b'#') {
            self.line = self.raw_after(self.line);
        }
    }

    fn next_line(&mut self) {
        self.go_to(self.raw_after(self.line));
    }

    /// The line that begins at a byte, whatever is on it.
    fn raw(&self, start: usize, number: usize) -> Line {
        let start = start.min(self.bytes.len());
        let rest = &self.bytes[start..];
        let blanks = rest.iter().take_while(|byte| **byte == b' ').count();
        let end = start + memchr(b'\n', rest).unwrap_or(rest.len());
        Line { number, start, content: (start + blanks).min(end), end }
    }

    /// The line after one, whatever is on it.
    fn raw_after(&self, line: Line) -> Line {
        self.raw(line.end + 1, line.number + 1)
    }

    /// A byte of the text; a line end behind its end.
    fn byte(&self, at: usize) -> u8 {
        self.bytes.get(at).copied().unwrap_or(b'\n')
    }

    fn is_end_or_blank(&self, at: usize) -> bool {
        matches!(self.byte(at), b' ' | b'\n')
    }

    fn is_dash(&self, at: usize) -> bool {
        self.byte(at) == b'-' && self.is_end_or_blank(at + 1)
    }

    /// The first byte from here on that is no blank.
    fn behind_blanks(&self, at: usize) -> usize {
        at + self.bytes.get(at..).unwrap_or_default().iter().take_while(|byte| **byte == b' ').count()
    }

    /// Only ASCII comes before a mark in its line, so that bytes are columns.
    fn mark(&self, at: usize) -> Mark {
        let line = small(self.block.line + self.line.number) + 1;
        Mark { file: 0, line, column: small(at - self.line.start) + 1 }
    }

    fn spend(&mut self) -> Option<()> {
        self.nodes += 1;
        (self.nodes <= self.block.limits.nodes).then_some(())
    }

    fn scalar(&mut self, text: &str, style: Style, mark: Mark) -> Option<Node> {
        self.spend()?;
        Some(Node { value: Value::Scalar(self.texts.share(text), style, None), mark })
    }

    /// The list or map that begins at a byte of this line.
    fn node(&mut self, at: usize, column: usize, depth: usize) -> Option<Node> {
        // One less than the limit, for the values inside.
        if depth >= self.block.limits.depth {
            return None;
        }
        self.spend()?;
        let mark = self.mark(at);
        let value = if self.is_dash(at) { self.list(at, column, depth)? } else { self.map(at, column, depth)? };
        Some(Node { value, mark })
    }

    fn map(&mut self, mut at: usize, column: usize, depth: usize) -> Option<Value> {
        let first = self.entries.len();
        loop {
            let key = self.key(at)?;
            let (style, after) = (key.style, key.after);
            let key = self.scalar(key.text, style, self.mark(at))?;
            let value = self.value(after, column, depth + 1, true)?;
            self.entries.push(Entry { key, value });
            match self.line.indent() {
                Some(indent) if indent == column => at = self.line.content,
                Some(indent) if indent > column => return None,
                _ => break,
            }
        }
        let entries: Vec<Entry> = self.entries.drain(first..).collect();
        is_unique(&entries).then_some(Value::Map(entries))
    }

    fn list(&mut self, mut at: usize, column: usize, depth: usize) -> Option<Value> {
        let first = self.items.len();
        loop {
            let start = self.behind_blanks(at + 1);
            let item = if self.is_dash(start) || self.key(start).is_some() {
                self.node(start, start - self.line.start, depth + 1)?
            } else {
                self.value(at + 1, column, depth + 1, false)?
            };
            self.items.push(item);
            match self.line.indent() {
                Some(indent) if indent == column && self.is_dash(self.line.content) => at = self.line.content,
                Some(indent) if indent > column => return None,
                _ => break,
            }
        }
        Some(Value::List(self.items.drain(first..).collect()))
    }

    /// A key that begins here: a word, or a quoted text without escapes.
    fn key(&self, at: usize) -> Option<Key<'a>> {
        let text: &'a str = self.block.text;
        let quote = self.byte(at);
        let (start, end, style, colon) = if matches!(quote, b'"' | b'\'') {
            let length = self.bytes.get(at + 1..self.line.end)?.iter().position(|byte| *byte == quote)?;
            let inside = text.get(at + 1..at + 1 + length)?;
            if !inside.is_ascii() || inside.contains(['\\', '\t']) {
                return None;
            }
            (at + 1, at + 1 + length, Style::Quoted, at + 2 + length)
        } else {
            let end = self.end_of_word(at)?;
            (at, end, Style::Plain, end)
        };
        let is_key = self.byte(colon) == b':' && self.is_end_or_blank(colon + 1) && end - start <= KEY_BYTES;
        is_key.then_some(Key { text: text.get(start..end)?, style, after: colon + 1 })
    }

    /// Where a word that needs no quotes ends: at a colon that a blank follows, or at what words here do not hold.
    fn end_of_word(&self, at: usize) -> Option<usize> {
        let is_first = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'/' | b'$' | b'(');
        let goes_on = |byte: u8| is_first(byte) || matches!(byte, b'-' | b')' | b'*' | b'@' | b'+' | b'~' | b'=' | b'#');
        if !is_first(self.byte(at)) {
            return None;
        }
        let mut end = at + 1;
        while goes_on(self.byte(end)) || self.byte(end) == b':' && !self.is_end_or_blank(end + 1) {
            end += 1;
        }
        Some(end)
    }

    /// What stands behind a colon or a dash: in the same line, or below it.
    fn value(&mut self, at: usize, column: usize, depth: usize, of_key: bool) -> Option<Node> {
        let start = self.behind_blanks(at);
        match self.byte(start) {
            b'\n' => self.below(at, column, depth, of_key),
            b'#' if start > at => self.below(at, column, depth, of_key),
            b'"' | b'\'' => self.quoted(start, column),
            b'|' | b'>' => self.block_scalar(start, column),
            b'[' | b'{' => self.flow(start),
            _ => self.plain(start, column),
        }
    }

    /// What stands below a key or a dash: something further to the right, a list right below its key, or nothing.
    fn below(&mut self, at: usize, column: usize, depth: usize, of_key: bool) -> Option<Node> {
        let nothing = self.mark(at);
        self.next_line();
        let content = self.line.content;
        match self.line.indent() {
            Some(indent) if indent > column => self.node(content, indent, depth),
            Some(indent) if indent == column && of_key && self.is_dash(content) => self.node(content, indent, depth),
            _ if of_key => self.scalar("", Style::Plain, nothing),
            _ => None,
        }
    }

    /// Ends a value in its line: nothing but a comment may follow.
    fn end_value(&mut self, after: usize) -> Option<()> {
        let rest = self.behind_blanks(after);
        if self.byte(rest) != b'\n' && !(self.byte(rest) == b'#' && rest > after) {
            return None;
        }
        self.next_line();
        Some(())
    }

    /// `{}`, `[]`, or a list of words and quoted texts in one line.
    fn flow(&mut self, at: usize) -> Option<Node> {
        let mark = self.mark(at);
        self.spend()?;
        let close = if self.byte(at) == b'[' { b']' } else { b'}' };
        let first = self.items.len();
        let mut here = self.behind_blanks(at + 1);
        while self.byte(here) != close {
            if close == b'}' {
                return None;
            }
            here = self.flow_item(here)?;
            match self.byte(here) {
                b',' if self.byte(self.behind_blanks(here + 1)) != close => here = self.behind_blanks(here + 1),
                b']' => {}
                _ => return None,
            }
        }
        self.end_value(here + 1)?;
        let items: Vec<Node> = self.items.drain(first..).collect();
        Some(Node { value: if close == b']' { Value::List(items) } else { Value::Map(Vec::new()) }, mark })
    }

    /// Reads an item, and gives the place behind it and the blanks that follow it.
    fn flow_item(&mut self, at: usize) -> Option<usize> {
        let quote = self.byte(at);
        let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'/' | b'-');
        let (start, style) = if matches!(quote, b'"' | b'\'') { (at + 1, Style::Quoted) } else { (at, Style::Plain) };
        let rest = self.bytes.get(start..self.line.end)?;
        let length = match style {
            Style::Quoted => rest.iter().position(|byte| *byte == quote)?,
            _ => rest.iter().position(|byte| !is_word(byte)).filter(|length| *length > 0 && quote != b'-')?,
        };
        let text: &'a str = self.block.text.get(start..start + length)?;
        // A null in flow style is one of its own, see the composer.
        let is_null = style == Style::Plain && text == "null";
        if is_null || !text.is_ascii() || text.contains(['\\', '\t']) {
            return None;
        }
        let item = self.scalar(text, style, self.mark(at))?;
        self.items.push(item);
        let after = start + length + usize::from(style == Style::Quoted);
        // Two single quotes in a row are one, within the text.
        (self.byte(after) != quote || style == Style::Plain).then(|| self.behind_blanks(after))
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse::scan_document;
    use super::*;

    /// Whether the text was read here; if so, as the scanner reads it.
    fn check(text: &str, dialect: Dialect) -> bool {
        let limits = Limits::default();
        let unfinished = !text.ends_with('\n');
        let source = if unfinished { format!("{text}\n") } else { text.to_owned() };
        let block = Block { text: &source, unfinished, line: 3, dialect, limits: &limits, doubles: false };
        let Some((node, nodes)) = block.document(&mut Texts::new(), 5) else { return false };
        let mut counted = 5;
        let scanned = std::panic::catch_unwind(move || (scan_document(block, &mut Texts::new(), &mut counted), counted));
        let (scanned, counted) = scanned.unwrap_or_else(|_| panic!("the scanner gave up on what was read: {text:?}"));
        let scanned = scanned.unwrap_or_else(|error| panic!("the scanner refuses what was read: {text:?}: {error}"));
        assert_eq!(format!("{:?}", Some(node)), format!("{scanned:?}"), "{text:?}");
        assert_eq!(nodes, counted, "{text:?}");
        true
    }

    #[track_caller]
    fn reads(text: &str) {
        assert!(check(text, Dialect::Resource) && check(text, Dialect::Config), "left to the scanner: {text:?}");
    }

    #[track_caller]
    fn leaves(text: &str) {
        assert!(!check(text, Dialect::Resource), "read: {text:?}");
    }

    #[test]
    fn ordinary_manifests_are_read_as_the_scanner_reads_them() {
        reads(
            "# a comment\n\napiVersion: v1 # another\nkind: ConfigMap\nmetadata:\n  name: x\n  labels: {}\ndata:\n  a: \"b\"\n  'c': ''\n",
        );
        reads("---\na:\n- b: 1\n  c:\n  - d\n  # e\n  - - f\n    - g\n-: -x\n".replace("-: -x", "e: -x").as_str());
        reads("a: |\n  x\n\n   y\n \n  z\n\nb: >-\n  x\n  y\n\n   z\n  a\n\nc: |+\n  x\n\nd: >+\n  x\n\n\ne: 1");
        reads("a: x\n  y\n\n  z # end\nb: 'x\n  y\n\n  it''s'\nc: \"x \\\n  \\ y\\n\n  z\\\\\"\n");
        reads("a: [x, 'y', \"z\"]\nb: []\nc:\nd:   # nothing\ne: caf\u{e9} \u{1f600}\nf:g:h: i:j\n");
        reads("- a\n-   b: c\n    d: e\n- 'f'\n-\n  g: h\n");
    }

    #[test]
    fn what_is_not_block_style_is_left_to_the_scanner() {
        for text in
            ["{a: b}\n", "a: &x b\n", "a: !!str b\n", "? a\n: b\n", "a: b: c\n", "a:\tb\n", "a: |2\n  x\n", "a: \"\\u0041\"\n", "a\n"]
        {
            leaves(text);
        }
        leaves("a: [b, null]\n");
        for text in
            ["a: 1\na: 2\n", "a: 1\n b: 2\n", "  a: 1\nb: 2\n", "a: 'x\n", "a: \u{85}\n", "a: \u{feff}\n", "", "# nothing\n", "a: |\n  x"]
        {
            leaves(text);
        }
    }

    /// What the texts of the next test are made of.
    const PIECES: [&str; 44] = [
        "a:",
        " b",
        "\n",
        "\n",
        "\n  ",
        "\n    ",
        "- ",
        "-",
        ": ",
        " #c",
        "'",
        "\"",
        "\\",
        "|\n",
        ">-\n",
        "|+\n",
        "[",
        "]",
        "{}",
        ", ",
        "\t",
        "&a ",
        "*a",
        "---\n",
        "...\n",
        "\n\n",
        "''",
        "\\n",
        "\\\n",
        "k: v\n",
        "k:\n",
        "- k: v\n",
        "  k: v\n",
        "\u{e9}",
        "\"q\": ",
        ":x",
        "[a, 'b']",
        "0",
        "~",
        "<<: ",
        "x y",
        ">\n  x\n\n   y\n  z\n",
        "\"x\n  y\"\n",
        "x\n   y\n",
    ];

    /// A generator of numbers below what is asked for.
    fn random(seed: &mut u64, below: usize) -> usize {
        *seed ^= *seed << 13;
        *seed ^= *seed >> 7;
        *seed ^= *seed << 17;
        usize::try_from(*seed >> 33).unwrap() % below
    }

    /// How many of so many texts are read; what is read is read right.
    fn count(texts: usize, mut seed: u64, text: impl Fn(&mut u64) -> String) -> usize {
        let mut is_read = |_: &usize| {
            let text = text(&mut seed);
            check(&text, if random(&mut seed, 2) == 0 { Dialect::Config } else { Dialect::Resource })
        };
        (0..texts).filter(|text| is_read(text)).count()
    }

    /// Pieces put together at random: most are wrong somewhere, and what is read must not be.
    #[test]
    fn whatever_is_read_is_read_right() {
        let pieces = |seed: &mut u64| (0..1 + random(seed, 9)).map(|_| PIECES[random(seed, PIECES.len())]).collect();
        let read = count(60_000, 0x9e37_79b9_7f4a_7c15, pieces);
        assert!(read > 1_000, "only {read} were read");
    }

    /// Manifests in all the ways that are read here.
    const MANIFEST: &str = "# First.\napiVersion: v1\nkind: List # Behind.\nmetadata:\n  labels: {}\n  finalizers: [a/b, 'c d', \"e\"]\nitems:\n- kind: Pod\n  \
        spec:\n    containers:\n    - name: web\n      args:\n      - --x=y:z\n      - 'it''s'\n      - \"a\\tb \\\n        c\"\n    -   name: log\n        \
        text: |\n          one\n\n            two\n          #three\n\n  data:\n    folded: >-\n      a\n      b\n\n       c\n      d\n    plain: some\n      \
        words\n\n      more # end\n    none:\n    kept: |+\n      x\n\n- - 5\n  - ~\n  -\n    k: \u{e9}\u{1f600} x\n";

    /// What a mutation puts in.
    const SIGNS: [&str; 31] = [
        " ", "  ", "\n", "\t", ":", ": ", "-", "- ", "#", " #", "'", "\"", "\\", "|", ">", "[", "]", "{", "}", ",", "&", "*", "!", "?",
        "%", "@", "---\n", "...\n", "\u{a0}", "\u{feff}", "\u{2028}",
    ];

    fn mutated(seed: &mut u64) -> String {
        let mut lines: Vec<String> = MANIFEST.split_inclusive('\n').map(str::to_owned).collect();
        let first = random(seed, lines.len());
        lines = lines.split_off(if random(seed, 2) == 0 { 0 } else { first });
        lines.truncate(1 + random(seed, lines.len()));
        for _ in 0..random(seed, 5) {
            let at = random(seed, lines.len());
            let line = lines[at].clone();
            let places: Vec<usize> = line.char_indices().map(|(at, _)| at).collect();
            let place = places.get(random(seed, places.len().max(1))).copied().unwrap_or(0);
            match random(seed, 6) {
                0 => lines[at].insert_str(place, SIGNS[random(seed, SIGNS.len())]),
                1 => lines[at].insert_str(line.len() - line.trim_start().len(), SIGNS[random(seed, SIGNS.len())]),
                2 if !line.is_empty() => drop(lines[at].remove(place)),
                3 => lines[at].insert_str(0, &" ".repeat(1 + random(seed, 4))),
                4 => lines[at] = line.strip_prefix("  ").unwrap_or(&line).to_owned(),
                _ => lines.insert(random(seed, at + 1), line),
            }
        }
        lines.concat()
    }

    #[test]
    fn mutated_manifests_are_read_right_or_left() {
        let read = count(60_000, 0x2545_f491_4f6c_dd1d, mutated);
        assert!(read > 10_000, "only {read} were read");
    }
}
