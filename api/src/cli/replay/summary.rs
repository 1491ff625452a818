//! What would be different in all: counts and sums, which take as much room however much there is.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt;

use domain::money::decimal;
use domain::what_if::Auctioned;
use domain::what_if::auctions::Ended;
use domain::what_if::sales::{Act, Sold};
use domain::{AccountId, Currency};
use projections::Text;
use serde::Serialize;

/// Of so many sellers the fees are told one by one; what others would be charged is summed up.
const MOST_SELLERS: usize = 100_000;

/// What would be different in all.
#[derive(Debug, Default, Serialize)]
pub(super) struct Summary {
    pub(super) auctions: AuctionSums,
    pub(super) orders: OrderSums,
}

/// What would be different of auctions.
#[derive(Debug, Default, Serialize)]
pub(super) struct AuctionSums {
    /// How many were looked at.
    looked_at: u64,
    /// How many of them go on, or have not begun: they are left out.
    going_on: u64,
    /// Of how many anything would be different.
    different: u64,
    /// How many would close at a higher price.
    dearer: u64,
    /// How many would close at a lower price.
    cheaper: u64,
    /// How many somebody else would have, or somebody instead of nobody, or nobody.
    other_winner: u64,
    /// How many would go on after the last event: they are in none of the counts and sums but `refused`.
    open: u64,
    /// How many that were sold would not be.
    unsold: u64,
    /// How many that were not sold would be.
    sold: u64,
    /// How many would end at another time.
    other_end: u64,
    /// How many bids would be refused.
    refused: u64,
    /// The closing prices in each currency.
    prices: Vec<InCurrency>,
    #[serde(skip)]
    sums: BTreeMap<Currency, WasWould>,
}

/// What would be different of orders.
#[derive(Debug, Default, Serialize)]
pub(super) struct OrderSums {
    /// How many were looked at.
    looked_at: u64,
    /// Of how many anything would be different.
    different: u64,
    /// How many of those, by where their money is and would be.
    places: Vec<Places>,
    /// How much of what people did would be refused, by what it is.
    too_late: Vec<Late>,
    /// The fees in each currency.
    fees: Vec<InCurrency>,
    /// What went back to buyers, in each currency.
    refunds: Vec<InCurrency>,
    /// The fees of each seller, where they would be different, in each currency.
    sellers: Vec<OfSeller>,
    /// The fees of more sellers than are told one by one, in each currency.
    other_sellers: Vec<InCurrency>,
    #[serde(skip)]
    sums: Sums,
}

#[derive(Debug, Default)]
struct Sums {
    places: BTreeMap<(&'static str, &'static str), u64>,
    too_late: BTreeMap<&'static str, u64>,
    fees: BTreeMap<Currency, WasWould>,
    refunds: BTreeMap<Currency, WasWould>,
    sellers: BTreeMap<(AccountId, Currency), WasWould>,
    other_sellers: BTreeMap<Currency, WasWould>,
}

/// Sums of minor units, as they were and as they would be.
#[derive(Clone, Copy, Debug, Default, Serialize)]
struct WasWould {
    was: i128,
    would: i128,
}

/// The same in one currency.
#[derive(Clone, Copy, Debug, Serialize)]
struct InCurrency {
    currency: Text<Currency>,
    #[serde(flatten)]
    sums: WasWould,
}

/// The same of one seller.
#[derive(Clone, Copy, Debug, Serialize)]
struct OfSeller {
    seller: AccountId,
    #[serde(flatten)]
    fees: InCurrency,
}

/// How many orders went one way and would have gone another.
#[derive(Clone, Copy, Debug, Serialize)]
struct Places {
    was: &'static str,
    would: &'static str,
    orders: u64,
}

/// How much of something would have come too late.
#[derive(Clone, Copy, Debug, Serialize)]
struct Late {
    what: &'static str,
    times: u64,
}

impl WasWould {
    fn add(&mut self, was: i64, would: i64) {
        self.was += i128::from(was);
        self.would += i128::from(would);
    }

    fn change(self) -> i128 {
        self.would - self.was
    }
}

impl AuctionSums {
    /// Counts an auction; nothing of one that goes on.
    pub(super) fn take(&mut self, auctioned: Option<&Auctioned>) {
        self.looked_at += 1;
        let Some(auctioned) = auctioned else {
            self.going_on += 1;
            return;
        };
        let Auctioned { currency, was, would, refusals, .. } = auctioned;
        let change = auctioned.price_change().unwrap_or(0);
        self.different += u64::from(auctioned.is_different());
        self.refused += refusals;
        if would.how == Ended::Open {
            self.open += 1;
            return;
        }
        self.dearer += u64::from(change > 0);
        self.cheaper += u64::from(change < 0);
        self.other_winner += u64::from(auctioned.changes_winner());
        self.unsold += u64::from(was.price.is_some() && would.price.is_none());
        self.sold += u64::from(was.price.is_none() && would.price.is_some());
        self.other_end += u64::from(was.at != would.at);
        let minor = |price: Option<domain::Money>| price.map_or(0, domain::Money::minor);
        self.sums.entry(*currency).or_default().add(minor(was.price), minor(would.price));
    }

    fn sum_up(&mut self) {
        self.prices = in_currencies(&self.sums);
    }
}

