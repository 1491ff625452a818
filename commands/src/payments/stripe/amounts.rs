//! Amounts as Stripe writes them: whole numbers of what it takes for the smallest unit of a currency.
//!
//! That is ISO 4217's minor unit, with exceptions (Stripe's documentation, "Supported currencies"): the ariary, of which
//! ISO has fifths and Stripe none; the króna and the Ugandan shilling, which have no minor unit any more and are written
//! with two zeros all the same; currencies with three decimals, whose last is always zero; and the forint and the new
//! Taiwan dollar, of which only whole ones are paid out. What cannot be written so is refused, never rounded.

use domain::money::AMOUNT_LIMIT;
use domain::{Currency, Money};
use thiserror::Error;

/// What an amount is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Use {
    /// Taken from a payment method, or given back to it.
    Payment,
    /// Sent to a merchant, and from there to a bank.
    Payout,
}

/// Why Stripe does not take an amount.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub(super) enum Unfit {
    /// Stripe does not know the currency, or nobody knows how it would write it.
    #[error("{0} cannot be paid by card here")]
    Currency(Currency),
    /// There is more of the currency's small change in it than Stripe takes.
    #[error("amounts in {currency} must be multiples of {step} minor units here")]
    Step {
        /// The currency.
        currency: Currency,
        /// What the amount must be a multiple of, in ISO 4217's minor units.
        step: i64,
    },
    /// It is too large, or nothing.
    #[error("the amount is out of range")]
    Range,
}

/// How many decimals Stripe writes.
fn decimals(currency: Currency) -> Result<u32, Unfit> {
    match (currency.code(), currency.exponent()) {
        ("MGA", _) => Ok(0),
        ("ISK" | "UGX", _) => Ok(2),
        // Of these Stripe says nothing.
        ("IQD" | "LYD", _) | (_, 4..) => Err(Unfit::Currency(currency)),
        (_, exponent) => Ok(exponent),
    }
}

/// What an amount must be a multiple of, as Stripe writes it.
fn step(currency: Currency, purpose: Use) -> i64 {
    match (currency.code(), purpose) {
        ("ISK" | "UGX", _) | ("HUF" | "TWD", Use::Payout) => 100,
        (_, Use::Payment | Use::Payout) if currency.exponent() == 3 => 10,
        (_, Use::Payment | Use::Payout) => 1,
    }
}

/// How many of Stripe's units one of ISO 4217's is, as a fraction.
fn ratio(currency: Currency) -> Result<(i64, i64), Unfit> {
    let (theirs, ours) = (decimals(currency)?, currency.exponent());
    Ok((10_i64.pow(theirs.saturating_sub(ours)), 10_i64.pow(ours.saturating_sub(theirs))))
}

/// An amount above zero, as Stripe writes it.
pub(super) fn written(amount: Money, purpose: Use) -> Result<i64, Unfit> {
    let currency = amount.currency();
    let (times, by) = ratio(currency)?;
    let theirs = amount.minor().checked_mul(times).filter(|minor| (1..AMOUNT_LIMIT).contains(minor));
    let theirs = theirs.ok_or(Unfit::Range)?;
    let step = step(currency, purpose) * by;
    if theirs % step != 0 {
        return Err(Unfit::Step { currency, step: step / times.min(step) });
    }
    Ok(theirs / by)
}

/// What Stripe has written, if it is an amount of a currency.
pub(super) fn read(theirs: i64, code: &str) -> Option<Money> {
    let currency: Currency = code.to_ascii_uppercase().parse().ok()?;
    let (times, by) = ratio(currency).ok()?;
    let minor = theirs.checked_mul(by)?;
    if minor % times != 0 {
        return None;
    }
    Money::new(minor / times, currency).ok()
}

/// The code of a currency, as Stripe writes it.
pub(super) fn code(currency: Currency) -> String {
    currency.code().to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn money(minor: i64, code: &str) -> Money {
        Money::new(minor, code.parse().unwrap()).unwrap()
    }

    #[track_caller]
    fn both_ways(minor: i64, currency: &str, theirs: i64) {
        assert_eq!(written(money(minor, currency), Use::Payment), Ok(theirs), "{currency}");
        assert_eq!(read(theirs, &currency.to_ascii_lowercase()), Some(money(minor, currency)), "{currency}");
    }

    #[test]
    fn most_currencies_are_written_in_their_minor_unit() {
        both_ways(1_099, "USD", 1_099);
        both_ways(1_099, "EUR", 1_099);
        both_ways(1, "PKR", 1);
        both_ways(1_099, "HUF", 1_099);
    }

    /// Stripe's list of them, without those that it lists as special cases too.
    #[test]
    fn currencies_without_decimals_are_written_as_they_are() {
        for currency in
            ["BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "PYG", "RWF", "VND", "VUV", "XAF", "XOF", "XPF"]
        {
            both_ways(500, currency, 500);
        }
    }

    #[test]
    fn currencies_with_three_decimals_end_in_a_zero() {
        for currency in ["BHD", "JOD", "KWD", "OMR", "TND"] {
            both_ways(5_120, currency, 5_120);
            let unfit = written(money(5_124, currency), Use::Payment);
            assert_eq!(unfit, Err(Unfit::Step { currency: currency.parse().unwrap(), step: 10 }));
        }
    }

    #[test]
    fn the_ariary_has_no_fifths_there() {
        both_ways(50_000, "MGA", 500);
        let unfit = Unfit::Step { currency: "MGA".parse().unwrap(), step: 100 };
        assert_eq!(written(money(50_020, "MGA"), Use::Payment), Err(unfit));
    }

    #[test]
    fn krona_and_ugandan_shilling_are_written_with_two_zeros() {
        both_ways(5, "ISK", 500);
        both_ways(5, "UGX", 500);
        assert_eq!(read(550, "isk"), None);
    }

    #[test]
    fn only_whole_forints_and_taiwan_dollars_are_paid_out() {
        for currency in ["HUF", "TWD"] {
            assert_eq!(written(money(1_000, currency), Use::Payout), Ok(1_000));
            let unfit = Unfit::Step { currency: currency.parse().unwrap(), step: 100 };
            assert_eq!(written(money(1_045, currency), Use::Payout), Err(unfit));
        }
        assert_eq!(written(money(5, "ISK"), Use::Payout), Ok(500));
    }

    #[test]
    fn nothing_too_much_and_the_unknown_are_refused() {
        assert_eq!(written(money(0, "USD"), Use::Payment), Err(Unfit::Range));
        assert_eq!(written(money(-1, "USD"), Use::Payment), Err(Unfit::Range));
        assert_eq!(written(money(AMOUNT_LIMIT - 1, "ISK"), Use::Payment), Err(Unfit::Range));
        for currency in ["IQD", "LYD", "CLF"] {
            let unfit = Unfit::Currency(currency.parse().unwrap());
            assert_eq!(written(money(1_000, currency), Use::Payment), Err(unfit));
            assert_eq!(read(1_000, currency), None);
        }
        assert_eq!(read(1, "xyz"), None);
        assert_eq!(read(i64::MAX, "mga"), None);
    }

    /// However a currency is written, it comes back as it was.
    #[test]
    fn whatever_can_be_written_is_read_as_it_was() {
        for currency in Currency::all() {
            for minor in [1, 10, 100, 1_000, 123_400, 5_000_000] {
                let amount = Money::new(minor, currency).unwrap();
                if let Ok(theirs) = written(amount, Use::Payment) {
                    assert_eq!(read(theirs, &code(currency)), Some(amount));
                }
            }
        }
    }
}
