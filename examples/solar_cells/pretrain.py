"""The factory's own training, which knows nothing of hmhsa-insert: ``python pretrain.py FOLDER cellnet.pth``."""

from __future__ import annotations

import argparse

import torch
from cellnet import cellnet
from torch.nn import functional as F
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("folder")
parser.add_argument("weights")
parser.add_argument("--epochs", type=int, default=8)
asked = parser.parse_args()

torch.manual_seed(0)
read = [transforms.Grayscale(), transforms.ToTensor(), transforms.Normalize(0.5, 0.5)]
flips = [transforms.RandomHorizontalFlip(), transforms.RandomVerticalFlip()]
train = datasets.ImageFolder(f"{asked.folder}/train", transforms.Compose(flips + read))
val = datasets.ImageFolder(f"{asked.folder}/val", transforms.Compose(read))
batches = DataLoader(train, batch_size=32, shuffle=True)

model = cellnet()
optimizer = torch.optim.AdamW(model.parameters())
schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, asked.epochs * len(batches))
for epoch in range(asked.epochs):
    model.train()
    for images, classes in batches:
        optimizer.zero_grad()
        F.cross_entropy(model(images), classes).backward()
        optimizer.step()
        schedule.step()
    model.eval()
    with torch.no_grad():
        right = sum(int((model(x).argmax(1) == y).sum()) for x, y in DataLoader(val, batch_size=100))
    print(f"epoch {epoch}: {100 * right / len(val):.0f} % of {len(val)} pictures right", flush=True)

torch.save(model.state_dict(), asked.weights)
print(f"wrote {asked.weights}")
