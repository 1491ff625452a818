//! Which pictures has somebody uploaded that are still there?

use std::collections::{BTreeMap, BTreeSet};

use domain::image::{Event, Format, Image, Stored};
use domain::{Aggregate, ImageId, Timestamp};
use eventstore::event::DomainEvent;
use eventstore::follower::{Batch, FollowError, Recorded};
use serde::Serialize;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{ReadModel, Text, rows};

/// The read model.
pub const MODEL: ReadModel = ReadModel {
    name: "images",
    next: "images_next",
    version: 1,
    about: &[Image::TYPE],
    ddl: include_str!("images.sql"),
    apply: |connection, batch| Box::pin(apply(connection, batch)),
};

/// A picture.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Row {
    id: Uuid,
    owner_id: Uuid,
    name: String,
    format: Text<Format>,
    width: u32,
    height: u32,
    bytes: u64,
    stored_at: Timestamp,
}

/// What a batch changes: nothing of a picture ever does, it comes and goes.
#[derive(Debug, Default)]
struct Images {
    come: BTreeMap<Uuid, Row>,
    gone: BTreeSet<Uuid>,
}

async fn apply(connection: &mut PgConnection, batch: &Batch) -> Result<(), FollowError> {
    let mut images = Images::default();
    for recorded in &batch.events {
        images.take(recorded);
    }
    images.store(connection).await
}

impl Images {
    fn take(&mut self, recorded: &Recorded) {
        let DomainEvent::Image(ImageId(id), event) = &recorded.event else { return };
        match event {
            Event::ImageStored { owner, stored } => {
                let Stored { name, format, width, height, bytes } = stored.clone();
                let (owner_id, format, stored_at) = (owner.0, Text(format), recorded.recorded_at);
                self.come.insert(*id, Row { id: *id, owner_id, name, format, width, height, bytes, stored_at });
            }
            Event::ImageRemoved { .. } => {
                self.come.remove(id);
                self.gone.insert(*id);
            }
        }
    }

    async fn store(self, connection: &mut PgConnection) -> Result<(), FollowError> {
        if !self.gone.is_empty() {
            let gone: Vec<Uuid> = self.gone.into_iter().collect();
            sqlx::query("delete from images where id = any($1)").bind(gone).execute(&mut *connection).await?;
        }
        let statement = "insert into images select * from json_populate_recordset(null::images, $1::json)";
        Ok(rows::write(connection, statement, self.come.into_values()).await?)
    }
}

#[cfg(test)]
mod tests {
    use domain::AccountId;
    use domain::image::RemovalCause;

    use super::*;
    use crate::tests::history::recorded;

    #[test]
    fn what_is_removed_is_not_there_any_more() {
        let image = |number: u128, event| DomainEvent::Image(ImageId(Uuid::from_u128(number)), event);
        let stored = || Stored { name: "0a".to_owned(), format: Format::Png, width: 1, height: 2, bytes: 3 };
        let came = || Event::ImageStored { owner: AccountId(Uuid::from_u128(9)), stored: stored() };
        let went = Event::ImageRemoved { stored: stored(), cause: RemovalCause::Detached };
        let mut images = Images::default();
        for (position, event) in (1..).zip([image(1, came()), image(2, came()), image(1, went)]) {
            images.take(&recorded(position, event));
        }
        assert_eq!(images.come.keys().copied().collect::<Vec<_>>(), [Uuid::from_u128(2)]);
        assert_eq!(images.gone, BTreeSet::from([Uuid::from_u128(1)]));
    }
}
