//! Git over https and http: one request a question, with our credential, to the host that was named and to no other.
//!
//! It knows how to reach a server and how it refuses, and nothing of what the answer means.

use std::error::Error as _;
use std::io;
use std::time::Duration;

use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE};
use reqwest::{Certificate, Client, RequestBuilder, Response, StatusCode, Url};

use super::address::{self, Web};
use super::protocol::{Capabilities, shown};
use super::stream::Stream;
use super::{Credentials, Error, Limits};
use crate::secret::{SafeUrl, Secret};

const CONNECT: Duration = Duration::from_secs(10);
/// Longer than polls lie apart by default, so that a poll needs no new handshake.
const IDLE: Duration = Duration::from_secs(90);
const REDIRECTS: usize = 5;

/// A repository behind a web server.
pub(super) struct Http {
    url: SafeUrl,
    web: Web,
    login: Option<Login>,
    ca: Option<String>,
    limits: Limits,
    client: Option<(Client, bool)>,
    session: Option<Session>,
}

/// What the server said of itself; kept, so that a poll is a single request.
struct Session {
    base: Url,
    capabilities: Capabilities,
}

/// How we say who we are.
struct Login {
    user: String,
    password: Secret,
    /// The password is a token that may be sent alone.
    token: bool,
    bearer: bool,
}

impl Login {
    fn new(credentials: &Credentials, web: &Web) -> Option<Self> {
        // With a token as password, forges ask for this name (GitHub Apps), another one, or do not look at it.
        let user = |default: &str| credentials.username.clone().unwrap_or_else(|| default.to_owned());
        if let Some(token) = &credentials.token {
            return Some(Self { user: user("x-access-token"), password: token.clone(), token: true, bearer: false });
        }
        if let Some(password) = &credentials.password {
            return Some(Self { user: user("git"), password: password.clone(), token: false, bearer: false });
        }
        let (user, password) = web.login.clone()?;
        Some(Self { user, password, token: false, bearer: false })
    }

    fn header(&self) -> Result<HeaderValue, String> {
        use base64::Engine as _;
        let password = self.password.reveal();
        let text = match self.bearer {
            true => format!("Bearer {password}"),
            false => format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{}:{password}", self.user))),
        };
        let mut value = HeaderValue::from_str(&text).map_err(|_| "it holds line ends or control characters".to_owned())?;
        value.set_sensitive(true);
        Ok(value)
    }
}

impl Http {
    pub(super) fn new(url: SafeUrl, web: Web, credentials: &Credentials, limits: Limits) -> Self {
        let login = Login::new(credentials, &web);
        Self { url, web, login, ca: credentials.ca.clone(), limits, client: None, session: None }
    }

    /// Puts a question. The capabilities are asked for once; when an answer surprises, once more, since the server may be another one now.
    pub(super) async fn ask(&mut self, question: &(dyn Fn(&Capabilities) -> Vec<u8> + Sync)) -> Result<Response, Error> {
        let known = self.session.is_some();
        match self.post(question).await {
            Err(error) if known && !matches!(error, Error::Busy { .. }) => {
                self.session = None;
                self.post(question).await
            }
            answer => answer,
        }
    }

    async fn post(&mut self, question: &(dyn Fn(&Capabilities) -> Vec<u8> + Sync)) -> Result<Response, Error> {
        let session = match self.session.take() {
            Some(session) => session,
            None => self.greet().await?,
        };
        let mut at = session.base.clone();
        at.set_path(&format!("{}/git-upload-pack", at.path()));
        let request = self.client(at.scheme() == "https")?.post(at).body(question(&session.capabilities));
        let request =
            request.header(CONTENT_TYPE, "application/x-git-upload-pack-request").header(ACCEPT, "application/x-git-upload-pack-result");
        let response = self.send(request).await?;
        self.session = Some(session);
        self.accepted(response, "application/x-git-upload-pack-result")
    }

    /// Asks the server what it can do, and follows it to where the repository is.
    async fn greet(&mut self) -> Result<Session, Error> {
        let mut at = self.web.base.clone();
        at.set_path(&format!("{}/info/refs", at.path()));
        at.set_query(Some("service=git-upload-pack"));
        for _ in 0..=REDIRECTS {
            let request = self.client(at.scheme() == "https")?.get(at.clone());
            let response = self.send(request).await?;
            if response.status().is_redirection() {
                at = self.follow(&at, response.headers())?;
            } else if !self.turns_to_bearer(&response) {
                let response = self.accepted(response, "application/x-git-upload-pack-advertisement")?;
                let base = address::base_of(&at).ok_or_else(|| self.elsewhere(&at, "which is not where Git repositories are"))?;
                return Ok(Session { base, capabilities: self.capabilities(response).await? });
            }
        }
        Err(self.elsewhere(&at, "and so on, without end"))
    }

