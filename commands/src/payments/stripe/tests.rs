//! What Stripe is asked and what follows from its answers, by shapes that satisfy the types of its own client library (see
//! `docs/stripe.md`), in the orders that keys, crashes and other people's errors bring about.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Mutex;

use domain::{Currency, Money};
use futures::future::{BoxFuture, ready};

use super::super::provider::{Action, RecordKind, What};
use super::super::signature::sign;
use super::wire::{Reply, Verb};
use super::*;

/// When everything in the shapes was made; the operation too, as its id tells.
const MADE: i64 = 1_795_363_200;
const OPERATION: &str = "01a203fc-5c00-7f80-9a0b-1c2d3e4f5061";

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_timestamp(MADE + seconds, 0).unwrap()
}

fn a_minute_later() -> Timestamp {
    at(60)
}

fn two_hours_later() -> Timestamp {
    at(7_200)
}

fn two_days_later() -> Timestamp {
    at(172_800)
}

fn operation() -> Uuid {
    OPERATION.parse().unwrap()
}

fn shape(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/payments/stripe/shapes");
    std::fs::read(folder.join(format!("{name}.json"))).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Says what it was told to say, and remembers what it was asked.
#[derive(Default)]
struct Script {
    answers: Mutex<VecDeque<Result<Reply, ProviderUnreachable>>>,
    asked: Mutex<Vec<Ask>>,
}

impl Wire for Script {
    fn send<'a>(&'a self, ask: &'a Ask) -> BoxFuture<'a, Result<Reply, ProviderUnreachable>> {
        self.asked.lock().unwrap().push(ask.clone());
        let answer = self.answers.lock().unwrap().pop_front();
        Box::pin(ready(answer.unwrap_or_else(|| panic!("nobody expected {ask:?}"))))
    }
}

/// Stripe, with a script in its place.
struct Scene {
    stripe: Stripe,
    script: Arc<Script>,
}

impl Scene {
    /// Answers are statuses and shapes: `200 refund`, `400 error.api replayed`; or `away`.
    fn new(real_now: fn() -> Timestamp, answers: &[&str]) -> Self {
        let answers = answers.iter().map(|answer| match answer.split(' ').collect::<Vec<_>>().as_slice() {
            ["away"] => Err(ProviderUnreachable("away".to_owned())),
            [status, name, rest @ ..] => {
                Ok(Reply { status: status.parse().unwrap(), replayed: rest == ["replayed"], body: shape(name) })
            }
            other => panic!("{other:?}"),
        });
        let script = Arc::new(Script { answers: Mutex::new(answers.collect()), ..Script::default() });
        let wire = script.clone();
        let site = "https://shop.example".to_owned();
        let webhook_secrets = vec![Secret::new("whsec_platform"), Secret::new("whsec_connect")];
        Self { stripe: Stripe { wire, webhook_secrets, return_url: None, site, real_now }, script }
    }

    /// What was asked, as `POST /v1/refunds key`, of which the key without what all have in common. All answers are used.
    #[track_caller]
    fn asked(&self) -> Vec<String> {
        assert!(self.script.answers.lock().unwrap().is_empty(), "not everything was asked: {:?}", self.script.asked);
        let line = |ask: &Ask| {
            let verb = if ask.verb == Verb::Get { "GET" } else { "POST" };
            let key = ask.key.as_deref().and_then(|key| key.strip_prefix("tradepost-"));
            let key = key.map(|key| key.strip_prefix(&format!("{OPERATION}-")).unwrap_or(key));
            format!("{verb} {} {}", ask.path, key.unwrap_or_default()).trim_end().to_owned()
        };
        self.script.asked.lock().unwrap().iter().map(line).collect()
    }

    /// What was said with one of the questions.
    fn field(&self, question: usize, name: &str) -> Option<String> {
        let asked = self.script.asked.lock().unwrap();
        asked[question].fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.clone())
    }

    fn account(&self, question: usize) -> Option<String> {
        self.script.asked.lock().unwrap()[question].account.clone()
    }
}

/// What a future brings, however long it sleeps.
fn wait<T>(asked: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(asked)
}

fn usd(minor: i64) -> Money {
    Money::new(minor, Currency::USD).unwrap()
}

fn charge() -> Charge {
    let (operation, amount, token) = (operation(), usd(1_099), "pm_1Q1".to_owned());
    Charge { operation, amount, token, reference: None, requested_at: at(0), now: at(0), check_at: None }
}

fn known_charge() -> Charge {
    Charge { reference: Some("pi_3Q1".to_owned()), check_at: Some(at(0)), ..charge() }
}

fn refund() -> Refund {
    let (operation, amount, charge, token) = (operation(), usd(1_099), "pi_3Q1".to_owned(), "pm_1Q1".to_owned());
    Refund { operation, amount, charge, token, reference: None, now: at(0), check_at: None }
}

fn payout() -> Payout {
    let (operation, amount, destination) = (operation(), usd(1_099), "acct_1Q1".to_owned());
    Payout { operation, amount, destination, reference: None, now: at(0), check_at: None }
}

