//! Where this project does not do what kustomize does, each kind with its reason. A difference of any other kind fails the test.
//! It must not know how trees are made.

use serde_yaml::Value;

use super::compare::documents;
use super::kustomize::Outcome;
use super::layers::Tree;

/// A kind of difference that is meant.
pub(crate) struct Listed {
    /// Why kustomize is not followed.
    pub(crate) reason: &'static str,
    sign: Sign,
}

/// How a difference of the kind is known.
enum Sign {
    /// Only kustomize refuses, and what it says in the end has all these words, in this order.
    Refused(&'static [&'static str]),
    /// As [`Sign::Refused`], and the tree has all the words that come first.
    RefusedOf(&'static [&'static str], &'static [&'static str]),
    /// Only this project refuses, with such words, and the tree has all the others.
    Told(&'static [&'static str], &'static str),
    /// kustomize prints what it keeps among annotations while it builds.
    Leaks,
    /// The tree has a merge key with a tag before it, and all that differs are keys of this name.
    TaggedMerge,
    /// Only kustomize refuses, for it sees a change between two texts that it then prints, and they are the same.
    NoChange,
    /// All that differs are values of which this holds, kustomize's first; and the tree has all these words.
    Values(&'static [&'static str], fn(&Value, &Value) -> bool),
}

const fn refused(words: &'static [&'static str], reason: &'static str) -> Listed {
    Listed { reason, sign: Sign::Refused(words) }
}

const fn refused_of(of: &'static [&'static str], words: &'static [&'static str], reason: &'static str) -> Listed {
    Listed { reason, sign: Sign::RefusedOf(of, words) }
}

