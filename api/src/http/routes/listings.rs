//! The catalogue: what is offered, and what a seller does with it.

use std::collections::BTreeMap;

use axum::extract::State;
use chrono::{DateTime, Utc};
use commands::Change;
use commands::listings::{self, NewListing};
use domain::category::Attributes;
use domain::listing::{AuctionPlan, Changes, Condition, Delivery, Details, Discount, Listing, Sale, Variant};
use domain::stock::Sku;
use domain::{AccountId, ListingId, Money};
use eventstore::mint;
use garde::Validate;
use projections::catalogue;
use projections::past::Question;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use utoipa::openapi::{Object, ObjectBuilder, RefOr, Schema, Type};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::http::as_of::{AsOf, Look, TakesAsOf};
use crate::http::extract::{Command, Creation, Id, MaybeCaller, NoQuery, Nothing};
use crate::http::fields::{LONGEST_OPTION, LONGEST_OPTION_NAME, are_options, is_near, is_slug, is_title};
use crate::http::openapi::{Conditional, Keyed, MoneyBody, Waits};
use crate::http::problem::Problem;
use crate::http::reply::{Done, One};

pub mod details;
pub mod facets;
pub mod search;
pub mod shown;

pub use details::DiscountBody;
pub(super) use details::{are_attributes, attributes_schema};
pub use search::{SortName, StatusName};
pub use shown::ListingBody;
pub(super) use shown::body;

pub(super) const TAG: &str = "Catalogue";

/// The routes of this file.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(search::list, draft))
        .routes(routes!(search::list_category))
        .routes(routes!(search::suggest))
        .routes(routes!(show, patch, put, archive))
        .routes(routes!(publish))
}

/// How used something is.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ConditionBody {
    /// Never used.
    New,
    /// Used, and as good as new.
    LikeNew,
    /// Used, and shows it a little.
    Good,
    /// Used, and shows it.
    Fair,
    /// Does not work.
    ForParts,
}

impl From<ConditionBody> for Condition {
    fn from(body: ConditionBody) -> Self {
        match body {
            ConditionBody::New => Self::New,
            ConditionBody::LikeNew => Self::LikeNew,
            ConditionBody::Good => Self::Good,
            ConditionBody::Fair => Self::Fair,
            ConditionBody::ForParts => Self::ForParts,
        }
    }
}

/// How something reaches its buyer.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryBody {
    /// It is shipped.
    #[default]
    Physical,
    /// It is handed over electronically and needs no shipping.
    Digital,
}

impl From<DeliveryBody> for Delivery {
    fn from(body: DeliveryBody) -> Self {
        match body {
            DeliveryBody::Physical => Self::Physical,
            DeliveryBody::Digital => Self::Digital,
        }
    }
}

/// A form in which something comes.
#[derive(Clone, Debug, Deserialize, ToSchema, Validate)]
#[serde(deny_unknown_fields)]
#[garde(allow_unvalidated)]
pub struct VariantBody {
    /// Names it within the listing.
    #[schema(value_type = String, example = "jumper-m", pattern = "^[A-Za-z0-9._-]{1,64}$")]
    sku: Sku,
    /// What sets it apart.
    #[garde(length(max = MOST_OPTIONS), custom(are_options))]
    #[serde(default)]
    #[schema(schema_with = options)]
    options: BTreeMap<String, String>,
    /// Its price, if it is another than the listing's.
    #[schema(value_type = Option<MoneyBody>)]
    price: Option<Money>,
    /// How many pieces of it there are; as many as before, or one.
    #[garde(range(max = domain::stock::MOST_PIECES))]
    #[schema(maximum = 1_000_000)]
    stock: Option<u32>,
}

/// What may set a form apart from others.
const MOST_OPTIONS: usize = 10;

fn options() -> Object {
    let text = |longest| ObjectBuilder::new().schema_type(Type::String).max_length(Some(longest));
    let values = Schema::from(text(LONGEST_OPTION));
    let names = Schema::from(text(LONGEST_OPTION_NAME).pattern(Some("^[^\\u0000]*$")));
    let options = ObjectBuilder::new()
        .additional_properties(Some(RefOr::T(values)))
        .property_names(Some(names))
        .max_properties(Some(MOST_OPTIONS));
    options.examples([json!({ "size": "M" })]).description(Some("What sets it apart.")).build()
}

