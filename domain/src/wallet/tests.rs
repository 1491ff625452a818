//! Every command of a wallet, before and after its time. Amounts are in cents.

use chrono::{TimeZone, Utc};
use uuid::Uuid;

use super::*;
use crate::testing::{Given, given};

const ANN: AccountId = AccountId(Uuid::from_u128(1));
const BOB: AccountId = AccountId(Uuid::from_u128(2));
const DEPOSIT: DepositId = DepositId(Uuid::from_u128(11));
const OTHER_DEPOSIT: DepositId = DepositId(Uuid::from_u128(12));
const WITHDRAWAL: WithdrawalId = WithdrawalId(Uuid::from_u128(21));
const OTHER_WITHDRAWAL: WithdrawalId = WithdrawalId(Uuid::from_u128(22));
const HOLD: HoldId = HoldId(Uuid::from_u128(31));
const OTHER_HOLD: HoldId = HoldId(Uuid::from_u128(32));
const LARGEST: i64 = BALANCE_LIMIT - 1;

fn usd(minor: i64) -> Money {
    Money::new(minor, Currency::USD).unwrap()
}

fn yen(minor: i64) -> Money {
    Money::new(minor, Currency::JPY).unwrap()
}

fn at(second: i64) -> Timestamp {
    Utc.timestamp_opt(1_700_000_000 + second, 0).unwrap()
}

fn card() -> PaymentMethod {
    PaymentMethod { provider: "sandbox".to_owned(), token: "pm_card".to_owned() }
}

fn bank() -> PaymentMethod {
    PaymentMethod { provider: "stripe".to_owned(), token: "ba_bank".to_owned() }
}

fn posting(debit: LedgerAccount, credit: LedgerAccount, minor: i64) -> Vec<Posting> {
    vec![Posting::new(debit, credit, usd(minor))]
}

fn available() -> LedgerAccount {
    LedgerAccount::Available(ANN)
}

fn held() -> LedgerAccount {
    LedgerAccount::Held(ANN)
}

fn payout_pending() -> LedgerAccount {
    LedgerAccount::PayoutPending(ANN)
}

/// What the provider of [`card`] or [`bank`] holds for us.
fn clearing(method: PaymentMethod) -> LedgerAccount {
    LedgerAccount::ProviderClearing(method.provider)
}

fn request_deposit(deposit: DepositId, amount: Money) -> Command {
    Command::RequestDeposit { deposit, owner: ANN, amount, source: card() }
}

fn settle(deposit: DepositId) -> Command {
    Command::SettleDeposit { deposit, provider_reference: "ch_1".to_owned() }
}

fn fail_deposit(deposit: DepositId) -> Command {
    Command::FailDeposit { deposit, reason: "declined".to_owned() }
}

fn request_withdrawal(withdrawal: WithdrawalId, amount: Money) -> Command {
    Command::RequestWithdrawal { withdrawal, amount, destination: bank() }
}

fn delay_withdrawal(withdrawal: WithdrawalId, second: i64) -> Command {
    Command::DelayWithdrawal { withdrawal, provider_reference: None, check_at: at(second) }
}

fn confirm(withdrawal: WithdrawalId) -> Command {
    Command::ConfirmWithdrawal { withdrawal, provider_reference: "po_1".to_owned(), fee: None }
}

fn fail_withdrawal(withdrawal: WithdrawalId) -> Command {
    Command::FailWithdrawal { withdrawal, reason: "account closed".to_owned() }
}

fn place_hold(hold: HoldId, amount: Money) -> Command {
    Command::PlaceHold { hold, amount }
}

fn release(hold: HoldId) -> Command {
    Command::ReleaseHold { hold }
}

fn deposit_requested(deposit: DepositId, minor: i64) -> Event {
    Event::DepositRequested { deposit, owner: ANN, amount: usd(minor), source: card(), pays: None }
}

fn withdrawal_requested(withdrawal: WithdrawalId, minor: i64) -> Event {
    Event::WithdrawalRequested {
        withdrawal,
        owner: ANN,
        amount: usd(minor),
        destination: bank(),
        postings: posting(available(), payout_pending(), minor),
    }
}

fn hold_placed(hold: HoldId, minor: i64) -> Event {
    Event::HoldPlaced { hold, amount: usd(minor), postings: posting(available(), held(), minor) }
}

fn unopened() -> Given<Wallet> {
    given([])
}

