//! Whether the books balance, now and as of any commit: every currency's debits and credits, by kinds of ledger accounts.

use std::collections::BTreeMap;

use domain::Currency;
use eventstore::Position;
use serde::Serialize;
use sqlx::{FromRow, PgExecutor};

use super::{BLOCK, Kind, Total, block_of};
use crate::Text;

/// Everything that was ever debited and credited in one currency. The books balance if `difference` is zero.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TrialBalance {
    /// The currency.
    pub currency: Text<Currency>,
    /// All debits, in minor units.
    pub debits: Total,
    /// All credits, in minor units.
    pub credits: Total,
    /// Debits minus credits: zero.
    pub difference: Total,
    /// The same for each kind of ledger account.
    pub kinds: Vec<KindTotals>,
}

/// Everything that was ever debited and credited to the ledger accounts of one kind.
#[derive(Clone, Debug, FromRow, PartialEq, Serialize)]
pub struct KindTotals {
    /// The kind.
    pub kind: Kind,
    /// How many ledger accounts there are.
    pub accounts: i64,
    /// All debits, in minor units.
    #[sqlx(try_from = "String")]
    pub debits: Total,
    /// All credits, in minor units.
    #[sqlx(try_from = "String")]
    pub credits: Total,
}

impl KindTotals {
    /// Credits minus debits: what users have or the marketplace has earned, or with a minus sign what providers hold for
    /// us, users owe, or the marketplace has spent.
    pub fn credit_balance(&self) -> Total {
        Total(self.credits.0 - self.debits.0)
    }
}

/// A row of either query.
#[derive(FromRow)]
struct Row {
    currency: Text<Currency>,
    #[sqlx(flatten)]
    totals: KindTotals,
}

/// The trial balance of every currency that was ever used.
pub async fn trial_balance(executor: impl PgExecutor<'_>) -> Result<Vec<TrialBalance>, sqlx::Error> {
    let rows: Vec<Row> = sqlx::query_as(
        "select currency, kind, count(*) as accounts, sum(debits)::text as debits, sum(credits)::text as credits
         from ledger.balances where since is not null group by currency, kind order by currency, kind",
    )
    .fetch_all(executor)
    .await?;
    Ok(by_currency(rows))
}

/// The trial balance as it was right after the event at a position: of what came later it knows nothing. The read model
/// must have reached that position.
///
/// What is whole stretches of the log is summed up already; of the last one, which the position cuts, the movements are
/// added up here.
pub async fn trial_balance_as_of(
    executor: impl PgExecutor<'_>,
    position: Position,
) -> Result<Vec<TrialBalance>, sqlx::Error> {
    let rows: Vec<Row> = sqlx::query_as(
        "with moved as (
            select currency, kind, debits, credits from ledger.turnovers where block < $1
            union all
            select currency, split_part(debit_account, ':', 1), amount, 0 from ledger.postings
            where position between $2 and $3
            union all
            select currency, split_part(credit_account, ':', 1), 0, amount from ledger.postings
            where position between $2 and $3
         ), used as (
            select currency, kind, count(*) as accounts from ledger.balances where since <= $3 group by currency, kind
         ), totals as (
            select currency, kind, sum(debits)::text as debits, sum(credits)::text as credits
            from moved group by currency, kind
         )
         select currency, kind, coalesce(accounts, 0) as accounts, debits, credits
         from totals left join used using (currency, kind) order by currency, kind",
    )
    .bind(block_of(position))
    .bind(block_of(position) * BLOCK)
    .bind(position)
    .fetch_all(executor)
    .await?;
    Ok(by_currency(rows))
}

fn by_currency(rows: Vec<Row>) -> Vec<TrialBalance> {
    let mut currencies: BTreeMap<Currency, Vec<KindTotals>> = BTreeMap::new();
    for Row { currency, totals } in rows {
        currencies.entry(currency.0).or_default().push(totals);
    }
    currencies.into_iter().map(|(currency, kinds)| TrialBalance::of(currency, kinds)).collect()
}

impl TrialBalance {
    fn of(currency: Currency, kinds: Vec<KindTotals>) -> Self {
        let debits = kinds.iter().map(|totals| totals.debits.0).sum();
        let credits = kinds.iter().map(|totals| totals.credits.0).sum();
        Self {
            currency: Text(currency),
            debits: Total(debits),
            credits: Total(credits),
            difference: Total(debits - credits),
            kinds,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn books_that_do_not_balance_show_by_how_much() {
        let totals =
            |kind, debits, credits| KindTotals { kind, accounts: 1, debits: Total(debits), credits: Total(credits) };
        let beyond_64_bits = i128::from(i64::MAX) * 3;
        let books = TrialBalance::of(
            Currency::USD,
            vec![totals(Kind::ProviderClearing, beyond_64_bits, 0), totals(Kind::Available, 0, beyond_64_bits - 2)],
        );
        assert_eq!((books.debits, books.difference), (Total(beyond_64_bits), Total(2)));
        assert_eq!(books.kinds[0].credit_balance(), Total(-beyond_64_bits));
    }
}
