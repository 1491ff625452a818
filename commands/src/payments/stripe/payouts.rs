//! Money out: to a merchant's balance at Stripe, and from there to the merchant's bank.

use chrono::TimeDelta;
use uuid::Uuid;

use super::super::provider::{Outcome, Payout, ProviderUnreachable};
use super::amounts::{self, Use};
use super::charges::refused;
use super::shapes::{self, Named, Page, PayoutObject, PayoutStatus, Transfer};
use super::wire::{Ask, Trouble};
use super::{BANKS_TAKE, Stripe, declined, made_at, no_such};

/// Clocks differ.
const EARLIER: TimeDelta = TimeDelta::hours(1);
/// The most pages of a merchant's payouts that are looked through for one.
const MOST_PAGES: usize = 20;

impl Stripe {
    pub(super) async fn pay_out_now(&self, payout: &Payout) -> Result<Outcome, ProviderUnreachable> {
        let amount = match amounts::written(payout.amount, Use::Payout) {
            Ok(amount) => amount,
            Err(unfit) => return Ok(declined(&unfit.to_string())),
        };
        if !shapes::is_id(&payout.destination, "acct_") {
            return Ok(declined("money is paid out to merchants of the payment provider only"));
        }
        let is_first = payout.check_at.is_none() && self.keys_are_known(made_at(payout.operation));
        let sent = match &payout.reference {
            Some(reference) => Some(self.payout_named(&payout.destination, reference).await?),
            None if is_first => None,
            None => self.find_payout(payout).await?,
        };
        if let Some(sent) = sent {
            return self.follow_up(payout, amount, sent).await;
        }
        let transferred = if is_first { None } else { self.find_transfer(payout.operation).await? };
        let transfer = match transferred {
            Some(transfer) => transfer,
            None => match self.transfer(payout, amount).await {
                // The answer may be that to an earlier question, since when it may have been taken back.
                Ok(transfer) => self.transfer_named(&transfer.id).await?,
                Err(Trouble::Refused(error) | Trouble::Declined(error)) => return Ok(refused(&error)),
                Err(Trouble::NotCovered { .. }) => return Ok(not_covered(payout)),
                Err(Trouble::Unknown { because, for_good: true }) => {
                    self.find_transfer(payout.operation).await?.ok_or(ProviderUnreachable(because))?
                }
                Err(trouble @ Trouble::Unknown { .. }) => return Err(trouble.into()),
            },
        };
        if transfer.amount != amount || transfer.currency != amounts::code(payout.amount.currency()) {
            return Err(ProviderUnreachable(format!("{} is about another amount", transfer.id)));
        }
        if transfer.amount_reversed > 0 {
            return self.given_back(payout, &transfer, "the payment provider has not paid it out").await;
        }
        match self.send(payout, amount).await {
            Ok(sent) => self.follow_up(payout, amount, sent).await,
            Err(Trouble::Refused(error) | Trouble::Declined(error)) => {
                self.give_back(payout.operation, &transfer).await?;
                Ok(refused(&error))
            }
            Err(Trouble::NotCovered { .. }) => Ok(not_covered(payout)),
            Err(Trouble::Unknown { because, for_good: true }) => match self.find_payout(payout).await? {
                Some(sent) => self.follow_up(payout, amount, sent).await,
                None => Err(ProviderUnreachable(because)),
            },
            Err(trouble @ Trouble::Unknown { .. }) => Err(trouble.into()),
        }
    }

    async fn transfer(&self, payout: &Payout, amount: i64) -> Result<Transfer, Trouble> {
        let ask = Ask::post("/v1/transfers")
            .field("amount", amount.to_string())
            .field("currency", amounts::code(payout.amount.currency()))
            .field("destination", payout.destination.as_str())
            // By this it is found again.
            .field("transfer_group", payout.operation.to_string())
            .field(format!("metadata[{}]", shapes::OPERATION), payout.operation.to_string());
        self.ask_in_turn(ask, payout.operation, "transfer").await
    }

    async fn transfer_named(&self, id: &str) -> Result<Transfer, ProviderUnreachable> {
        if !shapes::is_id(id, "tr_") {
            return Err(no_such("transfer"));
        }
        Ok(self.ask(Ask::get(format!("/v1/transfers/{id}"))).await?)
    }

    async fn find_transfer(&self, operation: Uuid) -> Result<Option<Transfer>, ProviderUnreachable> {
        let ask = Ask::get("/v1/transfers").field("transfer_group", operation.to_string()).field("limit", "100");
        let found: Page<Transfer> = self.ask(ask).await?;
        Ok(found.data.into_iter().find(|transfer| shapes::operation(&transfer.metadata) == Some(operation)))
    }

    /// From the merchant's balance to the merchant's bank.
    async fn send(&self, payout: &Payout, amount: i64) -> Result<PayoutObject, Trouble> {
        let ask = Ask::post("/v1/payouts")
            .account(&payout.destination)
            .field("amount", amount.to_string())
            .field("currency", amounts::code(payout.amount.currency()))
            .field(format!("metadata[{}]", shapes::OPERATION), payout.operation.to_string());
        self.ask_in_turn(ask, payout.operation, "payout").await
    }

