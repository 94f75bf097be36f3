"""The simulation behind docs/scale.md: properties that hold whatever the costs are."""

from dataclasses import replace

import pytest

from benchmarks.scale_nodes import Measured, fit, predict
from benchmarks.scale_simulation import Costs, Sweep, simulate

FREE = Costs(trial_s=0, report_s=0, synced_s=0, trial_requests=0, synced_requests=0)
COSTS = Costs(trial_s=0.1, report_s=0.002, synced_s=0.001, trial_requests=100, synced_requests=10)
SWEEP = Sweep(nodes=4, trials=8, steps=50, step_s=0.1)


def test_without_costs_gpus_train_all_the_time() -> None:
    outcome = simulate(replace(SWEEP, start_s=0), FREE)
    assert outcome.makespan_s == pytest.approx(2 * 50 * 0.1)
    assert outcome.gpu_share == pytest.approx(1)
    assert outcome.driver_share == outcome.requests_per_trial == 0


def test_reports_never_make_a_trial_wait() -> None:
    slow = simulate(replace(SWEEP, start_s=0), replace(FREE, report_s=0.5))  # one report takes five steps
    assert slow.reported_share < 0.5
    assert slow.makespan_s < 2 * 50 * 0.1 + 2 * 4 * 0.5 + 1  # but a trial's end waits for the reports before it


def test_requests_of_a_trial_do_not_grow_with_the_number_of_trials() -> None:
    def requests(nodes: int) -> float:
        sweep = Sweep(nodes=nodes, trials=2 * nodes, steps=500, step_s=0.1)
        return simulate(sweep, replace(FREE, synced_requests=10, request_s=0)).requests_per_trial

    assert requests(64) == pytest.approx(requests(16), rel=0.1)


def test_uploads_never_make_training_wait() -> None:
    """Only the last one is waited for, and the one before it."""
    fast, slow = (simulate(SWEEP, replace(COSTS, request_s=seconds)) for seconds in (0, 1.0))
    upload_s = SWEEP.trials * COSTS.synced_requests * 1.0 / COSTS.parallel
    assert upload_s > 0.9 * fast.makespan_s
    assert fast.makespan_s < slow.makespan_s <= fast.makespan_s + 2 * upload_s


def test_the_fit_finds_the_costs_that_made_the_figures() -> None:
    def run(trials: int, reports: int, synced: int) -> Measured:
        cpu = 5 + 0.1 * trials + 0.002 * reports + 0.001 * synced
        uploads = trials + 3
        requests = {"trial write": 60 * trials, "trial read": 40 * trials, "sync write": 6 * uploads + 15 * synced}
        return Measured(1, trials, 1, reports, uploads, synced, cpu, 0, 0, requests)

    runs = [run(2, 100, 5), run(4, 900, 9), run(16, 300, 90), run(32, 4000, 400)]
    fixed, costs = fit(runs)
    assert (fixed, costs.trial_s, costs.report_s, costs.synced_s) == pytest.approx((5, 0.1, 0.002, 0.001))
    assert (costs.trial_requests, costs.synced_requests, costs.upload_requests) == pytest.approx((100, 15, 6))
    assert predict(run(64, 0, 0), fixed, costs) == pytest.approx(11.4)
