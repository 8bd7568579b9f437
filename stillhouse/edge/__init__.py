"""The device: its loop, training, probes. Runs on a real device without Ray."""
