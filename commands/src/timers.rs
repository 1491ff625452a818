//! Durable timers: derived from events into a table, fired at their time.
//!
//! [`TimerTable`] follows the log and keeps one row per thing that is due; [`Timers`] sleeps until the nearest and
//! sends its command under a key derived from the event that set it. A timer is never taken off by firing: the event
//! that its command causes takes it off. So a crash repeats the command, and the key makes the repeat harmless; several
//! nodes may fire the same timer for the same reason.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use domain::account::Account;
use domain::affiliate::Affiliate;
use domain::auction::Auction;
use domain::broadcast::Broadcast;
use domain::charge::Charge;
use domain::chat::Chat;
use domain::escrow::Escrow;
use domain::inbox::Inbox;
use domain::listing::Listing;
use domain::merchant::Merchant;
use domain::order::Order;
use domain::order_group::OrderGroup;
use domain::payee::Payee;
use domain::stock::Stock;
use domain::store::Store;
use domain::subscription::Subscription;
use domain::wallet::Wallet;
use domain::{
    AccountId, Aggregate, AuctionId, BroadcastId, ChargeId, ListingId, OrderGroupId, OrderId, RefundId, Timestamp,
    WalletId, WithdrawalId,
};
use eventstore::Position;
use eventstore::clock::Clock;
use eventstore::event::{Interest, Metadata};
use eventstore::follower::{self, Batch, Delivery, FollowError, Follower};
use eventstore::log::{self, Head};
use eventstore::progress::Progress;
use eventstore::{mint, parking};
use futures::future::{BoxFuture, join_all};
use serde::Serialize;
use sqlx::{Connection, Executor, FromRow, PgConnection, PgExecutor, PgPool};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::clearing;
use crate::engine::{CommandError, CommandKey, Engine, Halt, Request, World};
use crate::listings::ListingRules;
use crate::orders::{SaleRules, WinIds};
use crate::payments::{self, Payments, Question};
use crate::payouts::{self, PayoutRules};
use crate::{auctions, broadcasts, charges, escrows, guests, inboxes, listings, orders, subscriptions};

mod audit;
mod changes;
mod long_terms;
#[cfg(test)]
mod tests;

pub use audit::{TimerAudit, audit};
pub(crate) use changes::{Change, Changes};
pub use long_terms::{Leaving, SOLD_SHOWN_FOR, UNVERIFIED_FOR};

/// The name of the follower, and of its checkpoint.
pub const NAME: &str = "timers";
/// How many timers fire at once.
const BATCH: i64 = 64;
/// The longest sleep: after it the table is looked at again, whatever was expected.
const LONGEST_SLEEP: Duration = Duration::from_secs(5);
/// How long a fired timer may take to show its effect in the table.
const PATIENCE: Duration = Duration::from_secs(10);
/// How many steps of processes one event may lead to, one after another: a request, a provider's answer, a refund of
/// what has come too late, its answer, a dispute, its timer.
const LONGEST_CHAIN: u32 = 6;
/// After a failure, how long until the next attempt: at first, and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_mins(1);
/// The same after our own database was away: what was due meanwhile is done within 10 s of its return.
const OUTAGE_PAUSE: Duration = Duration::from_secs(4);
/// The version of what events make of the table. Raised whenever `Changes` gives other rows: the table is then filled
/// anew.
pub const VERSION: i32 = 9;

