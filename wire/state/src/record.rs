// SPDX-License-Identifier: BSD-2-Clause
//! Records: the one encoding of each domain's part of a machine's state.
//!
//! Responsible for: a header that can be read without decoding what follows, and a payload that has exactly one
//! encoding. Never: trusts a record; every byte of one may come from another board.
//!
//! A record is a [`Header`] of 16 bytes and a payload in postcard's wire format. `postcard` itself ignores trailing
//! bytes and accepts overlong integers, so a payload counts only if nothing is left over and encoding it again gives
//! the same bytes.

use crate::earlier::Padded;
use crate::file::Defect;
use crate::register::Register;
use crc::{CRC_32_ISO_HDLC, Crc};
use postcard::Deserializer;
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;
use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The first four bytes of every record.
pub const MAGIC: [u8; 4] = *b"GWSR";

/// The most bytes that a record has, header included: the size of an export region (`system.xml`).
pub const MAX_SIZE: usize = 0x8000;

/// CRC-32 as in zip files, over the header's first twelve bytes and the payload.
const CHECKSUM: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);

/// What a record is about. Numbers never change their meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum Kind {
    /// [`crate::VcpusRecordV4`], from `vmm-pd`.
    Vcpus = 1,
    /// [`crate::VgicRecordV1`], from `vgic-pd`.
    Vgic = 2,
    /// [`crate::TimerRecordV1`], from `timer-pd`.
    Timer = 3,
    /// [`crate::MachineRecordV2`].
    Machine = 4,
}

/// Why a record is refused, or cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum RecordError {
    /// Fewer bytes than a header has.
    #[error("record of {found} bytes")]
    TooShort {
        /// How many bytes there are.
        found: usize,
    },
    /// The first bytes are not [`MAGIC`].
    #[error("not a record: it begins with {found:02x?}")]
    NotARecord {
        /// The first bytes.
        found: [u8; 4],
    },
    /// A kind that nobody here knows.
    #[error("unknown kind of record {kind}")]
    UnknownKind {
        /// Its number.
        kind: u16,
    },
    /// A record, but of another kind than was asked for.
    #[error("a {found:?} record where a {expected:?} record belongs")]
    WrongKind {
        /// The kind asked for.
        expected: Kind,
        /// The record's kind.
        found: Kind,
    },
    /// A version that nobody here knows.
    #[error("{kind:?} record of unknown version {version}")]
    UnknownVersion {
        /// The record's kind.
        kind: Kind,
        /// Its version.
        version: u16,
    },
    /// Longer or shorter than its header says.
    #[error("record of {found} bytes, its header says {announced}")]
    Length {
        /// Bytes that the header announces, its own included.
        announced: u64,
        /// Bytes that there are.
        found: usize,
    },
    /// Changed since it was written.
    #[error("record's checksum is {found:#010x}, its bytes give {computed:#010x}")]
    Checksum {
        /// The header's.
        found: u32,
        /// Ours.
        computed: u32,
    },
    /// The payload is not what the kind and version call for.
    #[error("{kind:?} record does not decode")]
    Encoding {
        /// The record's kind.
        kind: Kind,
    },
    /// Bytes are left over.
    #[error("{kind:?} record has {left} bytes too many")]
    Trailing {
        /// The record's kind.
        kind: Kind,
        /// How many bytes are left over.
        left: usize,
    },
    /// It decodes, but is not how we would have written it.
    #[error("{kind:?} record is not in canonical form")]
    NotCanonical {
        /// The record's kind.
        kind: Kind,
    },
    /// No register has this key.
    #[error("unknown register {key:#010x}")]
    UnknownRegister {
        /// The low half of the identifier.
        key: u32,
    },
    /// Registers are not in ascending order, or one is there twice.
    #[error("register {key:#010x} is out of order")]
    RegisterOrder {
        /// The low half of the identifier.
        key: u32,
    },
    /// A value has more bits than its register.
    #[error("value of {register} is too wide")]
    RegisterWidth {
        /// The register's name.
        register: &'static str,
    },
    /// The register does not belong into this record.
    #[error("{register} does not belong into this record")]
    Misplaced {
        /// The register's name.
        register: &'static str,
    },
    /// A field's value is outside its range.
    #[error("{field} out of range: {value:#x}")]
    Range {
        /// The field's name.
        field: &'static str,
        /// Its value.
        value: u64,
    },
    /// There is no room for the record.
    #[error("no room for a {kind:?} record in {available} bytes")]
    NoRoom {
        /// The record's kind.
        kind: Kind,
        /// How many bytes there are.
        available: usize,
    },
}

/// What can be known of a record without decoding it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// What it is about.
    pub kind: Kind,
    /// The version of its payload.
    pub version: u16,
    /// How long its payload is, in bytes.
    pub length: u32,
    /// The checksum that it carries.
    pub checksum: u32,
}

/// A header as bytes.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RawHeader {
    magic: [u8; 4],
    kind: U16,
    version: U16,
    length: U32,
    checksum: U32,
}

pub(crate) mod sealed {
    /// Only this crate defines records.
    pub trait Sealed {}
}

/// A record's payload.
pub trait Record: Serialize + DeserializeOwned + sealed::Sealed {
    /// What it is about.
    const KIND: Kind;
    /// The version of its payload.
    const VERSION: u16;

    /// What its types do not say: ranges, and what belongs together.
    fn check(&self) -> Result<(), RecordError>;

