"""The control core: how many transitions, jobs and clients one machine bears."""
