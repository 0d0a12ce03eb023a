"""How everything is that the configuration names: one finding each, from positive evidence only."""
