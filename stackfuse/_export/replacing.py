"""Check that an export replaces nothing but an earlier export that is whole and unchanged."""

import os
from pathlib import Path

from stackfuse._core import files, messages
from stackfuse._export.formats.base import Format
from stackfuse._export.formats.saved_model import EXTRA


def place_of(path: Path, form: Format) -> Path:
    """Return where an export to a path is written; of a link that is the path it leads to.

    Raises
    ------
    OSError
        If a link leads nowhere, or the files of one export to different places.
    """
    place = files.real_place(path)
    for ending in form.companions:
        beside, meant = path.with_suffix(ending), place.with_suffix(ending)
        if Path(os.path.realpath(beside)) != Path(os.path.realpath(meant)) or meant.is_symlink():
            raise FileExistsError(
                messages.printable(
                    f"{path} leads to {place}, but {beside} leads to {os.path.realpath(beside)}. "
                    f"Make both files of a pair links, or neither, or export to {place}."
                )
            )
    return place


def check_replaceable(place: Path, form: Format) -> None:
    """Raise unless a place is free, or holds an earlier export of this format.

    An empty file or folder may be replaced.

    Raises
    ------
    FileExistsError, IsADirectoryError
    """
    if not form.is_folder and place.is_dir():
        raise IsADirectoryError(
            f"{messages.printable(place)} is a directory, but {messages.with_article(form.title)} "
            "export is one file. Choose another path."
        )
    if os.path.ismount(place):
        raise FileExistsError(
            f"{messages.printable(place)} is a mount point: export to a path in it."
        )
    reason, standing = None, place
    if os.path.lexists(place):
        reason = _reason_to_keep(place, form)
    else:
        beside = [place.with_suffix(ending) for ending in form.companions]
        orphans = [file for file in beside if os.path.lexists(file)]
        if orphans:
            reason, standing = f"there is no {messages.printable(place.name)} beside it", orphans[0]
    if reason:
        raise FileExistsError(
            messages.printable(
                f"{standing} exists and is not an earlier export ({reason}), so it was not "
                "replaced. Choose another path, or move it elsewhere."
            )
        )


def _reason_to_keep(place: Path, form: Format) -> str | None:
    """Return why a place does not hold an unchanged export, or None if it does."""
    if form.is_folder:
        if not place.is_dir():
            return "it is not a directory"
        if not any(place.iterdir()):
            return None
    else:
        if not place.is_file():
            return "it is not a regular file"
        beside = [place.with_suffix(ending) for ending in form.companions]
        if not place.stat().st_size and not any(map(os.path.lexists, beside)):
            return None
    try:
        manifest = form.read_manifest(place)
        foreign = form.foreign_part(place, manifest)
        if foreign:
            return f"it holds {foreign}, which was not exported"
        changed = form.changed_parts(place, manifest)
    except ValueError as error:
        return _name_other_file(place, str(error)) if form.is_folder else str(error)
    return f"{changed[0]} has changed since it was exported" if changed else None


def _name_other_file(folder: Path, reason: str) -> str:
    """Add to a reason the name of something that would be lost with the folder."""
    names = sorted(entry.name for entry in folder.iterdir())
    return f"it holds {next((n for n in names if n != EXTRA), EXTRA)}; {reason}"
