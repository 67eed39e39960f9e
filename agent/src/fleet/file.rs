//! Reads `plimsoll.yaml`. Every error says file, line and column, and all of them are told at once.

use std::collections::{BTreeMap, BTreeSet};

use overlays::error::{Error, Errors, Stage};
use overlays::object::Origin;
use overlays::path::RepoPath;
use overlays::yaml::{self, Dialect, Node, Scalar, Value};

use super::{Entry, Fleet, Spot};
use crate::api::{ALLOW, ClusterSpec, PRUNE_ANNOTATION};

const API_VERSION: &str = "plimsoll.dev/v1alpha1";
const KIND: &str = "Fleet";

/// What each part of the file may hold.
const FIELDS: &[&str] = &["apiVersion", "kind", "metadata", "layers", "apps", "clusters"];
const METADATA: &[&str] = &["name", "labels", "annotations"];
const APP: &[&str] = &["name", "path", "dependsOn", "prune"];
const CLUSTER: &[&str] = &["name", "labels"];

/// Reads the fleet file of `directory`.
pub(super) fn read(file: &RepoPath, directory: &RepoPath, bytes: &[u8]) -> Result<Fleet, Errors> {
    let documents = yaml::parse(bytes, &yaml::Limits::default()).map_err(|error| Error::yaml(file, &error))?;
    let mut reader = Reader { file, lines: String::from_utf8_lossy(bytes).lines().map(str::to_owned).collect(), errors: Vec::new() };
    let mut fleet = Fleet::new(directory);
    match documents.as_slice() {
        [document] => reader.fleet(document, &mut fleet),
        [] => reader.errors.push(Error::new(Stage::Layer, "the fleet file is empty").at(reader.whole())),
        [_, second, ..] => reader.refuse(second, "a second document: the fleet file has only one", ""),
    }
    if reader.errors.is_empty() { Ok(fleet) } else { Err(Errors(reader.errors)) }
}

struct Reader<'a> {
    file: &'a RepoPath,
    lines: Vec<String>,
    errors: Vec<Error>,
}

