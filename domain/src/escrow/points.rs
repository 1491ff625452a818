//! What bonus points have to do with an escrow: what its buyer earns with it, and what comes back of those that have paid
//! for a part of it.
//!
//! Of what goes back points had paid as large a part as of the whole. As many whole points of that come back as points,
//! which makes the marketplace's expense good; the rest of it, less than a point, is money like what was paid with money,
//! and counts towards the next point that comes back. So whatever goes back in whatever parts, points and money together
//! are worth it, to the cent.

use super::{Error, Opened};
use crate::money::Money;
use crate::points;

impl Opened {
    /// How many bonus points its buyer has earned, with what was paid with money and the seller keeps.
    pub fn points_earned(&self) -> u64 {
        self.points_earned_after(self.refunded, self.refunded_from_points)
    }

    /// How many of them went with the last `amount` that went back, of which `from_points` had been paid with points.
    pub fn points_lost_with(&self, amount: Money, from_points: Option<Money>) -> u64 {
        let refunded = self.refunded.minus(amount).unwrap_or(self.refunded);
        self.points_earned_after(refunded, self.made_good_before(from_points)).saturating_sub(self.points_earned())
    }

    /// How many of those that have paid came back with the last `from_points` that was made good.
    pub fn points_back_with(&self, from_points: Option<Money>) -> u64 {
        let before = self.points_back(self.made_good_before(from_points));
        self.points_back(self.refunded_from_points).saturating_sub(before)
    }

    fn made_good_before(&self, from_points: Option<Money>) -> Money {
        let before = from_points.map(|part| self.refunded_from_points.minus(part));
        before.and_then(Result::ok).unwrap_or(self.refunded_from_points)
    }

    fn points_earned_after(&self, refunded: Money, made_good: Money) -> u64 {
        let paid_back = refunded.minus(made_good).unwrap_or(refunded);
        let kept = self.terms.due().minus(paid_back).unwrap_or(Money::zero(refunded.currency()));
        points::earned_with(kept, self.terms.points_per_unit)
    }

    /// How many points are back once so much was made good.
    fn points_back(&self, made_good: Money) -> u64 {
        let Some(redeemed) = self.terms.redeemed else { return 0 };
        (made_good.minor() / redeemed.each_minor()).unsigned_abs().min(redeemed.points)
    }

    /// What of a sum that has gone back points had paid: as large a part of it as of what was paid.
    fn paid_by_points_of(&self, refunded: Money) -> Money {
        let weights = [self.terms.points_part(), self.terms.due()].map(|part| part.minor().unsigned_abs());
        refunded.split(&weights).into_iter().next().unwrap_or(refunded)
    }

    /// What of the next `amount` that goes back comes back as points, if anything.
    pub(super) fn part_from_points(&self, amount: Money) -> Result<Option<Money>, Error> {
        let Some(redeemed) = self.terms.redeemed else { return Ok(None) };
        let (each, back) = (redeemed.each_minor(), self.refunded_from_points.minor());
        let due_back = self.paid_by_points_of(self.refunded.plus(amount)?).minor();
        // Parts of points were made good, and did not come back, when refunds were still divided so: those come back first.
        let points = (due_back / each).min(back.saturating_add(amount.minor()) / each);
        let part = Money::new(points.saturating_mul(each).saturating_sub(back), amount.currency())?;
        Ok(Some(part).filter(|part| part.is_positive()))
    }
}
