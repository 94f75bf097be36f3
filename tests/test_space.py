import hypothesis.strategies as st
from hypothesis import given

from sweep.space import FULL, Trial, alpha_of, config_hash, differing, ignored_in_trial_id, trials

BASE = {"model_name_or_path": "m", "dataset_name": "d", "lora_dropout": 0.1, "max_steps": 5}
ranks = st.lists(st.one_of(st.integers(1, 512), st.just(FULL)), min_size=1, max_size=5, unique=True)
seeds = st.lists(st.integers(0, 99), min_size=1, max_size=4, unique=True)


def ids(made: list[Trial]) -> list[str]:
    return [trial.trial_id for trial in made]


@given(ranks, seeds)
def test_every_combination_is_there_once(some_ranks, some_seeds):  # type: ignore[no-untyped-def]
    made = trials(BASE, some_ranks, some_seeds, {"learning_rate": (1e-4, 2e-4)}, "fixed")
    assert {(trial.rank, trial.seed, trial.axes["learning_rate"]) for trial in made} == {
        (rank, seed, rate) for rank in some_ranks for seed in some_seeds for rate in (1e-4, 2e-4)
    }
    assert len(set(ids(made))) == len(made) == 2 * len(some_ranks) * len(some_seeds)


@given(ranks, seeds)
def test_ids_do_not_depend_on_what_else_is_in_the_grid(some_ranks, some_seeds):  # type: ignore[no-untyped-def]
    grid = trials(BASE, some_ranks, some_seeds, {}, "fixed")
    alone = [one for rank in some_ranks for seed in some_seeds for one in trials(BASE, [rank], [seed], {}, "fixed")]
    assert set(ids(grid)) == set(ids(alone))


def test_a_changed_setting_is_another_trial_and_an_ignored_one_is_not() -> None:
    before = ids(trials(BASE, [8], [0], {}, "fixed"))
    assert ids(trials({**BASE, "max_steps": 6}, [8], [0], {}, "fixed")) != before
    assert ids(trials({**BASE, "report_to": "wandb", "save_steps": 7}, [8], [0], {}, "fixed")) == before


def test_where_the_best_checkpoint_is_chosen_which_are_saved_is_not_ignored() -> None:
    best = {**BASE, "load_best_model_at_end": True, "save_steps": 2}
    before = ids(trials(best, [8], [0], {}, "fixed"))
    assert ids(trials({**best, "save_steps": 4}, [8], [0], {}, "fixed")) != before
    assert ids(trials({**best, "save_strategy": "best"}, [8], [0], {}, "fixed")) != before
    assert ids(trials({**best, "report_to": "wandb"}, [8], [0], {}, "fixed")) == before
    assert "save_steps" in ignored_in_trial_id(BASE) and "dataloader_persistent_workers" not in ignored_in_trial_id(
        BASE
    )


def test_an_axis_tells_trials_apart_even_where_it_only_watches() -> None:
    assert len(set(ids(trials(BASE, [8], [0], {"run_name": ("a", "b")}, "fixed")))) == 2


def test_a_value_in_the_base_and_as_an_axis_is_the_same_trial() -> None:
    base = trials({**BASE, "learning_rate": 1e-4}, [8], [0], {}, "fixed")
    axis = trials(BASE, [8], [0], {"learning_rate": (1e-4, 2e-4)}, "fixed")
    assert ids(base)[0] in ids(axis)


def test_full_fine_tuning_has_no_lora_settings_and_is_not_repeated_along_a_lora_axis() -> None:
    made = trials(BASE, [8, FULL], [0], {"lora_alpha": (16, 32)}, "fixed")
    full = [trial for trial in made if trial.method == "full"]
    assert len(full) == 1
    assert full[0].lora_r is None and full[0].lora_alpha is None and full[0].axes["lora_alpha"] is None
    assert not [key for key in full[0].settings if "lora" in key]


def test_rules_of_alpha() -> None:
    assert [alpha_of(rank, 32, "fixed") for rank in (8, 64)] == [32, 32]
    assert [alpha_of(rank, 32, "proportional") / rank for rank in (8, 64)] == [2, 2]
    one = trials({**BASE, "lora_alpha": 16}, [4], [0], {}, "rslora")[0]
    assert one.settings["use_rslora"] is True and one.lora_alpha == 16


def test_hash_does_not_depend_on_the_order_of_keys() -> None:
    assert config_hash({"a": 1, "b": [2]}) == config_hash({"b": [2], "a": 1})


def test_differing_names_what_is_not_the_same_in_all() -> None:
    assert differing([{"a": 1, "b": 2}, {"a": 1, "b": 3}, {"a": 1}]) == {"b": [2, 3, None]}
