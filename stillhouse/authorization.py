"""Who may do what: one table from action to roles, and one rule for what belongs to a client.

A foreign id looks the same as an unknown one: NotFound. Operators see every client's rows.
"""

from stillhouse.entities import Principal, Role
from stillhouse.errors import Forbidden, NotFound

ANYONE = frozenset(Role)
DEVICE = frozenset({Role.CLIENT})
DEVICE_AND_OPERATOR = frozenset({Role.CLIENT, Role.OPERATOR})
OWNERS = frozenset({Role.OWNER})
OPERATORS = frozenset({Role.OPERATOR})
CLUSTER = frozenset({Role.SYSTEM})

ROLES: dict[str, frozenset[Role]] = {
    # commands of a shard
    "Enrol": ANYONE,  # proves its own keys
    "ConfirmEnrolment": ANYONE,
    "AddKeys": DEVICE,
    "RevokeKeys": DEVICE_AND_OPERATOR,
    "CreateProfile": DEVICE_AND_OPERATOR,
    "ReplaceProfile": DEVICE_AND_OPERATOR,
    "DeleteProfile": DEVICE_AND_OPERATOR,
    "Submit": DEVICE_AND_OPERATOR,
    "Cancel": DEVICE_AND_OPERATOR,
    "ReplayDeadLetter": OPERATORS,
    "ReportProbes": DEVICE,
    "ReportProgress": DEVICE,
    "ReportMetrics": DEVICE,
    "Acknowledge": DEVICE,
    "ReportInstallation": DEVICE,
    "Announce": CLUSTER,
    "AnnouncePrior": CLUSTER,
    "Arrive": CLUSTER,
    "MoveCursor": CLUSTER,
    "Start": CLUSTER,
    "Renew": CLUSTER,
    "Planned": CLUSTER,
    "Compressed": CLUSTER,
    "Decided": CLUSTER,
    "EffectFailed": CLUSTER,
    "Expire": CLUSTER,
    # commands of the vault
    "StartUpload": OWNERS,
    "CompleteFile": OWNERS,
    "SetAlias": OWNERS,
    "Evaluated": CLUSTER,
    "FamilyBuilt": CLUSTER,
    "RegistrationFailed": CLUSTER,
    "LearnFromFleet": CLUSTER,
    # reads
    "read_client": DEVICE_AND_OPERATOR,
    "read_model": frozenset({Role.CLIENT, Role.OWNER, Role.OPERATOR}),
    "read_work": DEVICE,
    "read_dead_letters": OPERATORS,
    "read_delivery": DEVICE,
}


def authorize(principal: Principal, action: str) -> None:
    """Forbidden unless the principal's role may do this at all."""
    if principal.role not in ROLES[action]:
        raise Forbidden(f"the role {principal.role} may not {action}")


def owned(principal: Principal, client_id: str, id: str) -> None:
    """NotFound unless what `id` names belongs to the principal, or an operator asks."""
    if principal.role is Role.CLIENT and principal.id != client_id:
        raise NotFound(f"no such id: {id!r}")
