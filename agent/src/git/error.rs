//! What can go wrong between us and a repository, in words for the person who can put it right.
//!
//! Every variant says what, on what and why; [`Error::hint`] says what to do. URLs in it are already free of credentials.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::{CommitId, Reference};
use crate::secret::SafeUrl;

/// Why a repository could not be read.
#[derive(Clone, Debug, PartialEq)]
pub enum Error {
    /// The URL, the reference or the credentials cannot be used as they are written.
    Setting {
        /// Which of them, with what is written.
        what: String,
        /// Why not.
        why: String,
        /// What to write instead.
        hint: &'static str,
    },
    /// The path is not a Git repository.
    NotARepository {
        /// The path.
        path: PathBuf,
        /// What stands in the way.
        why: String,
    },
    /// The host has no address.
    UnknownHost {
        /// The repository.
        url: SafeUrl,
        /// What the resolver said.
        why: String,
    },
    /// The host has an address, but no connection came about, or it broke.
    Unreachable {
        /// The repository.
        url: SafeUrl,
        /// What the network said.
        why: String,
    },
    /// A network step took longer than it may.
    Deadline {
        /// The repository.
        url: SafeUrl,
        /// The step.
        step: &'static str,
        /// How long it may take.
        limit: Duration,
    },
    /// The server sends more than it may.
    TooLarge {
        /// The repository.
        url: SafeUrl,
        /// What is too large.
        what: &'static str,
        /// How much is allowed: bytes, or objects, as `what` says.
        limit: u64,
    },
    /// Whoever answered could not prove to be the host (TLS certificate, SSH host key).
    Identity {
        /// The repository.
        url: SafeUrl,
        /// What is wrong with the proof.
        why: String,
        /// What to do.
        hint: &'static str,
    },
    /// The server wants a credential, or refuses ours.
    Credential {
        /// The repository.
        url: SafeUrl,
        /// What it answered.
        answer: String,
        /// Whether we sent a credential.
        sent: bool,
    },
    /// The server knows no such repository, or does not show it to us.
    NotFound {
        /// The repository.
        url: SafeUrl,
        /// Whether we sent a credential.
        sent: bool,
    },
    /// The server sends us to a place where we do not go.
    Redirect {
        /// The repository.
        url: SafeUrl,
        /// Where it sends us.
        to: SafeUrl,
        /// Why we do not go there.
        why: &'static str,
    },
    /// The server cannot answer now.
    Busy {
        /// The repository.
        url: SafeUrl,
        /// What it answered.
        answer: String,
        /// When it wants to be asked again.
        retry_after: Option<Duration>,
    },
    /// The answer is not Git's protocol version 2.
    Protocol {
        /// The repository.
        url: SafeUrl,
        /// What is wrong with the answer.
        why: String,
    },
    /// The repository names its objects by SHA-256.
    Sha256 {
        /// The repository.
        url: SafeUrl,
    },
    /// Git on the other side reports an error of its own.
    Remote {
        /// The repository.
        url: SafeUrl,
        /// What it says.
        message: String,
    },
    /// The pack that arrived is cut off or damaged.
    Pack {
        /// The repository.
        url: SafeUrl,
        /// What is wrong with it.
        why: String,
    },
    /// There is neither a branch nor a tag.
    Empty {
        /// The repository.
        url: SafeUrl,
    },
    /// There is no such branch or tag.
    NoReference {
        /// The repository.
        url: SafeUrl,
        /// What was looked for.
        reference: Reference,
        /// What is there and looks most like it.
        nearest: Option<Reference>,
    },
    /// The branch or tag was there before.
    Deleted {
        /// The repository.
        url: SafeUrl,
        /// What was looked for.
        reference: Reference,
        /// Where it stood last.
        last: CommitId,
    },
    /// There is no such commit.
    NoCommit {
        /// The repository.
        url: SafeUrl,
        /// What was looked for.
        commit: CommitId,
    },
    /// Our own cache on disk cannot be written or read.
    Store {
        /// The directory.
        path: PathBuf,
        /// What the disk or the object database said.
        why: String,
    },
    /// The local repository is damaged.
    Damaged {
        /// The repository.
        path: PathBuf,
        /// What was found.
        why: String,
    },
}

