//! The marketplace once more, from its pure rules alone: the states as the log has made them, and what each command
//! would lead to.

use std::collections::{HashMap, HashSet};

use domain::account::{Account, Capability};
use domain::auction::{self, Auction};
use domain::claim::{self, Claim};
use domain::listing::{self, Listing};
use domain::session::{self, Session};
use domain::wallet::{self, PaymentMethod, Wallet};
use domain::{AccountId, Aggregate, AuctionId, DepositId, Refusal, Timestamp, WalletId, WithdrawalId, account};
use eventstore::event::DomainEvent;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::history::Intent;

/// An event as a decision gives it: to whom, and what, as it is stored.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Step {
    pub(super) aggregate_type: &'static str,
    pub(super) id: Uuid,
    pub(super) payload: String,
}

/// All states of one type.
#[derive(Clone, Debug)]
struct States<A>(HashMap<Uuid, A>);

impl<A: Aggregate> States<A> {
    fn get(&self, id: impl Into<Uuid>) -> A {
        self.0.get(&id.into()).cloned().unwrap_or_default()
    }

    fn take(&mut self, id: impl Into<Uuid>, event: &A::Event) {
        self.0.entry(id.into()).or_default().evolve(event);
    }

    fn only(&self, ids: &HashSet<Uuid>) -> Self {
        Self(ids.iter().filter_map(|id| Some((*id, self.0.get(id)?.clone()))).collect())
    }

    fn decide(&self, id: impl Into<Uuid>, command: A::Command) -> Result<Vec<Step>, Refusal> {
        let id = id.into();
        let events = self.get(id).decide(command).map_err(Into::into)?;
        let payload = |event| serde_json::to_string(&event).unwrap_or_default();
        Ok(events.into_iter().map(|event| Step { aggregate_type: A::TYPE, id, payload: payload(event) }).collect())
    }
}

impl<A> Default for States<A> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

/// The states of all aggregates, as of some position.
#[derive(Clone, Debug, Default)]
pub(super) struct Replica {
    accounts: States<Account>,
    auctions: States<Auction>,
    claims: States<Claim>,
    listings: States<Listing>,
    sessions: States<Session>,
    wallets: States<Wallet>,
}

impl Replica {
    /// Takes an event in.
    pub(super) fn take(&mut self, event: &DomainEvent) {
        match event {
            DomainEvent::Account(id, event) => self.accounts.take(*id, event),
            DomainEvent::Auction(id, event) => self.auctions.take(*id, event),
            DomainEvent::Claim(id, event) => self.claims.take(*id, event),
            DomainEvent::Listing(id, event) => self.listings.take(*id, event),
            DomainEvent::Session(id, event) => self.sessions.take(*id, event),
            DomainEvent::Wallet(id, event) => self.wallets.take(*id, event),
        }
    }

    /// The same, as far as these events are concerned, to be changed without changing this one.
    pub(super) fn excerpt(&self, events: &[DomainEvent]) -> Self {
        let ids = events.iter().map(stream_id).collect();
        Self {
            accounts: self.accounts.only(&ids),
            auctions: self.auctions.only(&ids),
            claims: self.claims.only(&ids),
            listings: self.listings.only(&ids),
            sessions: self.sessions.only(&ids),
            wallets: self.wallets.only(&ids),
        }
    }

    /// What a client's command leads to. `operation` is the id that the server has minted for it.
    pub(super) fn carry_out(
        &self,
        actor: AccountId,
        intent: &Intent,
        operation: Uuid,
        now: Timestamp,
    ) -> Result<Vec<Step>, Refusal> {
        let account = self.accounts.get(actor);
        let at_sandbox = |token: &String| PaymentMethod { provider: "sandbox".to_owned(), token: token.clone() };
        match intent {
            Intent::Bid { auction, maximum } => {
                account.require(Capability::Buy)?;
                let command = auction::Command::PlaceBid { bidder: actor, maximum: *maximum, now };
                self.auctions.decide(*auction, command)
            }
            Intent::Deposit { amount, method } => {
                account.registered()?;
                let (deposit, source) = (DepositId(operation), at_sandbox(method));
                let command = wallet::Command::RequestDeposit { deposit, owner: actor, amount: *amount, source };
                self.wallets.decide(WalletId::of(actor, amount.currency()), command)
            }
            Intent::Withdraw { amount, method } => {
                account.registered()?;
                let (withdrawal, destination) = (WithdrawalId(operation), at_sandbox(method));
                let command = wallet::Command::RequestWithdrawal { withdrawal, amount: *amount, destination };
                self.wallets.decide(WalletId::of(actor, amount.currency()), command)
            }
        }
    }

