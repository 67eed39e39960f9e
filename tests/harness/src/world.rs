//! A repository on a forge, clusters, and an agent for each: what a user has, in one value.
//!
//! ```ignore
//! let world = World::of(env!("CARGO_BIN_EXE_plimsoll")).file("shop.yaml", SHOP).start().await?;
//! let commit = world.repository.push("a change")?;
//! world.until_status(&commit, "success").await?;
//! ```

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::agent::SYSTEM;
use crate::{Agent, AgentOptions, Cluster, ClusterOptions, CommitStatus, Forge, Repository, Result, Trouble, until};

/// The name of the Sync in every world.
const SYNC: &str = "fleet";
/// The name of the Secret with the repository's credentials.
const SECRET: &str = "repository";
/// The name of the Secret of the push hook.
const HOOK: &str = "hook";
/// What the push hook's signatures are made with.
const HOOK_SECRET: &str = "plimsoll-lab-hook-secret";
/// What follows a push takes parts of a second, but the machine may be loaded.
const SOON: Duration = Duration::from_secs(60);

/// One cluster and one forge for all tests of a process that need none of their own.
pub struct Ground {
    /// The cluster; take a namespace of your own.
    pub cluster: Arc<Cluster>,
    /// The forge; take a repository of your own.
    pub forge: Arc<Forge>,
}

/// The shared ground, started by the first test that asks for it.
///
/// # Errors
/// If the lab can't be built or does not come up; the next one who asks tries again.
pub async fn ground() -> Result<&'static Ground> {
    static GROUND: tokio::sync::OnceCell<Ground> = tokio::sync::OnceCell::const_new();
    GROUND
        .get_or_try_init(async || {
            let providers = ["aws:///eu-central-1a/i-0123456789abcdef0"];
            let (cluster, forge) = tokio::try_join!(Cluster::start("ground", &providers, ClusterOptions::default()), Forge::start())?;
            Ok(Ground { cluster: Arc::new(cluster), forge: Arc::new(forge) })
        })
        .await
}

/// Installs `deploy/` into a cluster, as `kubectl apply -k deploy` does.
///
/// # Errors
/// With the object that was refused, and why.
pub async fn install(cluster: &Cluster) -> Result {
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy");
    let kustomization: Value = serde_yaml::from_str(&std::fs::read_to_string(deploy.join("kustomization.yaml"))?)?;
    for file in kustomization["resources"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        cluster.apply(&std::fs::read_to_string(deploy.join(file))?).await.map_err(|error| error.while_doing(format!("deploy/{file}")))?;
    }
    let established = |crd: &Value| {
        crd.pointer("/status/conditions")
            .and_then(Value::as_array)
            .is_some_and(|all| all.iter().any(|condition| condition["type"] == "Established" && condition["status"] == "True"))
    };
    let crd = ("apiextensions.k8s.io/v1", "CustomResourceDefinition", "", "syncs.plimsoll.dev");
    cluster.until(SOON, crd, "to be established", established).await.map(drop)
}

/// What a world is made of.
pub struct WorldOptions {
    binary: PathBuf,
    clusters: Vec<(String, String)>,
    agents: usize,
    files: Vec<(String, String)>,
    copied: Vec<PathBuf>,
    spec: Value,
    private: bool,
    hook: bool,
    options: ClusterOptions,
    progress: Box<dyn Fn(&str) + Send + Sync>,
    audit: Option<String>,
}

/// A repository on a forge, clusters, and agents.
pub struct World {
    /// The forge.
    pub forge: Arc<Forge>,
    /// A clone of the repository that the Syncs follow.
    pub repository: Repository,
    /// The clusters, each with what runs for it.
    pub sites: Vec<Site>,
    /// When the first commit had been pushed.
    pub pushed: Instant,
    /// The first commit.
    pub first: String,
}

