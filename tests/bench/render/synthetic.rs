//! Trees of many small objects that get a prefix and a namespace: whether time grows with the number of objects, and not with its square.

use std::fmt::Write;
use std::path::Path;

use harness::Result;

use crate::Programs;
use crate::cost;
use crate::figure::Figure;

const COUNTS: [usize; 4] = [400, 1000, 2000, 4000];
/// kustomize needs minutes for larger ones.
const BEARABLE: usize = 1000;
const FILE_OBJECTS: usize = 100;
const RUNS: usize = 5;
/// The exponent of growth up to which it is called linear: 2 is quadratic, and a little above 1 is what memory further away costs.
const LINEAR: f64 = 1.2;

pub(crate) fn measure(programs: &Programs, large: bool) -> Result<Vec<Figure>> {
    let (mut figures, mut costs) = (Vec::new(), Vec::new());
    for count in COUNTS {
        let directory = tempfile::tempdir()?;
        write(directory.path(), count)?;
        let ours = || Programs::ours(directory.path(), "root");
        let cost = cost::median(RUNS, ours)?.cpu;
        let theirs = || programs.kustomize(directory.path(), "root");
        let note = if count <= BEARABLE || large {
            let same = cost::print_the_same(theirs(), ours())?;
            let cost = cost::of(theirs())?.cpu;
            format!("kustomize {:.2} s{}", cost / 1e3, if same { "" } else { ", BUT OTHER OUTPUT" })
        } else {
            "kustomize not run: --large".to_owned()
        };
        let what = format!("synthetic, {count} objects, prefix and namespace");
        let figure = if count == 4000 { Figure::at_most(&what, cost, "ms", 400.0) } else { Figure::told(&what, cost, "ms") };
        figures.push(figure.noted(note));
        costs.push(cost);
    }
    if let ([few, .., many], [first, .., last]) = (costs.as_slice(), COUNTS) {
        let exponent = (many / few).ln() / (last as f64 / first as f64).ln();
        let note = format!("from {first} to {last} objects; 1 is linear, 2 quadratic");
        figures.push(Figure::at_most("synthetic, growth of the CPU with the objects", exponent, "", LINEAR).noted(note));
    }
    Ok(figures)
}

/// A base of so many objects that refer to each other, and an overlay that renames them all.
fn write(directory: &Path, count: usize) -> Result {
    let (base, overlay) = (directory.join("base"), directory.join("overlay"));
    std::fs::create_dir_all(&base)?;
    std::fs::create_dir_all(&overlay)?;
    let mut names = String::from("resources:\n");
    for start in (0..count).step_by(FILE_OBJECTS) {
        let objects: Vec<String> = (start..count.min(start + FILE_OBJECTS)).map(object).collect();
        std::fs::write(base.join(format!("{start}.yaml")), objects.join("---\n"))?;
        writeln!(names, "- {start}.yaml")?;
    }
    std::fs::write(base.join("kustomization.yaml"), names)?;
    let text = "resources:\n- ../base\nnamePrefix: blue-\nnamespace: shop\n";
    std::fs::write(overlay.join("kustomization.yaml"), text)?;
    std::fs::write(directory.join("kustomization.yaml"), "resources:\n- overlay\n")?;
    Ok(())
}

/// In turn a workload, its service, its account and its settings.
fn object(at: usize) -> String {
    let app = at / 4;
    match at % 4 {
        0 => format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: app-{app}\n  labels:\n    app: app-{app}\nspec:\n  replicas: 2\n  selector:\n    \
             matchLabels:\n      app: app-{app}\n  template:\n    metadata:\n      labels:\n        app: app-{app}\n    spec:\n      \
             serviceAccountName: app-{app}\n      containers:\n      - name: main\n        image: example.com/app:{app}\n        envFrom:\n        \
             - configMapRef:\n            name: app-{app}\n        ports:\n        - containerPort: 8080\n"
        ),
        1 => format!(
            "apiVersion: v1\nkind: Service\nmetadata:\n  name: app-{app}\nspec:\n  selector:\n    app: app-{app}\n  ports:\n  - port: 80\n    \
             targetPort: 8080\n"
        ),
        2 => format!("apiVersion: v1\nkind: ServiceAccount\nmetadata:\n  name: app-{app}\n"),
        _ => format!("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: app-{app}\ndata:\n  level: info\n  peer: http://app-{app}:80\n"),
    }
}
