//! Says in words why the API server did not do what it was asked. Pure: it knows answers, not how they were had.
//!
//! An answer is a `Status` object (`meta/v1`). The shapes read here were seen on kube-apiserver 1.37; where a reason can only be told
//! from its text, a text that is not known falls through to [`Refusal::Other`], which shows it as it is.

use std::fmt;

use kube::core::Status;
use kube::core::response::StatusCause;

/// The most characters of a server's own words that are repeated: its messages may hold a whole pod template.
const MOST_WORDS: usize = 300;
/// How much of a refused value is repeated.
const MOST_VALUE: usize = 60;
/// How many faulty fields of one object are told.
const MOST_FIELDS: usize = 5;

/// Why the API server did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The cluster serves no such kind (yet).
    NoKind {
        /// `group/version`, or `v1`.
        api_version: String,
        /// The kind.
        kind: String,
    },
    /// There is no such object.
    NotFound {
        /// The server's words.
        message: String,
    },
    /// RBAC does not allow it.
    Forbidden {
        /// Who asked, as the server knows them.
        user: String,
        /// `patch`, `delete`, `list`, ...
        verb: String,
        /// As a Role names it: `deployments.apps`.
        resource: String,
        /// The namespace; `None` for the whole cluster.
        namespace: Option<String>,
    },
    /// A webhook, a policy or an admission plugin said no.
    Admission {
        /// Who: `webhook "x"`, `ValidatingAdmissionPolicy 'x'`, `PodSecurity`, or empty.
        by: String,
        /// Its words.
        message: String,
        /// It may pass by itself: who must be asked can't be reached, or what it looks for is about to be there.
        passing: bool,
    },
    /// The object does not fit its schema or the rules of its kind.
    Invalid {
        /// The faulty fields; empty where the server named none.
        fields: Vec<Fault>,
        /// The server's words, where it named no field.
        message: String,
    },
    /// Fields that can't be changed on a live object.
    Immutable {
        /// Which, and what the server says.
        fields: Vec<Fault>,
    },
    /// A ResourceQuota is used up.
    Quota {
        /// Its name.
        quota: String,
        /// What was asked, used and allowed.
        message: String,
    },
    /// The namespace is not there (yet).
    NamespaceMissing {
        /// Its name.
        namespace: String,
    },
    /// The namespace is being deleted.
    NamespaceTerminating {
        /// Its name.
        namespace: String,
    },
    /// The object is bigger than the API server takes.
    TooLarge {
        /// What is known of the sizes.
        message: String,
    },
    /// Others own fields that we would set (only without force), or somebody wrote in between.
    Conflict {
        /// Who owns what; empty where somebody wrote in between.
        owners: Vec<Conflict>,
        /// The server's words.
        message: String,
    },
    /// The object does not bear our mark, so it is not ours to delete.
    NotOurs {
        /// What it bears instead.
        message: String,
    },
    /// The history that was asked for is gone (410): start over.
    Expired,
    /// Nobody answered, or only with "not now".
    Away {
        /// Why.
        message: String,
    },
    /// Another agent may be writing by now, so we don't.
    LeaseLost,
    /// Deleted, but not gone by the deadline.
    StillThere {
        /// What holds it.
        message: String,
    },
    /// Anything else, in the server's words.
    Other {
        /// The HTTP status; 0 where nothing was asked, 200 where the answer could not be read.
        code: u16,
        /// The server's words.
        message: String,
    },
}

/// A field, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// As `spec.selector`; may be empty.
    pub field: String,
    /// The server's words.
    pub message: String,
}

/// Fields that another field manager owned and that we would set to something else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// As it calls itself (nobody checks that).
    pub manager: String,
    /// As `.spec.replicas`.
    pub fields: Vec<String>,
}

impl Refusal {
    /// Reads an answer that is not a success. `body` may be anything: proxies answer with HTML.
    pub fn read(code: u16, body: &[u8]) -> Self {
        let status: Status = serde_json::from_slice(body).unwrap_or_else(|_| plain(body));
        Self::of(code, &status)
    }