    async fn capabilities(&self, response: Response) -> Result<Capabilities, Error> {
        let mut stream = Stream::http(self.url.clone(), response, "references of too many bytes", self.limits.ls_refs);
        let capabilities = stream.greeting().await?;
        stream.finish().await;
        Ok(capabilities)
    }

    fn follow(&self, from: &Url, headers: &HeaderMap) -> Result<Url, Error> {
        let location = headers.get(LOCATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
        address::redirected(from, location).map_err(|(to, why)| Error::Redirect { url: self.url.clone(), to, why })
    }

    fn elsewhere(&self, at: &Url, why: &'static str) -> Error {
        Error::Redirect { url: self.url.clone(), to: SafeUrl::new(at.as_str()), why }
    }

    /// A server that knows no Basic but Bearer gets the token once more, in that way.
    fn turns_to_bearer(&mut self, response: &Response) -> bool {
        let turn = response.status() == StatusCode::UNAUTHORIZED && wants_bearer(response.headers());
        match &mut self.login {
            Some(login) if turn && login.token && !login.bearer => {
                login.bearer = true;
                true
            }
            _ => false,
        }
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, Error> {
        let mut request = request.header("git-protocol", "version=2");
        if let Some(login) = &self.login {
            let value = login.header().map_err(|why| Error::Setting {
                what: "the user name, password or token".to_owned(),
                why,
                hint: "write them into the Secret without a line end",
            })?;
            request = request.header(AUTHORIZATION, value);
        }
        request.send().await.map_err(|error| broken(&self.url, &error))
    }

    fn accepted(&self, response: Response, wanted: &str) -> Result<Response, Error> {
        if let Some(error) = refusal(&self.url, response.status(), response.headers(), self.login.is_some()) {
            return Err(error);
        }
        let kind = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if kind.split(';').next() != Some(wanted) {
            let why = format!("it answers with `{}` where Git answers with `{wanted}`", shown(kind));
            return Err(Error::Protocol { url: self.url.clone(), why });
        }
        Ok(response)
    }

    /// Made when first needed: certificates cost memory, and plain http needs none.
    fn client(&mut self, tls: bool) -> Result<Client, Error> {
        if let Some((client, _)) = self.client.as_ref().filter(|(_, with_tls)| *with_tls == tls) {
            return Ok(client.clone());
        }
        let client = client(tls, self.ca.as_deref()).map_err(|why| Error::Setting {
            what: "the certificates to trust".to_owned(),
            why,
            hint: "put the certificate of the authority, in PEM, into the Secret as `ca.crt`",
        })?;
        self.client = Some((client.clone(), tls));
        Ok(client)
    }
}

fn client(tls: bool, ca: Option<&str>) -> Result<Client, String> {
    // Fails when there is one already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = Client::builder()
        // Servers look for `git/` before they answer a client as Git.
        .user_agent(concat!("git/2.0 (plimsoll/", env!("CARGO_PKG_VERSION"), ")"))
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT)
        .pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(1);
    let builder = match (tls, ca) {
        (false, _) => builder.tls_certs_only([]),
        (true, None) => builder,
        (true, Some(ca)) => builder.tls_certs_merge(certificates(ca)?),
    };
    builder.build().map_err(|error| chain(&error))
}

/// What is no PEM is skipped by its reader, so that text of any kind would count as an empty list.
fn certificates(ca: &str) -> Result<Vec<Certificate>, String> {
    let all = Certificate::from_pem_bundle(ca.as_bytes()).map_err(|error| chain(&error))?;
    if all.is_empty() { Err("there is none in `ca.crt`".to_owned()) } else { Ok(all) }
}

fn wants_bearer(headers: &HeaderMap) -> bool {
    let offers = |scheme: &str| {
        let mut all = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
        all.any(|value| value.to_ascii_lowercase().starts_with(scheme))
    };
    offers("bearer") && !offers("basic")
}

/// What a status means; `None` where it means that the answer follows.
fn refusal(url: &SafeUrl, status: StatusCode, headers: &HeaderMap, sent: bool) -> Option<Error> {
    let url = url.clone();
    let answer = status.to_string();
    match status.as_u16() {
        200 => None,
        401 | 403 | 407 => Some(Error::Credential { url, answer, sent }),
        404 | 410 => Some(Error::NotFound { url, sent }),
        408 | 429 | 500..=599 => Some(Error::Busy { url, answer, retry_after: retry_after(headers) }),
        _ => Some(Error::Protocol { url, why: format!("it answers `{answer}`") }),
    }
}

/// Seconds; a date is left to our own backoff, since the clocks may differ.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(u64::min(seconds, 3600)))
}

