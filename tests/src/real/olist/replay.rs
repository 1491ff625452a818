//! The orders through HTTP: sellers and buyers are accounts, money comes from the sandbox, staff gives back what the
//! carrier had already. Only that buyers join is not asked for through HTTP, since the hashing of their passwords would
//! take longer than all the rest.

use std::collections::BTreeMap;

use api::config::Config;
use futures::{StreamExt, TryStreamExt, stream};
use serde_json::{Value, json};

use super::books::Books;
use super::report::Report;
use super::{Fate, Order, Records};
use crate::bazaar;
use crate::client::{Answer, Client};
use crate::database::TestDatabase;
use crate::real::{Failure, bar, unexpected};
use crate::server::InProcess;

/// Requests under way at once. The server turns away whoever makes it hash too many passwords.
const AT_ONCE: usize = 16;
/// The longest page of a list.
const PAGE: usize = 100;

/// Everybody, by their places in the records.
struct People {
    staff: Client,
    sellers: Vec<Client>,
    buyers: Vec<Client>,
}

/// Replays orders on a database of its own on the server at `server`.
pub(super) async fn play(records: &Records, server: &str) -> Result<Report, Failure> {
    let mut settings = Config::default();
    // Tokens follow real time, and a long replay must not outlive them.
    settings.auth.access_token_ttl_s = 86_400;
    let marketplace = InProcess::start_on(TestDatabase::fresh_on(server).await, settings).await;
    let staff = bazaar::staff(&marketplace, "staff").await;
    let played = on(&marketplace, staff, records).await;
    marketplace.stop().await;
    played
}

async fn on(marketplace: &InProcess, staff: Client, records: &Records) -> Result<Report, Failure> {
    let anonymous = &marketplace.client();
    let seller = |number| async move { anonymous.register_seller(&format!("seller-{number}")).await };
    let buyer = |number| async move { marketplace.join(&format!("buyer-{number}")).await };
    let sellers = everybody("sellers", records.sellers.len(), seller).await;
    let buyers = everybody("buyers", records.buyers.len(), buyer).await;
    let people = People { staff, sellers, buyers };
    let listings = offer(&people, records).await?;
    fund(&people, records).await?;
    let placed = buy(&people, records, &listings).await?;
    let head = settle(&people.staff).await?;
    look(&people, records, &placed, head).await
}

async fn everybody<F: Future<Output = Client>>(
    what: &'static str,
    count: usize,
    join: impl Fn(usize) -> F,
) -> Vec<Client> {
    let bar = bar(what, count);
    let joined = stream::iter(0..count).map(join).buffered(AT_ONCE).inspect(|_| bar.inc(1)).collect().await;
    bar.finish_and_clear();
    joined
}

fn brl(cents: i64) -> Value {
    json!({ "amount": cents, "currency": "BRL" })
}

/// Sends a command and expects it to be carried out.
async fn ask(client: &Client, path: &str, body: &Value, what: &str) -> Result<Answer, Failure> {
    let answer = client.post(path, body).attempt().await?;
    if (200..300).contains(&answer.status) { Ok(answer) } else { Err(unexpected(what, &answer)) }
}

fn id_of(value: &Value, what: &str) -> Result<String, Failure> {
    Ok(value["id"].as_str().ok_or_else(|| format!("{what} has no id: {value}"))?.to_owned())
}

/// Offers everything that was sold, in as many pieces.
async fn offer(people: &People, records: &Records) -> Result<Vec<String>, Failure> {
    let bar = bar("listings", records.listings.len());
    let offered = stream::iter(&records.listings).map(|listing| {
        let bar = bar.clone();
        async move {
            let seller = &people.sellers[listing.seller];
            let goods = json!({
                "title": format!("Product {}", listing.product), "category": "records", "condition": "new",
                "price": brl(listing.price), "shipping": brl(listing.freight), "stock": listing.pieces,
            });
            let drafted = ask(seller, "/listings", &goods, &listing.product).await?;
            let id = id_of(&drafted.body, "a listing")?;
            ask(seller, &format!("/listings/{id}/publish"), &json!({}), &listing.product).await?;
            bar.inc(1);
            Ok::<_, Failure>(id)
        }
    });
    let offered = offered.buffered(AT_ONCE).try_collect().await;
    bar.finish_and_clear();
    offered
}

