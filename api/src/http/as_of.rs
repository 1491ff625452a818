//! Reads of a single thing as it was: `as_of`, a position of the log or a time.
//!
//! A [`Look`] is what a handler looks with: at the live tables, or at the same tables as they were ([`View`]). Whoever asks
//! of the past is first asked as everybody is: **who would be given no answer today is given none about then**, so what staff
//! have taken away, or what somebody is no longer a party of, is not to be had by its past. And then as they would have been
//! asked at that time: who was no party yet sees nothing of what was before.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{FromRef, FromRequestParts};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use chrono::{DateTime, Utc};
use domain::account::Capability;
use domain::{AccountId, Timestamp};
use eventstore::Position;
use eventstore::database::Database;
use eventstore::follower::FollowError;
use eventstore::history::{self, StateError};
use eventstore::past::{self, Moment, ToCome};
use projections::mentions;
use projections::past::{Bounds, PastError, Question, View};
use serde::de::DeserializeOwned;
use serde_json::Value;
use sqlx::Connection;
use tokio::sync::{Semaphore, SemaphorePermit};
use utoipa::IntoParams;
use utoipa::openapi::ObjectBuilder;
use utoipa::openapi::path::{Parameter, ParameterIn};
use utoipa::openapi::schema::{KnownFormat, OneOfBuilder, Schema, SchemaFormat, Type};
use uuid::Uuid;

use super::access;
use super::extract::{Caller, READ_PATIENCE, Read};
use super::fields::is_near;
use super::openapi;
use super::problem::Problem;
use crate::app::App;

/// What answers about the past are worked out with, and how many at once.
#[derive(Clone, Debug)]
pub struct Past {
    database: Database,
    bounds: Bounds,
    places: Arc<Semaphore>,
    /// Who has one of the places.
    answered: Arc<Mutex<BTreeSet<String>>>,
}

/// A place to work out an answer at, of which everybody has one at most.
#[derive(Debug)]
pub struct Place<'a> {
    past: &'a Past,
    asker: &'a str,
    permit: Option<SemaphorePermit<'a>>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.past.answered.lock().unwrap_or_else(PoisonError::into_inner).remove(self.asker);
        self.permit.take();
    }
}

impl Past {
    /// With connections of their own to `database`.
    pub fn of(database: &Database, settings: crate::config::Past) -> Self {
        let places = usize::try_from(settings.at_once).unwrap_or(1);
        let (database, bounds) = (database.clone(), settings.bounds());
        Self { database, bounds, places: Arc::new(Semaphore::new(places)), answered: Arc::default() }
    }

    /// Waits for a place, unless whoever asks has one or waits for one.
    async fn place<'a>(&'a self, asker: &'a str) -> Result<Place<'a>, Problem> {
        if !self.answered.lock().unwrap_or_else(PoisonError::into_inner).insert(asker.to_owned()) {
            let detail = "You are being told of the past already: ask one thing after another.";
            return Err(Problem::too_many_requests(detail, 1));
        }
        let mut place = Place { past: self, asker, permit: None };
        let permit = tokio::time::timeout(READ_PATIENCE, self.places.acquire()).await;
        place.permit = Some(permit.ok().and_then(Result::ok).ok_or_else(too_many)?);
        Ok(place)
    }

    /// What a thing was after so many of its events.
    pub async fn state(
        &self,
        asker: AccountId,
        aggregate_type: &str,
        id: Uuid,
        version: i64,
    ) -> Result<Value, Problem> {
        let asker = asker.to_string();
        let _place = self.place(&asker).await?;
        let work = async {
            let mut connection = self.database.connect(None).await.map_err(|error| unanswered(error.into()))?;
            let state = history::state(&mut connection, aggregate_type, id, version, self.bounds.events.into())
                .await
                .map_err(untellable);
            // There is an answer, however the connection ends.
            let _ = connection.close().await;
            state
        };
        tokio::time::timeout(self.bounds.time, work).await.unwrap_or_else(|_| Err(unanswered(PastError::TooLong)))
    }
}

