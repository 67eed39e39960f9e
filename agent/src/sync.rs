//! What happens after a push: one function, from a commit to a cluster that is as the commit says.
//!
//! Read [`Leader::sync`] from top to bottom; each line is a stage. Decisions are made in the pure files (`fleet`, `plan`, `state`, `health`);
//! here they are carried out. Events that come in while a sync runs go into the same [`State`], so nothing here may hold it across an await.

mod bases;
pub(crate) mod deliver;
mod prune;
mod workshop;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use overlays::object::ObjectId;
use overlays::path::RepoPath;
use overlays::tree::{Tree, WithFile};
use overlays::{Cache, Fingerprint, Options, Rendered};
use tokio::sync::{Notify, Semaphore};

use crate::api;
use crate::cluster::{self, Cluster, Mark, Refusal, Resource};
use crate::drift::{Freeze, Policy};
use crate::facts::Facts;
use crate::fleet::{self, App, AppError, Choices, Root};
use crate::git::{self, CommitId, Reference, Revision};
use crate::inventory::Inventory;
use crate::metrics::Metrics;
use crate::queue::Cause;
use crate::report::Failure;
use crate::source::Source;
use crate::state::{Stage, State};
use workshop::{Shop, Workshop};

/// How many requests for objects are under way at once: the knee of an API server on two cores (reference: more only adds latency).
const IN_FLIGHT: usize = 16;
/// How many apps are rendered and applied at once; each holds its manifest in memory meanwhile. As many as requests, for the waves of an
/// ordinary app have some of one object only.
const APPS_AT_ONCE: usize = IN_FLIGHT;
/// How much of parsed blobs is kept from one sync to the next, in bytes: what many apps share, as a base.
pub(crate) const KEPT_BLOBS: usize = 2 << 20;

/// How many characters of a faulty line are shown.
const SHOWN: usize = 80;

/// Why a sync as a whole came to nothing. What concerns one app or object is a [`Failure`] in the report instead.
#[derive(Debug)]
pub enum Error {
    /// The repository could not be read.
    Git(git::Error),
    /// The API server could not be used for what every sync needs.
    Cluster(Refusal),
    /// Another agent may be writing by now.
    LeaseLost,
    /// A background task of ours died.
    Broken(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Git(error) => error.fmt(f),
            Self::Cluster(refusal) => refusal.fmt(f),
            Self::LeaseLost => f.write_str("the Lease of this Sync was lost; another agent carries on"),
            Self::Broken(what) => write!(f, "a task of the agent died: {what}"),
        }
    }
}

impl std::error::Error for Error {}

impl Error {
    /// Whether it may pass by itself, soon.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Git(error) => error.is_transient(),
            Self::Cluster(refusal) => refusal.is_transient(),
            Self::LeaseLost | Self::Broken(_) => true,
        }
    }
}

impl From<git::Error> for Error {
    fn from(error: git::Error) -> Self {
        Self::Git(error)
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::Cluster(refusal)
    }
}

/// The one process that writes for a Sync.
pub struct Leader {
    /// The Sync as it was when this leader began; a changed one gets a new leader.
    pub sync: Arc<api::Sync>,
    /// The repository.
    pub source: RefCell<Source>,
    /// What is followed in it.
    pub reference: Reference,
    /// The API server as the agent itself uses it.
    pub cluster: Cluster,
    /// The API server with the rights that the Sync's objects are applied with.
    pub hands: Cluster,
    /// The cluster, before the fleet file has its say.
    pub facts: Facts,
    /// How our objects are marked, but for the app.
    pub mark: Mark,
    /// Says whether this process may still write.
    pub fence: cluster::lease::Fence,
    /// Kinds to be watched go here.
    pub watched: tokio::sync::mpsc::UnboundedSender<Resource>,
    /// What is measured.
    pub metrics: Arc<Metrics>,
    /// The Sync as metrics and logs name it: `namespace/name`.
    pub name: String,
    /// What is known.
    pub state: RefCell<State>,
    /// Where our objects may be found, as the Sync's annotations say.
    pub inventory: RefCell<Inventory>,
    /// Objects that are confirmed gone since the inventory was last written.
    pub gone: RefCell<Vec<ObjectId>>,
    /// What happened and is still to be told by an event.
    pub notes: RefCell<Vec<Note>>,
    /// Something in `state` has changed.
    pub changed: Notify,
    /// At most `IN_FLIGHT` requests for objects.
    pub flight: Semaphore,
    /// At most `APPS_AT_ONCE` apps.
    pub gate: Semaphore,
    /// The inventory is written by one at a time.
    pub pen: tokio::sync::Mutex<()>,
    /// The files of a revision, and what was parsed of them.
    pub(crate) shop: RefCell<Shop>,
    /// What was chosen for the apps of the last revision.
    pub choices: RefCell<Choices>,
    /// What is live, or on its way: what an object is healed to.
    pub live: RefCell<Option<Live>>,
    /// Apps of which objects are being healed; none of them is brought meanwhile.
    pub healing: RefCell<BTreeSet<String>>,
    /// What is done about drift where neither the app nor the object says.
    pub policy: Policy,
    /// When nothing may be changed.
    pub freeze: Freeze,
    /// How many applies there had been when their outcomes were last written down.
    pub kept: Cell<u64>,
}

