//! The promises of the fleet file and of the layers, each a tree as text and what comes of it.

use overlays::tree::{Blob, ContentId, Fixture, Tree, TreeError};

use super::*;

fn path(text: &str) -> RepoPath {
    RepoPath::new(text).unwrap()
}

/// Facts as `provider=aws cluster=fra-1`.
fn facts(text: &str) -> Facts {
    let mut facts = Facts::default();
    for (key, value) in text.split_whitespace().map(|word| word.split_once('=').unwrap()) {
        match key {
            "cluster" => facts.name = value.into(),
            _ => drop(facts.labels.insert(key.into(), value.into())),
        }
    }
    facts
}

fn told(error: &Error) -> String {
    let place = error.place().map(|place| match place.origin.line {
        0 => format!("{}: ", place.origin.file),
        line => format!("{}:{line}:{}: ", place.origin.file, place.origin.column),
    });
    let hint = error.advice().map(|hint| format!(" ({hint})")).unwrap_or_default();
    format!("{}{error}{hint}", place.unwrap_or_default())
}

/// A fleet file with these lines after its head, read in a tree.
fn fleet(tree: &Fixture) -> Fleet {
    read(tree, &RepoPath::root(), "shop-infra").unwrap()
}

const HEAD: &str = "//- plimsoll.yaml\napiVersion: plimsoll.dev/v1alpha1\nkind: Fleet\n";

/// Checks what is wrong with a fleet file, whose lines after the head are `lines` (so the first has number 3).
fn check_file(lines: &str, expected: &[&str]) {
    let tree = Fixture::new(&format!("{HEAD}{lines}"));
    let errors = read(&tree, &RepoPath::root(), "repo").map_or_else(|errors| errors.0, |_| Vec::new());
    assert_eq!(errors.iter().map(told).collect::<Vec<_>>(), expected, "{lines}");
}

#[test]
fn every_mistake_in_the_file_is_told_with_its_place() {
    check_file("apps: [{path: apps/*}]\n", &[]);
    check_file(
        "layer: [a]\napps:\n  - path: apps/*\n    dependson: [x]\n  - name: web\nclusters:\n  - labels: {a: 1}\n",
        &[
            "plimsoll.yaml:3:1: unknown field `layer` in the fleet file (did you mean `layers`?)",
            "plimsoll.yaml:6:5: unknown field `dependson` in an app (did you mean `dependsOn`?)",
            "plimsoll.yaml:7:5: the app has no `path` (name its directory)",
            "plimsoll.yaml:9:5: the cluster has no `name` (name it as its commit statuses do)",
        ],
    );
    check_file("apps: [{path: 7}]\n", &["plimsoll.yaml:3:15: `path` must be a string, and this is a number (put it in quotes)"]);
    check_file("apps: apps/*\n", &["plimsoll.yaml:3:7: `apps` must be a list"]);
    check_file("apps: [apps/*]\n", &["plimsoll.yaml:3:8: an app must be a map"]);
    check_file("apps: [{path: a, dependsOn: b}]\n", &["plimsoll.yaml:3:29: `dependsOn` must be a list"]);
    check_file("apps: [{path: a, prune: yes}]\n", &["plimsoll.yaml:3:25: the only word for deletions is `allow`"]);
    check_file("apps: [{path: ''}]\n", &["plimsoll.yaml:3:15: `path` is empty"]);
    check_file(
        "apps: [{path: a, teapot: b}]\n",
        &["plimsoll.yaml:3:18: unknown field `teapot` in an app (known are name, path, dependsOn, prune)"],
    );
    check_file("layers: [a, b, a]\napps: [{path: a}]\n", &["plimsoll.yaml:3:16: the layer `a` is listed twice"]);
    check_file(
        "apps: [{path: a}]\nclusters: [{name: x}, {name: x}]\n",
        &["plimsoll.yaml:4:23: the cluster is listed twice (merge both entries into one)"],
    );
    check_file("apps: []\n", &["plimsoll.yaml:1:1: the fleet has no apps (name their directories, as `apps: [{path: apps/*}]`)"]);
    check_file("apps: [{path: a}]\n---\nx: y\n", &["plimsoll.yaml:5:1: a second document: the fleet file has only one"]);
}

