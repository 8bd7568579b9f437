"""Formats that run what they hold are refused before anything reads them; no torch."""

ADVICE = "save the state dict with safetensors.torch.save_file, and name its architecture"


def foreign(data: bytes) -> str | None:
    """Why bytes that begin like this are refused; None for anything else.

    Both formats unpickle: torch.load what `.pt` holds, torch.export.load what hides in a `.pt2`.
    """
    if data.startswith(b"PK\x03\x04"):
        return f"a zip archive as torch.save and torch.export write it (.pt, .pt2): {ADVICE}"
    if data[:1] == b"\x80" and data[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return f"a pickle, which runs code as it is read: {ADVICE}"
    return None
