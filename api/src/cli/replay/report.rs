//! What would be different, told as it is found: however much it is, none of it is kept.

use std::fmt::{self, Write as _};
use std::io::Write;

use chrono::TimeDelta;
use domain::money::decimal;
use domain::what_if::auctions::{Ended, Ending};
use domain::what_if::sales::{Act, Fate, Sold};
use domain::what_if::{Auctioned, Policy};
use domain::{AuctionId, Timestamp};
use eventstore::Position;
use serde::Serialize;

use super::Failure;
use super::summary::Summary;
use crate::cli::output::heard;

/// What was looked at.
#[derive(Debug, Serialize)]
pub(super) struct Seen {
    /// What began then or later.
    pub(super) from: Option<Timestamp>,
    /// What began before then.
    pub(super) until: Option<Timestamp>,
    /// The log up to here.
    pub(super) position: Position,
}

#[derive(Serialize)]
struct Begin<'a> {
    policy: &'a Policy,
    #[serde(flatten)]
    seen: &'a Seen,
}

#[derive(Serialize)]
struct OfAuction<'a> {
    auction: AuctionId,
    #[serde(flatten)]
    auctioned: &'a Auctioned,
    price_change: Option<i64>,
}

#[derive(Serialize)]
struct End<'a> {
    summary: &'a Summary,
}

/// Where it is told, and how.
pub(super) struct Report<W> {
    out: W,
    json: bool,
    /// How many differences of each kind are listed for people.
    show: u64,
    /// How many of this kind there were.
    told: u64,
    /// Whether somebody still reads it.
    heard: bool,
}

impl<W: Write> Report<W> {
    pub(super) fn new(out: W, json: bool, show: u64) -> Self {
        Self { out, json, show, told: 0, heard: true }
    }

    pub(super) fn begin(&mut self, policy: &Policy, seen: &Seen) -> Result<(), Failure> {
        if self.json {
            let begin = serde_json::to_string(&Begin { policy, seen })?;
            // What comes goes into the same object.
            let begin = begin.strip_suffix('}').unwrap_or(&begin).to_owned();
            self.write(format_args!("{begin}"))?;
        }
        Ok(())
    }

    /// Begins with differences of another kind.
    pub(super) fn open(&mut self, kind: &str) -> Result<(), Failure> {
        self.told = 0;
        if self.json { self.write(format_args!(",\"{kind}\":[")) } else { Ok(()) }
    }

    pub(super) fn close(&mut self) -> Result<(), Failure> {
        if self.json {
            return self.write(format_args!("]"));
        }
        match self.told.checked_sub(self.show) {
            Some(more) if more > 0 => self.write(format_args!("… and {more} more\n\n")),
            Some(_) | None if self.told > 0 => self.write(format_args!("\n")),
            Some(_) | None => Ok(()),
        }
    }

    pub(super) fn tell_auction(&mut self, auction: AuctionId, auctioned: &Auctioned) -> Result<(), Failure> {
        let price_change = auctioned.price_change();
        self.tell(
            &OfAuction { auction, auctioned, price_change },
            &format!("{:<36}  {:>18}  {:>18}  {:>12}  ", "auction", "was", "would be", "change"),
            || auction_line(auction, auctioned),
        )
    }

    pub(super) fn tell_order(&mut self, sold: &Sold) -> Result<(), Failure> {
        let header = format!("{:<36}  {:<32}  {:<32}  {:>18}  ", "order", "was", "would be", "fee");
        self.tell(sold, &header, || order_line(sold))
    }

    fn tell(&mut self, value: &impl Serialize, header: &str, line: impl FnOnce() -> String) -> Result<(), Failure> {
        self.told += 1;
        if self.json {
            let comma = if self.told > 1 { "," } else { "" };
            let value = serde_json::to_string(value)?;
            return self.write(format_args!("{comma}{value}"));
        }
        if self.told > self.show {
            return Ok(());
        }
        if self.told == 1 {
            self.write(format_args!("{}\n", header.trim_end()))?;
        }
        let line = line();
        self.write(format_args!("{}\n", line.trim_end()))
    }

    pub(super) fn end(&mut self, summary: Summary) -> Result<(), Failure> {
        let summary = summary.sum_up();
        if self.json {
            let end = serde_json::to_string(&End { summary: &summary })?;
            self.write(format_args!(",{}\n", end.strip_prefix('{').unwrap_or(&end)))?;
        } else {
            let show = usize::try_from(self.show).unwrap_or(usize::MAX);
            self.write(format_args!("{}\n", summary.told(show)))?;
        }
        if self.heard {
            self.heard = heard(self.out.flush())?;
        }
        Ok(())
    }

