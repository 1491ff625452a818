//! What is on offer?
//!
//! Draft, offered and archived listings of both kinds. What was never published is shown to its seller alone. An
//! auction's listing shows what lists need of the auction; the [`crate::auction_board`] tells the rest. What is sold at
//! a fixed price shows how many pieces are free, which the pieces kept for orders are not, and is sold out without one.

use std::collections::BTreeMap;

use domain::listing::{self, Changes, Condition, Delivery, Details, Event, Sale};
use domain::stock::{self, Sku, Stock};
use domain::{AccountId, Aggregate, Currency, ListingId, Money, Timestamp, account, auction, store};
use eventstore::Position;
use eventstore::event::DomainEvent;
use eventstore::follower::{Batch, FollowError, Recorded};
use eventstore::sealing::PersonKeys;
use serde::{Deserialize, Serialize};
use sqlx::types::Json;
use sqlx::{FromRow, PgConnection, PgExecutor, QueryBuilder};
use uuid::Uuid;

use crate::page::{Page, PageError};
use crate::{ReadModel, Text, rows};

/// The read model.
pub const MODEL: ReadModel = ReadModel {
    name: "catalogue",
    next: "catalogue_next",
    version: 5,
    about: &[
        account::Account::TYPE,
        auction::Auction::TYPE,
        listing::Listing::TYPE,
        stock::Stock::TYPE,
        store::Store::TYPE,
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
    /// The currency of the price.
    pub currency: Text<Currency>,
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
    /// When it was written down.
    pub created_at: Timestamp,
    /// When it was first offered.
    pub published_at: Option<Timestamp>,
    /// When it was taken off.
    pub archived_at: Option<Timestamp>,
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
}

/// A listing and the name of its seller.
#[derive(Clone, Debug, FromRow, PartialEq, Serialize)]
pub struct Offer {
    /// The listing.
    #[serde(flatten)]
    #[sqlx(flatten)]
    pub listing: Listing,
    /// The seller's public name; `None` once the person is forgotten.
    pub seller_name: Option<String>,
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
    /// Offered.
    Active,
    /// Offered at a fixed price, without a free piece: it is active again as soon as there is one.
    SoldOut,
    /// Off for good.
    Archived,
}

#[derive(Debug, Serialize)]
struct Seller {
    #[serde(rename = "seller_id")]
    id: Uuid,
    user_name: Option<String>,
    closed: bool,
}

/// The listings that a batch is about, the sellers who are new, renamed or forgotten, and whose stores were closed or
/// opened again.
#[derive(Debug, Default)]
struct Catalogue {
    listings: BTreeMap<Uuid, Row>,
    sellers: BTreeMap<Uuid, Seller>,
    closed: BTreeMap<Uuid, bool>,
}

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
            DomainEvent::Account(seller, event) => self.take_account(seller.0, event, people),
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
                let seller = Seller { id, user_name, closed: false };
                self.sellers.insert(id, seller);
            }
            account::Event::AccountErased {} => {
                self.sellers.insert(id, Seller { id, user_name: None, closed: false });
            }
            account::Event::ProfileChanged { changes } => {
                if let Some(user_name) = &changes.user_name {
                    self.sellers.insert(id, Seller { id, user_name: people.open(user_name), closed: false });
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
            | account::Event::AccountBlocked { .. }
            | account::Event::AccountSuspended { .. }
            | account::Event::AccountReinstated { .. }
            | account::Event::SessionsRevoked { .. } => {}
        }
    }

    fn take_listing(&mut self, id: Uuid, event: &Event, recorded: &Recorded) {
        if let Event::ListingDrafted { seller, details, sale } = event {
            let listing = Listing::drafted(id, seller.0, details, sale, recorded.recorded_at);
            self.listings.insert(id, Row { listing, pieces: Json::default() });
        }
        let Some(row) = self.listings.get_mut(&id) else { return };
        let listing = &mut row.listing;
        match event {
            Event::ListingDrafted { .. } => {}
            Event::ListingRevised { changes } => listing.revise(changes),
            Event::ListingPublished {} => listing.published_at = Some(recorded.recorded_at),
            Event::ListingArchived { .. } => listing.archived_at = Some(recorded.recorded_at),
        }
        (listing.version, listing.position) = (recorded.sequence, recorded.position);
        row.show_pieces();
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
        let statement = "
            select id, seller_id, kind, status, title, description, category, brand, condition, delivery, shipping,
                price_minor, currency, variants, stock, starts_at, ends_at, bids, created_at, published_at, archived_at,
                version, position, pieces
            from listings where id = any($1)";
        let listings: Vec<Row> = sqlx::query_as(statement).bind(ids).fetch_all(connection).await?;
        let listings = listings.into_iter().map(|row| (row.listing.id, row)).collect();
        Ok(Self { listings, ..Self::default() })
    }

    async fn store(self, connection: &mut PgConnection) -> Result<(), FollowError> {
        let statement = "
            insert into listings (id, seller_id, kind, status, title, description, category, brand, condition, delivery,
                shipping, price_minor, currency, variants, stock, starts_at, ends_at, bids, created_at, published_at,
                archived_at, version, position, pieces)
            select id, seller_id, kind, status, title, description, category, brand, condition, delivery, shipping,
                price_minor, currency, variants, stock, starts_at, ends_at, bids, created_at, published_at, archived_at,
                version, position, pieces
            from json_populate_recordset(null::listings, $1::json)
            on conflict on constraint listings_id do update set
                (kind, status, title, description, category, brand, condition, delivery, shipping, price_minor, currency,
                    variants, stock, starts_at, ends_at, bids, published_at, archived_at, version, position, pieces)
                = row (excluded.kind, excluded.status, excluded.title, excluded.description, excluded.category,
                    excluded.brand, excluded.condition, excluded.delivery, excluded.shipping, excluded.price_minor,
                    excluded.currency, excluded.variants, excluded.stock, excluded.starts_at, excluded.ends_at,
                    excluded.bids, excluded.published_at, excluded.archived_at, excluded.version, excluded.position,
                    excluded.pieces)";
        rows::write(connection, statement, self.listings.into_values()).await?;
        let statement = "
            insert into sellers select * from json_populate_recordset(null::sellers, $1::json)
            on conflict on constraint sellers_id do update set user_name = excluded.user_name";
        rows::write(connection, statement, self.sellers.into_values()).await?;
        let statement = "
            update sellers set closed = changed.closed from json_to_recordset($1::json) as changed (id uuid, closed boolean)
            where seller_id = changed.id";
        let closed = self.closed.into_iter().map(|(id, closed)| serde_json::json!({ "id": id, "closed": closed }));
        Ok(rows::write(connection, statement, closed).await?)
    }
}

