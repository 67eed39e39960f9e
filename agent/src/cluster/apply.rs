//! Applies one object: server-side apply, first politely, then by force with the conflict told; replaced only where that is allowed.
//! It decides neither what to apply nor in which order.

use std::fmt;
use std::time::Duration;

use http::Method;
use jiff::Timestamp;
use overlays::object::ObjectId;
use serde_json::Value;

use super::Cluster;
use super::body::without_secrets;
use super::delete::{Deletion, Propagation};
use super::discovery::{Resource, parse};
use super::refusal::{Conflict, Fault, Refusal};
use super::wire::{APPLY, Answer, Call, JSON_PATCH};
use crate::api::{FIELD_MANAGER, HEAL_MANAGER};

/// The API server's own limit of a request.
const MOST_BODY: usize = 3 << 20;
/// How often an apply is tried again when somebody wrote in between.
const RACES: usize = 3;

/// How an object is applied.
#[derive(Clone, Debug, Default)]
pub struct Applying<'a> {
    /// Delete and make anew when an immutable field differs.
    pub replace: bool,
    /// The id of our ApplySet: only an object that bears it is ever deleted.
    pub applyset: &'a str,
    /// The resourceVersion at which the object was last seen, if it was.
    pub known: Option<&'a str>,
    /// Take over what others hold without asking first whose it is: who that was is known already.
    pub force: bool,
    /// Write only to this very state of the object; if it is another by now, that is a [`Refusal::Conflict`] without owners.
    pub only: Option<u64>,
    /// Take nothing over: a field that others hold with another value is a [`Refusal::Conflict`] that names them.
    pub politely: bool,
}

/// What an apply did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The object is new.
    Created,
    /// The object is not as it was.
    Configured,
    /// Nothing was written.
    Unchanged,
    /// The object was deleted and made anew.
    Replaced,
}

/// An object that was applied.
#[derive(Clone)]
pub struct Applied {
    /// What that did.
    pub change: Change,
    /// Names this very object.
    pub uid: String,
    /// Names this state of it. The watch event with it may come before the answer that this was read from.
    pub resource_version: String,
    /// The object as it is now, with what the server added.
    pub live: Value,
    /// What was taken from other field managers.
    pub conflicts: Vec<Conflict>,
}

impl fmt::Debug for Applied {
    /// Without the object, which may be a Secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { change, uid, resource_version, live: _, conflicts } = self;
        f.debug_struct("Applied")
            .field("change", change)
            .field("uid", uid)
            .field("resource_version", resource_version)
            .field("conflicts", conflicts)
            .finish_non_exhaustive()
    }
}

impl Cluster {
    /// Applies `body`, as made by [`super::body::body`].
    ///
    /// Safe to repeat: an apply that was cut off is simply done again.
    ///
    /// # Errors
    /// Whatever the server refuses; [`Refusal::Immutable`] unless `applying.replace`.
    pub async fn apply(&self, resource: &Resource, body: &Value, applying: &Applying<'_>) -> Result<Applied, Refusal> {
        let id = id_of(resource, body)?;
        let applied = match self.forced(resource, &id, body, applying).await {
            Err(Refusal::Immutable { fields }) if applying.replace => self.replace(resource, &id, body, applying, fields).await,
            applied => applied,
        };
        match applied {
            Ok(applied) => Ok(applied),
            Err(refusal) => Err(self.explained(resource, refusal).reworded(|words| without_secrets(words, body))),
        }
    }

    /// First without force, so that the server names whose fields we would take; then with.
    async fn forced(&self, resource: &Resource, id: &ObjectId, body: &Value, applying: &Applying<'_>) -> Result<Applied, Refusal> {
        let mut conflicts = Vec::new();
        if let Some(version) = applying.only {
            let mut body = body.clone();
            body["metadata"]["resourceVersion"] = version.to_string().into();
            return applied(&self.patch(resource, id, &body, true).await?, applying.known, conflicts);
        }
        for _ in 0..RACES {
            match self.patch(resource, id, body, applying.force || !conflicts.is_empty()).await {
                Err(refusal @ Refusal::Conflict { .. }) if applying.politely => return Err(refusal),
                Ok(answer) => return applied(&answer, applying.known, conflicts),
                Err(Refusal::Conflict { owners, .. }) if conflicts.is_empty() => conflicts = owners,
                Err(Refusal::Conflict { owners, .. }) if owners.is_empty() => {}
                Err(refusal) => return Err(refusal),
            }
        }
        Err(Refusal::Conflict { owners: Vec::new(), message: format!("{RACES} times in a row") })
    }

