//! What a kernel lacks of what its guest needs, looked up when the guest does not come up.
//!
//! Input: a kernel's file, its modules, what is asked of the guest. Output: one sentence. Not here: boots
//! that go well, which never pay for it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::Mutex;
use provium_base::kernel::{Config, Found, Judgement, NeedState, judge};

/// A kernel, and when it had changed.
type Kernel = (PathBuf, Option<SystemTime>);

/// Configurations that were read: a slow host looks at each boot, and unpacks a kernel once.
static READ: Mutex<BTreeMap<Kernel, Option<Arc<Config>>>> = Mutex::new(BTreeMap::new());

/// What there is to know of a kernel that may not do.
#[derive(Debug, Clone, Default)]
pub struct KernelCheck {
    /// The bzImage or vmlinux.
    pub kernel: PathBuf,
    /// Its folder of modules.
    pub modules: Option<PathBuf>,
    /// Whether the guest's own initrd may have others.
    pub has_initrd: bool,
    /// Names of features that it needs besides those of any guest.
    pub features: Vec<&'static str>,
    /// Whether its devices are on its command line.
    pub acpi_off: bool,
}

impl KernelCheck {
    /// Why the kernel will never do, by what is in its own file, which cannot be out of date.
    pub(super) fn refuses(&self) -> Option<String> {
        let config = self.config()?;
        let judged = judge(&config);
        let sure = matches!(config.found, Found::Image(_)) && self.is_fatal(&judged);
        sure.then(|| self.said(&judged)).flatten()
    }

    /// What is known to be lacking, as an explanation of a boot that failed.
    pub(super) fn explains(&self) -> Option<String> {
        self.said(&judge(&*self.config()?))
    }

    fn config(&self) -> Option<Arc<Config>> {
        let changed = std::fs::metadata(&self.kernel)
            .and_then(|metadata| metadata.modified())
            .ok();
        let read = || {
            Config::of(&self.kernel, self.modules.as_deref())
                .ok()
                .map(Arc::new)
        };
        READ.lock()
            .entry((self.kernel.clone(), changed))
            .or_insert_with(read)
            .clone()
    }

    fn is_fatal(&self, judged: &Judgement) -> bool {
        let lacking = judged.of_guest(&self.features);
        let mut states = lacking.flat_map(|state| state.lacking().map(|(_, state)| *state));
        let fatal = states.any(|state| state != NeedState::NoFile || !self.has_initrd);
        fatal || self.wants_acpi_off(judged)
    }

    fn wants_acpi_off(&self, judged: &Judgement) -> bool {
        judged.wants_acpi_off && !self.acpi_off
    }

    fn said(&self, judged: &Judgement) -> Option<String> {
        let lacking = judged.of_guest(&self.features).map(ToString::to_string);
        let lacking: Vec<_> = lacking.collect();
        let kernel = self.kernel.display();
        match lacking.is_empty() {
            false => Some(format!(
                "the kernel {kernel} lacks {} (`provium doctor --kernel {kernel}` says more)",
                lacking.join("; ")
            )),
            true if self.wants_acpi_off(judged) => Some(format!(
                "the kernel {kernel} has no ACPI, and finds devices with `acpi=off` on its command line alone"
            )),
            true => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A check of a kernel with all that is asked for, but for this line of it, and this one added.
    fn check(without: &str, with: &str) -> (tempfile::TempDir, KernelCheck) {
        let folder = tempfile::tempdir().unwrap();
        let whole = provium_base::kernel::fragment(|_, _| true);
        let config = whole.replace(&format!("CONFIG_{without}=y\n"), "") + with;
        std::fs::write(folder.path().join(".config"), config).unwrap();
        let kernel = folder.path().join("vmlinux");
        std::fs::write(&kernel, b"\x7fELF\0").unwrap();
        let check = KernelCheck {
            kernel,
            ..KernelCheck::default()
        };
        (folder, check)
    }

    #[test]
    fn a_failed_boot_is_explained_by_what_is_lacking() {
        let (_folder, whole) = check("nothing", "");
        assert_eq!(whole.explains(), None);
        let (_folder, check_net) = check("NET", "");
        let said = check_net.explains().unwrap();
        assert!(
            said.contains(" lacks channel: CONFIG_NET (`provium doctor"),
            "{said}"
        );
        let (_folder, mut disks) = check("VIRTIO_BLK", "");
        assert_eq!(disks.explains(), None);
        disks.features.push("disks");
        assert!(disks.explains().unwrap().contains("disks: CONFIG_VIRTIO_BLK"));
    }

    #[test]
    fn a_file_beside_it_may_be_out_of_date_and_refuses_nothing() {
        let (_folder, check) = check("NET", "");
        assert_eq!(check.refuses(), None);
    }

    #[test]
    fn without_acpi_the_command_line_has_to_say_so() {
        let (_folder, mut check) = check("ACPI", "CONFIG_VIRTIO_MMIO_CMDLINE_DEVICES=y\n");
        assert!(check.explains().unwrap().contains("`acpi=off`"));
        check.acpi_off = true;
        assert_eq!(check.explains(), None);
    }
}
