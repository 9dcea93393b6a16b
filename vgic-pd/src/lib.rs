//! The virtual interrupt controller: what the guest's GICv2 distributor is, and what goes into
//! list registers.
//!
//! Responsible for: the state of every interrupt as the architecture defines it (IHI 0048B,
//! chapters 3 and 4), the choice of which vCPU gets which pending interrupt, the books of what
//! sits in every list register, and the record of all that. Must never: touch a vCPU, guest RAM
//! or a device; know more of the hardware than that a vCPU has [`LIST_REGISTERS`] list registers;
//! put a list register into the record.
//!
//! # What an unmodified seL4 allows, and what follows
//!
//! seL4 offers one operation on a list register: make an interrupt pending in it, with a
//! notification at its end. It cannot be read and not be taken back. So:
//!
//! * An interrupt in a list register is *in flight*: pending or active, we do not know which,
//!   until its end is reported or a capture looks. `GICD_ISACTIVER` reads such an interrupt as
//!   active, because software that polls this register wants to know whether a handler can still
//!   run (Linux's `synchronize_irq`); `GICD_ISPENDR` shows what is pending besides. After a
//!   capture both are exact.
//! * An interrupt that is disabled, retargeted, reprioritised or cleared while in flight may
//!   still be delivered once, as before. A capture does withdraw it.
//! * An edge, or another request of the same SGI from the same vCPU, that comes while the
//!   interrupt is in flight is delivered after the end of that one. A physical GIC would merge
//!   it if the first was not acknowledged yet. Nothing is ever lost.
//! * `GICD_ICACTIVER` cannot reach an interrupt that is active in a list register. It is
//!   remembered and carried out by the next capture; [`Gic::write`] reports it.
//! * The source vCPU of a software generated interrupt is state of the distributor, exact and
//!   recorded, one delivery for each source. It does not fit through seL4's interface, which
//!   takes ten bits of interrupt number: `GICC_IAR` always shows source 0.
//! * An interrupt of the lowest priority, `0xf8`, never goes into a list register: `GICC_PMR` has
//!   no value that lets it through, and nothing could take it out again. It stays pending.
//! * More than four interrupts that are active at once on one vCPU do not fit: a fifth waits.
//!
//! # Who gets into a list register
//!
//! The pending, enabled interrupt of the highest priority, the lowest INTID among equals, never
//! one that is in flight already. The last free list register of a vCPU is kept for an interrupt
//! of higher priority than all in flight there: however long a guest keeps some interrupts masked
//! or active, an urgent one finds room. Nothing starves by that: what waits for the last list
//! register waits for the end of an interrupt that the guest would take before it anyway.
//!
//! A shared interrupt goes to one of its targets: one with nothing in flight if there is one,
//! else the first that has room.

#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::indexing_slicing))]

mod bank;
mod books;
mod capture;
mod delivery;
mod gic;
mod guest_access;
mod interrupt;
mod record;
mod register;
mod service;

pub use channel::vgic::LIST_REGISTERS;
pub use gic::Gic;
pub use interrupt::{INTERRUPTS, PRIVATE_INTERRUPTS, SHARED_INTERRUPTS};
pub use service::{Caller, MAX_RECORD, Regions, Service};
