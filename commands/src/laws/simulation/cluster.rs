//! Nodes: on each the loop, the processes and the timers as they are, over the database in memory; a runner that keeps
//! the contract of [`eventstore::follower`] about checkpoints; and a stream that brings each the events of the others.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::TimeDelta;
use domain::{AccountId, ListingId, Timestamp};
use eventstore::Position;
use eventstore::clock::Clock;
use eventstore::database::{Database, DatabaseError};
use eventstore::event::{Interest, RecordedEvent, Section};
use eventstore::feed::Feed;
use eventstore::follower::{Batch, FollowError, Follower, Recorded};
use eventstore::log::Head;
use eventstore::progress::Progress;
use eventstore::sealing::PersonKeys;
use eventstore::secrets::RootSecret;
use eventstore::wrapping::Wrapping;
use futures::future::{BoxFuture, ready};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::super::{Market, read, timer_rules};
use super::Bug;
use super::bank::Bank;
use super::chaos::{Chaos, Delivery, NODES, Point};
use super::log::{Due, Link, Log};
use crate::clearing::{self, Clearing, NotKnown, Offers};
use crate::engine::{Engine, EngineSettings};
use crate::payments::{self, Payments, Providers};
use crate::process::{Following, Process};
use crate::timers::{self, Change, Changes, Leaving, Name, TimeTravel, TimerTable, Timers};

/// How often a node looks at the head of the log, for what nobody has told it.
const POLL: Duration = Duration::from_secs(1);
/// After a failure, how long until a follower tries again.
const PAUSE: Duration = Duration::from_millis(100);
/// The name of the read model.
pub(super) const MODEL: &str = "model";
/// Everybody who follows the log.
pub(super) const FOLLOWERS: [&str; 4] = [timers::NAME, payments::NAME, clearing::NAME, MODEL];

/// Everything there is.
pub(super) struct Cluster {
    pub(super) log: Arc<Log>,
    pub(super) chaos: Arc<Chaos>,
    pub(super) bank: Arc<Bank>,
    pub(super) bug: Option<Bug>,
    /// About how many events go into one batch of a follower.
    batch_events: i64,
    /// How much the loop of every node decides at once and has in memory.
    settings: EngineSettings,
    begun: Instant,
    ahead: Mutex<TimeDelta>,
    nodes: Mutex<[Option<Arc<Node>>; NODES]>,
    /// A read model: what the log comes to, by the events that its follower was given.
    model: Mutex<Market>,
}

/// What others need of a node.
pub(super) struct Node {
    pub(super) engine: Engine,
    pub(super) payments: Payments,
    pub(super) clock: Clock,
    pub(super) travel: TimeTravel,
}

/// Nobody who is forgotten offers anything here.
struct Nothing;

impl Offers for Nothing {
    fn of(&self, _: AccountId, _: Position) -> BoxFuture<'_, Result<Vec<ListingId>, NotKnown>> {
        Box::pin(ready(Ok(Vec::new())))
    }
}

/// Who follows the log.
enum Followed {
    Timers,
    Model,
    Payments(Following<Payments>),
    Clearing(Following<Clearing>),
}

impl Followed {
    fn name(&self) -> &'static str {
        match self {
            Self::Timers => timers::NAME,
            Self::Model => MODEL,
            Self::Payments(_) => payments::NAME,
            Self::Clearing(_) => clearing::NAME,
        }
    }

    fn interest(&self) -> Interest {
        match self {
            Self::Timers => TimerTable.interest(),
            Self::Model => Interest::Everything,
            Self::Payments(_) => Interest::In(Payments::ABOUT),
            Self::Clearing(_) => Interest::In(Clearing::ABOUT),
        }
    }
}

/// Carries the log to a follower on a node.
struct Runner {
    cluster: Arc<Cluster>,
    node: usize,
    head: Head,
    feed: Feed,
    progress: Progress,
}

impl Runner {
    async fn run(self, followed: Followed) {
        let mut heads = self.head.subscribe();
        loop {
            let Ok((from, reached)) = self.step(&followed).await else {
                sleep(PAUSE).await;
                continue;
            };
            self.progress.reached(followed.name(), reached, reached != from);
            if reached != from {
                continue;
            }
            if heads.wait_for(|head| *head > reached).await.is_err() {
                return;
            }
        }
    }

