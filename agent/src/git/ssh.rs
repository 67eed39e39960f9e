//! Git over ssh, by the `ssh` program: it knows hosts, keys, agents and configuration files better than we ever would.
//!
//! This is the only place of the agent that starts a process. It decides how ssh is called and what its complaints mean; the
//! conversation itself is that of `protocol`.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::task::JoinHandle;

use super::address::Host;
use super::protocol::{Capabilities, shown};
use super::stream::Stream;
use super::{Credentials, Error, Limits};
use crate::secret::{SafeUrl, Secret};

/// Of what ssh complains about, this much is read; the rest is thrown away.
const COMPLAINTS: u64 = 64 << 10;

/// A repository behind sshd.
pub(super) struct Ssh {
    url: SafeUrl,
    host: Host,
    program: PathBuf,
    identity: Option<Secret>,
    known_hosts: Option<String>,
    limits: Limits,
    directory: PathBuf,
}

impl Ssh {
    /// `directory` takes the key and the host keys for as long as ssh runs, in files that only we can read.
    pub(super) fn new(url: SafeUrl, host: Host, credentials: &Credentials, limits: Limits, directory: PathBuf) -> Self {
        let program = credentials.ssh.clone().unwrap_or_else(|| PathBuf::from("ssh"));
        Self { url, host, program, identity: credentials.identity.clone(), known_hosts: credentials.known_hosts.clone(), limits, directory }
    }

    /// Connects, reads what the server can do, and puts a question.
    pub(super) async fn ask(
        &self,
        question: &(dyn Fn(&Capabilities) -> Vec<u8> + Sync),
        what: &'static str,
        limit: u64,
    ) -> Result<Stream, Error> {
        let session = self.connect()?;
        let mut stream = Stream::ssh(self.url.clone(), session, "references of too many bytes", self.limits.ls_refs);
        let request = question(&stream.greeting().await?);
        stream.say(&request).await?;
        stream.expect(what, limit);
        Ok(stream)
    }

    fn connect(&self) -> Result<Session, Error> {
        let identity = self.identity.as_ref().map(|identity| self.private_file(identity.reveal())).transpose()?;
        let known_hosts = self.known_hosts.as_ref().map(|hosts| self.private_file(hosts)).transpose()?;
        let path = |file: &Option<tempfile::NamedTempFile>| file.as_ref().map(|file| file.path().to_owned());
        let mut command = Command::new(&self.program);
        command.args(arguments(&self.host, path(&identity).as_deref(), path(&known_hosts).as_deref()));
        // Complaints are understood in English only.
        command.env("GIT_PROTOCOL", "version=2").env("LC_ALL", "C");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let child = command.spawn().map_err(|error| Error::Setting {
            what: format!("the program `{}`", self.program.display()),
            why: error.to_string(),
            hint: "install OpenSSH's client, or use an https URL",
        })?;
        Session::new(child, identity.into_iter().chain(known_hosts).collect(), self.identity.is_some())
            .ok_or_else(|| Error::Unreachable { url: self.url.clone(), why: "ssh has no pipes".to_owned() })
    }

    /// `tempfile` makes files of mode 0600. OpenSSH wants a line end after the last line of a key.
    fn private_file(&self, text: &str) -> Result<tempfile::NamedTempFile, Error> {
        let write = || {
            std::fs::create_dir_all(&self.directory)?;
            let mut file = tempfile::Builder::new().prefix("ssh-").tempfile_in(&self.directory)?;
            writeln!(file, "{}", text.trim_end())?;
            Ok(file)
        };
        write().map_err(|error: std::io::Error| Error::Store { path: self.directory.clone(), why: error.to_string() })
    }
}