#[test]
fn a_file_that_is_no_fleet_file_is_refused() {
    let check = |content: &str, expected: &[&str]| {
        let tree = Fixture::new(&format!("//- plimsoll.yaml\n{content}"));
        let errors = read(&tree, &RepoPath::root(), "repo").unwrap_err().0;
        assert_eq!(errors.iter().map(told).collect::<Vec<_>>(), expected, "{content}");
    };
    check("", &["plimsoll.yaml: the fleet file is empty"]);
    check("- a\n", &["plimsoll.yaml:1:1: the fleet file must be a map"]);
    check("kind: Fleet\napps: [{path: a}]\n", &["plimsoll.yaml:1:1: `apiVersion` is missing (write `apiVersion: plimsoll.dev/v1alpha1`)"]);
    check(
        "apiVersion: plimsoll.dev/v7\nkind: Float\napps: [{path: a}]\n",
        &["plimsoll.yaml:1:13: `apiVersion` must be `plimsoll.dev/v1alpha1`", "plimsoll.yaml:2:7: `kind` must be `Fleet`"],
    );
    let tree = Fixture::new("//- plimsoll.yaml\napps: [\n");
    let error = &read(&tree, &RepoPath::root(), "repo").unwrap_err().0[0];
    assert_eq!(error.place().map(|place| place.origin.file.to_string()).as_deref(), Some("plimsoll.yaml"));
    let tree = Fixture::new("//- plimsoll.yml\nkind: Fleet\n");
    assert_eq!(
        told(&read(&tree, &RepoPath::root(), "repo").unwrap_err().0[0]),
        "`plimsoll.yml` is not read: the fleet file is called `plimsoll.yaml` (rename it)"
    );
}

#[test]
fn without_a_fleet_file_the_directory_is_the_only_app() {
    let check = |tree: &str, at: &str, repository: &str, expected: &str| {
        let tree = Fixture::new(tree);
        let (apps, errors) = read(&tree, &path(at), repository).unwrap().apps(&tree, &facts("provider=aws"));
        let shown: Vec<_> = apps.iter().map(|app| format!("{} {:?}", app.name, app.root)).collect();
        assert_eq!((shown.join("; "), errors), (expected.into(), Vec::new()));
    };
    check("//- deploy/shop/a.yaml\nx", "deploy/shop", "infra", "shop Directory(RepoPath(\"deploy/shop\"))");
    check("//- a.yaml\nx", "", "infra", "infra Directory(RepoPath(\"\"))");
    check("//- a.yaml\nx", "", "_my infra!", "my-infra Directory(RepoPath(\"\"))");
    check("//- a.yaml\nx", "", "", "app Directory(RepoPath(\"\"))");
    check(
        "//- shop/base/kustomization.yaml\nx: y\n//- shop/overlays/aws/kustomization.yaml\nkind: Kustomization\n",
        "shop",
        "infra",
        "shop Directory(RepoPath(\"shop/overlays/aws\"))",
    );
}

#[test]
fn a_path_that_is_no_directory_is_told_with_the_nearest_name() {
    let tree = Fixture::new("//- deploy/a.yaml\nx");
    let check = |at: &str, expected: &str| assert_eq!(told(&read(&tree, &path(at), "repo").unwrap_err().0[0]), expected);
    check("deply", "there is no directory `deply` in the repository (did you mean `deploy`?)");
    check("elsewhere", "there is no directory `elsewhere` in the repository");
    check("deploy/a.yaml", "`deploy/a.yaml` is a file, but the path must be a directory");
}

