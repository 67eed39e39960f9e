//! Git against a cluster: what an apply would change, as the API server itself says (a server-side apply that writes nothing).
//!
//! It must not know how the objects were rendered. What is in the cluster and no more in Git is not looked for.

use futures_util::{StreamExt, TryStreamExt, stream};
use overlays::diff::{self, Difference};
use overlays::{Error, Errors, Object, Stage};
use serde_json::Value;

use crate::api::{APP_LABEL, PART_OF_LABEL};
use crate::cli::Failure;
use crate::cluster::{self, Cluster, Mark, Refusal, Resource, body};
use crate::config::ClusterConfig;

/// How many objects are asked for at once.
const AT_ONCE: usize = 8;
/// What changes with every write, or is not ours to write.
const SERVER_SET: [&str; 5] = ["managedFields", "resourceVersion", "generation", "uid", "creationTimestamp"];

/// What the cluster would have other than it has.
///
/// # Errors
/// The cluster can't be reached, or refuses an object; then all that it refuses is told.
pub(super) async fn differences(objects: &[Object], config: &ClusterConfig, namespace: &str) -> Result<Vec<Difference>, Failure> {
    let cluster = Cluster::new(cluster::connect(config).await?);
    let asked = stream::iter(objects).map(|object| asked(&cluster, object, namespace)).buffered(AT_ONCE);
    let told: Vec<Result<Option<Difference>, Error>> = asked.map(Ok::<_, Failure>).try_collect().await?;
    let (found, refused): (Vec<_>, Vec<_>) = told.into_iter().partition(Result::is_ok);
    let refused: Vec<Error> = refused.into_iter().filter_map(Result::err).collect();
    if refused.is_empty() { Ok(found.into_iter().flatten().flatten().collect()) } else { Err(Errors(refused).into()) }
}

async fn asked(cluster: &Cluster, object: &Object, namespace: &str) -> Result<Option<Difference>, Error> {
    let json = object.to_json()?;
    difference(cluster, object, &json, namespace)
        .await
        .map_err(|refusal| Error::new(Stage::Object, format!("the cluster refuses {}: {refusal}", object.id())).at(object.origin().clone()))
}

async fn difference(cluster: &Cluster, object: &Object, json: &Value, namespace: &str) -> Result<Option<Difference>, Refusal> {
    let resource = match cluster.resolve(object.api_version(), &object.id().kind).await {
        // Its definition may be among the objects.
        Err(Refusal::NoKind { .. }) => return Ok(Some(diff::added(object))),
        resource => resource?,
    };
    let Some(mut live) = cluster.get(&resource, &placed(object, &resource, namespace)).await? else {
        return Ok(Some(diff::added(object)));
    };
    let label = |name: &str| live["metadata"]["labels"][name].as_str().unwrap_or_default().to_owned();
    let mark = Mark { applyset: label(PART_OF_LABEL), app: label(APP_LABEL), default_namespace: namespace.to_owned() };
    let mut wanted = cluster.dry_run(&resource, &body(json, &resource, &mark)?).await?;
    for side in [&mut live, &mut wanted] {
        strip(side);
    }
    Ok(diff::between(object, &live, &wanted))
}

fn placed(object: &Object, resource: &Resource, namespace: &str) -> overlays::ObjectId {
    let id = object.id();
    let namespace = if id.namespace.is_empty() { namespace } else { &id.namespace };
    resource.id(if resource.namespaced { namespace } else { "" }, &id.name)
}

/// Leaves what an apply of ours decides: neither what the server counts nor whose the object is.
fn strip(object: &mut Value) {
    let Some(object) = object.as_object_mut() else { return };
    object.remove("status");
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else { return };
    for field in SERVER_SET {
        metadata.remove(field);
    }
    if let Some(labels) = metadata.get_mut("labels").and_then(Value::as_object_mut) {
        labels.remove(PART_OF_LABEL);
        labels.remove(APP_LABEL);
        if labels.is_empty() {
            metadata.remove("labels");
        }
    }
}
