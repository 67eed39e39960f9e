//! ConfigMaps and Secrets made of literals, files and env files, and the hash that names their content.
//!
//! It must not know what else is in the tree; merging a map into one that is there already is [`merge`]'s part.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use base64::Engine;
use sha2::{Digest, Sha256};

use crate::error::{Error, Stage};
use crate::fields::edit;
use crate::layer::{Generator, GeneratorOptions, Placed};
use crate::object::{Object, Origin};
use crate::path::RepoPath;
use crate::source::Source;
use crate::yaml::{self, Dialect, Entry, Mark, Node, Scalar, Text, Value};

mod values;

/// What is generated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    ConfigMap,
    Secret,
}

/// What becomes of a generated map whose name is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Behavior {
    /// It is an error.
    Create,
    /// It takes its place.
    Replace,
    /// Its keys are added.
    Merge,
}

impl Behavior {
    /// kustomize takes a word that it does not know for `create`.
    pub(crate) fn new(text: &str) -> Self {
        match text {
            "replace" => Self::Replace,
            "merge" => Self::Merge,
            _ => Self::Create,
        }
    }
}

/// Makes the object of one generator. `file` is the kustomization (or configuration) that asks for it, in the directory `layer`.
///
/// # Errors
/// It has no name, a key is there twice, or a file is missing or must not be read.
pub(crate) fn generate(
    source: &mut Source<'_>,
    layer: &RepoPath,
    file: &RepoPath,
    kind: Kind,
    generator: &Placed<Generator>,
    options: &GeneratorOptions,
) -> Result<Object, Error> {
    let Placed { value: args, mark } = generator;
    if args.name.is_empty() {
        return Err(place(source, kind, file, Error::new(Stage::Generate, "a generator has no `name`"), *mark));
    }
    let pairs = values::pairs(source, layer, args).map_err(|(error, at)| place(source, kind, file, error, at))?;
    let tabbed = pairs.iter().find(|pair| source.strict && kind == Kind::ConfigMap && begins_with_a_tab(&pair.value));
    if let Some(pair) = tabbed {
        let message = format!("the value of `{}` begins with a tab and has several lines, which kustomize cannot write", pair.key);
        return Err(place(source, kind, file, Error::new(Stage::Generate, message), pair.mark));
    }
    let values = distinct(args, pairs).map_err(|error| place(source, kind, file, error, *mark))?;
    let options = args.options.over(options);
    let mut body = body(kind, args, &options, values, *mark);
    // By number: the object may be merged into one of another file, where number 0 means that file.
    let number = source.number(file);
    edit::remark(&mut body, &|mark| Mark { file: number, ..mark });
    let mut object = Object::new(Arc::new(body), Origin { file: file.clone(), line: mark.line, column: mark.column });
    object.history.generated = true;
    object.history.hashed = !options.disable_name_suffix_hash;
    Ok(object)
}

/// kustomize writes such a text as a block, and cannot read it again.
fn begins_with_a_tab(value: &[u8]) -> bool {
    value.starts_with(b"\t") && value.contains(&b'\n') && std::str::from_utf8(value).is_ok()
}

/// An error at a place in the kustomization; where a Secret is generated without the line, which may hold its values.
pub(crate) fn place(source: &Source<'_>, kind: Kind, file: &RepoPath, error: Error, mark: Mark) -> Error {
    match kind {
        Kind::ConfigMap => source.place(error, file, mark),
        Kind::Secret => error.at(Origin { file: file.clone(), line: mark.line, column: mark.column }),
    }
}

/// A value, and where it was asked for.
type Values = BTreeMap<String, (Vec<u8>, Mark)>;

fn distinct(args: &Generator, pairs: Vec<values::Pair>) -> Result<Values, Error> {
    let mut values = Values::new();
    for values::Pair { key, value, mark } in pairs {
        if values.contains_key(&key) {
            return Err(Error::new(Stage::Generate, format!("the key `{key}` is twice in the generated `{}`", args.name))
                .hint("remove one of the two, or give one another key"));
        }
        values.insert(key, (value, mark));
    }
    Ok(values)
}

