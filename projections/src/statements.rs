//! What has this account had, got and given, and paid in fees, within this time?
//!
//! For the statements of accounts, month by month. A movement is an event of a wallet that changes any of its balances,
//! with what the wallet had right after it; so what somebody had at any time is what the last movement before it has left,
//! and what was once stated never changes. The log's times never go back, so the movements of a wallet are in the order of
//! their times too. Fees are told by the escrows.

use std::collections::BTreeMap;

use domain::wallet::{self, Event};
use domain::{AccountId, Aggregate, Currency, OrderId, Timestamp, WalletId, escrow};
use eventstore::Position;
use eventstore::event::DomainEvent;
use eventstore::follower::{Batch, FollowError, Recorded};
use serde::{Deserialize, Serialize};
use sqlx::{FromRow, PgConnection, PgExecutor, PgPool};
use uuid::Uuid;

use crate::ledger::Total;
use crate::wallet_statement::{self, Balance};
use crate::{Page, ReadModel, Text, rows};

/// The read model.
pub const MODEL: ReadModel = ReadModel {
    name: "statements",
    next: "statements_next",
    version: 1,
    about: &[escrow::Escrow::TYPE, wallet::Wallet::TYPE],
    ddl: include_str!("statements.sql"),
    apply: |connection, batch| Box::pin(apply(connection, batch)),
};

/// A change of what a wallet holds.
#[derive(Clone, Copy, Debug, FromRow, PartialEq, Serialize)]
pub struct Movement {
    /// Whose.
    pub account_id: Uuid,
    /// In which currency. All amounts are minor units of it.
    pub currency: Text<Currency>,
    /// Its place in the wallet's stream.
    pub sequence: i64,
    /// Where its event is.
    pub position: Position,
    /// What has happened.
    pub step: Step,
    /// The deposit, withdrawal, hold, refund, order, commission or period of a subscription that it is a step of.
    pub operation: Uuid,
    /// The order that it is about.
    pub order_id: Option<Uuid>,
    /// What it adds to what is available: below zero what it takes.
    pub amount: i64,
    /// What was available right after it.
    pub available: i64,
    /// What was set aside then.
    pub held: i64,
    /// What was on its way out then.
    pub payout_pending: i64,
    /// What was owed then.
    pub owed: i64,
    /// When.
    pub recorded_at: Timestamp,
}

/// What has happened to a wallet.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Step {
    /// Money came in.
    DepositSettled,
    /// Money is on its way out.
    WithdrawalRequested,
    /// It has arrived.
    WithdrawalPaid,
    /// It came back before it was there.
    WithdrawalFailed,
    /// It came back from there.
    WithdrawalReturned,
    /// Money was set aside.
    HoldPlaced,
    /// It is available again.
    HoldReleased,
    /// An order was paid.
    PaymentMade,
    /// A period of a subscription was paid.
    SubscriptionPaid,
    /// A sale has brought something.
    SaleReceived,
    /// Something of a payment came back.
    RefundReceived,
    /// Something that a sale had brought went back.
    RefundGiven,
    /// A commission was earned.
    CommissionReceived,
    /// It went back.
    CommissionGiven,
    /// Something that was owed was paid.
    ReceivableRecovered,
    /// A payer has got something back of their bank.
    ChargebackGiven,
    /// It is back.
    ChargebackRegained,
}

