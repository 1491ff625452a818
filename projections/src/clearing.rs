//! Do the books and a payment provider say the same of what has moved between them?
//!
//! This is no read model: it holds the [`crate::ledger`] against records that somebody else keeps. Both sides are brought
//! page by page into temporary tables of one session and paired there, so it takes no more memory here however much has
//! moved, and leaves nothing behind. What was one movement at the provider may be many postings here, such as a payment
//! that goes into the escrows of several orders: what an event of a unit of work posts that has no names for it has those
//! that another event of that unit tells.
//!
//! A payout leaves the provider when it is sent, and is in the books only once a bank has it. It is of the time when it was
//! asked for, then, whenever it has arrived, and one that has not arrived yet is under way: it is in nobody's way. What was
//! sent and came back before it had arrived has moved nothing here, and is nothing there either. So it is with refunds that
//! come back before they had arrived.
//!
//! Two movements are the same if the provider's name for them is and the operation of ours that they belong to, or else if
//! one of both is; those of one name or operation in their order.

use domain::charge::{self, Charge};
use domain::escrow::{self, Escrow};
use domain::wallet::{self, Wallet};
use domain::{Aggregate, Currency, LedgerAccount, Timestamp};
use eventstore::event::{DomainEvent, Interest, RecordedEvent, UnreadableEvent};
use eventstore::{Position, log};
use futures::stream::BoxStream;
use serde::Serialize;
use sqlx::{Connection, FromRow, PgConnection};
use thiserror::Error;
use uuid::Uuid;

use crate::{Text, rows};

/// About how many events of the log are looked at in one go.
const PAGE: i64 = 10_000;
/// The aggregates whose events tell the names of movements.
const NAMING: Interest = Interest::In(&[Charge::TYPE, Escrow::TYPE, Wallet::TYPE]);

/// What a movement is, on either side.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Kind {
    /// Money that came in from a payment method.
    Charge,
    /// Money that went back to one.
    Refund,
    /// A refund that came back.
    RefundReturned,
    /// Money that went out.
    Payout,
    /// Money sent out that came back.
    PayoutReturned,
    /// Money that a disputing payer has got back.
    Dispute,
    /// The same, ours again.
    DisputeReversed,
    /// Whatever else.
    Other,
}

/// A movement as the provider tells it.
#[derive(Clone, Debug, Serialize)]
pub struct Told {
    /// What it is.
    pub kind: Kind,
    /// The provider's name for it.
    pub reference: String,
    /// The operation of ours that it belongs to, if the provider knows.
    pub operation: Option<Uuid>,
    /// How much came in, in minor units; what went out is below zero.
    pub amount: i64,
    /// In which currency.
    pub currency: Text<Currency>,
    /// What the provider has kept for it, in minor units.
    pub fee: i64,
    /// In which currency.
    pub fee_currency: Text<Currency>,
    /// When.
    pub at: Timestamp,
}

/// A time, from its beginning up to and without its end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Span {
    /// Its beginning.
    pub from: Timestamp,
    /// Its end.
    pub until: Timestamp,
}

impl Span {
    /// Whether something is within it.
    pub fn has(&self, at: Timestamp) -> bool {
        (self.from..self.until).contains(&at)
    }
}

/// What one or both sides say of a movement, where they do not say the same.
#[derive(Clone, Debug, FromRow)]
pub struct Unlike {
    /// What it is.
    pub kind: Kind,
    /// The provider's name for it.
    pub reference: Option<String>,
    /// The operation of ours that it belongs to, if that is known.
    pub operation: Option<Uuid>,
    /// What the provider says.
    #[sqlx(flatten)]
    there: There,
    /// What the books say.
    #[sqlx(flatten)]
    here: Here,
}

/// The provider's columns; all of them are there, or none.
#[derive(Clone, Debug, FromRow)]
struct There {
    #[sqlx(rename = "told_amount")]
    amount: Option<i64>,
    #[sqlx(rename = "told_currency")]
    currency: Option<Text<Currency>>,
    #[sqlx(rename = "told_fee")]
    fee: Option<i64>,
    #[sqlx(rename = "told_fee_currency")]
    fee_currency: Option<Text<Currency>>,
    #[sqlx(rename = "told_at")]
    at: Option<Timestamp>,
}

