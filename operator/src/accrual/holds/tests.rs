use spillway_core::batch::select::Refusal;

use super::*;

const PAYER: Address = Address::repeat_byte(0xbb);

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn policy(payable: Option<Condition>) -> Policy {
    Policy {
        name: "p".to_owned(),
        payer: PAYER,
        order_signing_key: spillway_crds::OrderSigningKey {
            address: Address::repeat_byte(1).to_string(),
            secret_ref: "order-key".to_owned(),
        },
        chain: None,
        payable,
    }
}

fn held(leaves: usize) -> BTreeMap<Address, Held> {
    let held = Held {
        leaves,
        amount: 7_000_000,
        refusal: Refusal::DepositTooSmall { spendable: 2_000_000 },
    };
    [(PAYER, held)].into()
}

#[test]
fn a_condition_names_payer_amount_and_fix_and_is_written_once() {
    let mut told = conditions(&[policy(None)], &held(3), at(10));
    let condition = told.remove("p").unwrap();
    assert_eq!(
        (condition.status.as_str(), condition.reason.as_str()),
        ("False", "DepositTooSmall")
    );
    for part in [
        PAYER.to_string().as_str(),
        "7.000000 USD",
        "deposit at least 5.000000 USD more",
    ] {
        assert!(condition.message.contains(part), "{}", condition.message);
    }
    assert!(conditions(&[policy(Some(condition.clone()))], &held(3), at(20)).is_empty());

    let more = conditions(&[policy(Some(condition.clone()))], &held(4), at(20))
        .remove("p")
        .unwrap();
    assert_eq!(more.last_transition_time, condition.last_transition_time, "still False");
}

#[test]
fn of_a_payer_that_nobody_knows_and_waits_for_nothing_is_said() {
    assert!(conditions(&[policy(None)], &BTreeMap::new(), at(10)).is_empty());
}
