use proptest::prelude::*;
use serde_json::json;

use super::*;

fn served() -> Served {
    Served {
        model: "all-MiniLM-L6-v2".into(),
        dimensions: 384,
    }
}

fn parse(body: Value) -> Result<EmbeddingsRequest, ApiError> {
    served().parse(body.to_string().as_bytes())
}

/// The error of a request that differs from a good one in `field` alone.
fn error_with(field: &str, value: Value) -> ApiError {
    let mut body = json!({"model": "all-MiniLM-L6-v2", "input": "a text"});
    body[field] = value;
    parse(body).expect_err(field)
}

#[test]
fn one_string_is_one_text() {
    let request = parse(json!({"model": "all-MiniLM-L6-v2", "input": "Great."})).unwrap();
    assert_eq!(
        request,
        EmbeddingsRequest {
            texts: vec!["Great.".into()],
            encoding: Encoding::Float
        }
    );
}

#[test]
fn an_array_keeps_its_order_and_base64_is_understood() {
    let body = json!({"model": "all-MiniLM-L6-v2", "input": ["b", "a"], "encoding_format": "base64", "user": "x"});
    let request = parse(body).unwrap();
    assert_eq!(
        request,
        EmbeddingsRequest {
            texts: vec!["b".into(), "a".into()],
            encoding: Encoding::Base64
        }
    );
}

#[test]
fn the_size_that_the_model_has_may_be_asked_for() {
    assert!(parse(json!({"model": "all-MiniLM-L6-v2", "input": "a", "dimensions": 384})).is_ok());
}

#[test]
fn each_bad_field_is_named() {
    let too_many = vec!["a"; INPUTS_MAX + 1];
    let cases = [
        ("input", Value::Null),
        ("input", json!([])),
        ("input", json!("")),
        ("input", json!(["fine", ""])),
        ("input", json!(["fine", null])),
        ("input", json!([1, 2, 3])),
        ("input", json!([[1, 2, 3]])),
        ("input", json!({"text": "a"})),
        ("input", json!(too_many)),
        ("model", json!(7)),
        ("encoding_format", json!("hex")),
        ("encoding_format", json!(1)),
        ("dimensions", json!(256)),
        ("dimensions", json!("384")),
    ];
    for (field, value) in cases {
        let error = error_with(field, value.clone());
        assert_eq!(
            (error.status(), error.param()),
            (StatusCode::BAD_REQUEST, Some(field)),
            "{field} = {value}"
        );
    }
}

#[test]
fn a_missing_model_is_a_bad_request() {
    let error = parse(json!({"input": "a"})).unwrap_err();
    assert_eq!(
        (error.status(), error.param()),
        (StatusCode::BAD_REQUEST, Some("model"))
    );
    assert!(error.to_string().contains("all-MiniLM-L6-v2"), "{error}");
}

#[test]
fn another_model_is_not_found() {
    let error = error_with("model", json!("gpt-4"));
    assert_eq!(
        (error.status(), error.code),
        (StatusCode::NOT_FOUND, Some("model_not_found"))
    );
    assert!(
        error.to_string().contains("gpt-4") && error.to_string().contains("all-MiniLM-L6-v2"),
        "{error}"
    );
}

#[test]
fn an_empty_text_is_named_by_its_place() {
    assert!(
        error_with("input", json!(["fine", ""]))
            .to_string()
            .contains("input[1]")
    );
}

#[test]
fn a_body_that_is_no_object_blames_no_field() {
    for body in ["", "{", "[]", "\"text\"", "\u{feff}{}"] {
        let error = served().parse(body.as_bytes()).unwrap_err();
        assert_eq!(
            (error.status(), error.param()),
            (StatusCode::BAD_REQUEST, None),
            "{body:?}"
        );
    }
}

#[test]
fn the_response_has_the_shape_that_clients_read() {
    let embeddings = vec![
        Embedding {
            vector: vec![0.5, -0.25],
            tokens: 4,
        },
        Embedding {
            vector: vec![1.0, 0.0],
            tokens: 3,
        },
    ];
    let response = EmbeddingsResponse::new("m", embeddings, Encoding::Float);
    let expected = json!({
        "object": "list",
        "data": [
            {"object": "embedding", "index": 0, "embedding": [0.5, -0.25]},
            {"object": "embedding", "index": 1, "embedding": [1.0, 0.0]},
        ],
        "model": "m",
        "usage": {"prompt_tokens": 7, "total_tokens": 7},
    });
    assert_eq!(serde_json::to_value(response).unwrap(), expected);
}

#[test]
fn base64_is_little_endian() {
    let response = EmbeddingsResponse::new(
        "m",
        vec![Embedding {
            vector: vec![1.0],
            tokens: 1,
        }],
        Encoding::Base64,
    );
    assert_eq!(
        serde_json::to_value(response).unwrap()["data"][0]["embedding"],
        json!("AACAPw==")
    );
}

proptest! {
    #[test]
    fn any_bytes_are_answered(body in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Err(error) = served().parse(&body) {
            prop_assert!(error.status().is_client_error());
        }
    }

    #[test]
    fn json_numbers_keep_every_bit(bits in any::<u32>().prop_filter("finite", |bits| f32::from_bits(*bits).is_finite())) {
        let vector = vec![f32::from_bits(bits)];
        let response = EmbeddingsResponse::new("m", vec![Embedding { vector, tokens: 1 }], Encoding::Float);
        let text = serde_json::to_string(&response).unwrap();
        let read: Value = serde_json::from_str(&text).unwrap();
        let value = read["data"][0]["embedding"][0].as_f64().unwrap() as f32;
        prop_assert_eq!(value.to_bits(), bits);
    }
}
