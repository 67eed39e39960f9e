//! Where a repository's forge is, read from the repository's URL.
//!
//! Pure: it asks nobody, so it can't know which forge it is.

use reqwest::Url;

use super::{Credential, Error};
use crate::secret::{SafeUrl, Secret};

/// A repository on a forge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// The root of the forge, with a slash at its end and no credentials.
    pub root: Url,
    /// The user or organisation.
    pub owner: String,
    /// The repository's name, without `.git`.
    pub name: String,
    /// What the URL itself brings along, as `https://user:token@host/...`.
    pub credential: Option<Credential>,
}

/// Reads where the forge of the repository at `url` is; none for a local repository.
///
/// The last two segments of the path are owner and name; what is before them belongs to the root of a forge that is not at the root of its host.
/// `forge_url` is the root where it cannot be read from `url`: another host, another port than ssh's neighbour, http.
///
/// # Errors
/// The URL can't be that of a repository on a forge.
pub fn locate(url: &SafeUrl, forge_url: Option<&str>) -> Result<Option<Address>, Error> {
    let Some(mut parsed) = web_url(url)? else { return Ok(None) };
    let credential = userinfo(&mut parsed);
    let path: Vec<String> = parsed.path().split('/').filter(|segment| !segment.is_empty()).map(str::to_owned).collect();
    let [before @ .., owner, name] = path.as_slice() else {
        return Err(Error::Address(format!("{url} does not end in owner/name: there is no forge to tell; set spec.forge.type to `none`")));
    };
    let name = name.strip_suffix(".git").unwrap_or(name);
    if !(is_name(owner) && is_name(name)) {
        return Err(Error::Address(format!("`{owner}/{name}` in {url} is not owner/name as forges spell it")));
    }
    let root = match forge_url {
        Some(text) => root(text)?,
        None => with_path(&parsed, before),
    };
    Ok(Some(Address { root, owner: owner.clone(), name: name.to_owned(), credential }))
}

/// The URL as a web address; a forge reached by ssh is taken to have its pages on the same host, by https.
fn web_url(url: &SafeUrl) -> Result<Option<Url>, Error> {
    let text = url.reveal();
    let web = match url.scheme().as_str() {
        "http" | "https" => text.to_owned(),
        "ssh" | "git+ssh" | "ssh+git" => {
            let rest = text.split_once("://").map_or("", |(_, rest)| rest);
            let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
            format!("https://{}/{path}", host(authority))
        }
        "" => match text.split_once(':') {
            // As Git reads it: a colon before the first slash means host:path.
            Some((authority, path)) if !authority.contains('/') && !authority.is_empty() => {
                format!("https://{}/{}", host(authority), path.trim_start_matches('/'))
            }
            _ => return Ok(None),
        },
        _ => return Ok(None),
    };
    Url::parse(&web).map(Some).map_err(|error| Error::Address(format!("{url} is not a URL: {error}")))
}

/// The host of `user@host:port`; an IPv6 address keeps its brackets.
fn host(authority: &str) -> &str {
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    match host.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => host,
    }
}

/// Takes user name and password out of the URL.
fn userinfo(url: &mut Url) -> Option<Credential> {
    let decode = |text: &str| percent_decoded(text);
    let (username, password) = (decode(url.username()), url.password().map(decode));
    // Both fail only for URLs that can have no user information, and then there is none.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    match password.filter(|password| !password.is_empty()) {
        Some(password) => Some(Credential::Password { username, password: Secret::new(password) }),
        None if username.is_empty() => None,
        None => Some(Credential::Token(Secret::new(username))),
    }
}

fn percent_decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let code = (byte == b'%').then(|| text.get(at + 1..at + 3)).flatten().and_then(|digits| u8::from_str_radix(digits, 16).ok());
        out.push(code.unwrap_or(byte));
        at += if code.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Letters, digits, dot, hyphen, underscore: what Gitea and Forgejo allow, and nothing that means something in a URL.
fn is_name(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    !text.is_empty() && text != "." && text != ".." && text.chars().all(allowed)
}

