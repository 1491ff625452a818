//! Given what has happened to a listing, when something is asked of it, then this.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::testing::given;

const ANN: AccountId = AccountId(Uuid::from_u128(1));
const BOB: AccountId = AccountId(Uuid::from_u128(2));

fn fixed(minor: i64) -> Sale {
    Sale::FixedPrice { price: Money::new(minor, Currency::USD).unwrap(), variants: vec![] }
}

fn auction() -> Sale {
    let start_price = Money::new(100, Currency::USD).unwrap();
    Sale::Auction(AuctionPlan {
        start_price,
        reserve_price: None,
        buy_now_price: None,
        starts_at: None,
        duration_s: 3_600,
    })
}

fn drafted(sale: Sale) -> Event {
    let details = Details {
        title: "Watch".to_owned(),
        description: String::new(),
        category: "watches".to_owned(),
        brand: None,
        condition: Condition::Good,
        delivery: Delivery::Physical,
        shipping: None,
        attributes: Attributes::new(),
    };
    Event::ListingDrafted { seller: ANN, details, sale }
}

fn price_change(sale: Sale) -> Changes {
    Changes { sale: Some(sale), ..Changes::default() }
}

#[test]
fn a_draft_is_published_once() {
    given::<Listing>([drafted(fixed(1))])
        .when(Command::Publish { by: ANN, review_until: None })
        .then([Event::ListingPublished {}]);
    given::<Listing>([drafted(fixed(1)), Event::ListingPublished {}])
        .when(Command::Publish { by: ANN, review_until: None })
        .then_nothing();
}

#[test]
fn what_is_not_yours_is_not_there() {
    for command in [
        Command::Publish { by: BOB, review_until: None },
        Command::Revise { by: BOB, changes: Changes::default(), review_until: None },
        Command::Archive { cause: ArchiveCause::Seller(BOB) },
    ] {
        given::<Listing>([drafted(fixed(1))]).when(command.clone()).then_refused(Error::NotFound);
        given::<Listing>([]).when(command).then_refused(Error::NotFound);
    }
}

#[test]
fn a_price_is_above_zero() {
    let offered = Money::zero(Currency::USD);
    let change = Command::Revise { by: ANN, changes: price_change(fixed(0)), review_until: None };
    given::<Listing>([drafted(fixed(1))]).when(change).then_refused(Error::PriceNotPositive { offered });
}

#[test]
fn the_price_of_an_offer_may_change_but_not_how_an_auction_is_sold() {
    let reprice = |sale: Sale| Command::Revise { by: ANN, changes: price_change(sale), review_until: None };
    let published = |sale: Sale| given::<Listing>([drafted(sale), Event::ListingPublished {}]);
    published(fixed(1)).when(reprice(fixed(2))).then([Event::ListingRevised { changes: price_change(fixed(2)) }]);
    published(auction()).when(reprice(fixed(2))).then_refused(Error::AuctionPublished);
    published(fixed(1)).when(reprice(auction())).then_refused(Error::AuctionPublished);
    let dearer = Changes { shipping: Some(Money::new(1, Currency::USD).unwrap()), ..Changes::default() };
    let digital = Changes { delivery: Some(Delivery::Digital), ..Changes::default() };
    for changes in [dearer, digital] {
        let revise = || Command::Revise { by: ANN, changes: changes.clone(), review_until: None };
        published(auction()).when(revise()).then_refused(Error::AuctionPublished);
        published(fixed(1)).when(revise()).then([Event::ListingRevised { changes: changes.clone() }]);
    }
    // What stays as it is does not change.
    let same = Changes { delivery: Some(Delivery::Physical), title: Some("x".to_owned()), ..Changes::default() };
    let revise = Command::Revise { by: ANN, changes: same.clone(), review_until: None };
    published(auction()).when(revise).then([Event::ListingRevised { changes: same }]);
}

