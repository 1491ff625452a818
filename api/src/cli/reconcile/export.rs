//! A provider's records as a CSV file, in the form that `tradepost reconcile --help` teaches.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use commands::payments::{Record, RecordKind};
use csv::{Reader, ReaderBuilder, StringRecord, Trim};
use domain::{Currency, Money};
use serde::Deserialize;
use thiserror::Error;
use uuid::Uuid;

/// The longest name of a movement, in characters. Those of providers are much shorter.
const LONGEST_REFERENCE: usize = 255;

/// Why a file is not taken.
#[derive(Debug, Error)]
pub(super) enum ExportError {
    /// It is not there, or may not be read.
    #[error("{path} cannot be read: {error}")]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// It is no CSV, or has other columns.
    #[error("{path}: {error}")]
    Malformed {
        /// Which.
        path: PathBuf,
        /// Why, and where.
        error: csv::Error,
    },
    /// A record makes no sense.
    #[error("{path}, line {line}: {what}")]
    Senseless {
        /// Which.
        path: PathBuf,
        /// Where.
        line: u64,
        /// Why.
        what: String,
    },
}

/// A file that is being read.
#[derive(Debug)]
pub(super) struct Export<R = BufReader<File>> {
    path: PathBuf,
    rows: Reader<R>,
    headers: StringRecord,
    size: u64,
}

/// A line of the file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row<'a> {
    kind: RowKind,
    reference: &'a str,
    #[serde(default)]
    operation: Option<Uuid>,
    amount: i64,
    currency: Currency,
    #[serde(default)]
    fee: Option<i64>,
    at: &'a str,
}

/// What a line tells of.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum RowKind {
    Charge,
    Refund,
    RefundReturned,
    Payout,
    PayoutReturned,
    Dispute,
    DisputeReversed,
    Other,
}

impl From<RowKind> for RecordKind {
    fn from(kind: RowKind) -> Self {
        match kind {
            RowKind::Charge => Self::Charge,
            RowKind::Refund => Self::Refund,
            RowKind::RefundReturned => Self::RefundReturned,
            RowKind::Payout => Self::Payout,
            RowKind::PayoutReturned => Self::PayoutReturned,
            RowKind::Dispute => Self::Dispute,
            RowKind::DisputeReversed => Self::DisputeReversed,
            RowKind::Other => Self::Other,
        }
    }
}

impl Export {
    /// Opens a file.
    pub(super) fn open(path: &Path) -> Result<Self, ExportError> {
        let unreadable = |error| ExportError::Unreadable { path: path.to_owned(), error };
        let file = File::open(path).map_err(unreadable)?;
        let size = file.metadata().map_err(unreadable)?.len();
        Self::of(path, BufReader::new(file), size)
    }
}

impl<R: Read> Export<R> {
    fn of(path: &Path, from: R, size: u64) -> Result<Self, ExportError> {
        let path = path.to_owned();
        let mut rows = ReaderBuilder::new().trim(Trim::All).from_reader(from);
        let headers = match rows.headers() {
            Ok(headers) => headers.clone(),
            Err(error) => return Err(ExportError::Malformed { path, error }),
        };
        Ok(Self { path, rows, headers, size })
    }

    /// How many bytes were read, of how many.
    pub(super) fn progress(&self) -> (u64, u64) {
        (self.rows.position().byte(), self.size)
    }

    /// The next records, at most so many; none at the end.
    pub(super) fn page(&mut self, most: usize) -> Result<Vec<Record>, ExportError> {
        let malformed = |error| ExportError::Malformed { path: self.path.clone(), error };
        let (mut page, mut line) = (Vec::new(), StringRecord::new());
        while page.len() < most && self.rows.read_record(&mut line).map_err(malformed)? {
            let row: Row<'_> = line.deserialize(Some(&self.headers)).map_err(malformed)?;
            let senseless = |what| ExportError::Senseless {
                path: self.path.clone(),
                line: line.position().map_or(0, csv::Position::line),
                what,
            };
            page.push(row.record().map_err(senseless)?);
        }
        Ok(page)
    }
}