/// The wishes of a seller for an auction.
#[derive(Clone, Debug, Deserialize, ToSchema, Validate)]
#[serde(deny_unknown_fields)]
#[garde(allow_unvalidated)]
pub struct AuctionPlanBody {
    /// The lowest first bid.
    #[schema(value_type = MoneyBody)]
    pub start_price: Money,
    /// Below this secret price it is not sold.
    #[schema(value_type = Option<MoneyBody>)]
    pub reserve_price: Option<Money>,
    /// Ends the auction at once; gone with the first bid, or once the reserve is met.
    #[schema(value_type = Option<MoneyBody>)]
    pub buy_now_price: Option<Money>,
    /// When it starts; when it is published unless told.
    #[garde(inner(custom(is_near)))]
    #[schema(pattern = "^(19[7-9][0-9]|2[0-9]{3})-")]
    pub starts_at: Option<DateTime<Utc>>,
    /// How long it lasts, in seconds: a minute to sixty days.
    #[schema(example = 604_800, minimum = 60, maximum = 5_184_000)]
    pub duration_s: u32,
}

impl From<AuctionPlanBody> for AuctionPlan {
    fn from(body: AuctionPlanBody) -> Self {
        Self {
            start_price: body.start_price,
            reserve_price: body.reserve_price,
            buy_now_price: body.buy_now_price,
            starts_at: body.starts_at,
            duration_s: body.duration_s,
        }
    }
}

/// Something to be offered: at a fixed price, or by auction.
#[derive(Clone, Debug, Deserialize, ToSchema, Validate)]
#[serde(deny_unknown_fields)]
#[garde(allow_unvalidated)]
pub struct NewListingBody {
    #[garde(custom(is_title))]
    #[schema(
        example = "Cartier Tank wristwatch",
        min_length = 1,
        max_length = 200,
        pattern = "^[^\\u0000]*[^\\s\\u0000\\u0085][^\\u0000]*$"
    )]
    title: String,
    #[garde(length(chars, max = 10_000))]
    #[serde(default)]
    #[schema(max_length = 10_000)]
    description: String,
    /// The slug of a category.
    #[garde(custom(is_slug))]
    #[schema(example = "watches", pattern = "^[a-z0-9-]{1,64}$")]
    category: String,
    #[garde(length(chars, max = 100))]
    #[schema(example = "Cartier", max_length = 100)]
    brand: Option<String>,
    condition: ConditionBody,
    #[serde(default)]
    delivery: DeliveryBody,
    /// What sending a piece costs the buyer; nothing unless told.
    #[schema(value_type = Option<MoneyBody>)]
    shipping: Option<Money>,
    /// A fixed price. Either this or `auction`.
    #[schema(value_type = Option<MoneyBody>)]
    price: Option<Money>,
    /// How many pieces there are, if there are no variants; unless told as many as before, or one.
    #[garde(range(max = domain::stock::MOST_PIECES))]
    #[schema(maximum = 1_000_000)]
    stock: Option<u32>,
    /// The forms in which it comes, if there are several.
    #[garde(dive, length(max = 100))]
    #[serde(default)]
    #[schema(max_items = 100)]
    variants: Vec<VariantBody>,
    /// An auction. Either this or `price`.
    #[garde(dive)]
    auction: Option<AuctionPlanBody>,
    #[garde(custom(are_attributes))]
    #[serde(default)]
    #[schema(schema_with = attributes_schema)]
    attributes: Attributes,
    #[garde(dive)]
    discount: Option<DiscountBody>,
}

/// What is for sale: what it is, how it is sold, and how many pieces there are of each form.
type Goods = (Details, Sale, BTreeMap<Sku, u32>);

impl NewListingBody {
    fn parts(self) -> Result<Goods, Problem> {
        let Self { title, description, category, brand, condition, delivery, shipping, attributes, .. } = self;
        let (brand, condition) = (brand.filter(|brand| !brand.is_empty()), condition.into());
        let delivery = delivery.into();
        let details = Details { title, description, category, brand, condition, delivery, shipping, attributes };
        let (sale, stock) = sale(self.price, self.auction, self.stock, self.variants)?;
        Ok((details, sale.ok_or_else(either_or)?, stock))
    }
}