    /// What an apply by force would make of the object; nothing is written.
    ///
    /// # Errors
    /// Whatever the server refuses.
    pub async fn dry_run(&self, resource: &Resource, body: &Value) -> Result<Value, Refusal> {
        let id = id_of(resource, body)?;
        let path = format!("{}?fieldManager={FIELD_MANAGER}&force=true&dryRun=All", resource.object(&id.namespace, &id.name));
        let answer = self.wire.call(&Call::new(Method::PATCH, path).body(APPLY, body)?).await;
        answer.and_then(|answer| parse(&answer.body)).map_err(|refusal| refusal.reworded(|words| without_secrets(words, body)))
    }

    /// The object as it is; `None` if there is none.
    ///
    /// # Errors
    /// Whatever the server refuses.
    pub async fn get(&self, resource: &Resource, id: &ObjectId) -> Result<Option<Value>, Refusal> {
        match self.wire.call(&Call::get(resource.object(&id.namespace, &id.name))).await {
            Ok(answer) => parse(&answer.body).map(Some),
            Err(Refusal::NotFound { .. }) => Ok(None),
            Err(refusal) => Err(refusal),
        }
    }

    /// Changes single places of an object that an apply can't put right. The patch tests the resourceVersion, so it changes what was seen or nothing.
    ///
    /// # Errors
    /// [`Refusal::Invalid`] if the object is no longer what was seen; whatever else the server refuses.
    pub async fn repair(&self, resource: &Resource, id: &ObjectId, patch: &impl serde::Serialize) -> Result<Value, Refusal> {
        let path = format!("{}?fieldManager={HEAL_MANAGER}", resource.object(&id.namespace, &id.name));
        let answer = self.wire.call(&Call::new(Method::PATCH, path).body(JSON_PATCH, patch)?).await?;
        parse(&answer.body)
    }

    async fn patch(&self, resource: &Resource, id: &ObjectId, body: &Value, force: bool) -> Result<Answer, Refusal> {
        let path = format!("{}?fieldManager={FIELD_MANAGER}&force={force}", resource.object(&id.namespace, &id.name));
        let call = Call::new(Method::PATCH, path).body(APPLY, body)?;
        if call.size() > MOST_BODY {
            return Err(Refusal::TooLarge { message: format!("{} bytes, of at most {MOST_BODY}", call.size()) });
        }
        self.wire.call(&call).await
    }

    /// Deletes the object and makes it anew. A cut in between leaves it missing, which the next apply puts right.
    async fn replace(
        &self,
        resource: &Resource,
        id: &ObjectId,
        body: &Value,
        applying: &Applying<'_>,
        fields: Vec<Fault>,
    ) -> Result<Applied, Refusal> {
        tracing::info!(object = %id, why = %fields.first().map(Fault::to_string).unwrap_or_default(), "deleted to be made anew");
        let deletion = Deletion { resource, id, uid: None, applyset: applying.applyset, propagation: propagation(resource) };
        self.delete_and_wait(&deletion, deadline(resource)).await?;
        let applied = self.forced(resource, id, body, &Applying { known: None, only: None, ..applying.clone() }).await?;
        Ok(Applied { change: Change::Replaced, ..applied })
    }

    /// "No such resource" on an apply means that the kind is gone.
    fn explained(&self, resource: &Resource, refusal: Refusal) -> Refusal {
        match &refusal {
            Refusal::NotFound { message } if message.contains("the requested resource") || message.contains("page not found") => {}
            _ => return refusal,
        }
        self.discovery.forget(&resource.api_version());
        Refusal::NoKind { api_version: resource.api_version(), kind: resource.kind.clone() }
    }
}

fn id_of(resource: &Resource, body: &Value) -> Result<ObjectId, Refusal> {
    let text = |field: &str| body["metadata"][field].as_str().unwrap_or_default();
    if text("name").is_empty() || (resource.namespaced && text("namespace").is_empty()) {
        let fault = Fault { field: "metadata".to_owned(), message: "has no name, or no namespace".to_owned() };
        return Err(Refusal::Invalid { fields: vec![fault], message: String::new() });
    }
    Ok(resource.id(text("namespace"), text("name")))
}

