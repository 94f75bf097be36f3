"""Checks once, with a short timeout, whether the Hugging Face Hub answers: its client retries for half a minute per file."""

import functools
import os
import sys
from collections.abc import Sequence

from sweep.common.formatting import reason

LIMIT_S = 10.0  # to connect, and for the answer to begin


def cache_only_if_away(names: Sequence[str]) -> None:
    """If anything is needed from the Hub and it does not answer, uses only its cache from now on.

    Applies to this process and its children, as if HF_HUB_OFFLINE were set.
    """
    from huggingface_hub import constants

    if not names or constants.is_offline_mode():
        return
    why = _silence(constants.ENDPOINT)
    if why:
        print(f"warning: {constants.ENDPOINT} does not answer: {why}. Only the Hub's cache is used.", file=sys.stderr)
        _use_the_cache_only()


@functools.cache
def _silence(endpoint: str) -> str | None:
    """Why nothing answers at the URL, or None if something does."""
    from huggingface_hub import get_session

    try:
        answer = get_session().head(endpoint, timeout=LIMIT_S)
    except Exception as error:  # of the client's HTTP library, which is not ours to name
        return reason(error)
    return f"HTTP status {answer.status_code}" if answer.status_code >= 500 else None


def _use_the_cache_only() -> None:
    import datasets.config
    from huggingface_hub import constants

    os.environ["HF_HUB_OFFLINE"] = "1"
    constants.HF_HUB_OFFLINE = True
    datasets.config.HF_HUB_OFFLINE = True
