// SPDX-License-Identifier: BSD-2-Clause
//! What the domains put into the record is what the processor held, and what they restore is what it then holds: a
//! witness says so that neither they nor the capture stub can influence.
//!
//! The witness is the embedded kernel, built to print the registers themselves when a guest is left and suspended, the
//! virtual interface control registers (`GICH_*`) among them, which no domain can read. The record comes from the stub.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use godwit::session::Scratch;
use godwit::snapshot::{SnapshotFile, State};
use image::{ImageRequest, Kernel, build_variant, workspace};
use state::{Policy, Register, VcpuInterruptsV1};
use tests::ANSWER;
use tests::board::Board;
use tests::guests::{self, TestGuest};

use crate::parked::{Registers, keep, parked, parse};

mod embedded {
    use super::*;

    #[test]
    fn a_record_is_what_the_processor_held_with_the_mmu_off() -> anyhow::Result<()> {
        hears_a_witness(0)
    }

    #[test]
    fn a_record_is_what_the_processor_held_with_the_mmu_on() -> anyhow::Result<()> {
        hears_a_witness(1)
    }
}

/// What the witness has said, by name.
type WitnessRegisters = BTreeMap<String, u128>;

/// What ends a witnessed.
const END: &str = "witness: end";

/// How long what the witness said may take from the console to the test.
const HEARD: Duration = Duration::from_secs(2);

/// How often the guest is asked to fill everything anew: with and without `EOImode`, and with other binary points.
const ROUNDS: usize = 4;

fn hears_a_witness(mmu: u32) -> anyhow::Result<()> {
    let scratch = Scratch::new()?;
    let arguments = format!("mode=registers park=1 holds=1 mmu={mmu} seed={}", 3 + mmu);
    let guest = TestGuest::probe(&arguments, 1);
    let kernel = build_variant(&workspace()?, "kernel", &["bare", "guest-debug", "witness"])?;
    let image = guests::build(&ImageRequest {
        name: format!("test-witness-mmu-{mmu}"),
        guest: Some(guest.build()?),
        ram_mib: guest.ram_mib(),
        domain_overrides: BTreeMap::from([("kernel".to_owned(), kernel)]),
        kernel: Kernel::Embedded,
        ..ImageRequest::default()
    })?;
    let mut board = Board::start("a", &image, &scratch)?;
    let (mut seen, mut since) = (Seen::default(), 0);
    for round in 0..ROUNDS {
        let expected = parked(&mut board)?;
        let path = scratch.path().join(format!("{round}"));
        let (file, witnessed) = stop(&mut board, &expected, &path, &mut since)?;
        compare(file.state(), &witnessed, &mut seen)?;
        // Back into the processor: what it holds when the guest has run again is what the first record says.
        board.client()?.resume(ANSWER)?;
        let (_, witnessed) = stop(&mut board, &expected, &path, &mut since)?;
        compare(file.state(), &witnessed, &mut seen)?;
        board.client()?.resume(ANSWER)?;
        board.session.send(b"g")?;
    }
    // The guest says at its next place that it has found nothing wrong. Its word for each round may be cut in two by the
    // witness, which speaks whenever list registers are rearranged.
    parked(&mut board)?;
    println!("{seen:?}");
    ensure!(
        seen.pending > 0 && seen.active > 1,
        "too little was in list registers: {seen:?}"
    );
    // Its end is left out: the witness would speak in the middle of the guest's last word.
    Ok(())
}

