//! What a test wants kept if it fails: `t:artifact`, and values that are too long for a message.
//!
//! Input: names, data, places in guests. Output: [`Artifact`]s, bounded. Not here: the files they become,
//! which `kept` writes.

use mlua::{ObjectLike, Value};

use crate::lua::api::call::Call;
use crate::lua::api::raise::{Answer, Raise, none};
use crate::lua::api::render;

/// Most bytes of data that one test can add.
const DATA_MAX: usize = 64 << 20;
/// Most artifacts of one test.
const COUNT_MAX: usize = 1000;
/// Most bytes of a name.
const NAME_MAX: usize = 120;

/// Something that a test wants kept if it fails.
pub(crate) struct Artifact {
    /// Name of the file.
    pub(super) name: String,
    pub(super) content: Content,
}

/// What is in it.
pub(super) enum Content {
    /// These bytes.
    Data(Vec<u8>),
    /// What this file of the VM has when the test has failed.
    Guest { vm: Option<String>, path: Vec<u8> },
}

/// `t:artifact(name, data | {guest = path, vm = vm})`, which adds to what is kept.
pub(super) fn add(call: &Call<'_>, kept: &mut Vec<Artifact>) -> Answer {
    let name = call.name(0, "a string as name")?;
    if let Some(wrong) = objection(&name) {
        return Err(call.fail(format_args!("the name `{}` {wrong}", name.escape_debug())));
    }
    let content = match call.arg(1) {
        Value::String(data) => Content::Data(data.as_bytes().to_vec()),
        Value::Table(_) => guest_file(call)?,
        other => return Err(call.wrong("a string of data, or {guest = path, vm = vm}", other)),
    };
    let held: usize = kept.iter().map(|artifact| artifact.content.len()).sum();
    if held + content.len() > DATA_MAX {
        return Err(call.fail(format_args!(
            "a test can keep {} MiB; leave longer data in a file of the guest and name that",
            DATA_MAX >> 20
        )));
    }
    if kept.len() >= COUNT_MAX {
        return Err(call.fail(format_args!("a test can keep {COUNT_MAX} artifacts")));
    }
    // The last of a name counts.
    kept.retain(|artifact| artifact.name != name);
    kept.push(Artifact { name, content });
    none()
}

/// Keeps those of the values whole that are too long for a message.
pub(super) fn keep_long(kept: &mut Vec<Artifact>, values: [(&str, &Value); 2]) {
    for (name, value) in values {
        if let Some(whole) = render::too_long(value) {
            let name = format!("{name}.txt");
            kept.retain(|artifact| artifact.name != name);
            kept.push(Artifact {
                name,
                content: Content::Data(whole),
            });
        }
    }
}

/// Why a name cannot be a file's, if it cannot.
fn objection(name: &str) -> Option<&'static str> {
    match name {
        "" | "." | ".." => Some("is no file's"),
        name if name.contains(['/', '\0']) => Some("has a `/` or a NUL; artifacts are files of one folder"),
        name if name.starts_with('.') => Some("begins with a dot"),
        name if name.len() > NAME_MAX => Some("is longer than 120 bytes"),
        _ => None,
    }
}

fn guest_file(call: &Call<'_>) -> Result<Content, Raise> {
    let options = call.options(1)?;
    let path = options.bytes("guest")?;
    let vm = match options.value("vm")? {
        Value::Nil => None,
        Value::UserData(vm) => Some(
            vm.call_method::<String>("name", ())
                .map_err(|_| options.fail("vm", "expected a VM"))?,
        ),
        other => return Err(call.wrong("a VM in option `vm`", &other)),
    };
    options.finish()?;
    match path {
        Some(path) if !path.is_empty() && !path.contains(&0) => Ok(Content::Guest { vm, path }),
        Some(_) => Err(call.fail("option `guest`: expected a path")),
        None => Err(call.fail("expected a path of the guest: {guest = path, vm = vm}")),
    }
}

impl Content {
    /// Bytes that are held until the test ends.
    fn len(&self) -> usize {
        match self {
            Content::Data(data) => data.len(),
            Content::Guest { .. } => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        for name in ["", ".", "..", "a/b", "/etc/passwd", "../x", "a\0b", ".hidden"] {
            assert!(objection(name).is_some(), "{name:?}");
        }
        assert!(objection(&"x".repeat(NAME_MAX + 1)).is_some());
        assert_eq!(objection("trace.json"), None);
        assert_eq!(objection("a b..c"), None);
    }
}
