//! Runs pages against an agent: what is done to an object is told as the page says, comes to the end that the page says, and nothing else is told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::{StreamExt, stream};
use harness::{Cluster, Result, Site, Trouble, World, ground, until};
use serde_json::Value;

use super::page::{Case, Page, Part};
use super::step::{Objects, Step, Verb};
use super::told::{self, FIGHTING, HEALED, Told};
use super::truth;

/// A heal takes some hundredths of a second; one that is put off, some seconds; a busy machine, some more.
const SOON: Duration = Duration::from_secs(30);
/// How long nothing must be told where nothing must be told.
const QUIET: Duration = Duration::from_secs(3);
/// How often it is looked for what was told.
const LOOK: Duration = Duration::from_millis(50);
/// All that was ever told of each app's objects: by the log, which forgets nothing, and by the status of the Sync.
#[derive(Default)]
struct Heard(Mutex<BTreeMap<String, BTreeSet<Told>>>);

impl Heard {
    fn hear(&self, sync: &Value, log: &str) {
        let mut heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_status = |entry: &Value| (entry["app"].as_str().unwrap_or_default().to_owned(), Told::of_status(entry));
        let entries = sync["status"]["drift"].as_array().into_iter().flatten().map(of_status);
        for (app, told) in entries.chain(log.lines().filter_map(Told::of_log)) {
            heard.entry(app).or_default().extend(told);
        }
    }

    fn of(&self, app: &str) -> BTreeSet<Told> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(app).cloned().unwrap_or_default()
    }
}

/// A Sync, all that it has told, and what becomes of some cases.
struct Run<'a> {
    world: &'a World,
    site: &'a Site,
    /// One push after the other.
    pushing: tokio::sync::Mutex<()>,
    heard: Heard,
    /// The cases' own objects as they were applied, by namespace.
    before: BTreeMap<&'a str, Objects>,
}

/// Runs cases with one Sync, an app each, and returns what is wrong, case by case.
pub(crate) async fn run(agent: &str, cases: &[&Case], at_once: usize) -> Result<Vec<String>> {
    let cluster = &ground().await?.cluster;
    let mut world = World::of(agent).file("plimsoll.yaml", "apiVersion: plimsoll.dev/v1alpha1\nkind: Fleet\napps: [{path: apps/*}]\n");
    let prepared: Vec<Result> = stream::iter(cases).map(|case| truth::prepare(cluster, case)).buffer_unordered(at_once).collect().await;
    prepared.into_iter().collect::<Result<()>>()?;
    for case in cases {
        for (path, text) in case.files(&case.git)? {
            world = world.file(&path, &text);
        }
    }
    let world = world.start().await?;
    let site = world.site();
    let applied = |sync: &Value| !sync["status"]["revision"]["applied"].is_null();
    let found = site.until_sync("to have applied all", applied).await;
    world.explained(found, &world.first).await?;
    let mut run = Run { world: &world, site, pushing: tokio::sync::Mutex::default(), heard: Heard::default(), before: BTreeMap::new() };
    let before =
        stream::iter(cases).map(|case| async move { Ok::<_, Trouble>((case.namespace.as_str(), truth::objects(cluster, case).await?)) });
    for applied in before.buffer_unordered(at_once).collect::<Vec<_>>().await {
        run.before.extend([applied?]);
    }
    let wrong = tokio::select! {
        listened = run.listen() => return listened.map(|()| Vec::new()),
        wrong = run.all(cases, at_once) => wrong?,
    };
    if wrong.is_empty() { Ok(wrong) } else { Ok([wrong, vec![site.agent().tail()]].concat()) }
}

