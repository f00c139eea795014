//! Holds vectors of batch results against the golden ones. Reading is at the edge; the judgement is pure.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// Why the results cannot be held against the golden vectors, or fail the comparison.
#[derive(Debug, thiserror::Error)]
pub enum CompareError {
    #[error("cannot read {}: {source}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{place}: not a line of OpenAI batch output: {source}")]
    Line { place: String, source: serde_json::Error },
    #[error("{place}: {custom_id}: {reason}")]
    Result {
        place: String,
        custom_id: String,
        reason: String,
    },
    #[error("golden vectors: {0}")]
    Golden(String),
    #[error("{custom_id} has {count} results; each request must have exactly one")]
    Duplicate { custom_id: String, count: usize },
    #[error("{count} of the golden texts have no result, the first is {first}")]
    Missing { count: usize, first: String },
    #[error("{0} is not among the golden texts")]
    Unknown(String),
    #[error("{custom_id} has {found} dimensions, the golden vector {golden}")]
    Dimensions {
        custom_id: String,
        found: usize,
        golden: usize,
    },
    #[error("{0} holds a value that is no finite number, or only zeros")]
    NoDirection(String),
}

/// The golden vectors by `custom_id`.
#[derive(Debug, Clone, PartialEq)]
pub struct Golden {
    vectors: BTreeMap<String, Vec<f32>>,
}

#[derive(Debug, Deserialize)]
struct GoldenIndex {
    custom_ids: Vec<String>,
    dimensions: usize,
    vectors_sha256: String,
}

impl Golden {
    /// Reads `golden.json` and `golden.f32` (little-endian `f32`, one row per custom id) of a folder.
    pub fn read(folder: &Path) -> Result<Self, CompareError> {
        Self::from_bytes(&read(&folder.join("golden.json"))?, &read(&folder.join("golden.f32"))?)
    }

    fn from_bytes(index: &[u8], rows: &[u8]) -> Result<Self, CompareError> {
        let index: GoldenIndex =
            serde_json::from_slice(index).map_err(|error| CompareError::Golden(error.to_string()))?;
        if hex::encode(Sha256::digest(rows)) != index.vectors_sha256 {
            return Err(CompareError::Golden(
                "golden.f32 is not the file that golden.json describes".into(),
            ));
        }
        let values = floats(rows).ok_or_else(|| CompareError::Golden("golden.f32 is cut off".into()))?;
        if index.dimensions == 0 || values.len() != index.custom_ids.len() * index.dimensions {
            return Err(CompareError::Golden("golden.f32 has not one row per custom id".into()));
        }
        let rows = values.chunks_exact(index.dimensions).map(<[f32]>::to_vec);
        Ok(Self {
            vectors: index.custom_ids.into_iter().zip(rows).collect(),
        })
    }

    /// The golden vector of a text.
    pub fn get(&self, custom_id: &str) -> Option<&[f32]> {
        self.vectors.get(custom_id).map(Vec::as_slice)
    }

    /// Judges results, which must hold each golden text exactly once and nothing else.
    pub fn compare(&self, results: &[BatchResult]) -> Result<Report, CompareError> {
        self.check_complete(results)?;
        let mut report = Report {
            vectors: 0,
            min_cosine: 1.0,
            worst: String::new(),
        };
        for result in results {
            report.add(&result.custom_id, self.cosine(result)?);
        }
        Ok(report)
    }

    fn check_complete(&self, results: &[BatchResult]) -> Result<(), CompareError> {
        let mut counts: BTreeMap<&str, usize> = self.vectors.keys().map(|id| (id.as_str(), 0)).collect();
        for result in results {
            *counts
                .get_mut(result.custom_id.as_str())
                .ok_or_else(|| CompareError::Unknown(result.custom_id.clone()))? += 1;
        }
        if let Some((id, count)) = counts.iter().find(|(_, count)| **count > 1) {
            return Err(CompareError::Duplicate {
                custom_id: (*id).to_owned(),
                count: *count,
            });
        }
        let missing: Vec<&str> = counts
            .iter()
            .filter(|(_, count)| **count == 0)
            .map(|(id, _)| *id)
            .collect();
        match missing.first() {
            Some(first) => Err(CompareError::Missing {
                count: missing.len(),
                first: (*first).to_owned(),
            }),
            None => Ok(()),
        }
    }

