//! A little kernel and a little module, compiled by the tests: functions inlined in others, linked to where
//! kernels are.
//!
//! Input: the C compiler. Output: files, and the offsets of what is marked in the sources. Not here: tests.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::elf::Elf;
use crate::module::Layout;

/// `MARK(0)` is behind a call, `MARK(1)` at an instruction two functions deep, `MARK(2)` behind the last call
/// of a function that does not return.
const MAIN: &str = r#"
#define MARK(n) ".pushsection .marks." #n ", \"a\"\n .quad 77b\n .popsection\n"
void clobber(void);
static inline __attribute__((always_inline)) void inner(int x)
{
	asm volatile("77: movl %0, 8\n" MARK(1) :: "r"(x));
}
static inline __attribute__((always_inline)) void middle(int x)
{
	inner(x);
}
__attribute__((noinline)) void outer(int x)
{
	middle(x);
}
static __attribute__((noinline, used)) int helper(int x) { return x * 5 + 1; }
__attribute__((noinline, noreturn)) void dies(void)
{
	asm volatile("call clobber\n 77:\n" MARK(2));
	__builtin_unreachable();
}
int start_kernel(int x)
{
	asm volatile("call clobber\n 77:\n" MARK(0) ::: "memory");
	outer(x);
	return helper(x);
}
"#;

const OTHER: &str = r#"
void clobber(void) {}
void entry_SYSCALL_64(void) { asm volatile("nop; nop; nop"); }
const char linux_banner[] = "Linux version 6.1.0-little (who@where) (gcc) #1 SMP Thu\n";
static __attribute__((noinline, used)) int helper(int x) { while (x & 3) x = x * x / 7; return x; }
int other(int x) { return helper(x) + 1; }
"#;

/// The files, which go with this value.
pub(super) struct Program {
    folder: TempDir,
}

impl Program {
    /// Compiles and links.
    pub(super) fn build() -> Program {
        let folder = TempDir::new().unwrap();
        let program = Program { folder };
        for (name, text) in [("linux/init/main.c", MAIN), ("linux/fs/other.c", OTHER)] {
            let path = program.path(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        std::fs::create_dir(program.path("objects")).unwrap();
        for (source, object) in [("init/main.c", "main.o"), ("fs/other.c", "splat.ko")] {
            program.gcc(&["-c", &format!("../linux/{source}"), "-o", object]);
        }
        program.gcc(&[
            "-c",
            "../linux/init/main.c",
            "-ffunction-sections",
            "-gz=none",
            "-o",
            "mod.ko",
        ]);
        let link = [
            "main.o",
            "splat.ko",
            "-static",
            "-nostdlib",
            "-no-pie",
            "-Wl,--build-id=sha1",
        ];
        let at = [
            "-Wl,-Ttext=0xffffffff81000000",
            "-Wl,-e,start_kernel",
            "-z",
            "noexecstack",
        ];
        for (name, more) in [("vmlinux", None), ("packed", Some("-gz=zlib"))] {
            let arguments: Vec<_> = link
                .iter()
                .chain(&at)
                .chain(&["-o", name])
                .copied()
                .chain(more)
                .collect();
            program.gcc(&arguments);
        }
        program
    }

    fn gcc(&self, arguments: &[&str]) {
        let mut command = Command::new("gcc");
        command.args([
            "-g",
            "-O2",
            "-mcmodel=kernel",
            "-ffreestanding",
            "-fno-pic",
            "-fno-stack-protector",
        ]);
        command
            .args(["-fno-asynchronous-unwind-tables", "-fcf-protection=none"])
            .args(arguments);
        let output = command.current_dir(self.path("objects")).output().unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    /// Runs a program of the binutils in the folder of what was compiled.
    pub(super) fn tool(&self, name: &str, arguments: &[&str]) {
        let mut command = Command::new(name);
        let status = command
            .args(arguments)
            .current_dir(self.path("objects"))
            .status()
            .unwrap();
        assert!(status.success(), "{name} {arguments:?}");
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What was compiled.
    pub(super) fn object(&self, name: &str) -> PathBuf {
        self.path("objects").join(name)
    }

    /// `function+0xoffset/0xsize` of what is marked, as a kernel prints it.
    pub(super) fn mark(&self, number: u32, function: &str) -> String {
        let elf = Elf::open(&self.object("vmlinux")).unwrap();
        let content = elf
            .content(elf.section(&format!(".marks.{number}")).unwrap())
            .unwrap();
        let address = u64::from_le_bytes(content[..8].try_into().unwrap());
        let (start, size) = extent(&self.object("vmlinux"), function);
        format!("{function}+{:#x}/{size:#x}", address - start)
    }
}

/// Address and size that a symbol of a file says.
pub(super) fn extent(path: &Path, name: &str) -> (u64, u64) {
    let elf = Elf::open(path).unwrap();
    let (symbols, names) = elf.symbols().unwrap();
    let layout = Layout::new(&elf, &symbols);
    let named = |symbol: &&object::elf::Sym64<object::LittleEndian>| {
        crate::elf::string(&names, symbol.st_name.get(object::LittleEndian)) == name
    };
    let symbol = symbols.iter().find(named).unwrap();
    (
        layout.address(symbol).unwrap(),
        symbol.st_size.get(object::LittleEndian),
    )
}
