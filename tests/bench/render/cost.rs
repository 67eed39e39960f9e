//! What a process costs. Knows nothing of what it does.

use std::io::Read;
use std::process::{Command, Stdio};

use harness::{Result, Trouble};
use rustix::time::{ClockId, clock_gettime};
use wait4::Wait4;

/// What the kernel says of a process that has ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    /// User and system time, in milliseconds.
    pub(crate) cpu: f64,
    /// The most memory that it had at once, in MiB.
    pub(crate) peak: f64,
}

/// Runs a command whose output nobody reads.
pub(crate) fn of(mut command: Command) -> Result<Cost> {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let used = child.wait4()?;
    if !used.status.success() {
        return Err(Trouble::new(format!("{command:?} ended with {}", used.status)));
    }
    let cpu = used.rusage.utime + used.rusage.stime;
    Ok(Cost { cpu: cpu.as_secs_f64() * 1e3, peak: used.rusage.maxrss as f64 / 1024.0 / 1024.0 })
}

/// The medians of several runs.
pub(crate) fn median(runs: usize, command: impl Fn() -> Command) -> Result<Cost> {
    let costs = (0..runs.max(1)).map(|_| of(command())).collect::<Result<Vec<_>>>()?;
    let of = |part: fn(&Cost) -> f64| middle(costs.iter().map(part).collect());
    Ok(Cost { cpu: of(|cost| cost.cpu), peak: of(|cost| cost.peak) })
}

/// The medians of two commands that run in turn.
pub(crate) fn in_turn(runs: usize, one: impl Fn() -> Command, other: impl Fn() -> Command) -> Result<(Cost, Cost)> {
    let (mut ones, mut others) = (Vec::new(), Vec::new());
    for _ in 0..runs.max(1) {
        ones.push(of(one())?);
        others.push(of(other())?);
    }
    let median = |costs: &[Cost]| Cost {
        cpu: middle(costs.iter().map(|cost| cost.cpu).collect()),
        peak: middle(costs.iter().map(|cost| cost.peak).collect()),
    };
    Ok((median(&ones), median(&others)))
}

/// The middle one of some values.
pub(crate) fn middle(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Whether two commands print the same.
pub(crate) fn print_the_same(mut one: Command, mut other: Command) -> Result<bool> {
    let printed = |command: &mut Command| -> Result<Vec<u8>> {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let mut text = Vec::new();
        child.stdout.as_mut().map_or(Ok(0), |out| out.read_to_end(&mut text))?;
        child.wait()?;
        Ok(text)
    };
    let (one, other) = (printed(&mut one)?, printed(&mut other)?);
    Ok(!one.is_empty() && one == other)
}

/// The CPU time that this process has used so far, in milliseconds.
pub(crate) fn own() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 * 1e3 + time.tv_nsec as f64 / 1e6
}
