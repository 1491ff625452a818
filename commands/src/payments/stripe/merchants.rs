//! Sellers who are paid out by Stripe: Connect accounts, and the pages on which Stripe asks them who they are.

use std::collections::BTreeSet;

use domain::merchant::MOST_DUE;

use super::super::provider::{Link, MerchantStatus, Onboarding, ProviderUnreachable};
use super::shapes::{self, Account, AccountLink, Id};
use super::wire::{Ask, Trouble};
use super::{Stripe, key, no_such, shown};

impl Stripe {
    pub(super) async fn onboard_now(&self, onboarding: &Onboarding) -> Result<Link, ProviderUnreachable> {
        let reference = match &onboarding.reference {
            Some(reference) => reference.clone(),
            None => self.new_merchant(onboarding).await?,
        };
        if !shapes::is_id(&reference, "acct_") {
            return Err(no_such("merchant"));
        }
        // Without a key: a page opens once, so each question wants one of its own.
        let ask = Ask::post("/v1/account_links")
            .field("account", reference.as_str())
            .field("type", "account_onboarding")
            .field("return_url", format!("{}/selling/payouts?onboarding=left", self.site))
            .field("refresh_url", format!("{}/selling/payouts?onboarding=again", self.site));
        let AccountLink { url, expires_at } = self.ask(ask).await?;
        let expires_at =
            shapes::time(expires_at).ok_or_else(|| ProviderUnreachable("the page has no end".to_owned()))?;
        Ok(Link { reference, url, expires_at })
    }

    /// As Stripe's "Express" accounts are: Stripe asks the seller, and shows the money; the marketplace pays the fees and
    /// stands for what is owed. Nothing is paid out by itself.
    async fn new_merchant(&self, onboarding: &Onboarding) -> Result<String, ProviderUnreachable> {
        let ask = Ask::post("/v1/accounts")
            .key(key(&onboarding.operation, "account", 0))
            .field("controller[stripe_dashboard][type]", "express")
            .field("controller[fees][payer]", "application")
            .field("controller[losses][payments]", "application")
            .field("capabilities[transfers][requested]", "true")
            .field("settings[payouts][schedule][interval]", "manual")
            .field(format!("metadata[{}]", shapes::OPERATION), onboarding.operation.to_string());
        let made: Id = self.ask(ask).await?;
        Ok(made.id)
    }

    pub(super) async fn look_at_merchant(&self, reference: &str) -> Result<MerchantStatus, ProviderUnreachable> {
        if !shapes::is_id(reference, "acct_") {
            return Err(no_such("merchant"));
        }
        let account: Account = match self.ask(Ask::get(format!("/v1/accounts/{reference}"))).await {
            Ok(account) => account,
            // It is not ours any more.
            Err(Trouble::Refused(_)) => return Ok(MerchantStatus { payouts: false, due: Vec::new() }),
            Err(trouble @ (Trouble::Declined(_) | Trouble::NotCovered { .. } | Trouble::Unknown { .. })) => {
                return Err(trouble.into());
            }
        };
        let payouts = account.is_paid_out();
        let due = account.requirements.into_iter().flat_map(|wanted| [wanted.past_due, wanted.currently_due]);
        let due: BTreeSet<String> = due.flatten().flatten().map(|field| shown(&field)).collect();
        Ok(MerchantStatus { payouts, due: due.into_iter().take(MOST_DUE).collect() })
    }
}