/// A tree with the directories that `files` are in, and a fleet file with `lines`; then the apps in order, and what is wrong.
fn check_apps(files: &str, lines: &str, apps: &str, errors: &[&str]) {
    let files: String = files.split_whitespace().map(|file| format!("//- {file}\nx: y\n")).collect();
    let tree = Fixture::new(&format!("{files}{HEAD}{lines}"));
    let (found, wrong) = fleet(&tree).apps(&tree, &Facts::default());
    assert_eq!(found.iter().map(|app| app.name.as_str()).collect::<Vec<_>>().join(" "), apps, "{lines}");
    let wrong: Vec<_> = wrong.iter().map(|it| format!("[{}] {}", it.app.as_deref().unwrap_or_default(), told(&it.error))).collect();
    assert_eq!(wrong, errors, "{lines}");
}

#[test]
fn a_wildcard_finds_directories_only_and_names_them_by_their_last_segment() {
    let files = "apps/shop/a.yaml apps/blog/a.yaml apps/README.md apps/.hidden/a.yaml teams/x/apps/crm/a.yaml";
    check_apps(files, "apps: [{path: apps/*}]", "blog shop", &[]);
    check_apps(files, "apps: [{path: apps/*/}, {path: 'teams/*/apps/c?m'}]", "blog shop crm", &[]);
    check_apps(files, "apps: [{path: ./apps/../apps/s*}]", "shop", &[]);
    check_apps(
        files,
        "apps: [{path: apps/.h*}]",
        "",
        &[
            "[.hidden] plimsoll.yaml:3:8: `.hidden` is no name for an app: letters, digits, `-`, `_` and `.`, at most 63, a letter or digit at both ends (give the entry a `name`, or rename the directory)",
        ],
    );
}

#[test]
fn an_entry_that_names_nothing_is_an_error_and_the_others_go_on() {
    let files = "apps/shop/a.yaml";
    check_apps(
        files,
        "apps:\n- path: shops/*\n- path: apps/*\n",
        "shop",
        &["[] plimsoll.yaml:4:3: `shops/*` fits no directory (correct the path, or remove the entry)"],
    );
    check_apps(
        files,
        "apps: [{name: web, path: apps/shp}]",
        "",
        &["[web] plimsoll.yaml:3:8: there is no directory `apps/shp` in the repository (did you mean `shop`?)"],
    );
    check_apps(
        files,
        "apps: [{path: apps/shop/a.yaml}]",
        "",
        &["[] plimsoll.yaml:3:8: `apps/shop/a.yaml` is a file, but an app is a directory"],
    );
    check_apps(files, "apps: [{path: ../apps/*}]", "", &["[] plimsoll.yaml:3:8: `../apps/*` leads out of the repository"]);
    check_apps(
        files,
        "apps: [{path: /apps}]",
        "",
        &["[] plimsoll.yaml:3:8: `/apps` is an absolute path; paths in a repository are relative"],
    );
    check_apps(
        files,
        "apps: [{path: 'apps/**'}]",
        "",
        &["[] plimsoll.yaml:3:8: `**` in `apps/**` is not known (write `*` for each level of directories)"],
    );
    check_apps(
        files,
        "apps: [{path: apps/*, name: x}]",
        "",
        &["[x] plimsoll.yaml:3:8: `apps/*` may name several directories, which can't all have one name (remove `name`)"],
    );
    check_apps(
        files,
        "apps: [{path: .}]",
        "",
        &["[] plimsoll.yaml:3:8: the root of the repository has no name that an app could bear (give the entry a `name`)"],
    );
}

#[test]
fn an_entry_of_its_own_takes_a_directory_out_of_a_wildcard() {
    check_apps("apps/a/x apps/b/x", "apps: [{path: apps/*}, {path: apps/a, dependsOn: [b]}]", "b a", &[]);
    check_apps("apps/a/x apps/b/x", "apps: [{path: apps/*}, {path: apps/b, name: c}]", "a c", &[]);
}