impl Run<'_> {
    async fn listen(&self) -> Result {
        loop {
            self.heard.hear(&self.site.sync().await?, &self.site.agent().log());
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn all(&self, cases: &[&Case], at_once: usize) -> Result<Vec<String>> {
        let (away, here): (Vec<&Case>, Vec<&Case>) = cases.iter().partition(|case| case.away);
        if cases.iter().flat_map(|case| case.steps()).any(|step| step.verb == Verb::Sync) {
            // A Sync that is changed is begun anew.
            self.kept().await?;
        }
        let mut wrong = self.several(&here, 0, at_once).await;
        if !away.is_empty() {
            wrong.extend(self.while_away(&away, at_once).await?);
        }
        tokio::time::sleep(QUIET).await;
        let last = cases.iter().filter_map(|case| self.nothing_else(case).err().map(|error| words(case, &error)));
        wrong.extend(last);
        Ok(wrong)
    }

    async fn several(&self, cases: &[&Case], skip: usize, at_once: usize) -> Vec<String> {
        let runs = stream::iter(cases).map(|case| async move { self.case(case, skip).await.err().map(|error| words(case, &error)) });
        let runs: Vec<Option<String>> = runs.buffer_unordered(at_once).collect().await;
        runs.into_iter().flatten().collect()
    }

    /// The agent is stopped, all that is done until something must be told is done to all, and it is started again.
    async fn while_away(&self, cases: &[&Case], at_once: usize) -> Result<Vec<String>> {
        let agent = self.site.agent();
        self.kept().await?;
        agent.stop().await?;
        let mut wrong = Vec::new();
        for case in cases {
            for step in case.steps() {
                wrong.extend(self.step(case, step).await.err().map(|error| words(case, &error)));
            }
        }
        agent.restart().await?;
        for case in cases {
            // It may not have been told yet.
            let told = async || self.told(case, &case.script.iter().filter_map(Part::told).flatten().cloned().collect::<Vec<_>>());
            wrong.extend(until("it to be told", SOON, told).await.err().map(|error| words(case, &error)));
        }
        wrong.extend(self.several(cases, usize::MAX, at_once).await);
        Ok(wrong)
    }

    /// Waits until the agent has written down what it has applied: before that, another one can't know of all that has changed since.
    async fn kept(&self) -> Result {
        let kept = ("v1", "Secret", "plimsoll-baselines-fleet");
        self.site.until(kept, "to be kept", |kept| !kept["data"]["baselines"].is_null()).await.map(drop)
    }

    async fn case(&self, case: &Case, skip: usize) -> Result {
        for part in case.script.iter().skip(skip) {
            match part {
                Part::Step(step) => self.step(case, step).await?,
                Part::Told(told) => {
                    let heard = until("it to be told", SOON, async || self.told(case, told)).await;
                    let Err(trouble) = heard else { continue };
                    let state = self.restored(case).await.err().map_or_else(|| "as Git says".to_owned(), |error| error.to_string());
                    return Err(Trouble::new(format!("{trouble}\n  the object: {state}")));
                }
                Part::Git(objects) => self.push(case, objects).await?,
                Part::End(_) => {}
            }
        }
        until("the end", SOON, async || self.end(case).await).await
    }

    async fn push(&self, case: &Case, objects: &[Value]) -> Result {
        let _one = self.pushing.lock().await;
        for (path, text) in case.files(objects)? {
            self.world.repository.write(&path, text)?;
        }
        let commit = self.world.repository.push(&case.title)?;
        let applied = |sync: &Value| {
            let revision = &sync["status"]["revision"];
            revision["commit"] == *commit && !revision["applied"].is_null()
        };
        self.site.until_sync("to have applied what is new", applied).await.map(drop)
    }

    async fn step(&self, case: &Case, step: &Step) -> Result {
        let before = self.before.get(case.namespace.as_str()).ok_or_else(|| Trouble::new("it was not applied"))?;
        if step.verb == Verb::Sync {
            let patched = self.site.patch_sync(step.bodies.first().cloned().unwrap_or_default()).await?;
            let heeded = |sync: &Value| sync["status"]["observedGeneration"].as_i64() >= patched["metadata"]["generation"].as_i64();
            return self.site.until_sync("to be heeded", heeded).await.map(drop);
        }
        step.carry_out(self.cluster(), case, before).await?;
        while step.until_fighting && !self.heard.of(&case.namespace).iter().any(|line| line.state == FIGHTING) {
            until("it to be healed, or a fight to be told", SOON, async || self.restored(case).await).await?;
            step.carry_out(self.cluster(), case, before).await?;
        }
        Ok(())
    }

    fn cluster(&self) -> &Cluster {
        &self.site.cluster
    }

    fn told(&self, case: &Case, told: &[Told]) -> Result {
        let heard = self.heard.of(&case.namespace);
        let missing: Vec<&Told> = told.iter().filter(|line| !heard.iter().any(|heard| line.is(heard))).collect();
        if missing.is_empty() {
            return Ok(());
        }
        Err(Trouble::new(format!("not told:\n{}\n  told:\n{}", told::lines(missing), told::lines(&heard))))
    }

    /// Nothing was told but what the page says: a fate may be followed by another, a field may not.
    fn nothing_else(&self, case: &Case) -> Result {
        let told: Vec<&Told> = case.script.iter().filter_map(Part::told).flatten().collect();
        let heard = self.heard.of(&case.namespace);
        let more: Vec<&Told> = heard.iter().filter(|line| !told.iter().any(|told| told.is_about(line))).collect();
        if more.is_empty() { Ok(()) } else { Err(Trouble::new(format!("told, and it should not be:\n{}", told::lines(more)))) }
    }

    async fn end(&self, case: &Case) -> Result {
        let last = case.script.iter().filter_map(Part::told).next_back();
        if !case.left && !case.moves_on() && last.is_some_and(|told| told.iter().all(|line| line.state == HEALED)) {
            self.restored(case).await?;
        }
        for part in &case.script {
            if let Part::End(parts) = part {
                truth::end(self.cluster(), case, parts).await?;
            }
        }
        Ok(())
    }

    async fn restored(&self, case: &Case) -> Result {
        let now = truth::objects(self.cluster(), case).await?;
        let before = self.before.get(case.namespace.as_str()).ok_or_else(|| Trouble::new("it was not applied"))?;
        truth::are_restored(before, &now)
    }
}

fn words(case: &Case, error: &Trouble) -> String {
    format!("{} {}\n  {error}", case.place, case.title)
}

/// Pages whose cases may all run at once, and those that need a Sync of their own.
pub(crate) fn together(pages: &[Page]) -> (Vec<&Case>, Vec<&Page>) {
    let (alone, together): (Vec<&Page>, Vec<&Page>) = pages.iter().partition(|page| page.is_alone());
    (together.into_iter().flat_map(|page| &page.cases).collect(), alone)
}
