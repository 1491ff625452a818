//! The history of anything, for auditors and for whom it concerns: what happened, and what was so at any moment.

use serde_json::{Value, json};
use tradepost_tests::bazaar::{Bazaar, auditor};
use tradepost_tests::client::Client;
use tradepost_tests::market::{auction, usd, with};
use tradepost_tests::server::{InProcess, tradepost};

const HOUR_MS: i64 = 3_600_000;
/// What stands for what the reader is not to know.
const HIDDEN: &str = "(hidden)";

/// The history of a thing, as somebody sees it.
async fn history(client: &Client, thing: &str, query: &str) -> Value {
    client.get(&format!("/events/{thing}{query}")).send().await.expect(200).body
}

/// The fields of one kind of event, in order.
fn payloads<'a>(history: &'a Value, event_type: &str) -> Vec<&'a Value> {
    let items = history["items"].as_array().unwrap();
    items.iter().filter(|item| item["event_type"] == event_type).map(|item| &item["payload"][event_type]).collect()
}

fn text(history: &Value) -> String {
    history.to_string()
}

#[tokio::test]
async fn a_history_is_told_to_whom_it_concerns_in_words() {
    let bazaar = Bazaar::open().await;
    let (stranger, auditor) =
        (bazaar.server.client().register("stranger").await, auditor(&bazaar.server, "auditor").await);
    let order = bazaar.sell().await;
    bazaar.ship(&order).await.expect(200);
    let thing = format!("order/{order}");
    for outsider in [&stranger, &bazaar.staff] {
        outsider.get(&format!("/events/{thing}")).send().await.problem(404, "not-found");
    }
    let (of_buyer, of_seller) = (history(&bazaar.buyer, &thing, "").await, history(&bazaar.seller, &thing, "").await);
    let of_auditor = history(&auditor, &thing, "").await;
    let changes = |history: &Value| -> Vec<String> {
        let items = history["items"].as_array().unwrap().iter();
        items.map(|item| item["change"].as_str().unwrap().to_owned()).collect()
    };
    let told = [
        "The order was placed out of a cart: 1 piece.",
        "The order was paid.",
        "The order was shipped, and can be tracked.",
    ];
    assert_eq!(changes(&of_buyer), told);
    assert_eq!((changes(&of_seller), changes(&of_auditor)), (changes(&of_buyer), changes(&of_buyer)));

    // Who did it and what it was, as the log has it.
    let shipped = &of_buyer["items"][2];
    let actor = json!({ "kind": "account", "account": bazaar.seller.account(), "name": null, "capacity": null });
    assert_eq!((&shipped["actor"], &shipped["sequence"]), (&actor, &json!(3)));
    assert_eq!((&shipped["aggregate_type"], &shipped["aggregate_id"]), (&json!("order"), &json!(order)));
    assert_eq!(shipped["payload"]["OrderShipped"]["carrier"], "Post");
    assert_eq!(payloads(&of_buyer, "OrderShipped")[0]["tracking"], "P1");
    assert_eq!(payloads(&of_auditor, "OrderShipped")[0]["tracking"], HIDDEN);
    assert_eq!(of_auditor["items"][2]["redacted"], json!(["/OrderShipped/tracking"]));
    assert!(shipped["cause"]["request"].is_string(), "{shipped}");
    assert_eq!(of_buyer["as_of"]["events"], 3);
    assert_eq!(of_buyer["as_of"]["last_position"], shipped["position"]);
    assert_eq!((&of_buyer["state"], &of_buyer["next_cursor"]), (&Value::Null, &Value::Null));

    // What the marketplace is owed or gives of it is not theirs to see.
    let escrow = history(&bazaar.buyer, &format!("escrow/{order}"), "").await;
    assert_eq!(payloads(&escrow, "EscrowFunded")[0]["postings"], HIDDEN);
    let escrow = history(&auditor, &format!("escrow/{order}"), "").await;
    assert!(payloads(&escrow, "EscrowFunded")[0]["postings"].is_array());

    // In pages.
    let first = history(&bazaar.buyer, &thing, "?limit=2").await;
    let cursor = first["next_cursor"].as_str().unwrap();
    let rest = history(&bazaar.buyer, &thing, &format!("?limit=2&cursor={cursor}")).await;
    assert_eq!(rest["items"], json!([of_buyer["items"][2]]));
    assert_eq!((first["items"].as_array().unwrap().len(), &rest["next_cursor"]), (2, &Value::Null));
    for nothing in
        ["order/x", "unicorn/0190b6c2-6a5e-7b1c-9e55-2f6f6f0f7d11", "order/0190b6c2-6a5e-7b1c-9e55-2f6f6f0f7d11"]
    {
        auditor.get(&format!("/events/{nothing}")).send().await.problem(404, "not-found");
    }
}

