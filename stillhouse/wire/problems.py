"""From error to HTTP: one table with the status and public code of every leaf of the error tree.

The answer is a problem document (RFC 9457). `type` is a stable URN made from the code; `detail` is
the error's own message; `action` says what to do about it.
"""

from pydantic import ValidationError

from stillhouse import errors
from stillhouse.entities import Entity
from stillhouse.errors import StillhouseError

SHOWN = 5  # errors named in one message


class Problem(Entity):
    """An RFC 9457 problem document with a stable code and what to do."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    action: str
    retry_after_s: int | None = None


PROBLEMS: dict[type[StillhouseError], tuple[int, str, str, str]] = {
    # error: (status, code, title, what to do)
    errors.Invalid: (422, "invalid", "A value is not acceptable", "Correct the named value."),
    errors.Unauthenticated: (
        401,
        "unauthenticated",
        "The request is not signed by a known key",
        "Sign it by RFC 9421 with a key that is in force; check the clock.",
    ),
    errors.Forbidden: (403, "forbidden", "Not with this role", "Ask with a role that may."),
    errors.NotFound: (404, "not_found", "No such thing", "Check the id and whose it is."),
    errors.Conflict: (409, "conflict", "The state does not allow it", "Read the state again."),
    errors.Replayed: (
        409,
        "replayed",
        "This idempotency key was used for something else",
        "Use a new key for a new command.",
    ),
    errors.IllegalMove: (
        409,
        "illegal_move",
        "The job is not in a state for this",
        "Read the status; it says why.",
    ),
    errors.StaleAttempt: (
        409,
        "stale_attempt",
        "This attempt has moved on",
        "Ask for work again and drop the old result.",
    ),
    errors.ProfileInUse: (
        409,
        "profile_in_use",
        "A job uses this profile",
        "Cancel the job or wait until it is over.",
    ),
    errors.ModelAbsent: (
        409,
        "model_absent",
        "The central model is not there yet",
        "Submit the job: it waits for the model. Or plan again once it is registered.",
    ),
    errors.AckMismatch: (
        409,
        "ack_mismatch",
        "The ack does not prove that the chunk was opened",
        "Fetch the chunk again and open it.",
    ),
    errors.PreconditionFailed: (
        412,
        "precondition_failed",
        "The resource has changed",
        "Read it again and send its ETag as If-Match.",
    ),
    errors.PreconditionRequired: (
        428,
        "precondition_required",
        "If-Match is missing",
        "Send If-Match with the ETag that you read.",
    ),
    errors.QuotaExceeded: (
        429,
        "quota_exceeded",
        "Too many open jobs",
        "Wait until one is over, or cancel one.",
    ),
    errors.TransferClosed: (
        409,
        "transfer_closed",
        "An earlier chunk has not been acknowledged",
        "Acknowledge the chunks in order.",
    ),
    errors.Gone: (410, "gone", "It is over", "Submit a new job if you need another."),
    errors.TooLarge: (413, "too_large", "Too large", "Send less, or in parts."),
    errors.HeadersTooLarge: (
        431,
        "headers_too_large",
        "The headers are too large",
        "Send fewer or shorter headers.",
    ),
    errors.TooSlow: (408, "too_slow", "The body came too slowly", "Send it again."),
    errors.UnsupportedFormat: (
        415,
        "unsupported_format",
        "This format is not read here",
        "Send the format that the documentation names.",
    ),
    errors.Overloaded: (
        503,
        "overloaded",
        "More is waiting than is taken in",
        "Try again with the same idempotency key after Retry-After.",
    ),
    errors.JournalUnavailable: (
        503,
        "journal_unavailable",
        "Nothing could be stored",
        "Try again with the same idempotency key.",
    ),
    errors.Fenced: (503, "fenced", "Another writer took over", "Try again."),
    errors.Unavailable: (503, "unavailable", "Not now", "Try again."),
    errors.Defect: (
        500,
        "internal",
        "A bug on our side",
        "Try again with the same idempotency key; report it if it stays.",
    ),
    errors.VerificationFailed: (
        400,
        "verification_failed",
        "The bytes are not what they claim to be",
        "Send them again from the source.",
    ),
    errors.JournalMissing: (
        503,
        "journal_missing",
        "This shard has no journal",
        "An operator must initialise or restore it.",
    ),
}


def problem_of(error: StillhouseError) -> Problem:
    """The document of an error; a class without a row of its own takes its nearest base's."""
    row = next(PROBLEMS[cls] for cls in type(error).__mro__ if cls in PROBLEMS)
    status, code, title, action = row
    return Problem(
        type=f"urn:stillhouse:problem:{code}",
        title=title,
        status=status,
        code=code,
        detail=str(error) or title,
        action=action,
        retry_after_s=1 if status in (429, 503) else None,
    )


def error_of(problem: Problem) -> StillhouseError:
    """The error that a problem document stands for; Unavailable for a code that is not ours."""
    for cls, row in PROBLEMS.items():
        if row[1] == problem.code:
            return cls(problem.detail)
    return errors.Unavailable(problem.detail)


def in_words(error: ValidationError) -> str:
    """Which fields are wrong, and how; never what was sent."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    words = [
        f"{'.'.join(map(str, each['loc'])) or 'body'}: {each['msg'].lower()}" for each in found
    ]
    more = f"; and {len(words) - SHOWN} more" if len(words) > SHOWN else ""
    return "; ".join(words[:SHOWN]) + more
