//! Durable timers: derived from events into a table, fired at their time.
//!
//! [`TimerTable`] follows the log and keeps one row per thing that is due; [`Timers`] sleeps until the nearest and
//! sends its command under a key derived from the event that set it. A timer is never taken off by firing: the event
//! that its command causes takes it off. So a crash repeats the command, and the key makes the repeat harmless; several
//! nodes may fire the same timer for the same reason.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use domain::{AuctionId, Timestamp, WalletId, auction, wallet};
use eventstore::Position;
use eventstore::clock::Clock;
use eventstore::event::{DomainEvent, Metadata};
use eventstore::follower::{Batch, Delivery, FollowError, Follower, Recorded};
use eventstore::log::{self, Head};
use eventstore::progress::Progress;
use futures::future::{BoxFuture, join_all};
use sqlx::{FromRow, PgConnection, PgPool};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::auctions;
use crate::engine::{CommandError, CommandKey, Engine, Request};
use crate::payments::{self, Payments};

/// The name of the follower, and of its checkpoint.
pub const NAME: &str = "timers";
/// How many timers fire at once.
const BATCH: i64 = 64;
/// The longest sleep: after it the table is looked at again, whatever was expected.
const LONGEST_SLEEP: Duration = Duration::from_secs(5);
/// How long a fired timer may take to show its effect in the table.
const PATIENCE: Duration = Duration::from_secs(10);
/// How many steps of processes one event may lead to, one after another: a request, a provider's answer, its timer.
const LONGEST_CHAIN: u32 = 4;
/// After a failure, how long until the next attempt.
const RETRY_PAUSE: Duration = Duration::from_millis(500);

/// What is due.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Kind {
    /// An auction starts.
    AuctionStart,
    /// An auction ends.
    AuctionEnd,
    /// A provider is asked again about a deposit.
    DepositCheck,
    /// A provider is asked again about a withdrawal.
    WithdrawalCheck,
}

/// One timer: kind, aggregate, and what within the aggregate it is about.
type Name = (Kind, Uuid, Uuid);

/// The follower that keeps the table.
#[derive(Clone, Copy, Debug, Default)]
pub struct TimerTable;

impl Follower for TimerTable {
    fn name(&self) -> &'static str {
        NAME
    }

    fn delivery(&self) -> Delivery {
        Delivery::ExactlyOnce
    }

    fn apply<'a>(
        &'a mut self,
        connection: &'a mut PgConnection,
        batch: &'a Batch,
    ) -> BoxFuture<'a, Result<(), FollowError>> {
        Box::pin(write(connection, changes(&batch.events)))
    }
}

/// What a batch makes of each timer that it touches: set to a time by an event, or taken off.
fn changes(events: &[Recorded]) -> BTreeMap<Name, Option<(Timestamp, Uuid)>> {
    let mut changes = BTreeMap::new();
    for recorded in events {
        let mut set = |name, due_at| changes.insert(name, Some((due_at, recorded.event_id)));
        match &recorded.event {
            DomainEvent::Auction(id, event) => {
                let (start, end) = ((Kind::AuctionStart, id.0, id.0), (Kind::AuctionEnd, id.0, id.0));
                match event {
                    auction::Event::AuctionScheduled { terms } => {
                        set(start, terms.starts_at);
                        set(end, terms.ends_at);
                    }
                    auction::Event::AuctionOpened {} => drop(changes.insert(start, None)),
                    auction::Event::AuctionExtended { ends_at } => drop(set(end, *ends_at)),
                    auction::Event::AuctionClosed { .. } | auction::Event::AuctionCancelled { .. } => {
                        changes.insert(start, None);
                        changes.insert(end, None);
                    }
                    auction::Event::BidPlaced { .. } => {}
                }
            }
            DomainEvent::Wallet(id, event) => match event {
                wallet::Event::DepositDelayed { deposit, check_at } => {
                    set((Kind::DepositCheck, id.0, deposit.0), *check_at);
                }
                wallet::Event::WithdrawalDelayed { withdrawal, check_at } => {
                    set((Kind::WithdrawalCheck, id.0, withdrawal.0), *check_at);
                }
                wallet::Event::DepositSettled { deposit, .. } | wallet::Event::DepositFailed { deposit, .. } => {
                    changes.insert((Kind::DepositCheck, id.0, deposit.0), None);
                }
                wallet::Event::WithdrawalPaid { withdrawal, .. }
                | wallet::Event::WithdrawalFailed { withdrawal, .. } => {
                    changes.insert((Kind::WithdrawalCheck, id.0, withdrawal.0), None);
                }
                wallet::Event::WalletOpened { .. }
                | wallet::Event::DepositRequested { .. }
                | wallet::Event::WithdrawalRequested { .. }
                | wallet::Event::HoldPlaced { .. }
                | wallet::Event::HoldReleased { .. } => {}
            },
            DomainEvent::Account(..) | DomainEvent::Claim(..) | DomainEvent::Listing(..) | DomainEvent::Session(..) => {
            }
        }
    }
    changes
}