#[tokio::test]
async fn what_bidders_and_sellers_keep_secret_stays_so_while_the_auction_goes_on() {
    let bazaar = Bazaar::open().await;
    let auditor = auditor(&bazaar.server, "auditor").await;
    let rival = bazaar.server.client().register("rival").await;
    // Amounts that are nowhere by chance.
    let [reserve, first, second] = [97_771_117, 15_551_115, 23_331_113];
    let secrets = [reserve, first, second].map(|amount| amount.to_string());
    let tells = |history: &Value| secrets.clone().map(|secret| history.to_string().contains(&secret));
    let id = bazaar.seller.schedule(&with(auction(1_000), "reserve_price", usd(reserve))).await;
    bazaar.buyer.bid(&id, first).await.expect(201);
    let at = rival.bid(&id, second).await.expect(201).at();
    let thing = format!("auction/{id}");
    let of = async |client: &Client| history(client, &thing, &format!("?as_of={at}")).await;

    // Each bidder sees what they have bid, nobody sees more; the seller sees the reserve.
    let (of_buyer, of_rival) = (of(&bazaar.buyer).await, of(&rival).await);
    let (of_seller, of_auditor) = (of(&bazaar.seller).await, of(&auditor).await);
    let maxima = |history: &Value| -> Vec<Value> {
        payloads(history, "BidPlaced").iter().map(|bid| bid["maximum"].clone()).collect()
    };
    assert_eq!(maxima(&of_buyer), [usd(first), json!(HIDDEN)]);
    assert_eq!(maxima(&of_rival), [json!(HIDDEN), usd(second)]);
    assert_eq!((maxima(&of_seller), maxima(&of_auditor)), (vec![json!(HIDDEN); 2], vec![json!(HIDDEN); 2]));
    assert_eq!(tells(&of_buyer), [false, true, false], "{of_buyer}");
    assert_eq!(tells(&of_rival), [false, false, true], "{of_rival}");
    assert_eq!(tells(&of_seller), [true, false, false], "{of_seller}");
    assert_eq!(tells(&of_auditor), [false; 3], "{of_auditor}");
    assert_eq!(payloads(&of_seller, "AuctionScheduled")[0]["terms"]["reserve_price"], usd(reserve));

    // Bidders do not learn who the others are, and the same one has the same name throughout.
    let (buyer, competitor) = (bazaar.buyer.account().to_string(), rival.account().to_string());
    assert!(!text(&of_buyer).contains(&competitor) && !text(&of_rival).contains(&buyer));
    assert!(!text(&of_seller).contains(&competitor) && !text(&of_seller).contains(&buyer));
    assert!(text(&of_auditor).contains(&competitor) && text(&of_auditor).contains(&buyer));
    let name = payloads(&of_buyer, "BidPlaced")[1]["bidder"].clone();
    assert!(name.as_str().unwrap().starts_with("someone-"), "{name}");
    assert_eq!(payloads(&of_buyer, "BidPlaced")[1]["standing"]["leader"], name);
    let second_bid = of_buyer["items"].as_array().unwrap().iter().rfind(|item| item["event_type"] == "BidPlaced");
    let actor = json!({ "kind": "someone", "account": null, "name": name, "capacity": null });
    assert_eq!(second_bid.unwrap()["actor"], actor);
    assert_eq!(of_buyer["state"]["Live"]["standing"]["leader"], name);

    // Nor does what is offered tell, nor a search.
    let listing = history(&auditor, &format!("listing/{id}"), "?version=1").await;
    assert_eq!(tells(&listing), [false; 3], "{listing}");
    let found = auditor.get("/events?type=auction").send().await.expect(200).body;
    assert_eq!(found["items"][0]["aggregate_id"], json!(id), "{found}");
    assert_eq!(tells(&found), [false; 3], "{found}");

    // Once it is over, auditors see how it came to its price; for everybody else nothing has changed.
    bazaar.wait(HOUR_MS).await;
    let of_auditor = of(&auditor).await;
    assert_eq!(maxima(&of_auditor), [usd(first), usd(second)]);
    assert_eq!(payloads(&of_auditor, "AuctionScheduled")[0]["terms"]["reserve_price"], usd(reserve));
    assert_eq!(of(&bazaar.buyer).await, of_buyer);
    assert_eq!(of(&bazaar.seller).await, of_seller);
}

