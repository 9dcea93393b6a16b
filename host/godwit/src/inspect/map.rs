// SPDX-License-Identifier: BSD-2-Clause
//! Guest RAM as a picture.
//!
//! Responsible for: what is zero, used, the same as elsewhere, or changed, in a few lines whatever the size. Never: reads
//! more of a page than has to be known.

use std::collections::HashMap;
use std::fmt::Write as _;

use vm::PAGE_SIZE;

use crate::snapshot::{FileError, PageKind, SnapshotFile};

/// Cells in a line.
const COLUMNS: u32 = 64;
/// Lines at most.
const LINES: u32 = 32;

/// What a page is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cell {
    /// Nothing to see: zero, or unchanged.
    Nothing,
    /// Used, and like no other; or changed.
    Used,
    /// Used, and like another.
    Alike,
}

/// How many pages are what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Counts {
    /// Pages of guest RAM.
    pub pages: u32,
    /// All zero.
    pub zero: u32,
    /// Not zero.
    pub used: u32,
    /// Of those, the same as another.
    pub identical: u32,
}

/// What each page of a snapshot is.
pub fn cells(file: &SnapshotFile) -> Vec<Cell> {
    let mut times: HashMap<u32, u32> = HashMap::new();
    let kinds: Vec<PageKind> = (0..file.pages()).map(|page| file.kind(page)).collect();
    for kind in &kinds {
        if let PageKind::Used { slot, .. } = kind {
            *times.entry(*slot).or_default() += 1;
        }
    }
    let cell = |kind: &PageKind| match kind {
        PageKind::Zero => Cell::Nothing,
        PageKind::Used { slot, .. } if times.get(slot) == Some(&1) => Cell::Used,
        PageKind::Used { .. } => Cell::Alike,
    };
    kinds.iter().map(cell).collect()
}

/// How many of them are what.
pub fn counts(cells: &[Cell]) -> Counts {
    let count = |wanted: Cell| {
        let found = cells.iter().filter(|cell| **cell == wanted);
        u32::try_from(found.count()).unwrap_or(u32::MAX)
    };
    let (zero, unlike, identical) = (count(Cell::Nothing), count(Cell::Used), count(Cell::Alike));
    Counts {
        pages: zero + unlike + identical,
        zero,
        used: unlike + identical,
        identical,
    }
}

/// Which pages differ between two snapshots; all that one of them does not have.
///
/// # Errors
///
/// If a page cannot be read.
pub fn differences(a: &SnapshotFile, b: &SnapshotFile) -> Result<Vec<Cell>, FileError> {
    let (mut here, mut there) = ([0; PAGE_SIZE], [0; PAGE_SIZE]);
    let mut differs = |page| -> Result<bool, FileError> {
        if page >= a.pages().min(b.pages()) {
            return Ok(true);
        }
        match (a.kind(page), b.kind(page)) {
            (PageKind::Zero, PageKind::Zero) => Ok(false),
            (
                PageKind::Used { checksum: one, .. },
                PageKind::Used {
                    checksum: other, ..
                },
            ) if one == other => {
                a.read(page, &mut here)?;
                b.read(page, &mut there)?;
                Ok(here != there)
            }
            _ => Ok(true),
        }
    };
    (0..a.pages().max(b.pages()))
        .map(|page| {
            Ok(if differs(page)? {
                Cell::Used
            } else {
                Cell::Nothing
            })
        })
        .collect()
}

/// Runs of pages that are something, first and last.
pub fn ranges(cells: &[Cell]) -> Vec<(u32, u32)> {
    let mut list: Vec<(u32, u32)> = Vec::new();
    for (page, cell) in (0..).zip(cells) {
        match (cell, list.last_mut()) {
            (Cell::Nothing, _) => {}
            (_, Some((_, last))) if *last + 1 == page => *last = page,
            _ => list.push((page, page)),
        }
    }
    list
}

/// The picture, with the address at which each line begins.
pub fn picture(cells: &[Cell], base: u64) -> String {
    let pages = u32::try_from(cells.len()).unwrap_or(u32::MAX);
    let a_cell = pages.div_ceil(COLUMNS * LINES).max(1);
    let a_line = usize::try_from(a_cell * COLUMNS).unwrap_or(usize::MAX);
    let mut text = String::new();
    for (line, cells) in cells.chunks(a_line).enumerate() {
        let address = base + (line * a_line * PAGE_SIZE) as u64;
        let cells = cells.chunks(usize::try_from(a_cell).unwrap_or(1));
        let drawn: String = cells.map(symbol).collect();
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {address:#012x} {drawn}");
    }
    let _ = writeln!(text, "  one character is {} KiB", u64::from(a_cell) * 4);
    text
}

/// How pages look together.
fn symbol(cells: &[Cell]) -> char {
    let used = cells.iter().filter(|cell| **cell != Cell::Nothing).count();
    let alike = cells.iter().filter(|cell| **cell == Cell::Alike).count();
    match (used, 4 * used / cells.len().max(1)) {
        (0, _) => '·',
        _ if alike == used => '=',
        (_, 0) => '░',
        (_, 1) => '▒',
        (_, 2 | 3) => '▓',
        _ => '█',
    }
}