    /// Reads a `Status`; `code` is that of HTTP, which wins over the one inside.
    pub fn of(code: u16, status: &Status) -> Self {
        match code {
            401 => Self::Other { code, message: "the API server does not know our credentials, or no longer".to_owned() },
            403 => forbidden(status),
            404 => not_found(status),
            409 => conflict(status),
            410 => Self::Expired,
            413 => Self::TooLarge { message: brief(&status.message) },
            422 => invalid(status),
            429 | 502 | 503 | 504 => Self::Away { message: away(code, &status.message) },
            500 => internal(status),
            _ => denied(&status.message).unwrap_or_else(|| Self::Other { code, message: brief(&status.message) }),
        }
    }

    /// The first field that was found at fault, as `spec.ports[0].port`.
    pub fn field(&self) -> Option<&str> {
        match self {
            Self::Invalid { fields, .. } | Self::Immutable { fields } => {
                fields.iter().map(|fault| fault.field.as_str()).find(|field| !field.is_empty())
            }
            _ => None,
        }
    }

    /// Whether the same request may succeed later without anybody changing it.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Away { .. } | Self::Expired | Self::LeaseLost | Self::NamespaceTerminating { .. } | Self::StillThere { .. } => true,
            Self::Conflict { owners, .. } => owners.is_empty(),
            Self::Admission { passing, .. } => *passing,
            _ => false,
        }
    }

    /// One word, for events and metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NoKind { .. } => "NoSuchKind",
            Self::NotFound { .. } => "NotFound",
            Self::Forbidden { .. } => "Forbidden",
            Self::Admission { .. } => "AdmissionDenied",
            Self::Invalid { .. } => "Invalid",
            Self::Immutable { .. } => "Immutable",
            Self::Quota { .. } => "QuotaExceeded",
            Self::NamespaceMissing { .. } => "NamespaceMissing",
            Self::NamespaceTerminating { .. } => "NamespaceTerminating",
            Self::TooLarge { .. } => "TooLarge",
            Self::Conflict { .. } => "Conflict",
            Self::NotOurs { .. } => "NotOurs",
            Self::Expired => "Expired",
            Self::Away { .. } => "ApiServerAway",
            Self::LeaseLost => "LeaseLost",
            Self::StillThere { .. } => "StillThere",
            Self::Other { .. } => "Refused",
        }
    }

    /// The same with every word passed through `change`: used to blank what a Secret holds.
    pub(super) fn reworded(self, change: impl Fn(&str) -> String) -> Self {
        let faults = |fields: Vec<Fault>| fields.into_iter().map(|fault| Fault { message: change(&fault.message), ..fault }).collect();
        match self {
            Self::Admission { by, message, passing } => Self::Admission { by, message: change(&message), passing },
            Self::Invalid { fields, message } => Self::Invalid { fields: faults(fields), message: change(&message) },
            Self::Immutable { fields } => Self::Immutable { fields: faults(fields) },
            Self::Conflict { owners, message } => Self::Conflict { owners, message: change(&message) },
            Self::Other { code, message } => Self::Other { code, message: change(&message) },
            other => other,
        }
    }
}

impl std::error::Error for Refusal {}

impl fmt::Display for Refusal {
    /// What, why, and what to do; on what is said by whoever asked.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoKind { api_version, kind } => write!(
                f,
                "the cluster serves no kind {kind} in {api_version}: install its CustomResourceDefinition first, or correct apiVersion and kind"
            ),
            Self::NotFound { message } => f.write_str(message),
            Self::Forbidden { user, verb, resource, namespace } => write_forbidden(f, user, verb, resource, namespace.as_deref()),
            Self::Admission { by, message, passing } => write_admission(f, by, message, *passing),
            Self::Invalid { fields, message } if fields.is_empty() => write!(f, "not valid: {message}"),
            Self::Invalid { fields, .. } => write!(f, "not valid: {}", listed(fields)),
            Self::Immutable { fields } => write!(
                f,
                "can't be changed on a live object: {}; undo the change, or annotate the object in Git with {}: {} to have it deleted and made anew",
                listed(fields),
                crate::api::REPLACE_ANNOTATION,
                crate::api::ALLOW
            ),
            Self::Quota { quota, message } => {
                write!(f, "over the ResourceQuota {quota}: {message}; ask for less, or have the quota raised")
            }
            Self::NamespaceMissing { namespace } => {
                write!(f, "there is no namespace {namespace}: add it to the repository, or have it created")
            }
            Self::NamespaceTerminating { namespace } => {
                write!(f, "the namespace {namespace} is being deleted: nothing can be made in it until it is gone and made anew")
            }
            Self::TooLarge { message } => write!(f, "too large for the API server: {message}; split the object"),
            Self::Conflict { owners, message } if owners.is_empty() => write!(f, "somebody wrote in between: {message}"),
            Self::Conflict { owners, .. } => write!(f, "owned by others: {}", owned_by(owners)),
            Self::NotOurs { message } => write!(f, "not ours to delete: {message}"),
            Self::Expired => f.write_str("the API server no longer has the history that was asked for"),
            Self::Away { message } => write!(f, "the API server is away: {message}; tried again"),
            Self::LeaseLost => f.write_str("the lease of this Sync was lost, so another agent goes on with it"),
            Self::StillThere { message } => write!(f, "deleted, but still there: {message}"),
            Self::Other { code: 0 | 200, message } => f.write_str(message),
            Self::Other { code, message } => write!(f, "{message} (HTTP {code})"),
        }
    }
}