#[test]
fn all_amounts_of_a_listing_are_in_one_currency_and_none_is_negative() {
    let yen = |minor| Money::new(minor, Currency::JPY).unwrap();
    let draft = |price: Option<Money>, shipping: Option<Money>| {
        let sizes = ["s", "m"].map(|sku| Variant { sku: sku.parse().unwrap(), options: BTreeMap::new(), price });
        let sale = Sale::FixedPrice { price: yen(100), variants: sizes.to_vec() };
        match drafted(sale) {
            Event::ListingDrafted { seller, details, sale } => {
                Command::Draft { seller, details: Details { shipping, ..details }, sale }
            }
            other => panic!("not a draft: {other:?}"),
        }
    };
    let dollar = Money::new(1, Currency::USD).unwrap();
    let wrong = Error::WrongCurrency { expected: Currency::JPY, offered: Currency::USD };
    given::<Listing>([]).when(draft(Some(dollar), None)).then_refused(wrong);
    given::<Listing>([]).when(draft(None, Some(dollar))).then_refused(wrong);
    let negative = Error::ShippingNegative { offered: yen(-1) };
    given::<Listing>([]).when(draft(None, Some(yen(-1)))).then_refused(negative);
    let listing = given::<Listing>([]).and(draft(Some(yen(120)), Some(yen(0))));
    let offer = listing.state().offer().unwrap();
    assert_eq!(offer.price_of(&"m".parse().unwrap()), Ok(yen(120)));
    assert_eq!(offer.price_of(&Sku::default()), Err(Error::NoSuchVariant { variants: 2 }));
}

#[test]
fn two_variants_of_one_name_are_refused() {
    let variant = Variant { sku: Sku::default(), options: BTreeMap::new(), price: None };
    let price = Money::new(1, Currency::USD).unwrap();
    let sale = Sale::FixedPrice { price, variants: vec![variant.clone(), variant] };
    let revise = Command::Revise { by: ANN, changes: price_change(sale), review_until: None };
    given::<Listing>([drafted(fixed(1))]).when(revise).then_refused(Error::SkuRepeated { variants: 2, skus: 1 });
}

#[test]
fn a_running_auction_is_not_archived_by_its_seller() {
    let cause = ArchiveCause::Seller(ANN);
    let published = || given::<Listing>([drafted(auction()), Event::ListingPublished {}]);
    published().when(Command::Archive { cause }).then_refused(Error::AuctionRunning);
    let ended = ArchiveCause::AuctionEnded;
    published().when(Command::Archive { cause: ended }).then([Event::ListingArchived { cause: ended }]);
}

#[test]
fn what_is_archived_stays_archived() {
    let cause = ArchiveCause::Seller(ANN);
    let archived = || given::<Listing>([drafted(fixed(1)), Event::ListingArchived { cause }]);
    archived().when(Command::Publish { by: ANN, review_until: None }).then_refused(Error::Archived);
    archived().when(Command::Archive { cause }).then_nothing();
}

fn usd(minor: i64) -> Money {
    Money::new(minor, Currency::USD).unwrap()
}

fn at(s: i64) -> Timestamp {
    Timestamp::default() + TimeDelta::seconds(s)
}

fn published() -> [Event; 2] {
    [drafted(fixed(1_000)), Event::ListingPublished {}]
}

#[test]
fn a_look_of_the_staff_comes_before_the_offer_or_its_time_runs_out() {
    let submitted = Event::ListingSubmitted { review_until: at(10) };
    let drafted = || drafted(fixed(1));
    given::<Listing>([drafted()])
        .when(Command::Publish { by: ANN, review_until: Some(at(10)) })
        .then([submitted.clone()]);
    let pending = || given::<Listing>([drafted(), submitted.clone()]);
    assert_eq!(pending().state().offered_to(BOB).unwrap_err(), Error::NotFound);
    pending().when(Command::Publish { by: ANN, review_until: Some(at(20)) }).then_nothing();
    let approve = |by, s| Command::Approve { by, now: at(s) };
    let approved = |by| [Event::ListingApproved { by }, Event::ListingPublished {}];
    let review_until = at(10);
    pending().when(approve(Approver::Time, 9)).then_refused(Error::ReviewOpen { review_until });
    pending().when(approve(Approver::Time, 10)).then(approved(Approver::Time));
    let staff = Approver::Staff(BOB);
    pending().when(approve(staff, 1)).then(approved(staff));
    assert!(pending().and(approve(staff, 1)).state().offered_to(BOB).is_ok());
    let reject = || Command::Reject { by: BOB, reason: "blurred".to_owned() };
    let rejected = Event::ListingRejected { by: BOB, reason: "blurred".to_owned() };
    pending().when(reject()).then([rejected]);
    pending().and(reject()).when(Command::Publish { by: ANN, review_until: None }).then([Event::ListingPublished {}]);
    given::<Listing>([drafted()]).when(reject()).then_refused(Error::NotPending);
    given::<Listing>(published()).when(approve(staff, 1)).then_refused(Error::NotPending);
}

