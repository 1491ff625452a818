//! Content pages through HTTP.

use serde_json::json;
use tradepost_tests::bazaar::staff;
use tradepost_tests::server::InProcess;

#[tokio::test]
async fn staff_publish_versions_and_everybody_reads_them() {
    let server = InProcess::start().await;
    let (clerk, nobody) = (staff(&server, "clerk").await, server.client());
    let publish = |title: &str, body: &str| clerk.put("/admin/pages/terms", &json!({ "title": title, "body": body }));
    nobody.get("/pages/terms").send().await.problem(404, "not-found");
    let first = publish("Terms", "Be *kind*.").key("first").send().await.expect(201);
    assert_eq!((first.body["version"].clone(), first.header("location")), (json!(1), Some("/api/v1/pages/terms")));
    assert!(publish("Terms", "Be *kind*.").key("first").send().await.expect(201).replayed());
    let again = publish("Terms", "Be *kind*.").send().await.expect(200);
    assert_eq!((&again.body["version"], &again.body["created"]), (&json!(1), &json!(false)));
    let second = publish("Our terms", "Be **fair**.").send().await.expect(200);
    assert_eq!(second.body["version"], 2);

    let shown = nobody.get("/pages/terms").since(second.at()).send().await.expect(200);
    let told = |answer: &tradepost_tests::client::Answer| {
        ["title", "body", "html"].map(|field| answer.body[field].as_str().unwrap().to_owned())
    };
    assert_eq!(told(&shown), ["Our terms", "Be **fair**.", "<p>Be <strong>fair</strong>.</p>\n"]);
    let former = nobody.get("/pages/terms?version=1").send().await.expect(200);
    assert_eq!(told(&former), ["Terms", "Be *kind*.", "<p>Be <em>kind</em>.</p>\n"]);
    nobody.get("/pages/terms?version=3").send().await.problem(404, "not-found");
    nobody.get("/pages/terms?version=0").send().await.problem(422, "invalid-field");
    nobody.get("/pages/Terms%20of%20use").send().await.problem(404, "not-found");
}

#[tokio::test]
async fn a_page_is_not_sent_again_and_not_overwritten() {
    let server = InProcess::start().await;
    let (clerk, nobody) = (staff(&server, "clerk").await, server.client());
    let publish = |body: &str| clerk.put("/admin/pages/help", &json!({ "title": "Help", "body": body }));
    let first = publish("Ask us.").send().await.expect(201);
    let shown = nobody.get("/pages/help").since(first.at()).send().await.expect(200);
    let tag = shown.header("etag").unwrap().to_owned();
    let same = nobody.get("/pages/help").header("if-none-match", &tag).send().await.expect(304);
    assert_eq!((same.header("etag"), same.text.as_str()), (Some(tag.as_str()), ""));
    let second = publish("Ask them.").header("if-match", &tag).send().await.expect(200);
    publish("Ask nobody.").header("if-match", &tag).send().await.problem(412, "version-mismatch");
    let changed = nobody.get("/pages/help").since(second.at()).header("if-none-match", &tag).send().await.expect(200);
    assert_eq!(changed.body["body"], "Ask them.");
}

#[tokio::test]
async fn only_staff_publish_and_no_script_is_shown() {
    let server = InProcess::start().await;
    let (clerk, ann) = (staff(&server, "clerk").await, server.client().register("ann").await);
    let page = json!({ "title": "<script>alert(1)</script>", "body": "<script>alert(1)</script>\n\n[x](javascript:alert(1)) <b onclick=x>y</b>" });
    ann.put("/admin/pages/terms", &page).send().await.problem(403, "missing-capability");
    let published = clerk.put("/admin/pages/terms", &page).send().await.expect(201);
    let shown = ann.get("/pages/terms").since(published.at()).send().await.expect(200);
    // The title and the Markdown are texts, for whoever shows them to escape.
    assert_eq!((&shown.body["title"], &shown.body["body"]), (&page["title"], &page["body"]));
    let html = shown.body["html"].as_str().unwrap();
    assert!(html.contains("<b>y</b>") && !html.contains("script") && !html.contains("onclick"), "{html}");
    let long = json!({ "title": "Terms", "body": "x".repeat(100_001) });
    clerk.put("/admin/pages/terms", &long).send().await.problem(422, "invalid-field");
    for deep in ["> ".repeat(33), "<div>".repeat(20_000)] {
        let page = json!({ "title": "Terms", "body": deep });
        let refused = clerk.put("/admin/pages/terms", &page).send().await.problem(422, "invalid-field");
        assert_eq!(
            (&refused.body["errors"][0]["pointer"], &refused.body["errors"][0]["code"]),
            (&json!("/body"), &json!("too-deep"))
        );
    }
    clerk.put("/admin/pages/terms", &json!({ "title": " ", "body": "x" })).send().await.problem(422, "invalid-field");
    clerk.put("/admin/pages/No", &page).send().await.problem(404, "not-found");
}
