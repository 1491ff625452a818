//! What it leads to that a seller offers again what was not paid, and that somebody takes it.

use api::config;
use chrono::TimeDelta;
use domain::account::{Account, Capability};
use domain::auction::{self, Auction, Event};
use domain::escrow::{self, Escrow};
use domain::listing::Listing;
use domain::order::{self, Line, Order, Origin, Payment};
use domain::order_group::{self, OrderGroup};
use domain::stock::Sku;
use domain::store::Store;
use domain::{AccountId, AuctionId, ListingId, Money, Refusal, fees};
use serde_json::{Value, json};

use super::intents::Minted;
use super::orders::require_offering;
use super::replica::Draft;

/// What was won is paid within a day, and so is what is taken instead.
const PAID_WITHIN: TimeDelta = TimeDelta::hours(24);

/// Offers it to whoever has bid the most of those who may buy.
pub(super) fn offer(draft: &mut Draft<'_>, by: AccountId, auction: AuctionId) -> Result<Value, Refusal> {
    draft.get::<Listing>(ListingId::from(auction)).owned_by(by)?;
    draft.get::<Account>(by).require(Capability::Sell)?;
    draft.get::<Store>(by).may_sell()?;
    let underbidders = match draft.get::<Auction>(auction) {
        Auction::Closed { underbidders, .. } => underbidders,
        Auction::Unscheduled | Auction::Live(_) | Auction::Cancelled { .. } => Vec::new(),
    };
    let may_buy = |bidder: &AccountId| draft.get::<Account>(*bidder).require(Capability::Buy).is_ok();
    // A seller has never bid: without anybody it is refused.
    let bidder = underbidders.into_iter().map(|underbid| underbid.bidder).find(may_buy).unwrap_or(by);
    let now = draft.now();
    let until = now + TimeDelta::seconds(config::Auctions::default().second_chance_s.into());
    let events =
        draft.execute::<Auction>(auction, auction::Command::OfferSecondChance { bidder: Some(bidder), until, now })?;
    let price = events.iter().find_map(|event| match event {
        Event::SecondChanceOffered { price, .. } => Some(*price),
        _ => None,
    });
    Ok(json!({
        "auction_id": auction, "price": price, "until": until, "version": draft.version::<Auction>(auction),
    }))
}

/// Places the order of whoever takes it.
pub(super) fn accept(
    draft: &mut Draft<'_>,
    buyer: AccountId,
    auction: AuctionId,
    minted: &Minted,
) -> Result<Value, Refusal> {
    let (now, order, listing) = (draft.now(), minted.orders[0], ListingId::from(auction));
    let accept = auction::Command::AcceptSecondChance { bidder: buyer, order, now };
    let events = draft.execute::<Auction>(auction, accept)?;
    draft.get::<Account>(buyer).require(Capability::Buy)?;
    let offer = draft.get::<Listing>(listing).offer()?.clone();
    require_offering(draft, offer.seller)?;
    let price = events.iter().find_map(|event| match event {
        Event::SecondChanceAccepted { price, .. } => Some(*price),
        _ => None,
    });
    let unit_price = price.ok_or(auction::Error::NoSecondChance)?;
    let rules = config::Orders::default();
    let shipping = offer.shipping.unwrap_or(Money::zero(unit_price.currency()));
    let (sku, title, seller, delivery) = (Sku::default(), offer.title, offer.seller, offer.delivery);
    let line = Line { listing, sku, title, quantity: 1, unit_price, shipping, fee_bps: rules.fee_bps };
    let lines = vec![line.fee_line()?];
    let amount = fees::gross(&lines, unit_price.currency())?;
    let inspection_s = if delivery.is_physical() { rules.inspection_physical_s } else { rules.inspection_digital_s };
    let terms = order::Terms {
        group: minted.group,
        buyer,
        seller,
        origin: Origin::SecondChance(auction),
        lines: vec![line],
        delivery,
        ship_to: None,
        payment: Payment::Escrow,
        guest: None,
    };
    draft.execute::<Order>(order, order::Command::Place { terms })?;
    let points_per_unit = config::Points::default().per_major_unit;
    let (redeemed, commission) = (None, None);
    let terms =
        escrow::Terms { order, buyer, seller, lines, amount, inspection_s, points_per_unit, redeemed, commission };
    draft.execute::<Escrow>(order, escrow::Command::Open { terms })?;
    let (orders, pay_by) = (vec![order], now + PAID_WITHIN);
    draft.execute::<OrderGroup>(minted.group, order_group::Command::Place { buyer, orders, pay_by })?;
    let version = draft.version::<Auction>(auction);
    Ok(json!({ "auction_id": auction, "price": unit_price, "order_id": order, "version": version }))
}
