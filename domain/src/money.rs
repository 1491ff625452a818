//! Money: whole minor units of one currency. Arithmetic is checked, mixing currencies is an error, and nothing is
//! ever rounded except by the rules named here.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use iso_currency::IntoEnumIterator as _;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

/// Amounts stay below 2^53 so that every JSON reader, JavaScript included, keeps them exact.
pub const AMOUNT_LIMIT: i64 = 1 << 53;

/// One hundred percent in basis points.
pub const FULL_BPS: u32 = 10_000;

/// An ISO 4217 currency that has a minor unit.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub struct Currency(iso_currency::Currency);

impl Currency {
    /// United States dollar, the default of examples and tests.
    pub const USD: Self = Self(iso_currency::Currency::USD);
    /// Japanese yen, which has no decimals.
    pub const JPY: Self = Self(iso_currency::Currency::JPY);
    /// Kuwaiti dinar, which has three decimals.
    pub const KWD: Self = Self(iso_currency::Currency::KWD);

    /// Every one, in no order.
    pub fn all() -> impl Iterator<Item = Self> {
        iso_currency::Currency::iter().filter(|currency| currency.exponent().is_some()).map(Self)
    }

    /// The three letters of ISO 4217.
    pub fn code(self) -> &'static str {
        self.0.code()
    }

    /// Decimals of the major unit: USD 2, JPY 0, KWD 3.
    pub fn exponent(self) -> u32 {
        self.0.exponent().map_or(0, u32::from)
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl PartialOrd for Currency {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Currency {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.code().cmp(other.code())
    }
}

/// The text is not the code of a currency with a minor unit.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("`{0}` is not an ISO 4217 code of a currency with a minor unit")]
pub struct UnknownCurrency(pub String);

impl FromStr for Currency {
    type Err = UnknownCurrency;

    fn from_str(code: &str) -> Result<Self, Self::Err> {
        iso_currency::Currency::from_code(code)
            .filter(|currency| currency.exponent().is_some())
            .map(Self)
            .ok_or_else(|| UnknownCurrency(code.to_owned()))
    }
}

impl Serialize for Currency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}

impl<'de> Deserialize<'de> for Currency {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let code = Cow::<'de, str>::deserialize(deserializer)?;
        code.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Currency {
    fn schema_name() -> Cow<'static, str> {
        "Currency".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[A-Z]{3}$" })
    }
}

/// Why an amount could not be computed or accepted.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum MoneyError {
    /// The result would not be exact in every JSON reader.
    #[error("the amount is not below 2^53 minor units")]
    OutOfRange,
    /// There is no implicit conversion.
    #[error("{left} and {right} are different currencies")]
    CurrencyMismatch {
        /// What the amount was in.
        left: Currency,
        /// What it was to be combined with.
        right: Currency,
    },
}

/// An amount of minor units in a currency; |amount| < 2^53.
#[derive(Clone, Copy, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
#[serde(try_from = "RawMoney", into = "RawMoney")]
#[schemars(with = "RawMoney")]
pub struct Money {
    minor: i64,
    currency: Currency,
}

/// The JSON form of [`Money`], before its range is checked.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "Money", deny_unknown_fields)]
struct RawMoney {
    /// Minor units, |amount| < 2^53.
    amount: i64,
    currency: Currency,
}

impl<'de> Deserialize<'de> for RawMoney {
    /// From an object alone: a derived reader would take `[1999, "USD"]` too.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Fields)
    }
}

/// The fields of [`RawMoney`].
#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "lowercase")]
enum Field {
    Amount,
    Currency,
}

/// Reads them.
struct Fields;

impl<'de> Visitor<'de> for Fields {
    type Value = RawMoney;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with `amount` in minor units and `currency`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<RawMoney, A::Error> {
        let (mut amount, mut currency) = (None, None);
        while let Some(field) = fields.next_key()? {
            match field {
                Field::Amount if amount.is_none() => amount = Some(fields.next_value()?),
                Field::Currency if currency.is_none() => currency = Some(fields.next_value()?),
                Field::Amount => return Err(A::Error::duplicate_field("amount")),
                Field::Currency => return Err(A::Error::duplicate_field("currency")),
            }
        }
        Ok(RawMoney {
            amount: amount.ok_or_else(|| A::Error::missing_field("amount"))?,
            currency: currency.ok_or_else(|| A::Error::missing_field("currency"))?,
        })
    }
}

