//! What is paid by card in random histories: charges with their refunds and disputes, and the orders and deposits that they
//! pay. Of sellers, buyers and guests of their own, of whom nothing else is asked; so nobody else's history knows of it.

use chrono::TimeDelta;
use domain::account::{self, Capability, Identity};
use domain::charge::{self, Bearer, Charge, Part, Phase, Purpose, Refunding, Requested, Share};
use domain::escrow::{self, CardPayment, Escrow, RefundCause, ReleaseCause, Source, Status};
use domain::fees::FeeLine;
use domain::listing::Delivery;
use domain::order::{self, CancelCause, Confirmation, Guest, Line, Order, Origin, Payment, Stage, Witness};
use domain::order_group::{self, OrderGroup};
use domain::stock::Sku;
use domain::wallet::{self, Wallet};
use domain::{AccountId, ChargeId, DepositId, DisputeId, ListingId, Money, OrderGroupId, OrderId, RefundId, WalletId};
use rand::Rng;
use rand::seq::IndexedRandom;
use uuid::Uuid;

use super::{History, Streams, Unit, method};

const FEE_BPS: u32 = 500;

/// Everything that cards pay, and whose it is.
#[derive(Clone)]
pub(super) struct Cards {
    sellers: Vec<AccountId>,
    buyers: Vec<AccountId>,
    charges: Streams<Charge>,
    escrows: Streams<Escrow>,
    groups: Streams<OrderGroup>,
    orders: Streams<Order>,
    wallets: Streams<Wallet>,
}

impl Cards {
    pub(super) fn new() -> Self {
        Self {
            sellers: Vec::new(),
            buyers: Vec::new(),
            charges: Streams([].into()),
            escrows: Streams([].into()),
            groups: Streams([].into()),
            orders: Streams([].into()),
            wallets: Streams([].into()),
        }
    }

    /// Whether somebody is here for this alone.
    pub(super) fn knows(&self, account: &Uuid) -> bool {
        self.sellers.iter().chain(&self.buyers).any(|known| known.0 == *account)
    }

    fn charge(&self, charge: ChargeId) -> Option<Requested> {
        self.charges.state(charge).requested().ok().cloned()
    }

    fn escrow(&self, order: OrderId) -> Option<escrow::Opened> {
        self.escrows.state(order).opened().ok().cloned()
    }

    fn stage(&self, order: OrderId) -> Option<Stage> {
        self.orders.state(order).placed().ok().map(|placed| placed.stage)
    }

    fn available(&self, owner: AccountId, like: Money) -> Money {
        match self.wallets.state(WalletId::of(owner, like.currency())) {
            Wallet::Open(balance) => balance.available,
            Wallet::Unopened => Money::zero(like.currency()),
        }
    }
}

impl History {
    /// How many escrows there are for what cards pay.
    pub(crate) fn escrows_for_cards(&self) -> usize {
        self.cards.escrows.0.values().filter(|(_, version)| *version > 0).count()
    }

    /// Now and then something happens to what cards pay.
    pub(super) fn keep_cards(&mut self) {
        std::mem::swap(&mut self.random, &mut self.random_of_cards);
        if self.random.random_bool(0.2) {
            let before = self.cards.clone();
            if self.keep_card().is_none() {
                self.cards = before;
                self.unit = Unit::default();
            }
            // Nothing of it is done by staff, whose doings are drawn unit by unit.
            let unit = std::mem::take(&mut self.unit);
            if !unit.events.is_empty() {
                self.units.push(unit);
            }
        }
        std::mem::swap(&mut self.random, &mut self.random_of_cards);
    }

    fn keep_card(&mut self) -> Option<()> {
        if self.cards.buyers.len() < 2 {
            self.join_for_cards();
            return Some(());
        }
        match self.random.random_range(0..20) {
            0..3 => self.order_by_card(),
            3..6 => self.ask_card(),
            6..11 => self.hear_of_charge(),
            11 => self.bring_in_by_card(),
            12..14 => self.hear_of_refund(),
            14..16 => self.hear_of_dispute(),
            16 => self.expire_by_card(),
            _ => self.go_on_by_card(),
        }
    }

    fn join_for_cards(&mut self) {
        for sells in [true, false] {
            let account = AccountId(self.id());
            let key = self.introduce(account);
            let name = format!("card {account}");
            let identity = Identity {
                email: key.seal(&format!("{account}@example.com")),
                user_name: key.seal(&name),
                password_hash: Some(key.seal("hash")),
            };
            let capabilities = [Capability::Sell, Capability::Buy].into();
            self.account(account, account::Command::Register { account, identity, capabilities });
            if sells { self.cards.sellers.push(account) } else { self.cards.buyers.push(account) }
        }
    }

