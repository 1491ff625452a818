//! What is on the shelves of a large catalogue: titles, descriptions, brands, categories and prices as people choose them.
//!
//! Words, brands and categories come as often as Zipf and Mandelbrot have found it: the one in place `r` in proportion to
//! one over `r` and a constant. The words are made up of syllables, so each is like some others, as a typing mistake makes
//! it. The same goods each time.

use std::collections::BTreeMap;

use domain::category::{Attribute, AttributeKind, AttributeName, AttributeValue, Attributes, Definition};
use domain::listing::{Condition, Delivery, Details};
use rand::distr::Distribution;
use rand::distr::weighted::WeightedIndex;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use super::BenchError;

/// How many words, brands and categories there are.
const WORDS: usize = 20_000;
const BRANDS: usize = 500;
const CATEGORIES: usize = 60;
/// What the most frequent words are less frequent by than after Zipf alone: those are the stop words, which no index has.
const COMMON: u64 = 50;
/// Words of a title and of a description.
const IN_TITLE: std::ops::RangeInclusive<usize> = 3..=8;
const IN_DESCRIPTION: std::ops::RangeInclusive<usize> = 15..=80;
/// In cents.
const PRICES: std::ops::Range<i64> = 100..1_000_000;

/// The category above all others.
const ALL_GOODS: &str = "all-goods";
const CONSONANTS: &[u8; 20] = b"bcdfghjklmnpqrstvwxz";
const VOWELS: &[u8; 5] = b"aeiou";
const COLOURS: [&str; 8] = ["red", "green", "blue", "black", "white", "yellow", "grey", "brown"];
const CONDITIONS: [Condition; 3] = [Condition::New, Condition::LikeNew, Condition::Good];

/// What there is to choose from.
#[derive(Debug)]
pub(super) struct Goods {
    words: WeightedIndex<u64>,
    brands: WeightedIndex<u64>,
    categories: WeightedIndex<u64>,
    year: AttributeName,
    colour: AttributeName,
}

/// One thing.
#[derive(Clone, Debug)]
pub(super) struct Thing {
    pub(super) details: Details,
    pub(super) cents: i64,
}

impl Goods {
    pub(super) fn new() -> Result<Self, BenchError> {
        let ranked = |count: usize, constant: u64| {
            let places = (1..).take(count).map(|place: u64| 1_000_000_000 / (place + constant));
            WeightedIndex::new(places).map_err(|_| BenchError::Material("goods"))
        };
        let name = |name: &str| name.parse().map_err(|_| BenchError::Material("goods"));
        Ok(Self {
            words: ranked(WORDS, COMMON)?,
            brands: ranked(BRANDS, 2)?,
            categories: ranked(CATEGORIES, 2)?,
            year: name("year")?,
            colour: name("colour")?,
        })
    }

    /// What the shelves are called, below a common one that says what their things say of themselves.
    pub(super) fn categories(&self) -> Vec<Definition> {
        let attribute = |name: &AttributeName, kind| Attribute {
            name: *name,
            label: name.as_str().to_owned(),
            kind,
            unit: None,
            required: false,
            filterable: true,
        };
        let attributes =
            vec![attribute(&self.year, AttributeKind::Integer), attribute(&self.colour, AttributeKind::Text)];
        let define = |slug: String, parent, attributes| Definition {
            name: slug.clone(),
            slug,
            parent,
            sort_order: 0,
            attributes,
            fee_bps: None,
        };
        let below = |number| define(category(number), Some(ALL_GOODS.to_owned()), vec![]);
        let top = define(ALL_GOODS.to_owned(), None, attributes);
        std::iter::once(top).chain((0..CATEGORIES).map(below)).collect()
    }