#[test]
fn no_name_and_no_directory_is_used_twice() {
    check_apps(
        "apps/a/x infra/a/x",
        "apps: [{path: apps/a}, {path: infra/a}]",
        "a",
        &[
            "[a] plimsoll.yaml:3:24: two apps are called `a`: `apps/a` and `infra/a` (give one of them another `name` by an entry of its own)",
        ],
    );
    check_apps(
        "apps/a/x",
        "apps: [{path: apps/a}, {path: apps/a, name: b}]",
        "a",
        &["[b] plimsoll.yaml:3:24: `apps/a` is listed twice, as the apps `a` and `b` (remove one of the entries)"],
    );
}

#[test]
fn apps_come_after_those_that_they_depend_on() {
    let files = "a/x b/x c/x d/x";
    check_apps(files, "apps: [{path: '?'}]", "a b c d", &[]);
    check_apps(files, "apps: [{path: a, dependsOn: [d, c]}, {path: b}, {path: c, dependsOn: [d]}, {path: d}]", "b d c a", &[]);
    check_apps(files, "apps: [{path: a, dependsOn: [b, b]}, {path: b}]", "b a", &[]);
}

#[test]
fn a_dependency_that_is_no_app_is_an_error_of_the_one_that_names_it() {
    check_apps(
        "shop/x blog/x",
        "apps: [{path: shop, dependsOn: [blgo]}, {path: blog}]",
        "blog",
        &["[shop] plimsoll.yaml:3:33: `dependsOn` names `blgo`, which is no app of this fleet (did you mean `blog`?)"],
    );
    // Of an app that is broken itself, only that is told.
    check_apps(
        "shop/x",
        "apps: [{path: shop, dependsOn: [blog]}, {path: nowhere, name: blog}]",
        "shop",
        &["[blog] plimsoll.yaml:3:41: there is no directory `nowhere` in the repository"],
    );
}

#[test]
fn a_circle_is_told_as_a_chain_and_those_outside_of_it_stay() {
    let chain = "apps depend on each other in a circle: a -> b -> a (remove one of these from `dependsOn`)";
    check_apps(
        "a/x b/x c/x d/x",
        "apps:\n- {path: a, dependsOn: [b]}\n- {path: b, dependsOn: [d, a]}\n- {path: c, dependsOn: [a]}\n- {path: d}\n",
        "d c",
        &[&format!("[a] plimsoll.yaml:4:25: {chain}"), &format!("[b] plimsoll.yaml:5:28: {chain}")],
    );
    check_apps(
        "a/x",
        "apps: [{path: a, dependsOn: [a]}]",
        "",
        &["[a] plimsoll.yaml:3:30: apps depend on each other in a circle: a -> a (remove one of these from `dependsOn`)"],
    );
}

#[test]
fn a_chain_of_thousands_of_apps_is_put_in_order() {
    let count = 3_000;
    let entries: String = (0..count).map(|i| format!("- {{name: a{i}, path: a/{i}, dependsOn: [a{}]}}\n", (i + 1) % count)).collect();
    let files: String = (0..count).map(|i| format!("//- a/{i}/x\n")).collect();
    let circle = Fixture::new(&format!("{files}{HEAD}apps:\n{entries}"));
    let mut fleet = fleet(&circle);
    let listed: Vec<_> = fleet.entries.iter().map(as_listed).collect();
    let (apps, errors) = order::order(&listed.iter().collect::<Vec<_>>());
    assert_eq!((apps.len(), errors.len()), (0, count));
    assert!(errors[0].error.to_string().ends_with("a0 -> a1 -> a2 -> a3 -> a4 -> a5 -> a6 -> a7 -> and 2992 more"), "{}", errors[0].error);
    fleet.entries[count - 1].depends_on.clear();
    let listed: Vec<_> = fleet.entries.iter().map(as_listed).collect();
    let (apps, errors) = order::order(&listed.iter().collect::<Vec<_>>());
    assert_eq!((apps.first().map(|app| app.name.as_str()), apps.len(), errors.len()), (Some("a2999"), count, 0));
}

fn as_listed(entry: &Entry) -> Listed<'_> {
    Listed { name: entry.name.clone().unwrap(), path: RepoPath::root(), entry }
}

