"""Segmentation from few labelled subjects, with and without generated deformations."""
