//! A real control plane with nodes that are not there, and its administrator's view of it. Knows nothing of Plimsoll.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::api::{Api, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::{ApiResource, GroupVersionKind};
use kube::discovery::Scope;
use kube::{Client, Config};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{Lab, Process, Result, Trouble, free_port, until};

/// The field manager of what tests apply as a person would.
const ADMIN: &str = "lab";
/// One line a request, when it has been answered; a watch when it begins, or it would show only at its end.
const AUDIT_POLICY: &str = "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n- {level: Metadata, verbs: [watch], omitStages: [RequestReceived, ResponseComplete]}\n\
    - {level: Metadata, omitStages: [RequestReceived, ResponseStarted]}\n";
/// Three clusters at once on a loaded machine took 12.5 s.
const READY: Duration = Duration::from_secs(120);

/// What is not as usual.
#[derive(Clone, Debug, Default)]
pub struct ClusterOptions {
    /// More flags of kube-apiserver, as `--min-request-timeout=5`.
    pub apiserver_args: Vec<String>,
    /// The API server writes down every request, for [`Cluster::requests`]. It costs it some time.
    pub audited: bool,
    /// Only these controllers run, as `namespace-controller`; all that the lab has where none is named.
    pub controllers: Vec<String>,
}

/// What the API server answers: an object, or the status code and the reason of a refusal.
pub type Answer = std::result::Result<Value, (u16, String)>;

/// A request that the API server took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// `get`, `list`, `watch`, `create`, `patch`, `update`, `delete`.
    pub verb: String,
    /// The resource, with its subresource: `deployments`, `syncs/status`; the path where it is none.
    pub resource: String,
    /// The object, where the request names one.
    pub name: String,
    /// The HTTP status that was answered.
    pub code: u64,
}

/// A cluster: one process, one port, one directory.
pub struct Cluster {
    /// Its name; its nodes are called `NAME-node-N`.
    pub name: String,
    directory: tempfile::TempDir,
    port: u16,
    providers: Vec<String>,
    options: ClusterOptions,
    process: Mutex<Option<Process>>,
    kinds: Mutex<BTreeMap<(String, String), (ApiResource, Scope)>>,
    clients: Mutex<HashMap<tokio::runtime::Id, Client>>,
}

impl Cluster {
    /// Starts a cluster with a node for each provider ID, and waits until it is ready.
    ///
    /// # Errors
    /// If the lab can't be built, or with the end of the log if the cluster does not come up.
    pub async fn start(name: &str, providers: &[&str], options: ClusterOptions) -> Result<Self> {
        let (name, providers) = (name.to_owned(), providers.iter().map(|&id| id.to_owned()).collect());
        tokio::task::spawn_blocking(move || Self::start_now(name, providers, options)).await?
    }

