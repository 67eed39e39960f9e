//! What was said on which commit, what is still to be said, and when.
//!
//! Pure: it knows no forge and no clock, and sends nothing. Forges append every status that they get and count them (GitHub refuses the 1,001st on one
//! commit and context), so that saying each thing once is our task: a pair of commit and context has one thing *wanted*, one thing *said*, at most one
//! under way, and everything in between is forgotten.
//!
//! The life of a verdict: [`Ledger::say`] makes it wanted; [`Ledger::next`] hands it out once grace, spacing, budget and backoff allow it;
//! [`Ledger::confirmed`] or [`Ledger::failed`] ends the attempt. What [`Ledger::entries`] gives belongs in the Sync's status *before* an attempt is made:
//! then the next leader resolves what this one left pending.

use std::collections::VecDeque;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::api::LedgerEntry;
use crate::report::{CommitState, Verdict};

/// How many pairs of commit and context are remembered.
const REMEMBERED: usize = 20;
/// A sync that ends within this time is told once, when it has ended.
const GRACE: Duration = Duration::from_secs(3);
/// As [`GRACE`], for a commit that was judged before: a resync that finds nothing is no news.
const GRACE_WHEN_SETTLED: Duration = Duration::from_secs(30);
/// The shortest time between two texts of the same state.
const SPACING: Duration = Duration::from_secs(5);
/// Statuses that a pair may get in a row.
const BURST: f64 = 30.0;
/// What progress may not use up, so that the end of a sync is always told.
const RESERVE: f64 = 10.0;
/// A pair gets one more status in this time: with the burst, GitHub's 1,000 last for 40 days of change without rest.
const REFILL: Duration = Duration::from_secs(3600);
/// After this many statuses a pair gets one last word; GitHub refuses more than 1,000, and earlier leaders may have said some that nobody counted.
const LAST_WORD: u32 = 950;
/// The longest wait between two attempts, except for what only a person can mend.
const LONGEST_BACKOFF: Duration = Duration::from_secs(300);
/// When to try again what only a person can mend: a missing right, a repository that is not there.
const RECHECK: Duration = Duration::from_secs(3600);
/// How often an answer that may mean "unknown commit" is taken for a passing fault (Gitea answers 500 there).
const FEW: u32 = 5;
/// So many changes between settled states within [`FLAP_WINDOW`] are flapping.
const FLAPS: usize = 6;
/// How many changes are counted at most.
const CHANGES: usize = 99;
/// See [`FLAPS`].
const FLAP_WINDOW: Duration = Duration::from_secs(3600);
/// A flapping pair is believed again when it has not changed for this long; until then it gets a text as rarely.
const CALM: Duration = Duration::from_secs(600);

/// A status to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Posting {
    /// The commit.
    pub commit: String,
    /// The context.
    pub context: String,
    /// The word and the line.
    pub verdict: Verdict,
}

/// What to do now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Send this, then tell the ledger what came of it.
    Post(Posting),
    /// Ask again at this time.
    At(Timestamp),
    /// Everything is said.
    Nothing,
}

/// What an attempt that failed asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// Try again: the forge is away or in trouble.
    Retry,
    /// Try again a few times; after that it is a matter for people.
    RetryFew,
    /// The forge asks for quiet, about everything; it may say for how long.
    Pause(Option<Duration>),
    /// The credential is refused: nothing is sent until [`Ledger::credential_changed`], or an hour has passed.
    AskForCredential,
    /// A person has to change something; tried again hourly.
    Recheck,
    /// The forge doesn't know the commit (any more), or takes no more statuses for it.
    Drop,
}

/// What was said and is to be said for one Sync.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// The one said last is the last.
    pairs: Vec<Pair>,
    /// Nothing is sent before; the forge asked for it, or refused the credential.
    paused_until: Option<Timestamp>,
}

/// One commit and context.
#[derive(Clone, Debug)]
struct Pair {
    commit: String,
    context: String,
    /// What the cluster thinks.
    wanted: Verdict,
    /// Since when it wants a verdict of this state.
    since: Timestamp,
    /// What the forge has confirmed last, and when.
    said: Option<(Verdict, Timestamp)>,
    /// What is under way.
    sending: Option<Verdict>,
    /// Whether anything may have reached the forge: an attempt that timed out, or one of an earlier leader.
    touched: bool,
    /// Attempts that failed in a row.
    tries: u32,
    /// Not before.
    due: Timestamp,
    tokens: f64,
    tokens_at: Timestamp,
    posted: u32,
    /// The last judgement that was wanted, and when judgements changed.
    settled: Option<Verdict>,
    changes: VecDeque<Timestamp>,
    closed: bool,
}

