// SPDX-License-Identifier: BSD-2-Clause
//! Stage-2 aborts: the emulated devices, and addresses where nothing is.
//!
//! Responsible for: finding out what a load or store does, from its syndrome or from the
//! instruction itself, and carrying it out on the distributor, the console or the clock. Must never: let an
//! access that nothing answers pass silently, or end a guest for one: whatever it accesses, and
//! however, it gets a value or its external abort.

mod registers;

use channel::VcpuId;
use channel::vgic::{Request, view_readable};

use crate::exit::address::{self, Operands};
use crate::exit::exception::{Exception, is_32_bit, is_el0};
use crate::exit::instruction::Instruction;
use crate::exit::{Access, Syndrome};
use crate::lifecycle::machine::{Machine, MachineError};
use crate::port::{COUNT_ALL, Frame, Port, VcpuRegister, count_for};
use hang::translate::{EXCEPTION_ENDIANNESS, Regime, WalkError};

/// Where guest RAM begins.
pub use vm::RAM_BASE;
/// Where the distributor is, and its size.
const DISTRIBUTOR: u64 = 0x0800_0000;
const DISTRIBUTOR_SIZE: u64 = 0x1_0000;
/// The distributor's registers (IHI 0048B, table 4-1); the rest of its window is reserved.
const DISTRIBUTOR_REGISTERS: u64 = 0x1000;
/// Where the console UART is, and its size.
const CONSOLE: u64 = 0x0900_0000;
const CONSOLE_SIZE: u64 = 0x1000;
/// Where the clock of the day is, and its size.
const CLOCK: u64 = 0x0901_0000;
const CLOCK_SIZE: u64 = 0x1000;

/// An emulated device, and an offset in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Device {
    Distributor(u32),
    Console(u32),
    Clock(u32),
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
            .or_else(|| offset(CLOCK, CLOCK_SIZE).map(Self::Clock))
    }

    /// The device at `ipa`, if it answers accesses of `width` bytes there. Like the bus of such devices, none answers one
    /// that is not aligned: the guest's load or store comes here unaligned through a mapping as Normal memory only.
    #[inline]
    fn answering(ipa: u64, width: u8) -> Option<Self> {
        Self::at(ipa).filter(|_| ipa.is_multiple_of(width.into()))
    }

    /// An aligned word further.
    const fn next_word(self) -> Self {
        match self {
            Self::Distributor(offset) => Self::Distributor(offset + 4),
            Self::Console(offset) => Self::Console(offset + 4),
            Self::Clock(offset) => Self::Clock(offset + 4),
        }
    }
}

/// Where an abort struck, as the kernel tells.
#[derive(Debug, Clone, Copy)]
struct Place {
    /// The virtual address of the instruction.
    program_counter: u64,
    /// The intermediate physical address. seL4 asks the processor for it and looks not at whether there is one: the lower
    /// twelve bits are right in any case.
    ipa: u64,
    /// It was the fetch.
    fetch: bool,
    syndrome: Syndrome,
}

