//! `plimsoll drift` tells what the Syncs of a cluster say, and its exit code can be relied on.

use std::io::{BufRead, BufReader};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use harness::{Cluster, Result, Trouble, ground, install};
use http::Method;
use serde_json::{Value, json};

const PLIMSOLL: &str = env!("CARGO_BIN_EXE_plimsoll");
const SOON: Duration = Duration::from_secs(60);

#[expect(clippy::disallowed_methods, reason = "the program is what is tested")]
fn command(cluster: &Cluster, arguments: &[&str]) -> Command {
    let mut command = Command::new(PLIMSOLL);
    command.arg("drift").arg("--kubeconfig").arg(cluster.kubeconfig()).args(arguments);
    command
}

async fn drift(cluster: &Cluster, arguments: &[&str]) -> Result<Output> {
    let mut command = command(cluster, arguments);
    Ok(tokio::task::spawn_blocking(move || command.output()).await??)
}

/// A namespace with the Sync `fleet` in it, of which no agent says anything.
async fn sync() -> Result<(&'static Cluster, String)> {
    let cluster = &ground().await?.cluster;
    install(cluster).await?;
    let namespace = cluster.namespace("drift-command").await?;
    cluster.apply(&sync_named(&namespace, "fleet")).await?;
    Ok((cluster, namespace))
}

fn sync_named(namespace: &str, name: &str) -> String {
    format!(
        "{{apiVersion: plimsoll.dev/v1alpha1, kind: Sync, metadata: {{name: {name}, namespace: {namespace}}}, spec: {{url: 'https://git.example/x.git'}}}}"
    )
}

/// Says of the Sync `fleet` what an agent would.
async fn say(cluster: &Cluster, namespace: &str, status: &Value) -> Result {
    let path = cluster.path("plimsoll.dev/v1alpha1", "Sync", namespace, "fleet").await?;
    let answer = cluster.send(Method::PATCH, &format!("{path}/status"), "application/merge-patch+json", &json!({"status": status})).await?;
    answer.map(drop).map_err(|refusal| Trouble::new(format!("{refusal:?}")))
}

fn drifted(state: &str) -> Value {
    let field = json!({"path": "spec.replicas", "was": "3", "is": "5", "by": "kubectl (scale)"});
    let entry = json!({"app": "web", "object": "Deployment web/api", "state": state, "since": "2026-03-01T10:00:00Z", "fields": [field]});
    let count = if state == "healed" { Value::Null } else { json!(1) };
    json!({"state": "Drifted", "observedGeneration": 1, "drifted": count, "drift": [entry]})
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test]
async fn what_has_drifted_is_told_and_ends_with_one_where_that_is_asked_for() -> Result {
    let (cluster, namespace) = sync().await?;
    say(cluster, &namespace, &drifted("reported")).await?;
    let output = drift(cluster, &["-n", &namespace]).await?;
    let row =
        format!("{namespace}/fleet  web  Deployment web/api  spec.replicas  3    5   kubectl (scale)  2026-03-01T10:00:00Z  reported\n");
    assert!(output.status.success() && out(&output).ends_with(&row) && out(&output).lines().count() == 2, "{output:?}");
    assert!(told(&output).ends_with("1 object is not as Git says, in 1 of 1 Sync.\n"), "{output:?}");
    let json = drift(cluster, &[&format!("{namespace}/fleet"), "-o", "json", "--exit-code"]).await?;
    let document: Value = serde_json::from_slice(&json.stdout)?;
    let entry = document.pointer("/syncs/0/drift/0/fields/0");
    assert_eq!(
        (json.status.code(), entry),
        (Some(1), Some(&json!({"path": "spec.replicas", "was": "3", "is": "5", "by": "kubectl (scale)"})))
    );
    assert_eq!(document.pointer("/syncs/0/drifted"), Some(&json!(1)));
    Ok(())
}