/// Why a connection did not come about, or ended.
pub(super) fn broken(url: &SafeUrl, error: &reqwest::Error) -> Error {
    let url = url.clone();
    if let Some(tls) = find::<rustls::Error>(error) {
        return untrusted(url, tls);
    }
    if error.is_dns() {
        return Error::UnknownHost { url, why: innermost(error) };
    }
    let why = if error.is_timeout() { format!("no answer within {CONNECT:?}") } else { innermost(error) };
    Error::Unreachable { url, why }
}

fn untrusted(url: SafeUrl, error: &rustls::Error) -> Error {
    match error {
        rustls::Error::InvalidCertificate(_) => Error::Identity {
            url,
            why: error.to_string(),
            hint: "put the certificate of the authority that signed the host's, in PEM, into the Secret as `ca.crt`; check the host name and the clock",
        },
        _ => Error::Unreachable { url, why: format!("TLS: {error}") },
    }
}

/// The causes of an error, from the outside in. An `io::Error` hides the one that it was made of.
fn causes<'a>(error: &'a (dyn std::error::Error + 'static)) -> impl Iterator<Item = &'a (dyn std::error::Error + 'static)> {
    let next = |error: &&'a (dyn std::error::Error + 'static)| {
        let error: &'a (dyn std::error::Error + 'static) = *error;
        match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner as &(dyn std::error::Error + 'static)),
            None => error.source(),
        }
    };
    std::iter::successors(Some(error), next)
        // Bounded, in case that an error names itself as its cause.
        .take(16)
}

fn find<T: std::error::Error + 'static>(error: &reqwest::Error) -> Option<&T> {
    causes(error).find_map(|cause| cause.downcast_ref::<T>())
}

fn innermost(error: &reqwest::Error) -> String {
    causes(error).last().map(|cause| shown(&cause.to_string())).unwrap_or_default()
}

fn chain(error: &reqwest::Error) -> String {
    let mut all = vec![error.to_string()];
    let mut next = error.source();
    while let Some(cause) = next {
        all.push(cause.to_string());
        next = cause.source();
    }
    shown(&all.join(": "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_told_apart_by_what_to_do() {
        let refused =
            |status: u16, sent| refusal(&SafeUrl::new("https://h/a"), StatusCode::from_u16(status).unwrap(), &HeaderMap::new(), sent);
        assert_eq!(refused(200, false), None);
        assert!(matches!(refused(401, false), Some(Error::Credential { sent: false, .. })));
        assert!(matches!(refused(403, true), Some(Error::Credential { sent: true, .. })));
        assert!(matches!(refused(404, false), Some(Error::NotFound { sent: false, .. })));
        assert!(matches!(refused(204, false), Some(Error::Protocol { .. })));
        for status in [429, 500, 502, 503] {
            assert!(refused(status, true).is_some_and(|error| error.is_transient()), "{status}");
        }
    }

    #[test]
    fn a_server_is_left_alone_as_long_as_it_asks() {
        let after = |text: &str| retry_after(&HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_str(text).unwrap())]));
        assert_eq!(after("120"), Some(Duration::from_secs(120)));
        assert_eq!(after("99999999"), Some(Duration::from_secs(3600)));
        assert_eq!(after("Wed, 21 Oct 2026 07:28:00 GMT"), None);
    }

    #[test]
    fn the_credential_is_chosen_and_sent_but_never_printed() {
        let header = |credentials: &Credentials, url: &str| {
            let Ok(address::Address::Http(web)) = address::parse(&SafeUrl::new(url)) else { panic!("{url}") };
            let value = Login::new(credentials, &web)?.header().unwrap();
            assert_eq!(format!("{value:?}"), "Sensitive");
            value.to_str().ok().map(str::to_owned)
        };
        let token = Credentials { token: Some(Secret::new("t0k")), ..Credentials::default() };
        let password = Credentials { username: Some("me".into()), password: Some(Secret::new("pw")), ..Credentials::default() };
        assert_eq!(header(&Credentials::default(), "https://h/a"), None);
        assert_eq!(header(&Credentials::default(), "https://me:pw@h/a").as_deref(), Some("Basic bWU6cHc="));
        assert_eq!(header(&password, "https://you:x@h/a").as_deref(), Some("Basic bWU6cHc="));
        assert_eq!(header(&token, "https://h/a").as_deref(), Some("Basic eC1hY2Nlc3MtdG9rZW46dDBr"));
    }
}
