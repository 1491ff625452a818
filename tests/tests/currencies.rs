//! Many currencies in one deployment: each has wallets, books and points of its own, and nothing is ever converted. The
//! same story, from a listing to the payout, in a currency with two decimals, with none and with three.

use serde_json::{Value, json};
use tradepost_tests::bazaar::{Bazaar, DAY_MS, order_of};
use tradepost_tests::client::{Answer, Client};
use tradepost_tests::market::{listing, usd, with};

/// Price and shipping of the goods, and what comes of them, in minor units of any currency.
const PRICE: i64 = 10_001;
const SHIPPING: i64 = 500;
const GROSS: i64 = PRICE + SHIPPING;
/// Of the plan `gold`, 150 basis points: 157.515, rounded half-up.
const FEE: i64 = 158;
/// Five per cent: 525.05.
const COMMISSION: i64 = 525;
/// What a period of the plan costs.
const PLAN: i64 = 700;
/// What buyer and seller bring in.
const BROUGHT: i64 = 30_000;

/// A currency, and what is particular to it.
struct Case {
    code: &'static str,
    /// How many points `GROSS` earns.
    points: i64,
    /// The same of what is left of it when those have paid for a part.
    points_of_rest: i64,
    /// `GROSS` in words.
    words: &'static str,
}

/// Somebody of each kind who trade in one currency.
struct Trade {
    case: Case,
    bazaar: Bazaar,
    affiliate: Client,
}

fn items(page: &Value) -> Vec<Value> {
    page["items"].as_array().unwrap().clone()
}

impl Trade {
    async fn open(case: Case) -> Self {
        let bazaar = Bazaar::open().await;
        let affiliate = bazaar.server.client().register("affiliate").await;
        let enrolled = affiliate.post("/affiliate", &json!({})).send().await.expect(201);
        let click = json!({ "code": enrolled.body["code"] });
        bazaar.buyer.post("/affiliate/clicks", &click).send().await.expect(200);
        Self { case, bazaar, affiliate }
    }

    fn amount(&self, minor: i64) -> Value {
        json!({ "amount": minor, "currency": self.case.code })
    }

    async fn get(&self, client: &Client, path: &str) -> Value {
        let now = self.bazaar.wait(0).await;
        client.get(path).since(now).send().await.expect(200).body
    }

    async fn deposit(&self, client: &Client, minor: i64) {
        let body = json!({ "amount": self.amount(minor), "payment_method": "sandbox-succeeds" });
        client.post("/payments/deposit", &body).send().await.expect(202);
        self.bazaar.wait(0).await;
    }

    async fn withdraw(&self, client: &Client, minor: i64) -> Answer {
        let body = json!({ "amount": self.amount(minor), "payment_method": "sandbox-succeeds" });
        client.post("/payments/withdraw", &body).send().await
    }

    /// What somebody has available in this currency.
    async fn available(&self, client: &Client) -> i64 {
        let wallet = self.get(client, "/wallet").await;
        let balances = wallet["balances"].as_array().unwrap().clone();
        let balance = balances.into_iter().find(|balance| balance["currency"] == self.case.code);
        balance.map_or(0, |balance| balance["available"]["amount"].as_i64().unwrap())
    }

    /// The balance of one kind of ledger account in this currency, credits counting up. All currencies must balance.
    async fn book(&self, kind: &str) -> i64 {
        let books = self.get(&self.bazaar.staff, "/admin/trial-balance").await;
        assert_eq!(books["balanced"], json!(true), "{books:#}");
        let currencies = books["currencies"].as_array().unwrap().clone();
        let currency = currencies.into_iter().find(|currency| currency["currency"] == self.case.code);
        let accounts = currency.map_or_else(Vec::new, |currency| currency["accounts"].as_array().unwrap().clone());
        let account = accounts.iter().find(|account| account["kind"] == kind);
        account.map_or(0, |account| account["balance"].as_str().unwrap().parse().unwrap())
    }

    async fn points(&self) -> i64 {
        let shown = self.get(&self.bazaar.buyer, "/points").await;
        let balances = shown["balances"].as_array().unwrap().clone();
        let balance = balances.into_iter().find(|balance| balance["currency"] == self.case.code);
        balance.map_or(0, |balance| balance["points"].as_i64().unwrap())
    }

    /// Offers goods in this currency.
    async fn offer(&self) -> String {
        let goods = with(with(listing(1), "price", self.amount(PRICE)), "shipping", self.amount(SHIPPING));
        self.bazaar.seller.offer(&with(goods, "stock", 3)).await
    }

    /// Buys one piece with so many points, and pays it from the wallet.
    async fn buy(&self, item: &str, points: i64) -> Answer {
        let body = json!({ "lines": [{ "listing_id": item, "quantity": 1 }], "pay": "now", "points": points });
        self.bazaar.buyer.post("/orders", &body).send().await
    }

    async fn complete(&self, order: &str) {
        self.bazaar.ship(order).await.expect(200);
        self.bazaar.buyer.tell(order, "confirm").await.expect(200);
    }