fn write_forbidden(f: &mut fmt::Formatter<'_>, user: &str, verb: &str, resource: &str, namespace: Option<&str>) -> fmt::Result {
    match namespace {
        Some(namespace) => {
            write!(f, "{user} may not {verb} {resource} in the namespace {namespace}: grant it with a Role there, bound to that account")
        }
        None => write!(f, "{user} may not {verb} {resource} in the cluster: grant it with a ClusterRole, bound to that account"),
    }
}

fn write_admission(f: &mut fmt::Formatter<'_>, by: &str, message: &str, passing: bool) -> fmt::Result {
    match (passing, by.is_empty()) {
        (true, _) => write!(f, "refused for now by {by}: {message}; tried again"),
        (false, true) => write!(f, "refused by admission: {message}"),
        (false, false) => write!(f, "refused by {by}: {message}"),
    }
}

fn listed(fields: &[Fault]) -> String {
    let mut told: Vec<String> = fields.iter().take(MOST_FIELDS).map(Fault::to_string).collect();
    if fields.len() > MOST_FIELDS {
        told.push(format!("and {} more", fields.len() - MOST_FIELDS));
    }
    told.join("; ")
}

fn owned_by(owners: &[Conflict]) -> String {
    owners.iter().map(Conflict::to_string).collect::<Vec<_>>().join("; ")
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.field.as_str() {
            // `[]` is the server's name for the whole object.
            "" | "[]" | "<nil>" => f.write_str(&self.message),
            field => write!(f, "{field}: {}", self.message),
        }
    }
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} by {}", self.fields.join(", "), self.manager)
    }
}

fn plain(body: &[u8]) -> Status {
    Status { message: String::from_utf8_lossy(&body[..body.len().min(4 * MOST_WORDS)]).into_owned(), ..Status::default() }
}

fn causes(status: &Status) -> &[StatusCause] {
    status.details.as_ref().map_or(&[], |details| &details.causes)
}

fn forbidden(status: &Status) -> Refusal {
    let message = &status.message;
    if causes(status).iter().any(|cause| cause.reason == "NamespaceTerminating") {
        return Refusal::NamespaceTerminating { namespace: between(message, "in namespace ", " because").unwrap_or_default().to_owned() };
    }
    if let Some(rest) = after(message, "exceeded quota: ") {
        let (quota, asked) = rest.split_once(", ").unwrap_or((rest, ""));
        return Refusal::Quota { quota: quota.to_owned(), message: brief(asked) };
    }
    rbac(message).or_else(|| denied(message)).unwrap_or_else(|| plugin(message))
}

/// `... is forbidden: User "U" cannot VERB resource "R" in API group "G" [in the namespace "N" | at the cluster scope]`
fn rbac(message: &str) -> Option<Refusal> {
    let user = between(message, "User \"", "\"")?;
    let verb = between(message, " cannot ", " ")?;
    let resource = between(message, " resource \"", "\"")?;
    let group = between(message, " in API group \"", "\"").unwrap_or_default();
    let resource = if group.is_empty() { resource.to_owned() } else { format!("{resource}.{group}") };
    let namespace = between(message, " in the namespace \"", "\"").map(str::to_owned);
    Some(Refusal::Forbidden { user: user.to_owned(), verb: verb.to_owned(), resource, namespace })
}

