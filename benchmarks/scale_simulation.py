"""A sweep on many nodes as a discrete-event simulation: one driver, N nodes with a GPU each, an object store.

The simulation follows Ray Tune: one loop handles starts, reports and ends, one after the other. Trials never wait for
their reports, and have at most one in flight. Every ten seconds, or less often if it takes long, the driver saves the
experiment's state and uploads its files of every trial started so far, unless an upload is still in progress.
"""

import heapq
from collections import deque
from dataclasses import dataclass

PERIOD_S = 10.0  # minimum between two saves of the experiment's state


@dataclass(frozen=True)
class Costs:
    """Costs for the driver and the store, measured by benchmarks/scale_nodes.py except for the latency."""

    trial_s: float  # driver time of a trial: its start, its end
    report_s: float  # driver time of a report
    synced_s: float  # driver time of a trial in an upload
    trial_requests: float  # requests per trial by its worker
    synced_requests: float  # requests of a trial in an upload
    upload_requests: float = 0.0  # fixed requests per upload
    request_s: float = 0.03  # latency of a request
    parallel: int = 8  # uploads at a time: pyarrow's I/O threads


@dataclass(frozen=True)
class Sweep:
    """The workload: any number of trials of equal length."""

    nodes: int
    trials: int
    steps: int
    step_s: float
    start_s: float = 0.06  # a reused process starts the next trial


@dataclass(frozen=True)
class Outcome:
    """The result of a simulation."""

    makespan_s: float
    gpu_share: float  # share of GPU time spent training
    driver_share: float  # share of the time in which the driver is busy
    reported_share: float  # share of all steps that Tune saw
    requests_per_trial: float


class _Run:
    """State of one simulation. An event is (time, order, kind, trial)."""

    def __init__(self, sweep: Sweep, costs: Costs) -> None:
        self.sweep, self.costs = sweep, costs
        self.events: list[tuple[float, int, str, int]] = []
        self.jobs: deque[tuple[str, int]] = deque()  # the driver's queue
        self.order = self.begun = self.ended = self.reports = 0
        self.now = self.upload_ends = self.worked = self.requests = 0.0
        self.saved_at, self.period = -PERIOD_S, PERIOD_S
        self.step = [0] * sweep.trials
        self.reporting = [False] * sweep.trials

    def at(self, time: float, kind: str, trial: int) -> None:
        self.order += 1
        heapq.heappush(self.events, (time, self.order, kind, trial))

    def ask(self, job: str, trial: int) -> None:
        """Adds a job to the driver's queue; an idle driver starts it."""
        self.jobs.append((job, trial))
        if len(self.jobs) == 1:
            self.serve()

    def serve(self) -> None:
        """Starts the first job in the queue."""
        job, trial = self.jobs[0]
        length = {"start": self.costs.trial_s / 2, "end": self.costs.trial_s / 2}.get(job, self.costs.report_s)
        self.worked += length
        if self.now + length >= self.saved_at + self.period:
            length += self.save(self.now + length)
        self.at(self.now + length, "served", trial)

    def save(self, when: float) -> float:
        """Saves the experiment's state, and uploads it unless an upload is in progress; returns the driver's seconds for it."""
        work = self.begun * self.costs.synced_s
        self.worked += work
        self.saved_at = when + work
        self.period = max(PERIOD_S, 19 * work)
        if self.saved_at >= self.upload_ends:
            requests = self.costs.upload_requests + self.begun * self.costs.synced_requests
            self.requests += requests
            self.upload_ends = self.saved_at + requests * self.costs.request_s / self.costs.parallel
        return work

    def served(self) -> None:
        """The driver has finished its current job: handles the consequences, and starts the next job."""
        job, trial = self.jobs.popleft()
        if job == "start":
            self.at(self.now + self.sweep.start_s + self.sweep.step_s, "step", trial)
        elif job == "end":
            self.ended += 1
            self.requests += self.costs.trial_requests
            self.begin()
        else:
            self.reports += 1
            self.reporting[trial] = False
        if self.jobs:
            self.serve()

    def begin(self) -> None:
        """A node is free: starts the next trial, if any."""
        if self.begun < self.sweep.trials:
            self.begun += 1
            self.ask("start", self.begun - 1)

    def stepped(self, trial: int) -> None:
        """A trial has finished a step."""
        self.step[trial] += 1
        step = self.step[trial]
        if step == self.sweep.steps:
            self.ask("end", trial)
            return
        if not self.reporting[trial]:
            self.reporting[trial] = True
            self.ask("report", trial)
        self.at(self.now + self.sweep.step_s, "step", trial)

    def run(self) -> Outcome:
        for _ in range(min(self.sweep.nodes, self.sweep.trials)):
            self.begin()
        while self.events:
            self.now, _, kind, trial = heapq.heappop(self.events)
            if kind == "served":
                self.served()
            else:
                self.stepped(trial)
        self.now = max(self.now, self.upload_ends)  # the final state is uploaded in any case
        self.now += self.save(self.now)
        self.now = self.upload_ends
        busy = self.sweep.trials * self.sweep.steps * self.sweep.step_s
        return Outcome(
            makespan_s=self.now,
            gpu_share=busy / (self.now * min(self.sweep.nodes, self.sweep.trials)),
            driver_share=self.worked / self.now,
            reported_share=self.reports / (self.sweep.trials * self.sweep.steps),
            requests_per_trial=self.requests / self.sweep.trials,
        )


def simulate(sweep: Sweep, costs: Costs) -> Outcome:
    """Runs a sweep in simulated time."""
    return _Run(sweep, costs).run()
