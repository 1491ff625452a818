//! What was paid, and what became of it: how each escrow stands, and every movement of its money.

use std::collections::BTreeMap;

use domain::escrow::{Course, Event, Status, Terms};
use domain::{Currency, Money, Timestamp};
use eventstore::Position;
use eventstore::event::DomainEvent;
use eventstore::follower::Recorded;
use serde::Serialize;
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use crate::{Text, rows};

#[derive(Debug, FromRow, Serialize)]
struct Escrow {
    order_id: Uuid,
    seller_id: Uuid,
    currency: Text<Currency>,
    amount: i64,
    held: i64,
    refunded: i64,
    fee: i64,
    paid_out: i64,
    status: Text<Status>,
    opened_at: Timestamp,
    funded_at: Option<Timestamp>,
    due_at: Option<Timestamp>,
    disputes: i64,
    ended_at: Option<Timestamp>,
}

/// One movement of the money of an order.
#[derive(Debug, Serialize)]
pub(super) struct Movement {
    position: Position,
    order_id: Uuid,
    seller_id: Uuid,
    currency: Text<Currency>,
    kind: &'static str,
    paid: i64,
    refunded: i64,
    fee: i64,
    paid_out: i64,
    cash: i64,
    moved_at: Timestamp,
}

/// The escrows that a batch is about, and the movements in it.
#[derive(Debug, Default)]
pub(super) struct Escrows {
    escrows: BTreeMap<Uuid, Escrow>,
    pub(super) movements: Vec<Movement>,
}

impl Escrows {
    pub(super) fn take(&mut self, order_id: Uuid, event: &Event, recorded: &Recorded) {
        let at = recorded.recorded_at;
        if let Event::EscrowOpened { terms } = event {
            self.escrows.insert(order_id, Escrow::opened(terms, at));
        }
        let Some(escrow) = self.escrows.get_mut(&order_id) else { return };
        let none = |kind| Movement::none(recorded, kind, order_id, escrow.seller_id, escrow.currency);
        let (paid, back, out) = (
            |amount: &Money| Movement { paid: amount.minor(), ..none("paid") },
            |kind, amount: &Money| Movement { refunded: amount.minor(), ..none(kind) },
            |kind, kept: &Money, fee: &Money| Movement {
                fee: fee.minor(),
                paid_out: kept.minor() - fee.minor(),
                ..none(kind)
            },
        );
        let moved = match event {
            Event::EscrowFunded { amount, .. } => Some(paid(amount)),
            Event::EscrowPartlyRefunded { amount, .. } => Some(back("partly_refunded", amount)),
            Event::EscrowRefunded { amount, .. } => Some(back("refunded", amount)),
            Event::ChargebackSettled { amount, .. } => Some(back("charged_back", amount)),
            Event::EscrowReleased { kept, fee, .. } => Some(out("released", kept, fee)),
            Event::EscrowSplit { to_buyer, kept, fee, .. } => {
                Some(Movement { refunded: to_buyer.minor(), ..out("split", kept, fee) })
            }
            Event::ReleaseRefunded { amount, from_available, owed, fee_share, .. } => Some(Movement {
                fee: -fee_share.minor(),
                paid_out: -(from_available.minor() + owed.minor()),
                ..back("refunded_after_release", amount)
            }),
            // Not gone before the bank has decided.
            Event::EscrowChargedBack { .. }
            | Event::ChargebackReturned { .. }
            | Event::EscrowOpened { .. }
            | Event::EscrowVoided {}
            | Event::InspectionStarted { .. }
            | Event::InspectionReminded { .. }
            | Event::EscrowDisputed { .. } => None,
        };
        escrow.go_on(event, at);
        if let Some(moved) = moved {
            escrow.move_money(event, &moved);
            self.movements.push(moved);
        }
    }

    pub(super) async fn load(connection: &mut PgConnection, events: &[Recorded]) -> Result<Self, sqlx::Error> {
        let ids = rows::touched(events, |event| match event {
            DomainEvent::Escrow(id, _) => Some(id.0),
            _ => None,
        });
        if ids.is_empty() {
            return Ok(Self::default());
        }
        let escrows: Vec<Escrow> = sqlx::query_as("select * from escrow_facts where order_id = any($1)")
            .bind(ids)
            .fetch_all(connection)
            .await?;
        let escrows = escrows.into_iter().map(|escrow| (escrow.order_id, escrow)).collect();
        Ok(Self { escrows, movements: Vec::new() })
    }

