//! What is asked and answered in Git's protocol version 2: references, then objects.
//!
//! Pure: it makes requests and reads answers as bytes, and knows no connection. Format: gitprotocol-v2(5).

use super::packet::{self, Malformed, Packet};
use super::{CommitId, Reference};

/// What is wrong with an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It is not what the protocol says.
    Foreign(String),
    /// The objects are named by another hash.
    ObjectFormat(String),
    /// The other side reports an error of its own.
    Told(String),
    /// It ended before it was complete.
    CutOff,
}

impl From<Malformed> for Fault {
    fn from(_: Malformed) -> Self {
        Self::Foreign("the answer is not made of pkt-lines".to_owned())
    }
}

/// What the server can do, as it says first of all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Capabilities {
    object_format: Option<String>,
    ls_refs: bool,
    fetch: Option<String>,
}

/// Reads the server's first words, over HTTP as well as over ssh.
#[derive(Debug, Default)]
pub(super) struct Greeting {
    version: bool,
    capabilities: Capabilities,
}

impl Greeting {
    /// Takes a frame; returns the capabilities once they are complete.
    pub(super) fn take(&mut self, packet: Packet<'_>) -> Result<Option<Capabilities>, Fault> {
        match packet {
            Packet::Data(data) => self.line(text(data)?).map(|()| None),
            // Over HTTP the greeting begins with `# service=git-upload-pack` and a flush.
            Packet::Flush if !self.version => Ok(None),
            Packet::Flush => checked(std::mem::take(&mut self.capabilities)).map(Some),
            Packet::Delimiter | Packet::End => Err(Fault::Foreign("the capabilities are cut by a section mark".to_owned())),
        }
    }

    fn line(&mut self, line: &str) -> Result<(), Fault> {
        if let Some(message) = line.strip_prefix("ERR ") {
            return Err(Fault::Told(shown(message)));
        }
        if !self.version {
            self.version = line == "version 2";
            return if self.version || line.starts_with("# service=") { Ok(()) } else { Err(old_version(line)) };
        }
        let (key, value) = line.split_once('=').unwrap_or((line, ""));
        match key {
            "object-format" => self.capabilities.object_format = Some(value.to_owned()),
            "ls-refs" => self.capabilities.ls_refs = true,
            "fetch" => self.capabilities.fetch = Some(value.to_owned()),
            _ => {}
        }
        Ok(())
    }
}

fn old_version(line: &str) -> Fault {
    Fault::Foreign(format!("it speaks an older protocol than version 2 (it began with `{}`)", shown(line)))
}

fn checked(capabilities: Capabilities) -> Result<Capabilities, Fault> {
    if let Some(format) = capabilities.object_format.as_deref().filter(|format| *format != "sha1") {
        return Err(Fault::ObjectFormat(shown(format)));
    }
    let shallow = capabilities.fetch.as_deref().is_some_and(|features| features.split(' ').any(|feature| feature == "shallow"));
    match capabilities.ls_refs && shallow {
        true => Ok(capabilities),
        false => Err(Fault::Foreign("it offers no `ls-refs`, or no `fetch` of single commits (`shallow`)".to_owned())),
    }
}

fn command(name: &str, capabilities: &Capabilities) -> Vec<u8> {
    let mut out = Vec::new();
    packet::line(&mut out, &format!("command={name}"));
    packet::line(&mut out, concat!("agent=plimsoll/", env!("CARGO_PKG_VERSION")));
    if capabilities.object_format.is_some() {
        packet::line(&mut out, "object-format=sha1");
    }
    packet::delimiter(&mut out);
    out
}

/// Asks for the references below the prefixes; for all of them where there is no prefix.
pub(super) fn ls_refs(capabilities: &Capabilities, prefixes: &[String]) -> Vec<u8> {
    let mut out = command("ls-refs", capabilities);
    packet::line(&mut out, "peel");
    packet::line(&mut out, "symrefs");
    prefixes.iter().for_each(|prefix| packet::line(&mut out, &format!("ref-prefix {prefix}")));
    packet::flush(&mut out);
    out
}

/// Asks for what belongs to one commit and is not in those that we hold, without any history.
pub(super) fn fetch(capabilities: &Capabilities, want: CommitId, held: &[CommitId]) -> Vec<u8> {
    let mut out = command("fetch", capabilities);
    for argument in ["thin-pack", "ofs-delta", "no-progress", "deepen 1"] {
        packet::line(&mut out, argument);
    }
    // What we hold is held without its parents; the server must not think that we have those, too.
    held.iter().for_each(|commit| packet::line(&mut out, &format!("shallow {commit}")));
    packet::line(&mut out, &format!("want {want}"));
    held.iter().for_each(|commit| packet::line(&mut out, &format!("have {commit}")));
    packet::line(&mut out, "done");
    packet::flush(&mut out);
    out
}

