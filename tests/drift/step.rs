//! What somebody does to an object: the request that a tool sends, with its field manager, content type and subresource.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use harness::{Answer, Cluster, Result, Trouble, documents, until};
use http::Method;
use serde_json::{Value, json};

use super::page::Case;
use super::projection::{self, OURS};

/// A policy or a schema takes effect some seconds after it was written.
const EFFECT: Duration = Duration::from_secs(30);
/// How often a read-modify-PUT is tried again when somebody else has written in between.
const TRIES: usize = 8;

/// The labels by which the agent knows what is its own.
pub(crate) const PART_OF: &str = "applyset.kubernetes.io/part-of";
pub(crate) const APP: &str = "plimsoll.dev/app";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    /// The three patches.
    Strategic,
    Merge,
    Json,
    /// Server-side apply of the body.
    Apply,
    /// PUT of the object as it is, with the body merged into it.
    Put,
    Delete,
    /// Applies objects as the administrator.
    Cluster,
    /// Waits until an object is as the body says.
    See,
    /// Changes the spec of the Sync.
    Sync,
}

/// `MANAGER: VERB [Git's] [APIVERSION] KIND NAME[/SUBRESOURCE] [FLAGS]`, and a body. Flags:
///
/// - `with force`: of an apply
/// - `with managedFields as applied`: a PUT writes them back as they were before the first step
/// - `is refused`: it must be
/// - `until refused`: nothing is changed; it is only asked for (dry run) until it is refused
/// - `once PATH is VALUE`: before it is done, it is asked for (dry run) until the answer is so
/// - `until fighting`: again whenever it was healed, until a fight is told
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) manager: String,
    pub(crate) verb: Verb,
    /// The body is merged into what Git holds, instead of standing alone or being merged into what there is.
    pub(crate) of_git: bool,
    pub(crate) api_version: String,
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) subresource: String,
    pub(crate) force: bool,
    pub(crate) entries_as_applied: bool,
    pub(crate) refused: bool,
    pub(crate) until_refused: bool,
    pub(crate) until_fighting: bool,
    pub(crate) once: Option<(String, String)>,
    pub(crate) bodies: Vec<Value>,
}

impl Step {
    /// Reads a step; `api_version` knows that of a kind where the step does not say it.
    pub(crate) fn read(info: &str, text: &str, api_version: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let (manager, rest) = info.split_once(": ").ok_or_else(|| Trouble::new("this is neither a known fence nor a step"))?;
        let (rest, once) = match rest.split_once(" once ") {
            Some((rest, condition)) => (rest, Some(condition.split_once(" is ").ok_or_else(|| Trouble::new("once PATH is VALUE"))?)),
            None => (rest, None),
        };
        let mut rest = rest.to_owned();
        let mut flag = |words: &str| {
            let found = rest.ends_with(words);
            rest.truncate(if found { rest.len() - words.len() } else { rest.len() });
            found
        };
        // From the last to the first, as they may be combined.
        let (until_fighting, until_refused, refused) = (flag(" until fighting"), flag(" until refused"), flag(" is refused"));
        let (entries_as_applied, force) = (flag(" with managedFields as applied"), flag(" with force"));
        let mut words = rest.split(' ').peekable();
        let verb = verb(words.next().unwrap_or_default())?;
        let of_git = words.next_if_eq(&"Git's").is_some();
        let version = words.next_if(|word| word.starts_with(|first: char| first.is_ascii_lowercase())).map(str::to_owned);
        let kind = words.next().unwrap_or_default().to_owned();
        let (name, subresource) = words.next().map_or(("", ""), |target| target.split_once('/').unwrap_or((target, "")));
        if let Some(word) = words.next() {
            return Err(Trouble::new(format!("`{word}` is not understood")));
        }
        Ok(Self {
            manager: manager.to_owned(),
            verb,
            of_git,
            api_version: version.or_else(|| api_version(&kind)).unwrap_or_default(),
            name: name.to_owned(),
            subresource: subresource.to_owned(),
            force,
            entries_as_applied,
            refused,
            until_refused,
            until_fighting,
            once: once.map(|(path, value)| (path.to_owned(), value.to_owned())),
            bodies: documents(text)?,
            kind,
        })
    }

    fn body(&self) -> Value {
        self.bodies.first().cloned().unwrap_or_else(|| json!({}))
    }

