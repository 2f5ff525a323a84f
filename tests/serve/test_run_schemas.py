"""The OpenAPI document is true of runs: schemathesis asks about runs that there are, damaged ones too."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from asking import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from run_folders import fill
from schemathesis import GenerationMode
from test_openapi import TRUE_TO_IT

from cifarlab.serve import Service, create_app

NAMES = ["good", "sweeps~lr~seed-1", "baselines~knn", "bare", "killed", "cut", "torn", "odd", "other-data"]
ROUTES = ["", "/events", "/confusion", "/reliability", "/errors", "/images/{split}/{index}"]


@pytest.fixture(scope="module")
def described(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Any:
    app = create_app(service, runs=fill(tmp_path_factory.mktemp("described") / "runs"))
    assert {row["name"] for row in Client(app).get("/runs").json()["runs"]} == set(NAMES)
    return schemathesis.openapi.from_asgi("/openapi.json", app)


@pytest.mark.parametrize(
    ("mode", "route"),
    # Without parameters nothing can be wrong.
    [*[(GenerationMode.POSITIVE, route) for route in ROUTES], *[(GenerationMode.NEGATIVE, route) for route in ROUTES[1:]]],
)
def test_no_answer_about_a_run_is_undescribed(described: Any, mode: GenerationMode, route: str) -> None:
    seen = set()

    @settings(max_examples=25, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(case=described["/runs/{name}" + route]["GET"].as_strategy(generation_mode=mode), name=st.sampled_from(NAMES))
    def ask(case: Any, name: str) -> None:
        case.path_parameters = {**(case.path_parameters or {}), "name": name}
        seen.add(case.call_and_validate(checks=TRUE_TO_IT).status_code)

    ask()
    assert seen <= {200, 404, 409, 422}, seen
