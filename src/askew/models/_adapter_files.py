"""A folder with an adapter beside its model, whose weights are not whole without it."""

from pathlib import Path

from askew._check import require


def refuse_adapter(caller: str, folder: str | Path) -> None:
    """Refuse a folder with an adapter: transformers leaves it out where peft is not installed.

    Checksums of the model do not cover it either.

    Raises:
        ValueError: If there is an adapter.
    """
    adapter = Path(folder) / "adapter_config.json"
    require(
        not adapter.exists(),
        f"{caller}: the weights of a model must be whole; got {adapter}. Merge the adapter "
        "(peft's merge_and_unload) and save the model again",
    )
