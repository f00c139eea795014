use serde_json::{Value, json};
use spillway_core::knowledge::Knowledge;
use spillway_crds::DataClass;
use spillway_crds::market::validate;

use super::*;
use crate::fixture::{job, market};

fn seen(cap: &str, change: impl FnOnce(&mut Seen)) -> Seen {
    let job = job(cap, &Value::Null);
    let terms = validate(&job.spec).unwrap();
    let inline = job.spec.input.inline.clone().unwrap();
    let (cut, _) = spillway_core::shard::split(inline.as_bytes(), terms.shards).unwrap();
    let mut seen = Seen {
        namespace: "team-a".to_owned(),
        manifest: Manifest {
            job,
            terms,
            least_data_class: DataClass::Public,
            cut: Some(cut),
            notes: Vec::new(),
        },
        market: market(),
        wallet: Knowledge::Known(Some(money::Allowance {
            spend_policy: "team-a".to_owned(),
            per_job_micro: 10_000_000,
            per_day_micro: 100_000_000,
            per_namespace_per_day_micro: Some(50_000_000),
            today_micro: Some(1_500_000),
            namespace_today_micro: Some(500_000),
        })),
        pace: None,
        shard_time: Some(Duration::from_secs(120)),
        asked_shards: None,
    };
    change(&mut seen);
    seen
}

#[test]
fn a_good_plan_reads_well() {
    let forecast = Forecast::of(&seen("1.20", |_| {}));
    assert_eq!(forecast.code(), Code::Success);
    insta::assert_snapshot!("good", text::render(&forecast));
    insta::assert_snapshot!("json", serde_json::to_string_pretty(&forecast).unwrap());
}

#[test]
fn what_is_not_known_is_said() {
    let forecast = Forecast::of(&seen("1.20", |seen| {
        seen.manifest.cut = None;
        seen.shard_time = None;
        seen.market.holdings = Knowledge::Unknown;
        seen.wallet = Knowledge::Unknown;
    }));
    assert_eq!(forecast.code(), Code::Success);
    insta::assert_snapshot!("unknown", text::render(&forecast));
}

#[test]
fn earlier_jobs_give_the_pace() {
    let forecast = Forecast::of(&seen("1.20", |seen| {
        seen.shard_time = None;
        seen.pace = Some(history::Pace {
            attempts: 8,
            micros_per_request: 6_000_000,
            starting_millis: 30_000,
        });
    }));
    let expected = forecast.estimate.unwrap().expected.unwrap();
    // 20 requests a shard: two minutes, as in the plan above, and half a minute around them.
    assert_eq!(
        expected.basis,
        "median of 8 accepted attempts with this engine: 6000 ms a request"
    );
    assert_eq!(expected.time_seconds % 150, 0);
}

#[test]
fn each_problem_has_its_exit_code() {
    type Change = fn(&mut Seen);
    let cases: [(&str, Change, Code, &str); 7] = [
        ("0.80", |_| {}, Code::NoOfferFits, "NoOfferFits"),
        ("1.00", |_| {}, Code::NoOfferFits, "NoSecondOwner"),
        (
            "1.20",
            |seen| seen.shard_time = Some(Duration::from_secs(36_000)),
            Code::OverBudget,
            "OverBudget",
        ),
        (
            "1.20",
            |seen| seen.wallet = Knowledge::Known(None),
            Code::OverBudget,
            "NoSpendPolicy",
        ),
        (
            "1.20",
            |seen| set(seen, |allowance| allowance.per_job_micro = 1),
            Code::OverBudget,
            "OverJobLimit",
        ),
        (
            "1.20",
            |seen| set(seen, |allowance| allowance.per_day_micro = 1_600_000),
            Code::OverBudget,
            "OverDailyLimit",
        ),
        (
            "1.20",
            |seen| set(seen, |allowance| allowance.per_namespace_per_day_micro = Some(600_000)),
            Code::OverBudget,
            "OverDailyLimit",
        ),
    ];
    for (cap, change, code, kind) in cases {
        let forecast = Forecast::of(&seen(cap, change));
        assert_eq!(forecast.code(), code, "{kind}");
        let kinds: Vec<String> = forecast
            .problems
            .iter()
            .map(|problem| format!("{:?}", problem.kind))
            .collect();
        assert_eq!(kinds, [kind]);
    }
    let unmet = Forecast::of(&seen("0.80", |_| {}));
    insta::assert_snapshot!("no_offer_fits", text::render(&unmet));
    assert_eq!(json!(unmet.placement.change.unwrap().fields)[0]["to"], "0.90");
}

fn set(seen: &mut Seen, change: impl FnOnce(&mut money::Allowance)) {
    if let Knowledge::Known(Some(allowance)) = &mut seen.wallet {
        change(allowance);
    }
}