    fn order_by_card(&mut self) -> Option<()> {
        let is_guest = self.random.random_bool(0.5);
        let known = *self.cards.buyers.choose(&mut self.random)?;
        let buyer = if is_guest { AccountId(self.id()) } else { known };
        let key = if is_guest { self.introduce(buyer) } else { self.people[&buyer.0].clone() };
        let (group, pay_by) = (OrderGroupId(self.id()), self.now + TimeDelta::minutes(15));
        let sellers = if is_guest { self.cards.sellers[..1].to_vec() } else { self.cards.sellers.clone() };
        let price = self.amount();
        let mut orders = Vec::new();
        for seller in sellers {
            let (order, listing) = (OrderId(self.id()), ListingId(self.id()));
            let line = Line {
                listing,
                sku: Sku::default(),
                title: self.text().to_owned(),
                quantity: 1,
                unit_price: price,
                shipping: Money::zero(price.currency()),
                fee_bps: FEE_BPS,
            };
            let guest = is_guest.then(|| Guest { contact: key.seal(self.text()), confirmation: Confirmation::Email });
            let terms = order::Terms {
                group,
                buyer,
                seller,
                origin: if is_guest { Origin::Storefront } else { Origin::Checkout },
                lines: vec![line],
                delivery: Delivery::Physical,
                ship_to: Some(key.seal(self.text())),
                payment: Payment::Escrow,
                guest,
            };
            self.card_order(order, order::Command::Place { terms })?;
            let terms = escrow::Terms {
                order,
                buyer,
                seller,
                lines: vec![FeeLine { gross: price, fee_bps: FEE_BPS }],
                amount: price,
                inspection_s: 86_400,
                points_per_unit: 0,
                redeemed: None,
                commission: None,
            };
            self.card_escrow(order, escrow::Command::Open { terms })?;
            orders.push(order);
        }
        self.card_group(group, order_group::Command::Place { buyer, orders, pay_by }).map(drop)
    }

    /// The groups that wait.
    fn waiting_for_cards(&self) -> Vec<(OrderGroupId, order_group::Placed)> {
        let waits = |(id, (group, _)): (&Uuid, &(OrderGroup, u64))| match group {
            OrderGroup::AwaitingPayment(placed) => Some((OrderGroupId(*id), placed.clone())),
            OrderGroup::Unplaced | OrderGroup::Paid(_) | OrderGroup::Expired(_) => None,
        };
        self.cards.groups.0.iter().filter_map(waits).collect()
    }

    fn ask_card(&mut self) -> Option<()> {
        let (group, placed) = self.waiting_for_cards().choose(&mut self.random)?.clone();
        let attempts = (1..=charge::MOST_CHARGES).map(|attempt| ChargeId::of_group(group, attempt));
        let charge = attempts.into_iter().find(|charge| self.cards.charge(*charge).is_none())?;
        let dues = placed.orders.iter().map(|order| self.cards.escrow(*order).map(|escrow| escrow.terms.due()));
        let amount = dues.collect::<Option<Vec<_>>>()?.into_iter().reduce(|sum, due| sum.plus(due).unwrap())?;
        let guest = !self.cards.buyers.contains(&placed.buyer);
        let (payer, purpose, method) = (placed.buyer, Purpose::Orders(group), method());
        let terms = charge::Terms { charge, payer, guest, purpose, amount, method, requested_at: self.now };
        self.card_charge(charge, charge::Command::Request { terms }).map(drop)
    }

    fn bring_in_by_card(&mut self) -> Option<()> {
        let (payer, amount, method) = (*self.cards.buyers.choose(&mut self.random)?, self.amount(), method());
        let (deposit, wallet) = (DepositId(self.id()), WalletId::of(payer, amount.currency()));
        let source = method.clone();
        let request = wallet::Command::RequestDeposit { deposit, owner: payer, amount, source };
        self.card_wallet(wallet, request)?;
        let charge = ChargeId::from(deposit);
        let purpose = Purpose::Deposit(wallet);
        let terms = charge::Terms { charge, payer, guest: false, purpose, amount, method, requested_at: self.now };
        self.card_charge(charge, charge::Command::Request { terms }).map(drop)
    }

