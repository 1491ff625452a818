//! What a buyer and a seller write to each other about a listing or an order.
//!
//! `Absent → Open`. There is one chat for two parties and one subject: its id follows from them ([`ChatId::of`]), so
//! opening it again finds it. Both write and tell how far they have read; nobody else does either. What they write is
//! sealed with the key of its author. Invariants: nobody marks as read what is their own or not written yet, and a mark
//! never goes back; nobody writes more than [`MOST_UNANSWERED`] messages in a day without an answer. What was written
//! decides nothing, so a chat is as small after a thousand messages as after one.

use chrono::TimeDelta;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::Timestamp;
use crate::aggregate::{Aggregate, event_versions};
use crate::ids::{AccountId, ChatId, ListingId, MessageId, OrderId};
use crate::sealed::Sealed;

/// The longest message, in characters. Whoever seals one sees to it.
pub const LONGEST_MESSAGE: usize = 4_000;
/// So many messages may be written in [`UNANSWERED_FOR`] before the other party writes.
pub const MOST_UNANSWERED: u32 = 50;
/// So long after the first message without an answer they are counted anew.
pub const UNANSWERED_FOR: TimeDelta = TimeDelta::hours(24);

/// What is asked of a chat.
#[derive(Clone, Debug)]
pub enum Command {
    /// Come into being.
    Open {
        /// Who talks about what.
        terms: Terms,
        /// Who of them wants to.
        by: AccountId,
    },
    /// Write.
    Send {
        /// The id minted for the message.
        message: MessageId,
        /// Who writes.
        author: AccountId,
        /// What.
        text: Sealed<String>,
        /// The time of the decision.
        now: Timestamp,
    },
    /// Note how far somebody has read.
    Read {
        /// Who.
        reader: AccountId,
        /// Up to this place in the chat; whatever is there, if it is farther.
        upto: u64,
    },
}

/// Who talks about what. Part of the storage format.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Terms {
    /// Who buys, or might.
    pub buyer: AccountId,
    /// Who sells.
    pub seller: AccountId,
    /// About what.
    pub about: Subject,
}

impl Terms {
    /// The one chat of these parties about this.
    pub fn chat(&self) -> ChatId {
        let (kind, subject) = match self.about {
            Subject::Listing(ListingId(id)) => ("listing", id),
            Subject::Order(OrderId(id)) => ("order", id),
        };
        ChatId::of(self.buyer, self.seller, kind, subject)
    }
}

/// What a chat is about. Part of the storage format.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// Something that is offered.
    Listing(ListingId),
    /// Something that was bought.
    Order(OrderId),
}

/// What happens to a chat. This is the storage format.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub enum Event {
    /// There is a chat.
    ChatOpened {
        /// Who talks about what.
        terms: Terms,
        /// Who of them wanted to.
        by: AccountId,
    },
    /// Somebody has written.
    MessageSent {
        /// Which message.
        message: MessageId,
        /// Who has written it.
        author: AccountId,
        /// To whom.
        recipient: AccountId,
        /// What it says.
        text: Sealed<String>,
        /// When.
        sent_at: Timestamp,
    },
    /// Somebody has read.
    ChatRead {
        /// Who.
        reader: AccountId,
        /// Up to this place in the chat.
        upto: u64,
    },
}

event_versions!(Event { ChatOpened = "1", MessageSent = "1", ChatRead = "1" });

/// Why a chat refuses.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum Error {
    /// There is no such chat, or it is none of theirs.
    #[error("there is no such chat")]
    NotFound,
    /// Both parties are the same.
    #[error("nobody talks to themselves")]
    WithOneself,
    /// The other party cannot read it: a guest, or somebody who is forgotten.
    #[error("nobody is there to read it")]
    NobodyThere,
    /// The message was sealed with somebody else's key, and would be forgotten with the wrong person.
    #[error("the message is sealed for another account")]
    SealedForAnother,
    /// The other party is to answer first.
    #[error("{maximum} messages were not answered; the next can be written at {again_at}, or after an answer")]
    TooManyUnanswered {
        /// How many there may be.
        maximum: u32,
        /// From when there may be more.
        again_at: Timestamp,
    },
}

