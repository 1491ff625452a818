//! How does the marketplace do? What is there, what happened on each day, and what became of the money?
//!
//! Money counts as it does for each seller in [`crate::sales`]: a sale on the day of its payment, what is given back,
//! kept and paid out on the day when that happens, and what guests pay at the door beside it. So in each currency, and at
//! any time, the sums here are those of all sellers together, and what was sold is what was given back, kept, paid out and
//! is still held in escrow, to the cent. Days are those of UTC.

use std::collections::{BTreeMap, BTreeSet};

use chrono::NaiveDate;
use domain::escrow::Course;
use domain::order::{self, Terms};
use domain::{Aggregate, Currency, Money, account, escrow, listing, store};
use eventstore::event::DomainEvent;
use eventstore::follower::{Batch, FollowError, Recorded};
use serde::{Deserialize, Serialize};
use sqlx::{FromRow, PgConnection, PgExecutor};
use uuid::Uuid;

use crate::ledger::Total;
use crate::sales::Sums;
use crate::{ReadModel, Text, rows};

/// The read model.
pub const MODEL: ReadModel = ReadModel {
    name: "statistics",
    next: "statistics_next",
    version: 2,
    about: &[
        account::Account::TYPE,
        escrow::Escrow::TYPE,
        listing::Listing::TYPE,
        order::Order::TYPE,
        store::Store::TYPE,
    ],
    ddl: include_str!("statistics.sql"),
    apply: |connection, batch| Box::pin(apply(connection, batch)),
};

/// What is counted by its status.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Kind {
    /// Accounts: `active`, `suspended`, `blocked`, `erased`.
    Account,
    /// Listings: `draft`, `pending`, `active` (sold out or not), `paused`, `archived`, `removed`.
    Listing,
    /// Orders: `placed`, `confirmed`, `paid`, `shipped`, `delivered`, `completed`, `cancelled`, `refunded`.
    Order,
    /// Escrows: `awaiting_payment`, `funded`, `inspection`, `disputed`, `voided`, `released`, `refunded`, `split`.
    Escrow,
    /// Stores: `open`, `suspended`, `removed`.
    Store,
}

/// How many things of a kind are in a status.
#[derive(Clone, Debug, FromRow, PartialEq, Serialize)]
pub struct Count {
    /// Of which kind.
    pub kind: Kind,
    /// In which status.
    pub status: String,
    /// How many.
    pub things: i64,
}

/// A thing, and what it is counted as.
#[derive(Clone, Debug, FromRow, Serialize)]
struct Thing {
    kind: Kind,
    id: Uuid,
    status: String,
}

/// What happened on a day.
#[derive(Clone, Copy, Debug, FromRow, PartialEq, Serialize)]
pub struct Day {
    /// Which, in UTC.
    pub day: NaiveDate,
    /// How many accounts were opened.
    pub signups: i64,
    /// How many listings were written down.
    pub listings: i64,
    /// How many orders were placed.
    pub orders: i64,
    /// How many disputes were opened.
    pub disputes: i64,
    /// How many orders were won and not paid.
    pub violations: i64,
}

/// The sums of one currency and day, of all sellers together.
#[derive(Clone, Debug, FromRow, PartialEq, Serialize)]
pub struct Takings {
    /// On which day, in UTC.
    pub day: NaiveDate,
    /// In which currency.
    pub currency: Text<Currency>,
    /// What.
    #[serde(flatten)]
    #[sqlx(flatten)]
    pub sums: Sums,
}

/// An order, as far as its escrow does not tell.
#[derive(Clone, Debug, FromRow, Serialize)]
struct Purchase {
    order_id: Uuid,
    currency: Text<Currency>,
    pieces: i64,
    gross: i64,
    in_cash: bool,
}

/// The things and orders that a batch is about, and what it adds.
#[derive(Debug, Default)]
struct Statistics {
    things: BTreeMap<(Kind, Uuid), Thing>,
    /// Those of which the status has changed.
    turned: BTreeSet<(Kind, Uuid)>,
    orders: BTreeMap<Uuid, Purchase>,
    counts: BTreeMap<(Kind, String), i64>,
    days: BTreeMap<NaiveDate, Day>,
    money: BTreeMap<(NaiveDate, Text<Currency>), Takings>,
}

async fn apply(connection: &mut PgConnection, batch: &Batch) -> Result<(), FollowError> {
    let mut statistics = Statistics::load(connection, &batch.events).await?;
    for recorded in &batch.events {
        statistics.take(recorded);
    }
    statistics.store(connection).await
}