#[tokio::test]
async fn a_state_as_of_a_moment_is_what_it_was_then() {
    let bazaar = Bazaar::open().await;
    let (seller, before) = (&bazaar.seller, bazaar.server.database.log_head().await);
    let id = seller.schedule(&auction(1_000)).await;
    let thing = format!("auction/{id}");
    let mut live = Vec::new();
    for (number, cents) in [1_500, 2_000, 3_000, 4_000].into_iter().enumerate() {
        let bidder = bazaar.server.client().register(&format!("bidder-{number}")).await;
        let at = bidder.bid(&id, cents).await.expect(201).at();
        let shown = history(seller, &thing, &format!("?as_of={at}&limit=100")).await;
        assert_eq!(shown["as_of"]["last_position"], at);
        assert_eq!(shown["state"]["Live"]["bids"], number + 1, "{shown}");
        live.push(shown);
        bazaar.wait(60_000).await;
    }
    bazaar.wait(HOUR_MS).await;
    for then in live {
        let [at, time, events] = ["last_position", "recorded_at", "events"].map(|name| &then["as_of"][name]);
        for moment in [format!("as_of={at}"), format!("as_of={}", time.as_str().unwrap()), format!("version={events}")]
        {
            assert_eq!(history(seller, &thing, &format!("?{moment}&limit=100")).await, then, "{moment}");
        }
        // A page of it is a page of what was there then.
        let page = history(seller, &thing, &format!("?version={events}&limit=1")).await;
        assert_eq!((&page["items"][0], &page["state"]), (&then["items"][0], &then["state"]));
    }
    let over = history(seller, &thing, &format!("?as_of={}", bazaar.wait(0).await)).await;
    assert!(over["state"]["Closed"].is_object(), "{over}");

    // Before it was there, it was not there; and of what is to come nobody knows.
    seller.get(&format!("/events/{thing}?as_of={before}")).send().await.problem(404, "not-found");
    for to_come in ["999999999", "2999-01-01T00:00:00Z"] {
        let refused = seller.get(&format!("/events/{thing}?as_of={to_come}")).send().await;
        refused.problem(422, "as-of-in-the-future");
    }
    for (query, code) in [
        ("version=999", "too-far"),
        ("version=0", "out-of-range"),
        ("as_of=yesterday", "invalid"),
        ("as_of=1&version=1", "either-or"),
        ("limit=0", "out-of-range"),
    ] {
        let refused = seller.get(&format!("/events/{thing}?{query}")).send().await.problem(422, "invalid-field");
        assert_eq!(refused.body["errors"][0]["code"], code, "{}", refused.text);
    }
}

/// A state that is the fold of too many events is refused; those that a snapshot spares do not count.
#[tokio::test]
async fn a_state_of_too_many_events_is_refused() {
    let config = api::config::Config {
        past: api::config::Past { events: 100, ..api::config::Past::default() },
        ..api::config::Config::default()
    };
    let bazaar = Bazaar::at(InProcess::start_with(config).await).await;
    let id = bazaar.seller.schedule(&auction(1_000)).await;
    for cents in 1..=205 {
        bazaar.buyer.bid(&id, 1_000 + cents).await.expect(201);
    }
    // It is kept in the background.
    while snapshot_of(&bazaar, &id).await < Some(200) {}
    let path = format!("/events/auction/{id}");
    bazaar.buyer.get(&format!("{path}?version=150")).send().await.problem(422, "history-too-long");
    for version in [100, 206] {
        let told = history(&bazaar.buyer, &format!("auction/{id}"), &format!("?version={version}")).await;
        assert!(told["state"]["Live"].is_object(), "{version}");
    }
    bazaar.buyer.get(&path).send().await.expect(200);
}

