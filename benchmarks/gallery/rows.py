"""The gallery's rows: sweeps of the demo, each with one thing changed."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """A sweep: its flags beside --preset demo, the question that it asks, and what its answer teaches."""

    name: str
    words: tuple[str, ...]
    asks: str
    teaches: str

    @property
    def flags(self) -> tuple[str, ...]:
        """All that its command says, but for the folder that the sweep is kept in."""
        return ("--preset", "demo", *self.words, "--name", self.name)


ROWS = (
    Row(
        "demo",
        (),
        "Which rank, at one learning rate for all?",
        "The largest rank wins. Cut down, its adapter beats the middle rank's own training, so the rate starves that one.",
    ),
    Row(
        "other-seeds",
        ("--seeds", "3", "4", "5"),
        "The same with other training seeds?",
        "Other seeds move a loss by less than ranks differ: the same answer.",
    ),
    Row(
        "other-split",
        ("--test_split_seed", "1"),
        "The same with other rows held out, and so others trained on?",
        "Other held-out rows move all losses together and no rank past another: losses compare on the same rows only.",
    ),
    Row(
        "all-linear",
        ("--lora_target_modules", "all-linear"),
        "With adapters on every linear layer?",
        "With more layers to adapt the rank matters less; the smallest one there beats the largest one on two layers.",
    ),
    Row(
        "llama",
        ("--model_name_or_path", "trainables/demo/llama"),
        "With a model of another shape?",
        "Another architecture gives the same answer with ranks as far apart, and both smaller ones are starved.",
    ),
    Row(
        "tuned",
        ("--tune", "learning_rate", "--race"),
        "Which rank, each at its own best learning rate?",
        "The demo's rate is the best one tried: the same answer, and no longer one that depends on somebody's rate.",
    ),
    Row(
        "full",
        ("--lora_r", "2", "8", "32", "full", "--tune", "learning_rate", "--race"),
        "And beside full fine-tuning?",
        "Full fine-tuning, best at a tenth of the rate, beats adapters on two layers; those on all make up half of that.",
    ),
)
