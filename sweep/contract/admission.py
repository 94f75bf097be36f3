"""Whether a trial fits where it would run, by its predicted peak: for `--admit fit`, on the driver and in the worker."""

from collections.abc import Sequence
from dataclasses import dataclass

from sweep.common.formatting import size
from sweep.contract.cards import fits, overhead

FIX = "Give it a larger card or fewer rows at a time (--per_device_train_batch_size), or run it anyway: --admit all."


@dataclass(frozen=True)
class Room:
    """The device memory that a trial can have.

    Attributes:
        name: of the card, for people: "an A10G".
        card_bytes: all that the card has.
        share: the trial's part of it, as of --gpus_per_trial; 1 is all.
    """

    name: str
    card_bytes: int
    share: float = 1.0

    @property
    def bytes(self) -> int:
        return int(self.card_bytes * self.share)

    def __str__(self) -> str:
        part = "" if self.share == 1 else f", of which {self.share:g} is a trial's: {size(self.bytes)}"
        return f"{self.name} with {size(self.card_bytes)}{part}"

    def fits(self, peak_bytes: int) -> bool:
        return fits(peak_bytes, self.bytes)


def refusal(peak_bytes: int | None, rooms: Sequence[Room]) -> str | None:
    """Why a trial with this peak fits in none of the rooms; None if it fits, or if the peak or the rooms are unknown."""
    if peak_bytes is None or not rooms or any(room.fits(peak_bytes) for room in rooms):
        return None
    largest = max(rooms, key=lambda room: room.bytes)
    return (
        f"its predicted peak of {size(peak_bytes)} of GPU memory, with {size(overhead(peak_bytes))} besides, does not fit "
        f"{largest}. {FIX}"
    )
