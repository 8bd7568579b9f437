"""Simulated people and devices, over the real API."""
