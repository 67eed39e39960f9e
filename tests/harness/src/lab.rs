//! Builds the lab's programs with the ordinary Go client, once, into a cache outside the checkout. Knows nothing of how they are run.
//!
//! ```text
//! $XDG_CACHE_HOME/plimsoll/lab/            or ~/.cache/plimsoll/lab/
//!     kubelab-1a2b3c4d5e6f7081/            the digest of all that goes in: Go's version, go.mod, go.sum, *.go, flags
//!         kubelab
//!     gitea-8192a3b4c5d6e7f0/
//!         gitea  options/  templates/  public/
//!     kubelab.lock                         held while building, so that two builders wait for each other
//! ```
//!
//! A build goes to a temporary directory beside and is renamed when whole, so a directory of that name is always complete.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use crate::process::tell;
use crate::repository::copy;
use crate::{Result, Trouble};

/// Takes a line on how a build goes.
pub type Progress<'a> = &'a (dyn Fn(&str) + Sync);

/// Where the programs are.
#[derive(Clone, Debug)]
pub struct Binaries {
    /// One cluster a process.
    pub kubelab: PathBuf,
    /// The forge.
    pub gitea: PathBuf,
    /// What Gitea reads at run time: templates, translations, licences.
    pub gitea_data: PathBuf,
    /// Runs a program for as long as its own standard input is open.
    pub keep: PathBuf,
}

/// The builder.
pub struct Lab;

/// How often a person hears of a build; nothing shall be silent for more than a few seconds.
const HEARTBEAT: Duration = Duration::from_secs(3);
const COMPONENT_BASE: &str = "k8s.io/component-base/version";

impl Lab {
    /// Finds the programs, and builds those that are missing; says on standard error how that goes.
    ///
    /// # Errors
    /// If Go is missing or a build fails, with what Go said.
    pub fn binaries() -> Result<Binaries> {
        Self::binaries_with(&|line| tell(line))
    }

    /// Finds or builds the real kustomize, which builds trees that it is asked about; see `tests/lab/kustomize`.
    ///
    /// # Errors
    /// If Go is missing or the build fails, with what Go said.
    pub fn kustomize() -> Result<PathBuf> {
        Ok(Recipe::kustomize().built(&|line| tell(line))?.join("kustomize"))
    }

    /// Finds or builds the command line of the real kustomize.
    ///
    /// # Errors
    /// If Go is missing or the build fails, with what Go said.
    pub fn kustomize_command() -> Result<PathBuf> {
        Ok(Recipe::kustomize_command().built(&|line| tell(line))?.join("kustomize-command"))
    }

    /// As [`Lab::binaries`], with a place of your own for the progress.
    ///
    /// # Errors
    /// If Go is missing or a build fails, with what Go said.
    pub fn binaries_with(progress: Progress<'_>) -> Result<Binaries> {
        // Looked up once a process: the digest reads all sources and asks Go for its version. Others wait, and find it done.
        static FOUND: Mutex<Option<Binaries>> = Mutex::new(None);
        let mut found = FOUND.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(binaries) = &*found {
            return Ok(binaries.clone());
        }
        let keep = Recipe::keep().built(progress)?;
        let kubelab = Recipe::kubelab().built(progress)?;
        let gitea = Recipe::gitea().built(progress)?;
        let binaries =
            Binaries { kubelab: kubelab.join("kubelab"), gitea: gitea.join("gitea"), gitea_data: gitea, keep: keep.join("keep") };
        Ok(found.insert(binaries).clone())
    }
}

/// A module, and the linker flags that are made of its version.
type VersionOf = (&'static str, fn(&str) -> String);

/// How one program is built.
struct Recipe {
    name: &'static str,
    /// The package, from the module's directory.
    package: &'static str,
    env: &'static [(&'static str, &'static str)],
    flags: &'static [&'static str],
    /// The module that the program is of.
    version_of: Option<VersionOf>,
    /// Directories of that module that the program reads at run time.
    data: &'static [&'static str],
}

/// Without debugging information and with a lazy collector for the compiler, a cold build takes a third less time.
const FLAGS: &[&str] = &["-trimpath", "-buildvcs=false", "-gcflags", "all=-dwarf=false"];

