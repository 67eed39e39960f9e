//! What is ours in a cluster, said as an ApplySet (KEP-3659), so that `kubectl` and we agree on it.
//!
//! The parent is the Sync; its annotations name the kinds and namespaces in which its members are found by their label. Nothing here reads
//! or writes a cluster. The rule that keeps orphans away: the inventory grows before the first apply ([`Inventory::with`]) and shrinks only
//! for what is confirmed gone ([`Inventory::without`]).

use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use overlays::object::ObjectId;
use sha2::{Digest, Sha256};

/// The label on the parent that holds the id of its set.
pub const ID_LABEL: &str = "applyset.kubernetes.io/id";
/// The annotation on the parent that names the tool that owns the set.
pub const TOOLING: &str = "applyset.kubernetes.io/tooling";
/// The annotation on the parent that names the kinds of its members.
pub const GROUP_KINDS: &str = "applyset.kubernetes.io/contains-group-kinds";
/// The annotation on the parent that names the namespaces of its members, but not its own.
pub const NAMESPACES: &str = "applyset.kubernetes.io/additional-namespaces";
/// What we call ourselves before the slash in [`TOOLING`].
const TOOL: &str = "plimsoll";

/// A kind in its group, whatever the version.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupKind {
    /// The group, `""` for the core group.
    pub group: String,
    /// The kind.
    pub kind: String,
}

impl GroupKind {
    /// The kind of an object.
    pub fn of(id: &ObjectId) -> Self {
        Self { group: id.group.clone(), kind: id.kind.clone() }
    }

    /// Reads `Deployment.apps` or `ConfigMap`; `None` where there is no kind.
    pub fn parse(text: &str) -> Option<Self> {
        let (kind, group) = text.split_once('.').unwrap_or((text, ""));
        (!kind.is_empty()).then(|| Self { group: group.to_owned(), kind: kind.to_owned() })
    }
}

impl fmt::Display for GroupKind {
    /// As the ApplySet annotation has it: `Deployment.apps`, `ConfigMap`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.kind)?;
        if self.group.is_empty() { Ok(()) } else { write!(f, ".{}", self.group) }
    }
}

/// The id of the set whose parent is the Sync `namespace`/`name`; the value of [`ID_LABEL`] on the parent and of
/// [`PART_OF_LABEL`](crate::api::PART_OF_LABEL) on the members.
pub fn applyset_id(namespace: &str, name: &str) -> String {
    parent_id(namespace, name, "Sync", "plimsoll.dev")
}

/// Section "ApplySet identification" of KEP-3659: `applyset-<base64(sha256(<name>.<namespace>.<kind>.<group>))>-v1`, URL-safe, without padding.
fn parent_id(namespace: &str, name: &str, kind: &str, group: &str) -> String {
    let digest = Sha256::digest(format!("{name}.{namespace}.{kind}.{group}"));
    format!("applyset-{}-v1", URL_SAFE_NO_PAD.encode(digest))
}

/// Where the members of a set may be found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inventory {
    /// The kinds of the members.
    pub kinds: BTreeSet<GroupKind>,
    /// The namespaces of the members, the parent's among them where there are members in it.
    pub namespaces: BTreeSet<String>,
}

/// Why the annotations of a parent are not an inventory of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// Another tool owns the set.
    OtherTool(String),
    /// An entry is no kind.
    NotAKind(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherTool(tool) => {
                write!(f, "the annotation {TOOLING} says that `{tool}` owns this set; remove the annotation if {TOOL} is to take it over")
            }
            Self::NotAKind(entry) => {
                write!(f, "the annotation {GROUP_KINDS} holds `{entry}`, which is no `Kind.group`; correct or remove it")
            }
        }
    }
}

impl std::error::Error for Error {}

