//! Filters: a configuration, objects, and what comes of them, or that it is an error.

use serde::Deserialize;

use super::{bodies, cases, configured, failures, merges, named, nodes, objects, references, run, same, specs};
use crate::layer::{self, Field, Image, Replacement, Replica, Texts as Pairs};
use crate::patch::shape::Schemas;
use crate::patch::{json6902, strategic};
use crate::replacements::Replacements;
use crate::transform::{Affix, Images, Namespace, Replicas, Step, Subjects, Texts};
use crate::tree::Fixture;
use crate::values::AddValue;
use crate::vars::Vars;
use crate::yaml::{self, Mark, Node};
use crate::{Cache, Options, RepoPath, render};

#[derive(Deserialize)]
pub(super) struct Case {
    pub(super) test: String,
    pub(super) filter: String,
    pub(super) config: String,
    pub(super) input: String,
    pub(super) output: String,
    pub(super) error: Option<String>,
}

/// Cases, by the line on which they stand, that ask for what no kustomization can ask for.
const EXCEPTED: [(&str, &str); 2] = [
    ("20 TestImageTagUpdater_Filter", "a kustomization always runs two filters over the images, so that the suffix is there twice"),
    ("99 TestFilterUnhappy", "a list for vars that holds other things than strings is left as it is, see the differential test"),
];

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Config {
    labels: Pairs,
    annotations: Pairs,
    fsslice: Vec<Field>,
    image_tag: Image,
    field_specs: Vec<Field>,
    field_spec: Field,
    namespace: String,
    unset_only: bool,
    set_role_binding_subjects: String,
    prefix: String,
    suffix: String,
    replica: Replica,
    replacements: Vec<Replacement>,
}

impl Config {
    fn step(self, filter: &str) -> Step {
        let mark = Mark::default();
        let texts = |texts| Texts { texts, fields: specs(&self.fsslice), mark };
        let affix = |text| Affix { text, fields: specs(std::slice::from_ref(&self.field_spec)), mark };
        match filter {
            "annotations.Filter" => Step::Annotations(texts(self.annotations)),
            "labels.Filter" => Step::Labels(texts(self.labels)),
            "imagetag.Filter" | "imagetag.LegacyFilter" => Step::Images(Images::new(self.image_tag, specs(&self.field_specs), mark)),
            "prefix.Filter" => Step::Prefix(affix(self.prefix)),
            "suffix.Filter" => Step::Suffix(affix(self.suffix)),
            "replicacount.Filter" => Step::Replicas(Replicas { replica: self.replica, fields: specs(&[self.field_spec]), mark }),
            "replacement.Filter" => {
                Step::Replacements(Replacements { list: self.replacements.into_iter().map(|one| (one, mark)).collect() })
            }
            other => panic!("the filter {other} is new"),
        }
    }
}

fn outcome(case: &Case) -> Result<Vec<Node>, String> {
    match case.filter.as_str() {
        "nameref.Filter" => references::fixed(case),
        "refvar.Filter" => with_vars(case),
        "valueadd.Filter" => with_value(case),
        "iampolicygenerator.Filter" => generated(case),
        "patchjson6902.Filter" => patched(case),
        "patchstrategicmerge.Filter" => merged(case),
        "namespace.Filter" => in_namespace(case),
        filter => run(&configured::<Config>(&case.config).step(filter), &case.input),
    }
}

/// Each object by itself, for the objects of these cases have no names.
fn in_namespace(case: &Case) -> Result<Vec<Node>, String> {
    let Config { namespace: name, field_specs, unset_only, set_role_binding_subjects, .. } = configured(&case.config);
    let subjects = match set_role_binding_subjects.as_str() {
        "allServiceAccounts" => Subjects::ServiceAccounts,
        "none" => Subjects::None,
        _ => Subjects::NamedDefault,
    };
    let step = Namespace { name, fields: specs(&field_specs), unset_only, subjects, mark: Mark::default() };
    let mut objects = objects(&case.input).into_list();
    objects.iter_mut().try_for_each(|object| step.set(object))?;
    Ok(bodies(&objects))
}

