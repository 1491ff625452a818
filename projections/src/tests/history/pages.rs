//! Content pages in random histories.

use domain::PageId;
use domain::page::{Command, Content};
use rand::Rng;

use super::History;

impl History {
    /// One more version of a page, if it says something else.
    pub(super) fn publish_page(&mut self) {
        let slug = if self.random.random_bool(0.5) { "terms" } else { "help" };
        let (title, body) = (format!("On {}", self.text()), self.text().to_owned());
        let content = Content { slug: slug.to_owned(), title, body };
        let (event_id, by) = (self.id(), self.anybody());
        self.pages.execute(&mut self.unit, self.now, event_id, PageId::of(slug), Command::Publish { content, by });
        self.commit();
    }
}