    /// The thing with this number.
    pub(super) fn thing(&self, number: usize) -> Thing {
        let mut random = StdRng::seed_from_u64(u64::try_from(number).unwrap_or_default());
        let brand = word(self.brands.sample(&mut random) + WORDS);
        let (title, description) = (self.text(&mut random, IN_TITLE), self.text(&mut random, IN_DESCRIPTION));
        let year = AttributeValue::Integer(random.random_range(1_970..2_026));
        let colour = AttributeValue::Text((*COLOURS.choose(&mut random).unwrap_or(&"")).to_owned());
        let attributes: Attributes = BTreeMap::from([(self.year, year), (self.colour, colour)]);
        // Cheap things are many: the most expensive is the product of two chances.
        let dearest = random.random_range(PRICES.start + 1..PRICES.end);
        let details = Details {
            title,
            description,
            category: category(self.categories.sample(&mut random)),
            brand: random.random_bool(0.8).then_some(brand),
            condition: *CONDITIONS.choose(&mut random).unwrap_or(&Condition::New),
            delivery: Delivery::Physical,
            shipping: None,
            attributes,
        };
        Thing { details, cents: random.random_range(PRICES.start..dearest) }
    }

    fn text(&self, random: &mut StdRng, length: std::ops::RangeInclusive<usize>) -> String {
        let length = random.random_range(length);
        let words: Vec<String> = (0..length).map(|_| word(self.words.sample(random))).collect();
        words.join(" ")
    }
}

/// The slug of the category with this number.
fn category(number: usize) -> String {
    word(number + WORDS + BRANDS)
}

/// The word with this number: three syllables or four, in which neighbours differ.
fn word(number: usize) -> String {
    let syllables = CONSONANTS.len() * VOWELS.len();
    // The factor has no divisor in common with what is counted up to, so no two are the same.
    let mut rest = number * 48_611 % syllables.pow(3);
    let mut word = String::new();
    for _ in 0..3 {
        let (consonant, vowel) = (rest % CONSONANTS.len(), rest / CONSONANTS.len() % VOWELS.len());
        word.extend([CONSONANTS[consonant], VOWELS[vowel]].map(char::from));
        rest /= syllables;
    }
    // An ending that no stemming takes for one.
    if number.is_multiple_of(3) {
        word.push(char::from(CONSONANTS[number / 3 % CONSONANTS.len()]));
    }
    word
}

/// A word in which two letters have changed places, as they do while one types.
pub(super) fn mistyped(word: &str, random: &mut impl Rng) -> String {
    let mut letters: Vec<char> = word.chars().collect();
    if letters.len() > 2 {
        let at = random.random_range(1..letters.len() - 1);
        letters.swap(at, at + 1);
    }
    letters.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    #[test]
    fn no_two_words_are_the_same_and_a_few_are_most_of_what_is_said() {
        let words: BTreeSet<String> = (0..WORDS + BRANDS + CATEGORIES).map(word).collect();
        assert_eq!(words.len(), WORDS + BRANDS + CATEGORIES);
        let goods = Goods::new().unwrap();
        let mut counts = BTreeMap::<String, usize>::new();
        for number in 0..2_000 {
            let Thing { details, cents } = goods.thing(number);
            assert!(PRICES.contains(&cents));
            for word in details.description.split(' ') {
                *counts.entry(word.to_owned()).or_default() += 1;
            }
        }
        let mut counts: Vec<usize> = counts.into_values().collect();
        counts.sort_unstable_by(|a, b| b.cmp(a));
        let (all, frequent) = (counts.iter().sum::<usize>(), counts.iter().take(WORDS / 20).sum::<usize>());
        assert!(counts.len() > WORDS / 2 && frequent > all / 3, "{} words, {frequent} of {all}", counts.len());
    }

    #[test]
    fn a_mistake_changes_a_word_and_none_of_its_letters() {
        let mut random = StdRng::seed_from_u64(1);
        for number in 0..100 {
            let (right, wrong) = (word(number), mistyped(&word(number), &mut random));
            let sorted = |word: &str| word.chars().collect::<BTreeSet<char>>();
            assert_eq!(sorted(&right), sorted(&wrong));
        }
    }
}
