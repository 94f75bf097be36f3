"""What a sweep will take, before it runs: `python -m sweep.estimate`, with the flags and presets of `sweep.grid`.

The Python API is `predict`; importing this loads neither torch nor ray.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sweep.config.sweep_config import SweepConfig
    from sweep.estimate.prediction import Prediction

__all__ = ["predict"]


def predict(config: "SweepConfig") -> "Prediction":
    """What the sweep's trials will take of memory, operations, hours and money.

    Raises:
        ConfigError: neither the model's configuration nor the data can be had, or a length is beyond the model's.
    """
    from sweep.estimate.predict import predict as predict_

    return predict_(config)
