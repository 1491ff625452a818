//! End to end, a module per story. Run it with `make test`: cargo nextest gives every test a process of its own, and
//! `testbed` a Postgres to all of them.

#[cfg(test)]
mod access;
#[cfg(test)]
mod addresses;
#[cfg(test)]
mod administration;
#[cfg(test)]
mod affiliates;
#[cfg(test)]
mod analytics;
#[cfg(test)]
mod as_of;
#[cfg(test)]
mod auctions;
#[cfg(test)]
mod auth;
#[cfg(test)]
mod bad_input;
#[cfg(test)]
mod cards;
#[cfg(test)]
mod catalogue;
#[cfg(test)]
mod chats;
#[cfg(test)]
mod checkouts;
#[cfg(test)]
mod cold_start;
#[cfg(test)]
mod contract;
#[cfg(test)]
mod conventions;
#[cfg(test)]
mod currencies;
#[cfg(test)]
mod demo;
#[cfg(test)]
mod deploy;
#[cfg(test)]
mod disputes;
#[cfg(test)]
mod edge;
#[cfg(test)]
mod escrows;
#[cfg(test)]
mod exporting;
#[cfg(test)]
mod fees;
#[cfg(test)]
mod forgetting;
#[cfg(test)]
mod guests;
#[cfg(test)]
mod health;
#[cfg(test)]
mod histories;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod identity;
#[cfg(test)]
mod integration;
#[cfg(test)]
mod keys;
#[cfg(test)]
mod kill_payments;
#[cfg(test)]
mod listing_images;
#[cfg(test)]
mod live;
#[cfg(test)]
mod mail;
#[cfg(test)]
mod metrics;
#[cfg(test)]
mod moderation;
#[cfg(test)]
mod nats;
#[cfg(test)]
mod nodes;
#[cfg(test)]
mod notifications;
#[cfg(test)]
mod operating;
#[cfg(test)]
mod orders;
#[cfg(test)]
mod pages;
#[cfg(test)]
mod payouts;
#[cfg(test)]
mod points;
#[cfg(test)]
mod profiles;
#[cfg(test)]
mod proofs;
#[cfg(test)]
mod races;
#[cfg(test)]
mod real_auctions;
#[cfg(test)]
mod real_orders;
#[cfg(test)]
mod rebuild;
#[cfg(test)]
mod reconciling;
#[cfg(test)]
mod replaying;
#[cfg(test)]
mod reports;
#[cfg(test)]
mod reviews;
#[cfg(test)]
mod sales;
#[cfg(test)]
mod searching;
#[cfg(test)]
mod second_chances;
#[cfg(test)]
mod sessions;
#[cfg(test)]
mod start_up;
mod statements;
#[cfg(test)]
mod storefront;
#[cfg(test)]
mod stores;
#[cfg(test)]
mod stripe;
#[cfg(test)]
mod subscriptions;
#[cfg(test)]
mod sweeping;
#[cfg(test)]
mod tidy;
#[cfg(test)]
mod traces;
#[cfg(test)]
mod two_nodes;
#[cfg(test)]
mod uploads;
#[cfg(test)]
mod verify;
#[cfg(test)]
mod wallets;
#[cfg(test)]
mod webhooks;
#[cfg(test)]
mod wins;
