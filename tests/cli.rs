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
    assert!(told.starts_with("error[kustomization]: there is no app `shopp`; there are: ") && told.contains("shop"), "{told}");
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
    Ok(())
}

#[test]
fn arguments_that_mean_nothing_together_are_a_wrong_use() -> Result {
    let wrong = [
        (&["explain", "web", "--repo", "examples/fleet"][..], "KIND/NAME"),
        (&["diff", "examples/plain"], "two directories"),
        (&["diff", "--live", "--repo", "examples/fleet", "HEAD", "HEAD"], "one side"),
        (&["diff", "--repo", "examples/fleet", "--provider", "a", "--provider", "b", "--provider", "c"], "more than twice"),
    ];
    for (arguments, why) in wrong {
        let output = plimsoll(arguments)?;
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(2) && told.contains(why), "{told}");
    }
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

/// A kustomization with two mistakes.
fn mistaken() -> Result<tempfile::TempDir> {
    let directory = tempfile::tempdir()?;
    let save = |file: &str, text: &str| std::fs::write(directory.path().join(file), text);
    save("kustomization.yaml", "resources: [web.yaml]\npatches:\n- path: wbe.yaml\n- path: nowhere.yaml\n")?;
    save("web.yaml", "apiVersion: v1\nkind: Service\nmetadata:\n  name: web\n")?;
    save("wbe.yaml", "apiVersion: v1\nkind: Service\nmetadata:\n  name: wbe\n")?;
    std::fs::create_dir(directory.path().join(".git"))?;
    Ok(directory)
}

#[test]
fn all_mistakes_are_told_as_a_compiler_does() -> Result {
    let directory = mistaken()?;
    let told = refused(&["render", &directory.path().display().to_string()])?;
    let expected = "error[patch-target-missing]: the patch is for Service wbe, and there is no such object\n --> wbe.yaml:4:9\n  |\n4 |   name: wbe\n  |         ^\nhelp: there is Service web in web.yaml:1\n";
    assert!(told.contains(expected) && told.contains("error[path-missing]: `nowhere.yaml` does not exist"), "{told}");
    Ok(())
}

#[test]
fn mistakes_can_be_had_as_json_and_sarif() -> Result {
    let directory = mistaken()?;
    let at = directory.path().display().to_string();
    let told = |form: &str| -> Result<serde_json::Value> {
        let output = plimsoll(&["render", &at, "--format", form])?;
        assert_eq!(output.status.code(), Some(1));
        Ok(serde_json::from_slice(&output.stdout)?)
    };
    let json = told("json")?;
    let codes: Vec<_> = json["errors"].as_array().into_iter().flatten().map(|error| error["code"].clone()).collect();
    assert_eq!(codes, ["path-missing", "patch-target-missing"]);
    let sarif = told("sarif")?;
    let place = &sarif["runs"][0]["results"][1]["locations"][0]["physicalLocation"];
    assert_eq!((&place["artifactLocation"]["uri"], &place["region"]["startLine"]), (&"wbe.yaml".into(), &4.into()));
    let fine: serde_json::Value = serde_json::from_str(&out(&["render", "--repo", "examples/fleet", "--format", "sarif"])?)?;
    assert_eq!(fine["runs"][0]["results"], serde_json::json!([]));
    Ok(())
}

#[test]
fn a_patch_that_selects_nothing_is_warned_of_and_the_objects_are_printed() -> Result {
    let directory = mistaken()?;
    let patch = "resources: [web.yaml]\npatches:\n- path: any.yaml\n  target: {kind: Service, name: wbe}\n";
    std::fs::write(directory.path().join("kustomization.yaml"), patch)?;
    std::fs::write(directory.path().join("any.yaml"), "- {op: remove, path: /spec}\n")?;
    let at = directory.path().display().to_string();
    let output = plimsoll(&["render", &at])?;
    let (objects, talk) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && objects.contains("kind: Service"), "{objects}");
    assert!(talk.starts_with("warning[patch-selects-nothing]: ") && talk.contains("help: there is Service web in web.yaml:1"), "{talk}");
    let sarif: serde_json::Value = serde_json::from_str(&out(&["render", &at, "--format", "sarif"])?)?;
    assert_eq!(sarif["runs"][0]["results"][0]["level"], "warning");
    Ok(())
}

#[test]
fn while_an_app_does_not_render_no_objects_are_printed_and_all_mistakes_are() -> Result {
    let directory = tempfile::tempdir()?;
    let save = |file: &str, text: &str| -> Result {
        let path = directory.path().join(file);
        std::fs::create_dir_all(path.parent().unwrap_or(&path))?;
        Ok(std::fs::write(path, text)?)
    };
    save("plimsoll.yaml", "apiVersion: plimsoll.dev/v1alpha1\nkind: Fleet\napps:\n- path: apps/*\n")?;
    save("apps/fine/x.yaml", "apiVersion: v1\nkind: Namespace\nmetadata: {name: fine}\n")?;
    save("apps/one/kustomization.yaml", "resources: [one.yaml]\n")?;
    save("apps/two/kustomization.yaml", "resources: [two.yaml]\n")?;
    let told = refused(&["render", "--repo", &directory.path().display().to_string()])?;
    assert!(told.contains("apps/one/one.yaml") && told.contains("apps/two/two.yaml"), "{told}");
    Ok(())
}

