//! The small server: probes and numbers on one address, the push hook on another.
//!
//! It knows neither clusters nor repositories: it shows what others say through channels, and the hook can do one thing, wake a Sync that is configured.
//! Everything that comes in has a bound: connections, header bytes, body bytes, time.

mod hook;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Request, StatusCode, header};
use axum::routing::{get, post};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;

use crate::metrics::Metrics;

pub use hook::{EmptySecret, HookForge, HookSecret, Refused, verify};

/// How many connections are served at once; further ones wait.
const CONNECTIONS: usize = 64;
/// The longest body of a delivery, in bytes. GitHub sends up to 25 MB, for pushes of thousands of commits; those are found by polling.
const BODY: usize = 1 << 20;
/// The most bytes of a request's headers.
const HEADERS: usize = 32 << 10;
/// For the headers of a request, then again for its body.
const PATIENCE: Duration = Duration::from_secs(10);
/// How many wakes a Sync may get in a row.
const BURST: f64 = 5.0;
/// After that, one in this time.
const REFILL: Duration = Duration::from_secs(1);
/// How long to wait when no connection can be accepted (no file descriptors are left).
const RECOVER: Duration = Duration::from_secs(1);

/// What the probes answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vitals {
    /// Why the process should be started anew, if so.
    pub dead: Option<String>,
    /// Why it does not do its work, if so.
    pub unready: Option<String>,
}

impl Default for Vitals {
    /// A process that has just been started: alive, and not ready.
    fn default() -> Self {
        Self { dead: None, unready: Some("it is starting".to_owned()) }
    }
}

/// `/healthz`, `/readyz` and `/metrics`. If whoever should feed `vitals` is gone, the process is taken for dead.
pub fn observe(vitals: watch::Receiver<Vitals>, metrics: Arc<Metrics>) -> Router {
    let health = get(|State(vitals): State<watch::Receiver<Vitals>>| async move { probe(death(&vitals)) });
    let readiness = get(|State(vitals): State<watch::Receiver<Vitals>>| async move {
        let unready = vitals.borrow().unready.clone();
        probe(death(&vitals).or(unready))
    });
    let numbers = get(move || async move { ([(header::CONTENT_TYPE, METRICS_TYPE)], metrics.text()) });
    Router::new().route("/healthz", health).route("/readyz", readiness).route("/metrics", numbers).with_state(vitals)
}

/// The type of [`Metrics::text`].
const METRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

fn death(vitals: &watch::Receiver<Vitals>) -> Option<String> {
    let is_fed = vitals.has_changed().is_ok();
    if is_fed { vitals.borrow().dead.clone() } else { Some("the agent's loop has ended".to_owned()) }
}

fn probe(trouble: Option<String>) -> (StatusCode, String) {
    match trouble {
        None => (StatusCode::OK, "ok\n".to_owned()),
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
    }
}

/// The hooks that are configured; cheap to clone, all clones are one.
#[derive(Clone, Debug)]
pub struct Hooks {
    sources: Arc<Mutex<HashMap<String, Source>>>,
    wake: mpsc::Sender<String>,
}

#[derive(Debug)]
struct Source {
    forge: HookForge,
    secret: HookSecret,
    bucket: Bucket,
}

impl Hooks {
    /// Hooks that send the Sync's `namespace/name` to `wake`. If that channel is full, enough wakes are under way.
    pub fn new(wake: mpsc::Sender<String>) -> Self {
        Self { sources: Arc::default(), wake }
    }

    /// Configures the hook of a Sync (`namespace/name`), or gives it another secret.
    pub fn set(&self, sync: &str, forge: HookForge, secret: HookSecret) {
        let mut sources = self.sources();
        match sources.get_mut(sync) {
            Some(source) => (source.forge, source.secret) = (forge, secret),
            None => drop(sources.insert(sync.to_owned(), Source { forge, secret, bucket: Bucket::new(Instant::now()) })),
        }
    }

    /// Takes the hook of a Sync away.
    pub fn remove(&self, sync: &str) {
        self.sources().remove(sync);
    }

    fn find(&self, sync: &str) -> Option<(HookForge, HookSecret)> {
        self.sources().get(sync).map(|source| (source.forge, source.secret.clone()))
    }

    fn sources(&self) -> MutexGuard<'_, HashMap<String, Source>> {
        // A panic while it was held left a map that is still one.
        self.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes the Sync now or when its bucket allows it; a wake is never lost, only joined with another one.
    fn wake(&self, sync: String) {
        let take = self.sources().get_mut(&sync).map(|source| source.bucket.take(Instant::now()));
        match take {
            Some(Take::Now) => drop(self.wake.try_send(sync)),
            Some(Take::In(delay)) => drop(tokio::spawn(self.clone().wake_later(sync, delay))),
            Some(Take::Joined) | None => {}
        }
    }

    async fn wake_later(self, sync: String, delay: Duration) {
        tokio::time::sleep(delay).await;
        if let Some(source) = self.sources().get_mut(&sync) {
            source.bucket.waiting = false;
        }
        let _ = self.wake.try_send(sync);
    }
}

