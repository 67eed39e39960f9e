//! What of ours in a live object is no longer as we applied it, who changed it, and what may be done about it.
//!
//! Pure: live objects come in as JSON values, as the watch or an answer gives them; it knows no client and no clock.
//!
//! The managed fields alone do not tell: a value may change while our entry in them stays as it is (an order, an admission of somebody else's
//! write, a conversion, a forgery), and an entry may change while every value stays. So the live values are looked at, at exactly the paths that
//! our entry lists: [`print()`] makes a hash of them, [`differences`] names them, [`author()`] reads from the other entries who holds them now.

mod adopt;
mod author;
mod difference;
mod fields;
mod fights;
mod freeze;
mod policy;
mod print;
mod repair;
mod unmet;

pub use adopt::adoption;
pub use author::{Author, author};
pub use difference::{Difference, differences};
pub use fights::{Fight, Fights};
pub use freeze::Freeze;
pub use policy::{Mode, Policy, is_autoscaler, scaled, sendable};
pub use print::{Entry, Print, print, raw, version_hash};
pub use repair::{BEFORE_FIRST_APPLY, drop_entries, repair};
pub use unmet::unmet;
