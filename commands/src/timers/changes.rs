//! Which timers an event sets, and which it takes off.

use std::collections::BTreeMap;

use domain::order::{Deadlines, GUEST_KNOWN_FOR, GUEST_KNOWN_IN_VAIN_FOR};
use domain::{
    AccountId, Currency, Timestamp, WalletId, auction, charge, escrow, listing, merchant, order, order_group, payee,
    subscription, wallet,
};
use eventstore::event::DomainEvent;
use eventstore::follower::Recorded;
use uuid::Uuid;

use super::{Kind, Name};

/// What a batch makes of a timer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Change {
    /// It is due then, because of that event.
    Set(Timestamp, Uuid),
    /// If there is one, it is due then at the latest.
    Hastened(Timestamp, Uuid),
    /// There is none any more.
    Off,
}

/// What a batch makes of each timer that it touches.
#[derive(Debug, Default)]
pub(crate) struct Changes(pub(crate) BTreeMap<Name, Change>);

impl Changes {
    pub(crate) fn of(events: &[Recorded]) -> Self {
        let mut changes = Self::default();
        for recorded in events {
            let set_by = recorded.event_id;
            changes.take_long_terms(recorded);
            match &recorded.event {
                DomainEvent::Auction(id, event) => changes.take_auction(id.0, event, set_by),
                DomainEvent::Charge(id, event) => changes.take_charge(id.0, event, set_by),
                DomainEvent::Escrow(id, event) => changes.take_escrow(id.0, event, set_by),
                DomainEvent::Listing(id, event) => changes.take_listing(id.0, event, set_by),
                DomainEvent::Order(id, event) => changes.take_order(id.0, event, recorded.recorded_at, set_by),
                DomainEvent::OrderGroup(id, event) => changes.take_order_group(id.0, event, set_by),
                DomainEvent::Merchant(id, event) => changes.take_merchant(id.0, event, set_by),
                DomainEvent::Payee(id, event) => changes.take_payee(*id, event, set_by),
                DomainEvent::Subscription(id, event) => changes.take_subscription(id.0, event, set_by),
                DomainEvent::Wallet(id, event) => changes.take_wallet(id.0, event, set_by),
                // Whatever is new here says whether it waits for something.
                DomainEvent::Account(..)
                | DomainEvent::AddressBook(..)
                | DomainEvent::Affiliate(..)
                | DomainEvent::Album(..)
                | DomainEvent::Broadcast(..)
                | DomainEvent::Category(..)
                | DomainEvent::CategoryTree(..)
                | DomainEvent::Chat(..)
                | DomainEvent::Claim(..)
                | DomainEvent::Commission(..)
                | DomainEvent::Complaint(..)
                | DomainEvent::Contacts(..)
                | DomainEvent::Correlation(..)
                | DomainEvent::Favorite(..)
                | DomainEvent::FeeRule(..)
                | DomainEvent::Feedback(..)
                | DomainEvent::Image(..)
                | DomainEvent::Inbox(..)
                | DomainEvent::Page(..)
                | DomainEvent::Payout(..)
                | DomainEvent::Plan(..)
                | DomainEvent::Points(..)
                | DomainEvent::Referral(..)
                | DomainEvent::ReferralClick(..)
                | DomainEvent::Report(..)
                | DomainEvent::Reporter(..)
                | DomainEvent::Review(..)
                | DomainEvent::Seller(..)
                | DomainEvent::Session(..)
                | DomainEvent::Stock(..)
                | DomainEvent::Store(..)
                | DomainEvent::View(..)
                | DomainEvent::Vote(..) => {}
            }
        }
        changes
    }

    pub(super) fn set(&mut self, name: Name, due_at: Timestamp, set_by: Uuid) {
        self.0.insert(name, Change::Set(due_at, set_by));
    }

    fn hasten(&mut self, name: Name, due_at: Timestamp, set_by: Uuid) {
        let change = self.0.entry(name).or_insert(Change::Hastened(due_at, set_by));
        match change {
            Change::Set(before, _) if due_at < *before => *change = Change::Set(due_at, set_by),
            Change::Hastened(before, _) if due_at < *before => *change = Change::Hastened(due_at, set_by),
            Change::Set(..) | Change::Hastened(..) | Change::Off => {}
        }
    }

    pub(super) fn off(&mut self, name: Name) {
        self.0.insert(name, Change::Off);
    }

