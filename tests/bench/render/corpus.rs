//! Kustomizations of public repositories, unpacked once. Knows nothing of what is measured with them.

use std::path::{Path, PathBuf};
use std::process::Command;

use harness::{Result, Trouble};

/// A kustomization that kustomize builds.
#[derive(Clone, Debug)]
pub(crate) struct Root {
    /// The repository, as `owner/name`.
    pub(crate) repository: String,
    /// Where the repository's files are.
    pub(crate) tree: PathBuf,
    /// The directory in it.
    pub(crate) path: String,
    /// Which files it may read: `root` or `none`.
    pub(crate) restrictor: String,
    /// What building it took kustomize when the set was made, in milliseconds; only good to rank them.
    pub(crate) cost: f64,
}

impl Root {
    pub(crate) fn directory(&self) -> PathBuf {
        self.tree.join(&self.path)
    }

    pub(crate) fn name(&self) -> String {
        format!("{} {}", self.repository, self.path)
    }
}

/// The set, in the order of its index.
pub(crate) fn roots() -> Result<Vec<Root>> {
    let set = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/corpus/real");
    let index = std::fs::read_to_string(set.join("index.tsv"))
        .map_err(|error| Trouble::new(format!("left out, for the real set is not here: {}: {error}", set.display())))?;
    let store = std::env::temp_dir().join("plimsoll-corpus-real");
    if !store.join(".done").exists() {
        unpack(&set.join("real.tar.zst"), &store)?;
    }
    let mut lines = index.lines();
    let names: Vec<&str> = lines.next().unwrap_or_default().split('\t').collect();
    lines.map(|line| root(&store, &names, line).ok_or_else(|| Trouble::new(format!("a line of the index is unreadable: {line}")))).collect()
}

fn root(store: &Path, names: &[&str], line: &str) -> Option<Root> {
    let cells: Vec<&str> = line.split('\t').collect();
    let cell = |name: &str| cells.get(names.iter().position(|have| *have == name)?).copied();
    let repository = cell("repo")?;
    Some(Root {
        repository: repository.to_owned(),
        tree: store.join("trees").join(repository.replace('/', "+")),
        path: cell("path")?.to_owned(),
        restrictor: cell("load_restrictor")?.to_owned(),
        cost: cell("cpu_ms")?.parse().ok()?,
    })
}

fn unpack(archive: &Path, store: &Path) -> Result {
    std::fs::create_dir_all(store)?;
    let mut tar = Command::new("tar");
    let status = tar.args(["--use-compress-program", "zstd -d --long=27", "-xf"]).arg(archive).arg("-C").arg(store).status()?;
    if !status.success() {
        return Err(Trouble::new(format!("{tar:?} ended with {status}")));
    }
    Ok(std::fs::write(store.join(".done"), "")?)
}
