// SPDX-License-Identifier: BSD-2-Clause
//! What tells one bundle from another: the CRC-64 of what is loaded where.
//!
//! Responsible for: computing it, of a bundle to be written or of one that comes piece by piece. Never: keeps any of it.

use crc::{CRC_64_XZ, Crc, Digest, Table};
use zerocopy::IntoBytes;

use crate::{Bundle, MARK, RAM_BASE, SegmentEntry, WITH_FIRMWARE, has_firmware};

/// Sixteen bytes at a time: what comes over a link is summed while its guest is waited for.
type Bytes = Table<16>;

static CRC: Crc<u64, Bytes> = Crc::<u64, Bytes>::new(&CRC_64_XZ);

/// The identity of a bundle whose bytes come in order.
pub struct Identifier {
    bundle: Bundle,
    digest: Digest<'static, u64, Bytes>,
    position: u64,
}

impl Identifier {
    /// Of the bundle with this header and table, before its first byte.
    #[must_use]
    pub fn new(bundle: &Bundle) -> Self {
        Self {
            bundle: *bundle,
            digest: begin(bundle.table()),
            position: 0,
        }
    }

    /// The bytes that follow, those of header and table among them; what lies between segments does not count.
    pub fn update(&mut self, bytes: &[u8]) {
        let end = self.position + bytes.len() as u64;
        for segment in self.bundle.segments() {
            let from = segment.offset.max(self.position);
            let to = (segment.offset + segment.size).min(end);
            let part = from
                .checked_sub(self.position)
                .zip(to.checked_sub(self.position));
            let part = part.and_then(|(from, to)| {
                bytes.get(usize::try_from(from).ok()?..usize::try_from(to).ok()?)
            });
            self.digest.update(part.unwrap_or_default());
        }
        self.position = end;
    }

    /// Whether the bundle is what its header says, now that all of it has come. Only one whose segments lie in the
    /// order of its table is, as every writer lays them out.
    #[must_use]
    pub fn is_right(self) -> bool {
        let ends = self
            .bundle
            .segments()
            .map(|segment| segment.offset + segment.size);
        let begins = self.bundle.segments().map(|segment| segment.offset);
        let ordered = ends.zip(begins.skip(1)).all(|(end, next)| end <= next);
        let whole = self.position >= self.bundle.length();
        ordered && whole && finish(self.digest, self.bundle.table()) == self.bundle.identity()
    }
}

impl core::fmt::Debug for Identifier {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter
            .debug_struct("Identifier")
            .field("bundle", &self.bundle.identity())
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}

fn begin(table: &[SegmentEntry]) -> Digest<'static, u64, Bytes> {
    let mut digest = CRC.digest();
    digest.update(table.as_bytes());
    digest
}

/// Zero means that nothing is known, and some bits tell of firmware.
fn finish(digest: Digest<'static, u64, Bytes>, table: &[SegmentEntry]) -> u64 {
    let sum = digest.finalize().max(1);
    if table.iter().any(|entry| entry.ipa.get() < RAM_BASE) {
        WITH_FIRMWARE | sum & !MARK
    } else if has_firmware(sum) {
        !sum
    } else {
        sum
    }
}

/// Of segments that are to be written.
#[cfg(feature = "encode")]
pub(crate) fn of<'a>(table: &[SegmentEntry], data: impl Iterator<Item = &'a [u8]>) -> u64 {
    let mut digest = begin(table);
    data.for_each(|data| digest.update(data));
    finish(digest, table)
}
