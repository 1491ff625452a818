//! A day at the storefront, through HTTP alone: shops open and are verified, what they list is found in spite of a
//! mistake, a cart of three sellers is paid, sent and confirmed, and everybody has what is theirs at its end.

use image::ImageFormat;
use serde_json::{Value, json};
use tradepost_tests::bazaar::{self, MINUTE_MS};
use tradepost_tests::client::{Client, PASSWORD};
use tradepost_tests::fail::OrFail;
use tradepost_tests::market::{auction, listing, usd, with};
use tradepost_tests::pictures::picture;
use tradepost_tests::server::InProcess;

const HOUR_MS: i64 = 60 * MINUTE_MS;

/// Everybody who has something to do that day.
struct Day {
    server: InProcess,
    staff: Client,
    /// Who sells shirts, lamps and pens.
    sellers: [Client; 3],
    buyer: Client,
    /// Who sent the buyer.
    guide: Client,
}

impl Day {
    async fn begin() -> Self {
        let server = InProcess::start().await;
        let staff = bazaar::staff(&server, "clerk").await;
        let open = async |name: &str| open_store(&server, name).await;
        let sellers = [open("shirts").await, open("lamps").await, open("pens").await];
        let guide = server.client().register("guide").await;
        let buyer = server.client().register("buyer").await;
        buyer.fund(100_000).await;
        Self { server, staff, sellers, buyer, guide }
    }

    /// What `client` reads, with everything up to now.
    async fn seen_by(&self, client: &Client, path: &str) -> Value {
        let now = self.staff.advance(0).await;
        client.get(path).since(now).send().await.expect(200).body
    }

    /// The same for anybody.
    async fn seen(&self, path: &str) -> Value {
        self.seen_by(&self.server.client(), path).await
    }
}

/// Somebody joins with a store.
async fn open_store(server: &InProcess, slug: &str) -> Client {
    let store = json!({ "slug": slug, "brand_name": format!("House of {slug}"), "business_address": "12 Mall Road" });
    let body = json!({
        "email": format!("{slug}@example.com"), "user_name": slug, "password": PASSWORD, "store": store,
    });
    let nobody = server.client();
    nobody.logged_in(&nobody.post("/auth/register", &body).send().await.expect(201))
}

fn text<'a>(body: &'a Value, field: &str) -> &'a str {
    body[field].as_str().or_fail("find a text of an answer")
}

/// What the three offer: a shirt in two sizes with pictures, a lamp that costs less today, and a pen.
struct Goods {
    shirt: String,
    lamp: String,
    pen: String,
}

impl Day {
    /// Staff define what shirts are told apart by, and verify who sells them.
    async fn prepare(&self) {
        let category = json!({ "slug": "shirts", "name": "Shirts", "fee_bps": 500, "attributes": [
            { "name": "fabric", "label": "Fabric", "kind": "choice", "options": ["linen", "cotton"], "filterable": true },
        ] });
        self.staff.post("/admin/categories", &category).send().await.expect(201);
        let path = format!("/admin/merchants/{}/verify", self.sellers[0].account());
        self.staff.post(&path, &json!({ "reason": "The papers are in order." })).send().await.expect(200);
        assert_eq!(self.seen("/store/shirts").await["store"]["verified"], true);
        assert_eq!(self.seen("/store/lamps").await["store"]["verified"], false);
    }

    async fn list(&self) -> Goods {
        let shirt = json!({
            "title": "Indigo overshirt", "description": "Woven by hand.", "category": "shirts", "brand": "Sarafa",
            "condition": "new", "price": usd(8_000), "shipping": usd(500), "attributes": { "fabric": "linen" },
            "variants": [
                { "sku": "m", "options": { "size": "M" }, "stock": 1 },
                { "sku": "l", "options": { "size": "L" }, "stock": 2, "price": usd(9_000) },
            ],
        });
        let drafted = self.sellers[0].post("/listings", &shirt).send().await.expect(201);
        let shirt = text(&drafted.body, "id").to_owned();
        let front = picture(ImageFormat::Jpeg, 640, 480);
        let back = picture(ImageFormat::Png, 300, 300);
        let files: [(&str, &[u8]); 2] = [("files", &front), ("files", &back)];
        self.sellers[0].send_files(&format!("/listings/{shirt}/images"), &files).send().await.expect(201);
        self.sellers[0].post(&format!("/listings/{shirt}/publish"), &json!({})).send().await.expect(200);
        let lamp = with(listing(4_000), "title", "Brass reading lamp");
        let lamp = self.sellers[1].offer(&with(lamp, "category", "lamps")).await;
        let discount = json!({ "discount": { "bps": 2_500 } });
        self.sellers[1].patch(&format!("/listings/{lamp}"), &discount).send().await.expect(200);
        let pen = with(with(listing(2_000), "title", "Fountain pen"), "stock", 5);
        let pen = self.sellers[2].offer(&pen).await;
        Goods { shirt, lamp, pen }
    }

