//! What is sold: made from words that fit together, each title once.

use std::collections::HashMap;

use domain::listing::{Condition, Delivery, Details};

use super::dice::Dice;

mod bikes;
mod books;
mod cameras;
mod clothes;
mod furniture;
mod games;
mod instruments;
mod phones;
mod records;
mod said;
mod tools;
mod toys;
mod tree;
mod watches;

pub(super) use tree::definitions;

/// Every category.
pub(super) const CATEGORIES: [&Category; 12] = [
    &watches::WATCHES,
    &cameras::CAMERAS,
    &phones::PHONES,
    &books::BOOKS,
    &bikes::BIKES,
    &furniture::FURNITURE,
    &records::RECORDS,
    &games::GAMES,
    &tools::TOOLS,
    &clothes::CLOTHES,
    &instruments::INSTRUMENTS,
    &toys::TOYS,
];

/// Words for one category.
pub(super) struct Category {
    pub(super) slug: &'static str,
    things: &'static [Thing],
    /// What tells two of the same thing apart, in the title.
    traits: &'static [&'static str],
    /// Where it comes from.
    stories: &'static [&'static str],
    /// What a buyer would ask.
    remarks: &'static [&'static str],
    /// Whether it can be out of order.
    breaks: bool,
}

/// One thing and what it fetches used, in whole units of money.
struct Thing {
    brand: Option<&'static str>,
    name: &'static str,
    from: i64,
    to: i64,
}

const fn thing(brand: &'static str, name: &'static str, from: i64, to: i64) -> Thing {
    Thing { brand: Some(brand), name, from, to }
}

/// A thing whose maker nobody knows.
const fn made(name: &'static str, from: i64, to: i64) -> Thing {
    Thing { brand: None, name, from, to }
}

/// Something to be offered, and what it is worth in hundredths.
#[derive(Clone, Debug)]
pub(super) struct Good {
    pub(super) details: Details,
    pub(super) worth: i64,
}

/// How used things are, how often in a hundred, and what that leaves of the worth in per cent.
const CONDITIONS: [(Condition, i64, i64); 5] = [
    (Condition::New, 10, 125),
    (Condition::LikeNew, 25, 110),
    (Condition::Good, 45, 100),
    (Condition::Fair, 15, 75),
    (Condition::ForParts, 5, 35),
];

fn wear(condition: Condition) -> &'static [&'static str] {
    match condition {
        Condition::New => &["Unused, as it came from the shop.", "New; the packing was opened for the pictures only."],
        Condition::LikeNew => &["You would have to be told that it is not new.", "Hardly used, and it shows nowhere."],
        Condition::Good => &[
            "Light signs of use, nothing that shows at arm's length.",
            "Used with care; small marks are in the pictures.",
            "In good order, with the marks that its age brings.",
        ],
        Condition::Fair => {
            &["Honest wear all over, priced accordingly.", "It has lived a little and still does its job."]
        }
        Condition::ForParts => &[
            "It does not work and is sold for parts or to somebody who likes a project.",
            "Defective; no returns on this one.",
        ],
    }
}

const NEVER_USED: [&str; 4] = [
    "A present that came twice.",
    "Old stock from a shop that has closed.",
    "Bought by mistake and too late to send back.",
    "Won in a raffle, and not for me.",
];

const MORE_PICTURES: &str = "More pictures on request.";

const HANDOVER: [&str; 6] = [
    "Posted within two days, tracked and insured.",
    "Collection welcome, posting at cost.",
    "Ask away; I answer the same evening.",
    "Packed well, in a box of its own.",
    MORE_PICTURES,
    "Returns accepted for a week if it is not as described.",
];

/// Gives out goods, never the same title twice.
#[derive(Debug)]
pub(super) struct Stock {
    dice: Dice,
    /// How many things of a category have been given out.
    taken: HashMap<&'static str, usize>,
}

impl Stock {
    pub(super) fn new(dice: Dice) -> Self {
        Self { dice, taken: HashMap::new() }
    }

    /// The next good of a category.
    ///
    /// Goes round the things first and the traits second, so that neighbours differ and no pair comes twice before all
    /// have come once.
    pub(super) fn next(&mut self, category: &Category) -> Good {
        let taken = self.taken.entry(category.slug).or_default();
        let (things, traits) = (category.things.len(), category.traits.len());
        let thing = &category.things[*taken % things];
        let feature = category.traits[(*taken % things + *taken / things) % traits];
        *taken += 1;
        let condition = self.condition(category);
        let (_, _, value) = CONDITIONS.iter().find(|(of, ..)| *of == condition).copied().unwrap_or(CONDITIONS[2]);
        let worth = (self.dice.between(thing.from, thing.to) * value).max(100);
        let description = self.description(category, condition);
        let title = format!("{}, {feature}", thing.name);
        let details = Details {
            attributes: said::attributes(category.slug, &title),
            title,
            description,
            category: category.slug.to_owned(),
            brand: thing.brand.map(str::to_owned),
            condition,
            delivery: Delivery::Physical,
            // In whose currency, the shop decides.
            shipping: None,
        };
        Good { details, worth }
    }

