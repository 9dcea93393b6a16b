// SPDX-License-Identifier: BSD-2-Clause
//! How much RAM a guest can have on a board.
//!
//! Responsible for: saying before anything is built what does not fit, with the largest that does, and for how much RAM
//! QEMU gives an emulated board. Never: places anything; what it grants the builders find room for.

use std::ops::Range;

use super::board::{Board, GUEST_RAM, Parameters};
use super::system::{LARGE_PAGE, PAGE, System};
use super::{ImageError, Kernel};

/// What programs, stacks, tables and the kernel take besides the description's regions, with much to spare.
const OVERHEAD: u64 = 48 << 20;
/// The most that guest RAM's windows in the domains' address spaces hold (`system.xml`).
const WINDOW: u64 = 4 << 30;
/// RAM of an emulated board grows by so much.
const STEP: u64 = 1 << 30;
/// A kernel of a distribution with a small initramfs fits in here.
const LEAST_BUNDLE_ROOM: u64 = 64 << 20;
/// Nobody starts a guest from more than this but for a reason, and a board has to clear it when it starts.
const MOST_BUNDLE_ROOM: u64 = 512 << 20;

/// Bytes of RAM as QEMU's `-m` takes them: a number of MiB, or with a suffix of `K`, `M` or `G`.
///
/// # Errors
///
/// It is neither.
pub fn ram_size(text: &str) -> Result<u64, String> {
    let error = || format!("{text:?} is not an amount of RAM such as 2G or 512M");
    let (digits, shift) = match text.char_indices().last() {
        Some((end, 'K' | 'k')) => (&text[..end], 10),
        Some((end, 'M' | 'm')) => (&text[..end], 20),
        Some((end, 'G' | 'g')) => (&text[..end], 30),
        _ => (text, 20),
    };
    let number: u64 = digits.parse().map_err(|_| error())?;
    number
        .checked_shl(shift)
        .filter(|bytes| bytes >> shift == number && *bytes > 0)
        .ok_or_else(error)
}

/// How much RAM QEMU gives a board, and the board with that much. `asked` is what the operator wants.
///
/// The embedded kernel uses what there is, so that it gets more for a large guest; seL4's map of a board's memory is part
/// of the kernel.
///
/// # Errors
///
/// [`ImageError::BoardRam`]: so little does not even hold the image.
pub(super) fn emulated(
    mut board: Board,
    kernel: Kernel,
    guest_ram: u64,
    asked: Option<u64>,
) -> Result<(Board, Option<u64>), ImageError> {
    let Some(qemu) = &board.qemu else {
        return Ok((board, None));
    };
    let usual = qemu.ram_bytes()?;
    let start = qemu.ram_start;
    let least = match kernel {
        Kernel::Embedded => (board.load_address - start + 2 * OVERHEAD).next_multiple_of(1 << 20),
        Kernel::Sel4 => usual,
    };
    let needed = least
        .saturating_add(guest_ram)
        .saturating_add(bundle_room(guest_ram))
        .saturating_add(guest_ram >> 7);
    let ram = match (asked, kernel) {
        (Some(asked), _) => asked,
        (None, Kernel::Embedded) => usual.max(needed.next_multiple_of(STEP)),
        (None, Kernel::Sel4) => usual,
    };
    if ram < least {
        return Err(ImageError::BoardRam {
            board: board.name,
            kernel,
            asked: ram,
            least,
        });
    }
    if kernel == Kernel::Embedded {
        board.ram.end = start.saturating_add(ram);
    }
    Ok((board, Some(ram)))
}

/// In how many bytes a board keeps what a guest with so much RAM is started from, if it came from elsewhere: all of it
/// for a small guest, a quarter for others. A Linux guest's kernel and initramfs are less than that.
#[must_use]
pub fn bundle_room(guest_ram: u64) -> u64 {
    (guest_ram / 4)
        .clamp(LEAST_BUNDLE_ROOM, MOST_BUNDLE_ROOM)
        .min(guest_ram)
        .next_multiple_of(LARGE_PAGE)
}

