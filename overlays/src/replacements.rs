//! Replacements: a value is read from one object and written into fields of others.
//!
//! It must not know files: replacements come read. Values may be secrets, and are never part of an error.

use std::collections::HashSet;

use crate::error::{Error, Stage};
use crate::fields::{Gvk, edit};
use crate::layer::{FieldOptions, Replacement, ReplacementSource, ReplacementTarget};
use crate::object::{DEFAULT_NAMESPACE, Id, Object};
use crate::objects::Objects;
use crate::yaml::{Dialect, FLOW_NULL, Mark, Node, Scalar, Style, Value};

mod layout;
mod path;
mod structured;

/// Replacements in order.
#[derive(Debug)]
pub(crate) struct Replacements {
    /// Each with its place, which is that of the file for those that a file holds.
    pub(crate) list: Vec<(Replacement, Mark)>,
}

const DEFAULT_PATH: &str = "metadata.name";

impl Replacements {
    pub(crate) fn apply(&self, objects: &mut Objects) -> Result<(), Error> {
        for (replacement, mark) in &self.list {
            let mut taken = source_value(replacement, objects).map_err(|problem| Error::new(Stage::Transform, problem))?;
            if taken.value.mark.line == 0 {
                taken.value.mark = *mark;
            }
            for target in replacement.targets.iter().flatten() {
                apply_to_target(target, &mut taken, objects)?;
            }
        }
        Ok(())
    }
}

/// The node at a field path, as a replacement or a var reads it.
///
/// # Errors
/// The path leads through something that it does not fit.
pub(crate) fn read<'n>(body: &'n Node, path: &str) -> Result<Option<&'n Node>, String> {
    let indexed = |step: String| match step.strip_suffix(']').and_then(|step| step.split_once('[')) {
        // `ports[0]` is `ports` and `0`.
        Some((key, index)) if !key.is_empty() && index.parse::<usize>().is_ok() => vec![key.to_owned(), index.to_owned()],
        _ => vec![step],
    };
    path::lookup(body, &path::split(path).into_iter().flat_map(indexed).collect::<Vec<_>>())
}

/// What a replacement writes.
struct Taken {
    value: Node,
    /// The object and the place in it, where the value is all of a field: a target that changes this field changes what is written next.
    from: Option<(usize, Place)>,
}

/// Where a node stands: which item or entry on each level. Paths go by names and values, which may be what is written.
type Place = Vec<usize>;

impl Taken {
    /// Whether it is a field of the object at this place.
    fn is_of(&self, at: usize) -> bool {
        self.from.as_ref().is_some_and(|(from, _)| *from == at)
    }

    /// Reads the field again once the object that it is of was written to.
    fn refresh(&mut self, body: &mut Node) {
        let Some(now) = self.from.as_ref().and_then(|(_, place)| at_place(body, place)) else { return };
        match (&mut self.value.value, &now.value) {
            (Value::Scalar(old, ..), Value::Scalar(text, ..)) => *old = text.clone(),
            (Value::Scalar(..), _) => {}
            (old, now) => *old = now.clone(),
        }
    }

    /// A value that was displaced with what is above it goes on as it was.
    fn displace(&mut self, by: &Place) {
        self.from.take_if(|(_, place)| place.len() > by.len() && place.starts_with(by));
    }
}

fn at_place<'n>(node: &'n mut Node, place: &[usize]) -> Option<&'n mut Node> {
    place.iter().try_fold(node, |node, at| match &mut node.value {
        Value::Scalar(..) => None,
        Value::List(items) => items.get_mut(*at),
        Value::Map(entries) => entries.get_mut(*at).map(|entry| &mut entry.value),
    })
}

/// The places of all nodes that fit, in the order of the body.
fn places(node: &Node, fits: &dyn Fn(&Node) -> bool, place: &mut Place, found: &mut Vec<Place>) {
    if fits(node) {
        found.push(place.clone());
    }
    let below: Box<dyn Iterator<Item = &Node>> = match &node.value {
        Value::Scalar(..) => return,
        Value::List(items) => Box::new(items.iter()),
        Value::Map(entries) => Box::new(entries.iter().map(|entry| &entry.value)),
    };
    for (at, node) in below.enumerate() {
        place.push(at);
        places(node, fits, place, found);
        place.pop();
    }
}

