//! Says on a commit what came of it, where people look: on the forge.
//!
//! It carries out what [`crate::ledger`] decides and knows neither syncs nor clusters. A forge is one implementation of [`Forge`]; what each answer asks
//! for is decided by pure functions over status and body, so that it can be tested without a forge.

mod address;
mod gitea;
mod http;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::api::ForgeSpec;
use crate::ledger::Then;
use crate::report::{CommitState, Verdict, redact};
use crate::secret::{SafeUrl, Secret};

pub use address::{Address, locate};
pub use gitea::Gitea;

/// A status as a forge keeps it: one a commit and context, at least to those who look.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommitStatus {
    /// Who says it: `plimsoll/fra-1`.
    pub context: String,
    /// The word.
    pub state: CommitState,
    /// The line beside it.
    pub description: String,
    /// Where the line leads to.
    pub target_url: Option<String>,
}

impl CommitStatus {
    /// What the ledger hands out, without a link.
    pub fn new(context: &str, verdict: &Verdict) -> Self {
        Self { context: context.to_owned(), state: verdict.state, description: verdict.description.clone(), target_url: None }
    }
}

/// A forge, as far as commit statuses go, for one repository.
pub trait Forge: fmt::Debug + Send + Sync {
    /// Says `status` on `commit` (hexadecimal). Forges append: whoever calls has checked that it is news.
    ///
    /// # Errors
    /// See [`Error`]; [`Error::then`] says what to do about it.
    fn post<'a>(&'a self, commit: &'a str, status: &'a CommitStatus) -> BoxFuture<'a, Result<(), Error>>;

    /// The latest status of each context on `commit`.
    ///
    /// # Errors
    /// As [`Forge::post`].
    fn list<'a>(&'a self, commit: &'a str) -> BoxFuture<'a, Result<Vec<CommitStatus>, Error>>;
}

/// What a forge lets us in with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// An access token.
    Token(Secret),
    /// A user name and a password, or a token in its place.
    Password {
        /// The user name.
        username: String,
        /// The password.
        password: Secret,
    },
}

/// How to get in. Without a credential, that of the repository's URL is used, if it has one.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// What to show.
    pub credential: Option<Credential>,
    /// Certificates, in PEM, to trust besides those of the system.
    pub ca: Option<String>,
}

/// Whether there is someone to tell.
#[derive(Clone, Debug)]
pub enum Found {
    /// A forge that takes commit statuses.
    Forge(Arc<dyn Forge>),
    /// Nobody to tell, and why, in words.
    Nobody(String),
}

/// Finds the forge of the repository at `url`. Without a type in `spec` the server is asked once, by `GET /api/v1/version`.
///
/// # Errors
/// The address or `spec` makes no sense, or the server can't be asked; see [`Error::then`].
pub async fn of(url: &SafeUrl, spec: Option<&ForgeSpec>, access: &Access) -> Result<Found, Error> {
    let kind = spec.and_then(|spec| spec.kind.as_deref()).map(str::to_ascii_lowercase);
    match kind.as_deref() {
        Some("none") => return Ok(Found::Nobody("spec.forge.type is `none`: nothing is said on commits".to_owned())),
        None | Some("gitea" | "forgejo") => {}
        Some(other) => {
            return Err(Error::Address(format!("spec.forge.type `{other}` is not known; it may be `gitea`, `forgejo` or `none`")));
        }
    }
    let Some(address) = locate(url, spec.and_then(|spec| spec.url.as_deref()))? else {
        return Ok(Found::Nobody(format!("{url} is a local repository: there is no forge to tell")));
    };
    let credential = access.credential.clone().or_else(|| address.credential.clone());
    let gitea = Gitea::new(address, credential, access.ca.as_deref())?;
    if kind.is_none() && !gitea.is_there().await? {
        return Ok(Found::Nobody(format!(
            "{} is neither Gitea nor Forgejo: nothing is said on commits; if it is one of them, set spec.forge.type, and spec.forge.url to its root",
            gitea.root()
        )));
    }
    Ok(Found::Forge(Arc::new(gitea)))
}

