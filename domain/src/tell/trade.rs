//! Orders, the money that waits for them, and what they earn.

use super::{Tell, at, count};
use crate::commission::ReversalCause;
use crate::escrow::{Course, Disputant, RefundCause, ReleaseCause};
use crate::order::{CancelCause, Origin, Witness};
use crate::{commission, escrow, order, order_group, points};

impl Tell for order::Event {
    fn tell(&self) -> String {
        match self {
            Self::OrderPlaced { terms } => {
                let how = match terms.origin {
                    Origin::Checkout => "out of a cart",
                    Origin::Storefront => "at a store, by a guest",
                    Origin::AuctionWon(_) => "by winning an auction",
                    Origin::BoughtNow(_) => "by buying out of an auction at once",
                    Origin::SecondChance(_) => "by taking a second chance",
                };
                let pieces = terms.lines.iter().map(|line| u64::from(line.quantity)).sum();
                format!("The order was placed {how}: {}.", count(pieces, "piece", "pieces"))
            }
            Self::OrderPaid {} => "The order was paid.".to_owned(),
            Self::OrderConfirmed {} => "The seller has asked the guest, who means it.".to_owned(),
            Self::GuestDismissed { forget_at } => {
                format!("The order has ended; who the guest was is forgotten at {}.", at(*forget_at))
            }
            Self::GuestForgotten {} => "Who the guest was is forgotten.".to_owned(),
            Self::OrderShipped { tracking, .. } => match tracking {
                Some(_) => "The order was shipped, and can be tracked.".to_owned(),
                None => "The order was shipped.".to_owned(),
            },
            Self::DeliveryQuestioned {} => "The buyer was asked whether it has arrived.".to_owned(),
            Self::OrderDelivered { by } => {
                let who = match by {
                    Witness::Buyer => "the buyer",
                    Witness::Seller => "the seller",
                    Witness::Staff(_) => "the staff",
                };
                format!("The order has arrived, as {who} has said.")
            }
            Self::OrderCompleted {} => "The order was completed: its money is with the seller.".to_owned(),
            Self::OrderCancelled { cause } => {
                let why = match cause {
                    CancelCause::Buyer { .. } => "by the buyer",
                    CancelCause::Seller { .. } => "by the seller",
                    CancelCause::Staff { .. } => "by the staff",
                    CancelCause::NotPaid => "since it was not paid in time",
                    CancelCause::NotConfirmed => "since it was not confirmed in time",
                    CancelCause::NotShipped => "since it was not shipped in time",
                    CancelCause::NotDelivered => "since nobody has said in time that it was brought",
                };
                format!("The order was cancelled {why}.")
            }
            Self::OrderRefunded {} => "All the money of the order went back.".to_owned(),
        }
    }
}

impl Tell for order_group::Event {
    fn tell(&self) -> String {
        match self {
            Self::OrderGroupPlaced { orders, pay_by, .. } => {
                let orders = count(orders.len() as u64, "order", "orders");
                format!("{orders} to be paid as one by {}.", at(*pay_by))
            }
            Self::OrderGroupPaid {} => "All of its orders were paid.".to_owned(),
            Self::OrderGroupExpired {} => "It was not paid in time.".to_owned(),
        }
    }
}

fn refunded(cause: RefundCause) -> &'static str {
    match cause {
        RefundCause::Cancelled => "since the order was cancelled",
        RefundCause::NotShipped => "since it was not shipped in time",
        RefundCause::Seller => "as the seller wanted",
        RefundCause::Staff(_) => "as the staff have said",
        RefundCause::Resolved(_) => "as the staff have resolved the dispute",
        RefundCause::DisputeExpired => "since nobody has resolved the dispute in time",
    }
}

fn course(course: Course) -> String {
    match course {
        Course::Funded { ship_by, .. } => format!("it is to be shipped by {}", at(ship_by)),
        Course::Inspection { ends_at, .. } => format!("the buyer may inspect it until {}", at(ends_at)),
        Course::Disputed { expires_at } => format!("it waits for the staff until {}", at(expires_at)),
    }
}