fn known_payout() -> Payout {
    Payout { reference: Some("po_1Q1".to_owned()), check_at: Some(at(0)), ..payout() }
}

fn succeeded(reference: &str, fee: Option<Money>) -> Outcome {
    Outcome::Succeeded { reference: reference.to_owned(), fee }
}

fn refused_because(reason: &str) -> Outcome {
    Outcome::Declined { reason: reason.to_owned() }
}

const CREATE: &str = "POST /v1/payment_intents charge";
const SEARCH: &str = "GET /v1/payment_intents/search";
const LOOK: &str = "GET /v1/payment_intents/pi_3Q1";
const CANCEL: &str = "POST /v1/payment_intents/pi_3Q1/cancel";

mod charges {
    use super::*;

    #[track_caller]
    fn check(
        real_now: fn() -> Timestamp,
        charge: &Charge,
        answers: &[&str],
        outcome: Result<Outcome, ()>,
        asked: &[&str],
    ) {
        let scene = Scene::new(real_now, answers);
        let told = wait(scene.stripe.charge(charge)).map_err(|_| ());
        assert_eq!((told, scene.asked()), (outcome, asked.iter().map(|line| (*line).to_owned()).collect()));
    }

    #[test]
    fn a_payment_says_what_it_is_and_tells_the_fee() {
        let scene = Scene::new(a_minute_later, &["200 intent.succeeded"]);
        let told = wait(scene.stripe.charge(&charge())).unwrap();
        assert_eq!(told, succeeded("pi_3Q1", Some(usd(62))));
        assert_eq!(scene.asked(), [CREATE]);
        let expected = [
            ("amount", "1099"),
            ("currency", "usd"),
            ("payment_method", "pm_1Q1"),
            ("confirm", "true"),
            ("capture_method", "automatic"),
            ("metadata[operation]", OPERATION),
        ];
        for (name, value) in expected {
            assert_eq!(scene.field(0, name).as_deref(), Some(value), "{name}");
        }
    }

    #[test]
    fn a_payer_proves_who_they_are_by_the_library_or_on_a_page() {
        let action = |redirect_url: Option<&str>| {
            let client_secret = Some(Secret::new("pi_3Q1_secret_abc"));
            let action = Action { redirect_url: redirect_url.map(str::to_owned), client_secret };
            Outcome::ActionRequired { reference: "pi_3Q1".to_owned(), action, check_at: at(600) }
        };
        check(a_minute_later, &charge(), &["200 intent.requires_action"], Ok(action(None)), &[CREATE]);
        let mut scene = Scene::new(a_minute_later, &["200 intent.redirect"]);
        scene.stripe.return_url = Some("https://shop.example/paid".to_owned());
        let told = wait(scene.stripe.charge(&charge())).unwrap();
        assert_eq!(told, action(Some("https://hooks.stripe.com/3d_secure_2/hosted?id=1")));
        assert_eq!(scene.field(0, "return_url").as_deref(), Some("https://shop.example/paid"));
    }

    #[test]
    fn who_does_not_prove_it_for_an_hour_has_given_up() {
        let late = Ok(refused_because("the payment was not confirmed in time"));
        let answers = ["200 intent.requires_action", "200 intent.canceled"];
        check(two_hours_later, &known_charge(), &answers, late, &[LOOK, CANCEL]);
        // Who has just done it has paid.
        let answers = ["200 intent.requires_action", "400 error.unexpected_state", "200 intent.succeeded"];
        let paid = Ok(succeeded("pi_3Q1", Some(usd(62))));
        check(two_hours_later, &known_charge(), &answers, paid, &[LOOK, CANCEL, LOOK]);
    }

    #[test]
    fn a_declined_card_is_told_once_nobody_can_pay_any_more() {
        let declined = refused_because("Your card has insufficient funds.");
        let answers = ["402 error.declined", "200 intent.canceled"];
        check(a_minute_later, &charge(), &answers, Ok(declined.clone()), &[CREATE, CANCEL]);
        check(a_minute_later, &charge(), &["402 error.declined", "away"], Err(()), &[CREATE, CANCEL]);
        let answers = ["200 intent.failed", "200 intent.canceled"];
        check(a_minute_later, &known_charge(), &answers, Ok(declined.clone()), &[LOOK, CANCEL]);
        check(a_minute_later, &known_charge(), &["200 intent.canceled"], Ok(declined), &[LOOK]);
    }

    #[test]
    fn what_is_wrong_with_the_question_is_final_and_what_is_wrong_with_us_is_not() {
        let cases = [
            ("400 error.missing", Some("this is no card or other payment method that can still be used")),
            ("404 error.missing", Some("this is no card or other payment method that can still be used")),
            ("400 error.too_small", Some("Amount must be at least $0.50 usd")),
            ("401 error.unauthorized", None),
            ("403 error.unauthorized", None),
            ("400 error.key_in_use", None),
            ("429 error.api", None),
            ("500 error.api", None),
            ("302 error.missing", None),
            // Not Stripe's words: something on the way.
            ("404 account", None),
            ("away", None),
        ];
        for (answer, reason) in cases {
            let outcome = reason.map(refused_because).ok_or(());
            check(a_minute_later, &charge(), &[answer], outcome, &[CREATE]);
        }
    }