fn root(text: &str) -> Result<Url, Error> {
    let shown = SafeUrl::new(text);
    let url = Url::parse(text).map_err(|error| Error::Address(format!("spec.forge.url `{shown}` is not a URL: {error}")))?;
    if !matches!(url.scheme(), "http" | "https") || !url.username().is_empty() || url.password().is_some() {
        return Err(Error::Address(format!("spec.forge.url `{shown}` must begin with https:// or http://, and hold no credentials")));
    }
    let path: Vec<String> = url.path().split('/').filter(|segment| !segment.is_empty()).map(str::to_owned).collect();
    Ok(with_path(&url, &path))
}

fn with_path(url: &Url, segments: &[String]) -> Url {
    let mut root = url.clone();
    let path: String = segments.iter().map(|segment| format!("{segment}/")).collect();
    root.set_path(&path);
    root.set_query(None);
    root.set_fragment(None);
    root
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(url: &str, forge_url: Option<&str>) -> String {
        match locate(&SafeUrl::new(url), forge_url) {
            Ok(Some(address)) => format!("{} {} {}", address.root, address.owner, address.name),
            Ok(None) => "local".to_owned(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn the_forge_is_read_from_the_repositorys_url() {
        let check = |url: &str, expected: &str| assert_eq!(shown(url, None), expected, "{url}");
        check("https://git.example/team/fleet.git", "https://git.example/ team fleet");
        check("https://git.example/team/fleet/", "https://git.example/ team fleet");
        check("http://127.0.0.1:3000/lab/app", "http://127.0.0.1:3000/ lab app");
        check("https://git.example/gitea/team/fleet.git", "https://git.example/gitea/ team fleet");
        check("https://me:t0ken@git.example/team/fleet.git?x=1", "https://git.example/ team fleet");
        check("ssh://git@git.example:2222/team/fleet.git", "https://git.example/ team fleet");
        check("git@git.example:team/fleet.git", "https://git.example/ team fleet");
        check("ssh://git@[2001:db8::1]:22/team/fleet.git", "https://[2001:db8::1]/ team fleet");
        check("/srv/git/team/fleet.git", "local");
        check("file:///srv/git/team/fleet.git", "local");
        check("./fleet", "local");
    }

    #[test]
    fn the_forges_own_url_goes_first() {
        let check = |url: &str, forge: &str, expected: &str| assert_eq!(shown(url, Some(forge)), expected, "{url} {forge}");
        check("https://host/gitea/owner/repo.git", "https://host/gitea", "https://host/gitea/ owner repo");
        check("git@git.example:team/fleet.git", "http://git.example:3000", "http://git.example:3000/ team fleet");
        let refused = "must begin with https:// or http://, and hold no credentials";
        check("https://host/o/r", "https://me:t0ken@host/", &format!("spec.forge.url `https://****@host/` {refused}"));
        check("https://host/o/r", "ftp://host/", &format!("spec.forge.url `ftp://host/` {refused}"));
    }

    #[test]
    fn a_url_that_names_no_repository_is_refused_in_words() {
        let check = |url: &str, expected: &str| assert!(shown(url, None).contains(expected), "{url}: {}", shown(url, None));
        check("https://me:t0ken@git.example/fleet", "https://****@git.example/fleet does not end in owner/name");
        check("https://git.example/te%2Fam/fleet", "not owner/name");
        check("https://git.example/../..", "does not end in owner/name");
        check("https:///", "is not a URL");
        check("https://[::1", "is not a URL");
        check("git@:", "");
        check("", "local");
    }

    #[test]
    fn credentials_in_the_url_are_used_and_nothing_else_is() {
        let credential = |url: &str| locate(&SafeUrl::new(url), None).unwrap().unwrap().credential;
        let password = |username: &str, text: &str| Some(Credential::Password { username: username.into(), password: Secret::new(text) });
        assert_eq!(credential("https://me:t0k%40en%zz@git.example/team/fleet"), password("me", "t0k@en%zz"));
        assert_eq!(credential("https://t0ken@git.example/team/fleet"), Some(Credential::Token(Secret::new("t0ken"))));
        assert_eq!(credential("https://git.example/team/fleet"), None);
        assert_eq!(credential("ssh://git@git.example/team/fleet"), None, "an ssh user is no token");
    }
}
