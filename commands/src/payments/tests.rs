//! What becomes of a request when its provider is away, slow, or not sure.

use std::collections::VecDeque;
use std::sync::Mutex;

use domain::charge::{Purpose, Terms};
use domain::{AccountId, Currency, DepositId, Money, Timestamp};
use eventstore::feed::Feed;
use eventstore::follower::take_batch;
use eventstore::log::Head;
use eventstore::testing::database;
use eventstore::{follower, mint};

use super::*;
use crate::EngineSettings;
use crate::process::Following;

/// A provider that says what it was told to say, one answer per question, and then never answers again.
#[derive(Debug, Default)]
struct Scripted(Mutex<VecDeque<Result<Outcome, ProviderUnreachable>>>);

impl Scripted {
    fn next(&self) -> BoxFuture<'_, Result<Outcome, ProviderUnreachable>> {
        match self.0.lock().unwrap().pop_front() {
            Some(answer) => Box::pin(std::future::ready(answer)),
            None => Box::pin(std::future::pending()),
        }
    }
}

impl PaymentProvider for Scripted {
    fn name(&self) -> &'static str {
        "scripted"
    }

    fn knows(&self, _: &str) -> bool {
        true
    }

    fn charge<'a>(&'a self, _: &'a Charge) -> Asked<'a, Outcome> {
        self.next()
    }

    fn refund<'a>(&'a self, _: &'a Refund) -> Asked<'a, Outcome> {
        self.next()
    }

    fn payout<'a>(&'a self, _: &'a Payout) -> Asked<'a, Outcome> {
        self.next()
    }

    fn onboard<'a>(&'a self, _: &'a Onboarding) -> Asked<'a, Link> {
        Box::pin(std::future::pending())
    }

    fn merchant<'a>(&'a self, _: &'a str) -> Asked<'a, MerchantStatus> {
        Box::pin(std::future::pending())
    }

    fn read_webhook(&self, _: &Headers, _: &[u8], _: Timestamp) -> Result<Vec<Notice>, BadWebhook> {
        Err(BadWebhook::NotTaken)
    }

    fn records(&self, _: Timestamp, _: Timestamp) -> Asked<'_, Vec<Record>> {
        Box::pin(std::future::pending())
    }
}

fn away() -> ProviderUnreachable {
    ProviderUnreachable("away".to_owned())
}

fn succeeded() -> Outcome {
    Outcome::Succeeded { reference: "ch_1".to_owned(), fee: None }
}

fn providers(script: impl IntoIterator<Item = Result<Outcome, ProviderUnreachable>>) -> Providers {
    Providers::new([Arc::new(Scripted(Mutex::new(script.into_iter().collect()))) as Arc<dyn PaymentProvider>])
}

fn method(provider: &str) -> PaymentMethod {
    PaymentMethod { provider: provider.to_owned(), token: "any".to_owned() }
}