/// All of them. What kustomize refuses is in trees that nobody can have in use.
const LISTED: [Listed; 49] = [
    refused(&["yaml: cannot decode !!", "` as a !!null"], "a null that a replacement fills has kept its type there, and cannot be printed"),
    refused_of(
        &["eplacement"],
        &["yaml: cannot decode !!str `", "` as a !!timestamp"],
        "a date that a replacement replaces has kept its type there; here it is text",
    ),
    refused_of(
        &["eplacement"],
        &["yaml: cannot decode !!str `", "` as a !!"],
        "a word that a replacement put where a number was is no number; here it is told when it is printed, if at all",
    ),
    refused(
        &["updating name reference in '", "considering field '", "path config error; no 'name' field in node"],
        "a field where a name may stand holds something else there; here it is no reference",
    ),
    refused(
        &["updating name reference in '", "considering field '", "expected sequence or mapping node"],
        "a path to names leads through a single value; here there is no reference",
    ),
    refused(
        &["updating name reference in '", "considering field '", "node is expected to be either a string or a slice of string or a map"],
        "a field where a name may stand holds a number; here it is no reference",
    ),
    refused(
        &["considering field '", "wrong node kind: expected ScalarNode but got MappingNode"],
        "a prefix or image is to go into a map; here a map is left as it is",
    ),
    refused(&["invalid value type expect a string"], "a list for vars holds other things than strings; here these are left as they are"),
    refused(&["cannot be mapped to a field in the set of known resources"], "a patch deleted what kustomize keeps among the annotations"),
    refused(
        &["unable to parse SM or JSON patch from [patch: \"["],
        "a patch that begins with a bracket must be JSON there; here it may be YAML as well",
    ),
    refused(
        &["considering field 'metadata/annotations'", "wrong node kind: expected MappingNode but got ScalarNode"],
        "a patch makes a scalar of the annotations; here they are left out",
    ),
    refused(&["^wrong node kind: expected MappingNode but got ScalarNode"], "the same, of an object that has been renamed"),
    refused(&["loading CRDs [", "invalid control character in URL"], "a reference to a definition is no URL there; here it leads nowhere"),
    refused(&["panic: "], "a crash says nothing of what is right"),
    refused(
        &["json: unsupported type: map[interface {}]"],
        "a key of a map is no text there (a number that a generator was given, a word with a tag), and cannot be printed",
    ),
    refused(
        &["setting namespace on (cluster)role binding subjects: ", "expected SequenceNode but got"],
        "the subjects of a binding are no list; here they have no namespace to set",
    ),
    refused(
        &["setting namespace on (cluster)role binding subjects: ", "expected MappingNode but got"],
        "the subjects of a binding are no maps; here they have no namespace to set",
    ),
    refused(&["Invalid Input: namespace is blank for resource"], "the namespace of a subject is no text; here it is left as it is"),
    Listed {
        reason: "what follows the end of a document (`...`) is not read here; kustomize reads its first words, and drops them if they are YAML",
        sign: Sign::RefusedOf(&["\n..."], &["MalformedYAMLError: yaml: line ", "mapping values are not allowed in this context"]),
    },
    Listed {
        reason: "a word in brackets ends in a question mark",
        sign: Sign::RefusedOf(&["? "], &["MalformedYAMLError: yaml: line ", "did not find expected ',' or"]),
    },
    Listed { reason: "a comment behind a dash has become part of the text below it", sign: Sign::Values(&[" #"], has_a_comment_in_it) },
    Listed {
        reason: "what follows a document that ended by itself is dropped there unread",
        sign: Sign::Told(&[], "did not find expected <document start>"),
    },
    Listed { reason: "the same, in a patch", sign: Sign::RefusedOf(&["\n..."], &["unable to parse SM or JSON patch from [path: "]) },
    refused(
        &["error converting YAML to JSON: yaml: unmarshal errors:", "already set in map"],
        "a configuration has a key twice; here the last counts, as in a kustomization",
    ),
    Listed {
        reason: "a key of a patch is a map, and is dropped there, with what stands beside it",
        sign: Sign::Told(&[], "a key is a list or a map"),
    },
    refused(
        &["^map[string]interface {}{", ": yaml: invalid map key: "],
        "kustomize moved a comment to where a key becomes a list when it is read again",
    ),
    refused(&["^wrong node kind: expected MappingNode but got SequenceNode"], "a list stands where a container must; here it has no image"),
    Listed {
        reason: "an object that is for kustomize only, and so is never printed, has a key twice",
        sign: Sign::Told(&["local-config"], "mapping key"),
    },
    Listed {
        reason: "the same, of an object that a patch deletes, which is never printed either",
        sign: Sign::Told(&["$patch", "delete"], "mapping key"),
    },
    Listed {
        reason: "a directive that there is not stands in an item that is new, and is printed there",
        sign: Sign::Told(&["$patch"], "it can be merge, replace or delete"),
    },
    Listed {
        reason: "a var puts a name that a replacement made a number of: as text there, as a number here",
        sign: Sign::Values(&["eplacement", "objref"], is_number_as_text),
    },
    Listed { reason: "a merge key with a tag loses what it brings there; here it is a key as any other", sign: Sign::TaggedMerge },
    Listed {
        reason: "a line separator (U+2028) in a folded block is a line end of another kind when it is read again",
        sign: Sign::Values(&[">", "\u{2028}"], is_same_but_for_line_ends),
    },
    Listed {
        reason: "a key has a tag that it does not fit, which kustomize sees in some fields only",
        sign: Sign::Told(&["!!"], "is wanted here, by its tag"),
    },
    Listed { reason: "a tag has brackets in it", sign: Sign::Told(&["!"], "ing a tag") },
    Listed {
        reason: "labels were put into annotations that are null, and then a patch makes a scalar of them",
        sign: Sign::Told(&["metadata/annotations", "annotations: null"], "has another type of value here than the object"),
    },
    Listed {
        reason: "a replacement writes a word where a number was; kustomize tells it only if the field is still there in the end",
        sign: Sign::Told(&["eplacement"], "can't replace a"),
    },
    refused_of(
        &["\u{feff}"],
        &["MalformedYAMLError: yaml: line "],
        "a byte order mark that comes to stand first in what go-yaml has read ahead loses the first letters of the lines after it",
    ),
    refused(&["invalid base64 data"], "a replacement put a text into a binary value; here it is text"),
    refused(&["is missing for replacement source"], "a null that another replacement filled is still taken for missing there"),
    refused(&["number of previous names"], "a replacement copied half of what kustomize keeps among the annotations"),
    refused(
        &["^map[string]interface {}{", ": yaml: line ", ": could not find expected ':'"],
        "kustomize moved a comment to where it cannot read it again",
    ),
    refused(&["^yaml: line ", ": could not find expected ':'"], "the same, in the object that a JSON patch is for"),
    Listed {
        reason: "a replacement puts a map where the name stands; here an object without a name is an error",
        sign: Sign::Told(&["eplacement"], "took the name or kind of the object"),
    },
    Listed { reason: "a replacement copies what kustomize keeps among the annotations, and it is printed", sign: Sign::Leaks },
    Listed { reason: "a validator that changed nothing is said to have changed something", sign: Sign::NoChange },
    Listed {
        reason: "a value that takes the place of a list or map in a YAML text has other quotes; the text means the same",
        sign: Sign::Values(&["eplacement"], is_same_text),
    },
    Listed {
        reason: "the hash of what is neither ConfigMap nor Secret is one of how Go keeps it, lines and columns too",
        sign: Sign::Values(&["allowKindChange"], is_other_hash),
    },
    Listed {
        reason: "a field that a replacement made in braces gets no value, which is null here and an empty text there",
        sign: Sign::Values(&["eplacement", "[{"], |theirs, ours| theirs.as_str() == Some("") && ours.is_null()),
    },
];

