//! `lab:claim`: memory and processors reserved for a file.
//!
//! Input: how much. Output: a reservation from the run's pool that ends with the file, and that its VMs use
//! first. Not here: what they take beyond it.

use mlua::Lua;

use super::handle::Lab;
use crate::lua::api::binding::Method;
use crate::lua::api::call::Call;
use crate::lua::api::interrupt::ending;
use crate::lua::api::location::{self, Place};
use crate::lua::api::raise::Answer;
use crate::lua::test::file::File;
use crate::session::pool::{Amount, PoolError};

/// Where a file has made its reservation, as app data of its Lua state.
struct Claimed {
    place: Option<Place>,
}

/// Gives back what the file of this Lua state has reserved.
pub(crate) fn release(lua: &Lua, file: &File) {
    if lua.remove_app_data::<Claimed>().is_some() {
        file.account().release_claim();
    }
}

/// The method `claim`.
pub(crate) fn methods() -> Vec<Method<Lab>> {
    vec![Method {
        name: "claim",
        signature: "(opts: {memory?: integer|string, cpus?: integer}): Lab",
        doc: "Reserves memory and processors for the file, once; waits until they are free.",
        run: claim,
    }]
}

fn claim(call: &mut Call<'_>, _: &Lab) -> Answer {
    call.at_most(1)?;
    let options = call.options(0)?;
    let memory = options.size("memory")?;
    let cpus = match options.integer("cpus")? {
        None => None,
        Some(cpus) => Some(
            u32::try_from(cpus)
                .map_err(|_| options.fail("cpus", format_args!("expected 0 or more, got {cpus}")))?,
        ),
    };
    options.finish()?;
    if memory.is_none() && cpus.is_none() {
        return Err(call.fail("expected `memory`, `cpus` or both"));
    }
    let file = call.file();
    if file.building().is_some() {
        // Whoever waits for the fixture may itself hold what it would wait for.
        return Err(call.fail("a fixture reserves nothing; the file that uses it does"));
    }
    if let Some(claimed) = call.lua().app_data_ref::<Claimed>() {
        let place = claimed.place.as_ref();
        let place = place.map(|place| format!(" ({place})")).unwrap_or_default();
        return Err(call.fail(format_args!("claim already taken{place}")));
    }
    let amount = Amount {
        memory: memory.unwrap_or(0),
        cpus: cpus.unwrap_or(0),
    };
    let cancel = file.cancel();
    file.account()
        .claim(amount, &cancel)
        .map_err(|error| match error {
            PoolError::Cancelled(_) => call.fail(ending(call.lua(), call.what()).unwrap_or_default()),
            error => call.fail(error),
        })?;
    call.lua().set_app_data(Claimed {
        place: location::caller(call.lua()),
    });
    call.this()
}
