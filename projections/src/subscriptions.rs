//! Who subscribes to what, since when and until when, and how many listings has a seller on offer?
//!
//! An account has one subscription at a time, and those that have ended stay here. What they have cost is in
//! [`crate::wallet_statement`].

use std::collections::BTreeMap;

use domain::plan::Terms;
use domain::seller::{self, Seller};
use domain::subscription::{EndCause, Event, Period, Subscription};
use domain::{AccountId, Aggregate, Currency, SubscriptionId, Timestamp};
use eventstore::Position;
use eventstore::event::DomainEvent;
use eventstore::follower::{Batch, FollowError, Recorded};
use serde::{Deserialize, Serialize};
use sqlx::types::Json;
use sqlx::{FromRow, PgConnection, PgExecutor};
use uuid::Uuid;

use crate::{Page, ReadModel, Text, rows};

/// The read model.
pub const MODEL: ReadModel = ReadModel {
    name: "subscriptions",
    next: "subscriptions_next",
    version: 2,
    about: &[Seller::TYPE, Subscription::TYPE],
    ddl: include_str!("subscriptions.sql"),
    apply: |connection, batch| Box::pin(apply(connection, batch)),
};

/// A subscription.
#[derive(Clone, Debug, FromRow, PartialEq, Serialize)]
pub struct Row {
    /// The subscription.
    pub id: Uuid,
    /// Whose.
    pub account_id: Uuid,
    /// Where it is.
    pub state: State,
    /// The slug of the plan.
    pub plan: String,
    /// What people called it.
    pub name: String,
    /// What a period costs, in minor units.
    pub price: i64,
    /// In which currency.
    pub currency: Text<Currency>,
    /// How long a period is, in days.
    pub period_days: i64,
    /// The marketplace's share of its subscriber's sales, in basis points, if it is another than usual.
    pub fee_bps: Option<i64>,
    /// How many listings its subscriber may have on offer; as many as they like unless told.
    pub listings: Option<i64>,
    /// What else it brings.
    pub features: Json<Vec<String>>,
    /// Which period was paid last, from 1.
    pub period: i64,
    /// When it began.
    pub period_starts_at: Timestamp,
    /// When it ends.
    pub period_ends_at: Timestamp,
    /// Whether another one follows.
    pub renews: bool,
    /// The slug of the plan that it is of, if it is another.
    pub next_plan: Option<String>,
    /// What people called that.
    pub next_name: Option<String>,
    /// What its period costs, in minor units.
    pub next_price: Option<i64>,
    /// In which currency.
    pub next_currency: Option<Text<Currency>>,
    /// When payment is tried again, if it has failed.
    pub retry_at: Option<Timestamp>,
    /// When it ends unless it is paid.
    pub grace_until: Option<Timestamp>,
    /// When its subscriber was told that the period ends.
    pub reminded_at: Option<Timestamp>,
    /// When it was bought.
    pub purchased_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// Why.
    pub end_cause: Option<Text<EndCause>>,
    /// How many events the subscriptions of its account have.
    pub version: i64,
    /// Where the last event is that changed it.
    pub position: Position,
}

/// Where a subscription is.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum State {
    /// Its period is paid.
    Active,
    /// It goes on for a few days, and its next period is not paid.
    PastDue,
    /// It is over.
    Ended,
}

/// What a seller has on offer.
#[derive(Clone, Copy, Debug, FromRow, PartialEq, Serialize)]
pub struct Offers {
    /// Who.
    pub account_id: Uuid,
    /// How many listings.
    pub offers: i64,
    /// A fee of the seller's own, in basis points.
    pub fee_bps: Option<i64>,
    /// Where the last event is that changed this.
    pub position: Position,
}

/// What a batch touches.
#[derive(Debug, Default)]
struct Changes {
    subscriptions: BTreeMap<Uuid, Row>,
    sellers: BTreeMap<Uuid, Offers>,
}