/// Puts into every buyer's wallet what their orders cost, and waits until it is there.
async fn fund(people: &People, records: &Records) -> Result<(), Failure> {
    let mut needed = vec![0; people.buyers.len()];
    for order in &records.orders {
        needed[order.buyer] += records.total(order);
    }
    let bar = bar("deposits", needed.len());
    let deposits = stream::iter(people.buyers.iter().zip(needed)).map(|(buyer, cents)| {
        let bar = bar.clone();
        async move {
            let deposit = json!({ "amount": brl(cents), "payment_method": "sandbox-succeeds" });
            ask(buyer, "/payments/deposit", &deposit, "a deposit").await?;
            bar.inc(1);
            Ok::<_, Failure>(())
        }
    });
    deposits.buffer_unordered(AT_ONCE).try_collect::<Vec<()>>().await?;
    bar.finish_and_clear();
    settle(&people.staff).await.map(drop)
}

/// Waits until processes have taken in everything that has happened, and tells where the log ends.
async fn settle(client: &Client) -> Result<i64, Failure> {
    let answer = ask(client, "/sandbox/clock", &json!({ "advance_ms": 0 }), "the clock").await?;
    Ok(answer.body["position"].as_i64().unwrap_or_default())
}

/// Buys everything and brings it to where the record says. Tells the orders of each checkout.
async fn buy(people: &People, records: &Records, listings: &[String]) -> Result<Vec<Vec<String>>, Failure> {
    let bar = bar("orders", records.orders.len());
    let bought = stream::iter(&records.orders).map(|order| {
        let bar = bar.clone();
        async move {
            let placed = check_out(people, records, listings, order).await?;
            for (id, seller) in &placed {
                follow(people, order, id, &people.sellers[*seller]).await?;
            }
            bar.inc(1);
            Ok::<_, Failure>(placed.into_iter().map(|(id, _)| id).collect())
        }
    });
    let bought = bought.buffered(AT_ONCE).try_collect().await;
    bar.finish_and_clear();
    bought
}

/// Checks out and pays. Tells the orders and the places of their sellers.
async fn check_out(
    people: &People,
    records: &Records,
    listings: &[String],
    order: &Order,
) -> Result<Vec<(String, usize)>, Failure> {
    let buyer = &people.buyers[order.buyer];
    let line = |(listing, quantity): (&usize, &u32)| json!({ "listing_id": listings[*listing], "quantity": quantity });
    let cart = json!({ "lines": order.lines.iter().map(line).collect::<Vec<_>>() });
    let answer = ask(buyer, "/orders", &cart, &order.id).await?;
    let sellers: BTreeMap<String, usize> = records
        .sellers_of(order)
        .into_iter()
        .map(|place| (people.sellers[place].account().to_string(), place))
        .collect();
    let placed = answer.body["orders"].as_array().into_iter().flatten().map(|placed| {
        let seller = placed["seller_id"].as_str().and_then(|seller| sellers.get(seller));
        Ok((id_of(placed, "an order")?, *seller.ok_or_else(|| unexpected(&order.id, &answer))?))
    });
    let placed = placed.collect::<Result<Vec<_>, Failure>>()?;
    if answer.body["total"] != brl(records.total(order)) || placed.len() != sellers.len() {
        return Err(unexpected(&order.id, &answer));
    }
    let Some((first, _)) = placed.first() else { return Err(unexpected(&order.id, &answer)) };
    ask(buyer, &format!("/orders/{first}/pay"), &json!({}), &order.id).await?;
    Ok(placed)
}

