// SPDX-License-Identifier: BSD-2-Clause
//! A guest that does nothing any more, and never will, is reported for what it is; one that works or sleeps is not.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use godwit::inspect::text;
use godwit::session::Scratch;
use godwit::snapshot::SnapshotFile;
use hang::Hang;
use image::guest::{Guest, Program};
use image::{Image, ImageRequest, Kernel, target_directory, workspace};
use protocol::management::Phase;
use tests::board::Board;
use tests::guests::{self, TestGuest};
use tests::{ANSWER, BOOT};

use crate::on_both_kernels;
use crate::snapshots::keep;

/// Where the programs are entered.
const ENTRY: u64 = 0x4400_0000;
/// RAM of their boards, in MiB.
const RAM: u64 = 72;

/// `msr hcr_el2, x0`; `b .`. A guest that takes for granted that it runs at EL2.
const WANTS_EL2: [u32; 2] = [0xd51c_1100, 0x1400_0000];
/// `hvc #0`; `b .`.
const CALLS_HYPERVISOR: [u32; 2] = [0xd400_0002, 0x1400_0000];
/// `mrs x0, CurrentEL`; `cmp x0, #8`; `b.eq` over both; `wfe`; `b` to that. One that looks first, as Xen does.
const LOOKS_FOR_EL2: [u32; 5] = [
    0xd538_4240,
    0xf100_201f,
    0x5400_0060,
    0xd503_205f,
    0x17ff_ffff,
];

/// Of a kernel that was cut off: what a download that broke off may have brought.
const PART_OF_KERNEL: usize = 4 << 20;

on_both_kernels! {
    fn a_guest_that_asks_for_el2_is_reported_with_what_it_asked_for(kernel) {
        let scratch = Scratch::new()?;
        for (name, program, wanted) in [
            ("el2", WANTS_EL2, "EL2 is asked for"),
            ("hvc", CALLS_HYPERVISOR, "HVC"),
        ] {
            let image = flat(kernel, name, &program)?;
            let mut board = Board::start(name, &image, &scratch)?;
            let hang = expect_hang(&mut board)?;
            let told = hang.to_string();
            ensure!(told.contains(wanted) && told.contains(&format!("{ENTRY:#x}")), "{told}");
            ensure!(board.phase()? == Phase::Running);
        }
        Ok(())
    }

    fn a_guest_that_finds_itself_not_at_el2_and_waits_for_ever_is_reported_running_paused_and_kept(kernel) {
        let scratch = Scratch::new()?;
        let image = flat(kernel, "looks-for-el2", &LOOKS_FOR_EL2)?;
        let mut board = Board::start("a", &image, &scratch)?;
        let expected = Hang::Loop { at: ENTRY + 12, after: None };
        ensure!(expect_hang(&mut board)? == expected);
        let path = scratch.path().join("guest.snapshot");
        keep(&mut board, &path)?;
        let file = SnapshotFile::open(&path)?;
        ensure!(file.hang(0) == Some(expected), "{:?}", file.hang(0));
        let text = text::snapshot(&file, text::Detail::default());
        ensure!(text.contains(&expected.to_string()), "{text}");
        board.client()?.pause(ANSWER)?;
        ensure!(board.client()?.look()?[0] == Some(expected));
        Ok(())
    }

    fn a_kernel_that_was_cut_off_is_reported(kernel) {
        let scratch = Scratch::new()?;
        let mut guest = TestGuest::linux("shell", 1).build()?;
        let Program::Linux { kernel: file, .. } = &mut guest.program else {
            anyhow::bail!("no Linux");
        };
        let whole = std::fs::read(&*file)?;
        *file = programs()?.join("cut.Image");
        std::fs::write(&*file, whole.get(..PART_OF_KERNEL).context("a short kernel")?)?;
        let image = image(kernel, "cut", guest, TestGuest::linux("shell", 1).ram_mib())?;
        let mut board = Board::start("a", &image, &scratch)?;
        let told = expect_hang(&mut board)?.to_string();
        ensure!(told.contains("undefined instruction") && told.contains("memory that is zero"), "{told}");
        Ok(())
    }

    fn a_guest_that_boots_works_or_sleeps_is_not_reported_and_one_that_panics_is(kernel) {
        let scratch = Scratch::new()?;
        let image = guests::image(kernel, &TestGuest::linux("shell", 2))?;
        let mut board = Board::start("a", &image, &scratch)?;
        let begun = Instant::now();
        while !board.said().contains("/ # ") {
            ensure!(begun.elapsed() < BOOT, "no prompt");
            nothing_hangs(&mut board)?;
        }
        // It sleeps at its prompt.
        for _ in 0..20 {
            nothing_hangs(&mut board)?;
        }
        board.session.send_line("echo c > /proc/sysrq-trigger")?;
        board.session.expect("end Kernel panic", ANSWER)?;
        // The CPU that panicked delays with its interrupts on; the other has been stopped.
        let hang = expect_hang(&mut board)?;
        println!("{hang}");
        Ok(())
    }
}

/// Looks once, and not whether it is so a while later: a mistake of a moment counts.
fn nothing_hangs(board: &mut Board) -> anyhow::Result<()> {
    let looked = board.client()?.look_once()?;
    ensure!(looked.iter().all(Option::is_none), "{looked:?}");
    std::thread::sleep(Duration::from_millis(50));
    Ok(())
}

fn expect_hang(board: &mut Board) -> anyhow::Result<Hang> {
    let deadline = Instant::now() + ANSWER;
    loop {
        let looked = board.client()?.look()?;
        if let Some(hang) = looked.into_iter().flatten().next() {
            return Ok(hang);
        }
        ensure!(Instant::now() < deadline, "nothing hangs");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn programs() -> anyhow::Result<PathBuf> {
    let directory = target_directory(&workspace()?)?.join("guest/hangs");
    std::fs::create_dir_all(&directory)?;
    Ok(directory)
}

fn flat(kernel: Kernel, name: &str, program: &[u32]) -> anyhow::Result<Image> {
    let file = programs()?.join(format!("{name}.bin"));
    let bytes: Vec<u8> = program.iter().flat_map(|word| word.to_le_bytes()).collect();
    std::fs::write(&file, bytes)?;
    let guest = Guest {
        program: Program::Flat {
            file,
            load: ENTRY,
            tree: None,
        },
        vcpus: 1,
        arguments: String::new(),
        seeds: None,
    };
    image(kernel, name, guest, RAM)
}

fn image(kernel: Kernel, name: &str, guest: Guest, ram_mib: u64) -> anyhow::Result<Image> {
    guests::build(&ImageRequest {
        name: format!("test-hangs-{kernel}-{name}"),
        guest: Some(guest),
        ram_mib,
        kernel,
        ..ImageRequest::default()
    })
}
