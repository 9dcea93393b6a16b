// SPDX-License-Identifier: BSD-2-Clause
//! Random numbers from the operating system.

use std::time::{SystemTime, UNIX_EPOCH};

/// Random bits; if the system has none to give, the clock's.
pub(crate) fn random_bits() -> [u64; 2] {
    let mut bytes = [0; 16];
    let bits = match getrandom::fill(&mut bytes) {
        Ok(()) => u128::from_le_bytes(bytes),
        Err(_) => SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_nanos(),
    };
    let half = |bits: u128| u64::try_from(bits & u128::from(u64::MAX)).unwrap_or_default();
    [half(bits), half(bits >> 64)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_bits_differ() {
        assert_ne!(random_bits(), random_bits());
    }
}
