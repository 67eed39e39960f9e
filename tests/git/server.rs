//! A Git server over HTTP, made of the real `git http-backend`, which can be told to misbehave as servers do. It knows no agent.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use harness::{Result, Trouble};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::task::JoinHandle;

/// What the server does with a request.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Manner {
    /// Answers as Git does.
    #[default]
    Well,
    /// Asks for this `Authorization`, and refuses any other.
    Private(String),
    /// Answers each request with these lines and nothing else.
    Status(String),
    /// Takes the request and says nothing.
    Silent,
    /// Sends the answer to a question byte by byte, two in a second.
    Drips,
    /// Lists references without end.
    EndlessReferences,
    /// Sends a pack without end.
    EndlessPack,
    /// Sends an answer to `fetch` but for its last bytes.
    CutOff(usize),
    /// Sends a pack in which one byte is another.
    Garbled,
    /// Talks as a server did before protocol version 2.
    Old,
}

/// What went over the wire for one request.
#[derive(Clone, Debug)]
pub(crate) struct Exchange {
    /// `GET /a.git/info/refs?service=git-upload-pack`
    pub(crate) line: String,
    /// The credential that was sent; empty where none was.
    pub(crate) authorization: String,
    /// Bytes of the request's body.
    pub(crate) asked: usize,
    /// Bytes of the answer's body.
    pub(crate) answered: usize,
}

/// A server on a port of its own, for as long as this lives.
pub(crate) struct Server {
    /// Its root, as `http://127.0.0.1:1234`.
    pub(crate) url: String,
    state: Arc<State>,
    task: JoinHandle<()>,
}

struct State {
    root: PathBuf,
    manner: Mutex<Manner>,
    log: Mutex<Vec<Exchange>>,
}

struct Request {
    method: String,
    path: String,
    query: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
    }

    fn is_fetch(&self) -> bool {
        self.body.starts_with(b"0012command=fetch")
    }

    fn is_question(&self) -> bool {
        self.method == "POST"
    }
}

