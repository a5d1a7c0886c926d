"""Encoders: one input's raw values to features."""

from polytask.encoders.audio import LogMelEncoder
from polytask.encoders.base import Encoder, StackedEncoder
from polytask.encoders.cepstral import MFCCEncoder, WaveEncoder
from polytask.encoders.image import PixelEncoder
from polytask.encoders.tabular import VectorEncoder
from polytask.encoders.text import EmbeddingEncoder, PretrainedWords

__all__ = [
    "EmbeddingEncoder",
    "Encoder",
    "LogMelEncoder",
    "MFCCEncoder",
    "PixelEncoder",
    "PretrainedWords",
    "StackedEncoder",
    "VectorEncoder",
    "WaveEncoder",
]
