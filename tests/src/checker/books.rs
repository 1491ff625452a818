//! P3: what people own is never negative at any position, and after every unit of work wallets hold exactly what the
//! postings say, escrows what their orders say, and stocks what their orders leave. Debits equal credits by what a posting
//! is: one amount, from one account to another; whether those are the right ones is what is compared here.

use std::collections::{BTreeSet, HashMap, HashSet};

use domain::account::Account;
use domain::commission::{self, Commission};
use domain::escrow::{Escrow, Opened, Phase, Status};
use domain::order::{Order, Placed, Stage};
use domain::stock::{self, Pieces, Stock};
use domain::subscription::Subscription;
use domain::wallet::Wallet;
use domain::{
    AccountId, CommissionId, Currency, LedgerAccount, ListingId, Money, OrderId, Posting, SubscriptionId, WalletId,
};
use eventstore::Position;
use eventstore::event::DomainEvent;

use super::Log;
use super::replica::Replica;

pub(super) fn check(log: &Log) -> Vec<String> {
    let mut books = Books::default();
    for unit in log.units() {
        let Some(last) = unit.last() else { continue };
        let mut touched = Touched::default();
        for logged in unit {
            // An event that cannot be read is reported where it is decided again.
            let Ok(event) = logged.event.decode() else { continue };
            books.take(logged.event.position, &event);
            touched.note(&event, &books.replica);
        }
        books.compare(last.event.position, &touched);
    }
    books.broken
}

/// What a unit of work has moved.
#[derive(Debug, Default)]
struct Touched {
    wallets: BTreeSet<(AccountId, Currency)>,
    orders: BTreeSet<OrderId>,
    subscriptions: BTreeSet<(AccountId, SubscriptionId)>,
}

impl Touched {
    /// Notes what an event has moved that `replica` has taken in.
    fn note(&mut self, event: &DomainEvent, replica: &Replica) {
        match event {
            DomainEvent::Wallet(id, event) => {
                if let Wallet::Open(balance) = replica.get::<Wallet>(*id) {
                    self.wallets.insert((balance.owner, balance.available.currency()));
                }
                self.note_owners(event.postings());
            }
            DomainEvent::Escrow(id, event) => {
                self.orders.insert(*id);
                self.note_owners(event.postings());
            }
            DomainEvent::Charge(_, event) => self.note_owners(event.postings()),
            DomainEvent::Order(id, _) => drop(self.orders.insert(*id)),
            DomainEvent::Stock(
                _,
                stock::Event::StockReserved { order, .. }
                | stock::Event::StockHeld { order, .. }
                | stock::Event::StockReleased { order }
                | stock::Event::StockTaken { order }
                | stock::Event::StockReturned { order, .. },
            ) => drop(self.orders.insert(*order)),
            DomainEvent::Commission(_, event) => {
                if let commission::Event::CommissionAccrued { order, .. } = event {
                    self.orders.insert(*order);
                }
                self.note_owners(event.postings());
            }
            DomainEvent::Subscription(id, event) => {
                self.subscriptions.insert((*id, event.subscription()));
                self.note_owners(event.postings());
            }
            // Nothing else moves money, or goods for an order.
            _ => {}
        }
    }

    fn note_owners(&mut self, postings: &[Posting]) {
        for posting in postings {
            for account in [&posting.debit, &posting.credit] {
                if let LedgerAccount::Available(owner) | LedgerAccount::Held(owner) | LedgerAccount::Receivable(owner) =
                    account
                {
                    self.wallets.insert((*owner, posting.amount.currency()));
                }
            }
        }
    }
}

#[derive(Debug, Default)]
struct Books {
    balances: HashMap<(LedgerAccount, Currency), i64>,
    currencies: HashSet<Currency>,
    /// Free pieces, counted here, since a state cannot go below zero.
    free: HashMap<(ListingId, stock::Sku), i64>,
    replica: Replica,
    broken: Vec<String>,
}

impl Books {
    fn take(&mut self, position: Position, event: &DomainEvent) {
        match event {
            DomainEvent::Wallet(_, event) => self.post(position, event.postings()),
            DomainEvent::Charge(_, event) => self.post(position, event.postings()),
            DomainEvent::Commission(_, event) => self.post(position, event.postings()),
            DomainEvent::Escrow(_, event) => self.post(position, event.postings()),
            DomainEvent::Subscription(_, event) => self.post(position, event.postings()),
            DomainEvent::Stock(id, event) => self.move_pieces(position, *id, event),
            _ => {}
        }
        self.replica.take(event);
    }

