//! What cards are charged for orders: steps of all orders that one charge pays.
//!
//! A charge tells of its orders by their group, of a refund and of a dispute by their ids alone after the first time, so
//! these are kept. What a charge moves in and out of escrows the escrows tell themselves.

use std::collections::{BTreeMap, BTreeSet};

use domain::charge::{Bearer, Event, Purpose, Share};
use domain::{Money, OrderId, Posting};
use eventstore::event::DomainEvent;
use eventstore::follower::{FollowError, Recorded};
use serde::{Deserialize, Serialize};
use sqlx::types::Json;
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use super::{Changes, Kind, Step};
use crate::rows;

/// Which orders are paid together.
#[derive(Clone, Debug, FromRow, PartialEq, Serialize)]
pub(super) struct Group {
    group_id: Uuid,
    order_ids: Json<Vec<Uuid>>,
}

impl Group {
    pub(super) fn of(group_id: Uuid, orders: &[OrderId]) -> Self {
        Self { group_id, order_ids: Json(orders.iter().map(|order| order.0).collect()) }
    }
}

/// What a card is charged for.
#[derive(Clone, Debug, FromRow, PartialEq, Serialize)]
pub(super) struct Charge {
    id: Uuid,
    order_ids: Json<Vec<Uuid>>,
    refunds: Json<BTreeMap<Uuid, Refund>>,
    disputes: Json<BTreeMap<Uuid, BTreeSet<Uuid>>>,
}

/// What of it goes back to the card.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
struct Refund {
    /// Of which order; of all, if it has paid nothing.
    order: Option<Uuid>,
    /// In minor units.
    amount: i64,
}

impl Charge {
    fn of_refund(&self, refund: Uuid) -> Option<(Vec<Uuid>, i64)> {
        let Refund { order, amount } = *self.refunds.0.get(&refund)?;
        Some((order.map_or_else(|| self.order_ids.0.clone(), |order| vec![order]), amount))
    }
}

/// What of each order was in no escrow of what a bank has taken or given back: how much, and what of that is owed, or not
/// any more.
fn outside_of_escrows(shares: &[Share]) -> BTreeMap<Uuid, (i64, i64)> {
    let mut outside: BTreeMap<Uuid, (i64, i64)> = BTreeMap::new();
    for Share { order, amount, bearer } in shares {
        let owed = match bearer {
            // The escrow tells.
            Bearer::Escrow => continue,
            Bearer::Account { owed, .. } => owed.minor(),
            Bearer::Refund { .. } | Bearer::Marketplace => 0,
        };
        if let Some(order) = order {
            let sums = outside.entry(order.0).or_default();
            *sums = (sums.0 + amount.minor(), sums.1 + owed);
        }
    }
    outside
}

