//! What is on offer?
//!
//! Draft, offered and archived listings of both kinds. What was never published is shown to its seller alone. An
//! auction's listing shows what lists need of the auction; the [`crate::auction_board`] tells the rest. What is sold at
//! a fixed price shows how many pieces are free, which the pieces kept for orders are not, and is sold out without one.
//! While the window of its discount is open it shows what is asked, and goes by that in every list.

mod engagement;
mod facets;
mod search;
#[cfg(test)]
mod tests;
mod vocabulary;

use std::collections::BTreeMap;

use domain::category::Attributes;
use domain::listing::{self, Changes, Condition, Delivery, Details, Discount, Event, Sale};
use domain::stock::{self, Sku, Stock};
use domain::{Aggregate, Currency, Money, Timestamp, account, auction, favorite, review, store, view};
use eventstore::Position;
use eventstore::event::DomainEvent;
use eventstore::follower::{Batch, FollowError, Recorded};
use eventstore::sealing::PersonKeys;
use serde::{Deserialize, Serialize};
use sqlx::types::Json;
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use crate::{ReadModel, Text, rows};
use engagement::Engagement;

pub use engagement::{Favorite, FavoritesCursor, favorites};
pub use facets::{Count, Facets, Prices, facets};
pub use search::{
    Cursor, Filter, PriceRange, Sort, Viewer, active_by_category, counts_of, get, get_all, kept_by, offered_by, page,
};
pub use vocabulary::{Suggestions, corrected, suggestions};

/// The read model.
pub const MODEL: ReadModel = ReadModel {
    name: "catalogue",
    next: "catalogue_next",
    version: 9,
    about: &[
        account::Account::TYPE,
        auction::Auction::TYPE,
        favorite::Favorite::TYPE,
        listing::Listing::TYPE,
        review::Review::TYPE,
        stock::Stock::TYPE,
        store::Store::TYPE,
        view::View::TYPE,
    ],
    ddl: include_str!("catalogue.sql"),
    apply: |connection, batch| Box::pin(apply(connection, batch)),
};

/// Something offered for sale.
#[derive(Clone, Debug, FromRow, PartialEq, Serialize)]
pub struct Listing {
    /// The listing; its auction has the same id.
    pub id: Uuid,
    /// Who sells.
    pub seller_id: Uuid,
    /// How it is sold.
    pub kind: Kind,
    /// Where it is in its life.
    pub status: Status,
    /// In a few words.
    pub title: String,
    /// In many.
    pub description: String,
    /// The slug of its category.
    pub category: String,
    /// Who made it.
    pub brand: Option<String>,
    /// How used it is.
    pub condition: Text<Condition>,
    /// How it reaches its buyer.
    pub delivery: Text<Delivery>,
    /// What sending one piece costs the buyer, in minor units; nothing if it is not named.
    pub shipping: Option<i64>,
    /// The fixed price, or what the auction stands at, in minor units.
    pub price_minor: i64,
    /// What is asked while it is on sale, in minor units; nothing while it is not.
    pub sale_minor: Option<i64>,
    /// The currency of the price.
    pub currency: Text<Currency>,
    /// What is asked less for it, and when: now, or at some time to come.
    pub discount: Option<Json<Discount>>,
    /// What it says of itself.
    pub attributes: Json<Attributes>,
    /// The names of its images, in the order in which they are shown.
    pub images: Json<Vec<String>>,
    /// Whether the staff features it.
    pub featured: bool,
    /// The forms in which it comes; none if there is only one.
    pub variants: Json<Vec<Variant>>,
    /// How many pieces are free, of all forms together; `None` for an auction.
    pub stock: Option<i64>,
    /// When the auction starts; of a draft what its seller wishes, if anything.
    pub starts_at: Option<Timestamp>,
    /// When the auction ends, as it stands.
    pub ends_at: Option<Timestamp>,
    /// How many bids the auction has.
    pub bids: i32,
    /// Pieces sold, less those that came back unsent.
    pub sold: i64,
    /// When it was written down.
    pub created_at: Timestamp,
    /// When it was first offered.
    pub published_at: Option<Timestamp>,
    /// When it was taken off.
    pub archived_at: Option<Timestamp>,
    /// When it is offered at the latest, while it waits for the staff.
    pub review_until: Option<Timestamp>,
    /// Why the staff has given it back, or taken it away.
    pub reason: Option<String>,
    /// How many events its own stream has; its auction and its stock have streams and versions of their own.
    pub version: i64,
    /// Where the last event is that changed this row, its auction's and its stock's included.
    pub position: Position,
}

