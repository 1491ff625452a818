//! Stores: one's own, and what everybody sees of those that are open.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use commands::{Accepted, stores};
use domain::AccountId;
use domain::account::Capability;
use domain::store::{Kyc, PaymentPreference, Store};
use eventstore::sealing::PersonKey;
use projections::catalogue;
use projections::past::Question;
use projections::reviews::{self, Stars};
use projections::stores as shops;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::listings::{self, ListingBody};
use crate::app::App;
use crate::http::access;
use crate::http::as_of::{AsOf, Look, TakesAsOf};
use crate::http::extract::{Caller, Command, Id, MaybeCaller, NoQuery, Read, Slug};
use crate::http::fresh::{Fresh, Tag};
use crate::http::openapi::{Conditional, Revalidates, Waits, words};
use crate::http::pages::{Cursor, Page, page_limit};
use crate::http::problem::Problem;
use crate::http::ratings::RatingBody;
use crate::http::reply::{Done, One};
use crate::storefront::{PaymentPreferenceBody, Storefront};

const TAG: &str = "Stores";

/// The routes of this file.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(mine, put)).routes(routes!(list)).routes(routes!(show))
}

/// Whether a store sells.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum StateBody {
    /// It does.
    Open,
    /// It settles what is open, and sells nothing new.
    Suspended,
    /// It is closed for good.
    Removed,
}

/// Where staff are with knowing who sells.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum KycBody {
    /// Nothing was shown to them that they could vouch for, or they do not.
    Unverified,
    /// They are to look.
    Pending,
    /// They vouch for it.
    Verified,
}

/// A store as its owner and staff see it.
#[derive(Debug, Serialize, ToSchema)]
pub struct OwnStore {
    /// The account whose store it is.
    id: Uuid,
    #[schema(value_type = StateBody)]
    state: shops::State,
    #[schema(value_type = KycBody)]
    kyc: Kyc,
    slug: Option<String>,
    brand_name: Option<String>,
    biography: Option<String>,
    logo: Option<String>,
    business_address: Option<String>,
    whatsapp: Option<String>,
    instagram: Option<String>,
    facebook: Option<String>,
    #[schema(value_type = PaymentPreferenceBody)]
    payment_preference: PaymentPreference,
    /// Why staff have decided what they decided last.
    reason: Option<String>,
    /// When that was.
    ruled_at: Option<DateTime<Utc>>,
    opened_at: DateTime<Utc>,
    verified_at: Option<DateTime<Utc>>,
    /// For `If-Match`.
    version: u64,
}

pub(super) fn own_store(row: shops::Store) -> OwnStore {
    OwnStore {
        id: row.id,
        state: row.state,
        kyc: row.kyc.0,
        slug: row.slug,
        brand_name: row.brand_name,
        biography: row.biography,
        logo: row.logo,
        business_address: row.business_address,
        whatsapp: row.whatsapp,
        instagram: row.instagram,
        facebook: row.facebook,
        payment_preference: row.payment_preference.0,
        reason: row.reason,
        ruled_at: row.ruled_at,
        opened_at: row.opened_at,
        verified_at: row.verified_at,
        version: row.version.unsigned_abs(),
    }
}

/// One's own store.
#[utoipa::path(get, path = "/merchant/me", tag = TAG, security(("bearer" = [])), params(TakesAsOf, Waits),
    responses((status = OK, body = OwnStore, description = "The store"),
        (status = FORBIDDEN, description = "The account may not sell"),
        (status = NOT_FOUND, description = "The account has no store")))]
async fn mine(State(app): State<App>, caller: Caller, read: AsOf<NoQuery>) -> Result<One<OwnStore>, Problem> {
    access::require(&app, caller, Capability::Sell).await?;
    read.wait_for(&app, shops::MODEL.name).await?;
    let shown = |mut look: Look| async move {
        let row = shops::get(&mut look.view, caller.account).await?.ok_or_else(|| Problem::not_found("store"))?;
        let (version, position) = (row.version.unsigned_abs(), row.position);
        Ok(One { body: own_store(row), version, position })
    };
    read.answer(&app, Question::Store(caller.account), shown).await
}

/// What a command has done to a store.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct StoreChanged {
    /// The account whose store it is.
    id: Uuid,
    #[schema(example = "open")]
    state: String,
    #[schema(example = "pending")]
    kyc: String,
    /// For `If-Match`.
    version: u64,
}

