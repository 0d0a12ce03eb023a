"""Services of ours that the observability suite runs as processes of their own; they import nothing of the harness."""
