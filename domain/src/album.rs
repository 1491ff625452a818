//! The pictures that somebody has uploaded and that are still there.
//!
//! It begins with the first one and never ends. A picture comes into it in the commit that stores it, and goes out of it
//! in the commit that removes it, so the album of somebody says which pictures are theirs: how many, of which there is a
//! most, and which go once they are forgotten. What is known of each picture is its own stream, [`crate::image`].

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::aggregate::{Aggregate, event_versions};
use crate::ids::{AccountId, ImageId};

/// What is asked of an album.
#[derive(Clone, Debug)]
pub enum Command {
    /// Take pictures in: all of them, or none.
    Add {
        /// Which.
        images: Vec<ImageId>,
        /// How many there may be afterwards.
        most: u32,
    },
    /// Let those of these pictures go that are in it.
    Drop {
        /// Which.
        images: Vec<ImageId>,
    },
}

/// What happens to an album. This is the storage format.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub enum Event {
    /// Pictures have come.
    ImagesAdded {
        /// Which.
        images: Vec<ImageId>,
    },
    /// Pictures have gone.
    ImagesDropped {
        /// Which.
        images: Vec<ImageId>,
    },
}

event_versions!(Event { ImagesAdded = "1", ImagesDropped = "1" });

/// Why an album refuses.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum Error {
    /// There are too many already.
    #[error("with {offered} more than the {there} images that there are, there would be more than {most}")]
    Full {
        /// How many there are.
        there: usize,
        /// How many are to come.
        offered: usize,
        /// How many there may be.
        most: u32,
    },
}

/// The pictures of somebody.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Album {
    /// Which.
    pub images: BTreeSet<ImageId>,
}

impl Aggregate for Album {
    const TYPE: &'static str = "album";
    type Id = AccountId;
    type Command = Command;
    type Event = Event;
    type Error = Error;

    fn decide(&self, command: Command) -> Result<Vec<Event>, Error> {
        match command {
            Command::Add { images, most } => {
                let (there, offered) = (self.images.len(), images.len());
                if there + offered > usize::try_from(most).unwrap_or(usize::MAX) {
                    return Err(Error::Full { there, offered, most });
                }
                Ok(if images.is_empty() { vec![] } else { vec![Event::ImagesAdded { images }] })
            }
            Command::Drop { mut images } => {
                images.retain(|image| self.images.contains(image));
                Ok(if images.is_empty() { vec![] } else { vec![Event::ImagesDropped { images }] })
            }
        }
    }

    fn evolve(&mut self, event: &Event) {
        match event {
            Event::ImagesAdded { images } => self.images.extend(images),
            Event::ImagesDropped { images } => self.images.retain(|image| !images.contains(image)),
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::testing::given;

    fn images(numbers: impl IntoIterator<Item = u128>) -> Vec<ImageId> {
        numbers.into_iter().map(|number| ImageId(Uuid::from_u128(number))).collect()
    }

    fn add(numbers: impl IntoIterator<Item = u128>) -> Command {
        Command::Add { images: images(numbers), most: 5 }
    }

    fn drop(numbers: impl IntoIterator<Item = u128>) -> Command {
        Command::Drop { images: images(numbers) }
    }

    #[test]
    fn pictures_come_until_there_are_so_many() {
        given::<Album>([]).when(add(1..=5)).then([Event::ImagesAdded { images: images(1..=5) }]);
        given::<Album>([]).when(add(1..=6)).then_refused(Error::Full { there: 0, offered: 6, most: 5 });
        let four = || given::<Album>([]).and(add([1])).and(add([2, 3, 4]));
        four().when(add([5])).then([Event::ImagesAdded { images: images([5]) }]);
        four().when(add([5, 6])).then_refused(Error::Full { there: 4, offered: 2, most: 5 });
        four().when(add([])).then_nothing();
    }

    #[test]
    fn those_that_go_make_room_and_go_once() {
        let four = || given::<Album>([]).and(add(1..=4));
        four().when(drop([4, 2])).then([Event::ImagesDropped { images: images([4, 2]) }]);
        four().and(drop([2, 4])).when(drop([2, 3])).then([Event::ImagesDropped { images: images([3]) }]);
        four().and(drop([2, 4])).when(drop([2, 4, 9])).then_nothing();
        four().and(drop([2, 4])).when(add([5, 6, 7])).then([Event::ImagesAdded { images: images([5, 6, 7]) }]);
    }
}