pub(super) fn changed(world: &mut commands::World<'_>, owner: AccountId) -> Result<StoreChanged, commands::Halt> {
    let version = world.version::<Store>(owner)?;
    let store = world.get::<Store>(owner)?;
    let (state, kyc) = (store.state().unwrap_or_default().to_owned(), store.opened()?.kyc.name().to_owned());
    Ok(StoreChanged { id: owner.0, state, kyc, version })
}

/// Opens one's store, after which the account may sell, or replaces what it says of itself.
///
/// Staff vouch for brand name and business address: a store with an address waits for them, and waits again when one of
/// the two changes.
#[utoipa::path(put, path = "/merchant/me", tag = TAG, security(("bearer" = [])), request_body = Storefront,
    params(Conditional), responses((status = OK, body = StoreChanged, description = "Changed"),
        (status = CREATED, body = StoreChanged, description = "Opened")))]
async fn put(State(app): State<App>, command: Command<Storefront>) -> Result<Done<StoreChanged>, Problem> {
    let (owner, expected) = (command.caller.account, command.expected_version);
    let key = PersonKey::load(&app.pool, &app.wrapping, owner).await?.ok_or_else(|| Problem::not_found("account"))?;
    let before = app.engine.read(move |world| Ok(world.get::<Store>(owner)?.clone())).await?;
    let before = before.opened().ok().map(|shop| &shop.about);
    let about = command.body.sealed(&app.secret, &key, before);
    let put = move |world: &mut commands::World<'_>| {
        world.expect_version::<Store>(owner, expected)?;
        let opened = stores::put(world, owner, &about)?;
        Ok((opened, changed(world, owner)?))
    };
    let accepted = app.engine.submit(command.request(), put).await?;
    let Accepted { value: (opened, value), position, replayed } = accepted;
    let accepted = Accepted { value, position, replayed };
    Ok(if opened { Done::created(accepted, "/api/v1/merchant/me".to_owned()) } else { Done::ok(accepted) })
}

/// A store as everybody sees it.
#[derive(Debug, Serialize, ToSchema)]
pub struct StoreBody {
    /// The account that sells.
    id: Uuid,
    #[schema(example = "corner-and-co")]
    slug: Option<String>,
    #[schema(example = "Corner & Co.")]
    brand_name: Option<String>,
    biography: Option<String>,
    logo: Option<String>,
    whatsapp: Option<String>,
    instagram: Option<String>,
    facebook: Option<String>,
    #[schema(value_type = PaymentPreferenceBody)]
    payment_preference: PaymentPreference,
    /// Whether staff vouch for its name and its address.
    verified: bool,
    /// How what it sells is rated.
    rating: RatingBody,
    opened_at: DateTime<Utc>,
}

fn store_body(row: shops::Store, rated: Stars) -> StoreBody {
    StoreBody {
        id: row.id,
        slug: row.slug,
        brand_name: row.brand_name,
        biography: row.biography,
        logo: row.logo,
        whatsapp: row.whatsapp,
        instagram: row.instagram,
        facebook: row.facebook,
        payment_preference: row.payment_preference.0,
        verified: row.kyc.0 == Kyc::Verified,
        rating: rated.into(),
        opened_at: row.opened_at,
    }
}

/// Which stores to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct StoresQuery {
    /// Words in name, slug or biography.
    q: Option<String>,
    /// `true`: only those for which staff vouch.
    verified: Option<bool>,
    /// `newest` unless told, or `name`.
    #[param(inline, value_type = Option<SortName>)]
    sort: Option<shops::Sort>,
    /// How many, 20 unless told, 100 at most.
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    #[param(value_type = Option<String>)]
    cursor: Option<Cursor<shops::Cursor>>,
}

words!(SortName: "newest", "name");

/// The stores that are open.
#[utoipa::path(get, path = "/stores", tag = TAG, params(StoresQuery, Waits, Revalidates),
    responses((status = OK, body = Page<StoreBody>, description = "A page"),
        (status = NOT_MODIFIED, description = "As the client has it")))]
