//! Paths that are no paths: the URLs of directories and files in other repositories, as kustomize writes them.
//!
//! Pure text. It must not know whether anything is there, nor who may fetch it.

use std::fmt;

use crate::error::Place;
use crate::path::RepoPath;

/// Hosts that are taken for repositories even without a scheme. kustomize does so for GitHub alone and takes the others for paths, where
/// nothing is.
const HOSTS: [&str; 3] = ["github.com", "gitlab.com", "bitbucket.org"];
/// What a URL begins with.
const SCHEMES: [&str; 7] = ["http://", "https://", "ssh://", "git://", "file://", "git::", "git@"];
/// GitHub shows raw files at a host of their own.
const GITHUB: &str = "https://github.com/";
const GITHUB_RAW: &str = "https://raw.githubusercontent.com/";
/// How a manifest's name ends.
const MANIFESTS: [&str; 3] = [".yaml", ".yml", ".json"];

/// A remote base that a kustomization asks for. Rendering fetches nothing: whoever renders brings it, or refuses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remote {
    /// The repository as Git takes it, or the web page of a file in none; without credentials, which are for whoever fetches.
    pub url: String,
    /// The directory or file in the repository.
    pub path: RepoPath,
    /// The branch, tag or commit, where one is written.
    pub reference: Option<String>,
    /// Whether it is a file behind a web server, and in no repository that the URL tells.
    pub is_page: bool,
    /// The entry of a kustomization that names it first, once that is known.
    pub place: Option<Place>,
}

impl Remote {
    /// Reads what stands in a kustomization; `None` if it is a path in the repository.
    ///
    /// # Errors
    /// Why it can be no base, though it is a URL.
    pub fn parse(text: &str) -> Option<Result<Self, String>> {
        is_remote(text).then(|| read(text))
    }

    /// Where the files of its repository are in the tree that they are brought into: named so that an error in one of them tells where it is.
    /// `https://git.example/team/base` at `v1` is `git.example/team/base@v1`.
    pub fn mount(&self) -> Option<RepoPath> {
        let named = self.url.strip_prefix("https://").unwrap_or(&self.url);
        // No reference may hold a colon, so this can't be taken for another one.
        let reference = self.reference.as_deref().unwrap_or("HEAD").replace('/', ":");
        let up = named.split('/').any(|segment| segment == "..");
        RepoPath::new(&format!("{named}@{reference}").replacen("://", ":/", 1).replace("//", "/")).ok().filter(|_| !up)
    }

    /// Whether two are the same files: which of them and who asks for them does not matter.
    pub fn is_in_same_repository(&self, other: &Self) -> bool {
        (&self.url, &self.reference) == (&other.url, &other.reference)
    }
}

impl fmt::Display for Remote {
    /// As `https://git.example/team/base//deploy at v1`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)?;
        if !self.path.is_root() {
            write!(f, "//{}", self.path)?;
        }
        self.reference.iter().try_for_each(|reference| write!(f, " at {reference}"))
    }
}

/// Whether a text is no path.
pub(crate) fn is_remote(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    SCHEMES.iter().any(|scheme| lower.starts_with(scheme)) || known_host(&lower).is_some() || is_scp(text)
}

/// The user, where one is written, and the host of a shorthand in lower case, as `github.com/owner/name` or `git@github.com/owner/name`.
fn known_host(lower: &str) -> Option<(&str, &'static str)> {
    let (user, rest) = lower.split_once('@').filter(|(user, _)| !user.contains(['/', ':'])).unwrap_or(("", lower));
    let is_it = |host: &&str| rest.strip_prefix(*host).is_some_and(|rest| rest.starts_with(['/', ':']));
    HOSTS.iter().copied().find(is_it).map(|host| (user, host))
}

/// Whether a text is the page of a web server: for kustomize files too, not only directories, may be such.
pub(crate) fn is_page(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    lower.starts_with("http://") || lower.starts_with("https://")
}

