//! Leases: which node does what one at a time should do.
//!
//! A lease is a row that names its holder until it expires, by the database's time. Nothing rests on there being one
//! holder only: a node that was frozen may believe for a moment too long to have it. Whoever does something under a
//! lease needs another reason why two at once do no harm: the head of the log, the sequence that a stream expects.

use std::time::Duration;

use serde::Serialize;
use sqlx::{FromRow, PgPool};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// How often a lease is asked for while it is good: so often that one lost question does not lose it.
const QUESTIONS_PER_LEASE: u32 = 3;

/// Takes the lease if it is free, has expired, is ours already, or is held by a node less suited. Tells who holds it.
const TAKE: &str = "
with taken as (
    insert into leases (name, holder, priority, expires_at)
    values ($1, $2, $3, clock_timestamp() + make_interval(secs => $4))
    on conflict on constraint leases_name do update
        set (holder, priority, expires_at) = row (excluded.holder, excluded.priority, excluded.expires_at)
        where leases.holder = excluded.holder or leases.expires_at < clock_timestamp()
            or leases.priority < excluded.priority
    returning holder
)
select holder from taken
union all
select holder from leases where name = $1 and not exists (select from taken)";

/// What a node wants to hold.
#[derive(Clone, Debug)]
pub struct Lease {
    /// What for.
    pub name: &'static str,
    /// Who asks.
    pub node: Uuid,
    /// How well suited the node is: a higher one takes the lease from a lower.
    pub priority: i32,
    /// How long the lease is good after it was asked for.
    pub ttl: Duration,
}

/// Who holds a lease, as far as this node knows. Clones share it.
#[derive(Clone, Debug)]
pub struct Holder {
    node: Uuid,
    holder: watch::Receiver<Option<Uuid>>,
}

impl Holder {
    /// Whether this node holds it.
    pub fn is_mine(&self) -> bool {
        *self.holder.borrow() == Some(self.node)
    }

    /// The other node that holds it; nothing if it is this one, or nobody is known to.
    pub fn other(&self) -> Option<Uuid> {
        self.holder.borrow().filter(|holder| *holder != self.node)
    }

    /// Waits until this node holds it.
    pub async fn until_mine(&mut self) {
        let mine = Some(self.node);
        if self.holder.wait_for(|holder| *holder == mine).await.is_err() {
            // Nobody asks any more: the node is stopping.
            std::future::pending::<()>().await;
        }
    }

    /// Waits until this node does not hold it.
    pub async fn until_not_mine(&mut self) {
        self.until_not(self.node).await;
    }

    /// Waits until somebody else than `node` holds it, or nobody is known to.
    pub async fn until_not(&mut self, node: Uuid) {
        // When nobody asks any more, nobody is known to hold it.
        let _ = self.holder.wait_for(|holder| *holder != Some(node)).await;
    }
}

impl Lease {
    /// Asks for the lease again and again until `stop`, and gives it up then.
    pub fn keep(self, pool: PgPool, stop: CancellationToken) -> (Holder, impl Future<Output = ()> + Send) {
        self.keep_while(|| true, pool, stop)
    }

    /// The same, but asks only while the node is `fit` to do what the lease is for, and gives it up when it is not.
    pub fn keep_while(
        self,
        fit: impl Fn() -> bool + Send + Sync,
        pool: PgPool,
        stop: CancellationToken,
    ) -> (Holder, impl Future<Output = ()> + Send) {
        let (tell, holder) = watch::channel(None);
        let seen = Holder { node: self.node, holder };
        let keeping = async move {
            stop.run_until_cancelled(self.ask_again_and_again(fit, &pool, &tell)).await;
            tell.send_replace(None);
            self.give_up(&pool).await;
        };
        (seen, keeping)
    }

    async fn ask_again_and_again(&self, fit: impl Fn() -> bool, pool: &PgPool, tell: &watch::Sender<Option<Uuid>>) {
        let mut good_until = Instant::now();
        loop {
            let asked_at = Instant::now();
            if !fit() {
                if tell.send_replace(None) == Some(self.node) {
                    tracing::warn!(lease = self.name, "this node gives a lease up that it is not fit to hold now");
                    let _ = tokio::time::timeout(self.ttl, self.give_up(pool)).await;
                }
                tokio::time::sleep_until(asked_at + self.ttl / QUESTIONS_PER_LEASE).await;
                continue;
            }
            match tokio::time::timeout(self.ttl, self.take(pool)).await {
                Ok(Ok(holder)) => {
                    good_until = asked_at + self.ttl;
                    if tell.send_replace(Some(holder)) != Some(holder) {
                        tracing::info!(lease = self.name, %holder, mine = holder == self.node, "a lease has a new holder");
                    }
                }
                Ok(Err(error)) => tracing::debug!(lease = self.name, %error, "a lease could not be asked for"),
                Err(_) => tracing::debug!(lease = self.name, "nobody answers who holds a lease"),
            }
            let again = asked_at + self.ttl / QUESTIONS_PER_LEASE;
            if good_until < again {
                tokio::time::sleep_until(good_until).await;
                tell.send_replace(None);
            }
            tokio::time::sleep_until(again).await;
        }
    }

