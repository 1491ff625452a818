//! Joining, logging in and out, and tokens that are not good.

use domain::SessionId;
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
    // Whoever is out stays out, whether the node has heard of it yet or not: nothing happens twice.
    let head = server.database.log_head().await;
    let again = ann.post("/auth/logout", &json!({})).send().await;
    assert!([204, 401].contains(&again.status), "{}", again.text);
    assert_eq!(server.database.log_head().await, head);
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
async fn forty_tokens_that_are_forged_or_wrong_are_all_refused() {
    let server = InProcess::start().await;
    let ann = server.client().register("ann").await;
    let ended = server.client().login("ann").await;
    ended.post("/auth/logout", &json!({})).send().await.expect(204);
    let mut tokens = forged::of_other_keys(&server.app.secret, ann.account());
    tokens.extend(forged::altered(ann.access_token()));
    tokens.push(("another token of ours", ann.refresh_token().to_owned()));
    tokens.push(("a session that nobody has opened", {
        let session = SessionId(uuid::Uuid::from_u128(1));
        server.app.tokens.issue(ann.account(), session).unwrap()
    }));
    tokens.push(("somebody else in this session", {
        let session = server.app.tokens.verify(ann.access_token()).unwrap().session;
        server.app.tokens.issue(domain::AccountId(uuid::Uuid::from_u128(1)), session).unwrap()
    }));
    tokens.push(("a session that has ended", ended.access_token().to_owned()));
    assert!(tokens.len() >= 40, "{}", tokens.len());
    for (what, token) in tokens {
        // Where a token is needed, where none is, and where a capability is.
        for path in ["/auth/me", "/listings", "/admin/trial-balance"] {
            let refused = ann.with_access_token(&token).get(path).send().await;
            assert_eq!(refused.status, 401, "{what} at {path}: {token}: {}", refused.text);
            let challenges: Vec<_> = refused.headers.get_all("www-authenticate").iter().collect();
            assert!(challenges.len() == 1 && challenges[0].to_str().unwrap().starts_with("Bearer"), "{what}");
        }
    }
    ann.get("/auth/me").send().await.expect(200);
    let basic = server.client().get("/auth/me").header("authorization", "Basic YW5uOng=").send().await;
    basic.problem(401, "unauthenticated");
}

