//! How much may be in memory of what is being uploaded, and how much of it may be one account's.
//!
//! An upload counts what has come of it, as it comes: one that takes its time holds hardly anything. Where there is no
//! room for more, it is turned away, since all would wait for each other. An account has two uploads under way at a time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use domain::AccountId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What may be in memory of all uploads, in bytes: eight of the largest.
const MOST_BYTES: usize = 208 * 1024 * 1024;
/// How many uploads of one account may be under way.
const MOST_OF_ACCOUNT: usize = 2;

/// The room for what is being uploaded to this node.
#[derive(Clone, Debug)]
pub struct Room {
    bytes: Arc<Semaphore>,
    /// How many each account has under way that has any.
    under_way: Arc<Mutex<HashMap<AccountId, usize>>>,
}

/// Why an upload has no room.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Full {
    /// The account has as many under way as it may have.
    OfAccount,
    /// All uploads together take what there is.
    OfAll,
}

impl Default for Room {
    fn default() -> Self {
        Self::of(MOST_BYTES)
    }
}

impl Room {
    fn of(bytes: usize) -> Self {
        Self { bytes: Arc::new(Semaphore::new(bytes)), under_way: Arc::default() }
    }

    /// A place for an upload of an account, before anything of it has come.
    pub fn enter(&self, account: AccountId) -> Result<Place, Full> {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        let count = under_way.entry(account).or_default();
        if *count == MOST_OF_ACCOUNT {
            return Err(Full::OfAccount);
        }
        *count += 1;
        Ok(Place { room: self.clone(), account, held: None })
    }
}

/// The place of an upload, until it is dropped.
#[derive(Debug)]
pub struct Place {
    room: Room,
    account: AccountId,
    held: Option<OwnedSemaphorePermit>,
}

impl Place {
    /// Counts what has come.
    pub fn take(&mut self, bytes: usize) -> Result<(), Full> {
        let Ok(bytes) = u32::try_from(bytes) else { return Err(Full::OfAll) };
        let more = self.room.bytes.clone().try_acquire_many_owned(bytes).map_err(|_| Full::OfAll)?;
        match &mut self.held {
            Some(held) => held.merge(more),
            None => self.held = Some(more),
        }
        Ok(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut under_way = self.room.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        match under_way.get_mut(&self.account) {
            Some(left) if *left > 1 => *left -= 1,
            _ => drop(under_way.remove(&self.account)),
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const ANN: AccountId = AccountId(Uuid::from_u128(1));
    const BOB: AccountId = AccountId(Uuid::from_u128(2));

    #[test]
    fn an_account_has_two_under_way_and_others_have_theirs() {
        let room = Room::default();
        let (one, _other) = (room.enter(ANN).unwrap(), room.enter(ANN).unwrap());
        assert_eq!(room.enter(ANN).unwrap_err(), Full::OfAccount);
        room.enter(BOB).unwrap();
        drop(one);
        let _third = room.enter(ANN).unwrap();
        assert_eq!(room.enter(ANN).unwrap_err(), Full::OfAccount);
        assert_eq!(room.under_way.lock().unwrap().len(), 1, "nobody is remembered who has none");
    }

    #[test]
    fn what_has_come_of_all_is_bounded_and_what_has_not_come_takes_nothing() {
        let room = Room::of(100);
        let mut slow: Vec<Place> =
            (0..50).map(|number| room.enter(AccountId(Uuid::from_u128(number))).unwrap()).collect();
        for place in &mut slow {
            place.take(1).unwrap();
        }
        let mut large = room.enter(BOB).unwrap();
        large.take(30).unwrap();
        large.take(20).unwrap();
        assert_eq!(large.take(1), Err(Full::OfAll));
        assert_eq!(slow[0].take(1), Err(Full::OfAll));
        drop(large);
        slow[0].take(50).unwrap();
    }
}