async fn write(
    connection: &mut PgConnection,
    changes: BTreeMap<Name, Option<(Timestamp, Uuid)>>,
) -> Result<(), FollowError> {
    let (set, off): (Vec<_>, Vec<_>) = changes.into_iter().partition(|(_, change)| change.is_some());
    if !off.is_empty() {
        sqlx::query(
            "delete from timers using unnest($1::text[], $2::uuid[], $3::uuid[]) as off (kind, aggregate_id, subject)
             where (timers.kind, timers.aggregate_id, timers.subject) = (off.kind, off.aggregate_id, off.subject)",
        )
        .bind(off.iter().map(|((kind, ..), _)| *kind).collect::<Vec<_>>())
        .bind(off.iter().map(|((_, aggregate, _), _)| *aggregate).collect::<Vec<_>>())
        .bind(off.iter().map(|((.., subject), _)| *subject).collect::<Vec<_>>())
        .execute(&mut *connection)
        .await?;
    }
    if !set.is_empty() {
        let (due, by): (Vec<_>, Vec<_>) = set.iter().filter_map(|(_, change)| *change).unzip();
        sqlx::query(
            "insert into timers (kind, aggregate_id, subject, due_at, set_by)
             select * from unnest($1::text[], $2::uuid[], $3::uuid[], $4::timestamptz[], $5::uuid[])
             on conflict on constraint timers_subject do update set due_at = excluded.due_at, set_by = excluded.set_by",
        )
        .bind(set.iter().map(|((kind, ..), _)| *kind).collect::<Vec<_>>())
        .bind(set.iter().map(|((_, aggregate, _), _)| *aggregate).collect::<Vec<_>>())
        .bind(set.iter().map(|((.., subject), _)| *subject).collect::<Vec<_>>())
        .bind(due)
        .bind(by)
        .execute(connection)
        .await?;
    }
    Ok(())
}

/// A row of the table.
#[derive(Clone, Copy, Debug, Eq, FromRow, Hash, PartialEq)]
struct Timer {
    kind: Kind,
    aggregate_id: Uuid,
    subject: Uuid,
    due_at: Timestamp,
    set_by: Uuid,
}

/// What came of firing what is due.
#[derive(Clone, Copy, Debug)]
struct Fired {
    /// Whether anything was due.
    any: bool,
    /// When the next is due.
    next: Option<Timestamp>,
}

/// The process that fires what is due.
#[derive(Debug)]
pub struct Timers {
    /// Reads the table.
    pub pool: PgPool,
    /// Where commands go.
    pub engine: Engine,
    /// Who asks providers again.
    pub payments: Payments,
    /// The marketplace's clock.
    pub clock: Clock,
    /// How far the table has followed the log.
    pub progress: Progress,
    /// Where the log is.
    pub head: Head,
}

/// Asks the process to set the clock forward, so that everything due until then happens at its own time.
#[derive(Clone, Debug)]
pub struct TimeTravel(mpsc::Sender<(Timestamp, oneshot::Sender<Position>)>);

impl TimeTravel {
    /// Sets the clock forward to `target` and answers with the log's head once everything due until then has happened;
    /// nothing if the process is not running.
    pub async fn set_forward(&self, target: Timestamp) -> Option<Position> {
        let (reply, arrival) = oneshot::channel();
        self.0.send((target, reply)).await.ok()?;
        arrival.await.ok()
    }
}

impl Timers {
    /// Starts the process; it ends when `stop` is cancelled.
    pub fn start(self, stop: CancellationToken) -> (TimeTravel, tokio::task::JoinHandle<()>) {
        let (travel, journeys) = mpsc::channel(1);
        (TimeTravel(travel), tokio::spawn(self.run(journeys, stop)))
    }

