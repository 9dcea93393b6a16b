// SPDX-License-Identifier: BSD-2-Clause
//! What must hold after every entry, and entries at random.

use proptest::prelude::*;
use sel4_sys::MessageInfo;

use super::*;
use crate::identifier::BudgetId;
use crate::object::{Above, Fault, Signal};
use crate::queue::Queue;

fn contents(kernel: &Kernel<Fake>, queue: &Queue) -> Vec<ThreadId> {
    let mut threads = Vec::new();
    let mut next = queue.head();
    while let Some(thread) = next {
        threads.push(thread);
        next = kernel.threads[thread].next;
    }
    threads
}

/// Checks everything that ties the objects together.
pub(super) fn check(kernel: &Kernel<Fake>) {
    check_budgets(kernel);
    check_queues(kernel);
    check_replies(kernel);
    check_current(kernel);
}

fn check_budgets(kernel: &Kernel<Fake>) {
    for thread in ThreadId::all() {
        if let Some(budget) = kernel.threads[thread].budget {
            assert_eq!(
                kernel.budgets[budget].thread,
                Some(thread),
                "time has one user"
            );
        }
    }
    for budget in BudgetId::all() {
        if let Some(thread) = kernel.budgets[budget].thread {
            assert_eq!(
                kernel.threads[thread].budget,
                Some(budget),
                "time has one user"
            );
        }
        if let Some(reply) = kernel.budgets[budget].last_call {
            assert_eq!(kernel.replies[reply].above, Above::Budget(budget));
        }
    }
}

fn check_queues(kernel: &Kernel<Fake>) {
    let mut queued = Vec::new();
    for priority in 0..=u8::MAX {
        for thread in contents(kernel, kernel.ready.queue(priority)) {
            assert_eq!(kernel.threads[thread].priority, priority);
            assert!(kernel.threads[thread].queued && kernel.is_schedulable(thread));
            queued.push(thread);
        }
    }
    let delayed = contents(kernel, &kernel.delayed);
    let times: Vec<_> = delayed
        .iter()
        .map(|&thread| {
            kernel.budgets[kernel.threads[thread].budget.unwrap()]
                .head()
                .time
        })
        .collect();
    assert!(times.is_sorted(), "delays are in order");
    assert!(
        times.iter().all(|&time| time > kernel.now),
        "nobody waits too long"
    );
    for domain in DomainId::all() {
        let endpoint = &kernel.endpoints[domain];
        let waiting = contents(kernel, &endpoint.queue);
        for &thread in &waiting {
            let right = match kernel.threads[thread].state {
                State::Receiving { endpoint: at, .. } => endpoint.receivers && at == domain,
                State::Sending { endpoint: at, .. } => !endpoint.receivers && at == domain,
                _ => false,
            };
            assert!(right, "who waits at an endpoint says so");
        }
        let priorities: Vec<_> = waiting
            .iter()
            .map(|&thread| kernel.threads[thread].priority)
            .collect();
        assert!(priorities.is_sorted_by(|one, next| one >= next));
    }
    for thread in ThreadId::all() {
        let state = &kernel.threads[thread];
        assert_eq!(state.queued, queued.contains(&thread));
        assert_eq!(state.delayed, delayed.contains(&thread));
        match state.state {
            State::Receiving { endpoint, .. } | State::Sending { endpoint, .. } => {
                assert!(contents(kernel, &kernel.endpoints[endpoint].queue).contains(&thread));
            }
            State::Waiting { notification } => {
                assert_eq!(kernel.notifications[notification].signal, Signal::Awaited);
            }
            _ => {}
        }
    }
}

fn check_replies(kernel: &Kernel<Fake>) {
    for reply in DomainId::all() {
        let object = &kernel.replies[reply];
        match object.thread.map(|thread| kernel.threads[thread].state) {
            None => assert_eq!((object.below, object.above), (None, Above::Nothing)),
            Some(State::Calling { reply: through }) => assert_eq!(through, reply),
            Some(State::Receiving { reply: offered, .. }) => assert_eq!(offered, Some(reply)),
            Some(state) => panic!("a reply object for a thread that is {state:?}"),
        }
        match object.above {
            Above::Nothing => {}
            Above::Call(above) => assert_eq!(kernel.replies[above].below, Some(reply)),
            Above::Budget(budget) => assert_eq!(kernel.budgets[budget].last_call, Some(reply)),
        }
        if let Some(below) = object.below {
            assert_eq!(kernel.replies[below].above, Above::Call(reply));
        }
    }
    for thread in ThreadId::all() {
        if let State::Calling { reply } = kernel.threads[thread].state {
            assert_eq!(kernel.replies[reply].thread, Some(thread));
        }
    }
}

