//! What makes the story's marketplace look like one: stores that staff vouch for, discounts, pages.

use super::story::{Act, DAY, HOUR, SPAN, Teller};

/// Shops that staff vouch for, the printed seller's first.
const VERIFIED: [usize; 4] = [0, 1, 4, 6];
/// How many listings cost less for a while, and by how many basis points.
const REDUCED: usize = 12;
const REDUCTIONS: [u32; 4] = [1_000, 1_500, 2_000, 3_000];
/// When staff have time for pages and stores: before anything is offered.
const DESK_HOUR: i64 = 9 * HOUR;

/// A page of content.
pub(super) struct DemoPage {
    pub(super) slug: &'static str,
    pub(super) title: &'static str,
    /// In Markdown.
    pub(super) body: &'static str,
}

/// The pages.
pub(super) const PAGES: [DemoPage; 3] = [
    DemoPage {
        slug: "about",
        title: "About this marketplace",
        body: "# A sample marketplace\n\nEverybody here is made up, and so is what they sell. The **money** is play \
               money, the *clock* can be set forward, and every change can be looked up in the log.\n\n\
               - Auctions close by themselves, at the exact time.\n- Orders wait in escrow until their buyer has them.\n",
    },
    DemoPage {
        slug: "shipping",
        title: "Shipping and returns",
        body: "# Shipping\n\nSellers post what they have sold within 14 days, or the buyer gets the money back.\n\n\
               # Returns\n\nYou have 14 days from the delivery to look at what you have bought. Is something wrong? Open a \
               dispute, and we will look at it with you.\n",
    },
    DemoPage {
        slug: "terms",
        title: "Terms",
        body: "# Terms\n\n1. Describe what you sell as it is.\n2. Pay what you have won within 24 hours.\n3. Be kind.\n",
    },
];

impl Teller {
    /// Staff publish the pages and look at the papers of a few shops.
    pub(super) fn open_the_desk(&mut self) {
        for page in 0..PAGES.len() {
            self.tell(DESK_HOUR, Act::Publish { page });
        }
        for shop in VERIFIED {
            self.tell(DESK_HOUR, Act::Verify { shop });
        }
    }

    /// Some of what nobody has bought costs less at the end of the story, and for a week after it.
    pub(super) fn reduce_what_is_left(&mut self) {
        let mut left = std::mem::take(&mut self.offered);
        left.sort_unstable();
        let step = (left.len() / REDUCED).max(1);
        let some = left.into_iter().step_by(step).take(REDUCED);
        for ((lot, minute), bps) in some.zip(REDUCTIONS.into_iter().cycle()) {
            let minute = (SPAN - 2 * DAY).max(minute + HOUR);
            self.tell(minute, Act::Reduce { lot, bps });
        }
    }
}
