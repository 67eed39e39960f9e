//! Checks a page against an API server alone: a step changes what the page says, the API server knows whom the page names, and what Git holds
//! comes back, or does not, by an apply as the page says. So a page is known to be right before an agent meets it.

use std::collections::BTreeSet;
use std::time::Duration;

use harness::{Cluster, Result, Trouble, until};
use http::Method;
use serde_json::{Value, json};

use super::page::{Apply, Case, Part};
use super::projection::{self, OURS};
use super::step::{self, APP, Objects, PART_OF, Step};
use super::told::{self, DELETED, FIGHTING, HEALED, Told};

/// How often a fight is fought here: more than an agent takes calmly is for the agent's own page.
const ROUNDS: usize = 3;
/// A policy that was taken away is gone some seconds later.
const SOON: Duration = Duration::from_secs(15);

pub(crate) async fn check(cluster: &Cluster, case: &Case) -> Result {
    prepare(cluster, case).await?;
    all_applied(apply(cluster, case, &case.git).await?)?;
    let mut before = objects(cluster, case).await?;
    let mut told_before: Vec<Told> = Vec::new();
    for part in &case.script {
        match part {
            Part::Step(step) => carry_out(cluster, case, step, &before).await?,
            Part::Told(told) => {
                if !case.left {
                    differences(&before, &objects(cluster, case).await?, told, &told_before)?;
                }
                told_before.extend(told.iter().cloned());
                if !case.left && told.iter().all(|line| [HEALED, FIGHTING].contains(&line.state.as_str())) {
                    heal(cluster, case, &before).await?;
                    // A deleted object has another uid from now on.
                    before = objects(cluster, case).await?;
                }
            }
            // What an apply alone can't heal is as it was left: how it ends is for an agent to show.
            Part::Git(_) | Part::End(_) if case.apply != Apply::Heals => {}
            Part::Git(objects) => all_applied(apply(cluster, case, objects).await?)?,
            Part::End(parts) => end(cluster, case, parts).await?,
        }
    }
    Ok(())
}

/// What is in the cluster before Git's objects are.
pub(crate) async fn prepare(cluster: &Cluster, case: &Case) -> Result {
    let namespace = format!("{{apiVersion: v1, kind: Namespace, metadata: {{name: {}}}}}", case.namespace);
    cluster.apply(&namespace).await?;
    step::prepare(cluster, &case.cluster).await?;
    let policed = case.cluster.iter().any(|object| object["kind"] == "MutatingAdmissionPolicyBinding");
    if policed { until("a policy to take effect", SOON, async || policed_by_now(cluster, case).await).await } else { Ok(()) }
}

/// Asks (dry run) what an apply of Git's first object would make of it: a policy that is there from the beginning marks what it changes.
async fn policed_by_now(cluster: &Cluster, case: &Case) -> Result {
    let Some(object) = case.git.first() else { return Ok(()) };
    let uri = format!("{}?fieldManager={OURS}&force=true&dryRun=All", path(cluster, case, object).await?);
    match cluster.send(Method::PATCH, &uri, "application/apply-patch+yaml", &as_applied(case, object)).await? {
        Ok(answer) if !answer["metadata"]["annotations"]["policed"].is_null() => Ok(()),
        answer => Err(Trouble::new(format!("{answer:?}"))),
    }
}

async fn carry_out(cluster: &Cluster, case: &Case, step: &Step, before: &Objects) -> Result {
    for _ in 0..if step.until_fighting { ROUNDS } else { 0 } {
        step.carry_out(cluster, case, before).await?;
        heal(cluster, case, before).await?;
    }
    step.carry_out(cluster, case, before).await
}

fn all_applied(answers: Vec<harness::Answer>) -> Result {
    let refused = answers.into_iter().find_map(harness::Answer::err);
    refused.map_or(Ok(()), |(code, why)| Err(Trouble::new(format!("Git's own: {code} {why}"))))
}

