//! `orders.csv`, `order_items.csv` and, where they are there, `customers.csv` and `order_payments.csv` of a folder.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use serde::Deserialize;

use crate::real::Failure;
use crate::real::reading::{cents, rows};

/// A folder.
#[derive(Clone, Debug, Default)]
pub struct Records {
    /// Everybody who has sold something.
    pub sellers: Vec<String>,
    /// Everybody who has bought something.
    pub buyers: Vec<String>,
    /// What was sold.
    pub listings: Vec<Listing>,
    /// The orders, in the order of the file.
    pub orders: Vec<Order>,
    /// How many orders are without items, by their recorded status. They are not replayed.
    pub without_items: BTreeMap<String, usize>,
    /// Orders that were not paid what their items and their freight cost, to the cent.
    pub paid_otherwise: usize,
}

/// A product of one seller at one price and freight.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Listing {
    /// The product.
    pub product: String,
    /// The place of the seller.
    pub seller: usize,
    /// The price of a piece.
    pub price: i64,
    /// What sending a piece costs.
    pub freight: i64,
    /// How many pieces were ever sold.
    pub pieces: u32,
}

/// A checkout.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Order {
    /// Its name in the record.
    pub id: String,
    /// The place of the buyer.
    pub buyer: usize,
    /// The status of the record.
    pub status: String,
    /// What the status means.
    pub fate: Fate,
    /// The places of listings, and how many pieces of each.
    pub lines: BTreeMap<usize, u32>,
}

/// What became of an order.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Fate {
    /// Paid, and nothing more.
    Paid,
    /// On its way.
    Shipped,
    /// Arrived, and the buyer was content.
    Completed,
    /// Called off before it was sent.
    Cancelled,
    /// Called off when the carrier had it.
    Refunded,
}

impl Fate {
    fn of(status: &str, sent: bool) -> Option<Self> {
        match status {
            "approved" | "invoiced" | "processing" => Some(Self::Paid),
            "shipped" => Some(Self::Shipped),
            "delivered" => Some(Self::Completed),
            "unavailable" | "canceled" if sent => Some(Self::Refunded),
            "unavailable" | "canceled" => Some(Self::Cancelled),
            _ => None,
        }
    }

    /// The status that the marketplace shows.
    pub fn status(self) -> &'static str {
        match self {
            Self::Paid => "paid",
            Self::Shipped => "shipped",
            Self::Completed => "completed",
            Self::Cancelled => "cancelled",
            Self::Refunded => "refunded",
        }
    }
}

impl Records {
    /// What an order costs.
    pub fn total(&self, order: &Order) -> i64 {
        order.lines.iter().map(|(listing, quantity)| self.gross(*listing, *quantity)).sum()
    }

    /// What a line costs: price and freight of every piece.
    pub fn gross(&self, listing: usize, quantity: u32) -> i64 {
        let Listing { price, freight, .. } = &self.listings[listing];
        (price + freight) * i64::from(quantity)
    }

    /// The places of those who sell in an order.
    pub fn sellers_of(&self, order: &Order) -> BTreeSet<usize> {
        order.lines.keys().map(|listing| self.listings[*listing].seller).collect()
    }
}

#[derive(Deserialize)]
struct OrderRow {
    order_id: String,
    customer_id: String,
    order_status: String,
    order_delivered_carrier_date: String,
}

#[derive(Deserialize)]
struct ItemRow {
    order_id: String,
    product_id: String,
    seller_id: String,
    price: String,
    freight_value: String,
}

#[derive(Deserialize)]
struct CustomerRow {
    customer_id: String,
    customer_unique_id: String,
}

#[derive(Deserialize)]
struct PaymentRow {
    order_id: String,
    payment_value: String,
}

/// Whether a folder holds orders.
pub fn is_source(folder: &Path) -> bool {
    ["orders.csv", "order_items.csv"].iter().all(|file| folder.join(file).is_file())
}