impl Statistics {
    /// Takes one event in.
    fn take(&mut self, recorded: &Recorded) {
        if let Some((kind, id)) = counted(&recorded.event) {
            let known = self.things.get(&(kind, id)).map(|thing| thing.status.as_str());
            if let Some(status) = status_after(known, &recorded.event) {
                self.count(kind, id, status);
            }
        }
        let day = recorded.recorded_at.date_naive();
        match &recorded.event {
            DomainEvent::Account(_, account::Event::AccountRegistered { .. }) => self.day(day).signups += 1,
            DomainEvent::Account(_, account::Event::ViolationRecorded { .. }) => self.day(day).violations += 1,
            DomainEvent::Listing(_, listing::Event::ListingDrafted { .. }) => self.day(day).listings += 1,
            DomainEvent::Order(order, order::Event::OrderPlaced { terms }) => {
                self.day(day).orders += 1;
                self.orders.extend(Purchase::placed(order.0, terms).map(|placed| (order.0, placed)));
            }
            DomainEvent::Order(order, order::Event::OrderCompleted {}) => self.take_cash(order.0, day),
            DomainEvent::Escrow(order, event) => {
                self.day(day).disputes += i64::from(matches!(event, escrow::Event::EscrowDisputed { .. }));
                self.take_escrow(order.0, event, day);
            }
            // Nothing else happens on a day that is told of it.
            _ => {}
        }
    }

    fn count(&mut self, kind: Kind, id: Uuid, status: &str) {
        let thing = Thing { kind, id, status: status.to_owned() };
        self.turned.insert((kind, id));
        if let Some(before) = self.things.insert((kind, id), thing) {
            *self.counts.entry((kind, before.status)).or_default() -= 1;
        }
        *self.counts.entry((kind, status.to_owned())).or_default() += 1;
    }

    fn day(&mut self, day: NaiveDate) -> &mut Day {
        let empty = Day { day, signups: 0, listings: 0, orders: 0, disputes: 0, violations: 0 };
        self.days.entry(day).or_insert(empty)
    }

    fn takings(&mut self, day: NaiveDate, currency: Text<Currency>) -> &mut Sums {
        let none = || Takings { day, currency, sums: Sums::default() };
        &mut self.money.entry((day, currency)).or_insert_with(none).sums
    }

    /// An order has ended well: what its escrow does not tell of it was paid in cash.
    fn take_cash(&mut self, order: Uuid, day: NaiveDate) {
        let Some(order) = self.orders.get(&order).filter(|order| order.in_cash).cloned() else { return };
        let takings = self.takings(day, order.currency);
        takings.cash_orders += 1;
        takings.cash_pieces += order.pieces;
        takings.cash_gross.0 += i128::from(order.gross);
    }

    fn take_escrow(&mut self, order: Uuid, event: &escrow::Event, day: NaiveDate) {
        use escrow::Event as E;
        let Some(Purchase { currency, pieces, .. }) = self.orders.get(&order).cloned() else { return };
        let minor = |amount: &Money| i128::from(amount.minor());
        match event {
            E::EscrowFunded { amount, .. } => {
                let takings = self.takings(day, currency);
                takings.orders += 1;
                takings.pieces += pieces;
                takings.gross.0 += minor(amount);
            }
            E::EscrowPartlyRefunded { amount, .. }
            | E::EscrowRefunded { amount, .. }
            | E::ChargebackSettled { amount, .. } => {
                self.takings(day, currency).refunded.0 += minor(amount);
            }
            E::EscrowReleased { kept, fee, .. } => self.takings(day, currency).pay_out(*kept, *fee),
            E::EscrowSplit { to_buyer, kept, fee, .. } => {
                let takings = self.takings(day, currency);
                takings.refunded.0 += minor(to_buyer);
                takings.pay_out(*kept, *fee);
            }
            E::ReleaseRefunded { amount, from_available, owed, fee_share, .. } => {
                let takings = self.takings(day, currency);
                takings.refunded.0 += minor(amount);
                takings.fees.0 -= minor(fee_share);
                takings.paid_out.0 -= minor(from_available) + minor(owed);
            }
            E::EscrowOpened { .. }
            | E::EscrowVoided {}
            | E::InspectionStarted { .. }
            | E::InspectionReminded { .. }
            | E::EscrowDisputed { .. }
            | E::EscrowChargedBack { .. }
            | E::ChargebackReturned { .. } => {}
        }
    }

