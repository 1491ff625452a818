//! Proving who one is: by mail, by password, by somebody else who knows; being locked out, and leaving.

use api::config::{Config, Google};
use eventstore::secrets::RootSecret;
use serde_json::{Value, json};
use tradepost_tests::client::{Answer, Client, PASSWORD};
use tradepost_tests::fail::OrFail;
use tradepost_tests::mailbox::Letter;
use tradepost_tests::openid::OpenIdProvider;
use tradepost_tests::server::InProcess;

const NEW: &str = "wrong horse paperclip";
/// What messages are about.
const VERIFY: &str = "Confirm";
const RESET: &str = "new password";

async fn me(server: &InProcess, client: &Client) -> Value {
    client.get("/auth/me").since(server.database.log_head().await).send().await.expect(200).body
}

/// The newest message to an address.
async fn newest(server: &InProcess, to: &str, about: &str) -> Letter {
    let letters = server.mailboxes().await.letters(to, about);
    letters.last().unwrap_or_else(|| panic!("nothing was sent to {to} about {about}")).clone()
}

async fn log_in(server: &InProcess, email: &str, password: &str) -> Answer {
    server.client().post("/auth/login", &json!({ "email": email, "password": password })).send().await
}

fn change(client: &Client, from: &str, to: &str) -> impl Future<Output = Answer> {
    client.post("/auth/password/change", &json!({ "current_password": from, "new_password": to })).send()
}

fn confirm(server: &InProcess, token: &str, password: &str) -> impl Future<Output = Answer> {
    let body = json!({ "token": token, "new_password": password });
    server.client().post("/auth/password/reset/confirm", &body).send()
}

/// Asks for a new password and waits until that is in the log, which is behind the answer.
async fn ask_to_reset(server: &InProcess, email: &str) -> Letter {
    let before = server.mailboxes().await.letters(email, RESET).len();
    server.client().post("/auth/password/reset", &json!({ "email": email })).send().await.expect(202);
    let mut moved = server.app.progress.subscribe(commands::mail::NAME);
    loop {
        let letters = server.mailboxes().await.letters(email, RESET);
        if letters.len() > before {
            return letters[before].clone();
        }
        moved.changed().await.or_fail("wait for the process that sends messages");
    }
}

#[tokio::test]
async fn an_address_is_verified_by_the_token_that_was_sent_there() {
    let server = InProcess::start().await;
    let ann = server.client().register("ann").await;
    assert_eq!(me(&server, &ann).await["email_verified"], false);
    let letter = newest(&server, "ann@example.com", VERIFY).await;
    let verify = |token: &str| server.client().post("/auth/email/verify", &json!({ "token": token })).send();
    for wrong in ["", "x", &letter.token[1..], &letter.token.replace(&letter.token[58..], "AAAAAA")] {
        verify(wrong).await.problem(422, "token-not-good");
    }
    confirm(&server, &letter.token, NEW).await.problem(422, "token-not-good");
    verify(&letter.token).await.expect(200);
    assert_eq!(me(&server, &ann).await["email_verified"], true);
    verify(&letter.token).await.problem(422, "token-not-good");
    // A moment ago is too soon for another.
    let other = server.client().register("bob").await;
    let too_early = other.post("/auth/email/resend", &json!({})).send().await.problem(409, "too-early");
    assert!(too_early.body["again_at"].is_string());
    ann.post("/auth/email/resend", &json!({})).send().await.expect(202);
    assert_eq!(server.mailboxes().await.letters("ann@example.com", VERIFY).len(), 2);
}

