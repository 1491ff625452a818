//! What clients have asked, and what they were told: the other half of what the [`checker`](crate::checker) looks at.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use api::http::extract::guest_key;
use commands::CommandKey;
use domain::{AccountId, AuctionId, ListingId, Money, OrderId, Timestamp};
use eventstore::clock::Clock;
use eventstore::log::Digest;
use eventstore::secrets::RootSecret;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::client::{Answer, Client};
use crate::fail::OrFail;
use crate::server::SECRET;

/// Every command of a run.
#[derive(Clone, Debug, Default, Serialize)]
pub struct History {
    /// In no particular order.
    pub commands: Vec<Command>,
}

/// Something that an account wanted done, and every attempt at it under one key.
#[derive(Clone, Debug, Serialize)]
pub struct Command {
    /// Who wanted it; a guest has no account.
    pub actor: Option<AccountId>,
    /// The `Idempotency-Key` of every attempt.
    pub key: String,
    /// What was wanted.
    pub intent: Intent,
    /// One after another.
    pub attempts: Vec<Attempt>,
}

/// What can be wanted.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub enum Intent {
    /// Bid up to a maximum.
    Bid {
        /// Where.
        auction: AuctionId,
        /// Up to what.
        maximum: Money,
    },
    /// Ask for money.
    Deposit {
        /// How much.
        amount: Money,
        /// The sandbox's token.
        method: String,
    },
    /// Send money out.
    Withdraw {
        /// How much.
        amount: Money,
        /// The sandbox's token.
        method: String,
    },
    /// Offer what was won and not paid to the highest underbidder.
    OfferSecondChance {
        /// Where.
        auction: AuctionId,
    },
    /// Take what one was offered.
    AcceptSecondChance {
        /// Where.
        auction: AuctionId,
    },
    /// Order at a store without an account, to be paid in cash.
    GuestOrder {
        /// The store.
        store: Shop,
        /// The guest's.
        phone: String,
        /// What.
        lines: Vec<Wanted>,
    },
    /// Buy a cart.
    Checkout {
        /// What.
        lines: Vec<Wanted>,
        /// Whether it is paid at once, from the wallet.
        pay_now: bool,
        /// How many bonus points pay for a part of it.
        points: u64,
    },
    /// Pay an order and those placed with it.
    Pay {
        /// The order.
        order: OrderId,
        /// The sandbox's token; from the wallet unless told.
        method: Option<String>,
    },
    /// Do something with an order.
    Change {
        /// The order.
        order: OrderId,
        /// What.
        what: Change,
    },
}

/// A store.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Shop {
    /// What it is called in paths.
    pub slug: String,
    /// Whose it is.
    pub owner: AccountId,
}

/// A number of pieces of a listing that has no variants.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Wanted {
    /// Of which listing.
    pub listing: ListingId,
    /// How many.
    pub quantity: u32,
}

/// What can be done with an order. Carrier and reasons are always the same.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub enum Change {
    /// Call it off.
    Cancel,
    /// Say that a guest means it.
    ConfirmGuest,
    /// Say that it is on its way.
    Ship,
    /// Say that it has arrived.
    Deliver,
    /// Say that one is content.
    Confirm,
    /// Stop the clock.
    Dispute,
    /// Give money back.
    Refund {
        /// How much; all that is left unless told.
        amount: Option<Money>,
    },
}

/// How the log names somebody without an account.
pub const NOBODY: &str = "anonymous";
/// Who brings what is shipped.
pub const CARRIER: &str = "Royal Mail";
/// Why things are cancelled and disputed.
pub const REASON: &str = "It is not what I wanted.";

/// One request and what came of it.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Attempt {
    /// Which server was asked.
    pub node: usize,
    /// When the request was sent, counted from the beginning of the run.
    pub began: Duration,
    /// When its outcome was known.
    pub ended: Duration,
    /// The same, by the clock on the wall.
    pub ended_at: Timestamp,
    /// What came of it.
    pub outcome: Outcome,
}

/// What can come of a request.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub enum Outcome {
    /// It was carried out.
    Accepted {
        /// The position of its last event.
        position: i64,
        /// Whether this answer was given before under the same key.
        replayed: bool,
        /// What else was told.
        body: Value,
    },
    /// A rule said no.
    Refused {
        /// The position that the refusal rests on.
        position: i64,
        /// The problem.
        problem: Value,
    },
    /// Nobody knows: no answer, or one that says so.
    Unknown {
        /// How that came.
        why: String,
    },
    /// An answer that must never be given.
    Improper {
        /// Which.
        why: String,
    },
}

/// What is told of an attempt without an answer.
const NO_ANSWER: &str = "no answer";

