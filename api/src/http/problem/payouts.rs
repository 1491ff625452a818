//! What is refused of money that goes out.

use axum::http::StatusCode;
use domain::{merchant, payee, payout};
use serde_json::json;

use super::{Problem, conflict, rule, sentence};

pub(super) fn payee_problem(error: payee::Error) -> Problem {
    use payee::Error as E;
    match error {
        E::NotFound => Problem::not_found("payment method"),
        E::AlreadyKept => conflict("already-exists", "Already exists", error),
        E::Full { maximum } => {
            rule("too-many-payment-methods", "Too many payment methods", error).with("maximum", maximum)
        }
        E::SealedForAnother => Problem::internal(),
        E::BelowLeast { least, offered } => rule("withdrawal-too-small", "Too small to be sent out", error)
            .with_money("minimum", least)
            .with_money("offered", offered),
        E::DayLimit { most, sent, offered } => rule("withdrawal-limit", "More than may go out on a day", error)
            .with_money("maximum", most)
            .with_money("sent", sent)
            .with_money("offered", offered),
        E::Cooling { until } => {
            conflict("withdrawal-too-early", "Too early to send money there", error).with("until", json!(until))
        }
        E::NotKept { cooling_s } => {
            rule("payment-method-not-kept", "Payment method not kept", error).with("cooling_s", cooling_s)
        }
        E::Paused => conflict("payouts-paused", "Nothing is paid out there", error),
        E::NotDue { at } => conflict("too-early", "Too early", error).with("at", json!(at)),
    }
}

pub(super) fn payout_problem(error: payout::Error) -> Problem {
    use payout::Error as E;
    match error {
        E::NotFound => Problem::not_found("payout"),
        E::NameTaken => conflict("already-exists", "Already exists", error),
        E::Ended => conflict("not-under-way", "Not under way", error),
    }
}

pub(super) fn merchant_problem(error: merchant::Error) -> Problem {
    use merchant::Error as E;
    match error {
        E::NotFound => Problem::not_found("merchant"),
        E::SomebodyElse => {
            let title = "Another account's merchant";
            Problem::new(StatusCode::FORBIDDEN, "merchant-of-another", title, sentence(error))
        }
    }
}
