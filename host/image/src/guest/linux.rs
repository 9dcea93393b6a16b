// SPDX-License-Identifier: BSD-2-Clause
//! Linux's arm64 `Image`, as Documentation/arch/arm64/booting.rst describes it.
//!
//! Responsible for: unpacking what distributions ship (plain, gzip, or an EFI "zboot" image that holds a gzip), and
//! refusing what would hang without a word. Never: chooses where the kernel goes.

use std::io::Read as _;
use std::path::Path;

use flate2::read::GzDecoder;

use super::{GuestError, Result, read};

/// `ARM\x64` at offset 56.
const MAGIC: &[u8] = b"ARM\x64";
const GZIP: &[u8] = &[0x1f, 0x8b];
/// `MZ`, two zeros, `zimg`: include/linux/pe.h's `LINUX_PE_MAGIC` in an EFI zboot image.
const ZBOOT: &[u8] = b"MZ\0\0zimg";

/// A kernel.
#[derive(Debug)]
pub(super) struct Image {
    /// Its file, unpacked.
    pub(super) bytes: Vec<u8>,
    /// Where it goes, from an address that is a multiple of 2 MiB.
    pub(super) text_offset: u64,
    /// Bytes that it occupies once it runs, at least those of its file.
    pub(super) memory_size: u64,
}

impl Image {
    /// Reads a kernel.
    pub(super) fn read(path: &Path) -> Result<Self> {
        let bytes = unpack(read(path)?)
            .and_then(Self::parse)
            .map_err(|reason| GuestError::Kernel {
                path: path.to_owned(),
                reason,
            })?;
        Ok(bytes)
    }

    fn parse(bytes: Vec<u8>) -> Result<Self, &'static str> {
        if bytes.get(56..60) != Some(MAGIC) {
            return Err("no arm64 header");
        }
        let text_offset = word(&bytes, 8).ok_or("cut short")?;
        let image_size = word(&bytes, 16).ok_or("cut short")?;
        let flags = word(&bytes, 24).ok_or("cut short")?;
        if image_size == 0 {
            return Err("older than Linux 3.17, does not say how much memory it needs");
        }
        if flags & 1 != 0 {
            return Err("big-endian");
        }
        // Bits 2:1: 1 for 4 KiB, 2 for 16 KiB, 3 for 64 KiB. The Cortex-A53 has no 16 KiB granule.
        if flags >> 1 & 3 == 2 {
            return Err("built for pages of 16 KiB");
        }
        if text_offset >= super::ALIGNMENT {
            return Err("text offset beyond 2 MiB");
        }
        let memory_size = image_size.max(bytes.len() as u64);
        Ok(Self {
            bytes,
            text_offset,
            memory_size,
        })
    }
}

fn word(bytes: &[u8], offset: usize) -> Option<u64> {
    Some(u64::from_le_bytes(
        bytes.get(offset..offset + 8)?.try_into().ok()?,
    ))
}

fn unpack(bytes: Vec<u8>) -> Result<Vec<u8>, &'static str> {
    if bytes.starts_with(GZIP) {
        return gunzip(&bytes);
    }
    if !bytes.starts_with(ZBOOT) {
        return Ok(bytes);
    }
    // Payload offset and size at 8, compression as text at 24 (drivers/firmware/efi/libstub/zboot-header.S).
    if bytes.get(24..28) != Some(b"gzip") {
        return Err("an EFI zboot image that is compressed with something else than gzip");
    }
    let place = word(&bytes, 8).ok_or("cut short")?;
    let start = usize::try_from(place & 0xffff_ffff).map_err(|_| "cut short")?;
    let length = usize::try_from(place >> 32).map_err(|_| "cut short")?;
    let payload = bytes
        .get(start..)
        .and_then(|rest| rest.get(..length))
        .ok_or("cut short")?;
    gunzip(payload)
}

fn gunzip(bytes: &[u8]) -> Result<Vec<u8>, &'static str> {
    let mut unpacked = Vec::new();
    GzDecoder::new(bytes)
        .read_to_end(&mut unpacked)
        .map_err(|_| "damaged gzip data")?;
    Ok(unpacked)
}

#[cfg(test)]
pub(super) mod tests {
    use std::io::Write as _;

    use super::*;

    /// The header of a kernel that needs `memory` bytes, and some more bytes.
    pub(in crate::guest) fn image(text_offset: u64, memory: u64, flags: u64) -> Vec<u8> {
        let mut bytes = vec![0x14; 0x3000];
        bytes[8..16].copy_from_slice(&text_offset.to_le_bytes());
        bytes[16..24].copy_from_slice(&memory.to_le_bytes());
        bytes[24..32].copy_from_slice(&flags.to_le_bytes());
        bytes[56..60].copy_from_slice(MAGIC);
        bytes
    }

    pub(in crate::guest) fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn zboot(compression: &[u8; 4], payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; 64];
        bytes[..8].copy_from_slice(ZBOOT);
        bytes[8..12].copy_from_slice(&64u32.to_le_bytes());
        bytes[12..16].copy_from_slice(&u32::try_from(payload.len()).unwrap().to_le_bytes());
        bytes[24..28].copy_from_slice(compression);
        bytes.extend_from_slice(payload);
        bytes
    }

    #[test]
    fn a_kernel_is_read_in_every_wrapping() {
        let plain = image(0, 0x20_0000, 0xa);
        for wrapped in [plain.clone(), gzip(&plain), zboot(b"gzip", &gzip(&plain))] {
            let image = unpack(wrapped).and_then(Image::parse).unwrap();
            assert_eq!(image.bytes, plain);
            assert_eq!((image.text_offset, image.memory_size), (0, 0x20_0000));
        }
    }

    #[test]
    fn memory_covers_at_least_the_file() {
        assert_eq!(
            Image::parse(image(0x8_0000, 0x1000, 0))
                .unwrap()
                .memory_size,
            0x3000
        );
    }

    #[test]
    fn kernels_that_would_hang_are_refused() {
        let refused = |bytes| Image::parse(bytes).unwrap_err();
        assert_eq!(refused(b"\x7fELF".to_vec()), "no arm64 header");
        assert_eq!(refused(image(0, 0x20_0000, 1)), "big-endian");
        assert_eq!(refused(image(0, 0x20_0000, 4)), "built for pages of 16 KiB");
        assert!(refused(image(0, 0, 0)).contains("older"));
        assert!(refused(image(0x20_0000, 0x1000, 0)).contains("offset"));
        assert!(unpack(zboot(b"zstd", &[])).unwrap_err().contains("zboot"));
        let mut damaged = gzip(&image(0, 1, 0));
        damaged.truncate(20);
        assert_eq!(unpack(damaged).unwrap_err(), "damaged gzip data");
    }
}
