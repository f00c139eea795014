//! The reference's texts and vectors, and how near results come to them.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, ensure};
use serde_json::Value;

fn read(file: &str) -> anyhow::Result<Vec<u8>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../engine/reference")
        .join(file);
    std::fs::read(&path).with_context(|| path.display().to_string())
}

/// The first `count` request lines of the reference, as batch JSONL.
///
/// # Errors
/// When there are fewer.
pub fn requests(count: usize) -> anyhow::Result<String> {
    let all = String::from_utf8(read("texts.jsonl")?)?;
    let lines: Vec<&str> = all.lines().take(count).collect();
    ensure!(lines.len() == count, "the reference has only {} texts", lines.len());
    Ok(lines.join("\n") + "\n")
}

/// Vectors by `custom_id`.
fn vectors() -> anyhow::Result<BTreeMap<String, Vec<f64>>> {
    let index: Value = serde_json::from_slice(&read("golden.json")?)?;
    let dimensions = usize::try_from(index["dimensions"].as_u64().context("golden.json: dimensions")?)?;
    let ids: Vec<String> = serde_json::from_value(index["custom_ids"].clone())?;
    let rows = read("golden.f32")?;
    let (values, _) = rows.as_chunks::<4>();
    let values: Vec<f64> = values
        .iter()
        .map(|value| f64::from(f32::from_le_bytes(*value)))
        .collect();
    Ok(ids
        .into_iter()
        .zip(values.chunks_exact(dimensions).map(<[f64]>::to_vec))
        .collect())
}

/// Worst cosine between result lines and the reference, when the lines answer exactly the first `count` texts, in order.
///
/// # Errors
/// When a line is missing, failed, or is not one vector.
pub fn min_cosine(results: &[u8], count: usize) -> anyhow::Result<f64> {
    let golden = vectors()?;
    let asked = requests(count)?;
    let asked: Vec<Value> = asked.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let lines: Vec<Value> = std::str::from_utf8(results)?
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()?;
    let ids = |lines: &[Value]| lines.iter().map(|line| line["custom_id"].clone()).collect::<Vec<_>>();
    ensure!(
        ids(&lines) == ids(&asked),
        "results answer {:?}, asked was {:?}",
        ids(&lines),
        ids(&asked)
    );
    let mut worst = 1.0_f64;
    for line in &lines {
        let id = line["custom_id"].as_str().context("custom_id")?;
        let reference = golden
            .get(id)
            .with_context(|| format!("{id} is not among the golden texts"))?;
        worst = worst.min(cosine(
            reference,
            &embedding(line).with_context(|| format!("no vector in {line}"))?,
        ));
    }
    Ok(worst)
}

fn embedding(line: &Value) -> Option<Vec<f64>> {
    let values = line.pointer("/response/body/data/0/embedding")?.as_array()?;
    values.iter().map(Value::as_f64).collect()
}

/// Not a number for vectors without a direction, which is below any bound.
fn cosine(left: &[f64], right: &[f64]) -> f64 {
    if left.len() != right.len() {
        return f64::NEG_INFINITY;
    }
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let cosine = dot(left, right) / (dot(left, left) * dot(right, right)).sqrt();
    if cosine.is_finite() { cosine } else { f64::NEG_INFINITY }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(id: &str, vector: &[f64]) -> String {
        let body = serde_json::json!({"data": [{"embedding": vector}]});
        serde_json::json!({"custom_id": id, "response": {"status_code": 200, "body": body}}).to_string()
    }

    #[test]
    fn the_reference_agrees_with_itself_and_with_nothing_else() {
        let golden = vectors().unwrap();
        let same = answer("review-0001", &golden["review-0001"]);
        assert!(min_cosine(same.as_bytes(), 1).unwrap() > 0.999_999);
        let other = answer("review-0001", &golden["review-0002"]);
        assert!(min_cosine(other.as_bytes(), 1).unwrap() < 0.99);
        assert!(min_cosine(same.as_bytes(), 2).is_err());
        let without_direction = answer("review-0001", &vec![0.0; golden["review-0001"].len()]);
        assert!(min_cosine(without_direction.as_bytes(), 1).unwrap() < 0.0);
    }
}
