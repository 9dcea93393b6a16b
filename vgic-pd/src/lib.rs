// SPDX-License-Identifier: BSD-2-Clause
//! The virtual interrupt controller: what the guest's GICv2 distributor is, and what goes into
//! list registers.
//!
//! Responsible for: the state of every interrupt as the architecture defines it (IHI 0048B,
//! chapters 3 and 4), the choice of which vCPU gets which pending interrupt, the shadow of what
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
//! * Another request of the same SGI from the same vCPU that comes while the interrupt is in
//!   flight is delivered after the end of that one. A physical GIC would merge it if the first was
//!   not acknowledged yet. Nothing is ever lost.
//! * The source vCPU of a software generated interrupt is state of the distributor, exact and
//!   recorded, one delivery for each source. It does not fit through seL4's interface, which
//!   takes ten bits of interrupt number: `GICC_IAR` always shows source 0.
//! * An interrupt of the lowest priority, `0xf8`, never goes into a list register: `GICC_PMR` has
//!   no value that lets it through, and nothing could take it out again. It stays pending.
//! * More than four interrupts that are active at once on one vCPU do not fit: a fifth waits.
//!
//! # What is withdrawn
//!
//! An interrupt in flight that the distributor would no longer forward to that vCPU, or not like
//! that, must not arrive there: it was disabled, alone or with its group or the distributor; its
//! line has fallen, its latch or its source was cleared; it was set active; it has other targets;
//! its priority or group has changed; the vCPU was switched off. Nor must one arrive twice that was
//! raised again by an edge or by `GICD_ISPENDR` before it was taken. The answer to whatever did that
//! names the vCPU ([`channel::vgic::Answer::rearrange`]), and `vmm-pd` captures and restores it
//! where it stands, before it runs again. What was pending there comes back if it belongs there,
//! and else goes where it does; what was active is from then on known to be, and is not looked
//! for again. The same carries out a `GICD_ICACTIVER` for what is active in a list register.
//! Nothing of it happens for interrupts that nobody has in flight.
//!
//! A shared interrupt with several targets that one of them does not take goes to another one
//! that waits ([`Gic::offer`]).
//!
//! # Who gets into a list register
//!
//! The pending, enabled interrupt of the highest priority, the lowest INTID among equals, never
//! one that is in flight already. When all list registers of a vCPU are taken, and what waits is
//! of higher priority than something there that may still be pending, the answer says so, too:
//! `vmm-pd` captures that vCPU and restores it, which puts the active interrupts back and then the
//! most urgent pending ones. So a guest finds in its CPU
//! interface what it would find in one with room for all, and the choice is the same before and
//! after a move. It happens at most a few times for each interrupt that is raised: after it, what
//! is active is known to be, and what is pending is at least as urgent as what waits.
//!
//! What this cannot do:
//!
//! * When all list registers hold *active* interrupts, nothing that is pending finds room,
//!   however urgent. None of those can go: seL4 gives no notice of an `EOIR` or `DIR` for an
//!   interrupt that is in no list register, so its end would be lost. `GICC_HPPIR` then shows
//!   nothing and `GICC_IAR` gives nothing, until the guest ends one.
//! * `GICC_CTLR` and `GICC_PMR` are the CPU interface's own, which nobody sees but a capture.
//!   While they keep back what the distributor forwards, it keeps list registers that others of
//!   another group could have, and of a shared interrupt's several targets one that runs, and does
//!   not wait, is not offered what another keeps back.
//! * A vCPU that was switched on is not known to run before its first access to the distributor, which
//!   whatever starts a CPU makes. Until then it gets no shared interrupt that has a target which runs, even if
//!   that one's list registers are full.
//! * Among interrupts of the same priority, hardware takes the one in the first list register,
//!   which after a move is the one of the lowest INTID. Which of them goes first is for an
//!   implementation to say (IHI 0048B, 3.3).
//!
//! A shared interrupt goes to one of its targets: one with nothing in flight if there is one,
//! else the first that has room.

#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::indexing_slicing))]

mod bank;
mod capture;
mod delivery;
mod gic;
mod guest_access;
mod interrupt;
mod record;
mod register;
mod service;
mod shadow;

pub use channel::vgic::LIST_REGISTERS;
pub use gic::Gic;
pub use interrupt::{INTERRUPTS, PRIVATE_INTERRUPTS, SHARED_INTERRUPTS};
pub use service::{Caller, MAX_RECORD, Regions, Service};
