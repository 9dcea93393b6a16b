// SPDX-License-Identifier: BSD-2-Clause
//! A paused guest can be looked at and changed, and no other.

use super::hardware::timers;
use super::world::{Side, World};
use protocol::management::{Phase, SetRegister};
use protocol::{Answer, Domain, MoveFailure, Request, RequestError};
use state::legal::Illegal;
use state::{Register, TimerRecordV1, record};

const SET: SetRegister = SetRegister {
    vcpu: 1,
    register: Register::X19.key(),
    value: u128::MAX / 5,
};

fn examine(world: &mut World, domain: Domain) -> Result<Vec<u8>, RequestError> {
    world.ask(Side::A, &Request::Examine(domain), |answer| match answer {
        Answer::Examined(of, record) => {
            assert_eq!(of, domain);
            Ok(record.to_vec())
        }
        Answer::Refused(error) => Err(error),
        other => panic!("{other:?}"),
    })
}

#[test]
fn a_guest_that_runs_is_neither_looked_at_nor_changed() {
    let mut world = World::new();
    let phase = Phase::Running;
    let running = RequestError::WrongPhase { phase };
    assert_eq!(examine(&mut world, Domain::Vmm), Err(running));
    assert_eq!(world.act(Side::A, &Request::SetRegister(SET)), Err(running));
    assert_eq!(world.a.hardware.set_registers, []);
    world.run_for(10_000);
    world.runs_at(Side::A);
}

#[test]
fn a_paused_guest_is_both() {
    let mut world = World::new();
    world.act(Side::A, &Request::Pause).unwrap();
    world.run_for(10_000);
    let vgic = examine(&mut world, Domain::Vgic).unwrap();
    assert_eq!(vgic, 0x1234_5678_u64.to_le_bytes());
    world.act(Side::A, &Request::SetRegister(SET)).unwrap();
    let set = (1, SET.register, SET.value);
    assert_eq!(world.a.hardware.set_registers, [set]);
    world.act(Side::A, &Request::Resume).unwrap();
    world.run_for(10_000);
    world.runs_at(Side::A);
}

#[test]
fn what_the_domain_refuses_is_told_with_vcpu_and_register() {
    let mut world = World::new();
    world.act(Side::A, &Request::Pause).unwrap();
    world.run_for(10_000);
    for (vcpu, register) in [(1, Register::MIDR_EL1), (200, Register::X0)] {
        let set = SetRegister {
            vcpu,
            register: register.key(),
            value: 1,
        };
        let register = set.register;
        assert_eq!(
            world.act(Side::A, &Request::SetRegister(set)),
            Err(RequestError::BadRegister { vcpu, register })
        );
    }
}

#[test]
fn a_guest_that_is_leaving_is_not_changed() {
    let mut world = World::new();
    world.act(Side::A, &Request::Pause).unwrap();
    world.run_for(10_000);
    let id = world.start(Side::A).unwrap();
    let moving = RequestError::Moving { id };
    assert_eq!(examine(&mut world, Domain::Vmm), Err(moving));
    assert_eq!(world.act(Side::A, &Request::SetRegister(SET)), Err(moving));
}

fn set_timer(world: &mut World, vcpu: u8, value: u128) -> Result<(), RequestError> {
    let register = Register::CNTV_CTL_EL0.key();
    let set = SetRegister {
        vcpu,
        register,
        value,
    };
    world.act(Side::A, &Request::SetRegister(set))
}

#[test]
fn a_timer_of_a_paused_guest_is_set_and_nothing_else() {
    let mut world = World::new();
    world.act(Side::A, &Request::Pause).unwrap();
    world.run_for(10_000);
    set_timer(&mut world, 1, 0b11).unwrap();
    let mut expected = timers();
    expected.vcpus[1].control = 0b11;
    assert_eq!(world.a.hardware.timer.as_ref(), Some(&expected));
    assert_eq!(world.a.hardware.set_registers, [], "it is timer-pd's");
    let shown = examine(&mut world, Domain::Timer).unwrap();
    assert_eq!(record::decode::<TimerRecordV1>(&shown), Ok(expected));
}

#[test]
fn a_timer_is_not_set_to_what_it_cannot_be_and_stays_as_it_is() {
    let mut world = World::new();
    world.act(Side::A, &Request::Pause).unwrap();
    world.run_for(10_000);
    // ISTATUS is a condition, 33 bits are too many, and there are two vCPUs.
    let register = Register::CNTV_CTL_EL0;
    for (vcpu, value) in [(0, 0b100), (1, 1 << 32)] {
        let illegal = Illegal {
            vcpu: vcpu.into(),
            register,
            value,
            bits: value,
        };
        assert_eq!(
            set_timer(&mut world, vcpu, value.into()),
            Err(RequestError::Illegal(illegal))
        );
    }
    let bad = RequestError::BadRegister {
        vcpu: 2,
        register: register.key(),
    };
    assert_eq!(set_timer(&mut world, 2, 0b11), Err(bad));
    assert_eq!(world.a.hardware.timer, Some(timers()));
}

#[test]
fn a_timer_pd_that_does_not_take_its_record_back_is_told_of() {
    let mut world = World::new();
    world.act(Side::A, &Request::Pause).unwrap();
    world.run_for(10_000);
    world.a.hardware.faults.import = Some(Domain::Timer);
    let refused = RequestError::PeerDomain {
        domain: Domain::Timer,
        reason: channel::timer::Refusal::BadRecord as u64,
    };
    assert_eq!(set_timer(&mut world, 0, 0b11), Err(refused));
    assert_eq!(world.a.hardware.timer, Some(timers()));
    world.act(Side::A, &Request::Resume).unwrap();
    world.run_for(10_000);
    world.runs_at(Side::A);
}

#[test]
fn a_value_that_no_guest_can_have_is_told_of_with_its_register_and_bits() {
    let illegal = Illegal {
        vcpu: 1,
        register: Register::PSTATE,
        value: 0x3c9,
        bits: 9,
    };
    let found = Some(channel::IllegalValue {
        vcpu: 1,
        register: Register::PSTATE.key(),
        value: 0x3c9,
        bits: 9,
    });
    let mut world = World::new();
    world.b.hardware.faults.illegal = found;
    let id = world.start(Side::A).unwrap();
    let failure = world.ended(Side::A, id).failure;
    assert_eq!(failure, Some(MoveFailure::Illegal(illegal)));
    world.run_for(10_000);
    world.runs_at(Side::A);

    world.act(Side::A, &Request::Pause).unwrap();
    world.run_for(10_000);
    world.a.hardware.faults.illegal = found;
    let answer = world.act(Side::A, &Request::SetRegister(SET));
    assert_eq!(answer, Err(RequestError::Illegal(illegal)));
}
