//! Debian's packages as guests: a kernel with its modules, busybox, a whole userland.
//!
//! Input: names of packages, of which apt knows the rest. Output: files in a cache, and the ready guest
//! `guest:debian` made of them. Not here: installing anything: a package of a kernel would run boot loaders'
//! hooks on the user's machine, and unpacking one touches nothing.
//!
//! ```text
//! guest               what `guest:debian` is: making it, finding it
//! kernel, userland    the two parts of it that take a while to make
//! busybox, archive    the initrd
//! package, apt        packages: found, downloaded, unpacked
//! cache               where all of it is kept
//! ```

pub mod apt;
pub mod archive;
pub mod busybox;
pub mod cache;
pub mod guest;
pub mod kernel;
pub mod package;
pub mod userland;
