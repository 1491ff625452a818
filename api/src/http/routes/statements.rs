//! What has become of one's money in a month: as JSON, as a table for programs, and as a page to be printed.
//!
//! A month is one of UTC. What is shown is of one position of the log, so the pages and the sums of an answer fit
//! together; the table and the page are sent as they are read, a few hundred movements at a time, however many there are.

use std::str::FromStr;
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Days, Months, NaiveDate, TimeDelta, Utc};
use domain::{AccountId, Currency, Money, Timestamp};
use eventstore::log;
use futures::stream;
use projections::ledger::Total;
use projections::statements::{self, Holdings, Line, Span, Step, Summary};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::app::App;
use crate::http::as_of::{AsOf, TakesAsOf};
use crate::http::extract::{Caller, Id, READ_PATIENCE};
use crate::http::money::stored_money;
use crate::http::openapi::{CurrencyCode, MoneyBody, Waits, words};
use crate::http::pages::{Cursor, Page, page_limit};
use crate::http::problem::Problem;

mod accept;
mod sheets;

use sheets::{Csv, Html, Sheet};

const TAG: &str = "Wallet";

/// How many movements are read at once for a table or a page.
const CHUNK: u32 = 500;

/// What was decided in a month may be written down a moment after it, on another node perhaps; never so long after it.
const SETTLED_AFTER: TimeDelta = TimeDelta::minutes(1);

/// The routes of this file.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(show))
}

/// A month of UTC, as `2026-11`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Month {
    first_day: NaiveDate,
}

impl FromStr for Month {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (year, month) = text.split_once('-').ok_or(())?;
        let digits = |text: &str, length| text.len() == length && text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(year, 4) || !digits(month, 2) || !year.starts_with(['1', '2']) {
            return Err(());
        }
        let (year, month) = (year.parse().map_err(|_| ())?, month.parse().map_err(|_| ())?);
        NaiveDate::from_ymd_opt(year, month, 1).map(|first_day| Self { first_day }).ok_or(())
    }
}

impl Month {
    fn from(self) -> Timestamp {
        start_of(self.first_day)
    }

    /// The first moment of the next one.
    fn until(self) -> Timestamp {
        self.first_day.checked_add_months(Months::new(1)).map_or(Timestamp::MAX_UTC, start_of)
    }

    /// As it is written in the path.
    fn name(self) -> String {
        self.first_day.format("%Y-%m").to_string()
    }

    /// As people write it.
    fn title(self) -> String {
        self.first_day.format("%B %Y").to_string()
    }

    fn last_day(self) -> NaiveDate {
        let next = self.first_day.checked_add_months(Months::new(1));
        next.and_then(|next| next.checked_sub_days(Days::new(1))).unwrap_or(self.first_day)
    }
}

fn start_of(day: NaiveDate) -> Timestamp {
    day.and_time(chrono::NaiveTime::MIN).and_utc()
}

/// What to show, and how.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct StatementQuery {
    /// `json`, `csv` or `html`; unless told, whatever of them `Accept` asks for first, and JSON if it asks for none.
    #[param(inline, value_type = Option<FormatName>)]
    format: Option<Format>,
    /// How many movements a page of JSON has, 20 unless told, 100 at most; the others have all.
    limit: Option<u32>,
    /// `next_cursor` of the page before, of JSON.
    #[param(value_type = Option<String>)]
    cursor: Option<Cursor<statements::Cursor>>,
}

words!(FormatName: "json", "csv", "html");

/// In which form a statement is sent.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
enum Format {
    /// For programs, in pages.
    Json,
    /// For spreadsheets.
    Csv,
    /// To be printed.
    Html,
}

/// What has become of one's money in a month.
#[derive(Debug, Serialize, ToSchema)]
pub struct StatementBody {
    account_id: Uuid,
    #[schema(example = "2026-11")]
    month: String,
    from: DateTime<Utc>,
    /// The first moment that is not in it.
    until: DateTime<Utc>,
    /// Whether the month is over: then nothing of it ever changes. If it is not, the closing balances are those of now.
    complete: bool,
    /// Everything up to this position of the log is in it.
    position: i64,
    /// A summary for each currency that was used by then.
    currencies: Vec<SummaryBody>,
    /// The movements, currency by currency, the oldest first.
    items: Vec<StatementLine>,
    /// Give it as `cursor` to get more movements; none on the last page.
    next_cursor: Option<String>,
}

/// What has become of the money in one currency.
#[derive(Debug, Serialize, ToSchema)]
pub struct SummaryBody {
    #[schema(value_type = CurrencyCode, example = "USD")]
    currency: Currency,
    opening: HoldingsBody,
    closing: HoldingsBody,
    /// How many movements there are.
    movements: i64,
    /// What has come to what is available, in minor units. Sums are texts, since they may pass what a JSON number keeps
    /// exact.
    #[schema(example = "125000")]
    came: String,
    /// What has gone from it.
    #[schema(example = "25000")]
    went: String,
    /// What the marketplace has kept of sales, less what it gave back with refunds.
    #[schema(example = "2500")]
    fees: String,
}

