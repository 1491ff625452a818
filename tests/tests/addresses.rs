//! Places and address books through HTTP.

use api::config::Config;
use domain::{CityId, ProvinceId};
use serde_json::{Value, json};
use tradepost_tests::client::Client;
use tradepost_tests::fail::OrFail;
use tradepost_tests::market::{address, with};
use tradepost_tests::server::InProcess;

async fn book(client: &Client, since: i64) -> Vec<Value> {
    let answer = client.get("/addresses").since(since).send().await.expect(200);
    answer.body["items"].as_array().or_fail("find the addresses").clone()
}

/// The recipients, and who of them is preferred.
fn shown(book: &[Value]) -> (Vec<&str>, Vec<&str>) {
    let names = |chosen: fn(&&Value) -> bool| {
        book.iter().filter(chosen).map(|address| address["recipient"].as_str().unwrap()).collect()
    };
    (names(|_| true), names(|address| address["is_default"] == true))
}

#[tokio::test]
async fn provinces_lead_to_cities_by_each_of_their_names() {
    let server = InProcess::start().await;
    let nobody = server.client();
    let provinces = nobody.get("/locations/provinces?country=PK").send().await.expect(200).body;
    let names: Vec<&str> =
        provinces["items"].as_array().unwrap().iter().filter_map(|province| province["name"].as_str()).collect();
    assert_eq!(
        names,
        [
            "Azad Jammu and Kashmir",
            "Balochistan",
            "Gilgit-Baltistan",
            "Islamabad Capital Territory",
            "Khyber Pakhtunkhwa",
            "Punjab",
            "Sindh"
        ]
    );
    assert_eq!(nobody.get("/provinces").send().await.expect(200).body, provinces);
    let nowhere = nobody.get("/locations/provinces?country=NO").send().await.expect(200).body;
    assert_eq!(nowhere["items"], json!([]));
    nobody.get("/locations/provinces?country=Pakistan").send().await.problem(422, "invalid-field");
    let punjab = ProvinceId::of("PK", "PB");
    let cities = nobody.get(&format!("/locations/provinces/{punjab}/cities")).send().await.expect(200).body;
    let lahore = json!({ "id": CityId::of(punjab, "lahore"), "province_id": punjab, "name": "Lahore" });
    assert!(cities["items"].as_array().unwrap().contains(&lahore), "{cities}");
    assert_eq!(nobody.get(&format!("/cities?province={punjab}")).send().await.expect(200).body, cities);
    let unknown = uuid::Uuid::from_u128(7);
    nobody.get(&format!("/locations/provinces/{unknown}/cities")).send().await.problem(404, "not-found");
    nobody.get(&format!("/cities?province={unknown}")).send().await.problem(404, "not-found");
    nobody.get("/cities").send().await.problem(422, "invalid-field");
}

#[tokio::test]
async fn a_file_brings_another_country() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("no.toml");
    let norway = "country = 'NO'\n[[provinces]]\ncode = '03'\nname = 'Oslo'\ncities = { oslo = 'Oslo' }\n";
    std::fs::write(&file, norway).unwrap();
    let mut settings = Config::default();
    settings.places.files = file.to_str().unwrap().parse().unwrap();
    let server = InProcess::start_with(settings).await;
    let ann = server.client().register("ann").await;
    let oslo = ProvinceId::of("NO", "03");
    let home =
        with(with(address("Ann"), "province_id", oslo.to_string()), "city_id", CityId::of(oslo, "oslo").to_string());
    let kept = ann.post("/addresses", &home).send().await.expect(201);
    let shown = &book(&ann, kept.at()).await[0];
    assert_eq!((&shown["city"], &shown["country"]), (&json!("Oslo"), &json!("NO")));
}

#[tokio::test]
async fn exactly_one_address_is_the_default_while_there_is_any() {
    let server = InProcess::start().await;
    let ann = server.client().register("ann").await;
    let (home, work) = (ann.keep_address("Home").await, ann.keep_address("Work").await);
    let third = ann.post("/addresses", &with(address("Third"), "is_default", true)).send().await.expect(201);
    assert_eq!(shown(&book(&ann, third.at()).await), (vec!["Home", "Work", "Third"], vec!["Third"]));
    let chosen = ann.post(&format!("/addresses/{work}/default"), &json!({})).send().await.expect(200);
    assert_eq!(shown(&book(&ann, chosen.at()).await).1, ["Work"]);
    let gone = ann.delete(&format!("/addresses/{work}"), &json!({})).send().await.expect(200);
    assert_eq!(shown(&book(&ann, gone.at()).await), (vec!["Home", "Third"], vec!["Home"]));
    for id in [&home, &third.body["id"].as_str().unwrap().to_owned()] {
        ann.delete(&format!("/addresses/{id}"), &json!({})).send().await.expect(200);
        ann.delete(&format!("/addresses/{id}"), &json!({})).send().await.problem(404, "not-found");
    }
    assert_eq!(book(&ann, server.database.log_head().await).await, Vec::<Value>::new());
}