/// The kind of a difference, if it is listed.
pub(crate) fn listed(tree: &Tree, theirs: &Outcome, ours: &Outcome) -> Option<&'static Listed> {
    let says = |words: &[&str]| words.iter().all(|word| tree.files.values().any(|content| content.contains(word)));
    LISTED.iter().find(|listed| match (&listed.sign, theirs, ours) {
        (Sign::Refused(words), Err(error), Ok(_)) => has_in_order(&innermost(error), words),
        (Sign::RefusedOf(of, words), Err(error), Ok(_)) => says(of) && has_in_order(&innermost(error), words),
        (Sign::Told(words, told), Ok(_), Err(error)) => says(words) && error.contains(told),
        (Sign::Leaks, Ok(theirs), Ok(ours)) => theirs.contains("internal.config.kubernetes.io/") && !ours.contains("internal.config"),
        (Sign::TaggedMerge, Ok(theirs), Ok(ours)) => {
            tree.files.values().any(|content| has_tagged_merge(content)) && without_merges(theirs) == without_merges(ours)
        }
        (Sign::NoChange, Err(error), Ok(_)) => shows_no_change(error),
        (Sign::Values(words, is_meant), Ok(theirs), Ok(ours)) => says(words) && differ_only(theirs, ours, *is_meant),
        _ => false,
    })
}

/// What went wrong, without the layers on the way and without the configuration that is quoted. Inside of components it is escaped.
fn innermost(error: &str) -> String {
    let plain = error.replace("\\n", "\n").replace('\\', "");
    let own = plain.rsplit("recursed accumulation of path '").next().unwrap_or_default();
    let own = own.split_once("': ").filter(|(path, _)| path.starts_with('/')).map_or(own, |(_, own)| own);
    own.rsplit("with config: `").next().and_then(|own| own.split_once("`: ").map(|(_, own)| own)).unwrap_or(own).to_owned()
}

/// Words that begin with `^` are those that the text begins with.
fn has_in_order(text: &str, words: &[&str]) -> bool {
    let begins = words.first().and_then(|word| word.strip_prefix('^')).is_none_or(|word| text.starts_with(word));
    begins
        && words
            .iter()
            .map(|word| word.trim_start_matches('^'))
            .try_fold(text, |rest, word| rest.split_once(word).map(|(_, rest)| rest))
            .is_some()
}

/// Whether the two objects that a validator is said to have made differ are the same in the message.
fn shows_no_change(error: &str) -> bool {
    let error = error.replace("\\n", "\n").replace('\\', "");
    let shown: Vec<&str> = error.lines().filter_map(|line| line.strip_prefix(" -- ")).map(|line| line.trim_end_matches(',')).collect();
    error.contains("shouldn't modify the resource map") && matches!(shown.as_slice(), [one, other] if one == other)
}

/// Whether two texts are YAML or JSON, and mean the same.
fn is_same_text(theirs: &Value, ours: &Value) -> bool {
    let read = |value: &Value| value.as_str().and_then(|text| serde_yaml::from_str::<Value>(text).ok());
    read(theirs).is_some_and(|theirs| (theirs.is_mapping() || theirs.is_sequence()) && Some(theirs) == read(ours))
}

fn is_number_as_text(theirs: &Value, ours: &Value) -> bool {
    let number = theirs.as_str().and_then(|text| text.parse::<f64>().ok());
    number.is_some() && number == ours.as_f64()
}

fn has_tagged_merge(content: &str) -> bool {
    let is_tagged = |before: &str| before.split_whitespace().next_back().is_some_and(|word| word.len() > 1 && word.starts_with('!'));
    content.lines().filter_map(|line| line.split_once("<<:")).any(|(before, _)| is_tagged(before))
}

