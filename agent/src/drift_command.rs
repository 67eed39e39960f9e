//! `plimsoll drift`: what the agents of a cluster say of drift, as a table, as JSON, or as it happens.
//!
//! It only reads the Syncs. What is said of them is decided in `answer`.

pub mod answer;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};
use tokio::sync::mpsc;

use crate::api::Sync;
use crate::cli::Failure;
use crate::cluster::{self, Cluster, Refusal, SyncSeen};
use crate::config::ClusterConfig;
use answer::{Standing, Table};

/// How long the API server may take to tell all Syncs.
const ANSWERED: Duration = Duration::from_secs(30);
/// The exit code with `--exit-code` where something has drifted.
const DRIFTED: u8 = 1;
/// The exit code where it is not known, whatever the reason.
const FAILED: u8 = 2;

/// In which form it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    /// A table, for people.
    Table,
    /// For programs: one document, or with `--watch` one a line for each Sync that changes.
    Json,
}

/// What is asked for.
#[derive(Args, Debug)]
pub(crate) struct Drift {
    /// A Sync, as `fleet` or `plimsoll-system/fleet`; without it, all.
    #[arg(value_name = "SYNC")]
    sync: Option<String>,
    /// Syncs of this namespace only.
    #[arg(short, long, value_name = "NAME")]
    namespace: Option<String>,
    /// Syncs of all namespaces, as it is without any flag.
    #[arg(short = 'A', long, conflicts_with = "namespace")]
    all_namespaces: bool,
    /// Go on, and tell what changes; Ctrl-C ends it.
    #[arg(short, long)]
    watch: bool,
    /// In which form it is told.
    #[arg(short, long, value_enum, default_value = "table")]
    output: Form,
    /// End with 1 if anything has drifted, and with 2 if nobody can say.
    #[arg(long, conflicts_with = "watch")]
    exit_code: bool,
    /// How to reach the cluster.
    #[command(flatten)]
    cluster: ClusterConfig,
}

/// The Syncs by `namespace/name`.
type Syncs = BTreeMap<String, Sync>;

impl Drift {
    /// How the process ends when this fails.
    pub(crate) fn failure_code() -> ExitCode {
        ExitCode::from(FAILED)
    }

    /// The namespace that is read: one that is named, or all.
    fn read_from(&self) -> Option<&str> {
        let named = self.sync.as_deref().and_then(|sync| sync.split_once('/')).map(|(namespace, _)| namespace);
        self.namespace.as_deref().or(named)
    }

    fn asks_for(&self, sync: &Sync) -> bool {
        let full = answer::name(sync);
        self.sync.as_ref().is_none_or(|asked| *asked == full || sync.metadata.name.as_ref() == Some(asked))
    }
}

/// Tells what the Syncs say of drift; with `--watch`, until Ctrl-C.
///
/// # Errors
/// The cluster can't be asked, has no Syncs, or not the one that is asked for.
pub(crate) async fn run(args: &Drift) -> Result<ExitCode, Failure> {
    let cluster = Cluster::new(cluster::connect(&args.cluster).await?);
    let (tell, mut told) = mpsc::channel(64);
    tokio::select! {
        () = cluster.syncs(args.read_from(), tell) => Err("the API server is no longer listened to".into()),
        done = answer(args, &mut told) => done,
    }
}

async fn answer(args: &Drift, told: &mut mpsc::Receiver<SyncSeen>) -> Result<ExitCode, Failure> {
    let syncs = tokio::time::timeout(ANSWERED, all(args, told));
    let syncs = syncs.await.map_err(|_| format!("the API server did not tell all Syncs within {} s", ANSWERED.as_secs()))??;
    let mut table = Table::default();
    print(&first(args, &syncs, &mut table)?)?;
    answer::notes(&syncs.values().collect::<Vec<_>>()).iter().for_each(|note| say(note));
    if args.watch {
        return follow(args, told, syncs, table).await;
    }
    Ok(if args.exit_code { exit_code(&syncs) } else { ExitCode::SUCCESS })
}

/// All that are asked for, as they are now.
async fn all(args: &Drift, told: &mut mpsc::Receiver<SyncSeen>) -> Result<Syncs, Failure> {
    let (mut syncs, mut others) = (Syncs::new(), Vec::new());
    while let Some(seen) = told.recv().await {
        match seen {
            SyncSeen::Restarted => (syncs, others) = (Syncs::new(), Vec::new()),
            SyncSeen::Sync(sync) if args.asks_for(&sync) => _ = syncs.insert(answer::name(&sync), *sync),
            SyncSeen::Sync(sync) => others.push(answer::name(&sync)),
            SyncSeen::Deleted(sync) => _ = syncs.remove(&answer::name(&sync)),
            SyncSeen::Unreadable(why) => return Err(format!("a Sync can't be read: {why}; is this program older than the agent?").into()),
            SyncSeen::Blind(refusal) => return Err(unseen(args, &refusal).into()),
            SyncSeen::Whole if syncs.is_empty() => return Err(none(args, &others).into()),
            SyncSeen::Whole => return Ok(syncs),
        }
    }
    Err("the API server is no longer listened to".into())
}

