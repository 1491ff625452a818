//! Performs the story: every act is a command, sent under a key of its own.

use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;
use commands::accounts;
use commands::auctions;
use commands::categories;
use commands::charges;
use commands::chats::{self, Message};
use commands::escrows::{self, Resolution};
use commands::feedback::{self, Said};
use commands::images::{self, NewImage};
use commands::listings::{self, NewListing};
use commands::orders::{self, CartLine, Checkout, WinIds};
use commands::pages;
use commands::payments::sandbox;
use commands::payouts::{self, PayoutRules};
use commands::reviews::{self, Opinion};
use commands::stores::{self, Verdict};
use commands::subscriptions::{self, Order as Wanted};
use commands::{CommandError, CommandKey, Halt, Request, World};
use domain::account::{Capability, Granter, ProfileChanges};
use domain::auction::{Auction, Live, Outcome};
use domain::chat::Subject;
use domain::escrow::Escrow;
use domain::feedback::Ratings;
use domain::listing::{AuctionPlan, Changes, Discount, Off, Sale};
use domain::order::Order;
use domain::page::Content;
use domain::rating::Rating;
use domain::stock::Sku;
use domain::store::Ruling;
use domain::wallet::PaymentMethod;
use domain::{
    AccountId, AuctionId, Currency, DepositId, ListingId, MessageId, Money, OrderGroupId, OrderId, RefundId,
    SubscriptionId, Timestamp, WithdrawalId,
};
use eventstore::event::Metadata;
use eventstore::sealing::PersonKey;
use eventstore::{log, mint};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::sales::{Step, TALK};
use super::story::{self, Act, Bidder, Lot, Story};
use projections::orders::{self as purchases, Filter, Side, Status};

use super::dressing::{self, DemoPage};
use super::{DemoError, FOLLOWERS_PATIENCE, PROCESS, STORY_VERSION, goods, people, pictures};
use crate::app::App;
use crate::auth::newcomer::newcomer;
use crate::media::NotKept;

/// Nobody has more orders waiting to be paid in the story.
const MOST_WAITING: u32 = 100;

/// The story, and what has become of it so far.
pub(super) struct Stage<'a> {
    app: &'a App,
    story: &'a Story,
    begin: Timestamp,
    /// The one password's hash, made once.
    password_hash: &'a str,
    /// By place in the story; nothing until they have joined or been listed.
    accounts: Vec<Option<AccountId>>,
    listings: Vec<Option<ListingId>>,
    /// By the numbers of the carts; nothing until they are checked out.
    carts: BTreeMap<usize, Vec<OrderId>>,
    pub(super) tally: Tally,
}

/// What has been done so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    pub(super) people: usize,
    pub(super) listings: usize,
    pub(super) bids: usize,
    pub(super) orders: usize,
    pub(super) transfers: usize,
    /// Acts that a rule refused: they would have been in time had the fill not been interrupted.
    pub(super) missed: usize,
}

/// What an act has led to.
enum Done {
    Joined { person: usize, account: AccountId },
    Listed { lot: usize, listing: ListingId },
    Bid,
    Bought { number: usize, orders: Vec<OrderId> },
    Transferred,
    Nothing,
    Missed,
}

/// The key of one step of the story.
pub(super) fn key(step: &str) -> CommandKey {
    CommandKey::of_process(PROCESS, STORY_VERSION, step)
}

impl<'a> Stage<'a> {
    pub(super) fn new(app: &'a App, story: &'a Story, begin: Timestamp, password_hash: &'a str) -> Self {
        let (accounts, listings) = (vec![None; story.people.len()], vec![None; story.lots.len()]);
        let carts = BTreeMap::new();
        Self { app, story, begin, password_hash, accounts, listings, carts, tally: Tally::default() }
    }

    /// Performs the acts of one stop: what is about orders after everything else, since a cart is paid when it is bought.
    pub(super) async fn perform(&mut self, acts: &[Act]) -> Result<(), DemoError> {
        let (later, first): (Vec<&Act>, Vec<&Act>) = acts.iter().partition(|act| matches!(act, Act::Order { .. }));
        self.perform_at_once(&first).await?;
        self.perform_at_once(&later).await
    }

