//! The loop: take, decide, append, answer.
//!
//! A batch is decided in memory on a working copy over the cache and appended in one statement, which takes effect only
//! if the log's head is where this loop believes it is. While that is under way, the next batch is decided upon it. What
//! may come of it:
//!
//! | outcome | what the loop does |
//! | --- | --- |
//! | committed | folds the working copy into the cache, answers everybody, wakes followers, appends the next batch |
//! | the head was elsewhere | another node has written: reads on from the believed head, decides again; after two misses locks the head first |
//! | a key was seen before | gives its stored answer, decides the others again |
//! | refused by the database | decides one command at a time, and fails the one that is refused alone |
//! | lost | ends its session on the server, so that nothing sent over it runs any more, and looks whether the batch is there, before it does anything else |
//! | the log holds something else than was seen | it has lost events that decisions rest on: ends, and says so |
//!
//! Nothing is answered before what it rests on is committed. If a batch misses, what was decided upon it is decided again.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::future;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use domain::{Refusal, Timestamp};
use eventstore::Position;
use eventstore::clock::Clock;
use eventstore::database::DatabaseError;
use eventstore::event::{RecordedEvent, known_type};
use eventstore::feed::Feed;
use eventstore::log::{AcceptedKey, AppendError, Appended, Batch, Digest, Head, StoredAnswer};
use eventstore::streams::LoadError;
use eventstore::trace::{self, KeyValue, Period};
use futures::FutureExt;
use futures::future::BoxFuture;
use lru::LruCache;
use tokio::sync::mpsc;
use uuid::Uuid;

use super::cache::{Cache, Entry, Load, StreamKey, cache};
use super::job::Job;
use super::measures::Measures;
use super::snapshots::Snapshots;
use super::storage::{Session, Storage};
use super::world::{Changes, Halt, Layer, Missing, World};
use super::{CommandError, CommandKey, EngineSettings, IDLE, OUTAGE_PATIENCE, RECOVERY_PATIENCE, STATEMENT_PATIENCE};

type Jobs = Vec<Box<dyn Job>>;

/// Answers to accepted keys that are kept in memory.
const REMEMBERED_KEYS: usize = 65_536;
/// How many commands are decided at a time while a batch is being committed: for so long its end is not noticed.
const AT_A_TIME: usize = 32;
/// How many events are read at once to catch up with other nodes.
const CATCH_UP_EVENTS: Position = 1_000;
/// How often the head may be found elsewhere before it is locked first.
const MISSES_BEFORE_LOCK: u32 = 2;
/// How soon a batch is tried again of which it is known that it was lost.
const LOST_PAUSE: Duration = Duration::from_millis(10);
/// Pauses between attempts to reach a database that is away.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

pub(crate) struct Decider {
    settings: EngineSettings,
    clock: Clock,
    head: Head,
    feed: Feed,
    storage: Arc<dyn Storage>,
    /// The loop's own; dropped whenever an answer was lost on it, until [`Self::recover`] has the next.
    session: Option<Box<dyn Session>>,
    snapshots: Snapshots,
    submitted: mpsc::UnboundedReceiver<Box<dyn Job>>,
    loading: Loading,
    /// Commands that were set aside and whose aggregates are in memory now.
    ready: VecDeque<Box<dyn Job>>,
    available: Arc<AtomicBool>,
    /// Whether the log has turned out not to hold what was seen of it: nothing can be decided any more.
    cut_short: bool,
    /// Where this loop believes the head to be. The cache is the fold of the events up to here.
    known: Position,
    /// The id of the event there, by which a log is known again that was away; nothing while the log is empty.
    known_id: Option<Uuid>,
    last_recorded_at: Option<Timestamp>,
    cache: Cache,
    answers: LruCache<Digest, StoredAnswer>,
    measures: Measures,
}

/// Aggregates on their way into memory, and who waits for them.
struct Loading {
    /// In the same order each time, so that what has happened can be told again.
    waiting: BTreeMap<StreamKey, Waiting>,
    done: mpsc::UnboundedReceiver<(StreamKey, Loaded)>,
    tell: mpsc::UnboundedSender<(StreamKey, Loaded)>,
}

/// An aggregate, or what to tell those who wait for it.
type Loaded = Result<Entry, CommandError>;

#[derive(Default)]
struct Waiting {
    jobs: Jobs,
    /// Events of other nodes that arrived after the load began.
    arrived: Vec<Arc<RecordedEvent>>,
}

