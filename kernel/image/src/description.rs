// SPDX-License-Identifier: BSD-2-Clause
//! Reading a boot description.
//!
//! Responsible for finding the tables in the bytes behind the kernel and for turning entries into
//! values. Must never index by a number from the image without a check, nor trust a reserved bit.

use crc::Crc;
use zerocopy::FromBytes;

use crate::error::{ImageError, Table};
use crate::layout::{
    self, CapabilityEntry, DomainEntry, Header, LoadEntry, MappingEntry, VcpuEntry, VmEntry,
};
use crate::types::{
    Capability, Domain, Load, Mapping, Object, Parent, Rights, Space, Trigger, Vcpu, Vm,
};

/// CRC-32 as Ethernet and zlib have it. The host, for which the payload is long, computes it with
/// more tables than the kernel has room for.
#[cfg(any(test, feature = "builder"))]
const CHECKSUM: Crc<u32, Table16> = Crc::<u32, Table16>::new(&crc::CRC_32_ISO_HDLC);
#[cfg(not(any(test, feature = "builder")))]
const CHECKSUM: Crc<u32, Table1> = Crc::<u32, Table1>::new(&crc::CRC_32_ISO_HDLC);

#[cfg(any(test, feature = "builder"))]
type Table16 = crc::Table<16>;
#[cfg(not(any(test, feature = "builder")))]
type Table1 = crc::Table<1>;

/// CRC-32 of `parts`, one after the other.
pub(crate) fn checksum(parts: &[&[u8]]) -> u32 {
    let mut digest = CHECKSUM.digest();
    for part in parts {
        digest.update(part);
    }
    digest.finalize()
}

/// The bytes of `header` that its checksum covers.
pub(crate) fn checksummed(header: &[u8]) -> &[u8] {
    let covered = size_of::<Header>() - size_of::<u32>();
    header.get(..covered).unwrap_or(header)
}

/// A boot description whose tables are complete and undamaged.
///
/// Entries are decoded one by one as they are asked for; [`Description::check`] decodes and
/// compares all of them once.
#[derive(Clone, Copy, Debug)]
pub struct Description<'a> {
    header: &'a Header,
    domains: &'a [DomainEntry],
    vms: &'a [VmEntry],
    vcpus: &'a [VcpuEntry],
    mappings: &'a [MappingEntry],
    capabilities: &'a [CapabilityEntry],
    loads: &'a [LoadEntry],
    payload: &'a [u8],
}

impl<'a> Description<'a> {
    /// The length that the header at the start of `bytes` gives for the whole description.
    ///
    /// For a reader that has yet to decide how much memory to look at.
    ///
    /// # Errors
    ///
    /// [`ImageError::NoDescription`], [`ImageError::Version`].
    pub fn total_length(bytes: &[u8]) -> Result<u64, ImageError> {
        Ok(read_header(bytes)?.0.total_length.get())
    }

    /// Finds the tables in `bytes` and verifies the tables' checksum.
    ///
    /// The payload's checksum is [`Self::verify_payload`]'s business, because it takes long.
    ///
    /// # Errors
    ///
    /// [`ImageError::NoDescription`], [`ImageError::Version`], [`ImageError::Truncated`],
    /// [`ImageError::TablesChecksum`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ImageError> {
        let (header, rest) = read_header(bytes)?;
        let total =
            usize::try_from(header.total_length.get()).map_err(|_| ImageError::Truncated)?;
        let payload_offset =
            usize::try_from(header.payload_offset.get()).map_err(|_| ImageError::Truncated)?;
        let payload = bytes
            .get(payload_offset..total)
            .ok_or(ImageError::Truncated)?;

        let tables = rest;
        let (domains, rest) = table::<DomainEntry>(rest, header.domains.get())?;
        let (vms, rest) = table::<VmEntry>(rest, header.vms.get())?;
        let (vcpus, rest) = table::<VcpuEntry>(rest, header.vcpus.get())?;
        let (mappings, rest) = table::<MappingEntry>(rest, header.mappings.get())?;
        let (capabilities, rest) = table::<CapabilityEntry>(rest, header.capabilities.get())?;
        let (loads, rest) = table::<LoadEntry>(rest, header.loads.get())?;