impl Row {
    /// Takes an event of its stock in.
    fn take_stock(&mut self, event: &stock::Event) {
        self.pieces.evolve(event);
        self.show_pieces();
    }

    /// Shows what follows from the pieces: how many are free, and whether it is sold out.
    fn show_pieces(&mut self) {
        let Self { listing, pieces } = self;
        for variant in &mut *listing.variants {
            variant.free = i64::from(pieces.free_of(&variant.sku));
        }
        listing.stock = match listing.kind {
            Kind::FixedPrice => Some(pieces.free.values().copied().map(i64::from).sum()),
            Kind::Auction => None,
        };
        listing.status = match (listing.archived_at, listing.published_at, listing.stock) {
            (Some(_), _, _) => Status::Archived,
            (None, None, _) => Status::Draft,
            (None, Some(_), Some(0)) => Status::SoldOut,
            (None, Some(_), Some(_) | None) => Status::Active,
        };
    }
}

impl Listing {
    fn drafted(id: Uuid, seller_id: Uuid, details: &Details, sale: &Sale, created_at: Timestamp) -> Self {
        let Details { title, description, category, brand, condition, delivery, shipping } = details.clone();
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
            currency: Text(price.currency()),
            variants: Json(variants),
            stock: None,
            starts_at,
            ends_at,
            bids: 0,
            created_at,
            published_at: None,
            archived_at: None,
            version: 0,
            position: 0,
        }
    }

    fn revise(&mut self, changes: &Changes) {
        let Changes { title, description, category, brand, condition, delivery, shipping, sale } = changes.clone();
        set(&mut self.title, title);
        set(&mut self.description, description);
        set(&mut self.category, category);
        set(&mut self.brand, brand.map(Some));
        set(&mut self.condition, condition.map(Text));
        set(&mut self.delivery, delivery.map(Text));
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
        Self { sku, options, price: price.map(Money::minor), free: 0 }
    }
}

