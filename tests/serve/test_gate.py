"""What stands before every route: host, token, unknown paths, draining; and what is counted."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from asking import Client, error_of, wait_until_ready
from prometheus_client.parser import text_string_to_metric_families
from small_models import encoded, picture

from cifarlab.bundle import Predictor
from cifarlab.errors import UsageError
from cifarlab.serve import LOCAL_HOSTS, Limits, Service, create_app

PNG = encoded(picture(0))
TOKEN = "a-token-of-more-than-16"
ROUTES = ("/v2", "/v2/models/first", "/v2/models/first/ready", "/metrics", "/openapi.json", "/nothing")


@pytest.fixture
def own(predictors: dict[str, Predictor]) -> Iterator[Service]:
    """A service of this test alone."""
    with Service(predictors, limits=Limits(decoders=1)) as running:
        wait_until_ready(running)
        yield running


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize("shown", [None, "", "Bearer", "Bearer ", "Bearer wrong", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}x"])
def test_without_the_token_nothing_is_told(service: Service, path: str, shown: str | None) -> None:
    response = Client(create_app(service, token=TOKEN)).get(path, headers={} if shown is None else {"authorization": shown})
    assert "token" in error_of(response, 401)
    assert response.headers["www-authenticate"] == "Bearer"


def test_without_the_token_no_body_is_read(service: Service) -> None:
    client = Client(create_app(service, token=TOKEN))

    async def body() -> Iterator[bytes]:  # type: ignore[misc]
        raise AssertionError("the body was read")
        yield b""

    assert client.request("POST", "/predict", content=body()).status_code == 401


@pytest.mark.parametrize("shown", [f"Bearer {TOKEN}", f"bearer {TOKEN}", f"Bearer  {TOKEN} "])
def test_with_the_token_all_is_as_without_one(service: Service, shown: str) -> None:
    client = Client(create_app(service, token=TOKEN))
    assert client.post("/predict", PNG, headers={"authorization": shown}).status_code == 200


def test_health_needs_no_token(service: Service) -> None:
    client = Client(create_app(service, token=TOKEN))
    assert client.get("/v2/health/live").status_code == client.get("/v2/health/ready").status_code == 200


def test_the_openapi_document_tells_of_the_token(service: Service) -> None:
    document = Client(create_app(service, token=TOKEN)).get("/openapi.json", headers={"authorization": f"Bearer {TOKEN}"}).json()
    assert document["components"]["securitySchemes"] == {"token": {"type": "http", "scheme": "bearer"}}
    assert document["paths"]["/predict"]["post"]["security"] == [{"token": []}]
    assert "401" in document["paths"]["/predict"]["post"]["responses"]
    assert "security" not in document["paths"]["/v2/health/live"]["get"]


@pytest.mark.parametrize("host", ["localhost", "localhost:8000", "127.0.0.1:1", "[::1]:8000", "LOCALHOST"])
def test_local_names_are_answered(service: Service, host: str) -> None:
    assert Client(create_app(service, hosts=LOCAL_HOSTS)).get("/v2", headers={"host": host}).status_code == 200


@pytest.mark.parametrize("host", ["example.org", "example.org:8000", "localhost.example.org", "", "127.0.0.1.example.org:80"])
def test_a_page_that_points_its_name_here_is_refused(service: Service, host: str) -> None:
    for path in ("/v2", "/predict", "/nothing"):
        assert "does not answer for the host" in error_of(
            Client(create_app(service, hosts=LOCAL_HOSTS)).get(path, headers={"host": host}), 400
        )


@pytest.mark.parametrize(("method", "path"), [("POST", "/predict"), ("POST", "/explain?kind=layers"), ("GET", "/runs"), ("GET", "/")])
def test_what_a_page_of_another_site_sends_is_refused(service: Service, method: str, path: str) -> None:
    client = Client(create_app(service, hosts=LOCAL_HOSTS))
    for mode in ("no-cors", "cors", "websocket", *(["navigate"] if method == "POST" else [])):
        sent = {"sec-fetch-site": "cross-site", "sec-fetch-mode": mode}
        assert "pages of other sites" in error_of(client.request(method, path, headers=sent), 400)


@pytest.mark.parametrize(
    ("site", "mode"), [("same-origin", "cors"), ("same-site", "cors"), ("none", "navigate"), ("cross-site", "navigate"), (None, None)]
)
def test_the_page_itself_links_to_it_and_programs_are_answered(service: Service, site: str | None, mode: str | None) -> None:
    sent = {} if site is None or mode is None else {"sec-fetch-site": site, "sec-fetch-mode": mode}
    assert Client(create_app(service, hosts=LOCAL_HOSTS)).get("/", headers=sent).status_code == 200


def test_where_a_token_is_needed_pages_of_other_sites_that_have_it_are_answered(service: Service) -> None:
    client = Client(create_app(service, token=TOKEN, hosts=None))
    sent = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "cors", "authorization": f"Bearer {TOKEN}"}
    assert client.get("/v2", headers=sent).status_code == 200


def test_json_is_not_taken_for_anything_else(client: Client) -> None:
    for path in ("/models", "/nothing", "/v2"):
        assert client.get(path).headers["x-content-type-options"] == "nosniff"


def test_an_unknown_path_is_refused_with_a_hint(client: Client) -> None:
    for path in ("/predictt", "/v2/models", "/predict/", "/v3", "/docs", "/..%2f..%2fetc/passwd"):
        assert "POST /predict takes images" in error_of(client.get(path), 404)


def test_a_wrong_method_is_refused_with_the_right_ones(client: Client) -> None:
    for method, path, allowed in (("GET", "/predict", "POST"), ("POST", "/v2", "GET"), ("DELETE", "/v2/models/first/infer", "POST")):
        response = client.request(method, path)
        assert f"{method} is not allowed" in error_of(response, 405)
        assert response.headers["allow"] == allowed


def test_while_it_drains_only_health_and_counters_are_answered(own: Service) -> None:
    client = Client(create_app(own))
    assert client.post("/predict", PNG).status_code == 200
    own.draining = True
    for response in (client.post("/predict", PNG), client.get("/v2/models/first"), client.post("/v2/models/first/infer", b"{}")):
        assert "stopping" in error_of(response, 503)
        assert response.headers["connection"] == "close"
    assert client.get("/v2/health/live").status_code == 200
    assert client.get("/metrics").status_code == 200
    assert client.get("/v2/health/ready").status_code == 503


def samples(client: Client, name: str) -> dict[tuple[str, ...], float]:
    """Values of a metric by its labels' values, in order of the labels' names."""
    response = client.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    families = text_string_to_metric_families(response.text)
    every = [sample for family in families for sample in family.samples if sample.name == name]
    return {tuple(value for _, value in sorted(sample.labels.items())): sample.value for sample in every}


def test_requests_are_counted_by_route_model_and_status(own: Service) -> None:
    client = Client(create_app(own))
    for _ in range(3):
        client.post("/predict", PNG)
    client.post("/predict?model=second", PNG)
    client.post("/predict", b"no image")
    for path in ("/a", "/b", "/c"):
        client.get(path)
    counted = samples(client, "cifarlab_requests_total")
    assert counted == {
        ("first", "/predict", "200"): 3,
        ("second", "/predict", "200"): 1,
        ("first", "/predict", "415"): 1,
        ("", "other", "404"): 3,
    }
    assert samples(client, "cifarlab_request_seconds_count")[("first", "/predict")] == 4
    assert samples(client, "cifarlab_batch_images_sum") == {("first",): 3, ("second",): 1}
    assert samples(client, "cifarlab_inference_seconds_count") == {("first",): 3, ("second",): 1}
    assert samples(client, "cifarlab_queue_images") == samples(client, "cifarlab_accepted_images") == {("first",): 0, ("second",): 0}
    assert samples(client, "cifarlab_model_ready") == {("first",): 1, ("second",): 1}
    assert next(iter(samples(client, "process_resident_memory_bytes").values())) > 1e6


def test_clients_cannot_make_up_labels(own: Service) -> None:
    client = Client(create_app(own))
    for number in range(30):
        client.get(f"/v2/models/name{number}")
        client.get(f"/path{number}")
        client.post(f"/predict?model=name{number}", PNG)
        client.request(f"METHOD{number}", "/predict")
    assert len(samples(client, "cifarlab_requests_total")) == 4


def test_every_problem_of_the_limits_is_told() -> None:
    with pytest.raises(UsageError) as raised:
        Limits(queue=0, batch=-1, deadline=float("nan"), max_pixels=10**10)
    assert [line.split(" ", 1)[0] for line in str(raised.value).splitlines()] == ["max", "queue", "batch", "deadline"]


def test_a_service_needs_a_model() -> None:
    with pytest.raises(UsageError, match="no model to serve"):
        Service({})


def test_a_body_that_is_too_long_is_told_both_remedies(client: Client) -> None:
    reason = error_of(client.post("/predict", b"0" * 200_001), 413)
    assert "at most 200,000 bytes are taken. Scale the image down, or send fewer images" in reason