/// What is due.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Kind {
    /// An auction starts.
    AuctionStart,
    /// An auction ends.
    AuctionEnd,
    /// A provider is asked again about a charge.
    ChargeCheck,
    /// A provider is asked again about a refund to where it was charged.
    RefundCheck,
    /// A refund that has failed is tried again.
    RefundRetry,
    /// A provider is asked again about a withdrawal.
    WithdrawalCheck,
    /// The orders of a checkout or a win must have been paid.
    PaymentDeadline,
    /// A paid order, or a guest's that was confirmed, must have been shipped.
    ShippingDeadline,
    /// The buyer is asked whether an order has arrived.
    DeliveryQuestion,
    /// A dispute opens about an order of whose delivery nothing was heard.
    DeliveryDispute,
    /// The buyer is reminded to look at what has arrived.
    InspectionReminder,
    /// The inspection is over.
    InspectionEnd,
    /// A dispute must have been resolved.
    DisputeDeadline,
    /// A guest's order must have been confirmed.
    ConfirmationDeadline,
    /// A guest's order must have been brought.
    DeliveryDeadline,
    /// Who a guest was is forgotten.
    GuestForgetting,
    /// A listing is offered unless the staff has said no.
    ReviewEnd,
    /// The window of a discount opens or closes.
    DiscountTurn,
    /// What was sold out long ago is offered no more.
    SoldEnd,
    /// What somebody has read long ago goes.
    ReadCleanUp,
    /// What the staff has said long ago is not shown any more.
    BroadcastEnd,
    /// An account goes whose address nobody has verified, and that has done nothing.
    UnverifiedEnd,
    /// The period of a subscription is over, or its payment is tried again.
    SubscriptionRenewal,
    /// A subscriber is told that a period ends.
    SubscriptionReminder,
    /// A seller is paid out by itself.
    PayoutDue,
    /// A provider is asked how far a merchant is.
    MerchantCheck,
}

/// What the commands of timers go by.
#[derive(Clone, Debug)]
pub struct Rules {
    /// What orders of closed auctions are placed under.
    pub sales: SaleRules,
    /// What listings are offered under that nobody has looked at in time.
    pub listings: ListingRules,
    /// What guards money that goes out by itself.
    pub payouts: PayoutRules,
}

/// Makes sure that the table is one of this version: another is emptied, and filled again from the log's beginning.
/// Safe to run on several nodes at once.
pub async fn ensure(owner: &mut PgConnection) -> Result<(), sqlx::Error> {
    let mut transaction = owner.begin().await?;
    follower::register(&mut transaction, NAME, VERSION).await?;
    let outdated: Option<i32> =
        sqlx::query_scalar("select version from followers where name = $1 and version <> $2 for update")
            .bind(NAME)
            .bind(VERSION)
            .fetch_optional(&mut *transaction)
            .await?;
    if outdated.is_some() {
        transaction.execute("delete from timers").await?;
        parking::clear(&mut transaction, NAME).await?;
        sqlx::query("update followers set version = $2, position = 0 where name = $1")
            .bind(NAME)
            .bind(VERSION)
            .execute(&mut *transaction)
            .await?;
    }
    transaction.commit().await
}

/// What a timer has the loop decide.
pub(crate) type Decide = Box<dyn FnMut(&mut World<'_>) -> Result<(), Halt> + Send>;

impl fmt::Display for Kind {
    /// In plain words, such as `auction end`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AuctionStart => "auction start",
            Self::AuctionEnd => "auction end",
            Self::ChargeCheck => "charge check",
            Self::RefundCheck => "refund check",
            Self::RefundRetry => "refund retry",
            Self::WithdrawalCheck => "withdrawal check",
            Self::PaymentDeadline => "payment deadline",
            Self::ShippingDeadline => "shipping deadline",
            Self::DeliveryQuestion => "delivery question",
            Self::DeliveryDispute => "delivery dispute",
            Self::InspectionReminder => "inspection reminder",
            Self::InspectionEnd => "inspection end",
            Self::DisputeDeadline => "dispute deadline",
            Self::ConfirmationDeadline => "confirmation deadline",
            Self::DeliveryDeadline => "delivery deadline",
            Self::GuestForgetting => "guest forgetting",
            Self::ReviewEnd => "review end",
            Self::DiscountTurn => "discount turn",
            Self::SoldEnd => "end of what is sold",
            Self::ReadCleanUp => "clean-up of what was read",
            Self::BroadcastEnd => "end of a broadcast",
            Self::UnverifiedEnd => "end of an unverified account",
            Self::SubscriptionRenewal => "subscription renewal",
            Self::SubscriptionReminder => "subscription reminder",
            Self::PayoutDue => "payout",
            Self::MerchantCheck => "merchant check",
        })
    }
}