    fn start_now(name: String, providers: Vec<String>, options: ClusterOptions) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("plimsoll-cluster-").tempdir()?;
        let cluster = Self {
            name,
            directory,
            port: free_port()?,
            providers,
            options,
            process: Mutex::default(),
            kinds: Mutex::default(),
            clients: Mutex::default(),
        };
        cluster.run()?;
        Ok(cluster)
    }

    /// Runs the process on the directory, as it was left or as new.
    fn run(&self) -> Result {
        let mut command = Command::new(Lab::binaries()?.kubelab);
        command.args(["--leash", "--name", &self.name, "--port", &self.port.to_string()]).arg("--dir").arg(self.directory());
        command.args(self.providers.iter().flat_map(|id| ["--node", id]));
        if self.options.audited {
            std::fs::write(self.directory().join("audit.yaml"), AUDIT_POLICY)?;
            for flag in [
                format!("--audit-policy-file={}/audit.yaml", self.directory().display()),
                format!("--audit-log-path={}", self.audit_log().display()),
            ] {
                command.args(["--apiserver-arg", &flag]);
            }
        }
        command.args(self.options.apiserver_args.iter().flat_map(|arg| ["--apiserver-arg", arg]));
        if !self.options.controllers.is_empty() {
            command.args(["--controllers", &self.options.controllers.join(",")]);
        }
        let mut process = Process::leashed(&format!("cluster {}", self.name), &mut command, &self.directory().join("log"))?;
        process.await_line("ready ", READY)?;
        *self.process() = Some(process);
        Ok(())
    }

    fn process(&self) -> MutexGuard<'_, Option<Process>> {
        lock(&self.process)
    }

    /// The administrator's kubeconfig.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.directory().join("kubeconfig")
    }

    /// A directory that lives as long as the cluster, for what is made for it.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The process id of the whole control plane.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.process().as_ref().map(Process::pid)
    }

    /// The end of the control plane's log.
    #[must_use]
    pub fn tail(&self) -> String {
        self.process().as_ref().map_or_else(String::new, Process::tail)
    }

    /// Kills the control plane; its directory stays.
    pub fn kill(&self) {
        *self.process() = None;
    }

    /// Stops the control plane in order; its directory stays.
    ///
    /// # Errors
    /// If it has to be killed.
    pub async fn stop(&self) -> Result {
        let process = self.process().take();
        tokio::task::spawn_blocking(move || process.map_or(Ok(()), |mut process| process.stop())).await?
    }

    /// Starts the control plane again on its directory, after [`Cluster::kill`] or [`Cluster::stop`], and waits until it is ready.
    ///
    /// # Errors
    /// With the end of the log if it does not come up.
    pub fn restart(&self) -> Result {
        // Their connections lead to a process that is gone.
        lock(&self.clients).clear();
        self.run()
    }

    /// The administrator's client. A client belongs to the runtime that it was made on, so there is one for each test.
    ///
    /// # Errors
    /// If the kubeconfig can't be read.
    pub async fn client(&self) -> Result<Client> {
        let runtime = tokio::runtime::Handle::current().id();
        if let Some(client) = lock(&self.clients).get(&runtime) {
            return Ok(client.clone());
        }
        let kubeconfig = Kubeconfig::read_from(self.kubeconfig())?;
        let client = Client::try_from(Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?)?;
        lock(&self.clients).insert(runtime, client.clone());
        Ok(client)
    }

    /// Makes a namespace with a name of its own, and waits until pods can be made in it.
    ///
    /// # Errors
    /// If the API server does not answer.
    pub async fn namespace(&self, prefix: &str) -> Result<String> {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let name = format!("{prefix}-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        self.apply(&format!("{{apiVersion: v1, kind: Namespace, metadata: {{name: {name}}}}}")).await?;
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client().await?, &name);
        until(&format!("the default ServiceAccount of {name}"), Duration::from_secs(20), async || Ok(accounts.get("default").await?))
            .await?;
        Ok(name)
    }

    /// Deletes a namespace without waiting for the end of it, which takes some seconds.
    ///
    /// # Errors
    /// If the API server refuses.
    pub async fn delete_namespace(&self, name: &str) -> Result {
        let namespaces: Api<Namespace> = Api::all(self.client().await?);
        Ok(namespaces.delete(name, &Default::default()).await.map(drop)?)
    }

    /// Applies each document of a YAML text server-side, as a person would, and returns the answers.
    ///
    /// # Errors
    /// With the object that was refused, and why.
    pub async fn apply(&self, yaml: &str) -> Result<Vec<Value>> {
        let mut applied = Vec::new();
        for object in documents(yaml)? {
            applied.push(self.apply_object(&object).await?);
        }
        Ok(applied)
    }

    /// Applies one object server-side, as a person would, and takes what others hold.
    ///
    /// # Errors
    /// With the object that was refused, and why.
    pub async fn apply_object(&self, object: &Value) -> Result<Value> {
        let at = |pointer| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let (kind, namespace, name) = (at("/kind"), at("/metadata/namespace"), at("/metadata/name"));
        let api = self.api(at("/apiVersion"), kind, namespace).await?;
        let applied = api.patch(name, &PatchParams::apply(ADMIN).force(), &Patch::Apply(object)).await;
        let applied =
            applied.map_err(|error| Trouble::from(error).while_doing(format!("cluster {}: {kind} {namespace}/{name}", self.name)))?;
        Ok(serde_json::to_value(applied)?)
    }

    /// Reads an object; none if there is none.
    ///
    /// # Errors
    /// If the kind is unknown or the API server does not answer.
    pub async fn get(&self, api_version: &str, kind: &str, namespace: &str, name: &str) -> Result<Option<Value>> {
        let object = self.api(api_version, kind, namespace).await?.get_opt(name).await?;
        Ok(object.map(serde_json::to_value).transpose()?)
    }

    /// Reads all objects of a kind in a namespace, or of the cluster where the namespace is empty.
    ///
    /// # Errors
    /// If the kind is unknown or the API server does not answer.
    pub async fn list(&self, api_version: &str, kind: &str, namespace: &str) -> Result<Vec<Value>> {
        let objects = self.api(api_version, kind, namespace).await?.list(&ListParams::default()).await?;
        Ok(objects.items.into_iter().map(serde_json::to_value).collect::<std::result::Result<_, _>>()?)
    }

    /// Changes an object by a merge patch under a field manager's name, as `kubectl edit` does.
    ///
    /// # Errors
    /// If the API server refuses.
    pub async fn patch(&self, api_version: &str, kind: &str, namespace: &str, name: &str, manager: &str, patch: &Value) -> Result<Value> {
        let api = self.api(api_version, kind, namespace).await?;
        let params = PatchParams { field_manager: Some(manager.to_owned()), ..PatchParams::default() };
        Ok(serde_json::to_value(api.patch(name, &params, &Patch::Merge(patch)).await?)?)
    }

    /// Deletes an object; one that is not there is fine.
    ///
    /// # Errors
    /// If the API server refuses.
    pub async fn delete(&self, api_version: &str, kind: &str, namespace: &str, name: &str) -> Result {
        match self.api(api_version, kind, namespace).await?.delete(name, &Default::default()).await {
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            other => Ok(other.map(drop)?),
        }
    }

    /// Waits until an object is there and as `wanted` says, and returns it.
    ///
    /// # Errors
    /// With the object as it was last seen.
    pub async fn until(
        &self,
        limit: Duration,
        (api_version, kind, namespace, name): (&str, &str, &str, &str),
        what: &str,
        wanted: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        until(&format!("{kind} {namespace}/{name} in cluster {} {what}", self.name), limit, async || {
            let object = self.get(api_version, kind, namespace, name).await?.ok_or_else(|| Trouble::new("no such object"))?;
            if wanted(&object) { Ok(object) } else { Err(Trouble::new(serde_yaml::to_string(&without_noise(object))?)) }
        })
        .await
    }

    /// The events of a namespace, oldest first, as `Reason kind/name: note`.
    ///
    /// # Errors
    /// If the API server does not answer.
    pub async fn events(&self, namespace: &str) -> Result<Vec<String>> {
        let mut events = self.list("events.k8s.io/v1", "Event", namespace).await?;
        events.sort_by_key(|event| event.pointer("/metadata/creationTimestamp").map(Value::to_string));
        let text = |event: &Value, pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        Ok(events
            .iter()
            .map(|event| {
                let [reason, kind, name, note] =
                    ["/reason", "/regarding/kind", "/regarding/name", "/note"].map(|pointer| text(event, pointer));
                format!("{reason} {kind}/{name}: {note}")
            })
            .collect())
    }

    /// Writes a kubeconfig that holds nothing but a token of a ServiceAccount, valid for an hour, and returns its path.
    ///
    /// # Errors
    /// If there is no such ServiceAccount.
    pub async fn kubeconfig_of(&self, namespace: &str, account: &str) -> Result<PathBuf> {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client().await?, namespace);
        let request =
            TokenRequest { spec: Some(TokenRequestSpec { expiration_seconds: Some(3600), ..Default::default() }), ..Default::default() };
        let answer = accounts.create_token_request(account, &PostParams::default(), &request).await?;
        let token = answer.status.ok_or_else(|| Trouble::new("the API server made no token"))?.token;
        let mut kubeconfig: Value = serde_yaml::from_str(&std::fs::read_to_string(self.kubeconfig())?)?;
        if let Some(user) = kubeconfig.pointer_mut("/users/0/user") {
            *user = json!({"token": token});
        }
        let path = self.directory().join(format!("{account}-{}.kubeconfig", NEXT.fetch_add(1, Ordering::Relaxed)));
        std::fs::write(&path, serde_yaml::to_string(&kubeconfig)?)?;
        Ok(path)
    }

    /// The API server's own metrics.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn metrics(&self) -> Result<String> {
        let request = http::Request::get("/metrics").body(Vec::new())?;
        Ok(self.client().await?.request_text(request).await?)
    }

    /// Counts the requests of one ServiceAccount from now on under a name of its own, by the API server's priority and fairness.
    ///
    /// # Errors
    /// If the API server refuses.
    pub async fn count_requests_of(&self, namespace: &str, account: &str) -> Result {
        self.apply_object(&json!({
            "apiVersion": "flowcontrol.apiserver.k8s.io/v1", "kind": "FlowSchema", "metadata": {"name": account},
            "spec": {
                // Before `service-accounts`, which has 9000 and would match too.
                "matchingPrecedence": 500,
                "priorityLevelConfiguration": {"name": "workload-low"},
                "distinguisherMethod": {"type": "ByUser"},
                "rules": [{
                    "subjects": [{"kind": "ServiceAccount", "serviceAccount": {"name": account, "namespace": namespace}}],
                    "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "clusterScope": true, "namespaces": ["*"]}],
                    "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
                }],
            },
        }))
        .await
        .map(drop)
    }

    /// How many requests the API server has taken under that name. A watch counts once, at its start; the kubelet's probes do not count.
    ///
    /// # Errors
    /// If the API server does not answer.
    pub async fn requests_of(&self, account: &str) -> Result<u64> {
        let label = format!("flow_schema=\"{account}\"");
        let metrics = self.metrics().await?;
        // The counter appears with the first request.
        let lines =
            metrics.lines().filter(|line| line.starts_with("apiserver_flowcontrol_dispatched_requests_total{") && line.contains(&label));
        Ok(lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).map(|count| count as u64).sum())
    }

    fn audit_log(&self) -> PathBuf {
        self.directory().join("audit.log")
    }

    /// Every request of a ServiceAccount so far, in the order of their answers, probes and discovery included. Needs [`ClusterOptions::audited`].
    ///
    /// # Errors
    /// If the cluster is not audited.
    pub fn requests(&self, namespace: &str, account: &str) -> Result<Vec<Request>> {
        let log =
            std::fs::read_to_string(self.audit_log()).map_err(|error| Trouble::from(error).while_doing("this cluster is not audited"))?;
        let user = json!(format!("system:serviceaccount:{namespace}:{account}"));
        // The last line may not be whole yet.
        let events = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        Ok(events.filter(|event| event["user"]["username"] == user).map(|event| Request::of(&event)).collect())
    }

    /// An `Api` for a kind by name, as a manifest says it.
    ///
    /// # Errors
    /// If the API server does not know the kind.
    pub async fn api(&self, api_version: &str, kind: &str, namespace: &str) -> Result<Api<DynamicObject>> {
        let client = self.client().await?;
        let (resource, _) = self.resource(&client, api_version, kind).await?;
        Ok(if namespace.is_empty() { Api::all_with(client, &resource) } else { Api::namespaced_with(client, namespace, &resource) })
    }

    /// The path of an object in the API; a namespace is left out where the kind has none.
    ///
    /// # Errors
    /// If the API server does not know the kind.
    pub async fn path(&self, api_version: &str, kind: &str, namespace: &str, name: &str) -> Result<String> {
        let (resource, scope) = self.resource(&self.client().await?, api_version, kind).await?;
        let root = if resource.group.is_empty() { "/api" } else { "/apis" };
        let within = if scope == Scope::Namespaced { format!("/namespaces/{namespace}") } else { String::new() };
        Ok(format!("{root}/{}{within}/{}/{name}", resource.api_version, resource.plural))
    }

    /// Sends a request as it is, as the administrator, and returns the answer: an object, or the status code and why it was refused.
    ///
    /// # Errors
    /// If there is no answer, or none that can be read.
    pub async fn send(&self, method: http::Method, path: &str, content_type: &str, body: &Value) -> Result<Answer> {
        let body = if body.is_null() { Vec::new() } else { serde_json::to_vec(body)? };
        let request = http::Request::builder().method(method).uri(path).header(http::header::CONTENT_TYPE, content_type).body(body)?;
        match self.client().await?.request::<Value>(request).await {
            Ok(object) => Ok(Ok(object)),
            Err(kube::Error::Api(status)) => Ok(Err((status.code, status.message.clone()))),
            Err(error) => Err(error.into()),
        }
    }

    async fn resource(&self, client: &Client, api_version: &str, kind: &str) -> Result<(ApiResource, Scope)> {
        let key = (api_version.to_owned(), kind.to_owned());
        if let Some(known) = lock(&self.kinds).get(&key) {
            return Ok(known.clone());
        }
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let (resource, capabilities) = kube::discovery::pinned_kind(client, &GroupVersionKind::gvk(group, version, kind)).await?;
        let known = (resource, capabilities.scope);
        lock(&self.kinds).insert(key, known.clone());
        Ok(known)
    }
}

impl Request {
    fn of(event: &Value) -> Self {
        let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let resource = match (text("/objectRef/resource"), text("/objectRef/subresource")) {
            ("", _) => text("/requestURI").to_owned(),
            (resource, "") => resource.to_owned(),
            (resource, subresource) => format!("{resource}/{subresource}"),
        };
        let code = event.pointer("/responseStatus/code").and_then(Value::as_u64).unwrap_or_default();
        Self { verb: text("/verb").to_owned(), resource, name: text("/objectRef/name").to_owned(), code }
    }
}

/// A test that panicked while it held a lock has left nothing half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The documents of a YAML text; empty ones are left out.
///
/// # Errors
/// If it is no YAML.
pub fn documents(yaml: &str) -> Result<Vec<Value>> {
    let documents: Vec<Value> = serde_yaml::Deserializer::from_str(yaml).map(Value::deserialize).collect::<std::result::Result<_, _>>()?;
    Ok(documents.into_iter().filter(|document| !document.is_null()).collect())
}

/// What a person leaves out when reading an object.
fn without_noise(mut object: Value) -> Value {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
    object
}
