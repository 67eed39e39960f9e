//! Scalars in block style: over one line or several, plain, in quotes, and as blocks.
//!
//! It must not know what stands around them but how far it is indented.

use super::{Line, Reader};
use crate::yaml::{Dialect, Node, Style};

/// Whether a plain scalar may begin with a byte, given the one that follows.
fn begins_plain(byte: u8, next: u8) -> bool {
    match byte {
        b'-' => !matches!(next, b' ' | b'\n' | b'\t'),
        b'?' | b':' | b',' | b'[' | b']' | b'{' | b'}' | b'#' | b'&' | b'*' | b'!' | b'|' | b'>' | b'\'' | b'"' | b'%' | b'@' | b'`' => {
            false
        }
        _ => byte > b' ',
    }
}

/// How a line of quoted text ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum PartEnd {
    Quote,
    Line,
    /// By a backslash: no blank comes between it and the next one.
    EscapedLine,
}

impl<'a> Reader<'a> {
    /// Text without quotes, over one line or several.
    pub(super) fn plain(&mut self, start: usize, column: usize) -> Option<Node> {
        if !begins_plain(self.byte(start), self.byte(start + 1)) {
            return None;
        }
        let mark = self.mark(start);
        let (end, is_commented) = self.plain_part(start, self.line.end)?;
        let text: &'a str = self.block.text.get(start..end)?;
        let next = self.raw_after(self.line);
        if is_commented || !next.is_blank() && next.indent().is_none_or(|indent| indent <= column) {
            self.go_to(next);
            return self.scalar(text, Style::Plain, mark);
        }
        let folded = self.plain_lines(text, next, column)?;
        self.scalar(folded.as_deref().unwrap_or(text), Style::Plain, mark)
    }

    /// The lines that go on with a plain scalar, folded into it; `None` inside if there are none.
    fn plain_lines(&mut self, text: &str, mut line: Line, column: usize) -> Option<Option<String>> {
        let mut folded: Option<String> = None;
        let mut breaks = 0;
        loop {
            if line.start >= self.bytes.len() {
                break;
            }
            if line.is_blank() {
                breaks += 1;
            } else if line.content - line.start <= column || self.byte(line.content) == b'#' {
                break;
            } else {
                let (end, is_commented) = self.plain_part(line.content, line.end)?;
                let folded = folded.get_or_insert_with(|| text.to_owned());
                fold(folded, breaks);
                folded.push_str(self.block.text.get(line.content..end)?);
                breaks = 0;
                if is_commented {
                    line = self.raw_after(line);
                    break;
                }
            }
            line = self.raw_after(line);
        }
        self.go_to(line);
        Some(folded)
    }

    /// Where the text of a line of a plain scalar ends, and whether a comment follows. `None` if it holds what would end it otherwise.
    fn plain_part(&self, start: usize, line_end: usize) -> Option<(usize, bool)> {
        let line = self.bytes.get(start..line_end)?;
        let (mut end, mut previous) = (0, b' ');
        for (at, byte) in line.iter().enumerate() {
            match byte {
                b' ' => {}
                b'\t' => return None,
                b':' if matches!(line.get(at + 1), None | Some(b' ' | b'\t')) => return None,
                b'#' if previous == b' ' => return Some((start + end, true)),
                _ => end = at + 1,
            }
            previous = *byte;
        }
        Some((start + end, false))
    }

    /// Text in quotes.
    pub(super) fn quoted(&mut self, at: usize, column: usize) -> Option<Node> {
        let (mark, quote) = (self.mark(at), self.byte(at));
        let special = |byte: &u8| *byte == quote || matches!(byte, b'\\' | b'\t');
        let line = self.bytes.get(at + 1..self.line.end)?;
        if let Some(length) = line.iter().position(special)
            && line.get(length) == Some(&quote)
            && line.get(length + 1) != Some(&b'\'')
        {
            let text: &'a str = self.block.text.get(at + 1..at + 1 + length)?;
            self.end_value(at + 2 + length)?;
            return self.scalar(text, Style::Quoted, mark);
        }
        let (text, after) = self.quoted_lines(at, column)?;
        self.end_value(after)?;
        self.scalar(&text, Style::Quoted, mark)
    }

    /// Text in quotes, with escapes or over several lines; gives the place behind it.
    fn quoted_lines(&mut self, at: usize, column: usize) -> Option<(String, usize)> {
        let quote = self.byte(at);
        let (mut text, mut here) = (String::new(), at + 1);
        loop {
            let end;
            (here, end) = self.quoted_part(&mut text, here, quote)?;
            if end == PartEnd::Quote {
                return Some((text, here + 1));
            }
            let mut breaks = 0;
            loop {
                self.line = self.raw_after(self.line);
                if !self.line.is_blank() {
                    break;
                }
                breaks += 1;
                if self.line.start >= self.bytes.len() {
                    return None;
                }
            }
            if self.line.content - self.line.start <= column {
                return None;
            }
            match end {
                PartEnd::Line => fold(&mut text, breaks),
                _ => push_breaks(&mut text, breaks),
            }
            here = self.line.content;
        }
    }

