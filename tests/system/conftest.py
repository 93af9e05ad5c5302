"""Fixtures: `sim` and `relay` run with defaults; `make_sim` and `make_relay` make more, or others. All end with the test, which
fails when one of them does not end in order or is not clean (harness.py, check_clean)."""

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import harness  # noqa: E402
import office as offices  # noqa: E402


@pytest.fixture
def make_sim(tmp_path):
    """make_sim(**options) starts one more simulator; options are those of the command line."""
    made = []

    def make(**options):
        made.append(harness.Sim(tmp_path / f"sim{len(made) or ''}", **options))
        return made[-1].start()
    yield make
    harness.stop_all(*made)


@pytest.fixture
def sim(make_sim):
    return make_sim()


@pytest.fixture
def make_relay(tmp_path):
    """make_relay(sim, start=True, **config) makes a relay, its config merged into the default one. Several may be alive."""
    made = []

    def make(sim=None, start=True, **config):
        made.append(harness.Relay(tmp_path / f"relay{len(made) or ''}", sim, **config))
        if start:
            made[-1].start()
        else:
            made[-1].write_config()
        return made[-1]
    yield make
    harness.stop_all(*made)


@pytest.fixture
def relay(make_relay, sim):
    return make_relay(sim)


@pytest.fixture(scope="module")
def shared_lane(request, tmp_path_factory):
    made = request.module.Lane(tmp_path_factory.mktemp("lane"))
    yield made
    made.close()


@pytest.fixture
def lane(shared_lane):
    """The module's Lane (lane.py), made fresh."""
    shared_lane.fresh()
    return shared_lane


@pytest.fixture(scope="module")
def office(request, tmp_path_factory):
    """A server of every kind, and a relay with an upstream for each of the module's PAIRS (office.py)."""
    made = offices.Office(tmp_path_factory.mktemp("office"), request.module.PAIRS)
    yield made
    made.close()
