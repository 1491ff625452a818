//! A page of content, such as the terms or the answers to what is often asked.
//!
//! `Unwritten → Written`. Every version stays in the log and can be read; the last one is what is shown. Staff write
//! Markdown; how it is rendered is no matter of the log.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::aggregate::{Aggregate, event_versions};
use crate::ids::{AccountId, PageId};

/// The longest title, in characters.
pub const LONGEST_TITLE: usize = 200;
/// The longest body, in characters.
pub const LONGEST_BODY: usize = 100_000;

/// What is asked of a page.
#[derive(Clone, Debug)]
pub enum Command {
    /// Show this from now on.
    Publish {
        /// What is shown.
        content: Content,
        /// Who says so.
        by: AccountId,
    },
}

/// What a page says. Part of the storage format.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Content {
    /// Its name in an address. The stream's id follows from it.
    pub slug: String,
    /// Its title, plain text.
    pub title: String,
    /// What it says, in Markdown.
    pub body: String,
}

/// What happens to a page. This is the storage format.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub enum Event {
    /// A version was published: the stream's first event is version 1, and so on.
    PagePublished {
        /// What is shown.
        content: Content,
        /// Who said so.
        by: AccountId,
    },
}

event_versions!(Event { PagePublished = "1" });

/// Why a page refuses.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum Error {
    /// A text is too long.
    #[error("a title has 1 to {longest_title} characters and a body at most {longest_body}")]
    LengthOutOfRange {
        /// How long a title may be.
        longest_title: usize,
        /// How long a body may be.
        longest_body: usize,
    },
}

/// A page.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum Page {
    /// Nothing was ever published.
    #[default]
    Unwritten,
    /// This is shown.
    Written(Content),
}

impl Aggregate for Page {
    const TYPE: &'static str = "page";
    type Id = PageId;
    type Command = Command;
    type Event = Event;
    type Error = Error;

    fn decide(&self, Command::Publish { content, by }: Command) -> Result<Vec<Event>, Error> {
        let (title, body) = (content.title.chars().count(), content.body.chars().count());
        if !(1..=LONGEST_TITLE).contains(&title) || body > LONGEST_BODY {
            return Err(Error::LengthOutOfRange { longest_title: LONGEST_TITLE, longest_body: LONGEST_BODY });
        }
        match self {
            Self::Written(shown) if *shown == content => Ok(vec![]),
            Self::Unwritten | Self::Written(_) => Ok(vec![Event::PagePublished { content, by }]),
        }
    }

    fn evolve(&mut self, Event::PagePublished { content, by: _ }: &Event) {
        *self = Self::Written(content.clone());
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::testing::given;

    const CLERK: AccountId = AccountId(Uuid::from_u128(1));

    fn content(title: &str, body: &str) -> Content {
        Content { slug: "terms".to_owned(), title: title.to_owned(), body: body.to_owned() }
    }

    fn publish(title: &str, body: &str) -> Command {
        Command::Publish { content: content(title, body), by: CLERK }
    }

    fn published(title: &str, body: &str) -> Event {
        Event::PagePublished { content: content(title, body), by: CLERK }
    }

    #[test]
    fn each_version_is_an_event_and_the_same_again_is_nothing_new() {
        let first = || published("Terms", "Be kind.");
        given::<Page>([]).when(publish("Terms", "Be kind.")).then([first()]);
        given::<Page>([first()]).when(publish("Terms", "Be kind.")).then_nothing();
        given::<Page>([first()]).when(publish("Terms", "Be fair.")).then([published("Terms", "Be fair.")]);
        // Back to what it once said is a new version too.
        given::<Page>([first(), published("Terms", "Be fair.")]).when(publish("Terms", "Be kind.")).then([first()]);
    }

    #[test]
    fn a_page_has_a_title_and_no_more_text_than_is_read() {
        let refused = Error::LengthOutOfRange { longest_title: LONGEST_TITLE, longest_body: LONGEST_BODY };
        given::<Page>([]).when(publish("", "x")).then_refused(refused);
        given::<Page>([]).when(publish(&"ü".repeat(LONGEST_TITLE + 1), "x")).then_refused(refused);
        given::<Page>([]).when(publish("Terms", &"x".repeat(LONGEST_BODY + 1))).then_refused(refused);
        let (title, body) = ("ü".repeat(LONGEST_TITLE), "ü".repeat(LONGEST_BODY));
        given::<Page>([]).when(publish(&title, &body)).then([published(&title, &body)]);
    }
}