/// A batch that has been decided and not yet committed.
struct Decided {
    batch: Batch,
    states: Layer,
    verdicts: Vec<(Box<dyn Job>, Verdict)>,
    last_recorded_at: Timestamp,
    /// When it was decided.
    in_period: Period,
    /// How long that took, while nothing else was done.
    deciding: Duration,
}

enum Verdict {
    /// Accepted; `offset` counts the batch's events up to and including the command's own.
    Accepted { offset: usize },
    /// Refused after `offset` events of the batch.
    Refused { refusal: Refusal, offset: usize },
    /// The decision panicked.
    Panicked,
}

/// Why a batch did not come to be committed by an attempt.
enum Missed {
    HeadMoved,
    KeySeen,
    Refused,
    Lost,
}

/// What a look at the log has shown, after an answer was lost.
enum Found {
    /// The batch is there.
    Committed,
    /// It is not, and never will be.
    Nothing,
    /// Nor is what was seen before.
    CutShort,
}

impl Decider {
    pub(crate) async fn connect(
        storage: Arc<dyn Storage>,
        settings: EngineSettings,
        clock: Clock,
        head: Head,
        feed: Feed,
        submitted: mpsc::UnboundedReceiver<Box<dyn Job>>,
        available: Arc<AtomicBool>,
    ) -> Result<Self, DatabaseError> {
        let mut session = storage.connect().await?;
        let known = session.head().await?;
        let known_id = session.event_id_at(known).await?;
        let last_recorded_at = session.last_recorded_at().await?;
        head.seen_at(known);
        let (tell, done) = mpsc::unbounded_channel();
        Ok(Self {
            settings,
            clock,
            head,
            feed,
            snapshots: Snapshots::start(storage.clone(), settings.snapshot_every),
            storage,
            session: Some(session),
            submitted,
            loading: Loading { waiting: BTreeMap::new(), done, tell },
            ready: VecDeque::new(),
            available,
            cut_short: false,
            known,
            known_id,
            last_recorded_at,
            cache: cache(settings.cache_aggregates),
            answers: LruCache::new(NonZeroUsize::new(REMEMBERED_KEYS).unwrap_or(NonZeroUsize::MIN)),
            measures: Measures::new(),
        })
    }

    /// Whoever waits, or comes, when this has ended finds nobody there, which means that the node is unavailable.
    pub(crate) async fn run(mut self) {
        while let Some(jobs) = self.take().await {
            self.process(jobs).await;
        }
        let is_whole = !self.cut_short;
        let snapshots = self.into_snapshots();
        if is_whole {
            snapshots.end().await;
        } else {
            snapshots.abandon();
        }
    }

    /// Lets go of everything else, so that nobody waits for an answer from here any more.
    fn into_snapshots(self) -> Snapshots {
        self.snapshots
    }

    /// Waits for commands: those that were set aside first, then new ones, up to a full batch. Nothing once all handles
    /// are dropped and nobody waits, or nothing can be decided any more.
    async fn take(&mut self) -> Option<Jobs> {
        let mut jobs = Jobs::new();
        let limit = self.settings.batch_max;
        while self.ready.is_empty() && jobs.is_empty() && !self.cut_short {
            let Loading { waiting, done, .. } = &mut self.loading;
            tokio::select! {
                biased;
                Some((key, loaded)) = done.recv(), if !waiting.is_empty() => self.loaded(key, loaded),
                taken = self.submitted.recv_many(&mut jobs, limit) => {
                    if taken == 0 {
                        // All handles are gone; the loads under way end first.
                        let (key, loaded) = if waiting.is_empty() { None } else { done.recv().await }?;
                        self.loaded(key, loaded);
                    }
                }
                () = tokio::time::sleep(IDLE) => self.read_on().await,
            }
        }
        if self.cut_short {
            return None;
        }
        while jobs.len() < limit {
            if let Some(job) = self.ready.pop_front() {
                jobs.push(job);
            } else if let Ok((key, loaded)) = self.loading.done.try_recv() {
                // Not before its commands come next: others could drive it out of memory until they do.
                self.loaded(key, loaded);
            } else if let Ok(job) = self.submitted.try_recv() {
                jobs.push(job);
            } else {
                break;
            }
        }
        Some(jobs)
    }

