// SPDX-License-Identifier: BSD-2-Clause
//! Physical memory of a board: who gets which piece.
//!
//! Responsible for: pieces that do not overlap and are aligned. Never: knows what a piece is for beyond its name.

use std::ops::Range;

use super::ImageError;

/// A board's memory, partly given away.
#[derive(Clone, Debug)]
pub struct Memory {
    /// Free pieces, sorted, none empty, none adjacent to another.
    free: Vec<Range<u64>>,
    ram: Range<u64>,
}

impl Memory {
    /// All of a board's memory.
    #[must_use]
    pub fn new(ram: Range<u64>) -> Self {
        Self {
            free: vec![ram.clone()],
            ram,
        }
    }

    /// Whether a range is at least partly memory; if not, it can only be a device.
    #[must_use]
    pub fn contains_any(&self, range: &Range<u64>) -> bool {
        range.start < self.ram.end && self.ram.start < range.end
    }

    /// Takes a certain piece.
    ///
    /// # Errors
    ///
    /// It is not wholly free memory.
    pub fn take(&mut self, what: &str, range: Range<u64>) -> Result<(), ImageError> {
        let place = self
            .free
            .iter()
            .position(|free| free.start <= range.start && range.end <= free.end);
        let Some(place) = place else {
            return Err(ImageError::Taken {
                what: what.to_owned(),
                start: range.start,
                end: range.end,
            });
        };
        let free = self.free[place].clone();
        let rest = [free.start..range.start, range.end..free.end];
        self.free.splice(
            place..=place,
            rest.into_iter().filter(|piece| !piece.is_empty()),
        );
        Ok(())
    }

    /// Takes the first piece of `size` bytes that is aligned to `alignment`.
    ///
    /// # Errors
    ///
    /// There is none.
    pub fn allocate(&mut self, what: &str, size: u64, alignment: u64) -> Result<u64, ImageError> {
        let start = self.free.iter().find_map(|free| {
            let start = free.start.next_multiple_of(alignment);
            (start.checked_add(size)? <= free.end).then_some(start)
        });
        let Some(start) = start else {
            let largest = self
                .free
                .iter()
                .map(|free| free.end - free.start)
                .max()
                .unwrap_or(0);
            return Err(ImageError::NoRoom {
                what: what.to_owned(),
                size,
                largest,
            });
        };
        self.take(what, start..start + size)?;
        Ok(start)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RAM: Range<u64> = 0x6000_0000..0x6100_0000;

    #[test]
    fn a_taken_piece_is_not_given_again() {
        let mut memory = Memory::new(RAM);
        memory.take("a", 0x6000_1000..0x6000_3000).unwrap();
        assert!(matches!(
            memory.take("b", 0x6000_2000..0x6000_4000),
            Err(ImageError::Taken { .. })
        ));
        assert_eq!(memory.allocate("c", 0x1000, 0x1000).unwrap(), 0x6000_0000);
        assert_eq!(memory.allocate("d", 0x1000, 0x1000).unwrap(), 0x6000_3000);
        assert_eq!(
            memory.allocate("e", 0x20_0000, 0x20_0000).unwrap(),
            0x6020_0000
        );
    }

    #[test]
    fn what_does_not_fit_is_refused_with_what_is_left() {
        let mut memory = Memory::new(RAM);
        let error = memory.allocate("big", 0x100_1000, 0x1000).unwrap_err();
        assert!(matches!(
            error,
            ImageError::NoRoom {
                largest: 0x100_0000,
                ..
            }
        ));
        assert!(memory.take("beyond", 0x60ff_f000..0x6100_1000).is_err());
    }

    #[test]
    fn devices_are_told_from_memory() {
        let memory = Memory::new(RAM);
        assert!(!memory.contains_any(&(0x900_0000..0x900_1000)));
        assert!(memory.contains_any(&(0x5fff_f000..0x6000_1000)));
    }

    proptest! {
        #[test]
        fn pieces_never_overlap_and_are_aligned_and_within_ram(
            requests in prop::collection::vec((1u64..0x40, 0u32..10, prop::option::of(0u64..0x1000)), 1..60),
        ) {
            let mut memory = Memory::new(RAM);
            let mut given: Vec<Range<u64>> = Vec::new();
            for (pages, shift, fixed) in requests {
                let (size, alignment) = (pages * 0x1000, 0x1000 << shift);
                let range = match fixed {
                    Some(page) => {
                        let start = RAM.start + page * 0x1000;
                        memory.take("fixed", start..start + size).ok().map(|()| start..start + size)
                    }
                    None => memory.allocate("any", size, alignment).ok().map(|start| {
                        assert!(start.is_multiple_of(alignment));
                        start..start + size
                    }),
                };
                let Some(range) = range else { continue };
                prop_assert!(RAM.start <= range.start && range.end <= RAM.end);
                for other in &given {
                    prop_assert!(range.end <= other.start || other.end <= range.start);
                }
                given.push(range);
            }
        }
    }
}
