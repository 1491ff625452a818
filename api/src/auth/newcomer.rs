//! Somebody who wants to join: what is required of them, however they join, and how they are kept.

#![expect(clippy::trivially_copy_pass_by_ref, reason = "the signature of a check is garde's")]

use std::collections::BTreeSet;

use commands::accounts::Newcomer;
use domain::account::{Capability, Identity};
use domain::claim::Kind;
use eventstore::sealing::PersonKey;
use eventstore::secrets::RootSecret;
use eventstore::wrapping::Wrapping;
use garde::Validate;
use serde::Deserialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::storefront::Storefront;

/// The lengths of a public name, in characters.
pub(crate) const SHORTEST_NAME: usize = 3;
pub(crate) const LONGEST_NAME: usize = 40;

/// Who wants to join.
#[derive(Debug, Deserialize, ToSchema, Validate)]
#[serde(deny_unknown_fields)]
#[garde(allow_unvalidated)]
pub struct Registration {
    /// The address to log in with. Its case does not matter.
    #[garde(email, length(max = 254))]
    #[schema(example = "ann@example.com", format = Email, max_length = 254)]
    pub email: String,
    /// The public name: letters, digits, `-`, `_` and `.`. Its case does not matter.
    #[garde(length(chars, min = SHORTEST_NAME, max = LONGEST_NAME), custom(is_name))]
    #[schema(example = "ann", min_length = 3, max_length = 40, pattern = "^[A-Za-z0-9._-]+$")]
    pub user_name: String,
    /// Eight characters or more, of any kind, and not easy to guess.
    #[garde(length(chars, min = 8, max = 128), custom(is_text))]
    #[schema(example = "correct horse battery", min_length = 8, max_length = 128)]
    pub password: String,
    /// Whether to sell too; every account may buy.
    #[serde(default)]
    pub sell: bool,
    /// A store to open with it; whoever has one sells.
    #[garde(dive)]
    pub store: Option<Storefront>,
    /// By which click on an affiliate's link they come, as `/affiliate/clicks` has told. One that does not count any more,
    /// or never did, is no error.
    pub click_id: Option<Uuid>,
}

/// A public name.
pub(crate) fn is_name(name: &str, (): &()) -> garde::Result {
    let fits = name.chars().all(|letter| letter.is_ascii_alphanumeric() || "._-".contains(letter));
    if fits { Ok(()) } else { Err(garde::Error::new("letters, digits, `-`, `_` and `.` only")) }
}

/// What a body may hold, and so what can be typed to log in.
pub(crate) fn is_text(text: &str, (): &()) -> garde::Result {
    if text.contains('\0') { Err(garde::Error::new("may not contain U+0000")) } else { Ok(()) }
}

/// Somebody who wants to join, with the personal fields sealed under a key of their own, which is to be stored
/// wrapped as configured.
pub fn newcomer(
    secret: &RootSecret,
    wrapping: &Wrapping,
    key: &PersonKey,
    email: &str,
    user_name: &str,
    password_hash: Option<&str>,
    capabilities: BTreeSet<Capability>,
) -> Newcomer {
    let identity = Identity {
        email: key.seal(email.trim()),
        user_name: key.seal(user_name),
        password_hash: password_hash.map(|hash| key.seal(hash)),
    };
    let (email, user_name) = (secret.claim(Kind::Email, email), secret.claim(Kind::UserName, user_name));
    let (account, key) = (key.account, wrapping.wrap(key));
    Newcomer { account, key, identity, email, user_name, capabilities }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_joins_can_log_in_afterwards() {
        let refused = |email: &str, user_name: &str, password: &str| {
            let (email, user_name, password) = (email.to_owned(), user_name.to_owned(), password.to_owned());
            let report =
                Registration { email, user_name, password, sell: false, store: None, click_id: None }.validate().err();
            let wrong = report.into_iter().flat_map(garde::Report::into_inner).map(|(path, _)| path.to_string());
            wrong.collect::<BTreeSet<_>>()
        };
        let fields = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
        assert_eq!(refused("ann@example.com", "ann", "long enough"), fields(&[]));
        let (long_email, long_password) = (format!("{}@example.com", "a".repeat(250)), "x".repeat(129));
        assert_eq!(refused("ann", "a b c", "1234567"), fields(&["email", "user_name", "password"]));
        assert_eq!(refused(&long_email, "an", &long_password), fields(&["email", "user_name", "password"]));
        assert_eq!(refused("ann@example.com", "ann", "long\0enough"), fields(&["password"]));
    }
}
