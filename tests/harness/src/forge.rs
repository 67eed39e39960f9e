//! A real forge: Gitea with SQLite. Knows nothing of Plimsoll but that it posts commit statuses.

use std::path::Path;
use std::process::Command;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::lab::Binaries;
use crate::{Lab, Process, Repository, Result, Trouble, free_port, until};

/// The administrator, who owns the repositories.
pub const USER: &str = "lab";
/// The administrator's password; the forge listens on 127.0.0.1 for as long as a test runs.
pub const PASSWORD: &str = "plimsoll-lab-password";
/// A real one took 1.2 s; loaded machines take longer.
const READY: Duration = Duration::from_secs(60);

/// What somebody said on a commit, newest word per context first.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct CommitStatus {
    /// Who says it, as `plimsoll/aws`.
    pub context: String,
    /// `pending`, `success`, `failure`, `error` or `warning`.
    #[serde(rename = "status")]
    pub state: String,
    /// The text.
    pub description: String,
    /// Where to read more; may be empty.
    pub target_url: String,
    /// When, RFC 3339 with seconds.
    pub created_at: String,
}

/// A forge: one process, one port, one directory.
pub struct Forge {
    directory: tempfile::TempDir,
    port: u16,
    binaries: Binaries,
    token: String,
    process: Mutex<Option<Process>>,
}

impl Forge {
    /// Starts a forge with an administrator and a token, and waits until it serves.
    ///
    /// # Errors
    /// If the lab can't be built, or with the end of the log if the forge does not come up.
    pub async fn start() -> Result<Self> {
        let mut forge = tokio::task::spawn_blocking(Self::set_up).await??;
        forge.start_again().await?;
        forge.token = forge.new_token(&["all"]).await?;
        Ok(forge)
    }

