//! What the tables themselves bear: events inserted without anything that decides.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use commands::CommandKey;
use domain::wallet::{Command, PaymentMethod, Wallet};
use domain::{AccountId, Aggregate, DepositId, Event, HoldId};
use eventstore::clock::Clock;
use eventstore::event::{Metadata, NewEvent};
use eventstore::log::{self, AcceptedKey, Appended, Batch};
use eventstore::{Position, mint};
use sqlx::{Executor, PgConnection, PgPool};
use tokio::task::JoinSet;

use super::BenchError;
use super::market::usd;
use super::scratch::Scratch;
use super::write::workload::Tally;

/// The schema of its tables.
pub(super) const SCHEMA: &str = "raw";

/// Makes tables of the shape of ours.
pub(super) async fn create_tables(scratch: &Scratch) -> Result<(), BenchError> {
    let mut connection = scratch.connect().await?;
    connection.execute(&*format!("create schema {SCHEMA}")).await?;
    for table in ["events", "command_keys", "person_keys", "log_head"] {
        let create = format!("create table {SCHEMA}.{table} (like public.{table} including all)");
        connection.execute(&*create).await?;
    }
    connection.execute(&*format!("insert into {SCHEMA}.log_head (position) values (0)")).await?;
    Ok(())
}

/// An event as the loop writes it for a hold, of a wallet that is new each time.
#[derive(Clone, Debug)]
struct Example(NewEvent);

impl Example {
    fn new() -> Result<Self, BenchError> {
        let (owner, deposit, amount) = (AccountId(mint::id()), DepositId(mint::id()), usd(1_999)?);
        let source = PaymentMethod { provider: "bench".to_owned(), token: "bench".to_owned() };
        let commands = [
            Command::RequestDeposit { deposit, owner, amount, source },
            Command::SettleDeposit { deposit, provider_reference: format!("ch_{deposit}") },
            Command::PlaceHold { hold: HoldId(mint::id()), amount },
        ];
        let (mut wallet, mut held) = (Wallet::default(), None);
        for command in commands {
            for event in wallet.decide(command).map_err(|_| BenchError::Material("hold"))? {
                wallet.evolve(&event);
                held = Some(event);
            }
        }
        let event = held.ok_or(BenchError::Material("hold"))?;
        Ok(Self(NewEvent {
            event_id: mint::id(),
            aggregate_type: Wallet::TYPE,
            aggregate_id: mint::id(),
            sequence: 1,
            event_type: event.event_type(),
            event_version: event.event_version(),
            payload: serde_json::to_string(&event).map_err(|_| BenchError::Material("hold"))?,
            metadata: Metadata::by_account(owner).to_json(),
            recorded_at: Clock::real_now(),
        }))
    }

    fn next(&self) -> NewEvent {
        NewEvent { event_id: mint::id(), aggregate_id: mint::id(), ..self.0.clone() }
    }
}

/// One row a statement, each committed by itself, over a connection per caller. Positions come from a counter here, which
/// costs nothing.
pub(super) async fn rows(
    pool: &PgPool,
    next: &Arc<AtomicI64>,
    callers: usize,
    limit: Duration,
) -> Result<Tally, BenchError> {
    let (example, began) = (Example::new()?, Instant::now());
    let mut tasks = JoinSet::new();
    for _ in 0..callers {
        let (pool, next, example) = (pool.clone(), next.clone(), example.clone());
        tasks.spawn(async move {
            let mut tally = Tally::new()?;
            while began.elapsed() < limit {
                let asked = Instant::now();
                insert(&pool, next.fetch_add(1, Ordering::Relaxed), example.next()).await?;
                tally.attempts += 1;
                tally.accepted_after(asked.elapsed());
            }
            Ok::<_, BenchError>(tally)
        });
    }
    let mut tally = Tally::new()?;
    while let Some(done) = tasks.join_next().await {
        tally.add(&done??)?;
    }
    tally.elapsed = began.elapsed();
    Ok(tally)
}

async fn insert(pool: &PgPool, position: Position, event: NewEvent) -> Result<(), BenchError> {
    sqlx::query(
        "insert into events (aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata,
            position, commit_position, event_id, recorded_at)
         values ($1, $2, $3, $4, $5, $6::text::json, $7::text::json, $8, $8, $9, $10)",
    )
    .bind(event.aggregate_type)
    .bind(event.aggregate_id.to_string())
    .bind(event.sequence.cast_signed())
    .bind(event.event_type)
    .bind(event.event_version)
    .bind(event.payload)
    .bind(event.metadata)
    .bind(position)
    .bind(event.event_id)
    .bind(event.recorded_at)
    .execute(pool)
    .await?;
    Ok(())
}

/// Batches of this size by the statement of the decision loop, over one connection: each is made once the one before is
/// there. Latencies are those of the statement.
pub(super) async fn batches(
    connection: &mut PgConnection,
    next: &Arc<AtomicI64>,
    with_keys: bool,
    size: usize,
    limit: Duration,
) -> Result<Tally, BenchError> {
    let (mut tally, example) = (Tally::new()?, Example::new()?);
    // The head is where the rows have left it.
    let head = next.load(Ordering::Relaxed) - 1;
    sqlx::query("update log_head set position = $1").bind(head).execute(&mut *connection).await?;
    let (began, mut known) = (Instant::now(), head);
    while began.elapsed() < limit {
        let mut batch = Batch { unit_ends: (0..size).collect(), ..Batch::default() };
        for offset in 1..=size {
            let event = example.next();
            if with_keys {
                // As those of clients: hashes, all over the index.
                let id = event.event_id.to_string();
                let CommandKey { key, fingerprint } = CommandKey::from_client("bench", &id, &[&id]);
                batch.keys.push(AcceptedKey {
                    key,
                    fingerprint,
                    offset,
                    answer: "3".to_owned(),
                    recorded_at: event.recorded_at,
                });
            }
            batch.events.push(event);
        }
        let asked = Instant::now();
        let appended = log::append(connection, known, &batch).await;
        if !matches!(appended, Ok(Appended::Committed)) {
            return Err(BenchError::Material("raw batches"));
        }
        known += Position::try_from(size).unwrap_or(Position::MAX);
        for _ in 0..size {
            tally.accepted_after(asked.elapsed());
        }
        tally.attempts += size as u64;
    }
    tally.elapsed = began.elapsed();
    next.store(known + 1, Ordering::Relaxed);
    Ok(tally)
}

/// Compares the table with what was acknowledged.
pub(super) async fn check(connection: &mut PgConnection, expected: i64) -> Result<(), BenchError> {
    let found: i64 = sqlx::query_scalar(&format!("select count(*) from {SCHEMA}.events")).fetch_one(connection).await?;
    if found == expected {
        Ok(())
    } else {
        Err(BenchError::Wrong { side: "raw", what: "the number of events", expected, found })
    }
}
