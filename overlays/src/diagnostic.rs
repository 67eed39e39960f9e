//! Errors as diagnostics: each with a code that stays the same, for people, for programs (JSON) and for code scanning (SARIF).
//!
//! It must not know how an error came about; [`crate::error`] holds what is known of it.

use serde_json::{Value as Json, json};

use crate::error::{Error, Errors, Stage};
use crate::look::{Look, Paint};
use crate::tree::TreeError;

/// What kind of mistake an error is. Codes are words that stay the same from version to version, so that scripts may rely on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Code {
    /// A file or directory can't be read.
    TreeUnreadable,
    /// A file is not the YAML or JSON that it should be.
    Yaml,
    /// A kustomization or fleet file says something that can't hold.
    Kustomization,
    /// A file has a field that does not exist.
    UnknownField,
    /// A path leads to nothing.
    PathMissing,
    /// A path leads to where the kustomization may not read.
    PathForbidden,
    /// A layer includes itself.
    LayerCycle,
    /// A remote base is needed, and rendering reads no network.
    RemoteBase,
    /// A resource is no Kubernetes object.
    Object,
    /// Two objects have the same identity.
    DuplicateObject,
    /// A generator fails.
    Generator,
    /// A step fails.
    Transformer,
    /// A patch is for an object that is not there.
    PatchTargetMissing,
    /// A patch may be for any of several objects.
    PatchTargetAmbiguous,
    /// The target of a patch selects no object.
    PatchSelectsNothing,
    /// A step names an object that is not there.
    ObjectMissing,
    /// A program, container, plugin or Helm chart would have to be run.
    Program,
    /// Something is larger, deeper or more than it may be.
    Limit,
    /// The objects can't be written.
    Output,
}

impl Code {
    /// All codes, in the order of the SARIF rules.
    pub const ALL: [Self; 19] = [
        Self::TreeUnreadable,
        Self::Yaml,
        Self::Kustomization,
        Self::UnknownField,
        Self::PathMissing,
        Self::PathForbidden,
        Self::LayerCycle,
        Self::RemoteBase,
        Self::Object,
        Self::DuplicateObject,
        Self::Generator,
        Self::Transformer,
        Self::PatchTargetMissing,
        Self::PatchTargetAmbiguous,
        Self::PatchSelectsNothing,
        Self::ObjectMissing,
        Self::Program,
        Self::Limit,
        Self::Output,
    ];

    /// The code, as `patch-target-missing`.
    pub fn word(self) -> &'static str {
        self.told().0
    }

    /// What it means, in a sentence.
    pub fn meaning(self) -> &'static str {
        self.told().1
    }

    fn told(self) -> (&'static str, &'static str) {
        match self {
            Self::TreeUnreadable => ("tree-unreadable", "A file or directory can't be read."),
            Self::Yaml => ("yaml", "A file is not the YAML or JSON that it should be."),
            Self::Kustomization => ("kustomization", "A kustomization or fleet file says something that can't hold."),
            Self::UnknownField => ("unknown-field", "A file has a field that does not exist."),
            Self::PathMissing => ("path-missing", "A path leads to nothing."),
            Self::PathForbidden => ("path-forbidden", "A path leads to where the kustomization may not read."),
            Self::LayerCycle => ("layer-cycle", "A layer includes itself."),
            Self::RemoteBase => ("remote-base", "A remote base is needed, and rendering reads no network."),
            Self::Object => ("object", "A resource is no Kubernetes object, or the object or field that was asked for is not there."),
            Self::DuplicateObject => ("duplicate-object", "Two objects have the same identity."),
            Self::Generator => ("generator", "A generator fails."),
            Self::Transformer => ("transformer", "A patch or another step fails."),
            Self::PatchTargetMissing => ("patch-target-missing", "A patch is for an object that is not there."),
            Self::PatchTargetAmbiguous => ("patch-target-ambiguous", "A patch may be for any of several objects."),
            Self::PatchSelectsNothing => ("patch-selects-nothing", "The target of a patch selects no object, so that it changes nothing."),
            Self::ObjectMissing => ("object-missing", "A step names an object that is not there."),
            Self::Program => ("program", "A program, container, plugin or Helm chart would have to be run."),
            Self::Limit => ("limit", "Something is larger, deeper or more than it may be."),
            Self::Output => ("output", "The objects can't be written as YAML or JSON."),
        }
    }

    /// The code of an error of a stage of which nothing more is known.
    pub(crate) fn of(stage: Stage) -> Self {
        match stage {
            Stage::Tree => Self::TreeUnreadable,
            Stage::Yaml => Self::Yaml,
            Stage::Layer => Self::Kustomization,
            Stage::Object => Self::Object,
            Stage::Generate => Self::Generator,
            Stage::Transform => Self::Transformer,
            Stage::Print => Self::Output,
        }
    }

    pub(crate) fn of_tree(error: &TreeError) -> Self {
        match error {
            TreeError::TooLarge { .. } | TreeError::TooMany { .. } => Self::Limit,
            _ => Self::TreeUnreadable,
        }
    }

    /// Whether an error of this kind is one whatever else is wrong in its layer: it does not come of another one.
    pub(crate) fn stands_alone(self) -> bool {
        matches!(
            self,
            Self::Yaml
                | Self::UnknownField
                | Self::PathMissing
                | Self::PathForbidden
                | Self::RemoteBase
                | Self::PatchTargetMissing
                | Self::ObjectMissing
        )
    }
}

