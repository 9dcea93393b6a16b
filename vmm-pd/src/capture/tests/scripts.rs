//! A guest that is cut anywhere between two accesses to its interrupts finds what it would have found.
//!
//! Responsible for: every state that a guest can bring its interrupts into by raising, acknowledging, nesting,
//! dropping, ending and masking them, and in each of them the cut. With as many interrupts as list registers are for
//! anybody, the board it goes on at holds the same in its list registers and in its record: every `IAR`, `RPR` and
//! `HPPIR` from then on is the same, whatever the script. With more, uncut and cut go on side by side over every
//! script, next to an interface with room for all, for as long as the uncut one does what that one does. There `HPPIR`
//! may hide, after the cut, an interrupt that waits in the distributor while all list registers are taken; `IAR` and
//! `RPR` may not differ.

use std::collections::HashSet;

use super::interface::{SPURIOUS, VirtualInterface, control, list};
use super::system::{Held, System, VCPU, distributor, encoded};
use channel::vgic::Answer;

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

/// A guest with its board.
#[derive(Debug, Clone)]
struct Guest {
    system: System,
    /// How many of [`INTERRUPTS`] it uses.
    interrupts: usize,
    /// What it has acknowledged and not ended, the innermost last.
    running: Vec<u32>,
    /// What it has dropped the priority of and not deactivated.
    dropped: Vec<u32>,
}

impl Guest {
    fn new(setting: Setting) -> Self {
        let mut system = System::new();
        for (place, (intid, priority)) in (0..).zip(INTERRUPTS) {
            system.arrange(intid, priority, u32::from(setting.group_1) & place & 1);
        }
        system.hardware.set_ctlr(setting.control);
        system.hardware.set_binary_point(setting.points.0);
        system.hardware.set_aliased_binary_point(setting.points.1);
        system.hardware.set_pmr(MASKS[0]);
        Self {
            system,
            interrupts: setting.interrupts,
            running: Vec::new(),
            dropped: Vec::new(),
        }
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
        self.system.settle();
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
    running: Vec<u32>,
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
            running: guest.running.clone(),
            again: Vec::new(),
        };
        for (intid, _) in INTERRUPTS {
            let active = guest
                .system
                .seen()
                .held
                .iter()
                .any(|held| (held.0, held.3) == (intid, list::ACTIVE));
            if active {
                ideal.inject(intid);
                ideal.list(intid, list::ACTIVE);
            }
            if guest.waits(intid) {
                ideal.raise(intid);
            }
        }
        ideal
    }

    fn place(intid: u32) -> usize {
        INTERRUPTS
            .iter()
            .position(|interrupt| interrupt.0 == intid)
            .expect("a script's")
    }

    fn list(&mut self, intid: u32, state: u32) {
        let register = &mut self.hardware.list[Self::place(intid)];
        *register = *register & !list::STATE | state;
    }

    fn inject(&mut self, intid: u32) {
        let place = Self::place(intid);
        self.hardware.list[place] =
            list::PENDING | INTERRUPTS[place].1 << list::PRIORITY_SHIFT | intid;
    }

    fn raise(&mut self, intid: u32) {
        match self.hardware.list[Self::place(intid)] & list::STATE {
            list::ACTIVE => self.again.push(intid),
            _ => self.inject(intid),
        }
    }

    fn take(&mut self, step: Step) -> Trace {
        let mut acknowledged = None;
        match step {
            Step::Raise(intid) => self.raise(intid),
            Step::Acknowledge => {
                let interrupt = self.hardware.iar();
                acknowledged = Some(interrupt);
                if interrupt < 1020 {
                    self.running.push(interrupt);
                }
            }
            Step::End => {
                let interrupt = self.running.pop().expect("one is running");
                self.hardware.eoir(interrupt);
                self.hardware.dir(interrupt);
                if let Some(place) = self.again.iter().position(|again| *again == interrupt) {
                    self.inject(self.again[place]);
                    self.again.remove(place);
                }
            }
            Step::Mask(mask) => self.hardware.set_pmr(mask),
            Step::Drop | Step::Deactivate => {
                unreachable!("not with more interrupts than list registers")
            }
        }
        (acknowledged, self.hardware.rpr(), self.hardware.hppir())
    }
}

/// Uncut and cut do not hold the same in their list registers: they go on side by side, over every script, until they
/// do, or until the uncut one is not as an interface with room for all would be.
fn follow(whole: Guest, cut: Guest, followed: &mut HashSet<(State, State)>) {
    let ideal = Ideal::of(&whole);
    let mut next = vec![(whole, cut, ideal)];
    while let Some((whole, cut, ideal)) = next.pop() {
        let states = (whole.state(), cut.state());
        if states.0 == states.1 || !followed.insert(states) {
            continue;
        }
        for step in whole.steps() {
            let (mut whole, mut cut, mut ideal) = (whole.clone(), cut.clone(), ideal.clone());
            let (expected, found, right) = (whole.take(step), cut.take(step), ideal.take(step));
            if expected != right {
                continue;
            }
            assert_eq!((found.0, found.1), (right.0, right.1), "{step:?}");
            assert!(
                [right.2, SPURIOUS].contains(&found.2),
                "{step:?}: {found:?}, not {right:?}"
            );
            next.push((whole, cut, ideal));
        }
    }
}

/// Goes through every state of a guest, and cuts it there. How many states, and in how many of them the two boards hold
/// different interrupts in their list registers.
fn explore(setting: Setting) -> (usize, usize) {
    let first = Guest::new(setting);
    let key = |guest: &Guest, state: &State| {
        (state.clone(), guest.running.clone(), guest.dropped.clone())
    };
    let state = first.state();
    let mut known = HashSet::from([key(&first, &state)]);
    let (mut next, mut followed) = (vec![(first, state)], HashSet::new());
    let mut different = 0;
    while let Some((guest, state)) = next.pop() {
        let cut = guest.cut();
        let cut_state = cut.state();
        assert_eq!(cut_state.3, state.3, "the next record");
        if cut_state != state {
            different += 1;
            follow(guest.clone(), cut, &mut followed);
        }
        for step in guest.steps() {
            let mut after = guest.clone();
            after.take(step);
            let state = after.state();
            if known.insert(key(&after, &state)) {
                next.push((after, state));
            }
        }
    }
    (known.len(), different)
}

const BOTH: u32 = control::GROUP_0 | control::GROUP_1 | control::ACKNOWLEDGE_BOTH;

/// Group 0, group 1 with and without `AckCtl` and `CBPR`, binary points that nest all and none, `EOImode`: three
/// interrupts, any of which may be active, pending, both, dropped or masked.
#[test]
fn every_state_of_three_interrupts_goes_on_elsewhere_as_if_nothing_had_happened() {
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
                };
                let (found, different) = explore(setting);
                assert_eq!(different, 0, "{setting:?}");
                states += found;
            }
        }
    }
    assert_eq!(states, 3936, "docs/capture.md says how many");
}

/// Five interrupts, for four list registers of which the last is kept for the most urgent.
#[test]
fn every_state_with_more_interrupts_than_list_registers_goes_on_elsewhere() {
    let setting = Setting {
        interrupts: 5,
        control: BOTH,
        points: (2, 3),
        group_1: false,
    };
    let (states, different) = explore(setting);
    assert_eq!(states, 5259, "docs/capture.md says how many");
    assert!(different > 0, "the list registers never ran out");
}
