//! Money that comes into wallets in random histories, goes out of them, or is held there.

use chrono::TimeDelta;
use domain::wallet::{self, Wallet};
use domain::{DepositId, HoldId, WalletId, WithdrawalId};
use rand::Rng;
use rand::seq::IndexedRandom;

use super::{History, happened, method};

impl History {
    pub(crate) fn deposit(&mut self) -> (WalletId, DepositId) {
        let owner = self.anybody();
        let amount = self.amount();
        let (wallet, deposit) = (WalletId::of(owner, amount.currency()), DepositId(self.id()));
        let source = method();
        self.wallet(wallet, wallet::Command::RequestDeposit { deposit, owner, amount, source });
        self.commit();
        self.deposits.push((wallet, deposit));
        (wallet, deposit)
    }

    pub(super) fn withdraw_or_hold(&mut self) {
        let mut amount = self.amount();
        let wallet = WalletId::of(self.anybody(), amount.currency());
        if let Wallet::Open(balance) = self.wallets.state(wallet)
            && self.random.random_bool(0.5)
        {
            amount = balance.available;
        }
        if self.random.random_bool(0.6) {
            let withdrawal = WithdrawalId(self.id());
            let destination = method();
            if happened(self.wallet(wallet, wallet::Command::RequestWithdrawal { withdrawal, amount, destination })) {
                self.withdrawals.push((wallet, withdrawal));
            }
        } else {
            let hold = HoldId(self.id());
            if happened(self.wallet(wallet, wallet::Command::PlaceHold { hold, amount })) {
                self.holds.push((wallet, hold));
            }
        }
        self.commit();
    }

    /// A provider says something about what is, or once was, under way.
    pub(super) fn report(&mut self) {
        let (reason, provider_reference) = (self.text().to_owned(), format!("ref {}", self.units.len()));
        let check_at = self.now + TimeDelta::seconds(60);
        let what = self.random.random_range(0..10);
        match self.random.random_range(0..10) {
            0..5 => {
                let Some(&(wallet, deposit)) = self.deposits.choose(&mut self.random) else { return };
                let command = match what {
                    0..3 => wallet::Command::FailDeposit { deposit, reason },
                    _ => wallet::Command::SettleDeposit { deposit, provider_reference },
                };
                self.wallet(wallet, command);
            }
            5..8 => {
                let Some(&(wallet, withdrawal)) = self.withdrawals.choose(&mut self.random) else { return };
                let command = match what {
                    0..2 => wallet::Command::DelayWithdrawal { withdrawal, provider_reference: None, check_at },
                    2..5 => wallet::Command::FailWithdrawal { withdrawal, reason },
                    _ => wallet::Command::ConfirmWithdrawal { withdrawal, provider_reference, fee: None },
                };
                if let Some([wallet::Event::WithdrawalPaid { postings, .. }]) = self.wallet(wallet, command).as_deref()
                {
                    self.paid_out.push((wallet, withdrawal, postings[0].amount));
                }
            }
            _ => {
                let Some(&(wallet, hold)) = self.holds.choose(&mut self.random) else { return };
                self.wallet(wallet, wallet::Command::ReleaseHold { hold });
            }
        }
        self.commit();
    }
}
