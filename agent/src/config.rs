//! The agent's configuration: flags and the environment, read here and nowhere else.
//!
//! What a Sync should do is in the Sync; here is only what differs from process to process.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One readable line an event.
    #[default]
    Text,
    /// One JSON object an event.
    Json,
}

/// What is logged, and how.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Logging")]
pub struct LogConfig {
    /// What to log: a level, or directives as `info,plimsoll::git=debug`.
    #[arg(long, global = true, env = "PLIMSOLL_LOG", default_value = "info", value_name = "FILTER")]
    pub log: String,
    /// How log lines look.
    #[arg(long, global = true, env = "PLIMSOLL_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
}

/// How to reach the cluster.
#[derive(Args, Clone, Debug, Default)]
pub struct ClusterConfig {
    /// The kubeconfig to use; without it, the Pod's ServiceAccount, else `$KUBECONFIG` or `~/.kube/config`.
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig; without it, the current one.
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,
}

/// What one agent process is and where it keeps and serves things.
#[derive(Args, Clone, Debug)]
pub struct AgentConfig {
    /// How to reach the cluster.
    #[command(flatten)]
    pub cluster: ClusterConfig,
    /// Who this process is among the agents of the cluster, as Leases show it.
    #[arg(long, env = "POD_NAME", default_value = "plimsoll", value_name = "NAME")]
    pub identity: String,
    /// Follow the Syncs of this namespace only; without it, those of all.
    #[arg(long, env = "PLIMSOLL_NAMESPACE")]
    pub namespace: Option<String>,
    /// Where fetched repositories are kept; may be lost at any time.
    #[arg(long, env = "PLIMSOLL_CACHE_DIR", default_value = "/var/cache/plimsoll", value_name = "DIR")]
    pub cache_dir: PathBuf,
    /// Where `/healthz`, `/readyz` and `/metrics` are served.
    #[arg(long, env = "PLIMSOLL_LISTEN", default_value = "0.0.0.0:8080", value_name = "ADDRESS")]
    pub listen: SocketAddr,
    /// Where push hooks are taken; without it, none are.
    #[arg(long, env = "PLIMSOLL_HOOK_LISTEN", value_name = "ADDRESS")]
    pub hook_listen: Option<SocketAddr>,
    /// The name of the cluster, where neither the Sync nor the nodes say it.
    #[arg(long, env = "PLIMSOLL_CLUSTER_NAME", value_name = "NAME")]
    pub cluster_name: Option<String>,
    /// How often an object of each Sync, chosen at random, is compared with what an apply would make of it, to prove that the watch misses
    /// nothing; 0 is never.
    #[arg(long, env = "PLIMSOLL_AUDIT", default_value = "5m", value_parser = duration, value_name = "DURATION")]
    pub audit: Duration,
    /// Let Syncs name repositories on this machine's disk (`file://`, a path): whoever may write a Sync could read any of them.
    #[arg(long, env = "PLIMSOLL_ALLOW_LOCAL")]
    pub allow_local: bool,
}

/// Reads a duration as users write it: `30s`, `5m`, `1h30m`, `500ms`; a bare `0` is allowed.
///
/// # Errors
/// Says what is wrong with the text and what a duration looks like.
pub fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is no duration; write it as 30s, 5m or 1h30m");
    let mut rest = text.trim();
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let number: u64 = rest[..digits].parse().map_err(|_| wrong())?;
        let letters = rest[digits..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |n| digits + n);
        let unit = match &rest[digits..letters] {
            "ms" => Duration::from_millis(number),
            "s" => Duration::from_secs(number),
            "m" => Duration::from_secs(number.saturating_mul(60)),
            "h" => Duration::from_secs(number.saturating_mul(3600)),
            _ => return Err(wrong()),
        };
        total = total.saturating_add(unit);
        rest = &rest[letters..];
    }
    if text.trim().is_empty() { Err(wrong()) } else { Ok(total) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_users_write_them() {
        let check = |text: &str, millis: Option<u128>| assert_eq!(duration(text).ok().map(|d| d.as_millis()), millis, "{text}");
        check("30s", Some(30_000));
        check("1h30m", Some(5_400_000));
        check("500ms", Some(500));
        check("0", Some(0));
        check("0s", Some(0));
        check("", None);
        check("5", None);
        check("5d", None);
        check("-5s", None);
        check("99999999999999999999s", None);
        check("18446744073709551615h", Some(u128::from(u64::MAX) * 1000));
    }
}
