//! What Lua finds in the argument of a batch's function.

use super::remote;
use crate::lua::api::binding::{Kind, Method};
use crate::lua::api::call::Call;
use crate::lua::api::raise::{Answer, Raise};
use crate::lua::objects::batch::Batch;

impl Kind for Batch {
    const NAME: &'static str = "Batch";
    const PREFIX: &'static str = "b";

    fn methods() -> Vec<Method<Batch>> {
        remote::batch_methods()
    }

    fn missing(call: &mut Call<'_>, _batch: &Batch, key: &str) -> Answer {
        let names: Vec<_> = Batch::methods().iter().map(|method| method.name).collect();
        Err(Raise::text(format!(
            "{} has no `{key}`; what can be done in a batch is {}",
            call.what(),
            names.join(", ")
        )))
    }

    fn describe(&self) -> String {
        "Batch".to_owned()
    }

    fn same(&self, other: &Batch) -> bool {
        self.is(other)
    }
}
