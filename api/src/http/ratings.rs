//! How listings and sellers are rated, as the API shows it: whole numbers, and averages written out.

use projections::reviews::Stars;
use serde::Serialize;
use utoipa::ToSchema;

/// How something is rated.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Rating)]
pub struct RatingBody {
    /// How many have rated it.
    #[schema(example = 3, minimum = 0)]
    count: i64,
    /// How many stars they have given on the average, to a hundredth; nothing if nobody has.
    #[schema(example = "4.67")]
    average: Option<String>,
}

impl RatingBody {
    /// Of so many ratings with so many stars together.
    pub fn of(count: i64, stars: i64) -> Self {
        Self { count, average: average(stars, count) }
    }
}

/// How something is rated, and how often each number of stars was given.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RatingSummary {
    /// How many have rated it.
    #[schema(example = 3, minimum = 0)]
    count: i64,
    /// How many stars they have given together.
    #[schema(example = 14, minimum = 0)]
    stars: i64,
    /// How many on the average, to a hundredth; nothing if nobody has.
    #[schema(example = "4.67")]
    average: Option<String>,
    /// How many have given one, two, three, four and five stars.
    #[schema(min_items = 5, max_items = 5, example = json!([0, 0, 0, 1, 2]))]
    histogram: Vec<i64>,
}

impl From<Stars> for RatingSummary {
    fn from(rated: Stars) -> Self {
        let (count, stars) = (rated.count(), rated.sum());
        Self { count, stars, average: average(stars, count), histogram: rated.counts().to_vec() }
    }
}

impl From<Stars> for RatingBody {
    fn from(rated: Stars) -> Self {
        Self::of(rated.count(), rated.sum())
    }
}

/// An average to a hundredth, half up; nothing of nothing.
pub fn average(sum: i64, count: i64) -> Option<String> {
    let hundredths = (200 * sum + count).checked_div(2 * count)?;
    Some(format!("{}.{:02}", hundredths / 100, hundredths % 100))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_average_is_rounded_half_up() {
        for (sum, count, written) in
            [(14, 3, "4.67"), (5, 1, "5.00"), (9, 2, "4.50"), (13, 3, "4.33"), (1_001, 200, "5.01"), (203, 40, "5.08")]
        {
            assert_eq!(average(sum, count).as_deref(), Some(written), "{sum} / {count}");
        }
        assert_eq!(average(0, 0), None);
    }
}
