from __future__ import annotations

import copy
import pickle

import pytest
import timm
import torch
from edits import SIZE, image, insert, recipe
from nets import (
    AuxiliaryHead,
    CalledTwice,
    ChannelsLast,
    ControlFlow,
    DictOut,
    InForward,
    Plain,
    Tied,
    Tokens,
    TupleOut,
    UNet,
)
from torch import nn

import hmhsa_insert as hi
from hmhsa_insert.surgery.edit.splice import inserted_modules

CONV = {"type": "irb", "expansion": 1, "kernel_size": 3}


def open_gammas(model: nn.Module, value: float = 0.5) -> nn.Module:
    for _, module in inserted_modules(model):
        nn.init.constant_(module.gamma, value)
    return model


def out(model: nn.Module, size=SIZE) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(image(*size))


@pytest.mark.parametrize(
    "network",
    [Plain, ControlFlow, ChannelsLast, CalledTwice, TupleOut, InForward, UNet, Tied, AuxiliaryHead, Tokens],
)
def test_users_networks_take_blocks_at_every_cut_point(network) -> None:
    base = network()
    at = {"stride": [s.stride for s in hi.locate_stages(base, SIZE)], "block": "each"}
    edited = hi.apply(base, recipe(insert(at)), SIZE)
    checks = hi.verify(base, edited)
    assert all(check.passed for check in checks), checks
    assert isinstance(edited, network)
    assert not torch.equal(out(open_gammas(copy.deepcopy(edited))), out(base))
    again = hi.remove(edited)
    assert type(again) is network
    assert torch.equal(out(again), out(base))


def test_named_inputs_and_a_dict_out() -> None:
    base = DictOut()
    size = {"image": SIZE, "scale": (3,)}
    edited = hi.apply(base, recipe(insert({"stage": [1, 2]})), size)
    assert all(check.passed for check in hi.verify(base, edited))


def test_an_nhwc_host_computes_what_the_transposed_host_does() -> None:
    """The same network written N×C×H×W, with the same weights and blocks, gives the same numbers."""

    class Transposed(ChannelsLast):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.embed(x)
            for block in self.blocks:
                x = block(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
            return self.head(x.mean((2, 3)))

    nhwc, nchw = ChannelsLast(), Transposed()
    nchw.load_state_dict(nhwc.state_dict())
    block = {"type": "hmhsa", "head_dim": 8, "grids": [3, 2]}
    first = open_gammas(hi.apply(nhwc, recipe(insert({"stage": 1}, block)), (3, 64, 96)))
    second = hi.apply(nchw, recipe(insert({"stage": 1}, block)), (3, 64, 96))
    values = [dict(m.state_dict()) for _, m in inserted_modules(first)]
    for (_, module), state in zip(inserted_modules(second), values, strict=True):
        module.load_state_dict(state)
    torch.testing.assert_close(out(first, (3, 64, 96)), out(second, (3, 64, 96)))


def test_two_blocks_at_one_site_both_act_in_list_order() -> None:
    base = Plain()
    relu_like = {"type": "timm/se"}
    edits = (insert({"stage": 2}, CONV, id="first"), insert({"stage": 2}, relu_like, id="second"))
    one = hi.apply(base, recipe(*edits), SIZE)
    two = hi.apply(base, recipe(*reversed(edits)), SIZE)
    for model in (one, two):
        open_gammas(model)
    host = one.get_submodule("stages.1.1")
    two.get_submodule("stages.1.1").load_state_dict(host.state_dict())
    x = image(32, 8, 8)
    one.eval(), two.eval()
    with torch.no_grad():
        bare = hi.remove(one).get_submodule("stages.1.1").eval()(x)
        first, second = host.get_submodule("first"), host.get_submodule("second")
        torch.testing.assert_close(host(x), second(first(bare)))
        torch.testing.assert_close(two.get_submodule("stages.1.1")(x), first(second(bare)))
        assert not torch.allclose(second(first(bare)), first(second(bare)))


def test_an_edited_model_takes_another_edit_with_a_fresh_id() -> None:
    base = Plain()
    once = hi.apply(base, recipe(insert({"stage": 2}, CONV)), SIZE)
    twice = hi.apply(once, recipe(insert({"stage": 2}, CONV, id="more")), SIZE)
    assert {key for key, _ in inserted_modules(twice)} == {"stages.1.1.added", "stages.1.1.more"}
    open_gammas(twice)
    with torch.no_grad():
        host = twice.get_submodule("stages.1.1").eval()
        bare = hi.remove(twice).get_submodule("stages.1.1").eval()(image(16, 8, 8).repeat(1, 2, 1, 1))
        wanted = host.get_submodule("more")(host.get_submodule("added")(bare))
        torch.testing.assert_close(host(image(16, 8, 8).repeat(1, 2, 1, 1)), wanted)
    assert torch.equal(out(hi.remove(twice)), out(base))
    with pytest.raises(hi.PlanError, match=r"'stages\.1\.1' already has a 'added'"):
        hi.apply(once, recipe(insert({"stage": 2}, CONV)), SIZE)


def test_before_a_block_is_its_input_and_keys_live_under_it() -> None:
    base = Plain()
    edited = hi.apply(base, recipe(insert({"stage": 2, "block": "first"}, CONV, position="before")), SIZE)
    ((key, module),) = inserted_modules(edited)
    assert key == "stages.1.0.added"
    assert module.gamma.shape == (16,)
    open_gammas(edited)
    x = image(16, 16, 16)
    host, bare = edited.get_submodule("stages.1.0").eval(), base.get_submodule("stages.1.0").eval()
    with torch.no_grad():
        torch.testing.assert_close(host(x), bare(module(x)))


def test_initial_values_follow_the_seed_and_the_place_and_move_no_other_draw() -> None:
    base, each = Plain(), recipe(insert({"stage": 2, "block": "each"}, CONV))

    def drawn(seed: int) -> list[torch.Tensor]:
        modules = [module for _, module in inserted_modules(hi.apply(base, each, SIZE, seed=seed))]
        return [next(p for p in module.parameters() if p.ndim == 4) for module in modules]

    torch.manual_seed(5)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    first, again, other = drawn(3), drawn(3), drawn(4)
    assert torch.equal(torch.rand(3), wanted)
    assert len(first) == 2
    assert first[0].shape == first[1].shape
    assert not torch.equal(first[0], first[1])
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(first, other, strict=True))


