//! What people say of each other, said through HTTP: reviews, feedback, reports and complaints.

use serde_json::{Value, json};

use crate::bazaar::{Bazaar, order_of};
use crate::client::{Answer, Client};
use crate::fail::OrFail;

/// A piece that the buyer has got.
#[derive(Clone, Debug)]
pub struct Got {
    /// In which order.
    pub order: String,
    /// What.
    pub listing: String,
}

impl Bazaar {
    /// Lets the buyer get a piece of a listing.
    pub async fn get_one_of(&self, listing: &str) -> Got {
        let order = order_of(&self.buyer.check_out(&[(listing, 1)], "now").await.expect(201));
        self.ship(&order).await.expect(200);
        self.buyer.tell(&order, "deliver").await.expect(200);
        Got { order, listing: listing.to_owned() }
    }

    /// Lets the buyer get a piece of something new.
    pub async fn get_one(&self) -> Got {
        let listing = self.offer(3).await;
        self.get_one_of(&listing).await
    }

    /// Lets the buyer say what a new thing is like, with so many stars. Tells the review's id.
    pub async fn review(&self, stars: u8) -> String {
        let got = self.get_one().await;
        id_of(&self.buyer.review(&got, stars).await.expect(201))
    }

    /// What somebody is shown, with everything up to now.
    pub async fn seen_by(&self, client: &Client, path: &str) -> Answer {
        let now = self.server.database.log_head().await;
        client.get(path).since(now).send().await
    }
}

impl Client {
    /// Says what something is like, with so many stars.
    pub async fn review(&self, got: &Got, stars: u8) -> Answer {
        self.post("/reviews", &review(got, stars)).send().await
    }

    /// Tells staff of something.
    pub async fn report(&self, kind: &str, id: &str) -> Answer {
        let report = json!({ "kind": kind, "id": id, "reason": "fraud", "text": "It is a trick." });
        self.post("/reports", &report).send().await
    }

    /// Tells staff what is wrong with an order.
    pub async fn complain(&self, order: &str) -> Answer {
        let complaint = json!({ "order_id": order, "subject": "damaged", "text": "The glass is broken." });
        self.post("/complaints", &complaint).send().await
    }
}

/// A review, to be sent to `/reviews`.
pub fn review(got: &Got, stars: u8) -> Value {
    json!({
        "order_id": got.order, "listing_id": got.listing, "rating": stars, "title": "A watch",
        "text": "It keeps time.",
    })
}

/// Feedback, to be sent to an order's.
pub fn feedback(communication: u8, shipping: u8, accuracy: u8) -> Value {
    json!({
        "communication": communication, "shipping": shipping, "accuracy": accuracy, "platform": 5,
        "comment": "Packed with care.", "platform_comment": "Easy.",
    })
}

/// The id of what a command has made.
pub fn id_of(answer: &Answer) -> String {
    answer.body["id"].as_str().or_fail("find the id of what was made").to_owned()
}