#[test]
fn two_clusters_are_compared_with_the_places_of_both() -> Result {
    let compared = ["diff", "--repo", "examples/fleet", "--provider", "aws", "--provider", "gcp", "--exit-code"];
    let output = plimsoll(&compared)?;
    let told = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        told.contains("spec.ingressClassName: alb -> gce  apps/shop/overlays/aws/kustomization.yaml:13:27 (provider=aws) -> "),
        "{told}"
    );
    assert!(told.contains("~ ConfigMap shop/web-settings-") && told.ends_with("3 changed, 0 added, 0 removed\n"), "{told}");
    let json: serde_json::Value = serde_json::from_str(&out(&[&compared[..7], &["-o", "json"]].concat())?)?;
    assert_eq!(
        (&json["before"], json["differences"].as_array().map(Vec::len)),
        (&"provider aws at the files as they are saved".into(), Some(3))
    );
    Ok(())
}

#[test]
fn two_directories_that_come_to_the_same_do_not_differ() -> Result {
    let told = out(&["diff", "examples/fleet/apps/shop/base", "examples/fleet/apps/shop/base", "--exit-code"])?;
    assert_eq!(told, "");
    Ok(())
}

#[test]
fn revisions_are_compared_with_each_other_and_with_what_is_saved() -> Result {
    let directory = tempfile::tempdir()?;
    let history = History::begin(directory.path())?;
    let service = |port: u16| format!("apiVersion: v1\nkind: Service\nmetadata:\n  name: web\nspec:\n  ports:\n  - port: {port}\n");
    history.save("app/kustomization.yaml", "resources: [web.yaml]\n")?;
    for port in [80, 81] {
        history.save("app/web.yaml", &service(port))?;
        history.commit("another port")?;
    }
    let at = directory.path().join("app").display().to_string();
    let told = |revisions: &[&str]| out(&[&["diff", "-k", &at][..], revisions].concat());
    assert_eq!(told(&[])?, "");
    let first = told(&["HEAD~1", "HEAD"])?;
    assert!(first.contains("spec.ports[0].port: 80 -> 81  app/web.yaml:7:11"), "{first}");
    history.save("app/web.yaml", &service(81).replace("spec:", "spec:\n  type: NodePort"))?;
    assert!(told(&[])?.contains("spec.type: + NodePort  app/web.yaml:6:9"));
    history.save("app/web.yaml", "kind: Service\n")?;
    for wrong in [&["HEAD"][..], &["no-such-revision"]] {
        let output = plimsoll(&[&["diff", "--exit-code", "-k", &at][..], wrong].concat())?;
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

#[tokio::test]
async fn git_is_compared_with_a_cluster_and_nothing_is_written() -> Result {
    let cluster = &ground().await?.cluster;
    let namespace = cluster.namespace("diff").await?;
    let directory = tempfile::tempdir()?;
    std::fs::create_dir(directory.path().join(".git"))?;
    let map = |value: &str| format!("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: settings\ndata:\n  value: \"{value}\"\n");
    let save = |value: &str| std::fs::write(directory.path().join("settings.yaml"), map(value));
    let (at, kubeconfig) = (directory.path().display().to_string(), cluster.kubeconfig().display().to_string());
    let compared = ["diff", "--live", &at, "--kubeconfig", &kubeconfig, "--namespace", &namespace, "--exit-code"];
    let told = || -> Result<(Option<i32>, String)> {
        let output = plimsoll(&compared)?;
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok((output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned()))
    };
    save("1")?;
    assert_eq!(told()?, (Some(1), "+ ConfigMap settings  settings.yaml:1:1\n\n0 changed, 1 added, 0 removed\n".to_owned()));
    let found = async || cluster.get("v1", "ConfigMap", &namespace, "settings").await;
    assert!(found().await?.is_none(), "a comparison writes nothing");
    cluster.apply(&map("1").replace("  name: settings\n", &format!("  name: settings\n  namespace: {namespace}\n"))).await?;
    assert_eq!(told()?, (Some(0), String::new()));
    save("2")?;
    let expected = "~ ConfigMap settings\n      data.value: \"1\" -> \"2\"  settings.yaml:6:10\n\n1 changed, 0 added, 0 removed\n";
    assert_eq!(told()?, (Some(1), expected.to_owned()));
    assert_eq!(found().await?.unwrap_or_default()["data"]["value"], "1");
    std::fs::write(directory.path().join("settings.yaml"), map("1").replace("\"1\"", "{}"))?;
    let refused = plimsoll(&compared)?;
    let words = String::from_utf8_lossy(&refused.stderr);
    assert!(refused.status.code() == Some(2) && words.contains("settings.yaml:1:1"), "{words}");
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