impl Kind {
    /// What a provider is asked, if that is what is due.
    fn question(self) -> Option<Question> {
        match self {
            Self::ChargeCheck => Some(Question::Charge),
            Self::RefundCheck => Some(Question::Refund),
            Self::WithdrawalCheck => Some(Question::Withdrawal),
            Self::MerchantCheck => Some(Question::Merchant),
            Self::AuctionStart
            | Self::AuctionEnd
            | Self::RefundRetry
            | Self::PaymentDeadline
            | Self::ShippingDeadline
            | Self::DeliveryQuestion
            | Self::DeliveryDispute
            | Self::InspectionReminder
            | Self::InspectionEnd
            | Self::DisputeDeadline
            | Self::ConfirmationDeadline
            | Self::DeliveryDeadline
            | Self::GuestForgetting
            | Self::ReviewEnd
            | Self::DiscountTurn
            | Self::SoldEnd
            | Self::ReadCleanUp
            | Self::BroadcastEnd
            | Self::UnverifiedEnd
            | Self::SubscriptionRenewal
            | Self::SubscriptionReminder
            | Self::PayoutDue => None,
        }
    }

    /// Names its command in the key.
    fn step(self) -> &'static str {
        match self {
            Self::AuctionStart => "start",
            Self::AuctionEnd => "end",
            Self::ChargeCheck | Self::RefundCheck | Self::WithdrawalCheck | Self::MerchantCheck => "check",
            Self::RefundRetry => "retry refund",
            Self::PaymentDeadline => "expire",
            Self::ShippingDeadline => "refund unshipped",
            Self::DeliveryQuestion => "ask",
            Self::DeliveryDispute => "dispute",
            Self::InspectionReminder => "remind",
            Self::InspectionEnd => "release",
            Self::DisputeDeadline => "refund disputed",
            Self::ConfirmationDeadline => "lapse",
            Self::DeliveryDeadline => "lapse undelivered",
            Self::GuestForgetting => "forget",
            Self::ReviewEnd => "approve",
            Self::DiscountTurn => "turn",
            Self::SoldEnd => "archive",
            Self::ReadCleanUp => "clean up",
            Self::BroadcastEnd => "withdraw",
            Self::UnverifiedEnd => "leave",
            Self::SubscriptionRenewal => "renew",
            Self::SubscriptionReminder => "remind of renewal",
            Self::PayoutDue => "pay out",
        }
    }

    /// The command that is due; nothing to decide where a provider is asked first.
    pub(crate) fn decision(self, id: Uuid, subject: Uuid, rules: &Rules) -> Decide {
        let Rules { sales, listings: rules, payouts } = rules.clone();
        let order = OrderId(id);
        match self {
            Self::AuctionStart => Box::new(move |world| auctions::open(world, AuctionId(id))),
            Self::AuctionEnd => {
                let ids = WinIds { group: OrderGroupId(mint::id()), order: OrderId(mint::id()) };
                Box::new(move |world| auctions::close(world, AuctionId(id), ids, sales))
            }
            // Somebody else is asked first: a provider, or whoever can tell whose names are free afterwards.
            Self::ChargeCheck
            | Self::RefundCheck
            | Self::WithdrawalCheck
            | Self::MerchantCheck
            | Self::UnverifiedEnd => Box::new(|_| Ok(())),
            Self::RefundRetry => Box::new(move |world| charges::retry_refund(world, ChargeId(id), RefundId(subject))),
            Self::PaymentDeadline => Box::new(move |world| orders::expire(world, OrderGroupId(id))),
            Self::ShippingDeadline => {
                let refund = RefundId(mint::id());
                Box::new(move |world| orders::refund_unshipped(world, order, refund))
            }
            Self::DeliveryQuestion => Box::new(move |world| orders::ask_for_delivery(world, order)),
            Self::DeliveryDispute => Box::new(move |world| escrows::dispute_undelivered(world, order)),
            Self::InspectionReminder => Box::new(move |world| escrows::remind(world, order)),
            Self::InspectionEnd => Box::new(move |world| escrows::release_inspected(world, order)),
            Self::DisputeDeadline => {
                let refund = RefundId(mint::id());
                Box::new(move |world| escrows::refund_expired_dispute(world, order, refund))
            }
            Self::ConfirmationDeadline | Self::DeliveryDeadline => Box::new(move |world| guests::lapse(world, order)),
            Self::GuestForgetting => Box::new(move |world| guests::forget(world, order)),
            Self::ReviewEnd => Box::new(move |world| listings::end_review(world, ListingId(id), &rules)),
            Self::DiscountTurn => Box::new(move |world| listings::turn_discount(world, ListingId(id))),
            Self::SoldEnd => Box::new(move |world| listings::archive_sold(world, ListingId(id))),
            Self::ReadCleanUp => Box::new(move |world| inboxes::clean_up(world, AccountId(id))),
            Self::BroadcastEnd => Box::new(move |world| broadcasts::withdraw(world, BroadcastId(id))),
            Self::SubscriptionRenewal => Box::new(move |world| subscriptions::renew(world, AccountId(id))),
            Self::SubscriptionReminder => Box::new(move |world| subscriptions::remind(world, AccountId(id))),
            Self::PayoutDue => {
                let (wallet, withdrawal) = (WalletId(subject), WithdrawalId(mint::id()));
                Box::new(move |world| payouts::pay_due(world, AccountId(id), wallet, withdrawal, &payouts))
            }
        }
    }
}

