"""Real servers from Python wheels: no root, no Docker, no network after installation."""