fn ten() -> Money {
    Money::new(1_000, Currency::USD).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_does_not_answer_is_given_up_and_one_that_is_not_in_use_has_not_refused() {
    let charge = Charge {
        operation: Uuid::nil(),
        amount: ten(),
        token: "any".to_owned(),
        reference: None,
        requested_at: Timestamp::default(),
        now: Timestamp::default(),
        check_at: None,
    };
    let silent = providers([]);
    assert!(silent.charge("scripted", &charge).await.is_err());
    assert!(silent.charge("another", &charge).await.is_err());
}

/// The process, and a deposit that was asked for and is still under way.
struct Waiting {
    payments: Payments,
    wallet: WalletId,
    deposit: DepositId,
}

impl Waiting {
    async fn begin(script: impl IntoIterator<Item = Result<Outcome, ProviderUnreachable>>) -> Self {
        let database = database().await;
        let clock = Clock::new();
        let (engine, _) =
            Engine::start(&database, EngineSettings::default(), clock.clone(), Head::at(0), Feed::default())
                .await
                .unwrap();
        let payments = Payments { engine, providers: providers(script), clock };
        let (owner, deposit) = (AccountId(mint::id()), DepositId(mint::id()));
        let wallet = WalletId::of(owner, Currency::USD);
        let request = move |world: &mut crate::World<'_>| {
            let (amount, method) = (ten(), method("scripted"));
            let source = method.clone();
            let command = domain::wallet::Command::RequestDeposit { deposit, owner, amount, source };
            world.execute::<Wallet>(wallet, command)?;
            let (charge, purpose) = (ChargeId::from(deposit), Purpose::Deposit(wallet));
            let terms =
                Terms { charge, payer: owner, guest: false, purpose, amount, method, requested_at: world.now() };
            world.execute::<domain::charge::Charge>(charge, domain::charge::Command::Request { terms }).map(drop)
        };
        payments.engine.submit(Request::once(Metadata::anonymous()), request).await.unwrap();
        let mut connection = database.connect(None).await.unwrap();
        follower::register(&mut connection, NAME, 1).await.unwrap();
        // It goes on although the provider is not there.
        let mut following = Following(payments.clone());
        assert_eq!(take_batch(&mut following, &mut connection, database.wrapping(), 100).await.unwrap(), 3);
        Self { payments, wallet, deposit }
    }

    async fn check(&self, cause: &str) -> Result<(), FollowError> {
        self.payments.check(Question::Charge, self.deposit.0, self.deposit.0, cause).await
    }

    /// What is available, and when the provider is to be asked again.
    async fn state(&self) -> (i64, Option<Timestamp>) {
        let (wallet, charge) = (self.wallet, ChargeId::from(self.deposit));
        let look = move |world: &mut crate::World<'_>| {
            let Wallet::Open(balance) = world.get::<Wallet>(wallet)? else { panic!("not open") };
            let available = balance.available.minor();
            Ok(match charge_state(world, charge)?.phase {
                Phase::Open { check_at, .. } => (available, check_at),
                Phase::Succeeded { .. } | Phase::Failed { .. } => (available, None),
            })
        };
        self.payments.engine.read(look).await.unwrap()
    }
}

#[tokio::test]
async fn a_provider_that_is_away_is_asked_again_until_it_says_how_it_ends() {
    let waiting = Waiting::begin([Err(away()), Err(away()), Ok(succeeded()), Ok(succeeded())]).await;
    let (available, check_at) = waiting.state().await;
    assert!(available == 0 && check_at.is_some());
    assert!(waiting.check("timer").await.is_err());
    assert_eq!(waiting.state().await, (0, check_at));
    waiting.check("timer").await.unwrap();
    assert_eq!(waiting.state().await, (1_000, None));
    waiting.check("timer").await.unwrap();
    assert_eq!(waiting.state().await, (1_000, None));
}

#[tokio::test]
async fn a_provider_that_says_later_twice_is_heard_when_it_says_how_it_ends() {
    let later = Clock::new().now() + TimeDelta::hours(1);
    let pending = || Outcome::Pending { reference: None, check_at: later };
    let waiting = Waiting::begin([Ok(pending()), Ok(pending()), Ok(succeeded())]).await;
    assert_eq!(waiting.state().await, (0, Some(later)));
    waiting.check("the same timer").await.unwrap();
    assert_eq!(waiting.state().await, (0, Some(later)));
    waiting.check("the same timer").await.unwrap();
    assert_eq!(waiting.state().await, (1_000, None));
}

#[tokio::test]
async fn a_provider_is_not_asked_again_at_once_whatever_it_wishes() {
    let before = Clock::new().now();
    let waiting =
        Waiting::begin([Ok(Outcome::Pending { reference: None, check_at: before - TimeDelta::hours(1) })]).await;
    assert!(waiting.state().await.1.is_some_and(|check_at| check_at >= before + charges::SHORTEST_DELAY));
}