impl Recipe {
    fn kubelab() -> Self {
        let flags = |version: &str| {
            let minor = version.trim_start_matches("v1.").split('.').next().unwrap_or_default();
            // Without these the server calls itself v0.0.0-master.
            [("gitVersion", version), ("gitMajor", "1"), ("gitMinor", minor), ("gitTreeState", "clean")]
                .map(|(key, value)| format!("-X {COMPONENT_BASE}.{key}={value}"))
                .join(" ")
        };
        Self {
            name: "kubelab",
            package: ".",
            env: &[("CGO_ENABLED", "0")],
            flags: &[],
            version_of: Some(("k8s.io/kubernetes", flags)),
            data: &[],
        }
    }

    fn gitea() -> Self {
        Self {
            name: "gitea",
            package: "code.gitea.io/gitea",
            // SQLite is C.
            env: &[("CGO_ENABLED", "1")],
            flags: &["-tags", "sqlite sqlite_unlock_notify"],
            version_of: Some(("code.gitea.io/gitea", |version| format!("-X main.Version={}", version.trim_start_matches('v')))),
            data: &["options", "templates", "public"],
        }
    }

    fn keep() -> Self {
        Self { name: "keep", package: ".", env: &[("CGO_ENABLED", "0")], flags: &[], version_of: None, data: &[] }
    }

    fn kustomize() -> Self {
        Self { name: "kustomize", package: ".", env: &[("CGO_ENABLED", "0")], flags: &[], version_of: None, data: &[] }
    }

    fn kustomize_command() -> Self {
        Self {
            name: "kustomize-command",
            package: "sigs.k8s.io/kustomize/kustomize/v5",
            env: &[("CGO_ENABLED", "0")],
            flags: &[],
            version_of: Some(("sigs.k8s.io/kustomize/kustomize/v5", |version| {
                format!("-X sigs.k8s.io/kustomize/api/provenance.version={version}")
            })),
            data: &[],
        }
    }

    fn sources(&self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../lab").join(self.name)
    }

    /// The directory with the program in it, built if it is missing.
    fn built(&self, progress: Progress<'_>) -> Result<PathBuf> {
        let cache = cache()?;
        std::fs::create_dir_all(&cache)?;
        let place = cache.join(format!("{}-{}", self.name, self.digest()?));
        if place.is_dir() {
            return Ok(place);
        }
        let lock = File::create(cache.join(format!("{}.lock", self.name)))?;
        if lock.try_lock().is_err() {
            progress(&format!("lab: {} is being built by another process; waiting for it", self.name));
            lock.lock()?;
        }
        if !place.is_dir() {
            self.build_into(&cache, &place, progress)?;
        }
        Ok(place)
    }

    fn build_into(&self, cache: &Path, place: &Path, progress: Progress<'_>) -> Result {
        let start = Instant::now();
        self.sweep(cache)?;
        let unfinished = tempfile::Builder::new().prefix(&format!("{}.building-", self.name)).tempdir_in(cache)?;
        self.build(unfinished.path(), progress)?;
        self.copy_data(unfinished.path())?;
        std::fs::rename(unfinished.keep(), place)?;
        progress(&format!("lab: {} is built, in {} s: {}", self.name, start.elapsed().as_secs(), place.display()));
        Ok(())
    }

