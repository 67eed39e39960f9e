//! Makes a tree that shows a difference small enough to be read. It must not know what the files mean, only that indented lines belong
//! to the line above.

use super::layers::Tree;

/// The smallest tree found that still differs, as `differs` says.
pub fn shrunk(tree: &Tree, differs: &mut dyn FnMut(&Tree) -> bool) -> Tree {
    let mut best = tree.clone();
    loop {
        let size = size(&best);
        without_files(&mut best, differs);
        without_lines(&mut best, differs);
        if self::size(&best) == size {
            return best;
        }
    }
}

fn size(tree: &Tree) -> usize {
    tree.files.values().map(|content| content.len() + 1).sum()
}

fn without_files(best: &mut Tree, differs: &mut dyn FnMut(&Tree) -> bool) {
    for path in best.files.keys().cloned().collect::<Vec<_>>() {
        let mut smaller = best.clone();
        smaller.files.remove(&path);
        if differs(&smaller) {
            *best = smaller;
        }
    }
}

fn without_lines(best: &mut Tree, differs: &mut dyn FnMut(&Tree) -> bool) {
    for path in best.files.keys().cloned().collect::<Vec<_>>() {
        let mut at = 0;
        while let Some(smaller) = without_lines_at(best, &path, at) {
            if differs(&smaller) {
                *best = smaller;
            } else {
                at += 1;
            }
        }
    }
}

/// The tree without a line and what is indented below it.
fn without_lines_at(tree: &Tree, path: &str, at: usize) -> Option<Tree> {
    let lines: Vec<&str> = tree.files.get(path)?.split_inclusive('\n').collect();
    let depth = |line: &str| line.len() - line.trim_start().len();
    let first = depth(lines.get(at)?);
    let length = 1 + lines[at + 1..].iter().take_while(|line| depth(line) > first).count();
    let kept: String = lines[..at].iter().chain(&lines[at + length..]).copied().collect();
    let mut smaller = tree.clone();
    smaller.files.insert(path.to_owned(), kept);
    Some(smaller)
}