/// As `git@git.example:team/base.git`.
fn is_scp(text: &str) -> bool {
    let parts = text.split_once('@').and_then(|(user, rest)| Some((user, rest.split_once(':')?.0)));
    parts.is_some_and(|(user, host)| !user.contains('/') && !host.is_empty() && !host.contains('/'))
}

fn read(text: &str) -> Result<Remote, String> {
    let text = strip(text, "git::").unwrap_or(text);
    let (text, query) = text.split_once('?').unwrap_or((text, ""));
    let (mut host, rest) = host(text);
    let reference = reference(query);
    let found = if reference.is_none() && is_page(&host) { raw(&host, rest) } else { None };
    if found.is_some() && host == GITHUB_RAW {
        GITHUB.clone_into(&mut host);
    }
    let (repository, path, reference, is_page) = match found {
        Some((repository, path, reference)) => (repository, path, Some(reference), false),
        None if reference.is_none() && is_page(&host) && is_file(rest) => (rest.to_owned(), String::new(), None, true),
        None => {
            let (repository, path) =
                split(&host, rest).ok_or("it names no repository: an owner and a name are needed, or `//` after it")?;
            (repository, path, reference, false)
        }
    };
    let path = RepoPath::new(path.trim_start_matches('/')).map_err(|error| error.to_string())?;
    let url = without_credentials(&format!("{host}{}", repository.trim_end_matches('/')));
    Ok(Remote { url, path, reference, is_page, place: None }).and_then(|remote| match remote.mount() {
        Some(_) => Ok(remote),
        None => Err("it is too long, or leads up with `..`".to_owned()),
    })
}

/// The part up to the repository's path, with the scheme that a shorthand leaves out.
fn host(text: &str) -> (String, &str) {
    if let Some(rest) = strip(text, "file://") {
        return ("file://".to_owned(), rest);
    }
    let (scheme, rest) = text.split_once("://").map_or(("", text), |(scheme, rest)| (scheme, rest));
    let lower = rest.to_ascii_lowercase();
    let known = known_host(&lower).filter(|(_, host)| scheme.is_empty() || *host == HOSTS[0]);
    let at = rest.find('/').map_or(rest.len(), |at| at + 1);
    match known {
        // GitHub answers by https and by ssh, whatever is written.
        Some((user, host)) if !user.is_empty() && (scheme.is_empty() || scheme.eq_ignore_ascii_case("ssh")) => {
            let end = user.len() + 1 + host.len();
            (format!("{}:", &rest[..end]), &rest[end + 1..])
        }
        Some((_, host)) if !scheme.is_empty() && !scheme.eq_ignore_ascii_case("ssh") => (format!("https://{host}/"), &rest[at..]),
        Some((_, host)) if scheme.is_empty() => (format!("https://{host}/"), &rest[host.len() + 1..]),
        _ if !scheme.is_empty() => (format!("{}://{}", scheme.to_ascii_lowercase(), &rest[..at]), &rest[at..]),
        _ => {
            let at = text.find(':').filter(|_| is_scp(text)).map_or(at, |at| at + 1);
            (text[..at].to_owned(), &text[at..])
        }
    }
}

/// The repository and the directory in it: split at an explicit mark, else after the owner and the name.
fn split(host: &str, rest: &str) -> Option<(String, String)> {
    let two = |at: usize, gap: usize| Some((rest[..at].to_owned(), rest[at + gap..].to_owned()));
    let found = if let Some(at) = rest.find("_git/") {
        // Azure DevOps: the repository is the next segment.
        let from = at + "_git/".len();
        two(rest[from..].find('/').map_or(rest.len(), |at| from + at), 0)
    } else if let Some(at) = rest.find("//") {
        two(at, 2)
    } else if let Some(at) = rest.find(".git") {
        two(at + ".git".len(), 0)
    } else if host == "file://" {
        two(rest.len(), 0)
    } else {
        let name = rest.find('/').filter(|at| *at > 0)? + 1;
        let end = rest[name..].find('/').map_or(rest.len(), |at| name + at);
        two(end, 0).filter(|_| end > name)
    };
    found.filter(|(repository, _)| !repository.trim_matches('/').is_empty())
}