/// Those of the books.
#[derive(Clone, Debug, FromRow)]
struct Here {
    #[sqlx(rename = "booked_amount")]
    amount: Option<i64>,
    #[sqlx(rename = "booked_currency")]
    currency: Option<Text<Currency>>,
    #[sqlx(rename = "booked_fee")]
    fee: Option<i64>,
    #[sqlx(rename = "booked_fee_currency")]
    fee_currency: Option<Text<Currency>>,
    #[sqlx(rename = "booked_at")]
    at: Option<Timestamp>,
    position: Option<Position>,
}

/// What one side says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Side {
    /// How much came in, in minor units; what went out is below zero.
    pub amount: i64,
    /// In which currency.
    pub currency: Currency,
    /// What the provider has kept, in minor units.
    pub fee: i64,
    /// In which currency.
    pub fee_currency: Currency,
    /// When.
    pub at: Timestamp,
    /// Where it is in the log, if it is what the books say.
    pub position: Option<Position>,
}

impl Unlike {
    /// What the provider says, if it says anything.
    pub fn there(&self) -> Option<Side> {
        let There { amount, currency, fee, fee_currency, at } = self.there.clone();
        let (amount, currency, at) = (amount?, currency?.0, at?);
        let fee_currency = fee_currency.map_or(currency, |known| known.0);
        Some(Side { amount, currency, fee: fee.unwrap_or(0), fee_currency, at, position: None })
    }

    /// What the books say, if they say anything.
    pub fn here(&self) -> Option<Side> {
        let Here { amount, currency, fee, fee_currency, at, position } = self.here.clone();
        let (amount, currency, at) = (amount?, currency?.0, at?);
        let fee_currency = fee_currency.map_or(currency, |known| known.0);
        Some(Side { amount, currency, fee: fee.unwrap_or(0), fee_currency, at, position })
    }
}

