//! Results in OpenAI batch form, and the comparison of two runs of one shard.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Least cosine of two embedding vectors of one request that count as the same result.
pub const LEAST_COSINE: f64 = 0.9999;

/// Fields that honest runs may differ in.
const RUN_FIELDS: [&str; 4] = ["id", "created", "usage", "system_fingerprint"];

/// One line of a results file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ResultLine {
    pub id: String,
    pub custom_id: String,
    pub response: Option<ResultResponse>,
    pub error: Option<ResultError>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ResultResponse {
    pub status_code: u16,
    pub request_id: String,
    pub body: Value,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResultError {
    pub code: String,
    pub message: String,
}

impl ResultLine {
    /// The line of a request that the engine answered, with whatever status.
    pub fn answered(custom_id: &str, status_code: u16, body: Value) -> Self {
        let id = request_id(custom_id);
        let response = Some(ResultResponse {
            status_code,
            request_id: id.clone(),
            body,
        });
        Self {
            id,
            custom_id: custom_id.to_owned(),
            response,
            error: None,
        }
    }

    /// The line of a request that no engine answered.
    pub fn unanswered(custom_id: &str, error: ResultError) -> Self {
        Self {
            id: request_id(custom_id),
            custom_id: custom_id.to_owned(),
            response: None,
            error: Some(error),
        }
    }

    pub fn succeeded(&self) -> bool {
        self.error.is_none()
            && self
                .response
                .as_ref()
                .is_some_and(|response| response.status_code == 200)
    }
}

/// An errors file: one line for each request of `input`, which is OpenAI batch JSONL, all with the same error.
///
/// # Errors
/// When a line has no `custom_id`.
pub fn error_lines(input: &[u8], error: &ResultError) -> Result<Vec<u8>, serde_json::Error> {
    #[derive(Deserialize)]
    struct Request {
        custom_id: String,
    }
    let mut lines = Vec::new();
    for line in lines_of(input) {
        let request: Request = serde_json::from_slice(line)?;
        serde_json::to_writer(&mut lines, &ResultLine::unanswered(&request.custom_id, error.clone()))?;
        lines.push(b'\n');
    }
    Ok(lines)
}

/// Lines of a JSONL object; the last one may lack its line end.
pub fn count_lines(jsonl: &[u8]) -> u64 {
    u64::try_from(lines_of(jsonl).count()).unwrap_or(u64::MAX)
}

fn lines_of(jsonl: &[u8]) -> impl Iterator<Item = &[u8]> {
    jsonl.split(|byte| *byte == b'\n').filter(|line| !line.is_empty())
}

/// The same request has the same id in every run, so that honest deterministic runs agree to the byte.
fn request_id(custom_id: &str) -> String {
    let digest = crate::shard::digest(custom_id.as_bytes());
    format!("batch_req_{}", &digest["sha256:".len()..][..24])
}

#[derive(Clone, Debug, PartialEq)]
pub enum Comparison {
    /// Equal to the byte.
    Exact,
    /// Equal but for what honest hardware may differ in; `min_cosine` over all vectors, 1 when there are none.
    WithinTolerance {
        min_cosine: f64,
    },
    Mismatch {
        custom_id: String,
        why: String,
    },
}

/// Compares the results of two runs of one shard.
pub fn compare(work: &[u8], check: &[u8]) -> Comparison {
    if work == check {
        return Comparison::Exact;
    }
    match compare_lines(work, check) {
        Ok(min_cosine) => Comparison::WithinTolerance { min_cosine },
        Err(mismatch) => Comparison::Mismatch {
            custom_id: mismatch.custom_id,
            why: mismatch.why,
        },
    }
}

struct Mismatch {
    custom_id: String,
    why: String,
}

fn compare_lines(work: &[u8], check: &[u8]) -> Result<f64, Mismatch> {
    let (work, check) = (parse(work, "first")?, parse(check, "second")?);
    if work.len() != check.len() {
        let why = format!("{} results against {}", work.len(), check.len());
        return Err(Mismatch {
            custom_id: String::new(),
            why,
        });
    }
    work.iter().zip(&check).try_fold(1.0, |least: f64, (work, check)| {
        let cosine = compare_line(work, check).map_err(|why| Mismatch {
            custom_id: work.custom_id.clone(),
            why,
        })?;
        Ok(least.min(cosine))
    })
}

fn parse(bytes: &[u8], which: &str) -> Result<Vec<ResultLine>, Mismatch> {
    let lines = lines_of(bytes);
    let parsed: Result<Vec<ResultLine>, _> = lines.map(serde_json::from_slice).collect();
    parsed.map_err(|error| Mismatch {
        custom_id: String::new(),
        why: format!("the {which} run is not JSONL: {error}"),
    })
}

fn compare_line(work: &ResultLine, check: &ResultLine) -> Result<f64, String> {
    if work.custom_id != check.custom_id {
        return Err(format!("the other run has `{}` in its place", check.custom_id));
    }
    if work.error != check.error {
        return Err("one run failed, the other did not".to_owned());
    }
    match (&work.response, &check.response) {
        (Some(work), Some(check)) if work.status_code == check.status_code => compare_bodies(&work.body, &check.body),
        (None, None) => Ok(1.0),
        _ => Err("the engines answered with different status".to_owned()),
    }
}

fn compare_bodies(work: &Value, check: &Value) -> Result<f64, String> {
    let (mut work, mut check) = (work.clone(), check.clone());
    let (first, second) = (take_vectors(&mut work)?, take_vectors(&mut check)?);
    strip(&mut work);
    strip(&mut check);
    if work != check {
        return Err("the answers differ".to_owned());
    }
    if first.len() != second.len() {
        return Err(format!("{} vectors against {}", first.len(), second.len()));
    }
    first.iter().zip(&second).try_fold(1.0, |least: f64, (first, second)| {
        let cosine = cosine(first, second).ok_or("vectors of different length, or without a direction")?;
        if cosine >= LEAST_COSINE {
            Ok(least.min(cosine))
        } else {
            Err(format!("cosine {cosine:.6}"))
        }
    })
}

/// Takes `data[*].embedding` out of an embeddings answer.
fn take_vectors(body: &mut Value) -> Result<Vec<Vec<f64>>, String> {
    let data = body.get_mut("data").and_then(Value::as_array_mut);
    let embeddings = data
        .into_iter()
        .flatten()
        .filter_map(|item| item.as_object_mut()?.remove("embedding"));
    embeddings.map(|embedding| vector(&embedding)).collect()
}

fn vector(embedding: &Value) -> Result<Vec<f64>, String> {
    match embedding {
        Value::Array(numbers) => numbers
            .iter()
            .map(|number| {
                number
                    .as_f64()
                    .ok_or_else(|| "a vector holds something that is no number".to_owned())
            })
            .collect(),
        Value::String(text) => base64_vector(text),
        _ => Err("an embedding is neither a list nor base64".to_owned()),
    }
}

/// OpenAI's `encoding_format: base64`: little-endian 32-bit floats.
fn base64_vector(text: &str) -> Result<Vec<f64>, String> {
    use base64::Engine as _;
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(text)
        .map_err(|error| format!("an embedding is not base64: {error}"))?;
    let (chunks, rest) = bytes.as_chunks::<4>();
    if !rest.is_empty() {
        return Err("an embedding in base64 is not made of 32-bit floats".to_owned());
    }
    Ok(chunks
        .iter()
        .map(|chunk| f64::from(f32::from_le_bytes(*chunk)))
        .collect())
}

fn cosine(first: &[f64], second: &[f64]) -> Option<f64> {
    if first.len() != second.len() {
        return None;
    }
    let dot = |left: &[f64], right: &[f64]| left.iter().zip(right).map(|(left, right)| left * right).sum::<f64>();
    let cosine = dot(first, second) / (dot(first, first).sqrt() * dot(second, second).sqrt());
    cosine.is_finite().then_some(cosine)
}

fn strip(body: &mut Value) {
    if let Some(object) = body.as_object_mut() {
        object.retain(|key, _| !RUN_FIELDS.contains(&key.as_str()));
    }
}

/// Tokens that an OpenAI answer says it used: (prompt, completion); absent ones count as zero.
pub fn token_usage(body: &Value) -> (u64, u64) {
    let empty = Map::new();
    let usage = body.get("usage").and_then(Value::as_object).unwrap_or(&empty);
    let count = |name: &str| usage.get(name).and_then(Value::as_u64).unwrap_or_default();
    (count("prompt_tokens"), count("completion_tokens"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn lines(bodies: &[Value]) -> Vec<u8> {
        let numbered = bodies.iter().enumerate();
        let line = |(index, body): (usize, &Value)| {
            let line = ResultLine::answered(&format!("r{index}"), 200, body.clone());
            format!("{}\n", serde_json::to_string(&line).unwrap())
        };
        numbered.map(line).collect::<String>().into_bytes()
    }

    fn embedding(vector: &[f64]) -> Value {
        json!({"object": "list", "data": [{"index": 0, "embedding": vector}], "usage": {"prompt_tokens": 3}})
    }

    #[test]
    fn each_request_without_a_result_gets_a_line() {
        let error = ResultError {
            code: "batch_expired".to_owned(),
            message: "too late".to_owned(),
        };
        let input = b"{\"custom_id\": \"a\", \"url\": \"/v1/embeddings\"}\n\n{\"custom_id\": \"b\"}";
        let written = error_lines(input, &error).unwrap();
        let read: Vec<ResultLine> = lines_of(&written)
            .map(|line| serde_json::from_slice(line).unwrap())
            .collect();
        let wanted = ["a", "b"].map(|name| ResultLine::unanswered(name, error.clone()));
        assert_eq!(read, wanted);
        assert_eq!((count_lines(&written), count_lines(input), count_lines(b"")), (2, 2, 0));
        assert!(error_lines(b"{}\n", &error).is_err());
    }

    #[test]
    fn equal_bytes_are_exact() {
        let run = lines(&[embedding(&[1.0, 0.0])]);
        assert_eq!(compare(&run, &run), Comparison::Exact);
    }

    #[test]
    fn nearly_equal_vectors_are_within_tolerance() {
        let (work, check) = (lines(&[embedding(&[1.0, 0.0])]), lines(&[embedding(&[1.0, 1e-4])]));
        let Comparison::WithinTolerance { min_cosine } = compare(&work, &check) else {
            panic!()
        };
        assert!((LEAST_COSINE..1.0).contains(&min_cosine));
    }

    #[test]
    fn base64_and_list_hold_the_same_vector() {
        use base64::Engine as _;
        let bytes: Vec<u8> = [3.0f32, 4.0].iter().flat_map(|number| number.to_le_bytes()).collect();
        let text = base64::engine::general_purpose::STANDARD.encode(bytes);
        let encoded = json!({"object": "list", "data": [{"index": 0, "embedding": text}]});
        let comparison = compare(&lines(&[encoded]), &lines(&[embedding(&[3.0, 4.0])]));
        assert_eq!(comparison, Comparison::WithinTolerance { min_cosine: 1.0 });
    }

    #[test]
    fn cheats_are_named() {
        let honest = lines(&[embedding(&[1.0, 0.0]), embedding(&[0.0, 1.0])]);
        for (cheat, expected) in [
            (lines(&[embedding(&[1.0, 0.0]), embedding(&[1.0, 0.0])]), "cosine"),
            (
                lines(&[embedding(&[1.0, 0.0]), embedding(&[0.0, 0.0])]),
                "without a direction",
            ),
            (lines(&[embedding(&[1.0, 0.0]), embedding(&[0.0])]), "different length"),
            (lines(&[embedding(&[1.0, 0.0])]), "2 results against 1"),
            (
                lines(&[embedding(&[1.0, 0.0]), json!({"data": []})]),
                "the answers differ",
            ),
            (b"nonsense\n".to_vec(), "not JSONL"),
        ] {
            let Comparison::Mismatch { why, .. } = compare(&honest, &cheat) else {
                panic!("{expected}")
            };
            assert!(why.contains(expected), "{why}");
        }
    }

    #[test]
    fn completions_may_differ_in_what_a_run_brings_along() {
        let answer = |id: &str, text: &str| json!({"id": id, "created": 1, "choices": [{"text": text}]});
        let work = lines(&[answer("a", "yes")]);
        assert_eq!(
            compare(&work, &lines(&[answer("b", "yes")])),
            Comparison::WithinTolerance { min_cosine: 1.0 }
        );
        assert!(matches!(
            compare(&work, &lines(&[answer("a", "no")])),
            Comparison::Mismatch { .. }
        ));
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(work: Vec<u8>, check: Vec<u8>) {
            let _ = compare(&work, &check);
        }

        #[test]
        fn the_order_of_runs_does_not_matter(first in prop::collection::vec(-1.0f64..1.0, 4), second in prop::collection::vec(-1.0f64..1.0, 4)) {
            let (first, second) = (lines(&[embedding(&first)]), lines(&[embedding(&second)]));
            let agree = |comparison: &Comparison| !matches!(comparison, Comparison::Mismatch { .. });
            prop_assert_eq!(agree(&compare(&first, &second)), agree(&compare(&second, &first)));
        }
    }
}
