"""Showers as clouds in layers: which data sets have them."""

from __future__ import annotations

from simulacra.core import Spec
from simulacra.models.cloud import CloudModel
from simulacra.transforms.cloud_layers import LayeredCloudTransform, depth_column


class LayeredCloud(CloudModel):
    """A cloud model whose transform imposes the numbers of every layer."""

    transform: LayeredCloudTransform

    @classmethod
    def accepts(cls, spec: Spec) -> str | None:
        """Clouds whose points lie in layers."""
        reason = super().accepts(spec)
        if reason is None and depth_column(spec.features) is None:
            names = ", ".join(field.name for field in spec.features)
            return f"its points lie in layers, and those of {spec.name} have {names} alone"
        return reason
