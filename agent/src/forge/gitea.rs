//! Commit statuses on Gitea and Forgejo, which share this API.
//!
//! It must not know why something is said. Facts, as of Gitea 1.26 and Forgejo 16: a post appends a row and answers 201 with it; the combined status lists
//! the latest of each context, in pages of at most 50; writing needs write access to the code, for tokens the scope `write:repository`; for an unknown
//! commit Gitea answers 500 and Forgejo 404. `warning` and `skipped` are not used: their meaning differs between versions.

use std::fmt;

use futures_util::future::BoxFuture;
use reqwest::{Client, RequestBuilder, Url};
use serde::Deserialize;
use serde_json::json;

use super::http::{self, Answer};
use super::{Address, CommitStatus, Credential, Error, Forge};
use crate::report::CommitState;

/// How many statuses a page of a list has; more than the server allows by default is not given.
const PAGE: usize = 50;
/// How many pages are read at most.
const PAGES: usize = 40;
/// How much of a forge's own words goes into an error, in characters.
const SAID: usize = 200;

/// A repository on a Gitea or Forgejo.
pub struct Gitea {
    client: Client,
    address: Address,
    credential: Option<Credential>,
}

/// What the API answers to a post, and lists.
#[derive(Deserialize)]
struct Row {
    #[serde(default)]
    context: String,
    #[serde(default)]
    status: String,
    #[serde(default)]
    description: String,
    #[serde(default)]
    target_url: String,
}

#[derive(Deserialize)]
struct Combined {
    #[serde(default)]
    statuses: Option<Vec<Row>>,
}

#[derive(Deserialize)]
struct Version {
    version: String,
}

#[derive(Deserialize)]
struct Message {
    message: String,
}

impl Gitea {
    /// A repository at an address that [`super::locate`] has read.
    ///
    /// # Errors
    /// `ca` is no certificate, or no TLS client can be made.
    pub fn new(address: Address, credential: Option<Credential>, ca: Option<&str>) -> Result<Self, Error> {
        let client = http::client(address.root.scheme() == "https", ca)?;
        Ok(Self { client, address, credential })
    }

    /// The root of the forge.
    pub fn root(&self) -> &str {
        self.address.root.as_str().trim_end_matches('/')
    }

    /// Asks whether a Gitea or Forgejo answers at the root: `GET /api/v1/version`. The credential is shown only to a server that asks for one.
    ///
    /// # Errors
    /// Nobody answers there.
    pub async fn is_there(&self) -> Result<bool, Error> {
        let url = self.url(&["version"])?;
        let mut answer = http::send(self.root(), self.client.get(url.clone())).await?;
        if matches!(answer.status, 401 | 403) && self.credential.is_some() {
            answer = http::send(self.root(), self.authorized(self.client.get(url))).await?;
        }
        self.is_version(&answer)
    }

    fn is_version(&self, answer: &Answer) -> Result<bool, Error> {
        match answer.status {
            200 => Ok(serde_json::from_slice::<Version>(&answer.body).is_ok_and(|answer| !answer.version.is_empty())),
            300..=399 | 408 | 429 | 500.. => Err(self.refusal(answer, "")),
            _ => Ok(false),
        }
    }

    async fn post_status(&self, commit: &str, status: &CommitStatus) -> Result<(), Error> {
        let url = self.repository_url(&["statuses", self.checked(commit)?])?;
        let answer =
            http::send(self.root(), self.authorized(self.client.post(url)).header("content-type", "application/json").body(body(status)))
                .await?;
        if !matches!(answer.status, 200 | 201) {
            return Err(self.refusal(&answer, commit));
        }
        match serde_json::from_slice::<Row>(&answer.body) {
            Ok(row) if row.context == status.context && row.status == status.state.as_str() => Ok(()),
            _ => Err(self.unreadable("it does not confirm the status")),
        }
    }