    async fn perform_at_once(&mut self, acts: &[&Act]) -> Result<(), DemoError> {
        let done = futures::future::join_all(acts.iter().map(|act| self.act(act))).await;
        for done in done {
            match done? {
                Done::Joined { person, account } => {
                    self.accounts[person] = Some(account);
                    self.tally.people += 1;
                }
                Done::Listed { lot, listing } => {
                    self.listings[lot] = Some(listing);
                    self.tally.listings += 1;
                }
                Done::Bid => self.tally.bids += 1,
                Done::Bought { number, orders } => {
                    self.tally.orders += orders.len();
                    self.carts.insert(number, orders);
                }
                Done::Transferred => self.tally.transfers += 1,
                Done::Nothing => {}
                Done::Missed => self.tally.missed += 1,
            }
        }
        Ok(())
    }

    async fn act(&self, act: &Act) -> Result<Done, DemoError> {
        let name = act.name();
        let done = match act {
            Act::Join { person } => return self.join(&name, *person).await,
            Act::Deposit { person, amount, method, .. } => self.deposit(&name, *person, *amount, method).await?,
            Act::Withdraw { person, amount, method, .. } => self.withdraw(&name, *person, *amount, method).await?,
            Act::Publish { page } => self.publish(&name, *page).await?,
            Act::Verify { shop } => self.verify(&name, *shop).await?,
            Act::Subscribe { shop } => self.subscribe(&name, *shop).await?,
            Act::Draft { lot } => self.list(&name, *lot, false).await?,
            Act::Offer { lot } => self.list(&name, *lot, true).await?,
            Act::Reprice { lot, price } => self.reprice(&name, *lot, *price).await?,
            Act::Reduce { lot, bps } => self.reduce(&name, *lot, *bps).await?,
            Act::TakeOff { lot } => self.take_off(&name, *lot).await?,
            Act::Bid { lot, bidders, .. } => self.bid(&name, *lot, bidders).await?,
            Act::BuyNow { lot, buyer } => self.buy_now(&name, *lot, *buyer).await?,
            Act::CallOff { lot, by, reason } => self.call_off(&name, *lot, *by, reason).await?,
            Act::Buy { number, buyer, lots } => self.buy(&name, *number, *buyer, lots).await?,
            Act::Order { number, step } => self.step(&name, *number, *step).await?,
            Act::PayWon { lot } => self.pay_won(&name, *lot).await?,
        };
        Ok(done.unwrap_or(Done::Missed))
    }

    /// Somebody who has joined. The story lets nobody act before.
    fn account(&self, person: usize) -> Result<AccountId, DemoError> {
        self.accounts[person].ok_or(DemoError::Absent)
    }