/// The version of the snapshot that is kept of an auction.
async fn snapshot_of(bazaar: &Bazaar, id: &str) -> Option<i64> {
    let version =
        sqlx::query_scalar("select version from snapshots where aggregate_type = 'auction' and aggregate_id = $1");
    version.bind(id).fetch_optional(&bazaar.server.app.pool).await.unwrap()
}

/// All that a search finds, page by page.
async fn found(client: &Client, query: &str) -> Vec<Value> {
    let (mut items, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = client.get(&format!("/events?{query}{cursor}")).send().await.expect(200).body;
        items.extend(page["items"].as_array().unwrap().iter().cloned());
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return items,
        }
    }
}

fn positions(items: &[Value]) -> Vec<i64> {
    items.iter().map(|item| item["position"].as_i64().unwrap()).collect()
}

#[tokio::test]
async fn auditors_find_what_happened_by_what_it_was_who_did_it_and_when() {
    let bazaar = Bazaar::open().await;
    let auditor = auditor(&bazaar.server, "auditor").await;
    let order = bazaar.sell().await;
    let noon = bazaar.staff.now().await.to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
    bazaar.wait(60_000).await;
    bazaar.ship(&order).await.expect(200);
    let head = bazaar.wait(0).await;

    let all = found(&auditor, "limit=7").await;
    assert_eq!(positions(&all), (1..=head).collect::<Vec<_>>());
    let mut backwards = positions(&found(&auditor, "limit=7&order=newest").await);
    backwards.reverse();
    assert_eq!(backwards, positions(&all));

    let buyer = bazaar.buyer.account().to_string();
    let by_buyer = found(&auditor, &format!("actor={buyer}&limit=2")).await;
    let expected: Vec<Value> = all.iter().filter(|item| item["actor"]["account"] == buyer.as_str()).cloned().collect();
    assert!(expected.len() > 3, "{expected:?}");
    assert_eq!(by_buyer, expected);
    for (query, field, value) in [
        ("type=escrow", "aggregate_type", "escrow"),
        ("event=OrderShipped", "event_type", "OrderShipped"),
        ("actor=process:payments", "actor", "payments"),
    ] {
        let of = |item: &&Value| item[field] == value || item[field]["name"] == value;
        let expected: Vec<Value> = all.iter().filter(of).cloned().collect();
        assert!(!expected.is_empty(), "{query}");
        assert_eq!(found(&auditor, query).await, expected, "{query}");
    }
    // One request, whatever it led to.
    let shipped = all.iter().find(|item| item["event_type"] == "OrderShipped").unwrap();
    let request = shipped["cause"]["request"].as_str().unwrap();
    let led_to = found(&auditor, &format!("request={request}")).await;
    assert!(led_to.contains(shipped) && led_to.iter().all(|item| item["cause"]["request"] == request), "{led_to:?}");

    // By time: everything is before or after.
    let (until, from) =
        (found(&auditor, &format!("until={noon}")).await, found(&auditor, &format!("from={noon}")).await);
    assert_eq!([until, from.clone()].concat(), all);
    let next_minute = found(&auditor, &format!("from={noon}&type=order")).await;
    let expected: Vec<Value> = from.iter().filter(|item| item["aggregate_type"] == "order").cloned().collect();
    assert!(!expected.is_empty());
    assert_eq!(next_minute, expected);
    for (client, path) in
        [(&auditor, "/events"), (&bazaar.staff, "/admin/audit-logs"), (&bazaar.staff, "/admin/transactions")]
    {
        for far in ["from=-5000-01-01T00:00:00Z", "until=%2B99999-01-01T00:00:00Z"] {
            let refused = client.get(&format!("{path}?{far}")).send().await.problem(422, "invalid-field");
            let name = far.split('=').next().unwrap();
            assert_eq!(refused.body["errors"][0]["pointer"], format!("?{name}"), "{path}?{far}");
        }
    }

    // A cursor belongs to its order; names have an end; and only auditors ask.
    let page = auditor.get("/events?limit=1").send().await.expect(200).body;
    let cursor = page["next_cursor"].as_str().unwrap();
    auditor.get(&format!("/events?order=newest&cursor={cursor}")).send().await.problem(422, "invalid-field");
    auditor.get(&format!("/events?type={}", "x".repeat(201))).send().await.problem(422, "invalid-field");
    assert_eq!(found(&auditor, "type=unicorn").await, Vec::<Value>::new());
    let refused = bazaar.staff.get("/events").send().await.expect(403);
    assert_eq!(refused.body["needed"], "audit", "{}", refused.text);
}