    fn any_charge(&mut self) -> Option<(ChargeId, Requested)> {
        let charges: Vec<Uuid> = self.cards.charges.0.keys().copied().collect();
        let charge = ChargeId(*charges.choose(&mut self.random)?);
        Some((charge, self.cards.charge(charge)?))
    }

    fn hear_of_charge(&mut self) -> Option<()> {
        let (charge, requested) = self.any_charge()?;
        let (reference, check_at) = (format!("pi {charge}"), self.now + TimeDelta::minutes(1));
        let fee = Money::new(self.random.random_range(1..50), requested.terms.amount.currency()).ok();
        match (&requested.phase, self.random.random_range(0..10)) {
            (Phase::Open { .. }, 0) => {
                self.card_charge(charge, charge::Command::Delay { reference: Some(reference), check_at }).map(drop)
            }
            (Phase::Open { .. }, 1) => {
                self.card_charge(charge, charge::Command::AwaitAction { reference, check_at }).map(drop)
            }
            (Phase::Open { .. }, 2) => {
                let reason = self.text().to_owned();
                self.card_charge(charge, charge::Command::Fail { reason: reason.clone() })?;
                match requested.terms.purpose {
                    Purpose::Deposit(wallet) => {
                        let deposit = DepositId::from(charge);
                        self.card_wallet(wallet, wallet::Command::FailDeposit { deposit, reason }).map(drop)
                    }
                    Purpose::Orders(_) => Some(()),
                }
            }
            // What was declined may be paid all the same, and what has nothing to pay comes too late.
            (Phase::Open { .. }, _) | (Phase::Failed { .. }, 0..3) => {
                let fee = fee.filter(|_| self.random.random_bool(0.5));
                self.succeed_by_card(charge, &requested, reference, fee)
            }
            (Phase::Succeeded { fee_known: false, .. }, _) => {
                self.card_charge(charge, charge::Command::NoteFee { fee: fee? }).map(drop)
            }
            (Phase::Failed { .. } | Phase::Succeeded { .. }, _) => None,
        }
    }

    fn succeed_by_card(
        &mut self,
        charge: ChargeId,
        requested: &Requested,
        reference: String,
        fee: Option<Money>,
    ) -> Option<()> {
        let (terms, now) = (&requested.terms, self.now);
        match terms.purpose {
            Purpose::Deposit(wallet) => {
                let deposit = DepositId::from(charge);
                let Wallet::Open(balance) = self.cards.wallets.state(wallet) else { return None };
                let waits = balance.pending_deposit(deposit).is_some();
                let applied = waits.then_some(Part { order: None, amount: terms.amount }).into_iter().collect();
                let provider_reference = reference.clone();
                self.card_charge(charge, charge::Command::Succeed { reference, fee, applied })?;
                if waits {
                    let settle = wallet::Command::SettleDeposit { deposit, provider_reference };
                    self.card_wallet(wallet, settle)?;
                }
            }
            Purpose::Orders(group) => {
                let waits = match self.cards.groups.state(group) {
                    OrderGroup::AwaitingPayment(placed) if now < placed.pay_by => placed.orders,
                    OrderGroup::AwaitingPayment(_)
                    | OrderGroup::Unplaced
                    | OrderGroup::Paid(_)
                    | OrderGroup::Expired(_) => Vec::new(),
                };
                let due = |order: &OrderId| self.cards.escrow(*order).map(|escrow| escrow.terms.due());
                let part = |order: &OrderId| Some(Part { order: Some(*order), amount: due(order)? });
                let applied = waits.iter().map(part).collect::<Option<Vec<_>>>()?;
                self.card_charge(charge, charge::Command::Succeed { reference, fee, applied })?;
                if !waits.is_empty() {
                    self.card_group(group, order_group::Command::Pay { now })?;
                }
                for order in waits {
                    let provider = terms.method.provider.clone();
                    let card = CardPayment { charge, provider, refunded_to_card: terms.guest };
                    self.card_escrow(order, escrow::Command::Fund { source: Source::Card(card), now })?;
                    self.card_order(order, order::Command::Pay {})?;
                }
            }
        }
        Some(())
    }

    fn expire_by_card(&mut self) -> Option<()> {
        let (group, placed) = self.waiting_for_cards().choose(&mut self.random)?.clone();
        let now = self.now;
        self.card_group(group, order_group::Command::Expire { now })?;
        for order in placed.orders {
            self.card_order(order, order::Command::Cancel { cause: CancelCause::NotPaid, now })?;
            self.card_escrow(order, escrow::Command::Void {})?;
        }
        Some(())
    }

