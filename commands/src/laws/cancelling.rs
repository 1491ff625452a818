//! What becomes of a checkout that points have paid for in part when something of it is called off.

use domain::order_group::OrderGroup;
use domain::points;

use super::*;
use crate::orders::CHECKOUT_PAID_WITHIN;

const BUYER: AccountId = BUYERS[0];
/// What the buyer has at first.
const POINTS: i64 = 500;
const MONEY: i64 = 20_000;

/// A checkout of two orders: 143 points have paid for all of one, and 261 for all but a few cents of the other.
struct Two {
    market: Market,
    group: OrderGroupId,
    free: OrderId,
    rest: OrderId,
}

impl Two {
    fn checked_out() -> Self {
        let mut market = Market::open();
        let earned = points::Command::Earn { order: OrderId(Uuid::nil()), currency: Currency::USD, points: 500 };
        market.submit(|world| world.execute::<Points>(BUYER, earned).map(drop)).unwrap();
        let [group, free, rest] = [market.mint(), market.mint(), market.mint()];
        let (group, orders) = (OrderGroupId(group), vec![OrderId(free), OrderId(rest)]);
        let line = |number| CartLine { listing: listing_id(number), sku: Sku::default(), quantity: 1 };
        let lines = vec![line(0), line(1)];
        let cart = Checkout { buyer: BUYER, lines, ship_to: None, points: 404, group, orders };
        market.submit(|world| orders::checkout(world, &cart, RULES).map(drop)).unwrap();
        let mut two = Self { market, group, free: OrderId(free), rest: OrderId(rest) };
        assert_eq!(two.outstanding(), [(two.free, usd(0)), (two.rest, usd(7))]);
        assert_eq!(two.purse(), (MONEY, POINTS - 404));
        two
    }

    fn outstanding(&mut self) -> Vec<(OrderId, Money)> {
        let (group, mut outstanding) = (self.group, Vec::new());
        let looked = self.market.submit(|world| {
            outstanding = orders::outstanding(world, group)?;
            Ok(())
        });
        looked.unwrap();
        outstanding
    }

    /// What the buyer has available, in cents, and how many points.
    fn purse(&mut self) -> (i64, i64) {
        let available = self.market.book(&LedgerAccount::Available(BUYER));
        (available, self.market.state::<Points>(BUYER).counts[&Currency::USD])
    }

    fn stage(&mut self, order: OrderId) -> Stage {
        self.market.state::<Order>(order).placed().unwrap().stage
    }

    fn cancel(&mut self, order: OrderId, by: AccountId) {
        let refund = RefundId(self.market.mint());
        self.market.submit(|world| orders::cancel(world, order, by, "No.", refund)).unwrap();
    }

    fn expire(&mut self) {
        let group = self.group;
        self.market.submit(|world| orders::expire(world, group)).unwrap();
    }

    /// It had to be paid by now, and nobody has noticed yet.
    fn become_overdue(&mut self) {
        self.market.now += CHECKOUT_PAID_WITHIN;
    }
}

#[test]
fn nothing_is_bought_by_calling_something_else_off() {
    for by in [SELLERS[1], BUYER, CLERK] {
        let mut two = Two::checked_out();
        let rest = two.rest;
        two.cancel(rest, by);
        let free = two.free;
        assert_eq!((two.stage(free), two.purse()), (Stage::Placed, (MONEY, POINTS - 143)), "{by}");
        assert_eq!(two.outstanding(), [(free, usd(0))]);
    }
}

#[test]
fn what_points_have_paid_wholly_is_bought_by_paying_for_it_without_any_money() {
    let mut two = Two::checked_out();
    let (free, rest) = (two.free, two.rest);
    two.cancel(rest, SELLERS[1]);
    two.market.submit(|world| orders::pay(world, free, BUYER)).unwrap();
    assert_eq!((two.stage(free), two.purse()), (Stage::Paid, (MONEY, POINTS - 143)));
    assert_eq!(two.market.book(&LedgerAccount::Escrow(free)), 1_001);
    assert!(matches!(two.market.state::<OrderGroup>(two.group), OrderGroup::Paid(_)));
}

#[test]
fn what_nobody_confirms_expires_and_its_points_come_back_once() {
    let mut two = Two::checked_out();
    let (free, rest) = (two.free, two.rest);
    two.cancel(rest, SELLERS[1]);
    two.become_overdue();
    for _ in 0..2 {
        two.expire();
        assert_eq!((two.stage(free), two.purse()), (Stage::Cancelled, (MONEY, POINTS)));
    }
}

#[test]
fn what_is_overdue_can_be_called_off_and_its_points_come_back_once() {
    let mut two = Two::checked_out();
    let (free, rest) = (two.free, two.rest);
    two.become_overdue();
    two.cancel(rest, BUYER);
    assert_eq!((two.stage(rest), two.purse()), (Stage::Cancelled, (MONEY, POINTS - 143)));
    two.cancel(free, BUYER);
    for _ in 0..2 {
        assert_eq!((two.stage(free), two.purse()), (Stage::Cancelled, (MONEY, POINTS)));
        two.cancel(free, BUYER);
        two.expire();
    }
    assert_eq!(two.market.book(&LedgerAccount::MarketingExpense), 0);
}
