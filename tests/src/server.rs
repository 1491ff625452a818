//! The marketplace, running: within this process, where its parts can be reached, or as a process of its own, which can
//! be killed.

mod in_process;
mod spawned;

pub use in_process::InProcess;
pub(crate) use in_process::SECRET;
pub use spawned::{Ended, Place, Spawned, binary, tradepost};
