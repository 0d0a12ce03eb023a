"""What is shown about containers: seen from outside by the engine, from inside by testinfra, and by breaking them."""