    #[test]
    fn whoever_asks_at_the_same_time_waits_for_the_same_answer() {
        let busy = "409 error.key_in_use";
        let paid = Ok(succeeded("pi_3Q1", Some(usd(62))));
        check(a_minute_later, &charge(), &[busy, busy, "200 intent.succeeded"], paid, &[CREATE; 3]);
        check(a_minute_later, &charge(), &[busy; 5], Err(()), &[CREATE; 5]);
    }

    #[test]
    fn what_was_asked_for_longer_ago_than_keys_last_is_looked_for_first() {
        let paid = || Ok(succeeded("pi_3Q1", Some(usd(62))));
        check(two_days_later, &charge(), &["200 intents.found"], paid(), &[SEARCH]);
        check(two_days_later, &charge(), &["200 nothing", "200 intent.succeeded"], paid(), &[SEARCH, CREATE]);
        check(two_days_later, &charge(), &["500 error.api"], Err(()), &[SEARCH]);
        // Whatever its id says: what counts is when it was asked for.
        let ageless = Charge { operation: Uuid::nil(), ..charge() };
        let scene = Scene::new(two_days_later, &["500 error.api"]);
        assert!(wait(scene.stripe.charge(&ageless)).is_err());
        assert_eq!(scene.asked(), [SEARCH]);
        let query = format!("metadata['operation']:'{}'", Uuid::nil());
        assert_eq!(scene.field(0, "query"), Some(query));
    }

    #[test]
    fn where_a_key_tells_no_more_the_payment_is_looked_for() {
        let paid = || Ok(succeeded("pi_3Q1", Some(usd(62))));
        for answer in ["400 error.key_reused", "500 error.api replayed"] {
            check(a_minute_later, &charge(), &[answer, "200 intents.found"], paid(), &[CREATE, SEARCH]);
            check(a_minute_later, &charge(), &[answer, "200 nothing"], Err(()), &[CREATE, SEARCH]);
        }
    }

    #[test]
    fn another_amount_says_nothing_of_this_one() {
        let other = Charge { amount: usd(1_100), ..known_charge() };
        check(a_minute_later, &other, &["200 intent.succeeded"], Err(()), &[LOOK]);
        let yen = Charge { amount: Money::new(1_099, Currency::JPY).unwrap(), ..known_charge() };
        check(a_minute_later, &yen, &["200 intent.succeeded"], Err(()), &[LOOK]);
    }

    #[test]
    fn what_cannot_be_asked_is_not_asked() {
        let dinar = Charge { amount: Money::new(1_234, Currency::KWD).unwrap(), ..charge() };
        let reason = "amounts in KWD must be multiples of 10 minor units here";
        check(a_minute_later, &dinar, &[], Ok(refused_because(reason)), &[]);
        let merchant = Charge { token: "acct_1Q1".to_owned(), ..charge() };
        check(a_minute_later, &merchant, &[], Ok(refused_because("this is no card or other payment method")), &[]);
        let elsewhere = Charge { reference: Some("pi_1/../../accounts".to_owned()), ..charge() };
        check(a_minute_later, &elsewhere, &[], Err(()), &[]);
    }

    #[test]
    fn one_that_is_under_way_is_looked_at_again() {
        let pending = Outcome::Pending { reference: Some("pi_3Q1".to_owned()), check_at: at(600) };
        check(a_minute_later, &charge(), &["200 intent.processing"], Ok(pending), &[CREATE]);
    }
}

mod refunds {
    use super::*;

    const CREATE: &str = "POST /v1/refunds refund";
    const FIND: &str = "GET /v1/refunds";

    #[track_caller]
    fn check(
        real_now: fn() -> Timestamp,
        refund: &Refund,
        answers: &[&str],
        outcome: Result<Outcome, ()>,
        asked: &[&str],
    ) {
        let scene = Scene::new(real_now, answers);
        let told = wait(scene.stripe.refund(refund)).map_err(|_| ());
        assert_eq!((told, scene.asked()), (outcome, asked.iter().map(|line| (*line).to_owned()).collect()));
    }

    fn pending(reference: Option<&str>) -> Outcome {
        Outcome::Pending { reference: reference.map(str::to_owned), check_at: at(0) + BANKS_TAKE }
    }

    #[test]
    fn money_goes_back_at_once_later_or_not_at_all() {
        check(a_minute_later, &refund(), &["200 refund.succeeded"], Ok(succeeded("re_3Q1", None)), &[CREATE]);
        check(a_minute_later, &refund(), &["200 refund.pending"], Ok(pending(Some("re_3Q1"))), &[CREATE]);
        let known = Refund { reference: Some("re_3Q1".to_owned()), check_at: Some(at(0)), ..refund() };
        let failed = refused_because("expired or canceled card");
        check(a_minute_later, &known, &["200 refund.failed"], Ok(failed), &["GET /v1/refunds/re_3Q1"]);
    }