/// A cluster of a world, and what runs for it.
pub struct Site {
    /// The name of the cluster; its status context is `plimsoll/NAME`.
    pub name: String,
    /// The cluster.
    pub cluster: Arc<Cluster>,
    /// The namespace of the Sync, and of objects that say none.
    pub namespace: String,
    /// The agents; one, unless asked for more.
    pub agents: Vec<Agent>,
}

impl World {
    /// A world of this agent; on the shared ground, unless told of clusters of its own.
    #[must_use]
    pub fn of(binary: impl Into<PathBuf>) -> WorldOptions {
        let spec = json!({"poll": "1s"});
        WorldOptions {
            binary: binary.into(),
            clusters: Vec::new(),
            agents: 1,
            files: Vec::new(),
            copied: Vec::new(),
            spec,
            private: false,
            hook: false,
            audit: None,
            options: ClusterOptions::default(),
            progress: Box::new(|_| ()),
        }
    }

    /// The first cluster, for worlds that have one.
    #[must_use]
    pub fn site(&self) -> &Site {
        &self.sites[0]
    }

    /// The cluster of that name.
    ///
    /// # Errors
    /// If there is none.
    pub fn site_named(&self, name: &str) -> Result<&Site> {
        self.sites.iter().find(|site| site.name == name).ok_or_else(|| Trouble::new(format!("no cluster is called {name}")))
    }

    /// The last word of each cluster on a commit.
    ///
    /// # Errors
    /// If the forge does not answer.
    pub async fn statuses(&self, commit: &str) -> Result<Vec<CommitStatus>> {
        self.forge.statuses(&self.repository.name, commit).await
    }

    /// Waits until every cluster has said `state` on a commit, and returns what they said, in the order of the clusters.
    ///
    /// # Errors
    /// With all that is known: Syncs, events, statuses, logs.
    pub async fn until_status(&self, commit: &str, state: &str) -> Result<Vec<CommitStatus>> {
        let mut all = Vec::new();
        for site in &self.sites {
            all.push(self.until_status_of(site, commit, state).await?);
        }
        Ok(all)
    }

    /// Waits until one cluster has said `state` on a commit.
    ///
    /// # Errors
    /// With all that is known: Syncs, events, statuses, logs.
    pub async fn until_status_of(&self, site: &Site, commit: &str, state: &str) -> Result<CommitStatus> {
        let context = site.context();
        let found = until(&format!("'{state}' of {context} on {commit}"), SOON, async || {
            let statuses = self.statuses(commit).await?;
            let seen = format!("{statuses:?}");
            let said = statuses.into_iter().find(|status| status.context == context && status.state == state);
            said.ok_or_else(|| Trouble::new(seen))
        })
        .await;
        self.explained(found, commit).await
    }

    /// Waits until every Sync is at a commit and in a state, as `InSync`.
    ///
    /// # Errors
    /// With all that is known: Syncs, events, statuses, logs.
    pub async fn until_state(&self, commit: &str, state: &str) -> Result {
        for site in &self.sites {
            let wanted = |sync: &Value| {
                sync.pointer("/status/revision/commit") == Some(&json!(commit)) && sync.pointer("/status/state") == Some(&json!(state))
            };
            let found = site.until_sync(&format!("to be {state} at {commit}"), wanted).await;
            self.explained(found, commit).await?;
        }
        Ok(())
    }

    /// Adds all that is known to a trouble.
    ///
    /// # Errors
    /// The trouble itself.
    pub async fn explained<T>(&self, result: Result<T>, commit: &str) -> Result<T> {
        match result {
            Ok(found) => Ok(found),
            Err(trouble) => Err(Trouble::new(format!("{trouble}\n{}", self.seen(commit).await))),
        }
    }

    /// All that is known: Syncs, events, statuses, the ends of the logs.
    pub async fn seen(&self, commit: &str) -> String {
        let mut text = format!("── statuses on {commit}\n{:#?}\n", self.statuses(commit).await);
        for site in &self.sites {
            text += &site.seen().await;
        }
        text
    }
}