    pub(super) async fn store(self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        let statement = "
            insert into escrow_facts select * from json_populate_recordset(null::escrow_facts, $1::json)
            on conflict on constraint escrow_facts_order do update set
                (held, refunded, fee, paid_out, status, funded_at, due_at, disputes, ended_at)
                = row (excluded.held, excluded.refunded, excluded.fee, excluded.paid_out, excluded.status,
                    excluded.funded_at, excluded.due_at, excluded.disputes, excluded.ended_at)";
        rows::write(connection, statement, self.escrows.into_values()).await?;
        let statement = "insert into money_facts select * from json_populate_recordset(null::money_facts, $1::json)";
        rows::write(connection, statement, self.movements).await
    }
}

impl Escrow {
    fn opened(terms: &Terms, opened_at: Timestamp) -> Self {
        Self {
            order_id: terms.order.0,
            seller_id: terms.seller.0,
            currency: Text(terms.amount.currency()),
            amount: terms.amount.minor(),
            held: 0,
            refunded: 0,
            fee: 0,
            paid_out: 0,
            status: Text(Status::AwaitingPayment),
            opened_at,
            funded_at: None,
            due_at: None,
            disputes: 0,
            ended_at: None,
        }
    }

    /// Where it is after an event.
    fn go_on(&mut self, event: &Event, at: Timestamp) {
        match event {
            Event::EscrowOpened { .. }
            | Event::InspectionReminded { .. }
            | Event::EscrowPartlyRefunded { .. }
            | Event::ReleaseRefunded { .. } => {}
            Event::EscrowFunded { ship_by, .. } => {
                self.funded_at = Some(at);
                self.wait(Status::Funded, Some(*ship_by));
            }
            Event::InspectionStarted { ends_at, .. } => self.wait(Status::Inspection, Some(*ends_at)),
            Event::EscrowDisputed { expires_at, .. } => {
                self.disputes += 1;
                self.wait(Status::Disputed, Some(*expires_at));
            }
            Event::EscrowChargedBack { .. } => self.wait(Status::ChargedBack, None),
            Event::ChargebackReturned { course, .. } | Event::ChargebackSettled { course: Some(course), .. } => {
                match *course {
                    Course::Funded { ship_by, .. } => self.wait(Status::Funded, Some(ship_by)),
                    Course::Inspection { ends_at, .. } => self.wait(Status::Inspection, Some(ends_at)),
                    Course::Disputed { expires_at } => self.wait(Status::Disputed, Some(expires_at)),
                }
            }
            Event::EscrowVoided {} => self.end(Status::Voided, at),
            Event::EscrowReleased { .. } => self.end(Status::Released, at),
            Event::EscrowRefunded { .. } | Event::ChargebackSettled { course: None, .. } => {
                self.end(Status::Refunded, at);
            }
            Event::EscrowSplit { .. } => self.end(Status::Split, at),
        }
    }

    fn wait(&mut self, status: Status, due_at: Option<Timestamp>) {
        (self.status, self.due_at) = (Text(status), due_at);
    }

    fn end(&mut self, status: Status, at: Timestamp) {
        (self.status, self.due_at, self.ended_at) = (Text(status), None, Some(at));
    }

    fn move_money(&mut self, event: &Event, moved: &Movement) {
        self.refunded += moved.refunded;
        self.fee += moved.fee;
        self.paid_out += moved.paid_out;
        // What goes back after the release comes from whoever has it.
        if !matches!(event, Event::ReleaseRefunded { .. }) {
            self.held += moved.paid - moved.refunded - moved.fee - moved.paid_out;
        }
    }
}

impl Movement {
    /// What a guest has paid at the door.
    pub(super) fn at_the_door(
        recorded: &Recorded,
        order_id: Uuid,
        seller_id: Uuid,
        currency: Text<Currency>,
        cash: i64,
    ) -> Self {
        Self { cash, ..Self::none(recorded, "cash", order_id, seller_id, currency) }
    }

    /// A movement of nothing, to be filled in.
    fn none(
        recorded: &Recorded,
        kind: &'static str,
        order_id: Uuid,
        seller_id: Uuid,
        currency: Text<Currency>,
    ) -> Self {
        Self {
            position: recorded.position,
            order_id,
            seller_id,
            currency,
            kind,
            paid: 0,
            refunded: 0,
            fee: 0,
            paid_out: 0,
            cash: 0,
            moved_at: recorded.recorded_at,
        }
    }
}