    /// Puts a loaded aggregate into memory, with the events that other nodes wrote meanwhile.
    fn loaded(&mut self, key: StreamKey, loaded: Loaded) {
        let Some(waiting) = self.loading.waiting.remove(&key) else { return };
        match loaded {
            Ok(mut entry) => {
                if waiting.arrived.iter().all(|event| entry.catch_up(event)) {
                    self.snapshots.offer(key, &mut entry);
                    self.cache.put(key, entry);
                }
                self.ready.extend(waiting.jobs);
            }
            Err(failure) => {
                self.fail_unless_accepted(waiting.jobs.into_iter().map(|job| (job, failure)).collect());
            }
        }
    }

    /// Nobody asks for anything: reads what other nodes have written, for which the next command need not wait then.
    async fn read_on(&mut self) {
        if self.head.position() > self.known && self.catch_up().await.is_err() {
            self.recover(None, None).await;
        }
    }

    /// Decides and appends until everybody has an answer or waits for an aggregate. While one batch is being committed,
    /// the next is decided upon it; it is appended only once the other is there.
    async fn process(&mut self, jobs: Jobs) {
        let mut decided = self.begin(self.last_recorded_at);
        self.decide(&mut decided, jobs, &Layer::new());
        while !decided.verdicts.is_empty() {
            let mut next = self.begin(Some(decided.last_recorded_at));
            match self.append(&decided.batch, Some((&mut next, &decided.states))).await {
                Ok(()) => self.fold(std::mem::replace(&mut decided, next)),
                Err(missed) => {
                    // Nothing rests on what may not come to be.
                    next.into_jobs().into_iter().rev().for_each(|job| self.ready.push_front(job));
                    return self.settle(decided, missed).await;
                }
            }
        }
    }

    /// A batch has missed: tries again, without deciding ahead, until everybody in it has an answer or waits.
    async fn settle(&mut self, mut decided: Decided, mut why: Missed) {
        let (mut moved, began) = (0, Instant::now());
        loop {
            let jobs = match why {
                Missed::HeadMoved => {
                    moved += 1;
                    self.measures.head_conflicts.increment(1);
                    match self.catch_up().await {
                        Ok(()) => decided.into_jobs(),
                        Err(_) => self.recover(Some(decided), None).await,
                    }
                }
                Missed::KeySeen => self.answer_seen(decided).await,
                Missed::Refused => return self.process_singly(decided.into_jobs()).await,
                Missed::Lost => {
                    let first = decided.batch.events.first().map(|event| event.event_id);
                    let jobs = self.recover(Some(decided), first).await;
                    // It answers everything but this, as a database does whose disk is full.
                    if began.elapsed() > OUTAGE_PATIENCE {
                        return jobs.into_iter().for_each(unavailable);
                    }
                    tokio::time::sleep(LOST_PAUSE).await;
                    jobs
                }
            };
            let outcome;
            (decided, outcome) =
                if moved < MISSES_BEFORE_LOCK { self.attempt(jobs).await } else { self.attempt_locked(jobs).await };
            match outcome {
                Ok(()) => return self.fold(decided),
                Err(missed) => why = missed,
            }
        }
    }

    /// One attempt under the believed head.
    async fn attempt(&mut self, jobs: Jobs) -> (Decided, Result<(), Missed>) {
        let decided = self.decide_all(jobs);
        let outcome = if decided.verdicts.is_empty() { Ok(()) } else { self.append(&decided.batch, None).await };
        (decided, outcome)
    }

