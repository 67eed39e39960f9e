//! Bad input, and what it gets: a clear message on the Sync and on the commit where there is one, and what is running stays as it is.

use std::process::{Command, Stdio};
use std::time::Duration;

use harness::{Result, Site, Trouble, World, until};
use serde_json::{Value, json};

use crate::sync::AGENT;

const APPS: &str = "apiVersion: plimsoll.dev/v1alpha1\nkind: Fleet\napps:\n- path: apps/*\n";
const SOON: Duration = Duration::from_secs(60);

pub(crate) fn config_map(name: &str, value: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: {{value: \"{value}\"}}\n")
}

/// What the Sync says, all of it: its message and each failure as `app object place message`.
fn words(sync: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let failures = sync.pointer("/status/failures").and_then(Value::as_array).cloned().unwrap_or_default();
    let failure = |one: &Value| ["app", "object", "place", "message"].map(|key| text(&one[key])).join(" ");
    let lines = failures.iter().map(failure);
    std::iter::once(text(&sync["status"]["message"])).chain(lines).collect::<Vec<_>>().join("\n")
}

pub(crate) async fn value(site: &Site, name: &str) -> Result<String> {
    let object = site.get("v1", "ConfigMap", name).await?.ok_or_else(|| Trouble::new(format!("ConfigMap {name} is gone")))?;
    Ok(object["data"]["value"].as_str().unwrap_or_default().to_owned())
}

/// Waits until the Sync is about `commit` and says all of `wanted`.
pub(crate) async fn until_words(world: &World, commit: &str, wanted: &[&str]) -> Result<String> {
    let at = |sync: &Value| commit.is_empty() || sync.pointer("/status/revision/commit") == Some(&json!(commit));
    let what = format!("the Sync to say {wanted:?}");
    let said = until(&what, SOON, async || {
        let sync = world.site().sync().await?;
        let said = words(&sync);
        let all = wanted.iter().all(|word| said.contains(word));
        if all && at(&sync) { Ok(said) } else { Err(Trouble::new(format!("{said}\n{:#}", sync["status"]["revision"]))) }
    });
    if commit.is_empty() { said.await } else { world.explained(said.await, commit).await }
}

/// Waits until the commit has failed with these words on the Sync, the first of them on the commit too.
pub(crate) async fn refused(world: &World, commit: &str, wanted: &[&str]) -> Result {
    let status = world.until_status(commit, "failure").await?.remove(0);
    let said = until_words(world, commit, wanted).await?;
    assert!(status.description.starts_with("Failed: "), "{}", status.description);
    assert!(
        status.description.contains(wanted[0]),
        "the commit says `{}` and not `{}`; the Sync says\n{said}",
        status.description,
        wanted[0]
    );
    Ok(())
}

/// Goes back to the first commit and forward with other files.
fn instead(world: &World, files: &[(&str, &str)], message: &str) -> Result<String> {
    let repository = &world.repository;
    repository.git(&["reset", "--quiet", "--hard", &world.first])?;
    files.iter().try_for_each(|(path, text)| repository.write(path, text))?;
    push_over(world, message)
}

fn push_over(world: &World, message: &str) -> Result<String> {
    let commit = world.repository.commit(message)?;
    world.repository.git(&["push", "--quiet", "--force", "origin", "HEAD"])?;
    Ok(commit)
}

/// Two apps, `good` and `bad`, both well so far.
async fn two_apps() -> Result<World> {
    let files = |world: harness::WorldOptions| {
        world
            .file("plimsoll.yaml", APPS)
            .file("apps/good/good.yaml", &config_map("good", "0"))
            .file("apps/bad/running.yaml", &config_map("running", "1"))
    };
    let world = files(World::of(AGENT)).start().await?;
    world.until_status(&world.first, "success").await?;
    Ok(world)
}

/// What is pushed, and what is said of it: the first on the commit too.
struct Case<'a> {
    name: &'a str,
    files: &'a [(&'a str, &'a str)],
    said: &'a [&'a str],
}

const KUSTOMIZATION: &str = "apps/bad/kustomization.yaml";

const KUSTOMIZATIONS: &[Case<'static>] = &[
    Case {
        name: "unknown field",
        files: &[(KUSTOMIZATION, "resorces: [running.yaml]\n")],
        said: &["resorces", "apps/bad/kustomization.yaml:1:1", "did you mean `resources`"],
    },
    Case {
        name: "path out",
        files: &[(KUSTOMIZATION, "resources: [running.yaml, ../../../secret.yaml]\n")],
        said: &["../../../secret.yaml", "leads out of the repository", "apps/bad/kustomization.yaml:1:27"],
    },
    Case {
        name: "cycle",
        files: &[
            (KUSTOMIZATION, "resources: [../../lib/a]\n"),
            ("lib/a/kustomization.yaml", "resources: [../b]\n"),
            ("lib/b/kustomization.yaml", "resources: [../a]\n"),
        ],
        said: &["lib/a", "cycle", "lib/b/kustomization.yaml:1"],
    },
    Case {
        name: "remote base",
        files: &[(KUSTOMIZATION, "resources: [github.com/example/base//deploy?ref=v1]\n")],
        said: &[
            "the remote base https://github.com/example/base//deploy at v1 is missing",
            "apps/bad/kustomization.yaml:1:13",
            "`spec.remoteBases.hosts`",
        ],
    },
    Case {
        name: "missing file",
        files: &[(KUSTOMIZATION, "resources: [runing.yaml]\n")],
        said: &["runing.yaml", "apps/bad/kustomization.yaml:1"],
    },
];