impl Step {
    /// The step that an event is; `None` if it moves nothing.
    fn of(event: &Event) -> Option<Self> {
        Some(match event {
            Event::WalletOpened { .. }
            | Event::DepositRequested { .. }
            | Event::DepositDelayed { .. }
            | Event::DepositFailed { .. }
            | Event::WithdrawalDelayed { .. } => return None,
            Event::DepositSettled { .. } => Self::DepositSettled,
            Event::WithdrawalRequested { .. } => Self::WithdrawalRequested,
            Event::WithdrawalPaid { .. } => Self::WithdrawalPaid,
            Event::WithdrawalFailed { .. } => Self::WithdrawalFailed,
            Event::WithdrawalReturned { .. } => Self::WithdrawalReturned,
            Event::HoldPlaced { .. } => Self::HoldPlaced,
            Event::HoldReleased { .. } => Self::HoldReleased,
            Event::PaymentMade { .. } => Self::PaymentMade,
            Event::SubscriptionPaid { .. } => Self::SubscriptionPaid,
            Event::SaleReceived { .. } => Self::SaleReceived,
            Event::RefundReceived { .. } => Self::RefundReceived,
            Event::RefundGiven { .. } => Self::RefundGiven,
            Event::CommissionReceived { .. } => Self::CommissionReceived,
            Event::CommissionGiven { .. } => Self::CommissionGiven,
            Event::ReceivableRecovered { .. } => Self::ReceivableRecovered,
            Event::ChargebackGiven { .. } => Self::ChargebackGiven,
            Event::ChargebackRegained { .. } => Self::ChargebackRegained,
        })
    }
}

/// The order that an event of a wallet names.
fn order_of(event: &Event) -> Option<OrderId> {
    match event {
        Event::PaymentMade { order, .. }
        | Event::SaleReceived { order, .. }
        | Event::RefundReceived { order, .. }
        | Event::RefundGiven { order, .. } => Some(*order),
        Event::WalletOpened { .. }
        | Event::DepositRequested { .. }
        | Event::DepositDelayed { .. }
        | Event::DepositSettled { .. }
        | Event::DepositFailed { .. }
        | Event::WithdrawalRequested { .. }
        | Event::WithdrawalDelayed { .. }
        | Event::WithdrawalPaid { .. }
        | Event::WithdrawalFailed { .. }
        | Event::WithdrawalReturned { .. }
        | Event::HoldPlaced { .. }
        | Event::HoldReleased { .. }
        | Event::SubscriptionPaid { .. }
        | Event::CommissionReceived { .. }
        | Event::CommissionGiven { .. }
        | Event::ReceivableRecovered { .. }
        | Event::ChargebackGiven { .. }
        | Event::ChargebackRegained { .. } => None,
    }
}

/// What the marketplace has kept of a sale, or gave back.
#[derive(Clone, Copy, Debug, FromRow, PartialEq, Serialize)]
struct Fee {
    order_id: Uuid,
    operation: Uuid,
    account_id: Uuid,
    currency: Text<Currency>,
    gross: i64,
    amount: i64,
    position: Position,
    recorded_at: Timestamp,
}

/// Who sells an order.
#[derive(Clone, Copy, Debug, FromRow, PartialEq, Serialize)]
struct Seller {
    order_id: Uuid,
    account_id: Uuid,
}

/// The wallets and escrows that a batch is about, and what has happened to them.
#[derive(Debug, Default)]
struct Statements {
    wallets: BTreeMap<Uuid, Balance>,
    sellers: BTreeMap<Uuid, Seller>,
    movements: Vec<Movement>,
    fees: Vec<Fee>,
}

async fn apply(connection: &mut PgConnection, batch: &Batch) -> Result<(), FollowError> {
    let mut statements = Statements::load(connection, &batch.events).await?;
    for recorded in &batch.events {
        match &recorded.event {
            DomainEvent::Wallet(id, event) => statements.take_wallet(*id, event, recorded),
            DomainEvent::Escrow(order, event) => statements.take_escrow(*order, event, recorded),
            // Nothing else concerns it: see `about`.
            _ => {}
        }
    }
    statements.store(connection).await
}

impl Statements {
    fn take_wallet(&mut self, WalletId(id): WalletId, event: &Event, recorded: &Recorded) {
        if let Event::WalletOpened { owner, currency } = event {
            self.wallets.insert(id, Balance::opened(id, *owner, *currency));
        }
        let Some(wallet) = self.wallets.get_mut(&id) else { return };
        let before = *wallet;
        wallet.take(event, recorded);
        let holds = |of: &Balance| (of.available, of.held, of.payout_pending, of.owed);
        if holds(wallet) == holds(&before) {
            return;
        }
        let (Some(step), Some((_, operation))) = (Step::of(event), wallet_statement::operation(event)) else { return };
        self.movements.push(Movement {
            account_id: wallet.account_id,
            currency: wallet.currency,
            sequence: recorded.sequence,
            position: recorded.position,
            step,
            operation,
            order_id: order_of(event).map(|order| order.0),
            amount: wallet.available - before.available,
            available: wallet.available,
            held: wallet.held,
            payout_pending: wallet.payout_pending,
            owed: wallet.owed,
            recorded_at: recorded.recorded_at,
        });
    }

