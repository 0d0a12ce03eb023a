"""The checks: pure judgements on recorded facts."""
