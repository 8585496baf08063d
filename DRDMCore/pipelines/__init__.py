"""Jobs: generate, replay, augment, synthesize, with quality, manifest and report."""
