//! Values that must not be printed.
//!
//! Whatever is shown to people (logs, events, statuses, errors) is made with `Display` and `Debug`; here both print `****`,
//! so that a leak needs a call to [`Secret::reveal`], which a reviewer can search for.

use std::fmt;

/// A password, token or key.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text that must not be printed.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one place that sends it.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("****")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("****")
    }
}

/// A URL whose user name and password are never printed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct SafeUrl(String);

impl SafeUrl {
    /// Wraps a URL, which may hold credentials (`https://user:token@host/path`).
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The whole URL, for the one place that connects.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// The part before `://`, in lower case; empty for a path or an scp-like address.
    pub fn scheme(&self) -> String {
        self.0.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase()).unwrap_or_default()
    }
}

impl fmt::Display for SafeUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((scheme, rest)) = self.0.split_once("://") else { return f.write_str(&self.0) };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        match rest[..end].rsplit_once('@') {
            Some((_, host)) => write!(f, "{scheme}://****@{host}{}", &rest[end..]),
            None => f.write_str(&self.0),
        }
    }
}

impl fmt::Debug for SafeUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_never_printed() {
        let check = |url: &str, shown: &str| assert_eq!(SafeUrl::new(url).to_string(), shown);
        check("https://me:t0k@en@git.example/a.git", "https://****@git.example/a.git");
        check("https://git.example/a@b.git", "https://git.example/a@b.git");
        check("git@git.example:a.git", "git@git.example:a.git");
        check("/srv/git/a.git", "/srv/git/a.git");
        assert_eq!(format!("{:?} {}", Secret::new("s3cret"), Secret::new("s3cret")), "**** ****");
    }
}
