//! How answers are printed for people: colour on a terminal, and notes on places by whoever knows more of them.
//!
//! It must not know what is printed.

use crate::object::Origin;

/// How to print.
pub struct Look<'a> {
    /// Whether the reader sees colour.
    pub colour: bool,
    /// What else is known of a place in a file: the layer that it belongs to, the commit that wrote it.
    pub note: &'a dyn Fn(&Origin) -> Option<String>,
}

/// What a piece of text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Paint {
    Title,
    Added,
    Removed,
    Changed,
    Quiet,
}

impl Look<'_> {
    /// No colour, no notes.
    pub fn plain() -> Look<'static> {
        Look { colour: false, note: &|_| None }
    }

    pub(crate) fn paint(&self, paint: Paint, text: &str) -> String {
        let code = match paint {
            Paint::Title => 1,
            Paint::Added => 32,
            Paint::Removed => 31,
            Paint::Changed => 33,
            Paint::Quiet => 2,
        };
        if self.colour { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    /// A place with what is known of it.
    pub(crate) fn place(&self, origin: &Origin) -> String {
        let place = place(origin);
        let text = match (self.note)(origin) {
            Some(note) => format!("{place} ({note})"),
            None => place,
        };
        self.paint(Paint::Quiet, &text)
    }
}

/// A place as editors and terminals make a link of it.
pub(crate) fn place(origin: &Origin) -> String {
    match (origin.line, origin.column) {
        (0, _) => origin.file.to_string(),
        (line, 0) => format!("{}:{line}", origin.file),
        (line, column) => format!("{}:{line}:{column}", origin.file),
    }
}
