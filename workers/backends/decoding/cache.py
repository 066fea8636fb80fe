"""The key-value cache of a batch whose rows come and go.

Shapes: R rows, H heads, L columns, D head width.
"""

import torch
from torch import Tensor
from torch.nn.functional import pad
from transformers.cache_utils import Cache, DynamicLayer

GROWTH = 64
"""Columns of room that a layer takes when it is full: one copy per that many tokens, not per token."""


class RowLayer(DynamicLayer):  # type: ignore[misc] # transformers is not typed
    """Keys and values of one layer, [R, H, L, D], in buffers with room for more columns."""

    keys: Tensor
    values: Tensor
    _key_buffer: Tensor
    _value_buffer: Tensor

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Take format and device from the first keys and values, [R, H, any, D]; their columns are not
        kept."""
        self.dtype, self.device = key_states.dtype, key_states.device
        self.is_initialized = True
        self._hold(key_states[:, :, :0], value_states[:, :, :0])

    def update(
        self, key_states: Tensor, value_states: Tensor, *_: object, **__: object
    ) -> tuple[Tensor, Tensor]:
        """Append columns; returns all keys and values so far."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        start, end = self.keys.shape[2], self.keys.shape[2] + key_states.shape[2]
        if end > self._key_buffer.shape[2]:
            room = (0, 0, 0, end - start + GROWTH)
            self._key_buffer, self._value_buffer = pad(self.keys, room), pad(self.values, room)
        self._key_buffer[:, :, start:end] = key_states
        self._value_buffer[:, :, start:end] = value_states
        self.keys, self.values = self._key_buffer[:, :, :end], self._value_buffer[:, :, :end]
        return self.keys, self.values

    def keep(self, rows: Tensor, first: int) -> None:
        """Drop all rows but these, and the columns before `first`, which counts from 0."""
        self._hold(self.keys[rows, :, first:], self.values[rows, :, first:])

    @property
    def n_bytes(self) -> int:
        """Memory of the layer's buffers, with their room for more columns."""
        return self._key_buffer.nbytes + self._value_buffer.nbytes

    def join(self, other: "RowLayer", gaps: tuple[int, int]) -> None:
        """Append the other's rows; `gaps` = columns of zeros to put before mine and the other's."""
        keys, values = (self.keys, other.keys), (self.values, other.values)
        self._hold(_stacked(keys, gaps), _stacked(values, gaps))

    def _hold(self, keys: Tensor, values: Tensor) -> None:
        self.keys, self.values = keys, values
        self._key_buffer, self._value_buffer = keys, values


def _stacked(parts: tuple[Tensor, Tensor], gaps: tuple[int, int]) -> Tensor:
    return torch.cat([pad(part, (0, 0, gap, 0)) for part, gap in zip(parts, gaps, strict=True)])


class RowCache(Cache):  # type: ignore[misc] # transformers is not typed
    """All layers. Layers with a sliding window keep every column too: the model's own mask hides the
    old ones, and so rows of any age can be merged."""

    def __init__(self) -> None:
        super().__init__(layer_class_to_replicate=RowLayer)

    @property
    def n_columns(self) -> int:
        """Columns that every layer holds; 0 before the first step."""
        return int(self.get_seq_length())

    @property
    def n_bytes(self) -> int:
        """Memory of the keys and values, with the room that they grow into."""
        return sum(layer.n_bytes for layer in self._filled())

    def keep(self, rows: Tensor, first: int) -> None:
        """Drop all rows but these, and the columns before `first`, which counts from 0, in every layer."""
        for layer in self._filled():
            layer.keep(rows, first)

    def join(self, other: "RowCache", gaps: tuple[int, int]) -> None:
        """Append the other's rows in every layer; `gaps` as `RowLayer.join` takes them."""
        for mine, theirs in zip(self._filled(), other._filled(), strict=True):
            mine.join(theirs, gaps)

    def _filled(self) -> list[RowLayer]:
        """Layers that hold something; layers that use another's keys and values stay empty."""
        return [layer for layer in self.layers if layer.is_initialized]
