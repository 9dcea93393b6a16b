// SPDX-License-Identifier: BSD-2-Clause
//! What a guest asks a terminal.
//!
//! Responsible for: leaving out of what is shown for the second time what a terminal would answer: the answer would be
//! typed to the guest, which has had one. Never: changes anything else.

/// Leaves questions out, also if they come in pieces.
#[derive(Debug, Default)]
pub(super) struct Questions {
    /// The beginning of a control sequence (ECMA-48, 5.4) of which the end has not come.
    begun: Vec<u8>,
}

/// No sequence that asks is longer.
const LONGEST: usize = 64;
const ESC: u8 = 0x1b;

impl Questions {
    /// What is left of this.
    pub(super) fn leave_out(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut rest = Vec::new();
        for byte in bytes {
            if self.begun.is_empty() && *byte != ESC {
                rest.push(*byte);
                continue;
            }
            self.begun.push(*byte);
            match judge(&self.begun) {
                Verdict::Unfinished if self.begun.len() < LONGEST => {}
                Verdict::Question => self.begun.clear(),
                _ => rest.append(&mut self.begun),
            }
        }
        rest
    }
}

enum Verdict {
    Unfinished,
    Question,
    Statement,
}

/// What begins with ESC: a cursor, device or window report is asked for with CSI and `n`, `c` or `t`, or with ESC Z.
fn judge(sequence: &[u8]) -> Verdict {
    match sequence {
        [ESC] | [ESC, b'['] => Verdict::Unfinished,
        [ESC, b'Z'] => Verdict::Question,
        [ESC, b'[', .., last] => match last {
            0x20..=0x3f => Verdict::Unfinished,
            b'n' | b'c' | b't' => Verdict::Question,
            _ => Verdict::Statement,
        },
        _ => Verdict::Statement,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_left_out_and_nothing_else_however_they_are_cut() {
        let said = b"/ # \x1b[6n\x1b[1;31mred\x1b[0m\x1b[c\x1b[>0c\x1bZ\x1b[18t\x1b[2Jc n t\x1b[6";
        let left = b"/ # \x1b[1;31mred\x1b[0m\x1b[2Jc n t";
        for piece in 1..said.len() {
            let mut questions = Questions::default();
            let shown: Vec<u8> = said
                .chunks(piece)
                .flat_map(|piece| questions.leave_out(piece))
                .collect();
            assert_eq!(shown, left, "in pieces of {piece}");
        }
    }
}
