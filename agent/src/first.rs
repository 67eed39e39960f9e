//! The first Sync: how `plimsoll install` leaves it for the agent, and whether it is still to be made. Who reads and writes the cluster is `agent`.
//!
//! kubectl looks up every kind of a stream before it applies any of it (seen with 1.32), so a Sync can't come in the stream that brings its
//! definition. It is left in a ConfigMap, as text that a person can read, and an agent makes it when it starts. What was made is noted on
//! the ConfigMap by a digest of the text: a Sync that a user deleted is not made again, and one that was installed anew is changed.

use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::install::NAMESPACE;

/// The name of the ConfigMap, and of the annotation on the agents' pods that changes when its text does.
pub const NAME: &str = "first-sync";
/// The key of the text in it.
pub const KEY: &str = "sync.yaml";
/// On the ConfigMap: the digest of the text that a Sync was made from.
pub const MADE_ANNOTATION: &str = "plimsoll.dev/made";
/// On the pods: the digest of the text that was installed with them.
pub const POD_ANNOTATION: &str = "plimsoll.dev/first-sync";

/// A Sync that is still to be made.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    /// It, as it was written.
    pub sync: Value,
    /// Its name.
    pub name: String,
    /// What is to be noted once it is made.
    pub digest: String,
}

/// The ConfigMap that leaves a Sync to the agent.
pub fn left(yaml: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": NAME, "namespace": NAMESPACE},
        "data": {KEY: yaml},
    })
}

/// The first 16 hexadecimal digits of the SHA-256 of a text: it tells a change, and guards against nothing.
pub fn digest(yaml: &str) -> String {
    Sha256::digest(yaml).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// What is still to be made of a ConfigMap; `None` if that was done.
///
/// # Errors
/// Says what is wrong with its text.
pub fn wanted(map: &ConfigMap) -> Result<Option<Wanted>, String> {
    let text = map.data.as_ref().and_then(|data| data.get(KEY)).ok_or_else(|| format!("it has no `{KEY}`"))?;
    let digest = digest(text);
    let made = map.metadata.annotations.as_ref().and_then(|annotations| annotations.get(MADE_ANNOTATION));
    if made == Some(&digest) {
        return Ok(None);
    }
    let sync: Value = serde_yaml::from_str(text).map_err(|error| format!("{KEY}: {error}"))?;
    let name = checked_name(&sync)?;
    Ok(Some(Wanted { sync, name, digest }))
}

/// The name of a text that is a Sync of our own namespace; the rest is for the API server to judge.
fn checked_name(sync: &Value) -> Result<String, String> {
    let text = |pointer: &str| sync.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    for (pointer, field, wanted) in [
        ("/apiVersion", "apiVersion", "plimsoll.dev/v1alpha1"),
        ("/kind", "kind", "Sync"),
        // Not more than the rights say: whoever may write this ConfigMap shall not make a Sync among somebody else's.
        ("/metadata/namespace", "metadata.namespace", NAMESPACE),
    ] {
        if text(pointer) != wanted {
            return Err(format!("{KEY}: {field} is `{}`, not `{wanted}`", text(pointer)));
        }
    }
    match text("/metadata/name") {
        "" => Err(format!("{KEY}: metadata.name is missing")),
        name => Ok(name.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SYNC: &str =
        "apiVersion: plimsoll.dev/v1alpha1\nkind: Sync\nmetadata: {name: fleet, namespace: plimsoll-system}\nspec: {url: a}\n";

    fn map(text: &str, made: Option<&str>) -> ConfigMap {
        let mut map: ConfigMap = serde_json::from_value(left(text)).unwrap();
        map.metadata.annotations = made.map(|made| [(MADE_ANNOTATION.to_owned(), made.to_owned())].into());
        map
    }

    #[test]
    fn what_was_made_is_not_made_again_until_the_text_changes() {
        let first = wanted(&map(SYNC, None)).unwrap().unwrap();
        assert_eq!((first.name.as_str(), &first.sync["spec"]["url"]), ("fleet", &json!("a")));
        assert_eq!(wanted(&map(SYNC, Some(&first.digest))).unwrap(), None);
        let changed = SYNC.replace("url: a", "url: b");
        let second = wanted(&map(&changed, Some(&first.digest))).unwrap().unwrap();
        assert_eq!(second.sync["spec"]["url"], "b");
        assert_ne!(second.digest, first.digest);
    }

    #[test]
    fn a_text_that_is_no_sync_of_ours_is_told_in_words() {
        let check = |text: &str, words: &str| {
            let told = wanted(&map(text, None)).unwrap_err();
            assert!(told.contains(words), "{told}");
        };
        check("", "apiVersion is ``, not `plimsoll.dev/v1alpha1`");
        check(": [", "sync.yaml: ");
        check("a: 1\n---\na: 2\n", "sync.yaml: ");
        check(&SYNC.replace("Sync", "Secret"), "kind is `Secret`, not `Sync`");
        check(&SYNC.replace("plimsoll-system", "kube-system"), "metadata.namespace is `kube-system`");
        check(&SYNC.replace("name: fleet, ", ""), "metadata.name is missing");
        assert_eq!(wanted(&ConfigMap::default()).unwrap_err(), "it has no `sync.yaml`");
    }
}
