"""The prior: what is recorded is what autograd sees, and blocks are trained towards it."""

from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch
from timm.layers import freeze_batch_norm_2d
from torch import nn

from hmhsa_insert.placement.align import Branch, align, cosine
from hmhsa_insert.placement.candidates import Candidate, Candidates, find_candidates
from hmhsa_insert.placement.prior import score
from hmhsa_insert.placement.record import Recorded, record
from hmhsa_insert.placement.spill import Store
from hmhsa_insert.surgery.edit.splice import inserted_modules
from hmhsa_insert.surgery.locate.stages import locate
from hmhsa_insert.training.data.order import Shares
from hmhsa_insert.training.loop.seeding import UPDATE, derived_seed, seed_all
from hmhsa_insert.training.planned import plan_run
from hmhsa_insert.training.task import Task

CPU = torch.device("cpu")
SMALL = ["input_size=32", "batch_size=8", "epochs=1", "compute.device=cpu"]
BLOCKS = [{"type": "hmhsa", "head_dim": 16}, {"type": "timm/se"}]


@pytest.fixture(scope="module")
def run() -> Task:
    planned: Task = plan_run("test_resnet", "digits", overrides=SMALL)
    return planned


@pytest.fixture(scope="module")
def candidates(run: Task) -> Candidates:
    base = run.base()
    return find_candidates(base.model, locate(base.model, base.size), BLOCKS)


def _named(candidates: Candidates, name: str) -> Candidate:
    return next(each for each in candidates.all if each.name == name)


def test_candidates_are_blocks_at_stages_each_with_a_placebo_of_equal_parameters(
    candidates: Candidates,
) -> None:
    assert [each.name for each in candidates.blocks] == [
        f"{block}@{stage}" for block in ("hmhsa", "timm/se") for stage in (1, 2, 3, 4)
    ]
    for placebo in (each for each in candidates.all if each.control_of):
        own = _named(candidates, placebo.control_of)
        assert (placebo.num_params, placebo.site.qualname) == (own.num_params, own.site.qualname)
    assert not candidates.refused


def test_a_block_that_does_not_fit_is_named_with_its_reason(run: Task) -> None:
    base = run.base()
    found = find_candidates(base.model, locate(base.model, base.size), [{"type": "hmhsa", "head_dim": 192}])
    assert [each.name for each in found.blocks] == ["hmhsa@3"]
    assert "192" in found.refused["hmhsa@1"]


def test_blocks_of_one_type_with_other_options_are_candidates_under_names_that_files_can_have(
    run: Task,
) -> None:
    base = run.base()
    blocks = [
        {"type": "hmhsa", "head_dim": "auto", "width": 8},
        {"type": "hmhsa", "head_dim": "auto", "width": 16},
    ]
    found = find_candidates(base.model, locate(base.model, base.size), blocks)
    assert not found.refused
    names = [str(each.recipe.name) for each in found.all]
    assert names[:2] == ["hmhsa-head_dim-auto-width-8-s1", "hmhsa-head_dim-auto-width-8-s1-placebo"]
    assert len(set(names)) == len(names) == 2 * 2 * 4


@pytest.mark.parametrize("trained", [False, True])
@pytest.mark.parametrize("name", ["hmhsa@2", "timm/se@4", "hmhsa@1 placebo"])
def test_the_recorded_gradient_gives_autograds_gradient_of_gamma(
    run: Task, candidates: Candidates, name: str, trained: bool, tmp_path: Path
) -> None:
    """Also of a network that has weights, whose BatchNorm stands still."""
    if trained:
        torch.save(run.build().model.state_dict(), tmp_path / "weights.pth")
        run = replace(run, init_from=tmp_path / "weights.pth")
    candidate = _named(candidates, name)
    with Store(2**30) as store:
        recorded = record(run, [candidate.stage], 1, store, device=CPU)[candidate.stage]
        (x,), (g,) = recorded.maps, recorded.gradients
    network = replace(run, recipe=candidate.recipe.to_dict()).build()
    model = network.model.train()
    ((_, block),) = inserted_modules(model)
    still = {id(module) for module in model.modules()} - {id(module) for module in block.modules()}
    for module in model.modules():
        if trained and isinstance(module, nn.BatchNorm2d) and id(module) in still:
            module.eval()
    shares = Shares(run.settings.batch_size)
    objective, loader = run.objective(shares), run.train_batches(network, shares, False)
    batch = next(iter(loader.batches(0)))
    seed_all(derived_seed(run.seed, UPDATE, 1), CPU)
    objective.forward(model, batch).loss.backward()  # type: ignore[no-untyped-call]
    inner = block.block
    f = inner.branch(x) if hasattr(inner, "branch") else inner(x)
    assert torch.equal((g * f).sum((0, 2, 3)), block.gamma.grad)


def _seen_at(run: Task, stage: int) -> Recorded:
    with Store(2**30) as store:
        return record(run, [stage], 1, store, device=CPU)[stage]


def test_mixed_precision_is_for_the_training_and_not_for_the_recording(run: Task) -> None:
    half = plan_run("test_resnet", "digits", overrides=[*SMALL, "compute.precision=bf16"])
    assert half.settings.compute.precision == "bf16"
    for one, other in zip(vars(_seen_at(half, 3)).values(), vars(_seen_at(run, 3)).values(), strict=True):
        assert one[0].dtype == torch.float32
        assert torch.equal(one[0], other[0])


