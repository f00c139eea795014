use super::view::{OfferList, views};
use super::*;
use crate::fixture::market;

fn list(market: &Market) -> OfferList {
    let offers = views(market);
    OfferList {
        total: offers.len(),
        offers,
    }
}

#[test]
fn the_market_reads_well() {
    insta::assert_snapshot!("table", list(&market()).table(false));
    insta::assert_snapshot!("wide", list(&market()).table(true));
}

#[test]
fn the_json_form_is_a_promise() {
    insta::assert_snapshot!("json", serde_json::to_string_pretty(&list(&market())).unwrap());
}

#[test]
fn what_may_not_be_seen_is_a_question_mark() {
    let mut market = market();
    market.holdings = Knowledge::Unknown;
    let table = list(&market).table(false);
    assert!(table.contains("?/2"), "{table}");
}

#[test]
fn a_model_is_matched_whole() {
    assert!(is_model("l4", "NVIDIA-L4") && is_model("NVIDIA-L4", "NVIDIA-L4"));
    assert!(!is_model("l4", "NVIDIA-L40S") && !is_model("l4", "NVIDIA-L4-SHARED"));
}
