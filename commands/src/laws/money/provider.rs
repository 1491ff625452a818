//! A provider in memory: what it was asked, what became of it, what it says of it, and what it holds for us in the end.
//!
//! It moves what it is asked for once, however often it is asked, and ends the test if it is asked for something else
//! under the same operation. Its line may be dead, or break after it has done something; its messages lie about until
//! somebody takes them along, once, twice, in any order, or never.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use domain::{Money, Timestamp};
use uuid::Uuid;

use crate::payments::provider::{Action, Notice, Outcome, ProviderUnreachable, What};

/// How long it takes for what it does not do at once, as it says; it may be longer.
const LATER: TimeDelta = TimeDelta::hours(2);
/// What it keeps of a charge, in cents of a hundred.
const FEE_BPS: u32 = 290;

/// What is to be moved.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::laws) enum Kind {
    /// From a card.
    Charge,
    /// Back to one.
    Refund,
    /// Out.
    Payout,
}

/// What it is asked.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::laws) struct Question {
    pub(in crate::laws) kind: Kind,
    pub(in crate::laws) operation: Uuid,
    pub(in crate::laws) amount: Money,
    /// Of a refund: its name for the charge.
    pub(in crate::laws) charge: Option<String>,
}

/// What becomes of something that it has not been asked before.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::laws) enum Fate {
    /// It is done at once.
    Done,
    /// It is refused at once.
    Refused,
    /// The payer has to do something first; of anything but a charge, it takes its time.
    Asks,
    /// It takes its time.
    Waits,
}

/// How a question fares on its way.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::laws) enum Line {
    /// It is heard and answered.
    Clear,
    /// It is not heard.
    Dead,
    /// It is heard, and the answer is lost.
    Breaks,
}

/// How far something is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::laws) enum State {
    Waits,
    Asks,
    Done,
    Refused,
    /// It was done, and has come back.
    Returned,
}

/// A dispute of a charge.
#[derive(Clone, Debug)]
struct Dispute {
    name: String,
    amount: i64,
    /// Whether the money is ours again; not known before it ends.
    won: Option<bool>,
}

/// Something that it was asked to move.
#[derive(Clone, Debug)]
pub(in crate::laws) struct Movement {
    pub(in crate::laws) question: Question,
    pub(in crate::laws) state: State,
    name: String,
    /// What of a charge has gone back.
    refunded: i64,
    dispute: Option<Dispute>,
}

impl Movement {
    fn fee(&self) -> Option<Money> {
        self.question.amount.share_bps(FEE_BPS).ok().filter(|fee| fee.is_positive())
    }

    fn minor(&self) -> i64 {
        self.question.amount.minor()
    }

    fn answer(&self, now: Timestamp) -> Outcome {
        let (reference, check_at) = (self.name.clone(), now + LATER);
        match self.state {
            State::Waits => Outcome::Pending { reference: Some(reference), check_at },
            State::Asks => {
                let action = Action { redirect_url: None, client_secret: None };
                Outcome::ActionRequired { reference, action, check_at }
            }
            State::Done => {
                let fee = if self.question.kind == Kind::Charge { self.fee() } else { None };
                Outcome::Succeeded { reference, fee }
            }
            State::Refused | State::Returned => Outcome::Declined { reason: "No.".to_owned() },
        }
    }

    /// What it has brought us so far; what went out is below zero.
    fn brought(&self) -> i64 {
        let done = self.state == State::Done;
        match self.question.kind {
            Kind::Charge if done => {
                let disputed = self.dispute.as_ref().filter(|dispute| dispute.won != Some(true));
                self.minor() - self.fee().map_or(0, Money::minor) - disputed.map_or(0, |dispute| dispute.amount)
            }
            Kind::Refund | Kind::Payout if done => -self.minor(),
            Kind::Charge | Kind::Refund | Kind::Payout => 0,
        }
    }
}

/// Something that it has said.
#[derive(Clone, Debug)]
pub(in crate::laws) struct Said {
    pub(in crate::laws) notice: Notice,
    /// Whether nobody would ever know without it: such a message it repeats until it is taken.
    pub(in crate::laws) insists: bool,
}

/// All of it.
#[derive(Debug, Default)]
pub(in crate::laws) struct Provider {
    pub(in crate::laws) movements: BTreeMap<Uuid, Movement>,
    pub(in crate::laws) said: Vec<Said>,
    named: u64,
}

impl Provider {
    /// Moves what it is asked for, if it has not, and says what has become of it.
    pub(in crate::laws) fn ask(
        &mut self,
        question: &Question,
        fate: Fate,
        line: Line,
        now: Timestamp,
    ) -> Result<Outcome, ProviderUnreachable> {
        let lost = || ProviderUnreachable("the line is dead".to_owned());
        if line == Line::Dead {
            return Err(lost());
        }
        if !self.movements.contains_key(&question.operation) {
            self.begin(question, fate, now);
        }
        let movement = &self.movements[&question.operation];
        assert_eq!(movement.question, *question, "asked for something else under the same operation");
        let answer = movement.answer(now);
        if line == Line::Breaks { Err(lost()) } else { Ok(answer) }
    }

    fn begin(&mut self, question: &Question, fate: Fate, now: Timestamp) {
        let (operation, kind) = (question.operation, question.kind);
        let name = self.name(match kind {
            Kind::Charge => "ch",
            Kind::Refund => "re",
            Kind::Payout => "po",
        });
        let state = if kind == Kind::Charge && fate == Fate::Asks { State::Asks } else { State::Waits };
        let movement = Movement { question: question.clone(), state, name, refunded: 0, dispute: None };
        self.movements.insert(operation, movement);
        match fate {
            Fate::Done => self.go_on(operation, true, now),
            Fate::Refused => self.go_on(operation, false, now),
            Fate::Asks if kind == Kind::Charge => self.say(operation, &What::ChargeActionRequired, false, now),
            Fate::Asks | Fate::Waits => {}
        }
    }

