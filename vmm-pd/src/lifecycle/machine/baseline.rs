// SPDX-License-Identifier: BSD-2-Clause
//! What the guest may rely on: taken down when it starts, told when it asks.
//!
//! Responsible for: the baseline of a guest that is started here, and the answers to the calls by which it learns of the
//! implementations that it may run on. Must never: promise what this board does not have.

use state::admission::{self, OtherCore, Refusal};
use state::{BaselineV1, ImplementationV1, MachineRecordV2, Register, Source, record};

use super::{Machine, MachineError};
use crate::exit::psci::{IMPLEMENTATIONS_VERSION, result};
use crate::port::Port;

/// Which implementations the guest has asked for since it started here, one bit each.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Discovery(u8);

impl Discovery {
    /// The answer to how many there are.
    pub(crate) fn version(self, baseline: &BaselineV1) -> [u64; 4] {
        let count = baseline.implementations.len() as u64;
        [result::SUCCESS, IMPLEMENTATIONS_VERSION, count, 0]
    }

    /// The answer to which is the one of this number. Who has asked for all of them knows them.
    pub(crate) fn implementation(&mut self, baseline: &mut BaselineV1, number: u64) -> [u64; 4] {
        let index = usize::try_from(number).unwrap_or(usize::MAX);
        let Some(found) = baseline.implementations.get(index) else {
            return [result::INVALID_PARAMETER, 0, 0, 0];
        };
        let answer = [result::SUCCESS, found.midr, found.revidr, found.aidr];
        self.0 |= 1 << index;
        let asked = usize::try_from(self.0.trailing_ones()).unwrap_or(0);
        baseline.told |= asked == baseline.implementations.len();
        answer
    }
}

impl Machine {
    /// The baseline of a guest that starts here from this bundle, for the first time or again: what its image promises,
    /// what it came with if that was a promise, else what this board is.
    #[inline(never)]
    pub(super) fn promised<P: Port>(
        &self,
        port: &P,
        bundle: u64,
    ) -> Result<BaselineV1, MachineError> {
        let own = BaselineV1::of(self.paused.constants());
        // The promise of this board's image is for the guest of this image alone.
        let is_its_guest = self.boot.is_some_and(|boot| boot.identity == bundle);
        let Some(bytes) = port.promise().filter(|_| is_its_guest) else {
            // Its operator has named several cores, and its command line says what not to use. Whoever let it in has held
            // this board against that. It has to ask again before it knows of them.
            let came_with_a_promise = self.baseline.implementations.len() > 1;
            return Ok(match came_with_a_promise {
                true => BaselineV1 {
                    told: false,
                    ..self.baseline.clone()
                },
                false => own,
            });
        };
        let promise = record::decode::<MachineRecordV2>(bytes);
        let mut promise = promise.map_err(|_| MachineError::Promise(None))?.baseline;
        let here = ImplementationV1::of(&own.constants);
        if !here.is_some_and(|here| promise.implementations.contains(&here)) {
            return Err(MachineError::Promise(None));
        }
        admission::compare_processors(&promise, &own, OtherCore::Accepted).map_err(lacking)?;
        // Promises are about what every guest sees. What this one has besides, because it is left its debug registers or its
        // performance monitor, it can use, and its next board has to have as well.
        let besides = |register: &Register| {
            matches!(register.source(), Source::ProbeDebug | Source::ProbePmu)
        };
        for (register, value) in own.constants.iter() {
            let is_held = !besides(&register)
                || promise.constants.contains(register)
                || promise.constants.set(register, value);
            if !is_held {
                return Err(MachineError::Promise(Some(register)));
            }
        }
        Ok(promise)
    }
}

/// What a refusal is about.
fn lacking(refusal: Refusal) -> MachineError {
    MachineError::Promise(match refusal {
        Refusal::Missing { register, .. }
        | Refusal::Different { register, .. }
        | Refusal::Field { register, .. } => Register::from_name(register),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn baseline(count: u64) -> BaselineV1 {
        let implementation = |midr| ImplementationV1 {
            midr,
            revidr: midr + 1,
            aidr: 0,
        };
        BaselineV1 {
            implementations: (10..10 + count).map(implementation).collect(),
            ..BaselineV1::default()
        }
    }

    #[test]
    fn a_guest_knows_of_implementations_once_it_has_asked_for_all() {
        let (mut baseline, mut discovery) = (baseline(3), Discovery::default());
        assert_eq!(discovery.version(&baseline), [0, 0x1_0000, 3, 0]);
        for number in [0, 2, 0] {
            assert_eq!(
                discovery.implementation(&mut baseline, number)[1],
                10 + number
            );
            assert!(!baseline.told);
        }
        assert_eq!(discovery.implementation(&mut baseline, 1), [0, 11, 12, 0]);
        assert!(baseline.told);
        assert!(baseline.knows(baseline.implementations[2]));
    }

    #[test]
    fn a_number_that_is_none_is_an_invalid_parameter_and_tells_nothing() {
        let (mut baseline, mut discovery) = (baseline(1), Discovery::default());
        for number in [1, 8, 64, u64::MAX] {
            let answer = discovery.implementation(&mut baseline, number);
            assert_eq!(answer, [result::INVALID_PARAMETER, 0, 0, 0]);
        }
        assert!(!baseline.told);
    }
}
