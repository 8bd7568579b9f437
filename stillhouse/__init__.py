"""Stillhouse's half that needs no cluster: rules, compression, wire and the device's loop."""
