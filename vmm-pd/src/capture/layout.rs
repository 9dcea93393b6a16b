// SPDX-License-Identifier: BSD-2-Clause
//! What the capture stub and its two callers agree on: commands, exits, and the data page.
//!
//! Responsible for: the place of every word. The stub's code takes the numbers from here, and the place of each
//! register from the register table's order. Must never: be known to the guest; nothing in a page is believed.

use channel::VcpuId;
use state::{Register, Source};

/// Where the stub's page is in the guest's address space, an IPA (`system.xml`, `capture_code`).
pub const CODE: u64 = 0x0c00_0000;
/// Where vCPU 0's data page is, an IPA (`system.xml`, `capture_data`); the others' follow.
const DATA: u64 = 0x0c01_0000;
/// Where the guest's GICv2 CPU interface is, an IPA (`system.xml`, `gic_vcpu_interface`).
pub const INTERFACE: u64 = 0x0801_0000;
/// The size of a page in bytes.
pub const PAGE: usize = 0x1000;

/// Where the stub's page has an `ERET`: its last instruction.
pub const RETURN: u64 = CODE + PAGE as u64 - 4;
/// An IPA where no guest has anything: a fetch from there leaves the guest before any instruction has run.
pub const NOWHERE: u64 = CODE - PAGE as u64;

/// What the stub is to do, in `x0`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub enum Command {
    /// Save the registers and the CPU interface; acknowledge and then deactivate every interrupt.
    Save = 1,
    /// Acknowledge what was injected; load the CPU interface and the registers.
    Load = 2,
    /// Read the processor's constants.
    Probe = 3,
    /// Do nothing, so that an event that is still on its way can arrive.
    Wait = 4,
    /// Read what shows that the debug registers can be reached.
    ProbeDebug = 5,
    /// Read the performance monitor's constants.
    ProbeMonitor = 6,
    /// Acknowledge and deactivate every interrupt that a guest can have.
    Scrub = 7,
}

/// How the stub leaves: the immediate of its `SMC`. A guest's own calls have zero (DEN 0028), so a stub that is not
/// armed cannot be mistaken for one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum Leave {
    /// [`Command::Save`] is done.
    Saved = 0x4701,
    /// [`Command::Load`] is done.
    Loaded = 0x4702,
    /// [`Command::Probe`], [`Command::ProbeDebug`] or [`Command::ProbeMonitor`] is done.
    Probed = 0x4703,
    /// [`Command::Wait`] is done.
    Waited = 0x4704,
    /// [`Command::Scrub`] is done.
    Scrubbed = 0x4705,
    /// An exception inside the stub; see [`FAULT`].
    Faulted = 0x47ff,
}

/// How many interrupts a run notes or deactivates at most: as many as a GICv2 can have list registers and vgic-pd
/// use, with room to spare.
pub const MAX_INTERRUPTS: usize = 16;

/// The first INTID that no guest's distributor has.
pub const INTID_LIMIT: usize = state::vgic::PRIVATE + state::vgic::MAX_SHARED;

/// Word: how far [`Command::Save`] is, one of [`progress`].
pub const PROGRESS: usize = 0;
/// Words: `GICC_CTLR, PMR, BPR, ABPR, APR0`, in the order of `CpuInterface::words`.
pub const INTERFACE_WORDS: usize = 1;
/// Word: how many interrupts were acknowledged.
pub const NOTED: usize = 8;
/// Words: what `GICC_IAR` answered.
pub const NOTES: usize = 9;
/// Word: how many interrupts to deactivate.
pub const OCCUPIED: usize = NOTES + MAX_INTERRUPTS;
/// Words: what to write to `GICC_DIR`.
pub const LIST_REGISTER_ENTRIES: usize = OCCUPIED + 1;
/// Words: `ESR_EL1, ELR_EL1, FAR_EL1` of an exception inside the stub.
pub const FAULT: usize = LIST_REGISTER_ENTRIES + MAX_INTERRUPTS;
/// Word: how many breakpoints there are; zero leaves the debug registers alone.
pub const BREAKPOINTS: usize = FAULT + 3;
/// Word: how many watchpoints there are.
pub const WATCHPOINTS: usize = BREAKPOINTS + 1;
/// Word: how many event counters to load, plus one; zero leaves the performance monitor alone. The stub puts there how
/// many there are, plus one.
pub const COUNTERS: usize = WATCHPOINTS + 1;
/// Words: `CNTV_CVAL_EL0, CNTKCTL_EL1`.
pub const TIMER: usize = COUNTERS + 1;
/// Words: `V0` to `V31`, two each, the low half first. Aligned as the stub's stores need it.
pub const VECTORS: usize = 64;
/// Words: registers of up to 64 bits, in the order of the table.
pub const REGISTERS: usize = VECTORS + 64;

