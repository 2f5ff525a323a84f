"""The published systems as cells: as published and corrected."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import torch

from cifarlab.config import Recipe, override
from cifarlab.data.dataset import Splits
from cifarlab.errors import UsageError, unknown
from cifarlab.experiments.cells import SilentWatcher, Watcher, estimate_seconds, share_left
from cifarlab.published import published_systems
from cifarlab.recipes import get_recipe, recipe_names

ProtocolName = Literal["published", "corrected"]
PROTOCOLS: Final = ("published", "corrected", "both")
MOST_SEEDS: Final = 1000


@dataclass(frozen=True)
class Cell:
    """One run of the table. `planned` is the recipe's own length, where `recipe` was shortened."""

    system: str
    protocol: ProtocolName
    seed: int
    recipe: Recipe
    planned: str

    @property
    def shortened(self) -> bool:
        """Whether the run has another length than the protocol asks for."""
        return str(self.recipe.train.duration) != self.planned

    @property
    def name(self) -> str:
        """The run directory's name."""
        length = f"-{self.recipe.train.duration}" if self.shortened else ""
        return f"{self.system}-{self.protocol}{length}-{self.seed}"

    @property
    def splits(self) -> tuple[str, ...]:
        """Its validation split, where it is another than the test split, and that."""
        data = self.recipe.data
        return ("validation", "test") if data.validation and data.validate_on == "train" else ("test",)


def protocols_of(system: str) -> tuple[ProtocolName, ...]:
    """Both, where the report looked at the test split while training; else its own protocol is the right one."""
    return ("published", "corrected") if f"{system}-published" in recipe_names() else ("published",)


def plan_cells(
    systems: Sequence[str] = (), *, protocol: str = "both", seeds: int = 1, changes: Mapping[str, object] | None = None
) -> list[Cell]:
    """The cells of `systems` (all without any), first seeds first; `changes` are overrides for every recipe.

    Raises UsageError for unknown systems, protocols and numbers, all at once.
    """
    known = tuple(system.name for system in published_systems())
    problems = [unknown("published system", name, known) for name in systems if name not in known]
    if protocol not in PROTOCOLS:
        problems.append(unknown("protocol", protocol, PROTOCOLS))
    if not 1 <= seeds <= MOST_SEEDS:
        problems.append(f"seeds={seeds}: at least 1 and at most {MOST_SEEDS}")
    if problems:
        raise UsageError("\n".join(problems))
    cells = []
    for seed in range(seeds):
        for system in dict.fromkeys(systems or known):
            both = protocols_of(system)
            for chosen in both if protocol == "both" or len(both) == 1 else (protocol,):
                recipe = get_recipe(f"{system}-published" if len(both) == 2 and chosen == "published" else system)
                changed = override(recipe, {**(changes or {}), "seed": seed})
                cells.append(Cell(system, "published" if chosen == "published" else "corrected", seed, changed, str(recipe.train.duration)))
    return cells


def estimate_cells(
    cells: Sequence[Cell], splits: Splits, *, device: torch.device, folder: Path | None = None, watcher: Watcher | None = None
) -> dict[str, float]:
    """Cell name -> seconds of training that are left; the seeds of one system and protocol share one measurement.

    folder: where begun cells lie, whose finished epochs cost nothing more.
    """
    watcher = watcher or SilentWatcher()
    known: dict[tuple[str, str], float] = {}
    estimates = {}
    for cell in cells:
        key = (cell.system, cell.protocol)
        if key not in known:
            known[key] = estimate_seconds(cell, splits, device=device)
        estimates[cell.name] = known[key] * (1.0 if folder is None else share_left(cell, folder))
        watcher.estimated(cell, estimates[cell.name])
    return estimates
