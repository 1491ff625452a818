//! What a buyer says of something that was bought.
//!
//! `Unwritten → Shown ⇄ Hidden → Deleted`, and a shown one is deleted as well. A stream for each line of an order, so
//! nobody speaks twice of the same. Its author may change it while it is shown and delete it for good; the seller may
//! answer once; staff may hide it and show it again. Every event that changes what is counted carries that change, so that
//! who counts needs no other event. Whatever people have written is sealed with their own keys. Invariants: a hidden or
//! deleted review counts nowhere; what is deleted never comes back, since the answer to it would be lost.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::aggregate::{Aggregate, event_versions};
use crate::ids::{AccountId, ImageId, ListingId, OrderId, ReviewId};
use crate::rating::Rating;
use crate::ruling::Ruling;
use crate::sealed::Sealed;
use crate::stock::Sku;

/// The most pictures of a review.
pub const MOST_IMAGES: usize = 5;
/// The longest title, in characters. What is sealed cannot be measured here.
pub const LONGEST_TITLE: usize = 200;
/// The longest text of a review or of an answer to one, in characters.
pub const LONGEST_TEXT: usize = 4_000;

/// What is asked of a review.
#[derive(Clone, Debug)]
pub enum Command {
    /// Say something.
    Write {
        /// What was bought.
        bought: Bought,
        /// Who has bought it.
        author: AccountId,
        /// What they say.
        content: Content,
    },
    /// Say something else.
    Revise {
        /// Who says so.
        by: AccountId,
        /// What they say from now on.
        content: Content,
    },
    /// Take it back for good.
    Delete {
        /// Who says so.
        by: AccountId,
    },
    /// Answer it, as the seller.
    Reply {
        /// Who answers.
        by: AccountId,
        /// What.
        text: Sealed<String>,
    },
    /// Show it to nobody.
    Hide {
        /// Who says so, and why.
        ruling: Ruling,
    },
    /// Show it again.
    Restore {
        /// Who says so, and why.
        ruling: Ruling,
    },
}

/// A line of an order. Part of the storage format.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Bought {
    /// Of which order.
    pub order: OrderId,
    /// What.
    pub listing: ListingId,
    /// In which form.
    pub sku: Sku,
    /// From whom.
    pub seller: AccountId,
}

impl Bought {
    /// The one review that there may be of it.
    pub fn review(&self) -> ReviewId {
        ReviewId::of(self.order, self.listing, &self.sku)
    }
}

/// What somebody says. Part of the storage format.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Content {
    /// How good it was.
    pub rating: Rating,
    /// In a few words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<Sealed<String>>,
    /// In many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<Sealed<String>>,
    /// What it looked like.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<Picture>,
}

/// An uploaded picture. Part of the storage format.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Picture {
    /// Which.
    pub image: ImageId,
    /// What its file is called.
    pub file: String,
}

/// What a review changes in what is counted of a listing and of its seller. Part of the storage format.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Counted {
    /// Of which listing.
    pub listing: ListingId,
    /// Of which seller.
    pub seller: AccountId,
    /// The rating that counts no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Rating>,
    /// The rating that counts from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Rating>,
}

/// What happens to a review. This is the storage format.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub enum Event {
    /// It was written.
    ReviewWritten {
        /// What was bought.
        bought: Bought,
        /// By whom.
        author: AccountId,
        /// What they say.
        content: Content,
        /// What that changes.
        counted: Counted,
    },
    /// It says something else.
    ReviewRevised {
        /// What it says from now on.
        content: Content,
        /// What that changes.
        counted: Counted,
    },
    /// Its author has taken it back.
    ReviewDeleted {
        /// What that changes.
        counted: Counted,
    },
    /// The seller has answered.
    ReviewReplied {
        /// Who that is.
        by: AccountId,
        /// What they say.
        text: Sealed<String>,
    },
    /// Staff show it to nobody.
    ReviewHidden {
        /// Who, and why.
        ruling: Ruling,
        /// What that changes.
        counted: Counted,
    },
    /// Staff show it again.
    ReviewRestored {
        /// Who, and why.
        ruling: Ruling,
        /// What that changes.
        counted: Counted,
    },
}