#[test]
fn what_is_said_anew_is_looked_at_anew() {
    let submitted = |s| Event::ListingSubmitted { review_until: at(s) };
    let revise =
        |changes: &Changes, s| Command::Revise { by: ANN, changes: changes.clone(), review_until: Some(at(s)) };
    let words = Changes { description: Some("y".to_owned()), ..Changes::default() };
    let revised = |changes: &Changes| Event::ListingRevised { changes: changes.clone() };
    given::<Listing>([drafted(fixed(1))]).when(revise(&words, 20)).then([revised(&words)]);
    given::<Listing>(published()).when(revise(&words, 20)).then([revised(&words), submitted(20)]);
    given::<Listing>(published()).when(revise(&Changes::default(), 20)).then_nothing();
    let shown_again = given::<Listing>(published()).and(revise(&words, 20));
    assert_eq!(shown_again.state().offered_to(BOB).unwrap_err(), Error::NotFound);
    // What is asked for it is nothing that the staff look at, unless they are about to.
    let price = price_change(fixed(2));
    given::<Listing>(published()).when(revise(&price, 20)).then([revised(&price)]);
    let pending = || given::<Listing>([drafted(fixed(1)), submitted(10)]);
    pending().when(revise(&price, 20)).then([revised(&price), submitted(20)]);
    // What sets its forms apart is said in words too.
    let options = BTreeMap::from([("size".to_owned(), "call me".to_owned())]);
    let variants = vec![Variant { sku: "m".parse().unwrap(), options, price: None }];
    let forms = price_change(Sale::FixedPrice { price: usd(1), variants });
    given::<Listing>(published()).when(revise(&forms, 20)).then([revised(&forms), submitted(20)]);
    // Pieces of it may be kept for somebody: it never becomes an auction.
    let waiting = given::<Listing>(published()).and(revise(&words, 20));
    waiting.when(revise(&price_change(auction()), 20)).then_refused(Error::AuctionPublished);
    let early = Command::Approve { by: Approver::Time, now: at(10) };
    pending().and(revise(&words, 20)).when(early).then_refused(Error::ReviewOpen { review_until: at(20) });
    let bidding = || given::<Listing>([drafted(auction()), Event::ListingPublished {}]);
    bidding().when(revise(&words, 20)).then_refused(Error::AuctionReviewed);
    let attach = || Command::AttachImage { by: ANN, image: "a".to_owned(), review_until: Some(at(20)) };
    let attached = || Event::ImageAttached { image: "a".to_owned() };
    given::<Listing>([drafted(fixed(1))]).when(attach()).then([attached()]);
    given::<Listing>(published()).when(attach()).then([attached(), submitted(20)]);
    bidding().when(attach()).then_refused(Error::AuctionReviewed);
}

