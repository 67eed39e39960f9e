//! Reads a collection as it is and as it changes, object by object, so that memory does not grow with the number of objects.
//! It knows no kind; but for a glance, what is made of an object is for others.
//!
//! The server streams its state as events (`sendInitialEvents`, Kubernetes 1.32), then goes on with what changes. Where it can't, the state is read in pages.
//! A stream that ends is taken up again where it stopped; when the server no longer knows that place (410), the state is told anew.

use std::collections::VecDeque;
use std::time::Duration;

use http_body_util::BodyExt;
use kube::client::Body;
use kube::core::Status;
use memchr::memchr;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::discovery::parse;
use super::glance::{Glance, glance};
use super::refusal::Refusal;
use super::wire::{Call, JSON, METADATA, Wire, backoff, chain, escaped, jitter};

/// The longest event: etcd takes objects of 1.5 MB, and JSON makes more of it.
const MOST_LINE: usize = 16 << 20;
/// What a buffer may keep after a long event.
const KEPT: usize = 8 << 10;
/// Objects in a page, where the state can't be streamed.
const PAGE: usize = 250;
/// How long a stream may last, in seconds; the server's own limit is between 30 and 60 minutes.
const LASTS: f64 = 1740.0;
/// How long a stream may be silent. Servers send a bookmark every minute or two, also where nothing changes, so more means that the
/// connection is dead and that nobody told us: events would be missed.
const SILENCE: Duration = Duration::from_secs(240);
/// How often a stream may fail to be taken up again before that is called blindness: for about two seconds.
const BLINKS: u32 = 5;
/// How often a failure that will not pass by itself is met with a short pause.
const QUICK_TRIES: u32 = 8;
/// The longest pause after a failure that will not pass by itself (no rights, no such kind).
const LONG_PAUSE: Duration = Duration::from_secs(60);

/// What a [`Feed`] tells.
#[derive(Debug)]
pub(super) enum Told {
    /// The state is told from the beginning: what is not told before `Whole` does not exist.
    Restarted,
    /// An object that exists, or the last state of one that does not any more.
    Object {
        /// Whether it is gone.
        deleted: bool,
        /// Which one it is, and whether it has changed.
        glance: Glance,
        /// As the server wrote it; `kind` and `apiVersion` are missing where it was read in pages.
        object: Box<str>,
    },
    /// All that exists has been told, and what changes will be.
    Whole,
    /// Nothing can be seen now, and why. It is tried again; `Restarted` and `Whole` follow when it works.
    Blind(Refusal),
}

/// A collection, as it is and as it changes.
pub(super) struct Feed {
    wire: Wire,
    collection: String,
    selector: String,
    accept: &'static str,
    by_pages: bool,
    tries: u32,
    at: At,
}

/// Where a feed stands.
enum At {
    /// Nothing is known, and nobody was told so.
    Nowhere,
    /// The state is to be asked for.
    Asking,
    /// The server is telling its state.
    Telling(Stream),
    /// The state is being read in pages.
    Paging { waiting: VecDeque<Box<RawValue>>, next: Option<String>, version: String },
    /// All up to this resourceVersion is known, and no stream is open.
    Between(String),
    /// All up to this resourceVersion is known, and what changes is coming.
    Following(Stream, String),
}

impl Feed {
    /// Of the collection at this path, those that `selector` names (a query such as `labelSelector=a%3Db`, may be empty).
    pub(super) fn new(wire: Wire, collection: String, selector: String) -> Self {
        Self { wire, collection, selector, accept: JSON, by_pages: false, tries: 0, at: At::Nowhere }
    }

    /// The same, but of each object only its name, labels and the rest of `metadata`.
    pub(super) fn metadata_only(self) -> Self {
        Self { accept: METADATA, ..self }
    }

    /// What comes next; waits for it, for ever if nothing happens. Not to be cancelled: what was read would be lost, so the state is told anew.
    pub(super) async fn next(&mut self) -> Told {
        loop {
            let at = std::mem::replace(&mut self.at, At::Nowhere);
            let (at, told) = self.step(at).await;
            self.at = at;
            if let Some(told) = told {
                return told;
            }
        }
    }

