//! `cargo run --release --example demo`: a push, and three clusters on three providers converge. Everything is real but the nodes.
//!
//! It stays up until Ctrl-C and leaves nothing behind; with `--once` it ends after the first green table.
#![expect(clippy::print_stdout, clippy::disallowed_methods, reason = "a demo talks to a person, builds the agent and reads the clock")]

mod rollout;
mod table;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use harness::{ACCOUNT, Lab, PASSWORD, Result, SYSTEM, Trouble, USER, World};
use indicatif::{ProgressBar, ProgressStyle};
use rollout::Rollout;

/// A name, and what the provider calls a node: all that differs between the clusters.
const CLUSTERS: [(&str, &str); 3] =
    [("fra-1", "aws:///eu-central-1a/i-0a1b2c3d4e5f60718"), ("ams-1", "gce://fleet/europe-west4-a/node-1"), ("nbg-1", "hcloud://47110815")];

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument != "--once") {
        println!("usage: cargo run --release --example demo [-- --once]");
        return ExitCode::from(2);
    }
    let once = !arguments.is_empty();
    // Whatever happens, `show` has returned before the process ends, and with it everything has been stopped.
    let shown = tokio::select! {
        shown = show(once) => shown,
        _ = tokio::signal::ctrl_c() => Ok(()),
    };
    match shown {
        Ok(()) => ExitCode::SUCCESS,
        Err(trouble) => {
            println!("{trouble}");
            ExitCode::FAILURE
        }
    }
}

async fn show(once: bool) -> Result {
    let start = Instant::now();
    let spinner = spinner();
    let building = spinner.clone();
    let agent = tokio::task::spawn_blocking(move || build(&building)).await??;
    let world = raise(agent, &spinner).await?;
    spinner.finish_and_clear();
    println!("{} is pushed to {} and followed by three clusters.\n", &world.first[..7], world.repository.url);
    let rollouts = rollout::watch(&world).await?;
    println!("\n{}", table::clusters(&world, &rollouts).await?);
    println!("{}", table::statuses(&world.statuses(&world.first).await?));
    println!("From the start to three green clusters: {:.1} s.", start.elapsed().as_secs_f32());
    if rollouts.iter().any(|rollout| !rollout.is_green()) {
        return Err(Trouble::new(world.seen(&world.first).await));
    }
    if !once {
        go_on(&world)?;
        std::future::pending::<()>().await;
    }
    Ok(())
}

fn spinner() -> ProgressBar {
    let spinner = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed:>4} {wide_msg}") {
        spinner.set_style(style);
    }
    spinner.enable_steady_tick(Duration::from_millis(100));
    spinner
}

/// Says what is being done; on a line of its own where there is no terminal to spin on.
fn say(spinner: &ProgressBar, what: &str) {
    spinner.set_message(what.to_owned());
    if spinner.is_hidden() {
        println!("{what}");
    }
}

/// Builds what is missing, and returns the agent's program.
fn build(spinner: &ProgressBar) -> Result<PathBuf> {
    Lab::binaries_with(&|line| say(spinner, line))?;
    // Beside this example lies what was built with it: target/release/examples/demo, target/release/plimsoll.
    let demo = std::env::current_exe()?;
    let profile = demo.parent().and_then(Path::parent).ok_or_else(|| Trouble::new("this program lies nowhere"))?;
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--bin", "plimsoll", "--manifest-path", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")]);
    cargo.args(profile.ends_with("release").then_some("--release"));
    // What `cargo run` says of this example would look to build scripts as if their own package had changed, and compile TLS anew.
    for (key, _) in
        std::env::vars_os().filter(|(key, _)| ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|set| key.to_string_lossy().starts_with(set)))
    {
        cargo.env_remove(key);
    }
    let mut building = cargo.stdin(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    let mut said = Vec::new();
    for line in building.stderr.take().into_iter().flat_map(|stderr| BufReader::new(stderr).lines()).map_while(std::io::Result::ok) {
        say(spinner, &format!("agent: {}", line.trim()));
        said.push(line);
    }
    if building.wait()?.success() {
        return Ok(profile.join("plimsoll"));
    }
    Err(Trouble::new(format!("the agent does not build:\n{}", said.join("\n"))))
}

async fn raise(agent: PathBuf, spinner: &ProgressBar) -> Result<World> {
    let (heard, fleet) = (spinner.clone(), Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/fleet"));
    say(spinner, "starting a forge and three clusters");
    let world = World::of(agent).copy_of(fleet).progress(move |line| say(&heard, line));
    CLUSTERS.into_iter().fold(world, |world, (name, node)| world.cluster(name, node)).start().await
}

/// The commands to go on with.
fn go_on(world: &World) -> Result {
    world.repository.remember_credentials()?;
    let (clone, forge) = (world.repository.directory(), world.forge.url());
    println!(
        "\nThe commits with their statuses: {forge}/{}/commits/branch/main  (user {USER}, password {PASSWORD})",
        world.repository.name
    );
    println!("\nPush a change:\n  cd {}", clone.display());
    println!("  sed -i 's/GREETING=Ahoy/GREETING=Hello/' apps/shop/base/kustomization.yaml && git commit -am 'Say hello' && git push");
    println!("\nBreak something (an image that can't be pulled), and read the commit's status:");
    println!(
        "  sed -i 's/labels: {{app: web}}/labels: {{app: web, kubelab\\/fate: pull}}/' apps/shop/base/web.yaml && git commit -am 'Break web' && git push"
    );
    println!("\nLook with kubectl:");
    for site in &world.sites {
        println!("  kubectl --kubeconfig {} get syncs,deployments --all-namespaces   # {}", site.cluster.kubeconfig().display(), site.name);
    }
    println!(
        "\nThe agents run as the ServiceAccount {SYSTEM}/{ACCOUNT} that deploy/ grants. Ctrl-C ends it all and leaves nothing behind."
    );
    Ok(())
}