#[tokio::test]
async fn an_address_changes_once_the_new_mailbox_has_answered() {
    let server = InProcess::start().await;
    let (ann, _bob) = (server.client().register("ann").await, server.client().register("bob").await);
    let letter = newest(&server, "ann@example.com", VERIFY).await;
    server.client().post("/auth/email/verify", &json!({ "token": letter.token })).send().await.expect(200);
    let change = |email: &str, password: &str| {
        ann.post("/auth/email/change", &json!({ "email": email, "password": password })).send()
    };
    change("bob@example.com", PASSWORD).await.problem(409, "email-taken");
    let wrong = change("ann@example.org", "not the password").await.problem(422, "invalid-field");
    assert_eq!(wrong.body["errors"][0]["pointer"], "/password");
    change("ann@example.org", PASSWORD).await.expect(202);
    assert_eq!(me(&server, &ann).await["email"], "ann@example.com");
    log_in(&server, "ann@example.org", PASSWORD).await.problem(401, "unauthenticated");

    let letter = newest(&server, "ann@example.org", VERIFY).await;
    server.client().post("/auth/email/verify", &json!({ "token": letter.token })).send().await.expect(200);
    let shown = me(&server, &ann).await;
    assert_eq!((&shown["email"], &shown["email_verified"]), (&json!("ann@example.org"), &json!(true)));
    log_in(&server, "ann@example.org", PASSWORD).await.expect(200);
    log_in(&server, "ann@example.com", PASSWORD).await.problem(401, "unauthenticated");
    // The former address is anybody's.
    let joined = json!({ "email": "ann@example.com", "user_name": "another-ann", "password": PASSWORD });
    server.client().post("/auth/register", &joined).send().await.expect(201);
}

#[tokio::test]
async fn a_new_password_ends_all_other_sessions_and_none_of_the_last_five_is_taken() {
    let server = InProcess::start().await;
    let ann = server.client().register("ann").await;
    let other = server.client().login("ann").await;
    let wrong = change(&ann, "not the password", NEW).await.problem(422, "invalid-field");
    assert_eq!(wrong.body["errors"][0]["code"], "wrong");
    for (password, code) in [(PASSWORD, "used-before"), ("password1", "too-common"), ("annexample", "too-common")] {
        let refused = change(&ann, PASSWORD, password).await.problem(422, "invalid-field");
        assert_eq!(refused.body["errors"][0]["code"], code, "{password}");
    }
    change(&ann, PASSWORD, "short").await.problem(422, "invalid-field");
    change(&ann, PASSWORD, NEW).await.expect(200);
    refresh(&other).await.problem(401, "unauthenticated");
    refresh(&ann).await.expect(200);
    log_in(&server, "ann@example.com", PASSWORD).await.problem(401, "unauthenticated");
    let again = log_in(&server, "ann@example.com", NEW).await.expect(200);
    let ann = server.client().logged_in(&again);
    let mut current = NEW.to_owned();
    for number in 0..4 {
        let next = format!("{NEW} number {number}");
        change(&ann, &current, &next).await.expect(200);
        change(&ann, &next, NEW).await.problem(422, "invalid-field");
        current = next;
    }
    // Five others lie between.
    change(&ann, &current, &format!("{NEW} number 4")).await.expect(200);
    change(&ann, &format!("{NEW} number 4"), NEW).await.expect(200);
}

fn refresh(client: &Client) -> impl Future<Output = Answer> {
    client.post("/auth/refresh", &json!({ "refresh_token": client.refresh_token() })).send()
}

#[tokio::test]
async fn a_forgotten_password_is_replaced_by_mail_and_nobody_learns_who_has_an_account() {
    let server = InProcess::start().await;
    let ann = server.client().register("ann").await;
    let nobody = server.client().post("/auth/password/reset", &json!({ "email": "nobody@example.com" })).send().await;
    let letter = ask_to_reset(&server, "ann@example.com").await;
    let somebody = server.client().post("/auth/password/reset", &json!({ "email": "ann@example.com" })).send().await;
    assert_eq!((nobody.status, &nobody.text), (somebody.status, &somebody.text));
    // Locked out, which a new password ends.
    for _ in 0..5 {
        log_in(&server, "ann@example.com", "not the password").await.problem(401, "unauthenticated");
    }
    log_in(&server, "ann@example.com", PASSWORD).await.problem(429, "login-locked");
    confirm(&server, &letter.token, "password1").await.problem(422, "invalid-field");
    confirm(&server, &letter.token, PASSWORD).await.problem(422, "invalid-field");
    confirm(&server, &letter.token, NEW).await.expect(200);
    // Used, it is good for nothing, not even for learning what a password was.
    for password in ["yet another paperclip", NEW, PASSWORD] {
        confirm(&server, &letter.token, password).await.problem(422, "token-not-good");
    }
    refresh(&ann).await.problem(401, "unauthenticated");
    log_in(&server, "ann@example.com", NEW).await.expect(200);
    // Whoever reads the mailbox has verified it.
    assert_eq!(
        me(&server, &server.client().logged_in(&log_in(&server, "ann@example.com", NEW).await)).await["email_verified"],
        true
    );
    assert!(server.mailboxes().await.letters("nobody@example.com", RESET).is_empty());
    // A second question within a minute is not sent.
    assert_eq!(server.mailboxes().await.letters("ann@example.com", RESET).len(), 1);
}

