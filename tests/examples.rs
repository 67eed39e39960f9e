//! Every example renders, to what the real kustomize makes of it.
//!
//! `tests/baseline/` was made once by kustomize v5.8.1: for each app of `examples/fleet`, its base as `resources` and the overlays of the
//! cluster as `components`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use harness::{Result, documents, run};
use serde_json::Value;

const PLIMSOLL: &str = env!("CARGO_BIN_EXE_plimsoll");

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn baseline(name: &str) -> Result<BTreeMap<String, Value>> {
    by_name(&std::fs::read_to_string(root().join("tests/baseline").join(name))?)
}

/// Objects by what names them; the order of apps is not what is compared.
fn by_name(yaml: &str) -> Result<BTreeMap<String, Value>> {
    let mut objects = BTreeMap::new();
    for object in documents(yaml)? {
        let name = format!("{} {}/{}", object["kind"], object["metadata"]["namespace"], object["metadata"]["name"]);
        assert!(objects.insert(name.clone(), object).is_none(), "{name} is there twice");
    }
    Ok(objects)
}

/// What `plimsoll render` prints.
fn rendered(arguments: &[&str]) -> Result<String> {
    let said = run(PLIMSOLL, &[&["render"], arguments].concat())?;
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    Ok(said.stdout)
}

#[test]
fn the_fleet_renders_for_each_cluster_as_kustomize_builds_it() -> Result {
    let fleet = root().join("examples/fleet");
    for (cluster, provider) in [("fra-1", "aws"), ("ams-1", "gcp"), ("nbg-1", "hetzner")] {
        let ours = by_name(&rendered(&["--repo", &fleet.to_string_lossy(), "--provider", provider, "--cluster", cluster])?)?;
        let theirs = baseline(&format!("fleet-{cluster}.yaml"))?;
        assert_eq!(ours.keys().collect::<Vec<_>>(), theirs.keys().collect::<Vec<_>>(), "{cluster}");
        for (name, object) in &theirs {
            assert_eq!(&ours[name], object, "{cluster}: {name}");
        }
    }
    Ok(())
}

#[test]
fn a_directory_of_plain_manifests_renders_without_what_is_ignored() -> Result {
    let plain = root().join("examples/plain");
    let ours = by_name(&rendered(&["--repo", &plain.to_string_lossy()])?)?;
    assert_eq!(ours.len(), 6, "{:?}", ours.keys());
    Ok(())
}

#[test]
fn deploy_renders_to_just_what_its_files_say() -> Result {
    let deploy = root().join("deploy");
    let ours = by_name(&rendered(&[&deploy.to_string_lossy()])?)?;
    let kustomization = documents(&std::fs::read_to_string(deploy.join("kustomization.yaml"))?)?.remove(0);
    let mut files = String::new();
    for file in kustomization["resources"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        files += &format!("---\n{}", std::fs::read_to_string(deploy.join(file))?);
    }
    assert_eq!(ours, by_name(&files)?);
    Ok(())
}
