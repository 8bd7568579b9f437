"""English sentences with topics and sources, on every machine that has this project's packages.

They are what people wrote into docstrings of pinned libraries: a topic is a part of a library, a
source one of its modules. The text is parsed, never imported; the same versions give the same
sentences in the same order.
"""

import ast
import hashlib
import inspect
import re
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

TOPICS = {
    "algebra": "sympy/polys",
    "fonts": "fontTools",
    "graphs": "networkx",
    "images": "PIL",
    "physics": "sympy/physics",
    "serving": "ray/serve",
}
MODULES, A_MODULE = 140, 12  # of a topic, and sentences of a module, at most: none dominates
TESTS = frozenset({"test", "tests", "testing"})

LINK = re.compile(r":[\w:+-]+:`~?([^`<]*?)(?:\s*<[^`>]*>)?`")  # :class:`~torch.Tensor`
QUOTED = re.compile(r"`+([^`]*)`+_{0,2}")
END = re.compile(r"(?<=[.!?])\s+(?=[A-Z])")
SENTENCE = re.compile(
    r"(?!.*--)[A-Z][A-Za-z ,;'()\-0-9]*[.!?]"
)  # neither code nor formulas nor lists
WORDS = range(8, 31)


@dataclass(frozen=True, slots=True)
class Sentence:
    text: str
    topic: str
    source: str  # path of the module


def read() -> list[Sentence]:
    """All sentences, no text twice; FileNotFoundError if a library is not installed."""
    found: dict[str, Sentence] = {}
    root = Path(sysconfig.get_path("purelib"))
    for topic, folder in TOPICS.items():
        paths = (p.relative_to(root) for p in (root / folder).rglob("*.py"))
        sources = [p.as_posix() for p in paths if not TESTS & {*p.parts}]
        if not sources:
            raise FileNotFoundError(f"no modules in {folder}: install every extra")
        for source in sorted(sources, key=_digest)[:MODULES]:
            texts = [text for text in _sentences(root / source) if text not in found]
            found |= {text: Sentence(text, topic, source) for text in texts[:A_MODULE]}
    return list(found.values())


def _digest(source: str) -> str:
    """A fixed order in which neighbours are no relatives."""
    return hashlib.sha256(source.encode()).hexdigest()


def _sentences(module: Path) -> Iterator[str]:
    documented = ast.Module | ast.ClassDef | ast.FunctionDef
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, documented) and (text := ast.get_docstring(node)):
            for paragraph in re.split(r"\n\s*\n", inspect.cleandoc(text)):
                yield from _prose(paragraph)


def _prose(paragraph: str) -> Iterator[str]:
    plain = QUOTED.sub(r"\1", LINK.sub(r"\1", " ".join(paragraph.split())))
    for text in END.split(plain):
        if SENTENCE.fullmatch(text) and len(text.split()) in WORDS:
            yield text
