//! Whether a remote base may be brought: who is asked for it, and whether it will be tomorrow what it is today.
//!
//! Pure: what a name stands for has been asked by whoever calls.

use overlays::diagnostic::Code;
use overlays::{Error, Errors, Remote, Stage};

use super::ROUNDS;
use crate::git::{self, CommitId, Named, Server};

/// Who may be asked for remote bases.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Permit {
    /// Nobody. The hint says how to change that.
    #[default]
    Nobody,
    /// These hosts, as the Sync lists them.
    Hosts(Vec<String>),
    /// These hosts, as the command line lists them: whoever runs it vouches with what he may read himself.
    Person(Vec<String>),
    /// Everybody, and this disk: for a person who trusts what he renders.
    Anybody,
}

/// The host that a command line allows all with.
pub const ANY: &str = "*";

impl Permit {
    /// What a person allows, as `github.com`, or `*`.
    pub fn of_person(hosts: &[String]) -> Self {
        if hosts.iter().any(|host| host == ANY) { Self::Anybody } else { Self::Person(hosts.to_vec()) }
    }

    /// Whether a person is there whose own keys may be used.
    pub fn is_personal(&self) -> bool {
        matches!(self, Self::Person(_) | Self::Anybody)
    }

    /// Whether a remote base may be asked for at `server`, which is none for one on this disk.
    ///
    /// # Errors
    /// Why not, at the place that names the base.
    pub fn allows(&self, remote: &Remote, server: Option<&Server>) -> Result<(), Error> {
        if *self == Self::Nobody {
            let message = format!("the remote base {remote} is missing, for rendering reads no network");
            let host = server.map_or_else(|| "a host".to_owned(), |server| format!("`{server}`"));
            let hint = format!(
                "bring it with `--allow-remote` (the agent: list {host} in `spec.remoteBases.hosts` of the Sync), or vendor it into the repository"
            );
            return Err(refused(remote, message, hint));
        }
        if remote.is_page {
            let message = format!("{remote} is a file behind a web server, which may be another one tomorrow");
            return Err(refused(
                remote,
                message,
                "vendor it into the repository, or name it in its repository, as `https://git.example/OWNER/REPO//PATH?ref=COMMIT`",
            ));
        }
        let listed = |hosts: &[String]| server.is_some_and(|server| hosts.iter().any(|host| server.is_named(host)));
        let is_listed = match self {
            Self::Nobody => false,
            Self::Hosts(hosts) | Self::Person(hosts) => listed(hosts),
            Self::Anybody => true,
        };
        match (is_listed, server) {
            (true, _) => Ok(()),
            (false, Some(server)) => {
                let message = format!("the remote base {remote} is at `{server}`, which is no host that bases may come from");
                let list = if self.is_personal() { "`--allow-remote`" } else { "`spec.remoteBases.hosts` of the Sync" };
                Err(refused(remote, message, format!("add `{server}` to {list}, or vendor the base into the repository")))
            }
            (false, None) => {
                let message = format!("the remote base {remote} is on the disk of whoever renders");
                Err(refused(remote, message, "give a URL that is the same everywhere, or vendor the base into the repository"))
            }
        }
    }
}

/// What stands for a remote base's reference before anybody is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Written<'a> {
    /// A commit: nobody needs to be asked.
    Commit(CommitId),
    /// A tag or a branch.
    Name(&'a str),
    /// Nothing: the default branch.
    Nothing,
}

/// Reads the reference of a remote base.
pub fn written(remote: &Remote) -> Written<'_> {
    match &remote.reference {
        None => Written::Nothing,
        Some(text) => CommitId::parse(text).map_or(Written::Name(text), Written::Commit),
    }
}

/// The commit of a name that stays where it is.
///
/// # Errors
/// It is a branch; then where that stands now is told.
pub fn tag(remote: &Remote, name: &str, named: Named) -> Result<CommitId, Error> {
    match named {
        Named::Tag(commit) => Ok(commit),
        Named::Branch(commit) => {
            let hint = format!("write {commit} in its place, where it stands now, or a tag");
            Err(moves(remote, &format!("the branch `{name}`"), hint))
        }
    }
}

/// A base without a reference follows the default branch, which stands at a commit now.
pub fn without_reference(remote: &Remote, now: CommitId) -> Error {
    moves(remote, "the default branch", format!("write `?ref={now}` after it, where that stands now, or a tag"))
}

/// A base that moves is refused: what is rendered tomorrow must be what was rendered today.
fn moves(remote: &Remote, what: &str, hint: String) -> Error {
    refused(remote, format!("the remote base {remote} follows {what}: what is rendered tomorrow must be what was rendered today"), hint)
}

