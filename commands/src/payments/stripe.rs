//! Stripe, over its HTTP API: payment intents, refunds, and for sellers Connect accounts, transfers and payouts.
//!
//! **Once.** What moves money is asked for under an idempotency key that derives from our operation, and carries the
//! operation in its metadata. Stripe answers a key as it did the first time, but only for a day; so whatever may have been
//! asked for longer ago is looked for first, and asked for only where it is not found. Looking alone would not do: what was
//! made a moment ago may not be found yet.
//!
//! **How it ended.** What a bank declines, and what Stripe refuses because of what is asked, is over. Anything else (no
//! answer, an error of theirs, a key of ours that is not good, too many questions) says nothing about the money, and is
//! asked again. An intent whose payment has failed is cancelled before that is told, or a page that is still open could
//! pay it after all.
//!
//! **To sellers.** Money goes to a merchant's balance at Stripe (a transfer), and from there to the bank (a payout), which
//! only we begin. Where the second fails, the first is taken back before the failure is told, so that money is in one
//! place only.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use domain::{AccountId, Timestamp};
use eventstore::clock::Clock;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::provider::{
    Asked, BadWebhook, Charge, Headers, Keeping, Link, MerchantStatus, Notice, Onboarding, Outcome, PaymentProvider,
    Payout, ProviderUnreachable, Record, Refund, Secret,
};
use wire::{Ask, Http, Trouble, Wire};

mod amounts;
mod charges;
mod merchants;
mod methods;
mod payouts;
mod records;
mod shapes;
#[cfg(test)]
mod tests;
pub(crate) mod webhooks;
mod wire;

pub use webhooks::SIGNATURE_HEADER;
pub use wire::API_VERSION;

/// The name in payment methods.
pub const NAME: &str = "stripe";
/// Where Stripe is.
pub const API_BASE: &str = "https://api.stripe.com";
/// Stripe keeps a key for at least a day. This is less, for clocks that differ.
const KEYS_LAST: TimeDelta = TimeDelta::hours(23);
/// How often it is tried again under a key of its own, in one question, what the balance did not cover.
const MOST_ATTEMPTS: usize = 8;
/// How long to wait each time while Stripe is busy with the same question.
const PAUSES: [Duration; 4] =
    [Duration::from_millis(250), Duration::from_millis(500), Duration::from_secs(1), Duration::from_secs(2)];
/// When to look again at what takes a bank hours or days. A webhook says it sooner.
const BANKS_TAKE: TimeDelta = TimeDelta::hours(6);
/// What people are told is no longer than this.
const LONGEST_REASON: usize = 300;

/// What a marketplace has agreed with Stripe.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where it is.
    pub api_base: String,
    /// Who we are there.
    pub api_key: Secret,
    /// What its webhooks are signed with: one for each endpoint there, and two while one is replaced.
    pub webhook_secrets: Vec<Secret>,
    /// Where a payer comes back to whom the bank has asked who they are; without it the frontend asks by Stripe's library.
    pub return_url: Option<String>,
    /// Where the frontend is, to which a seller comes back from Stripe.
    pub site: String,
}

/// The key cannot be sent: it has characters that no header has.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("stripe.api_key has characters that no key of Stripe's has")]
pub struct BadKey;

/// Stripe.
pub struct Stripe {
    wire: Arc<dyn Wire>,
    webhook_secrets: Vec<Secret>,
    return_url: Option<String>,
    site: String,
    /// What goes by real time (how long keys last, how long a page stays open) does so in a sandbox too.
    real_now: fn() -> Timestamp,
}

impl fmt::Debug for Stripe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stripe").finish_non_exhaustive()
    }
}

impl Stripe {
    /// With a client that follows no redirects.
    pub fn new(settings: Settings, client: reqwest::Client) -> Result<Self, BadKey> {
        let Settings { api_base, api_key, webhook_secrets, return_url, site } = settings;
        let wire = Arc::new(Http::new(client, &api_base, &api_key).ok_or(BadKey)?);
        Ok(Self { wire, webhook_secrets, return_url, site, real_now: Clock::real_now })
    }

    /// Asks, and again a little later while Stripe is busy with the same: whoever waits for a payment asks, and so does the
    /// process.
    async fn ask<T: DeserializeOwned>(&self, ask: Ask) -> Result<T, Trouble> {
        let mut pauses = PAUSES.into_iter();
        loop {
            match (self.wire.send(&ask).await, pauses.next()) {
                (Ok(reply), Some(pause)) if reply.is_busy() => tokio::time::sleep(pause).await,
                (Ok(reply), _) => return reply.read(),
                (Err(ProviderUnreachable(because)), _) => return Err(Trouble::Unknown { because, for_good: false }),
            }
        }
    }

