//! The model: text to unit vector, as sentence-transformers computes it (truncate, BERT, mean over tokens, L2).

use std::fmt;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::bert::{BertModel, Config};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokenizers::{Tokenizer, TruncationParams};

/// Below this norm a vector is left as it is instead of being divided by (almost) zero; torch's `F.normalize` default.
const NORM_MIN: f64 = 1e-12;

/// Why the model could not be loaded, or a text not embedded.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// A file of the model folder cannot be read.
    #[error("cannot read {}: {source}; lay the model out with e2e/engine/weights.sh", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    /// A configuration file is not the JSON this engine knows.
    #[error("{} is not a model configuration: {source}", path.display())]
    Config { path: PathBuf, source: serde_json::Error },
    /// The model wants a pooling that this engine does not compute.
    #[error("{} asks for another pooling than the mean over tokens, which alone is computed here", path.display())]
    Pooling { path: PathBuf },
    /// The tokenizer failed.
    #[error("tokenizer: {0}")]
    Tokenizer(#[from] tokenizers::Error),
    /// The forward pass or the weights failed.
    #[error("model: {0}")]
    Tensor(#[from] candle_core::Error),
}

/// A text as a vector.
#[derive(Debug, Clone, PartialEq)]
pub struct Embedding {
    /// Unit length.
    pub vector: Vec<f32>,
    /// Tokens read, special tokens included, after truncation.
    pub tokens: usize,
}

/// A loaded model.
pub struct Embedder {
    model: BertModel,
    tokenizer: Tokenizer,
    dimensions: usize,
}

impl fmt::Debug for Embedder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Embedder")
            .field("dimensions", &self.dimensions)
            .finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct SentenceConfig {
    max_seq_length: usize,
}

#[derive(Deserialize)]
struct PoolingConfig {
    pooling_mode_mean_tokens: bool,
    #[serde(default)]
    pooling_mode_cls_token: bool,
    #[serde(default)]
    pooling_mode_max_tokens: bool,
}

impl Embedder {
    /// Loads a folder in sentence-transformers' layout: `config.json`, `model.safetensors`, `tokenizer.json`,
    /// `sentence_bert_config.json`, `1_Pooling/config.json`.
    pub fn load(folder: &Path) -> Result<Self, ModelError> {
        let config: Config = read_json(folder.join("config.json"))?;
        check_pooling(folder.join("1_Pooling/config.json"))?;
        let dimensions = config.hidden_size;
        Ok(Self {
            model: load_model(folder, &config)?,
            tokenizer: load_tokenizer(folder)?,
            dimensions,
        })
    }

    /// Length of each vector.
    pub fn dimensions(&self) -> usize {
        self.dimensions
    }

    /// Embeds one text in a forward pass of its own. Padding to the longest of a batch would change the last bits of
    /// a vector with the company it keeps; alone, the same text gives the same bits every time.
    pub fn embed(&self, text: &str) -> Result<Embedding, ModelError> {
        let encoding = self.tokenizer.encode(text, true)?;
        let ids = Tensor::new(encoding.get_ids(), &Device::Cpu)?.unsqueeze(0)?;
        let segments = ids.zeros_like()?;
        // No padding, so the attention mask is all ones and the mean runs over every token.
        let hidden = self.model.forward(&ids, &segments, None)?;
        let mean = hidden.mean(1)?.squeeze(0)?;
        Ok(Embedding {
            vector: normalise(mean.to_vec1()?),
            tokens: encoding.len(),
        })
    }
}

fn load_model(folder: &Path, config: &Config) -> Result<BertModel, ModelError> {
    let path = folder.join("model.safetensors");
    let bytes = std::fs::read(&path).map_err(|source| ModelError::Read { path, source })?;
    let tensors = candle_core::safetensors::load_buffer(&bytes, &Device::Cpu)?;
    let weights = VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu);
    Ok(BertModel::load(weights, config)?)
}

fn load_tokenizer(folder: &Path) -> Result<Tokenizer, ModelError> {
    let SentenceConfig { max_seq_length } = read_json(folder.join("sentence_bert_config.json"))?;
    let path = folder.join("tokenizer.json");
    let bytes = std::fs::read(&path).map_err(|source| ModelError::Read { path, source })?;
    let mut tokenizer = Tokenizer::from_bytes(bytes)?;
    // The file says 128 tokens, padded; sentence-transformers overrides both, so do we.
    tokenizer.with_truncation(Some(TruncationParams {
        max_length: max_seq_length,
        ..Default::default()
    }))?;
    tokenizer.with_padding(None);
    Ok(tokenizer)
}

fn check_pooling(path: PathBuf) -> Result<(), ModelError> {
    let pooling: PoolingConfig = read_json(path.clone())?;
    let mean_alone =
        pooling.pooling_mode_mean_tokens && !pooling.pooling_mode_cls_token && !pooling.pooling_mode_max_tokens;
    if mean_alone {
        Ok(())
    } else {
        Err(ModelError::Pooling { path })
    }
}

fn read_json<T: DeserializeOwned>(path: PathBuf) -> Result<T, ModelError> {
    match std::fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(|source| ModelError::Config { path, source }),
        Err(source) => Err(ModelError::Read { path, source }),
    }
}

fn normalise(mut vector: Vec<f32>) -> Vec<f32> {
    let squares: f64 = vector.iter().map(|value| f64::from(*value).powi(2)).sum();
    let norm = squares.sqrt().max(NORM_MIN);
    for value in &mut vector {
        *value = (f64::from(*value) / norm) as f32;
    }
    vector
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vector_gets_unit_length() {
        assert_eq!(normalise(vec![3.0, 4.0]), vec![0.6, 0.8]);
    }

    #[test]
    fn a_zero_vector_stays_zero() {
        assert_eq!(normalise(vec![0.0, 0.0]), vec![0.0, 0.0]);
    }

    #[test]
    fn a_missing_folder_names_the_file_and_the_fix() {
        let error = Embedder::load(Path::new("/nonexistent"))
            .expect_err("nothing is there")
            .to_string();
        assert!(error.contains("/nonexistent/config.json"), "{error}");
        assert!(error.contains("weights.sh"), "{error}");
    }

    #[test]
    fn another_pooling_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pooling.json");
        std::fs::write(
            &path,
            r#"{"pooling_mode_mean_tokens": false, "pooling_mode_cls_token": true}"#,
        )
        .unwrap();
        assert!(matches!(check_pooling(path), Err(ModelError::Pooling { .. })));
    }
}
