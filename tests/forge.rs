//! The commit tells the truth: what is said on a real forge, and what a real forge's push hook can do.

use std::time::Duration;

use harness::{Forge, Repository, Result, Trouble, ground, until};
use jiff::Timestamp;
use plimsoll::api::ForgeSpec;
use plimsoll::forge::{self, Access, CommitStatus, Credential, Error, Found};
use plimsoll::ledger::{Ledger, Next, Then};
use plimsoll::report::{CommitState, Verdict};
use plimsoll::secret::{SafeUrl, Secret};
use plimsoll::server::{self, HookForge, HookSecret, Hooks};

const CONTEXT: &str = "plimsoll/fra-1";

/// A repository with one commit, and the commit.
async fn repository(forge: &Forge, name: &str) -> Result<(Repository, String)> {
    let repository = forge.repository(name).await?;
    repository.write("apps/web/api.yaml", "kind: Deployment\n")?;
    let commit = repository.push("one")?;
    Ok((repository, commit))
}

fn access(token: &str) -> Access {
    Access { credential: Some(Credential::Token(Secret::new(token))).filter(|_| !token.is_empty()), ca: None }
}

/// The forge of a repository, asked what it is.
async fn found(url: &str, token: &str) -> Result<std::sync::Arc<dyn forge::Forge>> {
    match forge::of(&SafeUrl::new(url), None, &access(token)).await? {
        Found::Forge(forge) => Ok(forge),
        Found::Nobody(why) => Err(Trouble::new(why)),
    }
}

fn status(state: CommitState, description: &str) -> CommitStatus {
    CommitStatus::new(CONTEXT, &Verdict::new(state, description))
}

/// Carries out what a ledger decides, as the agent's loop does.
async fn carry_out(ledger: &mut Ledger, forge: &dyn forge::Forge, now: Timestamp) -> Vec<Error> {
    let mut errors = Vec::new();
    while let Next::Post(posting) = ledger.next(now) {
        match forge.post(&posting.commit, &CommitStatus::new(&posting.context, &posting.verdict)).await {
            Ok(()) => ledger.confirmed(&posting.commit, &posting.context, now),
            Err(error) => {
                ledger.failed(&posting.commit, &posting.context, error.then(), now, 0.0);
                errors.push(error);
            }
        }
    }
    errors
}

#[tokio::test]
async fn each_word_arrives_on_the_commit_as_it_was_said() -> Result {
    let lab = &ground().await?.forge;
    let (repository, commit) = repository(lab, "words").await?;
    let forge = found(&repository.url, lab.token()).await?;
    for (state, word) in [
        (CommitState::Pending, "pending"),
        (CommitState::Failure, "failure"),
        (CommitState::Error, "error"),
        (CommitState::Success, "success"),
    ] {
        let said = "Failed: Deployment web/äpi: image pull error, apps/web/api.yaml:12 (1 of 42)";
        forge.post(&commit, &status(state, said)).await?;
        let shown = lab.statuses(&repository.name, &commit).await?;
        assert_eq!(shown.len(), 1, "the newest word of a context stands for it");
        assert_eq!((shown[0].context.as_str(), shown[0].state.as_str(), shown[0].description.as_str()), (CONTEXT, word, said));
        assert_eq!(forge.list(&commit).await?, [status(state, said)]);
    }
    Ok(())
}

#[tokio::test]
async fn more_statuses_than_a_page_are_all_listed() -> Result {
    let lab = &ground().await?.forge;
    let (repository, commit) = repository(lab, "pages").await?;
    let forge = found(&repository.url, lab.token()).await?;
    for cluster in 0..101 {
        let said = CommitStatus { context: format!("plimsoll/{cluster}"), ..status(CommitState::Success, "In sync: 1 object in 0.1 s") };
        forge.post(&commit, &said).await?;
    }
    let contexts: std::collections::BTreeSet<String> = forge.list(&commit).await?.into_iter().map(|status| status.context).collect();
    assert_eq!(contexts.len(), 101);
    Ok(())
}

#[tokio::test]
async fn a_refusal_says_what_to_do() -> Result {
    let lab = &ground().await?.forge;
    let (repository, commit) = repository(lab, "refusals").await?;
    let read_only = lab.new_token(&["read:repository"]).await?;
    let unknown = "0123456789012345678901234567890123456789";
    let check = async |url: &str, token: &str, commit: &str, then: Then, words: &str| -> Result {
        let Err(error) = found(url, token).await?.post(commit, &status(CommitState::Success, "x")).await else {
            return Err(Trouble::new(format!("nothing was refused: {words}")));
        };
        assert_eq!(error.then(), then, "{error}");
        assert!(error.to_string().contains(words), "`{error}` does not say `{words}`");
        assert!(token.is_empty() || !error.to_string().contains(token), "{error}");
        Ok(())
    };
    let url = repository.url.as_str();
    check(url, lab.token(), unknown, Then::Drop, "has no commit 0123456").await?;
    check(url, "nonsense-token", &commit, Then::AskForCredential, "refuses the credential").await?;
    check(url, &read_only, &commit, Then::Recheck, "a token the scope `write:repository`").await?;
    check(&url.replace("refusals", "nowhere"), lab.token(), &commit, Then::Recheck, "is not there, or hidden").await?;
    lab.set_private(&repository.name, true).await?;
    check(url, "", &commit, Then::Recheck, "give a `token` by spec.forge.secretRef").await
}

