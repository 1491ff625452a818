//! What becomes of a request when its provider is away, slow, or not sure.

use std::collections::VecDeque;
use std::sync::Mutex;

use domain::{AccountId, Currency, DepositId};
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

    fn charge<'a>(&'a self, _: &'a Order) -> BoxFuture<'a, Result<Outcome, ProviderUnreachable>> {
        self.next()
    }

    fn payout<'a>(&'a self, _: &'a Order) -> BoxFuture<'a, Result<Outcome, ProviderUnreachable>> {
        self.next()
    }
}

fn away() -> ProviderUnreachable {
    ProviderUnreachable("away".to_owned())
}

fn succeeded() -> Outcome {
    Outcome::Succeeded { reference: "ch_1".to_owned() }
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
    let order = order(Uuid::nil(), ten(), &method("scripted"), Timestamp::default());
    let silent = providers([]);
    assert!(silent.ask(Direction::In, &method("scripted"), &order).await.is_err());
    assert!(silent.ask(Direction::Out, &method("another"), &order).await.is_err());
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
            let (amount, source) = (ten(), method("scripted"));
            let command = domain::wallet::Command::RequestDeposit { deposit, owner, amount, source, pays: None };
            world.execute::<Wallet>(wallet, command).map(drop)
        };
        payments.engine.submit(Request::once(Metadata::anonymous()), request).await.unwrap();
        let mut connection = database.connect(None).await.unwrap();
        follower::register(&mut connection, NAME, 1).await.unwrap();
        // It goes on although the provider is not there.
        let mut following = Following(payments.clone());
        assert_eq!(take_batch(&mut following, &mut connection, database.wrapping(), 100).await.unwrap(), 2);
        Self { payments, wallet, deposit }
    }

    async fn check(&self, cause: &str) -> Result<(), FollowError> {
        self.payments.check(Direction::In, self.wallet, self.deposit.0, cause).await
    }

    /// What is available, and when the provider is to be asked again.
    async fn state(&self) -> (i64, Option<Timestamp>) {
        let (wallet, deposit) = (self.wallet, self.deposit);
        let look = move |world: &mut crate::World<'_>| {
            let Wallet::Open(balance) = world.get::<Wallet>(wallet)? else { panic!("not open") };
            Ok((balance.available.minor(), balance.pending_deposit(deposit).and_then(|pending| pending.check_at)))
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
    let pending = || Outcome::Pending { check_at: later };
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
    let waiting = Waiting::begin([Ok(Outcome::Pending { check_at: before - TimeDelta::hours(1) })]).await;
    assert!(waiting.state().await.1.is_some_and(|check_at| check_at >= before + SHORTEST_DELAY));
}

/// Otherwise a timer would be set that is overdue when it is set.
#[tokio::test]
async fn an_answer_that_is_overtaken_by_the_clock_counts_from_when_it_arrives() {
    let waiting = Waiting::begin([Err(away())]).await;
    let Waiting { payments, wallet, deposit } = &waiting;
    let pause = payments.engine.pause().await.unwrap();
    let soon = Outcome::Pending { check_at: payments.clock.now() };
    let answer = payments.report(Direction::In, *wallet, deposit.0, soon, "timer");
    tokio::pin!(answer);
    assert!(futures::poll!(&mut answer).is_pending());
    let later = payments.clock.now() + TimeDelta::hours(1);
    payments.clock.set_forward(later);
    drop(pause);
    answer.await.unwrap();
    assert!(waiting.state().await.1.is_some_and(|check_at| check_at >= later + SHORTEST_DELAY));
}