fn check_current(kernel: &Kernel<Fake>) {
    assert_eq!(kernel.loaded_thread, kernel.current);
    let Some(thread) = kernel.current else {
        assert_eq!(
            kernel.ready.highest(),
            None,
            "nobody waits for an idle processor"
        );
        assert!(!kernel.machine.guest);
        return;
    };
    let state = &kernel.threads[thread];
    assert_eq!(state.state, State::Running);
    assert!(kernel.is_schedulable(thread) && !state.queued);
    assert!(
        kernel
            .ready
            .highest()
            .is_none_or(|highest| highest <= state.priority)
    );
    assert_eq!(kernel.machine.space, kernel.spaces[thread]);
    assert_eq!(kernel.machine.guest, state.vcpu.is_some());
    assert_eq!(kernel.machine.interface_control != 0, state.vcpu.is_some());
    assert_eq!(
        kernel.machine.floating_point_traps,
        state.floating_point.is_none()
    );
    assert_eq!(kernel.current_budget, state.budget);
    let slice = kernel
        .current_budget
        .map(|budget| kernel.budgets[budget].head().amount);
    let end = kernel.now + slice.expect("whoever runs has time");
    assert!(kernel.machine.deadline <= end, "a slice ends");
}

/// Something that the current thread or a device does.
#[derive(Clone, Debug)]
enum Event {
    /// A system call with these registers.
    Call {
        number: i64,
        registers: [u64; 7],
        destination: u64,
    },
    /// A fault.
    Fault(u8),
    /// An interrupt.
    Interrupt(u8),
    /// Time passes, until the timer interrupts if it is long enough.
    Time(Ticks),
}

fn capability() -> impl Strategy<Value = u64> {
    prop_oneof![
        Just(INPUT),
        Just(2),
        Just(3),
        Just(REPLY),
        Just(MONITOR),
        Just(NOTIFICATION + 1),
        ENDPOINT + 1..=ENDPOINT + 2,
        Just(INTERRUPT + 7),
        Just(CHILD_THREAD + 5),
        VM_THREAD..VM_THREAD + 2,
        VCPU..VCPU + 2,
        0..600_u64,
        any::<u64>(),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    let label = prop_oneof![
        Just(0_u64),
        Just(2),
        Just(3),
        Just(12),
        Just(13),
        Just(27),
        56..60_u64,
        any::<u64>()
    ];
    let words = proptest::array::uniform4(prop_oneof![0..40_u64, any::<u64>()]);
    let call = (
        -13..1_i64,
        capability(),
        label,
        0..128_u64,
        words,
        capability(),
        capability(),
    );
    prop_oneof![
        8 => call.prop_map(|(number, first, label, length, words, reply, destination)| {
            let info = MessageInfo::new(label, 0, 0, length).word();
            let [a, b, c, d] = words;
            Event::Call { number, registers: [first, info, a, b, c, d, reply], destination }
        }),
        1 => any::<u8>().prop_map(Event::Fault),
        2 => any::<u8>().prop_map(Event::Interrupt),
        2 => (0..3000 * MICROSECOND).prop_map(Event::Time),
    ]
}

fn happen(system: &mut System, event: &Event) {
    if system.current().is_none() && !matches!(event, Event::Interrupt(_) | Event::Time(_)) {
        return;
    }
    match *event {
        Event::Call {
            number,
            registers,
            destination,
        } => {
            for (register, value) in registers.into_iter().enumerate() {
                system.registers().set_x(register, value);
            }
            system.registers().set_x(7, number.cast_unsigned());
            system.registers().set_x(8, destination);
            system.kernel.machine.time += 3;
            system.kernel.system_call();
            system.finish();
        }
        Event::Fault(which) => system.fault(match which % 4 {
            0 => Fault::Memory {
                address: 0x1000,
                syndrome: 0x9200_0046,
                fetch: false,
            },
            1 => Fault::Trap {
                syndrome: 0x5e00_0000,
            },
            2 => Fault::UserException { syndrome: 1 << 25 },
            _ => Fault::UnknownSyscall { number: 7 },
        }),
        Event::Interrupt(which) => {
            let intid = [INTID, 25, 27, 40, 26][usize::from(which) % 5];
            system.kernel.machine.maintenance = (u32::from(which) >> 7, u64::from(which) & 0xf);
            system.interrupt(intid, 1);
        }
        Event::Time(ticks) => {
            let machine = &mut system.kernel.machine;
            machine.time = machine.time.saturating_add(ticks);
            if machine.deadline <= machine.time {
                machine.time = machine.time.max(machine.deadline);
                system.interrupt(crate::interrupt::KERNEL_TIMER, 0);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn whatever_threads_do_the_objects_stay_consistent(
        budget in prop_oneof![Just((1000, 1000)), Just((100, 1000))],
        idle in any::<bool>(),
        events in proptest::collection::vec(event(), 1..120),
    ) {
        let mut system = if idle && budget.0 == budget.1 {
            System::waiting()
        } else {
            System::with_budget(budget.0, budget.1)
        };
        if system.current() == Some(domain(VMM)) {
            system.start_vcpu(0, 0x4000_0000);
        }
        for event in &events {
            happen(&mut system, event);
        }
    }
}
