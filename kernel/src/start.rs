// SPDX-License-Identifier: BSD-2-Clause
//! From the boot description to kernel objects.
//!
//! Responsible for giving each domain exactly what its description says, in Microkit's layout.
//! Expects a description that has passed `kernel_image`'s check.

use kernel_image::{
    Description, Domain, ImageError, MINIMUM_BUDGET, Object, Vcpu as VcpuDescription, slot,
};

use crate::budget::Ticks;
use crate::context::{FAULT_PC, NEXT_PC, SP_EL0, SPSR, SPSR_DOMAIN};
use crate::identifier::{DomainId, FloatingPointId, ThreadId, VcpuId, VmId};
use crate::kernel::Kernel;
use crate::machine::{Machine, Space};
use crate::object::{Capability, CapabilitySpace, Handler, State};

/// Bit of the badge that marks a fault (Microkit's `FAULT_BADGE`).
const FAULT_BADGE: u64 = 1 << 62;

/// Why a system cannot be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// The description is wrong.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The kernel has no room for this domain's capability, or no such interrupt.
    #[error("no room for slot {slot} of domain {domain}, or no such interrupt")]
    Slot {
        /// Index of the domain.
        domain: usize,
        /// The slot.
        slot: u32,
    },
    /// Something beyond the kernel's tables.
    #[error("more domains, VMs, vCPUs or users of FP registers than the kernel has room for")]
    Room,
}

impl<M: Machine> Kernel<M> {
    /// Creates everything that a description lists and makes all domains runnable.
    ///
    /// `frequency` is that of the system counter, in hertz.
    ///
    /// # Errors
    ///
    /// [`StartError`]; the kernel is not usable then.
    pub fn start(
        &mut self,
        description: &Description<'_>,
        frequency: u64,
    ) -> Result<(), StartError> {
        self.least_budget = ticks(MINIMUM_BUDGET, frequency);
        let ticks = |microseconds| ticks(microseconds, frequency);
        self.now = self.machine.time();
        let mut rooms = FloatingPointId::all();
        for (index, domain) in description.domains().enumerate() {
            let domain = domain?;
            let called = is_called(description, index)?;
            self.create_domain(index, &domain, called, ticks)?;
            if domain.fpu {
                let thread = ThreadId::of_domain(domain_id(index)?);
                self.threads[thread].floating_point = Some(rooms.next().ok_or(StartError::Room)?);
            }
        }
        for (index, vcpu) in description.vcpus().enumerate() {
            let vcpu = vcpu?;
            let vm = description.vms().nth(vcpu.vm).ok_or(StartError::Room)??;
            self.create_vcpu(index, &vcpu, vm.owner, ticks)?;
            let thread = ThreadId::of_vcpu(vcpu_id(index)?);
            self.threads[thread].floating_point = Some(rooms.next().ok_or(StartError::Room)?);
        }
        for capability in description.capabilities() {
            let capability = capability?;
            self.grant(capability.owner, capability.slot, capability.object)?;
        }
        for index in 0..description.domains().len() {
            let thread = ThreadId::of_domain(domain_id(index)?);
            self.threads[thread].state = State::Running;
            self.enqueue(thread);
        }
        Ok(())
    }

    fn create_domain(
        &mut self,
        index: usize,
        domain: &Domain<'_>,
        called: bool,
        ticks: impl Fn(u64) -> Ticks,
    ) -> Result<(), StartError> {
        let id = domain_id(index)?;
        let thread = ThreadId::of_domain(id);
        self.create_thread(
            thread,
            domain.priority,
            ticks(domain.budget),
            ticks(domain.period),
        );
        self.spaces[thread] = Some(Space::Domain(id));
        self.passive[id] = domain.passive;
        let parent = match domain.parent {
            Some(parent) => Handler::Domain {
                endpoint: domain_id(parent.domain)?,
                badge: FAULT_BADGE | u64::from(parent.child),
            },
            None => Handler::Monitor,
        };
        let created = &mut self.threads[thread];
        created.capabilities = CapabilitySpace::Domain(id);
        created.handler = parent;
        let words = &mut created.registers.words;
        words[FAULT_PC] = domain.entry;
        words[NEXT_PC] = domain.entry;
        words[SP_EL0] = domain.stack_top;
        words[SPSR] = SPSR_DOMAIN;

        self.grant_standard(index, id, domain.passive, called)
    }