    /// Does it; `before` holds the objects as they were applied.
    pub(crate) async fn carry_out(&self, cluster: &Cluster, case: &Case, before: &Objects) -> Result {
        match self.verb {
            Verb::Cluster => prepare(cluster, &self.bodies).await,
            Verb::See => self.see(cluster, case).await,
            Verb::Sync => Ok(()),
            _ if self.until_refused => {
                let ask = async || match self.send(cluster, case, before, true).await? {
                    Err((400..500, _)) => Ok(()),
                    answer => Err(Trouble::new(format!("{answer:?}"))),
                };
                until(&format!("{self} to be refused"), EFFECT, ask).await
            }
            _ => {
                self.await_effect(cluster, case, before).await?;
                match (self.send(cluster, case, before, false).await?, self.refused) {
                    (Ok(_), false) | (Err((400..500, _)), true) => Ok(()),
                    (answer, _) => Err(Trouble::new(format!("{self}: {answer:?}"))),
                }
            }
        }
    }

    async fn await_effect(&self, cluster: &Cluster, case: &Case, before: &Objects) -> Result {
        let Some((path, value)) = &self.once else { return Ok(()) };
        let ask = async || match self.send(cluster, case, before, true).await? {
            Ok(answer) if projection::at(&answer, path).is_some_and(|found| projection::text(found) == *value) => Ok(()),
            answer => Err(Trouble::new(format!("{answer:?}"))),
        };
        until(&format!("{self} to answer with {path}: {value}"), EFFECT, ask).await
    }

    async fn see(&self, cluster: &Cluster, case: &Case) -> Result {
        let path = cluster.path(&self.api_version, &self.kind, &case.namespace, &self.name).await?;
        until(&format!("{self} {}", self.body()), EFFECT, async || {
            let seen = read(cluster, &path).await?.ok_or_else(|| Trouble::new("it is not there"))?;
            projection::holds(&seen, &self.body())
        })
        .await
    }

    /// Sends it once; a PUT that meets a conflict is made again from what there is now.
    async fn send(&self, cluster: &Cluster, case: &Case, before: &Objects, dry: bool) -> Result<Answer> {
        let path = cluster.path(&self.api_version, &self.kind, &case.namespace, &self.name).await?;
        let path = if self.subresource.is_empty() { path } else { format!("{path}/{}", self.subresource) };
        let (force, dry_run) = (if self.force { "&force=true" } else { "" }, if dry { "&dryRun=All" } else { "" });
        let uri = format!("{path}?fieldManager={}{force}{dry_run}", self.manager);
        let (method, content_type) = self.method();
        let mut tries = 0;
        loop {
            let body = match self.verb {
                Verb::Put => self.whole(cluster, case, before, &path).await?,
                Verb::Apply => self.manifest(case, before)?,
                Verb::Delete => Value::Null,
                _ => self.body(),
            };
            let answer = cluster.send(method.clone(), &uri, content_type, &body).await?;
            tries += 1;
            if self.verb != Verb::Put || tries == TRIES || !matches!(answer, Err((409, _))) {
                return Ok(answer);
            }
        }
    }

    fn method(&self) -> (Method, &'static str) {
        match self.verb {
            Verb::Strategic => (Method::PATCH, "application/strategic-merge-patch+json"),
            Verb::Merge => (Method::PATCH, "application/merge-patch+json"),
            Verb::Json => (Method::PATCH, "application/json-patch+json"),
            Verb::Apply => (Method::PATCH, "application/apply-patch+yaml"),
            Verb::Delete => (Method::DELETE, "application/json"),
            _ => (Method::PUT, "application/json"),
        }
    }

    /// What is applied: the body, which needs not say again whose it is.
    fn manifest(&self, case: &Case, before: &Objects) -> Result<Value> {
        let base = if self.of_git { self.git(case, before)? } else { json!({"metadata": {"name": self.name}}) };
        let named = if self.subresource.is_empty() { json!({"apiVersion": self.api_version, "kind": self.kind}) } else { json!({}) };
        Ok(merged(merged(base, &named), &self.body()))
    }

