//! What `crds:` adds to the configuration: fields of custom resources that hold names, labels or annotations.
//!
//! It must not know CustomResourceDefinitions: the files are OpenAPI definitions with extensions that kustomize reads.

use serde_json::{Map, Value};

use crate::fields::config::{NameReference, merge_specs};
use crate::fields::{Config, FieldSpec, Gvk};

/// How deep definitions may refer to each other.
const MAX_DEPTH: usize = 50;

/// The fields that definitions describe.
pub(super) fn config(definitions: &Value) -> Result<Config, String> {
    let mut config = Config::default();
    let Some(definitions) = definitions.as_object() else { return Ok(config) };
    for (name, definition) in definitions {
        let Some(properties) = properties(definition) else { continue };
        if ["kind", "apiVersion", "metadata"].iter().all(|field| properties.contains_key(*field)) {
            let kind = name.rsplit('.').next().unwrap_or(name).to_owned();
            let mut walk = Walk { definitions, gvk: Gvk { kind, ..Gvk::default() }, config: &mut config };
            walk.definition(properties, &mut Vec::new())?;
        }
    }
    Ok(config)
}

fn properties(definition: &Value) -> Option<&Map<String, Value>> {
    definition.get("Schema").or_else(|| definition.get("schema"))?.get("properties")?.as_object()
}

struct Walk<'a> {
    definitions: &'a Map<String, Value>,
    gvk: Gvk,
    config: &'a mut Config,
}

impl Walk<'_> {
    fn definition(&mut self, properties: &Map<String, Value>, path: &mut Vec<String>) -> Result<(), String> {
        if path.len() > MAX_DEPTH {
            return Err(format!("definitions refer to each other more than {MAX_DEPTH} deep"));
        }
        for (name, property) in properties {
            path.push(name.clone());
            self.property(property, path)?;
            path.pop();
        }
        Ok(())
    }

    fn property(&mut self, property: &Value, path: &mut Vec<String>) -> Result<(), String> {
        let text = |key: &str| property.get(key).and_then(Value::as_str);
        let spec = |path: &[String]| FieldSpec { gvk: self.gvk.clone(), path: path.join("/"), create: false };
        let field = spec(path);
        if text("x-kubernetes-annotation").is_some() {
            merge_specs(&mut self.config.common_annotations, std::slice::from_ref(&field))?;
        }
        if text("x-kubernetes-label-selector").is_some() {
            merge_specs(&mut self.config.common_labels, std::slice::from_ref(&field))?;
        }
        if text("x-kubernetes-identity").is_some() {
            merge_specs(&mut self.config.name_prefix, std::slice::from_ref(&field))?;
        }
        if let (Some(version), Some(kind)) = (text("x-kubernetes-object-ref-api-version"), text("x-kubernetes-object-ref-kind")) {
            let key = text("x-kubernetes-object-ref-name-key").unwrap_or("name");
            let path = format!("{}/{key}", field.path);
            let target = Gvk { version: version.to_owned(), kind: kind.to_owned(), ..Gvk::default() };
            self.config.merge_reference(&NameReference { target, referrers: vec![FieldSpec { path, ..field }] })?;
        }
        match text("$ref").and_then(|name| self.definitions.get(name)).and_then(properties) {
            Some(below) => self.definition(below, path),
            None => Ok(()),
        }
    }
}
