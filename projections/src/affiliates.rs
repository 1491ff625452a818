//! Which referral code has an account, who has come by it, and what has that earned?
//!
//! Accounts, clicks, referrals and commissions are streams of their own, and each has a table of its own, so that it does
//! not matter which is read first.

use std::collections::{BTreeMap, BTreeSet};

use domain::account::{self, Account};
use domain::affiliate::{self, Affiliate};
use domain::commission::{self, Commission};
use domain::referral::{self, Referral};
use domain::referral_click::{self, ReferralClick};
use domain::{AccountId, Aggregate, CommissionId, Currency, Timestamp};
use eventstore::Position;
use eventstore::event::DomainEvent;
use eventstore::follower::{Batch, FollowError, Recorded};
use eventstore::sealing::PersonKeys;
use serde::{Deserialize, Serialize};
use sqlx::{FromRow, PgConnection, PgExecutor};
use uuid::Uuid;

use crate::{Page, ReadModel, Text, rows};

/// The read model.
pub const MODEL: ReadModel = ReadModel {
    name: "affiliates",
    next: "affiliates_next",
    version: 1,
    about: &[Account::TYPE, Affiliate::TYPE, Commission::TYPE, Referral::TYPE, ReferralClick::TYPE],
    ddl: include_str!("affiliates.sql"),
    apply: |connection, batch| Box::pin(apply(connection, batch)),
};

/// An account that has a referral code, or had one before it was forgotten.
#[derive(Clone, Debug, FromRow, PartialEq, Serialize)]
pub struct Enrolled {
    /// The account.
    pub id: Uuid,
    /// Its code.
    pub code: Option<String>,
    /// Since when it has one.
    pub enrolled_at: Timestamp,
    /// Where the last event is that changed this row.
    pub position: Position,
}

/// What an affiliate earns with one order.
#[derive(Clone, Debug, FromRow, PartialEq, Serialize)]
pub struct Row {
    /// The commission.
    pub id: Uuid,
    /// Whose.
    pub affiliate_id: Uuid,
    /// Where it is.
    pub state: State,
    /// In which currency.
    pub currency: Text<Currency>,
    /// The order's fee base, in minor units.
    pub base: i64,
    /// Which share of it is earned, in basis points.
    pub rate_bps: i32,
    /// What that was, in minor units.
    pub accrued: i64,
    /// What of it was taken back.
    pub reversed: i64,
    /// When the order was paid.
    pub accrued_at: Timestamp,
    /// When the affiliate got it.
    pub vested_at: Option<Timestamp>,
    /// Where the last event is that changed this row.
    pub position: Position,
}

/// Where a commission is.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum State {
    /// The seller is not paid yet.
    Pending,
    /// The affiliate has it.
    Vested,
    /// All of it was taken back.
    Reversed,
}

/// What a batch adds.
#[derive(Debug, Default)]
struct Changes {
    enrolled: BTreeMap<Uuid, Enrolled>,
    clicks: BTreeMap<Uuid, i64>,
    referred: BTreeSet<(Uuid, Uuid)>,
    commissions: BTreeMap<Uuid, Row>,
}

/// A row of the table of clicks.
#[derive(Debug, Serialize)]
struct Clicks {
    affiliate_id: Uuid,
    clicks: i64,
}

/// A row of the table of those who were referred.
#[derive(Debug, Serialize)]
struct Referred {
    affiliate_id: Uuid,
    account_id: Uuid,
}

async fn apply(connection: &mut PgConnection, batch: &Batch) -> Result<(), FollowError> {
    let mut changes = Changes::load(connection, &batch.events).await?;
    for recorded in &batch.events {
        changes.take(recorded, &batch.people);
    }
    changes.store(connection).await
}