impl Inventory {
    /// The inventory of a set that has exactly these members.
    pub fn of<'a>(members: impl IntoIterator<Item = &'a ObjectId>) -> Self {
        Self::default().with(members)
    }

    /// This inventory and these objects too: to be written before the first of them is applied.
    #[must_use]
    pub fn with(mut self, members: impl IntoIterator<Item = impl Borrow<ObjectId>>) -> Self {
        for id in members {
            let id = id.borrow();
            self.kinds.insert(GroupKind::of(id));
            if !id.namespace.is_empty() {
                self.namespaces.insert(id.namespace.clone());
            }
        }
        self
    }

    /// This inventory after `gone` were confirmed gone and `left` are the members that are left (owned or wanted). A kind or namespace
    /// that nobody confirmed stays, though nothing is known in it.
    #[must_use]
    pub fn without<'a>(
        mut self,
        gone: impl IntoIterator<Item = &'a ObjectId>,
        left: impl IntoIterator<Item = impl Borrow<ObjectId>>,
    ) -> Self {
        let (gone, left) = (Self::of(gone), Self::default().with(left));
        self.kinds.retain(|kind| left.kinds.contains(kind) || !gone.kinds.contains(kind));
        self.namespaces.retain(|namespace| left.namespaces.contains(namespace) || !gone.namespaces.contains(namespace));
        self
    }

    /// Reads the annotations of the parent, which lives in `namespace`. A parent without any of them has an empty inventory.
    ///
    /// # Errors
    /// The set belongs to another tool, or an entry cannot be read; then nothing may be pruned.
    pub fn from_annotations(annotations: &BTreeMap<String, String>, namespace: &str) -> Result<Self, Error> {
        if let Some(tool) = annotations.get(TOOLING).filter(|tool| tool.split('/').next() != Some(TOOL)) {
            return Err(Error::OtherTool(tool.clone()));
        }
        let kinds = entries(annotations, GROUP_KINDS)
            .map(|entry| GroupKind::parse(entry).ok_or_else(|| Error::NotAKind(entry.to_owned())))
            .collect::<Result<_, _>>()?;
        let namespaces = entries(annotations, NAMESPACES).chain([namespace]).map(str::to_owned).collect();
        Ok(Self { kinds, namespaces })
    }

    /// The annotations of the parent, which lives in `namespace`; `version` is that of the agent.
    pub fn to_annotations(&self, namespace: &str, version: &str) -> BTreeMap<String, String> {
        let mut kinds: Vec<_> = self.kinds.iter().map(ToString::to_string).collect();
        kinds.sort();
        let others: Vec<_> = self.namespaces.iter().map(String::as_str).filter(|other| *other != namespace).collect();
        [(TOOLING, format!("{TOOL}/{version}")), (GROUP_KINDS, kinds.join(",")), (NAMESPACES, others.join(","))]
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value))
            .collect()
    }
}

fn entries<'a>(annotations: &'a BTreeMap<String, String>, key: &str) -> impl Iterator<Item = &'a str> {
    annotations.get(key).map_or("", String::as_str).split(',').map(str::trim).filter(|entry| !entry.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(group: &str, kind: &str, namespace: &str, name: &str) -> ObjectId {
        ObjectId { group: group.into(), kind: kind.into(), namespace: namespace.into(), name: name.into() }
    }

    fn annotations(kinds: &str, namespaces: &str) -> BTreeMap<String, String> {
        [(TOOLING, "plimsoll/0.1.0"), (GROUP_KINDS, kinds), (NAMESPACES, namespaces)].map(|(key, value)| (key.into(), value.into())).into()
    }

    #[test]
    fn the_id_of_a_set_is_the_one_that_kubectl_computes() {
        // From the Kubernetes documentation, "Well-Known Labels": the parent there is the Secret test/my-set.
        assert_eq!(parent_id("test", "my-set", "Secret", ""), "applyset-0eFHV8ySqp7XoShsGvyWFQD3s96yqwHmzc4e0HR1dsY-v1");
        assert_ne!(applyset_id("a", "b"), applyset_id("b", "a"));
        assert!(applyset_id("plimsoll", "fleet").len() <= 63, "a label value");
    }

    #[test]
    fn annotations_are_sorted_and_leave_out_the_namespace_of_the_parent() {
        let members = [
            id("apps", "Deployment", "web", "api"),
            id("", "Secret", "web", "s"),
            id("", "Namespace", "", "web"),
            id("", "Secret", "home", "s"),
        ];
        let inventory = Inventory::of(&members);
        let expected = annotations("Deployment.apps,Namespace,Secret", "web");
        assert_eq!(inventory.to_annotations("home", "0.1.0"), expected);
        assert_eq!(Inventory::from_annotations(&expected, "home"), Ok(inventory));
    }

    #[test]
    fn annotations_of_others_and_unreadable_ones_are_refused() {
        let check = |key: &str, value: &str, expected: Result<usize, Error>| {
            let read = Inventory::from_annotations(&[(key.to_owned(), value.to_owned())].into(), "home");
            assert_eq!(read.map(|inventory| inventory.kinds.len()), expected);
        };
        check(TOOLING, "kubectl/v1.37.2", Err(Error::OtherTool("kubectl/v1.37.2".into())));
        check(TOOLING, "plimsoll/9.9.9", Ok(0));
        check(GROUP_KINDS, ".apps", Err(Error::NotAKind(".apps".into())));
        check(GROUP_KINDS, " ConfigMap , Widget.example.com,", Ok(2));
        check("unrelated", "x", Ok(0));
    }

    #[test]
    fn the_inventory_grows_at_once_and_shrinks_only_for_what_is_confirmed_gone() {
        let (old, new, kept) = (id("", "Secret", "old", "s"), id("", "ConfigMap", "new", "c"), id("", "Service", "web", "s"));
        let grown = Inventory::of([&old, &kept]).with([&new]);
        assert_eq!(grown.kinds.len(), 3);
        let all = [&old, &new, &kept];
        assert_eq!(grown.clone().without([], all), grown, "nothing is gone");
        assert_eq!(grown.clone().without([], [&kept]), grown, "unknown is not gone");
        assert_eq!(grown.clone().without([&old], [&new, &kept]), Inventory::of([&new, &kept]));
        let sibling = id("", "Secret", "old", "another");
        assert_eq!(grown.clone().without([&old], [&sibling, &new, &kept]), grown, "another of its kind is left");
    }
}
