//! What is in wallets. How money comes in is in [`crate::charges`], and how it goes out in [`crate::payouts`].

use domain::wallet::Wallet;
use domain::{AccountId, Currency, Money, WalletId};

use crate::engine::{Halt, World};

/// What an account may spend in one currency.
pub fn available(world: &mut World<'_>, owner: AccountId, currency: Currency) -> Result<Money, Halt> {
    Ok(match world.get::<Wallet>(WalletId::of(owner, currency))? {
        Wallet::Unopened => Money::zero(currency),
        Wallet::Open(balance) => balance.available,
    })
}
