//! `provium doctor`: what this host can do, or what a kernel has.
//!
//! Input: its arguments. Output: text or one JSON object, an exit code. Not here: any of the facts.

use std::path::Path;

use anyhow::Result;
use provium_base::exit;

use super::args::DoctorArgs;
use super::print;
use crate::doctor::{self, kernel};

/// Prints it: about a kernel where one is named.
pub(super) fn doctor(args: &DoctorArgs) -> Result<u8> {
    match &args.kernel {
        Some(path) => of_kernel(args, path),
        None => of_host(args.json),
    }
}

/// [`exit::SUCCESS`] when tests can run here in some way, else [`exit::HARNESS`].
fn of_host(json: bool) -> Result<u8> {
    let facts = doctor::facts();
    match json {
        true => print::print(&format!("{}\n", serde_json::to_string_pretty(&facts)?))?,
        false => print::print_coloured(&doctor::screen(&facts))?,
    }
    Ok(match facts.accel_auto {
        Some(_) => exit::SUCCESS,
        None => exit::HARNESS,
    })
}

/// [`exit::SUCCESS`] when guests run on the kernel, else [`exit::FAILED`]; a fragment is printed in any case.
fn of_kernel(args: &DoctorArgs, path: &Path) -> Result<u8> {
    let looked = kernel::look(path, args.modules.as_deref())?;
    if args.merge {
        print::print(&looked.fragment())?;
        return Ok(exit::SUCCESS);
    }
    match args.json {
        true => print::print(&looked.json()?)?,
        false => print::print_coloured(&looked.screen())?,
    }
    Ok(match looked.is_usable() {
        true => exit::SUCCESS,
        false => exit::FAILED,
    })
}
