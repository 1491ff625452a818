//! Where is the money of this order?
//!
//! What the buyer has paid, what went back, what the seller got and what the marketplace kept, and until when whoever
//! has to act may do so. The escrow has the id of its order; the [`crate::orders`] tell what was bought.

use std::collections::BTreeMap;

use domain::escrow::{self, Course, Disputant, Event, RefundCause, ReleaseCause, Status, Terms};
use domain::{AccountId, Aggregate, Currency, Money, OrderId, Timestamp};
use eventstore::Position;
use eventstore::event::DomainEvent;
use eventstore::follower::{Batch, FollowError, Recorded};
use serde::{Deserialize, Serialize};
use sqlx::{FromRow, PgConnection, PgExecutor, Postgres, QueryBuilder};
use uuid::Uuid;

use crate::{Page, ReadModel, Text, rows};

/// The read model.
pub const MODEL: ReadModel = ReadModel {
    name: "escrows",
    next: "escrows_next",
    version: 2,
    about: &[escrow::Escrow::TYPE],
    ddl: include_str!("escrows.sql"),
    apply: |connection, batch| Box::pin(apply(connection, batch)),
};

/// The money of one order.
#[derive(Clone, Debug, FromRow, PartialEq, Serialize)]
pub struct Escrow {
    /// The order.
    pub order_id: Uuid,
    /// Who pays.
    pub buyer_id: Uuid,
    /// Who is paid.
    pub seller_id: Uuid,
    /// Where the money is.
    pub status: Text<Status>,
    /// The currency of all its amounts, which are minor units.
    pub currency: Text<Currency>,
    /// What the buyer pays.
    pub amount: i64,
    /// What has gone back to the buyer.
    pub refunded: i64,
    /// What the marketplace keeps, less what it gave back; `None` until the seller is paid.
    pub fee: Option<i64>,
    /// What the seller got, without the fee and less what was given back; `None` until the seller is paid.
    pub paid_out: Option<i64>,
    /// When it came into being.
    pub opened_at: Timestamp,
    /// When it was paid.
    pub funded_at: Option<Timestamp>,
    /// When it is refunded unless it is shipped.
    pub ship_by: Option<Timestamp>,
    /// When it is released unless it is disputed.
    pub inspection_ends_at: Option<Timestamp>,
    /// Who disputes, or has disputed.
    pub disputed_by: Option<Text<Disputant>>,
    /// Why, in their words.
    pub dispute_reason: Option<String>,
    /// Since when.
    pub disputed_at: Option<Timestamp>,
    /// When it is refunded unless the dispute is resolved.
    pub dispute_expires_at: Option<Timestamp>,
    /// Why it was released, refunded or split.
    pub resolution: Option<Resolution>,
    /// When it was voided, released, refunded or split.
    pub ended_at: Option<Timestamp>,
    /// How many events its stream has.
    pub version: i64,
    /// Where the last of them is.
    pub position: Position,
}

/// Why an escrow has ended as it did.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Resolution {
    /// Released: the buyer was content.
    Confirmed,
    /// Released: the time to inspect was over.
    InspectionOver,
    /// Released, refunded or split: staff has decided a dispute so.
    Resolved,
    /// Refunded: the order was cancelled.
    Cancelled,
    /// Refunded: it was not shipped in time.
    NotShipped,
    /// Refunded: the seller gave it back.
    Seller,
    /// Refunded: staff gave it back.
    Staff,
    /// Refunded: nobody had resolved the dispute in time.
    DisputeExpired,
    /// Refunded: by the buyer's bank.
    ChargedBack,
}

impl From<ReleaseCause> for Resolution {
    fn from(cause: ReleaseCause) -> Self {
        match cause {
            ReleaseCause::Confirmed => Self::Confirmed,
            ReleaseCause::InspectionOver => Self::InspectionOver,
            ReleaseCause::Resolved(_) => Self::Resolved,
        }
    }
}

