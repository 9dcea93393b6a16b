//! Stage-2 aborts: the emulated devices, and addresses where nothing is.
//!
//! Responsible for: finding out what a load or store does, from its syndrome or from the
//! instruction itself, and carrying it out on the distributor or the console. Must never: let an
//! access that nothing answers pass silently; the guest gets its external abort.

use channel::VcpuId;
use channel::vgic::{Request, view_readable};

use crate::exception::{Exception, is_el0};
use crate::exit::{Access, Syndrome};
use crate::instruction::Instruction;
use crate::machine::{Machine, MachineError};
use crate::port::{COUNT_ALL, COUNT_STATE, Frame, Port, VcpuRegister, count_for};
use crate::translate::Regime;

/// Where guest RAM begins.
pub const RAM_BASE: u64 = 0x4000_0000;
/// Where the distributor is, and its size.
const DISTRIBUTOR: u64 = 0x0800_0000;
const DISTRIBUTOR_SIZE: u64 = 0x1_0000;
/// The distributor's registers (IHI 0048B, table 4-1); the rest of its window is reserved.
const DISTRIBUTOR_REGISTERS: u64 = 0x1000;
/// Where the console UART is, and its size.
const CONSOLE: u64 = 0x0900_0000;
const CONSOLE_SIZE: u64 = 0x1000;

/// An emulated device, and an offset in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Device {
    Distributor(u32),
    Console(u32),
}

impl Device {
    #[inline]
    fn at(ipa: u64) -> Option<Self> {
        let offset = |base: u64, size: u64| {
            ipa.checked_sub(base)
                .filter(|offset| *offset < size)
                .and_then(|offset| u32::try_from(offset).ok())
        };
        offset(DISTRIBUTOR, DISTRIBUTOR_SIZE)
            .map(Self::Distributor)
            .or_else(|| offset(CONSOLE, CONSOLE_SIZE).map(Self::Console))
    }

    const fn beyond(self, bytes: u32) -> Self {
        match self {
            Self::Distributor(offset) => Self::Distributor(offset + bytes),
            Self::Console(offset) => Self::Console(offset + bytes),
        }
    }
}

/// The words of the distributor that show the virtual timer's interrupt: enabled, pending.
const fn shows_timer(offset: u32) -> bool {
    matches!(offset & !3, 0x100 | 0x180 | 0x200 | 0x280)
}

impl Machine {
    /// A stage-2 abort.
    #[inline]
    pub(crate) fn abort<P: Port>(
        &mut self,
        port: &mut P,
        vcpu: VcpuId,
        program_counter: u64,
        ipa: u64,
        fetch: bool,
        syndrome: Syndrome,
    ) -> Result<(), MachineError> {
        let Some(device) = Device::at(ipa).filter(|_| !fetch && !syndrome.is_table_walk()) else {
            self.statistics.other_aborts += 1;
            return self.nothing_there(port, vcpu, ipa, fetch, syndrome);
        };
        match device {
            Device::Distributor(_) => self.statistics.distributor += 1,
            Device::Console(_) => self.statistics.console += 1,
        }
        if syndrome.describes_access() {
            self.described(port, vcpu, program_counter, device, syndrome.access())
        } else if syndrome.is_cache_maintenance() {
            self.advance(port, vcpu, true)
        } else {
            self.undescribed(port, vcpu, program_counter, ipa, syndrome)
        }
    }

    /// A load or store of one register, as its syndrome describes it.
    #[inline]
    fn described<P: Port>(
        &mut self,
        port: &mut P,
        vcpu: VcpuId,
        program_counter: u64,
        device: Device,
        access: Access,
    ) -> Result<(), MachineError> {
        let count = count_for(access.register);
        if access.write {
            let mut frame = if access.register < 31 {
                port.read(vcpu, count)?
            } else {
                P::Frame::default()
            };
            let value = if access.register < 31 {
                frame.general(access.register)
            } else {
                0
            };
            frame.set_program_counter(program_counter.wrapping_add(4));
            port.write(vcpu, &mut frame, 1, true)?;
            self.store(port, vcpu, device, access.width, value)
        } else {
            let value = access.extend(self.load(port, vcpu, device, access.width)?);
            let mut frame = port.read(vcpu, count)?;
            frame.set_program_counter(program_counter.wrapping_add(4));
            if access.register < 31 {
                frame.set_general(access.register, value);
            }
            Ok(port.write(vcpu, &mut frame, count, true)?)
        }
    }

    /// A load from a device. Eight bytes are two words, as the bus of such devices has it.
    #[inline]
    fn load<P: Port>(
        &mut self,
        port: &mut P,
        vcpu: VcpuId,
        device: Device,
        width: u8,
    ) -> Result<u64, MachineError> {
        if width == 8 {
            let lower = self.load(port, vcpu, device, 4)?;
            let upper = self.load(port, vcpu, device.beyond(4), 4)?;
            return Ok(lower | upper << 32);
        }
        match device {
            Device::Distributor(offset) if u64::from(offset) >= DISTRIBUTOR_REGISTERS => Ok(0),
            Device::Distributor(offset) if view_readable(offset) => {
                let word = u64::from(port.view(vcpu, offset & !3));
                Ok(word >> (8 * (offset & 3)))
            }
            Device::Distributor(offset) => {
                if shows_timer(offset) {
                    self.sample_timer(port, vcpu)?;
                }
                self.ask_vgic(
                    port,
                    &Request::Read {
                        vcpu,
                        offset,
                        width,
                    },
                )
            }
            Device::Console(offset) => {
                let room = self.console.receive_room();
                let value = self.console.read(offset, width);
                if self.console.receive_room() > room {
                    self.take_console_input(port);
                }
                self.update_console_line(port)?;
                Ok(value.into())
            }
        }
    }