    /// Appends a batch under the believed head. Meanwhile decides into the next one what comes, upon the states that this
    /// one makes.
    fn append<'a>(
        &'a mut self,
        batch: &'a Batch,
        next: Option<(&'a mut Decided, &'a Layer)>,
    ) -> BoxFuture<'a, Result<(), Missed>> {
        Box::pin(async move {
            let Some(session) = self.session.take() else { return Err(Missed::Lost) };
            let began = Instant::now();
            let (session, outcome) = {
                let appending = pin!(append(session, self.known, batch));
                match next {
                    Some((next, below)) => self.decide_during(appending, next, below).await,
                    None => appending.await,
                }
            };
            self.measures.append.record(began.elapsed());
            if !matches!(outcome, Err(AppendError::Unknown(_))) {
                self.session = Some(session);
            }
            into_missed(outcome)
        })
    }

    /// Decides into `next` what comes until `appending` is done, upon what that appends.
    async fn decide_during<T>(
        &mut self,
        mut appending: Pin<&mut impl Future<Output = T>>,
        next: &mut Decided,
        below: &Layer,
    ) -> T {
        // On its way before anything else is done.
        if let Poll::Ready(appended) = futures::poll!(appending.as_mut()) {
            return appended;
        }
        let mut jobs = Jobs::new();
        loop {
            let room = self.room(next);
            while jobs.len() < room
                && let Some(job) = self.ready.pop_front()
            {
                jobs.push(job);
            }
            self.decide(next, std::mem::take(&mut jobs), below);
            let (room, is_next) = (self.room(next), self.ready.is_empty());
            let Loading { waiting, done, .. } = &mut self.loading;
            tokio::select! {
                biased;
                appended = &mut appending => return appended,
                Some((key, loaded)) = done.recv(), if is_next && !waiting.is_empty() => self.loaded(key, loaded),
                // Those that have waited come before new ones.
                () = future::ready(()), if room > 0 && !is_next => {}
                taken = self.submitted.recv_many(&mut jobs, room), if room > 0 => {
                    if taken == 0 {
                        // All handles are gone.
                        return appending.await;
                    }
                }
            }
        }
    }

    /// How many commands may be decided into a batch at a time.
    fn room(&self, batch: &Decided) -> usize {
        self.settings.batch_max.saturating_sub(batch.verdicts.len()).min(AT_A_TIME)
    }

    /// One attempt with the head locked first, so that no other node can come between.
    async fn attempt_locked(&mut self, jobs: Jobs) -> (Decided, Result<(), Missed>) {
        let Some(mut session) = self.session.take() else {
            return (self.decide_all(jobs), Err(Missed::Lost));
        };
        let known = self.known;
        let locked = tokio::time::timeout(STATEMENT_PATIENCE, async {
            let head = session.lock_head().await?;
            let events = session.read_range(known, head).await?;
            Ok::<_, sqlx::Error>((head, events))
        });
        let Ok(Ok((head, events))) = locked.await else {
            return (self.decide_all(jobs), Err(Missed::Lost));
        };
        if head < known {
            return (self.decide_all(jobs), Err(Missed::Lost));
        }
        self.take_in(&events);
        let decided = self.decide_all(jobs);
        let began = Instant::now();
        let appending = session.append_locked(self.known, &decided.batch);
        let outcome = tokio::time::timeout(STATEMENT_PATIENCE, appending).await;
        let outcome = outcome.unwrap_or_else(|_| Err(AppendError::Unknown(sqlx::Error::PoolTimedOut)));
        self.measures.append.record(began.elapsed());
        if !matches!(outcome, Err(AppendError::Unknown(_))) {
            self.session = Some(session);
        }
        (decided, into_missed(outcome))
    }

    /// A batch without commands, not to be dated before `last`.
    fn begin(&self, last: Option<Timestamp>) -> Decided {
        Decided {
            batch: Batch::default(),
            states: Layer::new(),
            verdicts: Vec::new(),
            last_recorded_at: last.map_or(self.clock.now(), |last| last.max(self.clock.now())),
            in_period: Period::since(trace::now()),
            deciding: Duration::ZERO,
        }
    }

    /// Decides commands into a batch of their own.
    fn decide_all(&mut self, jobs: Jobs) -> Decided {
        let mut decided = self.begin(self.last_recorded_at);
        self.decide(&mut decided, jobs, &Layer::new());
        decided
    }

    /// Decides commands one after another, upon what their batch has changed and what is `below` it. Those that miss an
    /// aggregate are set aside; those whose keys are remembered are answered.
    fn decide(&mut self, decided: &mut Decided, jobs: Jobs, below: &Layer) {
        if jobs.is_empty() {
            return;
        }
        let now = decided.last_recorded_at.max(self.clock.now());
        decided.last_recorded_at = now;
        let from = if decided.verdicts.is_empty() { trace::now() } else { decided.in_period.begin() };
        let (began, mut found) = (Instant::now(), 0);
        for mut job in self.answer_from_memory(jobs) {
            let metadata = job.metadata().to_owned();
            let mut world = World::new(now, &metadata, &mut self.cache, [&decided.states, below]);
            let verdict = catch_unwind(AssertUnwindSafe(|| job.decide(&mut world)));
            let changes = world.into_changes();
            found += changes.found;
            match verdict {
                Ok(Ok(())) => decided.accept(job, changes),
                Ok(Err(Halt::Refused(refusal))) => decided.refuse(job, refusal),
                Ok(Err(Halt::Missing(missing))) => {
                    self.measures.cache_misses.increment(1);
                    self.loading.set_aside(job, &missing, &self.storage);
                }
                Err(_) => decided.verdicts.push((job, Verdict::Panicked)),
            }
        }
        self.measures.cache_hits.increment(found);
        decided.deciding += began.elapsed();
        decided.in_period = Period::since(from);
    }

    /// Takes a committed batch in: cache, keys, answers.
    fn fold(&mut self, decided: Decided) {
        if decided.verdicts.is_empty() {
            return;
        }
        let base = self.known;
        tracing::debug!(
            position = base,
            commands = decided.verdicts.len(),
            events = decided.batch.events.len(),
            keys = decided.batch.keys.len(),
            "committed"
        );
        self.measures.decide.record(decided.deciding);
        self.measures.batch_commands.record(f64::from(u32::try_from(decided.verdicts.len()).unwrap_or(u32::MAX)));
        self.measures.events.increment(decided.batch.events.len() as u64);
        if let Some(last) = decided.batch.events.last() {
            self.known += i64::try_from(decided.batch.events.len()).unwrap_or(i64::MAX);
            self.known_id = Some(last.event_id);
            self.last_recorded_at = Some(decided.last_recorded_at);
        }
        for (key, mut entry) in decided.states {
            // It may have been decided upon a state of which there was no snapshot yet.
            let last = self.cache.peek(&key).map_or(0, |entry| entry.in_snapshot);
            entry.in_snapshot = entry.in_snapshot.max(last);
            self.snapshots.offer(key, &mut entry);
            self.cache.put(key, entry);
        }
        let at = |offset: usize| base + i64::try_from(offset).unwrap_or(i64::MAX);
        for key in decided.batch.keys {
            let AcceptedKey { key, fingerprint, offset, answer, .. } = key;
            self.answers.put(key, StoredAnswer { fingerprint, position: at(offset), answer });
        }
        let units = decided.batch.unit_ends.into_iter().map(|end| at(end + 1));
        self.feed.take_committed(
            (base + 1..)
                .zip(units)
                .zip(decided.batch.events)
                .map(|((position, unit), event)| RecordedEvent::committed(event, position, unit)),
        );
        self.head.seen_at(self.known);
        let committed = Period::since(decided.in_period.end());
        let mut refused = Vec::new();
        for (job, verdict) in decided.verdicts {
            if let Some(traced) = job.traced() {
                traced.did("decide", decided.in_period, Vec::new());
                traced.did("commit", committed, vec![KeyValue::new("tradepost.log_position", base)]);
            }
            match verdict {
                Verdict::Accepted { offset } => job.accept(at(offset)),
                Verdict::Refused { refusal, offset } => {
                    let error = CommandError::Refused { refusal, position: at(offset) };
                    // What was stored under the key just now is that it is refused.
                    if job.in_doubt().is_some() { job.fail(error) } else { refused.push((job, error)) }
                }
                Verdict::Panicked => refused.push((job, CommandError::Defect)),
            }
        }
        self.fail_unless_accepted(refused);
    }

    /// Fails commands, except those that were accepted before under their keys: they get that answer again.
    fn fail_unless_accepted(&self, failed: Vec<(Box<dyn Job>, CommandError)>) {
        let (keyed, others): (Vec<_>, Vec<_>) = failed.into_iter().partition(|(job, _)| job.key().is_some());
        for (job, error) in others {
            job.fail(error);
        }
        if !keyed.is_empty() {
            tokio::spawn(answer_refused(self.storage.clone(), keyed));
        }
    }

    /// Answers the commands whose keys are remembered.
    fn answer_from_memory(&mut self, jobs: Jobs) -> Jobs {
        let mut new = Vec::with_capacity(jobs.len());
        for job in jobs {
            match job.key().and_then(|key| self.answers.get(&key.key)) {
                Some(stored) => job.replay(stored),
                None => new.push(job),
            }
        }
        new
    }

    /// Some key of the batch was accepted before: learns which, answers them, and gives the others back.
    async fn answer_seen(&mut self, decided: Decided) -> Jobs {
        let keys: Vec<_> = decided.batch.keys.iter().map(|key| key.key).collect();
        match self.statement(move |session| Box::pin(async move { Ok(session.answers(&keys).await?) })).await {
            Ok(found) => {
                for (key, stored) in found {
                    self.answers.put(key, stored);
                }
                self.answer_from_memory(decided.into_jobs())
            }
            Err(_) => self.recover(Some(decided), None).await,
        }
    }

    /// The database refuses a batch, though not for want of itself: finds the command that it refuses.
    async fn process_singly(&mut self, mut jobs: Jobs) {
        if jobs.len() == 1 {
            return jobs.drain(..).for_each(|job| job.fail(CommandError::Defect));
        }
        for job in jobs {
            let (decided, outcome) = self.attempt(vec![job]).await;
            match outcome {
                Ok(()) => self.fold(decided),
                Err(missed) => Box::pin(self.settle(decided, missed)).await,
            }
        }
    }

    /// The database does not hold what this node has answered for: it was restored, or a standby that lagged took over,
    /// and it may have grown as long again since. What is in memory is no longer so, and decisions upon it would be wrong.
    fn give_up(&mut self) {
        if !self.cut_short {
            tracing::error!(
                seen = self.known,
                "the log does not hold what this node has seen of it: the database was restored, or failed over to a \
                 standby that had not received everything; nothing is decided here any more: restart this node"
            );
        }
        self.cut_short = true;
        self.available.store(false, Ordering::Relaxed);
    }

    /// The answer to an append was lost, or the database is away. Waits until it is known whether the batch that begins
    /// with `first` is there; gives back its commands if it is not. Whoever waits longer than is polite is told so.
    async fn recover(&mut self, mut in_doubt: Option<Decided>, first: Option<Uuid>) -> Jobs {
        self.session = None;
        let found = find_out(self.storage.clone(), self.available.clone(), self.known, self.known_id, first);
        tokio::pin!(found);
        let mut patience = OUTAGE_PATIENCE;
        let (session, found) = loop {
            if let Ok(found) = tokio::time::timeout(patience, &mut found).await {
                break found;
            }
            in_doubt.take().into_iter().flat_map(Decided::into_jobs).for_each(unavailable);
            self.turn_away();
            patience = RETRY_PAUSE;
        };
        let committed = match found {
            Found::Committed => true,
            Found::Nothing => false,
            Found::CutShort => {
                in_doubt.into_iter().flat_map(Decided::into_jobs).for_each(unavailable);
                self.give_up();
                return Jobs::new();
            }
        };
        self.session = Some(session);
        if !self.available.swap(true, Ordering::Relaxed) {
            tracing::info!("the database is back");
        }
        self.resolve(in_doubt, committed).await
    }

    /// What was in doubt is known: the batch is there, or its commands are decided again upon the whole log.
    async fn resolve(&mut self, in_doubt: Option<Decided>, committed: bool) -> Jobs {
        let jobs = match in_doubt {
            Some(decided) if committed => {
                self.fold(decided);
                Jobs::new()
            }
            Some(decided) => decided.into_jobs(),
            None => Jobs::new(),
        };
        if self.catch_up().await.is_err() {
            // Away again: nothing of these commands is in the log.
            jobs.into_iter().for_each(unavailable);
            return Jobs::new();
        }
        jobs
    }

    /// Everybody who waits while the database is away is told so. Loads under way go on.
    fn turn_away(&mut self) {
        self.ready.drain(..).for_each(unavailable);
        while let Ok(job) = self.submitted.try_recv() {
            unavailable(job);
        }
        self.loading.waiting.values_mut().flat_map(|waiting| waiting.jobs.drain(..)).for_each(unavailable);
    }

    /// Reads what other nodes have written and evolves the states that are in memory. What they write meanwhile is left:
    /// whoever waits for the last word of somebody who goes on talking never comes to do anything.
    async fn catch_up(&mut self) -> Result<(), AppendError> {
        let mut end = None;
        loop {
            let known = self.known;
            let read = self.statement(move |session| {
                Box::pin(async move { Ok(session.read_range(known, known + CATCH_UP_EVENTS).await?) })
            });
            let events = read.await?;
            self.take_in(&events);
            if self.known < known + CATCH_UP_EVENTS || end.is_some_and(|end| self.known >= end) {
                return Ok(());
            }
            // More than is read at once: how much more is asked once.
            if end.is_none() {
                end = Some(self.statement(|session| Box::pin(async move { Ok(session.head().await?) })).await?);
            }
        }
    }

    fn take_in(&mut self, events: &[Arc<RecordedEvent>]) {
        for event in events {
            (self.known, self.known_id) = (event.position, Some(event.event_id));
            self.last_recorded_at = self.last_recorded_at.max(Some(event.recorded_at));
            // PLANTED: what is in memory stays as it was.
            #[cfg(feature = "planted-bugs")]
            if domain::planted::is(domain::planted::Bug::StaleRead) {
                continue;
            }
            let Some(aggregate_type) = known_type(&event.aggregate_type) else { continue };
            let key = StreamKey { aggregate_type, id: event.aggregate_id.0 };
            if let Some(waiting) = self.loading.waiting.get_mut(&key) {
                waiting.arrived.push(event.clone());
            }
            let usable = self.cache.peek_mut(&key).is_none_or(|entry| entry.catch_up(event));
            if !usable {
                self.cache.pop(&key);
            }
        }
        self.head.seen_at(self.known);
    }

    /// Runs one statement over the loop's own session, for a bounded time. After a lost answer the session is dropped,
    /// since nobody knows what is still on its way.
    async fn statement<T>(
        &mut self,
        work: impl for<'a> FnOnce(&'a mut dyn Session) -> BoxFuture<'a, Result<T, AppendError>>,
    ) -> Result<T, AppendError> {
        let mut session = self.session.take().ok_or(AppendError::Unknown(sqlx::Error::PoolTimedOut))?;
        let done = tokio::time::timeout(STATEMENT_PATIENCE, work(&mut *session)).await;
        let done = done.unwrap_or_else(|_| Err(AppendError::Unknown(sqlx::Error::PoolTimedOut)));
        if !matches!(done, Err(AppendError::Unknown(_))) {
            self.session = Some(session);
        }
        done
    }
}

