//! What people have read and want to hear of, and what the staff says, in random histories.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use domain::account::Capability;
use domain::notice::{Addressee, Channels, Kind, Words};
use domain::{AccountId, BroadcastId, NotificationId, broadcast, inbox};
use eventstore::telling::Contexts;
use rand::Rng;
use rand::seq::IndexedRandom;
use uuid::Uuid;

use super::{History, read_back};

/// Who was told what so far.
#[derive(Default)]
pub(super) struct Heard {
    contexts: Contexts,
    /// How many units have been heard.
    units: usize,
    told: Vec<(Addressee, NotificationId)>,
}

impl History {
    /// Now and then somebody reads what they were told, or wants to be told otherwise; or the staff says something.
    pub(super) fn tell_people(&mut self) {
        std::mem::swap(&mut self.random, &mut self.random_of_inboxes);
        if self.random.random_bool(0.1) {
            self.hear();
        }
        std::mem::swap(&mut self.random, &mut self.random_of_inboxes);
    }

    fn hear(&mut self) {
        let id = self.anybody();
        // As the write side does it: who is forgotten says nothing.
        if self.accounts.state(id).registered().is_err() {
            return;
        }
        let now = self.now;
        let command = match self.random.random_range(0..10) {
            0..4 => inbox::Command::Read { notification: self.told(id), now },
            4..6 => inbox::Command::ReadAll { now },
            6..8 => {
                let kind = *Kind::ALL.choose(&mut self.random).unwrap();
                let [in_app, live, email] = [(); 3].map(|()| self.random.random_bool(0.5));
                let wanted = kind.told(Channels { in_app, live, email });
                inbox::Command::Prefer { preferences: BTreeMap::from([(kind, wanted)]) }
            }
            // As if its time had come.
            8 => inbox::Command::CleanUp { now: now + inbox::READ_KEPT_FOR + TimeDelta::days(2) },
            _ => return self.announce(id),
        };
        let event_id = self.id();
        self.inboxes.execute(&mut self.unit, now, event_id, id, command);
        self.commit();
    }

    /// Something that somebody was told, or several; something that never was, if there is nothing.
    fn told(&mut self, id: AccountId) -> NotificationId {
        for event in self.units[self.heard.units..].iter().flat_map(|unit| &unit.events) {
            let recorded = read_back(0, event);
            let told = self.heard.contexts.take(&recorded.event).into_iter();
            self.heard.told.extend(told.map(|told| (told.to, told.id(recorded.event_id))));
        }
        self.heard.units = self.units.len();
        let theirs = |to| !matches!(to, Addressee::Account(account) if account != id);
        let told: Vec<NotificationId> =
            self.heard.told.iter().filter(|(to, _)| theirs(*to)).map(|(_, notification)| *notification).collect();
        told.choose(&mut self.random).copied().unwrap_or(NotificationId(Uuid::nil()))
    }

    fn announce(&mut self, by: AccountId) {
        let (id, now) = (BroadcastId(self.id()), self.now);
        let (title, body) = ("Tonight".to_owned(), "We are away.\n\nFor an hour.".to_owned());
        let capability = *Capability::ALL.choose(&mut self.random).unwrap();
        let choice = self.random.random_range(0..3);
        let key = &self.people[&by.0];
        let (to, words) = match choice {
            0 => (Addressee::Everybody, Words::Open { title, body }),
            1 => (Addressee::Holders(capability), Words::Open { title, body }),
            _ => (Addressee::Account(by), Words::Sealed { title: key.seal(&title), body: key.seal(&body) }),
        };
        let send = broadcast::Command::Send { to, words, by, reason: key.seal("They should know."), now };
        let event_id = self.id();
        self.broadcasts.execute(&mut self.unit, now, event_id, id, send);
        let known: Vec<Uuid> = self.broadcasts.0.keys().copied().collect();
        if let Some(old) = known.choose(&mut self.random) {
            // As if its time had come.
            let withdraw = broadcast::Command::Withdraw { now: now + broadcast::SHOWN_FOR };
            let event_id = self.id();
            self.broadcasts.execute(&mut self.unit, now, event_id, BroadcastId(*old), withdraw);
        }
        self.commit();
    }
}