event_versions!(Event {
    ReviewWritten = "1",
    ReviewRevised = "1",
    ReviewDeleted = "1",
    ReviewReplied = "1",
    ReviewHidden = "1",
    ReviewRestored = "1",
});

impl Event {
    /// What it changes in what is counted.
    pub fn counted(&self) -> Option<Counted> {
        match self {
            Self::ReviewWritten { counted, .. }
            | Self::ReviewRevised { counted, .. }
            | Self::ReviewDeleted { counted }
            | Self::ReviewHidden { counted, .. }
            | Self::ReviewRestored { counted, .. } => Some(*counted),
            Self::ReviewReplied { .. } => None,
        }
    }
}

/// Why a review refuses, with the rule's numbers.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum Error {
    /// There is no such review, or it is somebody else's.
    #[error("there is no such review")]
    NotFound,
    /// One line of an order, one review, deleted or not.
    #[error("this was reviewed already")]
    AlreadyReviewed,
    /// Nothing of this kind is in the order.
    #[error("the order has no such line")]
    NotBought,
    /// There are more pictures than are shown.
    #[error("a review has at most {maximum} images; this one has {offered}")]
    TooManyImages {
        /// The most.
        maximum: usize,
        /// How many there are.
        offered: usize,
    },
    /// A seller answers once.
    #[error("the seller has replied already")]
    AlreadyReplied,
    /// Staff show it to nobody.
    #[error("the review was hidden by staff")]
    Hidden,
    /// Nobody finds their own words helpful, and nobody of the staff rules on them or on what is said of their goods.
    #[error("this is your own review, or one of what you have sold")]
    OwnReview,
    /// A field was sealed with somebody else's key, and would be forgotten with the wrong person.
    #[error("a field of the review is sealed for somebody else")]
    SealedForAnother,
}

/// A review.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub enum Review {
    /// Nothing was said.
    #[default]
    Unwritten,
    /// Everybody sees it.
    Shown(Written),
    /// Its author and staff see it.
    Hidden(Written),
    /// Nobody sees it any more.
    Deleted,
}

/// What a review decides by.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Written {
    /// What was bought.
    pub bought: Bought,
    /// Who has bought it.
    pub author: AccountId,
    /// What they say.
    pub content: Content,
    /// Whether the seller has answered.
    pub replied: bool,
}

impl Review {
    /// What was written, whoever may see it.
    pub fn written(&self) -> Result<&Written, Error> {
        match self {
            Self::Shown(written) | Self::Hidden(written) => Ok(written),
            Self::Unwritten | Self::Deleted => Err(Error::NotFound),
        }
    }

    /// What everybody sees.
    pub fn shown(&self) -> Result<&Written, Error> {
        match self {
            Self::Shown(written) => Ok(written),
            Self::Unwritten | Self::Hidden(_) | Self::Deleted => Err(Error::NotFound),
        }
    }

    /// What `account` has written; somebody else's is as good as absent.
    pub fn written_by(&self, account: AccountId) -> Result<&Written, Error> {
        self.written().and_then(|written| if written.author == account { Ok(written) } else { Err(Error::NotFound) })
    }

    /// What was written of something that `account` has sold; of anything else it is as good as absent.
    pub fn sold_by(&self, account: AccountId) -> Result<&Written, Error> {
        let sold = |written: &&Written| written.bought.seller == account;
        self.written().ok().filter(sold).ok_or(Error::NotFound)
    }
}

impl Aggregate for Review {
    const TYPE: &'static str = "review";
    type Id = ReviewId;
    type Command = Command;
    type Event = Event;
    type Error = Error;