/// A token bucket that remembers whether somebody waits for its next token.
#[derive(Debug)]
struct Bucket {
    tokens: f64,
    at: Instant,
    waiting: bool,
}

#[derive(Debug, PartialEq)]
enum Take {
    Now,
    In(Duration),
    /// Somebody waits already.
    Joined,
}

impl Bucket {
    fn new(now: Instant) -> Self {
        Self { tokens: BURST, at: now, waiting: false }
    }

    fn take(&mut self, now: Instant) -> Take {
        if self.waiting {
            return Take::Joined;
        }
        let filled = now.saturating_duration_since(self.at).as_secs_f64() / REFILL.as_secs_f64();
        self.tokens = (self.tokens + filled).min(BURST) - 1.0;
        self.at = now;
        self.waiting = self.tokens < 0.0;
        if self.waiting { Take::In(REFILL.mul_f64(-self.tokens)) } else { Take::Now }
    }
}

/// `POST /hook/<namespace>/<sync>`: 202 to who knows the secret, 401 to who doesn't, 404 where no hook is configured; never a word more.
pub fn hooks(hooks: Hooks) -> Router {
    Router::new().route("/hook/{namespace}/{sync}", post(deliver)).with_state(hooks)
}

async fn deliver(State(hooks): State<Hooks>, Path((namespace, name)): Path<(String, String)>, request: Request<Body>) -> StatusCode {
    let sync = format!("{namespace}/{name}");
    let Some((forge, secret)) = hooks.find(&sync) else { return StatusCode::NOT_FOUND };
    let (head, body) = request.into_parts();
    if let Err(status) = check_headers(&head.headers) {
        return status;
    }
    let body = match tokio::time::timeout(PATIENCE, to_bytes(body, BODY)).await {
        Ok(Ok(body)) => body,
        Ok(Err(_)) => return StatusCode::PAYLOAD_TOO_LARGE,
        Err(_) => return StatusCode::REQUEST_TIMEOUT,
    };
    if let Err(refused) = verify(forge, &secret, &head.headers, &body) {
        tracing::warn!(sync, "a delivery to the push hook is not believed: {refused}");
        return StatusCode::UNAUTHORIZED;
    }
    if forge.is_push(&head.headers) {
        hooks.wake(sync);
    }
    StatusCode::ACCEPTED
}

/// What can be refused before the body is read. Of a form, Gitea and Forgejo sign what is in it and not what is sent.
fn check_headers(headers: &HeaderMap) -> Result<(), StatusCode> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let length = text(header::CONTENT_LENGTH).parse().unwrap_or(0_u64);
    if length > BODY as u64 {
        Err(StatusCode::PAYLOAD_TOO_LARGE)
    } else if text(header::CONTENT_TYPE).starts_with("application/x-www-form-urlencoded") {
        Err(StatusCode::UNSUPPORTED_MEDIA_TYPE)
    } else {
        Ok(())
    }
}

/// Serves `router` until `stop` comes, then drops what is under way: probes, scrapes and hooks are all tried again.
pub async fn serve(listener: TcpListener, router: Router, stop: impl Future<Output = ()>) {
    tokio::select! {
        () = stop => {}
        () = accept(listener, router, PATIENCE) => {}
    }
}

