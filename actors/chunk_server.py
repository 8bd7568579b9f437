"""ChunkServer: packs knowledge, seals it for one client, streams it from its own listener.

It is the home of its packs: one compression task a pack however many clients wait for it, and the
task's result is owned here. The shard decides who may fetch what (`actors.grants`); this decides
nothing. Plaintext exists in this process alone, for as long as a pack is in use.
"""