        let tables_length = tables.len() - rest.len();
        if size_of::<Header>() + tables_length > payload_offset {
            return Err(ImageError::Truncated);
        }
        let tables = tables.get(..tables_length).ok_or(ImageError::Truncated)?;
        let found = checksum(&[checksummed(bytes), tables]);
        let expected = header.tables_crc.get();
        if found != expected {
            return Err(ImageError::TablesChecksum { found, expected });
        }
        Ok(Self {
            header,
            domains,
            vms,
            vcpus,
            mappings,
            capabilities,
            loads,
            payload,
        })
    }

    /// Verifies the payload's checksum.
    ///
    /// # Errors
    ///
    /// [`ImageError::PayloadChecksum`].
    pub fn verify_payload(&self) -> Result<(), ImageError> {
        self.verify_payload_with(|payload| checksum(&[payload]))
    }

    /// As [`Self::verify_payload`], with the caller's CRC-32 (ISO-HDLC).
    ///
    /// # Errors
    ///
    /// [`ImageError::PayloadChecksum`].
    pub fn verify_payload_with(
        &self,
        checksum: impl FnOnce(&[u8]) -> u32,
    ) -> Result<(), ImageError> {
        let found = checksum(self.payload);
        let expected = self.header.payload_crc.get();
        if found == expected {
            Ok(())
        } else {
            Err(ImageError::PayloadChecksum { found, expected })
        }
    }

    /// Physical addresses of the RAM that the image may use.
    #[must_use]
    pub fn ram(&self) -> core::ops::Range<u64> {
        self.header.ram_start.get()..self.header.ram_end.get()
    }

    /// Physical addresses of the kernel's pool for translation tables.
    #[must_use]
    pub fn pool(&self) -> core::ops::Range<u64> {
        self.header.pool_start.get()..self.header.pool_end.get()
    }

    /// Bytes from the header's start to the payload's end.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.header.total_length.get()
    }

    /// Every domain, in the order of their indices.
    ///
    /// # Errors
    ///
    /// Each item: [`ImageError::Invalid`].
    pub fn domains(
        &self,
    ) -> impl ExactSizeIterator<Item = Result<Domain<'a>, ImageError>> + use<'a> {
        self.domains
            .iter()
            .enumerate()
            .map(|(index, entry)| domain(index, entry))
    }

    /// Every VM, in the order of their indices.
    ///
    /// # Errors
    ///
    /// Each item: [`ImageError::Invalid`].
    pub fn vms(&self) -> impl ExactSizeIterator<Item = Result<Vm<'a>, ImageError>> + use<'a> {
        self.vms.iter().enumerate().map(|(index, entry)| {
            let field = Field {
                table: Table::Vms,
                index,
            };
            field.zero("reserved", entry.reserved.get())?;
            Ok(Vm {
                name: field.name(&entry.name)?,
                owner: field.index("owner", entry.owner.get())?,
            })
        })
    }

    /// Every vCPU, in the order of their indices.
    ///
    /// # Errors
    ///
    /// Each item: [`ImageError::Invalid`].
    pub fn vcpus(&self) -> impl ExactSizeIterator<Item = Result<Vcpu, ImageError>> + use<'a> {
        self.vcpus.iter().enumerate().map(|(index, entry)| {
            let field = Field {
                table: Table::Vcpus,
                index,
            };
            field.zero("reserved", entry.reserved.get())?;
            Ok(Vcpu {
                vm: field.index("vm", entry.vm.get())?,
                id: entry.id.get(),
                priority: field.priority(entry.priority.get())?,
                budget: entry.budget.get(),
                period: entry.period.get(),
            })
        })
    }

    /// Every mapping.
    ///
    /// # Errors
    ///
    /// Each item: [`ImageError::Invalid`].
    pub fn mappings(&self) -> impl ExactSizeIterator<Item = Result<Mapping, ImageError>> + use<'a> {
        self.mappings
            .iter()
            .enumerate()
            .map(|(index, entry)| mapping(index, entry))
    }

    /// Every capability.
    ///
    /// # Errors
    ///
    /// Each item: [`ImageError::Invalid`].
    pub fn capabilities(
        &self,
    ) -> impl ExactSizeIterator<Item = Result<Capability, ImageError>> + use<'a> {
        self.capabilities
            .iter()
            .enumerate()
            .map(|(index, entry)| capability(index, entry))
    }

    /// Everything to be filled.
    ///
    /// # Errors
    ///
    /// Each item: [`ImageError::Address`] if the bytes are not in the payload.
    pub fn loads(&self) -> impl ExactSizeIterator<Item = Result<Load<'a>, ImageError>> + use<'a> {
        let payload = self.payload;
        self.loads.iter().enumerate().map(move |(index, entry)| {
            let outside = ImageError::Address {
                table: Table::Loads,
                index,
                field: "source",
                value: entry.source.get(),
            };
            let start = usize::try_from(entry.source.get()).map_err(|_| outside)?;
            let length = usize::try_from(entry.source_length.get()).map_err(|_| outside)?;
            let end = start.checked_add(length).ok_or(outside)?;
            let bytes = payload.get(start..end).ok_or(outside)?;
            Ok(Load {
                physical: entry.physical.get(),
                length: entry.length.get(),
                bytes,
            })
        })
    }
}