    fn take_escrow(&mut self, OrderId(order_id): OrderId, event: &escrow::Event, recorded: &Recorded) {
        if let escrow::Event::EscrowOpened { terms } = event {
            self.sellers.insert(order_id, Seller { order_id, account_id: terms.seller.0 });
        }
        let Some(seller) = self.sellers.get(&order_id) else { return };
        let (operation, gross, amount) = match event {
            escrow::Event::EscrowReleased { kept, fee, .. } | escrow::Event::EscrowSplit { kept, fee, .. } => {
                (order_id, *kept, *fee)
            }
            escrow::Event::ReleaseRefunded { refund, amount, fee_share, .. } => (refund.0, *amount, *fee_share),
            escrow::Event::EscrowOpened { .. }
            | escrow::Event::EscrowFunded { .. }
            | escrow::Event::EscrowVoided {}
            | escrow::Event::InspectionStarted { .. }
            | escrow::Event::InspectionReminded { .. }
            | escrow::Event::EscrowDisputed { .. }
            | escrow::Event::EscrowPartlyRefunded { .. }
            | escrow::Event::EscrowRefunded { .. }
            | escrow::Event::EscrowChargedBack { .. }
            | escrow::Event::ChargebackReturned { .. }
            | escrow::Event::ChargebackSettled { .. } => return,
        };
        let sign = if operation == order_id { 1 } else { -1 };
        self.fees.push(Fee {
            order_id,
            operation,
            account_id: seller.account_id,
            currency: Text(gross.currency()),
            gross: sign * gross.minor(),
            amount: sign * amount.minor(),
            position: recorded.position,
            recorded_at: recorded.recorded_at,
        });
    }

    async fn load(connection: &mut PgConnection, events: &[Recorded]) -> Result<Self, FollowError> {
        let wallets = rows::touched(events, |event| match event {
            DomainEvent::Wallet(id, _) => Some(id.0),
            _ => None,
        });
        let orders = rows::touched(events, |event| match event {
            DomainEvent::Escrow(order, _) => Some(order.0),
            _ => None,
        });
        let mut statements = Self::default();
        if !wallets.is_empty() {
            let wallets: Vec<Balance> = sqlx::query_as("select * from wallets where wallet_id = any($1)")
                .bind(wallets)
                .fetch_all(&mut *connection)
                .await?;
            statements.wallets = wallets.into_iter().map(|wallet| (wallet.wallet_id, wallet)).collect();
        }
        if !orders.is_empty() {
            let sellers: Vec<Seller> = sqlx::query_as("select * from sellers where order_id = any($1)")
                .bind(orders)
                .fetch_all(connection)
                .await?;
            statements.sellers = sellers.into_iter().map(|seller| (seller.order_id, seller)).collect();
        }
        Ok(statements)
    }

    async fn store(self, connection: &mut PgConnection) -> Result<(), FollowError> {
        let statement = "
            insert into wallets select * from json_populate_recordset(null::wallets, $1::json)
            on conflict on constraint wallets_wallet do update set
                (available, held, payout_pending, owed, version, position)
                = row (excluded.available, excluded.held, excluded.payout_pending, excluded.owed, excluded.version,
                    excluded.position)";
        rows::write(connection, statement, self.wallets.into_values()).await?;
        let statement = "
            insert into sellers select * from json_populate_recordset(null::sellers, $1::json)
            on conflict on constraint sellers_order do nothing";
        rows::write(connection, statement, self.sellers.into_values()).await?;
        let statement = "insert into movements select * from json_populate_recordset(null::movements, $1::json)";
        rows::write(connection, statement, self.movements).await?;
        let statement = "insert into fees select * from json_populate_recordset(null::fees, $1::json)";
        Ok(rows::write(connection, statement, self.fees).await?)
    }
}