    #[test]
    fn one_that_may_have_been_made_is_looked_for_among_those_of_its_charge() {
        let again = Refund { check_at: Some(at(0)), ..refund() };
        check(a_minute_later, &again, &["200 refunds"], Ok(succeeded("re_3Q1", None)), &[FIND]);
        check(two_days_later, &refund(), &["200 refunds"], Ok(succeeded("re_3Q1", None)), &[FIND]);
        let answers = ["200 nothing", "200 refund.succeeded"];
        check(two_days_later, &refund(), &answers, Ok(succeeded("re_3Q1", None)), &[FIND, CREATE]);
    }

    #[test]
    fn what_the_balance_does_not_cover_waits_and_is_tried_under_the_next_key() {
        check(a_minute_later, &refund(), &["400 error.not_covered"], Ok(pending(None)), &[CREATE]);
        let again = Refund { check_at: Some(at(0)), ..refund() };
        let answers = ["200 nothing", "400 error.not_covered replayed", "200 refund.succeeded"];
        let asked = [FIND, CREATE, "POST /v1/refunds refund-1"];
        check(a_minute_later, &again, &answers, Ok(succeeded("re_3Q1", None)), &asked);
    }

    #[test]
    fn of_a_charge_that_is_not_stripes_there_is_none() {
        let other = Refund { charge: "ch_sandbox".to_owned(), ..refund() };
        check(a_minute_later, &other, &[], Err(()), &[]);
    }
}

mod payouts {
    use super::*;

    const TRANSFER: &str = "POST /v1/transfers transfer";
    const TRANSFERRED: &str = "GET /v1/transfers/tr_1Q1";
    const SEND: &str = "POST /v1/payouts payout";
    const FIND: &str = "GET /v1/payouts";
    const FIND_TRANSFER: &str = "GET /v1/transfers";
    const REVERSE: &str = "POST /v1/transfers/tr_1Q1/reversals reversal";
    const SENT: &str = "GET /v1/payouts/po_1Q1";

    #[track_caller]
    fn check(
        real_now: fn() -> Timestamp,
        payout: &Payout,
        answers: &[&str],
        outcome: Result<Outcome, ()>,
        asked: &[&str],
    ) {
        let scene = Scene::new(real_now, answers);
        let told = wait(scene.stripe.payout(payout)).map_err(|_| ());
        assert_eq!((told, scene.asked()), (outcome, asked.iter().map(|line| (*line).to_owned()).collect()));
    }

    fn pending(reference: Option<&str>) -> Outcome {
        Outcome::Pending { reference: reference.map(str::to_owned), check_at: at(0) + BANKS_TAKE }
    }

    #[test]
    fn money_goes_to_the_merchant_and_from_there_to_the_bank() {
        let scene = Scene::new(a_minute_later, &["200 transfer", "200 transfer", "200 payout.pending"]);
        let told = wait(scene.stripe.payout(&payout())).unwrap();
        assert_eq!(told, pending(Some("po_1Q1")));
        assert_eq!(scene.asked(), [TRANSFER, TRANSFERRED, SEND]);
        assert_eq!(scene.field(0, "destination").as_deref(), Some("acct_1Q1"));
        assert_eq!(scene.field(0, "transfer_group").as_deref(), Some(OPERATION));
        assert_eq!((scene.account(0), scene.account(2).as_deref()), (None, Some("acct_1Q1")));
        assert_eq!(scene.field(2, "metadata[operation]").as_deref(), Some(OPERATION));
        check(a_minute_later, &known_payout(), &["200 payout.paid"], Ok(succeeded("po_1Q1", None)), &[SENT]);
    }

    #[test]
    fn one_that_has_failed_takes_back_what_the_merchant_got() {
        let failed = || Ok(refused_because("The bank account has been closed"));
        let answers = ["200 payout.failed", "200 transfers", "200 reversal"];
        check(a_minute_later, &known_payout(), &answers, failed(), &[SENT, FIND_TRANSFER, REVERSE]);
        let answers = ["200 payout.failed", "200 transfers", "away"];
        check(a_minute_later, &known_payout(), &answers, Err(()), &[SENT, FIND_TRANSFER, REVERSE]);
    }

    #[test]
    fn one_that_no_bank_takes_is_not_begun_again_after_it_was_taken_back() {
        let refused = || Ok(refused_because("the payment provider does not take this"));
        let answers = ["200 transfer", "200 transfer", "400 error.no_bank", "200 reversal"];
        check(a_minute_later, &payout(), &answers, refused(), &[TRANSFER, TRANSFERRED, SEND, REVERSE]);
        // The server has died before it could say so; the key still tells how the transfer began.
        let answers = ["200 transfer replayed", "200 transfer.reversed"];
        let told = Ok(refused_because("the payment provider has not paid it out"));
        check(a_minute_later, &payout(), &answers, told, &[TRANSFER, TRANSFERRED]);
    }