    fn decide(&self, command: Command) -> Result<Vec<Event>, Error> {
        match command {
            Command::Write { bought, author, content } => match self {
                Self::Unwritten => {
                    content.check(author)?;
                    let counted = bought.counted(None, Some(content.rating));
                    Ok(vec![Event::ReviewWritten { bought, author, content, counted }])
                }
                Self::Shown(_) | Self::Hidden(_) | Self::Deleted => Err(Error::AlreadyReviewed),
            },
            Command::Revise { by, content } => self.revise(by, content),
            Command::Delete { by } => {
                let Written { bought, content, .. } = self.written_by(by)?;
                let counts = self.shown().is_ok().then_some(content.rating);
                Ok(vec![Event::ReviewDeleted { counted: bought.counted(counts, None) }])
            }
            Command::Reply { by, text } => self.reply(by, text),
            Command::Hide { ruling } => match self {
                Self::Shown(Written { bought, content, .. }) => {
                    let counted = bought.counted(Some(content.rating), None);
                    ruled(ruling, |ruling| Event::ReviewHidden { ruling, counted })
                }
                Self::Hidden(_) | Self::Deleted => Ok(vec![]),
                Self::Unwritten => Err(Error::NotFound),
            },
            Command::Restore { ruling } => match self {
                Self::Hidden(Written { bought, content, .. }) => {
                    let counted = bought.counted(None, Some(content.rating));
                    ruled(ruling, |ruling| Event::ReviewRestored { ruling, counted })
                }
                Self::Shown(_) | Self::Deleted => Ok(vec![]),
                Self::Unwritten => Err(Error::NotFound),
            },
        }
    }

    fn evolve(&mut self, event: &Event) {
        *self = match (std::mem::take(self), event) {
            (Self::Unwritten, Event::ReviewWritten { bought, author, content, counted: _ }) => Self::Shown(Written {
                bought: bought.clone(),
                author: *author,
                content: content.clone(),
                replied: false,
            }),
            (Self::Shown(written), Event::ReviewRevised { content, counted: _ }) => {
                Self::Shown(Written { content: content.clone(), ..written })
            }
            (Self::Shown(written), Event::ReviewReplied { .. }) => Self::Shown(Written { replied: true, ..written }),
            (Self::Shown(written), Event::ReviewHidden { .. }) => Self::Hidden(written),
            (Self::Hidden(written), Event::ReviewRestored { .. }) => Self::Shown(written),
            (Self::Shown(_) | Self::Hidden(_), Event::ReviewDeleted { .. }) => Self::Deleted,
            // No decision leads here; a fold never fails.
            (
                state,
                Event::ReviewWritten { .. }
                | Event::ReviewRevised { .. }
                | Event::ReviewReplied { .. }
                | Event::ReviewHidden { .. }
                | Event::ReviewRestored { .. }
                | Event::ReviewDeleted { .. },
            ) => state,
        };
    }
}

fn ruled(ruling: Ruling, event: impl FnOnce(Ruling) -> Event) -> Result<Vec<Event>, Error> {
    if ruling.is_sealed_for_its_author() { Ok(vec![event(ruling)]) } else { Err(Error::SealedForAnother) }
}

impl Review {
    fn revise(&self, by: AccountId, content: Content) -> Result<Vec<Event>, Error> {
        let Written { bought, content: known, .. } = self.written_by(by)?;
        self.shown().map_err(|_| Error::Hidden)?;
        content.check(by)?;
        if content == *known {
            return Ok(vec![]);
        }
        let counted = bought.counted(Some(known.rating), Some(content.rating));
        Ok(vec![Event::ReviewRevised { content, counted }])
    }

    fn reply(&self, by: AccountId, text: Sealed<String>) -> Result<Vec<Event>, Error> {
        let replied = self.sold_by(by)?.replied;
        self.shown().map_err(|_| Error::Hidden)?;
        if replied {
            return Err(Error::AlreadyReplied);
        }
        if text.of != by {
            return Err(Error::SealedForAnother);
        }
        Ok(vec![Event::ReviewReplied { by, text }])
    }
}

impl Bought {
    fn counted(&self, from: Option<Rating>, to: Option<Rating>) -> Counted {
        Counted { listing: self.listing, seller: self.seller, from, to }
    }
}