/// Which listings to show. The default is everything active: what is sold out is not.
#[derive(Clone, Debug)]
pub struct Filter {
    /// Who looks. What was never published is shown to its seller alone.
    pub viewer: Option<AccountId>,
    /// Where in their life; `None` for anywhere.
    pub status: Option<Status>,
    /// Whose.
    pub seller: Option<AccountId>,
    /// Of which category.
    pub category: Option<String>,
    /// Sold how.
    pub kind: Option<Kind>,
    /// How used.
    pub condition: Option<Condition>,
    /// Made by whom, exactly as written.
    pub brand: Option<String>,
    /// At which price.
    pub price: Option<PriceRange>,
    /// With which words in title, brand or description, as one types them into a search engine.
    pub words: Option<String>,
}

impl Default for Filter {
    fn default() -> Self {
        Self {
            viewer: None,
            status: Some(Status::Active),
            seller: None,
            category: None,
            kind: None,
            condition: None,
            brand: None,
            price: None,
            words: None,
        }
    }
}

/// Prices of one currency, bounds included.
#[derive(Clone, Copy, Debug)]
pub struct PriceRange {
    /// Prices in this currency.
    pub currency: Currency,
    /// At least this, in minor units.
    pub from: Option<i64>,
    /// At most this, in minor units.
    pub to: Option<i64>,
}

/// In which order.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Sort {
    /// What was published last, first.
    #[default]
    Newest,
    /// The cheapest first, each currency by itself.
    PriceAsc,
    /// The dearest first, each currency by itself.
    PriceDesc,
    /// Auctions only, by their end.
    EndingSoon,
}

/// Where a page ends: the sort key of its last row.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields, tag = "sort")]
pub enum Cursor {
    /// In [`Sort::Newest`].
    Newest {
        /// Since when it is new to the reader.
        listed_at: Timestamp,
        /// The listing.
        id: Uuid,
    },
    /// In [`Sort::PriceAsc`].
    PriceAsc {
        /// The price's currency.
        currency: Text<Currency>,
        /// The price in minor units.
        price: i64,
        /// The listing.
        id: Uuid,
    },
    /// In [`Sort::PriceDesc`].
    PriceDesc {
        /// The price's currency.
        currency: Text<Currency>,
        /// The price in minor units.
        price: i64,
        /// The listing.
        id: Uuid,
    },
    /// In [`Sort::EndingSoon`].
    EndingSoon {
        /// When the auction ends.
        ends_at: Timestamp,
        /// The listing.
        id: Uuid,
    },
}

impl Cursor {
    fn after(Offer { listing, .. }: &Offer, sort: Sort) -> Self {
        let (id, currency, price) = (listing.id, listing.currency, listing.price_minor);
        match (sort, listing.ends_at) {
            (Sort::PriceAsc, _) => Self::PriceAsc { currency, price, id },
            (Sort::PriceDesc, _) => Self::PriceDesc { currency, price, id },
            (Sort::EndingSoon, Some(ends_at)) => Self::EndingSoon { ends_at, id },
            (Sort::Newest | Sort::EndingSoon, _) => Self::Newest { listed_at: listing.listed_at(), id },
        }
    }
}