/// A reference as the server lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Listed {
    /// The whole name, as `refs/heads/main`.
    pub(super) name: String,
    /// What it points to.
    pub(super) id: CommitId,
    /// For an annotated tag: what the tag points to.
    pub(super) peeled: Option<CommitId>,
    /// For `HEAD`: the branch that it stands for.
    pub(super) target: Option<String>,
}

/// Reads a line of the answer to [`ls_refs`]; `None` for a reference that points to nothing yet.
pub(super) fn listed(data: &[u8]) -> Result<Option<Listed>, Fault> {
    let line = text(data)?;
    if let Some(message) = line.strip_prefix("ERR ") {
        return Err(Fault::Told(shown(message)));
    }
    let bad = || Fault::Foreign(format!("`{}` is no reference", shown(line)));
    let mut words = line.split(' ');
    let (Some(id), Some(name)) = (words.next(), words.next()) else { return Err(bad()) };
    if id == "unborn" {
        return Ok(None);
    }
    let mut listed = Listed { name: name.to_owned(), id: CommitId::parse(id).ok_or_else(bad)?, peeled: None, target: None };
    for attribute in words {
        match attribute.split_once(':') {
            Some(("peeled", id)) => listed.peeled = Some(CommitId::parse(id).ok_or_else(bad)?),
            Some(("symref-target", target)) => listed.target = Some(target.to_owned()),
            _ => {}
        }
    }
    Ok(Some(listed))
}

/// The answer to [`fetch`], as it arrives.
#[derive(Debug, Default)]
pub(super) struct Answer {
    section: Section,
    /// The commits that now have no parents here.
    pub(super) shallow: Vec<CommitId>,
    /// The commits whose parents are now here.
    pub(super) unshallow: Vec<CommitId>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Section {
    #[default]
    Head,
    Shallow,
    Other,
    Pack,
}

/// What a frame of the answer brought.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Part<'a> {
    /// Nothing to act on.
    Nothing,
    /// A piece of the pack.
    Pack(&'a [u8]),
    /// The answer is complete.
    End,
}

impl Answer {
    /// Takes a frame.
    pub(super) fn take<'a>(&mut self, packet: Packet<'a>) -> Result<Part<'a>, Fault> {
        match (self.section, packet) {
            (Section::Pack, Packet::Data(data)) => band(data),
            (Section::Pack, Packet::Flush) => Ok(Part::End),
            (Section::Head, Packet::Data(data)) => self.head(text(data)?).map(|()| Part::Nothing),
            (Section::Shallow, Packet::Data(data)) => self.shallow(text(data)?).map(|()| Part::Nothing),
            (Section::Other, Packet::Data(_)) => Ok(Part::Nothing),
            (Section::Shallow | Section::Other, Packet::Delimiter) => {
                self.section = Section::Head;
                Ok(Part::Nothing)
            }
            _ => Err(Fault::Foreign("the answer ends before the pack".to_owned())),
        }
    }

    fn head(&mut self, line: &str) -> Result<(), Fault> {
        self.section = match line {
            "packfile" => Section::Pack,
            "shallow-info" => Section::Shallow,
            "acknowledgments" | "wanted-refs" => Section::Other,
            _ => return Err(told_or(line, "is no section of an answer to `fetch`")),
        };
        Ok(())
    }

    fn shallow(&mut self, line: &str) -> Result<(), Fault> {
        let bad = || told_or(line, "does not say which commits have no parents");
        let (list, id) = match line.split_once(' ') {
            Some(("shallow", id)) => (&mut self.shallow, id),
            Some(("unshallow", id)) => (&mut self.unshallow, id),
            _ => return Err(bad()),
        };
        list.push(CommitId::parse(id).ok_or_else(bad)?);
        Ok(())
    }
}

fn told_or(line: &str, why: &str) -> Fault {
    match line.strip_prefix("ERR ") {
        Some(message) => Fault::Told(shown(message)),
        None => Fault::Foreign(format!("`{}` {why}", shown(line))),
    }
}

/// Side bands: 1 is the pack, 2 is talk for a terminal, 3 is an error.
fn band(data: &[u8]) -> Result<Part<'_>, Fault> {
    match data.split_first() {
        Some((1, pack)) => Ok(Part::Pack(pack)),
        Some((2, _)) | None => Ok(Part::Nothing),
        Some((3, message)) => Err(Fault::Told(shown(String::from_utf8_lossy(message).trim()))),
        Some((band, _)) => match data.strip_prefix(b"ERR ") {
            Some(message) => Err(Fault::Told(shown(String::from_utf8_lossy(message).trim()))),
            None => Err(Fault::Foreign(format!("there is no side band {band}"))),
        },
    }
}

