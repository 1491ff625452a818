//! The money of an order in words, for each side in its own.

use domain::Currency;
use domain::money::decimal;
use projections::order_money::{Cause, Kind, Next, OrderMoney, Place, Step};

/// Who is told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Reader {
    /// Who buys, with an account or without.
    Buyer,
    /// Who sells.
    Seller,
    /// Staff.
    Staff,
}

impl Reader {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Buyer => "buyer",
            Self::Seller => "seller",
            Self::Staff => "staff",
        }
    }

    /// What a buyer is not told.
    pub(super) fn unless_buying<T>(self, it: T) -> Option<T> {
        (self != Self::Buyer).then_some(it)
    }

    /// What a seller is not told.
    pub(super) fn unless_selling<T>(self, it: T) -> Option<T> {
        (self != Self::Seller).then_some(it)
    }

    /// Whether something of this kind concerns them.
    pub(super) fn is_told_of(self, kind: Kind) -> bool {
        match kind {
            // What a seller owes is between them and the marketplace.
            Kind::Recovered => self != Self::Buyer,
            // How somebody pays is theirs.
            Kind::CardAsked
            | Kind::CardActionNeeded
            | Kind::CardDeclined
            | Kind::CardTooLate
            | Kind::CardRefundSent
            | Kind::CardRefunded
            | Kind::CardRefundFailed => self != Self::Seller,
            Kind::Placed
            | Kind::Confirmed
            | Kind::CalledOff
            | Kind::Paid
            | Kind::Shipped
            | Kind::DeliveryAsked
            | Kind::Delivered
            | Kind::InspectionStarted
            | Kind::Disputed
            | Kind::Released
            | Kind::PaidAtDoor
            | Kind::PartlyRefunded
            | Kind::Refunded
            | Kind::Divided
            | Kind::RefundedAfterRelease
            | Kind::ChargedBack
            | Kind::ChargebackReturned
            | Kind::ChargebackLost => true,
        }
    }

    fn buyer(self) -> &'static str {
        if self == Self::Buyer { "You" } else { "The buyer" }
    }

    fn seller(self) -> &'static str {
        if self == Self::Seller { "You" } else { "The seller" }
    }

    fn to_buyer(self) -> &'static str {
        if self == Self::Buyer { "you" } else { "the buyer" }
    }

    fn buyers(self) -> &'static str {
        if self == Self::Buyer { "your" } else { "the buyer's" }
    }

    fn to_seller(self) -> &'static str {
        if self == Self::Seller { "you" } else { "the seller" }
    }

    /// `have` or `has`, after [`Self::buyer`].
    fn buyer_has(self) -> &'static str {
        if self == Self::Buyer { "have" } else { "has" }
    }

    fn seller_has(self) -> &'static str {
        if self == Self::Seller { "have" } else { "has" }
    }
}

fn amount(minor: i64, currency: Currency) -> String {
    format!("{} {currency}", decimal(i128::from(minor), currency))
}

/// A step without the amounts that do not concern who is told.
pub(super) fn shown(step: &Step, reader: Reader) -> Step {
    Step {
        from_points: step.from_points.and_then(|minor| reader.unless_selling(minor)),
        fee: step.fee.and_then(|minor| reader.unless_buying(minor)),
        to_seller: step.to_seller.and_then(|minor| reader.unless_buying(minor)),
        owed: step.owed.and_then(|minor| reader.unless_buying(minor)),
        ..step.clone()
    }
}

