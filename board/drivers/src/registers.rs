// SPDX-License-Identifier: BSD-2-Clause
//! A device's 32-bit registers, on the bus or faked.
//!
//! Responsible for: aligned 32-bit accesses within the device. Must never: reach beyond it.

use core::ptr::NonNull;
use safe_mmio::{UniqueMmioPointer, fields::ReadWrite};

/// The registers of one device. An offset is in bytes from the first register, a multiple of 4.
pub trait Registers {
    /// Loads the register at `offset`.
    fn read(&mut self, offset: usize) -> u32;
    /// Stores to the register at `offset`.
    fn write(&mut self, offset: usize, value: u32);
}

/// Registers on the bus.
#[derive(Debug)]
pub struct Mmio(UniqueMmioPointer<'static, [ReadWrite<u32>]>);

impl Mmio {
    /// The `length` bytes of registers at `base`.
    ///
    /// # Safety
    ///
    /// * `base` is aligned to 4 bytes, and `length` bytes from there are mapped as device memory,
    ///   for reading and writing, until the program ends; they are the registers of one device;
    /// * nothing else in this program accesses them;
    /// * the device accesses no memory on its own.
    pub const unsafe fn new(base: NonNull<u32>, length: usize) -> Self {
        let words = NonNull::slice_from_raw_parts(base.cast(), length / size_of::<u32>());
        // SAFETY: the caller's promise; `ReadWrite` fits any register of such a device.
        Self(unsafe { UniqueMmioPointer::new(words) })
    }
}

impl Registers for Mmio {
    /// A register that the device does not have reads as zero.
    #[inline]
    fn read(&mut self, offset: usize) -> u32 {
        self.0
            .get(offset / size_of::<u32>())
            .map_or(0, |mut register| register.read())
    }

    /// A register that the device does not have is not written.
    #[inline]
    fn write(&mut self, offset: usize, value: u32) {
        if let Some(mut register) = self.0.get(offset / size_of::<u32>()) {
            register.write(value);
        }
    }
}