/// Kinds that own others are waited for with all that they own: an old ReplicaSet or pod left behind would meet its successor.
fn propagation(resource: &Resource) -> Propagation {
    match resource.group.as_str() {
        "apps" | "batch" => Propagation::Foreground,
        _ => Propagation::Background,
    }
}

fn deadline(resource: &Resource) -> Duration {
    Duration::from_secs(if propagation(resource) == Propagation::Foreground { 90 } else { 30 })
}

fn applied(answer: &Answer, known: Option<&str>, conflicts: Vec<Conflict>) -> Result<Applied, Refusal> {
    let live: Value = parse(&answer.body)?;
    let text = |field: &str| live["metadata"][field].as_str().unwrap_or_default().to_owned();
    let (uid, resource_version) = (text("uid"), text("resourceVersion"));
    let written = Written { created: answer.code == 201, unmoved: known == Some(resource_version.as_str()), ours: our_last_write(&live) };
    let change = change(&written, answer.date, answer.took);
    Ok(Applied { change, uid, resource_version, live, conflicts })
}

/// What an answer tells of whether something was written.
struct Written {
    created: bool,
    /// The resourceVersion is the one that was known before.
    unmoved: bool,
    /// The time in our entry of the managed fields: the server sets it when an apply of ours changes something, and only then.
    ours: Option<Timestamp>,
}

/// Whether an apply changed the object, without having read it before.
///
/// The resourceVersion alone can't tell: others write, too. Our entry's time can, by the server's own clock: a request that took t and was
/// answered at d began at d - t, so an older entry was not written by it. Both times are cut to the second, so a write of ours in the
/// second or two before is taken for a change again: a change is never called none.
fn change(written: &Written, answered: Option<Timestamp>, took: Duration) -> Change {
    if written.created {
        return Change::Created;
    }
    if written.unmoved {
        return Change::Unchanged;
    }
    let (Some(ours), Some(answered)) = (written.ours, answered) else { return Change::Configured };
    let began = answered.as_second() - i64::try_from(took.as_secs()).unwrap_or(i64::MAX / 2) - 1;
    if ours.as_second() < began { Change::Unchanged } else { Change::Configured }
}

fn our_last_write(live: &Value) -> Option<Timestamp> {
    let entries = live["metadata"]["managedFields"].as_array()?;
    let ours = |entry: &&Value| entry["manager"] == FIELD_MANAGER && entry["operation"] == "Apply" && entry.get("subresource").is_none();
    entries.iter().find(ours)?["time"].as_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn at(second: i64) -> Option<Timestamp> {
        Some(Timestamp::from_second(second).unwrap())
    }

    #[test]
    fn an_entry_that_is_older_than_the_request_was_not_written_by_it() {
        let check = |created, unmoved, ours, answered, took, expected| {
            let written = Written { created, unmoved, ours };
            assert_eq!(change(&written, answered, Duration::from_millis(took)), expected);
        };
        check(true, false, at(100), at(100), 5, Change::Created);
        check(false, true, at(100), at(100), 5, Change::Unchanged);
        check(false, false, at(100), at(100), 5, Change::Configured);
        check(false, false, at(99), at(100), 5, Change::Configured);
        check(false, false, at(90), at(100), 5, Change::Unchanged);
        check(false, false, at(90), at(100), 20_000, Change::Configured);
        check(false, false, None, at(100), 5, Change::Configured);
        check(false, false, at(90), None, 5, Change::Configured);
    }

    #[test]
    fn only_our_own_applies_tell_when_we_wrote() {
        let entry = |manager: &str, operation: &str, subresource: Option<&str>| {
            let mut entry = json!({"manager": manager, "operation": operation, "time": "2026-01-01T00:00:00Z"});
            if let Some(subresource) = subresource {
                entry["subresource"] = subresource.into();
            }
            our_last_write(&json!({"metadata": {"managedFields": [entry]}})).is_some()
        };
        assert!(entry("plimsoll", "Apply", None));
        assert!(!entry("plimsoll", "Update", None) && !entry("plimsoll", "Apply", Some("scale")) && !entry("other", "Apply", None));
        assert_eq!(our_last_write(&json!({})), None);
    }
}
