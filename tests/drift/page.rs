//! Reads the pages of `tests/cases/drift`: what Git holds, who does what to it, and what must be told. It knows no server.
//!
//! A page is Markdown. Each `##` is a case; what stands before the first one holds for all cases of the page. `NAMESPACE` and `NODEPORT` are the case's
//! own.
//! What a fence is stands after its language:
//!
//! | fence | what it is |
//! |---|---|
//! | `git` | what Git holds: the case's, or else the page's |
//! | `kustomization` | more of the app's kustomization |
//! | `cluster` | what is in the cluster before that |
//! | `git afterwards` | what Git holds from then on |
//! | `MANAGER: VERB TARGET ...` | a step, see [`Step`] |
//! | `told` | what must have been told by now, a line a field (see [`Told`]), or `nothing` |
//! | `end` | what objects must be then; a field that is `null` must not be there |
//!
//! Without more words every field of Git must be as it was applied in the end, and held by our apply alone. In prose,
//! "while the agent is away" stops the agent for the steps, "left to others" leaves what is told and what must be then to the fences alone, "an apply is refused" and "an apply changes nothing" say that more than one apply is
//! needed to heal.

use std::sync::atomic::{AtomicU32, Ordering};

use harness::{Result, Trouble, documents};
use serde_json::{Map, Value, json};

use super::step::{Step, Verb};
use super::told::Told;

/// What an apply of what Git holds makes of the drift.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Apply {
    #[default]
    Heals,
    IsRefused,
    ChangesNothing,
}

/// What happens, in the order of the page.
#[derive(Clone, Debug)]
pub(crate) enum Part {
    Step(Box<Step>),
    Told(Vec<Told>),
    Git(Vec<Value>),
    End(Vec<Value>),
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Case {
    /// The page and the line, for those who have to find it.
    pub(crate) place: String,
    pub(crate) title: String,
    /// The case's namespace, and the name of its app.
    pub(crate) namespace: String,
    pub(crate) git: Vec<Value>,
    pub(crate) kustomization: Value,
    pub(crate) cluster: Vec<Value>,
    pub(crate) away: bool,
    /// Something that Git says is left to others, so not all is as it was applied in the end.
    pub(crate) left: bool,
    pub(crate) apply: Apply,
    pub(crate) script: Vec<Part>,
}

#[derive(Clone, Debug)]
pub(crate) struct Page {
    pub(crate) cases: Vec<Case>,
}

impl Part {
    pub(crate) fn told(&self) -> Option<&Vec<Told>> {
        if let Self::Told(told) = self { Some(told) } else { None }
    }
}

impl Page {
    /// Reads a page; `stem` begins the names of the namespaces.
    pub(crate) fn read(name: &str, text: &str, stem: &str) -> Result<Self> {
        let mut sections = sections(text);
        let head = sections.remove(0);
        let cases = sections.into_iter().enumerate().map(|(number, section)| {
            let namespace = format!("{stem}-{}", number + 1);
            let place = format!("{name}:{}", section.line);
            let case = Case::default()
                .filled(&head, &namespace)
                .and_then(|case| Case { place: place.clone(), ..case }.filled(&section, &namespace));
            case.and_then(Case::checked).map_err(|error| error.while_doing(format!("{place}: {}", section.title)))
        });
        Ok(Self { cases: cases.collect::<Result<_>>()? })
    }

    /// Whether its cases change the Sync, so that they need one of their own and run one after the other.
    pub(crate) fn is_alone(&self) -> bool {
        self.cases.iter().flat_map(Case::steps).any(|step| step.verb == Verb::Sync)
    }
}

impl Case {
    fn filled(mut self, section: &Section, namespace: &str) -> Result<Self> {
        self.title.clone_from(&section.title);
        namespace.clone_into(&mut self.namespace);
        let prose = format!("{} {}", section.title.to_lowercase(), section.prose);
        self.away |= prose.contains("while the agent is away");
        self.left |= prose.contains("left to others");
        if prose.contains("an apply is refused") {
            self.apply = Apply::IsRefused;
        } else if prose.contains("an apply changes nothing") {
            self.apply = Apply::ChangesNothing;
        }
        let node_port = if section.fences.iter().any(|fence| fence.text.contains("NODEPORT")) { node_port() } else { String::new() };
        for fence in &section.fences {
            let [info, text] = [&fence.info, &fence.text].map(|text| text.replace("NAMESPACE", namespace).replace("NODEPORT", &node_port));
            self.fill(&info, &text).map_err(|error| error.while_doing(format!("line {}: `{}`", fence.line, fence.info)))?;
        }
        Ok(self)
    }