fn body(kind: Kind, args: &Generator, options: &GeneratorOptions, values: Values, mark: Mark) -> Node {
    let string = |text: &str| value_at(text, mark);
    let mut metadata = Node { mark, ..Node::map() };
    edit::put_any(&mut metadata, "name", string(&args.name));
    if !args.namespace.is_empty() {
        edit::put_any(&mut metadata, "namespace", string(&args.namespace));
    }
    for (field, texts) in [("labels", &options.labels), ("annotations", &options.annotations)] {
        for (key, value) in texts {
            if let Some(map) = edit::ensure(&mut metadata, field, || Node { mark, ..Node::map() }) {
                edit::put_any(map, key, string(value));
            }
        }
    }
    let mut body = Node { mark, ..Node::map() };
    edit::put_any(&mut body, "apiVersion", string("v1"));
    edit::put_any(&mut body, "kind", string(if kind == Kind::Secret { "Secret" } else { "ConfigMap" }));
    edit::put_any(&mut body, "metadata", metadata);
    put_data(kind, args, values, &mut body, mark);
    if options.immutable {
        edit::put_any(&mut body, "immutable", edit::plain_at("true", mark));
    }
    body
}

fn put_data(kind: Kind, args: &Generator, values: Values, body: &mut Node, mark: Mark) {
    if kind == Kind::Secret {
        let secret_type = if args.secret_type.is_empty() { "Opaque" } else { &args.secret_type };
        edit::put_any(body, "type", value_at(secret_type, mark));
    }
    let (mut data, mut binary) = (Vec::new(), Vec::new());
    for (key, (value, mark)) in values {
        let (text, is_text) = match (kind, String::from_utf8(value)) {
            (Kind::ConfigMap, Ok(text)) => (text, true),
            (Kind::ConfigMap, Err(bytes)) => (base64_lines(bytes.as_bytes()), false),
            (Kind::Secret, Ok(text)) => (base64_lines(text.as_bytes()), true),
            (Kind::Secret, Err(bytes)) => (base64_lines(bytes.as_bytes()), true),
        };
        let entry = Entry { key: edit::string_at(&key, mark), value: value_at(&text, mark) };
        if is_text { data.push(entry) } else { binary.push(entry) }
    }
    for (field, entries) in [("data", data), ("binaryData", binary)] {
        // An empty Secret has empty data, an empty ConfigMap none.
        if !entries.is_empty() || (kind == Kind::Secret && field == "data") {
            edit::put_any(body, field, Node { value: Value::Map(entries), mark });
        }
    }
}

fn value_at(text: &str, mark: Mark) -> Node {
    edit::written_at(&text.into(), mark)
}

/// The length of a line of base64 in kustomize.
const BASE64_LINE: usize = 70;

/// Base64 as kustomize writes it: in lines, each ended by a newline, unless there is less than one.
fn base64_lines(bytes: &[u8]) -> String {
    let text = base64::engine::general_purpose::STANDARD.encode(bytes);
    if text.len() < BASE64_LINE {
        return text;
    }
    let mut lines = String::with_capacity(text.len() + text.len() / BASE64_LINE + 1);
    for (at, c) in text.chars().enumerate() {
        if at > 0 && at % BASE64_LINE == 0 {
            lines.push('\n');
        }
        lines.push(c);
    }
    lines.push('\n');
    lines
}

/// Puts a generated map in the place of one that was there: it keeps that one's name, namespace, origin and history, and
/// with [`Behavior::Merge`] its data. The origin, for that is what number 0 means in the marks of all that is kept.
pub(crate) fn merge(old: &Object, mut new: Object, behavior: Behavior) -> Object {
    for field in ["labels", "annotations"] {
        let mut both = Node { mark: new.body().mark, ..Node::map() };
        for object in [old, &new] {
            for entry in object.body().at(&["metadata", field]).map_or(&[][..], Node::entries) {
                let (Some(key), text) = (entry.key.text(), entry.value.text()) else { continue };
                let text = text.map_or("", |text| &**text);
                edit::put_any(&mut both, key, value_at(text, entry.value.mark));
            }
        }
        put_in_metadata(&mut new, field, both);
    }
    for (field, text) in [("name", old.name()), ("namespace", old.namespace())] {
        let mark = old.body().at(&["metadata", field]).map(|node| node.mark).unwrap_or_default();
        // It is written again over what the generator says, and keeps only the style of that.
        let mut value = new.body().at(&["metadata", field]).cloned().unwrap_or_else(|| Node::plain(""));
        edit::set_text(&mut value, text, mark);
        put_in_metadata(&mut new, field, if text.is_empty() { Node::map() } else { value });
    }
    let hashed = new.history.hashed && old.history.hashed;
    let made = new.history.made.take().filter(|_| behavior == Behavior::Replace);
    new.history = old.history.clone();
    new.set_origin(old.origin().clone());
    new.history.hashed = hashed;
    new.history.made = made.or(new.history.made);
    if behavior == Behavior::Merge {
        merge_data(old, &mut new);
    }
    new
}

