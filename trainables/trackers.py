"""Experiment trackers that watch a trial through the trainer's own integrations (`--report_to`)."""

import os
from netrc import NetrcParseError, netrc
from pathlib import Path

from trainables.context import Context


def set_up(context: Context, report_to: object) -> None:
    """Sets the environment that trackers read: runs grouped by sweep, run id = trial id, so that a retry goes on with its run.

    What the user set stays. Without a W&B key runs are kept on disk, in the folder that the log names: `wandb sync` sends them.
    """
    names = report_to if isinstance(report_to, list) else [report_to]
    if "wandb" not in names and "all" not in names:
        return
    wanted = {"WANDB_PROJECT": "lora-rank-sweep", "WANDB_RUN_GROUP": context.sweep_name, "WANDB_RESUME": "allow"}
    if not _has_key():
        wanted["WANDB_MODE"] = "offline"
    os.environ.update({key: value for key, value in wanted.items() if key not in os.environ})
    os.environ["WANDB_RUN_ID"] = context.trial_id
    if os.environ.get("WANDB_MODE") == "offline":
        print(f"W&B runs offline in {os.environ.get('WANDB_DIR', Path.cwd())}/wandb; `wandb sync` sends it.")


def _has_key() -> bool:
    if os.environ.get("WANDB_API_KEY"):
        return True
    try:
        return netrc(Path("~/.netrc").expanduser()).authenticators("api.wandb.ai") is not None
    except (OSError, NetrcParseError):
        return False
