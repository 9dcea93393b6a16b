// SPDX-License-Identifier: BSD-2-Clause
//! Which virtual address a load, store or maintenance instruction accesses.
//!
//! Responsible for: every instruction of A64 that addresses memory (DDI 0487, C4.1.94 and, for maintenance by address,
//! C5.3), apart from those that authenticate their address. A stage-2 abort reaches us with an intermediate physical address
//! only; the guest's own abort wants the virtual one. Must never: be trusted beyond that; another vCPU may have changed
//! the instruction since.

use crate::exit::instruction::{field, register, signed};

/// What an address is computed from.
pub(crate) trait Operands {
    /// A general register; 31 is the stack pointer.
    fn base(&self, register: u8) -> u64;
    /// A general register; 31 is zero.
    fn index(&self, register: u8) -> u64;
    /// Where the instruction is.
    fn program_counter(&self) -> u64;
}

/// The most bytes that one instruction accesses: four vector registers.
const LONGEST: u64 = 64;

/// The first address that the instruction `word` accesses whose offset in its page is that of `offset`, where the abort
/// struck. `None` if the instruction accesses no memory, or not there.
pub(crate) fn struck(word: u32, operands: &impl Operands, offset: u64) -> Option<u64> {
    let first = accessed(word, operands)?;
    let beyond = offset.wrapping_sub(first) & 0xfff;
    (beyond < LONGEST).then(|| first.wrapping_add(beyond))
}

/// The first address that the instruction `word` accesses.
fn accessed(word: u32, operands: &impl Operands) -> Option<u64> {
    let base = || operands.base(register(word, 5));
    let at = |offset: i64| Some(base().wrapping_add_signed(offset));
    // Loads and stores: bit 27 set, bit 25 clear. The class is in bits 29 and 28.
    let class = (field(word, 28, 2), field(word, 27, 1), field(word, 24, 2));
    match class {
        // Maintenance by address is a system instruction with CRn 7.
        _ if word & 0xfff8_f000 == 0xd508_7000 => Some(operands.index(register(word, 0))),
        // Exclusive, ordered, compare-and-swap; vector structures.
        (0b00, 1, 0b00 | 0b01) => at(0),
        // Relative to the program counter.
        (0b01, 1, 0b00) => {
            let offset = signed(word, 5, 19) * 4;
            Some(operands.program_counter().wrapping_add_signed(offset))
        }
        // Ordered, with an offset. Memory tags are not on this machine.
        (0b01, 1, 0b01) if field(word, 21, 1) == 0 => at(signed(word, 12, 9)),
        (0b10, 1, 0b00 | 0b01) => at(pair_offset(word)),
        (0b11, 1, 0b01) => at(i64::from(field(word, 10, 12)) << scale(word)),
        (0b11, 1, 0b00) => register_offset(word, operands).and_then(at),
        _ => None,
    }
}

/// The binary logarithm of how much a load or store of one register transfers.
const fn scale(word: u32) -> u32 {
    let vector = field(word, 26, 1) & field(word, 23, 1);
    field(word, 30, 2) | vector << 2
}

/// What a pair adds to its base first: nothing if it adds it afterwards.
fn pair_offset(word: u32) -> i64 {
    let vector = field(word, 26, 1) == 1;
    let size = field(word, 30, 2);
    let width = if vector { 4 << size } else { 4 << (size >> 1) };
    match field(word, 23, 2) {
        0b01 => 0,
        _ => signed(word, 15, 7) * width,
    }
}