    fn write(&mut self, text: fmt::Arguments<'_>) -> Result<(), Failure> {
        if self.heard {
            self.heard = heard(self.out.write_fmt(text))?;
        }
        Ok(())
    }
}

fn auction_line(auction: AuctionId, auctioned: &Auctioned) -> String {
    let Auctioned { currency, was, would, refusals, .. } = auctioned;
    let change = auctioned.price_change().filter(|change| *change != 0);
    let change = change.map(|change| {
        let plus = if change > 0 { "+" } else { "" };
        format!("{plus}{}", decimal(i128::from(change), *currency))
    });
    let mut notes = Vec::new();
    if auctioned.changes_winner() {
        notes.push(match would.winner {
            Some(_) if was.winner.is_some() => "another winner".to_owned(),
            Some(_) => "a winner".to_owned(),
            None => "no winner".to_owned(),
        });
    }
    if was.how != would.how && was.winner.is_some() && would.winner.is_some() {
        notes.push(format!("{} instead of {}", how(would.how), how(was.how)));
    }
    if was.at != would.at {
        notes.push(format!("ends {}", moved(would.at - was.at)));
    }
    match refusals {
        0 => {}
        1 => notes.push("1 bid refused".to_owned()),
        several => notes.push(format!("{several} bids refused")),
    }
    let (was, would, change) = (ended(was), ended(would), change.unwrap_or_default());
    format!("{:<36}  {was:>18}  {would:>18}  {change:>12}  {}", auction.to_string(), notes.join(", "))
}

fn ended(ending: &Ending) -> String {
    match ending.price {
        Some(price) => price.to_string(),
        None => how(ending.how).to_owned(),
    }
}

fn how(ended: Ended) -> &'static str {
    match ended {
        Ended::Won => "won",
        Ended::BoughtNow => "bought at once",
        Ended::NoBids => "no bids",
        Ended::ReserveMissed => "reserve missed",
        Ended::Cancelled => "called off",
        Ended::Open => "goes on",
    }
}

/// How much later or earlier, to the second.
fn moved(by: TimeDelta) -> String {
    let (seconds, which) = (by.num_seconds().unsigned_abs(), if by < TimeDelta::zero() { "earlier" } else { "later" });
    let (days, hours, minutes, seconds) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
    let mut text = String::new();
    for (count, unit) in [(days, "d"), (hours, "h"), (minutes, "min"), (seconds, "s")] {
        if count > 0 {
            // Text takes whatever is written.
            let _ = write!(text, "{count} {unit} ");
        }
    }
    if text.is_empty() { format!("a moment {which}") } else { format!("{text}{which}") }
}

fn order_line(sold: &Sold) -> String {
    let Sold { order, amount, was, would, too_late, charged_back_after_release, .. } = sold;
    let minor = |minor: i64| decimal(i128::from(minor), amount.currency());
    let fee = match (was.fee, would.fee) {
        (was, would) if was == would => String::new(),
        (was, would) => format!("{} → {}", minor(was.minor()), would),
    };
    let mut notes = Vec::new();
    if was.refunded != would.refunded {
        notes.push(format!("{} instead of {} back to the buyer", would.refunded, minor(was.refunded.minor())));
    }
    if !too_late.is_empty() {
        let acts: Vec<_> = too_late.iter().map(|late| Act::name(late.what)).collect();
        notes.push(format!("refused: {}", acts.join(", ")));
    }
    if charged_back_after_release.is_some() {
        notes.push("charged back after the release, which the seller would bear".to_owned());
    }
    let (order, was, would) = (order.to_string(), place(was), place(would));
    format!("{order:<36}  {was:<32}  {would:<32}  {fee:>18}  {}", notes.join("; "))
}

fn place(fate: &Fate) -> String {
    format!("{} {}", fate.status.name().replace('_', " "), fate.since.format("%Y-%m-%d %H:%M:%S"))
}

#[cfg(test)]
mod tests {
    use domain::escrow::Status;
    use domain::what_if::sales::TooLate;
    use domain::{AccountId, Currency, Money, OrderId};
    use serde_json::{Value, json};
    use uuid::Uuid;

    use super::*;

    fn usd(minor: i64) -> Money {
        Money::new(minor, Currency::USD).unwrap()
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::default() + TimeDelta::seconds(seconds)
    }