fn sale(
    price: Option<Money>,
    auction: Option<AuctionPlanBody>,
    stock: Option<u32>,
    variants: Vec<VariantBody>,
) -> Result<(Option<Sale>, BTreeMap<Sku, u32>), Problem> {
    if stock.is_some() && !variants.is_empty() {
        return Err(Problem::invalid_field("/stock", "either-or", "each variant has a `stock` of its own"));
    }
    if auction.is_some() && (stock.is_some() || !variants.is_empty()) {
        return Err(Problem::invalid_field("/auction", "either-or", "an auction sells one piece"));
    }
    if price.is_none() && !variants.is_empty() {
        return Err(Problem::invalid_field("/price", "missing", "variants take the `price` of the listing"));
    }
    let whole = stock.map(|stock| (Sku::default(), stock));
    let counts = variants.iter().filter_map(|variant| Some((variant.sku.clone(), variant.stock?))).chain(whole);
    let counts = counts.collect();
    let variant = |VariantBody { sku, options, price, .. }| Variant { sku, options, price };
    let variants = variants.into_iter().map(variant).collect();
    match (price, auction) {
        (Some(price), None) => Ok((Some(Sale::FixedPrice { price, variants }), counts)),
        (None, Some(plan)) => Ok((Some(Sale::Auction(plan.into())), counts)),
        (None, None) => Ok((None, counts)),
        (Some(_), Some(_)) => Err(either_or()),
    }
}

fn either_or() -> Problem {
    Problem::invalid_field("/price", "either-or", "give either `price` or `auction`")
}

/// What a command has done to a listing.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, ToSchema)]
pub struct ListingChanged {
    id: uuid::Uuid,
    /// For `If-Match`.
    pub(super) version: u64,
}

pub(super) fn changed(world: &mut commands::World<'_>, listing: ListingId) -> Result<ListingChanged, commands::Halt> {
    Ok(ListingChanged { id: listing.0, version: world.version::<Listing>(listing)? })
}

/// Writes a listing down as a draft. Only its seller sees it until it is published.
#[utoipa::path(post, path = "/listings", tag = TAG, security(("bearer" = [])), request_body = NewListingBody,
    params(Keyed), responses((status = CREATED, body = ListingChanged, description = "The draft")))]
async fn draft(
    State(app): State<App>,
    Creation(command): Creation<NewListingBody>,
) -> Result<Done<ListingChanged>, Problem> {
    let (request, seller) = (command.request(), command.caller.account);
    let discount = command.body.discount.unwrap_or_default().discount()?;
    let (details, sale, stock) = command.body.parts()?;
    let new = NewListing { listing: ListingId(mint::id()), seller, details, sale, stock, discount };
    let accepted = app
        .engine
        .submit(request, move |world| {
            listings::draft(world, &new)?;
            changed(world, new.listing)
        })
        .await?;
    let ListingChanged { id, version } = accepted.value;
    Ok(Done::created(accepted, format!("/api/v1/listings/{id}")).at_version(version))
}

/// A listing. A draft is there for its seller alone.
#[utoipa::path(get, path = "/listings/{id}", tag = TAG, security((), ("bearer" = [])),
    params(("id" = uuid::Uuid, Path), TakesAsOf, Waits),
    responses((status = OK, body = ListingBody, description = "The listing")))]
async fn show(
    State(app): State<App>,
    Id(id): Id<ListingId>,
    MaybeCaller(caller): MaybeCaller,
    read: AsOf<NoQuery>,
) -> Result<One<ListingBody>, Problem> {
    read.admit(caller)?;
    read.wait_for(&app, catalogue::MODEL.name).await?;
    let (app, read, viewer) = (&app, &read, caller.map(|caller| caller.account).into());
    let shown = |mut look: Look| async move {
        let row = catalogue::get(&mut look.view, id, viewer).await?.ok_or_else(|| Problem::not_found("listing"))?;
        read.admit_to(app, AccountId(row.listing.seller_id), caller).await?;
        let (version, position) = (row.listing.version.unsigned_abs(), row.listing.position);
        Ok(One { body: body(row)?, version, position })
    };
    read.answer(app, Question::Listing(id), shown).await
}

