"""Plausibility and diversity of a model's samples, level by level, beside random fields."""
