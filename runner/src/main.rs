//! The `provium` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    provium::cli::main()
}