/// How ssh is called: never asks, never trusts a new host, forwards nothing.
fn arguments(host: &Host, identity: Option<&Path>, known_hosts: Option<&Path>) -> Vec<String> {
    let mut all: Vec<String> = ["-T", "-a", "-x"].map(str::to_owned).into();
    let mut option = |text: String| all.extend(["-o".to_owned(), text]);
    for fixed in [
        "BatchMode=yes",
        "ConnectTimeout=10",
        "ServerAliveInterval=15",
        "StrictHostKeyChecking=yes",
        "ClearAllForwardings=yes",
        "PermitLocalCommand=no",
    ] {
        option(fixed.to_owned());
    }
    // Protocol version 2; without it the server answers in an older one.
    option("SendEnv=GIT_PROTOCOL".to_owned());
    if let Some(file) = known_hosts {
        option(format!("UserKnownHostsFile={}", quoted(file)));
        option("GlobalKnownHostsFile=none".to_owned());
    }
    if let Some(file) = identity {
        option(format!("IdentityFile={}", quoted(file)));
        // Otherwise a full agent uses up the tries that the server grants.
        option("IdentitiesOnly=yes".to_owned());
    }
    if let Some(port) = host.port {
        all.extend(["-p".to_owned(), port.to_string()]);
    }
    let login = host.user.as_ref().map_or_else(|| host.name.clone(), |user| format!("{user}@{}", host.name));
    all.extend(["--".to_owned(), login, format!("git-upload-pack '{}'", host.path.replace('\'', r"'\''"))]);
    all
}

/// In options, ssh splits at blanks and expands `%`.
fn quoted(file: &Path) -> String {
    format!("\"{}\"", file.display().to_string().replace('%', "%%"))
}

/// A running ssh. Dropped, it is killed.
pub(super) struct Session {
    child: Child,
    stdin: ChildStdin,
    stdout: ChildStdout,
    complaints: JoinHandle<String>,
    /// The key is needed until ssh has read it, and gone when ssh is.
    _files: Vec<tempfile::NamedTempFile>,
    sent: bool,
}

impl Session {
    fn new(mut child: Child, files: Vec<tempfile::NamedTempFile>, sent: bool) -> Option<Self> {
        let (stdin, stdout, stderr) = (child.stdin.take()?, child.stdout.take()?, child.stderr.take()?);
        let complaints = tokio::spawn(async move {
            let mut text = Vec::new();
            let mut bounded = stderr.take(COMPLAINTS);
            let _ = bounded.read_to_end(&mut text).await;
            // What is more must still be read, or ssh would wait for us.
            let _ = tokio::io::copy(&mut bounded.into_inner(), &mut tokio::io::sink()).await;
            String::from_utf8_lossy(&text).into_owned()
        });
        Some(Self { child, stdin, stdout, complaints, _files: files, sent })
    }

    /// The next piece; `None` at an end that ssh does not complain about.
    pub(super) async fn read(&mut self, url: &SafeUrl) -> Result<Option<Vec<u8>>, Error> {
        let mut piece = vec![0; 32 << 10];
        match self.stdout.read(&mut piece).await {
            Ok(0) => self.ended(url).await,
            Ok(length) => {
                piece.truncate(length);
                Ok(Some(piece))
            }
            Err(error) => Err(Error::Unreachable { url: url.clone(), why: error.to_string() }),
        }
    }

    async fn ended(&mut self, url: &SafeUrl) -> Result<Option<Vec<u8>>, Error> {
        const PATIENCE: Duration = Duration::from_secs(2);
        let text = tokio::time::timeout(PATIENCE, &mut self.complaints).await;
        let text = text.ok().and_then(Result::ok).unwrap_or_default();
        refusal(url, &text, self.sent).map_or(Ok(None), Err)
    }

    /// Sends something. That the other side no longer listens shows at the next read, with the reason.
    pub(super) async fn write(&mut self, url: &SafeUrl, bytes: &[u8]) -> Result<(), Error> {
        let sent = async {
            self.stdin.write_all(bytes).await?;
            self.stdin.flush().await
        };
        match sent.await {
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
                Err(Error::Unreachable { url: url.clone(), why: error.to_string() })
            }
            _ => Ok(()),
        }
    }

    /// A flush tells the server that there are no more questions.
    pub(super) async fn close(mut self) {
        let _ = self.stdin.write_all(b"0000").await;
        drop(self.stdin);
        let _ = self.child.wait().await;
    }
}