/// Reads a folder.
pub(super) fn read(folder: &Path) -> Result<Records, Failure> {
    let optional = |file: &str| Some(folder.join(file)).filter(|path| path.is_file());
    let people = optional("customers.csv").map_or(Ok(Vec::new()), |file| rows::<CustomerRow>(&file))?;
    let people: HashMap<String, String> =
        people.into_iter().map(|row| (row.customer_id, row.customer_unique_id)).collect();
    let mut items = HashMap::<String, Vec<ItemRow>>::new();
    for row in rows::<ItemRow>(&folder.join("order_items.csv"))? {
        items.entry(row.order_id.clone()).or_default().push(row);
    }
    let mut records = Records::default();
    let mut places = Places::default();
    for row in rows::<OrderRow>(&folder.join("orders.csv"))? {
        let Some(items) = items.remove(&row.order_id) else {
            *records.without_items.entry(row.order_status).or_default() += 1;
            continue;
        };
        let sent = !row.order_delivered_carrier_date.is_empty();
        let fate = Fate::of(&row.order_status, sent).ok_or_else(|| {
            format!("order {} has items and the status `{}`, which nobody knows", row.order_id, row.order_status)
        })?;
        let person = people.get(&row.customer_id).cloned().unwrap_or(row.customer_id);
        let buyer = places.buyer(person, &mut records);
        let mut lines = BTreeMap::new();
        for item in items {
            let listing = places.listing(item, &mut records)?;
            *lines.entry(listing).or_default() += 1;
            records.listings[listing].pieces += 1;
        }
        records.orders.push(Order { id: row.order_id, buyer, status: row.order_status, fate, lines });
    }
    if let Some(unknown) = items.keys().next() {
        return Err(format!("order {unknown} has items and is not in orders.csv").into());
    }
    if let Some(file) = optional("order_payments.csv") {
        let mut paid = HashMap::<String, i64>::new();
        for row in rows::<PaymentRow>(&file)? {
            *paid.entry(row.order_id).or_default() += cents(&row.payment_value)?;
        }
        let otherwise = |order: &&Order| paid.get(&order.id).is_some_and(|paid| *paid != records.total(order));
        records.paid_otherwise = records.orders.iter().filter(otherwise).count();
    }
    Ok(records)
}

/// Where everybody and everything is in the records.
#[derive(Default)]
struct Places {
    buyers: HashMap<String, usize>,
    sellers: HashMap<String, usize>,
    listings: HashMap<(String, usize, i64, i64), usize>,
}

impl Places {
    fn buyer(&mut self, person: String, records: &mut Records) -> usize {
        *self.buyers.entry(person.clone()).or_insert_with(|| {
            records.buyers.push(person);
            records.buyers.len() - 1
        })
    }

    fn listing(&mut self, item: ItemRow, records: &mut Records) -> Result<usize, Failure> {
        let seller = *self.sellers.entry(item.seller_id.clone()).or_insert_with(|| {
            records.sellers.push(item.seller_id);
            records.sellers.len() - 1
        });
        let (product, price, freight) = (item.product_id, cents(&item.price)?, cents(&item.freight_value)?);
        Ok(*self.listings.entry((product.clone(), seller, price, freight)).or_insert_with(|| {
            records.listings.push(Listing { product, seller, price, freight, pieces: 0 });
            records.listings.len() - 1
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_become_lines_of_listings_and_statuses_become_fates() {
        let folder = tempfile::tempdir().unwrap();
        let write = |file: &str, text: &str| std::fs::write(folder.path().join(file), text).unwrap();
        write(
            "orders.csv",
            "order_id,customer_id,order_status,order_delivered_carrier_date\n\
             o1,c1,delivered,2017-05-16\no2,c2,canceled,2017-05-16\no3,c3,unavailable,\no4,c4,unavailable,\n",
        );
        write(
            "order_items.csv",
            "order_id,product_id,seller_id,price,freight_value\n\
             o1,p,s1,10.5,1.1\no1,p,s1,10.50,1.10\no1,p,s2,10.5,1.1\no2,p,s1,10.5,2.0\no3,q,s2,3,0\n",
        );
        write("customers.csv", "customer_id,customer_unique_id\nc1,ann\nc2,ann\nc3,bob\n");
        write("order_payments.csv", "order_id,payment_value\no1,30.00\no1,4.80\no2,12.51\n");
        assert!(is_source(folder.path()));
        let records = read(folder.path()).unwrap();
        assert_eq!(
            (&records.buyers[..], &records.sellers[..]),
            (&["ann".into(), "bob".into()][..], &["s1".into(), "s2".into()][..])
        );
        let pieces: Vec<_> = records.listings.iter().map(|it| (it.seller, it.price, it.freight, it.pieces)).collect();
        assert_eq!(pieces, [(0, 1_050, 110, 2), (1, 1_050, 110, 1), (0, 1_050, 200, 1), (1, 300, 0, 1)]);
        let orders: Vec<_> =
            records.orders.iter().map(|order| (order.buyer, order.fate, records.total(order))).collect();
        assert_eq!(orders, [(0, Fate::Completed, 3_480), (0, Fate::Refunded, 1_250), (1, Fate::Cancelled, 300)]);
        assert_eq!(records.orders[0].lines, BTreeMap::from([(0, 2), (1, 1)]));
        assert_eq!(records.without_items, BTreeMap::from([("unavailable".to_owned(), 1)]));
        assert_eq!(records.paid_otherwise, 1);
    }
}
