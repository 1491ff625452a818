//! The commands that events imply of how money goes out: payees, payouts and merchants.

use chrono::TimeDelta;
use domain::merchant::{self, Known, Merchant};
use domain::money::AMOUNT_LIMIT;
use domain::payee::{self, Limits, Payee};
use domain::payout::{self, Payout};
use domain::wallet::PaymentMethod;
use domain::{AccountId, MerchantId, MethodId, Money, Refusal, Timestamp};
use eventstore::event::DomainEvent;

use super::replica::Draft;

/// Carries the command out that has caused the first of these events.
pub(super) fn carry_out_cause(draft: &mut Draft<'_>, events: &[DomainEvent]) -> Result<(), Refusal> {
    let now = draft.now();
    match events {
        [DomainEvent::Payee(id, event), ..] => {
            let command = of_payee(*id, event.clone(), &draft.get::<Payee>(*id), now);
            draft.execute::<Payee>(*id, command).map(drop)
        }
        [DomainEvent::Payout(id, event), ..] => {
            let command = match event.clone() {
                payout::Event::PayoutSent { wallet, amount, to } => payout::Command::Send { wallet, amount, to },
                payout::Event::PayoutPaid {} => payout::Command::Pay {},
                payout::Event::PayoutFailed {} => payout::Command::Fail {},
                payout::Event::PayoutReturned {} => payout::Command::Return {},
            };
            draft.execute::<Payout>(*id, command).map(drop)
        }
        [DomainEvent::Merchant(id, event), rest @ ..] => {
            let next = rest.first().and_then(|next| match next {
                DomainEvent::Merchant(_, event) => Some(event),
                _ => None,
            });
            let known = draft.get::<Merchant>(*id).known().ok().cloned();
            match of_merchant(event.clone(), next, known, now) {
                Some(command) => draft.execute::<Merchant>(*id, command).map(drop),
                None => Ok(()),
            }
        }
        // Nothing else is asked here.
        _ => Ok(()),
    }
}

fn of_payee(owner: AccountId, event: payee::Event, payee: &Payee, now: Timestamp) -> payee::Command {
    use payee::{Command as C, Event as E};
    let nowhere = || PaymentMethod { provider: String::new(), token: String::new() };
    let of_merchant = |MethodId(method): MethodId, payouts| {
        let at = payee.method(MethodId(method)).map_or_else(|_| nowhere(), |kept| kept.at.clone());
        C::SetMerchant { merchant: MerchantId(method), at, payouts, now }
    };
    match event {
        E::MethodAdded { method, at, label: Some(label), added_at } => {
            C::Add { owner, method, at, label, now: added_at }
        }
        E::MethodAdded { method: MethodId(method), at, label: None, added_at } => {
            C::SetMerchant { merchant: MerchantId(method), at, payouts: true, now: added_at }
        }
        E::MethodRemoved { method } => C::Remove { method },
        E::MethodPaused { method } => of_merchant(method, false),
        E::MethodResumed { method } => of_merchant(method, true),
        E::AccessChanged { at } => C::NoteAccessChange { now: at },
        E::OutgoingCounted { amount, on: _ } => {
            // It was no more than it might be, whatever that was.
            let most = Money::new(AMOUNT_LIMIT - 1, amount.currency()).ok();
            let limits = Limits { least: None, most_per_day: most, cooling: TimeDelta::zero() };
            C::SendOut { amount, to: nowhere(), now, limits }
        }
        E::PlanSet { currency, plan, due_at: _ } => C::Plan { currency, plan, now },
        E::PlanEnded { currency } => C::EndPlan { currency },
        E::PayoutDue { currency, at } => C::NoteSale { currency, now: at },
        E::PayoutDone { currency, due_at } => C::NotePayout { currency, again_at: due_at, now },
        E::MerchantLinked { provider, reference } => C::Link { provider, reference },
    }
}

/// What a provider says by itself is less than what it answers, so the rest is asked at once: the next event tells.
fn of_merchant(
    event: merchant::Event,
    next: Option<&merchant::Event>,
    known: Option<Known>,
    now: Timestamp,
) -> Option<merchant::Command> {
    use merchant::{Command as C, Event as E};
    match event {
        E::MerchantAdded { account, provider, reference } => Some(C::Onboard { account, provider, reference, now }),
        E::MerchantSent { .. } => {
            let Known { account, provider, reference, .. } = known?;
            Some(C::Onboard { account, provider, reference, now })
        }
        E::MerchantChanged { payouts, due } => match next {
            Some(E::MerchantChecked { check_at: Some(at) }) if *at == now => Some(C::Notice { payouts, now }),
            _ => Some(C::Report { payouts, due, now }),
        },
        E::MerchantChecked { check_at: Some(at) } if at == now => Some(C::Notice { payouts: known?.payouts, now }),
        E::MerchantChecked { .. } => {
            let Known { payouts, due, .. } = known?;
            Some(C::Report { payouts, due, now })
        }
    }
}
