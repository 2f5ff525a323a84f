"""The routes of runs: their table, their curves, live ones too, and where they are wrong."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar
from urllib.parse import quote

from fastapi import APIRouter, Query, Request
from fastapi import Path as InPath
from starlette.responses import Response

from cifarlab.config import flatten
from cifarlab.runs import BASELINE_PREFIX
from cifarlab.serve.queries import check_query
from cifarlab.serve.refusal import RefusedError, json_response
from cifarlab.serve.run_events import Listeners, RunEvents
from cifarlab.serve.run_folder import Found, RunFolder
from cifarlab.serve.run_pictures import NotAtHandError, PictureStore, as_png
from cifarlab.serve.run_predictions import (
    Answers,
    accuracy_of,
    available_splits,
    choose_split,
    confusion,
    describe_rows,
    load_answers,
    reliability,
    select_rows,
)
from cifarlab.serve.run_reading import Memo, Reading, commands, count, epochs_planned, number, read_run, recipe_changes, started_at, unread
from cifarlab.serve.run_schemas import Confusion, ErrorPage, Reliability, RunDetail, RunTable, refusals
from cifarlab.serve.service import Service

T = TypeVar("T")
Json = dict[str, Any]
THREADS: Final = 2  # that read files of runs
WAITING: Final = 64  # requests for runs at a time
READ_FOR: Final = 1.5
PICTURES_WITHIN: Final = 0.3  # seconds that an answer waits for the data to be read
MOST: Final = 200  # rows of one answer


class RunDesk:
    """The runs of one server: their folder, what was read of them, and the threads that read."""

    def __init__(self, folder: RunFolder, service: Service) -> None:
        self.folder = folder
        self.service = service
        self.pictures = PictureStore()
        self.listeners = Listeners()
        self._readings = Memo(4096)
        self._answers = Memo(8)
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="runs")
        self._known: set[Found] = set()  # read before, so that reading them again is quick
        self._waiting = 0

    async def aside(self, work: Callable[[], T]) -> T:
        """The result of `work`, done by a thread of its own; raises RefusedError: 429 where too many wait, 504 past the deadline."""
        if self._waiting >= WAITING:
            raise RefusedError(429, f"{self._waiting} requests for runs are waiting. Try again in 2 s", headers={"Retry-After": "2"})
        self._waiting += 1
        deadline = self.service.limits.deadline
        try:
            async with asyncio.timeout(deadline):
                return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        except TimeoutError:
            raise RefusedError(504, f"no answer within {deadline:g} s: the server is busy. Try again later") from None
        finally:
            self._waiting -= 1

    def table(self) -> Json:
        """What GET /runs tells, the newest run first. What cannot be read within READ_FOR seconds is "unread": the next call goes on."""
        runs = sorted(self.folder.table().values(), key=lambda found: found.title)
        runs.sort(key=lambda found: started_at(found) or 0.0, reverse=True)
        end = time.monotonic() + READ_FOR
        rows = []
        for found in runs:
            if found in self._known or time.monotonic() < end:
                rows.append(self.row(self.read(found)))
                self._known.add(found)
            else:
                rows.append(self.row(unread(found)))
        self._known.intersection_update(runs)
        return {"folder": self.folder.shown, "exists": self.folder.exists, "complete": self.folder.complete, "runs": rows}

    def read(self, found: Found) -> Reading:
        return read_run(found, self._readings)

    def row(self, reading: Reading) -> Json:
        """A run in the table."""
        found, recipe, status, env = reading.found, reading.recipe, reading.status, reading.env
        is_read = reading.state != "unread"
        validation, test = (accuracy_of(found, split, self._readings) if is_read else None for split in ("validation", "test"))
        seconds = number(status.get("seconds"))
        last = reading.rows[-1] if reading.rows else {}
        started = None if reading.started_at is None else datetime.fromtimestamp(reading.started_at, UTC).isoformat(timespec="seconds")
        return {
            "name": found.name,
            "title": found.title,
            "state": reading.state,
            "problems": list(reading.problems),
            "kind": "baseline" if reading.is_baseline else "network",
            "recipe": None if recipe is None else recipe.name,
            "data": None if recipe is None else re.split(r"[/\\]", recipe.data.name.rstrip("/\\"))[-1] or recipe.data.name,
            "network": None if recipe is None else recipe.model.name.removeprefix(BASELINE_PREFIX),
            "seed": None if recipe is None else recipe.seed,
            "epochs": len(reading.rows),
            "epochs_planned": epochs_planned(reading),
            "validation": validation or _from_curve(reading),
            "test": test,
            "validated_on": "test" if env.get("validated_on") == "test" else "train",
            "test_reads": count(status.get("test_reads")),
            "started": started,
            "seconds": number(last.get("seconds")) if seconds is None else seconds,
            "parameters": count(status.get("parameters")),
        }

    def detail(self, name: str) -> Json:
        """What GET /runs/{name} tells."""
        found = self.folder.find(name)
        reading = self.read(found)
        base, changed = (None, []) if reading.recipe is None else recipe_changes(reading.recipe)
        splits = available_splits(found)
        return {
            **self.row(reading),
            "rows": reading.rows,
            "values": {} if reading.recipe is None else flatten(reading.recipe),
            "base": base,
            "changed": changed,
            "commands": commands(reading, evaluated="test" in splits),
            "splits": splits,
        }

    def answers(self, name: str, asked: str | None) -> tuple[Found, Answers, Json]:
        """A run, the predictions of one of its splits, and what every answer about them begins with."""
        found = self.folder.find(name)
        split = choose_split(found, asked)
        head = {"name": found.name, "split": split, "splits": available_splits(found)}
        return found, load_answers(found, split, self._answers), head

    def errors(self, name: str, asked: str | None, true: str | None, predicted: str | None, sort: str, offset: int, limit: int) -> Json:
        """What GET /runs/{name}/errors tells."""
        found, answers, head = self.answers(name, asked)
        chosen = select_rows(answers, true=true, predicted=predicted, sort=sort)
        rows = describe_rows(answers, chosen[offset : offset + limit])
        state, note = "here", None
        try:
            self._pixels(found, answers, seconds=PICTURES_WITHIN)
        except NotAtHandError as error:
            state, note = "loading" if error.loading else "missing", str(error)
        prefix = f"runs/{quote(found.name, safe='')}/images/{head['split']}/"
        for row in rows:
            row["url"] = f"{prefix}{row['index']}" if state == "here" else None
        return {**head, "total": len(chosen), "offset": offset, "rows": rows, "pictures": state, "pictures_note": note}

    def picture(self, name: str, split: str, index: int) -> bytes:
        """A picture of a split as PNG; raises RefusedError (404, 409)."""
        found, answers, _ = self.answers(name, split)
        if index >= len(answers):
            raise RefusedError(404, f"the {split} split of this run has {len(answers)} pictures, counted from 0")
        try:
            return as_png(self._pixels(found, answers, seconds=self.service.limits.deadline / 2)[index])
        except NotAtHandError as error:
            raise RefusedError(409, str(error), headers={"Retry-After": "2"} if error.loading else None) from error

    def _pixels(self, found: Found, answers: Answers, *, seconds: float) -> Any:
        predictions = answers.predictions
        return self.pictures.pixels(self.read(found), predictions.split, predictions.checksum, seconds=seconds)


def _from_curve(reading: Reading) -> Json | None:
    """Validation accuracy of the weights that count, as far as the curve tells it: the best epoch's, or the last one's."""
    rows = [row for row in reading.rows if _is_share(row.get("validation_accuracy"))]
    if not rows or reading.recipe is None:
        return None
    of = max(rows, key=lambda row: row["validation_accuracy"]) if reading.recipe.train.select == "best" else rows[-1]
    return {"value": of["validation_accuracy"], "low": None, "high": None, "n": None, "views": "none", "epoch": count(of.get("epoch"))}


def _is_share(value: object) -> bool:
    return isinstance(value, float | int) and 0 <= value <= 1


# -- routes ---------------------------------------------------------------------------------------------------

Name = Annotated[str, InPath(description="Name of a run, from GET /runs.")]
Split = Annotated[Literal["test", "validation"] | None, Query(description="Without it, test where it was evaluated.")]
COMMON: Final = (400, 404, 413, 415, 422, 429, 503, 504)


def runs_router(service: Service, runs: Path | None) -> APIRouter:
    """The routes of the runs below `runs`; None for a server that shows none."""
    router = APIRouter()
    desk = RunDesk(RunFolder(runs), service)
    _about_runs(router, desk)
    _live(router, desk)
    _about_predictions(router, desk)
    _pictures(router, desk)
    return router


def _about_runs(router: APIRouter, desk: RunDesk) -> None:
    @router.get(
        "/runs", summary="The runs in the run folder", response_model=RunTable, responses=refusals(400, 413, 415, 422, 429, 503, 504)
    )
    async def table(request: Request) -> Response:
        check_query(request, ())
        return _fresh(await desk.aside(desk.table))

    @router.get("/runs/{name}", summary="One run: epochs, recipe, commands", response_model=RunDetail, responses=refusals(*COMMON))
    async def detail(request: Request, name: Name) -> Response:
        check_query(request, ())
        return _fresh(await desk.aside(lambda: desk.detail(name)))


def _live(router: APIRouter, desk: RunDesk) -> None:
    event = {
        "type": "object",
        "required": ["event", "data"],
        "properties": {"event": {"enum": ["rows", "status", "end"]}, "data": {"type": "string", "description": "JSON."}},
    }
    stream: Json = {"description": "Server-sent events", "content": {"text/event-stream": {"schema": event}}}

    @router.get(
        "/runs/{name}/events",
        summary="A run while it trains",
        response_class=Response,
        response_model=None,
        responses={200: stream, **refusals(*COMMON)},
    )
    async def events(
        request: Request, name: Name, after: Annotated[int, Query(ge=0, le=10**6, description="Rows that are known already.")] = 0
    ) -> Response:
        """New rows of metrics.jsonl and the run's row in the table, as they change; a run that does not train ends the stream at once."""
        check_query(request, ("after",))
        await desk.aside(lambda: desk.folder.find(name))
        desk.listeners.enter()  # is there room?
        desk.listeners.leave()

        def look() -> tuple[Json, list[Json]]:
            reading = desk.read(desk.folder.find(name))
            return desk.row(reading), reading.rows

        return RunEvents(
            lambda: desk.aside(look),
            after=after,
            listeners=desk.listeners,
            stopping=lambda: desk.service.draining,
            patience=desk.service.limits.deadline,
        )


