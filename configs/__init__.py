"""One frozen tree of settings, read once at the entry point."""