impl Tell for escrow::Event {
    fn tell(&self) -> String {
        match self {
            Self::EscrowOpened { terms } => format!("An escrow was opened for {}.", terms.amount),
            // How somebody pays is theirs.
            Self::EscrowFunded { amount, ship_by, .. } => {
                format!("The buyer has paid {amount}; it is to be shipped by {}.", at(*ship_by))
            }
            Self::EscrowVoided {} => "The escrow was closed before it was paid.".to_owned(),
            Self::InspectionStarted { ends_at, .. } => {
                format!("The buyer may inspect what has arrived until {}.", at(*ends_at))
            }
            Self::InspectionReminded { .. } => "The buyer was reminded to look at what has arrived.".to_owned(),
            Self::EscrowDisputed { by, expires_at, .. } => {
                let who = match by {
                    Disputant::Buyer => "by the buyer",
                    Disputant::Seller => "by the seller",
                    Disputant::Marketplace => "since nothing was heard of a delivery",
                };
                format!("A dispute was opened {who}; the staff have until {}.", at(*expires_at))
            }
            // What the marketplace charges is between it and the seller.
            Self::EscrowReleased { cause, kept, .. } => {
                let why = match cause {
                    ReleaseCause::Confirmed => "the buyer is content",
                    ReleaseCause::InspectionOver => "the time to inspect is over",
                    ReleaseCause::Resolved(_) => "the staff have resolved the dispute so",
                };
                format!("The seller is paid for {kept}: {why}.")
            }
            Self::EscrowPartlyRefunded { amount, cause, .. } => {
                format!("{amount} went back to the buyer, {}.", refunded(*cause))
            }
            Self::EscrowRefunded { amount, cause, .. } => {
                format!("All that was left, {amount}, went back to the buyer, {}.", refunded(*cause))
            }
            Self::EscrowSplit { to_buyer, kept, .. } => {
                format!("The staff have divided it: {to_buyer} go to the buyer, and the seller is paid for {kept}.")
            }
            Self::ReleaseRefunded { amount, cause, .. } => {
                format!("After the release {amount} went back to the buyer, {}.", refunded(*cause))
            }
            Self::EscrowChargedBack { amount, .. } => {
                format!("The payer's bank has taken {amount} back, until that is decided.")
            }
            Self::ChargebackReturned { amount, course: next, .. } => {
                format!("{amount} are back from the payer's bank; {}.", course(*next))
            }
            Self::ChargebackSettled { amount, course: None, .. } => {
                format!("The payer's bank keeps {amount}, which counts as gone back to the buyer.")
            }
            Self::ChargebackSettled { amount, course: Some(next), .. } => {
                format!("The payer's bank keeps {amount}; of the rest, {}.", course(*next))
            }
        }
    }
}

impl Tell for commission::Event {
    fn tell(&self) -> String {
        match self {
            Self::CommissionAccrued { amount, .. } => {
                format!("A commission of {amount} was earned, and comes when the order is over.")
            }
            Self::CommissionVested { amount, .. } => format!("The commission of {amount} was paid."),
            Self::CommissionReversed { cause, amount, .. } => {
                let why = match cause {
                    ReversalCause::Refunded { .. } => "money of the order went back",
                    ReversalCause::CannotBePaid => "the affiliate cannot be paid",
                };
                format!("{amount} of the commission were taken back: {why}.")
            }
            Self::VestedCommissionReversed { amount, .. } => {
                format!("{amount} of a commission that was paid were taken back: money of the order went back.")
            }
        }
    }
}

impl Tell for points::Event {
    fn tell(&self) -> String {
        let points = |number: &u64| count(*number, "bonus point", "bonus points");
        match self {
            Self::PointsEarned { currency, points: number, .. } => {
                format!("{} in {currency} came with an order.", points(number))
            }
            Self::PointsRedeemed { currency, points: number, .. } => {
                format!("{} in {currency} went into an order.", points(number))
            }
            Self::PointsGivenBack { currency, points: number, .. } => {
                format!("{} in {currency} came back with a refund.", points(number))
            }
            Self::PointsTakenBack { currency, points: number, .. } => {
                format!("{} in {currency} were taken back with a refund.", points(number))
            }
        }
    }
}
