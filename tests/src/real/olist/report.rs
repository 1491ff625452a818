//! What came out, against what the records make it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::Value;

use super::books::Books;
use super::{Fate, Records};

/// What came out of a folder.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The folder.
    pub name: String,
    /// Checkouts.
    pub checkouts: usize,
    /// Checkouts of several sellers.
    pub of_several_sellers: usize,
    /// Orders, one per seller of a checkout.
    pub orders: usize,
    /// How many people and things took part: sellers, buyers, listings.
    pub parts: [usize; 3],
    /// Orders without items, which are not replayed, by their recorded status.
    pub without_items: BTreeMap<String, usize>,
    /// Orders that were paid another sum than their items and their freight cost, such as with interest.
    pub paid_otherwise: usize,
    /// Recorded status and what it means here: how many checkouts, and how many of them came out so.
    pub statuses: BTreeMap<(String, Fate), (usize, usize)>,
    /// Deposits, what sellers have, fees, refunds, what waits in escrow.
    pub sums: [i64; 5],
    /// Everything that is not as the records make it.
    pub differences: Vec<String>,
}

impl Report {
    /// Whether everything is as the records make it.
    pub fn is_good(&self) -> bool {
        self.differences.is_empty()
    }

    pub(super) fn begin(records: &Records, placed: &[Vec<String>], books: &Books) -> Self {
        let of_several_sellers = records.orders.iter().filter(|order| records.sellers_of(order).len() > 1).count();
        let (sellers, buyers) = (books.sellers.iter().sum(), books.buyers.iter().sum());
        Self {
            checkouts: records.orders.len(),
            of_several_sellers,
            orders: placed.iter().map(Vec::len).sum(),
            parts: [records.sellers.len(), records.buyers.len(), records.listings.len()],
            without_items: records.without_items.clone(),
            paid_otherwise: records.paid_otherwise,
            sums: [books.deposits, sellers, books.fees, buyers, books.escrow],
            ..Self::default()
        }
    }

    pub(super) fn compare_balance(&mut self, (whose, has, expected): (String, i64, i64)) {
        if has != expected {
            self.differences.push(format!("{whose} has {} instead of {}", reais(has), reais(expected)));
        }
    }

    pub(super) fn compare_statuses(
        &mut self,
        records: &Records,
        placed: &[Vec<String>],
        shown: &BTreeMap<String, String>,
    ) {
        for (order, placed) in records.orders.iter().zip(placed) {
            let expected = order.fate.status();
            let others = placed.iter().filter(|id| shown.get(*id).is_none_or(|status| status != expected));
            let others: Vec<_> = others.map(|id| shown.get(id).map_or("not there", String::as_str)).collect();
            let (checkouts, as_recorded) = self.statuses.entry((order.status.clone(), order.fate)).or_default();
            *checkouts += 1;
            if others.is_empty() {
                *as_recorded += 1;
            } else {
                self.differences.push(format!("order {} is {others:?} instead of {expected}", order.id));
            }
        }
        if shown.len() != self.orders {
            self.differences.push(format!("sellers are shown {} orders instead of {}", shown.len(), self.orders));
        }
    }

    /// Money waits for orders that have not ended, and for those alone.
    pub(super) fn compare_escrows(&mut self, records: &Records, placed: &[Vec<String>], open: &BTreeSet<&str>) {
        let mut expected = BTreeSet::new();
        for (order, placed) in records.orders.iter().zip(placed) {
            let ended = matches!(order.fate, Fate::Completed | Fate::Cancelled | Fate::Refunded);
            for id in placed {
                match (ended, open.contains(id.as_str())) {
                    (true, true) => self.differences.push(format!("order {} has ended, its escrow has not", order.id)),
                    (false, false) => self.differences.push(format!("order {} goes on without money", order.id)),
                    (true, false) | (false, true) => {}
                }
                expected.insert(id.as_str());
            }
        }
        let unknown = open.iter().filter(|id| !expected.contains(*id));
        self.differences.extend(unknown.map(|id| format!("the escrow {id} is of no order of the records")));
    }

