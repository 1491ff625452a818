//! Lists of what is offered.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{FromRequestParts, State};
use axum::http::Uri;
use axum::http::request::Parts;
use domain::category::AttributeName;
use domain::listing::Condition;
use domain::{AccountId, Currency};
use projections::{catalogue, categories};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn, ParameterStyle};
use utoipa::openapi::{ObjectBuilder, RefOr, Required, Schema, Type};
use utoipa::{IntoParams, ToSchema};

use super::facets::{self, FacetsBody};
use super::shown::{ListingBody, body};
use super::{ConditionBody, TAG};
use crate::app::App;
use crate::http::extract::{Caller, Id, MaybeCaller, Read, Slug};
use crate::http::fresh::{Fresh, Tag};
use crate::http::openapi::{CurrencyCode, Revalidates, Waits, words};
use crate::http::pages::{Cursor, Page, page_limit};
use crate::http::problem::Problem;

/// Which listings to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ListingsQuery {
    /// Words in title, brand or description, by their stems, as one types them into a search engine. A word that no
    /// listing has is taken for the most similar one in titles and brands of what is offered.
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
    /// Only what the staff features, or what it does not.
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
    /// `newest` unless told, `price_asc`, `price_desc`, `popular` (a bid counts as ten views, a favourite as
    /// twenty, a piece sold as fifty), `rating` (the average of its reviews, and of what is alike what more have rated),
    /// `ending_soon`, or `relevance` to the words of `q`.
    #[param(inline, value_type = Option<SortName>)]
    sort: Option<catalogue::Sort>,
    /// Whether to tell what is among all that is found.
    facets: Option<bool>,
    /// How many, 20 unless told, 100 at most.
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    #[param(value_type = Option<String>)]
    cursor: Option<Cursor<catalogue::Cursor>>,
}

words!(KindName: "fixed_price", "auction");

words!(StatusName: "draft", "pending", "active", "sold_out", "paused", "archived", "removed");

words!(SortName: "newest", "price_asc", "price_desc", "popular", "rating", "ending_soon", "relevance");

impl ListingsQuery {
    /// What everybody's active listings are searched for, on the first page, if it is for words and nothing else.
    fn words_alone(&self) -> Option<&str> {
        let Self { q, category, brand, condition, kind, on_sale, featured, status, seller, .. } = self;
        let Self { currency, min_price, max_price, cursor, .. } = self;
        let narrowed = category.is_some() || brand.is_some() || condition.is_some() || kind.is_some();
        let narrowed = narrowed || on_sale.is_some() || featured.is_some() || status.is_some() || seller.is_some();
        let narrowed = narrowed || currency.is_some() || min_price.is_some() || max_price.is_some();
        q.as_deref().filter(|_| !narrowed && cursor.is_none())
    }

    /// The filter. Beside the category itself, `categories` names those below it.
    fn filter(
        self,
        categories: Vec<String>,
        attributes: BTreeMap<String, String>,
        viewer: Option<AccountId>,
    ) -> Result<catalogue::Filter, Problem> {
        let price = match (self.currency, self.min_price, self.max_price) {
            (None, None, None) => None,
            (Some(currency), from, to) => Some(catalogue::PriceRange { currency, from, to }),
            (None, _, _) => {
                let detail = "prices compare in one currency: give it with min_price and max_price";
                return Err(Problem::invalid_field("?currency", "missing", detail));
            }
        };
        Ok(catalogue::Filter {
            viewer: viewer.into(),
            status: Some(self.status.unwrap_or(catalogue::Status::Active)),
            seller: self.seller.map(AccountId),
            categories,
            kind: self.kind,
            condition: self.condition,
            brand: self.brand,
            attributes,
            on_sale: self.on_sale,
            featured: self.featured,
            price,
            words: self.q,
        })
    }
}

/// The query of a search, with what listings are to say of themselves: a parameter `attr.<name>` for each attribute.
pub(super) struct Searched {
    read: Read<ListingsQuery>,
    attributes: BTreeMap<String, String>,
}

