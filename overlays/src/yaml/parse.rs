//! Reads YAML as kustomize does: documents cut at lines that begin with `---`, anchors and merge keys expanded at once.
//!
//! The scanner is a port of libyaml, of which go-yaml is a port too; what is told apart here is what go-yaml and kyaml add to it.

use std::borrow::Cow;

use memchr::{memchr_iter, memmem};

use super::block::Block;
use super::compose::Composer;
use super::texts::Texts;
use super::{Dialect, Error, Mark, Node, Value};

/// Bounds on a text and on what it expands to.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The length of the text, in bytes.
    pub bytes: usize,
    /// How deep lists and maps may be nested.
    pub depth: usize,
    /// How many scalars, lists and maps there may be, after aliases are expanded.
    pub nodes: usize,
    /// How many documents there may be.
    pub documents: usize,
}

impl Default for Limits {
    /// The largest bundle of CRDs seen in public repositories has 12 MB, 350,000 nodes and 60 levels.
    fn default() -> Self {
        Self { bytes: 25 << 20, depth: 200, nodes: 1_500_000, documents: 50_000 }
    }
}

/// Reads the documents of a resource file; empty ones (nothing, comments only, `null`, `{}`, `[]`) are left out.
///
/// # Errors
/// The text is not YAML as go-yaml v3 reads it, a key is there twice, or a limit is passed.
pub fn parse(bytes: &[u8], limits: &Limits) -> Result<Vec<Node>, Error> {
    let text = decoded(bytes, limits)?;
    let source = if text.contains('\r') { Cow::Owned(text.replace("\r\n", "\n")) } else { text };
    contained(|| read_documents(&source, limits, false)).map_err(|error| with_line(error, &source))
}

/// As [`parse`], for patches, in which kustomize bears keys that are there twice.
///
/// # Errors
/// As [`parse`].
pub(crate) fn parse_patch(bytes: &[u8], limits: &Limits) -> Result<Vec<Node>, Error> {
    let text = decoded(bytes, limits)?;
    let source = if text.contains('\r') { Cow::Owned(text.replace("\r\n", "\n")) } else { text };
    contained(|| read_documents(&source, limits, true)).map_err(|error| with_line(error, &source))
}

/// Reads a kustomization file, a configuration or a JSON patch: the first document only; of a key that is there twice the last counts.
/// `None` where there is no document, or it is null.
///
/// # Errors
/// The text is not YAML as go-yaml v2 reads it, or a limit is passed.
pub fn parse_config(bytes: &[u8], limits: &Limits) -> Result<Option<Node>, Error> {
    let text = decoded(bytes, limits)?;
    let node = contained(|| read_document((&text, 0), Dialect::Config, false, limits, &mut Texts::new(), &mut 0));
    Ok(node.map_err(|error| with_line(error, &text))?.filter(|node| !node.is_null(Dialect::Config)))
}

/// The scanner panics on a tag before a comma in `[!x ,]` (libyaml-safer 0.3.0, `scan_tag`). One file must not take the agent with it.
pub(crate) fn contained<T>(read: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(read)).unwrap_or_else(|_| {
        let error = Error::new("the YAML scanner gave up on this text", Mark::default());
        Err(error.with_hint("look for a tag (`!…`) that is followed by a comma"))
    })
}

/// The text without its byte order mark. UTF-16 is told by its mark, as in libyaml.
fn decoded<'a>(bytes: &'a [u8], limits: &Limits) -> Result<Cow<'a, str>, Error> {
    if bytes.len() > limits.bytes {
        let message = format!("the text has {} bytes, more than the limit of {}", bytes.len(), limits.bytes);
        return Err(Error::new(message, Mark::default()));
    }
    match bytes {
        [0xff, 0xfe, rest @ ..] => utf_16(rest, u16::from_le_bytes).map(Cow::Owned),
        [0xfe, 0xff, rest @ ..] => utf_16(rest, u16::from_be_bytes).map(Cow::Owned),
        [0xef, 0xbb, 0xbf, rest @ ..] => utf_8(rest).map(Cow::Borrowed),
        _ => utf_8(bytes).map(Cow::Borrowed),
    }
}

