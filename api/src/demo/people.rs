//! Who is there.

use std::collections::BTreeSet;

use domain::Currency;
use domain::account::Capability;

use crate::storefront::{PaymentPreferenceBody, Storefront};

/// Where the e-mail addresses of the sample marketplace are: a domain that no mail reaches.
pub(super) const MAIL_DOMAIN: &str = "tradepost.example";

/// Somebody in the story.
#[derive(Clone, Debug)]
pub(super) struct Person {
    pub(super) user_name: &'static str,
    pub(super) display_name: String,
    pub(super) biography: Option<&'static str>,
    pub(super) capabilities: BTreeSet<Capability>,
}

impl Person {
    pub(super) fn email(&self) -> String {
        format!("{}@{MAIL_DOMAIN}", self.user_name)
    }

    /// What their store says of itself, if they have one.
    pub(super) fn storefront(&self) -> Storefront {
        Storefront {
            slug: self.user_name.replace(['.', '_'], "-").to_lowercase(),
            brand_name: self.display_name.clone(),
            biography: self.biography.map(str::to_owned),
            logo: None,
            business_address: Some(format!("{} House, Market Street", self.display_name)),
            whatsapp: None,
            instagram: None,
            facebook: None,
            payment_preference: PaymentPreferenceBody::Any,
        }
    }
}

/// A seller: what, and in which currency.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shop {
    user_name: &'static str,
    display_name: &'static str,
    biography: &'static str,
    pub(super) categories: &'static [&'static str],
    currency: &'static str,
}

impl Shop {
    /// The currency of its prices.
    pub(super) fn currency(&self) -> Currency {
        self.currency.parse().unwrap_or(Currency::USD)
    }
}

/// The places of those whose log-ins are printed.
pub(super) const BUYER: usize = 0;
pub(super) const SELLER: usize = 1;
pub(super) const ADMIN: usize = 2;

/// The shops, the printed seller's first.
pub(super) const SHOPS: [Shop; 14] = [
    Shop {
        user_name: "seller",
        display_name: "Corner & Co.",
        biography: "A bit of everything from two tidy attics. Posted on Mondays and Thursdays.",
        categories: &["watches", "cameras", "records", "books", "furniture", "toys"],
        currency: "USD",
    },
    Shop {
        user_name: "northside-watches",
        display_name: "Northside Watches",
        biography: "Watches from before and after quartz, opened and timed before they are listed.",
        categories: &["watches"],
        currency: "USD",
    },
    Shop {
        user_name: "the.camera.room",
        display_name: "The Camera Room",
        biography: "Film and digital. Every shutter is measured, every lens held against the light.",
        categories: &["cameras"],
        currency: "USD",
    },
    Shop {
        user_name: "second-spin",
        display_name: "Second Spin Records",
        biography: "Graded by ear. If it jumps, you get your money back.",
        categories: &["records"],
        currency: "USD",
    },
    Shop {
        user_name: "folio-and-sons",
        display_name: "Folio & Sons",
        biography: "Second-hand books since 1987, from a shop with a creaking floor.",
        categories: &["books"],
        currency: "GBP",
    },
    Shop {
        user_name: "velo-werk",
        display_name: "Velowerk",
        biography: "Bicycles, taken apart and put together again. Test rides by appointment.",
        categories: &["bikes"],
        currency: "EUR",
    },
    Shop {
        user_name: "oak.and.ash",
        display_name: "Oak and Ash",
        biography: "Furniture of the twentieth century, from house clearances that were done with respect.",
        categories: &["furniture"],
        currency: "EUR",
    },
    Shop {
        user_name: "pixel-pantry",
        display_name: "Pixel Pantry",
        biography: "Consoles, cartridges and boxes with many small parts, all of them counted.",
        categories: &["games", "toys"],
        currency: "USD",
    },
    Shop {
        user_name: "toolshed-tom",
        display_name: "Tom's Toolshed",
        biography: "Tools that have worked and want to go on working.",
        categories: &["tools"],
        currency: "USD",
    },
    Shop {
        user_name: "thread-again",
        display_name: "Thread Again",
        biography: "Clothes with many winters left in them, washed and mended.",
        categories: &["clothes"],
        currency: "USD",
    },
    Shop {
        user_name: "ring-refurb",
        display_name: "Ring Refurb",
        biography: "Telephones, tested at the bench, with batteries that last the day.",
        categories: &["phones"],
        currency: "USD",
    },
    Shop {
        user_name: "six-strings",
        display_name: "Six Strings and More",
        biography: "Instruments, set up by somebody who plays them.",
        categories: &["instruments"],
        currency: "USD",
    },
    Shop {
        user_name: "attic-finds",
        display_name: "Attic Finds",
        biography: "What families keep for thirty years and then cannot.",
        categories: &["records", "toys", "furniture", "books", "clothes"],
        currency: "USD",
    },
    Shop {
        user_name: "house.clearance",
        display_name: "Harbour House Clearance",
        biography: "Whole households, sorted with care. Collection at the quay.",
        categories: &["watches", "tools", "cameras", "bikes", "instruments"],
        currency: "GBP",
    },
];