    /// The buyer mistypes, finds the shirt all the same, and keeps it in mind.
    async fn browse(&self, goods: &Goods) {
        let found = self.seen_by(&self.buyer, "/listings?q=indgo%20ovreshirt&attr.fabric=linen&facets=true").await;
        let items = found["items"].as_array().or_fail("find what was found");
        assert_eq!(items.len(), 1, "{found}");
        assert_eq!(items[0]["id"], goods.shirt.as_str());
        let fabrics = &found["facets"]["attributes"]["fabric"];
        assert_eq!(fabrics, &json!([{ "value": "linen", "count": 1 }]));
        let shown = self.seen(&format!("/listings/{}", goods.shirt)).await;
        let pictures = shown["images"].as_array().or_fail("find the pictures");
        assert_eq!(pictures.len(), 2);
        for url in [text(&pictures[0], "url"), text(&pictures[1], "thumbnail_url")] {
            self.buyer.ask(&reqwest::Method::GET, url).send().await.expect(200);
        }
        self.buyer.post(&format!("/listings/{}/view", goods.shirt), &json!({})).send().await.expect(200);
        self.buyer.post(&format!("/listings/{}/favorite", goods.shirt), &json!({})).send().await.expect(200);
        let wishes = self.seen_by(&self.buyer, "/wishlist").await;
        assert_eq!(wishes["items"][0]["listing"]["id"], goods.shirt.as_str());
        let shown = self.seen(&format!("/listings/{}", goods.shirt)).await;
        assert_eq!((&shown["views"], &shown["favorites"]), (&json!(1), &json!(1)));
    }

    /// The buyer buys one thing of each seller at once. Tells the orders, in the order of the sellers.
    async fn check_out(&self, goods: &Goods) -> [String; 3] {
        let home = json!({ "name": "Bea Buyer", "line1": "12 Hill Road", "city": "Lahore", "country": "PK" });
        let lines = json!([
            { "listing_id": goods.shirt, "sku": "l" }, { "listing_id": goods.lamp },
            { "listing_id": goods.pen, "quantity": 2 },
        ]);
        let cart = json!({ "pay": "now", "ship_to": home, "lines": lines });
        let bought = self.buyer.post("/orders", &cart).send().await.expect(201);
        assert_eq!(bought.body["total"], usd(9_500 + 3_000 + 4_000));
        let orders = bought.body["orders"].as_array().or_fail("find the orders");
        assert_eq!(orders.len(), 3);
        self.sellers.each_ref().map(|seller| {
            let own = orders.iter().find(|order| order["seller_id"] == seller.account().to_string());
            text(own.or_fail("find the order of a seller"), "id").to_owned()
        })
    }

    /// Each seller sends, the buyer has it and confirms.
    async fn fulfil(&self, orders: &[String; 3]) {
        for (seller, order) in self.sellers.iter().zip(orders) {
            let shown = self.seen_by(seller, &format!("/orders/{order}")).await;
            assert_eq!(shown["ship_to"]["name"], "Bea Buyer");
            let sent = json!({ "status": "shipped", "carrier": "Post", "tracking": "P1" });
            seller.put(&format!("/merchant/orders/{order}/status"), &sent).send().await.expect(200);
            self.buyer.tell(order, "deliver").await.expect(200);
            self.buyer.tell(order, "confirm").await.expect(200);
            let shown = self.seen_by(&self.buyer, &format!("/orders/{order}")).await;
            assert_eq!(shown["status"], "completed");
        }
    }

    async fn has(&self, client: &Client) -> i64 {
        client.available(self.staff.advance(0).await).await
    }
}

