//! Guests who order in cash, and second chances: what the checker has to know of both.

use domain::listing::{self, AuctionPlan, Condition, Delivery, Details, Sale};
use domain::stock::{self, Sku};
use domain::store::{self, About, Kyc, PaymentPreference};
use domain::{ClaimId, ListingId};

use super::*;
use crate::history::{Change, Shop, Wanted};

const GOODS: ListingId = ListingId(Uuid::from_u128(5));

fn details() -> Details {
    Details {
        title: "Watch".to_owned(),
        description: String::new(),
        category: "watches".to_owned(),
        brand: None,
        condition: Condition::Good,
        delivery: Delivery::Physical,
        shipping: None,
        attributes: BTreeMap::new(),
    }
}

fn sealed(text: &str) -> Sealed<String> {
    Sealed::from_ciphertext(SELLER, text.to_owned())
}

impl Marketplace {
    fn order_under(&mut self, key: &str) -> OrderId {
        let Outcome::Accepted { body, .. } = self.outcome(key) else { panic!("refused") };
        body["order_id"].as_str().unwrap().parse().unwrap()
    }

    fn change_order(&mut self, key: &str, order: OrderId, what: Change) {
        self.ask(SELLER, key, Intent::Change { order, what });
    }
}

/// Guests who order, are asked, and get it or not.
fn a_day_at_the_door() -> Marketplace {
    let mut market = Marketplace::open();
    let about = About {
        slug: sealed("shop"),
        claim: ClaimId(Uuid::from_u128(6)),
        brand_name: sealed("Shop"),
        biography: None,
        logo: None,
        business_address: None,
        whatsapp: None,
        instagram: None,
        facebook: None,
        payment_preference: PaymentPreference::Any,
    };
    market.cause(&[DomainEvent::Store(SELLER, store::Event::StoreOpened { about, kyc: Kyc::Unverified })]);
    let sale = Sale::FixedPrice { price: usd(1_000), variants: vec![] };
    let drafted = listing::Event::ListingDrafted { seller: SELLER, details: details(), sale };
    let counted = stock::Event::StockCounted { free: [(Sku::default(), 10)].into() };
    market.cause(&[DomainEvent::Listing(GOODS, drafted), DomainEvent::Stock(GOODS, counted)]);
    market.cause(&[DomainEvent::Listing(GOODS, listing::Event::ListingPublished {})]);
    let wanted = |owner, quantity| Intent::GuestOrder {
        store: Shop { slug: "shop".to_owned(), owner },
        phone: "+92 300 1234567".to_owned(),
        lines: vec![Wanted { listing: GOODS, quantity }],
    };
    for (key, quantity) in [("first", 2), ("second", 3), ("too-many", 1)] {
        market.ask(None, key, wanted(SELLER, quantity));
    }
    market.ask(None, "no-store", wanted(ANN, 1));
    let (first, second) = (market.order_under("first"), market.order_under("second"));
    market.change_order("too-early", first, Change::Ship);
    market.change_order("confirm", first, Change::ConfirmGuest);
    market.change_order("confirm-again", first, Change::ConfirmGuest);
    market.change_order("ship", first, Change::Ship);
    market.change_order("deliver", first, Change::Deliver);
    market.change_order("no-escrow", first, Change::Refund { amount: None });
    market.change_order("cancel", second, Change::Cancel);
    market.ask(None, "third", wanted(SELLER, 3));
    market
}

