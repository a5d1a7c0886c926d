"""Backbones: stacks of stages that tasks may share."""

from polytask.backbones.base import Backbone, OnValues, SequentialBackbone
from polytask.backbones.convolutional import ResidualBackbone
from polytask.backbones.ngrams import NgramBackbone
from polytask.backbones.perceptron import PerceptronBackbone
from polytask.backbones.pictures import PretrainedPictures
from polytask.backbones.pretrained import PretrainedBackbone
from polytask.backbones.recurrent import RecurrentBackbone
from polytask.backbones.transformer import TransformerBackbone
from polytask.backbones.unet import UNetBackbone

__all__ = [
    "Backbone",
    "NgramBackbone",
    "OnValues",
    "PerceptronBackbone",
    "PretrainedBackbone",
    "PretrainedPictures",
    "RecurrentBackbone",
    "ResidualBackbone",
    "SequentialBackbone",
    "TransformerBackbone",
    "UNetBackbone",
]
