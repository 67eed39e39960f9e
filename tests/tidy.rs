//! The house stays in order: what the design says of files is checked here, by reading them.

use std::path::{Path, PathBuf};

use harness::Result;

/// Decisions, by file or directory of `agent/src`: they take what they decide on as arguments, and what is read or written stays outside.
const PURE: &[&str] = &[
    "baseline",
    "bases/pinned",
    "drift",
    "drift_command/answer",
    "facts",
    "first",
    "fleet",
    "health",
    "inventory",
    "ledger",
    "plan",
    "pods",
    "queue",
    "report",
    "state",
];
const IMPURE: &[&str] =
    &["async ", ".await", "kube::Client", "tokio::", "std::fs", "std::net", "std::process", "::now()", "SystemTime", "Instant"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// All Rust files below a directory; none if there is no such directory.
fn sources(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    if !directory.is_dir() {
        return Ok(found);
    }
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(sources(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    Ok(found)
}

fn house() -> Result<Vec<PathBuf>> {
    let mut all = Vec::new();
    for directory in ["overlays/src", "agent/src", "tests", "examples"] {
        all.extend(sources(&root().join(directory))?);
    }
    assert!(all.len() > 20, "the house has more files than {}", all.len());
    Ok(all)
}

/// The lines that a file does not test with and does not talk in.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line));
    lines.take_while(|(_, line)| !line.starts_with("#[cfg(test)]")).filter(|(_, line)| !line.trim_start().starts_with("//"))
}

#[test]
fn every_test_file_is_run() -> Result {
    let all = std::fs::read_to_string(root().join("tests/all.rs"))?;
    let named: Vec<&str> = all.lines().filter_map(|line| line.strip_prefix("mod ")?.strip_suffix(';')).collect();
    assert!(named.is_sorted(), "the mod lines of tests/all.rs are not sorted: {named:?}");
    for entry in std::fs::read_dir(root().join("tests"))? {
        let path = entry?.path();
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let is_test = path.extension().is_some_and(|extension| extension == "rs") && name != "all";
        assert!(!is_test || named.contains(&name.as_str()), "tests/{name}.rs is never run: say `mod {name};` in tests/all.rs");
    }
    Ok(())
}

#[test]
fn decisions_read_and_write_nothing() -> Result {
    let (mut seen, mut broken) = (0, Vec::new());
    for name in PURE {
        let agent = root().join("agent/src");
        let mut files = sources(&agent.join(name))?;
        files.extend(Some(agent.join(format!("{name}.rs"))).filter(|file| file.is_file()));
        seen += files.len();
        for file in files {
            let text = std::fs::read_to_string(&file)?;
            let found = code(&text).filter_map(|(line, code)| Some((line, IMPURE.iter().find(|word| code.contains(*word))?)));
            broken.extend(found.map(|(line, word)| format!("{}:{line}: {word}", file.display())));
        }
    }
    assert!(seen >= 3, "only {seen} pure files were found; where have they gone?");
    assert!(broken.is_empty(), "a decision reaches outside; give it what it needs as an argument:\n{}", broken.join("\n"));
    Ok(())
}

#[test]
fn every_file_says_why_it_exists() -> Result {
    let mut silent = Vec::new();
    for file in house()? {
        let text = std::fs::read_to_string(&file)?;
        let first = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
        // "//! x" is no reason.
        if !first.starts_with("//! ") || first.len() < 20 {
            silent.push(file.display().to_string());
        }
    }
    assert!(silent.is_empty(), "the first line of a file is `//! why it exists`; not so in:\n{}", silent.join("\n"));
    Ok(())
}
