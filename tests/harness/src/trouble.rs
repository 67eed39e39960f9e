//! What went wrong, in words for the person who reads a failed test. Knows nothing of what failed.

use std::fmt;

/// The result of everything here; a test returns it, so that `?` ends it with the words.
pub type Result<T = ()> = std::result::Result<T, Trouble>;

/// What went wrong. Its `Debug`, which a failed test prints, is the text as it is, lines and all.
///
/// It is not an `Error`, so that every error turns into it by `?`.
pub struct Trouble(String);

impl Trouble {
    /// Says what went wrong.
    pub fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }

    /// The same trouble, with what was being done put before it.
    #[must_use]
    pub fn while_doing(self, what: impl fmt::Display) -> Self {
        Self(format!("{what}: {}", self.0))
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<E: std::error::Error> From<E> for Trouble {
    fn from(error: E) -> Self {
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            let words = cause.to_string();
            // Many errors already say what their source says.
            if !text.contains(&words) {
                text = format!("{text}: {words}");
            }
            source = cause.source();
        }
        Self(text)
    }
}