    async fn step(&mut self, at: At) -> (At, Option<Told>) {
        match at {
            At::Nowhere => (At::Asking, Some(Told::Restarted)),
            At::Asking if self.by_pages => self.page(None).await,
            At::Asking => self.ask().await,
            At::Telling(stream) => self.telling(stream).await,
            At::Paging { waiting, next, version } => self.paging(waiting, next, version).await,
            At::Between(version) => self.resume(version).await,
            At::Following(stream, version) => self.following(stream, version).await,
        }
    }

    async fn ask(&mut self) -> (At, Option<Told>) {
        match self.open("&sendInitialEvents=true&resourceVersionMatch=NotOlderThan").await {
            Ok(stream) => (At::Telling(stream), None),
            // Servers that can't say so in one way or another: the parameters are not valid.
            Err(Refusal::Invalid { .. } | Refusal::Other { code: 400, .. }) if !self.by_pages => {
                self.by_pages = true;
                (At::Asking, None)
            }
            Err(refusal) => self.failed(At::Asking, refusal),
        }
    }

    async fn telling(&mut self, mut stream: Stream) -> (At, Option<Told>) {
        match stream.next().await {
            Ok(Some(Line::Object { deleted, glance, object })) => (At::Telling(stream), Some(Told::Object { deleted, glance, object })),
            Ok(Some(Line::Bookmark { version, whole: true })) => (At::Following(stream, version), Some(self.whole())),
            Ok(Some(Line::Bookmark { .. })) => (At::Telling(stream), None),
            Ok(None) => self.failed(At::Nowhere, cut_off()),
            Err(refusal) => self.failed(At::Nowhere, refusal),
        }
    }

    async fn page(&mut self, token: Option<String>) -> (At, Option<Told>) {
        self.rest().await;
        let token = token.map(|token| format!("&continue={}", escaped(&token))).unwrap_or_default();
        let call = Call::get(format!("{}?{}&limit={PAGE}{token}", self.collection, self.selector)).accept(self.accept);
        match self.wire.call(&call).await.and_then(|answer| parse::<Page>(&answer.body)) {
            Ok(Page { metadata, items }) => {
                let next = metadata.next.filter(|token| !token.is_empty());
                (At::Paging { waiting: items.into(), next, version: metadata.resource_version }, None)
            }
            Err(refusal) => self.failed(At::Nowhere, refusal),
        }
    }

    async fn paging(&mut self, mut waiting: VecDeque<Box<RawValue>>, next: Option<String>, version: String) -> (At, Option<Told>) {
        if let Some(object) = waiting.pop_front() {
            return match read_object(object.get()) {
                Ok(glance) => (At::Paging { waiting, next, version }, Some(Told::Object { deleted: false, glance, object: object.into() })),
                Err(refusal) => self.failed(At::Nowhere, refusal),
            };
        }
        match next {
            Some(token) => self.page(Some(token)).await,
            None => (At::Between(version), Some(self.whole())),
        }
    }

    async fn resume(&mut self, version: String) -> (At, Option<Told>) {
        match self.open(&format!("&resourceVersion={}", escaped(&version))).await {
            Ok(stream) => (At::Following(stream, version), None),
            Err(Refusal::Expired) => (At::Nowhere, None),
            Err(refusal) => self.blinked(version, refusal),
        }
    }

    async fn following(&mut self, mut stream: Stream, version: String) -> (At, Option<Told>) {
        match stream.next().await {
            Ok(Some(Line::Object { deleted, glance, object })) => {
                self.tries = 0;
                (At::Following(stream, glance.version.clone()), Some(Told::Object { deleted, glance, object }))
            }
            Ok(Some(Line::Bookmark { version, .. })) => {
                self.tries = 0;
                (At::Following(stream, version), None)
            }
            // The end of a stream is nothing to speak of, unless it ends before anything came, again and again.
            Ok(None) if !stream.lines.silent => (At::Between(version), None),
            Ok(None) => self.blinked(version, cut_off()),
            Err(Refusal::Expired) => (At::Nowhere, None),
            Err(refusal) => self.blinked(version, refusal),
        }
    }

    /// A stream broke. For a while that is made good in silence; then the state is told anew, for only its end says for certain
    /// that nothing is missing any more.
    fn blinked(&mut self, version: String, refusal: Refusal) -> (At, Option<Told>) {
        if refusal.is_transient() && self.tries < BLINKS {
            self.tries += 1;
            return (At::Between(version), None);
        }
        self.failed(At::Nowhere, refusal)
    }

