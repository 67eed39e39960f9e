//! One request to the API server and its answer, with a bound on bytes, on time and on how often it is tried. It knows no Kubernetes object.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE, DATE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use http_body_util::BodyExt;
use jiff::Timestamp;
use kube::client::Body;

use super::lease::Fence;
use super::refusal::Refusal;

/// How long one try may take: the API server gives up on a request after 60 s, a webhook after 30 s at most.
const ONE_TRY: Duration = Duration::from_secs(35);
/// How long a server that says "not now" (429, 503) is asked again.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
/// How long a server that was ready is taken to be so.
const READY_FOR: Duration = Duration::from_secs(1);
/// How long the question may take whether a server is ready.
const READY: Duration = Duration::from_secs(3);
/// How often a connection that breaks or is refused is tried again. Few: whoever asked must know soon that the server is away.
const BROKEN_TRIES: u32 = 2;
/// The most that is read of an answer; a page of 250 objects, or one object of etcd's 1.5 MB with its managed fields.
const MOST_BYTES: usize = 32 << 20;
/// The most of a refusal that is read.
const MOST_REFUSAL: usize = 256 << 10;

/// A connection to the API server, as whom it speaks included. Cheap to clone.
#[derive(Clone)]
pub(super) struct Wire {
    client: kube::Client,
    acting_as: Option<HeaderValue>,
    fence: Option<Fence>,
    /// When the server last said that it is ready.
    ready: Arc<Mutex<Option<Instant>>>,
}

/// One request.
#[derive(Clone, Debug)]
pub(super) struct Call {
    method: Method,
    path: String,
    content_type: &'static str,
    accept: &'static str,
    body: Vec<u8>,
}

/// An answer that is a success.
#[derive(Debug)]
pub(super) struct Answer {
    /// 200, 201, ...
    pub(super) code: u16,
    /// The server's clock when it answered, to the second.
    pub(super) date: Option<Timestamp>,
    /// How long it took, from the first try.
    pub(super) took: Duration,
    /// The body.
    pub(super) body: Vec<u8>,
}

/// What a try came to.
enum Failed {
    /// The server answered no; `after` is how long it asks us to wait.
    Refused { refusal: Refusal, after: Option<Duration> },
    /// There was no answer.
    Broken(String),
    /// The answer did not come in time.
    Slow,
}

/// What a server says to a question that everybody may ask.
enum Probe {
    Ready,
    Away,
    Refused,
}

pub(super) const JSON: &str = "application/json";
pub(super) const APPLY: &str = "application/apply-patch+yaml";
pub(super) const MERGE: &str = "application/merge-patch+json";
pub(super) const JSON_PATCH: &str = "application/json-patch+json";
/// Names, labels and the rest of `metadata` only.
pub(super) const METADATA: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json";

impl Call {
    pub(super) fn new(method: Method, path: impl Into<String>) -> Self {
        Self { method, path: path.into(), content_type: JSON, accept: JSON, body: Vec::new() }
    }

    pub(super) fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path)
    }

    pub(super) fn accept(self, accept: &'static str) -> Self {
        Self { accept, ..self }
    }

    pub(super) fn body(self, content_type: &'static str, body: &impl serde::Serialize) -> Result<Self, Refusal> {
        let body = serde_json::to_vec(body).map_err(|e| Refusal::Other { code: 0, message: format!("can't be written as JSON: {e}") })?;
        Ok(Self { content_type, body, ..self })
    }

    /// The bytes of its body.
    pub(super) fn size(&self) -> usize {
        self.body.len()
    }

    fn writes(&self) -> bool {
        self.method != Method::GET
    }

    fn request(&self, acting_as: Option<&HeaderValue>) -> Result<Request<Body>, Refusal> {
        let request = Request::builder().method(&self.method).uri(&self.path).body(Body::from(self.body.clone()));
        let mut request = request.map_err(|e| Refusal::Other { code: 0, message: format!("{} can't be asked for: {e}", self.path) })?;
        let headers = request.headers_mut();
        headers.insert(ACCEPT, HeaderValue::from_static(self.accept));
        // Streams are compressed event by event by servers from 1.37 on, which our stack does not undo.
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        if !self.body.is_empty() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        }
        if let Some(user) = acting_as {
            headers.insert("impersonate-user", user.clone());
        }
        Ok(request)
    }
}

impl Wire {
    pub(super) fn new(client: kube::Client) -> Self {
        Self { client, acting_as: None, fence: None, ready: Arc::default() }
    }

