//! Performs the story: every act is a command, sent under a key of its own.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use commands::accounts;
use commands::auctions;
use commands::listings::{self, NewListing};
use commands::payments::sandbox;
use commands::wallets;
use commands::{CommandError, CommandKey, Halt, Request, World};
use domain::account::{Capability, ProfileChanges};
use domain::auction::{Auction, Live};
use domain::listing::{AuctionPlan, Changes, Sale};
use domain::wallet::PaymentMethod;
use domain::{AccountId, AuctionId, DepositId, ListingId, Money, Timestamp, WithdrawalId};
use eventstore::event::Metadata;
use eventstore::mint;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::story::{self, Act, Bidder, Lot, Story};
use super::{DemoError, PROCESS, STORY_VERSION, people};
use crate::app::App;
use crate::http::routes::auth::newcomer;

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
    pub(super) tally: Tally,
}

/// What has been done so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    pub(super) people: usize,
    pub(super) listings: usize,
    pub(super) bids: usize,
    pub(super) transfers: usize,
    /// Acts that a rule refused: they would have been in time had the fill not been interrupted.
    pub(super) missed: usize,
}

/// What an act has led to.
enum Done {
    Joined { person: usize, account: AccountId },
    Listed { lot: usize, listing: ListingId },
    Bid,
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
        Self { app, story, begin, password_hash, accounts, listings, tally: Tally::default() }
    }

    /// Performs the acts of one stop, all at once.
    pub(super) async fn perform(&mut self, acts: &[Act]) -> Result<(), DemoError> {
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
            Act::Draft { lot } => self.list(&name, *lot, false).await?,
            Act::Offer { lot } => self.list(&name, *lot, true).await?,
            Act::Reprice { lot, price } => self.reprice(&name, *lot, *price).await?,
            Act::TakeOff { lot } => self.take_off(&name, *lot).await?,
            Act::Bid { lot, bidders, .. } => self.bid(&name, *lot, bidders).await?,
            Act::BuyNow { lot, buyer } => self.buy_now(&name, *lot, *buyer).await?,
            Act::CallOff { lot, by, reason } => self.call_off(&name, *lot, *by, reason).await?,
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
        let newcomer = newcomer(
            &self.app.secret,
            account,
            &person.email(),
            person.user_name,
            self.password_hash,
            person.capabilities.clone(),
        );
        let profile = ProfileChanges {
            display_name: Some(newcomer.key.seal(&person.display_name)),
            biography: person.biography.map(|text| newcomer.key.seal(text)),
            language: Some("en".to_owned()),
            ..ProfileChanges::default()
        };
        let is_admin = place == people::ADMIN;
        let join = move |world: &mut World<'_>| {
            accounts::register(world, &newcomer)?;
            accounts::change_profile(world, account, profile.clone())?;
            if is_admin {
                accounts::grant(world, account, BTreeSet::from(Capability::ALL))?;
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
            wallets::request_deposit(world, owner, deposit, amount, source.clone())?;
            Ok(deposit)
        };
        Ok(self.submit(act, owner, ask).await?.map(|_| Done::Transferred))
    }

    async fn withdraw(&self, act: &str, person: usize, amount: Money, method: &str) -> Result<Option<Done>, DemoError> {
        let (owner, withdrawal, to) = (self.account(person)?, WithdrawalId(mint::id()), payment_method(method));
        let ask = move |world: &mut World<'_>| {
            wallets::request_withdrawal(world, owner, withdrawal, amount, to.clone())?;
            Ok(withdrawal)
        };
        Ok(self.submit(act, owner, ask).await?.map(|_| Done::Transferred))
    }

    async fn list(&self, act: &str, place: usize, publish: bool) -> Result<Option<Done>, DemoError> {
        let lot = &self.story.lots[place];
        let seller = self.account(lot.seller)?;
        let (details, sale) = (lot.details.clone(), self.sale(lot));
        let new = NewListing { listing: ListingId(mint::id()), seller, details, sale };
        let window = self.app.soft_close_window_ms();
        let list = move |world: &mut World<'_>| {
            listings::draft(world, &new)?;
            if publish {
                listings::publish(world, new.listing, seller, window)?;
            }
            Ok(new.listing)
        };
        Ok(self.submit(act, seller, list).await?.map(|listing| Done::Listed { lot: place, listing }))
    }

    /// How a lot is sold, at the times of this marketplace.
    fn sale(&self, lot: &Lot) -> Sale {
        match lot.sale {
            story::Sale::FixedPrice(price) => Sale::FixedPrice { price },
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
        let changes = Changes { sale: Some(Sale::FixedPrice { price }), ..Changes::default() };
        let revise = move |world: &mut World<'_>| listings::revise(world, listing, seller, changes.clone());
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
        let buy = move |world: &mut World<'_>| auctions::buy_now(world, auction, buyer);
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

    /// Lets the marketplace's time come to a moment of the story, and everything due until then happen.
    pub(super) async fn advance(&self, to: TimeDelta) -> Result<(), DemoError> {
        self.advance_to(self.begin + to).await
    }

    /// The same, to a time.
    pub(super) async fn advance_to(&self, time: Timestamp) -> Result<(), DemoError> {
        if time > self.app.clock.now() {
            self.app.time_travel.set_forward(time).await.ok_or(DemoError::Clock)?;
        }
        Ok(())
    }
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