    /// What Git holds of the object. Who writes under our name, or writes all of it, keeps our marks: without them it is no longer ours.
    fn git(&self, case: &Case, before: &Objects) -> Result<Value> {
        let git = case.of_git(&self.kind, &self.name)?.clone();
        if self.verb == Verb::Apply && self.manager != OURS {
            return Ok(git);
        }
        let labels = &self.applied(before)?["metadata"]["labels"];
        Ok(merged(git, &json!({"metadata": {"labels": {PART_OF: labels[PART_OF], APP: labels[APP]}}})))
    }

    fn applied<'a>(&self, before: &'a Objects) -> Result<&'a Value> {
        before.get(&(self.kind.clone(), self.name.clone())).ok_or_else(|| Trouble::new(format!("{self}: it was not applied")))
    }

    /// What is PUT: all of the object.
    async fn whole(&self, cluster: &Cluster, case: &Case, before: &Objects, path: &str) -> Result<Value> {
        let base = if self.of_git {
            self.git(case, before)?
        } else {
            read(cluster, path).await?.ok_or_else(|| Trouble::new(format!("{self}: it is not there")))?
        };
        let mut whole = merged(base, &self.body());
        if self.entries_as_applied {
            whole["metadata"]["managedFields"] = self.applied(before)?["metadata"]["managedFields"].clone();
        }
        Ok(whole)
    }
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {:?} {} {}", self.manager, self.verb, self.kind, self.name)
    }
}

/// Objects of a case by kind and name.
pub(crate) type Objects = BTreeMap<(String, String), Value>;

fn verb(word: &str) -> Result<Verb> {
    Ok(match word {
        "strategic" => Verb::Strategic,
        "merge" => Verb::Merge,
        "json" => Verb::Json,
        "apply" => Verb::Apply,
        "put" => Verb::Put,
        "delete" => Verb::Delete,
        "cluster" => Verb::Cluster,
        "see" => Verb::See,
        "sync" => Verb::Sync,
        word => return Err(Trouble::new(format!("`{word}` is no verb"))),
    })
}

/// Applies objects as the administrator, and waits until a kind that was defined is served.
pub(crate) async fn prepare(cluster: &Cluster, objects: &[Value]) -> Result {
    // What all cases of a page need is made once.
    static MADE: tokio::sync::Mutex<BTreeSet<String>> = tokio::sync::Mutex::const_new(BTreeSet::new());
    for object in objects {
        let mut made = MADE.lock().await;
        if !made.insert(object.to_string()) {
            continue;
        }
        cluster.apply_object(object).await?;
        if object["kind"] == "CustomResourceDefinition" {
            let crd = ("apiextensions.k8s.io/v1", "CustomResourceDefinition", "", object["metadata"]["name"].as_str().unwrap_or_default());
            let established = |crd: &Value| crd["status"]["conditions"].to_string().contains(r#""status":"True","type":"Established""#);
            cluster.until(EFFECT, crd, "to be established", established).await?;
            await_served(cluster, object).await?;
        }
    }
    Ok(())
}

/// What is established is served a little later.
async fn await_served(cluster: &Cluster, definition: &Value) -> Result {
    let text = |value: &Value| value.as_str().map(str::to_owned).unwrap_or_default();
    let (group, kind) = (text(&definition["spec"]["group"]), text(&definition["spec"]["names"]["kind"]));
    for version in definition["spec"]["versions"].as_array().into_iter().flatten() {
        let api_version = format!("{group}/{}", text(&version["name"]));
        until(&format!("{api_version} {kind} to be served"), EFFECT, async || cluster.list(&api_version, &kind, "").await).await?;
    }
    Ok(())
}

/// Reads an object by its path; none if there is none.
pub(crate) async fn read(cluster: &Cluster, path: &str) -> Result<Option<Value>> {
    match cluster.send(Method::GET, path, "application/json", &Value::Null).await? {
        Ok(object) => Ok(Some(object)),
        Err((404, _)) => Ok(None),
        Err((code, why)) => Err(Trouble::new(format!("{path}: {code} {why}"))),
    }
}

/// A merge patch (RFC 7386).
pub(crate) fn merged(base: Value, patch: &Value) -> Value {
    let Value::Object(patch) = patch else { return patch.clone() };
    let mut base = if let Value::Object(base) = base { base } else { serde_json::Map::new() };
    for (key, value) in patch {
        if value.is_null() {
            base.remove(key);
        } else {
            let under = base.remove(key).unwrap_or_default();
            base.insert(key.clone(), merged(under, value));
        }
    }
    Value::Object(base)
}
