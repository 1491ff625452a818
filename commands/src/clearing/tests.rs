//! What is offered goes some at a time, however much it is.

use domain::Timestamp;
use domain::category::Attributes;
use domain::listing::{AuctionPlan, Command, Condition, Delivery, Details, Listing, Sale};
use domain::money::{Currency, Money};
use eventstore::clock::Clock;
use eventstore::feed::Feed;
use eventstore::follower::Batch;
use eventstore::log::{self, Head};
use eventstore::mint;
use eventstore::testing::database;

use super::*;
use crate::EngineSettings;
use crate::process::Following;

/// Says that these are offered, whatever has become of them.
struct All(Vec<ListingId>);

impl Offers for All {
    fn of(&self, _: AccountId, _: Position) -> BoxFuture<'_, Result<Vec<ListingId>, NotKnown>> {
        Box::pin(async { Ok(self.0.clone()) })
    }
}

fn draft(seller: AccountId, sale: Sale) -> Command {
    let details = Details {
        title: "Watch".to_owned(),
        description: String::new(),
        category: "watches".to_owned(),
        brand: None,
        condition: Condition::Good,
        delivery: Delivery::Physical,
        shipping: None,
        attributes: Attributes::new(),
    };
    Command::Draft { seller, details, sale }
}

#[tokio::test]
async fn what_somebody_offers_is_taken_off_some_at_a_time_and_stays_so() {
    const LISTINGS: usize = 120;
    let database = database().await;
    let settings = EngineSettings::default();
    let started = Engine::start(&database, settings, Clock::new(), Head::at(0), Feed::default()).await;
    let (engine, seller) = (started.unwrap().0, AccountId(mint::id()));
    let price = Money::new(1, Currency::USD).unwrap();
    let publish = move || Command::Publish { by: seller, review_until: None };
    let mut offered = Vec::new();
    for _ in 0..LISTINGS {
        let id = ListingId(mint::id());
        offered.push(id);
        let offer = move |world: &mut World<'_>| {
            world.execute::<Listing>(id, draft(seller, Sale::FixedPrice { price, variants: vec![] }))?;
            world.execute::<Listing>(id, publish()).map(drop)
        };
        engine.submit(Request::once(Metadata::anonymous()), offer).await.unwrap();
    }
    let running = ListingId(mint::id());
    let auction =
        AuctionPlan { start_price: price, reserve_price: None, buy_now_price: None, starts_at: None, duration_s: 60 };
    let schedule = move |world: &mut World<'_>| {
        world.execute::<Listing>(running, draft(seller, Sale::Auction(auction.clone())))?;
        world.execute::<Listing>(running, publish()).map(drop)
    };
    engine.submit(Request::once(Metadata::anonymous()), schedule).await.unwrap();
    // An auction that was scheduled at the last moment goes on to its end, and holds nothing else up.
    let all: Vec<ListingId> = [running].into_iter().chain(offered.iter().copied()).collect();
    let clearing = Following(Clearing { engine: engine.clone(), offers: Arc::new(All(all)) });
    let event = DomainEvent::Account(seller, account::Event::AccountErased {});
    let erased = Recorded {
        position: 1,
        commit_position: 1,
        event_id: mint::id(),
        sequence: 1,
        recorded_at: Timestamp::default(),
        act: None,
        event,
    };
    let batch = Batch { events: vec![erased], people: PersonKeys::default() };
    let head = || async { log::head(&database.pool(1)).await.unwrap() };
    let before = head().await;
    clearing.take(&batch).await.unwrap();
    let after = head().await;
    let commands: i64 = sqlx::query_scalar("select count(distinct commit_position) from events where position > $1")
        .bind(before)
        .fetch_one(&database.pool(1))
        .await
        .unwrap();
    assert_eq!((after - before, commands), (120, 3));
    for id in offered {
        let archived = engine.read(move |world| Ok(matches!(world.get::<Listing>(id)?, Listing::Archived(_)))).await;
        assert!(archived.unwrap(), "{id}");
    }
    let goes_on = engine.read(move |world| Ok(matches!(world.get::<Listing>(running)?, Listing::Active(_)))).await;
    assert!(goes_on.unwrap());
    // Once more, as after a crash.
    clearing.take(&batch).await.unwrap();
    assert_eq!(head().await, after);
}