/// A file as forges show it raw: its repository, path and reference, so that it can be had by Git.
fn raw(host: &str, rest: &str) -> Option<(String, String, String)> {
    let segments: Vec<&str> = rest.split('/').collect();
    let of = |repository: &[&str], reference: &str, path: &[&str]| {
        (!path.is_empty()).then(|| (repository.join("/"), path.join("/"), reference.to_owned()))
    };
    if host == GITHUB_RAW {
        return match segments.as_slice() {
            [owner, name, "refs", "tags" | "heads", reference, path @ ..] | [owner, name, reference, path @ ..] => {
                of(&[owner, name], reference, path)
            }
            _ => None,
        };
    }
    match segments.as_slice() {
        [owner, name, "raw", "commit" | "tag" | "branch", reference, path @ ..] => of(&[owner, name], reference, path),
        [owner, name, "raw", reference, path @ ..] if host == GITHUB => of(&[owner, name], reference, path),
        _ => {
            let at = segments.windows(2).position(|two| two == ["-", "raw"])?;
            of(&segments[..at], segments.get(at + 2)?, segments.get(at + 3..)?)
        }
    }
}

/// Whether a page is a file: kustomize asks the server; here only the name can tell.
fn is_file(path: &str) -> bool {
    let lower = path.to_ascii_lowercase();
    let marked = lower.contains("//") || lower.contains("_git/") || lower.contains(".git/");
    !marked && (MANIFESTS.iter().any(|end| lower.ends_with(end)) || lower.contains("/releases/download/"))
}

fn reference(query: &str) -> Option<String> {
    let value = |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')).filter(|value| !value.is_empty());
    value("ref").or_else(|| value("version")).map(|text| text.replace("%2F", "/").replace("%2f", "/"))
}

/// The rest after a prefix in whatever case.
fn strip<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    text.get(..prefix.len()).filter(|start| start.eq_ignore_ascii_case(prefix)).map(|_| &text[prefix.len()..])
}

