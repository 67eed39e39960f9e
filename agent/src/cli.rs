//! The command line: doc comments here are its help.
//!
//! Data goes to standard output, talk to standard error. Exit codes: 0 done, 1 failed with a message, 2 wrong usage; `drift` and `diff`
//! have their own.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::{Args, Parser, Subcommand, ValueEnum};
use overlays::path::RepoPath;
use overlays::{Cache, Errors, Look, Options, Order, Restriction};

use crate::api::ClusterSpec;
use crate::bases::{Bases, Permit, pinned};
use crate::config::{AgentConfig, ClusterConfig, LogConfig, LogFormat};
use crate::facts::Facts;
use crate::fleet::Root;
use crate::git::Credentials;
use crate::local::{self, Place, Wanted};
use crate::pace::Pace;
use crate::{agent, dev, diff, drift_command, explain, install};

/// The same workloads on every cloud, from one Git repository, and the proof on the commit.
#[derive(Parser)]
///
/// Exit codes: 0 done, 1 failed with a message, 2 wrong usage; `diff --exit-code`: 0 the same, 1 they differ, 2 failed.
#[command(name = "plimsoll", version, max_term_width = 120)]
struct Cli {
    #[command(flatten)]
    log: LogConfig,
    #[command(flatten)]
    colour: ColourArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the agent: follow the Syncs of this cluster. The DaemonSet runs this.
    Run(AgentConfig),
    /// Print what a kustomization or a fleet renders to, as `kustomize build` does, or all that is wrong with it.
    ///
    /// Exit codes: 0 it renders, 1 it does not, 2 wrong usage. While anything is wrong no objects are printed.
    Render(Render),
    /// Tell what made an object, or one of its fields: each file and step that changed it, the winner last.
    ///
    /// Exit codes: 0 told, 1 it does not render or has no such object or field, 2 wrong usage.
    Explain(explain::Explain),
    /// Print what differs between two renderings, and where each change is written.
    ///
    ///   diff DIR DIR                 two kustomizations
    ///   diff -k DIR [REV [REV]]      a kustomization at two revisions
    ///   diff --repo DIR [REV [REV]]  a fleet at two revisions
    ///   diff --repo DIR --provider A --provider B
    ///                                what two clusters get
    ///   diff --live [DIR]            a cluster, and what an apply would make of it
    ///
    /// Without REV these are HEAD and the files as they are saved. Any fact of a
    /// cluster may be given twice. --live takes -k and --repo too, with one REV.
    ///
    /// Exit codes: 0 done, 1 failed, 2 wrong usage;
    /// with --exit-code: 0 the same, 1 they differ, 2 failed or wrong usage.
    #[command(verbatim_doc_comment)]
    Diff(diff::Diff),
    /// Print the manifests that install the agent, for `kubectl apply --server-side -f -`; with `--repo`, a first Sync for it to make.
    Install(Install),
    /// Print the CustomResourceDefinition of Sync.
    Crd,
    /// Follow a working tree on this machine: save a file, and the cluster of the kubeconfig follows.
    Dev(Dev),
    /// Tell what is not as Git says in the cluster, which field of which object, and who holds it now.
    ///
    /// It tells what the agents say in `status.drift` of their Syncs: what has drifted, and what was healed last.
    ///
    /// Exit codes: 0 told, 2 failed or wrong usage; with --exit-code: 0 nothing has drifted, 1 something has, 2 nobody can say, or it failed.
    Drift(drift_command::Drift),
}

/// In which order objects are printed.
#[derive(Clone, Copy, ValueEnum)]
enum OrderArg {
    /// Namespaces and definitions first, webhooks last, as kustomize's command line sorts.
    Legacy,
    /// As they appear, as Flux and the agent take them.
    None,
}

/// Which files a kustomization may read.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum RestrictorArg {
    /// Files below its own directory.
    Root,
    /// Files anywhere in the repository.
    None,
}

impl From<RestrictorArg> for Restriction {
    fn from(arg: RestrictorArg) -> Self {
        match arg {
            RestrictorArg::Root => Self::Root,
            RestrictorArg::None => Self::None,
        }
    }
}

