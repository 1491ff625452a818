//! Money that comes from outside, goes there, or lies in a wallet.

use super::{Tell, at};
use crate::correlation::Subject;
use crate::subscription::EndCause;
use crate::{charge, correlation, payout, subscription, wallet};

impl Tell for charge::Event {
    fn tell(&self) -> String {
        match self {
            Self::ChargeRequested { terms } => format!("A card is to be charged {}.", terms.amount),
            Self::ChargeDelayed { check_at, .. } => {
                format!("The provider does not know yet, and is asked again at {}.", at(*check_at))
            }
            Self::ChargeActionRequired { .. } => "The payer has to do something first.".to_owned(),
            Self::ChargeSucceeded { unapplied: None, .. } => "The card was charged.".to_owned(),
            Self::ChargeSucceeded { unapplied: Some(rest), .. } => {
                format!("The card was charged; {rest} of it pay nothing and go back.")
            }
            Self::ChargeFailed { .. } => "The provider refused to charge the card.".to_owned(),
            // What the provider keeps is the marketplace's cost, and no business of the payer's.
            Self::ProviderFeeCharged { .. } => "The provider has told what it keeps for it.".to_owned(),
            Self::ChargeRefundRequested { amount, .. } => format!("{amount} are to go back to the card."),
            Self::ChargeRefundDelayed { check_at, .. } => {
                format!("The provider does not know yet of the refund, and is asked again at {}.", at(*check_at))
            }
            Self::ChargeRefunded { .. } => "The refund is back on the card.".to_owned(),
            Self::ChargeRefundFailed { retry_at: Some(retry_at), .. } => {
                format!("The refund did not arrive, and is tried again at {}.", at(*retry_at))
            }
            Self::ChargeRefundFailed { retry_at: None, .. } => {
                "The refund did not arrive, and is not tried again.".to_owned()
            }
            Self::ChargeRefundRetried { attempt, .. } => format!("The refund is tried again, attempt {attempt}."),
            Self::ChargeDisputed { amount, .. } => format!("The payer disputes it, and {amount} were taken back."),
            Self::ChargeDisputeWon { .. } => "The payer's dispute was won, and the money is back.".to_owned(),
            Self::ChargeDisputeLost { .. } => "The payer's dispute was lost, and the money is gone.".to_owned(),
        }
    }
}

impl Tell for correlation::Event {
    fn tell(&self) -> String {
        match self {
            Self::Correlated { subject } => {
                let what = match subject {
                    Subject::Charge(_) => "a charge",
                    Subject::Refund { .. } => "a refund",
                    Subject::Withdrawal { .. } => "a payout",
                };
                format!("It is known what a provider's name stands for: {what}.")
            }
        }
    }
}

impl Tell for payout::Event {
    fn tell(&self) -> String {
        match self {
            Self::PayoutSent { amount, .. } => format!("A payout of {amount} is on its way."),
            Self::PayoutPaid {} => "The payout has arrived.".to_owned(),
            Self::PayoutFailed {} => "The payout did not arrive, and is back.".to_owned(),
            Self::PayoutReturned {} => "The payout has come back after it had arrived.".to_owned(),
        }
    }
}