/// A chat.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum Chat {
    /// Nobody has opened it.
    #[default]
    Absent,
    /// It is there.
    Open(Conversation),
}

/// A chat that is there.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Conversation {
    /// Who talks about what.
    pub terms: Terms,
    /// How many events there were: the place of the last of them.
    places: u64,
    buyer: Side,
    seller: Side,
    unanswered: Option<Unanswered>,
}

/// What one party has done.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
struct Side {
    /// The place of their last message; 0 before there is any.
    last: u64,
    /// How far they have read.
    read: u64,
}

/// Messages that nobody has answered.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
struct Unanswered {
    author: AccountId,
    messages: u32,
    /// When the first of them was written.
    since: Timestamp,
}

impl Chat {
    /// The chat, as one of its parties.
    pub fn of_party(&self, account: AccountId) -> Result<&Conversation, Error> {
        match self {
            Self::Open(chat) if [chat.terms.buyer, chat.terms.seller].contains(&account) => Ok(chat),
            Self::Open(_) | Self::Absent => Err(Error::NotFound),
        }
    }
}

impl Conversation {
    fn new(terms: Terms) -> Self {
        Self { terms, places: 1, buyer: Side::default(), seller: Side::default(), unanswered: None }
    }

    /// Whom a party talks to.
    pub fn other(&self, party: AccountId) -> AccountId {
        if party == self.terms.buyer { self.terms.seller } else { self.terms.buyer }
    }

    /// How far a party has read.
    pub fn read_by(&self, party: AccountId) -> u64 {
        self.side(party).read
    }

    fn side(&self, party: AccountId) -> Side {
        if party == self.terms.buyer { self.buyer } else { self.seller }
    }

    fn side_mut(&mut self, party: AccountId) -> &mut Side {
        if party == self.terms.buyer { &mut self.buyer } else { &mut self.seller }
    }

    /// What an author has written since they are to be answered, if that still counts.
    fn unanswered_by(&self, author: AccountId, now: Timestamp) -> Option<Unanswered> {
        self.unanswered.filter(|it| it.author == author && now < it.since + UNANSWERED_FOR)
    }

    fn expect_answer(&self, author: AccountId, now: Timestamp) -> Result<(), Error> {
        match self.unanswered_by(author, now) {
            Some(Unanswered { messages, since, .. }) if messages >= MOST_UNANSWERED => {
                Err(Error::TooManyUnanswered { maximum: MOST_UNANSWERED, again_at: since + UNANSWERED_FOR })
            }
            Some(_) | None => Ok(()),
        }
    }

    fn evolve(&mut self, event: &Event) {
        self.places += 1;
        match *event {
            Event::MessageSent { author, sent_at, .. } => {
                self.side_mut(author).last = self.places;
                let before = self.unanswered_by(author, sent_at);
                let (messages, since) = before.map_or((0, sent_at), |it| (it.messages, it.since));
                self.unanswered = Some(Unanswered { author, messages: messages + 1, since });
            }
            Event::ChatRead { reader, upto } => self.side_mut(reader).read = upto,
            // It is opened once.
            Event::ChatOpened { .. } => {}
        }
    }
}

impl Aggregate for Chat {
    const TYPE: &'static str = "chat";
    type Id = ChatId;
    type Command = Command;
    type Event = Event;
    type Error = Error;

