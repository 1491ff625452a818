//! Lists of what is offered.

use axum::extract::{Path, State};
use domain::listing::Condition;
use domain::{AccountId, Currency};
use projections::{catalogue, categories};
use serde::Deserialize;
use utoipa::IntoParams;

use super::shown::{ListingBody, body};
use super::{ConditionBody, TAG};
use crate::app::App;
use crate::http::extract::{Caller, MaybeCaller, Read};
use crate::http::fresh::{Fresh, Tag};
use crate::http::openapi::{CurrencyCode, Revalidates, Waits, words};
use crate::http::pages::{Cursor, Page, page_limit};
use crate::http::problem::Problem;

/// Which listings to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ListingsQuery {
    /// Words in title, brand or description.
    q: Option<String>,
    /// The slug of a category; what is in those below it is listed too.
    category: Option<String>,
    brand: Option<String>,
    #[param(inline, value_type = Option<ConditionBody>)]
    condition: Option<Condition>,
    #[param(inline, value_type = Option<KindName>)]
    kind: Option<catalogue::Kind>,
    /// Only what is on sale, or what is not.
    on_sale: Option<bool>,
    /// Only what the staff has shown first, or what it has not.
    featured: Option<bool>,
    /// `active` unless told; `sold_out` shows what has no free piece, `paused` what is not offered for a while, `archived`
    /// what is offered no more, `draft`, `pending` and `removed` one's own.
    #[param(inline, value_type = Option<StatusName>)]
    status: Option<catalogue::Status>,
    seller: Option<uuid::Uuid>,
    /// The currency of `min_price` and `max_price`.
    #[param(value_type = Option<CurrencyCode>, example = "USD")]
    currency: Option<Currency>,
    /// In minor units; takes `currency`.
    min_price: Option<i64>,
    /// In minor units; takes `currency`.
    max_price: Option<i64>,
    /// `newest` unless told, `price_asc`, `price_desc` or `ending_soon`.
    #[param(inline, value_type = Option<SortName>)]
    sort: Option<catalogue::Sort>,
    /// How many, 20 unless told, 100 at most.
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    #[param(value_type = Option<String>)]
    cursor: Option<Cursor<catalogue::Cursor>>,
}

words!(KindName: "fixed_price", "auction");

words!(StatusName: "draft", "pending", "active", "sold_out", "paused", "archived", "removed");

words!(SortName: "newest", "price_asc", "price_desc", "ending_soon");

impl ListingsQuery {
    /// The filter. Beside the category itself, `categories` names those below it.
    fn filter(self, categories: Vec<String>, viewer: Option<AccountId>) -> Result<catalogue::Filter, Problem> {
        let price = match (self.currency, self.min_price, self.max_price) {
            (None, None, None) => None,
            (Some(currency), from, to) => Some(catalogue::PriceRange { currency, from, to }),
            (None, _, _) => {
                let detail = "prices compare in one currency: give it with min_price and max_price";
                return Err(Problem::invalid_field("?currency", "missing", detail));
            }
        };
        Ok(catalogue::Filter {
            viewer,
            status: Some(self.status.unwrap_or(catalogue::Status::Active)),
            seller: self.seller.map(AccountId),
            categories,
            kind: self.kind,
            condition: self.condition,
            brand: self.brand,
            on_sale: self.on_sale,
            featured: self.featured,
            price,
            words: self.q,
        })
    }
}

/// What is offered.
#[utoipa::path(get, path = "/listings", tag = TAG, security((), ("bearer" = [])), params(ListingsQuery, Waits, Revalidates),
    responses((status = OK, body = Page<ListingBody>, description = "A page"),
        (status = NOT_MODIFIED, description = "As the client has it")))]
pub(super) async fn list(
    State(app): State<App>,
    MaybeCaller(caller): MaybeCaller,
    read: Read<ListingsQuery>,
) -> Result<Fresh<Page<ListingBody>>, Problem> {
    search(&app, caller, read).await
}

/// What is offered in a category and in those below it.
#[utoipa::path(get, path = "/categories/{slug}/listings", tag = TAG, security((), ("bearer" = [])),
    params(("slug" = String, Path), ListingsQuery, Waits, Revalidates),
    responses((status = OK, body = Page<ListingBody>, description = "A page"),
        (status = NOT_MODIFIED, description = "As the client has it")))]
pub(super) async fn list_category(
    State(app): State<App>,
    Path(slug): Path<String>,
    MaybeCaller(caller): MaybeCaller,
    mut read: Read<ListingsQuery>,
) -> Result<Fresh<Page<ListingBody>>, Problem> {
    read.wait_for(&app, categories::MODEL.name).await?;
    // The query may name one of those below.
    let tree = categories::tree(&app.pool).await?;
    tree.get(&slug).ok_or_else(|| Problem::not_found("category"))?;
    match &read.query.category {
        Some(named) if !tree.with_all_below(&slug).contains(named) => {
            return Err(Problem::invalid_field("?category", "either-or", "must be in the category of the path"));
        }
        Some(_) => {}
        None => read.query.category = Some(slug),
    }
    search(&app, caller, read).await
}

async fn search(
    app: &App,
    caller: Option<Caller>,
    read: Read<ListingsQuery>,
) -> Result<Fresh<Page<ListingBody>>, Problem> {
    read.wait_for(app, catalogue::MODEL.name).await?;
    read.wait_for(app, categories::MODEL.name).await?;
    let tag = Tag::of_several(app, &[&catalogue::MODEL, &categories::MODEL], caller);
    if read.known.has(&tag) {
        return Ok(Fresh::Unchanged(tag));
    }
    let mut query = read.query;
    let (limit, sort) = (page_limit(query.limit)?, query.sort.unwrap_or_default());
    let cursor = query.cursor.take().map(|cursor| cursor.0);
    let wanted = match &query.category {
        Some(slug) => categories::tree(&app.pool).await?.with_all_below(slug),
        None => Vec::new(),
    };
    let filter = query.filter(wanted, caller.map(|caller| caller.account))?;
    let page = catalogue::page(&app.pool, &filter, sort, cursor, limit).await?;
    Page::of(page, body).map(|page| Fresh::Changed(tag, page))
}