/// Appends a batch under the believed head; gives the session back.
async fn append(
    mut session: Box<dyn Session>,
    known: Position,
    batch: &Batch,
) -> (Box<dyn Session>, Result<Appended, AppendError>) {
    let appending = tokio::time::timeout(STATEMENT_PATIENCE, async {
        if batch.events.is_empty() && batch.keys.is_empty() {
            let here = session.head().await? == known;
            return Ok(if here { Appended::Committed } else { Appended::HeadMoved });
        }
        session.append(known, batch).await
    });
    let appended = appending.await.unwrap_or_else(|_| Err(AppendError::Unknown(sqlx::Error::PoolTimedOut)));
    (session, appended)
}

/// Refuses commands that carry a key, except those that were accepted before under it: they get that answer again.
async fn answer_refused(storage: Arc<dyn Storage>, refused: Vec<(Box<dyn Job>, CommandError)>) {
    let keys: Vec<_> = refused.iter().filter_map(|(job, _)| job.key()).map(|key| key.key).collect();
    let found = tokio::time::timeout(STATEMENT_PATIENCE, storage.answers(&keys)).await;
    let found: Option<HashMap<_, _>> = found.ok().and_then(Result::ok).map(|found| found.into_iter().collect());
    for (job, error) in refused {
        match (&found, job.key()) {
            (None, _) => job.fail(CommandError::Unavailable),
            (Some(found), Some(key)) if found.contains_key(&key.key) => job.replay(&found[&key.key]),
            (Some(_), _) => job.fail(error),
        }
    }
}