impl Row<'_> {
    fn record(self) -> Result<Record, String> {
        let Self { kind, reference, operation, amount, currency, fee, at } = self;
        if !(1..=LONGEST_REFERENCE).contains(&reference.chars().count()) || reference.contains('\0') {
            return Err(format!("`reference` must be 1 to {LONGEST_REFERENCE} characters without U+0000"));
        }
        let at = at.parse().map_err(|_| "`at` must be a time such as 2026-11-01T10:00:00Z".to_owned())?;
        let fee = fee.unwrap_or(0);
        if fee < 0 && !matches!(kind, RowKind::Other) {
            return Err("`fee` must not be below zero".to_owned());
        }
        let goes_out = match kind {
            RowKind::Charge | RowKind::RefundReturned | RowKind::PayoutReturned | RowKind::DisputeReversed => false,
            RowKind::Refund | RowKind::Payout | RowKind::Dispute => true,
            RowKind::Other => amount < 0,
        };
        if goes_out && amount > 0 || !goes_out && amount < 0 {
            return Err("`amount` is what came in: what went out is below zero, all else above".to_owned());
        }
        let money = |minor| Money::new(minor, currency).map_err(|error| error.to_string());
        let (amount, fee) = (money(amount)?, money(fee)?);
        Ok(Record { reference: reference.to_owned(), operation, kind: kind.into(), amount, fee, at })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<Record>, String> {
        let mut export =
            Export::of(Path::new("november.csv"), text.as_bytes(), 0).map_err(|error| error.to_string())?;
        let mut records = Vec::new();
        loop {
            let page = export.page(2).map_err(|error| error.to_string())?;
            if page.is_empty() {
                return Ok(records);
            }
            records.extend(page);
        }
    }

    #[test]
    fn columns_may_be_in_any_order_and_two_of_them_left_out() {
        let all = "kind,reference,operation,amount,currency,fee,at\n\
            charge,ch_1,0192f5a0-acc0-7000-8000-000000000009,1999,USD,59,2026-11-01T10:00:00Z\n\
            refund, re_1 ,,-1999,USD,,2026-11-02T10:00:00+05:00\n\
            payout_returned,\"po,1\",,700,JPY,0,2026-11-03T10:00:00Z\n";
        let [charge, refund, returned] = read(all).unwrap().try_into().unwrap();
        assert_eq!((charge.amount.minor(), charge.fee.minor()), (1_999, 59));
        assert!(charge.operation.is_some() && refund.operation.is_none());
        assert_eq!((&*refund.reference, refund.amount.minor(), refund.fee.minor()), ("re_1", -1_999, 0));
        assert_eq!(refund.at, "2026-11-02T05:00:00Z".parse::<domain::Timestamp>().unwrap());
        assert_eq!((&*returned.reference, returned.amount.currency()), ("po,1", Currency::JPY));
        let fewer = "at,currency,amount,reference,kind\n2026-11-01T10:00:00Z,KWD,1,x,dispute_reversed\n";
        assert_eq!(read(fewer).unwrap()[0].kind, RecordKind::DisputeReversed);
        assert_eq!(read("kind,reference,amount,currency,at\n").unwrap(), []);
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_its_line() {
        let of = |line: &str| read(&format!("kind,reference,amount,currency,fee,at\n{line}\n")).unwrap_err();
        for (line, what) in [
            ("gift,x,1,USD,,2026-11-01T10:00:00Z", "gift"),
            ("charge,,1,USD,,2026-11-01T10:00:00Z", "`reference`"),
            ("charge,x,19.99,USD,,2026-11-01T10:00:00Z", "field 2"),
            ("charge,x,-1,USD,,2026-11-01T10:00:00Z", "`amount`"),
            ("payout,x,1,USD,,2026-11-01T10:00:00Z", "`amount`"),
            ("charge,x,1,usd,,2026-11-01T10:00:00Z", "usd"),
            ("charge,x,1,USD,-1,2026-11-01T10:00:00Z", "`fee`"),
            ("charge,x,9007199254740992,USD,,2026-11-01T10:00:00Z", "2^53"),
            ("charge,x,1,USD,,yesterday", "`at`"),
            ("charge,x,1,USD,", "fields"),
        ] {
            let refused = of(line);
            assert!(refused.contains(what) && refused.starts_with("november.csv"), "{line}: {refused}");
            assert!(refused.contains("line: 2") || refused.contains("line 2"), "{line}: {refused}");
        }
        let unknown = read("kind,reference,amount,currency,at,mood\ncharge,x,1,USD,2026-11-01T10:00:00Z,good\n");
        assert!(unknown.unwrap_err().contains("mood"));
        let missing = read("kind,reference,amount,at\ncharge,x,1,2026-11-01T10:00:00Z\n");
        assert!(missing.unwrap_err().contains("currency"));
    }
}