    fn auctioned() -> Auctioned {
        let ending = |minor, who, seconds| Ending {
            how: Ended::Won,
            at: at(seconds),
            winner: Some(AccountId(Uuid::from_u128(who))),
            price: Some(usd(minor)),
            bids: 3,
        };
        Auctioned {
            seller: AccountId(Uuid::from_u128(9)),
            currency: Currency::USD,
            was: ending(5_200, 1, 0),
            would: ending(4_950, 2, 3_723),
            refused: vec![],
            refusals: 2,
        }
    }

    fn sold() -> Sold {
        let fate = |status, seconds, refunded, fee| Fate {
            status,
            since: at(seconds),
            refunded: usd(refunded),
            fee: usd(fee),
        };
        Sold {
            order: OrderId(Uuid::from_u128(7)),
            seller: AccountId(Uuid::from_u128(9)),
            amount: usd(10_000),
            was: fate(Status::Released, 0, 0, 200),
            would: fate(Status::Refunded, 60, 10_000, 0),
            too_late: vec![TooLate { what: Act::Shipment, at: at(70), reason: "the escrow is refunded".to_owned() }],
            charged_back_after_release: None,
        }
    }

    fn told(json: bool, show: u64) -> String {
        let mut written = Vec::new();
        let mut report = Report::new(&mut written, json, show);
        let seen = Seen { from: None, until: None, position: 42 };
        report.begin(&Policy::default(), &seen).unwrap();
        let mut summary = Summary::default();
        report.open("auctions").unwrap();
        for number in 1..=2 {
            summary.auctions.take(Some(&auctioned()));
            report.tell_auction(AuctionId(Uuid::from_u128(number)), &auctioned()).unwrap();
        }
        summary.auctions.take(None);
        report.close().unwrap();
        report.open("orders").unwrap();
        summary.orders.take(&sold());
        report.tell_order(&sold()).unwrap();
        report.close().unwrap();
        report.end(summary).unwrap();
        String::from_utf8(written).unwrap()
    }

    #[test]
    fn people_are_told_line_by_line_and_then_in_all() {
        let told = told(false, 1);
        for line in [
            "00000000-0000-0000-0000-000000000001           52.00 USD           49.50 USD         -2.50  another winner, \
             ends 1 h 2 min 3 s later, 2 bids refused\n… and 1 more\n",
            "released 1970-01-01 00:00:00      refunded 1970-01-01 00:01:00      ",
            "2.00 → 0.00 USD  100.00 USD instead of 0.00 back to the buyer; refused: shipment\n",
            "\n2 of 2 auctions would be different (1 go on and are left out)\n  0 dearer, 2 cheaper, 2 with another winner\n",
            "\n  closing prices: 104.00 → 99.00 USD (-5.00)\n1 of 1 orders would be different\n  1 released → refunded\n",
            "\n  fees: 2.00 → 0.00 USD (-2.00)\n  back to buyers: 0.00 → 100.00 USD (+100.00)\n",
            "\n  fees of 00000000-0000-0000-0000-000000000009: 2.00 → 0.00 USD (-2.00)\n",
        ] {
            assert!(told.contains(line), "{line}\n---\n{told}");
        }
    }

    #[test]
    fn programs_are_told_everything_in_one_object() {
        let told: Value = serde_json::from_str(&told(true, 0)).unwrap();
        assert_eq!(told["position"], 42);
        assert_eq!(told["auctions"].as_array().unwrap().len(), 2);
        assert_eq!((&told["auctions"][0]["price_change"], &told["auctions"][0]["refusals"]), (&json!(-250), &json!(2)));
        assert_eq!(told["auctions"][0]["was"]["price"], json!({ "amount": 5_200, "currency": "USD" }));
        assert_eq!(told["orders"][0]["too_late"][0]["what"], "shipment");
        assert_eq!(told["orders"][0]["would"]["status"], "refunded");
        let summary = &told["summary"];
        assert_eq!((&summary["auctions"]["cheaper"], &summary["auctions"]["going_on"]), (&json!(2), &json!(1)));
        assert_eq!(summary["orders"]["sellers"][0]["was"], 200);
        assert_eq!(summary["orders"]["places"][0], json!({ "was": "released", "would": "refunded", "orders": 1 }));
    }

    #[test]
    fn a_move_is_told_in_units_that_it_has() {
        let told = |seconds| moved(TimeDelta::seconds(seconds));
        assert_eq!([told(0), told(-60), told(90_000)], ["a moment later", "1 min earlier", "1 d 1 h later"]);
    }
}