/// How many objects a pack announces in its first twelve bytes.
pub(super) fn objects(head: &[u8; 12]) -> Result<u32, Fault> {
    match head {
        [b'P', b'A', b'C', b'K', 0, 0, 0, 2 | 3, a, b, c, d] => Ok(u32::from_be_bytes([*a, *b, *c, *d])),
        _ => Err(Fault::Foreign("what arrived is no pack".to_owned())),
    }
}

fn text(data: &[u8]) -> Result<&str, Fault> {
    let line = std::str::from_utf8(data).map_err(|_| Fault::Foreign("a line is not UTF-8".to_owned()))?;
    Ok(line.strip_suffix('\n').unwrap_or(line))
}

/// Foreign text, fit for a message: one line, no control characters, not long.
pub(super) fn shown(text: &str) -> String {
    text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).take(200).collect::<String>().trim().to_owned()
}

/// The prefixes that a reference may be listed under.
pub(super) fn prefixes(reference: &Reference) -> Vec<String> {
    reference.full_name().into_iter().collect()
}

/// Finds a reference among those listed: by its exact name, since a prefix also matches `main-2`.
pub(super) fn find<'a>(reference: &Reference, listed: &'a [Listed]) -> Option<&'a Listed> {
    let name = reference.full_name()?;
    listed.iter().find(|listed| listed.name == name)
}

/// Of what is listed, that which looks most like what was looked for.
pub(super) fn nearest(reference: &Reference, listed: &[Listed]) -> Option<Reference> {
    let wanted = reference.name();
    let candidates = listed.iter().filter_map(|listed| Reference::from_full_name(&listed.name));
    // From 0.7 on it is a slip of the fingers; `master` for `main` has 0.72.
    let close = |name: &str| strsim::jaro_winkler(name, wanted);
    candidates.filter(|candidate| close(candidate.name()) >= 0.7).max_by(|a, b| close(a.name()).total_cmp(&close(b.name())))
}

#[cfg(test)]
mod tests {
    use super::super::packet::Packets;
    use super::*;

    const A: &str = "1111111111111111111111111111111111111111";
    const B: &str = "2222222222222222222222222222222222222222";

    fn greeting(body: &[u8]) -> Result<Capabilities, Fault> {
        let (mut packets, mut greeting) = (Packets::default(), Greeting::default());
        packets.push(body);
        while let Some(packet) = packets.next()? {
            if let Some(capabilities) = greeting.take(packet)? {
                return Ok(capabilities);
            }
        }
        Err(Fault::CutOff)
    }

    fn id(text: &str) -> CommitId {
        CommitId::parse(text).unwrap()
    }

    fn v2(lines: &[&str]) -> Vec<u8> {
        let mut out = Vec::new();
        lines.iter().for_each(|line| packet::line(&mut out, line));
        packet::flush(&mut out);
        out
    }

    fn capabilities() -> Capabilities {
        greeting(&v2(&["version 2", "agent=git/2.39.5", "ls-refs=unborn", "fetch=shallow wait-for-done", "object-format=sha1"])).unwrap()
    }

    #[test]
    fn the_greeting_is_read_over_http_and_over_ssh() {
        let mut http = b"001e# service=git-upload-pack\n0000".to_vec();
        let ssh = v2(&["version 2", "ls-refs", "fetch=shallow", "object-format=sha1"]);
        http.extend_from_slice(&ssh);
        assert_eq!(greeting(&http), greeting(&ssh));
        assert_eq!(greeting(&http).unwrap().object_format.as_deref(), Some("sha1"));
    }

    #[test]
    fn what_cannot_be_talked_to_is_named() {
        let why = |body: &[u8]| format!("{:?}", greeting(body).unwrap_err());
        assert!(why(&v2(&["version 1"])).contains("older protocol"));
        assert!(why(&v2(&[&format!("{A} refs/heads/main\0multi_ack")])).contains("older protocol"));
        assert!(why(b"<!DOCTYPE html>").contains("pkt-lines"));
        assert!(why(b"000eversion 2\n").contains("CutOff"));
        assert!(why(&v2(&["ERR access denied"])).contains("Told(\"access denied\")"));
        assert!(why(&v2(&["version 2", "ls-refs", "fetch=shallow", "object-format=sha256"])).contains("ObjectFormat(\"sha256\")"));
        assert!(why(&v2(&["version 2", "ls-refs", "fetch"])).contains("shallow"));
    }

    #[test]
    fn a_poll_is_one_small_request() {
        let request = ls_refs(&capabilities(), &["refs/heads/main".to_owned()]);
        assert_eq!(
            String::from_utf8(request).unwrap(),
            "0014command=ls-refs\n0019agent=plimsoll/0.1.0\n0017object-format=sha1\n00010009peel\n000csymrefs\n001fref-prefix refs/heads/main\n0000"
        );
    }

