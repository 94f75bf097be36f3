"""Data settings that this project adds to TRL's."""

from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass
class DataArguments:
    """Settings that TRL's ScriptArguments lacks. `datasets` and `test_split_size` are its DatasetMixtureConfig's."""

    datasets: list[dict[str, Any]] | None = field(
        default=None,
        metadata={
            "help": "a mixture in place of dataset_name: for each data set path and, if wanted, name, data_dir, data_files, "
            "split, columns, fraction"
        },
    )
    test_split_size: float | int | None = field(
        default=None,
        metadata={"help": "held-out rows: a count, or a share below 1; used where the data has no test split"},
    )
    test_split_seed: int | None = field(
        default=None,
        metadata={"help": "seed that draws the held-out rows; default: one of its own, the same for every sweep"},
    )
    dataset_group: str | None = field(
        default=None,
        metadata={
            "help": "column that names clusters of rows (same source, same problem): clusters are held out whole and "
            "counted as one"
        },
    )
    prompt_template: str | None = field(
        default=None,
        metadata={"help": "how {instruction} and {input} make the prompt of instruction/input/output rows"},
    )
    eval_dataset_name: list[str] | None = field(
        default=None,
        metadata={
            "help": "further held-out sets, to measure what training makes a model forget: loss before and after; may be "
            "repeated"
        },
    )
    eval_dataset_config: str | None = field(
        default=None, metadata={"help": "configuration of those sets that are on the Hub"}
    )
    eval_generation: Literal["exact_match"] | None = field(
        default=None,
        metadata={
            "help": "exact_match: generate on the held-out prompts after training, and compare with the reference"
        },
    )