/// When answers are coloured.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum ColourWhen {
    /// On a terminal, unless NO_COLOR is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// In which form an answer is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputArg {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// How it is told what is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum FormatArg {
    /// For people, on standard error.
    Text,
    /// As JSON, on standard output in place of the objects.
    Json,
    /// As a SARIF 2.1.0 log for code scanning, on standard output in place of the objects.
    Sarif,
}

/// Whether people see colour.
#[derive(Args, Debug)]
pub(crate) struct ColourArgs {
    /// When answers are coloured.
    #[arg(long, global = true, value_enum, default_value = "auto", value_name = "WHEN")]
    color: ColourWhen,
    #[arg(long, global = true, env = "NO_COLOR", hide = true, num_args = 0..=1, default_missing_value = "1")]
    no_color: Option<String>,
}

impl ColourArgs {
    /// Whether answers on standard output are coloured.
    pub(crate) fn is_wanted(&self) -> bool {
        self.is_wanted_on(io::stdout().is_terminal())
    }

    /// How talk on standard error looks.
    fn of_talk(&self) -> Look<'static> {
        Look { colour: self.is_wanted_on(io::stderr().is_terminal()), ..Look::plain() }
    }

    fn is_wanted_on(&self, is_terminal: bool) -> bool {
        match self.color {
            ColourWhen::Always => true,
            ColourWhen::Never => false,
            ColourWhen::Auto => self.no_color.as_ref().is_none_or(String::is_empty) && is_terminal,
        }
    }
}

/// Whether bases in other repositories are brought.
#[derive(Args, Debug)]
pub(crate) struct RemoteArgs {
    /// Bring the remote bases that kustomizations name by URL, from these hosts only if any are given, as `github.com,http://localhost:3000`. They must be
    /// pinned, by a commit or a tag; what was brought once is kept, and needs no network again.
    #[arg(long, value_name = "HOSTS", num_args = 0..=1, require_equals = true, value_delimiter = ',', default_missing_value = pinned::ANY)]
    allow_remote: Option<Vec<String>>,
    /// Where remote bases are kept, in place of `plimsoll/bases` in the user's cache directory.
    #[arg(long, env = "PLIMSOLL_CACHE_DIR", value_name = "DIR")]
    cache_dir: Option<PathBuf>,
    #[arg(long, env = "XDG_CACHE_HOME", hide = true)]
    cache_home: Option<PathBuf>,
}

impl RemoteArgs {
    /// What may be brought, and is kept between commands.
    pub(crate) fn bases(&self) -> Bases {
        let permit = self.hosts().map_or(Permit::Nobody, Permit::of_person);
        Bases::new(permit, self.kept().join("bases"), None, Credentials::default())
    }

    /// The hosts that are allowed, if any are.
    pub(crate) fn hosts(&self) -> Option<&[String]> {
        self.allow_remote.as_deref()
    }

    /// The directory for what is kept between commands.
    pub(crate) fn kept(&self) -> PathBuf {
        let home = || self.cache_home.clone().filter(|path| path.is_absolute()).or_else(|| Some(std::env::home_dir()?.join(".cache")));
        self.cache_dir.clone().or_else(|| Some(home()?.join("plimsoll"))).unwrap_or_else(std::env::temp_dir)
    }
}

/// A fleet, and what the cluster is that is asked about.
#[derive(Args, Debug)]
pub(crate) struct FleetArgs {
    /// A repository with a fleet file: what a cluster with the facts below gets.
    #[arg(long, value_name = "DIR")]
    repo: Option<PathBuf>,
    /// The directory of the fleet file in the repository.
    #[arg(long, requires = "repo", default_value = "")]
    path: String,
    /// The cluster's provider, as `aws`, `gcp` or `hetzner`.
    #[arg(long, requires = "repo")]
    provider: Option<String>,
    /// The cluster's region.
    #[arg(long, requires = "repo")]
    region: Option<String>,
    /// The cluster's environment.
    #[arg(long, requires = "repo")]
    environment: Option<String>,
    /// The cluster's name.
    #[arg(long, requires = "repo")]
    cluster: Option<String>,
    /// Another fact of the cluster, as `tier=gold`; may be repeated.
    #[arg(long, requires = "repo", value_name = "KEY=VALUE", value_parser = key_value)]
    label: Vec<(String, String)>,
    /// This app only; may be repeated.
    #[arg(long, requires = "repo", value_name = "NAME")]
    app: Vec<String>,
}

