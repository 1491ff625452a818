//! What goods say of themselves: read out of their titles, as their sellers would have filled in the form.

use domain::category::{AttributeValue, Attributes};

/// The attributes of something with this title.
pub(super) fn attributes(category: &str, title: &str) -> Attributes {
    let text = |text: &str| Some(AttributeValue::Text(text.to_owned()));
    let (name, value) = match category {
        "watches" => ("movement", text(movement(title))),
        "clothes" => ("size", title.rsplit_once("size ").and_then(|(_, size)| text(size))),
        "phones" => ("storage_gb", number_before(title, " GB")),
        "bikes" => ("frame_cm", number_before(title, " cm")),
        "books" => ("language", text("English")),
        _ => return Attributes::new(),
    };
    name.parse().ok().zip(value).into_iter().collect()
}

fn movement(title: &str) -> &'static str {
    let says = |words: &[&str]| words.iter().any(|word| title.contains(word));
    if says(&["quartz", "G-Shock", "Eco-Drive", "Swatch"]) {
        "quartz"
    } else if says(&["manual", "Mechanical", "Nomos"]) {
        "manual"
    } else {
        "automatic"
    }
}

fn number_before(title: &str, unit: &str) -> Option<AttributeValue> {
    let (before, _) = title.split_once(unit)?;
    before.rsplit(' ').next()?.parse().ok().map(AttributeValue::Integer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(category: &str, title: &str) -> String {
        let first = attributes(category, title).pop_first();
        first.map_or_else(String::new, |(name, value)| format!("{name}={value}"))
    }

    #[test]
    fn titles_tell_what_the_form_asks() {
        assert_eq!(said("watches", "Cartier Tank Solo, large, quartz, recently serviced"), "movement=quartz");
        assert_eq!(said("watches", "Tudor Black Bay 58, with box and papers"), "movement=automatic");
        assert_eq!(said("clothes", "Loden coat, dark green, size XL"), "size=XL");
        assert_eq!(said("clothes", "Loden coat, dark green, men's 42"), "");
        assert_eq!(said("phones", "Fairphone 4, 128 GB, unlocked"), "storage_gb=128");
        assert_eq!(said("bikes", "Trek Marlin 7 hardtail, 56 cm"), "frame_cm=56");
        assert_eq!(said("bikes", "Trek Marlin 7 hardtail, size M"), "");
        assert_eq!(said("toys", "A top"), "");
    }
}
