//! The commands that events imply of fees and plans, of what sellers may offer by them, and of subscriptions.

use domain::fee_rule::{self, FeeRule};
use domain::plan::{self, Plan};
use domain::seller::{self, Seller};
use domain::subscription::{self, Outlook, Subscription};
use domain::{AccountId, Refusal, Timestamp};
use eventstore::event::DomainEvent;

use super::replica::Draft;

/// Carries the command out that has caused the first of these events.
pub(super) fn carry_out_cause(draft: &mut Draft<'_>, events: &[DomainEvent]) -> Result<(), Refusal> {
    let now = draft.now();
    match events {
        [DomainEvent::FeeRule(id, event), ..] => {
            let fee_rule::Event::FeeSet { fee_bps, by, reason } = event.clone();
            draft.execute::<FeeRule>(*id, fee_rule::Command::Set { fee_bps, by, reason }).map(drop)
        }
        [DomainEvent::Plan(id, event), ..] => {
            let (plan::Event::PlanDefined { definition, by, reason }
            | plan::Event::PlanRevised { definition, by, reason }) = event.clone();
            draft.execute::<Plan>(*id, plan::Command::Define { definition, by, reason }).map(drop)
        }
        [DomainEvent::Seller(id, event), ..] => draft.execute::<Seller>(*id, of_seller(event.clone())).map(drop),
        [DomainEvent::Subscription(id, event), rest @ ..] => {
            let next = rest.first().and_then(|next| match next {
                DomainEvent::Subscription(_, event) => Some(event),
                _ => None,
            });
            let command = of_subscription(*id, event, next, &draft.get::<Subscription>(*id), now);
            draft.execute::<Subscription>(*id, command).map(drop)
        }
        // Nothing else is asked here.
        _ => Ok(()),
    }
}

fn of_seller(event: seller::Event) -> seller::Command {
    match event {
        seller::Event::OfferAdded { listing } => seller::Command::Offer { listing, most: None },
        seller::Event::OfferWithdrawn { listing } => seller::Command::Withdraw { listing },
        seller::Event::FeeAgreed { fee_bps, by, reason } => seller::Command::AgreeFee { fee_bps, by, reason },
    }
}

/// What a period that has ended leads to, the event after its recognition tells; what is bought while another plan is not
/// paid begins with the end of that.
fn of_subscription(
    owner: AccountId,
    event: &subscription::Event,
    next: Option<&subscription::Event>,
    state: &Subscription,
    now: Timestamp,
) -> subscription::Command {
    use subscription::{Command as C, EndCause, Event as E};
    let renew = |outlook| C::Renew { outlook, now };
    let buy = |subscription, terms| C::Purchase { owner, subscription, terms, now };
    match (event.clone(), next.cloned()) {
        (
            E::SubscriptionPurchased { subscription, terms, .. }
            | E::SubscriptionUpgraded { subscription, terms, .. }
            | E::PlanChangeScheduled { subscription, terms },
            _,
        )
        | (
            E::SubscriptionEnded { cause: EndCause::Replaced, .. },
            Some(E::SubscriptionPurchased { subscription, terms, .. }),
        ) => buy(subscription, terms),
        (E::SubscriptionContinued { subscription }, _) => match state.running() {
            Some(running) => buy(subscription, running.terms.clone()),
            None => C::Remind { now },
        },
        (
            E::SubscriptionCancelled { subscription }
            | E::SubscriptionEnded { subscription, cause: EndCause::Cancelled },
            _,
        ) => C::Cancel { subscription: Some(subscription) },
        (E::RenewalReminded { .. }, _) => C::Remind { now },
        // Its subscriber has paid before it was tried again.
        (E::SubscriptionRenewed { subscription, terms, .. }, _) if matches!(state, Subscription::InGrace { retry_at, .. } if now < *retry_at) => {
            buy(subscription, terms)
        }
        (E::PeriodRecognised { .. }, Some(E::SubscriptionRenewed { .. })) | (E::SubscriptionRenewed { .. }, _) => {
            renew(Outlook::Payable)
        }
        (E::PeriodRecognised { .. }, Some(E::SubscriptionEnded { cause, .. })) => renew(Outlook::Barred(cause)),
        (
            E::SubscriptionEnded { cause: EndCause::NotPaid, .. }
            | E::RenewalFailed { .. }
            | E::PeriodRecognised { .. },
            _,
        ) => renew(Outlook::Unpayable),
        (E::SubscriptionEnded { cause, .. }, _) => renew(Outlook::Barred(cause)),
    }
}
