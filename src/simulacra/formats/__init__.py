"""Readers and writers of the public files, one module per format."""

from simulacra.formats.base import FileInfo, Format, Writer

__all__ = ["FileInfo", "Format", "Writer"]