/// The same where guest RAM leaves less, to which it comes first. `system` is the description with all that
/// `parameters` ask for.
pub(super) fn bundle_room_beside(
    system: &System,
    board: &Board,
    memory: &[Range<u64>],
    parameters: &Parameters,
) -> u64 {
    let lacking = parameters.guest_ram.saturating_sub(largest(
        system,
        board,
        memory,
        parameters.guest_ram_at,
    ));
    let room = parameters.bundle_room.saturating_sub(lacking);
    room.max(LARGE_PAGE)
}

/// The same machine with no more guest RAM than the description can be written for.
pub(super) fn describable(parameters: &Parameters) -> Parameters {
    Parameters {
        guest_ram: parameters.guest_ram.min(WINDOW),
        ..*parameters
    }
}

/// Refuses guest RAM that does not fit. `memory` is what domains can have, `system` the description of what is
/// [`describable`].
///
/// # Errors
///
/// [`ImageError::TooMuchRam`].
pub(super) fn check(
    system: &System,
    board: &Board,
    memory: &[Range<u64>],
    parameters: &Parameters,
) -> Result<(), ImageError> {
    let Parameters {
        guest_ram,
        guest_ram_at: at,
        ..
    } = *parameters;
    let largest = largest(system, board, memory, at);
    if guest_ram <= largest {
        return Ok(());
    }
    Err(ImageError::TooMuchRam {
        board: board.name.clone(),
        asked: guest_ram >> 20,
        largest: largest >> 20,
        at,
    })
}