/// A form in which something comes.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Variant {
    /// Names it within the listing.
    pub sku: Sku,
    /// What sets it apart, such as `size: M`.
    pub options: BTreeMap<String, String>,
    /// Its price in minor units, if it is another than the listing's.
    pub price: Option<i64>,
    /// What is asked for it while it is on sale, in minor units.
    pub sale: Option<i64>,
    /// How many pieces are free.
    pub free: i64,
}

/// A row of the table: what is shown, and the pieces from which some of it follows.
#[derive(Clone, Debug, FromRow, Serialize)]
struct Row {
    #[serde(flatten)]
    #[sqlx(flatten)]
    listing: Listing,
    /// As the domain itself folds them: a release names its order alone.
    pieces: Json<Stock>,
    /// Where it is in its life, whatever its stock.
    stage: Stage,
    /// Whether the window of its discount is open.
    on_sale: bool,
}

/// Where a listing is in its life, whatever its stock.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
enum Stage {
    Draft,
    Pending,
    Offered,
    Paused,
    Archived,
    Removed,
}

/// What of the table is shown.
macro_rules! columns {
    () => {
        "id, seller_id, kind, status, title, description, category, brand, condition, delivery, shipping, price_minor,
        sale_minor, currency, discount, attributes, images, featured, variants, stock, starts_at, ends_at, bids, sold,
        created_at, published_at, archived_at, review_until, reason, version, position"
    };
}
use columns;

/// A listing and the name of its seller.
#[derive(Clone, Debug, FromRow, PartialEq, Serialize)]
pub struct Offer {
    /// The listing.
    #[serde(flatten)]
    #[sqlx(flatten)]
    pub listing: Listing,
    /// The seller's public name; `None` once the person is forgotten.
    pub seller_name: Option<String>,
    /// How often somebody has looked at it, once per viewer and day.
    pub views: i64,
    /// Of how many it is a favourite.
    pub favorites: i64,
    /// How many have rated it.
    pub ratings: i64,
    /// How many stars they have given together.
    pub stars: i64,
    /// By which lists are by popularity.
    pub popularity: i64,
    /// By which lists are by rating.
    pub rating: i64,
    /// How well it fits the words of a search that goes by it.
    pub rank: i64,
}

/// How something is sold.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Kind {
    /// To the first who pays the price.
    FixedPrice,
    /// To the highest bidder.
    Auction,
}

/// Where a listing is in its life.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Status {
    /// Written down, not offered.
    Draft,
    /// Waits for the staff.
    Pending,
    /// Offered.
    Active,
    /// Offered at a fixed price, without a free piece: it is active again as soon as there is one.
    SoldOut,
    /// Not offered for a while.
    Paused,
    /// Off for good.
    Archived,
    /// Taken away by the staff; there for its seller alone.
    Removed,
}

#[derive(Debug, Serialize)]
struct Seller {
    #[serde(rename = "seller_id")]
    id: Uuid,
    user_name: Option<String>,
    closed: bool,
    forgotten: bool,
}

/// What a batch makes of listings, of their sellers, and of the interest in listings.
#[derive(Debug, Default)]
struct Catalogue {
    listings: BTreeMap<Uuid, Row>,
    /// What of these everybody could buy before, by the texts in which it is suggested.
    offered: BTreeMap<Uuid, Texts>,
    sellers: BTreeMap<Uuid, Seller>,
    closed: BTreeMap<Uuid, bool>,
    engagement: Engagement,
}

/// Title and brand.
type Texts = (String, Option<String>);

