//! The accepted bid or payment that a position of the log stands for: what somebody is given a receipt of.

use std::sync::Arc;

use domain::ledger::LedgerAccount;
use domain::{AccountId, Aggregate, Money, Timestamp, WalletId, auction, charge, escrow, wallet};
use eventstore::event::{DomainEvent, Interest, RecordedEvent};
use eventstore::proof::receipt::Deed;
use eventstore::{Position, log};
use sqlx::PgConnection;
use uuid::Uuid;

use super::parties::first_event;

/// An accepted bid or payment of somebody.
#[derive(Clone, Debug, PartialEq)]
pub struct Done {
    /// What.
    pub deed: Deed,
    /// The auction, the order, the deposit, the charge or the subscription.
    pub subject: Uuid,
    /// How much.
    pub amount: Money,
    /// When.
    pub at: Timestamp,
    /// The event.
    pub event_id: Uuid,
    /// Where it is.
    pub position: Position,
}

/// What `account` did at `position`, or last before it in the same unit of work: a command answers with the position of
/// its last event, which need not be that of the bid.
pub async fn of(
    connection: &mut PgConnection,
    account: AccountId,
    position: Position,
) -> Result<Option<Done>, sqlx::Error> {
    let before: Option<Position> = sqlx::query_scalar(
        "select position from public.events where position < $1 and commit_position = position
         order by position desc limit 1",
    )
    .bind(position)
    .fetch_optional(&mut *connection)
    .await?;
    let unit = log::read_range(connection, before.unwrap_or(0), position, Interest::Everything).await?;
    for event in unit.iter().rev() {
        if let Some((deed, subject, amount)) = deed(connection, account, event).await? {
            let RecordedEvent { position, event_id, recorded_at, .. } = **event;
            return Ok(Some(Done { deed, subject, amount, at: recorded_at, event_id, position }));
        }
    }
    Ok(None)
}

/// What `account` did by this event, to what, and how much.
async fn deed(
    connection: &mut PgConnection,
    account: AccountId,
    event: &Arc<RecordedEvent>,
) -> Result<Option<(Deed, Uuid, Money)>, sqlx::Error> {
    Ok(match event.decode() {
        Ok(DomainEvent::Auction(id, auction::Event::BidPlaced { bidder, maximum, .. })) => {
            (bidder == account).then_some((Deed::Bid, id.0, maximum))
        }
        Ok(DomainEvent::Escrow(id, escrow::Event::EscrowFunded { amount, .. })) => {
            let terms = match founding::<escrow::Escrow>(connection, id.0).await? {
                Some(DomainEvent::Escrow(_, escrow::Event::EscrowOpened { terms })) => Some(terms),
                _ => None,
            };
            terms.is_some_and(|terms| terms.buyer == account).then_some((Deed::Payment, id.0, amount))
        }
        Ok(DomainEvent::Wallet(_, wallet::Event::DepositSettled { deposit, postings, .. })) => {
            // What came in is what was posted to what its owner may spend.
            let mut postings = postings.iter();
            let posted = postings.find(|posting| posting.credit == LedgerAccount::Available(account));
            posted.map(|posting| (Deed::Deposit, deposit.0, posting.amount))
        }
        Ok(DomainEvent::Charge(id, charge::Event::ChargeSucceeded { .. })) => {
            let terms = match founding::<charge::Charge>(connection, id.0).await? {
                Some(DomainEvent::Charge(_, charge::Event::ChargeRequested { terms })) => Some(terms),
                _ => None,
            };
            let own = terms.filter(|terms| terms.payer == account && !terms.guest);
            own.map(|terms| (Deed::Charge, id.0, terms.amount))
        }
        Ok(DomainEvent::Wallet(id, wallet::Event::SubscriptionPaid { subscription, amount, .. })) => {
            (id == WalletId::of(account, amount.currency())).then_some((Deed::Subscription, subscription.0, amount))
        }
        // Nothing else is a bid or a payment; and what cannot be read shows nothing.
        Ok(_) | Err(_) => None,
    })
}

/// The first event of a stream.
async fn founding<A: Aggregate>(connection: &mut PgConnection, id: Uuid) -> Result<Option<DomainEvent>, sqlx::Error> {
    let first = first_event(connection, A::TYPE, id).await?;
    Ok(first.and_then(|first| first.decode().ok()))
}