/// Up to the condition on what the viewer may see, whose id follows. A seller's name is looked up for the rows of the
/// page alone: of a join the planner may make one over everything that the filter lets pass.
const VISIBLE: &str = "
    select id, seller_id, kind, status, title, description, category, brand, condition, delivery, shipping, price_minor,
        currency, variants, stock, starts_at, ends_at, bids, created_at, published_at, archived_at, version, position,
        (select user_name from catalogue.sellers where sellers.seller_id = listings.seller_id) as seller_name
    from catalogue.listings
    where (published_at is not null
        and not seller_id = any(array(select seller_id from catalogue.sellers where closed)) or seller_id = ";

/// One listing, if the viewer may see it.
pub async fn get(
    executor: impl PgExecutor<'_>,
    listing: ListingId,
    viewer: Option<AccountId>,
) -> Result<Option<Offer>, sqlx::Error> {
    let mut query = QueryBuilder::new(VISIBLE);
    query.push_bind(viewer.map(|viewer| viewer.0)).push(") and id = ").push_bind(listing.0);
    query.build_query_as().fetch_optional(executor).await
}

/// Several listings, as far as the viewer may see them, in no order.
pub async fn get_all(
    executor: impl PgExecutor<'_>,
    listings: &[ListingId],
    viewer: Option<AccountId>,
) -> Result<Vec<Offer>, sqlx::Error> {
    let ids: Vec<Uuid> = listings.iter().map(|listing| listing.0).collect();
    let mut query = QueryBuilder::new(VISIBLE);
    query.push_bind(viewer.map(|viewer| viewer.0)).push(") and id = any(").push_bind(ids).push(")");
    query.build_query_as().fetch_all(executor).await
}

/// What a seller has not taken off, of those that are sold at a fixed price or were never offered.
pub async fn kept_by(executor: impl PgExecutor<'_>, seller: AccountId) -> Result<Vec<ListingId>, sqlx::Error> {
    let ids: Vec<Uuid> = sqlx::query_scalar(
        "select id from catalogue.listings
         where seller_id = $1 and archived_at is null and (kind = 'fixed_price' or published_at is null)",
    )
    .bind(seller.0)
    .fetch_all(executor)
    .await?;
    Ok(ids.into_iter().map(ListingId).collect())
}

/// How many listings a seller has in each status; nothing of a status in which there is none.
pub async fn counts_of(executor: impl PgExecutor<'_>, seller: AccountId) -> Result<Vec<(Status, i64)>, sqlx::Error> {
    sqlx::query_as(
        "select status, count(*) from catalogue.listings where seller_id = $1 group by status order by status",
    )
    .bind(seller.0)
    .fetch_all(executor)
    .await
}

/// How many listings of a seller everybody may buy or bid for.
pub async fn offered_by(executor: impl PgExecutor<'_>, seller: AccountId) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar(
        "select count(*) from catalogue.listings
         where seller_id = $1 and status = 'active'
            and not exists (select from catalogue.sellers where seller_id = $1 and closed)",
    )
    .bind(seller.0)
    .fetch_one(executor)
    .await
}

/// Listings after a cursor, at most `limit`.
pub async fn page(
    executor: impl PgExecutor<'_>,
    filter: &Filter,
    sort: Sort,
    after: Option<Cursor>,
    limit: u32,
) -> Result<Page<Offer, Cursor>, PageError> {
    let mut query = QueryBuilder::new(VISIBLE);
    query.push_bind(filter.viewer.map(|viewer| viewer.0)).push(")");
    if let Some(status) = filter.status {
        query.push(" and status = ").push_bind(status);
    }
    if let Some(seller) = filter.seller {
        query.push(" and seller_id = ").push_bind(seller.0);
    }
    if let Some(category) = &filter.category {
        // The first condition is the index's.
        query.push(" and left(category, 64) = left(").push_bind(rows::stored(category)).push(", 64)");
        query.push(" and category = ").push_bind(rows::stored(category));
    }
    if let Some(kind) = filter.kind {
        query.push(" and kind = ").push_bind(kind);
    }
    if let Some(condition) = filter.condition {
        query.push(" and condition = ").push_bind(Text(condition));
    }
    if let Some(brand) = &filter.brand {
        query.push(" and brand = ").push_bind(rows::stored(brand));
    }
    if let Some(PriceRange { currency, from, to }) = filter.price {
        query.push(" and currency = ").push_bind(Text(currency));
        query.push(" and price_minor between ").push_bind(from.unwrap_or(i64::MIN));
        query.push(" and ").push_bind(to.unwrap_or(i64::MAX));
    }
    if let Some(words) = &filter.words {
        query.push(" and words @@ websearch_to_tsquery('english', ").push_bind(rows::stored(words)).push(")");
    }
    if sort == Sort::EndingSoon {
        query.push(" and kind = 'auction' and ends_at is not null");
    }
    match (sort, after) {
        (_, None) => {}
        (Sort::Newest, Some(Cursor::Newest { listed_at, id })) => {
            query.push(" and (listed_at, id) < (").push_bind(listed_at).push(", ").push_bind(id).push(")");
        }
        (Sort::PriceAsc, Some(Cursor::PriceAsc { currency, price, id })) => {
            query.push(" and (currency, price_minor, id) > (").push_bind(currency).push(", ").push_bind(price);
            query.push(", ").push_bind(id).push(")");
        }
        (Sort::PriceDesc, Some(Cursor::PriceDesc { currency, price, id })) => {
            query.push(" and (currency, price_minor, id) < (").push_bind(currency).push(", ").push_bind(price);
            query.push(", ").push_bind(id).push(")");
        }
        (Sort::EndingSoon, Some(Cursor::EndingSoon { ends_at, id })) => {
            query.push(" and (ends_at, id) > (").push_bind(ends_at).push(", ").push_bind(id).push(")");
        }
        (Sort::Newest | Sort::PriceAsc | Sort::PriceDesc | Sort::EndingSoon, Some(_)) => {
            return Err(PageError::CursorOfAnotherSort);
        }
    }
    query.push(match sort {
        Sort::Newest => " order by listed_at desc, id desc",
        Sort::PriceAsc => " order by currency, price_minor, id",
        Sort::PriceDesc => " order by currency desc, price_minor desc, id desc",
        Sort::EndingSoon => " order by ends_at, id",
    });
    query.push(" limit ").push_bind(Page::<Offer, Cursor>::rows_to_fetch(limit));
    let offers = query.build_query_as().fetch_all(executor).await?;
    Ok(Page::of(offers, limit, |offer| Cursor::after(offer, sort)))
}

