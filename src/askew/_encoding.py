"""UTF-8 text from bytes: a byte order mark is dropped, and another encoding is named."""

from codecs import BOM_UTF16_BE, BOM_UTF16_LE, BOM_UTF32_BE, BOM_UTF32_LE
from pathlib import Path

BOM = "\ufeff"
"""The byte order mark, which some programs write before a text."""
_REPAIR = "Convert the file, for example with iconv"


def refuse_utf16(beginning: bytes, caller: str, path: Path | str) -> None:
    """Refuse a file in UTF-16 or UTF-32.

    Args:
        beginning: The file or its first line.
        caller: What the error names.
        path: The file, or a name for it.

    Raises:
        ValueError: If its beginning shows that it is in UTF-16 or UTF-32.

    Example:
        >>> refuse_utf16("one".encode("utf-16"), "read", "lines.txt")
        Traceback (most recent call last):
        ValueError: read: text must be UTF-8; got UTF-16 in lines.txt. Convert the file, f...
    """
    if beginning.startswith((BOM_UTF32_LE, BOM_UTF32_BE)):  # before UTF-16, whose mark it contains
        other = "UTF-32"
    elif beginning.startswith((BOM_UTF16_LE, BOM_UTF16_BE)) or b"\0" in beginning[:2]:
        other = "UTF-16"  # without a mark, a first character of one byte shows it
    else:
        return
    raise ValueError(f"{caller}: text must be UTF-8; got {other} in {path}. {_REPAIR}")


def decode_line(raw: bytes, caller: str, place: str) -> str:
    """Decode one line, without its end.

    Raises:
        ValueError: If it is not UTF-8; the message names the byte.
    """
    raw = raw.removesuffix(b"\n").removesuffix(b"\r")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{caller}: text must be UTF-8; got byte 0x{raw[error.start]:02x} at {place}, "
            f"byte {error.start + 1}. {_REPAIR}"
        ) from None


def decode_file(raw: bytes, caller: str, path: Path | str) -> str:
    """Decode a whole file; its line ends stay.

    Raises:
        ValueError: If it is not UTF-8; the message names the line.
    """
    refuse_utf16(raw, caller, path)
    try:
        return raw.decode("utf-8").removeprefix(BOM)
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"{caller}: text must be UTF-8; got byte 0x{raw[error.start]:02x} at {path}, "
            f"line {line}. {_REPAIR}"
        ) from None