/// What ssh or the server wrote before it ended; `None` where it is silent.
fn refusal(url: &SafeUrl, complaints: &str, sent: bool) -> Option<Error> {
    let lines: Vec<&str> =
        complaints.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("Warning: Permanently")).collect();
    let with = |words: &[&str]| {
        lines.iter().find(|line| words.iter().any(|word| line.to_ascii_lowercase().contains(word))).map(|line| shown(line))
    };
    let url = url.clone();
    if with(&["host key verification failed", "host identification has changed", "host key is known", "no matching host key"]).is_some() {
        let why = with(&["has changed", "key is known", "no matching", "verification failed"]).unwrap_or_default();
        return Some(Error::Identity {
            url,
            why,
            hint: "put the line that `ssh-keyscan HOST` prints, once checked, into the Secret as `known_hosts`",
        });
    }
    if let Some(answer) = with(&["permission denied", "too many authentication failures", "error in libcrypto", "invalid format"]) {
        return Some(Error::Credential { url, answer, sent });
    }
    if let Some(why) = with(&["could not resolve hostname"]) {
        return Some(Error::UnknownHost { url, why });
    }
    if let Some(why) = with(&[
        "connection refused",
        "connection timed out",
        "connection closed",
        "connection reset",
        "no route to host",
        "unreachable",
        "timeout",
    ]) {
        return Some(Error::Unreachable { url, why });
    }
    if with(&["does not appear to be a git repository", "repository not found", "not found", "does not exist", "could not find", "no such"])
        .is_some()
    {
        return Some(Error::NotFound { url, sent: true });
    }
    let message = lines.last().map(|line| shown(line))?;
    Some(Error::Remote { url, message })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(path: &str) -> Host {
        Host { user: Some("git".into()), name: "git.example".into(), port: Some(2222), path: path.into() }
    }

    #[test]
    fn ssh_never_asks_and_never_trusts_a_new_host() {
        let all = arguments(&host("a/b.git"), Some(Path::new("/k 1%")), Some(Path::new("/h"))).join(" ");
        for part in [
            "BatchMode=yes",
            "StrictHostKeyChecking=yes",
            "IdentitiesOnly=yes",
            "SendEnv=GIT_PROTOCOL",
            "\"/k 1%%\"",
            "UserKnownHostsFile=\"/h\"",
            "-p 2222",
        ] {
            assert!(all.contains(part), "{part}: {all}");
        }
        assert!(all.ends_with("-- git@git.example git-upload-pack 'a/b.git'"), "{all}");
        assert!(arguments(&host("a'; rm -rf /;'"), None, None).join(" ").ends_with(r"git-upload-pack 'a'\''; rm -rf /;'\'''"));
    }

    #[test]
    fn complaints_are_told_apart_by_what_to_do() {
        let label = |text: &str| refusal(&SafeUrl::new("git@h:a"), text, true).map(|error| error.label());
        assert_eq!(label(""), None);
        assert_eq!(label("git@h: Permission denied (publickey).\r\nfatal: Could not read"), Some("CredentialRefused"));
        assert_eq!(
            label("No ED25519 host key is known for h and you have requested strict checking.\nHost key verification failed."),
            Some("HostNotTrusted")
        );
        assert_eq!(label("ssh: Could not resolve hostname h: Name or service not known"), Some("UnknownHost"));
        assert_eq!(label("ssh: connect to host h port 22: Connection refused"), Some("Unreachable"));
        assert_eq!(label("fatal: '/a' does not appear to be a git repository"), Some("RepositoryNotFound"));
        assert_eq!(label("something else"), Some("RemoteError"));
    }
}
