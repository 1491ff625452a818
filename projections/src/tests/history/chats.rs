//! Chats in random histories.

use domain::chat::{self, Chat, Subject, Terms};
use domain::contacts;
use domain::{AccountId, ChatId, ListingId, MessageId, OrderId};
use rand::Rng;
use rand::seq::IndexedRandom;
use uuid::Uuid;

use super::{History, happened};

impl History {
    /// Now and then somebody talks to somebody.
    pub(super) fn talk(&mut self) {
        std::mem::swap(&mut self.random, &mut self.random_of_chats);
        if self.random.random_bool(0.1) {
            match self.random.random_range(0..10) {
                0..2 => self.open_chat(),
                2..7 => self.write(),
                _ => self.read(),
            }
            self.commit();
        }
        std::mem::swap(&mut self.random, &mut self.random_of_chats);
    }

    fn open_chat(&mut self) {
        let (buyer, seller) = (self.anybody(), self.anybody());
        let about = match self.orders.0.keys().next().copied().filter(|_| self.random.random_bool(0.3)) {
            Some(order) => Subject::Order(OrderId(order)),
            None => Subject::Listing(ListingId(self.id())),
        };
        let terms = Terms { buyer, seller, about };
        let (chat, by) = (terms.chat(), if self.random.random() { buyer } else { seller });
        if self.is_there(by) && happened(self.chat(chat, chat::Command::Open { terms, by })) {
            let (event_id, now) = (self.id(), self.now);
            let begin = contacts::Command::Begin { chat, now };
            self.contacts.execute(&mut self.unit, now, event_id, by, begin);
        }
    }

    fn write(&mut self) {
        let Some((chat, author)) = self.any_party() else { return };
        if self.is_there(author) {
            let (message, now, text) = (MessageId(self.id()), self.now, self.text());
            let text = self.people[&author.0].seal(text);
            self.chat(chat, chat::Command::Send { message, author, text, now });
        }
    }

    fn read(&mut self) {
        let Some((chat, reader)) = self.any_party() else { return };
        let upto = if self.random.random_bool(0.5) { u64::MAX } else { self.random.random_range(0..20) };
        if self.is_there(reader) {
            self.chat(chat, chat::Command::Read { reader, upto });
        }
    }

    fn any_party(&mut self) -> Option<(ChatId, AccountId)> {
        let open = self.chats.0.iter().filter_map(|(id, (chat, _))| match chat {
            Chat::Open(chat) => Some((*id, chat.terms)),
            Chat::Absent => None,
        });
        let chats: Vec<(Uuid, Terms)> = open.collect();
        let &(chat, terms) = chats.choose(&mut self.random)?;
        Some((ChatId(chat), if self.random.random() { terms.buyer } else { terms.seller }))
    }

    fn is_there(&self, account: AccountId) -> bool {
        self.accounts.state(account).registered().is_ok()
    }

    fn chat(&mut self, id: ChatId, command: chat::Command) -> Option<Vec<chat::Event>> {
        let event_id = self.id();
        self.chats.execute(&mut self.unit, self.now, event_id, id, command)
    }
}