impl FleetArgs {
    fn facts(&self) -> Facts {
        let mut labels: BTreeMap<String, String> = self.label.iter().cloned().collect();
        let known = [("provider", &self.provider), ("region", &self.region), ("environment", &self.environment)];
        labels.extend(known.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value.clone()?))));
        Facts::default().overridden_by(&ClusterSpec { name: self.cluster.clone(), labels })
    }

    /// What is looked at: the fleet, or the directory if no fleet is named.
    pub(crate) fn subject(&self, directory: &Path) -> Result<(Place, Wanted), Failure> {
        let Some(repo) = &self.repo else {
            let place = Place::of_directory(directory)?;
            let wanted = Wanted::Directory(place.path.clone());
            return Ok((place, wanted));
        };
        let wanted = Wanted::Fleet { path: RepoPath::new(&self.path)?, facts: Box::new(self.facts()), apps: self.app.clone() };
        Ok((Place::of_repository(repo.clone()), wanted))
    }
}

#[derive(Args)]
struct Render {
    /// The directory of a kustomization.
    #[arg(value_name = "DIR", required_unless_present = "repo", conflicts_with = "repo")]
    dir: Option<PathBuf>,
    /// In which order objects are printed.
    #[arg(long, value_enum, default_value = "legacy")]
    order: OrderArg,
    /// Which files a kustomization may read.
    #[arg(long, value_enum, default_value = "root")]
    load_restrictor: RestrictorArg,
    /// Take a directory without a kustomization file for one of plain manifests, as the agent does.
    #[arg(long)]
    plain: bool,
    /// Do as kustomize does even where that harms: see tests/conformance.txt.
    #[arg(long)]
    strict_kustomize: bool,
    #[command(flatten)]
    remote: RemoteArgs,
    #[command(flatten)]
    fleet: FleetArgs,
    /// Print for each app the kustomization that its layers come to, which the real kustomize builds to the same objects.
    #[arg(long, requires = "repo")]
    as_kustomization: bool,
    /// How it is told what is wrong; `json` and `sarif` print that and no objects, and nothing is wrong if their lists are empty.
    #[arg(long, value_enum, default_value = "text", conflicts_with = "as_kustomization")]
    format: FormatArg,
}

#[derive(Args)]
struct Install {
    /// The repository to follow; without it, the agent is installed alone and waits for Syncs.
    #[arg(long, value_name = "URL", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    repo: Option<String>,
    /// The directory in the repository: of a fleet file, a kustomization or plain manifests; without it, the root.
    #[arg(long, requires = "repo", value_name = "DIR", default_value = "")]
    path: String,
    /// The branch; without it, the repository's default branch.
    #[arg(long, requires = "repo")]
    branch: Option<String>,
    /// The name of the Sync. Installed again under the same name it is changed; another name is another Sync.
    #[arg(long, requires = "repo", default_value = "fleet", value_parser = object_name)]
    name: String,
    /// A Secret in the namespace `plimsoll-system` with the repository's credentials.
    #[arg(long, requires = "repo", value_name = "NAME", value_parser = object_name)]
    secret: Option<String>,
    /// How often to ask the repository for news, as `30s` (the default).
    #[arg(long, requires = "repo", value_name = "DURATION", value_parser = checked_duration)]
    poll: Option<String>,
    /// The agent's image.
    #[arg(long, default_value = install::IMAGE)]
    image: String,
}

#[derive(Args)]
struct Dev {
    /// The directory to follow: a fleet, a kustomization or plain manifests.
    #[arg(value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// How to reach the cluster.
    #[command(flatten)]
    cluster: ClusterConfig,
    /// The namespace of objects that say none.
    #[arg(long, default_value = "default")]
    namespace: String,
    #[command(flatten)]
    remote: RemoteArgs,
}

/// Why a command failed, in words for the person who ran it.
pub(crate) type Failure = Box<dyn std::error::Error>;

/// Arguments that each are right, and together mean nothing.
#[derive(Debug)]
pub(crate) struct Misused(pub(crate) String);

impl std::error::Error for Misused {}

