//! Tells what came of a commit: the commit status on the forge, the Sync's status, events, and the log.
//!
//! What is said is decided in `report` and `ledger`; here it is carried out, beside the sync and never in its way.

use std::cell::RefCell;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{Instant, sleep_until};

use crate::api::{RevisionStatus, SyncStatus};
use crate::cluster::{Cluster, EventKind};
use crate::forge::{CommitStatus, Forge};
use crate::ledger::{Ledger, Next};
use crate::report::{self, Report, State};
use crate::sync::Leader;

/// How often the state is looked at while it changes without rest.
const LOOK: Duration = Duration::from_millis(100);
/// How often the Sync's status is written while only numbers change.
const WRITE: Duration = Duration::from_secs(1);
/// How long to wait before a status that could not be written is tried again.
const AGAIN: Duration = Duration::from_secs(5);

/// What is needed to tell the world of one Sync.
pub struct Teller<'a> {
    /// Whose state is told.
    pub leader: &'a Leader,
    /// The API server as the agent itself uses it.
    pub cluster: &'a Cluster,
    /// Where commit statuses go; none if the repository is on no forge that we know.
    pub forge: Option<Forge>,
    /// The context of the commit status, as `plimsoll/prod-eu-1`.
    pub context: String,
    /// What was said and is to be said.
    pub ledger: RefCell<Ledger>,
}

/// What was told last, so that nothing is told twice.
struct Told {
    status: SyncStatus,
    /// The state and commit of the last event.
    event: Option<(State, String, String)>,
    write_at: Instant,
}

impl Teller<'_> {
    /// Tells until it is dropped.
    pub async fn tell(&self) -> std::convert::Infallible {
        let mut told = Told { status: self.leader.sync.status.clone().unwrap_or_default(), event: None, write_at: Instant::now() };
        loop {
            let changed = self.leader.changed.notified();
            let report = self.leader.state.borrow_mut().report(Timestamp::now());
            self.say(&report);
            let post_at = self.post().await;
            self.write(&report, &mut told).await;
            self.event(&report, &mut told).await;
            let wake = [Some(post_at), (told.status != self.status(&report, &told)).then_some(told.write_at), self.deadline()];
            let wake = wake.into_iter().flatten().min().unwrap_or_else(far);
            tokio::select! {
                () = changed => {}
                () = sleep_until(wake) => {}
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// A commit is told what it did; that its repository can't be read is no news about it.
    fn say(&self, report: &Report) {
        if report.commit.is_empty() || self.forge.is_none() {
            return;
        }
        self.ledger.borrow_mut().say(&report.commit, &self.context, report::verdict(report), Timestamp::now());
    }

    /// Sends what is due. Returns when to ask again.
    async fn post(&self) -> Instant {
        let Some(forge) = &self.forge else { return far() };
        loop {
            let next = self.ledger.borrow_mut().next(Timestamp::now());
            let posting = match next {
                Next::Post(posting) => posting,
                Next::At(time) => return Instant::now() + until(time),
                Next::Nothing => return far(),
            };
            let status = CommitStatus::of(&posting);
            let outcome = forge.post(&posting.commit, &status).await;
            self.leader.metrics.commit_status(&outcome);
            let mut ledger = self.ledger.borrow_mut();
            match outcome {
                Ok(()) => ledger.confirmed(&posting.commit, &posting.context, Timestamp::now()),
                Err(error) => {
                    tracing::warn!(commit = %posting.commit, %error, "Could not post the commit status.");
                    ledger.failed(&posting.commit, &posting.context, error.then(), Timestamp::now(), crate::agent::random());
                }
            }
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.leader.state.borrow().next_deadline().map(|time| Instant::now() + until(time))
    }

    /// The Sync's status as it should be; times and counts are as of now.
    fn status(&self, report: &Report, told: &Told) -> SyncStatus {
        let state = self.leader.state.borrow();
        let verdict = report::verdict(report);
        let error = state.source_error.as_deref().map(report::redact);
        let said = report::state(report);
        let word = if error.is_some() { State::AgentError } else { said };
        let mut shown = report.clone();
        shown.agent_error = shown.agent_error.or_else(|| error.clone());
        let generation = self.leader.sync.metadata.generation;
        let applied = (said == State::InSync || said == State::Waiting).then(|| state.applied_at.map(|time| time.to_string())).flatten();
        let revision = RevisionStatus { short: state.short.clone(), commit: state.commit.clone(), applied };
        SyncStatus {
            observed_generation: generation,
            state: Some(word.as_str().to_owned()),
            message: Some(error.unwrap_or(verdict.description)),
            revision: (!state.commit.is_empty()).then_some(revision),
            objects: Some(i64::try_from(report.objects).unwrap_or(i64::MAX)),
            cluster: Some(state.cluster.clone()),
            conditions: report::conditions(&shown, &told.status.conditions, generation, Timestamp::now()),
            apps: state.app_statuses(),
            failures: report::failure_statuses(report),
            ledger: self.ledger.borrow().entries(),
        }
    }

    /// Writes the Sync's status if it says something new; numbers alone wait a second.
    async fn write(&self, report: &Report, told: &mut Told) {
        let status = self.status(report, told);
        let urgent = status.state != told.status.state || status.failures != told.status.failures || status.ledger != told.status.ledger;
        if status == told.status || (!urgent && Instant::now() < told.write_at) {
            return;
        }
        match self.cluster.write_status(&self.leader.sync, &status).await {
            Ok(()) => (told.status, told.write_at) = (status, Instant::now() + WRITE),
            Err(refusal) => {
                tracing::warn!(%refusal, "Could not write the status of the Sync.");
                told.write_at = Instant::now() + AGAIN;
            }
        }
    }

    /// One event for each turn that matters: what `kubectl describe` shows.
    async fn event(&self, report: &Report, told: &mut Told) {
        let (state, message) = match &self.leader.state.borrow().source_error {
            Some(error) => (State::AgentError, report::redact(error)),
            None => (report::state(report), report::verdict(report).description),
        };
        let short = self.leader.state.borrow().short.clone();
        let turn = (state, short.clone(), if state == State::InSync { String::new() } else { message.clone() });
        let worth = matches!(state, State::InSync | State::Failed | State::AgentError | State::Suspended);
        if !worth || told.event.as_ref() == Some(&turn) {
            return;
        }
        told.event = Some(turn);
        let kind = if matches!(state, State::InSync | State::Suspended) { EventKind::Normal } else { EventKind::Warning };
        let note = if short.is_empty() { message } else { format!("{short}: {message}") };
        if let Err(refusal) = self.cluster.event(&self.leader.sync, kind, state.as_str(), &note).await {
            tracing::warn!(%refusal, "Could not write an event.");
        }
    }
}

fn until(time: Timestamp) -> Duration {
    Duration::try_from(time.duration_since(Timestamp::now())).unwrap_or_default()
}

fn far() -> Instant {
    Instant::now() + Duration::from_secs(3600)
}