impl Day {
    /// A guest orders a pen and pays at the door. Tells the order.
    async fn serve_guest(&self, goods: &Goods) -> String {
        let body = json!({
            "name": "Gul", "phone": "+92 300 7654321", "confirmation": "phone", "lines": [{ "listing_id": goods.pen }],
            "address": { "line1": "3 Canal Road", "city": "Lahore", "country": "PK" },
        });
        let nobody = self.server.client();
        let placed = nobody.post("/store/pens/orders", &body).send().await.expect(201);
        let (order, token) = (text(&placed.body, "order_id"), text(&placed.body, "claim_token"));
        let seller = &self.sellers[2];
        seller.post(&format!("/merchant/orders/{order}/confirm"), &json!({})).send().await.expect(200);
        seller.post(&format!("/orders/{order}/ship"), &json!({ "carrier": "Courier" })).send().await.expect(200);
        seller.tell(order, "deliver").await.expect(200);
        assert_eq!(self.seen(&format!("/guest/orders/{token}")).await["status"], "completed");
        order.to_owned()
    }

    /// A seller has all that it has earned sent to its bank.
    async fn pay_out(&self, seller: &Client, earned: i64) {
        seller.withdraw(earned, "sandbox-succeeds").await.expect(202);
        assert_eq!(self.has(seller).await, 0);
        let dashboard = self.seen_by(seller, "/payments/transactions?limit=1").await;
        assert_eq!(dashboard["items"][0]["amount"], usd(-earned), "{dashboard}");
    }

    /// Who has won a lamp does not pay, and the next in line takes it. Tells the order.
    async fn give_second_chance(&self) -> String {
        let seller = &self.sellers[1];
        let lamp = seller.schedule(&with(auction(1_000), "category", "lamps")).await;
        let sloth = self.server.client().register("sloth").await;
        self.buyer.bid(&lamp, 2_000).await.expect(201);
        sloth.bid(&lamp, 3_000).await.expect(201);
        self.staff.advance(HOUR_MS).await;
        self.staff.advance(24 * HOUR_MS).await;
        seller.post(&format!("/auctions/{lamp}/second-chance"), &json!({})).send().await.expect(201);
        let path = format!("/auctions/{lamp}/second-chance/accept");
        let order = text(&self.buyer.post(&path, &json!({})).send().await.expect(201).body, "order_id").to_owned();
        self.buyer.tell(&order, "pay").await.expect(200);
        seller.post(&format!("/orders/{order}/ship"), &json!({ "carrier": "Post" })).send().await.expect(200);
        self.buyer.tell(&order, "confirm").await.expect(200);
        order
    }
}

#[tokio::test]
async fn a_day_at_the_storefront_leaves_everybody_with_what_is_theirs() {
    let day = Day::begin().await;
    day.prepare().await;
    let goods = day.list().await;
    let code = day.guide.post("/affiliate", &json!({})).send().await.expect(201).body["code"].clone();
    day.buyer.post("/affiliate/clicks", &json!({ "code": code })).send().await.expect(200);
    day.browse(&goods).await;
    let orders = day.check_out(&goods).await;
    day.fulfil(&orders).await;
    // 95.00 less five per cent, which shirts cost, and 30.00 and 40.00 less two.
    let paid_out = [9_500 - 475, 3_000 - 60, 4_000 - 80];
    for (seller, paid_out) in day.sellers.iter().zip(paid_out) {
        assert_eq!(day.has(seller).await, paid_out);
    }
    assert_eq!(day.has(&day.buyer).await, 100_000 - 16_500);
    assert_eq!(day.has(&day.guide).await, 825, "five per cent of all that came by the link");
    let points = day.seen_by(&day.buyer, "/points").await;
    assert_eq!(points["balances"][0]["points"], 95 + 30 + 40);

    let at_the_door = day.serve_guest(&goods).await;
    let second = day.give_second_chance().await;
    assert_eq!(day.has(&day.buyer).await, 100_000 - 16_500 - 2_000);
    assert_eq!(day.has(&day.sellers[1]).await, paid_out[1] + 2_000 - 40);
    assert_eq!(day.has(&day.guide).await, 825 + 100);
    day.pay_out(&day.sellers[0], paid_out[0]).await;
    // Of lamps there is also the order that was not paid.
    for (place, done, all) in [(2, at_the_door, 2), (1, second, 3)] {
        let orders = day.seen_by(&day.sellers[place], "/merchant/orders").await;
        let orders = orders["items"].as_array().or_fail("find the orders");
        assert_eq!(orders.len(), all);
        assert!(
            orders.iter().any(|order| order["id"] == done.as_str() && order["status"] == "completed"),
            "{orders:?}"
        );
    }
    let books = day.seen_by(&day.staff, "/admin/trial-balance").await;
    assert_eq!(books["balanced"], true);
    let pen = day.seen(&format!("/listings/{}", goods.pen)).await;
    assert_eq!(pen["stock"], 5 - 2 - 1);
}
