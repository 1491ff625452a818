//! Of what was paid by card, and what the card's bank takes back.

use super::*;
use crate::order::DISPUTED_AFTER;

const CHARGE: ChargeId = ChargeId(Uuid::from_u128(30));
const DISPUTE: DisputeId = DisputeId(Uuid::from_u128(31));

fn clearing() -> LedgerAccount {
    LedgerAccount::ProviderClearing("sandbox".to_owned())
}

fn card(refunded_to_card: bool) -> CardPayment {
    CardPayment { charge: CHARGE, provider: "sandbox".to_owned(), refunded_to_card }
}

fn paid_by(refunded_to_card: bool) -> Given<Escrow> {
    opened().and(Command::Fund { source: Source::Card(card(refunded_to_card)), now: begin() })
}

fn charge_back(minor: i64) -> Command {
    Command::ChargeBack { dispute: DISPUTE, amount: usd(minor) }
}

#[test]
fn a_card_pays_straight_into_the_escrow() {
    let postings = vec![posting(clearing(), escrow(), 10_000)];
    let (amount, ship_by, card) = (usd(10_000), days(14), Some(card(false)));
    let source = Source::Card(self::card(false));
    opened().when(Command::Fund { source, now: begin() }).then([Event::EscrowFunded {
        amount,
        ship_by,
        card,
        postings,
    }]);
}

#[test]
fn what_goes_back_goes_to_the_wallet_or_to_the_card_of_whoever_has_none() {
    for (to_card, target) in [(false, available(BOB)), (true, LedgerAccount::RefundPending(CHARGE))] {
        let back = refund(Some(4_000), RefundCause::Seller, begin());
        paid_by(to_card).when(back).then([Event::EscrowPartlyRefunded {
            refund: REFUND,
            amount: usd(4_000),
            cause: RefundCause::Seller,
            from_points: None,
            postings: vec![posting(escrow(), target, 4_000)],
        }]);
    }
}

#[test]
fn nothing_moves_while_the_bank_decides() {
    let taken = || paid_by(false).and(charge_back(10_000));
    let wrong = || Error::WrongStatus { status: Status::ChargedBack };
    taken().when(refund(None, RefundCause::Seller, begin())).then_refused(wrong());
    taken().when(refund(None, RefundCause::NotShipped, days(14))).then_refused(wrong());
    taken().when(Command::Inspect { now: begin() }).then_refused(wrong());
    taken().when(charge_back(1)).then_refused(wrong());
    let by = Disputant::Buyer;
    taken().when(Command::Dispute { by, reason: String::new(), now: begin() }).then_refused(wrong());
    let inspected = paid_by(false).and(Command::Inspect { now: begin() }).and(charge_back(10_000));
    inspected.when(Command::Release { cause: ReleaseCause::InspectionOver, now: days(20) }).then_refused(wrong());
    // What no card has paid no bank takes back.
    funded().when(charge_back(1)).then_refused(Error::WrongStatus { status: Status::Funded });
}

#[test]
fn what_is_said_of_another_dispute_is_about_another_chargeback() {
    let taken = || paid_by(false).and(charge_back(2_500));
    let (dispute, now) = (DisputeId(Uuid::from_u128(32)), days(1));
    taken().when(Command::ReturnChargeback { dispute, sent: false, now }).then_nothing();
    taken().when(Command::SettleChargeback { dispute, sent: false, now }).then_nothing();
}

#[test]
fn what_is_taken_comes_back_with_time_of_its_own_or_counts_as_gone_back() {
    let taken = paid_by(false).and(Command::Inspect { now: begin() });
    taken.when(charge_back(2_500)).then([Event::EscrowChargedBack {
        dispute: DISPUTE,
        amount: usd(2_500),
        postings: vec![posting(escrow(), clearing(), 2_500)],
    }]);
    let taken = || paid_by(false).and(Command::Inspect { now: begin() }).and(charge_back(2_500));
    let course = Course::Inspection { ends_at: days(44), remind_at: Some(days(33)) };
    let (dispute, amount) = (DISPUTE, usd(2_500));
    let postings = vec![posting(clearing(), escrow(), 2_500)];
    let won = Command::ReturnChargeback { dispute, sent: false, now: days(30) };
    taken().when(won.clone()).then([Event::ChargebackReturned { dispute, amount, course, postings }]);
    taken().and(won.clone()).when(won).then_nothing();
    let lost = Command::SettleChargeback { dispute, sent: false, now: days(30) };
    taken().when(lost.clone()).then([Event::ChargebackSettled { dispute, amount, course: Some(course) }]);
    let rest = taken().and(lost);
    assert_eq!(rest.state().opened().unwrap().remaining(), usd(7_500));
    let released = rest.and(Command::Release { cause: ReleaseCause::Confirmed, now: days(31) });
    assert_eq!(released.state().opened().unwrap().status(), Status::Released);
}

#[test]
fn an_escrow_of_which_all_is_lost_has_ended() {
    let (dispute, now) = (DISPUTE, days(3));
    let lost = paid_by(true).and(charge_back(10_000)).and(Command::SettleChargeback { dispute, sent: false, now });
    assert_eq!(lost.state().opened().unwrap().status(), Status::Refunded);
    lost.when(refund(None, RefundCause::Seller, now)).then_refused(Error::WrongStatus { status: Status::Refunded });
}

#[test]
fn what_comes_back_waits_anew_for_what_it_has_waited_for() {
    let disputed = paid_by(false).and(dispute(days(1)));
    let (dispute, amount) = (DISPUTE, usd(2_500));
    for (before, sent, course) in [
        (paid_by(false), false, Course::Funded { ship_by: days(30) + SHIPPED_WITHIN, sent: false }),
        (paid_by(false), true, Course::Funded { ship_by: days(30) + DISPUTED_AFTER, sent: true }),
        (disputed, true, Course::Disputed { expires_at: days(30) + RESOLVED_WITHIN }),
    ] {
        let won = Command::ReturnChargeback { dispute, sent, now: days(30) };
        let postings = vec![posting(clearing(), escrow(), 2_500)];
        let back = Event::ChargebackReturned { dispute, amount, course, postings };
        before.and(charge_back(2_500)).when(won).then([back]);
    }
}

#[test]
fn an_inspection_that_goes_on_is_reminded_of_as_if_it_began_then() {
    let won = Command::ReturnChargeback { dispute: DISPUTE, sent: false, now: days(30) };
    let goes_on = paid_by(false).and(Command::Inspect { now: begin() }).and(charge_back(2_500)).and(won);
    let remind = Command::Remind { now: days(33) };
    goes_on.when(remind).then([Event::InspectionReminded { remind_at: Some(days(42)) }]);
}
