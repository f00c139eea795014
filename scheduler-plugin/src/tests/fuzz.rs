//! Bytes that resemble a request, torn and patched at random: always an answer, of a size that the body bounds.
//!
//! `PROPTEST_CASES=1000000 cargo test -p spillway-scheduler-plugin fuzz` looks longer than CI does.

use std::collections::HashSet;

use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde::Deserialize;
use serde_json::Value;

use super::objects::{request, snapshot};
use crate::server::{Verb, reply};
use crate::snapshot::Snapshot;

/// What a parser may stumble over.
const PIECES: [&str; 26] = [
    "{",
    "}",
    "[",
    "]",
    "\"",
    ":",
    ",",
    "null",
    "true",
    "NaN",
    "Infinity",
    "-0",
    "1e999",
    "1e-999",
    "\\u0000",
    "\\ud800",
    "\\",
    "\"NodeNames\":",
    "\"Pod\":",
    "\"metadata\":",
    "\"labels\":",
    "spillway.dev/shard",
    "4294967296",
    "-1",
    "\u{feff}",
    "\u{1f980}",
];

/// One change of a body.
#[derive(Clone, Debug)]
enum Tear {
    Flip(Index, u8),
    Cut(Index, Index),
    Insert(Index, &'static str, usize),
    Repeat(Index, Index, usize),
}

fn any_tear() -> impl Strategy<Value = Tear> {
    prop_oneof![
        (any::<Index>(), any::<u8>()).prop_map(|(place, bits)| Tear::Flip(place, bits)),
        (any::<Index>(), any::<Index>()).prop_map(|(from, to)| Tear::Cut(from, to)),
        (any::<Index>(), select(PIECES.to_vec()), 1..200_usize)
            .prop_map(|(place, piece, times)| Tear::Insert(place, piece, times)),
        (any::<Index>(), any::<Index>(), 1..8_usize).prop_map(|(from, to, times)| Tear::Repeat(from, to, times)),
    ]
}

fn torn(mut body: Vec<u8>, tears: Vec<Tear>) -> Vec<u8> {
    for tear in tears {
        if body.is_empty() {
            return body;
        }
        let place = |index: Index| index.index(body.len());
        match tear {
            Tear::Flip(at, bits) => {
                let at = place(at);
                body[at] ^= bits;
            }
            Tear::Cut(from, to) => {
                let (from, to) = (place(from), place(to));
                drop(body.drain(from.min(to)..from.max(to)));
            }
            Tear::Insert(at, piece, times) => {
                let at = place(at);
                body.splice(at..at, piece.repeat(times).into_bytes());
            }
            Tear::Repeat(from, to, times) => {
                let (from, to) = (place(from), place(to));
                let part = body[from.min(to)..from.max(to)].repeat(times);
                let at = from.min(to);
                body.splice(at..at, part);
            }
        }
    }
    body
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Named {
    #[serde(default)]
    node_names: Vec<String>,
}

/// What is not read may be anything, bytes that are no text included.
fn names_in(body: &[u8]) -> HashSet<String> {
    let named: Named = serde_json::from_str(&String::from_utf8_lossy(body)).unwrap_or_default();
    named.node_names.into_iter().collect()
}

/// kube-scheduler takes an answer that names other nodes for an error, and adds up repeated scores.
fn check(verb: Verb, body: &[u8], snapshot: &Snapshot) -> Result<(), TestCaseError> {
    let answer = match reply(verb, body, Some(snapshot)) {
        Ok(answer) => answer,
        Err((status, sentence)) => {
            prop_assert!(status.is_client_error() || status == 503, "{status}");
            prop_assert!(!sentence.is_empty() && sentence.len() <= body.len() + 300, "{sentence}");
            return Ok(());
        }
    };
    let asked = names_in(body);
    // A control character of a name takes six bytes in JSON.
    prop_assert!(
        answer.len() <= 6 * body.len() + 200 * (asked.len() + 1),
        "{} of {}",
        answer.len(),
        body.len()
    );
    let answer: Value = serde_json::from_slice(&answer).map_err(|error| TestCaseError::fail(error.to_string()))?;
    let hosts: Vec<&str> = match verb {
        Verb::Filter => answer["NodeNames"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect(),
        Verb::Prioritize => answer
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|one| one["Host"].as_str())
            .collect(),
    };
    let distinct: HashSet<&str> = hosts.iter().copied().collect();
    prop_assert_eq!(distinct.len(), hosts.len());
    prop_assert!(hosts.iter().all(|host| asked.contains(*host)));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.max(1_000), ..ProptestConfig::default() })]

    #[test]
    fn a_torn_request_gets_an_answer(
        kind in select(vec!["work", "check", "repair"]), attempt in 0..3_u16,
        names in proptest::collection::vec("spillway-(far|near|dear)-h[1-3]|\\PC{0,6}", 0..12),
        tears in proptest::collection::vec(any_tear(), 0..6),
    ) {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let body = torn(request(kind, attempt, &names).to_string().into_bytes(), tears);
        let snapshot = snapshot();
        check(Verb::Filter, &body, &snapshot)?;
        check(Verb::Prioritize, &body, &snapshot)?;
    }

    #[test]
    fn any_bytes_get_an_answer(body in proptest::collection::vec(any::<u8>(), 0..256)) {
        check(Verb::Filter, &body, &snapshot())?;
    }
}
