//! A provider that moves no real money: what it does is in the token.
//!
//! | token | charge, deposit | refund to it | payout, withdrawal |
//! | --- | --- | --- | --- |
//! | `sandbox-succeeds` | succeeds | succeeds | succeeds |
//! | `sandbox-fees` | succeeds; 2.9 % are the provider's | succeeds | succeeds |
//! | `sandbox-declines` | declined: insufficient funds on the card | | refused: the account is closed |
//! | `sandbox-delays` | succeeds ten seconds later | succeeds ten seconds later | succeeds ten seconds later |
//! | `sandbox-needs-action` | waits for the user, who does it within ten seconds unless a webhook says how it went | succeeds | succeeds |
//! | `sandbox-abandons` | waits for the user, who does nothing: declined after ten seconds | | refused: the account is closed |
//! | `sandbox-disputes` | succeeds, and is disputed at once | succeeds | succeeds |
//! | `sandbox-keeps-refunds` | succeeds | refused: the card is closed | succeeds |
//! | `sandbox-returns` | succeeds | succeeds | succeeds, and comes back at once |
//!
//! It keeps nothing, so it answers the same after a restart: what it says depends on what it is asked alone. Whatever
//! else is to happen, it can be told to have happened by a webhook: see [`Message`].

use chrono::TimeDelta;
use domain::{Money, Timestamp};
use futures::future::ready;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::provider::{
    Action, Asked, BadWebhook, Charge, Headers, Link, MerchantStatus, Notice, Onboarding, Outcome, PaymentProvider,
    Payout, ProviderUnreachable, Record, Refund, Secret, What,
};
use super::signature;

/// The name in payment methods.
pub const NAME: &str = "sandbox";
/// Succeeds.
pub const SUCCEEDS: &str = "sandbox-succeeds";
/// Succeeds, and costs [`FEE_BPS`].
pub const FEES: &str = "sandbox-fees";
/// Is declined.
pub const DECLINES: &str = "sandbox-declines";
/// Succeeds after [`DELAY`].
pub const DELAYS: &str = "sandbox-delays";
/// Waits for the user, who does what is to be done within [`DELAY`].
pub const NEEDS_ACTION: &str = "sandbox-needs-action";
/// Waits for the user, who does nothing.
pub const ABANDONS: &str = "sandbox-abandons";
/// Succeeds, and is disputed.
pub const DISPUTES: &str = "sandbox-disputes";
/// Takes no refund.
pub const KEEPS_REFUNDS: &str = "sandbox-keeps-refunds";
/// Is paid out to, and sends it back.
pub const RETURNS: &str = "sandbox-returns";
/// Every token.
pub const TOKENS: [&str; 9] =
    [SUCCEEDS, FEES, DECLINES, DELAYS, NEEDS_ACTION, ABANDONS, DISPUTES, KEEPS_REFUNDS, RETURNS];
/// How long [`DELAYS`] and [`NEEDS_ACTION`] take, by the marketplace's clock.
pub const DELAY: TimeDelta = TimeDelta::seconds(10);
/// What [`FEES`] costs, in basis points.
pub const FEE_BPS: u32 = 290;
/// How long a link to where a seller goes on works.
pub const LINK_LASTS: TimeDelta = TimeDelta::minutes(5);
/// The header that webhooks are signed in.
pub const SIGNATURE_HEADER: &str = "tradepost-signature";

/// The sandbox.
#[derive(Clone, Debug, Default)]
pub struct Sandbox {
    /// With one of which its webhooks are signed; without any, none are taken.
    pub webhook_secrets: Vec<Secret>,
}

/// A webhook of the sandbox, as JSON; signed as [`signature`] tells, in [`SIGNATURE_HEADER`].
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Message {
    /// Of two messages with one id the second is not listened to.
    pub id: String,
    /// When it happened.
    pub at: Timestamp,
    /// The operation that it is about: that of the request to the sandbox.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<Uuid>,
    /// The sandbox's name for what it is about.
    pub reference: String,
    /// What has happened.
    pub news: News,
}

