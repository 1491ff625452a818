//! Proof that the log is what it was: a Merkle tree over its events, whose heads are signed.
//!
//! [`leaf`] says what of an event is hashed, [`tree`] what is made of the hashes, and [`store`] where they are kept; the
//! [`notary`] writes them, and [`head`]s, which [`keys`] sign. [`receipt`] is what somebody takes home: their event, and
//! what shows that it is in the log; and [`audit`] compares all of it with the log, and names what is not as it was.
//!
//! What it shows, and what not: whoever can write to the database, as its owner too, can change no event that was hashed
//! without [`audit`] naming it, as long as they cannot sign; and who can sign as well, cannot hide it from anybody who
//! has kept a head or a receipt. What was changed in the moment before it was hashed, or never came into the log, it
//! does not show.

pub mod audit;
pub mod head;
pub mod keys;
pub mod leaf;
pub mod notary;
pub mod receipt;
pub mod store;
pub mod tree;

pub use head::TreeHead;
pub use leaf::{Hash, StoredEvent, StoredTime};
