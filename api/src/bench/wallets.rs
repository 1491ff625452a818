//! Wallets with streams of a certain length.

use commands::{Engine, Request, World};
use domain::wallet::{Command, PaymentMethod, Wallet};
use domain::{AccountId, Currency, DepositId, HoldId, WalletId};
use eventstore::event::Metadata;
use eventstore::mint;
use futures::{StreamExt, TryStreamExt, stream};

use super::BenchError;
use super::market::usd;

/// Wallets that are made at once.
const AT_ONCE: usize = 64;
/// Holds and releases in a command while they are made.
const TURNS: u64 = 25;
/// Events that money takes to arrive: opened, deposit requested, deposit settled.
const FUNDING: u64 = 3;

/// Makes so many wallets with so many events each: an odd number, from 3 on.
pub(super) async fn with_events(engine: &Engine, wallets: usize, events: u64) -> Result<Vec<WalletId>, BenchError> {
    let making = stream::iter(0..wallets).map(|_| async move {
        let wallet = funded(engine).await?;
        let mut left = events.saturating_sub(FUNDING) / 2;
        while left > 0 {
            let turns = left.min(TURNS);
            hold_and_release(engine, wallet, turns).await?;
            left -= turns;
        }
        Ok(wallet)
    });
    making.buffer_unordered(AT_ONCE).try_collect().await
}

async fn funded(engine: &Engine) -> Result<WalletId, BenchError> {
    let (owner, deposit) = (AccountId(mint::id()), DepositId(mint::id()));
    let wallet = WalletId::of(owner, Currency::USD);
    let amount = usd(1_000_000)?;
    let source = PaymentMethod { provider: "bench".to_owned(), token: "bench".to_owned() };
    let fund = move |world: &mut World<'_>| {
        let request = Command::RequestDeposit { deposit, owner, amount, source: source.clone() };
        world.execute::<Wallet>(wallet, request)?;
        let settled = Command::SettleDeposit { deposit, provider_reference: format!("ch_{deposit}") };
        world.execute::<Wallet>(wallet, settled).map(drop)
    };
    engine.submit(Request::once(Metadata::by_account(owner)), fund).await?;
    Ok(wallet)
}

/// Holds a cent, and gives it free, so many times in one command: two events each.
pub(super) async fn hold_and_release(engine: &Engine, wallet: WalletId, turns: u64) -> Result<(), BenchError> {
    let (hold, amount) = (HoldId(mint::id()), usd(1)?);
    let turn = move |world: &mut World<'_>| {
        for _ in 0..turns {
            world.execute::<Wallet>(wallet, Command::PlaceHold { hold, amount })?;
            world.execute::<Wallet>(wallet, Command::ReleaseHold { hold })?;
        }
        world.version::<Wallet>(wallet)
    };
    engine.submit(Request::once(Metadata::anonymous()), turn).await?;
    Ok(())
}
