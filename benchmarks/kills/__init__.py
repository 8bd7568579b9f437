"""Kill -9 of a shard at random points: what was acknowledged is there, and nothing is there twice.

`life.py` is a shard with its callers until it is killed, `bare.py` kills it again and again without
Ray, `through_ray.py` kills JobManagers and API replicas of a real deployment while `callers.py` are
at work; `audit.py` reads the journal that is left and judges it.
"""