/// The most guest RAM that fits beside all else. What the board's loader puts somewhere is in the way, and guest RAM may
/// have to lie `at` an address.
fn largest(system: &System, board: &Board, memory: &[Range<u64>], at: Option<u64>) -> u64 {
    let others: u64 = (system.regions.iter())
        .filter(|region| region.name != GUEST_RAM && region.phys_addr.is_none())
        .map(|region| region.size.next_multiple_of(PAGE))
        .sum();
    let prefilled: u64 = (system.regions.iter())
        .filter_map(|region| region.prefill.as_ref())
        .map(|prefill| prefill.len() as u64)
        .sum();
    // What is prefilled lies in the image as well.
    let image = board.load_address..board.load_address + OVERHEAD + prefilled;
    let free = |range: &Range<u64>| {
        [
            range.start..range.end.min(image.start),
            range.start.max(image.end)..range.end,
        ]
    };
    let pieces = memory.iter().flat_map(free);
    let length = |piece: Range<u64>| piece.end.saturating_sub(piece.start);
    let room = match at {
        Some(at) => pieces
            .filter(|piece| piece.contains(&at))
            .map(|piece| length(at..piece.end))
            .sum(),
        None => {
            let largest = pieces.map(length).max().unwrap_or(0);
            largest.saturating_sub(others + OVERHEAD)
        }
    };
    room.min(WINDOW) / LARGE_PAGE * LARGE_PAGE
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::Prefill;
    use crate::workspace;

    fn qemu() -> Board {
        Board::load(&workspace().unwrap(), "qemu_virt_aarch64").unwrap()
    }

    #[test]
    fn sizes_are_those_of_qemu() {
        assert_eq!(ram_size("2G"), Ok(2 << 30));
        assert_eq!(ram_size("512m"), Ok(512 << 20));
        assert_eq!(ram_size("1024"), Ok(1 << 30));
        assert_eq!(ram_size("4096K"), Ok(4 << 20));
        for wrong in ["", "G", "2T", "-1G", "0", "99999999999G", "zwei"] {
            assert!(ram_size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_room_for_what_a_guest_starts_from_follows_from_its_ram() {
        let room = |mib: u64| bundle_room(mib << 20) >> 20;
        assert_eq!([2, 64, 72].map(room), [2, 64, 64]);
        assert_eq!([128, 512, 1024, 4096].map(room), [64, 128, 256, 512]);
    }

    #[test]
    fn an_emulated_board_grows_with_its_guest_where_its_kernel_can() {
        let ram = |kernel, guest: u64, asked| {
            let (board, ram) = emulated(qemu(), kernel, guest << 20, asked)?;
            Ok::<_, ImageError>((board.ram.end, ram.unwrap()))
        };
        assert_eq!(
            ram(Kernel::Embedded, 128, None).unwrap(),
            (0xc000_0000, 2 << 30)
        );
        let (end, bytes) = ram(Kernel::Embedded, 2048, None).unwrap();
        assert_eq!(end, 0x4000_0000 + bytes);
        assert!(bytes > 2 << 30);
        assert_eq!(
            ram(Kernel::Sel4, 2048, None).unwrap(),
            (0xc000_0000, 2 << 30)
        );
        assert_eq!(
            ram(Kernel::Embedded, 128, Some(1 << 30)).unwrap(),
            (0x8000_0000, 1 << 30)
        );
    }

    #[test]
    fn so_little_ram_that_a_board_would_not_start_is_refused_with_the_least() {
        for (kernel, asked) in [
            (Kernel::Embedded, 128 << 20),
            (Kernel::Embedded, 512 << 20),
            (Kernel::Sel4, 1 << 30),
        ] {
            let error = emulated(qemu(), kernel, 128 << 20, Some(asked)).unwrap_err();
            let ImageError::BoardRam { least, .. } = error else {
                panic!("{error}")
            };
            assert!(emulated(qemu(), kernel, 128 << 20, Some(least)).is_ok());
        }
    }

    #[test]
    fn whatever_is_asked_for_is_described_or_refused_with_the_largest() {
        for ram_mib in [
            WINDOW / LARGE_PAGE * 2 + 2,
            5000,
            8192,
            262_144,
            u64::MAX >> 21 << 1,
        ] {
            let request = crate::ImageRequest {
                ram_mib,
                ..crate::ImageRequest::default()
            };
            let error = crate::build_image(&request).unwrap_err();
            let ImageError::TooMuchRam { asked, largest, .. } = error else {
                panic!("{ram_mib}: {error}")
            };
            assert!((512..=WINDOW >> 20).contains(&largest) && asked > largest);
        }
    }

    #[test]
    fn a_guest_that_does_not_fit_is_refused_with_the_largest_that_does() {
        let root = workspace().unwrap();
        let xml = std::fs::read_to_string(root.join("system.xml")).unwrap();
        let prefill = Prefill::from([("guest.bundle".to_owned(), vec![1; 40 << 20])]);
        let memory = [qemu().ram.range()];
        let describe = |parameters: &Parameters| {
            let xml = qemu().substitute(&xml, parameters).unwrap();
            System::parse("system.xml", &xml, &prefill).unwrap()
        };
        let fits = |mib: u64, at| {
            let mut parameters = Parameters {
                guest_ram: mib << 20,
                guest_ram_at: at,
                bundle_room: bundle_room(mib << 20),
            };
            let system = describe(&parameters);
            let room = bundle_room_beside(&system, &qemu(), &memory, &parameters);
            assert!((LARGE_PAGE..=bundle_room(mib << 20)).contains(&room));
            parameters.bundle_room = room;
            check(&describe(&parameters), &qemu(), &memory, &parameters).map(|()| room)
        };
        assert_eq!(fits(128, None).unwrap(), bundle_room(128 << 20));
        for at in [None, Some(0xa000_0000)] {
            let error = fits(4096, at).unwrap_err();
            let ImageError::TooMuchRam { largest, .. } = error else {
                panic!("{error}")
            };
            assert!(largest >= 512, "{largest} MiB");
            let room = fits(largest, at).unwrap();
            assert!(at.is_some() || room < bundle_room(largest << 20), "{room}");
            // What `migration-pd` keeps of each page is less for a smaller guest than for the one that was refused.
            assert!(fits(largest + 32, at).is_err());
        }
        assert!(fits(128, Some(0x7000_0000)).is_err(), "that is the image's");
    }
}