/// Some time: from its first moment until its end, which is not in it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Span {
    /// From then.
    pub from: Timestamp,
    /// Until then.
    pub until: Timestamp,
    /// As far as this position of the log: so that what is read page by page is of one moment, though the time goes on.
    pub upto: Position,
}

/// What a wallet holds at some time, in minor units.
#[derive(Clone, Copy, Debug, Default, Eq, FromRow, PartialEq)]
pub struct Holdings {
    /// What may be spent or withdrawn.
    pub available: i64,
    /// What is set aside.
    pub held: i64,
    /// What is on its way out.
    pub payout_pending: i64,
    /// What is owed.
    pub owed: i64,
}

/// What has become of the money of an account in one currency, within some time.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// The currency.
    pub currency: Currency,
    /// What there was before.
    pub opening: Holdings,
    /// What there was after.
    pub closing: Holdings,
    /// How many movements there are.
    pub movements: i64,
    /// What has come to what is available, in minor units.
    pub came: Total,
    /// What has gone from it, above zero.
    pub went: Total,
    /// What the marketplace has kept of sales, less what it gave back.
    pub fees: Total,
}

/// What has become of the money of an account within some time: a summary for each currency that it had used by then, in
/// the order of their codes.
pub async fn summaries(
    executor: impl PgExecutor<'_>,
    account: AccountId,
    span: Span,
) -> Result<Vec<Summary>, sqlx::Error> {
    #[derive(FromRow)]
    struct Row {
        currency: Text<Currency>,
        opening: sqlx::types::Json<[i64; 4]>,
        closing: sqlx::types::Json<[i64; 4]>,
        movements: i64,
        #[sqlx(try_from = "String")]
        came: Total,
        #[sqlx(try_from = "String")]
        went: Total,
        #[sqlx(try_from = "String")]
        fees: Total,
    }
    let rows: Vec<Row> = sqlx::query_as(
        "with used as (
            select currency from statements.wallets where account_id = $1
            union select currency from statements.fees where account_id = $1
         )
         select currency,
            coalesce(opening.holds, '[0, 0, 0, 0]') as opening, coalesce(closing.holds, '[0, 0, 0, 0]') as closing,
            moved.movements, moved.came, moved.went, kept.fees
         from used
         left join lateral (
            select json_build_array(available, held, payout_pending, owed) as holds from statements.movements
            where account_id = $1 and movements.currency = used.currency and recorded_at < $2
                and position <= $4
            order by recorded_at desc, sequence desc limit 1
         ) as opening on true
         left join lateral (
            select json_build_array(available, held, payout_pending, owed) as holds from statements.movements
            where account_id = $1 and movements.currency = used.currency and recorded_at < $3
                and position <= $4
            order by recorded_at desc, sequence desc limit 1
         ) as closing on true
         cross join lateral (
            select count(*) as movements, coalesce(sum(greatest(amount, 0)), 0)::text as came,
                coalesce(sum(greatest(-amount, 0)), 0)::text as went
            from statements.movements
            where account_id = $1 and movements.currency = used.currency and recorded_at >= $2 and recorded_at < $3
                and position <= $4
         ) as moved
         cross join lateral (
            select count(*) as fees_charged, coalesce(sum(amount), 0)::text as fees from statements.fees
            where account_id = $1 and fees.currency = used.currency and recorded_at >= $2 and recorded_at < $3
                and position <= $4
         ) as kept
         -- What was used only later is no business of this time.
         where closing.holds is not null or kept.fees_charged > 0
         order by currency",
    )
    .bind(account.0)
    .bind(span.from)
    .bind(span.until)
    .bind(span.upto)
    .fetch_all(executor)
    .await?;
    let holdings = |held: sqlx::types::Json<[i64; 4]>| {
        let [available, held, payout_pending, owed] = held.0;
        Holdings { available, held, payout_pending, owed }
    };
    let summary = |row: Row| Summary {
        currency: row.currency.0,
        opening: holdings(row.opening),
        closing: holdings(row.closing),
        movements: row.movements,
        came: row.came,
        went: row.went,
        fees: row.fees,
    };
    Ok(rows.into_iter().map(summary).collect())
}