    #[test]
    fn whatever_may_have_happened_is_looked_for_before_anything_is_asked() {
        let again = Payout { check_at: Some(at(0)), ..payout() };
        check(a_minute_later, &again, &["200 payouts"], Ok(pending(Some("po_1Q1"))), &[FIND]);
        let answers = ["200 nothing", "200 transfers", "200 payout.pending"];
        check(a_minute_later, &again, &answers, Ok(pending(Some("po_1Q1"))), &[FIND, FIND_TRANSFER, SEND]);
        let answers = ["200 nothing", "200 nothing", "200 transfer", "200 transfer", "200 payout.pending"];
        let asked = [FIND, FIND_TRANSFER, TRANSFER, TRANSFERRED, SEND];
        check(two_days_later, &payout(), &answers, Ok(pending(Some("po_1Q1"))), &asked);
    }

    #[test]
    fn what_the_balance_does_not_cover_yet_waits() {
        check(a_minute_later, &payout(), &["400 error.not_covered"], Ok(pending(None)), &[TRANSFER]);
        let answers = ["200 transfer", "200 transfer", "400 error.not_covered"];
        check(a_minute_later, &payout(), &answers, Ok(pending(None)), &[TRANSFER, TRANSFERRED, SEND]);
        let again = Payout { check_at: Some(at(0)), ..payout() };
        let replayed = "400 error.not_covered replayed";
        let answers = ["200 nothing", "200 nothing", replayed, replayed, "400 error.not_covered"];
        let asked = [FIND, FIND_TRANSFER, TRANSFER, "POST /v1/transfers transfer-1", "POST /v1/transfers transfer-2"];
        check(a_minute_later, &again, &answers, Ok(pending(None)), &asked);
    }

    #[test]
    fn nobody_but_a_merchant_is_paid_out_and_forints_are_whole() {
        let card = Payout { destination: "pm_1Q1".to_owned(), ..payout() };
        let reason = "money is paid out to merchants of the payment provider only";
        check(a_minute_later, &card, &[], Ok(refused_because(reason)), &[]);
        let forints = Payout { amount: Money::new(1_099, "HUF".parse().unwrap()).unwrap(), ..payout() };
        let reason = "amounts in HUF must be multiples of 100 minor units here";
        check(a_minute_later, &forints, &[], Ok(refused_because(reason)), &[]);
    }
}

mod merchants {
    use super::*;

    fn onboarding(reference: Option<&str>) -> Onboarding {
        Onboarding { operation: operation(), reference: reference.map(str::to_owned), now: at(0) }
    }

    #[test]
    fn a_seller_becomes_a_merchant_once_and_opens_a_page_as_often_as_wanted() {
        let link = Link {
            reference: "acct_1Q1".to_owned(),
            url: "https://connect.stripe.com/setup/e/acct_1Q1/x".to_owned(),
            expires_at: at(300),
        };
        let scene = Scene::new(a_minute_later, &["200 account", "200 account_link"]);
        assert_eq!(wait(scene.stripe.onboard(&onboarding(None))).unwrap(), link);
        assert_eq!(scene.asked(), ["POST /v1/accounts account", "POST /v1/account_links"]);
        assert_eq!(scene.field(0, "settings[payouts][schedule][interval]").as_deref(), Some("manual"));
        let again = Scene::new(a_minute_later, &["200 account_link"]);
        assert_eq!(wait(again.stripe.onboard(&onboarding(Some("acct_1Q1")))).unwrap(), link);
    }

    #[test]
    fn a_merchant_is_paid_out_once_stripe_knows_enough() {
        let look = |answer: &str| {
            let scene = Scene::new(a_minute_later, &[answer]);
            wait(scene.stripe.merchant("acct_1Q1")).map_err(|_| ())
        };
        let due = ["business_type", "external_account", "tos_acceptance.date"].map(str::to_owned).to_vec();
        assert_eq!(look("200 account"), Ok(MerchantStatus { payouts: false, due }));
        assert_eq!(look("200 account.ready"), Ok(MerchantStatus { payouts: true, due: Vec::new() }));
        assert_eq!(look("404 error.missing"), Ok(MerchantStatus { payouts: false, due: Vec::new() }));
        assert_eq!(look("401 error.unauthorized"), Err(()));
    }
}

mod webhooks {
    use super::*;

    fn listen(name: &str) -> Vec<Notice> {
        let (scene, body) = (Scene::new(a_minute_later, &[]), shape(name));
        let headers: Headers =
            [(SIGNATURE_HEADER, sign(&body, &Secret::new("whsec_connect"), at(10)))].into_iter().collect();
        scene.stripe.read_webhook(&headers, &body, at(20)).unwrap()
    }

    /// What an event says, its operation, and what it is about.
    #[track_caller]
    fn says(name: &str, operation: Option<Uuid>, reference: &str, what: What) {
        let [notice] = <[Notice; 1]>::try_from(listen(name)).unwrap();
        let about = (notice.operation, notice.reference.as_str(), notice.what);
        assert_eq!(about, (operation, reference, what), "{name}");
        assert!(notice.id.starts_with("evt_") && notice.at == at(2), "{name}");
    }

