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
    let more = Command::OpenDispute {
        dispute: DISPUTE,
        name: "dp_1".to_owned(),
        amount: usd(10_001),
        reason: String::new(),
        shares: vec![],
    };
    paid().when(more).then_refused(Error::MoreThanCharged { remaining: usd(10_000), offered: usd(10_001) });
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