#[cfg(test)]
mod tests {
    use domain::OrderId;
    use domain::listing::{ArchiveCause, AuctionPlan};
    use domain::stock::Pieces;

    use super::*;
    use crate::tests::history::recorded;

    const ID: Uuid = Uuid::from_u128(7);

    fn drafted(sale: Sale) -> DomainEvent {
        let details = Details {
            title: "Watch".to_owned(),
            description: "It runs".to_owned(),
            category: "watches".to_owned(),
            brand: Some("Zenith".to_owned()),
            condition: Condition::Good,
            delivery: Delivery::Physical,
            shipping: None,
        };
        let seller = AccountId(Uuid::from_u128(1));
        DomainEvent::Listing(ListingId(ID), Event::ListingDrafted { seller, details, sale })
    }

    fn usd(minor: i64) -> Money {
        Money::new(minor, Currency::USD).unwrap()
    }

    fn fixed(minor: i64) -> Sale {
        Sale::FixedPrice { price: usd(minor), variants: vec![] }
    }

    fn listing(event: Event) -> DomainEvent {
        DomainEvent::Listing(ListingId(ID), event)
    }

    fn shown(events: impl IntoIterator<Item = DomainEvent>) -> Option<Listing> {
        let mut catalogue = Catalogue::default();
        for (position, event) in (1..).zip(events) {
            catalogue.take(&recorded(position, event), &PersonKeys::default());
        }
        catalogue.listings.remove(&ID).map(|row| row.listing)
    }

    #[test]
    fn a_change_changes_what_it_names_and_nothing_else() {
        let before = shown([drafted(fixed(5))]).unwrap();
        let changes = Changes { title: Some("Clock".to_owned()), sale: Some(fixed(6)), ..Changes::default() };
        let after = shown([drafted(fixed(5)), listing(Event::ListingRevised { changes })]).unwrap();
        let expected = Listing { title: "Clock".to_owned(), price_minor: 6, version: 2, position: 2, ..before };
        assert_eq!(after, expected);
    }

    #[test]
    fn what_was_published_and_archived_tells_when() {
        let archived = Event::ListingArchived { cause: ArchiveCause::AuctionEnded };
        let row = shown([drafted(fixed(5)), listing(Event::ListingPublished {}), listing(archived)]).unwrap();
        let at = |position| Some(recorded(position, drafted(fixed(5))).recorded_at);
        assert_eq!((row.status, row.published_at, row.archived_at), (Status::Archived, at(2), at(3)));
    }

    #[test]
    fn an_auction_moves_the_row_and_not_the_listings_version() {
        let ends_at = Timestamp::default();
        let extended = DomainEvent::Auction(ID_OF_AUCTION, auction::Event::AuctionExtended { ends_at });
        let opened = DomainEvent::Auction(ID_OF_AUCTION, auction::Event::AuctionOpened {});
        let row = shown([drafted(fixed(5)), extended, opened]).unwrap();
        assert_eq!((row.version, row.position, row.ends_at), (1, 2, Some(ends_at)), "an opening shows nothing new");
    }

    const ID_OF_AUCTION: domain::AuctionId = domain::AuctionId(ID);

