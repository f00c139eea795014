//! Who waits together advances together.

use super::*;

fn waiting(attempts: usize, ranking: &[usize]) -> Waiting<'_> {
    Waiting {
        attempts,
        gpus: 1,
        ranking,
    }
}

#[test]
fn alone_one_takes_the_best_there_is() {
    assert_eq!(shares(&[waiting(3, &[2, 0, 1])], vec![1, 1, 2]), [[2, 2, 0]]);
    assert_eq!(
        shares(&[waiting(9, &[1])], vec![5, 2]),
        [[1, 1]],
        "no more than there is"
    );
    assert_eq!(shares(&[], vec![1]), Vec::<Vec<usize>>::new());
}

#[test]
fn nobody_takes_all_that_two_like_best() {
    let ranking = [0, 1];
    let taken = shares(&[waiting(32, &ranking), waiting(32, &ranking)], vec![32, 32]);
    let best = |one: usize| taken[one].iter().filter(|position| **position == 0).count();
    assert_eq!((best(0), best(1)), (16, 16));
}

#[test]
fn who_wants_more_takes_more_and_gpus_count() {
    let ranking = [0, 1];
    let small = Waiting {
        gpus: 4,
        ..waiting(4, &ranking)
    };
    let taken = shares(&[waiting(16, &ranking), small], vec![16, 16]);
    let best = |one: usize| taken[one].iter().filter(|position| **position == 0).count();
    assert_eq!((best(0), best(1)), (8, 2));
    assert_eq!((taken[0].len(), taken[1].len()), (16, 4));
}

proptest! {
    #[test]
    fn no_gpu_is_taken_twice_and_none_is_left_that_is_wanted(
        room in vec(0_u32..4, 1..12),
        parties in vec((0_usize..40, 1_u32..4, any::<u64>()), 0..6),
    ) {
        let rankings: Vec<Vec<usize>> = parties
            .iter()
            .map(|(.., bits)| (0..room.len()).filter(|position| bits >> position & 1 == 1).collect())
            .collect();
        let waiting: Vec<Waiting<'_>> = parties
            .iter()
            .zip(&rankings)
            .map(|((attempts, gpus, _), ranking)| Waiting { attempts: *attempts, gpus: *gpus, ranking })
            .collect();
        let taken = shares(&waiting, room.clone());
        let mut left = room;
        for (who, taken) in waiting.iter().zip(&taken) {
            prop_assert!(taken.len() <= who.attempts);
            for position in taken {
                prop_assert!(who.ranking.contains(position));
                prop_assert!(left[*position] >= who.gpus);
                left[*position] -= who.gpus;
            }
        }
        for (who, taken) in waiting.iter().zip(&taken) {
            let could = who.ranking.iter().any(|position| left[*position] >= who.gpus);
            prop_assert!(taken.len() == who.attempts || !could);
        }
    }
}

#[test]
fn positions_are_those_of_the_ranking_whatever_is_free() {
    let mut offers: Vec<Offer> = ["c", "a", "b"].map(offer).into();
    offers[0].price = UnitPrice(1);
    offers[1].gpus_free = 0;
    let requirement = requirement();
    let positions = ranked_positions(&requirement, &Weights::of(Policy::Cost), &offers);
    assert_eq!(positions, [0, 1, 2], "cheapest first, then by name, busy ones too");
    offers[2].available = false;
    assert_eq!(
        ranked_positions(&requirement, &Weights::of(Policy::Cost), &offers),
        [0, 1]
    );
}
