//! How many bonus points has an account, and where do they come from?

use std::collections::BTreeMap;

use domain::points::{Event, Points};
use domain::{AccountId, Aggregate, Currency, Timestamp};
use eventstore::Position;
use eventstore::event::DomainEvent;
use eventstore::follower::{Batch, FollowError, Recorded};
use serde::{Deserialize, Serialize};
use sqlx::{FromRow, PgConnection, PgExecutor};
use uuid::Uuid;

use crate::{Page, ReadModel, Text, rows};

/// The read model.
pub const MODEL: ReadModel = ReadModel {
    name: "points",
    next: "points_next",
    version: 1,
    about: &[Points::TYPE],
    ddl: include_str!("points.sql"),
    apply: |connection, batch| Box::pin(apply(connection, batch)),
};

/// How many points an account has of one currency.
#[derive(Clone, Copy, Debug, FromRow, PartialEq, Serialize)]
pub struct Balance {
    /// Whose.
    pub account_id: Uuid,
    /// Of which currency.
    pub currency: Text<Currency>,
    /// How many; below zero is owed.
    pub points: i64,
    /// Where the last event is that moved some.
    pub position: Position,
}

/// Some points that came or went.
#[derive(Clone, Copy, Debug, FromRow, PartialEq, Serialize)]
pub struct Entry {
    /// Whose.
    pub account_id: Uuid,
    /// Its place in the account's stream.
    pub sequence: i64,
    /// Why.
    pub kind: Kind,
    /// Of which currency.
    pub currency: Text<Currency>,
    /// What was added.
    pub points: i64,
    /// With which order.
    pub order_id: Uuid,
    /// When.
    pub at: Timestamp,
    /// Where its event is.
    pub position: Position,
}

/// Why points came or went.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Kind {
    /// An order was completed.
    Earned,
    /// An order was paid with them.
    Redeemed,
    /// They came back of what was paid for an order.
    GivenBack,
    /// Money of an order went back that had earned them.
    TakenBack,
}

#[derive(Debug, Default)]
struct Changes {
    balances: BTreeMap<(Uuid, Currency), Balance>,
    entries: Vec<Entry>,
}

async fn apply(connection: &mut PgConnection, batch: &Batch) -> Result<(), FollowError> {
    let mut changes = Changes::load(connection, &batch.events).await?;
    for recorded in &batch.events {
        changes.take(recorded);
    }
    changes.store(connection).await
}

impl Changes {
    /// Takes one event in.
    fn take(&mut self, recorded: &Recorded) {
        let DomainEvent::Points(AccountId(account_id), event) = &recorded.event else { return };
        let (account_id, position) = (*account_id, recorded.position);
        let (order, currency, points) = event.change();
        let nothing = Balance { account_id, currency: Text(currency), points: 0, position };
        let balance = self.balances.entry((account_id, currency)).or_insert(nothing);
        balance.points = balance.points.saturating_add(points);
        balance.position = position;
        self.entries.push(Entry {
            account_id,
            sequence: recorded.sequence,
            kind: match event {
                Event::PointsEarned { .. } => Kind::Earned,
                Event::PointsRedeemed { .. } => Kind::Redeemed,
                Event::PointsGivenBack { .. } => Kind::GivenBack,
                Event::PointsTakenBack { .. } => Kind::TakenBack,
            },
            currency: Text(currency),
            points,
            order_id: order.0,
            at: recorded.recorded_at,
            position,
        });
    }

    async fn load(connection: &mut PgConnection, events: &[Recorded]) -> Result<Self, FollowError> {
        let accounts = rows::touched(events, |event| match event {
            DomainEvent::Points(id, _) => Some(id.0),
            _ => None,
        });
        if accounts.is_empty() {
            return Ok(Self::default());
        }
        let balances: Vec<Balance> = sqlx::query_as("select * from balances where account_id = any($1)")
            .bind(accounts)
            .fetch_all(connection)
            .await?;
        let balances = balances.into_iter().map(|balance| ((balance.account_id, balance.currency.0), balance));
        Ok(Self { balances: balances.collect(), entries: Vec::new() })
    }

    async fn store(self, connection: &mut PgConnection) -> Result<(), FollowError> {
        let statement = "
            insert into balances select * from json_populate_recordset(null::balances, $1::json)
            on conflict on constraint balances_account do update set
                (points, position) = row (excluded.points, excluded.position)";
        rows::write(connection, statement, self.balances.into_values()).await?;
        let statement = "insert into entries select * from json_populate_recordset(null::entries, $1::json)";
        Ok(rows::write(connection, statement, self.entries).await?)
    }
}

/// How many points an account has, by currency.
pub async fn balances(executor: impl PgExecutor<'_>, account: AccountId) -> Result<Vec<Balance>, sqlx::Error> {
    sqlx::query_as("select * from points.balances where account_id = $1 order by currency")
        .bind(account.0)
        .fetch_all(executor)
        .await
}

/// Where the points of an account came from, newest first, from before the entry with sequence `before` on, at most
/// `limit`.
pub async fn entries_page(
    executor: impl PgExecutor<'_>,
    account: AccountId,
    before: Option<i64>,
    limit: u32,
) -> Result<Page<Entry, i64>, sqlx::Error> {
    let entries = sqlx::query_as(
        "select * from points.entries where account_id = $1 and sequence < $2 order by sequence desc limit $3",
    )
    .bind(account.0)
    .bind(before.unwrap_or(i64::MAX))
    .bind(Page::<Entry, i64>::rows_to_fetch(limit))
    .fetch_all(executor)
    .await?;
    Ok(Page::of(entries, limit, |entry: &Entry| entry.sequence))
}
