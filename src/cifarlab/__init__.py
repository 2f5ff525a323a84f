"""cifarlab: train, measure, explain and ship small-image classifiers.

import cifarlab
run = cifarlab.train("fast", data="cifar10", seed=0)
run.metrics["test"]["accuracy"]        # {"value": ..., "low": ..., "high": ...}
model = cifarlab.load("runs/fast-0")
labels, probabilities = model.predict(["cat.jpg"])
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cifarlab.api import Run, evaluate, load, report, resume, train
    from cifarlab.bundle.predictor import Predictor
    from cifarlab.classical import baseline
    from cifarlab.comparison import compare
    from cifarlab.config import Recipe
    from cifarlab.errors import CifarlabError
    from cifarlab.exporting import export
    from cifarlab.reproduction import reproduce
    from cifarlab.sweeps import sweep

__all__ = [
    "CifarlabError",
    "Predictor",
    "Recipe",
    "Run",
    "baseline",
    "compare",
    "evaluate",
    "export",
    "load",
    "report",
    "reproduce",
    "resume",
    "sweep",
    "train",
]

_HOMES = {
    "CifarlabError": "cifarlab.errors",
    "Predictor": "cifarlab.bundle.predictor",
    "Recipe": "cifarlab.config",
    "baseline": "cifarlab.classical",
    "compare": "cifarlab.comparison",
    "export": "cifarlab.exporting",
    "reproduce": "cifarlab.reproduction",
    "sweep": "cifarlab.sweeps",
    **dict.fromkeys(("Run", "evaluate", "load", "report", "resume", "train"), "cifarlab.api"),
}


def __getattr__(name: str) -> Any:
    # Imported at first use: `import cifarlab` and the command line's --help stay free of PyTorch.
    if name in _HOMES:
        from importlib import import_module

        value = getattr(import_module(_HOMES[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'cifarlab' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
