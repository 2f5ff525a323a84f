"""`cifarlab sweep`: a recipe at several values of its fields, with several seeds each."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from cifarlab.cli.cells import CellWatcher, outcome_rows, say_estimates
from cifarlab.cli.options import AsJson, DataDir, Device, Threads, use_threads

Vary = Annotated[
    list[str] | None,
    typer.Option("--vary", metavar="KEY=V1,V2,...", help="Recipe field and its values, such as batch_size=32,64; repeatable."),
]
Epochs = Annotated[
    str | None, typer.Option("--epochs", metavar="N", help="Shorten every run to N epochs, its schedule in proportion; the page says so.")
]
Train = Annotated[bool, typer.Option("--train/--no-train", help="--no-train: only write the pages from the runs that are there.")]
Minutes = Annotated[float | None, typer.Option("--max-minutes", metavar="M", help="Leave out what does not fit; a later call goes on.")]
Fixed = Annotated[
    str | None, typer.Option("--fixed", metavar="epochs|steps", help="steps: every run takes the optimizer steps of the first point.")
]
Study = Annotated[
    str | None, typer.Argument(metavar="STUDY|RECIPE", help="Shipped study (see --list-studies), study file, recipe name or file.")
]


def sweep(
    study: Study = None,
    vary: Vary = None,
    settings: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Fix one recipe field; repeatable.")] = None,
    side_by_side: Annotated[bool, typer.Option("--list", help="Take the values side by side, not every combination.")] = False,
    seeds: Annotated[int | None, typer.Option("--seeds", metavar="N", help="Runs of each point, seeds 0 to N-1 (default: 3).")] = None,
    fixed: Fixed = None,
    epochs: Epochs = None,
    scale: Annotated[float | None, typer.Option("--scale", metavar="F", help="Or: multiply every length of training by F.")] = None,
    data: Annotated[str | None, typer.Option("--data", metavar="NAME|PATH", help="Dataset: cifar10, digits, or a path.")] = None,
    test: Annotated[bool, typer.Option("--test", help="Read the test split of every run, too, once. Nothing is chosen by it.")] = False,
    max_minutes: Minutes = None,
    retry: Annotated[bool, typer.Option("--retry", help="Try failed runs again.")] = False,
    estimate: Annotated[bool, typer.Option("--estimate", help="Print what it would cost, and train nothing.")] = False,
    train: Train = True,
    reports: Annotated[bool, typer.Option("--reports", help="Write a report.html for each run, too.")] = False,
    output: Annotated[Path | None, typer.Option("-o", "--output", metavar="FILE.md", help="Write one page of all sweeps here.")] = None,
    runs: Annotated[Path, typer.Option("--runs", metavar="DIR", help="Folder of the sweeps.")] = Path("runs/sweeps"),
    name: Annotated[str | None, typer.Option("--name", help="Name of this sweep's folder (default: from what is varied).")] = None,
    list_studies: Annotated[bool, typer.Option("--list-studies", help="List the studies that come with cifarlab.")] = False,
    data_dir: DataDir = None,
    device: Device = "auto",
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    """Train a recipe at several values of its fields, with several seeds each, and write what that shows, and what it cannot show.

    For example: cifarlab sweep digits --vary batch_size=32,64,128 --vary optim.lr=0.001,0.01. The cost is estimated first; each run
    is a directory of its own and is used again when the command is repeated: killed and started anew, it goes on.
    """
    if list_studies:
        _list_studies(as_json=as_json)
        return
    if _collects_only(study, train=train, estimate=estimate, output=output, runs=runs):
        return
    assert study is not None
    use_threads(threads)
    options: dict[str, Any] = {"seeds": seeds, "fixed": fixed, "scale": scale, "data": data, "test": test, "runs": runs, "name": name}
    options |= {"layout": "list" if side_by_side else None, "max_minutes": max_minutes, "retry": retry, "train": train}
    options |= {"reports": reports, "output": output, "data_dir": data_dir, "device": device}
    _run(study, vary or [], settings or [], options, epochs=epochs, estimate=estimate, as_json=as_json)


def _run(
    study: str, vary: list[str], settings: list[str], options: dict[str, Any], *, epochs: str | None, estimate: bool, as_json: bool
) -> None:
    from cifarlab.cli.progress import download_progress
    from cifarlab.cli.terminal import note
    from cifarlab.cli.train import epochs_or_steps, say_stopping
    from cifarlab.config import parse_assignments
    from cifarlab.experiments.study import parse_variations
    from cifarlab.sweeps import sweep as run_sweep
    from cifarlab.training import PreemptedError

    options |= {"vary": parse_variations(vary), "overrides": parse_assignments(settings)}
    try:
        with download_progress() as bytes_done, CellWatcher() as watcher:
            result = run_sweep(
                study,
                **options,
                epochs=epochs_or_steps(epochs),
                dry_run=estimate,
                command=_command(study, options, epochs),
                watcher=watcher,
                note=note,
                progress=bytes_done,
                on_stop=say_stopping,
            )
    except PreemptedError:
        note("the sweep is stopped; its page shows what is done")
        raise
    if estimate:
        say_estimates(result.estimates, as_json=as_json)
        return
    _say(result, as_json=as_json)


def _collects_only(study: str | None, *, train: bool, estimate: bool, output: Path | None, runs: Path) -> bool:
    """Without a study, `--no-train -o FILE.md` writes the page of all sweeps that are there."""
    from cifarlab.errors import UsageError

    if estimate and not train:
        raise UsageError("--estimate tells what training would cost, --no-train only writes pages: give one of them")
    if study is not None:
        return False
    if train or output is None:
        raise UsageError(
            "give a study or a recipe, for example: cifarlab sweep digits --vary batch_size=32,64,128; list what there is with "
            "--list-studies; or write one page of all sweeps with: cifarlab sweep --no-train -o STUDIES.md"
        )
    from cifarlab.cli.terminal import note
    from cifarlab.sweeps import collect_studies

    note(f"all sweeps of {runs}: {collect_studies(output, runs=runs)}")
    return True


def _say(result: Any, *, as_json: bool) -> None:
    from cifarlab.cli.terminal import note, write_json_out, write_table
    from cifarlab.reports import sweep_summary

    summary = sweep_summary(result.result)
    if as_json:
        pages = {"html": str(result.html), "markdown": str(result.markdown)}
        write_json_out({**summary, "runs": outcome_rows(result.outcomes), **pages})
    else:
        table = summary["table"]
        write_table(table["head"], table["rows"], right=table["head"][1:])
    for line in (*summary["notices"], *summary["conclusion"]):
        note(line)
    states = [outcome.state for outcome in result.outcomes]
    if states:
        note(", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states)))
    note(f"sweep: {result.html} and {result.markdown}" + (f"; all sweeps: {result.studies}" if result.studies else ""))
    if "failed" in states:
        raise typer.Exit(1)


def _list_studies(*, as_json: bool) -> None:
    from cifarlab.cli.terminal import write_json_out, write_table
    from cifarlab.experiments.study_files import find_plan, shipped_studies

    plans = [find_plan(name) for name in shipped_studies()]
    rows = [
        (p.name, p.recipe.name, "; ".join(f"{key} {', '.join(map(str, values))}" for key, values in p.vary.items()), p.title) for p in plans
    ]
    if as_json:
        write_json_out([dict(zip(("name", "recipe", "varies", "title"), row, strict=True)) for row in rows])
    else:
        write_table(["name", "recipe", "varies", "title"], rows)


def _command(study: str, options: dict[str, Any], epochs: str | None) -> str:
    """What repeats the sweep, for its page."""
    import json
    import shlex

    parts = ["cifarlab", "sweep", study]
    for key, values in options["vary"].items():
        parts += ["--vary", f"{key}={','.join(v if isinstance(v, str) else json.dumps(v) for v in values)}"]
    for key, value in options["overrides"].items():
        parts += ["--set", f"{key}={value if isinstance(value, str) else json.dumps(value)}"]
    given = {
        "--seeds": options["seeds"],
        "--fixed": options["fixed"],
        "--epochs": epochs,
        "--scale": options["scale"],
        "--data": options["data"],
    }
    for option, value in given.items():
        parts += [] if value is None else [option, str(value)]
    parts += ["--list"] if options["layout"] == "list" else []
    return shlex.join(parts + (["--test"] if options["test"] else []))