    /// How many bytes a payload of an earlier version lacks at its end: each of what came later is one byte, zero, if it is
    /// empty. Nothing if that version is not read.
    fn added_since(_version: u16) -> Option<usize> {
        None
    }

    /// What a record becomes that came in a payload of an earlier version; nothing if it has what that version could not
    /// say.
    fn upgrade(self, _version: u16) -> Option<Self> {
        None
    }
}

impl Kind {
    fn from_number(kind: u16) -> Result<Self, RecordError> {
        [Self::Vcpus, Self::Vgic, Self::Timer, Self::Machine]
            .into_iter()
            .find(|known| *known as u16 == kind)
            .ok_or(RecordError::UnknownKind { kind })
    }
}

impl From<Defect> for RecordError {
    fn from(defect: Defect) -> Self {
        match defect {
            Defect::Unknown(key) => Self::UnknownRegister { key },
            Defect::OutOfOrder(key) => Self::RegisterOrder { key },
            Defect::TooWide(register) => Self::RegisterWidth {
                register: Register::name(register),
            },
        }
    }
}

impl Header {
    /// How many bytes a header has.
    pub const SIZE: usize = size_of::<RawHeader>();

    /// Reads the header of a record, whatever follows it.
    pub fn peek(bytes: &[u8]) -> Result<Self, RecordError> {
        let (raw, _) = RawHeader::read_from_prefix(bytes)
            .map_err(|_| RecordError::TooShort { found: bytes.len() })?;
        if raw.magic != MAGIC {
            return Err(RecordError::NotARecord { found: raw.magic });
        }
        Ok(Self {
            kind: Kind::from_number(raw.kind.get())?,
            version: raw.version.get(),
            length: raw.length.get(),
            checksum: raw.checksum.get(),
        })
    }

    /// Reads the header of the record that `bytes` are, and checks length and checksum. Gives the payload too.
    pub fn check(bytes: &[u8]) -> Result<(Self, &[u8]), RecordError> {
        let header = Self::peek(bytes)?;
        let payload = bytes.get(Self::SIZE..).unwrap_or(&[]);
        if payload.len() as u64 != u64::from(header.length) {
            return Err(RecordError::Length {
                announced: u64::from(header.length) + Self::SIZE as u64,
                found: bytes.len(),
            });
        }
        let computed = checksum(&header.raw(), payload);
        if computed != header.checksum {
            return Err(RecordError::Checksum {
                found: header.checksum,
                computed,
            });
        }
        Ok((header, payload))
    }

    fn raw(&self) -> RawHeader {
        RawHeader {
            magic: MAGIC,
            kind: U16::new(self.kind as u16),
            version: U16::new(self.version),
            length: U32::new(self.length),
            checksum: U32::new(self.checksum),
        }
    }
}

fn checksum(header: &RawHeader, payload: &[u8]) -> u32 {
    let mut digest = CHECKSUM.digest();
    digest.update(&header.magic);
    digest.update(header.kind.as_bytes());
    digest.update(header.version.as_bytes());
    digest.update(header.length.as_bytes());
    digest.update(payload);
    digest.finalize()
}

/// Writes `record` into `bytes`; gives its length.
pub fn encode<T: Record>(record: &T, bytes: &mut [u8]) -> Result<usize, RecordError> {
    record.check()?;
    let available = bytes.len();
    let no_room = RecordError::NoRoom {
        kind: T::KIND,
        available,
    };
    let (head, body) = bytes.split_at_mut_checked(Header::SIZE).ok_or(no_room)?;
    let payload = postcard::to_slice(record, body).map_err(|_| no_room)?;
    let mut header = Header {
        kind: T::KIND,
        version: T::VERSION,
        length: u32::try_from(payload.len()).map_err(|_| no_room)?,
        checksum: 0,
    };
    header.checksum = checksum(&header.raw(), payload);
    head.copy_from_slice(header.raw().as_bytes());
    Ok(Header::SIZE + payload.len())
}

/// Reads the record that `bytes` are, all of them: of its own version, or of one before that is still read.
pub fn decode<T: Record>(bytes: &[u8]) -> Result<T, RecordError> {
    let (header, payload) = Header::check(bytes)?;
    if header.kind != T::KIND {
        return Err(RecordError::WrongKind {
            expected: T::KIND,
            found: header.kind,
        });
    }
    let kind = T::KIND;
    let unknown = RecordError::UnknownVersion {
        kind,
        version: header.version,
    };
    let is_earlier = header.version != T::VERSION;
    let added = match is_earlier {
        true => T::added_since(header.version).ok_or(unknown)?,
        false => 0,
    };
    let whole = Padded {
        payload,
        zeros: added,
    };
    let mut deserializer = Deserializer::from_flavor(whole);
    let record = T::deserialize(&mut deserializer)
        .and_then(|record| Ok((record, deserializer.finalize()?.left())));
    let (record, left) = record.map_err(|_| RecordError::Encoding { kind })?;
    if left > 0 {
        return Err(RecordError::Trailing { kind, left });
    }
    record.check()?;
    let not_canonical = RecordError::NotCanonical { kind };
    postcard::serialize_with_flavor(&record, whole).map_err(|_| not_canonical)?;
    match is_earlier {
        true => record.upgrade(header.version).ok_or(not_canonical),
        false => Ok(record),
    }
}
