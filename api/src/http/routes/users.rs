//! What everybody may know of somebody.

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use domain::AccountId;
use projections::{accounts, catalogue, reviews, stores};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::app::App;
use crate::http::extract::{Id, NoQuery, Read};
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
#[utoipa::path(get, path = "/users/{id}", tag = "Stores", params(("id" = Uuid, Path), Waits),
    responses((status = OK, body = UserBody, description = "The public profile")))]
async fn user(State(app): State<App>, Id(id): Id<AccountId>, read: Read<NoQuery>) -> Result<Json<UserBody>, Problem> {
    for model in [accounts::MODEL, stores::MODEL, catalogue::MODEL, reviews::MODEL] {
        read.wait_for(&app, model.name).await?;
    }
    let profile = accounts::get(&app.pool, id).await?.filter(|profile| profile.erased_at.is_none());
    let profile = profile.ok_or_else(|| Problem::not_found("account"))?;
    let store = stores::get(&app.pool, id).await?.filter(|store| store.state == stores::State::Open);
    let rated = reviews::of_sellers(&app.pool, &[id.0]).await?;
    Ok(Json(UserBody {
        id: profile.id,
        name: profile.user_name,
        member_since: profile.registered_at,
        store: store.and_then(|store| store.slug),
        listings: catalogue::offered_by(&app.pool, id).await?,
        rating: rated.get(&id.0).copied().unwrap_or_default().into(),
    }))
}
