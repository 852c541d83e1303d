"""Live intensities, against a service on this machine; no test leaves it."""

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from urllib.parse import parse_qs, urlparse

import numpy as np
import pytest

from collapse_ray.config.errors import InvalidInput, RunFailed
from collapse_ray.config.load import validate
from collapse_ray.ledger.views.carbon import Intensity
from collapse_ray.ledger.views.spec import ViewsSpec

START = datetime(2026, 3, 28, 23, 0, tzinfo=UTC)
TOKEN = "the secret token"


def grams(time: datetime) -> float:
    """A made-up grid: g/kWh from the time it began to hold."""
    return 100.0 + 10 * time.hour + time.minute


class Service(HTTPServer):
    """Answers as both services do; remembers what it was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[str] = []
        self.unknown: set[datetime] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    @property
    def service(self) -> Service:
        assert isinstance(self.server, Service)
        return self.server

    def do_GET(self) -> None:
        self.service.asked.append(self.path)
        if self.path.startswith("/intensity/"):
            begin, end = map(datetime.fromisoformat, self.path.split("/")[2:])
            self.answer({"data": list(self.half_hours(begin - timedelta(minutes=30), end))})
        elif self.headers["auth-token"] != TOKEN:
            self.send_error(401)
        else:
            query = parse_qs(urlparse(self.path).query)
            begin, end = (datetime.fromisoformat(query[name][0]) for name in ("start", "end"))
            self.answer({"zone": query["zone"][0], "data": list(self.hours(begin, end))})

    def half_hours(self, time: datetime, end: datetime) -> Iterator[dict[str, Any]]:
        while time < end:
            actual = None if time in self.service.unknown else grams(time)
            yield {"from": f"{time:%Y-%m-%dT%H:%MZ}", "intensity": {"forecast": 1.0, "actual": actual}}
            time += timedelta(minutes=30)

    def hours(self, time: datetime, end: datetime) -> Iterator[dict[str, Any]]:
        while time < end:
            value = None if time in self.service.unknown else grams(time)
            begin = f"{time:%Y-%m-%dT%H:%M:%S.000Z}"
            yield {"datetime": begin, "carbonIntensity": value, "isEstimated": time.hour == 0}
            time += timedelta(hours=1)

    def answer(self, value: Any) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(value).encode())

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def service() -> Iterator[Service]:
    server = Service()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ELECTRICITY_MAPS_TOKEN", TOKEN)


def intensity(**carbon: Any) -> Intensity:
    spec = validate(ViewsSpec, {"carbon": carbon}, "views")
    assert spec.carbon is not None
    return spec.carbon


def mean(intensity: Intensity, begin: datetime, end: datetime) -> float:
    window = begin.timestamp(), end.timestamp()
    return float(intensity.rate(*window).mean(*(np.array([time]) for time in window))[0])


def test_great_britain(service: Service) -> None:
    """23:15 to 00:45: a quarter at 23:00, halves at 23:30 and 00:00, a quarter at 00:30."""
    live = intensity(kind="great_britain", url=service.url)
    begin, end = START + timedelta(minutes=15), START + timedelta(minutes=105)
    assert mean(live, begin, end) == pytest.approx((15 * 330 + 30 * 360 + 30 * 100 + 15 * 130) / 90)
    assert service.asked == ["/intensity/2026-03-28T23:00Z/2026-03-29T01:00Z"]


def test_a_half_hour_that_is_not_known_yet_is_a_gap_and_no_forecast(service: Service) -> None:
    service.unknown = {START + timedelta(minutes=30)}
    live = intensity(kind="great_britain", url=service.url)
    with pytest.raises(InvalidInput, match="no value for 2026-03-28T23:30:00Z to 2026-03-29T00:00:00Z"):
        mean(live, START, START + timedelta(hours=1))


def test_long_windows_are_asked_for_in_parts(service: Service) -> None:
    live = intensity(kind="great_britain", url=service.url)
    assert mean(live, START, START + timedelta(days=20)) == pytest.approx(100 + 10 * 11.5 + 15)
    assert service.asked == [
        "/intensity/2026-03-28T23:00Z/2026-04-10T23:00Z",
        "/intensity/2026-04-10T23:00Z/2026-04-17T23:00Z",
    ]


@pytest.mark.usefixtures("token")
def test_electricity_maps(service: Service) -> None:
    live = intensity(kind="electricity_maps", zone="DE", url=service.url)
    begin, end = START + timedelta(minutes=30), START + timedelta(hours=2)
    assert mean(live, begin, end) == pytest.approx((0.5 * 330 + 100) / 1.5)
    assert str(live.rate(begin.timestamp(), end.timestamp()).provenance) == (
        "2 hourly values in g CO2e/kWh, 1 of them estimated by the service for zone DE; source: Electricity Maps "
        f"({service.url}), that of your contract; method: flow-traced consumption; lifecycle CO2e"
    )


def test_the_token_is_asked_for_by_name(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ELECTRICITY_MAPS_TOKEN", raising=False)
    with pytest.raises(InvalidInput, match="export ELECTRICITY_MAPS_TOKEN"):
        mean(intensity(kind="electricity_maps", zone="DE", url=service.url), START, START + timedelta(hours=1))
    assert service.asked == []


def test_a_token_is_in_no_message(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTHER_TOKEN", "a wrong token")
    live = intensity(kind="electricity_maps", zone="DE", token_env="OTHER_TOKEN", url=service.url)
    with pytest.raises(RunFailed, match="HTTP 401") as refused:
        mean(live, START, START + timedelta(hours=1))
    assert "wrong token" not in str(refused.value)


def test_a_service_that_is_away_is_named() -> None:
    live = intensity(kind="great_britain", url="http://127.0.0.1:9")
    with pytest.raises(RunFailed, match=r"http://127.0.0.1:9/intensity/.* did not answer: .*; try again, or give kind"):
        mean(live, START, START + timedelta(hours=1))
