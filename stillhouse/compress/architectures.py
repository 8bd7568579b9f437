"""The allow-list of architectures: an id, its arguments, and nothing that could be imported."""

from pydantic import ValidationError

from stillhouse.compress.encoder_layout import Encoder
from stillhouse.compress.layout import Network, Role
from stillhouse.compress.residual_layout import ResNet1d, ResNet2d
from stillhouse.entities import ArchitectureSpec, Student
from stillhouse.errors import Invalid, UnsupportedFormat

ARCHITECTURES: dict[str, type[Network]] = {
    "resnet1d": ResNet1d,
    "resnet2d": ResNet2d,
    "encoder": Encoder,
}


def network(spec: ArchitectureSpec, student: Student | None = None) -> Network:
    """The network of `spec`, narrowed to `student`.

    Raises UnsupportedFormat for an id that is not on the list, Invalid for wrong arguments.
    """
    try:
        full = ARCHITECTURES[spec.id].model_validate(spec.kwargs)
    except KeyError:
        raise UnsupportedFormat(f"no architecture {spec.id!r}") from None
    except ValidationError as error:
        raise Invalid(f"arguments of {spec.id}: {error.errors()[0]['msg']}") from None
    return full if student is None else full.narrowed(student)


def described(id: str, network: Network) -> ArchitectureSpec:
    """The inverse of `network`: arguments that are not their defaults."""
    return ArchitectureSpec(id=id, kwargs=network.model_dump(exclude_defaults=True))


def block_edges(spec: ArchitectureSpec, widths: tuple[float, ...]) -> dict[str, tuple[int, ...]]:
    """For each weight, the ends of the blocks of input channels that the widths add in turn."""
    full = network(spec)
    edges: dict[str, set[int]] = {}
    for width in widths:
        student = Student(width=width, depths=full.depths, bits=8)
        for tensor in full.narrowed(student).tensors():
            if tensor.role is Role.WEIGHT:
                edges.setdefault(tensor.name, set()).add(tensor.shape[1])
    return {name: tuple(sorted(found)) for name, found in edges.items()}
