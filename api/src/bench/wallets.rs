//! Wallets with streams of a certain length.

use commands::{Engine, Request, World};
use domain::wallet::{Command, PaymentMethod, Wallet};
use domain::{AccountId, Currency, DepositId, HoldId, Money, WalletId};
use eventstore::event::Metadata;
use eventstore::mint;
use futures::{StreamExt, TryStreamExt, stream};

use super::BenchError;

/// Commands under way at once while they are made.
const AT_ONCE: usize = 256;
/// Events that money takes to arrive: opened, deposit requested, deposit settled.
const FUNDING: u64 = 3;

/// Makes so many wallets with so many events each: an odd number, from 3 on.
pub(super) async fn with_events(engine: &Engine, wallets: usize, events: u64) -> Result<Vec<WalletId>, BenchError> {
    let mut made = Vec::with_capacity(wallets);
    for _ in 0..wallets {
        let wallet = funded(engine).await?;
        // A hold and its release, in turn.
        let steps =
            stream::iter(0..events.saturating_sub(FUNDING).div_ceil(2)).map(|_| hold_and_release(engine, wallet));
        steps.buffer_unordered(AT_ONCE).try_collect::<Vec<()>>().await?;
        made.push(wallet);
    }
    Ok(made)
}

async fn funded(engine: &Engine) -> Result<WalletId, BenchError> {
    let (owner, deposit) = (AccountId(mint::id()), DepositId(mint::id()));
    let wallet = WalletId::of(owner, Currency::USD);
    let amount = usd(1_000_000)?;
    let source = PaymentMethod { provider: "bench".to_owned(), token: "bench".to_owned() };
    let fund = move |world: &mut World<'_>| {
        let request = Command::RequestDeposit { deposit, owner, amount, source: source.clone(), pays: None };
        world.execute::<Wallet>(wallet, request)?;
        let settled = Command::SettleDeposit { deposit, provider_reference: format!("ch_{deposit}"), spent: None };
        world.execute::<Wallet>(wallet, settled).map(drop)
    };
    engine.submit(Request::once(Metadata::by_account(owner)), fund).await?;
    Ok(wallet)
}

/// Holds a cent, and gives it free, in one command of two events.
pub(super) async fn hold_and_release(engine: &Engine, wallet: WalletId) -> Result<(), BenchError> {
    let (hold, amount) = (HoldId(mint::id()), usd(1)?);
    let turn = move |world: &mut World<'_>| {
        world.execute::<Wallet>(wallet, Command::PlaceHold { hold, amount })?;
        world.execute::<Wallet>(wallet, Command::ReleaseHold { hold })?;
        world.version::<Wallet>(wallet)
    };
    engine.submit(Request::once(Metadata::anonymous()), turn).await?;
    Ok(())
}

fn usd(cents: i64) -> Result<Money, BenchError> {
    Money::new(cents, Currency::USD).map_err(|_| BenchError::Material("amounts"))
}
