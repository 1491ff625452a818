//! Every reason why the marketplace may refuse a command. One file of the API maps them to HTTP.

use thiserror::Error;

use crate::money::MoneyError;

macro_rules! refusal {
    ($($aggregate:ident in $module:ident by $id:ident),+ $(,)?) => {
        /// A refusal by a rule, with the rule's numbers.
        #[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
        pub enum Refusal {
            $(
                #[doc = concat!("By one of [`crate::", stringify!($module), "`].")]
                #[error(transparent)]
                $aggregate(#[from] crate::$module::Error),
            )+
            /// By the arithmetic of money.
            #[error(transparent)]
            Money(#[from] MoneyError),
            /// The aggregate has moved on since the caller has seen it (`If-Match`).
            #[error("the version is {actual}, not {expected}")]
            VersionMismatch {
                /// What the caller has seen.
                expected: u64,
                /// What it is.
                actual: u64,
            },
        }
    };
}

crate::every_aggregate!(refusal);
