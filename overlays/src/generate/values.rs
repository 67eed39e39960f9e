//! The keys and values of a generator: env files first, then literals, then files, as in kustomize.
//!
//! It must not know whether they go into a ConfigMap or a Secret; so no value is ever part of an error.

use crate::error::{Error, Stage};
use crate::layer::{Generator, Placed};
use crate::path::RepoPath;
use crate::source::Source;
use crate::yaml::Mark;

/// One key of a generated map.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) key: String,
    pub(super) value: Vec<u8>,
    /// Where it was asked for.
    pub(super) mark: Mark,
}

/// An error, and where the source of values that it is about was asked for.
type Wrong = (Error, Mark);

/// All keys and values of a generator, in order.
pub(super) fn pairs(source: &mut Source<'_>, layer: &RepoPath, args: &Generator) -> Result<Vec<Pair>, Wrong> {
    let mut pairs = Vec::new();
    for env in &args.envs {
        let (path, blob) = source.file(layer, &env.value).map_err(|error| (error, env.mark))?;
        let found = from_env_file(&blob.bytes, env.mark);
        pairs.extend(found.map_err(|line| (Error::new(Stage::Generate, format!("line {line} of `{path}` is not UTF-8")), env.mark))?);
    }
    for literal in &args.literals {
        pairs.push(from_literal(literal).map_err(|error| (error, literal.mark))?);
    }
    for file in &args.files {
        let (key, path) = key_and_path(&file.value).map_err(|error| (error, file.mark))?;
        let (_, blob) = source.file(layer, path).map_err(|error| (error, file.mark))?;
        pairs.push(Pair { key: key.to_owned(), value: blob.bytes, mark: file.mark });
    }
    Ok(pairs)
}

fn from_literal(literal: &Placed<String>) -> Result<Pair, Error> {
    match literal.value.split_once('=') {
        Some((key, value)) if !key.is_empty() => {
            Ok(Pair { key: key.to_owned(), value: without_quotes(value).as_bytes().to_vec(), mark: literal.mark })
        }
        _ => Err(Error::new(Stage::Generate, "a literal is no `key=value`")),
    }
}

/// One pair of quotes around a value is not part of it.
fn without_quotes(value: &str) -> &str {
    let inner = |quote| value.strip_prefix(quote).and_then(|rest: &str| rest.strip_suffix(quote));
    inner('"').or_else(|| inner('\'')).unwrap_or(value)
}

fn key_and_path(text: &str) -> Result<(&str, &str), Error> {
    let wrong = |message: String| Err(Error::new(Stage::Generate, message));
    match text.split_once('=') {
        None => Ok((text.rsplit('/').find(|part| !part.is_empty()).unwrap_or(text), text)),
        Some((_, path)) if path.contains('=') => wrong(format!("`{text}` has more than one `=`")),
        Some(("", path)) => wrong(format!("`{text}` names no key for the file `{path}`")),
        Some((key, "")) => wrong(format!("`{text}` names no file for the key `{key}`")),
        Some((key, path)) => Ok((key, path)),
    }
}

/// The pairs of an env file, or the number of a line that is not UTF-8.
fn from_env_file(bytes: &[u8], mark: Mark) -> Result<Vec<Pair>, usize> {
    let mut pairs = Vec::new();
    for (number, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        let line = std::str::from_utf8(line).map_err(|_| number + 1)?;
        let line = line.strip_suffix('\r').unwrap_or(line);
        let line = if number == 0 { line.strip_prefix('\u{feff}').unwrap_or(line) } else { line };
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        // A key without a value has an empty one: the environment is not read.
        let (key, value) = line.split_once('=').unwrap_or((line, ""));
        if !key.is_empty() {
            pairs.push(Pair { key: key.to_owned(), value: value.as_bytes().to_vec(), mark });
        }
    }
    Ok(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(text: &str) -> Vec<(String, String)> {
        let pairs = from_env_file(text.as_bytes(), Mark::default()).unwrap();
        pairs.into_iter().map(|pair| (pair.key, String::from_utf8(pair.value).unwrap())).collect()
    }

    #[test]
    fn an_env_file_keeps_quotes_and_trailing_blanks() {
        let expected = [("A", "\"1\" "), ("B", "x=y"), ("C", ""), ("export D", "4")];
        let expected: Vec<_> = expected.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        assert_eq!(env("\u{feff}A=\"1\" \r\n  B=x=y\n# no\n\nC\nexport D=4\n"), expected);
    }

    #[test]
    fn a_literal_loses_one_pair_of_quotes() {
        assert_eq!(without_quotes("'a'"), "a");
        assert_eq!(without_quotes("\"'a'\""), "'a'");
        assert_eq!(without_quotes("'a\""), "'a\"");
        assert_eq!(without_quotes("'"), "'");
    }

    #[test]
    fn the_key_of_a_file_is_its_name_unless_one_is_given() {
        assert_eq!(key_and_path("conf/app.ini").unwrap(), ("app.ini", "conf/app.ini"));
        assert_eq!(key_and_path("a=conf/app.ini").unwrap(), ("a", "conf/app.ini"));
        assert!(key_and_path("=x").is_err() && key_and_path("x=").is_err() && key_and_path("a=b=c").is_err());
    }
}