#[test]
fn the_fleet_file_says_what_a_cluster_cannot_know() {
    let tree = Fixture::new(&format!(
        "{HEAD}apps: [{{path: shop}}]\nclusters:\n- name: fra-1\n  labels: {{environment: production, region: ''}}\n\
         //- shop/base/kustomization.yaml\nx: y\n//- shop/overlays/production/kustomization.yaml\nkind: Kustomization\n"
    ));
    let fleet = fleet(&tree);
    let root = |text: &str| fleet.apps(&tree, &facts(text)).0[0].root.clone();
    assert_eq!(fleet.facts(&facts("cluster=fra-1 region=eu")).value("region"), None);
    assert_eq!(root("cluster=fra-1"), Root::Directory(path("shop/overlays/production")));
    assert_eq!(root("cluster=muc-1"), Root::Directory(path("shop/base")));
}

#[test]
fn the_word_for_deletions_is_given_by_fleet_app_or_kustomization() {
    let kustomization = |word: &str| format!("//- a/kustomization.yaml\nmetadata: {{annotations: {{plimsoll.dev/prune: {word}}}}}\n");
    let check = |files: &str, lines: &str, expected: bool| {
        let tree = Fixture::new(&format!("//- a/x\n{files}{HEAD}{lines}"));
        assert_eq!(fleet(&tree).apps(&tree, &Facts::default()).0[0].prune, expected, "{files} {lines}");
    };
    check("", "apps: [{path: a}]", false);
    check("", "apps: [{path: a, prune: allow}]", true);
    check("", "metadata: {name: all, annotations: {plimsoll.dev/prune: allow}}\napps: [{path: a}]", true);
    check("", "metadata: {annotations: {other: x}}\napps: [{path: a}]", false);
    check(&kustomization("allow"), "apps: [{path: a}]", true);
    check(&kustomization("maybe"), "apps: [{path: a}]", false);
}

const COMPONENT: &str = "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\n";

/// An app in `apps/shop`: each word of `layout` is a directory with what it holds, as `base`, `overlays/aws=Component`, or
/// `overlays/eu=Kustomization+../aws` for one that includes another.
fn shop(layout: &str) -> Fixture {
    let mut text = format!("{HEAD}apps: [{{path: apps/shop}}]\nlayers: [provider, region, environment, cluster]\n");
    for word in layout.split_whitespace() {
        let (directory, content) = word.split_once('=').unwrap_or((word, "Kustomization"));
        let (kind, included) = content.split_once('+').unwrap_or((content, ""));
        let head = if kind == "Component" { COMPONENT.to_owned() } else { format!("kind: {kind}\n") };
        let includes = if included.is_empty() { String::new() } else { format!("components: [{included}]\n") };
        match kind {
            "plain" => text += &format!("//- apps/shop/{directory}/a.yaml\nx: y\n"),
            _ => text += &format!("//- apps/shop/{directory}/kustomization.yaml\n{head}{includes}"),
        }
    }
    Fixture::new(&text)
}

const WHERE: &str = "provider=aws region=eu environment=production cluster=fra-1";

/// Checks the root of the app on the cluster [`WHERE`]: a directory, or `at: base + component + component`.
fn check_root(layout: &str, expected: &str) {
    let tree = shop(layout);
    let (apps, errors) = fleet(&tree).apps(&tree, &facts(WHERE));
    let shown = match apps.first().map(|app| &app.root) {
        Some(Root::Directory(path)) => path.to_string(),
        Some(Root::Stacked { at, kustomization }) => {
            let items: Vec<_> = kustomization.lines().filter_map(|line| line.strip_prefix("- ")).collect();
            format!("{at}: {}", items.join(" + "))
        }
        None => errors.iter().map(|it| told(&it.error)).collect::<Vec<_>>().join("; "),
    };
    assert_eq!(shown, expected, "{layout}");
}

