//! A statement as a table for programs and as a page to be printed. What is in either is made here: names of ours, ids and
//! numbers, nothing that anybody has typed, so nothing has to be escaped.

use domain::money::decimal;
use domain::{Currency, Timestamp};
use projections::ledger::Total;
use projections::statements::{Holdings, Line, Step, Summary};

use super::{Statement, after};

/// How a statement is written, part by part.
pub(super) trait Sheet: Copy + Send + Sync + 'static {
    const MEDIA_TYPE: &'static str;
    /// Whether a browser keeps it as a file or shows it.
    const DISPOSITION: &'static str;
    const EXTENSION: &'static str;

    fn head(self, statement: &Statement) -> String;
    /// What there was before, and the beginning of a currency.
    fn opening(self, summary: &Summary) -> String;
    fn line(self, line: &Line) -> String;
    /// What there was after, or is now if the month is not over, and the end of a currency.
    fn closing(self, summary: &Summary, complete: bool) -> String;
    fn foot(self) -> String;
}

fn amount(minor: i64, currency: Currency) -> String {
    decimal(i128::from(minor), currency)
}

/// To the second: a statement is for people and their tables.
fn time(at: Timestamp) -> String {
    at.format("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Comma-separated values (RFC 4180): the balance before, the movements, the balance after, currency by currency.
#[derive(Clone, Copy, Debug)]
pub(super) struct Csv;

impl Csv {
    fn balance(what: &str, currency: Currency, holdings: Holdings, fees: &str) -> String {
        let [available, held, payout_pending, owed] = columns(holdings, currency);
        format!(",{currency},{what},,,,,{fees},{available},{held},{payout_pending},{owed}\r\n")
    }
}

fn columns(holdings: Holdings, currency: Currency) -> [String; 4] {
    [holdings.available, holdings.held, holdings.payout_pending, holdings.owed].map(|minor| amount(minor, currency))
}

impl Sheet for Csv {
    const MEDIA_TYPE: &'static str = "text/csv; charset=utf-8";
    const DISPOSITION: &'static str = "attachment";
    const EXTENSION: &'static str = "csv";

    fn head(self, _: &Statement) -> String {
        "time,currency,what,operation,order,amount,gross,fee,available,held,payout_pending,owed\r\n".to_owned()
    }

    fn opening(self, summary: &Summary) -> String {
        Self::balance("opening_balance", summary.currency, summary.opening, "")
    }

    fn line(self, line: &Line) -> String {
        let (movement, currency) = (line.movement, line.movement.currency.0);
        let [available, held, payout_pending, owed] = columns(after(line), currency);
        let optional = |minor: Option<i64>| minor.map(|minor| amount(minor, currency)).unwrap_or_default();
        format!(
            "{},{currency},{},{},{},{},{},{},{available},{held},{payout_pending},{owed}\r\n",
            time(movement.recorded_at),
            name(movement.step),
            movement.operation,
            movement.order_id.map(|order| order.to_string()).unwrap_or_default(),
            amount(movement.amount, currency),
            optional(line.gross),
            optional(line.fee),
        )
    }

    fn closing(self, summary: &Summary, complete: bool) -> String {
        // Nobody takes it for the last word.
        let what = if complete { "closing_balance" } else { "balance_so_far" };
        Self::balance(what, summary.currency, summary.closing, &decimal(summary.fees.0, summary.currency))
    }

    fn foot(self) -> String {
        String::new()
    }
}

/// The name in a table, which is that of JSON.
fn name(step: Step) -> &'static str {
    match step {
        Step::DepositSettled => "deposit_settled",
        Step::WithdrawalRequested => "withdrawal_requested",
        Step::WithdrawalPaid => "withdrawal_paid",
        Step::WithdrawalFailed => "withdrawal_failed",
        Step::WithdrawalReturned => "withdrawal_returned",
        Step::HoldPlaced => "hold_placed",
        Step::HoldReleased => "hold_released",
        Step::PaymentMade => "payment_made",
        Step::SubscriptionPaid => "subscription_paid",
        Step::SaleReceived => "sale_received",
        Step::RefundReceived => "refund_received",
        Step::RefundGiven => "refund_given",
        Step::CommissionReceived => "commission_received",
        Step::CommissionGiven => "commission_given",
        Step::ReceivableRecovered => "receivable_recovered",
        Step::ChargebackGiven => "chargeback_given",
        Step::ChargebackRegained => "chargeback_regained",
    }
}

/// In words, for people.
fn words(step: Step) -> &'static str {
    match step {
        Step::DepositSettled => "Deposit",
        Step::WithdrawalRequested => "Withdrawal, on its way",
        Step::WithdrawalPaid => "Withdrawal paid out",
        Step::WithdrawalFailed => "Withdrawal failed, money back",
        Step::WithdrawalReturned => "Withdrawal returned, money back",
        Step::HoldPlaced => "Set aside",
        Step::HoldReleased => "No longer set aside",
        Step::PaymentMade => "Order paid",
        Step::SubscriptionPaid => "Subscription",
        Step::SaleReceived => "Sale",
        Step::RefundReceived => "Refund of a purchase",
        Step::RefundGiven => "Refund of a sale",
        Step::CommissionReceived => "Commission",
        Step::CommissionGiven => "Commission taken back",
        Step::ReceivableRecovered => "Paid what was owed",
        Step::ChargebackGiven => "Taken back by the payer's bank",
        Step::ChargebackRegained => "Given back by the payer's bank",
    }
}

