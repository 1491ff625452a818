//! What holds for every wallet, in whatever order it is asked, told and told again.
//!
//! The oracle keeps no balances: it remembers what is under way and what has come in and gone out for good, and
//! derives from that what must be available.
//!
//! A wallet forgets what has ended, so a name that is requested again after its end names a new operation. That it is
//! not requested again is for whoever mints the names; here "once" means once for every accepted request.

use chrono::{TimeZone, Utc};
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::Value;
use uuid::Uuid;

use super::*;

const ANN: AccountId = AccountId(Uuid::from_u128(100));
const LIMIT: i128 = 1 << 52;

// The oracle.

/// What is under way: how much, and when to ask again.
type UnderWay = BTreeMap<u128, (Money, Option<Timestamp>)>;

/// What is known of a wallet without counting its balances.
#[derive(Default)]
struct Oracle {
    currency: Option<Currency>,
    deposits: UnderWay,
    withdrawals: UnderWay,
    holds: UnderWay,
    /// All that was ever settled, less all that was ever paid out.
    remaining: i128,
}

/// What becomes of a command.
#[derive(Debug, Eq, PartialEq)]
enum Answer {
    Accepted,
    NothingNew,
    Refused,
}

fn sum(operations: &UnderWay) -> i128 {
    operations.values().map(|(amount, _)| i128::from(amount.minor())).sum()
}

/// A request of this name: new if there is none, `fits` being the condition of the arithmetic.
fn request(operations: &mut UnderWay, name: Uuid, amount: Money, fits: bool) -> Answer {
    match operations.get(&name.as_u128()) {
        Some((same, _)) if *same == amount => Answer::NothingNew,
        Some(_) => Answer::Refused,
        None if !fits => Answer::Refused,
        None => {
            operations.insert(name.as_u128(), (amount, None));
            Answer::Accepted
        }
    }
}

fn delay(operations: &mut UnderWay, name: Uuid, check_at: Timestamp) -> Answer {
    match operations.get_mut(&name.as_u128()) {
        None => Answer::Refused,
        Some((_, known)) if *known == Some(check_at) => Answer::NothingNew,
        Some((_, known)) => {
            *known = Some(check_at);
            Answer::Accepted
        }
    }
}

/// Ends the operation and adds what it moved, times `factor`, to `remaining`.
fn end(operations: &mut UnderWay, name: Uuid, remaining: &mut i128, factor: i128) -> Answer {
    match operations.remove(&name.as_u128()) {
        None => Answer::Refused,
        Some((amount, _)) => {
            *remaining += factor * i128::from(amount.minor());
            Answer::Accepted
        }
    }
}

impl Oracle {
    fn held(&self) -> i128 {
        sum(&self.holds)
    }

    fn available(&self) -> i128 {
        self.remaining - sum(&self.withdrawals) - self.held()
    }

    /// Everything that there is, or may yet be.
    fn total(&self) -> i128 {
        self.remaining + sum(&self.deposits)
    }

    fn take(&mut self, command: &Command) -> Answer {
        let right = |amount: &Money| amount.minor() > 0 && self.currency.is_none_or(|it| it == amount.currency());
        let affordable = |amount: &Money| right(amount) && i128::from(amount.minor()) <= self.available();
        let remaining = &mut 0;
        let answer = match command {
            Command::RequestDeposit { deposit, amount, .. } => {
                let fits = right(amount) && self.total() + i128::from(amount.minor()) < LIMIT;
                let answer = request(&mut self.deposits, deposit.0, *amount, fits);
                if answer == Answer::Accepted {
                    self.currency = Some(amount.currency());
                }
                answer
            }
            Command::RequestWithdrawal { withdrawal, amount, .. } => {
                let fits = affordable(amount);
                request(&mut self.withdrawals, withdrawal.0, *amount, fits)
            }
            Command::PlaceHold { hold, amount } => {
                let fits = affordable(amount);
                request(&mut self.holds, hold.0, *amount, fits)
            }
            Command::DelayWithdrawal { withdrawal, check_at, .. } => {
                delay(&mut self.withdrawals, withdrawal.0, *check_at)
            }
            Command::SettleDeposit { deposit, .. } => end(&mut self.deposits, deposit.0, remaining, 1),
            Command::FailDeposit { deposit, .. } => end(&mut self.deposits, deposit.0, remaining, 0),
            Command::ConfirmWithdrawal { withdrawal, .. } => end(&mut self.withdrawals, withdrawal.0, remaining, -1),
            Command::FailWithdrawal { withdrawal, .. } => end(&mut self.withdrawals, withdrawal.0, remaining, 0),
            Command::ReleaseHold { hold } => end(&mut self.holds, hold.0, remaining, 0),
            // What comes back after it was paid out, its payout counts. Money of orders moves by escrows, what is earned
            // with them by commissions; the laws of all of them together are where they are moved.
            Command::ReturnWithdrawal { .. }
            | Command::Pay { .. }
            | Command::PaySubscription { .. }
            | Command::ReceiveSale { .. }
            | Command::ReceiveRefund { .. }
            | Command::GiveRefund { .. }
            | Command::ReceiveCommission { .. }
            | Command::GiveCommission { .. }
            | Command::GiveChargeback { .. }
            | Command::RegainChargeback { .. } => Answer::Refused,
        };
        self.remaining += *remaining;
        answer
    }
}