/// The documents without their merge keys.
fn without_merges(text: &str) -> Option<Value> {
    fn without(value: Value) -> Value {
        match value {
            Value::Sequence(items) => Value::Sequence(items.into_iter().map(without).collect()),
            Value::Mapping(entries) => {
                let others = entries.into_iter().filter(|(key, _)| key.as_str() != Some("<<"));
                Value::Mapping(others.map(|(key, value)| (key, without(value))).collect())
            }
            value => value,
        }
    }
    documents(text).map(|documents| without(Value::Sequence(documents)))
}

/// Whether kustomize's text has comments in it that are none of the text.
fn has_a_comment_in_it(theirs: &Value, ours: &Value) -> bool {
    let (Some(theirs), Some(ours)) = (theirs.as_str(), ours.as_str()) else { return false };
    let texts = |text: &str| text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect::<Vec<_>>();
    theirs.lines().count() > ours.lines().count() && texts(theirs) == texts(ours)
}

fn is_same_but_for_line_ends(theirs: &Value, ours: &Value) -> bool {
    let joined = |value: &Value| value.as_str().map(|text| text.replace('\n', ""));
    joined(theirs).is_some() && joined(theirs) == joined(ours)
}

/// Whether two names differ in the hash at their end only.
fn is_other_hash(theirs: &Value, ours: &Value) -> bool {
    let without_hash = |value: &Value| {
        let (name, hash) = value.as_str()?.rsplit_once('-')?;
        (hash.len() == 10).then(|| name.to_owned())
    };
    without_hash(theirs).is_some() && without_hash(theirs) == without_hash(ours)
}

fn differ_only(theirs: &str, ours: &str, is_meant: fn(&Value, &Value) -> bool) -> bool {
    let (Some(theirs), Some(ours)) = (documents(theirs), documents(ours)) else { return false };
    are_same_but_for(&Value::Sequence(theirs), &Value::Sequence(ours), is_meant)
}

fn are_same_but_for(theirs: &Value, ours: &Value, is_meant: fn(&Value, &Value) -> bool) -> bool {
    let below = |(theirs, ours)| are_same_but_for(theirs, ours, is_meant);
    match (theirs, ours) {
        (Value::Sequence(theirs), Value::Sequence(ours)) => theirs.len() == ours.len() && theirs.iter().zip(ours).all(below),
        (Value::Mapping(theirs), Value::Mapping(ours)) => {
            theirs.len() == ours.len() && theirs.keys().eq(ours.keys()) && theirs.values().zip(ours.values()).all(below)
        }
        (theirs, ours) => theirs == ours || is_meant(theirs, ours),
    }
}

#[test]
fn only_a_validator_that_is_seen_to_change_nothing_is_excused() {
    let said = |after: &str| format!("validator shouldn't modify the resource map: nodes unequal: \n -- {{\"a\":1}},\n -- {after}\n\n--\n");
    assert!(shows_no_change(&said("{\"a\":1}")) && !shows_no_change(&said("{\"a\":2}")) && !shows_no_change("other"));
    assert!(shows_no_change(&said("{\"a\":1}").replace('"', "\\\"").replace('\n', "\\n")));
}

#[test]
fn what_a_tree_says_excuses_nothing() {
    let of = |error: &str| listed(&Tree::default(), &Err(error.to_owned()), &Ok(String::new())).map(|listed| listed.reason);
    let config = "recursed accumulation of path '/d': trouble configuring builtin PatchTransformer with config: `panic: `: no such thing";
    assert_eq!(of(config), None);
    assert!(of("recursed accumulation of path '/d': panic: index out of range").is_some());
}

#[test]
fn only_texts_that_mean_the_same_may_differ_in_their_quotes() {
    let tree = Tree { files: [("x.yaml".to_owned(), "replacements: []".to_owned())].into(), ..Tree::default() };
    let of = |theirs: &str, ours: &str| listed(&tree, &Ok(theirs.to_owned()), &Ok(ours.to_owned())).is_some();
    assert!(of("a: 'b: {c: \"x\"}'\n", "a: \"b: {c: 'x'}\"\n"));
    assert!(!of("a: 'b: {c: \"1\"}'\n", "a: 'b: {c: 1}'\n") && !of("a: \"1\"\n", "a: 1\n"));
}