/// Each case fails, while the other app follows and what the bad app runs stays.
async fn each_is_refused(world: &World, cases: &[Case<'_>]) -> Result {
    for (number, case) in cases.iter().enumerate() {
        let good = config_map("good", &format!("{number} {}", case.name));
        let files = [case.files, &[("apps/good/good.yaml", &*good)]].concat();
        let commit = instead(world, &files, case.name)?;
        refused(world, &commit, case.said).await.map_err(|trouble| trouble.while_doing(case.name))?;
        let (good, running) = (value(world.site(), "good").await?, value(world.site(), "running").await?);
        assert_eq!((good, running), (format!("{number} {}", case.name), "1".to_owned()), "{}", case.name);
    }
    Ok(())
}

#[tokio::test]
async fn a_kustomization_that_cannot_be_built_is_named_by_place_and_stops_no_other_app() -> Result {
    each_is_refused(&two_apps().await?, KUSTOMIZATIONS).await
}

#[tokio::test]
async fn a_file_that_cannot_be_read_as_objects_is_named_by_line_and_column_and_stops_no_other_app() -> Result {
    let (twice, nested) = (config_map("running", "2"), "[".repeat(100_000));
    let aliases = |of: usize| vec![format!("*a{of}"); 9].join(", ");
    let bomb: String = (1..12).map(|n| format!("a{n}: &a{n} [{}]\n", aliases(n - 1))).collect();
    let bomb = format!("a0: &a0 [x, x, x, x, x, x, x, x, x]\n{bomb}");
    let broken = "kind: ConfigMap\ndata:\n  a: b: c\n";
    let cases = [
        Case { name: "broken", files: &[("apps/bad/broken.yaml", broken)], said: &["apps/bad/broken.yaml:3:7", "`a: b: c`"] },
        Case {
            name: "twice",
            files: &[("apps/bad/again.yaml", &twice)],
            said: &["ConfigMap running", "apps/bad/again.yaml:1", "apps/bad/running.yaml:1"],
        },
        Case { name: "deep", files: &[("apps/bad/deep.yaml", &nested)], said: &["apps/bad/deep.yaml:1:", "nested deeper"] },
        Case { name: "bomb", files: &[("apps/bad/bomb.yaml", &bomb)], said: &["apps/bad/bomb.yaml:", "aliases expanded"] },
    ];
    each_is_refused(&two_apps().await?, &cases).await
}

#[tokio::test]
async fn links_and_sizes_beyond_all_bounds_are_refused_and_harmless_where_nobody_reads_them() -> Result {
    let world = two_apps().await?;
    world.repository.git(&["reset", "--quiet", "--hard", &world.first])?;
    std::os::unix::fs::symlink("../../../../../../etc/passwd", world.repository.directory().join("apps/bad/link.yaml"))?;
    let commit = push_over(&world, "A link out of the repository")?;
    refused(&world, &commit, &["apps/bad/link.yaml", "etc/passwd"]).await?;

    // Where no app reads it, a large file is nobody's business; where one does, it is named, and never read.
    let large = "# nothing\n".repeat(10 << 20);
    let commit = instead(&world, &[("videos/large.yaml", &large)], "A large file beside")?;
    world.until_status(&commit, "success").await?;
    let commit = instead(&world, &[("apps/bad/large.yaml", &large)], "A large file within")?;
    refused(&world, &commit, &["apps/bad/large.yaml", "104857600 bytes"]).await?;
    assert!(world.site().agent().resident_at_most().is_some_and(|bytes| bytes < 100 << 20), "the large file was read");

    let commit = push_many(&world, "many")?;
    world.until_status(&commit, "success").await?;
    let commit = push_many(&world, "apps/bad/many")?;
    refused(&world, &commit, &["apps/bad", "20000 files"]).await?;
    assert_eq!((value(world.site(), "good").await?, value(world.site(), "running").await?), ("0".to_owned(), "1".to_owned()));
    Ok(())
}

/// Pushes the first commit with 100,000 files more, without ever writing them to disk.
#[expect(clippy::disallowed_methods, reason = "what a person would push is made by git")]
fn push_many(world: &World, directory: &str) -> Result<String> {
    use std::io::Write as _;
    let mut import = Command::new("git");
    import.args(["fast-import", "--quiet", "--force"]).current_dir(world.repository.directory()).stdin(Stdio::piped());
    let mut import = import.spawn()?;
    let mut stream = std::io::BufWriter::new(import.stdin.take().ok_or_else(|| Trouble::new("git takes no input"))?);
    write!(stream, "commit refs/heads/many\ncommitter Samuel <samuel@lab.example> 1700000000 +0000\ndata 4\nmany\nfrom {}\n", world.first)?;
    for number in 0..100_000 {
        let text = config_map(&format!("many-{number}"), "1");
        write!(stream, "M 100644 inline {directory}/{}/{number}.yaml\ndata {}\n{text}\n", number / 1000, text.len())?;
    }
    stream.flush()?;
    drop(stream);
    if !import.wait()?.success() {
        return Err(Trouble::new("git fast-import failed"));
    }
    world.repository.git(&["push", "--quiet", "--force", "origin", "many:main"])?;
    Ok(world.repository.git(&["rev-parse", "many"])?.trim().to_owned())
}

#[tokio::test]
async fn a_source_that_cannot_be_read_is_named_and_what_runs_stays() -> Result {
    let world = World::of(AGENT).private().file("app/a.yaml", &config_map("a", "1")).spec(json!({"path": "app"})).start().await?;
    world.until_status(&world.first, "success").await?;
    let (site, url) = (world.site(), world.repository.url.clone());
    let token = world.forge.token();
    let wrong_password = json!({"url": url, "secretRef": {"name": "wrong"}});
    let secret = |password: &str| json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "wrong", "namespace": site.namespace}, "stringData": {"username": harness::USER, "password": password}});
    site.cluster.apply_object(&secret("not-the-password")).await?;
    let nowhere = url.replace("world-", "wrold-");
    let dead = "http://127.0.0.1:9/lab/app.git";
    for (spec, wanted) in [
        (json!({"url": nowhere}), vec!["wrold-"]),
        (json!({"url": dead}), vec![dead]),
        (json!({"url": "htp:/nonsense"}), vec!["htp:/nonsense"]),
        (json!({"url": url, "reference": {"branch": "mian"}}), vec!["no branch `mian`", "did you mean branch `main`"]),
        (json!({"reference": null, "path": "apps"}), vec!["apps", "app"]),
        (json!({"path": "../.."}), vec!["spec.path"]),
        (json!({"path": "app", "secretRef": {"name": "absent"}}), vec!["no Secret absent"]),
        (wrong_password, vec!["credential was refused"]),
    ] {
        site.patch_sync(spec.clone()).await?;
        let said =
            until_words(&world, "", &wanted).await.map_err(|trouble| trouble.while_doing(format!("{spec}\n{}", site.agent().tail())))?;
        assert!(!said.contains(token) && !said.contains("not-the-password"), "{said}");
        assert_eq!(value(site, "a").await?, "1");
    }
    // The credential is put right, and that is all that anyone does.
    site.cluster.apply_object(&secret(token)).await?;
    world.repository.write("app/a.yaml", config_map("a", "2"))?;
    let second = world.repository.push("Change it")?;
    world.until_status(&second, "success").await?;
    assert_eq!(value(site, "a").await?, "2");
    site.until_event("credential was refused").await.map(drop)
}

