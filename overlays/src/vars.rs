//! Vars: `$(NAME)` in some fields becomes the value of a field of some object, once all names are known.
//!
//! It must not know files.

use std::collections::{BTreeMap, HashMap};

use crate::error::{Error, Stage};
use crate::fields::{self, Create, FieldSpec, edit};
use crate::layer::Var;
use crate::object::{Id, Object, group_and_version};
use crate::objects::Objects;
use crate::replacements;
use crate::shared;
use crate::yaml::{self, Dialect, Node, Scalar, Style, Value};

/// The vars of a tree, by name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Vars(BTreeMap<String, Var>);

impl Vars {
    /// Adds the vars of a layer, and marks the objects that they read, which may be renamed later.
    ///
    /// # Errors
    /// A name is there already, or a var may read any of several objects.
    pub(crate) fn add(&mut self, vars: impl Iterator<Item = Var>, objects: &mut Objects) -> Result<(), String> {
        for var in vars {
            let var = completed(var);
            mark_source(&var, objects)?;
            let name = var.name.clone();
            if name.is_empty() {
                return Err("a var has no `name`".to_owned());
            }
            if self.0.insert(name.clone(), var).is_some() {
                return Err(format!("the var `{name}` is defined twice"));
            }
        }
        Ok(())
    }

    /// Adds the vars of another part of the tree.
    ///
    /// # Errors
    /// A name is there already with another meaning.
    pub(crate) fn merge(&mut self, other: Self) -> Result<(), String> {
        for (name, var) in other.0 {
            if self.0.insert(name.clone(), var).is_some() {
                return Err(format!("the var `{name}` is defined twice"));
            }
        }
        Ok(())
    }

    /// Replaces all vars.
    ///
    /// # Errors
    /// The object or field of a var is not there.
    pub(crate) fn resolve(&self, objects: &mut [Object], specs: &[FieldSpec]) -> Result<(), Error> {
        if self.0.is_empty() {
            return Ok(());
        }
        let values = self.values(objects)?;
        for object in objects {
            for spec in specs {
                let outcome = fields::for_each(object, spec, Create::Never, &mut |node| replace_in(node, &values));
                outcome
                    .map_err(|problem| Error::new(Stage::Transform, format!("{}: {problem}", object.id())).at(object.origin().clone()))?;
            }
            shared::settle(object, false);
        }
        Ok(())
    }

    fn values(&self, objects: &[Object]) -> Result<HashMap<String, Node>, Error> {
        let wrong = |message: String| Error::new(Stage::Transform, message);
        let value = |(name, var): (&String, &Var)| {
            let object = objects.iter().find(|object| object.history.vars.iter().any(|have| **have == **name));
            let reference = &var.objref;
            let object = object.ok_or_else(|| {
                wrong(format!("the var `{name}` reads {} {}, and there is no such object", reference.kind, reference.name))
            })?;
            let path = &var.fieldref.field_path;
            let found = replacements::read(object.body(), path).ok().flatten();
            let found = found.ok_or_else(|| wrong(format!("the var `{name}` reads `{path}` of {}, which is not there", object.id())))?;
            let found = &counted(found)
                .ok_or_else(|| wrong(format!("the var `{name}` reads `{path}` of {}, which is no number as Go reads them", object.id())))?;
            Ok((name.clone(), found.clone()))
        };
        self.0.iter().map(value).collect()
    }
}

/// A number as Go's decimal functions read it, which know no octal digits and no other bases. Null and dates are texts, and so is what
/// has any other tag.
fn counted(value: &Node) -> Option<Node> {
    let Value::Scalar(text, style, tag) = &value.value else { return Some(value.clone()) };
    let plain = |text: String| Some(Node { value: Value::Scalar(text.into(), Style::Plain, None), mark: value.mark });
    let is_plain = *style == Style::Plain && tag.is_none();
    match (edit::type_tag(value), value.resolve(Dialect::Resource)) {
        _ if !is_plain && !edit::is_tagged(tag.as_deref()) => Some(value.clone()),
        ("tag:yaml.org,2002:int", _) => plain(text.parse::<i64>().ok()?.to_string()),
        ("tag:yaml.org,2002:float", _) => plain(yaml::float_text(text.parse().ok()?)),
        (_, Ok(Scalar::Bool(truth))) => plain(truth.to_string()),
        (_, Err(_)) => None,
        (edit::STRING_TAG, _) if is_plain => Some(value.clone()),
        _ => Some(edit::string_at(text, value.mark)),
    }
}

