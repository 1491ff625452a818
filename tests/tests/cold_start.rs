//! After a restart nothing is in memory: whatever a decision rests on is loaded first, and not taken for absent.

use api::config::Config;
use serde_json::json;
use tradepost_tests::bazaar::{Bazaar, DAY_MS};
use tradepost_tests::market::{auction, listing, with};
use tradepost_tests::server::InProcess;

/// The same marketplace, forgetful.
async fn restart(bazaar: Bazaar) -> Bazaar {
    let Bazaar { server, seller, buyer, staff } = bazaar;
    let server = InProcess::start_on(server.stop().await, Config::default()).await;
    let [seller, buyer, staff] = [seller, buyer, staff].map(|client| client.at(server.address()));
    Bazaar { server, seller, buyer, staff }
}

#[tokio::test]
async fn timers_find_the_orders_that_they_are_about() {
    let mut bazaar = Bazaar::open().await;
    let unpaid = bazaar.offer(1).await;
    let unpaid = bazaar.buyer.check_out(&[(&unpaid, 1)], "later").await.expect(201);
    let unpaid = tradepost_tests::bazaar::order_of(&unpaid);
    let (unsent, sent, arrived) = (bazaar.sell().await, bazaar.sell().await, bazaar.deliver().await);
    bazaar.ship(&sent).await.expect(200);
    // After 1 day the checkout is over; after 15 what was not sent is refunded and what has arrived is paid; after 31
    // the buyer of what was sent is asked, after 46 it is disputed, and 60 days later it is refunded.
    for (days, order, status) in [
        (1, &unpaid, "cancelled"),
        (14, &unsent, "cancelled"),
        (0, &arrived, "completed"),
        (16, &sent, "shipped"),
        (15, &sent, "disputed"),
        (60, &sent, "refunded"),
    ] {
        bazaar = restart(bazaar).await;
        bazaar.wait(days * DAY_MS).await;
        assert_eq!(bazaar.statuses(order).await.0, status);
    }
    assert_eq!(bazaar.purses().await, (89_500, 10_290));
}

#[tokio::test]
async fn staff_may_do_what_staff_may() {
    let bazaar = Bazaar::open().await;
    let sale = bazaar.seller.schedule(&auction(1_000)).await;
    let order = bazaar.sell().await;
    bazaar.ship(&order).await.expect(200);
    let bazaar = restart(bazaar).await;
    let cancel = json!({ "reason": "It was stolen." });
    bazaar.staff.post(&format!("/auctions/{sale}/cancel"), &cancel).send().await.expect(200);
    let bazaar = restart(bazaar).await;
    bazaar.staff.tell(&order, "refund").await.expect(200);
    assert_eq!(bazaar.statuses(&order).await, ("refunded".to_owned(), "refunded".to_owned()));
}

#[tokio::test]
async fn every_step_of_an_order_works_after_a_restart() {
    let bazaar = Bazaar::open().await;
    let goods = bazaar.seller.offer(&with(listing(10_000), "stock", 2)).await;
    let bazaar = restart(bazaar).await;
    let placed = bazaar.buyer.check_out(&[(&goods, 2)], "later").await.expect(201);
    let order = tradepost_tests::bazaar::order_of(&placed);
    let bazaar = restart(bazaar).await;
    bazaar.buyer.tell(&order, "pay").await.expect(200);
    let bazaar = restart(bazaar).await;
    bazaar.ship(&order).await.expect(200);
    let bazaar = restart(bazaar).await;
    bazaar.buyer.tell(&order, "deliver").await.expect(200);
    let bazaar = restart(bazaar).await;
    bazaar.dispute(&order).await.expect(200);
    let bazaar = restart(bazaar).await;
    bazaar.resolve(&order, &json!({ "outcome": "release" })).await.expect(200);
    let bazaar = restart(bazaar).await;
    bazaar.seller.tell(&order, "refund").await.expect(200);
    assert_eq!(bazaar.statuses(&order).await.0, "refunded");
    assert_eq!(bazaar.purses().await, (100_000, 0));
    assert_eq!((bazaar.book("escrow").await, bazaar.book("fee-income").await), (0, 0));
}
