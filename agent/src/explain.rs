//! `plimsoll explain KIND/NAME [FIELD]`: which files and steps made an object, or one of its fields, and who wrote them.
//!
//! It must not know how the chain is found; see [`overlays::explain`].

use std::path::PathBuf;

use clap::Args;
use overlays::explain::{self, Explanation, Query};
use overlays::{Cache, Errors, Look, Origin};
use serde_json::{Value, json};

use crate::blame::History;
use crate::cli::{ColourArgs, Failure, FleetArgs, Misused, OutputArg, RemoteArgs, RestrictorArg, print};
use crate::local::{self, Part, Place, View, Wanted};

/// The arguments of `plimsoll explain`.
#[derive(Args, Debug)]
pub(crate) struct Explain {
    /// The object, as `deployment/web` or `Deployment.apps/web`; the name may be the one that it had before a prefix or hash.
    #[arg(value_name = "KIND/NAME")]
    object: String,
    /// The field, as `spec.replicas`, `spec.template.spec.containers[web].image` or a JSON pointer; without it, the whole object.
    #[arg(value_name = "FIELD", default_value = "", hide_default_value = true)]
    field: String,
    /// The directory of the kustomization, or of plain manifests.
    #[arg(short = 'k', long = "kustomize", value_name = "DIR", default_value = ".", conflicts_with = "repo")]
    directory: PathBuf,
    /// The object's namespace, where the name alone does not say which object is meant.
    #[arg(short, long, value_name = "NAME")]
    namespace: Option<String>,
    #[command(flatten)]
    remote: RemoteArgs,
    #[command(flatten)]
    fleet: FleetArgs,
    /// Say of each line who wrote it, from Git: at most 5,000 commits back.
    #[arg(long)]
    blame: bool,
    /// Which files a kustomization may read.
    #[arg(long, value_enum, default_value = "root")]
    load_restrictor: RestrictorArg,
    /// In which form the answer is printed.
    #[arg(short, long, value_enum, default_value = "text")]
    output: OutputArg,
}

/// Runs the command.
///
/// # Errors
/// What is rendered does not render, or has no such object or field; or there is no history to blame.
pub(crate) fn run(args: &Explain, colour: &ColourArgs) -> Result<(), Failure> {
    let (place, wanted) = args.fleet.subject(&args.directory)?;
    let query = Query::new(&args.object, args.namespace.as_deref()).map_err(Misused)?;
    let options = overlays::Options { restrict: args.load_restrictor.into(), ..overlays::Options::default() };
    let (explanation, part) = args.answer(&place, &wanted, &options, &query)?;
    let history = if args.blame { Some(History::of(&place)?) } else { None };
    match args.output {
        OutputArg::Text => {
            let note = |origin: &Origin| note(&part, history.as_ref(), origin);
            print(&explanation.text(&Look { colour: colour.is_wanted(), note: &note }))
        }
        OutputArg::Json => print(&format!("{:#}\n", told(&explanation, &part, history.as_ref())?)),
    }
}

impl Explain {
    fn answer(&self, place: &Place, wanted: &Wanted, options: &overlays::Options, query: &Query) -> Result<(Explanation, Part), Errors> {
        let (bases, mut cache) = (self.remote.bases(), Cache::default());
        let tree = bases.under(Box::new(place.files.clone()));
        let view: View = local::view_with_bases(&tree, wanted, options, &mut cache, &bases)?;
        let found = match explain::find(query, view.objects().map(|(object, _)| object)) {
            Ok(at) => view.objects().nth(at),
            // It may be in a part that does not render.
            Err(_) if !view.errors.is_empty() => return Err(Errors(view.errors)),
            Err(error) => return Err(error.into()),
        };
        let Some((object, part)) = found else { return Err(Errors(view.errors)) };
        let explained = part.at_root(&tree, |tree, root| explain::explain(tree, root, options, &mut cache, object, &self.field))?;
        Ok((explained, part.clone()))
    }
}

/// What is known of a place: the layer of the fleet that it belongs to, and who wrote it.
fn note(part: &Part, history: Option<&History>, origin: &Origin) -> Option<String> {
    let written = history.and_then(|history| history.written(origin)).map(|written| written.to_string());
    let notes: Vec<String> = part.layer_of(&origin.file).into_iter().chain(written).collect();
    (!notes.is_empty()).then(|| notes.join("; "))
}

/// The explanation as JSON, each place with its layer and who wrote it.
fn told(explanation: &Explanation, part: &Part, history: Option<&History>) -> Result<Value, serde_json::Error> {
    let mut value = serde_json::to_value(explanation)?;
    if let Some(app) = &part.app {
        value["app"] = json!(app.name);
    }
    let places = explanation.places();
    annotate(&mut value["links"], &|place| {
        let origin = places
            .iter()
            .find(|origin| place["file"] == origin.file.as_str() && place["line"] == origin.line && place["column"] == origin.column);
        if let Some(origin) = origin {
            part.layer_of(&origin.file).into_iter().for_each(|layer| place["layer"] = json!(layer));
            history.and_then(|history| history.written(origin)).into_iter().for_each(|written| place["written"] = json!(written));
        }
    });
    Ok(value)
}

/// Does something with every place of the links.
fn annotate(links: &mut Value, add: &dyn Fn(&mut Value)) {
    for link in links.as_array_mut().into_iter().flatten() {
        link.get_mut("asked").into_iter().for_each(add);
        let changes = link.get_mut("changes").and_then(Value::as_array_mut);
        changes.into_iter().flatten().filter_map(|change| change.get_mut("place")).for_each(add);
    }
}