/// One timer: kind, aggregate, and what within the aggregate it is about.
pub(crate) type Name = (Kind, Uuid, Uuid);

/// The follower that keeps the table.
#[derive(Clone, Copy, Debug, Default)]
pub struct TimerTable;

impl Follower for TimerTable {
    fn name(&self) -> &'static str {
        NAME
    }

    fn version(&self) -> i32 {
        VERSION
    }

    fn delivery(&self) -> Delivery {
        Delivery::ExactlyOnce
    }

    fn interest(&self) -> Interest {
        Interest::In(&[
            Account::TYPE,
            Affiliate::TYPE,
            Auction::TYPE,
            Broadcast::TYPE,
            Charge::TYPE,
            Chat::TYPE,
            Escrow::TYPE,
            Inbox::TYPE,
            Listing::TYPE,
            Merchant::TYPE,
            Order::TYPE,
            OrderGroup::TYPE,
            Payee::TYPE,
            Stock::TYPE,
            Store::TYPE,
            Subscription::TYPE,
            Wallet::TYPE,
        ])
    }

    fn apply<'a>(
        &'a mut self,
        connection: &'a mut PgConnection,
        batch: &'a Batch,
    ) -> BoxFuture<'a, Result<(), FollowError>> {
        Box::pin(write(connection, Changes::of(&batch.events)))
    }
}

