//! A kernel before it boots: its configuration, and what a guest of Provium's needs of it.
//!
//! ```text
//! image    the configuration in a bzImage or vmlinux
//! config   a kernel's configuration, wherever it is found
//! needs    what Provium needs, feature by feature
//! judged   both together
//! places   where a kernel lies
//! ```
//!
//! Input: files beside a kernel and the kernel itself. Output: what it has of what is needed. Not here:
//! booting it; `modules`, which of them are loaded.

mod config;
mod image;
mod judged;
mod needs;
mod places;

pub use config::{Config, ConfigError, Found, Value};
pub use judged::{FeatureState, Judgement, NeedState, judge};
pub use needs::{FEATURES, Feature, Need, fragment};
pub use places::{IN_TREE, image_in};
