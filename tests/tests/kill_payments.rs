//! SIGKILL of the server at every step of a payment by card, of a refund and of a payout: when it is there again, each
//! has happened exactly once, in the provider's own records and in the books.
//!
//! The steps are met exactly, not by chance: the provider stalls before or after it has done something, or the log takes
//! nothing in while the server is about to write down what it was told.

use std::fs;
use std::time::Duration;

use eventstore::clock::Clock;
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::{Connection, Executor, PgConnection};
use tempfile::TempDir;
use tradepost_tests::bazaar::order_of;
use tradepost_tests::client::{Answer, Ask, Client};
use tradepost_tests::database::TestDatabase;
use tradepost_tests::fail::OrFail;
use tradepost_tests::market::{listing, usd, with};
use tradepost_tests::models;
use tradepost_tests::provider::{self, Moved, Provider};
use tradepost_tests::server::Spawned;

/// How soon to look again.
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// What has not come by then will not come.
const PATIENCE: Duration = Duration::from_secs(30);
/// Longer than until a provider is asked again that could not be asked.
const MINUTE_MS: i64 = 60_000;

/// Where the server is when it is killed.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// It has asked for this path, and nothing is done there yet.
    Asking(&'static str),
    /// What it has asked for is done there, and it does not know.
    Asked(&'static str),
    /// It knows, and is about to write it down.
    Answered(&'static str),
    /// It was told by a webhook, and is about to write it down.
    Told,
    /// It has written down what it was told, and the provider tells it again.
    Noted,
}

/// A marketplace with a provider, killed and started again.
struct Scene {
    provider: Provider,
    database: TestDatabase,
    folder: TempDir,
    server: Spawned,
}

impl Scene {
    async fn open() -> Self {
        let (provider, database) = (Provider::start().await, TestDatabase::fresh().await);
        let folder = TempDir::new().or_fail("make a folder for the settings");
        let settings = format!(
            "[stripe]\napi_key = '{}'\nwebhook_secrets = '{}'\napi_base = '{}'\n",
            provider::KEY,
            provider::WEBHOOK_SECRET,
            provider.address(),
        );
        fs::write(folder.path().join("tradepost.toml"), settings).or_fail("write the settings");
        let server = start(&database, &folder).await;
        Self { provider, database, folder, server }
    }

    /// SIGKILL, and another start.
    async fn restart(self) -> Self {
        let Self { provider, database, folder, server } = self;
        server.kill().await;
        let server = start(&database, &folder).await;
        Self { provider, database, folder, server }
    }

    /// Somebody who was there before, at the server that is there now.
    fn at(&self, client: &Client) -> Client {
        client.at(self.server.address())
    }

    /// The provider tells what has happened since it last did, the oldest first.
    async fn tell(&self, events: &[Value]) {
        for event in events {
            deliver(self.server.client(), event.clone()).await.or_fail("deliver a webhook").expect(200);
        }
    }

    /// Everything has come to an end that was on its way: what was asked is answered, what happened is told.
    async fn settle(&self) {
        for wait_ms in [0, MINUTE_MS, 0] {
            self.server.client().advance(wait_ms).await;
            for payout in self.provider.moved("payout") {
                if payout.status == "pending" {
                    self.provider.pay(&payout.id);
                }
            }
            self.tell(&self.provider.events()).await;
        }
        self.server.client().advance(0).await;
    }

    /// The balance of a kind of ledger account in cents, credits counting up, as the log posts it.
    async fn book(&self, kind: &str) -> i64 {
        let query = "with postings as (
                select json_array_elements(body -> 'postings') as posting
                from events, json_each(payload) as event (name, body)
                where json_typeof(body -> 'postings') = 'array'
            ), sides as (
                select posting ->> 'credit' as account, (posting -> 'amount' ->> 'amount')::bigint as amount from postings
                union all
                select posting ->> 'debit', -(posting -> 'amount' ->> 'amount')::bigint from postings
            )
            select coalesce(sum(amount), 0)::bigint from sides where account like $1 || ':%'";
        let balance = sqlx::query_scalar(query).bind(kind).fetch_one(&mut self.database.connect().await).await;
        balance.or_fail("read the books")
    }

    /// The server stops in order, and what it leaves is whole.
    async fn ends_well(self) {
        assert!(self.server.terminate().await.status.success());
        models::assert_equal_their_rebuild(&self.database).await;
    }

    /// How many events of a kind there are.
    async fn count(&self, event: &str) -> i64 {
        let query = "select count(*) from events where event_type = $1";
        let count = sqlx::query_scalar(query).bind(event).fetch_one(&mut self.database.connect().await).await;
        count.or_fail("count events")
    }
}

async fn start(database: &TestDatabase, folder: &TempDir) -> Spawned {
    let file = folder.path().join("tradepost.toml");
    let file = file.to_str().or_fail("write the name of the settings");
    Spawned::start(database.url(), &["--sandbox", "--config", file]).await
}

async fn deliver(client: Client, event: Value) -> Result<Answer, reqwest::Error> {
    let body = event.to_string();
    let signature = provider::signature(provider::WEBHOOK_SECRET, Clock::real_now().timestamp(), &body);
    let ask = client.ask(&Method::POST, "/api/v1/payments/webhooks/stripe");
    ask.header("stripe-signature", &signature).raw("application/json", body).attempt().await
}

/// The log takes nothing in until this goes.
struct Shut(PgConnection);

impl Shut {
    async fn the_log_of(database: &TestDatabase) -> Self {
        let mut connection = database.connect().await;
        let shut = connection.execute("begin; lock table events in share mode").await;
        shut.or_fail("shut the log");
        Self(connection)
    }

    /// Until somebody stands before it.
    async fn knocked(&mut self) {
        let waiting = "select exists (select from pg_locks where relation = 'events'::regclass and not granted)";
        let knocked = async {
            while !sqlx::query_scalar::<_, bool>(waiting)
                .fetch_one(&mut self.0)
                .await
                .or_fail("look who waits for the log")
            {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        tokio::time::timeout(PATIENCE, knocked).await.or_fail("wait longer for somebody to write");
    }

    async fn open(self) {
        self.0.close().await.or_fail("open the log");
    }
}

/// Begins something, has the server killed at a step of it, and lets all of it come to its end.
async fn killed(scene: Scene, step: Step, begin: impl AsyncFnOnce(&Scene)) -> Scene {
    eprintln!("killed at {step:?}");
    let scene = match step {
        Step::Asking(path) => {
            let mut stalled = scene.provider.stall_before(Method::POST, path);
            begin(&scene).await;
            stalled.reached().await;
            scene.restart().await
        }
        Step::Asked(path) => {
            let mut stalled = scene.provider.stall_after(Method::POST, path);
            begin(&scene).await;
            stalled.reached().await;
            scene.restart().await
        }
        Step::Answered(path) => {
            let mut stalled = scene.provider.stall_after(Method::POST, path);
            begin(&scene).await;
            stalled.reached().await;
            let mut shut = Shut::the_log_of(&scene.database).await;
            stalled.go_on();
            shut.knocked().await;
            let Scene { provider, database, folder, server } = scene;
            server.kill().await;
            shut.open().await;
            let server = start(&database, &folder).await;
            Scene { provider, database, folder, server }
        }
        Step::Told => {
            begin(&scene).await;
            scene.server.client().advance(0).await;
            let events = scene.provider.events();
            let mut shut = Shut::the_log_of(&scene.database).await;
            let telling = events.iter().map(|event| tokio::spawn(deliver(scene.server.client(), event.clone())));
            let telling: Vec<_> = telling.collect();
            shut.knocked().await;
            let Scene { provider, database, folder, server } = scene;
            server.kill().await;
            shut.open().await;
            telling.iter().for_each(tokio::task::JoinHandle::abort);
            let server = start(&database, &folder).await;
            let scene = Scene { provider, database, folder, server };
            // Nobody has said that it was heard, so it is told again.
            scene.tell(&events).await;
            scene
        }
        Step::Noted => {
            begin(&scene).await;
            scene.server.client().advance(0).await;
            let events = scene.provider.events();
            scene.tell(&events).await;
            let scene = scene.restart().await;
            scene.tell(&events).await;
            scene
        }
    };
    scene.settle().await;
    scene
}

/// The only thing of a kind that the provider has moved.
fn only(moved: &[Moved]) -> Moved {
    let [only] = moved else { panic!("exactly once, and not so: {moved:#?}") };
    only.clone()
}

/// A seller, a buyer, and an order of 105.00 that is not paid yet.
struct Sale {
    buyer: Client,
    order: String,
}

impl Sale {
    async fn begin(scene: &Scene) -> Self {
        let nobody = scene.server.client();
        let (seller, buyer) = (nobody.register_seller("seller").await, nobody.register("buyer").await);
        let listing = seller.offer(&with(with(listing(10_000), "stock", 1), "shipping", usd(500))).await;
        let order = order_of(&buyer.check_out(&[(&listing, 1)], "later").await.expect(201));
        Self { buyer, order }
    }

    async fn pay(&self, scene: &Scene, card: &str) {
        self.begin_to_pay(scene, card).send().await.expect(202);
    }

    fn begin_to_pay(&self, scene: &Scene, card: &str) -> Ask {
        let body = json!({ "payment_method": card });
        scene.at(&self.buyer).post(&format!("/orders/{}/pay", self.order), &body)
    }

    async fn status(&self, scene: &Scene) -> String {
        let now = scene.server.client().advance(0).await;
        let order = scene.at(&self.buyer).get(&format!("/orders/{}", self.order)).since(now).send().await.expect(200);
        order.body["status"].as_str().or_fail("find the status").to_owned()
    }
}

/// What an order of these tests costs.
const PRICE: i64 = 10_500;
/// What a seller brings in, and sends out, in cents.
const DEPOSIT: i64 = 20_000;
const PAYOUT: i64 = 15_000;
/// A checkout that is not paid by then has expired.
const EXPIRED_MS: i64 = 20 * 60 * 1_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payment_by_card_happens_once_wherever_the_server_is_killed() {
    let intents = "/v1/payment_intents";
    for step in [Step::Asking(intents), Step::Asked(intents), Step::Answered(intents), Step::Told, Step::Noted] {
        let scene = Scene::open().await;
        let sale = Sale::begin(&scene).await;
        // Otherwise the answer says it all, and a webhook has nothing to tell.
        let waits = matches!(step, Step::Told | Step::Noted);
        let scene = killed(scene, step, async |scene| {
            if waits {
                sale.pay(scene, provider::ASKS).await;
                scene.server.client().advance(0).await;
                scene.provider.confirm(&only(&scene.provider.moved("payment_intent")).id);
            } else {
                // Nobody lives to have the answer.
                drop(tokio::spawn(sale.begin_to_pay(scene, provider::GOOD).attempt()));
            }
        })
        .await;
        let moved = only(&scene.provider.moved("payment_intent"));
        assert_eq!((moved.amount, &*moved.status), (PRICE, "succeeded"), "{step:?}");
        assert_eq!(scene.count("ChargeSucceeded").await, 1, "{step:?}");
        assert_eq!(scene.count("EscrowFunded").await, 1, "{step:?}");
        assert_eq!(sale.status(&scene).await, "paid", "{step:?}");
        assert_eq!((scene.book("escrow").await, scene.book("unapplied").await), (PRICE, 0), "{step:?}");
        assert!(scene.provider.moved("refund").is_empty(), "{step:?}");
        scene.ends_well().await;
    }
}

/// Of a payment that came too late, which goes back by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refund_happens_once_wherever_the_server_is_killed() {
    let refunds = "/v1/refunds";
    for step in [Step::Asking(refunds), Step::Asked(refunds), Step::Answered(refunds), Step::Told, Step::Noted] {
        let scene = Scene::open().await;
        let sale = Sale::begin(&scene).await;
        sale.pay(&scene, provider::ASKS).await;
        scene.server.client().advance(EXPIRED_MS).await;
        scene.tell(&scene.provider.events()).await;
        scene.provider.confirm(&only(&scene.provider.moved("payment_intent")).id);
        let paid = scene.provider.events();
        scene.provider.refunds_wait(matches!(step, Step::Told | Step::Noted));
        let scene = killed(scene, step, async |scene| {
            scene.tell(&paid).await;
            if matches!(step, Step::Told | Step::Noted) {
                scene.server.client().advance(0).await;
                scene.provider.finish_refund(&only(&scene.provider.moved("refund")).id);
            }
        })
        .await;
        let moved = only(&scene.provider.moved("refund"));
        assert_eq!((moved.amount, &*moved.status), (PRICE, "succeeded"), "{step:?}");
        assert_eq!(sale.status(&scene).await, "cancelled", "{step:?}");
        assert_eq!(scene.count("ChargeRefunded").await, 1, "{step:?}");
        for account in ["unapplied", "refund-pending", "escrow", "available"] {
            assert_eq!(scene.book(account).await, 0, "{account} {step:?}");
        }
        scene.ends_well().await;
    }
}

/// To a seller, by way of the seller's balance at the provider.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payout_happens_once_wherever_the_server_is_killed() {
    let (transfers, payouts) = ("/v1/transfers", "/v1/payouts");
    let steps = [
        Step::Asking(transfers),
        Step::Asked(transfers),
        Step::Asking(payouts),
        Step::Asked(payouts),
        Step::Answered(payouts),
        Step::Told,
        Step::Noted,
    ];
    for step in steps {
        let scene = Scene::open().await;
        let seller = scene.server.client().register_seller("seller").await;
        seller.deposit(DEPOSIT, provider::GOOD).await.expect(202);
        let merchant = scene.provider.merchant();
        scene.server.client().advance(0).await;
        scene.tell(&scene.provider.events()).await;
        let scene = killed(scene, step, async |scene| {
            scene.at(&seller).withdraw(PAYOUT, &merchant).await.expect(202);
            if matches!(step, Step::Told | Step::Noted) {
                scene.server.client().advance(0).await;
                scene.provider.pay(&only(&scene.provider.moved("payout")).id);
            }
        })
        .await;
        let (transfer, payout) = (only(&scene.provider.moved("transfer")), only(&scene.provider.moved("payout")));
        assert_eq!((transfer.amount, payout.amount, &*payout.status), (PAYOUT, PAYOUT, "paid"), "{step:?}");
        assert!(scene.provider.moved("transfer_reversal").is_empty(), "{step:?}");
        for event in ["WithdrawalRequested", "WithdrawalPaid"] {
            assert_eq!(scene.count(event).await, 1, "{event} {step:?}");
        }
        assert_eq!((scene.book("available").await, scene.book("payout-pending").await), (DEPOSIT - PAYOUT, 0));
        scene.ends_well().await;
    }
}