/// Ann's wallet with nothing in it and nothing under way.
fn empty() -> Given<Wallet> {
    given([Event::WalletOpened { owner: ANN, currency: Currency::USD }])
}

/// Ann's wallet with this much available and nothing under way.
fn holding(minor: i64) -> Given<Wallet> {
    unopened().and(request_deposit(OTHER_DEPOSIT, usd(minor))).and(settle(OTHER_DEPOSIT))
}

fn balance(wallet: &Given<Wallet>) -> &Balance {
    match wallet.state() {
        Wallet::Open(balance) => balance,
        Wallet::Unopened => panic!("never opened"),
    }
}

/// Available and held, in minor units.
fn balances(wallet: &Given<Wallet>) -> (i64, i64) {
    let balance = balance(wallet);
    (balance.available.minor(), balance.held.minor())
}

// Deposits.

#[test]
fn the_first_deposit_opens_the_wallet() {
    unopened()
        .when(request_deposit(DEPOSIT, usd(500)))
        .then([Event::WalletOpened { owner: ANN, currency: Currency::USD }, deposit_requested(DEPOSIT, 500)]);
    empty().when(request_deposit(DEPOSIT, usd(500))).then([deposit_requested(DEPOSIT, 500)]);
}

#[test]
fn a_requested_deposit_is_not_yet_money() {
    let requested = unopened().and(request_deposit(DEPOSIT, usd(500)));
    assert_eq!(balances(&requested), (0, 0));
    let pending = Pending { amount: usd(500), method: card(), check_at: None, reference: None };
    assert_eq!(balance(&requested).pending_deposit(DEPOSIT), Some(&pending));
}

#[test]
fn a_settled_deposit_is_available() {
    let settled = || unopened().and(request_deposit(DEPOSIT, usd(500))).and(settle(DEPOSIT));
    empty().and(request_deposit(DEPOSIT, usd(500))).when(settle(DEPOSIT)).then([Event::DepositSettled {
        deposit: DEPOSIT,
        provider_reference: "ch_1".to_owned(),
        postings: posting(clearing(card()), available(), 500),
    }]);
    assert_eq!(balances(&settled()), (500, 0));
    assert_eq!(balance(&settled()).pending_deposit(DEPOSIT), None);
}

#[test]
fn a_failed_deposit_moves_nothing() {
    let requested = || empty().and(request_deposit(DEPOSIT, usd(500)));
    requested()
        .when(fail_deposit(DEPOSIT))
        .then([Event::DepositFailed { deposit: DEPOSIT, reason: "declined".to_owned() }]);
    let failed = || requested().and(fail_deposit(DEPOSIT));
    assert_eq!(balances(&failed()), (0, 0));
    assert_eq!(balance(&failed()).pending_deposit(DEPOSIT), None);
    failed().when(settle(DEPOSIT)).then_refused(Error::NotUnderWay);
}

#[test]
fn a_deposit_that_is_reported_twice_is_money_once() {
    let settled = || empty().and(request_deposit(DEPOSIT, usd(500))).and(settle(DEPOSIT));
    settled().when(settle(DEPOSIT)).then_refused(Error::NotUnderWay);
    settled().when(fail_deposit(DEPOSIT)).then_refused(Error::NotUnderWay);
}

#[test]
fn a_deposit_that_is_requested_twice_is_under_way_once() {
    let requested = || empty().and(request_deposit(DEPOSIT, usd(500)));
    requested().when(request_deposit(DEPOSIT, usd(500))).then_nothing();
    requested().when(request_deposit(DEPOSIT, usd(501))).then_refused(Error::OperationReused);
    requested().when(request_deposit(DEPOSIT, yen(500))).then_refused(Error::OperationReused);
}

#[test]
fn several_deposits_are_under_way_at_once() {
    let both = || empty().and(request_deposit(DEPOSIT, usd(500))).and(request_deposit(OTHER_DEPOSIT, usd(70)));
    assert_eq!(balances(&both().and(settle(OTHER_DEPOSIT))), (70, 0));
    assert_eq!(balances(&both().and(settle(OTHER_DEPOSIT)).and(settle(DEPOSIT))), (570, 0));
}

#[test]
fn a_deposit_is_recorded_for_the_owner_of_the_wallet_whoever_is_named() {
    let named = Command::RequestDeposit { deposit: DEPOSIT, owner: BOB, amount: usd(500), source: card() };
    empty().when(named).then([deposit_requested(DEPOSIT, 500)]);
}