    /// What a client is told of a command that has just been taken in, `version` being that of the aggregate.
    pub(super) fn answer(&self, actor: AccountId, intent: &Intent, operation: Uuid, version: i64) -> Value {
        match intent {
            Intent::Bid { auction, .. } => match self.auctions.get(*auction) {
                Auction::Live(live) => json!({
                    "auction_id": auction,
                    "standing": match live.standing {
                        Some(standing) if standing.leader == actor => "leading",
                        _ => "outbid",
                    },
                    "price": live.standing.map(|standing| standing.price),
                    "minimum_bid": live.minimum_bid(),
                    "reserve_met": live.reserve_met(),
                    "ends_at": live.ends_at,
                    "bids": live.bids,
                    "version": version,
                }),
                Auction::Unscheduled | Auction::Closed { .. } | Auction::Cancelled { .. } => Value::Null,
            },
            Intent::Deposit { amount, .. } | Intent::Withdraw { amount, .. } => {
                let available = match self.wallets.get(WalletId::of(actor, amount.currency())) {
                    Wallet::Open(balance) => json!(balance.available),
                    Wallet::Unopened => Value::Null,
                };
                json!({ "id": operation, "status": "pending", "amount": amount, "available": available })
            }
        }
    }

    /// What the command leads to that has caused the first of these events, as far as the events tell which it was.
    pub(super) fn carry_out_cause_of(&self, events: &[DomainEvent], now: Timestamp) -> Result<Vec<Step>, Refusal> {
        match events {
            [DomainEvent::Account(id, event), ..] => self.accounts.decide(*id, account_command(*id, event)),
            [DomainEvent::Auction(id, event), rest @ ..] => {
                let next = rest.first().and_then(|next| match next {
                    DomainEvent::Auction(_, event) => Some(event),
                    _ => None,
                });
                self.auctions.decide(*id, auction_command(event, next, now))
            }
            [DomainEvent::Claim(id, event), ..] => self.claims.decide(*id, claim_command(*event)),
            [DomainEvent::Listing(id, event), ..] => {
                let listing = self.listings.get(*id);
                let seller = listing.offer().map_or(AccountId(Uuid::nil()), |offer| offer.seller);
                self.listings.decide(*id, listing_command(event, seller))
            }
            [DomainEvent::Session(id, event), ..] => {
                let command = session_command(event, &self.sessions.get(*id), now);
                self.sessions.decide(*id, command)
            }
            [DomainEvent::Wallet(id, event), rest @ ..] => {
                let event = match (event, rest.first()) {
                    (wallet::Event::WalletOpened { .. }, Some(DomainEvent::Wallet(_, next))) => next,
                    _ => event,
                };
                self.wallets.decide(*id, wallet_command(event.clone()))
            }
            [] => Ok(Vec::new()),
        }
    }
}

fn stream_id(event: &DomainEvent) -> Uuid {
    match event {
        DomainEvent::Account(id, _) => id.0,
        DomainEvent::Auction(id, _) => id.0,
        DomainEvent::Claim(id, _) => id.0,
        DomainEvent::Listing(id, _) => id.0,
        DomainEvent::Session(id, _) => id.0,
        DomainEvent::Wallet(id, _) => id.0,
    }
}

fn account_command(account: AccountId, event: &account::Event) -> account::Command {
    match event.clone() {
        account::Event::AccountRegistered { identity, capabilities } => {
            account::Command::Register { account, identity, capabilities }
        }
        account::Event::ProfileChanged { changes } => account::Command::ChangeProfile { changes },
        account::Event::CapabilitiesGranted { capabilities, by } => account::Command::Grant { capabilities, by },
    }
}