impl Ledger {
    /// Takes over what an earlier leader wrote down. What was not confirmed is said again: repeating is harmless, silence is not.
    pub fn restore(entries: &[LedgerEntry], now: Timestamp) -> Self {
        let pairs = entries.iter().rev().take(REMEMBERED).rev().filter_map(|entry| Pair::restore(entry, now)).collect();
        Self { pairs, paused_until: None }
    }

    /// What the Sync's status keeps, the newest last.
    pub fn entries(&self) -> Vec<LedgerEntry> {
        self.pairs.iter().map(Pair::entry).collect()
    }

    /// Makes `verdict` what is to be said on `commit` in `context`. Other commits of the context that are pending are superseded by it.
    pub fn say(&mut self, commit: &str, context: &str, verdict: Verdict, now: Timestamp) {
        self.supersede(commit, context, now);
        let found = self.pairs.iter().position(|pair| pair.is(commit, context));
        let mut pair = match found {
            Some(index) => self.pairs.remove(index),
            None => Pair::new(commit, context, &verdict, now),
        };
        pair.want(verdict, now);
        self.pairs.push(pair);
        self.forget_oldest();
    }

    /// Resolves every other commit of the context that is pending: one that was judged before keeps that judgement; one that nobody has heard of is
    /// forgotten.
    fn supersede(&mut self, by: &str, context: &str, now: Timestamp) {
        self.pairs.retain(|pair| pair.context != context || pair.commit == by || !pair.is_pending() || pair.touched);
        for pair in self.pairs.iter_mut().filter(|pair| pair.context == context && pair.commit != by && pair.is_pending()) {
            let was_applied = pair.wanted.is_waiting();
            pair.want(pair.settled.clone().unwrap_or_else(|| Verdict::superseded(by, was_applied)), now);
        }
    }

    /// Resolves all that is pending, because nobody will come back to it: the Sync is deleted, or its context has another name now.
    pub fn end(&mut self, why: &str, now: Timestamp) {
        self.pairs.retain(|pair| !pair.is_pending() || pair.touched);
        for pair in self.pairs.iter_mut().filter(|pair| pair.is_pending()) {
            pair.want(Verdict::new(CommitState::Error, why), now);
        }
    }

    /// Bounds the ledger: first goes what is said, then what is oldest.
    fn forget_oldest(&mut self) {
        while self.pairs.len() > REMEMBERED {
            let index = self.pairs.iter().position(Pair::is_done).unwrap_or(0);
            self.pairs.remove(index);
        }
    }

    /// What to send now, or when to ask again. What it hands out counts as under way until [`Ledger::confirmed`] or [`Ledger::failed`].
    pub fn next(&mut self, now: Timestamp) -> Next {
        let pause = self.paused_until.filter(|until| *until > now);
        let mut wake: Option<Timestamp> = None;
        // The commit said last is what people look at: it goes first.
        for pair in self.pairs.iter_mut().rev() {
            match pair.next(now) {
                Next::Post(_) if pause.is_some() => wake = earliest(wake, pause),
                Next::Post(posting) => return Next::Post(pair.send(posting)),
                Next::At(time) => wake = earliest(wake, Some(pause.map_or(time, |pause| pause.max(time)))),
                Next::Nothing => {}
            }
        }
        wake.map_or(Next::Nothing, Next::At)
    }

    /// What the forge shows for a pair, none for nothing: it goes before what an earlier leader wrote down, who may have said more after that.
    pub fn seen(&mut self, commit: &str, context: &str, shown: Option<Verdict>, now: Timestamp) {
        if let Some(pair) = self.pair(commit, context).filter(|pair| pair.sending.is_none()) {
            pair.said = shown.map(|verdict| (verdict, now));
        }
    }