/// Sets a field of the metadata; an empty map removes it.
fn put_in_metadata(object: &mut Object, field: &str, value: Node) {
    let Some(metadata) = object.body_mut().get_mut("metadata") else { return };
    if edit::is_empty_map(&value) {
        edit::remove(metadata, field);
    } else {
        edit::put_any(metadata, field, value);
    }
}

fn merge_data(old: &Object, new: &mut Object) {
    let mut data = BTreeMap::new();
    let mut binary = BTreeMap::new();
    let is_secret = old.kind() == "Secret";
    for entry in old.body().get("stringData").filter(|_| is_secret).map_or(&[][..], Node::entries) {
        let (Some(key), Some(text)) = (entry.key.text(), entry.value.text()) else { continue };
        data.insert(key.clone(), value_at(&base64_lines(text.as_bytes()), entry.value.mark));
    }
    for object in [old, &*new] {
        data.extend(strings(object.body().get("data")));
        binary.extend(strings(object.body().get("binaryData")));
    }
    for (field, values) in [("data", data), ("binaryData", binary)] {
        edit::remove(new.body_mut(), field);
        if !values.is_empty() {
            let mark = new.body().mark;
            let entry = |(key, value): (Text, Node)| Entry { key: edit::string_at(&key, value.mark), value };
            edit::put_any(new.body_mut(), field, Node { value: Value::Map(values.into_iter().map(entry).collect()), mark });
        }
    }
}

/// The values of a map as strings.
fn strings(map: Option<&Node>) -> impl Iterator<Item = (Text, Node)> {
    let entries = map.map_or(&[][..], Node::entries);
    // What is null, or no single value, has no text.
    let text = |value: &Node| value.text().filter(|_| !edit::is_null(value)).cloned().unwrap_or_else(|| Text::from(""));
    entries.iter().filter_map(move |entry| Some((entry.key.text()?.clone(), value_at(&text(&entry.value), entry.value.mark))))
}

/// The hash of a generated map's content: ten letters and digits that can't spell words.
///
/// # Errors
/// The content can't be written as JSON.
pub(crate) fn hash(object: &Object) -> Result<String, String> {
    let body = object.body();
    let field = |path: &[&str]| match body.at(path) {
        None => Node::string(""),
        Some(node) => match node.text() {
            Some(text) => Node::string(text.clone()),
            None => through_floats(node),
        },
    };
    let mut content = Node::map();
    edit::put_any(&mut content, "kind", Node::string(object.kind()));
    // kustomize means to hash the name, but looks for it under a key that no object has.
    edit::put_any(&mut content, "name", Node::string(""));
    edit::put_any(&mut content, "data", field(&["data"]));
    let is_secret = object.kind() == "Secret";
    if is_secret {
        edit::put_any(&mut content, "type", field(&["type"]));
    }
    let second = if is_secret { "stringData" } else { "binaryData" };
    if let Some(node) = body.get(second).filter(|node| matches!(node.value, Value::Map(_))) {
        edit::put_any(&mut content, second, through_floats(node));
    }
    let json = yaml::go_json(&content).map_err(|error| error.message().to_owned())?;
    Ok(spelled(&Sha256::digest(json)))
}

/// What is hashed has been through JSON with 64-bit floats: integers beyond 2^53 lose digits.
fn through_floats(node: &Node) -> Node {
    let value = match &node.value {
        Value::List(items) => Value::List(items.iter().map(through_floats).collect()),
        Value::Map(entries) => {
            Value::Map(entries.iter().map(|entry| Entry { key: entry.key.clone(), value: through_floats(&entry.value) }).collect())
        }
        Value::Scalar(..) => match node.resolve(Dialect::Resource) {
            #[expect(clippy::cast_precision_loss, reason = "losing digits is what is reproduced here")]
            Ok(Scalar::Int(value)) if value.unsigned_abs() > 1 << 53 => return Node::plain(format!("{:e}", value as f64)),
            _ => return node.clone(),
        },
    };
    Node { value, mark: node.mark }
}

fn spelled(digest: &[u8]) -> String {
    let mut hex = String::with_capacity(10);
    for byte in digest.iter().take(5) {
        let _ = write!(hex, "{byte:02x}");
    }
    let unspoken = |c| match c {
        '0' => 'g',
        '1' => 'h',
        '3' => 'k',
        'a' => 'm',
        'e' => 't',
        other => other,
    };
    hex.chars().map(unspoken).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_base64_is_written_in_lines_of_70() {
        assert_eq!(base64_lines(b"abc"), "YWJj");
        let long = base64_lines(&[0; 60]);
        assert_eq!(long.lines().map(str::len).collect::<Vec<_>>(), [70, 10]);
        assert!(long.ends_with('\n'));
    }
}