#[test]
fn a_deposit_is_above_zero_and_in_the_currency_of_the_wallet() {
    for offered in [usd(0), usd(-1)] {
        let expected = Error::AmountNotPositive { offered };
        unopened().when(request_deposit(DEPOSIT, offered)).then_refused(expected);
        empty().when(request_deposit(DEPOSIT, offered)).then_refused(expected);
    }
    let expected = Error::WrongCurrency { expected: Currency::USD, offered: Currency::JPY };
    empty().when(request_deposit(DEPOSIT, yen(500))).then_refused(expected);
}

#[test]
fn a_wallet_in_yen_counts_yen() {
    let wallet = unopened().and(request_deposit(DEPOSIT, yen(500))).and(settle(DEPOSIT));
    assert_eq!(balance(&wallet).available, yen(500));
    let expected = Error::WrongCurrency { expected: Currency::JPY, offered: Currency::USD };
    wallet.when(request_withdrawal(WITHDRAWAL, usd(1))).then_refused(expected);
}

// The limit of 2^53.

#[test]
fn a_wallet_holds_no_more_than_every_json_reader_can_count() {
    let expected = |available| Error::BalanceLimit { available: usd(available), offered: usd(1) };
    holding(LARGEST).when(request_deposit(DEPOSIT, usd(1))).then_refused(expected(LARGEST));
    let one_below = || holding(LARGEST - 1);
    one_below().when(request_deposit(DEPOSIT, usd(1))).then([deposit_requested(DEPOSIT, 1)]);
    assert_eq!(balances(&one_below().and(request_deposit(DEPOSIT, usd(1))).and(settle(DEPOSIT))), (LARGEST, 0));
}

#[test]
fn there_is_room_for_what_can_come_in_and_no_more() {
    let wallet = holding(LARGEST - 1);
    assert!(balance(&wallet).has_room(usd(1)));
    assert!(!balance(&wallet).has_room(usd(2)));
}

#[test]
fn whatever_may_still_come_in_or_back_counts_towards_the_limit() {
    let deposit = || request_deposit(DEPOSIT, usd(1));
    let expected = |available| Error::BalanceLimit { available: usd(available), offered: usd(1) };
    let coming_in = empty().and(request_deposit(OTHER_DEPOSIT, usd(LARGEST)));
    coming_in.when(deposit()).then_refused(expected(0));
    let on_hold = holding(LARGEST).and(place_hold(HOLD, usd(LARGEST)));
    on_hold.when(deposit()).then_refused(expected(0));
    let going_out = || holding(LARGEST).and(request_withdrawal(WITHDRAWAL, usd(LARGEST)));
    going_out().when(deposit()).then_refused(expected(0));
    going_out().and(confirm(WITHDRAWAL)).when(deposit()).then([deposit_requested(DEPOSIT, 1)]);
}

// Withdrawals.

#[test]
fn a_withdrawal_leaves_what_is_available_at_once() {
    holding(500).when(request_withdrawal(WITHDRAWAL, usd(300))).then([withdrawal_requested(WITHDRAWAL, 300)]);
    let requested = holding(500).and(request_withdrawal(WITHDRAWAL, usd(300)));
    assert_eq!(balances(&requested), (200, 0));
    let pending = Pending { amount: usd(300), method: bank(), check_at: None, reference: None };
    assert_eq!(balance(&requested).pending_withdrawal(WITHDRAWAL), Some(&pending));
}

#[test]
fn no_more_is_withdrawn_than_is_available() {
    let refused = |available, requested| Error::InsufficientFunds { available, requested };
    holding(500).when(request_withdrawal(WITHDRAWAL, usd(501))).then_refused(refused(usd(500), usd(501)));
    holding(500).when(request_withdrawal(WITHDRAWAL, usd(500))).then([withdrawal_requested(WITHDRAWAL, 500)]);
    unopened().when(request_withdrawal(WITHDRAWAL, yen(1))).then_refused(refused(yen(0), yen(1)));
    let on_hold = holding(500).and(place_hold(HOLD, usd(400)));
    on_hold.when(request_withdrawal(WITHDRAWAL, usd(101))).then_refused(refused(usd(100), usd(101)));
    let coming_in = empty().and(request_deposit(DEPOSIT, usd(500)));
    coming_in.when(request_withdrawal(WITHDRAWAL, usd(1))).then_refused(refused(usd(0), usd(1)));
}

