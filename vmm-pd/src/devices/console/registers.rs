// SPDX-License-Identifier: BSD-2-Clause
//! The UART's registers: where they are, what their bits mean, and what those that never change hold.
//!
//! Responsible for: the manual's tables (DDI 0183G). Never: state.

use bitflags::bitflags;

/// How deep the FIFOs are (DDI 0183, 1.2: 16 up to revision r1p4), when they are enabled.
pub(super) const FIFO_DEPTH: usize = 16;

// Offsets of the registers (DDI 0183G, table 3-1).
pub(super) const DR: u32 = 0x000;
pub(super) const RSR_ECR: u32 = 0x004;
pub(super) const FR: u32 = 0x018;
pub(super) const ILPR: u32 = 0x020;
pub(super) const IBRD: u32 = 0x024;
pub(super) const FBRD: u32 = 0x028;
pub(super) const LCR_H: u32 = 0x02c;
pub(super) const CR: u32 = 0x030;
pub(super) const IFLS: u32 = 0x034;
pub(super) const IMSC: u32 = 0x038;
pub(super) const RIS: u32 = 0x03c;
pub(super) const MIS: u32 = 0x040;
pub(super) const ICR: u32 = 0x044;
pub(super) const DMACR: u32 = 0x048;
pub(super) const PERIPH_ID: u32 = 0xfe0;

/// `UARTPeriphID0`–`3` and `UARTPCellID0`–`3`, one byte a register (DDI 0183G, 3.3.14 and 3.3.15):
/// part 0x011, designer 0x41, revision 2 (r1p4; from 3 on a driver takes the FIFOs to be 32 deep).
pub(super) const IDENTIFICATION: [u8; 8] = [0x11, 0x10, 0x24, 0x00, 0x0d, 0xf0, 0x05, 0xb1];

/// `UARTIFLS` after reset: both FIFOs interrupt when half full (DDI 0183G, 3.3.9).
pub(super) const LEVELS_AT_RESET: u8 = 0x12;
/// `UARTLCR_H.FEN`.
pub(super) const FIFO_ENABLE: u8 = 1 << 4;
/// `UARTDR.OE`: bytes were lost after this one.
pub(super) const OVERRUN: u16 = 1 << 11;
/// `UARTRSR.OE`.
pub(super) const STATUS_OVERRUN: u8 = 1 << 3;

bitflags! {
    /// `UARTCR` (DDI 0183G, 3.3.8).
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(super) struct Control: u16 {
        const UARTEN = 1 << 0;
        const LBE = 1 << 7;
        const TXE = 1 << 8;
        const RXE = 1 << 9;
        const DTR = 1 << 10;
        const RTS = 1 << 11;
        const OUT1 = 1 << 12;
        const OUT2 = 1 << 13;
        const CTSEN = 1 << 15;
        /// The others are kept for the guest, without an effect.
        const _ = !0;
    }

    /// `UARTRIS`, `UARTMIS`, `UARTIMSC` and `UARTICR` (DDI 0183G, 3.3.10–3.3.13).
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(super) struct Interrupts: u16 {
        const RI = 1 << 0;
        const CTS = 1 << 1;
        const DCD = 1 << 2;
        const DSR = 1 << 3;
        const RX = 1 << 4;
        const TX = 1 << 5;
        const RT = 1 << 6;
        const FE = 1 << 7;
        const PE = 1 << 8;
        const BE = 1 << 9;
        const OE = 1 << 10;
    }

    /// `UARTFR` (DDI 0183G, 3.3.3).
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(super) struct Flags: u16 {
        const CTS = 1 << 0;
        const DSR = 1 << 1;
        const DCD = 1 << 2;
        const BUSY = 1 << 3;
        const RXFE = 1 << 4;
        const TXFF = 1 << 5;
        const RXFF = 1 << 6;
        const TXFE = 1 << 7;
        const RI = 1 << 8;
    }
}

impl Control {
    /// The value after reset (DDI 0183G, table 3-1): 0x300.
    pub(super) const AT_RESET: Self = Self::TXE.union(Self::RXE);
}

/// The level that a three-bit field of `UARTIFLS` selects (DDI 0183G, table 3-13); reserved
/// values are taken for the highest.
pub(super) const fn eighths(field: u8) -> usize {
    FIFO_DEPTH / 8
        * match field & 7 {
            0 => 1,
            1 => 2,
            2 => 4,
            3 => 6,
            _ => 7,
        }
}

/// The identification registers; every other offset reads as zero.
pub(super) fn identification(offset: u32) -> u32 {
    offset
        .checked_sub(PERIPH_ID)
        .and_then(|distance| usize::try_from(distance / 4).ok())
        .and_then(|index| IDENTIFICATION.get(index))
        .map_or(0, |byte| u32::from(*byte))
}