    async fn load(connection: &mut PgConnection, events: &[Recorded]) -> Result<Self, FollowError> {
        let mut wanted: Vec<(Kind, Uuid)> = events.iter().filter_map(|recorded| counted(&recorded.event)).collect();
        wanted.sort_unstable();
        wanted.dedup();
        if wanted.is_empty() {
            return Ok(Self::default());
        }
        let (kinds, ids): (Vec<Kind>, Vec<Uuid>) = wanted.into_iter().unzip();
        let things: Vec<Thing> = sqlx::query_as(
            "select * from things join unnest($1::text[], $2::uuid[]) as wanted (kind, id) using (kind, id)",
        )
        .bind(kinds)
        .bind(ids)
        .fetch_all(&mut *connection)
        .await?;
        let orders = rows::touched(events, |event| match event {
            DomainEvent::Escrow(id, _) | DomainEvent::Order(id, order::Event::OrderCompleted {}) => Some(id.0),
            _ => None,
        });
        let orders: Vec<Purchase> =
            sqlx::query_as("select * from orders where order_id = any($1)").bind(orders).fetch_all(connection).await?;
        Ok(Self {
            things: things.into_iter().map(|thing| ((thing.kind, thing.id), thing)).collect(),
            orders: orders.into_iter().map(|order| (order.order_id, order)).collect(),
            ..Self::default()
        })
    }

    async fn store(self, connection: &mut PgConnection) -> Result<(), FollowError> {
        let statement = "
            insert into things select * from json_populate_recordset(null::things, $1::json)
            on conflict on constraint things_id do update set status = excluded.status";
        let turned = self.turned.iter().filter_map(|key| self.things.get(key));
        rows::write(connection, statement, turned).await?;
        let statement = "
            insert into orders select * from json_populate_recordset(null::orders, $1::json)
            on conflict on constraint orders_order do nothing";
        rows::write(connection, statement, self.orders.into_values()).await?;
        // More first: a check looks at what would be inserted, even where it is added to what is there.
        let statement = "
            insert into counts as known select kind, status, 0 from json_populate_recordset(null::counts, $1::json)
            on conflict on constraint counts_status do nothing";
        let counts: Vec<Count> =
            self.counts.into_iter().map(|((kind, status), things)| Count { kind, status, things }).collect();
        rows::write(connection, statement, counts.iter()).await?;
        let statement = "
            update counts set things = counts.things + more.things
            from json_populate_recordset(null::counts, $1::json) as more
            where (counts.kind, counts.status) = (more.kind, more.status)";
        rows::write(connection, statement, counts.iter().filter(|count| count.things != 0)).await?;
        let statement = "
            insert into days as known select * from json_populate_recordset(null::days, $1::json)
            on conflict on constraint days_day do update set
                (signups, listings, orders, disputes, violations)
                = row (known.signups + excluded.signups, known.listings + excluded.listings,
                    known.orders + excluded.orders, known.disputes + excluded.disputes,
                    known.violations + excluded.violations)";
        rows::write(connection, statement, self.days.into_values().filter(|day| !day.is_empty())).await?;
        let statement = "
            insert into takings as known select * from json_populate_recordset(null::takings, $1::json)
            on conflict on constraint takings_day do update set
                (orders, pieces, gross, refunded, fees, paid_out, cash_orders, cash_pieces, cash_gross)
                = row (known.orders + excluded.orders, known.pieces + excluded.pieces, known.gross + excluded.gross,
                    known.refunded + excluded.refunded, known.fees + excluded.fees,
                    known.paid_out + excluded.paid_out, known.cash_orders + excluded.cash_orders,
                    known.cash_pieces + excluded.cash_pieces, known.cash_gross + excluded.cash_gross)";
        Ok(rows::write(connection, statement, self.money.into_values()).await?)
    }
}

/// What an event may change the status of.
fn counted(event: &DomainEvent) -> Option<(Kind, Uuid)> {
    match event {
        DomainEvent::Account(id, _) => Some((Kind::Account, id.0)),
        DomainEvent::Escrow(id, _) => Some((Kind::Escrow, id.0)),
        DomainEvent::Listing(id, _) => Some((Kind::Listing, id.0)),
        DomainEvent::Order(id, _) => Some((Kind::Order, id.0)),
        DomainEvent::Store(id, _) => Some((Kind::Store, id.0)),
        // Nothing else is counted: see `about`.
        _ => None,
    }
}

/// The status of a thing after an event; nothing if that has not changed it.
fn status_after(known: Option<&str>, event: &DomainEvent) -> Option<&'static str> {
    match event {
        DomainEvent::Account(_, event) => account_status(known, event),
        DomainEvent::Escrow(_, event) => escrow_status(event),
        DomainEvent::Listing(_, event) => listing_status(event),
        DomainEvent::Order(_, event) => order_status(event),
        DomainEvent::Store(_, event) => store_status(event),
        _ => None,
    }
}

