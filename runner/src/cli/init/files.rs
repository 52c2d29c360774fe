//! What a new project has.
//!
//! Input: the kernel to boot. Output: names and content of files. Not here: what an editor needs
//! (`lsp_setup`).

use std::path::PathBuf;

use super::kernels::Kernel;
use crate::config::FILE_NAME;

/// The folder of tests.
pub(super) const TESTS: &str = "tests";

const FIRST_TEST: &str = include_str!("first.test.lua");
/// What runs leave, and what `provium lsp-setup` writes anew.
const IGNORED: &str = "/.provium/\n/target/\n";

/// The files of a project, relative to its folder.
pub(super) fn project(kernel: &Kernel) -> Vec<(PathBuf, String)> {
    vec![
        (FILE_NAME.into(), configuration(kernel)),
        (PathBuf::from(TESTS).join("first.test.lua"), FIRST_TEST.to_owned()),
        (".gitignore".into(), IGNORED.to_owned()),
    ]
}

fn configuration(kernel: &Kernel) -> String {
    let text = |value: &str| toml::Value::String(value.to_owned()).to_string();
    format!(
        "# Which guests the tests boot.\n\n[provium]\nroots = [{}]\n\n[profiles.small]\nkernel = {}\ninitrd = {}\n\
         cmdline = \"console=ttyS0 quiet\"\nmemory = \"256M\"\n",
        text(TESTS),
        text(&kernel.kernel),
        text(&kernel.initrd),
    )
}