    async fn run(self, mut journeys: mpsc::Receiver<(Timestamp, oneshot::Sender<Position>)>, stop: CancellationToken) {
        let mut table = self.progress.subscribe(NAME);
        let mut clock = self.clock.subscribe();
        let mut stuck = HashSet::new();
        while !stop.is_cancelled() {
            table.mark_unchanged();
            clock.mark_unchanged();
            let sleep = match self.fire_due(&mut stuck).await {
                Ok(fired) => fired.next.map_or(LONGEST_SLEEP, |due| self.until(due)),
                Err(error) => {
                    tracing::warn!(%error, "timers could not be fired");
                    RETRY_PAUSE
                }
            };
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(sleep) => {}
                _ = table.changed() => {}
                _ = clock.changed() => {}
                Some((target, reply)) = journeys.recv() => {
                    match self.travel(target, &mut stuck).await {
                        // Whoever asked may have gone away.
                        Ok(position) => drop(reply.send(position)),
                        Err(error) => tracing::warn!(%error, "the clock could not be set forward"),
                    }
                }
            }
        }
    }

    fn until(&self, due: Timestamp) -> Duration {
        let rest = due - self.clock.now();
        // A millisecond more, since the clock shows whole ones.
        rest.to_std().map_or(Duration::ZERO, |rest| rest + Duration::from_millis(1)).min(LONGEST_SLEEP)
    }

    /// Fires everything that is due and tells when the next is. A timer that a rule refuses for good is left alone
    /// until another event sets it.
    async fn fire_due(&self, stuck: &mut HashSet<Timer>) -> Result<Fired, FollowError> {
        let mut any = false;
        loop {
            let nearest = self.nearest(stuck).await?;
            let now = self.clock.now();
            let due: Vec<Timer> = nearest.iter().copied().take_while(|timer| timer.due_at <= now).collect();
            if due.is_empty() {
                return Ok(Fired { any, next: nearest.first().map(|timer| timer.due_at) });
            }
            any = true;
            let fired = join_all(due.iter().map(|timer| self.fire(timer))).await;
            let mut reached = 0;
            for (timer, fired) in due.into_iter().zip(fired) {
                let (position, refused) = fired?;
                reached = reached.max(position);
                if refused {
                    stuck.insert(timer);
                }
            }
            self.settled(reached).await?;
        }
    }

    async fn nearest(&self, stuck: &HashSet<Timer>) -> Result<Vec<Timer>, FollowError> {
        let limit = BATCH + i64::try_from(stuck.len()).unwrap_or(0);
        let timers: Vec<Timer> =
            sqlx::query_as("select * from timers order by due_at, kind, aggregate_id, subject limit $1")
                .bind(limit)
                .fetch_all(&self.pool)
                .await?;
        Ok(timers.into_iter().filter(|timer| !stuck.contains(timer)).collect())
    }

    /// Sends a timer's command. Answers with the position that the answer rests on, and whether a rule refused.
    async fn fire(&self, timer: &Timer) -> Result<(Position, bool), FollowError> {
        let Timer { kind, aggregate_id, subject, set_by, .. } = *timer;
        let cause = set_by.to_string();
        let metadata = Metadata::by_process(NAME).with("causation", cause.clone());
        let auction = AuctionId(aggregate_id);
        let request = |step| Request::keyed(metadata, CommandKey::of_process(NAME, &cause, step));
        let fired = match kind {
            Kind::AuctionStart => {
                self.engine.submit(request("start"), move |world| auctions::open(world, auction)).await
            }
            Kind::AuctionEnd => self.engine.submit(request("end"), move |world| auctions::close(world, auction)).await,
            Kind::DepositCheck => {
                self.payments.check_deposit(WalletId(aggregate_id), subject, &cause).await?;
                return Ok((self.head.position(), false));
            }
            Kind::WithdrawalCheck => {
                self.payments.check_withdrawal(WalletId(aggregate_id), subject, &cause).await?;
                return Ok((self.head.position(), false));
            }
        };
        match fired {
            Ok(accepted) => Ok((accepted.position, false)),
            Err(CommandError::Refused { refusal, position }) => {
                // Nothing odd: a late bid has moved the end and the table had not heard of it.
                tracing::debug!(?timer, %refusal, "a timer was refused");
                Ok((position, self.progress.position(NAME) >= position))
            }
            Err(CommandError::InFlight) => Ok((0, false)),
            Err(error) => Err(FollowError::Command(error.to_string())),
        }
    }

    /// Waits until the table shows everything up to `position`.
    async fn settled(&self, position: Position) -> Result<(), FollowError> {
        let settled = self.progress.wait_for(NAME, position, PATIENCE).await;
        settled.map_err(|behind| FollowError::Command(behind.to_string()))
    }

    /// Sets the clock forward, stopping at each time at which something is due.
    async fn travel(&self, target: Timestamp, stuck: &mut HashSet<Timer>) -> Result<Position, FollowError> {
        loop {
            let head = self.all_settled().await?;
            let fired = self.fire_due(stuck).await?;
            if fired.any {
                continue;
            }
            match fired.next {
                Some(due) if due <= target => drop(self.clock.set_forward(due)),
                Some(_) | None if self.clock.now() >= target => return Ok(head),
                Some(_) | None => drop(self.clock.set_forward(target)),
            }
        }
    }

    /// Waits until timers and processes have taken in everything that is there now and what comes of it, and answers
    /// with the head. Others may go on writing meanwhile: that is not waited for.
    async fn all_settled(&self) -> Result<Position, FollowError> {
        let mut head = log::head(&self.pool).await?;
        for _ in 0..LONGEST_CHAIN {
            self.head.seen_at(head);
            for follower in [NAME, payments::NAME] {
                let settled = self.progress.wait_for(follower, head, PATIENCE).await;
                settled.map_err(|behind| FollowError::Command(behind.to_string()))?;
            }
            let before = std::mem::replace(&mut head, log::head(&self.pool).await?);
            if head == before {
                break;
            }
        }
        Ok(head)
    }
}