def test_batchnorm_that_is_frozen_is_recorded_as_it_is(run: Task, tmp_path: Path) -> None:
    frozen = timm.create_model("test_resnet", num_classes=10, in_chans=1)
    frozen.load_state_dict(run.build().model.state_dict())
    frozen = freeze_batch_norm_2d(frozen)
    assert not [module for module in frozen.modules() if isinstance(module, nn.BatchNorm2d)]
    torch.save(run.build().model.state_dict(), tmp_path / "weights.pth")
    still = _seen_at(replace(run, init_from=tmp_path / "weights.pth"), 3)
    seen = _seen_at(plan_run(frozen, "digits", overrides=SMALL), 3)
    assert torch.allclose(seen.maps[0], still.maps[0], atol=1e-5)
    assert torch.allclose(seen.gradients[0], still.gradients[0], atol=1e-6)


def test_nothing_of_the_network_changes_and_batchnorm_follows_what_was_trained(
    run: Task, tmp_path: Path
) -> None:
    def statistics_used(planned: Task) -> torch.Tensor:
        with Store(2**30) as store:
            return record(planned, [4], 1, store, device=CPU)[4].maps[0]

    state = run.build().model.state_dict()
    torch.save(state, tmp_path / "weights.pth")
    trained = replace(run, init_from=tmp_path / "weights.pth")
    from_scratch, from_weights = statistics_used(run), statistics_used(trained)
    assert not torch.allclose(from_scratch, from_weights)  # the batch's statistics; the running ones
    before = {key: value.clone() for key, value in state.items()}
    assert all(torch.equal(value, before[key]) for key, value in run.build().model.state_dict().items())


def test_tensors_beyond_the_limit_lie_in_files_that_go_with_the_store() -> None:
    tensors = [torch.randn(3, 5), torch.randn(4, 25), torch.randn(2, 2)]
    with Store(limit=100) as store:
        kept = [store.keep(each) for each in tensors]
        assert all(torch.equal(a, b) for a, b in zip(kept, tensors, strict=True))
        assert store.spilled == 400
        assert store._folder is not None
        folder = Path(store._folder.name)
        assert len(list(folder.iterdir())) == 1
    assert not folder.exists()


def test_what_is_kept_does_not_change_with_the_tensor() -> None:
    tensor = torch.ones(4)
    with Store(limit=100) as store:
        kept = store.keep(tensor)
    tensor.zero_()
    assert kept.sum() == 4


def _seen(towards: float, batches: int = 8) -> Recorded:
    """Return maps, and gradients that follow from them by a linear layer, or from nothing."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(32, 32, 1, 1, generator=generator) / 6
    maps = [torch.randn(8, 32, 8, 8, generator=generator) for _ in range(batches)]
    noise = [torch.randn(8, 32, 8, 8, generator=generator) for _ in range(batches)]
    gradients = [
        -towards * nn.functional.conv2d(x, weight) + (1 - towards) * n
        for x, n in zip(maps, noise, strict=True)
    ]
    return Recorded(maps, gradients)


def test_a_block_learns_a_direction_that_there_is_and_none_that_there_is_not(candidates: Candidates) -> None:
    placebo = _named(candidates, "hmhsa@1 placebo")  # works position by position, as the layer does
    learned, nothing = (align(placebo, _seen(towards), 60, 0, CPU) for towards in (1.0, 0.0))
    assert learned.cosine > 0.3 > 10 * abs(nothing.cosine)
    assert learned == align(placebo, _seen(1.0), 60, 0, CPU)
    assert learned != align(placebo, _seen(1.0), 60, 1, CPU)


def test_the_scored_batches_are_none_that_were_trained_on(candidates: Candidates) -> None:
    placebo, seen = _named(candidates, "hmhsa@1 placebo"), _seen(1.0)
    other = Recorded(seen.maps, [*seen.gradients[:4], *(-g for g in seen.gradients[4:])])
    own, mirrored = align(placebo, seen, 20, 0, CPU), align(placebo, other, 20, 0, CPU)
    assert mirrored.cosine == pytest.approx(-own.cosine)
    assert own.gain == pytest.approx(own.cosine * float(seen.gradients[-1].norm()), rel=0.1)


def test_the_branch_is_what_the_network_would_add(candidates: Candidates) -> None:
    branch = Branch(_named(candidates, "timm/se@1"), seed=0)
    x = torch.randn(2, 32, 8, 8)
    assert torch.equal(branch(x), branch.block(x))


def test_a_cosine_of_nothing_is_zero() -> None:
    assert cosine(torch.zeros(3), torch.ones(3)) == 0
    assert float(cosine(torch.tensor([3.0, 0.0]), torch.tensor([1.0, 1.0]))) == pytest.approx(0.5**0.5)


def test_all_blocks_are_scored_beside_their_placebos_the_largest_gain_first(
    run: Task, candidates: Candidates
) -> None:
    said: list[str] = []
    found = score(
        run, candidates, device=CPU, batches=4, steps=3, progress=lambda what, done, whole: said.append(what)
    )
    assert {each.candidate.name for each in found} == {each.name for each in candidates.blocks}
    gains = [each.own.gain for each in found]
    assert gains == sorted(gains, reverse=True)
    assert all(each.placebo is not None for each in found)
    assert said[:4] == ["recording batches"] * 4