/// Stops the parked guest, and hears the witness on this stop: what it says is of no use later. `since` is the guest's
/// count when it was stopped before, and becomes its count now.
fn stop(
    board: &mut Board,
    expected: &Registers,
    path: &Path,
    since: &mut u64,
) -> anyhow::Result<(SnapshotFile, WitnessRegisters)> {
    let deadline = Instant::now() + ANSWER;
    let place = expected.get(&Register::PC).copied().flatten();
    loop {
        let file = keep(board, expected, path)?;
        let count = file.state().timer.count;
        let before = std::mem::replace(since, count);
        let of_this_stop = |witnessed: &WitnessRegisters| {
            witnessed.get("PC").copied() == place
                && witnessed
                    .get(Register::CNTVCT_EL0.name())
                    .is_some_and(|seen| (u128::from(before)..=count.into()).contains(seen))
        };
        if let Some(witnessed) = hear(board, of_this_stop)? {
            return Ok((file, witnessed));
        }
        // Stopped before it ran: what was seen last is the capture stub.
        ensure!(Instant::now() < deadline, "the guest does not run");
        board.client()?.resume(ANSWER)?;
    }
}

/// The last that the witness said of what is looked for. The console is read by another thread, which may come later.
fn hear(
    board: &Board,
    wanted: impl Fn(&WitnessRegisters) -> bool,
) -> anyhow::Result<Option<WitnessRegisters>> {
    let deadline = Instant::now() + HEARD;
    loop {
        let said = board.said();
        // What follows the last end is not all of a witnessed yet.
        let complete = said.rsplit_once(END).map_or("", |(complete, _)| complete);
        let found = complete
            .rsplit(END)
            .map(witnessed)
            .find(|witnessed| witnessed.as_ref().map_or(true, &wanted));
        if found.is_some() || Instant::now() > deadline {
            return found.transpose();
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// What was in list registers, over all rounds.
#[derive(Debug, Default)]
struct Seen {
    pending: usize,
    active: usize,
}

/// What the witness said, between the end of what it had said before and the next.
fn witnessed(said: &str) -> anyhow::Result<WitnessRegisters> {
    let mut witnessed = WitnessRegisters::new();
    for line in said.lines() {
        let Some((_, text)) = line.split_once("witness: ") else {
            continue;
        };
        let parsed = parse(text).and_then(|(name, value)| Some((name.to_owned(), value?)));
        let (name, value) = parsed.with_context(|| format!("not understood: {line}"))?;
        ensure!(witnessed.insert(name, value).is_none(), "twice: {line}");
    }
    Ok(witnessed)
}

fn compare(state: &State, witnessed: &WitnessRegisters, seen: &mut Seen) -> anyhow::Result<()> {
    registers(state, witnessed)?;
    interface(state, witnessed)?;
    list_registers(state, witnessed, seen)
}

fn told(witnessed: &WitnessRegisters, name: &str) -> anyhow::Result<u128> {
    let value = witnessed.get(name).copied();
    value.with_context(|| format!("the witness says nothing of {name}"))
}

/// Every register that is state and that the record has, but for those that any kernel keeps in memory for a thread.
fn registers(state: &State, witnessed: &WitnessRegisters) -> anyhow::Result<()> {
    let recorded = &state.vcpus.vcpus[0].registers;
    let timer = &state.timer.vcpus[0];
    let (mut compared, mut wrong) = (0, Vec::new());
    for register in Register::ALL {
        let in_thread = register.source() == state::Source::Thread && register.encoding().is_none();
        // It continues.
        let is_count = register == Register::CNTVCT_EL0;
        if register.policy() != Policy::Write || in_thread || is_count {
            continue;
        }
        let (found, mask) = match register {
            // Bit 2 is a condition and not state.
            Register::CNTV_CTL_EL0 => (Some(timer.control.into()), 3),
            Register::CNTV_CVAL_EL0 => (Some(timer.compare.into()), u128::MAX),
            Register::CNTKCTL_EL1 => (Some(timer.kernel_control.into()), u128::MAX),
            register => (recorded.get(register), u128::MAX),
        };
        let held = witnessed.get(register.name()).map(|value| value & mask);
        if held == found {
            compared += usize::from(held.is_some());
        } else {
            wrong.push(format!(
                "{register:?} was {held:x?}, the record has {found:x?}"
            ));
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    ensure!(compared > 90, "only {compared} registers were compared");
    Ok(())
}

/// `GICH_VMCR` (IHI 0048B, 5.3.8) and `GICH_APR`.
fn interface(state: &State, witnessed: &WitnessRegisters) -> anyhow::Result<()> {
    let control = u32::try_from(told(witnessed, "GICH_VMCR")?)?;
    let active = u32::try_from(told(witnessed, "GICH_APR")?)?;
    let recorded = state.vgic.vcpus[0].interface;
    for (name, held, found) in [
        ("VMCR for GICC_CTLR", control & 0x21f, recorded.control),
        (
            "VMCR.VMPriMask",
            control >> 27 << 3,
            recorded.priority_mask.into(),
        ),
        ("VMCR.VMBP", control >> 21 & 7, recorded.binary_point.into()),
        (
            "VMCR.VMABP",
            control >> 18 & 7,
            recorded.aliased_binary_point.into(),
        ),
        ("GICH_APR", active, recorded.active_priorities),
    ] {
        ensure!(
            held == found,
            "{name} was {held:#x}, the record has {found:#x}"
        );
    }
    Ok(())
}

/// What a record says of an interrupt.
#[derive(Debug, PartialEq, Eq)]
struct Recorded {
    pending: bool,
    active: bool,
    acknowledged: bool,
    group1: bool,
    priority: u32,
}

fn recorded(state: &State, intid: usize) -> anyhow::Result<Recorded> {
    let own: &VcpuInterruptsV1 = &state.vgic.vcpus[0];
    let shared = intid.checked_sub(32);
    let interrupt = shared.map_or(own.private.get(intid), |shared| {
        state.vgic.shared.get(shared)
    });
    let interrupt = interrupt.with_context(|| format!("no interrupt {intid}"))?;
    let sources = |of: &[u8]| of.get(intid).is_some_and(|sources| *sources != 0);
    Ok(Recorded {
        pending: interrupt.latched
            || interrupt.line && !interrupt.edge
            || sources(&own.pending_sources),
        active: interrupt.active || sources(&own.active_sources),
        acknowledged: own.acknowledged[intid / 32] >> (intid % 32) & 1 != 0,
        group1: interrupt.group1,
        priority: interrupt.priority.into(),
    })
}

/// `GICH_LRn` (IHI 0048B, 5.3.11): what is pending in one is pending in the record, what is active in one is active
/// there and acknowledged by this vCPU, and nothing else is acknowledged.
fn list_registers(
    state: &State,
    witnessed: &WitnessRegisters,
    seen: &mut Seen,
) -> anyhow::Result<()> {
    let mut active = 0;
    for (name, value) in witnessed
        .iter()
        .filter(|(name, _)| name.starts_with("GICH_LR"))
    {
        let register = u32::try_from(*value)?;
        let (status, intid) = (register >> 28 & 3, register & 0x3ff);
        if status == 0 {
            continue;
        }
        ensure!(
            register >> 31 == 0,
            "{name} is {register:#x}, of a hardware interrupt"
        );
        let found = recorded(state, usize::try_from(intid)?)?;
        let expected = Recorded {
            // Of an active one, whether it is pending again is not in the list register.
            pending: status == 1 || found.pending,
            active: status == 2,
            acknowledged: status == 2,
            group1: register >> 30 & 1 != 0,
            priority: (register >> 23 & 0x1f) << 3,
        };
        ensure!(
            found == expected,
            "{name} was {register:#x}: {expected:?}, the record has {found:?}"
        );
        ensure!(
            status != 3,
            "{name} is {register:#x}, pending and active at once"
        );
        seen.pending += usize::from(status == 1);
        active += usize::from(status == 2);
    }
    let acknowledged = state.vgic.vcpus[0]
        .acknowledged
        .iter()
        .map(|word| word.count_ones());
    let acknowledged = usize::try_from(acknowledged.sum::<u32>())?;
    ensure!(
        acknowledged == active,
        "{acknowledged} acknowledged in the record, {active} active"
    );
    seen.active += active;
    Ok(())
}
