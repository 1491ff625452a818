//! `tradepost projections retry` and `skip`.

use std::sync::Arc;

use commands::mail::Called;
use commands::payments::Payments;
use commands::timers::{self, TimerTable};
use commands::{Engine, EngineSettings};
use eventstore::clock::Clock;
use eventstore::feed::Feed;
use eventstore::follower::{self, Culprit, Follower, Retaken};
use eventstore::log::{self, Head};
use eventstore::parking::{self, Skip};
use eventstore::progress::Progress;
use projections::catalogue;
use sqlx::Connection;
use uuid::Uuid;

use crate::app;
use crate::cli::output::show;
use crate::cli::{Failure, Place};
use crate::config::Config;
use crate::media::Media;
use crate::offers::Kept;

/// For what processes read.
const CONNECTIONS: u32 = 2;

/// Where something is repaired, and with what settings.
type At<'a> = (&'a Place, &'a Config);

pub(super) async fn retry(at: At<'_>, name: &'static str, aggregate: Option<Uuid>, json: bool) -> Result<(), Failure> {
    if let Some(aggregate) = aggregate {
        check_parked(at.0, name, aggregate).await?;
    }
    tell(name, &retake(at, name, Repair::Retry(aggregate)).await?, json)
}

pub(super) async fn skip(
    at: At<'_>,
    name: &'static str,
    aggregate: Uuid,
    skip: Skip<'_>,
    json: bool,
) -> Result<(), Failure> {
    check_parked(at.0, name, aggregate).await?;
    tell(name, &retake(at, name, Repair::Skip(aggregate, skip)).await?, json)
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

async fn retake((place, config): At<'_>, name: &'static str, repair: Repair<'_>) -> Result<Retaken, Failure> {
    if let Some(mut model) = projections::find(name) {
        if matches!(repair, Repair::Retry(_)) && !model.takes_late() {
            let rebuild = format!("`tradepost projections rebuild {name}` takes what is parked, too");
            return Err(format!("what `{name}` shows depends on the order of everything: {rebuild}").into());
        }
        return retake_for(place, &mut model, repair).await;
    }
    if name == timers::NAME {
        return retake_for(place, &mut TimerTable, repair).await;
    }
    let (clock, pool) = (Clock::new(), place.database.pool(CONNECTIONS));
    clock.follow_once(&pool).await?;
    let (head, progress) = (Head::at(log::head(&pool).await?), Progress::default());
    let (engine, deciding) =
        Engine::start(&place.database, EngineSettings::default(), clock.clone(), head.clone(), Feed::default()).await?;
    let watching = tokio::spawn(progress.clone().watch(vec![catalogue::MODEL.name], pool.clone(), head));
    let offers = Kept { pool: pool.clone(), progress };
    let (media, payments) =
        (Arc::new(Media::open(&config.media)?), Payments { engine, providers: app::providers(config)?, clock });
    let processes = app::processes(&payments, Some(&media), &Called::default(), offers);
    let mut process = processes.into_iter().find(|process| process.name() == name);
    let retaken = match &mut process {
        Some(process) => retake_for(place, process.as_mut(), repair).await,
        None => Err(format!("there is no `{name}`").into()),
    };
    drop((process, payments));
    watching.abort();
    pool.close().await;
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