async fn apply(connection: &mut PgConnection, batch: &Batch) -> Result<(), FollowError> {
    let mut catalogue = Catalogue::load(connection, &batch.events).await?;
    for recorded in &batch.events {
        catalogue.take(recorded, &batch.people);
    }
    catalogue.store(connection).await
}

impl Catalogue {
    /// Takes one event in.
    fn take(&mut self, recorded: &Recorded, people: &PersonKeys) {
        match &recorded.event {
            DomainEvent::Account(account, event) => {
                if matches!(event, account::Event::AccountErased {}) {
                    self.engagement.forget(account.0);
                }
                self.take_account(account.0, event, people);
            }
            DomainEvent::Favorite(_, event) => {
                self.engagement.take_favorite(event, recorded.recorded_at, recorded.position);
            }
            DomainEvent::View(_, view::Event::ListingViewed { listing }) => {
                self.engagement.take_view(listing.0, recorded.position);
            }
            DomainEvent::Review(_, event) => {
                if let Some(counted) = event.counted() {
                    self.engagement.take_rating(counted, recorded.position);
                }
            }
            DomainEvent::Auction(auction, event) => {
                if let Some(Row { listing, .. }) = self.listings.get_mut(&auction.0)
                    && listing.take_auction(event)
                {
                    listing.position = recorded.position;
                }
            }
            DomainEvent::Listing(listing, event) => self.take_listing(listing.0, event, recorded),
            DomainEvent::Stock(listing, event) => {
                if let Some(row) = self.listings.get_mut(&listing.0) {
                    row.take_stock(event);
                    row.listing.position = recorded.position;
                }
            }
            DomainEvent::Store(seller, event) => {
                self.closed.extend(event.closes().map(|closed| (seller.0, closed)));
            }
            // Nothing else is given to it: see `about`.
            _ => {}
        }
    }

    fn take_account(&mut self, id: Uuid, event: &account::Event, people: &PersonKeys) {
        match event {
            account::Event::AccountRegistered { identity, .. } => {
                let user_name = people.open(&identity.user_name);
                self.sellers.insert(id, Seller { id, user_name, closed: false, forgotten: false });
            }
            account::Event::AccountErased {} => {
                self.sellers.insert(id, Seller { id, user_name: None, closed: false, forgotten: true });
            }
            account::Event::ProfileChanged { changes } => {
                if let Some(user_name) = &changes.user_name {
                    let user_name = people.open(user_name);
                    self.sellers.insert(id, Seller { id, user_name, closed: false, forgotten: false });
                }
            }
            account::Event::EmailChallenged { .. }
            | account::Event::EmailVerified { .. }
            | account::Event::PasswordChallenged { .. }
            | account::Event::PasswordChanged { .. }
            | account::Event::IdentityLinked { .. }
            | account::Event::CapabilitiesGranted { .. }
            | account::Event::CapabilitiesRevoked { .. }
            | account::Event::ViolationRecorded { .. }
            | account::Event::ViolationsPardoned { .. }
            | account::Event::AccountBlocked { .. }
            | account::Event::AccountSuspended { .. }
            | account::Event::AccountWarned { .. }
            | account::Event::AccountReinstated { .. }
            | account::Event::SessionsRevoked { .. } => {}
        }
    }

    fn take_listing(&mut self, id: Uuid, event: &Event, recorded: &Recorded) {
        if let Event::ListingDrafted { seller, details, sale } = event {
            let listing = Listing::drafted(id, seller.0, details, sale, recorded.recorded_at);
            let pieces = Json::default();
            self.listings.insert(id, Row { listing, pieces, stage: Stage::Draft, on_sale: false });
        }
        let Some(row) = self.listings.get_mut(&id) else { return };
        row.take(event, recorded.recorded_at);
        (row.listing.version, row.listing.position) = (recorded.sequence, recorded.position);
        row.show();
    }