/// A movement as a statement shows it.
#[derive(Clone, Copy, Debug, FromRow, PartialEq)]
pub struct Line {
    /// The movement.
    #[sqlx(flatten)]
    pub movement: Movement,
    /// What a sale has come to before the fee, or below zero what of that went back to the buyer.
    pub gross: Option<i64>,
    /// The fee on it, or below zero what of that was given back.
    pub fee: Option<i64>,
}

/// Where a page ends: the sort key of its last row.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Cursor {
    /// In which currency.
    pub currency: Text<Currency>,
    /// When it happened.
    pub recorded_at: Timestamp,
    /// Its place in the wallet's stream.
    pub sequence: i64,
}

/// The movements of an account within some time after a cursor, at most `limit`: currency by currency, the oldest first.
/// Each currency is looked up by itself, so that a page is found by the index however much there is of another.
pub async fn page(
    pool: &PgPool,
    account: AccountId,
    span: Span,
    after: Option<Cursor>,
    limit: u32,
) -> Result<Page<Line, Cursor>, sqlx::Error> {
    let currencies: Vec<Text<Currency>> =
        sqlx::query_scalar("select currency from statements.wallets where account_id = $1 order by currency")
            .bind(account.0)
            .fetch_all(pool)
            .await?;
    let wanted = Page::<Line, Cursor>::rows_to_fetch(limit);
    let mut lines: Vec<Line> = Vec::new();
    for Text(currency) in currencies {
        let room = wanted - i64::try_from(lines.len()).unwrap_or(wanted);
        if room <= 0 {
            break;
        }
        if after.is_none_or(|after| after.currency.0 <= currency) {
            let after = after.filter(|after| after.currency.0 == currency);
            lines.extend(lines_in(pool, account, currency, span, after, room).await?);
        }
    }
    Ok(Page::of(lines, limit, cursor_of))
}

/// The same in one currency.
pub async fn page_in(
    executor: impl PgExecutor<'_>,
    account: AccountId,
    currency: Currency,
    span: Span,
    after: Option<Cursor>,
    limit: u32,
) -> Result<Page<Line, Cursor>, sqlx::Error> {
    let wanted = Page::<Line, Cursor>::rows_to_fetch(limit);
    Ok(Page::of(lines_in(executor, account, currency, span, after, wanted).await?, limit, cursor_of))
}

fn cursor_of(line: &Line) -> Cursor {
    let Movement { currency, recorded_at, sequence, .. } = line.movement;
    Cursor { currency, recorded_at, sequence }
}

async fn lines_in(
    executor: impl PgExecutor<'_>,
    account: AccountId,
    currency: Currency,
    span: Span,
    after: Option<Cursor>,
    limit: i64,
) -> Result<Vec<Line>, sqlx::Error> {
    // A forged cursor leads nowhere else than into this time.
    let (since, sequence) = match after {
        Some(after) if after.recorded_at >= span.from => (after.recorded_at, after.sequence),
        Some(_) | None => (span.from, 0),
    };
    sqlx::query_as(
        "select movements.*, fees.gross, fees.amount as fee
         from statements.movements
         left join statements.fees on step in ('sale_received', 'refund_given')
            and fees.order_id = movements.order_id and fees.operation = movements.operation
         where movements.account_id = $1 and movements.currency = $2
            and (movements.recorded_at, movements.sequence) > ($3, $4) and movements.recorded_at < $5
            and movements.position <= $6
         order by movements.recorded_at, movements.sequence limit $7",
    )
    .bind(account.0)
    .bind(Text(currency))
    .bind(since)
    .bind(sequence)
    .bind(span.until)
    .bind(span.upto)
    .bind(limit)
    .fetch_all(executor)
    .await
}
