use alloy_primitives::B256;
use proptest::prelude::*;

use super::*;

const NOON: u64 = 20_000 * DAY + DAY / 2;
const TODAY: Times = on(0);
const BOUNDS: Bounds = Bounds { leaves: 100, gas: None };

const fn on(days: u64) -> Times {
    let now = NOON + days * DAY;
    Times { now, until: now }
}

fn leaf(payer: u8, provider: u8, amount: u128) -> Leaf {
    Leaf {
        job: B256::repeat_byte(1),
        shard: 0,
        attempt: 0,
        kind: 0,
        payer: Address::repeat_byte(payer),
        provider: Address::repeat_byte(provider),
        amount,
        order: B256::ZERO,
        receipt: B256::ZERO,
    }
}

fn rich() -> PayerFacts {
    PayerFacts {
        deposit: 1_000,
        withdraw_requested: 0,
        cap_per_day: 1_000,
        spent_today: 0,
        expiry: NOON + 10 * DAY,
        block_time: NOON,
    }
}

fn allowance(facts: PayerFacts) -> Allowance {
    Allowance {
        facts: Knowledge::Known(facts),
        in_flight: 0,
    }
}

fn payers(facts: &[(u8, PayerFacts)]) -> BTreeMap<Address, Allowance> {
    facts
        .iter()
        .map(|(payer, facts)| (Address::repeat_byte(*payer), allowance(*facts)))
        .collect()
}

#[test]
fn each_fact_can_stand_against_a_leaf() {
    let refusal = |change: fn(&mut Allowance)| {
        let mut changed = allowance(rich());
        change(&mut changed);
        changed.check(100, TODAY).err()
    };
    let with = |change: fn(&mut PayerFacts)| {
        let mut facts = rich();
        change(&mut facts);
        allowance(facts).check(100, TODAY).err()
    };
    assert_eq!(refusal(|_| {}), None);
    assert_eq!(
        refusal(|payer| payer.facts = Knowledge::Unknown),
        Some(Refusal::Unknown)
    );
    assert_eq!(with(|facts| facts.expiry = 0), Some(Refusal::KeyMissing));
    assert_eq!(
        with(|facts| facts.expiry = NOON - 1),
        Some(Refusal::KeyExpires { expiry: NOON - 1 })
    );
    assert_eq!(with(|facts| facts.expiry = NOON), None);
    assert_eq!(with(|facts| facts.cap_per_day = 99), Some(Refusal::OverCap { cap: 99 }));
    assert_eq!(
        with(|facts| facts.spent_today = 901),
        Some(Refusal::CapReached { cap: 1_000 })
    );
    assert_eq!(with(|facts| facts.spent_today = 900), None);
    assert_eq!(
        with(|facts| facts.deposit = 99),
        Some(Refusal::DepositTooSmall { spendable: 99 })
    );
    assert_eq!(
        with(|facts| facts.withdraw_requested = 901),
        Some(Refusal::DepositTooSmall { spendable: 99 })
    );
    assert_eq!(
        refusal(|payer| payer.in_flight = 901),
        Some(Refusal::CapReached { cap: 1_000 })
    );
}

#[test]
fn a_new_day_has_its_whole_cap_but_for_what_is_in_flight() {
    let mut spent = allowance(PayerFacts {
        spent_today: 1_000,
        ..rich()
    });
    assert_eq!(spent.check(1, TODAY), Err(Refusal::CapReached { cap: 1_000 }));
    assert_eq!(spent.check(1_000, on(1)), Ok(()));
    spent.in_flight = 1;
    assert_eq!(spent.check(1_000, on(1)), Err(Refusal::CapReached { cap: 1_000 }));
}

#[test]
fn a_key_must_outlive_the_post_and_the_cap_is_that_of_today() {
    let before_midnight = Times {
        now: NOON + DAY / 2 - 60,
        until: NOON + DAY / 2 + 1_740,
    };
    let spent = PayerFacts {
        spent_today: 1_000,
        ..rich()
    };
    assert_eq!(
        allowance(spent).check(1, before_midnight),
        Err(Refusal::CapReached { cap: 1_000 })
    );
    let expiry = before_midnight.until - 1;
    let short = PayerFacts { expiry, ..rich() };
    assert_eq!(
        allowance(short).check(1, before_midnight),
        Err(Refusal::KeyExpires { expiry })
    );
}

