//! Listings, for staff: what waits for them, and what they decide.

use axum::Json;
use axum::extract::State;
use commands::listings;
use domain::listing::Listing;
use domain::{AccountId, ListingId};
use projections::catalogue::{self, Viewer};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::listings::{ListingBody, ListingChanged, StatusName, body, changed};
use crate::app::App;
use crate::http::extract::{Command, Id, Read};
use crate::http::openapi::{Conditional, Waits};
use crate::http::pages::{Cursor, Page, page_limit};
use crate::http::problem::Problem;
use crate::http::reply::Done;

const TAG: &str = "Administration";

/// The routes of this file.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(rule, rule_by_put))
}

/// Which listings to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct AllListingsQuery {
    /// Words in title, brand or description.
    q: Option<String>,
    /// All unless told; `pending` is what waits for the staff.
    #[param(inline, value_type = Option<StatusName>)]
    status: Option<catalogue::Status>,
    seller: Option<uuid::Uuid>,
    /// Only what the staff features, or what it does not.
    featured: Option<bool>,
    /// How many, 20 unless told, 100 at most.
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    #[param(value_type = Option<String>)]
    cursor: Option<Cursor<catalogue::Cursor>>,
}

/// Every listing, whatever its status and whoever sells it, the newest first.
#[utoipa::path(get, path = "/admin/listings", tag = TAG, security(("bearer" = ["staff"])),
    params(AllListingsQuery, Waits), responses((status = OK, body = Page<ListingBody>, description = "A page")))]
async fn list(State(app): State<App>, read: Read<AllListingsQuery>) -> Result<Json<Page<ListingBody>>, Problem> {
    read.wait_for(&app, catalogue::MODEL.name).await?;
    let AllListingsQuery { q, status, seller, featured, limit, cursor } = read.query;
    let (limit, seller, viewer) = (page_limit(limit)?, seller.map(AccountId), Viewer::Staff);
    let filter = catalogue::Filter { viewer, status, seller, featured, words: q, ..catalogue::Filter::default() };
    let cursor = cursor.map(|cursor| cursor.0);
    let page = catalogue::page(&app.pool, &filter, catalogue::Sort::Newest, cursor, limit).await?;
    Page::of(page, body).map(Json)
}

/// What becomes of a listing.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ListingVerdict {
    /// It is offered: it waited for that.
    Active,
    /// It waited to be offered, and is given back to its seller.
    Draft,
    /// It is taken away, and its pictures are deleted. Its auction must be called off first.
    Removed,
}

/// What the staff decides about a listing.
#[derive(Clone, Debug, Deserialize, ToSchema, garde::Validate)]
#[serde(deny_unknown_fields)]
#[garde(allow_unvalidated)]
pub struct ListingRuling {
    /// `active` lets a listing through that is `pending`: what its seller had paused is paused again. `draft` gives it
    /// back, `removed` takes away any.
    status: Option<ListingVerdict>,
    /// Why, which its seller sees with `draft` and `removed`, which need it.
    #[garde(length(chars, min = 1, max = 1000))]
    #[schema(example = "The pictures are somebody else's.", min_length = 1, max_length = 1000)]
    reason: Option<String>,
    /// Whether the staff features it.
    featured: Option<bool>,
}

/// Decides about a listing of somebody else. What is not named stays.
#[utoipa::path(patch, path = "/admin/listings/{id}", tag = TAG, security(("bearer" = ["staff"])),
    params(("id" = uuid::Uuid, Path), Conditional), request_body = ListingRuling,
    responses((status = OK, body = ListingChanged, description = "Decided")))]
async fn rule(
    State(app): State<App>,
    Id(id): Id<ListingId>,
    command: Command<ListingRuling>,
) -> Result<Done<ListingChanged>, Problem> {
    let request = command.request_because(&app, command.body.reason.as_deref()).await?;
    let (by, expected) = (command.caller.account, command.expected_version);
    let (ListingRuling { status, reason, featured }, rules) = (command.body, app.listing_rules());
    if reason.is_none() && matches!(status, Some(ListingVerdict::Draft | ListingVerdict::Removed)) {
        return Err(Problem::invalid_field("/reason", "missing", "whoever sells it must be told why"));
    }
    let reason = reason.unwrap_or_default();
    let rule = move |world: &mut commands::World<'_>| {
        world.get::<Listing>(id)?.offer()?;
        world.expect_version::<Listing>(id, expected)?;
        match status {
            Some(ListingVerdict::Active) => listings::approve(world, id, by, &rules)?,
            Some(ListingVerdict::Draft) => listings::reject(world, id, by, &reason)?,
            Some(ListingVerdict::Removed) => listings::remove(world, id, by, &reason)?,
            None => {}
        }
        if let Some(featured) = featured {
            listings::feature(world, id, by, featured)?;
        }
        changed(world, id)
    };
    let accepted = app.engine.submit(request, rule).await?;
    let version = accepted.value.version;
    Ok(Done::ok(accepted).at_version(version))
}

/// The same as PATCH: what is not named stays.
#[utoipa::path(put, path = "/admin/listings/{id}", tag = TAG, security(("bearer" = ["staff"])),
    params(("id" = uuid::Uuid, Path), Conditional), request_body = ListingRuling,
    responses((status = OK, body = ListingChanged, description = "Decided")))]
async fn rule_by_put(
    state: State<App>,
    id: Id<ListingId>,
    command: Command<ListingRuling>,
) -> Result<Done<ListingChanged>, Problem> {
    rule(state, id, command).await
}
