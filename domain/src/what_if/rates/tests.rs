//! The nearest rate counts, by what was said at the time and what the other rules say over it.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::*;
use crate::category::Definition;
use crate::ids::{OrderGroupId, SubscriptionId};
use crate::listing::Delivery;
use crate::money::{Currency, Money};
use crate::order::{Origin, Payment};
use crate::sealed::Sealed;
use crate::stock::Sku;
use crate::subscription::Period;
use crate::what_if::policy::Fees;
use crate::{Timestamp, plan};

const ANN: AccountId = AccountId(Uuid::from_u128(1));
const CLERK: AccountId = AccountId(Uuid::from_u128(9));
const WATCH: ListingId = ListingId(Uuid::from_u128(30));
/// The rate that the sale had.
const WAS: u32 = 77;

fn reason() -> Sealed<String> {
    Sealed::from_ciphertext(CLERK, "why".to_owned())
}

fn category(slug: &str, parent: Option<&str>, fee_bps: Option<u32>) -> (CategoryId, category::Event) {
    let definition = Definition {
        slug: slug.to_owned(),
        name: slug.to_owned(),
        parent: parent.map(str::to_owned),
        sort_order: 0,
        attributes: vec![],
        fee_bps,
    };
    (CategoryId::of(slug), category::Event::CategoryDefined { definition, by: CLERK })
}

fn revised(category_slug: &str) -> listing::Event {
    let category = Some(category_slug.to_owned());
    listing::Event::ListingRevised { changes: listing::Changes { category, ..listing::Changes::default() } }
}

fn agreed(fee_bps: Option<u32>) -> seller::Event {
    seller::Event::FeeAgreed { fee_bps, by: CLERK, reason: reason() }
}

fn subscribed(slug: &str, fee_bps: Option<u32>) -> subscription::Event {
    let price = Money::new(999, Currency::USD).unwrap();
    let terms = plan::Terms {
        plan: slug.to_owned(),
        name: slug.to_owned(),
        price,
        period_days: 30,
        fee_bps,
        listings: None,
        features: vec![],
    };
    let (starts_at, ends_at) = (Timestamp::default(), Timestamp::default());
    let period = Period { number: 1, starts_at, ends_at };
    let subscription = SubscriptionId(Uuid::from_u128(40));
    subscription::Event::SubscriptionPurchased { subscription, owner: ANN, terms, period, postings: vec![] }
}

fn order() -> Terms {
    let price = Money::new(10_000, Currency::USD).unwrap();
    let line = Line {
        listing: WATCH,
        sku: Sku::default(),
        title: "A watch".to_owned(),
        quantity: 1,
        unit_price: price,
        shipping: Money::zero(Currency::USD),
        fee_bps: WAS,
    };
    Terms {
        group: OrderGroupId(Uuid::from_u128(2)),
        buyer: CLERK,
        seller: ANN,
        origin: Origin::Checkout,
        lines: vec![line],
        delivery: Delivery::Digital,
        ship_to: None,
        payment: Payment::Escrow,
        guest: None,
    }
}

/// Watches are jewellery; a listing became a watch at the fifth event.
fn book() -> RateBook {
    let mut book = RateBook::default();
    for (place, (id, event)) in
        (1..).zip([category("jewellery", None, None), category("watches", Some("jewellery"), None)])
    {
        book.take_category(place, id, &event);
    }
    book.take_listing(3, WATCH, &revised("books"));
    book.take_listing(5, WATCH, &revised("watches"));
    book
}

fn rate(book: &RateBook, fees: &Fees, place: Place) -> u32 {
    let rates = book.rates(fees, place, &order());
    assert_eq!(rates.len(), 1);
    rates[0]
}

fn by(slug: &str, bps: u32) -> BTreeMap<String, u32> {
    [(slug.to_owned(), bps)].into()
}

#[test]
fn without_other_rules_a_sale_keeps_its_rate_whatever_was_said() {
    let mut book = book();
    assert_eq!(rate(&book, &Fees::default(), 10), WAS);
    book.take_seller(6, ANN, &agreed(Some(5)));
    assert_eq!(rate(&book, &Fees::default(), 10), WAS);
}

