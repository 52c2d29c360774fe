//! What Lua finds in a `Worker`.

use super::remote;
use crate::lua::api::binding::{Kind, Method};
use crate::lua::objects::worker::{self, Worker};

impl Kind for Worker {
    const NAME: &'static str = "Worker";
    const PREFIX: &'static str = "worker";

    fn methods() -> Vec<Method<Worker>> {
        let mut all = worker::methods();
        all.extend(remote::methods());
        all
    }

    fn describe(&self) -> String {
        self.shown()
    }

    fn same(&self, other: &Worker) -> bool {
        self.is(other)
    }
}
