//! Stores in random histories.

use domain::store::{self, About, PaymentPreference, Ruling};
use domain::{AccountId, ClaimId};
use rand::Rng;

use super::History;

impl History {
    /// Now and then something happens to a store.
    pub(super) fn keep_stores(&mut self) {
        std::mem::swap(&mut self.random, &mut self.random_of_stores);
        if self.random.random_bool(0.02) {
            self.keep_store();
        }
        std::mem::swap(&mut self.random, &mut self.random_of_stores);
    }

    /// Somebody opens or changes a store, or staff decide something about it.
    fn keep_store(&mut self) {
        let owner = self.anybody();
        // Nobody who is forgotten has a key to seal with, nor a store that staff could find.
        if self.accounts.state(owner).registered().is_err() {
            return;
        }
        let (by, reason) = (self.anybody(), self.text());
        let ruling = Ruling { by, reason: self.people[&owner.0].seal(reason).into() };
        let command = match (self.random.random_range(0..12), self.stores.state(owner).opened().is_ok()) {
            (_, false) => store::Command::Open { owner, about: self.about(owner) },
            (0..4, true) => store::Command::Change { about: self.about(owner) },
            (4..6, true) => store::Command::Verify { ruling },
            (6, true) => store::Command::Unverify { ruling },
            (7, true) => store::Command::Suspend { ruling },
            (8..11, true) => store::Command::Reinstate { ruling },
            (_, true) => store::Command::Remove { ruling },
        };
        self.store(owner, command);
        self.commit();
    }

    fn store(&mut self, id: AccountId, command: store::Command) -> Option<Vec<store::Event>> {
        let event_id = self.id();
        self.stores.execute(&mut self.unit, self.now, event_id, id, command)
    }

    fn about(&mut self, owner: AccountId) -> About {
        let claim = ClaimId(self.id());
        let (brand, words) = (self.text(), self.text());
        let says = self.random.random_bool(0.6);
        let key = &self.people[&owner.0];
        let said = |text: &str| says.then(|| key.seal(text));
        About {
            slug: key.seal(&format!("slug-{claim}")),
            claim,
            brand_name: key.seal(brand),
            biography: said(words),
            logo: said("/media/logo.png"),
            business_address: said("1 Mall Road"),
            whatsapp: said("https://wa.me/1"),
            instagram: said("https://instagram.com/a"),
            facebook: said("https://facebook.com/a"),
            payment_preference: PaymentPreference::CashOnDelivery,
        }
    }
}