/// Where the money is.
pub(super) fn place(money: &OrderMoney, reader: Reader) -> String {
    let amount = |minor| amount(minor, money.currency.0);
    let (total, held) = (amount(money.total), amount(money.held));
    let (buyer, buyer_has, seller) = (reader.buyer(), reader.buyer_has(), reader.seller());
    match money.place {
        Place::Unpaid => format!("{buyer} {buyer_has} not paid the {total} yet."),
        Place::CalledOff => {
            format!("The order was called off before {} {buyer_has} paid anything.", reader.to_buyer())
        }
        Place::Escrow if reader == Reader::Buyer => format!("We keep {held} of yours until the order is over."),
        Place::Escrow if reader == Reader::Seller => {
            format!("We keep {held} of the buyer's for you until the order is over.")
        }
        Place::Escrow => format!("{held} are in escrow until the order is over."),
        Place::Frozen => format!("We keep {held} until the dispute is decided: nothing moves before."),
        Place::Bank => {
            let rest = if money.held > 0 { format!("; we keep the other {held}") } else { String::new() };
            let whose = if reader == Reader::Buyer { "Your" } else { "The buyer's" };
            format!("{whose} bank took {} back until it has decided{rest}.", amount(money.at_bank))
        }
        Place::Seller if reader == Reader::Buyer => "The seller was paid.".to_owned(),
        Place::Seller => {
            let has = reader.seller_has();
            format!("{seller} {has} got {}; the fee was {}.", amount(money.paid_out), amount(money.fee))
        }
        Place::Buyer if money.to_card => {
            format!("All of it, {}, goes back to {} card.", amount(money.refunded), reader.buyers())
        }
        Place::Buyer => format!("All of it, {}, went back to {}.", amount(money.refunded), reader.to_buyer()),
        Place::Divided if reader == Reader::Buyer => {
            format!("The dispute was decided: {} went back to you, the rest to the seller.", amount(money.refunded))
        }
        Place::Divided => format!(
            "The dispute was decided: {} went back to the buyer, {} to {}; the fee was {}.",
            amount(money.refunded),
            amount(money.paid_out),
            reader.to_seller(),
            amount(money.fee),
        ),
        Place::Door if reader == Reader::Buyer => format!("With you: you pay {total} when it is brought."),
        Place::Door => format!("With the buyer, who pays {total} when it is brought."),
        Place::PaidAtDoor => format!("{seller} got {total} when it was brought; none of it came to us."),
    }
}

/// What comes next.
pub(super) fn next(next: Next, money: &OrderMoney, reader: Reader) -> &'static str {
    let cash = money.place == Place::Door;
    match (next, reader) {
        (Next::PaymentDue, Reader::Buyer) => "The order is called off, unless you pay before.",
        (Next::PaymentDue, Reader::Seller | Reader::Staff) => "The order is called off, unless the buyer pays before.",
        (Next::ConfirmationDue, Reader::Seller) => "The order is called off, unless you confirm it before.",
        (Next::ConfirmationDue, Reader::Buyer | Reader::Staff) => {
            "The order is called off, unless the seller confirms it before."
        }
        (Next::ShippingDue, Reader::Seller) if cash => "The order is called off, unless you send it before.",
        (Next::ShippingDue, Reader::Buyer | Reader::Staff) if cash => {
            "The order is called off, unless the seller sends it before."
        }
        (Next::ShippingDue, Reader::Buyer) => "All of it goes back to you, unless the seller sends the order before.",
        (Next::ShippingDue, Reader::Seller) => "All of it goes back to the buyer, unless you send the order before.",
        (Next::ShippingDue, Reader::Staff) => {
            "All of it goes back to the buyer, unless the seller sends the order before."
        }
        (Next::DeliveryAsked, Reader::Buyer) => "We ask you whether it has arrived, unless you say so before.",
        (Next::DeliveryAsked, Reader::Seller | Reader::Staff) => {
            "We ask the buyer whether it has arrived, unless they say so before."
        }
        (Next::DisputeOpens, Reader::Buyer) => "A dispute opens by itself, unless you say before that it has arrived.",
        (Next::DisputeOpens, Reader::Seller | Reader::Staff) => {
            "A dispute opens by itself, unless the buyer says before that it has arrived."
        }
        (Next::DeliveryDue, Reader::Seller) => "The order is called off, unless you say before that it was brought.",
        (Next::DeliveryDue, Reader::Buyer | Reader::Staff) => {
            "The order is called off, unless the seller says before that it was brought."
        }
        (Next::Release, Reader::Buyer) => "The seller is paid, unless you open a dispute before.",
        (Next::Release, Reader::Seller) => "You are paid, unless the buyer opens a dispute before.",
        (Next::Release, Reader::Staff) => "The seller is paid, unless the buyer opens a dispute before.",
        (Next::DisputeRefunded, Reader::Buyer) => "All of it goes back to you, unless we decide otherwise before.",
        (Next::DisputeRefunded, Reader::Seller) => {
            "All of it goes back to the buyer, unless we decide otherwise before."
        }
        (Next::DisputeRefunded, Reader::Staff) => {
            "All of it goes back to the buyer, unless somebody of the staff decides otherwise before."
        }
    }
}

