//! An admission and conversion webhook as the API server calls them: over TLS, on 127.0.0.1, and not always of good will. It knows no agent.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::header::{CONNECTION, CONTENT_TYPE};
use axum::response::IntoResponse;
use axum::routing::post;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use harness::{Cluster, Result, Trouble, free_port};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::server::TlsStream;

/// What it does with a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    /// Lets it through.
    Allows,
    /// Says no.
    Refuses,
    /// Says nothing for as long as it does so.
    Hangs,
    /// Puts another value in place of `data.value`, at each write another one.
    Rewrites,
}

/// A webhook on a port of its own.
pub(super) struct Webhook {
    port: u16,
    acceptor: TlsAcceptor,
    mind: Arc<Mind>,
    task: Mutex<Option<JoinHandle<()>>>,
}

struct Mind {
    manner: Mutex<Manner>,
    asked: AtomicUsize,
    /// So many more go through while it hangs.
    passes: AtomicUsize,
}

impl Mind {
    fn manner(&self) -> Manner {
        *self.manner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Webhook {
    /// Starts one that proves who it is as the cluster's own API server does.
    pub(super) async fn start(cluster: &Cluster, manner: Manner) -> Result<Self> {
        let pki = cluster.directory().join("pki");
        let mind = Arc::new(Mind { manner: Mutex::new(manner), asked: AtomicUsize::new(0), passes: AtomicUsize::new(0) });
        let webhook = Self { port: free_port()?, acceptor: acceptor(&pki)?, mind, task: Mutex::default() };
        webhook.serve().await?;
        Ok(webhook)
    }

    /// Serves, also again after [`Webhook::stop`].
    pub(super) async fn serve(&self) -> Result {
        let listener = TcpListener::bind(("127.0.0.1", self.port)).await?;
        let app = axum::Router::new().route("/admit", post(admit)).route("/convert", post(convert)).with_state(self.mind.clone());
        let listener = Tls { listener, acceptor: self.acceptor.clone() };
        let task = tokio::spawn(async move { drop(axum::serve(listener, app).await) });
        *self.task.lock().unwrap_or_else(PoisonError::into_inner) = Some(task);
        Ok(())
    }

    /// Stops, as an outage does.
    pub(super) fn stop(&self) {
        self.task.lock().unwrap_or_else(PoisonError::into_inner).take().into_iter().for_each(|task| task.abort());
    }

    pub(super) fn behave(&self, manner: Manner) {
        *self.mind.manner.lock().unwrap_or_else(PoisonError::into_inner) = manner;
    }

    /// Lets one through although it hangs.
    pub(super) fn let_one_through(&self) {
        self.mind.passes.fetch_add(1, Ordering::Relaxed);
    }

    /// How often it was asked.
    pub(super) fn asked(&self) -> usize {
        self.mind.asked.load(Ordering::Relaxed)
    }

    /// How the API server is told to call it.
    pub(super) fn client_config(&self, cluster: &Cluster, path: &str) -> Result<Value> {
        let authority = STANDARD.encode(std::fs::read(cluster.directory().join("pki/ca.crt"))?);
        Ok(json!({"url": format!("https://127.0.0.1:{}/{path}", self.port), "caBundle": authority}))
    }

    /// Has it asked about what the agent writes of ConfigMaps in a namespace; what others write it does not see.
    pub(super) async fn watch_over(&self, cluster: &Cluster, namespace: &str) -> Result {
        let agent = "request.userInfo.username.startsWith('system:serviceaccount:plimsoll-system:') && request.name != 'kube-root-ca.crt'";
        let object = json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration", "metadata": {"name": namespace},
            "webhooks": [{
                "name": "moody.lab.example", "admissionReviewVersions": ["v1"], "sideEffects": "None", "failurePolicy": "Fail",
                "timeoutSeconds": 30, "clientConfig": self.client_config(cluster, "admit")?,
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
                "matchConditions": [{"name": "agent", "expression": agent}],
                "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["configmaps"]}],
            }],
        });
        cluster.apply_object(&object).await.map(drop)
    }
}

impl Drop for Webhook {
    fn drop(&mut self) {
        self.stop();
    }
}

fn acceptor(pki: &Path) -> Result<TlsAcceptor> {
    let wrong = |error: &dyn std::fmt::Display| Trouble::new(format!("the server's certificate or key: {error}"));
    let certificate = CertificateDer::from_pem_file(pki.join("server.crt")).map_err(|error| wrong(&error))?;
    let key = PrivateKeyDer::from_pem_file(pki.join("server.key")).map_err(|error| wrong(&error))?;
    let ring = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(ring).with_safe_default_protocol_versions().map_err(|error| wrong(&error))?;
    let config = config.with_no_client_auth().with_single_cert(vec![certificate], key).map_err(|error| wrong(&error))?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

struct Tls {
    listener: TcpListener,
    acceptor: TlsAcceptor,
}

impl axum::serve::Listener for Tls {
    type Io = TlsStream<TcpStream>;
    type Addr = std::net::SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            if let Ok((stream, address)) = self.listener.accept().await
                && let Ok(stream) = self.acceptor.accept(stream).await
            {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

/// A connection that stays open would outlive a server that is stopped.
fn answer(review: &Value) -> impl IntoResponse + use<> {
    ([(CONTENT_TYPE, "application/json"), (CONNECTION, "close")], review.to_string())
}

async fn admit(State(mind): State<Arc<Mind>>, body: Bytes) -> impl IntoResponse {
    let review: Value = serde_json::from_slice(&body).unwrap_or_default();
    let number = mind.asked.fetch_add(1, Ordering::Relaxed) + 1;
    let passes = || mind.passes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |passes| passes.checked_sub(1)).is_ok();
    while mind.manner() == Manner::Hangs && !passes() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let manner = mind.manner();
    let mut response = json!({"uid": review["request"]["uid"], "allowed": manner != Manner::Refuses});
    if manner == Manner::Refuses {
        response["status"] = json!({"message": "not today"});
    }
    let has_value = review["request"]["object"]["data"]["value"].is_string();
    if manner == Manner::Rewrites && has_value {
        let patch = json!([{"op": "replace", "path": "/data/value", "value": format!("rewritten-{number}")}]);
        response["patchType"] = json!("JSONPatch");
        response["patch"] = json!(STANDARD.encode(patch.to_string()));
    }
    answer(&json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}))
}

/// `spec.size` of v1 is `spec.replicas` of v2.
async fn convert(State(mind): State<Arc<Mind>>, body: Bytes) -> impl IntoResponse {
    let review: Value = serde_json::from_slice(&body).unwrap_or_default();
    mind.asked.fetch_add(1, Ordering::Relaxed);
    let wanted = review["request"]["desiredAPIVersion"].as_str().unwrap_or_default();
    let (from, to) = if wanted.ends_with("/v2") { ("size", "replicas") } else { ("replicas", "size") };
    let converted = |object: &Value| {
        let mut object = object.clone();
        object["apiVersion"] = json!(wanted);
        if let Some(spec) = object["spec"].as_object_mut()
            && let Some(value) = spec.remove(from)
        {
            spec.insert(to.to_owned(), value);
        }
        object
    };
    let objects: Vec<Value> = review["request"]["objects"].as_array().into_iter().flatten().map(converted).collect();
    let response = json!({"uid": review["request"]["uid"], "result": {"status": "Success"}, "convertedObjects": objects});
    answer(&json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "ConversionReview", "response": response}))
}
