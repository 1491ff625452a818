//! Of what a payer has got back of their bank.

use super::*;

const DISPUTE: DisputeId = DisputeId(Uuid::from_u128(9));
const SELLER: AccountId = AccountId(Uuid::from_u128(8));

fn shares() -> Vec<Share> {
    let seller = Bearer::Account { owner: SELLER, available: usd(0), owed: usd(4_000) };
    vec![
        Share { order: Some(ORDERS[0]), amount: usd(6_000), bearer: Bearer::Escrow },
        Share { order: Some(ORDERS[1]), amount: usd(4_000), bearer: seller },
    ]
}

fn open() -> Command {
    Command::OpenDispute {
        dispute: DISPUTE,
        name: "dp_1".to_owned(),
        amount: usd(10_000),
        reason: "fraudulent".to_owned(),
        shares: shares(),
    }
}

fn disputed(minor: i64, shares: Vec<Share>) -> Command {
    let (name, reason) = ("dp_1".to_owned(), "fraudulent".to_owned());
    Command::OpenDispute { dispute: DISPUTE, name, amount: usd(minor), reason, shares }
}

/// What a charge posts of this.
fn posted(charge: &Given<Charge>, command: Command) -> Vec<Posting> {
    let events = charge.state().decide(command).unwrap();
    events.iter().flat_map(|event| event.postings().to_vec()).collect()
}

fn opened() -> Event {
    Event::ChargeDisputed {
        dispute: DISPUTE,
        name: "dp_1".to_owned(),
        amount: usd(10_000),
        reason: "fraudulent".to_owned(),
        shares: shares(),
        postings: vec![posting(LedgerAccount::Receivable(SELLER), clearing(), 4_000)],
    }
}

fn win(owes: i64) -> Command {
    Command::WinDispute { dispute: DISPUTE, owing: BTreeMap::from([(SELLER, usd(owes))]) }
}

fn lose() -> Command {
    Command::LoseDispute { dispute: DISPUTE }
}

#[test]
fn what_the_bank_takes_back_is_borne_once_and_to_the_cent() {
    paid().when(open()).then([opened()]);
    paid().and(open()).when(open()).then_nothing();
    requested().when(open()).then_refused(Error::NotSucceeded);
    let less = Command::OpenDispute {
        dispute: DISPUTE,
        name: "dp_1".to_owned(),
        amount: usd(9_999),
        reason: String::new(),
        shares: shares(),
    };
    paid().when(less).then_refused(Error::AmountDiffers { expected: usd(9_999), offered: usd(10_000) });
    // Banks may take more than was charged.
    let more = Share { order: None, amount: usd(1), bearer: Bearer::Marketplace };
    let more = disputed(10_001, shares().into_iter().chain([more]).collect());
    let postings = [
        posting(LedgerAccount::Receivable(SELLER), clearing(), 4_000),
        posting(LedgerAccount::ChargebackExpense, clearing(), 1),
    ];
    assert_eq!(posted(&paid(), more), postings);
    let nothing = disputed(0, vec![]);
    paid().when(nothing).then_refused(Error::AmountNotPositive { offered: usd(0) });
}

#[test]
fn what_is_won_comes_back_first_against_what_is_still_owed() {
    let seller = LedgerAccount::Receivable(SELLER);
    let back = [posting(clearing(), LedgerAccount::Available(SELLER), 2_500), posting(clearing(), seller, 1_500)];
    let bearer = Bearer::Account { owner: SELLER, available: usd(2_500), owed: usd(1_500) };
    let shares = vec![shares()[0], Share { bearer, ..shares()[1] }];
    let won = Event::ChargeDisputeWon { dispute: DISPUTE, shares, postings: back.to_vec() };
    paid().and(open()).when(win(1_500)).then([won]);
    for end in [win(0), lose(), open()] {
        paid().and(open()).and(win(0)).when(end).then_nothing();
    }
}