/// Why the two cannot be compared.
#[derive(Debug, Error)]
pub enum ClearingError {
    /// The database failed.
    #[error(transparent)]
    Sql(#[from] sqlx::Error),
    /// The log has an event that cannot be read.
    #[error(transparent)]
    Unreadable(#[from] UnreadableEvent),
}

/// The names of a movement, as an event tells them.
#[derive(Clone, Debug, Serialize)]
struct Named {
    unit: Position,
    position: Position,
    kind: Kind,
    operation: Uuid,
    reference: Option<String>,
}

/// A comparison that is being made, in temporary tables of a session that is its own.
#[derive(Debug)]
pub struct Clearing {
    connection: PgConnection,
    account: String,
}

const TABLES: &str = "
    create temporary table told (
        id bigint generated always as identity,
        kind text not null, reference text not null, operation uuid, amount bigint not null, currency text not null,
        fee bigint not null, fee_currency text not null, at timestamptz not null, pair bigint,
        under_way boolean not null default false
    );
    create temporary table moves (
        unit bigint not null, position bigint not null, amount bigint not null, fee bigint not null,
        currency text not null, at timestamptz not null
    );
    create temporary table names (
        unit bigint not null, position bigint not null, kind text not null, operation uuid not null, reference text
    );
    create temporary table booked (
        id bigint generated always as identity,
        kind text not null, reference text, operation uuid, amount bigint not null, currency text not null,
        fee bigint not null default 0, fee_currency text, at timestamptz not null, position bigint not null
    );
    create temporary table payouts (
        operation uuid not null, amount bigint not null, currency text not null, requested_at timestamptz not null,
        failed_at timestamptz, paid_at timestamptz, position bigint, fee bigint, fee_currency text
    )";

/// The payouts that were asked for or have arrived in that time, and those of which the provider tells, with all that was
/// to become of them.
const PAYOUTS: &str = "
    insert into payouts
    select asked.operation, asked.amount, asked.currency, asked.recorded_at, failed.recorded_at,
        paid.recorded_at, paid.position, kept.amount, kept.currency
    from (
        select operation from ledger.postings
        where recorded_at >= $2 and recorded_at < $3 and step in ('withdrawal_requested', 'withdrawal_paid')
        union
        select operation from told where kind in ('payout', 'payout_returned') and operation is not null
    ) as known
        join ledger.postings as asked using (operation)
        left join ledger.postings as failed
            on failed.operation = asked.operation and failed.step = 'withdrawal_failed'
        left join ledger.postings as paid
            on paid.operation = asked.operation and paid.step = 'withdrawal_paid'
                and paid.debit_account like 'payout-pending:%'
        left join ledger.postings as kept
            on kept.operation = asked.operation and kept.step = 'withdrawal_paid'
                and kept.debit_account like 'provider-fee-expense:%'
    where asked.step = 'withdrawal_requested' and (paid.credit_account is null or paid.credit_account = $1)";

/// They are of the time when they were asked for, until it is known when they were sent.
const BOOK_PAYOUTS: &str = "
    insert into booked (kind, reference, operation, amount, currency, fee, fee_currency, at, position)
    select 'payout', names.reference, payouts.operation, -amount, currency, coalesce(fee, 0), fee_currency, requested_at,
        position
    from payouts left join names using (position)
    where paid_at is not null
    order by position";

/// One that is on both sides was sent when the provider says so, if it was after it was asked for and before it arrived.
const DATE_PAYOUTS: &str = "
    update booked set at = greatest(payouts.requested_at, least(told.at, payouts.paid_at))
    from told, payouts
    where told.pair = booked.id and booked.kind = 'payout' and payouts.operation = booked.operation";

/// One that the provider does not tell of, and that had not arrived by the end of the time, may be sent after it.
const NOT_YET_SENT: &str = "
    delete from booked using payouts
    where booked.kind = 'payout' and payouts.operation = booked.operation and payouts.paid_at >= $1
        and not exists (select from told where told.pair = booked.id)";

/// What was sent and came back, all of it, with nothing in the books.
const CANCEL_OUT: &str = "
    with alone as (
        select id, kind, operation, amount, currency,
            row_number() over (partition by kind, operation, currency, abs(amount) order by at, id) as place
        from told where pair is null and operation is not null and fee = 0
    ), both_ways as (
        select sent.id as sent, back.id as back from alone as sent join alone as back using (operation, currency, place)
        where (sent.kind, back.kind) in (('payout', 'payout_returned'), ('refund', 'refund_returned'))
            and sent.amount = -back.amount
    )
    delete from told using both_ways where told.id in (sent, back)";

/// What came back in that time of what was sent before it, and had not arrived.
const CAME_BACK: &str = "
    delete from told using payouts
    where told.kind = 'payout_returned' and told.pair is null and told.fee = 0 and told.operation = payouts.operation
        and (told.amount, told.currency) = (payouts.amount, payouts.currency)
        and payouts.paid_at is null and payouts.requested_at < $1";

/// What was sent, and had neither arrived nor failed by the end of the time. Of one operation, that is one.
const UNDER_WAY: &str = "
    update told set under_way = true
    from payouts, (select min(id) as id, operation from told where kind = 'payout' group by operation) as first
    where told.id = first.id and told.pair is null and told.fee = 0 and payouts.operation = first.operation
        and (told.amount, told.currency) = (-payouts.amount, payouts.currency)
        and payouts.paid_at is null and (payouts.failed_at is null or payouts.failed_at >= $1)";

/// Of the same kind, name and operation, the first is the first.
const PAIR_BY_BOTH: &str = "
    with there as (
        select id, kind, reference, operation,
            row_number() over (partition by kind, reference, operation order by at, id) as place
        from told where operation is not null
    ), here as (
        select id, kind, reference, operation,
            row_number() over (partition by kind, reference, operation order by position, id) as place
        from booked where reference is not null and operation is not null
    )
    update told set pair = here.id
    from there join here using (kind, reference, operation, place) where told.id = there.id";

/// What is left after that, by the name.
const PAIR_BY_REFERENCE: &str = "
    with there as (
        select id, kind, reference, row_number() over (partition by kind, reference order by at, id) as place
        from told where pair is null
    ), here as (
        select id, kind, reference, row_number() over (partition by kind, reference order by position, id) as place
        from booked
        where reference is not null and not exists (select from told where told.pair = booked.id)
    )
    update told set pair = here.id
    from there join here using (kind, reference, place) where told.id = there.id";

/// And the rest by the operation.
const PAIR_BY_OPERATION: &str = "
    with there as (
        select id, kind, operation, row_number() over (partition by kind, operation order by at, id) as place
        from told where pair is null and operation is not null
    ), here as (
        select id, kind, operation, row_number() over (partition by kind, operation order by position, id) as place
        from booked
        where operation is not null and not exists (select from told where told.pair = booked.id)
    )
    update told set pair = here.id
    from there join here using (kind, operation, place) where told.id = there.id";

const UNLIKE: &str = "
    select coalesce(told.kind, booked.kind) as kind, coalesce(told.reference, booked.reference) as reference,
        coalesce(booked.operation, told.operation) as operation,
        told.amount as told_amount, told.currency as told_currency, told.fee as told_fee,
        told.fee_currency as told_fee_currency, told.at as told_at,
        booked.amount as booked_amount, booked.currency as booked_currency, booked.fee as booked_fee,
        booked.fee_currency as booked_fee_currency, booked.at as booked_at, booked.position
    from told full join booked on told.pair = booked.id
    where (told.at >= $1 and told.at < $2 or booked.at >= $1 and booked.at < $2)
        and (told.id is null or booked.id is null
            or (told.amount, told.currency, told.fee) is distinct from (booked.amount, booked.currency, booked.fee)
            or (told.fee <> 0 and told.fee_currency is distinct from booked.fee_currency)
            or (told.at >= $1 and told.at < $2) <> (booked.at >= $1 and booked.at < $2))
        and told.under_way is not true
    order by coalesce(told.at, booked.at), told.id, booked.id";

impl Clearing {
    /// Begins to compare what the books say of a provider, in a session that is used for nothing else.
    pub async fn begin(mut connection: PgConnection, provider: &str) -> Result<Self, ClearingError> {
        sqlx::raw_sql(TABLES).execute(&mut connection).await?;
        Ok(Self { connection, account: LedgerAccount::ProviderClearing(provider.to_owned()).to_string() })
    }

    /// Takes in a page of what the provider tells.
    pub async fn tell(&mut self, told: &[Told]) -> Result<(), ClearingError> {
        let statement = "
            insert into told (kind, reference, operation, amount, currency, fee, fee_currency, at)
            select kind, reference, operation, amount, currency, fee, fee_currency, at
            from json_populate_recordset(null::told, $1::json)";
        Ok(rows::write(&mut self.connection, statement, told).await?)
    }

    /// Takes in all that the books say of that time, page by page. `reached` hears how far of how many events it is.
    pub async fn book(&mut self, span: Span, mut reached: impl FnMut(Position, Position)) -> Result<(), ClearingError> {
        let ends: (Option<Position>, Option<Position>) = sqlx::query_as(
            "select min(position), max(position) from ledger.postings where recorded_at >= $1 and recorded_at < $2",
        )
        .bind(span.from)
        .bind(span.until)
        .fetch_one(&mut self.connection)
        .await?;
        let (Some(first), Some(last)) = ends else { return self.settle(span).await };
        // What names a movement may come before it in the same unit of work, so a unit is looked at from its beginning.
        let before: Option<Position> =
            sqlx::query_scalar("select max(position) from public.events where commit_position < $1 and position < $1")
                .bind(first)
                .fetch_one(&mut self.connection)
                .await?;
        let start = before.unwrap_or(0);
        let mut after = start;
        while after < last {
            let section = log::read_after(&mut self.connection, after, PAGE, NAMING).await?;
            self.take_moves(after, section.reaches, span).await?;
            self.take_names(section.events.iter().map(AsRef::as_ref)).await?;
            if section.reaches <= after {
                break;
            }
            after = section.reaches;
            reached(after.min(last) - start, last - start);
        }
        self.settle(span).await
    }

    /// What the books have moved between two positions, summed up for each event, but for payouts: see [`PAYOUTS`].
    async fn take_moves(&mut self, after: Position, until: Position, span: Span) -> Result<(), ClearingError> {
        let statement = "
            insert into moves (unit, position, amount, fee, currency, at)
            select unit, position, coalesce(sum(amount) filter (where not is_fee), 0),
                coalesce(-sum(amount) filter (where is_fee), 0), currency, min(recorded_at)
            from (
                select event.commit_position as unit, position, posting.currency, posting.recorded_at,
                    case when debit_account = $1 then amount else -amount end as amount,
                    case when debit_account = $1 then credit_account else debit_account end
                        like 'provider-fee-expense:%' as is_fee
                from ledger.postings as posting join public.events as event using (position)
                where position > $2 and position <= $3 and (debit_account = $1 or credit_account = $1)
                    and posting.recorded_at >= $4 and posting.recorded_at < $5 and step <> 'withdrawal_paid'
            ) as posting
            group by unit, position, currency";
        sqlx::query(statement)
            .bind(&self.account)
            .bind(after)
            .bind(until)
            .bind(span.from)
            .bind(span.until)
            .execute(&mut self.connection)
            .await?;
        Ok(())
    }

    async fn take_names<'a>(&mut self, events: impl Iterator<Item = &'a RecordedEvent>) -> Result<(), ClearingError> {
        let mut names = Vec::new();
        for event in events {
            names.extend(named(event, &event.decode()?));
        }
        let statement = "insert into names select * from json_populate_recordset(null::names, $1::json)";
        Ok(rows::write(&mut self.connection, statement, names).await?)
    }

    /// Gives each movement its names, and what was kept for it to the first of its operation.
    async fn settle(&mut self, span: Span) -> Result<(), ClearingError> {
        let statements = "
            create temporary table named as
            select moves.unit, coalesce(own.kind, of_unit.kind, 'other') as kind,
                coalesce(own.operation, of_unit.operation) as operation, amount, fee, currency, at
            from moves left join names as own using (position)
                left join (select distinct on (unit) unit, kind, operation from names
                    order by unit, reference is null, position) as of_unit on of_unit.unit = moves.unit;
            insert into booked (kind, reference, operation, amount, currency, at, position)
            select kind, max(reference), operation, sum(amount), currency, min(at), unit
            from named left join (select unit, kind, operation, max(reference) as reference
                from names group by unit, kind, operation) as called using (unit, kind, operation)
            group by unit, kind, operation, currency having sum(amount) <> 0 order by unit;
            update booked set (fee, fee_currency) = row (kept.fee, kept.currency)
            from (select kind, operation, currency, sum(fee)::bigint as fee
                from named where fee <> 0 group by kind, operation, currency) as kept,
                (select min(id) as id, kind, operation from booked group by kind, operation) as first
            where first.kind = kept.kind and first.operation = kept.operation and booked.id = first.id;
            analyze told";
        sqlx::raw_sql(statements).execute(&mut self.connection).await?;
        let payouts = sqlx::query(PAYOUTS).bind(&self.account).bind(span.from).bind(span.until);
        payouts.execute(&mut self.connection).await?;
        sqlx::query(BOOK_PAYOUTS).execute(&mut self.connection).await?;
        sqlx::raw_sql("analyze booked; analyze payouts").execute(&mut self.connection).await?;
        Ok(())
    }

    /// Pairs what both sides have said of that time, once all of it is here. What was sent and is no movement of the books,
    /// or not yet, is taken out.
    pub async fn pair(&mut self, span: Span) -> Result<(), ClearingError> {
        for statement in [PAIR_BY_BOTH, PAIR_BY_REFERENCE, PAIR_BY_OPERATION, DATE_PAYOUTS, CANCEL_OUT] {
            sqlx::query(statement).execute(&mut self.connection).await?;
        }
        for (statement, border) in [(NOT_YET_SENT, span.until), (CAME_BACK, span.from), (UNDER_WAY, span.until)] {
            sqlx::query(statement).bind(border).execute(&mut self.connection).await?;
        }
        Ok(())
    }

    /// Whether anything was ever booked at this provider.
    pub async fn is_known(&mut self) -> Result<bool, ClearingError> {
        let known = sqlx::query_scalar("select exists (select from ledger.balances where account = $1)");
        Ok(known.bind(&self.account).fetch_one(&mut self.connection).await?)
    }

    /// The payouts of that time that are under way: of each currency how many, and what they come to in minor units.
    pub async fn under_way(&mut self, span: Span) -> Result<Vec<(Text<Currency>, i64, i64)>, ClearingError> {
        let statement = "
            select currency, count(*), sum(amount)::bigint from told
            where under_way and at >= $1 and at < $2 group by currency order by currency";
        Ok(sqlx::query_as(statement).bind(span.from).bind(span.until).fetch_all(&mut self.connection).await?)
    }

    /// How many movements there are on each side within that time: the provider's without what is under way, and the books'.
    pub async fn counts(&mut self, span: Span) -> Result<(i64, i64), ClearingError> {
        let statement = "
            select (select count(*) from told where at >= $1 and at < $2 and not under_way),
                (select count(*) from booked where at >= $1 and at < $2)";
        Ok(sqlx::query_as(statement).bind(span.from).bind(span.until).fetch_one(&mut self.connection).await?)
    }

    /// What is within that time on one side at least, and is not the same on both, in the order of time.
    pub fn unlike(&mut self, span: Span) -> BoxStream<'_, Result<Unlike, sqlx::Error>> {
        sqlx::query_as(UNLIKE).bind(span.from).bind(span.until).fetch(&mut self.connection)
    }

