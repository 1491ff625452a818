//! The contract: what `routes.tsv` promises is described in the OpenAPI document and is served; the documentation works
//! without a network.

use std::collections::BTreeSet;

use api::http::paths::{Route, routes};
use reqwest::Method;
use serde_json::Value;
use tradepost_tests::client::Client;
use tradepost_tests::server::InProcess;

/// The document and its page do not describe themselves.
const UNDESCRIBED: [&str; 2] = ["/schema", "/docs"];

fn promised() -> impl Iterator<Item = Route> {
    routes().filter(|route| ["A", "B"].contains(&route.brought_by))
}

async fn document(client: &Client) -> Value {
    client.ask(&Method::GET, "/api/schema").send().await.expect(200).body
}

#[tokio::test]
async fn every_promised_route_is_described_and_its_old_names_are_deprecated() {
    let server = InProcess::start().await;
    let document = document(&server.client()).await;
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1."), "{}", document["openapi"]);
    let mut missing = Vec::new();
    for route in promised().filter(|route| !UNDESCRIBED.contains(&route.path)) {
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
    for route in promised() {
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
