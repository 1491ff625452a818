//! What a field of a body may be, beyond its type.

#![expect(clippy::trivially_copy_pass_by_ref, reason = "the signature is garde's")]

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use domain::chat::LONGEST_MESSAGE;

/// Whether a field fits, or the rule that it breaks.
pub(crate) fn check(fits: bool, rule: &str) -> garde::Result {
    if fits { Ok(()) } else { Err(garde::Error::new(rule)) }
}

/// The title of something.
pub(super) fn is_title(title: &str, (): &()) -> garde::Result {
    let fits = !title.trim().is_empty() && title.chars().count() <= 200;
    check(fits, "must be 1 to 200 characters, not all of them spaces")
}

/// The longest name of what sets a form of something apart, in characters.
pub(super) const LONGEST_OPTION_NAME: usize = 32;
/// The longest value of it, in characters.
pub(super) const LONGEST_OPTION: usize = 200;

/// What sets a form of something apart.
pub(super) fn are_options(options: &BTreeMap<String, String>, (): &()) -> garde::Result {
    let fits = |(name, value): (&String, &String)| {
        name.chars().count() <= LONGEST_OPTION_NAME && value.chars().count() <= LONGEST_OPTION
    };
    check(options.iter().all(fits), "names may have at most 32 characters, and values 200")
}

/// A name in an address.
pub(super) fn is_slug(slug: &str, (): &()) -> garde::Result {
    let letters = slug.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    check(letters && (1..=64).contains(&slug.len()), "must be 1 to 64 of a-z, 0-9 and `-`")
}

/// What tells whom an affiliate has sent here.
pub(super) fn is_referral_code(code: &str, (): &()) -> garde::Result {
    let letters = code.bytes().all(|byte| byte.is_ascii_alphanumeric());
    check(letters && code.len() == 8, "must be 8 letters and digits")
}

/// A number to call.
pub(super) fn is_phone(phone: &str, (): &()) -> garde::Result {
    let rest = phone.strip_prefix('+').unwrap_or(phone);
    let letters = rest.bytes().all(|byte| byte.is_ascii_digit() || b" ().-".contains(&byte));
    let begins = rest.starts_with(|first: char| first.is_ascii_digit());
    check(letters && begins && (4..=38).contains(&rest.len()), "must be a phone number such as `+92 300 1234567`")
}

/// A country by its code.
pub(super) fn is_country(code: &str, (): &()) -> garde::Result {
    check(code.len() == 2 && code.bytes().all(|letter| letter.is_ascii_uppercase()), "must be two capital letters")
}

/// The pseudonym of a bidder.
pub(super) fn is_alias(alias: &str, (): &()) -> garde::Result {
    let number = alias.strip_prefix("Bidder ").unwrap_or_default();
    let digits = number.bytes().all(|byte| byte.is_ascii_digit()) && !number.starts_with('0');
    check(digits && (1..=9).contains(&number.len()), "must be a pseudonym such as `Bidder 2`")
}

/// What people write to each other.
pub(super) fn is_message(text: &str, (): &()) -> garde::Result {
    let fits = !text.trim().is_empty() && text.chars().count() <= LONGEST_MESSAGE && !text.contains('\0');
    check(fits, "must be 1 to 4,000 characters, not all of them spaces, and none of them U+0000")
}

/// A time far from the ends of what a clock can show, so that adding a duration stays within.
pub(super) fn is_near(time: &DateTime<Utc>, (): &()) -> garde::Result {
    check((0..=32_503_680_000).contains(&time.timestamp()), "must be between the years 1970 and 3000")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_says_something() {
        let longest = "ü".repeat(LONGEST_MESSAGE);
        let longer = format!("{longest}x");
        for (text, fits) in
            [("x", true), (&longest, true), ("", false), (" \n\t", false), ("a\0b", false), (&longer, false)]
        {
            assert_eq!(is_message(text, &()).is_ok(), fits, "{} characters", text.chars().count());
        }
    }
}