#[test]
fn without_a_layer_the_base_is_the_root() {
    check_root("base", "apps/shop/base");
    check_root(".", "apps/shop");
    check_root(".=plain", "apps/shop");
    check_root(". base", "apps/shop");
    check_root("base overlays/gcp=Component overlays/staging", "apps/shop/base");
    check_root("base=plain overlays/gcp=Component", "apps/shop/base");
}

#[test]
fn components_are_stacked_least_specific_first() {
    check_root("base overlays/aws=Component", "apps/shop/overlays/.plimsoll: ../../base + ../aws");
    check_root(
        "base overlays/production=Component overlays/fra-1=Component overlays/eu=Component overlays/aws=Component",
        "apps/shop/overlays/.plimsoll: ../../base + ../aws + ../eu + ../production + ../fra-1",
    );
    check_root(". overlays/aws=Component", "apps/.plimsoll-shop: ../shop + ../shop/overlays/aws");
}

#[test]
fn a_whole_kustomization_replaces_the_base_and_the_most_specific_wins() {
    check_root("base overlays/aws", "apps/shop/overlays/aws");
    check_root("base overlays/aws overlays/production", "apps/shop/overlays/production");
    check_root("overlays/fra-1 overlays/aws base", "apps/shop/overlays/fra-1");
    check_root("base overlays/aws overlays/production=Component", "apps/shop/overlays/.plimsoll: ../aws + ../production");
}

#[test]
fn a_component_below_a_whole_kustomization_that_does_not_include_it_is_an_error() {
    check_root(
        "base overlays/aws=Component overlays/production",
        "apps/shop/overlays/production/kustomization.yaml:1:7: two layers can't both hold: `apps/shop/overlays/production` (environment) is a whole Kustomization \
         and does not include the Component `apps/shop/overlays/aws` of the less specific `provider` (make `apps/shop/overlays/production` a Component too, or list \
         `../aws` under its `components`, or put `environment` before `provider` in `layers`)",
    );
}

#[test]
fn a_component_that_the_root_includes_is_not_put_on_it_again() {
    check_root("base overlays/aws=Component overlays/fra-1=Kustomization+../aws", "apps/shop/overlays/fra-1");
    check_root("base overlays/aws=Component overlays/eu=Component+../aws overlays/fra-1=Kustomization+../eu", "apps/shop/overlays/fra-1");
    check_root("base=Kustomization+../overlays/aws overlays/aws=Component", "apps/shop/base");
    check_root(
        "base overlays/eu=Component overlays/production=Kustomization+../eu overlays/fra-1=Component",
        "apps/shop/overlays/.plimsoll: ../production + ../fra-1",
    );
    // A circle and a path out of the repository are rendering's to tell.
    check_root("base=Kustomization+../overlays/aws,../../../../x overlays/aws=Component+../../base", "apps/shop/base");
}

#[test]
fn one_directory_for_two_keys_is_one_layer() {
    let tree = shop("base overlays/kind=Component");
    let (apps, errors) = fleet(&tree).apps(&tree, &facts("provider=kind cluster=kind"));
    assert!(errors.is_empty(), "{errors:?}");
    let layers: Vec<&str> = apps[0].layers.iter().map(|layer| layer.key.as_str()).collect();
    assert_eq!(layers, ["provider"]);
}

#[test]
fn what_kustomize_could_not_build_is_told_before_it_is_tried() {
    let add = "(add a kustomization.yaml of kind Kustomization there that lists the manifests under `resources`)";
    check_root(
        "base=plain overlays/aws=Component",
        &format!(
            "apps/shop/base: the Component `apps/shop/overlays/aws` can't be put on `apps/shop/base`, which holds plain manifests {add}"
        ),
    );
    check_root(
        "base=Component overlays/aws=Component",
        &format!(
            "apps/shop/base: the Component `apps/shop/overlays/aws` can't be put on `apps/shop/base`, which is a Component itself {add}"
        ),
    );
    check_root(
        ".=plain overlays/gcp=Component",
        "apps/shop: `apps/shop` has layers in `apps/shop/overlays`, but neither `base/` nor a kustomization.yaml to put them on \
         (move its manifests to `apps/shop/base` and list them in a kustomization.yaml there)",
    );
    check_root(
        "base overlays/aws=plain",
        "apps/shop/overlays/aws: the layer `apps/shop/overlays/aws` holds no kustomization.yaml \
         (add one with `kind: Component` and `apiVersion: kustomize.config.k8s.io/v1alpha1`)",
    );
    check_root(
        "base overlays/aws=Kustomisation",
        "apps/shop/overlays/aws/kustomization.yaml:1:7: the kind `Kustomisation` is neither `Kustomization` nor `Component`",
    );
}

