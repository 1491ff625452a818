//! `tradepost replay`: what would have been different under other rules.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use chrono::{NaiveDate, NaiveTime};
use clap::Args;
use domain::Timestamp;
use domain::what_if::Policy;

use super::{Failure, Place, stop_signals};
use crate::config::Config;

mod reading;
mod report;
mod summary;

use report::Report;

/// A policy is written by people, and no larger than this.
const MOST_BYTES: u64 = 1 << 20;

/// Run history through other rules, and tell what would have been different. Nothing is changed.
///
/// Every auction that is over is decided anew: the same bids, up to the same maxima, at the same times, by other increments
/// or another soft close. Every order that is paid into escrow goes its way anew, by other deadlines and fees: what people
/// did is asked again, and refused where it comes too late; what clocks did is done at their new times. What nobody did is
/// not guessed: whoever was outbid sooner might have bid more, and bids that were refused in their time are in no log.
///
/// The rules are a TOML file. What it does not name stays as it was. An unknown key is an error, and so are a category, a
/// plan or a seller that this marketplace never had:
///
///   fees.usual_bps = 250                   # in basis points, where neither category, plan nor seller has another
///   fees.categories = { watches = 400 }    # by slug, for those below it as well; the nearest counts, as ever
///   fees.plans = { free = 300, gold = 100 }
///   fees.sellers = { "0190b6c2-6a5e-7b1c-9e55-2f6f6f0f7d11" = 50 }
///   # fees.flat_bps = 200                  # or one rate for all, and then none of the others
///   auctions.soft_close_window_s = 300     # 0 for none
///   auctions.increments.USD = 100          # by currency, in minor units: one step for all prices, or a table
///   auctions.increments.EUR = [{ below = 1000, step = 50 }, { step = 100 }]
///   deadlines.checkout_paid_s = 1800
///   deadlines.win_paid_s = 172800
///   deadlines.shipped_s = 604800
///   deadlines.inspection_physical_s = 604800
///   deadlines.inspection_digital_s = 86400
///   deadlines.resolved_s = 2592000
///
/// Auctions are told by increments or soft close, orders by fees or deadlines; both if the file says nothing. --from and
/// --until choose by when an auction was scheduled or an order placed; what became of it later counts. The same log and
/// the same file give the same answer.
///
/// Examples:
///   tradepost replay --with policy.toml
///   tradepost replay --with policy.toml --from 2026-11-01 --until 2026-12-01 --show 10
///   tradepost replay --with policy.toml --json | jq '.auctions[] | [.auction, .price_change]'
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
#[expect(clippy::doc_markdown, reason = "the file stands here as it is written")]
pub(super) struct Replay {
    /// The other rules.
    #[arg(long, value_name = "FILE")]
    with: PathBuf,
    /// Only what began then or later: a date, which begins at midnight UTC, or a time such as 2026-11-30T12:00:00Z.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    from: Option<Timestamp>,
    /// Only what began before then.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<Timestamp>,
    /// How many differences of each kind are listed; all are counted. In JSON all are listed.
    #[arg(long, value_name = "NUMBER", default_value_t = 50)]
    show: u64,
    /// Tell what would be different as JSON.
    #[arg(long)]
    json: bool,
}

/// When what is looked at began.
#[derive(Clone, Copy, Debug)]
struct Span {
    from: Option<Timestamp>,
    until: Option<Timestamp>,
}

impl Replay {
    pub(super) async fn run(self, config: &Config) -> Result<(), Failure> {
        let policy = read(&self.with)?;
        let span = Span { from: self.from, until: self.until };
        if let (Some(from), Some(until)) = (span.from, span.until)
            && from >= until
        {
            return Err(format!("--from {from} is not before --until {until}").into());
        }
        let stop = stop_signals()?;
        let place = Place::beside(config).await?;
        let mut report = Report::new(io::stdout(), self.json, self.show);
        let replaying = reading::replay(&place.database, &policy, span, &mut report);
        let replayed = stop.run_until_cancelled(replaying).await.unwrap_or_else(|| Err("interrupted".into()));
        place.leave(replayed).await
    }
}

/// A date, or a time as RFC 3339 writes it.
fn moment(text: &str) -> Result<Timestamp, String> {
    let date = text.parse::<NaiveDate>().map(|date| date.and_time(NaiveTime::MIN).and_utc());
    date.or_else(|_| text.parse()).map_err(|_| "it is neither a date nor a time".to_owned())
}

/// The rules in a file.
fn read(path: &Path) -> Result<Policy, Failure> {
    let name = path.display();
    let file = File::open(path).map_err(|error| format!("{name} cannot be read: {error}"))?;
    let mut text = String::new();
    file.take(MOST_BYTES + 1).read_to_string(&mut text).map_err(|error| format!("{name} cannot be read: {error}"))?;
    if text.len() as u64 > MOST_BYTES {
        return Err(format!("{name} is larger than {MOST_BYTES} bytes").into());
    }
    Ok(parse(&text).map_err(|error| format!("{name}: {error}"))?)
}

fn parse(text: &str) -> Result<Policy, String> {
    let policy: Policy = toml::from_str(text).map_err(|error| error.to_string().trim_end().to_owned())?;
    policy.check().map_err(|error| error.to_string())?;
    Ok(policy)
}

#[cfg(test)]
mod tests {
    use domain::Currency;

    use super::*;

    #[test]
    fn the_rules_that_help_and_documentation_show_can_be_read() {
        let docs = include_str!("../../../docs/what-if.md");
        let example = docs.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
        let policy = parse(example).unwrap();
        assert_eq!(policy.fees.usual_bps, Some(250));
        assert_eq!(policy.auctions.increments[&Currency::USD].0.at(0), 100);
        assert_eq!(policy.deadlines.resolved_s, Some(2_592_000));
        // The help writes the same rules with the name of the table in each line.
        let help = include_str!("replay.rs").lines().filter_map(|line| line.strip_prefix("///   "));
        let lines: Vec<&str> = help.take_while(|line| !line.starts_with("tradepost ")).collect();
        assert_eq!(parse(&lines.join("\n")).unwrap(), policy);
    }

    #[test]
    fn what_is_no_policy_is_told_with_its_line() {
        let error = parse("[fees]\nusual = 3\n").unwrap_err();
        assert!(error.contains("line 2") && error.contains("unknown field `usual`"), "{error}");
        let error = parse("[auctions.increments]\nUSD = 0\n").unwrap_err();
        assert!(error.contains("every step must be above zero"), "{error}");
        assert_eq!(
            parse("deadlines = { shipped_s = 7 }").unwrap_err(),
            "deadlines.shipped_s must be from 3600 to 31622400; it is 7"
        );
        assert_eq!(parse("").unwrap(), Policy::default());
    }

    #[test]
    fn a_date_begins_at_midnight() {
        assert_eq!(moment("2026-11-30").unwrap(), moment("2026-11-30T00:00:00Z").unwrap());
        assert!(moment("yesterday").is_err());
    }
}