impl std::fmt::Display for Misused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}; see --help", self.0)
    }
}

/// Reads the arguments of the process, runs the command, and tells how it went.
pub fn main() -> ExitCode {
    let Cli { log, colour, command } = Cli::parse();
    start_logging(&log);
    let failed = match &command {
        Command::Diff(args) => args.failure_code(),
        Command::Drift(_) => drift_command::Drift::failure_code(),
        _ => ExitCode::FAILURE,
    };
    match run(command, &colour) {
        Ok(code) => code,
        // Whoever reads our output has gone (`plimsoll render | head`); that is no failure of ours.
        Err(error) if error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe) => ExitCode::SUCCESS,
        Err(error) => {
            _ = writeln!(io::stderr(), "{}", told(&*error, &colour.of_talk()));
            if error.is::<Misused>() { ExitCode::from(2) } else { failed }
        }
    }
}

/// An error with its causes, or all that is wrong with a tree.
fn told(error: &(dyn std::error::Error + 'static), look: &Look<'_>) -> String {
    if let Some(errors) = error.downcast_ref::<Errors>() {
        return errors.text(look).trim_end().to_owned();
    }
    if let Some(unrendered) = error.downcast_ref::<diff::Unrendered>() {
        return format!("{}\nerror: {unrendered}", unrendered.errors.text(look));
    }
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text.push_str(&format!("\n  caused by: {next}"));
        cause = next.source();
    }
    if text.starts_with("error") { text } else { format!("error: {text}") }
}

fn start_logging(config: &LogConfig) {
    // The client calls every refusal an error, and says so twice; ours are told in words, once.
    let quiet = if config.log.contains("kube") { String::new() } else { ",kube_client=off".to_owned() };
    let filter = tracing_subscriber::EnvFilter::try_new(format!("{}{quiet}", config.log))
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(io::stderr().is_terminal());
    match config.log_format {
        LogFormat::Text => builder.with_target(false).init(),
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
}

fn run(command: Command, colour: &ColourArgs) -> Result<ExitCode, Failure> {
    let done = match command {
        Command::Run(config) => agent::run(config),
        Command::Render(args) => return render(&args, colour),
        Command::Explain(args) => explain::run(&args, colour),
        Command::Diff(args) => return diff::run(&args, colour),
        Command::Install(args) => install(&args),
        Command::Crd => print(&install::crd()?),
        Command::Dev(args) => runtime()?.block_on(dev::run(&args.dir, &args.cluster, &args.namespace, &args.remote)),
        Command::Drift(args) => return runtime()?.block_on(drift_command::run(&args)),
    };
    done.map(|()| ExitCode::SUCCESS)
}

/// One thread runs everything but fetching and rendering: the agent is mostly asleep, and a thread costs memory.
pub(crate) fn runtime() -> io::Result<tokio::runtime::Runtime> {
    one_thread().build()
}

/// The same, at a pace. What it rests, everything on it rests: a probe, a renewal of the Lease, or a push hook may wait that long.
pub(crate) fn paced_runtime(pace: Pace) -> io::Result<tokio::runtime::Runtime> {
    one_thread().on_thread_park(move || pace.rest(Instant::now()).into_iter().for_each(std::thread::sleep)).build()
}

fn one_thread() -> tokio::runtime::Builder {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().max_blocking_threads(2).thread_stack_size(8 << 20);
    builder
}

/// Writes data to standard output.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

pub(crate) fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or_else(|| format!("`{text}` is not of the form KEY=VALUE"))?;
    Ok((key.to_owned(), value.to_owned()))
}

/// As Kubernetes names most objects (RFC 1123, a subdomain).
fn object_name(text: &str) -> Result<String, String> {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let labelled = |label: &str| label.bytes().all(|byte| inner(byte) || byte == b'-') && !label.starts_with('-') && !label.ends_with('-');
    let fits = text.len() <= 253 && text.split('.').all(|label| !label.is_empty() && labelled(label));
    if fits { Ok(text.to_owned()) } else { Err("a name in Kubernetes has small letters, digits, `-` and `.` only, as my-fleet".to_owned()) }
}

fn checked_duration(text: &str) -> Result<String, String> {
    crate::config::duration(text).map(|_| text.to_owned())
}

