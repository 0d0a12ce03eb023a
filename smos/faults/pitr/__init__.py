"""What is broken for the checks of physical backups and point-in-time recovery."""