    /// What is new has no past, and nobody praises what is broken.
    fn description(&mut self, category: &Category, condition: Condition) -> String {
        let dice = &mut self.dice;
        let (wear, handover) = (*dice.pick(wear(condition)), *dice.pick(&HANDOVER));
        let sentences = match condition {
            Condition::New => [*dice.pick(&NEVER_USED), wear, handover].to_vec(),
            Condition::ForParts => [*dice.pick(category.stories), wear, MORE_PICTURES].to_vec(),
            Condition::LikeNew | Condition::Good | Condition::Fair => {
                [*dice.pick(category.stories), *dice.pick(category.remarks), wear, handover].to_vec()
            }
        };
        sentences.join(" ")
    }

    fn condition(&mut self, category: &Category) -> Condition {
        let mut throw = self.dice.between(1, 100);
        for (condition, share, _) in CONDITIONS {
            throw -= share;
            if throw <= 0 {
                return if condition == Condition::ForParts && !category.breaks { Condition::Fair } else { condition };
            }
        }
        Condition::Good
    }
}

/// A price that somebody would ask for something of this worth, in hundredths.
pub(super) fn asking_price(worth: i64) -> i64 {
    match worth {
        ..2_000 => round_to(worth, 50),
        2_000..20_000 => round_to(worth, 500) - 1,
        20_000..100_000 => round_to(worth, 1_000),
        _ => round_to(worth, 5_000),
    }
}

/// The nearest positive multiple of `step`.
pub(super) fn round_to(amount: i64, step: i64) -> i64 {
    ((amount + step / 2) / step * step).max(step)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use domain::category;

    use super::*;

    /// As many of each category as there are pairs of thing and trait.
    fn everything() -> Vec<Good> {
        let mut stock = Stock::new(Dice::new(1));
        let mut goods = vec![];
        for category in CATEGORIES {
            goods.extend((0..category.things.len() * category.traits.len()).map(|_| stock.next(category)));
        }
        goods
    }

    #[test]
    fn no_title_comes_twice() {
        let titles: Vec<_> = everything().into_iter().map(|good| good.details.title).collect();
        assert!(titles.len() > 900);
        assert_eq!(titles.iter().collect::<HashSet<_>>().len(), titles.len());
    }

    #[test]
    fn every_good_is_one_that_the_api_would_take() {
        for Good { details, worth } in everything() {
            let slug = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-';
            assert!((1..=64).contains(&details.category.len()) && details.category.chars().all(slug), "{details:?}");
            assert!((10..=200).contains(&details.title.chars().count()), "{details:?}");
            assert!((80..=1_000).contains(&details.description.chars().count()), "{details:?}");
            assert!(details.brand.is_none_or(|brand| !brand.is_empty()));
            assert!(worth > 0 && asking_price(worth) > 0);
        }
    }

    #[test]
    fn what_goods_say_of_themselves_is_what_their_category_asks() {
        let definitions = definitions();
        let mut said = 0;
        for Good { details, .. } in everything() {
            let mut slug = Some(&details.category);
            let mut asked = Vec::new();
            while let Some(definition) = slug.and_then(|slug| definitions.iter().find(|it| it.slug == *slug)) {
                asked.extend(definition.attributes.clone());
                slug = definition.parent.as_ref();
            }
            assert_eq!(category::check(&details.attributes, &asked), Ok(()), "{details:?}");
            said += details.attributes.len();
        }
        assert!(said > 300, "{said}");
    }

    #[test]
    fn things_that_cannot_break_are_never_sold_for_parts() {
        let unbreakable = |slug: &str| CATEGORIES.iter().any(|category| category.slug == slug && !category.breaks);
        for Good { details, .. } in everything() {
            assert!(details.condition != Condition::ForParts || !unbreakable(&details.category), "{details:?}");
        }
    }

    #[test]
    fn conditions_make_up_a_hundred_and_prices_stay_near_the_worth() {
        assert_eq!(CONDITIONS.iter().map(|(_, share, _)| share).sum::<i64>(), 100);
        for worth in (100..500_000).step_by(37) {
            let price = asking_price(worth);
            assert!(price > 0 && (price - worth).abs() <= worth / 8 + 50, "{worth} → {price}");
        }
    }
}