#[tokio::test]
async fn a_change_changes_what_it_names_and_an_empty_text_leaves_a_field_out() {
    let server = InProcess::start().await;
    let ann = server.client().register("ann").await;
    let home = ann.keep_address("Home").await;
    let path = format!("/addresses/{home}");
    let karachi = CityId::of(ProvinceId::of("PK", "SD"), "karachi");
    let changes = json!({ "phone": "", "line2": "Flat 3", "city_id": karachi });
    let patched = ann.patch(&path, &changes).send().await.expect(200);
    let after = &book(&ann, patched.at()).await[0];
    let told = ["recipient", "phone", "line1", "line2", "postal_code", "city", "province", "country"];
    assert_eq!(
        told.map(|field| after[field].as_str()),
        [
            Some("Home"),
            None,
            Some("12 Mall Road"),
            Some("Flat 3"),
            Some("54000"),
            Some("Karachi"),
            Some("Sindh"),
            Some("PK")
        ]
    );
    // What changes nothing leaves the version as it is.
    let again = ann.patch(&path, &json!({})).send().await.expect(200);
    assert_eq!(again.body["version"], patched.body["version"]);
}

#[tokio::test]
async fn a_city_is_there_and_in_its_province() {
    let server = InProcess::start().await;
    let ann = server.client().register("ann").await;
    let home = ann.keep_address("Home").await;
    let (punjab, sindh) = (ProvinceId::of("PK", "PB"), ProvinceId::of("PK", "SD"));
    let (lahore, nowhere) = (CityId::of(punjab, "lahore"), uuid::Uuid::from_u128(7));
    let wrong = async |fields: Value, pointer: &str, code: &str| {
        let mut body = address("Ann");
        for (name, value) in fields.as_object().unwrap() {
            body[name] = value.clone();
        }
        for ask in [ann.post("/addresses", &body), ann.patch(&format!("/addresses/{home}"), &fields)] {
            let refused = ask.send().await.problem(422, "invalid-field");
            assert_eq!(refused.body["errors"][0]["pointer"], pointer, "{}", refused.text);
            assert_eq!(refused.body["errors"][0]["code"], code, "{}", refused.text);
        }
    };
    wrong(json!({ "province_id": sindh, "city_id": lahore }), "/city_id", "unknown").await;
    wrong(json!({ "province_id": nowhere, "city_id": lahore }), "/province_id", "unknown").await;
    wrong(json!({ "province_id": punjab, "city_id": nowhere }), "/city_id", "unknown").await;
    let lone = ann.patch(&format!("/addresses/{home}"), &json!({ "province_id": sindh })).send().await;
    assert_eq!(lone.problem(422, "invalid-field").body["errors"][0]["code"], "missing");
}

#[tokio::test]
async fn a_book_is_ones_own_full_at_twenty_and_changed_under_its_version() {
    let server = InProcess::start().await;
    let (ann, bob) = (server.client().register("ann").await, server.client().register("bob").await);
    let empty = ann.get("/addresses").send().await.expect(200);
    assert_eq!((empty.header("etag"), &empty.body["version"]), (Some("\"0.0\""), &json!(0)));
    let first = ann.post("/addresses", &address("1")).key("one").send().await.expect(201);
    assert!(ann.post("/addresses", &address("1")).key("one").send().await.expect(201).replayed());
    for number in 2..=20 {
        ann.keep_address(&number.to_string()).await;
    }
    let full = ann.post("/addresses", &address("21")).send().await.problem(422, "too-many-addresses");
    assert_eq!(full.body["maximum"], 20);
    let kept = ann.get("/addresses").since(server.database.log_head().await).send().await.expect(200);
    assert_eq!(kept.body["items"].as_array().unwrap().len(), 20);
    // Somebody else's is not there.
    let path = format!("/addresses/{}", first.body["id"].as_str().unwrap());
    let changes = json!({ "line1": "13 Mall Road" });
    bob.patch(&path, &changes).send().await.problem(404, "not-found");
    bob.delete(&path, &json!({})).send().await.problem(404, "not-found");
    bob.post(&format!("{path}/default"), &json!({})).send().await.problem(404, "not-found");
    assert_eq!(book(&bob, server.database.log_head().await).await, Vec::<Value>::new());
    // Of two who have seen the same, one is first.
    let seen = kept.header("etag").unwrap();
    let change = || ann.patch(&path, &changes).header("if-match", seen).send();
    change().await.expect(200);
    change().await.problem(412, "version-mismatch");
}