    #[test]
    fn payments_say_how_they_are() {
        let paid = What::ChargeSucceeded { amount: usd(1_099), fee: None };
        says("event.intent.succeeded", Some(operation()), "pi_3Q1", paid);
        let failed = What::ChargeFailed { reason: "Your card has insufficient funds.".to_owned() };
        says("event.intent.canceled", Some(operation()), "pi_3Q1", failed);
        says("event.intent.requires_action", Some(operation()), "pi_3Q1", What::ChargeActionRequired);
        says("event.intent.created", Some(operation()), "pi_3Q1", What::Other);
    }

    /// Another card can be tried on the same page.
    #[test]
    fn a_payment_that_has_failed_may_yet_come() {
        says("event.intent.payment_failed", Some(operation()), "pi_3Q1", What::ChargeActionRequired);
    }

    #[test]
    fn refunds_and_payouts_say_how_they_are() {
        says("event.refund.updated", Some(operation()), "re_3Q1", What::RefundSucceeded);
        let failed = What::RefundFailed { reason: "expired or canceled card".to_owned() };
        says("event.refund.failed", Some(operation()), "re_3Q1", failed);
        says("event.payout.paid", Some(operation()), "po_1Q1", What::PayoutPaid);
        let failed = What::PayoutFailed { reason: "The bank account has been closed".to_owned() };
        says("event.payout.failed", Some(operation()), "po_1Q1", failed);
        says("event.payout.own", None, "po_1Q1", What::Other);
    }

    #[test]
    fn a_dispute_counts_once_money_was_taken_and_its_end_tells_its_beginning() {
        let about =
            |name: &str| listen(name).into_iter().map(|notice| (notice.reference, notice.what)).collect::<Vec<_>>();
        let (intent, dispute) = (|| "pi_3Q1".to_owned(), || "du_1Q1".to_owned());
        let opened = || {
            let what = What::DisputeOpened { dispute: dispute(), amount: usd(1_099), reason: "fraudulent".to_owned() };
            (intent(), what)
        };
        assert_eq!(about("event.dispute.inquiry"), [(intent(), What::Other)]);
        assert_eq!(about("event.dispute.created"), [opened(), (intent(), What::Other)]);
        assert_eq!(about("event.dispute.won"), [opened(), (intent(), What::DisputeWon { dispute: dispute() })]);
        assert_eq!(about("event.dispute.lost"), [opened(), (intent(), What::DisputeLost { dispute: dispute() })]);
        let ids: Vec<_> = listen("event.dispute.won").into_iter().map(|notice| notice.id).collect();
        assert_ne!(ids[0], ids[1]);
    }

    #[test]
    fn merchants_say_whether_they_can_be_paid_out() {
        says("event.account.updated", None, "acct_1Q1", What::MerchantChanged { payouts: true });
        says("event.account.deauthorized", None, "acct_1Q1", What::MerchantChanged { payouts: false });
    }

    /// What is taken in of an event, after Stripe was asked about it.
    #[track_caller]
    fn completed(name: &str, answers: &[&str], asked: &[&str]) -> Result<What, ()> {
        let scene = Scene::new(a_minute_later, answers);
        let notice = listen(name).pop().unwrap();
        let told = wait(scene.stripe.complete(notice)).map(|notice| notice.what);
        assert_eq!(scene.asked(), asked);
        told.map_err(|_| ())
    }

    #[test]
    fn what_a_payment_has_cost_is_asked_for() {
        let paid = What::ChargeSucceeded { amount: usd(1_099), fee: Some(usd(62)) };
        assert_eq!(completed("event.intent.succeeded", &["200 intent.succeeded"], &[LOOK]), Ok(paid));
        assert_eq!(completed("event.intent.succeeded", &["away"], &[LOOK]), Err(()));
    }

    #[test]
    fn a_payment_that_has_failed_is_closed_before_it_is_told() {
        let failed = || Ok(What::ChargeFailed { reason: "Your card has insufficient funds.".to_owned() });
        let event = "event.intent.payment_failed";
        assert_eq!(completed(event, &["200 intent.failed", "200 intent.canceled"], &[LOOK, CANCEL]), failed());
        assert_eq!(completed(event, &["200 intent.canceled"], &[LOOK]), failed());
        assert_eq!(completed(event, &["200 intent.failed", "away"], &[LOOK, CANCEL]), Err(()));
        // With another card, meanwhile.
        let paid = Ok(What::ChargeSucceeded { amount: usd(1_099), fee: Some(usd(62)) });
        let answers = ["200 intent.failed", "400 error.unexpected_state", "200 intent.succeeded"];
        assert_eq!(completed(event, &answers, &[LOOK, CANCEL, LOOK]), paid);
        let waits = Ok(What::ChargeActionRequired);
        let event = "event.intent.requires_action";
        assert_eq!(completed(event, &["200 intent.requires_action"], &[LOOK]), waits);
    }

