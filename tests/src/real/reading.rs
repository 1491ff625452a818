//! Files of records: rows, and amounts in them.

use std::path::Path;

use serde::Deserialize;

use super::Failure;

/// The decimals of a currency whose hundredth is its smallest coin.
const CENTS: usize = 2;

/// All rows of a file with a header.
pub(super) fn rows<R: for<'de> Deserialize<'de>>(file: &Path) -> Result<Vec<R>, Failure> {
    let named = |error: csv::Error| format!("{}: {error}", file.display());
    let mut reader = csv::Reader::from_path(file).map_err(named)?;
    Ok(reader.deserialize().collect::<Result<_, _>>().map_err(named)?)
}

/// An amount with up to two decimals, exactly.
pub(super) fn cents(amount: &str) -> Result<i64, Failure> {
    let (major, minor) = amount.split_once('.').unwrap_or((amount, ""));
    let fits =
        minor.len() <= CENTS && !major.is_empty() && (major.to_owned() + minor).bytes().all(|b| b.is_ascii_digit());
    if !fits {
        return Err(format!("`{amount}` is no amount with two decimals").into());
    }
    Ok(format!("{major}{minor:0<CENTS$}").parse()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_to_the_cent() {
        let read = |text| cents(text).ok();
        assert_eq!(
            [read("99.00"), read("99.5"), read("99"), read("0.01")],
            [Some(9_900), Some(9_950), Some(9_900), Some(1)]
        );
        assert_eq!([read("99.005"), read("-1.00"), read("x"), read("")], [None; 4]);
    }
}
