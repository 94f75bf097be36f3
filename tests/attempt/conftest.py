"""A store with a sweep of one trial, and an attempt of that trial, which leaves nothing behind."""

import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from sweep.errors import LockLost, StoreUnreachable
from sweep.store.lock import held
from sweep.store.store import Store
from sweep.trial.attempt import Attempt
from tests.attempts import Toy, attempt_of, sweep_of


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with held(Store(str(tmp_path / "sweep"))) as store:
        yield store


@pytest.fixture
def toy() -> Toy:
    return Toy()


@pytest.fixture
def attempt(toy: Toy, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Attempt]:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    made = attempt_of(sweep_of(store, tmp_path / "spool"), store, toy)
    yield made
    with suppress(LockLost, StoreUnreachable):
        made.close()
    assert not list((tmp_path / "tmp").iterdir())  # whatever happened
    assert not [one.name for one in threading.enumerate() if one.name in ("training", "checkpoints")]
