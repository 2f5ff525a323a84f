"""`cifarlab models`: the networks that recipes can name."""

from __future__ import annotations

from typing import Any

from cifarlab.cli.options import AsJson


def models(as_json: AsJson = False) -> None:
    """List the networks with their size at 32 x 32 pixels and 10 classes."""
    from cifarlab.cli.terminal import write_json_out, write_table
    from cifarlab.models import create_model, measure_model, model_arguments, model_names, model_summary

    rows: list[dict[str, Any]] = []
    for name in model_names():
        size = measure_model(create_model(name))
        rows.append(
            {
                "name": name,
                "parameters": size.parameters,
                "trainable": size.trainable,
                "multiply_adds": size.multiply_adds,
                "depth": size.depth,
                "arguments": model_arguments(name),
                "summary": model_summary(name),
            }
        )
    if as_json:
        write_json_out(rows)
        return
    write_table(
        ["name", "parameters", "multiply-adds", "depth", "what it is"],
        [(r["name"], _grouped(r["parameters"]), _grouped(r["multiply_adds"]), str(r["depth"]), r["summary"]) for r in rows],
        right=("parameters", "multiply-adds", "depth"),
    )


def _grouped(number: int) -> str:
    return f"{number:,}".replace(",", " ")
