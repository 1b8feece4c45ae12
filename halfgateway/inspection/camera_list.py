"""A list of cameras as an office keeps it (CSV), checked whole before any of it is taken over.

Separated by commas or semicolons, in UTF-8; with semicolons a decimal comma is understood, as spreadsheets write it.
"""

from __future__ import annotations

import csv
import io
import json
import os
import tempfile
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from halfgateway.config import CameraSection, read_configuration
from halfgateway.errors import HalfGatewayError

REQUIRED = (
    "id",
    "name",
    "site",
    "commune",
    "latitude",
    "longitude",
    "onvif_url",
    "username",
    "password_file",
)
"""The columns that a list must have, in any order."""

OPTIONAL = ("masked_profile",)
"""The columns that it may have."""

MAX_LIST_BYTES = 4 * 1024 * 1024
"""Size of a list: some ten thousand cameras. A larger file is no list of cameras, and is refused."""


class CameraListError(HalfGatewayError):
    """A list of cameras cannot be taken over; ``faults`` says everything that is wrong with it, by line."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("; ".join(faults))
        self.faults = faults


def read_list(path: Path, *, folder: Path, taken: Collection[str] = ()) -> tuple[CameraSection, ...]:
    """Read and check a list; ``taken`` are identifiers that other cameras have.

    Names of password files are relative to ``folder``, where the configuration is that will name them. Raises
    CameraListError with every fault.
    """
    rows = _rows(_text(path))
    sections: list[CameraSection] = []
    faults: list[str] = []
    lines: dict[str, int] = {}
    try:
        for line, row in rows:
            try:
                section = CameraSection.model_validate(row)
            except ValidationError as error:
                told = error.errors(include_input=False)
                faults += [f"line {line}: {_where(fault)}: {fault['msg']}" for fault in told]
                continue
            faults += [f"line {line}: {fault}" for fault in _clashes(section, folder, taken, lines)]
            lines.setdefault(section.id, line)
            sections.append(section)
    except CameraListError as error:
        faults += error.faults
    if not faults and not sections:
        faults = ["the list names no camera"]
    if faults:
        raise CameraListError(faults)
    return tuple(sections)


def as_toml(sections: Iterable[CameraSection]) -> str:
    """The ``[[cameras]]`` tables of these sections, to stand at the end of a configuration."""
    return "\n".join(
        "\n".join(["[[cameras]]", *(f"{name} = {_toml(value)}" for name, value in section if value is not None), ""])
        for section in sections
    )


def append_to(configuration: Path, sections: Iterable[CameraSection]) -> None:
    """Add cameras to a configuration file at once or not at all; what stands in it stays byte for byte.

    Raises ConfigurationError if the whole would not be valid, OSError.
    """
    target = configuration.resolve()
    before = target.read_text(encoding="utf-8")
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}-", suffix=".partial")
    draft = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(f"{before.rstrip()}\n\n{as_toml(sections)}")
            file.flush()
            os.fsync(file.fileno())
        read_configuration(draft)
        draft.chmod(target.stat().st_mode & 0o777)
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)


def _text(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CameraListError([f"{path}: {error.strerror}"]) from error
    if len(data) > MAX_LIST_BYTES:
        raise CameraListError([f"{path}: larger than {MAX_LIST_BYTES} bytes"])
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise CameraListError([f"line {line}: not UTF-8; save the file as CSV UTF-8"]) from error


def _rows(text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield each row that is not blank with its line, as the configuration's fields. Raises CameraListError."""
    header = text.partition("\n")[0]
    delimiter = ";" if header.count(";") > header.count(",") else ","
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        names = [name.strip() for name in next(reader, [])]
        faults = _header_faults(names)
        if faults:
            raise CameraListError([f"line 1: {fault}" for fault in faults])
        last = reader.line_num
        for cells in reader:
            line, last = last + 1, reader.line_num
            if any(cell.strip() for cell in cells):
                yield line, _row(names, cells, decimal_comma=delimiter == ";")
    except csv.Error as error:
        raise CameraListError([f"line {reader.line_num}: {error}"]) from error


def _header_faults(names: list[str]) -> list[str]:
    faults = [f"column {name} is missing" for name in REQUIRED if name not in names]
    for name in dict.fromkeys(names):
        if name == "password":
            faults.append("a column of passwords is refused: write each into a file of its own, named in password_file")
        elif name not in REQUIRED + OPTIONAL:
            faults.append(f"column {name!r} is not known")
        elif names.count(name) > 1:
            faults.append(f"column {name} appears twice")
    return faults


def _row(names: list[str], cells: list[str], *, decimal_comma: bool) -> dict[str, Any]:
    row: dict[str, Any] = {name: cell.strip() for name, cell in zip(names, cells, strict=False) if cell.strip()}
    if len(cells) > len(names):
        row["more cells than columns"] = ""
    for name in ("latitude", "longitude"):
        if decimal_comma and name in row:
            row[name] = row[name].replace(",", ".")
    return row


def _clashes(section: CameraSection, folder: Path, taken: Collection[str], lines: dict[str, int]) -> Iterator[str]:
    if section.id in taken:
        yield f"id: {section.id} is in the configuration already"
    if section.id in lines:
        yield f"id: {section.id} is on line {lines[section.id]} already"
    try:
        password = (folder / section.password_file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        yield f"password_file: {section.password_file} cannot be read"
        return
    if not password.strip() or not password.rstrip("\r\n").isprintable():
        yield f"password_file: {section.password_file} must hold one line, the password"


def _where(fault: Any) -> str:
    return ".".join(str(part) for part in fault["loc"]) or "row"


def _toml(value: object) -> str:
    """A TOML value: numbers as they are; JSON's strings are TOML's basic strings, but for DEL."""
    if isinstance(value, float):
        return repr(value)
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
