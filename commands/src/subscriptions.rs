//! Use cases of subscriptions: buying one from the wallet, its renewal by a timer, its end. Whatever a period costs is
//! taken from the wallet in the commit in which the period begins.

use domain::account::Account;
use domain::plan::Terms;
use domain::subscription::{Charge, Command, EndCause, Event, Outlook, Subscription};
use domain::wallet::{self, Wallet};
use domain::{AccountId, Currency, SubscriptionId, WalletId};

use crate::engine::{Halt, World};
use crate::plans::{self, PlanRules};
use crate::{accounts, wallets};

/// A plan that somebody wants.
#[derive(Clone, Debug)]
pub struct Order {
    /// Who.
    pub owner: AccountId,
    /// The slug of the plan.
    pub plan: String,
    /// In which currency to pay.
    pub currency: Currency,
    /// The id minted for the subscription, if it is a new one.
    pub subscription: SubscriptionId,
}

/// Subscribes to a plan, goes over to another, keeps the one that was cancelled, or pays the one that is due. Answers with
/// what has happened. Who is blocked buys nothing.
pub fn purchase(world: &mut World<'_>, order: &Order, rules: PlanRules) -> Result<Vec<Event>, Halt> {
    let Order { owner, plan, currency, subscription } = order;
    accounts::get(world, *owner)?.unblocked()?;
    let terms = plans::get(world, plan, rules)?.terms(*currency)?;
    let now = world.now();
    let purchase = Command::Purchase { owner: *owner, subscription: *subscription, terms, now };
    carry_out(world, *owner, purchase)
}

/// Does not renew a subscription; the one that there is unless told. What is paid goes on to its end.
pub fn cancel(
    world: &mut World<'_>,
    owner: AccountId,
    subscription: Option<SubscriptionId>,
) -> Result<Vec<Event>, Halt> {
    carry_out(world, owner, Command::Cancel { subscription })
}

/// Goes over from a period that has ended to the next, if it can be paid.
pub fn renew(world: &mut World<'_>, owner: AccountId) -> Result<(), Halt> {
    let running = world.get::<Subscription>(owner)?.running();
    let outlook = match running.and_then(|running| running.renews_under()).cloned() {
        Some(terms) => outlook(world, owner, &terms)?,
        // It ends whatever may come.
        None => Outlook::Unpayable,
    };
    let now = world.now();
    carry_out(world, owner, Command::Renew { outlook, now }).map(drop)
}

/// Tells whoever has a subscription that its period ends soon.
pub fn remind(world: &mut World<'_>, owner: AccountId) -> Result<(), Halt> {
    let now = world.now();
    world.execute::<Subscription>(owner, Command::Remind { now })?;
    Ok(())
}

/// Who may not trade, or is forgotten, is charged for nothing new; nor is anybody for what is not sold any more.
fn outlook(world: &mut World<'_>, owner: AccountId, terms: &Terms) -> Result<Outlook, Halt> {
    let may_trade = world.get::<Account>(owner)?.registered().is_ok_and(|account| account.unblocked().is_ok());
    if !may_trade {
        return Ok(Outlook::Barred(EndCause::AccountBarred));
    }
    if plans::is_retired(world, &terms.plan)? {
        return Ok(Outlook::Barred(EndCause::PlanRetired));
    }
    let available = wallets::available(world, owner, terms.price.currency())?;
    Ok(if available.minor() < terms.price.minor() { Outlook::Unpayable } else { Outlook::Payable })
}

/// Lets the wallet follow what the subscription has done.
fn carry_out(world: &mut World<'_>, owner: AccountId, command: Command) -> Result<Vec<Event>, Halt> {
    let events = world.execute::<Subscription>(owner, command)?;
    for Charge { subscription, period, amount } in events.iter().filter_map(Event::charge) {
        // A credit may pay for all of it.
        if amount.is_positive() {
            let wallet = WalletId::of(owner, amount.currency());
            world.execute::<Wallet>(wallet, wallet::Command::PaySubscription { subscription, period, amount })?;
        }
    }
    Ok(events)
}
