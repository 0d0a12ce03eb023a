"""What runs inside Bugsink's own environment, where nothing of smos can be imported: settings and application."""
