"""Displacement-field mathematics on plain tensors, in voxels, 2D and 3D (docs/conventions.md)."""

from DRDMCore.fields.algebra import Inverse, compose, crop_ddf, invert, resize_ddf
from DRDMCore.fields.bspline import sample_cubic
from DRDMCore.fields.grid import identity_coordinates, resize, sample
from DRDMCore.fields.integrate import exp_svf, integrate
from DRDMCore.fields.jacobian import (
    corner_determinants,
    folded,
    folding_percent,
    jacobian_determinant,
)
from DRDMCore.fields.random_field import (
    RandomFields,
    RandomFieldSettings,
    RandomFlows,
    published_field,
    random_field_of_mean,
    random_fields,
    random_flows,
    random_svf,
)
from DRDMCore.fields.separability import motion_separability
from DRDMCore.fields.unfold import Unfolded, unfold
from DRDMCore.fields.warp import IMAGE_MODES, LABEL_MODES, displaced_coordinates, warp, warp_labels

__all__ = [
    "IMAGE_MODES",
    "LABEL_MODES",
    "Inverse",
    "RandomFieldSettings",
    "RandomFields",
    "RandomFlows",
    "Unfolded",
    "compose",
    "corner_determinants",
    "crop_ddf",
    "displaced_coordinates",
    "exp_svf",
    "folded",
    "folding_percent",
    "identity_coordinates",
    "integrate",
    "invert",
    "jacobian_determinant",
    "motion_separability",
    "published_field",
    "random_field_of_mean",
    "random_fields",
    "random_flows",
    "random_svf",
    "resize",
    "resize_ddf",
    "sample",
    "sample_cubic",
    "unfold",
    "warp",
    "warp_labels",
]