/// A point in the history as it was found.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    /// The end of a unit of work.
    pub position: Position,
    /// The marketplace's time then.
    pub time: Timestamp,
}

async fn find(moment: Moment, app: &App) -> Result<Found, Problem> {
    let mut connection = app.pool.acquire().await?;
    let position = moment.whole(&mut connection, app.clock.now()).await?.map_err(in_the_future)?;
    let time = match moment {
        Moment::Time(time) => time,
        Moment::Position(_) => past::recorded_at(&mut connection, position).await?.unwrap_or(DateTime::UNIX_EPOCH),
    };
    Ok(Found { position, time })
}

fn in_the_future(beyond: ToCome) -> Problem {
    let problem =
        |detail| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "as-of-in-the-future", "That is still to come", detail);
    match beyond {
        ToCome::Position(head) => problem(format!("The log has come to position {head}.")).with("head", head),
        ToCome::Time(now) => {
            let now = now.to_rfc3339();
            problem(format!("It is {now}.")).with("now", now)
        }
    }
}

/// What a handler looks at things with.
#[derive(Debug)]
pub struct Look {
    /// Queries of read models take `&mut look.view`.
    pub view: View,
    /// The marketplace's time at which it is looked.
    pub now: Timestamp,
}

impl Look {
    fn now(app: &App) -> Self {
        Self { view: View::now(&app.pool), now: app.clock.now() }
    }
}

/// A read of a single thing, now or as it was.
#[derive(Debug)]
pub struct AsOf<Q> {
    /// The read.
    pub read: Read<Q>,
    moment: Option<Moment>,
    /// Who asks of the past: an account, or by its path whoever has the claim token of an order.
    asker: String,
}

impl<S: Send + Sync, Q: DeserializeOwned> FromRequestParts<S> for AsOf<Q>
where
    App: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let pairs = Read::<Q>::pairs(parts)?;
        let (own, rest): (Vec<_>, Vec<_>) = pairs.into_iter().partition(|(name, _)| name == "as_of");
        let mut moment = None;
        // Each must be good, though the first one counts.
        for (_, text) in own {
            moment.get_or_insert(parsed(&text)?);
        }
        let caller = match moment {
            Some(_) => access::caller(&App::from_ref(state), &parts.headers).await?,
            None => None,
        };
        let asker = caller.map_or_else(|| parts.uri.path().to_owned(), |caller| caller.account.to_string());
        Ok(Self { read: Read::of(&parts.headers, rest)?, moment, asker })
    }
}

fn parsed(text: &str) -> Result<Moment, Problem> {
    let rule = "must be a position in the log, or a time such as `2026-11-22T09:30:00Z`";
    text.parse().map_err(|_| Problem::invalid_field("?as_of", "invalid", rule))
}

impl<Q> AsOf<Q> {
    /// Whether it is the past that is asked for.
    pub fn is_past(&self) -> bool {
        self.moment.is_some()
    }

    /// Waits until the read model shows everything up to the position that the caller has seen.
    pub async fn wait_for(&self, app: &App, projection: &'static str) -> Result<(), Problem> {
        self.read.wait_for(app, projection).await
    }

    /// What is asked for needs nobody to log in, unless it is the past: that is dear to tell.
    pub fn admit(&self, caller: Option<Caller>) -> Result<(), Problem> {
        if self.is_past() && caller.is_none() {
            return Err(Problem::unauthenticated("Log in to ask how something was."));
        }
        Ok(())
    }

    /// What somebody shows to everybody is shown as it is; how it was, to themselves, staff and auditors.
    pub async fn admit_to(&self, app: &App, person: AccountId, caller: Option<Caller>) -> Result<(), Problem> {
        self.admit(caller)?;
        let Some(caller) = caller.filter(|_| self.is_past()) else { return Ok(()) };
        let may = caller.account == person
            || access::may(app, caller, Capability::Staff).await?
            || access::may(app, caller, Capability::Audit).await?;
        if may { Ok(()) } else { Err(Problem::not_found("past that is yours to see")) }
    }

