//! The tree of categories that goods are sorted into.

use domain::category::{Attribute, AttributeKind, Definition};

/// Slug, name, parent, and the fee where it is another than usual; parents before what is below them.
const TREE: [(&str, &str, Option<&str>, Option<u32>); 17] = [
    ("fashion", "Fashion", None, None),
    ("electronics", "Electronics", None, None),
    ("home", "Home and hobby", None, None),
    ("media", "Books, music and games", None, Some(150)),
    ("outdoors", "Outdoors", None, None),
    ("watches", "Watches", Some("fashion"), Some(300)),
    ("clothes", "Clothes", Some("fashion"), None),
    ("cameras", "Cameras", Some("electronics"), None),
    ("phones", "Phones", Some("electronics"), None),
    ("furniture", "Furniture", Some("home"), None),
    ("tools", "Tools", Some("home"), None),
    ("toys", "Toys", Some("home"), None),
    ("instruments", "Instruments", Some("home"), None),
    ("books", "Books", Some("media"), None),
    ("records", "Records", Some("media"), None),
    ("games", "Games", Some("media"), None),
    ("bikes", "Bikes", Some("outdoors"), None),
];

/// The categories, parents first.
pub(in crate::demo) fn definitions() -> Vec<Definition> {
    (0..)
        .zip(TREE)
        .map(|(sort_order, (slug, name, parent, fee_bps))| Definition {
            slug: slug.to_owned(),
            name: name.to_owned(),
            parent: parent.map(str::to_owned),
            sort_order,
            attributes: attributes(slug),
            fee_bps,
        })
        .collect()
}

fn attributes(slug: &str) -> Vec<Attribute> {
    let choice =
        |options: &[&str]| AttributeKind::Choice { options: options.iter().map(ToString::to_string).collect() };
    let (name, label, kind, unit) = match slug {
        "watches" => ("movement", "Movement", choice(&["manual", "automatic", "quartz"]), None),
        "clothes" => ("size", "Size", choice(&["XS", "S", "M", "L", "XL"]), None),
        "phones" => ("storage_gb", "Storage", AttributeKind::Integer, Some("GB")),
        "bikes" => ("frame_cm", "Frame", AttributeKind::Integer, Some("cm")),
        "media" => ("language", "Language", AttributeKind::Text, None),
        _ => return Vec::new(),
    };
    let (label, unit) = (label.to_owned(), unit.map(str::to_owned));
    name.parse().map_or_else(
        |_| Vec::new(),
        |name| vec![Attribute { name, label, kind, unit, required: false, filterable: true }],
    )
}

#[cfg(test)]
mod tests {
    use super::super::CATEGORIES;
    use super::*;

    #[test]
    fn every_good_has_a_place_in_the_tree_and_every_parent_comes_first() {
        let definitions = definitions();
        let place = |slug: &str| definitions.iter().position(|definition| definition.slug == slug);
        assert!(CATEGORIES.iter().all(|category| place(category.slug).is_some()));
        for definition in &definitions {
            let parent = definition.parent.as_ref().map(|parent| place(parent).unwrap());
            assert!(parent < place(&definition.slug), "{definition:?}");
        }
        assert_eq!(definitions.iter().filter(|definition| !definition.attributes.is_empty()).count(), 5);
    }
}
