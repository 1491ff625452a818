//! Subscriptions in random histories. Those who subscribe are accounts of their own, of whom nothing else is asked.

use chrono::TimeDelta;
use domain::plan::{self, Definition, FREE, Terms};
use domain::subscription::{self, EndCause, Event, Outlook, Subscription};
use domain::wallet::{self, Wallet};
use domain::{AccountId, Currency, DepositId, ListingId, Money, PlanId, SubscriptionId, WalletId, seller};
use rand::Rng;
use rand::seq::IndexedRandom;
use uuid::Uuid;

use super::{CURRENCIES, History, method};

const PLANS: [&str; 3] = ["silver", "gold", "pro"];
/// Why the staff say what they say.
const REASON: &str = "Others ask less.";

impl History {
    /// Now and then the staff define a plan, somebody subscribes or pays, or a period ends.
    pub(super) fn keep_subscriptions(&mut self) {
        std::mem::swap(&mut self.random, &mut self.random_of_subscriptions);
        if self.random.random_bool(0.08) {
            self.keep_subscription();
            self.commit();
        }
        std::mem::swap(&mut self.random, &mut self.random_of_subscriptions);
    }

    fn keep_subscription(&mut self) {
        let known: Vec<Uuid> = self.subscribing.iter().copied().collect();
        let chosen = known.choose(&mut self.random).copied().map(AccountId);
        match (self.random.random_range(0..40), chosen) {
            (0..3, _) | (_, None) => {
                let account = self.register();
                self.subscribing.insert(account.0);
            }
            (3..6, _) => self.define_plan(),
            (6..12, Some(account)) => self.change_offers(account),
            (12..18, Some(account)) => self.fund(account),
            (18..27, Some(account)) => self.subscribe(account),
            (27, Some(account)) => {
                self.subscription(account, subscription::Command::Cancel { subscription: None });
            }
            (28..31, Some(account)) => {
                let now = self.time_of(account).map(|ends_at| ends_at - TimeDelta::days(2));
                self.subscription(account, subscription::Command::Remind { now: now.unwrap_or(self.now) });
            }
            (31..38, Some(account)) => self.end_period(account),
            (_, Some(account)) => self.erase(account),
        }
    }

    fn define_plan(&mut self) {
        let slug = if self.random.random_bool(0.3) { FREE } else { PLANS.choose(&mut self.random).unwrap() };
        let terms = self.terms(CURRENCIES[0]);
        let definition = Definition {
            slug: slug.to_owned(),
            name: self.text().to_owned(),
            prices: if slug == FREE { vec![] } else { vec![terms.price] },
            period_days: terms.period_days,
            fee_bps: terms.fee_bps,
            listings: terms.listings,
            features: terms.features,
            sort_order: self.random.random_range(-2..3),
            retired: slug != FREE && self.random.random_bool(0.2),
        };
        let (by, event_id) = (self.anybody(), self.id());
        let reason = self.people[&by.0].seal(REASON);
        let define = plan::Command::Define { definition, by, reason };
        self.plans.execute(&mut self.unit, self.now, event_id, PlanId::of(slug), define);
    }

    fn terms(&mut self, currency: Currency) -> Terms {
        Terms {
            plan: (*PLANS.choose(&mut self.random).unwrap()).to_owned(),
            name: self.text().to_owned(),
            price: Money::new(self.random.random_range(1..5_000), currency).unwrap(),
            period_days: self.random.random_range(7..60),
            fee_bps: self.random.random_bool(0.7).then(|| self.random.random_range(0..500)),
            listings: self.random.random_bool(0.7).then(|| self.random.random_range(0..500)),
            features: vec![self.text().to_owned()],
        }
    }

    fn change_offers(&mut self, account: AccountId) {
        let listing = ListingId(Uuid::from_u128(self.random.random_range(1..6)));
        let command = match self.random.random_range(0..7) {
            0..4 => seller::Command::Offer { listing, most: Some(4) },
            4..6 => seller::Command::Withdraw { listing },
            _ => {
                let by = self.anybody();
                let reason = self.people[&by.0].seal(REASON);
                let fee_bps = self.random.random_bool(0.7).then(|| self.random.random_range(0..500));
                seller::Command::AgreeFee { fee_bps, by, reason }
            }
        };
        let event_id = self.id();
        self.sellers.execute(&mut self.unit, self.now, event_id, account, command);
    }

    fn fund(&mut self, owner: AccountId) {
        let amount = self.amount();
        let (id, deposit) = (WalletId::of(owner, amount.currency()), DepositId(self.id()));
        let source = method();
        self.wallet(id, wallet::Command::RequestDeposit { deposit, owner, amount, source });
        let provider_reference = format!("ref {deposit}");
        self.wallet(id, wallet::Command::SettleDeposit { deposit, provider_reference });
    }

    /// Whoever has enough buys, or goes over to another plan.
    fn subscribe(&mut self, owner: AccountId) {
        let currency = *CURRENCIES.choose(&mut self.random).unwrap();
        let mut terms = self.terms(currency);
        if let Some(running) = self.subscriptions.state(owner).running()
            && self.random.random_bool(0.2)
        {
            terms = running.terms.clone();
        }
        if let Subscription::InGrace { running, .. } = self.subscriptions.state(owner)
            && let Some(due) = running.renews_under()
            && due.plan == terms.plan
        {
            // Which is what is charged then.
            terms = due.clone();
        }
        let (subscription, now) = (SubscriptionId(self.id()), self.now);
        if self.can_pay(owner, &terms) {
            self.subscription(owner, subscription::Command::Purchase { owner, subscription, terms, now });
        }
    }

    fn can_pay(&self, owner: AccountId, terms: &Terms) -> bool {
        match self.wallets.state(WalletId::of(owner, terms.price.currency())) {
            Wallet::Open(balance) => balance.available.minor() >= terms.price.minor(),
            Wallet::Unopened => false,
        }
    }

    /// When the period of an account ends, or when it is tried again to be paid.
    fn time_of(&self, account: AccountId) -> Option<domain::Timestamp> {
        match self.subscriptions.state(account) {
            Subscription::None => None,
            Subscription::Active(running) => Some(running.period.ends_at),
            Subscription::InGrace { retry_at, .. } => Some(retry_at),
        }
    }

    /// As if so much time had passed: the history goes on for hours only.
    fn end_period(&mut self, account: AccountId) {
        let Some(now) = self.time_of(account) else { return };
        let due = self.subscriptions.state(account).running().and_then(|running| running.renews_under().cloned());
        let outlook = match due {
            Some(_) if self.random.random_bool(0.1) => Outlook::Barred(EndCause::PlanRetired),
            Some(terms) if self.can_pay(account, &terms) => Outlook::Payable,
            _ => Outlook::Unpayable,
        };
        self.subscription(account, subscription::Command::Renew { outlook, now });
    }

    /// The wallet follows in the same commit.
    fn subscription(&mut self, owner: AccountId, command: subscription::Command) {
        let event_id = self.id();
        let events = self.subscriptions.execute(&mut self.unit, self.now, event_id, owner, command);
        for charge in events.unwrap_or_default().iter().filter_map(Event::charge) {
            let subscription::Charge { subscription, period, amount } = charge;
            if amount.is_positive() {
                let id = WalletId::of(owner, amount.currency());
                let paid = self.wallet(id, wallet::Command::PaySubscription { subscription, period, amount });
                assert!(paid.is_some(), "somebody subscribes who cannot pay");
            }
        }
    }
}