/// What has happened; of a guest who has paid by card, what goes back goes to that card.
pub(super) fn step(step: &Step, money: &OrderMoney, reader: Reader) -> String {
    let currency = money.currency.0;
    let text = |minor: Option<i64>| amount(minor.unwrap_or(0), currency);
    let sum = text(step.amount);
    let because = because(step.cause, reader);
    let points = match step.from_points {
        Some(points) if points > 0 => Some(amount(points, currency)),
        Some(_) | None => None,
    };
    let back_as_points = points.as_ref().map(|points| format!(", {points} of it as bonus points")).unwrap_or_default();
    let (buyer, seller, to_buyer) = (reader.buyer(), reader.seller(), reader.to_buyer());
    let back = if money.to_card {
        format!("goes back to {} card", reader.buyers())
    } else {
        format!("went back to {to_buyer}")
    };
    match step.kind {
        Kind::Placed => format!("{buyer} ordered for {sum}."),
        Kind::Confirmed => format!("{seller} confirmed the order."),
        Kind::CalledOff => format!("The order was called off{because}."),
        Kind::Paid => {
            let with_points = points.map(|points| format!(", {points} of it with bonus points")).unwrap_or_default();
            format!("{buyer} paid {sum}{with_points}.")
        }
        Kind::Shipped => format!("{seller} sent the order."),
        Kind::DeliveryAsked => format!("Nobody had said that it has arrived, so we asked {to_buyer}."),
        Kind::Delivered => "The order arrived.".to_owned(),
        Kind::InspectionStarted => format!("The time began for {to_buyer} to look at what has arrived."),
        Kind::Disputed => format!("A dispute was opened{because}: the money stays where it is."),
        Kind::Released if reader == Reader::Buyer => format!("The seller was paid{because}."),
        Kind::Released => {
            format!("{seller} got {} of {sum}, less a fee of {}{because}.", text(step.to_seller), text(step.fee))
        }
        Kind::PaidAtDoor => format!("{buyer} paid {sum} at the door."),
        Kind::PartlyRefunded | Kind::Refunded => format!("{sum} {back}{back_as_points}{because}."),
        Kind::Divided if reader == Reader::Buyer => {
            format!("The dispute was decided: {sum} {back}{back_as_points}, the rest went to the seller.")
        }
        Kind::Divided => format!(
            "The dispute was decided: {sum} {back}{back_as_points}; {} got {}, less a fee of {}.",
            reader.to_seller(),
            text(step.to_seller),
            text(step.fee)
        ),
        Kind::RefundedAfterRelease if reader == Reader::Buyer => {
            format!("{sum} {back}{back_as_points}{because}.")
        }
        Kind::RefundedAfterRelease => {
            let owed = step.owed.filter(|owed| *owed > 0);
            let owed = owed.map(|owed| format!(", and {} is owed for it", amount(owed, currency))).unwrap_or_default();
            format!(
                "{sum} {back}{back_as_points}{because}: {} of it from {}, {} from the fee{owed}.",
                text(step.to_seller),
                reader.to_seller(),
                text(step.fee)
            )
        }
        Kind::Recovered => format!("{sum} of it paid what {} owed.", reader.to_seller()),
        Kind::CardAsked
        | Kind::CardActionNeeded
        | Kind::CardDeclined
        | Kind::CardTooLate
        | Kind::CardRefundSent
        | Kind::CardRefunded
        | Kind::CardRefundFailed
        | Kind::ChargedBack
        | Kind::ChargebackReturned
        | Kind::ChargebackLost => card_step(step, currency, reader),
    }
}