    fn decide(&self, command: Command) -> Result<Vec<Event>, Error> {
        match command {
            Command::Open { terms, by } => {
                if terms.buyer == terms.seller {
                    return Err(Error::WithOneself);
                }
                if ![terms.buyer, terms.seller].contains(&by) {
                    return Err(Error::NotFound);
                }
                Ok(match self {
                    Self::Absent => vec![Event::ChatOpened { terms, by }],
                    Self::Open(_) => vec![],
                })
            }
            Command::Send { message, author, text, now } => {
                let chat = self.of_party(author)?;
                if text.of != author {
                    return Err(Error::SealedForAnother);
                }
                chat.expect_answer(author, now)?;
                let recipient = chat.other(author);
                Ok(vec![Event::MessageSent { message, author, recipient, text, sent_at: now }])
            }
            Command::Read { reader, upto } => {
                let chat = self.of_party(reader)?;
                let upto = upto.min(chat.side(chat.other(reader)).last);
                let farther = upto > chat.read_by(reader);
                Ok(if farther { vec![Event::ChatRead { reader, upto }] } else { vec![] })
            }
        }
    }

    fn evolve(&mut self, event: &Event) {
        match (&mut *self, event) {
            (Self::Absent, Event::ChatOpened { terms, .. }) => *self = Self::Open(Conversation::new(*terms)),
            (Self::Open(chat), event) => chat.evolve(event),
            // No decision leads here; a fold never fails.
            (Self::Absent, Event::MessageSent { .. } | Event::ChatRead { .. }) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::testing::{Given, given};

    const ANN: AccountId = AccountId(Uuid::from_u128(1));
    const BOB: AccountId = AccountId(Uuid::from_u128(2));
    const EVE: AccountId = AccountId(Uuid::from_u128(3));

    fn terms() -> Terms {
        Terms { buyer: ANN, seller: BOB, about: Subject::Listing(ListingId(Uuid::from_u128(7))) }
    }

    fn at(hours: i64) -> Timestamp {
        Timestamp::default() + TimeDelta::hours(hours)
    }

    fn send_at(author: AccountId, now: Timestamp) -> Command {
        let text = Sealed::from_ciphertext(author, "text".to_owned());
        Command::Send { message: MessageId(Uuid::from_u128(9)), author, text, now }
    }

    fn send(author: AccountId) -> Command {
        send_at(author, at(0))
    }

    fn sent(author: AccountId, recipient: AccountId) -> Event {
        let text = Sealed::from_ciphertext(author, "text".to_owned());
        Event::MessageSent { message: MessageId(Uuid::from_u128(9)), author, recipient, text, sent_at: at(0) }
    }

    fn read(reader: AccountId, upto: u64) -> Command {
        Command::Read { reader, upto }
    }

    fn opened() -> Given<Chat> {
        given([Event::ChatOpened { terms: terms(), by: ANN }])
    }

    #[test]
    fn a_chat_is_opened_once_by_one_of_its_parties() {
        let open = |by| Command::Open { terms: terms(), by };
        given::<Chat>([]).when(open(ANN)).then([Event::ChatOpened { terms: terms(), by: ANN }]);
        given::<Chat>([]).when(open(BOB)).then([Event::ChatOpened { terms: terms(), by: BOB }]);
        opened().when(open(BOB)).then_nothing();
        given::<Chat>([]).when(open(EVE)).then_refused(Error::NotFound);
        let alone = Terms { seller: ANN, ..terms() };
        given::<Chat>([]).when(Command::Open { terms: alone, by: ANN }).then_refused(Error::WithOneself);
    }

    #[test]
    fn its_name_follows_from_who_talks_about_what() {
        let chat = terms().chat();
        assert_eq!(terms().chat(), chat);
        let order = Subject::Order(OrderId(Uuid::from_u128(7)));
        let turned = Terms { buyer: BOB, seller: ANN, ..terms() };
        for other in [Terms { about: order, ..terms() }, turned, Terms { buyer: EVE, ..terms() }] {
            assert_ne!(other.chat(), chat, "{other:?}");
        }
    }

    #[test]
    fn both_parties_write_and_nobody_else() {
        opened().when(send(ANN)).then([sent(ANN, BOB)]);
        opened().when(send(BOB)).then([sent(BOB, ANN)]);
        opened().when(send(EVE)).then_refused(Error::NotFound);
        given::<Chat>([]).when(send(ANN)).then_refused(Error::NotFound);
        let Command::Send { message, text, now, .. } = send(BOB) else { unreachable!() };
        let forged = Command::Send { message, author: ANN, text, now };
        opened().when(forged).then_refused(Error::SealedForAnother);
    }

    #[test]
    fn a_mark_goes_as_far_as_the_other_has_written_and_never_back() {
        let talked = || opened().and(send(ANN)).and(send(ANN)).and(send(BOB)).and(send(ANN));
        talked().when(read(BOB, 99)).then([Event::ChatRead { reader: BOB, upto: 5 }]);
        talked().when(read(BOB, 2)).then([Event::ChatRead { reader: BOB, upto: 2 }]);
        talked().when(read(ANN, 99)).then([Event::ChatRead { reader: ANN, upto: 4 }]);
        let marked = || talked().and(read(BOB, 3));
        marked().when(read(BOB, 3)).then_nothing();
        marked().when(read(BOB, 2)).then_nothing();
        marked().when(read(BOB, 99)).then([Event::ChatRead { reader: BOB, upto: 5 }]);
        opened().when(read(BOB, 99)).then_nothing();
        opened().and(send(BOB)).when(read(BOB, 99)).then_nothing();
        talked().when(read(EVE, 1)).then_refused(Error::NotFound);
    }

    #[test]
    fn whoever_is_not_answered_waits_for_an_answer_or_a_day() {
        let insistent = || (0..MOST_UNANSWERED).fold(opened(), |given, _| given.and(send(ANN)));
        let refused = Error::TooManyUnanswered { maximum: MOST_UNANSWERED, again_at: at(24) };
        insistent().when(send_at(ANN, at(23))).then_refused(refused);
        assert!(insistent().state().decide(send_at(ANN, at(24))).is_ok());
        insistent().and(send(BOB)).when(send(ANN)).then([sent(ANN, BOB)]);
        // To read is no answer.
        insistent().and(read(BOB, 99)).when(send(ANN)).then_refused(refused);
        // The day begins with the first of them.
        let next = insistent().and(send_at(ANN, at(24)));
        assert!(next.state().decide(send_at(ANN, at(24))).is_ok());
    }

    #[test]
    fn a_long_chat_is_no_larger_than_a_short_one() {
        let talk = |given: Given<Chat>, _| given.and(send(ANN)).and(send(BOB)).and(read(ANN, 9_999));
        let size = |given: &Given<Chat>| serde_json::to_string(given.state()).unwrap().len();
        let (short, long) = ((0..1).fold(opened(), talk), (0..1_000).fold(opened(), talk));
        assert!(size(&long) <= size(&short) + 32, "{} {}", size(&short), size(&long));
    }

    proptest! {
        #[test]
        fn nobody_has_read_what_is_their_own_or_not_written(
            asked in prop::collection::vec((0..2_u8, any::<bool>(), 0..60_u64), 0..60),
        ) {
            let mut chat = Chat::default();
            let open = Command::Open { terms: terms(), by: BOB };
            let commands = asked.into_iter().map(|(what, buyer, upto)| {
                let party = if buyer { ANN } else { BOB };
                if what == 0 { send(party) } else { read(party, upto) }
            });
            let mut written = Vec::new();
            for command in std::iter::once(open).chain(commands) {
                for event in chat.decide(command).into_iter().flatten() {
                    chat.evolve(&event);
                    written.push(event);
                }
            }
            let Chat::Open(chat) = chat else { unreachable!() };
            prop_assert_eq!(chat.places, written.len() as u64);
            for (party, other) in [(ANN, BOB), (BOB, ANN)] {
                let theirs = (1..).zip(&written).filter(|(_, event)| match event {
                    Event::MessageSent { author, .. } => *author == other,
                    _ => false,
                });
                prop_assert!(chat.read_by(party) <= theirs.last().map_or(0, |(place, _)| place));
            }
        }
    }
}