    fn take_auction(&mut self, id: Uuid, event: &auction::Event, set_by: Uuid) {
        let (start, end) = ((Kind::AuctionStart, id, id), (Kind::AuctionEnd, id, id));
        match event {
            auction::Event::AuctionScheduled { terms } => {
                self.set(start, terms.starts_at, set_by);
                self.set(end, terms.ends_at, set_by);
            }
            auction::Event::AuctionOpened {} => self.off(start),
            auction::Event::AuctionExtended { ends_at } => self.set(end, *ends_at, set_by),
            auction::Event::AuctionClosed { .. } | auction::Event::AuctionCancelled { .. } => {
                self.off(start);
                self.off(end);
            }
            // A second chance lapses by itself: whoever takes it is asked the time.
            auction::Event::BidPlaced { .. }
            | auction::Event::SaleForfeited { .. }
            | auction::Event::SecondChanceOffered { .. }
            | auction::Event::SecondChanceAccepted { .. } => {}
        }
    }

    fn take_listing(&mut self, id: Uuid, event: &listing::Event, set_by: Uuid) {
        let (review, discount) = ((Kind::ReviewEnd, id, id), (Kind::DiscountTurn, id, id));
        match event {
            listing::Event::ListingSubmitted { review_until } => self.set(review, *review_until, set_by),
            listing::Event::ListingRejected { .. }
            | listing::Event::ListingReturned {}
            | listing::Event::ListingApproved { .. } => self.off(review),
            listing::Event::ListingArchived { .. } | listing::Event::ListingRemoved { .. } => {
                self.off(review);
                self.off(discount);
            }
            listing::Event::DiscountSet { discount: new } => {
                // One whose window is open already says so in the same commit.
                match new.and_then(|new| new.from.or(new.until)) {
                    Some(due_at) => self.set(discount, due_at, set_by),
                    None => self.off(discount),
                }
            }
            listing::Event::DiscountOpened { until: Some(until) } => self.set(discount, *until, set_by),
            listing::Event::DiscountOpened { until: None } | listing::Event::DiscountClosed {} => self.off(discount),
            listing::Event::ListingDrafted { .. }
            | listing::Event::ListingRevised { .. }
            | listing::Event::ListingPublished {}
            | listing::Event::ListingPaused {}
            | listing::Event::ListingResumed {}
            | listing::Event::ListingFeatured { .. }
            | listing::Event::ListingUnfeatured { .. }
            | listing::Event::ImageAttached { .. }
            | listing::Event::ImageDetached { .. } => {}
        }
    }

    fn take_order_group(&mut self, id: Uuid, event: &order_group::Event, set_by: Uuid) {
        let deadline = (Kind::PaymentDeadline, id, id);
        match event {
            order_group::Event::OrderGroupPlaced { pay_by, .. } => self.set(deadline, *pay_by, set_by),
            order_group::Event::OrderGroupPaid {} | order_group::Event::OrderGroupExpired {} => self.off(deadline),
        }
    }

    fn take_order(&mut self, id: Uuid, event: &order::Event, at: Timestamp, set_by: Uuid) {
        let forgetting = (Kind::GuestForgetting, id, id);
        match event {
            order::Event::OrderShipped { ask_at, dispute_at, .. } => {
                self.off((Kind::ShippingDeadline, id, id));
                for (kind, due_at) in [(Kind::DeliveryQuestion, ask_at), (Kind::DeliveryDispute, dispute_at)] {
                    if let Some(due_at) = due_at {
                        self.set((kind, id, id), *due_at, set_by);
                    }
                }
            }
            order::Event::DeliveryQuestioned {} => self.off((Kind::DeliveryQuestion, id, id)),
            order::Event::OrderDelivered { .. } | order::Event::OrderRefunded {} => self.off_all_of(id),
            // Ends have not always said until when a guest is known. Only guests' orders have such a timer.
            order::Event::OrderCompleted {} => {
                self.off_all_of(id);
                self.hasten(forgetting, at + GUEST_KNOWN_FOR, set_by);
            }
            order::Event::OrderCancelled { .. } => {
                self.off_all_of(id);
                self.hasten(forgetting, at + GUEST_KNOWN_IN_VAIN_FOR, set_by);
            }
            order::Event::OrderPlaced { terms } => {
                if let Some(Deadlines { confirm_by, ship_by, deliver_by }) = terms.payment.deadlines() {
                    self.set((Kind::ConfirmationDeadline, id, id), confirm_by, set_by);
                    self.set((Kind::ShippingDeadline, id, id), ship_by, set_by);
                    self.set((Kind::DeliveryDeadline, id, id), deliver_by, set_by);
                    // However it ends, it ends before.
                    self.set(forgetting, deliver_by + GUEST_KNOWN_FOR, set_by);
                }
            }
            order::Event::OrderConfirmed {} => self.off((Kind::ConfirmationDeadline, id, id)),
            order::Event::GuestDismissed { forget_at } => self.set(forgetting, *forget_at, set_by),
            order::Event::GuestForgotten {} => self.off(forgetting),
            order::Event::OrderPaid {} => {}
        }
    }

