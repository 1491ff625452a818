//! The contract: what `routes.tsv` promises is described in the OpenAPI document and is served; the documentation works
//! without a network.

use std::collections::BTreeSet;

use api::http::paths::routes;
use domain::account::Capability;
use reqwest::Method;
use serde_json::{Value, json};
use tradepost_tests::bazaar::{Bazaar, empower};
use tradepost_tests::client::Client;
use tradepost_tests::market::{listing, with};
use tradepost_tests::server::InProcess;

/// The document and its page do not describe themselves.
const UNDESCRIBED: [&str; 2] = ["/schema", "/docs"];

async fn document(client: &Client) -> Value {
    client.ask(&Method::GET, "/api/schema").send().await.expect(200).body
}

#[tokio::test]
async fn every_promised_route_is_described_and_its_old_names_are_deprecated() {
    let server = InProcess::start().await;
    let document = document(&server.client()).await;
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1."), "{}", document["openapi"]);
    let mut missing = Vec::new();
    for route in routes().filter(|route| !UNDESCRIBED.contains(&route.path)) {
        let operation = |path: &str| {
            document["paths"][format!("/api/v1{path}")].get(route.method.to_lowercase()).cloned().unwrap_or_default()
        };
        let canonical = operation(route.path);
        if canonical["responses"].is_null() || canonical["summary"].as_str().is_none_or(str::is_empty) {
            missing.push(format!("{} {}", route.method, route.path));
        }
        if !canonical["deprecated"].is_null() && canonical["deprecated"] != false {
            missing.push(format!("{} {} is deprecated", route.method, route.path));
        }
        for also in &route.also {
            if operation(also)["deprecated"] != true {
                missing.push(format!("{} {also} (also {})", route.method, route.path));
            }
        }
    }
    assert!(missing.is_empty(), "not in /api/schema as promised: {missing:#?}");
}

#[tokio::test]
async fn every_promised_route_answers_by_each_of_its_names() {
    let server = InProcess::start().await;
    let nobody = server.client();
    for route in routes() {
        let method: Method = route.method.parse().unwrap();
        let names = route.also.iter().chain([&route.path]).flat_map(|path| {
            let path = path.replace("{id}", &uuid::Uuid::from_u128(7).to_string());
            let at_root = route.at_root().then(|| path.clone());
            [format!("/api/v1{path}"), format!("/api{path}")].into_iter().chain(at_root)
        });
        for path in names.collect::<Vec<_>>() {
            let answer = nobody.ask(&method, &path).send().await;
            let unserved = answer.status == 405 || answer.slug() == Some("no-such-route");
            assert!(!unserved, "{method} {path}: {} {}", answer.status, answer.text);
            assert!(answer.status < 500, "{method} {path}: {} {}", answer.status, answer.text);
        }
    }
}

#[tokio::test]
async fn an_old_name_answers_what_the_route_answers() {
    let bazaar = all_seeing().await;
    let category = json!({ "slug": "clerk", "name": "Of clerks" });
    bazaar.staff.post("/admin/categories", &category).send().await.expect(201);
    let offered = bazaar.seller.offer(&with(listing(100), "category", "clerk")).await;
    let names = json!({ "slug": "sellers", "brand_name": "Sellers" });
    let opened = bazaar.seller.put("/seller-profiles/me", &names).send().await;
    assert!([200, 201].contains(&opened.status), "{}", opened.text);
    let now = bazaar.wait(0).await;
    let of = async |client: &Client, path: &str| client.get(path).since(now).send().await.expect(200).body;
    for (old, name) in [
        ("/games", "/categories"),
        ("/games/clerk", "/categories/clerk"),
        ("/games/clerk/listings", "/categories/clerk/listings"),
    ] {
        assert_eq!(of(&bazaar.buyer, old).await, of(&bazaar.buyer, name).await, "{old}");
    }
    assert_eq!(of(&bazaar.buyer, "/games/clerk/listings").await["items"][0]["id"], offered.as_str());
    assert_eq!(of(&bazaar.seller, "/merchant/me").await["slug"], "sellers");
}

#[tokio::test]
async fn every_reference_of_the_document_resolves_and_every_operation_has_its_own_id() {
    let server = InProcess::start().await;
    let document = document(&server.client()).await;
    let mut references = BTreeSet::new();
    collect_references(&document, &mut references);
    assert!(references.len() > 10, "{references:?}");
    for reference in references {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
    }
    let mut ids = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            if let Some(id) = operation["operationId"].as_str() {
                assert!(ids.insert(id.to_owned()), "{method} {path} shares the id {id}");
            }
        }
    }
}

fn collect_references(value: &Value, references: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            if let Some(Value::String(reference)) = fields.get("$ref") {
                references.insert(reference.clone());
            }
            fields.values().for_each(|field| collect_references(field, references));
        }
        Value::Array(items) => items.iter().for_each(|item| collect_references(item, references)),
        _ => {}
    }
}

/// Whether an operation documents a parameter of this name.
fn takes(operation: &Value, name: &str) -> bool {
    operation["parameters"].as_array().into_iter().flatten().any(|parameter| parameter["name"] == name)
}

