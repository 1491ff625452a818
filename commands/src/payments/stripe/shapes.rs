//! What Stripe answers: of each object the fields that are read here, after the types of Stripe's own client library
//! (`stripe` 23.1.0 on npm, API version 2026-10-28.endive).
//!
//! Fields may come that nobody here knows, and values of a status too: the first are passed over, the second are
//! `Unknown`, from which nothing follows.

use std::collections::BTreeMap;
use std::fmt;

use chrono::DateTime;
use domain::Timestamp;
use serde::{Deserialize, Deserializer};
use uuid::Uuid;

use super::super::provider::Secret;

/// The name of our operation in the metadata of what belongs to it.
pub(super) const OPERATION: &str = "operation";
/// No name of Stripe's is longer.
const LONGEST_ID: usize = 255;

/// Metadata, which may be absent.
pub(super) type Metadata = Option<BTreeMap<String, String>>;

/// Which of our operations something belongs to.
pub(super) fn operation(metadata: &Metadata) -> Option<Uuid> {
    metadata.as_ref()?.get(OPERATION)?.parse().ok()
}

/// Whether a text may be a name of Stripe's of this kind. Nothing else becomes part of an address.
pub(super) fn is_id(text: &str, prefix: &str) -> bool {
    let rest = text.strip_prefix(prefix).unwrap_or_default();
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    !rest.is_empty() && text.len() <= LONGEST_ID && rest.chars().all(plain)
}

/// A time of Stripe's, in seconds.
pub(super) fn time(seconds: i64) -> Option<Timestamp> {
    DateTime::from_timestamp(seconds, 0)
}

/// A name, or, where it was asked for or because Stripe likes to, what it names.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Named<T> {
    Name(String),
    Whole(Box<T>),
}

impl<T> Named<T> {
    pub(super) fn whole(&self) -> Option<&T> {
        match self {
            Self::Name(_) => None,
            Self::Whole(whole) => Some(whole),
        }
    }
}

impl<T: HasId> Named<T> {
    pub(super) fn id(&self) -> &str {
        match self {
            Self::Name(name) => name,
            Self::Whole(whole) => whole.id(),
        }
    }
}

/// Something with a name.
pub(super) trait HasId {
    fn id(&self) -> &str;
}

/// Of what only the name matters.
#[derive(Debug, Deserialize)]
pub(super) struct Id {
    pub(super) id: String,
}

impl HasId for Id {
    fn id(&self) -> &str {
        &self.id
    }
}

/// A page of a list, or of what was found.
#[derive(Debug, Deserialize)]
pub(super) struct Page<T> {
    pub(super) data: Vec<T>,
    #[serde(default)]
    pub(super) has_more: bool,
}

/// The body of every answer that is no success.
#[derive(Debug, Deserialize)]
pub(super) struct Failure {
    pub(super) error: ApiError,
}

/// What has gone wrong.
#[derive(Debug, Deserialize)]
pub(super) struct ApiError {
    #[serde(rename = "type", default, deserialize_with = "text")]
    pub(super) kind: String,
    #[serde(default, deserialize_with = "text")]
    pub(super) code: String,
    #[serde(default, deserialize_with = "text")]
    pub(super) message: String,
    /// What the attempt has left behind.
    pub(super) payment_intent: Option<Box<Intent>>,
}

/// For the log: the message may name things, but no secrets.
impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, code, message, .. } = self;
        write!(f, "{kind} {code}: {}", message.chars().take(300).collect::<String>())
    }
}

/// A payment intent.
#[derive(Debug, Deserialize)]
pub(super) struct Intent {
    pub(super) id: String,
    pub(super) amount: i64,
    pub(super) currency: String,
    pub(super) created: i64,
    pub(super) status: IntentStatus,
    #[serde(default, deserialize_with = "secret")]
    pub(super) client_secret: Option<Secret>,
    pub(super) last_payment_error: Option<LastError>,
    pub(super) latest_charge: Option<Named<ChargeObject>>,
    pub(super) metadata: Metadata,
    pub(super) next_action: Option<NextAction>,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
pub(super) enum IntentStatus {
    RequiresPaymentMethod,
    RequiresConfirmation,
    RequiresAction,
    RequiresCapture,
    Processing,
    Canceled,
    Succeeded,
    #[serde(other)]
    Unknown,
}

#[derive(Debug, Deserialize)]
pub(super) struct LastError {
    pub(super) message: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct NextAction {
    pub(super) redirect_to_url: Option<Redirect>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Redirect {
    pub(super) url: Option<String>,
}

/// A charge, which an intent makes.
#[derive(Debug, Deserialize)]
pub(super) struct ChargeObject {
    pub(super) balance_transaction: Option<Named<BalanceTransaction>>,
}

/// A text, or none.
fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.unwrap_or_default())
}

fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Secret>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.map(Secret::new))
}

