"""Experiments: does augmentation with DRDM help? One folder each, one command each."""
