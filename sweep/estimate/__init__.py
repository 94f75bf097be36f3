"""What a sweep will take, before it runs: `python -m sweep.estimate`, with the flags and presets of `sweep.grid`.

The Python API is `predict`; importing this loads neither torch nor ray.
"""

from typing import TYPE_CHECKING

from sweep.estimate.prediction import Assumed, Predicted, Prediction

if TYPE_CHECKING:
    from sweep.config.sweep_config import SweepConfig

__all__ = ["Assumed", "Predicted", "Prediction", "predict"]


def predict(config: "SweepConfig", assumed: Assumed | None = None) -> Prediction:
    """What the sweep's trials will take: bytes at the peak of a step, floating-point operations, hours and US dollars.

    Args:
        config: as `sweep.config.layers.resolve` makes it of a command line.
        assumed: what is said beyond it: the device, the card, the price, rows in place of the data. By default the
            operations of CUDA are followed, on no card in particular, so that there are neither hours nor dollars.

    Raises:
        ConfigError: neither the model's configuration nor the data can be had, or a length is beyond the model's.
    """
    from sweep.estimate import forecast

    return forecast.predict(config, assumed or Assumed())
