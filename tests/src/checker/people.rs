//! The commands that events imply of what people do beside trading: addresses, favourites, chats, inboxes, referrals.

use domain::address_book::{self, AddressBook};
use domain::affiliate::{self, Affiliate};
use domain::broadcast::{self, Broadcast};
use domain::chat::{self, Chat};
use domain::contacts::{self, Contacts};
use domain::favorite::{self, Favorite};
use domain::inbox::{self, Inbox};
use domain::referral::{self, Referral};
use domain::referral_click::{self, ReferralClick};
use domain::view::{self, View};
use domain::{AccountId, Refusal, Timestamp};
use eventstore::event::DomainEvent;

use super::replica::Draft;

/// Carries the command out that has caused this event.
pub(super) fn carry_out_cause(draft: &mut Draft<'_>, event: &DomainEvent) -> Result<(), Refusal> {
    let now = draft.now();
    match event {
        DomainEvent::AddressBook(id, event) => {
            draft.execute::<AddressBook>(*id, of_address_book(*id, event.clone())).map(drop)
        }
        DomainEvent::Affiliate(id, affiliate::Event::AffiliateEnrolled { code, claim }) => {
            let (code, claim) = (code.clone(), *claim);
            draft.execute::<Affiliate>(*id, affiliate::Command::Enrol { owner: *id, code, claim }).map(drop)
        }
        DomainEvent::Broadcast(id, event) => {
            let command = match event.clone() {
                broadcast::Event::BroadcastSent { to, words, by, reason, until: _ } => {
                    broadcast::Command::Send { to, words, by, reason, now }
                }
                broadcast::Event::BroadcastWithdrawn {} => broadcast::Command::Withdraw { now },
            };
            draft.execute::<Broadcast>(*id, command).map(drop)
        }
        DomainEvent::Chat(id, event) => draft.execute::<Chat>(*id, of_chat(event.clone(), now)).map(drop),
        DomainEvent::Contacts(id, contacts::Event::ContactBegun { chat, at: _ }) => {
            draft.execute::<Contacts>(*id, contacts::Command::Begin { chat: *chat, now }).map(drop)
        }
        DomainEvent::Favorite(id, event) => {
            let command = match *event {
                favorite::Event::FavoriteAdded { account, listing } => favorite::Command::Add { account, listing },
                favorite::Event::FavoriteRemoved { account, listing } => favorite::Command::Remove { account, listing },
            };
            draft.execute::<Favorite>(*id, command).map(drop)
        }
        DomainEvent::Inbox(id, event) => {
            let command = match event.clone() {
                inbox::Event::NotificationRead { notification, at, .. } => {
                    inbox::Command::Read { notification, now: at }
                }
                inbox::Event::AllRead { at, .. } => inbox::Command::ReadAll { now: at },
                inbox::Event::PreferencesChanged { preferences } => inbox::Command::Prefer { preferences },
                inbox::Event::ReadCleanedUp { .. } => inbox::Command::CleanUp { now },
            };
            draft.execute::<Inbox>(*id, command).map(drop)
        }
        DomainEvent::Referral(id, referral::Event::AccountReferred { source }) => {
            draft.execute::<Referral>(*id, referral::Command::Follow { source: *source }).map(drop)
        }
        DomainEvent::ReferralClick(id, event) => {
            use referral_click::Event as E;
            let (E::ReferralClicked { affiliate, at: _ } | E::ReferralClickRepeated { affiliate, at: _ }) = *event;
            let count = referral_click::Command::Count { affiliate, now };
            draft.execute::<ReferralClick>(*id, count).map(drop)
        }
        DomainEvent::View(id, view::Event::ListingViewed { listing }) => {
            draft.execute::<View>(*id, view::Command::Count { listing: *listing }).map(drop)
        }
        // Nothing else is asked here.
        _ => Ok(()),
    }
}

fn of_address_book(owner: AccountId, event: address_book::Event) -> address_book::Command {
    use address_book::{Command as C, Event as E};
    match event {
        E::AddressAdded { address, entry, default } => C::Add { owner, address, entry, default },
        E::AddressChanged { address, changes } => C::Change { owner, address, changes },
        E::AddressRemoved { address, default: _ } => C::Remove { address },
        E::DefaultAddressChosen { address } => C::MakeDefault { address },
    }
}

fn of_chat(event: chat::Event, now: Timestamp) -> chat::Command {
    match event {
        chat::Event::ChatOpened { terms, by } => chat::Command::Open { terms, by },
        chat::Event::MessageSent { message, author, text, .. } => chat::Command::Send { message, author, text, now },
        chat::Event::ChatRead { reader, upto } => chat::Command::Read { reader, upto },
    }
}
