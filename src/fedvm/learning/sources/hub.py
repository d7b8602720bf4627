"""Image data sets of the Hugging Face hub, through the `datasets` library and its cache."""

from __future__ import annotations

from fedvm.images.data_set import Form
from fedvm.learning.data import ColumnNames, ImageData
from fedvm.learning.errors import DataError
from fedvm.learning.sources.columns import find_columns, to_split
from fedvm.learning.sources.split import stratified_split

# Short names for the data sets most papers on federated learning use.
ALIASES = {
    "cifar10": "uoft-cs/cifar10",
    "cifar100": "uoft-cs/cifar100",
    "fashion-mnist": "zalando-datasets/fashion_mnist",
}
_TEST_NAMES = ("test", "validation", "valid", "val")


def load(name: str, *, seed: int, form: Form, names: ColumnNames) -> ImageData:
    """Load by alias or `owner/name`, from the cache or the network.

    Raises:
        DataError: not found, no network and not in the cache, or not a labelled image data set.
        ImageError: unreadable images, or images of several sizes.
    """
    from datasets import load_dataset

    repository = ALIASES.get(name.lower(), name)
    try:
        splits = load_dataset(repository)
    except Exception as error:  # the library raises dozens of exception types (HTTP, cache, script, parsing)
        reason = (str(error) or type(error).__name__).splitlines()[0]
        debian = ", or install Debian's dataset-fashion-mnist" if name.lower() == "fashion-mnist" else ""
        raise DataError(
            f"data set '{repository}' could not be loaded from the hub or its cache ({reason}). Check the "
            f"name and the network, or give local files with --data PATH{debian}; 'mnist' needs no network"
        ) from error
    if "train" not in splits:
        raise DataError(f"data set '{repository}' has no train split, only {', '.join(splits)}")
    columns = find_columns(splits["train"], f"data set '{repository}'", names)
    train, notes = to_split(splits["train"], columns, f"the train split of '{repository}'", form)
    held_out = next((split for split in _TEST_NAMES if split in splits), None)
    if held_out is None:
        train, test = stratified_split(train, 0.1, seed)
    else:
        test, more = to_split(splits[held_out], columns, f"the {held_out} split of '{repository}'", form)
        notes += more
    return ImageData(name, train, test, columns.class_names, notes=notes)
