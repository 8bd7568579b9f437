"""The API on Ray Serve: one route file a noun."""
