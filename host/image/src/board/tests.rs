// SPDX-License-Identifier: BSD-2-Clause
use super::*;
use crate::system::{Prefill, System};

const XML: &str = include_str!("../../../../system.xml");
const RAM: Parameters = Parameters {
    guest_ram: 128 << 20,
    guest_ram_at: None,
    bundle_room: 64 << 20,
};

fn qemu() -> Board {
    Board::load(&crate::workspace().unwrap(), "qemu_virt_aarch64").unwrap()
}

fn parse(xml: &str) -> System {
    let prefill = Prefill::from([("guest.bundle".to_owned(), vec![1])]);
    System::parse("system.xml", xml, &prefill).unwrap()
}

#[test]
fn the_description_is_the_qemu_boards_as_it_stands() {
    assert_eq!(qemu().substitute(XML, &RAM).unwrap(), XML);
}

#[test]
fn another_boards_numbers_take_the_place_of_ours() {
    let mut board = qemu();
    board.regions.get_mut("console_uart").unwrap().phys_addr = 0xff00_0000;
    board
        .interrupts
        .iter_mut()
        .find(|number| number.domain == "serial_pd")
        .unwrap()
        .irq = 53;
    board
        .interrupts
        .iter_mut()
        .find(|number| number.domain == "link_pd")
        .unwrap()
        .edge = true;
    let parameters = Parameters {
        guest_ram: 64 << 20,
        guest_ram_at: Some(0xa000_0000),
        bundle_room: 32 << 20,
    };
    let system = parse(&board.substitute(XML, &parameters).unwrap());
    assert_eq!(
        system.region("console_uart").unwrap().phys_addr,
        Some(0xff00_0000)
    );
    assert_eq!(system.domain("serial_pd").unwrap().interrupts[0].intid, 53);
    let trigger = system.domain("link_pd").unwrap().interrupts[0].trigger;
    assert_eq!(trigger, crate::system::Trigger::Edge);
    let ram = system.region("guest_ram").unwrap();
    assert_eq!((ram.size, ram.phys_addr), (64 << 20, Some(0xa000_0000)));
    assert_eq!(system.region("bundle_store").unwrap().size, 32 << 20);
    assert_eq!(
        system.domain("timer_pd").unwrap().interrupts[0].intid,
        30,
        "the rest is as it was"
    );
}

#[test]
fn an_interrupt_with_two_numbers_comes_by_both() {
    let root = crate::workspace().unwrap();
    let board = Board::load(&root, "odroidc2").unwrap();
    let system = parse(&board.substitute(XML, &RAM).unwrap());
    let timer = system.domain("timer_pd").unwrap();
    let mut numbers: Vec<_> = timer
        .interrupts
        .iter()
        .map(|it| (it.id, it.intid))
        .collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [(10, 42), (11, 238)]);
    let edge = crate::system::Trigger::Edge;
    assert!(timer.interrupts.iter().all(|it| it.trigger == edge));
    assert_eq!(channel::ids::timer::INTERRUPTS, [10, 11]);
    assert_eq!(
        parse(XML).domain("timer_pd").unwrap().interrupts.len(),
        1,
        "there only"
    );
}

#[test]
fn numbers_for_what_does_not_exist_are_refused() {
    let mut board = qemu();
    board.regions.insert(
        "nothing".to_owned(),
        RegionNumbers {
            phys_addr: 0,
            size: 0x1000,
        },
    );
    assert!(matches!(
        board.substitute(XML, &RAM),
        Err(ImageError::Substitution { .. })
    ));
    let mut board = qemu();
    board.interrupts[0].beside = Some(9);
    assert!(matches!(
        board.substitute(XML, &RAM),
        Err(ImageError::Substitution { .. })
    ));
    let mut board = qemu();
    board.interrupts[0].id = 11;
    assert!(matches!(
        board.substitute(XML, &RAM),
        Err(ImageError::Substitution { .. })
    ));
}

#[test]
fn an_unknown_board_is_refused_with_those_that_exist() {
    let error = Board::load(&crate::workspace().unwrap(), "toaster").unwrap_err();
    assert!(error.to_string().contains("qemu_virt_aarch64"), "{error}");
}

#[test]
fn every_board_file_is_readable_and_fits_the_description() {
    let root = crate::workspace().unwrap();
    let names = Board::names(&root);
    assert!(!names.is_empty());
    for name in names {
        let board = Board::load(&root, &name).unwrap();
        parse(&board.substitute(XML, &RAM).unwrap());
    }
}