#[test]
fn a_withdrawal_is_above_zero_and_in_the_currency_of_the_wallet() {
    for offered in [usd(0), usd(-1)] {
        let expected = Error::AmountNotPositive { offered };
        unopened().when(request_withdrawal(WITHDRAWAL, offered)).then_refused(expected);
        holding(500).when(request_withdrawal(WITHDRAWAL, offered)).then_refused(expected);
    }
    let expected = Error::WrongCurrency { expected: Currency::USD, offered: Currency::JPY };
    holding(500).when(request_withdrawal(WITHDRAWAL, yen(1))).then_refused(expected);
}

#[test]
fn a_paid_withdrawal_leaves_through_the_provider() {
    let requested = || holding(500).and(request_withdrawal(WITHDRAWAL, usd(300)));
    requested().when(confirm(WITHDRAWAL)).then([Event::WithdrawalPaid {
        withdrawal: WITHDRAWAL,
        provider_reference: "po_1".to_owned(),
        fee: None,
        postings: posting(payout_pending(), clearing(bank()), 300),
    }]);
    let paid = requested().and(confirm(WITHDRAWAL));
    assert_eq!(balances(&paid), (200, 0));
    assert_eq!(balance(&paid).pending_withdrawal(WITHDRAWAL), None);
}

#[test]
fn a_failed_withdrawal_comes_back() {
    let requested = || holding(500).and(request_withdrawal(WITHDRAWAL, usd(300)));
    requested().when(fail_withdrawal(WITHDRAWAL)).then([Event::WithdrawalFailed {
        withdrawal: WITHDRAWAL,
        reason: "account closed".to_owned(),
        postings: posting(payout_pending(), available(), 300),
    }]);
    assert_eq!(balances(&requested().and(fail_withdrawal(WITHDRAWAL))), (500, 0));
}

#[test]
fn a_withdrawal_that_is_reported_twice_is_paid_or_given_back_once() {
    let requested = || holding(500).and(request_withdrawal(WITHDRAWAL, usd(300)));
    for end in [confirm(WITHDRAWAL), fail_withdrawal(WITHDRAWAL)] {
        let ended = || requested().and(end.clone());
        ended().when(confirm(WITHDRAWAL)).then_refused(Error::NotUnderWay);
        ended().when(fail_withdrawal(WITHDRAWAL)).then_refused(Error::NotUnderWay);
        ended().when(delay_withdrawal(WITHDRAWAL, 60)).then_refused(Error::NotUnderWay);
    }
}

#[test]
fn what_comes_back_after_it_was_paid_out_is_available_again() {
    let paid = holding(500).and(request_withdrawal(WITHDRAWAL, usd(300))).and(confirm(WITHDRAWAL));
    let back = Command::ReturnWithdrawal {
        withdrawal: WITHDRAWAL,
        amount: usd(300),
        provider: bank().provider,
        reason: "account closed".to_owned(),
    };
    let returned = paid.and(back.clone());
    assert_eq!(balances(&returned), (500, 0));
    unopened().when(back.clone()).then_refused(Error::NotUnderWay);
    holding(500).when(back).then([Event::WithdrawalReturned {
        withdrawal: WITHDRAWAL,
        amount: usd(300),
        reason: "account closed".to_owned(),
        postings: posting(clearing(bank()), available(), 300),
    }]);
}

#[test]
fn what_the_provider_keeps_for_a_payout_the_marketplace_pays() {
    let requested = || holding(500).and(request_withdrawal(WITHDRAWAL, usd(300)));
    let provider_reference = || "po_1".to_owned();
    let confirm = |fee| Command::ConfirmWithdrawal {
        withdrawal: WITHDRAWAL,
        provider_reference: provider_reference(),
        fee: Some(usd(fee)),
    };
    let mut postings = posting(payout_pending(), clearing(bank()), 300);
    postings.extend(posting(LedgerAccount::ProviderFeeExpense, clearing(bank()), 25));
    let (withdrawal, fee) = (WITHDRAWAL, Some(usd(25)));
    let paid = Event::WithdrawalPaid { withdrawal, provider_reference: provider_reference(), fee, postings };
    requested().when(confirm(25)).then([paid]);
    assert_eq!(balances(&requested().and(confirm(25))), (200, 0));
    let postings = posting(payout_pending(), clearing(bank()), 300);
    let (fee, provider_reference) = (None, provider_reference());
    requested().when(confirm(0)).then([Event::WithdrawalPaid { withdrawal, provider_reference, fee, postings }]);
}

