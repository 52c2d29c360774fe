//! Other monitors with the same kernel, initrd and agent, measured in the same rounds.
//!
//! QEMU's machine is `microvm`, the smallest it has; its guest calls over the kernel's vhost-vsock.
//!
//! Input: programs on PATH.
//! Output: samples of their rows, or why there are none.
//! Not here: vhost-vsock itself; see `vsock`.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use provium_guest::agent_archive;
use provium_guest::{GuestClient, with_agent};
use provium_protocol::HOST_PORT;
use serde_json::{Value, json};

use crate::MEMORY;
use crate::recorder::Recorder;
use crate::vsock::Listener;

const QEMU: &str = "qemu-system-x86_64";
const RESUME_ROWS: [&str; 3] = ["qemu/start", "qemu/load", "qemu/resume"];
const LIMIT: Duration = Duration::from_secs(60);

/// A guest that QEMU has saved, and what it needs to run one.
pub(crate) struct Qemu {
    folder: tempfile::TempDir,
    kernel: PathBuf,
    listener: Listener,
}

impl Qemu {
    /// Loads the modules in `modules`, if given, boots a guest and saves it.
    ///
    /// # Errors
    /// When any of that fails: QEMU is not on PATH, the kernel has no vhost-vsock, …
    pub(crate) fn prepare(artifacts: &Path, modules: Option<&Path>) -> Result<Qemu> {
        let version = Command::new(QEMU).arg("--version").output();
        version.with_context(|| format!("{QEMU} is not on PATH"))?;
        if let Some(modules) = modules {
            load_modules(modules)?;
        }
        ensure!(
            Path::new("/dev/vhost-vsock").exists(),
            "this host has no /dev/vhost-vsock, by which a guest could answer"
        );
        let folder = tempfile::tempdir()?;
        let mut initrd = std::fs::read(artifacts.join("initrd.cpio"))?;
        initrd.resize(initrd.len().next_multiple_of(4), 0);
        initrd.extend_from_slice(agent_archive());
        std::fs::write(folder.path().join("initrd"), initrd)?;
        let qemu = Qemu {
            folder,
            kernel: artifacts.canonicalize()?.join("vmlinux"),
            listener: Listener::on(HOST_PORT)?,
        };
        let mut running = qemu.start(false)?;
        let mut client = qemu.session()?;
        client.ping()?;
        running.command("stop", json!({}))?;
        let state = qemu.state();
        running.command(
            "migrate",
            json!({ "uri": format!("exec:cat > {}", state.display()) }),
        )?;
        running.wait_migrated()?;
        Ok(qemu)
    }

    /// Measures its rows once.
    pub(crate) fn round(&self, recorder: &mut Recorder) {
        recorder.attempt(&RESUME_ROWS, |recorder| self.resume(recorder));
        recorder.attempt(&["qemu/boot"], |recorder| self.boot(recorder));
    }

    fn resume(&self, recorder: &mut Recorder) -> Result<()> {
        let begin = Instant::now();
        let mut running = self.start(true)?;
        recorder.time("qemu/start", begin.elapsed());
        running.wait_migrated()?;
        recorder.time("qemu/load", begin.elapsed());
        running.command("cont", json!({}))?;
        self.session()?.ping()?;
        recorder.time("qemu/resume", begin.elapsed());
        Ok(())
    }

    fn boot(&self, recorder: &mut Recorder) -> Result<()> {
        let begin = Instant::now();
        let _running = self.start(false)?;
        self.session()?.ping()?;
        recorder.time("qemu/boot", begin.elapsed());
        Ok(())
    }

    fn session(&self) -> Result<GuestClient> {
        let stream = self.listener.accept(LIMIT)?;
        Ok(GuestClient::handshake(Box::new(stream), LIMIT)?)
    }

    fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// Starts QEMU and waits for its monitor's greeting.
    fn start(&self, from_state: bool) -> Result<Running> {
        let socket = self.folder.path().join("monitor");
        let _ = std::fs::remove_file(&socket);
        let listener = UnixListener::bind(&socket)?;
        listener.set_nonblocking(true)?;
        let log = std::fs::File::create(self.folder.path().join("log"))?;
        let mut command = Command::new(QEMU);
        command.args(["-M", "microvm,accel=kvm,rtc=off,pit=off"]);
        command.args([
            "-cpu",
            "host",
            "-smp",
            "1",
            "-nodefaults",
            "-no-user-config",
            "-display",
            "none",
        ]);
        command.arg("-m").arg((MEMORY >> 20).to_string());
        command
            .arg("-kernel")
            .arg(&self.kernel)
            .arg("-initrd")
            .arg(self.folder.path().join("initrd"));
        command.arg("-append").arg(with_agent("console=ttyS0 quiet"));
        command.args(["-serial", "null", "-device", "vhost-vsock-device,guest-cid=42"]);
        command.arg("-qmp").arg(format!("unix:{}", socket.display()));
        if from_state {
            command
                .arg("-incoming")
                .arg(format!("exec:cat {}", self.state().display()));
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let mut running = Running {
            child: command.spawn().with_context(|| format!("start {QEMU}"))?,
            monitor: None,
        };
        let begin = Instant::now();
        let stream = loop {
            if let Ok((stream, _)) = listener.accept() {
                break stream;
            }
            if running.child.try_wait()?.is_some() || begin.elapsed() > LIMIT {
                let log = std::fs::read_to_string(self.folder.path().join("log"));
                bail!("{QEMU} did not come up: {}", log.unwrap_or_default().trim());
            }
            std::thread::sleep(Duration::from_micros(200));
        };
        stream.set_read_timeout(Some(LIMIT))?;
        let mut reader = BufReader::new(stream);
        line(&mut reader)?;
        running.monitor = Some(reader);
        running.command("qmp_capabilities", json!({}))?;
        Ok(running)
    }
}

/// A QEMU and its monitor; ends with this value.
struct Running {
    child: Child,
    monitor: Option<BufReader<UnixStream>>,
}

impl Running {
    fn command(&mut self, name: &str, arguments: Value) -> Result<Value> {
        let monitor = self.monitor.as_mut().context("no monitor yet")?;
        let command = json!({ "execute": name, "arguments": arguments });
        writeln!(monitor.get_mut(), "{command}")?;
        loop {
            let mut answer = line(monitor)?;
            if let Some(value) = answer.get_mut("return") {
                return Ok(value.take());
            }
            if let Some(error) = answer.get("error") {
                bail!("QEMU: {name}: {error}");
            }
        }
    }

    fn wait_migrated(&mut self) -> Result<()> {
        loop {
            let answer = self.command("query-migrate", json!({}))?;
            match answer["status"].as_str() {
                Some("completed") => return Ok(()),
                Some("failed" | "cancelled") => bail!("QEMU's migration failed: {answer}"),
                _ => std::thread::sleep(Duration::from_micros(500)),
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn line(reader: &mut BufReader<UnixStream>) -> Result<Value> {
    let mut line = String::new();
    ensure!(reader.read_line(&mut line)? > 0, "QEMU closed its monitor");
    Ok(serde_json::from_str(&line)?)
}

/// Loads `*.ko` in the order of their names; those that are loaded already stay.
fn load_modules(folder: &Path) -> Result<()> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder)?
        .flatten()
        .map(|entry| entry.path())
        .collect();
    paths.retain(|path| path.extension().is_some_and(|end| end == "ko"));
    paths.sort();
    for path in paths {
        let file = std::fs::File::open(&path)?;
        match rustix::system::finit_module(&file, c"", 0) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => {}
            Err(error) => bail!("load {}: {error}", path.display()),
        }
    }
    Ok(())
}
