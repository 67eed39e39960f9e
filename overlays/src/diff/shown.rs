//! What may be shown of a field, and how long it may be: the values of a Secret print as `****`.
//!
//! It must not know what is compared, or who asked.

use serde_json::Value as Json;

use super::field::FieldPath;
use crate::yaml::{Dialect, Node, Value};

/// What stands for a value that must not be seen.
const HIDDEN: &str = "****";
/// The fields of a Secret that hold its values, and the annotation in which kubectl keeps a copy of them.
const SECRET_FIELDS: [&str; 2] = ["data", "stringData"];
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// The longest value in text, in characters.
const SHOWN: usize = 120;

/// The value of a field of an object of a kind, as it may be shown.
pub(crate) fn shown(kind: &str, path: &FieldPath, node: &Node) -> Json {
    let json = node.to_json(Dialect::Resource).unwrap_or_else(|_| Json::String(plain(node)));
    if kind == "Secret" { hidden(path, json) } else { json }
}

fn plain(node: &Node) -> String {
    match &node.value {
        Value::Scalar(text, ..) => text.to_string(),
        Value::List(_) => "a list that can't be printed".to_owned(),
        Value::Map(_) => "a map that can't be printed".to_owned(),
    }
}

fn hidden(path: &FieldPath, mut json: Json) -> Json {
    match path.first_key() {
        Some(key) if SECRET_FIELDS.contains(&key) => return all_hidden(json),
        Some("metadata") => return if path.to_string().contains(LAST_APPLIED) { all_hidden(json) } else { without_copy(json) },
        Some(_) => return json,
        None => {}
    }
    let Some(map) = json.as_object_mut() else { return json };
    for (key, value) in map.iter_mut() {
        *value = hidden(&FieldPath(vec![super::FieldStep::Key(key.clone())]), std::mem::take(value));
    }
    json
}

/// Metadata, or a part of it, without kubectl's copy of the object.
fn without_copy(mut json: Json) -> Json {
    if let Some(map) = json.as_object_mut() {
        for (key, value) in map.iter_mut() {
            let inner = std::mem::take(value);
            *value = if key == LAST_APPLIED { all_hidden(inner) } else { without_copy(inner) };
        }
    }
    json
}

fn all_hidden(json: Json) -> Json {
    match json {
        Json::Object(map) => Json::Object(map.into_iter().map(|(key, value)| (key, all_hidden(value))).collect()),
        Json::Array(list) => Json::Array(list.into_iter().map(all_hidden).collect()),
        Json::Null => Json::Null,
        _ => Json::String(HIDDEN.to_owned()),
    }
}

/// A value in one line: a string as it is, where that can't be taken for anything else.
pub(crate) fn text(value: &Json) -> String {
    let text = match value {
        Json::String(text) if is_plain(text) => text.clone(),
        other => other.to_string(),
    };
    let printable = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    let mut shown: String = text.chars().take(SHOWN).map(printable).collect();
    if text.chars().nth(SHOWN).is_some() {
        shown.push('…');
    }
    shown
}

fn is_plain(text: &str) -> bool {
    !text.is_empty()
        && text == text.trim()
        && !text.starts_with(['"', '{', '['])
        && !text.contains(char::is_control)
        && !matches!(text, "true" | "false" | "null")
        && text.parse::<f64>().is_err()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml;

    #[test]
    fn no_value_of_a_secret_is_shown_from_whatever_height_it_is_looked_at() {
        let secret = "kind: Secret\nmetadata:\n  name: x\n  annotations: {kubectl.kubernetes.io/last-applied-configuration: hunter2}\ndata: {a: hunter2}\nstringData: {b: hunter2, c: 2}\ntype: Opaque\n";
        let node = yaml::parse(secret.as_bytes(), &yaml::Limits::default()).unwrap().remove(0);
        for path in [
            "",
            "data",
            "data.a",
            "stringData",
            "stringData.c",
            "metadata",
            "metadata.annotations",
            "metadata.annotations.kubectl.kubernetes.io/last-applied-configuration",
        ] {
            let path = FieldPath::find(&node, path).unwrap();
            let text = text(&shown("Secret", &path, path.of(&node).unwrap()));
            assert!(!text.contains("hunter2") && text.contains(HIDDEN), "{path}: {text}");
        }
        let kind = FieldPath::find(&node, "type").unwrap();
        assert_eq!(text(&shown("Secret", &kind, kind.of(&node).unwrap())), "Opaque");
    }

    #[test]
    fn a_value_can_be_told_from_one_of_another_type() {
        let texts = [Json::from("a b"), Json::from("1"), Json::from(1), Json::from("true"), Json::from(""), Json::from("a\nb")];
        assert_eq!(texts.each_ref().map(text), ["a b", "\"1\"", "1", "\"true\"", "\"\"", "\"a\\nb\""]);
        assert_eq!(text(&Json::from("x".repeat(1000))).chars().count(), SHOWN + 1);
    }
}