fn completed(mut var: Var) -> Var {
    if var.fieldref.field_path.is_empty() {
        "metadata.name".clone_into(&mut var.fieldref.field_path);
    }
    if !var.objref.api_version.is_empty() {
        let (group, version) = group_and_version(&var.objref.api_version);
        let (group, version) = (group.to_owned(), version.to_owned());
        if !group.is_empty() {
            var.objref.group = group;
        }
        var.objref.version = version;
    }
    var
}

fn mark_source(var: &Var, objects: &mut Objects) -> Result<(), String> {
    let reference = &var.objref;
    let is_source = |id: &Id<'_>| {
        let namespace = if reference.namespace.is_empty() { id.namespace } else { &reference.namespace };
        id.group == reference.group && id.version == reference.version && id.kind == reference.kind && id.namespace == namespace
    };
    let named = objects.named(&reference.name);
    let is_source = |at: &usize| {
        let ids = objects.get(*at).into_iter().flat_map(Object::ids);
        ids.into_iter().any(|id| id.name == reference.name && is_source(&id))
    };
    let found: Vec<usize> = named.into_iter().filter(is_source).collect();
    match found.as_slice() {
        [] => Ok(()),
        [at] => {
            objects.change(*at, |object| object.history.vars.push(var.name.as_str().into()));
            Ok(())
        }
        _ => Err(format!("the var `{}` may read any of {} objects", var.name, found.len())),
    }
}

fn replace_in(node: &mut Node, values: &HashMap<String, Node>) -> Result<(), String> {
    if edit::is_null(node) {
        return Ok(());
    }
    match &mut node.value {
        Value::Scalar(..) => {
            replace_text(node, values);
            Ok(())
        }
        Value::List(items) => items.iter_mut().try_for_each(|item| replace_scalar(item, values)),
        Value::Map(entries) => {
            entries.iter_mut().filter(|entry| entry.value.text().is_some()).try_for_each(|entry| replace_scalar(&mut entry.value, values))
        }
    }
}

fn replace_scalar(node: &mut Node, values: &HashMap<String, Node>) -> Result<(), String> {
    if node.text().is_none() {
        return Err("only strings can hold vars".to_owned());
    }
    replace_text(node, values);
    Ok(())
}

/// What a step wrote becomes a string here, whether it holds a var or not.
fn replace_text(node: &mut Node, values: &HashMap<String, Node>) {
    match replaced(node, values) {
        Some(replaced) => *node = replaced,
        None => edit::settle_string(node),
    }
    // And it is folded no more.
    if let Value::Scalar(_, style @ Style::Folded, _) = &mut node.value {
        *style = Style::Quoted;
    }
}

/// The node with its vars replaced. A var that is the whole text gives its type too.
fn replaced(node: &Node, values: &HashMap<String, Node>) -> Option<Node> {
    let is_other = matches!(&node.value, Value::Scalar(_, _, Some(tag)) if !matches!(&**tag, "" | "!" | "!!str" | "tag:yaml.org,2002:str"));
    let text = node.text().filter(|text| !is_other && text.contains('$'))?;
    let whole = text.strip_prefix("$(").and_then(|rest| rest.strip_suffix(')')).filter(|name| !name.contains(')'));
    if let Some(value) = whole.and_then(|name| values.get(name)).filter(|value| value.text().is_some()) {
        return Some(Node { mark: node.mark, ..value.clone() });
    }
    let replaced = expanded(text, |name| values.get(name).and_then(Node::text).map(|text| text.to_string()));
    (*replaced != **text).then(|| edit::string_at(&replaced, node.mark))
}

/// Replaces `$(NAME)` where the name is known; `$$` stands for one `$`.
fn expanded(text: &str, value: impl Fn(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        match rest.chars().next() {
            Some('$') => {
                out.push('$');
                rest = &rest[1..];
            }
            Some('(') => match rest.split_once(')') {
                Some((name, after)) => {
                    let name = &name[1..];
                    out.push_str(&value(name).unwrap_or_else(|| format!("$({name})")));
                    rest = after;
                }
                None => {
                    out.push_str("$(");
                    rest = &rest[1..];
                }
            },
            _ => out.push('$'),
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_names_are_replaced_and_two_dollars_are_one() {
        let value = |name: &str| (name == "A").then(|| "x".to_owned());
        assert_eq!(expanded("-$(A)-$(B)-$$(A)-$A-$", value), "-x-$(B)-$(A)-$A-$");
        assert_eq!(expanded("$(A", value), "$(A");
    }
}
