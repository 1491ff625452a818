//! Ending a test with one sentence that says what could not be done.

use std::fmt::Display;

/// Takes the value, or ends the test.
pub trait OrFail<T> {
    /// The value; without one the test ends with "could not `doing`".
    fn or_fail(self, doing: &str) -> T;
}

impl<T, E: Display> OrFail<T> for Result<T, E> {
    #[track_caller]
    fn or_fail(self, doing: &str) -> T {
        match self {
            Ok(value) => value,
            Err(error) => fail(&format!("could not {doing}: {error}")),
        }
    }
}

impl<T> OrFail<T> for Option<T> {
    #[track_caller]
    fn or_fail(self, doing: &str) -> T {
        match self {
            Some(value) => value,
            None => fail(&format!("could not {doing}")),
        }
    }
}

/// Ends the test.
///
/// # Panics
/// Always: that is how a test ends.
#[track_caller]
pub fn fail(why: &str) -> ! {
    panic!("{why}")
}
