"""How long things may take and how often they are tried: leases, deadlines, attempts.

A device may be offline for days: its leases only move the attempt on, and the distillation job's
own deadline ends it. The cluster's effects are tried a bounded number of times.
"""

from stillhouse.jobs import ON_CLUSTER, Job, Move

MAX_ATTEMPTS = 3  # of an effect of the cluster
CLUSTER_LEASE_S = 900.0  # an effect without a result by then is started again
DEVICE_LEASE_S = 3600.0  # without progress; every progress report renews it
DEADLINE_S = 7 * 86400.0  # of a distillation job
DELIVERY_LIFETIME_S = 7 * 86400.0  # of a manifest
MAX_ROUNDS = 8
FOLLOW_UP_S = 86400.0  # of a profile: at most one job that a metric opens in that time


def lease_s(job: Job) -> float:
    """Seconds without progress after which the attempt moves on."""
    return CLUSTER_LEASE_S if job.kind in ON_CLUSTER else DEVICE_LEASE_S


def after_failure(job: Job) -> Move:
    """RETRY or FAIL: devices until the deadline, the cluster's effects MAX_ATTEMPTS times."""
    if job.kind in ON_CLUSTER and job.attempt >= MAX_ATTEMPTS:
        return Move.FAIL
    return Move.RETRY