    /// The forge has taken what was under way.
    pub fn confirmed(&mut self, commit: &str, context: &str, now: Timestamp) {
        self.paused_until = None;
        let Some(pair) = self.pair(commit, context) else { return };
        let Some(verdict) = pair.sending.take() else { return };
        pair.said = Some((verdict, now));
        (pair.tries, pair.due) = (0, now);
        pair.spend(now);
    }

    /// The forge has not taken what was under way. `random` in 0..1 spreads the attempts of many clusters (full jitter).
    pub fn failed(&mut self, commit: &str, context: &str, then: Then, now: Timestamp, random: f64) {
        let Some(pair) = self.pair(commit, context) else { return };
        pair.sending = None;
        pair.tries = pair.tries.saturating_add(1);
        let tries = pair.tries;
        match then {
            Then::Retry => pair.due = later(now, backoff(pair.tries, random)),
            Then::RetryFew if pair.tries <= FEW => pair.due = later(now, backoff(pair.tries, random)),
            Then::RetryFew | Then::Recheck => pair.due = later(now, RECHECK),
            Then::Drop => pair.closed = true,
            Then::Pause(after) => self.paused_until = Some(later(now, pause(after, tries, random))),
            Then::AskForCredential => self.paused_until = Some(later(now, RECHECK)),
        }
    }

    /// The Secret has changed: what waited for it is tried at once.
    pub fn credential_changed(&mut self, now: Timestamp) {
        self.paused_until = None;
        for pair in self.pairs.iter_mut().filter(|pair| pair.tries > 0) {
            (pair.tries, pair.due) = (0, now);
        }
    }

    fn pair(&mut self, commit: &str, context: &str) -> Option<&mut Pair> {
        self.pairs.iter_mut().find(|pair| pair.is(commit, context))
    }
}

impl Pair {
    fn new(commit: &str, context: &str, verdict: &Verdict, now: Timestamp) -> Self {
        Self {
            commit: commit.to_owned(),
            context: context.to_owned(),
            wanted: verdict.clone(),
            since: now,
            said: None,
            sending: None,
            touched: false,
            tries: 0,
            due: now,
            tokens: BURST,
            tokens_at: now,
            posted: 0,
            settled: None,
            changes: VecDeque::new(),
            closed: false,
        }
    }

    fn restore(entry: &LedgerEntry, now: Timestamp) -> Option<Self> {
        let verdict = Verdict::new(CommitState::parse(&entry.state)?, &entry.description);
        let mut pair = Self::new(&entry.commit, &entry.context, &verdict, now);
        pair.touched = true;
        pair.settled = Some(verdict.clone()).filter(|verdict| verdict.state != CommitState::Pending);
        pair.said = entry.posted.then_some((verdict, now));
        Some(pair)
    }

    fn entry(&self) -> LedgerEntry {
        let posted = self.closed || self.has_said(&self.wanted);
        LedgerEntry {
            commit: self.commit.clone(),
            context: self.context.clone(),
            state: self.wanted.state.as_str().to_owned(),
            description: self.wanted.description.clone(),
            posted,
        }
    }

    fn is(&self, commit: &str, context: &str) -> bool {
        self.commit == commit && self.context == context
    }

    fn is_pending(&self) -> bool {
        self.wanted.state == CommitState::Pending
    }

    fn is_done(&self) -> bool {
        self.closed || (self.sending.is_none() && self.has_said(&self.wanted))
    }

    fn has_said(&self, verdict: &Verdict) -> bool {
        self.said.as_ref().is_some_and(|(said, _)| said.same_news(verdict))
    }

    fn want(&mut self, verdict: Verdict, now: Timestamp) {
        if verdict.state != self.wanted.state {
            self.since = now;
        }
        if verdict.state != CommitState::Pending {
            if self.settled.as_ref().is_some_and(|settled| settled.state != verdict.state) {
                self.changes.push_back(now);
                self.changes.drain(..self.changes.len().saturating_sub(CHANGES));
            }
            self.settled = Some(verdict.clone());
        }
        self.wanted = verdict;
    }

    /// What to do about this pair alone, without changing it.
    fn next(&self, now: Timestamp) -> Next {
        if self.closed || self.sending.is_some() {
            return Next::Nothing;
        }
        let verdict = self.wording(now);
        if self.has_said(&verdict) {
            // A flapping pair is looked at again when it may have calmed down.
            return self.calm_at().filter(|calm| *calm > now).map_or(Next::Nothing, Next::At);
        }
        if self.is_nearly_full() && verdict.state == CommitState::Pending {
            return Next::Nothing;
        }
        let time = self.grace(&verdict).max(self.spacing(&verdict, now)).max(self.budget(&verdict)).max(self.due);
        if time > now { Next::At(time) } else { Next::Post(self.posting(verdict)) }
    }

