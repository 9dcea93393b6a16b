// SPDX-License-Identifier: BSD-2-Clause
use super::*;
use image::{Board, Kernel, workspace};

fn options(name: &str) -> MachineOptions {
    let board = Board::load(&workspace().unwrap(), "qemu_virt_aarch64").unwrap();
    MachineOptions {
        name: name.to_owned(),
        image: Image {
            path: PathBuf::from("/images/a,b/loader.img"),
            load_address: board.load_address,
            board,
            kernel: Kernel::Embedded,
            guest_ram: 128 << 20,
            board_ram: Some(2 << 30),
            report: PathBuf::new(),
            firmware: None,
        },
        console: Console::Socket(PathBuf::from("/tmp/console")),
        console_log: Some(PathBuf::from("/tmp/console.log")),
        link: Some(PathBuf::from("/tmp/link")),
        icount: false,
        extra: Vec::new(),
    }
}

fn arguments(options: &MachineOptions) -> String {
    command_line(options).unwrap().1.join(" ")
}

#[test]
fn a_machine_boots_its_image_at_its_boards_address() {
    let line = arguments(&options("a"));
    assert!(
        line.contains("loader,file=/images/a,,b/loader.img,addr=0x70000000,cpu-num=0"),
        "{line}"
    );
    assert!(line.contains("-m 2048M"), "{line}");
    let mut more = MachineOptions {
        icount: true,
        ..options("a")
    };
    more.image.board_ram = Some(3 << 30);
    let line = arguments(&more);
    assert!(
        line.contains("-m 3072M") && line.ends_with("-icount shift=0"),
        "{line}"
    );
}

#[test]
fn nothing_is_in_a_machine_that_its_board_does_not_name() {
    let root = workspace().unwrap();
    let boards = Board::names(&root).into_iter();
    let boards = boards.map(|name| Board::load(&root, &name).unwrap());
    let emulated: Vec<_> = boards.filter(|board| board.qemu.is_some()).collect();
    assert!(!emulated.is_empty());
    for board in emulated {
        let mut options = options("a");
        options.image.board = board;
        let (_, arguments) = command_line(&options).unwrap();
        assert_eq!(arguments[0], "-nodefaults");
        // It does not keep QEMU from opening a window.
        assert!(
            arguments.join(" ").contains("-display none"),
            "{arguments:?}"
        );
    }
}

#[test]
fn console_and_link_go_where_they_are_sent() {
    let line = arguments(&options("a"));
    assert!(line.contains(
        "socket,id=console,path=/tmp/console,server=on,wait=on,logfile=/tmp/console.log"
    ));
    assert!(line.contains("socket,id=link,path=/tmp/link,server=on,wait=off"));
    let quiet = MachineOptions {
        console: Console::File("/tmp/c".into()),
        link: None,
        ..options("a")
    };
    let line = arguments(&quiet);
    assert!(
        line.contains("null,id=link -chardev file,id=console,path=/tmp/c"),
        "{line}"
    );
}

#[test]
fn a_socket_that_could_not_be_bound_is_refused_before_anything_starts() {
    let long = MachineOptions {
        link: Some(format!("/{}", "x".repeat(107)).into()),
        ..options("a")
    };
    assert!(matches!(
        command_line(&long),
        Err(MachineError::SocketPath { .. })
    ));
}

#[test]
fn a_board_without_a_template_is_not_emulated() {
    let mut options = options("a");
    options.image.board.qemu = None;
    assert!(matches!(
        Machine::start(options),
        Err(MachineError::NotEmulated { .. })
    ));
}

#[test]
fn a_missing_program_is_named_with_the_remedy() {
    let mut options = options("a");
    options.image.board.qemu.as_mut().unwrap().program = "qemu-system-nonexistent".to_owned();
    let error = Machine::start(options).unwrap_err().to_string();
    assert!(
        error.contains("qemu-system-nonexistent") && error.contains("apt-get install"),
        "{error}"
    );
}

#[test]
fn what_a_program_said_before_it_ended_is_in_the_error() {
    let mut options = options("a");
    // Any program that does not know these arguments complains and ends.
    options.image.board.qemu.as_mut().unwrap().program = "ls".to_owned();
    options.link =
        Some(std::env::temp_dir().join(format!("godwit-no-link-{}", std::process::id())));
    let mut machine = Machine::start(options).unwrap();
    machine.wait().unwrap();
    let error = machine.connect_link(Duration::ZERO).unwrap().unwrap_err();
    assert!(matches!(error, MachineError::Ended { .. }), "{error}");
}

#[test]
fn the_last_lines_of_a_console_are_kept() {
    let path = std::env::temp_dir().join(format!("godwit-console-{}", std::process::id()));
    std::fs::write(&path, "one\r\ntwo\r\nthree").unwrap();
    assert_eq!(tail(&path, 2).unwrap(), ["two", "three"]);
    assert_eq!(tail(&path, 9).unwrap().len(), 3);
    std::fs::remove_file(&path).unwrap();
}