/// The loop's next session, once the one before has ended.
async fn connect_anew(storage: &dyn Storage) -> Result<Box<dyn Session>, sqlx::Error> {
    storage.connect().await.map_err(|error| match error {
        DatabaseError::Unreachable { source, .. } | DatabaseError::Sql(source) => source,
        _ => sqlx::Error::PoolTimedOut,
    })
}

/// Whether the event at `known` is still the one with `known_id`, and the one after it is `first`, however long it takes
/// to learn that, with the session that was made for it. The session over which it may have been sent has ended before
/// the head is locked and looked behind, so what is not there then will never be.
async fn find_out(
    storage: Arc<dyn Storage>,
    available: Arc<AtomicBool>,
    known: Position,
    known_id: Option<Uuid>,
    first: Option<Uuid>,
) -> (Box<dyn Session>, Found) {
    let look = async || {
        let mut session = connect_anew(&*storage).await?;
        session.lock_head().await?;
        let (here, there) = (session.event_id_at(known).await?, session.event_id_at(known + 1).await?);
        session.unlock_head().await?;
        let found = match (here == known_id, there == first && first.is_some()) {
            (true, true) => Found::Committed,
            (true, false) => Found::Nothing,
            (false, _) => Found::CutShort,
        };
        Ok::<_, sqlx::Error>((session, found))
    };
    loop {
        let looked = tokio::time::timeout(RECOVERY_PATIENCE, look()).await;
        match looked.unwrap_or(Err(sqlx::Error::PoolTimedOut)) {
            Ok(found) => return found,
            Err(error) => {
                if available.swap(false, Ordering::Relaxed) {
                    tracing::warn!(%error, "the database is away");
                }
            }
        }
        tokio::time::sleep(RETRY_PAUSE).await;
    }
}

