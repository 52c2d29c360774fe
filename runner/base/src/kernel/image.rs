//! What is in the file of a kernel: the kernel itself, and the configuration that it may hold.
//!
//! Input: a bzImage in any compression, or a vmlinux. Output: the unpacked kernel; its configuration as text,
//! where it was built with `CONFIG_IKCONFIG`. Not here: loading it.
//!
//! Gzip is unpacked here; for the others, as the kernel's own `scripts/extract-vmlinux` does it, there are
//! programs.

use std::borrow::Cow;
use std::fs;
use std::io::{self, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use flate2::read::GzDecoder;
use memchr::memmem;

use crate::cause::Cause;

const ELF: &[u8] = b"\x7fELF";
const GZIP: &[u8] = b"\x1f\x8b";
/// What stands before and behind the packed configuration.
const MARK: &[u8] = b"IKCFG_ST";
const END: &[u8] = b"IKCFG_ED";
/// Most bytes of a configuration, and of an unpacked kernel: of what a few bytes can be packed from, more is
/// none.
const LONGEST: u64 = 16 << 20;
const LARGEST: u64 = 1 << 30;
/// Magic of the boot protocol, and places of its fields in a bzImage.
const HEADER: (usize, &[u8]) = (0x202, b"HdrS");
const SETUP_SECTORS: usize = 0x1f1;
const PAYLOAD: usize = 0x248;
const PAYLOAD_LENGTH: usize = 0x24c;

/// Beginnings of what a bzImage holds, and what unpacks it.
const PACKERS: [(&[u8], &str, &[&str]); 6] = [
    (b"BZh", "bzip2", &["-dc"]),
    (b"\x5d\x00\x00", "xz", &["--format=lzma", "-dc"]),
    (b"\xfd7zXZ\0", "xz", &["-dc"]),
    (b"\x89LZO", "lzop", &["-dc"]),
    (b"\x02\x21\x4c\x18", "lz4", &["-dc"]),
    (b"\x28\xb5\x2f\xfd", "zstd", &["-dc"]),
];

/// Why it is not known what is in a file.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// It cannot be read.
    #[error("cannot read it: {}", Cause(.0))]
    Read(#[source] io::Error),
    /// It is no kernel.
    #[error("it is neither a bzImage nor a vmlinux")]
    NoKernel,
    /// It cannot be unpacked.
    #[error("cannot unpack it: {0}")]
    Packed(String),
}

/// The configuration in a kernel's file; none where it was built without.
///
/// # Errors
/// When it is no kernel, or cannot be unpacked.
pub(super) fn configuration(path: &Path) -> Result<Option<String>, ImageError> {
    let image = fs::read(path).map_err(ImageError::Read)?;
    let kernel = unpacked(&image)?;
    let mut marks = memmem::find_iter(&kernel, MARK).map(|at| &kernel[at + MARK.len()..]);
    let Some(packed) = marks.find(|behind| behind.starts_with(GZIP)) else {
        return Ok(None);
    };
    let packed = &packed[..memmem::find(packed, END).unwrap_or(packed.len())];
    let mut text = String::new();
    match GzDecoder::new(packed).take(LONGEST).read_to_string(&mut text) {
        Ok(_) => Ok(Some(text)),
        Err(error) => Err(ImageError::Packed(error.to_string())),
    }
}

/// The kernel itself.
fn unpacked(image: &[u8]) -> Result<Cow<'_, [u8]>, ImageError> {
    if image.starts_with(ELF) {
        return Ok(image.into());
    }
    let payload = payload(image).ok_or(ImageError::NoKernel)?;
    if payload.starts_with(ELF) {
        return Ok(payload.into());
    }
    if payload.starts_with(GZIP) {
        let kernel = all_of(GzDecoder::new(payload), LARGEST);
        return kernel.map(Cow::from).map_err(ImageError::Packed);
    }
    let packer = PACKERS.iter().find(|(begins, ..)| payload.starts_with(begins));
    let (_, program, arguments) =
        packer.ok_or_else(|| ImageError::Packed("its compression is none that is known".to_owned()))?;
    // The build puts the unpacked size behind all but gzip, which has it.
    filtered(program, arguments, &payload[..payload.len().saturating_sub(4)]).map(Cow::from)
}

/// What a bzImage's own code unpacks.
fn payload(image: &[u8]) -> Option<&[u8]> {
    let u32_at = |at: usize| Some(u32::from_le_bytes(image.get(at..at + 4)?.try_into().ok()?) as usize);
    let (at, magic) = HEADER;
    if !image.get(at..)?.starts_with(magic) {
        return None;
    }
    let sectors = match image[SETUP_SECTORS] {
        0 => 4,
        sectors => usize::from(sectors),
    };
    let begin = (sectors + 1) * 512 + u32_at(PAYLOAD)?;
    image.get(begin..begin.checked_add(u32_at(PAYLOAD_LENGTH)?)?)
}

