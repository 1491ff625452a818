//! What has been going on here, as analysts ask it: with SQL.
//!
//! Facts are kept in tables that nobody reads but the views of `analytics_views.sql`, and the views are what analysts see.
//! Both are in one schema and change places together when it is rebuilt: a view goes on with the tables that it was made
//! over whatever they are called, so one over another read model's would go on with those that a rebuild has put aside.
//! That is why this read model keeps facts of its own, and reads the log as all of them do.
//!
//! What analysts see names nobody: views show pseudonyms in the place of buyers and bidders, and of maxima and reserves
//! the tables have no more than prices tell everybody. Views are made by whoever owns the schema, who is not the service.

use domain::{Aggregate, account, auction, escrow, listing, order};
use eventstore::analysts::ANALYST_ROLE;
use eventstore::event::DomainEvent;
use eventstore::follower::{Batch, FollowError, Recorded};
use sqlx::{Executor, PgConnection};

use self::auctions::Auctions;
use self::escrows::Escrows;
use self::listings::Listings;
use self::orders::Orders;
use self::people::People;
use crate::{ReadModel, schema};

mod auctions;
mod escrows;
mod listings;
mod orders;
mod people;

/// The read model.
pub const MODEL: ReadModel = ReadModel {
    name: "analytics",
    next: "analytics_next",
    version: 2,
    about: &[
        account::Account::TYPE,
        auction::Auction::TYPE,
        escrow::Escrow::TYPE,
        listing::Listing::TYPE,
        order::Order::TYPE,
    ],
    ddl: include_str!("analytics.sql"),
    apply: |connection, batch| Box::pin(apply(connection, batch)),
};

/// What analysts see. Part of the version of the read model: whoever changes a view raises it.
const VIEWS: &str = include_str!("analytics_views.sql");

/// Makes the views over the tables of the schema that is on the search path, for analysts to read once it is [`open`].
pub(crate) async fn show(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    connection.execute(sqlx::raw_sql(VIEWS)).await?;
    let grants: String = sqlx::query_scalar(
        "select string_agg(format('grant select on %I.%I to %I', schemaname, viewname, $1), ';' order by viewname)
         from pg_views where schemaname = current_schema",
    )
    .bind(ANALYST_ROLE)
    .fetch_one(&mut *connection)
    .await?;
    connection.execute(sqlx::raw_sql(&grants)).await?;
    Ok(())
}

/// Lets analysts into the live schema, which is whole, and out of any other that was or is to be the live one.
pub(crate) async fn open(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    let grants: String = sqlx::query_scalar(
        "select string_agg(format(
            case nspname when $1 then 'grant usage on schema %I to %I' else 'revoke usage on schema %I from %I' end,
            nspname, $2), ';' order by nspname)
         from pg_namespace where nspname = any($3) or starts_with(nspname, $4)",
    )
    .bind(MODEL.name)
    .bind(ANALYST_ROLE)
    .bind([MODEL.name, MODEL.next])
    .bind(schema::former(&MODEL))
    .fetch_one(&mut *connection)
    .await?;
    connection.execute(sqlx::raw_sql(&grants)).await?;
    Ok(())
}

/// The facts that a batch is about.
#[derive(Debug, Default)]
struct Facts {
    people: People,
    listings: Listings,
    auctions: Auctions,
    orders: Orders,
    escrows: Escrows,
}

async fn apply(connection: &mut PgConnection, batch: &Batch) -> Result<(), FollowError> {
    let mut facts = Facts::load(connection, &batch.events).await?;
    for recorded in &batch.events {
        facts.take(recorded);
    }
    facts.store(connection).await
}

impl Facts {
    async fn load(connection: &mut PgConnection, events: &[Recorded]) -> Result<Self, FollowError> {
        Ok(Self {
            people: People::load(connection, events).await?,
            listings: Listings::load(connection, events).await?,
            auctions: Auctions::load(connection, events).await?,
            orders: Orders::load(connection, events).await?,
            escrows: Escrows::load(connection, events).await?,
        })
    }

    /// Takes one event in.
    fn take(&mut self, recorded: &Recorded) {
        match &recorded.event {
            DomainEvent::Account(id, event) => self.people.take(id.0, event, recorded),
            DomainEvent::Listing(id, event) => self.listings.take(id.0, event, recorded),
            DomainEvent::Auction(id, event) => self.auctions.take(id.0, event, recorded),
            DomainEvent::Order(id, event) => {
                self.orders.take(id.0, event, recorded);
                self.escrows.movements.extend(self.orders.paid_at_the_door(id.0, event, recorded));
            }
            DomainEvent::Escrow(id, event) => self.escrows.take(id.0, event, recorded),
            // Nothing else concerns it: see `about`.
            _ => {}
        }
    }

    async fn store(self, connection: &mut PgConnection) -> Result<(), FollowError> {
        self.people.store(connection).await?;
        self.listings.store(connection).await?;
        self.auctions.store(connection).await?;
        self.orders.store(connection).await?;
        Ok(self.escrows.store(connection).await?)
    }
}
