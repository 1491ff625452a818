//! Lists in pages. A page begins after the sort key of the row before it, so it is found by an index however far down
//! the list it is, and rows that come or go meanwhile shift nothing.

use thiserror::Error;

/// Some rows of a list, and where the rest begins.
#[derive(Clone, Debug)]
pub struct Page<R, C> {
    /// The rows.
    pub items: Vec<R>,
    /// The sort key of the last row, if there are more.
    pub next: Option<C>,
}

impl<R, C> Page<R, C> {
    /// How many rows to ask for: one more than the page holds, which tells whether there are more.
    pub(crate) fn rows_to_fetch(limit: u32) -> i64 {
        i64::from(limit) + 1
    }

    /// The page made of such rows.
    pub(crate) fn of(mut rows: Vec<R>, limit: u32, key: impl FnOnce(&R) -> C) -> Self {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next = if more { rows.last().map(key) } else { None };
        Self { items: rows, next }
    }
}

/// Why there is no page.
#[derive(Debug, Error)]
pub enum PageError {
    /// The cursor was given out for another order of the list.
    #[error("the cursor belongs to another order of this list")]
    CursorOfAnotherSort,
    /// The database failed.
    #[error(transparent)]
    Sql(#[from] sqlx::Error),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_tells_where_the_rest_begins_only_if_there_is_a_rest() {
        let page = |rows: Vec<i32>, limit| Page::of(rows, limit, |row| *row);
        assert_eq!(page(vec![], 2).next, None);
        assert_eq!(page(vec![1, 2], 2).next, None);
        let first = page(vec![1, 2, 3], 2);
        assert_eq!((first.items, first.next), (vec![1, 2], Some(2)));
    }
}
