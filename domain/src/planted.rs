//! Bugs that are planted on purpose, so that the fault harness can show that it finds them. Not in any build but that of
//! `make faults-selftest`: the feature `planted-bugs` is off by default and no crate asks for it, which a tidy test says
//! too. Each bug is at one place, which bears the word `PLANTED`.

use std::sync::OnceLock;

static PLANTED: OnceLock<Bug> = OnceLock::new();

macro_rules! bugs {
    ($($(#[$about:meta])+ $bug:ident = $name:literal),+ $(,)?) => {
        /// A bug.
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        pub enum Bug {
            $($(#[$about])+ $bug),+
        }

        impl Bug {
            /// The bug of this name, if there is one.
            pub fn named(name: &str) -> Option<Self> {
                match name {
                    $($name => Some(Self::$bug),)+
                    _ => None,
                }
            }
        }
    };
}

bugs! {
    /// Commands are answered before their events are committed.
    AcknowledgedEarly = "acknowledged-early",
    /// The keys of commands are not unique in the database.
    KeysNotUnique = "keys-not-unique",
    /// A read model takes what it has taken.
    DedupeOff = "dedupe-off",
    /// A checkpoint is committed before what it stands for.
    CheckpointFirst = "checkpoint-first",
    /// Postgres answers before a commit is on its disk.
    CommitsNotSynced = "commits-not-synced",
    /// Orders change without regard to the key of the command.
    ChangeWithoutKey = "change-without-key",
    /// Timers fire an hour before their time.
    TimersEarly = "timers-early",
    /// Half of all timers are never set.
    TimersLost = "timers-lost",
    /// What a timer does is in the log twice.
    TimersTwice = "timers-twice",
    /// What another node has written changes no state that is in memory.
    StaleRead = "stale-read",
    /// The log leaves positions out.
    PositionGap = "position-gap",
    /// Wallets pay what they do not have.
    BalanceUnchecked = "balance-unchecked",
    /// More is sold than there is.
    StockUnchecked = "stock-unchecked",
    /// An auction goes to who has bid the second most.
    SecondBidWins = "second-bid-wins",
    /// Sockets show everything twice.
    ShownTwice = "shown-twice",
    /// Some events are empty in NATS.
    RelayAlters = "relay-alters",
    /// Connections of a pool are in a transaction that nobody ends.
    TransactionLeftOpen = "transaction-left-open",
}

/// Plants a bug, for as long as the process lives. The first counts.
pub fn plant(bug: Bug) {
    // Another one is already there.
    let _ = PLANTED.set(bug);
}

/// Whether this bug is planted.
pub fn is(bug: Bug) -> bool {
    PLANTED.get() == Some(&bug)
}