impl Outcome {
    /// What an answer, or the lack of one, means.
    pub fn of(answer: Result<Answer, reqwest::Error>) -> Self {
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => return Self::Unknown { why: format!("{NO_ANSWER}: {error}") },
        };
        let (status, slug) = (answer.status, answer.slug().unwrap_or_default());
        let body_position = answer.body["position"].as_i64();
        match (status, answer.position, body_position) {
            (200..=299, Some(position), Some(same)) if position == same => {
                Self::Accepted { position, replayed: answer.replayed(), body: answer.body }
            }
            (403 | 404 | 409 | 412 | 422, Some(position), Some(same)) if position == same => {
                Self::Refused { position, problem: answer.body }
            }
            (503, ..) if answer.header("retry-after").is_some() => Self::Unknown { why: format!("503 {slug}") },
            (409, ..) if slug == "idempotency-key-in-flight" => Self::Unknown { why: format!("409 {slug}") },
            _ => Self::Improper { why: format!("{status} {}", answer.text) },
        }
    }

    /// Whether there was no answer, not even one that nobody knows yet.
    pub fn is_unanswered(&self) -> bool {
        matches!(self, Self::Unknown { why } if why.starts_with(NO_ANSWER))
    }

    /// Whether it is known what has become of the command.
    pub fn is_definite(&self) -> bool {
        matches!(self, Self::Accepted { .. } | Self::Refused { .. })
    }
}

impl Intent {
    /// Asks for it once.
    pub async fn send(&self, client: &Client, key: &str) -> Outcome {
        let (path, body) = self.request();
        Outcome::of(client.post(&path, &body).key(key).attempt().await)
    }

    /// Whether it may be carried out with nothing left to do: what is cancelled may be cancelled again, and a guest be
    /// asked again.
    pub fn may_change_nothing(&self) -> bool {
        matches!(self, Self::Change { what: Change::Cancel | Change::ConfirmGuest, .. })
    }

    fn request(&self) -> (String, Value) {
        match self {
            Self::Bid { auction, maximum } => (format!("/auctions/{auction}/bids"), json!({ "maximum": maximum })),
            Self::Deposit { amount, method } => {
                ("/payments/deposit".to_owned(), json!({ "amount": amount, "payment_method": method }))
            }
            Self::Withdraw { amount, method } => {
                ("/payments/withdraw".to_owned(), json!({ "amount": amount, "payment_method": method }))
            }
            Self::OfferSecondChance { auction } => (format!("/auctions/{auction}/second-chance"), json!({})),
            Self::AcceptSecondChance { auction } => (format!("/auctions/{auction}/second-chance/accept"), json!({})),
            Self::GuestOrder { store, phone, lines } => {
                let lines: Vec<Value> = lines.iter().map(Wanted::body).collect();
                let address = json!({ "line1": "12 Mall Road", "city": "Lahore", "country": "PK" });
                let body = json!({
                    "name": "Canary Lee", "phone": phone, "confirmation": "phone", "address": address, "lines": lines,
                });
                (format!("/store/{}/orders", store.slug), body)
            }
            Self::Checkout { lines, pay_now, points } => {
                let lines: Vec<Value> = lines.iter().map(Wanted::body).collect();
                let pay = if *pay_now { "now" } else { "later" };
                ("/orders".to_owned(), json!({ "lines": lines, "pay": pay, "points": points }))
            }
            Self::Pay { order, method } => (format!("/orders/{order}/pay"), json!({ "payment_method": method })),
            Self::Change { order, what } => what.request(*order),
        }
    }
}

impl Wanted {
    fn body(&self) -> Value {
        json!({ "listing_id": self.listing, "quantity": self.quantity })
    }
}

impl Change {
    fn request(self, order: OrderId) -> (String, Value) {
        let (path, body) = match self {
            Self::Cancel => ("cancel", json!({ "reason": REASON })),
            Self::Ship => ("ship", json!({ "carrier": CARRIER })),
            Self::Deliver => ("deliver", json!({})),
            Self::Confirm => ("confirm", json!({})),
            Self::ConfirmGuest => return (format!("/merchant/orders/{order}/confirm"), json!({})),
            Self::Dispute => return (format!("/escrow/{order}/dispute"), json!({ "reason": REASON })),
            Self::Refund { amount } => ("refund", json!({ "amount": amount })),
        };
        (format!("/orders/{order}/{path}"), body)
    }
}

impl Command {
    /// Asks once for something; `epoch` is when the run began.
    pub async fn asked_once(client: &Client, key: String, intent: Intent, epoch: Instant) -> Self {
        let began = epoch.elapsed();
        let outcome = intent.send(client, &key).await;
        let attempt = Attempt { node: 0, began, ended: epoch.elapsed(), ended_at: Clock::real_now(), outcome };
        Self { actor: client.known_account(), key, intent, attempts: vec![attempt] }
    }

