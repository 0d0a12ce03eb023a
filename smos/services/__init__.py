"""The containers of the platform's stack, and the harness' own embedded servers: how they are, and what they say."""
