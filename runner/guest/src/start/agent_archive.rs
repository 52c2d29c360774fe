//! The archive with the agent, laid over the user's initrd at boot, so that the initrd itself is never
//! changed.
//!
//! Input: the agent's binary, which the build embedded. Output: an archive for
//! `MachineConfig::extra_initrds`. Not here: files that a test wants in its guest.

use std::sync::{Arc, OnceLock};

use provium_base::initramfs::{InitramfsFile, archive};

/// The agent's static binary.
static AGENT: &[u8] = include_bytes!(env!("PROVIUM_AGENT"));
/// Where the guest finds the agent.
pub const AGENT_PATH: &str = "/.provium/agent";

/// The archive that holds the agent and nothing else; made once per process, for all machines.
pub fn agent_archive() -> &'static Arc<[u8]> {
    static ARCHIVE: OnceLock<Arc<[u8]>> = OnceLock::new();
    ARCHIVE.get_or_init(|| {
        let agent = InitramfsFile {
            path: AGENT_PATH,
            mode: 0o755,
            content: AGENT,
        };
        archive(&[agent])
            .expect("the agent's path and size fit an archive")
            .into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_agent_is_a_static_program() {
        let elf = AGENT;
        assert_eq!(&elf[..4], b"\x7fELF");
        // No PT_INTERP: the guest has no dynamic loader to offer.
        let table = u64::from_le_bytes(elf[32..40].try_into().expect("e_phoff")) as usize;
        let (size, count) = (
            u16::from_le_bytes([elf[54], elf[55]]),
            u16::from_le_bytes([elf[56], elf[57]]),
        );
        for index in 0..usize::from(count) {
            let header = table + index * usize::from(size);
            assert_ne!(
                elf[header..header + 4],
                [3, 0, 0, 0],
                "the agent asks for a dynamic loader"
            );
        }
    }

    #[test]
    fn the_archive_has_the_agent_where_the_kernel_looks_for_it() {
        let archive = agent_archive();
        let path = AGENT_PATH.trim_start_matches('/').as_bytes();
        assert!(archive.windows(path.len()).any(|window| window == path));
        assert!(archive.windows(AGENT.len()).any(|window| window == AGENT));
    }
}