    /// Sells the plan `gold` to the seller.
    async fn subscribe(&self) {
        let gold = json!({
            "name": "Gold", "prices": [usd(PLAN), { "amount": PLAN, "currency": "JPY" },
                { "amount": PLAN, "currency": "KWD" }],
            "fee_bps": 150, "reason": "For all.",
        });
        self.bazaar.staff.put("/admin/plans/gold", &gold).send().await.expect(201);
        let wanted = json!({ "plan": "gold", "currency": self.case.code });
        let bought = self.bazaar.seller.post("/subscriptions/purchase", &wanted).send().await.expect(201);
        assert_eq!(bought.body["charged"], self.amount(PLAN));
        self.bazaar.seller.post("/subscriptions/cancel", &json!({})).send().await.expect(200);
    }
}

/// The whole story.
async fn from_listing_to_payout(case: Case) {
    let trade = Trade::open(case).await;
    let Trade { bazaar, affiliate, .. } = &trade;
    let (seller, buyer) = (&bazaar.seller, &bazaar.buyer);
    // Nobody pays with money of another currency.
    let item = trade.offer().await;
    let dollars = if trade.case.code == "USD" { 100_000 } else { 0 };
    if dollars == 0 {
        let refused = trade.buy(&item, 0).await.problem(422, "insufficient-funds");
        let told = (&refused.body["requested"], &refused.body["available"]);
        assert_eq!(told, (&trade.amount(GROSS), &trade.amount(0)));
        assert!(refused.body["detail"].as_str().unwrap().contains(trade.case.words), "{}", refused.text);
    }
    trade.deposit(buyer, BROUGHT).await;
    trade.deposit(seller, BROUGHT).await;
    trade.subscribe().await;
    assert_eq!((trade.available(seller).await, trade.book("deferred-revenue").await), (BROUGHT - PLAN, PLAN));

    // An order from end to end.
    let bought = trade.buy(&item, 0).await.expect(201);
    assert_eq!(bought.body["total"], trade.amount(GROSS));
    let first = order_of(&bought);
    assert_eq!((trade.book("escrow").await, trade.book("affiliate-pending").await), (GROSS, COMMISSION));
    trade.complete(&first).await;
    assert_eq!((trade.book("escrow").await, trade.book("fee-income").await), (0, FEE));
    assert_eq!(trade.available(seller).await, BROUGHT - PLAN + GROSS - FEE);
    assert_eq!(trade.available(affiliate).await, COMMISSION);
    let points = trade.case.points;
    assert_eq!(trade.points().await, points);
    let earned = trade.get(affiliate, "/affiliate").await;
    assert_eq!(earned["earnings"][0]["vested"], trade.amount(COMMISSION));

    // Another one, for which points pay, and all of which goes back in two parts.
    let bought = trade.buy(&item, points).await.expect(201);
    assert_eq!(bought.body["total"], trade.amount(GROSS - points));
    let second = order_of(&bought);
    assert_eq!((trade.points().await, trade.book("marketing-expense").await), (0, -points));
    trade.complete(&second).await;
    assert_eq!(trade.points().await, trade.case.points_of_rest);
    let refund = format!("/orders/{second}/refund");
    let other = if trade.case.code == "USD" { "JPY" } else { "USD" };
    let foreign = json!({ "amount": { "amount": 1, "currency": other } });
    let refused = seller.post(&refund, &foreign).send().await;
    assert_eq!(refused.status, 422, "{}", refused.text);
    seller.post(&refund, &json!({ "amount": trade.amount(1_001) })).send().await.expect(200);
    seller.post(&refund, &json!({})).send().await.expect(200);
    assert_eq!((trade.points().await, trade.book("marketing-expense").await), (points, 0));
    assert_eq!(trade.available(buyer).await, dollars + BROUGHT - GROSS);
    assert_eq!(trade.available(seller).await, BROUGHT - PLAN + GROSS - FEE);
    assert_eq!((trade.available(affiliate).await, trade.book("fee-income").await), (COMMISSION, FEE));

    // The subscription is earned, everybody takes out what is theirs, and nothing is left but what was earned.
    bazaar.wait(30 * DAY_MS).await;
    assert_eq!((trade.book("deferred-revenue").await, trade.book("subscription-income").await), (0, PLAN));
    for client in [seller, buyer, affiliate] {
        let all = trade.available(client).await;
        trade.withdraw(client, all + 1).await.problem(422, "insufficient-funds");
        trade.withdraw(client, all).await.expect(202);
        bazaar.wait(0).await;
        assert_eq!(trade.available(client).await, 0);
    }
    let marketplace = FEE + PLAN - COMMISSION;
    assert_eq!(
        trade.book("provider-clearing").await,
        -marketplace,
        "what is left at the provider is the marketplace's"
    );
    for kind in ["available", "held", "payout-pending", "escrow", "receivable", "affiliate-pending"] {
        assert_eq!(trade.book(kind).await, 0, "{kind}");
    }
    trade.shown_in_its_currency(&first).await;
}

