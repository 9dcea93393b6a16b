// SPDX-License-Identifier: BSD-2-Clause
//! A guest that is cut anywhere between two accesses to its interrupts finds what it would have found.
//!
//! Responsible for: every state that a guest can bring its interrupts into by raising, acknowledging, nesting,
//! dropping, ending and masking them, also more of them than there are list registers, and in each of them the cut:
//! the board it continues at holds the same in its list registers and in its record, so that every `IAR`, `RPR` and
//! `HPPIR` from then on is the same, whatever the script. And every step from every state: it gives what an interface
//! with room for all interrupts gives, but while all list registers hold active ones. No two interrupts are equally
//! urgent: which of those goes first is for an implementation to say (IHI 0048B, 3.3).

use std::collections::HashSet;

use super::interface::{SPURIOUS, VirtualInterface, control, list};
use super::system::{Held, System, VCPU, distributor, encoded};
use channel::Intid;
use channel::vgic::{Answer, Injection, LIST_REGISTERS};

/// An interrupt that a script uses: INTID, priority's upper five bits. Odd places are in group 1 if the setting says so.
const INTERRUPTS: [(u32, u32); 5] = [(40, 4), (2, 8), (20, 12), (41, 16), (200, 20)];

/// Masks: everything, the two most urgent, nothing.
const MASKS: [u32; 3] = [0xf8, 0x50, 0];

/// How a guest uses its interrupt controller.
#[derive(Debug, Clone, Copy)]
struct Setting {
    /// How many of [`INTERRUPTS`].
    interrupts: usize,
    /// `GICC_CTLR`.
    control: u32,
    /// `GICC_BPR` and `GICC_ABPR`.
    points: (u32, u32),
    group_1: bool,
    /// How many of [`MASKS`].
    masks: usize,
}

/// A step of a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Step {
    Raise(u32),
    Acknowledge,
    /// `GICC_EOIR` for the innermost, and with `EOImode` `GICC_DIR` after it.
    End,
    /// `GICC_EOIR` alone, with `EOImode`.
    Drop,
    /// `GICC_DIR` for the one that was dropped first.
    Deactivate,
    Mask(u32),
}

/// What a step and a look at the interface after it give: `IAR` or nothing, `RPR`, `HPPIR`.
type Trace = (Option<u32>, u32, u32);

fn place(intid: u32) -> usize {
    INTERRUPTS
        .iter()
        .position(|interrupt| interrupt.0 == intid)
        .expect("a script's")
}

fn group(group_1: bool, place: usize) -> u8 {
    u8::from(group_1 && place % 2 == 1)
}

/// A guest with its board.
#[derive(Debug, Clone)]
struct Guest {
    system: System,
    /// How many of [`INTERRUPTS`] it uses.
    interrupts: usize,
    group_1: bool,
    /// How many of [`MASKS`] it sets.
    masks: usize,
    /// What it has acknowledged and not ended, the innermost last.
    running: Vec<u32>,
    /// What it has dropped the priority of and not deactivated.
    dropped: Vec<u32>,
}

impl Guest {
    fn new(setting: Setting) -> Self {
        let mut system = System::new();
        for (place, (intid, priority)) in (0..).zip(INTERRUPTS) {
            system.arrange(intid, priority, group(setting.group_1, place).into());
        }
        system.hardware.set_ctlr(setting.control);
        system.hardware.set_binary_point(setting.points.0);
        system.hardware.set_aliased_binary_point(setting.points.1);
        system.hardware.set_pmr(MASKS[0]);
        Self {
            system,
            interrupts: setting.interrupts,
            group_1: setting.group_1,
            masks: setting.masks,
            running: Vec::new(),
            dropped: Vec::new(),
        }
    }

    /// What is active, all of it in list registers.
    fn active(&self) -> impl Iterator<Item = u32> {
        let held = self.system.seen().held.into_iter();
        held.filter(|held| held.3 == list::ACTIVE)
            .map(|held| held.0)
    }

    /// All list registers hold active interrupts.
    fn is_full(&self) -> bool {
        self.active().count() == LIST_REGISTERS
    }

    fn splits(&self) -> bool {
        self.system.hardware.ctlr() & control::EOI_MODE != 0
    }

    /// Raised and not taken yet: raising it once more would be one delivery for a GIC and may be two for us.
    fn waits(&self, intid: u32) -> bool {
        let held = self.system.seen().held;
        let mut answer = Answer::new(0);
        let mut gic = self.system.gic;
        gic.read(
            VCPU,
            distributor::ISPENDR + 4 * (intid / 32),
            4,
            &mut answer,
        )
        .unwrap();
        answer.value >> (intid % 32) & 1 != 0
            || held
                .iter()
                .any(|held| held.0 == intid && held.3 == list::PENDING)
    }

