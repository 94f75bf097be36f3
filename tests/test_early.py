"""Ray is started early only where it is sure to be this machine's."""

import pytest

from sweep import early, runner


@pytest.fixture
def starts(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str | None, bool]]:
    """What was started; nothing really is."""
    started: list[tuple[str | None, bool]] = []
    monkeypatch.setattr(runner, "start", lambda address, verbose: started.append((address, verbose)))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    return started


@pytest.mark.parametrize("words", [[], ["--lora_r", "8"], ["--verbose"]])
def test_a_plain_command_starts_ray_here_and_has_the_libraries(
    words: list[str], starts: list[tuple[str | None, bool]]
) -> None:
    early.begin(words)
    assert starts == [(None, bool(words == ["--verbose"]))]


@pytest.mark.parametrize(
    "words", [["--address", "auto"], ["--address=auto"], ["--dry_run"], ["--dry-run"], ["--config", "my.yaml"]]
)
def test_where_another_ray_may_be_meant_or_none_nothing_is_started(
    words: list[str], starts: list[tuple[str | None, bool]]
) -> None:
    early.begin(["--lora_r", "8", *words])
    assert starts == []


def test_a_cluster_in_the_environment_is_another_ray(
    starts: list[tuple[str | None, bool]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "head:6379")
    early.begin([])
    assert starts == []


def test_a_ray_that_does_not_start_is_left_to_who_needs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(address: str | None, verbose: bool) -> None:
        raise ConnectionError("no")

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(runner, "start", start)
    early.begin([])
