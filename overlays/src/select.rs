//! Which objects a step is for: selectors by kind, name and namespace (regular expressions), labels and annotations.
//!
//! It must not know what the step does with them.

use regex::Regex;
use serde::Deserialize;

use crate::fields::edit;
use crate::layer::decode;
use crate::object::{Id, Object};

/// A selector as it is written in a kustomization. Empty parts select everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Selector {
    #[serde(deserialize_with = "decode::exact")]
    pub(crate) group: String,
    #[serde(deserialize_with = "decode::exact")]
    pub(crate) version: String,
    #[serde(deserialize_with = "decode::exact")]
    pub(crate) kind: String,
    #[serde(deserialize_with = "decode::exact")]
    pub(crate) name: String,
    #[serde(deserialize_with = "decode::exact")]
    pub(crate) namespace: String,
    pub(crate) label_selector: String,
    pub(crate) annotation_selector: String,
}

/// A selector, ready to be asked.
#[derive(Debug)]
pub(crate) struct Matcher {
    group: Option<Regex>,
    version: Option<Regex>,
    kind: Option<Regex>,
    name: Option<Regex>,
    namespace: Option<Regex>,
    labels: Vec<Requirement>,
    annotations: Vec<Requirement>,
}

impl Selector {
    /// Whether no part by which identities are told apart is given.
    pub(crate) fn names_no_id(&self) -> bool {
        [&self.group, &self.version, &self.kind, &self.name, &self.namespace].iter().all(|part| part.is_empty())
    }

    /// Whether neither labels nor annotations are asked for.
    pub(crate) fn names_no_metadata(&self) -> bool {
        self.label_selector.is_empty() && self.annotation_selector.is_empty()
    }

    /// Reads the expressions.
    ///
    /// # Errors
    /// One of them cannot be read; the message names it.
    pub(crate) fn matcher(&self) -> Result<Matcher, String> {
        Ok(Matcher {
            group: anchored(&self.group)?,
            version: anchored(&self.version)?,
            kind: anchored(&self.kind)?,
            name: anchored(&self.name)?,
            namespace: anchored(&self.namespace)?,
            labels: requirements(&self.label_selector)?,
            annotations: requirements(&self.annotation_selector)?,
        })
    }
}

fn anchored(pattern: &str) -> Result<Option<Regex>, String> {
    if pattern.is_empty() {
        return Ok(None);
    }
    Regex::new(&format!("^(?:{pattern})$")).map(Some).map_err(|_| format!("`{pattern}` is not a regular expression"))
}

fn fits(pattern: &Option<Regex>, text: &str) -> bool {
    pattern.as_ref().is_none_or(|pattern| pattern.is_match(text))
}

impl Matcher {
    /// Whether a patch that has this target is for the object. Name and namespace may be the first or the present ones.
    pub(crate) fn selects(&self, object: &Object) -> bool {
        let (first, now) = (object.first(), object.now());
        (fits(&self.namespace, first.namespace) || fits(&self.namespace, now.namespace))
            && (fits(&self.name, first.name) || fits(&self.name, now.name))
            && self.fits_kind(&now)
            && self.fits_metadata(object)
    }

    /// Whether an identity is selected; the namespace is compared as it is written, not the effective one.
    pub(crate) fn fits_id(&self, id: &Id<'_>, namespace: &str) -> bool {
        self.fits_kind(id) && fits(&self.name, id.name) && fits(&self.namespace, namespace)
    }

    fn fits_kind(&self, id: &Id<'_>) -> bool {
        fits(&self.group, id.group) && fits(&self.version, id.version) && fits(&self.kind, id.kind)
    }

    /// Whether labels and annotations are as asked for.
    pub(crate) fn fits_metadata(&self, object: &Object) -> bool {
        let value = |map: &str, key: &str| {
            let found = edit::texts(object.body().at(&["metadata", map])).find(|(name, _)| *name == key);
            found.map(|(_, value)| value.to_owned())
        };
        self.labels.iter().all(|asked| asked.holds(value("labels", &asked.key).as_deref()))
            && self.annotations.iter().all(|asked| asked.holds(value("annotations", &asked.key).as_deref()))
    }
}

/// One part of a label selector.
#[derive(Debug, PartialEq, Eq)]
struct Requirement {
    key: String,
    test: Test,
}

#[derive(Debug, PartialEq, Eq)]
enum Test {
    Exists,
    Missing,
    In(Vec<String>),
    NotIn(Vec<String>),
    Greater(i64),
    Less(i64),
}

