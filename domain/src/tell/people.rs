//! Accounts and what belongs to them.

use std::collections::BTreeSet;

use super::{Tell, at, count};
use crate::account::{Capability, Granter, SetBy};
use crate::claim::Kind;
use crate::image::RemovalCause;
use crate::session::EndReason;
use crate::{
    account, address_book, affiliate, album, claim, contacts, image, inbox, merchant, payee, referral, referral_click,
    reporter, session,
};

fn names(capabilities: &BTreeSet<Capability>) -> String {
    capabilities.iter().map(|capability| capability.name()).collect::<Vec<_>>().join(", ")
}

fn granter(by: Granter) -> &'static str {
    match by {
        Granter::Operator => "an operator",
        Granter::Account(_) => "the staff",
    }
}

impl Tell for account::Event {
    fn tell(&self) -> String {
        match self {
            Self::AccountRegistered { identity: _, capabilities } => {
                format!("The account was registered, and may: {}.", names(capabilities))
            }
            Self::ProfileChanged { .. } => "The profile was changed.".to_owned(),
            Self::EmailChallenged { challenge } => {
                format!("A mailbox was asked to confirm that somebody reads it, until {}.", at(challenge.expires_at))
            }
            Self::EmailVerified { .. } => "The mail address was verified.".to_owned(),
            Self::PasswordChallenged { challenge } => {
                format!("A new password was asked for; the mail is good until {}.", at(challenge.expires_at))
            }
            Self::PasswordChanged { password_hash: _, by } => match by {
                SetBy::Owner => "The password was changed by whoever knew the one before.",
                SetBy::Mailbox => "The password was set anew by whoever reads the mailbox.",
                SetBy::Takeover => "The password was taken away: somebody else has proved that the address is theirs.",
            }
            .to_owned(),
            Self::IdentityLinked { .. } => "A log-in through somebody else was linked.".to_owned(),
            Self::CapabilitiesGranted { capabilities, by, .. } => {
                format!("The account may do more, as {} has said: {}.", granter(*by), names(capabilities))
            }
            Self::CapabilitiesRevoked { capabilities, by, .. } => {
                format!("The account may do less, as {} has said: {}.", granter(*by), names(capabilities))
            }
            Self::ViolationRecorded { order: _, violations } => {
                format!("Something that was won was not paid: {violations} such orders count now.")
            }
            Self::ViolationsPardoned { orders, by, .. } => {
                let orders =
                    count(orders.len() as u64, "order that was not paid counts", "orders that were not paid count");
                format!("{orders} no more, as {} has said.", granter(*by))
            }
            Self::AccountBlocked { violations, by, .. } => match by {
                None => format!("The account was blocked after {violations} violations."),
                Some(by) => format!("The account was blocked by {}.", granter(*by)),
            },
            Self::AccountSuspended { by, .. } => format!("The account was suspended by {}.", granter(*by)),
            Self::AccountWarned { .. } => "The account was warned by the staff.".to_owned(),
            Self::AccountReinstated { by, .. } => format!("The account was reinstated by {}.", granter(*by)),
            Self::SessionsRevoked { spared } => match spared {
                Some(_) => "All sessions but one were ended.".to_owned(),
                None => "All sessions were ended.".to_owned(),
            },
            Self::AccountErased {} => "The account was deleted, and who it was is forgotten.".to_owned(),
        }
    }
}

impl Tell for address_book::Event {
    fn tell(&self) -> String {
        match self {
            Self::AddressAdded { default: true, .. } => "An address was added, and is the default.",
            Self::AddressAdded { default: false, .. } => "An address was added.",
            Self::AddressChanged { .. } => "An address was changed.",
            Self::AddressRemoved { .. } => "An address was removed.",
            Self::DefaultAddressChosen { .. } => "Another address is the default.",
        }
        .to_owned()
    }
}

impl Tell for affiliate::Event {
    fn tell(&self) -> String {
        match self {
            Self::AffiliateEnrolled { .. } => "The account became an affiliate, with a code of its own.".to_owned(),
        }
    }
}

impl Tell for album::Event {
    fn tell(&self) -> String {
        match self {
            Self::ImagesAdded { images } => format!("{} uploaded.", were(images.len() as u64)),
            Self::ImagesDropped { images } => format!("{} dropped.", were(images.len() as u64)),
        }
    }
}

fn were(pictures: u64) -> String {
    count(pictures, "picture was", "pictures were")
}