    /// Removes what a killed build left; whoever builds holds the lock, so nobody is at work there.
    fn sweep(&self, cache: &Path) -> Result {
        for entry in std::fs::read_dir(cache)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(&format!("{}.building-", self.name)) {
                std::fs::remove_dir_all(entry.path())?;
            }
        }
        Ok(())
    }

    fn build(&self, out: &Path, progress: Progress<'_>) -> Result {
        let mut list = self.go(&["list", "-deps"]);
        list.args(self.flags).arg(self.package);
        progress(&format!("lab: {}: looking for its modules (a cold build takes some five minutes on two cores)", self.name));
        let packages = watched(&mut list, self.name, progress, |seen, last| format!("{seen} lines, {last}"))?.lines().count();
        let mut build = self.go(&["build", "-v"]);
        build.args(FLAGS).args(self.flags).arg("-ldflags").arg(self.linker_flags()?).arg("-o").arg(out.join(self.name)).arg(self.package);
        watched(&mut build, self.name, progress, |seen, last| format!("{seen} of at most {packages} packages compiled, {last}"))?;
        Ok(())
    }

    fn linker_flags(&self) -> Result<String> {
        let Some((module, flags)) = self.version_of else { return Ok("-s -w".to_owned()) };
        Ok(format!("-s -w {}", flags(&self.about_module(module, "{{.Version}}")?)))
    }

    fn about_module(&self, module: &str, format: &str) -> Result<String> {
        Ok(output(self.go(&["list", "-m", "-f", format]).arg(module))?.trim().to_owned())
    }

    /// The module cache is read-only and may be cleaned at any time: the program gets a copy of what it reads.
    fn copy_data(&self, out: &Path) -> Result {
        let Some((module, _)) = self.version_of.filter(|_| !self.data.is_empty()) else { return Ok(()) };
        let source = PathBuf::from(self.about_module(module, "{{.Dir}}")?);
        self.data.iter().try_for_each(|directory| copy(&source.join(directory), &out.join(directory)))
    }

    fn go(&self, arguments: &[&str]) -> Command {
        let mut go = Command::new("go");
        // A person's own flags would make another binary under the same name, and compile all packages anew.
        go.current_dir(self.sources()).env("GOFLAGS", "").env("GOWORK", "off").env("GOGC", "400").envs(self.env.iter().copied());
        go.args(arguments);
        go
    }

    /// Names everything that the program is made of.
    fn digest(&self) -> Result<String> {
        let mut sources: Vec<PathBuf> = std::fs::read_dir(self.sources())?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
        sources.sort();
        let mut digest = Sha256::new();
        digest.update(output(&mut self.go(&["version"]))?);
        digest.update(format!(
            "{} {:?} {:?} {FLAGS:?} {}",
            self.package,
            self.env,
            self.flags,
            self.version_of.map_or_else(String::new, |(_, flags)| flags("v1.0.0"))
        ));
        for file in
            sources.iter().filter(|file| file.extension().is_some_and(|extension| ["go", "mod", "sum"].iter().any(|e| extension == *e)))
        {
            digest.update(file.file_name().unwrap_or_default().as_encoded_bytes());
            digest.update(std::fs::read(file)?);
        }
        Ok(digest.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect())
    }
}

fn cache() -> Result<PathBuf> {
    let base =
        std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")));
    let base = base.ok_or_else(|| Trouble::new("neither XDG_CACHE_HOME nor HOME is set: the lab's programs have no place to be kept"))?;
    Ok(base.join("plimsoll/lab"))
}

fn output(command: &mut Command) -> Result<String> {
    let output = command.stderr(Stdio::piped()).output().map_err(no_go)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(Trouble::new(format!("{command:?} ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr))))
}

fn no_go(error: std::io::Error) -> Trouble {
    Trouble::from(error).while_doing("`go` does not start; the lab needs Go 1.26 or later on the PATH")
}

/// Runs a command, tells every few seconds how far it is by what it says on standard error, and returns its standard output.
fn watched(command: &mut Command, name: &str, progress: Progress<'_>, say: impl Fn(usize, &str) -> String) -> Result<String> {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).stdin(Stdio::null()).spawn().map_err(no_go)?;
    let (mut stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let text = std::thread::spawn(move || {
        let mut text = String::new();
        stdout.as_mut().map_or(Ok(0), |stdout| stdout.read_to_string(&mut text)).map(|_| text)
    });
    let (tx, rx) = channel();
    std::thread::spawn(move || {
        let lines = stderr.into_iter().flat_map(|stderr| BufReader::new(stderr).lines()).map_while(std::io::Result::ok);
        lines.for_each(|line| drop(tx.send(line)));
    });
    let (start, mut told, mut said) = (Instant::now(), Instant::now(), Vec::new());
    loop {
        match rx.recv_timeout(HEARTBEAT) {
            Ok(line) => said.push(line),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        if told.elapsed() >= HEARTBEAT {
            told = Instant::now();
            let last = said.last().map_or("linking", String::as_str);
            progress(&format!("lab: {name}: {} ({} s)", say(said.len(), last), start.elapsed().as_secs()));
        }
    }
    if child.wait()?.success() {
        return Ok(text.join().map_err(|_| Trouble::new("the reader of its output failed"))??);
    }
    let last = said[said.len().saturating_sub(30)..].join("\n");
    Err(Trouble::new(format!("{command:?} failed:\n{last}")))
}
