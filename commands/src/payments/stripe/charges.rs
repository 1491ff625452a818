//! Money in, by payment intents, and back to where it came from, by refunds.

use chrono::TimeDelta;
use domain::Money;
use uuid::Uuid;

use super::super::provider::{Action, Charge, Outcome, ProviderUnreachable, Refund};
use super::amounts::{self, Use};
use super::methods::{self, Method};
use super::shapes::{self, Intent, IntentStatus, Page, RefundObject, RefundStatus};
use super::wire::{Ask, Trouble};
use super::{BANKS_TAKE, Stripe, declined, key, made_at, no_such, shown};

/// How long a payer has to prove to the bank who they are. Afterwards the intent is cancelled, so that it cannot be paid
/// once everybody has given it up.
const ACTION_WITHIN: TimeDelta = TimeDelta::hours(1);
/// When to look again whether they have, should no webhook say so.
const LOOKED_AT_AFTER: TimeDelta = TimeDelta::minutes(10);
/// With the fee, which stands in Stripe's books.
const WITH_FEE: &str = "latest_charge.balance_transaction";

impl Stripe {
    pub(super) async fn charge_now(&self, charge: &Charge) -> Result<Outcome, ProviderUnreachable> {
        let amount = match amounts::written(charge.amount, Use::Payment) {
            Ok(amount) => amount,
            Err(unfit) => return Ok(declined(&unfit.to_string())),
        };
        let Some(method) = methods::read(&charge.token) else {
            return Ok(declined("this is no card or other payment method"));
        };
        let begun = match &charge.reference {
            Some(reference) => Some(self.intent(reference).await?),
            None if self.keys_are_known(Some(charge.requested_at)) => None,
            None => self.find_intent(charge.operation).await?,
        };
        let intent = match begun {
            Some(intent) => intent,
            None => match self.ask(self.new_intent(charge, amount, method)).await {
                Ok(intent) => intent,
                Err(Trouble::Declined(mut error) | Trouble::Refused(mut error)) => match error.payment_intent.take() {
                    Some(intent) => *intent,
                    None => return Ok(refused(&error)),
                },
                Err(Trouble::Unknown { because, for_good: true }) => {
                    self.find_intent(charge.operation).await?.ok_or(ProviderUnreachable(because))?
                }
                Err(trouble @ (Trouble::NotCovered { .. } | Trouble::Unknown { .. })) => return Err(trouble.into()),
            },
        };
        self.conclude(charge, amount, intent).await
    }

    fn new_intent(&self, charge: &Charge, amount: i64, method: Method<'_>) -> Ask {
        let mut ask = Ask::post("/v1/payment_intents")
            .key(key(&charge.operation, "charge", 0))
            .field("amount", amount.to_string())
            .field("currency", amounts::code(charge.amount.currency()))
            .field("payment_method", method.name)
            .field("payment_method_types[]", "card")
            // At once, not when Stripe gets round to it: only so the answer tells the fee.
            .field("capture_method", "automatic")
            .field("confirm", "true")
            .field(format!("metadata[{}]", shapes::OPERATION), charge.operation.to_string())
            .field("expand[]", WITH_FEE);
        if let Some(customer) = method.customer {
            ask = ask.field("customer", customer);
        }
        if let Some(url) = &self.return_url {
            ask = ask.field("return_url", url.as_str());
        }
        ask
    }

    async fn intent(&self, reference: &str) -> Result<Intent, ProviderUnreachable> {
        if !shapes::is_id(reference, "pi_") {
            return Err(no_such("payment intent"));
        }
        let ask = Ask::get(format!("/v1/payment_intents/{reference}")).field("expand[]", WITH_FEE);
        Ok(self.ask(ask).await?)
    }

    /// What was asked for earlier. If there are several, against all reason, the one that has the money.
    async fn find_intent(&self, operation: Uuid) -> Result<Option<Intent>, ProviderUnreachable> {
        let ask = Ask::get("/v1/payment_intents/search")
            .field("query", format!("metadata['{}']:'{operation}'", shapes::OPERATION))
            .field("expand[]", format!("data.{WITH_FEE}"));
        let found: Page<Intent> = self.ask(ask).await?;
        let of_it = found.data.into_iter().filter(|intent| shapes::operation(&intent.metadata) == Some(operation));
        Ok(of_it.max_by_key(|intent| intent.status == IntentStatus::Succeeded))
    }

