"""Edited models in other libraries' training loops: trained, saved, and loaded again."""

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

import hmhsa_insert as hi

pytestmark = pytest.mark.libs
SIZE = (1, 32, 32)
RECIPE = {
    "version": 1,
    "name": "one",
    "edits": [
        {
            "id": "attn",
            "op": "insert",
            "at": {"stage": 2, "block": "last"},
            "block": {"type": "mhsa", "head_dim": 8},
        }
    ],
}


def digits() -> TensorDataset:
    """Return 96 digits of 32x32 pixels."""
    data = load_digits()
    images = torch.tensor(data.images[:96], dtype=torch.float32)[:, None] / 16
    return TensorDataset(functional.interpolate(images, size=32), torch.tensor(data.target[:96]))


def edited() -> nn.Module:
    """Return a small edited network, the same every time."""
    torch.manual_seed(0)
    return hi.apply(timm.create_model("test_resnet", num_classes=10, in_chans=1), RECIPE, input_size=SIZE)


def check(trained: nn.Module, path: Path) -> None:
    """Load what a library saved into a model that is edited anew, and compare all tensors."""
    fresh = hi.load_weights(edited(), path)
    start = edited().state_dict()
    moved = {key for key, value in trained.state_dict().items() if not torch.equal(value.cpu(), start[key])}
    assert any(".attn." in key for key in moved)
    for key, value in trained.state_dict().items():
        assert torch.equal(value.cpu(), fresh.state_dict()[key]), key


def test_a_bare_loop(tmp_path: Path) -> None:
    model = edited()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for images, labels in DataLoader(digits(), batch_size=32):
        optimizer.zero_grad()
        functional.cross_entropy(model(images), labels).backward()
        optimizer.step()
    torch.save(model.state_dict(), tmp_path / "model.pt")
    check(model, tmp_path / "model.pt")


def test_accelerate(tmp_path: Path) -> None:
    accelerate = pytest.importorskip("accelerate")
    accelerator = accelerate.Accelerator(cpu=True)
    model = edited()
    wrapped, optimizer, loader = accelerator.prepare(
        model, torch.optim.SGD(model.parameters(), lr=0.1), DataLoader(digits(), batch_size=32)
    )
    for images, labels in loader:
        optimizer.zero_grad()
        accelerator.backward(functional.cross_entropy(wrapped(images), labels))
        optimizer.step()
    accelerator.save_model(wrapped, tmp_path)
    check(model, tmp_path / "model.safetensors")


def test_lightning_is_trained_stopped_and_resumed(tmp_path: Path) -> None:
    lightning = pytest.importorskip("lightning")

    class Digits(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model = edited()

        def training_step(self, batch: Any) -> torch.Tensor:
            return functional.cross_entropy(self.model(batch[0]), batch[1])

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    def fit(epochs: int, **options: Any) -> Any:
        made = lightning.Trainer(
            max_epochs=epochs, accelerator="cpu", logger=False, enable_progress_bar=False,
            enable_checkpointing=False, enable_model_summary=False,
        )  # fmt: skip
        module = Digits()
        made.fit(module, DataLoader(digits(), batch_size=32), **options)
        return made, module

    whole = fit(2)[1]
    first, _ = fit(1)
    first.save_checkpoint(tmp_path / "first.ckpt", weights_only=False)
    second, resumed = fit(2, ckpt_path=tmp_path / "first.ckpt")
    for key, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[key]), key
    second.save_checkpoint(tmp_path / "last.ckpt", weights_only=True)
    check(resumed.model, tmp_path / "last.ckpt")


def test_the_trainer_of_transformers(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.ResNetConfig(
        num_channels=1, depths=[1, 1, 1, 1], hidden_sizes=[32, 32, 64, 64], embedding_size=16, num_labels=10
    )

    def built() -> nn.Module:
        torch.manual_seed(0)
        model = transformers.AutoModelForImageClassification.from_config(config)
        return hi.apply(model, RECIPE, input_size=SIZE)

    data = [{"pixel_values": image, "labels": label} for image, label in digits()]

    def trained(epochs: int, **resume: Any) -> nn.Module:
        arguments = transformers.TrainingArguments(
            str(tmp_path / "run"), num_train_epochs=epochs, per_device_train_batch_size=32, learning_rate=0.01,
            lr_scheduler_type="constant", report_to=[], use_cpu=True, save_strategy="epoch", disable_tqdm=True, seed=1,
        )  # fmt: skip
        trainer = transformers.Trainer(built(), arguments, train_dataset=data)
        trainer.train(**resume)
        trainer.save_model(str(tmp_path / "saved"))
        return trainer.model

    whole = trained(2).state_dict()
    trained(1)
    resumed = trained(2, resume_from_checkpoint=str(tmp_path / "run" / "checkpoint-3")).state_dict()
    assert all(torch.equal(value, resumed[key]) for key, value in whole.items())
    fresh = hi.load_weights(built(), tmp_path / "saved" / "model.safetensors").state_dict()
    assert all(torch.equal(value, fresh[key]) for key, value in resumed.items())
    start = built().state_dict()
    assert any(".attn." in key and not torch.equal(start[key], resumed[key]) for key in start)
