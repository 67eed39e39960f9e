//! The `Sync` custom resource: a repository, a reference, a path, and how to treat them.
//!
//! These are the words that users write and read with kubectl; nothing here acts. The CRD in `deploy/` is generated from this file.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The field manager of everything that the agent applies.
pub const FIELD_MANAGER: &str = "plimsoll";
/// The field manager of the rare patch that puts right what an apply can't; nothing of it stays on an object.
pub const HEAL_MANAGER: &str = "plimsoll-heal";
/// The annotation, on an object or on an app's kustomization, that says what is done about drift: `heal`, `report` or `ignore`.
pub const DRIFT_ANNOTATION: &str = "plimsoll.dev/drift";
/// The annotation that leaves fields to others: JSON pointers and `manager:NAME`, separated by commas.
pub const IGNORE_ANNOTATION: &str = "plimsoll.dev/ignore";
/// The label that names the Sync an object belongs to (KEP-3659).
pub const PART_OF_LABEL: &str = "applyset.kubernetes.io/part-of";
/// The label that names the app of a Sync an object belongs to.
pub const APP_LABEL: &str = "plimsoll.dev/app";
/// On a kustomization, a fleet file's app or a live object: `allow` lets a guarded deletion go ahead.
pub const PRUNE_ANNOTATION: &str = "plimsoll.dev/prune";
/// On an object: `allow` lets it be deleted and made anew when an immutable field changes.
pub const REPLACE_ANNOTATION: &str = "plimsoll.dev/replace";
/// On a Sync: a new value makes the leader look at the repository at once, as a push hook does.
pub const WAKE_ANNOTATION: &str = "plimsoll.dev/wake";
/// The value of [`PRUNE_ANNOTATION`] and [`REPLACE_ANNOTATION`] that gives the word.
pub const ALLOW: &str = "allow";

/// What a `Sync` asks for.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "plimsoll.dev",
    version = "v1alpha1",
    kind = "Sync",
    plural = "syncs",
    doc = "A Git repository that this cluster follows: what to follow, and what came of it.",
    namespaced,
    status = "SyncStatus",
    derive = "Default",
    derive = "PartialEq",
    printcolumn = r#"{"name":"Revision","type":"string","jsonPath":".status.revision.short"}"#,
    printcolumn = r#"{"name":"State","type":"string","jsonPath":".status.state"}"#,
    printcolumn = r#"{"name":"Objects","type":"integer","jsonPath":".status.objects"}"#,
    printcolumn = r#"{"name":"Message","type":"string","jsonPath":".status.message","priority":1}"#,
    printcolumn = r#"{"name":"URL","type":"string","jsonPath":".spec.url","priority":1}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct SyncSpec {
    /// The repository: `https://`, `http://`, `ssh://`, `git@host:path`, `file://` or a path.
    pub url: String,
    /// What to follow: one of branch, tag, commit. Without it, the branch that the repository calls its default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<ReferenceSpec>,
    /// The directory of the fleet file, of a kustomization or of plain manifests, from the root of the repository.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub path: String,
    /// How often the repository is asked for news, as `30s` or `5m`. Default `30s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub poll: Option<String>,
    /// How often everything is applied again although nothing has changed, as `10m`. Default: never, for the watch tells what drifts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resync: Option<String>,
    /// How long an app may take to become healthy before the commit is called failed, as `5m`. Default `5m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<String>,
    /// A Secret of this namespace with what the repository asks for: `username` and `password`, `token`, or `identity` and `known_hosts`; `ca.crt`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<NameRef>,
    /// Where to say what came of a commit. Without it, the forge is found from the URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forge: Option<ForgeSpec>,
    /// How a push hook of the forge proves who it is; without it, none is taken for this Sync.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hook: Option<HookSpec>,
    /// What the cluster is, where that cannot be seen from its nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<ClusterSpec>,
    /// The namespace of objects that say none. Default: the namespace of the Sync.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_namespace: Option<String>,
    /// A ServiceAccount of this namespace to act as; what it may not do is not done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account_name: Option<String>,
    /// Whether to leave everything as it is; drift is told all the same.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspend: bool,
    /// What is done about drift where neither the app nor the object says: `heal` (the default) or `report`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift: Option<String>,
    /// Times in which nothing is changed: commits wait, and drift is only told.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub freeze: Vec<FreezeSpec>,
    /// Bases in other repositories, which kustomizations name by URL. Without it none is brought.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote_bases: Option<RemoteBasesSpec>,
}

/// Bases in other repositories. They are brought if they are pinned: by a commit or a tag.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RemoteBasesSpec {
    /// Where they may come from: `github.com`, `git.example:8443`, or, where nothing is protected on the way, `http://git.example:3000`. Who writes
    /// the repository chooses what the agent asks these hosts for; at the host of `url`, with its credentials.
    #[serde(default)]
    pub hosts: Vec<String>,
}