/// Something that people look for at the Sync.
pub struct Note {
    /// One word, as events have it.
    pub reason: &'static str,
    /// What happened.
    pub text: String,
}

/// A revision and its apps on this cluster.
pub struct Live {
    revision: Revision,
    apps: BTreeMap<String, App>,
}

/// An app of the revision, and whether there is something to do for it.
struct Leg {
    app: App,
    due: bool,
}

/// What a revision asks of this cluster.
struct Course {
    workshop: Workshop,
    legs: Vec<Leg>,
    /// What is wrong with the fleet file or with single apps of it.
    errors: Vec<Failure>,
    /// Whether Git gave the word for deletions in the whole repository.
    prune_allowed: bool,
    /// Whether all is applied again, also what seems to be in place.
    again: bool,
    /// Whether nothing may be changed: what is there is only compared with what the revision asks for.
    hold: bool,
}
/// The two limits of a leader: requests under way, and apps at once.
pub fn limits() -> (Semaphore, Semaphore) {
    (Semaphore::new(IN_FLIGHT), Semaphore::new(APPS_AT_ONCE))
}

impl Leader {
    /// Brings the cluster to what `commit` says. Progress, and what failed of an app or object, is in [`Leader::state`].
    ///
    /// # Errors
    /// The repository or the API server could not be used at all; what runs stays as it is.
    pub async fn sync(&self, commit: CommitId, cause: Cause) -> Result<(), Error> {
        let source = self.source.borrow().clone();
        let revision = source.fetch(&self.reference, commit).await?;
        let course = self.survey(&revision, cause).await?;
        self.set_out(&revision, &course);
        let prunes = self.deliver_all(&course).await?;
        if !course.hold {
            self.prune_all(&course, prunes).await?;
            self.shrink_inventory().await?;
        }
        self.arrive();
        Ok(())
    }
    /// Finds the apps of the revision, and which of them have something to do.
    async fn survey(&self, revision: &Revision, cause: Cause) -> Result<Course, Error> {
        let (source, facts, spec, wanted) = (self.source.borrow().clone(), self.facts.clone(), self.sync.spec.clone(), revision.clone());
        let mut choices = self.choices.take();
        let (tree, fleet, choices) = blocking(move || {
            let tree = source.tree(&wanted)?;
            let fleet = read_fleet(&*tree, &spec).map(|fleet| (fleet.apps_again(&*tree, &facts, &mut choices), fleet.prune()));
            Ok::<_, git::Error>((tree, fleet, choices))
        })
        .await??;
        self.choices.replace(choices);
        let (apps, errors, prune_allowed) = match fleet {
            Ok(((apps, errors), prune_allowed)) => (apps, errors, prune_allowed),
            Err(errors) => (Vec::new(), errors.0.into_iter().map(|error| AppError { app: None, error }).collect(), false),
        };
        let workshop = self.open(revision, tree);
        let legs = self.legs(apps, cause, &workshop).await?;
        Ok(Course {
            workshop,
            legs,
            errors: errors.iter().map(repository_failure).collect(),
            prune_allowed,
            again: cause == Cause::Resync,
            hold: self.is_quiet(Timestamp::now()),
        })
    }

    /// An app is due if its inputs are not those that were applied last, or if it must be put right.
    async fn legs(&self, apps: Vec<App>, cause: Cause, workshop: &Workshop) -> Result<Vec<Leg>, Error> {
        let known: Vec<_> = apps.iter().map(|app| self.applied_inputs(app)).collect();
        let unchanged = workshop.run(move |tree, _| {
            let same = |known: &Option<(overlays::Inputs, Fingerprint)>| {
                known.as_ref().is_some_and(|(inputs, print)| inputs.fingerprint(tree).is_ok_and(|now| now == *print))
            };
            known.iter().map(same).collect::<Vec<_>>()
        });
        let unchanged = unchanged.await?;
        let state = self.state.borrow();
        let due = |app: &App, unchanged: bool| match (cause, state.apps.get(&app.name)) {
            (Cause::Resync, _) | (_, None) => true,
            (_, Some(known)) if known.retry || known.stage != Stage::Delivered => true,
            (Cause::Retry, Some(_)) => false,
            _ => !unchanged,
        };
        Ok(apps.into_iter().zip(unchanged).map(|(app, unchanged)| Leg { due: due(&app, unchanged), app }).collect())
    }