    #[test]
    fn a_fetch_says_what_is_here() {
        let request = String::from_utf8(fetch(&capabilities(), id(A), &[id(B)])).unwrap();
        assert!(request.contains(&format!("want {A}\n")) && request.contains(&format!("have {B}\n")), "{request}");
        assert!(request.contains(&format!("shallow {B}\n")) && request.ends_with("0009done\n0000"), "{request}");
    }

    #[test]
    fn references_are_read_with_their_attributes() {
        let tag = listed(format!("{A} refs/tags/v1 peeled:{B}\n").as_bytes()).unwrap().unwrap();
        assert_eq!((tag.id, tag.peeled), (id(A), Some(id(B))));
        let head = listed(format!("{A} HEAD symref-target:refs/heads/main").as_bytes()).unwrap().unwrap();
        assert_eq!(head.target.as_deref(), Some("refs/heads/main"));
        assert_eq!(listed(b"unborn HEAD symref-target:refs/heads/main\n"), Ok(None));
        for bad in [&b""[..], b"x", b"123 refs/heads/main", b"\xff\xfe refs", format!("{A} refs/tags/v peeled:zz").as_bytes()] {
            assert!(listed(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_prefix_is_not_taken_for_the_name() {
        let list: Vec<_> = [("refs/heads/main-2", A), ("refs/heads/main", B)]
            .map(|(name, id)| listed(format!("{id} {name}").as_bytes()).unwrap().unwrap())
            .into();
        assert_eq!(find(&Reference::Branch("main".into()), &list).unwrap().id, id(B));
        assert_eq!(find(&Reference::Tag("main".into()), &list), None);
        assert_eq!(nearest(&Reference::Branch("mian".into()), &list), Some(Reference::Branch("main".into())));
        assert_eq!(nearest(&Reference::Branch("zzz".into()), &list), None);
    }

    fn answer(body: &[u8]) -> Result<(Vec<u8>, Answer), Fault> {
        let (mut packets, mut answer, mut pack) = (Packets::default(), Answer::default(), Vec::new());
        packets.push(body);
        while let Some(packet) = packets.next()? {
            match answer.take(packet)? {
                Part::Pack(bytes) => pack.extend_from_slice(bytes),
                Part::Nothing => {}
                Part::End => return Ok((pack, answer)),
            }
        }
        Err(Fault::CutOff)
    }

    #[test]
    fn an_answer_is_taken_apart() {
        let mut body = Vec::new();
        packet::line(&mut body, "shallow-info");
        packet::line(&mut body, &format!("shallow {A}"));
        packet::line(&mut body, &format!("unshallow {B}"));
        packet::delimiter(&mut body);
        body.extend_from_slice(b"000dpackfile\n0009\x01PACK000e\x02Counting\r0006\x01x0000");
        let (pack, seen) = answer(&body).unwrap();
        assert_eq!((pack.as_slice(), seen.shallow, seen.unshallow), (&b"PACKx"[..], vec![id(A)], vec![id(B)]));
    }

    #[test]
    fn errors_of_the_other_side_are_told_wherever_they_come() {
        let told = |body: &[u8]| answer(body).unwrap_err();
        assert_eq!(told(&v2(&["ERR upload-pack: not our ref 1"])), Fault::Told("upload-pack: not our ref 1".into()));
        assert_eq!(told(b"000dpackfile\n000a\x03\x1b[31m0000"), Fault::Told("[31m".into()));
        assert_eq!(told(b"000dpackfile\n000cERR away0000"), Fault::Told("away".into()));
        assert_eq!(told(b"000dpackfile\n0006\x01P"), Fault::CutOff);
        assert!(matches!(told(b"0000"), Fault::Foreign(_)));
        assert!(matches!(told(b"000dpackfile\n0006\x09P0000"), Fault::Foreign(_)));
    }

    #[test]
    fn no_bytes_whatever_make_it_panic() {
        // A small generator instead of a dependency: what matters is that every branch meets garbage, cut and joined anew.
        let parts: [&[u8]; 12] = [
            b"0000",
            b"0001",
            b"0002",
            b"0003",
            b"000dpackfile\n",
            b"0011shallow-info\n",
            b"0005\x01",
            b"0004",
            b"000eversion 2\n",
            b"0006\xff\xff",
            b"ffff",
            b"00",
        ];
        let mut seed = 7_u64;
        for _ in 0..20_000 {
            let mut body = Vec::new();
            for _ in 0..6 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let part = parts[(seed >> 33) as usize % parts.len()];
                body.extend_from_slice(&part[..part.len() - (seed >> 60) as usize % 2]);
            }
            let _ = (greeting(&body), answer(&body), listed(&body));
        }
        assert!(objects(b"PACK\0\0\0\x02\0\0\x01\0") == Ok(256) && objects(b"PACK\0\0\0\x09\0\0\x01\0").is_err());
    }
}