impl Content {
    fn check(&self, author: AccountId) -> Result<(), Error> {
        if self.images.len() > MOST_IMAGES {
            return Err(Error::TooManyImages { maximum: MOST_IMAGES, offered: self.images.len() });
        }
        let mut sealed = [&self.title, &self.text].into_iter().flatten();
        if sealed.all(|field| field.of == author) { Ok(()) } else { Err(Error::SealedForAnother) }
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
    const CLERK: AccountId = AccountId(Uuid::from_u128(3));
    const LISTING: ListingId = ListingId(Uuid::from_u128(4));

    fn sealed(of: AccountId, text: &str) -> Sealed<String> {
        Sealed::from_ciphertext(of, text.to_owned())
    }

    fn bought() -> Bought {
        Bought { order: OrderId(Uuid::from_u128(5)), listing: LISTING, sku: Sku::default(), seller: BOB }
    }

    fn stars(stars: u8) -> Rating {
        stars.try_into().unwrap()
    }

    fn content(rating: u8) -> Content {
        Content { rating: stars(rating), title: None, text: Some(sealed(ANN, "it runs")), images: vec![] }
    }

    fn write(rating: u8) -> Command {
        Command::Write { bought: bought(), author: ANN, content: content(rating) }
    }

    fn written(rating: u8) -> Given<Review> {
        given::<Review>([]).and(write(rating))
    }

    fn counted(from: impl Into<Option<u8>>, to: impl Into<Option<u8>>) -> Counted {
        let (from, to) = (from.into().map(stars), to.into().map(stars));
        Counted { listing: LISTING, seller: BOB, from, to }
    }

    fn ruling() -> Ruling {
        Ruling { by: CLERK, reason: sealed(CLERK, "abuse") }
    }

    fn hide() -> Command {
        Command::Hide { ruling: ruling() }
    }

    fn restore() -> Command {
        Command::Restore { ruling: ruling() }
    }

    fn reply() -> Command {
        Command::Reply { by: BOB, text: sealed(BOB, "thank you") }
    }

    const DELETE: Command = Command::Delete { by: ANN };

    #[test]
    fn what_was_bought_is_reviewed_once_for_ever() {
        let event =
            Event::ReviewWritten { bought: bought(), author: ANN, content: content(4), counted: counted(None, 4) };
        given::<Review>([]).when(write(4)).then([event]);
        for before in [written(4), written(4).and(hide()), written(4).and(DELETE)] {
            before.when(write(4)).then_refused(Error::AlreadyReviewed);
        }
    }

    #[test]
    fn each_line_of_an_order_has_a_review_of_its_own() {
        let other_form = Bought { sku: "m".parse().unwrap(), ..bought() };
        let other_order = Bought { order: OrderId(Uuid::from_u128(6)), ..bought() };
        let other_listing = Bought { listing: ListingId(Uuid::from_u128(7)), ..bought() };
        for other in [other_form, other_order, other_listing] {
            assert_ne!(other.review(), bought().review());
        }
        assert_eq!(Bought { seller: ANN, ..bought() }.review(), bought().review());
    }

    #[test]
    fn its_author_alone_changes_it_and_the_same_again_changes_nothing() {
        let revise = |by, content| Command::Revise { by, content };
        let event = Event::ReviewRevised { content: content(2), counted: counted(4, 2) };
        written(4).when(revise(ANN, content(2))).then([event]);
        written(4).when(revise(ANN, content(4))).then_nothing();
        written(4).when(revise(BOB, content(2))).then_refused(Error::NotFound);
        written(4).and(hide()).when(revise(ANN, content(2))).then_refused(Error::Hidden);
        written(4).and(DELETE).when(revise(ANN, content(2))).then_refused(Error::NotFound);
        given::<Review>([]).when(revise(ANN, content(2))).then_refused(Error::NotFound);
    }

    #[test]
    fn what_is_deleted_counts_no_more_and_stays_so() {
        written(4).when(DELETE).then([Event::ReviewDeleted { counted: counted(4, None) }]);
        // It did not count any more.
        written(4).and(hide()).when(DELETE).then([Event::ReviewDeleted { counted: counted(None, None) }]);
        written(4).when(Command::Delete { by: BOB }).then_refused(Error::NotFound);
        written(4).and(DELETE).when(DELETE).then_refused(Error::NotFound);
        written(4).and(DELETE).when(restore()).then_nothing();
    }

    #[test]
    fn the_seller_answers_once() {
        written(1).when(reply()).then([Event::ReviewReplied { by: BOB, text: sealed(BOB, "thank you") }]);
        written(1).and(reply()).when(reply()).then_refused(Error::AlreadyReplied);
        let other = Command::Reply { by: CLERK, text: sealed(CLERK, "well") };
        written(1).when(other).then_refused(Error::NotFound);
        written(1).and(hide()).when(reply()).then_refused(Error::Hidden);
        let revised = Command::Revise { by: ANN, content: content(5) };
        written(1).and(reply()).and(revised).when(reply()).then_refused(Error::AlreadyReplied);
    }

    #[test]
    fn what_staff_hide_counts_no_more_until_they_show_it_again() {
        written(3).when(hide()).then([Event::ReviewHidden { ruling: ruling(), counted: counted(3, None) }]);
        let hidden = || written(3).and(hide());
        assert_eq!(hidden().state().shown().err(), Some(Error::NotFound));
        hidden().when(hide()).then_nothing();
        hidden().when(restore()).then([Event::ReviewRestored { ruling: ruling(), counted: counted(None, 3) }]);
        written(3).when(restore()).then_nothing();
        for command in [hide(), restore()] {
            given::<Review>([]).when(command).then_refused(Error::NotFound);
        }
    }

    #[test]
    fn there_are_so_many_pictures_and_no_more() {
        let picture = |number| Picture { image: ImageId(Uuid::from_u128(number)), file: format!("{number}.jpg") };
        let with = |count| {
            let images = (0..count).map(picture).collect();
            Command::Write { bought: bought(), author: ANN, content: Content { images, ..content(5) } }
        };
        given::<Review>([]).and(with(5));
        given::<Review>([]).when(with(6)).then_refused(Error::TooManyImages { maximum: 5, offered: 6 });
    }

    #[test]
    fn what_is_sealed_for_somebody_else_is_refused() {
        let foreign = || Content { title: Some(sealed(BOB, "title")), ..content(1) };
        let write = Command::Write { bought: bought(), author: ANN, content: foreign() };
        given::<Review>([]).when(write).then_refused(Error::SealedForAnother);
        written(1).when(Command::Revise { by: ANN, content: foreign() }).then_refused(Error::SealedForAnother);
        written(1).when(Command::Reply { by: BOB, text: sealed(ANN, "x") }).then_refused(Error::SealedForAnother);
        let ruling = || Ruling { by: CLERK, reason: sealed(ANN, "x") };
        written(1).when(Command::Hide { ruling: ruling() }).then_refused(Error::SealedForAnother);
        let restore = Command::Restore { ruling: ruling() };
        written(1).and(hide()).when(restore).then_refused(Error::SealedForAnother);
    }

    fn any_command() -> impl Strategy<Value = Command> {
        prop_oneof![
            (1_u8..=5).prop_map(write),
            (1_u8..=5).prop_map(|rating| Command::Revise { by: ANN, content: content(rating) }),
            prop::sample::select(vec![hide(), restore(), reply()]),
            prop::sample::select(vec![hide(), restore()]),
            Just(DELETE),
        ]
    }

    proptest! {
        #[test]
        fn what_counts_is_the_rating_of_what_is_shown(commands in prop::collection::vec(any_command(), 0..30)) {
            let (mut review, mut counting) = (Review::default(), None);
            for command in commands {
                for event in review.decide(command).iter().flatten() {
                    let read: Event = serde_json::from_str(&serde_json::to_string(event).unwrap()).unwrap();
                    prop_assert_eq!(&read, event);
                    if let Some(Counted { from, to, .. }) = read.counted() {
                        prop_assert_eq!(from, counting);
                        counting = to;
                    }
                    review.evolve(&read);
                }
                prop_assert_eq!(counting, review.shown().ok().map(|written| written.content.rating));
            }
        }
    }
}