#[test]
fn what_was_paused_is_paused_again_once_the_staff_have_looked() {
    let revise = |title: &str, s| Command::Revise {
        by: ANN,
        changes: Changes { title: Some(title.to_owned()), ..Changes::default() },
        review_until: Some(at(s)),
    };
    let pause = || Command::Pause { by: ANN };
    let once = || given::<Listing>(published()).and(pause()).and(revise("a", 10));
    // However often it is said anew meanwhile.
    let twice = || given::<Listing>(published()).and(pause()).and(revise("a", 5)).and(revise("b", 10));
    for by in [Approver::Staff(BOB), Approver::Time] {
        let approve = || Command::Approve { by, now: at(10) };
        let approved = [Event::ListingApproved { by }, Event::ListingPaused {}];
        once().when(approve()).then(approved.clone());
        twice().when(approve()).then(approved);
        assert_eq!(once().and(approve()).state().offered_to(BOB).unwrap_err(), Error::NotOffered);
        once().and(approve()).when(Command::Resume { by: ANN }).then([Event::ListingResumed {}]);
    }
    // Whoever publishes what was given back wants it to be offered.
    let reject = Command::Reject { by: BOB, reason: "blurred".to_owned() };
    let by = Approver::Time;
    let submitted = once().and(reject).and(Command::Publish { by: ANN, review_until: Some(at(20)) });
    let approve = Command::Approve { by, now: at(20) };
    submitted.when(approve).then([Event::ListingApproved { by }, Event::ListingPublished {}]);
    // Logs have it that such a listing was published.
    let review = [Event::ListingSubmitted { review_until: at(10) }, Event::ListingApproved { by }];
    let before = published().into_iter().chain([Event::ListingPaused {}]).chain(review);
    let shown = given::<Listing>(before.chain([Event::ListingPublished {}]));
    assert!(shown.state().offered_to(BOB).is_ok());
}

#[test]
fn what_cannot_be_offered_in_time_is_a_draft_again() {
    let pending = || given::<Listing>([drafted(fixed(1)), Event::ListingSubmitted { review_until: at(10) }]);
    let give_back = |s| Command::Return { now: at(s) };
    pending().when(give_back(9)).then_refused(Error::ReviewOpen { review_until: at(10) });
    pending().when(give_back(10)).then([Event::ListingReturned {}]);
    let publish = Command::Publish { by: ANN, review_until: None };
    pending().and(give_back(10)).when(publish).then([Event::ListingPublished {}]);
    given::<Listing>(published()).when(give_back(10)).then_refused(Error::NotPending);
}

#[test]
fn a_discount_that_makes_nothing_cheaper_goes() {
    let discount = Discount { off: Off::Price(usd(800)), from: None, until: None };
    let set = Command::SetDiscount { by: ANN, discount: Some(discount), now: at(0) };
    let reprice = |cents| Command::Revise { by: ANN, changes: price_change(fixed(cents)), review_until: None };
    let revised = |cents| Event::ListingRevised { changes: price_change(fixed(cents)) };
    let reduced = || given::<Listing>(published()).and(set.clone());
    reduced().when(reprice(801)).then([revised(801)]);
    reduced().when(reprice(800)).then([revised(800), Event::DiscountSet { discount: None }]);
}

#[test]
fn a_pause_is_no_end() {
    let paused = || given::<Listing>(published()).and(Command::Pause { by: ANN });
    assert_eq!(paused().state().offered_to(BOB).unwrap_err(), Error::NotOffered);
    paused().when(Command::Pause { by: ANN }).then_nothing();
    paused().when(Command::Pause { by: BOB }).then_refused(Error::NotFound);
    paused().when(Command::Resume { by: ANN }).then([Event::ListingResumed {}]);
    paused().when(Command::Publish { by: ANN, review_until: None }).then([Event::ListingResumed {}]);
    given::<Listing>([drafted(fixed(1))]).when(Command::Pause { by: ANN }).then_refused(Error::NotOffered);
    let bidding = given::<Listing>([drafted(auction()), Event::ListingPublished {}]);
    bidding.when(Command::Pause { by: ANN }).then_refused(Error::SoldByAuction);
}

#[test]
fn what_was_never_offered_is_there_for_its_seller_alone_even_archived() {
    let archive = || Command::Archive { cause: ArchiveCause::Seller(ANN) };
    let unseen = || given::<Listing>([drafted(fixed(1))]).and(archive());
    for nobody in [None, Some(BOB)] {
        assert_eq!(unseen().state().shown_to(nobody).unwrap_err(), Error::NotFound);
        assert!(given::<Listing>(published()).and(archive()).state().shown_to(nobody).is_ok());
    }
    assert!(unseen().state().shown_to(Some(ANN)).is_ok());
    assert_eq!(unseen().state().offered_to(BOB).unwrap_err(), Error::NotFound);
    assert_eq!(unseen().state().offered_to(ANN).unwrap_err(), Error::NotOffered);
}

