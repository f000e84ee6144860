"""Procedural fundus photographs with known truth. Never quote accuracy on them as clinical."""

from foveola.phantom.anatomy import EyeModel, Subject, make_eye, make_subject
from foveola.phantom.generating import generate, grades, read_masks
from foveola.phantom.lesions import Disease, Lesion, progress
from foveola.phantom.rendering import KINDS, Phantom, paint_ground, render

__all__ = [
    "KINDS",
    "Disease",
    "EyeModel",
    "Lesion",
    "Phantom",
    "Subject",
    "generate",
    "grades",
    "make_eye",
    "make_subject",
    "paint_ground",
    "progress",
    "read_masks",
    "render",
]
