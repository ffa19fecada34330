//! What booted kernels said, line by line.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::fs;
use std::path::Path;

use slicewise_syscalls::Rules;
use slicewise_syscalls::script::{Call, Replay, Step, Who, parse_line};
use slicewise_syscalls::{Pointer, policy};

/// What differs, how many calls there were, how many of them asked for a reservation, and how many of
/// these found too little left.
fn replay(path: &Path) -> (Vec<String>, usize, usize, usize) {
    let name = path.file_stem().unwrap().to_string_lossy();
    let (kernel, cpus) = name.rsplit_once('-').unwrap();
    let mut replay = Replay::new(Rules::named(kernel).unwrap(), cpus.parse().unwrap());
    let (mut differences, mut steps) = (Vec::new(), 0);
    let (mut reservations, mut busy) = (0, 0);
    for (number, line) in fs::read_to_string(path).unwrap().lines().enumerate() {
        let Some((step, truth)) = parse_line(line).unwrap() else { continue };
        let got = replay.perform(&step);
        if tells_cfs_slice(&step, &replay) {
            continue;
        }
        steps += 1;
        if let Step::Call(_, Call::SetAttr(_, Pointer::To((attr, _)), _)) = &step {
            reservations += usize::from(attr.policy == policy::DEADLINE);
            busy += usize::from(truth.starts_with("EBUSY"));
        }
        if got != truth {
            let why = replay.refusal.as_ref().map_or(String::new(), ToString::to_string);
            differences.push(format!("{name}:{}: {line}\n    got {got} {why}", number + 1));
        }
    }
    (differences, steps, reservations, busy)
}

/// CFS slices depend on who else is queued at the moment: the scheduler tells them, not this library.
fn tells_cfs_slice(step: &Step, replay: &Replay) -> bool {
    let Step::Call(by, Call::RrInterval(Who::Own, Pointer::To(()))) = step else { return false };
    let task = replay.task(*by).unwrap();
    !replay.system.rules().slices && ![policy::FIFO, policy::RR].contains(&task.policy)
}

#[test]
fn every_call_ends_as_it_did_on_real_kernels() {
    let own = concat!(env!("CARGO_MANIFEST_DIR"), "/truth");
    // Other recordings can be held against the rules as well.
    let other = std::env::var("SLICEWISE_SYSCALLS_TRUTH");
    let (mut recordings, mut all) = (0, Vec::new());
    for entry in fs::read_dir(other.as_deref().unwrap_or(own)).unwrap() {
        let path = entry.unwrap().path();
        let (differences, steps, reservations, busy) = replay(&path);
        let enough = steps > 900 && reservations > 200 && busy > 10;
        assert!(enough || other.is_ok(), "{path:?}: {steps}, {reservations}, {busy}");
        all.extend(differences);
        recordings += 1;
    }
    assert!(all.is_empty(), "{} differ:\n{}", all.len(), all[..all.len().min(60)].join("\n"));
    assert!(recordings >= 9 || other.is_ok());
}
