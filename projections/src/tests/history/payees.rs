//! How people are paid out, in random histories. What goes out goes out elsewhere: this is what guards and plans it.

use domain::merchant;
use domain::payee::{self, Limits, Plan, Schedule};
use domain::wallet::{self, PaymentMethod};
use domain::{AccountId, MerchantId, MethodId, Money};
use rand::Rng;
use rand::seq::IndexedRandom;

use super::{CURRENCIES, History, method};

/// So many methods there are to be added, so that some are added again.
const METHODS: u128 = 6;

impl History {
    /// Now and then somebody changes how they are paid out, or is.
    pub(super) fn keep_payees(&mut self) {
        std::mem::swap(&mut self.random, &mut self.random_of_payees);
        if self.random.random_bool(0.01) {
            self.send_back();
        }
        if self.random.random_bool(0.06) {
            let owner = self.anybody();
            // Nobody who is forgotten has a key to seal with.
            if self.accounts.state(owner).registered().is_ok() {
                if self.random.random_bool(0.2) { self.keep_merchant(owner) } else { self.keep_payee(owner) }
            }
        }
        std::mem::swap(&mut self.random, &mut self.random_of_payees);
    }

    /// A bank sends back what was paid out to it.
    fn send_back(&mut self) {
        if self.paid_out.is_empty() {
            return;
        }
        let index = self.random.random_range(0..self.paid_out.len());
        let (wallet, withdrawal, amount) = self.paid_out.swap_remove(index);
        let (provider, reason) = (method().provider, self.text().to_owned());
        self.wallet(wallet, wallet::Command::ReturnWithdrawal { withdrawal, amount, provider, reason });
        self.commit();
    }

    fn keep_payee(&mut self, owner: AccountId) {
        use payee::Command as C;
        let (now, number) = (self.now, self.random.random_range(0..METHODS));
        let method = MethodId(uuid::Uuid::from_u128(owner.0.as_u128() ^ (number << 64)));
        let at = PaymentMethod { provider: "sandbox".to_owned(), token: format!("tok_{number}") };
        let currency = *CURRENCIES.choose(&mut self.random).unwrap();
        let most = Money::new(1_000, currency).unwrap();
        let limits = Limits { most_per_day: Some(most), ..Limits::default() };
        let command = match self.random.random_range(0..16) {
            0..5 => {
                let label = self.text();
                C::Add { owner, method, at, label: self.people[&owner.0].seal(label), now }
            }
            5 | 6 => C::Remove { method },
            7 => C::NoteAccessChange { now },
            8 => C::SendOut { amount: Money::new(400, currency).unwrap(), to: at, now, limits },
            9..12 => {
                let schedule = if self.random.random() { Schedule::OnRelease } else { Schedule::Weekly };
                C::Plan { currency, plan: Plan { schedule, method }, now }
            }
            12 => C::EndPlan { currency },
            13 => C::NoteSale { currency, now },
            14 => C::NotePayout { currency, again_at: None, now },
            // A week later.
            _ => C::NotePayout { currency, again_at: Some(now + payee::WEEK), now: now + payee::WEEK },
        };
        self.payee(owner, command);
        self.commit();
    }

    fn keep_merchant(&mut self, account: AccountId) {
        use merchant::Command as C;
        let (provider, reference) = ("stripe".to_owned(), format!("acct_{account}"));
        let (id, now) = (MerchantId::of(&provider, &reference), self.now);
        let payouts = self.random.random_bool(0.6);
        let command = match self.random.random_range(0..4) {
            0 => C::Onboard { account, provider: provider.clone(), reference: reference.clone(), now },
            1 => C::Notice { payouts, now },
            _ => C::Report { payouts, due: vec!["a\0b".to_owned(), self.text().to_owned()], now },
        };
        let event_id = self.id();
        if self.merchants.execute(&mut self.unit, now, event_id, id, command).is_some() {
            let at = PaymentMethod { provider: provider.clone(), token: reference.clone() };
            let payouts = self.merchants.state(id).known().is_ok_and(|known| known.payouts);
            self.payee(account, payee::Command::Link { provider, reference });
            self.payee(account, payee::Command::SetMerchant { merchant: id, at, payouts, now });
        }
        self.commit();
    }

    fn payee(&mut self, id: AccountId, command: payee::Command) -> Option<Vec<payee::Event>> {
        let event_id = self.id();
        self.payees.execute(&mut self.unit, self.now, event_id, id, command)
    }
}
