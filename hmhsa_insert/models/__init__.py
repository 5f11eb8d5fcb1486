"""TransCNN, HAT-Net and the plain IRB stacks. Importing this registers them with timm."""

from __future__ import annotations

from hmhsa_insert.models.configs import CONFIGS, NetworkConfig
from hmhsa_insert.models.network import Network
from hmhsa_insert.models.registry import register
from hmhsa_insert.models.weights import load_weights, read_state_dict

register()

__all__ = ["CONFIGS", "Network", "NetworkConfig", "load_weights", "read_state_dict"]