impl From<RefundCause> for Resolution {
    fn from(cause: RefundCause) -> Self {
        match cause {
            RefundCause::Cancelled => Self::Cancelled,
            RefundCause::NotShipped => Self::NotShipped,
            RefundCause::Seller => Self::Seller,
            RefundCause::Staff(_) => Self::Staff,
            RefundCause::Resolved(_) => Self::Resolved,
            RefundCause::DisputeExpired => Self::DisputeExpired,
        }
    }
}

/// The escrows that a batch is about.
#[derive(Debug, Default)]
struct Escrows {
    escrows: BTreeMap<Uuid, Escrow>,
}

async fn apply(connection: &mut PgConnection, batch: &Batch) -> Result<(), FollowError> {
    let mut escrows = Escrows::load(connection, &batch.events).await?;
    for recorded in &batch.events {
        escrows.take(recorded);
    }
    escrows.store(connection).await
}

impl Escrows {
    /// Takes one event in.
    fn take(&mut self, recorded: &Recorded) {
        let DomainEvent::Escrow(OrderId(id), event) = &recorded.event else { return };
        let at = recorded.recorded_at;
        if let Event::EscrowOpened { terms } = event {
            self.escrows.insert(*id, Escrow::opened(terms, at));
        }
        let Some(escrow) = self.escrows.get_mut(id) else { return };
        match event {
            Event::EscrowOpened { .. } | Event::InspectionReminded { .. } => {}
            Event::EscrowFunded { amount: _, ship_by, card: _, postings: _ } => {
                escrow.status = Text(Status::Funded);
                (escrow.funded_at, escrow.ship_by) = (Some(at), Some(*ship_by));
            }
            Event::EscrowVoided {} => escrow.end(Status::Voided, None, at),
            Event::InspectionStarted { ends_at, remind_at: _ } => {
                (escrow.status, escrow.inspection_ends_at) = (Text(Status::Inspection), Some(*ends_at));
            }
            Event::EscrowDisputed { by, reason, expires_at } => {
                escrow.status = Text(Status::Disputed);
                (escrow.disputed_by, escrow.dispute_reason) = (Some(Text(*by)), Some(reason.clone()));
                (escrow.disputed_at, escrow.dispute_expires_at) = (Some(at), Some(*expires_at));
            }
            Event::EscrowReleased { cause, kept, fee, postings: _ } => {
                escrow.pay_out(*kept, *fee);
                escrow.end(Status::Released, Some((*cause).into()), at);
            }
            Event::EscrowPartlyRefunded { amount, .. } => escrow.refunded += amount.minor(),
            Event::EscrowRefunded { amount, cause, .. } => {
                escrow.refunded += amount.minor();
                escrow.end(Status::Refunded, Some((*cause).into()), at);
            }
            Event::EscrowSplit { to_buyer, kept, fee, .. } => {
                escrow.refunded += to_buyer.minor();
                escrow.pay_out(*kept, *fee);
                escrow.end(Status::Split, Some(Resolution::Resolved), at);
            }
            Event::ReleaseRefunded { amount, from_available, owed, fee_share, .. } => {
                escrow.refunded += amount.minor();
                escrow.fee = escrow.fee.map(|fee| fee - fee_share.minor());
                let given_back = from_available.minor() + owed.minor();
                escrow.paid_out = escrow.paid_out.map(|paid_out| paid_out - given_back);
            }
            Event::EscrowChargedBack { .. } => escrow.status = Text(Status::ChargedBack),
            Event::ChargebackReturned { course, .. } => escrow.go_on(*course),
            Event::ChargebackSettled { amount, course, .. } => {
                escrow.refunded += amount.minor();
                match course {
                    Some(course) => escrow.go_on(*course),
                    None => escrow.end(Status::Refunded, Some(Resolution::ChargedBack), at),
                }
            }
        }
        (escrow.version, escrow.position) = (recorded.sequence, recorded.position);
    }