impl Errors {
    /// As a compiler prints them, with codes.
    pub fn text(&self, look: &Look<'_>) -> String {
        let told: Vec<String> = self.0.iter().map(|error| one(error, look)).collect();
        told.join("\n")
    }

    /// For programs: `{"errors": [{"level", "code", "message", "file", "line", "column", "text", "help"}]}`; what is not known is left out.
    pub fn to_json(&self) -> Json {
        json!({"errors": self.0.iter().map(object).collect::<Vec<_>>()})
    }

    /// For code scanning: a SARIF 2.1.0 log with one run. Without errors it has no results.
    pub fn to_sarif(&self) -> Json {
        json!({
            "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
            "version": "2.1.0",
            "runs": [{
                "tool": {"driver": {
                    "name": "plimsoll",
                    "semanticVersion": env!("CARGO_PKG_VERSION"),
                    "informationUri": env!("CARGO_PKG_REPOSITORY"),
                    "rules": Code::ALL.map(rule),
                }},
                "columnKind": "unicodeCodePoints",
                "results": self.0.iter().map(result).collect::<Vec<_>>(),
            }],
        })
    }
}

fn one(error: &Error, look: &Look<'_>) -> String {
    let paint = if error.is_warning() { Paint::Changed } else { Paint::Removed };
    let head = look.paint(paint, &format!("{}[{}]", level(error), error.code().word()));
    let mut text = format!("{head}: {}\n", look.paint(Paint::Title, &error.with_cause()));
    if let Some(place) = error.place() {
        text.push_str(&look.paint_caret(&place.to_string()));
    }
    if let Some(hint) = error.advice() {
        text.push_str(&format!("{}: {hint}\n", look.paint(Paint::Added, "help")));
    }
    text
}

/// As SARIF and compilers call it.
fn level(error: &Error) -> &'static str {
    if error.is_warning() { "warning" } else { "error" }
}

impl Look<'_> {
    /// Colours the caret below a line.
    fn paint_caret(&self, text: &str) -> String {
        match text.strip_suffix("^\n") {
            Some(before) if self.colour => format!("{before}{}\n", self.paint(Paint::Removed, "^")),
            _ => text.to_owned(),
        }
    }
}

fn object(error: &Error) -> Json {
    let mut json = json!({"level": level(error), "code": error.code().word(), "message": error.with_cause()});
    if let Some(place) = error.place() {
        json["file"] = json!(place.origin.file.to_string());
        let known = [("line", place.origin.line), ("column", place.origin.column)];
        known.into_iter().filter(|(_, number)| *number > 0).for_each(|(name, number)| json[name] = json!(number));
        if !place.line_text.is_empty() {
            json["text"] = json!(place.shown());
        }
    }
    error.advice().into_iter().for_each(|hint| json["help"] = json!(hint));
    json
}

