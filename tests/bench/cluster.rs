//! `cargo bench --bench cluster`: the figures that the README shows, measured on real servers, each beside its bar.
//!
//! `--json` prints them as JSON; `--rounds N` sets how many pushes the latencies are taken from (default 20); words run only the measures of
//! these names: binary, push, quiet, cold, and W2 to W11 (see `live`). It ends with 1 if a bar is missed. Figures depend on the machine: the load
//! is printed with them, and on a busy one it does not begin (`--busy` does it nevertheless).
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

mod arrival;
mod cold;
mod figure;
mod live;
mod push;
mod quiet;

use std::path::PathBuf;
use std::process::ExitCode;

use figure::Figure;
use harness::Result;

/// The agent as it is released: the bench profile is the release profile.
const AGENT: &str = env!("CARGO_BIN_EXE_plimsoll");

struct Options {
    json: bool,
    rounds: usize,
    only: Vec<String>,
    busy: bool,
}

impl Options {
    fn from_arguments() -> Self {
        let mut options = Self { json: false, rounds: 20, only: Vec::new(), busy: false };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                // Cargo says this to every benchmark.
                "--bench" => {}
                "--json" => options.json = true,
                "--rounds" => options.rounds = arguments.next().and_then(|count| count.parse().ok()).unwrap_or(options.rounds),
                "--busy" => options.busy = true,
                word => options.only.push(word.to_owned()),
            }
        }
        options
    }

    fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == name)
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let options = Options::from_arguments();
    if !options.busy && !is_quiet().await {
        println!("The machine is busy (load {}): figures would say nothing. Wait, or say --busy.", figure::load());
        return ExitCode::FAILURE;
    }
    let (mut figures, mut troubles) = (Vec::new(), Vec::new());
    let wanted = |name: &&str| options.wants(name) || (*name == "live" && live::NAMES.iter().any(|name| options.wants(name)));
    for name in ["binary", "push", "quiet", "cold", "live"].into_iter().filter(wanted) {
        match measure(name, &options).await {
            Ok(more) => figures.extend(more),
            Err(trouble) => troubles.push(trouble.while_doing(name).to_string()),
        }
    }
    println!("{}", if options.json { figure::json(&figures) } else { figure::table(&figures) });
    // What could not be measured holds no bar.
    troubles.iter().for_each(|trouble| println!("{trouble}"));
    let held = troubles.is_empty() && !figures.is_empty() && figures.iter().all(Figure::holds);
    if held { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Waits a while for what built this to come to rest.
async fn is_quiet() -> bool {
    for _ in 0..36 {
        if figure::load().split(' ').next().and_then(|load| load.parse::<f64>().ok()).is_none_or(|load| load < 0.7) {
            return true;
        }
        tokio::time::sleep(std::time::Duration::from_secs(5)).await;
    }
    false
}

async fn measure(name: &str, options: &Options) -> Result<Vec<Figure>> {
    match name {
        "push" => push::measure(options.rounds).await,
        "quiet" => quiet::measure().await,
        "cold" => cold::measure().await,
        "live" => live::measure(options.rounds, |name| options.wants(name)).await,
        _ => Ok(vec![Figure::at_most("release binary", std::fs::metadata(PathBuf::from(AGENT))?.len() as f64 / 1e6, "MB", 25.0)]),
    }
}