    fn hear_of_refund(&mut self) -> Option<()> {
        let refunds = self.cards.charges.0.iter().flat_map(|(charge, (state, _))| {
            let refunds = state.requested().into_iter().flat_map(|requested| requested.refunds.clone());
            refunds.map(move |(refund, known)| (ChargeId(*charge), refund, known.state))
        });
        let refunds: Vec<(ChargeId, RefundId, Refunding)> = refunds.collect();
        let (charge, refund, state) = refunds.choose(&mut self.random)?.clone();
        let (reference, now, reason) = (format!("re {refund}"), self.now, self.text().to_owned());
        let command = match (state, self.random.random_range(0..6)) {
            (Refunding::Asked { .. }, 0) => {
                let check_at = now + TimeDelta::minutes(1);
                charge::Command::DelayRefund { refund, reference: Some(reference), check_at }
            }
            (Refunding::Asked { .. }, 1) | (Refunding::Refunded { .. }, 0) => {
                charge::Command::FailRefund { refund, reason, now }
            }
            (Refunding::Asked { .. }, _) | (Refunding::TakenBack, 0) => {
                charge::Command::ConfirmRefund { refund, reference }
            }
            (Refunding::Failed { .. }, _) => charge::Command::RetryRefund { refund, now },
            (Refunding::Refunded { .. } | Refunding::TakenBack, _) => return None,
        };
        self.card_charge(charge, command).map(drop)
    }

    /// A payer disputes, or the bank decides.
    fn hear_of_dispute(&mut self) -> Option<()> {
        let (charge, requested) = self.any_charge()?;
        let Phase::Succeeded { applied, .. } = &requested.phase else { return None };
        let open = requested.disputes.iter().find(|(_, dispute)| matches!(dispute, charge::Dispute::Open { .. }));
        let Some((dispute, _)) = open else {
            let name = format!("dp {charge} {}", requested.disputes.len());
            let dispute = DisputeId::of("sandbox", &name);
            let waiting = requested.refunds_on_their_way(None);
            let waiting =
                waiting.map(|(refund, amount)| Share { order: None, amount, bearer: Bearer::Refund { refund } });
            let shares = applied.iter().filter_map(|part| self.share(&requested, part));
            let shares: Vec<Share> = shares.chain(waiting).collect();
            let amount = shares.iter().map(|share| share.amount).reduce(|sum, share| sum.plus(share).unwrap())?;
            let reason = "fraudulent".to_owned();
            let open = charge::Command::OpenDispute { dispute, name, amount, reason, shares: shares.clone() };
            self.card_charge(charge, open)?;
            return self.bear(dispute, &shares);
        };
        let (dispute, now) = (*dispute, self.now);
        if self.random.random_bool(0.5) {
            return self.win_back(charge, dispute, &requested);
        }
        self.card_charge(charge, charge::Command::LoseDispute { dispute })?;
        for order in applied.iter().filter_map(|part| part.order) {
            let sent = self.cards.stage(order)? != Stage::Paid;
            self.card_escrow(order, escrow::Command::SettleChargeback { dispute, sent, now })?;
            self.close_by_card(order)?;
        }
        Some(())
    }

    /// Who bears what a part of a charge has paid.
    fn share(&self, requested: &Requested, part: &Part) -> Option<Share> {
        let Part { order, amount } = *part;
        let zero = Money::zero(amount.currency());
        let Some(id) = order else {
            let owner = requested.terms.payer;
            let available = self.cards.available(owner, amount).min(amount).ok()?;
            let owed = amount.minus(available).ok()?;
            return Some(Share { order, amount, bearer: Bearer::Account { owner, available, owed } });
        };
        let escrow = self.cards.escrow(id)?;
        let (held, kept) = (escrow.held(), escrow.remaining());
        match escrow.status() {
            Status::Funded | Status::Inspection | Status::Disputed if held.is_positive() => {
                Some(Share { order, amount: held, bearer: Bearer::Escrow })
            }
            Status::Released | Status::Split if kept.is_positive() => {
                let bearer = Bearer::Account { owner: escrow.terms.seller, available: zero, owed: kept };
                Some(Share { order, amount: kept, bearer })
            }
            Status::Refunded => {
                let waiting = requested.refunds_on_their_way(order).next();
                let waiting = waiting.map(|(refund, amount)| (amount, Bearer::Refund { refund }));
                let (amount, bearer) = waiting.unwrap_or((amount, Bearer::Marketplace));
                Some(Share { order, amount, bearer })
            }
            Status::AwaitingPayment
            | Status::Funded
            | Status::Inspection
            | Status::Disputed
            | Status::ChargedBack
            | Status::Voided
            | Status::Released
            | Status::Split => None,
        }
    }

