//! The sandbox's clock: rehearse a close or a deadline without waiting for it. Served with `--sandbox` only.

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use chrono::{DateTime, Datelike, TimeDelta, Utc};
use eventstore::Position;
use garde::Validate;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::http::extract::Body;
use crate::http::problem::{POSITION_HEADER, Problem};

/// Where its routes are.
pub const PATH: &str = "/api/v1/sandbox/";
const TAG: &str = "Sandbox";
/// The furthest that the clock may be set ahead at once.
const LONGEST_JUMP: TimeDelta = TimeDelta::days(3_660);

/// Beyond it there is no clock that everybody can read: years of five digits are no RFC 3339.
const LAST_YEAR: i32 = 9_000;

/// Any further, for adding without a care for the end of the calendar.
const TOO_FAR: TimeDelta = TimeDelta::days(4_000);

/// The routes of this file.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(show, set))
}

/// The marketplace's time.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct Shown {
    now: DateTime<Utc>,
    /// The head of the log once everything due until then has happened; not told when the clock is only read.
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<Position>,
}

/// The marketplace's time.
#[utoipa::path(get, path = "/sandbox/clock", tag = TAG,
    responses((status = OK, body = Shown, description = "The time")))]
async fn show(State(app): State<App>) -> Json<Shown> {
    Json(Shown { now: app.clock.now(), position: None })
}

/// Where to set the clock: one of the two.
#[derive(Debug, Deserialize, ToSchema, Validate)]
#[serde(deny_unknown_fields)]
#[garde(allow_unvalidated)]
pub struct Setting {
    /// To this time.
    set: Option<DateTime<Utc>>,
    /// By this many milliseconds.
    #[garde(range(min = 0))]
    #[schema(minimum = 0)]
    advance_ms: Option<i64>,
}

/// Sets the marketplace's clock, forward only, and waits until everything due until then has happened at its time. `set`
/// is safe to repeat; each `advance_ms` advances again.
#[utoipa::path(post, path = "/sandbox/clock", tag = TAG, request_body = Setting,
    responses((status = OK, body = Shown, description = "The time, and the head of the log")))]
async fn set(State(app): State<App>, Body(setting): Body<Setting>) -> Result<impl IntoResponse, Problem> {
    let target = target(app.clock.now(), &setting)?;
    let position = app.set_clock(target).await;
    let position = position.ok_or_else(|| Problem::unavailable("The timers did not settle in time."))?;
    let shown = Shown { now: app.clock.now(), position: Some(position) };
    Ok(([(POSITION_HEADER, position)], Json(shown)))
}

/// Where the clock goes.
fn target(now: DateTime<Utc>, setting: &Setting) -> Result<DateTime<Utc>, Problem> {
    let target = match (setting.set, setting.advance_ms) {
        (Some(target), None) => target,
        (None, Some(ms)) => now + TimeDelta::try_milliseconds(ms).map_or(TOO_FAR, |jump| jump.min(TOO_FAR)),
        _ => return Err(Problem::invalid_field("", "either-or", "give either `set` or `advance_ms`")),
    };
    if target - now > LONGEST_JUMP {
        return Err(Problem::invalid_field(
            "",
            "too-far",
            format!("the clock moves at most {} days at once", LONGEST_JUMP.num_days()),
        ));
    }
    if target.year() > LAST_YEAR {
        let detail = format!("the clock does not go beyond the year {LAST_YEAR}");
        return Err(Problem::invalid_field("", "too-far", detail));
    }
    if target < now {
        return Err(Problem::invalid_field("/set", "in-past", format!("the clock only moves forward; it shows {now}")));
    }
    Ok(target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_stays_within_years_of_four_digits() {
        let at = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        let set = |now: &str, set: &str| target(at(now), &Setting { set: Some(at(set)), advance_ms: None }).is_ok();
        let advance = |now: &str, ms: i64| target(at(now), &Setting { set: None, advance_ms: Some(ms) }).is_ok();
        assert!(set("8995-01-01T00:00:00Z", "9000-12-31T23:59:59Z"));
        assert!(!set("8995-01-01T00:00:00Z", "9001-01-01T00:00:00Z"));
        assert!(advance("9000-12-31T00:00:00Z", 1_000));
        assert!(!advance("9000-12-31T00:00:00Z", 86_400_000));
        assert!(!advance("9000-12-31T00:00:00Z", i64::MAX));
    }
}