// Random histories.

/// Something to ask or to tell, resolved when its turn comes.
#[derive(Clone, Debug)]
enum Wish {
    Do {
        kind: Kind,
        name: u128,
        amount: Amount,
        second: i64,
    },
    /// Any earlier command, again.
    Again(Index),
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    RequestDeposit,
    SettleDeposit,
    FailDeposit,
    RequestWithdrawal,
    DelayWithdrawal,
    ConfirmWithdrawal,
    FailWithdrawal,
    PlaceHold,
    ReleaseHold,
}

/// An amount, seen from where the wallet stands, so that boundaries are met.
#[derive(Clone, Debug)]
enum Amount {
    Exactly(Currency, i64),
    /// This much more than is available.
    AboveAvailable(i64),
    /// This much more than there is room for.
    AboveRoom(i64),
}

impl Amount {
    fn resolve(&self, oracle: &Oracle) -> Money {
        let (currency, minor) = match *self {
            Self::Exactly(currency, minor) => (currency, i128::from(minor)),
            Self::AboveAvailable(more) => (Currency::USD, oracle.available() + i128::from(more)),
            Self::AboveRoom(more) => (Currency::USD, LIMIT - 1 - oracle.total() + i128::from(more)),
        };
        Money::new(i64::try_from(minor.clamp(1 - LIMIT, LIMIT - 1)).unwrap(), currency).unwrap()
    }
}

impl Kind {
    fn command(self, name: u128, amount: Money, second: i64) -> Command {
        let name = Uuid::from_u128(name);
        let (deposit, withdrawal, hold) = (DepositId(name), WithdrawalId(name), HoldId(name));
        let check_at = Utc.timestamp_opt(1_700_000_000 + second, 0).unwrap();
        let provider = if second % 2 == 0 { "sandbox" } else { "stripe" }.to_owned();
        let method = PaymentMethod { provider, token: "method".to_owned() };
        let (provider_reference, reason) = (format!("reference {second}"), format!("reason {second}"));
        match self {
            Self::RequestDeposit => Command::RequestDeposit { deposit, owner: ANN, amount, source: method },
            Self::SettleDeposit => Command::SettleDeposit { deposit, provider_reference },
            Self::FailDeposit => Command::FailDeposit { deposit, reason },
            Self::RequestWithdrawal => Command::RequestWithdrawal { withdrawal, amount, destination: method },
            Self::DelayWithdrawal => Command::DelayWithdrawal { withdrawal, provider_reference: None, check_at },
            Self::ConfirmWithdrawal => Command::ConfirmWithdrawal { withdrawal, provider_reference, fee: None },
            Self::FailWithdrawal => Command::FailWithdrawal { withdrawal, reason },
            Self::PlaceHold => Command::PlaceHold { hold, amount },
            Self::ReleaseHold => Command::ReleaseHold { hold },
        }
    }
}

fn any_kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        4 => Just(Kind::RequestDeposit),
        4 => Just(Kind::SettleDeposit),
        1 => Just(Kind::FailDeposit),
        3 => Just(Kind::RequestWithdrawal),
        1 => Just(Kind::DelayWithdrawal),
        2 => Just(Kind::ConfirmWithdrawal),
        2 => Just(Kind::FailWithdrawal),
        3 => Just(Kind::PlaceHold),
        3 => Just(Kind::ReleaseHold),
    ]
}

