//! What Lua finds in a `Lab`: methods, settings, the functions of the classic dialect, and its VMs by their
//! names.
//!
//! Input: a key. Output: what it stands for; nil where there is nothing, which is noted for the error of a
//! call of it. Not here: what the methods do (`objects::lab`).

use mlua::Value;

use crate::lua::api::absent;
use crate::lua::api::binding::{Field, Kind, Method};
use crate::lua::api::call::Call;
use crate::lua::api::raise::{Answer, one};
use crate::lua::classic;
use crate::lua::objects::lab::handle::Lab;
use crate::lua::objects::lab::{barrier, claim, membership, methods, settings};
use crate::lua::objects::{fixture, snapshot};

impl Kind for Lab {
    const NAME: &'static str = "Lab";
    const PREFIX: &'static str = "provium";
    const OTHERS: Option<&'static str> = Some("VM|Lab|nil");

    fn methods() -> Vec<Method<Lab>> {
        let mut all = methods::methods();
        all.extend(membership::methods());
        all.extend(claim::methods());
        all.extend(barrier::methods());
        all.extend(fixture::lab_methods());
        all.extend(snapshot::calls::lab_methods());
        all
    }

    fn fields() -> Vec<Field<Lab>> {
        let mut all = settings::fields();
        all.extend(fixture::lab_fields());
        all.extend(classic::lab::fields());
        all
    }

    fn missing(call: &mut Call<'_>, lab: &Lab, key: &str) -> Answer {
        let member = lab.find(key);
        if member.is_none() {
            let shown = match lab.is(&Lab::root_of(call.lua())) {
                true => lab.name().to_owned(),
                false => format!("lab `{}`", lab.name()),
            };
            absent::note(call.lua(), &shown, key, names);
        }
        one(call.lua(), member)
    }

    fn assign(call: &mut Call<'_>, lab: &Lab, key: &str, value: Value) -> Answer {
        settings::assign(call, lab, key, value)
    }

    fn describe(&self) -> String {
        format!("Lab `{}`", self.name())
    }

    fn same(&self, other: &Lab) -> bool {
        self.is(other)
    }
}

/// Names of what every lab has.
fn names() -> Vec<&'static str> {
    let methods = Lab::methods().into_iter().map(|method| method.name);
    methods
        .chain(Lab::fields().into_iter().map(|field| field.name))
        .collect()
}