impl Changes {
    /// Takes an event of a charge in. One that brings money into a wallet is not about orders.
    pub(super) fn take_charge(&mut self, id: Uuid, event: &Event, recorded: &Recorded) -> Result<(), FollowError> {
        if let Event::ChargeRequested { terms } = event
            && let Purpose::Orders(group) = terms.purpose
        {
            // Placed before it can be paid; unless that could not be taken.
            let absent = || FollowError::Absent(format!("group of orders {group}"));
            let order_ids = self.groups.get(&group.0).ok_or_else(absent)?.order_ids.clone();
            let (refunds, disputes) = (Json(BTreeMap::new()), Json(BTreeMap::new()));
            self.charges.insert(id, Charge { id, order_ids, refunds, disputes });
        }
        let Some(charge) = self.charges.get_mut(&id) else { return Ok(()) };
        let all = charge.order_ids.0.clone();
        let minor = |amount: &Money| Some(amount.minor());
        let mut told = |orders: Vec<Uuid>, kind: Kind, amount: Option<i64>| {
            let step = |order| Step { amount, ..Step::of(order, kind, recorded) };
            self.steps.extend(orders.into_iter().map(step));
        };
        match event {
            Event::ChargeRequested { terms } => told(all, Kind::CardAsked, minor(&terms.amount)),
            Event::ChargeActionRequired { .. } => told(all, Kind::CardActionNeeded, None),
            Event::ChargeFailed { .. } => told(all, Kind::CardDeclined, None),
            Event::ChargeSucceeded { unapplied: Some(amount), .. } => told(all, Kind::CardTooLate, minor(amount)),
            // What it has paid, the escrows tell; what a provider keeps is no money of the order.
            Event::ChargeSucceeded { unapplied: None, .. }
            | Event::ProviderFeeCharged { .. }
            | Event::ChargeDelayed { .. }
            | Event::ChargeRefundDelayed { .. } => {}
            Event::ChargeRefundRequested { refund, order, amount } => {
                let order = order.map(|order| order.0);
                charge.refunds.0.insert(refund.0, Refund { order, amount: amount.minor() });
                told(order.map_or(all, |order| vec![order]), Kind::CardRefundSent, minor(amount));
            }
            Event::ChargeRefundRetried { refund, .. } => {
                if let Some((orders, amount)) = charge.of_refund(refund.0) {
                    told(orders, Kind::CardRefundSent, Some(amount));
                }
            }
            Event::ChargeRefunded { refund, postings, .. } => {
                if let Some((orders, amount)) = charge.of_refund(refund.0) {
                    told(orders, Kind::CardRefunded, Some(amount));
                    self.post_last(recorded, postings);
                }
            }
            Event::ChargeRefundFailed { refund, retry_at, postings, .. } => {
                if let Some((orders, amount)) = charge.of_refund(refund.0) {
                    told(orders, Kind::CardRefundFailed, Some(amount));
                    self.post_last(recorded, postings);
                    self.last_steps(recorded).for_each(|step| step.until = *retry_at);
                }
            }
            Event::ChargeDisputed { dispute, shares, .. } => {
                let outside = outside_of_escrows(shares);
                charge.disputes.0.insert(dispute.0, outside.keys().copied().collect());
                self.tell_outside(Kind::ChargedBack, outside, recorded);
            }
            Event::ChargeDisputeWon { shares, .. } => {
                self.tell_outside(Kind::ChargebackReturned, outside_of_escrows(shares), recorded);
            }
            Event::ChargeDisputeLost { dispute } => {
                let orders = charge.disputes.0.get(&dispute.0).into_iter().flatten().copied().collect();
                told(orders, Kind::ChargebackLost, None);
            }
        }
        Ok(())
    }

    /// The steps that an event is, right after they were added.
    fn last_steps(&mut self, recorded: &Recorded) -> impl Iterator<Item = &mut Step> {
        let position = recorded.position;
        self.steps.iter_mut().rev().take_while(move |step| step.position == position)
    }

    /// Adds to the steps of an event what it posts.
    fn post_last(&mut self, recorded: &Recorded, postings: &[Posting]) {
        self.last_steps(recorded).for_each(|step| step.postings = Json(postings.to_vec()));
    }

    fn tell_outside(&mut self, kind: Kind, outside: BTreeMap<Uuid, (i64, i64)>, recorded: &Recorded) {
        let step = |(order, (amount, owed))| Step {
            amount: Some(amount),
            owed: Some(owed),
            ..Step::of(order, kind, recorded)
        };
        self.steps.extend(outside.into_iter().map(step));
    }

    pub(super) async fn load_charges(
        &mut self,
        connection: &mut PgConnection,
        events: &[Recorded],
    ) -> Result<(), FollowError> {
        let charges = rows::touched(events, |event| match event {
            DomainEvent::Charge(id, _) => Some(id.0),
            _ => None,
        });
        if charges.is_empty() {
            return Ok(());
        }
        let groups = rows::touched(events, |event| match event {
            DomainEvent::Charge(_, Event::ChargeRequested { terms }) => match terms.purpose {
                Purpose::Orders(group) => Some(group.0),
                Purpose::Deposit(_) => None,
            },
            _ => None,
        });
        let groups: Vec<Group> = sqlx::query_as("select * from groups where group_id = any($1)")
            .bind(groups)
            .fetch_all(&mut *connection)
            .await?;
        let charges: Vec<Charge> =
            sqlx::query_as("select * from charges where id = any($1)").bind(charges).fetch_all(connection).await?;
        self.groups = groups.into_iter().map(|group| (group.group_id, group)).collect();
        self.charges = charges.into_iter().map(|charge| (charge.id, charge)).collect();
        Ok(())
    }
}

pub(super) async fn store(
    connection: &mut PgConnection,
    groups: BTreeMap<Uuid, Group>,
    charges: BTreeMap<Uuid, Charge>,
) -> Result<(), FollowError> {
    let statement = "
        insert into groups select * from json_populate_recordset(null::groups, $1::json)
        on conflict on constraint groups_group do nothing";
    rows::write(connection, statement, groups.into_values()).await?;
    let statement = "
        insert into charges select * from json_populate_recordset(null::charges, $1::json)
        on conflict on constraint charges_charge do update set
            (refunds, disputes) = row (excluded.refunds, excluded.disputes)";
    Ok(rows::write(connection, statement, charges.into_values()).await?)
}