    async fn load(connection: &mut PgConnection, events: &[Recorded]) -> Result<Self, FollowError> {
        let ids = rows::touched(events, |event| match event {
            DomainEvent::Auction(id, _) => Some(id.0),
            DomainEvent::Listing(id, _) | DomainEvent::Stock(id, _) => Some(id.0),
            _ => None,
        });
        if ids.is_empty() {
            return Ok(Self::default());
        }
        let statement = concat!("select ", columns!(), ", pieces, stage, on_sale from listings where id = any($1)");
        let listings: Vec<Row> = sqlx::query_as(statement).bind(ids).fetch_all(connection).await?;
        let offered = listings.iter().filter_map(|row| Some((row.listing.id, row.listing.offered_texts()?))).collect();
        let listings = listings.into_iter().map(|row| (row.listing.id, row)).collect();
        Ok(Self { listings, offered, ..Self::default() })
    }

    async fn store(self, connection: &mut PgConnection) -> Result<(), FollowError> {
        let changed = self.listings.values().map(|row| &row.listing);
        let changed = changed.filter(|listing| listing.offered_texts().as_ref() != self.offered.get(&listing.id));
        let changed: Vec<Uuid> = changed.map(|listing| listing.id).collect();
        let turned: Vec<Uuid> = self.closed.keys().copied().collect();
        let before = vocabulary::count(connection, &changed, &turned).await?;
        let statement = concat!(
            "insert into listings (",
            columns!(),
            ", pieces, stage, on_sale) select ",
            columns!(),
            ", pieces, stage, on_sale from json_populate_recordset(null::listings, $1::json)
            on conflict on constraint listings_id do update set
                (kind, status, title, description, category, brand, condition, delivery, shipping, price_minor, sale_minor,
                    currency, discount, attributes, images, featured, variants, stock, starts_at, ends_at, bids, sold,
                    published_at, archived_at, review_until, reason, version, position, pieces, stage, on_sale)
                = row (excluded.kind, excluded.status, excluded.title, excluded.description, excluded.category,
                    excluded.brand, excluded.condition, excluded.delivery, excluded.shipping, excluded.price_minor,
                    excluded.sale_minor, excluded.currency, excluded.discount, excluded.attributes, excluded.images,
                    excluded.featured, excluded.variants, excluded.stock, excluded.starts_at, excluded.ends_at,
                    excluded.bids, excluded.sold, excluded.published_at, excluded.archived_at, excluded.review_until,
                    excluded.reason, excluded.version, excluded.position, excluded.pieces, excluded.stage, excluded.on_sale)",
        );
        let listings = self.listings.keys().copied().collect();
        rows::write(connection, statement, self.listings.into_values()).await?;
        let statement = "
            insert into sellers select * from json_populate_recordset(null::sellers, $1::json)
            on conflict on constraint sellers_id do update set user_name = excluded.user_name,
                forgotten = sellers.forgotten or excluded.forgotten";
        rows::write(connection, statement, self.sellers.into_values()).await?;
        let statement = "
            update sellers set closed = changed.closed from json_to_recordset($1::json) as changed (id uuid, closed boolean)
            where seller_id = changed.id";
        let closed = self.closed.into_iter().map(|(id, closed)| serde_json::json!({ "id": id, "closed": closed }));
        rows::write(connection, statement, closed).await?;
        let after = vocabulary::count(connection, &changed, &turned).await?;
        vocabulary::store(connection, &before, &after).await?;
        self.engagement.store(connection, listings).await
    }
}

