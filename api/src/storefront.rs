//! What a store says of itself: what is required of it, however it is opened, and how it is kept.

#![expect(clippy::trivially_copy_pass_by_ref, reason = "the signature of a check is garde's")]

use domain::Sealed;
use domain::claim::Kind;
use domain::store::{About, PaymentPreference};
use eventstore::sealing::PersonKey;
use eventstore::secrets::RootSecret;
use garde::Validate;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::http::fields::check;

use crate::media::names;

/// What a store says of itself.
#[derive(Clone, Debug, Deserialize, ToSchema, Validate)]
#[serde(deny_unknown_fields)]
#[garde(allow_unvalidated)]
pub struct Storefront {
    /// Its name in addresses: 3 to 64 of a-z, 0-9 and `-`, which is neither first nor last. No two stores have the same.
    #[garde(custom(is_store_slug))]
    #[schema(example = "corner-and-co", pattern = "^[a-z0-9][a-z0-9-]{1,62}[a-z0-9]$")]
    pub slug: String,
    /// Its name for people.
    #[garde(custom(is_brand_name))]
    #[schema(
        example = "Corner & Co.",
        min_length = 1,
        max_length = 100,
        pattern = "^[^\\u0000]*[^\\s\\u0000\\u0085][^\\u0000]*$"
    )]
    pub brand_name: String,
    /// A few words about it.
    #[garde(length(chars, max = 2000))]
    #[schema(max_length = 2000)]
    pub biography: Option<String>,
    /// The path of a picture that was uploaded here.
    #[garde(inner(custom(is_media)))]
    #[schema(
        example = "/media/9f3c1d5e7a2b4c6d8e0f1a2b3c4d5e6f-thumb.jpg",
        pattern = "^/media/[0-9a-f]{32}(-thumb)?[.](jpg|png)$"
    )]
    pub logo: Option<String>,
    /// Where the business is; shown to staff alone, who verify it.
    #[garde(length(chars, max = 500))]
    #[schema(example = "12 Mall Road, Lahore", max_length = 500)]
    pub business_address: Option<String>,
    /// A link.
    #[garde(inner(custom(is_link)))]
    #[schema(example = "https://wa.me/923001234567", pattern = "^https://[!-~]{1,200}$")]
    pub whatsapp: Option<String>,
    /// A link.
    #[garde(inner(custom(is_link)))]
    #[schema(example = "https://instagram.com/corner", pattern = "^https://[!-~]{1,200}$")]
    pub instagram: Option<String>,
    /// A link.
    #[garde(inner(custom(is_link)))]
    #[schema(example = "https://facebook.com/corner", pattern = "^https://[!-~]{1,200}$")]
    pub facebook: Option<String>,
    /// How it wants to be paid by buyers without an account.
    #[serde(default)]
    pub payment_preference: PaymentPreferenceBody,
}

/// How a store wants to be paid by buyers without an account.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PaymentPreferenceBody {
    /// As the buyer likes.
    #[default]
    Any,
    /// By card, before anything is sent.
    Card,
    /// In cash, on delivery.
    CashOnDelivery,
}

impl From<PaymentPreferenceBody> for PaymentPreference {
    fn from(body: PaymentPreferenceBody) -> Self {
        match body {
            PaymentPreferenceBody::Any => Self::Any,
            PaymentPreferenceBody::Card => Self::Card,
            PaymentPreferenceBody::CashOnDelivery => Self::CashOnDelivery,
        }
    }
}

fn is_store_slug(slug: &str, (): &()) -> garde::Result {
    let letters = slug.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    let ends = slug.starts_with('-') || slug.ends_with('-');
    check(letters && !ends && (3..=64).contains(&slug.len()), "must be 3 to 64 of a-z, 0-9 and, within, `-`")
}

fn is_brand_name(name: &str, (): &()) -> garde::Result {
    let fits = !name.trim().is_empty() && name.chars().count() <= 100;
    check(fits, "must be 1 to 100 characters, not all of them spaces")
}

fn is_media(path: &str, (): &()) -> garde::Result {
    check(names::is_path(path), "must be the path of a picture that was uploaded: /media/<name>")
}

fn is_link(link: &str, (): &()) -> garde::Result {
    let rest = link.strip_prefix("https://").unwrap_or_default();
    let fits = (1..=200).contains(&rest.len()) && rest.bytes().all(|byte| byte.is_ascii_graphic());
    check(fits, "must be an https:// link of at most 208 visible ASCII characters")
}

