//! Reads of a single thing as it was: `as_of`, a position of the log or a time.
//!
//! A [`Look`] is what a handler looks with: at the live tables, or at the same tables as they were ([`View`]). Whoever asks
//! of the past is first asked as everybody is: **who would be given no answer today is given none about then**, so what staff
//! have taken away, or what somebody is no longer a party of, is not to be had by its past. And then as they would have been
//! asked at that time: who was no party yet sees nothing of what was before.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use chrono::{DateTime, Utc};
use domain::account::Capability;
use domain::{AccountId, Timestamp};
use eventstore::database::Database;
use eventstore::follower::FollowError;
use eventstore::{Position, log, past};
use projections::mentions;
use projections::past::{Bounds, PastError, Question, View};
use serde::de::DeserializeOwned;
use sqlx::PgConnection;
use tokio::sync::Semaphore;
use utoipa::IntoParams;
use utoipa::openapi::ObjectBuilder;
use utoipa::openapi::path::{Parameter, ParameterIn};
use utoipa::openapi::schema::{KnownFormat, OneOfBuilder, Schema, SchemaFormat, Type};

use super::access;
use super::extract::{Caller, READ_PATIENCE, Read};
use super::fields::is_near;
use super::openapi;
use super::problem::Problem;
use crate::app::App;

/// No position will ever have more.
const MOST_DIGITS: usize = 18;

/// What answers about the past are worked out with, and how many at once.
#[derive(Clone, Debug)]
pub struct Past {
    database: Database,
    bounds: Bounds,
    places: Arc<Semaphore>,
}

impl Past {
    /// With connections of their own to `database`.
    pub fn of(database: &Database, settings: crate::config::Past) -> Self {
        let places = usize::try_from(settings.at_once).unwrap_or(1);
        Self { database: database.clone(), bounds: settings.bounds(), places: Arc::new(Semaphore::new(places)) }
    }
}

/// A point in the history that somebody names.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Moment {
    /// Right after the unit of work that ends there, or after the last one before.
    Position(Position),
    /// After everything that was recorded by then.
    Time(Timestamp),
}

/// A point in the history as it was found.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    /// The end of a unit of work.
    pub position: Position,
    /// The marketplace's time then.
    pub time: Timestamp,
}

impl Moment {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if (1..=MOST_DIGITS).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit()) {
            return text.parse().ok().map(Self::Position);
        }
        let time = DateTime::parse_from_rfc3339(text).ok()?.with_timezone(&Utc);
        is_near(&time, &()).is_ok().then_some(Self::Time(time))
    }

    async fn find(self, app: &App) -> Result<Found, Problem> {
        let mut connection = app.pool.acquire().await?;
        let (position, time) = match self {
            Self::Position(position) => {
                let head = log::head(&mut *connection).await?;
                if position > head {
                    let detail = format!("The log has come to position {head}.");
                    return Err(in_the_future(detail).with("head", head));
                }
                (past::whole_at(&mut connection, position).await?, None)
            }
            Self::Time(time) => {
                let now = app.clock.now();
                if time > now {
                    let detail = format!("It is {}.", now.to_rfc3339());
                    return Err(in_the_future(detail).with("now", now.to_rfc3339()));
                }
                let reached = past::reached_at(&mut connection, time).await?;
                (past::whole_at(&mut connection, reached).await?, Some(time))
            }
        };
        let time = match time {
            Some(time) => time,
            None => recorded_at(&mut connection, position).await?,
        };
        Ok(Found { position, time })
    }
}

async fn recorded_at(connection: &mut PgConnection, position: Position) -> Result<Timestamp, sqlx::Error> {
    Ok(past::recorded_at(connection, position).await?.unwrap_or(DateTime::UNIX_EPOCH))
}

fn in_the_future(detail: String) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "as-of-in-the-future", "That is still to come", detail)
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
}

impl<S: Send + Sync, Q: DeserializeOwned> FromRequestParts<S> for AsOf<Q> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let pairs = Read::<Q>::pairs(parts)?;
        let (own, rest): (Vec<_>, Vec<_>) = pairs.into_iter().partition(|(name, _)| name == "as_of");
        let mut moment = None;
        // Each must be good, though the first one counts.
        for (_, text) in own {
            moment.get_or_insert(parsed(&text)?);
        }
        Ok(Self { read: Read::of(&parts.headers, rest)?, moment })
    }
}

fn parsed(text: &str) -> Result<Moment, Problem> {
    let rule = "must be a position in the log, or a time such as `2026-11-22T09:30:00Z`";
    Moment::parse(text).ok_or_else(|| Problem::invalid_field("?as_of", "invalid", rule))
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

    /// What somebody shows of themselves to everybody is shown as it is; how it was, to themselves, staff and auditors.
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
        let found = moment.find(app).await?;
        // What was answered with a position shows there, also before the live tables do.
        for model in asked.models().chain([mentions::MODEL.name]) {
            app.progress.wait_for(model, found.position, READ_PATIENCE).await?;
        }
        show(Look::now(app)).await?;
        let Past { database, bounds, places } = &app.past;
        let place = tokio::time::timeout(READ_PATIENCE, places.acquire()).await;
        let _place = place.ok().and_then(Result::ok).ok_or_else(too_many)?;
        let view = View::then(database, &asked, found.position, *bounds).await.map_err(unanswered)?;
        show(Look { view, now: found.time }).await
    }

    /// Where in the history it is asked for, by those who tell it in their own way.
    pub async fn found(&self, app: &App) -> Result<Option<Found>, Problem> {
        match self.moment {
            Some(moment) => moment.find(app).await.map(Some),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_position_or_a_time() {
        let time = |text: &str| DateTime::parse_from_rfc3339(text).unwrap().with_timezone(&Utc);
        for (text, expected) in [
            ("0", Some(Moment::Position(0))),
            ("0017", Some(Moment::Position(17))),
            ("2026-11-22T09:30:00Z", Some(Moment::Time(time("2026-11-22T09:30:00Z")))),
            ("2026-11-22T10:30:00.5+01:00", Some(Moment::Time(time("2026-11-22T09:30:00.5Z")))),
            ("", None),
            ("-1", None),
            ("+1", None),
            ("99999999999999999999", None),
            ("2026-11-22", None),
            ("1800-01-01T00:00:00Z", None),
            ("yesterday", None),
        ] {
            assert_eq!(Moment::parse(text), expected, "{text}");
        }
    }
}