    /// Sends a command under the key of its act. Nothing if a rule refuses it.
    async fn submit<T, F>(&self, act: &str, by: AccountId, decide: F) -> Result<Option<T>, DemoError>
    where
        T: Serialize + DeserializeOwned + Send + 'static,
        F: FnMut(&mut World<'_>) -> Result<T, Halt> + Send + 'static,
    {
        let metadata = Metadata::by_account(by).with("correlation", PROCESS.to_owned());
        match self.app.engine.submit(Request::keyed(metadata, key(act)), decide).await {
            Ok(accepted) => Ok(Some(accepted.value)),
            Err(CommandError::Refused { refusal, .. }) => {
                tracing::warn!(act, %refusal, "the sample marketplace goes on without this");
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn join(&self, act: &str, place: usize) -> Result<Done, DemoError> {
        let person = &self.story.people[place];
        let account = AccountId(mint::id());
        let key = PersonKey::mint(account);
        let newcomer = newcomer(
            &self.app.secret,
            &self.app.wrapping,
            &key,
            &person.email(),
            person.user_name,
            Some(self.password_hash),
            person.capabilities.clone(),
        );
        let profile = ProfileChanges {
            display_name: Some(key.seal(&person.display_name)),
            biography: person.biography.map(|text| key.seal(text)),
            language: Some("en".to_owned()),
            ..ProfileChanges::default()
        };
        let is_admin = place == people::ADMIN;
        let sells = person.capabilities.contains(&Capability::Sell);
        let store = sells.then(|| person.storefront().sealed(&self.app.secret, &key, None));
        let join = move |world: &mut World<'_>| {
            accounts::register(world, &newcomer)?;
            accounts::trust_email(world, account)?;
            accounts::change_profile(world, account, profile.clone(), None)?;
            if let Some(about) = &store {
                stores::open(world, account, about)?;
            }
            if is_admin {
                accounts::grant(world, account, BTreeSet::from(Capability::ALL), Granter::Operator)?;
                for definition in goods::definitions() {
                    categories::define(world, &definition, account)?;
                }
            }
            Ok(account)
        };
        match self.submit(act, account, join).await? {
            Some(account) => Ok(Done::Joined { person: place, account }),
            // Without them the story cannot go on.
            None => Err(DemoError::NameTaken(person.user_name)),
        }
    }

    async fn deposit(&self, act: &str, person: usize, amount: Money, method: &str) -> Result<Option<Done>, DemoError> {
        let (owner, deposit, source) = (self.account(person)?, DepositId(mint::id()), payment_method(method));
        let ask = move |world: &mut World<'_>| {
            charges::request_deposit(world, owner, deposit, amount, source.clone())?;
            Ok(deposit)
        };
        Ok(self.submit(act, owner, ask).await?.map(|_| Done::Transferred))
    }

    async fn withdraw(&self, act: &str, person: usize, amount: Money, method: &str) -> Result<Option<Done>, DemoError> {
        let (owner, withdrawal, to) = (self.account(person)?, WithdrawalId(mint::id()), payment_method(method));
        let ask = move |world: &mut World<'_>| {
            // The sandbox's method is nobody's: there is nothing to wait for.
            payouts::request(world, owner, withdrawal, amount, &to, &PayoutRules::default())?;
            Ok(withdrawal)
        };
        Ok(self.submit(act, owner, ask).await?.map(|_| Done::Transferred))
    }

    async fn list(&self, act: &str, place: usize, publish: bool) -> Result<Option<Done>, DemoError> {
        let lot = &self.story.lots[place];
        let seller = self.account(lot.seller)?;
        let (details, sale) = (lot.details.clone(), self.sale(lot));
        // Shops have a few of some things.
        let pieces = u32::try_from(place % 4).unwrap_or(0) * u32::from(place.is_multiple_of(3)) + 1;
        let stock = sale.skus().into_iter().map(|sku| (sku, pieces)).collect();
        let new = NewListing { listing: ListingId(mint::id()), seller, details, sale, stock, discount: None };
        let (rules, most) = (self.app.listing_rules(), self.app.settings.media.pictures_per_account);
        let picture = self.picture(place).await?;
        let kept = picture.clone();
        let list = move |world: &mut World<'_>| {
            listings::draft(world, &new)?;
            images::store(world, seller, picture.as_slice(), most)?;
            if let Some(NewImage { stored, .. }) = &picture {
                listings::attach_image(world, new.listing, seller, &stored.file(), &rules)?;
            }
            if publish {
                listings::publish(world, new.listing, seller, &rules)?;
            }
            Ok((new.listing, picture.as_ref().map(|picture| picture.image)))
        };
        let listed = self.submit(act, seller, list).await?;
        // If it was listed before the fill was interrupted, then with another picture.
        let shown = listed.and_then(|(_, picture)| picture);
        if let (Some(media), Some(unused)) = (&self.app.media, kept.filter(|kept| Some(kept.image) != shown)) {
            media.drop_files(&unused.stored).await;
        }
        Ok(listed.map(|(listing, _)| Done::Listed { lot: place, listing }))
    }

    /// A picture of a lot, kept as what somebody uploads is. Those that are bid for have one, and a quarter of the
    /// others: the marketplace is to be there soon.
    async fn picture(&self, place: usize) -> Result<Option<NewImage>, DemoError> {
        let lot = &self.story.lots[place];
        let Some(media) = &self.app.media else { return Ok(None) };
        if matches!(lot.sale, story::Sale::FixedPrice(_)) && !place.is_multiple_of(4) {
            return Ok(None);
        }
        let category = goods::CATEGORIES.into_iter().position(|category| category.slug == lot.details.category);
        let drawing = move || pictures::draw(category.unwrap_or_default(), place as u64);
        let drawn = tokio::task::spawn_blocking(drawing).await.ok().flatten().ok_or(NotKept::Defect)?;
        Ok(Some(media.keep(drawn).await?))
    }