impl Decided {
    fn accept(&mut self, job: Box<dyn Job>, changes: Changes) {
        let Changes { states, events, people, forgotten, found: _ } = changes;
        let end = self.batch.events.len() + events.len();
        self.batch.unit_ends.extend(events.iter().map(|_| end - 1));
        self.batch.events.extend(events);
        self.batch.people.extend(people);
        for person in forgotten {
            self.batch.forget(person);
        }
        self.states.extend(states);
        if let Some(key) = job.key() {
            self.remember(key, job.answer());
        }
        self.verdicts.push((job, Verdict::Accepted { offset: end }));
    }

    fn refuse(&mut self, job: Box<dyn Job>, refusal: Refusal) {
        if let Some((key, refused)) = job.in_doubt() {
            self.remember(key, refused.to_owned());
        }
        let offset = self.batch.events.len();
        self.verdicts.push((job, Verdict::Refused { refusal, offset }));
    }

    /// Stores under a key what came of the command that was decided last.
    fn remember(&mut self, key: CommandKey, answer: String) {
        let CommandKey { key, fingerprint } = key;
        let (offset, recorded_at) = (self.batch.events.len(), self.last_recorded_at);
        self.batch.keys.push(AcceptedKey { key, fingerprint, offset, answer, recorded_at });
    }

