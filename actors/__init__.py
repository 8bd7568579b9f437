"""One mailbox each, thin; `start.py` wires everything."""