/// Applies what Git holds, as the agent does.
async fn apply(cluster: &Cluster, case: &Case, objects: &[Value]) -> Result<Vec<harness::Answer>> {
    let mut answers = Vec::new();
    for object in objects {
        let (path, body) = (path(cluster, case, object).await?, as_applied(case, object));
        let uri = format!("{path}?fieldManager={OURS}&force=true");
        let answer = cluster.send(Method::PATCH, &uri, "application/apply-patch+yaml", &body).await?;
        if let Ok(live) = &answer {
            drop_first(cluster, &path, live).await?;
        }
        answers.push(answer);
    }
    Ok(answers)
}

/// Where the managed fields had been emptied, an apply makes an entry that holds everything for ever: it has to be taken off.
async fn drop_first(cluster: &Cluster, path: &str, live: &Value) -> Result {
    let entries = live["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    let Some(place) = entries.iter().position(|entry| entry["manager"] == projection::BEFORE_FIRST_APPLY) else { return Ok(()) };
    let patch = json!([{"op": "remove", "path": format!("/metadata/managedFields/{place}")}]);
    let answer = cluster.send(Method::PATCH, path, "application/json-patch+json", &patch).await?;
    answer.map(drop).map_err(|(code, why)| Trouble::new(format!("{code} {why}")))
}

pub(crate) async fn path(cluster: &Cluster, case: &Case, object: &Value) -> Result<String> {
    let text = |value: &Value| value.as_str().map(str::to_owned).unwrap_or_default();
    let name = text(&object["metadata"]["name"]);
    cluster.path(&text(&object["apiVersion"]), &text(&object["kind"]), &case.namespace, &name).await
}

/// What the agent makes of an object before it applies it: marks it, encodes the text of a Secret, and leaves
/// out the rules of an aggregated role.
fn as_applied(case: &Case, object: &Value) -> Value {
    use base64::Engine;
    let mut body = step::merged(object.clone(), &json!({"metadata": {"labels": {PART_OF: "applyset-pages-v1", APP: case.namespace}}}));
    let Some(root) = body.as_object_mut() else { return body };
    if root.contains_key("aggregationRule") {
        root.remove("rules");
    }
    if let Some(Value::Object(texts)) = root.remove("stringData") {
        let encode = |value: &Value| Value::from(base64::engine::general_purpose::STANDARD.encode(value.as_str().unwrap_or_default()));
        root.insert("data".to_owned(), texts.iter().map(|(key, value)| (key.clone(), encode(value))).collect());
    }
    body
}

/// What Git's objects are now; what is gone is left out.
pub(crate) async fn objects(cluster: &Cluster, case: &Case) -> Result<Objects> {
    let mut objects = Objects::new();
    for object in &case.git {
        let text = |value: &Value| value.as_str().map(str::to_owned).unwrap_or_default();
        if let Some(live) = step::read(cluster, &path(cluster, case, object).await?).await? {
            objects.insert((text(&object["kind"]), text(&object["metadata"]["name"])), live);
        }
    }
    Ok(objects)
}

/// Each changed value of ours is told, each told one has changed as told, and the API server has it of whom the page names. What was told before
/// may be told again with another end.
fn differences(before: &Objects, after: &Objects, told: &[Told], told_before: &[Told]) -> Result {
    let mut wrong = Vec::new();
    for ((kind, name), before) in before {
        let told: Vec<&Told> = told.iter().filter(|line| line.kind == *kind && line.name == *name).collect();
        match after.get(&(kind.clone(), name.clone())) {
            Some(after) => wrong.extend(difference(before, after, &told, told_before)),
            None if told.iter().any(|line| line.path == DELETED) => {}
            None => wrong.push(format!("{kind} {name} is gone")),
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(Trouble::new(format!("{}\ntold:\n{}", wrong.join("\n"), told::lines(told)))) }
}

fn difference(before: &Value, after: &Value, told: &[&Told], told_before: &[Told]) -> Vec<String> {
    let changed = projection::changed(before, after);
    let untold = changed.iter().filter(|path| !told.iter().any(|line| projection::is_related(path, &line.path)));
    let mut wrong: Vec<String> =
        untold.map(|path| format!("{path} changed, and it is not told; held by {:?}", projection::holders(after, path))).collect();
    for line in told.iter().filter(|line| !told_before.iter().any(|before| before.is_about(line))) {
        if line.path == DELETED {
            if before["metadata"]["uid"] == after["metadata"]["uid"] {
                wrong.push(format!("{line}: it is the same object"));
            }
            continue;
        }
        wrong.extend(untrue(before, after, line, &changed).map(|why| format!("{line}: {why}")));
    }
    wrong
}

/// Why a line is not true; none if it is.
fn untrue(before: &Value, after: &Value, line: &Told, changed: &BTreeSet<String>) -> Option<String> {
    let related: Vec<&String> = changed.iter().filter(|path| projection::is_related(path, &line.path)).collect();
    // What another adds is none of our paths where a new schema makes one value of a map.
    if related.is_empty() && line.was.is_some() {
        return Some(format!("this did not change; changed: {changed:?}"));
    }
    let gone = BTreeSet::from([told::UNKNOWN.to_owned()]);
    let holders = if line.is.is_none() { gone } else { projection::holders(after, &line.path) };
    if !holders.contains(&line.by) {
        return Some(format!("it is held by {holders:?}"));
    }
    let order = related.iter().any(|path| **path == format!("{}{}", line.path, projection::ORDER));
    if order || before["kind"] == "Secret" || projection::is_double(after, &line.path) {
        return None;
    }
    let (was, is) = (projection::at(before, &line.path).map(projection::text), projection::at(after, &line.path).map(projection::text));
    let same = |told: &Option<String>, found: &Option<String>| match (told.as_deref().and_then(|told| told.strip_suffix('…')), found) {
        (Some(start), Some(found)) => found.starts_with(start),
        _ => told == found,
    };
    (!same(&line.was, &was) || !same(&line.is, &is)).then(|| format!("it was {was:?} and is {is:?}"))
}

/// An apply of what Git holds does what the page says that it does; where a policy has just gone, not at once.
async fn heal(cluster: &Cluster, case: &Case, before: &Objects) -> Result {
    until("an apply to do what the page says", SOON, async || {
        let answers = apply(cluster, case, &case.git).await?;
        let refused: Vec<&(u16, String)> = answers.iter().filter_map(|answer| answer.as_ref().err()).collect();
        let restored = are_restored(before, &objects(cluster, case).await?);
        match case.apply {
            Apply::IsRefused if refused.is_empty() => Err(Trouble::new("the page says that an apply is refused, and it is not")),
            Apply::ChangesNothing if restored.is_ok() => Err(Trouble::new("the page says that an apply changes nothing, and it heals")),
            Apply::IsRefused | Apply::ChangesNothing => Ok(()),
            Apply::Heals if !refused.is_empty() => Err(Trouble::new(format!("an apply is refused: {refused:?}"))),
            Apply::Heals => restored,
        }
    })
    .await
}

pub(crate) fn are_restored(before: &Objects, now: &Objects) -> Result {
    for ((kind, name), before) in before {
        let now = now.get(&(kind.clone(), name.clone())).ok_or_else(|| Trouble::new(format!("{kind} {name} is gone")))?;
        projection::is_restored(before, now).map_err(|error| error.while_doing(format!("{kind} {name}")))?;
    }
    Ok(())
}

/// Objects are as the page says in the end.
pub(crate) async fn end(cluster: &Cluster, case: &Case, parts: &[Value]) -> Result {
    for part in parts {
        let named = part["kind"].as_str().unwrap_or_default();
        let live = step::read(cluster, &path(cluster, case, part).await?).await?;
        let live = live.ok_or_else(|| Trouble::new(format!("{named} is not there")))?;
        projection::holds(&live, part).map_err(|error| error.while_doing(named))?;
    }
    Ok(())
}
