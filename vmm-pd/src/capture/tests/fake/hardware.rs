// SPDX-License-Identifier: BSD-2-Clause
//! What the stub's code does to a CPU interface that is modelled register by register.
//!
//! Responsible for: the accesses of `stub.rs`, in its order, and the events that the kernel makes of them. Never: knows
//! more than the stub does.

use super::Fake;
use crate::capture::layout::{self, progress};
use crate::capture::tests::interface::VirtualInterface;
use crate::exit::Exit;

impl Fake {
    /// The stub's code for the CPU interface, access by access: the end of `Command::Save`.
    pub(super) fn save_hardware(&mut self) {
        let hardware = self.hardware.unwrap();
        let words = [
            hardware.ctlr(),
            hardware.pmr(),
            hardware.bpr(),
            hardware.abpr(),
            hardware.active_priorities,
        ];
        self.page[layout::INTERFACE_WORDS..][..5].copy_from_slice(&words.map(u64::from));
        self.acknowledge_hardware();
        let count = usize::try_from(self.page[layout::OCCUPIED]).unwrap();
        let entries = self.page[layout::LIST_REGISTER_ENTRIES..][..count].to_vec();
        self.deactivate_hardware(progress::ACKNOWLEDGED, entries.into_iter());
    }

    /// The stub's `acknowledge_all`.
    pub(super) fn acknowledge_hardware(&mut self) {
        self.report_ends(progress::NOTHING);
        let hardware = self.hardware.as_mut().unwrap();
        hardware.set_pmr(0xff);
        hardware.set_ctlr(0x207);
        hardware.set_binary_point(0);
        hardware.active_priorities = 0;
        let mut noted = 0;
        while noted < layout::MAX_INTERRUPTS {
            let acknowledged = hardware.iar();
            if acknowledged & 0x3ff >= 1020 {
                break;
            }
            self.page[layout::NOTES + noted] = acknowledged.into();
            hardware.eoir(acknowledged);
            noted += 1;
        }
        self.page[layout::NOTED] = noted as u64;
    }

    pub(super) fn deactivate_hardware(
        &mut self,
        reached: u64,
        interrupts: impl Iterator<Item = u64>,
    ) {
        for interrupt in interrupts {
            let hardware = self.hardware.as_mut().unwrap();
            hardware.dir(u32::try_from(interrupt).unwrap());
            self.report_ends(reached);
        }
    }

    /// The kernel reports what became empty.
    fn report_ends(&mut self, reached: u64) {
        while let Some(register) = self
            .hardware
            .as_mut()
            .and_then(VirtualInterface::take_maintenance)
        {
            self.exit(reached, Exit::Maintenance(register as u64));
        }
    }

    /// The beginning of `Command::Load`.
    pub(super) fn load_hardware(&mut self, [control, mask, point, aliased, active]: [u32; 5]) {
        self.acknowledge_hardware();
        let hardware = self.hardware.as_mut().unwrap();
        hardware.active_priorities = active;
        hardware.set_aliased_binary_point(aliased);
        hardware.set_binary_point(point);
        hardware.set_pmr(mask);
        hardware.set_ctlr(control);
    }
}
