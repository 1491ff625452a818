//! Stripe's own books of the marketplace's balance, a line for each movement, to be held against ours.

use domain::{Money, Timestamp};

use super::super::provider::{ProviderUnreachable, Record, RecordKind};
use super::shapes::{self, BalanceTransaction, Named, Page, Source};
use super::wire::Ask;
use super::{Stripe, amounts};

/// As many lines as Stripe gives at a time.
const PAGE: &str = "100";
/// More than a deployment moves in the time between two comparisons: a million lines.
const MOST_PAGES: usize = 10_000;

impl Stripe {
    pub(super) async fn read_records(
        &self,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<Record>, ProviderUnreachable> {
        let ask = Ask::get("/v1/balance_transactions")
            .field("created[gte]", from.timestamp().to_string())
            .field("created[lt]", to.timestamp().to_string())
            .field("limit", PAGE)
            .field("expand[]", "data.source");
        let mut records = Vec::new();
        let mut after: Option<String> = None;
        for _ in 0..MOST_PAGES {
            let mut next = ask.clone();
            if let Some(last) = &after {
                next = next.field("starting_after", last.as_str());
            }
            let page: Page<BalanceTransaction> = self.ask(next).await?;
            after = page.data.last().map(|line| line.id.clone());
            for line in &page.data {
                records.push(record(line)?);
            }
            if !page.has_more || after.is_none() {
                return Ok(records);
            }
        }
        Err(ProviderUnreachable("its books have too many lines in this time".to_owned()))
    }
}

/// A line that cannot be read is not passed over: what it says would be missing.
fn record(line: &BalanceTransaction) -> Result<Record, ProviderUnreachable> {
    let unreadable = || ProviderUnreachable(format!("the line {} of its books cannot be read", line.id));
    let source = line.source.as_ref().and_then(Named::whole);
    let kind = kind(line, source);
    let moved = amounts::read(line.amount, &line.currency).ok_or_else(unreadable)?;
    let amount = source.and_then(|source| asked_for(source, moved)).unwrap_or(moved);
    let fee = amounts::read(line.fee, &line.currency).ok_or_else(unreadable)?;
    let at = shapes::time(line.created).ok_or_else(unreadable)?;
    let operation = source.and_then(|source| shapes::operation(&source.metadata));
    let of_intent = source.and_then(|source| source.payment_intent.as_ref());
    let reference = if let (RecordKind::Charge, Some(intent)) = (kind, of_intent) {
        intent.id()
    } else {
        line.source.as_ref().map_or(line.id.as_str(), Named::id)
    };
    let reference = reference.to_owned();
    Ok(Record { reference, operation, kind, amount, fee, at })
}

/// By Stripe's types of lines. What goes to sellers is for the marketplace's balance a transfer; a payout there is what
/// goes from it to the marketplace's own bank.
fn kind(line: &BalanceTransaction, source: Option<&Source>) -> RecordKind {
    let is_dispute = source.is_some_and(|source| source.object == "dispute");
    match line.kind.as_str() {
        "charge" | "payment" => RecordKind::Charge,
        "refund" | "payment_refund" => RecordKind::Refund,
        "refund_failure" | "payment_failure_refund" => RecordKind::RefundReturned,
        "transfer" => RecordKind::Payout,
        "transfer_refund" | "transfer_cancel" | "transfer_failure" => RecordKind::PayoutReturned,
        "adjustment" if is_dispute && line.amount < 0 => RecordKind::Dispute,
        "adjustment" if is_dispute => RecordKind::DisputeReversed,
        _ => RecordKind::Other,
    }
}

/// Stripe's books are in the currency of the balance; ours in that of the payment, which the source tells.
fn asked_for(source: &Source, moved: Money) -> Option<Money> {
    let asked = amounts::read(source.amount?, source.currency.as_deref()?)?;
    if asked.currency() == moved.currency() {
        return None;
    }
    let minor = if moved.minor() < 0 { -asked.minor().abs() } else { asked.minor().abs() };
    Money::new(minor, asked.currency()).ok()
}