    async fn take(&self, pool: &PgPool) -> Result<Uuid, sqlx::Error> {
        sqlx::query_scalar(TAKE)
            .bind(self.name)
            .bind(self.node)
            .bind(self.priority)
            .bind(self.ttl.as_secs_f64())
            .fetch_one(pool)
            .await
    }

    async fn give_up(&self, pool: &PgPool) {
        let given_up = sqlx::query("delete from leases where name = $1 and holder = $2")
            .bind(self.name)
            .bind(self.node)
            .execute(pool)
            .await;
        if let Err(error) = given_up {
            tracing::debug!(lease = self.name, %error, "a lease could not be given up; it expires");
        }
    }
}

/// A lease that somebody holds now.
#[derive(Clone, Debug, Eq, FromRow, PartialEq, Serialize)]
pub struct Held {
    /// What for.
    pub name: String,
    /// Which node.
    pub holder: Uuid,
    /// Milliseconds until it expires, unless it is kept.
    pub good_for_ms: i64,
}

/// The leases that somebody holds.
pub async fn list(pool: &PgPool) -> Result<Vec<Held>, sqlx::Error> {
    sqlx::query_as(
        "select name, holder, (extract(epoch from expires_at - clock_timestamp()) * 1000)::bigint as good_for_ms
         from leases where expires_at > clock_timestamp() order by name",
    )
    .fetch_all(pool)
    .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mint;
    use crate::testing::database;

    const TTL: Duration = Duration::from_millis(600);

    fn lease(priority: i32) -> Lease {
        Lease { name: "test", node: mint::id(), priority, ttl: TTL }
    }

    /// A node that asks until it is stopped, or killed.
    struct Node {
        holder: Holder,
        stop: CancellationToken,
        keeping: tokio::task::JoinHandle<()>,
    }

    impl Node {
        fn start(lease: Lease, pool: &PgPool) -> Self {
            let stop = CancellationToken::new();
            let (holder, keeping) = lease.keep(pool.clone(), stop.clone());
            Self { holder, stop, keeping: tokio::spawn(keeping) }
        }
    }

    #[tokio::test]
    async fn one_has_it_and_the_others_know_who_until_it_is_given_up() {
        let pool = database().await.pool(4);
        let (first, second) = (lease(0), lease(0));
        let mut one = Node::start(first.clone(), &pool);
        one.holder.until_mine().await;
        let mut two = Node::start(second, &pool);
        two.holder.holder.wait_for(Option::is_some).await.unwrap();
        assert!(!two.holder.is_mine());
        assert_eq!(two.holder.other(), Some(first.node));
        assert_eq!(one.holder.other(), None);
        one.stop.cancel();
        one.keeping.await.unwrap();
        assert!(!one.holder.is_mine());
        two.holder.until_mine().await;
    }

    #[tokio::test]
    async fn what_a_dead_node_held_goes_to_another_when_it_expires_and_not_before() {
        let pool = database().await.pool(4);
        let mut one = Node::start(lease(0), &pool);
        one.holder.until_mine().await;
        let held_at = Instant::now();
        let mut two = Node::start(lease(0), &pool);
        one.keeping.abort();
        two.holder.until_mine().await;
        assert!(held_at.elapsed() > TTL / 2, "{:?}", held_at.elapsed());
    }

    #[tokio::test]
    async fn a_node_that_is_better_suited_takes_it_and_keeps_it() {
        let pool = database().await.pool(4);
        let mut one = Node::start(lease(0), &pool);
        one.holder.until_mine().await;
        let better = lease(1);
        let mut two = Node::start(better.clone(), &pool);
        two.holder.until_mine().await;
        let mine = one.holder.node;
        one.holder.until_not(mine).await;
        assert_eq!(one.holder.other(), Some(better.node));
        assert!(two.holder.is_mine());
    }

    #[tokio::test]
    async fn a_node_that_is_not_fit_for_it_gives_it_up_and_takes_it_again_when_it_is() {
        let pool = database().await.pool(4);
        let (fit, seen) = watch::channel(true);
        let (mut one, keeping) = lease(1).keep_while(move || *seen.borrow(), pool.clone(), CancellationToken::new());
        tokio::spawn(keeping);
        one.until_mine().await;
        let mut two = Node::start(lease(0), &pool);
        fit.send_replace(false);
        one.until_not_mine().await;
        two.holder.until_mine().await;
        fit.send_replace(true);
        one.until_mine().await;
    }

    #[tokio::test]
    async fn without_the_database_nobody_believes_to_have_it_for_longer_than_it_is_good() {
        let pool = database().await.pool(4);
        let mut one = Node::start(lease(0), &pool);
        one.holder.until_mine().await;
        let mine = one.holder.node;
        pool.close().await;
        tokio::time::timeout(2 * TTL, one.holder.until_not(mine)).await.unwrap();
    }
}
