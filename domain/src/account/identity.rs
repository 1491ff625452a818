//! Who an account is: what is sealed with the person's key, and what proves to be that person.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Timestamp;
use crate::ids::{AccountId, ChallengeId};
use crate::sealed::Sealed;

/// Who somebody is and how they prove it. Part of the storage format.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// The address that the account logs in with, as it was typed.
    pub email: Sealed<String>,
    /// The public name.
    pub user_name: Sealed<String>,
    /// The password's Argon2id hash in PHC form. Without one the account logs in through somebody who knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_hash: Option<Sealed<String>>,
}

impl Identity {
    pub(super) fn sealed_fields(&self) -> impl Iterator<Item = &Sealed<String>> {
        [&self.email, &self.user_name].into_iter().chain(&self.password_hash)
    }
}

/// The parts of a profile that are to change. Part of the storage format.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ProfileChanges {
    /// The public name. Whoever changes it claims the new one and gives the former up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_name: Option<Sealed<String>>,
    /// The name shown to others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<Sealed<String>>,
    /// A telephone number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phone: Option<Sealed<String>>,
    /// A few words about oneself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub biography: Option<Sealed<String>>,
    /// The address of a picture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub avatar_url: Option<Sealed<String>>,
    /// The preferred language, as a BCP 47 tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
}

impl ProfileChanges {
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    pub(super) fn sealed_fields(&self) -> impl Iterator<Item = &Sealed<String>> {
        [&self.user_name, &self.display_name, &self.phone, &self.biography, &self.avatar_url].into_iter().flatten()
    }
}

/// A question sent to a mailbox, whose answer shows that somebody reads it. The token that is sent follows from the id
/// and a secret of the deployment, so the log cannot tell it. Part of the storage format.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Challenge {
    /// Names the question.
    pub id: ChallengeId,
    /// The mailbox.
    pub email: Sealed<String>,
    /// When it was asked, in real time.
    pub asked_at: Timestamp,
    /// Until when, in real time, an answer is taken.
    pub expires_at: Timestamp,
}

impl Challenge {
    /// Whether this is the question that was answered, in time.
    pub(super) fn is_answered_by(&self, id: ChallengeId, now: Timestamp) -> bool {
        self.id == id && now < self.expires_at
    }

    /// Whether this question is so fresh that another need not be asked.
    pub(super) fn is_fresh(&self, now: Timestamp) -> bool {
        now < self.asked_at + super::CHALLENGES_APART
    }
}

/// What staff have written about an account. Part of the storage format.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Words {
    /// Sealed with the key of whom they are about, and forgotten with that person.
    Sealed(Sealed<String>),
    /// As they were stored at first.
    Clear(String),
}

/// Who has set a password. Part of the storage format.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SetBy {
    /// Whoever knew the one before.
    Owner,
    /// Whoever reads the mailbox.
    Mailbox,
    /// Whoever proved to be the owner of an address that somebody else had joined with: no password is left.
    Takeover,
}

/// Whether all of these are sealed for their owner, and so forgotten with the right person.
pub(super) fn sealed_for<'a>(owner: AccountId, fields: impl IntoIterator<Item = &'a Sealed<String>>) -> bool {
    fields.into_iter().all(|field| field.of == owner)
}