/// `SCTLR_EL1.E0E`.
const EL0_ENDIANNESS: u64 = 1 << 24;

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
        let place = Place {
            program_counter,
            ipa,
            fetch,
            syndrome,
        };
        let Some(device) = Device::at(ipa).filter(|_| !fetch && !syndrome.is_table_walk()) else {
            self.statistics.other_aborts += 1;
            return self.not_a_device(port, vcpu, place);
        };
        match device {
            Device::Distributor(_) => self.statistics.distributor += 1,
            Device::Console(_) => self.statistics.console += 1,
            Device::Clock(_) => self.statistics.other_aborts += 1,
        }
        if syndrome.describes_access() {
            self.isv_valid(port, vcpu, place, syndrome.access())
        } else if syndrome.is_cache_maintenance() {
            self.advance(port, vcpu, true)
        } else {
            self.isv_not_valid(port, vcpu, place)
        }
    }

    #[cold]
    fn not_a_device<P: Port>(
        &mut self,
        port: &mut P,
        vcpu: VcpuId,
        place: Place,
    ) -> Result<(), MachineError> {
        let Place {
            fetch, syndrome, ..
        } = place;
        // Maintenance of what is not there has nothing to do.
        if syndrome.is_cache_maintenance() && !fetch && !syndrome.is_table_walk() {
            return self.advance(port, vcpu, true);
        }
        self.external_abort(port, vcpu, place)
    }

    /// A load or store of one register, as its syndrome says (`ISV` is 1).
    #[inline]
    fn isv_valid<P: Port>(
        &mut self,
        port: &mut P,
        vcpu: VcpuId,
        place: Place,
        access: Access,
    ) -> Result<(), MachineError> {
        let Some(device) = Device::answering(place.ipa, access.width) else {
            return self.external_abort(port, vcpu, place);
        };
        let count = count_for(access.register);
        // A store of zero needs nothing, and only AArch64 has the zero register.
        let mut frame = if access.register < 31 || !access.write {
            port.read(vcpu, count)?
        } else {
            P::Frame::default()
        };
        if is_32_bit(frame.state()) {
            return self.external_abort(port, vcpu, place);
        }
        let next = place.program_counter.wrapping_add(4);
        if access.write {
            let value = if access.register < 31 {
                let value = frame.general(access.register);
                in_device_order(port, vcpu, frame.state(), access.width, value)?
            } else {
                0
            };
            frame.set_program_counter(next);
            // Before the store: seL4 runs whom it resumed last, and whoever takes an interrupt that the store causes is resumed
            // then. The other way round, an interrupt to another vCPU would wait for the end of this one's time slice.
            port.write(vcpu, &mut frame, 1, true)?;
            self.store(port, vcpu, device, access.width, value)
        } else {
            let value = self.load(port, vcpu, device, access.width)?;
            let value = in_device_order(port, vcpu, frame.state(), access.width, value)?;
            frame.set_program_counter(next);
            if access.register < 31 {
                frame.set_general(access.register, access.extend(value));
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
            let upper = self.load(port, vcpu, device.next_word(), 4)?;
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
            Device::Clock(offset) => Ok(self.read_clock(port, offset, width)?.into()),
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
            return self.store(port, vcpu, device.next_word(), 4, value >> 32);
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
                self.look_at_line(port);
                if self.console.receive_room() > receive_room {
                    self.take_console_input(port);
                }
                self.update_console_line(port)
            }
            Device::Clock(offset) => self.write_clock(port, offset, value),
        }
    }

    /// A load or store whose syndrome says nothing (`ISV` is 0): the instruction says what it does. It may have been changed
    /// meanwhile, and must be one that could have aborted like this.
    fn isv_not_valid<P: Port>(
        &mut self,
        port: &mut P,
        vcpu: VcpuId,
        place: Place,
    ) -> Result<(), MachineError> {
        let mut registers = self.registers(port, vcpu, place.program_counter)?;
        let word = if is_32_bit(registers.frame.state()) {
            None
        } else {
            regime(port, vcpu)?.instruction(place.program_counter, |ipa| port.ram_read(ipa))
        };
        let Some(instruction) = word.and_then(Instruction::decode) else {
            return self.external_abort(port, vcpu, place);
        };
        let base = registers.base(instruction.base);
        let Some(transfers) = transfers(&instruction, base, place) else {
            return self.external_abort(port, vcpu, place);
        };
        let state = registers.frame.state();
        for (access, device) in transfers.into_iter().flatten() {
            if access.write {
                let value = registers.index(access.register);
                let value = in_device_order(port, vcpu, state, access.width, value)?;
                self.store(port, vcpu, device, access.width, value)?;
            } else {
                let value = self.load(port, vcpu, device, access.width)?;
                let value = in_device_order(port, vcpu, state, access.width, value)?;
                registers.set(access.register, access.extend(value));
            }
        }
        if let Some(displacement) = instruction.write_back {
            registers.set_base(
                port,
                vcpu,
                instruction.base,
                base.wrapping_add_signed(displacement),
            )?;
        }
        let mut frame = registers.frame;
        frame.set_program_counter(place.program_counter.wrapping_add(4));
        Ok(port.write(vcpu, &mut frame, COUNT_ALL, true)?)
    }

    /// No device answers at this address, or to such an access: the guest takes an external abort.
    fn external_abort<P: Port>(
        &mut self,
        port: &mut P,
        vcpu: VcpuId,
        place: Place,
    ) -> Result<(), MachineError> {
        let regime = regime(port, vcpu)?;
        let registers = self.registers(port, vcpu, place.program_counter)?;
        if place.fetch {
            self.note_lost(port, vcpu, place.program_counter)?;
        }
        let address = if place.fetch {
            Some(place.program_counter)
        } else if !regime.enabled() && !place.syndrome.is_table_walk() {
            Some(place.ipa)
        } else if is_32_bit(registers.frame.state()) {
            // What it does is not known: its instructions are not decoded.
            None
        } else {
            let word = regime.instruction(place.program_counter, |ipa| port.ram_read(ipa));
            word.and_then(|word| address::struck(word, &registers, place.ipa & 0xfff))
        };
        let level = address.filter(|_| place.syndrome.is_table_walk());
        let level =
            level.and_then(
                |address| match regime.walk(address, |ipa| port.ram_read(ipa)) {
                    Err(WalkError::NoTable { level }) => Some(level),
                    _ => None,
                },
            );
        let from_el0 = is_el0(registers.frame.state());
        let exception =
            Exception::external_abort(place.syndrome, place.fetch, from_el0, address, level);
        self.take_exception(port, vcpu, exception)
    }
}

