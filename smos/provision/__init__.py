"""How servers come to exist: owned processes, embedded servers, the typed endpoints they hand over."""
