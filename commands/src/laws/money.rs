//! What holds of all money together, whatever is paid, bought, sent out, given back and disputed in whatever order, while
//! providers fail, take their time and refuse, answers are lost, and webhooks come twice, out of order or never: the
//! books balance after every commit, no balance is below zero, every operation has its effect once, and when all is over
//! nothing is on its way any more and the books say of the provider what the provider says itself.
//!
//! Nothing here is kept apart by keys, but for the provider's messages, which the engine takes in once by their names:
//! whatever else comes twice, and whatever is said twice under two names, must not count twice by itself.

use domain::charge::{self, Charge, Refunding, Requested};
use domain::order::Confirmation;
use domain::store::{About, PaymentPreference};
use domain::{ChargeId, ClaimId, MethodId, WithdrawalId};
use eventstore::sealing::PersonKey;
use eventstore::wrapping::Wrapping;
use prop::sample::Index;

use super::*;
use crate::guests::{self, GuestOrder};
use crate::payments::notices;
use crate::payouts as sending;
use crate::stores;
use crate::timers::Kind;

pub(super) mod provider;

use provider::{Fate, Kind as Moving, Line, Provider, Question};

pub(super) const BANK: &str = "bank";
/// A provider that cannot be asked is asked again after so long.
const AGAIN_AFTER: TimeDelta = TimeDelta::minutes(5);
/// After so long everything has ended by itself, whatever it is.
const ALL_OVER_DAYS: i64 = 420;

pub(super) fn card() -> PaymentMethod {
    PaymentMethod { provider: BANK.to_owned(), token: "card".to_owned() }
}

fn store_of(seller: AccountId) -> ClaimId {
    ClaimId(Uuid::new_v5(&seller.0, b"store"))
}

/// A store that takes what its guests like.
fn store(owner: AccountId) -> About {
    let sealed = || Sealed::from_ciphertext(owner, "sealed".to_owned());
    About {
        slug: sealed(),
        claim: store_of(owner),
        brand_name: sealed(),
        biography: None,
        logo: None,
        business_address: None,
        whatsapp: None,
        instagram: None,
        facebook: None,
        payment_preference: PaymentPreference::Any,
    }
}

/// What a provider is asked about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Asked {
    Charge(ChargeId),
    Refund(ChargeId, RefundId),
    Withdrawal(WalletId, WithdrawalId),
}

/// A marketplace in memory, a provider, and what is on its way between them.
struct Town {
    market: Market,
    provider: Provider,
    /// What the process has read in the log and not asked yet.
    heard: Vec<Asked>,
    /// Answers on their way.
    answers: Vec<(Asked, Uuid, Outcome)>,
    /// How the next checks of timers fare.
    lines: Vec<Line>,
    /// Messages of the provider that were taken in, by their names: the engine takes none in twice.
    taken: BTreeSet<String>,
    /// Everything that has had an effect: what kind, of which operation.
    effects: BTreeSet<(&'static str, Uuid)>,
    /// What the provider's account held in the books before this provider came.
    before: i64,
}

impl Town {
    fn open() -> Self {
        let mut market = Market::with_plans();
        for seller in SELLERS {
            market.submit(|world| stores::open(world, seller, &store(seller))).unwrap();
        }
        for owner in OWNERS {
            let (method, label) = (MethodId(market.mint()), Sealed::from_ciphertext(owner, "sealed".to_owned()));
            market.submit(|world| sending::add_method(world, owner, method, &card(), &label)).unwrap();
        }
        // Money goes only to what was kept for a while.
        market.advance(market.now + TimeDelta::days(1));
        market.news.clear();
        let before = clearing(&market);
        Self {
            market,
            provider: Provider::default(),
            heard: Vec::new(),
            answers: Vec::new(),
            lines: Vec::new(),
            taken: BTreeSet::new(),
            effects: BTreeSet::new(),
            before,
        }
    }

