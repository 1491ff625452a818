//! P3: per currency debits equal credits at every position, what people own is never negative, and a wallet holds
//! exactly what its postings say.

use std::collections::HashMap;

use domain::wallet::Wallet;
use domain::{Aggregate, Currency, LedgerAccount, WalletId};
use eventstore::event::DomainEvent;

use super::Log;

pub(super) fn check(log: &Log) -> Vec<String> {
    let mut broken = Vec::new();
    let mut books = HashMap::<(LedgerAccount, Currency), i64>::new();
    let mut totals = HashMap::<Currency, i64>::new();
    let mut wallets = HashMap::<WalletId, Wallet>::new();
    for logged in &log.events {
        let position = logged.event.position;
        // An event that cannot be read is reported where it is decided again.
        let Ok(DomainEvent::Wallet(id, event)) = logged.event.decode() else { continue };
        for posting in event.postings() {
            let (amount, currency) = (posting.amount.minor(), posting.amount.currency());
            if amount <= 0 {
                broken.push(format!("position {position} posts {}", posting.amount));
            }
            for (account, change) in [(&posting.debit, -amount), (&posting.credit, amount)] {
                let balance = books.entry((account.clone(), currency)).or_default();
                *balance += change;
                *totals.entry(currency).or_default() += change;
                if *balance < 0 && !matches!(account, LedgerAccount::ProviderClearing(_)) {
                    broken.push(format!("position {position} leaves {account} at {balance} {currency}"));
                }
            }
            if totals.get(&currency).is_some_and(|total| *total != 0) {
                broken.push(format!("debits and credits in {currency} differ at position {position}"));
            }
        }
        let wallet = wallets.entry(id).or_default();
        wallet.evolve(&event);
        let Wallet::Open(balance) = wallet else { continue };
        let accounts = [
            (LedgerAccount::Available(balance.owner), balance.available),
            (LedgerAccount::Held(balance.owner), balance.held),
        ];
        for (account, held) in accounts {
            let posted = books.get(&(account.clone(), held.currency())).copied().unwrap_or_default();
            if held.minor() != posted || posted < 0 {
                let in_wallet = held.minor();
                broken.push(format!("{account} is {in_wallet} in the wallet and {posted} in the books at {position}"));
            }
        }
    }
    broken
}
