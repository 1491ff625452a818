//! Use cases of chats. Whoever may not trade may read what was written, and writes nothing.

use domain::account::Account;
use domain::chat::{Chat, Command, Error, Subject, Terms};
use domain::contacts::{self, Contacts};
use domain::listing::Listing;
use domain::order::{self, Order};
use domain::{AccountId, ChatId, MessageId, Sealed};

use crate::accounts;
use crate::engagement;
use crate::engine::{Halt, World};

/// A chat that was asked for.
#[derive(Clone, Copy, Debug)]
pub struct Opened {
    /// Which.
    pub chat: ChatId,
    /// Whether it was not there before.
    pub new: bool,
}

/// Opens the chat of somebody about something, or finds it: about a listing with its seller, about an order with the other
/// party.
pub fn open(world: &mut World<'_>, by: AccountId, about: Subject) -> Result<Opened, Halt> {
    let terms = terms(world, by, about)?;
    let chat = terms.chat();
    // What was opened once is found though the listing is not shown any more.
    if world.get::<Chat>(chat)?.of_party(by).is_ok() {
        return Ok(Opened { chat, new: false });
    }
    if let Subject::Listing(listing) = about {
        engagement::require_shown(world, listing, Some(by))?;
    }
    accounts::get(world, by)?.unblocked()?;
    world.execute::<Chat>(chat, Command::Open { terms, by })?;
    let other = if by == terms.buyer { terms.seller } else { terms.buyer };
    require_reader(world, other)?;
    // Whoever trades has something to say to each other, however many they are.
    if matches!(about, Subject::Listing(_)) {
        let now = world.now();
        world.execute::<Contacts>(by, contacts::Command::Begin { chat, now })?;
    }
    Ok(Opened { chat, new: true })
}

fn terms(world: &mut World<'_>, by: AccountId, about: Subject) -> Result<Terms, Halt> {
    match about {
        Subject::Listing(listing) => {
            let seller = world.get::<Listing>(listing)?.offer()?.seller;
            Ok(Terms { buyer: by, seller, about })
        }
        Subject::Order(order) => {
            let order::Terms { buyer, seller, .. } = world.get::<Order>(order)?.placed()?.terms;
            if ![buyer, seller].contains(&by) {
                return Err(order::Error::NotFound.into());
            }
            Ok(Terms { buyer, seller, about })
        }
    }
}

/// Refuses to write to a guest, or to somebody who is forgotten.
fn require_reader(world: &mut World<'_>, reader: AccountId) -> Result<(), Halt> {
    let there = world.get::<Account>(reader)?.registered().is_ok();
    if there { Ok(()) } else { Err(Error::NobodyThere.into()) }
}

/// Something to be written.
#[derive(Clone, Debug)]
pub struct Message {
    /// The id minted for it.
    pub id: MessageId,
    /// Who writes.
    pub author: AccountId,
    /// What.
    pub text: Sealed<String>,
}

/// Writes to the other party. Answers with the place of the message in the chat.
pub fn send(world: &mut World<'_>, chat: ChatId, message: &Message) -> Result<u64, Halt> {
    let Message { id, author, ref text } = *message;
    let other = world.get::<Chat>(chat)?.of_party(author)?.other(author);
    accounts::get(world, author)?.unblocked()?;
    require_reader(world, other)?;
    let now = world.now();
    world.execute::<Chat>(chat, Command::Send { message: id, author, text: text.clone(), now })?;
    world.version::<Chat>(chat)
}

/// Notes how far somebody has read. Answers with how far they have now.
pub fn read(world: &mut World<'_>, chat: ChatId, reader: AccountId, upto: u64) -> Result<u64, Halt> {
    world.execute::<Chat>(chat, Command::Read { reader, upto })?;
    Ok(world.get::<Chat>(chat)?.of_party(reader)?.read_by(reader))
}
