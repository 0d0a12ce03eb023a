"""Builds the stacks' container images where no registry can be reached: from Debian's packages and from wheels."""
