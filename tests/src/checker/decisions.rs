//! P0: every decision in the log and every refusal, decided again on the state that it claims to rest on, comes out the
//! same.

use std::collections::{BTreeMap, HashMap, HashSet};

use api::http::problem::Problem;
use domain::{AccountId, Refusal, Timestamp};
use eventstore::event::DomainEvent;
use serde_json::Value;

use super::causes::carry_out_causes;
use super::intents::{Minted, carry_out};
use super::replica::{Replica, Step};
use super::{Log, Logged};
use crate::history::{Command, History, Intent, Outcome};

pub(super) fn check(log: &Log, history: &History) -> Vec<String> {
    let commands: HashMap<(String, &str), &Command> =
        history.commands.iter().map(|command| ((command.author(), command.key.as_str()), command)).collect();
    let mut claims = claims_by_position(log, history);
    let mut replica = Replica::default();
    let mut broken = Vec::new();
    let mut units = log.units().peekable();
    let next_at = units.peek().and_then(|next| Some(next.first()?.event.recorded_at));
    for claim in claims.remove(&0).unwrap_or_default() {
        broken.extend(claim.check(&replica, Timestamp::default(), next_at));
    }
    while let Some(unit) = units.next() {
        let Some(last) = unit.last() else { continue };
        let events: Vec<DomainEvent> = match unit.iter().map(|logged| logged.event.decode()).collect() {
            Ok(events) => events,
            Err(error) => {
                broken.push(error.to_string());
                continue;
            }
        };
        let asked = last.command().and_then(|(actor, key)| commands.get(&(actor.to_owned(), key)));
        broken.extend(decide_again(&replica, unit, &events, asked.copied()));
        for event in &events {
            replica.take(event);
        }
        let next_at = units.peek().and_then(|next| Some(next.first()?.event.recorded_at));
        for claim in claims.remove(&last.event.position).unwrap_or_default() {
            broken.extend(claim.check(&replica, last.event.recorded_at, next_at));
        }
    }
    let nowhere = claims.into_iter().flat_map(|(position, claims)| claims.into_iter().map(move |c| (position, c)));
    broken.extend(nowhere.map(|(position, claim)| {
        let (key, said) = (&claim.command.key, if claim.refused { "refused" } else { "answered" });
        format!("{key} was {said} at {position}, where no unit of work ends")
    }));
    broken
}

/// Compares a unit of work with what its command leads to: the client's own words if there are any, else what the
/// events tell of it. What the client was told is looked at too.
fn decide_again(replica: &Replica, unit: &[Logged], events: &[DomainEvent], asked: Option<&Command>) -> Vec<String> {
    let Some(first) = unit.first() else { return Vec::new() };
    let (position, now) = (first.event.position, first.event.recorded_at);
    let (decided, wrong) = match asked {
        Some(command) => {
            let minted = Minted::in_events(events);
            match carry_out(replica, command.actor, &command.intent, &minted, now) {
                Ok(done) => (Ok(done.steps), wrong_answers(&done.answer, command)),
                Err(refusal) => (Err(refusal), Vec::new()),
            }
        }
        None => (carry_out_causes(replica, events, now), Vec::new()),
    };
    let logged = unit.iter().map(Logged::step).collect::<Option<Vec<Step>>>();
    let different = match (decided, logged) {
        (Ok(decided), Some(logged)) if decided == logged => None,
        (Ok(decided), logged) => {
            Some(format!("what is at {position} is not what was decided: {logged:?} instead of {decided:?}"))
        }
        (Err(refusal), _) => Some(format!("what is at {position} should have been refused: {refusal}")),
    };
    different.into_iter().chain(wrong).collect()
}

impl Logged {
    fn step(&self) -> Option<Step> {
        let aggregate_type = eventstore::event::known_type(&self.event.aggregate_type)?;
        Some(Step { aggregate_type, id: self.event.aggregate_id.0, payload: self.event.payload.clone() })
    }
}

/// Where a client was told something else than the rules have it.
fn wrong_answers(expected: &Value, command: &Command) -> Vec<String> {
    let told = command.attempts.iter().filter_map(|attempt| match &attempt.outcome {
        Outcome::Accepted { body, .. } => Some(body),
        _ => None,
    });
    told.flat_map(|body| {
        let fields = expected.as_object().into_iter().flatten();
        let wrong = fields.filter(|(name, value)| body[name.as_str()] != **value);
        wrong.map(|(name, value)| {
            format!("{} was told {name} = {} instead of {value}", command.key, body[name.as_str()])
        })
    })
    .collect()
}

/// What a client was told that left nothing in the log: a refusal, or that there was nothing to do.
struct Claim<'a> {
    command: &'a Command,
    /// The problem, or the answer.
    body: &'a Value,
    refused: bool,
    /// Until when it can have been decided.
    by: Timestamp,
}

fn claims_by_position<'a>(log: &Log, history: &'a History) -> BTreeMap<i64, Vec<Claim<'a>>> {
    let there: HashSet<(&str, &str)> = log.units().filter_map(|unit| unit.first()?.command()).collect();
    let mut claims = BTreeMap::<i64, Vec<Claim<'_>>>::new();
    for command in &history.commands {
        let actor = command.author();
        let idle = command.intent.may_change_nothing() && !there.contains(&(actor.as_str(), command.key.as_str()));
        for attempt in &command.attempts {
            let (position, body, refused) = match &attempt.outcome {
                Outcome::Refused { position, problem } => (*position, problem, true),
                Outcome::Accepted { position, body, .. } if idle => (*position, body, false),
                _ => continue,
            };
            claims.entry(position).or_default().push(Claim { command, body, refused, by: attempt.ended_at });
        }
    }
    claims
}

impl Claim<'_> {
    /// The claim's own time is not told. It lies between the last event that it has seen, and its answer and the event
    /// after that, and only a deadline can come in between, so the ends are tried.
    fn check(&self, replica: &Replica, last_at: Timestamp, next_at: Option<Timestamp>) -> Option<String> {
        let Command { actor, intent, key, .. } = self.command;
        let times = [Some(last_at), Some(self.by.max(last_at)), next_at];
        let decided = times.map(|now| now.map(|now| self.decide_again(replica, *actor, intent, now)));
        if decided.iter().flatten().any(Result::is_ok) {
            return None;
        }
        let said = if self.refused { "refused" } else { "answered" };
        Some(format!("{key} was {said} with {}, where the rules say {decided:?}", self.body))
    }

    /// Nothing if the rules say the same; otherwise what they say.
    fn decide_again(
        &self,
        replica: &Replica,
        actor: Option<AccountId>,
        intent: &Intent,
        now: Timestamp,
    ) -> Result<(), String> {
        match carry_out(replica, actor, intent, &Minted::unknown(), now) {
            Err(refusal) if self.refused => {
                let (expected, told) = (numbers(&document(refusal)), numbers(self.body));
                // Why it was, only the first answer has told.
                let is_known = told["type"] == "/problems/refused-before" || expected == told;
                if is_known { Ok(()) } else { Err(expected.to_string()) }
            }
            Ok(done) if !self.refused && done.steps.is_empty() => {
                wrong_answers(&done.answer, self.command).into_iter().next().map_or(Ok(()), Err)
            }
            other => Err(format!("{other:?}")),
        }
    }
}

fn document(refusal: Refusal) -> Value {
    Problem::from(refusal).document("")
}

/// What a problem says, without the request and the position that it belongs to.
fn numbers(problem: &Value) -> Value {
    let mut problem = problem.clone();
    if let Some(fields) = problem.as_object_mut() {
        fields.remove("instance");
        fields.remove("position");
    }
    problem
}
