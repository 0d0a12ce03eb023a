"""`smos backup restore`: puts a backup set back where it is used, or leaves everything as it was."""
