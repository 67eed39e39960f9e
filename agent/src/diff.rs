//! `plimsoll diff`: what differs between two directories, two revisions, what two clusters get, or Git and a cluster, and where each change is written.
//!
//! It must not know how objects are compared; see [`overlays::diff`].

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use overlays::diff::{self, Difference};
use overlays::path::RepoPath;
use overlays::tree::Tree;
use overlays::{Cache, Errors, Look, Object, Options, Origin};
use serde_json::json;

use crate::api::ClusterSpec;
use crate::bases::Bases;
use crate::cli::{ColourArgs, Failure, Misused, OutputArg, RemoteArgs, RestrictorArg, key_value, print, runtime};
use crate::config::ClusterConfig;
use crate::facts::Facts;
use crate::local::{self, Place, View, Wanted};

mod live;

/// The arguments of `plimsoll diff`.
#[derive(Args, Debug)]
pub(crate) struct Diff {
    /// The first side: a directory or, with --repo or --kustomize, a revision as `HEAD~1`; without it, HEAD. With --live the only one.
    #[arg(value_name = "A")]
    before: Option<String>,
    /// The second side: a directory, or a revision; without it, the files as they are saved.
    #[arg(value_name = "B")]
    after: Option<String>,
    /// The directory of the kustomization that is compared at two revisions.
    #[arg(short = 'k', long = "kustomize", value_name = "DIR", conflicts_with = "repo")]
    directory: Option<PathBuf>,
    /// A repository with a fleet file: compares what a cluster with the facts below gets. A fact that is given twice is that of two
    /// clusters, which are compared.
    #[arg(long, value_name = "DIR")]
    repo: Option<PathBuf>,
    /// The directory of the fleet file in the repository.
    #[arg(long, requires = "repo", default_value = "")]
    path: String,
    /// The cluster's provider, as `aws`, `gcp` or `hetzner`; twice for two clusters.
    #[arg(long, requires = "repo")]
    provider: Vec<String>,
    /// The cluster's region; twice for two clusters.
    #[arg(long, requires = "repo")]
    region: Vec<String>,
    /// The cluster's environment; twice for two clusters.
    #[arg(long, requires = "repo")]
    environment: Vec<String>,
    /// The cluster's name; twice for two clusters.
    #[arg(long, requires = "repo")]
    cluster: Vec<String>,
    /// Another fact of the cluster, as `tier=gold`; may be repeated.
    #[arg(long, requires = "repo", value_name = "KEY=VALUE", value_parser = key_value)]
    label: Vec<(String, String)>,
    /// This app only; may be repeated.
    #[arg(long, requires = "repo", value_name = "NAME")]
    app: Vec<String>,
    /// Compare a cluster (first) with a directory or revision (second), by an apply on the API server that writes nothing. What is no
    /// more in Git is not looked for.
    #[arg(long)]
    live: bool,
    /// How to reach the cluster.
    #[command(flatten)]
    reach: ClusterConfig,
    /// The namespace of objects that say none, with --live.
    #[arg(long, value_name = "NAME", default_value = "default")]
    namespace: String,
    #[command(flatten)]
    remote: RemoteArgs,
    /// Exit with 1 if there are differences, and with 2 if they can't be told.
    #[arg(long)]
    exit_code: bool,
    /// Which files a kustomization may read.
    #[arg(long, value_enum, default_value = "root")]
    load_restrictor: RestrictorArg,
    /// In which form the answer is printed.
    #[arg(short, long, value_enum, default_value = "text")]
    output: OutputArg,
}

/// One side of a comparison.
struct Side {
    /// What it is called.
    name: String,
    tree: Box<dyn Tree>,
    wanted: Wanted,
}

impl Diff {
    /// What a failure exits with.
    pub(crate) fn failure_code(&self) -> ExitCode {
        ExitCode::from(if self.exit_code { 2 } else { 1 })
    }

    fn sides(&self) -> Result<[Side; 2], Failure> {
        match (&self.repo, &self.directory, &self.before, &self.after) {
            (None, None, Some(before), Some(after)) => Ok([directory(before)?, directory(after)?]),
            (None, None, ..) => Err(misused("two directories are needed, or --repo or --kustomize")),
            (Some(repo), ..) => self.revisions(&Place::of_repository(repo.clone()), |at| self.fleet(at)),
            (None, Some(directory), ..) => {
                let place = Place::of_directory(directory)?;
                self.revisions(&place, |_| Ok(Wanted::Directory(place.path.clone())))
            }
        }
    }

    /// What a cluster is compared with.
    fn only_side(&self) -> Result<Side, Failure> {
        if self.after.is_some() || self.is_of_two_clusters() {
            return Err(misused("with --live there is one side to name: a directory, or one revision of one"));
        }
        let revision = self.before.as_deref();
        match (&self.repo, &self.directory, revision) {
            (Some(repo), ..) => self.side(&Place::of_repository(repo.clone()), revision, 0, self.fleet(0)?),
            (None, Some(directory), _) => {
                let place = Place::of_directory(directory)?;
                self.side(&place, revision, 0, Wanted::Directory(place.path.clone()))
            }
            (None, None, Some(path)) => directory(path),
            (None, None, None) => directory("."),
        }
    }

    /// Two revisions of a place; two clusters are compared in one, which is the first that is named, else what is saved.
    fn revisions(&self, place: &Place, wanted: impl Fn(usize) -> Result<Wanted, Failure>) -> Result<[Side; 2], Failure> {
        let before = match (&self.before, self.is_of_two_clusters()) {
            (None, false) => Some("HEAD"),
            (revision, _) => revision.as_deref(),
        };
        let after = if self.is_of_two_clusters() { self.after.as_deref().or(before) } else { self.after.as_deref() };
        Ok([self.side(place, before, 0, wanted(0)?)?, self.side(place, after, 1, wanted(1)?)?])
    }