fn account_status(known: Option<&str>, event: &account::Event) -> Option<&'static str> {
    use account::Event as E;
    Some(match event {
        E::AccountRegistered { .. } | E::AccountReinstated { .. } => "active",
        E::AccountBlocked { .. } => "blocked",
        // Whoever is blocked stays so.
        E::AccountSuspended { .. } if known != Some("blocked") => "suspended",
        E::AccountErased {} => "erased",
        E::AccountSuspended { .. }
        | E::ProfileChanged { .. }
        | E::EmailChallenged { .. }
        | E::EmailVerified { .. }
        | E::PasswordChallenged { .. }
        | E::PasswordChanged { .. }
        | E::IdentityLinked { .. }
        | E::CapabilitiesGranted { .. }
        | E::CapabilitiesRevoked { .. }
        | E::ViolationRecorded { .. }
        | E::ViolationsPardoned { .. }
        | E::AccountWarned { .. }
        | E::SessionsRevoked { .. } => return None,
    })
}

fn listing_status(event: &listing::Event) -> Option<&'static str> {
    use listing::Event as E;
    Some(match event {
        E::ListingDrafted { .. } | E::ListingRejected { .. } | E::ListingReturned {} => "draft",
        E::ListingSubmitted { .. } => "pending",
        E::ListingPublished {} | E::ListingResumed {} => "active",
        E::ListingPaused {} => "paused",
        E::ListingArchived { .. } => "archived",
        E::ListingRemoved { .. } => "removed",
        E::ListingRevised { .. }
        | E::ListingApproved { .. }
        | E::ListingFeatured { .. }
        | E::ListingUnfeatured { .. }
        | E::DiscountSet { .. }
        | E::DiscountOpened { .. }
        | E::DiscountClosed {}
        | E::ImageAttached { .. }
        | E::ImageDetached { .. } => return None,
    })
}

fn order_status(event: &order::Event) -> Option<&'static str> {
    use order::Event as E;
    Some(match event {
        E::OrderPlaced { .. } => "placed",
        E::OrderConfirmed {} => "confirmed",
        E::OrderPaid {} => "paid",
        E::OrderShipped { .. } => "shipped",
        E::OrderDelivered { .. } => "delivered",
        E::OrderCompleted {} => "completed",
        E::OrderCancelled { .. } => "cancelled",
        E::OrderRefunded {} => "refunded",
        E::DeliveryQuestioned {} | E::GuestDismissed { .. } | E::GuestForgotten {} => return None,
    })
}

fn escrow_status(event: &escrow::Event) -> Option<&'static str> {
    use escrow::Event as E;
    Some(match event {
        E::EscrowOpened { .. } => "awaiting_payment",
        E::EscrowFunded { .. } => "funded",
        E::InspectionStarted { .. } => "inspection",
        E::EscrowDisputed { .. } => "disputed",
        E::EscrowVoided {} => "voided",
        E::EscrowReleased { .. } => "released",
        E::EscrowRefunded { .. } | E::ChargebackSettled { course: None, .. } => "refunded",
        E::EscrowSplit { .. } => "split",
        E::EscrowChargedBack { .. } => "charged_back",
        E::ChargebackReturned { course, .. } | E::ChargebackSettled { course: Some(course), .. } => match course {
            Course::Funded { .. } => "funded",
            Course::Inspection { .. } => "inspection",
            Course::Disputed { .. } => "disputed",
        },
        E::EscrowPartlyRefunded { .. } | E::ReleaseRefunded { .. } | E::InspectionReminded { .. } => return None,
    })
}

fn store_status(event: &store::Event) -> Option<&'static str> {
    use store::Event as E;
    Some(match event {
        E::StoreOpened { .. } | E::StoreReinstated { .. } => "open",
        E::StoreSuspended { .. } => "suspended",
        E::StoreRemoved { .. } => "removed",
        E::StoreChanged { .. } | E::StoreVerified { .. } | E::StoreUnverified { .. } => return None,
    })
}

impl Purchase {
    /// A new order; nothing if it has no lines, which no order has.
    fn placed(id: Uuid, terms: &Terms) -> Option<Self> {
        let currency = terms.lines.first()?.unit_price.currency();
        let gross = terms.lines.iter().map(|line| line.gross().map_or(0, Money::minor));
        Some(Self {
            order_id: id,
            currency: Text(currency),
            pieces: terms.lines.iter().map(|line| i64::from(line.quantity)).sum(),
            gross: gross.fold(0, i64::saturating_add),
            in_cash: !terms.payment.is_escrow(),
        })
    }
}