    async fn open(&mut self, from: &str) -> Result<Stream, Refusal> {
        self.rest().await;
        let lasts = LASTS * (1.0 - jitter() / 10.0);
        let path = format!("{}?{}&watch=1&allowWatchBookmarks=true&timeoutSeconds={lasts:.0}{from}", self.collection, self.selector);
        Ok(Stream { lines: Lines::new(self.wire.open(&Call::get(path).accept(self.accept)).await?) })
    }

    async fn rest(&mut self) {
        match self.tries {
            0 => {}
            tries if tries > QUICK_TRIES => tokio::time::sleep(LONG_PAUSE.mul_f64(1.0 - jitter() / 2.0)).await,
            tries => tokio::time::sleep(backoff(tries)).await,
        }
    }

    fn whole(&mut self) -> Told {
        self.tries = 0;
        Told::Whole
    }

    fn failed(&mut self, at: At, refusal: Refusal) -> (At, Option<Told>) {
        // What will not pass by itself is not asked for quickly for ever. A few times it is: a new kind is not served everywhere at once.
        self.tries = if refusal.is_transient() { QUICK_TRIES.min(self.tries + 1) } else { self.tries.saturating_add(1) };
        (at, Some(Told::Blind(refusal)))
    }
}

fn cut_off() -> Refusal {
    Refusal::Away { message: "the stream ended before anything came".to_owned() }
}

#[derive(Deserialize)]
struct Page {
    metadata: PageMetadata,
    #[serde(default)]
    items: Vec<Box<RawValue>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PageMetadata {
    #[serde(rename = "continue")]
    next: Option<String>,
    resource_version: String,
}

/// A watch that is open.
struct Stream {
    lines: Lines,
}

/// One line of a watch.
#[derive(Debug)]
enum Line {
    Object { deleted: bool, glance: Glance, object: Box<str> },
    Bookmark { version: String, whole: bool },
}

impl Stream {
    /// The next event; `None` at the end.
    async fn next(&mut self) -> Result<Option<Line>, Refusal> {
        match tokio::time::timeout(SILENCE, self.lines.next()).await {
            Ok(Ok(Some(line))) => read(line).map(Some),
            Ok(Ok(None)) => Ok(None),
            Ok(Err(message)) => Err(Refusal::Away { message }),
            Err(_) => Err(Refusal::Away { message: format!("silent for {} s", SILENCE.as_secs()) }),
        }
    }
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(borrow)]
    object: &'a RawValue,
}

