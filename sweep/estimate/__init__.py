"""Estimates what a sweep will take before it runs: `python -m sweep.estimate`, with the flags and presets of `sweep.grid`.

The Python API is `predict`; importing this loads neither torch nor ray.
"""

from typing import TYPE_CHECKING

from sweep.estimate.prediction import Assumed, Predicted, Prediction

if TYPE_CHECKING:
    from sweep.config.sweep_config import SweepConfig

__all__ = ["Assumed", "Predicted", "Prediction", "predict"]


def predict(config: "SweepConfig", assumed: Assumed | None = None) -> Prediction:
    """Predicts what the sweep's trials will take: peak bytes of a step, floating-point operations, hours and US dollars.

    Args:
        config: as returned by `sweep.config.layers.resolve` for a command line.
        assumed: assumptions beyond it: the device, the card, the price, rows in place of the data. By default CUDA's
            operations are simulated for no particular card, so there are neither hours nor dollars.

    Raises:
        ConfigError: the model's configuration or the data cannot be loaded, or a length exceeds the model's.
    """
    from sweep.estimate import forecast

    return forecast.predict(config, assumed or Assumed())
