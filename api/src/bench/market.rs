//! A marketplace with a history: people register, list, bid, buy, ship and are paid, by the use cases of the API.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use commands::accounts::{self, Newcomer};
use commands::auctions;
use commands::categories;
use commands::charges;
use commands::commissions::CommissionRules;
use commands::escrows;
use commands::listings::{self, ListingRules, NewListing};
use commands::orders::{self, CartLine, Checkout, SaleRules};
use commands::payments::Outcome;
use commands::{Engine, EngineSettings, Halt, Request, World};
use domain::account::{Capability, Identity};
use domain::listing::{AuctionPlan, Condition, Delivery, Details, Sale};
use domain::stock::Sku;
use domain::wallet::PaymentMethod;
use domain::{AccountId, AuctionId, ClaimId, Currency, DepositId, ListingId, Money, OrderGroupId, OrderId};
use eventstore::clock::Clock;
use eventstore::event::Metadata;
use eventstore::feed::Feed;
use eventstore::log::{self, Head};
use eventstore::sealing::PersonKey;
use eventstore::wrapping::Wrapping;
use eventstore::{Position, mint};
use projections::{ReadModel, rebuild};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::Executor;
use tokio::task::JoinSet;

use super::BenchError;
use super::goods::{Goods, Thing};
use super::scratch::Scratch;

const RULES: SaleRules = SaleRules {
    fee_bps: 200,
    points_per_unit: 1,
    point_worth_minor: 1,
    commission: CommissionRules { rate_bps: 500, within_fee: false, attributed_for: chrono::TimeDelta::days(30) },
    inspection_physical_s: 1_209_600,
    inspection_digital_s: 172_800,
};
/// Callers at a time who trade a marketplace up.
const CALLERS: usize = 64;
/// Who sells in turn.
const SELLERS: usize = 50;
/// Pieces of each listing. It is bought from by the story that lists it and by a later one.
const PIECES: u32 = 5;
/// So many stories later somebody else buys from the same listing too.
const ON_SALE: usize = 100;
/// In cents: fixed prices are all over these.
pub(super) const CHEAPEST: i64 = 500;
pub(super) const DEAREST: i64 = 20_000;
/// Bids of an auction.
const BIDS: i64 = 4;

/// What things are called: every one of `THINGS` is a word that many listings have.
pub(super) const COLOURS: [&str; 7] = ["Red", "Green", "Blue", "Black", "White", "Yellow", "Grey"];
pub(super) const THINGS: [&str; 11] =
    ["pen", "lamp", "chair", "kettle", "jumper", "bicycle", "camera", "clock", "kite", "drum", "globe"];

/// People and things.
#[derive(Debug)]
pub(super) struct Market {
    engine: Engine,
    sellers: Vec<AccountId>,
    on_sale: Mutex<Vec<ListingId>>,
    stories: AtomicUsize,
}

/// Is told of every command that was acknowledged, and asked before each whether it is time for it.
pub(super) trait Observer: Sync {
    /// Until the next command may be sent.
    fn turn(&self) -> impl Future<Output = ()> + Send;

    /// A command was acknowledged, whose last event is at this position.
    fn acknowledged(&self, position: Position);
}

/// As fast as it goes.
pub(super) struct Unobserved;

impl Observer for Unobserved {
    async fn turn(&self) {}

    fn acknowledged(&self, _: Position) {}
}

impl Market {
    /// Opens with sellers who have nothing yet.
    pub(super) async fn open(engine: Engine) -> Result<Self, BenchError> {
        let mut market = Self { engine, sellers: Vec::new(), on_sale: Mutex::default(), stories: AtomicUsize::new(0) };
        for _ in 0..SELLERS {
            let seller = market.register(Capability::Sell, &Unobserved).await?;
            market.sellers.push(seller);
        }
        Ok(market)
    }

    /// A story from a registration to the end of an order: about 40 events in 20 commands.
    pub(super) async fn story(&self, observer: &impl Observer) -> Result<(), BenchError> {
        let number = self.stories.fetch_add(1, Ordering::Relaxed);
        let seller = self.sellers[number % SELLERS];
        let buyer = self.register(Capability::Buy, observer).await?;
        self.fund(buyer, 100_000, observer).await?;
        let price = usd(CHEAPEST + i64::try_from(number).unwrap_or_default() * 7_919 % (DEAREST - CHEAPEST))?;
        let listing = self.offer(seller, Sale::FixedPrice { price, variants: vec![] }, observer).await?;
        let older = self.put_up(listing, number);
        self.buy(buyer, [Some(listing), older], observer).await?;
        self.auction(seller, buyer, observer).await
    }

