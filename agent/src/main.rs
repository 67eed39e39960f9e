//! The `plimsoll` program: reads its arguments, runs one command, and turns the outcome into an exit code.

use std::process::ExitCode;

/// After a first sync of 10,000 objects it keeps 30 % less than that of glibc, and events cost less. What it is told is in
/// `.cargo/config.toml`; a command that is over soon gives nothing back before its end, an agent does at once (`deploy/daemonset.yaml`).
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    plimsoll::cli::main()
}
