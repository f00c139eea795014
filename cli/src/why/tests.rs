use serde_json::{Value, json};

use super::*;
use crate::fixture::{job, market};

fn condition(type_: &str, status: &str, reason: &str, message: &str) -> Value {
    json!({"type": type_, "status": status, "reason": reason, "message": message, "lastTransitionTime": "2026-01-01T00:00:00Z"})
}

fn status(placeable: &Value, attempts: &Value) -> Value {
    json!({
        "phase": "Pending", "payer": {"spendPolicy": "team-a", "address": "0xaa"},
        "summary": {"total": 3, "pending": 2, "running": 1, "verifying": 0, "accepted": 0, "failed": 0},
        "shards": [{"index": 0, "state": "Pending", "inputDigest": "", "inputBytes": 1, "requests": 20, "attempts": attempts}],
        "cost": {"reservedMicro": 366_668, "workMicro": 100_000, "checksMicro": 50_000},
        "placement": {"message": "1 of 3 offers fit: 1 over the price cap of 1.00 per GPU-hour, 1 not available now", "offers": 3, "fitting": 1},
        "conditions": [condition("Accepted", "True", "Accepted", ""), condition("Split", "True", "Split", ""), placeable],
    })
}

fn answer(cap: &str, placeable: &Value, attempts: &Value) -> Answer {
    let seen = Seen {
        job: job(cap, &status(placeable, attempts)),
        market: Some(market()),
        policy: None,
        least_data_class: Some(DataClass::Public),
    };
    Answer::of(&seen, None, "2026-01-01T00:03:12Z".parse().unwrap()).unwrap()
}

#[test]
fn nothing_fits() {
    let placeable = condition(
        "Placeable",
        "False",
        "NoOfferFits",
        "0 of 3 offers fit: 2 over the price cap",
    );
    let answer = answer("0.80", &placeable, &json!([]));
    insta::assert_snapshot!("no_offer_fits", text::render(&answer));
    insta::assert_snapshot!("no_offer_fits_json", serde_json::to_string_pretty(&answer).unwrap());
}

#[test]
fn all_that_fit_are_busy() {
    let placeable = condition(
        "Placeable",
        "True",
        "Queued",
        "1 offers fit, all of their GPUs are busy",
    );
    insta::assert_snapshot!("queued", text::render(&answer("1.00", &placeable, &json!([]))));
}

#[test]
fn the_budget_is_used_up() {
    let placeable = condition(
        "Placeable",
        "False",
        "BudgetExhausted",
        "spec.price.budget 5.00 does not cover the next attempt",
    );
    insta::assert_snapshot!("budget", text::render(&answer("1.00", &placeable, &json!([]))));
}

#[test]
fn placed_attempts_say_why_their_node_won() {
    let placeable = condition("Placeable", "True", "OffersFit", "");
    let attempts = json!([
        {"number": 0, "kind": "Work", "state": "Running", "provider": "a", "node": "spillway-a-host",
            "decision": "price 0.90, latency unknown, reputation 0.76, score 0.36, best of 2"},
        {"number": 1, "kind": "Check", "state": "Expected", "candidates": ["spillway-b-host"]},
    ]);
    insta::assert_snapshot!("placed", text::render(&answer("1.20", &placeable, &attempts)));
}

#[test]
fn the_first_thing_in_the_way_is_named() {
    let state = |status: Value| {
        let seen = Seen {
            job: job("1.20", &status),
            market: None,
            policy: None,
            least_data_class: None,
        };
        let answer = Answer::of(&seen, None, "2026-01-01T00:00:00Z".parse().unwrap()).unwrap();
        (format!("{:?}", answer.state), answer.message)
    };
    assert_eq!(state(Value::Null).0, "NotSeen");
    let refused = condition("Accepted", "False", "NoSpendPolicy", "nobody pays");
    assert_eq!(
        state(json!({"conditions": [refused]})),
        ("NotAccepted".to_owned(), "nobody pays".to_owned())
    );
    let accepted = condition("Accepted", "True", "Accepted", "");
    let splitting = condition("Split", "False", "Splitting", "the splitter reads the input");
    assert_eq!(state(json!({"conditions": [accepted, splitting]})).0, "Splitting");
    let failed = condition("Failed", "True", "DeadlineExceeded", "not complete within 1h");
    assert_eq!(
        state(json!({"conditions": [accepted, failed]})),
        ("Failed".to_owned(), "not complete within 1h".to_owned())
    );
}