    async fn register(&self, may: Capability, observer: &impl Observer) -> Result<AccountId, BenchError> {
        let account = AccountId(mint::id());
        let key = PersonKey::mint(account);
        let identity = Identity {
            email: key.seal(&format!("{account}@example.org")),
            user_name: key.seal(&format!("user {account}")),
            password_hash: None,
        };
        let (email, user_name) = (ClaimId(mint::id()), ClaimId(mint::id()));
        let key = Wrapping::default().wrap(&key);
        let newcomer = Newcomer { account, key, identity, email, user_name, capabilities: BTreeSet::from([may]) };
        self.submit(account, observer, move |world| accounts::register(world, &newcomer)).await?;
        Ok(account)
    }

    async fn fund(&self, owner: AccountId, cents: i64, observer: &impl Observer) -> Result<(), BenchError> {
        let (deposit, amount) = (DepositId(mint::id()), usd(cents)?);
        let source = PaymentMethod { provider: "bench".to_owned(), token: "bench".to_owned() };
        let request =
            move |world: &mut World<'_>| charges::request_deposit(world, owner, deposit, amount, source.clone());
        self.submit(owner, observer, request).await?;
        let settle = move |world: &mut World<'_>| {
            let settled = Outcome::Succeeded { reference: format!("ch_{deposit}"), fee: None };
            charges::report(world, deposit.into(), settled)
        };
        self.submit(owner, observer, settle).await
    }

    /// Opens the categories of what is to be on the shelves.
    async fn lay_out(&self, goods: &Goods) -> Result<(), BenchError> {
        let staff = self.register(Capability::Staff, &Unobserved).await?;
        for definition in goods.categories() {
            let define = move |world: &mut World<'_>| categories::define(world, &definition, staff);
            self.submit(staff, &Unobserved, define).await?;
        }
        Ok(())
    }

    /// Offers one thing of what is to be on the shelves.
    async fn shelve(&self, number: usize, thing: Thing) -> Result<(), BenchError> {
        let (listing, seller) = (ListingId(mint::id()), self.sellers[number % SELLERS]);
        let sale = Sale::FixedPrice { price: usd(thing.cents)?, variants: vec![] };
        let stock = BTreeMap::from([(Sku::default(), PIECES)]);
        let new = NewListing { listing, seller, details: thing.details, sale, stock, discount: None };
        let offer = move |world: &mut World<'_>| {
            listings::draft(world, &new)?;
            listings::publish(world, listing, seller, &ListingRules::default())
        };
        self.submit(seller, &Unobserved, offer).await
    }

    async fn offer(&self, seller: AccountId, sale: Sale, observer: &impl Observer) -> Result<ListingId, BenchError> {
        let listing = ListingId(mint::id());
        let details = Details {
            title: title(listing),
            description: "A steel nib, a converter and a box. Writes well.".to_owned(),
            category: "stationery".to_owned(),
            brand: Some("Lamplight".to_owned()),
            condition: Condition::New,
            delivery: Delivery::Physical,
            shipping: Some(usd(450)?),
            attributes: BTreeMap::new(),
        };
        let stock = match sale {
            Sale::FixedPrice { .. } => BTreeMap::from([(Sku::default(), PIECES)]),
            Sale::Auction(_) => BTreeMap::new(),
        };
        let new = NewListing { listing, seller, details, sale, stock, discount: None };
        self.submit(seller, observer, move |world| listings::draft(world, &new)).await?;
        let publish = move |world: &mut World<'_>| listings::publish(world, listing, seller, &ListingRules::default());
        self.submit(seller, observer, publish).await?;
        Ok(listing)
    }

    /// Puts a listing up in the place of an older one, which is answered.
    fn put_up(&self, listing: ListingId, number: usize) -> Option<ListingId> {
        let mut on_sale = self.on_sale.lock().unwrap_or_else(PoisonError::into_inner);
        if on_sale.len() < ON_SALE {
            on_sale.push(listing);
            return None;
        }
        Some(std::mem::replace(&mut on_sale[number % ON_SALE], listing))
    }

    /// Checks out, pays, ships and confirms.
    async fn buy(
        &self,
        buyer: AccountId,
        listings: [Option<ListingId>; 2],
        observer: &impl Observer,
    ) -> Result<(), BenchError> {
        let lines: Vec<_> = listings
            .into_iter()
            .flatten()
            .map(|listing| CartLine { listing, sku: Sku::default(), quantity: 1 })
            .collect();
        let orders: Vec<_> = lines.iter().map(|_| OrderId(mint::id())).collect();
        let cart = Checkout { buyer, lines, ship_to: None, points: 0, group: OrderGroupId(mint::id()), orders };
        let checkout = move |world: &mut World<'_>| {
            let placed = orders::checkout(world, &cart, RULES)?;
            let seller =
                |world: &mut World<'_>, order| Ok::<_, Halt>(orders::bought_by(world, order, buyer)?.terms.seller);
            placed.into_iter().map(|order| Ok((order, seller(world, order)?))).collect::<Result<Vec<_>, Halt>>()
        };
        let placed = self.submit(buyer, observer, checkout).await?;
        let Some((first, _)) = placed.first().copied() else { return Ok(()) };
        self.submit(buyer, observer, move |world| orders::pay(world, first, buyer)).await?;
        for (order, seller) in placed {
            let ship = move |world: &mut World<'_>| orders::ship(world, order, seller, "Post", Some("R 17"));
            self.submit(seller, observer, ship).await?;
            self.submit(buyer, observer, move |world| escrows::confirm(world, order, buyer)).await?;
        }
        Ok(())
    }

    async fn auction(&self, seller: AccountId, buyer: AccountId, observer: &impl Observer) -> Result<(), BenchError> {
        let (reserve_price, buy_now_price, starts_at) = (None, None, None);
        let plan = AuctionPlan { start_price: usd(100)?, reserve_price, buy_now_price, starts_at, duration_s: 864_000 };
        let auction: AuctionId = self.offer(seller, Sale::Auction(plan), observer).await?.into();
        self.submit(seller, observer, move |world| auctions::open(world, auction)).await?;
        let rival = self.register(Capability::Buy, observer).await?;
        for bid in 1..=BIDS {
            let (bidder, maximum) = (if bid % 2 == 0 { buyer } else { rival }, usd(bid * 1_000)?);
            let place = move |world: &mut World<'_>| auctions::place_bid(world, auction, bidder, maximum).map(drop);
            self.submit(bidder, observer, place).await?;
        }
        Ok(())
    }

    async fn submit<T: DeserializeOwned + Send + Serialize + 'static>(
        &self,
        by: AccountId,
        observer: &impl Observer,
        decide: impl FnMut(&mut World<'_>) -> Result<T, Halt> + Send + 'static,
    ) -> Result<T, BenchError> {
        observer.turn().await;
        let accepted = self.engine.submit(Request::once(Metadata::by_account(by)), decide).await?;
        observer.acknowledged(accepted.position);
        Ok(accepted.value)
    }
}

