//! The running kernel, its settings, and the kernels installed beside it.

use holdfast_checks::facts::{Kernel, Observed, Reason};

use crate::host::Host;

pub(super) fn read(_host: &Host) -> Observed<Kernel> {
    Observed::unavailable_because(Reason::NotSupported, "no sensor in this version")
}
