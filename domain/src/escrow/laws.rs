//! What holds for every escrow, whatever is asked of it in whatever order.

use std::collections::HashMap;

use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::money::Currency;
use crate::points;

const ANN: AccountId = AccountId(Uuid::from_u128(1));
const BOB: AccountId = AccountId(Uuid::from_u128(2));
const CLERK: AccountId = AccountId(Uuid::from_u128(3));

fn usd(minor: i64) -> Money {
    Money::new(minor, Currency::USD).unwrap()
}

/// A command, with amounts as shares of what remains and the day on which it comes.
#[derive(Clone, Copy, Debug)]
struct Wish {
    kind: u8,
    permille: i64,
    day: i64,
}

fn any_wish() -> impl Strategy<Value = Wish> {
    (0..14_u8, 0..=1_000_i64, 0..90_i64).prop_map(|(kind, permille, day)| Wish { kind, permille, day })
}

impl Wish {
    fn command(self, escrow: &Opened) -> Command {
        let now = Timestamp::default() + TimeDelta::days(self.day);
        let part = usd(escrow.remaining().minor() * self.permille / 1_000);
        let refund = RefundId(Uuid::nil());
        let back = |amount, cause| Command::Refund { refund, amount, cause, now };
        match self.kind {
            0 | 1 => Command::Fund { source: Source::Wallet, now },
            2 => Command::Void {},
            3 | 4 => Command::Inspect { now },
            5 => Command::Remind { now },
            6 => Command::Dispute { by: Disputant::Seller, reason: String::new(), now },
            7 => Command::Release { cause: ReleaseCause::Confirmed, now },
            8 => Command::Release { cause: ReleaseCause::InspectionOver, now },
            9 => Command::Release { cause: ReleaseCause::Resolved(CLERK), now },
            10 => back(Some(part), RefundCause::Seller),
            11 => back(None, RefundCause::DisputeExpired),
            12 => Command::Split { to_buyer: part, by: CLERK },
            _ => Command::RefundReleased {
                refund,
                amount: Some(part),
                seller_available: usd(self.day * 10),
                cause: RefundCause::Staff(CLERK),
            },
        }
    }
}

