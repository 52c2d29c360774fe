//! `provium guest`: ready guests that any project can name.
//!
//! Input: which. Output: `guest:debian` in the cache, and what to write into a profile. Not here: making it
//! (`provium_debian`).

use provium_base::exit;
use provium_debian::{cache, guest};

use super::args::{FetchArgs, GuestArgs, GuestCommand};
use super::print::{complain, print};

pub(super) fn guest(args: &GuestArgs) -> anyhow::Result<u8> {
    match &args.command {
        GuestCommand::Fetch(args) => fetch(args),
    }
}

fn fetch(args: &FetchArgs) -> anyhow::Result<u8> {
    let say = |what: &str| complain(&format!("provium: {what}"));
    guest::fetch(&cache::base()?, args.userland, &say)?;
    let name = guest::NAME;
    let mut lines = format!("kernel = \"{name}\"\ninitrd = \"{name}\"\n");
    if args.userland {
        lines.push_str(&format!("rootfs = \"{name}\"\n"));
    }
    print(&lines)?;
    Ok(exit::SUCCESS)
}