#[tokio::test]
async fn five_wrong_passwords_lock_an_address_whether_it_has_an_account_or_not() {
    let server = InProcess::start().await;
    let ann = server.client().register("ann").await;
    let mut told = Vec::new();
    for email in ["ann@example.com", "nobody@example.com"] {
        let mut answers = Vec::new();
        for _ in 0..6 {
            let mut answer = log_in(&server, email, "not the password").await;
            answer.body["instance"] = json!(null);
            answers.push((answer.status, answer.body));
        }
        told.push(answers);
    }
    assert_eq!(told[0], told[1]);
    let statuses: Vec<u16> = told[0].iter().map(|(status, _)| *status).collect();
    assert_eq!(statuses, [401, 401, 401, 401, 401, 429]);
    let locked = log_in(&server, "Ann@Example.com", PASSWORD).await.problem(429, "login-locked");
    let wait: u64 = locked.header("retry-after").unwrap().parse().unwrap();
    assert!((800..=900).contains(&wait), "{wait}");
    // Whoever is in stays in, and is asked for the password all the same.
    change(&ann, "not the password", NEW).await.problem(422, "invalid-field");
    change(&ann, PASSWORD, NEW).await.expect(200);
    for _ in 0..5 {
        change(&ann, "not the password", PASSWORD).await.problem(422, "invalid-field");
    }
    change(&ann, NEW, "yet another paperclip").await.problem(429, "login-locked");
}

#[tokio::test]
async fn of_fifty_guesses_at_once_no_more_than_five_are_looked_at() {
    let server = InProcess::start().await;
    let ann = server.client().register("ann").await;
    let guesses = (0..50).map(|number| {
        let email = "ann@example.com".to_owned();
        let server = &server;
        async move { log_in(server, &email, &format!("guess number {number}")).await }
    });
    let answers = futures::future::join_all(guesses).await;
    let looked_at = answers.iter().filter(|answer| answer.status == 401).count();
    assert_eq!((looked_at, answers.iter().filter(|answer| answer.status == 429).count()), (5, 45));
    refresh(&ann).await.expect(200);
}

#[tokio::test]
async fn whoever_logs_in_in_time_has_all_attempts_back() {
    let server = InProcess::start().await;
    server.client().register("ann").await;
    for _ in 0..3 {
        for _ in 0..4 {
            log_in(&server, "ann@example.com", "not the password").await.problem(401, "unauthenticated");
        }
        log_in(&server, "ann@example.com", PASSWORD).await.expect(200);
    }
}

/// A server that takes ID tokens of this provider, made out to `shop`.
async fn server_with(provider: &OpenIdProvider) -> InProcess {
    let google = Google { client_id: Some("shop".to_owned()), issuer: provider.issuer.clone() };
    InProcess::start_with(Config { google, ..Config::default() }).await
}

fn with_google(server: &InProcess, id_token: &str) -> impl Future<Output = Answer> {
    server.client().post("/auth/google", &json!({ "id_token": id_token })).send()
}

