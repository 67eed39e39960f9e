//! A working clone, as the person who pushes has it. Knows neither the forge's API nor the agent.

use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::{Result, Trouble};

/// A working clone with a remote to push to, by the git program, deaf to the configuration of whoever runs it.
pub struct Repository {
    directory: tempfile::TempDir,
    /// `owner/name` on the forge; `name` for one without.
    pub name: String,
    /// What a Sync follows.
    pub url: String,
    /// The value of an `Authorization` header, where the remote asks for one.
    authorization: Option<String>,
}

impl Repository {
    /// A repository without a forge: a bare one beside the clone, followed by its `file://` URL.
    ///
    /// # Errors
    /// If git does.
    pub fn local(name: &str) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("plimsoll-repository-").tempdir()?;
        let bare = directory.path().join("remote.git");
        git_in(directory.path(), &None, &["init", "--quiet", "--bare", "--initial-branch=main", "remote.git"])?;
        Self::clone_of(directory, name, &format!("file://{}", bare.display()), None)
    }

    /// A clone of a new repository on a forge.
    pub(crate) fn on_forge(name: &str, url: &str, user: &str, token: &str) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("plimsoll-repository-").tempdir()?;
        let basic = STANDARD.encode(format!("{user}:{token}"));
        Self::clone_of(directory, name, url, Some(format!("Authorization: Basic {basic}")))
    }

    fn clone_of(directory: tempfile::TempDir, name: &str, url: &str, authorization: Option<String>) -> Result<Self> {
        let repository = Self { directory, name: name.to_owned(), url: url.to_owned(), authorization };
        git_in(repository.directory.path(), &None, &["init", "--quiet", "--initial-branch=main", "clone"])?;
        repository.git(&["remote", "add", "origin", url])?;
        Ok(repository)
    }

    /// Writes the credentials into the clone's own configuration, so that a person can push from it.
    ///
    /// # Errors
    /// If git does.
    pub fn remember_credentials(&self) -> Result {
        self.authorization.as_ref().map_or(Ok(()), |header| self.git(&["config", "http.extraHeader", header]).map(drop))
    }

    /// The directory of the clone.
    #[must_use]
    pub fn directory(&self) -> PathBuf {
        self.directory.path().join("clone")
    }

    /// Writes a file, with the directories above it.
    ///
    /// # Errors
    /// If the disk does.
    pub fn write(&self, path: &str, text: impl AsRef<[u8]>) -> Result {
        let file = self.directory().join(path);
        std::fs::create_dir_all(file.parent().ok_or_else(|| Trouble::new(format!("'{path}' has no directory")))?)?;
        Ok(std::fs::write(file, text)?)
    }

    /// Replaces text in a file.
    ///
    /// # Errors
    /// If the file is missing or the text is not in it.
    pub fn edit(&self, path: &str, from: &str, to: &str) -> Result {
        let text = std::fs::read_to_string(self.directory().join(path))?;
        if !text.contains(from) {
            return Err(Trouble::new(format!("'{from}' is not in {path}:\n{text}")));
        }
        self.write(path, text.replace(from, to))
    }

    /// Removes a file or a directory.
    ///
    /// # Errors
    /// If git does not know it.
    pub fn remove(&self, path: &str) -> Result {
        self.git(&["rm", "--quiet", "-r", path]).map(drop)
    }

    /// Copies a directory in, such as one of `examples/`.
    ///
    /// # Errors
    /// If the disk does.
    pub fn copy_in(&self, from: &Path) -> Result {
        copy(from, &self.directory())
    }

    /// Commits all that changed, also if nothing did, and returns the commit.
    ///
    /// # Errors
    /// If git does.
    pub fn commit(&self, message: &str) -> Result<String> {
        self.git(&["add", "--all"])?;
        self.git(&["commit", "--quiet", "--allow-empty", "--message", message])?;
        self.head()
    }

    /// Commits all that changed, pushes the current branch, and returns the commit.
    ///
    /// # Errors
    /// If git or the forge does.
    pub fn push(&self, message: &str) -> Result<String> {
        let commit = self.commit(message)?;
        // A person who goes on from here just says `git push`.
        self.git(&["push", "--quiet", "--set-upstream", "origin", "HEAD"])?;
        Ok(commit)
    }

    /// Throws away the last commits, keeps the files as they were before them, and pushes over what is there.
    ///
    /// # Errors
    /// If git or the forge does.
    pub fn force_push_back(&self, commits: u32) -> Result<String> {
        self.git(&["reset", "--quiet", "--hard", &format!("HEAD~{commits}")])?;
        self.git(&["push", "--quiet", "--force", "origin", "HEAD"])?;
        self.head()
    }

    /// Goes on from here on a new branch.
    ///
    /// # Errors
    /// If git does.
    pub fn branch(&self, name: &str) -> Result {
        self.git(&["switch", "--quiet", "--create", name]).map(drop)
    }

    /// Deletes a branch on the remote.
    ///
    /// # Errors
    /// If git or the forge does.
    pub fn delete_branch(&self, name: &str) -> Result {
        self.git(&["push", "--quiet", "origin", "--delete", name]).map(drop)
    }

    /// Puts a tag on the current commit and pushes it, over an older one of that name.
    ///
    /// # Errors
    /// If git or the forge does.
    pub fn tag(&self, name: &str) -> Result {
        self.git(&["tag", "--force", name])?;
        self.git(&["push", "--quiet", "--force", "origin", &format!("refs/tags/{name}")]).map(drop)
    }

    /// The current commit.
    ///
    /// # Errors
    /// If there is none.
    pub fn head(&self) -> Result<String> {
        Ok(self.git(&["rev-parse", "HEAD"])?.trim().to_owned())
    }

    /// Runs git in the clone, and returns what it said.
    ///
    /// # Errors
    /// With git's own words.
    pub fn git(&self, arguments: &[&str]) -> Result<String> {
        git_in(&self.directory(), &self.authorization, arguments)
    }
}

/// Copies files and directories; what is there already is overwritten. Bytes only: Go's module cache forbids writing, and thereby deleting.
pub(crate) fn copy(from: &Path, to: &Path) -> Result {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &to.join(entry.file_name()))?;
        } else {
            std::fs::write(to.join(entry.file_name()), std::fs::read(entry.path())?)?;
        }
    }
    Ok(())
}

fn git_in(directory: &Path, authorization: &Option<String>, arguments: &[&str]) -> Result<String> {
    let mut git = Command::new("git");
    git.current_dir(directory).args(["-c", "commit.gpgSign=false", "-c", "core.hooksPath=/dev/null"]).args(arguments);
    git.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_TERMINAL_PROMPT", "0").env("LC_ALL", "C");
    for role in ["AUTHOR", "COMMITTER"] {
        git.env(format!("GIT_{role}_NAME"), "Samuel").env(format!("GIT_{role}_EMAIL"), "samuel@lab.example");
    }
    // By the environment and not the command line, where every process of the machine could read it.
    if let Some(header) = authorization {
        git.env("GIT_CONFIG_COUNT", "1").env("GIT_CONFIG_KEY_0", "http.extraHeader").env("GIT_CONFIG_VALUE_0", header);
    }
    for leak in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"] {
        git.env_remove(leak);
    }
    let output = git.output().map_err(|error| Trouble::from(error).while_doing("`git` does not start"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(Trouble::new(format!(
        "git {} ended with {}: {}",
        arguments.join(" "),
        output.status,
        String::from_utf8_lossy(&output.stderr).trim()
    )))
}
