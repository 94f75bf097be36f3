"""Uploads an exported folder to the Hugging Face Hub, with huggingface_hub."""

from pathlib import Path

from sweep import redact
from sweep.common.formatting import sentence
from sweep.errors import PushFailed, SweepError


def check(repo: str) -> None:
    """Checks what can be wrong before anything is written, without contacting the Hub.

    Raises:
        SweepError: the name is not a repository's, there is no token, or the Hub is set offline.
    """
    from huggingface_hub import constants, get_token

    wrong = [] if is_repo(repo) else [f"--push_to_hub {repo}: is not the name of a repository. Give USER/NAME."]
    if constants.is_offline_mode():
        wrong.append(
            "--push_to_hub: HF_HUB_OFFLINE is set, so the Hub is not contacted. Unset it, or leave the flag out."
        )
    if get_token() is None:
        wrong.append("--push_to_hub: there is no token for the Hub. Set HF_TOKEN, or run `hf auth login`.")
    if wrong:
        raise SweepError("\n".join(wrong))


def is_repo(name: str) -> bool:
    """Whether a name can be that of a user's or an organization's repository: USER/NAME."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]  # public, but not so that mypy sees it

    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return "/" in name


def push(folder: Path, repo: str, *, private: bool | None = None) -> str:
    """Uploads the folder in one commit and returns its address. An existing repository keeps its visibility and other files.

    Args:
        private: of a new repository; None leaves it to the Hub: public, unless the organization's default is private.

    Raises:
        PushFailed: the Hub refuses or cannot be reached; the folder stays.
    """
    from huggingface_hub import HfApi

    api = HfApi(library_name="lora-rank-sweep")
    try:
        made = api.create_repo(repo, private=private, exist_ok=True)
        api.upload_folder(repo_id=made.repo_id, folder_path=folder, commit_message=f"Upload {folder.name}")
    except Exception as error:  # of the client's HTTP library too, which is not ours to name
        raise PushFailed(
            f"--push_to_hub {repo}: {redact.text(sentence(error))} {str(folder)!r} is complete; once that is solved: "
            f"hf upload {repo} {folder}"
        ) from error
    return str(made)