    fn set_up() -> Result<Self> {
        let (directory, port, binaries) = (tempfile::Builder::new().prefix("plimsoll-forge-").tempdir()?, free_port()?, Lab::binaries()?);
        let forge = Self { directory, port, binaries, token: String::new(), process: Mutex::new(None) };
        for made in ["conf", "home", "repositories"] {
            std::fs::create_dir_all(forge.path().join(made))?;
        }
        std::fs::write(forge.path().join("conf/app.ini"), forge.configuration())?;
        forge.run_to_end(&["migrate"])?;
        let user = ["admin", "user", "create", "--admin", "--username", USER, "--password", PASSWORD, "--email", "lab@lab.example"];
        forge.run_to_end(&[&user[..], &["--must-change-password=false"]].concat())?;
        Ok(forge)
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Secrets are constants: they protect nothing but a throw-away server on 127.0.0.1. Queues are in memory: those on disk are polled
    /// with a back-off of up to two seconds, and a hook would wait for it.
    fn configuration(&self) -> String {
        let (directory, port, data) = (self.path().display(), self.port, self.binaries.gitea_data.display());
        format!(
            "APP_NAME = lab\nRUN_MODE = prod\nI_AM_BEING_UNSAFE_RUNNING_AS_ROOT = true\nWORK_PATH = {directory}\n\
            [server]\nPROTOCOL = http\nHTTP_ADDR = 127.0.0.1\nHTTP_PORT = {port}\nROOT_URL = http://127.0.0.1:{port}/\n\
            LOCAL_ROOT_URL = http://127.0.0.1:{port}/\nDISABLE_SSH = true\nOFFLINE_MODE = true\nLFS_START_SERVER = false\n\
            STATIC_ROOT_PATH = {data}\n\
            [database]\nDB_TYPE = sqlite3\nPATH = {directory}/gitea.db\nSQLITE_JOURNAL_MODE = WAL\nLOG_SQL = false\n\
            [security]\nINSTALL_LOCK = true\nSECRET_KEY = plimsoll-lab-secret\nINTERNAL_TOKEN = plimsoll-lab-internal-token\n\
            PASSWORD_HASH_ALGO = pbkdf2$1$50\nPASSWORD_CHECK_PWN = false\nPASSWORD_COMPLEXITY = off\n\
            [oauth2]\nENABLED = false\nJWT_SECRET = cGxpbXNvbGwtbGFiLXNlY3JldC1vZi0zMi1ieXRlcyE\n\
            [repository]\nROOT = {directory}/repositories\nDEFAULT_BRANCH = main\n\
            [webhook]\nALLOWED_HOST_LIST = loopback\nDELIVER_TIMEOUT = 5\n[queue]\nTYPE = channel\n\
            [log]\nMODE = console\nLEVEL = Warn\n[session]\nPROVIDER = memory\n[indexer]\nISSUE_INDEXER_TYPE = db\n\
            [service]\nDISABLE_REGISTRATION = true\n[cron]\nENABLED = false\n[cron.update_checker]\nENABLED = false\n\
            [actions]\nENABLED = false\n[packages]\nENABLED = false\n[mailer]\nENABLED = false\n\
            [picture]\nDISABLE_GRAVATAR = true\n[openid]\nENABLE_OPENID_SIGNIN = false\n"
        )
    }

    fn gitea(&self, arguments: &[&str]) -> Command {
        let mut gitea = Command::new(&self.binaries.gitea);
        gitea.arg("--config").arg(self.path().join("conf/app.ini")).args(arguments);
        gitea.env("HOME", self.path().join("home")).env("GITEA_WORK_DIR", self.path()).env("GITEA_CUSTOM", self.path());
        gitea
    }

    fn run_to_end(&self, arguments: &[&str]) -> Result {
        let output = self.gitea(arguments).output()?;
        if output.status.success() {
            return Ok(());
        }
        let said = [output.stdout, output.stderr].concat();
        Err(Trouble::new(format!("gitea {} ended with {}: {}", arguments.join(" "), output.status, String::from_utf8_lossy(&said))))
    }

    /// Starts the forge again on its directory, after [`Forge::stop`], and waits until it serves.
    ///
    /// # Errors
    /// With the end of the log if it does not come up.
    pub async fn start_again(&self) -> Result {
        let process = Process::kept("gitea", &self.binaries.keep, &self.gitea(&["web"]), Some(self.path()), &self.path().join("log"))?;
        *self.process() = Some(process);
        let ready = until("gitea to serve", READY, async || self.ask("GET", "/version", None).await).await;
        ready.map(drop).map_err(|error| error.while_doing(self.tail()))
    }

    /// Stops the forge, as an outage would; its directory stays.
    pub fn stop(&self) {
        *self.process() = None;
    }

    fn process(&self) -> MutexGuard<'_, Option<Process>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The end of its log.
    #[must_use]
    pub fn tail(&self) -> String {
        self.process().as_ref().map_or_else(String::new, Process::tail)
    }

    /// The root of its web page, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The administrator's token: all rights.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Makes another token of the administrator's with these scopes, as `read:repository`.
    ///
    /// # Errors
    /// If the forge refuses.
    pub async fn new_token(&self, scopes: &[&str]) -> Result<String> {
        static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(1);
        let name = format!("token-{}", NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
        let basic = format!("Basic {}", STANDARD.encode(format!("{USER}:{PASSWORD}")));
        let body = json!({"name": name, "scopes": scopes});
        let answer = self.send("POST", &format!("/users/{USER}/tokens"), Some(&body), &basic).await?;
        answer["sha1"].as_str().map(str::to_owned).ok_or_else(|| Trouble::new("gitea made no token"))
    }

    /// Makes a repository, with nothing in it yet, and a clone to work in.
    ///
    /// # Errors
    /// If the forge refuses, for one because the name is taken.
    pub async fn repository(&self, name: &str) -> Result<Repository> {
        self.ask("POST", "/user/repos", Some(&json!({"name": name, "private": false, "default_branch": "main"}))).await?;
        let (full, url) = (format!("{USER}/{name}"), format!("{}/{USER}/{name}.git", self.url()));
        Repository::on_forge(&full, &url, USER, &self.token)
    }

    /// Makes a repository private, or public again.
    ///
    /// # Errors
    /// If the forge refuses.
    pub async fn set_private(&self, repository: &str, private: bool) -> Result {
        self.ask("PATCH", &format!("/repos/{repository}"), Some(&json!({"private": private}))).await.map(drop)
    }

    /// Has the forge tell an address of each push, signed with a secret.
    ///
    /// # Errors
    /// If the forge refuses.
    pub async fn webhook(&self, repository: &str, url: &str, secret: &str) -> Result {
        let config = json!({"url": url, "content_type": "json", "secret": secret});
        let hook = json!({"type": "gitea", "active": true, "events": ["push"], "config": config});
        self.ask("POST", &format!("/repos/{repository}/hooks"), Some(&hook)).await.map(drop)
    }

    /// The last word of each context on a commit.
    ///
    /// # Errors
    /// If the forge does not answer, or does not know the commit.
    pub async fn statuses(&self, repository: &str, commit: &str) -> Result<Vec<CommitStatus>> {
        let mut answer = self.ask("GET", &format!("/repos/{repository}/commits/{commit}/status"), None).await?;
        Ok(serde_json::from_value::<Option<_>>(answer["statuses"].take())?.unwrap_or_default())
    }

    /// Every word that was said on a commit, newest first (at most 50).
    ///
    /// # Errors
    /// If the forge does not answer, or does not know the commit.
    pub async fn all_statuses(&self, repository: &str, commit: &str) -> Result<Vec<CommitStatus>> {
        Ok(serde_json::from_value(self.ask("GET", &format!("/repos/{repository}/commits/{commit}/statuses?limit=50"), None).await?)?)
    }

    /// Asks the forge's API as the administrator; the path is below `/api/v1`.
    ///
    /// # Errors
    /// With the status and the words of an answer that is no success.
    pub async fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value> {
        self.ask_as(&self.token, method, path, body).await
    }

    /// Asks the forge's API with a token of your own.
    ///
    /// # Errors
    /// With the status and the words of an answer that is no success.
    pub async fn ask_as(&self, token: &str, method: &str, path: &str, body: Option<&Value>) -> Result<Value> {
        self.send(method, path, body, &format!("token {token}")).await
    }

    async fn send(&self, method: &str, path: &str, body: Option<&Value>, authorization: &str) -> Result<Value> {
        let mut request = http()?.request(method.parse()?, format!("{}/api/v1{path}", self.url()));
        // A token that is not known yet would be refused.
        if authorization != "token " {
            request = request.header("Authorization", authorization);
        }
        if let Some(body) = body {
            request = request.header("Content-Type", "application/json").body(body.to_string());
        }
        let answer = request.send().await?;
        let (status, text) = (answer.status(), answer.text().await?);
        if !status.is_success() {
            return Err(Trouble::new(format!("gitea answers {status} to {method} {path}: {text}")));
        }
        Ok(if text.is_empty() { Value::Null } else { serde_json::from_str(&text)? })
    }
}

/// A client that keeps no connection: connections belong to the runtime of one test.
pub(crate) fn http() -> Result<&'static reqwest::Client> {
    static CLIENT: LazyLock<std::result::Result<reqwest::Client, String>> = LazyLock::new(|| {
        // Another part of the process may have installed one already, which is as good.
        drop(rustls::crypto::ring::default_provider().install_default());
        let client = reqwest::Client::builder().no_proxy().pool_max_idle_per_host(0).timeout(Duration::from_secs(30)).build();
        client.map_err(|error| error.to_string())
    });
    CLIENT.as_ref().map_err(|error| Trouble::new(error.as_str()))
}
