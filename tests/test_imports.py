"""The garbage collector stays off imports, and works again afterwards."""

import gc
import weakref
from collections.abc import Iterator

import pytest

from sweep.common.imports import without_gc


@pytest.fixture(autouse=True)
def thawed() -> Iterator[None]:
    yield
    gc.unfreeze()


class Knot:
    """Refers to itself, so that only the collector can free it."""

    def __init__(self) -> None:
        self.itself = self


def test_what_was_imported_is_never_looked_at() -> None:
    before = gc.get_freeze_count()
    with without_gc():
        assert not gc.isenabled()
        imported = [Knot() for _ in range(1000)]
    assert gc.get_freeze_count() >= before + len(imported)


def test_garbage_from_before_is_not_kept() -> None:
    before = weakref.ref(Knot())
    with without_gc():
        assert before() is None


def test_the_collector_works_again_even_after_an_import_that_fails() -> None:
    with pytest.raises(ImportError), without_gc():
        raise ImportError
    assert gc.isenabled()
    later = weakref.ref(Knot())
    gc.collect()
    assert later() is None