/// Brings a paid order to where the record says.
async fn follow(people: &People, order: &Order, id: &str, seller: &Client) -> Result<(), Failure> {
    let buyer = &people.buyers[order.buyer];
    let path = |what: &str| format!("/orders/{id}/{what}");
    let nothing = json!({});
    if matches!(order.fate, Fate::Shipped | Fate::Completed | Fate::Refunded) {
        ask(seller, &path("ship"), &json!({ "carrier": "Correios" }), &order.id).await?;
    }
    match order.fate {
        Fate::Paid | Fate::Shipped => {}
        Fate::Completed => {
            ask(buyer, &path("deliver"), &nothing, &order.id).await?;
            ask(buyer, &path("confirm"), &nothing, &order.id).await?;
        }
        Fate::Cancelled => {
            let by = if order.status == "unavailable" { seller } else { buyer };
            ask(by, &path("cancel"), &json!({ "reason": order.status }), &order.id).await?;
        }
        Fate::Refunded => {
            ask(&people.staff, &path("refund"), &nothing, &order.id).await?;
        }
    }
    Ok(())
}

/// Asks the marketplace what has become of it all, and compares.
async fn look(people: &People, records: &Records, placed: &[Vec<String>], head: i64) -> Result<Report, Failure> {
    let books = Books::of(records);
    let mut report = Report::begin(records, placed, &books);
    let mut shown = BTreeMap::new();
    let bar = bar("balances", people.sellers.len() + people.buyers.len());
    let sellers = stream::iter(people.sellers.iter().zip(&books.sellers).zip(&records.sellers));
    let sellers = sellers.map(|((seller, expected), name)| {
        let bar = bar.clone();
        async move {
            let sales = pages(seller, "/orders?as=seller", head).await?;
            let has = available(seller, head).await?;
            bar.inc(1);
            Ok::<_, Failure>((sales, (format!("seller {name}"), has, *expected)))
        }
    });
    for (sales, balance) in sellers.buffered(AT_ONCE).try_collect::<Vec<_>>().await? {
        report.compare_balance(balance);
        for sale in sales {
            shown.insert(id_of(&sale, "an order")?, sale["status"].as_str().unwrap_or_default().to_owned());
        }
    }
    let buyers = stream::iter(people.buyers.iter().zip(&books.buyers).zip(&records.buyers));
    let buyers = buyers.map(|((buyer, expected), name)| {
        let bar = bar.clone();
        async move {
            let has = available(buyer, head).await?;
            bar.inc(1);
            Ok::<_, Failure>((format!("buyer {name}"), has, *expected))
        }
    });
    for balance in buyers.buffered(AT_ONCE).try_collect::<Vec<_>>().await? {
        report.compare_balance(balance);
    }
    bar.finish_and_clear();
    report.compare_statuses(records, placed, &shown);
    let mut open = Vec::new();
    for status in ["funded", "inspection", "disputed"] {
        open.extend(pages(&people.staff, &format!("/admin/escrow?status={status}"), head).await?);
    }
    let open = open.iter().filter_map(|escrow| escrow["order_id"].as_str()).collect();
    report.compare_escrows(records, placed, &open);
    report.compare_books(&read(&people.staff, "/admin/trial-balance", head).await?.body, &books);
    Ok(report)
}

/// Reads once everything up to `head` shows, however long the read model takes.
async fn read(client: &Client, path: &str, head: i64) -> Result<Answer, Failure> {
    loop {
        let answer = client.get(path).since(head).attempt().await?;
        match (answer.status, answer.slug()) {
            (200, _) => return Ok(answer),
            (503, Some("projection-behind")) => {}
            _ => return Err(unexpected(path, &answer)),
        }
    }
}

/// Every item of a list.
async fn pages(client: &Client, path: &str, head: i64) -> Result<Vec<Value>, Failure> {
    let path = format!("{path}{}limit={PAGE}", if path.contains('?') { '&' } else { '?' });
    let mut items = Vec::new();
    let mut next = path.clone();
    loop {
        let page = read(client, &next, head).await?;
        items.extend(page.body["items"].as_array().into_iter().flatten().cloned());
        match page.body["next_cursor"].as_str() {
            Some(cursor) => next = format!("{path}&cursor={cursor}"),
            None => return Ok(items),
        }
    }
}

async fn available(client: &Client, head: i64) -> Result<i64, Failure> {
    let wallet = read(client, "/wallet", head).await?;
    let balances = wallet.body["balances"].as_array().into_iter().flatten();
    let mut reais = balances.filter(|balance| balance["currency"] == "BRL");
    Ok(reais.next().and_then(|balance| balance["available"]["amount"].as_i64()).unwrap_or(0))
}
