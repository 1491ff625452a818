//! The keys of people on their way to another database, apart from the log: each wrapped with a key that neither of the
//! two databases has.
//!
//! Only together with that key and with the log do they open anything. Whoever is forgotten after they were taken out is
//! still among them, so they are not to be kept longer than the backups of the database.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::AccountId;
use serde::{Deserialize, Serialize};
use sqlx::PgExecutor;
use uuid::Uuid;

use super::{KeyError, Wrapping};
use crate::sealing::PersonKey;

/// The wrapped key of somebody, as a file has it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Carried {
    /// Whose key it is.
    pub account_id: Uuid,
    /// The row of a wrapped key in Base64.
    pub key: String,
}

impl Carried {
    /// A key, wrapped with the current key of `carrier`; nothing if it has none.
    pub fn wrap(key: &PersonKey, carrier: &Wrapping) -> Option<Self> {
        carrier.current()?;
        Some(Self { account_id: key.account.0, key: STANDARD.encode(carrier.wrap(key).row()) })
    }

    /// The key, if `carrier` opens it. A key as it is, is not taken: nobody has vouched for whose it is.
    pub fn open(&self, carrier: &Wrapping) -> Result<PersonKey, KeyError> {
        let account = AccountId(self.account_id);
        let row = STANDARD.decode(&self.key).map_err(|_| KeyError::UnknownLayout(account))?;
        if row.len() == super::KEY_BYTES {
            return Err(KeyError::UnknownLayout(account));
        }
        carrier.open(account, &row)
    }
}

/// Up to `limit` of the keys of people after somebody's, opened, in the order of accounts.
pub async fn page(
    executor: impl PgExecutor<'_>,
    wrapping: &Wrapping,
    after: Option<AccountId>,
    limit: i64,
) -> Result<Vec<PersonKey>, KeyError> {
    let rows: Vec<(Uuid, Vec<u8>)> = sqlx::query_as(
        "select account_id, key from public.person_keys where $1::uuid is null or account_id > $1
         order by account_id limit $2",
    )
    .bind(after.map(|account| account.0))
    .bind(limit)
    .fetch_all(executor)
    .await?;
    rows.into_iter().map(|(account, row)| wrapping.open(AccountId(account), &row)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANN: AccountId = AccountId(Uuid::from_u128(1));

    #[test]
    fn a_key_is_carried_wrapped_and_opens_with_its_carrier_only() {
        let (carrier, other) = (Wrapping::new(Some("carrier"), &[]), Wrapping::new(Some("other"), &[]));
        let key = PersonKey::mint(ANN);
        let wrapped = Carried::wrap(&key, &carrier).unwrap();
        assert_eq!(wrapped.open(&carrier).unwrap().bytes(), key.bytes());
        assert!(matches!(wrapped.open(&other), Err(KeyError::NotGiven { .. })));
        let moved = Carried { account_id: Uuid::from_u128(2), ..wrapped };
        assert!(matches!(moved.open(&carrier), Err(KeyError::Altered(_))));
    }

    #[test]
    fn a_key_is_never_carried_as_it_is() {
        let key = PersonKey::mint(ANN);
        assert_eq!(Carried::wrap(&key, &Wrapping::default()), None);
        assert_eq!(Carried::wrap(&key, &Wrapping::new(None, &["former"])), None);
        let raw = Carried { account_id: ANN.0, key: STANDARD.encode(key.bytes()) };
        assert!(matches!(raw.open(&Wrapping::new(Some("carrier"), &[])), Err(KeyError::UnknownLayout(_))));
    }
}
