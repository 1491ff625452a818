//! What webhooks of a payment provider are signed with: secrets with commas between, so that two count while one is replaced.

use commands::payments;

use super::Secret;

/// What they must be: whoever has one can say that money has come.
pub(super) const RULE: &str = "each secret between its commas must have at least 16 characters";
const MIN_CHARS: usize = 16;

/// The secrets, one by one.
pub(super) fn secrets(set: Option<&Secret<String>>) -> Vec<payments::Secret> {
    let secrets = set.into_iter().flat_map(|secrets| secrets.expose().split(','));
    secrets.map(|secret| payments::Secret::new(secret.trim())).collect()
}

/// Whether none of them can be guessed.
pub(super) fn are_usable(set: Option<&Secret<String>>) -> bool {
    secrets(set).iter().all(|secret| secret.expose().chars().count() >= MIN_CHARS)
}