#[test]
fn one_payer_in_trouble_holds_nobody_else() {
    let facts = [
        (1, PayerFacts { expiry: 0, ..rich() }),
        (2, rich()),
        (3, PayerFacts { deposit: 50, ..rich() }),
    ];
    let waiting = [
        leaf(1, 9, 10),
        leaf(2, 9, 20),
        leaf(3, 9, 60),
        leaf(4, 9, 5),
        leaf(3, 9, 40),
    ];
    let selection = select(&waiting, &payers(&facts), &BOUNDS, TODAY);
    assert_eq!((selection.taken, selection.amount), (vec![1, 4], 60));
    let held = |payer: u8| selection.held[&Address::repeat_byte(payer)];
    assert_eq!(held(1).refusal, Refusal::KeyMissing);
    assert_eq!(
        held(3),
        Held {
            leaves: 1,
            amount: 60,
            refusal: Refusal::DepositTooSmall { spendable: 50 }
        }
    );
    assert_eq!(held(4).refusal, Refusal::Unknown);
    assert_eq!(
        held(3).to_string(),
        "1 attempt(s) for 0.000060 USD wait: the deposit has 0.000050 USD to spend; deposit at least 0.000010 USD more"
    );
}

#[test]
fn a_days_cap_splits_what_waits() {
    let facts = [(
        2,
        PayerFacts {
            cap_per_day: 30,
            ..rich()
        },
    )];
    let waiting = [leaf(2, 9, 20), leaf(2, 9, 20), leaf(2, 9, 10)];
    let today = select(&waiting, &payers(&facts), &BOUNDS, TODAY);
    assert_eq!(today.taken, [0, 2]);
    assert_eq!(
        today.held[&Address::repeat_byte(2)].refusal,
        Refusal::CapReached { cap: 30 }
    );
}

#[test]
fn a_batch_that_books_accounts_fits_a_transaction() {
    let waiting: Vec<Leaf> = (0..200).map(|number| leaf(2, number, 1)).collect();
    let gas = Bounds {
        leaves: 1_000,
        gas: Some(GAS_OF_BATCH + GAS_PER_PAYER + 3 * GAS_PER_PROVIDER),
    };
    let selection = select(&waiting, &payers(&[(2, rich())]), &gas, TODAY);
    assert_eq!((selection.taken, selection.left), (vec![0, 1, 2], 197));
}

fn any_facts() -> impl Strategy<Value = PayerFacts> {
    (0u128..500, 0u128..100, 0u128..500, 0u128..300, 0u64..3).prop_map(
        |(deposit, withdraw_requested, cap_per_day, spent_today, expiry)| PayerFacts {
            deposit,
            withdraw_requested,
            cap_per_day,
            spent_today,
            expiry: expiry * NOON,
            block_time: NOON,
        },
    )
}

proptest! {
    /// The contract's own rule, applied to every batch that is chosen.
    #[test]
    fn whatever_is_taken_can_be_posted(
        facts in prop::collection::vec(any_facts(), 1..4),
        waiting in prop::collection::vec((1u8..6, 1u8..6, 1u128..200), 0..60),
        in_flight in 0u128..200,
        days in 0u64..2,
    ) {
        let mut allowances = payers(&[]);
        for (payer, facts) in (1..).zip(&facts) {
            allowances.insert(Address::repeat_byte(payer), Allowance { facts: Knowledge::Known(*facts), in_flight });
        }
        let waiting: Vec<Leaf> = waiting.into_iter().map(|(payer, provider, amount)| leaf(payer, provider, amount)).collect();
        let selection = select(&waiting, &allowances, &BOUNDS, on(days));
        for (payer, allowance) in &allowances {
            let debit: u128 = selection.taken.iter().map(|index| &waiting[*index])
                .filter(|leaf| leaf.payer == *payer).map(|leaf| leaf.amount).sum();
            let Knowledge::Known(facts) = allowance.facts else { continue };
            if debit > 0 {
                let spent = if days == 0 { facts.spent_today } else { 0 };
                prop_assert!(facts.expiry >= on(days).until);
                prop_assert!(spent + in_flight + debit <= facts.cap_per_day);
                prop_assert!(debit + in_flight + facts.withdraw_requested <= facts.deposit);
            }
        }
        let held: usize = selection.held.values().map(|held| held.leaves).sum();
        prop_assert_eq!(selection.taken.len() + held + selection.left, waiting.len(), "nothing is lost");
        let sum: u128 = selection.taken.iter().map(|index| waiting[*index].amount).sum();
        prop_assert_eq!(selection.amount, sum);
    }
}