/// A page that can be printed, with nothing that it loads from anywhere.
#[derive(Clone, Copy, Debug)]
pub(super) struct Html;

const STYLE: &str = "body{font:11pt/1.4 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem}\
    table{border-collapse:collapse;width:100%;margin:.5rem 0 2rem}th,td{padding:.25rem .5rem;text-align:left}\
    thead th{border-bottom:2px solid;font-weight:600}tbody tr{border-bottom:1px solid #ccc;break-inside:avoid}\
    .n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}.b{font-weight:600}\
    .id{font:8pt ui-monospace,monospace}.open{border:2px solid;padding:.5rem}thead{display:table-header-group}\
    @media print{body{margin:0;max-width:none}h2{break-after:avoid}@page{margin:15mm}}";

impl Html {
    fn balance(what: &str, currency: Currency, holdings: Holdings) -> String {
        let besides =
            [(holdings.held, "set aside"), (holdings.payout_pending, "on its way out"), (holdings.owed, "owed")];
        let besides = besides.into_iter().filter(|(minor, _)| *minor != 0);
        let besides: Vec<_> = besides.map(|(minor, what)| format!("{what} {}", amount(minor, currency))).collect();
        let besides = if besides.is_empty() { String::new() } else { format!(" ({})", besides.join(", ")) };
        let available = amount(holdings.available, currency);
        format!("<tr class=b><td><td colspan=5>{what}{besides}<td class=n>{available}</tr>\n")
    }
}

impl Sheet for Html {
    const MEDIA_TYPE: &'static str = "text/html; charset=utf-8";
    const DISPOSITION: &'static str = "inline";
    const EXTENSION: &'static str = "html";

    fn head(self, statement: &Statement) -> String {
        let (title, account) = (statement.month.title(), statement.account);
        let (from, to) = (statement.month.first_day, statement.month.last_day());
        let open = if statement.complete {
            ""
        } else {
            "<p class=open>This month is not over: what follows is what has happened so far, and the last balances are \
             those of now.</p>\n"
        };
        let nothing = if statement.summaries.is_empty() { "<p>No money has moved until then.</p>\n" } else { "" };
        format!(
            "<!doctype html>\n<html lang=en>\n<head>\n<meta charset=utf-8>\n\
             <meta name=viewport content=\"width=device-width\">\n<title>Statement of {title}</title>\n\
             <style>{STYLE}</style>\n</head>\n<body>\n<h1>Statement of {title}</h1>\n\
             <p>Account {account}, from {from} to {to}. All times are UTC.</p>\n{open}{nothing}"
        )
    }

    fn opening(self, summary: &Summary) -> String {
        let currency = summary.currency;
        let opening = Self::balance("Balance before", currency, summary.opening);
        format!(
            "<h2>{currency}</h2>\n<table>\n<thead><tr><th>Time<th>What<th>Order<th class=n>Price<th class=n>Fee\
             <th class=n>Amount<th class=n>Balance</tr></thead>\n<tbody>\n{opening}"
        )
    }