impl Trade {
    /// What was done with this currency is shown in it everywhere, and no other has moved.
    async fn shown_in_its_currency(&self, order: &str) {
        let Self { case, bazaar, .. } = self;
        let moved = self.get(&bazaar.seller, "/payments/transactions?limit=100").await;
        for row in items(&moved) {
            assert_eq!(
                (&row["amount"]["currency"], &row["balance_after"]["currency"]),
                (&json!(case.code), &json!(case.code))
            );
        }
        let shown = self.get(&bazaar.seller, &format!("/orders/{order}")).await;
        assert_eq!(shown["total"], self.amount(GROSS));
        let books = self.get(&bazaar.staff, "/admin/trial-balance").await;
        let currencies = books["currencies"].as_array().unwrap();
        let codes: Vec<&str> = currencies.iter().map(|currency| currency["currency"].as_str().unwrap()).collect();
        // The buyer of the bazaar has dollars, which nobody has touched.
        let expected = if case.code == "USD" { vec!["USD"] } else { vec![case.code, "USD"] };
        assert_eq!(codes, expected);
        if case.code != "USD" {
            let now = bazaar.wait(0).await;
            assert_eq!(bazaar.buyer.available(now).await, 100_000);
            assert_eq!(bazaar.seller.available(now).await, 0);
        }
    }
}

#[tokio::test]
async fn dollars_go_from_a_listing_to_a_payout() {
    Box::pin(from_listing_to_payout(Case { code: "USD", points: 105, points_of_rest: 103, words: "105.01 USD" })).await;
}

#[tokio::test]
async fn yen_have_no_decimals_on_that_way() {
    Box::pin(from_listing_to_payout(Case { code: "JPY", points: 105, points_of_rest: 103, words: "10501 JPY" })).await;
}

#[tokio::test]
async fn dinars_have_three_on_that_way() {
    Box::pin(from_listing_to_payout(Case { code: "KWD", points: 10, points_of_rest: 10, words: "10.501 KWD" })).await;
}

#[tokio::test]
async fn what_is_in_two_currencies_is_not_added_up() {
    let bazaar = Bazaar::open().await;
    let price = |code: &str| json!({ "amount": 1_000, "currency": code });
    let mut goods = Vec::new();
    for code in ["USD", "JPY", "KWD"] {
        goods.push(bazaar.seller.offer(&with(listing(1), "price", price(code))).await);
    }
    for pair in [[0, 1], [1, 2], [2, 0]] {
        let lines = pair.map(|index| json!({ "listing_id": goods[index], "quantity": 1 }));
        let body = json!({ "lines": lines, "pay": "later" });
        bazaar.buyer.post("/orders", &body).send().await.problem(422, "several-currencies");
    }
    // A listing has one currency, shipping and forms included.
    let mixed = with(with(listing(1), "price", price("JPY")), "shipping", price("KWD"));
    let refused = bazaar.seller.post("/listings", &mixed).send().await;
    assert_eq!(refused.status, 422, "{}", refused.text);
    // Dollars pay neither yen nor dinars, be it by so many more than it costs.
    for item in &goods[1..] {
        let body = json!({ "lines": [{ "listing_id": item, "quantity": 1 }], "pay": "now" });
        bazaar.buyer.post("/orders", &body).send().await.problem(422, "insufficient-funds");
    }
    let abroad = json!({ "plan": "premium", "currency": "KWD" });
    bazaar.buyer.post("/subscriptions/purchase", &abroad).send().await.problem(422, "not-sold-in-currency");
}

#[tokio::test]
async fn an_auction_in_dinars_rises_by_their_own_steps() {
    let bazaar = Bazaar::open().await;
    let dinars = |fils: i64| json!({ "amount": fils, "currency": "KWD" });
    let sale = with(tradepost_tests::market::auction(1), "start_price", dinars(10_000));
    let id = bazaar.seller.schedule(&sale).await;
    let bid = |client: &Client, fils: i64| {
        client.post(&format!("/auctions/{id}/bids"), &json!({ "maximum": dinars(fils) })).send()
    };
    let foreign = bazaar.buyer.bid(&id, 100_000).await;
    assert_eq!(foreign.status, 422, "{}", foreign.text);
    bid(&bazaar.buyer, 20_000).await.expect(201);
    let rival = bazaar.server.client().register("rival").await;
    // Half a dinar on top of ten.
    bid(&rival, 10_499).await.problem(422, "bid-too-low");
    let accepted = bid(&rival, 10_500).await.expect(201);
    let shown = bazaar.buyer.auction(&id, accepted.at()).await;
    assert_eq!(shown["price"], dinars(11_000));
    let now = bazaar.wait(3_600_000).await;
    let bought = bazaar.buyer.get("/profile/purchases").since(now).send().await.expect(200).body;
    assert_eq!(items(&bought)[0]["total"], dinars(11_000));
}
