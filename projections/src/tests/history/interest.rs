//! Views and favourites in random histories.

use domain::favorite::Command as Wish;
use domain::view::Command as Look;
use domain::{AccountId, FavoriteId, ListingId, ViewId};
use rand::Rng;
use uuid::Uuid;

use super::History;

impl History {
    /// Now and then somebody looks at a listing, or makes it a favourite, or no favourite.
    pub(super) fn look_around(&mut self) {
        std::mem::swap(&mut self.random, &mut self.random_of_interest);
        if self.random.random_bool(0.05) {
            self.look();
        }
        std::mem::swap(&mut self.random, &mut self.random_of_interest);
    }

    fn look(&mut self) {
        let Some(listing) = self.any_listing() else { return };
        let (account, event_id) = (self.anybody(), self.id());
        if self.random.random_bool(0.5) {
            // A few viewers, who come back.
            let viewer = Uuid::from_u128(u128::from(self.random.random_range(0..40_u8)));
            let id = ViewId(Uuid::new_v5(&viewer, listing.0.as_bytes()));
            self.views.execute(&mut self.unit, self.now, event_id, id, Look::Count { listing });
        } else if self.accounts.state(account).registered().is_ok() {
            // Who is no more wants nothing.
            let wanted = self.random.random_bool(0.7);
            self.wish(event_id, account, listing, wanted);
        }
        self.commit();
    }

    /// The account wants to find the listing again, or no more.
    pub(crate) fn wish(&mut self, event_id: Uuid, account: AccountId, listing: ListingId, wanted: bool) {
        let command = if wanted { Wish::Add { account, listing } } else { Wish::Remove { account, listing } };
        let id = FavoriteId::of(account, listing);
        self.favorites.execute(&mut self.unit, self.now, event_id, id, command);
    }
}