    /// What an intent says; one that will come to nothing is cancelled first.
    async fn conclude(&self, charge: &Charge, amount: i64, intent: Intent) -> Result<Outcome, ProviderUnreachable> {
        if intent.amount != amount || intent.currency != amounts::code(charge.amount.currency()) {
            return Err(ProviderUnreachable(format!("{} is about another amount", intent.id)));
        }
        let said = intent.last_payment_error.as_ref().and_then(|error| error.message.clone());
        let given_up = match intent.status {
            IntentStatus::RequiresPaymentMethod | IntentStatus::RequiresConfirmation => true,
            IntentStatus::RequiresAction => {
                shapes::time(intent.created).is_none_or(|created| created + ACTION_WITHIN <= (self.real_now)())
            }
            IntentStatus::RequiresCapture
            | IntentStatus::Processing
            | IntentStatus::Canceled
            | IntentStatus::Succeeded
            | IntentStatus::Unknown => false,
        };
        let intent = if given_up { self.cancel(&intent.id).await? } else { intent };
        let (reference, now) = (intent.id.clone(), charge.now);
        match intent.status {
            IntentStatus::Succeeded => Ok(Outcome::Succeeded { reference, fee: fee(&intent, charge.amount) }),
            IntentStatus::Canceled => Ok(declined(said.as_deref().unwrap_or("the payment was not confirmed in time"))),
            IntentStatus::RequiresAction => {
                let redirect_url = intent.next_action.and_then(|next| next.redirect_to_url?.url);
                let action = Action { redirect_url, client_secret: intent.client_secret };
                Ok(Outcome::ActionRequired { reference, action, check_at: now + LOOKED_AT_AFTER })
            }
            IntentStatus::Processing => {
                Ok(Outcome::Pending { reference: Some(reference), check_at: now + LOOKED_AT_AFTER })
            }
            IntentStatus::RequiresPaymentMethod
            | IntentStatus::RequiresConfirmation
            | IntentStatus::RequiresCapture
            | IntentStatus::Unknown => {
                Err(ProviderUnreachable(format!("{reference} is in the state {:?}", intent.status)))
            }
        }
    }

    /// How an intent is. One whose payment has failed is cancelled first, and keeps its reason.
    pub(super) async fn closed_if_failed(&self, reference: &str) -> Result<Intent, ProviderUnreachable> {
        let mut intent = self.intent(reference).await?;
        if matches!(intent.status, IntentStatus::RequiresPaymentMethod | IntentStatus::RequiresConfirmation) {
            let said = intent.last_payment_error.take();
            intent = self.cancel(reference).await?;
            intent.last_payment_error = intent.last_payment_error.or(said);
        }
        Ok(intent)
    }

    /// Sees to it that an intent is not paid any more. If it has been meanwhile, so it is.
    async fn cancel(&self, reference: &str) -> Result<Intent, ProviderUnreachable> {
        if !shapes::is_id(reference, "pi_") {
            return Err(no_such("payment intent"));
        }
        // Without a key: to cancel twice does no harm, and a refusal that is remembered would.
        let ask = Ask::post(format!("/v1/payment_intents/{reference}/cancel"));
        match self.ask(ask).await {
            Ok(intent) => Ok(intent),
            Err(Trouble::Refused(_)) => self.intent(reference).await,
            Err(trouble @ (Trouble::Declined(_) | Trouble::NotCovered { .. } | Trouble::Unknown { .. })) => {
                Err(trouble.into())
            }
        }
    }