    /// Carries something out, and looks at everything that must hold after every commit. What the rules refuse leaves no
    /// trace, which the next look shows.
    fn submit(&mut self, decide: impl FnMut(&mut World<'_>) -> Result<(), Halt>) -> Result<(), Refusal> {
        let outcome = self.market.submit(decide);
        self.listen();
        self.check();
        outcome
    }

    /// The process reads the log: whatever is to be asked of the provider. And nothing has an effect twice.
    fn listen(&mut self) {
        for event in std::mem::take(&mut self.market.news) {
            if let Some((what, operation)) = effect(&event) {
                assert!(self.effects.insert((what, operation)), "{what} twice: {operation}");
            }
            self.heard.extend(asking(&event));
        }
    }

    /// Asks the provider about something that the process has read in the log, if it has not been asked; `again` if the
    /// process forgets that it has, as after a crash. A provider that cannot be asked is asked again by a timer.
    fn ask(&mut self, at: usize, fate: Fate, line: Line, again: bool) {
        let about = if again { self.heard[at] } else { self.heard.remove(at) };
        let Some((question, None)) = self.question(about) else { return };
        let now = self.market.now;
        let outcome = self.provider.ask(&question, fate, line, now);
        let outcome = outcome.unwrap_or(Outcome::Pending { reference: None, check_at: now + AGAIN_AFTER });
        self.answers.push((about, question.operation, outcome));
    }

    /// What is asked, if its end is not known, and when the provider has wanted to be asked again.
    fn question(&mut self, about: Asked) -> Option<(Question, Option<Timestamp>)> {
        let question = |kind, operation, amount, charge| Question { kind, operation, amount, charge };
        match about {
            Asked::Charge(charge) => {
                let known = self.market.state::<Charge>(charge);
                let Requested { terms, phase, .. } = known.requested().unwrap();
                let charge::Phase::Open { check_at, .. } = phase else { return None };
                Some((question(Moving::Charge, charge.0, terms.amount, None), *check_at))
            }
            Asked::Refund(charge, refund) => {
                let known = self.market.state::<Charge>(charge);
                let Requested { phase, refunds, .. } = known.requested().unwrap();
                let asked = &refunds[&refund];
                let Refunding::Asked { check_at, .. } = asked.state else { return None };
                let of = phase.reference().map(str::to_owned);
                Some((question(Moving::Refund, refund.operation(asked.attempt), asked.amount, of), check_at))
            }
            Asked::Withdrawal(wallet, withdrawal) => {
                let Wallet::Open(balance) = self.market.state::<Wallet>(wallet) else { return None };
                let asked = balance.pending_withdrawal(withdrawal)?;
                Some((question(Moving::Payout, withdrawal.0, asked.amount, None), asked.check_at))
            }
        }
    }

    /// An answer arrives; `again` if it is reported once more later.
    fn arrive(&mut self, at: usize, again: bool) {
        let (about, operation, outcome) = if again { self.answers[at].clone() } else { self.answers.remove(at) };
        self.report(about, operation, &outcome);
    }

    fn report(&mut self, about: Asked, operation: Uuid, outcome: &Outcome) {
        // Too late, it is refused.
        let _ = self.submit(|world| match about {
            Asked::Charge(charge) => charges::report(world, charge, outcome.clone()),
            Asked::Refund(charge, refund) => charges::report_refund(world, charge, refund, operation, outcome.clone()),
            Asked::Withdrawal(wallet, withdrawal) => {
                let outcome = outcome.clone().not_before(world.now() + TimeDelta::seconds(1));
                sending::report(world, wallet, withdrawal, outcome)
            }
        });
    }

    /// A message of the provider arrives, perhaps not for the first time. What is refused, the provider sends again.
    fn hear(&mut self, at: usize) {
        let notice = self.provider.said[at].notice.clone();
        if self.taken.contains(&notice.id) {
            return;
        }
        if self.submit(|world| notices::take(world, BANK, &notice)).is_ok() {
            self.taken.insert(notice.id);
        }
    }

    /// Lets time pass; every timer fires at its own time. Whoever has asked has its answer before, or never.
    fn advance(&mut self, to: Timestamp) {
        while to > self.market.now && !self.answers.is_empty() {
            self.arrive(0, false);
        }
        while let Some((name, due_at)) = self.market.next_due(to) {
            self.market.now = self.market.now.max(due_at);
            let (kind, id, subject) = name;
            let about = match kind {
                Kind::ChargeCheck => Some(Asked::Charge(ChargeId(id))),
                Kind::RefundCheck => Some(Asked::Refund(ChargeId(id), RefundId(subject))),
                Kind::WithdrawalCheck => Some(Asked::Withdrawal(WalletId(id), WithdrawalId(subject))),
                _ => None,
            };
            if let Some(about) = about {
                self.ask_again(name, about);
            } else {
                let outcome = self.submit(kind.decision(id, subject, &timer_rules()));
                assert!(outcome.is_ok(), "{name:?} is refused at its time: {outcome:?}");
            }
            assert_ne!(self.market.timers.get(&name), Some(&due_at), "{name:?} has fired and is still due");
        }
        self.market.now = to;
    }

    /// A timer asks again. If that cannot be, the same timer tries again a little later.
    fn ask_again(&mut self, name: Name, about: Asked) {
        let (question, _) =
            self.question(about).unwrap_or_else(|| panic!("{about:?} has ended and is still asked about"));
        let line = self.lines.pop().unwrap_or(Line::Clear);
        match self.provider.ask(&question, Fate::Done, line, self.market.now) {
            Ok(outcome) => self.report(about, question.operation, &outcome),
            Err(_) => drop(self.market.timers.insert(name, self.market.now + AGAIN_AFTER)),
        }
    }

    /// What must hold after every commit.
    fn check(&mut self) {
        self.market.check();
        signs(&self.market);
    }

    /// Everything that is on its way gets there, and what the provider insists on is heard at last.
    fn settle(&mut self) {
        while !self.heard.is_empty() || !self.answers.is_empty() {
            if !self.heard.is_empty() {
                self.ask(0, Fate::Done, Line::Clear, false);
            }
            if !self.answers.is_empty() {
                self.arrive(0, false);
            }
        }
        // The last first: none may need another before it.
        for at in (0..self.provider.said.len()).rev() {
            if self.provider.said[at].insists {
                self.hear(at);
            }
        }
    }

    /// Left alone, everything comes to its end.
    fn end(&mut self) {
        let open: Vec<Uuid> = self.provider.movements.keys().copied().collect();
        for operation in open {
            self.provider.go_on(operation, true, self.market.now);
            self.provider.decide(operation, operation.as_u128().is_multiple_of(2), self.market.now);
        }
        for _ in 0..ALL_OVER_DAYS {
            self.settle();
            self.advance(self.market.now + TimeDelta::days(1));
        }
        self.settle();
    }
}

impl Town {
    fn charges(&self) -> Vec<ChargeId> {
        let requested = self.effects.iter().filter(|(what, _)| *what == "charge requested");
        requested.map(|(_, charge)| ChargeId(*charge)).collect()
    }
}

/// No account of the books is on the wrong side. Market looks at the trial balance, wallets, escrows, stock and points.
pub(super) fn signs(market: &Market) {
    for (account, minor) in &market.books {
        let may_be = match account {
            LedgerAccount::ProviderClearing(_)
            | LedgerAccount::FeeIncome
            | LedgerAccount::MarketingExpense
            | LedgerAccount::AffiliateExpense
            | LedgerAccount::SubscriptionIncome
            | LedgerAccount::ProviderFeeExpense
            | LedgerAccount::ChargebackExpense => true,
            LedgerAccount::Receivable(_) => *minor <= 0,
            LedgerAccount::Available(_)
            | LedgerAccount::Held(_)
            | LedgerAccount::PayoutPending(_)
            | LedgerAccount::Escrow(_)
            | LedgerAccount::AffiliatePending(_)
            | LedgerAccount::DeferredRevenue(_)
            | LedgerAccount::Unapplied(_)
            | LedgerAccount::RefundPending(_) => *minor >= 0,
        };
        assert!(may_be, "{account} is {minor}");
    }
}

/// What the books say that the provider holds.
pub(super) fn clearing(market: &Market) -> i64 {
    let accounts = market.books.iter().filter(|(account, _)| matches!(account, LedgerAccount::ProviderClearing(_)));
    -accounts.map(|(_, minor)| minor).sum::<i64>()
}

/// What an event has the process ask the provider.
fn asking(event: &DomainEvent) -> Option<Asked> {
    use domain::charge::Event as C;
    match event {
        DomainEvent::Charge(charge, C::ChargeRequested { .. }) => Some(Asked::Charge(*charge)),
        DomainEvent::Charge(
            charge,
            C::ChargeRefundRequested { refund, .. } | C::ChargeRefundRetried { refund, .. },
        ) => Some(Asked::Refund(*charge, *refund)),
        DomainEvent::Wallet(wallet, wallet::Event::WithdrawalRequested { withdrawal, .. }) => {
            Some(Asked::Withdrawal(*wallet, *withdrawal))
        }
        _ => None,
    }
}

/// What an event has brought about, and of which operation: the same never again.
pub(super) fn effect(event: &DomainEvent) -> Option<(&'static str, Uuid)> {
    use domain::charge::Event as C;
    use domain::escrow::Event as E;
    use wallet::Event as W;
    Some(match event {
        DomainEvent::Charge(charge, event) => match event {
            C::ChargeRequested { .. } => ("charge requested", charge.0),
            C::ChargeSucceeded { .. } => ("charge", charge.0),
            C::ChargeRefundRequested { refund, .. } => ("refund to a card requested", refund.0),
            C::ChargeRefundRetried { refund, attempt } => ("refund to a card retried", refund.operation(*attempt)),
            C::ChargeDisputed { dispute, .. } => ("dispute", dispute.0),
            C::ChargeDisputeWon { dispute, .. } => ("dispute won", dispute.0),
            _ => return None,
        },
        DomainEvent::Wallet(_, event) => match event {
            W::DepositRequested { deposit, .. } => ("deposit requested", deposit.0),
            W::DepositSettled { deposit, .. } | W::DepositFailed { deposit, .. } => ("deposit ended", deposit.0),
            W::WithdrawalRequested { withdrawal, .. } => ("withdrawal requested", withdrawal.0),
            W::WithdrawalPaid { withdrawal, .. } => ("withdrawal paid", withdrawal.0),
            W::WithdrawalFailed { withdrawal, .. } => ("withdrawal failed", withdrawal.0),
            W::WithdrawalReturned { withdrawal, .. } => ("withdrawal returned", withdrawal.0),
            W::PaymentMade { order, .. } => ("payment", order.0),
            W::SaleReceived { order, .. } => ("sale", order.0),
            W::RefundReceived { refund, .. } => ("refund received", refund.0),
            W::SubscriptionPaid { period, .. } => ("period paid", period.0),
            W::CommissionReceived { commission, .. } => ("commission", commission.0),
            _ => return None,
        },
        DomainEvent::Escrow(order, event) => match event {
            E::EscrowFunded { .. } => ("funding", order.0),
            E::EscrowReleased { .. } | E::EscrowRefunded { .. } | E::EscrowSplit { .. } => ("end of escrow", order.0),
            E::EscrowChargedBack { dispute, .. } => ("chargeback", Uuid::new_v5(&dispute.0, order.0.as_bytes())),
            E::EscrowPartlyRefunded { refund, .. } | E::ReleaseRefunded { refund, .. } => ("refund", refund.0),
            _ => return None,
        },
        _ => return None,
    })
}

/// Something that somebody does, or that happens to a provider.
#[derive(Clone, Debug)]
enum Deed {
    /// What is bought and sold, paid from wallets, given back and disputed among the parties.
    Trade(Act),
    /// Who, how much.
    Deposit(usize, i64),
    /// Who, and how much of a thousand of what there is.
    Withdraw(usize, i64),
    Subscribe,
    /// Which order is paid by card.
    PayByCard(Index),
    /// A guest orders one thing, so much of it, and pays by card.
    Guest(usize, u32),
    /// Which question, and whether it is asked once more later.
    Ask(Index, Fate, Line, bool),
    /// Which answer, and whether it is reported once more later.
    Arrive(Index, bool),
    /// Which message.
    Hear(Index),
    /// Which movement ends, and whether well.
    GoOn(Index, bool),
    SendBack(Index),
    Dispute(Index),
    /// Of which movement the dispute ends, and whether it is won.
    Decide(Index, bool),
}

fn any_fate() -> impl Strategy<Value = Fate> {
    prop_oneof![4 => Just(Fate::Done), 1 => Just(Fate::Refused), 2 => Just(Fate::Asks), 2 => Just(Fate::Waits)]
}

pub(super) fn any_line() -> impl Strategy<Value = Line> {
    prop_oneof![5 => Just(Line::Clear), 1 => Just(Line::Dead), 2 => Just(Line::Breaks)]
}

/// What is done, after how many hours, and how the timers' questions fare until then.
fn any_deed() -> impl Strategy<Value = (Deed, i64, Vec<Line>)> {
    let which = any::<Index>;
    // Whoever funds a wallet here asks the provider for it.
    let trade = any_act().prop_filter("it is a deposit", |act| act.kind != FUND);
    let deed = prop_oneof![
        12 => trade.prop_map(Deed::Trade),
        3 => (0..OWNERS.len(), 1..20_000_i64).prop_map(|(who, minor)| Deed::Deposit(who, minor)),
        3 => (0..OWNERS.len(), 1..=1_000_i64).prop_map(|(who, permille)| Deed::Withdraw(who, permille)),
        1 => Just(Deed::Subscribe),
        6 => which().prop_map(Deed::PayByCard),
        4 => (0..STOCK.len(), 1..3_u32).prop_map(|(number, quantity)| Deed::Guest(number, quantity)),
        10 => (which(), any_fate(), any_line(), prop::bool::weighted(0.2))
            .prop_map(|(which, fate, line, again)| Deed::Ask(which, fate, line, again)),
        10 => (which(), prop::bool::weighted(0.2)).prop_map(|(which, again)| Deed::Arrive(which, again)),
        8 => which().prop_map(Deed::Hear),
        4 => (which(), any::<bool>()).prop_map(|(which, well)| Deed::GoOn(which, well)),
        1 => which().prop_map(Deed::SendBack),
        2 => which().prop_map(Deed::Dispute),
        2 => (which(), any::<bool>()).prop_map(|(which, won)| Deed::Decide(which, won)),
    ];
    let wait_hours = prop_oneof![8 => Just(0_i64), 4 => 1..30_i64, 1 => 30..400_i64];
    (deed, wait_hours, prop::collection::vec(any_line(), 0..4))
}

impl Deed {
    fn perform(&self, town: &mut Town) {
        match self {
            Self::Trade(act) => {
                let _ = act.perform(&mut town.market);
                town.listen();
                town.check();
            }
            Self::Deposit(who, minor) => {
                let (owner, deposit) = (OWNERS[*who], DepositId(town.market.mint()));
                let _ = town.submit(|world| charges::request_deposit(world, owner, deposit, usd(*minor), card()));
            }
            Self::Withdraw(who, permille) => {
                let (owner, withdrawal) = (OWNERS[*who], WithdrawalId(town.market.mint()));
                let _ = town.submit(|world| {
                    let available = wallets::available(world, owner, Currency::USD)?.minor();
                    let amount = usd((available * permille / 1_000).clamp(1, 2_500));
                    sending::request(world, owner, withdrawal, amount, &card(), &payouts::rules())
                });
            }
            Self::Subscribe => {
                let _ = town.market.buy("bronze");
                town.listen();
                town.check();
            }
            Self::PayByCard(which) => {
                if let Some(at) = one_of(town.market.orders.len(), *which) {
                    let order = town.market.orders[at];
                    let payer = town.market.state::<Order>(order).placed().unwrap().terms.buyer;
                    let _ = town.submit(|world| charges::request_payment(world, payer, order, card()).map(drop));
                }
            }
            Self::Guest(number, quantity) => {
                let order = town.guest_order(*number, *quantity);
                let _ = town.submit(|world| guests::place_by_card(world, &order, card(), RULES).map(drop));
            }
            Self::Ask(which, fate, line, again) => {
                if let Some(at) = one_of(town.heard.len(), *which) {
                    town.ask(at, *fate, *line, *again);
                }
            }
            Self::Arrive(which, again) => {
                if let Some(at) = one_of(town.answers.len(), *which) {
                    town.arrive(at, *again);
                }
            }
            Self::Hear(which) => {
                if let Some(at) = one_of(town.provider.said.len(), *which) {
                    town.hear(at);
                }
            }
            Self::GoOn(which, well) => town.at_provider(*which, |provider, of, now| provider.go_on(of, *well, now)),
            Self::SendBack(which) => town.at_provider(*which, Provider::send_back),
            Self::Dispute(which) => town.at_provider(*which, Provider::dispute),
            Self::Decide(which, won) => town.at_provider(*which, |provider, of, now| provider.decide(of, *won, now)),
        }
    }
}

fn one_of(count: usize, which: Index) -> Option<usize> {
    (count > 0).then(|| which.index(count))
}

impl Town {
    fn guest_order(&mut self, number: usize, quantity: u32) -> GuestOrder {
        let guest = AccountId(self.market.mint());
        let sealed = || Sealed::from_ciphertext(guest, "sealed".to_owned());
        GuestOrder {
            store: store_of(SELLERS[number % 2]),
            order: OrderId(self.market.mint()),
            guest,
            key: Wrapping::default().wrap(&PersonKey::mint(guest)),
            contact: sealed(),
            ship_to: sealed(),
            confirmation: Confirmation::Phone,
            lines: vec![CartLine { listing: listing_id(number), sku: Sku::default(), quantity }],
        }
    }