    /// A store to a device.
    #[inline]
    fn store<P: Port>(
        &mut self,
        port: &mut P,
        vcpu: VcpuId,
        device: Device,
        width: u8,
        value: u64,
    ) -> Result<(), MachineError> {
        if width == 8 {
            self.store(port, vcpu, device, 4, value & 0xffff_ffff)?;
            return self.store(port, vcpu, device.beyond(4), 4, value >> 32);
        }
        #[expect(
            clippy::cast_possible_truncation,
            reason = "at most four bytes are left"
        )]
        let value = (value & ((1 << (8 * u32::from(width))) - 1)) as u32;
        match device {
            Device::Distributor(offset) if u64::from(offset) >= DISTRIBUTOR_REGISTERS => Ok(()),
            Device::Distributor(offset) => {
                if shows_timer(offset) {
                    self.sample_timer(port, vcpu)?;
                }
                self.ask_vgic(
                    port,
                    &Request::Write {
                        vcpu,
                        offset,
                        width,
                        value,
                    },
                )?;
                Ok(())
            }
            Device::Console(offset) => {
                let receive_room = self.console.receive_room();
                let room = port.console_room();
                self.console
                    .write(offset, width, value, |byte| port.console_put(byte), room);
                self.send_console_output(port);
                if self.console.receive_room() > receive_room {
                    self.take_console_input(port);
                }
                self.update_console_line(port)
            }
        }
    }

    /// A load or store whose abort carries no description: the instruction says what it does.
    fn undescribed<P: Port>(
        &mut self,
        port: &mut P,
        vcpu: VcpuId,
        program_counter: u64,
        ipa: u64,
        syndrome: Syndrome,
    ) -> Result<(), MachineError> {
        let Some(instruction) = self.fetch_instruction(port, vcpu, program_counter)? else {
            return self.nothing_there(port, vcpu, ipa, false, syndrome);
        };
        let mut frame = port.read(vcpu, COUNT_ALL)?;
        let base = self.base(port, vcpu, &frame, instruction.base)?;
        // The abort may have struck either half of a pair; the page is the same for both.
        let address = base.wrapping_add_signed(instruction.offset);
        let Some(device) = Device::at(ipa & !0xfff | address & 0xfff) else {
            return self.nothing_there(port, vcpu, ipa, false, syndrome);
        };
        let transfers = [
            Some((instruction.first, device)),
            instruction
                .second
                .map(|second| (second, device.beyond(instruction.first.width.into()))),
        ];
        for (access, device) in transfers.into_iter().flatten() {
            if access.write {
                let value = if access.register < 31 {
                    frame.general(access.register)
                } else {
                    0
                };
                self.store(port, vcpu, device, access.width, value)?;
            } else {
                let value = access.extend(self.load(port, vcpu, device, access.width)?);
                if access.register < 31 {
                    frame.set_general(access.register, value);
                }
            }
        }
        if let Some(displacement) = instruction.write_back {
            let value = base.wrapping_add_signed(displacement);
            if instruction.base < 31 {
                frame.set_general(instruction.base, value);
            } else if uses_el1_stack(frame.state()) {
                port.write_vcpu(vcpu, VcpuRegister::SpEl1, value)?;
            } else {
                frame.set_stack_pointer(value);
            }
        }
        frame.set_program_counter(program_counter.wrapping_add(4));
        Ok(port.write(vcpu, &mut frame, COUNT_ALL, true)?)
    }

    /// The value of a base register, which may be a stack pointer.
    fn base<P: Port>(
        &mut self,
        port: &mut P,
        vcpu: VcpuId,
        frame: &P::Frame,
        register: u8,
    ) -> Result<u64, MachineError> {
        Ok(if register < 31 {
            frame.general(register)
        } else if uses_el1_stack(frame.state()) {
            port.read_vcpu(vcpu, VcpuRegister::SpEl1)?
        } else {
            frame.stack_pointer()
        })
    }

    /// Reads and decodes the instruction at a virtual address of the guest's.
    fn fetch_instruction<P: Port>(
        &mut self,
        port: &mut P,
        vcpu: VcpuId,
        program_counter: u64,
    ) -> Result<Option<Instruction>, MachineError> {
        let regime = Regime {
            control: port.read_vcpu(vcpu, VcpuRegister::SCTLR)?,
            translation_control: port.read_vcpu(vcpu, VcpuRegister::TCR)?,
            tables: [
                port.read_vcpu(vcpu, VcpuRegister::TTBR0)?,
                port.read_vcpu(vcpu, VcpuRegister::TTBR1)?,
            ],
        };
        Ok(regime
            .translate(program_counter, |ipa| port.ram_read(ipa))
            .and_then(|ipa| {
                let word = port.ram_read(ipa & !7)?;
                u32::try_from(word >> (8 * (ipa & 4)) & 0xffff_ffff).ok()
            })
            .and_then(Instruction::decode))
    }

    /// Nothing answers at this address: the guest takes an external abort.
    fn nothing_there<P: Port>(
        &mut self,
        port: &mut P,
        vcpu: VcpuId,
        ipa: u64,
        fetch: bool,
        syndrome: Syndrome,
    ) -> Result<(), MachineError> {
        let state = port.read(vcpu, COUNT_STATE)?.state();
        let translates = port.read_vcpu(vcpu, VcpuRegister::SCTLR)? & 1 == 1;
        let address = (!translates).then_some(ipa);
        let exception = Exception::external_abort(syndrome, fetch, is_el0(state), address);
        self.take_exception(port, vcpu, exception)
    }
}

/// `PSTATE`: at EL1 with its own stack pointer.
const fn uses_el1_stack(state: u64) -> bool {
    state & 0xf == 5
}