#[tokio::test]
async fn only_what_an_agent_has_said_is_in_sync() -> Result {
    let (cluster, namespace) = sync().await?;
    let silent = drift(cluster, &["-n", &namespace, "--exit-code"]).await?;
    assert!(silent.status.code() == Some(2) && told(&silent).contains("no agent has said anything of it yet"), "{silent:?}");
    say(cluster, &namespace, &json!({"state": "InSync", "observedGeneration": 1})).await?;
    let calm = drift(cluster, &["-n", &namespace, "--exit-code"]).await?;
    assert_eq!((calm.status.code(), out(&calm).as_str()), (Some(0), ""));
    assert!(told(&calm).ends_with("No drift in 1 Sync, as their agents last said.\n"), "{calm:?}");
    say(cluster, &namespace, &drifted("healed")).await?;
    let healed = drift(cluster, &["-n", &namespace, "--exit-code"]).await?;
    assert!(healed.status.code() == Some(0) && out(&healed).ends_with("healed\n"), "{healed:?}");
    Ok(())
}

#[tokio::test]
async fn what_is_not_there_is_an_error_that_ends_with_two() -> Result {
    let (cluster, namespace) = sync().await?;
    let check = async |arguments: &[&str], words: &str| -> Result {
        let output = drift(cluster, arguments).await?;
        let is_right = output.status.code() == Some(2) && output.stdout.is_empty() && told(&output).contains(words);
        assert!(is_right, "{arguments:?}: {output:?}");
        Ok(())
    };
    check(&["flet", "-n", &namespace], &format!("there is no Sync `flet` in namespace {namespace}; there are: {namespace}/fleet")).await?;
    check(&["-n", "no-such-namespace"], "there are no Syncs in namespace no-such-namespace").await?;
    check(&["--context", "none"], "none").await?;
    check(&["-A", "-n", &namespace], "cannot be used with").await?;
    check(&["--watch", "--exit-code"], "cannot be used with").await
}

#[tokio::test]
async fn a_watch_tells_what_changes_and_nothing_twice() -> Result {
    let (cluster, namespace) = sync().await?;
    let mut command = command(cluster, &["-n", &namespace, "--watch"]);
    let mut watch = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let (said, noted) = (lines(watch.stdout.take()), lines(watch.stderr.take()));
    let seen = async {
        // What it says when it has seen all that is there.
        expect(noted, |line| line.starts_with("No Sync tells")).await?;
        for state in ["reported", "reported", "healed"] {
            say(cluster, &namespace, &drifted(state)).await?;
        }
        expect(said, |line| line.ends_with("  healed")).await
    };
    let seen = seen.await;
    watch.kill()?;
    watch.wait()?;
    let states: Vec<String> = seen?.iter().filter_map(|line| line.split_whitespace().last().map(str::to_owned)).collect();
    assert_eq!(states, ["STATE", "reported", "healed"]);
    Ok(())
}

fn lines(pipe: Option<impl std::io::Read + Send + 'static>) -> tokio::sync::mpsc::UnboundedReceiver<String> {
    let (tell, lines) = tokio::sync::mpsc::unbounded_channel();
    std::thread::spawn(move || {
        let read = pipe.into_iter().flat_map(|pipe| BufReader::new(pipe).lines());
        read.map_while(std::result::Result::ok).take_while(|line| tell.send(line.clone()).is_ok()).for_each(drop);
    });
    lines
}

/// The lines up to the one that is looked for.
async fn expect(mut lines: tokio::sync::mpsc::UnboundedReceiver<String>, is_it: impl Fn(&str) -> bool) -> Result<Vec<String>> {
    let mut seen: Vec<String> = Vec::new();
    let found = async {
        while let Some(line) = lines.recv().await {
            seen.push(line);
            if seen.last().is_some_and(|line| is_it(line)) {
                return true;
            }
        }
        false
    };
    let found = tokio::time::timeout(SOON, found).await.unwrap_or(false);
    if found { Ok(seen) } else { Err(Trouble::new(format!("it did not say what was looked for, but: {seen:?}"))) }
}
