"""What a trial leaves behind in its process is put back, or noticed."""

import gc
import logging
import os
import subprocess
import sys
import weakref
from collections.abc import Iterator

import pytest
import torch

from sweep.trial import process


class Model:
    """Something that a weak reference can point at."""


@pytest.fixture
def before() -> Iterator[process.Clean]:
    """The process as it is, and as it is made again after the test."""
    clean = process.snapshot()
    yield clean
    process.restore(clean)


def test_a_process_in_which_nothing_happened_is_clean(before: process.Clean) -> None:
    process.restore(before)
    assert process.unclean(before, []) == []


def test_environment_variables_are_as_they_were(before: process.Clean, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWEEP_KEPT", "old")
    monkeypatch.setenv("SWEEP_TAKEN", "old")
    clean = process.snapshot()
    os.environ.update({"SWEEP_KEPT": "new", "SWEEP_ADDED": "new"})
    del os.environ["SWEEP_TAKEN"]
    process.restore(clean)
    assert dict(os.environ) == clean.environment
    assert os.environ["SWEEP_KEPT"] == os.environ["SWEEP_TAKEN"] == "old" and "SWEEP_ADDED" not in os.environ


def test_log_handlers_that_were_added_are_taken_away_and_others_stay(before: process.Clean) -> None:
    old, new = logging.NullHandler(), logging.NullHandler()
    known, unknown = logging.getLogger("sweep.test.known"), logging.getLogger("sweep.test.unknown")
    known.addHandler(old)
    clean = process.snapshot()
    for logger in (known, unknown, logging.getLogger()):
        logger.addHandler(new)
    process.restore(clean)
    assert known.handlers == [old] and unknown.handlers == []
    assert new not in logging.getLogger().handlers
    known.removeHandler(old)


def test_what_is_still_alive_is_named_once_the_garbage_was_collected(before: process.Clean) -> None:
    kept, dropped = Model(), Model()
    dropped.itself = dropped  # type: ignore[attr-defined]  # a cycle: only the collector frees it
    leftovers = [weakref.ref(kept), weakref.ref(dropped)]
    del dropped
    gc.disable()
    try:
        process.restore(before)
    finally:
        gc.enable()
    assert process.unclean(before, leftovers) == ["the last trial's Model is still alive"]
    assert process.unclean(before, leftovers[1:]) == []


def test_hooks_on_every_module_are_noticed(before: process.Clean) -> None:
    handle = torch.nn.modules.module.register_module_forward_pre_hook(lambda module, inputs: None)
    try:
        process.restore(before)
        assert process.unclean(before, []) == ["global module hooks were left behind"]
    finally:
        handle.remove()
    assert process.unclean(before, []) == []


def test_torchs_settings_are_put_back(before: process.Clean) -> None:
    torch.backends.fp32_precision = "tf32"  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = not before.flags["backends.cudnn.benchmark"]
    torch.set_default_dtype(torch.float64)
    torch.use_deterministic_algorithms(True)
    assert len(process.unclean(before, [])) == 1
    process.restore(before)
    assert process.unclean(before, []) == []
    assert torch.get_default_dtype() == torch.float32 and not torch.are_deterministic_algorithms_enabled()


def test_a_setting_that_cannot_be_put_back_is_named(before: process.Clean, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "_restore_flags", lambda flags: None)
    torch.set_default_dtype(torch.float64)
    try:
        process.restore(before)
        assert process.unclean(before, []) == ["torch's default dtype changed and could not be restored"]
    finally:
        torch.set_default_dtype(torch.float32)


def test_device_memory_that_is_still_allocated_is_noticed(
    before: process.Clean, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "_cuda_bytes", lambda: before.cuda_bytes + 3 * process.MEBIBYTE // 2)
    assert process.unclean(before, []) == ["1.6 MB of CUDA memory is still allocated"]
    monkeypatch.setattr(process, "_cuda_bytes", lambda: before.cuda_bytes + process.MEBIBYTE)
    assert process.unclean(before, []) == []


class DeadCuda:
    """A stand-in for torch in a process in which a kernel has failed: any call to the device raises that error again."""

    MESSAGE = "CUDA error: device-side assert triggered\nCUDA kernel errors might be asynchronously reported at some other API call"
    _C = None
    allocated = 0

    @property
    def cuda(self) -> "DeadCuda":
        return self

    def memory_allocated(self) -> int:
        return self.allocated  # kept on the host

    def synchronize(self) -> None:
        raise torch.AcceleratorError(self.MESSAGE)

    empty_cache = synchronize


def test_a_process_whose_device_has_failed_is_not_used_again(
    before: process.Clean, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(process, "_torch_with_cuda", DeadCuda)
        process.restore(before)
        assert process.unclean(before, []) == ["CUDA no longer works in it: CUDA error: device-side assert triggered"]
    assert process.unclean(before, []) == []


def test_a_process_without_torch_stays_without_it() -> None:
    code = (
        "import sys; from sweep.trial import process; clean = process.snapshot(); process.restore(clean);"
        "assert process.unclean(clean, []) == []; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
