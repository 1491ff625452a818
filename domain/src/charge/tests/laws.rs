//! What holds for every charge, whatever a provider says in whatever order and how often.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

/// Something that is said, with amounts as shares of the charge.
#[derive(Clone, Copy, Debug)]
struct Word {
    kind: u8,
    permille: i64,
    which: u128,
}

fn any_word() -> impl Strategy<Value = Word> {
    (0..13_u8, 1..=1_000_i64, 1..4_u128).prop_map(|(kind, permille, which)| Word { kind, permille, which })
}

impl Word {
    fn command(self, amount: i64) -> Command {
        let (part, now) = (usd(amount * self.permille / 1_000), Timestamp::default() + TimeDelta::days(self.permille));
        let (refund, dispute) = (RefundId(Uuid::from_u128(self.which)), DisputeId(Uuid::from_u128(self.which)));
        let refund = if self.which == 3 { back() } else { refund };
        let reference = "re".to_owned();
        match self.kind {
            0 => Command::Delay { reference: None, check_at: now },
            1 => Command::AwaitAction { reference, check_at: now },
            2 | 3 => Command::Succeed {
                reference,
                fee: (self.which == 1).then_some(usd(1)),
                applied: vec![Part { order: Some(ORDERS[0]), amount: part }],
            },
            4 => fail(),
            5 => Command::NoteFee { fee: usd(2) },
            6 => Command::Refund { refund, order: ORDERS[0], amount: part },
            7 => Command::ConfirmRefund { refund, reference },
            8 => Command::FailRefund { refund, reason: reference, now },
            9 => Command::RetryRefund { refund, now },
            10 => {
                let share = Share { order: None, amount: part, bearer: Bearer::Marketplace };
                let (name, reason) = (reference.clone(), reference);
                Command::OpenDispute { dispute, name, amount: part, reason, shares: vec![share] }
            }
            11 => Command::WinDispute { dispute, owing: BTreeMap::new() },
            _ => Command::LoseDispute { dispute },
        }
    }
}

proptest! {
    #[test]
    fn what_came_in_is_applied_waiting_or_back_and_nothing_counts_twice(
        amount in 1..1_000_000_i64,
        words in prop::collection::vec(any_word(), 0..40),
    ) {
        let mut charge = Charge::default();
        charge.evolve(&Event::ChargeRequested { terms: terms(amount) });
        let mut books = HashMap::<LedgerAccount, i64>::new();
        let mut successes = 0;
        for word in words {
            let command = word.command(amount);
            for event in charge.decide(command.clone()).unwrap_or_default() {
                let read: Event = serde_json::from_str(&serde_json::to_string(&event).unwrap()).unwrap();
                prop_assert_eq!(&read, &event);
                charge.evolve(&event);
                successes += i32::from(matches!(event, Event::ChargeSucceeded { .. }));
                for posting in event.postings() {
                    prop_assert!(posting.amount.is_positive());
                    *books.entry(posting.debit.clone()).or_default() -= posting.amount.minor();
                    *books.entry(posting.credit.clone()).or_default() += posting.amount.minor();
                }
                // An escrow gives it back in the commit that asks for it to be sent.
                if let Event::ChargeRefundRequested { order: Some(_), amount, .. } = event {
                    *books.entry(LedgerAccount::RefundPending(CHARGE)).or_default() += amount.minor();
                }
            }
            // Said twice at once, it is as good as said once.
            if !matches!(command, Command::Delay { .. } | Command::NoteFee { .. }) {
                prop_assert!(charge.decide(command).unwrap_or_default().is_empty());
            }
            let state = charge.requested().unwrap();
            let waits = |of_order: bool| {
                let there = |refund: &&Refund| !matches!(refund.state, Refunding::Refunded { .. });
                let refunds = state.refunds.values().filter(|refund| refund.order.is_some() == of_order);
                refunds.filter(there).map(|refund| refund.amount.minor()).sum::<i64>()
            };
            let book = |account| books.get(&account).copied().unwrap_or(0);
            prop_assert_eq!(book(unapplied()), waits(false));
            prop_assert_eq!(book(LedgerAccount::RefundPending(CHARGE)), waits(true));
            let sent: i64 = state.refunds.values().map(|refund| refund.amount.minor()).sum();
            prop_assert!(sent <= amount);
            prop_assert!(successes <= 1);
        }
    }
}
