// SPDX-License-Identifier: BSD-2-Clause
//! A domain that reaches for what is not its own is stopped, named, and harms nobody else.
//!
//! For each attack two boards. On one, `link-pd` and `migration-pd` attack while a guest runs, which must continue to its
//! own good end. On the other, all domains that a guest depends on attack, one after the other, while a witness in the
//! place of `migration-pd` answers over the link.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use godwit::session::Scratch;
use image::{Config, ImageRequest, Kernel};
use protocol::management::Phase;
use tests::ANSWER;
use tests::board::{Board, move_guest};
use tests::guests::{self, TestGuest};
use tests::hostile::{self, Attack, Because, Orders, Target};

use crate::on_both_kernels;

/// How long to wait before a byte is typed again.
const LOOK: Duration = Duration::from_millis(300);

on_both_kernels! {
    fn a_domain_cannot_read_a_peer_domains_region(kernel) {
        every_domain(kernel, &Plan {
            name: "read",
            attack: Attack::Read,
            because: Because::NotMapped,
            target: |domain| domain.peer_domains_region(0),
        })
    }

    fn a_domain_cannot_write_a_peer_domains_region(kernel) {
        every_domain(kernel, &Plan {
            name: "write",
            attack: Attack::Write,
            because: Because::NotMapped,
            target: |domain| domain.peer_domains_region(1),
        })
    }

    fn a_domain_cannot_reach_a_device_that_is_not_its_own(kernel) {
        every_domain(kernel, &Plan {
            name: "device",
            attack: Attack::Write,
            because: Because::NotMapped,
            target: |domain| domain.device(0),
        })
    }

    fn a_domain_cannot_reach_pages_that_nobody_has(kernel) {
        every_domain(kernel, &Plan {
            name: "unmapped",
            attack: Attack::Read,
            because: Because::NotMapped,
            target: |_| Ok(8),
        })
    }

    fn a_domain_cannot_reach_beyond_user_addresses(kernel) {
        every_domain(kernel, &Plan {
            name: "beyond",
            attack: Attack::Write,
            because: Because::NoAddress,
            target: |_| Ok(1 << 40),
        })
    }

    fn a_domain_cannot_grow_its_stack(kernel) {
        every_domain(kernel, &Plan {
            name: "stack",
            attack: Attack::Write,
            because: Because::NotMapped,
            target: |domain| Ok(domain.below_stack()),
        })
    }

    fn a_domain_cannot_write_its_read_only_region(kernel) {
        every_domain(kernel, &Plan {
            name: "read-only",
            attack: Attack::Write,
            because: Because::NotPermitted,
            target: Target::read_only_region,
        })
    }

    fn a_domain_cannot_write_its_code(kernel) {
        every_domain(kernel, &Plan {
            name: "code",
            attack: Attack::Write,
            because: Because::NotPermitted,
            target: |domain| Ok(domain.code()),
        })
    }

    fn a_domain_cannot_execute_its_data(kernel) {
        every_domain(kernel, &Plan {
            name: "execute",
            attack: Attack::Execute,
            because: Because::NotPermitted,
            target: Target::writable_region,
        })
    }

    fn a_domain_gets_nothing_from_any_slot_without_a_capability(kernel) {
        every_domain(kernel, &Plan {
            name: "slots",
            attack: Attack::Capabilities,
            because: Because::NotMapped,
            target: |domain| Ok(domain.confession()),
        })
    }

    fn a_domain_cannot_name_a_capability_beyond_its_slots(kernel) {
        every_domain(kernel, &Plan {
            name: "capability",
            attack: Attack::Call,
            because: Because::Unsaid,
            target: |_| Ok(1 << 20),
        })
    }

    fn a_domain_cannot_receive_from_a_slot_without_a_capability(kernel) {
        every_domain(kernel, &Plan {
            name: "receive",
            attack: Attack::Receive,
            because: Because::Unsaid,
            target: |_| Ok(500),
        })
    }

    fn a_domain_cannot_make_system_calls_that_do_not_exist(kernel) {
        every_domain(kernel, &Plan {
            name: "system-call",
            attack: Attack::SystemCall,
            because: Because::Unsaid,
            target: |_| Ok(4711),
        })
    }

    fn a_domain_cannot_read_system_registers(kernel) {
        every_domain(kernel, &Plan {
            name: "register",
            attack: Attack::SystemRegister,
            because: Because::Unsaid,
            target: |_| Ok(0),
        })
    }

    fn a_domain_cannot_read_floating_point_registers(kernel) {
        every_domain(kernel, &Plan {
            name: "floating-point",
            attack: Attack::FloatingPoint,
            because: Because::Unsaid,
            target: |_| Ok(0),
        })
    }

    fn a_guest_continues_beside_hostile_domains_on_a_kernel_that_prints_nothing(kernel) {
        let hostile = [
            ("link_pd", WRITE.orders("link_pd", true)?),
            ("migration_pd", WRITE.orders("migration_pd", false)?),
        ];
        let guest = TestGuest::probe("mode=registers mmu=1", 2);
        let image = hostile::image("release", kernel, Config::Release, &guest, &hostile)?;
        let scratch = Scratch::new()?;
        let mut board = Board::start("release", &image, &scratch)?;
        board.expect_probe_round(10)?;
        board.session.send(b"q")?;
        board.expect_probe_done()
    }

    fn a_guest_continues_without_its_console_and_can_leave_the_board(kernel) {
        let orders = Orders { attack: Attack::Nonsense, ..WRITE.orders("serial_pd", false)? };
        let hostile = [("serial_pd", orders)];
        let guest = TestGuest::probe("mode=registers mmu=1", 2);
        let image = hostile::image("console", kernel, Config::Debug, &guest, &hostile)?;
        let scratch = Scratch::new()?;
        let mut board = Board::start("unusable", &image, &scratch)?;
        board.wait_for_phase(Phase::Running)?;
        board.session.send(b"x")?;
        is_reported(kernel, &board, "serial_pd", &orders, WRITE.because)?;
        // seL4's debug configuration leaves a guest its debug registers, so that it goes to another of that kind only.
        let empty = guests::build(&ImageRequest {
            name: format!("test-{kernel}-debug-empty"),
            kernel,
            config: Config::Debug,
            ram_mib: guest.ram_mib(),
            ..ImageRequest::default()
        })?;
        let mut healthy = Board::start("healthy", &empty, &scratch)?;
        move_guest(&mut board, &mut healthy)?;
        let round = healthy.expect_probe_round(0)?;
        healthy.expect_probe_round(round + 10)?;
        healthy.session.send(b"q")?;
        healthy.expect_probe_done()
    }

    fn the_others_continue_without_vmm_pd(kernel) {
        without(kernel, "vmm_pd", &[(b't', "timer"), (b'g', "vgic")])
    }

    fn the_others_continue_without_vgic_pd(kernel) {
        without(kernel, "vgic_pd", &[(b't', "timer")])
    }

    fn the_others_continue_without_timer_pd(kernel) {
        without(kernel, "timer_pd", &[(b'g', "vgic")])
    }
}