/// Tokens that somebody may try who has not been given them.
mod forged {
    use api::auth::tokens::AccessTokens;
    use api::config;
    use base64::Engine as _;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD as BASE64};
    use domain::{AccountId, SessionId};
    use eventstore::secrets::RootSecret;
    use hmac::{Hmac, Mac};
    use serde_json::{Value, json};
    use sha2::Sha256;

    type Tokens = Vec<(&'static str, String)>;

    /// Well made, with keys, names or settings of another deployment.
    pub(super) fn of_other_keys(secret: &RootSecret, account: AccountId) -> Tokens {
        let session = SessionId(uuid::Uuid::from_u128(1));
        let issued = |secret: &RootSecret, settings: config::Auth| {
            AccessTokens::new(secret, &settings).issue(account, session).unwrap()
        };
        let settings = config::Auth::default;
        vec![
            ("another root secret", issued(&RootSecret::new(b"another deployment"), settings())),
            ("another audience", issued(secret, config::Auth { audience: "elsewhere".to_owned(), ..settings() })),
            ("another issuer", issued(secret, config::Auth { issuer: "elsewhere".to_owned(), ..settings() })),
            ("another generation of keys", issued(secret, config::Auth { key_generation: 2, ..settings() })),
            ("another rotation of keys", issued(secret, config::Auth { key_rotation_s: 3_600, ..settings() })),
        ]
    }

    /// What is left of a good token once somebody has worked on it.
    pub(super) fn altered(good: &str) -> Tokens {
        let parts: Vec<&str> = good.split('.').collect();
        let json = |part: &str| serde_json::from_slice::<Value>(&BASE64.decode(part).unwrap()).unwrap();
        let (header, claims) = (json(parts[0]), json(parts[1]));
        let encode = |value: &Value| BASE64.encode(value.to_string());
        let with = |value: &Value, name: &str, to: Value| {
            let mut value = value.clone();
            value[name] = to;
            value
        };
        let reheaded =
            |name: &str, to: Value| format!("{}.{}.{}", encode(&with(&header, name, to)), parts[1], parts[2]);
        let claiming =
            |name: &str, to: Value| format!("{}.{}.{}", parts[0], encode(&with(&claims, name, to)), parts[2]);
        let signed = |header: &Value, claims: &Value, key: &[u8]| {
            let text = format!("{}.{}", encode(header), encode(claims));
            let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(key).unwrap();
            mac.update(text.as_bytes());
            format!("{text}.{}", BASE64.encode(mac.finalize().into_bytes()))
        };
        let own_key = with(&header, "jwk", json!({ "kty": "oct", "k": BASE64.encode("mine") }));
        let padded = STANDARD.encode(parts[1]);
        vec![
            ("nothing", String::new()),
            ("a word", "x".to_owned()),
            ("dots", "..".to_owned()),
            ("no signature", format!("{}.{}.", parts[0], parts[1])),
            ("two parts", format!("{}.{}", parts[0], parts[1])),
            ("four parts", format!("{good}.{}", parts[2])),
            ("a longer signature", format!("{good}A")),
            ("a shorter signature", good[..good.len() - 2].to_owned()),
            ("the signature of something else", format!("{}.{}.{}", parts[0], parts[1], BASE64.encode([0; 32]))),
            ("no algorithm", format!("{}.{}.", encode(&with(&header, "alg", json!("none"))), parts[1])),
            ("no algorithm, in capitals", format!("{}.{}.", encode(&with(&header, "alg", json!("NONE"))), parts[1])),
            ("no algorithm, signed all the same", reheaded("alg", json!("none"))),
            ("a longer hash", reheaded("alg", json!("HS512"))),
            ("an algorithm with public keys", reheaded("alg", json!("RS256"))),
            ("an algorithm that is a number", reheaded("alg", json!(256))),
            ("a type of another kind", reheaded("typ", json!("JWT"))),
            ("a type that is empty", reheaded("typ", json!(""))),
            ("a key that is not ours", reheaded("kid", json!("another"))),
            ("a key of long ago", reheaded("kid", json!("1.1"))),
            (
                "a key of another way to write it",
                reheaded("kid", json!(format!("0{}", header["kid"].as_str().unwrap()))),
            ),
            ("a key that is a path", reheaded("kid", json!("../../dev/null"))),
            ("a key that is a query", reheaded("kid", json!("' or 1=1 --"))),
            ("a key without a name", reheaded("kid", Value::Null)),
            ("a key in its own header", signed(&own_key, &claims, b"mine")),
            ("an address of keys", reheaded("jku", json!("https://example.com/keys"))),
            ("a certificate", reheaded("x5c", json!(["MIIB"]))),
            ("an extension that must be understood", reheaded("crit", json!(["exp"]))),
            ("an empty key", signed(&header, &claims, b"")),
            ("the key's name as the key", signed(&header, &claims, header["kid"].as_str().unwrap().as_bytes())),
            ("another account", claiming("sub", json!("0192f5a0-acc0-7000-8000-000000000001"))),
            ("another session", claiming("sid", json!("0192f5a0-acc0-7000-8000-000000000001"))),
            ("another end", claiming("exp", json!(4_000_000_000_i64))),
            ("another beginning", claiming("nbf", json!(0))),
            ("more claims", claiming("admin", json!(true))),
            ("claims that are none", format!("{}.{}.{}", parts[0], BASE64.encode("[]"), parts[2])),
            ("claims in another alphabet", format!("{}.{padded}.{}", parts[0], parts[2])),
            ("a header that is none", format!("{}.{}.{}", BASE64.encode("x"), parts[1], parts[2])),
            ("a header that is empty", format!("{}.{}.{}", BASE64.encode("{}"), parts[1], parts[2])),
            ("a token twice", format!("{good} {good}")),
        ]
    }
}