    fn side(&self, place: &Place, revision: Option<&str>, at: usize, wanted: Wanted) -> Result<Side, Failure> {
        let tree: Box<dyn Tree> = match revision {
            Some(revision) => Box::new(place.at(revision)?),
            None => Box::new(place.files.clone()),
        };
        Ok(Side { name: self.called(revision, at), tree, wanted })
    }

    fn facts(&self) -> [(&'static str, &Vec<String>); 4] {
        [("provider", &self.provider), ("region", &self.region), ("environment", &self.environment), ("cluster", &self.cluster)]
    }

    fn is_of_two_clusters(&self) -> bool {
        self.facts().iter().any(|(_, values)| values.len() > 1)
    }

    /// What a side is called, as `provider aws at main`.
    fn called(&self, revision: Option<&str>, at: usize) -> String {
        let revision = revision.unwrap_or("the files as they are saved");
        let twice = self.facts().into_iter().filter(|(_, values)| values.len() > 1);
        let facts: Vec<_> = twice.filter_map(|(key, values)| Some(format!("{key} {}", values.get(at)?))).collect();
        if facts.is_empty() { revision.to_owned() } else { format!("{} at {revision}", facts.join(", ")) }
    }

    fn fleet(&self, at: usize) -> Result<Wanted, Failure> {
        if let Some((key, _)) = self.facts().into_iter().find(|(_, values)| values.len() > 2) {
            return Err(misused(&format!("--{key} is given more than twice, and there are two sides")));
        }
        let [provider, region, environment, cluster] = self.facts().map(|(key, values)| (key, values.get(at).or(values.first())));
        let known = [provider, region, environment].into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?.clone())));
        let labels = self.label.iter().cloned().chain(known).collect();
        let facts = Facts::default().overridden_by(&ClusterSpec { name: cluster.1.cloned(), labels });
        Ok(Wanted::Fleet { path: RepoPath::new(&self.path)?, facts: Box::new(facts), apps: self.app.clone() })
    }
}

fn directory(path: &str) -> Result<Side, Failure> {
    let place = Place::of_directory(std::path::Path::new(path))?;
    Ok(Side { name: path.to_owned(), tree: Box::new(place.files), wanted: Wanted::Directory(place.path) })
}

fn misused(why: &str) -> Failure {
    Box::new(Misused(why.to_owned()))
}

/// Runs the command.
///
/// # Errors
/// One of the sides is not there, or does not render.
pub(crate) fn run(args: &Diff, colour: &ColourArgs) -> Result<ExitCode, Failure> {
    let options = Options { restrict: args.load_restrictor.into(), ..Options::default() };
    let (bases, mut cache) = (args.remote.bases(), Cache::default());
    if args.live {
        let side = args.only_side()?;
        let name = side.name.clone();
        let view = rendered(side, &options, &mut cache, &bases)?;
        let differences = runtime()?.block_on(live::differences(&objects(&view), &args.reach, &args.namespace))?;
        return tell(args, colour, ["the cluster", &name], &[view], &differences);
    }
    let [before, after] = args.sides()?;
    let names = [before.name.clone(), after.name.clone()];
    let views = [rendered(before, &options, &mut cache, &bases)?, rendered(after, &options, &mut cache, &bases)?];
    let differences = diff::compare(&objects(&views[0]), &objects(&views[1]));
    tell(args, colour, [&names[0], &names[1]], &views, &differences)
}

fn objects(view: &View) -> Vec<Object> {
    view.objects().map(|(object, _)| object.clone()).collect()
}

fn tell(args: &Diff, colour: &ColourArgs, names: [&str; 2], views: &[View], differences: &[Difference]) -> Result<ExitCode, Failure> {
    let [before, after] = names;
    match args.output {
        OutputArg::Text => {
            let note = |origin: &Origin| layer(views, origin);
            print(&diff::text(differences, &Look { colour: colour.is_wanted(), note: &note }))?;
        }
        OutputArg::Json => print(&format!("{:#}\n", json!({"before": before, "after": after, "differences": differences})))?,
    }
    Ok(exit_code(args, differences))
}

fn exit_code(args: &Diff, differences: &[Difference]) -> ExitCode {
    ExitCode::from(u8::from(args.exit_code && !differences.is_empty()))
}

/// A side that did not render can't be compared: what is missing would look as if it were removed.
fn rendered(side: Side, options: &Options, cache: &mut Cache, bases: &Bases) -> Result<View, Failure> {
    let told = |errors: Errors| -> Failure { Box::new(Unrendered { side: side.name.clone(), errors }) };
    let tree = bases.under(side.tree);
    let view = local::view_with_bases(&tree, &side.wanted, options, cache, bases).map_err(told)?;
    if view.errors.is_empty() { Ok(view) } else { Err(told(Errors(view.errors))) }
}

/// One side does not render.
#[derive(Debug)]
pub(crate) struct Unrendered {
    side: String,
    pub(crate) errors: Errors,
}

impl std::error::Error for Unrendered {}

impl std::fmt::Display for Unrendered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} does not render, so that there is nothing to compare", self.side)
    }
}

/// The layer of the fleet that a place belongs to.
fn layer(views: &[View], origin: &Origin) -> Option<String> {
    let parts = views.iter().flat_map(|view| &view.seen).map(|seen| &seen.part);
    parts.filter_map(|part| part.layer_of(&origin.file)).next()
}