impl Site {
    /// The context of its commit statuses.
    #[must_use]
    pub fn context(&self) -> String {
        format!("plimsoll/{}", self.name)
    }

    /// The agent, for sites that have one.
    #[must_use]
    pub fn agent(&self) -> &Agent {
        &self.agents[0]
    }

    /// The Sync as it is now.
    ///
    /// # Errors
    /// If there is none.
    pub async fn sync(&self) -> Result<Value> {
        let sync = self.cluster.get("plimsoll.dev/v1alpha1", "Sync", &self.namespace, SYNC).await?;
        sync.ok_or_else(|| Trouble::new(format!("no Sync {}/{SYNC} in cluster {}", self.namespace, self.name)))
    }

    /// Changes the spec of the Sync by a merge patch.
    ///
    /// # Errors
    /// If the API server refuses.
    pub async fn patch_sync(&self, spec: Value) -> Result<Value> {
        self.cluster.patch("plimsoll.dev/v1alpha1", "Sync", &self.namespace, SYNC, "lab", &json!({"spec": spec})).await
    }

    /// Waits until the Sync tells of a drift of an object whose name ends so, in this state (`healed`, `refused`, ...), and gives what it tells.
    ///
    /// # Errors
    /// With what the Sync says instead, if it does not.
    pub async fn until_told(&self, object: &str, state: &str) -> Result<Value> {
        let told = |sync: &Value| {
            let drifts = sync["status"]["drift"].as_array().cloned().unwrap_or_default();
            drifts.into_iter().find(|drift| drift["object"].as_str().is_some_and(|text| text.ends_with(object)) && drift["state"] == state)
        };
        let sync = self.until_sync(&format!("to tell that {object} is {state}"), |sync| told(sync).is_some()).await?;
        Ok(told(&sync).unwrap_or_default())
    }

    /// Waits until the Sync is as `wanted` says, and returns it.
    ///
    /// # Errors
    /// With the Sync as it was last seen.
    pub async fn until_sync(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
        self.cluster.until(SOON, ("plimsoll.dev/v1alpha1", "Sync", &self.namespace, SYNC), what, wanted).await
    }

    /// Reads an object in the namespace of the Sync; none if there is none.
    ///
    /// # Errors
    /// If the API server does not answer.
    pub async fn get(&self, api_version: &str, kind: &str, name: &str) -> Result<Option<Value>> {
        self.cluster.get(api_version, kind, &self.namespace, name).await
    }

    /// Waits until an object in the namespace of the Sync is as `wanted` says, and returns it.
    ///
    /// # Errors
    /// With the object as it was last seen.
    pub async fn until(&self, (api_version, kind, name): (&str, &str, &str), what: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
        self.cluster.until(SOON, (api_version, kind, &self.namespace, name), what, wanted).await
    }

    /// Waits until an object in the namespace of the Sync is gone.
    ///
    /// # Errors
    /// If it stays.
    pub async fn until_gone(&self, (api_version, kind, name): (&str, &str, &str)) -> Result {
        until(&format!("{kind} {name} to be gone"), SOON, async || match self.get(api_version, kind, name).await? {
            None => Ok(()),
            Some(_) => Err(Trouble::new("it is still there")),
        })
        .await
    }

    /// Waits until an event in the namespace of the Sync contains a text, and returns it.
    ///
    /// # Errors
    /// With the events that there were.
    pub async fn until_event(&self, text: &str) -> Result<String> {
        until(&format!("an event with '{text}' in cluster {}", self.name), SOON, async || {
            let events = self.cluster.events(&self.namespace).await?;
            events.iter().find(|event| event.contains(text)).cloned().ok_or_else(|| Trouble::new(events.join("\n")))
        })
        .await
    }