    /// What has not ended ends, well or not.
    pub(in crate::laws) fn go_on(&mut self, operation: Uuid, well: bool, now: Timestamp) {
        let movement = self.movements[&operation].clone();
        if !matches!(movement.state, State::Waits | State::Asks) {
            return;
        }
        let well = well && (movement.question.kind != Kind::Refund || self.takes_back(&movement));
        let reason = || "No.".to_owned();
        let what = match (movement.question.kind, well) {
            (Kind::Charge, true) => What::ChargeSucceeded { amount: movement.question.amount, fee: movement.fee() },
            (Kind::Charge, false) => What::ChargeFailed { reason: reason() },
            (Kind::Refund, true) => What::RefundSucceeded,
            (Kind::Refund, false) => What::RefundFailed { reason: reason() },
            (Kind::Payout, true) => What::PayoutPaid,
            (Kind::Payout, false) => What::PayoutFailed { reason: reason() },
        };
        self.change(operation, |movement| movement.state = if well { State::Done } else { State::Refused });
        self.say(operation, &what, false, now);
    }

    /// Takes back of a charge what a refund gives, if there is so much and nobody disputes it.
    fn takes_back(&mut self, refund: &Movement) -> bool {
        let charge = self.named(refund.question.charge.as_deref()).expect("a refund of a charge that there is");
        let there = charge.minor() - charge.refunded;
        assert!(refund.minor() <= there, "more is to go back than has come in: {refund:?} of {charge:?}");
        if charge.dispute.is_some() {
            return false;
        }
        charge.refunded += refund.minor();
        true
    }

    /// What was sent out, or back, comes back.
    pub(in crate::laws) fn send_back(&mut self, operation: Uuid, now: Timestamp) {
        let Movement { question, state, .. } = self.movements[&operation].clone();
        let reason = "It has come back.".to_owned();
        let what = match question.kind {
            Kind::Charge => return,
            Kind::Refund => What::RefundFailed { reason },
            Kind::Payout => What::PayoutFailed { reason },
        };
        if state != State::Done {
            return;
        }
        if let Some(charge) = self.named(question.charge.as_deref()) {
            charge.refunded -= question.amount.minor();
        }
        self.change(operation, |movement| movement.state = State::Returned);
        self.say(operation, &what, true, now);
    }

    /// The payer disputes a charge: what has not gone back is taken from us.
    pub(in crate::laws) fn dispute(&mut self, operation: Uuid, now: Timestamp) {
        let movement = self.movements[&operation].clone();
        let amount = movement.minor() - movement.refunded;
        let is_charged = (movement.state, movement.question.kind) == (State::Done, Kind::Charge);
        if !is_charged || movement.dispute.is_some() || amount == 0 {
            return;
        }
        let name = self.name("dp");
        let amount_taken = Money::new(amount, movement.question.amount.currency()).expect("a part of an amount");
        self.change(operation, |movement| {
            movement.dispute = Some(Dispute { name: name.clone(), amount, won: None });
        });
        // Whoever hears first of a dispute that there is a charge does not hear what it has cost.
        for said in &mut self.said {
            said.insists |=
                matches!(said.notice.what, What::ChargeSucceeded { .. }) && said.notice.reference == movement.name;
        }
        let reason = "fraudulent".to_owned();
        self.say(operation, &What::DisputeOpened { dispute: name, amount: amount_taken, reason }, true, now);
    }

    /// A dispute ends.
    pub(in crate::laws) fn decide(&mut self, operation: Uuid, won: bool, now: Timestamp) {
        let open = self.movements[&operation].dispute.clone().filter(|dispute| dispute.won.is_none());
        let Some(Dispute { name, .. }) = open else { return };
        self.change(operation, |movement| {
            movement.dispute.iter_mut().for_each(|dispute| dispute.won = Some(won));
        });
        let dispute = name;
        let what = if won { What::DisputeWon { dispute } } else { What::DisputeLost { dispute } };
        self.say(operation, &what, true, now);
    }

    /// What it holds for us by its own books, in cents.
    pub(in crate::laws) fn holds(&self) -> i64 {
        self.movements.values().map(Movement::brought).sum()
    }

    fn named(&mut self, name: Option<&str>) -> Option<&mut Movement> {
        self.movements.values_mut().find(|movement| Some(movement.name.as_str()) == name)
    }

    fn change(&mut self, operation: Uuid, change: impl FnOnce(&mut Movement)) {
        self.movements.entry(operation).and_modify(change);
    }

    /// Some things it says twice, in messages of different names; and it does not always tell which operation of ours it
    /// is about, but of what it has sent out.
    fn say(&mut self, operation: Uuid, what: &What, insists: bool, at: Timestamp) {
        let reference = self.movements[&operation].name.clone();
        let tells = self.movements[&operation].question.kind == Kind::Payout;
        for _ in 0..=self.said.len() % 3 / 2 {
            let id = self.name("evt");
            let operation = (tells || self.said.len().is_multiple_of(2)).then_some(operation);
            let notice = Notice { id, at, operation, reference: reference.clone(), what: what.clone() };
            self.said.push(Said { notice, insists });
        }
    }

    fn name(&mut self, prefix: &str) -> String {
        self.named += 1;
        format!("{prefix}_{}", self.named)
    }
}
