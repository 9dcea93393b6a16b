// SPDX-License-Identifier: BSD-2-Clause
//! Two processes count together through a pipe: each word is answered once, in order.
//!
//! Each side carries a sum over everything that was said. A word lost, repeated or altered makes the sums differ for
//! good, on both sides.

use std::io::{Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::Context as _;

use super::spawn;
use crate::ECHO_ARGUMENT;
use crate::worker::Worker;
use guest_runtime::pattern::mix;

/// After as many exchanges the pair rests, to leave time for others.
const ROUNDS_BETWEEN_RESTS: u64 = 32;
const REST: Duration = Duration::from_millis(2);

/// Everything said so far, in one number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Conversation {
    count: u64,
    sum: u64,
}

impl Conversation {
    /// Continues by one word, and returns it.
    const fn next(&mut self) -> u64 {
        self.count += 1;
        self.sum = mix(self.sum ^ self.count);
        self.sum
    }
}

/// Starts the other process and the thread that talks to it.
pub(super) fn start(worker: &'static Worker) -> anyhow::Result<()> {
    let mut child = Command::new(std::env::current_exe()?)
        .arg(ECHO_ARGUMENT)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start the other end of the pipe")?;
    let ends = child.stdin.take().zip(child.stdout.take());
    let (to, from) = ends.context("the other end has no pipe")?;
    spawn("pipe", move || talk(worker, child, to, from))
}

fn talk(worker: &Worker, mut child: Child, mut to: ChildStdin, mut from: ChildStdout) {
    let mut conversation = Conversation::default();
    loop {
        let said = conversation.next();
        let exchange = to
            .write_all(&said.to_le_bytes())
            .and_then(|()| read_word(&mut from));
        let expected = conversation.next();
        match exchange {
            Ok(answer) => worker.expect(answer == expected, || {
                format!(
                    "word {} is {answer:#x} instead of {expected:#x}",
                    conversation.count
                )
            }),
            Err(error) => {
                worker.expect(false, || {
                    format!("the pipe broke at word {}: {error}", conversation.count)
                });
                // Nobody to talk to: without further rounds the check counts as stalled.
                let _ = child.wait();
                return;
            }
        }
        worker.round();
        if conversation.count % (2 * ROUNDS_BETWEEN_RESTS) == 0 {
            std::thread::sleep(REST);
        }
    }
}

/// The other process: answers until the pipe closes; ends it when a word is not the expected one.
pub(crate) fn echo() -> ExitCode {
    answer(&mut std::io::stdin().lock(), &mut std::io::stdout().lock())
}

fn answer(from: &mut impl Read, to: &mut impl Write) -> ExitCode {
    let mut conversation = Conversation::default();
    while let Ok(heard) = read_word(from) {
        if heard != conversation.next() {
            return ExitCode::FAILURE;
        }
        let answer = conversation.next().to_le_bytes();
        if to.write_all(&answer).and_then(|()| to.flush()).is_err() {
            break;
        }
    }
    ExitCode::SUCCESS
}

fn read_word(from: &mut impl Read) -> std::io::Result<u64> {
    let mut bytes = [0; size_of::<u64>()];
    from.read_exact(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(skip: usize) -> Vec<u8> {
        let mut conversation = Conversation::default();
        let words: Vec<u64> = (0..6).map(|_| conversation.next()).collect();
        words
            .iter()
            .step_by(2)
            .skip(skip)
            .flat_map(|word| word.to_le_bytes())
            .collect()
    }

    #[test]
    fn every_word_is_answered_with_the_next() {
        let mut answers = Vec::new();
        assert_eq!(answer(&mut &said(0)[..], &mut answers), ExitCode::SUCCESS);
        assert_eq!(answers.len(), 3 * size_of::<u64>());
    }

    #[test]
    fn a_lost_word_ends_the_conversation() {
        let mut answers = Vec::new();
        assert_eq!(answer(&mut &said(1)[..], &mut answers), ExitCode::FAILURE);
        assert!(answers.is_empty());
    }
}
