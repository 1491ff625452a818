//! `tradepost projections retry` and `skip`.

use commands::mail::{self, Mail};
use commands::payments::{self, Payments};
use commands::timers::TimerTable;
use commands::{Engine, EngineSettings};
use eventstore::clock::Clock;
use eventstore::feed::Feed;
use eventstore::follower::{self, Culprit, Follower, Retaken};
use eventstore::log::Head;
use eventstore::parking::{self, Skip};
use sqlx::Connection;
use uuid::Uuid;

use crate::cli::output::show;
use crate::cli::{Failure, Place};

pub(super) async fn retry(
    place: &Place,
    name: &'static str,
    aggregate: Option<Uuid>,
    json: bool,
) -> Result<(), Failure> {
    if let Some(aggregate) = aggregate {
        check_parked(place, name, aggregate).await?;
    }
    tell(name, &retake(place, name, Repair::Retry(aggregate)).await?, json)
}

pub(super) async fn skip(
    place: &Place,
    name: &'static str,
    aggregate: Uuid,
    skip: Skip<'_>,
    json: bool,
) -> Result<(), Failure> {
    check_parked(place, name, aggregate).await?;
    tell(name, &retake(place, name, Repair::Skip(aggregate, skip)).await?, json)
}

/// A wrong id is told, instead of nothing being done.
async fn check_parked(place: &Place, name: &str, aggregate: Uuid) -> Result<(), Failure> {
    let pool = place.database.pool(1);
    let parked = parking::list(&pool, &[name]).await?;
    pool.close().await;
    if parked.iter().any(|event| event.aggregate_id == aggregate) {
        return Ok(());
    }
    Err(format!("nothing of {aggregate} is parked for `{name}`").into())
}

/// What is to be done.
#[derive(Clone, Copy, Debug)]
enum Repair<'a> {
    Retry(Option<Uuid>),
    Skip(Uuid, Skip<'a>),
}

async fn retake(place: &Place, name: &'static str, repair: Repair<'_>) -> Result<Retaken, Failure> {
    if name != payments::NAME {
        return match projections::find(name) {
            Some(mut model) => retake_for(place, &mut model, repair).await,
            None if name == mail::NAME => retake_for(place, &mut Mail::default(), repair).await,
            None => retake_for(place, &mut TimerTable, repair).await,
        };
    }
    let (clock, pool) = (Clock::new(), place.database.pool(1));
    clock.follow_once(&pool).await?;
    pool.close().await;
    let settings = EngineSettings::default();
    let (engine, deciding) =
        Engine::start(&place.database, settings, clock.clone(), Head::at(0), Feed::default()).await?;
    let mut payments = Payments { engine, providers: crate::app::providers(), clock };
    let retaken = retake_for(place, &mut payments, repair).await;
    drop(payments);
    deciding.await?;
    retaken
}

async fn retake_for(place: &Place, follower: &mut dyn Follower, repair: Repair<'_>) -> Result<Retaken, Failure> {
    let mut connection = place.database.connect(follower.schema()).await?;
    let wrapping = place.database.wrapping();
    let retaken = match repair {
        Repair::Retry(aggregate) => follower::retry(follower, &mut connection, wrapping, aggregate).await?,
        Repair::Skip(aggregate, skip) => follower::skip(follower, &mut connection, wrapping, aggregate, skip).await?,
    };
    connection.close().await?;
    Ok(retaken)
}

fn tell(name: &str, retaken: &Retaken, json: bool) -> Result<(), Failure> {
    let Retaken { taken, skipped, culprits, waiting } = retaken;
    let skipped = skipped.map(|position| format!(", {position} skipped")).unwrap_or_default();
    let mut lines =
        vec![format!("{} taken{skipped}, {} still parked, {waiting} behind them", taken.len(), culprits.len())];
    lines.extend(culprits.iter().map(|Culprit { position, aggregate_id, error }| {
        format!("  {aggregate_id}: {position} cannot be taken: {error}")
    }));
    show(json, retaken, lines.join("\n"))?;
    if culprits.is_empty() { Ok(()) } else { Err(format!("there are events that `{name}` cannot take").into()) }
}