    /// Ends the session, and with it all that was compared.
    pub async fn end(self) -> Result<(), ClearingError> {
        Ok(self.connection.close().await?)
    }
}

/// What an event tells of the names of a movement; nothing if it tells of none.
fn named(recorded: &RecordedEvent, event: &DomainEvent) -> Option<Named> {
    let (kind, operation, reference) = match event {
        DomainEvent::Charge(charge, event) => of_charge(charge.0, event)?,
        DomainEvent::Escrow(_, event) => of_escrow(event)?,
        DomainEvent::Wallet(_, event) => of_wallet(event)?,
        // Nothing else is read: see `NAMING`.
        _ => return None,
    };
    let RecordedEvent { position, commit_position: unit, .. } = *recorded;
    Some(Named { unit, position, kind, operation, reference: reference.cloned() })
}

/// What it is, the operation, and the provider's name for it.
type Names<'a> = (Kind, Uuid, Option<&'a String>);

fn of_charge(charge: Uuid, event: &charge::Event) -> Option<Names<'_>> {
    use charge::Event as E;
    match event {
        E::ChargeSucceeded { reference, .. } => Some((Kind::Charge, charge, Some(reference))),
        E::ProviderFeeCharged { .. } => Some((Kind::Charge, charge, None)),
        E::ChargeRefunded { refund, attempt, reference, .. } => {
            Some((Kind::Refund, refund.operation(*attempt), Some(reference)))
        }
        E::ChargeRefundFailed { refund, attempt, .. } => Some((Kind::RefundReturned, refund.operation(*attempt), None)),
        E::ChargeDisputed { dispute, name, .. } => Some((Kind::Dispute, dispute.0, Some(name))),
        E::ChargeDisputeWon { dispute, .. } => Some((Kind::DisputeReversed, dispute.0, None)),
        E::ChargeRequested { .. }
        | E::ChargeDelayed { .. }
        | E::ChargeActionRequired { .. }
        | E::ChargeFailed { .. }
        | E::ChargeRefundRequested { .. }
        | E::ChargeRefundDelayed { .. }
        | E::ChargeRefundRetried { .. }
        | E::ChargeDisputeLost { .. } => None,
    }
}