impl Reader<'_> {
    fn fleet(&mut self, node: &Node, fleet: &mut Fleet) {
        if !self.is_map(node, "the fleet file", FIELDS) {
            return;
        }
        self.expect(node, "apiVersion", API_VERSION);
        self.expect(node, "kind", KIND);
        fleet.prune = self.metadata(node);
        if let Some(layers) = present(node, "layers") {
            fleet.layers = self.layers(layers);
        }
        fleet.entries = self.list(node, "apps").iter().filter_map(|app| self.app(app)).collect();
        fleet.clusters = self.clusters(node);
        if self.errors.is_empty() && fleet.entries.is_empty() {
            self.refuse(node, "the fleet has no apps", "name their directories, as `apps: [{path: apps/*}]`");
        }
    }

    /// A file that a later version wrote may mean something else by the same words.
    fn expect(&mut self, node: &Node, field: &str, expected: &str) {
        match node.get(field) {
            Some(value) if value.text().is_some_and(|text| **text == *expected) => {}
            Some(value) => self.refuse(value, format!("`{field}` must be `{expected}`"), ""),
            None => self.refuse(node, format!("`{field}` is missing"), &format!("write `{field}: {expected}`")),
        }
    }

    /// Whether the whole fleet gives the word for guarded deletions.
    fn metadata(&mut self, node: &Node) -> bool {
        let Some(metadata) = present(node, "metadata") else { return false };
        self.is_map(metadata, "`metadata`", METADATA)
            && metadata.at(&["annotations", PRUNE_ANNOTATION]).is_some_and(|word| self.allows(word))
    }

    fn allows(&mut self, word: &Node) -> bool {
        let allows = word.text().is_some_and(|text| **text == *ALLOW);
        if !allows {
            self.refuse(word, format!("the only word for deletions is `{ALLOW}`"), "");
        }
        allows
    }

    fn layers(&mut self, node: &Node) -> Vec<String> {
        let mut seen = BTreeSet::new();
        let layers = self.texts(node, "`layers`", "a layer");
        for (layer, node) in &layers {
            if !seen.insert(layer.clone()) {
                self.refuse(node, format!("the layer `{layer}` is listed twice"), "");
            }
        }
        layers.into_iter().map(|(layer, _)| layer).collect()
    }

    fn app(&mut self, node: &Node) -> Option<Entry> {
        if !self.is_map(node, "an app", APP) {
            return None;
        }
        let Some(path) = present(node, "path") else {
            self.refuse(node, "the app has no `path`", "name its directory");
            return None;
        };
        let depends_on = present(node, "dependsOn").map(|list| self.texts(list, "`dependsOn`", "the name of an app")).unwrap_or_default();
        Some(Entry {
            name: present(node, "name").and_then(|name| self.text(name, "`name`")),
            path: self.text(path, "`path`")?,
            depends_on: depends_on.into_iter().map(|(name, node)| (name, self.spot(node))).collect(),
            prune: present(node, "prune").is_some_and(|word| self.allows(word)),
            spot: self.spot(node),
        })
    }

    fn clusters(&mut self, node: &Node) -> Vec<ClusterSpec> {
        let mut clusters: Vec<ClusterSpec> = Vec::new();
        for node in self.list(node, "clusters") {
            let Some(cluster) = self.cluster(node) else { continue };
            if clusters.iter().any(|other| other.name == cluster.name) {
                self.refuse(node, "the cluster is listed twice", "merge both entries into one");
            }
            clusters.push(cluster);
        }
        clusters
    }

    fn cluster(&mut self, node: &Node) -> Option<ClusterSpec> {
        if !self.is_map(node, "a cluster", CLUSTER) {
            return None;
        }
        let Some(name) = present(node, "name") else {
            self.refuse(node, "the cluster has no `name`", "name it as its commit statuses do");
            return None;
        };
        let name = self.text(name, "`name`")?;
        Some(ClusterSpec { name: Some(name), labels: present(node, "labels").map(|labels| self.labels(labels)).unwrap_or_default() })
    }

    fn labels(&mut self, node: &Node) -> BTreeMap<String, String> {
        if !matches!(node.value, Value::Map(_)) {
            self.refuse(node, "`labels` must be a map", "");
        }
        let mut labels = BTreeMap::new();
        for entry in node.entries() {
            if let (Some(key), Some(value)) = (self.text(&entry.key, "a label"), self.text(&entry.value, "the value of a label")) {
                labels.insert(key, value);
            }
        }
        labels
    }

    /// Whether `node` is a map that holds nothing but `known` fields; the unknown ones are told either way.
    fn is_map(&mut self, node: &Node, what: &str, known: &[&str]) -> bool {
        if !matches!(node.value, Value::Map(_)) {
            self.refuse(node, format!("{what} must be a map"), "");
            return false;
        }
        for key in node.entries().iter().map(|entry| &entry.key) {
            let name = key.text().map(|text| text.to_string()).unwrap_or_default();
            if !known.contains(&name.as_str()) {
                let hint = nearest(&name, known.iter().copied()).map(|near| format!("did you mean `{near}`?"));
                self.refuse(
                    key,
                    format!("unknown field `{name}` in {what}"),
                    &hint.unwrap_or_else(|| format!("known are {}", known.join(", "))),
                );
            }
        }
        true
    }

    /// The items of a list; a field that is absent or null has none.
    fn list<'n>(&mut self, node: &'n Node, field: &str) -> &'n [Node] {
        let Some(list) = present(node, field) else { return &[] };
        if !matches!(list.value, Value::List(_)) {
            self.refuse(list, format!("`{field}` must be a list"), "");
        }
        list.items()
    }

    fn texts<'n>(&mut self, node: &'n Node, what: &str, item: &str) -> Vec<(String, &'n Node)> {
        if !matches!(node.value, Value::List(_)) {
            self.refuse(node, format!("{what} must be a list"), "");
        }
        node.items().iter().filter_map(|node| Some((self.text(node, item)?, node))).collect()
    }

    fn text(&mut self, node: &Node, what: &str) -> Option<String> {
        match node.resolve(Dialect::Resource) {
            Ok(Scalar::Str(text)) if !text.is_empty() || what == "the value of a label" => Some(text.into_owned()),
            Ok(Scalar::Str(_) | Scalar::Null) => self.refused(node, format!("{what} is empty"), ""),
            Ok(other) => self.refused(node, format!("{what} must be a string, and this is {}", other.type_name()), "put it in quotes"),
            Err(error) => self.refused(node, format!("{what} must be a string: {}", error.message()), ""),
        }
    }

    fn refused(&mut self, node: &Node, message: String, hint: &str) -> Option<String> {
        self.refuse(node, message, hint);
        None
    }

    fn refuse(&mut self, node: &Node, message: impl Into<String>, hint: &str) {
        let error = self.spot(node).error(message);
        self.errors.push(if hint.is_empty() { error } else { error.hint(hint) });
    }

    fn spot(&self, node: &Node) -> Spot {
        Spot::new(self.file, node.mark, self.lines.get((node.mark.line as usize).saturating_sub(1)).map(String::as_str))
    }

    fn whole(&self) -> Origin {
        Origin { file: self.file.clone(), line: 0, column: 0 }
    }
}

/// A field that is there and not null.
fn present<'n>(node: &'n Node, field: &str) -> Option<&'n Node> {
    node.get(field).filter(|value| !value.is_null(Dialect::Resource))
}

/// The known name that was most likely meant: at most a third of its letters differ.
pub(super) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let letters = |text: &str| text.chars().take(64).flat_map(char::to_lowercase).collect::<Vec<_>>();
    let name = letters(name);
    known
        .map(|other| (distance(&name, &letters(other)), other))
        .filter(|(distance, other)| *distance * 3 <= other.chars().count().max(3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, other)| other)
}

/// How many letters have to be put in, left out, changed or swapped with their neighbour to make `b` of `a`.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let changed = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let swapped = (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]).then(|| rows[i - 2][j - 2] + 1);
            row.push(changed.min(rows[i - 1][j] + 1).min(row[j - 1] + 1).min(swapped.unwrap_or(usize::MAX)));
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}