    /// Answers by `show`: now, and if the past is asked for, once more with what was there then of all that
    /// `asked` rests on.
    pub async fn answer<T, F>(&self, app: &App, asked: Question<'_>, show: impl Fn(Look) -> F) -> Result<T, Problem>
    where
        F: Future<Output = Result<T, Problem>>,
    {
        let Some(moment) = self.moment else {
            return show(Look::now(app)).await;
        };
        let found = find(moment, app).await?;
        // What was answered with a position shows there, also before the live tables do.
        for model in asked.models().chain([mentions::MODEL.name]) {
            app.progress.wait_for(model, found.position, READ_PATIENCE).await?;
        }
        show(Look::now(app)).await?;
        let _place = app.past.place(&self.asker).await?;
        let Past { database, bounds, .. } = &app.past;
        let view = View::then(database, &asked, found.position, *bounds).await.map_err(unanswered)?;
        show(Look { view, now: found.time }).await
    }

    /// Where in the history it is asked for, by those who tell it in their own way.
    pub async fn found(&self, app: &App) -> Result<Option<Found>, Problem> {
        match self.moment {
            Some(moment) => find(moment, app).await.map(Some),
            None => Ok(None),
        }
    }
}

fn too_many() -> Problem {
    Problem::unavailable("Too many ask about the past just now.").with_header(header::RETRY_AFTER, "3")
}

fn unanswered(error: PastError) -> Problem {
    match error {
        PastError::TooMuch { most } => {
            let (title, detail) = ("Too much history", format!("The answer rests on more than {most} events."));
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "too-much-history", title, detail).with("most_events", most)
        }
        PastError::TooLong => Problem::unavailable("That takes longer to work out than there is time."),
        PastError::Sql(error) | PastError::Follow(FollowError::Sql(error)) => error.into(),
        PastError::Database(error) | PastError::Follow(FollowError::Database(error)) => {
            tracing::warn!(%error, "the database is not available to a look at the past");
            Problem::unavailable("The database is not available.")
        }
        PastError::Follow(error) => {
            tracing::error!(%error, "the past of a read model could not be worked out");
            Problem::internal()
        }
    }
}

fn untellable(error: StateError) -> Problem {
    match error {
        StateError::Unreachable(error) => error.into(),
        StateError::TooLong { events, most } => {
            let detail = format!("The state is the fold of {events} events, and {most} are folded for one answer.");
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "history-too-long", "History too long", detail)
        }
        StateError::UnknownType(_) | StateError::Unreadable { .. } => {
            tracing::error!(%error, "a state of the past cannot be told");
            Problem::internal()
        }
    }
}

/// Times that are searched by must be such as the database knows.
pub fn check_times(times: [(&'static str, Option<DateTime<Utc>>); 2]) -> Result<(), Problem> {
    for (name, time) in times {
        if time.is_some_and(|time| is_near(&time, &()).is_err()) {
            return Err(Problem::invalid_field(name, "out-of-range", "must be between the years 1970 and 3000"));
        }
    }
    Ok(())
}

/// Documents a read that may be of the past.
#[derive(Clone, Copy, Debug)]
pub struct TakesAsOf;

impl IntoParams for TakesAsOf {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let what = "As it was at this position of the log, or at this time: what this would have answered then to whoever \
                    asks, if it answers them now too. People who are forgotten stay so. Takes an account.";
        let text = || ObjectBuilder::new().schema_type(Type::String);
        let position = text().pattern(Some("^[0-9]{1,18}$"));
        let time = text().format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)));
        let time = time.pattern(Some("^(19[7-9][0-9]|2[0-9]{3})-"));
        let either = OneOfBuilder::new().item(position).item(time);
        vec![openapi::parameter("as_of", ParameterIn::Query, what, Schema::from(either))]
    }
}
