//! In which form a client wants a statement (RFC 9110, 12.5.1).

use axum::http::{HeaderMap, header};

use super::Format;

/// The form that `Accept` asks for first. Whatever it asks for, there is an answer: JSON, if it wants none of the three.
pub(super) fn preferred(headers: &HeaderMap) -> Format {
    let values = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut best: Option<(u16, Format)> = None;
    for range in values.flat_map(|value| value.split(',')) {
        let mut parts = range.split(';').map(str::trim);
        let Some(format) = parts.next().and_then(form_of) else { continue };
        let weight = parts.find_map(weight).unwrap_or(1_000);
        // Of equal weight, the first.
        if weight > 0 && best.is_none_or(|(most, _)| weight > most) {
            best = Some((weight, format));
        }
    }
    best.map_or(Format::Json, |(_, format)| format)
}

/// What a range of media types stands for, of those that there are.
fn form_of(range: &str) -> Option<Format> {
    Some(match range.to_ascii_lowercase().as_str() {
        "application/json" | "application/*" | "*/*" => Format::Json,
        "text/csv" => Format::Csv,
        "text/html" | "text/*" => Format::Html,
        _ => return None,
    })
}

/// Thousandths of `q=0.8`. What cannot be read counts as nothing.
fn weight(parameter: &str) -> Option<u16> {
    let text = parameter.strip_prefix("q=").or_else(|| parameter.strip_prefix("Q="))?;
    let (whole, rest) = text.split_once('.').unwrap_or((text, ""));
    let digits = rest.bytes().all(|byte| byte.is_ascii_digit()) && rest.len() <= 3;
    Some(match whole {
        "1" => 1_000,
        "0" if digits => format!("{rest:0<3}").parse().unwrap_or(0),
        _ => 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_heaviest_form_that_there_is_counts_and_of_equals_the_first() {
        for (accept, expected) in [
            (None, Format::Json),
            (Some("*/*"), Format::Json),
            (Some("text/csv"), Format::Csv),
            (Some("TEXT/HTML; charset=utf-8"), Format::Html),
            (Some("text/*"), Format::Html),
            (Some("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"), Format::Html),
            (Some("application/json;q=0.5, text/csv;q=0.75"), Format::Csv),
            (Some("text/csv, text/html"), Format::Csv),
            (Some("text/csv;q=0, text/html;q=0.001"), Format::Html),
            (Some("text/csv;q=0.0"), Format::Json),
            (Some("image/png"), Format::Json),
            (Some("text/csv;q=x"), Format::Json),
            (Some(""), Format::Json),
        ] {
            let mut headers = HeaderMap::new();
            headers.extend(accept.map(|accept| (header::ACCEPT, accept.parse().unwrap())));
            assert_eq!(preferred(&headers), expected, "{accept:?}");
        }
    }
}