/// The type of an event and the text of its object. API servers write a line in one way, in which the end of the object is found without reading
/// it: whether it is an object is seen when that is looked at.
fn parts(line: &[u8]) -> Result<(&str, &str), Refusal> {
    let usual = |line| {
        let (kind, object) = std::str::from_utf8(line).ok()?.strip_prefix(r#"{"type":""#)?.split_once(r#"","object":"#)?;
        Some((kind, object.strip_suffix('}')?))
    };
    match usual(line) {
        Some(parts) => Ok(parts),
        None => parse::<Event<'_>>(line).map(|event| (event.kind, event.object.get())),
    }
}

/// Reads one line of a watch.
fn read(line: &[u8]) -> Result<Line, Refusal> {
    let (kind, object) = parts(line)?;
    if kind == "ERROR" {
        let status: Status = parse(object.as_bytes())?;
        return Err(Refusal::of(status.code, &status));
    }
    let glance = read_object(object)?;
    match kind {
        "BOOKMARK" => Ok(Line::Bookmark { version: glance.version, whole: glance.ends_state }),
        "ADDED" | "MODIFIED" | "DELETED" => Ok(Line::Object { deleted: kind == "DELETED", glance, object: object.into() }),
        other => Err(Refusal::Other { code: 200, message: format!("an event of an unknown type {other:.20}") }),
    }
}

fn read_object(object: &str) -> Result<Glance, Refusal> {
    let unreadable = |why: String| Refusal::Other { code: 200, message: format!("an object that can't be read: {why}") };
    let glance = glance(object).map_err(|error| unreadable(error.to_string()))?;
    if glance.version.is_empty() { Err(unreadable("it has no resourceVersion".to_owned())) } else { Ok(glance) }
}

/// The lines of a body, one at a time, none longer than [`MOST_LINE`].
struct Lines {
    body: Body,
    buffer: Vec<u8>,
    used: usize,
    silent: bool,
}

impl Lines {
    fn new(body: Body) -> Self {
        Self { body, buffer: Vec::new(), used: 0, silent: true }
    }

    async fn next(&mut self) -> Result<Option<&[u8]>, String> {
        self.forget();
        let mut searched = 0;
        loop {
            if let Some(end) = memchr(b'\n', &self.buffer[searched..]) {
                self.used = searched + end + 1;
                self.silent = false;
                return Ok(Some(&self.buffer[..self.used - 1]));
            }
            searched = self.buffer.len();
            if searched > MOST_LINE {
                return Err(format!("an event of more than {MOST_LINE} bytes"));
            }
            let Some(frame) = self.body.frame().await else { return Ok(None) };
            let frame = frame.map_err(|error| chain(&error))?;
            self.buffer.extend_from_slice(frame.data_ref().map_or(&[], |data| data));
        }
    }

    /// Drops the line that was given out, and the room of a long one.
    fn forget(&mut self) {
        self.buffer.drain(..self.used);
        self.used = 0;
        if self.buffer.is_empty() {
            self.buffer.shrink_to(KEPT);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Result<Line, Refusal> {
        read(text.as_bytes())
    }

    #[test]
    fn an_object_is_passed_on_as_it_was_written() {
        let Line::Object { deleted, object, glance } =
            line(r#"{"type":"MODIFIED","object":{"metadata":{"name":"a","resourceVersion":"7"},"data":{"n":1.0}}}"#).unwrap()
        else {
            panic!("not an object")
        };
        assert!(!deleted);
        assert_eq!(parts(br#"{"object": {}, "type": "ADDED"}"#).unwrap(), ("ADDED", "{}"), "however it is written");
        assert_eq!((glance.version.as_str(), &*object), ("7", r#"{"metadata":{"name":"a","resourceVersion":"7"},"data":{"n":1.0}}"#));
    }

    #[test]
    fn only_the_marked_bookmark_ends_the_initial_state() {
        let whole = |annotations: &str| {
            let text = format!(r#"{{"type":"BOOKMARK","object":{{"kind":"X","metadata":{{"resourceVersion":"9"{annotations}}}}}}}"#);
            matches!(line(&text).unwrap(), Line::Bookmark { whole: true, version } if version == "9")
        };
        assert!(whole(r#","annotations":{"k8s.io/initial-events-end":"true"}"#));
        assert!(!whole("") && !whole(r#","annotations":{"x":"y"}"#) && !whole(r#","annotations":null"#));
    }

    #[test]
    fn lost_history_is_told_apart_from_other_errors() {
        let error =
            |code: u16| line(&format!(r#"{{"type":"ERROR","object":{{"kind":"Status","code":{code},"message":"m"}}}}"#)).unwrap_err();
        assert_eq!(error(410), Refusal::Expired);
        assert!(error(500).to_string().contains("HTTP 500"));
    }

    #[test]
    fn rubbish_is_an_error_and_never_a_panic() {
        for text in [
            "",
            "{",
            "null",
            r#"{"type":"ADDED","object":5}"#,
            r#"{"type":"ADDED","object":{}}"#,
            r#"{"type":"NEW","object":{"metadata":{"resourceVersion":"1"}}}"#,
        ] {
            assert!(line(text).is_err(), "{text}");
        }
    }

    #[tokio::test]
    async fn lines_are_cut_from_a_body() {
        let mut lines = Lines::new(Body::from(b"one\n\ntwo\ncut".to_vec()));
        assert_eq!(lines.next().await.unwrap().unwrap(), b"one");
        assert_eq!(lines.next().await.unwrap().unwrap(), b"");
        assert_eq!(lines.next().await.unwrap().unwrap(), b"two");
        assert_eq!(lines.next().await.unwrap(), None, "a line without an end was cut off");
    }

    #[tokio::test]
    async fn a_line_without_end_is_refused() {
        let mut lines = Lines::new(Body::from(vec![b'x'; MOST_LINE + 1]));
        assert!(lines.next().await.unwrap_err().contains("more than"));
    }
}