    async fn load(connection: &mut PgConnection, events: &[Recorded]) -> Result<Self, FollowError> {
        let ids = rows::touched(events, |event| match event {
            DomainEvent::Escrow(id, _) => Some(id.0),
            _ => None,
        });
        if ids.is_empty() {
            return Ok(Self::default());
        }
        let escrows: Vec<Escrow> =
            sqlx::query_as("select * from escrows where order_id = any($1)").bind(ids).fetch_all(connection).await?;
        Ok(Self { escrows: escrows.into_iter().map(|escrow| (escrow.order_id, escrow)).collect() })
    }

    async fn store(self, connection: &mut PgConnection) -> Result<(), FollowError> {
        let statement = "
            insert into escrows select * from json_populate_recordset(null::escrows, $1::json)
            on conflict on constraint escrows_order do update set
                (status, refunded, fee, paid_out, funded_at, ship_by, inspection_ends_at, disputed_by, dispute_reason,
                    disputed_at, dispute_expires_at, resolution, ended_at, version, position)
                = row (excluded.status, excluded.refunded, excluded.fee, excluded.paid_out, excluded.funded_at,
                    excluded.ship_by, excluded.inspection_ends_at, excluded.disputed_by, excluded.dispute_reason,
                    excluded.disputed_at, excluded.dispute_expires_at, excluded.resolution, excluded.ended_at,
                    excluded.version, excluded.position)";
        Ok(rows::write(connection, statement, self.escrows.into_values()).await?)
    }
}

impl Escrow {
    fn opened(terms: &Terms, opened_at: Timestamp) -> Self {
        Self {
            order_id: terms.order.0,
            buyer_id: terms.buyer.0,
            seller_id: terms.seller.0,
            status: Text(Status::AwaitingPayment),
            currency: Text(terms.amount.currency()),
            amount: terms.amount.minor(),
            refunded: 0,
            fee: None,
            paid_out: None,
            opened_at,
            funded_at: None,
            ship_by: None,
            inspection_ends_at: None,
            disputed_by: None,
            dispute_reason: None,
            disputed_at: None,
            dispute_expires_at: None,
            resolution: None,
            ended_at: None,
            version: 0,
            position: 0,
        }
    }

    fn pay_out(&mut self, kept: Money, fee: Money) {
        (self.fee, self.paid_out) = (Some(fee.minor()), Some(kept.minor() - fee.minor()));
    }

    fn go_on(&mut self, course: Course) {
        match course {
            Course::Funded { ship_by, .. } => {
                (self.status, self.ship_by) = (Text(Status::Funded), Some(ship_by));
            }
            Course::Inspection { ends_at, .. } => {
                (self.status, self.inspection_ends_at) = (Text(Status::Inspection), Some(ends_at));
            }
            Course::Disputed { expires_at } => {
                (self.status, self.dispute_expires_at) = (Text(Status::Disputed), Some(expires_at));
            }
        }
    }

    fn end(&mut self, status: Status, resolution: Option<Resolution>, at: Timestamp) {
        (self.status, self.resolution, self.ended_at) = (Text(status), resolution, Some(at));
    }
}

/// The escrow of an order. Who may see it, the reader decides.
pub async fn get(executor: impl PgExecutor<'_>, order: OrderId) -> Result<Option<Escrow>, sqlx::Error> {
    sqlx::query_as("select * from escrows.escrows where order_id = $1").bind(order.0).fetch_optional(executor).await
}

/// Where a page ends: the sort key of its last row.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Cursor {
    /// When it came into being.
    pub opened_at: Timestamp,
    /// The order.
    pub order_id: Uuid,
}