    fn take_escrow(&mut self, id: Uuid, event: &escrow::Event, set_by: Uuid) {
        match event {
            escrow::Event::EscrowFunded { ship_by, .. } => {
                self.set((Kind::ShippingDeadline, id, id), *ship_by, set_by);
            }
            escrow::Event::InspectionStarted { ends_at, remind_at } => {
                self.off_all_of(id);
                self.set((Kind::InspectionEnd, id, id), *ends_at, set_by);
                self.set_reminder(id, *remind_at, set_by);
            }
            escrow::Event::InspectionReminded { remind_at } => self.set_reminder(id, *remind_at, set_by),
            escrow::Event::EscrowDisputed { expires_at, .. } => {
                self.off_all_of(id);
                self.set((Kind::DisputeDeadline, id, id), *expires_at, set_by);
            }
            escrow::Event::EscrowReleased { .. }
            | escrow::Event::EscrowRefunded { .. }
            | escrow::Event::EscrowSplit { .. }
            | escrow::Event::ChargebackSettled { course: None, .. } => self.off_all_of(id),
            // Whether it arrives goes on to be asked.
            escrow::Event::EscrowChargedBack { .. } => {
                for kind in [
                    Kind::ShippingDeadline,
                    Kind::DeliveryDispute,
                    Kind::InspectionReminder,
                    Kind::InspectionEnd,
                    Kind::DisputeDeadline,
                ] {
                    self.off((kind, id, id));
                }
            }
            escrow::Event::ChargebackReturned { course, .. }
            | escrow::Event::ChargebackSettled { course: Some(course), .. } => self.take_course(id, *course, set_by),
            escrow::Event::EscrowOpened { .. }
            | escrow::Event::EscrowVoided {}
            | escrow::Event::EscrowPartlyRefunded { .. }
            | escrow::Event::ReleaseRefunded { .. } => {}
        }
    }

    /// The clock that the card's bank has stopped goes on, from the beginning.
    fn take_course(&mut self, id: Uuid, course: escrow::Course, set_by: Uuid) {
        match course {
            escrow::Course::Funded { ship_by, sent: true } => {
                self.set((Kind::DeliveryDispute, id, id), ship_by, set_by);
            }
            escrow::Course::Funded { ship_by, sent: false } => {
                self.set((Kind::ShippingDeadline, id, id), ship_by, set_by);
            }
            escrow::Course::Inspection { ends_at, remind_at } => {
                self.set((Kind::InspectionEnd, id, id), ends_at, set_by);
                self.set_reminder(id, remind_at, set_by);
            }
            escrow::Course::Disputed { expires_at } => self.set((Kind::DisputeDeadline, id, id), expires_at, set_by),
        }
    }

    fn take_charge(&mut self, id: Uuid, event: &charge::Event, set_by: Uuid) {
        use charge::Event as E;
        let check = (Kind::ChargeCheck, id, id);
        match event {
            E::ChargeDelayed { check_at, .. } | E::ChargeActionRequired { check_at, .. } => {
                self.set(check, *check_at, set_by);
            }
            E::ChargeSucceeded { .. } | E::ChargeFailed { .. } => self.off(check),
            E::ChargeDisputed { shares, .. } => {
                for share in shares {
                    // The payer has it from the bank.
                    if let charge::Bearer::Refund { refund } = share.bearer {
                        self.off((Kind::RefundCheck, id, refund.0));
                        self.off((Kind::RefundRetry, id, refund.0));
                    }
                }
            }
            E::ChargeRefundDelayed { refund, check_at, .. } => {
                self.set((Kind::RefundCheck, id, refund.0), *check_at, set_by);
            }
            E::ChargeRefunded { refund, .. } | E::ChargeRefundRetried { refund, .. } => {
                self.off((Kind::RefundCheck, id, refund.0));
                self.off((Kind::RefundRetry, id, refund.0));
            }
            E::ChargeRefundFailed { refund, retry_at, .. } => {
                self.off((Kind::RefundCheck, id, refund.0));
                if let Some(retry_at) = retry_at {
                    self.set((Kind::RefundRetry, id, refund.0), *retry_at, set_by);
                }
            }
            E::ChargeRequested { .. }
            | E::ProviderFeeCharged { .. }
            | E::ChargeRefundRequested { .. }
            | E::ChargeDisputeWon { .. }
            | E::ChargeDisputeLost { .. } => {}
        }
    }

    fn set_reminder(&mut self, id: Uuid, remind_at: Option<Timestamp>, set_by: Uuid) {
        let reminder = (Kind::InspectionReminder, id, id);
        match remind_at {
            Some(remind_at) => self.set(reminder, remind_at, set_by),
            None => self.off(reminder),
        }
    }

