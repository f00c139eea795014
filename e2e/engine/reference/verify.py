"""Checks that the golden files belong together, and recomputes some vectors, evenly spaced over the texts."""

import argparse
import json
from pathlib import Path

import numpy as np

import files
from bert import Bert

# Double-precision results rounded to float32 are off by 3e-8 at most below 1; twice that leaves room for another BLAS.
DIFFERENCE_MAX = 6e-8


def check_files(index: dict, folder: Path) -> None:
    claims = {
        "model_digest": files.model_digest(folder),
        "texts_sha256": files.sha256(files.TEXTS.read_bytes()),
        "vectors_sha256": files.sha256(files.VECTORS.read_bytes()),
        "custom_ids": list(files.texts()),
    }
    for name, found in claims.items():
        if index[name] != found:
            raise SystemExit(f"golden.json: {name} does not fit the files; run golden.py")


def recompute(index: dict, folder: Path, count: int) -> float:
    """Largest difference of a single value over `count` texts."""
    rows = np.frombuffer(files.VECTORS.read_bytes(), dtype="<f4").reshape(-1, index["dimensions"])
    texts = list(files.texts().values())
    model = Bert(folder)
    chosen = np.linspace(0, len(texts) - 1, count).round().astype(int)
    return max(float(np.abs(model.embed(texts[row]) - rows[row]).max()) for row in chosen)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recompute", type=int, default=20, help="how many vectors (default 20)")
    parser.add_argument("model_dir", type=Path)
    arguments = parser.parse_args()
    index = json.loads(files.INDEX.read_text())
    if not 1 <= arguments.recompute <= len(index["custom_ids"]):
        parser.error(f"--recompute must be 1 to {len(index['custom_ids'])}")
    check_files(index, arguments.model_dir)
    difference = recompute(index, arguments.model_dir, arguments.recompute)
    print(f"recomputed={arguments.recompute} max_difference={difference:.1e}")
    if not difference <= DIFFERENCE_MAX:
        raise SystemExit(f"golden vectors are off by more than {DIFFERENCE_MAX}")


if __name__ == "__main__":
    main()