    async fn publish(&self, act: &str, page: usize) -> Result<Option<Done>, DemoError> {
        let (clerk, DemoPage { slug, title, body }) = (self.account(people::ADMIN)?, &dressing::PAGES[page]);
        let content = Content { slug: (*slug).to_owned(), title: (*title).to_owned(), body: (*body).to_owned() };
        let publish = move |world: &mut World<'_>| pages::publish(world, content.clone(), clerk);
        Ok(self.submit(act, clerk, publish).await?.map(|_| Done::Nothing))
    }

    async fn verify(&self, act: &str, shop: usize) -> Result<Option<Done>, DemoError> {
        let (clerk, owner) = (self.account(people::ADMIN)?, self.account(people::owner(shop))?);
        let key = PersonKey::load(&self.app.pool, &self.app.wrapping, owner).await?.ok_or(DemoError::Absent)?;
        let ruling = Ruling { by: clerk, reason: key.seal("Their papers are in order.").into() };
        let verify = move |world: &mut World<'_>| stores::rule(world, owner, Verdict::Verify, &ruling);
        Ok(self.submit(act, clerk, verify).await?.map(|()| Done::Nothing))
    }

    async fn subscribe(&self, act: &str, shop: usize) -> Result<Option<Done>, DemoError> {
        let (owner, subscription) = (self.account(people::owner(shop))?, SubscriptionId(mint::id()));
        let wanted = Wanted { owner, plan: "premium".to_owned(), currency: Currency::USD, subscription };
        let rules = self.app.settings.plans.rules();
        let subscribe = move |world: &mut World<'_>| subscriptions::purchase(world, &wanted, rules).map(drop);
        Ok(self.submit(act, owner, subscribe).await?.map(|()| Done::Nothing))
    }

    async fn reduce(&self, act: &str, lot: usize, bps: u32) -> Result<Option<Done>, DemoError> {
        let Some(listing) = self.listings[lot] else { return Ok(None) };
        let seller = self.account(self.story.lots[lot].seller)?;
        let until = self.begin + story::span() + TimeDelta::weeks(1);
        let discount = Discount { off: Off::Bps(bps), from: None, until: Some(until) };
        let reduce = move |world: &mut World<'_>| listings::set_discount(world, listing, seller, Some(discount));
        Ok(self.submit(act, seller, reduce).await?.map(|()| Done::Nothing))
    }

    /// How a lot is sold, at the times of this marketplace.
    fn sale(&self, lot: &Lot) -> Sale {
        match lot.sale {
            story::Sale::FixedPrice(price) => Sale::FixedPrice { price, variants: vec![] },
            story::Sale::Auction { start_price, reserve_price, buy_now_price, starts, ends } => {
                let starts_at = starts.map(|starts| self.begin + starts);
                let duration = self.begin + ends - starts_at.unwrap_or_else(|| self.app.clock.now());
                let duration_s = u32::try_from(duration.num_seconds()).unwrap_or(0);
                Sale::Auction(AuctionPlan { start_price, reserve_price, buy_now_price, starts_at, duration_s })
            }
        }
    }

    async fn reprice(&self, act: &str, lot: usize, price: Money) -> Result<Option<Done>, DemoError> {
        let Some(listing) = self.listings[lot] else { return Ok(None) };
        let seller = self.account(self.story.lots[lot].seller)?;
        let changes = Changes { sale: Some(Sale::FixedPrice { price, variants: vec![] }), ..Changes::default() };
        let (stock, rules) = (BTreeMap::new(), self.app.listing_rules());
        let revise =
            move |world: &mut World<'_>| listings::revise(world, listing, seller, changes.clone(), &stock, &rules);
        Ok(self.submit(act, seller, revise).await?.map(|()| Done::Nothing))
    }

