//! Drift is seen, named and healed: each page of `tests/cases/drift` says what somebody does to an object, and what comes of it.

mod live;
mod page;
mod projection;
mod step;
mod told;
mod truth;

use std::path::Path;

use futures_util::{StreamExt, stream};
use harness::{Result, Trouble, ground};

use page::Page;

use crate::sync::AGENT;

/// How many cases are run at the same time.
const AT_ONCE: usize = 8;

/// All pages, for namespaces that begin with `stem`.
fn pages(stem: &str) -> Result<Vec<Page>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/cases/drift");
    #[expect(clippy::disallowed_methods, reason = "a switch of the test itself: PAGE=kubectl.md runs one page")]
    let only = std::env::var("PAGE").ok();
    let mut pages = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if only.as_ref().is_some_and(|only| *only != name) {
            continue;
        }
        let stem = format!("{stem}-{}", name.trim_end_matches(".md"));
        pages.push(Page::read(&name, &std::fs::read_to_string(&path)?, &stem)?);
    }
    Ok(pages)
}

#[tokio::test]
async fn every_page_is_true_of_the_api_server() -> Result {
    let (cluster, pages) = (&ground().await?.cluster, pages("true")?);
    let cases = pages.iter().flat_map(|page| &page.cases);
    let checks = stream::iter(cases).map(|case| async move {
        let checked = truth::check(cluster, case).await;
        checked.err().map(|error| format!("{} {}\n  {error}", case.place, case.title))
    });
    let checked: Vec<Option<String>> = checks.buffer_unordered(AT_ONCE).collect().await;
    let wrong: Vec<String> = checked.into_iter().flatten().collect();
    if wrong.is_empty() { Ok(()) } else { Err(Trouble::new(format!("{} cases:\n{}", wrong.len(), wrong.join("\n")))) }
}

#[tokio::test]
async fn what_somebody_does_is_told_and_put_right_as_the_pages_say() -> Result {
    let pages = pages("live")?;
    let (together, alone) = live::together(&pages);
    let mut wrong = live::run(AGENT, &together, AT_ONCE).await?;
    for page in alone {
        wrong.extend(live::run(AGENT, &page.cases.iter().collect::<Vec<_>>(), 1).await?);
    }
    if wrong.is_empty() { Ok(()) } else { Err(Trouble::new(wrong.join("\n"))) }
}

/// What is wrong with these words for it, of a change that is `data.a 1 → 2 by other`.
async fn wrong_with(number: usize, told: &str) -> Result<String> {
    let page = format!(
        "## A lie\n\n```yaml git\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: m}}\ndata: {{a: \"1\", b: \"1\"}}\n```\n\n\
         ```yaml other: merge ConfigMap m\ndata: {{a: \"2\"}}\n```\n\n```text told\n{told}\n```\n"
    );
    let page = Page::read("lie.md", &page, &format!("lie-{number}"))?;
    let checked = truth::check(&ground().await?.cluster, &page.cases[0]).await;
    Ok(checked.err().map(|error| error.to_string()).unwrap_or_default())
}

#[tokio::test]
async fn a_page_that_is_not_true_is_found_out() -> Result {
    let lies = [
        ("nothing", "data.a changed, and it is not told"),
        ("ConfigMap m data.b 1 → 2 by other", "this did not change"),
        ("ConfigMap m data.a 1 → 3 by other", "is Some(\"2\")"),
        ("ConfigMap m data.a 1 → 2 by kubectl", "it is held by {\"other\"}"),
        ("ConfigMap m deleted by an unknown author", "it is the same object"),
    ];
    for (number, (told, why)) in lies.into_iter().enumerate() {
        let wrong = wrong_with(number, told).await?;
        assert!(wrong.contains(why), "{told}: {wrong}");
    }
    assert_eq!(wrong_with(lies.len(), "ConfigMap m data.a 1 → 2 by other").await?, "");
    Ok(())
}