/// An attack, and why it must fail.
struct Plan {
    name: &'static str,
    attack: Attack,
    because: Because,
    /// What to attack, for a domain.
    target: fn(&Target) -> anyhow::Result<u64>,
}

/// The attack of the tests that are about something else.
const WRITE: Plan = Plan {
    name: "write",
    attack: Attack::Write,
    because: Because::NotMapped,
    target: |domain| domain.peer_domains_region(2),
};

impl Plan {
    fn orders(&self, domain: &str, at_start: bool) -> anyhow::Result<Orders> {
        Ok(Orders {
            attack: self.attack,
            argument: (self.target)(&Target::new(domain)?)?,
            at_start,
        })
    }
}

fn every_domain(kernel: Kernel, plan: &Plan) -> anyhow::Result<()> {
    bystanders(kernel, plan)?;
    core(kernel, plan)
}

/// The domains that a guest does not need attack, and the guest continues.
fn bystanders(kernel: Kernel, plan: &Plan) -> anyhow::Result<()> {
    let scratch = Scratch::new()?;
    let hostile = [
        // Its device stays silent, so it has to begin by itself.
        ("link_pd", plan.orders("link_pd", true)?),
        ("migration_pd", plan.orders("migration_pd", false)?),
    ];
    let guest = TestGuest::probe("mode=registers mmu=1", 2);
    let name = format!("{}-1", plan.name);
    let image = hostile::image(&name, kernel, Config::Debug, &guest, &hostile)?;
    let mut board = Board::start("bystanders", &image, &scratch)?;
    for (domain, orders) in &hostile {
        is_reported(kernel, &board, domain, orders, plan.because)?;
    }
    let round = board.expect_probe_round(0)?;
    board.expect_probe_round(round + 1)?;
    Ok(())
}

/// The domains that a guest needs attack, and the kernel and the others continue.
fn core(kernel: Kernel, plan: &Plan) -> anyhow::Result<()> {
    let scratch = Scratch::new()?;
    let hostile = [
        ("vgic_pd", plan.orders("vgic_pd", true)?),
        ("serial_pd", plan.orders("serial_pd", false)?),
        ("vmm_pd", plan.orders("vmm_pd", false)?),
        ("timer_pd", plan.orders("timer_pd", false)?),
    ];
    let mut replaced = hostile.to_vec();
    replaced.push(("migration_pd", Orders::WITNESS));
    let guest = TestGuest::probe("mode=registers mmu=1", 2);
    let name = format!("{}-2", plan.name);
    let image = hostile::image(&name, kernel, Config::Debug, &guest, &replaced)?;
    let mut board = Board::start("core", &image, &scratch)?;
    let mut witness = Witness::new(&board)?;
    witness.answers(b'w', "witness")?;
    // What is typed reaches serial-pd, which passes it on to vmm-pd.
    type_until_reported(kernel, &mut board, "serial_pd", &hostile[1].1)?;
    for (domain, orders) in &hostile[..3] {
        is_reported(kernel, &board, domain, orders, plan.because)?;
    }
    witness.answers(b'w', "witness")?;
    // A call of the witness reaches timer-pd; it will not be answered.
    witness.ask(b't')?;
    let (domain, orders) = &hostile[3];
    is_reported(kernel, &board, domain, orders, plan.because)?;
    board.session.check()?;
    Ok(())
}

