"""The journal of a tuning: what was drawn for every arm, and its scores."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from askew._check import require
from askew._files import in_short
from askew._folders import different_settings

if TYPE_CHECKING:
    import optuna

JOURNAL = "tuning.journal"
_IDENTITY = "identity"


class Draw(NamedTuple):
    """One try: the values drawn, and their score on validation data, higher is better.

    Example:
        >>> tries = [Draw({"lr": 1e-3}, 0.81), Draw({"lr": 1e-2}, 0.84)]
        >>> max(tries, key=lambda draw: draw.score).values
        {'lr': 0.01}
    """

    values: Mapping[str, float]
    score: float


def check_journal(out: Path) -> None:
    """Refuse a journal that is not what tuning wrote; without one, leave no trace."""
    journal = out / JOURNAL
    if journal.exists():
        import optuna

        with _errors_name(journal):
            storage = _storage(journal)
            for name in optuna.get_all_study_names(storage):
                finished_draws(optuna.load_study(study_name=name, storage=storage))


def open_studies(
    identities: Mapping[str, Mapping[str, object]], out: Path
) -> dict[str, "optuna.Study"]:
    """Open the study of every arm, and store what its tries depend on.

    Args:
        identities: By arm, plain values that two calls must share to have the same tries.
        out: Folder of the journal.

    Raises:
        ValueError: If the journal is damaged or holds tries that depend on something else.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    journal = out / JOURNAL
    for left in out.glob(f"{JOURNAL}.lock*"):  # of a run that was killed before it removed it
        left.unlink()
    with _errors_name(journal):
        _cut_torn_line(journal)
        storage = _storage(journal)
        studies = {
            name: optuna.create_study(
                storage=storage, study_name=name, direction="maximize", load_if_exists=True
            )
            for name in identities
        }
        for study in studies.values():
            finished_draws(study)  # refuses a damaged journal before the first new try
            stored = study.user_attrs.get(_IDENTITY, {})
            require(isinstance(stored, dict), f"the settings {stored!r} of {study.study_name}")
    for name, study in studies.items():
        _check_identity(study, json.loads(json.dumps(identities[name])), journal)
    return studies


def _check_identity(study: "optuna.Study", identity: Mapping[str, object], journal: Path) -> None:
    stored = study.user_attrs.get(_IDENTITY)
    if stored is None:
        if not study.get_trials(deepcopy=False):  # those of an earlier release have none
            study.set_user_attr(_IDENTITY, identity)
        return
    different = different_settings(stored, identity)
    require(
        not different,
        f"tune: the journal must be of the same settings; got {journal} with other "
        f"{' and '.join(different)} of {study.study_name}. Choose another folder",
    )


@contextmanager
def _errors_name(journal: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # whatever Optuna raises while it replays its journal
        raise ValueError(
            f"tune: the journal must be what tuning wrote; got {journal}: {in_short(error)}. "
            "Remove it, and every draw is tried again"
        ) from error


def _cut_torn_line(journal: Path) -> None:
    """Remove a last line that was not written to its end, which would spoil the next one."""
    raw = journal.read_bytes() if journal.is_file() else b""
    torn = raw[raw.rfind(b"\n") + 1 :]
    require(not torn or torn.startswith(b"{"), f"the line {torn[:20]!r}")
    if torn:
        with journal.open("r+b") as file:
            file.truncate(len(raw) - len(torn))


def _storage(journal: Path) -> "optuna.storages.JournalStorage":
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

    class FolderLock(JournalFileOpenLock):
        """No lock of its own: `tune` holds the folder, which the kernel frees when we die."""

        def acquire(self) -> bool:
            return True

        def release(self) -> None: ...

    return JournalStorage(JournalFileBackend(str(journal), FolderLock(str(journal))))


def finished_draws(study: "optuna.Study") -> dict[int, Draw]:
    """Return the tries of an arm that have a score, by their numbers."""
    return {
        trial.user_attrs["number"]: Draw(trial.params, trial.value)
        for trial in study.get_trials()
        if trial.value is not None
    }
