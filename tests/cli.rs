//! The command line as a new user meets it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use harness::{Result, Trouble, ground, until};

const PLIMSOLL: &str = env!("CARGO_BIN_EXE_plimsoll");

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

#[expect(clippy::disallowed_methods, reason = "the program is what is tested")]
fn plimsoll(arguments: &[&str]) -> Result<Output> {
    Ok(Command::new(PLIMSOLL).args(arguments).current_dir(repository()).output()?)
}

fn out(arguments: &[&str]) -> Result<String> {
    let output = plimsoll(arguments)?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn refused(arguments: &[&str]) -> Result<String> {
    let output = plimsoll(arguments)?;
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0), "a refusal prints nothing on standard output");
    Ok(String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn a_fleet_is_rendered_for_each_provider() -> Result {
    let aws = out(&["render", "--repo", "examples/fleet", "--provider", "aws"])?;
    let hetzner = out(&["render", "--repo", "examples/fleet", "--provider", "hetzner"])?;
    assert!(aws.contains("kind: Deployment") && aws != hetzner);
    let shop = out(&["render", "--repo", "examples/fleet", "--provider", "aws", "--app", "shop"])?;
    assert!(aws.contains(&shop) && shop.len() < aws.len());
    Ok(())
}

#[test]
fn an_app_that_is_not_there_is_answered_with_those_that_are() -> Result {
    let told = refused(&["render", "--repo", "examples/fleet", "--app", "shopp"])?;
    assert!(told.starts_with("error: there is no app `shopp`; there are: ") && told.contains("shop"), "{told}");
    Ok(())
}

#[test]
fn a_directory_without_a_kustomization_is_refused_as_kustomize_does_and_taken_on_request() -> Result {
    let told = refused(&["render", "examples/plain"])?;
    assert!(told.contains("kustomization.yaml"), "{told}");
    assert!(out(&["render", "--plain", "examples/plain"])?.contains("kind: "));
    Ok(())
}

#[test]
fn what_layers_come_to_is_a_kustomization_that_a_person_could_have_written() -> Result {
    let text = out(&["render", "--repo", "examples/fleet", "--provider", "aws", "--app", "shop", "--as-kustomization"])?;
    assert!(text.contains("components:") && text.contains("/aws"), "{text}");
    Ok(())
}

#[test]
fn install_prints_the_agent_and_a_first_sync() -> Result {
    let text = out(&["install", "--repo", "https://git.example/fleet.git", "--path", "clusters", "--branch", "main", "--secret", "git"])?;
    for part in
        ["kind: DaemonSet", "kind: CustomResourceDefinition", "url: https://git.example/fleet.git", "branch: main", "path: clusters"]
    {
        assert!(text.contains(part), "`{part}` is not in:\n{text}");
    }
    Ok(())
}

#[test]
fn install_says_on_standard_error_what_the_manifests_do_not() -> Result {
    let check = |arguments: &[&str], words: &[&str]| -> Result {
        let output = plimsoll(&[&["install"], arguments].concat())?;
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && words.iter().all(|word| told.contains(word)), "{told}");
        assert!(!told.contains("hunter2"), "{told}");
        Ok(())
    };
    check(&[], &["the agent waits until you apply one"])?;
    check(&["--repo", "git@git.example:you/fleet.git", "--secret", "git"], &["plimsoll-system/fleet", "Secret plimsoll-system/git"])?;
    check(&["--repo", "https://me:hunter2@git.example/fleet.git"], &["the credentials in https://****@git.example/fleet.git"])?;
    check(&["--repo", "git.example/fleet.git"], &["is a path on the agent's machine"])
}

#[test]
fn what_kubernetes_would_refuse_is_refused_before() -> Result {
    for (arguments, words) in [
        (["--repo", "", "--name", "fleet"], "a value is required for '--repo <URL>'"),
        (["--repo", "https://git.example/fleet.git", "--name", "My_Fleet"], "small letters, digits"),
        (["--path", "clusters", "--branch", "main"], "--repo <URL>"),
    ] {
        let output = plimsoll(&[&["install"], &arguments[..]].concat())?;
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && told.contains(words), "{told}");
    }
    Ok(())
}

#[test]
fn a_wrong_duration_is_a_wrong_use() -> Result {
    let output = plimsoll(&["install", "--repo", "https://git.example/fleet.git", "--poll", "5"])?;
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("write it as 30s, 5m or 1h30m"));
    Ok(())
}

#[tokio::test]
async fn a_working_tree_is_followed_as_it_is_saved() -> Result {
    let cluster = &ground().await?.cluster;
    let namespace = cluster.namespace("dev").await?;
    let directory = tempfile::tempdir()?;
    let save = |value: &str| {
        let text = format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: saved}}\ndata: {{value: \"{value}\"}}\n");
        std::fs::write(directory.path().join("saved.yaml"), text)
    };
    save("1")?;
    let mut dev = dev(directory.path(), &cluster.kubeconfig(), &namespace)?;
    let followed = async {
        for value in ["1", "2"] {
            save(value)?;
            until(&format!("the cluster to follow value {value}"), Duration::from_secs(30), async || {
                let saved = cluster.get("v1", "ConfigMap", &namespace, "saved").await?.unwrap_or_default();
                if saved["data"]["value"] == value { Ok(()) } else { Err(Trouble::new(format!("{saved}"))) }
            })
            .await?;
        }
        Ok(())
    }
    .await;
    dev.kill()?;
    dev.wait()?;
    followed
}

#[expect(clippy::disallowed_methods, reason = "the program is what is tested")]
fn dev(directory: &Path, kubeconfig: &Path, namespace: &str) -> std::io::Result<std::process::Child> {
    let mut command = Command::new(PLIMSOLL);
    command.arg("dev").arg(directory).arg("--kubeconfig").arg(kubeconfig).args(["--namespace", namespace]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()
}
