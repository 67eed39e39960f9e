//! What one sync did and saw, and the words for it: on the commit, in the Sync's conditions, in the log.
//!
//! Pure: it knows no forge, no cluster, no clock. All wording is decided here, so that the commit, kubectl and the log never tell different stories.

mod redact;

use std::fmt::Write as _;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use overlays::object::{ObjectId, Origin};

use crate::api::{FailureStatus, PRUNE_ANNOTATION};

pub use redact::redact;

/// The longest description, in characters: GitHub refuses longer ones (`description is too long (maximum is 140 characters)`), and no forge shows more.
pub const DESCRIPTION_CHARS: usize = 140;
/// The longest message of a condition or a failure in the Sync's status, in characters: enough for a compiler-like error, little enough for etcd.
const MESSAGE_CHARS: usize = 1024;
/// How many failures the Sync's status lists.
pub const LISTED_FAILURES: usize = 20;
/// The shortest useful reason: below this the end of the text is cut instead.
const REASON_CHARS: usize = 24;

/// One thing that went wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failure {
    /// The app.
    pub app: String,
    /// The object; none where it is the whole app.
    pub object: Option<ObjectId>,
    /// Where the object was written in the user's repository.
    pub place: Option<Origin>,
    /// What happened and why, without the object's name: `image pull error`.
    pub reason: String,
}

/// A deletion that waits for a word; one that waits for failures to be mended is none of these.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// The app.
    pub app: String,
    /// How many objects are not deleted.
    pub count: usize,
    /// Why, in words: `12 of 15 objects of app shop would be deleted`. The app is named if the words don't.
    pub reason: String,
}

/// How far a sync has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Progress {
    /// Objects are being applied.
    #[default]
    Applying,
    /// All that can be applied is; some are not healthy yet.
    Waiting,
    /// Nothing more will happen by itself.
    Finished,
}

/// All that one sync did and saw so far.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// The commit, 40 hexadecimal digits.
    pub commit: String,
    /// When the sync began.
    pub started: Timestamp,
    /// How long it has taken so far, or took in all.
    pub took: Duration,
    /// How far it has come.
    pub progress: Progress,
    /// How many objects the revision has for this cluster.
    pub objects: usize,
    /// How many of them the API server has accepted, those found unchanged among them.
    pub applied: usize,
    /// How many of them were created or changed by this sync.
    pub changed: usize,
    /// How many objects were deleted and are confirmed gone.
    pub deleted: usize,
    /// How many objects were seen healthy.
    pub healthy: usize,
    /// One object that is not healthy yet, and what it waits for.
    pub waiting: Option<(ObjectId, String)>,
    /// How many objects are not healthy yet.
    pub waiting_count: usize,
    /// What went wrong, causes before what they blocked.
    pub failures: Vec<Failure>,
    /// Deletions that wait for a word.
    pub held: Vec<Held>,
    /// How many fields were taken from other field managers.
    pub conflicts: usize,
    /// Why the agent itself could not do its work: no access to the repository, to the API server, ...
    pub agent_error: Option<String>,
    /// How many objects are not as Git says, and it was told.
    pub drifts: usize,
    /// The worst of them in words: `Deployment web/api replicas 3 → 5 by kubectl-scale`.
    pub drift: Option<String>,
    /// Whether nothing may be changed.
    pub suspended: bool,
    /// Until when, if it is for the time of a freeze.
    pub frozen_until: Option<Timestamp>,
}

/// What a report comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Healthy, all of it.
    InSync,
    /// Objects are being applied.
    Syncing,
    /// Applied, not healthy yet.
    Waiting,
    /// The revision cannot be made live as it is.
    Failed,
    /// The revision was live, and somebody has changed it since.
    Drifted,
    /// The agent could not do its work.
    AgentError,
    /// Left as it is, by request.
    Suspended,
}