    async fn list_statuses(&self, commit: &str) -> Result<Vec<CommitStatus>, Error> {
        let mut found = Vec::new();
        for page in 1..=PAGES {
            let mut url = self.repository_url(&["commits", self.checked(commit)?, "status"])?;
            url.query_pairs_mut().append_pair("page", &page.to_string()).append_pair("limit", &PAGE.to_string());
            let answer = http::send(self.root(), self.authorized(self.client.get(url))).await?;
            if answer.status != 200 {
                return Err(self.refusal(&answer, commit));
            }
            let combined: Combined = serde_json::from_slice(&answer.body).map_err(|_| self.unreadable("it is no list of statuses"))?;
            let rows = combined.statuses.unwrap_or_default();
            let is_last = rows.is_empty();
            found.extend(rows.into_iter().map(Row::into_status));
            // The body's own `total_count` is that of the page.
            if is_last || answer.total.is_some_and(|total| found.len() >= total) {
                break;
            }
        }
        Ok(found)
    }

    fn url(&self, path: &[&str]) -> Result<Url, Error> {
        let mut url = self.address.root.clone();
        let segments = url.path_segments_mut().map(|mut segments| {
            segments.pop_if_empty().extend(["api", "v1"]).extend(path);
        });
        segments.map_err(|()| Error::Address(format!("{} can't have a path", self.root())))?;
        Ok(url)
    }

    fn repository_url(&self, path: &[&str]) -> Result<Url, Error> {
        self.url(&[&["repos", &self.address.owner, &self.address.name], path].concat())
    }

    fn repository(&self) -> String {
        format!("{}{}/{}", self.address.root, self.address.owner, self.address.name)
    }

    fn authorized(&self, request: RequestBuilder) -> RequestBuilder {
        match &self.credential {
            Some(Credential::Token(token)) => request.header("authorization", format!("token {}", token.reveal())),
            Some(Credential::Password { username, password }) => request.basic_auth(username, Some(password.reveal())),
            None => request,
        }
    }

    /// A commit becomes a part of a URL, so it must be nothing but a commit.
    fn checked<'a>(&self, commit: &'a str) -> Result<&'a str, Error> {
        let is_commit = matches!(commit.len(), 40 | 64) && commit.bytes().all(|byte| byte.is_ascii_hexdigit());
        if is_commit { Ok(commit) } else { Err(Error::UnknownCommit { repository: self.repository(), commit: commit.to_owned() }) }
    }

    fn unreadable(&self, why: &str) -> Error {
        Error::Unreadable { forge: self.root().to_owned(), why: why.to_owned() }
    }

    /// What an answer that is no success means.
    fn refusal(&self, answer: &Answer, commit: &str) -> Error {
        let (forge, repository) = (self.root().to_owned(), self.repository());
        let said = said(&answer.body);
        match answer.status {
            429 => Error::Busy { forge, after: answer.retry_after },
            403 | 503 if answer.retry_after.is_some() || answer.exhausted => Error::Busy { forge, after: answer.retry_after },
            300..=399 => Error::Moved { forge, to: answer.location.as_deref().map(shown).unwrap_or_default() },
            401 => Error::CredentialRefused { forge },
            403 => Error::Forbidden { repository, said },
            404 | 500 | 422 if is_about_commit(&said, commit) => Error::UnknownCommit { repository, commit: commit.to_owned() },
            404 => Error::NotFound { repository, authenticated: self.credential.is_some() },
            408 | 502..=504 => Error::Away { forge, why: format!("HTTP status {}", answer.status) },
            500.. => Error::Broken { forge, status: answer.status, said },
            status => Error::Rejected { repository, status, said },
        }
    }
}

impl fmt::Debug for Gitea {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Gitea({})", self.repository())
    }
}

impl Forge for Gitea {
    fn post<'a>(&'a self, commit: &'a str, status: &'a CommitStatus) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(self.post_status(commit, status))
    }

    fn list<'a>(&'a self, commit: &'a str) -> BoxFuture<'a, Result<Vec<CommitStatus>, Error>> {
        Box::pin(self.list_statuses(commit))
    }
}

impl Row {
    fn into_status(self) -> CommitStatus {
        CommitStatus {
            context: self.context,
            // What others may have said: `warning` is bad news, `skipped` none.
            state: CommitState::parse(&self.status).unwrap_or(if self.status == "warning" {
                CommitState::Failure
            } else {
                CommitState::Success
            }),
            description: self.description,
            target_url: Some(self.target_url).filter(|url| !url.is_empty()),
        }
    }
}