/// A base that could not be fetched.
pub fn unfetched(remote: &Remote, error: &git::Error, permit: &Permit) -> Error {
    let hint = match error {
        git::Error::NoReference { nearest: Some(nearest), .. } => format!("did you mean `{}`?", nearest.name()),
        git::Error::NoReference { .. } | git::Error::Empty { .. } => {
            "the reference must be a tag, or a commit with all its 40 digits".to_owned()
        }
        git::Error::Credential { sent: false, .. } | git::Error::NotFound { sent: false, .. } => match permit.is_personal() {
            true => "check the URL; a private repository can be had by ssh, as `git@git.example:OWNER/REPO//PATH?ref=COMMIT`".to_owned(),
            false => "check the URL; the Sync's credentials are for the host of `spec.url` alone, so that at others only public repositories can be had".to_owned(),
        },
        other => other.hint(),
    };
    refused(remote, format!("the remote base {remote} could not be brought: {error}"), hint)
}

/// What is wrong with a tree of which something is missing still after many rounds.
pub fn told_too_deep(errors: Errors) -> Errors {
    let deep: Vec<Error> = errors.missing().into_iter().map(too_deep).collect();
    told(errors, deep)
}

/// A base that is asked for by one that was asked for by one, and so on.
fn too_deep(remote: &Remote) -> Error {
    let message = format!("the remote base {remote} is asked for by one that is asked for by one, and so on, more than {ROUNDS} deep");
    refused(remote, message, "vendor some of them into the repository")
}

/// What is wrong with a tree: in place of what is missing why that is so, where it is known.
pub fn told(errors: Errors, unbrought: impl IntoIterator<Item = Error>) -> Errors {
    let others = errors.0.into_iter().filter(|error| !matches!(error, Error::Missing(_)));
    Errors(unbrought.into_iter().chain(others).collect())
}

/// A problem with a remote base, at the place that names it.
pub fn refused(remote: &Remote, message: impl Into<String>, hint: impl Into<String>) -> Error {
    let error = Error::new(Stage::Layer, message).code_is(Code::RemoteBase).hint(hint);
    match &remote.place {
        Some(place) => error.at(place.origin.clone()).with_line(place.line_text.clone()),
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::SafeUrl;

    fn remote(text: &str) -> Remote {
        Remote::parse(text).unwrap().unwrap()
    }

    fn said(permit: &Permit, text: &str) -> String {
        let remote = remote(text);
        let server = Server::of(&SafeUrl::new(&remote.url)).unwrap();
        permit
            .allows(&remote, server.as_ref())
            .map_or_else(|error| format!("{error}; {}", error.advice().unwrap_or_default()), |()| "allowed".to_owned())
    }

    #[test]
    fn only_listed_hosts_are_asked_and_the_disk_only_for_a_person() {
        let check = |permit: &Permit, text: &str, expect: &str| {
            let said = said(permit, text);
            assert!(said.contains(expect), "{permit:?} {text}: {said}");
        };
        let sync = Permit::Hosts(vec!["git.example".to_owned()]);
        check(&sync, "https://git.example/a/b?ref=v1", "allowed");
        check(&sync, "https://evil.example/a/b?ref=v1", "add `evil.example` to `spec.remoteBases.hosts` of the Sync");
        check(&sync, "http://git.example/a/b?ref=v1", "add `http://git.example` to");
        check(&sync, "file:///etc?ref=v1", "on the disk of whoever renders");
        check(&sync, "https://git.example/install.yaml", "a file behind a web server");
        check(
            &Permit::Nobody,
            "https://git.example/a/b?ref=v1",
            "`--allow-remote` (the agent: list `git.example` in `spec.remoteBases.hosts`",
        );
        check(&Permit::of_person(&["git.example".to_owned()]), "https://evil.example/a/b?ref=v1", "add `evil.example` to `--allow-remote`");
        check(&Permit::of_person(&["*".to_owned()]), "file:///srv/a?ref=v1", "allowed");
    }

    #[test]
    fn a_branch_is_told_with_the_commit_to_write_instead() {
        let (base, now) = (remote("https://h/o/r//d?ref=main"), CommitId([0x11; 20]));
        assert_eq!(tag(&base, "main", Named::Tag(now)), Ok(now));
        let error = tag(&base, "main", Named::Branch(now)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the remote base https://h/o/r//d at main follows the branch `main`: what is rendered tomorrow must be what was rendered today"
        );
        assert_eq!(error.advice(), Some(&*format!("write {now} in its place, where it stands now, or a tag")));
    }

    #[test]
    fn a_commit_needs_no_question() {
        let digits = "0123456789012345678901234567890123456789";
        assert!(matches!(written(&remote(&format!("https://h/o/r?ref={digits}"))), Written::Commit(_)));
        assert_eq!(written(&remote("https://h/o/r?ref=0123456")), Written::Name("0123456"));
        assert_eq!(written(&remote("https://h/o/r")), Written::Nothing);
    }
}
