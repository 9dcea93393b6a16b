// SPDX-License-Identifier: BSD-2-Clause
//! Guests that put their processor's debug state in the way of domains, and say every so often that they still run.
//!
//! Responsible for: a handful of instructions each. They prepare something, and then make one hypervisor call after
//! another, with domains running in between; every [`CALLS`] calls they say a line.

use std::path::PathBuf;

use image::guest::{Guest, Program};
use image::workspace;

/// What a guest says every [`CALLS`] calls.
pub const ALIVE: &str = "calls";
/// How many calls lie between two lines.
pub const CALLS: u32 = 2000;

/// Where bare-metal guests are linked to run (`guest/runtime/guest.ld`).
const LOAD: u64 = 0x4400_0000;

/// What a guest does to its debug state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Intrusion {
    /// Opens the OS lock and steps: 28 bytes with the calls.
    Step,
    /// Watches all of the lower 2 GiB for EL0, where every domain has its data.
    Watch,
    /// Breaks at EL0, at one address of `vmm_pd` after another.
    Break,
}

/// `MOVZ X<register>, #value, LSL #16 * shift`.
const fn movz(register: u32, value: u32, shift: u32) -> u32 {
    0xd280_0000 | shift << 21 | value << 5 | register
}

/// `MOVK X<register>, #value, LSL #16 * shift`.
const fn movk(register: u32, value: u32, shift: u32) -> u32 {
    0xf280_0000 | shift << 21 | value << 5 | register
}

const OPEN_LOCK: u32 = 0xd510_109f; // msr oslar_el1, xzr
const CONTROL: u32 = 0xd510_0240; // msr mdscr_el1, x0
const ISB: u32 = 0xd503_3fdf;

/// `MSR DBGWVR0_EL1, X0` and so on, the control register's one higher in `op2`.
const WATCHPOINT: u32 = 0xd510_00c0;
const WATCHPOINT_CONTROL: u32 = 0xd510_00e0;
const BREAKPOINT_CONTROL: u32 = 0xd510_00a0;
/// `MSR DBGBVR0_EL1, X5`.
const BREAKPOINT: u32 = 0xd510_0085;

/// Where `link.ld` of the domains puts their first instruction.
const DOMAINS_BEGIN: u32 = 0x20_0000;

/// How far a branch at one index goes to another, in instructions.
fn distance(from: usize, to: usize) -> u32 {
    let index = |index: usize| i32::try_from(index).unwrap_or(0);
    (index(to) - index(from)).cast_unsigned()
}

impl Intrusion {
    /// What is done once.
    fn preparation(self) -> Vec<u32> {
        match self {
            Self::Step => vec![OPEN_LOCK, movz(0, 1, 0), CONTROL, ISB],
            Self::Watch => vec![
                OPEN_LOCK,
                movz(0, 0, 0),
                WATCHPOINT,
                // E, EL0, loads and stores, all bytes, 31 bits of the address ignored.
                movz(0, 0x1ffd, 0),
                movk(0, 0x1f00, 1),
                WATCHPOINT_CONTROL,
                movz(0, 0x8000, 0),
                CONTROL,
                ISB,
            ],
            Self::Break => vec![
                OPEN_LOCK,
                // E, EL0, all bytes.
                movz(0, 0x1e5, 0),
                BREAKPOINT_CONTROL,
                movz(0, 0x8000, 0),
                CONTROL,
                movz(5, DOMAINS_BEGIN >> 16, 1),
            ],
        }
    }

    /// What is done before each call.
    fn before_each(self) -> Vec<u32> {
        match self {
            Self::Step | Self::Watch => Vec::new(),
            // The next instruction.
            Self::Break => vec![BREAKPOINT, ISB, 0x9100_10a5],
        }
    }

    /// A64, to be entered at its first word with the MMU off.
    fn program(self) -> Vec<u32> {
        let mut program = self.preparation();
        let start = program.len();
        program.push(movz(2, CALLS, 0));
        let each = program.len();
        program.extend(self.before_each());
        program.extend([
            movz(0, 0x8400, 1), // PSCI_VERSION
            0xd400_0003,        // smc #0
            0xf100_0442,        // subs x2, x2, #1
        ]);
        let back = distance(program.len(), each) & 0x7_ffff;
        program.push(0x5400_0001 | back << 5); // b.ne
        program.push(movz(3, 0x900, 1)); // the console's data register
        for byte in ALIVE.bytes().chain(*b"\n") {
            program.extend([movz(4, byte.into(), 0), 0xb900_0064]); // str w4, [x3]
        }
        let back = distance(program.len(), start) & 0x03ff_ffff;
        program.push(0x1400_0000 | back); // b
        program
    }

    /// The guest, with its program in a file of its own.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn guest(self) -> anyhow::Result<Guest> {
        let directory = workspace()?.join("target/images");
        std::fs::create_dir_all(&directory)?;
        let file: PathBuf = directory.join(format!("intruder-{self:?}.bin"));
        let bytes: Vec<u8> = self
            .program()
            .iter()
            .flat_map(|word| word.to_le_bytes())
            .collect();
        std::fs::write(&file, bytes)?;
        Ok(Guest {
            program: Program::Flat {
                file,
                load: LOAD,
                tree: None,
            },
            vcpus: 1,
            arguments: String::new(),
            seeds: None,
        })
    }
}
