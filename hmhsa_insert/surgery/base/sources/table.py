"""The table of libraries that models come from."""

from __future__ import annotations

from hmhsa_insert.surgery.base.sources.library import Library
from hmhsa_insert.surgery.base.sources.of_hub import Hub
from hmhsa_insert.surgery.base.sources.of_smp import Smp
from hmhsa_insert.surgery.base.sources.of_timm import Timm
from hmhsa_insert.surgery.base.sources.of_torchvision import Torchvision
from hmhsa_insert.surgery.base.sources.of_transformers import Transformers
from hmhsa_insert.surgery.base.sources.of_ultralytics import Ultralytics

# A new one is a row here, and its prefix in files/model_spec.py. Bare names are looked up in the order of the rows.
LIBRARIES: dict[str, Library] = {
    each.prefix: each for each in (Timm(), Torchvision(), Ultralytics(), Transformers(), Smp(), Hub())
}