#[test]
fn what_the_staff_removes_is_there_for_its_seller_alone() {
    let remove = || Command::Remove { by: BOB, reason: "stolen".to_owned() };
    let removed = || given::<Listing>(published()).and(remove());
    assert_eq!(removed().state().offered_to(BOB).unwrap_err(), Error::NotFound);
    assert_eq!(removed().state().offered_to(ANN).unwrap_err(), Error::NotOffered);
    removed().when(remove()).then_nothing();
    removed().when(Command::Publish { by: ANN, review_until: None }).then_refused(Error::Removed);
    removed().when(Command::Resume { by: ANN }).then_refused(Error::Removed);
    removed().when(Command::Archive { cause: ArchiveCause::Seller(ANN) }).then_nothing();
    given::<Listing>([drafted(auction()), Event::ListingPublished {}])
        .when(remove())
        .then_refused(Error::AuctionRunning);
}

#[test]
fn what_is_removed_has_no_images() {
    let remove = || Command::Remove { by: BOB, reason: "stolen".to_owned() };
    let removed = || Event::ListingRemoved { by: BOB, reason: "stolen".to_owned() };
    let detached = |image: &str| Event::ImageDetached { image: image.to_owned() };
    let shown = || ["a", "b"].map(|image| Event::ImageAttached { image: image.to_owned() });
    let both = || given::<Listing>(published().into_iter().chain(shown()));
    both().when(remove()).then([removed(), detached("a"), detached("b")]);
    assert!(both().and(remove()).state().offer().unwrap().images.is_empty());
    both().and(remove()).when(remove()).then_nothing();
    let archive = Command::Archive { cause: ArchiveCause::Seller(ANN) };
    both().and(archive).when(remove()).then([removed(), detached("a"), detached("b")]);
    // Logs have it that they stayed.
    let kept = given::<Listing>(published().into_iter().chain(shown()).chain([removed()]));
    kept.when(remove()).then([detached("a"), detached("b")]);
}

#[test]
fn a_discount_counts_within_its_window() {
    let discount = Discount { off: Off::Bps(2_500), from: Some(at(10)), until: Some(at(20)) };
    let set = |discount, s| Command::SetDiscount { by: ANN, discount, now: at(s) };
    let event = Event::DiscountSet { discount: Some(discount) };
    let opened = Event::DiscountOpened { until: Some(at(20)) };
    given::<Listing>(published()).when(set(Some(discount), 0)).then([event.clone()]);
    given::<Listing>(published()).when(set(Some(discount), 10)).then([event.clone(), opened.clone()]);
    let over = Error::DiscountOver { until: at(20), now: at(20) };
    given::<Listing>(published()).when(set(Some(discount), 20)).then_refused(over);
    let reduced = || given::<Listing>(published().into_iter().chain([event.clone()]));
    let turn = |s| Command::TurnDiscount { now: at(s) };
    reduced().when(turn(9)).then_refused(Error::DiscountNotTurning { at: at(10) });
    reduced().when(turn(10)).then([opened.clone()]);
    reduced().and(turn(10)).when(turn(11)).then_refused(Error::DiscountNotTurning { at: at(20) });
    reduced().and(turn(10)).when(turn(20)).then([Event::DiscountClosed {}]);
    reduced().and(turn(20)).when(turn(21)).then_nothing();
    // What a buyer pays goes by the time, whatever was noted.
    let given = reduced();
    let price = |s| given.state().offer().unwrap().price_at(&Sku::default(), at(s)).unwrap();
    assert_eq!([9, 10, 19, 20].map(price), [1_000, 750, 750, 1_000].map(usd));
    reduced().when(set(Some(discount), 0)).then_nothing();
    reduced().when(set(None, 0)).then([Event::DiscountSet { discount: None }]);
    let other = Command::SetDiscount { by: BOB, discount: None, now: at(0) };
    reduced().when(other).then_refused(Error::NotFound);
}

