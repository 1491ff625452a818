//! A picture that somebody has uploaded.
//!
//! `Absent → Stored → Removed`. Its files, the picture and its thumbnail, are written before the event says so, and
//! deleted by a process after the event says that it is removed. What the picture shows decides nothing.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use uuid::Uuid;

use crate::aggregate::{Aggregate, event_versions};
use crate::ids::{AccountId, ImageId};

/// What is asked of a picture.
#[derive(Clone, Debug)]
pub enum Command {
    /// Note that its files are there.
    Store {
        /// Who has uploaded it.
        owner: AccountId,
        /// What is there.
        stored: Stored,
    },
    /// Let its files go.
    Remove {
        /// Why.
        cause: RemovalCause,
    },
}

/// What is stored of a picture. Part of the storage format.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Stored {
    /// What its files are called, without their endings: its id, which is random, so that nobody finds one by guessing.
    pub name: String,
    /// In which format.
    pub format: Format,
    /// How wide it is, in pixels.
    pub width: u32,
    /// How high it is, in pixels.
    pub height: u32,
    /// How large its file is, in bytes.
    pub bytes: u64,
}

/// A format in which pictures are stored, whatever they were uploaded in. Part of the storage format.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// For what has no transparency and was lossy.
    Jpeg,
    /// For the rest.
    Png,
}

impl Format {
    /// The ending of its files.
    pub fn ending(self) -> &'static str {
        match self {
            Self::Jpeg => "jpg",
            Self::Png => "png",
        }
    }
}

/// Why a picture goes. Part of the storage format.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RemovalCause {
    /// It was taken off what it was shown with.
    Detached,
    /// Whoever had uploaded it is forgotten.
    OwnerErased,
}

impl ImageId {
    /// The picture that a file shows, if it is called as one is that is no thumbnail.
    pub fn of_file(file: &str) -> Option<Self> {
        let (name, _) = file.split_once('.')?;
        Uuid::try_parse(name).ok().map(Self)
    }
}

impl Stored {
    /// The name of its file.
    pub fn file(&self) -> String {
        format!("{}.{}", self.name, self.format.ending())
    }

    /// The name of the file of its thumbnail.
    pub fn thumbnail(&self) -> String {
        format!("{}-thumb.{}", self.name, self.format.ending())
    }
}

/// What happens to a picture. This is the storage format.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub enum Event {
    /// Its files are there.
    ImageStored {
        /// Who has uploaded it.
        owner: AccountId,
        /// What is there.
        stored: Stored,
    },
    /// Its files are to be deleted.
    ImageRemoved {
        /// What was there.
        stored: Stored,
        /// Why.
        cause: RemovalCause,
    },
}

event_versions!(Event { ImageStored = "1", ImageRemoved = "1" });

/// Why a picture refuses.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum Error {
    /// There is no such picture.
    #[error("there is no such image")]
    NotFound,
    /// The id is in use.
    #[error("the image is there already")]
    AlreadyStored,
}

/// A picture.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum Image {
    /// Never uploaded.
    #[default]
    Absent,
    /// Its files are there.
    Stored {
        /// Who has uploaded it.
        owner: AccountId,
        /// What is there.
        stored: Stored,
    },
    /// Its files are gone, or will be soon.
    Removed,
}

impl Image {
    /// What is there, and who has uploaded it.
    pub fn stored(&self) -> Result<(AccountId, &Stored), Error> {
        match self {
            Self::Stored { owner, stored } => Ok((*owner, stored)),
            Self::Absent | Self::Removed => Err(Error::NotFound),
        }
    }
}

impl Aggregate for Image {
    const TYPE: &'static str = "image";
    type Id = ImageId;
    type Command = Command;
    type Event = Event;
    type Error = Error;

    fn decide(&self, command: Command) -> Result<Vec<Event>, Error> {
        match (self, command) {
            (Self::Absent, Command::Store { owner, stored }) => Ok(vec![Event::ImageStored { owner, stored }]),
            (Self::Stored { .. } | Self::Removed, Command::Store { .. }) => Err(Error::AlreadyStored),
            (Self::Stored { stored, .. }, Command::Remove { cause }) => {
                Ok(vec![Event::ImageRemoved { stored: stored.clone(), cause }])
            }
            (Self::Removed, Command::Remove { .. }) => Ok(vec![]),
            (Self::Absent, Command::Remove { .. }) => Err(Error::NotFound),
        }
    }

    fn evolve(&mut self, event: &Event) {
        *self = match event {
            Event::ImageStored { owner, stored } => Self::Stored { owner: *owner, stored: stored.clone() },
            Event::ImageRemoved { .. } => Self::Removed,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::given;

    const ANN: AccountId = AccountId(Uuid::from_u128(1));

    fn stored() -> Stored {
        Stored { name: "0a1b".to_owned(), format: Format::Jpeg, width: 640, height: 480, bytes: 12_345 }
    }

    fn store() -> Command {
        Command::Store { owner: ANN, stored: stored() }
    }

    const REMOVE: Command = Command::Remove { cause: RemovalCause::Detached };

    #[test]
    fn a_picture_is_stored_once() {
        given::<Image>([]).when(store()).then([Event::ImageStored { owner: ANN, stored: stored() }]);
        given::<Image>([]).and(store()).when(store()).then_refused(Error::AlreadyStored);
        given::<Image>([]).and(store()).and(REMOVE).when(store()).then_refused(Error::AlreadyStored);
    }

    #[test]
    fn its_removal_tells_which_files_go_and_happens_once() {
        let cause = RemovalCause::Detached;
        given::<Image>([]).and(store()).when(REMOVE).then([Event::ImageRemoved { stored: stored(), cause }]);
        given::<Image>([]).and(store()).and(REMOVE).when(REMOVE).then_nothing();
        given::<Image>([]).when(REMOVE).then_refused(Error::NotFound);
        assert_eq!((stored().file(), stored().thumbnail()), ("0a1b.jpg".to_owned(), "0a1b-thumb.jpg".to_owned()));
    }

    #[test]
    fn a_file_tells_which_picture_it_shows() {
        let id = ImageId(Uuid::from_u128(0x9f3c_1d5e));
        let stored = Stored { name: id.0.simple().to_string(), ..stored() };
        assert_eq!(ImageId::of_file(&stored.file()), Some(id));
        for other in [stored.thumbnail().as_str(), &stored.name, "a.jpg", ""] {
            assert_eq!(ImageId::of_file(other), None, "{other}");
        }
    }
}