/// What has happened between a card, its bank and us. Everything else is told by [`step`].
fn card_step(step: &Step, currency: Currency, reader: Reader) -> String {
    let (sum, to_buyer) = (amount(step.amount.unwrap_or(0), currency), reader.to_buyer());
    match step.kind {
        Kind::CardAsked => format!("A card was asked for {sum}, for all that was ordered together."),
        Kind::CardActionNeeded => format!("The bank wants {to_buyer} to confirm the payment."),
        Kind::CardDeclined => "The card did not pay.".to_owned(),
        Kind::CardTooLate => format!("{sum} came from the card that nothing waited for any more: it goes back."),
        Kind::CardRefundSent => format!("{sum} is on its way back to the card."),
        Kind::CardRefunded => format!("{sum} is back at the card."),
        Kind::CardRefundFailed if step.until.is_some() => {
            format!("{sum} could not be sent back to the card: it is tried again.")
        }
        Kind::CardRefundFailed => format!("{sum} could not be sent back to the card: we have to see to it."),
        Kind::ChargedBack => {
            let owed = step.owed.filter(|owed| *owed > 0);
            let owed = owed.map(|owed| format!(", and {} is owed for it", amount(owed, currency))).unwrap_or_default();
            format!("The bank of the card took {sum} back until it has decided{owed}.")
        }
        Kind::ChargebackReturned => format!("The bank of the card decided, and gave {sum} back."),
        Kind::ChargebackLost => "The bank of the card decided for the payer, who keeps what it took back.".to_owned(),
        Kind::Placed
        | Kind::Confirmed
        | Kind::CalledOff
        | Kind::Paid
        | Kind::Shipped
        | Kind::DeliveryAsked
        | Kind::Delivered
        | Kind::InspectionStarted
        | Kind::Disputed
        | Kind::Released
        | Kind::PaidAtDoor
        | Kind::PartlyRefunded
        | Kind::Refunded
        | Kind::Divided
        | Kind::RefundedAfterRelease
        | Kind::Recovered => String::new(),
    }
}

