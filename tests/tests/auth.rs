//! Joining, logging in and out, and tokens that are not good.

use api::auth::tokens::AccessTokens;
use api::config;
use domain::SessionId;
use eventstore::secrets::RootSecret;
use serde_json::json;
use tradepost_tests::client::{Answer, Client, PASSWORD};
use tradepost_tests::server::InProcess;

fn refresh(client: &Client, token: &str) -> impl Future<Output = Answer> {
    client.post("/auth/refresh", &json!({ "refresh_token": token })).send()
}

#[tokio::test]
async fn whoever_registers_is_logged_in_and_may_log_in_again() {
    let server = InProcess::start().await;
    let ann = server.client().register("ann").await;
    let me = ann.get("/auth/me").since(server.database.log_head().await).send().await.expect(200).body;
    assert_eq!(me["id"], json!(ann.account()));
    assert_eq!((&me["email"], &me["user_name"]), (&json!("ann@example.com"), &json!("ann")));
    assert_eq!(me["capabilities"], json!(["buy"]));

    let again = server.client().login("Ann").await;
    assert_eq!(again.account(), ann.account());
    assert_ne!(again.refresh_token(), ann.refresh_token());
    let tokens = server.client().post("/auth/login", &json!({ "email": " ann@EXAMPLE.com", "password": PASSWORD }));
    let tokens = tokens.send().await.expect(200);
    assert_eq!((&tokens.body["token_type"], &tokens.body["expires_in"]), (&json!("Bearer"), &json!(900)));
    assert_eq!(tokens.header("cache-control"), Some("no-store"));
}

#[tokio::test]
async fn an_unknown_address_and_a_wrong_password_are_told_the_same() {
    let server = InProcess::start().await;
    server.client().register("ann").await;
    let mut answers = Vec::new();
    for (email, password) in [("ann@example.com", "not the password"), ("nobody@example.com", PASSWORD)] {
        let login = json!({ "email": email, "password": password });
        let mut answer = server.client().post("/auth/login", &login).send().await.problem(401, "unauthenticated");
        answer.body["instance"] = json!(null);
        answers.push(answer.body);
    }
    assert_eq!(answers[0], answers[1]);
}

#[tokio::test]
async fn a_taken_address_or_name_is_refused_whatever_its_case() {
    let server = InProcess::start().await;
    server.client().register("ann").await;
    let register = |email: &str, name: &str| {
        let body = json!({ "email": email, "user_name": name, "password": PASSWORD });
        server.client().post("/auth/register", &body).send()
    };
    let taken = register("Ann@Example.com", "bob").await.problem(409, "email-taken");
    assert_eq!(taken.body["errors"][0]["pointer"], "/email");
    let taken = register("bob@example.com", "ANN").await.problem(409, "user-name-taken");
    assert_eq!(taken.body["errors"][0]["pointer"], "/user_name");
    // Neither refusal has kept half of what it asked for.
    register("bob@example.com", "bob").await.expect(201);
}

#[tokio::test]
async fn fifty_who_want_the_same_name_at_once_are_one_who_gets_it() {
    let server = InProcess::start().await;
    let register = |number: usize| {
        let body = json!({ "email": format!("{number}@example.com"), "user_name": "ann", "password": PASSWORD });
        server.client().post("/auth/register", &body).send()
    };
    let answers = futures::future::join_all((0..50).map(register)).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 1);
    for refused in answers.into_iter().filter(|answer| answer.status != 201) {
        refused.problem(409, "user-name-taken");
    }
}

#[tokio::test]
async fn a_refresh_token_is_good_once_and_its_reuse_ends_the_family() {
    let server = InProcess::start().await;
    let ann = server.client().register("ann").await;
    let second = ann.logged_in(&refresh(&ann, ann.refresh_token()).await.expect(200));
    let third = ann.logged_in(&refresh(&ann, second.refresh_token()).await.expect(200));
    third.get("/auth/me").since(server.database.log_head().await).send().await.expect(200);

    refresh(&ann, second.refresh_token()).await.problem(401, "unauthenticated");
    refresh(&ann, third.refresh_token()).await.problem(401, "unauthenticated");
    // Another log-in is another family.
    let other = server.client().login("ann").await;
    refresh(&other, other.refresh_token()).await.expect(200);
}

