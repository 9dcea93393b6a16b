// SPDX-License-Identifier: BSD-2-Clause
//! Microkit: the slots of a domain's capabilities, badges, and the symbols that its tool patches.
//!
//! Slots from `microkit.h`; badges and symbols from libmicrokit and the tool, which have no header.

use crate::Word;

/// Where a domain receives: an endpoint, or for a domain that nobody calls its notification.
pub const INPUT_SLOT: Word = 1;
/// The fault endpoint of the domain's children and vCPUs.
pub const FAULT_ENDPOINT_SLOT: Word = 2;
/// The domain's own address space.
pub const VSPACE_SLOT: Word = 3;
/// The domain's one reply object.
pub const REPLY_SLOT: Word = 4;
/// The monitor's endpoint: a passive domain signals it when it has started.
pub const MONITOR_ENDPOINT_SLOT: Word = 5;
/// The right to make secure monitor calls, for a domain that has it.
pub const SMC_SLOT: Word = 7;
/// Channel `n`'s notification is at `n` above this.
pub const NOTIFICATION_BASE_SLOT: Word = 10;
/// Channel `n`'s endpoint for protected calls is at `n` above this.
pub const ENDPOINT_BASE_SLOT: Word = 74;
/// Channel `n`'s interrupt handler is at `n` above this.
pub const IRQ_BASE_SLOT: Word = 138;
/// Child `n`'s thread is at `n` above this.
pub const TCB_BASE_SLOT: Word = 202;
/// vCPU `n`'s thread is at `n` above this.
pub const VM_TCB_BASE_SLOT: Word = 266;
/// vCPU `n` is at `n` above this.
pub const VCPU_BASE_SLOT: Word = 330;
/// Slots from here on are set aside for capabilities that a system description grants.
pub const USER_BASE_SLOT: Word = 458;

/// Channels, children and vCPUs have numbers below this.
pub const MAX_CHANNELS: usize = 62;

/// The bit of a received badge that marks a protected call.
pub const BADGE_ENDPOINT_BIT: u32 = 63;
/// The bit of a received badge that marks a fault.
pub const BADGE_FAULT_BIT: u32 = 62;
/// The bits of a protected call's badge that are the channel.
pub const BADGE_CHANNEL_MASK: Word = 0x3f;
/// The bits of a fault's badge that are the child or vCPU.
pub const BADGE_CHILD_MASK: Word = 0xff;

/// The number of bytes of [`NAME_SYMBOL`], the last of which is zero.
pub const NAME_LENGTH: usize = 64;

/// The domain's name, [`NAME_LENGTH`] bytes.
pub const NAME_SYMBOL: &str = "microkit_name";
/// Whether the domain is passive, one byte.
pub const PASSIVE_SYMBOL: &str = "microkit_passive";
/// A bit for each channel that is an interrupt, one word.
pub const IRQS_SYMBOL: &str = "microkit_irqs";
/// A bit for each channel that may be notified, one word.
pub const NOTIFICATIONS_SYMBOL: &str = "microkit_notifications";
/// A bit for each channel that may be called, one word.
pub const PPS_SYMBOL: &str = "microkit_pps";
/// A bit for each x86 I/O port, one word; the tool wants it everywhere.
pub const IOPORTS_SYMBOL: &str = "microkit_ioports";