#[test]
fn another_usual_rate_counts_where_nothing_nearer_was_said_at_the_time() {
    let usual = Fees { usual_bps: Some(300), ..Fees::default() };
    let mut book = book();
    assert_eq!(rate(&book, &usual, 10), 300);
    book.take_seller(20, ANN, &agreed(Some(WAS)));
    book.take_seller(30, ANN, &agreed(None));
    assert_eq!([19, 20, 21, 30, 31].map(|place| rate(&book, &usual, place)), [300, 300, WAS, WAS, 300]);
    let (id, event) = category("jewellery", None, Some(WAS));
    book.take_category(40, id, &event);
    assert_eq!([40, 41].map(|place| rate(&book, &usual, place)), [300, WAS]);
    book.take_plan(50, PlanId::of("gold"), &defined("gold", Some(1)));
    assert_eq!(rate(&book, &Fees { plans: by("free", 9), ..usual.clone() }, 51), 9);
    book.turn_page();
    assert_eq!(rate(&book, &usual, 60), 300, "of another page, whose listings are not read");
}

fn defined(slug: &str, fee_bps: Option<u32>) -> plan::Event {
    let definition = plan::Definition {
        slug: slug.to_owned(),
        name: slug.to_owned(),
        prices: vec![],
        period_days: 30,
        fee_bps,
        listings: None,
        features: vec![],
        sort_order: 0,
        retired: false,
    };
    plan::Event::PlanDefined { definition, by: CLERK, reason: reason() }
}

#[test]
fn a_category_counts_for_those_below_it_and_the_nearest_first() {
    let book = book();
    let above = Fees { categories: by("jewellery", 400), ..Fees::default() };
    assert_eq!([4, 6].map(|place| rate(&book, &above, place)), [WAS, 400]);
    let mut both = above.clone();
    both.categories.insert("watches".to_owned(), 0);
    assert_eq!(rate(&book, &both, 6), 0);
    // One that nobody has defined can be named, too.
    assert_eq!(rate(&book, &Fees { categories: by("books", 5), ..Fees::default() }, 4), 5);
}

#[test]
fn a_plan_counts_before_a_category_and_a_seller_before_a_plan() {
    let mut book = book();
    book.take_subscription(10, ANN, &subscribed("gold", Some(WAS)));
    let everything = Fees {
        usual_bps: Some(1),
        categories: by("watches", 2),
        plans: by("gold", 3),
        sellers: [(ANN, 4)].into(),
        ..Fees::default()
    };
    assert_eq!(rate(&book, &everything, 11), 4);
    let no_seller = Fees { sellers: BTreeMap::new(), ..everything };
    assert_eq!([10, 11].map(|place| rate(&book, &no_seller, place)), [2, 3]);
    // Of another plan nothing is said, so it is what it was.
    assert_eq!(rate(&book, &Fees { plans: by("silver", 3), ..no_seller.clone() }, 11), WAS);
    let free = Fees { plans: by("free", 6), ..no_seller };
    assert_eq!([10, 11].map(|place| rate(&book, &free, place)), [6, WAS]);
    book.take_plan(20, PlanId::of("free"), &defined("free", Some(WAS)));
    assert_eq!(rate(&book, &Fees { flat_bps: Some(8), ..Fees::default() }, 11), 8);
}

#[test]
fn a_name_that_nobody_ever_had_is_told_by_its_key() {
    let mut book = book();
    book.take_plan(4, PlanId::of("gold"), &defined("gold", None));
    let fees = |category: &str, plan: &str| Fees { categories: by(category, 1), plans: by(plan, 1), ..Fees::default() };
    for plan in ["gold", FREE] {
        assert_eq!(book.undefined(&fees("watches", plan)), None);
    }
    assert_eq!(book.undefined(&fees("watchs", "gold")).as_deref(), Some("fees.categories.watchs"));
    assert_eq!(book.undefined(&fees("watches", "glod")).as_deref(), Some("fees.plans.glod"));
}