impl TryFrom<RawMoney> for Money {
    type Error = MoneyError;

    fn try_from(raw: RawMoney) -> Result<Self, Self::Error> {
        Self::new(raw.amount, raw.currency)
    }
}

impl From<Money> for RawMoney {
    fn from(money: Money) -> Self {
        Self { amount: money.minor, currency: money.currency }
    }
}

impl fmt::Debug for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Money {
    /// `12.50 USD`: the code, since a sign such as `$` stands for a score of currencies.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", decimal(i128::from(self.minor), self.currency), self.currency)
    }
}

/// Minor units as people write them, by the exponent of the currency: 1250 is `12.50` in USD, `1250` in JPY and `1.250` in
/// KWD. The one place where an amount becomes text for people: problems, mails, statements and tables are made of it.
/// Digits are not grouped and the mark is a point, so a program reads it too. Takes sums, which may pass what an amount
/// may be.
pub fn decimal(minor: i128, currency: Currency) -> String {
    let exponent = currency.exponent();
    let unit = 10_u128.pow(exponent);
    let sign = if minor < 0 { "-" } else { "" };
    let (major, rest) = (minor.unsigned_abs() / unit, minor.unsigned_abs() % unit);
    match exponent {
        0 => format!("{sign}{major}"),
        width => format!("{sign}{major}.{rest:0width$}", width = width as usize),
    }
}

impl Money {
    /// An amount of minor units.
    pub fn new(minor: i64, currency: Currency) -> Result<Self, MoneyError> {
        if minor.unsigned_abs() < AMOUNT_LIMIT.unsigned_abs() {
            Ok(Self { minor, currency })
        } else {
            Err(MoneyError::OutOfRange)
        }
    }

    /// Nothing, in a currency.
    pub fn zero(currency: Currency) -> Self {
        Self { minor: 0, currency }
    }

    /// The amount in minor units.
    pub fn minor(self) -> i64 {
        self.minor
    }

    /// The currency.
    pub fn currency(self) -> Currency {
        self.currency
    }

    /// More than nothing.
    pub fn is_positive(self) -> bool {
        self.minor > 0
    }

    /// The amount in minor units, if it is in `currency`.
    pub fn minor_in(self, currency: Currency) -> Result<i64, MoneyError> {
        if self.currency == currency {
            Ok(self.minor)
        } else {
            Err(MoneyError::CurrencyMismatch { left: self.currency, right: currency })
        }
    }

    /// The sum.
    pub fn plus(self, other: Self) -> Result<Self, MoneyError> {
        Self::new(self.minor + other.minor_in(self.currency)?, self.currency)
    }

    /// The difference.
    pub fn minus(self, other: Self) -> Result<Self, MoneyError> {
        Self::new(self.minor - other.minor_in(self.currency)?, self.currency)
    }

    /// So many times as much.
    pub fn times(self, count: u32) -> Result<Self, MoneyError> {
        let product = self.minor.checked_mul(i64::from(count)).ok_or(MoneyError::OutOfRange)?;
        Self::new(product, self.currency)
    }

    /// The larger of two amounts of one currency.
    pub fn max(self, other: Self) -> Result<Self, MoneyError> {
        Ok(Self { minor: self.minor.max(other.minor_in(self.currency)?), ..self })
    }

    /// The smaller of two amounts of one currency.
    pub fn min(self, other: Self) -> Result<Self, MoneyError> {
        Ok(Self { minor: self.minor.min(other.minor_in(self.currency)?), ..self })
    }

    /// A share in basis points, rounded half up (away from zero for a negative amount), as fees are.
    pub fn share_bps(self, bps: u32) -> Result<Self, MoneyError> {
        let full = i128::from(FULL_BPS);
        let scaled = i128::from(self.minor) * i128::from(bps);
        let rounded = (scaled.abs() + full / 2) / full * scaled.signum();
        Self::new(i64::try_from(rounded).map_err(|_| MoneyError::OutOfRange)?, self.currency)
    }

