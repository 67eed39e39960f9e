//! What is wrong with a text that should be YAML, and where.

use std::fmt;

/// Why a text is not the YAML that it should be. The name of the file is known to the caller only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    message: String,
    line: u32,
    column: u32,
    line_text: String,
    hint: Option<&'static str>,
}

impl Error {
    /// An error at a line and column, both from 1.
    pub fn new(message: impl Into<String>, line: u32, column: u32) -> Self {
        Self { message: message.into(), line, column, line_text: String::new(), hint: None }
    }

    /// Says what to do.
    #[must_use]
    pub fn with_hint(mut self, hint: &'static str) -> Self {
        self.hint = Some(hint);
        self
    }

    /// What is wrong.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The line, from 1; 0 where the text as a whole is meant, or the node stands in no file.
    pub fn line(&self) -> u32 {
        self.line
    }

    /// The column, from 1; 0 where the line as a whole is meant.
    pub fn column(&self) -> u32 {
        self.column
    }

    /// The text of the line; of a file that seems to hold a Secret only the key.
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
        match self.line {
            0 => f.write_str(&self.message),
            line => write!(f, "line {line}: {}", self.message),
        }
    }
}

impl std::error::Error for Error {}
