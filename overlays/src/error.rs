//! What can be wrong with a tree, told like a compiler: what, on what, where in the user's repository, and what to do.
//!
//! It must not know how an error is shown: the command line prints it whole, a commit status takes the message and the place only.

use std::fmt;

use crate::diagnostic::Code;
use crate::object::Origin;
use crate::path::RepoPath;
use crate::remote::Remote;
use crate::tree::TreeError;
use crate::yaml;

/// The longest part of a line that is shown, in characters; minified JSON has lines of megabytes.
const SHOWN: usize = 160;

/// Which part of rendering failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// The tree could not be read: a link out of it, a file that is too large, a store that fails.
    Tree,
    /// A file is not the YAML or JSON that it should be.
    Yaml,
    /// A kustomization is wrong: an unknown field, a path that is not there, a cycle, two layers that can't both hold.
    Layer,
    /// A resource is no Kubernetes object, or is there twice.
    Object,
    /// A generator failed: a key given twice, a file that is missing.
    Generate,
    /// A transformer failed: a patch without a target, a replacement without a source.
    Transform,
    /// The objects could not be written: kustomize could not have printed them either.
    Print,
}

/// Where an error is, and the line that stands there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The file, line and column. Line 0: the file as a whole.
    pub origin: Origin,
    /// The text of the line; empty where it is not known or must not be shown.
    pub line_text: String,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    stage: Stage,
    /// What kind of mistake it is, where more is known than the stage.
    code: Option<Code>,
    /// Whether the tree renders all the same.
    is_warning: bool,
    message: String,
    place: Option<Place>,
    hint: Option<String>,
    source: Option<TreeError>,
}

/// Why a tree does not render.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// Something is wrong with the tree.
    Problem(Box<Problem>),
    /// A remote base is missing. Of a tree that lacks several each has an error, those too that other errors keep from being met.
    Missing(Box<Remote>),
}

impl Error {
    /// An error of a stage. The message is a sentence without a period, names what it is about, and quotes names in backticks.
    pub fn new(stage: Stage, message: impl Into<String>) -> Self {
        Self::Problem(Box::new(Problem {
            stage,
            code: None,
            is_warning: false,
            message: message.into(),
            place: None,
            hint: None,
            source: None,
        }))
    }

    /// An error of the YAML parser, which does not know the file's name.
    pub fn yaml(file: &RepoPath, error: &yaml::Error) -> Self {
        let origin = Origin { file: file.clone(), line: error.line(), column: error.column() };
        let told = Self::new(Stage::Yaml, error.message()).at(origin).with_line(error.line_text());
        match error.hint() {
            Some(hint) => told.hint(hint),
            None => told,
        }
    }

    /// Says where; a place that is already known is kept, for it is the more exact one.
    #[must_use]
    pub fn at(mut self, origin: Origin) -> Self {
        self.place_mut().get_or_insert(Place { origin, line_text: String::new() });
        self
    }

    /// Adds the text of the line, once the place is known.
    #[must_use]
    pub fn with_line(mut self, text: impl Into<String>) -> Self {
        if let Some(place) = self.place_mut() {
            place.line_text = text.into();
        }
        self
    }

    fn place_mut(&mut self) -> &mut Option<Place> {
        match self {
            Self::Problem(problem) => &mut problem.place,
            Self::Missing(remote) => &mut remote.place,
        }
    }

    /// Says what to do.
    #[must_use]
    pub fn hint(mut self, text: impl Into<String>) -> Self {
        if let Self::Problem(problem) = &mut self {
            problem.hint = Some(text.into());
        }
        self
    }

    /// Says what kind of mistake it is.
    #[must_use]
    pub fn code_is(mut self, code: Code) -> Self {
        if let Self::Problem(problem) = &mut self {
            problem.code = Some(code);
        }
        self
    }

    /// Says that the tree renders all the same, but hardly to what was meant.
    #[must_use]
    pub fn warning(mut self) -> Self {
        if let Self::Problem(problem) = &mut self {
            problem.is_warning = true;
        }
        self
    }

    /// Whether the tree renders all the same.
    pub fn is_warning(&self) -> bool {
        matches!(self, Self::Problem(problem) if problem.is_warning)
    }

    /// What kind of mistake it is.
    pub fn code(&self) -> Code {
        match self {
            Self::Problem(problem) => problem.code.unwrap_or_else(|| Code::of(problem.stage)),
            Self::Missing(_) => Code::RemoteBase,
        }
    }

    /// The message, and what the tree said.
    pub(crate) fn with_cause(&self) -> String {
        std::error::Error::source(self).map_or_else(|| self.to_string(), |cause| format!("{self}: {cause}"))
    }

    /// Which part of rendering failed.
    pub fn stage(&self) -> Stage {
        match self {
            Self::Problem(problem) => problem.stage,
            Self::Missing(_) => Stage::Layer,
        }
    }

    /// Where, if it is at one place.
    pub fn place(&self) -> Option<&Place> {
        match self {
            Self::Problem(problem) => problem.place.as_ref(),
            Self::Missing(remote) => remote.place.as_ref(),
        }
    }

    /// What to do, where that is known.
    pub fn advice(&self) -> Option<&str> {
        match self {
            Self::Problem(problem) => problem.hint.as_deref(),
            Self::Missing(_) => Some("vendor the base into the repository and name its directory"),
        }
    }
}

impl From<TreeError> for Error {
    fn from(error: TreeError) -> Self {
        let file = error.path().clone();
        Self::Problem(Box::new(Problem {
            stage: Stage::Tree,
            code: Some(Code::of_tree(&error)),
            is_warning: false,
            message: format!("`{file}` cannot be read"),
            place: Some(Place { origin: Origin { file, line: 0, column: 0 }, line_text: String::new() }),
            hint: None,
            source: Some(error),
        }))
    }
}

