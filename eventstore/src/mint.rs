//! Where fresh ids and secrets come from, so that the domain never draws one.

use rand::{RngCore, TryRngCore};
use uuid::Uuid;

/// A fresh id, ordered by the time of its making (UUID version 7).
#[expect(clippy::disallowed_methods, reason = "this is the one source that the ban points to")]
pub fn id() -> Uuid {
    #[cfg(any(test, feature = "testing"))]
    if let Some(id) = crate::testing::minted() {
        return id;
    }
    Uuid::now_v7()
}

/// Fresh random bytes from the operating system's generator.
pub fn secret<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    rand::rngs::OsRng.unwrap_err().fill_bytes(&mut bytes);
    bytes
}