/// Webhooks and policies, which may choose any status.
fn denied(message: &str) -> Option<Refusal> {
    if let Some(name) = between(message, "admission webhook \"", "\"") {
        let words = after(message, "denied the request: ").or_else(|| after(message, "denied the request")).unwrap_or(message);
        return Some(Refusal::Admission { by: format!("webhook \"{name}\""), message: brief(words), passing: false });
    }
    let name = between(message, "ValidatingAdmissionPolicy '", "'")?;
    let words = after(message, "denied request: ").unwrap_or(message);
    Some(Refusal::Admission { by: format!("ValidatingAdmissionPolicy '{name}'"), message: brief(words), passing: false })
}

/// What plugins inside the API server say (PodSecurity, LimitRanger, escalation of rights, ...) after `is forbidden: `.
fn plugin(message: &str) -> Refusal {
    let words = after(message, "is forbidden: ").unwrap_or(message);
    let (by, passing) = match words {
        words if words.starts_with("violates PodSecurity") => ("PodSecurity", false),
        // The account `default` of a new namespace, and the counts of a new quota, come a moment later.
        words if words.starts_with("error looking up service account") => ("the ServiceAccount that is not there yet", true),
        words if words.contains("status unknown for quota") => ("a ResourceQuota that was not counted yet", true),
        _ => ("", false),
    };
    Refusal::Admission { by: by.to_owned(), message: brief(words), passing }
}

fn not_found(status: &Status) -> Refusal {
    match &status.details {
        Some(details) if details.kind == "namespaces" && !details.name.is_empty() => {
            Refusal::NamespaceMissing { namespace: details.name.clone() }
        }
        _ => Refusal::NotFound { message: brief(&status.message) },
    }
}

fn conflict(status: &Status) -> Refusal {
    let mut owners: Vec<Conflict> = Vec::new();
    for cause in causes(status).iter().filter(|cause| cause.reason == "FieldManagerConflict") {
        let manager = between(&cause.message, "conflict with \"", "\"").unwrap_or("unknown");
        match owners.iter_mut().find(|owner| owner.manager == manager) {
            Some(owner) => owner.fields.push(cause.field.clone()),
            None => owners.push(Conflict { manager: manager.to_owned(), fields: vec![cause.field.clone()] }),
        }
    }
    Refusal::Conflict { owners, message: brief(&status.message) }
}

fn invalid(status: &Status) -> Refusal {
    if let Some(refusal) = denied(&status.message) {
        return refusal;
    }
    let fault = |cause: &StatusCause| Fault { field: cause.field.clone(), message: brief(&cause.message) };
    let fixed: Vec<Fault> = causes(status).iter().filter(|cause| is_immutable(&cause.message)).map(fault).collect();
    if !fixed.is_empty() {
        return Refusal::Immutable { fields: fixed };
    }
    Refusal::Invalid { fields: causes(status).iter().map(fault).collect(), message: brief(&status.message) }
}

/// How the validations of Kubernetes word it that a field can't be changed. There is no reason code for it.
fn is_immutable(message: &str) -> bool {
    const WORDS: [&str; 8] = [
        "is immutable",
        "may not be changed",
        "may not change",
        "cannot change roleRef",
        "cannot be changed",
        "updates to statefulset spec for fields other than",
        "updates to parameters are forbidden",
        "updates to provisioner are forbidden",
    ];
    WORDS.iter().any(|words| message.contains(words))
}

fn internal(status: &Status) -> Refusal {
    let message = &status.message;
    if let Some(name) = between(message, "failed calling webhook \"", "\"") {
        let words = after(message, "failed to call webhook: ").unwrap_or(message);
        return Refusal::Admission { by: format!("webhook \"{name}\""), message: brief(words), passing: true };
    }
    // A body that does not fit its schema answers 500 under server-side apply.
    for words in ["failed to create typed patch object", "failed to convert new object", "failed to create manager for existing fields"] {
        if message.contains(words) {
            return Refusal::Invalid { fields: schema_faults(message), message: brief(message) };
        }
    }
    if message.contains("request is too large") {
        return Refusal::TooLarge { message: brief(message) };
    }
    if ["etcdserver:", "context deadline exceeded", "leader changed"].iter().any(|words| message.contains(words)) {
        return Refusal::Away { message: brief(message) };
    }
    Refusal::Other { code: 500, message: brief(message) }
}

