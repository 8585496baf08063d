"""Registration of real pairs by a network that was trained on made pairs, or on real ones."""
