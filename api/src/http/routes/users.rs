//! What everybody may know of somebody.

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use domain::AccountId;
use projections::past::{Question, View};
use projections::{accounts, catalogue, reviews, stores};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::app::App;
use crate::http::as_of::{AsOf, Look, TakesAsOf};
use crate::http::extract::{Id, MaybeCaller, NoQuery};
use crate::http::openapi::Waits;
use crate::http::problem::Problem;
use crate::http::ratings::RatingBody;

/// The route of this file.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(user))
}

/// What everybody may know of an account.
#[derive(Debug, Serialize, ToSchema)]
pub struct UserBody {
    id: Uuid,
    /// The public name.
    name: Option<String>,
    /// Since when there is an account.
    member_since: DateTime<Utc>,
    /// The slug of its store, if that is open.
    store: Option<String>,
    /// How much it offers.
    listings: i64,
    /// How what it sells is rated.
    rating: RatingBody,
}

/// What everybody may know of somebody.
/// How it was, `as_of` tells that person, staff and auditors.
#[utoipa::path(get, path = "/users/{id}", tag = "Stores", security((), ("bearer" = [])),
    params(("id" = Uuid, Path), TakesAsOf, Waits),
    responses((status = OK, body = UserBody, description = "The public profile")))]
async fn user(
    State(app): State<App>,
    Id(id): Id<AccountId>,
    MaybeCaller(caller): MaybeCaller,
    read: AsOf<NoQuery>,
) -> Result<Json<UserBody>, Problem> {
    read.admit_to(&app, id, caller).await?;
    for model in [accounts::MODEL, stores::MODEL, catalogue::MODEL, reviews::MODEL] {
        read.wait_for(&app, model.name).await?;
    }
    let shown = |mut look: Look| async move { shown(&mut look.view, id).await };
    read.answer(&app, Question::PublicProfile(id), shown).await.map(Json)
}

async fn shown(view: &mut View, id: AccountId) -> Result<UserBody, Problem> {
    let profile = accounts::get(&mut *view, id).await?.filter(|profile| profile.erased_at.is_none());
    let profile = profile.ok_or_else(|| Problem::not_found("account"))?;
    let store = stores::get(&mut *view, id).await?.filter(|store| store.state == stores::State::Open);
    let rated = reviews::of_sellers(&mut *view, &[id.0]).await?;
    Ok(UserBody {
        id: profile.id,
        name: profile.user_name,
        member_since: profile.registered_at,
        store: store.and_then(|store| store.slug),
        listings: catalogue::offered_by(view, id).await?,
        rating: rated.get(&id.0).copied().unwrap_or_default().into(),
    })
}
