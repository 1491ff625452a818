//! `tradepost reconcile`: whether a payment provider's own records and the ledger say the same.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chrono::{Days, NaiveDate, NaiveTime, TimeDelta};
use clap::Args;
use commands::payments::{PaymentProvider, Record, RecordKind};
use domain::{Currency, DisputeId, Money, Timestamp};
use eventstore::clock::Clock;
use eventstore::database::Database;
use eventstore::follower;
use futures::TryStreamExt as _;
use indicatif::{ProgressBar, ProgressStyle};
use projections::clearing::{Clearing, Kind, Span, Told};
use projections::rebuild::Pace;
use projections::{Text, ledger};
use serde::Serialize;
use serde_json::json;
use tokio::time::Instant;

use super::output::heard;
use super::{Failure, Place, stop_signals};
use crate::config::Config;

mod differences;
mod export;

use differences::Difference;
use export::Export;

/// How long the ledger may take to come to where the log ended.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often it is looked whether it has.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How many records are taken in at once.
const PAGE: usize = 1_000;
/// The provider is first asked for the records of so long a time.
const FIRST_ASKED: TimeDelta = TimeDelta::hours(1);
/// The longest and the shortest time that it is asked for at once.
const LONGEST_ASKED: TimeDelta = TimeDelta::days(1);
const SHORTEST_ASKED: TimeDelta = TimeDelta::seconds(1);
/// If there are more records than this in what it was asked for, it is asked for half as long a time next.
const MANY: usize = 5_000;

/// Compare a payment provider's own records with the ledger, and list every difference.
///
/// Asks the provider for its records of these days (UTC), or reads them from a file, and pairs them with what the ledger
/// says has moved between the marketplace and the provider. Lists what is missing in the ledger, what is missing at the
/// provider, other amounts, currencies and fees, and what is within these days on one side alone. Ends with an exit code
/// that is not zero if there is any difference. Nothing is changed, and reads and writes go on meanwhile.
///
/// What the provider calls by a name that the ledger knows is the same movement, or else what belongs to the same
/// operation of ours. A payout is of the time when it was sent; one that has not arrived is under way, and one that came
/// back before it had arrived is nothing: neither is a difference. Nor is what the provider does besides, such as sending its
/// balance to a bank or charging for a dispute: it is summed up.
///
/// A file is CSV in UTF-8. Its first line names the columns, in any order:
///
///   kind       `charge`, `refund`, `refund_returned`, `payout`, `payout_returned`, `dispute`, `dispute_reversed` or
///              `other`
///   reference  the provider's name for the movement
///   operation  the id of the operation of ours that it belongs to; may be empty, and the column may be left out
///   amount     what came in, in minor units: 1999 is 19.99 USD, or 1999 JPY; what went out is below zero
///   currency   ISO 4217
///   fee        what the provider has kept for it, in minor units of that currency; empty is nothing, and the column may
///              be left out
///   at         when, as RFC 3339 writes it: 2026-11-30T23:59:59Z
///
/// It may have records of other days as well; those within --margin-days tell what has moved on another day.
///
/// Examples:
///   tradepost reconcile --provider stripe --from 2026-11-01 --to 2026-11-30
///   tradepost reconcile --provider stripe --from 2026-11-01 --to 2026-11-30 --file november.csv
///   tradepost reconcile --provider stripe --from 2026-11-30 --to 2026-11-30 --json | jq '.differences[].text'
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub(super) struct Reconcile {
    /// The provider, as payment methods call it.
    #[arg(long, value_name = "NAME")]
    provider: String,
    /// The first day, in UTC.
    #[arg(long, value_name = "DATE")]
    from: NaiveDate,
    /// The last day, in UTC; all of it is looked at.
    #[arg(long, value_name = "DATE")]
    to: NaiveDate,
    /// The provider's records as a CSV file, instead of asking the provider.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// How many days before and after these are looked at too, to tell what has moved on another day from what is missing.
    #[arg(long, value_name = "DAYS", default_value_t = 3, value_parser = clap::value_parser!(u32).range(0..=31))]
    margin_days: u32,
    /// Tell what was found as JSON.
    #[arg(long)]
    json: bool,
}

