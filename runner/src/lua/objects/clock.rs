//! `Clock`: a guest's wall clock.
//!
//! Input: times and durations. Output: what `CLOCK_REALTIME` of the guest says, or is set to, by the agent's
//! own system calls; `CLOCK_MONOTONIC` and the timers that follow it are left alone. Not here: the speed of
//! the clock.

use std::time::Duration;

use mlua::Value;
use provium_guest::{Syscall, ops, wall_clock};

use crate::lua::api::binding::{Kind, Method};
use crate::lua::api::call::Call;
use crate::lua::api::raise::{Answer, Raise, none, one};
use crate::lua::api::value::{duration, integer, time};
use crate::lua::objects::remote::Remote;
use crate::lua::objects::vm::handle::Vm;

/// Number of the system call clock_nanosleep.
const CLOCK_NANOSLEEP: i64 = 230;
/// The clock by which a guest sleeps.
const CLOCK_MONOTONIC: u64 = 1;
/// Nanoseconds of a second.
const NANOS: f64 = 1e9;

/// The clock of a VM.
#[derive(Clone)]
pub(crate) struct Clock(Vm);

/// The method `clock` of a VM.
pub(crate) fn vm_methods() -> Vec<Method<Vm>> {
    vec![Method {
        name: "clock",
        signature: "(): Clock",
        doc: "Its wall clock.",
        run: |call, vm| {
            call.at_most(0)?;
            one(call.lua(), Clock(vm.clone()).into_userdata(call.lua())?)
        },
    }]
}

impl Clock {
    fn now(&self, call: &Call<'_>) -> Result<i64, Raise> {
        self.0.ask(call, wall_clock::get)
    }

    fn set(&self, call: &Call<'_>, ns: i64) -> Answer {
        self.0.ask(call, |client| wall_clock::set(client, ns))?;
        none()
    }
}

/// A duration that may be negative, in nanoseconds.
fn step_of(value: &Value) -> Result<i64, String> {
    let (negative, size) = match value {
        Value::Integer(seconds) if *seconds < 0 => (true, Value::Number(-(*seconds as f64))),
        Value::Number(seconds) if *seconds < 0.0 => (true, Value::Number(-seconds)),
        Value::String(text) => match text.to_string_lossy().trim().strip_prefix('-') {
            Some(rest) => {
                let parsed = provium_base::units::parse_duration(rest)
                    .map_err(|_| format!("`{}` is not a duration", text.to_string_lossy()))?;
                (true, Value::Number(parsed.as_secs_f64()))
            }
            None => (false, value.clone()),
        },
        value => (false, value.clone()),
    };
    let size = duration(&size)?;
    let ns =
        i64::try_from(size.as_nanos()).map_err(|_| "the step is longer than any clock goes".to_owned())?;
    Ok(if negative { -ns } else { ns })
}

impl Kind for Clock {
    const NAME: &'static str = "Clock";
    const PREFIX: &'static str = "clock";

    fn methods() -> Vec<Method<Clock>> {
        vec![
            Method {
                name: "get",
                signature: "(): number",
                doc: "Seconds since 1970, with a fraction.",
                run: |call, clock| {
                    call.at_most(0)?;
                    one(call.lua(), clock.now(call)? as f64 / NANOS)
                },
            },
            Method {
                name: "get_ns",
                signature: "(): integer",
                doc: "Nanoseconds since 1970.",
                run: |call, clock| {
                    call.at_most(0)?;
                    one(call.lua(), clock.now(call)?)
                },
            },
            Method {
                name: "set",
                signature: "(seconds: number)",
                doc: "Sets the clock to seconds since 1970.",
                run: |call, clock| {
                    call.at_most(1)?;
                    let ns = time(call.arg(0)).map_err(|message| call.fail(message))?;
                    clock.set(call, ns)
                },
            },
            Method {
                name: "set_ns",
                signature: "(nanoseconds: integer)",
                doc: "Sets the clock to nanoseconds since 1970.",
                run: |call, clock| {
                    call.at_most(1)?;
                    let ns = integer(call.arg(0)).map_err(|message| call.fail(message))?;
                    if ns < 0 {
                        return Err(
                            call.fail(format_args!("`{ns}` is not a time; it is nanoseconds since 1970"))
                        );
                    }
                    clock.set(call, ns)
                },
            },
            Method {
                name: "advance",
                signature: "(duration: number|string)",
                doc: "Moves the clock forwards, or backwards by a negative duration.",
                run: advance,
            },
            Method {
                name: "sleep",
                signature: "(duration: number|string)",
                doc: "Lets so much of the guest's own time pass.",
                run: sleep,
            },
        ]
    }

    fn describe(&self) -> String {
        format!("Clock of VM `{}`", self.0.name())
    }

    fn same(&self, other: &Clock) -> bool {
        self.0.is(&other.0)
    }
}

fn advance(call: &mut Call<'_>, clock: &Clock) -> Answer {
    call.at_most(1)?;
    let step = step_of(call.arg(0)).map_err(|message| call.fail(message))?;
    let now = clock.now(call)?;
    match now.checked_add(step).filter(|ns| *ns >= 0) {
        Some(ns) => clock.set(call, ns),
        None => Err(call.fail(format_args!(
            "a step of {} s from {} s since 1970 leaves what a clock can show",
            step as f64 / NANOS,
            now as f64 / NANOS
        ))),
    }
}

fn sleep(call: &mut Call<'_>, clock: &Clock) -> Answer {
    call.at_most(1)?;
    let asked = duration(call.arg(0)).map_err(|message| call.fail(message))?;
    if i64::try_from(asked.as_secs()).is_err() || asked > Duration::from_secs(1 << 40) {
        return Err(call.fail(format_args!(
            "{} s is longer than any guest lives",
            asked.as_secs()
        )));
    }
    let sleep = Syscall {
        nr: CLOCK_NANOSLEEP,
        args: [CLOCK_MONOTONIC, 0, 0, 0, 0, 0],
        bufs: vec![wall_clock::timespec(asked.as_secs() as i64, i64::from(asked.subsec_nanos())).into()],
        ptrs: vec![(2, 0)],
        nested: Vec::new(),
    };
    let (ret, _) = clock.0.ask(call, |client| client.ask(ops::syscall(sleep)))?;
    match ret {
        0 => none(),
        ret => {
            let error = std::io::Error::from_raw_os_error(i32::try_from(-ret).unwrap_or(i32::MAX));
            Err(call.fail(error))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_go_both_ways() {
        assert_eq!(step_of(&Value::Integer(-2)), Ok(-2_000_000_000));
        assert_eq!(step_of(&Value::Number(0.25)), Ok(250_000_000));
        assert!(step_of(&Value::Number(f64::NEG_INFINITY)).is_err());
        assert!(step_of(&Value::Integer(i64::MIN)).is_err());
        assert!(step_of(&Value::Boolean(true)).is_err());
    }
}