/// What holds money of which an account is buyer or seller, newest first, after a cursor, at most `limit`.
pub async fn open_of(
    executor: impl PgExecutor<'_>,
    party: AccountId,
    after: Option<Cursor>,
    limit: u32,
) -> Result<Page<Escrow, Cursor>, sqlx::Error> {
    // The condition of the indexes, word for word.
    const OPEN: &str =
        "select * from escrows.escrows where status in ('funded', 'inspection', 'disputed', 'charged_back')";
    let mut query = QueryBuilder::new("(");
    // Nobody buys from themselves, so no escrow is on both sides.
    query.push(OPEN).push(" and buyer_id = ").push_bind(party.0);
    push_rest(&mut query, after, limit);
    query.push(") union all (").push(OPEN).push(" and seller_id = ").push_bind(party.0);
    push_rest(&mut query, after, limit);
    query.push(") order by opened_at desc, order_id desc limit ");
    query.push_bind(Page::<Escrow, Cursor>::rows_to_fetch(limit));
    fetch(executor, query, limit).await
}

/// Escrows of anybody, newest first, after a cursor, at most `limit`: for staff.
pub async fn page(
    executor: impl PgExecutor<'_>,
    status: Option<Status>,
    after: Option<Cursor>,
    limit: u32,
) -> Result<Page<Escrow, Cursor>, sqlx::Error> {
    let mut query = QueryBuilder::new("select * from escrows.escrows where true");
    if let Some(status) = status {
        query.push(" and status = ").push_bind(Text(status));
    }
    push_rest(&mut query, after, limit);
    fetch(executor, query, limit).await
}

/// What comes after the cursor, as far as a page takes it.
fn push_rest(query: &mut QueryBuilder<'_, Postgres>, after: Option<Cursor>, limit: u32) {
    if let Some(Cursor { opened_at, order_id }) = after {
        query.push(" and (opened_at, order_id) < (").push_bind(opened_at).push(", ").push_bind(order_id).push(")");
    }
    query.push(" order by opened_at desc, order_id desc limit ");
    query.push_bind(Page::<Escrow, Cursor>::rows_to_fetch(limit));
}

async fn fetch(
    executor: impl PgExecutor<'_>,
    mut query: QueryBuilder<'_, Postgres>,
    limit: u32,
) -> Result<Page<Escrow, Cursor>, sqlx::Error> {
    let escrows: Vec<Escrow> = query.build_query_as().fetch_all(executor).await?;
    Ok(Page::of(escrows, limit, |&Escrow { opened_at, order_id, .. }| Cursor { opened_at, order_id }))
}

#[cfg(test)]
mod tests {
    use domain::escrow::{self, Command, Source};
    use domain::fees::FeeLine;
    use domain::{Aggregate, RefundId};

    use super::*;
    use crate::tests::history::recorded;

    const ANN: AccountId = AccountId(Uuid::from_u128(1));
    const BOB: AccountId = AccountId(Uuid::from_u128(2));
    const STAFF: AccountId = AccountId(Uuid::from_u128(3));
    const ORDER: OrderId = OrderId(Uuid::from_u128(7));
    const REFUND: RefundId = RefundId(Uuid::from_u128(9));

    fn usd(minor: i64) -> Money {
        Money::new(minor, Currency::USD).unwrap()
    }

    fn now() -> Timestamp {
        Timestamp::default()
    }

    fn open() -> Command {
        let lines = vec![FeeLine { gross: usd(1_000), fee_bps: 1_000 }];
        let terms = Terms {
            order: ORDER,
            buyer: ANN,
            seller: BOB,
            lines,
            amount: usd(1_000),
            inspection_s: 60,
            points_per_unit: 0,
            redeemed: None,
            commission: None,
        };
        Command::Open { terms }
    }

    fn dispute() -> Command {
        Command::Dispute { by: Disputant::Seller, reason: "no answer".to_owned(), now: now() }
    }

    fn shown(commands: impl IntoIterator<Item = Command>) -> Escrow {
        let mut state = escrow::Escrow::default();
        let mut escrows = Escrows::default();
        let mut position = 0;
        for command in commands {
            for event in state.decide(command).unwrap() {
                state.evolve(&event);
                position += 1;
                escrows.take(&recorded(position, DomainEvent::Escrow(ORDER, event)));
            }
        }
        escrows.escrows.remove(&ORDER.0).unwrap()
    }

