"""The owner and the people of the demo: wrist-worn sensor recordings."""