/// A refund.
#[derive(Debug, Deserialize)]
pub(super) struct RefundObject {
    pub(super) id: String,
    pub(super) amount: i64,
    pub(super) currency: String,
    pub(super) status: Option<RefundStatus>,
    pub(super) failure_reason: Option<String>,
    pub(super) metadata: Metadata,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
pub(super) enum RefundStatus {
    Pending,
    RequiresAction,
    Succeeded,
    Failed,
    Canceled,
    #[serde(other)]
    Unknown,
}

/// Money on its way from the marketplace to a merchant.
#[derive(Debug, Deserialize)]
pub(super) struct Transfer {
    pub(super) id: String,
    pub(super) amount: i64,
    pub(super) currency: String,
    #[serde(default)]
    pub(super) amount_reversed: i64,
    pub(super) destination: Option<Named<Id>>,
    pub(super) metadata: Metadata,
}

/// Money on its way from a merchant to a bank.
#[derive(Debug, Deserialize)]
pub(super) struct PayoutObject {
    pub(super) id: String,
    pub(super) amount: i64,
    pub(super) currency: String,
    pub(super) status: PayoutStatus,
    pub(super) failure_message: Option<String>,
    pub(super) metadata: Metadata,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
pub(super) enum PayoutStatus {
    Pending,
    InTransit,
    Paid,
    Failed,
    Canceled,
    #[serde(other)]
    Unknown,
}

/// A merchant.
#[derive(Debug, Deserialize)]
pub(super) struct Account {
    pub(super) id: String,
    #[serde(default)]
    pub(super) payouts_enabled: bool,
    pub(super) capabilities: Option<Capabilities>,
    pub(super) requirements: Option<Requirements>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Capabilities {
    pub(super) transfers: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Requirements {
    pub(super) currently_due: Option<Vec<String>>,
    pub(super) past_due: Option<Vec<String>>,
}

impl Account {
    /// Whether money can be sent there, and from there to a bank.
    pub(super) fn is_paid_out(&self) -> bool {
        let transfers = self.capabilities.as_ref().and_then(|capabilities| capabilities.transfers.as_deref());
        self.payouts_enabled && transfers.is_none_or(|transfers| transfers == "active")
    }
}

/// Where a merchant goes on.
#[derive(Debug, Deserialize)]
pub(super) struct AccountLink {
    pub(super) url: String,
    pub(super) expires_at: i64,
}

/// A dispute.
#[derive(Debug, Deserialize)]
pub(super) struct Dispute {
    pub(super) id: String,
    pub(super) amount: i64,
    pub(super) currency: String,
    pub(super) charge: Named<Id>,
    pub(super) payment_intent: Option<Named<Id>>,
    #[serde(default)]
    pub(super) reason: String,
    pub(super) status: DisputeStatus,
    /// What was taken from us for it, and given back.
    #[serde(default)]
    pub(super) balance_transactions: Vec<Moved>,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
pub(super) enum DisputeStatus {
    Won,
    Lost,
    #[serde(other)]
    Open,
}

#[derive(Debug, Deserialize)]
pub(super) struct Moved {
    pub(super) amount: i64,
}

/// A line of Stripe's books of our balance.
#[derive(Debug, Deserialize)]
pub(super) struct BalanceTransaction {
    pub(super) id: String,
    pub(super) amount: i64,
    pub(super) currency: String,
    pub(super) created: i64,
    #[serde(default)]
    pub(super) fee: i64,
    pub(super) source: Option<Named<Source>>,
    #[serde(rename = "type")]
    pub(super) kind: String,
}

impl HasId for Source {
    fn id(&self) -> &str {
        &self.id
    }
}

/// What a line is about: whatever Stripe has.
#[derive(Debug, Deserialize)]
pub(super) struct Source {
    pub(super) id: String,
    #[serde(default)]
    pub(super) object: String,
    pub(super) amount: Option<i64>,
    pub(super) currency: Option<String>,
    pub(super) metadata: Metadata,
    pub(super) payment_intent: Option<Named<Id>>,
}

/// Something that Stripe says by itself.
#[derive(Debug, Deserialize)]
pub(super) struct EventObject {
    pub(super) id: String,
    pub(super) created: i64,
    #[serde(rename = "type")]
    pub(super) kind: String,
    /// The merchant in whose name it has happened.
    pub(super) account: Option<String>,
    pub(super) data: EventData,
}

#[derive(Debug, Deserialize)]
pub(super) struct EventData {
    /// Read when it is known what it is.
    pub(super) object: serde_json::Value,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_stripes_become_part_of_an_address() {
        assert!(is_id("pi_3MtwBwLkdIwHu7ix28a3tqPa", "pi_") && is_id("acct_1Nv0FGQ9RKHgCVdK", "acct_"));
        for wrong in ["", "pi_", "ch_1", "pi_1/../x", "pi_1?x", "pi_1 ", "pi_é", &format!("pi_{}", "a".repeat(253))] {
            assert!(!is_id(wrong, "pi_"), "{wrong}");
        }
    }

    #[test]
    fn a_status_that_is_new_is_unknown_and_a_secret_is_not_printed() {
        let json = r#"{"id":"pi_1","amount":1,"currency":"usd","created":1,"status":"requires_love","client_secret":"s3cr3t"}"#;
        let intent: Intent = serde_json::from_str(json).unwrap();
        assert_eq!(intent.status, IntentStatus::Unknown);
        assert!(intent.client_secret.is_some() && !format!("{intent:?}").contains("s3cr3t"));
    }
}
