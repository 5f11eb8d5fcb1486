"""A block computes as its map was made: in the map's dtype, on its device, unless autocast casts for each operation."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from edits import SIZE, insert, recipe
from torch import Tensor, nn

import hmhsa_insert as hi
from hmhsa_insert.surgery.edit.splice import inserted_modules

BLOCK = {"type": "irb", "expansion": 1}


class Float32Norm(nn.BatchNorm2d):
    """Normalizes in float32 and returns what it got: what large half-precision networks do."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.float()).to(x.dtype)


class Net(nn.Module):
    """Two stages that end in norms, of which `dtype` leaves out those that stay in float32."""

    def __init__(self, dtype: torch.dtype = torch.float32, norm: type[nn.Module] = Float32Norm) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inp, out in ((3, 8), (8, 16)):
            layers += [nn.Conv2d(inp, out, 3, 2, 1), norm(out)]
        self.layers, self.head = nn.Sequential(*layers), nn.Linear(16, 5)
        self.to(dtype)
        for module in self.modules():
            if isinstance(module, Float32Norm):
                module.float()

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layers(x).mean((2, 3)))


class AutocastInside(Net):
    """The whole body runs under autocast: the block's place is inside of it."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return self.head(self.layers(x).mean((2, 3))).float()


class CastConv(nn.Conv2d):
    """A layer that opens autocast for itself and hands a bfloat16 map to code outside of it."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return super().forward(x)


class AutocastInLayer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.head = nn.Conv2d(3, 8, 3, 2, 1), CastConv(8, 16, 3, 2, 1), nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.b(self.a(x).relu()).float().mean((2, 3)))


class DoubleInside(nn.Module):
    """Weights in float32, and a map cast to float64 inside the forward, where no module returns it."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.head = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 16, 3, 2, 1), nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.b(torch.relu(self.a(x))).double())
        return self.head(y.mean((2, 3)).float())


def blocks_of(model: nn.Module) -> set[torch.dtype]:
    return {p.dtype for _, module in inserted_modules(model) for p in module.parameters()}


def edit(model: nn.Module, **at: Any) -> nn.Module:
    return hi.apply(model, recipe(insert(at or {"stride": [2, 4]}, BLOCK)), SIZE)


def act(model: nn.Module) -> None:
    """Let every block change its map."""
    for _, module in inserted_modules(model):
        nn.init.constant_(module.gamma, 0.5)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("network", "wanted"),
    [
        (Net(), torch.float32),
        (Net(torch.bfloat16), torch.bfloat16),
        (Net(torch.float16), torch.float16),
        (Net(torch.float64), torch.float64),
        (Net(torch.bfloat16, nn.BatchNorm2d), torch.bfloat16),
        (AutocastInside(), torch.float32),
        (AutocastInLayer(), torch.bfloat16),
        (DoubleInside(), torch.float64),
    ],
    ids=["float32", "bfloat16", "float16", "float64", "bfloat16 norms", "autocast", "own autocast", "inside"],
)
def test_the_block_has_the_dtype_of_its_map(network: nn.Module, wanted: torch.dtype) -> None:
    places: dict[type, dict[str, Any]] = {AutocastInLayer: {"module": "b"}, DoubleInside: {"stride": 4}}
    edited = edit(network, **places.get(type(network), {}))
    assert blocks_of(edited) == {wanted}
    checks = hi.verify(network, edited)
    assert all(check.passed for check in checks), checks
    act(edited)
    x = torch.randn(2, *SIZE).to(next(network.parameters()).dtype)
    before, after = network.eval()(x), edited.eval()(x)
    assert after.dtype == before.dtype
    assert (after - before).abs().max() > 0


def test_a_replaced_module_is_followed_by_a_block_of_its_maps_dtype() -> None:
    network = Net(torch.bfloat16)
    swapped = recipe(
        {"op": "replace", "id": "new", "at": {"module": "layers.3"}, "block": BLOCK},
    )
    edited = hi.apply(network, swapped, SIZE)
    assert blocks_of(edited) == {torch.bfloat16}
    edited.eval()(torch.randn(2, *SIZE).bfloat16())


def test_a_model_on_meta_gets_a_block_on_meta_of_its_maps_dtype() -> None:
    with torch.device("meta"):
        network = Net(torch.bfloat16)
    edited = edit(network)
    parameters = [p for _, module in inserted_modules(edited) for p in module.parameters()]
    assert {(p.device.type, p.dtype) for p in parameters} == {("meta", torch.bfloat16)}


def test_the_dtype_is_in_the_plan_and_comes_back_with_the_artifact(tmp_path: Any) -> None:
    network = Net(torch.bfloat16)
    edited = edit(network)
    act(edited)
    x = torch.randn(2, *SIZE).bfloat16()
    loaded = hi.load(hi.save(edited, tmp_path / "a"), base=Net(torch.bfloat16))
    assert blocks_of(loaded) == {torch.bfloat16}
    assert torch.equal(loaded.eval()(x), edited.eval()(x))


def test_a_plan_says_nothing_of_dtype_and_device_where_the_weights_do() -> None:
    made = hi.plan(Net(norm=nn.BatchNorm2d), recipe(insert({"stride": [2, 4]}, BLOCK)), SIZE)
    assert {(site.dtype, site.device) for site in made.sites} == {(None, None)}
    half = hi.apply(Net(norm=nn.BatchNorm2d).half(), recipe(insert({"stride": 4}, BLOCK)), SIZE)
    assert blocks_of(half) == {torch.float16}


def test_an_old_plan_without_dtype_loads() -> None:
    from hmhsa_insert.surgery.sites.site import Plan

    data = hi.plan(Net(), recipe(insert({"stride": 4}, BLOCK)), SIZE).to_dict()
    for site in data["sites"]:
        del site["dtype"], site["device"], site["inp"]["frames"]
    assert [site.dtype for site in Plan.from_dict(data).sites] == [None]
    data["sites"][0]["dtype"] = "os.system"
    with pytest.raises(ValueError, match="there is no dtype"):
        Plan.from_dict(data)