fn patched(case: &Case) -> Result<Vec<Node>, String> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Config {
        patch: String,
    }
    let patch = configured::<Config>(&case.config).patch;
    let operations = yaml::parse_config(patch.as_bytes(), &yaml::Limits::default()).unwrap().unwrap_or_else(Node::list);
    let operations = json6902::operations(&operations)?;
    let mut bodies = bodies(objects(&case.input).list());
    bodies.iter_mut().try_for_each(|body| json6902::apply(body, &operations))?;
    Ok(bodies)
}

fn merged(case: &Case) -> Result<Vec<Node>, String> {
    let patch = merges::patch_between(&case.input, &case.output).ok_or("there is no such patch among the merges")?;
    let merge = |node| strategic::merge(&Schemas::default(), node, patch.clone());
    nodes(&case.input).into_iter().filter_map(|node| merge(node).transpose()).collect()
}

fn with_value(case: &Case) -> Result<Vec<Node>, String> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Config {
        value: String,
        fieldpath: String,
        #[serde(rename = "filePathPosition")]
        position: i64,
    }
    let Config { value, fieldpath, position } = configured(&case.config);
    let target = configured(&format!("fieldPath: {fieldpath}\nfilePathPosition: {position}\n"));
    run(&Step::AddValue(AddValue::new(value, vec![target], Mark::default())?), &case.input)
}

fn generated(case: &Case) -> Result<Vec<Node>, String> {
    let head = "apiVersion: builtin\nkind: IAMPolicyGenerator\nmetadata: {name: account}\n";
    let tree = Fixture::new(&format!("//- kustomization.yaml\ngenerators: [account.yaml]\n//- account.yaml\n{head}{}", case.config));
    let rendered = render(&tree, &RepoPath::root(), &Options::default(), &mut Cache::default()).map_err(|errors| errors.to_string())?;
    Ok(bodies(rendered.manifest.objects()))
}

/// The vars that the cases know, which the corpus does not hold, and the fields in which they stand.
const VARS: &str = "apiVersion: v1\nkind: Vars\nmetadata: {name: vars}\ndata: {VAR: 5, FOO: foo, BAR: bar, BOOL: false, FLOAT: 1.23}\n";
const FIELDS: [(&str, &str); 7] = [
    ("replicas:", "spec/replicas"),
    ("slice1:", "data/slice2"),
    ("slice:", "data/slice"),
    ("FOO: null", "data/FOO"),
    ("a:\n  b:", "a/b/c"),
    ("data:", "data"),
    ("", "a/b/c"),
];

fn with_vars(case: &Case) -> Result<Vec<Node>, String> {
    let mut objects = objects(&format!("{VARS}---\n{}", case.input));
    let var = |name: &str| -> layer::Var {
        configured(&format!("name: {name}\nobjref: {{apiVersion: v1, kind: Vars, name: vars}}\nfieldref: {{fieldPath: data.{name}}}\n"))
    };
    let mut vars = Vars::default();
    vars.add(["VAR", "FOO", "BAR", "BOOL", "FLOAT"].into_iter().map(var), &mut objects)?;
    let (_, path) = FIELDS.iter().find(|(sign, _)| case.input.contains(sign)).unwrap();
    let spec = crate::fields::FieldSpec::of_all(path, false);
    vars.resolve(objects.list_mut(), &[spec]).map_err(|error| error.to_string())?;
    let changed = &objects.list()[1..];
    // A key that is no string is told when the object is printed.
    changed.iter().try_for_each(|object| object.to_json().map(drop).map_err(|error| error.to_string()))?;
    Ok(bodies(changed))
}

fn check(case: &Case) -> Result<(), String> {
    match (outcome(case), &case.error) {
        (Ok(found), None) => same(&found, &nodes(&case.output)),
        (Err(_), Some(_)) => Ok(()),
        (Ok(found), Some(error)) => Err(format!("kustomize says `{error}`, and here it is\n{}", super::meaning(&found))),
        (Err(problem), None) => Err(format!("fails: {problem}\nexpected:\n{}", case.output)),
    }
}

#[test]
fn filters_do_what_those_of_kustomize_do() {
    let cases: Vec<Case> = cases("filters.jsonl");
    let failures = failures(&cases, |case, line| named(line, &case.test), check, &EXCEPTED);
    assert!(failures.is_empty(), "{} of {} fail:\n{}", failures.len(), cases.len(), failures.join("\n"));
}