impl Row {
    /// Takes an event of its own in.
    fn take(&mut self, event: &Event, at: Timestamp) {
        let Self { listing, stage, on_sale, .. } = self;
        match event {
            // It is what made the row.
            Event::ListingDrafted { .. } => {}
            Event::ListingRevised { changes } => listing.revise(changes),
            Event::ListingSubmitted { review_until } => {
                (*stage, listing.review_until, listing.reason) = (Stage::Pending, Some(*review_until), None);
            }
            Event::ListingApproved { .. } => listing.review_until = None,
            Event::ListingRejected { reason, .. } => {
                (*stage, listing.review_until, listing.reason) = (Stage::Draft, None, Some(reason.clone()));
            }
            Event::ListingReturned {} => (*stage, listing.review_until) = (Stage::Draft, None),
            // What was looked at anew is not new.
            Event::ListingPublished {} => {
                (*stage, listing.reason) = (Stage::Offered, None);
                listing.published_at = listing.published_at.or(Some(at));
            }
            Event::ListingPaused {} => *stage = Stage::Paused,
            Event::ListingResumed {} => *stage = Stage::Offered,
            Event::ListingArchived { .. } => {
                (*stage, listing.archived_at, listing.review_until) = (Stage::Archived, Some(at), None);
            }
            Event::ListingRemoved { reason, .. } => {
                (*stage, listing.review_until, listing.reason) = (Stage::Removed, None, Some(reason.clone()));
            }
            Event::ListingFeatured { .. } => listing.featured = true,
            Event::ListingUnfeatured { .. } => listing.featured = false,
            Event::DiscountSet { discount } => (listing.discount, *on_sale) = (discount.map(Json), false),
            Event::DiscountOpened { .. } => *on_sale = true,
            Event::DiscountClosed {} => (listing.discount, *on_sale) = (None, false),
            Event::ImageAttached { image } => listing.images.push(image.clone()),
            Event::ImageDetached { image } => listing.images.retain(|known| known != image),
        }
    }

    /// Takes an event of its stock in.
    fn take_stock(&mut self, event: &stock::Event) {
        let count = |pieces: &stock::Pieces| pieces.values().copied().map(i64::from).sum::<i64>();
        self.listing.sold += match event {
            stock::Event::StockTaken { order } => self.pieces.reserved.get(order).map_or(0, count),
            stock::Event::StockReturned { pieces, .. } => -count(pieces),
            stock::Event::StockCounted { .. }
            | stock::Event::StockReserved { .. }
            | stock::Event::StockHeld { .. }
            | stock::Event::StockReleased { .. }
            | stock::Event::StockSoldOut {}
            | stock::Event::StockPutAway {} => 0,
        };
        self.pieces.evolve(event);
        self.show();
    }

    /// Shows what follows from the pieces: how many are free, whether it is sold out, and what is asked.
    fn show(&mut self) {
        let Self { listing, pieces, stage, on_sale } = self;
        let discount = listing.discount.as_deref().filter(|_| *on_sale && listing.kind == Kind::FixedPrice);
        let currency = listing.currency.0;
        let reduced = |minor| {
            let price = Money::new(minor, currency).ok()?;
            Some(discount?.applied_to(price).minor())
        };
        listing.sale_minor = reduced(listing.price_minor);
        for variant in &mut *listing.variants {
            variant.free = i64::from(pieces.free_of(&variant.sku));
            variant.sale = reduced(variant.price.unwrap_or(listing.price_minor));
        }
        listing.stock = match listing.kind {
            Kind::FixedPrice => Some(pieces.free.values().copied().map(i64::from).sum()),
            Kind::Auction => None,
        };
        listing.status = match (stage, listing.stock) {
            (Stage::Draft, _) => Status::Draft,
            (Stage::Pending, _) => Status::Pending,
            (Stage::Offered, Some(0)) => Status::SoldOut,
            (Stage::Offered, Some(_) | None) => Status::Active,
            (Stage::Paused, _) => Status::Paused,
            (Stage::Archived, _) => Status::Archived,
            (Stage::Removed, _) => Status::Removed,
        };
    }
}

impl Listing {
    fn drafted(id: Uuid, seller_id: Uuid, details: &Details, sale: &Sale, created_at: Timestamp) -> Self {
        let Details { title, description, category, brand, condition, delivery, shipping, attributes } =
            details.clone();
        let Terms { kind, price, variants, starts_at, ends_at } = Terms::of(sale);
        Self {
            id,
            seller_id,
            kind,
            status: Status::Draft,
            title,
            description,
            category,
            brand,
            condition: Text(condition),
            delivery: Text(delivery),
            shipping: shipping.map(Money::minor),
            price_minor: price.minor(),
            sale_minor: None,
            currency: Text(price.currency()),
            discount: None,
            attributes: Json(attributes),
            images: Json::default(),
            featured: false,
            variants: Json(variants),
            stock: None,
            starts_at,
            ends_at,
            bids: 0,
            sold: 0,
            created_at,
            published_at: None,
            archived_at: None,
            review_until: None,
            reason: None,
            version: 0,
            position: 0,
        }
    }

