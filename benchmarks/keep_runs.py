"""Keep of finished runs what tables and curves are made from, small enough for a repository.

python benchmarks/keep_runs.py runs/reproduce/* -o benchmarks/reproduction

Of each run: recipe.yaml, env.json (without the folder of the data), status.json, metrics.jsonl and the predictions, logits rounded
to a relative error of at most 2^-12 where the class that wins stays the same. No weights: such a folder can be read, compared and
drawn, not loaded.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from cifarlab.errors import CifarlabError, UsageError
from cifarlab.files import write_json, write_text
from cifarlab.runs import Predictions, RunDirectory

DROPPED_BITS: Final = 12  # of float32's 23
PRIVATE: Final = ("found_in",)  # where things lay on the machine that trained


def keep_run(source: Path, *, folder: Path) -> Path:
    """Copy the record of the finished run `source` to `folder`/<its name>, over an older one; returns its path.

    Raises UsageError where `source` is no run or not done, RunError where it has no predictions on test.
    """
    run = RunDirectory.open(source)
    if (state := run.status()["state"]) != "done":
        raise UsageError(f"{source} is {state}, not done: only finished runs are kept")
    splits = ["test", *(["validation"] if run.predictions_file("validation").exists() else [])]
    predictions = {split: Predictions.load(run.predictions_file(split)) for split in splits}
    kept = RunDirectory(folder / run.name)
    for split, found in predictions.items():
        kept.predictions_file(split).parent.mkdir(parents=True, exist_ok=True)
        averaged = None if found.logits_tta is None else rounded(found.logits_tta)
        dataclasses.replace(found, logits=rounded(found.logits), logits_tta=averaged).save(kept.predictions_file(split))
    write_text(kept.recipe_file, run.recipe_file.read_text(encoding="utf-8"))
    env = {key: value for key, value in run.read_json("env.json").items() if key not in PRIVATE}
    if "command" in env:
        env["command"] = [Path(word).name if Path(word).is_absolute() else word for word in env["command"]]
    write_json(kept.path / "env.json", env)
    write_text(kept.path / "metrics.jsonl", (run.path / "metrics.jsonl").read_text(encoding="utf-8"))
    write_json(kept.path / "status.json", run.status())  # last: it is what makes a folder a run
    return kept.path


def rounded(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """float32 [N, K] with the lowest DROPPED_BITS of each mantissa zero, which compresses to half the size.

    A row in which another class would win then stays as it is.
    """
    half, mask = np.uint32(1 << (DROPPED_BITS - 1)), np.uint32(0xFFFFFFFF << DROPPED_BITS & 0xFFFFFFFF)
    short = ((np.ascontiguousarray(logits, dtype=np.float32).view(np.uint32) + half) & mask).view(np.float32)
    same = (short.argmax(1) == logits.argmax(1))[:, None]  # [N, 1]
    return np.where(same, short, logits)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR")
    given = parser.parse_args()
    status = 0
    for run in given.runs:
        if not (run / "status.json").exists():  # tables and figures lie beside the runs
            continue
        try:
            sys.stdout.write(f"{keep_run(run, folder=given.output)}\n")
        except CifarlabError as error:
            sys.stderr.write(f"left out: {error}\n")
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
