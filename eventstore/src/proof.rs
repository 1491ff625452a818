//! Proof that the log is what it was: a Merkle tree over its events, whose heads are signed.
//!
//! [`leaf`] says what of an event is hashed, [`tree`] what is made of the hashes, and [`store`] where they are kept; the
//! [`notary`] writes them, and [`head`]s, which [`keys`] sign. [`receipt`] is what somebody takes home: their event, and
//! what shows that it is in the log; and [`audit`] compares all of it with the log, and names what is not as it was.
//!
//! What it shows, and what not: whoever can write to the database, as its owner too, can change no event without [`audit`]
//! naming it, as long as the heads that cover it are there. An owner who removes them, or all of the proof, has the rest
//! signed anew by the next notary that is started, if it is given no head that was kept outside: a notary that runs
//! refuses, and so does one that knows a head (`proof.anchor_file`). So what counts in the end are heads and receipts that
//! are kept where the owner has no say; from who has kept one, nothing is hidden, even by who can sign. What was changed
//! in the moment before it was hashed, or never came into the log, it does not show.

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