    fn revise(&mut self, changes: &Changes) {
        let Changes { title, description, category, brand, condition, delivery, shipping, sale, attributes } =
            changes.clone();
        set(&mut self.title, title);
        set(&mut self.description, description);
        set(&mut self.category, category);
        set(&mut self.brand, brand.map(Some));
        set(&mut self.condition, condition.map(Text));
        set(&mut self.delivery, delivery.map(Text));
        set(&mut self.attributes, attributes.map(Json));
        set(&mut self.shipping, shipping.map(|shipping| Some(shipping.minor())));
        if let Some(sale) = sale {
            let Terms { kind, price, variants, starts_at, ends_at } = Terms::of(&sale);
            (self.kind, self.starts_at, self.ends_at) = (kind, starts_at, ends_at);
            self.variants = Json(variants);
            self.set_price(price);
        }
    }

    /// Takes an event of its auction in, and tells whether lists show something else from now on.
    fn take_auction(&mut self, event: &auction::Event) -> bool {
        match event {
            auction::Event::AuctionScheduled { terms } => {
                self.set_price(terms.start_price);
                self.starts_at = Some(terms.starts_at);
                self.ends_at = Some(terms.ends_at);
            }
            auction::Event::BidPlaced { standing, .. } => {
                self.set_price(standing.price);
                self.bids += 1;
            }
            auction::Event::AuctionExtended { ends_at } => self.ends_at = Some(*ends_at),
            auction::Event::AuctionClosed { outcome, ended_at } => {
                self.ends_at = Some(*ended_at);
                match outcome {
                    auction::Outcome::Won { price, .. } | auction::Outcome::BoughtNow { price, .. } => {
                        self.set_price(*price);
                        self.sold = 1;
                    }
                    auction::Outcome::Unsold { .. } => {}
                }
            }
            auction::Event::AuctionOpened {}
            | auction::Event::AuctionCancelled { .. }
            | auction::Event::SaleForfeited { .. }
            | auction::Event::SecondChanceOffered { .. }
            | auction::Event::SecondChanceAccepted { .. } => return false,
        }
        true
    }

    fn set_price(&mut self, price: Money) {
        (self.price_minor, self.currency) = (price.minor(), Text(price.currency()));
    }

    /// The texts in which it is suggested, while everybody can buy it from a seller who is not closed.
    fn offered_texts(&self) -> Option<Texts> {
        (self.status == Status::Active).then(|| (self.title.clone(), self.brand.clone()))
    }

    /// What is asked for it now, in minor units.
    pub fn asked_minor(&self) -> i64 {
        self.sale_minor.unwrap_or(self.price_minor)
    }

    fn listed_at(&self) -> Timestamp {
        self.published_at.unwrap_or(self.created_at)
    }
}

fn set<T>(field: &mut T, change: Option<T>) {
    if let Some(change) = change {
        *field = change;
    }
}

/// What a seller's wishes come to in a list.
struct Terms {
    kind: Kind,
    price: Money,
    variants: Vec<Variant>,
    starts_at: Option<Timestamp>,
    ends_at: Option<Timestamp>,
}

impl Terms {
    fn of(sale: &Sale) -> Self {
        match sale {
            Sale::FixedPrice { price, variants } => Self {
                kind: Kind::FixedPrice,
                price: *price,
                variants: variants.iter().map(Variant::of).collect(),
                starts_at: None,
                ends_at: None,
            },
            Sale::Auction(plan) => Self {
                kind: Kind::Auction,
                price: plan.start_price,
                variants: Vec::new(),
                starts_at: plan.starts_at,
                // Without a start of its own it starts, and so ends, by the time of its publication.
                ends_at: plan.starts_at.map(|starts_at| plan.times(starts_at).1),
            },
        }
    }
}

impl Variant {
    /// A form of which no piece was counted yet.
    fn of(variant: &listing::Variant) -> Self {
        let listing::Variant { sku, options, price } = variant.clone();
        Self { sku, options, price: price.map(Money::minor), sale: None, free: 0 }
    }
}