#[tokio::test]
async fn what_a_forge_could_not_take_is_said_when_it_is_back_and_nothing_is_left_pending() -> Result {
    let lab = Forge::start().await?;
    let (repository, first) = repository(&lab, "away").await?;
    repository.write("apps/web/api.yaml", "kind: StatefulSet\n")?;
    let second = repository.push("two")?;
    let forge = found(&repository.url, lab.token()).await?;
    let at = |second: i64| Timestamp::from_second(second).unwrap_or_default();
    let mut ledger = Ledger::default();

    ledger.say(&first, CONTEXT, Verdict::new(CommitState::Pending, "Syncing: 1 of 42 applied"), at(0));
    assert_eq!(carry_out(&mut ledger, &*forge, at(4)).await, []);
    lab.stop();
    ledger.say(&second, CONTEXT, Verdict::new(CommitState::Pending, "Syncing: 1 of 42 applied"), at(10));
    ledger.say(&second, CONTEXT, Verdict::new(CommitState::Failure, "Failed: Deployment web/api: quota (1 of 42)"), at(11));
    let errors = carry_out(&mut ledger, &*forge, at(11)).await;
    assert!(errors.len() == 2 && errors.iter().all(|error| matches!(error, Error::Away { .. })), "{errors:?}");
    ledger.say(&second, CONTEXT, Verdict::new(CommitState::Success, "In sync: 42 objects in 3 s"), at(12));
    let kept = ledger.entries();
    assert!(kept.iter().all(|entry| !entry.posted), "{kept:?}");

    // Another process takes over, knowing nothing but what the Sync's status kept.
    lab.start_again().await?;
    let mut ledger = Ledger::restore(&kept, at(60));
    assert_eq!(carry_out(&mut ledger, &*forge, at(60)).await, []);
    let said = lab.all_statuses(&repository.name, &second).await?;
    assert_eq!(said.iter().map(|status| status.description.as_str()).collect::<Vec<_>>(), ["In sync: 42 objects in 3 s"]);
    let resolved = lab.statuses(&repository.name, &first).await?;
    assert_eq!(resolved[0].description, format!("Superseded by {} before it was applied", &second[..7]));
    assert_eq!(ledger.next(at(3600)), Next::Nothing);
    Ok(())
}

#[tokio::test]
async fn a_server_that_is_no_forge_is_told_from_one() -> Result {
    let lab = &ground().await?.forge;
    let nobody = async |url: &str, kind: Option<&str>| match forge::of(
        &SafeUrl::new(url),
        Some(&ForgeSpec { kind: kind.map(str::to_owned), ..ForgeSpec::default() }),
        &access(""),
    )
    .await
    {
        Ok(Found::Nobody(why)) => why,
        other => format!("{other:?}"),
    };
    let below = format!("{}/no/such/root/lab/app.git", lab.url());
    assert!(nobody(&below, None).await.contains("is neither Gitea nor Forgejo"), "{}", nobody(&below, None).await);
    assert!(nobody(&below, Some("none")).await.contains("nothing is said"));
    assert!(nobody("/srv/git/app.git", None).await.contains("local repository"));
    assert!(nobody(&below, Some("gitlab")).await.contains("`gitea`, `forgejo` or `none`"));
    Ok(())
}

#[tokio::test]
async fn a_push_wakes_the_sync_whose_secret_the_forge_knows() -> Result {
    let lab = &ground().await?.forge;
    let (repository, _) = repository(lab, "hook").await?;
    let (wake, mut woken) = tokio::sync::mpsc::channel(8);
    let hooks = Hooks::new(wake);
    for sync in ["web/believed", "web/deceived"] {
        hooks.set(sync, HookForge::Gitea, HookSecret::new(Secret::new("t1des"))?);
    }
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let root = format!("http://{}/hook/web", listener.local_addr()?);
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let served = tokio::spawn(server::serve(listener, server::hooks(hooks), async { drop(stopped.await) }));
    lab.webhook(&repository.name, &format!("{root}/believed"), "t1des").await?;
    lab.webhook(&repository.name, &format!("{root}/deceived"), "not the secret").await?;

    repository.write("apps/web/api.yaml", "kind: DaemonSet\n")?;
    repository.push("two")?;
    let mut all = Vec::new();
    until("the push to wake the Sync", Duration::from_secs(10), async || {
        all.extend(woken.try_recv());
        if all.is_empty() { Err(Trouble::new("nobody was woken")) } else { Ok(()) }
    })
    .await?;
    tokio::time::sleep(Duration::from_millis(500)).await;
    while let Ok(sync) = woken.try_recv() {
        all.push(sync);
    }
    // The forge may tell of the first push too: it looks for hooks a moment after it has taken the push.
    all.dedup();
    assert_eq!(all, ["web/believed"]);
    drop(stop);
    served.await?;
    Ok(())
}
