"""What a selector may ask of a located network."""
# ruff: noqa: D102

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol


class NetworkView(Protocol):
    """A located network as one selector sees it: :class:`hmhsa_insert.surgery.sites.select.EditView` explains each.

    What a method does not find it refuses with the reason, and returns None.
    """

    @property
    def stages(self) -> Sequence[Any]: ...

    @property
    def modules(self) -> Mapping[str, object]: ...

    def refuse(self, key: str, message: str, tip: str | None = None) -> None: ...

    def numbered_stages(self, key: str) -> Sequence[Any]: ...

    def stage(self, key: str, number: int, by: str = "stage") -> Any: ...

    def inside(self, key: str, numbers: Iterable[int]) -> set[str]: ...

    def map_of_block(self, stage: Any, index: int) -> Any: ...

    def map_of_node(self, name: str) -> Any: ...

    def map_of_module(self, name: str) -> Any: ...

    def module_of_node(self, name: str) -> str | None: ...

    def way_into(self, number: int) -> Any: ...
