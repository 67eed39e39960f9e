//! Equal fingerprints, equal rendering: what counts among the inputs of a rendering, and what does not.

#![expect(clippy::unwrap_used, reason = "a test stops where something is missing")]

use std::fs;
use std::path::Path;
use std::sync::Arc;

use overlays::tree::{Dir, Fixture, Remotes, WithRemotes};
use overlays::{Cache, Fingerprint, Options, Remote, Rendered, RepoPath, Tree, render};

const CONFIG_MAP: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: settings\n";

fn rendered(tree: &dyn Tree, root: &str) -> Rendered {
    render(tree, &RepoPath::new(root).unwrap(), &Options::default(), &mut Cache::default()).unwrap()
}

fn paths(rendered: &Rendered) -> Vec<&str> {
    rendered.inputs.paths().iter().map(RepoPath::as_str).collect()
}

fn fingerprint(rendered: &Rendered, tree: &dyn Tree) -> Fingerprint {
    rendered.inputs.fingerprint(tree).unwrap()
}

fn layered() -> Fixture {
    Fixture::new(&format!(
        "//- prod/kustomization.yaml\nresources: [../base]\n//- base/kustomization.yaml\nresources: [sub/a.yaml]\n\
         //- base/sub/a.yaml\n{CONFIG_MAP}//- other/x.yaml\nx: 1\n"
    ))
}

#[test]
fn the_directories_of_all_layers_are_inputs_and_nothing_else_is() {
    let mut tree = layered();
    let before = rendered(&tree, "prod");
    assert_eq!(paths(&before), ["base", "prod"]);
    let print = fingerprint(&before, &tree);
    tree.insert(RepoPath::new("other/x.yaml").unwrap(), b"x: 2\n".to_vec());
    assert_eq!(fingerprint(&before, &tree), print);
    tree.insert(RepoPath::new("base/sub/a.yaml").unwrap(), CONFIG_MAP.replace("settings", "other").into_bytes());
    assert_ne!(fingerprint(&before, &tree), print);
}

#[test]
fn files_outside_of_all_layers_are_inputs_of_their_own() {
    let tree = Fixture::new(&format!("//- app/kustomization.yaml\nresources: [../shared/a.yaml]\n//- shared/a.yaml\n{CONFIG_MAP}"));
    let options = Options { restrict: overlays::Restriction::None, ..Options::default() };
    let rendered = render(&tree, &RepoPath::new("app").unwrap(), &options, &mut Cache::default()).unwrap();
    assert_eq!(paths(&rendered), ["app", "shared/a.yaml"]);
}

#[test]
fn a_remote_base_is_an_input_of_its_own_also_of_a_layer_that_is_the_root() {
    let remotes = Arc::new(Remotes::default());
    let base = Remote::parse("https://h/o/r//a?ref=v1").unwrap().unwrap();
    let files = format!("//- a/kustomization.yaml\nresources: [x.yaml]\n//- a/x.yaml\n{CONFIG_MAP}");
    remotes.give(&base, Arc::new(Fixture::new(&files))).unwrap();
    let own = Fixture::new("//- kustomization.yaml\nresources: ['https://h/o/r//a?ref=v1']\n");
    let tree = WithRemotes::new(Box::new(own), remotes.clone());
    let rendered = rendered(&tree, "");
    assert_eq!(paths(&rendered), ["", "h/o/r@v1/a"]);
    let print = fingerprint(&rendered, &tree);
    remotes.keep(|_, _| false);
    assert_ne!(fingerprint(&rendered, &tree), print, "what is not here any more is not the same");
}

#[cfg(unix)]
fn write(root: &Path, path: &str, content: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

#[cfg(unix)]
#[test]
fn what_a_link_leads_to_is_an_input() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), "app/a.yaml", CONFIG_MAP);
    write(root.path(), "shared/deep/b.yaml", &CONFIG_MAP.replace("settings", "shared"));
    std::os::unix::fs::symlink("../shared", root.path().join("app/link")).unwrap();
    std::os::unix::fs::symlink("..", root.path().join("app/circle")).unwrap();
    let tree = Dir::new(root.path().to_owned());
    let before = rendered(&tree, "app");
    assert_eq!(before.manifest.objects().len(), 2);
    let print = fingerprint(&before, &tree);
    write(root.path(), "shared/deep/b.yaml", &CONFIG_MAP.replace("settings", "changed"));
    assert_ne!(fingerprint(&before, &tree), print);
}

#[cfg(unix)]
#[test]
fn a_layer_behind_a_link_finds_its_own_neighbours() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), "app/kustomization.yaml", "resources: [link]\n");
    write(root.path(), "versions/v1/prod/kustomization.yaml", "resources: [../base]\n");
    write(root.path(), "versions/v1/base/kustomization.yaml", "resources: [a.yaml]\n");
    write(root.path(), "versions/v1/base/a.yaml", CONFIG_MAP);
    std::os::unix::fs::symlink("../versions/v1/prod", root.path().join("app/link")).unwrap();
    let tree = Dir::new(root.path().to_owned());
    let rendered = rendered(&tree, "app");
    assert_eq!(paths(&rendered), ["app", "app/link", "versions/v1/base", "versions/v1/prod"]);
}
