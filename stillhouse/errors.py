"""Every error that Stillhouse raises on purpose, as one tree.

StillhouseError
├── Refusal                     the caller cannot have this; nothing changed
│   ├── Invalid                 a value is out of range or of the wrong type
│   ├── Unauthenticated         no signature, or one that does not verify
│   ├── Forbidden               the principal's role does not allow this action
│   ├── NotFound                unknown, or another client's: the two look the same from outside
│   ├── Conflict                the state does not allow it now
│   │   ├── Replayed            the same idempotency key with another body
│   │   ├── IllegalMove         a job is not in a state that this event can move
│   │   ├── StaleAttempt        the answer belongs to an attempt that has moved on
│   │   ├── ProfileInUse        a job that is not over uses the profile
│   │   ├── ModelAbsent         the central model is not there yet: a job would wait for it
│   │   └── AckMismatch         the ack does not prove that the sealed chunk was opened
│   ├── PreconditionFailed      If-Match does not name the current revision
│   ├── PreconditionRequired    a change of a profile needs If-Match
│   ├── QuotaExceeded           the client has as many open jobs as it may have
│   ├── TransferClosed          an earlier chunk has not been acknowledged yet
│   ├── Gone                    the job or delivery is over
│   ├── TooLarge                a body above its cap
│   │   └── HeadersTooLarge     all headers together above theirs
│   ├── TooSlow                 a body that did not arrive before its deadline
│   └── UnsupportedFormat       an artefact in a format that could run code, or that we don't read
├── Unavailable                 try again later; nothing was acknowledged
│   ├── Overloaded              more is waiting than is taken in
│   ├── JournalUnavailable      the journal could not commit
│   └── Fenced                  another writer owns the journal's epoch now
├── Defect                      a bug of ours; nothing of this command happened
├── VerificationFailed          bytes that are not what their digest, key or signature says
└── JournalMissing              a shard never starts on a journal that was not initialised

Messages are for people and name no secret; each class pickles by its message alone, so that it
crosses a Ray call unchanged. The HTTP status and code of each leaf are in `wire/problems.py`.
"""


class StillhouseError(Exception):
    """The root: whatever is not under it is a bug."""


class Refusal(StillhouseError):
    """The caller's fault; nothing changed."""


class Invalid(Refusal): ...


class Unauthenticated(Refusal): ...


class Forbidden(Refusal): ...


class NotFound(Refusal): ...


class Conflict(Refusal): ...


class Replayed(Conflict): ...


class IllegalMove(Conflict): ...


class StaleAttempt(Conflict): ...


class ProfileInUse(Conflict): ...


class ModelAbsent(Conflict): ...


class AckMismatch(Conflict): ...


class PreconditionFailed(Refusal): ...


class PreconditionRequired(Refusal): ...


class QuotaExceeded(Refusal): ...


class TransferClosed(Refusal): ...


class Gone(Refusal): ...


class TooLarge(Refusal): ...


class HeadersTooLarge(TooLarge): ...


class TooSlow(Refusal): ...


class UnsupportedFormat(Refusal): ...


class Unavailable(StillhouseError):
    """Not now; the caller may try again, nothing was acknowledged."""


class Overloaded(Unavailable): ...


class JournalUnavailable(Unavailable): ...


class Fenced(Unavailable): ...


class Defect(StillhouseError):
    """What a rule raised that it should not have: told to this command's caller alone."""


class VerificationFailed(StillhouseError): ...


class JournalMissing(StillhouseError): ...