/// A time that comes again every week in which nothing is changed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FreezeSpec {
    /// The days on which it begins: `Mon` to `Sun`. Default: every day.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub days: Vec<String>,
    /// When it begins, as `22:00`.
    pub from: String,
    /// When it ends, as `06:00`; on the next day if that is not after `from`.
    pub to: String,
    /// The IANA time zone of both, as `Europe/Berlin`. Default `UTC`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
}

/// What to follow: exactly one of these.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ReferenceSpec {
    /// A branch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// A tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// A commit: 40 hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
}

/// Names an object of the same namespace.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NameRef {
    /// Its name.
    pub name: String,
}

/// Where to say what came of a commit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ForgeSpec {
    /// `gitea`, `forgejo`, or `none` to say nothing.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The root of the forge's web page, where it is not that of the repository's URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// A Secret with a `token` that may write commit statuses, where it is not that of the repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<NameRef>,
    /// The context of the status. Default `plimsoll/<cluster>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<String>,
}

/// How a push hook of the forge proves who it is. It is sent to `/hook/<namespace>/<sync>` and only makes the agent look at the repository.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HookSpec {
    /// Who sends it: `gitea` (the default), `forgejo`, `github` or `gitlab`.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// A Secret whose `secret` is the one that the forge was given.
    pub secret_ref: NameRef,
}

/// What the cluster is, where that cannot be seen from its nodes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ClusterSpec {
    /// Its name, as commit statuses show it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What layers are chosen by: `provider`, `region`, `environment`, and whatever the fleet file names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// What the agent last did and saw.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SyncStatus {
    /// The generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// One word: `Waiting`, `Syncing`, `InSync`, `Drifted`, `Failed`, `AgentError`, `Suspended`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// What the commit status says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The revision that is live, or on its way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<RevisionStatus>,
    /// The repository that this status is about, without credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// How many objects are owned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objects: Option<i64>,
    /// The cluster as layers are chosen for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<ClusterSpec>,
    /// `Ready`, `Reconciling` and `Stalled`, as kstatus reads them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// The apps, each with its state; at most 200 are listed, the worst first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub apps: Vec<AppStatus>,
    /// What went wrong, object by object; at most 20 are listed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failures: Vec<FailureStatus>,
    /// Objects that are not as Git says, and those last healed; at most 50 are listed, what is still there first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drift: Vec<DriftStatus>,
    /// How many objects are not as Git says, those that are not listed too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drifted: Option<i64>,
    /// What was last said on each commit, so that nothing is said twice and nothing is left pending.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ledger: Vec<LedgerEntry>,
}

/// The revision that a reference stood for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RevisionStatus {
    /// As people say it: `main@1a2b3c4`.
    pub short: String,
    /// The commit.
    pub commit: String,
    /// When the last object of it was applied, RFC 3339; none while it is on its way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applied: Option<String>,
}

/// One app.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AppStatus {
    /// Its name.
    pub name: String,
    /// One word, as [`SyncStatus::state`].
    pub state: String,
    /// How many objects it has.
    #[serde(default)]
    pub objects: i64,
    /// What it waits for, or what failed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// One thing that went wrong.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FailureStatus {
    /// The app.
    pub app: String,
    /// The object, as `Deployment web/api`; empty where it is the whole app.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub object: String,
    /// Where it was written, as `apps/web/base/api.yaml:12`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub place: String,
    /// What, why, and what to do.
    pub message: String,
}

/// One object that is, or was, not as Git says.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DriftStatus {
    /// The app.
    pub app: String,
    /// The object, as `Deployment web/api`.
    pub object: String,
    /// One word: `reported` (it is left so), `healing`, `fighting` (healed again and again), `refused` (it could not be healed), `healed`.
    pub state: String,
    /// The fields that differ, or `deleted` as the only path; at most 8.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<DriftField>,
    /// How many more fields differ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub more: Option<i64>,
    /// Why it is as it is, where the state does not say.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// When it was first seen, RFC 3339.
    pub since: String,
    /// When it was healed, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub healed: Option<String>,
}

/// One field that differs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DriftField {
    /// Which one, as `spec.template.spec.containers[name=web].image`.
    pub path: String,
    /// What Git asks for; none where the field is not there. Values of Secrets are `****`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub was: Option<String>,
    /// What it is now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is: Option<String>,
    /// Who holds it now, as that field manager calls itself: `kubectl-edit`; or that nobody is known.
    pub by: String,
    /// When that manager last changed anything that it holds, RFC 3339; a write through `scale` leaves no time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active: Option<String>,
}

/// What was last said on a commit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LedgerEntry {
    /// The commit.
    pub commit: String,
    /// The context.
    pub context: String,
    /// `pending`, `success`, `failure` or `error`.
    pub state: String,
    /// The text.
    pub description: String,
    /// Whether the forge has confirmed it.
    pub posted: bool,
}