/// Every operation of the document, by method and path.
fn operations(document: &Value) -> impl Iterator<Item = (&str, &str, &Value)> {
    document["paths"].as_object().unwrap().iter().flat_map(|(path, item)| {
        let methods = item.as_object().unwrap().iter().filter(|(_, operation)| operation["responses"].is_object());
        methods.map(move |(method, operation)| (method.as_str(), path.as_str(), operation))
    })
}

/// A marketplace whose staff audit as well.
async fn all_seeing() -> Bazaar {
    let bazaar = Bazaar::open().await;
    empower(&bazaar.server, &bazaar.staff, [Capability::Staff, Capability::Audit].into()).await;
    bazaar
}

/// Lets somebody sell, in a store that is called `clerk`.
async fn open_store(client: &Client) -> i64 {
    let store = json!({ "slug": "clerk", "brand_name": "Clerk" });
    client.ask(&Method::PUT, "/api/v1/merchant/me").json(&store).send().await.expect(201).at()
}

#[tokio::test]
async fn exactly_what_waits_for_a_position_is_described_as_waiting() {
    let bazaar = all_seeing().await;
    open_store(&bazaar.staff).await;
    let order = bazaar.sell().await;
    let document = document(&bazaar.staff).await;
    let far = bazaar.server.database.log_head().await + 1_000;
    // Staff have no receipts, and what is not theirs is not there.
    let asked = |path: &str| !path.contains("/ws/") && !path.contains("/receipts/");
    let reads = operations(&document).filter(|(method, path, _)| *method == "get" && asked(path));
    let ask = async |path: &str, operation: &Value| {
        let path = path.replace("{id}", &order).replace("{order_id}", &order).replace("{slug}", "terms");
        let path = path.replace("{month}", "2026-01").replace("{position}", "1").replace("{aggregate_type}", "order");
        let answer = bazaar.staff.ask(&Method::GET, &path).since(far).send().await;
        let waits = answer.slug() == Some("projection-behind");
        assert_eq!(waits, takes(operation, "min_position"), "{path}: {} {}", answer.status, answer.text);
        assert_eq!(waits, takes(operation, "Tradepost-Min-Position"), "{path}");
    };
    let asked = futures::future::join_all(reads.map(|(_, path, operation)| ask(path, operation))).await;
    assert!(asked.len() > 15, "{}", asked.len());
}

#[tokio::test]
async fn the_words_of_a_query_parameter_are_those_that_are_taken() {
    let bazaar = all_seeing().await;
    let category = json!({ "slug": "clerk", "name": "Of clerks" });
    let defined = bazaar.staff.post("/admin/categories", &category).send().await.expect(201);
    bazaar.staff.get("/categories/clerk").since(defined.at()).send().await.expect(200);
    let document = document(&bazaar.staff).await;
    let listing = bazaar.offer(1).await;
    let opened = open_store(&bazaar.staff).await;
    bazaar.staff.get("/store/clerk").since(opened).send().await.expect(200);
    bazaar.staff.get(&format!("/listings/{listing}")).since(opened).send().await.expect(200);
    let mut count = 0;
    for (_, path, operation) in operations(&document) {
        let path = path.replace("{slug}", "clerk").replace("/listings/{id}", &format!("/listings/{listing}"));
        let path = path.replace("{month}", "2026-01");
        let parameters = operation["parameters"].as_array().into_iter().flatten();
        for parameter in parameters.filter(|parameter| parameter["in"] == "query") {
            let name = parameter["name"].as_str().unwrap();
            for word in parameter["schema"]["enum"].as_array().into_iter().flatten() {
                count += 1;
                let ask = |word: &str| bazaar.staff.ask(&Method::GET, &format!("{path}?{name}={word}")).send();
                ask(word.as_str().unwrap()).await.expect(200);
                ask("no_such_word").await.problem(422, "invalid-field");
            }
        }
    }
    assert!(count > 40, "{count}");
}

#[tokio::test]
async fn commands_describe_their_headers_and_their_problems() {
    let server = InProcess::start().await;
    let document = document(&server.client()).await;
    let of = |method: &str, path: &str| document["paths"][format!("/api/v1{path}")][method].clone();
    for (method, path, keyed, conditional) in [
        ("post", "/listings", true, false),
        ("post", "/listings/{id}/purchase", true, false),
        ("patch", "/listings/{id}", true, true),
        ("post", "/payments/escrow/confirm", true, true),
        ("patch", "/auth/me", true, true),
        ("post", "/auth/login", false, false),
        ("post", "/auth/ws-ticket", false, false),
        ("post", "/sandbox/clock", false, false),
    ] {
        let operation = of(method, path);
        assert_eq!(takes(&operation, "Idempotency-Key"), keyed, "{method} {path}");
        assert_eq!(takes(&operation, "If-Match"), conditional, "{method} {path}");
        let statuses = |statuses: &[&str]| statuses.iter().all(|status| operation["responses"][status].is_object());
        assert!(statuses(&["400", "408", "413", "415", "422", "500", "503"]), "{method} {path}");
        assert_eq!(keyed, statuses(&["401", "403", "409"]), "{method} {path}");
        assert_eq!(conditional, statuses(&["412"]), "{method} {path}");
    }
    let created = of("post", "/listings")["responses"]["201"]["headers"].clone();
    for name in ["Tradepost-Position", "ETag", "Location", "Idempotency-Replayed"] {
        assert!(created[name].is_object(), "{name}: {created}");
    }
    assert!(document["components"]["responses"]["Unavailable"]["headers"]["Retry-After"].is_object());
}