async fn write(connection: &mut PgConnection, changes: Changes) -> Result<(), FollowError> {
    let (mut set, mut hastened, mut off) = (Vec::new(), Vec::new(), Vec::new());
    for (name, change) in changes.0 {
        match change {
            Change::Set(due_at, set_by) => set.push((name, due_at, set_by)),
            Change::Hastened(due_at, set_by) => hastened.push((name, due_at, set_by)),
            Change::Off => off.push(name),
        }
    }
    // PLANTED: half of them are nowhere.
    #[cfg(feature = "planted-bugs")]
    if domain::planted::is(domain::planted::Bug::TimersLost) {
        set.retain(|((_, aggregate, _), ..): &(Name, Timestamp, Uuid)| aggregate.as_bytes()[15] % 2 == 0);
    }
    if !off.is_empty() {
        sqlx::query(
            "delete from timers using unnest($1::text[], $2::uuid[], $3::uuid[]) as off (kind, aggregate_id, subject)
             where (timers.kind, timers.aggregate_id, timers.subject) = (off.kind, off.aggregate_id, off.subject)",
        )
        .bind(off.iter().map(|(kind, ..)| *kind).collect::<Vec<_>>())
        .bind(off.iter().map(|(_, aggregate, _)| *aggregate).collect::<Vec<_>>())
        .bind(off.iter().map(|(.., subject)| *subject).collect::<Vec<_>>())
        .execute(&mut *connection)
        .await?;
    }
    let statements = [
        (
            set,
            "insert into timers (kind, aggregate_id, subject, due_at, set_by)
             select * from unnest($1::text[], $2::uuid[], $3::uuid[], $4::timestamptz[], $5::uuid[])
             on conflict on constraint timers_subject do update set due_at = excluded.due_at, set_by = excluded.set_by",
        ),
        (
            hastened,
            "update timers set due_at = sooner.due_at, set_by = sooner.set_by
             from unnest($1::text[], $2::uuid[], $3::uuid[], $4::timestamptz[], $5::uuid[])
                as sooner (kind, aggregate_id, subject, due_at, set_by)
             where (timers.kind, timers.aggregate_id, timers.subject)
                = (sooner.kind, sooner.aggregate_id, sooner.subject) and sooner.due_at < timers.due_at",
        ),
    ];
    for (timers, statement) in statements.into_iter().filter(|(timers, _)| !timers.is_empty()) {
        sqlx::query(statement)
            .bind(timers.iter().map(|((kind, ..), ..)| *kind).collect::<Vec<_>>())
            .bind(timers.iter().map(|((_, aggregate, _), ..)| *aggregate).collect::<Vec<_>>())
            .bind(timers.iter().map(|((.., subject), ..)| *subject).collect::<Vec<_>>())
            .bind(timers.iter().map(|(_, due_at, _)| *due_at).collect::<Vec<_>>())
            .bind(timers.iter().map(|(.., set_by)| *set_by).collect::<Vec<_>>())
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

/// A row of the table.
#[derive(Clone, Copy, Debug, Eq, FromRow, Hash, PartialEq, Serialize)]
pub struct Timer {
    /// What is due.
    pub kind: Kind,
    /// The aggregate to which it happens.
    pub aggregate_id: Uuid,
    /// What it is about within the aggregate; the aggregate itself otherwise.
    pub subject: Uuid,
    /// When it is due.
    pub due_at: Timestamp,
    /// The event that has set it.
    pub set_by: Uuid,
}

/// The timers that are due next, nearest first.
pub async fn nearest(executor: impl PgExecutor<'_>, limit: i64) -> Result<Vec<Timer>, sqlx::Error> {
    sqlx::query_as("select * from timers order by due_at, kind, aggregate_id, subject limit $1")
        .bind(limit)
        .fetch_all(executor)
        .await
}

/// The table of timers, and the log beside it, as [`Timers`] looks at them.
pub trait Table: fmt::Debug + Send + Sync {
    /// The timers that are due next, nearest first.
    fn nearest(&self, limit: i64) -> BoxFuture<'_, Result<Vec<Timer>, sqlx::Error>>;

    /// Whether a timer is there, set by the same event.
    fn holds<'a>(&'a self, timer: &'a Timer) -> BoxFuture<'a, Result<bool, sqlx::Error>>;

    /// Where the head of the log is.
    fn head(&self) -> BoxFuture<'_, Result<Position, sqlx::Error>>;
}

impl Table for PgPool {
    fn nearest(&self, limit: i64) -> BoxFuture<'_, Result<Vec<Timer>, sqlx::Error>> {
        Box::pin(nearest(self, limit))
    }

    fn holds<'a>(&'a self, timer: &'a Timer) -> BoxFuture<'a, Result<bool, sqlx::Error>> {
        let Timer { kind, aggregate_id, subject, set_by, .. } = *timer;
        let there = sqlx::query_scalar::<_, bool>(
            "select exists (select from timers where (kind, aggregate_id, subject, set_by) = ($1, $2, $3, $4))",
        );
        Box::pin(there.bind(kind).bind(aggregate_id).bind(subject).bind(set_by).fetch_one(self))
    }

    fn head(&self) -> BoxFuture<'_, Result<Position, sqlx::Error>> {
        Box::pin(log::head(self))
    }
}

/// What should have fired by now.
#[derive(Clone, Copy, Debug, Eq, FromRow, PartialEq)]
pub struct Overdue {
    /// How many timers.
    pub timers: i64,
    /// When the oldest was due; nothing without any.
    pub since: Option<Timestamp>,
}

