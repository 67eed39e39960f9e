//! Bases in other repositories: brought if they are pinned and their host is allowed, once, and by nobody else's credentials.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use harness::{Repository, Result, Site, Trouble, World, ground, until};
use serde_json::{Value, json};

use crate::failure::config_map;
use crate::git::parent;
use crate::git::server::{Manner, Server};
use crate::sync::AGENT;

const BASE: (&str, &str, &str) = ("v1", "ConfigMap", "base");

/// A repository with a base, tagged `v1`, behind a server that counts and can misbehave.
struct Base {
    repository: Repository,
    server: Server,
    /// The commit of `v1`.
    first: String,
}

impl Base {
    async fn new(value: &str) -> Result<Self> {
        let repository = Repository::local("base")?;
        let first = based(&repository, value)?;
        repository.tag("v1")?;
        let server = Server::start(parent(&repository)).await?;
        Ok(Self { repository, server, first })
    }

    fn url(&self, query: &str) -> String {
        format!("{}/remote.git//web{query}", self.server.url)
    }
}

/// Writes the base into a repository.
fn based(repository: &Repository, value: &str) -> Result<String> {
    repository.write("web/kustomization.yaml", "resources: [base.yaml]\n")?;
    repository.write("web/base.yaml", config_map("base", value))?;
    repository.push(&format!("The base with {value}"))
}

fn layer(url: &str) -> String {
    format!("resources:\n- {url}\n- own.yaml\n")
}

/// A directory on this disk with a kustomization that names a base, and a cache of its own.
struct Desk(tempfile::TempDir);

impl Desk {
    fn new(url: &str) -> Result<Self> {
        let desk = Self(tempfile::tempdir()?);
        std::fs::create_dir_all(desk.app())?;
        std::fs::write(desk.app().join("own.yaml"), config_map("own", "1"))?;
        desk.name(url)?;
        Ok(desk)
    }

    fn app(&self) -> PathBuf {
        self.0.path().join("app")
    }

    fn name(&self, url: &str) -> Result {
        Ok(std::fs::write(self.app().join("kustomization.yaml"), layer(url))?)
    }

    #[expect(clippy::disallowed_methods, reason = "the program is what is tested")]
    async fn run(&self, arguments: &[&str]) -> Result<Output> {
        let mut command = Command::new(AGENT);
        command.args(arguments).current_dir(self.app()).arg("--cache-dir").arg(self.0.path().join("cache"));
        // The server is in this process.
        Ok(tokio::task::spawn_blocking(move || command.output()).await??)
    }

    #[expect(clippy::disallowed_methods, reason = "the program is what is tested")]
    fn dev(&self, kubeconfig: &Path, namespace: &str) -> Result<Child> {
        let mut command = Command::new(AGENT);
        command.args(["dev", ".", "--allow-remote", "--namespace", namespace]).current_dir(self.app());
        command.arg("--kubeconfig").arg(kubeconfig).arg("--cache-dir").arg(self.0.path().join("cache"));
        Ok(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?)
    }