impl Tell for subscription::Event {
    fn tell(&self) -> String {
        match self {
            Self::SubscriptionPurchased { period, .. } => {
                format!("A subscription was bought, and its first period is paid until {}.", at(period.ends_at))
            }
            Self::SubscriptionUpgraded { period, unused, charged, .. } => format!(
                "The subscriber went over to another plan until {}: {charged} were charged, after {unused} for days left.",
                at(period.ends_at)
            ),
            Self::PlanChangeScheduled { .. } => "Another plan begins when the period has ended.".to_owned(),
            Self::SubscriptionCancelled { .. } => "The subscription is not renewed.".to_owned(),
            Self::SubscriptionContinued { .. } => "The subscription is renewed after all.".to_owned(),
            Self::RenewalReminded { ends_at, charges, .. } => match charges {
                Some(charges) => {
                    format!(
                        "The subscriber was told that the period ends at {}, and {charges} are charged.",
                        at(*ends_at)
                    )
                }
                None => format!("The subscriber was told that the period ends at {}.", at(*ends_at)),
            },
            Self::PeriodRecognised { amount, .. } => format!("A period has ended, and {amount} are earned."),
            Self::SubscriptionRenewed { period, .. } => {
                format!("The subscription was renewed, and is paid until {}.", at(period.ends_at))
            }
            Self::RenewalFailed { requested, until, .. } => format!(
                "There was too little in the wallet for the next period of {requested}; it ends at {} unless it is paid.",
                at(*until)
            ),
            Self::SubscriptionEnded { cause, .. } => {
                let why = match cause {
                    EndCause::Cancelled => "as its subscriber wanted",
                    EndCause::NotPaid => "since it was not paid",
                    EndCause::PlanRetired => "since its plan is not sold any more",
                    EndCause::AccountBarred => "since its subscriber may not trade any more",
                    EndCause::Replaced => "since another plan was bought",
                };
                format!("The subscription has ended, {why}.")
            }
        }
    }
}

impl Tell for wallet::Event {
    fn tell(&self) -> String {
        match self {
            Self::WalletOpened { currency, .. } => format!("A wallet in {currency} was opened."),
            Self::DepositRequested { amount, .. } => format!("{amount} are to be brought in."),
            Self::DepositDelayed { check_at, .. } => {
                format!("The provider does not know yet of the deposit, and is asked again at {}.", at(*check_at))
            }
            Self::DepositSettled { .. } => "The deposit is in.".to_owned(),
            Self::DepositFailed { .. } => "The provider refused the deposit.".to_owned(),
            Self::WithdrawalRequested { amount, .. } => format!("{amount} are on their way out."),
            Self::WithdrawalDelayed { check_at, .. } => {
                format!("The provider does not know yet of the payout, and is asked again at {}.", at(*check_at))
            }
            Self::WithdrawalPaid { .. } => "The payout has arrived.".to_owned(),
            Self::WithdrawalFailed { .. } => "The provider refused the payout, and the money is back.".to_owned(),
            Self::WithdrawalReturned { amount, .. } => format!("{amount} came back after they had been paid out."),
            Self::HoldPlaced { amount, .. } => format!("{amount} were set aside."),
            Self::HoldReleased { .. } => "What was set aside is available again.".to_owned(),
            Self::PaymentMade { amount, .. } => format!("{amount} paid for an order."),
            Self::SubscriptionPaid { amount, .. } => format!("{amount} paid for a period of a subscription."),
            Self::SaleReceived { amount, .. } => format!("{amount} came from a sale."),
            Self::RefundReceived { amount, .. } => format!("{amount} came back for an order."),
            Self::RefundGiven { amount, owed, .. } => given(*amount, *owed, "went back for an order"),
            Self::CommissionReceived { amount, .. } => format!("{amount} came as a commission."),
            Self::CommissionGiven { amount, owed, .. } => given(*amount, *owed, "went back of a commission"),
            Self::ReceivableRecovered { amount, .. } => format!("{amount} that were owed were paid."),
            Self::ChargebackGiven { amount, owed, .. } => given(*amount, *owed, "were taken back by a payer's bank"),
            Self::ChargebackRegained { amount, forgiven, .. } if forgiven.is_positive() => {
                format!("{amount} are back from a payer's bank, and {forgiven} are not owed any more.")
            }
            Self::ChargebackRegained { amount, .. } => format!("{amount} are back from a payer's bank."),
        }
    }
}

fn given(amount: crate::Money, owed: crate::Money, what: &str) -> String {
    if owed.is_positive() { format!("{amount} {what}, and {owed} more are owed.") } else { format!("{amount} {what}.") }
}