impl Error {
    /// Whether asking again later, with nothing changed, may go well.
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::UnknownHost { .. }
                | Self::Unreachable { .. }
                | Self::Deadline { .. }
                | Self::Busy { .. }
                | Self::Remote { .. }
                | Self::Pack { .. }
                | Self::Store { .. }
        )
    }

    /// Whether other credentials may help: they may have been rotated since they were read.
    pub fn is_refused(&self) -> bool {
        matches!(self, Self::Credential { .. } | Self::NotFound { .. })
    }

    /// How long the server asked to be left alone.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Busy { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// One word for metrics and event reasons.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Setting { .. } => "InvalidSource",
            Self::NotARepository { .. } => "NotARepository",
            Self::UnknownHost { .. } => "UnknownHost",
            Self::Unreachable { .. } => "Unreachable",
            Self::Deadline { .. } => "Deadline",
            Self::TooLarge { .. } => "TooLarge",
            Self::Identity { .. } => "HostNotTrusted",
            Self::Credential { .. } => "CredentialRefused",
            Self::NotFound { .. } => "RepositoryNotFound",
            Self::Redirect { .. } => "RedirectRefused",
            Self::Busy { .. } => "ServerBusy",
            Self::Protocol { .. } => "ProtocolUnknown",
            Self::Sha256 { .. } => "Sha256Unsupported",
            Self::Remote { .. } => "RemoteError",
            Self::Pack { .. } => "PackDamaged",
            Self::Empty { .. } => "RepositoryEmpty",
            Self::NoReference { .. } => "ReferenceNotFound",
            Self::Deleted { .. } => "ReferenceDeleted",
            Self::NoCommit { .. } => "CommitNotFound",
            Self::Store { .. } => "StoreFailed",
            Self::Damaged { .. } => "RepositoryDamaged",
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Setting { hint, .. } | Self::Identity { hint, .. } => (*hint).to_owned(),
            Self::NotARepository { .. } => "give the directory that `git init` or `git clone` made".to_owned(),
            Self::UnknownHost { .. } => "check the host name in the URL, and DNS where the agent runs".to_owned(),
            Self::Unreachable { .. } => "check that the host is up, its port, and the network policies between; it is tried again".to_owned(),
            Self::Deadline { .. } => "the server or the network is too slow; it is tried again".to_owned(),
            Self::TooLarge { .. } => "keep large files out of the repository, or raise the limit".to_owned(),
            Self::Credential { sent, .. } => credential_hint(*sent).to_owned(),
            Self::NotFound { sent: true, .. } => "check the path in the URL, and that the credential may read this repository".to_owned(),
            Self::NotFound { sent: false, .. } => {
                "check the path in the URL; a private repository needs a Secret, named in `spec.secretRef`".to_owned()
            }
            Self::Redirect { to, .. } => format!("if it is meant, write {to} as the URL"),
            Self::Busy { .. } => "it is tried again".to_owned(),
            Self::Protocol { .. } => {
                "give the URL that `git clone` takes; the server must speak Git protocol version 2 (for ssh: `AcceptEnv GIT_PROTOCOL` in its sshd_config)".to_owned()
            }
            Self::Sha256 { .. } => "use a repository made with `git init --object-format=sha1`".to_owned(),
            Self::Remote { .. } | Self::Pack { .. } => "look at the server's log if it stays so; it is tried again".to_owned(),
            Self::Empty { .. } => "push a first commit".to_owned(),
            Self::NoReference { nearest: Some(nearest), .. } => format!("did you mean {nearest:#}?"),
            Self::NoReference { nearest: None, .. } => "push it, or correct `spec.reference`".to_owned(),
            Self::Deleted { last, .. } => format!("push it again (it stood at {}), or follow another one; what runs stays as it is", last.short()),
            Self::NoCommit { .. } => "check the 40 digits; the commit must be reachable from a branch or tag of this repository".to_owned(),
            Self::Store { .. } => "check that the directory is writable and the disk is not full; it is tried again".to_owned(),
            Self::Damaged { .. } => "run `git fsck` there".to_owned(),
        }
    }
}

fn credential_hint(sent: bool) -> &'static str {
    if sent {
        "check that the token in the Secret has not expired and may read this repository; a changed Secret is read at once"
    } else {
        "name a Secret with a `token`, or `username` and `password` (ssh: `identity`), in `spec.secretRef`; or check the path: forges answer so for repositories that do not exist, too"
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Setting { what, why, .. } => write!(f, "{what}: {why}"),
            Self::NotARepository { path, why } => write!(f, "{} is not a Git repository: {why}", path.display()),
            Self::UnknownHost { url, why } => write!(f, "{url}: the host is unknown: {why}"),
            Self::Unreachable { url, why } => write!(f, "{url}: no connection: {why}"),
            Self::Deadline { url, step, limit } => write!(f, "{url}: {step} took longer than {limit:?}"),
            Self::TooLarge { url, what, limit } => write!(f, "{url}: the server sends {what}, more than the {limit} allowed"),
            Self::Identity { url, why, .. } => write!(f, "{url}: the host is not trusted: {why}"),
            Self::Credential { url, answer, sent: true } => write!(f, "{url}: the credential was refused ({answer})"),
            Self::Credential { url, answer, sent: false } => write!(f, "{url}: the server wants a credential and there is none ({answer})"),
            Self::NotFound { url, .. } => write!(f, "{url}: the server knows no such repository"),
            Self::Redirect { url, to, why } => write!(f, "{url}: the server redirects to {to}, {why}"),
            Self::Busy { url, answer, .. } => write!(f, "{url}: the server cannot answer now ({answer})"),
            Self::Protocol { url, why } => write!(f, "{url}: this is no Git server that we can talk to: {why}"),
            Self::Sha256 { url } => write!(f, "{url}: the repository names its objects by SHA-256, which is not supported"),
            Self::Remote { url, message } => write!(f, "{url}: the server reports: {message}"),
            Self::Pack { url, why } => write!(f, "{url}: the objects that arrived are cut off or damaged: {why}"),
            Self::Empty { url } => write!(f, "{url}: the repository is empty"),
            Self::NoReference { url, reference, .. } => write!(f, "{url}: there is no {reference:#}"),
            Self::Deleted { url, reference, .. } => write!(f, "{url}: the {reference:#} was deleted"),
            Self::NoCommit { url, commit } => write!(f, "{url}: there is no commit {commit}"),
            Self::Store { path, why } => write!(f, "the cache at {}: {why}", path.display()),
            Self::Damaged { path, why } => write!(f, "the repository at {} is damaged: {why}", path.display()),
        }
    }
}

impl std::error::Error for Error {}