    fn post(&mut self, position: Position, postings: &[Posting]) {
        for posting in postings {
            let (amount, currency) = (posting.amount.minor(), posting.amount.currency());
            if amount <= 0 {
                self.broken.push(format!("position {position} posts {}", posting.amount));
            }
            self.currencies.insert(currency);
            for (account, change) in [(&posting.debit, -amount), (&posting.credit, amount)] {
                let balance = self.balances.entry((account.clone(), currency)).or_default();
                *balance += change;
                let wrong = match account {
                    LedgerAccount::ProviderClearing(_) => false,
                    // What somebody owes is a debit, and so is what was spent.
                    LedgerAccount::Receivable(_)
                    | LedgerAccount::MarketingExpense
                    | LedgerAccount::AffiliateExpense
                    | LedgerAccount::ProviderFeeExpense
                    | LedgerAccount::ChargebackExpense => *balance > 0,
                    LedgerAccount::Available(_)
                    | LedgerAccount::Held(_)
                    | LedgerAccount::PayoutPending(_)
                    | LedgerAccount::Escrow(_)
                    | LedgerAccount::FeeIncome
                    | LedgerAccount::AffiliatePending(_)
                    | LedgerAccount::DeferredRevenue(_)
                    | LedgerAccount::SubscriptionIncome
                    | LedgerAccount::Unapplied(_)
                    | LedgerAccount::RefundPending(_) => *balance < 0,
                };
                if wrong {
                    self.broken.push(format!("position {position} leaves {account} at {balance} {currency}"));
                }
            }
        }
    }

    fn move_pieces(&mut self, position: Position, listing: ListingId, event: &stock::Event) {
        let mut add = |pieces: &Pieces, sign: i64| {
            for (sku, count) in pieces {
                let free = self.free.entry((listing, sku.clone())).or_default();
                *free += sign * i64::from(*count);
                if *free < 0 {
                    self.broken.push(format!("position {position} leaves {free} pieces of {sku} of {listing}"));
                }
            }
        };
        match event {
            stock::Event::StockCounted { free } => {
                self.free.retain(|(known, _), _| *known != listing);
                self.free.extend(free.iter().map(|(sku, count)| ((listing, sku.clone()), i64::from(*count))));
            }
            stock::Event::StockReserved { pieces, .. } | stock::Event::StockHeld { pieces, .. } => add(pieces, -1),
            stock::Event::StockReturned { pieces, .. } => add(pieces, 1),
            stock::Event::StockReleased { order } => {
                let released = self.replica.get::<Stock>(listing).reserved.remove(order).unwrap_or_default();
                add(&released, 1);
            }
            stock::Event::StockTaken { .. } | stock::Event::StockSoldOut {} | stock::Event::StockPutAway {} => {}
        }
    }

    /// What is said in several places is the same in all of them, now that the unit of work is whole.
    fn compare(&mut self, position: Position, touched: &Touched) {
        for &(owner, currency) in &touched.wallets {
            let [available, held, owed] = match self.replica.get::<Wallet>(WalletId::of(owner, currency)) {
                Wallet::Open(balance) => [balance.available, balance.held, balance.owed].map(Money::minor),
                Wallet::Unopened => [0; 3],
            };
            let accounts = [
                (LedgerAccount::Available(owner), available, 1),
                (LedgerAccount::Held(owner), held, 1),
                (LedgerAccount::Receivable(owner), owed, -1),
            ];
            for (account, in_wallet, sign) in accounts {
                let posted = sign * self.balance(&account, currency);
                if in_wallet != posted || posted < 0 {
                    self.broken.push(format!(
                        "{account} is {in_wallet} in the wallet and {posted} in the books at {position}"
                    ));
                }
            }
        }
        for &(owner, subscription) in &touched.subscriptions {
            let faults = self.faults_of_subscription(owner, subscription);
            self.broken.extend(faults.into_iter().map(|what| format!("{what} at {position}")));
        }
        for order in &touched.orders {
            let faults = self.faults_of(*order);
            self.broken.extend(faults.into_iter().map(|what| format!("{what} at {position}")));
        }
    }

    /// What a period has cost is deferred while it goes on, and nothing otherwise.
    fn faults_of_subscription(&self, owner: AccountId, id: SubscriptionId) -> Vec<String> {
        let paid = match self.replica.get::<Subscription>(owner) {
            Subscription::Active(running) if running.subscription == id => Some(running.terms.price),
            Subscription::None | Subscription::Active(_) | Subscription::InGrace { .. } => None,
        };
        let mut faults = Vec::new();
        for &currency in &self.currencies {
            let deferred = self.balance(&LedgerAccount::DeferredRevenue(id), currency);
            let expected = paid.filter(|paid| paid.currency() == currency).map_or(0, Money::minor);
            if deferred != expected {
                faults.push(format!("deferred-revenue:{id} is {deferred} {currency} instead of {expected}"));
            }
        }
        faults
    }

