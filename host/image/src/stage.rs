// SPDX-License-Identifier: BSD-2-Clause
//! The stage at EL2 that runs before Microkit's loader (`board/el2-stage`).
//!
//! Responsible for: putting it into the loader's image. The image stays one file that is loaded and entered where it was
//! before: it begins with a jump to the stage, which lies behind everything else and puts back what the jump replaced.
//! Never: changes anything else of the image.

use std::path::Path;

use super::ImageError;
use super::elf::Program;
use crate::io::{read, write};

/// The package of the stage.
pub(super) const PACKAGE: &str = "el2-stage";

/// How many bytes of the image the jump replaces: two instructions.
const JUMP: usize = 8;
/// What the stage's place in the image is aligned to, as `ADRP` counts.
const PAGE: usize = 0x1000;
/// Alignment of the words behind the stage.
const WORD: usize = size_of::<u64>();
/// What an ELF file begins with: it would not be entered at its first byte.
const ELF: &[u8] = b"\x7fELF";
/// `BR X9` (DDI 0487, C6.2.37).
const BRANCH: u32 = 0xd61f_0120;

/// Puts the stage in front of the image in a file.
pub(super) fn put_before(path: &Path, stage: &[u8]) -> Result<(), ImageError> {
    let stage = Program::parse(PACKAGE, stage.to_vec())?;
    let code = stage
        .segments()
        .first()
        .map_or(&[][..], |segment| &segment.data);
    let image = with_stage(read(path)?, code).ok_or_else(|| ImageError::Stage {
        path: path.to_owned(),
    })?;
    write(path, &image)
}

/// The image with the stage in it; none if it is not one that is entered at its first byte, or too large.
fn with_stage(mut image: Vec<u8>, code: &[u8]) -> Option<Vec<u8>> {
    if image.starts_with(ELF) || code.is_empty() {
        return None;
    }
    let at = image.len().next_multiple_of(PAGE);
    let first: [u8; JUMP] = image.get(..JUMP)?.try_into().ok()?;
    let jump = jump(at)?;
    image.get_mut(..JUMP)?.copy_from_slice(&jump);
    image.resize(at, 0);
    image.extend_from_slice(code);
    image.resize(image.len().next_multiple_of(WORD), 0);
    image.extend_from_slice(&(at as u64).to_le_bytes());
    image.extend_from_slice(&first);
    Some(image)
}

/// `ADRP X9, .+distance; BR X9`. The image is loaded at the beginning of a page.
fn jump(distance: usize) -> Option<[u8; JUMP]> {
    let pages = u32::try_from(distance / PAGE).ok()?;
    // A signed number of 21 bits (DDI 0487, C6.2.13), so that half of it is forward.
    if pages >= 1 << 20 {
        return None;
    }
    let address = 0x9000_0009 | (pages & 3) << 29 | (pages >> 2) << 5;
    let mut bytes = [0; JUMP];
    let (first, second) = bytes.split_at_mut(4);
    first.copy_from_slice(&address.to_le_bytes());
    second.copy_from_slice(&BRANCH.to_le_bytes());
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CODE: [u8; 12] = [0xaa; 12];

    #[test]
    fn the_image_begins_with_a_jump_to_the_stage_and_keeps_everything_else() {
        let image: Vec<u8> = (0..=u8::MAX).cycle().take(0x1_2345).collect();
        let staged = with_stage(image.clone(), &CODE).unwrap();
        assert_eq!(staged[JUMP..image.len()], image[JUMP..]);
        let at = 0x1_3000;
        assert_eq!(staged[at..at + CODE.len()], CODE);
        let words = at + 16;
        assert_eq!(staged[words..words + 8], (at as u64).to_le_bytes());
        assert_eq!(staged[words + 8..], image[..JUMP]);
        // adrp x9, #0x13000; br x9, as an assembler has them.
        assert_eq!(
            staged[..JUMP],
            [0x89, 0x00, 0x00, 0xf0, 0x20, 0x01, 0x1f, 0xd6]
        );
    }

    #[test]
    fn what_is_not_entered_at_its_first_byte_is_refused() {
        assert_eq!(
            with_stage(b"\x7fELF, an image of another kind".to_vec(), &CODE),
            None
        );
        assert_eq!(with_stage(vec![1; 7], &CODE), None, "shorter than the jump");
        assert_eq!(with_stage(vec![1; 100], &[]), None, "no stage");
    }

    #[test]
    fn a_stage_farther_away_than_an_instruction_reaches_is_refused() {
        assert!(jump((1 << 32) - PAGE).is_some());
        assert_eq!(jump(1 << 32), None);
    }
}