#[test]
fn the_root_of_the_repository_can_bear_layers_only_on_a_base() {
    let layers = format!("//- overlays/aws/kustomization.yaml\n{COMPONENT}");
    let root = |base: &str| {
        let tree = Fixture::new(&format!("//- {base}\nresources: []\n{layers}"));
        let (apps, errors) = fleet(&tree).apps(&tree, &facts(WHERE));
        apps.first().map_or_else(|| told(&errors[0].error), |app| format!("{:?}", app.root))
    };
    assert!(root("base/kustomization.yaml").contains("overlays/.plimsoll"));
    assert_eq!(
        root("kustomization.yaml"),
        ".: the root of the repository is its own base, and nothing beside it could put layers on it (move the kustomization.yaml and its manifests to `base/`)"
    );
}

#[test]
fn a_value_never_leads_out_of_the_layers() {
    let tree = shop("base");
    for value in ["..", ".", "a/b", "../../other", "", "/etc", "a/.."] {
        let mut facts = Facts::default();
        facts.labels.insert("provider".into(), value.into());
        let (apps, errors) = fleet(&tree).apps(&tree, &facts);
        let expected = format!("the cluster's `provider` is `{value}`, which can name no directory (change that label of the cluster)");
        assert_eq!((apps.len(), told(&errors[0].error)), (0, expected));
    }
}

#[test]
fn the_kustomization_that_is_written_reads_as_if_a_person_had() {
    let tree = shop("base overlays/aws=Component overlays/production=Component");
    let (apps, _) = fleet(&tree).apps(&tree, &facts(WHERE));
    let expected = "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources:\n- ../../base\ncomponents:\n- ../aws\n- ../production\n";
    assert_eq!(apps[0].root, Root::Stacked { at: path("apps/shop/overlays/.plimsoll"), kustomization: expected.into() });
    let layers: Vec<_> = apps[0].layers.iter().map(|layer| format!("{}={} {:?}", layer.key, layer.value, layer.kind)).collect();
    assert_eq!(layers, ["provider=aws Component", "environment=production Component"]);
}

#[test]
fn odd_names_of_directories_are_quoted() {
    let tree =
        Fixture::new(&format!("//- a b: #/base/kustomization.yaml\nx: y\n//- a b: #/overlays/\"q\"/kustomization.yaml\n{COMPONENT}"));
    let chosen = layers::choose(&tree, &path("a b: #"), &["provider".into()], &facts("provider=\"q\"")).unwrap();
    let Root::Stacked { kustomization, .. } = chosen.root else { panic!("{chosen:?}") };
    let read: serde_json::Value = serde_yaml::from_str(&kustomization).unwrap();
    assert_eq!((read["resources"][0].as_str(), read["components"][0].as_str()), (Some("../../base"), Some("../\"q\"")));
}

/// Two apps: `shop` with a base outside of it and a layer, `blog` plain. `lines` add files or replace them.
fn two_apps(lines: &str) -> Fixture {
    Fixture::new(&format!(
        "{HEAD}apps: [{{path: apps/*}}]\n//- apps/shop/base/kustomization.yaml\nresources: [../../../lib]\n//- lib/kustomization.yaml\nresources: [a.yaml]\n\
         //- apps/shop/overlays/aws/kustomization.yaml\nkind: Component\n//- apps/blog/kustomization.yaml\nresources: [a.yaml]\n{lines}"
    ))
}