/// What an instruction transfers, and from or to where: all of it from devices that answer, and where and how the abort
/// struck.
fn transfers(
    instruction: &Instruction,
    base: u64,
    place: Place,
) -> Option<[Option<(Access, Device)>; 2]> {
    let width = u64::from(instruction.first.width);
    let offset = base.wrapping_add_signed(instruction.offset) & 0xfff;
    // The abort strikes the first half of a pair; or the second, if that is on another page.
    if offset != place.ipa & 0xfff || instruction.first.write != place.syndrome.is_write() {
        return None;
    }
    let at = |access: Access, ipa: u64| Some((access, Device::answering(ipa, access.width)?));
    let first = at(instruction.first, place.ipa)?;
    let second = match instruction.second {
        // What follows in the address space is the guest's to say, but for the same page.
        Some(_) if offset + width > 0xfff => return None,
        Some(second) => Some(at(second, place.ipa + width)?),
        None => None,
    };
    Some([Some(first), second])
}

/// How the guest translates.
pub(crate) fn regime<P: Port>(port: &mut P, vcpu: VcpuId) -> Result<Regime, MachineError> {
    Ok(Regime {
        control: port.read_vcpu(vcpu, VcpuRegister::SCTLR)?,
        translation_control: port.read_vcpu(vcpu, VcpuRegister::TCR)?,
        tables: [
            port.read_vcpu(vcpu, VcpuRegister::TTBR0)?,
            port.read_vcpu(vcpu, VcpuRegister::TTBR1)?,
        ],
    })
}

/// Devices are little-endian. What a guest with big-endian data (`SCTLR_EL1.EE`, at EL0 `E0E`) loads or stores is, of
/// `width` bytes, the other way round.
#[inline]
fn in_device_order<P: Port>(
    port: &mut P,
    vcpu: VcpuId,
    state: u64,
    width: u8,
    value: u64,
) -> Result<u64, MachineError> {
    let unused = 64 - 8 * u32::from(width);
    let value = value << unused >> unused;
    let swapped = value.swap_bytes() >> unused;
    // To ask costs a call of the kernel, and often it makes no difference.
    if swapped == value {
        return Ok(value);
    }
    let big = if is_el0(state) {
        EL0_ENDIANNESS
    } else {
        EXCEPTION_ENDIANNESS
    };
    let control = port.read_vcpu(vcpu, VcpuRegister::SCTLR)?;
    Ok(if control & big != 0 { swapped } else { value })
}