impl OrderSums {
    /// Counts an order.
    pub(super) fn take(&mut self, sold: &Sold) {
        let Sold { seller, amount, was, would, too_late, .. } = sold;
        let currency = amount.currency();
        self.looked_at += 1;
        self.sums.fees.entry(currency).or_default().add(was.fee.minor(), would.fee.minor());
        self.sums.refunds.entry(currency).or_default().add(was.refunded.minor(), would.refunded.minor());
        if !sold.is_different() {
            return;
        }
        self.different += 1;
        *self.sums.places.entry((was.status.name(), would.status.name())).or_default() += 1;
        for late in too_late {
            *self.sums.too_late.entry(Act::name(late.what)).or_default() += 1;
        }
        if was.fee == would.fee {
            return;
        }
        let known = self.sums.sellers.contains_key(&(*seller, currency));
        let sums = if known || self.sums.sellers.len() < MOST_SELLERS {
            self.sums.sellers.entry((*seller, currency)).or_default()
        } else {
            self.sums.other_sellers.entry(currency).or_default()
        };
        sums.add(was.fee.minor(), would.fee.minor());
    }

    fn sum_up(&mut self) {
        let Sums { places, too_late, fees, refunds, sellers, other_sellers } = &self.sums;
        self.places = places.iter().map(|(&(was, would), &orders)| Places { was, would, orders }).collect();
        self.too_late = too_late.iter().map(|(&what, &times)| Late { what, times }).collect();
        self.fees = in_currencies(fees);
        self.refunds = in_currencies(refunds);
        self.other_sellers = in_currencies(other_sellers);
        let of_seller = |(&(seller, currency), &sums): (&(AccountId, Currency), &WasWould)| OfSeller {
            seller,
            fees: InCurrency { currency: Text(currency), sums },
        };
        self.sellers = sellers.iter().map(of_seller).collect();
        // Currency by currency, since amounts of two cannot be compared: whom it would touch most comes first, of equals
        // the one whose id does.
        let rank = |of: &OfSeller| (of.fees.currency.0, Reverse(of.fees.sums.change().unsigned_abs()));
        self.sellers.sort_by_key(rank);
    }
}

fn in_currencies(sums: &BTreeMap<Currency, WasWould>) -> Vec<InCurrency> {
    sums.iter().map(|(&currency, &sums)| InCurrency { currency: Text(currency), sums }).collect()
}

impl Summary {
    /// Puts what was counted in the form in which it is told.
    pub(super) fn sum_up(mut self) -> Self {
        self.auctions.sum_up();
        self.orders.sum_up();
        self
    }

    /// In words; of sellers only so many.
    pub(super) fn told(&self, show: usize) -> impl fmt::Display + '_ {
        Told { summary: self, show }
    }
}

struct Told<'a> {
    summary: &'a Summary,
    show: usize,
}

impl fmt::Display for InCurrency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { currency: Text(currency), sums } = self;
        let amount = |minor| decimal(minor, *currency);
        let plus = if sums.change() > 0 { "+" } else { "" };
        let (was, would, change) = (amount(sums.was), amount(sums.would), amount(sums.change()));
        write!(f, "{was} → {would} {currency} ({plus}{change})")
    }
}

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { summary: Summary { auctions, orders }, show } = self;
        if auctions.looked_at > 0 {
            write!(f, "{auctions}")?;
        }
        if auctions.looked_at > 0 && orders.looked_at > 0 {
            writeln!(f)?;
        }
        if orders.looked_at > 0 {
            write!(f, "{orders}")?;
            for OfSeller { seller, fees } in orders.sellers.iter().take(*show) {
                write!(f, "\n  fees of {seller}: {fees}")?;
            }
            if orders.sellers.len() > *show {
                write!(f, "\n  … and of {} more", orders.sellers.len() - show)?;
            }
            for sums in &orders.other_sellers {
                write!(f, "\n  fees of others: {sums}")?;
            }
        }
        if auctions.looked_at == 0 && orders.looked_at == 0 {
            write!(f, "there is nothing to look at")?;
        }
        Ok(())
    }
}

impl fmt::Display for AuctionSums {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { looked_at, going_on, different, dearer, cheaper, other_winner, open, unsold, sold, .. } = self;
        let over = looked_at - going_on;
        write!(f, "{different} of {over} auctions would be different ({going_on} go on and are left out)")?;
        write!(f, "\n  {dearer} dearer, {cheaper} cheaper, {other_winner} with another winner")?;
        write!(f, "\n  {unsold} sold and would not be, {sold} not sold and would be")?;
        write!(f, "\n  {} with another end, {} bids refused", self.other_end, self.refused)?;
        if *open > 0 {
            write!(f, "\n  {open} would go on after the end of the log")?;
        }
        for sums in &self.prices {
            write!(f, "\n  closing prices: {sums}")?;
        }
        Ok(())
    }
}

impl fmt::Display for OrderSums {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { looked_at, different, places, too_late, fees, refunds, .. } = self;
        write!(f, "{different} of {looked_at} orders would be different")?;
        for Places { was, would, orders } in places {
            let (was, would) = (was.replace('_', " "), would.replace('_', " "));
            write!(f, "\n  {orders} {was} → {would}")?;
        }
        for Late { what, times } in too_late {
            write!(f, "\n  {what} refused: {times}")?;
        }
        for sums in fees {
            write!(f, "\n  fees: {sums}")?;
        }
        for sums in refunds {
            write!(f, "\n  back to buyers: {sums}")?;
        }
        Ok(())
    }
}
