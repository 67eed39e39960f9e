//! Name references. The corpus does not hold what the names may mean; it follows from what comes of them.

use std::sync::Arc;

use super::filters::Case;
use super::{bodies, configured, objects};
use crate::fields::config::NameReference;
use crate::fields::{Config, FieldSpec, Gvk};
use crate::layer::Field;
use crate::object::{Object, Past};
use crate::references;
use crate::yaml::{Node, Text};

#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct Settings {
    namefieldtoupdate: Field,
    referraltarget: Field,
}

/// An object that was renamed, by layers that gave it a prefix and a suffix.
fn candidate(kind: &str, name: &str, namespace: &str, was: &str, [prefix, suffix]: [&str; 2]) -> Object {
    let text = format!("apiVersion: apps/v1\nkind: {kind}\nmetadata: {{name: {name}, namespace: \"{namespace}\"}}\n");
    let mut object = objects(&text).into_list().remove(0);
    let namespace = if namespace.is_empty() { "default" } else { namespace };
    object.history.past = vec![Past { kind: kind.into(), namespace: namespace.into(), name: was.into() }];
    affix(&mut object, [prefix, suffix]);
    object
}

fn affix(object: &mut Object, [prefix, suffix]: [&str; 2]) {
    let some = |text: &str| if text.is_empty() { Vec::new() } else { vec![Text::from(text)] };
    (object.history.prefixes, object.history.suffixes) = (some(prefix), some(suffix));
}

/// What was called otherwise once, and what the referrer itself was given.
fn candidates(case: &Case) -> (Vec<Object>, [&'static str; 2]) {
    let was = if case.input.contains("oldName1") { "oldName1" } else { "oldName" };
    let none = [""; 2];
    let secrets = |first, second| vec![candidate("Secret", "newName", "", was, first), candidate("Secret", "newName2", "", was, second)];
    let said = |sign: &str, then| if case.error.as_ref().is_some_and(|error| error.contains(sign)) { then } else { "" };
    match (case.test.as_str(), &case.error) {
        ("TestCandidatesWithDifferentPrefixSuffix", Some(_)) => {
            let affixes = [said("prefixes: prefix", "prefix"), said("suffixes: suffix", "suffix")];
            (secrets(affixes, affixes), affixes)
        }
        ("TestCandidatesWithDifferentPrefixSuffix", None) if case.output.contains("newName") => {
            (secrets(["prefix1", "suffix1"], ["prefix2", "suffix2"]), ["prefix1", "suffix1"])
        }
        ("TestCandidatesWithDifferentPrefixSuffix", None) => {
            (secrets(["prefix1", "suffix1"], ["prefix2", "suffix2"]), ["prefix", "suffix"])
        }
        (_, Some(_)) => (secrets(none, none), none),
        (_, None) if case.input.contains("someNs") => {
            let secret = |name, namespace| candidate("Secret", name, namespace, was, none);
            (vec![secret("newName", "someNs"), secret("thirdName", "")], none)
        }
        (_, None) => (vec![candidate("Secret", "newName", "", was, none), candidate("NotSecret", "newName2", "", "newName2", none)], none),
    }
}

pub(super) fn fixed(case: &Case) -> Result<Vec<Node>, String> {
    let settings: Settings = configured(&case.config);
    let (mut all, affixes) = candidates(case);
    let mut referrer = objects(&case.input).into_list().remove(0);
    affix(&mut referrer, affixes);
    all.insert(0, referrer);
    let Field { group, version, kind, .. } = settings.referraltarget;
    let referrers = vec![FieldSpec::from(&settings.namefieldtoupdate)];
    let name_references = vec![NameReference { target: Gvk { group, version, kind }, referrers }];
    references::fix(&mut all, &Arc::new(Config { name_references, ..Config::default() })).map_err(|error| error.to_string())?;
    Ok(bodies(&all[..1]))
}
