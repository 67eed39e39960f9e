//! Tells what came of a commit: the commit status on the forge, the Sync's status, events, and the log.
//!
//! What is said is decided in `report` and `ledger`; here it is carried out, beside the sync and never in its way.

use std::cell::RefCell;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::agent::random;
use crate::api::{RevisionStatus, Sync, SyncStatus};
use crate::cluster::{Event, Events, Tone};
use crate::forge::{self, Access, CommitStatus, Forge, Found};
use crate::ledger::{Ledger, Next, Posting};
use crate::report::{self, Report, State};
use crate::secret::SafeUrl;
use crate::sync::{Leader, Note};

/// How often the state is looked at while it changes without rest.
const LOOK: Duration = Duration::from_millis(100);
/// How often the Sync's status is written while only numbers change.
const WRITE: Duration = Duration::from_secs(1);
/// How many things that happen within [`WRITE`] are told by an event each: in a storm of drift the API server has better to do.
const NOTES: usize = 5;
/// How long to wait before a status that could not be written is tried again.
const AGAIN: Duration = Duration::from_secs(5);

/// What is needed to tell the world of one Sync.
pub struct Teller<'a> {
    /// Whose state is told.
    pub leader: &'a Leader,
    /// How to get in at the forge; changes when the Secret does.
    pub access: &'a RefCell<Access>,
    /// Rung when `access` has changed.
    pub access_changed: &'a Notify,
    /// Rung when the forge refuses what `access` has.
    pub access_refused: &'a Notify,
    /// The context of the commit status, as `plimsoll/prod-eu-1`.
    pub context: String,
    /// Who tells, as events show it.
    pub identity: String,
}

/// What was told, and what is still to be.
struct Telling {
    forge: Where,
    ledger: Ledger,
    events: Events,
    /// The Sync's status as it was written last, and when it may be written again.
    written: SyncStatus,
    write_at: Instant,
    /// Whether something may not have been written yet.
    unwritten: bool,
    /// When single objects may be told of by events again.
    note_at: Instant,
    /// The last turn that an event told.
    turn: Option<(State, String, String)>,
}

/// Where commit statuses go.
enum Where {
    /// Not known yet; the forge is asked again then.
    Unknown(Instant),
    Forge(Arc<dyn Forge>),
    Nowhere,
}