    async fn rendered(&self) -> Result<String> {
        let output = self.run(&["render", ".", "--allow-remote"]).await?;
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    async fn refused(&self, allow: &[&str]) -> Result<String> {
        let output = self.run(&[&["render", "."], allow].concat()).await?;
        assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0), "{}", String::from_utf8_lossy(&output.stdout));
        Ok(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

fn has(text: &str, parts: &[&str]) {
    parts.iter().for_each(|part| assert!(text.contains(part), "`{part}` is not in:\n{text}"));
}

#[tokio::test]
async fn a_pinned_base_is_brought_once_and_rendered_without_network_ever_after() -> Result {
    let base = Base::new("old").await?;
    let desk = Desk::new(&base.url("?ref=v1"))?;
    has(&desk.refused(&[]).await?, &["error[remote-base]: ", "kustomization.yaml:2:3", "help: bring it with `--allow-remote`"]);
    assert_eq!(base.server.log().len(), 0, "without leave nobody is asked");
    let first = desk.rendered().await?;
    has(&first, &["name: base", "value: old", "name: own"]);
    assert!((1..=4).contains(&base.server.log().len()), "capabilities, the tag, the pack");
    // The same commit by its name is here already, and a tag is what it was when it was first asked for.
    based(&base.repository, "new")?;
    base.repository.tag("v1")?;
    base.server.behave(Manner::Status("503 Service Unavailable".to_owned()));
    assert_eq!(desk.rendered().await?, first);
    desk.name(&base.url(&format!("?version={}&timeout=1s", base.first)))?;
    assert_eq!(desk.rendered().await?, first);
    assert_eq!(base.server.log().len(), 0, "what is here is not asked for again");
    base.server.behave(Manner::Well);
    has(&Desk::new(&base.url("?ref=v1"))?.rendered().await?, &["value: new"]);
    Ok(())
}

#[tokio::test]
async fn a_base_that_moves_is_refused_with_what_to_write_instead() -> Result {
    let base = Base::new("1").await?;
    base.repository.branch("release")?;
    let now = based(&base.repository, "2")?;
    let desk = Desk::new(&base.url("?ref=release"))?;
    let told = desk.refused(&["--allow-remote"]).await?;
    has(
        &told,
        &["follows the branch `release`: what is rendered tomorrow", "kustomization.yaml:2:3", &format!("write {now} in its place")],
    );
    desk.name(&base.url(""))?;
    has(&desk.refused(&["--allow-remote"]).await?, &["follows the default branch", &format!("write `?ref={}`", base.first)]);
    desk.name(&base.url("?ref=relaese"))?;
    has(&desk.refused(&["--allow-remote"]).await?, &["there is no tag `relaese`", "did you mean `release`?"]);
    desk.name(&format!("{}/install.yaml", base.server.url))?;
    has(&desk.refused(&["--allow-remote"]).await?, &["is a file behind a web server", "vendor it into the repository"]);
    // A name that Git would take for an option or a line of its own goes nowhere.
    desk.name(&base.url("?ref=a..b"))?;
    has(&desk.refused(&["--allow-remote"]).await?, &["cannot be the name of a branch or tag"]);
    Ok(())
}

#[tokio::test]
async fn only_hosts_that_are_listed_are_asked() -> Result {
    let base = Base::new("1").await?;
    let desk = Desk::new(&base.url("?ref=v1"))?;
    let host = base.server.url.as_str();
    let told = desk.refused(&["--allow-remote=github.com,127.0.0.1"]).await?;
    has(&told, &[&format!("is at `{host}`, which is no host that bases may come from"), &format!("add `{host}` to `--allow-remote`")]);
    assert_eq!(base.server.log().len(), 0);
    assert!(desk.run(&["render", ".", &format!("--allow-remote=github.com,{host}")]).await?.status.success());
    Ok(())
}

#[tokio::test]
async fn bases_of_bases_are_brought_up_to_a_limit_and_all_that_can_t_be_is_told_at_once() -> Result {
    let base = Base::new("1").await?;
    for depth in 1..10 {
        base.repository.write(
            &format!("deep{depth}/kustomization.yaml"),
            format!(
                "resources: [{}/remote.git//{}?ref=d{depth}]\n",
                base.server.url,
                match depth {
                    1 => "web".to_owned(),
                    _ => format!("deep{}", depth - 1),
                }
            ),
        )?;
    }
    base.repository.push("Deep")?;
    for depth in 1..10 {
        // Each is another reference, so that each is another base.
        base.repository.tag(&format!("d{depth}"))?;
        base.repository.push("Deeper")?;
    }
    let at = |depth: usize| format!("{}/remote.git//deep{depth}?ref=d9", base.server.url);
    has(&Desk::new(&at(3))?.rendered().await?, &["name: base"]);
    has(&Desk::new(&at(9))?.refused(&["--allow-remote"]).await?, &["more than 8 deep", "help: vendor some of them"]);
    let desk = Desk::new(&base.url("?ref=none"))?;
    std::fs::write(
        desk.app().join("kustomization.yaml"),
        format!("resources:\n- {}\n- {}\n- typo.yaml\n", base.url("?ref=none"), base.url("?ref=v1")),
    )?;
    let told = desk.refused(&["--allow-remote"]).await?;
    has(&told, &["there is no tag `none`", "typo.yaml` does not exist"]);
    assert!(!told.contains("at v1"), "what was brought is not missing: {told}");
    Ok(())
}

#[tokio::test]
async fn a_server_that_sends_without_end_or_goes_away_is_told() -> Result {
    let base = Base::new("1").await?;
    let desk = Desk::new(&base.url("?ref=v1"))?;
    base.server.behave(Manner::EndlessReferences);
    has(&desk.refused(&["--allow-remote"]).await?, &["references of too many bytes"]);
    desk.name(&base.url(&format!("?ref={}", base.first)))?;
    base.server.behave(Manner::EndlessPack);
    has(&desk.refused(&["--allow-remote"]).await?, &["a pack of too many"]);
    base.server.behave(Manner::Private("Basic none".to_owned()));
    has(&desk.refused(&["--allow-remote"]).await?, &["wants a credential", "a private repository can be had by ssh"]);
    base.server.behave(Manner::Well);
    has(&desk.rendered().await?, &["name: base"]);
    Ok(())
}

#[tokio::test]
async fn explain_and_diff_know_what_a_base_says() -> Result {
    let base = Base::new("1").await?;
    let desk = Desk::new(&base.url("?ref=v1"))?;
    let said = desk.run(&["explain", "configmap/base", "data.value", "--allow-remote"]).await?;
    let place = format!("http:/{}/remote.git@v1/web/base.yaml:4:15", base.server.url.trim_start_matches("http://"));
    has(&String::from_utf8_lossy(&said.stdout), &["data.value: \"1\"", &place]);
    based(&base.repository, "2")?;
    base.repository.tag("v2")?;
    let other = desk.0.path().join("other");
    std::fs::create_dir_all(&other)?;
    std::fs::write(other.join("own.yaml"), config_map("own", "1"))?;
    std::fs::write(other.join("kustomization.yaml"), layer(&base.url("?ref=v2")))?;
    let said = desk.run(&["diff", ".", "../other", "--allow-remote", "--exit-code"]).await?;
    assert_eq!(said.status.code(), Some(1), "{}", String::from_utf8_lossy(&said.stderr));
    has(&String::from_utf8_lossy(&said.stdout), &["~ ConfigMap base", "data.value: \"1\" -> \"2\"", &place]);
    assert_eq!(
        desk.run(&["diff", ".", "../other", "--exit-code"]).await?.status.code(),
        Some(2),
        "nothing of another command's leave is left"
    );
    Ok(())
}

#[tokio::test]
async fn a_working_tree_is_followed_with_its_bases() -> Result {
    let (base, cluster) = (Base::new("1").await?, &ground().await?.cluster);
    let desk = Desk::new(&base.url("?ref=v1"))?;
    let namespace = cluster.namespace("remote-dev").await?;
    let mut dev = desk.dev(&cluster.kubeconfig(), &namespace)?;
    let seen =
        cluster.until(Duration::from_secs(30), ("v1", "ConfigMap", &namespace, "base"), "to be there", |object| value(object) == "1");
    let seen = seen.await;
    dev.kill()?;
    dev.wait()?;
    seen.map(drop)
}

fn value(object: &Value) -> &str {
    object["data"]["value"].as_str().unwrap_or_default()
}

/// Waits until the Sync says why it failed.
async fn until_failed(site: &Site, text: &str) -> Result<Value> {
    let said = |sync: &Value| sync["status"]["failures"].as_array().cloned().unwrap_or_default();
    let has = |sync: &Value| said(sync).iter().any(|failure| failure["message"].as_str().is_some_and(|message| message.contains(text)));
    site.until_sync(&format!("to say '{text}'"), has).await
}

#[tokio::test]
async fn an_agent_brings_a_base_of_its_own_forge_and_heals_what_comes_of_it() -> Result {
    let forge = &ground().await?.forge;
    let base = forge.repository("remote-base").await?;
    let commit = based(&base, "1")?;
    base.tag("v1")?;
    forge.set_private(&base.name, true).await?;
    let world = World::of(AGENT)
        .file("kustomization.yaml", &layer(&format!("{}//web?ref=v1", base.url)))
        .file("own.yaml", &config_map("own", "1"))
        .private()
        .spec(json!({"remoteBases": {"hosts": [forge.url()]}}))
        .start()
        .await?;
    world.until_status(&world.first, "success").await?;
    let (site, agent) = (world.site(), world.site().agent());
    assert_eq!(site.get("v1", "ConfigMap", "base").await?.as_ref().map(value), Some("1"));
    // What is healed is rendered from the base too.
    let edit = async |to: &str| {
        site.cluster.patch("v1", "ConfigMap", &site.namespace, "base", "kubectl-edit", &json!({"data": {"value": to}})).await
    };
    edit("x").await?;
    let healed = site.until(BASE, "to be healed", |object| value(object) == "1").await;
    world.explained(healed, &world.first).await?;
    // A tag that moves changes nothing that runs, neither with the next commit nor after a restart on the same cache.
    based(&base, "2")?;
    base.tag("v1")?;
    world.repository.write("own.yaml", config_map("own", "2"))?;
    let second = world.repository.push("Something else")?;
    world.until_status(&second, "success").await?;
    agent.stop().await?;
    agent.restart().await?;
    edit("y").await?;
    site.until(BASE, "to be healed", |object| value(object) == "1").await?;
    world.repository.write("kustomization.yaml", layer(&format!("{}//web?ref={commit}", base.url)))?;
    let third = world.repository.push("By the commit")?;
    world.until_status(&third, "success").await?;
    assert_eq!(site.get("v1", "ConfigMap", "base").await?.as_ref().map(value), Some("1"));
    base.tag("v2")?;
    world.repository.write("kustomization.yaml", layer(&format!("{}//web?ref=v2", base.url)))?;
    let fourth = world.repository.push("A new base")?;
    world.until_status(&fourth, "success").await?;
    assert_eq!(site.get("v1", "ConfigMap", "base").await?.as_ref().map(value), Some("2"));
    Ok(())
}

#[tokio::test]
async fn an_agent_asks_no_host_that_its_sync_does_not_list() -> Result {
    let base = Base::new("1").await?;
    let world =
        World::of(AGENT).file("kustomization.yaml", &layer(&base.url("?ref=v1"))).file("own.yaml", &config_map("own", "1")).start().await?;
    let said = world.until_status(&world.first, "failure").await?;
    has(&said[0].description, &["remote base"]);
    let site = world.site();
    let sync = until_failed(site, "in `spec.remoteBases.hosts` of the Sync").await?;
    assert_eq!(sync["status"]["failures"][0]["place"], "kustomization.yaml:2:3");
    site.patch_sync(json!({"remoteBases": {"hosts": ["git.example", "127.0.0.1"]}})).await?;
    until_failed(site, "which is no host that bases may come from").await?;
    world.repository.write("kustomization.yaml", layer("file:///etc//web?ref=v1"))?;
    world.repository.push("The agent's own disk")?;
    until_failed(site, "is on the disk of whoever renders").await?;
    assert_eq!(base.server.log().len(), 0);
    world.repository.write("kustomization.yaml", layer(&base.url("?ref=v1")))?;
    let second = world.repository.push("As it was")?;
    site.patch_sync(json!({"remoteBases": {"hosts": [base.server.url]}})).await?;
    world.until_status(&second, "success").await.map(drop)
}

#[tokio::test]
async fn another_host_sees_no_credential_and_is_asked_for_nothing_twice() -> Result {
    let base = Base::new("1").await?;
    base.server.behave(Manner::Status("503 Service Unavailable".to_owned()));
    let world = World::of(AGENT)
        .file("kustomization.yaml", &layer(&base.url("?ref=v1")))
        .file("own.yaml", &config_map("own", "1"))
        .private()
        .spec(json!({"remoteBases": {"hosts": [base.server.url]}}))
        .start()
        .await?;
    let site = world.site();
    until_failed(site, "the server cannot answer now").await?;
    // Nobody pushes anything: what may pass is tried again.
    base.server.behave(Manner::Well);
    world.until_status(&world.first, "success").await?;
    let all = base.server.log();
    assert!(all.iter().all(|exchange| exchange.authorization.is_empty()), "{all:?}");
    world.repository.write("own.yaml", config_map("own", "2"))?;
    let second = world.repository.push("Nothing of the base")?;
    world.until_status(&second, "success").await?;
    assert_eq!(base.server.log().len(), 0, "a commit that changes nothing remote costs no request");
    site.agent().stop().await?;
    site.agent().restart().await?;
    site.cluster.delete("v1", "ConfigMap", &site.namespace, "base").await?;
    site.until(BASE, "to be made again", |object| value(object) == "1").await?;
    assert_eq!(base.server.log().len(), 0, "nor does a restart");
    base.server.behave(Manner::Private("Basic none".to_owned()));
    world.repository.write("kustomization.yaml", layer(&base.url("?ref=v2")))?;
    world.repository.push("A base that is private")?;
    until_failed(site, "the Sync's credentials are for the host of `spec.url` alone").await?;
    let all = base.server.log();
    assert!(!all.is_empty() && all.iter().all(|exchange| exchange.authorization.is_empty()), "{all:?}");
    until("what ran to run still", Duration::from_secs(5), async || match site.get("v1", "ConfigMap", "base").await? {
        Some(_) => Ok(()),
        None => Err(Trouble::new("it is gone")),
    })
    .await
}

#[tokio::test]
async fn a_host_that_does_not_answer_holds_up_only_the_apps_that_need_it() -> Result {
    let base = Base::new("1").await?;
    base.server.behave(Manner::Silent);
    let fleet = "apiVersion: plimsoll.dev/v1alpha1\nkind: Fleet\napps:\n- path: apps/*\n";
    let mut world = World::of(AGENT).file("plimsoll.yaml", fleet).file("apps/z/z.yaml", &config_map("z", "1"));
    // More than are brought at once, and all of them first by name.
    for n in 10..40 {
        let named = layer(&base.url(&format!("?ref={}", base.first))).replace("own.yaml", &format!("own{n}.yaml"));
        let prefixed = format!("namePrefix: n{n}-\n{named}");
        world = world.file(&format!("apps/a{n}/kustomization.yaml"), &prefixed);
        world = world.file(&format!("apps/a{n}/own{n}.yaml"), &config_map("own", "1"));
    }
    let world = world.spec(json!({"remoteBases": {"hosts": [base.server.url]}})).start().await?;
    let site = world.site();
    let seen = site.until(("v1", "ConfigMap", "z"), "to be there", |object| value(object) == "1").await;
    world.explained(seen, &world.first).await?;
    assert!(!world.statuses(&world.first).await?.iter().any(|status| status.state == "success"), "the others are not there");
    base.server.behave(Manner::Well);
    world.repository.write("apps/z/z.yaml", config_map("z", "2"))?;
    let second = world.repository.push("While the first is on its way still")?;
    let green = world.until_status(&second, "success").await;
    world.explained(green, &second).await?;
    assert_eq!(site.get("v1", "ConfigMap", "n39-base").await?.as_ref().map(value), Some("1"));
    Ok(())
}