    /// What is wrong with an order, its money and its pieces.
    fn faults_of(&self, id: OrderId) -> Vec<String> {
        let (order, escrow) = (self.replica.get::<Order>(id), self.replica.get::<Escrow>(id));
        if let Ok(order) = order.placed()
            && !order.terms.payment.is_escrow()
        {
            return self.faults_in_cash(id, order);
        }
        let (Ok(order), Ok(escrow)) = (order.placed(), escrow.opened()) else {
            return vec![format!("order {id} and its escrow are not both there")];
        };
        let mut faults = Vec::new();
        let (holds, taken) = match escrow.phase {
            Phase::Funded { .. } | Phase::Inspection { .. } | Phase::Disputed { .. } => (true, 0),
            Phase::ChargedBack { amount, .. } => (true, amount.minor()),
            Phase::AwaitingPayment | Phase::Voided | Phase::Released { .. } | Phase::Refunded | Phase::Split => {
                (false, 0)
            }
        };
        let (held, owing) = (
            self.balance(&LedgerAccount::Escrow(id), escrow.terms.amount.currency()),
            if holds { escrow.remaining().minor() - taken } else { 0 },
        );
        if held != owing {
            faults.push(format!("escrow:{id} holds {held} instead of {owing}"));
        }
        let rests = order.stage.has_ended() || order.stage == Stage::Placed;
        if rests == holds {
            faults.push(format!("order {id} is {} and its escrow {}", order.stage, escrow.status()));
        }
        faults.extend(self.fault_of_commission(id, escrow));
        faults.extend(self.faults_of_pieces(id, order));
        faults
    }

    /// Whoever earns with an order earns a share of what its seller keeps, once the seller has it, unless they are
    /// gone, and no more than the fee on it where that bounds it. Cents of a fee wander between lines, and a commission
    /// does not grow again with them.
    fn fault_of_commission(&self, id: OrderId, escrow: &Opened) -> Option<String> {
        let commission = self.replica.get::<Commission>(CommissionId::of(id));
        let earned = commission.earned()?;
        let due = earned.due(escrow.remaining(), escrow.fee().ok()?).ok()?.minor();
        let wander = i64::try_from(escrow.terms.lines.len()).ok()? - 1;
        let gone = self.replica.get::<Account>(earned.promise.affiliate).registered().is_err();
        let expected = match (escrow.status(), commission) {
            (Status::AwaitingPayment | Status::Voided, _)
            | (Status::Released | Status::Split, Commission::Pending(_)) => 0..=0,
            // What was paid out before they left is gone too.
            (_, Commission::Vested(_)) if gone => due - wander..=i64::MAX,
            _ => due - wander..=due,
        };
        let wrong = !expected.contains(&earned.amount.minor()) || escrow.terms.commission != Some(earned.promise);
        wrong.then(|| format!("{commission:?} is earned with order {id}, instead of {expected:?}"))
    }

    /// What is paid at the door moves no money here.
    fn faults_in_cash(&self, id: OrderId, order: &Placed) -> Vec<String> {
        let mut faults = self.faults_of_pieces(id, order);
        if self.replica.get::<Escrow>(id).opened().is_ok() {
            faults.push(format!("order {id} is paid in cash, and has an escrow"));
        }
        faults
    }

    /// Pieces are kept for an order that waits, and for no other.
    fn faults_of_pieces(&self, id: OrderId, order: &Placed) -> Vec<String> {
        let mut faults = Vec::new();
        for line in order.terms.lines.iter().filter(|_| order.terms.origin.auction().is_none()) {
            let reserved = self.replica.get::<Stock>(line.listing).reserved;
            let kept = reserved.get(&id).and_then(|pieces| pieces.get(&line.sku)).copied();
            let expected = (order.stage == Stage::Placed).then_some(line.quantity);
            if kept != expected {
                let stage = order.stage;
                faults
                    .push(format!("{kept:?} pieces instead of {expected:?} are kept for order {id}, which is {stage}"));
            }
        }
        faults
    }

    fn balance(&self, account: &LedgerAccount, currency: Currency) -> i64 {
        self.balances.get(&(account.clone(), currency)).copied().unwrap_or_default()
    }
}