/// `... (ns/name; apps/v1, Kind=X): .spec.a: what` or `...: errors:\n  .spec.a: what\n  .spec.b: what`
fn schema_faults(message: &str) -> Vec<Fault> {
    let rest = after(message, "): ").unwrap_or_default();
    let rest = rest.strip_prefix("errors:").unwrap_or(rest);
    let fault = |line: &str| {
        let (field, words) = line.trim().split_once(": ").filter(|(field, _)| field.starts_with('.'))?;
        Some(Fault { field: field.trim_start_matches('.').to_owned(), message: brief(words) })
    };
    rest.lines().filter_map(fault).collect()
}

fn away(code: u16, message: &str) -> String {
    match brief(message) {
        words if words.is_empty() => format!("HTTP {code}"),
        words => words,
    }
}

fn after<'a>(text: &'a str, words: &str) -> Option<&'a str> {
    text.split_once(words).map(|(_, rest)| rest)
}

fn between<'a>(text: &'a str, before: &str, behind: &str) -> Option<&'a str> {
    Some(after(text, before)?.split(behind).next().unwrap_or_default())
}

/// What the server puts before what is wrong: `failed to create typed patch object (web/api; apps/v1, Kind=Deployment): `.
fn without_preamble(line: &str) -> &str {
    let told = line.starts_with("failed to ").then(|| line.split_once("): ")).flatten();
    told.filter(|(head, _)| head.contains("object (")).map_or(line, |(_, rest)| rest)
}

/// One line, without long values, at most [`MOST_WORDS`] characters.
pub(super) fn brief(message: &str) -> String {
    let line = message.split_whitespace().collect::<Vec<_>>().join(" ");
    clip(&shorten_value(without_preamble(&line)), MOST_WORDS)
}

/// Cuts the value out of `Invalid value: VALUE: words`, keeping the words: the value may be a whole pod template.
fn shorten_value(line: &str) -> String {
    let Some((head, rest)) = line.split_once("Invalid value: ") else { return line.to_owned() };
    match rest.rsplit_once(": ") {
        Some((value, words)) if value.len() > MOST_VALUE => format!("{head}Invalid value: {}: {words}", clip(value, MOST_VALUE)),
        _ => line.to_owned(),
    }
}

