//! Cutting JSONL into shards of whole lines.

use std::ops::Range;

use super::plan::ShardCount;
use super::{MAX_SHARDS, ShardEntry, ShardManifest, digest};

/// Requests per shard that `auto` aims at.
const AUTO_REQUESTS: usize = 25;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SplitError {
    #[error("the input has no requests: write OpenAI batch JSONL, one request per line")]
    Empty,
    #[error("line {line} of the input is not an OpenAI batch request: {reason}")]
    Line { line: usize, reason: String },
    #[error("line {line} of the input repeats custom_id `{custom_id}`")]
    Repeated { line: usize, custom_id: String },
}

/// Cuts `input` into shards of nearly equal numbers of lines.
///
/// Returns the manifest and, in the same order, the bytes of each shard. Blank lines are dropped; each line of a shard
/// ends in `\n`. More shards than lines are not made.
///
/// # Errors
/// Names the first line that is not a request, or that repeats a `custom_id`.
pub fn split(input: &[u8], count: ShardCount) -> Result<(ShardManifest, Vec<Vec<u8>>), SplitError> {
    let lines: Vec<&[u8]> = input.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).collect();
    check_lines(&lines)?;
    let lines: Vec<&[u8]> = lines.into_iter().filter(|line| !line.is_empty()).collect();
    if lines.is_empty() {
        return Err(SplitError::Empty);
    }
    let bodies: Vec<Vec<u8>> = ranges(lines.len(), count).map(|range| join(&lines[range])).collect();
    let entries = bodies.iter().zip(0..).map(|(body, index)| entry(index, body)).collect();
    Ok((ShardManifest::new(entries), bodies))
}

fn check_lines(lines: &[&[u8]]) -> Result<(), SplitError> {
    let mut seen = std::collections::BTreeSet::new();
    for (number, line) in lines.iter().enumerate().filter(|(_, line)| !line.is_empty()) {
        let line_number = number + 1;
        let custom_id = custom_id(line).map_err(|reason| SplitError::Line {
            line: line_number,
            reason,
        })?;
        if !seen.insert(custom_id.clone()) {
            return Err(SplitError::Repeated {
                line: line_number,
                custom_id,
            });
        }
    }
    Ok(())
}

fn custom_id(line: &[u8]) -> Result<String, String> {
    #[derive(serde::Deserialize)]
    struct Line {
        custom_id: String,
        method: String,
        url: String,
        #[serde(rename = "body")]
        _body: serde_json::Map<String, serde_json::Value>,
    }
    let line: Line = serde_json::from_slice(line).map_err(|error| error.to_string())?;
    if line.method != "POST" {
        return Err(format!("method is `{}`; it must be POST", line.method));
    }
    if !line.url.starts_with("/v1/") {
        return Err(format!("url is `{}`; it must start with /v1/", line.url));
    }
    Ok(line.custom_id)
}

fn ranges(lines: usize, count: ShardCount) -> impl Iterator<Item = Range<usize>> {
    let wanted = match count {
        ShardCount::Auto => lines.div_ceil(AUTO_REQUESTS),
        ShardCount::Count(count) => count as usize,
    };
    let shards = wanted.clamp(1, MAX_SHARDS).min(lines);
    (0..shards).map(move |index| index * lines / shards..(index + 1) * lines / shards)
}

fn join(lines: &[&[u8]]) -> Vec<u8> {
    lines
        .iter()
        .flat_map(|line| line.iter().copied().chain([b'\n']))
        .collect()
}

fn entry(index: u32, body: &[u8]) -> ShardEntry {
    let requests = body.iter().filter(|byte| **byte == b'\n').count();
    ShardEntry {
        index,
        bytes: body.len() as u64,
        requests: u32::try_from(requests).unwrap_or(u32::MAX),
        digest: digest(body),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lines(count: usize) -> Vec<u8> {
        (0..count)
            .flat_map(|index| {
                format!("{{\"custom_id\":\"r{index}\",\"method\":\"POST\",\"url\":\"/v1/embeddings\",\"body\":{{}}}}\n")
                    .into_bytes()
            })
            .collect()
    }

    #[test]
    fn auto_aims_at_twenty_five_requests() {
        let (manifest, _) = split(&lines(200), ShardCount::Auto).unwrap();
        assert_eq!(manifest.shards.len(), 8);
        assert!(manifest.shards.iter().all(|shard| shard.requests == 25));
    }

    #[test]
    fn faults_name_the_line() {
        assert_eq!(split(b"\n \n", ShardCount::Auto), Err(SplitError::Empty));
        let Err(SplitError::Line { line, .. }) = split(b"\nnot json\n", ShardCount::Auto) else {
            panic!()
        };
        assert_eq!(line, 2);
        let twice = [lines(1), lines(1)].concat();
        let repeated = SplitError::Repeated {
            line: 2,
            custom_id: "r0".to_owned(),
        };
        assert_eq!(split(&twice, ShardCount::Auto), Err(repeated));
        let get = br#"{"custom_id":"a","method":"GET","url":"/v1/embeddings","body":{}}"#;
        assert!(matches!(
            split(get, ShardCount::Auto),
            Err(SplitError::Line { line: 1, .. })
        ));
    }

    proptest! {
        #[test]
        fn shards_are_the_input_in_order(count in 1usize..300, shards in 1u32..300) {
            let input = lines(count);
            let (manifest, bodies) = split(&input, ShardCount::Count(shards)).unwrap();
            prop_assert_eq!(bodies.concat(), input);
            prop_assert!(manifest.shards.len() <= MAX_SHARDS.min(count));
            let sizes: Vec<u32> = manifest.shards.iter().map(|shard| shard.requests).collect();
            prop_assert!(sizes.iter().max().unwrap() - sizes.iter().min().unwrap() <= 1);
            prop_assert_eq!(ShardManifest::parse(&serde_json::to_vec(&manifest).unwrap()), Ok(manifest));
        }

        #[test]
        fn any_bytes_are_survived(input: Vec<u8>) {
            let _ = split(&input, ShardCount::Auto);
        }
    }
}
