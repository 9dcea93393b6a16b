// SPDX-License-Identifier: BSD-2-Clause
//! The same again and again, as fast as it goes.

use crate::encoding::{self, Register, SMC, WFE, ZERO, register};
use crate::program::Program;

/// Turns of a loop that leaves the guest each time.
const EXITS: u64 = 40;
/// Turns of a loop that does not.
const TURNS: u64 = 1_000;

/// The register that counts down.
const COUNTER: u32 = 16;
/// The register with an address.
const ADDRESS: u32 = 17;

/// The distributor's `GICD_SGIR`, and what sends SGI 1 to whoever asks.
const SGIR: u64 = 0x0800_0f00;
const TO_ITSELF: u64 = 2 << 24 | 1;
/// The console's `UARTFR`.
const CONSOLE_FLAGS: u64 = 0x0900_0018;

/// System instructions by their encoding: the name, and whether it wants an address.
const MAINTENANCE: [Register; 12] = [
    // IC IALLUIS, IC IALLU
    Register::new(1, 0, 7, 1, 0),
    Register::new(1, 0, 7, 5, 0),
    // DC IVAC, DC ISW, DC CSW, DC CISW
    Register::new(1, 0, 7, 6, 1),
    Register::new(1, 0, 7, 6, 2),
    Register::new(1, 0, 7, 10, 2),
    Register::new(1, 0, 7, 14, 2),
    // TLBI VMALLE1IS, TLBI ASIDE1IS, TLBI VMALLE1
    Register::new(1, 0, 8, 3, 0),
    Register::new(1, 0, 8, 3, 2),
    Register::new(1, 0, 8, 7, 0),
    // DC ZVA, DC CVAC, DC CIVAC
    Register::new(1, 3, 7, 4, 1),
    Register::new(1, 3, 7, 10, 1),
    Register::new(1, 3, 7, 14, 1),
];

impl Program {
    /// A loop of one or two instructions.
    pub(crate) fn storm(&mut self) {
        match self.below(8) {
            0 | 1 => {
                let instruction = self.one_of(MAINTENANCE);
                let address = self.places.scratch(&mut self.random) & !0x3f;
                self.constant(ADDRESS, address);
                self.repeat(TURNS, &[instruction.write(ADDRESS)]);
            }
            // Whoever needs the timer sets it; whoever wants nobody to have it clears it.
            2 | 3 => self.repeat(TURNS, &[register::CNTP_CTL.write(ZERO)]),
            4 => {
                self.constant(10, 1);
                self.repeat(
                    TURNS,
                    &[
                        register::CNTP_CVAL.write(ZERO),
                        register::CNTP_CTL.write(10),
                    ],
                );
            }
            5 => self.repeat(EXITS, &[WFE, encoding::with_immediate(SMC, 1)]),
            6 => {
                self.constant(ADDRESS, SGIR);
                self.constant(10, TO_ITSELF);
                self.repeat(EXITS, &[encoding::store_word(10, ADDRESS)]);
            }
            _ => {
                self.constant(ADDRESS, CONSOLE_FLAGS);
                self.repeat(EXITS, &[encoding::load_word(10, ADDRESS)]);
            }
        }
    }

    fn repeat(&mut self, most: u64, body: &[u32]) {
        let turns = 1 + self.below(most);
        self.constant(COUNTER, turns);
        for word in body {
            self.push(*word);
        }
        self.push(encoding::count_down(COUNTER));
        #[expect(clippy::cast_possible_truncation, reason = "a few words")]
        self.push(encoding::back_if_not_zero(body.len() as u32 + 1));
    }
}
