"""Folders of question encoders: their files, and a manifest with the sums that is written last."""

from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from askew._check import require
from askew._files import file_sha256, read_json, replacing, write_json
from askew._folders import check_writable, one_writer
from askew.models._config_values import of_ours

VERSION = 1


def write_question_encoder(
    caller: str,
    folder: Path,
    manifest: str,
    files: Mapping[str, Callable[[Path], object]],
    values: Mapping[str, object],
) -> None:
    """Write a folder; what was written there before is replaced.

    Args:
        caller: What messages name.
        folder: Made if it does not exist.
        manifest: Name of the file that names the others.
        files: For each name what writes the file to a path.
        values: What the manifest holds besides.

    Raises:
        ValueError: If it cannot be written.
        RuntimeError: If another process writes into it.
    """
    check_writable(folder, option="another folder")
    with one_writer(folder, caller=caller):
        (folder / manifest).unlink(missing_ok=True)
        for name, write in files.items():
            with replacing(folder / name) as partial:
                write(partial)
        sums = {name: file_sha256(folder / name) for name in files}
        write_json(folder / manifest, {"version": VERSION, **values, "sha256": sums})


def read_question_encoder(
    caller: str, folder: Path, manifest: str, files: Collection[str], fingerprint: str | None
) -> dict[str, object]:
    """Read the manifest of a folder, and check the files that it names.

    Args:
        caller: What messages name.
        folder: What `write_question_encoder` wrote.
        manifest: Name of the file that names the others.
        files: Names of the others.
        fingerprint: Of the encoder that the documents are encoded by; None compares none.

    Returns:
        What the manifest holds.

    Raises:
        ValueError: If a file is missing or altered, or it is of another encoder.
    """
    kind = caller.partition(".")[0]
    require(
        (folder / manifest).is_file(),
        f"{caller}: the folder must hold {manifest}; got {folder}"
        f"{f', which is {ours}' if (ours := of_ours(folder)) else ''}. "
        f"Give a folder that {kind}.save wrote",
    )
    values = read_json(folder / manifest)
    for name in files:
        sums = values.get("sha256")
        require(
            (folder / name).is_file()
            and isinstance(sums, dict)
            and file_sha256(folder / name) == sums.get(name),
            f"{caller}: a file must be as it was written; got "
            f"{folder / name} missing or altered. Make the encoder again",
        )
    made_for = values.get("fingerprint")
    require(
        fingerprint in (None, made_for),
        f"{caller}: it must be of the encoder of the documents; got "
        f"{folder} of {made_for!s:.12}, not {fingerprint!s:.12}. Make it again",
    )
    return values