/// URLs are shown; what stands before the host may be a token. A plain user name of ssh is kept.
pub(crate) fn without_credentials(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let host_at = rest.find('/').unwrap_or(rest.len());
    match rest[..host_at].rfind('@') {
        Some(at) if scheme != "file" && (scheme != "ssh" || rest[..at].contains(':')) => format!("{scheme}://{}", &rest[at + 1..]),
        _ => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Option<String> {
        let found = Remote::parse(text)?;
        Some(found.map_or_else(|why| format!("error: {why}"), |remote| format!("{}{remote}", if remote.is_page { "page " } else { "" })))
    }

    fn check(text: &str, expected: &str) {
        assert_eq!(shown(text).as_deref(), Some(expected), "{text}");
    }

    #[test]
    fn urls_are_taken_apart_as_kustomize_does() {
        check("https://github.com/org/repo//base?ref=v1", "https://github.com/org/repo//base at v1");
        check("github.com/org/repo/base?timeout=1s&ref=main", "https://github.com/org/repo//base at main");
        check("git::https://github.com/org/repo.git/a/b?version=v2", "https://github.com/org/repo.git//a/b at v2");
        check("git@example.com:org/repo.git//a?ref=v1&submodules=false", "git@example.com:org/repo.git//a at v1");
        check("git@example.com:org/repo.git", "git@example.com:org/repo.git");
        check("ssh://git@example.com:22/org/repo//a?ref=v1", "ssh://git@example.com:22/org/repo//a at v1");
        check("https://dev.azure.com/org/p/_git/repo/a/b?ref=v1", "https://dev.azure.com/org/p/_git/repo//a/b at v1");
        check("file:///srv/base.git//a?ref=v1", "file:///srv/base.git//a at v1");
        check("https://user:token@example.com/org/repo", "https://example.com/org/repo");
        check("https://example.com/org/repo?ref=a&version=b", "https://example.com/org/repo at a");
        check("http://GitHub.com/org/repo", "https://github.com/org/repo");
        check("https://me@github.com:443/org/repo", "https://github.com/org/repo");
        check("github.com:org/repo/a", "https://github.com/org/repo//a");
        check("org-1@github.com/org/repo?ref=v1", "org-1@github.com:org/repo at v1");
        check("ssh://git@github.com/org/repo", "git@github.com:org/repo");
        check("file:///srv/a@b/base.git", "file:///srv/a@b/base.git");
        check("https://github.com/org/repo?ref=release%2Fv1", "https://github.com/org/repo at release/v1");
    }

    #[test]
    fn a_file_that_a_forge_shows_raw_is_one_in_its_repository() {
        check("https://raw.githubusercontent.com/org/repo/v1/a/b.yaml", "https://github.com/org/repo//a/b.yaml at v1");
        check("https://raw.githubusercontent.com/org/repo/refs/tags/v1/b.yaml", "https://github.com/org/repo//b.yaml at v1");
        check("https://github.com/org/repo/raw/v1/b.yaml", "https://github.com/org/repo//b.yaml at v1");
        check("https://gitlab.com/g/sub/p/-/raw/v1/a/b.yaml", "https://gitlab.com/g/sub/p//a/b.yaml at v1");
        check("https://codeberg.org/o/r/raw/commit/0123/b.yaml", "https://codeberg.org/o/r//b.yaml at 0123");
        check("https://example.com/manifests/install.yaml", "page https://example.com/manifests/install.yaml");
        check("https://github.com/o/r/releases/download/v1/install.yaml", "page https://github.com/o/r/releases/download/v1/install.yaml");
    }

    #[test]
    fn paths_are_no_urls_and_what_names_no_repository_is_told() {
        for path in ["../base", "github.company/base", "apps/user@home/x", "a.yaml", "git"] {
            assert_eq!(shown(path), None, "{path}");
        }
        for text in ["https://example.com", "https://example.com/base", "git@h:x", "https://h/a/b//../../c?ref=v1", "https://h/../a//b"] {
            assert!(shown(text).is_some_and(|shown| shown.starts_with("error: ")), "{text}: {:?}", shown(text));
        }
    }

    #[test]
    fn the_name_in_the_tree_tells_the_repository_and_the_reference() {
        let mount = |text: &str| Remote::parse(text)?.ok()?.mount();
        let check = |text: &str, expected: &str| assert_eq!(mount(text).map(|path| path.to_string()).as_deref(), Some(expected));
        check("https://git.example/team/base//a?ref=v1", "git.example/team/base@v1");
        check("http://git.example:3000/team/base?ref=kustomize/v5", "http:/git.example:3000/team/base@kustomize:v5");
        check("git@git.example:team/base.git?ref=v1", "git@git.example:team/base.git@v1");
        check("file:///srv/base", "file:/srv/base@HEAD");
    }

    #[test]
    fn no_text_whatever_makes_it_panic_or_leave_its_place() {
        let parts = [
            "github.com",
            "git@",
            ":",
            "/",
            "//",
            "..",
            "https",
            "://",
            "ssh",
            "file",
            "?ref=",
            "é",
            "_git/",
            ".git",
            "@",
            "raw/",
            "-/",
            "x",
        ];
        let mut seed = 7_u64;
        for _ in 0..50_000 {
            let mut text = String::new();
            for _ in 0..8 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                text.push_str(parts[(seed >> 33) as usize % parts.len()]);
            }
            if let Some(Ok(remote)) = Remote::parse(&text) {
                assert!(remote.mount().is_some_and(|mount| !mount.is_root()), "{text}");
            }
        }
    }
}