/// What is to change. What is not named stays; an empty `brand` clears it.
#[derive(Clone, Debug, Deserialize, ToSchema, Validate)]
#[serde(deny_unknown_fields)]
#[garde(allow_unvalidated)]
pub struct ListingPatch {
    #[garde(inner(custom(is_title)))]
    #[schema(min_length = 1, max_length = 200, pattern = "^[^\\u0000]*[^\\s\\u0000\\u0085][^\\u0000]*$")]
    title: Option<String>,
    #[garde(length(chars, max = 10_000))]
    #[schema(max_length = 10_000)]
    description: Option<String>,
    #[garde(inner(custom(is_slug)))]
    #[schema(pattern = "^[a-z0-9-]{1,64}$")]
    category: Option<String>,
    #[garde(length(chars, max = 100))]
    #[schema(max_length = 100)]
    brand: Option<String>,
    condition: Option<ConditionBody>,
    delivery: Option<DeliveryBody>,
    /// What sending a piece costs the buyer.
    #[schema(value_type = Option<MoneyBody>)]
    shipping: Option<Money>,
    /// The price of a piece.
    #[schema(value_type = Option<MoneyBody>)]
    price: Option<Money>,
    /// How many pieces are free, of a listing without variants.
    #[garde(range(max = domain::stock::MOST_PIECES))]
    #[schema(maximum = 1_000_000)]
    stock: Option<u32>,
    /// The forms in which it comes from now on; takes `price`.
    #[garde(length(max = 100), dive)]
    #[schema(max_items = 100)]
    variants: Option<Vec<VariantBody>>,
    /// How a draft is sold by auction.
    #[garde(dive)]
    auction: Option<AuctionPlanBody>,
    /// All that it says of itself from now on.
    #[garde(inner(custom(are_attributes)))]
    #[schema(schema_with = attributes_schema, required = false)]
    attributes: Option<Attributes>,
    /// The discount from now on; an empty one takes it back.
    #[garde(dive)]
    discount: Option<DiscountBody>,
    /// Offers it no more for a while, or again.
    paused: Option<bool>,
}

/// Changes parts of a listing. How a published auction is sold cannot change.
#[utoipa::path(patch, path = "/listings/{id}", tag = TAG, security(("bearer" = [])),
    params(("id" = uuid::Uuid, Path), Conditional), request_body = ListingPatch,
    responses((status = OK, body = ListingChanged, description = "Changed")))]
async fn patch(
    State(app): State<App>,
    Id(id): Id<ListingId>,
    command: Command<ListingPatch>,
) -> Result<Done<ListingChanged>, Problem> {
    let patch = command.body.clone();
    let keep_variants = patch.variants.is_none();
    let (sale, stock) = sale(patch.price, patch.auction, patch.stock, patch.variants.unwrap_or_default())?;
    let changes = Changes {
        title: patch.title,
        description: patch.description,
        category: patch.category,
        brand: patch.brand,
        condition: patch.condition.map(Condition::from),
        delivery: patch.delivery.map(Delivery::from),
        shipping: patch.shipping,
        sale,
        attributes: patch.attributes,
    };
    let discount = match patch.discount {
        Some(body) => Change::To(body.discount()?),
        None => Change::Kept,
    };
    revise(&app, id, &command, Revision { changes, stock, keep_variants, discount, paused: patch.paused }).await
}

/// Replaces a listing. How a published auction is sold cannot change.
#[utoipa::path(put, path = "/listings/{id}", tag = TAG, security(("bearer" = [])),
    params(("id" = uuid::Uuid, Path), Conditional), request_body = NewListingBody,
    responses((status = OK, body = ListingChanged, description = "Replaced")))]