/// Values of [`PROGRESS`].
pub mod progress {
    /// Before the last acknowledgement: an interrupt that ends was ended by the guest.
    pub const NOTHING: u64 = 0;
    /// After it: an interrupt that ends was active or noted.
    pub const ACKNOWLEDGED: u64 = 1;
    /// All done.
    pub const DONE: u64 = 2;
}

/// The IPA of a vCPU's data page.
pub const fn data(vcpu: VcpuId) -> u64 {
    DATA + (vcpu.index() * PAGE) as u64
}

/// Whether a register is saved and loaded by the stub, one word each.
const fn is_saved(register: Register) -> bool {
    matches!(
        register.source(),
        Source::Stub
            | Source::StubOwn
            | Source::StubBreakpoints
            | Source::StubWatchpoints
            | Source::StubPmu
            | Source::StubCounters
    )
}

/// Whether a register is one of the constants that the stub reads.
const fn is_probed(register: Register) -> bool {
    matches!(
        register.source(),
        Source::Probe | Source::ProbeCaches | Source::ProbeDebug | Source::ProbePmu
    )
}

macro_rules! selection {
    ($(#[$attribute:meta])* $name:ident, $accepts:ident) => {
        $(#[$attribute])*
        #[expect(clippy::indexing_slicing, reason = "evaluated by the compiler, which would refuse it")]
        pub static $name: [Register; {
            let (mut at, mut count) = (0, 0);
            while at < Register::ALL.len() {
                count += $accepts(Register::ALL[at]) as usize;
                at += 1;
            }
            count
        }] = {
            let mut selected = [Register::X0; _];
            let (mut at, mut count) = (0, 0);
            while at < Register::ALL.len() {
                if $accepts(Register::ALL[at]) {
                    selected[count] = Register::ALL[at];
                    count += 1;
                }
                at += 1;
            }
            selected
        };
    };
}

selection! {
    /// The registers that the stub saves and loads: the first is at word [`REGISTERS`], and so on.
    SAVED, is_saved
}

selection! {
    /// The constants that the stub reads. They share the place of [`SAVED`].
    PROBED, is_probed
}

/// The place of a register in [`SAVED`] or [`PROBED`]. A register that is in neither does not compile.
pub const fn position(register: Register) -> usize {
    let list: &[Register] = if is_probed(register) { &PROBED } else { &SAVED };
    let mut at = 0;
    while at < list.len() {
        #[expect(clippy::indexing_slicing, reason = "below its length")]
        if list[at].index() == register.index() {
            return at;
        }
        at += 1;
    }
    panic!("this register is not the stub's")
}

/// The byte of the page that holds a register, for the stub's code.
pub const fn byte(register: Register) -> usize {
    8 * (REGISTERS + position(register))
}

const _: () = assert!(TIMER + 2 <= VECTORS && VECTORS.is_multiple_of(2));
const _: () = assert!(8 * (REGISTERS + SAVED.len()) <= PAGE);
const _: () = assert!(8 * (REGISTERS + PROBED.len()) <= PAGE);
