use super::*;
use crate::vectors;

const JOB: &str = "0b2d7c1e-5f0c-4a3e-9d52-6a9a4f6b8c11";

struct Case {
    domain: Eip712Domain,
    signers: [Address; 1],
    order: Order,
    signature: Vec<u8>,
}

fn case() -> Case {
    let (signature, signer) = vectors::signed("orders", 0);
    Case {
        domain: vectors::vector_domain(),
        signers: [signer],
        order: vectors::order(0),
        signature,
    }
}

impl Case {
    /// The provider that the vector pays, one second before the order expires.
    fn acceptance(&self) -> Acceptance<'_> {
        Acceptance {
            domain: &self.domain,
            signers: &self.signers,
            payout: self.order.provider,
            price: UnitPrice(1_200_000),
            job_uid: JOB,
            shard: 17,
            attempt: 2,
            kind: Kind::Check,
            now: self.order.expiry - 1,
        }
    }

    fn refusal(&self, acceptance: &Acceptance<'_>) -> &'static str {
        check(&self.order, &self.signature, acceptance).unwrap_err().field
    }
}

#[test]
fn a_signed_order_at_our_price_is_accepted() {
    let case = case();
    assert_eq!(check(&case.order, &case.signature, &case.acceptance()), Ok(()));
}

#[test]
fn every_flaw_is_named_by_its_field() {
    let case = case();
    let fine = || case.acceptance();
    assert_eq!(
        case.refusal(&Acceptance {
            job_uid: "other",
            ..fine()
        }),
        "job"
    );
    assert_eq!(case.refusal(&Acceptance { shard: 16, ..fine() }), "attempt");
    assert_eq!(case.refusal(&Acceptance { attempt: 3, ..fine() }), "attempt");
    assert_eq!(
        case.refusal(&Acceptance {
            kind: Kind::Work,
            ..fine()
        }),
        "attempt"
    );
    assert_eq!(
        case.refusal(&Acceptance {
            payout: Address::ZERO,
            ..fine()
        }),
        "provider"
    );
    assert_eq!(
        case.refusal(&Acceptance {
            price: UnitPrice(1_200_001),
            ..fine()
        }),
        "unitPrice"
    );
    assert_eq!(
        case.refusal(&Acceptance {
            now: case.order.expiry,
            ..fine()
        }),
        "expiry"
    );
    assert_eq!(case.refusal(&Acceptance { signers: &[], ..fine() }), "signature");
    let elsewhere = domain(1, Address::ZERO);
    assert_eq!(
        case.refusal(&Acceptance {
            domain: &elsewhere,
            ..fine()
        }),
        "signature",
        "another chain and contract"
    );
}

#[test]
fn a_changed_order_has_another_signer() {
    let mut case = case();
    case.order.upperBound += 1;
    assert_eq!(case.refusal(&case.acceptance()), "signature");
}

#[test]
fn kinds_have_fixed_codes() {
    let kinds = [Kind::Work, Kind::Check, Kind::Arbitrate, Kind::Repair];
    for (code, kind) in (0..).zip(kinds) {
        assert_eq!((kind.code(), Kind::from_code(code)), (code, Some(kind)));
    }
    assert_eq!(Kind::from_code(4), None);
}
