//! `provium man`: the manual, from what the command says of itself.
//!
//! Input: perhaps a folder. Output: the page of `provium` on stdout, or one for each command in the folder.
//! Not here: docs/, which say more.

use std::fs;

use clap::CommandFactory;
use provium_base::exit;

use super::args::{Cli, ManArgs};
use super::print::print;

pub(super) fn man(args: &ManArgs) -> anyhow::Result<u8> {
    match &args.dir {
        Some(dir) => {
            let failed = |error| anyhow::anyhow!("cannot write the manual to {}: {error}", dir.display());
            fs::create_dir_all(dir).map_err(failed)?;
            clap_mangen::generate_to(Cli::command(), dir).map_err(failed)?;
        }
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(Cli::command()).render(&mut page)?;
            print(&String::from_utf8(page)?)?;
        }
    }
    Ok(exit::SUCCESS)
}
