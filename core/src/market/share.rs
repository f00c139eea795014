//! What each takes when several wait for the same GPUs.
//!
//! A job that places all its attempts at once takes every cheap GPU that it fits, also those that a job with narrower needs
//! depends on: the one that came first pays little, all together pay more. So everyone who waits is imagined to advance in
//! proportion, a sixteenth of its attempts at a time, those with most offers to choose from first; what the others would take
//! is kept for them while one is placed. Each picks by its own ranking. Nothing is solved for: every take can be followed by
//! hand, and with nobody else waiting a job is placed as if this did not exist.

use std::cmp::Reverse;

use crate::market::{Exclusion, Offer, Requirement, Weights, exclude, rank::best_first, score};

/// Rounds in which everyone takes a part.
const ROUNDS: usize = 16;

/// One of those who wait.
#[derive(Clone, Copy, Debug)]
pub struct Waiting<'a> {
    pub attempts: usize,
    /// GPUs of each attempt.
    pub gpus: u32,
    /// Positions of the offers that fit, best first.
    pub ranking: &'a [usize],
}

/// Positions that each of `waiting` takes from `room` (free GPUs by position), in the order taken; fewer than its attempts
/// when nothing is left that fits it.
pub fn shares(waiting: &[Waiting<'_>], mut room: Vec<u32>) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..waiting.len()).collect();
    order.sort_by_key(|one| Reverse(waiting.get(*one).map(|one| one.ranking.len())));
    let mut taken = vec![Vec::new(); waiting.len()];
    // Room only shrinks: who found an offer full never looks at it again.
    let mut left: Vec<&[usize]> = waiting.iter().map(|one| one.ranking).collect();
    for round in 1..=ROUNDS {
        for &one in &order {
            let (Some(who), Some(left), Some(taken)) = (waiting.get(one), left.get_mut(one), taken.get_mut(one)) else {
                continue;
            };
            let due = who.attempts * round / ROUNDS;
            while taken.len() < due {
                let Some(position) = take(&mut room, left, who.gpus) else {
                    break;
                };
                taken.push(position);
            }
        }
    }
    taken
}

fn take(room: &mut [u32], left: &mut &[usize], gpus: u32) -> Option<usize> {
    while let Some((position, rest)) = left.split_first() {
        match room.get_mut(*position) {
            Some(free) if *free >= gpus => {
                *free -= gpus;
                return Some(*position);
            }
            _ => *left = rest,
        }
    }
    None
}

/// Positions of the offers that fit once they are idle, in the order of [`crate::market::rank`].
pub fn ranked_positions(requirement: &Requirement, weights: &Weights, offers: &[Offer]) -> Vec<usize> {
    let fits = |offer: &Offer| matches!(exclude(requirement, offer), None | Some(Exclusion::NoFreeGpus));
    let fitting = offers.iter().enumerate().filter(|(_, offer)| fits(offer));
    let mut scored: Vec<_> = fitting
        .map(|(position, offer)| {
            let price = offer.effective_price(requirement.work_time);
            (
                position,
                (score(requirement, weights, offer), price, offer.node.as_str()),
            )
        })
        .collect();
    scored.sort_unstable_by(|(_, one), (_, other)| best_first(*one, *other));
    scored.into_iter().map(|(position, _)| position).collect()
}