#[test]
fn a_discount_makes_every_form_cheaper_and_nothing_free() {
    let off = |off| Discount { off, from: None, until: None };
    assert_eq!(off(Off::Bps(9_999)).applied_to(usd(1)), usd(1));
    assert_eq!(off(Off::Bps(5_000)).applied_to(usd(25)), usd(12), "the discount is rounded half-up");
    assert_eq!(off(Off::Price(usd(800))).applied_to(usd(1_000)), usd(800));
    assert_eq!(off(Off::Price(usd(800))).applied_to(usd(700)), usd(700), "it is cheaper already");
    let refused = |discount, error| {
        let set = Command::SetDiscount { by: ANN, discount: Some(discount), now: at(0) };
        given::<Listing>(published()).when(set).then_refused(error);
    };
    refused(off(Off::Bps(0)), Error::DiscountOutOfRange { maximum: 9_999, offered: 0 });
    refused(off(Off::Bps(10_000)), Error::DiscountOutOfRange { maximum: 9_999, offered: 10_000 });
    refused(off(Off::Price(usd(1_000))), Error::NoDiscount { price: usd(1_000), offered: usd(1_000) });
    refused(off(Off::Price(usd(0))), Error::PriceNotPositive { offered: usd(0) });
    let yen = Money::new(1, Currency::JPY).unwrap();
    refused(off(Off::Price(yen)), Error::WrongCurrency { expected: Currency::USD, offered: Currency::JPY });
    let backwards = Discount { from: Some(at(9)), until: Some(at(9)), ..off(Off::Bps(1)) };
    refused(backwards, Error::DiscountOver { until: at(9), now: at(0) });
    let set = Command::SetDiscount { by: ANN, discount: Some(off(Off::Bps(1))), now: at(0) };
    given::<Listing>([drafted(auction())]).when(set.clone()).then_refused(Error::SoldByAuction);
    let changes = price_change(auction());
    given::<Listing>([drafted(fixed(9))])
        .and(set)
        .when(Command::Revise { by: ANN, changes: changes.clone(), review_until: None })
        .then([Event::ListingRevised { changes }, Event::DiscountSet { discount: None }]);
}

#[test]
fn images_are_shown_in_their_order_and_are_few() {
    let attach = |image: &str| Command::AttachImage { by: ANN, image: image.to_owned(), review_until: None };
    let detach = |image: &str| Command::DetachImage { by: ANN, image: image.to_owned() };
    let mut shown = given::<Listing>([drafted(fixed(1))]);
    for image in 0..MOST_IMAGES {
        shown = shown.and(attach(&image.to_string()));
    }
    let shown = shown.and(attach("0")).and(detach("3"));
    let images = &shown.state().offer().unwrap().images;
    assert_eq!(images.concat(), "012456789");
    let full = shown.and(attach("3"));
    assert_eq!(full.state().offer().unwrap().images.concat(), "0124567893");
    let other = Command::AttachImage { by: BOB, image: "x".to_owned(), review_until: None };
    given::<Listing>([drafted(fixed(1))]).when(other).then_refused(Error::NotFound);
    given::<Listing>([drafted(fixed(1))]).when(detach("x")).then_refused(Error::NoSuchImage);
    full.when(attach("x")).then_refused(Error::TooManyImages { maximum: MOST_IMAGES });
}

#[test]
fn what_is_featured_is_until_it_is_not() {
    let feature = |featured| Command::Feature { by: BOB, featured };
    given::<Listing>(published()).when(feature(true)).then([Event::ListingFeatured { by: BOB }]);
    given::<Listing>(published()).when(feature(false)).then_nothing();
    let featured = given::<Listing>(published()).and(feature(true));
    featured.when(feature(false)).then([Event::ListingUnfeatured { by: BOB }]);
}

fn any_sale() -> impl Strategy<Value = Sale> {
    prop_oneof![(0..6_i64).prop_map(fixed), Just(auction())]
}

