//! An answer as it arrives, over HTTP or from a child process: bounded, and taken apart into frames.
//!
//! It knows no request and no meaning.

use std::time::Duration;

use super::packet::{Packet, Packets};
use super::protocol::{Capabilities, Fault, Greeting};
use super::ssh::Session;
use super::{CommitId, Error, http};
use crate::secret::SafeUrl;

/// An answer.
pub(super) struct Stream {
    url: SafeUrl,
    source: Source,
    packets: Packets,
    what: &'static str,
    limit: u64,
    left: u64,
}

enum Source {
    Http(reqwest::Response),
    Ssh(Session),
}

impl Stream {
    /// The answer to a web request; `what` names it when it is larger than `limit` bytes.
    pub(super) fn http(url: SafeUrl, response: reqwest::Response, what: &'static str, limit: u64) -> Self {
        Self { url, source: Source::Http(response), packets: Packets::default(), what, limit, left: limit }
    }

    /// What a child process writes.
    pub(super) fn ssh(url: SafeUrl, session: Session, what: &'static str, limit: u64) -> Self {
        Self { url, source: Source::Ssh(session), packets: Packets::default(), what, limit, left: limit }
    }

    /// Waits for one piece, and shows its frames to `take` until that says that the answer is complete. Returns whether it is.
    pub(super) async fn read(&mut self, take: &mut (dyn FnMut(Packet<'_>) -> Result<bool, Fault> + Send)) -> Result<bool, Error> {
        let piece = match &mut self.source {
            Source::Http(response) => response.chunk().await.map_err(|error| http::broken(&self.url, &error))?.map(Vec::from),
            Source::Ssh(session) => session.read(&self.url).await?,
        };
        let Some(piece) = piece else { return Err(fault(&self.url, Fault::CutOff)) };
        self.left = self.left.checked_sub(piece.len() as u64).ok_or_else(|| self.too_large())?;
        self.packets.push(&piece);
        self.frames(take).map_err(|error| fault(&self.url, error))
    }

    /// Reads the server's first words.
    pub(super) async fn greeting(&mut self) -> Result<Capabilities, Error> {
        let (mut greeting, mut seen) = (Greeting::default(), None);
        loop {
            self.read(&mut |packet| {
                seen = greeting.take(packet)?;
                Ok(seen.is_some())
            })
            .await?;
            if let Some(capabilities) = seen.take() {
                return Ok(capabilities);
            }
        }
    }

    fn frames(&mut self, take: &mut (dyn FnMut(Packet<'_>) -> Result<bool, Fault> + Send)) -> Result<bool, Fault> {
        while let Some(packet) = self.packets.next()? {
            if take(packet)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Says something more; for ssh only, where question and answer share a connection.
    pub(super) async fn say(&mut self, bytes: &[u8]) -> Result<(), Error> {
        match &mut self.source {
            Source::Ssh(session) => session.write(&self.url, bytes).await,
            Source::Http(_) => Ok(()),
        }
    }

    /// Starts to count anew, for another answer on the same connection.
    pub(super) fn expect(&mut self, what: &'static str, limit: u64) {
        (self.what, self.limit, self.left) = (what, limit, limit);
    }

    /// Ends in peace: a connection that was read to its end can be used again.
    pub(super) async fn finish(self) {
        // What comes after the last frame is of no interest, and a server that keeps it to itself must not keep us.
        const PATIENCE: Duration = Duration::from_secs(1);
        match self.source {
            Source::Http(mut response) => drop(tokio::time::timeout(PATIENCE, response.chunk()).await),
            Source::Ssh(session) => drop(tokio::time::timeout(PATIENCE, session.close()).await),
        }
    }

    fn too_large(&self) -> Error {
        Error::TooLarge { url: self.url.clone(), what: self.what, limit: self.limit }
    }
}

/// A fault in an answer, as an error about a repository.
pub(super) fn fault(url: &SafeUrl, fault: Fault) -> Error {
    let url = url.clone();
    match fault {
        Fault::Foreign(why) => Error::Protocol { url, why },
        Fault::ObjectFormat(_) => Error::Sha256 { url },
        Fault::Told(message) => told(url, message),
        Fault::CutOff => Error::Unreachable { url, why: "the connection ended before the answer was complete".to_owned() },
    }
}

/// `upload-pack: not our ref <id>` is how Git says that there is no such commit.
fn told(url: SafeUrl, message: String) -> Error {
    let commit = message.split_once("not our ref ").and_then(|(_, id)| CommitId::parse(id.get(..40)?));
    match commit {
        Some(commit) => Error::NoCommit { url, commit },
        None => Error::Remote { url, message },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_that_is_not_there_is_told_apart() {
        let url = SafeUrl::new("https://h/a");
        let id = "1111111111111111111111111111111111111111";
        let seen = |message: &str| fault(&url, Fault::Told(message.to_owned()));
        assert!(matches!(seen(&format!("upload-pack: not our ref {id}")), Error::NoCommit { .. }));
        assert!(matches!(seen("upload-pack: not our ref 11"), Error::Remote { .. }));
        assert!(matches!(seen("not our ref \u{e9}\u{e9}\u{e9}"), Error::Remote { .. }));
    }
}