impl fmt::Display for Error {
    /// The message alone, in one line: the place, the hint and the source are told apart.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Problem(problem) => f.write_str(&problem.message),
            Self::Missing(remote) => write!(f, "the remote base {remote} is missing, for rendering reads no network"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Problem(problem) => problem.source.as_ref().map(|source| source as _),
            Self::Missing(_) => None,
        }
    }
}

/// All that is wrong with a tree: every error is reported, not the first one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Errors(pub Vec<Error>);

impl Errors {
    /// The remote bases that are missing, each once.
    pub fn missing(&self) -> Vec<&Remote> {
        self.0.iter().filter_map(|error| if let Error::Missing(remote) = error { Some(&**remote) } else { None }).collect()
    }
}

impl From<Error> for Errors {
    fn from(error: Error) -> Self {
        Self(vec![error])
    }
}

impl std::error::Error for Errors {}

impl fmt::Display for Errors {
    /// As a compiler prints them, an empty line between two.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, error) in self.0.iter().enumerate() {
            f.write_str(if i == 0 { "" } else { "\n" })?;
            print(f, error)?;
        }
        Ok(())
    }
}

fn print(f: &mut fmt::Formatter<'_>, error: &Error) -> fmt::Result {
    writeln!(f, "error: {}", error.with_cause())?;
    error.place().map_or(Ok(()), |place| write!(f, "{place}"))?;
    error.advice().map_or(Ok(()), |hint| writeln!(f, "help: {hint}"))
}

impl Place {
    /// The part of the line around the place, as it may be shown on a terminal.
    pub fn shown(&self) -> String {
        window(&self.line_text, self.origin.column).0
    }
}

impl fmt::Display for Place {
    /// The place, the line that stands there, and a caret below it; each line ends.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Origin { file, line, column } = &self.origin;
        let number = line.to_string();
        let gutter = " ".repeat(number.len());
        match (line, column) {
            (0, _) => return writeln!(f, " --> {file}"),
            (_, 0) => writeln!(f, "{gutter}--> {file}:{line}")?,
            _ => writeln!(f, "{gutter}--> {file}:{line}:{column}")?,
        }
        if self.line_text.trim().is_empty() {
            return Ok(());
        }
        let (shown, before) = window(&self.line_text, *column);
        writeln!(f, "{gutter} |\n{number} | {shown}")?;
        if *column > 0 { writeln!(f, "{gutter} | {before}^") } else { Ok(()) }
    }
}

/// The part of a line around a column (from 1), and the blanks that lead to the caret below it.
fn window(line: &str, column: u32) -> (String, String) {
    let at = (column as usize).saturating_sub(1);
    let from = if at < SHOWN { 0 } else { at - SHOWN / 2 };
    let printable = |c: char| if c != '\t' && c.is_control() { '\u{fffd}' } else { c };
    let shown: String = line.chars().skip(from).take(SHOWN).map(printable).collect();
    let before = shown.trim_end().chars().take(at - from).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
    (shown.trim_end().to_owned(), before)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(file: &str, line: u32, column: u32) -> Origin {
        Origin { file: RepoPath::new(file).unwrap(), line, column }
    }

    #[test]
    fn errors_print_like_a_compiler() {
        let errors = Errors(vec![
            Error::new(Stage::Layer, "unknown field `resorces`")
                .at(at("base/kustomization.yaml", 12, 3))
                .with_line("  resorces: []")
                .hint("did you mean `resources`?"),
            Error::Missing(Box::new(Remote { url: "https://example.com/base".into(), reference: Some("v1".into()), ..Remote::default() }))
                .at(at("base/kustomization.yaml", 2, 3)),
        ]);
        assert_eq!(
            errors.to_string(),
            "error: unknown field `resorces`\n  --> base/kustomization.yaml:12:3\n   |\n12 |   resorces: []\n   |   ^\nhelp: did you mean `resources`?\n\n\
             error: the remote base https://example.com/base at v1 is missing, for rendering reads no network\n --> base/kustomization.yaml:2:3\n\
             help: vendor the base into the repository and name its directory\n"
        );
    }

    #[test]
    fn yaml_that_does_not_parse_is_shown_where_it_stands() {
        let file = RepoPath::new("apps/web.yaml").unwrap();
        let error = yaml::parse(b"spec:\n  image: a: b\n", &yaml::Limits::default()).unwrap_err();
        assert_eq!(
            Errors::from(Error::yaml(&file, &error)).to_string(),
            "error: mapping values are not allowed in this context\n --> apps/web.yaml:2:11\n  |\n2 |   image: a: b\n  |           ^\n\
             help: put a value that holds `: ` in quotes, and check the indentation\n"
        );
    }

    #[test]
    fn the_first_place_said_is_kept() {
        let error = Error::new(Stage::Object, "x").at(at("a", 2, 1)).at(at("b", 1, 1));
        assert_eq!(error.place().unwrap().origin.file.as_str(), "a");
    }

    #[test]
    fn a_tree_error_is_told_once() {
        let link = TreeError::Link { path: RepoPath::new("a/b").unwrap(), target: "/etc".into() };
        let text = Errors::from(Error::from(link)).to_string();
        assert_eq!(text, "error: `a/b` cannot be read: the symbolic link to `/etc` leads out of the repository or in a circle\n --> a/b\n");
    }

    #[test]
    fn a_line_without_end_is_cut_around_the_place() {
        let line = "x".repeat(10_000);
        let (shown, before) = window(&line, 5_001);
        assert_eq!((shown.len(), before.len()), (SHOWN, SHOWN / 2));
    }
}