#[test]
fn what_was_chosen_before_is_chosen_again_only_while_it_is_what_would_be_chosen_now() {
    let head = "kind: Kustomization\n";
    let revisions = [
        String::new(),
        "//- apps/blog/a.yaml\nx: y\n".to_owned(),
        format!("//- apps/shop/overlays/production/kustomization.yaml\n{head}components: [../aws]\n"),
        format!("//- apps/shop/overlays/aws/kustomization.yaml\n{head}"),
        // Outside of the app: what it includes may include a layer.
        "//- lib/kustomization.yaml\ncomponents: [../apps/shop/overlays/aws]\n".to_owned(),
        "//- apps/blog/overlays/aws/kustomization.yaml\nkind: Component\n".to_owned(),
        "//- apps/shop/overlays/aws/kustomization.yaml\nkind: Pod\n".to_owned(),
        "//- apps/wiki/kustomization.yaml\nmetadata: {annotations: {plimsoll.dev/prune: allow}}\n".to_owned(),
        String::new(),
    ];
    let mut choices = Choices::default();
    for cluster in [WHERE, "provider=gcp"] {
        for lines in &revisions {
            let tree = two_apps(lines);
            let again = fleet(&tree).apps_again(&tree, &facts(cluster), &mut choices);
            assert_eq!(again, fleet(&tree).apps(&tree, &facts(cluster)), "{cluster} {lines}");
        }
    }
}

#[test]
fn an_app_that_was_not_touched_is_not_read_again() {
    let (before, mut choices) = (two_apps(""), Choices::default());
    fleet(&before).apps_again(&before, &facts(WHERE), &mut choices);
    let after = Unreadable(two_apps("//- apps/blog/a.yaml\nx: y\n"));
    let (apps, errors) = fleet(&after.0).apps_again(&after, &facts(WHERE), &mut choices);
    assert_eq!(apps.iter().map(|app| &*app.name).collect::<Vec<_>>(), ["shop"]);
    assert!(matches!(&errors[..], [error] if error.app.as_deref() == Some("blog")), "{errors:?}");
}

/// A tree of which no file can be read.
struct Unreadable(Fixture);

impl Tree for Unreadable {
    fn kind(&self, path: &RepoPath) -> Result<Option<Kind>, TreeError> {
        self.0.kind(path)
    }

    fn read(&self, path: &RepoPath) -> Result<Option<Blob>, TreeError> {
        Err(TreeError::Store { path: path.clone(), message: "it can't be read".to_owned() })
    }

    fn list(&self, path: &RepoPath) -> Result<BTreeMap<String, Kind>, TreeError> {
        self.0.list(path)
    }

    fn id(&self, path: &RepoPath) -> Result<Option<ContentId>, TreeError> {
        self.0.id(path)
    }
}

#[test]
fn what_a_link_leads_to_is_looked_at_again() {
    let repository = tempfile::tempdir().unwrap();
    let write = |file: &str, text: &str| {
        let file = repository.path().join(file);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text).unwrap();
    };
    write("plimsoll.yaml", "apiVersion: plimsoll.dev/v1alpha1\nkind: Fleet\napps: [{path: shop}]\n");
    write("shop/kustomization.yaml", "resources: []\n");
    write("layers/gcp/kustomization.yaml", "kind: Component\n");
    std::os::unix::fs::symlink("../layers", repository.path().join("shop/overlays")).unwrap();
    let tree = overlays::tree::Dir::new(repository.path().to_owned());
    let mut choices = Choices::default();
    let mut layers = || {
        let (apps, errors) = read(&tree, &RepoPath::root(), "repo").unwrap().apps_again(&tree, &facts(WHERE), &mut choices);
        assert_eq!(errors, []);
        apps[0].layers.len()
    };
    assert_eq!(layers(), 0);
    write("layers/aws/kustomization.yaml", "kind: Component\n");
    assert_eq!(layers(), 1);
}
