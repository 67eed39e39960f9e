//! What is wrong with a text that should be YAML, and where.

use std::fmt;

use super::{Mark, Node};

/// Why a text is not the YAML that it should be. The name of the file is known to the caller only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    message: String,
    mark: Mark,
    line_text: String,
    hint: Option<&'static str>,
}

impl Error {
    /// An error at a place of a text.
    pub fn new(message: impl Into<String>, mark: Mark) -> Self {
        Self { message: message.into(), mark, line_text: String::new(), hint: None }
    }

    /// An error about a node: its mark says in which file it was written.
    pub fn at_node(message: impl Into<String>, node: &Node) -> Self {
        Self::new(message, node.mark)
    }

    /// Says what to do.
    #[must_use]
    pub fn with_hint(mut self, hint: &'static str) -> Self {
        self.hint = Some(hint);
        self
    }

    /// Adds the text of the line.
    #[must_use]
    pub fn with_line(mut self, text: impl Into<String>) -> Self {
        self.line_text = text.into();
        self
    }

    /// What is wrong.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Where; line 0 means the text as a whole, or a node that stands in no file.
    pub fn mark(&self) -> Mark {
        self.mark
    }

    /// The line, from 1.
    pub fn line(&self) -> u32 {
        self.mark.line
    }

    /// The column, from 1; 0 where the line as a whole is meant.
    pub fn column(&self) -> u32 {
        self.mark.column
    }

    /// The text of the line where the parser failed; of a file that seems to hold a Secret nothing but the key.
    pub fn line_text(&self) -> &str {
        &self.line_text
    }

    /// What to do, where that is known.
    pub fn hint(&self) -> Option<&'static str> {
        self.hint
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.mark.line {
            0 => f.write_str(&self.message),
            line => write!(f, "line {line}: {}", self.message),
        }
    }
}

impl std::error::Error for Error {}
