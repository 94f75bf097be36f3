"""Policies: which trials to train next, decided from the rows of finished ones alone.

    policy.decide(policy, results, shrink=..., budget_gpu_hours=...) -> Wanted

`results` is every existing row, in any order, including those of trials that the policy did not request. `Wanted` has

    asked       ids of all trials requested so far, finished or not: the answer is based on these
    trials      what the policy waits for, in the order in which to start them: start as many as there are free slots
    likely      what it may request next, most likely first, for slots that are still free; no decision needs them
    done, why   whether it requests nothing more, and the reason in a sentence
    at_most     how many trials there can be in total, including finished ones
    decisions   every decision so far, numbered from 0, with the numbers behind it: the content of `decisions/`

The contract:

1. A policy is a pure function: no clock, no files, no randomness, and no state between calls. Each call replays
   everything from the first trial, so a driver that was killed and restarted, or another one, makes the same decisions.
2. A decision depends only on rows of trials that the policy itself requested, considered one after the other. The row of
   a trial that was started early is ignored until that trial is requested; then it is available at once. So the number
   of slots, the order in which trials end, crashes and retries do not affect decisions, and the decisions of one call
   are a prefix of those of any later one. The only exception is a budget of GPU-hours, which counts all that was spent.
3. A trial that diverged, failed or ran out of memory has ended, without a loss. One that was interrupted or is still
   running has not ended, and stays requested.
4. With `shrink`, a trial that ran out of memory and can be shrunk stays requested, with `shrink=True`, until its row says
   that it was shrunk. It keeps its id: the row is replaced.
5. The caller gives the order of seeds: the first one chooses learning rates, each look of a race takes one more.

A policy is a generator that yields trials, is sent their rows, and yields decisions (policy.py).

    policy.py            what policies receive and yield; decide() replays one on the existing rows
    grid.py              every trial of a grid
    tune.py              each rank's best value of a setting, and which ranks need not be trained
    race.py              further seeds only where they can still change the answer
    tune_then_seeds.py   tune, then a grid or a race over seeds at each rank's best value
    standing.py          the state of a race, from the answer's own bounds; the only module here that imports sweep.answer
    record.py            the policy that sweep.json describes; a trial's row as policies see it
    explain.py           decisions as rows and as text, and whether a replay gives the same ones
"""
