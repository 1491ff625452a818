//! What a client's own words lead to: bids, money in and out. Orders are in [`orders`], those of guests in
//! [`guests`], second chances in [`second_chances`].

use domain::account::{Account, Capability};
use domain::auction::{self, Auction};
use domain::order::{Confirmation, Guest};
use domain::payout::{self, Payout};
use domain::wallet::{self, PaymentMethod, Wallet};
use domain::{
    AccountId, Currency, DepositId, Money, OrderGroupId, OrderId, RefundId, Refusal, Sealed, Timestamp, WalletId,
    WithdrawalId, escrow, order, order_group,
};
use eventstore::event::DomainEvent;
use serde_json::{Value, json};
use uuid::Uuid;

use super::replica::{Draft, Replica, Step};
use super::{charges, guests, orders, second_chances};
use crate::history::Intent;

/// The ids that the server has minted for a command.
#[derive(Clone, Debug)]
pub(super) struct Minted {
    /// Of a deposit, or of a withdrawal.
    pub(super) operation: Uuid,
    pub(super) group: OrderGroupId,
    pub(super) orders: Vec<OrderId>,
    pub(super) refund: RefundId,
    /// Who orders as a guest, and what is sealed of them.
    pub(super) guest: (AccountId, Sealed<String>, Guest),
}

impl Minted {
    /// For a command that came to nothing: no matter which.
    pub(super) fn unknown() -> Self {
        // Different ones, as many as a cart may have lines.
        let orders = (1..=order::MOST_LINES as u128).map(|number| OrderId(Uuid::from_u128(number)));
        let nil = Uuid::nil();
        let (nobody, sealed) = (AccountId(nil), || Sealed::from_ciphertext(AccountId(nil), String::new()));
        let guest = (nobody, sealed(), Guest { contact: sealed(), confirmation: Confirmation::Phone });
        Self { operation: nil, group: OrderGroupId(nil), orders: orders.collect(), refund: RefundId(nil), guest }
    }

    /// Those that are in the events of the command.
    pub(super) fn in_events(events: &[DomainEvent]) -> Self {
        let mut minted = Self { orders: Vec::new(), ..Self::unknown() };
        for event in events {
            match event {
                DomainEvent::Wallet(_, wallet::Event::DepositRequested { deposit, .. }) => minted.operation = deposit.0,
                DomainEvent::Wallet(_, wallet::Event::WithdrawalRequested { withdrawal, .. }) => {
                    minted.operation = withdrawal.0;
                }
                DomainEvent::Order(id, order::Event::OrderPlaced { terms }) => {
                    minted.orders.push(*id);
                    if let (Some(ship_to), Some(guest)) = (&terms.ship_to, &terms.guest) {
                        minted.guest = (terms.buyer, ship_to.clone(), guest.clone());
                    }
                }
                DomainEvent::OrderGroup(id, order_group::Event::OrderGroupPlaced { .. }) => minted.group = *id,
                DomainEvent::Escrow(
                    _,
                    escrow::Event::EscrowPartlyRefunded { refund, .. }
                    | escrow::Event::EscrowRefunded { refund, .. }
                    | escrow::Event::ReleaseRefunded { refund, .. },
                ) => minted.refund = *refund,
                _ => {}
            }
        }
        minted
    }
}

/// What a command leads to.
#[derive(Clone, Debug)]
pub(super) struct Done {
    /// The events.
    pub(super) steps: Vec<Step>,
    /// What the client is told.
    pub(super) answer: Value,
}

/// What a client's command leads to.
pub(super) fn carry_out(
    replica: &Replica,
    actor: Option<AccountId>,
    intent: &Intent,
    minted: &Minted,
    now: Timestamp,
) -> Result<Done, Refusal> {
    let mut draft = replica.draft(now);
    // Nobody else than a guest has no account.
    let answer = decide(&mut draft, actor.unwrap_or(minted.guest.0), intent, minted)?;
    Ok(Done { steps: draft.into_steps(), answer })
}

fn decide(draft: &mut Draft<'_>, actor: AccountId, intent: &Intent, minted: &Minted) -> Result<Value, Refusal> {
    match intent {
        Intent::Bid { auction, maximum } => {
            draft.get::<Account>(actor).require(Capability::Buy)?;
            let command = auction::Command::PlaceBid { bidder: actor, maximum: *maximum, now: draft.now() };
            draft.execute::<Auction>(*auction, command)?;
            Ok(bid_answer(draft, actor, *auction))
        }
        Intent::Deposit { amount, method } => {
            draft.get::<Account>(actor).registered()?;
            charges::request_deposit(draft, actor, DepositId(minted.operation), *amount, method)?;
            Ok(deposit_answer(draft, actor, *amount, minted))
        }
        Intent::Withdraw { amount, method } => {
            draft.get::<Account>(actor).registered()?.unblocked()?;
            let (withdrawal, destination) = (WithdrawalId(minted.operation), at_sandbox(method));
            let (wallet, amount, to) = (WalletId::of(actor, amount.currency()), *amount, destination.clone());
            draft.execute::<Wallet>(wallet, wallet::Command::RequestWithdrawal { withdrawal, amount, destination })?;
            draft.execute::<Payout>(withdrawal, payout::Command::Send { wallet, amount, to })?;
            Ok(transfer_answer(draft, actor, amount, minted))
        }
        Intent::OfferSecondChance { auction } => second_chances::offer(draft, actor, *auction),
        Intent::AcceptSecondChance { auction } => second_chances::accept(draft, actor, *auction, minted),
        Intent::GuestOrder { store, lines, .. } => guests::order(draft, store.owner, lines, minted),
        Intent::Checkout { lines, pay_now, points } => {
            orders::check_out(draft, actor, lines, (*pay_now, *points), minted)
        }
        Intent::Pay { order, method: None } => orders::pay(draft, actor, *order),
        Intent::Pay { order, method: Some(method) } => orders::pay_from_outside(draft, actor, *order, method),
        Intent::Change { order, what } => orders::change(draft, actor, *order, what, minted),
    }
}

fn at_sandbox(token: &str) -> PaymentMethod {
    PaymentMethod { provider: "sandbox".to_owned(), token: token.to_owned() }
}

fn bid_answer(draft: &Draft<'_>, actor: AccountId, auction: domain::AuctionId) -> Value {
    match draft.get::<Auction>(auction) {
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
            "version": draft.version::<Auction>(auction),
        }),
        Auction::Unscheduled | Auction::Closed { .. } | Auction::Cancelled { .. } => Value::Null,
    }
}

/// Whether there is something to do first depends on how soon the provider is asked.
fn deposit_answer(draft: &Draft<'_>, actor: AccountId, amount: Money, minted: &Minted) -> Value {
    let available = available(draft, actor, amount.currency());
    json!({ "id": minted.operation, "amount": amount, "available": available })
}

fn transfer_answer(draft: &Draft<'_>, actor: AccountId, amount: Money, minted: &Minted) -> Value {
    let available = available(draft, actor, amount.currency());
    json!({ "id": minted.operation, "status": "pending", "amount": amount, "available": available })
}

/// What an account may spend.
pub(super) fn available(draft: &Draft<'_>, owner: AccountId, currency: Currency) -> Money {
    match draft.get::<Wallet>(WalletId::of(owner, currency)) {
        Wallet::Open(balance) => balance.available,
        Wallet::Unopened => Money::zero(currency),
    }
}