    fn posting(&self, verdict: Verdict) -> Posting {
        let is_last = self.posted + 1 >= LAST_WORD;
        let verdict = if is_last { Verdict::new(verdict.state, &format!("Last word here: {}", verdict.description)) } else { verdict };
        Posting { commit: self.commit.clone(), context: self.context.clone(), verdict }
    }

    /// Whether there is room for a few last words only; progress has none.
    fn is_nearly_full(&self) -> bool {
        self.posted + 10 >= LAST_WORD
    }

    /// What is wanted, or what is said instead of it.
    fn wording(&self, now: Timestamp) -> Verdict {
        if self.calm_at().is_none_or(|calm| calm <= now) {
            return self.wanted.clone();
        }
        let state = if self.wanted.state == CommitState::Error { CommitState::Error } else { CommitState::Failure };
        Verdict::new(state, &format!("Flapping: {} changes in 1 h, now: {}", self.changes_within(now), self.wanted.description))
    }

    /// Until when a flapping pair isn't believed; none if it doesn't flap.
    fn calm_at(&self) -> Option<Timestamp> {
        let last = *self.changes.back()?;
        (self.changes_within(last) >= FLAPS).then(|| later(last, CALM))
    }

    fn changes_within(&self, now: Timestamp) -> usize {
        self.changes.iter().filter(|change| later(**change, FLAP_WINDOW) > now).count()
    }

    /// Pending is said only of what lasts.
    fn grace(&self, verdict: &Verdict) -> Timestamp {
        match (verdict.state, &self.settled) {
            (CommitState::Pending, None) => later(self.since, GRACE),
            (CommitState::Pending, Some(_)) => later(self.since, GRACE_WHEN_SETTLED),
            _ => self.since,
        }
    }

    /// Another text of the same state waits the longer, the longer the state lasts, so that a rollout of ten minutes gets a dozen texts.
    fn spacing(&self, verdict: &Verdict, now: Timestamp) -> Timestamp {
        let Some((said, at)) = &self.said else { return self.since };
        if self.calm_at().is_some_and(|calm| calm > now) && said.description.starts_with("Flapping") {
            return later(*at, CALM);
        }
        if said.state != verdict.state {
            return *at;
        }
        let lasted = at.duration_since(self.since).max(SignedDuration::ZERO).unsigned_abs();
        later(*at, SPACING.max(lasted / 2))
    }

    /// When the token bucket has a token for it.
    fn budget(&self, verdict: &Verdict) -> Timestamp {
        let floor = if verdict.state == CommitState::Pending { RESERVE + 1.0 } else { 1.0 };
        let missing = (floor - self.tokens).max(0.0);
        later(self.tokens_at, REFILL.mul_f64(missing))
    }

    fn send(&mut self, posting: Posting) -> Posting {
        self.sending = Some(posting.verdict.clone());
        self.touched = true;
        posting
    }

    /// Takes a token, and closes the pair after its last word.
    fn spend(&mut self, now: Timestamp) {
        let hours = now.duration_since(self.tokens_at).as_secs_f64().max(0.0) / REFILL.as_secs_f64();
        self.tokens = (self.tokens + hours).min(BURST) - 1.0;
        self.tokens_at = now;
        self.posted += 1;
        self.closed |= self.posted >= LAST_WORD;
    }
}

/// Full jitter: anywhere between at once and the doubled step, up to [`LONGEST_BACKOFF`].
fn backoff(tries: u32, random: f64) -> Duration {
    let step = (1_u64 << tries.saturating_sub(1).min(9)).min(LONGEST_BACKOFF.as_secs());
    Duration::from_secs(step).mul_f64(random_share(random)).max(Duration::from_millis(100))
}

/// What the forge asked for, else a minute, doubled each time; half as much again is spread, lest all clusters come back in the same second.
fn pause(after: Option<Duration>, tries: u32, random: f64) -> Duration {
    let own = Duration::from_secs(60 << tries.saturating_sub(1).min(6));
    after.unwrap_or(own).min(RECHECK).mul_f64(1.0 + random_share(random) / 2.0)
}