#[tokio::test]
async fn whoever_is_known_elsewhere_joins_and_comes_back() {
    let people =
        [("g-1", "ann@example.com", true), ("g-2", "bob@example.com", false), ("G-1", "eve@example.com", true)];
    let provider = OpenIdProvider::start(&people).await;
    let server = server_with(&provider).await;
    let joined = with_google(&server, &provider.id_token("shop", "g-1").await).await.expect(200);
    let ann = server.client().logged_in(&joined);
    let shown = me(&server, &ann).await;
    assert_eq!((&shown["email"], &shown["email_verified"]), (&json!("ann@example.com"), &json!(true)));
    assert!(shown["user_name"].as_str().unwrap().starts_with("ann-"), "{shown}");
    let again = with_google(&server, &provider.id_token("shop", "g-1").await).await.expect(200);
    assert_eq!(server.client().logged_in(&again).account(), ann.account());
    let eve = with_google(&server, &provider.id_token("shop", "G-1").await).await.expect(200);
    assert_ne!(server.client().logged_in(&eve).account(), ann.account(), "case makes another person");
    // Without a password nobody can log in with one, and an access token alone sets none, changes no address, deletes
    // nothing.
    log_in(&server, "ann@example.com", PASSWORD).await.problem(401, "unauthenticated");
    change(&ann, "", NEW).await.problem(409, "no-password");
    let elsewhere = json!({ "email": "eve@example.org", "password": "" });
    ann.post("/auth/email/change", &elsewhere).send().await.problem(409, "no-password");
    ann.delete("/auth/account", &json!({ "password": "" })).send().await.problem(409, "no-password");
    let letter = ask_to_reset(&server, "ann@example.com").await;
    confirm(&server, &letter.token, PASSWORD).await.expect(200);
    log_in(&server, "ann@example.com", PASSWORD).await.expect(200);

    with_google(&server, &provider.id_token("shop", "g-2").await).await.problem(401, "unauthenticated");
    with_google(&server, &provider.id_token("another-shop", "g-1").await).await.problem(401, "unauthenticated");
    for forged in forged_id_tokens(&provider.id_token("shop", "g-1").await) {
        with_google(&server, &forged).await.problem(401, "unauthenticated");
    }
}

/// What is left of an ID token once somebody has worked on it.
fn forged_id_tokens(good: &str) -> Vec<String> {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
    let parts: Vec<&str> = good.split('.').collect();
    let claims = String::from_utf8(BASE64.decode(parts[1]).or_fail("read an ID token")).or_fail("read its claims");
    let with_claims = |claims: &str| format!("{}.{}.{}", parts[0], BASE64.encode(claims), parts[2]);
    let with_header = |header: &str, signature: &str| format!("{}.{}.{signature}", BASE64.encode(header), parts[1]);
    vec![
        with_claims(&claims.replace("ann@", "bob@")),
        with_claims(&claims.replace("g-1", "g-2")),
        with_header(r#"{"typ":"JWT","alg":"none"}"#, ""),
        with_header(r#"{"typ":"JWT","alg":"HS256"}"#, parts[2]),
        with_header(r#"{"typ":"JWT","alg":"RS256","kid":"another"}"#, parts[2]),
        format!("{}.{}.", parts[0], parts[1]),
        format!("{}.{}", parts[0], parts[1]),
        "x".to_owned(),
        String::new(),
    ]
}

#[tokio::test]
async fn a_known_person_gets_an_account_back_that_somebody_else_had_opened_with_their_address() {
    let provider = OpenIdProvider::start(&[("g-1", "ann@example.com", true), ("g-2", "bob@example.com", true)]).await;
    let server = server_with(&provider).await;
    // Eve joins with Ann's address, and waits.
    let eve = server.client().register("ann").await;
    let joined = with_google(&server, &provider.id_token("shop", "g-1").await).await.expect(200);
    assert_eq!(server.client().logged_in(&joined).account(), eve.account());
    refresh(&eve).await.problem(401, "unauthenticated");
    log_in(&server, "ann@example.com", PASSWORD).await.problem(401, "unauthenticated");
    // Bob has shown to read his mailbox: he keeps what he has, and can log in either way.
    let bob = server.client().register("bob").await;
    let letter = newest(&server, "bob@example.com", VERIFY).await;
    server.client().post("/auth/email/verify", &json!({ "token": letter.token })).send().await.expect(200);
    let joined = with_google(&server, &provider.id_token("shop", "g-2").await).await.expect(200);
    assert_eq!(server.client().logged_in(&joined).account(), bob.account());
    refresh(&bob).await.expect(200);
    log_in(&server, "bob@example.com", PASSWORD).await.expect(200);
}

#[tokio::test]
async fn nobody_logs_in_through_others_where_that_is_not_set_up() {
    let server = InProcess::start().await;
    with_google(&server, "x").await.problem(404, "not-found");
}

#[test]
fn a_mailed_token_has_the_length_that_tests_look_for() {
    use domain::{AccountId, ChallengeId};
    let (account, challenge) = (AccountId(uuid::Uuid::nil()), ChallengeId(uuid::Uuid::nil()));
    let token = RootSecret::new(b"x").mailed_token(eventstore::secrets::Purpose::Email, account, challenge);
    assert_eq!(token.len(), 64);
}