    fn bear(&mut self, dispute: DisputeId, shares: &[Share]) -> Option<()> {
        for Share { order, amount, bearer } in shares {
            match *bearer {
                Bearer::Escrow => {
                    self.card_escrow((*order)?, escrow::Command::ChargeBack { dispute, amount: *amount })?;
                }
                Bearer::Account { owner, available: amount, owed } => {
                    let give = wallet::Command::GiveChargeback { owner, dispute, amount, owed };
                    self.card_wallet(WalletId::of(owner, amount.currency()), give)?;
                }
                Bearer::Refund { .. } | Bearer::Marketplace => {}
            }
        }
        Some(())
    }

    fn win_back(&mut self, charge: ChargeId, dispute: DisputeId, requested: &Requested) -> Option<()> {
        let (currency, now) = (requested.terms.amount.currency(), self.now);
        let everybody = self.cards.sellers.iter().chain(&self.cards.buyers);
        let owes = everybody.filter_map(|owner| match self.cards.wallets.state(WalletId::of(*owner, currency)) {
            Wallet::Open(balance) => Some((*owner, balance.owed)),
            Wallet::Unopened => None,
        });
        let owing = owes.collect();
        for event in self.card_charge(charge, charge::Command::WinDispute { dispute, owing })? {
            let charge::Event::ChargeDisputeWon { shares, .. } = event else { continue };
            for Share { order, bearer, .. } in shares {
                match bearer {
                    Bearer::Escrow => {
                        let sent = self.cards.stage(order?)? != Stage::Paid;
                        self.card_escrow(order?, escrow::Command::ReturnChargeback { dispute, sent, now })?;
                    }
                    Bearer::Account { owner, available: amount, owed: forgiven } => {
                        let regain = wallet::Command::RegainChargeback { owner, dispute, amount, forgiven };
                        self.card_wallet(WalletId::of(owner, currency), regain)?;
                    }
                    Bearer::Refund { .. } | Bearer::Marketplace => {}
                }
            }
        }
        Some(())
    }

    /// Whatever may be done next with an order that a card has paid.
    fn go_on_by_card(&mut self) -> Option<()> {
        let orders: Vec<Uuid> = self.cards.escrows.0.keys().copied().collect();
        let order = OrderId(*orders.choose(&mut self.random)?);
        let (escrow, stage, now) = (self.cards.escrow(order)?, self.cards.stage(order)?, self.now);
        let refund = RefundId(self.id());
        let part =
            Money::new(self.random.random_range(1..=escrow.remaining().minor().max(1)), escrow.terms.amount.currency());
        let amount = part.ok().filter(|_| self.random.random_bool(0.7));
        let events = match (escrow.status(), stage, self.random.random_range(0..6)) {
            (Status::Funded, Stage::Paid, 0) => {
                let cause = CancelCause::Seller { reason: self.text().to_owned() };
                self.card_order(order, order::Command::Cancel { cause, now })?;
                let cause = RefundCause::Cancelled;
                self.card_escrow(order, escrow::Command::Refund { refund, amount: None, cause, now })?
            }
            (Status::Funded | Status::Inspection, _, 1) => {
                let cause = RefundCause::Seller;
                self.card_escrow(order, escrow::Command::Refund { refund, amount, cause, now })?
            }
            (Status::Funded | Status::Inspection, _, 2) => {
                let (by, reason) = (escrow::Disputant::Buyer, self.text().to_owned());
                self.card_escrow(order, escrow::Command::Dispute { by, reason, now })?
            }
            (Status::Funded, Stage::Paid, _) => {
                let carrier = self.text().to_owned();
                self.card_order(order, order::Command::Ship { carrier, tracking: None, now })?;
                return Some(());
            }
            (Status::Funded, Stage::Shipped, _) => {
                self.card_order(order, order::Command::Deliver { by: Witness::Buyer, now })?;
                self.card_escrow(order, escrow::Command::Inspect { now })?
            }
            (Status::Inspection, _, _) => {
                let cause = ReleaseCause::Confirmed;
                self.card_escrow(order, escrow::Command::Release { cause, now })?
            }
            (Status::Disputed, _, 0..3) => {
                self.card_escrow(order, escrow::Command::Split { to_buyer: amount?, by: escrow.terms.seller })?
            }
            (Status::Released, _, 0..3) => {
                let (cause, like) = (RefundCause::Seller, escrow.terms.amount);
                let seller_available = self.cards.available(escrow.terms.seller, like);
                let command = escrow::Command::RefundReleased { refund, amount, seller_available, cause };
                self.card_escrow(order, command)?
            }
            _ => return None,
        };
        self.settle_by_card(order, &events)?;
        let paid_out = |status: Status| matches!(status, Status::Released | Status::Split);
        if !paid_out(escrow.status()) && paid_out(self.cards.escrow(order)?.status()) {
            self.card_order(order, order::Command::Complete { now })?;
        }
        self.close_by_card(order)
    }