impl State {
    /// The word in the Sync's status, in a condition's reason and in a metric's label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InSync => "InSync",
            Self::Syncing => "Syncing",
            Self::Waiting => "Waiting",
            Self::Failed => "Failed",
            Self::Drifted => "Drifted",
            Self::AgentError => "AgentError",
            Self::Suspended => "Suspended",
        }
    }

    /// The state that forges know for it.
    pub fn on_commit(self) -> CommitState {
        match self {
            Self::InSync => CommitState::Success,
            Self::Syncing | Self::Waiting | Self::Suspended => CommitState::Pending,
            Self::Failed | Self::Drifted => CommitState::Failure,
            Self::AgentError => CommitState::Error,
        }
    }
}

/// The states that every forge knows. `warning` is not among them: what it means has changed twice in Gitea.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum CommitState {
    /// Not known yet.
    #[default]
    Pending,
    /// Good.
    Success,
    /// The commit is at fault.
    Failure,
    /// The one who should judge could not.
    Error,
}

impl CommitState {
    /// The word in the APIs of Gitea, Forgejo and GitHub.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Error => "error",
        }
    }

    /// Reads the word of [`CommitState::as_str`].
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Pending, Self::Success, Self::Failure, Self::Error].into_iter().find(|state| state.as_str() == word)
    }
}

/// The one word that the commit gets, and the line beside it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// The word.
    pub state: CommitState,
    /// One line, at most [`DESCRIPTION_CHARS`] characters, without credentials.
    pub description: String,
}

impl Verdict {
    /// A verdict whose description is fit for the public.
    pub fn new(state: CommitState, description: &str) -> Self {
        Self { state, description: cut(&redact(description), DESCRIPTION_CHARS) }
    }

    /// What a commit gets that another one replaced: before it was applied, or before all of it was `healthy`.
    pub fn superseded(by: &str, was_applied: bool) -> Self {
        let end = if was_applied { "healthy" } else { "applied" };
        Self::new(CommitState::Success, &format!("Superseded by {} before it was {end}", short(by)))
    }

    /// Whether the other one says nothing that this one does not: the time that a sync took is no news.
    pub fn same_news(&self, other: &Self) -> bool {
        self.state == other.state && without_time(&self.description) == without_time(&other.description)
    }

    /// Whether it says that all was applied and only health is missing.
    pub fn is_waiting(&self) -> bool {
        self.state == CommitState::Pending && self.description.starts_with(WAITING)
    }
}

/// How the description of a commit that is applied but not healthy begins.
const WAITING: &str = "Waiting for health";

/// What a report comes to: the worst news that it holds. Green is said only if every object was seen healthy.
pub fn state(report: &Report) -> State {
    let done =
        report.applied >= report.objects && report.healthy >= report.objects && report.waiting.is_none() && report.waiting_count == 0;
    if report.agent_error.is_some() {
        State::AgentError
    } else if !report.failures.is_empty() || !report.held.is_empty() {
        State::Failed
    } else if !report.suspended && (report.progress == Progress::Applying || report.applied < report.objects) {
        State::Syncing
    } else if report.drifts > 0 {
        State::Drifted
    } else if report.suspended {
        State::Suspended
    } else if report.progress == Progress::Finished && done {
        State::InSync
    } else {
        State::Waiting
    }
}

/// The one word that the commit gets, and the line beside it.
pub fn verdict(report: &Report) -> Verdict {
    let state = state(report);
    Verdict::new(state.on_commit(), &description(report, state, DESCRIPTION_CHARS))
}

fn description(report: &Report, state: State, limit: usize) -> String {
    match state {
        State::AgentError => format!("Agent error: {}", report.agent_error.as_deref().unwrap_or_default()),
        State::Failed => failed(report, limit),
        State::Drifted => drifted(report, limit),
        State::Suspended => match report.frozen_until {
            Some(until) => format!("Suspended: nothing is changed until {}", until.strftime("%Y-%m-%d %H:%M UTC")),
            None => "Suspended".to_owned(),
        },
        State::Syncing => format!("Syncing: {} of {} applied", report.applied, report.objects),
        State::Waiting => waiting(report, limit),
        State::InSync => format!("In sync: {} in {}", count(report.objects, "object"), time(report.took)),
    }
}

