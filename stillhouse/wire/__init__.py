"""Bytes and trust between the parts: messages, frames, seals, manifests, signatures."""
