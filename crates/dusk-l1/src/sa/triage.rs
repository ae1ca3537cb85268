//! What may be asked of the processor before a signature is known to be good.

use std::ops::Deref;

/// Something whose signatures were checked: made by the checks of this module, or of what this node signed itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checked<T>(T);

impl<T> Checked<T> {
    /// For what this node signed or verified by other means, and for tests.
    pub(crate) fn trusted(value: T) -> Self {
        Self(value)
    }

    /// The value.
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> Deref for Checked<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}
