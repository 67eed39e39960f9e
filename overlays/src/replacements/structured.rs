//! Replacements that go into JSON or YAML which is the text of a field, as in a ConfigMap's `config.json`.
//!
//! It must not know which fields hold such text: any path that goes on below a scalar asks for it.

use super::{layout, path};
use crate::fields::edit;
use crate::yaml::{self, Node, Value};

/// Writes below a scalar. `false`: the path leads through no text that could be read, or not to anything in it.
///
/// # Errors
/// What `set` returns where the text stays as it is.
pub(super) fn write(
    body: &mut Node,
    steps: &[String],
    create: Option<&Node>,
    set: &mut dyn FnMut(&mut Node) -> Result<(), String>,
) -> Result<bool, String> {
    let Some((at, text)) = text_on_the_way(body, steps) else { return Ok(false) };
    let (above, below) = steps.split_at(at);
    let Some(changed) = changed(&text, below, create, set) else { return written_nowhere(&text, below, create, set) };
    let mut write = |node: &mut Node| {
        let mark = node.mark;
        *node = edit::string_at(&changed, mark);
        Ok(())
    };
    Ok(path::for_each(body, above, None, &mut write).is_ok())
}

/// The first scalar on a path that goes on, and how many steps lead to it.
fn text_on_the_way(body: &Node, steps: &[String]) -> Option<(usize, String)> {
    (1..steps.len()).find_map(|at| {
        let node = path::lookup(body, steps.get(..at)?).ok()??;
        Some((at, node.text()?.to_string()))
    })
}

/// kustomize tries again with what it reads of the text, and forgets it.
fn written_nowhere(
    text: &str,
    below: &[String],
    create: Option<&Node>,
    set: &mut dyn FnMut(&mut Node) -> Result<(), String>,
) -> Result<bool, String> {
    let document = yaml::parse(text.as_bytes(), &yaml::Limits::default()).ok().and_then(|documents| documents.into_iter().next());
    match document {
        Some(mut document) => path::for_each(&mut document, below, create, set).map(|count| count > 0),
        None => Ok(false),
    }
}

fn changed(text: &str, below: &[String], create: Option<&Node>, set: &mut dyn FnMut(&mut Node) -> Result<(), String>) -> Option<String> {
    let mut document = yaml::parse(text.as_bytes(), &yaml::Limits::default()).ok()?.into_iter().next()?;
    if matches!(document.value, Value::Scalar(..)) {
        return None;
    }
    let before = document.clone();
    let found = path::for_each(&mut document, below, create, set).ok()?;
    if found == 0 {
        return None;
    }
    if text.trim_start().starts_with(['{', '[']) {
        return json(&document, text);
    }
    layout::laid_out(text, &document).or_else(|| in_place(&before, &document, text))
}

/// JSON is written anew: in lines if it was, with sorted keys.
fn json(document: &Node, text: &str) -> Option<String> {
    let compact = yaml::go_json(document).ok()?;
    Some(if text.contains('\n') && text.contains("  ") { in_lines(&compact) } else { compact })
}

/// JSON with each entry and item on a line of its own.
fn in_lines(compact: &str) -> String {
    let (mut out, mut depth, mut in_text, mut is_escaped) = (String::with_capacity(compact.len() * 2), 0, false, false);
    let mut rest = compact.chars().peekable();
    let new_line = |out: &mut String, depth: usize| *out = format!("{out}\n{:width$}", "", width = depth * 2);
    while let Some(c) = rest.next() {
        let is_end = |next: Option<&char>| matches!(next, Some('}' | ']'));
        match c {
            _ if in_text => {
                in_text = c != '"' || is_escaped;
                is_escaped = c == '\\' && !is_escaped;
                out.push(c);
            }
            '{' | '[' => {
                out.push(c);
                if is_end(rest.peek()) {
                    out.extend(rest.next());
                } else {
                    depth += 1;
                    new_line(&mut out, depth);
                }
            }
            '}' | ']' => {
                depth -= 1;
                new_line(&mut out, depth);
                out.push(c);
            }
            ',' => {
                out.push(c);
                new_line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            c => {
                in_text = c == '"';
                out.push(c);
            }
        }
    }
    out
}

/// Where a text has anchors it keeps its layout: the one scalar that changed is replaced where it stands. Anything else is written anew.
fn in_place(before: &Node, after: &Node, text: &str) -> Option<String> {
    let mut changes = Vec::new();
    let same_shape = differences(before, after, &mut changes);
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    // From the last to the first, so that columns stay what they were.
    for (old, new) in changes.iter().rev() {
        let line = lines.get_mut((old.mark.line as usize).checked_sub(1)?)?;
        let start = line.char_indices().nth((old.mark.column as usize).checked_sub(1)?)?.0;
        let (old_text, new_text) = (old.text()?, new.text()?);
        let rest = line.get(start..)?;
        let quote = rest.chars().next().filter(|c| matches!(c, '"' | '\'')).map_or(0, char::len_utf8);
        if !rest.get(quote..)?.starts_with(&**old_text) {
            return None;
        }
        line.replace_range(start + quote..start + quote + old_text.len(), new_text);
    }
    if same_shape {
        return Some(lines.join("\n").trim().to_owned());
    }
    let mut written = String::new();
    yaml::emit(after, &mut written).ok()?;
    Some(written.trim().to_owned())
}

/// Collects the scalars that differ; `false` if more than scalars does.
fn differences<'n>(before: &'n Node, after: &'n Node, changes: &mut Vec<(&'n Node, &'n Node)>) -> bool {
    match (&before.value, &after.value) {
        (Value::Scalar(old, ..), Value::Scalar(new, ..)) => {
            if old != new {
                changes.push((before, after));
            }
            true
        }
        (Value::List(old), Value::List(new)) => {
            old.len() == new.len() && old.iter().zip(new).all(|(old, new)| differences(old, new, changes))
        }
        (Value::Map(old), Value::Map(new)) => {
            old.len() == new.len() && old.iter().zip(new).all(|(old, new)| differences(&old.value, &new.value, changes))
        }
        _ => false,
    }
}
