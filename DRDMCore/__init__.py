"""DRDMCore: plausible new anatomy from one scan (Deformation-Recovery Diffusion Model)."""

__version__ = "0.1.0"
