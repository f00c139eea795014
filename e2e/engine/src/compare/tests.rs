use serde_json::json;

use super::*;

fn golden() -> Golden {
    let rows = bytes(&[1.0, 0.0, 0.0, 1.0]);
    Golden::from_bytes(&index(&rows, &["a", "b"], 2), &rows).unwrap()
}

fn index(rows: &[u8], custom_ids: &[&str], dimensions: usize) -> Vec<u8> {
    let sum = hex::encode(Sha256::digest(rows));
    json!({"custom_ids": custom_ids, "dimensions": dimensions, "vectors_sha256": sum})
        .to_string()
        .into_bytes()
}

fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn result(custom_id: &str, vector: &[f32]) -> BatchResult {
    BatchResult {
        custom_id: custom_id.into(),
        vector: vector.to_vec(),
    }
}

fn line(embedding: Value) -> Value {
    let body = json!({"object": "list", "data": [{"object": "embedding", "index": 0, "embedding": embedding}]});
    json!({
        "id": "batch_req_1",
        "custom_id": "a",
        "response": {"status_code": 200, "request_id": "r", "body": body},
        "error": null,
    })
}

fn parse(line: &Value) -> Result<BatchResult, CompareError> {
    parse_line("out.jsonl:1", line.to_string().as_bytes())
}

#[test]
fn the_worst_vector_decides() {
    let report = golden()
        .compare(&[result("b", &[0.0, 2.0]), result("a", &[1.0, 1.0])])
        .unwrap();
    assert_eq!((report.vectors, report.worst.as_str()), (2, "a"));
    assert!((report.min_cosine - std::f64::consts::FRAC_1_SQRT_2).abs() < 1e-12);
    assert_eq!(report.to_string(), "vectors=2 min_cosine=0.707106");
}

#[test]
fn perfect_agreement_is_one_and_almost_perfect_is_not() {
    let report = golden()
        .compare(&[result("a", &[3.0, 0.0]), result("b", &[0.0, 1.0])])
        .unwrap();
    assert_eq!(report.to_string(), "vectors=2 min_cosine=1.000000");
    let almost = Report {
        min_cosine: 0.999_999_9,
        ..report
    };
    assert_eq!(almost.to_string(), "vectors=2 min_cosine=0.999999");
}

#[test]
fn each_text_must_have_exactly_one_result() {
    let (a, b) = (result("a", &[1.0, 0.0]), result("b", &[0.0, 1.0]));
    let judge = |results: &[&BatchResult]| {
        let results: Vec<BatchResult> = results.iter().map(|result| (*result).clone()).collect();
        golden().compare(&results).unwrap_err()
    };
    assert!(matches!(judge(&[&a]), CompareError::Missing { count: 1, first } if first == "b"));
    assert!(matches!(judge(&[&a, &b, &a]), CompareError::Duplicate { custom_id, count: 2 } if custom_id == "a"));
    assert!(matches!(judge(&[&a, &b, &result("c", &[1.0, 0.0])]), CompareError::Unknown(id) if id == "c"));
}

#[test]
fn vectors_that_cannot_be_compared_are_refused() {
    let b = result("b", &[0.0, 1.0]);
    let judge = |a: &[f32]| golden().compare(&[result("a", a), b.clone()]).unwrap_err();
    assert!(matches!(
        judge(&[1.0]),
        CompareError::Dimensions {
            found: 1,
            golden: 2,
            ..
        }
    ));
    assert!(matches!(judge(&[0.0, 0.0]), CompareError::NoDirection(_)));
    assert!(matches!(judge(&[f32::NAN, 0.0]), CompareError::NoDirection(_)));
}

#[test]
fn both_encodings_read_alike() {
    let numbers = parse(&line(json!([0.5, -1.0]))).unwrap();
    let base64 = parse(&line(json!(STANDARD.encode(bytes(&[0.5, -1.0]))))).unwrap();
    assert_eq!(numbers, result("a", &[0.5, -1.0]));
    assert_eq!(numbers, base64);
}

#[test]
fn failed_requests_say_where_and_why() {
    let mut refused = line(json!([1.0]));
    refused["response"]["status_code"] = json!(429);
    let mut failed = line(json!([1.0]));
    failed["error"] = json!({"code": "batch_expired", "message": "late"});
    let mut silent = line(json!([1.0]));
    silent["response"] = Value::Null;
    for (case, reason) in [
        (refused, "429"),
        (failed, "batch_expired"),
        (silent, "no response"),
        (line(json!("?")), "base64"),
    ] {
        let error = parse(&case).unwrap_err().to_string();
        assert!(
            error.starts_with("out.jsonl:1: a: ") && error.contains(reason),
            "{error}"
        );
    }
}

#[test]
fn several_files_and_blank_lines_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.jsonl");
    std::fs::write(
        &path,
        format!("{}\n\n{}\n", line(json!([1.0, 0.0])), line(json!([0.0, 1.0]))),
    )
    .unwrap();
    assert_eq!(read_results(&path).unwrap().len(), 2);
    std::fs::write(&path, format!("{}\n{{\n", line(json!([1.0])))).unwrap();
    assert!(read_results(&path).unwrap_err().to_string().contains("out.jsonl:2"));
}

#[test]
fn golden_files_that_do_not_belong_together_are_refused() {
    let rows = bytes(&[1.0, 0.0, 0.0, 1.0]);
    let other = bytes(&[1.0, 0.0, 1.0, 0.0]);
    assert!(Golden::from_bytes(&index(&rows, &["a", "b"], 2), &other).is_err());
    assert!(Golden::from_bytes(&index(&rows, &["a", "b", "c"], 2), &rows).is_err());
    assert!(Golden::from_bytes(&index(&rows[..7], &["a"], 2), &rows[..7]).is_err());
    assert!(Golden::from_bytes(b"{}", &rows).is_err());
}
