"""`cifarlab train`: a recipe into a run directory."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from cifarlab.cli.options import AsJson, DataDir, Device, Runs, Threads, split_names, use_threads


def train(
    recipe: Annotated[str | None, typer.Argument(metavar="RECIPE", help="Recipe name (see: cifarlab recipes) or YAML file.")] = None,
    data: Annotated[str | None, typer.Option("--data", metavar="NAME|PATH", help="Dataset: cifar10, digits, or a path.")] = None,
    data_dir: DataDir = None,
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="Seed of initial weights, order and augmentation.")] = None,
    name: Annotated[str | None, typer.Option("--name", help="Name of the run (default: recipe and seed).")] = None,
    runs: Runs = Path("runs"),
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change one recipe field, such as optim.lr=0.1; repeatable.")
    ] = None,
    epochs: Annotated[str | None, typer.Option("--epochs", metavar="N", help="Length of training: epochs, or steps as 500st.")] = None,
    batch_size: Annotated[int | None, typer.Option("--batch-size", help="Images per optimizer step.")] = None,
    lr: Annotated[float | None, typer.Option("--lr", help="Learning rate.")] = None,
    classes: Annotated[str | None, typer.Option("--classes", metavar="A,B,...", help="Keep these classes only.")] = None,
    train_size: Annotated[int | None, typer.Option("--train-size", metavar="N", help="Train on N images; subsets are nested.")] = None,
    validation: Annotated[float | None, typer.Option("--validation", metavar="FRACTION", help="Share of train held out.")] = None,
    resume: Annotated[Path | None, typer.Option("--resume", metavar="RUN", help="Continue this interrupted run.")] = None,
    device: Device = "auto",
    threads: Threads = None,
    report: Annotated[bool, typer.Option("--report/--no-report", help="Write figures and report.html at the end.")] = True,
    as_json: AsJson = False,
) -> None:
    """Train a recipe into a run directory, with a report on validation.

    The test split is not read; that is `evaluate`. Recipes called ...-published do read it, as the reports that they repeat did.
    """
    from cifarlab.config import parse_assignments

    changes = parse_assignments(settings or [])
    shorthands: dict[str, Any] = {
        "train.duration": epochs_or_steps(epochs),
        "train.batch_size": batch_size,
        "optim.lr": lr,
        "data.classes": split_names(classes),
        "data.train_size": train_size,
        "data.validation": validation,
    }
    changes |= {key: value for key, value in shorthands.items() if value is not None}
    _check_usage(recipe, resume, {"--name": name, "--data": data, "--seed": seed}, changes)
    use_threads(threads)
    _run(recipe, resume, data, data_dir, seed, name, runs, changes, device=device, report=report, as_json=as_json)


def _run(
    recipe: str | None,
    resume: Path | None,
    data: str | None,
    data_dir: Path | None,
    seed: int | None,
    name: str | None,
    runs: Path,
    changes: dict[str, object],
    *,
    device: str,
    report: bool,
    as_json: bool,
) -> None:
    from cifarlab import api
    from cifarlab.cli.progress import download_progress, training_progress
    from cifarlab.cli.terminal import note

    with download_progress() as bytes_done, training_progress() as listener:
        watched: dict[str, Any] = {"listener": listener, "note": note, "progress": bytes_done, "on_stop": say_stopping}
        if resume is not None:
            run = api.Run(resume)
            wanted = None
            if recipe is not None or data is not None or changes or seed is not None:
                base = run.recipe if recipe is None else recipe
                wanted = api.resolve_recipe(base, data=data, seed=seed, overrides=changes)
            if run.status["state"] == "done":
                note(f"{resume} is finished already; nothing to do")
            else:
                note(f"resuming {resume} on {device}")
            run = api.resume(resume, recipe=wanted, data_dir=data_dir, device=device, report=report, **watched)
        else:
            assert recipe is not None
            run = api.train(
                recipe,
                data=data,
                data_dir=data_dir,
                seed=seed,
                name=name,
                runs=runs,
                device=device,
                overrides=changes,
                report=report,
                **watched,
            )
    say_trained(run, as_json=as_json)


def say_trained(run: Any, *, as_json: bool) -> None:
    """The end of a training: what came out, where it is, and what to do next."""
    from cifarlab.cli.progress import clock
    from cifarlab.cli.results import headline, say_report
    from cifarlab.cli.terminal import note, write_json_out

    status = run.status
    validation = run.metrics.get("validation")
    if as_json:
        write_json_out({"run": str(run.path), **status, "validation": validation})
        return
    epochs = "1 epoch" if status["epochs"] == 1 else f"{status['epochs']} epochs"
    parameters = f"{status['parameters']:,}".replace(",", " ")
    note(f"trained {parameters} parameters for {epochs} in {clock(status['seconds'])}: {run.path}")
    if "operations" in status:  # not in runs that an older version finished
        note(cost_line(status))
    if validation is not None:
        note(headline(validation))
        if run.recipe.train.target is not None:
            note(target_line(run.recipe.train.target, run.directory.epochs(), validation, seconds=status["seconds"]))
    if run.directory.report_file.exists():
        say_report(run.directory.report_file)
    if run.recipe.data.validate_on == "test":
        note(headline(run.metrics["test"]))
    else:
        note(f"next: cifarlab evaluate {run.path} --split test")


def cost_line(status: Any) -> str:
    """ "0.302 PFLOP at 0.51 TFLOP/s, 47 % of this machine's convolution peak in bf16"; without a peak, up to the rate."""
    operations, peak = status["operations"], status.get("convolution_peak")
    rate = operations / max(status["seconds"], 1e-9)
    unit, scale = ("PFLOP", 1e15) if operations >= 1e13 else ("TFLOP", 1e12)
    line = f"{operations / scale:.3g} {unit} at {rate / 1e12:.3g} TFLOP/s"
    return (
        line if peak is None else f"{line}, {100 * rate / peak:.0f} % of the convolution peak measured after it ({peak / 1e12:.3g} TFLOP/s)"
    )


def target_line(target: float, rows: Any, validation: Any, *, seconds: float) -> str:
    """When validation accuracy first was `target`: in an epoch with one view, or at the end with the recipe's views."""
    from cifarlab.cli.progress import clock
    from cifarlab.cli.results import TTA_NAMES
    from cifarlab.training.cost import time_to_target

    aim = f"{100 * target:g} % on validation"
    if (row := time_to_target(rows, target)) is not None:
        return f"{aim}: reached after {clock(row['seconds'])} (epoch {row['epoch']}, one view)"
    if validation["accuracy"]["value"] >= target:
        return f"{aim}: reached after {clock(seconds)} ({TTA_NAMES.get(validation['tta'], validation['tta'])})"
    return f"{aim}: not reached"


def say_stopping(number: int) -> None:
    """Heard at the first Ctrl-C or SIGTERM; called inside a signal handler, so it only writes."""
    import contextlib
    import os

    with contextlib.suppress(OSError):  # the terminal may be gone; the saving must go on
        os.write(2, b"\nstopping after this step and saving; once more to leave at once\n")


def epochs_or_steps(epochs: str | None) -> str | None:
    """A bare number means epochs."""
    return f"{epochs}ep" if epochs is not None and epochs.replace(".", "", 1).isdigit() else epochs


def _check_usage(recipe: str | None, resume: Path | None, given: dict[str, object], changes: dict[str, object]) -> None:
    from cifarlab.errors import UsageError
    from cifarlab.recipes import recipe_names

    if recipe is None and resume is None:
        raise UsageError(f"give a recipe ({', '.join(recipe_names())}, or a YAML file), or --resume RUN")
    if resume is not None and given["--name"] is not None:
        raise UsageError("--name cannot go with --resume: a resumed run keeps its name")
