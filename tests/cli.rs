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

const PRODUCTION: [&str; 6] = ["--repo", "examples/fleet", "--provider", "hetzner", "--environment", "production"];

#[test]
fn a_field_of_a_fleet_is_explained_by_its_base_and_the_layers_of_the_cluster() -> Result {
    let told = out(&[&["explain", "deploy/web", "spec.replicas"][..], &PRODUCTION].concat())?;
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(lines.first(), Some(&"Deployment shop/web  spec.replicas: 3"), "{told}");
    assert!(lines.iter().any(|line| line.contains("+ 2  apps/shop/base/web.yaml:10:13")), "{told}");
    let last = lines.last().copied().unwrap_or_default();
    assert!(last.starts_with("> replicas") && last.contains("2 -> 3  apps/shop/overlays/production/kustomization.yaml:4:"), "{told}");
    assert!(last.contains("(environment=production)"), "{told}");
    assert!(!told.contains('\u{1b}'), "no colour where there is no terminal");
    Ok(())
}

#[test]
fn an_explanation_can_be_had_as_json() -> Result {
    let told = out(&[&["explain", "Ingress/shop", "/spec/ingressClassName", "-o", "json"][..], &PRODUCTION].concat())?;
    let told: serde_json::Value = serde_json::from_str(&told)?;
    assert_eq!((&told["value"], &told["app"], &told["field"]), (&"nginx".into(), &"shop".into(), &"spec.ingressClassName".into()));
    let place = &told["links"][0]["changes"][0]["place"];
    assert_eq!((&place["file"], &place["layer"]), (&"apps/shop/overlays/hetzner/kustomization.yaml".into(), &"provider=hetzner".into()));
    Ok(())
}

#[test]
fn an_object_of_a_kustomization_is_explained_by_its_files_and_steps_in_colour_on_request() -> Result {
    let told = out(&["explain", "configmap/web-settings", "-k", "examples/fleet/apps/shop/base", "--color", "always"])?;
    for part in ["configMapGenerator", "namespace", "hash of the content", "\u{1b}[32m"] {
        assert!(told.contains(part), "`{part}` is not in:\n{told}");
    }
    Ok(())
}

#[test]
fn what_cannot_be_explained_is_answered_with_what_came_near() -> Result {
    let told = refused(&["explain", "deployment/wbe", "--repo", "examples/fleet"])?;
    assert!(told.contains("no Deployment `wbe`") && told.contains("Deployment shop/web in apps/shop/base/web.yaml:"), "{told}");
    let told = refused(&["explain", "deployment/web", "spec.replica", "--repo", "examples/fleet"])?;
    assert!(told.contains("did you mean `replicas`?"), "{told}");
    let told = refused(&["explain", "web", "--repo", "examples/fleet"])?;
    assert!(told.contains("KIND/NAME"), "{told}");
    Ok(())
}

#[test]
fn the_commit_of_each_line_is_told() -> Result {
    let directory = tempfile::tempdir()?;
    let history = History::begin(directory.path())?;
    let deployment = |replicas: u32| {
        format!("apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: web}}\nspec:\n  replicas: {replicas}\n  paused: false\n")
    };
    history.save("kustomization.yaml", "resources: [web.yaml]\n")?;
    history.save("web.yaml", &deployment(1))?;
    let first = history.commit("add the shop")?;
    history.save("web.yaml", &deployment(2))?;
    let second = history.commit("scale the shop\n\nat length")?;
    let at = directory.path().display().to_string();
    let blame = |field: &str| out(&["explain", "deploy/web", field, "-k", &at, "--blame"]);
    assert!(
        blame("spec.replicas")?.contains(&format!("({} 2026-11-24 Anna: scale the shop)", &second[..8])),
        "{}",
        blame("spec.replicas")?
    );
    assert!(blame("spec.paused")?.contains(&format!("({} 2026-11-24 Anna: add the shop)", &first[..8])));
    history.save("web.yaml", &format!("# {}", deployment(2)).replacen("# ", "# a word\n", 1).replace("replicas: 2", "replicas: 3"))?;
    assert!(blame("spec.replicas")?.contains("(not committed yet)"), "{}", blame("spec.replicas")?);
    assert!(blame("spec.paused")?.contains("add the shop"));
    Ok(())
}

/// A Git repository whose commits are all Anna's.
struct History {
    repository: git2::Repository,
}

impl History {
    fn begin(directory: &Path) -> Result<Self> {
        Ok(Self { repository: git2::Repository::init(directory)? })
    }

    fn save(&self, file: &str, text: &str) -> Result {
        let path = self.repository.workdir().ok_or_else(|| Trouble::new("a bare repository"))?.join(file);
        std::fs::create_dir_all(path.parent().unwrap_or(&path))?;
        Ok(std::fs::write(path, text)?)
    }

    fn commit(&self, message: &str) -> Result<String> {
        let mut index = self.repository.index()?;
        index.add_all(["*"], git2::IndexAddOption::DEFAULT, None)?;
        index.write()?;
        let tree = self.repository.find_tree(index.write_tree()?)?;
        let anna = git2::Signature::new("Anna", "anna@example.com", &git2::Time::new(1_795_500_000, 0))?;
        let parent = self.repository.head().ok().map(|head| head.peel_to_commit()).transpose()?;
        let parents: Vec<_> = parent.iter().collect();
        Ok(self.repository.commit(Some("HEAD"), &anna, &anna, message, &tree, &parents)?.to_string())
    }
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
