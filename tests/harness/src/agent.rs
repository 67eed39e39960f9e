//! An agent as a process, as a node runs it. Knows its command line and what it serves, and nothing of its inside.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::forge::http;
use crate::process::tail;
use crate::{Cluster, Lab, Process, Result, Trouble, free_port, until};

/// The namespace that `deploy/` installs into.
pub const SYSTEM: &str = "plimsoll-system";
/// The ServiceAccount that `deploy/` grants the agent's rights to.
pub const ACCOUNT: &str = "plimsoll";
/// An agent is up in well under a second; a loaded machine takes longer.
const UP: Duration = Duration::from_secs(30);

/// What an agent is started with.
#[derive(Clone, Debug)]
pub struct AgentOptions {
    /// The program: `env!("CARGO_BIN_EXE_plimsoll")` in a test.
    pub binary: PathBuf,
    /// Who it is in an election.
    pub identity: String,
    /// The name of the cluster, as commit statuses show it.
    pub cluster_name: String,
    /// The namespace that it serves the Syncs of; all where there is none.
    pub namespace: Option<String>,
    /// How often it audits an object, as `1s`; as it does by itself where none is said.
    pub audit: Option<String>,
}

/// An agent process, with nothing of the cluster but a ServiceAccount's token.
pub struct Agent {
    options: AgentOptions,
    directory: tempfile::TempDir,
    kubeconfig: PathBuf,
    port: u16,
    hook_port: u16,
    process: Mutex<Option<Process>>,
}

impl Agent {
    /// Starts an agent as the ServiceAccount that `deploy/` made, and waits until it serves `/healthz`.
    ///
    /// # Errors
    /// With the end of its log, if it does not come up.
    pub async fn start(cluster: &Cluster, options: AgentOptions) -> Result<Self> {
        let kubeconfig = cluster.kubeconfig_of(SYSTEM, ACCOUNT).await?;
        let directory = tempfile::Builder::new().prefix("plimsoll-agent-").tempdir()?;
        let agent = Self { options, directory, kubeconfig, port: free_port()?, hook_port: free_port()?, process: Mutex::new(None) };
        agent.restart().await?;
        Ok(agent)
    }

    fn command(&self) -> Command {
        let mut run = Command::new(&self.options.binary);
        // As in deploy/daemonset.yaml.
        run.env("MALLOC_CONF", "dirty_decay_ms:0,muzzy_decay_ms:0");
        run.arg("run").arg("--kubeconfig").arg(&self.kubeconfig).args(["--identity", &self.options.identity]);
        run.args(["--cluster-name", &self.options.cluster_name]).arg("--cache-dir").arg(self.directory.path().join("cache"));
        run.args(["--listen", &format!("127.0.0.1:{}", self.port), "--hook-listen", &format!("127.0.0.1:{}", self.hook_port)]);
        run.args(self.options.namespace.iter().flat_map(|namespace| ["--namespace", namespace]));
        run.args(self.options.audit.iter().flat_map(|every| ["--audit", every]));
        run
    }

    /// Starts it again on its cache, after [`Agent::kill`] or [`Agent::stop`].
    ///
    /// # Errors
    /// With the end of its log, if it does not come up.
    pub async fn restart(&self) -> Result {
        let (keep, log) = (Lab::binaries()?.keep, self.log_file());
        let name = format!("agent {}", self.options.identity);
        *self.process() = Some(Process::kept(&name, &keep, &self.command(), Some(self.directory.path()), &log)?);
        let up = async || {
            // A program that has ended will not answer: no need to wait for the deadline.
            let ended = self.process().as_mut().is_none_or(|process| !process.running());
            if ended { Ok(Err(self.trouble("ended at once"))) } else { self.http("/healthz").await.map(Ok) }
        };
        until(&format!("{name} to serve /healthz"), UP, up).await.map_err(|error| error.while_doing(self.tail()))?.map(drop)
    }

    fn log_file(&self) -> PathBuf {
        self.directory.path().join("log")
    }

    fn process(&self) -> MutexGuard<'_, Option<Process>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn trouble(&self, what: &str) -> Trouble {
        self.process().as_ref().map_or_else(|| Trouble::new("it does not run"), |process| process.trouble(what))
    }

    /// Kills it as a crash would.
    pub fn kill(&self) {
        *self.process() = None;
    }

    /// Stops it in order, as a node does.
    ///
    /// # Errors
    /// If it has to be killed.
    pub async fn stop(&self) -> Result {
        let process = self.process().take();
        tokio::task::spawn_blocking(move || process.map_or(Ok(()), |mut process| process.stop())).await?
    }

    /// The process id, while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.process().as_ref().map(Process::pid)
    }

    /// Whether it runs.
    #[must_use]
    pub fn running(&self) -> bool {
        self.process().as_mut().is_some_and(Process::running)
    }

    /// Resident memory now, in bytes.
    #[must_use]
    pub fn resident(&self) -> Option<u64> {
        self.process().as_ref()?.memory("VmRSS")
    }

    /// The most resident memory that it has had, in bytes.
    #[must_use]
    pub fn resident_at_most(&self) -> Option<u64> {
        self.process().as_ref()?.memory("VmHWM")
    }

    /// The end of its log, of all its runs.
    #[must_use]
    pub fn tail(&self) -> String {
        tail(&self.log_file())
    }

    /// All of its log, of all its runs.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    /// Where it keeps its repositories.
    #[must_use]
    pub fn cache(&self) -> PathBuf {
        self.directory.path().join("cache")
    }

    /// Its kubeconfig: a ServiceAccount's token and nothing else.
    #[must_use]
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// The address of its push hook for a Sync.
    #[must_use]
    pub fn hook_url(&self, namespace: &str, sync: &str) -> String {
        format!("http://127.0.0.1:{}/hook/{namespace}/{sync}", self.hook_port)
    }

    /// Reads one of its pages, as `/metrics`.
    ///
    /// # Errors
    /// With the status and the text of an answer that is no success.
    pub async fn http(&self, path: &str) -> Result<String> {
        let answer = http()?.get(format!("http://127.0.0.1:{}{path}", self.port)).send().await?;
        let (status, text) = (answer.status(), answer.text().await?);
        if status.is_success() { Ok(text) } else { Err(Trouble::new(format!("the agent answers {status} to {path}: {text}"))) }
    }

    /// The sum of a metric over the label sets that contain `labels`, as `outcome="created"`; 0 where there is none.
    ///
    /// # Errors
    /// If the agent does not answer.
    pub async fn metric(&self, name: &str, labels: &str) -> Result<f64> {
        let text = self.http("/metrics").await?;
        let of_name = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']));
        Ok(text
            .lines()
            .filter(of_name)
            .filter(|line| line.contains(labels))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum())
    }
}
