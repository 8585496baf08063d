"""Recovery networks and the sampler (Algorithms 1 and 2); knows no file and no millimetre."""

from DRDMCore.recovery.deform import Deformation, deform
from DRDMCore.recovery.published_network import PublishedNetwork
from DRDMCore.recovery.recover import (
    PRECISIONS,
    Recovery,
    RecoverySettings,
    StepInfo,
    recover,
    recover_within_memory,
)
from DRDMCore.recovery.schedule import (
    LEVELS,
    STARTS,
    check_level,
    image_count,
    level_scale,
    scale_level,
    target_count,
    visited_levels,
)
from DRDMCore.recovery.step import PublishedStep, RecoveryStep, VelocityStep
from DRDMCore.recovery.velocity_network import VelocityNetwork

__all__ = [
    "LEVELS",
    "PRECISIONS",
    "STARTS",
    "Deformation",
    "PublishedNetwork",
    "PublishedStep",
    "Recovery",
    "RecoverySettings",
    "RecoveryStep",
    "StepInfo",
    "VelocityNetwork",
    "VelocityStep",
    "check_level",
    "deform",
    "image_count",
    "level_scale",
    "recover",
    "recover_within_memory",
    "scale_level",
    "target_count",
    "visited_levels",
]
