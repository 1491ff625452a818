//! What Stripe says by itself.
//!
//! Only the object that an event is about is believed, not the event's name: objects say how things are, and of two events
//! about one thing either may come first. So a dispute that has ended says also that it was opened, should that message
//! have been lost. That a payment has failed is not that it will not come: the payer may try another card on the same page,
//! until the intent is cancelled.
//!
//! Before a message is taken in, Stripe is asked about three things. A payment that is in: what it has cost, which messages
//! do not say. A payment that has failed: it is cancelled, and then it will not come. A payout that has failed: what the
//! merchant's balance got for it is taken back. Should Stripe be away then, it sends the message again.

use domain::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::Value;
use uuid::Uuid;

use super::super::provider::{BadWebhook, Headers, Notice, ProviderUnreachable, Secret, What};
use super::super::signature;
use super::shapes::{
    self, Account, Dispute, DisputeStatus, EventObject, Intent, IntentStatus, Named, PayoutObject, PayoutStatus,
    RefundObject, RefundStatus,
};
use super::{Stripe, amounts, charges, shown};

/// The header with the signature.
pub const SIGNATURE_HEADER: &str = "stripe-signature";

pub(crate) fn read(
    headers: &Headers,
    body: &[u8],
    secrets: &[Secret],
    now: Timestamp,
) -> Result<Vec<Notice>, BadWebhook> {
    signature::verify(headers.get(SIGNATURE_HEADER), body, secrets, now)?;
    let event: EventObject = serde_json::from_slice(body).map_err(|error| BadWebhook::Unreadable(error.to_string()))?;
    let at = shapes::time(event.created).ok_or_else(|| BadWebhook::Unreadable("it has no time".to_owned()))?;
    let notice = |said: Said| Notice {
        id: format!("{}{}", event.id, said.part),
        at,
        operation: said.operation,
        reference: said.reference,
        what: said.what,
    };
    let said = said(&event)?;
    said.into_iter().map(|said| notice(said).possible()).collect()
}

impl Stripe {
    pub(super) async fn complete_now(&self, mut notice: Notice) -> Result<Notice, ProviderUnreachable> {
        let Some(operation) = notice.operation else { return Ok(notice) };
        match &notice.what {
            What::ChargeSucceeded { fee: None, .. } | What::ChargeActionRequired => {
                let intent = self.closed_if_failed(&notice.reference).await?;
                notice.what = what_of(&intent).ok_or_else(|| ProviderUnreachable("no such amount".to_owned()))?;
            }
            What::PayoutFailed { .. } => {
                if !self.has_failed(operation, &notice.reference).await? {
                    tracing::warn!(reference = notice.reference, "a payout has not failed after all");
                    notice.what = What::Other;
                }
            }
            What::ChargeSucceeded { fee: Some(_), .. }
            | What::ChargeFailed { .. }
            | What::RefundSucceeded
            | What::RefundFailed { .. }
            | What::PayoutPaid
            | What::DisputeOpened { .. }
            | What::DisputeWon { .. }
            | What::DisputeLost { .. }
            | What::MerchantChanged { .. }
            | What::Other => {}
        }
        Ok(notice)
    }
}

/// One thing that an event says.
struct Said {
    /// Which of several things it is, after the event's name.
    part: &'static str,
    operation: Option<Uuid>,
    reference: String,
    what: What,
}

fn said(event: &EventObject) -> Result<Vec<Said>, BadWebhook> {
    let (family, name) = event.kind.split_once('.').unwrap_or((event.kind.as_str(), ""));
    match (family, name) {
        ("payment_intent", _) => Ok(vec![of_intent(object(event)?)?]),
        ("refund", _) => Ok(vec![of_refund(object(event)?)]),
        ("payout", _) => Ok(vec![of_payout(object(event)?)]),
        ("charge", name) if name.starts_with("dispute.") => of_dispute(object(event)?),
        ("account", "updated") => {
            let account: Account = object(event)?;
            let payouts = account.is_paid_out();
            Ok(vec![Said::new(None, account.id, What::MerchantChanged { payouts })])
        }
        // The object is the application that was shown the door; the merchant is the event's.
        ("account", "application.deauthorized") => {
            let merchant = event.account.clone().ok_or_else(|| BadWebhook::Unreadable("no account".to_owned()))?;
            Ok(vec![Said::new(None, merchant, What::MerchantChanged { payouts: false })])
        }
        _ => Ok(vec![Said::new(None, name_of(&event.data.object), What::Other)]),
    }
}