    /// What it can do next.
    fn steps(&self) -> Vec<Step> {
        let raised = INTERRUPTS
            .iter()
            .take(self.interrupts)
            .map(|(intid, _)| *intid);
        let mut steps: Vec<_> = raised
            .filter(|intid| !self.waits(*intid))
            .map(Step::Raise)
            .collect();
        steps.push(Step::Acknowledge);
        if !self.running.is_empty() {
            steps.push(Step::End);
            if self.splits() && self.dropped.len() < 2 {
                steps.push(Step::Drop);
            }
        }
        if !self.dropped.is_empty() {
            steps.push(Step::Deactivate);
        }
        let masks = MASKS
            .into_iter()
            .take(self.masks)
            .filter(|mask| *mask != self.system.hardware.pmr());
        steps.extend(masks.map(Step::Mask));
        steps
    }

    fn take(&mut self, step: Step) -> Trace {
        let hardware = &mut self.system.hardware;
        let mut acknowledged = None;
        match step {
            Step::Raise(intid) => self.system.pend(intid),
            Step::Acknowledge => {
                let interrupt = hardware.iar();
                acknowledged = Some(interrupt);
                if interrupt < 1020 {
                    self.running.push(interrupt);
                }
            }
            Step::End | Step::Drop => {
                let interrupt = self.running.pop().expect("one is running");
                hardware.eoir(interrupt);
                if step == Step::Drop {
                    self.dropped.push(interrupt);
                } else {
                    hardware.dir(interrupt);
                }
            }
            Step::Deactivate => hardware.dir(self.dropped.remove(0)),
            Step::Mask(mask) => hardware.set_pmr(mask),
        }
        self.system.wait();
        (
            acknowledged,
            self.system.hardware.rpr(),
            self.system.hardware.hppir(),
        )
    }

    /// Stopped and continued on another board.
    fn cut(&self) -> Self {
        Self {
            system: self.system.cut().0,
            ..self.clone()
        }
    }

    /// All that decides what follows. Which list register holds an interrupt does not.
    fn state(&self) -> State {
        let seen = self.system.seen();
        let record = encoded(&self.system.record());
        (seen.held, seen.control, seen.active_priorities, record)
    }
}

type State = (Vec<Held>, u32, u32, Vec<u8>);

/// An interface with a list register for every interrupt: what the architecture asks for.
#[derive(Debug, Clone)]
struct Ideal {
    hardware: VirtualInterface<{ INTERRUPTS.len() }>,
    group_1: bool,
    /// Raised while active.
    again: Vec<u32>,
}

impl Ideal {
    /// In the same state as a guest.
    fn of(guest: &Guest) -> Self {
        let whole = guest.system.hardware;
        let mut ideal = Self {
            hardware: VirtualInterface {
                list: [0; INTERRUPTS.len()],
                control: whole.control,
                active_priorities: whole.active_priorities,
            },
            group_1: guest.group_1,
            again: Vec::new(),
        };
        for intid in guest.active() {
            ideal.inject(intid);
            let register = &mut ideal.hardware.list[place(intid)];
            *register = *register & !list::STATE | list::ACTIVE;
        }
        for (intid, _) in INTERRUPTS {
            if guest.waits(intid) {
                ideal.raise(intid);
            }
        }
        ideal
    }

    fn inject(&mut self, intid: u32) {
        let place = place(intid);
        self.hardware.list[place] = VirtualInterface::<1>::injected(Injection {
            vcpu: VCPU,
            intid: Intid::new(u16::try_from(intid).unwrap()).unwrap(),
            priority: u8::try_from(INTERRUPTS[place].1).unwrap(),
            group: group(self.group_1, place),
            list_register: 0,
        });
    }

    fn raise(&mut self, intid: u32) {
        match self.hardware.list[place(intid)] & list::STATE {
            list::ACTIVE => self.again.push(intid),
            _ => self.inject(intid),
        }
    }