fn unseen(args: &Drift, refusal: &Refusal) -> String {
    let place = args.read_from().map_or_else(|| "all namespaces".to_owned(), |namespace| format!("namespace {namespace}"));
    match refusal {
        Refusal::NoKind { .. } | Refusal::NotFound { .. } => {
            "this cluster does not know Syncs; see `plimsoll install`, or choose another by --context".to_owned()
        }
        refusal => format!("the Syncs of {place} can't be read: {refusal}"),
    }
}

fn none(args: &Drift, others: &[String]) -> String {
    let place = args.read_from().map_or_else(String::new, |namespace| format!(" in namespace {namespace}"));
    match (&args.sync, others) {
        (Some(sync), []) => format!("there is no Sync `{sync}`{place}, nor any other"),
        (Some(sync), others) => format!("there is no Sync `{sync}`{place}; there are: {}", others.join(", ")),
        (None, _) => format!("there are no Syncs{place}"),
    }
}

fn first(args: &Drift, syncs: &Syncs, table: &mut Table) -> Result<String, Failure> {
    match (args.output, args.watch) {
        (Form::Table, _) => Ok(table.lines(&syncs.values().flat_map(answer::rows).collect::<Vec<_>>())),
        (Form::Json, true) => syncs.values().map(line).collect(),
        (Form::Json, false) => {
            let documents: Vec<_> = syncs.values().map(answer::document).collect();
            Ok(format!("{}\n", serde_json::to_string_pretty(&serde_json::json!({ "syncs": documents }))?))
        }
    }
}

fn line(sync: &Sync) -> Result<String, Failure> {
    Ok(format!("{}\n", serde_json::to_string(&answer::document(sync))?))
}

fn exit_code(syncs: &Syncs) -> ExitCode {
    let standings: Vec<Standing> = syncs.values().map(answer::standing).collect();
    if standings.iter().any(|standing| matches!(standing, Standing::Drifted(_))) {
        return ExitCode::from(DRIFTED);
    }
    let is_known = |standing: &Standing| *standing == Standing::InSync;
    if standings.iter().all(is_known) { ExitCode::SUCCESS } else { ExitCode::from(FAILED) }
}

/// Tells what changes, for as long as somebody reads it.
async fn follow(args: &Drift, told: &mut mpsc::Receiver<SyncSeen>, mut syncs: Syncs, mut table: Table) -> Result<ExitCode, Failure> {
    // Those that are told again after an interruption; none while there is none.
    let mut again: Option<Vec<String>> = None;
    while let Some(seen) = told.recv().await {
        match seen {
            SyncSeen::Restarted => again = Some(Vec::new()),
            SyncSeen::Whole => {
                let there = again.take().unwrap_or_default();
                syncs.retain(|name, _| there.contains(name) || gone(name));
            }
            SyncSeen::Sync(sync) if args.asks_for(&sync) => {
                again.iter_mut().for_each(|again| again.push(answer::name(&sync)));
                let before = syncs.insert(answer::name(&sync), (*sync).clone()).unwrap_or_default();
                print(&changed(args, &before, &sync, &mut table)?)?;
            }
            SyncSeen::Sync(_) => {}
            SyncSeen::Deleted(sync) => _ = syncs.remove(&answer::name(&sync)).map(|sync| gone(&answer::name(&sync))),
            SyncSeen::Unreadable(why) => say(&format!("A Sync can't be read: {why}")),
            SyncSeen::Blind(refusal) => say(&format!("Nothing is seen at present: {}. It is tried again.", unseen(args, &refusal))),
        }
    }
    Err("the API server is no longer listened to".into())
}

/// Says that a Sync is gone; it is not kept.
fn gone(name: &str) -> bool {
    say(&format!("Sync {name} is gone."));
    false
}

fn changed(args: &Drift, before: &Sync, sync: &Sync, table: &mut Table) -> Result<String, Failure> {
    let is_said = serde_json::to_value(answer::document(before))? == serde_json::to_value(answer::document(sync))?;
    match args.output {
        Form::Table => Ok(table.lines(&answer::news(before, sync))),
        Form::Json if is_said => Ok(String::new()),
        Form::Json => line(sync),
    }
}

fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

fn say(text: &str) {
    _ = writeln!(io::stderr(), "{text}");
}
