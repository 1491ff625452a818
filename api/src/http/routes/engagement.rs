//! What somebody is interested in: favourites and views of listings.

use std::collections::HashMap;

use axum::Extension;
use axum::extract::State;
use chrono::{DateTime, NaiveDate, Utc};
use commands::engagement;
use domain::{AccountId, ListingId, ViewId};
use eventstore::event::Metadata;
use eventstore::sealing::PersonKey;
use eventstore::secrets::RootSecret;
use projections::catalogue;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::listings::TAG;
use super::listings::shown::{ListingBody, body};
use crate::app::App;
use crate::http::envelope::RequestId;
use crate::http::extract::{Body, Caller, Command, Creation, Id, MaybeCaller, Nothing, Read};
use crate::http::openapi::{Keyed, Waits};
use crate::http::pages::{Cursor, Page, page_limit};
use crate::http::problem::Problem;
use crate::http::reply::Done;

/// The routes of this file.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(add, remove)).routes(routes!(view)).routes(routes!(favorites))
}

/// Whether a listing is a favourite now.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, ToSchema)]
pub struct FavoriteBody {
    favorite: bool,
}

/// Remembers a listing among one's favourites. Once more changes nothing.
#[utoipa::path(post, path = "/listings/{id}/favorite", tag = TAG, security(("bearer" = [])),
    params(("id" = uuid::Uuid, Path), Keyed),
    responses((status = OK, body = FavoriteBody, description = "It is a favourite")))]
async fn add(
    State(app): State<App>,
    Id(id): Id<ListingId>,
    Creation(command): Creation<Nothing>,
) -> Result<Done<FavoriteBody>, Problem> {
    favor(&app, id, &command, true).await
}

/// Takes a listing out of one's favourites. Once more changes nothing.
#[utoipa::path(delete, path = "/listings/{id}/favorite", tag = TAG, security(("bearer" = [])),
    params(("id" = uuid::Uuid, Path), Keyed),
    responses((status = OK, body = FavoriteBody, description = "It is no favourite")))]
async fn remove(
    State(app): State<App>,
    Id(id): Id<ListingId>,
    Creation(command): Creation<Nothing>,
) -> Result<Done<FavoriteBody>, Problem> {
    favor(&app, id, &command, false).await
}

async fn favor(
    app: &App,
    listing: ListingId,
    command: &Command<Nothing>,
    favorite: bool,
) -> Result<Done<FavoriteBody>, Problem> {
    let account = command.caller.account;
    let favor = move |world: &mut commands::World<'_>| {
        engagement::favor(world, account, listing, favorite)?;
        Ok(FavoriteBody { favorite })
    };
    Ok(Done::ok(app.engine.submit(command.request(), favor).await?))
}

/// Whether a view was counted.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, ToSchema)]
pub struct ViewBody {
    /// Not if the same viewer has looked before on this day, or is the seller.
    counted: bool,
    /// The last event of the command in the log.
    #[serde(default)]
    #[schema(minimum = 0)]
    position: i64,
}

/// Counts a view of a listing, once a day (UTC) for each viewer. A viewer is an account; of those who have not logged in it
/// is whoever sends from the same address (of IPv6 the same /64), so that people behind one address count as one. Kept
/// is a keyed hash of viewer, listing and day: that of an account cannot be told any more once the account is deleted.
#[utoipa::path(post, path = "/listings/{id}/view", tag = TAG, security((), ("bearer" = [])),
    params(("id" = uuid::Uuid, Path)),
    responses((status = OK, body = ViewBody, description = "Noted")))]
async fn view(
    State(app): State<App>,
    Id(id): Id<ListingId>,
    MaybeCaller(caller): MaybeCaller,
    Extension(request): Extension<RequestId>,
    Body(Nothing {}): Body<Nothing>,
) -> Result<Done<ViewBody>, Problem> {
    let by = caller.map(|caller| caller.account);
    // Nothing of who looks or from where goes into the log.
    let metadata = Metadata::anonymous().with("correlation", request.as_str().to_owned());
    let viewer = Viewer::of(&app, by, &request).await?;
    let view = move |world: &mut commands::World<'_>| {
        let view = viewer.looks_at(id, world.now().date_naive());
        let counted = engagement::view(world, view, id, by)?;
        Ok(ViewBody { counted, position: 0 })
    };
    Ok(Done::ok(app.engine.submit(commands::Request::once(metadata), view).await?))
}

/// Who looks.
enum Viewer {
    /// Somebody who has logged in.
    Person(PersonKey),
    /// Whoever sends from there.
    Sender(RootSecret, String),
}

impl Viewer {
    async fn of(app: &App, account: Option<AccountId>, request: &RequestId) -> Result<Self, Problem> {
        let Some(account) = account else {
            let counted = request.sender().map(|sender| sender.counted().to_string());
            return Ok(Self::Sender(app.secret.clone(), counted.unwrap_or_default()));
        };
        let key = PersonKey::load(&app.pool, &app.wrapping, account).await?;
        key.map(Self::Person).ok_or_else(|| Problem::not_found("account"))
    }

    fn looks_at(&self, listing: ListingId, day: NaiveDate) -> ViewId {
        ViewId(match self {
            Self::Person(key) => key.pseudonym(VIEWS, &format!("{listing}:{day}")),
            Self::Sender(secret, sender) => secret.pseudonym(VIEWS, &format!("{sender}:{listing}:{day}")),
        })
    }
}

/// The purpose of the names of views. They are part of the storage format.
const VIEWS: &str = "views";

/// Which favourites to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct FavoritesQuery {
    /// How many, 20 unless told, 100 at most.
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    #[param(value_type = Option<String>)]
    cursor: Option<Cursor<catalogue::FavoritesCursor>>,
}

/// A favourite.
#[derive(Debug, Serialize, ToSchema)]
pub struct FavoriteShown {
    added_at: DateTime<Utc>,
    listing_id: uuid::Uuid,
    /// The listing, unless the staff has taken it away.
    listing: Option<ListingBody>,
}

/// One's favourites, the last first.
#[utoipa::path(get, path = "/profile/favorites", tag = TAG, security(("bearer" = [])), params(FavoritesQuery, Waits),
    responses((status = OK, body = Page<FavoriteShown>, description = "A page")))]
async fn favorites(
    State(app): State<App>,
    caller: Caller,
    read: Read<FavoritesQuery>,
) -> Result<axum::Json<Page<FavoriteShown>>, Problem> {
    read.wait_for(&app, catalogue::MODEL.name).await?;
    let limit = page_limit(read.query.limit)?;
    let cursor = read.query.cursor.map(|cursor| cursor.0);
    let page = catalogue::favorites(&app.pool, caller.account, cursor, limit).await?;
    let ids: Vec<ListingId> = page.items.iter().map(|favorite| ListingId(favorite.listing_id)).collect();
    let offers = catalogue::get_all(&app.pool, &ids, catalogue::Viewer::Account(caller.account)).await?;
    let mut offers: HashMap<uuid::Uuid, catalogue::Offer> =
        offers.into_iter().map(|offer| (offer.listing.id, offer)).collect();
    let shown = Page::of(page, |catalogue::Favorite { listing_id, added_at }| {
        let listing = offers.remove(&listing_id).map(body).transpose()?;
        Ok(FavoriteShown { added_at, listing_id, listing })
    });
    shown.map(axum::Json)
}
