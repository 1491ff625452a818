//! Which plans have the staff defined?
//!
//! What is shipped with the marketplace is part of the program and not of the log, so whoever shows the plans adds those
//! of which nothing is said here.

use std::collections::BTreeMap;

use domain::plan::{Definition, Plan};
use domain::{Aggregate, Money};
use eventstore::Position;
use eventstore::event::DomainEvent;
use eventstore::follower::{Batch, FollowError};
use serde::Serialize;
use sqlx::types::Json;
use sqlx::{FromRow, PgConnection, PgExecutor};
use uuid::Uuid;

use crate::{ReadModel, rows};

/// The read model.
pub const MODEL: ReadModel = ReadModel {
    name: "plans",
    next: "plans_next",
    version: 1,
    about: &[Plan::TYPE],
    ddl: include_str!("plans.sql"),
    apply: |connection, batch| Box::pin(apply(connection, batch)),
};

/// A plan.
#[derive(Clone, Debug, FromRow, PartialEq, Serialize)]
pub struct Row {
    /// The plan.
    pub id: Uuid,
    /// What addresses call it.
    pub slug: String,
    /// What people call it.
    pub name: String,
    /// What a period costs, in each currency that it is sold in.
    pub prices: Json<Vec<Money>>,
    /// How long a period is, in days.
    pub period_days: i64,
    /// The marketplace's share of its subscribers' sales, in basis points, if it is another than usual.
    pub fee_bps: Option<i64>,
    /// How many listings its subscribers may have on offer; as many as they like unless told.
    pub listings: Option<i64>,
    /// What else it brings.
    pub features: Json<Vec<String>>,
    /// Its place among the plans, lowest first.
    pub sort_order: i32,
    /// Whether it is neither sold nor renewed any more.
    pub retired: bool,
    /// How many events it has.
    pub version: i64,
    /// Where the last of them is.
    pub position: Position,
}

impl Row {
    /// A plan that is as told since `version` events, of which the last is at `position`.
    pub fn of(id: impl Into<Uuid>, definition: Definition, version: i64, position: Position) -> Self {
        let Definition { slug, name, prices, period_days, fee_bps, listings, features, sort_order, retired } =
            definition;
        Self {
            id: id.into(),
            slug,
            name,
            prices: Json(prices),
            period_days: i64::from(period_days),
            fee_bps: fee_bps.map(i64::from),
            listings: listings.map(i64::from),
            features: Json(features),
            sort_order,
            retired,
            version,
            position,
        }
    }
}

async fn apply(connection: &mut PgConnection, batch: &Batch) -> Result<(), FollowError> {
    // Every event says all of what a plan is: there is nothing to load.
    let mut plans = BTreeMap::new();
    for recorded in &batch.events {
        if let DomainEvent::Plan(id, event) = &recorded.event {
            let definition = event.definition().clone();
            plans.insert(id.0, Row::of(*id, definition, recorded.sequence, recorded.position));
        }
    }
    let statement = "
        insert into plans select * from json_populate_recordset(null::plans, $1::json)
        on conflict on constraint plans_id do update set
            (name, prices, period_days, fee_bps, listings, features, sort_order, retired, version, position)
            = row (excluded.name, excluded.prices, excluded.period_days, excluded.fee_bps, excluded.listings,
                excluded.features, excluded.sort_order, excluded.retired, excluded.version, excluded.position)";
    Ok(rows::write(connection, statement, plans.into_values()).await?)
}

/// All plans that were ever defined, retired ones too.
pub async fn all(executor: impl PgExecutor<'_>) -> Result<Vec<Row>, sqlx::Error> {
    sqlx::query_as("select * from plans.plans order by sort_order, slug").fetch_all(executor).await
}