/// What a wallet holds at some time.
#[derive(Debug, Serialize, ToSchema)]
pub struct HoldingsBody {
    /// What may be spent or withdrawn.
    #[schema(value_type = MoneyBody)]
    available: Money,
    /// What is set aside for a second step.
    #[schema(value_type = MoneyBody)]
    held: Money,
    /// What is on its way out.
    #[schema(value_type = MoneyBody)]
    payout_pending: Money,
    /// What is owed to the marketplace.
    #[schema(value_type = MoneyBody)]
    owed: Money,
}

/// A movement of a wallet.
#[derive(Debug, Serialize, ToSchema)]
pub struct StatementLine {
    at: DateTime<Utc>,
    /// What has happened: `deposit_settled`, `withdrawal_requested`, `sale_received` and so on.
    #[schema(value_type = String, example = "sale_received")]
    kind: Step,
    /// The deposit, withdrawal, hold, refund, order, commission or period of a subscription that it is a step of.
    operation: Uuid,
    order_id: Option<Uuid>,
    /// What it adds to what is available: negative for money that leaves it, zero for what was set aside before.
    #[schema(value_type = MoneyBody)]
    amount: Money,
    /// What a sale has come to before the fee; negative for what of that went back to the buyer.
    #[schema(value_type = Option<MoneyBody>)]
    gross: Option<Money>,
    /// The fee on it; negative for what of that was given back.
    #[schema(value_type = Option<MoneyBody>)]
    fee: Option<Money>,
    /// What there was right after it.
    after: HoldingsBody,
    position: i64,
}

/// A statement: what one's wallets held before and after a month of UTC, every movement in it, and the fees. Of a month
/// that is not over it says so; one that has not begun has none. The table is CSV (RFC 4180) with amounts as decimals of
/// the major unit; the page can be printed as it is.
#[utoipa::path(get, path = "/statements/{month}", tag = TAG, security(("bearer" = [])),
    params(("month" = String, Path, pattern = "^[12][0-9]{3}-(0[1-9]|1[0-2])$", example = "2026-01"), StatementQuery,
        TakesAsOf, Waits),
    responses((status = OK, description = "The statement",
        content((StatementBody = "application/json"), (String = "text/csv"), (String = "text/html")))))]
