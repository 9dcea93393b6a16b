// SPDX-License-Identifier: BSD-2-Clause
//! What an operator does to a paused guest: looks at its registers and sets them, and chooses what its time does.

use std::thread;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use godwit::inspect::access::{self, AccessError};
use godwit::inspect::live::{self, LiveError};
use godwit::relay::{self, GuestTime, Options};
use godwit::session::Scratch;
use godwit::snapshot::State;
use image::Kernel;
use protocol::kind;
use protocol::management::{Phase, Stage};
use state::Register;
use tests::board::Board;
use tests::cable::{Action, LinkCutter, Way, cabled};
use tests::guests::TestGuest;
use tests::spinner::{LARGEST_GAP, READ_THREAD_POINTER, READY, SAY};
use tests::{ANSWER, BOOT};

use crate::on_both_kernels;

/// For how long nobody relays while a guest is handed over: much longer than an emulator is ever kept from running by
/// whatever else its machine does, and shorter than the [`TIMEOUT`] of both boards.
const DOWNTIME: Duration = Duration::from_secs(8);
/// How long a board waits for the other one.
const TIMEOUT: Duration = Duration::from_secs(20);

on_both_kernels! {
    fn registers_of_a_paused_guest_can_be_set_and_its_time_advances_if_asked_for(kernel) {
        let mut boards = Boards::start(kernel)?;
        boards.here.session.expect_line(READY, BOOT)?;
        registers_can_be_set(&mut boards.here)?;
        what_cannot_be_set_changes_nothing(&mut boards.here)?;
        let still = boards.gap_of_a_move(GuestTime::Still)?;
        let advance = boards.gap_of_a_move(GuestTime::Advance)?;
        println!("the guest saw a gap of {still:?} and of {advance:?}");
        ensure!(still < DOWNTIME, "its time advanced by {still:?}");
        ensure!(advance >= DOWNTIME, "its time was frozen but for {advance:?}");
        Ok(())
    }
}

/// Sets registers of every kind, and looks whether the guest finds them.
fn registers_can_be_set(board: &mut Board) -> anyhow::Result<()> {
    let running = live::read(board.client()?);
    ensure!(
        matches!(running, Err(LiveError::Running { .. })),
        "a running guest was looked at: {running:?}"
    );
    let running = live::set(board.client()?, 0, &[(SAY, 0x41)]);
    ensure!(
        matches!(running, Err(LiveError::Running { .. })),
        "a running guest was changed: {running:?}"
    );
    board.client()?.pause(ANSWER)?;
    let values = [
        (SAY, u128::from(b'!')),
        (Register::TPIDR_EL0, 0x1234_5678_9abc_def0),
        (Register::V7, u128::MAX - 7),
        (Register::CNTV_CVAL_EL0, 0x7fff_ffff_0000),
    ];
    let changes = live::set(board.client()?, 0, &values)?;
    ensure!(changes.len() == values.len() && changes[0].before == 0);
    let state = live::read(board.client()?)?;
    for (register, value) in values {
        let found = access::get(&state, 0, register)?;
        ensure!(found == value, "{} is {found:#x}", register.name());
    }
    board.client()?.resume(ANSWER)?;
    board.session.expect_line("!", ANSWER)?;
    let state = paused(board)?;
    let read = access::get(&state, 0, READ_THREAD_POINTER)?;
    ensure!(read == values[1].1, "the guest read {read:#x}");
    ensure!(access::get(&state, 0, SAY)? == 0, "it said nothing");
    for (register, value) in &values[2..] {
        let found = access::get(&state, 0, *register)?;
        ensure!(found == *value, "{} was lost", register.name());
    }
    Ok(())
}