/// What is due at `now` and still in the table. A timer that has just fired is there until its event is taken in.
pub async fn overdue(executor: impl PgExecutor<'_>, now: Timestamp) -> Result<Overdue, sqlx::Error> {
    sqlx::query_as("select count(*) as timers, min(due_at) as since from timers where due_at <= $1")
        .bind(now)
        .fetch_one(executor)
        .await
}

/// Timers that are being seen to, or left alone for a while.
#[derive(Debug, Default)]
struct UnderWay {
    /// Questions to providers that have no answer yet.
    asking: JoinSet<(Timer, Result<(), FollowError>)>,
    /// Timers that have fired without being taken off.
    put_off: HashMap<Timer, Retry>,
}

/// When a timer fires again, and how long it was left alone.
#[derive(Clone, Copy, Debug)]
struct Retry {
    at: Instant,
    pause: Duration,
}

impl UnderWay {
    /// Asks a provider on the side. Until it has answered, and its answer shows in the table, the timer is put off.
    fn ask(&mut self, timer: Timer, payments: Payments) {
        self.put_off(timer);
        self.asking.spawn(async move {
            let (aggregate, subject, cause) = (timer.aggregate_id, timer.subject, timer.set_by.to_string());
            let asked = match timer.kind.question() {
                Some(question) => payments.check(question, aggregate, subject, &cause).await,
                None => Ok(()),
            };
            (timer, asked)
        });
    }

    /// Leaves a timer alone, twice as long each time.
    fn put_off(&mut self, timer: Timer) {
        let pause = self.put_off.get(&timer).map_or(FIRST_PAUSE, |retry| (retry.pause * 2).min(LONGEST_PAUSE));
        self.put_off.insert(timer, Retry { at: Instant::now() + pause, pause });
    }

    /// What failed because our own database was away does not wait long once it is back.
    fn hasten(&mut self, timer: Timer) {
        if let Some(retry) = self.put_off.get_mut(&timer) {
            retry.pause = retry.pause.min(OUTAGE_PAUSE);
            retry.at = retry.at.min(Instant::now() + retry.pause);
        }
    }

    /// Tells of a question that has failed. It is asked again after the pause of its timer.
    fn note(&mut self, asked: Result<(Timer, Result<(), FollowError>), JoinError>) {
        match asked {
            Ok((_, Ok(()))) => {}
            Ok((timer, Err(error))) => {
                tracing::warn!(?timer, %error, "a provider could not be asked");
                if error.is_outage() {
                    self.hasten(timer);
                }
            }
            Err(error) => tracing::error!(%error, "asking a provider has failed"),
        }
    }

