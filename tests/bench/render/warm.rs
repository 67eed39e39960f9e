//! One app of a thousand has changed, in an agent that has rendered all of them before: what finding and rendering it takes.

use std::collections::BTreeMap;

use harness::{Repository, Result, Trouble};
use overlays::path::RepoPath;
use overlays::tree::{GitTree, Tree};
use overlays::{Cache, Fingerprint, Inputs, Options, Order};
use plimsoll::facts::Facts;
use plimsoll::fleet::{self, App};
use plimsoll::sync;

use crate::cost;
use crate::figure::Figure;

const APPS: usize = 1000;
const CHANGES: usize = 20;
/// What the agent keeps of parsed files from one revision to the next.
const KEPT: usize = 2 << 20;

type Known = BTreeMap<String, (Inputs, Fingerprint)>;

pub(crate) fn measure() -> Result<Vec<Figure>> {
    let repository = fleet()?;
    let (mut cache, mut known) = (Cache::with_limit(KEPT), Known::new());
    let first = tree(&repository)?;
    for app in apps(&first)? {
        rendered(&first, &app, &mut cache, &mut known)?;
    }
    let (mut whole, mut alone) = (Vec::new(), Vec::new());
    for change in 0..CHANGES {
        let name = format!("app-{}", change * 37 % APPS);
        repository.edit(&format!("apps/{name}/web.yaml"), "replicas: ", "replicas: 1")?;
        repository.commit("One more")?;
        repository.git(&["repack", "-d", "--quiet"])?;
        let before = cost::own();
        let tree = tree(&repository)?;
        let apps = apps(&tree)?;
        let due: Vec<&App> = apps.iter().filter(|app| !is_known(&tree, app, &known)).collect();
        let [app] = due.as_slice() else {
            return Err(Trouble::new(format!("one app has changed, and {} are due", due.len())));
        };
        let found = cost::own();
        rendered(&tree, app, &mut cache, &mut known)?;
        let after = cost::own();
        whole.push(after - before);
        alone.push(after - found);
    }
    let note = format!(
        "one of {APPS} apps rendered and printed, from the tree of its commit; all from the commit's id, with the fleet read and all looked at, {:.1} ms",
        cost::middle(whole)
    );
    Ok(vec![Figure::at_most("one app of 1,000 changed, in a warm agent", cost::middle(alone), "ms", 3.0).noted(note)])
}

/// A fleet whose apps share a base, as they do.
fn fleet() -> Result<Repository> {
    let repository = Repository::local("fleet")?;
    repository.write("plimsoll.yaml", "apiVersion: plimsoll.dev/v1alpha1\nkind: Fleet\napps:\n- path: apps/*\n")?;
    for at in 0..APPS {
        let app = format!("app-{at}");
        let resources = "resources:\n- web.yaml\n- service.yaml\nnamespace: shop\ncommonLabels:\n  team: web\nconfigMapGenerator:\n- name: settings\n  literals:\n  - level=info\n";
        repository.write(&format!("apps/{app}/kustomization.yaml"), resources)?;
        repository.write(&format!("apps/{app}/web.yaml"), format!("apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: {app}\nspec:\n  replicas: 1\n  selector:\n    matchLabels:\n      app: {app}\n  template:\n    metadata:\n      labels:\n        app: {app}\n    spec:\n      containers:\n      - name: main\n        image: example.com/{app}:1\n        envFrom:\n        - configMapRef:\n            name: settings\n"))?;
        repository.write(
            &format!("apps/{app}/service.yaml"),
            format!(
                "apiVersion: v1\nkind: Service\nmetadata:\n  name: {app}\nspec:\n  selector:\n    app: {app}\n  ports:\n  - port: 80\n"
            ),
        )?;
    }
    repository.commit("A thousand apps")?;
    repository.git(&["repack", "-a", "-d", "--quiet"])?;
    Ok(repository)
}

fn tree(repository: &Repository) -> Result<GitTree> {
    let id = repository.git(&["rev-parse", "HEAD^{tree}"])?;
    Ok(GitTree::open(&repository.directory(), git2::Oid::from_str(id.trim())?.as_bytes().try_into()?)?)
}

fn apps(tree: &dyn Tree) -> Result<Vec<App>> {
    let (apps, errors) = fleet::read(tree, &RepoPath::root(), "fleet")?.apps(tree, &Facts::default());
    if errors.is_empty() { Ok(apps) } else { Err(Trouble::new(format!("{} apps are wrong", errors.len()))) }
}

fn is_known(tree: &dyn Tree, app: &App, known: &Known) -> bool {
    known.get(&app.name).is_some_and(|(inputs, print)| inputs.fingerprint(tree).is_ok_and(|now| now == *print))
}

fn rendered(tree: &dyn Tree, app: &App, cache: &mut Cache, known: &mut Known) -> Result {
    let options = Options { order: Order::None, ..Options::default() };
    let rendered = sync::render(app, tree, &options, cache)?;
    std::hint::black_box(rendered.manifest.to_yaml()?);
    let print = rendered.inputs.fingerprint(tree)?;
    known.insert(app.name.clone(), (rendered.inputs, print));
    Ok(())
}
