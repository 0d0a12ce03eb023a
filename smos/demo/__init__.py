"""The demo environment: its schema, its seed, its generator, its clean-up, and what verifies them (verify/)."""