/// A winner who does not pay, and underbidders who are asked.
fn a_day_of_second_chances() -> Marketplace {
    let mut market = Marketplace::open();
    let plan = AuctionPlan {
        start_price: usd(1_000),
        reserve_price: None,
        buy_now_price: None,
        starts_at: None,
        duration_s: 86_400,
    };
    let drafted = listing::Event::ListingDrafted { seller: SELLER, details: details(), sale: Sale::Auction(plan) };
    market.cause(&[DomainEvent::Listing(ListingId::from(SALE), drafted)]);
    market.ask(BOB, "bid-1", bid(1_500));
    market.ask(ANN, "bid-2", bid(2_000));
    market.ask(SELLER, "not-over", Intent::OfferSecondChance { auction: SALE });
    market.seconds += 86_400;
    let outcome = auction::Outcome::Won { winner: ANN, price: usd(1_550) };
    let ended_at = market.now();
    market.cause(&[DomainEvent::Auction(SALE, auction::Event::AuctionClosed { outcome, ended_at })]);
    market.ask(SELLER, "not-forfeited", Intent::OfferSecondChance { auction: SALE });
    let forfeited = auction::Event::SaleForfeited { buyer: ANN, order: OrderId(Uuid::from_u128(7)) };
    market.cause(&[DomainEvent::Auction(SALE, forfeited)]);
    market.ask(BOB, "not-offered", Intent::AcceptSecondChance { auction: SALE });
    market.ask(ANN, "not-hers", Intent::OfferSecondChance { auction: SALE });
    market.ask(SELLER, "offer", Intent::OfferSecondChance { auction: SALE });
    market.ask(ANN, "not-to-her", Intent::AcceptSecondChance { auction: SALE });
    market.ask(BOB, "accept", Intent::AcceptSecondChance { auction: SALE });
    let order = market.order_under("accept");
    market.ask(BOB, "cancel", Intent::Change { order, what: Change::Cancel });
    market.ask(SELLER, "nobody-left", Intent::OfferSecondChance { auction: SALE });
    market
}

#[test]
fn days_of_guests_and_of_second_chances_break_no_promise() {
    for (market, expected) in [(a_day_at_the_door(), (8, 4)), (a_day_of_second_chances(), (5, 6))] {
        assert_eq!(check(&market.log, &market.history), []);
        let counts = market.history.counts(None);
        assert_eq!((counts.accepted, counts.refused), expected);
    }
}

/// Plants a fault in such a day and expects it to be found, as the breach of this promise and with these words.
#[track_caller]
fn planted_in(mut market: Marketplace, promise: Promise, words: &str, plant: impl FnOnce(&mut Marketplace)) {
    plant(&mut market);
    let found = check(&market.log, &market.history);
    let hit = found.iter().any(|violation| violation.promise == promise && violation.what.contains(words));
    assert!(hit, "not found: {found:#?}");
}

#[test]
fn a_guests_order_that_was_not_asked_for_or_is_told_wrongly_is_found() {
    planted_in(a_day_at_the_door(), Promise::P1, "nobody has asked for it", |market| {
        market.history.commands.retain(|command| command.key != "third");
    });
    planted_in(a_day_at_the_door(), Promise::P1, "its key is stored", |market| {
        let Intent::GuestOrder { phone, .. } = &mut market.command("first").intent else { panic!("no guest") };
        phone.push('8');
    });
    planted_in(a_day_at_the_door(), Promise::P0, "was told total", |market| {
        let Outcome::Accepted { body, .. } = market.outcome("first") else { panic!("refused") };
        body["total"]["amount"] = 1_000.into();
    });
    planted_in(a_day_at_the_door(), Promise::P0, "where the rules say", |market| {
        let Outcome::Refused { problem, .. } = market.outcome("too-many") else { panic!("accepted") };
        problem["available"] = 1.into();
    });
}

#[test]
fn a_second_chance_that_goes_to_somebody_else_or_at_another_price_is_found() {
    planted_in(a_day_of_second_chances(), Promise::P0, "should have been refused", |market| {
        market.command("accept").intent = Intent::AcceptSecondChance { auction: AuctionId(Uuid::from_u128(9)) };
    });
    planted_in(a_day_of_second_chances(), Promise::P0, "was told price", |market| {
        let Outcome::Accepted { body, .. } = market.outcome("offer") else { panic!("refused") };
        body["price"]["amount"] = 1_499.into();
    });
    planted_in(a_day_of_second_chances(), Promise::P0, "is not what was decided", |market| {
        let place = market.place("cancel");
        let last = &mut market.log.events[place].event;
        assert_eq!(last.event_type, "SaleForfeited");
        last.payload = last.payload.replace(&BOB.to_string(), &ANN.to_string());
    });
}
