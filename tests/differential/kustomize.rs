//! The real kustomize, as a process that is asked about one tree after another. It must not know how trees are made.

#![expect(clippy::disallowed_methods, reason = "the real kustomize is a process")]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::layers::Tree;

/// What became of a tree: what is printed, or what is said.
pub(crate) type Outcome = Result<String, String>;

/// The process. It ends when its standard input does.
pub(crate) struct Kustomize {
    child: Child,
    ask: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Kustomize {
    /// The one that the lab builds; `None`, with the reason on standard error, only where there is no Go.
    pub(crate) fn of_the_lab() -> Option<Self> {
        if let Err(problem) = Command::new("go").arg("version").stdout(Stdio::null()).status() {
            eprintln!("left out: the real kustomize is built with Go, and `go` does not start: {problem}");
            return None;
        }
        Some(Self::start(&harness::Lab::kustomize().unwrap()))
    }

    fn start(program: &Path) -> Self {
        let mut child = Command::new(program).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let (ask, answers) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Self { child, ask, answers }
    }

    /// Builds a tree.
    pub(crate) fn build(&mut self, tree: &Tree) -> Outcome {
        let files = tree.files.iter().map(|(path, content)| (path.clone(), json!(STANDARD.encode(content)))).collect();
        self.asked(&json!({
            "files": Value::Object(files), "root": tree.root, "legacy": tree.legacy, "unrestricted": tree.unrestricted,
        }))
    }

    fn asked(&mut self, question: &Value) -> Outcome {
        writeln!(self.ask, "{question}").unwrap();
        self.ask.flush().unwrap();
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        let answer: Value = serde_json::from_str(&line).unwrap();
        let text = |field: &str| answer[field].as_str().unwrap_or_default().to_owned();
        match text("error") {
            // It knows its own version only where it is the main module.
            none if none.is_empty() => Ok(text("yaml").replace("kustomize-(devel)", "kustomize-v5.8.2")),
            error => Err(error),
        }
    }
}

impl Drop for Kustomize {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
