//! The command line: doc comments here are its help.
//!
//! Data goes to standard output, talk to standard error. Exit codes: 0 done, 1 failed with a message, 2 wrong usage; `drift`
//! has its own.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};
use overlays::path::RepoPath;
use overlays::tree::{Dir, Tree};
use overlays::{Cache, Options, Order, Restriction};

use crate::api::ClusterSpec;
use crate::config::{AgentConfig, ClusterConfig, LogConfig, LogFormat};
use crate::facts::Facts;
use crate::fleet::{self, Root};
use crate::{agent, dev, drift_command, install, sync};

/// The same workloads on every cloud, from one Git repository, and the proof on the commit.
#[derive(Parser)]
#[command(name = "plimsoll", version, max_term_width = 120)]
struct Cli {
    #[command(flatten)]
    log: LogConfig,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the agent: follow the Syncs of this cluster. The DaemonSet runs this.
    Run(AgentConfig),
    /// Print what a kustomization or a fleet renders to, as `kustomize build` does.
    Render(Render),
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
#[derive(Clone, Copy, ValueEnum)]
enum RestrictorArg {
    /// Files below its own directory.
    Root,
    /// Files anywhere in the repository.
    None,
}

#[derive(Args)]
struct Render {
    /// The directory of a kustomization.
    #[arg(value_name = "DIR", required_unless_present = "repo")]
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
    /// A repository with a fleet file: prints what a cluster with the facts below gets.
    #[arg(long, value_name = "DIR", conflicts_with = "dir")]
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
    /// Print this app only; may be repeated.
    #[arg(long, requires = "repo", value_name = "NAME")]
    app: Vec<String>,
    /// Print for each app the kustomization that its layers come to, which the real kustomize builds to the same objects.
    #[arg(long, requires = "repo")]
    as_kustomization: bool,
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
}

/// Why a command failed, in words for the person who ran it.
pub(crate) type Failure = Box<dyn std::error::Error>;

/// Reads the arguments of the process, runs the command, and tells how it went.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    start_logging(&cli.log);
    let failed = match &cli.command {
        Command::Drift(_) => drift_command::Drift::failure_code(),
        _ => ExitCode::FAILURE,
    };
    match run(cli.command) {
        Ok(code) => code,
        // Whoever reads our output has gone (`plimsoll render | head`); that is no failure of ours.
        Err(error) if error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe) => ExitCode::SUCCESS,
        Err(error) => {
            _ = writeln!(io::stderr(), "{}", told(&*error));
            failed
        }
    }
}

/// An error with its causes; diagnostics of the renderer begin with `error:` themselves.
fn told(error: &dyn std::error::Error) -> String {
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

fn run(command: Command) -> Result<ExitCode, Failure> {
    let done = match command {
        Command::Run(config) => runtime()?.block_on(agent::run(config)),
        Command::Render(args) => render(&args),
        Command::Install(args) => install(&args),
        Command::Crd => print(&install::crd()?),
        Command::Dev(args) => runtime()?.block_on(dev::run(&args.dir, &args.cluster, &args.namespace)),
        Command::Drift(args) => return runtime()?.block_on(drift_command::run(&args)),
    };
    done.map(|()| ExitCode::SUCCESS)
}

/// One thread runs everything but fetching and rendering: the agent is mostly asleep, and a thread costs memory.
fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(2).thread_stack_size(8 << 20).build()
}

fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

fn key_value(text: &str) -> Result<(String, String), String> {
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
            restrict: match self.load_restrictor {
                RestrictorArg::Root => Restriction::Root,
                RestrictorArg::None => Restriction::None,
            },
            plain_directories: self.plain || self.repo.is_some(),
        }
    }

    fn facts(&self) -> Facts {
        let mut labels: BTreeMap<String, String> = self.label.iter().cloned().collect();
        let known = [("provider", &self.provider), ("region", &self.region), ("environment", &self.environment)];
        labels.extend(known.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value.clone()?))));
        Facts::default().overridden_by(&ClusterSpec { name: self.cluster.clone(), labels })
    }
}

fn render(args: &Render) -> Result<(), Failure> {
    match (&args.dir, &args.repo) {
        (Some(dir), _) => {
            let (tree, root) = Dir::covering(dir)?;
            let rendered = overlays::render(&tree, &root, &args.options(), &mut Cache::default())?;
            print(&rendered.manifest.to_yaml()?)
        }
        (None, Some(repo)) => render_fleet(args, &Dir::new(repo.clone())),
        (None, None) => Err("a directory to render, or --repo, is needed".into()),
    }
}

fn render_fleet(args: &Render, tree: &dyn Tree) -> Result<(), Failure> {
    let fleet = fleet::read(tree, &RepoPath::new(&args.path)?, "app")?;
    let (apps, errors) = fleet.apps(tree, &args.facts());
    let wanted: Vec<_> = apps.iter().filter(|app| args.app.is_empty() || args.app.contains(&app.name)).collect();
    if let Some(name) = args.app.iter().find(|name| apps.iter().all(|app| app.name != **name)) {
        return Err(format!(
            "there is no app `{name}`; there are: {}",
            apps.iter().map(|app| app.name.as_str()).collect::<Vec<_>>().join(", ")
        )
        .into());
    }
    let mut cache = Cache::default();
    let mut documents = Vec::new();
    for app in wanted {
        documents.push(match (&app.root, args.as_kustomization) {
            (root, true) => as_kustomization(root),
            (_, false) => sync::render(app, tree, &args.options(), &mut cache)?.manifest.to_yaml()?,
        });
    }
    print(&documents.iter().filter(|text| !text.is_empty()).cloned().collect::<Vec<_>>().join("---\n"))?;
    if errors.is_empty() { Ok(()) } else { Err(overlays::Errors(errors.into_iter().map(|error| error.error).collect()).into()) }
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