    /// Takes a step of a guest that has `running` and `dropped`.
    fn take(&mut self, step: Step, running: &[u32], dropped: &[u32]) -> Trace {
        let mut acknowledged = None;
        match step {
            Step::Raise(intid) => self.raise(intid),
            Step::Acknowledge => acknowledged = Some(self.hardware.iar()),
            Step::End | Step::Drop => {
                let interrupt = *running.last().expect("one is running");
                self.hardware.eoir(interrupt);
                if step == Step::End {
                    self.hardware.dir(interrupt);
                }
            }
            Step::Deactivate => self.hardware.dir(dropped[0]),
            Step::Mask(mask) => self.hardware.set_pmr(mask),
        }
        let ended = |intid: &u32| self.hardware.list[place(*intid)] & list::STATE == 0;
        let (now, later) = self.again.iter().partition(|intid| ended(intid));
        self.again = later;
        Vec::into_iter(now).for_each(|intid| self.inject(intid));
        (acknowledged, self.hardware.rpr(), self.hardware.hppir())
    }
}

/// Takes a step, and holds what the guest then finds against an interface with room for all.
///
/// There is one difference. While all list registers hold active interrupts, nothing that is pending finds room: seL4
/// takes none out, and does not say that the guest has ended one that is in none. Then nothing is pending for the
/// guest, until it ends one.
fn take_rightly(guest: &mut Guest, step: Step) {
    let (full, running) = (guest.is_full(), guest.system.hardware.rpr());
    let mut right = Ideal::of(guest).take(step, &guest.running, &guest.dropped);
    if full && step == Step::Acknowledge {
        (right.0, right.1) = (Some(SPURIOUS), running);
    }
    let found = guest.take(step);
    if guest.is_full() {
        right.2 = SPURIOUS;
    }
    assert_eq!(found, right, "{step:?} {guest:?}");
}

/// Goes through every state of a guest, and cuts it there. How many states, and in how many of them all list registers
/// hold active interrupts.
fn explore(setting: Setting) -> Found {
    let first = Guest::new(setting);
    let key = |guest: &Guest, state: &State| {
        (state.clone(), guest.running.clone(), guest.dropped.clone())
    };
    let state = first.state();
    let mut known = HashSet::from([key(&first, &state)]);
    let mut next = vec![(first, state)];
    let mut found = Found::default();
    while let Some((guest, state)) = next.pop() {
        assert_eq!(guest.cut().state(), state, "{guest:?}");
        found.full += usize::from(guest.is_full());
        for step in guest.steps() {
            let mut after = guest.clone();
            take_rightly(&mut after, step);
            found.rearranged += after.system.rearranged - guest.system.rearranged;
            let state = after.state();
            if known.insert(key(&after, &state)) {
                next.push((after, state));
            }
        }
    }
    found.states = known.len();
    found
}

/// What an exploration went through.
#[derive(Debug, Default, PartialEq, Eq)]
struct Found {
    states: usize,
    /// In so many of them, all list registers hold active interrupts.
    full: usize,
    /// After so many steps, list registers had to be rearranged.
    rearranged: usize,
}

const BOTH: u32 = control::GROUP_0 | control::GROUP_1 | control::ACKNOWLEDGE_BOTH;

/// Group 0, group 1 with and without `AckCtl` and `CBPR`, binary points that nest all and none, `EOImode`: three
/// interrupts, any of which may be active, pending, both, dropped or masked.
#[test]
fn every_state_of_three_interrupts_continues_elsewhere_as_if_nothing_had_happened() {
    let mut states = 0;
    for mode in [0, control::EOI_MODE] {
        for (control, group_1) in [
            (BOTH, false),
            (BOTH | control::COMMON_BINARY_POINT, true),
            (control::GROUP_0 | control::GROUP_1, true),
        ] {
            for points in [(2, 3), (6, 7)] {
                let setting = Setting {
                    interrupts: 3,
                    control: control | mode,
                    points,
                    group_1,
                    masks: MASKS.len(),
                };
                let found = explore(setting);
                // There is room for each: rearranged is only for one that is raised once more before it is taken.
                assert_eq!(found.full, 0, "{setting:?}");
                states += found.states;
            }
        }
    }
    assert_eq!(states, 3936, "docs/capture.md says how many");
}

/// Five interrupts, for four list registers.
#[test]
fn every_state_with_more_interrupts_than_list_registers_continues_elsewhere() {
    for (mode, masks, states) in [(0, 3, 2976), (control::EOI_MODE, 2, 15744)] {
        let found = explore(Setting {
            interrupts: 5,
            control: BOTH | mode,
            points: (2, 3),
            group_1: true,
            masks,
        });
        assert!(found.full > 0 && found.rearranged > 0, "{found:?}");
        assert_eq!(found.states, states, "docs/capture.md says how many");
    }
}