    pub(super) async fn refund_now(&self, refund: &Refund) -> Result<Outcome, ProviderUnreachable> {
        let amount = match amounts::written(refund.amount, Use::Payment) {
            Ok(amount) => amount,
            Err(unfit) => return Ok(declined(&unfit.to_string())),
        };
        if !shapes::is_id(&refund.charge, "pi_") {
            return Err(no_such("payment intent"));
        }
        let begun = match &refund.reference {
            Some(reference) => Some(self.refund_named(reference).await?),
            None if refund.check_at.is_none() && self.keys_are_known(made_at(refund.operation)) => None,
            None => self.find_refund(refund).await?,
        };
        let made = match begun {
            Some(begun) => begun,
            None => match self.make_refund(refund, amount).await {
                Ok(made) => made,
                Err(Trouble::Refused(error) | Trouble::Declined(error)) => return Ok(refused(&error)),
                Err(Trouble::NotCovered { .. }) => {
                    return Ok(Outcome::Pending { reference: None, check_at: refund.now + BANKS_TAKE });
                }
                Err(Trouble::Unknown { because, for_good: true }) => {
                    self.find_refund(refund).await?.ok_or(ProviderUnreachable(because))?
                }
                Err(trouble @ Trouble::Unknown { .. }) => return Err(trouble.into()),
            },
        };
        let RefundObject { id: reference, status, failure_reason, .. } = made;
        if made.amount != amount || made.currency != amounts::code(refund.amount.currency()) {
            return Err(ProviderUnreachable(format!("{reference} is about another amount")));
        }
        match status {
            Some(RefundStatus::Succeeded) => Ok(Outcome::Succeeded { reference, fee: None }),
            Some(RefundStatus::Failed | RefundStatus::Canceled) => {
                let reason = failure_reason.map(|reason| reason.replace('_', " "));
                Ok(declined(reason.as_deref().unwrap_or("the card's bank has not taken it")))
            }
            Some(RefundStatus::Pending | RefundStatus::RequiresAction | RefundStatus::Unknown) | None => {
                Ok(Outcome::Pending { reference: Some(reference), check_at: refund.now + BANKS_TAKE })
            }
        }
    }

    async fn make_refund(&self, refund: &Refund, amount: i64) -> Result<RefundObject, Trouble> {
        let ask = Ask::post("/v1/refunds")
            .field("payment_intent", refund.charge.as_str())
            .field("amount", amount.to_string())
            .field(format!("metadata[{}]", shapes::OPERATION), refund.operation.to_string());
        self.ask_in_turn(ask, refund.operation, "refund").await
    }

    async fn refund_named(&self, reference: &str) -> Result<RefundObject, ProviderUnreachable> {
        if !shapes::is_id(reference, "re_") && !shapes::is_id(reference, "pyr_") {
            return Err(no_such("refund"));
        }
        Ok(self.ask(Ask::get(format!("/v1/refunds/{reference}"))).await?)
    }

    /// Looks page by page: a charge may be given back in many parts.
    async fn find_refund(&self, refund: &Refund) -> Result<Option<RefundObject>, ProviderUnreachable> {
        let of_it = |found: &RefundObject| shapes::operation(&found.metadata) == Some(refund.operation);
        let mut last: Option<String> = None;
        loop {
            let mut ask = Ask::get("/v1/refunds").field("payment_intent", refund.charge.as_str()).field("limit", "100");
            if let Some(last) = &last {
                ask = ask.field("starting_after", last.as_str());
            }
            let Page { data, has_more }: Page<RefundObject> = self.ask(ask).await?;
            let next = data.last().map(|found| found.id.clone());
            if let Some(found) = data.into_iter().find(of_it) {
                return Ok(Some(found));
            }
            match next {
                Some(next) if has_more => last = Some(next),
                Some(_) | None => return Ok(None),
            }
        }
    }
}

/// What Stripe keeps of a payment, if its books say so yet, in the same currency: there is no implicit conversion.
pub(super) fn fee(intent: &Intent, paid: Money) -> Option<Money> {
    let line = intent.latest_charge.as_ref()?.whole()?.balance_transaction.as_ref()?.whole()?;
    let fee = amounts::read(line.fee, &line.currency)?;
    (fee.minor() > 0 && fee.currency() == paid.currency()).then_some(fee)
}

/// What is refused for what it is. The words for it are Stripe's where they are meant for people.
pub(super) fn refused(error: &shapes::ApiError) -> Outcome {
    declined(&reason(error))
}

pub(super) fn reason(error: &shapes::ApiError) -> String {
    tracing::warn!(%error, "Stripe has refused");
    let for_people = error.kind == "card_error"
        || ["amount_too", "payment_method", "charge_", "card_", "refund_"]
            .iter()
            .any(|kind| error.code.starts_with(kind));
    match (for_people, error.code.as_str()) {
        (true, _) if !error.message.is_empty() => shown(&error.message),
        (_, "resource_missing") => "this is no card or other payment method that can still be used".to_owned(),
        _ => "the payment provider does not take this".to_owned(),
    }
}
