//! Boots a kernel and shows its console until the guest ends: `boot KERNEL INITRD|- MIB CPUS CMDLINE`.

use std::time::{Duration, Instant};

use provium_vmm::{Discovery, Machine, MachineConfig};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [kernel, initrd, mib, cpus, cmdline] = args.as_slice() else {
        return Err("usage: boot KERNEL INITRD|- MIB CPUS CMDLINE".into());
    };
    let start = Instant::now();
    let machine = Machine::create(MachineConfig {
        kernel: kernel.into(),
        initrd: (initrd != "-").then(|| initrd.into()),
        early_initrd: Vec::new(),
        extra_initrds: Vec::new(),
        cmdline: cmdline.clone(),
        memory: mib.parse::<u64>()? << 20,
        cpus: cpus.parse()?,
        rng_seed: None,
        discovery: Discovery::Auto,
        shares: Vec::new(),
        disks: Vec::new(),
    })?;
    let listener = machine.listen(5252)?;
    machine.start()?;
    eprintln!("created and started after {:?}", start.elapsed());
    let connected = listener.accept(Some(Duration::from_secs(60)));
    eprintln!("{connected:?} after {:?}", start.elapsed());
    let end = machine.wait_end(Some(Duration::from_secs(5)));
    print!("{}", machine.console_tail(1 << 20));
    eprintln!("{end:?} after {:?}", start.elapsed());
    Ok(())
}
