// SPDX-License-Identifier: BSD-2-Clause
//! Decoding the loads and stores whose aborts carry no description.
//!
//! Responsible for: pairs and write-back addressing of the general registers (DDI 0487, C4.1.94),
//! for which `ESR_ELx.ISV` is clear. Must never: be asked about anything that stage 2 lets pass.
//!
//! Exclusive, atomic and SIMD accesses to a device are not emulated, and end in the guest's external
//! abort: the architecture leaves the first two to the implementation on Device memory, and seL4
//! shows nobody the registers of the third.

use crate::exit::Access;

/// A load or store of one or two general registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instruction {
    /// The first register's transfer.
    pub first: Access,
    /// The second register's transfer, at the address of the first plus its width.
    pub second: Option<Access>,
    /// The base register; 31 is the stack pointer.
    pub base: u8,
    /// Added to the base register to get the first address.
    pub offset: i64,
    /// Added to the base register afterwards.
    pub write_back: Option<i64>,
}

/// The field of `bits` bits at `shift`.
pub(crate) const fn field(word: u32, shift: u32, bits: u32) -> u32 {
    (word >> shift) & ((1 << bits) - 1)
}

/// The field, sign-extended.
pub(crate) const fn signed(word: u32, shift: u32, bits: u32) -> i64 {
    #[expect(clippy::cast_possible_wrap, reason = "sign extension")]
    let value = (field(word, shift, bits) << (32 - bits)) as i32;
    (value >> (32 - bits)) as i64
}

/// The register number at `shift`.
#[expect(clippy::cast_possible_truncation, reason = "five bits")]
pub(crate) const fn register(word: u32, shift: u32) -> u8 {
    field(word, shift, 5) as u8
}

impl Instruction {
    /// The instruction, if it is one of these.
    pub fn decode(word: u32) -> Option<Self> {
        // Both classes: bit 27 set, bit 25 clear; V (bit 26) clear: general registers.
        match (field(word, 27, 3), field(word, 26, 1), field(word, 23, 3)) {
            (0b101, 0, mode @ 0b000..=0b011) => Self::pair(word, mode),
            (0b111, 0, 0b000 | 0b001) if field(word, 21, 1) == 0 => Self::single(word),
            _ => None,
        }
    }

    /// `LDP`, `STP`, `LDPSW`, `LDNP`, `STNP`.
    fn pair(word: u32, mode: u32) -> Option<Self> {
        let load = field(word, 22, 1) == 1;
        let (width, sign_extend, is_64_bit) = match (field(word, 30, 2), load, mode) {
            (0b00, ..) => (4, false, false),
            (0b01, true, 0b001..) => (4, true, true),
            (0b10, ..) => (8, false, true),
            _ => return None,
        };
        let displacement = signed(word, 15, 7) * i64::from(width);
        let transfer = |shift| Access {
            write: !load,
            width,
            register: register(word, shift),
            sign_extend,
            is_64_bit,
        };
        let (offset, write_back) = match mode {
            0b001 => (0, Some(displacement)),
            0b011 => (displacement, Some(displacement)),
            _ => (displacement, None),
        };
        Some(Self {
            first: transfer(0),
            second: Some(transfer(10)),
            base: register(word, 5),
            offset,
            write_back,
        })
    }

    /// `LDR`, `STR` and their narrower and sign-extending forms with unscaled, post-indexed,
    /// unprivileged or pre-indexed addressing.
    fn single(word: u32) -> Option<Self> {
        let size = field(word, 30, 2);
        let (write, sign_extend, is_64_bit) = match (field(word, 22, 2), size) {
            (0b00, _) => (true, false, size == 3),
            (0b01, _) => (false, false, size == 3),
            (0b10, 0..=2) => (false, true, true),
            (0b11, 0 | 1) => (false, true, false),
            _ => return None,
        };
        let displacement = signed(word, 12, 9);
        let (offset, write_back) = match field(word, 10, 2) {
            0b01 => (0, Some(displacement)),
            0b11 => (displacement, Some(displacement)),
            _ => (displacement, None),
        };
        Some(Self {
            first: Access {
                write,
                width: 1 << size,
                register: register(word, 0),
                sign_extend,
                is_64_bit,
            },
            second: None,
            base: register(word, 5),
            offset,
            write_back,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Encodings as an assembler gives them.
    #[test]
    fn assembled_instructions_decode_to_what_was_written() {
        let of = |word| Instruction::decode(word).expect("a load or store");
        // ldp x2, x3, [x1]
        let pair = of(0xa940_0c22);
        assert_eq!((pair.first.register, pair.base, pair.offset), (2, 1, 0));
        assert_eq!(pair.second.map(|second| second.register), Some(3));
        assert!(!pair.first.write && pair.first.width == 8 && pair.write_back.is_none());
        // stp w4, w5, [sp, #-16]!
        let pair = of(0x29be_17e4);
        assert_eq!(
            (pair.base, pair.offset, pair.write_back),
            (31, -16, Some(-16))
        );
        assert!(pair.first.write && pair.first.width == 4);
        // ldp x0, x1, [x2], #32
        let pair = of(0xa8c2_0440);
        assert_eq!((pair.offset, pair.write_back), (0, Some(32)));
        // ldpsw x0, x1, [x2, #8]
        let pair = of(0x6941_0440);
        assert!(pair.first.sign_extend && pair.first.is_64_bit && pair.offset == 8);
        // ldr x3, [x4], #8
        let single = of(0xf840_8483);
        assert_eq!((single.first.register, single.base), (3, 4));
        assert_eq!((single.offset, single.write_back), (0, Some(8)));
        // str w5, [x6, #-4]!
        let single = of(0xb81f_ccc5);
        assert_eq!((single.offset, single.write_back), (-4, Some(-4)));
        assert!(single.first.write && single.first.width == 4);
        // ldrb w0, [x1], #1
        let single = of(0x3840_1420);
        assert_eq!((single.first.width, single.write_back), (1, Some(1)));
        // ldrsh x0, [x1], #2
        let single = of(0x7880_2420);
        assert!(single.first.sign_extend && single.first.is_64_bit && single.first.width == 2);
    }

    #[test]
    fn what_is_not_emulated_is_not_decoded() {
        // ldr q0, [x1], #16; ldp q0, q1, [x2]; ldxr x0, [x1]; ldadd x0, x1, [x2]; prfum; add; svc
        for word in [
            0x3cc1_0420,
            0xad40_0440,
            0xc85f_7c20,
            0xf820_0041,
            0xf880_0020,
            0x8b01_0000,
            0xd400_0001,
        ] {
            assert_eq!(Instruction::decode(word), None, "{word:#010x}");
        }
    }
}
