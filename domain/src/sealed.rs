//! Personal fields, opaque to the domain.
//!
//! Whoever sends a command seals the field with the key of the person it is about before deciding; whoever projects
//! opens it. When the key is gone the field reads as nothing, for ever: that is how a person is forgotten while the
//! history stays whole.

use std::fmt;
use std::marker::PhantomData;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ids::AccountId;

/// A value of type `T` that only the holder of a person's key can read.
#[derive(Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Sealed")]
pub struct Sealed<T> {
    /// Whose key opens it.
    pub of: AccountId,
    /// Version, nonce and ciphertext, in base64url.
    pub sealed: String,
    #[serde(skip)]
    #[schemars(skip)]
    content: PhantomData<fn() -> T>,
}

/// A personal field that was written in clear once: sealed in whatever is written today, and as it was in what is older.
/// Part of the storage format.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(untagged)]
pub enum OnceClear<T> {
    /// As it is written today: the value as text.
    Sealed(Sealed<String>),
    /// As it was written once.
    Clear(T),
}

impl<T> OnceClear<T> {
    /// Whether it is sealed, and goes with this person.
    pub fn is_sealed_for(&self, owner: AccountId) -> bool {
        match self {
            Self::Sealed(sealed) => sealed.of == owner,
            Self::Clear(_) => false,
        }
    }
}

impl<T> From<Sealed<String>> for OnceClear<T> {
    fn from(sealed: Sealed<String>) -> Self {
        Self::Sealed(sealed)
    }
}

impl<T> Sealed<T> {
    /// Wraps what a cipher has made of a value of type `T`.
    pub fn from_ciphertext(of: AccountId, sealed: String) -> Self {
        Self { of, sealed, content: PhantomData }
    }
}

impl<T> Clone for Sealed<T> {
    fn clone(&self) -> Self {
        Self::from_ciphertext(self.of, self.sealed.clone())
    }
}

impl<T> PartialEq for Sealed<T> {
    fn eq(&self, other: &Self) -> bool {
        self.of == other.of && self.sealed == other.sealed
    }
}

impl<T> Eq for Sealed<T> {}

impl<T> fmt::Debug for Sealed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<sealed for {}>", self.of)
    }
}
