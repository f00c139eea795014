use super::*;

fn line(shard: u32, attempt: u16, kind: Kind, amount: u64, payment: Option<Payment>) -> Line {
    Line {
        shard,
        attempt,
        kind,
        provider: "alpha".to_owned(),
        gpu_millis: 88_431,
        unit_price: UnitPrice(1_200_000),
        amount: MicroUsd(amount),
        settlement: payment,
        leaf: Some(B256::repeat_byte(0x11)),
    }
}

fn payment(sequence: u64, is_final: bool) -> Option<Payment> {
    let state = if is_final { "Final" } else { "Included" }.to_owned();
    Some(Payment {
        sequence,
        state,
        transaction: Some("0xabc".to_owned()),
        jobs_root: None,
        is_final,
    })
}

fn invoice() -> Invoice {
    let heading = Heading {
        namespace: "team-a".to_owned(),
        job: "embed".to_owned(),
        uid: "0b2d7c1e".to_owned(),
        payer: Some("0xa11ce".to_owned()),
    };
    let lines = vec![
        line(1, 0, Kind::Work, 29_477, None),
        line(0, 1, Kind::Check, 1_000, payment(4, false)),
        line(0, 0, Kind::Work, 29_477, payment(3, true)),
        line(1, 2, Kind::Arbitrate, 2_000, payment(3, true)),
        line(1, 3, Kind::Repair, 0, payment(3, true)),
    ];
    Invoice::new(heading, lines)
}

#[test]
fn work_and_checks_are_apart_and_add_up() {
    let invoice = invoice();
    assert_eq!(
        invoice
            .work
            .iter()
            .map(|line| (line.shard, line.attempt))
            .collect::<Vec<_>>(),
        [(0, 0), (1, 0), (1, 3)]
    );
    assert_eq!(invoice.checks.len(), 2);
    let expected = Totals {
        work: MicroUsd(58_954),
        checks: MicroUsd(3_000),
        total: MicroUsd(61_954),
        settled: MicroUsd(31_477),
    };
    assert_eq!(invoice.totals, expected);
    assert!(!invoice.is_settled());
}

#[test]
fn table_reads_well() {
    insta::assert_snapshot!(invoice().to_table());
}

#[test]
fn json_keeps_micro_units() {
    insta::assert_snapshot!(invoice().to_json().unwrap());
}
