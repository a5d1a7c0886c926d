"""Encoders: one input's raw values to features."""

from polytask.encoders.audio import LogMelEncoder
from polytask.encoders.base import Encoder, StackedEncoder
from polytask.encoders.cepstral import MFCCEncoder, WaveEncoder
from polytask.encoders.image import PixelEncoder
from polytask.encoders.tabular import VectorEncoder

__all__ = [
    "Encoder",
    "LogMelEncoder",
    "MFCCEncoder",
    "PixelEncoder",
    "StackedEncoder",
    "VectorEncoder",
    "WaveEncoder",
]