    fn line(self, line: &Line) -> String {
        let (movement, currency) = (line.movement, line.movement.currency.0);
        let optional = |minor: Option<i64>| minor.map(|minor| amount(minor, currency)).unwrap_or_default();
        format!(
            "<tr><td>{}<td>{}<td class=id>{}<td class=n>{}<td class=n>{}<td class=n>{}<td class=n>{}</tr>\n",
            movement.recorded_at.format("%Y-%m-%d %H:%M"),
            words(movement.step),
            movement.order_id.map(|order| order.to_string()).unwrap_or_default(),
            optional(line.gross),
            optional(line.fee),
            amount(movement.amount, currency),
            amount(movement.available, currency),
        )
    }

    fn closing(self, summary: &Summary, complete: bool) -> String {
        let (currency, what) = (summary.currency, if complete { "Balance after" } else { "Balance so far" });
        let sum = |Total(sum): Total| decimal(sum, currency);
        format!(
            "{}</tbody>\n</table>\n<p>Came in: {} {currency}. Went out: {} {currency}. Fees on sales, less those given \
             back: {} {currency}.</p>\n",
            Self::balance(what, currency, summary.closing),
            sum(summary.came),
            sum(summary.went),
            sum(summary.fees),
        )
    }

    fn foot(self) -> String {
        "</body>\n</html>\n".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use domain::AccountId;
    use projections::Text;
    use projections::statements::{Movement, Span};
    use uuid::Uuid;

    use super::*;

    fn holdings(available: i64) -> Holdings {
        Holdings { available, held: 0, payout_pending: 5, owed: 0 }
    }

    fn summary(currency: Currency) -> Summary {
        Summary {
            currency,
            opening: holdings(0),
            closing: holdings(9_700),
            movements: 1,
            came: Total(9_700),
            went: Total(0),
            fees: Total(300),
        }
    }

    fn sale(currency: Currency) -> Line {
        let movement = Movement {
            account_id: Uuid::from_u128(1),
            currency: Text(currency),
            sequence: 2,
            position: 9,
            step: Step::SaleReceived,
            operation: Uuid::from_u128(7),
            order_id: Some(Uuid::from_u128(7)),
            amount: 9_700,
            available: 9_700,
            held: 0,
            payout_pending: 5,
            owed: 0,
            recorded_at: Timestamp::UNIX_EPOCH,
        };
        Line { movement, gross: Some(10_000), fee: Some(300) }
    }

    fn statement(complete: bool) -> Statement {
        let month: super::super::Month = "2026-01".parse().unwrap();
        let span = Span { from: month.from(), until: month.until(), upto: 9 };
        let account = AccountId(Uuid::from_u128(1));
        Statement { account, month, complete, span, summaries: vec![summary(Currency::USD)] }
    }

    #[test]
    fn every_row_of_a_table_has_as_many_fields_as_its_head_and_amounts_by_the_exponent() {
        let head = Csv.head(&statement(true));
        for (currency, amount) in [(Currency::USD, "97.00"), (Currency::JPY, "9700"), (Currency::KWD, "9.700")] {
            let (summary, sale) = (summary(currency), sale(currency));
            for row in [Csv.opening(&summary), Csv.line(&sale), Csv.closing(&summary, true), head.clone()] {
                assert_eq!(row.matches(',').count(), head.matches(',').count(), "{row}");
                assert!(row.ends_with("\r\n") && row.lines().count() == 1, "{row}");
            }
            assert!(Csv.line(&sale).contains(&format!(",{amount},")), "{}", Csv.line(&sale));
        }
        let order = Uuid::from_u128(7);
        let expected = format!(
            "1970-01-01T00:00:00Z,USD,sale_received,{order},{order},97.00,100.00,3.00,97.00,0.00,0.05,0.00\r\n"
        );
        assert_eq!(Csv.line(&sale(Currency::USD)), expected);
    }

    #[test]
    fn what_is_not_over_says_so() {
        let summary = summary(Currency::USD);
        assert!(Csv.closing(&summary, true).contains(",closing_balance,"));
        assert!(Csv.closing(&summary, false).contains(",balance_so_far,"));
        assert!(Html.closing(&summary, false).contains("Balance so far"));
        assert!(Html.head(&statement(false)).contains("This month is not over"));
        assert!(!Html.head(&statement(true)).contains("not over"));
    }

    #[test]
    fn a_name_in_a_table_is_the_one_in_json() {
        for step in [Step::DepositSettled, Step::RefundGiven, Step::ReceivableRecovered, Step::WithdrawalFailed] {
            assert_eq!(serde_json::to_value(step).unwrap(), name(step));
        }
    }
}