fn any_time() -> impl Strategy<Value = Timestamp> {
    (0..40_i64).prop_map(at)
}

fn any_command() -> impl Strategy<Value = Command> {
    let account = || prop::sample::select(vec![ANN, BOB]);
    prop_oneof![
        1 => (account(), any_sale()).prop_map(|(by, sale)| match drafted(sale) {
            Event::ListingDrafted { details, sale, .. } => Command::Draft { seller: by, details, sale },
            other => panic!("not a draft: {other:?}"),
        }),
        3 => (account(), prop::option::of(any_sale())).prop_map(|(by, sale)| {
            Command::Revise { by, changes: Changes { sale, ..Changes::default() }, review_until: None }
        }),
        2 => (account(), any::<bool>()).prop_map(|(by, reviewed)| {
            Command::Publish { by, review_until: reviewed.then_some(at(20)) }
        }),
        2 => (any::<bool>(), any_time()).prop_map(|(staff, now)| {
            Command::Approve { by: if staff { Approver::Staff(BOB) } else { Approver::Time }, now }
        }),
        1 => Just(Command::Reject { by: BOB, reason: "no".to_owned() }),
        1 => account().prop_map(|by| Command::Pause { by }),
        1 => account().prop_map(|by| Command::Resume { by }),
        1 => Just(Command::Remove { by: BOB, reason: "no".to_owned() }),
        1 => any::<bool>().prop_map(|featured| Command::Feature { by: BOB, featured }),
        2 => (account(), any_time(), any_time(), prop::option::of(1..4_i64)).prop_map(|(by, now, until, price)| {
            let off = |price| Discount { off: Off::Price(usd(price)), from: None, until: Some(until) };
            Command::SetDiscount { by, discount: price.map(off), now }
        }),
        2 => any_time().prop_map(|now| Command::TurnDiscount { now }),
        1 => account().prop_map(|by| Command::AttachImage { by, image: "a".to_owned(), review_until: None }),
        1 => account().prop_map(|by| Command::DetachImage { by, image: "a".to_owned() }),
        1 => account().prop_map(|by| Command::Archive { cause: ArchiveCause::Seller(by) }),
        1 => prop::sample::select(vec![ArchiveCause::AuctionEnded, ArchiveCause::AuctionCancelled])
            .prop_map(|cause| Command::Archive { cause }),
    ]
}

proptest! {
    #[test]
    fn the_terms_of_a_published_auction_stand_and_what_is_archived_is_off_for_good(
        commands in prop::collection::vec(any_command(), 0..30),
    ) {
        let json = |value: &Listing| serde_json::to_value(value).unwrap();
        let mut listing = Listing::default();
        for command in commands {
            let before = listing.clone();
            for event in listing.decide(command).iter().flatten() {
                let read: Event = serde_json::from_str(&serde_json::to_string(event).unwrap()).unwrap();
                prop_assert_eq!(&read, event);
                listing.evolve(&read);
            }
            let published = |listing: &Listing| matches!(listing, Listing::Active(_) | Listing::Paused(_));
            match (&before, &listing) {
                (Listing::Removed(_), after) => prop_assert_eq!(json(after), json(&before)),
                (Listing::Archived(_), Listing::Removed(_)) => {}
                (Listing::Archived(_), after) => prop_assert_eq!(json(after), json(&before)),
                (Listing::Active(_) | Listing::Paused(_), Listing::Absent | Listing::Draft(_) | Listing::Pending { .. }) => {
                    prop_assert!(false, "withdrawn to {listing:?}");
                }
                _ => {}
            }
            if let (Ok(was), Ok(is)) = (before.offer(), listing.offer()) {
                prop_assert_eq!(was.seller, is.seller);
                let auction = |sale: &Sale| matches!(sale, Sale::Auction(_));
                prop_assert!(!published(&before) || was.sale == is.sale || !(auction(&was.sale) || auction(&is.sale)));
                prop_assert!(is.discount.is_none() || !auction(&is.sale));
                prop_assert!(is.discount.is_some() || !is.on_sale);
            }
        }
    }
}