#[tokio::test]
async fn a_branch_that_is_rewritten_is_followed_and_one_that_is_deleted_changes_nothing() -> Result {
    let world = World::of(AGENT).file("a.yaml", &config_map("a", "1")).spec(json!({"reference": {"branch": "live"}})).start().await?;
    until_words(&world, "", &["no branch `live`"]).await?;
    world.repository.branch("live")?;
    world.repository.write("b.yaml", config_map("b", "1"))?;
    let second = world.repository.push("Add b")?;
    world.until_status(&second, "success").await?;
    // The forge says that there is nothing; what is applied does not go with it.
    world.repository.delete_branch("live")?;
    until_words(&world, "", &["the branch `live` was deleted"]).await?;
    assert_eq!((value(world.site(), "a").await?, value(world.site(), "b").await?), ("1".to_owned(), "1".to_owned()));
    let back = world.repository.force_push_back(1)?;
    assert_eq!(back, world.first);
    world.until_state(&back, "InSync").await?;
    world.until_status(&back, "success").await?;
    world.site().until_gone(("v1", "ConfigMap", "b")).await?;
    assert_eq!(value(world.site(), "a").await?, "1");
    Ok(())
}

#[tokio::test]
async fn an_empty_repository_says_so_and_is_followed_from_its_first_commit() -> Result {
    let world = World::of(AGENT).file("a.yaml", &config_map("a", "1")).start().await?;
    world.until_status(&world.first, "success").await?;
    let empty = world.forge.repository(&format!("empty-{}", world.site().namespace)).await?;
    world.site().patch_sync(json!({"url": empty.url})).await?;
    until_words(&world, "", &["the repository is empty"]).await?;
    assert_eq!(value(world.site(), "a").await?, "1");
    empty.write("a.yaml", config_map("a", "2"))?;
    empty.push("The first commit of another repository")?;
    world
        .site()
        .until(("v1", "ConfigMap", "a"), "to be as the new repository says", |object| object["data"]["value"] == "2")
        .await
        .map(drop)
}