/// `Waiting for health: Deployment web/api (3 of 42 left)`.
fn waiting(report: &Report, limit: usize) -> String {
    let left = report.waiting_count.max(report.objects.saturating_sub(report.healthy)).max(1);
    let left = format!(" ({left} of {} left)", report.objects.max(left));
    match &report.waiting {
        Some((object, _)) => {
            let head = format!("{WAITING}: {object}");
            format!("{}{left}", cut(&head, limit.saturating_sub(chars(&left))))
        }
        None => format!("{WAITING}{left}"),
    }
}

/// `Drifted: Deployment web/api replicas 3 → 5 by kubectl-scale, 1 more`.
fn drifted(report: &Report, limit: usize) -> String {
    let more = report.drifts.saturating_sub(1);
    let more = if more > 0 { format!(", {more} more") } else { String::new() };
    fit("Drifted: ", &redact(report.drift.as_deref().unwrap_or_default()), &more, limit)
}

/// `Failed: Deployment web/api: image pull error, apps/web/api.yaml:12 (1 of 42)`: the first failure is named, the others are counted.
fn failed(report: &Report, limit: usize) -> String {
    match (report.failures.first(), report.held.first()) {
        (Some(failure), _) => {
            let place = place(failure).map(|place| format!(", {place}")).unwrap_or_default();
            let tail = format!("{place}{}", tally(report));
            fit(&format!("Failed: {}: ", subject(failure)), &redact(&failure.reason), &tail, limit)
        }
        (None, Some(held)) => {
            let app = if held.reason.contains(&held.app) { String::new() } else { format!("app {}: ", held.app) };
            fit(&format!("Failed: {app}"), &redact(&held.reason), &held_tail(report), limit)
        }
        (None, None) => "Failed".to_owned(),
    }
}

/// `apps/web/api.yaml:12` for an object; to the column where the text itself is wrong; the file alone where it is wrong as a whole.
fn place(failure: &Failure) -> Option<String> {
    let origin = failure.place.as_ref()?;
    Some(match (origin.line, origin.column) {
        (0, _) => origin.file.to_string(),
        (_, column) if column > 0 && failure.object.is_none() => format!("{origin}:{column}"),
        _ => origin.to_string(),
    })
}

fn subject(failure: &Failure) -> String {
    match &failure.object {
        Some(object) => object.to_string(),
        None if failure.app.is_empty() => "the repository".to_owned(),
        None => format!("app {}", failure.app),
    }
}

/// ` (1 of 42)` where objects failed; ` (and 2 more)` where apps did, for they are no part of the objects; then the deletions that wait.
fn tally(report: &Report) -> String {
    let failures = report.failures.len();
    let all_objects = report.failures.iter().all(|failure| failure.object.is_some());
    let held: usize = report.held.iter().map(|held| held.count).sum();
    let mut words = Vec::new();
    if all_objects && failures <= report.objects {
        words.push(format!("{failures} of {}", report.objects));
    } else if failures > 1 {
        words.push(format!("and {} more", failures - 1));
    }
    if held > 0 {
        words.push(format!("{} held", count(held, "deletion")));
    }
    if words.is_empty() { String::new() } else { format!(" ({})", words.join(", ")) }
}

fn held_tail(report: &Report) -> String {
    let others = report.held.len().saturating_sub(1);
    let others = if others > 0 { format!(" (and {others} more)") } else { String::new() };
    format!("; set {PRUNE_ANNOTATION}: allow to let them go{others}")
}

/// Joins the parts so that all fit into `limit` characters; the middle is cut first, for the name and the place are what people search for.
fn fit(head: &str, middle: &str, tail: &str, limit: usize) -> String {
    let room = limit.saturating_sub(chars(head) + chars(tail));
    if room >= REASON_CHARS.min(chars(middle)) {
        format!("{head}{}{tail}", cut(middle, room))
    } else {
        cut(&format!("{head}{middle}{tail}"), limit)
    }
}

/// The first `limit` characters, the last of them an ellipsis if some are missing.
fn cut(text: &str, limit: usize) -> String {
    if chars(text) <= limit {
        return text.to_owned();
    }
    let mut out: String = text.chars().take(limit.saturating_sub(1)).collect();
    out.truncate(out.trim_end().len());
    out.push('…');
    out
}