impl Teller<'_> {
    /// Tells until it is dropped.
    pub async fn tell(&self) -> Infallible {
        let written = self.leader.sync.status.clone().unwrap_or_default();
        let mut telling = Telling {
            forge: Where::Unknown(Instant::now()),
            ledger: self.restored(&written),
            events: Events::new(self.leader.cluster.clone(), &self.identity),
            written,
            write_at: Instant::now(),
            unwritten: false,
            note_at: Instant::now(),
            turn: None,
        };
        loop {
            let changed = self.leader.changed.notified();
            let report = self.leader.state.borrow_mut().report(Timestamp::now());
            self.measure(&report);
            self.find_forge(&mut telling).await;
            self.say(&report, &mut telling);
            self.write(&report, &mut telling).await;
            self.event(&report, &mut telling).await;
            self.notes(&mut telling).await;
            let post_at = self.post(&mut telling).await;
            let note_at = (!self.leader.notes.borrow().is_empty()).then_some(telling.note_at);
            let wake = [post_at, telling.unwritten.then_some(telling.write_at), note_at, self.deadline()].into_iter().flatten().min();
            tokio::select! {
                () = changed => {}
                () = self.access_changed.notified() => self.knock_again(&mut telling),
                () = sleep_until(wake.unwrap_or_else(far)) => {}
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// What was said of another repository's commits is nothing that this one's forge knows.
    fn restored(&self, written: &SyncStatus) -> Ledger {
        let same = written.url.as_ref().is_none_or(|url| *url == self.url());
        if same { Ledger::restore(&written.ledger, Timestamp::now()) } else { Ledger::default() }
    }

    fn url(&self) -> String {
        SafeUrl::new(&self.leader.sync.spec.url).to_string()
    }

    fn measure(&self, report: &Report) {
        self.leader.metrics.objects(&self.leader.name, report.objects);
        self.leader.metrics.failures(&self.leader.name, report.failures.len());
        self.leader.metrics.drifted_objects(&self.leader.name, self.leader.state.borrow().drifts.count());
    }

    /// Finds out where commit statuses go, once; a forge that is away is asked again.
    async fn find_forge(&self, telling: &mut Telling) {
        let Where::Unknown(when) = telling.forge else { return };
        if Instant::now() < when {
            return;
        }
        let spec = &self.leader.sync.spec;
        let access = self.access.borrow().clone();
        telling.forge = match forge::of(&SafeUrl::new(&spec.url), spec.forge.as_ref(), &access).await {
            Ok(Found::Forge(forge)) => Where::Forge(forge),
            Ok(Found::Nobody(why)) => {
                tracing::info!(sync = %self.leader.name, "No commit statuses: {why}.");
                Where::Nowhere
            }
            Err(error) => {
                tracing::warn!(sync = %self.leader.name, %error, "Can't find out where commit statuses go.");
                Where::Unknown(Instant::now() + AGAIN)
            }
        };
    }

    fn knock_again(&self, telling: &mut Telling) {
        telling.forge = Where::Unknown(Instant::now());
        telling.ledger.credential_changed(Timestamp::now());
    }

    /// A commit is told what it did; that its repository can't be read is no news about it.
    fn say(&self, report: &Report, telling: &mut Telling) {
        if report.commit.is_empty() || matches!(telling.forge, Where::Nowhere) {
            return;
        }
        telling.ledger.say(&report.commit, &self.context, report::verdict(report), Timestamp::now());
    }

    /// Sends what is due. Returns when to ask again; none if only news matter.
    async fn post(&self, telling: &mut Telling) -> Option<Instant> {
        let forge = match &telling.forge {
            Where::Forge(forge) => forge.clone(),
            Where::Unknown(when) => return Some(*when),
            Where::Nowhere => return None,
        };
        loop {
            let posting = match telling.ledger.next(Timestamp::now()) {
                Next::Post(posting) => posting,
                Next::At(time) => return Some(Instant::now() + until(time)),
                Next::Nothing => return None,
            };
            let outcome = forge.post(&posting.commit, &CommitStatus::new(&posting.context, &posting.verdict)).await;
            self.leader.metrics.status_sent(outcome.as_ref().map_or_else(forge::Error::label, |()| "sent"));
            self.posted(telling, &posting, outcome);
        }
    }

    fn posted(&self, telling: &mut Telling, posting: &Posting, outcome: Result<(), forge::Error>) {
        let now = Timestamp::now();
        match outcome {
            Ok(()) => telling.ledger.confirmed(&posting.commit, &posting.context, now),
            Err(error) => {
                tracing::warn!(sync = %self.leader.name, commit = %posting.commit, %error, "Could not post the commit status.");
                if matches!(error, forge::Error::CredentialRefused { .. }) {
                    self.access_refused.notify_one();
                }
                telling.ledger.failed(&posting.commit, &posting.context, error.then(), now, random());
            }
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.leader.state.borrow().next_deadline(Timestamp::now()).map(|time| Instant::now() + until(time))
    }

    /// The Sync's status as it should be.
    fn status(&self, report: &Report, telling: &Telling) -> SyncStatus {
        let state = self.leader.state.borrow();
        let (word, message, shown) = told(report, state.source_error.as_deref());
        let generation = self.leader.sync.metadata.generation;
        let applied = state.applied_at.map(|time| time.to_string());
        let known = Some(&telling.written).filter(|known| known.url.as_ref() == Some(&self.url())).cloned().unwrap_or_default();
        let revision = RevisionStatus { short: state.short.clone(), commit: state.commit.clone(), applied };
        SyncStatus {
            observed_generation: generation,
            state: Some(word.as_str().to_owned()),
            message: Some(message),
            // Until this leader knows better, what the last one said: in a freeze it is what drift is told of.
            revision: (!state.commit.is_empty()).then_some(revision).or(known.revision),
            url: Some(self.url()),
            objects: Some(i64::try_from(report.objects).unwrap_or(i64::MAX)),
            cluster: Some(state.cluster.clone()),
            conditions: report::conditions(&shown, &telling.written.conditions, generation, Timestamp::now()),
            apps: state.app_statuses(),
            failures: report::failure_statuses(report),
            drift: state.drifts.statuses(),
            drifted: Some(state.drifts.count()).filter(|count| *count > 0).map(|count| i64::try_from(count).unwrap_or(i64::MAX)),
            ledger: telling.ledger.entries(),
        }
    }

    /// Writes the Sync's status if it says something new; numbers alone wait a second. It is put together only then, for it goes through all apps.
    async fn write(&self, report: &Report, telling: &mut Telling) {
        telling.unwritten = true;
        if Instant::now() < telling.write_at && !self.is_urgent(report, telling) {
            return;
        }
        let status = self.status(report, telling);
        telling.write_at = Instant::now() + WRITE;
        if status == telling.written {
            telling.unwritten = false;
            return;
        }
        match self.leader.cluster.set_status(&self.leader.sync, &status).await {
            Ok(()) => (telling.written, telling.unwritten) = (status, false),
            Err(refusal) => {
                tracing::warn!(sync = %self.leader.name, %refusal, "Could not write the status of the Sync.");
                telling.write_at = Instant::now() + AGAIN;
            }
        }
    }

    /// Whether somebody may be waiting for what is new.
    fn is_urgent(&self, report: &Report, telling: &Telling) -> bool {
        let state = self.leader.state.borrow();
        let (old, (word, _, _)) = (&telling.written, told(report, state.source_error.as_deref()));
        let drifted = old.drifted.unwrap_or_default() > 0;
        old.state.as_deref() != Some(word.as_str())
            || old.failures.len() != report.failures.len().min(report::LISTED_FAILURES)
            || drifted != (state.drifts.count() > 0)
            || old.ledger != telling.ledger.entries()
    }

    /// What happened to single objects is told where people look for it.
    async fn notes(&self, telling: &mut Telling) {
        if Instant::now() < telling.note_at || self.leader.notes.borrow().is_empty() {
            return;
        }
        telling.note_at = Instant::now() + WRITE;
        let mut notes = std::mem::take(&mut *self.leader.notes.borrow_mut());
        let more = notes.len().saturating_sub(NOTES);
        notes.truncate(NOTES);
        let reason = notes.last().map_or("Drifted", |note| note.reason);
        notes.extend((more > 0).then(|| Note { reason, text: format!("{more} more of this kind; the log names them") }));
        for note in notes {
            let event = Event { tone: Tone::Warning, reason: note.reason, action: "Apply", note: &note.text };
            if let Err(refusal) = telling.events.tell(&self.leader.sync, &event).await {
                tracing::warn!(sync = %self.leader.name, %refusal, "Could not write an event.");
            }
        }
    }

    /// One event for each turn that matters: what `kubectl describe` shows.
    async fn event(&self, report: &Report, telling: &mut Telling) {
        let (state, note, short) = {
            let known = self.leader.state.borrow();
            let (state, message, _) = told(report, known.source_error.as_deref());
            (state, message, known.short.clone())
        };
        // How long it took and how many there are is no turn.
        let turn = (state, short.clone(), if state == State::InSync { String::new() } else { note.clone() });
        if telling.turn.as_ref() == Some(&turn)
            || !matches!(state, State::InSync | State::Failed | State::Drifted | State::AgentError | State::Suspended)
        {
            return;
        }
        telling.turn = Some(turn);
        let tone = if matches!(state, State::InSync | State::Suspended) { Tone::Normal } else { Tone::Warning };
        let note = if short.is_empty() { note } else { format!("{short}: {note}") };
        let event = Event { tone, reason: state.as_str(), action: "Sync", note: &note };
        if let Err(refusal) = telling.events.tell(&self.leader.sync, &event).await {
            tracing::warn!(sync = %self.leader.name, %refusal, "Could not write an event.");
        }
    }
}

/// Resolves what a Sync that is deleted left pending; once, for there is nothing left to remember it by.
pub(crate) async fn resolve(sync: &Sync, access: &Access) {
    let entries = sync.status.as_ref().map(|status| status.ledger.as_slice()).unwrap_or_default();
    let mut ledger = Ledger::restore(entries, Timestamp::now());
    ledger.end("The Sync was deleted; what it applied stays as it is", Timestamp::now());
    let found = forge::of(&SafeUrl::new(&sync.spec.url), sync.spec.forge.as_ref(), access).await;
    let Ok(Found::Forge(forge)) = found else { return };
    while let Next::Post(posting) = ledger.next(Timestamp::now()) {
        match forge.post(&posting.commit, &CommitStatus::new(&posting.context, &posting.verdict)).await {
            Ok(()) => ledger.confirmed(&posting.commit, &posting.context, Timestamp::now()),
            Err(error) => return tracing::warn!(commit = %posting.commit, %error, "Could not resolve a pending commit status."),
        }
    }
}

/// The state, the message and the report as the Sync shows them: there, that the repository can't be read is news.
fn told(report: &Report, source_error: Option<&str>) -> (State, String, Report) {
    let mut shown = report.clone();
    if let Some(error) = source_error {
        shown.agent_error.get_or_insert_with(|| error.to_owned());
    }
    (report::state(&shown), report::verdict(&shown).description, shown)
}

fn until(time: Timestamp) -> Duration {
    Duration::try_from(time.duration_since(Timestamp::now())).unwrap_or_default()
}

fn far() -> Instant {
    Instant::now() + Duration::from_secs(3600)
}