/// All that is read, if it is not more than so many bytes; else why not.
fn all_of(reader: impl Read, most: u64) -> Result<Vec<u8>, String> {
    let mut all = Vec::new();
    let read = reader.take(most + 1).read_to_end(&mut all);
    match read.map_err(|error| error.to_string())? as u64 <= most {
        true => Ok(all),
        false => Err(format!("more than {} MiB", most >> 20)),
    }
}

/// What a program makes of these bytes.
fn filtered(program: &str, arguments: &[&str], input: &[u8]) -> Result<Vec<u8>, ImageError> {
    let failed = |what: String| ImageError::Packed(format!("`{program}` {what}"));
    let child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = child.map_err(|error| failed(format!("does not start: {}", Cause(&error))))?;
    let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
    let (unpacked, output) = std::thread::scope(|scope| {
        // A program that reads no more has said why.
        scope.spawn(|| stdin.map(|mut stdin| stdin.write_all(input)));
        // Dropped with the call, which ends a program that has more to say.
        let unpacked = stdout.map_or(Ok(Vec::new()), |stdout| all_of(stdout, LARGEST));
        (unpacked, child.wait_with_output())
    });
    let unpacked = unpacked.map_err(|what| failed(format!("makes {what} of it")))?;
    let output = output.map_err(|error| failed(error.to_string()))?;
    match output.status.success() {
        true => Ok(unpacked),
        false => Err(failed(format!(
            "says {}",
            String::from_utf8_lossy(&output.stderr).trim()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    /// A kernel with this configuration.
    fn kernel(config: &str) -> Vec<u8> {
        [ELF, &[7; 5000], MARK, &gzip(config.as_bytes()), END, &[7; 100]].concat()
    }

    /// A bzImage with this payload.
    fn bzimage(payload: &[u8]) -> Vec<u8> {
        let mut image = vec![0; 3 * 512 + 16];
        image[SETUP_SECTORS] = 2;
        image[HEADER.0..HEADER.0 + 4].copy_from_slice(HEADER.1);
        image[PAYLOAD..PAYLOAD + 4].copy_from_slice(&16u32.to_le_bytes());
        image[PAYLOAD_LENGTH..PAYLOAD_LENGTH + 4].copy_from_slice(&(payload.len() as u32).to_le_bytes());
        image.extend(payload);
        image.extend([9; 64]);
        image
    }

    fn read(image: &[u8]) -> Result<Option<String>, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(&file, image).unwrap();
        configuration(file.path()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_configuration_is_found_in_a_vmlinux_and_in_a_bzimage() {
        let config = "CONFIG_NET=y\n";
        assert_eq!(read(&kernel(config)), Ok(Some(config.to_owned())));
        assert_eq!(read(&bzimage(&kernel(config))), Ok(Some(config.to_owned())));
        assert_eq!(
            read(&bzimage(&gzip(&kernel(config)))),
            Ok(Some(config.to_owned()))
        );
        assert_eq!(read(&bzimage(&gzip(ELF))), Ok(None));
    }

    #[test]
    fn xz_is_unpacked_by_its_program() {
        let config = "CONFIG_NET=y\n";
        let packed = filtered("xz", &["--check=crc32", "-c"], &kernel(config)).unwrap();
        let packed = [&packed[..], &[0, 1, 2, 3]].concat();
        assert_eq!(read(&bzimage(&packed)), Ok(Some(config.to_owned())));
    }

    #[test]
    fn what_is_packed_from_more_than_a_kernel_can_be_is_refused() {
        let of = |len| all_of(std::io::repeat(0).take(len), 1 << 20).map(|all| all.len());
        assert_eq!(of(1 << 20), Ok(1 << 20));
        assert_eq!(of(u64::MAX), Err("more than 1 MiB".to_owned()));
    }

    #[test]
    fn what_is_no_kernel_or_cut_is_an_error() {
        assert!(read(b"").is_err());
        assert!(read(&[0; 4096]).is_err());
        let whole = bzimage(&gzip(&kernel("CONFIG_NET=y\n")));
        for len in [0x100, 0x240, 0x400, whole.len() - 70] {
            assert!(read(&whole[..len]).is_err(), "{len}");
        }
        assert!(read(&bzimage(b"odd bytes")).unwrap_err().contains("compression"));
    }
}