/// The header and what follows it.
fn read_header(bytes: &[u8]) -> Result<(&Header, &[u8]), ImageError> {
    let (header, rest) = Header::ref_from_prefix(bytes).map_err(|_| ImageError::NoDescription)?;
    if header.magic != layout::MAGIC {
        return Err(ImageError::NoDescription);
    }
    let found = header.version.get();
    if found != layout::VERSION {
        return Err(ImageError::Version { found });
    }
    Ok((header, rest))
}

/// A table of `count` entries at the start of `bytes`, and what follows it.
fn table<Entry>(bytes: &[u8], count: u32) -> Result<(&[Entry], &[u8]), ImageError>
where
    Entry: FromBytes + zerocopy::Immutable + zerocopy::KnownLayout,
{
    let count = usize::try_from(count).map_err(|_| ImageError::Truncated)?;
    <[Entry]>::ref_from_prefix_with_elems(bytes, count).map_err(|_| ImageError::Truncated)
}

/// Decoders that name the entry they fail in.
#[derive(Clone, Copy)]
struct Field {
    table: Table,
    index: usize,
}

impl Field {
    fn invalid(self, field: &'static str) -> ImageError {
        ImageError::Invalid {
            table: self.table,
            index: self.index,
            field,
        }
    }

    fn zero(self, field: &'static str, value: u32) -> Result<(), ImageError> {
        if value == 0 {
            Ok(())
        } else {
            Err(self.invalid(field))
        }
    }

    fn index(self, field: &'static str, value: u32) -> Result<usize, ImageError> {
        usize::try_from(value).map_err(|_| self.invalid(field))
    }

    /// 255 is seL4's highest priority, which Microkit keeps for its monitor.
    fn priority(self, value: u32) -> Result<u8, ImageError> {
        u8::try_from(value)
            .ok()
            .filter(|&value| value < u8::MAX)
            .ok_or(self.invalid("priority"))
    }

    fn name(self, bytes: &[u8; layout::NAME_LENGTH]) -> Result<&str, ImageError> {
        let length = bytes
            .iter()
            .position(|&byte| byte == 0)
            .ok_or(self.invalid("name"))?;
        let (name, padding) = bytes.split_at(length);
        if name.is_empty() || padding.iter().any(|&byte| byte != 0) {
            return Err(self.invalid("name"));
        }
        core::str::from_utf8(name).map_err(|_| self.invalid("name"))
    }