/// Why, as the end of a sentence.
fn because(cause: Option<Cause>, reader: Reader) -> String {
    let Some(cause) = cause else { return String::new() };
    match cause {
        Cause::Buyer => format!(" by {}", reader.to_buyer()),
        Cause::Seller => format!(" by {}", reader.to_seller()),
        Cause::Staff => " by our staff".to_owned(),
        Cause::Marketplace => ", since nobody had said that it has arrived".to_owned(),
        Cause::Confirmed => {
            let content = if reader == Reader::Buyer { "you were" } else { "the buyer was" };
            format!(", since {content} content")
        }
        Cause::InspectionOver => ", since the time to look at it was over".to_owned(),
        Cause::Resolved => ", as the dispute was decided".to_owned(),
        Cause::Cancelled => ", since the order was called off".to_owned(),
        Cause::DisputeExpired => ", since nobody had decided the dispute in time".to_owned(),
        Cause::NotPaid => ", since it was not paid in time".to_owned(),
        Cause::NotConfirmed => ", since it was not confirmed in time".to_owned(),
        Cause::NotShipped => ", since it was not sent in time".to_owned(),
        Cause::NotDelivered => ", since in time nobody had said that it was brought".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use domain::Timestamp;
    use projections::Text;
    use sqlx::types::Json;
    use uuid::Uuid;

    use super::*;

    const READERS: [Reader; 3] = [Reader::Buyer, Reader::Seller, Reader::Staff];

    fn money(place: Place) -> OrderMoney {
        OrderMoney {
            order_id: Uuid::from_u128(7),
            buyer_id: Uuid::from_u128(1),
            seller_id: Uuid::from_u128(2),
            guest: false,
            place,
            currency: Text(Currency::KWD),
            total: 10_500,
            from_points: 0,
            paid: 10_500,
            held: 10_500,
            at_bank: 500,
            refunded: 0,
            paid_out: 9_000,
            fee: 1_500,
            by_card: false,
            to_card: false,
            next: None,
            next_at: None,
            ship_by: None,
            deliver_by: None,
            dispute_at: None,
            position: 1,
        }
    }

    fn happened(kind: Kind, cause: Option<Cause>) -> Step {
        Step {
            order_id: Uuid::from_u128(7),
            position: 1,
            kind,
            amount: Some(10_500),
            from_points: Some(500),
            fee: Some(1_500),
            to_seller: Some(9_000),
            owed: Some(20),
            cause,
            until: None,
            postings: Json(vec![]),
            recorded_at: Timestamp::UNIX_EPOCH,
        }
    }

    fn said(step_of: &Step, reader: Reader) -> String {
        step(&shown(step_of, reader), &money(Place::Escrow), reader)
    }

    #[test]
    fn each_side_is_told_in_its_own_words() {
        let held = |reader| place(&money(Place::Escrow), reader);
        assert_eq!(held(Reader::Buyer), "We keep 10.500 KWD of yours until the order is over.");
        assert_eq!(held(Reader::Staff), "10.500 KWD are in escrow until the order is over.");
        let paid = happened(Kind::Paid, None);
        assert_eq!(said(&paid, Reader::Buyer), "You paid 10.500 KWD, 0.500 KWD of it with bonus points.");
        assert_eq!(said(&paid, Reader::Seller), "The buyer paid 10.500 KWD.");
        let disputed = happened(Kind::Disputed, Some(Cause::Seller));
        assert_eq!(said(&disputed, Reader::Seller), "A dispute was opened by you: the money stays where it is.");
        let called_off = place(&money(Place::CalledOff), Reader::Staff);
        assert_eq!(called_off, "The order was called off before the buyer has paid anything.");
    }

    #[test]
    fn who_buys_hears_nothing_of_fees_and_of_what_the_seller_owes() {
        for kind in [Kind::Released, Kind::Divided, Kind::RefundedAfterRelease] {
            let told = said(&happened(kind, Some(Cause::Resolved)), Reader::Buyer);
            for secret in ["fee", "owe", "9.000", "1.500", "0.020"] {
                assert!(!told.contains(secret), "{told}");
            }
            let told = said(&happened(kind, Some(Cause::Resolved)), Reader::Seller);
            assert!(told.contains("fee") && told.contains("1.500 KWD"), "{told}");
        }
        assert!(!Reader::Buyer.is_told_of(Kind::Recovered) && Reader::Seller.is_told_of(Kind::Recovered));
        for place_of in [Place::Seller, Place::Divided] {
            let told = place(&money(place_of), Reader::Buyer);
            assert!(!told.contains("fee") && !told.contains("9.000"), "{told}");
        }
    }

    #[test]
    fn what_goes_back_to_a_guest_goes_to_the_card() {
        let by_card = OrderMoney { guest: true, by_card: true, to_card: true, ..money(Place::Buyer) };
        let refunded = happened(Kind::Refunded, Some(Cause::Seller));
        let told = |reader| step(&shown(&refunded, reader), &by_card, reader);
        assert_eq!(told(Reader::Seller), "10.500 KWD goes back to the buyer's card by you.");
        assert!(told(Reader::Buyer).starts_with("10.500 KWD goes back to your card, 0.500 KWD of it as bonus points"));
        assert_eq!(place(&by_card, Reader::Buyer), "All of it, 0.000 KWD, goes back to your card.");
        let asked = happened(Kind::CardAsked, None);
        assert!(!Reader::Seller.is_told_of(asked.kind) && Reader::Staff.is_told_of(asked.kind));
    }

    #[test]
    fn everything_is_said_in_a_sentence() {
        let sentence = |said: &str| {
            assert!(said.ends_with('.') && said.starts_with(|first: char| !first.is_lowercase()), "{said}");
            assert!(!said.contains("  ") && !said.contains(".."), "{said}");
        };
        let places = [
            Place::Unpaid,
            Place::CalledOff,
            Place::Escrow,
            Place::Frozen,
            Place::Bank,
            Place::Seller,
            Place::Buyer,
            Place::Divided,
            Place::Door,
            Place::PaidAtDoor,
        ];
        let kinds = [
            Kind::Placed,
            Kind::Confirmed,
            Kind::CalledOff,
            Kind::Paid,
            Kind::Shipped,
            Kind::DeliveryAsked,
            Kind::Delivered,
            Kind::InspectionStarted,
            Kind::Disputed,
            Kind::Released,
            Kind::PaidAtDoor,
            Kind::PartlyRefunded,
            Kind::Refunded,
            Kind::Divided,
            Kind::RefundedAfterRelease,
            Kind::Recovered,
            Kind::CardAsked,
            Kind::CardActionNeeded,
            Kind::CardDeclined,
            Kind::CardTooLate,
            Kind::CardRefundSent,
            Kind::CardRefunded,
            Kind::CardRefundFailed,
            Kind::ChargedBack,
            Kind::ChargebackReturned,
            Kind::ChargebackLost,
        ];
        let causes = [
            None,
            Some(Cause::Buyer),
            Some(Cause::Seller),
            Some(Cause::Staff),
            Some(Cause::Marketplace),
            Some(Cause::Confirmed),
            Some(Cause::InspectionOver),
            Some(Cause::NotPaid),
        ];
        for reader in READERS {
            for place_of in places {
                sentence(&place(&money(place_of), reader));
            }
            for kind in kinds {
                for cause in causes {
                    sentence(&said(&happened(kind, cause), reader));
                }
            }
            for what in [Next::PaymentDue, Next::ShippingDue, Next::Release, Next::DisputeRefunded, Next::DeliveryDue] {
                for place_of in [Place::Escrow, Place::Door] {
                    sentence(next(what, &money(place_of), reader));
                }
            }
        }
    }
}
