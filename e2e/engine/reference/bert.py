"""all-MiniLM-L6-v2 in plain numpy, in double precision, written from the BERT paper and the model's configuration.

It shares no code with the engine but the tokenizer's file format: that is what makes agreement mean something.
"""

import json
import math
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file
from tokenizers import Tokenizer

erf = np.vectorize(math.erf, otypes=[np.float64])


class Bert:
    """Texts to unit vectors: truncate, encode, mean over tokens, L2."""

    def __init__(self, folder: Path):
        self.config = json.loads((folder / "config.json").read_text())
        sentence = json.loads((folder / "sentence_bert_config.json").read_text())
        self.weights = {name: value.astype(np.float64) for name, value in load_file(folder / "model.safetensors").items()}
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(sentence["max_seq_length"])

    def embed(self, text: str) -> np.ndarray:
        """One text, alone and unpadded, as a float64 vector of length 1, shape (hidden_size,)."""
        ids = np.array(self.tokenizer.encode(text).ids)
        hidden = self._embeddings(ids)
        for layer in range(self.config["num_hidden_layers"]):
            hidden = self._layer(hidden, f"encoder.layer.{layer}")
        mean = hidden.mean(axis=0)
        return mean / np.linalg.norm(mean)

    def _embeddings(self, ids: np.ndarray) -> np.ndarray:
        words = self.weights["embeddings.word_embeddings.weight"][ids]
        positions = self.weights["embeddings.position_embeddings.weight"][: len(ids)]
        segment = self.weights["embeddings.token_type_embeddings.weight"][0]
        return self._norm(words + positions + segment, "embeddings.LayerNorm")

    def _layer(self, hidden: np.ndarray, name: str) -> np.ndarray:
        attended = self._dense(self._attention(hidden, f"{name}.attention.self"), f"{name}.attention.output.dense")
        hidden = self._norm(hidden + attended, f"{name}.attention.output.LayerNorm")
        inner = gelu(self._dense(hidden, f"{name}.intermediate.dense"))
        return self._norm(hidden + self._dense(inner, f"{name}.output.dense"), f"{name}.output.LayerNorm")

    def _attention(self, hidden: np.ndarray, name: str) -> np.ndarray:
        query, key, value = (self._heads(hidden, f"{name}.{part}") for part in ("query", "key", "value"))
        scores = query @ key.transpose(0, 2, 1) / math.sqrt(query.shape[-1])
        context = softmax(scores) @ value
        return context.transpose(1, 0, 2).reshape(hidden.shape)

    def _heads(self, hidden: np.ndarray, name: str) -> np.ndarray:
        """(tokens, hidden_size) to (heads, tokens, head_size)."""
        return self._dense(hidden, name).reshape(len(hidden), self.config["num_attention_heads"], -1).transpose(1, 0, 2)

    def _dense(self, hidden: np.ndarray, name: str) -> np.ndarray:
        return hidden @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]

    def _norm(self, hidden: np.ndarray, name: str) -> np.ndarray:
        centred = hidden - hidden.mean(axis=-1, keepdims=True)
        variance = (centred**2).mean(axis=-1, keepdims=True)
        scaled = centred / np.sqrt(variance + self.config["layer_norm_eps"])
        return scaled * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]


def gelu(values: np.ndarray) -> np.ndarray:
    """The exact form, which the configuration's "gelu" means."""
    return values * 0.5 * (1.0 + erf(values / math.sqrt(2.0)))


def softmax(scores: np.ndarray) -> np.ndarray:
    powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)
