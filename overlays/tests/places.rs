//! Where a field was written: in a resource, a patch, or the kustomization that sets it.

use overlays::tree::Fixture;
use overlays::{Cache, Options, RepoPath, render};

const TREE: &str = "\
//- prod/kustomization.yaml
namespace: shop
resources:
- ../base
patches:
- path: patch.yaml
- patch: |
    apiVersion: apps/v1
    kind: Deployment
    metadata:
      name: web
    spec:
      minReadySeconds: 5
  target:
    kind: Deployment
configMapGenerator:
- name: settings
  literals:
  - mode=fast
//- prod/patch.yaml
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
spec:
  template:
    spec:
      containers:
      - name: web
        args: [--fast]
//- base/kustomization.yaml
resources: [web.yaml]
images:
- name: web
  newTag: '2'
//- base/web.yaml
# The web server.
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
spec:
  replicas: 2
  template:
    spec:
      containers:
      - name: web
        image: web:1
";

#[test]
fn every_field_knows_who_wrote_it() {
    let tree = Fixture::new(TREE);
    let rendered = render(&tree, &RepoPath::new("prod").unwrap(), &Options::default(), &mut Cache::default()).unwrap();
    let [web, settings] = rendered.manifest.objects() else { unreachable!("there are two objects") };
    let check = |object: &overlays::Object, path: &[&str], expected: &str| {
        assert_eq!(object.place(path).unwrap().to_string(), expected, "{path:?}");
    };
    assert_eq!(web.origin().to_string(), "base/web.yaml:2");
    check(web, &["spec", "replicas"], "base/web.yaml:7");
    check(web, &["metadata", "namespace"], "prod/kustomization.yaml:1");
    let container = ["spec", "template", "spec", "containers", "name=web"];
    check(web, &[&container[..], &["image"]].concat(), "base/kustomization.yaml:3");
    check(web, &[&container[..], &["args", "0"]].concat(), "prod/patch.yaml:10");
    check(web, &["spec", "minReadySeconds"], "prod/kustomization.yaml:12");
    check(web, &["spec", "nowhere"], "base/web.yaml:6");
    check(settings, &["data", "mode"], "prod/kustomization.yaml:18");
}

#[test]
fn what_is_kept_between_renderings_is_not_changed_by_them() {
    let tree = Fixture::new(TREE);
    let mut cache = Cache::default();
    let mut print = |root: &str| {
        let rendered = render(&tree, &RepoPath::new(root).unwrap(), &Options::default(), &mut cache);
        rendered.unwrap().manifest.to_yaml().unwrap()
    };
    let (prod, base) = (print("prod"), print("base"));
    assert_ne!(prod, base);
    assert_eq!((print("prod"), print("base")), (prod, base));
}

#[test]
fn what_layers_merge_into_a_generated_map_keeps_the_place_of_each_entry() {
    let tree = Fixture::new(
        "\
//- prod/kustomization.yaml
# Two lines, so that no entry stands
# on the same line in both files.
resources: [../base]
configMapGenerator:
- name: settings
  behavior: merge
  literals:
  - tier=gold
//- base/kustomization.yaml
resources: [written.yaml]
configMapGenerator:
- name: settings
  literals:
  - mode=fast
- name: written
  behavior: merge
  literals:
  - generated=yes
//- base/written.yaml
apiVersion: v1
kind: ConfigMap
metadata:
  name: written
data:
  by: hand
",
    );
    let rendered = render(&tree, &RepoPath::new("prod").unwrap(), &Options::default(), &mut Cache::default()).unwrap();
    let [written, settings] = rendered.manifest.objects() else { unreachable!("there are two objects") };
    let check = |object: &overlays::Object, key: &str, expected: &str| {
        assert_eq!(object.place(&["data", key]).unwrap().to_string(), expected, "{key}");
    };
    check(settings, "mode", "base/kustomization.yaml:5");
    check(settings, "tier", "prod/kustomization.yaml:8");
    check(written, "by", "base/written.yaml:6");
    check(written, "generated", "base/kustomization.yaml:9");
    assert_eq!(settings.origin().to_string(), "base/kustomization.yaml:3");
    assert_eq!(written.origin().to_string(), "base/written.yaml:1");
}

#[test]
fn layers_that_double_at_each_level_are_refused() {
    let mut tree = Fixture::new("//- l0/kustomization.yaml\nresources: []\n");
    for level in 1..40 {
        let below = level - 1;
        let mut add = |path: String, text: String| tree.insert(RepoPath::new(&path).unwrap(), text.into_bytes());
        for side in ["a", "b"] {
            add(format!("{side}{level}/kustomization.yaml"), format!("namePrefix: {side}\nresources: [../l{below}]\n"));
        }
        add(format!("l{level}/kustomization.yaml"), format!("resources: [../a{level}, ../b{level}]\n"));
    }
    let errors = render(&tree, &RepoPath::new("l39").unwrap(), &Options::default(), &mut Cache::default()).unwrap_err();
    assert!(errors.to_string().contains("more than 10000 layers"), "{errors}");
}