/// A bid may announce the start first, so the event after it tells.
fn auction_command(event: &auction::Event, next: Option<&auction::Event>, now: Timestamp) -> auction::Command {
    match (event.clone(), next) {
        (auction::Event::AuctionScheduled { terms }, _) => auction::Command::Schedule { terms, now },
        (auction::Event::AuctionOpened {}, Some(&auction::Event::BidPlaced { bidder, maximum, .. }))
        | (auction::Event::BidPlaced { bidder, maximum, .. }, _) => auction::Command::PlaceBid { bidder, maximum, now },
        // Only a bid moves the end, and its event comes first: nothing leads to the second.
        (auction::Event::AuctionOpened {} | auction::Event::AuctionExtended { .. }, _) => {
            auction::Command::Open { now }
        }
        (auction::Event::AuctionClosed { outcome: auction::Outcome::BoughtNow { winner, .. }, .. }, _) => {
            auction::Command::BuyNow { buyer: winner, now }
        }
        (auction::Event::AuctionClosed { .. }, _) => auction::Command::Close { now },
        (auction::Event::AuctionCancelled { by, reason }, _) => auction::Command::Cancel { by, reason, now },
    }
}

fn claim_command(event: claim::Event) -> claim::Command {
    match event {
        claim::Event::ValueClaimed { kind, owner } => claim::Command::Claim { kind, owner },
        claim::Event::ValueReleased { owner } => claim::Command::Release { owner },
    }
}

fn listing_command(event: &listing::Event, seller: AccountId) -> listing::Command {
    match event.clone() {
        listing::Event::ListingDrafted { seller, details, sale } => listing::Command::Draft { seller, details, sale },
        listing::Event::ListingRevised { changes } => listing::Command::Revise { by: seller, changes },
        listing::Event::ListingPublished {} => listing::Command::Publish { by: seller },
        listing::Event::ListingArchived { cause } => listing::Command::Archive { cause },
    }
}

fn session_command(event: &session::Event, session: &Session, now: Timestamp) -> session::Command {
    let current = match session {
        Session::Open { token_hash, .. } => token_hash.clone(),
        Session::Closed | Session::Ended { .. } => session::TokenHash(String::new()),
    };
    match event.clone() {
        session::Event::SessionOpened { account, token_hash, expires_at } => {
            session::Command::Open { account, token_hash, expires_at }
        }
        session::Event::SessionRefreshed { token_hash, expires_at } => {
            session::Command::Refresh { presented: current, next: token_hash, expires_at, now }
        }
        session::Event::SessionEnded { reason } => session::Command::End { reason },
    }
}

fn wallet_command(event: wallet::Event) -> wallet::Command {
    use wallet::{Command as C, Event as E};
    match event {
        // A wallet is opened by its first deposit, whose event comes next: nothing leads here.
        E::WalletOpened { .. } => C::ReleaseHold { hold: domain::HoldId(Uuid::nil()) },
        E::DepositRequested { deposit, owner, amount, source } => C::RequestDeposit { deposit, owner, amount, source },
        E::DepositDelayed { deposit, check_at } => C::DelayDeposit { deposit, check_at },
        E::DepositSettled { deposit, provider_reference, .. } => C::SettleDeposit { deposit, provider_reference },
        E::DepositFailed { deposit, reason } => C::FailDeposit { deposit, reason },
        E::WithdrawalRequested { withdrawal, amount, destination, .. } => {
            C::RequestWithdrawal { withdrawal, amount, destination }
        }
        E::WithdrawalDelayed { withdrawal, check_at } => C::DelayWithdrawal { withdrawal, check_at },
        E::WithdrawalPaid { withdrawal, provider_reference, .. } => {
            C::ConfirmWithdrawal { withdrawal, provider_reference }
        }
        E::WithdrawalFailed { withdrawal, reason, .. } => C::FailWithdrawal { withdrawal, reason },
        E::HoldPlaced { hold, amount, .. } => C::PlaceHold { hold, amount },
        E::HoldReleased { hold, .. } => C::ReleaseHold { hold },
    }
}

/// The id that the server has minted for the operation that these events begin.
pub(super) fn operation_in(events: &[DomainEvent]) -> Uuid {
    let minted = events.iter().find_map(|event| match event {
        DomainEvent::Wallet(_, wallet::Event::DepositRequested { deposit, .. }) => Some(deposit.0),
        DomainEvent::Wallet(_, wallet::Event::WithdrawalRequested { withdrawal, .. }) => Some(withdrawal.0),
        _ => None,
    });
    minted.unwrap_or_default()
}

/// The auction that an intent is about has the versions that its answers tell.
pub(super) fn stream_of(actor: AccountId, intent: &Intent) -> (&'static str, Uuid) {
    match intent {
        Intent::Bid { auction: AuctionId(id), .. } => (Auction::TYPE, *id),
        Intent::Deposit { amount, .. } | Intent::Withdraw { amount, .. } => {
            (Wallet::TYPE, WalletId::of(actor, amount.currency()).0)
        }
    }
}