    #[test]
    fn a_payout_that_has_failed_is_taken_back_before_it_is_told() {
        let failed = || Ok(What::PayoutFailed { reason: "The bank account has been closed".to_owned() });
        let (event, find, look) = ("event.payout.failed", "GET /v1/transfers", "GET /v1/payouts/po_1Q1");
        let reverse = "POST /v1/transfers/tr_1Q1/reversals reversal";
        let answers = ["200 transfers", "200 payout.failed", "200 reversal"];
        assert_eq!(completed(event, &answers, &[find, look, reverse]), failed());
        assert_eq!(completed(event, &["200 nothing"], &[find]), failed());
        assert_eq!(completed(event, &["200 transfers", "200 payout.failed", "away"], &[find, look, reverse]), Err(()));
        assert_eq!(completed(event, &["200 transfers", "200 payout.paid"], &[find, look]), Ok(What::Other));
    }

    #[test]
    fn about_anything_else_nothing_is_asked() {
        for event in
            ["event.refund.failed", "event.payout.paid", "event.payout.own", "event.dispute.won", "event.other"]
        {
            let before = listen(event).pop().unwrap().what;
            assert_eq!(completed(event, &[], &[]), Ok(before));
        }
    }

    #[test]
    fn what_is_of_no_interest_is_taken_and_what_cannot_be_read_is_not() {
        says("event.other", None, "ch_3Q1", What::Other);
        let scene = Scene::new(a_minute_later, &[]);
        for body in ["", "{}", r#"{"id":"evt_1","created":1,"type":"payout.paid","data":{"object":{}}}"#] {
            let signed = sign(body.as_bytes(), &Secret::new("whsec_platform"), at(0));
            let headers: Headers = [(SIGNATURE_HEADER, signed)].into_iter().collect();
            let told = scene.stripe.read_webhook(&headers, body.as_bytes(), at(0));
            assert!(matches!(told, Err(BadWebhook::Unreadable(_))), "{body}: {told:?}");
        }
    }

    #[test]
    fn what_tells_of_an_amount_that_is_not_above_zero_is_not_taken() {
        let scene = Scene::new(a_minute_later, &[]);
        for (event, amount, taken) in [
            ("event.intent.succeeded", 1, true),
            ("event.intent.succeeded", 0, false),
            ("event.intent.succeeded", -1_099, false),
            ("event.dispute.created", 1, true),
            ("event.dispute.created", 0, false),
            ("event.dispute.created", -1_099, false),
        ] {
            let mut body: serde_json::Value = serde_json::from_slice(&shape(event)).unwrap();
            body["data"]["object"]["amount"] = amount.into();
            let body = body.to_string();
            let signed = sign(body.as_bytes(), &Secret::new("whsec_platform"), at(0));
            let headers: Headers = [(SIGNATURE_HEADER, signed)].into_iter().collect();
            let told = scene.stripe.read_webhook(&headers, body.as_bytes(), at(0));
            let refused = matches!(told, Err(BadWebhook::Unreadable(_)));
            assert_eq!((told.is_ok(), refused), (taken, !taken), "{event} of {amount}: {told:?}");
        }
    }

    #[test]
    fn only_what_is_signed_lately_by_one_of_the_secrets_is_listened_to() {
        let (scene, body) = (Scene::new(a_minute_later, &[]), shape("event.payout.paid"));
        let listen = |signature: &str, body: &[u8], now: Timestamp| {
            // However the name is written.
            let headers: Headers = [("Stripe-Signature", signature)].into_iter().collect();
            scene.stripe.read_webhook(&headers, body, now).map(|notices| notices.len())
        };
        let [platform, connect, other] =
            ["whsec_platform", "whsec_connect", "whsec_other"].map(|secret| sign(&body, &Secret::new(secret), at(0)));
        assert_eq!(listen(&platform, &body, at(300)), Ok(1));
        assert_eq!(listen(&connect, &body, at(-300)), Ok(1));
        assert_eq!(listen(&connect, &body, at(301)), Err(BadWebhook::Stale { off_by_s: -301 }));
        assert_eq!(listen(&connect, &body, at(-301)), Err(BadWebhook::Stale { off_by_s: 301 }));
        assert_eq!(listen(&other, &body, at(0)), Err(BadWebhook::WrongSignature));
        assert_eq!(listen(&connect, &shape("event.payout.failed"), at(0)), Err(BadWebhook::WrongSignature));
        let (_, good) = connect.split_once("v1=").unwrap();
        let several = format!("{other},v1={good},v0=12");
        assert_eq!(listen(&several, &body, at(0)), Ok(1));
        assert_eq!(listen(&format!("t={MADE},v0={good}"), &body, at(0)), Err(BadWebhook::Unsigned));
        let unsigned = scene.stripe.read_webhook(&Headers::default(), &body, at(0));
        assert_eq!(unsigned, Err(BadWebhook::Unsigned));
    }
}

mod records {
    use super::*;