    fn flags(self, value: u32, known: u32) -> Result<u32, ImageError> {
        if value & !known == 0 {
            Ok(value)
        } else {
            Err(self.invalid("flags"))
        }
    }
}

fn domain(index: usize, entry: &DomainEntry) -> Result<Domain<'_>, ImageError> {
    let field = Field {
        table: Table::Domains,
        index,
    };
    let flags = field.flags(
        entry.flags.get(),
        layout::DOMAIN_PASSIVE | layout::DOMAIN_FPU,
    )?;
    let parent = match entry.parent.get() {
        layout::NO_PARENT => {
            field.zero("child", entry.child.get())?;
            None
        }
        parent => Some(Parent {
            domain: field.index("parent", parent)?,
            child: entry.child.get(),
        }),
    };
    Ok(Domain {
        name: field.name(&entry.name)?,
        priority: field.priority(entry.priority.get())?,
        passive: flags & layout::DOMAIN_PASSIVE != 0,
        fpu: flags & layout::DOMAIN_FPU != 0,
        budget: entry.budget.get(),
        period: entry.period.get(),
        entry: entry.entry.get(),
        stack_top: entry.stack_top.get(),
        ipc_buffer: entry.ipc_buffer.get(),
        ipc_buffer_physical: entry.ipc_buffer_physical.get(),
        parent,
    })
}

fn mapping(index: usize, entry: &MappingEntry) -> Result<Mapping, ImageError> {
    let field = Field {
        table: Table::Mappings,
        index,
    };
    field.zero("reserved", entry.reserved.get())?;
    let known = layout::MAPPING_READ
        | layout::MAPPING_WRITE
        | layout::MAPPING_EXECUTE
        | layout::MAPPING_CACHED;
    let flags = field.flags(entry.flags.get(), known)?;
    let space = field.index("space", entry.space.get())?;
    Ok(Mapping {
        space: match entry.space_kind.get() {
            layout::SPACE_DOMAIN => Space::Domain(space),
            layout::SPACE_VM => Space::Vm(space),
            _ => return Err(field.invalid("space_kind")),
        },
        address: entry.address.get(),
        physical: entry.physical.get(),
        length: entry.length.get(),
        rights: Rights {
            read: flags & layout::MAPPING_READ != 0,
            write: flags & layout::MAPPING_WRITE != 0,
            execute: flags & layout::MAPPING_EXECUTE != 0,
        },
        cached: flags & layout::MAPPING_CACHED != 0,
    })
}

fn capability(index: usize, entry: &CapabilityEntry) -> Result<Capability, ImageError> {
    let field = Field {
        table: Table::Capabilities,
        index,
    };
    field.zero("reserved", entry.reserved.get())?;
    let kind = entry.kind.get();
    if kind != layout::CAPABILITY_INTERRUPT {
        field.zero("detail", entry.detail.get())?;
    }
    let badge = entry.badge.get();
    let target = field.index("target", entry.target.get())?;
    let object = match kind {
        layout::CAPABILITY_NOTIFICATION => Object::Notification {
            domain: target,
            badge,
        },
        layout::CAPABILITY_ENDPOINT => Object::Endpoint {
            domain: target,
            badge,
        },
        layout::CAPABILITY_INTERRUPT => Object::Interrupt {
            intid: entry.target.get(),
            trigger: match entry.detail.get() {
                layout::TRIGGER_LEVEL => Trigger::Level,
                layout::TRIGGER_EDGE => Trigger::Edge,
                _ => return Err(field.invalid("detail")),
            },
            badge,
        },
        _ if badge != 0 => return Err(field.invalid("badge")),
        layout::CAPABILITY_CHILD => Object::Child { domain: target },
        layout::CAPABILITY_VM_THREAD => Object::VmThread { vcpu: target },
        layout::CAPABILITY_VCPU => Object::Vcpu { vcpu: target },
        _ => return Err(field.invalid("kind")),
    };
    Ok(Capability {
        owner: field.index("owner", entry.owner.get())?,
        slot: entry.slot.get(),
        object,
    })
}