    #[test]
    fn an_event_of_something_unknown_is_no_failure() {
        assert_eq!(shown([listing(Event::ListingPublished {})]), None);
        assert_eq!(shown([counted(&[("default", 1)])]), None);
    }

    const ORDER: OrderId = OrderId(Uuid::from_u128(9));

    fn pieces(counts: &[(&str, u32)]) -> Pieces {
        counts.iter().map(|(sku, count)| (sku.parse().unwrap(), *count)).collect()
    }

    fn stock(event: stock::Event) -> DomainEvent {
        DomainEvent::Stock(ListingId(ID), event)
    }

    fn counted(counts: &[(&str, u32)]) -> DomainEvent {
        stock(stock::Event::StockCounted { free: pieces(counts) })
    }

    fn reserved(counts: &[(&str, u32)]) -> DomainEvent {
        stock(stock::Event::StockReserved { order: ORDER, pieces: pieces(counts), until: Timestamp::default() })
    }

    fn published(stocked: impl IntoIterator<Item = DomainEvent>) -> Listing {
        let before = [drafted(fixed(5)), counted(&[("default", 2)]), listing(Event::ListingPublished {})];
        shown(before.into_iter().chain(stocked)).unwrap()
    }

    #[test]
    fn what_has_no_free_piece_is_sold_out_until_there_is_one_again() {
        let all = || reserved(&[("default", 2)]);
        let released = || stock(stock::Event::StockReleased { order: ORDER });
        let taken = || stock(stock::Event::StockTaken { order: ORDER });
        let returned = || stock(stock::Event::StockReturned { order: ORDER, pieces: pieces(&[("default", 1)]) });
        let state = |row: Listing| (row.status, row.stock);
        assert_eq!(state(published([])), (Status::Active, Some(2)));
        assert_eq!(state(published([reserved(&[("default", 1)])])), (Status::Active, Some(1)));
        assert_eq!(state(published([all()])), (Status::SoldOut, Some(0)));
        assert_eq!(state(published([all(), released()])), (Status::Active, Some(2)));
        assert_eq!(state(published([all(), taken()])), (Status::SoldOut, Some(0)));
        assert_eq!(state(published([all(), taken(), returned()])), (Status::Active, Some(1)));
        assert_eq!(state(published([all(), taken(), released()])), (Status::SoldOut, Some(0)), "it is sold");
        let archived = listing(Event::ListingArchived { cause: ArchiveCause::AuctionEnded });
        assert_eq!(state(published([all(), archived])), (Status::Archived, Some(0)));
    }

    #[test]
    fn pieces_move_the_row_and_not_the_listings_version() {
        let row = published([reserved(&[("default", 1)])]);
        assert_eq!((row.version, row.position), (1 + 2, 4));
    }

    #[test]
    fn each_form_shows_its_price_and_its_free_pieces() {
        let variant = |sku: &str, price: Option<i64>| listing::Variant {
            sku: sku.parse().unwrap(),
            options: [("size".to_owned(), sku.to_owned())].into(),
            price: price.map(usd),
        };
        let sale = Sale::FixedPrice { price: usd(5), variants: vec![variant("m", None), variant("s", Some(4))] };
        let events = [drafted(sale), counted(&[("m", 3), ("s", 1)]), reserved(&[("m", 2)])];
        let row = shown(events.clone()).unwrap();
        let forms: Vec<_> = row.variants.iter().map(|form| (form.sku.to_string(), form.price, form.free)).collect();
        assert_eq!(forms, [("m".to_owned(), None, 1), ("s".to_owned(), Some(4), 1)]);
        assert_eq!(row.stock, Some(2));
        let changes = Changes { sale: Some(fixed(6)), ..Changes::default() };
        let row = shown(events.into_iter().chain([listing(Event::ListingRevised { changes })])).unwrap();
        assert_eq!(*row.variants, [], "it comes in one form from now on");
    }

    #[test]
    fn an_auction_counts_no_pieces_and_is_never_sold_out() {
        let plan = AuctionPlan {
            start_price: usd(5),
            reserve_price: None,
            buy_now_price: None,
            starts_at: None,
            duration_s: 60,
        };
        let row = shown([drafted(Sale::Auction(plan)), listing(Event::ListingPublished {})]).unwrap();
        assert_eq!((row.status, row.stock), (Status::Active, None));
    }
}
