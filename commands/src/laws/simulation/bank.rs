//! The payment provider of [`super::super::money`], as the payments process asks it.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use domain::Timestamp;
use tokio::time::sleep;
use uuid::Uuid;

use super::super::money::BANK;
use super::super::money::provider::{Fate, Kind, Line, Provider, Question};
use super::chaos::{Chaos, said};
use super::mixed;
use crate::payments::provider::{
    Asked, BadWebhook, Charge, Headers, Link, MerchantStatus, Notice, Onboarding, Outcome, PaymentProvider, Payout,
    ProviderUnreachable, Record, Refund,
};

/// How long it thinks.
const THINKS_FOR: Duration = Duration::from_millis(20);

/// The provider, and the line to it.
#[derive(Debug)]
pub(super) struct Bank {
    books: Mutex<Provider>,
    /// How the next questions fare.
    lines: Mutex<VecDeque<Line>>,
    chaos: Arc<Chaos>,
}

impl Bank {
    /// One that was never asked anything.
    pub(super) fn new(chaos: &Arc<Chaos>) -> Arc<Self> {
        Arc::new(Self { books: Mutex::default(), lines: Mutex::default(), chaos: chaos.clone() })
    }

    /// What it has done and said.
    pub(super) fn books(&self) -> MutexGuard<'_, Provider> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lines(&self) -> MutexGuard<'_, VecDeque<Line>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next question fares like this.
    pub(super) fn arm(&self, line: Line) {
        self.lines().push_back(line);
    }

    /// Every question is heard and answered from now on.
    pub(super) fn mend(&self) {
        self.lines().clear();
    }

    async fn ask(&self, question: Question, now: Timestamp) -> Result<Outcome, ProviderUnreachable> {
        sleep(THINKS_FOR).await;
        let line = self.lines().pop_front().unwrap_or(Line::Clear);
        let asking = AssertUnwindSafe(|| self.books().ask(&question, fate(question.operation), line, now));
        catch_unwind(asking).unwrap_or_else(|panic| {
            self.chaos.fail(said(panic.as_ref()));
            Err(ProviderUnreachable("it has found a mistake".to_owned()))
        })
    }
}

/// What becomes of an operation, which its id decides.
fn fate(operation: Uuid) -> Fate {
    let (high, low) = operation.as_u64_pair();
    match mixed(high, low) % 9 {
        0 => Fate::Refused,
        1 | 2 => Fate::Asks,
        3 | 4 => Fate::Waits,
        _ => Fate::Done,
    }
}

fn unreachable<T>() -> Result<T, ProviderUnreachable> {
    Err(ProviderUnreachable("nobody asks that here".to_owned()))
}

impl PaymentProvider for Bank {
    fn name(&self) -> &'static str {
        BANK
    }

    fn knows(&self, _: &str) -> bool {
        true
    }

    fn charge<'a>(&'a self, charge: &'a Charge) -> Asked<'a, Outcome> {
        let Charge { operation, amount, now, .. } = *charge;
        Box::pin(self.ask(Question { kind: Kind::Charge, operation, amount, charge: None }, now))
    }

    fn refund<'a>(&'a self, refund: &'a Refund) -> Asked<'a, Outcome> {
        let Refund { operation, amount, now, .. } = *refund;
        let charge = Some(refund.charge.clone());
        Box::pin(self.ask(Question { kind: Kind::Refund, operation, amount, charge }, now))
    }

    fn payout<'a>(&'a self, payout: &'a Payout) -> Asked<'a, Outcome> {
        let Payout { operation, amount, now, .. } = *payout;
        Box::pin(self.ask(Question { kind: Kind::Payout, operation, amount, charge: None }, now))
    }

    fn onboard<'a>(&'a self, _: &'a Onboarding) -> Asked<'a, Link> {
        Box::pin(async { unreachable() })
    }

    fn merchant<'a>(&'a self, _: &'a str) -> Asked<'a, MerchantStatus> {
        Box::pin(async { unreachable() })
    }

    fn read_webhook(&self, _: &Headers, _: &[u8], _: Timestamp) -> Result<Vec<Notice>, BadWebhook> {
        Err(BadWebhook::NotTaken)
    }

    fn records(&self, _: Timestamp, _: Timestamp) -> Asked<'_, Vec<Record>> {
        Box::pin(async { unreachable() })
    }
}