impl Storefront {
    /// The same, sealed with the key of its owner. What stays as it was `before` keeps its seal: so the decision, which
    /// reads nothing of it, sees what changes.
    pub fn sealed(&self, secret: &RootSecret, key: &PersonKey, before: Option<&About>) -> About {
        let seal = |text: &str, before: Option<&Sealed<String>>| {
            let same = before.filter(|sealed| key.open(sealed).as_deref() == Some(text));
            same.cloned().unwrap_or_else(|| key.seal(text))
        };
        let maybe = |text: &Option<String>, before: Option<&Option<Sealed<String>>>| {
            let text = text.as_ref().filter(|text| !text.is_empty());
            text.map(|text| seal(text, before.and_then(Option::as_ref)))
        };
        About {
            slug: seal(&self.slug, before.map(|about| &about.slug)),
            claim: secret.claim(Kind::StoreSlug, &self.slug),
            brand_name: seal(&self.brand_name, before.map(|about| &about.brand_name)),
            biography: maybe(&self.biography, before.map(|about| &about.biography)),
            logo: maybe(&self.logo, before.map(|about| &about.logo)),
            business_address: maybe(&self.business_address, before.map(|about| &about.business_address)),
            whatsapp: maybe(&self.whatsapp, before.map(|about| &about.whatsapp)),
            instagram: maybe(&self.instagram, before.map(|about| &about.instagram)),
            facebook: maybe(&self.facebook, before.map(|about| &about.facebook)),
            payment_preference: self.payment_preference.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use domain::AccountId;
    use eventstore::mint;

    use super::*;

    fn storefront() -> Storefront {
        Storefront {
            slug: "corner".to_owned(),
            brand_name: "Corner".to_owned(),
            biography: Some("A bit of everything.".to_owned()),
            logo: None,
            business_address: Some("12 Mall Road".to_owned()),
            whatsapp: None,
            instagram: None,
            facebook: None,
            payment_preference: PaymentPreferenceBody::Any,
        }
    }

    #[test]
    fn what_a_store_says_is_checked() {
        let slug = |slug: &str| Storefront { slug: slug.to_owned(), ..storefront() };
        let logo = |logo: &str| Storefront { logo: Some(logo.to_owned()), ..storefront() };
        let link = |link: &str| Storefront { facebook: Some(link.to_owned()), ..storefront() };
        let name = |name: &str| Storefront { brand_name: name.to_owned(), ..storefront() };
        let long = format!("https://{}", "a".repeat(201));
        let picture = "9f3c1d5e7a2b4c6d8e0f1a2b3c4d5e6f";
        for good in [
            slug("a-1"),
            slug(&"a".repeat(64)),
            logo(&format!("/media/{picture}.jpg")),
            logo(&format!("/media/{picture}-thumb.png")),
            link("https://a"),
            name("時計"),
        ] {
            good.validate().unwrap();
        }
        for bad in [slug("ab"), slug("-ab"), slug("ab-"), slug("Abc"), slug("a_c"), slug(&"a".repeat(65))] {
            bad.validate().unwrap_err();
        }
        for path in
            ["/media/", "/media/a", "/media/{}.webp", "media/{}.jpg", "/media/a/{}.jpg", "https://a/media/{}.jpg"]
        {
            logo(&path.replace("{}", picture)).validate().unwrap_err();
        }
        let documented = serde_json::to_value(<Storefront as utoipa::PartialSchema>::schema()).unwrap();
        assert_eq!(documented["properties"]["logo"]["pattern"], names::PATH_PATTERN);
        for bad in
            [link("http://a"), link("https://"), link("https://a b"), link("javascript:a"), link(&long), name("  ")]
        {
            bad.validate().unwrap_err();
        }
    }

    #[test]
    fn what_stays_as_it_is_keeps_its_seal() {
        let (secret, key) = (RootSecret::new(b"secret"), PersonKey::mint(AccountId(mint::id())));
        let before = storefront().sealed(&secret, &key, None);
        assert_eq!(storefront().sealed(&secret, &key, Some(&before)), before);
        let renamed = Storefront { brand_name: "Crossing".to_owned(), ..storefront() };
        let after = renamed.sealed(&secret, &key, Some(&before));
        assert_eq!(key.open(&after.brand_name).as_deref(), Some("Crossing"));
        assert_eq!(after, About { brand_name: after.brand_name.clone(), ..before.clone() });
        assert_ne!(storefront().sealed(&secret, &key, None), before, "a new seal is another");
    }
}
