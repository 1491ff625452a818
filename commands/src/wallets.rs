//! Use cases of wallets: what their owners ask for, and what providers report.

use domain::account::Account;
use domain::wallet::{Command, PaymentMethod, Wallet};
use domain::{AccountId, Currency, DepositId, Money, OrderGroupId, OrderId, WalletId, WithdrawalId};

use crate::engine::{Halt, World};
use crate::orders;
use crate::payments::Outcome;

/// Asks a provider for money. It is in once the provider says so.
pub fn request_deposit(
    world: &mut World<'_>,
    owner: AccountId,
    deposit: DepositId,
    amount: Money,
    source: PaymentMethod,
) -> Result<(), Halt> {
    world.get::<Account>(owner)?.registered()?;
    let wallet = WalletId::of(owner, amount.currency());
    world.execute::<Wallet>(wallet, Command::RequestDeposit { deposit, owner, amount, source, pays: None })?;
    Ok(())
}

/// Asks a provider for what an order and those placed with it cost. They are paid once the provider says so, if that is
/// in time; otherwise the money stays in the wallet. Answers with what is to be paid.
pub fn request_payment(
    world: &mut World<'_>,
    owner: AccountId,
    deposit: DepositId,
    order: OrderId,
    source: PaymentMethod,
) -> Result<(OrderGroupId, Money), Halt> {
    let (group, amount) = orders::payable(world, order, owner)?;
    let wallet = WalletId::of(owner, amount.currency());
    world.execute::<Wallet>(wallet, Command::RequestDeposit { deposit, owner, amount, source, pays: Some(group) })?;
    Ok((group, amount))
}

/// Sends money out. It leaves the balance now, and comes back if the provider refuses. Who is blocked sends nothing.
pub fn request_withdrawal(
    world: &mut World<'_>,
    owner: AccountId,
    withdrawal: WithdrawalId,
    amount: Money,
    destination: PaymentMethod,
) -> Result<(), Halt> {
    world.get::<Account>(owner)?.registered()?.unblocked()?;
    let wallet = WalletId::of(owner, amount.currency());
    world.execute::<Wallet>(wallet, Command::RequestWithdrawal { withdrawal, amount, destination })?;
    Ok(())
}

/// Takes in what a provider says about a deposit, and pays with it what it was meant for.
pub fn report_deposit(
    world: &mut World<'_>,
    wallet: WalletId,
    deposit: DepositId,
    outcome: Outcome,
) -> Result<(), Halt> {
    let pending = match world.get::<Wallet>(wallet)? {
        Wallet::Open(balance) => balance.pending_deposit(deposit).map(|pending| (pending.amount, pending.pays)),
        Wallet::Unopened => None,
    };
    let mut paying = None;
    let command = match outcome {
        Outcome::Succeeded { reference } => {
            if let Some((brought, Some(group))) = pending {
                paying = orders::paid_by_deposit(world, group, brought)?.map(|spent| (group, spent));
            }
            let spent = paying.map(|(_, spent)| spent);
            Command::SettleDeposit { deposit, provider_reference: reference, spent }
        }
        Outcome::Declined { reason } => Command::FailDeposit { deposit, reason },
        Outcome::Pending { check_at } => Command::DelayDeposit { deposit, check_at },
    };
    world.execute::<Wallet>(wallet, command)?;
    match paying {
        Some((group, _)) => orders::pay_group(world, group, None),
        None => Ok(()),
    }
}

/// Takes in what a provider says about a withdrawal.
pub fn report_withdrawal(
    world: &mut World<'_>,
    wallet: WalletId,
    withdrawal: WithdrawalId,
    outcome: Outcome,
) -> Result<(), Halt> {
    let command = match outcome {
        Outcome::Succeeded { reference } => Command::ConfirmWithdrawal { withdrawal, provider_reference: reference },
        Outcome::Declined { reason } => Command::FailWithdrawal { withdrawal, reason },
        Outcome::Pending { check_at } => Command::DelayWithdrawal { withdrawal, check_at },
    };
    world.execute::<Wallet>(wallet, command)?;
    Ok(())
}

/// What an account may spend in one currency.
pub fn available(world: &mut World<'_>, owner: AccountId, currency: Currency) -> Result<Money, Halt> {
    Ok(match world.get::<Wallet>(WalletId::of(owner, currency))? {
        Wallet::Unopened => Money::zero(currency),
        Wallet::Open(balance) => balance.available,
    })
}