    pub(super) fn acting_as(&self, user: HeaderValue) -> Self {
        Self { acting_as: Some(user), ..self.clone() }
    }

    pub(super) fn fenced(&self, fence: Fence) -> Self {
        Self { fence: Some(fence), ..self.clone() }
    }

    /// Asks until there is an answer, the server has been patient for `PATIENCE`, or the connection broke too often.
    /// Everything asked here may be asked twice: reads, applies, and deletes with preconditions.
    pub(super) async fn call(&self, call: &Call) -> Result<Answer, Refusal> {
        self.call_within(call, PATIENCE).await
    }

    /// As [`Wire::call`], with another patience.
    pub(super) async fn call_within(&self, call: &Call, patience: Duration) -> Result<Answer, Refusal> {
        let started = Instant::now();
        let mut tries = 0;
        loop {
            let failed = match self.once(call, patience.saturating_sub(started.elapsed())).await {
                // The time of all tries: one that was lost may have been the one that wrote.
                Ok(answer) => return Ok(Answer { took: started.elapsed(), ..answer }),
                Err(failed) => failed,
            };
            let pause = pause(&failed, tries);
            tries += 1;
            match pause {
                Some(pause) if started.elapsed() + pause < patience => tokio::time::sleep(pause).await,
                _ => return Err(failed.into_refusal()),
            }
        }
    }

    async fn once(&self, call: &Call, left: Duration) -> Result<Answer, Failed> {
        let asked = async {
            let (code, headers, mut body) = self.believed(call).await?;
            let body = collect(&mut body, MOST_BYTES).await.map_err(Failed::Broken)?;
            Ok(Answer { code, date: date(&headers), took: Duration::ZERO, body })
        };
        tokio::time::timeout(ONE_TRY.min(left), asked).await.unwrap_or(Err(Failed::Slow))
    }

    /// Opens a stream: asks once, and gives the body for the caller to read.
    pub(super) async fn open(&self, call: &Call) -> Result<Body, Refusal> {
        let opened = tokio::time::timeout(ONE_TRY, self.believed(call)).await.unwrap_or(Err(Failed::Slow));
        opened.map(|(_, _, body)| body).map_err(Failed::into_refusal)
    }

    /// Asks, and asks again if a server that has just begun may not have known what it said: until it has read all roles and bindings it
    /// refuses what it would grant a moment later (seen on 1.37, for some 100 ms after each restart).
    async fn believed(&self, call: &Call) -> Result<(u16, HeaderMap, Body), Failed> {
        match self.open_request(call).await {
            Err(Failed::Refused { refusal: Refusal::Forbidden { .. }, .. }) if !self.was_just_ready() => {
                if self.is_beginning().await {
                    let message = "it is starting, and does not know yet who may do what".to_owned();
                    return Err(Failed::Refused { refusal: Refusal::Away { message }, after: None });
                }
                // It may have learnt it since.
                self.open_request(call).await
            }
            answered => answered,
        }
    }

    /// Whether the server is not ready, or refuses even what everybody may: to ask that, and to ask for what there is in the API.
    async fn is_beginning(&self) -> bool {
        let plain = Self { acting_as: None, ..self.clone() };
        let is_beginning = match plain.probe("/readyz").await {
            Probe::Ready => false,
            Probe::Away => true,
            // Somebody may have seen to it that not everybody asks; but without the other we could not work at all.
            Probe::Refused => matches!(plain.probe("/api").await, Probe::Away | Probe::Refused),
        };
        *self.ready.lock().unwrap_or_else(PoisonError::into_inner) = (!is_beginning).then(Instant::now);
        is_beginning
    }

    /// Whether the server was ready a moment ago: no server begins anew in less, and where much is refused each is not asked for thrice.
    fn was_just_ready(&self) -> bool {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|seen| seen.elapsed() < READY_FOR)
    }

    async fn probe(&self, path: &'static str) -> Probe {
        match tokio::time::timeout(READY, self.open_request(&Call::get(path))).await {
            Ok(Ok(_)) => Probe::Ready,
            Ok(Err(Failed::Refused { refusal: Refusal::Away { .. } | Refusal::Other { code: 500.., .. }, .. })) => Probe::Away,
            Ok(Err(Failed::Refused { .. })) => Probe::Refused,
            Ok(Err(Failed::Broken(_) | Failed::Slow)) | Err(_) => Probe::Away,
        }
    }

    async fn open_request(&self, call: &Call) -> Result<(u16, HeaderMap, Body), Failed> {
        let refused = |refusal| Failed::Refused { refusal, after: None };
        if call.writes() && self.fence.as_ref().is_some_and(|fence| !fence.still_held(Instant::now())) {
            return Err(refused(Refusal::LeaseLost));
        }
        let request = call.request(self.acting_as.as_ref()).map_err(refused)?;
        let answer: Response<Body> = self.client.send(request).await.map_err(|e| Failed::Broken(chain(&e)))?;
        let (parts, mut body) = answer.into_parts();
        let code = parts.status.as_u16();
        if parts.status.is_success() {
            return Ok((code, parts.headers, body));
        }
        let after = parts.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok()).map(Duration::from_secs);
        let body = collect(&mut body, MOST_REFUSAL).await.map_err(Failed::Broken)?;
        Err(Failed::Refused { refusal: Refusal::read(code, &body), after })
    }
}