fn utf_8(bytes: &[u8]) -> Result<&str, Error> {
    std::str::from_utf8(bytes).map_err(|error| {
        let before = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
        Error::new("the text is not UTF-8", mark_at(&before, before.len())).with_hint("save the file as UTF-8")
    })
}

fn utf_16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Result<String, Error> {
    let (units, rest) = bytes.as_chunks();
    let text = if rest.is_empty() { char::decode_utf16(units.iter().copied().map(unit)).collect::<Result<_, _>>().ok() } else { None };
    text.ok_or_else(|| Error::new("the text begins as UTF-16 and is none", Mark::default()).with_hint("save the file as UTF-8"))
}

/// The mark of a byte in a text.
pub(super) fn mark_at(text: &str, offset: usize) -> Mark {
    let before = &text[..offset];
    let start = before.rfind('\n').map_or(0, |at| at + 1);
    Mark { file: 0, line: small(lines(before)) + 1, column: small(before[start..].chars().count()) + 1 }
}

fn lines(text: &str) -> usize {
    memchr_iter(b'\n', text.as_bytes()).count()
}

pub(super) fn small(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// Lines that are longer are not kept in errors, which live on in reports.
const LINE_BYTES: usize = 10_000;

/// What tells that a file holds secrets.
const SECRETS: [&str; 6] = ["kind: Secret", "kind:Secret", "\"Secret\"", "'Secret'", "stringData", "secretGenerator"];

/// A line of a file (from 1) as an error may show it; empty where there is none. Of a file that seems to hold a Secret no more than
/// the key is shown: an error may be read by more people than the file.
pub fn shown_line(text: &str, number: u32) -> String {
    let Some(index) = (number as usize).checked_sub(1) else {
        return String::new();
    };
    let line = text.lines().nth(index).filter(|line| line.len() <= LINE_BYTES).unwrap_or_default();
    if !SECRETS.iter().any(|sign| text.contains(sign)) {
        return line.to_owned();
    }
    line.split_once(':').map(|(key, _)| format!("{key}: ****")).unwrap_or_default()
}

fn with_line(error: Error, text: &str) -> Error {
    let line = shown_line(text, error.line());
    error.with_line(line)
}

fn read_documents(source: &str, limits: &Limits, doubles: bool) -> Result<Vec<Node>, Error> {
    let (mut documents, mut texts, mut nodes, mut count) = (Vec::new(), Texts::new(), 0, 0);
    let (mut rest, mut line) = (source, 0);
    loop {
        count += 1;
        if count > limits.documents {
            let mark = Mark { file: 0, line: small(line), column: 1 };
            return Err(Error::new(format!("more documents than the limit of {}", limits.documents), mark));
        }
        let (piece, next) = split(rest, line)?;
        let node = read_document((piece, line), Dialect::Resource, doubles, limits, &mut texts, &mut nodes)?;
        documents.extend(node.filter(|node| !is_empty(node)));
        let Some(next) = next else {
            return Ok(documents);
        };
        line += lines(&rest[..rest.len() - next.len()]);
        rest = next;
    }
}

fn is_empty(node: &Node) -> bool {
    match &node.value {
        Value::Map(entries) => entries.is_empty(),
        Value::List(items) => items.is_empty(),
        Value::Scalar(..) => node.is_null(Dialect::Resource),
    }
}

pub(super) const AFTER_SEPARATOR: &str = "begin the document on the line after `---`";

/// The text up to the next separator, and what comes after it. kyaml cuts by text, before any YAML is read.
fn split(text: &str, line: usize) -> Result<(&str, Option<&str>), Error> {
    let Some((at, end)) = memmem::find(text.as_bytes(), b"\n---").and_then(|at| Some((at, at + 1 + text[at + 1..].find('\n')?))) else {
        return Ok((text, None));
    };
    let after = text[at + 4..end].trim();
    if !after.is_empty() && !after.starts_with('#') {
        let mark = Mark { file: 0, line: small(line + lines(&text[..=at])) + 1, column: 4 };
        let error = Error::new("text follows the document separator", mark);
        return Err(error.with_hint(AFTER_SEPARATOR));
    }
    Ok((&text[..=at], Some(&text[end + 1..])))
}

/// How often a text is mended before its error is told.
const MENDINGS: usize = 10;

/// Reads the first document of a text that stands after so many lines of its file.
fn read_document(
    (text, line): (&str, usize),
    dialect: Dialect,
    doubles: bool,
    limits: &Limits,
    texts: &mut Texts,
    nodes: &mut usize,
) -> Result<Option<Node>, Error> {
    // Each document may have a byte order mark of its own. The scanner would drop it too, and count its bytes from behind it.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    // The scanner needs a line end at the end, go-yaml does not.
    let last = text.rfind('\n').map_or(0, |at| at + 1);
    let unfinished = !text[last..].trim_matches([' ', '\t']).is_empty();
    let source = if unfinished { Cow::Owned(format!("{text}\n")) } else { Cow::Borrowed(&text[..last]) };
    let block = Block { text: &source, unfinished, line, dialect, limits, doubles };
    if let Some((node, sum)) = block.document(texts, *nodes) {
        #[cfg(feature = "both-readers")]
        assert_eq!(format!("{:?}", scan_document(block, &mut Texts::new(), &mut 0)), format!("{:?}", Ok::<_, Error>(Some(&node))));
        *nodes = sum;
        return Ok(Some(node));
    }
    scan_document(block, texts, nodes)
}

/// Reads it by the scanner, which knows all of YAML.
pub(super) fn scan_document(block: Block<'_>, texts: &mut Texts, nodes: &mut usize) -> Result<Option<Node>, Error> {
    let stand_in = stand_in_for_marks(block.text);
    let mut source =
        stand_in.map_or(Cow::Borrowed(block.text), |letter| block.text.replace('\u{feff}', letter.encode_utf8(&mut [0; 4])).into());
    let before = *nodes;
    for _ in 0..MENDINGS {
        let mut composer = Composer::new(&Block { text: &source, ..block }, stand_in, texts, nodes);
        let error = match composer.document() {
            Ok(node) => return Ok(node),
            Err(error) => error,
        };
        let unescaped = composer.quote_with_unknown_escape().and_then(|quote| without_escaped_apostrophes(&source, quote));
        let quoted = || composer.text_with_unexpected_colon().and_then(|(start, colon)| in_quotes(&source, start, colon));
        let Some(mended) = unescaped.or_else(quoted) else {
            return Err(error);
        };
        source = Cow::Owned(mended);
        *nodes = before;
    }
    Composer::new(&Block { text: &source, ..block }, stand_in, texts, nodes).document()
}

/// A letter that the text lacks, to stand for byte order marks: within a text go-yaml takes them for letters, and the scanner drops those
/// that begin a line. It is as many bytes long.
fn stand_in_for_marks(text: &str) -> Option<char> {
    text.contains('\u{feff}').then(|| ('\u{fdd0}'..='\u{fdef}').find(|letter| !text.contains(*letter))).flatten()
}

/// The text with quotes around a word in flow style that ends in a colon (`[a:, b]`): go-yaml takes it, the scanner does not.
fn in_quotes(text: &str, start: usize, colon: usize) -> Option<String> {
    let word = text.get(start..=colon)?.strip_suffix(':')?;
    let ends = text.get(colon + 1..)?.starts_with([',', '[', ']', '{', '}']);
    ends.then(|| format!("{}'{}:'{}", &text[..start], word.replace('\'', "''"), &text[colon + 1..]))
}

/// The text without the backslash in `\'` in the double quotes that begin at a byte: go-yaml knows that escape, the scanner does not.
fn without_escaped_apostrophes(text: &str, quote: usize) -> Option<String> {
    let inside = text.get(quote..)?.strip_prefix('"')?;
    let mut escaped = false;
    let end = inside.bytes().position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    });
    let (quoted, rest) = inside.split_at(end?);
    let pieces: Vec<&str> = quoted.split("\\\\").collect();
    let mended = pieces.iter().map(|piece| piece.replace("\\'", "'")).collect::<Vec<_>>().join("\\\\");
    (mended != quoted).then(|| format!("{}\"{mended}{rest}", &text[..quote]))
}

