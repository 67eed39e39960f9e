//! `cargo bench --bench render`: what rendering costs beside the real kustomize, each figure beside its bar.
//!
//! CPU time is the measure (user and system, whole processes), so that a busy machine does no harm to it; kustomize and ours run in turn, and
//! medians are told. Words run only the measures of these names: memory, synthetic, warm, heaviest, real. `--all` takes every root of the
//! real set instead of a sample, `--large` lets kustomize build the large synthetic trees too, `--rounds N` sets how often each root of the
//! heaviest is built (default 3), `--json` prints JSON. It ends with 1 if a bar is missed.
//!
//! kustomize is built with Go on first use. The real set lies beside the repository (`../shared/corpus`); where it does not, what needs it
//! is left out, and that is said.
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
#![expect(clippy::disallowed_methods, reason = "a benchmark runs processes")]

#[expect(dead_code, reason = "other benchmarks have figures of other kinds")]
mod figure;
#[path = "render/corpus.rs"]
mod corpus;
#[path = "render/cost.rs"]
mod cost;
#[path = "render/heaviest.rs"]
mod heaviest;
#[path = "render/real.rs"]
mod real;
#[path = "render/synthetic.rs"]
mod synthetic;
#[path = "render/warm.rs"]
mod warm;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use figure::Figure;
use harness::{Lab, Result};

/// The agent as it is released: the bench profile is the release profile.
const OURS: &str = env!("CARGO_BIN_EXE_plimsoll");

/// Memory comes first: a process is born with the peak of the one that starts it, and this one grows.
const MEASURES: [&str; 5] = ["memory", "synthetic", "warm", "heaviest", "real"];

struct Options {
    json: bool,
    all: bool,
    large: bool,
    rounds: usize,
    only: Vec<String>,
}

impl Options {
    fn from_arguments() -> Self {
        let mut options = Self { json: false, all: false, large: false, rounds: 3, only: Vec::new() };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                // Cargo says this to every benchmark.
                "--bench" => {}
                "--json" => options.json = true,
                "--all" => options.all = true,
                "--large" => options.large = true,
                "--rounds" => options.rounds = arguments.next().and_then(|count| count.parse().ok()).unwrap_or(options.rounds),
                word => options.only.push(word.to_owned()),
            }
        }
        options
    }

    fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == name)
    }
}

/// The two programs that are compared.
struct Programs {
    kustomize: PathBuf,
}

impl Programs {
    /// How the real kustomize builds a directory.
    fn kustomize(&self, directory: &Path, restrictor: &str) -> Command {
        let restrictor = if restrictor == "none" { "LoadRestrictionsNone" } else { "LoadRestrictionsRootOnly" };
        let mut command = Command::new(&self.kustomize);
        command.args(["build", "--load-restrictor", restrictor]).arg(directory);
        command
    }

    /// How we do.
    fn ours(directory: &Path, restrictor: &str) -> Command {
        let mut command = Command::new(OURS);
        command.args(["render", "--load-restrictor", restrictor]).arg(directory);
        command
    }
}

fn main() -> ExitCode {
    let options = Options::from_arguments();
    let (mut figures, mut troubles) = (Vec::new(), Vec::new());
    match Lab::kustomize_command() {
        Err(trouble) => troubles.push(trouble.while_doing("kustomize").to_string()),
        Ok(kustomize) => {
            let programs = Programs { kustomize };
            for name in MEASURES.into_iter().filter(|name| options.wants(name)) {
                match measure(name, &options, &programs) {
                    Ok(more) => figures.extend(more),
                    Err(trouble) => troubles.push(trouble.while_doing(name).to_string()),
                }
            }
        }
    }
    let table = || format!("Machine: {}\n{}", machine(), figure::table(&figures));
    println!("{}", if options.json { figure::json(&figures) } else { table() });
    // What could not be measured holds no bar.
    troubles.iter().for_each(|trouble| println!("{trouble}"));
    let held = troubles.is_empty() && !figures.is_empty() && figures.iter().all(Figure::holds);
    if held { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn measure(name: &str, options: &Options, programs: &Programs) -> Result<Vec<Figure>> {
    match name {
        "memory" => heaviest::memory(programs),
        "synthetic" => synthetic::measure(programs, options.large),
        "warm" => warm::measure(),
        "heaviest" => heaviest::measure(programs, options.rounds),
        _ => real::measure(programs, options.all),
    }
}

/// The processors, as the kernel names them.
fn machine() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let names: Vec<&str> =
        text.lines().filter(|line| line.starts_with("model name")).filter_map(|line| Some(line.split_once(": ")?.1)).collect();
    format!("{} x {}", names.len(), names.first().unwrap_or(&"unknown"))
}
