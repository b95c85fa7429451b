"""What of a store the package needs to replay it: the answers, without the requests.

python -m distill generate docs/distill_demo/demo.yaml out=RUNS \
    'teacher={backend: hf, model: .demo/qwen-1.5b, dtype: bfloat16}'
python docs/distill_demo/keep_answers.py RUNS/answers/NAME docs/distill_demo/answers
"""

import json
import sys
from pathlib import Path


def main(store: Path, out: Path) -> None:
    """Write a new folder; answers are found by the keys of requests."""
    lines = (store / "answers.jsonl").read_text(encoding="utf-8").rstrip("\n").split("\n")
    rows = [{k: row[k] for k in ("key", "id", "answer")} for row in map(json.loads, lines)]
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    known = (store / "store.json").read_bytes()
    out.mkdir(parents=True)
    (out / "store.json").write_bytes(known)
    (out / "answers.jsonl").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
