//! What people say of each other in random histories: reviews, votes, feedback, reports and complaints.

use domain::account;
use domain::complaint::{self, Subject};
use domain::feedback::{self, Ratings};
use domain::order::{Placed, Stage};
use domain::rating::Rating;
use domain::report::{self, Outcome, Reason, Target};
use domain::review::{self, Bought, Content, Picture};
use domain::ruling::Ruling;
use domain::{AccountId, ChatId, ComplaintId, ImageId, MessageId, OrderId, ReviewId, Sealed, VoteId, reporter, vote};
use rand::Rng;
use rand::seq::IndexedRandom;
use uuid::Uuid;

use super::History;

impl History {
    /// Now and then somebody says something of somebody.
    pub(super) fn speak_of_each_other(&mut self) {
        std::mem::swap(&mut self.random, &mut self.random_of_reputation);
        if self.random.random_bool(0.2) {
            self.say_something();
            self.commit();
        }
        std::mem::swap(&mut self.random, &mut self.random_of_reputation);
    }

    fn say_something(&mut self) -> Option<()> {
        match self.random.random_range(0..20) {
            0..5 => self.review(),
            5..9 => self.go_on_with_review(),
            9..13 => self.vote(),
            13..15 => self.give_feedback(),
            15..18 => self.report_something(),
            _ => self.complain(),
        }
    }

    /// An order that has come, of two who are still there.
    fn any_order_that_came(&mut self) -> Option<(OrderId, Placed)> {
        let came = |placed: &Placed| matches!(placed.stage, Stage::Delivered | Stage::Completed);
        let orders = self.orders.0.iter().filter(|(_, (order, _))| order.placed().is_ok_and(came));
        let orders: Vec<Uuid> = orders.map(|(id, _)| *id).collect();
        let order = OrderId(*orders.choose(&mut self.random)?);
        let placed = self.orders.state(order).placed().ok()?.clone();
        let parties = [placed.terms.buyer, placed.terms.seller];
        parties.into_iter().all(|party| self.has_account(party)).then_some((order, placed))
    }

    /// Whoever is forgotten has no key to seal with, and says nothing.
    fn has_account(&self, account: AccountId) -> bool {
        self.accounts.state(account).registered().is_ok()
    }

    fn anybody_with_account(&mut self) -> Option<AccountId> {
        let account = self.anybody();
        self.has_account(account).then_some(account)
    }

    fn sealed_by(&mut self, of: AccountId) -> Sealed<String> {
        let text = self.text();
        self.people[&of.0].seal(text)
    }

    fn perhaps_sealed(&mut self, of: AccountId) -> Option<Sealed<String>> {
        let says = self.random.random_bool(0.7);
        says.then(|| self.sealed_by(of))
    }

    fn rating(&mut self) -> Rating {
        self.random.random_range(Rating::FEWEST..=Rating::MOST).try_into().unwrap()
    }

    fn ruling(&mut self) -> Option<Ruling> {
        let by = self.anybody_with_account()?;
        let reason = self.sealed_by(by);
        Some(Ruling { by, reason })
    }

    fn content(&mut self, author: AccountId) -> Content {
        let pictures = self.random.random_range(0..3);
        let image = |history: &mut Self| ImageId(history.id());
        let picture = |image: ImageId| Picture { image, file: format!("{}.jpg", image.0.simple()) };
        let images = (0..pictures).map(|_| picture(image(self))).collect();
        let (rating, title, text) = (self.rating(), self.perhaps_sealed(author), self.perhaps_sealed(author));
        Content { rating, title, text, images }
    }

    fn review(&mut self) -> Option<()> {
        let (order, placed) = self.any_order_that_came()?;
        let line = placed.terms.lines.choose(&mut self.random)?.clone();
        let (author, seller) = (placed.terms.buyer, placed.terms.seller);
        let bought = Bought { order, listing: line.listing, sku: line.sku, seller };
        let (review, content) = (bought.review(), self.content(author));
        self.tell_review(review, review::Command::Write { bought, author, content })
    }

    fn any_review(&mut self) -> Option<(ReviewId, review::Written)> {
        let reviews: Vec<Uuid> = self.reviews.0.keys().copied().collect();
        let review = ReviewId(*reviews.choose(&mut self.random)?);
        Some((review, self.reviews.state(review).written().ok()?.clone()))
    }

    fn go_on_with_review(&mut self) -> Option<()> {
        let (review, written) = self.any_review()?;
        let (author, seller) = (written.author, written.bought.seller);
        let command = match self.random.random_range(0..10) {
            0..3 if self.has_account(author) => review::Command::Revise { by: author, content: self.content(author) },
            3..5 if self.has_account(seller) => review::Command::Reply { by: seller, text: self.sealed_by(seller) },
            5 if self.has_account(author) => review::Command::Delete { by: author },
            6..8 => review::Command::Hide { ruling: self.ruling()? },
            _ => review::Command::Restore { ruling: self.ruling()? },
        };
        self.tell_review(review, command)
    }

