//! Runs the pages of `tests/cases`: prose, the files of a tree, and what becomes of it.
//!
//! A page is Markdown. A fence with a path is a file, one with `URL#path` a file in a remote base that was brought; `rendered` is what is printed, `error` what is said. "Render `overlays/prod`" names
//! the root, the root of the tree if nothing does; "in legacy order" and "without load restriction" say how. "Explain `deployment/web`" and
//! "field `spec.replicas`" ask for what made it, which is `explained`; "with codes" prints errors and
//! warnings as the command line does; "Compare with `gcp`"
//! renders another root too and prints what `differs`. Each `##` is a case of its own. `UPDATE=1 cargo test -p overlays --test cases` writes the expectations anew.

#![expect(clippy::unwrap_used, reason = "a test stops where something is missing")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use overlays::explain::{self, Query};
use overlays::tree::{Fixture, Remotes, WithRemotes};
use overlays::{Cache, Errors, Look, Options, Order, Remote, RepoPath, Restriction, diff, render};

#[derive(Default)]
struct Case {
    title: String,
    tree: Fixture,
    /// The repositories of remote bases, by URL.
    remotes: BTreeMap<String, Fixture>,
    root: RepoPath,
    options: Options,
    /// The object that is explained, and the field.
    asked: Option<(String, String)>,
    with_codes: bool,
    other: Option<RepoPath>,
    /// The lines of the page between which the expectation stands.
    expectation: Option<(usize, usize)>,
    expected: String,
}

impl Case {
    fn tree(&self) -> WithRemotes<'_> {
        let remotes = Remotes::default();
        for (url, tree) in &self.remotes {
            remotes.give(&Remote::parse(url).unwrap().unwrap(), Arc::new(tree.clone())).unwrap();
        }
        WithRemotes::new(Box::new(self.tree.clone()), Arc::new(remotes))
    }

    fn outcome(&self) -> String {
        if let Some((object, field)) = &self.asked {
            return match self.explained(object, field) {
                Ok(text) => format!("```text explained\n{text}```\n"),
                Err(errors) => format!("```text error\n{errors}```\n"),
            };
        }
        let rendered = render(&self.tree(), &self.root, &self.options, &mut Cache::default());
        if let (Some(other), Ok(before)) = (&self.other, &rendered) {
            let after = render(&self.tree(), other, &self.options, &mut Cache::default()).unwrap();
            let differences = diff::compare(before.manifest.objects(), after.manifest.objects());
            return format!("```text differs\n{}```\n", diff::text(&differences, &Look::plain()));
        }
        if let (true, Ok(rendered)) = (self.with_codes, &rendered) {
            return format!("```text error\n{}```\n", Errors(rendered.warnings.clone()).text(&Look::plain()));
        }
        match rendered.and_then(|rendered| rendered.manifest.to_yaml()) {
            Ok(yaml) => format!("```yaml rendered\n{yaml}```\n"),
            Err(errors) if self.with_codes => format!("```text error\n{}```\n", errors.text(&Look::plain())),
            Err(errors) => format!("```text error\n{errors}```\n"),
        }
    }

    fn explained(&self, object: &str, field: &str) -> Result<String, Errors> {
        let rendered = render(&self.tree(), &self.root, &self.options, &mut Cache::default())?;
        let objects = rendered.manifest.objects();
        let at = explain::find(&Query::new(object, None).unwrap(), objects)?;
        let found = explain::explain(&self.tree(), &self.root, &self.options, &mut Cache::default(), &objects[at], field)?;
        Ok(found.text(&Look::plain()))
    }

    fn read_prose(&mut self, line: &str) {
        let quoted = |word: &str| Some(line.split_once(word)?.1.split_once('`')?.0.to_owned());
        if let Some(object) = quoted("Explain `") {
            self.asked = Some((object, quoted("field `").unwrap_or_default()));
        }
        if let Some(rest) = line.split("Render `").nth(1)
            && let Some((root, _)) = rest.split_once('`')
        {
            self.root = RepoPath::new(root).unwrap();
        }
        if line.contains("in legacy order") {
            self.options.order = Order::Legacy;
        }
        if let Some(other) = quoted("Compare with `") {
            self.other = Some(RepoPath::new(&other).unwrap());
        }
        self.with_codes |= line.contains("with codes");
        if line.contains("without load restriction") {
            self.options.restrict = Restriction::None;
        }
    }
}

fn cases(page: &str) -> Vec<Case> {
    let mut cases = vec![Case::default()];
    let mut lines = page.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        if let Some(title) = line.strip_prefix("## ") {
            cases.push(Case { title: title.to_owned(), ..Case::default() });
        }
        let case = cases.last_mut().unwrap();
        let Some(info) = line.strip_prefix("```") else {
            case.read_prose(line);
            continue;
        };
        let mut content = String::new();
        let mut end = number;
        for (number, line) in lines.by_ref() {
            end = number;
            if line == "```" {
                break;
            }
            writeln!(content, "{line}").unwrap();
        }
        match info.split_once(' ').map(|(_, name)| name) {
            Some("rendered" | "error" | "explained" | "differs") => {
                case.expected = format!("{line}\n{content}```\n");
                case.expectation = Some((number, end));
            }
            Some(path) => {
                let (url, path) = path.rsplit_once('#').map_or(("", path), |(url, path)| (url, path));
                let tree = if url.is_empty() { &mut case.tree } else { case.remotes.entry(url.to_owned()).or_default() };
                tree.insert(RepoPath::new(path).unwrap(), content.into_bytes());
            }
            None => {}
        }
    }
    cases.retain(|case| case.expectation.is_some());
    cases
}

/// The page with what really comes of its cases.
fn updated(page: &str, cases: &[Case]) -> String {
    let mut out = String::new();
    for (number, line) in page.lines().enumerate() {
        let case = cases.iter().find(|case| case.expectation.is_some_and(|(start, end)| (start..=end).contains(&number)));
        match case {
            None => writeln!(out, "{line}").unwrap(),
            Some(case) if case.expectation.is_some_and(|(start, _)| start == number) => out.push_str(&case.outcome()),
            Some(_) => {}
        }
    }
    out
}

fn check(path: &Path, update: bool) -> Vec<String> {
    let page = std::fs::read_to_string(path).unwrap();
    let cases = cases(&page);
    if update {
        std::fs::write(path, updated(&page, &cases)).unwrap();
        return Vec::new();
    }
    let name = path.file_name().unwrap().to_string_lossy();
    let failures = cases.iter().filter_map(|case| {
        let outcome = case.outcome();
        (outcome != case.expected).then(|| format!("{name} {}\nexpected:\n{}found:\n{outcome}", case.title, case.expected))
    });
    let failures: Vec<String> = failures.collect();
    if cases.is_empty() { vec![format!("{name} holds no case")] } else { failures }
}

#[test]
fn every_page_comes_out_as_it_says() {
    #[expect(clippy::disallowed_methods, reason = "a switch of the test itself")]
    let update = std::env::var("UPDATE").is_ok();
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/cases");
    let mut pages: Vec<PathBuf> = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    pages.retain(|path| path.extension().is_some_and(|end| end == "md"));
    pages.sort();
    assert!(!pages.is_empty(), "there are no pages");
    let failures: Vec<String> = pages.iter().flat_map(|path| check(path, update)).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