proptest! {
    #[test]
    fn what_was_paid_in_is_held_or_has_gone_to_somebody_to_the_cent(
        lines in prop::collection::vec((1..100_000_i64, 0..=10_000_u32), 1..6),
        (permille, worth_minor) in (0..=1_000_u64, 1..200_u32),
        wishes in prop::collection::vec(any_wish(), 0..30),
    ) {
        let lines: Vec<FeeLine> =
            lines.into_iter().map(|(gross, fee_bps)| FeeLine { gross: usd(gross), fee_bps }).collect();
        let amount = fees::gross(&lines, Currency::USD).unwrap();
        let order = OrderId(Uuid::nil());
        let points = amount.minor().unsigned_abs() / u64::from(worth_minor) * permille / 1_000;
        let redeemed = points::redeemed_for(points, worth_minor, &[amount]).unwrap()[0];
        let (inspection_s, points_per_unit, commission) = (1_209_600, 1, None);
        let terms = Terms {
            order,
            buyer: BOB,
            seller: ANN,
            lines,
            amount,
            inspection_s,
            points_per_unit,
            redeemed,
            commission,
        };
        let mut points_out = points;
        let mut escrow = Escrow::default();
        escrow.evolve(&Event::EscrowOpened { terms });
        let mut books = HashMap::<LedgerAccount, i64>::new();
        for wish in wishes {
            let before = escrow.opened().unwrap().clone();
            let events = escrow.decide(wish.command(&before)).unwrap_or_default();
            for event in &events {
                let read: Event = serde_json::from_str(&serde_json::to_string(event).unwrap()).unwrap();
                prop_assert_eq!(&read, event);
                escrow.evolve(&read);
                for posting in event.postings() {
                    prop_assert!(posting.amount.is_positive());
                    *books.entry(posting.debit.clone()).or_default() -= posting.amount.minor();
                    *books.entry(posting.credit.clone()).or_default() += posting.amount.minor();
                }
            }
            let after = escrow.opened().unwrap();
            let book = |account| books.get(&account).copied().unwrap_or(0);
            let held = match after.phase {
                Phase::Funded { .. } | Phase::Inspection { .. } | Phase::Disputed { .. } => after.remaining().minor(),
                _ => 0,
            };
            prop_assert_eq!(book(LedgerAccount::Escrow(order)), held);
            prop_assert_eq!(books.values().sum::<i64>(), 0);
            prop_assert!(book(LedgerAccount::FeeIncome) >= 0);
            prop_assert!((0..=amount.minor()).contains(&after.remaining().minor()));
            // The buyer has paid what has not come back; the seller has it but for the fee and what is held.
            let paid = !matches!(after.phase, Phase::AwaitingPayment | Phase::Voided);
            if paid {
                let [money, of_points] =
                    [LedgerAccount::Available(BOB), LedgerAccount::MarketingExpense].map(|account| -book(account));
                prop_assert_eq!(money + of_points, after.remaining().minor());
                // Points come back as points, and no more of them than went in; what is less than one is money.
                let part = redeemed.map_or(0, |redeemed| redeemed.worth.minor());
                prop_assert!((0..=part).contains(&of_points), "{of_points} of {part}");
                prop_assert!(money <= amount.minor() - part, "{money} of {amount}");
                let made_good = after.refunded_from_points.minus(before.refunded_from_points).unwrap();
                let back = after.points_back_with(Some(made_good));
                prop_assert!(back <= points_out, "{back} of {points_out} points");
                points_out -= back;
                prop_assert_eq!(i64::try_from(points_out).unwrap() * i64::from(worth_minor), of_points);
            }
            // Before an inspection nobody is paid.
            let released = matches!(after.phase, Phase::Released { .. });
            if matches!(before.phase, Phase::Funded { .. }) {
                prop_assert!(!released);
            }
            // What has ended stays ended.
            let ended = |phase: Phase| matches!(phase, Phase::Voided | Phase::Refunded | Phase::Split);
            if ended(before.phase) {
                prop_assert!(events.is_empty());
            }
        }
    }
    #[test]
    fn however_a_refund_is_divided_points_and_money_together_are_what_was_paid(
        (amount, permille, worth_minor) in (1..1_000_000_i64, 0..=1_000_u64, 1..1_000_u32),
        parts in prop::collection::vec(1..=1_000_i64, 1..20),
        after_release in any::<bool>(),
    ) {
        let (order, lines) = (OrderId(Uuid::nil()), vec![FeeLine { gross: usd(amount), fee_bps: 250 }]);
        let points = amount.unsigned_abs() / u64::from(worth_minor) * permille / 1_000;
        let redeemed = points::redeemed_for(points, worth_minor, &[usd(amount)]).unwrap()[0];
        let (inspection_s, points_per_unit, commission) = (1_209_600, 1, None);
        let (amount, buyer, seller) = (usd(amount), BOB, ANN);
        let terms =
            Terms { order, buyer, seller, lines, amount, inspection_s, points_per_unit, redeemed, commission };
        let now = Timestamp::default();
        let release = Command::Release { cause: ReleaseCause::Confirmed, now };
        let mut commands = vec![Command::Open { terms: terms.clone() }, Command::Fund { source: Source::Wallet, now }, Command::Inspect { now }];
        commands.extend(after_release.then_some(release));
        let mut escrow = Escrow::default();
        for command in commands {
            for event in escrow.decide(command).unwrap() {
                escrow.evolve(&event);
            }
        }
        let (mut money_back, mut points_back) = (0, 0);
        // The last of them is of all that is left.
        let parts = parts.into_iter().map(Some).chain([None]);
        for permille in parts {
            let remaining = escrow.opened().unwrap().remaining().minor();
            let part = permille.map_or(remaining, |permille| remaining * permille / 1_000);
            if part == 0 {
                continue;
            }
            let (refund, cause) = (RefundId(Uuid::nil()), RefundCause::Seller);
            let command = if after_release {
                Command::RefundReleased { refund, amount: Some(usd(part)), seller_available: usd(0), cause }
            } else {
                Command::Refund { refund, amount: Some(usd(part)), cause, now }
            };
            for event in escrow.decide(command).unwrap() {
                let before = escrow.opened().unwrap().refunded_from_points;
                escrow.evolve(&event);
                let to_buyer = event.postings().iter().filter(|posting| posting.credit == LedgerAccount::Available(BOB));
                let money: i64 = to_buyer.map(|posting| posting.amount.minor()).sum();
                let opened = escrow.opened().unwrap();
                let points = opened.points_back_with(Some(opened.refunded_from_points.minus(before).unwrap()));
                let worth = i64::try_from(points).unwrap() * i64::from(worth_minor);
                prop_assert_eq!(money + worth, part, "each part is given back to the cent");
                money_back += money;
                points_back += points;
            }
        }
        prop_assert!(points_back <= points);
        let worth = i64::try_from(points_back).unwrap() * i64::from(worth_minor);
        prop_assert_eq!(money_back + worth, amount.minor());
        prop_assert_eq!(escrow.opened().unwrap().points_earned(), 0);
    }
}
