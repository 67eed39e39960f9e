//! Where a repository is, read from the text that people write, and where a redirect may lead.
//!
//! Pure: no name is resolved, nothing is opened.

use std::path::PathBuf;

use reqwest::Url;

use crate::secret::{SafeUrl, Secret};

/// Where a repository is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Address {
    /// Behind a web server.
    Http(Web),
    /// Behind sshd.
    Ssh(Host),
    /// On this disk.
    Local(PathBuf),
}

/// A repository behind a web server.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Web {
    /// The URL without user name, password and trailing slash.
    pub(super) base: Url,
    /// The user name and password that were written into the URL.
    pub(super) login: Option<(String, Secret)>,
}

impl std::fmt::Debug for Web {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.base.as_str())
    }
}

/// A repository behind sshd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Host {
    /// Whom to log in as.
    pub(super) user: Option<String>,
    /// The host.
    pub(super) name: String,
    /// The port, where it is not 22.
    pub(super) port: Option<u16>,
    /// The repository there.
    pub(super) path: String,
}

/// Whom one talks to behind an address: what decides whether he may be asked, and whether he may see a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    protocol: &'static str,
    host: String,
    port: u16,
    /// Whom to log in as, by ssh.
    user: Option<String>,
}

impl Server {
    /// The server of a URL; `None` for a repository on this disk.
    ///
    /// # Errors
    /// Why the URL is none of a repository.
    pub fn of(url: &SafeUrl) -> Result<Option<Self>, String> {
        Ok(match parse(url)? {
            Address::Local(_) => None,
            Address::Ssh(host) => {
                let port = host.port.unwrap_or(22);
                Some(Self { protocol: "ssh", host: host.name.to_ascii_lowercase(), port, user: host.user })
            }
            Address::Http(web) => {
                let protocol = if web.base.scheme() == "https" { "https" } else { "http" };
                let host = web.base.host_str().unwrap_or_default().to_ascii_lowercase();
                Some(Self { protocol, host, port: web.base.port_or_known_default().unwrap_or_default(), user: None })
            }
        })
    }

    /// Whether a list of hosts means this one: `git.example` is its https and ssh at their own ports, `git.example:8443` both at another
    /// port. What anybody on the way may read and change is meant only if it is written so: `http://git.example`.
    pub fn is_named(&self, entry: &str) -> bool {
        let entry = entry.to_ascii_lowercase();
        let (protocol, place) = entry.split_once("://").map_or((None, &*entry), |(protocol, place)| (Some(protocol), place));
        let is_protocol = protocol.map_or(self.protocol != "http", |protocol| protocol == self.protocol);
        let place = place.trim_end_matches('/');
        let is_place = place == self.host && self.port == self.own_port();
        is_protocol && (is_place || place == format!("{}:{}", self.host, self.port))
    }

    /// Whether it is asked by ssh.
    pub fn is_ssh(&self) -> bool {
        self.protocol == "ssh"
    }

    fn own_port(&self) -> u16 {
        match self.protocol {
            "ssh" => 22,
            "https" => 443,
            _ => 80,
        }
    }
}

impl std::fmt::Display for Server {
    /// As it is written into a list of hosts.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let protocol = if self.protocol == "http" { "http://" } else { "" };
        write!(f, "{protocol}{}", self.host)?;
        if self.port == self.own_port() { Ok(()) } else { write!(f, ":{}", self.port) }
    }
}

/// Reads an address; or says why it is none.
pub(super) fn parse(url: &SafeUrl) -> Result<Address, String> {
    let text = url.reveal();
    if text.is_empty() || text.chars().any(char::is_control) {
        return Err("it is empty, or holds control characters".to_owned());
    }
    match url.scheme().as_str() {
        "http" | "https" => web(text).map(Address::Http),
        "ssh" | "git+ssh" | "ssh+git" => ssh(text).map(Address::Ssh),
        "file" => file(text).map(Address::Local),
        "" => Ok(scp_like(text)?.map_or_else(|| Address::Local(PathBuf::from(text)), Address::Ssh)),
        "git" => Err("git:// proves neither the host nor the content".to_owned()),
        other => Err(format!("`{other}://` is not known")),
    }
}

fn web(text: &str) -> Result<Web, String> {
    let mut base = Url::parse(text).map_err(|error| error.to_string())?;
    if base.query().is_some() || base.fragment().is_some() {
        return Err("it holds a `?` or `#`".to_owned());
    }
    let login = login(&base);
    // Neither fails for http and https, which always have a host.
    let _ = (base.set_username(""), base.set_password(None));
    let path = base.path().trim_end_matches('/').to_owned();
    base.set_path(&path);
    Ok(Web { base, login })
}