    #[test]
    fn every_line_of_the_books_is_read_page_by_page() {
        let scene = Scene::new(a_minute_later, &["200 lines.1", "200 lines.2"]);
        let records = wait(scene.stripe.records(at(0), at(100_000))).unwrap();
        assert_eq!(scene.field(0, "created[gte]"), Some(MADE.to_string()));
        assert_eq!(scene.field(0, "created[lt]"), Some((MADE + 100_000).to_string()));
        assert_eq!(
            (scene.field(0, "starting_after"), scene.field(1, "starting_after").as_deref()),
            (None, Some("txn_7"))
        );
        let euros = Money::new(1_000, "EUR".parse().unwrap()).unwrap();
        let (ours, nobodys) = (Some(operation()), None);
        let expected = [
            ("du_1Q1", nobodys, RecordKind::DisputeReversed, usd(1_099), 0, 86_400),
            ("pi_3Q9", ours, RecordKind::Charge, euros, 65, 900),
            ("po_1Q9", nobodys, RecordKind::Other, usd(-5_000), 0, 800),
            ("trr_1Q1", ours, RecordKind::PayoutReturned, usd(1_099), 0, 700),
            ("tr_1Q1", ours, RecordKind::Payout, usd(-1_099), 0, 600),
            ("re_3Q1", ours, RecordKind::RefundReturned, usd(1_099), 0, 500),
            ("re_3Q1", ours, RecordKind::Refund, usd(-1_099), 0, 400),
            ("du_1Q1", nobodys, RecordKind::Dispute, usd(-1_099), 1_500, 300),
            ("txn_1", nobodys, RecordKind::Other, usd(-200), 0, 200),
            ("pi_3Q1", ours, RecordKind::Charge, usd(1_099), 62, 0),
        ];
        let expected = expected.map(|(reference, operation, kind, amount, fee, seconds)| Record {
            reference: reference.to_owned(),
            operation,
            kind,
            amount,
            fee: usd(fee),
            at: at(seconds),
        });
        assert_eq!(records, expected);
    }

    #[test]
    fn without_all_pages_there_are_no_books() {
        let scene = Scene::new(a_minute_later, &["200 lines.1", "500 error.api"]);
        assert!(wait(scene.stripe.records(at(0), at(100_000))).is_err());
    }
}

mod methods {
    use super::*;

    const ANN: AccountId = AccountId(Uuid::nil());
    const CUSTOMER: &str = "POST /v1/customers 00000000-0000-0000-0000-000000000000-pm_1Q1-customer";
    const ATTACH: &str = "POST /v1/payment_methods/pm_1Q1/attach 00000000-0000-0000-0000-000000000000-pm_1Q1-attach";

    fn keep(token: &str, answers: &[&str], asked: &[&str]) -> Result<Keeping, ()> {
        let scene = Scene::new(a_minute_later, answers);
        let kept = wait(scene.stripe.keep(ANN, token)).map_err(|_| ());
        assert_eq!(scene.asked(), asked);
        kept
    }

    #[test]
    fn what_is_kept_belongs_to_a_customer_of_its_own_and_says_so_when_it_is_charged() {
        let token = "cus_1Q1:pm_1Q1".to_owned();
        let kept = keep("pm_1Q1", &["200 customer", "200 payment_method"], &[CUSTOMER, ATTACH]);
        assert_eq!(kept, Ok(Keeping::Kept { token: token.clone() }));
        for forever in [token.as_str(), "acct_1Q1"] {
            assert_eq!(keep(forever, &[], &[]), Ok(Keeping::Kept { token: forever.to_owned() }));
        }
        let scene = Scene::new(a_minute_later, &["200 intent.succeeded"]);
        // Nobody but whoever keeps it may name it.
        assert!(!scene.stripe.knows(&token));
        assert!(wait(scene.stripe.charge(&Charge { token, ..charge() })).is_ok());
        assert_eq!(scene.field(0, "payment_method").as_deref(), Some("pm_1Q1"));
        assert_eq!(scene.field(0, "customer").as_deref(), Some("cus_1Q1"));
    }

    #[test]
    fn a_card_that_its_bank_refuses_is_not_kept() {
        let refused = Keeping::Refused { reason: "Your card has insufficient funds.".to_owned() };
        assert_eq!(keep("pm_1Q1", &["200 customer", "402 error.declined"], &[CUSTOMER, ATTACH]), Ok(refused));
        assert_eq!(keep("pm_1Q1", &["200 customer", "away"], &[CUSTOMER, ATTACH]), Err(()));
        assert_eq!(keep("pm_1Q1", &["401 error.unauthorized"], &[CUSTOMER]), Err(()));
    }
}

#[test]
fn tokens_are_payment_methods_and_merchants() {
    let scene = Scene::new(a_minute_later, &[]);
    assert!(scene.stripe.knows("pm_1MqLiJLkdIwHu7ixUEgbFdYF") && scene.stripe.knows("acct_1Nv0FGQ9RKHgCVdK"));
    for other in ["", "pm_", "sandbox-succeeds", "tok_visa", "pm_1/../x", "cus_1", "cus_1:", ":pm_1", "cus_/:pm_1"] {
        assert!(!scene.stripe.knows(other), "{other}");
    }
}

#[test]
fn nobody_is_told_to_whom_what_is_kept_belongs() {
    assert_eq!(shown("Your card was declined."), "Your card was declined.");
    assert_eq!(shown("`pm_1Q1` does not belong to `cus_1Q1`."), "the payment provider does not take this");
}
