//! The sales of the story: who buys what, and how far each sale has come when the story ends.

use super::people::{self, BUYER};
use super::story::{Act, DAY, GRID, HOUR, SPAN, Teller};

/// Sales out of carts; together they end in every state that there is.
const SALES: usize = 56;
/// Lots whose winners pay, out of four.
const PAYING_WINNERS: usize = 3;

/// What somebody does about an order.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    /// The buyer pays by card.
    Pay,
    Ship,
    Deliver,
    Confirm,
    Dispute(&'static str),
    /// Staff gives the buyer so many per cent of a dispute.
    Resolve(i64),
    /// The buyer calls it off.
    Cancel(&'static str),
    /// The seller gives all of it back.
    Refund,
    /// The seller gives a tenth of it back.
    RefundPart,
    /// The buyer says what it is like, with so many stars, and how it was to buy it.
    Review(u8, &'static str),
    /// A line of [`TALK`].
    Say(usize),
}

/// What is said about an order: whether the buyer says it, and what.
pub(super) const TALK: [(bool, &str); 3] = [
    (true, "Hello! Could you wrap it so that nobody sees what is in it? It is a present."),
    (false, "With pleasure. It goes out tomorrow morning, in plain paper."),
    (true, "That is very kind, thank you."),
];

impl Step {
    /// Names it, once per order.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Pay => "pay",
            Self::Ship => "ship",
            Self::Deliver => "deliver",
            Self::Confirm => "confirm",
            Self::Dispute(_) => "dispute",
            Self::Resolve(_) => "resolve",
            Self::Cancel(_) => "cancel",
            Self::Refund => "refund",
            Self::RefundPart => "refund part",
            Self::Review(..) => "review",
            Self::Say(0) => "ask",
            Self::Say(1) => "answer",
            Self::Say(_) => "thank",
        }
    }
}

/// How sales go on after they are placed. Those at the end of the story stop where it ends.
const COURSES: [&[Step]; 10] = [
    &[Step::Pay],
    &[Step::Pay, Step::Ship],
    &[Step::Pay, Step::Ship, Step::Deliver],
    &[
        Step::Pay,
        Step::Ship,
        Step::Deliver,
        Step::Confirm,
        Step::Review(5, "Just as described, and packed with care. I would buy here again."),
    ],
    &[Step::Pay, Step::Ship, Step::Deliver, Step::Dispute("The glass is scratched, which the pictures do not show.")],
    &[Step::Pay, Step::Ship, Step::Refund],
    &[Step::Pay, Step::Cancel("Found one closer to home, sorry.")],
    // Never paid: its pieces are free again after 15 minutes.
    &[],
    &[Step::Pay, Step::Ship, Step::Deliver, Step::Dispute("A part is missing."), Step::Resolve(40)],
    &[
        Step::Pay,
        Step::Ship,
        Step::RefundPart,
        Step::Deliver,
        Step::Confirm,
        Step::Review(4, "Came a little late, and the seller made up for it at once."),
    ],
];

impl Teller {
    pub(super) fn sell(&mut self) {
        let mut on_offer = std::mem::take(&mut self.offered);
        for number in 0..SALES {
            let Some(lot) = on_offer.pop() else { return };
            let mut lots = vec![lot];
            if number % 5 == 4 {
                // Something else in the same currency, of another seller as chance has it.
                let currency = self.lots[lot.0].currency;
                let fitting = on_offer.iter().position(|(other, _)| self.lots[*other].currency == currency);
                lots.extend(fitting.map(|place| on_offer.swap_remove(place)));
            }
            let offered = lots.iter().map(|(_, minute)| *minute).max().unwrap_or(0);
            // The printed buyer has a sale of each course; the others are anybody's.
            let buyer = if number < COURSES.len() {
                BUYER
            } else {
                let bidders = people::bidders();
                bidders.start + self.dice.index(bidders.len())
            };
            let course = COURSES[number % COURSES.len()];
            // Time for all that follows, if it is not offered too late for that.
            let latest = (SPAN - 2 * DAY).max(offered + 4 * GRID);
            let begin = self.dice.between(offered + 2 * GRID, latest);
            self.tell(begin, Act::Buy { number, buyer, lots: lots.into_iter().map(|(lot, _)| lot).collect() });
            if number < COURSES.len() {
                self.talk(number, begin);
            }
            let pause = (SPAN - GRID - begin) / 7;
            let mut minute = begin;
            for (place, step) in course.iter().enumerate() {
                // Whoever pays, pays within a quarter of an hour: at the same stop.
                minute += if place == 0 { 0 } else { self.dice.between(2 * GRID, (2 * HOUR).max(pause)) };
                if minute < SPAN - GRID {
                    self.tell(minute, Act::Order { number, step: *step });
                }
            }
        }
        // One that waits to be paid when the story ends.
        if let Some((lot, _)) = on_offer.pop() {
            self.tell_at(SPAN * 60 - 240, Act::Buy { number: SALES, buyer: BUYER, lots: vec![lot] });
        }
        self.offered = on_offer;
    }

    /// Buyer and seller of a cart write to each other, at stops of their own.
    fn talk(&mut self, number: usize, begin: i64) {
        let mut minute = begin;
        for line in 0..TALK.len() {
            minute += 2 * GRID;
            if minute < SPAN - GRID {
                self.tell(minute, Act::Order { number, step: Step::Say(line) });
            }
        }
    }

    /// Most of those who have won pay within a few hours; the others have a violation.
    pub(super) fn collect_from_winners(&mut self) {
        for (place, (lot, ends)) in std::mem::take(&mut self.ended).into_iter().enumerate() {
            let minute = ends + self.dice.between(2 * GRID, 9 * HOUR);
            if place % 4 < PAYING_WINNERS && minute < SPAN - GRID {
                self.tell(minute, Act::PayWon { lot });
            }
        }
    }
}
