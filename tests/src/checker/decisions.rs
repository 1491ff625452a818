//! P0: every decision in the log and every refusal, decided again on the state that it claims to rest on, comes out the
//! same.

use std::collections::{BTreeMap, HashMap};

use api::http::problem::Problem;
use domain::{AccountId, Refusal, Timestamp};
use eventstore::event::DomainEvent;
use serde_json::Value;
use uuid::Uuid;

use super::replica::{Replica, Step, operation_in, stream_of};
use super::{Log, Logged};
use crate::history::{Command, History, Intent, Outcome};

pub(super) fn check(log: &Log, history: &History) -> Vec<String> {
    let commands: HashMap<(String, &str), &Command> =
        history.commands.iter().map(|command| ((command.actor.to_string(), command.key.as_str()), command)).collect();
    let mut refusals = refusals_by_position(history);
    let mut replica = Replica::default();
    let mut broken = Vec::new();
    let begin = Timestamp::default();
    for refusal in refusals.remove(&0).unwrap_or_default() {
        broken.extend(refusal.check(&replica, begin));
    }
    for unit in log.units() {
        let Some(last) = unit.last() else { continue };
        let events: Vec<DomainEvent> = match unit.iter().map(|logged| logged.event.decode()).collect() {
            Ok(events) => events,
            Err(error) => {
                broken.push(error.to_string());
                continue;
            }
        };
        let asked = last.command().and_then(|(actor, key)| commands.get(&(actor.to_owned(), key)));
        broken.extend(decide_again(&replica, unit, &events, asked.map(|command| (command.actor, &command.intent))));
        for event in &events {
            replica.take(event);
        }
        if let Some(command) = asked {
            broken.extend(check_answer(&replica, last, operation_in(&events), command));
        }
        for refusal in refusals.remove(&last.event.position).unwrap_or_default() {
            broken.extend(refusal.check(&replica, last.event.recorded_at));
        }
    }
    let nowhere =
        refusals.into_iter().flat_map(|(position, refusals)| refusals.into_iter().map(move |r| (position, r)));
    broken.extend(nowhere.map(|(position, refusal)| {
        format!("{} was refused at {position}, where no unit of work ends", refusal.command.key)
    }));
    broken
}

/// Compares a unit of work with what its command leads to: the client's own words if there are any, else what the
/// events tell of it.
fn decide_again(
    replica: &Replica,
    unit: &[Logged],
    events: &[DomainEvent],
    asked: Option<(AccountId, &Intent)>,
) -> Option<String> {
    let first = unit.first()?;
    let (position, now) = (first.event.position, first.event.recorded_at);
    let decided = match asked {
        Some((actor, intent)) => replica.carry_out(actor, intent, operation_in(events), now),
        None => carry_out_causes(replica, events, now),
    };
    let logged = unit.iter().map(Logged::step).collect::<Option<Vec<Step>>>();
    match (decided, logged) {
        (Ok(decided), Some(logged)) if decided == logged => None,
        (Ok(decided), logged) => {
            Some(format!("what is at {position} is not what was decided: {logged:?} instead of {decided:?}"))
        }
        (Err(refusal), _) => Some(format!("what is at {position} should have been refused: {refusal}")),
    }
}

/// A unit of work may be several decisions, each on the state that the ones before have left.
fn carry_out_causes(replica: &Replica, events: &[DomainEvent], now: Timestamp) -> Result<Vec<Step>, Refusal> {
    let mut replica = replica.excerpt(events);
    let mut steps = Vec::new();
    while steps.len() < events.len() {
        let rest = &events[steps.len()..];
        let decided = replica.carry_out_cause_of(rest, now)?;
        if decided.is_empty() {
            break;
        }
        for event in rest.iter().take(decided.len()) {
            replica.take(event);
        }
        steps.extend(decided);
    }
    Ok(steps)
}

impl Logged {
    fn step(&self) -> Option<Step> {
        let aggregate_type = eventstore::event::known_type(&self.event.aggregate_type)?;
        Some(Step { aggregate_type, id: self.event.aggregate_id.0, payload: self.event.payload.clone() })
    }
}

/// Compares what a client was told with the state right after its command.
fn check_answer(replica: &Replica, last: &Logged, operation: Uuid, command: &Command) -> Vec<String> {
    let stream = stream_of(command.actor, &command.intent);
    let there = (last.event.aggregate_type.as_str(), last.event.aggregate_id.0);
    if stream != there {
        return vec![format!("{} asked for a change of {stream:?} and got one of {there:?}", command.key)];
    }
    let expected = replica.answer(command.actor, &command.intent, operation, last.event.sequence);
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

/// What a client was told when a rule refused.
struct Refused<'a> {
    command: &'a Command,
    problem: &'a Value,
    /// Until when it can have been decided.
    by: Timestamp,
}

fn refusals_by_position(history: &History) -> BTreeMap<i64, Vec<Refused<'_>>> {
    let mut refusals = BTreeMap::<i64, Vec<Refused<'_>>>::new();
    for command in &history.commands {
        for attempt in &command.attempts {
            if let Outcome::Refused { position, problem } = &attempt.outcome {
                let refused = Refused { command, problem, by: attempt.ended_at };
                refusals.entry(*position).or_default().push(refused);
            }
        }
    }
    refusals
}

impl Refused<'_> {
    /// A refusal's own time is not told. It lies between the last event that it has seen and its answer, and only the
    /// end of an auction can come in between, so the two ends are tried.
    fn check(&self, replica: &Replica, last_recorded_at: Timestamp) -> Option<String> {
        let Command { actor, intent, key, .. } = self.command;
        let decided = [last_recorded_at, self.by.max(last_recorded_at)].map(|now| {
            replica.carry_out(*actor, intent, Uuid::nil(), now).map_err(|refusal| numbers(&document(refusal)))
        });
        let told = numbers(self.problem);
        let explained = decided.iter().any(|decided| decided.as_ref().is_err_and(|refusal| *refusal == told));
        (!explained).then(|| format!("{key} was refused with {}, where the rules say {decided:?}", self.problem))
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