    /// What there may be too little on the balance for today. The answer to that is kept under its key like any other, so
    /// what has failed so, and for certain, is tried again under the next.
    async fn ask_in_turn<T: DeserializeOwned>(&self, ask: Ask, operation: Uuid, step: &str) -> Result<T, Trouble> {
        for attempt in 0..MOST_ATTEMPTS {
            match self.ask(ask.clone().key(key(&operation, step, attempt))).await {
                Err(Trouble::NotCovered { replayed: true }) => {}
                answer => return answer,
            }
        }
        Err(Trouble::NotCovered { replayed: true })
    }

    /// Whether Stripe still knows every key of an operation that was first asked for then.
    fn keys_are_known(&self, requested_at: Option<Timestamp>) -> bool {
        let age = requested_at.map(|requested_at| (self.real_now)() - requested_at);
        age.is_some_and(|age| age.abs() < KEYS_LAST)
    }
}

/// When an id was made, if it says so: those of refunds and payouts mostly are when they are asked for.
fn made_at(operation: Uuid) -> Option<Timestamp> {
    let (seconds, nanoseconds) = operation.get_timestamp()?.to_unix();
    Timestamp::from_timestamp(i64::try_from(seconds).ok()?, nanoseconds)
}

/// What makes asking for a step of an operation twice harmless.
fn key<T: fmt::Display + ?Sized>(of: &T, step: &str, attempt: usize) -> String {
    match attempt {
        0 => format!("tradepost-{of}-{step}"),
        again => format!("tradepost-{of}-{step}-{again}"),
    }
}

/// Text of Stripe's, as it is shown to people: never with the customer, who is half of the token of what is kept.
fn shown(text: &str) -> String {
    if text.contains("cus_") {
        return "the payment provider does not take this".to_owned();
    }
    text.chars().filter(|c| !c.is_control()).take(LONGEST_REASON).collect()
}

fn declined(reason: &str) -> Outcome {
    Outcome::Declined { reason: shown(reason) }
}

/// A name of Stripe's that is not one: whoever has stored it is wrong, and no money says so.
fn no_such(what: &str) -> ProviderUnreachable {
    ProviderUnreachable(format!("there is no {what} of that name"))
}

impl PaymentProvider for Stripe {
    fn name(&self) -> &'static str {
        NAME
    }

    /// Payment methods are charged, merchants are paid out. What is kept is named by whoever keeps it, and never by its token:
    /// somebody else who has come to know that could charge it.
    fn knows(&self, token: &str) -> bool {
        let is_new = methods::read(token).is_some_and(|method| method.customer.is_none());
        is_new || shapes::is_id(token, "acct_")
    }

    fn charge<'a>(&'a self, charge: &'a Charge) -> Asked<'a, Outcome> {
        Box::pin(self.charge_now(charge))
    }

    fn refund<'a>(&'a self, refund: &'a Refund) -> Asked<'a, Outcome> {
        Box::pin(self.refund_now(refund))
    }

    fn payout<'a>(&'a self, payout: &'a Payout) -> Asked<'a, Outcome> {
        Box::pin(self.pay_out_now(payout))
    }

    fn keep<'a>(&'a self, owner: AccountId, token: &'a str) -> Asked<'a, Keeping> {
        Box::pin(self.keep_now(owner, token))
    }

    fn onboard<'a>(&'a self, onboarding: &'a Onboarding) -> Asked<'a, Link> {
        Box::pin(self.onboard_now(onboarding))
    }

    fn merchant<'a>(&'a self, reference: &'a str) -> Asked<'a, MerchantStatus> {
        Box::pin(self.look_at_merchant(reference))
    }

    fn read_webhook(&self, headers: &Headers, body: &[u8], now: Timestamp) -> Result<Vec<Notice>, BadWebhook> {
        webhooks::read(headers, body, &self.webhook_secrets, now)
    }

    fn complete(&self, notice: Notice) -> Asked<'_, Notice> {
        Box::pin(self.complete_now(notice))
    }

    fn records(&self, from: Timestamp, to: Timestamp) -> Asked<'_, Vec<Record>> {
        Box::pin(self.read_records(from, to))
    }
}