    /// How long until something that was put off fires again.
    fn next_retry(&self) -> Duration {
        let now = Instant::now();
        let rests = self.put_off.values().map(|retry| retry.at.saturating_duration_since(now));
        rests.min().unwrap_or(LONGEST_SLEEP)
    }
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
    /// What is due.
    pub table: Arc<dyn Table>,
    /// Where commands go.
    pub engine: Engine,
    /// Who asks providers again.
    pub payments: Payments,
    /// Who knows what goes with accounts that nobody has verified.
    pub leaving: Leaving,
    /// What their commands go by.
    pub rules: Rules,
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
        if stop.run_until_cancelled(self.wait_for_table()).await.is_none() {
            return;
        }
        let mut table = self.progress.subscribe(NAME);
        let mut clock = self.clock.subscribe();
        let mut under_way = UnderWay::default();
        while !stop.is_cancelled() {
            table.mark_unchanged();
            clock.mark_unchanged();
            let sleep = match self.fire_due(&mut under_way).await {
                Ok(fired) => fired.next.map_or(LONGEST_SLEEP, |due| self.until(due)).min(under_way.next_retry()),
                Err(error) => {
                    tracing::warn!(%error, "timers could not be fired");
                    FIRST_PAUSE
                }
            };
            tokio::select! {
                // In the same order each time, so that what has happened can be told again.
                biased;
                () = stop.cancelled() => {}
                Some((target, reply)) = journeys.recv() => {
                    match self.travel(target, &mut under_way).await {
                        // Whoever asked may have gone away.
                        Ok(position) => drop(reply.send(position)),
                        Err(error) => tracing::warn!(%error, "the clock could not be set forward"),
                    }
                }
                Some(asked) = under_way.asking.join_next() => under_way.note(asked),
                _ = table.changed() => {}
                _ = clock.changed() => {}
                () = tokio::time::sleep(sleep) => {}
            }
        }
    }

    /// A table that is still being filled shows timers that later events have taken off.
    async fn wait_for_table(&self) {
        let head = self.head.position();
        while self.progress.wait_for(NAME, head, PATIENCE).await.is_err() {
            tracing::info!(head, reached = self.progress.position(NAME), "the table of timers is being filled");
        }
    }

    fn until(&self, due: Timestamp) -> Duration {
        let rest = due - self.clock.now();
        // A millisecond more, since the clock shows whole ones.
        rest.to_std().map_or(Duration::ZERO, |rest| rest + Duration::from_millis(1)).min(LONGEST_SLEEP)
    }

    /// Fires everything that is due and tells when the next is. Providers are asked on the side, since they take their
    /// time; a timer that fails or changes nothing is left alone for a while, and holds up no other.
    async fn fire_due(&self, under_way: &mut UnderWay) -> Result<Fired, FollowError> {
        let mut any = false;
        loop {
            while let Some(asked) = under_way.asking.try_join_next() {
                under_way.note(asked);
            }
            let nearest = self.nearest(under_way).await?;
            let now = self.clock.now();
            // PLANTED: an hour too early.
            #[cfg(feature = "planted-bugs")]
            let now = if domain::planted::is(domain::planted::Bug::TimersEarly) {
                now + chrono::TimeDelta::hours(1)
            } else {
                now
            };
            let due: Vec<Timer> = nearest.iter().copied().take_while(|timer| timer.due_at <= now).collect();
            if due.is_empty() {
                return Ok(Fired { any, next: nearest.first().map(|timer| timer.due_at) });
            }
            any = true;
            let (questions, decisions): (Vec<Timer>, Vec<Timer>) =
                due.into_iter().partition(|timer| timer.kind.question().is_some());
            for timer in questions {
                // No more at once than of what is asked for the first time.
                while under_way.asking.len() >= payments::CONCURRENT {
                    if let Some(asked) = under_way.asking.join_next().await {
                        under_way.note(asked);
                    }
                }
                under_way.ask(timer, self.payments.clone());
            }
            let fired = join_all(decisions.iter().map(|timer| self.fire(timer))).await;
            let mut reached = 0;
            for (timer, fired) in decisions.into_iter().zip(fired) {
                match fired {
                    Ok((position, done)) => {
                        reached = reached.max(position);
                        if !done {
                            under_way.put_off(timer);
                        }
                    }
                    Err(error) => {
                        tracing::warn!(?timer, %error, "a timer could not be fired");
                        under_way.put_off(timer);
                        if matches!(error, CommandError::Unavailable) {
                            under_way.hasten(timer);
                        }
                    }
                }
            }
            self.settled(reached).await?;
        }
    }

    /// The nearest timers, without those that are put off or whose provider is being asked.
    async fn nearest(&self, under_way: &mut UnderWay) -> Result<Vec<Timer>, FollowError> {
        let limit = BATCH + i64::try_from(under_way.put_off.len()).unwrap_or(0);
        let timers = self.table.nearest(limit).await?;
        // What an event has taken off or set anew is not put off any more.
        let there: HashSet<Timer> = timers.iter().copied().collect();
        under_way.put_off.retain(|timer, _| there.contains(timer));
        let now = Instant::now();
        let free = |timer: &Timer| under_way.put_off.get(timer).is_none_or(|retry| retry.at <= now);
        Ok(timers.into_iter().filter(free).collect())
    }

    /// Sends a timer's command. Answers with the position that the answer rests on, and whether that is all.
    async fn fire(&self, timer: &Timer) -> Result<(Position, bool), CommandError> {
        let Timer { kind, aggregate_id, subject, set_by, .. } = *timer;
        let cause = set_by.to_string();
        let metadata = Metadata::by_process(NAME).with("causation", cause.clone());
        let request = Request::keyed(metadata, CommandKey::of_process(NAME, &cause, kind.step()));
        let decision = match kind {
            Kind::UnverifiedEnd => {
                // What keeps an account is known by the table alone.
                if !self.still_there(timer).await? {
                    return Ok((0, true));
                }
                self.leaving.decision(AccountId(aggregate_id)).await?
            }
            kind => kind.decision(aggregate_id, subject, &self.rules),
        };
        match self.engine.submit(request, decision).await {
            // The same answer as before, and the row is still there: what fired it has led to nothing.
            Ok(accepted) => {
                let shown = self.progress.position(NAME) >= accepted.position;
                Ok((accepted.position, !(accepted.replayed && shown)))
            }
            Err(CommandError::Refused { refusal, position }) => {
                // Nothing odd: a late bid has moved the end and the table had not heard of it.
                tracing::debug!(?timer, %refusal, "a timer was refused");
                Ok((position, self.progress.position(NAME) < position))
            }
            Err(CommandError::InFlight) => Ok((0, true)),
            Err(error) => Err(error),
        }
    }

    /// Whether a timer is there once the table shows the whole log.
    async fn still_there(&self, timer: &Timer) -> Result<bool, CommandError> {
        let away = |error: sqlx::Error| {
            tracing::warn!(?timer, %error, "the timers could not be looked at");
            CommandError::Unavailable
        };
        let head = self.table.head().await.map_err(away)?;
        self.progress.wait_for(NAME, head, PATIENCE).await.map_err(|_| CommandError::Unavailable)?;
        self.table.holds(timer).await.map_err(away)
    }

    /// Waits until the table shows everything up to `position`.
    async fn settled(&self, position: Position) -> Result<(), FollowError> {
        let settled = self.progress.wait_for(NAME, position, PATIENCE).await;
        settled.map_err(|behind| FollowError::Command(behind.to_string()))
    }

    /// Sets the clock forward, stopping at each time at which something is due.
    async fn travel(&self, target: Timestamp, under_way: &mut UnderWay) -> Result<Position, FollowError> {
        loop {
            let head = self.all_settled().await?;
            let fired = self.fire_due(under_way).await?;
            if let Some(asked) = under_way.asking.join_next().await {
                under_way.note(asked);
            } else if !fired.any && self.clock.now() >= target {
                return Ok(head);
            } else if !fired.any {
                self.step(target, under_way).await?;
            }
        }
    }

    /// Sets the clock to when something is due next, or to `target`. Nobody sets a timer meanwhile: the clock might
    /// leap over it.
    async fn step(&self, target: Timestamp, under_way: &mut UnderWay) -> Result<(), FollowError> {
        let _pause = self.engine.pause().await.map_err(|error| FollowError::Command(error.to_string()))?;
        let head = self.table.head().await?;
        self.head.seen_at(head);
        self.settled(head).await?;
        let nearest = self.nearest(under_way).await?;
        // To a time that has passed meanwhile it need not be set.
        self.clock.set_forward(nearest.first().map_or(target, |timer| timer.due_at.min(target)));
        Ok(())
    }

    /// Waits until timers and processes have taken in everything that is there now and what comes of it, and answers
    /// with the head. Others may go on writing meanwhile: that is not waited for.
    async fn all_settled(&self) -> Result<Position, FollowError> {
        let mut head = self.table.head().await?;
        for _ in 0..LONGEST_CHAIN {
            self.head.seen_at(head);
            for follower in [NAME, payments::NAME, clearing::NAME] {
                let settled = self.progress.wait_for(follower, head, PATIENCE).await;
                settled.map_err(|behind| FollowError::Command(behind.to_string()))?;
            }
            let before = std::mem::replace(&mut head, self.table.head().await?);
            if head == before {
                break;
            }
        }
        Ok(head)
    }
}
