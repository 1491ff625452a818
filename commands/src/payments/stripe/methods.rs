//! Payment methods, and what makes them good for more than one payment.
//!
//! Stripe charges a payment method once, unless it belongs to one of its customers; then it wants to be told whose it is.
//! So what is kept gets a customer of its own, and its token names both: `cus_…:pm_…`. Customers are named to nobody, so
//! what somebody else has kept cannot be charged by whoever has seen the payment method in a browser.

use domain::AccountId;

use super::super::provider::{Keeping, ProviderUnreachable};
use super::shapes::{self, Id};
use super::wire::{Ask, Trouble};
use super::{Stripe, charges, key};

/// A payment method, and whose it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Method<'a> {
    pub(super) name: &'a str,
    pub(super) customer: Option<&'a str>,
}

/// The payment method that a token names.
pub(super) fn read(token: &str) -> Option<Method<'_>> {
    let (customer, name) = token.split_once(':').map_or((None, token), |(customer, name)| (Some(customer), name));
    let whose = customer.is_none_or(|customer| shapes::is_id(customer, "cus_"));
    (whose && shapes::is_id(name, "pm_")).then_some(Method { name, customer })
}

impl Stripe {
    pub(super) async fn keep_now(&self, owner: AccountId, token: &str) -> Result<Keeping, ProviderUnreachable> {
        let kept = |token: String| Ok(Keeping::Kept { token });
        // Merchants, and what is kept, are good for ever.
        let Some(Method { name, customer: None }) = read(token) else { return kept(token.to_owned()) };
        // Of somebody else's answers nothing is to be had by the same name.
        let of = format!("{owner}-{name}");
        let customer: Id = self.ask(Ask::post("/v1/customers").key(key(&of, "customer", 0))).await?;
        if !shapes::is_id(&customer.id, "cus_") {
            return Err(ProviderUnreachable("its customer has no name".to_owned()));
        }
        let attach = Ask::post(format!("/v1/payment_methods/{name}/attach"))
            .key(key(&of, "attach", 0))
            .field("customer", customer.id.as_str());
        match self.ask::<Id>(attach).await {
            Ok(_) => kept(format!("{}:{name}", customer.id)),
            Err(Trouble::Declined(error) | Trouble::Refused(error)) => {
                Ok(Keeping::Refused { reason: charges::reason(&error) })
            }
            Err(trouble @ (Trouble::NotCovered { .. } | Trouble::Unknown { .. })) => Err(trouble.into()),
        }
    }
}
