"""The row-security prober: finds out by acting whether one tenant can reach another's rows, on any PostgreSQL."""