#[cfg(test)]
mod tests {
    use super::super::go_json;
    use super::*;

    fn json(text: &str) -> Result<Vec<String>, String> {
        let nodes = parse(text.as_bytes(), &Limits::default()).map_err(|error| error.to_string())?;
        Ok(nodes.iter().map(|node| go_json(node).unwrap()).collect())
    }

    fn check(text: &str, expected: &[&str]) {
        assert_eq!(json(text), Ok(expected.iter().map(|&text| text.to_owned()).collect()), "{text:?}");
    }

    fn fails(text: &str, expected: &str) {
        let error = json(text).unwrap_err();
        assert!(error.contains(expected), "{text:?}: {error}");
    }

    #[test]
    fn documents_are_cut_at_lines_that_begin_with_three_dashes() {
        check("a: 1\n---\nb: 2\n", &[r#"{"a":1}"#, r#"{"b":2}"#]);
        check("---\na: 1\n---  # comment\nb: 2", &[r#"{"a":1}"#, r#"{"b":2}"#]);
        check("# only\n---\nnull\n---\n{}\n---\n---\na: 1\n---", &[r#"{"a":1}"#]);
        check("a: |\n  ---\n", &[r#"{"a":"---\n"}"#]);
        check("a: 1\n...\nb: 2\n", &[r#"{"a":1}"#]);
        fails("a: 1\n--- b\nc: 1\n", "line 2: text follows the document separator");
        fails("a: 1\n----\nc: 1\n", "line 2: text follows the document separator");
        fails("%YAML 1.1\n---\na: 1\n", "document start");
        fails("{a: 1}\nb: 2\n", "line 2");
        fails("a: 1\n%b\nc: 2\n", "line 2");
    }

    #[test]
    fn texts_come_in_several_guises() {
        check("\u{feff}a: 1\r\nb: |\r\n  x\r\n", &[r#"{"a":1,"b":"x\n"}"#]);
        check(r#"{"a":"x\u00e9", "b" : [1,2]}"#, &["{\"a\":\"x\u{e9}\",\"b\":[1,2]}"]);
        let utf_16: Vec<u8> = [0xff, 0xfe].into_iter().chain("a: \u{e9}\n".encode_utf16().flat_map(u16::to_le_bytes)).collect();
        assert_eq!(
            parse(&utf_16, &Limits::default()).unwrap()[0].get("a").unwrap().text().map(|text| text.to_string()).as_deref(),
            Some("\u{e9}")
        );
        assert_eq!(parse(b"a: \xff", &Limits::default()).unwrap_err().to_string(), "line 1: the text is not UTF-8");
    }

    // The scanner panics on these without the line end that is added for it.
    #[test]
    fn the_last_line_needs_no_end() {
        check("a: |\n  x\n  y", &[r#"{"a":"x\ny"}"#]);
        check("a: |+\n  x", &[r#"{"a":"x"}"#]);
        check("a: >\n  x\n  y", &[r#"{"a":"x y"}"#]);
        check("a: |", &[r#"{"a":""}"#]);
        check("a: |\n  x\n  ", &[r#"{"a":"x\n"}"#]);
        check("a: 'x'", &[r#"{"a":"x"}"#]);
        fails("a: \"\\", "line 1");
    }

    #[test]
    fn a_byte_order_mark_within_a_text_is_a_letter() {
        check("a: 1\n\u{feff}b: x\u{feff}y\n", &["{\"a\":1,\"\u{feff}b\":\"x\u{feff}y\"}"]);
        check("\u{fdd0}: &a 1\n\u{feff}b: *a\n", &["{\"\u{fdd0}\":1,\"\u{feff}b\":1}"]);
        let error = parse("a: 1\n\u{feff}# none\n".as_bytes(), &Limits::default()).unwrap_err();
        assert!(error.message().contains("begins on line 2") && error.hint().unwrap().contains("U+FEFF"));
    }

    #[test]
    fn what_is_mended_is_found_behind_letters_of_more_than_one_byte() {
        check("z: \u{e9} \u{1f600}\nb: [\u{e9}:, d]\n", &["{\"b\":[\"\u{e9}:\",\"d\"],\"z\":\"\u{e9} \u{1f600}\"}"]);
        check("z: \u{e9}\nb: \"\\'\u{e9}\"\n", &["{\"b\":\"'\u{e9}\",\"z\":\"\u{e9}\"}"]);
        fails("z: \u{e9}\u{e9}\u{e9}\u{e9}\nb: \"\\/\"\n", "unknown escape");
        let behind_mark = "a: 1\n---\n\u{feff}z: \u{e9}\n";
        check(&format!("{behind_mark}b: [c:, d]\n"), &[r#"{"a":1}"#, "{\"b\":[\"c:\",\"d\"],\"z\":\"\u{e9}\"}"]);
        check(&format!("{behind_mark}b: \"\\'\"\n"), &[r#"{"a":1}"#, "{\"b\":\"'\",\"z\":\"\u{e9}\"}"]);
        check(&format!("{behind_mark}b: &x |\n  y"), &[r#"{"a":1}"#, "{\"b\":\"y\",\"z\":\"\u{e9}\"}"]);
        fails(&format!("{behind_mark}b: \"\\/\"\n"), "unknown escape");
    }

    // Found by fuzzing: these begin with the first byte of a byte order mark.
    #[test]
    fn a_text_may_begin_with_any_letter() {
        check("\u{ff81}: &a 1\nb: *a\n", &["{\"b\":1,\"\u{ff81}\":1}"]);
        check("a: 1\n---\n\u{feff}b: &a 1\n", &[r#"{"a":1}"#, r#"{"b":1}"#]);
    }

    // Found in a public repository; kustomize takes it.
    #[test]
    fn an_apostrophe_may_be_escaped_in_double_quotes() {
        check(r#"a: "it\'s \\' \"\'" "#, &[r#"{"a":"it's \\' \"'"}"#]);
        check("a: \"\\'\"\nb: \"\\'\\'\"\n", &[r#"{"a":"'","b":"''"}"#]);
        fails(r#"a: "\'\q""#, "unknown escape");
        fails(&"- \"\\'\"\n".repeat(20), "unknown escape");
    }

    // kustomize prints a folded block once in between and reads it again; go-yaml v3 adds a line end before an indented line.
    #[test]
    fn a_folded_block_gains_the_line_ends_that_kustomize_adds() {
        check("a: >\n  x\n    y\n  z\n", &[r#"{"a":"x\n\n  y\nz\n"}"#]);
        check("a: >+\n  x\n\n", &[r#"{"a":"x\n\n\n"}"#]);
        check("a: >\n    x\n", &[r#"{"a":"x\n"}"#]);
        let config = parse_config(b"a: >\n  x\n    y\n", &Limits::default()).unwrap().unwrap();
        assert_eq!(go_json(&config).unwrap(), r#"{"a":"x\n  y\n"}"#);
    }

    #[test]
    fn aliases_and_merge_keys_are_expanded() {
        check("a: &x [1]\nb: *x", &[r#"{"a":[1],"b":[1]}"#]);
        check("a: &x {p: 1, q: 1}\nb: {<<: *x, q: 2}", &[r#"{"a":{"p":1,"q":1},"b":{"p":1,"q":2}}"#]);
        check("a: &x {p: 1}\nb: &y {p: 2, q: 2}\nc: {<<: [*x, *y]}", &[r#"{"a":{"p":1},"b":{"p":2,"q":2},"c":{"p":1,"q":2}}"#]);
        check("a: {\"<<\": 1}", &[r#"{"a":{"\u003c\u003c":1}}"#]);
        fails("a: *none", "unknown anchor `none`");
        fails("a: &x [*x]", "contains itself");
        fails("a: &x 1\nb: {<<: *x}", "takes a map or a list of maps");
        fails("a: &x {p: 1}\nb:\n  <<: *x\n  <<: *x", "there twice");
        fails("a: &x 1\n---\nb: *x\n", "line 3: unknown anchor");
    }

    #[test]
    fn a_key_that_is_there_twice_is_an_error_in_resources_and_the_last_counts_in_configurations() {
        fails("a: 1\nb: 1\na: 2\n", "line 3: mapping key `a` is already defined on line 1");
        let many: String = (0..20).chain([7]).map(|i| format!("k{i}: {i}\n")).collect();
        fails(&many, "line 21: mapping key `k7` is already defined on line 8");
        let config = parse_config(b"a: 1\nb: 1\na: 2\n", &Limits::default()).unwrap().unwrap();
        assert_eq!(go_json(&config).unwrap(), r#"{"a":2,"b":1}"#);
    }

    #[test]
    fn a_merge_key_in_a_configuration_replaces_what_comes_before_it() {
        let text = b"a: &x {p: 1, q: 1}\nb: {p: 2, <<: *x, q: 2}\nc: {<<: [*x, {q: 3, r: 3}]}\n";
        let config = parse_config(text, &Limits::default()).unwrap().unwrap();
        assert_eq!(go_json(&config).unwrap(), r#"{"a":{"p":1,"q":1},"b":{"p":1,"q":2},"c":{"p":1,"q":1,"r":3}}"#);
    }

    #[test]
    fn of_a_configuration_the_first_document_is_read() {
        let read = |text: &str| parse_config(text.as_bytes(), &Limits::default()).unwrap().map(|node| go_json(&node).unwrap());
        assert_eq!(read("---\na: 1\n---\nb: 2\n").as_deref(), Some(r#"{"a":1}"#));
        assert_eq!(read("# nothing\n"), None);
        assert_eq!(read("null"), None);
        assert_eq!(read("{}").as_deref(), Some("{}"));
    }

    #[test]
    fn nodes_know_where_they_were_written() {
        let nodes = parse("a: 1\n---\nb:\n  - caf\u{e9}: x\n".as_bytes(), &Limits::default()).unwrap();
        let value = nodes[1].get("b").unwrap().items()[0].get("caf\u{e9}").unwrap();
        assert_eq!(value.mark, Mark { file: 0, line: 4, column: 11 });
    }

    #[test]
    fn errors_show_place_line_and_way_out() {
        let error = parse(b"a: 1\n---\nb:\n\t- x\n", &Limits::default()).unwrap_err();
        assert_eq!((error.line(), error.column(), error.line_text()), (4, 1, "\t- x"));
        assert!(error.hint().unwrap().contains("no tabs"));
        let error = parse(b"a: b: c\n", &Limits::default()).unwrap_err();
        assert_eq!((error.line(), error.column()), (1, 5));
        let error = parse(b"a: 1\nb: \"x\nc: 1\n", &Limits::default()).unwrap_err();
        assert_eq!((error.line(), error.column()), (2, 4));
        let error = parse(b"a: 1\nb: \x01\n", &Limits::default()).unwrap_err();
        assert_eq!((error.line(), error.column()), (2, 4));
        fails(r#"{"a": "x\/y"}"#, "unknown escape");
        fails(r#"{"a": "\ud83d\ude00"}"#, "Unicode");
        fails("a: {{ .Values.x }}", "a key is a list or a map");
    }

    #[test]
    fn a_line_of_a_secret_is_not_shown() {
        let error = parse(b"kind: Secret\nstringData:\n  password: hunter2: x\n", &Limits::default()).unwrap_err();
        assert_eq!((error.line(), error.line_text()), (3, "  password: ****"));
        assert!(!format!("{error:?}").contains("hunter2"));
        assert_eq!(shown_line("secretGenerator:\n- literals: [a=hunter2]\n  - hunter2\n", 2), "- literals: ****");
        assert_eq!(shown_line("secretGenerator:\n- hunter2\n", 2), "");
        assert_eq!(
            (shown_line("a: 1\n", 1), shown_line("a: 1\n", 0), shown_line("a: 1\n", 9)),
            ("a: 1".into(), String::new(), String::new())
        );
    }

    #[test]
    fn limits_are_named() {
        let limits = Limits { bytes: 2_000_000, depth: 200, nodes: 100_000, documents: 100 };
        let fails = |text: &str, expected: &str| {
            let error = parse(text.as_bytes(), &limits).unwrap_err();
            assert!(error.message().contains(expected), "{}", error.message());
        };
        fails(&" ".repeat(2_000_001), "more than the limit of 2000000");
        fails(&"[".repeat(100_000), "limit of 200 levels");
        fails(&"- ".repeat(100_000), "limit of 200 levels");
        fails(&"a\n---\n".repeat(101), "limit of 100");
        fails(&"[".repeat(50).replace('[', "- a\n").repeat(2_001), "limit of 100000");
        let bomb =
            (1..20).fold("a0: &a0 [x,x]\n".to_owned(), |text, i| text + &format!("a{i}: &a{i} [{}]\n", format!("*a{},", i - 1).repeat(9)));
        fails(&bomb, "limit of 100000, aliases expanded");
    }

    #[test]
    fn a_panic_of_the_scanner_is_an_error() {
        fails("a: [!x,]", "gave up");
    }
}