/// Otherwise a timer would be set that is overdue when it is set.
#[tokio::test]
async fn an_answer_that_is_overtaken_by_the_clock_counts_from_when_it_arrives() {
    let waiting = Waiting::begin([Err(away())]).await;
    let Waiting { payments, deposit, .. } = &waiting;
    let asked = payments.open_charge(ChargeId::from(*deposit)).await.unwrap().unwrap();
    let pause = payments.engine.pause().await.unwrap();
    let soon = Outcome::Pending { reference: None, check_at: payments.clock.now() };
    let answer = payments.report_charge(&asked, soon, "timer");
    tokio::pin!(answer);
    assert!(futures::poll!(&mut answer).is_pending());
    let later = payments.clock.now() + TimeDelta::hours(1);
    payments.clock.set_forward(later);
    drop(pause);
    answer.await.unwrap();
    assert!(waiting.state().await.1.is_some_and(|check_at| check_at >= later + charges::SHORTEST_DELAY));
}

/// Two nodes may ask at the same time.
#[tokio::test]
async fn one_question_that_is_asked_twice_delays_once_and_is_heard_however_it_ends() {
    let waiting = Waiting::begin([Err(away())]).await;
    let Waiting { payments, deposit, .. } = &waiting;
    let asked = payments.open_charge(ChargeId::from(*deposit)).await.unwrap().unwrap();
    let times = [1, 2].map(|hours| payments.clock.now() + TimeDelta::hours(hours));
    for check_at in times {
        payments.report_charge(&asked, Outcome::Pending { reference: None, check_at }, "timer").await.unwrap();
    }
    assert_eq!(waiting.state().await, (0, Some(times[0])));
    payments.report_charge(&asked, succeeded(), "timer").await.unwrap();
    assert_eq!(waiting.state().await, (1_000, None));
}

fn later() -> Outcome {
    Outcome::Pending { reference: Some("ch_1".to_owned()), check_at: Clock::new().now() + TimeDelta::hours(1) }
}

fn notice(id: &str, what: What) -> Notice {
    let (id, reference) = (id.to_owned(), "ch_1".to_owned());
    Notice { id, at: Timestamp::default(), operation: None, reference, what }
}

#[tokio::test]
async fn what_a_provider_says_by_itself_counts_once_and_whichever_comes_first() {
    let waiting = Waiting::begin([Ok(later())]).await;
    let amount = ten();
    let came = notice("evt_1", What::ChargeSucceeded { amount, fee: None });
    let other = notice("evt_0", What::ChargeSucceeded { amount: Money::new(999, Currency::USD).unwrap(), fee: None });
    assert!(matches!(waiting.payments.take("scripted", other).await, Err(CommandError::Refused { .. })));
    let taken = waiting.payments.take("scripted", came.clone()).await.unwrap();
    assert_eq!((taken.replayed, waiting.state().await), (false, (1_000, None)));
    assert!(waiting.payments.take("scripted", came.clone()).await.unwrap().replayed);
    // Said again under another name, or that it has failed, it changes nothing.
    for what in [What::ChargeSucceeded { amount, fee: None }, What::ChargeFailed { reason: "no".to_owned() }] {
        waiting.payments.take("scripted", notice("evt_2", what)).await.unwrap();
    }
    waiting.check("timer").await.unwrap();
    assert_eq!(waiting.state().await, (1_000, None));
}

#[tokio::test]
async fn a_chargeback_of_a_deposit_is_taken_from_the_wallet_and_comes_back_if_it_is_won() {
    let waiting = Waiting::begin([Ok(later())]).await;
    let (dispute, amount, reason) = ("dp_1".to_owned(), ten(), "fraudulent".to_owned());
    // A dispute says, too, that the money had come.
    let opened = notice("evt_1", What::DisputeOpened { dispute: dispute.clone(), amount, reason });
    waiting.payments.take("scripted", opened.clone()).await.unwrap();
    // Nobody with this wallet has an account here, so that it is the marketplace that bears it.
    assert_eq!(waiting.state().await, (1_000, None));
    waiting.payments.take("scripted", notice("evt_2", What::DisputeWon { dispute: dispute.clone() })).await.unwrap();
    waiting.payments.take("scripted", notice("evt_3", What::DisputeLost { dispute })).await.unwrap();
    assert_eq!(waiting.state().await, (1_000, None));
    let unknown = Notice { reference: "ch_2".to_owned(), ..opened };
    let unknown = Notice { id: "evt_4".to_owned(), ..unknown };
    assert!(matches!(waiting.payments.take("scripted", unknown).await, Err(CommandError::Refused { .. })));
}
