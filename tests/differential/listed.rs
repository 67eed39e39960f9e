//! Where this project does not do what kustomize does, each kind with its reason. A difference of any other kind fails the test.
//! It must not know how trees are made.

use super::kustomize::Outcome;

/// A kind of difference that is meant.
pub(crate) struct Listed {
    /// Why kustomize is not followed.
    pub(crate) reason: &'static str,
    sign: Sign,
}

/// How a difference of the kind is known.
enum Sign {
    /// Only kustomize refuses, with such words.
    Refused(&'static str),
    /// Only this project refuses, with such words.
    Told(&'static str),
    /// kustomize prints what it keeps among annotations while it builds.
    Leaks,
    /// Only kustomize refuses, for it sees a change between two texts that it then prints, and they are the same.
    NoChange,
}

const fn refused(words: &'static str, reason: &'static str) -> Listed {
    Listed { reason, sign: Sign::Refused(words) }
}

/// All of them. What kustomize refuses is in trees that nobody can have in use.
const LISTED: [Listed; 20] = [
    refused("as a !!null", "a null that a replacement fills has kept its type there, and cannot be printed"),
    refused("as a !!timestamp", "a date that a replacement replaces has kept its type there; here it is text"),
    refused(
        "cannot decode !!str",
        "a word that a replacement put where a number was is no number; here it is told when it is printed, if at all",
    ),
    refused("updating name reference in", "a field where a name may stand holds something else there; here it is no reference"),
    refused("expected ScalarNode but got MappingNode", "a prefix or image is to go into a map; here a map is left as it is"),
    refused("invalid value type expect a string", "a list for vars holds other things than strings; here these are left as they are"),
    refused("cannot be mapped to a field in the set of known resources", "a patch deleted what kustomize keeps among the annotations"),
    refused("SM or JSON patch from [patch: \"[", "a patch that begins with a bracket must be JSON there; here it may be YAML as well"),
    refused("SM or JSON patch from [patch: \\\"[", "the same in a component"),
    refused("expected MappingNode but got ScalarNode", "a patch makes a scalar of the annotations; here they are left out"),
    refused("panic: ", "a crash says nothing of what is right"),
    refused("unsupported type: map[interface {}]", "a key of a generated map is taken for a number there, and cannot be printed"),
    refused(
        "namespace on (cluster)role binding subject",
        "the subjects of a binding are no list of maps; here they have no namespace to set",
    ),
    Listed {
        reason: "a replacement writes a word where a number was; kustomize tells it only if the field is still there in the end",
        sign: Sign::Told("can't replace a"),
    },
    refused("invalid base64 data", "a replacement put a text into a binary value; here it is text"),
    refused("is missing for replacement source", "a null that another replacement filled is still taken for missing there"),
    refused("number of previous names", "a replacement copied half of what kustomize keeps among the annotations"),
    Listed {
        reason: "a replacement puts a map where the name stands; here an object without a name is an error",
        sign: Sign::Told("took the name or kind of the object"),
    },
    Listed { reason: "a replacement copies what kustomize keeps among the annotations, and it is printed", sign: Sign::Leaks },
    Listed { reason: "a validator that changed nothing is said to have changed something", sign: Sign::NoChange },
];

/// The kind of a difference, if it is listed.
pub(crate) fn listed(theirs: &Outcome, ours: &Outcome) -> Option<&'static Listed> {
    LISTED.iter().find(|listed| match (&listed.sign, theirs, ours) {
        (Sign::Refused(words), Err(error), Ok(_)) => error.contains(words),
        (Sign::Told(words), Ok(_), Err(error)) => error.contains(words),
        (Sign::Leaks, Ok(theirs), Ok(ours)) => theirs.contains("internal.config.kubernetes.io/prev") && !ours.contains("internal.config"),
        (Sign::NoChange, Err(error), Ok(_)) => shows_no_change(error),
        _ => false,
    })
}

/// Whether the two objects that a validator is said to have made differ are the same in the message.
fn shows_no_change(error: &str) -> bool {
    let shown: Vec<&str> = error.lines().filter_map(|line| line.strip_prefix(" -- ")).map(|line| line.trim_end_matches(',')).collect();
    error.contains("shouldn't modify the resource map") && matches!(shown.as_slice(), [one, other] if one == other)
}

#[test]
fn only_a_validator_that_is_seen_to_change_nothing_is_excused() {
    let said = |after: &str| format!("validator shouldn't modify the resource map: nodes unequal: \n -- {{\"a\":1}},\n -- {after}\n\n--\n");
    assert!(shows_no_change(&said("{\"a\":1}")) && !shows_no_change(&said("{\"a\":2}")) && !shows_no_change("other"));
}
