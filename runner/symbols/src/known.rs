//! The symbols of all kernels that a process was asked about.
//!
//! Input: files of kernels. Output: a [`Symbolizer`] for each, the same for everybody who asks. Not here:
//! what it answers.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::kernel::KernelFiles;
use crate::symbolizer::Symbolizer;

/// Kernels whose symbols are known, or will be when somebody asks for one.
#[derive(Debug, Default)]
pub struct KnownKernels {
    kernels: Mutex<BTreeMap<KernelFiles, Arc<Symbolizer>>>,
}

impl KnownKernels {
    /// The symbols of the kernel in these files.
    pub fn symbols(&self, files: KernelFiles) -> Arc<Symbolizer> {
        let mut kernels = self.kernels.lock();
        let known = kernels.entry(files.clone());
        Arc::clone(known.or_insert_with(|| Arc::new(Symbolizer::new(files))))
    }

    /// Forgets what was read; files may be others by now.
    pub fn forget(&self) {
        self.kernels.lock().clear();
    }
}