/// Why a forge did not take a status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// The repository's URL or `spec.forge` makes no sense.
    Address(String),
    /// It cannot be reached, or is not well.
    Away {
        /// Its root.
        forge: String,
        /// What happened.
        why: String,
    },
    /// It asks for quiet.
    Busy {
        /// Its root.
        forge: String,
        /// For how long.
        after: Option<Duration>,
    },
    /// The token or password is wrong, or has ended.
    CredentialRefused {
        /// Its root.
        forge: String,
    },
    /// The credential may not write statuses there.
    Forbidden {
        /// The repository's page.
        repository: String,
        /// What the forge said.
        said: String,
    },
    /// There is no such repository, or it is hidden from the credential.
    NotFound {
        /// The repository's page.
        repository: String,
        /// Whether a credential was shown.
        authenticated: bool,
    },
    /// The forge doesn't have the commit (any more).
    UnknownCommit {
        /// The repository's page.
        repository: String,
        /// The commit.
        commit: String,
    },
    /// The forge failed by itself; Gitea does so too for a commit that it doesn't have.
    Broken {
        /// Its root.
        forge: String,
        /// The HTTP status.
        status: u16,
        /// What the forge said.
        said: String,
    },
    /// It sends us elsewhere; a credential must not follow.
    Moved {
        /// Its root.
        forge: String,
        /// Where to.
        to: String,
    },
    /// It doesn't accept what we say.
    Rejected {
        /// The repository's page.
        repository: String,
        /// The HTTP status.
        status: u16,
        /// What the forge said.
        said: String,
    },
    /// The answer is not one of this forge: a sign-in page, a proxy's word, too much of it.
    Unreadable {
        /// Its root.
        forge: String,
        /// What is wrong with it.
        why: String,
    },
}

impl Error {
    /// What to do about it.
    pub fn then(&self) -> Then {
        match self {
            Self::Away { .. } => Then::Retry,
            Self::Broken { .. } | Self::Unreadable { .. } => Then::RetryFew,
            Self::Busy { after, .. } => Then::Pause(*after),
            Self::CredentialRefused { .. } => Then::AskForCredential,
            Self::Address(_) | Self::Forbidden { .. } | Self::NotFound { .. } | Self::Moved { .. } | Self::Rejected { .. } => Then::Recheck,
            Self::UnknownCommit { .. } => Then::Drop,
        }
    }

    /// The label of a metric.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Address(_) => "address",
            Self::Away { .. } => "away",
            Self::Busy { .. } => "busy",
            Self::CredentialRefused { .. } => "credential_refused",
            Self::Forbidden { .. } => "forbidden",
            Self::NotFound { .. } => "not_found",
            Self::UnknownCommit { .. } => "unknown_commit",
            Self::Broken { .. } => "broken",
            Self::Moved { .. } => "moved",
            Self::Rejected { .. } => "rejected",
            Self::Unreadable { .. } => "unreadable",
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(why) => f.write_str(why),
            Self::Away { forge, why } => write!(f, "the forge {forge} is away: {why}; what is to be said is kept and tried again"),
            Self::Busy { forge, .. } => write!(f, "the forge {forge} asks for fewer requests; what is to be said waits"),
            Self::CredentialRefused { forge } => {
                write!(
                    f,
                    "the forge {forge} refuses the credential; put a valid `token` into the Secret of spec.forge.secretRef, or of spec.secretRef"
                )
            }
            Self::Forbidden { repository, said } => write!(
                f,
                "the credential may not write commit statuses on {repository}{}; its user needs write access to the code, and a token the scope `write:repository`",
                quoted(said)
            ),
            Self::NotFound { repository, authenticated: true } => {
                write!(
                    f,
                    "{repository} is not there, or hidden from the credential; give its user write access, or correct spec.url and spec.forge.url"
                )
            }
            Self::NotFound { repository, authenticated: false } => {
                write!(f, "{repository} is not there, or shown only to those with a credential; give a `token` by spec.forge.secretRef")
            }
            Self::UnknownCommit { repository, commit } => {
                write!(f, "{repository} has no commit {commit} (any more); nothing can be said on it")
            }
            Self::Broken { forge, status, said } => {
                write!(f, "the forge {forge} failed with HTTP status {status}{}; look into its log", quoted(said))
            }
            Self::Moved { forge, to } => {
                write!(f, "the forge {forge} sends us to {to}, where credentials must not follow; correct spec.url, or set spec.forge.url")
            }
            Self::Rejected { repository, status, said } => {
                write!(f, "{repository} does not accept the commit status: HTTP status {status}{}", quoted(said))
            }
            Self::Unreadable { forge, why } => {
                write!(
                    f,
                    "{forge} does not answer as Gitea or Forgejo would: {why}; is there a proxy or a sign-in page in between? See spec.forge.url"
                )
            }
        }
    }
}

impl std::error::Error for Error {}

fn quoted(said: &str) -> String {
    if said.is_empty() { String::new() } else { format!(" (`{}`)", redact(said)) }
}