/// What a webhook of the sandbox says, by its `type`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(tag = "type", deny_unknown_fields)]
pub enum News {
    /// As [`What::ChargeSucceeded`].
    #[serde(rename = "charge.succeeded")]
    ChargeSucceeded {
        /// How much the payer has paid.
        amount: Money,
        /// What the sandbox keeps of it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        fee: Option<Money>,
    },
    /// As [`What::ChargeFailed`].
    #[serde(rename = "charge.failed")]
    ChargeFailed {
        /// Why.
        reason: String,
    },
    /// As [`What::ChargeActionRequired`].
    #[serde(rename = "charge.action_required")]
    ChargeActionRequired {},
    /// As [`What::RefundSucceeded`].
    #[serde(rename = "refund.succeeded")]
    RefundSucceeded {},
    /// As [`What::RefundFailed`].
    #[serde(rename = "refund.failed")]
    RefundFailed {
        /// Why.
        reason: String,
    },
    /// As [`What::PayoutPaid`].
    #[serde(rename = "payout.paid")]
    PayoutPaid {},
    /// As [`What::PayoutFailed`].
    #[serde(rename = "payout.failed")]
    PayoutFailed {
        /// Why.
        reason: String,
    },
    /// As [`What::DisputeOpened`].
    #[serde(rename = "dispute.opened")]
    DisputeOpened {
        /// The sandbox's name for the dispute.
        dispute: String,
        /// How much was taken back.
        amount: Money,
        /// Why.
        reason: String,
    },
    /// As [`What::DisputeWon`].
    #[serde(rename = "dispute.won")]
    DisputeWon {
        /// The sandbox's name for the dispute.
        dispute: String,
    },
    /// As [`What::DisputeLost`].
    #[serde(rename = "dispute.lost")]
    DisputeLost {
        /// The sandbox's name for the dispute.
        dispute: String,
    },
    /// As [`What::MerchantChanged`].
    #[serde(rename = "merchant.changed")]
    MerchantChanged {
        /// Whether it can be paid out.
        payouts: bool,
    },
}

impl From<News> for What {
    fn from(news: News) -> Self {
        match news {
            News::ChargeSucceeded { amount, fee } => Self::ChargeSucceeded { amount, fee },
            News::ChargeFailed { reason } => Self::ChargeFailed { reason },
            News::ChargeActionRequired {} => Self::ChargeActionRequired,
            News::RefundSucceeded {} => Self::RefundSucceeded,
            News::RefundFailed { reason } => Self::RefundFailed { reason },
            News::PayoutPaid {} => Self::PayoutPaid,
            News::PayoutFailed { reason } => Self::PayoutFailed { reason },
            News::DisputeOpened { dispute, amount, reason } => Self::DisputeOpened { dispute, amount, reason },
            News::DisputeWon { dispute } => Self::DisputeWon { dispute },
            News::DisputeLost { dispute } => Self::DisputeLost { dispute },
            News::MerchantChanged { payouts } => Self::MerchantChanged { payouts },
        }
    }
}