    fn applied_inputs(&self, app: &App) -> Option<(overlays::Inputs, Fingerprint)> {
        let state = self.state.borrow();
        let known = state.apps.get(&app.name).filter(|known| known.root == root_text(app))?;
        known.inputs.clone()
    }

    fn set_out(&self, revision: &Revision, course: &Course) {
        let mut state = self.state.borrow_mut();
        let apps = course.legs.iter().map(|leg| (leg.app.name.clone(), leg.due));
        state.begin(&revision.commit.to_string(), &revision.to_string(), apps, Timestamp::now());
        state.repository = course.errors.clone();
        let apps = course.legs.iter().map(|leg| (leg.app.name.clone(), leg.app.clone())).collect();
        *self.live.borrow_mut() = Some(Live { revision: revision.clone(), apps });
        self.changed.notify_waiters();
    }
    /// An app as the live revision has it.
    pub(crate) fn live_app(&self, name: &str) -> Option<(Revision, App)> {
        let live = self.live.borrow();
        let live = live.as_ref()?;
        Some((live.revision.clone(), live.apps.get(name)?.clone()))
    }

    fn may_write(&self) -> Result<(), Error> {
        if self.fence.still_held(std::time::Instant::now()) { Ok(()) } else { Err(Error::LeaseLost) }
    }
    /// Everything that could be done is done.
    fn arrive(&self) {
        self.keep_bases();
        let mut state = self.state.borrow_mut();
        state.syncing = false;
        state.applied_at.get_or_insert_with(Timestamp::now);
        drop(state);
        self.changed.notify_waiters();
    }
}

fn repository_failure(error: &AppError) -> Failure {
    failure(error.app.as_deref().unwrap_or_default(), &error.error)
}

fn render_failures(app: &str, errors: &overlays::Errors) -> Vec<Failure> {
    errors.0.iter().map(|error| failure(app, error)).collect()
}

fn failure(app: &str, error: &overlays::Error) -> Failure {
    let place = error.place().map(|place| place.origin.clone());
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
    let line = error.place().map(|place| place.line_text.trim()).filter(|line| !line.is_empty());
    let line = line.map(|line| format!(": `{}`", shown(line))).unwrap_or_default();
    let advice = error.advice().map(|advice| format!("; {advice}")).unwrap_or_default();
    Failure { app: app.to_owned(), object: None, place, reason: format!("{error}{cause}{line}{advice}") }
}

/// The beginning of a line of the user's: minified JSON has lines of megabytes.
fn shown(line: &str) -> String {
    let printable = |c: char| if c.is_control() { ' ' } else { c };
    line.chars().take(SHOWN).map(printable).collect()
}

/// The fleet at the path of a Sync. A repository that is one app is named by its URL.
fn read_fleet(tree: &dyn Tree, spec: &api::SyncSpec) -> Result<fleet::Fleet, overlays::Errors> {
    let path = RepoPath::new(&spec.path).map_err(|error| overlays::Error::new(overlays::Stage::Layer, format!("spec.path: {error}")))?;
    let name = spec.url.trim_end_matches('/').trim_end_matches(".git");
    fleet::read(tree, &path, name.rsplit(['/', ':']).next().unwrap_or("app"))
}

/// Renders an app as it is for one cluster.
///
/// # Errors
/// All that is wrong with it.
pub fn render(app: &App, tree: &dyn Tree, options: &Options, cache: &mut Cache) -> Result<Rendered, overlays::Errors> {
    match &app.root {
        Root::Directory(path) => overlays::render(tree, path, options, cache),
        Root::Stacked { at, kustomization } => {
            let file = at.join("kustomization.yaml").map_err(|error| overlays::Error::new(overlays::Stage::Layer, error.to_string()))?;
            let stacked = WithFile::new(tree, file, kustomization.as_bytes()).map_err(overlays::Error::from)?;
            overlays::render(&stacked, at, options, cache)
        }
    }
}

/// What an app is rendered from, to be compared: another stack of the same directories is another app.
fn root_text(app: &App) -> String {
    match &app.root {
        Root::Directory(path) => path.to_string(),
        Root::Stacked { at, kustomization } => format!("{at}\n{kustomization}"),
    }
}

pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Error::Broken(error.to_string()))
}
