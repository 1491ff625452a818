//! A listing as it is shown.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use domain::Money;
use domain::category::Attributes;
use domain::listing::{Condition, Delivery, Discount, Off};
use domain::stock::Sku;
use projections::catalogue;
use serde::Serialize;
use utoipa::ToSchema;

use super::details::attributes_schema;
use super::{ConditionBody, DeliveryBody};
use crate::http::money::stored_money;
use crate::http::openapi::MoneyBody;
use crate::http::problem::Problem;
use crate::http::ratings::RatingBody;
use crate::http::routes::uploads::ShownImage;

/// A listing.
#[derive(Debug, Serialize, ToSchema)]
pub struct ListingBody {
    id: uuid::Uuid,
    /// `fixed_price` or `auction`; an auction is at `/auctions/{id}` too.
    #[schema(value_type = String, example = "auction")]
    kind: catalogue::Kind,
    /// `draft`, `pending` while it waits for the staff, `active`, `sold_out` while no piece is free, `paused`, `archived`
    /// or `removed`.
    #[schema(value_type = String, example = "active")]
    status: catalogue::Status,
    title: String,
    description: String,
    category: String,
    brand: Option<String>,
    #[schema(value_type = ConditionBody)]
    condition: Condition,
    seller: SellerBody,
    #[schema(value_type = DeliveryBody)]
    delivery: Delivery,
    /// What sending a piece costs the buyer.
    #[schema(value_type = MoneyBody)]
    shipping: Money,
    /// The price of a piece; of an auction the visible price as it stands.
    #[schema(value_type = MoneyBody)]
    price: Money,
    /// What a piece costs while it is on sale.
    #[schema(value_type = Option<MoneyBody>)]
    sale_price: Option<Money>,
    /// What is asked less for it, now or at some time to come.
    discount: Option<ShownDiscount>,
    #[schema(schema_with = attributes_schema)]
    attributes: Attributes,
    /// In the order in which they are shown; the first is its cover.
    images: Vec<ShownImage>,
    /// Whether the staff features it.
    featured: bool,
    /// How many pieces are free, of all forms together; nothing is told of an auction.
    stock: Option<i64>,
    /// The forms in which it comes, if there are several.
    variants: Vec<ListedVariant>,
    /// When an auction ends.
    ends_at: Option<DateTime<Utc>>,
    /// How many bids an auction has.
    bids: Option<i32>,
    /// How often somebody has looked at it: once for each viewer and day.
    views: i64,
    /// Of how many it is a favourite.
    favorites: i64,
    /// How its reviews rate it.
    rating: RatingBody,
    created_at: DateTime<Utc>,
    published_at: Option<DateTime<Utc>>,
    archived_at: Option<DateTime<Utc>>,
    /// When it is offered unless the staff says no.
    review_until: Option<DateTime<Utc>>,
    /// Why the staff has given it back or taken it away.
    reason: Option<String>,
    /// For `If-Match`.
    version: u64,
}

/// A form in which something comes.
#[derive(Debug, Serialize, ToSchema)]
pub struct ListedVariant {
    #[schema(value_type = String, example = "jumper-m")]
    sku: Sku,
    #[schema(example = json!({ "size": "M" }))]
    options: BTreeMap<String, String>,
    #[schema(value_type = MoneyBody)]
    price: Money,
    /// What a piece costs while it is on sale.
    #[schema(value_type = Option<MoneyBody>)]
    sale_price: Option<Money>,
    /// How many pieces are free.
    stock: i64,
}

/// A discount.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct ShownDiscount {
    /// What each form costs, unless it is cheaper already.
    #[schema(value_type = Option<MoneyBody>)]
    price: Option<Money>,
    /// By how much each form is cheaper, in basis points.
    bps: Option<u32>,
    from: Option<DateTime<Utc>>,
    until: Option<DateTime<Utc>>,
}

impl From<Discount> for ShownDiscount {
    fn from(Discount { off, from, until }: Discount) -> Self {
        let (price, bps) = match off {
            Off::Price(price) => (Some(price), None),
            Off::Bps(bps) => (None, Some(bps)),
        };
        Self { price, bps, from, until }
    }
}

/// Who sells.
#[derive(Debug, Serialize, ToSchema)]
pub struct SellerBody {
    id: uuid::Uuid,
    name: Option<String>,
}

pub(in crate::http::routes) fn body(offer: catalogue::Offer) -> Result<ListingBody, Problem> {
    let catalogue::Offer { listing: row, seller_name, views, favorites, ratings, stars, .. } = offer;
    // Nobody shows what somebody has left behind who is forgotten: it is deleted.
    let files = if seller_name.is_some() { row.images.0 } else { Vec::new() };
    let images = files.iter().filter_map(|file| ShownImage::of(file)).collect();
    let is_auction = row.kind == catalogue::Kind::Auction;
    let money = |minor| stored_money(minor, row.currency.0);
    let variant = |variant: catalogue::Variant| {
        let price = money(variant.price.unwrap_or(row.price_minor))?;
        let sale_price = variant.sale.map(money).transpose()?;
        let catalogue::Variant { sku, options, free: stock, .. } = variant;
        Ok::<_, Problem>(ListedVariant { sku, options, price, sale_price, stock })
    };
    Ok(ListingBody {
        price: money(row.price_minor)?,
        sale_price: row.sale_minor.map(money).transpose()?,
        discount: row.discount.map(|discount| discount.0.into()),
        attributes: row.attributes.0,
        images,
        featured: row.featured,
        review_until: row.review_until,
        reason: row.reason,
        shipping: money(row.shipping.unwrap_or(0))?,
        variants: row.variants.0.into_iter().map(variant).collect::<Result<_, _>>()?,
        delivery: row.delivery.0,
        stock: row.stock,
        version: row.version.unsigned_abs(),
        id: row.id,
        kind: row.kind,
        status: row.status,
        title: row.title,
        description: row.description,
        category: row.category,
        brand: row.brand.filter(|brand| !brand.is_empty()),
        condition: row.condition.0,
        seller: SellerBody { id: row.seller_id, name: seller_name },
        ends_at: row.ends_at,
        bids: is_auction.then_some(row.bids),
        views,
        favorites,
        rating: RatingBody::of(ratings, stars),
        created_at: row.created_at,
        published_at: row.published_at,
        archived_at: row.archived_at,
    })
}