/// What a load or store of one register without a scaled immediate adds to its base first.
fn register_offset(word: u32, operands: &impl Operands) -> Option<i64> {
    match (field(word, 21, 1), field(word, 10, 2)) {
        (0, 0b01) | (1, 0b00) => Some(0),
        (0, _) => Some(signed(word, 12, 9)),
        (1, 0b10) => {
            let index = operands.index(register(word, 16));
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_possible_wrap,
                reason = "extension of the lower half"
            )]
            let extended = match field(word, 13, 3) {
                0b010 => i64::from(index as u32),
                0b110 => i64::from(index as u32 as i32),
                _ => index as i64,
            };
            Some(extended << (scale(word) * field(word, 12, 1)))
        }
        // Authenticates its address.
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `x<n>` is `0x1000 * n`, the stack pointer `0x31_0000`, and the instruction at `0x4000_0000`.
    struct Registers;

    impl Operands for Registers {
        fn base(&self, register: u8) -> u64 {
            match register {
                31 => 0x31_0000,
                _ => self.index(register),
            }
        }
        fn index(&self, register: u8) -> u64 {
            match register {
                3 => 0xffff_fff0,
                31 => 0,
                _ => 0x1000 * u64::from(register),
            }
        }
        fn program_counter(&self) -> u64 {
            0x4000_0000
        }
    }

    /// Encodings as an assembler gives them.
    #[test]
    fn every_way_to_address_memory_is_understood() {
        for (word, address, instruction) in [
            (0xf940_0841_u32, 0x2010_u64, "ldr x1, [x2, #16]"),
            (0xb900_07e1, 0x31_0004, "str w1, [sp, #4]"),
            (0x3dc0_0441, 0x2010, "ldr q1, [x2, #16]"),
            (0xfd40_0441, 0x2008, "ldr d1, [x2, #8]"),
            (0xf85f_8041, 0x1ff8, "ldur x1, [x2, #-8]"),
            (0xf840_8441, 0x2000, "ldr x1, [x2], #8"),
            (0xf840_8c41, 0x2008, "ldr x1, [x2, #8]!"),
            (0xf840_8841, 0x2008, "ldtr x1, [x2, #8]"),
            (0xf864_6841, 0x6000, "ldr x1, [x2, x4]"),
            (0xf864_7841, 0x2_2000, "ldr x1, [x2, x4, lsl #3]"),
            (0xb863_c841, 0x1ff0, "ldr w1, [x2, w3, sxtw]"),
            (0xb863_4841, 0x1_0000_1ff0, "ldr w1, [x2, w3, uxtw]"),
            (0x3ce4_7841, 0x4_2000, "ldr q1, [x2, x4, lsl #4]"),
            (0x5800_0041, 0x4000_0008, "ldr x1, .+8"),
            (0xa940_8440, 0x2008, "ldp x0, x1, [x2, #8]"),
            (0xa8c1_0440, 0x2000, "ldp x0, x1, [x2], #16"),
            (0xad40_8440, 0x2010, "ldp q0, q1, [x2, #16]"),
            (0x6dff_8440, 0x1ff8, "ldp d0, d1, [x2, #-8]!"),
            (0x2940_8440, 0x2004, "ldp w0, w1, [x2, #4]"),
            (0x6940_8440, 0x2004, "ldpsw x0, x1, [x2, #4]"),
            (0xa840_8440, 0x2008, "ldnp x0, x1, [x2, #8]"),
            (0xc85f_7c41, 0x2000, "ldxr x1, [x2]"),
            (0xc801_7c43, 0x2000, "stxr w1, x3, [x2]"),
            (0xc8df_fc41, 0x2000, "ldar x1, [x2]"),
            (0xc8a1_7c43, 0x2000, "cas x1, x3, [x2]"),
            (0xf821_0043, 0x2000, "ldadd x1, x3, [x2]"),
            (0x4c40_7041, 0x2000, "ld1 {v1.16b}, [x2]"),
            (0x4cdf_7041, 0x2000, "ld1 {v1.16b}, [x2], #16"),
            (0x4d40_8441, 0x2000, "ld1 {v1.d}[1], [x2]"),
            (0xd950_1041, 0x1f01, "ldapur x1, [x2, #-255]"),
            (0x9900_4041, 0x2004, "stlur w1, [x2, #4]"),
            (0xd50b_7422, 0x2000, "dc zva, x2"),
            (0xd50b_7e22, 0x2000, "dc civac, x2"),
            (0xd508_7622, 0x2000, "dc ivac, x2"),
            (0xd50b_7522, 0x2000, "ic ivau, x2"),
            (0xd508_7802, 0x2000, "at s1e1r, x2"),
        ] {
            assert_eq!(accessed(word, &Registers), Some(address), "{instruction}");
        }
    }

    #[test]
    fn what_accesses_no_memory_has_no_address() {
        // add; b; svc; mrs; dmb; tlbi; fmadd; ldraa, whose address is not known
        for word in [
            0x8b01_0000_u32,
            0x1400_0000,
            0xd400_0001,
            0xd538_0000,
            0xd503_3fbf,
            0xd508_8722,
            0x1f02_0c20,
            0xf820_1441,
        ] {
            assert_eq!(accessed(word, &Registers), None, "{word:#010x}");
        }
    }

    #[test]
    fn the_address_is_the_first_one_at_the_offset_that_the_abort_tells() {
        // ldp x0, x1, [x2, #8]: from 0x2008 to 0x2018
        let pair = 0xa940_8440;
        assert_eq!(struck(pair, &Registers, 0x008), Some(0x2008));
        assert_eq!(struck(pair, &Registers, 0x010), Some(0x2010));
        assert_eq!(struck(pair, &Registers, 0x000), None);
        assert_eq!(struck(pair, &Registers, 0x800), None);
    }
}