    /// Gives a domain the capabilities that every Microkit domain has. Its thread exists.
    fn grant_standard(
        &mut self,
        index: usize,
        id: DomainId,
        passive: bool,
        called: bool,
    ) -> Result<(), StartError> {
        let input = if called {
            Capability::Endpoint {
                domain: id,
                badge: 0,
            }
        } else {
            Capability::Notification {
                domain: id,
                badge: 0,
            }
        };
        let parent = match self.threads[ThreadId::of_domain(id)].handler {
            Handler::Domain { endpoint, badge } => Capability::Endpoint {
                domain: endpoint,
                badge,
            },
            Handler::Monitor => Capability::Monitor,
        };
        self.insert(index, slot::INPUT, input)?;
        self.insert(index, slot::FAULT_ENDPOINT, parent)?;
        self.insert(index, slot::ADDRESS_SPACE, Capability::AddressSpace)?;
        self.insert(index, slot::REPLY, Capability::Reply { domain: id })?;
        if passive {
            self.insert(index, slot::MONITOR, Capability::Monitor)?;
        }
        Ok(())
    }

    fn create_vcpu(
        &mut self,
        index: usize,
        vcpu: &VcpuDescription,
        owner: usize,
        ticks: impl Fn(u64) -> Ticks,
    ) -> Result<(), StartError> {
        let id = vcpu_id(index)?;
        let thread = ThreadId::of_vcpu(id);
        self.create_thread(
            thread,
            vcpu.priority,
            ticks(vcpu.budget),
            ticks(vcpu.period),
        );
        self.spaces[thread] = Some(Space::Vm(VmId::new(vcpu.vm).ok_or(StartError::Room)?));
        let created = &mut self.threads[thread];
        created.vcpu = Some(id);
        created.handler = Handler::Domain {
            endpoint: domain_id(owner)?,
            badge: FAULT_BADGE | u64::from(vcpu.id),
        };
        Ok(())
    }

    fn create_thread(&mut self, thread: ThreadId, priority: u8, budget: Ticks, period: Ticks) {
        let context = thread.own_budget();
        self.budgets[context].configure(budget, period, self.now);
        self.budgets[context].thread = Some(thread);
        self.threads[thread].budget = Some(context);
        self.threads[thread].priority = priority;
    }

    fn grant(&mut self, owner: usize, slot: u32, object: Object) -> Result<(), StartError> {
        let capability = match object {
            Object::Notification { domain, badge } => Capability::Notification {
                domain: domain_id(domain)?,
                badge,
            },
            Object::Endpoint { domain, badge } => Capability::Endpoint {
                domain: domain_id(domain)?,
                badge,
            },
            Object::Interrupt { intid, badge, .. } => {
                let missing = StartError::Slot {
                    domain: owner,
                    slot,
                };
                let bit = u8::try_from(badge.trailing_zeros()).map_err(|_| missing)?;
                if !self.interrupts.assign(intid, domain_id(owner)?, bit) {
                    return Err(missing);
                }
                Capability::Interrupt {
                    intid: u16::try_from(intid).map_err(|_| missing)?,
                }
            }
            Object::Child { domain } => Capability::Thread {
                thread: ThreadId::of_domain(domain_id(domain)?),
            },
            Object::VmThread { vcpu } => Capability::Thread {
                thread: ThreadId::of_vcpu(vcpu_id(vcpu)?),
            },
            Object::Vcpu { vcpu } => Capability::Vcpu {
                vcpu: vcpu_id(vcpu)?,
            },
        };
        self.insert(owner, slot, capability)
    }

    fn insert(
        &mut self,
        domain: usize,
        slot: u32,
        capability: Capability,
    ) -> Result<(), StartError> {
        if self
            .capabilities
            .insert(domain_id(domain)?, slot, capability)
        {
            Ok(())
        } else {
            Err(StartError::Slot { domain, slot })
        }
    }
}

/// Microseconds in ticks of a counter of `frequency` hertz.
fn ticks(microseconds: u64, frequency: u64) -> Ticks {
    microseconds.saturating_mul(frequency) / 1_000_000
}

/// Whether a domain receives more than signals, and so at an endpoint.
fn is_called(description: &Description<'_>, domain: usize) -> Result<bool, ImageError> {
    for other in description.domains() {
        if other?.parent.is_some_and(|parent| parent.domain == domain) {
            return Ok(true);
        }
    }
    for vm in description.vms() {
        if vm?.owner == domain {
            return Ok(true);
        }
    }
    for capability in description.capabilities() {
        if matches!(capability?.object, Object::Endpoint { domain: target, .. } if target == domain)
        {
            return Ok(true);
        }
    }
    Ok(false)
}

fn domain_id(index: usize) -> Result<DomainId, StartError> {
    DomainId::new(index).ok_or(StartError::Room)
}

fn vcpu_id(index: usize) -> Result<VcpuId, StartError> {
    VcpuId::new(index).ok_or(StartError::Room)
}