    fn at_provider(&mut self, which: Index, act: impl FnOnce(&mut Provider, Uuid, Timestamp)) {
        let there: Vec<Uuid> = self.provider.movements.keys().copied().collect();
        if !there.is_empty() {
            act(&mut self.provider, *which.get(&there), self.market.now);
        }
    }
}

proptest! {
    #[test]
    fn all_money_is_where_the_books_say_and_the_provider_agrees_when_all_is_over(
        deeds in prop::collection::vec(any_deed(), 1..80),
    ) {
        let mut town = Town::open();
        for (deed, wait_hours, lines) in deeds {
            town.lines = lines;
            town.advance(town.market.now + TimeDelta::hours(wait_hours));
            deed.perform(&mut town);
        }
        town.end();
        // What a card's bank has refused for the last time stays where it is, for its owner.
        let mut stranded = BTreeMap::<LedgerAccount, i64>::new();
        for charge in town.charges() {
            for refund in town.market.state::<Charge>(charge).requested().unwrap().refunds.values() {
                let waits = matches!(refund.state, Refunding::Asked { .. } | Refunding::Failed { retry_at: Some(_) });
                prop_assert!(!waits, "{refund:?} waits after all");
                if let Refunding::Failed { .. } = refund.state {
                    let account = refund.order.map_or(LedgerAccount::Unapplied(charge), |_| LedgerAccount::RefundPending(charge));
                    *stranded.entry(account).or_default() += refund.amount.minor();
                }
            }
        }
        for (account, minor) in &town.market.books {
            let expected = match account {
                LedgerAccount::PayoutPending(_) | LedgerAccount::Escrow(_) => 0,
                LedgerAccount::Unapplied(_) | LedgerAccount::RefundPending(_) => {
                    stranded.get(account).copied().unwrap_or(0)
                }
                _ => *minor,
            };
            prop_assert_eq!(*minor, expected, "{} after all", account);
        }
        let holds = town.before + town.provider.holds();
        prop_assert_eq!(clearing(&town.market), holds, "{:#?} {:#?}", town.provider, town.market.books);
    }
}