    /// Reads up to the quote at the end, or to the end of the line without the blanks there; gives the place of either.
    fn quoted_part(&self, text: &mut String, start: usize, quote: u8) -> Option<(usize, PartEnd)> {
        let (mut from, mut here) = (start, start);
        loop {
            let byte = self.byte(here);
            let next = self.byte(here + 1);
            match byte {
                b'\n' => {
                    let part = self.block.text.get(from..here)?;
                    text.push_str(part.trim_end_matches(' '));
                    return Some((here, PartEnd::Line));
                }
                b'\t' => return None,
                b'\'' if quote == b'\'' && next == b'\'' => {
                    text.push_str(self.block.text.get(from..=here)?);
                    here += 2;
                    from = here;
                }
                b'\\' if quote == b'"' && next == b'\n' => {
                    text.push_str(self.block.text.get(from..here)?);
                    return Some((here, PartEnd::EscapedLine));
                }
                b'\\' if quote == b'"' => {
                    text.push_str(self.block.text.get(from..here)?);
                    text.push(escaped(next)?);
                    here += 2;
                    from = here;
                }
                _ if byte == quote => {
                    text.push_str(self.block.text.get(from..here)?);
                    return Some((here, PartEnd::Quote));
                }
                _ => here += 1,
            }
        }
    }

    /// A literal or folded block.
    pub(super) fn block_scalar(&mut self, at: usize, column: usize) -> Option<Node> {
        let (mark, is_literal) = (self.mark(at), self.byte(at) == b'|');
        let chomping = self.byte(at + 1);
        let after = at + 1 + usize::from(matches!(chomping, b'+' | b'-'));
        if self.byte(self.behind_blanks(after)) != b'\n' {
            return None;
        }
        let first = self.raw_after(self.line);
        let (indent, line, breaks) = self.indent_of_block(first, column)?;
        let (mut text, breaks, next) = self.block_lines(line, indent, breaks, is_literal)?;
        if next.start >= self.bytes.len() && self.block.unfinished {
            return None;
        }
        if chomping != b'-' {
            text.push('\n');
        }
        if chomping == b'+' {
            push_breaks(&mut text, breaks);
        }
        self.go_to(next);
        let style = if is_literal || self.block.dialect == Dialect::Config { Style::Quoted } else { Style::Folded };
        self.scalar(&text, style, mark)
    }

    /// How far a block is indented, its first line that is not empty, and how many empty ones come before that.
    fn indent_of_block(&self, mut line: Line, column: usize) -> Option<(usize, Line, usize)> {
        let mut breaks = 0;
        while line.start == line.end {
            if line.start >= self.bytes.len() {
                return None;
            }
            line = self.raw_after(line);
            breaks += 1;
        }
        let indent = line.indent()?;
        (indent > column && self.byte(line.content) != b'\t').then_some((indent, line, breaks))
    }

    /// The lines of a block, with how many empty ones there are at its end, and the line that comes after it.
    fn block_lines(&self, mut line: Line, indent: usize, mut breaks: usize, is_literal: bool) -> Option<(String, usize, Line)> {
        let mut text = String::new();
        let (mut is_first, mut was_blank) = (true, false);
        while line.start < self.bytes.len() {
            let blanks = line.content - line.start;
            if line.end - line.start <= indent && line.is_blank() {
                breaks += 1;
            } else if blanks < indent {
                // Where a tab stands for indentation, the scanner says what is wrong.
                return (self.byte(line.content) != b'\t').then_some((text, breaks, line));
            } else {
                let content = self.block.text.get(line.start + indent..line.end)?;
                let is_blank = content.starts_with([' ', '\t']);
                if !is_first && (is_literal || was_blank || is_blank) {
                    text.push('\n');
                } else if !is_first && breaks == 0 {
                    text.push(' ');
                }
                push_breaks(&mut text, breaks);
                text.push_str(content);
                (is_first, was_blank, breaks) = (false, is_blank, 0);
            }
            line = self.raw_after(line);
        }
        Some((text, breaks, line))
    }
}

/// What joins two lines with so many empty ones between them.
fn fold(text: &mut String, empty: usize) {
    if empty == 0 {
        text.push(' ');
    }
    push_breaks(text, empty);
}

fn push_breaks(text: &mut String, count: usize) {
    (0..count).for_each(|_| text.push('\n'));
}

/// What stands for a character after a backslash; `None` for those that are left to the scanner.
fn escaped(byte: u8) -> Option<char> {
    match byte {
        b'"' | b'\\' | b' ' => Some(char::from(byte)),
        b'n' => Some('\n'),
        b't' => Some('\t'),
        b'r' => Some('\r'),
        _ => None,
    }
}
