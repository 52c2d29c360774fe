//! `vm:wait_for_file`, `wait_for_port`, `wait_for_unit`: polling a guest with a limit.
//!
//! Input: what is waited for and a time limit. Output: the VM, once it is there, or an error that says what
//! was not. Each look is an operation that tests can make themselves. Not here: predicates of a test's own;
//! `wait_until` takes those.

use std::time::{Duration, Instant};

use provium_guest::{ExecSpec, Op, ops};

use super::handle::Vm;
use crate::lua::api::binding::Method;
use crate::lua::api::call::Call;
use crate::lua::api::interrupt::ending;
use crate::lua::api::raise::{Answer, Raise};
use crate::lua::api::value::{duration, integer, seconds};
use crate::lua::objects::remote::Remote;

/// Time limit where nothing else is said.
const LIMIT: Duration = Duration::from_secs(10);
/// Time between two looks.
const INTERVAL: Duration = Duration::from_millis(100);
/// Tables of the kernel that list TCP sockets; the second is not there without IPv6.
const SOCKETS: [&[u8]; 2] = [b"/proc/net/tcp", b"/proc/net/tcp6"];
/// State of a socket that listens, as those tables have it.
const LISTEN: &str = "0A";

/// The methods that wait for something in the guest.
pub(crate) fn methods() -> Vec<Method<Vm>> {
    vec![
        Method {
            name: "wait_for_file",
            signature: "(path: string, timeout?: number|string): VM",
            doc: "Waits until there is a file at this path, 10 seconds at most.",
            run: |call, vm| {
                let path = call.path(0)?;
                let shown = format!("file `{}`", String::from_utf8_lossy(&path));
                poll(call, &shown, || {
                    let seen = look(call, vm, ops::stat(&path, true))?;
                    Ok(seen.err())
                })
            },
        },
        Method {
            name: "wait_for_port",
            signature: "(port: integer, timeout?: number|string): VM",
            doc: "Waits until something listens on this TCP port, 10 seconds at most.",
            run: |call, vm| {
                let port =
                    integer(call.arg(0)).map_err(|message| call.fail(format_args!("the port: {message}")))?;
                let port = u16::try_from(port).ok().filter(|port| *port > 0);
                let port = port.ok_or_else(|| call.fail("the port: expected 1 to 65535"))?;
                poll(call, &format!("TCP port {port}"), || {
                    for table in SOCKETS {
                        if look(call, vm, ops::read_file(table))?.is_ok_and(|table| listens(&table, port)) {
                            return Ok(None);
                        }
                    }
                    Ok(Some("nothing listens on it".to_owned()))
                })
            },
        },
        Method {
            name: "wait_for_unit",
            signature: "(name: string, timeout?: number|string): VM",
            doc: "Waits until this unit of systemd is active, 10 seconds at most.",
            run: |call, vm| {
                let name = call.name(0, "a string as the unit's name")?;
                poll(call, &format!("unit `{name}`"), || {
                    let asked = ["systemctl", "is-active", "--", name.as_str()];
                    let spec = ExecSpec {
                        argv: asked.map(|word| word.as_bytes().to_vec()).to_vec(),
                        ..ExecSpec::default()
                    };
                    let outcome = vm.ask(call, |client| client.ask(ops::exec(spec)))?;
                    let said = String::from_utf8_lossy(&outcome.stdout).trim().to_owned();
                    Ok((said != "active").then(|| match said.is_empty() {
                        true => String::from_utf8_lossy(&outcome.stderr).trim().to_owned(),
                        false => format!("it is {said}"),
                    }))
                })
            },
        },
    ]
}

/// Looks at `why_not` until it has no reason any more; the call, whose second argument is the limit, returns
/// the VM.
fn poll(call: &Call<'_>, what: &str, why_not: impl Fn() -> Result<Option<String>, Raise>) -> Answer {
    call.at_most(2)?;
    let limit = match call.arg(1) {
        mlua::Value::Nil => LIMIT,
        value => duration(value).map_err(|message| call.fail(format_args!("the timeout: {message}")))?,
    };
    let (started, token) = (Instant::now(), call.file().cancel());
    loop {
        let Some(reason) = why_not()? else {
            return call.this();
        };
        let left = limit.saturating_sub(started.elapsed());
        if left.is_zero() {
            let limit = seconds(limit);
            return Err(call.fail(format_args!("{what} was not there within {limit}s: {reason}")));
        }
        if token.sleep(INTERVAL.min(left)).is_some() {
            return Err(call.fail(ending(call.lua(), call.what()).unwrap_or_default()));
        }
    }
}

/// What an operation comes to, or why the guest refused it.
fn look<T>(call: &Call<'_>, vm: &Vm, op: Op<T>) -> Result<Result<T, String>, Raise> {
    vm.ask(call, |client| match client.ask(op) {
        Err(error) if error.session_lives() => Ok(Err(error.to_string())),
        answer => answer.map(Ok),
    })
}

/// Whether a socket of such a table listens on `port`.
fn listens(table: &[u8], port: u16) -> bool {
    let table = String::from_utf8_lossy(table);
    let suffix = format!(":{port:04X}");
    table.lines().any(|line| {
        let mut words = line.split_whitespace().skip(1);
        words.next().is_some_and(|local| local.ends_with(&suffix)) && words.nth(1) == Some(LISTEN)
    })
}

#[cfg(test)]
mod tests {
    use super::listens;

    #[test]
    fn only_a_socket_that_listens_counts() {
        let table = b"  sl  local_address rem_address   st tx_queue rx_queue\n   0: 0100007F:1F90 00000000:0000 0A 0:0\n   \
                      1: 0100007F:0016 0100007F:1F91 01 0:0\n";
        assert!(listens(table, 8080));
        assert!(!listens(table, 22), "it is connected");
        assert!(!listens(table, 8081), "it is the peer's");
    }
}