@pytest.mark.parametrize("position", ["after", "before"])
def test_a_users_hooks_see_the_map_with_the_block(position: str) -> None:
    base, seen = Plain(), []
    host = base.get_submodule("stages.1.0")
    if position == "after":
        host.register_forward_hook(lambda _module, _args, output: seen.append(output))
    else:
        host.register_forward_pre_hook(lambda _module, args: seen.append(args[0]))
    at = {"stage": 2, "block": "first"}
    edited = open_gammas(hi.apply(base, recipe(insert(at, CONV, position=position)), SIZE)).eval()
    ((_, module),) = inserted_modules(edited)
    made = []
    module.register_forward_hook(lambda _module, args, output: made.append((args[0], output)))
    seen.clear()
    out(edited)
    ((taken, given),) = made
    assert not torch.equal(taken, given)
    assert len(seen) == 1
    assert torch.equal(seen[0], given)


def test_random_init_acts_at_once() -> None:
    base = Plain()
    edited = hi.apply(base, recipe(insert({"stage": 2}, CONV, init="random")), SIZE)
    ((_, module),) = inserted_modules(edited)
    assert module.gamma is None
    assert not torch.equal(out(edited), out(base))


def test_new_modules_take_dtype_and_mode_of_their_host() -> None:
    base = Plain().double().eval()
    base.stages[0].train()
    edited = hi.apply(base, recipe(insert({"stage": [1, 2]})), SIZE)
    assert all(p.dtype == torch.float64 for p in edited.parameters())
    assert edited.get_submodule("stages.0.1.added.block").training
    assert not edited.get_submodule("stages.1.1.added.block").training


def test_it_pickles_and_survives_double_use_and_checkpointing() -> None:
    edited = open_gammas(hi.apply(Plain(), recipe(insert({"stage": 2})), SIZE)).eval()
    again = pickle.loads(pickle.dumps(edited))
    assert torch.equal(out(again), out(edited))
    host = edited.get_submodule("stages.1.1").train()
    x = image(32, 8, 8).requires_grad_()
    plain = torch.autograd.grad(host(host(x)).sum(), x)[0]
    host.apply(lambda m: setattr(m, "momentum", 0.0) if isinstance(m, nn.BatchNorm2d) else None)
    y = torch.utils.checkpoint.checkpoint(host, host(x), use_reentrant=False)
    torch.testing.assert_close(torch.autograd.grad(y.sum(), x)[0], plain)


def test_a_shared_module_is_replaced_under_all_its_names() -> None:
    class Shares(Plain):
        def __init__(self) -> None:
            super().__init__()
            self.act = nn.GELU()
            self.same = self.act

        def forward(self, x):
            return self.head(self.same(self.act(self.features(x))).mean((2, 3)))

    base = Shares()
    replace = {"op": "replace", "id": "silu", "at": {"class": "GELU"}, "block": {"type": "silu"}}
    edited = hi.apply(base, recipe(replace), SIZE)
    assert isinstance(edited.act, nn.SiLU)
    assert edited.same is edited.act
    assert isinstance(hi.remove(edited).same, nn.GELU)


def test_replace_and_remove_keep_what_they_take_away_for_remove() -> None:
    base = timm.create_model("mobilenetv3_small_050", num_classes=5)
    before = {k: v.clone() for k, v in base.state_dict().items()}
    gone = {"op": "remove", "id": "nose", "at": {"class": ["SEModule", "SqueezeExcite"]}}
    edited = hi.apply(base, recipe(gone), SIZE)
    assert len(edited.state_dict()) < len(before)
    assert set(hi.base_state_dict(edited)) == set(before)
    assert not torch.equal(out(edited), out(base))
    again = hi.remove(edited)
    assert list(again.state_dict()) == list(before)
    assert torch.equal(out(again), out(base))
    kept = hi.verify(base, edited)
    assert all(check.passed for check in kept)
    assert "set aside" in kept[0].detail


def test_attention_in_place_of_a_convolution() -> None:
    base = timm.create_model("resnet50", num_classes=5)
    edited = hi.apply(base, "bottleneck.yaml", SIZE)
    keys = [key for key, _ in inserted_modules(edited)]
    assert keys == [f"layer4.{i}.conv2.{key.rsplit('.')[-1]}" for i, key in zip((1, 2), keys, strict=True)]
    assert "layer4.1.conv2.weight" not in edited.state_dict()
    assert all(check.passed for check in hi.verify(base, edited))
    assert out(edited, (3, 97, 131)).isfinite().all()


def test_silu_for_every_gelu() -> None:
    base = timm.create_model("convnext_atto", num_classes=5)
    edited = hi.apply(base, "silu.yaml", SIZE)
    gelus = [name for name, m in base.named_modules() if type(m).__name__ == "GELU"]
    assert len(gelus) == 12
    assert all(isinstance(edited.get_submodule(name), nn.SiLU) for name in gelus)
    assert list(edited.state_dict()) == list(base.state_dict())