async fn apply(connection: &mut PgConnection, batch: &Batch) -> Result<(), FollowError> {
    let mut changes = Changes::load(connection, &batch.events).await?;
    for recorded in &batch.events {
        match &recorded.event {
            DomainEvent::Subscription(account, event) => changes.take(*account, event, recorded),
            DomainEvent::Seller(account, event) => changes.count(*account, event, recorded),
            // Nothing else concerns it: see `about`.
            _ => {}
        }
    }
    changes.store(connection).await
}

impl Changes {
    fn take(&mut self, account: AccountId, event: &Event, recorded: &Recorded) {
        if let Event::SubscriptionPurchased { subscription, terms, period, .. } = event {
            let row = Row::purchased(*subscription, account, terms, *period, recorded.recorded_at);
            self.subscriptions.insert(subscription.0, row);
        }
        let Some(row) = self.subscriptions.get_mut(&event.subscription().0) else { return };
        row.take(event, recorded.recorded_at);
        (row.version, row.position) = (recorded.sequence, recorded.position);
    }

    fn count(&mut self, account: AccountId, event: &seller::Event, recorded: &Recorded) {
        let (account_id, position) = (account.0, recorded.position);
        let nothing = Offers { account_id, offers: 0, fee_bps: None, position };
        let row = self.sellers.entry(account_id).or_insert(nothing);
        row.position = position;
        match event {
            seller::Event::OfferAdded { .. } => row.offers += 1,
            seller::Event::OfferWithdrawn { .. } => row.offers -= 1,
            seller::Event::FeeAgreed { fee_bps, .. } => row.fee_bps = fee_bps.map(i64::from),
        }
    }

    async fn load(connection: &mut PgConnection, events: &[Recorded]) -> Result<Self, FollowError> {
        let subscriptions = rows::touched(events, |event| match event {
            DomainEvent::Subscription(_, event) => Some(event.subscription().0),
            _ => None,
        });
        let sellers = rows::touched(events, |event| match event {
            DomainEvent::Seller(id, _) => Some(id.0),
            _ => None,
        });
        let mut changes = Self::default();
        if !subscriptions.is_empty() {
            let rows: Vec<Row> = sqlx::query_as("select * from subscriptions where id = any($1)")
                .bind(subscriptions)
                .fetch_all(&mut *connection)
                .await?;
            changes.subscriptions = rows.into_iter().map(|row| (row.id, row)).collect();
        }
        if !sellers.is_empty() {
            let rows: Vec<Offers> = sqlx::query_as("select * from sellers where account_id = any($1)")
                .bind(sellers)
                .fetch_all(connection)
                .await?;
            changes.sellers = rows.into_iter().map(|row| (row.account_id, row)).collect();
        }
        Ok(changes)
    }

    async fn store(self, connection: &mut PgConnection) -> Result<(), FollowError> {
        let statement = "
            insert into subscriptions select * from json_populate_recordset(null::subscriptions, $1::json)
            on conflict on constraint subscriptions_id do update set
                (state, plan, name, price, currency, period_days, fee_bps, listings, features, period, period_starts_at,
                    period_ends_at, renews, next_plan, next_name, next_price, next_currency, retry_at, grace_until,
                    reminded_at, ended_at, end_cause, version, position)
                = row (excluded.state, excluded.plan, excluded.name, excluded.price, excluded.currency,
                    excluded.period_days, excluded.fee_bps, excluded.listings, excluded.features, excluded.period,
                    excluded.period_starts_at, excluded.period_ends_at, excluded.renews, excluded.next_plan,
                    excluded.next_name, excluded.next_price, excluded.next_currency, excluded.retry_at,
                    excluded.grace_until, excluded.reminded_at, excluded.ended_at, excluded.end_cause, excluded.version,
                    excluded.position)";
        rows::write(connection, statement, self.subscriptions.into_values()).await?;
        let statement = "
            insert into sellers select * from json_populate_recordset(null::sellers, $1::json)
            on conflict on constraint sellers_account do update set
                (offers, fee_bps, position) = row (excluded.offers, excluded.fee_bps, excluded.position)";
        Ok(rows::write(connection, statement, self.sellers.into_values()).await?)
    }
}