impl PaymentProvider for Sandbox {
    fn name(&self) -> &'static str {
        NAME
    }

    fn knows(&self, token: &str) -> bool {
        TOKENS.contains(&token)
    }

    fn charge<'a>(&'a self, charge: &'a Charge) -> Asked<'a, Outcome> {
        Box::pin(ready(Ok(charged(charge))))
    }

    fn refund<'a>(&'a self, refund: &'a Refund) -> Asked<'a, Outcome> {
        let Refund { operation, token, now, check_at, .. } = refund;
        let succeeded = Outcome::Succeeded { reference: reference("re", *operation), fee: None };
        Box::pin(ready(Ok(match token.as_str() {
            DELAYS => later("re", *operation, *now, *check_at, succeeded),
            KEEPS_REFUNDS => Outcome::Declined { reason: "the card is closed".to_owned() },
            _ => succeeded,
        })))
    }

    fn payout<'a>(&'a self, payout: &'a Payout) -> Asked<'a, Outcome> {
        let Payout { operation, destination, now, check_at, .. } = payout;
        let succeeded = Outcome::Succeeded { reference: reference("po", *operation), fee: None };
        Box::pin(ready(Ok(match destination.as_str() {
            DELAYS => later("po", *operation, *now, *check_at, succeeded),
            DECLINES | ABANDONS => Outcome::Declined { reason: "the bank account is closed".to_owned() },
            known if TOKENS.contains(&known) || known.starts_with(MERCHANT_PREFIX) => succeeded,
            _ => unknown_token(),
        })))
    }

    fn onboard<'a>(&'a self, onboarding: &'a Onboarding) -> Asked<'a, Link> {
        let made = || format!("{MERCHANT_PREFIX}{}", onboarding.operation.simple());
        let reference = onboarding.reference.clone().unwrap_or_else(made);
        let url = format!("https://sandbox.invalid/onboarding/{reference}");
        Box::pin(ready(Ok(Link { reference, url, expires_at: onboarding.now + LINK_LASTS })))
    }

    /// Everybody is welcome at once.
    fn merchant<'a>(&'a self, _: &'a str) -> Asked<'a, MerchantStatus> {
        Box::pin(ready(Ok(MerchantStatus { payouts: true, due: Vec::new() })))
    }

    fn read_webhook(&self, headers: &Headers, body: &[u8], now: Timestamp) -> Result<Vec<Notice>, BadWebhook> {
        signature::verify(headers.get(SIGNATURE_HEADER), body, &self.webhook_secrets, now)?;
        let read: Message = serde_json::from_slice(body).map_err(|error| BadWebhook::Unreadable(error.to_string()))?;
        let Message { id, at, operation, reference, news } = read;
        Ok(vec![Notice { id, at, operation, reference, what: news.into() }.possible()?])
    }

    fn records(&self, _: Timestamp, _: Timestamp) -> Asked<'_, Vec<Record>> {
        Box::pin(ready(Err(ProviderUnreachable("the sandbox keeps no books".to_owned()))))
    }

    fn aftermath(&self, operation: Uuid, token: &str, amount: Money, now: Timestamp) -> Vec<Notice> {
        let notice = |prefix: &str, kind: &str, what| Notice {
            id: format!("evt_{kind}_{}", operation.simple()),
            at: now,
            operation: Some(operation),
            reference: reference(prefix, operation),
            what,
        };
        match token {
            DISPUTES => {
                let dispute = reference("dp", operation);
                let reason = "fraudulent".to_owned();
                vec![notice("ch", "disputed", What::DisputeOpened { dispute, amount, reason })]
            }
            RETURNS => {
                let reason = "the bank account is closed".to_owned();
                vec![notice("po", "returned", What::PayoutFailed { reason })]
            }
            _ => Vec::new(),
        }
    }
}

/// How the names of the sandbox's merchants begin.
const MERCHANT_PREFIX: &str = "acct_";

fn reference(prefix: &str, operation: Uuid) -> String {
    format!("{prefix}_{}", operation.simple())
}

fn charged(charge: &Charge) -> Outcome {
    let Charge { operation, amount, now, check_at, .. } = charge;
    let with_fee = |fee| Outcome::Succeeded { reference: reference("ch", *operation), fee };
    let succeeded = || with_fee(None);
    let declined = |reason: &str| Outcome::Declined { reason: reason.to_owned() };
    let due = check_at.is_some_and(|check_at| *now >= check_at);
    match charge.token.as_str() {
        SUCCEEDS | DISPUTES | KEEPS_REFUNDS | RETURNS => succeeded(),
        FEES => with_fee(amount.share_bps(FEE_BPS).ok().filter(|fee| fee.is_positive())),
        DECLINES => declined("the card has insufficient funds"),
        DELAYS => later("ch", *operation, *now, *check_at, succeeded()),
        NEEDS_ACTION if due => succeeded(),
        ABANDONS if due => declined("what the bank had asked for was not done in time"),
        NEEDS_ACTION | ABANDONS => Outcome::ActionRequired {
            reference: reference("ch", *operation),
            action: Action {
                redirect_url: Some(format!("https://sandbox.invalid/actions/{}", reference("ch", *operation))),
                client_secret: Some(Secret::new(format!("{}_secret", reference("ch", *operation)))),
            },
            check_at: check_at.unwrap_or(*now + DELAY),
        },
        _ => unknown_token(),
    }
}

fn later(prefix: &str, operation: Uuid, now: Timestamp, check_at: Option<Timestamp>, succeeded: Outcome) -> Outcome {
    match check_at {
        Some(check_at) if now >= check_at => succeeded,
        _ => {
            let reference = Some(reference(prefix, operation));
            Outcome::Pending { reference, check_at: check_at.unwrap_or(now + DELAY) }
        }
    }
}

/// Said without the token, which is shown to nobody.
fn unknown_token() -> Outcome {
    Outcome::Declined { reason: "this is no payment method that the sandbox can use here".to_owned() }
}

#[cfg(test)]
mod tests;