impl Said {
    fn new(operation: Option<Uuid>, reference: String, what: What) -> Self {
        Self { part: "", operation, reference, what }
    }
}

fn object<T: DeserializeOwned>(event: &EventObject) -> Result<T, BadWebhook> {
    T::deserialize(&event.data.object).map_err(|error| BadWebhook::Unreadable(format!("{}: {error}", event.kind)))
}

fn name_of(object: &Value) -> String {
    object.get("id").and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn of_intent(intent: Intent) -> Result<Said, BadWebhook> {
    let what = what_of(&intent).ok_or_else(|| BadWebhook::Unreadable("no such amount".to_owned()))?;
    Ok(Said::new(shapes::operation(&intent.metadata), intent.id, what))
}

/// What an intent says of its charge; nothing if its amount cannot be read.
fn what_of(intent: &Intent) -> Option<What> {
    Some(match intent.status {
        IntentStatus::Succeeded => {
            let amount = amounts::read(intent.amount, &intent.currency)?;
            What::ChargeSucceeded { amount, fee: charges::fee(intent, amount) }
        }
        IntentStatus::Canceled => {
            let said = intent.last_payment_error.as_ref().and_then(|error| error.message.as_deref());
            What::ChargeFailed { reason: said.map_or_else(|| "the payment was cancelled".to_owned(), shown) }
        }
        IntentStatus::RequiresAction | IntentStatus::RequiresPaymentMethod => What::ChargeActionRequired,
        IntentStatus::RequiresConfirmation
        | IntentStatus::RequiresCapture
        | IntentStatus::Processing
        | IntentStatus::Unknown => What::Other,
    })
}

fn of_refund(refund: RefundObject) -> Said {
    let what = match refund.status {
        Some(RefundStatus::Succeeded) => What::RefundSucceeded,
        Some(RefundStatus::Failed | RefundStatus::Canceled) => {
            let reason = refund.failure_reason.map(|reason| shown(&reason.replace('_', " ")));
            What::RefundFailed { reason: reason.unwrap_or_else(|| "the card's bank has not taken it".to_owned()) }
        }
        Some(RefundStatus::Pending | RefundStatus::RequiresAction | RefundStatus::Unknown) | None => What::Other,
    };
    Said::new(shapes::operation(&refund.metadata), refund.id, what)
}

fn of_payout(payout: PayoutObject) -> Said {
    let operation = shapes::operation(&payout.metadata);
    let what = match (operation, payout.status) {
        // What goes to the marketplace's own bank is none of ours.
        (None, _) | (_, PayoutStatus::Pending | PayoutStatus::InTransit | PayoutStatus::Unknown) => What::Other,
        (Some(_), PayoutStatus::Paid) => What::PayoutPaid,
        (Some(_), PayoutStatus::Failed | PayoutStatus::Canceled) => {
            let reason = payout.failure_message.map(|reason| shown(&reason));
            What::PayoutFailed { reason: reason.unwrap_or_else(|| "the bank has not taken it".to_owned()) }
        }
    };
    Said::new(operation, payout.id, what)
}

/// Questions of a bank that has taken nothing back yet are no dispute: money is what counts.
fn of_dispute(dispute: Dispute) -> Result<Vec<Said>, BadWebhook> {
    let Dispute { id, amount, currency, charge, payment_intent, reason, status, balance_transactions } = dispute;
    let reference = payment_intent.as_ref().map_or(charge.id(), Named::id).to_owned();
    let taken = balance_transactions.iter().any(|moved| moved.amount < 0);
    let mut said = Vec::new();
    if taken {
        let amount = amounts::read(amount, &currency);
        let amount = amount.ok_or_else(|| BadWebhook::Unreadable("no such amount".to_owned()))?;
        let what = What::DisputeOpened { dispute: id.clone(), amount, reason: shown(&reason) };
        said.push(Said { part: "/opened", ..Said::new(None, reference.clone(), what) });
    }
    let what = match status {
        DisputeStatus::Won if taken => What::DisputeWon { dispute: id },
        DisputeStatus::Lost if taken => What::DisputeLost { dispute: id },
        DisputeStatus::Won | DisputeStatus::Lost | DisputeStatus::Open => What::Other,
    };
    said.push(Said::new(None, reference, what));
    Ok(said)
}