fn chars(text: &str) -> usize {
    text.chars().count()
}

fn count(number: usize, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

/// The first seven digits of a commit, as Git and the forges show it.
fn short(commit: &str) -> &str {
    commit.get(..7).unwrap_or(commit)
}

/// `0.4 s`, `3 s`, `2 min 5 s`, `1 h 2 min`.
fn time(took: Duration) -> String {
    let seconds = took.as_secs();
    match seconds {
        0 => format!("{:.1} s", f64::from(took.subsec_millis() / 100) / 10.0),
        1..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

/// A description without the time at its end: `In sync: 42 objects`.
fn without_time(description: &str) -> &str {
    match description.rsplit_once(" in ") {
        Some((head, time)) if description.starts_with("In sync") && time.starts_with(|c: char| c.is_ascii_digit()) => head,
        _ => description,
    }
}

/// `Ready`, `Reconciling` and `Stalled`, as kstatus reads them: `Ready` is always there; the two others only while they are true.
///
/// `Stalled` is said when nothing will change without a new commit; an agent error mends itself or is retried, so it is not that.
/// `previous` are the conditions in the Sync's status: a time of transition is kept as long as the status is the same.
pub fn conditions(report: &Report, previous: &[Condition], generation: Option<i64>, now: Timestamp) -> Vec<Condition> {
    let state = state(report);
    let message = cut(&redact(&message(report, state)), MESSAGE_CHARS);
    let ready = match state {
        State::InSync => "True",
        State::Failed | State::Drifted | State::AgentError => "False",
        State::Syncing | State::Waiting | State::Suspended => "Unknown",
    };
    let moving = report.progress != Progress::Finished && !report.suspended && state != State::AgentError;
    let stalled = state == State::Failed && report.progress == Progress::Finished;
    [("Ready", ready, true), ("Reconciling", "True", moving), ("Stalled", "True", stalled)]
        .into_iter()
        .filter(|(_, _, present)| *present)
        .map(|(kind, status, _)| Condition {
            type_: kind.to_owned(),
            status: status.to_owned(),
            reason: state.as_str().to_owned(),
            message: message.clone(),
            observed_generation: generation,
            last_transition_time: Time(transition(previous, kind, status, now)),
        })
        .collect()
}

fn transition(previous: &[Condition], kind: &str, status: &str, now: Timestamp) -> Timestamp {
    previous
        .iter()
        .find(|condition| condition.type_ == kind && condition.status == status)
        .map_or(now, |condition| condition.last_transition_time.0)
}

/// As the description, with what the waiting object says.
fn message(report: &Report, state: State) -> String {
    let text = description(report, state, MESSAGE_CHARS);
    match (&report.waiting, state) {
        (Some((_, why)), State::Waiting) if !why.is_empty() => format!("{text}: {why}"),
        _ => text,
    }
}

/// The failures as the Sync's status lists them: the first twenty, without credentials.
pub fn failure_statuses(report: &Report) -> Vec<FailureStatus> {
    let listed = report.failures.iter().take(LISTED_FAILURES);
    listed
        .map(|failure| FailureStatus {
            app: failure.app.clone(),
            object: failure.object.as_ref().map(ObjectId::to_string).unwrap_or_default(),
            place: place(failure).unwrap_or_default(),
            message: cut(&redact(&failure.reason), MESSAGE_CHARS),
        })
        .collect()
}

/// One line for the log: cause, revision, state, counts, time.
///
/// `cause` is why the sync began (`push`), `revision` what it is about (`main@1a2b3c4`).
pub fn summary(report: &Report, cause: &str, revision: &str) -> String {
    let state = state(report);
    let mut line = format!("{cause} {revision}: {}", description(report, state, MESSAGE_CHARS));
    let numbers = [
        (report.applied, "applied"),
        (report.changed, "changed"),
        (report.deleted, "deleted"),
        (report.healthy, "healthy"),
        (report.failures.len(), "failed"),
        (report.held.iter().map(|held| held.count).sum(), "held"),
        (report.conflicts, "taken over"),
    ];
    let _ = write!(line, "; of {}", count(report.objects, "object"));
    for (number, word) in numbers.into_iter().filter(|(number, _)| *number > 0) {
        let _ = write!(line, ", {number} {word}");
    }
    let _ = write!(line, "; {:.1} s", report.took.as_secs_f64());
    redact(&line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use overlays::path::RepoPath;

    fn object(kind: &str, namespace: &str, name: &str) -> ObjectId {
        ObjectId { group: String::new(), kind: kind.into(), namespace: namespace.into(), name: name.into() }
    }

    fn place(file: &str, line: u32) -> Origin {
        Origin { file: RepoPath::new(file).unwrap(), line, column: 1 }
    }

    fn in_sync() -> Report {
        let commit = "1a2b3c4d5e6f7a8b9c0d1a2b3c4d5e6f7a8b9c0d".to_owned();
        let counts = Report { objects: 42, applied: 42, healthy: 42, ..Report::default() };
        Report { commit, took: Duration::from_millis(3400), progress: Progress::Finished, ..counts }
    }

    fn api_failure(reason: &str) -> Failure {
        let object = Some(object("Deployment", "web", "api"));
        Failure { app: "web".into(), object, place: Some(place("apps/web/api.yaml", 12)), reason: reason.into() }
    }

    fn check(change: impl FnOnce(&mut Report), state: CommitState, description: &str) {
        let mut report = in_sync();
        change(&mut report);
        assert_eq!(verdict(&report), Verdict { state, description: description.into() });
    }

    #[test]
    fn a_commit_is_told_in_the_words_of_the_design() {
        use CommitState::*;
        check(|_| {}, Success, "In sync: 42 objects in 3 s");
        check(|r| (r.objects, r.applied, r.healthy, r.took) = (1, 1, 1, Duration::from_millis(450)), Success, "In sync: 1 object in 0.4 s");
        check(|r| r.took = Duration::from_secs(125), Success, "In sync: 42 objects in 2 min 5 s");
        check(|r| (r.progress, r.applied, r.healthy) = (Progress::Applying, 12, 3), Pending, "Syncing: 12 of 42 applied");
        let wait = |r: &mut Report| {
            (r.progress, r.healthy, r.waiting_count) = (Progress::Waiting, 39, 3);
            r.waiting = Some((object("Deployment", "web", "api"), "1 of 3 replicas are ready".into()));
        };
        check(wait, Pending, "Waiting for health: Deployment web/api (3 of 42 left)");
        let fail = |r: &mut Report| r.failures = vec![api_failure("image pull error")];
        check(fail, Failure, "Failed: Deployment web/api: image pull error, apps/web/api.yaml:12 (1 of 42)");
        let error = |r: &mut Report| r.agent_error = Some("no permission to patch Deployment in web".into());
        check(error, Error, "Agent error: no permission to patch Deployment in web");
        check(|r| r.suspended = true, Pending, "Suspended");
        let hold = |r: &mut Report| {
            r.held = vec![Held { app: "shop".into(), count: 12, reason: "12 of 15 objects of app shop would be deleted".into() }];
        };
        check(hold, Failure, "Failed: 12 of 15 objects of app shop would be deleted; set plimsoll.dev/prune: allow to let them go");
        let hold = |r: &mut Report| r.held = vec![Held { app: "shop".into(), count: 2, reason: "2 kept: nothing is rendered".into() }; 2];
        let expected = "Failed: app shop: 2 kept: nothing is rendered; set plimsoll.dev/prune: allow to let them go (and 1 more)";
        check(hold, Failure, expected);
        let superseded = Verdict::superseded("1a2b3c4d5e6f7a8b9c0d1a2b3c4d5e6f7a8b9c0d", false);
        assert_eq!(superseded.description, "Superseded by 1a2b3c4 before it was applied");
        assert_eq!(superseded.state, Success);
    }

    #[test]
    fn green_is_never_said_by_silence() {
        let check = |change: fn(&mut Report)| {
            let mut report = in_sync();
            change(&mut report);
            assert_ne!(verdict(&report).state, CommitState::Success, "{report:?}");
        };
        check(|r| r.healthy = 41);
        check(|r| r.applied = 41);
        check(|r| r.waiting_count = 1);
        check(|r| r.waiting = Some((ObjectId::default(), String::new())));
        check(|r| r.progress = Progress::Waiting);
        check(|r| r.progress = Progress::Applying);
        check(|r| r.held = vec![Held::default()]);
        check(|r| r.failures = vec![super::Failure::default()]);
        check(|r| r.agent_error = Some(String::new()));
        check(|r| r.suspended = true);
        assert_ne!(verdict(&Report::default()).state, CommitState::Success, "a report of nothing");
    }

    #[test]
    fn the_worst_news_comes_first_and_the_rest_is_counted() {
        let all = |r: &mut Report| {
            r.failures = vec![api_failure("image pull error"), api_failure("quota"), api_failure("quota")];
            r.held = vec![Held { app: "shop".into(), count: 12, reason: "12 of 15".into() }];
            r.suspended = true;
        };
        let expected = "Failed: Deployment web/api: image pull error, apps/web/api.yaml:12 (3 of 42, 12 deletions held)";
        check(all, CommitState::Failure, expected);
        let apps = |r: &mut Report| {
            let app = |name: &str| Failure { app: name.into(), reason: "apps/x.yaml:3:1: not YAML".into(), ..Failure::default() };
            r.failures = vec![app("shop"), app("web"), api_failure("quota")];
        };
        check(apps, CommitState::Failure, "Failed: app shop: apps/x.yaml:3:1: not YAML (and 2 more)");
        let repository =
            |r: &mut Report| r.failures = vec![Failure { reason: "plimsoll.yaml:3:1: unknown field".into(), ..Failure::default() }];
        check(repository, CommitState::Failure, "Failed: the repository: plimsoll.yaml:3:1: unknown field");
    }

    #[test]
    fn a_long_text_is_cut_at_140_characters_in_its_reason() {
        let text = |change: &dyn Fn(&mut Report)| {
            let mut report = in_sync();
            change(&mut report);
            verdict(&report).description
        };
        let long = text(&|r| r.failures = vec![api_failure(&"ä reason ".repeat(100))]);
        assert_eq!(chars(&long), DESCRIPTION_CHARS);
        assert!(long.starts_with("Failed: Deployment web/api: ä reason") && long.ends_with("…, apps/web/api.yaml:12 (1 of 42)"), "{long}");
        let name = text(&|r| {
            let object = Some(object("Deployment", "web", &"x".repeat(300)));
            r.failures = vec![Failure { object, ..api_failure("quota") }];
        });
        assert_eq!(chars(&name), DESCRIPTION_CHARS);
        let wait = text(&|r| {
            (r.progress, r.healthy, r.waiting_count) = (Progress::Waiting, 39, 3);
            r.waiting = Some((object("Deployment", "web", &"x".repeat(300)), String::new()));
        });
        assert!(chars(&wait) == DESCRIPTION_CHARS && wait.ends_with("… (3 of 42 left)"), "{wait}");
        assert_eq!(chars(&text(&|r| r.agent_error = Some("ß".repeat(500)))), DESCRIPTION_CHARS);
    }

    #[test]
    fn no_credential_reaches_the_commit() {
        let fetch = |r: &mut Report| r.agent_error = Some("https://me:t0ken@git.example/a.git:\nrefused".into());
        check(fetch, CommitState::Error, "Agent error: https://****@git.example/a.git: refused");
        let mut report = in_sync();
        report.failures = vec![api_failure("Authorization: Bearer 0123456789abcdef0123456789abcdef")];
        for text in [summary(&report, "push", "main@1a2b3c4"), failure_statuses(&report)[0].message.clone()] {
            assert!(text.contains("****") && !text.contains("0123456789abcdef"), "{text}");
        }
    }

    #[test]
    fn the_time_that_a_sync_took_is_no_news() {
        let said = |description: &str| Verdict::new(CommitState::Success, description);
        assert!(said("In sync: 42 objects in 3 s").same_news(&said("In sync: 42 objects in 2 min 5 s")));
        assert!(!said("In sync: 42 objects in 3 s").same_news(&said("In sync: 43 objects in 3 s")));
        let failed = |description: &str| Verdict::new(CommitState::Failure, description);
        assert!(!failed("Failed: x in 3 pods").same_news(&failed("Failed: x in 4 pods")));
    }

    fn shown(conditions: &[Condition]) -> String {
        conditions.iter().map(|c| format!("{}={}/{}", c.type_, c.status, c.reason)).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn conditions_are_what_kstatus_reads() {
        let check = |change: fn(&mut Report), expected: &str| {
            let mut report = in_sync();
            change(&mut report);
            assert_eq!(shown(&conditions(&report, &[], Some(7), Timestamp::UNIX_EPOCH)), expected);
        };
        check(|_| {}, "Ready=True/InSync");
        check(|r| (r.progress, r.applied) = (Progress::Applying, 3), "Ready=Unknown/Syncing Reconciling=True/Syncing");
        check(|r| (r.progress, r.healthy) = (Progress::Waiting, 3), "Ready=Unknown/Waiting Reconciling=True/Waiting");
        check(|r| r.failures = vec![api_failure("quota")], "Ready=False/Failed Stalled=True/Failed");
        check(
            |r| (r.progress, r.failures) = (Progress::Applying, vec![api_failure("quota")]),
            "Ready=False/Failed Reconciling=True/Failed",
        );
        check(|r| r.held = vec![Held::default()], "Ready=False/Failed Stalled=True/Failed");
        check(|r| r.agent_error = Some("x".into()), "Ready=False/AgentError");
        check(|r| r.suspended = true, "Ready=Unknown/Suspended");
    }

    #[test]
    fn a_transition_keeps_its_time_until_the_status_changes() {
        let (early, late) = (Timestamp::UNIX_EPOCH, Timestamp::from_second(60).unwrap());
        let mut report = in_sync();
        let first = conditions(&report, &[], Some(1), early);
        report.objects = 43;
        (report.applied, report.healthy) = (43, 43);
        let second = conditions(&report, &first, Some(2), late);
        assert_eq!((second[0].last_transition_time.0, second[0].observed_generation), (early, Some(2)));
        assert!(second[0].message.contains("43 objects"));
        report.failures = vec![api_failure("quota")];
        assert!(conditions(&report, &second, Some(2), late).iter().all(|c| c.last_transition_time.0 == late));
    }

    #[test]
    fn a_condition_says_what_the_waiting_object_says() {
        let mut report = in_sync();
        (report.progress, report.healthy, report.waiting_count) = (Progress::Waiting, 41, 1);
        report.waiting = Some((object("Deployment", "web", "api"), "1 of 3 replicas are ready".into()));
        let ready = &conditions(&report, &[], None, Timestamp::UNIX_EPOCH)[0];
        assert_eq!(ready.message, "Waiting for health: Deployment web/api (1 of 42 left): 1 of 3 replicas are ready");
    }

    #[test]
    fn a_sync_is_one_line_in_the_log() {
        let mut report = in_sync();
        (report.changed, report.deleted, report.conflicts) = (3, 1, 2);
        let expected = "push main@1a2b3c4: In sync: 42 objects in 3 s; of 42 objects, 42 applied, 3 changed, 1 deleted, 42 healthy, 2 taken over; 3.4 s";
        assert_eq!(summary(&report, "push", "main@1a2b3c4"), expected);
    }

    #[test]
    fn at_most_twenty_failures_are_listed() {
        let mut report = in_sync();
        report.failures = vec![api_failure("quota"); 50];
        let listed = failure_statuses(&report);
        assert_eq!(listed.len(), LISTED_FAILURES);
        assert_eq!((listed[0].object.as_str(), listed[0].place.as_str()), ("Deployment web/api", "apps/web/api.yaml:12"));
    }
}