fn clip(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(code: u16, status: serde_json::Value) -> Refusal {
        Refusal::read(code, status.to_string().as_bytes())
    }

    #[test]
    fn a_conflict_names_each_manager_with_its_fields() {
        let cause = |manager: &str, field: &str| json!({"reason": "FieldManagerConflict", "message": format!("conflict with \"{manager}\" using apps/v1"), "field": field});
        let refusal = read(
            409,
            json!({"message": "Apply failed with 3 conflicts", "reason": "Conflict", "details": {"causes": [
                cause("kubectl-edit", ".spec.replicas"), cause("hpa", ".spec.paused"), cause("kubectl-edit", ".spec.minReadySeconds")]}}),
        );
        let Refusal::Conflict { owners, .. } = &refusal else { panic!("{refusal:?}") };
        assert_eq!(
            owners[0],
            Conflict { manager: "kubectl-edit".into(), fields: vec![".spec.replicas".into(), ".spec.minReadySeconds".into()] }
        );
        assert_eq!(refusal.to_string(), "owned by others: .spec.replicas, .spec.minReadySeconds by kubectl-edit; .spec.paused by hpa");
        assert!(!refusal.is_transient());
    }

    #[test]
    fn a_missing_right_is_told_as_the_verb_and_resource_to_grant() {
        let refusal = read(
            403,
            json!({"message": "deployments.apps \"d\" is forbidden: User \"system:serviceaccount:web:deployer\" cannot patch resource \"deployments\" in API group \"apps\" in the namespace \"web\"", "reason": "Forbidden"}),
        );
        assert_eq!(
            refusal.to_string(),
            "system:serviceaccount:web:deployer may not patch deployments.apps in the namespace web: grant it with a Role there, bound to that account"
        );
    }

    #[test]
    fn an_immutable_field_is_told_with_the_way_out() {
        let cause = json!({"reason": "FieldValueInvalid", "message": "Invalid value: {\"matchLabels\":{\"a\":\"c\"}}: field is immutable", "field": "spec.selector"});
        let refusal =
            read(422, json!({"message": "Deployment.apps \"d\" is invalid", "reason": "Invalid", "details": {"causes": [cause]}}));
        assert!(matches!(refusal, Refusal::Immutable { .. }));
        let words = refusal.to_string();
        assert!(words.contains("spec.selector") && words.contains("plimsoll.dev/replace: allow"), "{words}");
    }

    #[test]
    fn a_dumped_pod_template_is_cut_but_the_reason_is_kept() {
        let dump = format!("Invalid value: {{\"labels\":{}}}: field is immutable", "\"x\":null,".repeat(500));
        let refusal = read(422, json!({"details": {"causes": [{"message": dump, "field": "spec.template"}]}}));
        let words = refusal.to_string();
        assert!(words.contains("spec.template: Invalid value: ") && words.contains("…: field is immutable"), "{words}");
        assert!(words.len() < 300, "{words}");
    }

    #[test]
    fn every_known_shape_gets_its_reason() {
        let check = |code: u16, message: &str, reason: &str, transient: bool| {
            let refusal = read(code, json!({"message": message}));
            assert_eq!((refusal.reason(), refusal.is_transient()), (reason, transient), "{message}: {refusal}");
        };
        check(
            403,
            "configmaps \"b\" is forbidden: exceeded quota: small, requested: count/configmaps=1, used: 1, limited: 1",
            "QuotaExceeded",
            false,
        );
        check(
            422,
            "configmaps \"bad\" is forbidden: ValidatingAdmissionPolicy 'no-bad' with binding 'b' denied request: no",
            "AdmissionDenied",
            false,
        );
        check(403, "admission webhook \"x.example.com\" denied the request: no", "AdmissionDenied", false);
        check(400, "admission webhook \"x.example.com\" denied the request: no", "AdmissionDenied", false);
        check(
            500,
            "Internal error occurred: failed calling webhook \"x\": failed to call webhook: Post \"https://x\": refused",
            "AdmissionDenied",
            true,
        );
        check(
            403,
            "pods \"x\" is forbidden: error looking up service account q/default: serviceaccount \"default\" not found",
            "AdmissionDenied",
            true,
        );
        check(403, "pods \"x\" is forbidden: violates PodSecurity \"restricted:latest\": privileged", "AdmissionDenied", false);
        check(
            500,
            "failed to create typed patch object (/d; apps/v1, Kind=Deployment): .spec.x: field not declared in schema",
            "Invalid",
            false,
        );
        check(500, "etcdserver: request timed out", "ApiServerAway", true);
        check(413, "Request entity too large: limit is 3145728", "TooLarge", false);
        check(429, "", "ApiServerAway", true);
        check(409, "the object has been modified", "Conflict", true);
        check(410, "too old resource version", "Expired", true);
        check(418, "teapot", "Refused", false);
    }

    #[test]
    fn a_body_that_fits_no_schema_names_its_fields() {
        let message = "failed to create typed patch object (/d; apps/v1, Kind=Deployment): errors:\n  .spec.replicas: expected numeric (int or float), got string\n  .spec.wrong: field not declared in schema";
        assert_eq!(
            read(500, json!({"message": message})).to_string(),
            "not valid: spec.replicas: expected numeric (int or float), got string; spec.wrong: field not declared in schema"
        );
    }

    #[test]
    fn a_namespace_that_is_missing_or_going_is_named() {
        let missing = read(404, json!({"message": "namespaces \"nope\" not found", "details": {"name": "nope", "kind": "namespaces"}}));
        assert_eq!(missing, Refusal::NamespaceMissing { namespace: "nope".into() });
        let going = read(
            403,
            json!({"message": "configmaps \"c\" is forbidden: unable to create new content in namespace q because it is being terminated",
                   "details": {"causes": [{"reason": "NamespaceTerminating", "message": "x", "field": "metadata.namespace"}]}}),
        );
        assert_eq!(going, Refusal::NamespaceTerminating { namespace: "q".into() });
    }

    #[test]
    fn an_answer_that_is_no_status_is_shown_cut() {
        let refusal = Refusal::read(403, "<html>blocked by a proxy ü".repeat(500).as_bytes());
        assert!(refusal.to_string().chars().count() < 400, "{refusal}");
        assert_eq!(Refusal::read(503, b"").to_string(), "the API server is away: HTTP 503; tried again");
    }
}
