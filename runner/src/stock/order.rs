//! What the command hands to whoever can build a fixture.
//!
//! Absent on purpose: how. That takes Lua and guests, of which nothing in this folder knows.

use std::sync::Arc;

use provium_base::cancel::Cancel;
use provium_cache::{Entry, Event, FixtureSource, ProjectWorld, Store};

use crate::config::Config;

/// One fixture to be in the cache.
pub struct Order<'a> {
    /// The fixture.
    pub source: &'a FixtureSource,
    /// The project.
    pub config: &'a Arc<Config>,
    /// The cache.
    pub store: &'a Arc<Store>,
    /// What inputs are.
    pub world: &'a Arc<ProjectWorld>,
    /// Ends the build.
    pub cancel: &'a Arc<Cancel>,
    /// Hears what happens.
    pub on_event: &'a mut dyn FnMut(Event),
}

/// Takes the fixture from the cache or runs its source; the error is for the user.
pub type BuildFixture<'a> = &'a dyn Fn(Order<'_>) -> anyhow::Result<Entry>;
