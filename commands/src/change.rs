//! What is to become of something that need not be there.

/// A new value, none from now on, or what is there.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Change<T> {
    /// It stays as it is.
    #[default]
    Kept,
    /// It is this from now on, or nothing.
    To(Option<T>),
}

impl<T> Change<T> {
    /// What it is from now on, if it is this now.
    pub fn of(self, known: Option<T>) -> Option<T> {
        match self {
            Self::Kept => known,
            Self::To(new) => new,
        }
    }
}