#[test]
fn what_somebody_has_borne_is_known_until_it_comes_back() {
    let borne = |charge: Given<Charge>, order| charge.state().requested().unwrap().borne_by(SELLER, order).unwrap();
    assert_eq!(borne(paid(), ORDERS[1]), usd(0));
    assert_eq!(borne(paid().and(open()), ORDERS[1]), usd(4_000));
    assert_eq!(borne(paid().and(open()), ORDERS[0]), usd(0));
    assert_eq!(borne(paid().and(open()).and(lose()), ORDERS[1]), usd(4_000));
    assert_eq!(borne(paid().and(open()).and(win(0)), ORDERS[1]), usd(0));
}

#[test]
fn whichever_message_comes_first_the_money_is_where_it_belongs() {
    let (lost, dispute) = (Event::ChargeDisputeLost { dispute: DISPUTE }, DISPUTE);
    paid().and(open()).when(lose()).then([lost.clone()]);
    paid().when(lose()).then([lost.clone()]);
    paid().and(lose()).when(open()).then([opened(), lost]);
    paid().and(lose()).and(open()).when(open()).then_nothing();
    paid().when(win(0)).then([Event::ChargeDisputeWon { dispute, shares: vec![], postings: vec![] }]);
    paid().and(win(0)).when(open()).then_nothing();
    paid().and(lose()).when(win(0)).then_nothing();
}

#[test]
fn a_refund_on_its_way_has_come_by_the_bank_and_is_asked_for_anew_if_the_dispute_is_won() {
    let refund = back();
    let share = Share { order: None, amount: usd(10_000), bearer: Bearer::Refund { refund } };
    let taken = || late().and(disputed(10_000, vec![share]));
    assert_eq!(posted(&late(), disputed(10_000, vec![share])), [posting(unapplied(), clearing(), 10_000)]);
    // The card's bank refuses it meanwhile, which says nothing.
    let failed = Command::FailRefund { refund, reason: "disputed".to_owned(), now: at(0) };
    taken().when(failed).then_nothing();
    assert_eq!(taken().state().requested().unwrap().refunds_on_their_way(None).count(), 0);
    let won = Event::ChargeDisputeWon {
        dispute: DISPUTE,
        shares: vec![share],
        postings: vec![posting(clearing(), unapplied(), 10_000)],
    };
    taken().when(win(0)).then([won, Event::ChargeRefundRetried { refund, attempt: 2 }]);
    taken().and(lose()).when(Command::RetryRefund { refund, now: at(1_000_000) }).then_nothing();
}

#[test]
fn what_arrives_by_the_card_and_by_the_bank_is_the_marketplaces_loss_until_it_is_won() {
    let refund = back();
    let share = Share { order: None, amount: usd(10_000), bearer: Bearer::Refund { refund } };
    let confirm = Command::ConfirmRefund { refund, reference: "re_1".to_owned() };
    let taken = late().and(disputed(10_000, vec![share]));
    assert_eq!(posted(&taken, confirm.clone()), [posting(LedgerAccount::ChargebackExpense, clearing(), 10_000)]);
    let both = taken.and(confirm);
    assert_eq!(posted(&both, win(0)), [posting(clearing(), LedgerAccount::ChargebackExpense, 10_000)]);
    assert!(matches!(both.and(win(0)).state().requested().unwrap().refunds[&refund].state, Refunding::Refunded { .. }));
}

#[test]
fn while_a_bank_decides_a_refund_is_tried_as_often_as_it_takes() {
    let part = || paid().and(Command::Refund { refund: REFUND, order: ORDERS[0], amount: usd(1_000) });
    let fail = |second| Command::FailRefund { refund: REFUND, reason: "disputed".to_owned(), now: at(second) };
    let mut often = part().and(open());
    for day in 0..i64::from(MOST_ATTEMPTS) + 2 {
        let failed_at = day * 86_400;
        often =
            often.and(fail(failed_at)).and(Command::RetryRefund { refund: REFUND, now: at(failed_at) + RETRIED_AFTER });
    }
    let refund = often.state().requested().unwrap().refunds[&REFUND].clone();
    assert_eq!(
        (refund.attempt, refund.state),
        (MOST_ATTEMPTS + 3, Refunding::Asked { reference: None, check_at: None })
    );
}