    pub(super) fn compare_books(&mut self, trial_balance: &Value, books: &Books) {
        let [reais_book] = trial_balance["currencies"].as_array().map_or(&[][..], Vec::as_slice) else {
            self.differences.push(format!("the books are not in one currency: {trial_balance}"));
            return;
        };
        if trial_balance["balanced"] != true || reais_book["difference"] != "0" {
            self.differences.push(format!("debits and credits differ by {}", reais_book["difference"]));
        }
        let expected = [
            ("provider-clearing", -books.deposits),
            ("available", books.sellers.iter().chain(&books.buyers).sum()),
            ("escrow", books.escrow),
            ("fee-income", books.fees),
            ("held", 0),
            ("receivable", 0),
            ("payout-pending", 0),
        ];
        let kinds = reais_book["accounts"].as_array().map_or(&[][..], Vec::as_slice);
        for (kind, expected) in expected {
            let there = kinds.iter().find(|totals| totals["kind"] == kind);
            let balance = there.and_then(|totals| totals["balance"].as_str()?.parse().ok()).unwrap_or(0);
            self.compare_balance((format!("the book `{kind}`"), balance, expected));
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, checkouts, of_several_sellers, orders, parts: [sellers, buyers, listings], .. } = self;
        writeln!(f, "{name}: {checkouts} checkouts, {of_several_sellers} of them of several sellers: {orders} orders")?;
        writeln!(f, "  by {buyers} buyers from {sellers} sellers of {listings} listings")?;
        let skipped: usize = self.without_items.values().sum();
        let kinds: Vec<String> = self.without_items.iter().map(|(status, count)| format!("{count} {status}")).collect();
        writeln!(f, "  skipped: {skipped} orders without items ({})", kinds.join(", "))?;
        writeln!(f, "  paid otherwise than items and freight in the record: {}", self.paid_otherwise)?;
        writeln!(f, "  {:<14} {:<12} {:>9} {:>12}", "recorded", "here", "checkouts", "as recorded")?;
        for ((status, fate), (checkouts, as_recorded)) in &self.statuses {
            writeln!(f, "  {status:<14} {:<12} {checkouts:>9} {as_recorded:>12}", fate.status())?;
        }
        let names = ["paid in", "with sellers", "fees", "back to buyers", "in escrow"];
        for (name, sum) in names.iter().zip(self.sums) {
            writeln!(f, "  {name:<14} {:>16}", reais(sum))?;
        }
        writeln!(f, "  differences: {}", self.differences.len())?;
        self.differences.iter().try_for_each(|difference| writeln!(f, "    {difference}"))
    }
}

fn reais(cents: i64) -> String {
    let sign = if cents < 0 { "-" } else { "" };
    let cents = cents.unsigned_abs();
    format!("{sign}R$ {}.{:02}", cents / 100, cents % 100)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::{Listing, Order};
    use super::*;

    /// One order that is over and one that waits.
    fn records() -> Records {
        let order = |fate, quantity| Order {
            id: format!("{quantity} pieces"),
            buyer: 0,
            status: "recorded".to_owned(),
            fate,
            lines: BTreeMap::from([(0, quantity)]),
        };
        let listing = Listing { product: "p".to_owned(), seller: 0, price: 1_000, freight: 25, pieces: 3 };
        let orders = vec![order(Fate::Completed, 1), order(Fate::Paid, 2)];
        let (sellers, buyers) = (vec!["s".to_owned()], vec!["b".to_owned()]);
        Records { sellers, buyers, listings: vec![listing], orders, ..Records::default() }
    }

    fn books(available: i64, escrow: i64) -> Value {
        let kind = |kind: &str, balance: i64| json!({ "kind": kind, "balance": balance.to_string() });
        let accounts = [
            kind("provider-clearing", -3_075),
            kind("available", available),
            kind("escrow", escrow),
            kind("fee-income", 21),
        ];
        json!({ "balanced": true, "currencies": [{ "difference": "0", "accounts": accounts }] })
    }

    fn differences(balance: i64, status: &str, open: &[&str], trial_balance: &Value) -> usize {
        let (records, placed) = (records(), [vec!["one".to_owned()], vec!["two".to_owned()]]);
        let expected = Books::of(&records);
        let mut report = Report::begin(&records, &placed, &expected);
        report.compare_balance(("seller s".to_owned(), balance, expected.sellers[0]));
        let shown = [("one", "completed"), ("two", status)].map(|(id, status)| (id.to_owned(), status.to_owned()));
        report.compare_statuses(&records, &placed, &shown.into());
        report.compare_escrows(&records, &placed, &open.iter().copied().collect());
        report.compare_books(trial_balance, &expected);
        assert_eq!(report.is_good(), report.differences.is_empty());
        report.differences.len()
    }

    #[test]
    fn every_difference_is_found() {
        // 2 % of 10.25 is 20.5 cents, which is 21.
        assert_eq!(differences(1_004, "paid", &["two"], &books(1_004, 2_050)), 0);
        assert_eq!(differences(1_005, "paid", &["two"], &books(1_004, 2_050)), 1);
        assert_eq!(differences(1_004, "shipped", &["two"], &books(1_004, 2_050)), 1);
        assert_eq!(differences(1_004, "paid", &[], &books(1_004, 2_050)), 1);
        assert_eq!(differences(1_004, "paid", &["one", "two", "three"], &books(1_004, 2_050)), 2);
        assert_eq!(differences(1_004, "paid", &["two"], &books(1_005, 2_049)), 2);
        assert_eq!(differences(1_004, "paid", &["two"], &json!({ "currencies": [] })), 1);
    }
}