impl<S: Send + Sync> FromRequestParts<S> for Searched {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let malformed = |detail: String| Problem::bad_request("malformed-query", detail);
        let pairs: Vec<(String, String)> = serde_urlencoded::from_str(parts.uri.query().unwrap_or_default())
            .map_err(|error| malformed(error.to_string()))?;
        let (said, rest): (Vec<_>, Vec<_>) = pairs.into_iter().partition(|(name, _)| name.starts_with("attr."));
        let mut attributes = BTreeMap::new();
        for (parameter, value) in said {
            let name = parameter.strip_prefix("attr.").unwrap_or_default();
            let wrong = |code, detail: &str| Problem::invalid_field(format!("?{parameter}"), code, detail);
            if value.contains('\0') {
                return Err(malformed("A query may not contain U+0000.".to_owned()));
            }
            if name.parse::<AttributeName>().is_err() {
                return Err(wrong("invalid", "must end in the name of an attribute"));
            }
            if attributes.insert(name.to_owned(), value).is_some() {
                return Err(wrong("repeated", "must be there once"));
            }
        }
        let rest = serde_urlencoded::to_string(rest).map_err(|error| malformed(error.to_string()))?;
        // The rest is a query as any other.
        let uri = format!("{}?{rest}", parts.uri.path()).parse::<Uri>();
        let whole = std::mem::replace(&mut parts.uri, uri.map_err(|error| malformed(error.to_string()))?);
        let read = Read::from_request_parts(parts, state).await;
        parts.uri = whole;
        Ok(Self { read: read?, attributes })
    }
}

/// A page of listings.
#[derive(Debug, Serialize, ToSchema)]
pub struct ListingsPage {
    items: Vec<ListingBody>,
    /// Give it as `cursor` to get the next page; none on the last.
    next_cursor: Option<String>,
    /// What was searched for in the place of `q`, if a word of that was put right.
    #[schema(example = "cartier tank")]
    meant: Option<String>,
    /// What is among all that is found, if it was asked for.
    facets: Option<FacetsBody>,
}

/// What fits the name of a parameter that filters by an attribute.
const ATTRIBUTE_PARAMETER: &str = "^attr[.][a-z0-9_]{1,32}$";

/// Documents the parameters that filter by attributes.
#[derive(Clone, Copy, Debug)]
pub struct ByAttributes;

impl IntoParams for ByAttributes {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let text = |pattern| ObjectBuilder::new().schema_type(Type::String).pattern(pattern);
        let said = ObjectBuilder::new()
            .schema_type(Type::Object)
            .additional_properties(Some(RefOr::T(Schema::from(text(None::<String>)))))
            .property_names(Some(Schema::from(text(Some(ATTRIBUTE_PARAMETER.to_owned())))))
            .examples([json!({ "attr.year": "1989" })]);
        let what = "A parameter `attr.<name>` for any attribute leaves what says this of itself: `attr.year=1989`.";
        let parameter = ParameterBuilder::new().name("attr").parameter_in(ParameterIn::Query).required(Required::False);
        let parameter = parameter.style(Some(ParameterStyle::Form)).explode(Some(true)).description(Some(what));
        vec![parameter.schema(Some(said)).build()]
    }
}

/// What is offered.
#[utoipa::path(get, path = "/listings", tag = TAG, security((), ("bearer" = [])), params(ListingsQuery, ByAttributes, Waits, Revalidates),
    responses((status = OK, body = ListingsPage, description = "A page"),
        (status = NOT_MODIFIED, description = "As the client has it")))]
pub(super) async fn list(
    State(app): State<App>,
    MaybeCaller(caller): MaybeCaller,
    searched: Searched,
) -> Result<Fresh<ListingsPage>, Problem> {
    search(&app, caller, searched).await
}

/// What is offered in a category and in those below it.
#[utoipa::path(get, path = "/categories/{slug}/listings", tag = TAG, security((), ("bearer" = [])),
    params(("slug" = String, Path, pattern = "^[a-z0-9-]{1,64}$"), ListingsQuery, ByAttributes, Waits, Revalidates),
    responses((status = OK, body = ListingsPage, description = "A page"),
        (status = NOT_MODIFIED, description = "As the client has it")))]