/// Here and in the domains, one after the other; also what could have been set goes back.
fn what_cannot_be_set_changes_nothing(board: &mut Board) -> anyhow::Result<()> {
    let before = live::read(board.client()?)?;
    let values = [(Register::X7, 7), (Register::MIDR_EL1, 7)];
    let refused = live::set(board.client()?, 0, &values);
    ensure!(
        matches!(
            refused,
            Err(LiveError::Access(AccessError::Constant { .. }))
        ),
        "{refused:?}"
    );
    for (vcpu, register, value) in [
        (0, Register::MIDR_EL1, 7),
        (0, Register::MPIDR_EL1, 7),
        (0, Register::FPCR, u128::MAX),
        (0, Register::CNTV_CTL_EL0, 4),
        (0, Register::CNTV_CVAL_EL0, 1 << 64),
        (1, Register::X7, 7),
        (1, Register::CNTV_CVAL_EL0, 7),
        (9, Register::X7, 7),
        (0, Register::PSTATE, 0x3c9),
        (0, Register::PSTATE, 0x3d3),
        (0, Register::VBAR_EL1, 4),
    ] {
        let refused = board.client()?.set_register(vcpu, register, value);
        ensure!(refused.is_err(), "{} was set", register.name());
    }
    for (register, value) in [(Register::PSTATE, 0x3c9_u128), (Register::PSTATE, 0x3d3)] {
        let told = board.client()?.set_register(0, register, value);
        let told = told.err().context("it was set")?.to_string();
        let here = live::set(board.client()?, 0, &[(register, value)]);
        let here = here.err().context("it was set")?.to_string();
        for text in [told, here] {
            let said = text.contains("PSTATE") && text.contains(&format!("{value:#x}"));
            ensure!(said && text.contains("EL0t"), "{text}");
        }
    }
    let after = live::read(board.client()?)?;
    ensure!(
        after.vcpus == before.vcpus && after.timer == before.timer && after.vgic == before.vgic,
        "something changed"
    );
    board.client()?.resume(ANSWER)?;
    Ok(())
}

/// The state of the guest, which is paused for it.
fn paused(board: &mut Board) -> anyhow::Result<State> {
    board.client()?.pause(ANSWER)?;
    Ok(live::read(board.client()?)?)
}

/// Two boards with cables that can be cut, and the guest on the first.
struct Boards {
    here: Board,
    there: Board,
    cutter: LinkCutter,
    _scratch: Scratch,
}

impl Boards {
    fn start(kernel: Kernel) -> anyhow::Result<Self> {
        let scratch = Scratch::new()?;
        let cutter = LinkCutter::default();
        let guest = TestGuest::spinner();
        let [here, there] = cabled(kernel, &guest, &scratch, &cutter)?;
        Ok(Self {
            here,
            there,
            cutter,
            _scratch: scratch,
        })
    }

    /// The largest gap that the guest sees in its time when it is moved and is paused for at least [`DOWNTIME`].
    fn gap_of_a_move(&mut self, time: GuestTime) -> anyhow::Result<Duration> {
        paused(&mut self.here)?;
        live::set(self.here.client()?, 0, &[(LARGEST_GAP, 0)])?;
        self.here.client()?.resume(ANSWER)?;
        // Connected, so that the rule sees nothing but the move.
        self.there.wait_for_phase(Phase::Empty)?;
        self.cutter.arm(Box::new(|passing| {
            if passing.kind == kind::COMMIT && passing.way == Way::ToBoard {
                Action::CutBefore
            } else {
                Action::Pass
            }
        }));
        let options = Options {
            time,
            timeout: TIMEOUT,
            reconnect: Duration::ZERO,
            ..Options::default()
        };
        let (source, destination) = (self.here.client()?, self.there.client()?);
        let moved = relay::migrate(source, destination, &options, &mut |_| {});
        ensure!(
            moved.is_err() && self.cutter.has_cut(),
            "it was not cut: {moved:?}"
        );
        thread::sleep(DOWNTIME);
        self.cutter.mend();
        self.here.hang_up();
        self.there.hang_up();
        let (source, destination) = (self.here.client()?, self.there.client()?);
        let report = relay::resolve(source, destination, &Options::default())?;
        ensure!(report.stage == Stage::Gone, "resolved: {report:?}");
        std::mem::swap(&mut self.here, &mut self.there);
        self.here.wait_for_phase(Phase::Running)?;
        // It has continued, and so has seen the gap, once it has said something.
        paused(&mut self.here)?;
        live::set(self.here.client()?, 0, &[(SAY, u128::from(b'?'))])?;
        self.here.client()?.resume(ANSWER)?;
        self.here.session.expect_line("?", ANSWER)?;
        let state = paused(&mut self.here)?;
        let ticks = access::get(&state, 0, LARGEST_GAP)?;
        self.here.client()?.resume(ANSWER)?;
        let frequency = u128::from(state.timer.frequency);
        let micros = u64::try_from(ticks * 1_000_000 / frequency).context("a gap without end")?;
        Ok(Duration::from_micros(micros))
    }
}