    async fn seen(&self) -> String {
        let sync = match self.sync().await {
            Ok(sync) => serde_yaml::to_string(&json!({"spec": sync["spec"], "status": sync["status"]})).unwrap_or_default(),
            Err(trouble) => trouble.to_string(),
        };
        let events = self.cluster.events(&self.namespace).await.map_or_else(|trouble| trouble.to_string(), |events| events.join("\n"));
        let logs: Vec<String> = self.agents.iter().map(Agent::tail).collect();
        format!("── cluster {}: Sync\n{sync}── events\n{events}\n── agent log\n{}\n", self.name, logs.join("\n──\n"))
    }

    /// Makes the Secret and the Sync, and its push hook where asked.
    async fn follow(&self, repository: &Repository, options: &WorldOptions, forge: &Forge) -> Result {
        let metadata = |name: &str| json!({"name": name, "namespace": self.namespace});
        let secret =
            |name: &str, entries: Value| json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata(name), "stringData": entries});
        let credentials = json!({"username": crate::USER, "password": forge.token()});
        self.cluster.apply_object(&secret(SECRET, credentials)).await?;
        let mut spec = json!({"url": repository.url, "secretRef": {"name": SECRET}});
        if options.hook {
            self.cluster.apply_object(&secret(HOOK, json!({"secret": HOOK_SECRET}))).await?;
            spec["hook"] = json!({"secretRef": {"name": HOOK}});
        }
        merge(&mut spec, &options.spec);
        let sync = json!({"apiVersion": "plimsoll.dev/v1alpha1", "kind": "Sync", "metadata": metadata(SYNC), "spec": spec});
        self.cluster.apply_object(&sync).await?;
        if options.hook {
            forge.webhook(&repository.name, &self.agents[0].hook_url(&self.namespace, SYNC), HOOK_SECRET).await?;
        }
        Ok(())
    }
}

