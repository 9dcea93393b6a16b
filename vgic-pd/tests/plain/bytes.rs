// SPDX-License-Identifier: BSD-2-Clause
//! The plain distributor's registers, a byte at a time.

use super::Plain;

impl Plain {
    /// Reads `width` bytes.
    pub(crate) fn read(&self, vcpu: usize, offset: usize, width: usize) -> u32 {
        (0..width).fold(0, |value, lane| {
            value | u32::from(self.read_byte(vcpu, offset + lane)) << (8 * lane)
        })
    }

    fn read_byte(&self, vcpu: usize, offset: usize) -> u8 {
        let bit = |intid: usize| {
            if intid >= super::INTERRUPTS {
                return false;
            }
            let interrupt = self.get(vcpu, intid);
            match offset & !0x7f {
                0x080 => interrupt.group1,
                0x100 | 0x180 => interrupt.enabled,
                0x200 | 0x280 => self.pending(vcpu, intid),
                0x300 | 0x380 => {
                    interrupt.active || interrupt.flight.is_some_and(|flight| !flight.deactivated)
                }
                _ => false,
            }
        };
        match offset {
            0x000 => self.control,
            0x004 => 8 | (((self.vcpus - 1) as u8) << 5),
            0x008..0x00c => [0x3b, 0x04, 0x00, b'G'][offset - 8],
            0x080..0x400 => {
                let first = 8 * (offset & 0x7f);
                (0..8).fold(0, |byte, n| byte | u8::from(bit(first + n)) << n)
            }
            0x400..0x520 => self.get(vcpu, offset - 0x400).priority,
            0x800..0x920 if self.vcpus == 1 => 0,
            0x800..0x820 => 1 << vcpu,
            0x820..0x920 => self.get(vcpu, offset - 0x800).targets,
            0xc00..0xc48 => (0..4).fold(0, |byte, n| {
                let edge = self.get(vcpu, 4 * (offset - 0xc00) + n).edge;
                byte | u8::from(edge) << (2 * n + 1)
            }),
            0xf10..0xf20 => self.get(vcpu, offset - 0xf10).sources,
            0xf20..0xf30 => self.get(vcpu, offset - 0xf20).sources,
            0xfd0 => 0x04,
            0xfe0 => 0x90,
            0xfe4 => 0xb4,
            0xfe8 => 0x2b,
            0xff0 => 0x0d,
            0xff4 => 0xf0,
            0xff8 => 0x05,
            0xffc => 0xb1,
            _ => 0,
        }
    }

    /// Writes `width` bytes.
    pub(crate) fn write(&mut self, vcpu: usize, offset: usize, width: usize, value: u32) {
        self.touch(vcpu);
        if offset & !3 == 0xf00 {
            if width == 4 {
                self.generate(vcpu, value);
            }
            return;
        }
        for lane in 0..width {
            self.write_byte(vcpu, offset + lane, (value >> (8 * lane)) as u8);
        }
    }

    fn generate(&mut self, from: usize, value: u32) {
        for vcpu in 0..self.vcpus {
            let listed = match value >> 24 & 3 {
                0 => value >> (16 + vcpu) & 1 != 0,
                1 => vcpu != from,
                2 => vcpu == from,
                _ => false,
            };
            if listed {
                self.private[vcpu][(value & 0xf) as usize].sources |= 1 << from;
            }
        }
    }

    fn write_byte(&mut self, vcpu: usize, offset: usize, byte: u8) {
        let existing = ((1_u32 << self.vcpus) - 1) as u8;
        match offset {
            0x000 => self.control = byte & 3,
            0x080..0x400 => {
                for n in 0..8 {
                    let intid = 8 * (offset & 0x7f) + n;
                    if intid < super::INTERRUPTS {
                        self.write_bit(vcpu, offset & !0x7f, intid, byte >> n & 1 != 0);
                    }
                }
            }
            0x400..0x520 => self.get_mut(vcpu, offset - 0x400).priority = byte & 0xf8,
            0x820..0x920 if self.vcpus > 1 => {
                self.get_mut(vcpu, offset - 0x800).targets = byte & existing;
            }
            0xc08..0xc48 => {
                for n in 0..4 {
                    let edge = byte >> (2 * n + 1) & 1 != 0;
                    self.get_mut(vcpu, 4 * (offset - 0xc00) + n).edge = edge;
                }
            }
            0xf10..0xf20 => {
                let interrupt = self.get_mut(vcpu, offset - 0xf10);
                interrupt.sources &= !byte;
                if let Some(flight) = &mut interrupt.flight {
                    flight.latched &= byte & 1 << flight.source == 0;
                }
            }
            0xf20..0xf30 => self.get_mut(vcpu, offset - 0xf20).sources |= byte & existing,
            _ => {}
        }
    }

    fn write_bit(&mut self, vcpu: usize, family: usize, intid: usize, set: bool) {
        let sgi = intid < 16;
        let interrupt = self.get_mut(vcpu, intid);
        match family {
            0x080 => interrupt.group1 = set,
            0x100 if set => interrupt.enabled = true,
            0x180 if set && !sgi => interrupt.enabled = false,
            0x200 if set && !sgi => interrupt.latched = true,
            0x280 if set && !sgi => {
                interrupt.latched = false;
                if let Some(flight) = &mut interrupt.flight {
                    flight.latched = false;
                }
            }
            0x300 if set => {
                interrupt.active = true;
                if let Some(flight) = &mut interrupt.flight {
                    flight.deactivated = false;
                }
            }
            0x380 if set => {
                interrupt.active = false;
                interrupt.acknowledged = None;
                if let Some(flight) = &mut interrupt.flight {
                    flight.deactivated = true;
                }
            }
            _ => {}
        }
    }
}