fn any_amount() -> impl Strategy<Value = Amount> {
    prop_oneof![
        8 => (1..1_000_i64).prop_map(|minor| Amount::Exactly(Currency::USD, minor)),
        1 => (-1..2_i64).prop_map(|minor| Amount::Exactly(Currency::USD, minor)),
        1 => (1..1_000_i64).prop_map(|minor| Amount::Exactly(Currency::JPY, minor)),
        3 => (-2..3_i64).prop_map(Amount::AboveAvailable),
        2 => (-2..3_i64).prop_map(Amount::AboveRoom),
    ]
}

fn any_wish() -> impl Strategy<Value = Wish> {
    let wish = (any_kind(), 0..3_u128, any_amount(), 0..4_i64);
    prop_oneof![
        5 => wish.prop_map(|(kind, name, amount, second)| Wish::Do { kind, name, amount, second }),
        1 => any::<Index>().prop_map(Wish::Again),
    ]
}

fn any_history() -> impl Strategy<Value = Vec<Wish>> {
    prop::collection::vec(any_wish(), 0..60)
}

/// One command, what came of it and what the oracle then knew.
struct Step {
    command: Command,
    answer: Result<Vec<Event>, Error>,
    after: Wallet,
    expected: Answer,
    available: i128,
    held: i128,
    going_out: i128,
    total: i128,
}

fn course(wishes: &[Wish]) -> Vec<Step> {
    let (mut wallet, mut oracle) = (Wallet::default(), Oracle::default());
    let mut steps: Vec<Step> = Vec::new();
    for wish in wishes {
        let command = match wish {
            Wish::Do { kind, name, amount, second } => kind.command(*name, amount.resolve(&oracle), *second),
            Wish::Again(_) if steps.is_empty() => continue,
            Wish::Again(index) => index.get(&steps).command.clone(),
        };
        let answer = wallet.decide(command.clone());
        for event in answer.iter().flatten() {
            wallet.evolve(event);
        }
        let expected = oracle.take(&command);
        steps.push(Step {
            command,
            answer,
            after: wallet.clone(),
            expected,
            available: oracle.available(),
            held: oracle.held(),
            going_out: sum(&oracle.withdrawals),
            total: oracle.total(),
        });
    }
    steps
}

fn events(steps: &[Step]) -> impl Iterator<Item = &Event> {
    steps.iter().flat_map(|step| step.answer.iter().flatten())
}

/// Available and held.
fn balances(wallet: &Wallet) -> (i128, i128) {
    match wallet {
        Wallet::Unopened => (0, 0),
        Wallet::Open(balance) => (balance.available.minor().into(), balance.held.minor().into()),
    }
}

fn json(value: &impl Serialize) -> Value {
    serde_json::to_value(value).unwrap()
}

/// Every account by its credits less its debits.
#[derive(Default)]
struct Ledger(BTreeMap<LedgerAccount, i128>);

impl Ledger {
    fn book(&mut self, event: &Event) {
        for Posting { debit, credit, amount } in event.postings() {
            *self.0.entry(debit.clone()).or_default() -= i128::from(amount.minor());
            *self.0.entry(credit.clone()).or_default() += i128::from(amount.minor());
        }
    }

    fn of(&self, account: &LedgerAccount) -> i128 {
        self.0.get(account).copied().unwrap_or_default()
    }
}