    async fn take_off(&self, act: &str, lot: usize) -> Result<Option<Done>, DemoError> {
        let Some(listing) = self.listings[lot] else { return Ok(None) };
        let seller = self.account(self.story.lots[lot].seller)?;
        let archive = move |world: &mut World<'_>| listings::archive(world, listing, seller);
        Ok(self.submit(act, seller, archive).await?.map(|()| Done::Nothing))
    }

    async fn bid(&self, act: &str, lot: usize, bidders: &[Bidder]) -> Result<Option<Done>, DemoError> {
        let Some(listing) = self.listings[lot] else { return Ok(None) };
        let auction = AuctionId::from(listing);
        let known = bidders.iter().map(|bidder| Ok((self.account(bidder.person)?, *bidder)));
        let known: Vec<(AccountId, Bidder)> = known.collect::<Result<_, DemoError>>()?;
        let Some(&(first, _)) = known.first() else { return Ok(None) };
        let bid = move |world: &mut World<'_>| {
            let offer = match world.get::<Auction>(auction)? {
                Auction::Live(live) => offer(live, &known),
                Auction::Unscheduled | Auction::Closed { .. } | Auction::Cancelled { .. } => None,
            };
            // Nobody finds it worth more than it stands at: no bid.
            let Some((bidder, maximum)) = offer else { return Ok(false) };
            auctions::place_bid(world, auction, bidder, maximum)?;
            Ok(true)
        };
        let placed = self.submit(act, first, bid).await?;
        Ok(placed.map(|placed| if placed { Done::Bid } else { Done::Nothing }))
    }

    async fn buy_now(&self, act: &str, lot: usize, buyer: usize) -> Result<Option<Done>, DemoError> {
        let Some(listing) = self.listings[lot] else { return Ok(None) };
        let (buyer, auction) = (self.account(buyer)?, AuctionId::from(listing));
        let (ids, rules) =
            (WinIds { group: OrderGroupId(mint::id()), order: OrderId(mint::id()) }, self.app.sale_rules());
        let buy = move |world: &mut World<'_>| auctions::buy_now(world, auction, buyer, ids, rules);
        Ok(self.submit(act, buyer, buy).await?.map(|_| Done::Nothing))
    }

    async fn call_off(
        &self,
        act: &str,
        lot: usize,
        by: usize,
        reason: &'static str,
    ) -> Result<Option<Done>, DemoError> {
        let Some(listing) = self.listings[lot] else { return Ok(None) };
        let (by, auction) = (self.account(by)?, AuctionId::from(listing));
        let cancel = move |world: &mut World<'_>| auctions::cancel(world, auction, by, reason);
        Ok(self.submit(act, by, cancel).await?.map(|()| Done::Nothing))
    }

    async fn buy(&self, act: &str, number: usize, buyer: usize, lots: &[usize]) -> Result<Option<Done>, DemoError> {
        let (buyer, rules) = (self.account(buyer)?, self.app.sale_rules());
        let line = |lot: &usize| Some(CartLine { listing: self.listings[*lot]?, sku: Sku::default(), quantity: 1 });
        let lines: Vec<CartLine> = lots.iter().filter_map(line).collect();
        let orders = lines.iter().map(|_| OrderId(mint::id())).collect();
        let cart = Checkout { buyer, lines, ship_to: None, points: 0, group: OrderGroupId(mint::id()), orders };
        let check_out = move |world: &mut World<'_>| orders::checkout(world, &cart, rules);
        Ok(self.submit(act, buyer, check_out).await?.map(|orders| Done::Bought { number, orders }))
    }

    /// Lets something happen to every order of a cart.
    async fn step(&self, act: &str, number: usize, step: Step) -> Result<Option<Done>, DemoError> {
        let Some(orders) = self.carts.get(&number).cloned() else { return Ok(None) };
        let Some(&first) = orders.first() else { return Ok(None) };
        let look = move |world: &mut World<'_>| {
            let terms = &world.get::<Order>(first)?.placed()?.terms;
            Ok((terms.buyer, terms.seller))
        };
        let (buyer, seller) = self.app.engine.read(look).await?;
        match step {
            Step::Pay => return self.pay(act, first, buyer).await,
            Step::Review(stars, text) => return self.review(act, &orders, buyer, stars, text).await,
            Step::Say(line) => {
                let (by_buyer, text) = TALK[line];
                return self.say(act, first, if by_buyer { buyer } else { seller }, text).await;
            }
            _ => {}
        }
        let clerk = self.account(people::ADMIN)?;
        let by = match step {
            Step::Pay
            | Step::Say(_)
            | Step::Deliver
            | Step::Confirm
            | Step::Dispute(_)
            | Step::Cancel(_)
            | Step::Review(..) => buyer,
            Step::Ship | Step::Refund | Step::RefundPart => seller,
            Step::Resolve(_) => clerk,
        };
        let refunds: Vec<RefundId> = orders.iter().map(|_| RefundId(mint::id())).collect();
        let all = move |world: &mut World<'_>| {
            for (&order, &refund) in orders.iter().zip(&refunds) {
                carry_out(world, order, step, clerk, refund)?;
            }
            Ok(())
        };
        Ok(self.submit(act, by, all).await?.map(|()| Done::Nothing))
    }

    /// Lets the buyer of a cart say something of all that was in it.
    async fn review(
        &self,
        act: &str,
        orders: &[OrderId],
        buyer: AccountId,
        stars: u8,
        text: &str,
    ) -> Result<Option<Done>, DemoError> {
        let key = PersonKey::load(&self.app.pool, &self.app.wrapping, buyer).await?.ok_or(DemoError::Absent)?;
        let Ok(rating) = Rating::try_from(stars) else { return Ok(None) };
        let opinion = Opinion { rating, title: None, text: Some(key.seal(text)), images: Vec::new() };
        let ratings = Ratings { communication: rating, shipping: rating, accuracy: rating, platform: rating };
        let said = Said { ratings, comment: Some(key.seal(text)), platform_comment: None };
        let orders = orders.to_vec();
        let review = move |world: &mut World<'_>| {
            for &order in &orders {
                let lines = world.get::<Order>(order)?.placed()?.terms.lines.clone();
                for line in lines {
                    let subject = reviews::Subject { order, listing: line.listing, sku: line.sku };
                    reviews::write(world, buyer, &subject, &opinion)?;
                }
                feedback::give(world, order, buyer, &said)?;
            }
            Ok(())
        };
        Ok(self.submit(act, buyer, review).await?.map(|()| Done::Nothing))
    }

    async fn pay(&self, act: &str, order: OrderId, buyer: AccountId) -> Result<Option<Done>, DemoError> {
        let card = payment_method(sandbox::SUCCEEDS);
        let ask = move |world: &mut World<'_>| {
            let asked = charges::request_payment(world, buyer, order, card.clone())?;
            Ok(asked.charge)
        };
        Ok(self.submit(act, buyer, ask).await?.map(|_| Done::Transferred))
    }

    /// Writes to the other party of an order.
    async fn say(&self, act: &str, order: OrderId, author: AccountId, text: &str) -> Result<Option<Done>, DemoError> {
        let key = PersonKey::load(&self.app.pool, &self.app.wrapping, author).await?.ok_or(DemoError::Absent)?;
        let message = Message { id: MessageId(mint::id()), author, text: key.seal(text) };
        let say = move |world: &mut World<'_>| {
            let chat = chats::open(world, author, Subject::Order(order))?.chat;
            chats::send(world, chat, &message)
        };
        Ok(self.submit(act, author, say).await?.map(|_| Done::Nothing))
    }

    /// Whoever has won a lot pays, if anybody has.
    async fn pay_won(&self, act: &str, lot: usize) -> Result<Option<Done>, DemoError> {
        let Some(listing) = self.listings[lot] else { return Ok(None) };
        let auction = AuctionId::from(listing);
        let look = move |world: &mut World<'_>| {
            Ok(match world.get::<Auction>(auction)? {
                Auction::Closed {
                    outcome: Outcome::Won { winner, .. } | Outcome::BoughtNow { winner, .. }, ..
                } => Some(*winner),
                Auction::Closed { .. } | Auction::Unscheduled | Auction::Live(_) | Auction::Cancelled { .. } => None,
            })
        };
        let Some(winner) = self.app.engine.read(look).await? else { return Ok(Some(Done::Nothing)) };
        let head = log::head(&self.app.pool).await?;
        self.app.progress.wait_for(purchases::MODEL.name, head, FOLLOWERS_PATIENCE).await?;
        let filter = Filter { party: winner, side: Some(Side::Buyer), status: Some(Status::Placed) };
        let waiting = purchases::page(&self.app.pool, &filter, None, MOST_WAITING).await?.items;
        match waiting.into_iter().find(|order| order.auction_id == Some(auction.0)) {
            Some(order) => self.pay(act, OrderId(order.id), winner).await,
            None => Ok(Some(Done::Nothing)),
        }
    }

    /// Lets the marketplace's time come to a moment of the story, and everything due until then happen.
    pub(super) async fn advance(&self, to: TimeDelta) -> Result<(), DemoError> {
        self.advance_to(self.begin + to).await
    }

    /// The same, to a time.
    pub(super) async fn advance_to(&self, time: Timestamp) -> Result<(), DemoError> {
        if time > self.app.clock.now() {
            self.app.set_clock(time).await.ok_or(DemoError::Clock)?;
        }
        Ok(())
    }
}

