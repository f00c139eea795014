"""The files of this folder: the texts (OpenAI batch JSONL), the golden vectors, and the model's checked sums."""

import hashlib
import json
from pathlib import Path

HERE = Path(__file__).resolve().parent
TEXTS = HERE / "texts.jsonl"
INDEX = HERE / "golden.json"
VECTORS = HERE / "golden.f32"
MODEL_SUMS = HERE.parent / "model.sha256"


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def texts(path: Path = TEXTS) -> dict[str, str]:
    """custom_id to text, in the order of the file. A repeated custom_id is an error."""
    found: dict[str, str] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), 1):
        if not line:
            continue
        request = json.loads(line)
        if request["custom_id"] in found:
            raise SystemExit(f"{path}:{number}: custom_id {request['custom_id']} was there before")
        found[request["custom_id"]] = request["body"]["input"]
    return found


def model_digest(folder: Path) -> str:
    """SHA-256 of model.sha256, after every file of the folder was held against it (as weights.sh does)."""
    for line in MODEL_SUMS.read_text().splitlines():
        expected, name = line.split("  ", 1)
        if sha256((folder / name).read_bytes()) != expected:
            raise SystemExit(f"{folder / name} is not the file that model.sha256 lists; run weights.sh")
    return f"sha256:{sha256(MODEL_SUMS.read_bytes())}"
