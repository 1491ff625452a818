//! Affiliates in random histories. They are accounts of their own, of whom nothing else is asked.

use chrono::TimeDelta;
use domain::commission::{self, Promise};
use domain::referral::{self, Referral, Source};
use domain::referral_click::{self, ReferralClick};
use domain::wallet::{self, Wallet};
use domain::{AccountId, ClaimId, CommissionId, HoldId, Money, OrderId, ReferralClickId, RefundId, WalletId};
use domain::{affiliate, escrow};
use rand::Rng;
use rand::seq::IndexedRandom;
use uuid::Uuid;

use super::{CURRENCIES, History};

impl History {
    /// Does something with the generator of affiliates.
    fn as_affiliates<T>(&mut self, work: impl FnOnce(&mut Self) -> T) -> T {
        std::mem::swap(&mut self.random, &mut self.random_of_affiliates);
        let done = work(self);
        std::mem::swap(&mut self.random, &mut self.random_of_affiliates);
        done
    }

    /// Now and then somebody enrols, somebody clicks, or an affiliate spends what it has or leaves.
    pub(super) fn keep_affiliates(&mut self) {
        self.as_affiliates(|history| {
            if history.random.random_bool(0.06) {
                history.keep_affiliate();
                history.commit();
            }
        });
    }

    fn keep_affiliate(&mut self) {
        let known: Vec<Uuid> = self.affiliates.0.keys().copied().collect();
        let chosen = known.choose(&mut self.random).copied().map(AccountId);
        match (self.random.random_range(0..30), chosen) {
            (0..4, _) | (_, None) => self.enrol(),
            (4..24, Some(affiliate)) => self.click(affiliate),
            (24..29, Some(affiliate)) => {
                let currency = *CURRENCIES.choose(&mut self.random).unwrap();
                let id = WalletId::of(affiliate, currency);
                let Wallet::Open(balance) = self.wallets.state(id) else { return };
                let (hold, amount) = (HoldId(self.id()), balance.available);
                self.wallet(id, wallet::Command::PlaceHold { hold, amount });
            }
            (_, Some(affiliate)) => self.erase(affiliate),
        }
    }

    fn enrol(&mut self) {
        let owner = self.register();
        self.affiliated.insert(owner.0);
        let (claim, event_id) = (ClaimId(self.id()), self.id());
        let code = self.people[&owner.0].seal(&format!("CODE{}", self.affiliated.len()));
        let enrol = affiliate::Command::Enrol { owner, code, claim };
        self.affiliates.execute(&mut self.unit, self.now, event_id, owner, enrol);
    }

    /// Somebody clicks, who may be logged in or may be so later.
    fn click(&mut self, affiliate: AccountId) {
        let (new, event_id, now) = (ReferralClickId(self.id()), self.id(), self.now);
        let is_theirs = |click: ReferralClick| match click {
            ReferralClick::Absent => false,
            ReferralClick::Counted { affiliate: of, .. } => of == affiliate,
        };
        // Some come again.
        let known = self.clicks.0.iter().find(|(_, (click, _))| is_theirs(*click)).map(|(id, _)| ReferralClickId(*id));
        let click = known.filter(|_| self.random.random_bool(0.2)).unwrap_or(new);
        let count = referral_click::Command::Count { affiliate, now };
        self.clicks.execute(&mut self.unit, now, event_id, click, count);
        if self.random.random_bool(0.7) {
            let (account, event_id) = (self.anybody(), self.id());
            let ReferralClick::Counted { affiliate, at: clicked_at, .. } = self.clicks.state(click) else { return };
            let follow = referral::Command::Follow { source: Source { affiliate, click, clicked_at } };
            self.referrals.execute(&mut self.unit, now, event_id, account, follow);
        }
    }

    /// Who earns with what somebody buys now.
    pub(super) fn promise(&self, buyer: AccountId) -> Option<Promise> {
        let Source { affiliate, click, clicked_at } = Referral::source(self.referrals.state(buyer))?;
        let in_time = self.now < clicked_at + TimeDelta::days(30);
        in_time.then_some(Promise { affiliate, click, rate_bps: 500, within_fee: false })
    }

    /// Lets the commission of an order, and its affiliate's wallet, follow what its escrow has done.
    pub(super) fn settle_commission(&mut self, order: OrderId, event: &escrow::Event) -> Option<()> {
        let opened = self.opened(order)?;
        let Some(promise) = opened.terms.commission else { return Some(()) };
        self.as_affiliates(|history| history.earn_or_give_back(order, promise, &opened, event))
    }

    fn earn_or_give_back(
        &mut self,
        order: OrderId,
        promise: Promise,
        opened: &escrow::Opened,
        event: &escrow::Event,
    ) -> Option<()> {
        use commission::Command as C;
        let (base, somebody) = (opened.terms.amount, self.is_somebody(promise.affiliate));
        let vest = if somebody { C::Vest {} } else { C::Forgo {} };
        match event {
            escrow::Event::EscrowFunded { .. } if somebody => {
                let fee = opened.fee().unwrap();
                self.commission(order, promise.affiliate, C::Accrue { order, promise, base, fee })
            }
            escrow::Event::EscrowReleased { .. } => self.commission(order, promise.affiliate, vest),
            escrow::Event::EscrowSplit { .. } => {
                self.give_commission_back(opened, promise.affiliate, RefundId(order.0))?;
                self.commission(order, promise.affiliate, vest)
            }
            escrow::Event::EscrowPartlyRefunded { refund, .. }
            | escrow::Event::EscrowRefunded { refund, .. }
            | escrow::Event::ReleaseRefunded { refund, .. } => {
                self.give_commission_back(opened, promise.affiliate, *refund)
            }
            _ => Some(()),
        }
    }

    fn is_somebody(&self, account: AccountId) -> bool {
        self.accounts.state(account).registered().is_ok()
    }

    fn give_commission_back(&mut self, opened: &escrow::Opened, affiliate: AccountId, refund: RefundId) -> Option<()> {
        let (left, fee, can_owe) = (opened.remaining(), opened.fee().unwrap(), self.is_somebody(affiliate));
        let available = match self.wallets.state(WalletId::of(affiliate, left.currency())) {
            Wallet::Unopened => Money::zero(left.currency()),
            Wallet::Open(balance) => balance.available,
        };
        let reverse = commission::Command::Reverse { refund, left, fee, available, can_owe };
        self.commission(opened.terms.order, affiliate, reverse)
    }

    fn commission(&mut self, order: OrderId, owner: AccountId, command: commission::Command) -> Option<()> {
        let (commission, event_id) = (CommissionId::of(order), self.id());
        for event in self.commissions.execute(&mut self.unit, self.now, event_id, commission, command)? {
            let (amount, command) = match event {
                commission::Event::CommissionVested { amount, .. } => {
                    (amount, wallet::Command::ReceiveCommission { owner, commission, amount })
                }
                commission::Event::VestedCommissionReversed { refund, from_available: amount, owed, .. } => {
                    (amount, wallet::Command::GiveCommission { owner, commission, refund, amount, owed })
                }
                commission::Event::CommissionAccrued { .. } | commission::Event::CommissionReversed { .. } => continue,
            };
            self.wallet(WalletId::of(owner, amount.currency()), command)?;
        }
        Some(())
    }
}