impl Row {
    fn purchased(
        SubscriptionId(id): SubscriptionId,
        account: AccountId,
        terms: &Terms,
        period: Period,
        purchased_at: Timestamp,
    ) -> Self {
        Self {
            id,
            account_id: account.0,
            state: State::Active,
            plan: terms.plan.clone(),
            name: terms.name.clone(),
            price: terms.price.minor(),
            currency: Text(terms.price.currency()),
            period_days: i64::from(terms.period_days),
            fee_bps: terms.fee_bps.map(i64::from),
            listings: terms.listings.map(i64::from),
            features: Json(terms.features.clone()),
            period: i64::from(period.number),
            period_starts_at: period.starts_at,
            period_ends_at: period.ends_at,
            renews: true,
            next_plan: None,
            next_name: None,
            next_price: None,
            next_currency: None,
            retry_at: None,
            grace_until: None,
            reminded_at: None,
            purchased_at,
            ended_at: None,
            end_cause: None,
            version: 0,
            position: 0,
        }
    }

    fn take(&mut self, event: &Event, at: Timestamp) {
        match event {
            Event::SubscriptionPurchased { .. } | Event::PeriodRecognised { .. } => {}
            Event::SubscriptionUpgraded { terms, period, subscription, .. }
            | Event::SubscriptionRenewed { terms, period, subscription, .. } => {
                let account = AccountId(self.account_id);
                *self = Self::purchased(*subscription, account, terms, *period, self.purchased_at);
            }
            Event::PlanChangeScheduled { terms, .. } => self.is_followed_by(true, Some(terms)),
            Event::SubscriptionCancelled { .. } => self.is_followed_by(false, None),
            Event::SubscriptionContinued { .. } => self.is_followed_by(true, None),
            Event::RenewalReminded { .. } => self.reminded_at = Some(at),
            Event::RenewalFailed { retry_at, until, .. } => {
                self.state = State::PastDue;
                (self.retry_at, self.grace_until) = (Some(*retry_at), Some(*until));
            }
            Event::SubscriptionEnded { cause, .. } => {
                self.state = State::Ended;
                self.is_followed_by(false, None);
                (self.retry_at, self.grace_until) = (None, None);
                (self.ended_at, self.end_cause) = (Some(at), Some(Text(*cause)));
            }
        }
    }

    /// What comes after the period: nothing, another one like it, or one of another plan.
    fn is_followed_by(&mut self, renews: bool, other: Option<&Terms>) {
        self.renews = renews;
        self.next_plan = other.map(|terms| terms.plan.clone());
        self.next_name = other.map(|terms| terms.name.clone());
        self.next_price = other.map(|terms| terms.price.minor());
        self.next_currency = other.map(|terms| Text(terms.price.currency()));
    }
}

/// The subscription of an account that goes on, if there is one.
pub async fn current(executor: impl PgExecutor<'_>, account: AccountId) -> Result<Option<Row>, sqlx::Error> {
    sqlx::query_as("select * from subscriptions.subscriptions where account_id = $1 and state <> 'ended'")
        .bind(account.0)
        .fetch_optional(executor)
        .await
}

/// How many listings a seller has on offer; none if there never was one.
pub async fn offers(executor: impl PgExecutor<'_>, seller: AccountId) -> Result<Option<Offers>, sqlx::Error> {
    sqlx::query_as("select * from subscriptions.sellers where account_id = $1")
        .bind(seller.0)
        .fetch_optional(executor)
        .await
}

/// Those with a fee of their own, by their ids, from behind one on, at most `limit`.
pub async fn with_fee(
    executor: impl PgExecutor<'_>,
    after: Option<Uuid>,
    limit: u32,
) -> Result<Vec<Offers>, sqlx::Error> {
    let statement = "
        select * from subscriptions.sellers
        where fee_bps is not null and ($1::uuid is null or account_id > $1) order by account_id limit $2";
    sqlx::query_as(statement).bind(after).bind(i64::from(limit)).fetch_all(executor).await
}

