"""Computes the golden vectors of texts.jsonl: golden.f32 (little-endian float32 rows) and golden.json (what they are).

golden.py MODEL_DIR
"""

import json
import platform
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np

import files
from bert import Bert


def main(folder: Path) -> None:
    texts = files.texts()
    digest = files.model_digest(folder)
    model = Bert(folder)
    rows = np.stack([model.embed(text) for text in texts.values()]).astype("<f4")
    files.VECTORS.write_bytes(rows.tobytes())
    index = {
        "model": "all-MiniLM-L6-v2",
        "model_digest": digest,
        "texts_sha256": files.sha256(files.TEXTS.read_bytes()),
        "vectors_sha256": files.sha256(rows.tobytes()),
        "dimensions": rows.shape[1],
        "format": "float32, little-endian, one row per custom_id",
        "tools": {"python": platform.python_version(), **{n: version(n) for n in ("numpy", "safetensors", "tokenizers")}},
        "custom_ids": list(texts),
    }
    files.INDEX.write_text(json.dumps(index, indent=1) + "\n")
    print(f"vectors={len(rows)} dimensions={rows.shape[1]} model_digest={digest}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    main(Path(sys.argv[1]))