/// What is told at the end.
#[derive(Debug, Default, Serialize)]
struct Summary {
    /// How many differences there are.
    differences: u64,
    /// How many movements the provider tells of in these days.
    there: i64,
    /// How many the ledger has.
    here: i64,
    /// Payouts that the provider has sent and that have not arrived, in each currency.
    under_way: Vec<Sum>,
    /// What the provider has done besides, in each currency.
    besides: Vec<Sum>,
}

/// How a report in JSON ends.
#[derive(Debug, Serialize)]
struct End {
    summary: Summary,
}

/// What some of the provider's records come to, in one currency.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
struct Sum {
    currency: Text<Currency>,
    /// How many records.
    records: u64,
    /// What they come to, in minor units.
    amount: i128,
}

impl Reconcile {
    pub(super) async fn run(self, config: &Config) -> Result<(), Failure> {
        let (asked, wide) = self.spans()?;
        let provider = match &self.file {
            Some(_) => None,
            None => Some(provider(config, &self.provider)?),
        };
        let stop = stop_signals()?;
        let place = Place::beside(config).await?;
        let comparing = self.compare(config, &place.database, provider.as_deref(), asked, wide);
        let compared = stop.run_until_cancelled(comparing).await.unwrap_or_else(|| Err("interrupted".into()));
        match place.leave(compared).await? {
            0 => Ok(()),
            1 => Err("there is a difference".into()),
            differences => Err(format!("there are {differences} differences").into()),
        }
    }

    /// The days that were asked for, and these with the margin.
    fn spans(&self) -> Result<(Span, Span), Failure> {
        if self.from > self.to {
            return Err(format!("--from {} is after --to {}", self.from, self.to).into());
        }
        let begin = |day: NaiveDate| day.and_time(NaiveTime::MIN).and_utc();
        let out_of_range = || "these days are out of range";
        let after = self.to.checked_add_days(Days::new(1)).ok_or_else(out_of_range)?;
        let asked = Span { from: begin(self.from), until: begin(after) };
        let margin = TimeDelta::days(self.margin_days.into());
        let wide = Span {
            from: asked.from.checked_sub_signed(margin).ok_or_else(out_of_range)?,
            until: asked.until.checked_add_signed(margin).ok_or_else(out_of_range)?,
        };
        Ok((asked, wide))
    }

    /// Compares both sides, and tells each difference as it is found. Answers how many there are.
    async fn compare(
        &self,
        config: &Config,
        database: &Database,
        provider: Option<&dyn PaymentProvider>,
        asked: Span,
        wide: Span,
    ) -> Result<u64, Failure> {
        crate::app::prepare(database).await?;
        caught_up(database).await?;
        let mut clearing = Clearing::begin(database.connect_as_owner().await?, &self.provider).await?;
        let others = Others::default();
        if provider.is_none() && !uses(config, &self.provider)? && !clearing.is_known().await? {
            let unknown = format!("`{}` is not a payment provider that is in use here, or ever was", self.provider);
            return Err(unknown.into());
        }
        let mut intake = Intake { clearing: &mut clearing, provider: &self.provider, asked, wide, others };
        match (provider, &self.file) {
            (Some(provider), _) => intake.ask(provider).await?,
            (None, Some(file)) => intake.read(file).await?,
            (None, None) => return Err("there is neither a provider nor a file".into()),
        }
        let others = intake.others;
        let mut shown = Shown::begin("of the ledger");
        clearing.book(wide, |reached, all| shown.reached(reached, all)).await?;
        drop(shown);
        clearing.pair(wide).await?;
        let (there, here) = clearing.counts(asked).await?;
        let sum = |(currency, records, amount): (Text<Currency>, i64, i64)| Sum {
            currency,
            records: records.unsigned_abs(),
            amount: amount.into(),
        };
        let under_way = clearing.under_way(asked).await?.into_iter().map(sum).collect();
        let mut report = Report::begin(self, io::stdout())?;
        let mut rows = clearing.unlike(asked);
        while let Some(unlike) = rows.try_next().await? {
            for difference in Difference::between(&unlike, asked) {
                report.tell(&difference)?;
            }
        }
        drop(rows);
        clearing.end().await?;
        report.end(Summary { differences: 0, there, here, under_way, besides: others.sums() })
    }
}