pub(super) async fn list_category(
    State(app): State<App>,
    Id(Slug(slug)): Id<Slug>,
    MaybeCaller(caller): MaybeCaller,
    mut searched: Searched,
) -> Result<Fresh<ListingsPage>, Problem> {
    let read = &mut searched.read;
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
    search(&app, caller, searched).await
}

async fn search(app: &App, caller: Option<Caller>, searched: Searched) -> Result<Fresh<ListingsPage>, Problem> {
    let Searched { read, attributes } = searched;
    read.wait_for(app, catalogue::MODEL.name).await?;
    read.wait_for(app, categories::MODEL.name).await?;
    let tag = Tag::of_several(app, &[&catalogue::MODEL, &categories::MODEL], caller);
    if read.known.has(&tag) {
        return Ok(Fresh::Unchanged(tag));
    }
    let mut query = read.query;
    let (limit, sort) = (page_limit(query.limit)?, query.sort.unwrap_or_default());
    let words_alone =
        query.words_alone().filter(|_| attributes.is_empty() && sort != catalogue::Sort::EndingSoon).map(str::to_owned);
    let (cursor, with_facets) = (query.cursor.take().map(|cursor| cursor.0), query.facets.unwrap_or_default());
    let tree = if with_facets || query.category.is_some() { Some(categories::tree(&app.pool).await?) } else { None };
    let wanted = match (&query.category, &tree) {
        (Some(slug), Some(tree)) => tree.with_all_below(slug),
        _ => Vec::new(),
    };
    let mut filter = query.filter(wanted, attributes, caller.map(|caller| caller.account))?;
    let mut meant = None;
    if let Some(words) = &mut filter.words {
        let corrected = catalogue::corrected(&app.pool, words, filter.viewer).await?;
        meant = (corrected != *words).then(|| corrected.clone());
        *words = corrected;
    }
    let page = catalogue::page(&app.pool, &filter, sort, cursor, limit).await?;
    if page.items.is_empty()
        && let Some(words) = words_alone
    {
        app.unfound.note(&words);
    }
    let facets = match tree.filter(|_| with_facets) {
        Some(tree) => Some(facets::body(catalogue::facets(&app.pool, &filter).await?, &tree.filterable())?),
        None => None,
    };
    let Page { items, next_cursor } = Page::of(page, body)?;
    Ok(Fresh::Changed(tag, ListingsPage { items, next_cursor, meant, facets }))
}

/// What somebody is typing.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct SuggestionsQuery {
    /// What was typed so far; the last word may be a beginning, or mistyped.
    q: Option<String>,
    /// How many of each kind, 20 unless told, 100 at most.
    limit: Option<u32>,
}

/// What somebody may be about to type.
#[derive(Debug, Serialize, ToSchema)]
pub struct SuggestionsBody {
    /// Words that the last one may become.
    #[schema(example = json!(["cartier"]))]
    terms: Vec<String>,
    /// Titles of active listings that have all the words.
    #[schema(example = json!(["Cartier Tank wristwatch"]))]
    titles: Vec<String>,
}

/// What somebody may be about to type: words and titles of what can be bought now.
#[utoipa::path(get, path = "/listings/suggestions", tag = TAG, params(SuggestionsQuery, Waits),
    responses((status = OK, body = SuggestionsBody, description = "Suggestions")))]
pub(super) async fn suggest(
    State(app): State<App>,
    read: Read<SuggestionsQuery>,
) -> Result<Json<SuggestionsBody>, Problem> {
    read.wait_for(&app, catalogue::MODEL.name).await?;
    let (typed, limit) = (read.query.q.unwrap_or_default(), page_limit(read.query.limit)?);
    let catalogue::Suggestions { terms, titles } = catalogue::suggestions(&app.pool, &typed, limit).await?;
    Ok(Json(SuggestionsBody { terms, titles }))
}
