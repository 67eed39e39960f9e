//! The pkt-line frames that Git's protocol is made of.
//!
//! Pure: bytes in, frames out; knows nothing of what they mean. Format: gitprotocol-common(5).

/// A line is at most this long, its four digits of length included.
const LONGEST: usize = 65_520;

/// One frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packet<'a> {
    /// A line, or a piece of binary data.
    Data(&'a [u8]),
    /// `0000`: the end of a message.
    Flush,
    /// `0001`: the end of a section.
    Delimiter,
    /// `0002`: the end of an answer over a connection without state.
    End,
}

/// These bytes are no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// The frames of a stream that arrives in pieces. Holds at most one frame and one piece.
#[derive(Debug, Default)]
pub(super) struct Packets {
    buffer: Vec<u8>,
    start: usize,
}

impl Packets {
    /// Takes the next piece of the stream.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.start);
        self.start = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// The next frame; `None` until more has arrived.
    pub(super) fn next(&mut self) -> Result<Option<Packet<'_>>, Malformed> {
        let Some((digits, rest)) = self.buffer.get(self.start..).and_then(<[u8]>::split_first_chunk::<4>) else { return Ok(None) };
        let length = length(digits)?;
        if length < 4 {
            self.start += 4;
            return special(length).map(Some);
        }
        if rest.len() < length - 4 {
            return Ok(None);
        }
        self.start += length;
        Ok(Some(Packet::Data(&rest[..length - 4])))
    }
}

fn length(digits: &[u8; 4]) -> Result<usize, Malformed> {
    // from_str_radix alone would take "+00a".
    let text = std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_hexdigit())).ok_or(Malformed)?;
    usize::from_str_radix(text, 16).ok().filter(|length| *length <= LONGEST).ok_or(Malformed)
}

fn special(length: usize) -> Result<Packet<'static>, Malformed> {
    match length {
        0 => Ok(Packet::Flush),
        1 => Ok(Packet::Delimiter),
        2 => Ok(Packet::End),
        _ => Err(Malformed),
    }
}

/// Appends a line of text. Callers keep it far below the longest frame.
pub(super) fn line(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(format!("{:04x}{text}\n", text.len() + 5).as_bytes());
}

/// Appends a `0000`.
pub(super) fn flush(out: &mut Vec<u8>) {
    out.extend_from_slice(b"0000");
}

/// Appends a `0001`.
pub(super) fn delimiter(out: &mut Vec<u8>) {
    out.extend_from_slice(b"0001");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(pieces: &[&[u8]]) -> Result<Vec<String>, Malformed> {
        let (mut packets, mut seen) = (Packets::default(), Vec::new());
        for piece in pieces {
            packets.push(piece);
            while let Some(packet) = packets.next()? {
                seen.push(match packet {
                    Packet::Data(data) => String::from_utf8_lossy(data).into_owned(),
                    other => format!("{other:?}"),
                });
            }
        }
        seen.push(format!("rest {}", packets.buffer.len() - packets.start));
        Ok(seen)
    }

    #[test]
    fn frames_are_the_same_however_the_stream_is_cut() {
        let stream = b"000eversion 2\n0001000ahello\n00000002000400";
        let whole = frames(&[stream]).unwrap();
        assert_eq!(whole, ["version 2\n", "Delimiter", "hello\n", "Flush", "End", "", "rest 2"]);
        let bytes: Vec<&[u8]> = stream.chunks(1).collect();
        assert_eq!(frames(&bytes).unwrap(), whole);
    }

    #[test]
    fn what_is_no_frame_is_refused() {
        for bytes in [&b"<!DO"[..], b"+00a", b"0003", b"fff1", b"\xff\xff\xff\xff", b"00 4", b"-001"] {
            assert_eq!(frames(&[bytes]), Err(Malformed), "{bytes:?}");
        }
        assert_eq!(frames(&[b"fff0"]).unwrap(), ["rest 4"], "the longest frame is still awaited");
    }

    #[test]
    fn what_is_written_is_read_again() {
        let mut out = Vec::new();
        line(&mut out, "command=ls-refs");
        delimiter(&mut out);
        flush(&mut out);
        assert_eq!(out, b"0014command=ls-refs\n00010000");
    }
}