fn login(url: &Url) -> Option<(String, Secret)> {
    let (name, password) = (decoded(url.username()), decoded(url.password().unwrap_or_default()));
    (!name.is_empty() || !password.is_empty()).then(|| (name, Secret::new(password)))
}

/// Undoes `%40` and the like.
fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while let Some(byte) = bytes.get(at) {
        let escape = (*byte == b'%').then(|| text.get(at + 1..at + 3)).flatten().and_then(|hex| u8::from_str_radix(hex, 16).ok());
        out.push(escape.unwrap_or(*byte));
        at += if escape.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn ssh(text: &str) -> Result<Host, String> {
    let url = Url::parse(text).map_err(|error| error.to_string())?;
    if url.password().is_some() {
        return Err("ssh takes no password from a URL".to_owned());
    }
    let path = decoded(url.path());
    // `ssh://host/~me/x` means the home of `me`.
    let path = if path.starts_with("/~") { path[1..].to_owned() } else { path };
    let user = (!url.username().is_empty()).then(|| decoded(url.username()));
    let name = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    guarded(Host { user, name, port: url.port(), path })
}

/// `user@host:path`, unless a slash comes before the colon.
fn scp_like(text: &str) -> Result<Option<Host>, String> {
    let Some((login, path)) = text.split_once(':').filter(|(login, _)| !login.contains('/')) else { return Ok(None) };
    let (user, name) = match login.rsplit_once('@') {
        Some((user, name)) => (Some(user.to_owned()), name),
        None => (None, login),
    };
    if path.starts_with(':') {
        return Err("remote helpers (`name::address`) run programs".to_owned());
    }
    guarded(Host { user, name: name.to_owned(), port: None, path: path.to_owned() }).map(Some)
}

/// A host or user that begins with `-` would be an option of ssh, and a path that does, one of git (CVE-2017-1000117).
fn guarded(host: Host) -> Result<Host, String> {
    let option = |text: &str| text.starts_with('-');
    let odd = |text: &str| text.chars().any(|c| c.is_whitespace() || c.is_control());
    if host.name.is_empty() || host.path.trim_matches('/').is_empty() {
        return Err("it names no host, or no path".to_owned());
    }
    if option(&host.name) || option(&host.path) || host.user.as_deref().is_some_and(|user| option(user) || odd(user)) || odd(&host.name) {
        return Err("a part of it would be taken for an option".to_owned());
    }
    Ok(host)
}

fn file(text: &str) -> Result<PathBuf, String> {
    Url::parse(text).ok().and_then(|url| url.to_file_path().ok()).ok_or_else(|| "it must be file:///absolute/path".to_owned())
}

/// Where a redirect leads, or where it would have led and why we do not follow it.
///
/// The same host only, never from https to http, and to another port only for the usual http -> https: whoever
/// answers there gets our credential.
pub(super) fn redirected(from: &Url, location: &str) -> Result<Url, (SafeUrl, &'static str)> {
    let to = from.join(location).map_err(|_| (SafeUrl::new(super::protocol::shown(location)), "which is no URL"))?;
    let refuse = |why| Err((SafeUrl::new(to.as_str()), why));
    let upgrade = from.scheme() == "http" && to.scheme() == "https";
    if from.host_str() != to.host_str() {
        return refuse("which is another host");
    }
    if to.scheme() != from.scheme() && !upgrade {
        return refuse("which is not protected as this one is");
    }
    if !upgrade && from.port_or_known_default() != to.port_or_known_default() {
        return refuse("which is another port");
    }
    if !to.username().is_empty() || to.password().is_some() {
        return refuse("which brings a credential of its own");
    }
    Ok(to)
}

/// The repository behind the address at which the references were found.
pub(super) fn base_of(info_refs: &Url) -> Option<Url> {
    let mut base = info_refs.clone();
    base.set_path(info_refs.path().strip_suffix("/info/refs")?);
    base.set_query(None);
    base.set_fragment(None);
    Some(base)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        match parse(&SafeUrl::new(text)) {
            Ok(Address::Http(web)) => match web.login {
                Some((name, password)) => format!("{} {name} {}", web.base, password.reveal()),
                None => web.base.to_string(),
            },
            Ok(Address::Ssh(Host { user, name, port, path })) => format!("ssh {user:?} {name} {port:?} {path}"),
            Ok(Address::Local(path)) => format!("disk {}", path.display()),
            Err(why) => format!("error: {why}"),
        }
    }

    #[test]
    fn addresses_are_read_as_git_reads_them() {
        let check = |text: &str, expect: &str| assert_eq!(shown(text), expect, "{text}");
        check("https://git.example/a/b.git/", "https://git.example/a/b.git");
        check("HTTPS://me:t%40k@git.example:8443/a", "https://git.example:8443/a me t@k");
        check("http://tok%en@git.example/a", "http://git.example/a tok%en ");
        check("git@git.example:a/b.git", "ssh Some(\"git\") git.example None a/b.git");
        check("ssh://git@git.example:2222/a/b.git", "ssh Some(\"git\") git.example Some(2222) /a/b.git");
        check("ssh://git.example/~me/b.git", "ssh None git.example None ~me/b.git");
        check("/srv/git/a.git", "disk /srv/git/a.git");
        check("./a:b", "disk ./a:b");
        check("file:///srv/a%20b", "disk /srv/a b");
    }

    #[test]
    fn a_server_is_named_by_host_and_port_and_without_protection_only_on_purpose() {
        let server = |url: &str| Server::of(&SafeUrl::new(url)).unwrap().unwrap();
        let check = |url: &str, entry: &str, expect: bool| assert_eq!(server(url).is_named(entry), expect, "{url} {entry}");
        check("https://git.example/a/b", "git.example", true);
        check("https://Git.Example/a/b", "git.EXAMPLE", true);
        check("git@git.example:a/b", "git.example", true);
        check("https://git.example/a/b", "ssh://git.example", false);
        check("https://git.example:8443/a/b", "git.example", false);
        check("https://git.example:8443/a/b", "git.example:8443", true);
        check("https://git.example/a/b", "git.example:443", true);
        check("http://git.example/a/b", "git.example", false);
        check("http://git.example/a/b", "http://git.example/", true);
        check("http://git.example/a/b", "http://git.example", true);
        check("http://git.example:3000/a/b", "http://git.example:3000", true);
        check("https://evil.git.example/a/b", "git.example", false);
        check("https://git.example.evil/a/b", "git.example", false);
        check("https://git.example@evil/a/b", "git.example", false);
        assert_eq!(server("https://git.example@evil:1/a/b").to_string(), "evil:1");
        assert_eq!(server("http://h:3000/a/b").to_string(), "http://h:3000");
        assert_eq!(Server::of(&SafeUrl::new("/srv/a")), Ok(None));
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "",
            "https://",
            "git://git.example/a",
            "ext::sh -c x",
            "ftp://x/y",
            "file://host.example/a",
            "https://git.example/a?x",
            "ssh://-oProxyCommand=x/a",
            "-oProxyCommand=x:a",
            "git@-host:a",
            "host:-a",
            "a\nb",
            "ssh://h/",
            "ssh://u:p@h/a",
            "%",
        ] {
            let seen = shown(text);
            assert!(seen.starts_with("error: ") || text == "%", "{text}: {seen}");
        }
    }

    #[test]
    fn redirects_stay_on_the_host_and_never_lose_protection() {
        let check = |from: &str, location: &str, expect: Result<&str, &str>| {
            let seen = redirected(&Url::parse(from).unwrap(), location);
            assert_eq!(seen.as_ref().map(Url::as_str).map_err(|(_, why)| *why), expect, "{from} {location}");
        };
        check("http://h/a/info/refs", "https://h/a/info/refs", Ok("https://h/a/info/refs"));
        check("https://h/a/info/refs", "/a.git/info/refs", Ok("https://h/a.git/info/refs"));
        check("https://h/a", "http://h/a", Err("which is not protected as this one is"));
        check("https://h/a", "https://evil/a", Err("which is another host"));
        check("https://h/a", "//evil/a", Err("which is another host"));
        check("http://h/a", "http://h:81/a", Err("which is another port"));
        check("https://h/a", "https://x@h/a", Err("which brings a credential of its own"));
        check("https://h/a", "file:///etc/passwd", Err("which is another host"));
        check("https://h/a", "http://[", Err("which is no URL"));
    }

    #[test]
    fn the_repository_is_found_behind_a_redirect() {
        let base = |url| base_of(&Url::parse(url).unwrap()).map(String::from);
        assert_eq!(base("https://h/a.git/info/refs?service=git-upload-pack").as_deref(), Some("https://h/a.git"));
        assert_eq!(base("https://h/login"), None);
    }
}