/// Lets people trade until the log has so many events, and a few more. Answers with how many.
pub(super) async fn trade_up(scratch: &Scratch, events: i64) -> Result<i64, BenchError> {
    let head = Head::at(log::head(&mut scratch.connect().await?).await?);
    let database = scratch.database();
    let (engine, deciding) =
        Engine::start(&database, EngineSettings::default(), Clock::new(), head.clone(), Feed::default()).await?;
    let market = Arc::new(Market::open(engine).await?);
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        let (market, head) = (market.clone(), head.clone());
        callers.spawn(async move {
            while head.position() < events {
                market.story(&Unobserved).await?;
            }
            Ok::<_, BenchError>(())
        });
    }
    while let Some(done) = callers.join_next().await {
        done??;
    }
    drop(market);
    deciding.await?;
    Ok(log::head(&mut scratch.connect().await?).await?)
}

/// Offers so many things of the shelves, and lets the read models show them that are searched.
pub(super) async fn fill_shelves(scratch: &Scratch, listings: usize) -> Result<(), BenchError> {
    let head = Head::at(log::head(&mut scratch.connect().await?).await?);
    let database = scratch.database();
    let (engine, deciding) =
        Engine::start(&database, EngineSettings::default(), Clock::new(), head, Feed::default()).await?;
    let (market, goods) = (Arc::new(Market::open(engine).await?), Arc::new(Goods::new()?));
    market.lay_out(&goods).await?;
    let (next, mut callers) = (Arc::new(AtomicUsize::new(0)), JoinSet::new());
    for _ in 0..CALLERS {
        let (market, goods, next) = (market.clone(), goods.clone(), next.clone());
        callers.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= listings {
                    return Ok::<_, BenchError>(());
                }
                market.shelve(number, goods.thing(number)).await?;
            }
        });
    }
    while let Some(done) = callers.join_next().await {
        done??;
    }
    drop(market);
    deciding.await?;
    show_models(scratch, &[projections::catalogue::MODEL]).await
}

/// Lets every read model show what the log says.
pub(super) async fn show(scratch: &Scratch) -> Result<(), BenchError> {
    show_models(scratch, &projections::ALL).await
}

async fn show_models(scratch: &Scratch, models: &[ReadModel]) -> Result<(), BenchError> {
    let database = scratch.database();
    let rebuilds = rebuild::at_once(models.to_vec(), rebuild::cores(), |model| {
        let database = database.clone();
        async move { rebuild::rebuild(&database, model.name, |_, _| {}).await }
    });
    rebuilds.await?;
    // As autovacuum does within minutes, and then not while something is measured.
    scratch.connect().await?.execute("vacuum (analyze)").await?;
    Ok(())
}

/// What things are called, the same for the same listing.
fn title(listing: ListingId) -> String {
    // The end of an id is random.
    let number = usize::try_from(listing.0.as_u128() & 0xffff).unwrap_or_default();
    let (colour, thing) = (COLOURS[number % COLOURS.len()], THINGS[number % THINGS.len()]);
    format!("{colour} {thing} {}", listing.0.simple())
}

/// An amount in dollars.
pub(super) fn usd(cents: i64) -> Result<Money, BenchError> {
    Money::new(cents, Currency::USD).map_err(|_| BenchError::Material("amounts"))
}
