// SPDX-License-Identifier: BSD-2-Clause
//! What protection domains say to each other: typed messages and shared-memory rings.
//!
//! Responsible for: the one definition of every message that crosses a channel, its encoding into
//! seL4 message registers, and byte rings in shared memory that survive a hostile peer domain.
//! Must never: decide anything about a virtual machine.
//!
//! What arrives from a peer domain is untrusted. It is copied once into a [`Message`], decoded with
//! every field checked, and only then used; a peer domain that talks nonsense is a
//! [`ProtocolError`], never a panic.
#![cfg_attr(not(test), no_std)]
#![warn(clippy::unwrap_used, clippy::indexing_slicing)]

mod message;
#[cfg(feature = "microkit")]
pub mod microkit;
mod request;
pub mod ring;
pub mod timer;
mod types;
pub mod vgic;
pub mod vmm;

pub use message::{IllegalValue, MAX_WORDS, Message, ProtocolError, Reader};
pub use types::{Intid, Ipa, MAX_VCPUS, Ticks, VcpuId};

/// Channel identifiers, as `system.xml` assigns them in each domain.
pub mod ids {
    /// Channels of `vmm-pd`.
    pub mod vmm {
        /// Calls to `vgic-pd`.
        pub const VGIC: usize = 1;
        /// Calls to `timer-pd`; it notifies when a sleeping vCPU is due.
        pub const TIMER: usize = 2;
        /// Calls from `migration-pd`; notified when the guest's phase changes.
        pub const MIGRATION: usize = 3;
        /// Console rings with `serial-pd`.
        pub const SERIAL: usize = 4;
    }
    /// Channels of `vgic-pd`.
    pub mod vgic {
        /// Calls from `vmm-pd`.
        pub const VMM: usize = 1;
        /// Calls from `migration-pd`.
        pub const MIGRATION: usize = 3;
    }
    /// Channels of `timer-pd`.
    pub mod timer {
        /// Calls from `vmm-pd`.
        pub const VMM: usize = 1;
        /// Calls from `migration-pd`.
        pub const MIGRATION: usize = 3;
        /// The board timer's interrupt. The second is for boards of which nobody knows which of two it
        /// is; others have none there.
        pub const INTERRUPTS: [usize; 2] = [10, 11];
    }
    /// Channels of `migration-pd`.
    pub mod migration {
        /// Calls to `vmm-pd`.
        pub const VMM: usize = 1;
        /// Calls to `vgic-pd`.
        pub const VGIC: usize = 2;
        /// Calls to `timer-pd`.
        pub const TIMER: usize = 3;
        /// Link rings with `link-pd`.
        pub const LINK: usize = 4;
        /// Notifies `heartbeat-pd`, which notifies in return when a while has passed.
        pub const HEARTBEAT: usize = 5;
    }
    /// Channels of `heartbeat-pd`.
    pub mod heartbeat {
        /// Notified by `migration-pd`, and notifies it.
        pub const MIGRATION: usize = 1;
    }
    /// Channels of `serial-pd`.
    pub mod serial {
        /// Console rings with `vmm-pd`.
        pub const VMM: usize = 1;
        /// The UART's interrupt.
        pub const INTERRUPT: usize = 10;
    }
    /// Channels of `link-pd`.
    pub mod link {
        /// Link rings with `migration-pd`.
        pub const MIGRATION: usize = 1;
        /// The link device's interrupt.
        pub const INTERRUPT: usize = 10;
    }
}