fn body(status: &CommitStatus) -> String {
    json!({
        "context": status.context,
        "state": status.state.as_str(),
        "description": status.description,
        "target_url": status.target_url.as_deref().unwrap_or_default(),
    })
    .to_string()
}

/// The forge's own words, if it has some: the `message` of its JSON.
fn said(body: &[u8]) -> String {
    let message = serde_json::from_slice::<Message>(body).map(|answer| answer.message).unwrap_or_default();
    message.chars().take(SAID).collect()
}

fn is_about_commit(said: &str, commit: &str) -> bool {
    !commit.is_empty() && (said.contains(commit) || said.contains("object does not exist"))
}

/// A location for people: without credentials, and no longer than a line.
fn shown(location: &str) -> String {
    crate::secret::SafeUrl::new(location.chars().take(SAID).collect::<String>()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forge::locate;
    use crate::ledger::Then;
    use crate::secret::{SafeUrl, Secret};
    use std::time::Duration;

    const COMMIT: &str = "1a2b3c4d5e6f7a8b9c0d1a2b3c4d5e6f7a8b9c0d";

    fn gitea() -> Gitea {
        let address = locate(&SafeUrl::new("https://git.example/gitea/team/fleet.git"), None).unwrap().unwrap();
        Gitea { client: http::client(true, None).unwrap(), address, credential: Some(Credential::Token(Secret::new("t0ken"))) }
    }

    fn answer(status: u16, body: &str) -> Answer {
        Answer { status, body: body.as_bytes().to_vec(), ..Answer::default() }
    }

    #[test]
    fn each_answer_says_what_to_do() {
        let check = |answer: Answer, then: Then, words: &str| {
            let error = gitea().refusal(&answer, COMMIT);
            assert_eq!(error.then(), then, "{error}");
            assert!(error.to_string().contains(words), "{error}");
        };
        check(answer(401, ""), Then::AskForCredential, "https://git.example/gitea refuses the credential; put a valid `token`");
        let scope = r#"{"message":"token does not have at least one of required scope(s)"}"#;
        check(answer(403, scope), Then::Recheck, "(`token does not have at least one of required scope(s)`); its user needs write access");
        check(Answer { exhausted: true, ..answer(403, "") }, Then::Pause(None), "asks for fewer requests");
        let quiet = Duration::from_secs(7);
        check(Answer { retry_after: Some(quiet), ..answer(429, "") }, Then::Pause(Some(quiet)), "asks for fewer requests");
        check(Answer { retry_after: Some(quiet), ..answer(503, "") }, Then::Pause(Some(quiet)), "asks for fewer requests");
        check(answer(404, "<html>"), Then::Recheck, "https://git.example/gitea/team/fleet is not there, or hidden");
        check(answer(404, r#"{"message":"object does not exist [id: x, rel_path: ]"}"#), Then::Drop, "has no commit 1a2b3c4");
        check(answer(500, &format!(r#"{{"message":"{COMMIT} is unknown"}}"#)), Then::Drop, "has no commit 1a2b3c4");
        check(answer(500, ""), Then::RetryFew, "HTTP status 500; look into its log");
        check(answer(502, ""), Then::Retry, "is away: HTTP status 502");
        check(answer(408, ""), Then::Retry, "is away");
        check(answer(422, r#"{"message":"no"}"#), Then::Recheck, "HTTP status 422 (`no`)");
        let moved = Answer { location: Some("https://me:pw@else.example/".into()), ..answer(301, "") };
        check(moved, Then::Recheck, "sends us to https://****@else.example/, where credentials must not follow");
    }

    #[test]
    fn only_a_version_in_json_is_taken_for_gitea() {
        let check = |status: u16, body: &str, expected: bool| {
            assert_eq!(gitea().is_version(&answer(status, body)), Ok(expected), "{status} {body}")
        };
        check(200, r#"{"version":"1.26.0"}"#, true);
        check(200, r#"{"version":"11.0.1+gitea-1.22.0"}"#, true);
        check(200, r#"{"version":""}"#, false);
        check(200, "<html>sign in</html>", false);
        check(404, r#"{"message":"Not Found"}"#, false);
        check(401, "", false);
        assert!(gitea().is_version(&answer(503, "")).is_err(), "a server that is not well has not said no");
    }

    #[test]
    fn a_url_is_made_of_checked_parts_only() {
        let url = gitea().repository_url(&["statuses", COMMIT]).unwrap();
        assert_eq!(url.as_str(), format!("https://git.example/gitea/api/v1/repos/team/fleet/statuses/{COMMIT}"));
        for commit in ["", "main", "../../user", "1a2b3c4", "1a2b3c4d5e6f7a8b9c0d1a2b3c4d5e6f7a8b9c0/"] {
            assert!(gitea().checked(commit).is_err(), "{commit}");
        }
    }

    /// Answers the first request with `answer`, then is silent for as long as the test runs; gives what it was asked.
    async fn server(answer: Vec<u8>) -> (u16, tokio::task::JoinHandle<String>) {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 8192];
            let length = stream.read(&mut request).await.unwrap();
            let _ = stream.write_all(&answer).await;
            tokio::time::sleep(Duration::from_secs(1)).await;
            String::from_utf8_lossy(&request[..length]).into_owned()
        });
        (port, asked)
    }

    async fn post_to(port: u16) -> Result<(), Error> {
        let address = locate(&SafeUrl::new(format!("http://127.0.0.1:{port}/team/fleet")), None).unwrap().unwrap();
        let client = http::client_within(Duration::from_millis(500), false, None).unwrap();
        let gitea = Gitea { client, address, credential: Some(Credential::Token(Secret::new("t0ken"))) };
        gitea.post(COMMIT, &CommitStatus { context: "plimsoll/fra-1".into(), ..CommitStatus::default() }).await
    }

    fn response(head: &str, body: &str) -> Vec<u8> {
        format!("HTTP/1.1 {head}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()
    }

    #[tokio::test]
    async fn only_an_answer_that_confirms_the_status_is_a_success() {
        let check = async |answer: Vec<u8>, expected: &str| {
            let (port, _asked) = server(answer).await;
            let said = post_to(port).await.map_err(|error| error.to_string());
            assert!(format!("{said:?}").contains(expected), "{said:?}");
        };
        check(response("201 Created", r#"{"context":"plimsoll/fra-1","status":"pending"}"#), "Ok(())").await;
        check(response("201 Created", r#"{"context":"plimsoll/fra-1","status":"success"}"#), "does not confirm the status").await;
        check(response("200 OK", "<html>sign in</html>"), "does not confirm the status").await;
        check(response("200 OK", "[]"), "does not confirm the status").await;
        check(response("201 Created", &"x".repeat(2 << 20)), "longer than 1048576 bytes").await;
        check(Vec::new(), "no whole answer within").await;
        check(b"HTTP/1.1 201 Created\r\ncontent-length: 99\r\n\r\n{".to_vec(), "no whole answer within").await;
        check(b"\0\x01nonsense\r\n\r\n".to_vec(), "is away").await;
    }

    #[tokio::test]
    async fn a_token_never_follows_a_redirect_to_another_host() {
        let (other, asked) = server(response("201 Created", r#"{"context":"plimsoll/fra-1","status":"pending"}"#)).await;
        for status in ["301 Moved", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"] {
            let (port, _asked) = server(response(&format!("{status}\r\nlocation: http://127.0.0.1:{other}/"), "")).await;
            let error = post_to(port).await.unwrap_err();
            assert_eq!(error, Error::Moved { forge: format!("http://127.0.0.1:{port}"), to: format!("http://127.0.0.1:{other}/") });
        }
        assert!(!asked.is_finished(), "nobody came");
        asked.abort();
    }

    #[test]
    fn no_token_is_printed() {
        assert_eq!(format!("{:?}", gitea()), "Gitea(https://git.example/gitea/team/fleet)");
    }
}