fn source_value(replacement: &Replacement, objects: &Objects) -> Result<Taken, String> {
    match (&replacement.source, &replacement.source_value, &replacement.targets) {
        (None, None, _) | (_, _, None) => Err("a replacement needs a `source` and at least one target".to_owned()),
        (Some(_), Some(_), _) => Err("a replacement has both `source` and `sourceValue`; only one can be given".to_owned()),
        (None, Some(text), _) => Ok(Taken { value: Node::plain(text.as_str()), from: None }),
        (Some(source), None, _) => {
            let (at, object) = only_source(source, objects)?;
            let field = if source.field_path.is_empty() { DEFAULT_PATH } else { &source.field_path };
            let steps = path::split(field);
            let node = path::lookup(object.body(), &steps)?;
            let node = node.filter(|node| !edit::is_empty(node));
            let node = node.ok_or_else(|| format!("{} has no field `{field}`, which a replacement reads", object.id()))?;
            // Marks mean files by numbers that each object has of its own.
            let mut value = part(node, &source.options)?;
            edit::remark(&mut value, &|_| Mark::default());
            let mut place = Vec::new();
            places(object.body(), &|one| std::ptr::eq(one, node), &mut Place::new(), &mut place);
            let place = place.pop().filter(|_| source.options.delimiter.is_empty());
            Ok(Taken { value, from: place.map(|place| (at, place)) })
        }
    }
}

/// The one object that a source names, by what it is or was.
fn only_source<'o>(source: &ReplacementSource, objects: &'o Objects) -> Result<(usize, &'o Object), String> {
    let named = || format!("{} {}", source.kind, source.name).trim().to_owned();
    let mut found = objects.list().iter().enumerate().filter(|(_, object)| is_source(source, object));
    match (found.next(), found.next()) {
        (Some(found), None) => Ok(found),
        (Some((_, one)), Some((_, other))) => {
            Err(format!("the source `{}` of a replacement is both {} and {}", named(), one.id(), other.id()))
        }
        (None, _) => Err(format!("the source `{}` of a replacement is not there", named())),
    }
}

fn is_source(source: &ReplacementSource, object: &Object) -> bool {
    let gvk = Gvk { group: source.group.clone(), version: source.version.clone(), kind: source.kind.clone() };
    let or_default = |namespace: &str| if namespace.is_empty() { DEFAULT_NAMESPACE.to_owned() } else { namespace.to_owned() };
    let fits = |id: &Id<'_>, namespace: &str| {
        (source.name.is_empty() || source.name == id.name)
            && (source.namespace.is_empty() || or_default(&source.namespace) == or_default(namespace))
            && gvk.selects(id)
    };
    fits(&object.now(), object.namespace()) || object.past().any(|id| fits(&id, id.namespace))
}

/// The part of a source that is meant.
fn part(node: &Node, options: &FieldOptions) -> Result<Node, String> {
    if options.delimiter.is_empty() {
        return Ok(node.clone());
    }
    let text = node.text().ok_or("a `delimiter` can only part a single value")?;
    let parts: Vec<&str> = text.split(&options.delimiter).collect();
    let part = usize::try_from(options.index).ok().and_then(|at| parts.get(at));
    let part = part.ok_or_else(|| format!("a replacement wants part {} of a text that has {} parts", options.index, parts.len()))?;
    let mut part_node = node.clone();
    edit::set_text(&mut part_node, part, node.mark);
    Ok(part_node)
}