    /// What went to the buyer, the marketplace and the seller.
    fn shares(escrow: &Escrow) -> (i64, Option<i64>, Option<i64>) {
        (escrow.refunded, escrow.fee, escrow.paid_out)
    }

    #[test]
    fn it_shows_until_when_who_may_act() {
        let funded = shown([open(), Command::Fund { source: Source::Wallet, now: now() }]);
        assert_eq!((funded.status.0, funded.ship_by), (Status::Funded, Some(now() + escrow::SHIPPED_WITHIN)));
        let inspected =
            shown([open(), Command::Fund { source: Source::Wallet, now: now() }, Command::Inspect { now: now() }]);
        assert_eq!(inspected.status.0, Status::Inspection);
        assert_eq!(inspected.inspection_ends_at, Some(now() + chrono::TimeDelta::seconds(60)));
        let disputed = shown([open(), Command::Fund { source: Source::Wallet, now: now() }, dispute()]);
        assert_eq!((disputed.status.0, disputed.disputed_by), (Status::Disputed, Some(Text(Disputant::Seller))));
        assert_eq!(disputed.dispute_reason.as_deref(), Some("no answer"));
        assert_eq!(disputed.dispute_expires_at, Some(now() + escrow::RESOLVED_WITHIN));
        assert_eq!((disputed.ended_at, disputed.resolution), (None, None));
    }

    #[test]
    fn what_is_never_paid_is_voided_without_a_cause() {
        let voided = shown([open(), Command::Void {}]);
        assert_eq!((voided.status.0, voided.resolution, voided.ended_at.is_some()), (Status::Voided, None, true));
        assert_eq!(shares(&voided), (0, None, None));
    }

    #[test]
    fn a_release_pays_the_seller_less_the_fee_and_a_refund_after_it_gives_both_back() {
        let begun = || [open(), Command::Fund { source: Source::Wallet, now: now() }, Command::Inspect { now: now() }];
        let part = Command::Refund { refund: REFUND, amount: Some(usd(200)), cause: RefundCause::Seller, now: now() };
        let release = Command::Release { cause: ReleaseCause::Confirmed, now: now() };
        let released = shown(begun().into_iter().chain([part.clone(), release.clone()]));
        assert_eq!((released.status.0, released.resolution), (Status::Released, Some(Resolution::Confirmed)));
        assert_eq!(shares(&released), (200, Some(80), Some(720)));
        let back = Command::RefundReleased {
            refund: REFUND,
            amount: Some(usd(100)),
            seller_available: usd(20),
            cause: RefundCause::Staff(STAFF),
        };
        let given_back = shown(begun().into_iter().chain([part, release, back]));
        assert_eq!(given_back.status.0, Status::Released);
        assert_eq!(shares(&given_back), (300, Some(70), Some(630)));
    }

    #[test]
    fn a_dispute_ends_as_staff_decides() {
        let disputed = || [open(), Command::Fund { source: Source::Wallet, now: now() }, dispute()];
        let split = shown(disputed().into_iter().chain([Command::Split { to_buyer: usd(400), by: STAFF }]));
        assert_eq!((split.status.0, split.resolution), (Status::Split, Some(Resolution::Resolved)));
        assert_eq!(shares(&split), (400, Some(60), Some(540)));
        let (cause, now) = (RefundCause::Resolved(STAFF), now());
        let refund = Command::Refund { refund: REFUND, amount: None, cause, now };
        let refunded = shown(disputed().into_iter().chain([refund]));
        assert_eq!((refunded.status.0, refunded.resolution), (Status::Refunded, Some(Resolution::Resolved)));
        assert_eq!(shares(&refunded), (1_000, None, None));
        assert_eq!((refunded.version, refunded.position), (4, 4));
    }
}