#[test]
fn what_a_payout_is_called_is_known_until_it_ends() {
    let called = |reference: Option<&str>, second| Command::DelayWithdrawal {
        withdrawal: WITHDRAWAL,
        provider_reference: reference.map(str::to_owned),
        check_at: at(second),
    };
    let requested = || holding(500).and(request_withdrawal(WITHDRAWAL, usd(300)));
    let known = requested().and(called(Some("po_1"), 60)).and(called(None, 120));
    assert_eq!(balance(&known).pending_withdrawal(WITHDRAWAL).unwrap().reference.as_deref(), Some("po_1"));
    known.when(called(Some("po_1"), 120)).then_nothing();
}

#[test]
fn a_delayed_withdrawal_is_asked_for_later_and_may_still_be_paid() {
    let requested = || holding(500).and(request_withdrawal(WITHDRAWAL, usd(300)));
    let delayed = |second| {
        let (withdrawal, provider_reference) = (WITHDRAWAL, None);
        Event::WithdrawalDelayed { withdrawal, provider_reference, check_at: at(second) }
    };
    requested().when(delay_withdrawal(WITHDRAWAL, 60)).then([delayed(60)]);
    requested().and(delay_withdrawal(WITHDRAWAL, 60)).when(delay_withdrawal(WITHDRAWAL, 60)).then_nothing();
    requested().and(delay_withdrawal(WITHDRAWAL, 60)).when(delay_withdrawal(WITHDRAWAL, 120)).then([delayed(120)]);
    let later = requested().and(delay_withdrawal(WITHDRAWAL, 60));
    assert_eq!(balance(&later).pending_withdrawal(WITHDRAWAL).unwrap().check_at, Some(at(60)));
    assert_eq!(balances(&later.and(confirm(WITHDRAWAL))), (200, 0));
}

#[test]
fn a_withdrawal_that_is_requested_twice_is_under_way_once() {
    let requested = || holding(500).and(request_withdrawal(WITHDRAWAL, usd(300)));
    requested().when(request_withdrawal(WITHDRAWAL, usd(300))).then_nothing();
    requested().when(request_withdrawal(WITHDRAWAL, usd(100))).then_refused(Error::OperationReused);
    let another = requested().and(request_withdrawal(OTHER_WITHDRAWAL, usd(200)));
    assert_eq!(balances(&another), (0, 0));
}

// Holds.

#[test]
fn a_hold_sets_money_aside() {
    holding(500).when(place_hold(HOLD, usd(300))).then([hold_placed(HOLD, 300)]);
    assert_eq!(balances(&holding(500).and(place_hold(HOLD, usd(300)))), (200, 300));
}

#[test]
fn a_released_hold_is_available_again() {
    let placed = || holding(500).and(place_hold(HOLD, usd(300)));
    placed()
        .when(release(HOLD))
        .then([Event::HoldReleased { hold: HOLD, postings: posting(held(), available(), 300) }]);
    assert_eq!(balances(&placed().and(release(HOLD))), (500, 0));
    placed().and(release(HOLD)).when(release(HOLD)).then_refused(Error::NotUnderWay);
}

#[test]
fn a_hold_that_is_placed_twice_is_placed_once() {
    let placed = || holding(500).and(place_hold(HOLD, usd(300)));
    placed().when(place_hold(HOLD, usd(300))).then_nothing();
    placed().when(place_hold(HOLD, usd(100))).then_refused(Error::OperationReused);
    let another = placed().and(place_hold(OTHER_HOLD, usd(100)));
    assert_eq!(balances(&another), (100, 400));
    assert_eq!(balances(&another.and(release(HOLD))), (400, 100));
}

#[test]
fn no_more_is_held_than_is_available() {
    let refused = |available, requested| Error::InsufficientFunds { available, requested };
    holding(500).when(place_hold(HOLD, usd(501))).then_refused(refused(usd(500), usd(501)));
    unopened().when(place_hold(HOLD, usd(1))).then_refused(refused(usd(0), usd(1)));
    let rest = holding(500).and(request_withdrawal(WITHDRAWAL, usd(450)));
    rest.when(place_hold(HOLD, usd(51))).then_refused(refused(usd(50), usd(51)));
}