#[tokio::test]
async fn a_race_for_one_refresh_token_has_one_winner_at_most() {
    let server = InProcess::start().await;
    let ann = server.client().register("ann").await;
    let answers = futures::future::join_all((0..50).map(|_| refresh(&ann, ann.refresh_token()))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1);
    for answer in &answers {
        assert!([200, 401].contains(&answer.status), "{}", answer.text);
        if answer.status == 200 {
            // Somebody has shown the traded token after this: the family is over.
            refresh(&ann, ann.logged_in(answer).refresh_token()).await.problem(401, "unauthenticated");
        }
    }
}

#[tokio::test]
async fn logging_out_ends_the_session() {
    let server = InProcess::start().await;
    let ann = server.client().register("ann").await;
    ann.post("/auth/logout", &json!({})).send().await.expect(204);
    refresh(&ann, ann.refresh_token()).await.problem(401, "unauthenticated");
    // Whoever is out stays out, and is not told otherwise.
    let head = server.database.log_head().await;
    let again = ann.post("/auth/logout", &json!({})).send().await.expect(204);
    assert_eq!((again.at(), server.database.log_head().await), (head, head));
}

#[tokio::test]
async fn every_command_tells_its_position_and_its_events_tell_the_request() {
    let server = InProcess::start().await;
    let name = json!({ "email": "ann@example.com", "user_name": "ann", "password": PASSWORD });
    let joined = server.client().post("/auth/register", &name).send().await.expect(201);
    let login = json!({ "email": "ann@example.com", "password": PASSWORD });
    let logged_in = server.client().post("/auth/login", &login).send().await.expect(200);
    let ann = server.client().logged_in(&logged_in);
    let refreshed = refresh(&ann, ann.refresh_token()).await.expect(200);
    let out = ann.post("/auth/logout", &json!({})).send().await.expect(204);
    let mut connection = server.database.connect().await;
    for answer in [&joined, &logged_in, &refreshed, &out] {
        let metadata: String = sqlx::query_scalar("select metadata::text from events where position = $1")
            .bind(answer.at())
            .fetch_one(&mut connection)
            .await
            .unwrap();
        let metadata: serde_json::Value = serde_json::from_str(&metadata).unwrap();
        assert_eq!(metadata["correlation"].as_str(), answer.header("x-request-id"), "{metadata}");
    }
    for answer in [joined, logged_in, refreshed] {
        assert_eq!(answer.body["position"], json!(answer.at()));
    }
    let clock = server.client().post("/sandbox/clock", &json!({ "advance_ms": 0 })).send().await.expect(200);
    assert_eq!(clock.body["position"], json!(clock.at()));
}

#[tokio::test]
async fn a_token_that_is_not_ours_is_refused() {
    let server = InProcess::start().await;
    let ann = server.client().register("ann").await;
    let session = SessionId(uuid::Uuid::from_u128(1));
    let foreign = AccessTokens::new(&RootSecret::new(b"another deployment"), &config::Auth::default());
    let other_audience = config::Auth { audience: "elsewhere".to_owned(), ..config::Auth::default() };
    let secret = &server.app.secret;
    let forged = [
        foreign.issue(ann.account(), session).unwrap(),
        AccessTokens::new(secret, &other_audience).issue(ann.account(), session).unwrap(),
        format!("{}x", ann.access_token()),
        ann.access_token().rsplit_once('.').unwrap().0.to_owned() + ".",
        ann.refresh_token().to_owned(),
        "x".to_owned(),
    ];
    for token in forged {
        // Where a token is needed, and where none is.
        for path in ["/auth/me", "/listings"] {
            let refused = ann.with_access_token(&token).get(path).send().await.problem(401, "unauthenticated");
            let challenges: Vec<_> = refused.headers.get_all("www-authenticate").iter().collect();
            assert_eq!(challenges, ["Bearer error=\"invalid_token\""]);
        }
    }
    let basic = server.client().get("/auth/me").header("authorization", "Basic YW5uOng=").send().await;
    basic.problem(401, "unauthenticated");
}