proptest! {
    #[test]
    fn every_answer_and_every_balance_is_what_the_history_says(wishes in any_history()) {
        for step in course(&wishes) {
            let answer = match &step.answer {
                Ok(events) if events.is_empty() => Answer::NothingNew,
                Ok(_) => Answer::Accepted,
                Err(_) => Answer::Refused,
            };
            prop_assert_eq!(answer, step.expected, "{:?} was answered {:?}", step.command, step.answer);
            prop_assert_eq!(balances(&step.after), (step.available, step.held));
        }
    }

    #[test]
    fn no_balance_is_ever_negative_or_reaches_the_limit(wishes in any_history()) {
        for step in course(&wishes) {
            let (available, held) = balances(&step.after);
            prop_assert!(available >= 0 && held >= 0 && available + held < LIMIT);
            prop_assert!(step.total < LIMIT);
        }
    }

    #[test]
    fn balances_are_the_sums_of_their_postings_and_the_ledger_sums_to_zero(wishes in any_history()) {
        let mut ledger = Ledger::default();
        for step in course(&wishes) {
            step.answer.iter().flatten().for_each(|event| ledger.book(event));
            let posted = (ledger.of(&LedgerAccount::Available(ANN)), ledger.of(&LedgerAccount::Held(ANN)));
            prop_assert_eq!(balances(&step.after), posted);
            prop_assert_eq!(ledger.of(&LedgerAccount::PayoutPending(ANN)), step.going_out);
            prop_assert_eq!(ledger.0.values().sum::<i128>(), 0);
        }
    }

    #[test]
    fn every_posting_is_above_zero_and_in_the_currency_of_the_wallet(wishes in any_history()) {
        let steps = course(&wishes);
        let currency = events(&steps).find_map(|event| match event {
            Event::WalletOpened { currency, .. } => Some(*currency),
            _ => None,
        });
        for posting in events(&steps).flat_map(Event::postings) {
            prop_assert!(posting.amount.is_positive());
            prop_assert_eq!(Some(posting.amount.currency()), currency);
            prop_assert_ne!(&posting.debit, &posting.credit);
        }
    }

    #[test]
    fn an_operation_ends_once_and_moves_what_was_requested(wishes in any_history()) {
        let mut under_way = BTreeMap::<(&str, Uuid), Money>::new();
        let steps = course(&wishes);
        for event in events(&steps) {
            let (operation, requested) = match event {
                Event::WalletOpened { .. }
                | Event::WithdrawalReturned { .. }
                | Event::PaymentMade { .. }
                | Event::SubscriptionPaid { .. }
                | Event::SaleReceived { .. }
                | Event::RefundReceived { .. }
                | Event::RefundGiven { .. }
                | Event::CommissionReceived { .. }
                | Event::CommissionGiven { .. }
                | Event::ReceivableRecovered { .. }
                | Event::ChargebackGiven { .. }
                | Event::ChargebackRegained { .. } => continue,
                Event::DepositDelayed { deposit, .. } => {
                    prop_assert!(under_way.contains_key(&("deposit", deposit.0)));
                    continue;
                }
                Event::WithdrawalDelayed { withdrawal, .. } => {
                    prop_assert!(under_way.contains_key(&("withdrawal", withdrawal.0)));
                    continue;
                }
                Event::DepositRequested { deposit, amount, .. } => (("deposit", deposit.0), Some(*amount)),
                Event::DepositSettled { deposit, .. } | Event::DepositFailed { deposit, .. } => (("deposit", deposit.0), None),
                Event::WithdrawalRequested { withdrawal, amount, .. } => (("withdrawal", withdrawal.0), Some(*amount)),
                Event::WithdrawalPaid { withdrawal, .. } | Event::WithdrawalFailed { withdrawal, .. } => (("withdrawal", withdrawal.0), None),
                Event::HoldPlaced { hold, amount, .. } => (("hold", hold.0), Some(*amount)),
                Event::HoldReleased { hold, .. } => (("hold", hold.0), None),
            };
            let amount = match requested {
                Some(amount) => {
                    prop_assert_eq!(under_way.insert(operation, amount), None, "requested while under way");
                    amount
                }
                None => under_way.remove(&operation).expect("ended without being under way"),
            };
            // All of it or, where no money moves, nothing.
            prop_assert!(event.postings().len() <= 1);
            prop_assert!(event.postings().iter().all(|posting| posting.amount == amount));
        }
    }

    #[test]
    fn an_accepted_command_is_nothing_new_the_second_time(wishes in any_history()) {
        for step in course(&wishes).iter().filter(|step| step.answer.is_ok()) {
            match step.after.decide(step.command.clone()) {
                Ok(again) => prop_assert_eq!(again, vec![]),
                Err(refusal) => prop_assert_eq!(refusal, Error::NotUnderWay),
            }
        }
    }

    #[test]
    fn a_replay_from_json_is_the_live_wallet(wishes in any_history()) {
        let (mut replayed, mut snapshot) = (Wallet::default(), Wallet::default());
        for step in course(&wishes) {
            for event in step.answer.iter().flatten() {
                let read: Event = serde_json::from_str(&serde_json::to_string(event).unwrap()).unwrap();
                prop_assert_eq!(&read, event);
                replayed.evolve(&read);
                snapshot.evolve(&read);
            }
            prop_assert_eq!(json(&replayed), json(&step.after));
            // As good as the history: a snapshot, taken after every command.
            snapshot = serde_json::from_str(&serde_json::to_string(&snapshot).unwrap()).unwrap();
            prop_assert_eq!(json(&snapshot), json(&step.after));
        }
    }
}