    /// Takes the next events. Answers where the follower was and is.
    async fn step(&self, followed: &Followed) -> Result<(Position, Position), FollowError> {
        let log = &self.cluster.log;
        let (name, interest, limit) = (followed.name(), followed.interest(), self.cluster.batch_events);
        let from = log.ask_checkpoint(name).await?;
        let Section { events, reaches } = match self.feed.after(from, limit, interest) {
            Some(section) => section,
            None => log.read_after(from, limit, interest).await?,
        };
        if reaches == from {
            return Ok((from, from));
        }
        let recorded = || events.iter().map(|event| read(event)).collect::<Vec<_>>();
        let reached = match followed {
            Followed::Timers => {
                self.at(Point::BeforeRows).await;
                let changes = Changes::of(&recorded());
                let reached = log.take(name, from, reaches, |table| write(table, changes)).await?;
                self.at(Point::AfterRows).await;
                reached
            }
            Followed::Model => {
                self.at(Point::BeforeRows).await;
                let reached = log.take(name, from, reaches, |_| self.cluster.model().hear(&events)).await?;
                self.at(Point::AfterRows).await;
                reached
            }
            Followed::Payments(process) => self.effects(process, from, reaches, recorded()).await?,
            Followed::Clearing(process) => self.effects(process, from, reaches, recorded()).await?,
        };
        Ok((from, reached))
    }

    async fn at(&self, point: Point) {
        self.cluster.chaos.reached(self.node, point).await;
    }

    /// Lets a process do what a batch calls for, and moves its checkpoint after that.
    async fn effects<P: Process>(
        &self,
        process: &Following<P>,
        from: Position,
        reaches: Position,
        events: Vec<Recorded>,
    ) -> Result<Position, FollowError> {
        let log = &self.cluster.log;
        if self.cluster.bug == Some(Bug::CheckpointFirst) {
            log.take(P::NAME, from, reaches, |_| ()).await?;
        }
        self.at(Point::BeforeEffects).await;
        process.take(&Batch { events, people: PersonKeys::default() }).await?;
        self.at(Point::BeforeCheckpoint).await;
        let checkpoint = log.take(P::NAME, from, reaches, |_| ()).await?;
        self.at(Point::AfterCheckpoint).await;
        Ok(checkpoint)
    }
}

/// What a batch makes of the table of timers.
fn write(table: &mut BTreeMap<Name, (Timestamp, Uuid)>, changes: Changes) {
    for (name, change) in changes.0 {
        match change {
            Change::Set(due_at, set_by) => drop(table.insert(name, (due_at, set_by))),
            Change::Hastened(due_at, set_by) => {
                if let Some(before) = table.get_mut(&name).filter(|before| due_at < before.0) {
                    *before = (due_at, set_by);
                }
            }
            Change::Off => drop(table.remove(&name)),
        }
    }
}

impl Cluster {
    /// A database and a provider in which nothing has happened, and no node.
    pub(super) fn new(log: Arc<Log>, bug: Option<Bug>, batch_events: i64, settings: EngineSettings) -> Arc<Self> {
        let chaos = Arc::default();
        let bank = Bank::new(&chaos);
        let (begun, ahead, nodes, model) =
            (Instant::now(), Mutex::default(), Mutex::default(), Mutex::new(Market::empty()));
        Arc::new(Self { log, chaos, bank, bug, batch_events, settings, begun, ahead, nodes, model })
    }

    /// The marketplace's time.
    pub(super) fn now(&self) -> Timestamp {
        let elapsed = TimeDelta::from_std(self.begun.elapsed()).unwrap();
        let ahead = *self.ahead.lock().unwrap_or_else(PoisonError::into_inner);
        Timestamp::UNIX_EPOCH + TimeDelta::days(20_000) + elapsed + ahead
    }

    /// The clock jumps, on every node.
    pub(super) fn jump(&self, by: TimeDelta) {
        *self.ahead.lock().unwrap_or_else(PoisonError::into_inner) += by;
        for node in self.nodes().iter().flatten() {
            node.clock.set_forward(self.now());
        }
    }

    /// The read model.
    pub(super) fn model(&self) -> MutexGuard<'_, Market> {
        self.model.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn nodes(&self) -> MutexGuard<'_, [Option<Arc<Node>>; NODES]> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A node, while it is up.
    pub(super) fn node(&self, number: usize) -> Option<Arc<Node>> {
        if self.chaos.is_up(number) { self.nodes()[number].clone() } else { None }
    }

    /// Runs something on a node until the node ends.
    fn spawn(&self, node: usize, work: impl Future<Output = ()> + Send + 'static) {
        let chaos = self.chaos.clone();
        let task = tokio::spawn(async move { chaos.watched(work).await });
        self.chaos.runs(node, task.abort_handle());
    }

