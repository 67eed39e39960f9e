//! A program that never outlives the process that started it. Knows no program in particular.
//!
//! A test that is killed can't stop what it has started, but the pipe that it held closes. So everything here runs under a leash: the
//! child ends when its standard input does, and takes its directory with it. `kubelab` does so by itself; `keep` (tests/lab/keep) does
//! it for programs that don't.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use crate::{Result, Trouble};

/// How many lines of a log an error shows.
const TAIL: usize = 40;
/// How long a program may take to end when asked, before it is killed.
const GRACE: Duration = Duration::from_secs(15);

/// A running program, its log, and the leash that ends it.
pub struct Process {
    name: String,
    child: Child,
    program: u32,
    log: PathBuf,
    said: Receiver<String>,
}

impl Process {
    /// Starts a program that holds the leash itself, as `kubelab --leash` does. Its log is appended to, so that a restart keeps the story.
    ///
    /// # Errors
    /// If the program or its log can't be started.
    pub fn leashed(name: &str, command: &mut Command, log: &Path) -> Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(log)?;
        // In a process group of its own: Ctrl-C in a terminal goes to the owner only, who then stops it in order.
        let started = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(file.try_clone()?).process_group(0).spawn();
        let mut child = started.map_err(|error| Trouble::from(error).while_doing(format!("{name} does not start")))?;
        let stdout = child.stdout.take().ok_or_else(|| Trouble::new("no standard output"))?;
        Ok(Self { name: name.to_owned(), program: child.id(), child, log: log.to_owned(), said: lines(stdout, file) })
    }

    /// Starts any program, kept by `keep`; with `remove`, that directory goes when the leash is let go.
    ///
    /// # Errors
    /// If the program does not start.
    pub fn kept(name: &str, keep: &Path, command: &Command, remove: Option<&Path>, log: &Path) -> Result<Self> {
        let mut keeper = Command::new(keep);
        if let Some(directory) = remove {
            keeper.arg("--remove").arg(directory);
        }
        keeper.arg(command.get_program()).args(command.get_args());
        for (key, value) in command.get_envs() {
            match value {
                Some(value) => keeper.env(key, value),
                None => keeper.env_remove(key),
            };
        }
        let mut process = Self::leashed(name, &mut keeper, log)?;
        let line = process.await_line("pid ", Duration::from_secs(20))?;
        process.program = line.parse().map_err(|_| Trouble::new(format!("{name}: no process id in '{line}'")))?;
        Ok(process)
    }

    /// The process id of the program itself.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.program
    }

    /// Waits for a line on standard output that begins so, and returns the rest of it.
    ///
    /// # Errors
    /// With the end of the log, if the program ends or the limit passes first.
    pub fn await_line(&mut self, prefix: &str, limit: Duration) -> Result<String> {
        let end = Instant::now() + limit;
        loop {
            match self.said.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    if let Some(rest) = line.strip_prefix(prefix) {
                        return Ok(rest.to_owned());
                    }
                }
                Err(RecvTimeoutError::Timeout) => return Err(self.trouble(&format!("did not say '{prefix}' within {} s", limit.as_secs()))),
                Err(RecvTimeoutError::Disconnected) => return Err(self.trouble(&format!("ended before it said '{prefix}'"))),
            }
        }
    }

    /// Whether it still runs.
    pub fn running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Kills it as a crash would: no signal that it could catch.
    pub fn kill(&mut self) {
        if self.program == self.child.id() {
            // It fails only for a process that is gone.
            drop(self.child.kill());
        } else {
            self.say("kill");
        }
        // Waiting closes the leash, and who holds it then removes the directory: it must have ended before.
        let end = Instant::now() + GRACE;
        while self.running() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(2));
        }
        if let Err(error) = self.child.wait() {
            tell(&format!("{} can't be waited for: {error}", self.name));
        }
    }

    /// Asks it to end, as a node does, and waits; killed if it takes too long.
    ///
    /// # Errors
    /// With the end of the log, if it had to be killed.
    pub fn stop(&mut self) -> Result {
        self.say("stop");
        let end = Instant::now() + GRACE;
        while self.running() {
            if Instant::now() > end {
                self.kill();
                return Err(self.trouble(&format!("did not end within {} s of SIGTERM", GRACE.as_secs())));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Says a word to who holds the leash; one that is gone has no ears, and needs none.
    fn say(&mut self, word: &str) {
        drop(self.child.stdin.as_mut().map(|stdin| writeln!(stdin, "{word}")));
    }

    /// The last lines of its log.
    #[must_use]
    pub fn tail(&self) -> String {
        tail(&self.log)
    }

    /// All of its log.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// A figure of `/proc/PID/status` in bytes, such as `VmRSS` or `VmHWM`; none where there is no such file.
    #[must_use]
    pub fn memory(&self, figure: &str) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.program)).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix(figure)?.strip_prefix(':'))?;
        Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
    }

    /// Says what went wrong with it, and shows the end of its log.
    #[must_use]
    pub fn trouble(&self, what: &str) -> Trouble {
        Trouble::new(format!("{} {what}; the end of its log:\n{}", self.name, self.tail()))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.running() {
            self.kill();
        }
    }
}

/// Copies what a program says into its log, and hands on each line.
fn lines(stdout: ChildStdout, mut log: File) -> Receiver<String> {
    let (tx, rx) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(std::io::Result::ok) {
            if writeln!(log, "{line}").is_err() {
                return;
            }
            // Nobody listens any more once it is ready; the log goes on.
            drop(tx.send(line));
        }
    });
    rx
}

/// The last lines of a log.
pub(crate) fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_else(|error| format!("{}: {error}", log.display()));
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL)..].join("\n")
}

/// Says something to the person at the terminal; libtest does not capture it.
pub(crate) fn tell(what: &str) {
    drop(writeln!(std::io::stderr(), "{what}"));
}

/// What a program said until it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// Its exit code; none if a signal ended it.
    pub code: Option<i32>,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

/// Runs a program to its end, with nothing on standard input.
///
/// # Errors
/// If it does not start.
pub fn run(program: impl AsRef<std::ffi::OsStr>, arguments: &[&str]) -> Result<Said> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output()?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(Said { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) })
}

/// Finds a port of 127.0.0.1 that nobody listens on.
///
/// Ports come from below the range of outgoing connections, which would take a port of the kernel's choice in the meantime, and begin
/// at a place of this process's own, so that processes side by side do not meet.
///
/// # Errors
/// If there is none, which says that something is badly wrong.
pub fn free_port() -> Result<u16> {
    const FIRST: u16 = 12_000;
    const COUNT: u16 = 18_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let own = u16::try_from(std::process::id().wrapping_mul(97) % u32::from(COUNT))?;
    for _ in 0..COUNT {
        let port = FIRST + (own + NEXT.fetch_add(1, Ordering::Relaxed) % COUNT) % COUNT;
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    Err(Trouble::new("no free port on 127.0.0.1"))
}
