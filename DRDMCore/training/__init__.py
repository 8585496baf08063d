"""Training of recovery networks: settings, data, loop."""
