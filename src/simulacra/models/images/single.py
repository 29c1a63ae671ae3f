"""What models of single images accept."""

from __future__ import annotations

from simulacra.core import Spec


def unlike(spec: Spec) -> str | None:
    """Why events are no single images of real numbers, whose content can be divided, or None."""
    if spec.kind != "image" or len(spec.shape) != 3 or spec.shape[0] != 1:
        return f"it takes single images, and this is a {spec.kind} of shape {spec.shape}"
    if any(field.integer for field in spec.features):
        return "it divides contents, and pixels of this data set hold whole numbers"
    return None
