//! One's own profile, by both of its names.

use serde_json::{Value, json};
use tradepost_tests::client::Client;
use tradepost_tests::market::listing;
use tradepost_tests::server::InProcess;

async fn profile(client: &Client, since: i64) -> Value {
    let shown = client.get("/profile").since(since).send().await.expect(200);
    assert_eq!(shown.body, client.get("/auth/me").send().await.expect(200).body);
    shown.body
}

fn whole() -> Value {
    json!({
        "display_name": "Ann Lee", "phone": "+92 300 1234567", "biography": "Sells watches.",
        "avatar_url": "https://example.com/ann.png", "language": "ur-PK",
    })
}

#[tokio::test]
async fn a_patch_changes_what_it_names_and_a_put_clears_the_rest() {
    let server = InProcess::start().await;
    let ann = server.client().register("ann").await;
    let written = ann.put("/profile", &whole()).send().await.expect(200);
    let shown = profile(&ann, written.at()).await;
    for (name, value) in whole().as_object().unwrap() {
        assert_eq!(&shown[name], value, "{name}");
    }
    let patched = ann.patch("/profile", &json!({ "phone": "", "biography": "Buys." })).send().await.expect(200);
    let shown = profile(&ann, patched.at()).await;
    assert_eq!((&shown["phone"], &shown["biography"]), (&Value::Null, &json!("Buys.")));
    assert_eq!(shown["display_name"], "Ann Lee");
    let emptied = ann.put("/profile", &json!({ "display_name": "A. Lee" })).send().await.expect(200);
    let shown = profile(&ann, emptied.at()).await;
    let fields = ["user_name", "display_name", "phone", "biography", "avatar_url", "language"];
    assert_eq!(fields.map(|field| shown[field].as_str()), [Some("ann"), Some("A. Lee"), None, None, None, None]);
}

#[tokio::test]
async fn what_is_no_language_no_picture_and_no_name_is_refused() {
    let server = InProcess::start().await;
    let ann = server.client().register("ann").await;
    for (name, value) in [
        ("language", "no language"),
        ("avatar_url", "javascript:alert(1)"),
        ("user_name", "a b c"),
        ("user_name", "an"),
        ("phone", &"1".repeat(41)),
    ] {
        for ask in [ann.patch("/profile", &json!({ name: value })), ann.put("/profile", &json!({ name: value }))] {
            let refused = ask.send().await.problem(422, "invalid-field");
            assert_eq!(refused.body["errors"][0]["pointer"], format!("/{name}"), "{}", refused.text);
        }
    }
}

#[tokio::test]
async fn a_user_name_is_changed_if_nobody_has_it_and_the_former_one_is_free() {
    let server = InProcess::start().await;
    let (ann, bob) = (server.client().register_seller("ann").await, server.client().register("bob").await);
    let item = ann.offer(&listing(1_000)).await;
    let rename = |client: &Client, name: &str| client.patch("/profile", &json!({ "user_name": name })).send();
    rename(&ann, "Bob").await.problem(409, "user-name-taken");
    let renamed = rename(&ann, "ann.lee").await.expect(200);
    assert_eq!(profile(&ann, renamed.at()).await["user_name"], "ann.lee");
    let shown = bob.get(&format!("/listings/{item}")).since(renamed.at()).send().await.expect(200);
    assert_eq!(shown.body["seller"]["name"], "ann.lee");
    // To be called as before is no change, and only to be written in another way takes no other claim.
    let again = rename(&ann, "ann.lee").await.expect(200);
    assert_eq!(again.body["version"], renamed.body["version"]);
    rename(&ann, "Ann.Lee").await.expect(200);
    rename(&bob, "ann.lee").await.problem(409, "user-name-taken");
    rename(&bob, "ann").await.expect(200);
    rename(&ann, "bob").await.expect(200);
    // Whoever leaves gives up the name that they have by then.
    let password = json!({ "password": tradepost_tests::client::PASSWORD });
    ann.delete("/auth/account", &password).send().await.expect(200);
    rename(&server.client().register("third").await, "bob").await.expect(200);
}

#[tokio::test]
async fn of_many_who_want_a_name_one_gets_it_and_loses_no_other() {
    let server = InProcess::start().await;
    let clients = futures::future::join_all((0..8).map(|number| {
        let server = &server;
        async move { server.join(&format!("user{number}")).await }
    }))
    .await;
    let renamed = futures::future::join_all(clients.iter().map(|client| {
        let body = json!({ "user_name": "wanted" });
        async move { client.patch("/profile", &body).send().await.status }
    }))
    .await;
    assert_eq!(renamed.iter().filter(|status| **status == 200).count(), 1, "{renamed:?}");
    assert_eq!(renamed.iter().filter(|status| **status == 409).count(), 7, "{renamed:?}");
    let head = server.database.log_head().await;
    for (number, (client, status)) in clients.iter().zip(renamed).enumerate() {
        let expected = if status == 200 { "wanted".to_owned() } else { format!("user{number}") };
        assert_eq!(profile(client, head).await["user_name"], expected);
    }
}