fn apply_to_target(target: &ReplacementTarget, taken: &mut Taken, objects: &mut Objects) -> Result<(), Error> {
    let wrong = |problem: String| Error::new(Stage::Transform, problem);
    let select = target.select.as_ref().ok_or_else(|| wrong("a target of a replacement has no `select`".to_owned()))?;
    let matcher = select.matcher().map_err(wrong)?;
    let rejected: Vec<_> = target.reject.iter().map(|one| Ok((one, one.matcher()?))).collect::<Result<_, _>>().map_err(wrong)?;
    let is_target = |object: &Object| {
        let is_rejected = rejected.iter().any(|(selector, matcher)| {
            (!selector.names_no_metadata() && matcher.fits_metadata(object))
                || (!selector.names_no_id() && any_id(object, |id, namespace| matcher.fits_id(id, namespace)))
        });
        matcher.fits_metadata(object) && !is_rejected && any_id(object, |id, namespace| matcher.fits_id(id, namespace))
    };
    let fields = if target.field_paths.is_empty() { vec![DEFAULT_PATH.to_owned()] } else { target.field_paths.clone() };
    if fields.iter().any(|field| ["metadata", "kind", "apiVersion"].iter().any(|start| field.starts_with(start))) {
        objects.doubt();
    }
    for (at, object) in objects.list_mut().iter_mut().enumerate().filter(|(_, object)| is_target(object)) {
        for field in &fields {
            if field.starts_with("metadata.annotations") {
                object.ensure_annotations();
            }
            let body = object.body_mut();
            let outcome = if taken.is_of(at) {
                write_live(body, field, taken, &target.options)
            } else {
                write(body, field, &taken.value, &target.options)
            };
            let outcome = outcome.and_then(|()| edit::check_growth(object.body()));
            outcome.map_err(|problem| wrong(format!("{}: {problem}", object.id())))?;
        }
    }
    Ok(())
}

