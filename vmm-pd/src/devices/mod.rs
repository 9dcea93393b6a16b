//! The guest's devices that `vmm-pd` is: the UART and the clock of the day.

pub mod clock;
pub mod console;