#[test]
fn a_hold_is_above_zero_and_in_the_currency_of_the_wallet() {
    for offered in [usd(0), usd(-1)] {
        let expected = Error::AmountNotPositive { offered };
        unopened().when(place_hold(HOLD, offered)).then_refused(expected);
        holding(500).when(place_hold(HOLD, offered)).then_refused(expected);
    }
    let expected = Error::WrongCurrency { expected: Currency::USD, offered: Currency::JPY };
    holding(500).when(place_hold(HOLD, yen(1))).then_refused(expected);
}

// Reports.

#[test]
fn a_report_on_what_was_never_asked_for_is_refused() {
    for report in [
        settle(DEPOSIT),
        fail_deposit(DEPOSIT),
        delay_withdrawal(WITHDRAWAL, 60),
        confirm(WITHDRAWAL),
        fail_withdrawal(WITHDRAWAL),
        release(HOLD),
    ] {
        unopened().when(report.clone()).then_refused(Error::NotUnderWay);
        empty().when(report.clone()).then_refused(Error::NotUnderWay);
        holding(500).when(report).then_refused(Error::NotUnderWay);
    }
}

const ORDER: OrderId = OrderId(Uuid::from_u128(40));
const REFUND: RefundId = RefundId(Uuid::from_u128(41));

fn give_back(minor: i64, owed: i64) -> Command {
    Command::GiveRefund { owner: ANN, order: ORDER, refund: REFUND, amount: usd(minor), owed: usd(owed) }
}

fn sale(minor: i64) -> Command {
    Command::ReceiveSale { owner: ANN, order: ORDER, amount: usd(minor) }
}

fn recovered(operation: Uuid, minor: i64) -> Event {
    let postings = posting(available(), LedgerAccount::Receivable(ANN), minor);
    Event::ReceivableRecovered { operation, amount: usd(minor), postings }
}

#[test]
fn an_order_is_paid_with_what_is_available() {
    let refused = Error::InsufficientFunds { available: usd(500), requested: usd(501) };
    let pay = |minor| Command::Pay { order: ORDER, amount: usd(minor) };
    let with_money = || given::<Wallet>([]).and(sale(500));
    with_money().when(pay(501)).then_refused(refused);
    with_money().when(pay(500)).then([Event::PaymentMade { order: ORDER, amount: usd(500) }]);
    let empty = Error::InsufficientFunds { available: usd(0), requested: usd(1) };
    given::<Wallet>([]).when(pay(1)).then_refused(empty);
}

#[test]
fn a_sale_opens_the_wallet_of_a_seller() {
    let opened = Event::WalletOpened { owner: ANN, currency: Currency::USD };
    given::<Wallet>([]).when(sale(500)).then([opened, Event::SaleReceived { order: ORDER, amount: usd(500) }]);
}

#[test]
fn what_is_owed_is_paid_with_the_next_money_that_comes_in() {
    let owing = || given::<Wallet>([]).and(sale(500)).and(give_back(500, 300));
    let received = |minor| Event::SaleReceived { order: ORDER, amount: usd(minor) };
    owing().when(sale(200)).then([received(200), recovered(ORDER.0, 200)]);
    owing().when(sale(900)).then([received(900), recovered(ORDER.0, 300)]);
    owing().and(sale(900)).when(sale(1)).then([received(1)]);
    let Wallet::Open(balance) = owing().and(sale(900)).state().clone() else { panic!("not open") };
    assert_eq!((balance.available, balance.owed), (usd(600), usd(0)));
}

#[test]
fn a_commission_comes_in_like_a_sale_and_what_is_given_back_of_it_may_be_owed() {
    const COMMISSION: CommissionId = CommissionId(Uuid::from_u128(42));
    let receive = |minor| Command::ReceiveCommission { owner: ANN, commission: COMMISSION, amount: usd(minor) };
    let received = |minor| Event::CommissionReceived { commission: COMMISSION, amount: usd(minor) };
    let opened = Event::WalletOpened { owner: ANN, currency: Currency::USD };
    given::<Wallet>([]).when(receive(25)).then([opened, received(25)]);
    let (commission, refund) = (COMMISSION, REFUND);
    let give = |minor, owed| {
        let (amount, owed) = (usd(minor), usd(owed));
        Command::GiveCommission { owner: ANN, commission, refund, amount, owed }
    };
    let with_commission = || given::<Wallet>([]).and(receive(25));
    let given_back = Event::CommissionGiven { commission, refund, amount: usd(20), owed: usd(5) };
    with_commission().when(give(20, 5)).then([given_back]);
    let refused = Error::InsufficientFunds { available: usd(25), requested: usd(26) };
    with_commission().when(give(26, 0)).then_refused(refused);
    let owing = with_commission().and(give(25, 10));
    owing.when(receive(30)).then([received(30), recovered(COMMISSION.0, 10)]);
}