fn random_share(random: f64) -> f64 {
    if random.is_finite() { random.clamp(0.0, 1.0) } else { 1.0 }
}

fn later(time: Timestamp, by: Duration) -> Timestamp {
    time.saturating_add(by).unwrap_or(Timestamp::MAX)
}

fn earliest(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
    const CONTEXT: &str = "plimsoll/fra-1";

    fn at(seconds: f64) -> Timestamp {
        later(Timestamp::UNIX_EPOCH, Duration::from_secs_f64(seconds))
    }

    fn pending(text: &str) -> Verdict {
        Verdict::new(CommitState::Pending, text)
    }

    fn green() -> Verdict {
        Verdict::new(CommitState::Success, "In sync: 42 objects in 3 s")
    }

    fn red() -> Verdict {
        Verdict::new(CommitState::Failure, "Failed: Deployment web/api: image pull error (1 of 42)")
    }

    /// Sends all that may be sent now; gives what was sent, as `aaaaaaa success In sync...`.
    fn drain(ledger: &mut Ledger, now: f64) -> Vec<String> {
        let mut sent = Vec::new();
        while let Next::Post(posting) = ledger.next(at(now)) {
            let Posting { commit, context, verdict } = posting;
            sent.push(format!("{} {} {}", &commit[..3], verdict.state.as_str(), verdict.description));
            ledger.confirmed(&commit, &context, at(now));
        }
        sent
    }

    /// Says each thing at its second, looks whenever the ledger asks to, and gives what was sent and when.
    fn play(script: &[(f64, &str, Verdict)], until: f64) -> Vec<String> {
        let mut ledger = Ledger::default();
        let mut sent = Vec::new();
        let mut now = 0.0;
        let mut rest = script;
        while now <= until {
            while let Some(((_, commit, verdict), tail)) = rest.split_first().filter(|((time, _, _), _)| *time <= now) {
                ledger.say(commit, CONTEXT, verdict.clone(), at(now));
                rest = tail;
            }
            sent.extend(drain(&mut ledger, now).into_iter().map(|text| format!("{now} {text}")));
            let next = rest.first().map_or(f64::INFINITY, |(time, _, _)| *time);
            now = match ledger.next(at(now)) {
                Next::At(time) => next.min(time.duration_since(Timestamp::UNIX_EPOCH).as_secs_f64()),
                _ => next,
            };
        }
        sent
    }

    #[test]
    fn a_short_sync_is_told_once() {
        let script = [(0.0, A, pending("Syncing: 1 of 42 applied")), (2.0, A, green())];
        assert_eq!(play(&script, 100.0), ["2 aaa success In sync: 42 objects in 3 s"]);
    }

    #[test]
    fn a_long_sync_is_pending_after_three_seconds_with_its_newest_words() {
        let script = [(0.0, A, pending("Syncing: 1 of 42 applied")), (2.0, A, pending("Syncing: 9 of 42 applied")), (9.0, A, green())];
        let expected = ["3 aaa pending Syncing: 9 of 42 applied", "9 aaa success In sync: 42 objects in 3 s"];
        assert_eq!(play(&script, 100.0), expected);
    }

    #[test]
    fn what_was_said_is_not_said_again() {
        let again = Verdict::new(CommitState::Success, "In sync: 42 objects in 1 s");
        let script = [(0.0, A, green()), (600.0, A, pending("Syncing: 0 of 42 applied")), (605.0, A, again.clone()), (1200.0, A, again)];
        assert_eq!(play(&script, 4000.0).len(), 1);
    }

    #[test]
    fn a_rollout_of_ten_minutes_gets_a_dozen_texts() {
        let mut script: Vec<_> =
            (0..600).map(|second| (f64::from(second), A, pending(&format!("Syncing: {second} of 900 applied")))).collect();
        script.push((600.0, A, green()));
        let sent = play(&script, 700.0);
        assert!((8..=14).contains(&sent.len()), "{sent:#?}");
        assert!(sent.last().unwrap().starts_with("600 aaa success"), "{sent:#?}");
    }

    #[test]
    fn a_failure_after_success_is_told_at_once() {
        let script = [(0.0, A, green()), (1.0, A, red()), (2.0, A, green())];
        let states: Vec<_> = play(&script, 100.0).iter().map(|line| line.split(' ').nth(2).unwrap().to_owned()).collect();
        assert_eq!(states, ["success", "failure", "success"]);
    }

    #[test]
    fn a_superseded_commit_is_never_left_pending() {
        let script = [(0.0, A, pending("Syncing: 1 of 42 applied")), (5.0, B, pending("Syncing: 1 of 42 applied")), (6.0, B, green())];
        let sent = play(&script, 100.0);
        let expected = [
            "3 aaa pending Syncing: 1 of 42 applied",
            "5 aaa success Superseded by bbbbbbb before it was applied",
            "6 bbb success In sync: 42 objects in 3 s",
        ];
        assert_eq!(sent, expected);
        let script = [(0.0, A, pending("Waiting for health: Deployment web/api (3 of 42 left)")), (5.0, B, green())];
        assert!(play(&script, 100.0).contains(&"5 aaa success Superseded by bbbbbbb before it was healthy".to_owned()));
    }

    #[test]
    fn a_superseded_commit_that_nobody_heard_of_stays_unheard_of() {
        let script = [(0.0, A, pending("Syncing: 1 of 42 applied")), (1.0, B, green())];
        assert_eq!(play(&script, 100.0), ["1 bbb success In sync: 42 objects in 3 s"]);
    }

    #[test]
    fn a_commit_that_was_judged_keeps_its_judgement_when_another_one_comes_in_the_midst_of_a_resync() {
        let resync = || pending("Syncing: 1 of 42 applied");
        let script = [(0.0, A, green()), (600.0, A, resync()), (605.0, B, red())];
        assert_eq!(play(&script, 900.0), ["0 aaa success In sync: 42 objects in 3 s", &format!("605 bbb failure {}", red().description)]);
        let script = [(0.0, A, green()), (600.0, A, resync()), (635.0, B, red())];
        let sent = play(&script, 900.0);
        assert!(sent.contains(&"630 aaa pending Syncing: 1 of 42 applied".to_owned()), "{sent:?}");
        assert_eq!(sent.last().map(String::as_str), Some("635 aaa success In sync: 42 objects in 3 s"));
    }

    #[test]
    fn what_the_forge_shows_goes_before_what_was_written_down() {
        let mut ledger = Ledger::default();
        ledger.say(A, CONTEXT, green(), at(0.0));
        drain(&mut ledger, 0.0);
        let mut next = Ledger::restore(&ledger.entries(), at(60.0));
        next.seen(A, CONTEXT, Some(pending("Syncing: 1 of 42 applied")), at(60.0));
        assert_eq!(drain(&mut next, 60.0), ["aaa success In sync: 42 objects in 3 s"]);
        next.seen(A, CONTEXT, Some(green()), at(61.0));
        next.seen(B, CONTEXT, Some(green()), at(61.0));
        assert_eq!(next.next(at(61.0)), Next::Nothing);
    }

    #[test]
    fn a_failed_commit_stays_failed_when_another_one_comes() {
        let script = [(0.0, A, red()), (5.0, B, green())];
        assert_eq!(play(&script, 100.0).len(), 2);
    }

    #[test]
    fn a_commit_that_is_superseded_while_its_status_is_under_way_is_resolved_too() {
        let mut ledger = Ledger::default();
        ledger.say(A, CONTEXT, pending("Syncing: 1 of 42 applied"), at(0.0));
        assert!(matches!(ledger.next(at(3.0)), Next::Post(_)));
        ledger.say(B, CONTEXT, green(), at(4.0));
        ledger.failed(A, CONTEXT, Then::Retry, at(5.0), 0.0);
        let sent = drain(&mut ledger, 6.0);
        assert!(sent.contains(&"aaa success Superseded by bbbbbbb before it was applied".to_owned()), "{sent:?}");
    }

    #[test]
    fn the_next_leader_resolves_what_the_last_one_left_pending() {
        let mut ledger = Ledger::default();
        ledger.say(A, CONTEXT, pending("Syncing: 1 of 42 applied"), at(0.0));
        let kept = ledger.entries();
        assert_eq!((kept[0].state.as_str(), kept[0].posted), ("pending", false));
        let mut next = Ledger::restore(&kept, at(60.0));
        next.say(B, CONTEXT, green(), at(60.0));
        let expected = ["bbb success In sync: 42 objects in 3 s", "aaa success Superseded by bbbbbbb before it was applied"];
        assert_eq!(drain(&mut next, 60.0), expected);
        let mut settled = Ledger::restore(&next.entries(), at(90.0));
        assert_eq!(settled.next(at(90.0)), Next::Nothing);
        settled.say(B, CONTEXT, green(), at(90.0));
        assert_eq!(settled.next(at(90.0)), Next::Nothing);
    }

    #[test]
    fn what_could_not_be_posted_is_kept_and_only_the_newest_is_tried_again() {
        let mut ledger = Ledger::default();
        ledger.say(A, CONTEXT, red(), at(0.0));
        for (tries, wait) in [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 300.0, 300.0].into_iter().enumerate() {
            let now = at(1000.0 * tries as f64);
            assert!(matches!(ledger.next(now), Next::Post(_)), "attempt {tries}");
            assert_eq!(ledger.next(now), Next::Nothing, "one at a time");
            ledger.failed(A, CONTEXT, Then::Retry, now, 1.0);
            assert_eq!(ledger.next(now), Next::At(later(now, Duration::from_secs_f64(wait))));
        }
        ledger.say(A, CONTEXT, green(), at(20_000.0));
        assert_eq!(drain(&mut ledger, 20_000.0), ["aaa success In sync: 42 objects in 3 s"]);
    }

    #[test]
    fn each_kind_of_failure_waits_as_it_should() {
        let check = |then: Then, expected: Next| {
            let mut ledger = Ledger::default();
            ledger.say(A, CONTEXT, red(), at(0.0));
            assert!(matches!(ledger.next(at(0.0)), Next::Post(_)), "{then:?}");
            ledger.failed(A, CONTEXT, then, at(0.0), 0.0);
            assert_eq!(ledger.next(at(0.0)), expected, "{then:?}");
        };
        check(Then::Retry, Next::At(at(0.1)));
        check(Then::RetryFew, Next::At(at(0.1)));
        check(Then::Pause(Some(Duration::from_secs(7))), Next::At(at(7.0)));
        check(Then::Pause(None), Next::At(at(60.0)));
        check(Then::Pause(Some(Duration::from_secs(1_000_000))), Next::At(at(3600.0)));
        check(Then::AskForCredential, Next::At(at(3600.0)));
        check(Then::Recheck, Next::At(at(3600.0)));
        check(Then::Drop, Next::Nothing);
    }

    #[test]
    fn an_answer_that_may_mean_unknown_commit_is_tried_five_times_and_then_hourly() {
        let mut ledger = Ledger::default();
        ledger.say(A, CONTEXT, red(), at(0.0));
        let mut now = 0.0;
        for _ in 0..6 {
            assert!(matches!(ledger.next(at(now)), Next::Post(_)));
            ledger.failed(A, CONTEXT, Then::RetryFew, at(now), 0.0);
            now += 1.0;
        }
        assert_eq!(ledger.next(at(now)), Next::At(at(5.0 + 3600.0)));
    }

    #[test]
    fn a_pause_holds_for_all_commits_and_a_new_credential_ends_it() {
        let mut ledger = Ledger::default();
        ledger.say(A, CONTEXT, red(), at(0.0));
        assert!(matches!(ledger.next(at(0.0)), Next::Post(_)));
        ledger.failed(A, CONTEXT, Then::AskForCredential, at(0.0), 0.5);
        ledger.say(B, CONTEXT, green(), at(1.0));
        assert_eq!(ledger.next(at(1.0)), Next::At(at(3600.0)));
        ledger.credential_changed(at(2.0));
        assert_eq!(drain(&mut ledger, 2.0).len(), 2);
    }

    #[test]
    fn a_flapping_object_is_called_so_and_believed_only_when_calm() {
        let script: Vec<_> = (0..20).map(|i| (f64::from(i) * 30.0, A, if i % 2 == 0 { green() } else { red() })).collect();
        let sent = play(&script, 7200.0);
        let flapping: Vec<_> = sent.iter().filter(|line| line.contains("Flapping")).collect();
        assert!(sent.len() <= 10, "{sent:#?}");
        assert!(!flapping.is_empty() && flapping.iter().all(|line| line.contains(" failure ")), "{sent:#?}");
        assert_eq!(flapping[0], "180 aaa failure Flapping: 6 changes in 1 h, now: In sync: 42 objects in 3 s");
        assert_eq!(sent.last().unwrap(), "1170 aaa failure Failed: Deployment web/api: image pull error (1 of 42)");
    }

    #[test]
    fn a_commit_gets_thirty_statuses_in_a_row_and_then_one_an_hour() {
        let failure = |i: u32| Verdict::new(CommitState::Failure, &format!("Failed: {i} of 42"));
        let script: Vec<_> = (0..3000).map(|i| (f64::from(i) * 60.0, A, failure(i))).collect();
        let sent = play(&script, 180_000.0);
        // 50 hours; texts of the same state are spaced out too, so the bucket may even have some left.
        assert!(sent.len() <= 80, "{}", sent.len());
        let mut ledger = Ledger::default();
        let mut count = 0;
        for i in 0..201_u32 {
            let verdict = if i % 2 == 0 { red() } else { green() };
            ledger.say(A, CONTEXT, verdict, at(f64::from(i)));
            ledger.pairs[0].changes.clear();
            count += drain(&mut ledger, f64::from(i)).len();
        }
        assert_eq!(count, 30);
        assert!(matches!(ledger.next(at(200.0)), Next::At(time) if time <= at(3700.0)));
    }

    #[test]
    fn progress_leaves_room_for_the_end() {
        let mut ledger = Ledger::default();
        for i in 0..1000_u32 {
            let now = f64::from(i) * 3.0;
            ledger.say(A, CONTEXT, pending(&format!("Syncing: {i} of 1000 applied")), at(now));
            ledger.pairs[0].since = at((now - 3.0).max(0.0));
            drain(&mut ledger, now);
        }
        ledger.say(A, CONTEXT, green(), at(3000.0));
        assert_eq!(drain(&mut ledger, 3000.0).len(), 1);
    }

    #[test]
    fn a_commit_gets_a_last_word_before_the_forge_refuses_more() {
        let mut ledger = Ledger::default();
        let mut sent = Vec::new();
        for i in 0..1200_u32 {
            let now = f64::from(i) * 7200.0;
            ledger.say(A, CONTEXT, if i % 2 == 0 { red() } else { green() }, at(now));
            sent.extend(drain(&mut ledger, now));
        }
        assert_eq!(sent.len(), LAST_WORD as usize);
        assert!(sent[949].contains("Last word here: "), "{}", sent[949]);
        assert!(ledger.entries()[0].posted);
    }

    #[test]
    fn the_ledger_is_bounded_and_drops_what_is_said_first() {
        let mut ledger = Ledger::default();
        ledger.say(A, CONTEXT, red(), at(0.0));
        for i in 0..100_u32 {
            ledger.say(&format!("{i:040}"), CONTEXT, green(), at(1.0));
            if i > 0 {
                ledger.pairs.iter_mut().filter(|pair| pair.commit != A).for_each(|pair| pair.said = Some((green(), at(1.0))));
            }
        }
        assert_eq!(ledger.entries().len(), REMEMBERED);
        assert!(ledger.entries().iter().any(|entry| entry.commit == A && !entry.posted));
        let many = vec![ledger.entries()[0].clone(); 500];
        assert_eq!(Ledger::restore(&many, at(0.0)).entries().len(), REMEMBERED);
    }

    #[test]
    fn the_end_of_a_sync_leaves_nothing_pending() {
        let mut ledger = Ledger::default();
        ledger.say(A, CONTEXT, pending("Syncing: 1 of 42 applied"), at(0.0));
        drain(&mut ledger, 4.0);
        ledger.end("The Sync was deleted before it was healthy", at(5.0));
        assert_eq!(drain(&mut ledger, 5.0), ["aaa error The Sync was deleted before it was healthy"]);
    }

    #[test]
    fn a_ledger_that_someone_has_edited_does_no_harm() {
        let odd = LedgerEntry { commit: "x".into(), context: "y".into(), state: "nonsense".into(), ..LedgerEntry::default() };
        assert!(Ledger::restore(&[odd], at(0.0)).entries().is_empty());
    }
}