async fn list(State(app): State<App>, read: Read<StoresQuery>) -> Result<Fresh<Page<StoreBody>>, Problem> {
    read.wait_for(&app, shops::MODEL.name).await?;
    read.wait_for(&app, reviews::MODEL.name).await?;
    let tag = Tag::of_several(&app, &[&shops::MODEL, &reviews::MODEL], None);
    if read.known.has(&tag) {
        return Ok(Fresh::Unchanged(tag));
    }
    let StoresQuery { q, verified, sort, limit, cursor } = read.query;
    let kyc = verified.unwrap_or(false).then_some(Kyc::Verified);
    let filter = shops::Filter { state: Some(shops::State::Open), kyc, words: q };
    let (sort, limit) = (sort.unwrap_or_default(), page_limit(limit)?);
    let page = shops::page(&app.pool, &filter, sort, cursor.map(|cursor| cursor.0), limit).await?;
    let sellers: Vec<Uuid> = page.items.iter().map(|store| store.id).collect();
    let rated = reviews::of_sellers(&app.pool, &sellers).await?;
    let shown = Page::of(page, |row| {
        let rated = rated.get(&row.id).copied().unwrap_or_default();
        Ok(store_body(row, rated))
    });
    shown.map(|page| Fresh::Changed(tag, page))
}

/// Which of a store's listings to show.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct StoreQuery {
    /// `newest` unless told, `popular`, `rating`, `price_asc`, `price_desc` or `ending_soon`; `relevance` is `newest` where
    /// no words are looked for.
    #[param(inline, value_type = Option<listings::SortName>)]
    sort: Option<catalogue::Sort>,
    /// How many listings, 20 unless told, 100 at most.
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    #[param(value_type = Option<String>)]
    cursor: Option<Cursor<catalogue::Cursor>>,
}

/// A store and a page of what it offers.
#[derive(Debug, Serialize, ToSchema)]
pub struct StorePage {
    store: StoreBody,
    /// What it offers.
    items: Vec<ListingBody>,
    /// Give it as `cursor` to get the next page; none on the last.
    next_cursor: Option<String>,
}

/// A store that is open, and what it offers. How it was, `as_of` tells its owner, staff and auditors.
#[utoipa::path(get, path = "/store/{slug}", tag = TAG, security((), ("bearer" = [])),
    params(("slug" = String, Path, pattern = "^[a-z0-9-]{1,64}$"), StoreQuery, TakesAsOf, Waits, Revalidates),
    responses((status = OK, body = StorePage, description = "The store and a page of its listings"),
        (status = NOT_MODIFIED, description = "As the client has it")))]
async fn show(
    State(app): State<App>,
    Id(Slug(slug)): Id<Slug>,
    MaybeCaller(caller): MaybeCaller,
    read: AsOf<StoreQuery>,
) -> Result<Response, Problem> {
    read.wait_for(&app, shops::MODEL.name).await?;
    read.wait_for(&app, catalogue::MODEL.name).await?;
    read.wait_for(&app, reviews::MODEL.name).await?;
    let tag = Tag::of_several(&app, &[&shops::MODEL, &catalogue::MODEL, &reviews::MODEL], caller);
    if !read.is_past() && read.read.known.has(&tag) {
        return Ok(Fresh::<StorePage>::Unchanged(tag).into_response());
    }
    let store = shops::by_slug(&app.pool, &slug).await?.ok_or_else(|| Problem::not_found("store"))?;
    let owner = AccountId(store.id);
    read.admit_to(&app, owner, caller).await?;
    let StoreQuery { sort, limit, cursor } = &read.read.query;
    let (sort, limit) = (sort.unwrap_or_default(), page_limit(*limit)?);
    let cursor = cursor.as_ref().map(|cursor| cursor.0);
    let filter = catalogue::Filter {
        viewer: caller.map(|caller| caller.account).into(),
        seller: Some(owner),
        ..catalogue::Filter::default()
    };
    let filter = &filter;
    let shown = |mut look: Look| async move {
        // One that was closed then is not shown, and its name is that of then.
        let store = shops::get(&mut look.view, owner).await?.filter(|store| store.state == shops::State::Open);
        let store = store.ok_or_else(|| Problem::not_found("store"))?;
        let page = catalogue::page(&mut look.view, filter, sort, cursor, limit).await?;
        let Page { items, next_cursor } = Page::of(page, listings::body)?;
        let rated = reviews::of_sellers(&mut look.view, &[store.id]).await?;
        let rated = rated.get(&store.id).copied().unwrap_or_default();
        Ok(StorePage { store: store_body(store, rated), items, next_cursor })
    };
    let page = read.answer(&app, Question::StorePage(owner), shown).await?;
    // A tag is one of now.
    Ok(if read.is_past() { Json(page).into_response() } else { Fresh::Changed(tag, page).into_response() })
}