/// Where a page ends: the sort key of its last row.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Cursor {
    /// When it was bought.
    pub purchased_at: Timestamp,
    /// The subscription.
    pub id: Uuid,
}

/// The subscriptions of an account, newest first, after a cursor, at most `limit`.
pub async fn page(
    executor: impl PgExecutor<'_>,
    account: AccountId,
    after: Option<Cursor>,
    limit: u32,
) -> Result<Page<Row, Cursor>, sqlx::Error> {
    let statement = "
        select * from subscriptions.subscriptions
        where account_id = $1 and ($2::timestamptz is null or (purchased_at, id) < ($2, $3))
        order by purchased_at desc, id desc limit $4";
    let rows = sqlx::query_as(statement)
        .bind(account.0)
        .bind(after.map(|cursor| cursor.purchased_at))
        .bind(after.map(|cursor| cursor.id))
        .bind(Page::<Row, Cursor>::rows_to_fetch(limit))
        .fetch_all(executor)
        .await?;
    Ok(Page::of(rows, limit, |row: &Row| Cursor { purchased_at: row.purchased_at, id: row.id }))
}

#[cfg(test)]
mod tests {
    use domain::Money;
    use domain::subscription::{Command, Outlook};

    use super::*;
    use crate::tests::history::recorded;

    const ANN: AccountId = AccountId(Uuid::from_u128(1));
    const FIRST: SubscriptionId = SubscriptionId(Uuid::from_u128(10));

    fn terms(plan: &str, minor: i64) -> Terms {
        Terms {
            plan: plan.to_owned(),
            name: plan.to_uppercase(),
            price: Money::new(minor, Currency::USD).unwrap(),
            period_days: 30,
            fee_bps: None,
            listings: Some(5),
            features: vec![],
        }
    }

    fn day(days: i64) -> Timestamp {
        Timestamp::default() + chrono::TimeDelta::days(days)
    }

    fn buy(plan: &str, minor: i64) -> Command {
        Command::Purchase { owner: ANN, subscription: FIRST, terms: terms(plan, minor), now: day(0) }
    }

    fn shown(commands: impl IntoIterator<Item = Command>) -> Row {
        let (mut subscription, mut changes) = (Subscription::default(), Changes::default());
        let mut position = 0;
        for command in commands {
            for event in subscription.decide(command).unwrap() {
                subscription.evolve(&event);
                position += 1;
                let recorded = recorded(position, DomainEvent::Subscription(ANN, event.clone()));
                changes.take(ANN, &event, &recorded);
            }
        }
        changes.subscriptions[&FIRST.0].clone()
    }

    #[test]
    fn what_comes_next_is_shown_until_it_has_come() {
        let cheaper = || buy("bronze", 5);
        let row = shown([buy("silver", 10), cheaper()]);
        assert_eq!((&*row.plan, row.next_plan.as_deref(), row.next_price), ("silver", Some("bronze"), Some(5)));
        let row = shown([buy("silver", 10), Command::Cancel { subscription: None }]);
        assert_eq!((row.renews, row.state, row.next_plan), (false, State::Active, None));
        let renew = Command::Renew { outlook: Outlook::Payable, now: day(30) };
        let row = shown([buy("silver", 10), cheaper(), renew]);
        assert_eq!((&*row.plan, row.next_plan, row.period, row.renews), ("bronze", None, 2, true));
    }

    #[test]
    fn what_is_not_paid_shows_until_when_and_why_it_has_ended() {
        let renew = |days| Command::Renew { outlook: Outlook::Unpayable, now: day(days) };
        let row = shown([buy("silver", 10), Command::Remind { now: day(27) }, renew(30)]);
        assert_eq!((row.state, row.grace_until, row.retry_at), (State::PastDue, Some(day(33)), Some(day(31))));
        assert!(row.reminded_at.is_some());
        let row = shown([buy("silver", 10), renew(30), renew(33)]);
        assert_eq!((row.state, row.grace_until, row.renews), (State::Ended, None, false));
        assert_eq!(row.end_cause, Some(Text(EndCause::NotPaid)));
    }
}
