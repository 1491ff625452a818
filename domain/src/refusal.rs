//! Every reason why the marketplace may refuse a command. One file of the API maps them to HTTP.

use thiserror::Error;

use crate::money::MoneyError;
use crate::{account, auction, claim, escrow, listing, order, order_group, session, stock, wallet};

/// A refusal by a rule, with the rule's numbers.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum Refusal {
    /// By an account.
    #[error(transparent)]
    Account(#[from] account::Error),
    /// By an auction.
    #[error(transparent)]
    Auction(#[from] auction::Error),
    /// By a claim on a unique value.
    #[error(transparent)]
    Claim(#[from] claim::Error),
    /// By an escrow.
    #[error(transparent)]
    Escrow(#[from] escrow::Error),
    /// By a listing.
    #[error(transparent)]
    Listing(#[from] listing::Error),
    /// By the arithmetic of money.
    #[error(transparent)]
    Money(#[from] MoneyError),
    /// By an order.
    #[error(transparent)]
    Order(#[from] order::Error),
    /// By a group of orders.
    #[error(transparent)]
    OrderGroup(#[from] order_group::Error),
    /// By a session.
    #[error(transparent)]
    Session(#[from] session::Error),
    /// By a stock.
    #[error(transparent)]
    Stock(#[from] stock::Error),
    /// By a wallet.
    #[error(transparent)]
    Wallet(#[from] wallet::Error),
    /// The aggregate has moved on since the caller has seen it (`If-Match`).
    #[error("the version is {actual}, not {expected}")]
    VersionMismatch {
        /// What the caller has seen.
        expected: u64,
        /// What it is.
        actual: u64,
    },
}