async fn accept(listener: TcpListener, router: Router, patience: Duration) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    // Dropped with this future, and with it all connections.
    let mut connections = JoinSet::new();
    while let Ok(slot) = Arc::clone(&slots).acquire_owned().await {
        match listener.accept().await {
            Ok((stream, _)) => {
                let router = router.clone();
                connections.spawn(async move {
                    connection(stream, router, patience).await;
                    drop(slot);
                });
            }
            Err(error) => {
                tracing::warn!("no connection can be accepted: {error}");
                tokio::time::sleep(RECOVER).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn connection(stream: TcpStream, router: Router, patience: Duration) {
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(patience).max_header_size(HEADERS);
    let served = server.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router)).await;
    if let Err(error) = served {
        tracing::debug!("a connection ended: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    const DIGEST: &str = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";

    /// Serves on a free port; the answer to `request` on one connection, until it is closed.
    struct Served(std::net::SocketAddr, #[expect(dead_code, reason = "dropped with the server")] tokio::sync::oneshot::Sender<()>);

    async fn start(router: Router) -> Served {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        tokio::spawn(async move {
            tokio::select! {
                _ = stopped => {}
                () = accept(listener, router, Duration::from_millis(300)) => {}
            }
        });
        Served(address, stop)
    }

    impl Served {
        async fn ask(&self, request: &[u8]) -> String {
            let mut stream = TcpStream::connect(self.0).await.unwrap();
            // The server may have answered and closed before it has read all.
            let _ = stream.write_all(request).await;
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer).await;
            String::from_utf8(answer).unwrap()
        }

        async fn get(&self, path: &str) -> String {
            self.ask(format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes()).await
        }

        async fn deliver(&self, path: &str, headers: &str, body: &str) -> String {
            let length = body.len();
            let head = format!("POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n");
            let answer = self.ask(format!("{head}{body}").as_bytes()).await;
            answer.split(' ').nth(1).unwrap_or("closed").to_owned()
        }
    }

    async fn hook() -> (Served, Hooks, mpsc::Receiver<String>) {
        let (wake, woken) = mpsc::channel(16);
        let all = Hooks::new(wake);
        all.set("web/fleet", HookForge::Gitea, HookSecret::new(Secret::new("It's a Secret to Everybody")).unwrap());
        (start(hooks(all.clone())).await, all, woken)
    }

    #[tokio::test]
    async fn the_probes_tell_what_the_loop_says_and_notice_when_it_is_gone() {
        let (feed, vitals) = watch::channel(Vitals::default());
        let metrics = Arc::new(Metrics::new());
        metrics.rendered();
        let served = start(observe(vitals, metrics)).await;
        assert!(served.get("/healthz").await.starts_with("HTTP/1.1 200"));
        let starting = served.get("/readyz").await;
        assert!(starting.starts_with("HTTP/1.1 503") && starting.ends_with("it is starting\n"), "{starting}");
        feed.send_replace(Vitals { dead: None, unready: None });
        assert!(served.get("/readyz").await.starts_with("HTTP/1.1 200"));
        assert!(served.get("/metrics").await.contains("plimsoll_renders_total 1"));
        assert!(served.get("/else").await.starts_with("HTTP/1.1 404"));
        feed.send_replace(Vitals { dead: Some("stuck".into()), unready: None });
        assert!(served.get("/healthz").await.ends_with("stuck\n"));
        drop(feed);
        assert!(served.get("/healthz").await.contains("loop has ended"));
    }

    #[tokio::test]
    async fn a_signed_push_wakes_its_sync_and_nothing_else() {
        let (served, hooks, mut woken) = hook().await;
        let signed = format!("x-gitea-signature: {DIGEST}\r\n");
        assert_eq!(served.deliver("/hook/web/fleet", &signed, "Hello, World!").await, "202");
        assert_eq!(woken.try_recv().unwrap(), "web/fleet");
        assert_eq!(served.deliver("/hook/web/fleet", &format!("{signed}x-gitea-event: issues\r\n"), "Hello, World!").await, "202");
        assert_eq!(served.deliver("/hook/web/fleet", &signed, "Hello, Wurld!").await, "401");
        assert_eq!(served.deliver("/hook/web/fleet", "", "Hello, World!").await, "401");
        assert_eq!(served.deliver("/hook/web/other", &signed, "Hello, World!").await, "404");
        assert_eq!(served.deliver("/hook", &signed, "Hello, World!").await, "404");
        assert_eq!(
            served.deliver("/hook/web/fleet", &format!("{signed}content-type: application/x-www-form-urlencoded\r\n"), "x").await,
            "415"
        );
        assert!(served.get("/hook/web/fleet").await.starts_with("HTTP/1.1 405"));
        hooks.remove("web/fleet");
        assert_eq!(served.deliver("/hook/web/fleet", &signed, "Hello, World!").await, "404");
        assert!(woken.try_recv().is_err(), "one wake and no more");
    }

    #[tokio::test]
    async fn a_body_without_end_is_refused() {
        let (served, _hooks, _woken) = hook().await;
        let announced = served.ask(b"POST /hook/web/fleet HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999\r\n\r\n").await;
        assert!(announced.starts_with("HTTP/1.1 413"), "{announced}");
        let mut chunked = b"POST /hook/web/fleet HTTP/1.1\r\nhost: x\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
        for _ in 0..20 {
            chunked.extend_from_slice(b"10000\r\n");
            chunked.extend_from_slice(&[b'x'; 65_536]);
            chunked.extend_from_slice(b"\r\n");
        }
        let mut stream = TcpStream::connect(served.0).await.unwrap();
        let _ = stream.write_all(&chunked).await;
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 413");
    }

    #[tokio::test]
    async fn a_connection_that_says_nothing_is_closed() {
        let (served, _hooks, _woken) = hook().await;
        for said in ["", "POST /hook/web/fleet HTTP/1.1\r\nhost", "GET / HTTP/1.1\r\nhost: x\r\n\r\n"] {
            let answer = tokio::time::timeout(Duration::from_secs(5), served.ask(said.as_bytes())).await;
            assert!(answer.is_ok(), "still open after `{said}`");
        }
    }

    #[test]
    fn many_pushes_are_joined_and_none_is_lost() {
        let start = Instant::now();
        let mut bucket = Bucket::new(start);
        let after = |refills: f64| start + REFILL.mul_f64(refills);
        for _ in 0..5 {
            assert_eq!(bucket.take(start), Take::Now);
        }
        assert_eq!(bucket.take(start), Take::In(REFILL));
        assert_eq!(bucket.take(after(0.2)), Take::Joined);
        bucket.waiting = false;
        assert_eq!(bucket.take(after(1.2)), Take::In(REFILL.mul_f64(0.8)));
        bucket.waiting = false;
        for _ in 0..5 {
            assert_eq!(bucket.take(after(120.0)), Take::Now);
        }
    }
}