    fn into_jobs(self) -> Jobs {
        self.verdicts.into_iter().map(|(job, _)| job).collect()
    }
}

impl Loading {
    fn set_aside(&mut self, job: Box<dyn Job>, missing: &Missing, storage: &Arc<dyn Storage>) {
        let Missing { key, load } = *missing;
        let under_way = self.waiting.contains_key(&key);
        self.waiting.entry(key).or_default().jobs.push(job);
        if !under_way {
            let (storage, tell) = (storage.clone(), self.tell.clone());
            tokio::spawn(async move {
                let loaded = bring(&*storage, key, load).await;
                // The loop lives until nobody waits, or no longer cares.
                let _ = tell.send((key, loaded));
            });
        }
    }
}

/// Loads an aggregate. Says what is to be told to those who wait for it if that fails, takes too long or panics.
async fn bring(storage: &dyn Storage, key: StreamKey, load: Load) -> Loaded {
    let loading = AssertUnwindSafe(async { load(storage, key.id).await }).catch_unwind();
    let (failure, reason) = match tokio::time::timeout(STATEMENT_PATIENCE, loading).await {
        Ok(Ok(Ok(entry))) => return Ok(entry),
        Ok(Ok(Err(error @ LoadError::Unreachable(_)))) => (CommandError::Unavailable, error.to_string()),
        Ok(Ok(Err(error @ (LoadError::Snapshot { .. } | LoadError::Unreadable { .. })))) => {
            (CommandError::Defect, error.to_string())
        }
        Ok(Err(_)) => (CommandError::Defect, "it panicked".to_owned()),
        Err(_) => (CommandError::Unavailable, format!("it took more than {STATEMENT_PATIENCE:?}")),
    };
    tracing::error!(aggregate_type = key.aggregate_type, id = %key.id, reason, "an aggregate cannot be loaded");
    Err(failure)
}

fn into_missed(outcome: Result<Appended, AppendError>) -> Result<(), Missed> {
    match outcome {
        Ok(Appended::Committed) => Ok(()),
        Ok(Appended::HeadMoved) => Err(Missed::HeadMoved),
        Err(AppendError::KeySeen) => Err(Missed::KeySeen),
        Err(AppendError::Refused(error)) => {
            tracing::error!(%error, "the database refuses a batch");
            Err(Missed::Refused)
        }
        Err(AppendError::Unknown(error)) => {
            tracing::warn!(%error, "the answer to an append was lost");
            Err(Missed::Lost)
        }
    }
}

fn unavailable(job: Box<dyn Job>) {
    job.fail(CommandError::Unavailable);
}