impl Render {
    fn options(&self) -> Options {
        Options {
            order: match self.order {
                OrderArg::Legacy => Order::Legacy,
                OrderArg::None => Order::None,
            },
            restrict: self.load_restrictor.into(),
            plain_directories: self.plain || self.fleet.repo.is_some(),
            strict: self.strict_kustomize,
        }
    }
}

fn render(args: &Render, colour: &ColourArgs) -> Result<ExitCode, Failure> {
    let directory = args.dir.clone().unwrap_or_default();
    let rendered = args.fleet.subject(&directory).and_then(|(place, wanted)| match args.as_kustomization {
        true => as_kustomizations(&place, &wanted),
        false => documents(&place, &wanted, &args.options(), &args.remote.bases()),
    });
    if args.format == FormatArg::Text {
        // Part of what is wanted, in a pipe to kubectl, would be taken for all of it.
        let Documents { texts, warnings } = rendered?;
        if !warnings.0.is_empty() {
            _ = writeln!(io::stderr(), "{}", warnings.text(&colour.of_talk()).trim_end());
        }
        return print_documents(&texts).map(|()| ExitCode::SUCCESS);
    }
    let told = match rendered {
        Ok(documents) => documents.warnings,
        Err(failure) => failure.downcast::<Errors>().map(|errors| *errors)?,
    };
    let text = if args.format == FormatArg::Json { told.to_json() } else { told.to_sarif() };
    print(&format!("{text:#}\n"))?;
    Ok(if told.0.iter().all(overlays::Error::is_warning) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What is printed of each part.
struct Documents {
    texts: Vec<String>,
    warnings: Errors,
}

/// Writes what each part renders to, with `---` between two.
fn print_documents(texts: &[String]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    for (at, text) in texts.iter().enumerate() {
        out.write_all(if at > 0 { b"---\n" } else { b"" })?;
        out.write_all(text.as_bytes())?;
    }
    Ok(out.flush()?)
}

/// What each part renders to.
fn documents(place: &Place, wanted: &Wanted, options: &Options, bases: &Bases) -> Result<Documents, Failure> {
    let tree = bases.under(Box::new(place.files.clone()));
    let view = local::view_with_bases(&tree, wanted, options, &mut Cache::default(), bases)?;
    let mut errors = view.errors;
    let mut texts = Vec::new();
    for seen in &view.seen {
        match seen.rendered.manifest.to_yaml() {
            Ok(text) => texts.push(text),
            Err(more) => errors.extend(more.0),
        }
    }
    // The process ends once this is printed: what takes a tenth of the time to free part by part goes with it at once.
    std::mem::forget(view.seen);
    texts.retain(|text| !text.is_empty());
    if errors.is_empty() {
        return Ok(Documents { texts, warnings: Errors(view.warnings) });
    }
    errors.extend(view.warnings);
    Err(Errors(errors).into())
}

fn as_kustomizations(place: &Place, wanted: &Wanted) -> Result<Documents, Failure> {
    let (parts, errors) = local::parts(&place.files, wanted)?;
    let texts = parts.iter().filter_map(|part| part.app.as_ref()).map(|app| as_kustomization(&app.root)).collect();
    if errors.is_empty() { Ok(Documents { texts, warnings: Errors::default() }) } else { Err(Errors(errors).into()) }
}

/// The kustomization that a person could have written, and where it would stand.
fn as_kustomization(root: &Root) -> String {
    match root {
        Root::Directory(path) => format!("# built as it stands: {path}\nresources:\n- {path}\n"),
        Root::Stacked { at, kustomization } => format!("# {at}/kustomization.yaml\n{kustomization}"),
    }
}

fn install(args: &Install) -> Result<(), Failure> {
    let first = args.repo.as_ref().map(|url| install::First {
        name: args.name.clone(),
        url: url.clone(),
        path: args.path.clone(),
        branch: args.branch.clone(),
        secret: args.secret.clone(),
        poll: args.poll.clone(),
    });
    print(&install::manifests(&args.image, first.as_ref())?)?;
    for note in install::notes(first.as_ref()) {
        _ = writeln!(io::stderr(), "note: {note}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        super::Cli::command().debug_assert();
    }
}