#[test]
fn a_deposit_pays_what_is_owed_first() {
    let deposit = Command::RequestDeposit { deposit: DEPOSIT, owner: ANN, amount: usd(500), source: card() };
    let settle = Command::SettleDeposit { deposit: DEPOSIT, provider_reference: "ch_1".to_owned() };
    let owing = given::<Wallet>([]).and(sale(100)).and(give_back(100, 300)).and(deposit).and(settle);
    let Wallet::Open(balance) = owing.state() else { panic!("not open") };
    assert_eq!((balance.available, balance.owed), (usd(200), usd(0)));
}

#[test]
fn a_deposit_that_is_only_asked_for_does_not_stand_in_the_way_of_a_sale() {
    let asked = |minor| Command::RequestDeposit { deposit: DEPOSIT, owner: ANN, amount: usd(minor), source: card() };
    let received = |minor| Event::SaleReceived { order: ORDER, amount: usd(minor) };
    given::<Wallet>([]).and(asked(LARGEST)).when(sale(LARGEST)).then([received(LARGEST)]);
    // Both together still fit.
    let settle = Command::SettleDeposit { deposit: DEPOSIT, provider_reference: "ch_1".to_owned() };
    let both = given::<Wallet>([]).and(asked(LARGEST)).and(sale(LARGEST)).and(settle);
    let Wallet::Open(balance) = both.state() else { panic!("not open") };
    assert_eq!(balance.available, usd(2 * LARGEST));
    let full = Error::BalanceLimit { available: usd(LARGEST), offered: usd(1) };
    given::<Wallet>([]).and(sale(LARGEST)).when(sale(1)).then_refused(full);
}

#[test]
fn what_a_bank_takes_back_is_given_or_owed_and_comes_back_if_the_payer_was_not_right() {
    let dispute = DisputeId(Uuid::from_u128(77));
    let give = |minor, owed| Command::GiveChargeback { owner: ANN, dispute, amount: usd(minor), owed: usd(owed) };
    let regain = |minor, forgiven| Command::RegainChargeback {
        owner: ANN,
        dispute,
        amount: usd(minor),
        forgiven: usd(forgiven),
    };
    let opened = Event::WalletOpened { owner: ANN, currency: Currency::USD };
    let owing = Event::ChargebackGiven { dispute, amount: usd(0), owed: usd(300) };
    unopened().when(give(0, 300)).then([opened, owing]);
    holding(500).when(give(501, 0)).then_refused(Error::InsufficientFunds { available: usd(500), requested: usd(501) });
    let given = holding(500).and(give(500, 200));
    let Wallet::Open(balance) = given.state() else { panic!("not open") };
    assert_eq!((balance.available, balance.owed), (usd(0), usd(200)));
    let back = given.and(regain(550, 150));
    let Wallet::Open(balance) = back.state() else { panic!("not open") };
    assert_eq!((balance.available, balance.owed), (usd(550), usd(50)));
}

#[test]
fn a_wallet_is_settled_once_nothing_is_in_it_owed_or_under_way() {
    let owing = given::<Wallet>([]).and(sale(500)).and(give_back(500, 300));
    let unsettled = [
        holding(500),
        holding(500).and(place_hold(HOLD, usd(500))),
        holding(500).and(request_withdrawal(WITHDRAWAL, usd(500))),
        empty().and(request_deposit(DEPOSIT, usd(500))),
        owing,
    ];
    for wallet in unsettled {
        assert!(!balance(&wallet).is_settled(), "{:?}", wallet.state());
    }
    for wallet in [empty(), holding(500).and(request_withdrawal(WITHDRAWAL, usd(500))).and(confirm(WITHDRAWAL))] {
        assert!(balance(&wallet).is_settled(), "{:?}", wallet.state());
    }
}
