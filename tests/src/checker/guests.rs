//! What a guest's words about an order lead to, and those of the seller who asks whether they were meant.

use std::collections::BTreeMap;

use api::config;
use chrono::TimeDelta;
use domain::listing::{self, Delivery, Listing};
use domain::order::{self, CancelCause, Deadlines, Line, Order, Origin, Payment, Role, Stage};
use domain::stock::{self, Sku, Stock};
use domain::store::{PaymentPreference, Store};
use domain::{AccountId, ListingId, Money, OrderGroupId, OrderId, Refusal};
use serde_json::{Value, json};

use super::intents::Minted;
use super::orders::{as_party, counted_pieces, pieces, put_back, require_offering, sum};
use super::replica::Draft;
use crate::history::Wanted;

/// Orders at a store, to be paid at the door.
pub(super) fn order(
    draft: &mut Draft<'_>,
    seller: AccountId,
    wanted: &[Wanted],
    minted: &Minted,
) -> Result<Value, Refusal> {
    let Store::Open(shop) = draft.get::<Store>(seller) else { return Err(order::Error::NoStore.into()) };
    require_offering(draft, seller)?;
    if shop.about.payment_preference == PaymentPreference::Card {
        return Err(order::Error::NoCash.into());
    }
    let (buyer, ship_to, guest) = minted.guest.clone();
    let rules = config::Orders::default();
    let [confirming, sending, bringing] =
        [rules.confirm_within_s, rules.cash_ship_within_s, rules.cash_deliver_within_s]
            .map(|within_s| TimeDelta::seconds(within_s.into()));
    let confirm_by = draft.now() + confirming;
    let ship_by = confirm_by + sending;
    let deadlines = Deadlines { confirm_by, ship_by, deliver_by: ship_by + bringing };
    let mut quantities = BTreeMap::<(ListingId, Sku), u32>::new();
    for Wanted { listing, quantity } in wanted {
        *quantities.entry((*listing, Sku::default())).or_default() += quantity;
    }
    let (mut lines, mut delivery) = (Vec::new(), Delivery::Physical);
    for ((listing, sku), quantity) in quantities {
        let offer = draft.get::<Listing>(listing).offered_to(buyer)?.clone();
        if offer.seller != seller {
            return Err(listing::Error::NotFound.into());
        }
        if !offer.delivery.is_physical() {
            delivery = Delivery::Digital;
        }
        let unit_price = offer.price_at(&sku, draft.now())?;
        let shipping = offer.shipping.unwrap_or(Money::zero(unit_price.currency())).times(quantity)?;
        lines.push(Line { listing, sku, title: offer.title, quantity, unit_price, shipping, fee_bps: 0 });
    }
    let amounts = lines.iter().map(Line::gross).collect::<Result<Vec<_>, _>>()?;
    // Somebody who orders nothing is told so before.
    let order = minted.orders[0];
    let kept = pieces(&lines);
    let terms = order::Terms {
        group: OrderGroupId(order.0),
        buyer,
        seller,
        origin: Origin::Storefront,
        lines,
        delivery,
        ship_to: Some(ship_to),
        payment: Payment::in_cash(deadlines),
        guest: Some(guest),
    };
    draft.execute::<Order>(order, order::Command::Place { terms })?;
    for (listing, pieces) in kept {
        draft.execute::<Stock>(listing, stock::Command::Hold { listing, order, pieces, until: confirm_by })?;
    }
    Ok(json!({ "order_id": order, "total": sum(&amounts)?, "confirm_by": confirm_by }))
}

/// Takes the pieces of a guest who means it.
pub(super) fn confirm(draft: &mut Draft<'_>, order: OrderId, by: AccountId) -> Result<(), Refusal> {
    as_party(draft, order, by, Role::Seller)?;
    let now = draft.now();
    if draft.execute::<Order>(order, order::Command::Confirm { now })?.is_empty() {
        return Ok(());
    }
    for listing in counted_pieces(draft, order)?.into_keys() {
        draft.execute::<Stock>(listing, stock::Command::Take { order })?;
    }
    Ok(())
}

/// Calls an order off that is paid in cash. What was sent comes back by itself.
pub(super) fn cancel(draft: &mut Draft<'_>, order: OrderId, cause: CancelCause) -> Result<(), Refusal> {
    let (now, stage) = (draft.now(), draft.get::<Order>(order).placed()?.stage);
    if draft.execute::<Order>(order, order::Command::Cancel { cause, now })?.is_empty() {
        return Ok(());
    }
    match stage {
        Stage::Placed => {
            for listing in counted_pieces(draft, order)?.into_keys() {
                draft.execute::<Stock>(listing, stock::Command::Release { order })?;
            }
            Ok(())
        }
        Stage::Confirmed => put_back(draft, order),
        _ => Ok(()),
    }
}