    /// Splits the amount in proportion to `weights` by largest remainder, so that the parts sum to the whole. Equal
    /// remainders go to the earlier part. With no weight at all everything goes to the first part.
    pub fn split(self, weights: &[u64]) -> Vec<Self> {
        let part = |part| Self {
            minor: self.minor.signum() * i64::try_from(part).unwrap_or(i64::MAX),
            currency: self.currency,
        };
        shared_out(self.minor.unsigned_abs(), weights).into_iter().map(part).collect()
    }
}

/// Shares `whole` out as [`Money::split`] does an amount.
pub fn shared_out(whole: u64, weights: &[u64]) -> Vec<u64> {
    let total: u128 = weights.iter().copied().map(u128::from).sum();
    if total == 0 {
        let first = weights.iter().take(1).map(|_| whole);
        return first.chain(weights.iter().skip(1).map(|_| 0)).collect();
    }
    let scaled = |weight: u64| u128::from(whole) * u128::from(weight);
    // No share is more than the whole.
    let share = |&weight: &u64| u64::try_from(scaled(weight) / total).unwrap_or(whole);
    let mut shares: Vec<u64> = weights.iter().map(share).collect();
    let mut by_remainder: Vec<usize> = (0..weights.len()).collect();
    by_remainder.sort_by_key(|&index| std::cmp::Reverse(scaled(weights[index]) % total));
    let missing = whole - shares.iter().sum::<u64>();
    for &index in by_remainder.iter().cycle().take(usize::try_from(missing).unwrap_or(0)) {
        shares[index] += 1;
    }
    shares
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn usd(minor: i64) -> Money {
        Money::new(minor, Currency::USD).unwrap()
    }

    #[test]
    fn money_that_says_something_twice_is_not_read() {
        for (twice, again) in [("amount", r#""amount":1"#), ("currency", r#""currency":"USD""#)] {
            let text = format!(r#"{{"amount":1,"currency":"USD",{again}}}"#);
            let error = serde_json::from_str::<Money>(&text).unwrap_err().to_string();
            assert!(error.contains(&format!("duplicate field `{twice}`")), "{text}: {error}");
        }
    }

    #[test]
    fn money_prints_by_the_exponent_of_its_currency() {
        assert_eq!(usd(-1205).to_string(), "-12.05 USD");
        assert_eq!(Money::new(500, Currency::JPY).unwrap().to_string(), "500 JPY");
        assert_eq!(Money::new(1234, Currency::KWD).unwrap().to_string(), "1.234 KWD");
    }

    #[test]
    fn minor_units_become_decimals_by_the_exponent_whatever_their_size() {
        let currency = |code: &str| code.parse::<Currency>().unwrap();
        for (minor, code, expected) in [
            (0, "USD", "0.00"),
            (5, "USD", "0.05"),
            (-5, "USD", "-0.05"),
            (-100, "USD", "-1.00"),
            (0, "JPY", "0"),
            (-1_205, "JPY", "-1205"),
            (7, "KWD", "0.007"),
            (-1_234_567, "KWD", "-1234.567"),
            (10_001, "CLF", "1.0001"),
            (i128::from(i64::MAX) * 3, "USD", "276701161105643274.21"),
        ] {
            assert_eq!(decimal(minor, currency(code)), expected, "{minor} {code}");
        }
        assert_eq!(decimal(i128::MIN, Currency::JPY), i128::MIN.to_string());
    }

    #[test]
    fn every_currency_writes_as_many_decimals_as_it_has() {
        for currency in Currency::all() {
            let text = decimal(-123_456_789, currency);
            let decimals = text.split_once('.').map_or(0, |(_, decimals)| decimals.len());
            assert_eq!(decimals, currency.exponent() as usize, "{currency}: {text}");
            assert_eq!(text.replace('.', ""), "-123456789", "{currency}");
        }
    }

    #[test]
    fn currencies_are_in_the_order_of_their_codes() {
        let (mut all, mut codes): (Vec<Currency>, Vec<&str>) =
            Currency::all().map(|currency| (currency, currency.code())).unzip();
        assert!([Currency::USD, Currency::JPY, Currency::KWD].iter().all(|currency| all.contains(currency)));
        all.sort();
        codes.sort_unstable();
        assert!(all.into_iter().map(Currency::code).eq(codes));
        assert!(Currency::JPY < Currency::KWD && Currency::USD > Currency::KWD);
    }

    #[test]
    fn whoever_sends_something_else_than_money_is_told_what_it_is() {
        let refusal = serde_json::from_str::<Money>("7").unwrap_err().to_string();
        assert!(refusal.contains("an object with `amount` in minor units and `currency`"), "{refusal}");
    }

    #[test]
    fn mixed_currencies_are_refused() {
        let yen = Money::new(1, Currency::JPY).unwrap();
        assert_eq!(usd(1).plus(yen), Err(MoneyError::CurrencyMismatch { left: Currency::JPY, right: Currency::USD }));
    }

    #[test]
    fn money_is_read_from_an_object_with_both_fields_and_no_other() {
        let read = |json| serde_json::from_str::<Money>(json).ok();
        assert_eq!(read(r#"{"currency":"USD","amount":7}"#), Some(usd(7)));
        for json in [
            r#"[7,"USD"]"#,
            r#"{"amount":7}"#,
            r#"{"amount":7,"currency":"USD","x":1}"#,
            r#"{"amount":7,"amount":7,"currency":"USD"}"#,
        ] {
            assert_eq!(read(json), None, "{json}");
        }
    }

    #[test]
    fn amounts_of_two_to_the_53_are_refused_from_json_and_arithmetic() {
        let largest = AMOUNT_LIMIT - 1;
        assert!(serde_json::from_str::<Money>(&format!(r#"{{"amount":{largest},"currency":"USD"}}"#)).is_ok());
        assert!(serde_json::from_str::<Money>(&format!(r#"{{"amount":{AMOUNT_LIMIT},"currency":"USD"}}"#)).is_err());
        assert_eq!(usd(largest).plus(usd(1)), Err(MoneyError::OutOfRange));
    }

    #[test]
    fn floats_strings_unknown_fields_and_unknown_currencies_are_not_money() {
        for text in [
            r#"{"amount":1.5,"currency":"USD"}"#,
            r#"{"amount":"1","currency":"USD"}"#,
            r#"{"amount":1,"currency":"USD","x":1}"#,
            r#"{"amount":1,"currency":"XXX"}"#,
            r#"{"amount":1,"currency":"usd"}"#,
        ] {
            assert!(serde_json::from_str::<Money>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_share_is_rounded_half_up() {
        assert_eq!(usd(25).share_bps(200).unwrap(), usd(1));
        assert_eq!(usd(24).share_bps(200).unwrap(), usd(0));
        assert_eq!(usd(-25).share_bps(200).unwrap(), usd(-1));
    }

    #[test]
    fn a_split_gives_the_odd_cents_to_the_largest_remainders() {
        assert_eq!(usd(100).split(&[1, 1, 1]), [usd(34), usd(33), usd(33)]);
        assert_eq!(usd(7).split(&[0, 0]), [usd(7), usd(0)]);
    }

    proptest! {
        #[test]
        fn parts_of_a_split_sum_to_the_whole(
            minor in -AMOUNT_LIMIT + 1..AMOUNT_LIMIT,
            weights in prop::collection::vec(0..=u64::MAX, 1..12),
        ) {
            let parts = usd(minor).split(&weights);
            prop_assert_eq!(parts.len(), weights.len());
            prop_assert_eq!(parts.iter().map(|part| part.minor()).sum::<i64>(), minor);
        }

        #[test]
        fn no_part_is_more_than_one_minor_unit_from_its_share(
            minor in 0..1_000_000_i64,
            weights in prop::collection::vec(1..10_000_u64, 1..12),
        ) {
            let total = i128::from(weights.iter().sum::<u64>());
            for (part, weight) in usd(minor).split(&weights).iter().zip(&weights) {
                let off = i128::from(part.minor()) * total - i128::from(minor) * i128::from(*weight);
                prop_assert!(off.abs() < total);
            }
        }

        #[test]
        fn money_survives_json(minor in -AMOUNT_LIMIT + 1..AMOUNT_LIMIT) {
            let text = serde_json::to_string(&usd(minor)).unwrap();
            prop_assert_eq!(serde_json::from_str::<Money>(&text).unwrap(), usd(minor));
        }
    }
}
