//! A trace with file and line behind each place in it.
//!
//! Input: text of a kernel's console. Output: the same text, with ` (file:line)` behind what is known, and
//! the functions that were inlined there. Not here: which places there are (`trace`).

use std::collections::HashMap;

use crate::file::SymbolFile;
use crate::kernel::Kernel;
use crate::lines::Frame;
use crate::trace::{Place, What, kernel_offset, places};

/// Places of one text that are looked up; the rest stays as it is.
const MAX_PLACES: usize = 2000;

/// Where an instruction of the kernel's is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Instruction {
    pub(crate) address: u64,
    /// Whether what is meant is the instruction before.
    pub(crate) behind: bool,
}

/// The text with what is known of its places.
pub(crate) fn annotate(kernel: &Kernel, text: &str) -> String {
    let offset = || {
        kernel_offset(text)
            .or_else(|| offset_by_name(kernel, text))
            .or_else(|| kernel.fixed_offset())
    };
    let mut notes = Notes {
        kernel,
        offset: offset(),
        known: HashMap::new(),
        left: MAX_PLACES,
    };
    let mut annotated = String::with_capacity(text.len() * 2);
    for line in text.split_inclusive('\n') {
        let mut from = 0;
        for place in places(line) {
            // What has been annotated is not annotated again.
            if line[place.end..].starts_with(" (") {
                continue;
            }
            let note = notes.of(&place);
            annotated.push_str(&line[from..place.end]);
            annotated.push_str(&note);
            from = place.end;
        }
        annotated.push_str(&line[from..]);
    }
    annotated
}

/// An address of the running kernel as `function+0xoffset/0xsize (file:line)`; `offset` is how far it ran
/// from where it was linked to.
pub(crate) fn name(kernel: &Kernel, at: Instruction, offset: u64) -> Option<String> {
    let address = at.address.wrapping_sub(offset);
    let found = kernel.table()?.at(address)?;
    let frames = kernel
        .vmlinux()
        .map(|file| note(file, kernel, &[address], at.behind));
    Some(format!(
        "{}+{:#x}/{:#x}{}",
        found.name,
        found.offset,
        found.size,
        frames.unwrap_or_default()
    ))
}

/// How far the kernel ran from where it was linked to, by a line with both a name and its address.
fn offset_by_name(kernel: &Kernel, text: &str) -> Option<u64> {
    let table = kernel.table()?;
    text.lines().flat_map(places).find_map(|place| match place.what {
        What::Named {
            name,
            offset,
            size,
            module: None,
            address: Some(address),
        } => match table.addresses(name, offset, size)[..] {
            [linked] => Some(address.wrapping_sub(linked)),
            _ => None,
        },
        _ => None,
    })
}

/// What has been found out about a text's places.
struct Notes<'k, 't> {
    kernel: &'k Kernel,
    offset: Option<u64>,
    known: HashMap<(What<'t>, bool), String>,
    left: usize,
}

impl<'t> Notes<'_, 't> {
    fn of(&mut self, place: &Place<'t>) -> String {
        let key = (place.what.clone(), place.behind_call);
        if let Some(note) = self.known.get(&key) {
            return note.clone();
        }
        let Some(left) = self.left.checked_sub(1) else {
            return String::new();
        };
        self.left = left;
        let note = self.look_up(place).unwrap_or_default();
        self.known.insert(key, note.clone());
        note
    }

    fn look_up(&self, place: &Place<'t>) -> Option<String> {
        match place.what {
            What::Named {
                name,
                offset,
                size,
                module,
                ..
            } => {
                let file = match module {
                    Some(module) => self.kernel.module(module)?,
                    None => self.kernel.vmlinux()?,
                };
                // A function's first instruction is not behind a call of its own.
                let behind = place.behind_call && offset > 0;
                let addresses = file.table().addresses(name, offset, size);
                Some(note(file, self.kernel, &addresses, behind))
            }
            What::Address(address) => {
                let behind = place.behind_call;
                let named = name(self.kernel, Instruction { address, behind }, self.offset?)?;
                Some(format!(" {named}"))
            }
        }
    }
}

/// ` (file:line)` for an address; ` (file:line or file:line)` where a name of the same size is there twice.
fn note(file: &SymbolFile, kernel: &Kernel, addresses: &[u64], behind: bool) -> String {
    let short = |path: &str| match kernel.vmlinux() {
        Some(vmlinux) => vmlinux.shortener().short(path),
        None => file.shortener().short(path),
    };
    let mut texts: Vec<String> = Vec::new();
    for address in addresses {
        let frames = file.frames(address.wrapping_sub(u64::from(behind)));
        let text = chain(&frames, &short);
        if !text.is_empty() && !texts.contains(&text) {
            texts.push(text);
        }
    }
    match texts.is_empty() {
        true => String::new(),
        false => format!(" ({})", texts.join(" or ")),
    }
}

/// `file:line` of the function itself, then of each that was inlined there, outermost first:
/// `fs/read_write.c:691 > file_end_write include/linux/fs.h:3022`. What one line made of one macro, as the
/// functions of a system call are, is said once.
fn chain(frames: &[Frame], short: &dyn Fn(&str) -> String) -> String {
    let mut outer = None;
    let mut shown = Vec::new();
    for frame in frames.iter().rev() {
        let place = format!("{}:{}", short(&frame.file), frame.line);
        if outer.as_ref() == Some(&place) {
            continue;
        }
        shown.push(match &frame.function {
            Some(function) if outer.is_some() => format!("{function} {place}"),
            _ => place.clone(),
        });
        outer = Some(place);
    }
    shown.join(" > ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inlined_functions_follow_theirs_and_those_of_one_line_are_one() {
        let frame = |function: &str, file: &str, line| Frame {
            function: Some(function.to_owned()),
            file: format!("/src/{file}"),
            line,
        };
        let short = |path: &str| path.trim_start_matches("/src/").to_owned();
        let one = frame("vfs_write", "fs/read_write.c", 691);
        assert_eq!(chain(std::slice::from_ref(&one), &short), "fs/read_write.c:691");
        let inlined = frame("file_end_write", "include/linux/fs.h", 3022);
        assert_eq!(
            chain(&[inlined, one], &short),
            "fs/read_write.c:691 > file_end_write include/linux/fs.h:3022"
        );
        let names = ["__do_sys_write", "__se_sys_write", "__x64_sys_write"];
        let call = names.map(|name| frame(name, "fs/read_write.c", 745));
        assert_eq!(chain(&call, &short), "fs/read_write.c:745");
        assert_eq!(chain(&[], &short), "");
    }
}