/// Lets one thing happen to one order.
fn carry_out(
    world: &mut World<'_>,
    order: OrderId,
    step: Step,
    clerk: AccountId,
    refund: RefundId,
) -> Result<(), Halt> {
    let placed = world.get::<Order>(order)?.placed()?;
    let (buyer, seller) = (placed.terms.buyer, placed.terms.seller);
    match step {
        // A provider is asked for that, before; and what is said is no matter of the order.
        Step::Pay | Step::Say(_) | Step::Review(..) => Ok(()),
        Step::Ship => orders::ship(world, order, seller, "Parcel post", Some(&tracking(order))),
        Step::Deliver => orders::deliver(world, order, buyer),
        Step::Confirm => escrows::confirm(world, order, buyer),
        Step::Dispute(reason) => escrows::dispute(world, order, buyer, reason),
        Step::Resolve(percent) => {
            let amount = world.get::<Escrow>(order)?.opened()?.terms.amount;
            let share = Money::new(amount.minor() * percent / 100, amount.currency())?;
            escrows::resolve(world, order, clerk, Resolution::Split { to_buyer: share }, refund)
        }
        Step::Cancel(reason) => orders::cancel(world, order, buyer, reason, refund),
        Step::Refund => escrows::refund(world, order, seller, None, refund),
        Step::RefundPart => {
            let amount = world.get::<Escrow>(order)?.opened()?.terms.amount;
            let tenth = Money::new((amount.minor() / 10).max(1), amount.currency())?;
            escrows::refund(world, order, seller, Some(tenth), refund)
        }
    }
}

/// A carrier's name for a parcel.
fn tracking(order: OrderId) -> String {
    format!("TP{:09}", order.0.as_u128() % 1_000_000_000)
}

fn payment_method(token: &str) -> PaymentMethod {
    PaymentMethod { provider: sandbox::NAME.to_owned(), token: token.to_owned() }
}

/// Who of these bids next, and how much: the first who does not lead already and to whom it is worth more.
fn offer(live: &Live, bidders: &[(AccountId, Bidder)]) -> Option<(AccountId, Money)> {
    let minimum = live.minimum_bid().minor();
    let leader = live.standing.map(|standing| standing.leader);
    let can = |(account, bidder): &&(AccountId, Bidder)| leader != Some(*account) && bidder.most.minor() >= minimum;
    let (account, bidder) = bidders.iter().find(can)?;
    let most = bidder.most.minor();
    let wished = minimum + (most - minimum) * bidder.eagerness / 100;
    let step = match wished {
        ..2_000 => 50,
        2_000..10_000 => 100,
        10_000..50_000 => 500,
        _ => 1_000,
    };
    let maximum = (wished + step - 1) / step * step;
    Some((*account, Money::new(maximum.min(most), bidder.most.currency()).ok()?))
}
