// SPDX-License-Identifier: BSD-2-Clause
//! A guest that moves between boards of different kinds finds everything as it left it.
//!
//! The ZCU102 is another SoC than `virt`: its own UARTs, timers and addresses, a stage at EL3, and a link that is a
//! serial line. It runs seL4 only.

mod sel4 {
    use godwit::session::Scratch;
    use image::Kernel;
    use protocol::management::Phase;
    use tests::board::{Board, move_guest};
    use tests::guests::{self, TestGuest};

    /// Boots the probe with two CPUs on the ZCU102, moves it to `virt` and back over the serial line, and lets it come to its verdict
    /// after another round of everything that it does.
    #[test]
    fn a_guest_of_the_zcu102_goes_to_another_soc_and_comes_back() -> anyhow::Result<()> {
        let scratch = Scratch::new()?;
        let guest = TestGuest::probe("mode=registers mmu=1", 2);
        let full = guests::image_for("zcu102", Kernel::Sel4, &guest)?;
        let empty = guests::empty_image(Kernel::Sel4, guest.ram_mib())?;
        let mut zcu102 = Board::start("zcu102", &full, &scratch)?;
        let mut virt = Board::start("virt", &empty, &scratch)?;
        let round = zcu102.expect_probe_round(0)?;
        move_guest(&mut zcu102, &mut virt)?;
        let round = virt.expect_probe_round(round)?;
        move_guest(&mut virt, &mut zcu102)?;
        zcu102.expect_probe_round(round)?;
        // The key that ends the probe.
        zcu102.session.send(b"q")?;
        zcu102.expect_probe_done()?;
        zcu102.wait_for_phase(Phase::Off)
    }
}