/// One unit of work may fund an escrow and charge it back.
fn of_escrow(event: &escrow::Event) -> Option<Names<'_>> {
    use escrow::Event as E;
    match event {
        E::EscrowFunded { card, .. } => card.as_ref().map(|card| (Kind::Charge, card.charge.0, None)),
        E::EscrowChargedBack { dispute, .. } => Some((Kind::Dispute, dispute.0, None)),
        E::ChargebackReturned { dispute, .. } => Some((Kind::DisputeReversed, dispute.0, None)),
        E::EscrowOpened { .. }
        | E::EscrowVoided {}
        | E::InspectionStarted { .. }
        | E::InspectionReminded { .. }
        | E::EscrowDisputed { .. }
        | E::EscrowReleased { .. }
        | E::EscrowPartlyRefunded { .. }
        | E::EscrowRefunded { .. }
        | E::EscrowSplit { .. }
        | E::ReleaseRefunded { .. }
        | E::ChargebackSettled { .. } => None,
    }
}

fn of_wallet(event: &wallet::Event) -> Option<Names<'_>> {
    use wallet::Event as E;
    match event {
        E::DepositSettled { deposit, provider_reference, .. } => {
            Some((Kind::Charge, deposit.0, Some(provider_reference)))
        }
        E::WithdrawalPaid { withdrawal, provider_reference, .. } => {
            Some((Kind::Payout, withdrawal.0, Some(provider_reference)))
        }
        E::WithdrawalReturned { withdrawal, .. } => Some((Kind::PayoutReturned, withdrawal.0, None)),
        E::WalletOpened { .. }
        | E::DepositRequested { .. }
        | E::DepositDelayed { .. }
        | E::DepositFailed { .. }
        | E::WithdrawalRequested { .. }
        | E::WithdrawalDelayed { .. }
        | E::WithdrawalFailed { .. }
        | E::HoldPlaced { .. }
        | E::HoldReleased { .. }
        | E::PaymentMade { .. }
        | E::SubscriptionPaid { .. }
        | E::SaleReceived { .. }
        | E::RefundReceived { .. }
        | E::RefundGiven { .. }
        | E::CommissionReceived { .. }
        | E::CommissionGiven { .. }
        | E::ChargebackGiven { .. }
        | E::ChargebackRegained { .. }
        | E::ReceivableRecovered { .. } => None,
    }
}
