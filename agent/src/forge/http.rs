//! One request to a forge, with a bound on everything: time, bytes, and where a credential may go.
//!
//! It knows HTTP and no forge.

use std::time::Duration;

use reqwest::{Certificate, Client, RequestBuilder, StatusCode, redirect};

use super::Error;

/// For the connection, TLS included.
const CONNECT: Duration = Duration::from_secs(10);
/// For a whole request and its answer.
const TOTAL: Duration = Duration::from_secs(30);
/// The longest answer that is read, in bytes: a page of 50 statuses is some 100 kB.
const BODY: usize = 1 << 20;
/// The most redirects that are followed.
const REDIRECTS: usize = 5;

/// An answer, read to its end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Answer {
    /// The HTTP status.
    pub(super) status: u16,
    /// How long it asks us to wait.
    pub(super) retry_after: Option<Duration>,
    /// Whether it says that a budget is used up.
    pub(super) exhausted: bool,
    /// How many items the list has of which it gives a page.
    pub(super) total: Option<usize>,
    /// Where it sends us.
    pub(super) location: Option<String>,
    /// The body, at most [`BODY`] bytes.
    pub(super) body: Vec<u8>,
}

/// A client for https that trusts the system's certificates, and those of `ca` in PEM; without `tls` a client for http, which needs none.
pub(super) fn client(tls: bool, ca: Option<&str>) -> Result<Client, Error> {
    client_within(TOTAL, tls, ca)
}

/// As [`client`], with another bound on the time of a whole request.
pub(super) fn client_within(total: Duration, tls: bool, ca: Option<&str>) -> Result<Client, Error> {
    // Whoever comes first installs it for the process; that another part did so already is no fault.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = Client::builder()
        .user_agent(concat!("plimsoll/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT)
        .timeout(total)
        .pool_max_idle_per_host(1)
        .pool_idle_timeout(TOTAL)
        .redirect(redirect::Policy::custom(follow));
    if !tls {
        builder = builder.tls_certs_only([]);
    } else if let Some(pem) = ca {
        builder = builder.tls_certs_merge(certificates(pem)?);
    }
    builder.build().map_err(|error| {
        Error::Address(format!("no TLS client can be made: {}; are there certificates of authorities in the image?", innermost(&error)))
    })
}

fn certificates(pem: &str) -> Result<Vec<Certificate>, Error> {
    let none = |why: String| Error::Address(format!("`ca.crt` holds no certificates in PEM: {why}"));
    let found = Certificate::from_pem_bundle(pem.as_bytes()).map_err(|error| none(innermost(&error)))?;
    if found.is_empty() { Err(none("none begins with -----BEGIN CERTIFICATE-----".to_owned())) } else { Ok(found) }
}

/// Only what keeps method, body and origin is followed: 301 to 303 would turn a POST into a GET, whose success says nothing.
fn follow(attempt: redirect::Attempt<'_>) -> redirect::Action {
    let keeps_method = matches!(attempt.status(), StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT);
    let same_origin = attempt.previous().first().is_some_and(|first| first.origin() == attempt.url().origin());
    if keeps_method && same_origin && attempt.previous().len() <= REDIRECTS { attempt.follow() } else { attempt.stop() }
}

/// Sends a request and reads its answer, whatever the status.
pub(super) async fn send(forge: &str, request: RequestBuilder) -> Result<Answer, Error> {
    let away = |error: reqwest::Error| Error::Away { forge: forge.to_owned(), why: why(&error) };
    let mut response = request.send().await.map_err(away)?;
    let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
    let mut answer = Answer {
        status: response.status().as_u16(),
        // The other form, a date, is left out: it would need a clock, and rate limiters send seconds.
        retry_after: header("retry-after").and_then(|text| text.trim().parse().ok()).map(Duration::from_secs),
        exhausted: header("x-ratelimit-remaining").is_some_and(|text| text.trim() == "0"),
        total: header("x-total-count").and_then(|text| text.trim().parse().ok()),
        location: header("location").map(str::to_owned),
        body: Vec::new(),
    };
    while let Some(chunk) = response.chunk().await.map_err(away)? {
        if answer.body.len() + chunk.len() > BODY {
            return Err(Error::Unreadable { forge: forge.to_owned(), why: format!("it is longer than {BODY} bytes") });
        }
        answer.body.extend_from_slice(&chunk);
    }
    Ok(answer)
}

fn why(error: &reqwest::Error) -> String {
    match (error.is_timeout(), error.is_connect()) {
        (true, true) => format!("no connection within {} s", CONNECT.as_secs()),
        (true, false) => format!("no whole answer within {} s", TOTAL.as_secs()),
        (false, _) => with_hint(innermost(error)),
    }
}

/// rustls names what is wrong with a certificate, and not the way out.
fn with_hint(why: String) -> String {
    if why.contains("certificate") {
        format!("{why} (if its authority is your own, put that one's certificate into the Secret as `ca.crt`)")
    } else {
        why
    }
}

/// The cause in the words of the one who knows it (`Connection refused`), without the URL around it.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_certificates_is_refused_in_words() {
        for pem in ["", "not PEM", "-----BEGIN CERTIFICATE-----\nAAAA"] {
            let error = client(true, Some(pem)).unwrap_err();
            assert!(error.to_string().starts_with("`ca.crt` holds no certificates in PEM: "), "{pem}: {error}");
        }
    }
}