    /// What runs on a node until the node ends, and must not end before.
    fn guard(&self, node: usize, what: &'static str, task: JoinHandle<()>) {
        self.chaos.runs(node, task.abort_handle());
        let chaos = self.chaos.clone();
        tokio::spawn(async move {
            match task.await {
                Err(error) if error.is_cancelled() => {}
                ended => chaos.fail(format!("{what} of node {node} have ended: {ended:?}")),
            }
        });
    }

    /// Starts a node that is down.
    pub(super) async fn start(self: &Arc<Self>, number: usize) -> Result<(), DatabaseError> {
        let head = Head::at(self.log.head());
        let (feed, progress, clock) = (Feed::default(), Progress::default(), Clock::starting_at(self.now()));
        let link = Link::new(&self.log, &self.chaos, number);
        let (engine, deciding) = Engine::over(link, self.settings, clock.clone(), head.clone(), feed.clone()).await?;
        self.guard(number, "the decisions", deciding);
        let providers = Providers::new([self.bank.clone() as Arc<dyn payments::PaymentProvider>]);
        let payments = Payments { engine: engine.clone(), providers, clock: clock.clone() };
        let clearing = Clearing { engine: engine.clone(), offers: Arc::new(Nothing) };
        let followed = [
            Followed::Timers,
            Followed::Model,
            Followed::Payments(Following(payments.clone())),
            Followed::Clearing(Following(clearing)),
        ];
        let mut woken = Vec::new();
        for followed in followed {
            let (cluster, head, feed, progress) = (self.clone(), Head::at(0), feed.clone(), progress.clone());
            woken.push(head.clone());
            let runner = Runner { cluster, node: number, head, feed, progress };
            self.spawn(number, runner.run(followed));
        }
        self.spawn(number, wake(head.clone(), woken, self.bug));
        // Nobody here leaves an account unverified, so nobody asks this database.
        let nowhere = Database::at("postgres://nowhere.invalid/nothing")?;
        let leaving = Leaving {
            pool: nowhere.pool(1),
            wrapping: Wrapping::default(),
            secret: RootSecret::new(b"simulation"),
            engine: engine.clone(),
        };
        let timers = Timers {
            table: Arc::new(Due(self.log.clone())),
            engine: engine.clone(),
            payments: payments.clone(),
            leaving,
            rules: timer_rules(),
            clock: clock.clone(),
            progress,
            head: head.clone(),
        };
        let (travel, firing) = timers.start(CancellationToken::new());
        self.guard(number, "the timers", firing);
        self.spawn(number, poll(self.log.clone(), head.clone()));
        self.spawn(number, listen(self.clone(), number, feed, head));
        self.nodes()[number] = Some(Arc::new(Node { engine, payments, clock, travel }));
        Ok(())
    }
}

/// Wakes followers when the head moves, in the same order each time.
async fn wake(head: Head, followers: Vec<Head>, bug: Option<Bug>) {
    let mut heads = head.subscribe();
    heads.mark_changed();
    while heads.changed().await.is_ok() {
        let head = head.position();
        for follower in &followers {
            follower.seen_at(head);
        }
        if bug == Some(Bug::LostWakeUp) {
            sleep(Duration::from_millis(30)).await;
            heads.mark_unchanged();
        }
    }
}

/// Looks at the head of the log now and then.
async fn poll(log: Arc<Log>, head: Head) {
    loop {
        sleep(POLL).await;
        head.seen_at(log.head());
    }
}

/// Brings a node what is committed from now on, as NATS does.
async fn listen(cluster: Arc<Cluster>, number: usize, feed: Feed, head: Head) {
    let mut grown = cluster.log.grown[number].subscribe();
    let mut published = cluster.log.head();
    while grown.wait_for(|head| *head > published).await.is_ok() {
        for stored in cluster.log.after(published) {
            published = stored.event.position;
            sleep(Duration::from_millis(1)).await;
            let bring = || deliver(cluster.log.clone(), feed.clone(), head.clone(), stored.event.clone());
            match cluster.chaos.delivery(number) {
                Some(Delivery::Lost) => {}
                Some(Delivery::Twice) => {
                    bring().await;
                    bring().await;
                }
                Some(Delivery::Late(ms)) => {
                    let late = bring();
                    cluster.spawn(number, async move {
                        sleep(Duration::from_millis(ms)).await;
                        late.await;
                    });
                }
                None => bring().await,
            }
        }
    }
}

async fn deliver(log: Arc<Log>, feed: Feed, head: Head, event: Arc<RecordedEvent>) {
    let at = event.position;
    let in_log = async { Ok::<_, Infallible>(log.id_at(at)) };
    let Ok(()) = feed.deliver(event.as_ref().clone(), &head, in_log).await;
}
