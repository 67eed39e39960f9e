//! Which directories a path with wildcards names. `*` and `?` stand for parts of one segment, never for a `/`.

use overlays::error::Error;
use overlays::path::RepoPath;
use overlays::tree::{Kind, Tree};

use super::file::nearest;
use super::{Entry, MAX_APPS, Spot};

/// Whether `path` has a wildcard in it.
pub(super) fn is_pattern(path: &str) -> bool {
    path.contains(['*', '?'])
}

/// The one directory that `path` names; `None` if it has wildcards or leaves the repository.
pub(super) fn literal(directory: &RepoPath, path: &str) -> Option<RepoPath> {
    if is_pattern(path) { None } else { directory.join(path).ok() }
}

/// The directories that an entry names, in order; at least one.
pub(super) fn directories(tree: &dyn Tree, directory: &RepoPath, entry: &Entry) -> Result<Vec<RepoPath>, Error> {
    directory.join(&entry.path).map_err(|error| entry.spot.error(error.to_string()))?;
    if entry.path.contains("**") {
        return Err(entry.spot.error(format!("`**` in `{}` is not known", entry.path)).hint("write `*` for each level of directories"));
    }
    if is_pattern(&entry.path) && entry.name.is_some() {
        return Err(entry
            .spot
            .error(format!("`{}` may name several directories, which can't all have one name", entry.path))
            .hint("remove `name`"));
    }
    let found = expand(tree, directory, entry)?;
    match (found.first(), literal(directory, &entry.path)) {
        (None, Some(path)) => Err(missing(tree, &path, &entry.spot)),
        (None, None) => Err(entry.spot.error(format!("`{}` fits no directory", entry.path)).hint("correct the path, or remove the entry")),
        _ => Ok(found),
    }
}

fn expand(tree: &dyn Tree, directory: &RepoPath, entry: &Entry) -> Result<Vec<RepoPath>, Error> {
    let mut found = vec![directory.clone()];
    for segment in entry.path.split('/').filter(|segment| !segment.is_empty()) {
        let mut next = Vec::new();
        for parent in &found {
            next.extend(step(tree, parent, segment, entry)?);
        }
        // One more than may be used, so that whoever counts them sees that there are too many.
        next.truncate(MAX_APPS + 1);
        found = next;
    }
    found.retain(|path| matches!(tree.kind(path), Ok(Some(Kind::Directory))));
    Ok(found)
}

fn step(tree: &dyn Tree, parent: &RepoPath, segment: &str, entry: &Entry) -> Result<Vec<RepoPath>, Error> {
    let join = |name: &str| parent.join(name).map_err(|error| entry.spot.error(error.to_string()));
    if !is_pattern(segment) {
        return Ok(vec![join(segment)?]);
    }
    let names = tree.list(parent)?;
    // As in a shell, a wildcard does not find what begins with a dot: `.github` is no app.
    let fits = |name: &str| (segment.starts_with('.') || !name.starts_with('.')) && matches(segment.as_bytes(), name.as_bytes());
    names.iter().filter(|(name, kind)| **kind == Kind::Directory && fits(name)).map(|(name, _)| join(name)).collect()
}

/// Whether `name` fits `pattern`; each byte of the name is looked at once for each `*` at most.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(byte) if *byte == b'?' || *byte == name[n] => (p, n) = (p + 1, n + 1),
            _ => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    (p, n) = (at + 1, from + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

/// The error for a directory that is not there, with the nearest name that is.
pub(super) fn missing(tree: &dyn Tree, path: &RepoPath, spot: &Spot) -> Error {
    let error = match tree.kind(path) {
        Ok(Some(Kind::File)) => return spot.error(format!("`{path}` is a file, but an app is a directory")),
        Err(error) => return error.into(),
        Ok(_) => spot.error(format!("there is no directory `{path}` in the repository")),
    };
    let siblings = path.parent().and_then(|parent| tree.list(&parent).ok()).unwrap_or_default();
    let names = siblings.iter().filter(|(_, kind)| **kind == Kind::Directory).map(|(name, _)| name.as_str());
    match nearest(path.name().unwrap_or_default(), names) {
        Some(near) => error.hint(format!("did you mean `{near}`?")),
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn wildcards_stand_for_parts_of_a_name() {
        let check =
            |pattern: &str, name: &str, expected| assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), expected, "{pattern} {name}");
        check("*", "shop", true);
        check("*", "", true);
        check("sh*", "shop", true);
        check("*op", "shop", true);
        check("s*o*p", "shooop", true);
        check("s?op", "shop", true);
        check("s?op", "sop", false);
        check("shop", "shop", true);
        check("shop", "shops", false);
        check("*x", "shop", false);
        check("", "shop", false);
        check(&"*a".repeat(30), &"a".repeat(5_000), true);
        check(&format!("{}b", "*a".repeat(30)), &"a".repeat(5_000), false);
    }
}