impl Requirement {
    fn holds(&self, value: Option<&str>) -> bool {
        let number = || value.and_then(|value| value.parse::<i64>().ok());
        match &self.test {
            Test::Exists => value.is_some(),
            Test::Missing => value.is_none(),
            Test::In(values) => value.is_some_and(|value| values.iter().any(|one| one == value)),
            // A label that is not there has none of the values.
            Test::NotIn(values) => !value.is_some_and(|value| values.iter().any(|one| one == value)),
            Test::Greater(bound) => number().is_some_and(|number| number > *bound),
            Test::Less(bound) => number().is_some_and(|number| number < *bound),
        }
    }
}

/// Reads a Kubernetes label selector: `a=b,c!=d,e in (f,g),h notin (i),j,!k,l>1`.
fn requirements(selector: &str) -> Result<Vec<Requirement>, String> {
    let unreadable = || format!("`{selector}` is not a label selector");
    split_outside_parentheses(selector).iter().map(|part| requirement(part.trim()).ok_or_else(unreadable)).collect()
}

fn split_outside_parentheses(selector: &str) -> Vec<&str> {
    if selector.trim().is_empty() {
        return Vec::new();
    }
    let mut depth = 0_i32;
    selector
        .split(|c: char| {
            depth += i32::from(c == '(') - i32::from(c == ')');
            c == ',' && depth == 0
        })
        .collect()
}

fn requirement(part: &str) -> Option<Requirement> {
    let of = |key: &str, test| is_label_key(key.trim()).then(|| Requirement { key: key.trim().to_owned(), test });
    let one = |value: &str| vec![value.trim().to_owned()];
    if let Some(key) = part.strip_prefix('!') {
        return of(key, Test::Missing);
    }
    if let Some((key, value)) = part.split_once("!=") {
        return is_label_value(value.trim()).then(|| of(key, Test::NotIn(one(value))))?;
    }
    if let Some((key, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
        return is_label_value(value.trim()).then(|| of(key, Test::In(one(value))))?;
    }
    if let Some((key, value)) = part.split_once('>') {
        return of(key, Test::Greater(value.trim().parse().ok()?));
    }
    if let Some((key, value)) = part.split_once('<') {
        return of(key, Test::Less(value.trim().parse().ok()?));
    }
    match part.split_once(char::is_whitespace) {
        Some((key, set)) => of(key, set_test(set.trim())?),
        None => of(part, Test::Exists),
    }
}

fn set_test(set: &str) -> Option<Test> {
    let (word, values) = set.split_once('(')?;
    let values: Vec<String> = values.trim_end().strip_suffix(')')?.split(',').map(|value| value.trim().to_owned()).collect();
    if !values.iter().all(|value| is_label_value(value)) {
        return None;
    }
    match word.trim() {
        "in" => Some(Test::In(values)),
        "notin" => Some(Test::NotIn(values)),
        _ => None,
    }
}

/// A name, behind the domain that it may have.
fn is_label_key(key: &str) -> bool {
    let (domain, name) = key.rsplit_once('/').unwrap_or(("x", key));
    let is_part = |part: &str| is_label_value(part) && !part.is_empty() && !part.contains(['_']) && part.to_lowercase() == part;
    !name.is_empty() && is_label_value(name) && domain.split('.').all(is_part)
}

/// The longest that a value may be, and the name of a label.
const LABEL_BYTES: usize = 63;

fn is_label_value(value: &str) -> bool {
    let is_inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let is_end = |c: Option<char>| c.is_none_or(|c| c.is_ascii_alphanumeric());
    value.len() <= LABEL_BYTES && value.chars().all(is_inner) && is_end(value.chars().next()) && is_end(value.chars().next_back())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(selector: &str, value: Option<&str>) -> bool {
        requirements(selector).unwrap().iter().all(|asked| asked.holds(value))
    }

    #[test]
    fn a_label_selector_reads_as_kubectl_reads_it() {
        assert!(holds("a=b", Some("b")) && holds("a==b", Some("b")) && !holds("a=b", None));
        assert!(holds("a!=b", None) && !holds("a != b", Some("b")));
        assert!(holds("a in (b, c)", Some("c")) && !holds("a in (b,c)", Some("d")));
        assert!(holds("a notin (b)", None) && holds("a", Some("")) && holds("!a", None));
        assert!(holds("a>1,a<3", Some("2")) && !holds("a>1", Some("x")));
        assert!(requirements("a in b").is_err() && requirements("=b").is_err());
        assert!(requirements("a.b/c_d=E-f.g").is_ok() && requirements("a!=b # c").is_err() && requirements("a=-b").is_err());
        assert!(requirements("a in (b c)").is_err() && requirements(&format!("a={}", "b".repeat(64))).is_err());
    }

    #[test]
    fn a_pattern_must_fit_the_whole_name() {
        let pattern = anchored("web|api").unwrap();
        assert!(fits(&pattern, "api") && !fits(&pattern, "api-2"));
        assert!(anchored("[").is_err());
    }
}