def _about_predictions(router: APIRouter, desk: RunDesk) -> None:
    known: Json = {"responses": refusals(*COMMON, 409)}

    @router.get("/runs/{name}/confusion", summary="Confusion matrix and scores of a split", response_model=Confusion, **known)
    async def matrix(request: Request, name: Name, split: Split = None) -> Response:
        check_query(request, ("split",))

        def work() -> Json:
            _, answers, head = desk.answers(name, split)
            return {**head, **confusion(answers)}

        return _fresh(await desk.aside(work))

    @router.get("/runs/{name}/reliability", summary="How often confident answers are right", response_model=Reliability, **known)
    async def bins(request: Request, name: Name, split: Split = None) -> Response:
        check_query(request, ("split",))

        def work() -> Json:
            _, answers, head = desk.answers(name, split)
            return {**head, **reliability(answers)}

        return _fresh(await desk.aside(work))

    @router.get("/runs/{name}/errors", summary="Mistakes, or a cell of the confusion matrix", response_model=ErrorPage, **known)
    async def errors(
        request: Request,
        name: Name,
        true: Annotated[str | None, Query(description="Only pictures of this class.")] = None,
        predicted: Annotated[str | None, Query(description="Only pictures that were taken for this class.")] = None,
        split: Split = None,
        sort: Annotated[Literal["confident", "unsure", "index"], Query(description="By the predicted class's probability.")] = "confident",
        offset: Annotated[int, Query(ge=0, le=10**9)] = 0,
        limit: Annotated[int, Query(ge=1, le=MOST)] = 48,
    ) -> Response:
        """With true and predicted: everything in that cell, right answers too. With less: the mistakes of a class, or all."""
        check_query(request, ("true", "predicted", "split", "sort", "offset", "limit"))
        return _fresh(await desk.aside(lambda: desk.errors(name, split, true, predicted, sort, offset, limit)))


def _pictures(router: APIRouter, desk: RunDesk) -> None:
    png: Json = {"description": "The picture", "content": {"image/png": {"schema": {"type": "string", "format": "binary"}}}}

    @router.get(
        "/runs/{name}/images/{split}/{index}",
        summary="A picture of the user's data that the run was evaluated on",
        response_class=Response,
        response_model=None,
        responses={200: png, **refusals(*COMMON, 409)},
    )
    async def picture(
        request: Request, name: Name, split: Literal["test", "validation"], index: Annotated[int, InPath(ge=0, le=10**9)]
    ) -> Response:
        """Only where the data at hand is the very data that the run saw, by its checksum."""
        check_query(request, ())
        content = await desk.aside(lambda: desk.picture(name, split, index))
        headers = {
            "Cache-Control": "private, max-age=300",
            "X-Content-Type-Options": "nosniff",
            "Cross-Origin-Resource-Policy": "same-origin",
        }
        return Response(content, headers=headers, media_type="image/png")


def _fresh(value: Json) -> Response:
    """JSON that is asked for anew each time: runs change while one looks."""
    return json_response(value, headers={"Cache-Control": "no-store"})