    async fn payout_named(&self, merchant: &str, reference: &str) -> Result<PayoutObject, ProviderUnreachable> {
        if !shapes::is_id(reference, "po_") || !shapes::is_id(merchant, "acct_") {
            return Err(no_such("payout"));
        }
        Ok(self.ask(Ask::get(format!("/v1/payouts/{reference}")).account(merchant)).await?)
    }

    /// Among those of the merchant since the operation was asked for.
    async fn find_payout(&self, payout: &Payout) -> Result<Option<PayoutObject>, ProviderUnreachable> {
        let mut ask = Ask::get("/v1/payouts").account(&payout.destination).field("limit", "100");
        if let Some(made) = made_at(payout.operation) {
            ask = ask.field("created[gte]", (made - EARLIER).timestamp().to_string());
        }
        let mut after: Option<String> = None;
        for _ in 0..MOST_PAGES {
            let mut next = ask.clone();
            if let Some(last) = &after {
                next = next.field("starting_after", last.as_str());
            }
            let page: Page<PayoutObject> = self.ask(next).await?;
            after = page.data.last().map(|last| last.id.clone());
            let of_it = |found: &PayoutObject| shapes::operation(&found.metadata) == Some(payout.operation);
            if let Some(found) = page.data.into_iter().find(of_it) {
                return Ok(Some(found));
            }
            if !page.has_more || after.is_none() {
                return Ok(None);
            }
        }
        Err(ProviderUnreachable(format!("{} has too many payouts", payout.destination)))
    }

    /// What a payout that is on its way says. One that has failed, at once or after it had arrived, takes the transfer back
    /// with it.
    async fn follow_up(
        &self,
        payout: &Payout,
        amount: i64,
        sent: PayoutObject,
    ) -> Result<Outcome, ProviderUnreachable> {
        let PayoutObject { id: reference, status, failure_message, .. } = sent;
        if sent.amount != amount || sent.currency != amounts::code(payout.amount.currency()) {
            return Err(ProviderUnreachable(format!("{reference} is about another amount")));
        }
        match status {
            PayoutStatus::Paid => Ok(Outcome::Succeeded { reference, fee: None }),
            PayoutStatus::Pending | PayoutStatus::InTransit | PayoutStatus::Unknown => {
                Ok(Outcome::Pending { reference: Some(reference), check_at: payout.now + BANKS_TAKE })
            }
            PayoutStatus::Failed | PayoutStatus::Canceled => {
                let reason = failure_message.unwrap_or_else(|| "the bank has not taken it".to_owned());
                match self.find_transfer(payout.operation).await? {
                    Some(transfer) => self.given_back(payout, &transfer, &reason).await,
                    None => Err(ProviderUnreachable(format!("{reference} has failed, and its transfer is not found"))),
                }
            }
        }
    }

    async fn given_back(
        &self,
        payout: &Payout,
        transfer: &Transfer,
        reason: &str,
    ) -> Result<Outcome, ProviderUnreachable> {
        self.give_back(payout.operation, transfer).await?;
        Ok(declined(reason))
    }

    /// What becomes of a payout of which Stripe has said that it has failed, perhaps after it had arrived: its transfer is
    /// taken back first. One that has not failed after all is left alone.
    pub(super) async fn has_failed(&self, operation: Uuid, reference: &str) -> Result<bool, ProviderUnreachable> {
        let Some(transfer) = self.find_transfer(operation).await? else { return Ok(true) };
        let merchant = transfer.destination.as_ref().map(Named::id).unwrap_or_default();
        let sent = self.payout_named(merchant, reference).await?;
        match sent.status {
            PayoutStatus::Failed | PayoutStatus::Canceled => self.give_back(operation, &transfer).await.map(|()| true),
            PayoutStatus::Pending | PayoutStatus::InTransit | PayoutStatus::Paid | PayoutStatus::Unknown => Ok(false),
        }
    }

    /// Takes back what was transferred, all of it, unless that has been done.
    async fn give_back(&self, operation: Uuid, transfer: &Transfer) -> Result<(), ProviderUnreachable> {
        let Transfer { id, amount, amount_reversed, .. } = transfer;
        let rest = amount - amount_reversed;
        if rest <= 0 {
            return Ok(());
        }
        if !shapes::is_id(id, "tr_") {
            return Err(no_such("transfer"));
        }
        let ask = Ask::post(format!("/v1/transfers/{id}/reversals"))
            .field("amount", rest.to_string())
            .field(format!("metadata[{}]", shapes::OPERATION), operation.to_string());
        let _: shapes::Id = self.ask_in_turn(ask, operation, "reversal").await?;
        Ok(())
    }
}

/// What was paid by card takes days until it can be paid out.
fn not_covered(payout: &Payout) -> Outcome {
    Outcome::Pending { reference: None, check_at: payout.now + BANKS_TAKE }
}
