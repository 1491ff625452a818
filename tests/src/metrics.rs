//! Reading what `/metrics` shows.

use std::collections::{BTreeMap, BTreeSet};

use crate::fail::{OrFail, fail};

/// What a server showed at one moment.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    /// By name and labels as they are written: `name{label="value"}`.
    series: BTreeMap<String, f64>,
    /// The names that have both a type and a description.
    families: BTreeSet<String>,
}

impl Metrics {
    /// Reads the text format of Prometheus.
    pub fn parse(text: &str) -> Self {
        let mut metrics = Self::default();
        let (mut helped, mut typed) = (BTreeSet::new(), BTreeSet::new());
        for line in text.lines().filter(|line| !line.is_empty()) {
            if let Some(name) = line.strip_prefix("# HELP ").and_then(|rest| rest.split(' ').next()) {
                helped.insert(name.to_owned());
            } else if let Some(name) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split(' ').next()) {
                typed.insert(name.to_owned());
            } else {
                let (series, value) = line.rsplit_once(' ').or_fail("read a line of the metrics");
                metrics.series.insert(series.to_owned(), value.parse().or_fail("read a number of the metrics"));
            }
        }
        metrics.families = helped.intersection(&typed).cloned().collect();
        metrics
    }

    /// What this server shows at `address` (`http://host:port`), to whoever asks.
    pub async fn at(address: &str) -> Self {
        let client = reqwest::Client::builder().no_proxy().build().or_fail("make an HTTP client");
        let answer = client.get(format!("{address}/metrics")).send().await.or_fail("ask for the metrics");
        Self::parse(&answer.text().await.or_fail("read the metrics"))
    }

    /// The value of one series, with its labels in the order of their names; 0 if there is no such series.
    pub fn get(&self, series: &str) -> f64 {
        self.series.get(series).copied().unwrap_or(0.0)
    }

    /// The value of a series that must be there.
    #[track_caller]
    pub fn expect(&self, series: &str) -> f64 {
        match self.series.get(series) {
            Some(value) => *value,
            None => fail(&format!("there is no {series}; there are {:#?}", self.series.keys())),
        }
    }

    /// The names of all series, without labels.
    pub fn names(&self) -> BTreeSet<&str> {
        self.series.keys().map(|series| series.split('{').next().unwrap_or(series)).collect()
    }

    /// The names that have no description, or no type.
    pub fn undescribed(&self) -> BTreeSet<&str> {
        let of_histogram = |name: &str| {
            let parts = ["_bucket", "_sum", "_count"].into_iter().find_map(|part| name.strip_suffix(part));
            parts.is_some_and(|family| self.families.contains(family))
        };
        self.names().into_iter().filter(|name| !self.families.contains(*name) && !of_histogram(name)).collect()
    }
}
