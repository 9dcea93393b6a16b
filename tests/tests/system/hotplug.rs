// SPDX-License-Identifier: BSD-2-Clause
//! A Linux guest whose CPUs come and go, and whose interrupts are sent here and there, loses none.

use anyhow::ensure;
use godwit::session::Scratch;
use protocol::management::Phase;
use tests::board::Board;
use tests::guests::{self, TestGuest};
use tests::interrupts;

use crate::on_both_kernels;

/// How often the second CPU goes and comes back.
const ROUNDS: u32 = 6;
/// Its switch.
const ONLINE: &str = "/sys/devices/system/cpu/cpu1/online";

on_both_kernels! {
    fn a_guest_hears_what_is_typed_while_its_interrupt_goes_from_cpu_to_cpu(kernel) {
        let scratch = Scratch::new()?;
        let image = guests::image(kernel, &TestGuest::linux("shell", 2))?;
        let mut board = Board::start("a", &image, &scratch)?;
        board.expect_linux()?;
        board.shell("u=$(grep uart-pl011 /proc/interrupts | cut -d: -f1 | tr -d ' ')")?;
        let before = heard(&mut board)?;
        for _ in 0..ROUNDS {
            // Lines are typed with the console's interrupt on this CPU or that.
            board.shell("echo 2 > /proc/irq/$u/smp_affinity")?;
            board.shell(&format!("echo 0 > {ONLINE}"))?;
            let online = board.shell("echo online $(cat /sys/devices/system/cpu/online)")?;
            ensure!(online.contains("online 0\n"), "the second CPU does not go: {online}");
            board.shell(&format!("echo 1 > {ONLINE}"))?;
            board.shell("echo 1 > /proc/irq/$u/smp_affinity")?;
        }
        let after = heard(&mut board)?;
        ensure!(after > before, "the console's interrupt came {before} times, then {after}");
        let said = board.shell("echo $(dmesg | grep -c -e 'nobody cared' -e 'failed to come online') complaints")?;
        ensure!(said.contains("\n0 complaints"), "Linux complains: {said}");
        board.session.send_line("poweroff -f")?;
        board.wait_for_phase(Phase::Off)
    }
}

/// How often the console's interrupt came.
fn heard(board: &mut Board) -> anyhow::Result<u64> {
    interrupts::count(&board.shell("cat /proc/interrupts")?, "uart-pl011")
}
