//! Two VMs, saved together and resumed twice: a lab without Lua and without `provium.toml`.
//!
//! ```text
//! cargo run -p provium-guest --example two_vms -- KERNEL [INITRD]
//! ```
//!
//! Input: a kernel and perhaps an initrd with a shell. Output: what a command printed in each VM, a line
//! each. Not here: a cache; the snapshots go with the folder they are in.

use std::error::Error;
use std::path::{Path, PathBuf};

use provium_guest::{BootOptions, Cancel, ExecSpec, GuestSpec, Lab, VmHandle, WarmPool, ops};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let kernel = arguments
        .next()
        .ok_or("give a kernel, and an initrd that has a shell if the kernel has none")?;
    let folder = tempfile::tempdir()?;
    for line in run(kernel, arguments.next(), folder.path())? {
        println!("{line}");
    }
    Ok(())
}

/// Boots a lab of two VMs, saves it into `folder`, resumes it twice and asks each VM who it is. Returns a
/// line for each, then one for each VM of the first lab after it was put back.
pub(crate) fn run(
    kernel: PathBuf,
    initrd: Option<PathBuf>,
    folder: &Path,
) -> Result<Vec<String>, Box<dyn Error>> {
    let cancel = Cancel::new();
    // Machines made ahead: the second resume finds one ready.
    let pool = WarmPool::new(2);
    let spec = GuestSpec {
        initrd,
        memory: 128 << 20,
        ..GuestSpec::new(kernel)
    };
    let shell = |vm: &VmHandle, line: &str| -> Result<String, Box<dyn Error>> {
        let outcome = vm.ask(ops::exec(ExecSpec::shell(line)), &cancel)?;
        Ok(String::from_utf8(outcome.stdout)?.trim().to_owned())
    };

    let lab = Lab::new("pair");
    lab.declare("server", spec.clone(), BootOptions::default())?;
    lab.declare("client", spec, BootOptions::default())?;
    lab.boot_all(&cancel)?;
    for vm in lab.vms() {
        shell(&vm, &format!("echo {} > /tmp/name", vm.name()))?;
    }

    let saved = lab.snapshot(folder, &pool)?;
    let copies = [saved.resume("first", &pool)?, saved.resume("second", &pool)?];
    let mut lines = Vec::new();
    for copy in &copies {
        for vm in copy.vms() {
            let said = shell(
                &vm,
                "cat /tmp/name /tmp/changed 2>/dev/null; echo x > /tmp/changed",
            )?;
            lines.push(format!("{} {}: {said}", copy.name(), vm.name()));
        }
    }

    for vm in lab.vms() {
        shell(&vm, "rm /tmp/name")?;
    }
    lab.restore_all(&saved, &pool)?;
    for vm in lab.vms() {
        lines.push(format!(
            "{} {}: {}",
            lab.name(),
            vm.name(),
            shell(&vm, "cat /tmp/name")?
        ));
    }
    for lab in copies.iter().chain([&lab]) {
        lab.close_all(&pool);
    }
    pool.close();
    Ok(lines)
}
