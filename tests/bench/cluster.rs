//! `cargo bench --bench cluster`: the figures that the README shows, measured on real servers, each beside its bar.
//!
//! `--json` prints them as JSON; `--rounds N` sets how many pushes the latencies are taken from (default 20); a word runs only the
//! measures whose name contains it. It ends with 1 if a bar is missed. Figures depend on the machine: the load is printed with them.
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

mod arrival;
mod cold;
mod figure;
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
    only: Option<String>,
}

impl Options {
    fn from_arguments() -> Self {
        let mut options = Self { json: false, rounds: 20, only: None };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                // Cargo says this to every benchmark.
                "--bench" => {}
                "--json" => options.json = true,
                "--rounds" => options.rounds = arguments.next().and_then(|count| count.parse().ok()).unwrap_or(options.rounds),
                word => options.only = Some(word.to_owned()),
            }
        }
        options
    }

    fn wants(&self, name: &str) -> bool {
        self.only.as_ref().is_none_or(|only| name.contains(only))
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let options = Options::from_arguments();
    let (mut figures, mut troubles) = (Vec::new(), Vec::new());
    for name in ["binary", "push", "quiet", "cold"].into_iter().filter(|name| options.wants(name)) {
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

async fn measure(name: &str, options: &Options) -> Result<Vec<Figure>> {
    match name {
        "push" => push::measure(options.rounds).await,
        "quiet" => quiet::measure().await,
        "cold" => cold::measure().await,
        _ => Ok(vec![Figure::at_most("release binary", std::fs::metadata(PathBuf::from(AGENT))?.len() as f64 / 1e6, "MB", 25.0)]),
    }
}