impl Tell for claim::Event {
    fn tell(&self) -> String {
        match self {
            Self::ValueClaimed { kind, owner: _ } => {
                let what = match kind {
                    Kind::Email => "A mail address",
                    Kind::UserName => "A user name",
                    Kind::StoreSlug => "The address of a store",
                    Kind::Identity => "An identity to log in with",
                    Kind::ReferralCode => "A referral code",
                };
                format!("{what} was taken.")
            }
            Self::ValueReleased { .. } => "The value is free again.".to_owned(),
        }
    }
}

impl Tell for contacts::Event {
    fn tell(&self) -> String {
        match self {
            Self::ContactBegun { .. } => "The account has begun a conversation.".to_owned(),
        }
    }
}

impl Tell for image::Event {
    fn tell(&self) -> String {
        match self {
            Self::ImageStored { .. } => "A picture was stored.",
            Self::ImageRemoved { stored: _, cause } => match cause {
                RemovalCause::Detached => "The picture was removed: nothing is shown with it any more.",
                RemovalCause::OwnerErased => "The picture was removed with the account that had uploaded it.",
            },
        }
        .to_owned()
    }
}

impl Tell for inbox::Event {
    fn tell(&self) -> String {
        match self {
            Self::NotificationRead { .. } => "A notification was read.".to_owned(),
            Self::AllRead { .. } => "All notifications were read.".to_owned(),
            Self::PreferencesChanged { .. } => "It was changed what notifications are wanted, and where.".to_owned(),
            Self::ReadCleanedUp { before, .. } => {
                format!("Notifications that had been read before {} were cleaned up.", at(*before))
            }
        }
    }
}

impl Tell for merchant::Event {
    fn tell(&self) -> String {
        match self {
            Self::MerchantAdded { .. } => "The account has begun to register with the payment provider.",
            Self::MerchantSent { .. } => "The account was sent to the payment provider to say who it is.",
            Self::MerchantChanged { payouts: true, .. } => "The payment provider pays out to this account.",
            Self::MerchantChanged { payouts: false, .. } => "The payment provider does not pay out to this account.",
            Self::MerchantChecked { .. } => "The payment provider was asked how far the registration is.",
        }
        .to_owned()
    }
}

impl Tell for payee::Event {
    fn tell(&self) -> String {
        match self {
            Self::MethodAdded { .. } => "A payment method was added.".to_owned(),
            Self::MethodRemoved { .. } => "A payment method was removed.".to_owned(),
            Self::MethodPaused { .. } => "The provider pays nothing out to a payment method for now.".to_owned(),
            Self::MethodResumed { .. } => "The provider pays out to a payment method again.".to_owned(),
            Self::AccessChanged { .. } => "It has changed how one gets into the account, so payouts wait.".to_owned(),
            Self::OutgoingCounted { amount, on } => format!("{amount} count towards the limit of {on}."),
            Self::PlanSet { currency, plan, .. } => {
                let when = match plan.schedule {
                    payee::Schedule::OnRelease => "with every sale",
                    payee::Schedule::Weekly => "once a week",
                };
                format!("What is available in {currency} is paid out {when} from now on.")
            }
            Self::PlanEnded { currency } => format!("Nothing in {currency} is paid out by itself any more."),
            Self::PayoutDue { currency, at: due } => format!("A payout in {currency} is due at {}.", at(*due)),
            Self::PayoutDone { currency, .. } => {
                format!("What was due in {currency} was paid out, as far as could be.")
            }
            Self::MerchantLinked { .. } => "The account was linked with its registration at a provider.".to_owned(),
        }
    }
}

impl Tell for referral::Event {
    fn tell(&self) -> String {
        match self {
            Self::AccountReferred { .. } => "The account came by the link of an affiliate.".to_owned(),
        }
    }
}

impl Tell for referral_click::Event {
    fn tell(&self) -> String {
        match self {
            Self::ReferralClicked { .. } => "Somebody has followed an affiliate's link.",
            Self::ReferralClickRepeated { .. } => "The same visitor has followed the link again, which does not count.",
        }
        .to_owned()
    }
}

impl Tell for reporter::Event {
    fn tell(&self) -> String {
        match self {
            Self::ReportCounted { day } => format!("A report counts towards the limit of {day}."),
        }
    }
}

impl Tell for session::Event {
    fn tell(&self) -> String {
        match self {
            Self::SessionOpened { expires_at, .. } => format!("Somebody logged in; good until {}.", at(*expires_at)),
            Self::SessionRefreshed { expires_at, .. } => format!("The session goes on until {}.", at(*expires_at)),
            Self::SessionEnded { reason } => match reason {
                EndReason::LoggedOut => "The session was ended by a log-out.",
                EndReason::TokenReused => "The session was ended: a token was shown that had been used before.",
            }
            .to_owned(),
        }
    }
}
