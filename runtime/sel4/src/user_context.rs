// SPDX-License-Identifier: BSD-2-Clause
//! The registers of a thread.

use sel4_sys::context;

use crate::{Word, sys};

/// The registers of a thread.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[repr(transparent)]
pub struct UserContext(pub(crate) sys::seL4_UserContext);

impl UserContext {
    /// seL4's own view of the registers.
    #[inline(always)]
    pub const fn inner(&self) -> &sys::seL4_UserContext {
        &self.0
    }

    /// seL4's own view of the registers.
    #[inline(always)]
    pub fn inner_mut(&mut self) -> &mut sys::seL4_UserContext {
        &mut self.0
    }

    /// The program counter.
    #[inline(always)]
    pub fn pc(&self) -> &Word {
        &self.0.pc
    }

    /// The program counter.
    #[inline(always)]
    pub fn pc_mut(&mut self) -> &mut Word {
        &mut self.0.pc
    }

    /// `SP_EL0`.
    #[inline(always)]
    pub fn sp(&self) -> &Word {
        &self.0.sp
    }

    /// `SP_EL0`.
    #[inline(always)]
    pub fn sp_mut(&mut self) -> &mut Word {
        &mut self.0.sp
    }

    /// The processor state.
    #[inline(always)]
    pub fn spsr(&self) -> &Word {
        &self.0.spsr
    }

    /// The processor state.
    #[inline(always)]
    pub fn spsr_mut(&mut self) -> &mut Word {
        &mut self.0.spsr
    }

    /// The general register `x<ix>`.
    ///
    /// # Panics
    ///
    /// `ix` is above 30.
    #[inline(always)]
    pub fn gpr(&self, ix: usize) -> &Word {
        &self.0.words()[context::GENERAL[ix]]
    }

    /// The general register `x<ix>`.
    ///
    /// # Panics
    ///
    /// `ix` is above 30.
    #[inline(always)]
    pub fn gpr_mut(&mut self, ix: usize) -> &mut Word {
        &mut self.0.words_mut()[context::GENERAL[ix]]
    }

    /// The argument `ix` of a C function.
    ///
    /// # Panics
    ///
    /// `ix` is above 7.
    #[inline(always)]
    pub fn c_param(&self, ix: usize) -> &Word {
        assert!(ix < 8);
        self.gpr(ix)
    }

    /// The argument `ix` of a C function.
    ///
    /// # Panics
    ///
    /// `ix` is above 7.
    #[inline(always)]
    pub fn c_param_mut(&mut self, ix: usize) -> &mut Word {
        assert!(ix < 8);
        self.gpr_mut(ix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn general_registers_are_the_fields_of_their_names() {
        let mut registers = UserContext::default();
        for index in 0..31 {
            *registers.gpr_mut(index) = 100 + index as Word;
        }
        let fields = registers.inner();
        let some = [
            fields.x0, fields.x8, fields.x9, fields.x15, fields.x16, fields.x18,
        ];
        assert_eq!(some, [100, 108, 109, 115, 116, 118]);
        let others = [fields.x19, fields.x28, fields.x29, fields.x30];
        assert_eq!(others, [119, 128, 129, 130]);
        assert_eq!((fields.pc, fields.sp, fields.spsr), (0, 0, 0));
        assert_eq!((fields.tpidr_el0, fields.tpidrro_el0), (0, 0));
        assert_eq!(*registers.c_param(7), 107);
    }

    #[test]
    fn words_are_in_the_order_that_the_kernel_transfers() {
        let registers = sys::seL4_UserContext {
            pc: 1,
            sp: 2,
            spsr: 3,
            tpidr_el0: 4,
            tpidrro_el0: 5,
            ..Default::default()
        };
        assert_eq!(registers.words()[context::PC], 1);
        assert_eq!(registers.words()[context::SP], 2);
        assert_eq!(registers.words()[context::SPSR], 3);
        assert_eq!(registers.words()[context::TPIDR_EL0], 4);
        assert_eq!(registers.words()[context::TPIDRRO_EL0], 5);
    }

    #[test]
    fn a_message_moves_as_many_registers_as_asked() {
        let mut context = sys::seL4_UserContext::default();
        for (index, word) in context.words_mut().iter_mut().enumerate() {
            *word = 100 + index as Word;
        }
        for count in [0, 1, 2, 3, 4, 5, 35, 36, 37, Word::MAX] {
            let (mut fast, mut slow) = ([1, 2, 0, 0], [0; 120]);
            context.put_message::<2>(count, &mut fast, &mut slow);
            let message: [Word; 120] =
                core::array::from_fn(|index| if index < 4 { fast[index] } else { slow[index] });
            for index in 0..118 {
                let moved = index < 36 && (index as Word) < count;
                let expected = if moved { 100 + index as Word } else { 0 };
                assert_eq!(message[2 + index], expected);
            }

            let (fast, slow) = (
                [100, 101, 102, 103],
                core::array::from_fn(|i| 100 + i as Word),
            );
            let back = sys::seL4_UserContext::take_message(count, &fast, &slow as &[Word; 120]);
            for (index, word) in back.words().iter().enumerate() {
                let expected = if (index as Word) < count {
                    100 + index as Word
                } else {
                    0
                };
                assert_eq!(*word, expected);
            }
        }
    }
}