async fn show(
    State(app): State<App>,
    Id(month): Id<Month>,
    caller: Caller,
    headers: HeaderMap,
    read: AsOf<StatementQuery>,
) -> Result<Response, Problem> {
    // Movements stand where they were written: a statement of then is one that ends there.
    let found = read.found(&app).await?;
    let read = read.read;
    let limit = page_limit(read.query.limit)?;
    let now = found.map_or_else(|| app.clock.now(), |found| found.time);
    if now < month.from() {
        return Err(Problem::not_found("statement"));
    }
    // Whatever was recorded in a month that is over is in the log by then, and so in here.
    let complete = month.until() + SETTLED_AFTER <= now;
    let upto = match found {
        Some(found) => found.position,
        None => log::head(&app.pool).await?.max(read.min_position.unwrap_or(0)),
    };
    app.progress.wait_for(statements::MODEL.name, upto, READ_PATIENCE).await?;
    let span = Span { from: month.from(), until: month.until(), upto };
    let summaries = statements::summaries(&app.pool, caller.account, span).await?;
    let statement = Statement { account: caller.account, month, complete, span, summaries };
    let format = read.query.format.unwrap_or_else(|| accept::preferred(&headers));
    let mut response = match format {
        Format::Json => {
            let cursor = read.query.cursor.map(|cursor| cursor.0);
            let page = statements::page(&app.pool, caller.account, span, cursor, limit).await?;
            Json(statement.body(Page::of(page, line)?)?).into_response()
        }
        Format::Csv => sent_as_read(&app, statement, Csv),
        Format::Html => sent_as_read(&app, statement, Html),
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    headers.insert(header::VARY, HeaderValue::from_static("Accept, Authorization"));
    Ok(response)
}

/// A statement, but for its movements.
#[derive(Debug)]
struct Statement {
    account: AccountId,
    month: Month,
    complete: bool,
    span: Span,
    summaries: Vec<Summary>,
}

impl Statement {
    fn body(&self, page: Page<StatementLine>) -> Result<StatementBody, Problem> {
        Ok(StatementBody {
            account_id: self.account.0,
            month: self.month.name(),
            from: self.span.from,
            until: self.span.until,
            complete: self.complete,
            position: self.span.upto,
            currencies: self.summaries.iter().map(summary).collect::<Result<_, _>>()?,
            items: page.items,
            next_cursor: page.next_cursor,
        })
    }
}

fn summary(summary: &Summary) -> Result<SummaryBody, Problem> {
    let text = |Total(sum): Total| sum.to_string();
    Ok(SummaryBody {
        currency: summary.currency,
        opening: holdings(summary.opening, summary.currency)?,
        closing: holdings(summary.closing, summary.currency)?,
        movements: summary.movements,
        came: text(summary.came),
        went: text(summary.went),
        fees: text(summary.fees),
    })
}

fn holdings(holdings: Holdings, currency: Currency) -> Result<HoldingsBody, Problem> {
    let money = |minor| stored_money(minor, currency);
    Ok(HoldingsBody {
        available: money(holdings.available)?,
        held: money(holdings.held)?,
        payout_pending: money(holdings.payout_pending)?,
        owed: money(holdings.owed)?,
    })
}

/// What there was right after a movement.
fn after(line: &Line) -> Holdings {
    let statements::Movement { available, held, payout_pending, owed, .. } = line.movement;
    Holdings { available, held, payout_pending, owed }
}

fn line(line: Line) -> Result<StatementLine, Problem> {
    let movement = line.movement;
    let money = |minor| stored_money(minor, movement.currency.0);
    Ok(StatementLine {
        at: movement.recorded_at,
        kind: movement.step,
        operation: movement.operation,
        order_id: movement.order_id,
        amount: money(movement.amount)?,
        gross: line.gross.map(money).transpose()?,
        fee: line.fee.map(money).transpose()?,
        after: holdings(after(&line), movement.currency.0)?,
        position: movement.position,
    })
}

/// Which part of a table or a page comes next.
#[derive(Clone, Copy, Debug)]
enum Part {
    Head,
    /// The opening balance of a currency, by its place among the summaries.
    Opening(usize),
    /// Its movements, after a cursor.
    Lines(usize, Option<statements::Cursor>),
    /// Its closing balance.
    Closing(usize),
    Foot,
    End,
}

/// The whole statement, read while it is sent. Should that fail on the way, the answer breaks off, which its reader sees.
fn sent_as_read<S: Sheet>(app: &App, statement: Statement, sheet: S) -> Response {
    let (pool, name) = (app.pool.clone(), statement.month.name());
    let statement = Arc::new(statement);
    let parts = stream::try_unfold(Part::Head, move |part| {
        let (pool, statement, sheet) = (pool.clone(), statement.clone(), sheet);
        async move {
            let of_currency = |index| if index < statement.summaries.len() { Part::Opening(index) } else { Part::Foot };
            let (text, next) = match part {
                Part::Head => (sheet.head(&statement), of_currency(0)),
                Part::Opening(index) => (sheet.opening(&statement.summaries[index]), Part::Lines(index, None)),
                Part::Lines(index, after) => {
                    let (account, currency) = (statement.account, statement.summaries[index].currency);
                    let page = statements::page_in(&pool, account, currency, statement.span, after, CHUNK).await?;
                    let next = page.next.map_or(Part::Closing(index), |next| Part::Lines(index, Some(next)));
                    (page.items.iter().map(|line| sheet.line(line)).collect(), next)
                }
                Part::Closing(index) => {
                    (sheet.closing(&statement.summaries[index], statement.complete), of_currency(index + 1))
                }
                Part::Foot => (sheet.foot(), Part::End),
                Part::End => return Ok::<_, sqlx::Error>(None),
            };
            Ok(Some((text, next)))
        }
    });
    let mut response = Body::from_stream(parts).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(S::MEDIA_TYPE));
    let disposition = format!("{}; filename=\"statement-{name}.{}\"", S::DISPOSITION, S::EXTENSION);
    headers.extend(HeaderValue::from_str(&disposition).ok().map(|value| (header::CONTENT_DISPOSITION, value)));
    // Nothing of it runs or loads anything.
    let policy = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'";
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_is_one_of_utc_and_has_a_first_and_a_last_moment() {
        let month: Month = "2028-02".parse().unwrap();
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        assert_eq!((month.from(), month.until()), (at("2028-02-01T00:00:00Z"), at("2028-03-01T00:00:00Z")));
        assert_eq!((month.name(), month.title()), ("2028-02".to_owned(), "February 2028".to_owned()));
        assert_eq!(month.last_day().to_string(), "2028-02-29");
        let december: Month = "2026-12".parse().unwrap();
        assert_eq!(december.until(), at("2027-01-01T00:00:00Z"));
    }

    #[test]
    fn what_is_no_month_names_none() {
        for text in ["2026-13", "2026-00", "2026-1", "26-01", "2026", "+026-01", "2026-01-01", "0999-01", "3000-01", ""]
        {
            assert!(text.parse::<Month>().is_err(), "{text}");
        }
    }
}