impl Changes {
    /// Takes one event in.
    fn take(&mut self, recorded: &Recorded, people: &PersonKeys) {
        match &recorded.event {
            DomainEvent::Affiliate(AccountId(id), affiliate::Event::AffiliateEnrolled { code, claim: _ }) => {
                let (id, code) = (*id, people.open(code));
                let (enrolled_at, position) = (recorded.recorded_at, recorded.position);
                self.enrolled.insert(id, Enrolled { id, code, enrolled_at, position });
            }
            // What a rebuild shows, which finds no key.
            DomainEvent::Account(AccountId(id), account::Event::AccountErased {}) => {
                if let Some(enrolled) = self.enrolled.get_mut(id) {
                    (enrolled.code, enrolled.position) = (None, recorded.position);
                }
            }
            DomainEvent::ReferralClick(_, referral_click::Event::ReferralClicked { affiliate, at: _ }) => {
                *self.clicks.entry(affiliate.0).or_default() += 1;
            }
            DomainEvent::Referral(AccountId(account), referral::Event::AccountReferred { source }) => {
                self.referred.insert((source.affiliate.0, *account));
            }
            DomainEvent::Commission(id, event) => self.earn(*id, event, recorded),
            // A click that is repeated counts once; nothing else concerns it: see `about`.
            _ => {}
        }
    }

    fn earn(&mut self, CommissionId(id): CommissionId, event: &commission::Event, recorded: &Recorded) {
        if let commission::Event::CommissionAccrued { order: _, promise, base, amount, fee: _, postings: _ } = event {
            let row = Row {
                id,
                affiliate_id: promise.affiliate.0,
                state: State::Pending,
                currency: Text(amount.currency()),
                base: base.minor(),
                // At most 10,000.
                rate_bps: i32::try_from(promise.rate_bps).unwrap_or(i32::MAX),
                accrued: amount.minor(),
                reversed: 0,
                accrued_at: recorded.recorded_at,
                vested_at: None,
                position: recorded.position,
            };
            self.commissions.insert(id, row);
        }
        let Some(row) = self.commissions.get_mut(&id) else { return };
        row.position = recorded.position;
        match event {
            commission::Event::CommissionAccrued { .. } => {}
            commission::Event::CommissionVested { .. } => {
                (row.state, row.vested_at) = (State::Vested, Some(recorded.recorded_at));
            }
            commission::Event::CommissionReversed { amount, .. }
            | commission::Event::VestedCommissionReversed { amount, .. } => {
                row.reversed += amount.minor();
                if row.reversed == row.accrued {
                    row.state = State::Reversed;
                }
            }
        }
    }

    async fn load(connection: &mut PgConnection, events: &[Recorded]) -> Result<Self, FollowError> {
        let accounts = rows::touched(events, |event| match event {
            DomainEvent::Account(id, account::Event::AccountErased {}) => Some(id.0),
            _ => None,
        });
        let commissions = rows::touched(events, |event| match event {
            DomainEvent::Commission(id, _) => Some(id.0),
            _ => None,
        });
        let mut changes = Self::default();
        if !accounts.is_empty() {
            let enrolled: Vec<Enrolled> = sqlx::query_as("select * from affiliates where id = any($1)")
                .bind(accounts)
                .fetch_all(&mut *connection)
                .await?;
            changes.enrolled = enrolled.into_iter().map(|row| (row.id, row)).collect();
        }
        if !commissions.is_empty() {
            let commissions: Vec<Row> = sqlx::query_as("select * from commissions where id = any($1)")
                .bind(commissions)
                .fetch_all(connection)
                .await?;
            changes.commissions = commissions.into_iter().map(|row| (row.id, row)).collect();
        }
        Ok(changes)
    }

