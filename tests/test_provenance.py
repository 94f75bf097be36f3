"""Which commit a result is said to be of."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from sweep.common import provenance

CHECKOUT = Path(provenance.__file__).parents[2]


@pytest.mark.parametrize(
    ("top", "found"),
    [(CHECKOUT, {"git_commit": "abc", "git_dirty": True}), (CHECKOUT.parent, {})],
    ids=["this project's checkout", "installed inside somebody else's"],
)
def test_a_commit_is_given_for_this_projects_checkout_alone(
    top: Path, found: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def git(command: list[str], **options: Any) -> "subprocess.CompletedProcess[str]":
        said = {"--show-toplevel": str(top), "HEAD": "abc", "--porcelain": " M file"}[command[-1]]
        return subprocess.CompletedProcess(command, 0, stdout=f"{said}\n")

    monkeypatch.setattr(subprocess, "run", git)
    assert provenance.git() == found