    fn tell_review(&mut self, review: ReviewId, command: review::Command) -> Option<()> {
        let event_id = self.id();
        self.reviews.execute(&mut self.unit, self.now, event_id, review, command).map(drop)
    }

    fn vote(&mut self) -> Option<()> {
        let ((review, _), voter, event_id) = (self.any_review()?, self.anybody_with_account()?, self.id());
        let helpful = self.random.random_bool(0.3).then_some(true);
        let turn = vote::Command::Turn { voter, review, helpful };
        self.votes.execute(&mut self.unit, self.now, event_id, VoteId::of(voter, review), turn).map(drop)
    }

    fn give_feedback(&mut self) -> Option<()> {
        let (order, placed) = self.any_order_that_came()?;
        let (buyer, seller, event_id) = (placed.terms.buyer, placed.terms.seller, self.id());
        let [communication, shipping, accuracy, platform] = std::array::from_fn(|_| self.rating());
        let ratings = Ratings { communication, shipping, accuracy, platform };
        let (comment, platform_comment) = (self.perhaps_sealed(buyer), self.perhaps_sealed(buyer));
        let give = feedback::Command::Give { buyer, seller, ratings, comment, platform_comment };
        self.feedback.execute(&mut self.unit, self.now, event_id, order, give).map(drop)
    }

    fn report_something(&mut self) -> Option<()> {
        let known: Vec<Uuid> = self.reports.0.keys().copied().collect();
        if let Some(report) = known.choose(&mut self.random).copied()
            && self.random.random_bool(0.5)
        {
            let (event_id, ruling) = (self.id(), self.ruling()?);
            let outcomes = [
                Outcome::Dismissed,
                Outcome::ListingRemoved,
                Outcome::ReviewHidden,
                Outcome::AccountWarned,
                Outcome::AccountBlocked,
            ];
            let outcome = *outcomes.choose(&mut self.random)?;
            let by = ruling.by;
            let resolve = report::Command::Resolve { ruling, outcome };
            if outcome == Outcome::AccountWarned {
                let (about, event_id) = (self.reports.state(domain::ReportId(report)).filed().ok()?.about, self.id());
                let warn = account::Command::Warn { by };
                self.accounts.execute(&mut self.unit, self.now, event_id, about, warn)?;
            }
            return self
                .reports
                .execute(&mut self.unit, self.now, event_id, domain::ReportId(report), resolve)
                .map(drop);
        }
        let (reporter, event_id) = (self.anybody_with_account()?, self.id());
        let (target, about) = self.any_target()?;
        let reason = *[Reason::Fraud, Reason::Abuse, Reason::Other].choose(&mut self.random)?;
        let text = self.perhaps_sealed(reporter);
        let file = report::Command::File { reporter, target, about, reason, text };
        let report = target.report_by(reporter);
        self.reports.execute(&mut self.unit, self.now, event_id, report, file)?;
        let (event_id, today) = (self.id(), self.now.date_naive());
        let count = reporter::Command::Count { today, most: 100 };
        self.reporters.execute(&mut self.unit, self.now, event_id, reporter, count).map(drop)
    }

    /// Something that may be reported, and whose it is.
    fn any_target(&mut self) -> Option<(Target, AccountId)> {
        match self.random.random_range(0..4) {
            0 => {
                let listing = self.any_listing()?;
                Some((Target::Listing(listing), self.listings.state(listing).offer().ok()?.seller))
            }
            1 => {
                let (review, written) = self.any_review()?;
                Some((Target::Review(review), written.author))
            }
            2 => Some((Target::Message { chat: ChatId(self.id()), message: MessageId(self.id()) }, self.anybody())),
            _ => {
                let somebody = self.anybody();
                Some((Target::User(somebody), somebody))
            }
        }
    }

    fn complain(&mut self) -> Option<()> {
        let known: Vec<Uuid> = self.complaints.0.keys().copied().collect();
        let event_id = self.id();
        let (complaint, command) = match known.choose(&mut self.random).copied() {
            Some(complaint) if self.random.random_bool(0.5) => {
                let outcomes = [complaint::Outcome::Dismissed, complaint::Outcome::Settled];
                let (ruling, outcome) = (self.ruling()?, *outcomes.choose(&mut self.random)?);
                (ComplaintId(complaint), complaint::Command::Resolve { ruling, outcome })
            }
            _ => {
                let (order, placed) = self.any_order_that_came()?;
                let (complainant, against) = if self.random.random_bool(0.7) {
                    (placed.terms.buyer, placed.terms.seller)
                } else {
                    (placed.terms.seller, placed.terms.buyer)
                };
                let subject = *[Subject::Damaged, Subject::Payment, Subject::Other].choose(&mut self.random)?;
                let text = self.sealed_by(complainant);
                let file = complaint::Command::File { order, complainant, against, subject, text };
                (ComplaintId::of(order, complainant), file)
            }
        };
        self.complaints.execute(&mut self.unit, self.now, event_id, complaint, command).map(drop)
    }
}