async fn put(
    State(app): State<App>,
    Id(id): Id<ListingId>,
    command: Command<NewListingBody>,
) -> Result<Done<ListingChanged>, Problem> {
    let discount = command.body.discount.unwrap_or_default().discount()?;
    let (details, sale, stock) = command.body.clone().parts()?;
    let changes = Changes {
        title: Some(details.title),
        description: Some(details.description),
        category: Some(details.category),
        brand: Some(details.brand.unwrap_or_default()),
        condition: Some(details.condition),
        delivery: Some(details.delivery),
        shipping: Some(details.shipping.unwrap_or(Money::zero(sale.currency()))),
        sale: Some(sale),
        attributes: Some(details.attributes),
    };
    let discount = Change::To(discount);
    revise(&app, id, &command, Revision { changes, stock, keep_variants: false, discount, paused: None }).await
}

/// What is to become of a listing.
#[derive(Clone)]
struct Revision {
    changes: Changes,
    stock: BTreeMap<Sku, u32>,
    /// Whether a new price leaves the forms as they are.
    keep_variants: bool,
    discount: Change<Discount>,
    /// Whether it is not to be offered for a while.
    paused: Option<bool>,
}

async fn revise<T>(
    app: &App,
    id: ListingId,
    command: &Command<T>,
    revision: Revision,
) -> Result<Done<ListingChanged>, Problem> {
    let (by, expected, rules) = (command.caller.account, command.expected_version, app.listing_rules());
    let changes_nothing = revision.changes == Changes::default();
    let revise = move |world: &mut commands::World<'_>| {
        world.get::<Listing>(id)?.owned_by(by)?;
        world.expect_version::<Listing>(id, expected)?;
        let Revision { mut changes, stock, keep_variants, discount, paused } = revision.clone();
        if let (true, Some(Sale::FixedPrice { variants, .. })) = (keep_variants, &mut changes.sale)
            && let Sale::FixedPrice { variants: kept, .. } = &world.get::<Listing>(id)?.offer()?.sale
        {
            variants.clone_from(kept);
        }
        listings::revise(world, id, by, changes, &stock, &rules)?;
        if let Change::To(discount) = discount {
            listings::set_discount(world, id, by, discount)?;
        }
        match paused {
            Some(true) => listings::pause(world, id, by)?,
            Some(false) => listings::resume(world, id, by, &rules)?,
            None => {}
        }
        changed(world, id)
    };
    let accepted = app.engine.submit(command.request(), revise).await?;
    let version = accepted.value.version;
    // Its stock alone may have changed, or nothing at all.
    Ok(if changes_nothing { Done::ok(accepted) } else { Done::ok(accepted).at_version(version) })
}

/// Takes a listing off for good. A running auction is cancelled instead.
#[utoipa::path(delete, path = "/listings/{id}", tag = TAG, security(("bearer" = [])),
    params(("id" = uuid::Uuid, Path), Conditional),
    responses((status = OK, body = ListingChanged, description = "Archived")))]
async fn archive(
    State(app): State<App>,
    Id(id): Id<ListingId>,
    command: Command<Nothing>,
) -> Result<Done<ListingChanged>, Problem> {
    let (by, expected) = (command.caller.account, command.expected_version);
    let archive = move |world: &mut commands::World<'_>| {
        world.get::<Listing>(id)?.owned_by(by)?;
        world.expect_version::<Listing>(id, expected)?;
        listings::archive(world, id, by)?;
        changed(world, id)
    };
    Ok(Done::ok(app.engine.submit(command.request(), archive).await?))
}

/// Offers a listing. An auction starts at its planned time, or now.
#[utoipa::path(post, path = "/listings/{id}/publish", tag = TAG, security(("bearer" = [])),
    params(("id" = uuid::Uuid, Path), Conditional),
    responses((status = OK, body = ListingChanged, description = "Published")))]
async fn publish(
    State(app): State<App>,
    Id(id): Id<ListingId>,
    command: Command<Nothing>,
) -> Result<Done<ListingChanged>, Problem> {
    let (by, expected, rules) = (command.caller.account, command.expected_version, app.listing_rules());
    let publish = move |world: &mut commands::World<'_>| {
        world.get::<Listing>(id)?.owned_by(by)?;
        world.expect_version::<Listing>(id, expected)?;
        listings::publish(world, id, by, &rules)?;
        changed(world, id)
    };
    Ok(Done::ok(app.engine.submit(command.request(), publish).await?))
}