impl Day {
    fn is_empty(&self) -> bool {
        let Self { day: _, signups, listings, orders, disputes, violations } = *self;
        [signups, listings, orders, disputes, violations] == [0; 5]
    }
}

impl Takings {
    /// What escrow holds of all this, if it is all there ever was.
    pub fn held(&self) -> Total {
        let Sums { gross, refunded, fees, paid_out, .. } = self.sums;
        Total(gross.0 - refunded.0 - fees.0 - paid_out.0)
    }
}

/// How many things there are in each status.
pub async fn counts(executor: impl PgExecutor<'_>) -> Result<Vec<Count>, sqlx::Error> {
    sqlx::query_as("select kind, status, things from statistics.counts where things > 0 order by kind, status")
        .fetch_all(executor)
        .await
}

/// What happened from one day on until another, both included; days without anything are left out.
pub async fn days(executor: impl PgExecutor<'_>, from: NaiveDate, to: NaiveDate) -> Result<Vec<Day>, sqlx::Error> {
    sqlx::query_as("select * from statistics.days where day between $1 and $2 order by day")
        .bind(from)
        .bind(to)
        .fetch_all(executor)
        .await
}

/// What was sold from one day on until another, both included, by currency and day; in one currency, or in all.
pub async fn takings(
    executor: impl PgExecutor<'_>,
    from: NaiveDate,
    to: NaiveDate,
    currency: Option<Currency>,
) -> Result<Vec<Takings>, sqlx::Error> {
    sqlx::query_as(
        "select day, currency, orders, pieces, gross::text, refunded::text, fees::text, paid_out::text, cash_orders,
            cash_pieces, cash_gross::text
         from statistics.takings where day between $1 and $2 and ($3::text is null or currency = $3)
         order by currency, day",
    )
    .bind(from)
    .bind(to)
    .bind(currency.map(Text))
    .fetch_all(executor)
    .await
}

/// All that was ever sold, a row per currency; its day is the last on which anything was.
pub async fn totals(executor: impl PgExecutor<'_>) -> Result<Vec<Takings>, sqlx::Error> {
    sqlx::query_as(
        "select max(day) as day, currency, sum(orders)::bigint as orders, sum(pieces)::bigint as pieces,
            sum(gross)::text as gross, sum(refunded)::text as refunded, sum(fees)::text as fees,
            sum(paid_out)::text as paid_out, sum(cash_orders)::bigint as cash_orders,
            sum(cash_pieces)::bigint as cash_pieces, sum(cash_gross)::text as cash_gross
         from statistics.takings group by currency order by currency",
    )
    .fetch_all(executor)
    .await
}

#[cfg(test)]
mod tests {
    use domain::account::{Capability, Granter, Identity, Words};
    use domain::{AccountId, Sealed};

    use super::*;
    use crate::tests::history::recorded;

    fn counts(events: impl IntoIterator<Item = account::Event>) -> Vec<(String, i64)> {
        let ann = AccountId(Uuid::from_u128(1));
        let sealed = || Sealed::from_ciphertext(ann, "unreadable".to_owned());
        let identity = Identity { email: sealed(), user_name: sealed(), password_hash: None };
        let registered = account::Event::AccountRegistered { identity, capabilities: [Capability::Buy].into() };
        let mut statistics = Statistics::default();
        for (position, event) in (1..).zip([registered].into_iter().chain(events)) {
            statistics.take(&recorded(position, DomainEvent::Account(ann, event)));
        }
        let counts = statistics.counts.into_iter().map(|((_, status), things)| (status, things));
        counts.filter(|(_, things)| *things != 0).collect()
    }

    #[test]
    fn an_account_is_counted_once_as_what_it_is() {
        use account::Event as E;
        let by = Granter::Operator;
        let blocked = || E::AccountBlocked { violations: 3, by: None, reason: None };
        let suspended = || E::AccountSuspended { reason: Words::Clear("why".to_owned()), by };
        let reinstated = || E::AccountReinstated { by, reason: None };
        for (events, status) in [
            (vec![], "active"),
            (vec![suspended()], "suspended"),
            (vec![suspended(), blocked()], "blocked"),
            (vec![blocked(), suspended()], "blocked"),
            (vec![blocked(), suspended(), reinstated()], "active"),
            (vec![blocked(), E::AccountErased {}], "erased"),
        ] {
            assert_eq!(counts(events), [(status.to_owned(), 1)]);
        }
    }
}
