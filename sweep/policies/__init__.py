"""Policies: which trials to train next, decided from the rows of finished ones alone.

    asked.decide(policy, results, shrink=..., budget_gpu_hours=...) -> Wanted

`results` is every row there is, in any order, those of trials that nobody asked for included. `Wanted` has

    asked       ids of all trials that it wanted so far, ended or not: what the answer is made of
    trials      what the policy waits for, in the order in which to begin them: start as many as there are free slots
    likely      what it may want next, likeliest first, for slots that are still free; never needed for a decision
    done, why   whether nothing more is wanted, and the reason in a sentence
    at_most     how many trials there can be in all, those that ended included
    decisions   every decision so far, numbered from 0, with the numbers behind it: what `decisions/` holds

The contract:

1. A policy is a pure function: no clock, no files, no chance, and nothing kept between two calls. Each call plays the
   whole course again from its first trial, so a driver that was killed, or another one, decides the same.
2. A decision depends only on rows of trials that the policy itself wanted, asked one after the other. A row of a trial
   that was begun early is ignored until it is wanted; then it is there at once. So the number of slots, the order in
   which trials end, crashes and retries decide nothing, and the decisions of one call are a prefix of those of any later
   one. The one exception is a budget of GPU-hours, which counts whatever was spent.
3. A trial that diverged, failed or ran out of memory has ended, and has no loss. One that was interrupted or still runs
   has not, and stays wanted.
4. With `shrink`, a trial that ran out of memory and can be shrunk stays wanted, as a request with `shrink=True`, until
   its row says that it was shrunk. It keeps its id: the row is replaced.
5. The seed is a trial's, the order of seeds the caller's: the first one chooses rates, each look of a race takes one more.

A policy is written as a course: a generator that yields trials, is sent their rows, and yields decisions (asked.py).

    asked.py      the course, and who plays it
    grid.py       every trial of a grid
    tune.py       each rank's best value of a setting, and which ranks need no more
    race.py       seeds where they can still change the answer
    tuned.py      tune, then a grid or a race over seeds at each rank's best value
    standing.py   how a race stands: the answer's own bounds; the one module here that imports from sweep.answer
    made.py       the policy that sweep.json describes; a trial's row as policies see it
    explain.py    decisions as rows and as text, and whether rows give them again
"""