/// The provider of this name, of those that this deployment uses.
fn provider(config: &Config, name: &str) -> Result<Arc<dyn PaymentProvider>, Failure> {
    let providers = crate::app::providers(config)?;
    let unknown = || format!("`{name}` is not a payment provider that is in use here; with --file none has to be");
    Ok(providers.named(name).cloned().ok_or_else(unknown)?)
}

/// Whether this deployment uses a provider of this name.
fn uses(config: &Config, name: &str) -> Result<bool, Failure> {
    Ok(crate::app::providers(config)?.named(name).is_some())
}

/// Waits until the ledger has come to where the log ends now.
async fn caught_up(database: &Database) -> Result<(), Failure> {
    let pool = database.pool(1);
    let head = eventstore::log::head(&pool).await?;
    let (until, clock) = (Instant::now() + PATIENCE, Clock::new());
    clock.follow_once(&pool).await?;
    loop {
        let statuses = follower::statuses(&pool, &[ledger::MODEL.name], clock.now()).await?;
        let Some(status) = statuses.first() else { return Err("there is no ledger".into()) };
        let there = status.version == Some(ledger::MODEL.version);
        // What is parked is missing in the books, and would be taken for a difference.
        if status.parked + status.waiting > 0 {
            let missing = status.parked + status.waiting;
            return Err(
                format!("{missing} events are parked before the ledger: see `tradepost projections parked`").into()
            );
        }
        if there && status.position >= head {
            pool.close().await;
            return Ok(());
        }
        if Instant::now() >= until || !there || status.paused {
            let behind = head - status.position;
            return Err(format!(
                "the ledger is not there up to where the log ends, {behind} events are left: `tradepost projections \
                 status` tells why; it follows while a node with the role `projections` runs"
            )
            .into());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// What the provider tells, on its way to where it is held against the ledger.
#[derive(Debug)]
struct Intake<'a> {
    clearing: &'a mut Clearing,
    provider: &'a str,
    asked: Span,
    wide: Span,
    others: Others,
}

impl Intake<'_> {
    /// Takes records in, as far as they are of that time.
    async fn take(&mut self, records: &[Record]) -> Result<(), Failure> {
        let Self { clearing, provider, asked, wide, others } = self;
        for page in records.chunks(PAGE) {
            let of_time = page.iter().filter(|record| wide.has(record.at));
            let compared = of_time.filter(|record| others.is_compared(record, *asked));
            clearing.tell(&compared.map(|record| told(provider, record)).collect::<Vec<_>>()).await?;
        }
        Ok(())
    }

    /// Asks a provider for all its records, a stretch of time after the other, so that no answer is large.
    async fn ask(&mut self, provider: &dyn PaymentProvider) -> Result<(), Failure> {
        let mut shown = Shown::begin("of the time at the provider");
        let Span { from: first, until: last } = self.wide;
        let mut stretches = Stretches { from: first, until: last, length: FIRST_ASKED };
        while let Some(Span { from, until }) = stretches.next() {
            let records = provider.records(from, until).await?;
            self.take(&records).await?;
            stretches.brought(records.len());
            shown.reached((until - first).num_seconds(), (last - first).num_seconds());
        }
        Ok(())
    }

    /// Reads the records of a file.
    async fn read(&mut self, file: &Path) -> Result<(), Failure> {
        let mut export = Export::open(file)?;
        let mut shown = Shown::begin("of the file");
        loop {
            let page = export.page(PAGE)?;
            if page.is_empty() {
                return Ok(());
            }
            self.take(&page).await?;
            let (read, all) = export.progress();
            shown.reached(read.cast_signed(), all.cast_signed());
        }
    }
}

/// The times that a provider is asked for, one after the other: longer where it has done little, shorter where much.
#[derive(Debug)]
struct Stretches {
    from: Timestamp,
    until: Timestamp,
    length: TimeDelta,
}

impl Stretches {
    fn next(&mut self) -> Option<Span> {
        let Self { from, until, length } = *self;
        let end = from.checked_add_signed(length).map_or(until, |end| end.min(until));
        self.from = end;
        (from < until).then_some(Span { from, until: end })
    }

    /// So many records were in the last one.
    fn brought(&mut self, records: usize) {
        let length = if records > MANY { self.length / 2 } else { self.length * 2 };
        self.length = length.clamp(SHORTEST_ASKED, LONGEST_ASKED);
    }
}

/// What a provider of this name tells, as it is held against the ledger.
fn told(provider: &str, record: &Record) -> Told {
    let Record { reference, operation, kind, amount, fee, at } = record;
    let operation = match kind {
        // The provider knows nothing of our id, which follows from its name for the dispute.
        RecordKind::Dispute | RecordKind::DisputeReversed => {
            Some(operation.unwrap_or_else(|| DisputeId::of(provider, reference).0))
        }
        RecordKind::Charge
        | RecordKind::Refund
        | RecordKind::RefundReturned
        | RecordKind::Payout
        | RecordKind::PayoutReturned
        | RecordKind::Other => *operation,
    };
    Told {
        kind: kind_of(*kind),
        reference: reference.clone(),
        operation,
        amount: amount.minor(),
        currency: Text(amount.currency()),
        // What is charged for a dispute is nothing that the ledger has: see [`Others`].
        fee: if *kind == RecordKind::Dispute { 0 } else { fee.minor() },
        fee_currency: Text(fee.currency()),
        at: *at,
    }
}

fn kind_of(kind: RecordKind) -> Kind {
    match kind {
        RecordKind::Charge => Kind::Charge,
        RecordKind::Refund => Kind::Refund,
        RecordKind::RefundReturned => Kind::RefundReturned,
        RecordKind::Payout => Kind::Payout,
        RecordKind::PayoutReturned => Kind::PayoutReturned,
        RecordKind::Dispute => Kind::Dispute,
        RecordKind::DisputeReversed => Kind::DisputeReversed,
        RecordKind::Other => Kind::Other,
    }
}

/// What the provider has done besides: there is nothing in the ledger that it could be held against.
#[derive(Debug, Default)]
struct Others(BTreeMap<Currency, (u64, i128)>);

impl Others {
    /// Whether a record is held against the ledger. One that is not is summed up, if it is of the days that were asked for,
    /// and so is what was charged for a dispute.
    fn is_compared(&mut self, record: &Record, asked: Span) -> bool {
        let of_it = match record.kind {
            RecordKind::Other => {
                Some((record.amount.currency(), i128::from(record.amount.minor()) - fee_within(record)))
            }
            RecordKind::Dispute if record.fee.is_positive() => {
                Some((record.fee.currency(), -i128::from(record.fee.minor())))
            }
            _ => None,
        };
        if let Some((currency, amount)) = of_it.filter(|_| asked.has(record.at)) {
            let sum = self.0.entry(currency).or_default();
            sum.0 += 1;
            sum.1 += amount;
        }
        record.kind != RecordKind::Other
    }

    fn sums(self) -> Vec<Sum> {
        let besides = |(currency, (records, amount))| Sum { currency: Text(currency), records, amount };
        self.0.into_iter().map(besides).collect()
    }
}

/// What a record's fee takes of its amount, where both are of one currency.
fn fee_within(record: &Record) -> i128 {
    if record.fee.currency() == record.amount.currency() { i128::from(record.fee.minor()) } else { 0 }
}

/// What was found, told as it comes: however much it is, none of it is kept.
struct Report<W> {
    out: W,
    json: bool,
    told: u64,
    /// Whether somebody still reads it.
    heard: bool,
}

impl<W: Write> Report<W> {
    fn begin(asked: &Reconcile, out: W) -> Result<Self, Failure> {
        let mut report = Self { out, json: asked.json, told: 0, heard: true };
        if report.json {
            let head = json!({ "provider": asked.provider, "from": asked.from, "to": asked.to }).to_string();
            // What comes goes into the same object.
            report.write(format_args!("{},\"differences\":[", head.trim_end_matches('}')))?;
        }
        Ok(report)
    }

    fn tell(&mut self, difference: &Difference) -> Result<(), Failure> {
        self.told += 1;
        if self.json {
            let comma = if self.told > 1 { "," } else { "" };
            let line = serde_json::to_string(difference)?;
            return self.write(format_args!("{comma}{line}"));
        }
        self.write(format_args!("{difference}\n"))
    }

    fn end(mut self, summary: Summary) -> Result<u64, Failure> {
        let summary = Summary { differences: self.told, ..summary };
        if self.json {
            let rest = serde_json::to_string(&End { summary })?;
            self.write(format_args!("],{}\n", rest.trim_start_matches('{')))?;
        } else {
            self.write(format_args!("{summary}\n"))?;
        }
        Ok(self.told)
    }

    fn write(&mut self, text: fmt::Arguments<'_>) -> Result<(), Failure> {
        if self.heard {
            self.heard = heard(self.out.write_fmt(text))?;
        }
        Ok(())
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { differences, there, here, under_way, besides } = self;
        write!(f, "{there} movements at the provider, {here} in the ledger: ")?;
        match differences {
            0 => write!(f, "no difference")?,
            1 => write!(f, "1 difference")?,
            differences => write!(f, "{differences} differences")?,
        }
        for sum in under_way {
            write!(f, "\nbesides, {} payouts are under way, which come to {}", sum.records, sum.amount())?;
        }
        for sum in besides {
            let (records, amount) = (sum.records, sum.amount());
            write!(f, "\nbesides, the provider tells of {records} movements of its own, which come to {amount}")?;
        }
        Ok(())
    }
}

impl Sum {
    /// It may be more than an amount can be.
    fn amount(&self) -> String {
        let Self { currency, amount, .. } = self;
        let minor = i64::try_from(*amount).ok().and_then(|minor| Money::new(minor, currency.0).ok());
        minor.map_or_else(|| format!("{amount} minor units of {}", currency.0), |sum| sum.to_string())
    }
}

/// Shows how far it is: a bar on a terminal, otherwise a line every few seconds on standard error.
pub(super) struct Shown {
    bar: ProgressBar,
    pace: Pace,
    what: &'static str,
}

impl Shown {
    pub(super) fn begin(what: &'static str) -> Self {
        // The template is ours and right; a bar without it would do.
        let style = ProgressStyle::with_template("[{bar:30}] {percent} % {msg}")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
        Self { bar: ProgressBar::new(0).with_style(style).with_message(what), pace: Pace::begin(), what }
    }

    pub(super) fn reached(&mut self, reached: i64, all: i64) {
        self.bar.set_length(all.unsigned_abs());
        self.bar.set_position(reached.unsigned_abs());
        if self.bar.is_hidden() && self.pace.is_time_to_tell() {
            eprintln!("{} % {}", reached.saturating_mul(100) / all.max(1), self.what);
        }
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(from: &str, to: &str) -> Reconcile {
        let (provider, from, to) = ("sandbox".to_owned(), from.parse().unwrap(), to.parse().unwrap());
        Reconcile { provider, from, to, file: None, margin_days: 3, json: true }
    }

    #[test]
    fn the_last_day_is_looked_at_as_well_and_some_days_around() {
        let (exact, wide) = asked("2026-02-27", "2026-02-28").spans().unwrap();
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        assert_eq!(exact, Span { from: at("2026-02-27T00:00:00Z"), until: at("2026-03-01T00:00:00Z") });
        assert_eq!(wide, Span { from: at("2026-02-24T00:00:00Z"), until: at("2026-03-04T00:00:00Z") });
        assert!(asked("2026-03-02", "2026-03-01").spans().is_err());
    }

    #[test]
    fn a_provider_is_asked_for_all_of_the_time_once_and_for_less_where_it_has_done_much() {
        let (_, wide) = asked("2026-11-01", "2026-11-30").spans().unwrap();
        let mut stretches = Stretches { from: wide.from, until: wide.until, length: FIRST_ASKED };
        let (mut reached, mut asked) = (wide.from, 0);
        let mut longest = TimeDelta::zero();
        while let Some(span) = stretches.next() {
            assert_eq!(span.from, reached);
            assert!(span.from < span.until);
            longest = longest.max(span.until - span.from);
            (reached, asked) = (span.until, asked + 1);
            // Much has happened on the fifteenth.
            let much = span.from.to_string().starts_with("2026-11-15");
            stretches.brought(if much { MANY + 1 } else { MANY });
            assert!(stretches.length >= SHORTEST_ASKED);
        }
        assert_eq!((reached, longest), (wide.until, LONGEST_ASKED));
        assert!((36..1_000).contains(&asked), "{asked}");
    }

    #[test]
    fn what_the_provider_does_for_itself_is_summed_up_within_the_days() {
        let usd = |minor| Money::new(minor, Currency::USD).unwrap();
        let record = |kind, minor, at: &str| Record {
            reference: "x".to_owned(),
            operation: None,
            kind,
            amount: usd(minor),
            fee: usd(5),
            at: at.parse().unwrap(),
        };
        let (exact, _) = asked("2026-11-01", "2026-11-01").spans().unwrap();
        let mut others = Others::default();
        assert!(others.is_compared(&record(RecordKind::Charge, 100, "2026-11-01T10:00:00Z"), exact));
        assert!(!others.is_compared(&record(RecordKind::Other, -100, "2026-11-01T10:00:00Z"), exact));
        assert!(!others.is_compared(&record(RecordKind::Other, -100, "2026-11-02T00:00:00Z"), exact));
        // A dispute is held against it, and not what is charged for it.
        let dispute = record(RecordKind::Dispute, -100, "2026-11-01T10:00:00Z");
        assert!(others.is_compared(&dispute, exact));
        assert_eq!(told("stripe", &dispute).fee, 0);
        let besides = Sum { currency: Text(Currency::USD), records: 2, amount: -110 };
        assert_eq!(others.sums(), [besides]);
        let summary = Summary { differences: 2, there: 1, here: 3, under_way: vec![], besides: vec![besides] };
        let told = "1 movements at the provider, 3 in the ledger: 2 differences\n\
            besides, the provider tells of 2 movements of its own, which come to -1.10 USD";
        assert_eq!(summary.to_string(), told);
    }

    #[test]
    fn a_report_is_one_object_in_json() {
        let question = asked("2026-11-01", "2026-11-30");
        let mut written = Vec::new();
        let mut report = Report::begin(&question, &mut written).unwrap();
        for _ in 0..2 {
            report.tell(&differences::tests::missing_here()).unwrap();
        }
        assert_eq!(report.end(Summary::default()).unwrap(), 2);
        let read: serde_json::Value = serde_json::from_slice(&written).unwrap();
        assert_eq!(
            (&read["provider"], &read["from"], &read["to"]),
            (&json!("sandbox"), &json!("2026-11-01"), &json!("2026-11-30"))
        );
        assert_eq!((read["differences"].as_array().unwrap().len(), &read["summary"]["differences"]), (2, &json!(2)));
    }
}
