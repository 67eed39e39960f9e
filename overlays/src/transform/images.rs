//! Names, tags and digests of container images.
//!
//! It must not know which kinds have containers: any list named `containers` or `initContainers` is looked at, and the given fields.

use regex::Regex;

use super::about;
use crate::error::Error;
use crate::fields::{self, Create, FieldSpec, edit};
use crate::layer::Image;
use crate::object::Object;
use crate::objects::Objects;
use crate::yaml::{Mark, Node, Value};

/// Changes the images of one name.
#[derive(Debug)]
pub(crate) struct Images {
    image: Image,
    fields: Vec<FieldSpec>,
    mark: Mark,
    /// `None` for a name that is no regular expression, which then matches nothing, as in kustomize.
    pattern: Option<Regex>,
}

impl Images {
    pub(crate) fn new(image: Image, fields: Vec<FieldSpec>, mark: Mark) -> Self {
        // The name is not escaped: to kustomize it is a part of a regular expression.
        let tag = r"(:[a-zA-Z0-9_.{}-]*)?(@[a-zA-Z0-9]+([.+_-][a-zA-Z0-9]+)*:[a-zA-Z0-9_.{}-]*)?";
        let pattern = Regex::new(&format!("^{}{tag}$", image.name)).ok();
        Self { image, fields, mark, pattern }
    }

    pub(super) fn apply(&self, objects: &mut Objects) -> Result<(), Error> {
        for object in objects.list_mut().iter_mut().filter(|object| object.kind() != "CustomResourceDefinition") {
            self.set(object).map_err(|problem| about(object, &problem))?;
        }
        Ok(())
    }

    fn set(&self, object: &mut Object) -> Result<(), String> {
        // Most objects have no such image, and stay shared with the cache.
        if self.is_below(object.body()) {
            self.set_below(object.body_mut())?;
        }
        for spec in &self.fields {
            fields::for_each(object, spec, Create::Never, &mut |node| self.set_image(node))?;
        }
        Ok(())
    }

    fn matches(&self, node: &Node) -> bool {
        self.pattern.as_ref().zip(node.text()).is_some_and(|(pattern, text)| pattern.is_match(text))
    }

    fn is_below(&self, node: &Node) -> bool {
        match &node.value {
            Value::Scalar(..) => false,
            Value::List(items) => items.iter().any(|item| self.is_below(item)),
            Value::Map(entries) => entries.iter().any(|entry| {
                let in_list = || entry.value.items().iter().any(|item| item.get("image").is_some_and(|image| self.matches(image)));
                (holds_containers(&entry.key) && in_list()) || self.is_below(&entry.value)
            }),
        }
    }

    fn set_below(&self, node: &mut Node) -> Result<(), String> {
        match &mut node.value {
            Value::Scalar(..) => Ok(()),
            Value::List(items) => items.iter_mut().try_for_each(|item| self.set_below(item)),
            Value::Map(entries) => entries.iter_mut().try_for_each(|entry| {
                self.set_below(&mut entry.value)?;
                match &mut entry.value.value {
                    Value::List(items) if holds_containers(&entry.key) => {
                        items.iter_mut().filter_map(|item| item.get_mut("image")).try_for_each(|image| self.set_image(image))
                    }
                    _ => Ok(()),
                }
            }),
        }
    }

    fn set_image(&self, node: &mut Node) -> Result<(), String> {
        let text = node.text().ok_or("an image was expected, and a list or a map was found")?;
        if self.matches(node) {
            let image = changed(text, &self.image);
            edit::set_text(node, &image, self.mark);
        }
        Ok(())
    }
}

fn holds_containers(key: &Node) -> bool {
    key.text().is_some_and(|text| matches!(&**text, "containers" | "initContainers"))
}

/// An image reference with another name, tag or digest. A new tag drops the digest that was there, and the other way round.
fn changed(text: &str, image: &Image) -> String {
    let (name, tag, digest) = split(text);
    let name = if image.new_name.is_empty() { name } else { &image.new_name };
    let (tag, digest) = match (image.new_tag.as_str(), image.digest.as_str(), image.tag_suffix.as_str()) {
        ("", "", "") => (tag.to_owned(), digest),
        ("", "", suffix) => (format!("{tag}{suffix}"), ""),
        (new_tag, new_digest, _) => (new_tag.to_owned(), new_digest),
    };
    let tag = if tag.is_empty() { tag } else { format!(":{tag}") };
    let at = if digest.is_empty() { "" } else { "@" };
    format!("{name}{tag}{at}{digest}")
}

/// The name, tag and digest of `[[host[:port]/]path/]name[:tag][@digest]`.
fn split(text: &str) -> (&str, &str, &str) {
    let (rest, digest) = text.split_once('@').unwrap_or((text, ""));
    // A colon before the first slash is that of a port.
    let path_at = text.find('/').filter(|at| *at > 0).unwrap_or(0);
    match rest.get(path_at..).and_then(|path| path.find(':')) {
        Some(colon) => (&rest[..path_at + colon], &rest[path_at + colon + 1..], digest),
        None => (rest, "", digest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_reference_has_a_name_a_tag_and_a_digest() {
        assert_eq!(split("nginx"), ("nginx", "", ""));
        assert_eq!(split("localhost:5000/a/nginx:1.2"), ("localhost:5000/a/nginx", "1.2", ""));
        assert_eq!(split("nginx@sha256:abc"), ("nginx", "", "sha256:abc"));
        assert_eq!(split("r.io/nginx:1@sha256:abc"), ("r.io/nginx", "1", "sha256:abc"));
    }

    #[test]
    fn a_new_tag_drops_the_digest() {
        let image = |new_name: &str, new_tag: &str, digest: &str, tag_suffix: &str| Image {
            name: String::new(),
            new_name: new_name.into(),
            new_tag: new_tag.into(),
            digest: digest.into(),
            tag_suffix: tag_suffix.into(),
        };
        assert_eq!(changed("a:1@sha256:x", &image("", "2", "", "")), "a:2");
        assert_eq!(changed("a:1", &image("b", "", "sha256:y", "")), "b@sha256:y");
        assert_eq!(changed("a:1@sha256:x", &image("", "2", "sha256:y", "")), "a:2@sha256:y");
        assert_eq!(changed("a:1@sha256:x", &image("", "", "", "-fips")), "a:1-fips");
        assert_eq!(changed("a:1@sha256:x", &image("b", "", "", "")), "b:1@sha256:x");
    }
}