#[tokio::test]
async fn what_the_document_describes_is_all_that_a_path_answers() {
    let server = InProcess::start().await;
    let nobody = server.client();
    let document = document(&nobody).await;
    let mut count = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        let described: BTreeSet<String> =
            item.as_object().unwrap().keys().map(|method| method.to_uppercase()).collect();
        let asked = path.replace("{id}", &uuid::Uuid::from_u128(7).to_string());
        for method in
            ["GET", "POST", "PUT", "PATCH", "DELETE"].into_iter().filter(|method| !described.contains(*method))
        {
            let answer = nobody.ask(&method.parse().unwrap(), &asked).send().await;
            assert_eq!(answer.slug(), Some("method-not-allowed"), "{method} {path}: {} {}", answer.status, answer.text);
            let allowed = answer.header("allow").unwrap().split(',').map(|method| method.trim().to_owned());
            let allowed: BTreeSet<String> = allowed.filter(|method| method != "HEAD").collect();
            assert_eq!(allowed, described, "{method} {path}");
            count += 1;
        }
    }
    assert!(count > 100, "{count}");
}

#[tokio::test]
async fn every_request_is_described_with_what_it_is_held_to() {
    let server = InProcess::start().await;
    let document = document(&server.client()).await;
    let schemas = &document["components"]["schemas"];
    let (mut pages, mut texts, mut optional) = (0, 0, 0);
    for (method, path, operation) in operations(&document) {
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            let schema = &parameter["schema"];
            if parameter["name"] == "limit" {
                pages += 1;
                assert_eq!((&schema["minimum"], &schema["maximum"]), (&json!(1), &json!(100)), "{method} {path}");
            }
            if parameter["in"] == "query" && schema["type"] == "string" {
                texts += 1;
                let told = ["pattern", "format", "enum"].iter().any(|word| !schema[word].is_null());
                assert!(told, "{method} {path}: {}", parameter["name"]);
            }
        }
        let body = &operation["requestBody"];
        if let Some(reference) = body["content"]["application/json"]["schema"]["$ref"].as_str() {
            let schema = document.pointer(reference.trim_start_matches('#')).unwrap();
            let may_be_empty = schema["required"].as_array().is_none_or(Vec::is_empty);
            optional += usize::from(may_be_empty);
            assert_eq!(body["required"] == true, !may_be_empty, "{method} {path}");
            assert_eq!(schema["additionalProperties"], false, "{method} {path}");
        }
    }
    assert!(pages > 5 && texts > 5 && optional > 5, "{pages} {texts} {optional}");
    assert_eq!(schemas["Money"]["additionalProperties"], false);
    let codes = schemas["Currency"]["enum"].as_array().unwrap();
    for (code, is_one) in [("USD", true), ("JPY", true), ("XAU", false), ("XXX", false)] {
        assert_eq!(codes.contains(&json!(code)), is_one, "{code}");
    }
    let nul = |text: &str| jsonschema::is_valid(&schemas["Reason"], &json!({ "reason": text }));
    assert!(nul("x") && !nul("x\u{0}y"));
}

#[tokio::test]
async fn the_documentation_needs_no_other_host() {
    let server = InProcess::start().await;
    let nobody = server.client();
    // The old address without a slash leads there too.
    let page = nobody.ask(&Method::GET, "/api/docs").send().await.expect(200).text;
    assert_eq!(page, nobody.ask(&Method::GET, "/api/docs/").send().await.expect(200).text);
    let assets: BTreeSet<&str> = ["src=\"", "href=\""]
        .into_iter()
        .flat_map(|attribute| page.split(attribute).skip(1))
        .filter_map(|rest| rest.split('"').next())
        .collect();
    assert!(assets.len() >= 3, "{page}");
    for asset in assets {
        let foreign = asset.contains("://") || asset.starts_with("//") || asset.starts_with('/');
        assert!(!foreign, "the page loads {asset}");
        let path = format!("/api/docs/{}", asset.trim_start_matches("./"));
        let content = nobody.ask(&Method::GET, &path).send().await.expect(200);
        assert!(!content.text.is_empty(), "{path} is empty");
        // The bundle is a library that names hosts in its own texts; what is ours must not.
        if asset.ends_with("initializer.js") || asset.ends_with("index.css") {
            let text = content.text.replace("http://www.w3.org/2000/svg", "");
            assert!(!text.contains("://"), "{path} names another host");
        }
        if asset.ends_with("initializer.js") {
            assert!(content.text.contains("/api/schema"), "{path} shows another document");
        }
    }
}