fn any_id(object: &Object, fits: impl Fn(&Id<'_>, &str) -> bool) -> bool {
    fits(&object.now(), object.namespace()) || object.past().any(|id| fits(&id, id.namespace))
}

/// Writes into the object that the value is of: what is made or written changes the value for the fields that follow.
fn write_live(body: &mut Node, field: &str, taken: &mut Taken, options: &FieldOptions) -> Result<(), String> {
    let steps = path::split(field);
    if structured::write(body, &steps, options.create.then_some(&taken.value), &mut |node| set_field(node, &taken.value, options))? {
        taken.refresh(body);
        return Ok(());
    }
    // What is missing is made first, for whatever grows may move.
    is_found(path::for_each(body, &steps, options.create.then_some(&taken.value), &mut |_| Ok(())), field, options)?;
    let mut found: HashSet<*const Node> = HashSet::new();
    let mut note = |node: &mut Node| {
        found.insert(std::ptr::from_ref(node));
        Ok(())
    };
    path::for_each(body, &steps, None, &mut note)?;
    let mut targets = Vec::new();
    places(body, &|node| found.contains(&std::ptr::from_ref(node)), &mut Place::new(), &mut targets);
    for place in targets {
        taken.refresh(body);
        let Some(node) = at_place(body, &place) else { continue };
        let is_displacing = !matches!(node.value, Value::Scalar(..));
        set_field(node, &taken.value, options)?;
        if is_displacing {
            edit::check_growth(body)?;
            taken.displace(&place);
        }
    }
    taken.refresh(body);
    Ok(())
}

fn write(body: &mut Node, field: &str, value: &Node, options: &FieldOptions) -> Result<(), String> {
    let steps = path::split(field);
    let create = options.create.then_some(value);
    // Inside of a text a word that takes the place of a number gets the tag of that.
    if structured::write(body, &steps, create, &mut |node| set_field(node, value, options))? {
        return Ok(());
    }
    is_found(path::for_each(body, &steps, create, &mut |node| set_field(node, value, options)), field, options)
}

fn is_found(count: Result<usize, String>, field: &str, options: &FieldOptions) -> Result<(), String> {
    match count.map_err(|problem| format!("field `{field}`: {problem}"))? {
        0 => Err(format!("there is no field `{field}` to replace{}", if options.create { ", and it can't be made" } else { "" })),
        _ => Ok(()),
    }
}

fn set_field(node: &mut Node, value: &Node, options: &FieldOptions) -> Result<(), String> {
    let mut value = value.clone();
    if !options.delimiter.is_empty() {
        let old = node.text().ok_or("a `delimiter` can only part a single value")?;
        let new = value.text().map_or("", |text| &**text).to_owned();
        let joined = with_part(old, &new, options);
        let mark = value.mark;
        edit::set_text(&mut value, &joined, mark);
    }
    let Value::Scalar(..) = node.value else {
        *node = value;
        return Ok(());
    };
    // Only the text goes over: a number stays a number, a string a string.
    let text = value.text().map_or("", |text| &**text).to_owned();
    let mark = if value.mark.line > 0 { value.mark } else { node.mark };
    *node = retyped(node, &text).unwrap_or_else(|| tagged(node, &text));
    node.mark = mark;
    Ok(())
}

/// A scalar with another text and the tag of its old one, which is told where it is printed: until then a step may put it right.
fn tagged(node: &Node, text: &str) -> Node {
    let tag = match node.resolve(Dialect::Resource) {
        Ok(Scalar::Int(_)) => "!!int",
        Ok(Scalar::Float(_)) => "!!float",
        Ok(Scalar::Bool(_)) => "!!bool",
        _ => "!!null",
    };
    Node { value: Value::Scalar(text.into(), Style::Plain, Some(tag.into())), mark: node.mark }
}

fn with_part(old: &str, new: &str, options: &FieldOptions) -> String {
    let mut parts: Vec<&str> = old.split(&options.delimiter).collect();
    match usize::try_from(options.index) {
        Err(_) => parts.insert(0, new),
        Ok(at) => match parts.get_mut(at) {
            Some(part) => *part = new,
            None => parts.push(new),
        },
    }
    parts.join(&options.delimiter)
}

/// A scalar of the same type with another text, if it can be one. A scalar without any text was just made and takes the type of its new text.
fn retyped(node: &Node, text: &str) -> Option<Node> {
    let plain = Node::plain(text);
    if edit::is_untagged(node) {
        let mut node = node.clone();
        edit::set_text(&mut node, text, Mark::default());
        return Some(node);
    }
    if matches!(&node.value, Value::Scalar(_, Style::Plain, Some(tag)) if **tag == *FLOW_NULL) {
        let (style, tag) = if text.is_empty() { (Style::Quoted, Some(FLOW_NULL.into())) } else { (Style::Plain, None) };
        return Some(Node { value: Value::Scalar(text.into(), style, tag), mark: node.mark });
    }
    if let Value::Scalar(_, style, tag) = &node.value
        && (tag.is_some() || *style == Style::Folded)
    {
        return Some(Node { value: Value::Scalar(text.into(), *style, tag.clone()), mark: node.mark });
    }
    let Value::Scalar(old, Style::Plain, None) = &node.value else { return Some(Node::string(text)) };
    if old.is_empty() {
        return Some(plain);
    }
    let new = plain.resolve(Dialect::Resource).ok()?;
    match node.resolve(Dialect::Resource) {
        // Still a string, though without quotes.
        Ok(Scalar::Str(_) | Scalar::Timestamp(_)) | Err(_) => {
            Some(Node { value: Value::Scalar(text.into(), Style::Plain, Some("!!str".into())), mark: node.mark })
        }
        Ok(Scalar::Null) => Some(plain.clone()),
        Ok(Scalar::Float(_)) if matches!(new, Scalar::Int(_)) => Some(plain.clone()),
        Ok(scalar) if scalar.type_name() == new.type_name() && !matches!((&scalar, &new), (Scalar::Int(_), Scalar::Float(_))) => {
            Some(plain.clone())
        }
        Ok(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_replaced_put_before_or_put_behind() {
        let options = |index| FieldOptions { delimiter: "-".into(), index, ..FieldOptions::default() };
        assert_eq!(with_part("a-b-c", "x", &options(1)), "a-x-c");
        assert_eq!(with_part("a-b-c", "x", &options(-1)), "x-a-b-c");
        assert_eq!(with_part("a-b-c", "x", &options(7)), "a-b-c-x");
    }

    #[test]
    fn a_replaced_scalar_keeps_its_type() {
        let check = |old: &Node, text: &str| retyped(old, text).map(|node| matches!(node.value, Value::Scalar(_, Style::Plain, _)));
        assert_eq!(check(&Node::plain("80"), "81"), Some(true));
        assert!(retyped(&Node::plain("web"), "81").is_some_and(|node| node.resolve(Dialect::Resource) == Ok(Scalar::Str("81".into()))));
        assert_eq!(check(&Node::string("80"), "81"), Some(false));
        assert_eq!(check(&Node::plain("80"), "web"), None);
    }
}
