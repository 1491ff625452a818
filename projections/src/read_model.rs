//! What every read model has in common, and the list of them.

use eventstore::event::Interest;
use eventstore::follower::{Batch, Delivery, FollowError, Follower};
use futures::future::BoxFuture;
use sqlx::PgConnection;

use crate::{
    accounts, addresses, affiliates, analytics, auction_board, catalogue, categories, chats, escrows, images, ledger,
    mentions, notifications, order_money, orders, pages, payees, plans, points, reports, reviews, sales, staff_acts,
    statements, statistics, stores, subscriptions, wallet_statement,
};

/// Takes a batch into tables whose schema is first on the connection's search path.
pub(crate) type Apply = for<'a> fn(&'a mut PgConnection, &'a Batch) -> BoxFuture<'a, Result<(), FollowError>>;

/// One read model: a follower of the log with tables of its own.
#[derive(Clone, Copy, Debug)]
pub struct ReadModel {
    /// Its name, which is also that of its schema and of its checkpoint.
    pub name: &'static str,
    /// Its name while it is rebuilt beside the live one.
    pub next: &'static str,
    /// Raised whenever its tables change or its `apply` gives other rows: it is then built anew.
    pub version: i32,
    /// The kinds of aggregates whose events it looks at, or [`ACTS`]; `apply` is given no others.
    pub(crate) about: &'static [&'static str],
    /// Creates its tables, in the schema that is on the search path. `apply` finds rows by primary keys and unique
    /// constraints alone: while the tables are built, other indexes are not there.
    pub(crate) ddl: &'static str,
    pub(crate) apply: Apply,
}

/// Of no kind in particular: what somebody has done in a capacity, whatever it has happened to.
pub(crate) const ACTS: &[&str] = &[];

impl ReadModel {
    /// Whether what was parked can be taken after what has come later of other aggregates. What somebody was told depends
    /// on what they wanted to hear of then, and on what they have read since, so that is told anew by a rebuild.
    pub fn takes_late(&self) -> bool {
        self.name != crate::notifications::MODEL.name
    }
}

impl Follower for ReadModel {
    fn name(&self) -> &'static str {
        self.name
    }

    fn version(&self) -> i32 {
        self.version
    }

    fn delivery(&self) -> Delivery {
        Delivery::ExactlyOnce
    }

    fn interest(&self) -> Interest {
        if self.about == ACTS { Interest::Acts } else { Interest::In(self.about) }
    }

    fn schema(&self) -> Option<&'static str> {
        Some(self.name)
    }

    fn stands_for(&self) -> &'static str {
        let live = ALL.iter().find(|live| live.next == self.next);
        live.map_or(self.name, |live| live.name)
    }

    fn apply<'a>(
        &'a mut self,
        connection: &'a mut PgConnection,
        batch: &'a Batch,
    ) -> BoxFuture<'a, Result<(), FollowError>> {
        (self.apply)(connection, batch)
    }
}

/// Every read model.
pub const ALL: [ReadModel; 28] = [
    accounts::MODEL,
    addresses::MODEL,
    affiliates::MODEL,
    analytics::MODEL,
    catalogue::MODEL,
    categories::MODEL,
    chats::MODEL,
    auction_board::MODEL,
    notifications::MODEL,
    order_money::MODEL,
    orders::MODEL,
    pages::MODEL,
    payees::MODEL,
    plans::MODEL,
    escrows::MODEL,
    images::MODEL,
    wallet_statement::MODEL,
    ledger::MODEL,
    mentions::MODEL,
    points::MODEL,
    reports::MODEL,
    reviews::MODEL,
    sales::MODEL,
    staff_acts::MODEL,
    statements::MODEL,
    statistics::MODEL,
    stores::MODEL,
    subscriptions::MODEL,
];

/// Every read model, for the runner.
pub fn all() -> Vec<Box<dyn Follower>> {
    ALL.into_iter().map(|model| Box::new(model) as Box<dyn Follower>).collect()
}

/// The read model of this name.
pub fn find(name: &str) -> Option<ReadModel> {
    ALL.into_iter().find(|model| model.name == name)
}