impl Failed {
    fn into_refusal(self) -> Refusal {
        match self {
            Self::Refused { refusal, .. } => refusal,
            Self::Broken(message) => Refusal::Away { message },
            Self::Slow => Refusal::Away { message: "no answer in time".to_owned() },
        }
    }
}

/// How long to wait before the next try; `None` when there should be none. `tries` counts those that failed before.
fn pause(failed: &Failed, tries: u32) -> Option<Duration> {
    match failed {
        Failed::Refused { refusal: Refusal::Away { .. }, after } => {
            Some(after.map_or_else(|| backoff(tries), |after| after.min(Duration::from_secs(10)) + backoff(0)))
        }
        Failed::Refused { .. } | Failed::Slow => None,
        Failed::Broken(_) => (tries < BROKEN_TRIES).then(|| backoff(tries)),
    }
}

/// 100 ms, doubled each time up to 10 s, of which a random half is taken off so that many agents do not ask at once.
pub(super) fn backoff(tries: u32) -> Duration {
    let most = Duration::from_millis(100).saturating_mul(1 << tries.min(7)).min(Duration::from_secs(10));
    most.mul_f64(1.0 - jitter() / 2.0)
}

/// A number from 0 to 1. Good enough to spread requests, and no more: it comes from the seed of a hash map.
pub(super) fn jitter() -> f64 {
    use std::hash::{BuildHasher, Hasher};
    let random = std::hash::RandomState::new().build_hasher().finish();
    f64::from(u32::try_from(random >> 32).unwrap_or_default()) / f64::from(u32::MAX)
}

async fn collect(body: &mut Body, most: usize) -> Result<Vec<u8>, String> {
    let mut all = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|e| chain(&e))?;
        let Some(data) = frame.data_ref() else { continue };
        if all.len() + data.len() > most {
            return Err(format!("an answer of more than {most} bytes was cut off"));
        }
        all.extend_from_slice(data);
    }
    Ok(all)
}

fn date(headers: &HeaderMap) -> Option<Timestamp> {
    let text = headers.get(DATE)?.to_str().ok()?;
    jiff::fmt::rfc2822::parse(text).ok().map(|date| date.timestamp())
}

/// An error with its causes, each said once: the outermost alone often says only "client error".
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !words.contains(&more) {
            words = format!("{words}: {more}");
        }
        cause = error.source();
    }
    // What kube puts before it says nothing to a reader.
    super::refusal::brief(words.trim_start_matches("ServiceError: "))
}

/// Escapes a text for a path or a query (RFC 3986: all but the unreserved characters).
pub(super) fn escaped(text: &str) -> String {
    let escape = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_says_when_is_asked_again_then_and_not_before() {
        let busy = |after| Failed::Refused { refusal: Refusal::Away { message: String::new() }, after };
        let pause_of = |failed: &Failed, tries| pause(failed, tries).unwrap();
        assert!(pause_of(&busy(Some(Duration::from_secs(3))), 0) >= Duration::from_secs(3));
        assert!(pause_of(&busy(Some(Duration::from_secs(3000))), 0) < Duration::from_secs(11), "no server may stop us for an hour");
        assert!(pause_of(&busy(None), 40) <= Duration::from_secs(10));
    }

    #[test]
    fn a_refusal_is_final_and_a_broken_connection_nearly() {
        assert!(pause(&Failed::Refused { refusal: Refusal::Expired, after: None }, 0).is_none());
        let broken = Failed::Broken("refused".into());
        assert!(pause(&broken, 0).is_some() && pause(&broken, BROKEN_TRIES).is_none());
    }

    #[test]
    fn names_can_not_leave_their_place_in_a_path() {
        assert_eq!(escaped("system:a/../b?c#d é"), "system%3Aa%2F..%2Fb%3Fc%23d%20%C3%A9");
    }
}