    /// Who wanted it, as the log names them.
    pub fn author(&self) -> String {
        self.actor.map_or_else(|| NOBODY.to_owned(), |actor| actor.to_string())
    }

    /// As what its key is stored. A guest's is one of a phone at a store.
    pub fn stored_key(&self) -> Digest {
        match &self.intent {
            Intent::GuestOrder { store, phone, .. } => {
                guest_key(&RootSecret::new(SECRET.as_bytes()), &[&store.slug, phone], &self.key)
            }
            _ => CommandKey::from_client(&self.author(), &self.key, &[]).key,
        }
    }
}

/// How many commands ended how.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counts {
    /// Carried out.
    pub accepted: usize,
    /// Refused by a rule.
    pub refused: usize,
    /// Attempts whose outcome was unknown.
    pub unknown_attempts: usize,
}

impl History {
    /// How many commands ended how; `node` narrows it to the attempts at one server.
    pub fn counts(&self, node: Option<usize>) -> Counts {
        let mut counts = Counts::default();
        let attempts = self.commands.iter().flat_map(|command| &command.attempts);
        for attempt in attempts.filter(|attempt| node.is_none_or(|node| attempt.node == node)) {
            match attempt.outcome {
                Outcome::Accepted { replayed: false, .. } => counts.accepted += 1,
                Outcome::Accepted { replayed: true, .. } => {}
                Outcome::Refused { .. } => counts.refused += 1,
                Outcome::Unknown { .. } | Outcome::Improper { .. } => counts.unknown_attempts += 1,
            }
        }
        counts
    }

    /// How many commands were carried out at an attempt whose answer never came, as the next that had one was told.
    pub fn lost_answers(&self) -> usize {
        let lost = |command: &&Command| {
            let first = command.attempts.iter().position(|attempt| attempt.outcome.is_definite());
            first.is_some_and(|first| {
                let (before, rest) = command.attempts.split_at(first);
                matches!(rest[0].outcome, Outcome::Accepted { replayed: true, .. })
                    && before.iter().any(|attempt| attempt.outcome.is_unanswered())
            })
        };
        self.commands.iter().filter(lost).count()
    }

    /// How many commands were carried out at an attempt of which nobody knew what had become, until it was tried again.
    pub fn settled_by_retry(&self) -> usize {
        let settled = |command: &&Command| {
            let first = command.attempts.iter().position(|attempt| attempt.outcome.is_definite());
            let told = first.and_then(|first| command.attempts.get(first)).map(|attempt| &attempt.outcome);
            matches!(told, Some(Outcome::Accepted { replayed: true, .. }))
        };
        self.commands.iter().filter(settled).count()
    }

    /// How many attempts got no answer at all.
    pub fn unanswered(&self) -> usize {
        let attempts = self.commands.iter().flat_map(|command| &command.attempts);
        attempts.filter(|attempt| attempt.outcome.is_unanswered()).count()
    }

    /// Writes everything down for whoever has to find out what went wrong. Tells where.
    pub fn keep(&self) -> PathBuf {
        let path = std::env::temp_dir().join(format!("tradepost-history-{}.json", std::process::id()));
        let text = serde_json::to_string_pretty(self).or_fail("write the history down");
        fs::write(&path, text).or_fail("write the history down");
        path
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn an_answer_is_lost_if_the_first_that_came_says_that_it_is_told_again() {
        let unanswered = || Outcome::Unknown { why: format!("{NO_ANSWER}: connection reset") };
        let accepted = |replayed| Outcome::Accepted { position: 7, replayed, body: Value::Null };
        let lost = |outcomes: Vec<Outcome>| {
            let attempt = |outcome| Attempt {
                node: 0,
                began: Duration::ZERO,
                ended: Duration::ZERO,
                ended_at: Timestamp::default(),
                outcome,
            };
            let attempts = outcomes.into_iter().map(attempt).collect();
            let intent = Intent::OfferSecondChance { auction: AuctionId(Uuid::nil()) };
            let command = Command { actor: None, key: "key".to_owned(), intent, attempts };
            History { commands: vec![command] }.lost_answers()
        };
        assert_eq!(lost(vec![unanswered(), accepted(true)]), 1);
        // It came to nothing, and was asked once more when it had an answer.
        assert_eq!(lost(vec![unanswered(), accepted(false), accepted(true)]), 0);
        // It was said that nobody knows.
        assert_eq!(lost(vec![Outcome::Unknown { why: "503".to_owned() }, accepted(true)]), 0);
    }
}
