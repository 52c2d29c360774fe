//! Where `provium fixture` meets what runs Lua and guests.

use std::sync::Arc;

use crate::fixture::{Chain, Entry, ObtainError, Request, World};
use crate::guest::{Fixtures, Ready, verify_entry};
use crate::lua;
use crate::stock::Order;

/// Takes the fixture from the cache, or runs its source.
pub(super) fn build_fixture(order: Order<'_>) -> anyhow::Result<Entry> {
    // For the fixtures it starts from; each is used once, so nothing is kept ready.
    let say = |event: &crate::fixture::Event| eprintln!("provium: {event}");
    let fixtures = Fixtures::new(Arc::clone(order.config), Ready::new(0), Box::new(say));
    let world: Arc<dyn World> = Arc::clone(order.world) as Arc<dyn World>;
    let request = Request {
        source: order.source,
        world: &world,
        chain: &Chain::default(),
        by: "provium fixture build",
        cancel: order.cancel,
    };
    let mut build = |building: &crate::fixture::Building| {
        lua::build_fixture(order.config, &fixtures, order.source, building, order.cancel)
    };
    let obtained = order
        .store
        .obtain(&request, &mut build, &verify_entry, order.on_event);
    fixtures.close();
    obtained.map_err(|error| match error {
        ObtainError::Build(message) => anyhow::anyhow!("{message}"),
        ObtainError::Store(error) => error.into(),
    })
}