fn rule(code: Code) -> Json {
    let level = if code == Code::PatchSelectsNothing { "warning" } else { "error" };
    json!({"id": code.word(), "shortDescription": {"text": code.meaning()}, "defaultConfiguration": {"level": level}})
}

fn result(error: &Error) -> Json {
    let help = error.advice().map(|hint| format!(". Help: {hint}")).unwrap_or_default();
    let mut json = json!({
        "ruleId": error.code().word(),
        "ruleIndex": Code::ALL.iter().position(|code| *code == error.code()),
        "level": level(error),
        "message": {"text": format!("{}{help}", error.with_cause())},
    });
    if let Some(place) = error.place() {
        let mut physical = json!({"artifactLocation": {"uri": uri(&place.origin.file.to_string()), "uriBaseId": "%SRCROOT%"}});
        if place.origin.line > 0 {
            physical["region"] = json!({"startLine": place.origin.line});
            if place.origin.column > 0 {
                physical["region"]["startColumn"] = json!(place.origin.column);
            }
        }
        json["locations"] = json!([{"physicalLocation": physical}]);
    }
    json
}

/// A relative reference of RFC 3986: what may not stand in one is written as `%20`.
fn uri(path: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    let encoded = |byte: u8| if is_plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    path.bytes().map(encoded).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::object::Origin;
    use crate::path::RepoPath;

    fn errors() -> Errors {
        let origin = Origin { file: RepoPath::new("my apps/web.yaml").unwrap(), line: 4, column: 9 };
        let missing = Error::new(Stage::Transform, "no such object").code_is(Code::PatchTargetMissing).at(origin).with_line("  name: wbe");
        let tree = TreeError::TooLarge { path: RepoPath::new("a").unwrap(), bytes: 2, limit: 1 };
        Errors(vec![missing.hint("there is `web`"), Error::from(tree), Error::Missing(Box::default())])
    }

    #[test]
    fn a_diagnostic_has_a_code_the_line_a_caret_and_what_to_do() {
        let text = errors().text(&Look::plain());
        let first = "error[patch-target-missing]: no such object\n --> my apps/web.yaml:4:9\n  |\n4 |   name: wbe\n  |         ^\nhelp: there is `web`\n";
        assert!(text.starts_with(first), "{text}");
        assert!(text.contains("\n\nerror[limit]: `a` cannot be read: it has 2 bytes"), "{text}");
    }

    #[test]
    fn codes_are_distinct_words() {
        let words: HashSet<_> = Code::ALL.iter().map(|code| code.word()).collect();
        assert_eq!(words.len(), Code::ALL.len());
        assert!(words.iter().all(|word| word.chars().all(|c| c.is_ascii_lowercase() || c == '-')));
        assert!(Code::ALL.is_sorted(), "the list is in the order of the type, so that none is forgotten");
    }

    #[test]
    fn sarif_has_what_the_format_demands() {
        let log = errors().to_sarif();
        let run = &log["runs"][0];
        assert_eq!((log["version"].as_str(), run["tool"]["driver"]["name"].as_str()), (Some("2.1.0"), Some("plimsoll")));
        for result in run["results"].as_array().unwrap() {
            let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
            assert_eq!(run["tool"]["driver"]["rules"][index]["id"], result["ruleId"]);
            assert!(!result["message"]["text"].as_str().unwrap().is_empty());
        }
        let place = &run["results"][0]["locations"][0]["physicalLocation"];
        assert_eq!(place["artifactLocation"]["uri"], "my%20apps/web.yaml");
        assert_eq!(place["region"], json!({"startLine": 4, "startColumn": 9}));
        assert!(run["results"][1]["locations"][0]["physicalLocation"].get("region").is_none(), "a line is from 1");
        assert_eq!(Errors::default().to_sarif()["runs"][0]["results"], json!([]));
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        let json = errors().to_json();
        assert_eq!(json["errors"][0]["text"], "  name: wbe");
        assert_eq!(json["errors"][1]["file"], "a");
        assert!(json["errors"][1].get("line").is_none() && json["errors"][2].get("file").is_none());
    }
}