    fn close_by_card(&mut self, order: OrderId) -> Option<()> {
        let now = self.now;
        let all = !self.cards.escrow(order)?.remaining().is_positive();
        if all && self.cards.stage(order)? != Stage::Cancelled {
            self.card_order(order, order::Command::Refund { now })?;
        }
        Some(())
    }

    /// Lets the wallets, and the card of a guest, follow what an escrow has done.
    fn settle_by_card(&mut self, order: OrderId, events: &[escrow::Event]) -> Option<()> {
        let escrow::Opened { terms, card, .. } = self.cards.escrow(order)?;
        let (seller, currency) = (terms.seller, terms.amount.currency());
        for event in events {
            let (sold, back) = match event {
                escrow::Event::EscrowReleased { kept, fee, .. } => (Some(kept.minus(*fee).ok()?), None),
                escrow::Event::EscrowSplit { to_buyer, kept, fee, .. } => {
                    (Some(kept.minus(*fee).ok()?), Some((RefundId(order.0), *to_buyer)))
                }
                escrow::Event::EscrowPartlyRefunded { refund, amount, .. }
                | escrow::Event::EscrowRefunded { refund, amount, .. } => (None, Some((*refund, *amount))),
                escrow::Event::ReleaseRefunded { refund, amount, from_available, owed, .. } => {
                    let (refund, given, owed) = (*refund, *from_available, *owed);
                    let give = wallet::Command::GiveRefund { owner: seller, order, refund, amount: given, owed };
                    self.card_wallet(WalletId::of(seller, currency), give)?;
                    (None, Some((refund, *amount)))
                }
                _ => (None, None),
            };
            if let Some(amount) = sold.filter(|amount| amount.is_positive()) {
                let sale = wallet::Command::ReceiveSale { owner: seller, order, amount };
                self.card_wallet(WalletId::of(seller, currency), sale)?;
            }
            match (back, &card) {
                (Some((refund, amount)), Some(CardPayment { charge, refunded_to_card: true, .. })) => {
                    self.card_charge(*charge, charge::Command::Refund { refund, order, amount })?;
                }
                (Some((refund, amount)), _) => {
                    let receive = wallet::Command::ReceiveRefund { owner: terms.buyer, order, refund, amount };
                    self.card_wallet(WalletId::of(terms.buyer, currency), receive)?;
                }
                (None, _) => {}
            }
        }
        Some(())
    }

    fn card_charge(&mut self, id: ChargeId, command: charge::Command) -> Option<Vec<charge::Event>> {
        let event_id = self.id();
        self.cards.charges.execute(&mut self.unit, self.now, event_id, id, command)
    }

    fn card_escrow(&mut self, id: OrderId, command: escrow::Command) -> Option<Vec<escrow::Event>> {
        let event_id = self.id();
        self.cards.escrows.execute(&mut self.unit, self.now, event_id, id, command)
    }

    fn card_group(&mut self, id: OrderGroupId, command: order_group::Command) -> Option<Vec<order_group::Event>> {
        let event_id = self.id();
        self.cards.groups.execute(&mut self.unit, self.now, event_id, id, command)
    }

    fn card_order(&mut self, id: OrderId, command: order::Command) -> Option<Vec<order::Event>> {
        let event_id = self.id();
        self.cards.orders.execute(&mut self.unit, self.now, event_id, id, command)
    }

    fn card_wallet(&mut self, id: WalletId, command: wallet::Command) -> Option<Vec<wallet::Event>> {
        let event_id = self.id();
        self.cards.wallets.execute(&mut self.unit, self.now, event_id, id, command)
    }
}