    fn fill(&mut self, info: &str, text: &str) -> Result {
        match info {
            "git" => self.git = documents(text)?,
            "git afterwards" => self.script.push(Part::Git(documents(text)?)),
            "kustomization" => self.kustomization = serde_yaml::from_str(text)?,
            "cluster" => self.cluster.extend(documents(text)?),
            "told" => self.script.push(Part::Told(Told::lines(text)?)),
            "end" => self.script.push(Part::End(documents(text)?)),
            step => {
                let step = Step::read(step, text, |kind| self.api_version(kind))?;
                self.script.push(Part::Step(Box::new(step)));
            }
        }
        Ok(())
    }

    fn api_version(&self, kind: &str) -> Option<String> {
        let known = self.git.iter().chain(&self.cluster).find(|object| object["kind"] == kind)?;
        known["apiVersion"].as_str().map(str::to_owned)
    }

    /// A case that could not fail is none.
    fn checked(self) -> Result<Self> {
        let told = self.script.iter().any(|part| matches!(part, Part::Told(_)));
        let steps = self.steps().count();
        if told && steps > 0 && !self.git.is_empty() {
            return Ok(self);
        }
        Err(Trouble::new("a case holds something in Git, a step, and what must be told"))
    }

    /// Whether Git says something else in the end than in the beginning.
    pub(crate) fn moves_on(&self) -> bool {
        self.script.iter().any(|part| matches!(part, Part::Git(_)))
    }

    pub(crate) fn steps(&self) -> impl Iterator<Item = &Step> {
        self.script.iter().filter_map(|part| if let Part::Step(step) = part { Some(&**step) } else { None })
    }

    /// What Git holds of an object.
    pub(crate) fn of_git(&self, kind: &str, name: &str) -> Result<&Value> {
        let found = self.git.iter().find(|object| object["kind"] == kind && object["metadata"]["name"] == name);
        found.ok_or_else(|| Trouble::new(format!("Git holds no {kind} {name}")))
    }

    /// The files of the app.
    pub(crate) fn files(&self, objects: &[Value]) -> Result<[(String, String); 2]> {
        let objects = objects.iter().map(serde_yaml::to_string).collect::<std::result::Result<Vec<_>, _>>()?.join("---\n");
        let mut kustomization = self.kustomization.as_object().cloned().unwrap_or_else(Map::new);
        kustomization.insert("namespace".into(), json!(self.namespace));
        kustomization.insert("resources".into(), json!(["objects.yaml"]));
        let path = |file: &str| format!("apps/{}/{file}", self.namespace);
        Ok([(path("objects.yaml"), objects), (path("kustomization.yaml"), serde_yaml::to_string(&kustomization)?)])
    }
}

/// A port that no other case has: all Services of a cluster share them. The API server gives out the first 86 last.
fn node_port() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(30_000);
    NEXT.fetch_add(1, Ordering::Relaxed).to_string()
}

#[derive(Default)]
struct Section {
    title: String,
    line: usize,
    /// All that stands between the fences, in lower case and on one line.
    prose: String,
    fences: Vec<Fence>,
}

struct Fence {
    info: String,
    line: usize,
    text: String,
}

fn sections(text: &str) -> Vec<Section> {
    let mut sections = vec![Section::default()];
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        if let Some(title) = line.strip_prefix("## ") {
            sections.push(Section { title: title.to_owned(), line: number + 1, ..Section::default() });
        }
        let Some(section) = sections.last_mut() else { continue };
        match line.strip_prefix("```").and_then(|info| info.split_once(' ')) {
            Some((_, info)) => {
                let text: String =
                    lines.by_ref().map(|(_, line)| line).take_while(|line| *line != "```").flat_map(|line| [line, "\n"]).collect();
                section.fences.push(Fence { info: info.to_owned(), line: number + 1, text });
            }
            None => section.prose = format!("{} {}", section.prose, line.to_lowercase()),
        }
    }
    sections
}