/// What a command that succeeds prints.
async fn said(bazaar: &Bazaar, arguments: &[&str]) -> String {
    let output = tradepost(bazaar.server.database.url(), arguments).output().await.unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn an_operator_sees_what_was_and_what_has_changed() {
    let bazaar = Bazaar::open().await;
    let order = bazaar.sell().await;
    let paid = bazaar.wait(0).await;
    let shipped = bazaar.ship(&order).await.expect(200).at();

    let state = |options: &[&str]| [&["events", "state", "order", &order, "--json"], options].concat().join(" ");
    let read = async |options: &[&str]| -> Value {
        let arguments = state(options);
        let arguments: Vec<&str> = arguments.split(' ').collect();
        serde_json::from_str(&said(&bazaar, &arguments).await).unwrap()
    };
    let (then, now) = (read(&["--as-of", &paid.to_string()]).await, read(&[]).await);
    assert_eq!((&then["version"], &now["version"], &now["position"]), (&json!(2), &json!(3), &json!(shipped)));
    assert_ne!(then["state"], now["state"]);
    assert_eq!(read(&["--version", "2"]).await, then);

    let (from, id) = (paid.to_string(), order.as_str());
    let told = said(&bazaar, &["events", "diff", "--from", &from, "--type", "order", "--id", id, "--json"]).await;
    let lines: Vec<Value> = told.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [difference, sum] = lines.as_slice() else { panic!("{told}") };
    assert_eq!((&difference["from_version"], &difference["to_version"]), (&json!(2), &json!(3)));
    assert_ne!(difference["before"], difference["after"], "{told}");
    assert_eq!((&sum["from"], &sum["things"], &sum["more"]), (&json!(paid), &json!(1), &json!(false)));
    let told = said(&bazaar, &["events", "diff", "--from", &from, "--to", &shipped.to_string()]).await;
    assert!(told.contains(&format!("order {order}   version 2 → 3")), "{told}");
    let none = said(&bazaar, &["events", "diff", "--from", &shipped.to_string(), "--to", &shipped.to_string()]).await;
    assert!(none.starts_with("0 things have changed"), "{none}");
    let few = said(&bazaar, &["events", "diff", "--from", "0", "--limit", "3", "--json"]).await;
    assert_eq!(few.lines().count(), 4, "{few}");
    assert!(few.contains("\"more\":true"), "{few}");
    let all = said(&bazaar, &["events", "diff", "--from", "0", "--limit", "1000000"]).await;
    assert!(!all.contains("and there are more"), "{all}");

    // Everything in full, with its sentence.
    let shown = said(&bazaar, &["events", "show", &order]).await;
    assert!(shown.contains("change    The order was shipped, and can be tracked."), "{shown}");
    for (to_come, why) in [("99999999", "the log has come to position"), ("2999-01-01T00:00:00Z", "it is 20")] {
        let arguments = ["events", "diff", "--from", "0", "--to", to_come];
        let failed = tradepost(bazaar.server.database.url(), &arguments).output().await.unwrap();
        assert!(!failed.status.success() && String::from_utf8_lossy(&failed.stderr).contains(why), "{failed:?}");
    }
}