/// One of the domains that a guest needs attacks, and all others answer: `serial-pd` and `migration-pd`, which are
/// witnesses, `link-pd` by what goes over it, and those that can be called.
fn without(kernel: Kernel, domain: &str, others: &[(u8, &str)]) -> anyhow::Result<()> {
    let scratch = Scratch::new()?;
    let orders = WRITE.orders(domain, false)?;
    let hostile = [
        (domain, orders),
        ("serial_pd", Orders::WITNESS),
        ("migration_pd", Orders::WITNESS),
    ];
    let guest = TestGuest::probe("mode=registers mmu=1", 2);
    let image = hostile::image(domain, kernel, Config::Debug, &guest, &hostile)?;
    let mut board = Board::start("without", &image, &scratch)?;
    let mut witness = Witness::new(&board)?;
    witness.answers(b'w', "witness")?;
    type_until_reported(kernel, &mut board, domain, &orders)?;
    is_reported(kernel, &board, domain, &orders, WRITE.because)?;
    for (question, answer) in others {
        witness.answers(*question, answer)?;
    }
    serial_pd_answers(&mut board)
}

/// Types until `serial-pd`'s witness answers.
pub(crate) fn serial_pd_answers(board: &mut Board) -> anyhow::Result<()> {
    let deadline = Instant::now() + ANSWER;
    while board.session.expect("witness", LOOK).is_err() {
        ensure!(Instant::now() < deadline, "serial-pd does not answer");
        board.session.send(b"x")?;
    }
    Ok(())
}

/// Types until the kernel names the domain. What is typed before serial-pd has set up its UART, for which it may need
/// more than one period of its budget, nobody reads.
fn type_until_reported(
    kernel: Kernel,
    board: &mut Board,
    domain: &str,
    orders: &Orders,
) -> anyhow::Result<()> {
    let (name, _) = hostile::report(kernel, domain, orders, Because::Unsaid);
    let deadline = Instant::now() + ANSWER;
    loop {
        board.session.send(b"x")?;
        if board.session.transcript().wait_for(0, &name, LOOK).is_ok() {
            return Ok(());
        }
        ensure!(
            Instant::now() < deadline,
            "{domain} was not stopped for {orders:x?}"
        );
    }
}

/// The kernel names the domain and what it did.
fn is_reported(
    kernel: Kernel,
    board: &Board,
    domain: &str,
    orders: &Orders,
    because: Because,
) -> anyhow::Result<()> {
    is_reported_since(0, kernel, board, domain, orders, because)
}

/// As [`is_reported`], later than a position of the transcript.
pub(crate) fn is_reported_since(
    since: usize,
    kernel: Kernel,
    board: &Board,
    domain: &str,
    orders: &Orders,
    because: Because,
) -> anyhow::Result<()> {
    let transcript = board.session.transcript();
    let (name, causes) = hostile::report(kernel, domain, orders, because);
    let named = transcript.wait_for(since, &name, ANSWER);
    let named = named.map_err(|_| anyhow::anyhow!("{domain} was not stopped for {orders:x?}"))?;
    let mut last = named.end;
    for cause in causes {
        let found = transcript.wait_for(named.end, &cause, ANSWER);
        let found = found.map_err(|_| {
            anyhow::anyhow!(
                "{domain} was stopped for something else than {orders:x?}: nobody says {cause:?}"
            )
        })?;
        last = last.max(found.end);
    }
    let report = transcript.text(named.end, last);
    ensure!(
        hostile::report_end(kernel, &report).is_none(),
        "{domain} was stopped for something else than {orders:x?}: {report}"
    );
    Ok(())
}

/// The domain in the place of `migration-pd`, as heard over the link.
struct Witness(UnixStream);

impl Witness {
    fn new(board: &Board) -> anyhow::Result<Self> {
        let link = UnixStream::connect(board.link_path()?)?;
        link.set_read_timeout(Some(ANSWER))?;
        Ok(Self(link))
    }

    fn ask(&mut self, question: u8) -> anyhow::Result<()> {
        Ok(self.0.write_all(&[question])?)
    }

    fn answers(&mut self, question: u8, wanted: &str) -> anyhow::Result<()> {
        self.ask(question)?;
        let mut answer = vec![0; wanted.len() + 1];
        self.0
            .read_exact(&mut answer)
            .with_context(|| format!("the witness does not answer {wanted}"))?;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        ensure!(answer.trim_end() == wanted, "the witness says {answer:?}");
        Ok(())
    }
}
