"""Planning: identities, trials that are the same, everything that cannot be planned at once."""

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from study_nets import STUDY, study

from hmhsa_insert.costs import counters
from hmhsa_insert.studies import identity as identities
from hmhsa_insert.studies import planner as planning
from hmhsa_insert.studies.plan_study import PlannedStudy, plan_study
from hmhsa_insert.studies.problems import StudyError
from hmhsa_insert.studies.study_file import load_study
from hmhsa_insert.training import image_task

EDIT: dict[str, Any] = STUDY["variants"]["attn"]["edits"][0]


def _plan(**changes: Any) -> PlannedStudy:
    return plan_study(load_study(study(**changes)))


def _ids(planned: PlannedStudy) -> dict[tuple[str, int], str]:
    return {(trial.cell.variant, trial.seed): trial.id for trial in planned.trials}


def _problems(**changes: Any) -> list[str]:
    with pytest.raises(StudyError) as caught:
        _plan(**changes)
    return [str(problem) for problem in caught.value.problems]


@pytest.fixture(scope="module")
def base() -> PlannedStudy:
    return _plan()


def test_trials_and_their_cost(base: PlannedStudy) -> None:
    assert [(trial.cell.variant, trial.seed) for trial in base.trials] == [
        ("plain", 0),
        ("plain", 1),
        ("attn", 0),
        ("attn", 1),
    ]
    plain, attn = (base.costs[base.trials[index].cell.digest] for index in (0, 2))
    assert (attn["num_params"] or 0) > (plain["num_params"] or 0) > 0
    assert (attn["macs"] or 0) > (plain["macs"] or 0) > 0
    assert base.images[base.trials[0].cell.digest] == 2 * (1437 // 240) * 240
    written = base.to_dict()
    assert written["trials"][2] == {
        "id": base.trials[2].id,
        "variant": "attn",
        "model": "nano",
        "recipe": "attn",
        "settings": "quick",
        "data": "digits",
        "seed": 0,
        "group": "nano, quick, digits",
        "baseline": False,
    }
    assert [trial["baseline"] for trial in written["trials"]] == [True, True, False, False]


def test_what_a_trial_is_called_plays_no_part_in_what_it_is(base: PlannedStudy) -> None:
    renamed = copy.deepcopy(STUDY["settings"])
    variants = {
        "base": None,
        "other": {"edits": [{**EDIT, "init": "identity", "at": {"stride": 8, "block": "last"}}]},
    }
    other = _plan(
        name="renamed",
        models={"r": "study_nets:irb_nano"},
        settings={"s": renamed["quick"] | {"checkpoint_steps": 7}},
        variants=variants,
        threads=1,
        seeds=[1, 0, 5],
    )
    mine, theirs = _ids(base), _ids(other)
    for seed in (0, 1):
        assert theirs[("base", seed)] == mine[("plain", seed)]
        assert theirs[("other", seed)] == mine[("attn", seed)]
    assert len(set(theirs.values())) == 6


@pytest.mark.parametrize(
    "changes",
    [
        {"threads": 2},
        {"models": {"nano": "test_resnet"}},
        {"settings": {"quick": STUDY["settings"]["quick"] | {"epochs": 3}}},
        {"settings": {"quick": STUDY["settings"]["quick"] | {"loss": {"label_smoothing": 0.1}}}},
    ],
)
def test_what_determines_a_trial_makes_it_another(base: PlannedStudy, changes: dict[str, Any]) -> None:
    assert not set(_ids(base).values()) & set(_ids(_plan(**changes)).values())


def test_versions_that_matter_make_other_trials(base: PlannedStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    real, versions = identities.metadata.version, {}
    monkeypatch.setattr(identities.metadata, "version", lambda name: versions.get(name) or real(name))
    for name in ("torch", "timm", "torchvision"):
        versions[name] = "9.9.9"
        assert not set(_ids(base).values()) & set(_ids(_plan()).values())
        del versions[name]
    versions["torch"] = real("torch").partition("+")[0] + "+cu128"
    assert _ids(_plan()) == _ids(base)
    monkeypatch.setattr(identities.hmhsa_insert, "__version__", "0.1.7")
    assert _ids(_plan()) == _ids(base)
    monkeypatch.setattr(identities.hmhsa_insert, "__version__", "0.2.0")
    assert not set(_ids(base).values()) & set(_ids(_plan()).values())


def test_equal_trials_are_found_whatever_their_names() -> None:
    block = {"type": "hmhsa", "head_dim": 4, "grids": "auto"}
    twin = {"edits": [{**EDIT, "at": {"stride": 8}, "block": block}]}
    planned = _plan(variants=STUDY["variants"] | {"twin": twin, "none": {}}, baseline="plain")
    assert (len(planned.trials), len(planned.distinct)) == (8, 4)
    ids = _ids(planned)
    assert ids[("twin", 1)] == ids[("attn", 1)] != ids[("attn", 0)]
    assert ids[("none", 0)] == ids[("plain", 0)]
    assert len([note for note in planned.notes if "is the same as" in note]) == 2


@settings(deadline=None, max_examples=100)
@given(
    st.dictionaries(st.sampled_from("abcde"), st.integers(0, 2) | st.lists(st.integers(0, 1), max_size=2)),
    st.data(),
)
def test_a_digest_ignores_order_and_nothing_else(value: dict[str, Any], data: st.DataObject) -> None:
    shuffled = dict(data.draw(st.permutations(list(value.items()))))
    other = data.draw(st.dictionaries(st.sampled_from("abcde"), st.integers(0, 2)))
    assert identities.hash_of(value) == identities.hash_of(shuffled)
    assert (identities.hash_of(value) == identities.hash_of(other)) == (value == other)


@settings(deadline=None, max_examples=100)
@given(st.integers(0, 2**40), st.integers(0, 2**40))
def test_seeds_make_trials_of_their_own(one: int, two: int) -> None:
    assert (identities.trial_id("d", one) == identities.trial_id("d", two)) == (one == two)
    assert identities.trial_id("d", one) != identities.trial_id(f"d {one}", two)


def test_exclusions_and_what_they_leave_uncompared() -> None:
    exclude = [{"variant": "pl*", "seed": 1}, {"variant": "attn", "seed": 0}]
    assert list(_ids(_plan(exclude=exclude))) == [("plain", 0), ("attn", 1)]
    no_baseline = _plan(exclude=[{"variant": "plain"}])
    assert any("nothing to compare with" in note for note in no_baseline.notes)
    assert "leaves out nothing" in _problems(exclude=[{"variant": "atn"}])[0]
    assert "every trial" in _problems(exclude=[{"variant": "*"}])[0]


def test_settings_and_data_of_one_name_are_excluded_apart() -> None:
    quick = STUDY["settings"]["quick"]
    named = {"digits": quick, "long": quick | {"epochs": 3}}
    planned = _plan(settings=named, exclude=[{"settings": "long"}])
    assert {(trial.cell.settings_label, trial.cell.data) for trial in planned.trials} == {
        ("digits", "digits")
    }
    assert "leaves out nothing" in _problems(settings=named, exclude=[{"data": "long"}])[0]


def test_everything_that_cannot_be_planned_comes_at_once() -> None:
    bad = {"edits": [{**EDIT, "at": {"stage": 2}, "block": {"type": "hmhsa", "head_dim": 5}}]}
    nowhere = {"edits": [{**EDIT, "at": {"stage": 6}}]}
    found = _problems(
        models={"nano": "study_nets:irb_nano", "none": "resnet_of_nobody"},
        variants=STUDY["variants"] | {"bad": bad, "nowhere": nowhere},
        data=["digits", "no_such_data"],
    )
    assert any(each.startswith("study.variants.bad.edits[0].block.head_dim: bad on nano: ") for each in found)
    assert any(each.startswith("study.variants.nowhere.edits[0].at") for each in found)
    assert any(
        each.startswith("study.models.none: none: resnet_of_nobody: neither timm nor") for each in found
    )
    assert any(each.startswith("study.data[1]: no_such_data: no such folder") for each in found)
    assert len(found) == len(set(found))


def test_each_network_and_recipe_is_planned_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = {"build_network": 0, "plan_located": 0, "count": 0}
    for name, module in {"build_network": image_task, "plan_located": planning, "count": counters}.items():
        real = getattr(module, name)

        def counted(*args: Any, _name: str = name, _real: Any = real, **kwargs: Any) -> Any:
            calls[_name] += 1
            return _real(*args, **kwargs)

        monkeypatch.setattr(module, name, counted)
    quick = STUDY["settings"]["quick"]
    planned = _plan(seeds=1000, settings={str(epochs): quick | {"epochs": epochs} for epochs in range(1, 4)})
    assert len(planned.distinct) == 6000
    assert calls == {"build_network": 1, "plan_located": 1, "count": 2}


def test_a_network_that_refuses_the_size_of_the_images() -> None:
    (problem,) = _problems(models=["timm/deit_tiny_patch16_224"])
    assert "timm/deit_tiny_patch16_224: VisionTransformer: an image of 1×16×16 does not run" in problem


def test_a_recipe_that_one_network_refuses_is_told_and_the_others_are_trained() -> None:
    narrow = {"edits": [{**EDIT, "block": {"type": "hmhsa", "head_dim": 16}}]}
    models = {"nano": "study_nets:irb_nano", "wide": "test_resnet"}
    planned = _plan(models=models, variants=STUDY["variants"] | {"narrow": narrow}, seeds=1)
    (refusal,) = planned.refused
    assert (refusal.cell.variant, refusal.cell.model) == ("narrow", "nano")
    (row,) = planned.to_dict()["refused"]
    assert (row["variant"], row["group"]) == ("narrow", "nano, quick, digits")
    assert "16" in row["reason"]
    assert [(t.cell.variant, t.cell.model) for t in planned.trials if t.cell.variant == "narrow"] == [
        ("narrow", "wide")
    ]
    # Where the study leaves it out itself, the reason is told as well; of what would do, nothing.
    again = _plan(
        models=models,
        variants=STUDY["variants"] | {"narrow": narrow},
        seeds=1,
        exclude=[{"variant": "narrow", "model": "nano"}, {"variant": "attn", "model": "nano"}],
    )
    assert [each.reason for each in again.refused] == [refusal.reason]


def test_a_recipe_that_every_network_refuses_is_an_error() -> None:
    wrong = {"edits": [{**EDIT, "at": {"stage": 7}}]}
    models = {"nano": "study_nets:irb_nano", "wide": "test_resnet"}
    found = _problems(models=models, variants=STUDY["variants"] | {"wrong": wrong}, seeds=1)
    assert [("wrong on nano" in each, "wrong on wide" in each) for each in found] == [
        (True, False),
        (False, True),
    ]