impl WorldOptions {
    /// Clusters of its own, each by its provider's ID of a node, and named after its scheme: `aws`, `gce`, `hcloud`.
    #[must_use]
    pub fn clusters<'a>(mut self, providers: impl IntoIterator<Item = &'a str>) -> Self {
        for id in providers {
            let scheme = id.split(':').next().unwrap_or(id).to_owned();
            let taken = self.clusters.iter().filter(|(name, _)| name.split('-').next() == Some(&scheme)).count();
            let name = if taken == 0 { scheme } else { format!("{scheme}-{}", taken + 1) };
            self.clusters.push((name, id.to_owned()));
        }
        self
    }

    /// A cluster of its own with a name of your choice.
    #[must_use]
    pub fn cluster(mut self, name: &str, provider: &str) -> Self {
        self.clusters.push((name.to_owned(), provider.to_owned()));
        self
    }

    /// What is not as usual with its clusters.
    #[must_use]
    pub fn cluster_options(mut self, options: ClusterOptions) -> Self {
        self.options = options;
        self
    }

    /// Hears of each part that is up.
    #[must_use]
    pub fn progress(mut self, hear: impl Fn(&str) + Send + Sync + 'static) -> Self {
        self.progress = Box::new(hear);
        self
    }

    /// How many agents a cluster has; one leads each Sync, the others stand by.
    #[must_use]
    pub fn agents(mut self, count: usize) -> Self {
        self.agents = count;
        self
    }

    /// How often its agents audit an object, as `1s`.
    #[must_use]
    pub fn audit(mut self, every: &str) -> Self {
        self.audit = Some(every.to_owned());
        self
    }

    /// A file of the first commit.
    #[must_use]
    pub fn file(mut self, path: &str, text: &str) -> Self {
        self.files.push((path.to_owned(), text.to_owned()));
        self
    }

    /// A directory whose contents are in the first commit, as one of `examples/`.
    #[must_use]
    pub fn copy_of(mut self, directory: impl Into<PathBuf>) -> Self {
        self.copied.push(directory.into());
        self
    }

    /// More of the Sync's spec; it overrides what a world says by itself (`poll: 1s`).
    #[must_use]
    pub fn spec(mut self, spec: Value) -> Self {
        merge(&mut self.spec, &spec);
        self
    }

    /// The repository is private: without the Secret there is nothing to see.
    #[must_use]
    pub fn private(mut self) -> Self {
        self.private = true;
        self
    }

    /// The forge tells the first agent of each cluster of every push.
    #[must_use]
    pub fn hook(mut self) -> Self {
        self.hook = true;
        self
    }

    /// Starts what is missing, pushes the first commit, and starts the agents. It does not wait for what they do.
    ///
    /// # Errors
    /// With the part that does not come up.
    pub async fn start(self) -> Result<World> {
        let (forge, clusters) = self.ground().await?;
        for cluster in &clusters {
            install(cluster).await?;
            (self.progress)(&format!("deploy/ is installed in {}", cluster.name));
        }
        let repository = self.repository(&forge).await?;
        let first = repository.push("The first commit")?;
        let pushed = Instant::now();
        (self.progress)(&format!("pushed {} to {}", &first[..7], repository.url));
        let mut sites = Vec::new();
        for cluster in clusters {
            let site = self.site(cluster, &repository, &forge).await?;
            (self.progress)(&format!("an agent follows it for {}", site.name));
            sites.push(site);
        }
        Ok(World { forge, repository, sites, pushed, first })
    }

    async fn site(&self, cluster: Arc<Cluster>, repository: &Repository, forge: &Forge) -> Result<Site> {
        let shared = self.clusters.is_empty();
        let namespace = if shared { cluster.namespace("world").await? } else { SYSTEM.to_owned() };
        let mut site = Site { name: cluster.name.clone(), cluster, namespace, agents: Vec::new() };
        for number in 1..=self.agents {
            site.agents.push(Agent::start(&site.cluster, self.agent_of(&site, shared, number)).await?);
        }
        site.follow(repository, self, forge).await?;
        Ok(site)
    }

    fn agent_of(&self, site: &Site, shared: bool, number: usize) -> AgentOptions {
        AgentOptions {
            binary: self.binary.clone(),
            identity: format!("{}-{}-{number}", site.name, site.namespace),
            cluster_name: site.name.clone(),
            namespace: shared.then(|| site.namespace.clone()),
            audit: self.audit.clone(),
        }
    }

    async fn ground(&self) -> Result<(Arc<Forge>, Vec<Arc<Cluster>>)> {
        if self.clusters.is_empty() {
            let ground = ground().await?;
            return Ok((ground.forge.clone(), vec![ground.cluster.clone()]));
        }
        let mut starting = tokio::task::JoinSet::new();
        for (number, (name, provider)) in self.clusters.iter().cloned().enumerate() {
            let options = self.options.clone();
            starting.spawn(async move { Ok::<_, Trouble>((number, Cluster::start(&name, &[&provider], options).await?)) });
        }
        let forge = Forge::start().await?;
        (self.progress)(&format!("the forge is up: {}", forge.url()));
        let mut clusters = Vec::new();
        while let Some(cluster) = starting.join_next().await {
            clusters.push(cluster??);
            (self.progress)(&format!("{} of {} clusters are up", clusters.len(), self.clusters.len()));
        }
        clusters.sort_by_key(|(number, _)| *number);
        Ok((Arc::new(forge), clusters.into_iter().map(|(_, cluster)| Arc::new(cluster)).collect()))
    }

    async fn repository(&self, forge: &Forge) -> Result<Repository> {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let repository = forge.repository(&format!("world-{}", NEXT.fetch_add(1, Ordering::Relaxed))).await?;
        if self.private {
            forge.set_private(&repository.name, true).await?;
        }
        self.copied.iter().try_for_each(|directory| repository.copy_in(directory))?;
        self.files.iter().try_for_each(|(path, text)| repository.write(path, text))?;
        Ok(repository)
    }
}

/// Puts one JSON value over another, as a merge patch does.
fn merge(under: &mut Value, over: &Value) {
    match (under, over) {
        (Value::Object(under), Value::Object(over)) => {
            over.iter().for_each(|(key, value)| merge(under.entry(key).or_insert(Value::Null), value))
        }
        (under, over) => *under = over.clone(),
    }
}