    /// A new phase of an order stops every clock of the one before.
    fn off_all_of(&mut self, order: Uuid) {
        for kind in [
            Kind::ShippingDeadline,
            Kind::DeliveryQuestion,
            Kind::DeliveryDispute,
            Kind::InspectionReminder,
            Kind::InspectionEnd,
            Kind::DisputeDeadline,
            Kind::ConfirmationDeadline,
            Kind::DeliveryDeadline,
        ] {
            self.off((kind, order, order));
        }
    }

    /// An account has one subscription at a time, so its timers are named by the account.
    fn take_subscription(&mut self, id: Uuid, event: &subscription::Event, set_by: Uuid) {
        use subscription::Event as E;
        let (renewal, reminder) = ((Kind::SubscriptionRenewal, id, id), (Kind::SubscriptionReminder, id, id));
        match event {
            E::SubscriptionPurchased { period, .. }
            | E::SubscriptionUpgraded { period, .. }
            | E::SubscriptionRenewed { period, .. } => {
                self.set(renewal, period.ends_at, set_by);
                self.set(reminder, period.remind_at(), set_by);
            }
            E::RenewalReminded { .. } => self.off(reminder),
            E::RenewalFailed { retry_at, .. } => {
                self.set(renewal, *retry_at, set_by);
                self.off(reminder);
            }
            E::SubscriptionEnded { .. } => {
                self.off(renewal);
                self.off(reminder);
            }
            // What comes of them is decided when the period has ended.
            E::PlanChangeScheduled { .. }
            | E::SubscriptionCancelled { .. }
            | E::SubscriptionContinued { .. }
            | E::PeriodRecognised { .. } => {}
        }
    }

    fn take_merchant(&mut self, id: Uuid, event: &merchant::Event, set_by: Uuid) {
        let check = (Kind::MerchantCheck, id, id);
        match event {
            merchant::Event::MerchantSent { check_at, .. }
            | merchant::Event::MerchantChecked { check_at: Some(check_at) } => self.set(check, *check_at, set_by),
            merchant::Event::MerchantChecked { check_at: None } => self.off(check),
            merchant::Event::MerchantAdded { .. } | merchant::Event::MerchantChanged { .. } => {}
        }
    }

    /// What goes out by itself goes out of a wallet, by which the timer of the payee is named.
    fn take_payee(&mut self, id: AccountId, event: &payee::Event, set_by: Uuid) {
        use payee::Event as E;
        let payout = |currency: Currency| {
            let WalletId(wallet) = WalletId::of(id, currency);
            (Kind::PayoutDue, id.0, wallet)
        };
        match event {
            E::PlanSet { currency, due_at: Some(at), .. }
            | E::PayoutDue { currency, at }
            | E::PayoutDone { currency, due_at: Some(at) } => self.set(payout(*currency), *at, set_by),
            E::PlanSet { currency, due_at: None, .. }
            | E::PayoutDone { currency, due_at: None }
            | E::PlanEnded { currency } => self.off(payout(*currency)),
            E::MethodAdded { .. }
            | E::MethodRemoved { .. }
            | E::MethodPaused { .. }
            | E::MethodResumed { .. }
            | E::AccessChanged { .. }
            | E::OutgoingCounted { .. }
            | E::MerchantLinked { .. } => {}
        }
    }

    fn take_wallet(&mut self, id: Uuid, event: &wallet::Event, set_by: Uuid) {
        match event {
            wallet::Event::WithdrawalDelayed { withdrawal, check_at, .. } => {
                self.set((Kind::WithdrawalCheck, id, withdrawal.0), *check_at, set_by);
            }
            wallet::Event::WithdrawalPaid { withdrawal, .. } | wallet::Event::WithdrawalFailed { withdrawal, .. } => {
                self.off((Kind::WithdrawalCheck, id, withdrawal.0));
            }
            // The provider is asked about the charge.
            wallet::Event::WalletOpened { .. }
            | wallet::Event::DepositRequested { .. }
            | wallet::Event::DepositDelayed { .. }
            | wallet::Event::DepositSettled { .. }
            | wallet::Event::DepositFailed { .. }
            | wallet::Event::WithdrawalRequested { .. }
            | wallet::Event::WithdrawalReturned { .. }
            | wallet::Event::HoldPlaced { .. }
            | wallet::Event::HoldReleased { .. }
            | wallet::Event::PaymentMade { .. }
            | wallet::Event::SubscriptionPaid { .. }
            | wallet::Event::SaleReceived { .. }
            | wallet::Event::RefundReceived { .. }
            | wallet::Event::RefundGiven { .. }
            | wallet::Event::CommissionReceived { .. }
            | wallet::Event::CommissionGiven { .. }
            | wallet::Event::ReceivableRecovered { .. }
            | wallet::Event::ChargebackGiven { .. }
            | wallet::Event::ChargebackRegained { .. } => {}
        }
    }
}