/// Who bids, besides the printed buyer.
const BIDDERS: [&str; 42] = [
    "mira.kovac",
    "tomasz82",
    "anneke-v",
    "jules_b",
    "priya.nair",
    "old-oak",
    "samir.h",
    "lena_wood",
    "kit.marlow",
    "rosalind",
    "bartek",
    "yuki.t",
    "femi-ade",
    "grace.o",
    "nils_h",
    "carmen.r",
    "dov-l",
    "aoife.k",
    "marek_p",
    "ines.c",
    "hugo-f",
    "zeynep.a",
    "paulo_m",
    "wren",
    "ottilie",
    "dmitri.s",
    "noor.j",
    "beatriz-l",
    "caleb_w",
    "siobhan",
    "emeka.u",
    "freya_n",
    "giorgio.p",
    "hana.s",
    "ivo-d",
    "jasper_t",
    "katya.v",
    "leon.b",
    "mabel-r",
    "nadia_e",
    "oskar.w",
    "petra-g",
];

/// Where the bidders begin and end among the people.
pub(super) fn bidders() -> std::ops::Range<usize> {
    let first = SHOPS.len() + 2;
    first..first + BIDDERS.len()
}

/// The place of a shop's owner among the people.
pub(super) fn owner(shop: usize) -> usize {
    if shop == 0 { SELLER } else { shop + 2 }
}

/// Everybody: the printed three, the other sellers, the bidders.
pub(super) fn everybody() -> Vec<Person> {
    let buy = || BTreeSet::from([Capability::Buy]);
    let buyer = Person {
        user_name: "buyer",
        display_name: "Bea Buyer".to_owned(),
        biography: Some("Collects more than fits on the shelf."),
        capabilities: buy(),
    };
    let admin =
        Person { user_name: "admin", display_name: "Ada Admin".to_owned(), biography: None, capabilities: buy() };
    let shop = |shop: &Shop| Person {
        user_name: shop.user_name,
        display_name: shop.display_name.to_owned(),
        biography: Some(shop.biography),
        capabilities: BTreeSet::from([Capability::Buy, Capability::Sell]),
    };
    let bidder = |name: &&'static str| Person {
        user_name: name,
        display_name: spoken(name),
        biography: None,
        capabilities: buy(),
    };
    let (seller, others) = (shop(&SHOPS[0]), SHOPS[1..].iter().map(shop));
    [buyer, seller, admin].into_iter().chain(others).chain(BIDDERS.iter().map(bidder)).collect()
}

/// `mira.kovac` as `Mira Kovac`.
fn spoken(user_name: &str) -> String {
    let words = user_name.split(['.', '_', '-']).map(|word| {
        let mut letters = word.chars().filter(|letter| !letter.is_ascii_digit());
        letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect::<String>()
    });
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use garde::Validate;

    use super::super::goods::CATEGORIES;
    use super::*;

    #[test]
    fn everybody_has_a_name_of_their_own_that_the_api_would_take() {
        let people = everybody();
        let names: HashSet<_> = people.iter().map(|person| person.user_name.to_lowercase()).collect();
        assert_eq!(names.len(), people.len());
        for person in &people {
            let fits = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
            assert!(person.user_name.chars().all(fits) && (3..=40).contains(&person.user_name.len()), "{person:?}");
            if person.capabilities.contains(&Capability::Sell) {
                person.storefront().validate().unwrap();
            }
        }
        let slugs: HashSet<_> = SHOPS.iter().map(|shop| shop.user_name.replace(['.', '_'], "-")).collect();
        assert_eq!(slugs.len(), SHOPS.len());
    }

    #[test]
    fn the_places_of_people_are_where_they_are_said_to_be() {
        let people = everybody();
        assert_eq!([BUYER, SELLER, ADMIN].map(|place| people[place].user_name), ["buyer", "seller", "admin"]);
        for (index, shop) in SHOPS.iter().enumerate() {
            assert_eq!(people[owner(index)].user_name, shop.user_name);
        }
        assert_eq!(people[bidders().start].display_name, "Mira Kovac");
        assert_eq!(bidders().end, people.len());
    }

    #[test]
    fn shops_sell_what_there_is_in_currencies_that_exist_and_leave_nothing_out() {
        for shop in SHOPS {
            assert_eq!(shop.currency().code(), shop.currency);
            for slug in shop.categories {
                assert!(CATEGORIES.iter().any(|category| category.slug == *slug), "{slug}");
            }
        }
        for category in CATEGORIES {
            assert!(SHOPS.iter().any(|shop| shop.categories.contains(&category.slug)), "{}", category.slug);
        }
    }
}