    async fn store(self, connection: &mut PgConnection) -> Result<(), FollowError> {
        let statement = "
            insert into affiliates select * from json_populate_recordset(null::affiliates, $1::json)
            on conflict on constraint affiliates_id do update set
                (code, position) = row (excluded.code, excluded.position)";
        rows::write(connection, statement, self.enrolled.into_values()).await?;
        let statement = "
            insert into clicks select * from json_populate_recordset(null::clicks, $1::json)
            on conflict on constraint clicks_affiliate do update set clicks = clicks.clicks + excluded.clicks";
        let clicks = self.clicks.into_iter().map(|(affiliate_id, clicks)| Clicks { affiliate_id, clicks });
        rows::write(connection, statement, clicks).await?;
        let statement = "
            insert into referred select * from json_populate_recordset(null::referred, $1::json)
            on conflict on constraint referred_account do nothing";
        let referred =
            self.referred.into_iter().map(|(affiliate_id, account_id)| Referred { affiliate_id, account_id });
        rows::write(connection, statement, referred).await?;
        let statement = "
            insert into commissions select * from json_populate_recordset(null::commissions, $1::json)
            on conflict on constraint commissions_id do update set
                (state, reversed, vested_at, position)
                = row (excluded.state, excluded.reversed, excluded.vested_at, excluded.position)";
        Ok(rows::write(connection, statement, self.commissions.into_values()).await?)
    }
}

/// The code of an account, if it has one.
pub async fn get(executor: impl PgExecutor<'_>, account: AccountId) -> Result<Option<Enrolled>, sqlx::Error> {
    sqlx::query_as("select * from affiliates.affiliates where id = $1").bind(account.0).fetch_optional(executor).await
}

/// Who has come by the links of an affiliate.
#[derive(Clone, Copy, Debug, FromRow, PartialEq, Serialize)]
pub struct Reach {
    /// How many clicks there were, one for each visitor and day.
    pub clicks: i64,
    /// How many accounts have come by one.
    pub accounts: i64,
}

/// Who has come by the links of an affiliate.
pub async fn reach(executor: impl PgExecutor<'_>, affiliate: AccountId) -> Result<Reach, sqlx::Error> {
    let statement = "
        select coalesce((select clicks from affiliates.clicks where affiliate_id = $1), 0) as clicks,
            (select count(*) from affiliates.referred where affiliate_id = $1) as accounts";
    sqlx::query_as(statement).bind(affiliate.0).fetch_one(executor).await
}

/// What an affiliate has earned in one currency, in minor units.
#[derive(Clone, Copy, Debug, FromRow, PartialEq, Serialize)]
pub struct Earnings {
    /// The currency.
    pub currency: Text<Currency>,
    /// With how many orders.
    pub orders: i64,
    /// What waits for sellers to be paid.
    pub pending: i64,
    /// What the affiliate has got and kept.
    pub vested: i64,
    /// What was taken back.
    pub reversed: i64,
}

/// What an affiliate has earned, by currency.
pub async fn earnings(executor: impl PgExecutor<'_>, affiliate: AccountId) -> Result<Vec<Earnings>, sqlx::Error> {
    let statement = "
        select currency, count(*) as orders,
            coalesce(sum(accrued - reversed) filter (where state = 'pending'), 0)::bigint as pending,
            coalesce(sum(accrued - reversed) filter (where state = 'vested'), 0)::bigint as vested,
            sum(reversed)::bigint as reversed
        from affiliates.commissions where affiliate_id = $1 group by currency order by currency";
    sqlx::query_as(statement).bind(affiliate.0).fetch_all(executor).await
}

/// Where a page ends: the sort key of its last row.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Cursor {
    /// When the order was paid.
    pub accrued_at: Timestamp,
    /// The commission.
    pub id: Uuid,
}

/// The commissions of an affiliate, newest first, after a cursor, at most `limit`.
pub async fn page(
    executor: impl PgExecutor<'_>,
    affiliate: AccountId,
    after: Option<Cursor>,
    limit: u32,
) -> Result<Page<Row, Cursor>, sqlx::Error> {
    let statement = "
        select * from affiliates.commissions
        where affiliate_id = $1 and ($2::timestamptz is null or (accrued_at, id) < ($2, $3))
        order by accrued_at desc, id desc limit $4";
    let rows = sqlx::query_as(statement)
        .bind(affiliate.0)
        .bind(after.map(|cursor| cursor.accrued_at))
        .bind(after.map(|cursor| cursor.id))
        .bind(Page::<Row, Cursor>::rows_to_fetch(limit))
        .fetch_all(executor)
        .await?;
    Ok(Page::of(rows, limit, |row: &Row| Cursor { accrued_at: row.accrued_at, id: row.id }))
}
