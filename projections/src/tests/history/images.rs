//! Uploaded pictures in random histories.

use domain::ImageId;
use domain::image::{Command, Format, RemovalCause, Stored};
use rand::Rng;
use rand::seq::IndexedRandom;
use uuid::Uuid;

use super::History;

impl History {
    /// One more picture, or one less.
    pub(super) fn upload_or_remove(&mut self) {
        let known: Vec<Uuid> = self.images.0.keys().copied().collect();
        let removes = self.random.random_bool(0.3);
        let (image, command) = match known.choose(&mut self.random) {
            Some(known) if removes => {
                let causes = [RemovalCause::Detached, RemovalCause::OwnerErased];
                (ImageId(*known), Command::Remove { cause: *causes.choose(&mut self.random).unwrap() })
            }
            _ => {
                let image = ImageId(self.id());
                let format = *[Format::Jpeg, Format::Png].choose(&mut self.random).unwrap();
                let stored = Stored { name: image.0.simple().to_string(), format, width: 640, height: 480, bytes: 9 };
                (image, Command::Store { owner: self.anybody(), stored })
            }
        };
        let event_id = self.id();
        self.images.execute(&mut self.unit, self.now, event_id, image, command);
        self.commit();
    }
}