impl Server {
    /// Serves the repositories below a directory.
    pub(crate) async fn start(root: PathBuf) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let state = Arc::new(State { root, manner: Mutex::default(), log: Mutex::default() });
        let shared = Arc::clone(&state);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let shared = Arc::clone(&shared);
                // A client that goes away in the middle is no trouble of the server.
                tokio::spawn(async move { drop(serve(stream, &shared).await) });
            }
        });
        Ok(Self { url, state, task })
    }

    /// Behaves in another way from now on.
    pub(crate) fn behave(&self, manner: Manner) {
        *self.state.manner.lock().unwrap_or_else(PoisonError::into_inner) = manner;
    }

    /// What went over the wire since this was last asked.
    pub(crate) fn log(&self) -> Vec<Exchange> {
        std::mem::take(&mut self.state.log.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(stream: TcpStream, state: &State) -> Result {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    while let Some(request) = read(&mut stream).await? {
        let manner = state.manner.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let line = format!("{} {}?{}", request.method, request.path, request.query);
        let (head, body) = answer(&manner, &request, state).await?;
        let exchange =
            Exchange { line, authorization: request.header("authorization").to_owned(), asked: request.body.len(), answered: body.len() };
        state.log.lock().unwrap_or_else(PoisonError::into_inner).push(exchange);
        send(&mut stream, &manner, &request, &head, &body).await?;
    }
    Ok(())
}

async fn read(stream: &mut BufReader<TcpStream>) -> Result<Option<Request>> {
    let mut line = String::new();
    if stream.read_line(&mut line).await? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace();
    let (method, target) = (words.next().unwrap_or_default().to_owned(), words.next().unwrap_or_default().to_owned());
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        let Some((key, value)) = line.trim().split_once(':') else { break };
        headers.push((key.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let mut request = Request { method, path: path.to_owned(), query: query.to_owned(), headers, body: Vec::new() };
    request.body = vec![0; request.header("content-length").parse().unwrap_or(0)];
    stream.read_exact(&mut request.body).await?;
    Ok(Some(request))
}

async fn answer(manner: &Manner, request: &Request, state: &State) -> Result<(String, Vec<u8>)> {
    let status = |lines: &str| Ok((lines.to_owned(), b"<!DOCTYPE html> no".to_vec()));
    match manner {
        Manner::Status(lines) => status(lines),
        Manner::Private(wanted) if request.header("authorization") != wanted => {
            status("401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"Gitea\"")
        }
        Manner::Old => backend(request, state, "").await,
        _ => backend(request, state, request.header("git-protocol")).await,
    }
}

/// Runs the program as a web server would (RFC 3875), and takes its answer apart.
async fn backend(request: &Request, state: &State, protocol: &str) -> Result<(String, Vec<u8>)> {
    let mut command = Command::new("git");
    command.arg("http-backend").env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.env("GIT_PROJECT_ROOT", &state.root).env("GIT_HTTP_EXPORT_ALL", "1").env("GIT_CONFIG_NOSYSTEM", "1");
    command.env("PATH_INFO", &request.path).env("QUERY_STRING", &request.query).env("REQUEST_METHOD", &request.method);
    command.env("CONTENT_TYPE", request.header("content-type")).env("CONTENT_LENGTH", request.body.len().to_string());
    command.env("GIT_PROTOCOL", protocol).env("HTTP_GIT_PROTOCOL", protocol);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true).spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(&request.body).await?;
    }
    let output = child.wait_with_output().await?.stdout;
    let cut = output.windows(4).position(|window| window == b"\r\n\r\n").ok_or_else(|| Trouble::new("git http-backend says nothing"))?;
    let head = String::from_utf8_lossy(&output[..cut]).into_owned();
    let body = output[cut + 4..].to_vec();
    Ok(match head.strip_prefix("Status: ") {
        Some(head) => (head.to_owned(), body),
        None => (format!("200 OK\r\n{head}"), body),
    })
}

async fn send(stream: &mut BufReader<TcpStream>, manner: &Manner, request: &Request, head: &str, body: &[u8]) -> Result {
    if *manner == Manner::Silent {
        return std::future::pending().await;
    }
    let endless = |head: &str| format!("HTTP/1.1 {head}\r\n\r\n");
    let mut body = body.to_vec();
    match manner {
        Manner::EndlessReferences if request.is_question() => {
            stream.write_all(endless(head).as_bytes()).await?;
            let line = b"003d1111111111111111111111111111111111111111 refs/heads/mains";
            return forever(stream, &line.repeat(500)).await;
        }
        Manner::EndlessPack if request.is_fetch() => {
            stream.write_all(endless(head).as_bytes()).await?;
            // One blob that says it has 512 GB, in stored blocks of 8 KiB: all of it is as it should be, but that it never ends.
            stream.write_all(b"000dpackfile\n0019\x01PACK\0\0\0\x02\0\0\0\x01\xbf\xff\xff\xff\xff\x7f\x78\x01").await?;
            return forever(stream, &[b"200a\x01\0\0\x20\xff\xdf".as_slice(), &[0; 8192]].concat()).await;
        }
        Manner::CutOff(bytes) if request.is_fetch() => body.truncate(body.len().saturating_sub(*bytes)),
        // The last forty bytes are the pack's own hash and a flush.
        Manner::Garbled if request.is_fetch() => body.iter_mut().rev().nth(40).into_iter().for_each(|byte| *byte ^= 0x55),
        _ => {}
    }
    stream.write_all(format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes()).await?;
    if *manner == Manner::Drips && request.is_question() {
        return drip(stream, &body).await;
    }
    Ok(stream.write_all(&body).await?)
}

async fn forever(stream: &mut BufReader<TcpStream>, piece: &[u8]) -> Result {
    loop {
        stream.write_all(piece).await?;
    }
}

async fn drip(stream: &mut BufReader<TcpStream>, body: &[u8]) -> Result {
    for byte in body {
        stream.write_all(&[*byte]).await?;
        stream.flush().await?;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    Ok(())
}