    fn cosine(&self, result: &BatchResult) -> Result<f64, CompareError> {
        let golden = self
            .get(&result.custom_id)
            .ok_or_else(|| CompareError::Unknown(result.custom_id.clone()))?;
        if golden.len() != result.vector.len() {
            let (found, golden) = (result.vector.len(), golden.len());
            return Err(CompareError::Dimensions {
                custom_id: result.custom_id.clone(),
                found,
                golden,
            });
        }
        cosine(golden, &result.vector).ok_or_else(|| CompareError::NoDirection(result.custom_id.clone()))
    }
}

/// One line of batch output: a text's name and its vector.
#[derive(Debug, Clone, PartialEq)]
pub struct BatchResult {
    /// The name that the request gave.
    pub custom_id: String,
    /// The vector found.
    pub vector: Vec<f32>,
}

#[derive(Deserialize)]
struct Line {
    custom_id: String,
    response: Option<ResponsePart>,
    #[serde(default)]
    error: Value,
}

#[derive(Deserialize)]
struct ResponsePart {
    status_code: u16,
    body: Value,
}

/// Reads a file of OpenAI batch output: one JSON object per line, each with one embedding, as numbers or as base64.
pub fn read_results(path: &Path) -> Result<Vec<BatchResult>, CompareError> {
    let bytes = read(path)?;
    let lines = bytes.split(|byte| *byte == b'\n').enumerate();
    let filled = lines.filter(|(_, line)| !line.iter().all(u8::is_ascii_whitespace));
    filled
        .map(|(index, line)| parse_line(&format!("{}:{}", path.display(), index + 1), line))
        .collect()
}

fn parse_line(place: &str, line: &[u8]) -> Result<BatchResult, CompareError> {
    let line: Line = serde_json::from_slice(line).map_err(|source| CompareError::Line {
        place: place.to_owned(),
        source,
    })?;
    match vector(&line) {
        Ok(vector) => Ok(BatchResult {
            custom_id: line.custom_id,
            vector,
        }),
        Err(reason) => Err(CompareError::Result {
            place: place.to_owned(),
            custom_id: line.custom_id,
            reason,
        }),
    }
}

fn vector(line: &Line) -> Result<Vec<f32>, String> {
    if !line.error.is_null() {
        return Err(format!("the request failed: {}", line.error));
    }
    let response = line.response.as_ref().ok_or("no response")?;
    if response.status_code != 200 {
        return Err(format!("status {}: {}", response.status_code, response.body));
    }
    let data = response
        .body
        .pointer("/data")
        .and_then(Value::as_array)
        .ok_or("the body has no data")?;
    match data.as_slice() {
        [item] => embedding(&item["embedding"]).ok_or_else(|| "the embedding is neither numbers nor base64".into()),
        items => Err(format!("{} embeddings instead of one", items.len())),
    }
}

fn embedding(value: &Value) -> Option<Vec<f32>> {
    match value {
        Value::Array(numbers) => numbers
            .iter()
            .map(|number| number.as_f64().map(|value| value as f32))
            .collect(),
        Value::String(text) => floats(&STANDARD.decode(text).ok()?),
        _ => None,
    }
}

fn floats(bytes: &[u8]) -> Option<Vec<f32>> {
    let (values, rest) = bytes.as_chunks::<4>();
    rest.is_empty()
        .then(|| values.iter().map(|value| f32::from_le_bytes(*value)).collect())
}

/// Cosine of two vectors of one length; none when either has no direction.
fn cosine(left: &[f32], right: &[f32]) -> Option<f64> {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    let cosine = dot(left, right) / (dot(left, left) * dot(right, right)).sqrt();
    cosine.is_finite().then(|| cosine.clamp(-1.0, 1.0))
}

/// What a comparison found.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// Vectors compared.
    pub vectors: usize,
    /// The worst agreement, 1 is the same direction.
    pub min_cosine: f64,
    /// Whose it is.
    pub worst: String,
}

impl Report {
    fn add(&mut self, custom_id: &str, cosine: f64) {
        self.vectors += 1;
        if cosine < self.min_cosine || self.worst.is_empty() {
            self.min_cosine = cosine;
            self.worst = custom_id.to_owned();
        }
    }
}

impl fmt::Display for Report {
    /// Cut off after six digits, never rounded up: 1.000000 means the vectors really agree.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cut = (self.min_cosine * 1e6).floor() / 1e6;
        write!(formatter, "vectors={} min_cosine={cut:.6}", self.vectors)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, CompareError> {
    std::fs::read(path).map_err(|source| CompareError::Read {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests;
